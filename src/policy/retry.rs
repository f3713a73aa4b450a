//! Whether a failed attempt is followed by another one, and when. One [`Retry`] for each call.
//!
//! ```text
//!                 +------------------ at, unless the call is cancelled -----------------+
//!                 v                                                                     |
//!  new --> [attempt n goes out] --failed--> decide --+--> Again { next: n + 1, at } ----+
//!                 |                                  |
//!              succeeded                             +--> Stop { reason }
//! ```
//!
//! The phase decides what is legal (semantics 1.1, after RFC 9110 section 9.2.2), not the class:
//!
//! | phase | retried | takes an attempt | takes from the budget |
//! |---|---|---|---|
//! | `NotSent` | yes | yes | no: nothing reached the upstream |
//! | `Refused` | yes | yes | yes |
//! | `Ambiguous`, `Begun` | at most `max_ambiguous_retries` times | yes | yes |
//! | `Delivered`, `Final` | never | | |
//! | `Refused` with class `Loading` | until the deadline | no | no |
//!
//! **Loading** is no failure but a wait: the model is polled with a backoff of its own, at least
//! [`POLL_FLOOR`] apart, because neither attempts nor budget end it. `attempts = 1` switches that off too.
//!
//! `x-should-retry: false` always stops. `true` was heard by `classify`, which turns `Final` into `Refused`;
//! it buys neither attempts nor budget, and an outcome that may have been billed stays ambiguous.
//!
//! **The wait** (semantics 1.2): `max(hint, backoff) + U(0, min(1 s, hint / 10))`, so never sooner than the
//! server asked, and not all at once when it is over. A hint above `max_hint` or beyond the deadline is not
//! cut short but stops the call, and a wait that would reach the deadline stops it too: the caller learns of
//! the real error now instead of a timeout later.
//!
//! Either decision may name a **pause**: a refusal with a hint holds for every caller of that upstream, so
//! the limiter should admit nobody before it is over.

use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::backoff::Backoff;
use super::budget::RetryBudget;
use crate::event::{Failure, FailureClass, Hint, Phase, StopReason};
use crate::settings::RetrySettings;
use crate::time::{Timestamp, saturating_nanos};

/// The shortest wait between two polls of a model that is loading.
pub const POLL_FLOOR: Duration = Duration::from_millis(250);
/// The longest pause that a hint can impose on everybody.
pub const LONGEST_PAUSE: Duration = Duration::from_hours(1);
/// The most that is added to a hint, to spread those who wait for it.
const WIDEST_SPREAD: Duration = Duration::from_secs(1);

/// What follows a failed attempt.
#[must_use]
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum RetryDecision {
    /// Another attempt.
    Again {
        /// Its number, from 2.
        next: u32,
        /// When it starts.
        at: Timestamp,
        /// The wait until then.
        delay: Duration,
        /// What the backoff drew, before the hint was heard.
        drawn: Duration,
        /// The hint that was obeyed.
        hint: Option<Hint>,
        /// Whether the failed attempt may have been billed.
        ambiguous: bool,
        /// How long the limiter should admit nobody.
        pause: Option<Duration>,
    },
    /// No other attempt.
    Stop {
        /// Why.
        reason: StopReason,
        /// How long the limiter should admit nobody, at most an hour: the server's hint counts for those
        /// who come later as well.
        pause: Option<Duration>,
    },
}

/// The retries of one call.
#[derive(Debug)]
pub struct Retry {
    settings: RetrySettings,
    backoff: Backoff,
    /// Apart from the backoff, so that a long wait for a model does not lengthen the first wait after it.
    polls: Backoff,
    spread: StdRng,
    /// Attempts that went out, or are about to.
    made: u32,
    /// Of these, polls of a model that was loading.
    polled: u32,
    /// Retries after an outcome that may have been billed.
    ambiguous: u32,
}

impl Retry {
    /// A call whose first attempt goes out now. The same seed gives the same waits. The caller deposits the
    /// first attempt into the budget.
    pub fn new(settings: &RetrySettings, seed: u64) -> Self {
        let mut seeds = StdRng::seed_from_u64(seed);
        Self {
            backoff: Backoff::from_settings(settings, seeds.random()),
            polls: Backoff::from_settings(settings, seeds.random()),
            spread: seeds,
            settings: settings.clone(),
            made: 1,
            polled: 0,
            ambiguous: 0,
        }
    }

    /// HTTP requests made for this call, polls of a loading model included: the number of the current
    /// attempt, or of the last one.
    pub fn attempts(&self) -> u32 {
        self.made
    }

