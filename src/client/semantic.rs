//! The semantic cache in the client: between single flight and the guards, in the flight's own task.
//!
//! ```text
//! embed (with a time limit) -> search (under the index's lock) -> choose (no lock) -> serve (under the guards' lock)
//! ```
//!
//! What is chosen was looked at without a lock, so `serve` looks again at everything that can have changed: the
//! mode, the threshold, whether the answer is still there, whether anybody is left to hear it. The decision, its
//! event and the ends of all calls are then one step.

use std::sync::{Arc, PoisonError};
use std::time::Duration;

use super::answer::Answer;
use super::completion::Landing;
use super::flight::Flight;
use super::guards::{Guards, Kept};
use super::sync::MutexGuard;
use super::transport::Transport;
use super::{CallContext, Core};
use crate::event::{CallId, EventKind, EvictReason, NearestPrompt, Objection, Observer, SemanticMiss};
use crate::openai::ChatRequest;
use crate::policy::admission;
use crate::policy::cache::PutOutcome;
use crate::policy::fingerprint::RequestKey;
use crate::semantic::embedder::EmbedError;
use crate::semantic::hold_off::Turn;
use crate::semantic::{Found, Index, Labelled, MAX_REFUSALS, Near, Served, Sketch, compare, normalise};
use crate::settings::SemanticMode;
use crate::text::SafeText;
use crate::time::Timestamp;

/// Characters of a stored prompt that are told.
const EXCERPT: usize = 400;
/// Searches of one lookup: each but the last has removed entries whose answers had gone.
const MAX_SEARCHES: u32 = 8;

/// What is compared of a request.
pub(super) enum Asked {
    /// Nothing: see [`RequestKey::without_prompt`].
    Ineligible,
    /// The prompt, with those of the same partition.
    Prompt { partition: RequestKey, text: String },
}

/// What a lookup that served nothing leaves for the landing.
pub(super) struct Meaning {
    partition: RequestKey,
    vector: Vec<f32>,
    sketch: Sketch,
    /// What shadow mode would have served.
    pub(super) shadow: Option<Shadow>,
}

/// An answer that would have been served.
pub(super) struct Shadow {
    source: CallId,
    answer: Arc<Answer>,
}

/// What came of a lookup.
pub(super) enum Looked {
    /// The flight came down with a stored answer.
    Served,
    /// It goes on.
    On(Option<Box<Meaning>>),
}

/// A stored answer that was near, as it was when it was looked at.
struct Candidate {
    near: Near,
    key: RequestKey,
    kept: Kept,
    threshold: f64,
}

/// What was chosen of the nearest.
enum Chosen {
    Served,
    /// In shadow mode.
    Shadowed(Shadow),
    /// None may be served, and why.
    None(SemanticMiss, Option<Box<NearestPrompt>>),
    /// It was switched off meanwhile.
    Off,
}

/// Why nothing is served.
struct Miss {
    reason: SemanticMiss,
    nearest: Option<Box<NearestPrompt>>,
    compared: usize,
    detail: Option<String>,
}

impl Miss {
    /// One before anything was compared.
    fn of(reason: SemanticMiss, detail: Option<String>) -> Self {
        Self {
            reason,
            nearest: None,
            compared: 0,
            detail,
        }
    }
}

/// A lookup under way.
struct Quest<'a> {
    flight: &'a Flight,
    text: &'a str,
    began: Timestamp,
    /// The least threshold, and whether guards are asked, as they were when it began.
    threshold: f64,
    guards: bool,
}

impl<T: Transport, O: Observer> Core<T, O> {
    /// The index. Taken before the guards where both are: see [`Core`].
    pub(super) fn index(&self) -> MutexGuard<'_, Index> {
        // like the policies, a plain state machine
        self.index.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What the semantic cache compares of a request; nothing where it is not asked, which is whenever it is off
    /// and whenever the exact cache is not asked.
    pub(super) fn asked(&self, request: &ChatRequest, context: &CallContext) -> Option<Asked> {
        let policy = Arc::clone(&self.lock().policy);
        let allowed =
            admission::lookup_allowed(&policy.cache, request, context.cacheable, context.fresh).is_ok();
        if policy.semantic.mode == SemanticMode::Off || !allowed {
            return None;
        }
        let info = self.transport.info();
        let around = RequestKey::without_prompt(&self.scope(&context.user, &info), request);
        Some(
            around.map_or(Asked::Ineligible, |(partition, text)| Asked::Prompt {
                partition,
                text,
            }),
        )
    }

