//! One second of a timeline, and merged seconds.

use serde::{Deserialize, Serialize};

use super::Sketch;
use crate::event::Fate;
use crate::state::RetryCause;

/// The counts of a second, or of merged seconds; they saturate.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Slot {
    /// Seconds merged that were observed: 0 while suspended. A rate is a count over this.
    pub seconds: u32,
    /// First attempts started.
    pub first: u32,
    /// Retries started, in the order of [`RetryCause::ALL`].
    pub retries: [u32; RetryCause::ALL.len()],
    /// Retries that the retry budget paid for, counted when they are scheduled.
    pub granted: u32,
    /// Calls ended, in the order of [`Fate::ALL`].
    pub fates: [u32; Fate::ALL.len()],
    /// Of these, the calls with at least one attempt.
    pub sent: SentCalls,
    /// Lookups of the cache: hits and new prompts. A call that joins a flight is in neither.
    pub lookups: u32,
    /// Lookups answered by the exact or the semantic cache.
    pub hits: u32,
    /// Lookups that missed and started a flight of their own.
    pub new_prompts: u32,
    /// Calls that joined the flight of another call.
    pub joined: u32,
    /// Retries that ended with an answer.
    pub helped: u32,
    /// Retries that failed.
    pub wasted: u32,
    /// Attempts that ended with an answer or a failure, first ones and retries.
    pub ended_attempts: u32,
    /// Of these, failed.
    pub failed_attempts: u32,
    /// The most attempts in flight at once.
    pub in_flight: u32,
    /// The most calls in the limiter's queue at once.
    pub waiting: u32,
    /// LLM tokens left; `None` if the limiter is off.
    pub tokens_left: Option<Level>,
    /// Requests left; `None` if the limiter is off.
    pub requests_left: Option<Level>,
    /// Failed and all outcomes in the breaker's window, after the last outcome recorded.
    pub breaker_window: Option<(u32, u32)>,
    /// Calls answered by the upstream, from start to end.
    pub latency: Sketch,
}

/// Ended calls that had sent at least one attempt.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SentCalls {
    /// Calls.
    pub ended: u32,
    /// Their attempts.
    pub attempts: u32,
    /// Calls answered.
    pub answered: u32,
    /// Calls failed, interrupted or rejected. Cancelled calls are in neither.
    pub lost: u32,
}

/// A level within a slot, in per mille of the capacity.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Level {
    /// The lowest.
    pub lowest: u16,
    /// The last.
    pub last: u16,
}

impl Level {
    /// This level, followed by another.
    #[must_use]
    pub fn then(self, later: Self) -> Self {
        Self {
            lowest: self.lowest.min(later.lowest),
            last: later.last,
        }
    }
}

impl Slot {
    /// Retries of all causes.
    pub fn retried(&self) -> u32 {
        self.retries.iter().fold(0, |sum, one| sum.saturating_add(*one))
    }

    /// Attempts started: first ones and retries.
    pub fn attempts(&self) -> u32 {
        self.first.saturating_add(self.retried())
    }

    /// Calls that ended with this fate.
    pub fn ended(&self, fate: Fate) -> u32 {
        self.fates.get(fate as usize).copied().unwrap_or_default()
    }

    /// Hits over lookups, 0 to 1; `None` without a lookup.
    pub fn hit_rate(&self) -> Option<f64> {
        (self.lookups > 0).then(|| f64::from(self.hits) / f64::from(self.lookups))
    }

    /// Adds the slot that follows this one.
    pub fn merge(&mut self, later: &Self) {
        let sums = [
            (&mut self.seconds, later.seconds),
            (&mut self.first, later.first),
            (&mut self.granted, later.granted),
            (&mut self.sent.ended, later.sent.ended),
            (&mut self.sent.attempts, later.sent.attempts),
            (&mut self.sent.answered, later.sent.answered),
            (&mut self.sent.lost, later.sent.lost),
            (&mut self.lookups, later.lookups),
            (&mut self.hits, later.hits),
            (&mut self.new_prompts, later.new_prompts),
            (&mut self.joined, later.joined),
            (&mut self.helped, later.helped),
            (&mut self.wasted, later.wasted),
            (&mut self.ended_attempts, later.ended_attempts),
            (&mut self.failed_attempts, later.failed_attempts),
        ];
        let by_cause = self.retries.iter_mut().zip(later.retries);
        let by_fate = self.fates.iter_mut().zip(later.fates);
        for (sum, one) in sums.into_iter().chain(by_cause).chain(by_fate) {
            *sum = sum.saturating_add(one);
        }
        self.in_flight = self.in_flight.max(later.in_flight);
        self.waiting = self.waiting.max(later.waiting);
        self.tokens_left = followed(self.tokens_left, later.tokens_left);
        self.requests_left = followed(self.requests_left, later.requests_left);
        self.breaker_window = later.breaker_window.or(self.breaker_window);
        self.latency.merge(&later.latency);
    }
}

fn followed(earlier: Option<Level>, later: Option<Level>) -> Option<Level> {
    match (earlier, later) {
        (Some(earlier), Some(later)) => Some(earlier.then(later)),
        (earlier, later) => later.or(earlier),
    }
}
