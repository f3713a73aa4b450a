//! The outer layers, one method each, in the order of [`ResilientClient::call`](super::ResilientClient::call).

use std::borrow::Cow;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use xxhash_rust::xxh3::xxh3_64;

use super::completion::Completion;
use super::flight::{Flight, FlightKey, Subscriber};
use super::guards::{CachedAnswer, Guards};
use super::semantic::SemanticPrompt;
use super::stream::{CallStream, Work};
use super::transport::{ApiKey, AttemptRequest, Transport, redact_all};
use super::wire::{CacheUse, WireRequest};
use super::{CallContext, Core, sync};
use crate::event::{
    BypassReason, CallId, CallOptions, EventKind, EvictReason, Failure, FailureClass, Fate, FieldDiff,
    FlightId, MissReason, ModelName, NearMiss, Observer, Phase, Sharing, UpstreamInfo, UserId,
};
use crate::openai::ChatRequest;
use crate::policy::admission;
use crate::policy::cache::Lookup;
use crate::policy::fingerprint::{RequestKey, Scope};
use crate::policy::ledger::{Claim, call_key};
use crate::policy::near_miss;
use crate::settings::Policy;
use crate::text::SafeText;
use crate::time::Timestamp;

/// The request that a flight sends, once per attempt.
pub(super) struct UpstreamRequest {
    pub(super) body: Bytes,
    /// The request to pass on unchanged, if it is one.
    pub(super) wire: Option<Arc<WireRequest>>,
    /// See [`Pending::secrets`].
    pub(super) secrets: Vec<ApiKey>,
    /// True if another attempt may follow a failed one.
    pub(super) may_repeat: bool,
    pub(super) prompt_tokens: u64,
    pub(super) answer_limit: Option<u64>,
    /// The number of answers that it asks for, at least 1.
    pub(super) choices: u64,
    pub(super) model: Option<String>,
    /// The model as the breaker and the events name it.
    pub(super) breaker_model: Option<ModelName>,
    pub(super) user: UserId,
    /// The key of the call that started the flight, sent with every attempt.
    pub(super) idempotency_key: String,
    /// The caller's own idempotency key.
    pub(super) client_key: Option<String>,
    /// True if the answer may be stored.
    pub(super) storable: bool,
    /// The prompt to compare, if the semantic cache is used.
    pub(super) semantic: Option<SemanticPrompt>,
}

impl UpstreamRequest {
    pub(super) fn attempt(&self, call: CallId, attempt: u32) -> AttemptRequest {
        AttemptRequest {
            body: self.body.clone(),
            wire: self.wire.clone(),
            call,
            attempt,
            prompt_tokens: self.prompt_tokens,
            idempotency_key: self.idempotency_key.clone(),
        }
    }

    /// The text with the keys redacted.
    pub(super) fn redact(&self, text: SafeText) -> SafeText {
        redact_all(&self.secrets, text)
    }

    /// LLM tokens to reserve for each attempt: prompt and answer, of the answer no more than the buckets hold. Many
    /// clients state a limit far above the length that answers have.
    pub(super) fn tokens(&self, policy: &Policy) -> u64 {
        let answer = self.answer_limit.unwrap_or(policy.limit.default_answer_tokens);
        let most = policy
            .limit
            .most_tokens(self.user.as_str())
            .max(self.prompt_tokens);
        self.prompt_tokens.saturating_add(answer).min(most)
    }
}

/// A call on its way through the layers.
pub(super) struct Pending {
    pub(super) call: CallId,
    pub(super) context: CallContext,
    pub(super) key: RequestKey,
    pub(super) wire: Option<Arc<WireRequest>>,
    /// The keys of the transport and those of the client: no event may hold them.
    pub(super) secrets: Vec<ApiKey>,
    pub(super) model: Option<ModelName>,
    pub(super) cache_use: CacheUse,
    pub(super) started_at: Timestamp,
    pub(super) deadline: Timestamp,
    /// LLM tokens of the prompt.
    pub(super) prompt_tokens: u64,
    /// True if a stored answer or that of another call may be used.
    pub(super) repeatable: bool,
}

/// The result of single flight.
pub(super) enum Shared {
    /// The call reads the flight of another one.
    Joined(CallStream),
    /// The call owns a new flight, which is to be started.
    Started(Arc<Flight>),
}

