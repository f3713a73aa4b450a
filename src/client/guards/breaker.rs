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
use crate::event::{EventKind, Failure, FailureClass, Observer, Phase, Sample};
use crate::policy::breaker::{Acquired, CircuitOpen, Permit, Transition};
use crate::policy::breakers::{ModelBreaker, Moved, Place};
use crate::settings::Counts;
use crate::text::units;
use crate::time::Timestamp;

/// The event of a transition.
pub(in crate::client) fn moved_event(moved: Moved) -> EventKind {
    let Moved { model, transition } = moved;
    let Transition {
        from,
        to,
        generation,
        reason,
        until,
        window,
    } = transition;
    EventKind::BreakerMoved {
        model,
        from,
        to,
        generation,
        reason,
        until,
        window,
    }
}

/// A permit and the place of the breaker that gave it.
pub(super) struct HeldPermit {
    place: Place,
    permit: Permit,
}

impl HeldPermit {
    /// See [`Permit::cut`].
    pub(super) fn cut(self) -> Self {
        Self {
            permit: self.permit.cut(),
            ..self
        }
    }
}

impl<T: Transport, O: Observer> FlightGuard<'_, T, O> {
    /// The place of the breaker of this flight's model.
    fn breaker_place(&self, guards: &mut Guards, now: Timestamp) -> Place {
        let (place, moves) = guards.breakers.place(now, self.model);
        for moved in moves {
            self.core.observer.emit(None, moved_event(moved));
        }
        place
    }

    /// Fails if the breaker would refuse a permit now. Takes none.
    pub(in crate::client) fn check_breaker(&self) -> Result<(), Failure> {
        let (mut guards, now) = (self.core.lock(), self.core.env.clock.now());
        let place = self.breaker_place(&mut guards, now);
        let one = guards.breakers.at(place);
        match one.breaker().check(now) {
            Ok(()) => Ok(()),
            Err(CircuitOpen { until }) => Err(self.refuse(until, one, now)),
        }
    }

    /// Takes a permit of the breaker.
    pub(in crate::client) fn acquire_breaker(&mut self) -> Result<(), Failure> {
        let mut guards = self.core.lock();
        let now = self.core.env.clock.now();
        let place = self.breaker_place(&mut guards, now);
        let one = guards.breakers.at(place);
        let Acquired { permit, transition } = one.acquire(now);
        if let Some(step) = transition {
            self.core.observer.emit(None, moved_event(one.moved(step)));
        }
        match permit {
            Ok(permit) => {
                self.emit_admitted(&permit, one, now);
                self.permit = Some(HeldPermit { place, permit });
                Ok(())
            }
            Err(refusal) => Err(self.refuse(refusal.until, one, now)),
        }
    }

    /// Settles the permit, if one is held. `hint` is the instant until which the server asks to wait.
    pub(in crate::client) fn settle_breaker(&mut self, sample: Sample, hint: Option<Timestamp>) {
        if let Some(held) = self.permit.take() {
            // an attempt during which the machine slept says nothing about the upstream
            let overslept = self.flight.lock().overslept;
            let sample = if overslept { Sample::Neutral } else { sample };
            self.settle_permit(&mut self.core.lock(), held, sample, hint);
        }
    }

    /// Emits the first token of an attempt, under the lock if it frees the place of a probe.
    pub(in crate::client) fn emit_first_token(&mut self, now: Timestamp, attempt: u32, ttft: Duration) {
        let kind = EventKind::AttemptFirstToken { attempt, ttft };
        let Some(held) = self.permit.as_mut().filter(|held| held.permit.is_probe()) else {
            return self.core.emit(self.flight, kind);
        };
        let mut guards = self.core.lock();
        guards.breakers.at(held.place).first_token(now, &mut held.permit);
        self.core.emit(self.flight, kind);
    }

    /// Settles a probe that has delivered for a whole lease: an answer of many minutes must not keep the breaker
    /// half-open. The rest of the stream has a permit for which only a failure counts.
    pub(in crate::client) fn outlive_lease(&mut self, now: Timestamp, ttft: Duration) {
        let is_proven = |permit: &Permit| permit.proven_at().is_some_and(|proven_at| proven_at <= now);
        let Some(held) = self.permit.take_if(|held| is_proven(&held.permit)) else {
            return;
        };
        let mut guards = self.core.lock();
        let place = held.place;
        // as the outcome of an older generation it would be late; a cut still counts
        if held.permit.generation() != guards.breakers.at(place).breaker().generation() {
            self.permit = Some(held);
            return;
        }
        let settings = &self.policy.breaker;
        let is_slow = settings.counts == Counts::Attempt && ttft > settings.slow_after;
        let sample = if is_slow { Sample::Slow } else { Sample::Ok };
        self.settle_permit(&mut guards, held, sample, None);
        let one = guards.breakers.at(place);
        if let Some(permit) = one.continue_stream() {
            self.emit_admitted(&permit, one, now);
            self.permit = Some(HeldPermit { place, permit });
        }
    }

    fn settle_permit(&self, guards: &mut Guards, held: HeldPermit, sample: Sample, hint: Option<Timestamp>) {
        let now = self.core.env.clock.now();
        let one = guards.breakers.at(held.place);
        let settled = one.settle(now, held.permit, sample, hint);
        let kind = EventKind::BreakerRecorded {
            model: one.model.clone(),
            generation: settled.generation,
            probe: settled.probe,
            sample: settled.sample,
            window: settled.window,
        };
        self.core.emit(self.flight, kind);
        if let Some(step) = settled.transition {
            self.core.observer.emit(None, moved_event(one.moved(step)));
        }
    }

    fn emit_admitted(&self, permit: &Permit, one: &ModelBreaker, now: Timestamp) {
        let kind = EventKind::BreakerAdmitted {
            model: one.model.clone(),
            generation: permit.generation(),
            probe: permit.is_probe(),
            window: one.breaker().window(now),
        };
        self.core.emit(self.flight, kind);
    }

    /// Emits the refusal and returns the caller's error.
    fn refuse(&self, until: Option<Timestamp>, one: &ModelBreaker, now: Timestamp) -> Failure {
        let kind = EventKind::BreakerRefused {
            model: one.model.clone(),
            until,
            window: one.breaker().window(now),
        };
        self.core.emit(self.flight, kind);
        let wait = until.map(|until| self.core.env.clock.now().until(until));
        self.flight.lock().retry_in = wait;
        let message = match wait {
            Some(wait) => format!("circuit open, not sent; next probe in {}", units::duration(wait)),
            None => "circuit open, not sent".to_owned(),
        };
        Failure::new(FailureClass::BreakerRefused, Phase::NotSent, message)
    }
}
