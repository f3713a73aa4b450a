//! The outcomes of the last `window`, in bounded memory.
//!
//! ```text
//!  age of slots:  29 ... 3  2  1  0     each 1/30 of the window, each with three counts
//!                 |<---- window ---->|
//! ```
//!
//! An outcome counts for at least 29/30 of the window and never longer than the window: it expires with its slot.
//! Memory is 30 small records at any rate of calls, where a list of outcomes would grow with the traffic.

use std::collections::VecDeque;
use std::time::Duration;

use crate::event::{Sample, WindowCounts};
use crate::time::{Timestamp, saturating_nanos};

/// Slots per window.
const SLOTS: u64 = 30;

/// Counts of outcomes that expire slot by slot.
#[derive(Clone, Debug)]
pub(super) struct Window {
    slot_ns: u64,
    /// Oldest first; at most [`SLOTS`], with distinct numbers.
    slots: VecDeque<Slot>,
    /// Failures in a row, including those that have left the window.
    run: u32,
}

#[derive(Clone, Copy, Debug, Default)]
struct Slot {
    /// Number of the slot since the start of the session.
    number: u64,
    total: u32,
    failed: u32,
    slow: u32,
}

impl Window {
    pub(super) fn new(length: Duration) -> Self {
        Self {
            slot_ns: (saturating_nanos(length) / SLOTS).max(1),
            slots: VecDeque::new(),
            run: 0,
        }
    }

    pub(super) fn clear(&mut self) {
        self.slots.clear();
        self.run = 0;
    }

    /// Counts an outcome; neutral and late ones change nothing.
    pub(super) fn record(&mut self, now: Timestamp, sample: Sample) {
        let (failed, slow) = match sample {
            Sample::Ok => (0, 0),
            Sample::Slow => (0, 1),
            Sample::Failed => (1, 0),
            Sample::Neutral | Sample::Late => return,
        };
        let number = self.number(now);
        // failures that left the window no longer belong to the run
        self.run = self.counts(now).consecutive;
        while self.slots.front().is_some_and(|slot| !is_live(slot, number)) {
            self.slots.pop_front();
        }
        if self.slots.back().is_none_or(|slot| slot.number < number) {
            self.slots.push_back(Slot {
                number,
                ..Slot::default()
            });
        }
        if let Some(slot) = self.slots.back_mut() {
            slot.total = slot.total.saturating_add(1);
            slot.failed = slot.failed.saturating_add(failed);
            slot.slow = slot.slow.saturating_add(slow);
        }
        self.run = if failed == 1 {
            self.run.saturating_add(1)
        } else {
            0
        };
    }

    pub(super) fn counts(&self, now: Timestamp) -> WindowCounts {
        let number = self.number(now);
        let mut counts = WindowCounts::default();
        for slot in self.slots.iter().filter(|slot| is_live(slot, number)) {
            counts.total = counts.total.saturating_add(slot.total);
            counts.failed = counts.failed.saturating_add(slot.failed);
            counts.slow = counts.slow.saturating_add(slot.slow);
        }
        // the run is the newest failures: those in the window, if fewer are left than the run has
        counts.consecutive = self.run.min(counts.failed);
        counts
    }

    fn number(&self, now: Timestamp) -> u64 {
        now.0 / self.slot_ns
    }
}

/// True if a slot is in the window when slot `number` is the newest.
fn is_live(slot: &Slot, number: u64) -> bool {
    slot.number.saturating_add(SLOTS) > number
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MINUTE: Duration = Duration::from_mins(1);

    #[test]
    fn expired_failures_leave_the_run() {
        let mut window = Window::new(MINUTE);
        for second in [0, 1, 30, 31] {
            window.record(Timestamp::from_secs_f64(f64::from(second)), Sample::Failed);
        }
        let counts = |second| window.counts(Timestamp::from_secs_f64(second));
        let all = WindowCounts {
            total: 4,
            failed: 4,
            slow: 0,
            consecutive: 4,
        };
        assert_eq!(counts(59.9), all);
        let half = WindowCounts {
            total: 2,
            failed: 2,
            slow: 0,
            consecutive: 2,
        };
        assert_eq!(counts(60.0), half);
        assert_eq!(counts(1000.0), WindowCounts::default());
    }

    #[test]
    fn memory_does_not_grow_with_the_traffic() {
        let mut window = Window::new(MINUTE);
        for call in 0..10_000 {
            window.record(Timestamp(call * 10_000_000), Sample::Ok);
        }
        assert_eq!(window.slots.len(), 30);
        // 100 per second; the window spans the current slot, two seconds wide, and the 29 before it
        assert_eq!(window.counts(Timestamp::from_secs_f64(99.99)).total, 6000);
    }

    proptest! {
        /// Compares with a list of all outcomes: younger than 29/30 counts, older than the window does not.
        #[test]
        fn counts_like_a_list(
            steps in prop::collection::vec((0_u64..8_000_000_000, 0_u8..4), 1..200),
        ) {
            let mut window = Window::new(MINUTE);
            let mut list: Vec<(u64, Sample)> = Vec::new();
            let mut now = 0;
            for (gap, kind) in steps {
                now += gap;
                let sample = [Sample::Ok, Sample::Slow, Sample::Failed, Sample::Neutral][usize::from(kind)];
                window.record(Timestamp(now), sample);
                if sample != Sample::Neutral {
                    list.push((now, sample));
                }
                let slot = window.slot_ns;
                let oldest = (now / slot).saturating_sub(29) * slot;
                prop_assert!(now - oldest < saturating_nanos(MINUTE) || oldest == 0);
                let live = list.iter().filter(|(at, _)| *at >= oldest).map(|(_, sample)| *sample);
                let live: Vec<_> = live.collect();
                let count = |wanted| live.iter().filter(|sample| **sample == wanted).count() as u32;
                let run = live.iter().rev().take_while(|sample| **sample == Sample::Failed).count();
                let expected = WindowCounts {
                    total: live.len() as u32,
                    failed: count(Sample::Failed),
                    slow: count(Sample::Slow),
                    consecutive: run as u32,
                };
                prop_assert_eq!(window.counts(Timestamp(now)), expected);
                prop_assert!(window.slots.len() <= 30);
            }
        }
    }
}
