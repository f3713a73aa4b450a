//! The end of calls: each call ends exactly once, and only after its flight has released its resources.

use std::any::Any;
use std::sync::Arc;

use super::Core;
use super::answer::{Answer, CallError};
use super::flight::{Flight, FlightLog, Subscriber};
use super::guards::{CachedAnswer, Guards};
use super::layers::{Pending, UpstreamRequest};
use super::semantic::EmbeddedPrompt;
use super::stream::{CallStream, Unsubscribe};
use super::transport::Transport;
use crate::event::{
    CallId, EventKind, EvictReason, Failure, FailureClass, Fate, Observer, Origin, Phase, SkipReason,
};
use crate::openai::Usage;
use crate::policy::admission::{self, StoreCandidate};
use crate::policy::cache::{Cache, PutOutcome};
use crate::policy::classify;
use crate::text::SafeText;
use crate::time::{Clock, Timestamp};

/// The end of a flight.
#[derive(Clone)]
pub(super) enum Completion {
    /// An answer of the upstream, and the embedding under which the semantic cache can find it.
    Answered(Answer, Option<Box<EmbeddedPrompt>>),
    /// A stored answer of the semantic cache.
    Hit(Arc<Answer>),
    Failed(Failure),
    /// The last deadline passed.
    Expired,
    /// No caller is left.
    Abandoned,
    /// The work panicked, with this message without keys: a bug.
    Panicked(SafeText),
}

impl<T: Transport, O: Observer> Core<T, O> {
    /// Ends a call without a flight: from the cache, replayed, or rejected.
    pub(super) fn end_immediately(
        &self,
        pending: &Pending,
        end: Result<Arc<Answer>, (Fate, Failure)>,
    ) -> CallStream {
        let took = self.env.clock.now().since(pending.started_at);
        let (fate, failure, usage) = match &end {
            Ok(answer) => (Fate::Hit, None, Some(answer.usage)),
            Err((fate, failure)) => (*fate, Some(failure.clone()), None),
        };
        self.observer.emit(
            Some(pending.call),
            EventKind::CallEnded {
                fate,
                attempts: 0,
                failure,
                usage,
                took,
            },
        );
        let end = end.map_err(|(fate, failure)| CallError {
            fate,
            failure,
            partial: String::new(),
            headers: None,
            response: None,
        });
        CallStream::ended(pending.call, end, pending.cache_use)
    }

    /// Ends the calls whose own deadline has passed. Returns false if it has passed for all: then the flight ends.
    pub(super) fn expire(&self, flight: &Flight) -> bool {
        let mut guards = self.lock();
        let now = self.env.clock.now();
        let due = flight.next_deadline();
        let mut log = flight.lock();
        log.overslept |= Clock::overslept(due, now);
        if log.subscribers.iter().all(|one| one.deadline <= now) {
            // at once: a call that joined now would end by the deadline of another
            guards.remove_flight(flight);
            log.expired = true;
            return false;
        }
        let owner = log.subscribers.first().map(|one| one.call);
        let (late, staying): (Vec<_>, Vec<_>) = std::mem::take(&mut log.subscribers)
            .into_iter()
            .partition(|one| one.deadline <= now);
        log.subscribers = staying;
        for one in late {
            let failure = deadline_passed(&log, &one);
            self.end_subscriber(&mut log, &one, Err((fate_of(&failure), failure)), now);
        }
        self.hand_over(flight, &log, owner);
        drop(log);
        flight.wake_readers();
        true
    }

    /// Cancels the calls of this origin for which `is_meant` returns true, as if their callers had left; their readers
    /// get the end.
    pub(super) fn cancel(&self, origin: Origin, is_meant: impl Fn(CallId) -> bool) {
        let flights: Vec<_> = self.lock().flights.values().cloned().collect();
        for flight in flights {
            let subscribers = flight.lock().subscribers.clone();
            let meant = |one: &&Subscriber| one.origin == origin && is_meant(one.call);
            for one in subscribers.iter().filter(meant) {
                self.leave(one.call, &flight);
                // the work of an abandoned flight ends its last call
                if !flight.abandoned.is_cancelled() {
                    let end = CallError {
                        fate: Fate::Cancelled,
                        failure: cancelled(),
                        partial: String::new(),
                        headers: None,
                        response: None,
                    };
                    flight.lock().put_end(one.call, Err(end));
                    flight.wake_readers();
                }
            }
        }
    }

