//! The marks of a recording: breaker, faults or settings changed, a burst started, calls started to fail.

use std::time::Duration;

use crate::event::{BreakerState, Event, EventKind, Fate};
use crate::settings::Policy;
use crate::text::{SafeText, units};
use crate::time::Timestamp;
use crate::tui::playback::bar::MarkKind;

/// Failures closer than this share one mark, so that a jump skips a whole outage.
const APART: Duration = Duration::from_secs(1);

/// The maximum number of marks: bounds the memory for a hostile journal.
pub(super) const MAX_MARKS: usize = 10_000;
/// Maximum characters of a name in the text of a mark.
const NAME: usize = 40;

/// A mark.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JournalMark {
    /// The event, as index in the recording.
    pub event: usize,
    /// The time of the event.
    pub at: Timestamp,
    /// The kind.
    pub kind: MarkKind,
    /// A short description.
    pub text: String,
}

/// Collects marks from events.
#[derive(Debug, Default)]
pub(super) struct MarkFinder {
    failed_at: Option<Timestamp>,
    /// True once faults were on.
    faults: bool,
    /// The policy in force.
    policy: Option<Box<Policy>>,
    pub(super) marks: Vec<JournalMark>,
    /// True if marks were dropped.
    pub(super) more: bool,
}

impl MarkFinder {
    /// Adds the mark of the event at `index`, if it has one.
    pub(super) fn observe(&mut self, index: usize, event: &Event) {
        let (kind, text) = match &event.kind {
            EventKind::BreakerMoved { to, .. } => (MarkKind::Breaker, breaker_text(*to).to_owned()),
            EventKind::BreakerForced { mode } => (MarkKind::Breaker, mode.sentence().to_owned()),
            // no comparison for a mark that is not kept
            EventKind::PolicyApplied { .. } if self.marks.len() == MAX_MARKS => {
                self.more = true;
                return;
            }
            EventKind::PolicyApplied { policy } => {
                // every session starts with this event
                let Some(before) = self.policy.replace(policy.clone()) else {
                    return;
                };
                (MarkKind::Policy, policy_text(&before, policy))
            }
            EventKind::CacheSwitched { on } => {
                let text = if *on { "cache on" } else { "cache off" };
                (MarkKind::Policy, text.to_owned())
            }
            // every session starts with this event
            EventKind::FaultsApplied { on: false, .. } if !self.faults => return,
            EventKind::FaultsApplied { on, profile } => {
                self.faults = true;
                let on = if *on { "on" } else { "off" };
                let name = SafeText::excerpt(&profile.name, NAME);
                (MarkKind::Faults, format!("faults {on}: {name}"))
            }
            EventKind::BurstStarted { calls, .. } => {
                let calls = units::count(u64::from(*calls), "call");
                (MarkKind::Burst, format!("burst of {calls}"))
            }
            EventKind::LoadStarted { plan, .. } => (MarkKind::Burst, format!("load {plan}")),
            EventKind::CallEnded {
                fate: Fate::Failed | Fate::Interrupted,
                ..
            } => {
                let goes_on = self.failed_at.is_some_and(|last| event.at.since(last) < APART);
                self.failed_at = Some(event.at);
                if goes_on {
                    return;
                }
                let call = event
                    .call
                    .map_or_else(|| "a call".to_owned(), |call| call.to_string());
                (MarkKind::Failure, format!("{call} failed"))
            }
            _ => return,
        };
        if self.marks.len() == MAX_MARKS {
            self.more = true;
            return;
        }
        self.marks.push(JournalMark {
            event: index,
            at: event.at,
            kind,
            text,
        });
    }
}

/// The first changed setting, and the number of the others.
fn policy_text(before: &Policy, after: &Policy) -> String {
    let mut changes = before.changes(after).into_iter();
    let Some((path, value)) = changes.next() else {
        return "policy applied again".to_owned();
    };
    let first = SafeText::excerpt(&format!("{path}={value}"), NAME).single_line();
    match changes.len() {
        0 => format!("policy: {first}"),
        more => format!("policy: {first} and {more} more"),
    }
}

fn breaker_text(to: BreakerState) -> &'static str {
    match to {
        BreakerState::Closed => "breaker closed",
        BreakerState::Open => "breaker opened",
        BreakerState::HalfOpen => "breaker half-open",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changed_settings_are_a_mark() {
        let policy = Policy::default();
        let (one, two) = (
            policy.with("retry.attempts", "5").unwrap(),
            policy.with("breaker.open", "10s").unwrap(),
        );
        let mut finder = MarkFinder::default();
        let kinds = [&policy, &one, &two, &two].map(|policy| EventKind::PolicyApplied {
            policy: Box::new(policy.clone()),
        });
        let kinds = kinds.into_iter().chain([EventKind::CacheSwitched { on: false }]);
        for (index, kind) in kinds.enumerate() {
            let event = Event {
                seq: index as u64,
                at: Timestamp::ZERO,
                call: None,
                kind,
            };
            finder.observe(index, &event);
        }
        let texts: Vec<(usize, &str)> = finder
            .marks
            .iter()
            .map(|mark| (mark.event, mark.text.as_str()))
            .collect();
        assert_eq!(
            texts,
            [
                (1, "policy: retry.attempts=5"),
                (2, "policy: breaker.open=10s and 1 more"),
                (3, "policy applied again"),
                (4, "cache off"),
            ]
        );
        assert!(finder.marks.iter().all(|mark| mark.kind == MarkKind::Policy));
    }
}