impl<T: Transport, O: Observer> Core<T, O> {
    /// Assigns id and deadline, and emits `CallStarted`.
    pub(super) fn admit(
        &self,
        request: &ChatRequest,
        context: CallContext,
        wire: Option<&Arc<WireRequest>>,
    ) -> Pending {
        let call = CallId(self.next_call.fetch_add(1, Ordering::Relaxed));
        let info = self.transport.info();
        let key = RequestKey::new(&self.scope(&context, &info, &route(wire)), request);
        let started_at = self.env.clock.now();
        let guards = self.lock();
        let policy = Arc::clone(&guards.policy);
        // the name of a known model is shared, not allocated
        let known = request
            .model_name()
            .map(|name| (name, guards.breakers.name(name).cloned()));
        drop(guards);
        let of_client = wire.into_iter().flat_map(|wire| &wire.secrets);
        let secrets: Vec<_> = self.transport.keys().iter().chain(of_client).cloned().collect();
        let new = |name| ModelName::new(&redact_all(&secrets, SafeText::new(name)));
        let model = known.and_then(|(name, known)| known.or_else(|| new(name)));
        let deadline = started_at
            + context
                .deadline
                .unwrap_or(policy.timeouts.call)
                .min(policy.timeouts.call);
        let known = wire.is_none_or(|wire| wire.dialect.is_known());
        let reusable = known && (context.cacheable || admission::is_deterministic(request));
        let repeatable = known && (reusable || policy.cache.store_all);
        let options = CallOptions {
            model: model.clone(),
            answer_limit: request.token_limit(),
            repeatable: reusable,
            fresh: context.fresh,
            no_store: context.no_store,
            stream: request.is_stream(),
            key: context
                .idempotency_key
                .as_deref()
                .map(|key| xxh3_64(key.as_bytes())),
        };
        let prompt_tokens = context.tokens_of(request);
        self.observer.emit(
            Some(call),
            EventKind::CallStarted {
                origin: context.origin,
                user: context.user.clone(),
                prompt: redact_all(&secrets, SafeText::excerpt(&request.last_user_text(), 400)),
                fingerprint: key.fingerprint().to_string().into(),
                prompt_tokens,
                deadline,
                options,
            },
        );
        Pending {
            call,
            context,
            key,
            wire: wire.cloned(),
            secrets,
            model,
            cache_use: CacheUse::None,
            started_at,
            deadline,
            prompt_tokens,
            repeatable,
        }
    }

    /// The reason why this call cannot be made at all.
    pub(super) fn refusal(&self, request: &ChatRequest, wire: Option<&Arc<WireRequest>>) -> Option<Failure> {
        let message = if self.closed.is_cancelled() {
            "the session has ended; start another one".to_owned()
        } else if !sync::can_spawn() {
            // before anything is registered: a flight without a task would never end
            "no tokio runtime on this thread; make the call inside one".to_owned()
        } else if wire.is_some() {
            return None;
        } else {
            request.validate().err()?.to_string()
        };
        Some(Failure::new(FailureClass::Invalid, Phase::Final, message))
    }

