//! The breaker: its states, its permits, its window, and whom it may turn away.

use std::sync::Arc;

use super::Slack;
use super::index::{Book, Flight};
use super::violation::{Holds, ensure};
use super::window::Window;
use crate::event::{
    AttemptResult, BreakerMode, BreakerState, Event, EventKind, Failure, FailureClass, FlightId, MoveReason,
    Phase, Sample, WindowCounts,
};
use crate::settings::{BreakerSettings, Counts};
use crate::time::Timestamp;

/// The probe that is out.
#[derive(Clone, Copy, Debug)]
struct Probe {
    flight: FlightId,
    lease: Timestamp,
}

#[derive(Debug)]
pub(super) struct Breaker {
    settings: BreakerSettings,
    mode: BreakerMode,
    state: BreakerState,
    generation: u64,
    /// When open ends; nothing while it is forced.
    until: Option<Timestamp>,
    probe: Option<Probe>,
    /// Good probes since it is half-open.
    good: u32,
    window: Window,
    /// When the machine woke last.
    woke_at: Option<Timestamp>,
    /// The last move and the last outcome, to prove something with.
    moved: Option<Arc<Event>>,
    recorded: Option<Arc<Event>>,
}

impl Breaker {
    pub(super) fn new() -> Self {
        Self {
            settings: BreakerSettings::default(),
            mode: BreakerMode::Automatic,
            state: BreakerState::Closed,
            generation: 0,
            until: None,
            probe: None,
            good: 0,
            window: Window::default(),
            woke_at: None,
            moved: None,
            recorded: None,
        }
    }

    pub(super) fn configure(&mut self, settings: &BreakerSettings) {
        if self.settings.window != settings.window || !settings.enabled {
            self.window.clear();
        }
        self.settings = settings.clone();
    }

    pub(super) fn take(&mut self, book: &mut Book, event: &Arc<Event>, slack: Slack) -> Holds {
        let holds = match &event.kind {
            EventKind::BreakerAdmitted {
                generation, probe, ..
            } => self.admitted(book.flight(event)?, event, *generation, *probe, slack),
            EventKind::BreakerRefused { until, .. } => {
                self.refused(book.flight(event)?, event, *until, slack)
            }
            EventKind::BreakerRecorded { .. } => self.recorded(book.flight(event)?, event, slack),
            EventKind::BreakerMoved { .. } => self.moved(event),
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
            EventKind::AttemptStarted { .. } => {
                let flight = book.flight(event)?;
                flight.ensure(flight.permit.is_some(), 19, || {
                    "the breaker did not let it out".into()
                })
            }
            _ => Ok(()),
        };
        let proof = || self.moved.iter().chain(&self.recorded).map(Arc::clone);
        holds.map_err(|breach| breach.with(proof().collect::<Vec<_>>()))
    }

    /// Invariants 19 and 20.
    fn admitted(
        &mut self,
        flight: &mut Flight,
        event: &Event,
        generation: u64,
        is_probe: bool,
        slack: Slack,
    ) -> Holds {
        flight.ensure(flight.permit.is_none(), 20, || "it has a permit already".into())?;
        let half_open = self.state == BreakerState::HalfOpen;
        // the rest of a stream whose first token was judged has a permit that is no probe's
        let rest = std::mem::take(&mut flight.judged) && half_open && !is_probe;
        flight.ensure(self.state != BreakerState::Open, 19, || {
            "the breaker is open".into()
        })?;
        flight.ensure(is_probe == half_open || rest, 19, || {
            format!("the breaker is {:?}", self.state)
        })?;
        flight.ensure(generation == self.generation, 21, || {
            format!("this is generation {}", self.generation)
        })?;
        if is_probe {
            let out = self.probe.filter(|probe| probe.lease > event.at + slack.stamp);
            flight.ensure(out.is_none(), 19, || {
                format!("the probe of flight {:?} is out", out.map(|probe| probe.flight.0))
            })?;
            self.probe = Some(Probe {
                flight: flight.id,
                lease: event.at + self.settings.probe_lease,
            });
        }
        flight.permit = Some((generation, is_probe));
        flight.rest = rest;
        Ok(())
    }

