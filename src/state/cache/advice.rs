//! Advice on the main reason for cache misses.
//!
//! Given only from five calls or misses on, if more than half have the same reason.

use super::{CacheView, FieldCount};
use crate::event::{BypassReason, DiffKind, MissReason};
use crate::settings::CacheSettings;
use crate::text::units;

/// Calls or misses needed for advice.
const ENOUGH: u64 = 5;

/// A sentence about the cache.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Advice {
    /// The sentence, and a second one with a remedy where there is one.
    pub text: String,
    /// True if the text contains a remedy.
    pub remedy: bool,
}

impl CacheView {
    /// The advice, which names the settings with their values; `None` without a predominant reason.
    pub fn advice(&self, settings: &CacheSettings) -> Option<Advice> {
        if !self.on {
            return None;
        }
        self.not_asked()
            .or_else(|| self.one_field())
            .or_else(|| self.reason(settings))
    }

    /// Most calls bypass the cache.
    fn not_asked(&self) -> Option<Advice> {
        let bypassed: u64 = self.bypasses.values().sum();
        let calls = self.lookups() + self.joined + bypassed + self.replays;
        let (reason, count) = self.bypasses.iter().max_by_key(|(_, count)| **count)?;
        if !is_most(*count, calls) {
            return None;
        }
        let remedy = match reason {
            BypassReason::Off => return None,
            BypassReason::NotDeterministic => " Send one of them, or set cache.store_all.",
            BypassReason::FreshRequested => "",
        };
        let why = reason.sentence();
        Some(Advice {
            text: format!("{count} of {calls} calls bypass the cache: {why}.{remedy}"),
            remedy: !remedy.is_empty(),
        })
    }

    /// Most misses differ from a stored request in the same field, and in no other.
    fn one_field(&self) -> Option<Advice> {
        let missed = self.missed();
        let fields = self.near.by_count();
        let top = fields
            .into_iter()
            .find(|one| !one.example.is_another_question() && is_most(one.alone, missed))?;
        let field = top.example.field.single_line();
        let what = match top.example.how.brief() {
            "" => String::new(),
            how => format!(": {how}"),
        };
        let (word, _) = top.example.words();
        let example = if field == "user" || word.is_empty() {
            String::new()
        } else {
            format!(" (\"{}\")", word.single_line())
        };
        let remedy = remedy(top);
        Some(Advice {
            text: format!(
                "{} of {missed} misses differ only in the {field}{what}{example}.{}",
                top.alone,
                remedy.map_or_else(
                    || " Answers are not shared between users.".to_owned(),
                    |remedy| format!(" {remedy}")
                )
            ),
            remedy: remedy.is_some(),
        })
    }

    /// Most misses have the same reason.
    fn reason(&self, settings: &CacheSettings) -> Option<Advice> {
        let missed = self.missed();
        let (reason, count) = self.misses.iter().max_by_key(|(_, count)| **count)?;
        if !is_most(*count, missed) {
            return None;
        }
        let remedy = match reason {
            MissReason::NeverSeen => String::new(),
            MissReason::Expired => {
                let ttl = units::setting(settings.ttl);
                format!(" cache.ttl is {ttl}: a longer one keeps them.")
            }
            MissReason::Evicted => {
                let most = units::bytes(settings.max_bytes);
                format!(" cache.max_bytes is {most}: more keeps them.")
            }
            MissReason::Collision => return None,
        };
        Some(Advice {
            text: format!("{count} of {missed} misses: {}.{remedy}", reason.sentence()),
            remedy: !remedy.is_empty(),
        })
    }
}

fn is_most(count: u64, of: u64) -> bool {
    of >= ENOUGH && count.saturating_mul(2) > of
}

