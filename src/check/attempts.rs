//! Attempts and retries: their order, number and waits.

use std::sync::Arc;
use std::time::Duration;

use super::Slack;
use super::budget::Budget;
use super::index::{CallIndex, Flight};
use super::violation::Holds;
use crate::event::{AttemptResult, Event, EventKind, FailureClass, Phase, StopReason};
use crate::settings::{FaultKind, Jitter, RetrySettings};
use crate::time::saturating_nanos;

/// The shortest wait between two polls of a model that is loading.
const POLL_FLOOR: Duration = Duration::from_millis(250);
/// The most that jitter adds to a hint.
const WIDEST_SPREAD: Duration = Duration::from_secs(1);

/// Draws with a chance of one in a million that are no coincidence any more.
const UNLIKELY: u32 = 3;

/// A retry decision as recorded.
struct Wait<'a> {
    event: &'a Event,
    next: u32,
    starts_at: crate::time::Timestamp,
    delay: Duration,
    drawn: Duration,
    hint: Option<Duration>,
    class: FailureClass,
    ambiguous: bool,
}

#[derive(Debug, Default)]
pub(super) struct Attempts {
    budget: Budget,
    settings: Option<RetrySettings>,
    /// Waits at exactly the upper bound although jitter should have spread them.
    unspread: u32,
}

impl Attempts {
    pub(super) fn configure(&mut self, settings: &RetrySettings) {
        let before = self.settings.as_ref().map(|before| before.budget_ttl);
        if before != Some(settings.budget_ttl) {
            self.budget.clear();
        }
        self.settings = Some(settings.clone());
    }

    pub(super) fn apply(&mut self, index: &mut CallIndex, event: &Arc<Event>, slack: Slack) -> Holds {
        match &event.kind {
            EventKind::AttemptStarted { attempt, flight } => {
                started(index, event, *attempt, flight.0, slack)?;
                if *attempt == 1 {
                    self.budget.first(event.at);
                }
                Ok(())
            }
            EventKind::AttemptResponded { attempt, .. } => {
                let flight = index.flight(event)?;
                let runs = flight.running && !flight.responded && *attempt == flight.attempts;
                flight.ensure(runs, 2, || "no running attempt waits for a response".into())?;
                flight.responded = true;
                Ok(())
            }
            EventKind::AttemptFirstToken { ttft, .. } => {
                let flight = index.flight(event)?;
                flight.ttft = Some(*ttft);
                delivered(flight)
            }
            EventKind::StreamDelta {
                text,
                chunks,
                reasoning,
            } => {
                let flight = index.flight(event)?;
                delivered(flight)?;
                flight.chunks += u64::from(*chunks);
                if !reasoning {
                    flight.text.push_safe(text);
                }
                Ok(())
            }
            EventKind::AttemptEnded {
                attempt,
                result,
                took,
            } => {
                let flight = index.flight(event)?;
                let runs = flight.running && *attempt == flight.attempts;
                flight.ensure(runs, 2, || "this attempt does not run".into())?;
                let succeeded = matches!(result, AttemptResult::Succeeded { .. });
                flight.ensure(!succeeded || flight.responded, 10, || {
                    "a complete answer without a response".into()
                })?;
                // a real upstream may have sent everything before the simulator cut it; virtual time has no real
                // upstream
                let whole =
                    !slack.stamp.is_zero() || flight.struck.is_none_or(|fault| fault == FaultKind::Drip);
                flight.ensure(!succeeded || whole, 10, || {
                    format!(
                        "a complete answer, although the simulator injected {:?}",
                        flight.struck
                    )
                })?;
                flight.running = false;
                flight.decided = false;
                flight.took = *took;
                flight.outcome = Some(result.clone());
                Ok(())
            }
            EventKind::RetryScheduled { .. } => self.scheduled(index, event, slack),
            EventKind::RetryStopped { attempt, reason, .. } => {
                stopped(index.flight(event)?, *attempt, *reason)?;
                match &self.settings {
                    Some(settings) if *reason == StopReason::Budget => {
                        self.budget.denied(event, settings, slack)
                    }
                    _ => Ok(()),
                }
            }
            _ => Ok(()),
        }
    }

