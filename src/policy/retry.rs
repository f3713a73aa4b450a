//! The retry decision: if another attempt follows a failed one, and when. One [`Retry`] per call.
//!
//! ```text
//!                 +---------------- at, unless the call is cancelled -----------------+
//!                 v                                                                   |
//!  new --> [attempt n is sent] --failed--> decide --+--> Retry { next: n + 1, at } ---+
//!                 |                                 |
//!              succeeded                            +--> Stop { reason }
//! ```
//!
//! The phase of the failure decides what is legal, not its class (RFC 9110 section 9.2.2):
//!
//! | phase | retried | counts as an attempt | charges the budget |
//! |---|---|---|---|
//! | `NotSent` | yes | yes | no: nothing reached the upstream |
//! | `Refused` | yes | yes | yes |
//! | `Ambiguous`, `Begun` | at most `max_ambiguous_retries` times | yes | yes |
//! | `Delivered`, `Final` | never | | |
//! | `Refused` with class `Loading` | until the deadline | no | no |
//!
//! - **Loading** is a wait, not a failure: the model is polled with its own backoff, at least 250 ms apart,
//!   because neither attempts nor budget end it. `attempts = 1` disables polls too.
//! - `x-should-retry: false` always stops. `true` is handled by `classify`, which turns `Final` into `Refused`;
//!   it grants neither attempts nor budget, and an outcome that may have been billed stays ambiguous.
//! - **The wait** is `max(hint, backoff) + U(0, min(1 s, hint / 10))`: never earlier than the server asked, and
//!   not all callers at once. A hint above `max_hint` stops the call instead of being shortened. A wait that
//!   would reach the deadline stops it too: the caller gets the actual error now instead of a timeout later.
//! - A refusal with a hint, or an exhausted quota with one, applies to every caller of the upstream: the
//!   decision names a **pause** for the limiter.
//!
//! Sources: docs/semantics.md, Retry and Server hints.

use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::MAX_SERVER_WAIT;
use super::backoff::Backoff;
use super::budget::RetryBudget;
use crate::event::{Failure, FailureClass, Hint, Phase, StopReason};
use crate::settings::RetrySettings;
use crate::time::{Timestamp, saturating_nanos};

/// The shortest wait between two polls of a loading model.
const POLL_FLOOR: Duration = Duration::from_millis(250);
/// The most that is added to a hint, to spread the callers that wait for it.
const MAX_SPREAD: Duration = Duration::from_secs(1);

/// Result of [`Retry::decide`].
#[must_use]
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum RetryDecision {
    /// Another attempt follows.
    Retry {
        /// Number of that attempt, from 2.
        next: u32,
        /// Time of its start.
        at: Timestamp,
        /// The wait until `at`.
        delay: Duration,
        /// The wait drawn by the backoff, without the hint.
        drawn: Duration,
        /// The server's hint that was obeyed.
        hint: Option<Hint>,
        /// True if the failed attempt may have been billed.
        ambiguous: bool,
        /// Pause of admission for all callers, at most an hour.
        pause: Option<Duration>,
    },
    /// No attempt follows.
    Stop {
        /// The rule that stopped the call.
        reason: StopReason,
        /// Pause of admission for all callers, at most an hour: the server's hint applies to later calls too.
        pause: Option<Duration>,
    },
}

/// The retries of one call. Limits: [`RetrySettings`].
///
/// ```
/// use seawall::event::{Failure, FailureClass, Phase};
/// use seawall::policy::budget::RetryBudget;
/// use seawall::policy::retry::{Retry, RetryDecision};
/// use seawall::settings::RetrySettings;
/// use seawall::time::Timestamp;
///
/// let settings = RetrySettings::default();
/// let (now, mut budget) = (Timestamp::ZERO, RetryBudget::new(&settings));
/// budget.deposit(now);
/// let mut retry = Retry::new(&settings, 7);
/// let failure = Failure::new(FailureClass::Connect, Phase::NotSent, "connection refused");
/// let decision = retry.decide(now, Timestamp::MAX, &failure, &mut budget);
/// assert!(matches!(decision, RetryDecision::Retry { next: 2, .. }));
/// ```
#[derive(Debug)]
pub struct Retry {
    settings: RetrySettings,
    backoff: Backoff,
    /// Separate from `backoff`: polls of a loading model do not lengthen later waits.
    poll_backoff: Backoff,
    spread: StdRng,
    /// Attempts sent or about to be sent.
    attempts: u32,
    /// Attempts that met a loading model; they do not count against `retry.attempts`.
    polls: u32,
    /// Retries after an outcome that may have been billed.
    ambiguous: u32,
}

