//! The breaker of a model: its states, permits and window, and the calls it may reject.

use std::sync::Arc;
use std::time::Duration;

use super::Slack;
use super::index::{CallIndex, Flight};
use super::violation::{Holds, ensure};
use super::window::Window;
use crate::event::{
    AttemptResult, BreakerMode, BreakerState, Event, EventKind, Failure, FailureClass, FlightId, ModelName,
    MoveReason, Phase, Sample, WindowCounts,
};
use crate::settings::{BreakerSettings, Counts};
use crate::time::Timestamp;

/// Rounding of the open time.
const ROUNDING: Duration = Duration::from_micros(1);

/// A place in half-open.
#[derive(Clone, Copy, Debug)]
struct Probe {
    flight: FlightId,
    lease: Timestamp,
}

#[derive(Clone, Debug, Default)]
pub(super) struct Breaker {
    model: Option<ModelName>,
    settings: BreakerSettings,
    mode: BreakerMode,
    state: BreakerState,
    generation: u64,
    /// The end of the open time; `None` while forced.
    until: Option<Timestamp>,
    /// The probe without a first token, and those with one.
    waiting: Option<Probe>,
    answering: Vec<Probe>,
    /// Good outcomes since it closed; probes in a row that ended well, in half-open.
    good: u32,
    /// Openings without `min_calls` good outcomes between them.
    doublings: u32,
    window: Window,
    /// The end of the last suspension.
    woke_at: Option<Timestamp>,
    /// The last move and the last outcome, as proof.
    moved: Option<Arc<Event>>,
    recorded: Option<Arc<Event>>,
    /// True if the server asked for a wait with the last outcome.
    hinted: bool,
}

impl Breaker {
    /// The same settings and mode, for a model that was not called yet.
    pub(super) fn for_model(&self, model: Option<&ModelName>) -> Self {
        Self {
            model: model.cloned(),
            ..self.clone()
        }
    }

    /// Returns true unless its open time still runs.
    pub(super) fn is_over(&self, now: Timestamp) -> bool {
        self.until.is_none_or(|until| until <= now)
    }

    pub(super) fn configure(&mut self, settings: &BreakerSettings) {
        if self.settings.window != settings.window || !settings.enabled {
            self.window.clear();
        }
        self.settings = settings.clone();
    }

    pub(super) fn apply(&mut self, index: &mut CallIndex, event: &Arc<Event>, slack: Slack) -> Holds {
        let holds = match &event.kind {
            EventKind::BreakerAdmitted {
                generation, probe, ..
            } => self.admitted(index.flight(event)?, event, *generation, *probe, slack),
            EventKind::BreakerRefused { until, .. } => {
                self.refused(index.flight(event)?, event, *until, slack)
            }
            EventKind::BreakerRecorded { .. } => self.recorded(index.flight(event)?, event, slack),
            EventKind::BreakerMoved { .. } => self.moved(event, slack),
            EventKind::BreakerForced { mode } => {
                self.mode = *mode;
                if *mode == BreakerMode::ForcedOpen && self.state == BreakerState::Open {
                    self.until = None;
                }
                Ok(())
            }
            EventKind::Suspended { until } => {
                self.woke_at = Some(*until);
                Ok(())
            }
            EventKind::AttemptFirstToken { .. } => {
                let id = index.flight(event)?.id;
                let lease = event.at + self.settings.probe_lease;
                let probe = self.waiting.take_if(|probe| probe.flight == id);
                self.answering.extend(probe.map(|probe| Probe { lease, ..probe }));
                Ok(())
            }
            EventKind::AttemptStarted { .. } => {
                let flight = index.flight(event)?;
                flight.ensure(flight.permit.is_some(), 17, || {
                    "it has no permit of the breaker".into()
                })
            }
            _ => Ok(()),
        };
        let proof = || self.moved.iter().chain(&self.recorded).map(Arc::clone);
        holds.map_err(|breach| breach.with(proof().collect::<Vec<_>>()))
    }

