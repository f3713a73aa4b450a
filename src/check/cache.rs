//! Stored answers: what may be stored, and what is given to whom.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use xxhash_rust::xxh3::xxh3_64;

use super::Slack;
use super::index::{Book, Flight, RequestId};
use super::violation::{Holds, breach, ensure};
use crate::event::{AttemptResult, CallId, Event, EventKind, EvictReason, Finish, NearMiss, Sharing};
use crate::openai::Usage;
use crate::time::Timestamp;

/// An answer that may be given again: the hash of its text, not the text, so that an hour fits in memory.
#[derive(Clone, Debug)]
pub(super) struct Kept {
    pub(super) hash: u64,
    pub(super) usage: Usage,
    pub(super) event: Arc<Event>,
}

/// What was stored and what was completed.
#[derive(Debug, Default)]
pub(super) struct Shelf {
    pub(super) stored: BTreeMap<RequestId, Kept>,
    /// Whose answers they are: the call that got each from the upstream.
    pub(super) sources: BTreeMap<CallId, RequestId>,
    /// What bad labels ask for, by the fingerprint of the request.
    pub(super) raised: BTreeMap<String, f64>,
    /// In the order of storing, to forget what nobody can be given any more.
    order: VecDeque<(Timestamp, RequestId)>,
    /// Results of idempotency keys. The log does not tell the keys: several may have the same request.
    results: BTreeMap<RequestId, Vec<Kept>>,
    result_order: VecDeque<(Timestamp, RequestId)>,
}

