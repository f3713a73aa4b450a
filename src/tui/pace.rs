//! Frame pacing: the first frame after a pause is immediate, further ones at least 33 ms apart, none while nothing
//! changes. The response to a key may follow after 5 ms, so that typing does not lag during a burst.
//!
//! Drawing takes at most half of the time: where a frame takes long, on a slow terminal, the keys that came meanwhile
//! are answered together.

use std::time::Duration;

use crate::time::Timestamp;

/// The shortest time between two frames: 30 per second.
pub const GAP: Duration = Duration::from_millis(33);

/// The same in response to a key.
pub const KEY_GAP: Duration = Duration::from_millis(5);

/// The longest time left for keys after a frame that took as long.
const REST: Duration = Duration::from_millis(100);

/// The pacing state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pace {
    last: Option<Timestamp>,
    /// The time that the last frame took.
    took: Duration,
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
            took: Duration::ZERO,
            dirty: true,
            hurried: false,
            change: None,
            frames: 0,
        }
    }
}

impl Pace {
    /// Requests a frame after a change.
    pub fn touch(&mut self) {
        self.dirty = true;
    }

    /// Requests a frame in response to a key.
    pub fn hurry(&mut self) {
        self.dirty = true;
        self.hurried = true;
    }

    /// Returns when the next frame is due; `None` while nothing changes.
    pub fn due(&self) -> Option<Timestamp> {
        let gap = if self.hurried { KEY_GAP } else { GAP };
        let gap = gap.max(self.took + self.took.min(REST));
        let earliest = self.last.map_or(Timestamp::ZERO, |last| last + gap);
        if self.dirty {
            Some(earliest)
        } else {
            self.change.map(|change| change.max(earliest))
        }
    }

    /// Records a frame of `now`, which took some time to draw; the picture changes by itself at `change`.
    pub fn drawn(&mut self, now: Timestamp, took: Duration, change: Option<Timestamp>) {
        self.last = Some(now);
        self.took = took;
        self.dirty = false;
        self.hurried = false;
        self.change = change;
        self.frames += 1;
    }

    /// The number of frames drawn.
    pub fn frames(&self) -> u64 {
        self.frames
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_key_shortens_the_gap_between_frames() {
        let at = |millis: u64| Timestamp(millis * 1_000_000);
        let mut pace = Pace::default();
        pace.drawn(at(100), Duration::from_millis(1), None);
        pace.touch();
        assert_eq!(pace.due(), Some(at(133)));
        pace.hurry();
        assert_eq!(pace.due(), Some(at(105)));
        pace.drawn(at(105), Duration::from_millis(1), None);
        assert_eq!(pace.due(), None);
        pace.touch();
        assert_eq!(pace.due(), Some(at(138)));
    }

    #[test]
    fn a_slow_frame_leaves_time_for_keys() {
        let at = |millis: u64| Timestamp(millis * 1_000_000);
        let mut pace = Pace::default();
        pace.drawn(at(100), Duration::from_millis(20), None);
        pace.hurry();
        assert_eq!(pace.due(), Some(at(140)));
        pace.drawn(at(140), Duration::from_secs(3), None);
        pace.hurry();
        assert_eq!(pace.due(), Some(at(3240)));
    }
}
