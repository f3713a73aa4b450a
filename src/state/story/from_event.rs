//! From an event to the step it is: nothing here remembers anything.

use std::sync::Arc;

use super::step::{
    Admitted, Judged, Level, Levels, MeaningHit, MeaningMiss, OwnLevels, Queued, Rejected, Retried, Served,
    Started, Stopped, What,
};
use super::{Finished, store::Side};
use crate::event::{Event, EventKind};

/// The step an event is, and whether it belongs to the call alone or to its flight; nothing where it is none, or
/// one that needs to know what was before.
pub(super) fn step(event: &Event) -> Option<(Side, What)> {
    match &event.kind {
        cache_events!() => cache(&event.kind),
        semantic_events!() => semantic(&event.kind).map(|what| (Side::Call, what)),
        flight_events!() => flight(&event.kind),
        limit_events!() => limit(event).map(|what| (Side::Flight, what)),
        attempt_events!() => attempt(&event.kind).map(|what| (Side::Flight, what)),
        EventKind::FaultInjected { attempt, fault } => {
            let (attempt, fault) = (*attempt, *fault);
            Some((Side::Flight, What::FaultInjected { attempt, fault }))
        }
        // breaker events and the two ends of a call are told where they are remembered
        frame_events!() | EventKind::PolicyApplied { .. } | call_events!() | breaker_events!() => None,
    }
}

/// How a call began.
pub(super) fn start(kind: &EventKind) -> Option<Started> {
    let EventKind::CallStarted {
        origin,
        user,
        prompt,
        fingerprint,
        prompt_tokens,
        deadline,
        manner: _,
    } = kind
    else {
        return None;
    };
    Some(Started {
        user: user.clone(),
        origin: *origin,
        prompt: prompt.clone(),
        fingerprint: fingerprint.clone(),
        prompt_tokens: *prompt_tokens,
        deadline: *deadline,
    })
}

/// How a call ended.
pub(super) fn end(kind: &EventKind) -> Option<Finished> {
    let EventKind::CallEnded {
        fate,
        attempts,
        failure,
        usage,
        took,
    } = kind
    else {
        return None;
    };
    Some(Finished {
        fate: *fate,
        took: *took,
        attempts: *attempts,
        failure: failure.clone(),
        usage: *usage,
    })
}

fn cache(kind: &EventKind) -> Option<(Side, What)> {
    Some(match kind {
        EventKind::CacheHit {
            age,
            saved,
            saved_time,
            ..
        } => {
            let served = Served {
                age: *age,
                saved: *saved,
                saved_time: Some(*saved_time),
            };
            (Side::Call, What::CacheHit(Arc::new(served)))
        }
        EventKind::CacheMissed { reason, nearest } => {
            let (reason, nearest) = (*reason, nearest.clone().map(Arc::from));
            (Side::Call, What::CacheMissed { reason, nearest })
        }
        EventKind::CacheBypassed { reason } => (Side::Call, What::CacheBypassed { reason: *reason }),
        EventKind::CacheStored { bytes, .. } => (Side::Flight, What::CacheStored { bytes: *bytes }),
        EventKind::CacheSkipped { reason } => (Side::Flight, What::CacheSkipped { reason: *reason }),
        _ => return None,
    })
}

fn semantic(kind: &EventKind) -> Option<What> {
    Some(match kind {
        EventKind::SemanticHit {
            nearest,
            candidates,
            lookup,
            age,
            saved,
            saved_time,
            ..
        } => What::SemanticHit(Arc::new(MeaningHit {
            nearest: nearest.as_ref().clone(),
            candidates: *candidates,
            lookup: *lookup,
            saved: *saved,
            age: Some(*age),
            saved_time: Some(*saved_time),
        })),
        EventKind::SemanticMissed {
            reason,
            nearest,
            candidates,
            lookup,
            detail,
        } => What::SemanticMissed(Arc::new(MeaningMiss {
            reason: *reason,
            nearest: nearest.as_deref().cloned(),
            candidates: *candidates,
            lookup: *lookup,
            detail: detail.clone(),
        })),
        EventKind::SemanticShadowed {
            nearest,
            candidates,
            lookup,
            saved,
        } => What::SemanticShadowed(Arc::new(MeaningHit {
            nearest: nearest.as_ref().clone(),
            candidates: *candidates,
            lookup: *lookup,
            saved: *saved,
            age: None,
            saved_time: None,
        })),
        EventKind::SemanticCompared {
            source,
            agreement,
            same,
        } => What::SemanticCompared {
            source: *source,
            agreement: *agreement,
            same: *same,
        },
        EventKind::SemanticStored { entries } => What::SemanticStored { entries: *entries },
        EventKind::SemanticLabelled {
            source,
            good,
            similarity,
            threshold,
            removed,
            ..
        } => What::Labelled(Arc::new(Judged {
            source: *source,
            good: *good,
            similarity: *similarity,
            threshold: *threshold,
            removed: *removed,
        })),
        _ => return None,
    })
}