    /// Checks invariants 17 and 18.
    fn admitted(
        &mut self,
        flight: &mut Flight,
        event: &Event,
        generation: u64,
        is_probe: bool,
        slack: Slack,
    ) -> Holds {
        flight.ensure(flight.permit.is_none(), 18, || "it has a permit already".into())?;
        let half_open = self.state == BreakerState::HalfOpen;
        // the rest of a stream whose probe was judged at the end of its lease has an ordinary permit
        let rest = std::mem::take(&mut flight.judged) && !is_probe;
        flight.ensure(self.state != BreakerState::Open, 17, || {
            "the breaker is open".into()
        })?;
        flight.ensure(is_probe == half_open || rest, 17, || {
            format!("the breaker is {:?}", self.state)
        })?;
        flight.ensure(generation == self.generation, 19, || {
            format!("this is generation {}", self.generation)
        })?;
        if is_probe {
            let held = |probe: &&Probe| probe.lease > event.at + slack.stamp;
            let waits = self.waiting.as_ref().filter(held);
            let running = self.answering.iter().filter(held).count();
            let room = waits.is_none() && running < self.places();
            flight.ensure(room, 17, || {
                format!("{running} probes answer, and flight {waits:?} waits for its first token")
            })?;
            self.waiting = Some(Probe {
                flight: flight.id,
                lease: event.at + self.settings.probe_lease,
            });
        }
        flight.permit = Some((self.model.clone(), generation, is_probe));
        flight.rest = rest;
        Ok(())
    }

    /// Checks invariant 21: a rejection needs a reason and ends at the recorded time.
    fn refused(
        &mut self,
        flight: &mut Flight,
        event: &Event,
        until: Option<Timestamp>,
        slack: Slack,
    ) -> Holds {
        flight.refused = true;
        let reason = match self.state {
            BreakerState::Closed => false,
            BreakerState::Open => {
                let still = until.is_none_or(|until| until + slack.stamp > event.at);
                until == self.until && still && (until.is_some() || self.mode == BreakerMode::ForcedOpen)
            }
            BreakerState::HalfOpen => {
                let held = |probe: &&Probe| probe.lease + slack.stamp > event.at;
                let waits = self.waiting.as_ref().is_some_and(|probe| held(&probe));
                let running = self.answering.iter().filter(held).count();
                until.is_none() && (waits || running >= self.places())
            }
        };
        flight.ensure(reason, 21, || {
            format!(
                "the breaker is {:?} until {:?}, its probes are {:?} and {:?}",
                self.state, self.until, self.waiting, self.answering
            )
        })
    }

    fn places(&self) -> usize {
        usize::try_from(self.settings.successes_to_close).unwrap_or(usize::MAX)
    }

    /// Checks invariants 18, 19 and 20.
    fn recorded(&mut self, flight: &mut Flight, event: &Arc<Event>, slack: Slack) -> Holds {
        let EventKind::BreakerRecorded {
            generation,
            probe,
            sample,
            window,
            ..
        } = &event.kind
        else {
            return Ok(());
        };
        let held = flight.permit.take();
        flight.ensure(
            held == Some((self.model.clone(), *generation, *probe)),
            18,
            || format!("it returns a permit, but holds {held:?}"),
        )?;
        let rest = std::mem::take(&mut flight.rest);
        flight.judged = *probe && flight.running;
        let stale = *generation != self.generation;
        let cut = is_cut(flight) && self.state != BreakerState::Open;
        let late = *sample == Sample::Late;
        let fits = match sample {
            // an attempt during which the machine slept is neutral, and that is late
            Sample::Late => stale && (!cut || self.asleep(flight, slack)),
            Sample::Failed => !stale || cut,
            Sample::Ok | Sample::Slow | Sample::Neutral => !stale,
        };
        flight.ensure(fits, 19, || format!("this is generation {}", self.generation))?;
        let neutral = matches!(sample, Sample::Neutral | Sample::Late);
        flight.ensure(neutral || !is_neutral(flight), 20, || {
            format!(
                "{:?} is neutral: it does not depend on the health of the upstream",
                flight.outcome
            )
        })?;
        flight.ensure(!rest || neutral || *sample == Sample::Failed, 19, || {
            "its probe was judged already: only a failure may follow".into()
        })?;
        if !late {
            self.check_sample(flight, event, *sample, rest, slack)?;
        }
        if !late {
            self.count(flight, *sample, stale);
        }
        if !neutral && self.settings.enabled {
            self.window.push(event.at, *sample);
        }
        let (least, most) = self.window.bounds(event.at, self.settings.window, slack.stamp);
        let within = |pick: fn(&WindowCounts) -> u32| (pick(&least)..=pick(&most)).contains(&pick(window));
        let counts =
            within(|w| w.total) && within(|w| w.failed) && within(|w| w.slow) && within(|w| w.consecutive);
        flight.ensure(counts, 19, || {
            format!("the outcomes of this generation are {least:?} to {most:?}")
        })?;
        self.hinted = flight.failure().is_some_and(|failure| failure.hint.is_some());
        self.recorded = Some(Arc::clone(event));
        Ok(())
    }

