//! The position of playback and its controls. The time of the clock is an argument.
//!
//! ```text
//!              Play                      position: events that have happened
//!  paused <-------------> playing        at:       the shown time
//!    ^  ^                    |           at(now) = anchor + (now - since) * speed, at most the time of the
//!    |  +---- the end -------+                     next event not yet returned
//!    +------- step, mark, end
//! ```

use std::sync::Arc;
use std::time::Duration;

use super::load::{Damage, Page, Recording};
use super::marks::MAX_MARKS;
use crate::event::Event;
use crate::state::State;
use crate::time::Timestamp;
use crate::tui::playback::bar::{Control, Playback, PlaybackChange};

/// The speeds, in quarters of real time, and their labels.
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

/// The index of real time in [`SPEEDS`].
const NORMAL: usize = 2;

/// A recording and its position.
#[derive(Debug)]
pub struct Player {
    recording: Recording,
    /// Number of events that have happened.
    position: usize,
    /// The page with the next event, if any.
    page: Page,
    /// A state shortly before the last seek target, with its number of events.
    near: Option<(usize, Box<State>)>,
    playing: bool,
    /// Index in [`SPEEDS`].
    speed: usize,
    /// The shown time when the clock read `since`.
    anchor: Timestamp,
    since: Timestamp,
}

