//! Tries second by second, and what a window over them adds up to.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use super::RetryCause;
use crate::time::Timestamp;

/// Seconds kept, the present one included: two minutes.
pub const HISTORY: u64 = 120;
/// Seconds of a window, the present one included.
pub const WINDOW: u64 = 30;

/// Counts of one second.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RetrySecond {
    /// Number of the second since the session began.
    pub second: u64,
    /// First attempts started.
    pub first: u32,
    /// Retries started, in the order of [`RetryCause::ALL`].
    pub retries: [u32; RetryCause::ALL.len()],
    /// Retries that ended with an answer.
    pub helped: u32,
    /// Retries that ended without.
    pub failed: u32,
    /// Calls that had been sent and ended.
    pub ended: u32,
    /// Attempts of these calls.
    pub ended_tries: u32,
    /// Of these calls, answered.
    pub answered: u32,
    /// Of these calls, failed, interrupted or rejected. Cancelled calls are in neither.
    pub lost: u32,
}

impl RetrySecond {
    /// Retries of all causes.
    pub fn all_retries(&self) -> u32 {
        self.retries.iter().fold(0, |sum, one| sum.saturating_add(*one))
    }
}

/// The last seconds with any event.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct RetryTimeline {
    /// Oldest first; at most [`HISTORY`].
    pub seconds: VecDeque<RetrySecond>,
}

impl RetryTimeline {
    /// The entry of the second of `at`.
    pub(super) fn at(&mut self, at: Timestamp) -> &mut RetrySecond {
        let second = second_of(at);
        // an event out of order counts for the newest second
        if self.seconds.back().is_none_or(|last| last.second < second) {
            self.seconds.push_back(RetrySecond {
                second,
                ..RetrySecond::default()
            });
            while self
                .seconds
                .front()
                .is_some_and(|first| first.second.saturating_add(HISTORY) <= second)
            {
                self.seconds.pop_front();
            }
        }
        let last = self.seconds.len() - 1;
        &mut self.seconds[last]
    }

    /// The sum of the window that ends `back` seconds before `now`; 0 is the present one.
    pub(super) fn window(&self, now: Timestamp, back: u64) -> Sum {
        let mut sum = Sum::default();
        let Some(last) = second_of(now).checked_sub(back) else {
            return sum;
        };
        let inside = self
            .seconds
            .iter()
            .rev()
            .skip_while(|one| one.second > last)
            .take_while(|one| one.second.saturating_add(WINDOW) > last);
        for one in inside {
            sum.add(one);
        }
        sum
    }
}

/// Sums over some seconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Sum {
    pub(super) first: u64,
    pub(super) retries: u64,
    pub(super) helped: u64,
    pub(super) failed: u64,
    pub(super) ended: u64,
    pub(super) ended_tries: u64,
    pub(super) answered: u64,
    pub(super) lost: u64,
}

impl Sum {
    fn add(&mut self, one: &RetrySecond) {
        self.first += u64::from(one.first);
        self.retries += u64::from(one.all_retries());
        self.helped += u64::from(one.helped);
        self.failed += u64::from(one.failed);
        self.ended += u64::from(one.ended);
        self.ended_tries += u64::from(one.ended_tries);
        self.answered += u64::from(one.answered);
        self.lost += u64::from(one.lost);
    }

    /// The share of retries among all tries begun; 0 where there were none.
    pub(super) fn retry_share(&self) -> f64 {
        share(self.retries, self.first + self.retries)
    }

    /// The share of retries that brought an answer among those that ended; 0 where none did.
    pub(super) fn helped_share(&self) -> f64 {
        share(self.helped, self.helped + self.failed)
    }

    /// The share of answered calls among those sent that ended; 1 where none did.
    pub(super) fn answered_share(&self) -> f64 {
        if self.answered + self.lost == 0 {
            1.0
        } else {
            share(self.answered, self.answered + self.lost)
        }
    }
}

fn share(part: u64, of: u64) -> f64 {
    if of == 0 { 0.0 } else { part as f64 / of as f64 }
}

/// The second in which an instant lies.
pub(super) fn second_of(at: Timestamp) -> u64 {
    at.0 / 1_000_000_000
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: f64) -> Timestamp {
        Timestamp::from_secs_f64(seconds)
    }

    #[test]
    fn a_window_has_its_last_second_and_not_the_one_before_its_first() {
        let mut timeline = RetryTimeline::default();
        for second in 0..200 {
            timeline.at(at(f64::from(second))).first += 1;
        }
        assert_eq!(timeline.seconds.len(), 120);
        assert_eq!(timeline.seconds.front().map(|one| one.second), Some(80));
        let first = |now, back| timeline.window(at(now), back).first;
        assert_eq!([first(199.9, 0), first(199.9, 30), first(210.0, 0)], [30, 30, 19]);
        assert_eq!([first(228.0, 0), first(229.0, 0), first(10.0, 30)], [1, 0, 0]);
    }

    #[test]
    fn what_comes_out_of_order_counts_for_the_newest_second() {
        let mut timeline = RetryTimeline::default();
        timeline.at(at(9.0)).first += 1;
        timeline.at(at(3.0)).first += 1;
        assert_eq!(timeline.seconds.len(), 1);
        assert_eq!(timeline.window(at(9.0), 0).first, 2);
    }
}