    /// Of these, those that met a model still loading and do not count against `retry.attempts`.
    pub fn polls(&self) -> u32 {
        self.polled
    }

    /// Decides what follows the failure of the current attempt.
    ///
    /// An attempt that the breaker or the limiter turned away did not go out: it stops the call, and
    /// [`Self::attempts`] no longer counts it.
    pub fn decide(
        &mut self,
        now: Timestamp,
        deadline: Timestamp,
        failure: &Failure,
        budget: &mut RetryBudget,
    ) -> RetryDecision {
        let pause = self.pause(failure);
        if matches!(
            failure.class,
            FailureClass::BreakerRefused | FailureClass::LimitRejected
        ) {
            self.made = self.made.saturating_sub(1);
        }
        let attempt = self
            .forbidden(now, deadline, failure)
            .map_or_else(|| self.again(now, deadline, failure, budget, pause), Err);
        match attempt {
            Ok(again) => again,
            Err(reason) => RetryDecision::Stop { reason, pause },
        }
    }

    /// The reason against another attempt that needs no wait to be known.
    fn forbidden(&self, now: Timestamp, deadline: Timestamp, failure: &Failure) -> Option<StopReason> {
        let ambiguous = matches!(failure.phase, Phase::Ambiguous | Phase::Begun);
        let free_of_charge = failure.class == FailureClass::Loading && self.settings.attempts > 1;
        let counted = self.made.saturating_sub(self.polled);
        [
            (
                failure.class == FailureClass::BreakerRefused,
                StopReason::BreakerOpen,
            ),
            (failure.class == FailureClass::LimitRejected, StopReason::Limited),
            (failure.phase == Phase::Delivered, StopReason::Delivered),
            (failure.phase == Phase::Final, StopReason::NotRetryable),
            (failure.should_retry == Some(false), StopReason::ServerSaysNo),
            (
                failure.class == FailureClass::Deadline || now >= deadline,
                StopReason::Deadline,
            ),
            (
                !free_of_charge && counted >= self.settings.attempts,
                StopReason::Attempts,
            ),
            (
                ambiguous && self.ambiguous >= self.settings.max_ambiguous_retries,
                StopReason::Ambiguous,
            ),
        ]
        .into_iter()
        .find_map(|(holds, reason)| holds.then_some(reason))
    }

    /// The wait, if it ends in time and the budget has a retry left. The budget is asked last, so nothing
    /// is taken from it in vain.
    fn again(
        &mut self,
        now: Timestamp,
        deadline: Timestamp,
        failure: &Failure,
        budget: &mut RetryBudget,
        pause: Option<Duration>,
    ) -> Result<RetryDecision, StopReason> {
        let remaining = now.until(deadline);
        let hint = failure.hint.filter(|_| self.settings.obey_hints);
        let asked = hint.map_or(Duration::ZERO, |hint| hint.wait);
        if asked > self.settings.max_hint {
            return Err(StopReason::HintTooLong);
        }
        let loading = failure.class == FailureClass::Loading;
        let drawn = if loading {
            self.polls.next().unwrap_or_default().max(POLL_FLOOR)
        } else {
            self.backoff.next().unwrap_or_default()
        };
        let delay = drawn.max(asked).saturating_add(self.spread(asked));
        if delay >= remaining {
            return Err(StopReason::Deadline);
        }
        if !loading && failure.phase != Phase::NotSent && !budget.withdraw(now) {
            return Err(StopReason::Budget);
        }
        let ambiguous = matches!(failure.phase, Phase::Ambiguous | Phase::Begun);
        self.ambiguous += u32::from(ambiguous);
        self.polled += u32::from(loading);
        self.made = self.made.saturating_add(1);
        Ok(RetryDecision::Again {
            next: self.made,
            at: now + delay,
            delay,
            drawn,
            hint,
            ambiguous,
            pause,
        })
    }

    /// `U(0, min(1 s, hint / 10))`.
    fn spread(&mut self, hint: Duration) -> Duration {
        let widest = saturating_nanos((hint / 10).min(WIDEST_SPREAD));
        Duration::from_nanos(self.spread.random_range(0..=widest))
    }

    /// A hint counts for everybody if it came with a refusal, or with an empty purse.
    fn pause(&self, failure: &Failure) -> Option<Duration> {
        let hint = failure.hint.filter(|_| self.settings.obey_hints)?;
        let refusal = failure.phase == Phase::Refused || failure.class == FailureClass::Quota;
        (refusal && !hint.wait.is_zero()).then(|| hint.wait.min(LONGEST_PAUSE))
    }
}

#[cfg(test)]
mod tests;
