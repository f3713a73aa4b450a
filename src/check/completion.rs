//! The ends of calls: does the recorded end follow from the flight?

use std::sync::Arc;

use super::Slack;
use super::index::{Call, CallIndex, Departed, Flight, Lookup};
use super::violation::{Holds, ensure};
use crate::event::{AttemptResult, Event, EventKind, Failure, FailureClass, Fate, Phase};
use crate::openai::Usage;

/// The end of a call as recorded.
struct RecordedEnd<'a> {
    fate: Fate,
    failure: Option<&'a Failure>,
    usage: Option<Usage>,
}

impl CallIndex {
    /// Checks invariants 4, 10 and 28 to 30 at the end of a call.
    pub(super) fn completion(&mut self, event: &Arc<Event>, slack: Slack) -> Holds {
        let EventKind::CallEnded {
            fate, failure, usage, ..
        } = &event.kind
        else {
            return Ok(());
        };
        let end = RecordedEnd {
            fate: *fate,
            failure: failure.as_ref(),
            usage: *usage,
        };
        let call = self.call(event)?;
        let started = Arc::clone(&call.started);
        let in_time = event.at <= call.deadline + slack.timer;
        let deadline = call.deadline;
        let flight = call.flight;
        let holds = ensure(in_time, 4, || format!("its deadline was {deadline}"))
            .and_then(|()| {
                let timed_out = end
                    .failure
                    .is_some_and(|failure| failure.class == FailureClass::Deadline);
                ensure(!timed_out || event.at >= deadline, 4, || {
                    format!("its deadline is later, at {deadline}")
                })
            })
            .and_then(|()| {
                let good = matches!(end.fate, Fate::Answered | Fate::Hit | Fate::Shared);
                let bad = !good && end.fate != Fate::Cancelled;
                let fits = end.usage.is_some() == good && end.failure.is_some() == bad;
                ensure(fits, 10, || {
                    "an answer has usage, and a failure its reason".into()
                })
            });
        holds.map_err(|breach| breach.with([Arc::clone(&started)]))?;
        let call = self.call(event)?;
        match flight {
            None => ended_without_flight(call, &end).map_err(|breach| breach.with([started])),
            Some(id) => match self.flights.get(&id) {
                Some(flight) => {
                    ended_with_flight(flight, event, &end, slack).map_err(|breach| breach.with([started]))
                }
                None => Ok(()),
            },
        }
    }
}

/// Checks the end of a call without a flight: a stored answer, or an idempotency key of another request.
fn ended_without_flight(call: &Call, end: &RecordedEnd<'_>) -> Holds {
    if call.lookup == Lookup::Answer {
        return ensure(end.fate == Fate::Hit, 10, || "it had a stored answer".into());
    }
    ensure(end.usage.is_none(), 10, || {
        "it has neither a stored answer nor a flight".into()
    })?;
    let own = end
        .failure
        .is_some_and(|failure| (failure.class, failure.phase) == (FailureClass::Invalid, Phase::Final));
    ensure(own && call.lookup == Lookup::NotYet, 30, || {
        "it failed without a flight".into()
    })
}

/// Checks the end of a call with a flight.
fn ended_with_flight(flight: &Flight, event: &Event, end: &RecordedEnd<'_>, slack: Slack) -> Holds {
    let timed_out = end
        .failure
        .is_some_and(|failure| failure.class == FailureClass::Deadline);
    if let Some(other) = &flight.displaced {
        let given_up = end.fate == Fate::Cancelled || timed_out;
        let at_once = event.at <= other.at + slack.timer;
        flight
            .ensure(given_up && at_once, 28, || {
                "an identical flight started while this one had subscribers".into()
            })
            .map_err(|breach| breach.with([Arc::clone(other)]))?;
    }
    let owns = flight.owner == event.call;
    match &flight.departed {
        Some(left) => same_end_as_owner(flight, left, end)?,
        None => flight.ensure(owns || timed_out || end.fate == Fate::Cancelled, 29, || {
            "a follower ends before the owner".into()
        })?,
    }
    let failure = end.failure;
    let served = matches!(end.fate, Fate::Hit | Fate::Shared);
    flight.ensure(served || flight.hit.is_none(), 27, || {
        "its flight ended with a semantic hit, the call did not".into()
    })?;
    match end.fate {
        Fate::Shared | Fate::Hit if flight.hit.is_some() => served_semantically(flight, end, owns),
        Fate::Answered | Fate::Shared => answered(flight, end, owns),
        Fate::Hit => flight.ensure(false, 10, || "it has a flight and no hit".into()),
        Fate::RateLimited => flight.ensure(flight.rejected, 10, || "the limiter did not reject it".into()),
        Fate::CircuitOpen => flight.ensure(flight.refused, 10, || "the breaker did not reject it".into()),
        Fate::Cancelled => Ok(()),
        Fate::Interrupted => {
            flight.ensure(flight.delivered, 10, || "no text had been delivered".into())?;
            own_failure(flight, failure)
        }
        Fate::Failed => {
            let cut = failure.is_some_and(|failure| failure.phase == Phase::Delivered);
            flight.ensure(!cut, 10, || {
                "it failed after text was delivered: that is an interruption".into()
            })?;
            own_failure(flight, failure)
        }
    }
}

fn answered(flight: &Flight, end: &RecordedEnd<'_>, owns: bool) -> Holds {
    let complete = match &flight.outcome {
        Some(AttemptResult::Succeeded { usage, .. }) if !flight.running => end.usage == Some(*usage),
        _ => false,
    };
    flight.ensure(complete, 10, || {
        "the flight has no complete answer with this usage".into()
    })?;
    flight.ensure((end.fate == Fate::Answered) == owns, 10, || {
        "the owner is answered, followers share".into()
    })
}

/// Checks the end of a call whose flight ended with a semantic hit.
fn served_semantically(flight: &Flight, end: &RecordedEnd<'_>, owns: bool) -> Holds {
    flight.ensure(end.usage == flight.hit, 33, || {
        format!("the stored answer took {:?}", flight.hit)
    })?;
    flight.ensure((end.fate == Fate::Hit) == owns, 10, || {
        "the owner has a hit, followers share it".into()
    })
}

/// Checks invariant 30: the failure is that of this flight or of this call.
fn own_failure(flight: &Flight, failure: Option<&Failure>) -> Holds {
    let own = match failure {
        Some(failure) if matches!(failure.class, FailureClass::Deadline | FailureClass::Internal) => true,
        end => end.is_some() && end == flight.failure(),
    };
    flight.ensure(own, 30, || {
        "this is not the failure of the last attempt of the flight".into()
    })
}

/// Checks invariant 29: followers share the end of an owner that completes its flight.
fn same_end_as_owner(flight: &Flight, left: &Departed, end: &RecordedEnd<'_>) -> Holds {
    let timed_out = |failure: &Failure| failure.class == FailureClass::Deadline;
    let same = match (left.fate, &left.failure) {
        (Fate::Answered | Fate::Hit, _) => end.fate == Fate::Shared,
        (_, Some(failure)) if timed_out(failure) => end.failure.is_some_and(timed_out),
        (fate, Some(failure)) => end.fate == fate && end.failure == Some(failure),
        (..) => false,
    };
    flight.ensure(same, 29, || {
        format!("the owner ended as {:?}, and no follower took over", left.fate)
    })
}
