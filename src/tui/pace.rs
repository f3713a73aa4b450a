//! When to draw: at once after a rest, at most every 33 ms, and not at all while nothing changes.

use std::time::Duration;

use crate::time::Timestamp;

/// The least time between two frames: 30 a second.
pub const GAP: Duration = Duration::from_millis(33);

/// What decides about the next frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pace {
    last: Option<Timestamp>,
    dirty: bool,
    change: Option<Timestamp>,
    frames: u64,
}

impl Default for Pace {
    /// The first frame is due at once.
    fn default() -> Self {
        Self {
            last: None,
            dirty: true,
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

    /// When the next frame is due; nothing while all stands still.
    pub fn due(&self) -> Option<Timestamp> {
        let earliest = self.last.map_or(Timestamp::ZERO, |last| last + GAP);
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
        self.change = change;
        self.frames += 1;
    }

    /// Frames drawn.
    pub fn frames(&self) -> u64 {
        self.frames
    }
}
