//! Where a replay is, and where a key moves it. The time of the clock is an argument.
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

use super::load::{Damage, Page, Recording};
use super::marks::MOST;
use crate::event::Event;
use crate::state::State;
use crate::time::Timestamp;
use crate::tui::playback::bar::{Control, Moved, Playback};

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
    /// The events around that: the next one is among them, if there is one.
    page: Page,
    /// A state a little before where a key led last, and how many events it has.
    near: Option<(usize, Box<State>)>,
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
        let mut player = Self {
            playing: !recording.is_empty(),
            recording,
            position: 0,
            page: Page::default(),
            near: None,
            speed: NORMAL,
            anchor: Timestamp::ZERO,
            since: now,
        };
        player.turn();
        player
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
        let next = self.page.event(self.position);
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
        let next = self.page.event(self.position);
        self.due(next.map_or(self.recording.length(), |event| event.at))
    }

    /// The events that are due at `now`, at most `most`. At the end it stands still.
    pub fn play(&mut self, now: Timestamp, most: usize) -> Vec<Arc<Event>> {
        let mut due = Vec::new();
        if !self.playing {
            return due;
        }
        let wanted = self.wanted(now);
        while let Some(event) = self.page.event(self.position)
            && event.at <= wanted
            && due.len() < most
        {
            due.push(Arc::clone(event));
            self.position += 1;
            self.turn();
        }
        if self.position == self.recording.len() {
            self.playing = false;
            self.anchor = self.recording.length();
        }
        due
    }

    /// Turns to the page that the next event is on.
    fn turn(&mut self) {
        let all = self.recording.len();
        if self.page.event(self.position).is_some() || self.position == all {
            return;
        }
        match self.recording.page(self.position) {
            Ok(page) => self.page = page,
            Err(damage) => {
                // what was shown stays, and nothing follows
                self.anchor = self.page.events.last().map_or(self.anchor, |last| last.at);
                self.playing = false;
                self.recording.damage = Some(damage);
            }
        }
    }

    /// Obeys a key. What comes back leads from the state that is shown to the new one.
    pub fn control(&mut self, control: Control, now: Timestamp) -> Moved {
        let at = self.at(now);
        (self.anchor, self.since) = (at, now);
        let moved = self.moved(control, at);
        self.told(moved)
    }

    /// Stays where it is when the journal cannot be read again, and says why.
    fn told(&mut self, moved: Result<Moved, Damage>) -> Moved {
        moved.unwrap_or_else(|(short, full)| {
            self.playing = false;
            let said = Some(full.to_string());
            self.recording.damage = Some((short, full));
            Moved {
                said,
                ..Moved::default()
            }
        })
    }

    fn moved(&mut self, control: Control, at: Timestamp) -> Result<Moved, Damage> {
        match control {
            Control::Play if !self.playing && self.position == self.recording.len() => {
                // what has come to its end begins again
                self.playing = !self.recording.is_empty();
                self.sought(Timestamp::ZERO)
            }
            Control::Play => {
                self.playing = !self.playing;
                Ok(Moved::default())
            }
            Control::Speed(by) => {
                let speed = self.speed.saturating_add_signed(isize::from(by));
                self.speed = speed.min(SPEEDS.len() - 1);
                Ok(Moved::default())
            }
            Control::Step(by) => {
                self.playing = false;
                let target = self.position.saturating_add_signed(isize::from(by));
                self.stand_after(target)
            }
            Control::Mark(by) => self.jump(by > 0),
            Control::Seconds(by) => {
                let by = (by < 0, Duration::from_secs(u64::from(by.unsigned_abs())));
                self.sought(if by.0 { at - by.1 } else { at + by.1 })
            }
            Control::Beginning => self.sought(Timestamp::ZERO),
            Control::End => {
                self.playing = false;
                self.stand_after(self.recording.len())
            }
        }
    }

    /// Goes to a time: all that had happened by then has happened. It goes on playing if it did.
    pub fn seek(&mut self, at: Timestamp) -> Moved {
        let moved = self.sought(at);
        self.told(moved)
    }

    fn sought(&mut self, at: Timestamp) -> Result<Moved, Damage> {
        let at = at.min(self.recording.length());
        // the beginning is before the first event, whenever that is
        let position = if at == Timestamp::ZERO {
            0
        } else {
            self.recording.events_until(at)?
        };
        let moved = self.go(position)?;
        self.anchor = at;
        if position == self.recording.len() {
            self.playing = false;
        }
        Ok(moved)
    }

    /// Goes to where `position` events have happened, to the time of the last of them.
    fn stand_after(&mut self, position: usize) -> Result<Moved, Damage> {
        let position = position.min(self.recording.len());
        let moved = self.go(position)?;
        self.anchor = match position.checked_sub(1) {
            None => Timestamp::ZERO,
            Some(last) => match self.page.event(last) {
                Some(last) => last.at,
                None => self
                    .recording
                    .page(last)?
                    .event(last)
                    .map_or(Timestamp::ZERO, |last| last.at),
            },
        };
        Ok(moved)
    }

    /// Goes to the next mark, or to the one before, and stands still there.
    fn jump(&mut self, on: bool) -> Result<Moved, Damage> {
        let here = self.position;
        let marks = self.recording.marks();
        let mark = if on {
            marks.get(marks.partition_point(|mark| mark.event < here))
        } else {
            let before = marks.partition_point(|mark| mark.event + 1 < here);
            before.checked_sub(1).and_then(|place| marks.get(place))
        };
        let Some(mark) = mark else {
            let said = match on {
                true if self.recording.more_marks => {
                    format!("only the first {MOST} marks are kept: step, or go by seconds")
                }
                true => "no change, failure or burst after this".to_owned(),
                false => "no change, failure or burst before this".to_owned(),
            };
            return Ok(Moved {
                said: Some(said),
                ..Moved::default()
            });
        };
        let (event, words) = (mark.event, mark.words.clone());
        self.playing = false;
        Ok(Moved {
            said: Some(words),
            ..self.stand_after(event + 1)?
        })
    }

    /// The way from here to there: on from here where that is shorter than from a state that was kept.
    fn go(&mut self, position: usize) -> Result<Moved, Damage> {
        let here = self.position;
        let near = self.near.as_ref().map(|(events, _)| *events);
        let near = near.filter(|events| *events <= position);
        let kept = near.unwrap_or(0).max(self.recording.frames.place(position));
        let moved = if here <= position && here >= kept {
            Moved {
                events: self.between(here, position)?,
                ..Moved::default()
            }
        } else {
            Moved {
                state: Some(Box::new(self.state(position)?)),
                ..Moved::default()
            }
        };
        self.position = position;
        self.turn();
        Ok(moved)
    }

    /// The state after so many events, from the last one before it that was kept.
    fn state(&mut self, position: usize) -> Result<State, Damage> {
        let frame = self.recording.frames.place(position);
        let (mut done, mut state) = match self.near.take() {
            Some((events, state)) if (frame..=position).contains(&events) => (events, *state),
            _ => (frame, self.recording.frames.state(position)),
        };
        while done < position {
            let page = self.recording.page(done)?;
            if position <= page.end() {
                // who goes back by steps needs it again
                self.near = Some((done, Box::new(state.clone())));
            }
            let until = position.min(page.end());
            for place in done..until {
                if let Some(event) = page.event(place) {
                    state.apply(event);
                }
            }
            done = until.max(done + 1);
        }
        Ok(state)
    }

    /// The events from here to there.
    fn between(&self, from: usize, to: usize) -> Result<Vec<Arc<Event>>, Damage> {
        let mut events = Vec::with_capacity(to - from);
        let mut page = self.page.clone();
        while from + events.len() < to {
            let place = from + events.len();
            match page.event(place) {
                Some(event) => events.push(Arc::clone(event)),
                None => page = self.recording.page(place)?,
            }
        }
        Ok(events)
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