    /// Looks for the answer to a prompt that means the same, and ends the flight with it if one may be served.
    pub(super) async fn look_for_meaning(&self, flight: &Flight, asked: &Asked) -> Looked {
        let began = self.env.clock.now();
        let Asked::Prompt { partition, text } = asked else {
            self.missed(flight, began, Miss::of(SemanticMiss::Ineligible, None));
            return Looked::On(None);
        };
        let mut vector = match self.embed(text).await {
            Ok(vector) => vector,
            Err((reason, detail)) => {
                self.missed(flight, began, Miss::of(reason, Some(detail)));
                return Looked::On(None);
            }
        };
        if !normalise(&mut vector) {
            let detail = "the embedder finds nothing in this prompt to compare".to_owned();
            self.missed(flight, began, Miss::of(SemanticMiss::Ineligible, Some(detail)));
            return Looked::On(None);
        }
        let policy = Arc::clone(&self.lock().policy);
        let quest = Quest {
            flight,
            text,
            began,
            threshold: policy.semantic.least(),
            guards: policy.semantic.guards,
        };
        let sketch = Sketch::of(self.env.seed, &vector);
        let mut searches = 0;
        let shadow = loop {
            searches += 1;
            let found = self.index().search(partition, &vector, &sketch);
            let mut gone = Vec::new();
            let chosen = self.choose(&quest, &found, &mut gone).await;
            if !gone.is_empty() {
                let mut index = self.index();
                for version in &gone {
                    index.remove(*version);
                }
            }
            match chosen {
                Chosen::Served => return Looked::Served,
                Chosen::Off => return Looked::On(None),
                Chosen::Shadowed(shadow) => break Some(shadow),
                // some that were near have gone: others may have stood behind them
                Chosen::None(..) if !gone.is_empty() && searches < MAX_SEARCHES => {}
                Chosen::None(reason, nearest) => {
                    let miss = Miss {
                        compared: found.compared,
                        nearest,
                        ..Miss::of(reason, None)
                    };
                    self.missed(flight, began, miss);
                    break None;
                }
            }
        };
        Looked::On(Some(Box::new(Meaning {
            partition: partition.clone(),
            vector,
            sketch,
            shadow,
        })))
    }

    /// The embedding of a prompt, within its time limit; nothing while the embedder is held off.
    async fn embed(&self, text: &str) -> Result<Vec<f32>, (SemanticMiss, String)> {
        let (embedder, limit, asked) = {
            let guards = self.lock();
            let asked = guards.hold_off.ask(self.env.clock.now());
            (
                Arc::clone(&guards.embedder),
                guards.policy.semantic.timeout,
                asked,
            )
        };
        if let Err(until) = asked {
            let wait = self.env.clock.now().until(until).as_secs_f64();
            let detail = format!("it failed three times in a row, and is asked again in {wait:.1}s");
            return Err((SemanticMiss::Failed, detail));
        }
        let embedded = tokio::select! {
            biased;
            embedded = embedder.embed(text) => match embedded {
                Ok(vector) if vector.iter().all(|x| x.is_finite()) && !vector.is_empty() => Ok(vector),
                Ok(_) => Err((SemanticMiss::Failed, "its embedding is no list of numbers".to_owned())),
                Err(EmbedError { message }) => Err((SemanticMiss::Failed, message)),
            },
            () = self.env.clock.sleep(limit) => {
                Err((SemanticMiss::Late, format!("no embedding within {limit:?}")))
            }
        };
        let mut guards = self.lock();
        let turn = match &embedded {
            Ok(_) => guards.hold_off.succeeded(),
            Err(_) => guards.hold_off.failed(self.env.clock.now()),
        };
        let name = embedder.name();
        let text = match (turn, &embedded) {
            (Some(Turn::HeldOff { hold }), Err((_, detail))) => format!(
                "the embedder {name} failed three times in a row ({detail}): it is asked once in {}s from now on, the semantic cache misses meanwhile",
                hold.as_secs()
            ),
            (Some(Turn::Back), _) => format!("the embedder {name} answers again"),
            _ => return embedded,
        };
        let text = self.transport.veiled(SafeText::excerpt(&text, EXCERPT));
        self.observer.emit(None, EventKind::Noticed { text });
        drop(guards);
        embedded
    }