    fn scheduled(&mut self, index: &mut CallIndex, event: &Arc<Event>, slack: Slack) -> Holds {
        let EventKind::RetryScheduled {
            next,
            at,
            delay,
            drawn,
            hint,
            class,
            ambiguous,
            ..
        } = &event.kind
        else {
            return Ok(());
        };
        let wait = Wait {
            event,
            next: *next,
            starts_at: *at,
            delay: *delay,
            drawn: *drawn,
            hint: hint.map(|hint| hint.wait),
            class: *class,
            ambiguous: *ambiguous,
        };
        let deadline = {
            let id = index.flight(event)?.id;
            index.flights.get(&id).map(|flight| index.last_deadline(flight))
        };
        let flight = index.flight(event)?;
        may_follow(flight, &wait)?;
        flight.ensure(
            deadline.is_some_and(|deadline| wait.starts_at < deadline),
            4,
            || {
                format!(
                    "the wait would end at {}, the deadline is {deadline:?}",
                    wait.starts_at
                )
            },
        )?;
        let loading = wait.class == FailureClass::Loading;
        check_wait(flight, &wait, loading, slack)?;
        if !loading && is_unspread(flight, wait.drawn) {
            self.unspread += 1;
            flight.ensure(self.unspread < UNLIKELY, 6, || {
                format!(
                    "the wait is the upper bound {:?} for the {UNLIKELY}rd time: jitter does not spread it",
                    wait.drawn
                )
            })?;
        }
        let unsent = flight
            .failure()
            .is_some_and(|failure| failure.phase == Phase::NotSent);
        flight.decided = true;
        flight.scheduled = Some((wait.next, wait.starts_at));
        flight.polls += u32::from(loading);
        flight.draws += u32::from(!loading);
        flight.ambiguous += u32::from(wait.ambiguous);
        let retries = flight.ambiguous;
        let allowed = flight.any(|policy| retries <= policy.retry.max_ambiguous_retries);
        flight.ensure(allowed, 3, || format!("{retries} ambiguous retries"))?;
        match &self.settings {
            Some(settings) if !loading && !unsent => self.budget.retry(event, settings, slack),
            _ => Ok(()),
        }
    }
}

/// Checks invariants 2 to 7 when an attempt starts.
fn started(index: &mut CallIndex, event: &Event, attempt: u32, id: u64, slack: Slack) -> Holds {
    let call = index.call(event)?;
    call.attempts += 1;
    let deadline = call.deadline;
    index.begun += 1;
    let flight = index.flight(event)?;
    let expected = flight.attempts + 1;
    flight.ensure(
        flight.id.0 == id && attempt == expected && !flight.running,
        2,
        || format!("attempt {expected} of flight {} should follow", flight.id.0),
    )?;
    let succeeded = matches!(flight.outcome, Some(AttemptResult::Succeeded { .. }));
    flight.ensure(!succeeded, 2, || "the flight has its answer".into())?;
    flight.ensure(!flight.delivered, 5, || "text was delivered before".into())?;
    flight.ensure(event.at <= deadline + slack.timer, 4, || {
        format!("the deadline was {deadline}")
    })?;
    let polls = flight.polls;
    let allowed = flight.any(|policy| attempt <= policy.retry.attempts.saturating_add(polls));
    flight.ensure(allowed, 3, || {
        format!("attempt {attempt} with {polls} polls is one too many")
    })?;
    if attempt > 1 {
        let due = flight.scheduled.take().filter(|(next, _)| *next == attempt);
        flight.ensure(due.is_some() && !flight.stopped, 3, || {
            "no retry decision allows this attempt".into()
        })?;
        flight.ensure(due.is_some_and(|(_, starts_at)| event.at >= starts_at), 6, || {
            format!("it should wait until {due:?}")
        })?;
    }
    if let Some(other) = &flight.displaced {
        let other = Arc::clone(other);
        flight
            .ensure(false, 28, || "an identical flight runs".into())
            .map_err(|breach| breach.with([other]))?;
    }
    flight.attempts = attempt;
    (flight.began_at, flight.ttft, flight.struck) = (event.at, None, None);
    flight.running = true;
    flight.responded = false;
    Ok(())
}

/// Checks invariant 9.
fn delivered(flight: &mut Flight) -> Holds {
    flight.ensure(flight.running && flight.responded, 9, || {
        "no running attempt has a response".into()
    })?;
    flight.delivered = true;
    Ok(())
}

