//! Stored answers: which may be stored, and which caller may receive them.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use xxhash_rust::xxh3::xxh3_64;

use super::Slack;
use super::index::{CallIndex, Flight, RequestId};
use super::violation::{Holds, breach, ensure};
use crate::event::{AttemptResult, CallId, Event, EventKind, EvictReason, Finish, NearMiss, Sharing};
use crate::openai::Usage;
use crate::time::Timestamp;

/// A stored answer: the hash of its text instead of the text, so that an hour fits in memory.
#[derive(Clone, Debug)]
pub(super) struct StoredAnswer {
    pub(super) hash: u64,
    pub(super) usage: Usage,
    pub(super) event: Arc<Event>,
}

/// The stored answers and completed results.
#[derive(Debug, Default)]
pub(super) struct CacheCheck {
    pub(super) stored: BTreeMap<RequestId, StoredAnswer>,
    /// The call that got each answer from the upstream.
    pub(super) sources: BTreeMap<CallId, RequestId>,
    /// Thresholds raised by bad labels, by the fingerprint of the request.
    pub(super) raised: BTreeMap<String, f64>,
    /// Requests in order of storing, to drop expired answers.
    order: VecDeque<(Timestamp, RequestId)>,
    /// Results by request. The log does not record idempotency keys: several may have the same request.
    results: BTreeMap<RequestId, Vec<StoredAnswer>>,
    result_order: VecDeque<(Timestamp, RequestId)>,
}

