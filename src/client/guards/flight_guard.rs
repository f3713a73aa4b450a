//! The owner of whatever one flight holds at the guards: the limiter's grant, the breaker's permit, the running
//! attempt.
//!
//! ```text
//! acquire_limiter ─> acquire_breaker ─> begin ─> responded ─> token ... ─┬─> settle(Answered | Failed)
//!                                                                         └─> dropped: settle(Dropped)
//! ```
//!
//! The end of an attempt is a value, and [`FlightGuard::settle`] alone makes of it the attempt's event, the
//! breaker's sample and the limiter's settlement, in this order. Dropping the future of a flight cancels it, so
//! dropping the guard settles what is still held.

use std::sync::Arc;
use std::time::Duration;

use super::breaker::HeldPermit;
use crate::client::Core;
use crate::client::answer::Answer;
use crate::client::flight::Flight;
use crate::client::transport::{Response, Transport};
use crate::event::{AttemptResult, CallId, EventKind, Failure, FailureClass, ModelName, Observer, Sample};
use crate::policy::classify::{self, Observed, Progress};
use crate::policy::limiter::Grant;
use crate::settings::{Counts, Policy};
use crate::time::Timestamp;

/// The end of an attempt, or of all attempts of a call.
#[derive(Clone, Copy)]
pub(in crate::client) enum AttemptEnd<'a> {
    /// With a complete answer.
    Answered(&'a Answer),
    /// By the upstream, the network or a timeout of the attempt.
    Failed(&'a Failure),
    /// From outside: by the deadline or a panic, which leave a failure, or because no caller is left.
    Dropped(Option<&'a Failure>),
}

impl<'a> From<&'a Result<Answer, Failure>> for AttemptEnd<'a> {
    fn from(result: &'a Result<Answer, Failure>) -> Self {
        match result {
            Ok(answer) => Self::Answered(answer),
            Err(failure) => Self::Failed(failure),
        }
    }
}

impl AttemptEnd<'_> {
    fn result(self) -> AttemptResult {
        match self {
            Self::Answered(answer) => AttemptResult::Succeeded {
                finish: answer.finish,
                usage: answer.usage,
                estimated: answer.estimated,
            },
            Self::Failed(failure) | Self::Dropped(Some(failure)) => AttemptResult::Failed {
                failure: failure.clone(),
            },
            Self::Dropped(None) => AttemptResult::Cancelled,
        }
    }

    /// Returns true if the upstream broke off a stream. Silence is no cut: it began earlier.
    fn is_cut(self) -> bool {
        matches!(self, Self::Failed(failure) if failure.class == FailureClass::Interrupted)
    }

    /// The breaker's sample; `good` is that of an answer.
    fn sample(self, good: Sample) -> Sample {
        match self {
            Self::Answered(_) => good,
            Self::Failed(failure) | Self::Dropped(Some(failure)) => classify::sample(failure),
            Self::Dropped(None) => Sample::Neutral,
        }
    }
}

/// An attempt that has begun and not ended.
struct RunningAttempt {
    number: u32,
    started_at: Timestamp,
    /// True once the response headers are there.
    responded: bool,
    /// Time to the first token.
    ttft: Option<Duration>,
}

/// See the module documentation.
pub(in crate::client) struct FlightGuard<'a, T: Transport, O: Observer> {
    pub(super) core: &'a Core<T, O>,
    pub(in crate::client) flight: &'a Arc<Flight>,
    pub(in crate::client) policy: &'a Policy,
    /// LLM tokens of the prompt.
    pub(in crate::client) prompt_tokens: u64,
    pub(super) grant: Option<Grant>,
    /// True once an attempt was begun with the present grant.
    pub(super) sent: bool,
    /// The model, whose breaker judges the flight.
    pub(super) model: Option<&'a ModelName>,
    pub(super) permit: Option<HeldPermit>,
    attempt: Option<RunningAttempt>,
}

impl<'a, T: Transport, O: Observer> FlightGuard<'a, T, O> {
    /// A guard that holds nothing yet.
    pub(in crate::client) fn new(
        core: &'a Core<T, O>,
        flight: &'a Arc<Flight>,
        policy: &'a Policy,
        prompt_tokens: u64,
        model: Option<&'a ModelName>,
    ) -> Self {
        Self {
            core,
            flight,
            policy,
            prompt_tokens,
            grant: None,
            sent: false,
            model,
            permit: None,
            attempt: None,
        }
    }

