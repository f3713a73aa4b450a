//! Stateless conversion of events into steps.

use std::sync::Arc;

use super::step::{
    Admitted, HitLabel, Queued, Rejected, Retried, SemanticHitStep, SemanticMissStep, Started, StepKind,
    StepLevel, StepLevels, Stopped, StoredAnswer, UserStepLevels,
};
use super::{Finished, store::StepScope};
use crate::event::{Event, EventKind};

/// The step of an event and its owner; `None` if the event is no step or
/// needs earlier events.
pub(super) fn step(event: &Event) -> Option<(StepScope, StepKind)> {
    match &event.kind {
        cache_events!() => cache(&event.kind),
        semantic_events!() => semantic(&event.kind).map(|kind| (StepScope::Call, kind)),
        flight_events!() => flight(&event.kind),
        limit_events!() => limit(event).map(|kind| (StepScope::Flight, kind)),
        attempt_events!() => attempt(&event.kind).map(|kind| (StepScope::Flight, kind)),
        EventKind::FaultInjected { attempt, fault } => {
            let (attempt, fault) = (*attempt, *fault);
            Some((StepScope::Flight, StepKind::FaultInjected { attempt, fault }))
        }
        // breaker events and both ends of a call are converted where they are stored
        frame_events!() | EventKind::PolicyApplied { .. } | call_events!() | breaker_events!() => None,
    }
}

/// The start of a call.
pub(super) fn start(kind: &EventKind) -> Option<Started> {
    let EventKind::CallStarted {
        origin,
        user,
        prompt,
        fingerprint,
        prompt_tokens,
        deadline,
        options: _,
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

/// The end of a call.
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

fn cache(kind: &EventKind) -> Option<(StepScope, StepKind)> {
    Some(match kind {
        EventKind::CacheHit {
            age,
            saved,
            saved_time,
            ..
        } => {
            let served = StoredAnswer {
                age: *age,
                saved: *saved,
                saved_time: Some(*saved_time),
            };
            (StepScope::Call, StepKind::CacheHit(Arc::new(served)))
        }
        EventKind::CacheMissed { reason, nearest } => {
            let (reason, nearest) = (*reason, nearest.clone().map(Arc::from));
            (StepScope::Call, StepKind::CacheMissed { reason, nearest })
        }
        EventKind::CacheBypassed { reason } => (StepScope::Call, StepKind::CacheBypassed { reason: *reason }),
        EventKind::CacheStored { bytes, .. } => (StepScope::Flight, StepKind::CacheStored { bytes: *bytes }),
        EventKind::CacheSkipped { reason } => (StepScope::Flight, StepKind::CacheSkipped { reason: *reason }),
        _ => return None,
    })
}

fn semantic(kind: &EventKind) -> Option<StepKind> {
    Some(match kind {
        EventKind::SemanticHit {
            nearest,
            candidates,
            lookup,
            age,
            saved,
            saved_time,
            ..
        } => StepKind::SemanticHit(Arc::new(SemanticHitStep {
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
        } => StepKind::SemanticMissed(Arc::new(SemanticMissStep {
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
        } => StepKind::SemanticShadowed(Arc::new(SemanticHitStep {
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
        } => StepKind::SemanticCompared {
            source: *source,
            agreement: *agreement,
            same: *same,
        },
        EventKind::SemanticStored { entries } => StepKind::SemanticStored { entries: *entries },
        EventKind::SemanticLabelled {
            source,
            good,
            similarity,
            threshold,
            removed,
            ..
        } => StepKind::Labelled(Arc::new(HitLabel {
            source: *source,
            good: *good,
            similarity: *similarity,
            threshold: *threshold,
            removed: *removed,
        })),
        _ => return None,
    })
}

fn flight(kind: &EventKind) -> Option<(StepScope, StepKind)> {
    Some(match kind {
        EventKind::FlightStarted { flight, sharing } => {
            let (flight, sharing) = (*flight, *sharing);
            (StepScope::Call, StepKind::FlightStarted { flight, sharing })
        }
        EventKind::FlightJoined {
            flight,
            owner,
            subscribers,
        } => {
            let kind = StepKind::FlightJoined {
                flight: *flight,
                owner: *owner,
                subscribers: *subscribers,
            };
            (StepScope::Call, kind)
        }
        EventKind::FlightHandedOver { flight, from } => {
            let (flight, from) = (*flight, *from);
            (StepScope::Flight, StepKind::FlightHandedOver { flight, from })
        }
        EventKind::ResultReplayed { age, saved, .. } => {
            let served = StoredAnswer {
                age: *age,
                saved: *saved,
                saved_time: None,
            };
            (StepScope::Call, StepKind::Replayed(Arc::new(served)))
        }
        _ => return None,
    })
}

fn limit(event: &Event) -> Option<StepKind> {
    let at = event.at;
    Some(match &event.kind {
        EventKind::LimitQueued {
            constraint,
            position,
            ready_at,
            waiting,
            levels,
        } => StepKind::Queued(Arc::new(Queued {
            constraint: *constraint,
            position: *position,
            waiting: *waiting,
            forecast: ready_at.map(|ready| at.until(ready)),
            levels: levels.as_ref().map(|levels| StepLevels::new(levels, at)),
        })),
        EventKind::LimitAdmitted {
            waited,
            reserved,
            requests,
            tokens,
            in_use,
            waiting,
            user,
        } => StepKind::Admitted(Arc::new(Admitted {
            waited: *waited,
            reserved: *reserved,
            requests: StepLevel::new(requests, at),
            tokens: StepLevel::new(tokens, at),
            in_use: *in_use,
            waiting: *waiting,
            user: user.as_ref().map(|own| UserStepLevels::new(own, at)),
        })),
        EventKind::LimitSettled {
            reserved,
            charged,
            refunded,
            ..
        } => StepKind::Settled {
            reserved: *reserved,
            charged: *charged,
            refunded: *refunded,
        },
        EventKind::LimitRejected {
            reason,
            predicted,
            waiting,
            levels,
        } => StepKind::Rejected(Arc::new(Rejected {
            reason: *reason,
            predicted: *predicted,
            waiting: *waiting,
            levels: levels.as_ref().map(|levels| StepLevels::new(levels, at)),
        })),
        EventKind::LimitLeft { waiting } => StepKind::LeftQueue { waiting: *waiting },
        _ => return None,
    })
}

fn attempt(kind: &EventKind) -> Option<StepKind> {
    Some(match kind {
        EventKind::AttemptStarted { attempt, .. } => StepKind::AttemptStarted { attempt: *attempt },
        EventKind::AttemptResponded { attempt, status } => StepKind::AttemptResponded {
            attempt: *attempt,
            status: *status,
        },
        EventKind::AttemptFirstToken { attempt, ttft } => StepKind::AttemptFirstToken {
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
        } => StepKind::RetryScheduled(Arc::new(Retried {
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
        } => StepKind::RetryStopped(Arc::new(Stopped {
            attempt: *attempt,
            reason: *reason,
            hint: *hint,
            budget: *budget,
            budget_max: *budget_max,
        })),
        _ => return None,
    })
}