    /// Goes through the nearest, nearest first, and serves the first that may be served. `gone` gets those whose
    /// answers are no longer there.
    async fn choose(&self, quest: &Quest<'_>, found: &Found, gone: &mut Vec<u64>) -> Chosen {
        let mut below = None;
        let mut refused = None;
        let mut refusals = 0;
        for near in &found.nearest {
            let Some(candidate) = self.candidate(*near, quest.threshold) else {
                gone.push(near.version);
                continue;
            };
            if near.similarity < candidate.threshold {
                below.get_or_insert_with(|| Box::new(self.told(&candidate, None)));
                if near.similarity < quest.threshold {
                    break;
                }
                continue;
            }
            if let Some(objection) = self.objection(quest, &candidate) {
                refused.get_or_insert_with(|| Box::new(self.told(&candidate, Some(objection))));
                refusals += 1;
                if refusals == MAX_REFUSALS {
                    break;
                }
                continue;
            }
            match self.serve(quest, found, candidate) {
                Tried::Done(chosen) => return chosen,
                Tried::Gone => gone.push(near.version),
                // its task is being told, and drops this
                Tried::Abandoned => std::future::pending().await,
            }
        }
        match (refused, below) {
            (Some(nearest), _) => Chosen::None(SemanticMiss::Refused, Some(nearest)),
            (None, Some(nearest)) => Chosen::None(SemanticMiss::Below, Some(nearest)),
            (None, None) => Chosen::None(SemanticMiss::Empty, None),
        }
    }

    /// The stored answer that an entry of the index stands for, if it is still there.
    fn candidate(&self, near: Near, of_all: f64) -> Option<Candidate> {
        let guards = self.lock();
        let peeked = guards.cache.peek(self.env.clock.now(), near.version)?;
        Some(Candidate {
            near,
            key: peeked.key.clone(),
            kept: peeked.value.clone(),
            threshold: guards.labels.threshold(peeked.key.fingerprint(), of_all),
        })
    }

    fn objection(&self, quest: &Quest<'_>, candidate: &Candidate) -> Option<Objection> {
        if !quest.guards {
            return None;
        }
        let stored = candidate.key.prompt().unwrap_or_default();
        let embedder = Arc::clone(&self.lock().embedder);
        let mut objection = embedder.objection(quest.text, &stored)?;
        objection.asked = self.transport.veiled(objection.asked);
        objection.stored = self.transport.veiled(objection.stored);
        Some(objection)
    }

    /// A candidate as it is told.
    fn told(&self, candidate: &Candidate, objection: Option<Objection>) -> NearestPrompt {
        let prompt = candidate.key.prompt().unwrap_or_default();
        NearestPrompt {
            source: candidate.kept.call,
            prompt: self.transport.veiled(SafeText::excerpt(&prompt, EXCERPT)),
            similarity: candidate.near.similarity,
            threshold: candidate.threshold,
            objection,
        }
    }

