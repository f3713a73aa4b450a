//! The semantic cache in the client: between single flight and the guards, the first layer of a flight.
//!
//! ```text
//! embed (with a time limit) -> search (under the index's lock) -> choose (no lock) -> serve (under the guards' lock)
//! ```
//!
//! Candidates are chosen without a lock, so `serve` checks again whatever can have changed: the mode, the
//! threshold, the stored answer, the callers. The decision, its event and the ends of all calls are then one step.

use std::sync::{Arc, PoisonError};
use std::time::Duration;

use super::Core;
use super::answer::Answer;
use super::completion::Completion;
use super::flight::Flight;
use super::guards::{CachedAnswer, Guards};
use super::layers::{Pending, route};
use super::sync::MutexGuard;
use super::transport::{ApiKey, Transport, redact_all};
use super::wire::CacheUse;
use crate::dialect::Dialect;
use crate::event::{CallId, EventKind, EvictReason, NearestPrompt, Objection, Observer, SemanticMiss};
use crate::openai::ChatRequest;
use crate::policy::cache::PutOutcome;
use crate::policy::fingerprint::RequestKey;
use crate::semantic::embedder::EmbedError;
use crate::semantic::{
    HoldOffChange, Index, Labelled, MAX_REJECTIONS, Neighbour, SearchResult, SemanticHit, Sketch, agreement,
    normalise,
};
use crate::settings::SemanticMode;
use crate::text::{SafeText, units};
use crate::time::Timestamp;

/// Characters of a stored prompt that are emitted.
const EXCERPT: usize = 400;
/// Most searches of one lookup. Each but the last removed entries without a stored answer.
const MAX_SEARCHES: u32 = 8;

/// Prompts indexed before other tasks have their turn.
const INDEXED_AT_ONCE: usize = 16;

/// The prompt of a request, as the semantic cache compares it.
pub(super) enum SemanticPrompt {
    /// Not comparable: see [`RequestKey::without_prompt`].
    Ineligible,
    /// The text, compared with others of the same partition.
    Text { partition: RequestKey, text: String },
}

/// An embedded prompt whose lookup served nothing; its answer is indexed under it.
#[derive(Clone)]
pub(super) struct EmbeddedPrompt {
    partition: RequestKey,
    vector: Vec<f32>,
    sketch: Sketch,
    /// The answer that shadow mode would have served.
    pub(super) shadow: Option<Shadow>,
}

/// An answer that would have been served.
#[derive(Clone)]
pub(super) struct Shadow {
    source: CallId,
    answer: Arc<Answer>,
}

/// The result of a lookup.
pub(super) enum SemanticOutcome {
    /// The flight was completed by a stored answer.
    Served,
    /// The flight goes on to the upstream.
    Missed(Option<Box<EmbeddedPrompt>>),
}

/// A similar stored prompt, as it was when it was read.
struct Candidate {
    near: Neighbour,
    key: RequestKey,
    stored: CachedAnswer,
    threshold: f64,
}

impl Candidate {
    /// The candidate as events show it, without these keys.
    fn nearest_prompt(&self, secrets: &[ApiKey], objection: Option<Objection>) -> NearestPrompt {
        let prompt = self.key.prompt().unwrap_or_default();
        NearestPrompt {
            source: self.stored.call,
            prompt: redact_all(secrets, SafeText::excerpt(&prompt, EXCERPT)),
            similarity: self.near.similarity,
            threshold: self.threshold,
            objection,
        }
    }
}

/// The result of going through the candidates.
enum Choice {
    Served,
    /// In shadow mode.
    Shadowed(Shadow),
    None(SemanticMiss, Option<Box<NearestPrompt>>),
    /// The semantic cache was switched off meanwhile.
    Off,
}

/// A lookup that serves nothing.
struct Miss {
    reason: SemanticMiss,
    nearest: Option<Box<NearestPrompt>>,
    compared: usize,
    detail: Option<String>,
}

impl Miss {
    /// A miss before anything was compared.
    fn early(reason: SemanticMiss, detail: Option<String>) -> Self {
        Self {
            reason,
            nearest: None,
            compared: 0,
            detail,
        }
    }
}