    /// Counts an outcome towards closing, and for a closed breaker towards the end of the doubling.
    fn count(&mut self, flight: &Flight, sample: Sample, stale: bool) {
        let good = sample == Sample::Ok || (sample == Sample::Slow && self.settings.slow_rate > 1.0);
        match self.state {
            BreakerState::Open => {}
            BreakerState::HalfOpen => {
                if !stale {
                    let others = |probe: &Probe| probe.flight != flight.id;
                    self.waiting = self.waiting.filter(others);
                    self.answering.retain(others);
                }
                let bad = sample == Sample::Failed || (sample == Sample::Slow && !good);
                self.good = if bad { 0 } else { self.good + u32::from(good) };
            }
            BreakerState::Closed => {
                self.good += u32::from(good && self.settings.enabled);
                if self.good >= self.settings.min_calls {
                    self.doublings = 0;
                }
            }
        }
    }

    /// Returns true if the machine may have slept during the attempt, which excuses a slow or failed one. In real
    /// time the log does not record suspensions.
    fn asleep(&self, flight: &Flight, slack: Slack) -> bool {
        !slack.stamp.is_zero() || self.woke_at.is_some_and(|woke| woke >= flight.began_at)
    }

    /// Checks invariants 20 and 35: the sample fits the outcome, and a probe that still runs has outlived its lease.
    fn check_sample(
        &self,
        flight: &Flight,
        event: &Event,
        sample: Sample,
        rest: bool,
        slack: Slack,
    ) -> Holds {
        let asleep = self.asleep(flight, slack);
        let is_slow = |slow| if slow { Sample::Slow } else { Sample::Ok };
        let slow_after = |after| flight.ttft.unwrap_or(flight.took) > after;
        let fits = if flight.running {
            let over = |probe: &Probe| probe.flight == flight.id && probe.lease <= event.at + slack.stamp;
            flight.ensure(self.answering.iter().any(over), 35, || {
                "its probe still runs, and so does its lease".into()
            })?;
            flight.any(|policy| {
                let calls = policy.breaker.counts == Counts::Call;
                sample == is_slow(!calls && slow_after(policy.breaker.slow_after))
            })
        } else {
            flight.any(|policy| {
                let calls = policy.breaker.counts == Counts::Call;
                let expected = match &flight.outcome {
                    None | Some(AttemptResult::Cancelled) => Sample::Neutral,
                    // cancelled during the wait for the next attempt
                    Some(_) if calls && flight.scheduled.is_some() => Sample::Neutral,
                    Some(AttemptResult::Succeeded { .. }) if calls => Sample::Ok,
                    Some(AttemptResult::Succeeded { .. }) => is_slow(slow_after(policy.breaker.slow_after)),
                    Some(AttemptResult::Failed { failure }) => failed_as(failure),
                };
                let news = if rest && expected != Sample::Failed {
                    Sample::Neutral
                } else {
                    expected
                };
                sample == news
            })
        };
        flight.ensure(fits || (asleep && sample == Sample::Neutral), 20, || {
            format!(
                "{sample:?} does not fit {:?} after {:?}",
                flight.outcome,
                flight.ttft.unwrap_or(flight.took)
            )
        })
    }

    /// Checks invariants 16, 20, 35 and 36.
    fn moved(&mut self, event: &Arc<Event>, slack: Slack) -> Holds {
        use BreakerState::{Closed, HalfOpen, Open};
        use MoveReason as Reason;

        let EventKind::BreakerMoved {
            from,
            to,
            generation,
            reason,
            until,
            window,
            ..
        } = &event.kind
        else {
            return Ok(());
        };
        ensure(
            *from == self.state && *generation == self.generation + 1,
            16,
            || format!("it was {:?} in generation {}", self.state, self.generation),
        )?;
        let legal = match reason {
            Reason::FailureRate | Reason::Consecutive | Reason::SlowRate => (*from, *to) == (Closed, Open),
            Reason::CoolDown => (*from, *to) == (Open, HalfOpen),
            Reason::ProbesSucceeded => (*from, *to) == (HalfOpen, Closed),
            Reason::ProbeFailed => (*from, *to) == (HalfOpen, Open),
            Reason::Manual => *to != HalfOpen,
            // the breaker of an unused model is forgotten
            Reason::Unused => false,
        };
        ensure(legal, 16, || {
            format!("{reason:?} does not lead from {from:?} to {to:?}")
        })?;
        if *reason != Reason::Manual {
            ensure(self.mode == BreakerMode::Automatic, 16, || {
                format!("it is forced: {:?}", self.mode)
            })?;
            ensure((*to == Open) == until.is_some(), 16, || {
                "only the open state has an end".into()
            })?;
        }
        self.check_reason(event, *reason, *window)?;
        if *reason == Reason::Manual {
            self.doublings *= u32::from(*to != Closed);
        } else if let Some(until) = until {
            self.check_open_time(event.at.until(*until), slack)?;
            self.doublings = self.doublings.saturating_add(1);
        }
        self.state = *to;
        self.generation = *generation;
        self.until = *until;
        (self.waiting, self.good) = (None, 0);
        self.answering.clear();
        self.window.clear();
        self.moved = Some(Arc::clone(event));
        Ok(())
    }

