//! The semantic cache: what it serves, what it would serve, and what people say of it.

use std::sync::Arc;

use xxhash_rust::xxh3::xxh3_64;

use super::Slack;
use super::cache::Shelf;
use super::index::{Book, RequestId};
use super::violation::{Holds, breach, ensure};
use crate::event::{Event, EventKind};
use crate::settings::SemanticMode;

/// Two ways to compute a similarity differ by so much at most.
const ROUNDING: f64 = 1e-9;

impl Shelf {
    /// Invariants 41, 28 and 29: a hit, or what would have been one.
    pub(super) fn near(&self, book: &Book, event: &Event, slack: Slack) -> Holds {
        let (nearest, mode, saved, text) = match &event.kind {
            EventKind::SemanticHit {
                nearest, saved, text, ..
            } => (nearest, SemanticMode::On, saved, Some(text)),
            EventKind::SemanticShadowed { nearest, saved, .. } => {
                (nearest, SemanticMode::Shadow, saved, None)
            }
            _ => return Ok(()),
        };
        let settings = &book.policy.semantic;
        let on = settings.mode == mode && book.policy.cache.enabled;
        ensure(on, 41, || {
            let cache = if book.policy.cache.enabled { "on" } else { "off" };
            format!(
                "the semantic cache is {}, the cache {cache}",
                settings.mode.label()
            )
        })?;
        let stored = self.sources.get(&nearest.source);
        let Some((request, kept)) = stored.and_then(|request| Some((request, self.stored.get(request)?)))
        else {
            return Err(breach(
                41,
                format!("no answer to call {} is stored", nearest.source),
            ));
        };
        self.is_near_enough(book, event, request)
            .and_then(|()| {
                let asks = event.call.and_then(|call| book.calls.get(&call));
                ensure(asks.is_some_and(|call| call.request.0 == request.0), 29, || {
                    format!("the stored answer is one of {}", request.0)
                })
            })
            .and_then(|()| {
                let same = text.is_none_or(|text| kept.hash == xxh3_64(text.as_bytes()));
                ensure(same && *saved == kept.usage, 41, || {
                    "the stored answer has another text, or took other tokens".into()
                })
            })
            .and_then(|()| {
                let (ttl, true_age) = (book.policy.cache.ttl, event.at.since(kept.event.at));
                let told = match &event.kind {
                    EventKind::SemanticHit { age, .. } => *age,
                    _ => true_age,
                };
                ensure(
                    true_age < ttl && true_age.abs_diff(told) <= slack.stamp,
                    28,
                    || format!("it is {true_age:?} old and may become {ttl:?}"),
                )
            })
            .map_err(|breach| breach.with([Arc::clone(&kept.event)]))
    }

    fn is_near_enough(&self, book: &Book, event: &Event, request: &RequestId) -> Holds {
        let (EventKind::SemanticHit { nearest, .. } | EventKind::SemanticShadowed { nearest, .. }) =
            &event.kind
        else {
            return Ok(());
        };
        let raised = self.raised.get(&request.1).copied().unwrap_or_default();
        let asked = book.policy.semantic.least().max(raised);
        let near = nearest.similarity + ROUNDING >= nearest.threshold.max(asked);
        ensure(near, 41, || {
            format!(
                "it is like it by {}, and {asked} is asked for",
                nearest.similarity
            )
        })?;
        ensure(nearest.objection.is_none(), 41, || "a guard has objected".into())
    }

    /// Invariant 41: an answer that was said to be wrong is gone, and its request asks for more from now on.
    pub(super) fn labelled(&mut self, book: &Book, event: &Event) -> Holds {
        let EventKind::SemanticLabelled {
            source,
            request,
            good,
            similarity,
            threshold,
            removed,
        } = &event.kind
        else {
            return Ok(());
        };
        ensure(*good || threshold > similarity, 41, || {
            "a bad label must ask for more than was seen".into()
        })?;
        ensure(!(*good && *removed), 41, || {
            "a good label removes no answer".into()
        })?;
        if *threshold > book.policy.semantic.least() {
            self.raised.insert(request.to_string(), *threshold);
        } else {
            self.raised.remove(request.as_str());
        }
        let known = self
            .sources
            .get(source)
            .filter(|known| known.1 == request.as_str());
        let Some(known) = known.cloned() else {
            return ensure(!removed, 41, || format!("no answer to call {source} was stored"));
        };
        if *removed {
            let gone = self.stored.remove(&known);
            self.forget_source(gone.as_ref());
        }
        Ok(())
    }
}
