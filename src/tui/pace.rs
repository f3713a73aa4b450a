//! When to draw: at once after a rest, at most every 33 ms, and not at all while nothing changes. The answer to
//! a key does not wait for that beat, or typing would lag behind a burst.

use std::time::Duration;

use crate::time::Timestamp;

/// The least time between two frames: 30 a second.
pub const GAP: Duration = Duration::from_millis(33);

/// The same where a key waits for its answer.
pub const KEY_GAP: Duration = Duration::from_millis(5);

/// What decides about the next frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pace {
    last: Option<Timestamp>,
    dirty: bool,
    hurried: bool,
    change: Option<Timestamp>,
    frames: u64,
}

impl Default for Pace {
    /// The first frame is due at once.
    fn default() -> Self {
        Self {
            last: None,
            dirty: true,
            hurried: false,
            change: None,
            frames: 0,
        }
    }
}

impl Pace {
    /// Something changed.
    pub fn touch(&mut self) {
        self.dirty = true;
    }

    /// A person did something, and looks for the answer.
    pub fn hurry(&mut self) {
        self.dirty = true;
        self.hurried = true;
    }

    /// When the next frame is due; nothing while all stands still.
    pub fn due(&self) -> Option<Timestamp> {
        let gap = if self.hurried { KEY_GAP } else { GAP };
        let earliest = self.last.map_or(Timestamp::ZERO, |last| last + gap);
        if self.dirty {
            Some(earliest)
        } else {
            self.change.map(|change| change.max(earliest))
        }
    }

    /// A frame was drawn at `now`; the picture changes by itself at `change`.
    pub fn drawn(&mut self, now: Timestamp, change: Option<Timestamp>) {
        self.last = Some(now);
        self.dirty = false;
        self.hurried = false;
        self.change = change;
        self.frames += 1;
    }

    /// Frames drawn.
    pub fn frames(&self) -> u64 {
        self.frames
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_does_not_wait_for_the_beat_and_nothing_else_is_faster() {
        let at = |millis: u64| Timestamp(millis * 1_000_000);
        let mut pace = Pace::default();
        pace.drawn(at(100), None);
        pace.touch();
        assert_eq!(pace.due(), Some(at(133)));
        pace.hurry();
        assert_eq!(pace.due(), Some(at(105)));
        pace.drawn(at(105), None);
        assert_eq!(pace.due(), None);
        pace.touch();
        assert_eq!(pace.due(), Some(at(138)));
    }
}