    /// Serves a candidate, or tells that it would have been served, if that is still right.
    fn serve(&self, quest: &Quest<'_>, found: &Found, mut candidate: Candidate) -> Tried {
        let Quest { flight, began, .. } = *quest;
        let mut guards = self.lock();
        let now = self.env.clock.now();
        let policy = Arc::clone(&guards.policy);
        if flight.abandoned.is_cancelled() {
            return Tried::Abandoned;
        }
        if policy.semantic.mode == SemanticMode::Off || !policy.cache.enabled {
            return Tried::Done(Chosen::Off);
        }
        let version = candidate.near.version;
        let Some(stored_at) = guards.cache.peek(now, version).map(|peeked| peeked.stored_at) else {
            return Tried::Gone;
        };
        let request = candidate.key.fingerprint();
        candidate.threshold = guards.labels.threshold(request, policy.semantic.least());
        let nearest = Box::new(self.told(&candidate, None));
        if candidate.near.similarity < candidate.threshold {
            return Tried::Done(Chosen::None(SemanticMiss::Below, Some(nearest)));
        }
        let Kept { answer, call, took } = candidate.kept;
        let served = Served {
            source: call,
            request,
            version,
            similarity: candidate.near.similarity,
        };
        if let Some(owner) = flight.owner() {
            guards.labels.served(owner, served);
        }
        let candidates = u32::try_from(found.compared).unwrap_or(u32::MAX);
        let (lookup, saved) = (now.since(began), answer.usage);
        if policy.semantic.mode == SemanticMode::Shadow {
            let kind = EventKind::SemanticShadowed {
                nearest,
                candidates,
                lookup,
                saved,
            };
            self.note(flight, kind);
            let source = call;
            return Tried::Done(Chosen::Shadowed(Shadow { source, answer }));
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
        self.note(flight, kind);
        self.come_down(&mut guards, flight, &Landing::Hit(answer));
        Tried::Done(Chosen::Served)
    }

    fn missed(&self, flight: &Flight, began: Timestamp, miss: Miss) {
        let detail = { miss.detail }.map(|detail| self.transport.veiled(SafeText::excerpt(&detail, EXCERPT)));
        let lookup: Duration = self.env.clock.now().since(began);
        let kind = EventKind::SemanticMissed {
            reason: miss.reason,
            nearest: miss.nearest,
            candidates: u32::try_from(miss.compared).unwrap_or(u32::MAX),
            lookup,
            detail,
        };
        self.note(flight, kind);
    }

    /// Compares the upstream's answer with the one that would have been served.
    pub(super) fn compare(&self, flight: &Flight, shadow: &Shadow, answer: &Answer) {
        let agreement = compare::agreement(&shadow.answer.text, &answer.text);
        let kind = EventKind::SemanticCompared {
            source: shadow.source,
            agreement,
            same: agreement >= compare::SAME_ANSWER,
        };
        self.note(flight, kind);
    }

    /// An answer was stored: its prompt can be found by meaning from now on. One that calls tools never is, and
    /// one whose prompt was not embedded stands where an older answer to it stood.
    pub(super) fn index_answer(
        &self,
        index: &mut Index,
        guards: &Guards,
        answer: &Answer,
        meaning: Option<&Meaning>,
        stored: PutOutcome,
    ) -> Option<EventKind> {
        let servable = answer.tool_calls.is_empty() && !answer.text.is_empty();
        match (stored.replaced, meaning) {
            (Some(older), None) if servable => index.renew(older, stored.version),
            (Some(older), _) => drop(index.remove(older)),
            (None, _) => {}
        }
        let meaning = meaning.filter(|_| servable && guards.policy.semantic.mode != SemanticMode::Off)?;
        let Meaning {
            partition,
            vector,
            sketch,
            ..
        } = meaning;
        index.add(stored.version, partition, vector.clone(), *sketch);
        let now = self.env.clock.now();
        index.tidy(|version| guards.cache.peek(now, version).is_some());
        let entries = index.len() as u64;
        Some(EventKind::SemanticStored { entries })
    }

    /// Takes what a person says of a semantic hit. See [`ResilientClient::label`](super::ResilientClient::label).
    pub(super) fn label(&self, call: CallId, good: bool) {
        let mut guards = self.lock();
        let mut policy = guards.policy.as_ref().clone();
        let of_all = policy.semantic.least();
        let taken = guards
            .labels
            .label(&mut policy.semantic.labels, of_all, call, good);
        let Labelled { served, threshold } = match taken {
            Ok(labelled) => labelled,
            Err(reason) => {
                let text = SafeText::from(format!("call {call} was not labelled: {reason}"));
                self.observer.emit(None, EventKind::Noticed { text });
                return;
            }
        };
        guards.policy = Arc::new(policy);
        let removed = !good && guards.cache.discard(served.version);
        let kind = EventKind::SemanticLabelled {
            source: served.source,
            request: served.request.to_string().into(),
            good,
            similarity: served.similarity,
            threshold,
            removed,
        };
        self.observer.emit(Some(call), kind);
        if removed {
            self.note_evicted(&guards, EvictReason::Labelled, 1);
        }
    }
}

/// What came of trying to serve a candidate.
enum Tried {
    Done(Chosen),
    /// Its answer is no longer there.
    Gone,
    /// Nobody is left to be served.
    Abandoned,
}