/// A lookup under way.
struct SemanticLookup<'a> {
    flight: &'a Flight,
    text: &'a str,
    /// See [`Pending::secrets`].
    secrets: &'a [ApiKey],
    started_at: Timestamp,
    /// Threshold and use of guards, as they were when the lookup began.
    threshold: f64,
    guards: bool,
}

impl<T: Transport, O: Observer> Core<T, O> {
    /// Locks the index: before the guards, where both are taken. See [`Core`].
    pub(super) fn index(&self) -> MutexGuard<'_, Index> {
        // a plain state machine, like the policies
        self.index.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The prompt to compare; `None` if the semantic cache is off or the exact cache may not be used.
    pub(super) fn semantic_prompt(&self, request: &ChatRequest, pending: &Pending) -> Option<SemanticPrompt> {
        let policy = Arc::clone(&self.lock().policy);
        if policy.semantic.mode == SemanticMode::Off || matches!(pending.cache_use, CacheUse::Bypass(_)) {
            return None;
        }
        let wire = pending.wire.as_ref();
        // the prompts of other formats are part of fields that the partition keeps
        if wire.is_some_and(|wire| wire.dialect != Dialect::Chat) {
            return None;
        }
        let info = self.transport.info();
        let route = route(wire);
        let parts = RequestKey::without_prompt(&self.scope(&pending.context, &info, &route), request);
        Some(parts.map_or(SemanticPrompt::Ineligible, |(partition, text)| {
            SemanticPrompt::Text { partition, text }
        }))
    }

    /// Looks for the answer to a similar prompt, and completes the flight with it if it may be served.
    pub(super) async fn semantic_lookup(
        &self,
        flight: &Flight,
        secrets: &[ApiKey],
        prompt: &SemanticPrompt,
    ) -> SemanticOutcome {
        let started_at = self.env.clock.now();
        let missed = |miss| {
            self.emit_miss(flight, secrets, started_at, miss);
            SemanticOutcome::Missed(None)
        };
        let SemanticPrompt::Text { partition, text } = prompt else {
            return missed(Miss::early(SemanticMiss::Ineligible, None));
        };
        let mut vector = match self.embed(text, secrets).await {
            Ok(vector) => vector,
            Err((reason, detail)) => return missed(Miss::early(reason, Some(detail))),
        };
        if !normalise(&mut vector) {
            let detail = "the embedding of this prompt is all zero".to_owned();
            return missed(Miss::early(SemanticMiss::Ineligible, Some(detail)));
        }
        let policy = Arc::clone(&self.lock().policy);
        let lookup = SemanticLookup {
            flight,
            text,
            secrets,
            started_at,
            threshold: policy.semantic.effective_threshold(),
            guards: policy.semantic.guards,
        };
        let sketch = Sketch::new(self.env.seed, &vector);
        let mut searches = 0;
        let shadow = loop {
            searches += 1;
            let found = self.index().search(partition, &vector, &sketch);
            let mut gone = Vec::new();
            let chosen = self.choose(&lookup, &found, &mut gone).await;
            if !gone.is_empty() {
                let mut index = self.index();
                for version in &gone {
                    index.remove(*version);
                }
            }
            match chosen {
                Choice::Served => return SemanticOutcome::Served,
                Choice::Off => return SemanticOutcome::Missed(None),
                Choice::Shadowed(shadow) => break Some(shadow),
                // some candidates are gone: search for those behind them
                Choice::None(..) if !gone.is_empty() && searches < MAX_SEARCHES => {}
                Choice::None(reason, nearest) => {
                    let miss = Miss {
                        compared: found.compared,
                        nearest,
                        ..Miss::early(reason, None)
                    };
                    self.emit_miss(flight, secrets, started_at, miss);
                    break None;
                }
            }
        };
        SemanticOutcome::Missed(Some(Box::new(EmbeddedPrompt {
            partition: partition.clone(),
            vector,
            sketch,
            shadow,
        })))
    }

