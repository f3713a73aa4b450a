//! The moments of a recording that a person looks for: the breaker, faults or settings changed, a burst began, calls
//! began to fail.

use std::time::Duration;

use crate::event::{BreakerState, Event, EventKind, Fate};
use crate::settings::Policy;
use crate::text::SafeText;
use crate::time::Timestamp;
use crate::tui::playback::bar::MarkKind;

/// Failures follow each other closer than this in an outage: they are one mark, or a jump would be one call long.
const APART: Duration = Duration::from_secs(1);

/// More are not kept: a bar and jumps are for people, and a journal may be made of nothing else.
pub(super) const MOST: usize = 10_000;
/// Characters of a name in the words of a mark.
const NAME: usize = 40;

/// One of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mark {
    /// The event, by its place in the recording.
    pub event: usize,
    /// When.
    pub at: Timestamp,
    /// What kind.
    pub kind: MarkKind,
    /// What happened, in a few words.
    pub words: String,
}

/// Finds them, event by event.
#[derive(Debug, Default)]
pub(super) struct Finder {
    failed_at: Option<Timestamp>,
    /// Whether faults were ever on.
    faults: bool,
    /// The settings that hold.
    policy: Option<Box<Policy>>,
    pub(super) marks: Vec<Mark>,
    /// Whether there were more than are kept.
    pub(super) more: bool,
}

impl Finder {
    /// Looks at the event at this place.
    pub(super) fn look(&mut self, place: usize, event: &Event) {
        let (kind, words) = match &event.kind {
            EventKind::BreakerMoved { to, .. } => (MarkKind::Breaker, moved(*to).to_owned()),
            EventKind::BreakerForced { mode } => (MarkKind::Breaker, mode.sentence().to_owned()),
            // two policies are not compared for a mark that is not kept
            EventKind::PolicyApplied { .. } if self.marks.len() == MOST => {
                self.more = true;
                return;
            }
            EventKind::PolicyApplied { policy } => {
                let Some(words) = self
                    .policy
                    .replace(policy.clone())
                    .map(|before| set(&before, policy))
                else {
                    // every session begins by saying which
                    return;
                };
                (MarkKind::Policy, words)
            }
            EventKind::CacheSwitched { on } => {
                let words = if *on { "the cache on" } else { "the cache off" };
                (MarkKind::Policy, words.to_owned())
            }
            // every session begins by saying that they are off
            EventKind::FaultsApplied { on: false, .. } if !self.faults => return,
            EventKind::FaultsApplied { on, profile } => {
                self.faults = true;
                let words = if *on { "on" } else { "off" };
                (
                    MarkKind::Faults,
                    format!("faults {words}: {}", SafeText::excerpt(&profile.name, NAME)),
                )
            }
            EventKind::BurstStarted { calls, .. } => (
                MarkKind::Burst,
                format!("a burst of {calls} call{}", if *calls == 1 { "" } else { "s" }),
            ),
            EventKind::CallEnded {
                fate: Fate::Failed | Fate::Interrupted,
                ..
            } => {
                let goes_on = self.failed_at.is_some_and(|last| event.at.since(last) < APART);
                self.failed_at = Some(event.at);
                if goes_on {
                    return;
                }
                let call = event.call.map_or(String::new(), |call| format!(": {call}"));
                (MarkKind::Failure, format!("a call failed{call}"))
            }
            _ => return,
        };
        if self.marks.len() == MOST {
            self.more = true;
            return;
        }
        self.marks.push(Mark {
            event: place,
            at: event.at,
            kind,
            words,
        });
    }
}

/// The first of the settings that changed, and how many more.
fn set(before: &Policy, after: &Policy) -> String {
    let mut changes = before.changes(after).into_iter();
    let Some((path, value)) = changes.next() else {
        return "the policy, applied again".to_owned();
    };
    let first = SafeText::excerpt(&format!("{path}={value}"), NAME).single_line();
    match changes.len() {
        0 => format!("the policy: {first}"),
        more => format!("the policy: {first} and {more} more"),
    }
}

fn moved(to: BreakerState) -> &'static str {
    match to {
        BreakerState::Closed => "the breaker closed",
        BreakerState::Open => "the breaker opened",
        BreakerState::HalfOpen => "the breaker is half-open",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_are_a_mark_where_they_change() {
        let policy = Policy::default();
        let (one, two) = (
            policy.with("retry.attempts", "5").unwrap(),
            policy.with("breaker.open", "10s").unwrap(),
        );
        let mut finder = Finder::default();
        let kinds = [&policy, &one, &two, &two].map(|policy| EventKind::PolicyApplied {
            policy: Box::new(policy.clone()),
        });
        let kinds = kinds.into_iter().chain([EventKind::CacheSwitched { on: false }]);
        for (place, kind) in kinds.enumerate() {
            let event = Event {
                seq: place as u64,
                at: Timestamp::ZERO,
                call: None,
                kind,
            };
            finder.look(place, &event);
        }
        let words: Vec<(usize, &str)> = finder
            .marks
            .iter()
            .map(|mark| (mark.event, mark.words.as_str()))
            .collect();
        assert_eq!(
            words,
            [
                (1, "the policy: retry.attempts=5"),
                (2, "the policy: breaker.open=10s and 1 more"),
                (3, "the policy, applied again"),
                (4, "the cache off"),
            ]
        );
        assert!(finder.marks.iter().all(|mark| mark.kind == MarkKind::Policy));
    }
}
