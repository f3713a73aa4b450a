//! Where a replay is, and where a key moves it. Pure: the time of the clock is an argument.
//!
//! ```text
//!              Play                      position: events that have happened
//!  paused <-------------> playing        at:       the time that is shown
//!    ^  ^                    |           at(now) = anchor + (now - since) * speed, never beyond an event
//!    |  +---- the end -------+                     that was not given yet
//!    +------- step, mark, end
//! ```

use std::sync::Arc;
use std::time::Duration;

use super::load::Recording;
use crate::event::Event;
use crate::time::Timestamp;
use crate::tui::playback::{Control, Moved, Playback};

/// How fast it can be, in quarters, and the words for it.
pub const SPEEDS: [(u64, &str); 9] = [
    (1, "x1/4"),
    (2, "x1/2"),
    (4, "x1"),
    (8, "x2"),
    (16, "x4"),
    (32, "x8"),
    (64, "x16"),
    (128, "x32"),
    (256, "x64"),
];

/// Real time.
const NORMAL: usize = 2;

/// A recording and where it is.
#[derive(Debug)]
pub struct Player {
    recording: Recording,
    /// Events that have happened.
    position: usize,
    playing: bool,
    /// Place in [`SPEEDS`].
    speed: usize,
    /// The time that was shown when the clock read `since`.
    anchor: Timestamp,
    since: Timestamp,
}

impl Player {
    /// At the beginning, and playing from `now` on.
    pub fn new(recording: Recording, now: Timestamp) -> Self {
        Self {
            playing: !recording.is_empty(),
            recording,
            position: 0,
            speed: NORMAL,
            anchor: Timestamp::ZERO,
            since: now,
        }
    }

    /// What is played.
    pub fn recording(&self) -> &Recording {
        &self.recording
    }

    /// How many events have happened.
    pub fn position(&self) -> usize {
        self.position
    }

    /// Whether it moves by itself.
    pub fn is_playing(&self) -> bool {
        self.playing
    }

    /// The time that is shown at `now`. It waits for events that are due: no picture shows a later time without
    /// them.
    pub fn at(&self, now: Timestamp) -> Timestamp {
        if !self.playing {
            return self.anchor;
        }
        let next = self.recording.events.get(self.position);
        let limit = next.map_or(self.recording.length(), |event| event.at);
        self.wanted(now).min(limit)
    }

    /// What the time would be if nothing had to be waited for.
    fn wanted(&self, now: Timestamp) -> Timestamp {
        let gone = u128::from(now.0.saturating_sub(self.since.0)) * u128::from(self.quarters()) / 4;
        Timestamp(
            self.anchor
                .0
                .saturating_add(u64::try_from(gone).unwrap_or(u64::MAX)),
        )
    }

    /// When the clock will read what shows `shown`; nothing while it stands still.
    pub fn due(&self, shown: Timestamp) -> Option<Timestamp> {
        let ahead = u128::from(shown.0.saturating_sub(self.anchor.0)) * 4;
        let ahead = ahead.div_ceil(u128::from(self.quarters()));
        let ahead = u64::try_from(ahead).unwrap_or(u64::MAX);
        self.playing
            .then_some(Timestamp(self.since.0.saturating_add(ahead)))
    }

    /// When the next event is due, or the end; nothing while it stands still.
    pub fn next_due(&self) -> Option<Timestamp> {
        let next = self.recording.events.get(self.position);
        self.due(next.map_or(self.recording.length(), |event| event.at))
    }

    /// The events that are due at `now`, at most `most`. At the end it stands still.
    pub fn play(&mut self, now: Timestamp, most: usize) -> &[Arc<Event>] {
        if !self.playing {
            return &[];
        }
        let until = self.recording.events_until(self.wanted(now));
        let from = self.position;
        self.position = until.clamp(from, from.saturating_add(most));
        if self.position == self.recording.len() {
            self.playing = false;
            self.anchor = self.recording.length();
        }
        self.recording.events.get(from..self.position).unwrap_or_default()
    }