    /// Embeds a prompt within `semantic.timeout`. Fails at once while the embedder is held off.
    async fn embed(&self, text: &str, secrets: &[ApiKey]) -> Result<Vec<f32>, (SemanticMiss, String)> {
        let (embedder, limit, held_off) = {
            let guards = self.lock();
            let held_off = guards.hold_off.check(self.env.clock.now());
            (
                Arc::clone(&guards.embedder),
                guards.policy.semantic.timeout,
                held_off,
            )
        };
        if let Err(until) = held_off {
            let wait = units::duration(self.env.clock.now().until(until));
            let detail = format!("off after three failures in a row; next attempt in {wait}");
            return Err((SemanticMiss::Failed, detail));
        }
        let embedded = tokio::select! {
            biased;
            embedded = embedder.embed(text) => match embedded {
                Ok(vector) if vector.iter().all(|x| x.is_finite()) && !vector.is_empty() => Ok(vector),
                Ok(_) => Err((SemanticMiss::Failed, "the embedding is empty or not finite".to_owned())),
                Err(EmbedError { message }) => Err((SemanticMiss::Failed, message)),
            },
            () = self.env.clock.sleep(limit) => {
                Err((SemanticMiss::TimedOut, format!("no embedding within {limit:?}")))
            }
        };
        let mut guards = self.lock();
        let turn = match &embedded {
            Ok(_) => guards.hold_off.record_success(),
            Err(_) => guards.hold_off.record_failure(self.env.clock.now()),
        };
        let name = embedder.name();
        let text = match (turn, &embedded) {
            (Some(HoldOffChange::Paused { pause }), Err((_, detail))) => format!(
                "embedder {name} failed three times in a row ({detail}): semantic cache off, retrying every {}",
                units::duration(pause)
            ),
            (Some(HoldOffChange::Resumed), _) => format!("embedder {name} answers again: semantic cache on"),
            _ => return embedded,
        };
        let text = redact_all(secrets, SafeText::excerpt(&text, EXCERPT));
        self.observer.emit(None, EventKind::Notice { text });
        drop(guards);
        embedded
    }

    /// Goes through the candidates, nearest first, and serves the first that may be served. `gone` collects those
    /// whose answers are no longer stored.
    async fn choose(&self, lookup: &SemanticLookup<'_>, found: &SearchResult, gone: &mut Vec<u64>) -> Choice {
        let mut below = None;
        let mut refused = None;
        let mut refusals = 0;
        for near in &found.nearest {
            let Some(candidate) = self.candidate(*near, lookup.threshold) else {
                gone.push(near.version);
                continue;
            };
            if near.similarity < candidate.threshold {
                below.get_or_insert_with(|| Box::new(candidate.nearest_prompt(lookup.secrets, None)));
                if near.similarity < lookup.threshold {
                    break;
                }
                continue;
            }
            if let Some(objection) = self.objection(lookup, &candidate) {
                refused.get_or_insert_with(|| {
                    Box::new(candidate.nearest_prompt(lookup.secrets, Some(objection)))
                });
                refusals += 1;
                if refusals == MAX_REJECTIONS {
                    break;
                }
                continue;
            }
            match self.serve(lookup, found, candidate) {
                ServeOutcome::Chosen(chosen) => return chosen,
                ServeOutcome::Gone => gone.push(near.version),
                // the flight is abandoned: its task drops this future
                ServeOutcome::Abandoned => std::future::pending().await,
            }
        }
        match (refused, below) {
            (Some(nearest), _) => Choice::None(SemanticMiss::GuardRejected, Some(nearest)),
            (None, Some(nearest)) => Choice::None(SemanticMiss::NotSimilar, Some(nearest)),
            (None, None) => Choice::None(SemanticMiss::Empty, None),
        }
    }

    /// The stored answer of an entry of the index, if it is still there. `least` is the threshold for all prompts.
    fn candidate(&self, near: Neighbour, least: f64) -> Option<Candidate> {
        let guards = self.lock();
        let peeked = guards.cache.peek(self.env.clock.now(), near.version)?;
        Some(Candidate {
            near,
            key: peeked.key.clone(),
            stored: peeked.value.clone(),
            threshold: guards.labels.threshold(peeked.key.fingerprint(), least),
        })
    }