/// The remedy for a difference; `None` if it is intended.
fn remedy(one: &FieldCount) -> Option<&'static str> {
    let field = one.example.field.as_str();
    Some(match (field, one.example.how) {
        ("user", _) => return None,
        (_, DiffKind::Time) => "Leave it out, or round it to the day.",
        (_, DiffKind::Id) => "Leave it out: it is new in each request.",
        (_, DiffKind::Whitespace | DiffKind::Case) => "Write it in one way.",
        (_, DiffKind::Order) => "Send it in one order.",
        ("system prompt", _) => "Keep what changes out of it.",
        ("model", _) => "Each model has answers of its own: ask one.",
        ("API key" | "upstream", _) => "Each has answers of its own: use one.",
        _ => "Send one value, or leave it out.",
    })
}

#[cfg(test)]
mod tests {
    use super::super::misses::near;
    use super::*;
    use crate::event::CallId;
    use crate::time::Timestamp;

    fn after(misses: u64, same: u64, diff: (&str, DiffKind, &str, &str)) -> Option<Advice> {
        let mut view = CacheView::default();
        view.misses.insert(MissReason::NeverSeen, misses);
        for call in 0..same {
            view.near.take(Timestamp(call), CallId(call), &near(&[diff]));
        }
        view.advice(&CacheSettings::default())
    }

    fn text(advice: Option<Advice>) -> String {
        advice.map(|advice| advice.text).unwrap_or_default()
    }

    #[test]
    fn a_time_in_the_system_prompt_is_named_with_its_remedy() {
        let stamp = (
            "system prompt",
            DiffKind::Time,
            "It is 10:32:01. Help.",
            "It is 10:30:00. Help.",
        );
        assert_eq!(
            text(after(20, 14, stamp)),
            "14 of 20 misses differ only in the system prompt: a time (\"10:32:01\"). Leave it out, or round it to the day."
        );
        // half is not most, and four are not enough
        assert!(text(after(20, 10, stamp)).starts_with("20 of 20 misses: never seen before"));
        assert_eq!(after(4, 4, stamp), None);
    }

    #[test]
    fn what_is_meant_to_be_apart_is_no_fault() {
        let other = after(9, 9, ("user", DiffKind::Value, "ana", "ben"));
        assert_eq!(
            text(other.clone()),
            "9 of 9 misses differ only in the user. Answers are not shared between users."
        );
        assert_eq!(other.map(|advice| advice.remedy), Some(false));
        let question = after(9, 9, ("prompt", DiffKind::Value, "cats", "dogs"));
        assert!(text(question).starts_with("9 of 9 misses: never seen before"));
        let blank = after(9, 9, ("prompt", DiffKind::Whitespace, "a  b", "a b"));
        assert!(text(blank).contains("only in the prompt: white space"));
    }

    #[test]
    fn age_room_and_calls_that_do_not_ask_are_reasons_too() {
        let mut view = CacheView::default();
        assert_eq!(view.advice(&CacheSettings::default()), None);
        view.misses = [(MissReason::Expired, 7), (MissReason::NeverSeen, 2)].into();
        let settings = CacheSettings {
            ttl: std::time::Duration::from_secs(90),
            max_bytes: 2 << 20,
            ..CacheSettings::default()
        };
        let expired = text(view.advice(&settings));
        assert!(
            expired.starts_with("7 of 9 misses: stored before, but expired"),
            "{expired}"
        );
        assert!(
            expired.ends_with(" cache.ttl is 1m30s: a longer one keeps them."),
            "{expired}"
        );
        view.misses = [(MissReason::Evicted, 7), (MissReason::NeverSeen, 2)].into();
        let evicted = text(view.advice(&settings));
        assert!(
            evicted.ends_with(" cache.max_bytes is 2 MiB: more keeps them."),
            "{evicted}"
        );
        view.bypasses = [(BypassReason::NotDeterministic, 40)].into();
        assert!(
            text(view.advice(&CacheSettings::default()))
                .starts_with("40 of 49 calls bypass the cache: no temperature 0")
        );
        view.on = false;
        assert_eq!(view.advice(&CacheSettings::default()), None);
    }
}
