//! Bounds of the counts in the window of the breaker: at least the outcomes of 29/30 of its length, at most those
//! of the whole, since the window has thirty slots.

use std::collections::VecDeque;
use std::time::Duration;

use crate::event::{Sample, WindowCounts};
use crate::time::Timestamp;

/// The outcomes of a time span and their counts.
#[derive(Clone, Debug, Default)]
struct Recent {
    samples: VecDeque<(Timestamp, Sample)>,
    failed: u32,
    slow: u32,
}

/// The lower and the upper bound, for one generation.
#[derive(Clone, Debug, Default)]
pub(super) struct Window {
    sure: Recent,
    possible: Recent,
    /// Consecutive failures.
    run: u32,
}

impl Window {
    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }

    /// Counts an outcome that is not neutral.
    pub(super) fn push(&mut self, at: Timestamp, sample: Sample) {
        self.run = if sample == Sample::Failed { self.run + 1 } else { 0 };
        for recent in [&mut self.sure, &mut self.possible] {
            recent.samples.push_back((at, sample));
            recent.failed += u32::from(sample == Sample::Failed);
            recent.slow += u32::from(sample == Sample::Slow);
        }
    }

    /// The bounds at `now`.
    pub(super) fn bounds(
        &mut self,
        now: Timestamp,
        length: Duration,
        late: Duration,
    ) -> (WindowCounts, WindowCounts) {
        self.sure.forget(now, (length / 30 * 29).saturating_sub(late));
        self.possible.forget(now, length + late);
        (self.sure.counts(self.run), self.possible.counts(self.run))
    }
}

impl Recent {
    fn forget(&mut self, now: Timestamp, length: Duration) {
        while let Some((at, sample)) = self.samples.front().copied() {
            if at + length >= now {
                break;
            }
            self.samples.pop_front();
            self.failed -= u32::from(sample == Sample::Failed);
            self.slow -= u32::from(sample == Sample::Slow);
        }
    }

    fn counts(&self, run: u32) -> WindowCounts {
        WindowCounts {
            total: u32::try_from(self.samples.len()).unwrap_or(u32::MAX),
            failed: self.failed,
            slow: self.slow,
            consecutive: run.min(self.failed),
        }
    }
}