    /// Invariant 42: only while there is a reason, and never past the time that was told.
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
                let out = self
                    .probe
                    .is_some_and(|probe| probe.lease + slack.stamp > event.at);
                until.is_none() && out
            }
        };
        flight.ensure(reason, 42, || {
            format!(
                "the breaker is {:?} until {:?}, its probe is {:?}",
                self.state, self.until, self.probe
            )
        })
    }

    /// Invariants 20, 21 and 22.
    fn recorded(&mut self, flight: &mut Flight, event: &Arc<Event>, slack: Slack) -> Holds {
        let EventKind::BreakerRecorded {
            generation,
            probe,
            sample,
            window,
        } = &event.kind
        else {
            return Ok(());
        };
        let held = flight.permit.take();
        flight.ensure(held == Some((*generation, *probe)), 20, || {
            format!("the permit it gives back is {held:?}")
        })?;
        let rest = std::mem::take(&mut flight.rest);
        flight.judged = *probe && flight.running;
        let in_place = self.probe.is_some_and(|probe| probe.flight == flight.id);
        let lost = self.state == BreakerState::HalfOpen && !in_place && !rest;
        let late = *generation != self.generation || lost;
        flight.ensure((*sample == Sample::Late) == late, 21, || {
            format!("this is generation {}", self.generation)
        })?;
        let neutral = matches!(sample, Sample::Neutral | Sample::Late);
        flight.ensure(neutral || !says_nothing(flight), 22, || {
            format!("{:?} says nothing about the upstream", flight.outcome)
        })?;
        flight.ensure(!rest || neutral || *sample == Sample::Failed, 21, || {
            "its first token was judged already: only a failure is news".into()
        })?;
        if !late {
            self.counts_as(flight, *sample, *probe, rest, slack)?;
        }
        if !late && !rest && self.state == BreakerState::HalfOpen {
            self.probe = None;
            let good = *sample == Sample::Ok || (*sample == Sample::Slow && self.settings.slow_rate > 1.0);
            self.good += u32::from(good);
        }
        if !neutral && self.settings.enabled {
            self.window.push(event.at, *sample);
        }
        let (least, most) = self.window.bounds(event.at, self.settings.window, slack.stamp);
        let within = |pick: fn(&WindowCounts) -> u32| (pick(&least)..=pick(&most)).contains(&pick(window));
        let counts =
            within(|w| w.total) && within(|w| w.failed) && within(|w| w.slow) && within(|w| w.consecutive);
        flight.ensure(counts, 21, || {
            format!("the outcomes of this generation are {least:?} to {most:?}")
        })?;
        self.recorded = Some(Arc::clone(event));
        Ok(())
    }

    /// Invariant 22: whether an outcome counts as what it says.
    fn counts_as(&self, flight: &Flight, sample: Sample, probe: bool, rest: bool, slack: Slack) -> Holds {
        // nobody is to blame for what the machine slept through; in real time the log does not tell of that
        let asleep = !slack.stamp.is_zero() || self.woke_at.is_some_and(|woke| woke >= flight.began_at);
        let is_slow = |slow| if slow { Sample::Slow } else { Sample::Ok };
        let slow_after = |after| flight.ttft.unwrap_or(flight.took) > after;
        let fits = if flight.running {
            probe && sample == is_slow(slow_after(self.settings.slow_after))
        } else {
            flight.any(|policy| {
                let calls = policy.breaker.counts == Counts::Call;
                let said = match &flight.outcome {
                    None | Some(AttemptResult::Cancelled) => Sample::Neutral,
                    // given up in the wait for the next attempt
                    Some(_) if calls && flight.scheduled.is_some() => Sample::Neutral,
                    Some(AttemptResult::Succeeded { .. }) if calls => Sample::Ok,
                    Some(AttemptResult::Succeeded { .. }) => is_slow(slow_after(policy.breaker.slow_after)),
                    Some(AttemptResult::Failed { failure }) => failed_as(failure),
                };
                let news = if rest && said != Sample::Failed {
                    Sample::Neutral
                } else {
                    said
                };
                sample == news
            })
        };
        flight.ensure(fits || (asleep && sample == Sample::Neutral), 22, || {
            format!(
                "{sample:?} is not what {:?} says, after {:?}",
                flight.outcome,
                flight.ttft.unwrap_or(flight.took)
            )
        })
    }

    /// Invariants 18 and 22.
    fn moved(&mut self, event: &Arc<Event>) -> Holds {
        use BreakerState::{Closed, HalfOpen, Open};
        use MoveReason as Why;

        let EventKind::BreakerMoved {
            from,
            to,
            generation,
            reason,
            until,
            window,
        } = &event.kind
        else {
            return Ok(());
        };
        ensure(
            *from == self.state && *generation == self.generation + 1,
            18,
            || format!("it was {:?} in generation {}", self.state, self.generation),
        )?;
        let legal = match reason {
            Why::FailureRate | Why::Consecutive | Why::SlowRate => (*from, *to) == (Closed, Open),
            Why::CoolDown => (*from, *to) == (Open, HalfOpen),
            Why::ProbesSucceeded => (*from, *to) == (HalfOpen, Closed),
            Why::ProbeFailed => (*from, *to) == (HalfOpen, Open),
            Why::Manual => *to != HalfOpen,
        };
        ensure(legal, 18, || {
            format!("{reason:?} does not lead from {from:?} to {to:?}")
        })?;
        if *reason != Why::Manual {
            ensure(self.mode == BreakerMode::Automatic, 18, || {
                format!("a person has forced it: {:?}", self.mode)
            })?;
            ensure((*to == Open) == until.is_some(), 18, || {
                "open ends, and nothing else".into()
            })?;
        }
        self.for_reason(event, *reason, *window)?;
        self.state = *to;
        self.generation = *generation;
        self.until = *until;
        (self.probe, self.good) = (None, 0);
        self.window.clear();
        self.moved = Some(Arc::clone(event));
        Ok(())
    }

    /// Whether the window, the clock or the probes give that reason.
    fn for_reason(&self, event: &Event, reason: MoveReason, window: WindowCounts) -> Holds {
        use MoveReason as Why;
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
            Why::FailureRate | Why::Consecutive | Why::SlowRate | Why::ProbeFailed
        );
        ensure(!opens || bad, 22, || {
            format!("the outcome before it was {sample:?}")
        })?;
        let closes = reason == Why::ProbesSucceeded;
        let good = matches!(sample, Some(Sample::Ok | Sample::Slow));
        ensure(!closes || good, 22, || {
            format!("the outcome before it was {sample:?}")
        })?;
        let given = match reason {
            Why::FailureRate => enough && share(window.failed) >= settings.failure_rate,
            Why::SlowRate => enough && share(window.slow) >= settings.slow_rate,
            Why::Consecutive => window.consecutive >= settings.consecutive,
            Why::CoolDown => self.until.is_some_and(|until| event.at >= until),
            Why::ProbesSucceeded => self.good >= settings.successes_to_close,
            Why::ProbeFailed | Why::Manual => true,
        };
        ensure(given, 18, || {
            format!(
                "neither window nor clock give {reason:?}: open until {:?}, {} good probes",
                self.until, self.good
            )
        })
    }
}

/// What a failure says.
fn failed_as(failure: &Failure) -> Sample {
    use FailureClass as C;
    let after_headers = matches!(failure.phase, Phase::Ambiguous | Phase::Begun);
    match failure.class {
        C::Deadline if failure.phase != Phase::NotSent => Sample::Slow,
        C::Deadline => Sample::Neutral,
        C::Reset if failure.phase == Phase::NotSent => Sample::Neutral,
        C::ContextLength if !after_headers => Sample::Neutral,
        class if is_silent(class) => Sample::Neutral,
        _ => Sample::Failed,
    }
}

/// Outcomes that are no word about the upstream's health: the request, the caller or its quota was at fault.
fn says_nothing(flight: &Flight) -> bool {
    // a probe is judged by its first token, while its attempt still runs
    !flight.running
        && match &flight.outcome {
            Some(AttemptResult::Cancelled) => true,
            Some(AttemptResult::Failed { failure }) => is_silent(failure.class),
            _ => false,
        }
}

fn is_silent(class: FailureClass) -> bool {
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
