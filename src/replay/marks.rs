//! The moments of a recording that a person looks for: the breaker changed, faults changed, a burst began, calls
//! began to fail.

use std::time::Duration;

use crate::event::{BreakerMode, BreakerState, Event, EventKind, Fate};
use crate::text::SafeText;
use crate::time::Timestamp;
use crate::tui::playback::MarkKind;

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
    pub(super) marks: Vec<Mark>,
    /// Whether there were more than are kept.
    pub(super) more: bool,
}

impl Finder {
    /// Looks at the event at this place.
    pub(super) fn look(&mut self, place: usize, event: &Event) {
        let (kind, words) = match &event.kind {
            EventKind::BreakerMoved { to, .. } => (MarkKind::Breaker, moved(*to).to_owned()),
            EventKind::BreakerForced { mode } => (MarkKind::Breaker, forced(*mode).to_owned()),
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

fn moved(to: BreakerState) -> &'static str {
    match to {
        BreakerState::Closed => "the breaker closed",
        BreakerState::Open => "the breaker opened",
        BreakerState::HalfOpen => "the breaker is half-open",
    }
}

fn forced(mode: BreakerMode) -> &'static str {
    match mode {
        BreakerMode::Automatic => "the breaker was let go",
        BreakerMode::ForcedOpen => "the breaker was forced open",
        BreakerMode::ForcedClosed => "the breaker was forced closed",
    }
}
