//! The way past the breaker: the first look, and the permit that ends as a sample of its window.
//!
//! ```text
//! acquire ──> permit ──┬─ first token of a probe ──> settled, and followed for the rest of the stream
//!                      ├─ result ──────────────────> Ok, Slow, Failed or Neutral
//!                      └─ dropped ─────────────────> what cut it short, or Neutral
//! ```

use std::time::Duration;

use super::Guards;
use crate::client::Core;
use crate::client::answer::Answer;
use crate::client::flight::Flight;
use crate::client::transport::Transport;
use crate::event::{EventKind, Failure, FailureClass, Observer, Phase, Sample, WindowCounts};
use crate::policy::breaker::{Acquired, CircuitOpen, Permit, SettledPermit, Transition};
use crate::policy::classify;
use crate::text::units;
use crate::time::Timestamp;

/// The event of a transition.
pub(in crate::client) fn moved(step: Transition) -> EventKind {
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

/// A breaker's permit. Dropped without a verdict it frees its place, and says nothing about the upstream
/// unless a deadline or a panic ended the attempt.
pub(in crate::client) struct Pass<'a, T: Transport, O: Observer> {
    core: &'a Core<T, O>,
    flight: &'a Flight,
    permit: Option<Permit>,
}

impl<T: Transport, O: Observer> Pass<'_, T, O> {
    /// Settles the permit.
    pub(in crate::client) fn settle(&mut self, sample: Sample, hint: Option<Timestamp>) {
        if let Some(permit) = self.permit.take() {
            // the machine slept meanwhile: whatever came of it, the upstream did not do it
            let overslept = self.flight.lock().overslept;
            let sample = if overslept { Sample::Neutral } else { sample };
            let mut guards = self.core.lock();
            let _ = self
                .core
                .settle_permit(&mut guards, self.flight, permit, sample, hint);
        }
    }

    /// Settles the permit by what came of the attempt; `good` is what an answer counts as.
    pub(in crate::client) fn settle_result(&mut self, result: &Result<Answer, Failure>, good: Sample) {
        match result {
            Ok(_) => self.settle(good, None),
            Err(failure) => {
                let hint = failure.hint.map(|hint| self.core.env.clock.now() + hint.wait);
                self.settle(classify::sample(failure), hint);
            }
        }
    }

    /// The first token is here. A probe is judged by it: a long answer must not keep the breaker half-open
    /// for minutes. The rest of the stream is judged again at its end.
    pub(in crate::client) fn first_token(&mut self, ttft: Duration) {
        if !self.permit.as_ref().is_some_and(Permit::is_probe) {
            return;
        }
        let Some(permit) = self.permit.take() else { return };
        let mut guards = self.core.lock();
        let sample = if ttft > guards.policy.breaker.slow_after {
            Sample::Slow
        } else {
            Sample::Ok
        };
        let settled = self
            .core
            .settle_permit(&mut guards, self.flight, permit, sample, None);
        self.permit = guards.breaker.continue_stream(&settled);
        if let Some(permit) = &self.permit {
            self.core.note_permit(self.flight, permit, settled.window);
        }
    }
}

impl<T: Transport, O: Observer> Drop for Pass<'_, T, O> {
    fn drop(&mut self) {
        let sample = match &self.flight.lock().cut_short {
            Some(failure) => classify::sample(failure),
            None => Sample::Neutral,
        };
        self.settle(sample, None);
    }
}

impl<T: Transport, O: Observer> Core<T, O> {
    /// Breaker, first look: do not queue for an upstream that is known to be down.
    pub(in crate::client) fn check_breaker(&self, flight: &Flight) -> Result<(), Failure> {
        let (guards, now) = (self.lock(), self.env.clock.now());
        match guards.breaker.check(now) {
            Ok(()) => Ok(()),
            Err(CircuitOpen { until }) => {
                let window = guards.breaker.window(now);
                Err(self.refuse(flight, until, window))
            }
        }
    }

    /// Breaker, the permit: taken last, so that nobody sits on the only probe while queueing.
    pub(in crate::client) fn pass_breaker<'a>(
        &'a self,
        flight: &'a Flight,
    ) -> Result<Pass<'a, T, O>, Failure> {
        let mut guards = self.lock();
        let permit = self.take_permit(&mut guards, flight)?;
        Ok(Pass {
            core: self,
            flight,
            permit: Some(permit),
        })
    }

    /// A pass for attempts whose breaker counts calls, not attempts: nothing to settle.
    pub(in crate::client) fn free_pass<'a>(&'a self, flight: &'a Flight) -> Pass<'a, T, O> {
        Pass {
            core: self,
            flight,
            permit: None,
        }
    }

    fn take_permit(&self, guards: &mut Guards, flight: &Flight) -> Result<Permit, Failure> {
        let now = self.env.clock.now();
        let Acquired {
            permit,
            transition: step,
        } = guards.breaker.acquire(now);
        let window = guards.breaker.window(now);
        if let Some(step) = step {
            self.observer.emit(None, moved(step));
        }
        match permit {
            Ok(permit) => {
                self.note_permit(flight, &permit, window);
                Ok(permit)
            }
            Err(refusal) => Err(self.refuse(flight, refusal.until, window)),
        }
    }

    fn note_permit(&self, flight: &Flight, permit: &Permit, window: WindowCounts) {
        let kind = EventKind::BreakerAdmitted {
            generation: permit.generation(),
            probe: permit.is_probe(),
            window,
        };
        self.note(flight, kind);
    }

    fn settle_permit(
        &self,
        guards: &mut Guards,
        flight: &Flight,
        permit: Permit,
        sample: Sample,
        hint: Option<Timestamp>,
    ) -> SettledPermit {
        let settled = guards.breaker.settle(self.env.clock.now(), permit, sample, hint);
        let kind = EventKind::BreakerRecorded {
            generation: settled.generation,
            probe: settled.probe,
            sample: settled.sample,
            window: settled.window,
        };
        self.note(flight, kind);
        if let Some(step) = settled.transition {
            self.observer.emit(None, moved(step));
        }
        settled
    }

    fn refuse(&self, flight: &Flight, until: Option<Timestamp>, window: WindowCounts) -> Failure {
        self.note(flight, EventKind::BreakerRefused { until, window });
        let message = match until {
            Some(until) => {
                let wait = units::duration(self.env.clock.now().until(until));
                format!("circuit open, not sent; next probe in {wait}")
            }
            None => "circuit open, not sent".to_owned(),
        };
        Failure::new(FailureClass::BreakerRefused, Phase::NotSent, message)
    }
}