impl CacheCheck {
    pub(super) fn apply(&mut self, index: &CallIndex, event: &Arc<Event>, slack: Slack) -> Holds {
        let max_bytes = index.policy.cache.max_bytes;
        match &event.kind {
            EventKind::CacheHit { age, saved, text, .. } => {
                self.hit(index, event, *age, (*saved, text), slack)
            }
            EventKind::CacheMissed {
                nearest: Some(nearest),
                ..
            } => self.near_miss(nearest),
            EventKind::ResultReplayed { age, saved, text } => {
                self.replayed(index, event, *age, (*saved, text), slack)
            }
            EventKind::CacheStored {
                bytes, total_bytes, ..
            } => {
                self.stored(index, event)?;
                ensure(*total_bytes <= max_bytes && bytes <= total_bytes, 24, || {
                    format!("the bound is {max_bytes} bytes")
                })
            }
            EventKind::CacheEvicted {
                reason,
                entries,
                total_bytes,
                ..
            } => {
                let cleared = *reason == EvictReason::Cleared;
                if cleared {
                    self.stored.clear();
                    self.sources.clear();
                    self.order.clear();
                }
                let empty = *entries == 0 && *total_bytes == 0;
                ensure(*total_bytes <= max_bytes && (!cleared || empty), 24, || {
                    format!("the bound is {max_bytes} bytes")
                })
            }
            EventKind::SemanticHit { .. } | EventKind::SemanticShadowed { .. } => {
                self.near(index, event, slack)
            }
            EventKind::SemanticLabelled { .. } => self.labelled(index, event),
            EventKind::PolicyApplied { policy } => {
                let labels = policy.semantic.labels.iter();
                let raised = labels.filter_map(|label| Some((label.request.clone(), label.threshold?)));
                self.raised = raised.collect();
                Ok(())
            }
            EventKind::AttemptEnded {
                result: AttemptResult::Succeeded { usage, .. },
                ..
            } => {
                if let Some(flight) = flight_of(index, event).filter(|one| one.sharing == Sharing::SameKey) {
                    let stored_answer = stored_answer(flight, *usage, event);
                    self.result_order.push_back((event.at, flight.request.clone()));
                    self.results
                        .entry(flight.request.clone())
                        .or_default()
                        .push(stored_answer);
                    self.forget(event.at, index);
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// Checks invariant 23.
    fn stored(&mut self, index: &CallIndex, event: &Arc<Event>) -> Holds {
        let Some(flight) = flight_of(index, event) else {
            return Err(breach(23, "no flight has this answer"));
        };
        let EventKind::CacheStored { bytes, .. } = &event.kind else {
            return Ok(());
        };
        let usage = match &flight.outcome {
            Some(AttemptResult::Succeeded {
                finish: Finish::Stop | Finish::Length | Finish::ToolCalls,
                usage,
                ..
            }) if !flight.running => *usage,
            outcome => {
                return flight.ensure(false, 23, || format!("the flight ended with {outcome:?}"));
            }
        };
        flight.ensure(index.policy.cache.enabled, 23, || "the cache is off".into())?;
        let most = index.policy.cache.max_entry_bytes;
        flight.ensure(*bytes <= most, 23, || format!("an entry may have {most} bytes"))?;
        let older = self
            .stored
            .insert(flight.request.clone(), stored_answer(flight, usage, event));
        self.forget_source(older.as_ref());
        self.sources
            .insert(event.call.unwrap_or_default(), flight.request.clone());
        self.order.push_back((event.at, flight.request.clone()));
        self.forget(event.at, index);
        Ok(())
    }

    /// Checks invariant 25. The log does not name evicted entries, so a near miss may name one.
    fn near_miss(&self, nearest: &NearMiss) -> Holds {
        let NearMiss {
            source,
            differs,
            fields,
            ..
        } = nearest;
        ensure(self.sources.contains_key(source), 25, || {
            format!("no answer of {source} is stored")
        })?;
        ensure(
            !differs.is_empty() && differs.len() as u64 <= u64::from(*fields),
            25,
            || format!("{fields} fields differ, but {} are listed", differs.len()),
        )
    }

    /// Checks invariants 22, 24 and 33.
    fn hit(
        &self,
        index: &CallIndex,
        event: &Event,
        age: Duration,
        (saved, text): (Usage, &str),
        slack: Slack,
    ) -> Holds {
        ensure(index.policy.cache.enabled, 22, || "the cache is off".into())?;
        let Some(stored_answer) = asked(index, event).and_then(|request| self.stored.get(request)) else {
            return Err(breach(22, "no answer to this request of this user is stored"));
        };
        let same_text = stored_answer.hash == xxh3_64(text.as_bytes());
        ensure(same_text, 22, || "the stored answer has another text".into())
            .and_then(|()| {
                let ttl = index.policy.cache.ttl;
                let true_age = event.at.since(stored_answer.event.at);
                ensure(age < ttl && true_age.abs_diff(age) <= slack.stamp, 24, || {
                    format!("it is {true_age:?} old, the time to live is {ttl:?}")
                })
            })
            .and_then(|()| {
                ensure(saved == stored_answer.usage, 33, || {
                    format!("the stored answer used {:?}", stored_answer.usage)
                })
            })
            .map_err(|breach| breach.with([Arc::clone(&stored_answer.event)]))
    }

    /// Checks invariant 32.
    fn replayed(
        &self,
        index: &CallIndex,
        event: &Event,
        age: Duration,
        (saved, text): (Usage, &str),
        slack: Slack,
    ) -> Holds {
        let results = asked(index, event).and_then(|request| self.results.get(request));
        let results = results.map_or(&[][..], Vec::as_slice);
        let hash = xxh3_64(text.as_bytes());
        let fits = |stored_answer: &StoredAnswer| {
            let same_age = event.at.since(stored_answer.event.at).abs_diff(age) <= slack.stamp;
            stored_answer.hash == hash && stored_answer.usage == saved && same_age
        };
        let in_time = age < index.policy.flight.replay_ttl;
        ensure(in_time && results.iter().any(fits), 32, || {
            format!(
                "none of the {} results of this request has this text, usage and age",
                results.len()
            )
        })
        .map_err(|breach| {
            breach.with(
                results
                    .iter()
                    .map(|stored_answer| Arc::clone(&stored_answer.event)),
            )
        })
    }

    pub(super) fn forget_source(&mut self, stored_answer: Option<&StoredAnswer>) {
        if let Some(call) = stored_answer.and_then(|stored_answer| stored_answer.event.call) {
            self.sources.remove(&call);
        }
    }

    /// Drops expired answers and results.
    fn forget(&mut self, now: Timestamp, index: &CallIndex) {
        let ttl = index.policy.cache.ttl;
        while let Some((at, _)) = self.order.front().filter(|(at, _)| *at + ttl < now) {
            let at = *at;
            if let Some((_, request)) = self.order.pop_front()
                && self
                    .stored
                    .get(&request)
                    .is_some_and(|stored_answer| stored_answer.event.at <= at)
            {
                let older = self.stored.remove(&request);
                self.forget_source(older.as_ref());
            }
        }
        let ttl = index.policy.flight.replay_ttl;
        while self.result_order.front().is_some_and(|(at, _)| *at + ttl < now) {
            if let Some((at, request)) = self.result_order.pop_front()
                && let Some(results) = self.results.get_mut(&request)
            {
                results.retain(|stored_answer| stored_answer.event.at > at);
                if results.is_empty() {
                    self.results.remove(&request);
                }
            }
        }
    }
}

/// The flight of an event's call.
fn flight_of<'a>(index: &'a CallIndex, event: &Event) -> Option<&'a Flight> {
    let call = index.calls.get(&event.call?)?;
    index.flights.get(&call.flight?)
}

/// The request of the call of an event.
fn asked<'a>(index: &'a CallIndex, event: &Event) -> Option<&'a RequestId> {
    event.call.and_then(|call| Some(&index.calls.get(&call)?.request))
}

fn stored_answer(flight: &Flight, usage: Usage, event: &Arc<Event>) -> StoredAnswer {
    StoredAnswer {
        hash: xxh3_64(flight.text.as_bytes()),
        usage,
        event: Arc::clone(event),
    }
}
