//! Sums over some seconds of the timeline, and the budget that follows from them.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::event::FailureClass;
use crate::event::{Failure, Phase};
use crate::state::{Slot, State, Timeline};
use crate::time::{Timestamp, saturating_nanos};

/// Seconds of the window in which a storm is judged, the present one included.
pub const WINDOW: u64 = 30;
/// Seconds of the window that shows first that a storm is over.
pub(super) const SHORT: u64 = 5;

/// Sums over some seconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Sum {
    pub(super) first: u64,
    pub(super) retries: u64,
    pub(super) helped: u64,
    pub(super) wasted: u64,
    pub(super) ended: u64,
    pub(super) ended_attempts: u64,
    pub(super) answered: u64,
    pub(super) lost: u64,
}

impl Sum {
    pub(super) fn over<'a>(slots: impl Iterator<Item = &'a Slot>) -> Self {
        slots.fold(Self::default(), Self::plus)
    }

    pub(super) fn plus(mut self, slot: &Slot) -> Self {
        self.first += u64::from(slot.first);
        self.retries += u64::from(slot.retried());
        self.helped += u64::from(slot.helped);
        self.wasted += u64::from(slot.wasted);
        self.ended += u64::from(slot.sent.ended);
        self.ended_attempts += u64::from(slot.sent.attempts);
        self.answered += u64::from(slot.sent.answered);
        self.lost += u64::from(slot.sent.lost);
        self
    }

    /// The share of retries among all attempts started; 0 without attempts.
    pub(super) fn retry_share(&self) -> f64 {
        share(self.retries, self.first + self.retries)
    }

    /// The share of ended retries that brought an answer; 0 without ended retries.
    pub(super) fn helped_share(&self) -> f64 {
        share(self.helped, self.helped + self.wasted)
    }

    /// The share of answered calls among those sent that ended; 1 without any.
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

/// The windows that the storm rule reads.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Windows {
    /// The last 30 s.
    pub(super) window: Sum,
    /// The last 5 s.
    pub(super) short: Sum,
    /// The 30 s before the window.
    pub(super) before: Sum,
}

impl Windows {
    /// The windows that end with the second `last`.
    pub(super) fn ending(timeline: &Timeline, last: u64) -> Self {
        let sum = |last: Option<u64>, count| {
            last.map_or_else(Sum::default, |last| Sum::over(timeline.seconds(last, count)))
        };
        Self {
            window: sum(Some(last), WINDOW),
            short: sum(Some(last), SHORT),
            before: sum(last.checked_sub(WINDOW), WINDOW),
        }
    }
}

/// The windows without the open second, so that an event adds only that one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ClosedWindows {
    /// The open second.
    second: u64,
    closed: Windows,
}

impl ClosedWindows {
    /// The windows that end with the open second.
    pub(super) fn now(&mut self, timeline: &Timeline) -> Windows {
        let second = timeline.second();
        if self.second != second {
            let sum = |count| Sum::over(timeline.seconds(second.saturating_sub(1), count - 1));
            self.second = second;
            self.closed = Windows {
                window: sum(WINDOW),
                short: sum(SHORT),
                before: Windows::ending(timeline, second).before,
            };
        }
        let mut windows = self.closed;
        for slot in timeline.seconds(second, 1) {
            windows.window = windows.window.plus(slot);
            windows.short = windows.short.plus(slot);
        }
        windows
    }
}

/// The retry budget at one instant, in retries.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RetryBudgetLevel {
    /// Retries left, from 0 to `max`.
    pub left: f64,
    /// Retries that would be left if none had been made.
    pub max: f64,
}

/// Returns true if a retry after `failure` is not charged to the budget: nothing was sent, or a model is loading.
pub(super) fn is_free(failure: &Failure) -> bool {
    failure.class == FailureClass::Loading || failure.phase == Phase::NotSent
}

impl State {
    /// The retry budget at `now`; `None` if retries are not limited.
    ///
    /// `left = ratio * first attempts + min_per_s * ttl - retries`, over the last `ttl` (docs/semantics.md, Retry
    /// budget). The timeline counts whole seconds, the policy counts slots of half a second (at the default time to
    /// live), so the two differ by what the oldest half second holds.
    pub fn retry_budget(&self, now: Timestamp) -> Option<RetryBudgetLevel> {
        let settings = &self.session.policy.retry;
        let (ratio, min_per_s, ttl) = (
            settings.budget_ratio,
            settings.budget_min_per_s,
            settings.budget_ttl,
        );
        if ratio <= 0.0 && min_per_s <= 0.0 {
            return None;
        }
        let count = |window: Duration, count: fn(&Slot) -> u32| -> u64 {
            let (second, window) = (now.0 / 1_000_000_000, saturating_nanos(window));
            let before = now.0.checked_sub(window).map(|before| before / 1_000_000_000);
            let seconds = before.map_or(second.saturating_add(1), |before| second - before);
            let since = self.retry.budget_since.0 / 1_000_000_000;
            let seconds = seconds.min(second.saturating_add(1).saturating_sub(since));
            self.timeline
                .seconds(second, seconds)
                .map(|slot| u64::from(count(slot)))
                .sum()
        };
        let max = ratio * count(ttl, |slot| slot.first) as f64 + min_per_s * ttl.as_secs_f64();
        // withdrawals expire a tenth later than deposits
        let granted = count(ttl.saturating_add(ttl / 10), |slot| slot.granted) as f64;
        let left = (max - granted).max(0.0);
        Some(RetryBudgetLevel { left, max })
    }

    /// Attempts per call, over running calls and those that ended in the last 30 s; `None` without calls.
    pub fn attempts_per_call(&self, now: Timestamp) -> Option<f64> {
        let window = Windows::ending(&self.timeline, now.0 / 1_000_000_000).window;
        let (calls, attempts) = self.retry.attempts_of(&window);
        (calls > 0).then_some(attempts)
    }
}