    /// Obeys a key. What comes back leads from the state that is shown to the new one.
    pub fn control(&mut self, control: Control, now: Timestamp) -> Moved {
        let at = self.at(now);
        (self.anchor, self.since) = (at, now);
        match control {
            Control::Play if !self.playing && self.position == self.recording.len() => {
                // what has come to its end begins again
                self.playing = !self.recording.is_empty();
                self.seek(Timestamp::ZERO)
            }
            Control::Play => {
                self.playing = !self.playing;
                Moved::default()
            }
            Control::Speed(by) => {
                let speed = self.speed.saturating_add_signed(isize::from(by));
                self.speed = speed.min(SPEEDS.len() - 1);
                Moved::default()
            }
            Control::Step(by) => {
                self.playing = false;
                let target = self.position.saturating_add_signed(isize::from(by));
                self.stand_after(target)
            }
            Control::Mark(by) => self.jump(by > 0),
            Control::Seconds(by) => {
                let by = (by < 0, Duration::from_secs(u64::from(by.unsigned_abs())));
                self.seek(if by.0 { at - by.1 } else { at + by.1 })
            }
            Control::Beginning => self.seek(Timestamp::ZERO),
            Control::End => {
                self.playing = false;
                self.stand_after(self.recording.len())
            }
        }
    }

    /// Goes to a time: all that had happened by then has happened. It goes on playing if it did.
    pub fn seek(&mut self, at: Timestamp) -> Moved {
        self.anchor = at.min(self.recording.length());
        // the beginning is before the first event, whenever that is
        let position = if at == Timestamp::ZERO {
            0
        } else {
            self.recording.events_until(self.anchor)
        };
        if position == self.recording.len() {
            self.playing = false;
        }
        self.go(position)
    }

    /// Goes to where `position` events have happened, to the time of the last of them.
    fn stand_after(&mut self, position: usize) -> Moved {
        let position = position.min(self.recording.len());
        let last = position.checked_sub(1);
        let last = last.and_then(|place| self.recording.events.get(place));
        self.anchor = last.map_or(Timestamp::ZERO, |event| event.at);
        self.go(position)
    }

    /// Goes to the next mark, or to the one before, and stands still there.
    fn jump(&mut self, on: bool) -> Moved {
        let here = self.position;
        let marks = self.recording.marks();
        let mark = if on {
            marks.get(marks.partition_point(|mark| mark.event < here))
        } else {
            let before = marks.partition_point(|mark| mark.event + 1 < here);
            before.checked_sub(1).and_then(|place| marks.get(place))
        };
        let Some(mark) = mark else {
            let where_ = if on { "after" } else { "before" };
            return Moved {
                said: Some(format!("no breaker change, failure or burst {where_} this")),
                ..Moved::default()
            };
        };
        let (event, words) = (mark.event, mark.words.clone());
        self.playing = false;
        Moved {
            said: Some(words),
            ..self.stand_after(event + 1)
        }
    }

    /// The way from here to there: on from here where that is shorter than from a state that was kept.
    fn go(&mut self, position: usize) -> Moved {
        let here = self.position;
        self.position = position;
        let every = position - position % self.recording.every();
        if here <= position && here >= every {
            return Moved {
                events: self.between(here, position),
                ..Moved::default()
            };
        }
        let (from, state) = self.recording.frame(position);
        Moved {
            state: Some(Box::new(state)),
            events: self.between(from, position),
            said: None,
        }
    }

    fn between(&self, from: usize, to: usize) -> Vec<Arc<Event>> {
        self.recording.events.get(from..to).unwrap_or_default().to_vec()
    }

    /// Where it is, for the bar.
    pub fn playback(&self, now: Timestamp) -> Playback {
        Playback {
            at: self.at(now),
            length: self.recording.length(),
            events: (self.position, self.recording.len()),
            speed: SPEEDS.get(self.speed).map_or("", |(_, words)| words),
            playing: self.playing,
            marks: Arc::clone(&self.recording.drawn),
            damage: self.recording.damage.clone(),
        }
    }

    fn quarters(&self) -> u64 {
        SPEEDS.get(self.speed).map_or(4, |(quarters, _)| *quarters)
    }
}
