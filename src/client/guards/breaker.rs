//! The breaker of a flight: the early check, the permit and its sample.
//!
//! ```text
//! acquire ──> permit ──┬─ first token of a probe ──> settled, and followed for the rest of the stream
//!                      ├─ result ──────────────────> Ok, Slow, Failed or Neutral
//!                      └─ dropped ─────────────────> the sample of what interrupted it, or Neutral
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

    /// Judges a probe by its first token: a long answer must not keep the breaker half-open for minutes. The rest
    /// of the stream is judged again at its end. A breaker that counts calls judges the whole call.
    pub(in crate::client) fn settle_probe(&mut self, ttft: Duration) {
        if self.policy.breaker.counts == Counts::Call {
            return;
        }
        let Some(permit) = self.permit.take_if(|permit| permit.is_probe()) else {
            return;
        };
        let mut guards = self.core.lock();
        let sample = if ttft > guards.policy.breaker.slow_after {
            Sample::Slow
        } else {
            Sample::Ok
        };
        let settled = self.settle_permit(&mut guards, permit, sample, None);
        self.permit = guards.breaker.continue_stream(&settled);
        if let Some(permit) = &self.permit {
            self.emit_admitted(permit, settled.window);
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
        let message = match until {
            Some(until) => {
                let wait = units::duration(self.core.env.clock.now().until(until));
                format!("circuit open, not sent; next probe in {wait}")
            }
            None => "circuit open, not sent".to_owned(),
        };
        Failure::new(FailureClass::BreakerRefused, Phase::NotSent, message)
    }
}
