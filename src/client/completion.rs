//! How calls end: each exactly once, and only after what its flight held was given back.

use std::any::Any;
use std::sync::Arc;

use super::Core;
use super::answer::{Answer, CallError};
use super::flight::{Flight, FlightLog, Subscriber};
use super::guards::{Guards, Kept};
use super::layers::{Errand, Pending};
use super::semantic::Meaning;
use super::stream::{CallStream, Departures};
use super::transport::Transport;
use crate::event::{
    CallId, EventKind, EvictReason, Failure, FailureClass, Fate, Observer, Phase, SkipReason,
};
use crate::openai::Usage;
use crate::policy::admission::{self, StoreCandidate};
use crate::policy::cache::{Cache, PutOutcome};
use crate::policy::classify;
use crate::time::{Clock, Timestamp};

/// How a flight came down.
pub(super) enum Landing {
    /// With an answer, and what the semantic cache needs to find it again.
    Answered(Answer, Option<Box<Meaning>>),
    /// With the stored answer to a prompt that means the same.
    Hit(Arc<Answer>),
    /// Without.
    Failed(Failure),
    /// The last deadline passed.
    Expired,
    /// Nobody is left to tell.
    Abandoned,
    /// A bug: the task panicked.
    Panicked(String),
}

impl<T: Transport, O: Observer> Core<T, O> {
    /// Ends a call that never flew: from the cache, replayed, or turned away.
    pub(super) fn end_at_once(
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
        let end = match end {
            Ok(answer) => Ok(Answer {
                fate: Fate::Hit,
                ..answer.as_ref().clone()
            }),
            Err((fate, failure)) => Err(CallError {
                fate,
                failure,
                partial: String::new(),
            }),
        };
        CallStream::over(pending.call, end)
    }

    /// Ends the calls whose own deadline has passed. False if that were all of them: then the flight ends.
    pub(super) fn expire(&self, flight: &Flight) -> bool {
        let mut guards = self.lock();
        let now = self.env.clock.now();
        let due = flight.next_deadline();
        let mut log = flight.lock();
        log.overslept |= Clock::overslept(due, now);
        if log.subscribers.iter().all(|one| one.deadline <= now) {
            // forgotten at once: who came now would be told of a deadline that is not its own
            guards.forget(flight);
            log.expired = true;
            return false;
        }
        let owner = log.subscribers.first().map(|one| one.call);
        let (late, staying): (Vec<_>, Vec<_>) = std::mem::take(&mut log.subscribers)
            .into_iter()
            .partition(|one| one.deadline <= now);
        log.subscribers = staying;
        for one in late {
            let failure = out_of_time(&log, &one);
            self.end_subscriber(&mut log, &one, Err((fate_of(&failure), failure)), now);
        }
        self.hand_over(flight, &log, owner);
        drop(log);
        flight.wake_readers();
        true
    }

    /// Tells everybody the end. The answer is stored first and the flight forgotten second, so that a call
    /// that comes meanwhile finds the one or the other, and never starts a second flight for nothing.
    ///
    /// A flight may come down just when its last subscriber has left on another thread. It was forgotten then,
    /// and its key may have a new flight: whatever it brings is nobody's any more.
    pub(super) fn land(&self, flight: &Flight, errand: &Errand, landing: &Landing) {
        let mut index = match landing {
            Landing::Answered(..) if errand.storable => Some(self.index()),
            _ => None,
        };
        let mut guards = self.lock();
        // set under the same lock: see `leave`
        if let Landing::Answered(answer, meaning) = landing
            && !flight.abandoned.is_cancelled()
            && let Some(stored) = self.keep(&mut guards, flight, errand, answer)
            && let Some(index) = &mut index
            && let Some(kind) = self.index_answer(index, &guards, answer, meaning.as_deref(), stored)
        {
            self.note(flight, kind);
        }
        drop(index);
        self.come_down(&mut guards, flight, landing);
    }

    /// Nobody can join any more, and everybody who waited is told.
    pub(super) fn come_down(&self, guards: &mut Guards, flight: &Flight, landing: &Landing) {
        let now = self.env.clock.now();
        let abandoned = flight.abandoned.is_cancelled();
        guards.forget(flight);
        let mut log = flight.lock();
        if let Landing::Panicked(text) = landing {
            self.observer.emit(
                None,
                EventKind::TaskPanicked {
                    text: self.transport.veiled(text.as_str().into()),
                },
            );
        }
        if let Landing::Hit(answer) = landing {
            log.chunks.extend(answer.to_chunks());
        }
        let subscribers = std::mem::take(&mut log.subscribers);
        for (place, one) in subscribers.iter().enumerate() {
            let end = match landing {
                _ if abandoned => Err((Fate::Cancelled, cancelled())),
                Landing::Answered(answer, _) => {
                    let fate = if place == 0 { Fate::Answered } else { Fate::Shared };
                    Ok(Answer {
                        fate,
                        ..answer.clone()
                    })
                }
                Landing::Hit(answer) => {
                    let fate = if place == 0 { Fate::Hit } else { Fate::Shared };
                    Ok(Answer {
                        fate,
                        ..answer.as_ref().clone()
                    })
                }
                Landing::Failed(failure) => Err((fate_of(failure), failure.clone())),
                Landing::Expired => {
                    let failure = out_of_time(&log, one);
                    Err((fate_of(&failure), failure))
                }
                Landing::Abandoned => Err((Fate::Cancelled, cancelled())),
                Landing::Panicked(text) => Err((
                    Fate::Failed,
                    Failure::new(
                        FailureClass::Internal,
                        Phase::Ambiguous,
                        self.transport.veiled(format!("a bug in seawall: {text}").into()),
                    ),
                )),
            };
            self.end_subscriber(&mut log, one, end, now);
        }
        drop(log);
        flight.wake_readers();
    }