    /// The parts of a cache key besides the request.
    pub(super) fn scope<'a>(
        &self,
        context: &'a CallContext,
        info: &'a UpstreamInfo,
        route: &'a str,
    ) -> Scope<'a> {
        Scope {
            user: &context.user,
            credential: self.transport.credential_id(),
            upstream: &info.host,
            route,
        }
    }

    /// The stored result of the caller's idempotency key, or an error if the key belongs to another request.
    pub(super) fn replay(&self, guards: &mut Guards, pending: &mut Pending) -> Option<CallStream> {
        let idempotency_key = pending.context.idempotency_key.as_ref()?;
        let now = self.env.clock.now();
        let user = &pending.context.user;
        let in_flight = FlightKey::Keyed(user.to_string(), idempotency_key.clone());
        let conflict = guards
            .flights
            .get(&in_flight)
            .is_some_and(|flight| flight.request_key != pending.key);
        let stored = match guards
            .ledger
            .claim(now, user, idempotency_key, pending.key.fingerprint())
        {
            Claim::New if !conflict => return None,
            Claim::Replay { value, stored_at } => (value.clone(), stored_at),
            Claim::New | Claim::Mismatch => {
                let message = "idempotency key already used for another request; use a new key";
                let failure = Failure::new(FailureClass::Invalid, Phase::Final, message);
                return Some(self.end_immediately(pending, Err((Fate::Failed, failure))));
            }
        };
        let (CachedAnswer { answer, .. }, stored_at) = stored;
        let kind = EventKind::ResultReplayed {
            age: now.since(stored_at),
            saved: answer.usage,
            text: answer.shown.clone(),
        };
        self.observer.emit(Some(pending.call), kind);
        pending.cache_use = CacheUse::Replayed;
        Some(self.end_immediately(pending, Ok(answer)))
    }

    /// The stored answer to the same request, if there is one that may be used.
    pub(super) fn look_up(
        &self,
        guards: &mut Guards,
        request: &ChatRequest,
        pending: &mut Pending,
    ) -> Option<CallStream> {
        let now = self.env.clock.now();
        let policy = Arc::clone(&guards.policy);
        let Pending { call, context, .. } = &*pending;
        let is_known = pending.wire.as_ref().is_none_or(|wire| wire.dialect.is_known());
        let allowed = admission::lookup_allowed(&policy.cache, request, context.cacheable, context.fresh);
        let allowed = allowed.and(if is_known {
            Ok(())
        } else {
            Err(BypassReason::NotDeterministic)
        });
        if let Err(reason) = allowed {
            self.observer
                .emit(Some(*call), EventKind::CacheBypassed { reason });
            pending.cache_use = CacheUse::Bypass(reason);
            return None;
        }
        let Lookup { answer, expired } = guards.cache.get(now, &pending.key);
        let found = answer.map(|stored| (stored.value.clone(), stored.stored_at));
        if expired > 0 {
            self.emit_evicted(guards, EvictReason::Expired, expired);
        }
        match found {
            Ok((CachedAnswer { answer, took, .. }, stored_at)) => {
                pending.cache_use = CacheUse::Hit;
                let kind = EventKind::CacheHit {
                    age: now.since(stored_at),
                    saved: answer.usage,
                    saved_time: took,
                    text: answer.shown.clone(),
                };
                self.observer.emit(Some(pending.call), kind);
                Some(self.end_immediately(pending, Ok(answer)))
            }
            Err(reason) => {
                let nearest = nearest(guards, pending, reason);
                self.observer
                    .emit(Some(*call), EventKind::CacheMissed { reason, nearest });
                pending.cache_use = CacheUse::Miss(reason);
                None
            }
        }
    }

    /// Joins the flight of an identical call, or registers a new flight that is yet to be started.
    pub(super) fn share(self: &Arc<Self>, guards: &mut Guards, pending: &Pending) -> Shared {
        let Pending { call, context, .. } = pending;
        let subscriber = Subscriber {
            call: *call,
            started_at: pending.started_at,
            deadline: pending.deadline,
            attempts: 0,
            origin: context.origin,
        };
        let sharing = guards.policy.flight.enabled;
        let flight_key = match &context.idempotency_key {
            Some(idempotency_key) => FlightKey::Keyed(context.user.to_string(), idempotency_key.clone()),
            // a fresh answer must not come from a request that was sent earlier
            None if sharing && pending.repeatable && !context.fresh => {
                FlightKey::Content(pending.key.clone())
            }
            None => FlightKey::Alone(*call),
        };
        if let Some(flight) = guards.flights.get(&flight_key) {
            let mut log = flight.lock();
            let owner = log.subscribers.first().map_or(*call, |one| one.call);
            log.subscribers.push(subscriber);
            let kind = EventKind::FlightJoined {
                flight: flight.id,
                owner,
                subscribers: u32::try_from(log.subscribers.len()).unwrap_or(u32::MAX),
            };
            self.observer.emit(Some(*call), kind);
            drop(log);
            flight.changed.notify_one();
            return Shared::Joined(CallStream::running(
                *call,
                Arc::clone(flight),
                Arc::clone(self) as Arc<_>,
                CacheUse::Shared,
                None,
            ));
        }
        let sharing = match &flight_key {
            FlightKey::Content(_) => Sharing::SameRequest,
            FlightKey::Keyed(..) => Sharing::SameKey,
            FlightKey::Alone(_) => Sharing::Off,
        };
        let id = FlightId(self.next_flight.fetch_add(1, Ordering::Relaxed));
        let flight = Arc::new(Flight::new(
            id,
            flight_key.clone(),
            pending.key.clone(),
            subscriber,
            &self.closed,
        ));
        guards.flights.insert(flight_key, Arc::clone(&flight));
        self.observer
            .emit(Some(*call), EventKind::FlightStarted { flight: id, sharing });
        Shared::Started(flight)
    }

    /// Starts a new flight: in a task of its own, or in its caller if its bytes pass unchanged and no other call can
    /// join it.
    pub(super) fn start_flight(
        self: &Arc<Self>,
        request: &ChatRequest,
        pending: Pending,
        flight: Arc<Flight>,
    ) -> CallStream {
        let semantic = self.semantic_prompt(request, &pending);
        let Pending {
            call,
            context,
            repeatable,
            wire,
            secrets,
            model,
            cache_use,
            prompt_tokens,
            ..
        } = pending;
        let body = match &wire {
            Some(wire) => wire.body.clone(),
            None => serde_json::to_vec(request).map(Bytes::from).unwrap_or_default(),
        };
        let upstream_request = UpstreamRequest {
            prompt_tokens,
            answer_limit: request.token_limit(),
            choices: request
                .get("n")
                .and_then(serde_json::Value::as_u64)
                .unwrap_or(1)
                .max(1),
            model: request.model_name().map(str::to_owned),
            breaker_model: model,
            body,
            may_repeat: wire.as_ref().is_none_or(|wire| wire.may_repeat()),
            secrets,
            wire,
            idempotency_key: call_key(self.env.seed, call),
            user: context.user,
            client_key: context.idempotency_key,
            storable: repeatable && !context.no_store,
            semantic,
        };
        let is_inline = upstream_request.wire.is_some() && matches!(flight.key, FlightKey::Alone(_));
        let task = FlightTask {
            core: Arc::clone(self),
            flight: Arc::clone(&flight),
            request: upstream_request,
        };
        let work = async move { task.core.supervise(&task.flight, &task.request).await };
        let work: Option<Work> = if is_inline {
            Some(Box::pin(work))
        } else {
            // a task of its own: it outlives the caller that started it
            self.env.spawn(work);
            None
        };
        CallStream::running(call, flight, Arc::clone(self) as Arc<_>, cache_use, work)
    }
}