impl Player {
    /// Creates a player that plays from the beginning at `now`.
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
        player.load_page();
        player
    }

    /// The recording.
    pub fn recording(&self) -> &Recording {
        &self.recording
    }

    /// The number of events that have happened.
    pub fn position(&self) -> usize {
        self.position
    }

    /// Returns true while it plays.
    #[cfg(test)]
    pub fn is_playing(&self) -> bool {
        self.playing
    }

    /// The shown time at `now`. Never later than the next event, so that no picture misses a due event.
    pub fn at(&self, now: Timestamp) -> Timestamp {
        if !self.playing {
            return self.anchor;
        }
        let next = self.page.event(self.position);
        let limit = next.map_or(self.recording.length(), |event| event.at);
        self.unlimited(now).min(limit)
    }

    /// The time at `now` without that limit.
    fn unlimited(&self, now: Timestamp) -> Timestamp {
        let elapsed = u128::from(now.0.saturating_sub(self.since.0)) * u128::from(self.quarters()) / 4;
        let elapsed = u64::try_from(elapsed).unwrap_or(u64::MAX);
        Timestamp(self.anchor.0.saturating_add(elapsed))
    }

    /// The clock time at which `shown` is reached; `None` while paused.
    pub fn due(&self, shown: Timestamp) -> Option<Timestamp> {
        let ahead = u128::from(shown.0.saturating_sub(self.anchor.0)) * 4;
        let ahead = ahead.div_ceil(u128::from(self.quarters()));
        let ahead = u64::try_from(ahead).unwrap_or(u64::MAX);
        self.playing
            .then_some(Timestamp(self.since.0.saturating_add(ahead)))
    }

    /// The clock time of the next event or the end; `None` while paused.
    pub fn next_due(&self) -> Option<Timestamp> {
        let next = self.page.event(self.position);
        self.due(next.map_or(self.recording.length(), |event| event.at))
    }

    /// Returns at most `most` events due at `now`. Pauses at the end.
    pub fn play(&mut self, now: Timestamp, most: usize) -> Vec<Arc<Event>> {
        let mut due = Vec::new();
        if !self.playing {
            return due;
        }
        let limit = self.unlimited(now);
        while let Some(event) = self.page.event(self.position)
            && event.at <= limit
            && due.len() < most
        {
            due.push(Arc::clone(event));
            self.position += 1;
            self.load_page();
        }
        if self.position == self.recording.len() {
            self.playing = false;
            self.anchor = self.recording.length();
        }
        due
    }

    /// Loads the page of the next event.
    fn load_page(&mut self) {
        let all = self.recording.len();
        if self.page.event(self.position).is_some() || self.position == all {
            return;
        }
        match self.recording.page(self.position) {
            Ok(page) => self.page = page,
            Err(damage) => {
                // keep the shown state and stop
                self.anchor = self.page.events.last().map_or(self.anchor, |last| last.at);
                self.playing = false;
                self.recording.damage = Some(damage);
            }
        }
    }

    /// Executes a control. Returns the change of the shown state.
    pub fn control(&mut self, control: Control, now: Timestamp) -> PlaybackChange {
        let at = self.at(now);
        (self.anchor, self.since) = (at, now);
        let change = self.execute(control, at);
        self.or_damage(change)
    }

    /// Pauses with a message if the journal cannot be read again.
    fn or_damage(&mut self, change: Result<PlaybackChange, Damage>) -> PlaybackChange {
        change.unwrap_or_else(|(short, full)| {
            self.playing = false;
            let message = Some(full.to_string());
            self.recording.damage = Some((short, full));
            PlaybackChange {
                message,
                ..PlaybackChange::default()
            }
        })
    }

    fn execute(&mut self, control: Control, at: Timestamp) -> Result<PlaybackChange, Damage> {
        match control {
            Control::Play if !self.playing && self.position == self.recording.len() => {
                // play at the end restarts
                self.playing = !self.recording.is_empty();
                self.seek_to(Timestamp::ZERO)
            }
            Control::Play => {
                self.playing = !self.playing;
                Ok(PlaybackChange::default())
            }
            Control::Speed(by) => {
                let speed = self.speed.saturating_add_signed(isize::from(by));
                self.speed = speed.min(SPEEDS.len() - 1);
                Ok(PlaybackChange::default())
            }
            Control::Step(by) => {
                self.playing = false;
                let target = self.position.saturating_add_signed(isize::from(by));
                self.go_after(target)
            }
            Control::Mark(by) => self.jump(by > 0),
            Control::Seconds(by) => {
                let span = Duration::from_secs(u64::from(by.unsigned_abs()));
                self.seek_to(if by < 0 { at - span } else { at + span })
            }
            Control::Beginning => self.seek_to(Timestamp::ZERO),
            Control::End => {
                self.playing = false;
                self.go_after(self.recording.len())
            }
        }
    }

    /// Goes to a time, after all events up to it. Keeps playing if it did.
    pub fn seek(&mut self, at: Timestamp) -> PlaybackChange {
        let change = self.seek_to(at);
        self.or_damage(change)
    }

    fn seek_to(&mut self, at: Timestamp) -> Result<PlaybackChange, Damage> {
        let at = at.min(self.recording.length());
        // the beginning is before the first event, even one at time zero
        let position = if at == Timestamp::ZERO {
            0
        } else {
            self.recording.events_until(at)?
        };
        let change = self.go(position)?;
        self.anchor = at;
        if position == self.recording.len() {
            self.playing = false;
        }
        Ok(change)
    }

    /// Goes to the time of the last of `position` events.
    fn go_after(&mut self, position: usize) -> Result<PlaybackChange, Damage> {
        let position = position.min(self.recording.len());
        let change = self.go(position)?;
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
        Ok(change)
    }

    /// Goes to the next or previous mark and pauses.
    fn jump(&mut self, forward: bool) -> Result<PlaybackChange, Damage> {
        let here = self.position;
        let marks = self.recording.marks();
        let mark = if forward {
            marks.get(marks.partition_point(|mark| mark.event < here))
        } else {
            let before = marks.partition_point(|mark| mark.event + 1 < here);
            before.checked_sub(1).and_then(|index| marks.get(index))
        };
        let Some(mark) = mark else {
            let message = match forward {
                true if self.recording.more_marks => {
                    format!("only the first {MAX_MARKS} marks are kept: step by events or seconds")
                }
                true => "no change, failure or burst after this".to_owned(),
                false => "no change, failure or burst before this".to_owned(),
            };
            return Ok(PlaybackChange {
                message: Some(message),
                ..PlaybackChange::default()
            });
        };
        let (event, text) = (mark.event, mark.text.clone());
        self.playing = false;
        Ok(PlaybackChange {
            message: Some(text),
            ..self.go_after(event + 1)?
        })
    }

    /// Goes to `position`: forward from here if that is shorter than from a kept state.
    fn go(&mut self, position: usize) -> Result<PlaybackChange, Damage> {
        let here = self.position;
        let near = self.near.as_ref().map(|(events, _)| *events);
        let near = near.filter(|events| *events <= position);
        let kept = near
            .unwrap_or(0)
            .max(self.recording.frames.events_before(position));
        let change = if here <= position && here >= kept {
            PlaybackChange {
                events: self.between(here, position)?,
                ..PlaybackChange::default()
            }
        } else {
            PlaybackChange {
                state: Some(Box::new(self.state(position)?)),
                ..PlaybackChange::default()
            }
        };
        self.position = position;
        self.load_page();
        Ok(change)
    }

    /// The state after `position` events, from the last kept state before it.
    fn state(&mut self, position: usize) -> Result<State, Damage> {
        let frame = self.recording.frames.events_before(position);
        let (mut done, mut state) = match self.near.take() {
            Some((events, state)) if (frame..=position).contains(&events) => (events, *state),
            _ => (frame, self.recording.frames.state(position)),
        };
        while done < position {
            let page = self.recording.page(done)?;
            if position <= page.end() {
                // needed again for steps back
                self.near = Some((done, Box::new(state.clone())));
            }
            let until = position.min(page.end());
            for index in done..until {
                if let Some(event) = page.event(index) {
                    state.apply(event);
                }
            }
            done = until.max(done + 1);
        }
        Ok(state)
    }

    /// The events from index `from` up to `to`.
    fn between(&self, from: usize, to: usize) -> Result<Vec<Arc<Event>>, Damage> {
        let mut events = Vec::with_capacity(to - from);
        let mut page = self.page.clone();
        while from + events.len() < to {
            let index = from + events.len();
            match page.event(index) {
                Some(event) => events.push(Arc::clone(event)),
                None => page = self.recording.page(index)?,
            }
        }
        Ok(events)
    }

    /// The position, for the bar.
    pub fn playback(&self, now: Timestamp) -> Playback {
        Playback {
            name: self.recording.name.clone(),
            at: self.at(now),
            length: self.recording.length(),
            events: (self.position, self.recording.len()),
            speed: SPEEDS.get(self.speed).map_or("", |(_, label)| label),
            playing: self.playing,
            marks: Arc::clone(&self.recording.bar_marks),
            damage: self.recording.damage.clone(),
        }
    }

    fn quarters(&self) -> u64 {
        SPEEDS.get(self.speed).map_or(4, |(quarters, _)| *quarters)
    }
}