    fn objection(&self, lookup: &SemanticLookup<'_>, candidate: &Candidate) -> Option<Objection> {
        if !lookup.guards {
            return None;
        }
        let stored = candidate.key.prompt().unwrap_or_default();
        let embedder = Arc::clone(&self.lock().embedder);
        let mut objection = embedder.objection(lookup.text, &stored)?;
        objection.asked = redact_all(lookup.secrets, objection.asked);
        objection.stored = redact_all(lookup.secrets, objection.stored);
        Some(objection)
    }

    /// Serves a candidate if it may still be served; in shadow mode, emits that it would have been.
    fn serve(
        &self,
        lookup: &SemanticLookup<'_>,
        found: &SearchResult,
        mut candidate: Candidate,
    ) -> ServeOutcome {
        let SemanticLookup {
            flight,
            secrets,
            started_at,
            ..
        } = *lookup;
        let mut guards = self.lock();
        let now = self.env.clock.now();
        let policy = Arc::clone(&guards.policy);
        if flight.abandoned.is_cancelled() {
            return ServeOutcome::Abandoned;
        }
        if policy.semantic.mode == SemanticMode::Off || !policy.cache.enabled {
            return ServeOutcome::Chosen(Choice::Off);
        }
        let version = candidate.near.version;
        let Some(stored_at) = guards.cache.peek(now, version).map(|peeked| peeked.stored_at) else {
            return ServeOutcome::Gone;
        };
        let request = candidate.key.fingerprint();
        candidate.threshold = guards
            .labels
            .threshold(request, policy.semantic.effective_threshold());
        let nearest = Box::new(candidate.nearest_prompt(secrets, None));
        if candidate.near.similarity < candidate.threshold {
            return ServeOutcome::Chosen(Choice::None(SemanticMiss::NotSimilar, Some(nearest)));
        }
        let CachedAnswer { answer, call, took } = candidate.stored;
        let served = SemanticHit {
            source: call,
            request,
            version,
            similarity: candidate.near.similarity,
        };
        if let Some(owner) = flight.owner() {
            guards.labels.record_hit(owner, served);
        }
        let candidates = u32::try_from(found.compared).unwrap_or(u32::MAX);
        let (lookup, saved) = (now.since(started_at), answer.usage);
        if policy.semantic.mode == SemanticMode::Shadow {
            let kind = EventKind::SemanticShadowed {
                nearest,
                candidates,
                lookup,
                saved,
            };
            self.emit(flight, kind);
            let source = call;
            return ServeOutcome::Chosen(Choice::Shadowed(Shadow { source, answer }));
        }
        guards.cache.touch(version);
        let kind = EventKind::SemanticHit {
            nearest,
            candidates,
            lookup,
            age: now.since(stored_at),
            saved,
            saved_time: took,
            text: answer.shown.clone(),
        };
        self.emit(flight, kind);
        self.end_calls(&mut guards, flight, Completion::Hit(answer));
        ServeOutcome::Chosen(Choice::Served)
    }

    fn emit_miss(&self, flight: &Flight, secrets: &[ApiKey], started_at: Timestamp, miss: Miss) {
        let detail = { miss.detail }.map(|detail| redact_all(secrets, SafeText::excerpt(&detail, EXCERPT)));
        let lookup: Duration = self.env.clock.now().since(started_at);
        let kind = EventKind::SemanticMissed {
            reason: miss.reason,
            nearest: miss.nearest,
            candidates: u32::try_from(miss.compared).unwrap_or(u32::MAX),
            lookup,
            detail,
        };
        self.emit(flight, kind);
    }

    /// Compares the upstream's answer with the one that would have been served.
    pub(super) fn compare_shadow(&self, flight: &Flight, shadow: &Shadow, answer: &Answer) {
        let agreement = agreement::agreement(&shadow.answer.text, &answer.text);
        let kind = EventKind::SemanticCompared {
            source: shadow.source,
            agreement,
            same: agreement >= agreement::SAME_ANSWER,
        };
        self.emit(flight, kind);
    }