    /// Stores the answer, removes the flight and ends its calls, in this order: a call that arrives meanwhile
    /// finds the answer or the flight, and does not start a second one.
    ///
    /// A flight may complete just when its last subscriber leaves on another thread. It was removed then, and its
    /// key may have a new flight: its result is dropped.
    pub(super) fn complete(&self, flight: &Flight, request: &UpstreamRequest, completion: Completion) {
        let mut index = match &completion {
            Completion::Answered(..) if request.storable => Some(self.index()),
            _ => None,
        };
        let mut guards = self.lock();
        // set under the same lock: see `leave`
        if let Completion::Answered(answer, embedded) = &completion
            && !flight.abandoned.is_cancelled()
            && let Some(stored) = self.store(&mut guards, flight, request, answer)
            && let Some(index) = &mut index
            && let Some(kind) = self.index_answer(index, &guards, answer, embedded.as_deref(), stored)
        {
            self.emit(flight, kind);
        }
        drop(index);
        self.end_calls(&mut guards, flight, completion);
    }

    /// Removes a flight and ends its calls.
    pub(super) fn end_calls(&self, guards: &mut Guards, flight: &Flight, completion: Completion) {
        let now = self.env.clock.now();
        let abandoned = flight.abandoned.is_cancelled();
        guards.remove_flight(flight);
        let mut log = flight.lock();
        if let Completion::Panicked(text) = &completion {
            self.observer
                .emit(None, EventKind::TaskPanicked { text: text.clone() });
        }
        if let Completion::Hit(answer) = &completion {
            log.semantic_hit = true;
            log.chunks.extend(answer.to_chunks());
            if let Some(wire) = &answer.wire {
                log.wire.head = Some(Arc::new(wire.head.clone()));
                log.wire.body.clone_from(&wire.body);
            }
        }
        let mut subscribers = std::mem::take(&mut log.subscribers);
        if abandoned {
            // as if each had left: the owner last, so that no follower takes over
            subscribers.reverse();
        }
        // moved to the last one, which is mostly the only one
        let completions = std::iter::repeat_n(completion, subscribers.len());
        for ((position, one), completion) in subscribers.iter().enumerate().zip(completions) {
            let end = match completion {
                _ if abandoned => Err((Fate::Cancelled, cancelled())),
                Completion::Answered(answer, _) => {
                    let fate = if position == 0 {
                        Fate::Answered
                    } else {
                        Fate::Shared
                    };
                    Ok(Answer { fate, ..answer })
                }
                Completion::Hit(answer) => {
                    let fate = if position == 0 { Fate::Hit } else { Fate::Shared };
                    Ok(Answer {
                        fate,
                        ..Arc::unwrap_or_clone(answer)
                    })
                }
                Completion::Failed(failure) => Err((fate_of(&failure), failure)),
                Completion::Expired => {
                    let failure = deadline_passed(&log, one);
                    Err((fate_of(&failure), failure))
                }
                Completion::Abandoned => Err((Fate::Cancelled, cancelled())),
                Completion::Panicked(text) => Err((
                    Fate::Failed,
                    Failure::new(
                        FailureClass::Internal,
                        Phase::Ambiguous,
                        format!("internal error in seawall: {text}"),
                    ),
                )),
            };
            self.end_subscriber(&mut log, one, end, now);
        }
        drop(log);
        flight.wake_readers();
    }

    /// Emits the end of one call and stores it for its reader.
    fn end_subscriber(
        &self,
        log: &mut FlightLog,
        one: &Subscriber,
        end: Result<Answer, (Fate, Failure)>,
        now: Timestamp,
    ) {
        let (fate, failure, usage) = match &end {
            Ok(answer) => (answer.fate, None, Some(answer.usage)),
            Err((fate, failure)) => (*fate, Some(failure.clone()), None),
        };
        let failure = failure.filter(|_| fate != Fate::Cancelled);
        let kind = EventKind::CallEnded {
            fate,
            attempts: one.attempts,
            failure,
            usage,
            took: now.since(one.started_at),
        };
        self.observer.emit(Some(one.call), kind);
        let headers = log.headers.clone();
        let end = match end {
            Ok(answer) => Ok(Answer { headers, ..answer }),
            Err((fate, failure)) => Err(CallError {
                fate,
                failure,
                partial: log.partial_text(),
                headers,
                response: log.wire.error.clone(),
            }),
        };
        log.put_end(one.call, end);
    }

    /// Emits the new owner, if the owner has left.
    fn hand_over(&self, flight: &Flight, log: &FlightLog, from: Option<CallId>) {
        let to = log.subscribers.first().map(|one| one.call);
        if let (Some(from), Some(to)) = (from, to)
            && from != to
        {
            self.observer.emit(
                Some(to),
                EventKind::FlightHandedOver {
                    flight: flight.id,
                    from,
                },
            );
        }
    }

