//! How calls end: whether the end that is told is the one that the flight gives.

use std::sync::Arc;

use super::Slack;
use super::index::{Book, Call, Departed, Flight, Lookup};
use super::violation::{Holds, ensure};
use crate::event::{AttemptResult, Event, EventKind, Failure, FailureClass, Fate, Phase};
use crate::openai::Usage;

/// An end as it is told.
struct Told<'a> {
    fate: Fate,
    failure: Option<&'a Failure>,
    usage: Option<Usage>,
}

impl Book {
    /// Invariants 4, 10, 25, 26 and 31 at the end of a call.
    pub(super) fn landing(&mut self, event: &Arc<Event>, slack: Slack) -> Holds {
        let EventKind::CallEnded {
            fate, failure, usage, ..
        } = &event.kind
        else {
            return Ok(());
        };
        let told = Told {
            fate: *fate,
            failure: failure.as_ref(),
            usage: *usage,
        };
        let call = self.call(event)?;
        let began = Arc::clone(&call.began);
        let in_time = event.at <= call.deadline + slack.timer;
        let deadline = call.deadline;
        let flight = call.flight;
        let holds = ensure(in_time, 4, || format!("its deadline was {deadline}"))
            .and_then(|()| {
                let timed_out = told
                    .failure
                    .is_some_and(|failure| failure.class == FailureClass::Deadline);
                ensure(!timed_out || event.at >= deadline, 4, || {
                    format!("its deadline is only at {deadline}")
                })
            })
            .and_then(|()| {
                let good = matches!(told.fate, Fate::Answered | Fate::Hit | Fate::Shared);
                let bad = !good && told.fate != Fate::Cancelled;
                let fits = told.usage.is_some() == good && told.failure.is_some() == bad;
                ensure(fits, 10, || {
                    "an answer has usage, and a failure its reason".into()
                })
            });
        holds.map_err(|breach| breach.with([Arc::clone(&began)]))?;
        let call = self.call(event)?;
        match flight {
            None => grounded(call, &told).map_err(|breach| breach.with([began])),
            Some(id) => match self.flights.get(&id) {
                Some(flight) => flown(flight, event, &told, slack).map_err(|breach| breach.with([began])),
                None => Ok(()),
            },
        }
    }
}

/// The end of a call that never flew: a stored answer, or a key that was used for something else.
fn grounded(call: &Call, told: &Told<'_>) -> Holds {
    if call.lookup == Lookup::Answer {
        return ensure(told.fate == Fate::Hit, 10, || "it had a stored answer".into());
    }
    ensure(told.usage.is_none(), 10, || {
        "there was neither a stored answer nor a flight".into()
    })?;
    let own = told
        .failure
        .is_some_and(|failure| (failure.class, failure.phase) == (FailureClass::Invalid, Phase::Final));
    ensure(own && call.lookup == Lookup::NotYet, 31, || {
        "it failed, and there was no flight to fail".into()
    })
}

/// The end of a call that flew.
fn flown(flight: &Flight, event: &Event, told: &Told<'_>, slack: Slack) -> Holds {
    let timed_out = told
        .failure
        .is_some_and(|failure| failure.class == FailureClass::Deadline);
    if let Some(other) = &flight.displaced {
        let given_up = told.fate == Fate::Cancelled || timed_out;
        let at_once = event.at <= other.at + slack.timer;
        flight
            .ensure(given_up && at_once, 25, || {
                "an identical flight began while this one was still wanted".into()
            })
            .map_err(|breach| breach.with([Arc::clone(other)]))?;
    }
    let owns = flight.owner == event.call;
    match &flight.departed {
        Some(left) => same_end(flight, left, told)?,
        None => flight.ensure(owns || timed_out || told.fate == Fate::Cancelled, 26, || {
            "the owner has not ended, and it ends first".into()
        })?,
    }
    let failure = told.failure;
    let served = matches!(told.fate, Fate::Hit | Fate::Shared);
    flight.ensure(served || flight.hit.is_none(), 43, || {
        "it was served the answer of another prompt, and ends otherwise".into()
    })?;
    match told.fate {
        Fate::Shared | Fate::Hit if flight.hit.is_some() => served_by_meaning(flight, told, owns),
        Fate::Answered | Fate::Shared => answered(flight, told, owns),
        Fate::Hit => flight.ensure(false, 10, || "it flew, and was no hit".into()),
        Fate::RateLimited => flight.ensure(flight.rejected, 10, || "the limiter did not turn it away".into()),
        Fate::CircuitOpen => flight.ensure(flight.refused, 10, || "the breaker did not turn it away".into()),
        Fate::Cancelled => Ok(()),
        Fate::Interrupted => {
            flight.ensure(flight.delivered, 10, || "no text had been delivered".into())?;
            own_failure(flight, failure)
        }
        Fate::Failed => {
            let cut = failure.is_some_and(|failure| failure.phase == Phase::Delivered);
            flight.ensure(!cut, 10, || {
                "it broke after text was delivered: it was interrupted".into()
            })?;
            own_failure(flight, failure)
        }
    }
}

fn answered(flight: &Flight, told: &Told<'_>, owns: bool) -> Holds {
    let complete = match &flight.outcome {
        Some(AttemptResult::Succeeded { usage, .. }) if !flight.running => told.usage == Some(*usage),
        _ => false,
    };
    flight.ensure(complete, 10, || {
        "the flight has no complete answer with this usage".into()
    })?;
    flight.ensure((told.fate == Fate::Answered) == owns, 10, || {
        "the owner is answered, the others share".into()
    })
}

/// The flight came down with the answer of another prompt: nobody leaves it in any other way.
fn served_by_meaning(flight: &Flight, told: &Told<'_>, owns: bool) -> Holds {
    flight.ensure(told.usage == flight.hit, 40, || {
        format!("the stored answer took {:?}", flight.hit)
    })?;
    flight.ensure((told.fate == Fate::Hit) == owns, 10, || {
        "the owner has a hit, the others share it".into()
    })
}

/// Invariant 31: what is told went wrong in this flight, or with this call.
fn own_failure(flight: &Flight, failure: Option<&Failure>) -> Holds {
    let own = match failure {
        Some(failure) if matches!(failure.class, FailureClass::Deadline | FailureClass::Internal) => true,
        told => told.is_some() && told == flight.failure(),
    };
    flight.ensure(own, 31, || {
        "this is not what the flight's last attempt met".into()
    })
}

/// Invariant 26: those who waited with an owner that is told an end are told the same.
fn same_end(flight: &Flight, left: &Departed, told: &Told<'_>) -> Holds {
    let timed_out = |failure: &Failure| failure.class == FailureClass::Deadline;
    let same = match (left.fate, &left.failure) {
        (Fate::Answered | Fate::Hit, _) => told.fate == Fate::Shared,
        (_, Some(failure)) if timed_out(failure) => told.failure.is_some_and(timed_out),
        (fate, Some(failure)) => told.fate == fate && told.failure == Some(failure),
        (..) => false,
    };
    flight.ensure(same, 26, || {
        format!("the owner ended as {:?}, and nobody took over", left.fate)
    })
}