    /// Checks invariant 36. A hint of the server may prolong the open time.
    fn check_open_time(&self, lasts: Duration, slack: Slack) -> Holds {
        let settings = &self.settings;
        let doubled = settings.open.saturating_mul(2_u32.saturating_pow(self.doublings));
        let most = doubled.min(settings.open_max);
        let least = most.mul_f64(1.0 - settings.open_jitter.clamp(0.0, 1.0));
        let slack = slack.stamp + ROUNDING;
        let fits = lasts + slack >= least && (self.hinted || lasts <= most + slack);
        ensure(fits, 36, || {
            let doublings = self.doublings;
            format!("open for {lasts:?}, and {least:?} to {most:?} are due after {doublings} doublings")
        })
    }

    /// Checks that the window, the clock or the probes give the reason.
    fn check_reason(&self, event: &Event, reason: MoveReason, window: WindowCounts) -> Holds {
        use MoveReason as Reason;
        let settings = &self.settings;
        let sample = match self.recorded.as_ref().map(|event| &event.kind) {
            Some(EventKind::BreakerRecorded { sample, .. }) => Some(*sample),
            _ => None,
        };
        let bad = matches!(sample, Some(Sample::Failed | Sample::Slow));
        let share = |part: u32| f64::from(part) / f64::from(window.total.max(1));
        let enough = window.total >= settings.min_calls;
        let opens = matches!(
            reason,
            Reason::FailureRate | Reason::Consecutive | Reason::SlowRate | Reason::ProbeFailed
        );
        ensure(!opens || bad, 20, || {
            format!("the previous outcome was {sample:?}")
        })?;
        let closes = reason == Reason::ProbesSucceeded;
        let good = matches!(sample, Some(Sample::Ok | Sample::Slow));
        ensure(!closes || good, 20, || {
            format!("the previous outcome was {sample:?}")
        })?;
        let given = match reason {
            Reason::FailureRate => enough && share(window.failed) >= settings.failure_rate,
            Reason::SlowRate => enough && share(window.slow) >= settings.slow_rate,
            Reason::Consecutive => window.consecutive >= settings.consecutive,
            Reason::CoolDown => self.until.is_some_and(|until| event.at >= until),
            // invariant 35
            Reason::ProbesSucceeded | Reason::ProbeFailed | Reason::Manual | Reason::Unused => true,
        };
        ensure(given, 16, || {
            format!(
                "the window and the clock do not give {reason:?}: open until {:?}",
                self.until
            )
        })?;
        ensure(!closes || self.good >= settings.successes_to_close, 35, || {
            format!("{} probes in a row ended well", self.good)
        })
    }
}

/// Returns true if the upstream broke off the stream of the last attempt.
fn is_cut(flight: &Flight) -> bool {
    let cut = |failure: &Failure| failure.class == FailureClass::Interrupted;
    !flight.running && flight.failure().is_some_and(cut)
}

/// The sample of a failure.
fn failed_as(failure: &Failure) -> Sample {
    use FailureClass as C;
    let after_headers = matches!(failure.phase, Phase::Ambiguous | Phase::Begun);
    match failure.class {
        C::Deadline if failure.phase != Phase::NotSent => Sample::Slow,
        C::Deadline => Sample::Neutral,
        C::Reset if failure.phase == Phase::NotSent => Sample::Neutral,
        C::ContextLength if !after_headers => Sample::Neutral,
        class if is_neutral_class(class) => Sample::Neutral,
        _ => Sample::Failed,
    }
}

/// Returns true for an outcome that does not depend on the health of the upstream: the request, the caller or its
/// quota was at fault.
fn is_neutral(flight: &Flight) -> bool {
    // a probe may be judged while its attempt still runs
    !flight.running
        && match &flight.outcome {
            Some(AttemptResult::Cancelled) => true,
            Some(AttemptResult::Failed { failure }) => is_neutral_class(failure.class),
            _ => false,
        }
}

fn is_neutral_class(class: FailureClass) -> bool {
    use FailureClass as C;
    matches!(
        class,
        C::RateLimited
            | C::Quota
            | C::RequestTimeout
            | C::Conflict
            | C::Loading
            | C::Invalid
            | C::Auth
            | C::NotFound
            | C::TooLarge
            | C::Unsupported
            | C::Redirect
            | C::Tls
    )
}