    /// Numbers and starts the next attempt: returns the owner of the flight and the number, or `None` if the last
    /// caller left on another thread meanwhile. One step under the flight's lock: if the owner changed between the
    /// count and the event, the attempt would be missing in the end of the one call or the other.
    pub(in crate::client) fn begin(&mut self) -> Option<(CallId, u32)> {
        let started_at = self.core.env.clock.now();
        let mut log = self.flight.lock();
        if self.flight.abandoned.is_cancelled() {
            return None;
        }
        log.attempts += 1;
        log.overslept = false;
        log.headers = None;
        log.wire.error = None;
        let attempt = log.attempts;
        let owner = log.subscribers.first_mut().map(|owner| {
            owner.attempts += 1;
            owner.call
        });
        let flight = self.flight.id;
        self.core
            .observer
            .emit(owner, EventKind::AttemptStarted { attempt, flight });
        self.sent = true;
        self.attempt = Some(RunningAttempt {
            number: attempt,
            started_at,
            responded: false,
            ttft: None,
        });
        Some((owner.unwrap_or_default(), attempt))
    }

    /// The response headers are there.
    pub(in crate::client) fn responded(&mut self, response: &Response) {
        self.flight.lock().headers = Some(Arc::new(response.headers.clone()));
        let status = response.status;
        if let Some(running) = &mut self.attempt {
            running.responded = true;
            let attempt = running.number;
            self.core
                .emit(self.flight, EventKind::AttemptResponded { attempt, status });
        }
    }

    /// A token is there.
    pub(in crate::client) fn token(&mut self, now: Timestamp) {
        let Some(running) = &mut self.attempt else {
            return;
        };
        if let Some(ttft) = running.ttft {
            return self.outlive_lease(now, ttft);
        }
        let (attempt, ttft) = (running.number, now.since(running.started_at));
        running.ttft = Some(ttft);
        self.emit_first_token(now, attempt, ttft);
    }

    /// Settles the running attempt, and the guards that count at this level.
    pub(in crate::client) fn settle(&mut self, end: AttemptEnd<'_>, level: Counts) {
        let now = self.core.env.clock.now();
        let mut good = Sample::Ok;
        if let Some(running) = self.attempt.take() {
            let took = now.since(running.started_at);
            let kind = EventKind::AttemptEnded {
                attempt: running.number,
                result: end.result(),
                took,
            };
            self.core.emit(self.flight, kind);
            if running.ttft.unwrap_or(took) > self.policy.breaker.slow_after {
                good = Sample::Slow;
            }
        }
        if self.policy.breaker.counts == level {
            let hint = match end {
                AttemptEnd::Failed(failure) => failure.hint.map(|hint| now + hint.wait),
                AttemptEnd::Answered(_) | AttemptEnd::Dropped(_) => None,
            };
            if end.is_cut() {
                self.permit = self.permit.take().map(HeldPermit::cut);
            }
            self.settle_breaker(end.sample(good), hint);
        }
        if self.policy.limit.charges == level {
            self.settle_limiter(end);
        }
    }

    /// The failure of a running attempt that the deadline or a panic ended. It counts for the breaker: an upstream
    /// that hangs until its callers run out of time must not look healthy.
    fn interruption(&self) -> Option<Failure> {
        let running = self.attempt.as_ref()?;
        if std::thread::panicking() {
            return Some(self.core.classify(&Observed::Panic { detail: "panic" }));
        }
        let log = self.flight.lock();
        if !log.expired {
            return None;
        }
        let owner = log.subscribers.first();
        let given = owner.map(|one| one.deadline.since(one.started_at));
        let progress = match (log.chunks.is_empty(), running.responded) {
            (false, _) => Progress::Delivered,
            (true, true) => Progress::Begun,
            (true, false) => Progress::Sent,
        };
        Some(self.core.classify(&Observed::Deadline {
            after: given.unwrap_or_default(),
            progress,
        }))
    }
}

impl<T: Transport, O: Observer> Drop for FlightGuard<'_, T, O> {
    fn drop(&mut self) {
        let failure = self.interruption();
        let end = AttemptEnd::Dropped(failure.as_ref());
        self.settle(end, Counts::Attempt);
        self.settle(end, Counts::Call);
    }
}