fn flight(kind: &EventKind) -> Option<(Side, What)> {
    Some(match kind {
        EventKind::FlightStarted { flight, sharing } => {
            let (flight, sharing) = (*flight, *sharing);
            (Side::Call, What::FlightStarted { flight, sharing })
        }
        EventKind::FlightJoined {
            flight,
            owner,
            subscribers,
        } => {
            let what = What::FlightJoined {
                flight: *flight,
                owner: *owner,
                subscribers: *subscribers,
            };
            (Side::Call, what)
        }
        EventKind::FlightHandedOver { flight, from } => {
            let (flight, from) = (*flight, *from);
            (Side::Flight, What::FlightHandedOver { flight, from })
        }
        EventKind::ResultReplayed { age, saved, .. } => {
            let served = Served {
                age: *age,
                saved: *saved,
                saved_time: None,
            };
            (Side::Call, What::Replayed(Arc::new(served)))
        }
        _ => return None,
    })
}

fn limit(event: &Event) -> Option<What> {
    let at = event.at;
    Some(match &event.kind {
        EventKind::LimitQueued {
            constraint,
            position,
            ready_at,
            waiting,
            saw,
        } => What::Queued(Arc::new(Queued {
            constraint: *constraint,
            position: *position,
            waiting: *waiting,
            forecast: ready_at.map(|ready| at.until(ready)),
            saw: saw.as_ref().map(|saw| Levels::of(saw, at)),
        })),
        EventKind::LimitAdmitted {
            waited,
            reserved,
            requests,
            tokens,
            in_use,
            waiting,
            user,
        } => What::Admitted(Arc::new(Admitted {
            waited: *waited,
            reserved: *reserved,
            requests: Level::of(requests, at),
            tokens: Level::of(tokens, at),
            in_use: *in_use,
            waiting: *waiting,
            own: user.as_ref().map(|own| OwnLevels::of(own, at)),
        })),
        EventKind::LimitSettled {
            reserved,
            charged,
            refunded,
            ..
        } => What::Settled {
            reserved: *reserved,
            charged: *charged,
            refunded: *refunded,
        },
        EventKind::LimitRejected {
            reason,
            predicted,
            waiting,
            saw,
        } => What::Rejected(Arc::new(Rejected {
            reason: *reason,
            predicted: *predicted,
            waiting: *waiting,
            saw: saw.as_ref().map(|saw| Levels::of(saw, at)),
        })),
        EventKind::LimitLeft { waiting } => What::LeftQueue { waiting: *waiting },
        _ => return None,
    })
}

fn attempt(kind: &EventKind) -> Option<What> {
    Some(match kind {
        EventKind::AttemptStarted { attempt, .. } => What::AttemptStarted { attempt: *attempt },
        EventKind::AttemptResponded { attempt, status } => What::AttemptResponded {
            attempt: *attempt,
            status: *status,
        },
        EventKind::AttemptFirstToken { attempt, ttft } => What::AttemptFirstToken {
            attempt: *attempt,
            ttft: *ttft,
        },
        EventKind::RetryScheduled {
            next,
            delay,
            drawn,
            hint,
            class,
            ambiguous,
            budget,
            budget_max,
            ..
        } => What::RetryScheduled(Arc::new(Retried {
            next: *next,
            wait: *delay,
            drawn: *drawn,
            hint: *hint,
            class: *class,
            ambiguous: *ambiguous,
            budget: *budget,
            budget_max: *budget_max,
        })),
        EventKind::RetryStopped {
            attempt,
            reason,
            hint,
            budget,
            budget_max,
        } => What::RetryStopped(Arc::new(Stopped {
            attempt: *attempt,
            reason: *reason,
            hint: *hint,
            budget: *budget,
            budget_max: *budget_max,
        })),
        _ => return None,
    })
}