    /// Stores a complete answer in the ledger and the cache, as far as it may be used again. Returns what the
    /// cache did, if the answer is in it now.
    fn store(
        &self,
        guards: &mut Guards,
        flight: &Flight,
        request: &UpstreamRequest,
        answer: &Answer,
    ) -> Option<PutOutcome> {
        let now = self.env.clock.now();
        // an answer without a caller is not stored
        let owner = flight.lock().subscribers.first().cloned()?;
        let value = CachedAnswer {
            call: owner.call,
            answer: Arc::new(answer.to_stored()),
            took: now.since(owner.started_at),
        };
        if let Some(client_key) = &request.client_key {
            let fingerprint = flight.request_key.fingerprint();
            guards
                .ledger
                .complete(now, &request.user, client_key, fingerprint, value.clone());
        }
        if !(guards.policy.cache.enabled && request.storable) {
            return None;
        }
        let stored_bytes = value.answer.stored_bytes();
        let bytes = Cache::<CachedAnswer>::entry_bytes(&flight.request_key, stored_bytes);
        let candidate = StoreCandidate {
            finish: answer.finish,
            bytes,
            empty: answer.is_empty(),
            bad_text: answer.bad_text,
            requested_model: request.model.as_deref(),
            response_model: answer.model.as_deref(),
            model_listed: request
                .model
                .as_ref()
                .is_some_and(|model| guards.models.contains(model)),
        };
        if let Err(reason) = admission::may_store(&guards.policy.cache, &candidate) {
            self.emit(flight, EventKind::CacheSkipped { reason });
            return None;
        }
        let stored = guards
            .cache
            .put(now, flight.request_key.clone(), value, stored_bytes);
        if stored.expired > 0 {
            self.emit_evicted(guards, EvictReason::Expired, stored.expired);
        }
        if stored.evicted_for_room > 0 {
            self.emit_evicted(guards, EvictReason::Capacity, stored.evicted_for_room);
        }
        let kind = if stored.kept {
            EventKind::CacheStored {
                bytes: stored.bytes,
                entries: guards.cache.entries(),
                total_bytes: guards.cache.bytes(),
            }
        } else {
            EventKind::CacheSkipped {
                reason: SkipReason::TooLarge,
            }
        };
        self.emit(flight, kind);
        stored.kept.then_some(stored)
    }

    /// Emits the removal of cache entries.
    pub(super) fn emit_evicted(&self, guards: &Guards, reason: EvictReason, removed: u64) {
        let entries = guards.cache.entries();
        let total_bytes = guards.cache.bytes();
        self.observer.emit(
            None,
            EventKind::CacheEvicted {
                reason,
                removed,
                entries,
                total_bytes,
            },
        );
    }
}

impl<T: Transport, O: Observer> Unsubscribe for Core<T, O> {
    fn leave(&self, call: CallId, flight: &Flight) {
        let mut guards = self.lock();
        let mut log = flight.lock();
        let Some(position) = log.subscribers.iter().position(|one| one.call == call) else {
            return;
        };
        if log.subscribers.len() == 1 {
            // the last one: the work of the flight releases its resources first, and then ends the call
            guards.remove_flight(flight);
            flight.abandoned.cancel();
            return;
        }
        let owner = log.subscribers.first().map(|one| one.call);
        let one = log.subscribers.remove(position);
        let took = self.env.clock.now().since(one.started_at);
        let kind = EventKind::CallEnded {
            fate: Fate::Cancelled,
            attempts: one.attempts,
            failure: None,
            usage: None::<Usage>,
            took,
        };
        self.observer.emit(Some(call), kind);
        self.hand_over(flight, &log, owner);
        drop(log);
        flight.changed.notify_one();
    }
}

/// The fate of a call that ends with this failure.
fn fate_of(failure: &Failure) -> Fate {
    match (failure.class, failure.phase) {
        (FailureClass::LimitRejected, _) => Fate::RateLimited,
        (FailureClass::BreakerRefused, _) => Fate::CircuitOpen,
        (_, Phase::Delivered) => Fate::Interrupted,
        _ => Fate::Failed,
    }
}

/// The failure of a call whose deadline passed, with the last failure before it. A call with delivered text is
/// interrupted, not failed.
fn deadline_passed(log: &FlightLog, one: &Subscriber) -> Failure {
    let given = one.deadline.since(one.started_at).as_secs_f64();
    if !log.chunks.is_empty() {
        let message =
            format!("deadline of {given:.1}s passed in the middle of the answer; the text so far is kept");
        return Failure::new(FailureClass::Deadline, Phase::Delivered, message);
    }
    let so_far = log
        .last_failure
        .as_ref()
        .map_or_else(String::new, |failure| format!("; last: {failure}"));
    Failure::new(
        FailureClass::Deadline,
        Phase::Final,
        format!("deadline of {given:.1}s passed{so_far}"),
    )
}

fn cancelled() -> Failure {
    Failure::new(FailureClass::Deadline, Phase::Final, "the call was cancelled")
}

/// The message of a panic, redacted.
pub(super) fn panic_text(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    let text = text.or_else(|| panic.downcast_ref::<String>().cloned());
    classify::redact(text.as_deref().unwrap_or("panic"))
}