impl Shelf {
    pub(super) fn take(&mut self, book: &Book, event: &Arc<Event>, slack: Slack) -> Holds {
        let max_bytes = book.policy.cache.max_bytes;
        match &event.kind {
            EventKind::CacheHit { age, saved, text, .. } => {
                self.hit(book, event, *age, (*saved, text), slack)
            }
            EventKind::CacheMissed {
                nearest: Some(nearest),
                ..
            } => self.near_miss(nearest),
            EventKind::ResultReplayed { age, saved, text } => {
                self.replayed(book, event, *age, (*saved, text), slack)
            }
            EventKind::CacheStored {
                bytes, total_bytes, ..
            } => {
                self.stored(book, event)?;
                ensure(*total_bytes <= max_bytes && bytes <= total_bytes, 28, || {
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
                ensure(*total_bytes <= max_bytes && (!cleared || empty), 28, || {
                    format!("the bound is {max_bytes} bytes")
                })
            }
            EventKind::SemanticHit { .. } | EventKind::SemanticShadowed { .. } => {
                self.near(book, event, slack)
            }
            EventKind::SemanticLabelled { .. } => self.labelled(book, event),
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
                if let Some(flight) = flight_of(book, event).filter(|one| one.sharing == Sharing::Key) {
                    let kept = kept(flight, *usage, event);
                    self.result_order.push_back((event.at, flight.request.clone()));
                    self.results.entry(flight.request.clone()).or_default().push(kept);
                    self.forget(event.at, book);
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// Invariant 24.
    fn stored(&mut self, book: &Book, event: &Arc<Event>) -> Holds {
        let Some(flight) = flight_of(book, event) else {
            return Err(breach(24, "it is the answer of no flight"));
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
                return flight.ensure(false, 24, || format!("the flight ended with {outcome:?}"));
            }
        };
        flight.ensure(book.policy.cache.enabled, 24, || "the cache is off".into())?;
        let most = book.policy.cache.max_entry_bytes;
        flight.ensure(*bytes <= most, 24, || format!("an entry may have {most} bytes"))?;
        let older = self
            .stored
            .insert(flight.request.clone(), kept(flight, usage, event));
        self.forget_source(older.as_ref());
        self.sources
            .insert(event.call.unwrap_or_default(), flight.request.clone());
        self.order.push_back((event.at, flight.request.clone()));
        self.forget(event.at, book);
        Ok(())
    }

    /// Invariant 45. Which entries had to make room is not told, so one that is gone may still be named.
    fn near_miss(&self, nearest: &NearMiss) -> Holds {
        let NearMiss {
            source,
            differs,
            fields,
            ..
        } = nearest;
        ensure(self.sources.contains_key(source), 45, || {
            format!("no answer of {source} is stored")
        })?;
        ensure(
            !differs.is_empty() && differs.len() as u64 <= u64::from(*fields),
            45,
            || format!("{fields} fields differ, and {} are told", differs.len()),
        )
    }

    /// Invariants 23, 28 and 40.
    fn hit(
        &self,
        book: &Book,
        event: &Event,
        age: Duration,
        (saved, text): (Usage, &str),
        slack: Slack,
    ) -> Holds {
        ensure(book.policy.cache.enabled, 23, || "the cache is off".into())?;
        let Some(kept) = asked(book, event).and_then(|request| self.stored.get(request)) else {
            return Err(breach(23, "no answer to this request of this user is stored"));
        };
        let same_text = kept.hash == xxh3_64(text.as_bytes());
        ensure(same_text, 23, || "the stored answer has another text".into())
            .and_then(|()| {
                let ttl = book.policy.cache.ttl;
                let true_age = event.at.since(kept.event.at);
                ensure(age < ttl && true_age.abs_diff(age) <= slack.stamp, 28, || {
                    format!("it is {true_age:?} old and may become {ttl:?}")
                })
            })
            .and_then(|()| {
                ensure(saved == kept.usage, 40, || {
                    format!("the stored answer took {:?}", kept.usage)
                })
            })
            .map_err(|breach| breach.with([Arc::clone(&kept.event)]))
    }

    /// Invariant 30.
    fn replayed(
        &self,
        book: &Book,
        event: &Event,
        age: Duration,
        (saved, text): (Usage, &str),
        slack: Slack,
    ) -> Holds {
        let results = asked(book, event).and_then(|request| self.results.get(request));
        let results = results.map_or(&[][..], Vec::as_slice);
        let hash = xxh3_64(text.as_bytes());
        let fits = |kept: &Kept| {
            let same_age = event.at.since(kept.event.at).abs_diff(age) <= slack.stamp;
            kept.hash == hash && kept.usage == saved && same_age
        };
        let in_time = age < book.policy.flight.replay_ttl;
        ensure(in_time && results.iter().any(fits), 30, || {
            format!("of {} results of this request none is this one", results.len())
        })
        .map_err(|breach| breach.with(results.iter().map(|kept| Arc::clone(&kept.event))))
    }

    pub(super) fn forget_source(&mut self, kept: Option<&Kept>) {
        if let Some(call) = kept.and_then(|kept| kept.event.call) {
            self.sources.remove(&call);
        }
    }

    /// Forgets what is too old to be given.
    fn forget(&mut self, now: Timestamp, book: &Book) {
        let ttl = book.policy.cache.ttl;
        while let Some((at, _)) = self.order.front().filter(|(at, _)| *at + ttl < now) {
            let at = *at;
            if let Some((_, request)) = self.order.pop_front()
                && self.stored.get(&request).is_some_and(|kept| kept.event.at <= at)
            {
                let older = self.stored.remove(&request);
                self.forget_source(older.as_ref());
            }
        }
        let ttl = book.policy.flight.replay_ttl;
        while self.result_order.front().is_some_and(|(at, _)| *at + ttl < now) {
            if let Some((at, request)) = self.result_order.pop_front()
                && let Some(results) = self.results.get_mut(&request)
            {
                results.retain(|kept| kept.event.at > at);
                if results.is_empty() {
                    self.results.remove(&request);
                }
            }
        }
    }
}

/// The flight of an event's call.
fn flight_of<'a>(book: &'a Book, event: &Event) -> Option<&'a Flight> {
    let call = book.calls.get(&event.call?)?;
    book.flights.get(&call.flight?)
}

/// What the call of an event asks for.
fn asked<'a>(book: &'a Book, event: &Event) -> Option<&'a RequestId> {
    event.call.and_then(|call| Some(&book.calls.get(&call)?.request))
}

fn kept(flight: &Flight, usage: Usage, event: &Arc<Event>) -> Kept {
    Kept {
        hash: xxh3_64(flight.text.as_bytes()),
        usage,
        event: Arc::clone(event),
    }
}