    /// Records the end of one call and leaves it where its reader finds it.
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
        let end = end.map_err(|(fate, failure)| CallError {
            fate,
            failure,
            partial: log.partial_text(),
        });
        log.put_end(one.call, end);
    }

    /// Tells who owns the flight now, if the owner has left.
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

    /// Stores a complete answer where it may be used again; says what that did, if it is in the cache now.
    fn keep(
        &self,
        guards: &mut Guards,
        flight: &Flight,
        errand: &Errand,
        answer: &Answer,
    ) -> Option<PutOutcome> {
        let now = self.env.clock.now();
        // a flight that nobody waits for is not kept
        let owner = flight.lock().subscribers.first().cloned()?;
        let kept = Kept {
            call: owner.call,
            answer: Arc::new(answer.clone()),
            took: now.since(owner.started_at),
        };
        if let Some(client_key) = &errand.client_key {
            let fingerprint = flight.request_key.fingerprint();
            guards
                .ledger
                .complete(now, &errand.user, client_key, fingerprint, kept.clone());
        }
        if !(guards.policy.cache.enabled && errand.storable) {
            return None;
        }
        let bytes = Cache::<Kept>::entry_bytes(&flight.request_key, answer.stored_bytes());
        let candidate = StoreCandidate {
            finish: answer.finish,
            bytes,
            empty: answer.text.is_empty() && answer.tool_calls.is_empty(),
            bad_text: answer.bad_text,
            requested_model: errand.model.as_deref(),
            response_model: answer.model.as_deref(),
            model_listed: errand
                .model
                .as_ref()
                .is_some_and(|asked| guards.models.contains(asked)),
        };
        if let Err(reason) = admission::may_store(&guards.policy.cache, &candidate) {
            self.note(flight, EventKind::CacheSkipped { reason });
            return None;
        }
        let stored = guards
            .cache
            .put(now, flight.request_key.clone(), kept, answer.stored_bytes());
        if stored.expired > 0 {
            self.note_evicted(guards, EvictReason::Expired, stored.expired);
        }
        if stored.evicted_for_room > 0 {
            self.note_evicted(guards, EvictReason::Capacity, stored.evicted_for_room);
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
        self.note(flight, kind);
        stored.kept.then_some(stored)
    }

    /// Tells that entries were removed.
    pub(super) fn note_evicted(&self, guards: &Guards, reason: EvictReason, removed: u64) {
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

impl<T: Transport, O: Observer> Departures for Core<T, O> {
    fn leave(&self, call: CallId, flight: &Flight) {
        let mut guards = self.lock();
        let mut log = flight.lock();
        let Some(place) = log.subscribers.iter().position(|one| one.call == call) else {
            return;
        };
        if log.subscribers.len() == 1 {
            // the last one: the flight's task gives back what it holds, and then tells of the end
            guards.forget(flight);
            flight.abandoned.cancel();
            return;
        }
        let owner = log.subscribers.first().map(|one| one.call);
        let one = log.subscribers.remove(place);
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

/// What fate a failure makes.
fn fate_of(failure: &Failure) -> Fate {
    match (failure.class, failure.phase) {
        (FailureClass::LimitRejected, _) => Fate::RateLimited,
        (FailureClass::BreakerRefused, _) => Fate::CircuitOpen,
        (_, Phase::Delivered) => Fate::Interrupted,
        _ => Fate::Failed,
    }
}

/// The deadline passed: says what had gone wrong until then, if anything had. Text that was delivered is not
/// taken back: such a call is cut, not failed.
fn out_of_time(log: &FlightLog, one: &Subscriber) -> Failure {
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
    Failure::new(FailureClass::Deadline, Phase::Final, "cancelled")
}

/// What a panic said, without what looks like a key.
pub(super) fn panic_text(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    let text = text.or_else(|| panic.downcast_ref::<String>().cloned());
    classify::redact(text.as_deref().unwrap_or("panic"))
}
