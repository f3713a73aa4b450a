//! The breaker of a flight: the early check, the permit and its sample.
//!
//! ```text
//! acquire ──> permit ──┬─ first token of a probe ───> admits the next probe, settles nothing
//!                      ├─ token after its lease ────> Ok or Slow; the rest of the stream has a permit of its own
//!                      ├─ result ───────────────────> Ok, Slow, Failed or Neutral
//!                      └─ dropped ──────────────────> the sample of what interrupted it, or Neutral
//! ```

use std::time::Duration;

use super::{FlightGuard, Guards};
use crate::client::transport::Transport;
use crate::event::{EventKind, Failure, FailureClass, Observer, Phase, Sample, WindowCounts};
use crate::policy::breaker::{Acquired, CircuitOpen, Permit, SettledPermit, Transition};
use crate::settings::Counts;
use crate::text::units;
use crate::time::Timestamp;

/// The event of a transition.
pub(in crate::client) fn transition_event(step: Transition) -> EventKind {
    let Transition {
        from,
        to,
        generation,
        reason,
        until,
        window,
    } = step;
    EventKind::BreakerMoved {
        from,
        to,
        generation,
        reason,
        until,
        window,
    }
}

impl<T: Transport, O: Observer> FlightGuard<'_, T, O> {
    /// Fails if the breaker would refuse a permit now. Takes none.
    pub(in crate::client) fn check_breaker(&self) -> Result<(), Failure> {
        let (guards, now) = (self.core.lock(), self.core.env.clock.now());
        match guards.breaker.check(now) {
            Ok(()) => Ok(()),
            Err(CircuitOpen { until }) => {
                let window = guards.breaker.window(now);
                Err(self.refuse(until, window))
            }
        }
    }

    /// Takes a permit of the breaker.
    pub(in crate::client) fn acquire_breaker(&mut self) -> Result<(), Failure> {
        let mut guards = self.core.lock();
        let now = self.core.env.clock.now();
        let Acquired { permit, transition } = guards.breaker.acquire(now);
        let window = guards.breaker.window(now);
        if let Some(step) = transition {
            self.core.observer.emit(None, transition_event(step));
        }
        match permit {
            Ok(permit) => {
                self.emit_admitted(&permit, window);
                self.permit = Some(permit);
                Ok(())
            }
            Err(refusal) => Err(self.refuse(refusal.until, window)),
        }
    }

    /// Settles the permit, if one is held. `hint` is the instant until which the server asks to wait.
    pub(in crate::client) fn settle_breaker(&mut self, sample: Sample, hint: Option<Timestamp>) {
        if let Some(permit) = self.permit.take() {
            // an attempt during which the machine slept says nothing about the upstream
            let overslept = self.flight.lock().overslept;
            let sample = if overslept { Sample::Neutral } else { sample };
            let _ = self.settle_permit(&mut self.core.lock(), permit, sample, hint);
        }
    }

    /// Emits the first token of an attempt, under the lock if it frees the place of a probe.
    pub(in crate::client) fn emit_first_token(&mut self, now: Timestamp, attempt: u32, ttft: Duration) {
        let kind = EventKind::AttemptFirstToken { attempt, ttft };
        let Some(permit) = self.permit.as_mut().filter(|permit| permit.is_probe()) else {
            return self.core.emit(self.flight, kind);
        };
        let mut guards = self.core.lock();
        guards.breaker.first_token(now, permit);
        self.core.emit(self.flight, kind);
    }

    /// Settles a probe that has delivered for a whole lease: an answer of many minutes must not keep the breaker
    /// half-open. The rest of the stream has a permit for which only a failure counts.
    pub(in crate::client) fn outlive_lease(&mut self, now: Timestamp, ttft: Duration) {
        let is_proven = |permit: &Permit| permit.proven_at().is_some_and(|proven_at| proven_at <= now);
        if !self.permit.as_ref().is_some_and(is_proven) {
            return;
        }
        let mut guards = self.core.lock();
        let generation = guards.breaker.generation();
        // as the outcome of an older generation it would be late; a cut still counts
        let Some(permit) = self.permit.take_if(|permit| permit.generation() == generation) else {
            return;
        };
        let settings = &self.policy.breaker;
        let is_slow = settings.counts == Counts::Attempt && ttft > settings.slow_after;
        let sample = if is_slow { Sample::Slow } else { Sample::Ok };
        let _settled = self.settle_permit(&mut guards, permit, sample, None);
        self.permit = guards.breaker.continue_stream();
        if let Some(permit) = &self.permit {
            self.emit_admitted(permit, guards.breaker.window(now));
        }
    }

    fn settle_permit(
        &self,
        guards: &mut Guards,
        permit: Permit,
        sample: Sample,
        hint: Option<Timestamp>,
    ) -> SettledPermit {
        let now = self.core.env.clock.now();
        let settled = guards.breaker.settle(now, permit, sample, hint);
        let kind = EventKind::BreakerRecorded {
            generation: settled.generation,
            probe: settled.probe,
            sample: settled.sample,
            window: settled.window,
        };
        self.core.emit(self.flight, kind);
        if let Some(step) = settled.transition {
            self.core.observer.emit(None, transition_event(step));
        }
        settled
    }

    fn emit_admitted(&self, permit: &Permit, window: WindowCounts) {
        let kind = EventKind::BreakerAdmitted {
            generation: permit.generation(),
            probe: permit.is_probe(),
            window,
        };
        self.core.emit(self.flight, kind);
    }

    /// Emits the refusal and returns the caller's error.
    fn refuse(&self, until: Option<Timestamp>, window: WindowCounts) -> Failure {
        self.core
            .emit(self.flight, EventKind::BreakerRefused { until, window });
        let wait = until.map(|until| self.core.env.clock.now().until(until));
        self.flight.lock().retry_in = wait;
        let message = match wait {
            Some(wait) => format!("circuit open, not sent; next probe in {}", units::duration(wait)),
            None => "circuit open, not sent".to_owned(),
        };
        Failure::new(FailureClass::BreakerRefused, Phase::NotSent, message)
    }
}