/// The stored request most similar to one that was never stored. Expired and evicted ones need no other
/// explanation.
fn nearest(guards: &Guards, pending: &Pending, reason: MissReason) -> Option<Box<NearMiss>> {
    match reason {
        MissReason::NeverSeen | MissReason::Collision => {}
        MissReason::Expired | MissReason::Evicted => return None,
    }
    let (stored, CachedAnswer { call, .. }) = guards.cache.nearest(&pending.key)?;
    let difference = near_miss::diff(&pending.key, stored)?;
    let redacted = |diff: FieldDiff| FieldDiff {
        field: redact_all(&pending.secrets, diff.field),
        how: diff.how,
        here: redact_all(&pending.secrets, diff.here),
        stored: redact_all(&pending.secrets, diff.stored),
    };
    Some(Box::new(NearMiss {
        source: *call,
        prompt: redact_all(&pending.secrets, difference.prompt),
        differs: difference.differs.into_iter().map(redacted).collect(),
        fields: difference.fields,
    }))
}

/// The route of a cache key.
pub(super) fn route(wire: Option<&Arc<WireRequest>>) -> Cow<'static, str> {
    wire.map_or(Cow::Borrowed("chat/completions"), |wire| Cow::Owned(wire.route()))
}

/// The work of a flight. Its drop ends the calls of work that was dropped before its end, because its runtime has
/// shut down: they would wait forever, and later calls would join them.
struct FlightTask<T: Transport, O: Observer> {
    core: Arc<Core<T, O>>,
    flight: Arc<Flight>,
    request: UpstreamRequest,
}

impl<T: Transport, O: Observer> Drop for FlightTask<T, O> {
    fn drop(&mut self) {
        if self.flight.owner().is_some() && !std::thread::panicking() {
            self.core
                .complete(&self.flight, &self.request, Completion::Abandoned);
        }
    }
}
