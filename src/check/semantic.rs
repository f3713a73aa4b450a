//! The semantic cache: its hits, its shadow hits and their labels.

use std::sync::Arc;

use xxhash_rust::xxh3::xxh3_64;

use super::Slack;
use super::cache::CacheCheck;
use super::index::{CallIndex, RequestId};
use super::violation::{Holds, breach, ensure};
use crate::event::{Event, EventKind};
use crate::settings::SemanticMode;

/// Tolerance between two ways to compute a similarity.
const ROUNDING: f64 = 1e-9;

impl CacheCheck {
    /// Checks invariants 24, 26 and 31 for a hit or a shadow hit.
    pub(super) fn near(&self, index: &CallIndex, event: &Event, slack: Slack) -> Holds {
        let (nearest, mode, saved, text) = match &event.kind {
            EventKind::SemanticHit {
                nearest, saved, text, ..
            } => (nearest, SemanticMode::On, saved, Some(text)),
            EventKind::SemanticShadowed { nearest, saved, .. } => {
                (nearest, SemanticMode::Shadow, saved, None)
            }
            _ => return Ok(()),
        };
        let settings = &index.policy.semantic;
        let on = settings.mode == mode && index.policy.cache.enabled;
        ensure(on, 26, || {
            let cache = if index.policy.cache.enabled { "on" } else { "off" };
            format!(
                "the semantic cache is {}, the cache {cache}",
                settings.mode.label()
            )
        })?;
        let stored = self.sources.get(&nearest.source);
        let Some((request, stored_answer)) =
            stored.and_then(|request| Some((request, self.stored.get(request)?)))
        else {
            return Err(breach(
                26,
                format!("no answer to call {} is stored", nearest.source),
            ));
        };
        self.is_similar_enough(index, event, request)
            .and_then(|()| {
                let asks = event.call.and_then(|call| index.calls.get(&call));
                ensure(asks.is_some_and(|call| call.request.0 == request.0), 31, || {
                    format!("the stored answer belongs to {}", request.0)
                })
            })
            .and_then(|()| {
                let same = text.is_none_or(|text| stored_answer.hash == xxh3_64(text.as_bytes()));
                ensure(same && *saved == stored_answer.usage, 26, || {
                    "the stored answer has another text or usage".into()
                })
            })
            .and_then(|()| {
                let (ttl, true_age) = (index.policy.cache.ttl, event.at.since(stored_answer.event.at));
                let recorded = match &event.kind {
                    EventKind::SemanticHit { age, .. } => *age,
                    _ => true_age,
                };
                ensure(
                    true_age < ttl && true_age.abs_diff(recorded) <= slack.stamp,
                    24,
                    || format!("it is {true_age:?} old, the time to live is {ttl:?}"),
                )
            })
            .map_err(|breach| breach.with([Arc::clone(&stored_answer.event)]))
    }

    fn is_similar_enough(&self, index: &CallIndex, event: &Event, request: &RequestId) -> Holds {
        let (EventKind::SemanticHit { nearest, .. } | EventKind::SemanticShadowed { nearest, .. }) =
            &event.kind
        else {
            return Ok(());
        };
        let raised = self.raised.get(&request.1).copied().unwrap_or_default();
        let asked = index.policy.semantic.effective_threshold().max(raised);
        let near = nearest.similarity + ROUNDING >= nearest.threshold.max(asked);
        ensure(near, 26, || {
            format!("its similarity is {}, the threshold {asked}", nearest.similarity)
        })?;
        ensure(nearest.objection.is_none(), 26, || {
            "a guard has an objection".into()
        })
    }

    /// Checks invariant 26: a bad label removes the answer and raises the threshold of its request.
    pub(super) fn labelled(&mut self, index: &CallIndex, event: &Event) -> Holds {
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
        ensure(*good || threshold > similarity, 26, || {
            "a bad label must raise the threshold above the similarity".into()
        })?;
        ensure(!(*good && *removed), 26, || {
            "a good label removes no answer".into()
        })?;
        if *threshold > index.policy.semantic.effective_threshold() {
            self.raised.insert(request.to_string(), *threshold);
        } else {
            self.raised.remove(request.as_str());
        }
        let known = self
            .sources
            .get(source)
            .filter(|known| known.1 == request.as_str());
        let Some(known) = known.cloned() else {
            return ensure(!removed, 26, || format!("no answer to call {source} was stored"));
        };
        if *removed {
            let removed = self.stored.remove(&known);
            self.forget_source(removed.as_ref());
        }
        Ok(())
    }
}