    /// Adds the prompt of a stored answer to the index. Answers with tool calls are never added. If the prompt was
    /// not embedded, the answer takes the place of an older one to the same prompt.
    pub(super) fn index_answer(
        &self,
        index: &mut Index,
        guards: &Guards,
        answer: &Answer,
        embedded: Option<&EmbeddedPrompt>,
        stored: PutOutcome,
    ) -> Option<EventKind> {
        let servable = answer.tool_calls.is_empty() && !answer.text.is_empty();
        match (stored.replaced, embedded) {
            (Some(older), None) if servable => index.set_version(older, stored.version),
            (Some(older), _) => drop(index.remove(older)),
            (None, _) => {}
        }
        let embedded = embedded.filter(|_| servable && guards.policy.semantic.mode != SemanticMode::Off)?;
        let EmbeddedPrompt {
            partition,
            vector,
            sketch,
            ..
        } = embedded;
        index.add(stored.version, partition, vector.clone(), *sketch);
        let now = self.env.clock.now();
        index.sweep(|version| guards.cache.peek(now, version).is_some());
        let entries = index.len() as u64;
        Some(EventKind::SemanticStored { entries })
    }

    /// Adds the prompts of the stored answers to the index, newest first: the semantic cache was switched on, and calls
    /// before stored theirs without an embedding. Ends at the first prompt that cannot be embedded.
    pub(super) async fn index_stored(&self) {
        let versions: Vec<u64> = self.lock().cache.versions().rev().collect();
        let (mut added, mut entries) = (0_usize, 0);
        for version in versions {
            if self.index().contains(version) {
                continue;
            }
            let Some((partition, text)) = self.indexable(version).and_then(|key| key.prompt_removed()) else {
                continue;
            };
            let Ok(mut vector) = self.embed(&text, self.transport.keys()).await else {
                break;
            };
            if !normalise(&mut vector) {
                continue;
            }
            let sketch = Sketch::new(self.env.seed, &vector);
            {
                let mut index = self.index();
                // the answer may have gone meanwhile, or the semantic cache may be off
                if self.indexable(version).is_some() {
                    index.add(version, &partition, vector, sketch);
                    entries = index.len() as u64;
                    added += 1;
                }
            }
            if added % INDEXED_AT_ONCE == 0 {
                tokio::task::yield_now().await;
            }
        }
        if added > 0 {
            self.observer.emit(None, EventKind::SemanticStored { entries });
        }
    }

    /// The key of a stored answer whose prompt may be indexed now.
    fn indexable(&self, version: u64) -> Option<RequestKey> {
        let guards = self.lock();
        if guards.policy.semantic.mode == SemanticMode::Off {
            return None;
        }
        let stored = guards.cache.peek(self.env.clock.now(), version)?;
        let answer = &stored.value.answer;
        (answer.tool_calls.is_empty() && !answer.text.is_empty()).then(|| stored.key.clone())
    }

    /// See [`ResilientClient::label`](super::ResilientClient::label).
    pub(super) fn label(&self, call: CallId, good: bool) {
        let mut guards = self.lock();
        let mut policy = guards.policy.as_ref().clone();
        let least = policy.semantic.effective_threshold();
        let labelled = guards
            .labels
            .label(&mut policy.semantic.labels, least, call, good);
        let Labelled { hit, threshold } = match labelled {
            Ok(labelled) => labelled,
            Err(reason) => {
                let text = SafeText::from(format!("call {call} was not labelled: {reason}"));
                self.observer.emit(None, EventKind::Notice { text });
                return;
            }
        };
        guards.policy = Arc::new(policy);
        let removed = !good && guards.cache.discard(hit.version);
        let kind = EventKind::SemanticLabelled {
            source: hit.source,
            request: hit.request.to_string().into(),
            good,
            similarity: hit.similarity,
            threshold,
            removed,
        };
        self.observer.emit(Some(call), kind);
        if removed {
            self.emit_evicted(&guards, EvictReason::Labelled, 1);
        }
    }
}

/// The result of serving a candidate.
enum ServeOutcome {
    Chosen(Choice),
    /// Its answer is no longer stored.
    Gone,
    /// No caller is left.
    Abandoned,
}
