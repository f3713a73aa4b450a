//! A journal in memory, up to its end or to where it is damaged.

use std::io::BufRead;
use std::sync::Arc;

use super::marks::{Finder, Mark};
use crate::event::Event;
use crate::journal::{Header, JournalError, Line, Lines, read};
use crate::state::State;
use crate::text::SafeText;
use crate::time::Timestamp;
use crate::tui::playback::MarkKind;

/// The most states that are kept to go back to.
pub const KEYFRAMES: usize = 64;

/// The least events between two of them.
const LEAST_APART: usize = 512;

/// A recorded session.
#[derive(Debug)]
pub struct Recording {
    /// What the journal says of itself.
    pub header: Header,
    pub(super) events: Vec<Arc<Event>>,
    /// States after `every`, `2 * every`, .. events.
    frames: Vec<State>,
    every: usize,
    pub(super) marks: Vec<Mark>,
    /// The marks as the bar has them.
    pub(super) drawn: Arc<[(Timestamp, MarkKind)]>,
    /// What is wrong with the journal: in a few words, and in full.
    pub damage: Option<(String, SafeText)>,
}

impl Recording {
    /// Reads a journal. What comes after a damage is left out, and [`damage`](Self::damage) tells; only a file that
    /// does not begin like a journal is an error.
    pub fn load<R: BufRead>(input: R) -> Result<Self, JournalError> {
        let (header, lines) = read(input)?;
        let (events, damage) = events(lines);
        let mut recording = Self {
            header,
            every: LEAST_APART.max(events.len().div_ceil(KEYFRAMES)),
            events,
            frames: Vec::new(),
            marks: Vec::new(),
            drawn: Arc::default(),
            damage,
        };
        recording.index();
        Ok(recording)
    }

    /// Finds the marks and keeps a state now and then.
    fn index(&mut self) {
        let (mut state, mut finder) = (State::default(), Finder::default());
        for (place, event) in self.events.iter().enumerate() {
            state.apply(event);
            finder.look(place, event);
            if (place + 1).is_multiple_of(self.every) {
                self.frames.push(state.clone());
            }
        }
        self.marks = finder.marks;
        self.drawn = self.marks.iter().map(|mark| (mark.at, mark.kind)).collect();
    }

    /// How many events there are.
    pub fn len(&self) -> usize {
        self.events.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.events.is_empty()
    }

    /// Events between two states that are kept.
    pub(super) fn every(&self) -> usize {
        self.every
    }

    /// The marks, in the order of the events.
    pub fn marks(&self) -> &[Mark] {
        &self.marks
    }

    /// When the last event happened.
    pub fn length(&self) -> Timestamp {
        self.events.last().map_or(Timestamp::ZERO, |event| event.at)
    }

    /// How many events had happened at `at`.
    pub fn events_until(&self, at: Timestamp) -> usize {
        self.events.partition_point(|event| event.at <= at)
    }

    /// The last state that was kept of those with at most `position` events, and how many it has.
    pub(super) fn frame(&self, position: usize) -> (usize, State) {
        let kept = (position / self.every).min(self.frames.len());
        match kept.checked_sub(1).and_then(|place| self.frames.get(place)) {
            Some(state) => (kept * self.every, state.clone()),
            None => (0, State::default()),
        }
    }
}

/// The events up to the end or to a damage, and what that is.
fn events<R: BufRead>(mut lines: Lines<R>) -> (Vec<Arc<Event>>, Option<(String, SafeText)>) {
    let mut events: Vec<Arc<Event>> = Vec::new();
    let (mut next, mut lost, mut at, mut ended) = (0_u64, 0_u64, Timestamp::ZERO, false);
    while let Some(line) = lines.next() {
        let number = lines.line();
        let damage = |what: &str| Some((format!("damaged at line {number}"), SafeText::new(what)));
        match line {
            Ok(Line::Event(event)) if event.seq == next && event.at >= at && !ended => {
                (next, at) = (next.saturating_add(1), event.at);
                events.push(Arc::new(event));
            }
            Ok(Line::Gap(gap)) if !ended => {
                (next, lost) = (next.saturating_add(gap), lost.saturating_add(gap));
            }
            Ok(Line::End { .. }) if !ended => ended = true,
            Ok(Line::Event(event)) if event.seq != next && !ended => {
                let what = format!("line {number}: event {} where {next} comes next", event.seq);
                return (events, damage(&format!("{what}; shown up to there")));
            }
            Ok(Line::Event(_)) if !ended => {
                return (
                    events,
                    damage(&format!("line {number}: time goes back; shown up to there")),
                );
            }
            Ok(_) => {
                return (
                    events,
                    damage(&format!("line {number}: more after the end; left out")),
                );
            }
            Err(error) => return (events, damage(&format!("shown up to the damage: {error}"))),
        }
    }
    let told = |short: String, what: &str| Some((short, SafeText::new(what)));
    let damage = match (ended, lost) {
        (false, _) => told(
            "no proper end".to_owned(),
            "the journal breaks off: the session was not closed, or the file was cut",
        ),
        (true, 1..) => told(
            format!("{lost} lost"),
            &format!("{lost} events are missing: the disk was too slow for them"),
        ),
        (true, 0) => None,
    };
    (events, damage)
}