/// Checks that another attempt may follow the last result: invariants 2, 3, 5 and 7.
fn may_follow(flight: &Flight, wait: &Wait<'_>) -> Holds {
    let Some(failure) = flight.failure().filter(|_| !flight.running && !flight.decided) else {
        return flight.ensure(false, 2, || "there is no failure to decide about".into());
    };
    flight.ensure(!flight.delivered, 5, || "text was delivered".into())?;
    let no_use = failure.phase == Phase::Final || failure.should_retry == Some(false);
    flight.ensure(!no_use, 7, || {
        format!("the previous attempt failed permanently: {failure}")
    })?;
    let expected = flight.attempts + 1;
    flight.ensure(wait.next == expected && wait.class == failure.class, 2, || {
        format!(
            "attempt {expected} follows a failure of class {:?}",
            failure.class
        )
    })?;
    let ambiguous = matches!(failure.phase, Phase::Ambiguous | Phase::Begun);
    flight.ensure(wait.ambiguous == ambiguous, 3, || {
        format!("the failure was in phase {:?}", failure.phase)
    })
}

/// Checks invariant 6.
fn check_wait(flight: &Flight, wait: &Wait<'_>, loading: bool, slack: Slack) -> Holds {
    let asked = flight
        .failure()
        .and_then(|failure| failure.hint)
        .map(|hint| hint.wait);
    let used = flight.any(|policy| {
        let obeyed = asked.filter(|_| policy.retry.obey_hints);
        wait.hint == obeyed && obeyed.is_none_or(|hint| hint <= policy.retry.max_hint)
    });
    flight.ensure(used, 6, || {
        format!(
            "the server asked for {asked:?}, and the hint used is {:?}",
            wait.hint
        )
    })?;
    let draws = if loading { flight.polls } else { flight.draws };
    let fits = flight.any(|policy| {
        let (mut least, mut most) = backoff(&policy.retry, draws);
        if loading {
            (least, most) = (least.max(POLL_FLOOR), most.max(POLL_FLOOR));
        }
        (least..=most).contains(&wait.drawn)
    });
    flight.ensure(fits, 6, || {
        format!("the backoff cannot draw {:?} for draw {draws}", wait.drawn)
    })?;
    let hint = wait.hint.unwrap_or_default();
    let (least, spread) = (wait.drawn.max(hint), (hint / 10).min(WIDEST_SPREAD));
    flight.ensure((least..=least + spread).contains(&wait.delay), 6, || {
        format!("the wait should be between {least:?} and {:?}", least + spread)
    })?;
    let ends_at = wait.event.at + wait.delay;
    let fits = wait.starts_at <= ends_at && wait.starts_at + slack.stamp >= ends_at;
    flight.ensure(fits, 6, || format!("the wait ends at {ends_at}"))
}

/// Returns true if the jitter of every policy of the flight draws this wait at most once in a million times.
fn is_unspread(flight: &Flight, drawn: Duration) -> bool {
    flight.policies.iter().all(|policy| {
        let spreads = matches!(policy.retry.jitter, Jitter::Full | Jitter::Equal);
        let (least, most) = backoff(&policy.retry, flight.draws);
        spreads && drawn == most && most.saturating_sub(least) >= Duration::from_millis(1)
    })
}

/// The bounds of the `n`-th wait, from 0, with this jitter (docs/semantics.md, Backoff).
fn backoff(settings: &RetrySettings, n: u32) -> (Duration, Duration) {
    let (base, cap) = (saturating_nanos(settings.base), saturating_nanos(settings.cap));
    let raw = base.saturating_mul(1_u64.checked_shl(n).unwrap_or(u64::MAX));
    let top = raw.min(cap);
    let (least, most) = match settings.jitter {
        Jitter::Full => (0, top),
        Jitter::Equal => (top / 2, top),
        Jitter::Proportional => (top, raw.saturating_add(raw / 10 * 3 + 3).min(cap)),
        Jitter::None => (top, top),
    };
    (Duration::from_nanos(least), Duration::from_nanos(most))
}

fn stopped(flight: &mut Flight, attempt: u32, reason: StopReason) -> Holds {
    let rejected = matches!(reason, StopReason::CircuitOpen | StopReason::RateLimited);
    let failed = flight.failure().is_some() && !flight.running && attempt == flight.attempts;
    let in_order = failed && (!flight.decided || (rejected && flight.scheduled.is_some()));
    flight.ensure(in_order, 2, || "there is no failure to decide about".into())?;
    flight.decided = true;
    flight.stopped = true;
    flight.scheduled = None;
    Ok(())
}