impl Retry {
    /// Starts a call whose first attempt is sent now. The same seed gives the same waits. The caller deposits
    /// the first attempt into the [budget](RetryBudget::deposit).
    pub fn new(settings: &RetrySettings, seed: u64) -> Self {
        let mut seeds = StdRng::seed_from_u64(seed);
        Self {
            backoff: Backoff::from_settings(settings, seeds.random()),
            poll_backoff: Backoff::from_settings(settings, seeds.random()),
            spread: seeds,
            settings: settings.clone(),
            attempts: 1,
            polls: 0,
            ambiguous: 0,
        }
    }

    /// Attempts made for this call, polls of a loading model included: the number of the current or last attempt.
    pub fn attempts(&self) -> u32 {
        self.attempts
    }

    /// Decides what follows the failure of the current attempt.
    ///
    /// An attempt that the breaker or the limiter rejected was not sent: it stops the call, and
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
            self.attempts = self.attempts.saturating_sub(1);
        }
        self.stop_reason(now, deadline, failure)
            .map_or_else(|| self.schedule(now, deadline, failure, budget, pause), Err)
            .unwrap_or_else(|reason| RetryDecision::Stop { reason, pause })
    }

    /// The first rule against another attempt that does not depend on the wait.
    fn stop_reason(&self, now: Timestamp, deadline: Timestamp, failure: &Failure) -> Option<StopReason> {
        let ambiguous = matches!(failure.phase, Phase::Ambiguous | Phase::Begun);
        let is_poll = failure.class == FailureClass::Loading && self.settings.attempts > 1;
        let counted = self.attempts.saturating_sub(self.polls);
        [
            (
                failure.class == FailureClass::BreakerRefused,
                StopReason::CircuitOpen,
            ),
            (
                failure.class == FailureClass::LimitRejected,
                StopReason::RateLimited,
            ),
            (failure.phase == Phase::Delivered, StopReason::Delivered),
            (failure.phase == Phase::Final, StopReason::NotRetryable),
            (failure.should_retry == Some(false), StopReason::NoRetryHeader),
            (
                failure.class == FailureClass::Deadline || now >= deadline,
                StopReason::Deadline,
            ),
            (
                !is_poll && counted >= self.settings.attempts,
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

    /// Schedules the attempt if the wait ends in time and the budget grants it. The budget is withdrawn from
    /// last, so that a stopped call does not charge it.
    fn schedule(
        &mut self,
        now: Timestamp,
        deadline: Timestamp,
        failure: &Failure,
        budget: &mut RetryBudget,
        pause: Option<Duration>,
    ) -> Result<RetryDecision, StopReason> {
        let remaining = now.until(deadline);
        let hint = failure.hint.filter(|_| self.settings.obey_hints);
        let hinted = hint.map_or(Duration::ZERO, |hint| hint.wait);
        if hinted > self.settings.max_hint {
            return Err(StopReason::HintTooLong);
        }
        let loading = failure.class == FailureClass::Loading;
        let drawn = if loading {
            self.poll_backoff.next().unwrap_or_default().max(POLL_FLOOR)
        } else {
            self.backoff.next().unwrap_or_default()
        };
        let delay = drawn.max(hinted).saturating_add(self.spread(hinted));
        if delay >= remaining {
            return Err(StopReason::Deadline);
        }
        if !loading && failure.phase != Phase::NotSent && !budget.withdraw(now) {
            return Err(StopReason::Budget);
        }
        let ambiguous = matches!(failure.phase, Phase::Ambiguous | Phase::Begun);
        self.ambiguous += u32::from(ambiguous);
        self.polls += u32::from(loading);
        self.attempts = self.attempts.saturating_add(1);
        Ok(RetryDecision::Retry {
            next: self.attempts,
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
        let most = saturating_nanos((hint / 10).min(MAX_SPREAD));
        Duration::from_nanos(self.spread.random_range(0..=most))
    }

    /// A hint pauses all callers if it came with a refusal or an exhausted quota.
    fn pause(&self, failure: &Failure) -> Option<Duration> {
        let hint = failure.hint.filter(|_| self.settings.obey_hints)?;
        let refusal = failure.phase == Phase::Refused || failure.class == FailureClass::Quota;
        (refusal && !hint.wait.is_zero()).then(|| hint.wait.min(MAX_SERVER_WAIT))
    }
}

#[cfg(test)]
mod tests;
