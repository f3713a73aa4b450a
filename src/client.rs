//! The resilient client: an async shell around the policies. It knows no screen and no channel to one.
//!
//! The layers are two functions, from the outside in: [`ResilientClient::call`] (admission, idempotency, exact
//! cache, single flight) and `Core::run_flight` (semantic cache, deadline, retry, breaker, limiter, attempt).
//! `controls` changes the policy and single guards while the client runs.

mod answer;
mod answer_reader;
mod attempt;
mod completion;
mod controls;
mod embedder;
mod env;
mod flight;
mod guards;
mod layers;
mod probe;
mod read;
mod semantic;
mod sse;
mod stream;
mod sync;
mod transport;
mod wire;

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures_util::FutureExt as _;
use tokio_util::sync::CancellationToken;

pub use crate::semantic::embedder::{EmbedError, Embedder, Embedding, LexicalEmbedder};
pub use answer::{Answer, AnswerChoice, CallError, Chunk};
pub use answer_reader::{AnswerReader, BodyEnd, ReadProblem};
pub use embedder::HttpEmbedder;
pub use env::Env;
pub use sse::{SseDecoder, SseItem, SseTooLong};
pub use stream::CallStream;
pub(crate) use transport::{
    Address, add_query, end_to_end, host_of, http_client, is_loopback, is_private, is_secret_name,
    without_secrets,
};
pub use transport::{
    ApiKey, AttemptRequest, BodyError, BodyStream, ExtraHeader, HeaderError, HttpConfig, HttpTransport,
    Response, SendError, SendErrorKind, Transport, TransportSetupError,
};

pub(crate) use stream::SharedWork;
pub use wire::{CacheUse, WireHead, WireRequest, WireResponse};
pub(crate) use wire::{client_secrets, holds_secret};

use completion::{Completion, panic_text};
use flight::Flight;
use guards::{AttemptEnd, FlightGuard, Guards};
use layers::{Shared, UpstreamRequest};
use semantic::SemanticOutcome;
use sync::Mutex;

use crate::event::{
    CallId, EventKind, Failure, Fate, FlightId, ModelName, Observer, Origin, StopReason, UpstreamHealth,
    UserId,
};
use crate::openai::ChatRequest;
use crate::policy::retry::{Retry, RetryDecision};
use crate::semantic::{HoldOff, Index};
use crate::settings::{Counts, Policy};
use crate::time::Timestamp;

/// The caller and the options of one call.
#[derive(Clone, Debug)]
pub struct CallContext {
    /// The tenant, part of every cache key. Default: `default`.
    pub user: UserId,
    /// The source of the call. Default: [`Origin::Library`].
    pub origin: Origin,
    /// A deadline for the call. Default, and upper bound: `timeouts.call` of the policy.
    pub deadline: Option<Duration>,
    /// Cache and share the answer even if the request is not deterministic. Default: false.
    pub cacheable: bool,
    /// Skip stored answers and shared flights. Default: false.
    pub fresh: bool,
    /// Do not store the answer, save under an idempotency key. Default: false.
    pub no_store: bool,
    /// Calls of one user with the same key and the same request have one result; the same key with another request
    /// fails. Default: none.
    pub idempotency_key: Option<String>,
    /// LLM tokens of the prompt, if the caller counted them. Default: estimated from the text.
    pub prompt_tokens: Option<u64>,
}

impl Default for CallContext {
    fn default() -> Self {
        Self {
            user: UserId::new("default"),
            origin: Origin::Library,
            deadline: None,
            cacheable: false,
            fresh: false,
            no_store: false,
            idempotency_key: None,
            prompt_tokens: None,
        }
    }
}

impl CallContext {
    /// LLM tokens of the prompt of this request.
    fn tokens_of(&self, request: &ChatRequest) -> u64 {
        self.prompt_tokens
            .unwrap_or_else(|| request.estimated_prompt_tokens())
    }
}

/// A client for one upstream, with cache, single flight, retries, breaker and limiter. Cheap to clone; clones
/// share all state.
#[derive(Debug)]
pub struct ResilientClient<T: Transport, O: Observer> {
    core: Arc<Core<T, O>>,
}

impl<T: Transport, O: Observer> Clone for ResilientClient<T, O> {
    fn clone(&self) -> Self {
        Self {
            core: Arc::clone(&self.core),
        }
    }
}

#[derive(Debug)]
struct Core<T, O> {
    transport: T,
    observer: O,
    env: Env,
    /// The vectors of the semantic cache. Under a lock of its own, because a search takes a millisecond. Code that
    /// takes both locks takes this one first, so that no holder of the guards waits for a search.
    index: Mutex<Index>,
    guards: Mutex<Guards>,
    /// Cancelled by [`ResilientClient::close`], and with it every flight.
    closed: CancellationToken,
    next_call: AtomicU64,
    next_flight: AtomicU64,
}

impl<T: Transport, O: Observer> ResilientClient<T, O> {
    /// Creates a client and emits its policy. The policy should be valid: see [`Policy::validate`].
    pub fn new(policy: Policy, transport: T, observer: O, env: Env) -> Self {
        observer.emit(
            None,
            EventKind::PolicyApplied {
                policy: Box::new(policy.clone()),
            },
        );
        let index = Index::new(policy.semantic.max_entries);
        let model = transport.info().model.and_then(|model| ModelName::new(&model));
        let guards = Guards::new(policy, env.derive_seed("breaker", 0), model, env.clock.now());
        let core = Core {
            transport,
            observer,
            env,
            index: Mutex::new(index),
            guards: Mutex::new(guards),
            closed: CancellationToken::new(),
            next_call: AtomicU64::new(1),
            next_flight: AtomicU64::new(1),
        };
        Self { core: Arc::new(core) }
    }

    /// Replaces the built-in embedder of the semantic cache, and empties its index: the vectors of two embedders
    /// cannot be compared.
    #[must_use]
    pub fn with_embedder(self, embedder: Arc<dyn Embedder>) -> Self {
        let mut index = self.core.index();
        let mut guards = self.core.lock();
        index.clear();
        guards.embedder = embedder;
        guards.hold_off = HoldOff::default();
        drop(guards);
        drop(index);
        self
    }

    /// Starts a call. The call has exactly one end; dropping the stream cancels it. Errors are returned by
    /// [`CallStream::finish`]. The order of the layers has reasons: docs/semantics.md, Layers.
    ///
    /// The request is sent as it is. If it does not set `stream`, the server sends the answer as a whole, and the
    /// stream yields it at the end.
    ///
    /// A call outside of a tokio runtime, a call on a closed client and a request of the wrong shape (see
    /// [`ChatRequest::validate`]) fail at once.
    pub fn call(&self, request: &ChatRequest, context: CallContext) -> CallStream {
        self.start(request, context, None)
    }

    /// Starts a call whose bytes pass unchanged: read them with [`CallStream::next_wire`]. The server judges the
    /// request, its shape is not checked here.
    pub fn call_wire(&self, request: WireRequest, context: CallContext) -> CallStream {
        let request = Arc::new(request);
        self.start(&request.view, context, Some(&request))
    }

    fn start(
        &self,
        request: &ChatRequest,
        context: CallContext,
        wire: Option<&Arc<WireRequest>>,
    ) -> CallStream {
        // admission: assign id and deadline, emit `CallStarted`
        let mut pending = self.core.admit(request, context, wire);
        if let Some(failure) = self.core.refusal(request, wire) {
            return self.core.end_immediately(&pending, Err((Fate::Failed, failure)));
        }
        // one lock over the next three: a flight that completes or starts between two looks would be missed by
        // both, and the upstream called twice
        let mut guards = self.core.lock();
        // idempotency first: a completed result of the same key is returned whatever the other layers say
        if let Some(ended) = self.core.replay(&mut guards, &mut pending) {
            return ended;
        }
        // exact cache: before every guard, so a hit costs no request, no token and no permit
        if let Some(hit) = self.core.look_up(&mut guards, request, &mut pending) {
            return hit;
        }
        // single flight: identical calls share one upstream call
        let flight = match self.core.share(&mut guards, &pending) {
            Shared::Joined(stream) => return stream,
            Shared::Started(flight) => flight,
        };
        drop(guards);
        // the other layers run in the flight, after this returns. The semantic cache is the first of them: an embedding
        // may take a while, identical calls share one, and a hit uses no guard
        self.core.start_flight(request, pending, flight)
    }

    /// Ends every call as cancelled. Later calls fail. Does not wait: see [`Env::join`].
    pub fn close(&self) {
        // under the lock: a flight that completes at this moment is cancelled or answered, not a bit of both
        let guards = self.core.lock();
        self.core.closed.cancel();
        drop(guards);
    }

    /// Cancels the running calls of this origin for which `is_meant` returns true: their streams end with an error. A
    /// flight that other calls share continues.
    pub fn cancel(&self, origin: Origin, is_meant: impl Fn(CallId) -> bool) {
        self.core.cancel(origin, is_meant);
    }

    /// Sets the id of the next call; later calls count on from it. Recorded calls are repeated under their own
    /// ids, so that they meet the same random draws.
    pub(crate) fn set_next_call(&self, call: CallId) {
        self.core.next_call.store(call.0, Ordering::Relaxed);
    }

    /// Sets the id of the next flight, likewise.
    pub(crate) fn set_next_flight(&self, flight: FlightId) {
        self.core.next_flight.store(flight.0, Ordering::Relaxed);
    }

    /// The transport, for requests that are not calls, such as probes.
    pub fn transport(&self) -> &T {
        &self.core.transport
    }

    /// Records the result of a probe and emits it.
    pub fn report_health(&self, health: UpstreamHealth) {
        if let UpstreamHealth::Ready { models } = &health {
            self.core.lock().models = models.iter().map(ToString::to_string).collect();
        }
        self.core
            .observer
            .emit(None, EventKind::UpstreamProbed { health });
    }

    /// Resources held by running calls; all zero when none runs.
    pub fn held(&self) -> Held {
        let guards = self.core.lock();
        Held {
            flights: guards.flights.len(),
            slots: guards.limiter.in_use() as usize,
            waiters: guards.limiter.waiting() as usize,
        }
    }
}

/// Resources held by running calls, as counts: see [`ResilientClient::held`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Held {
    /// Running flights.
    pub flights: usize,
    /// Slots of the limiter.
    pub slots: usize,
    /// Positions in the limiter's queue.
    pub waiters: usize,
}

/// An attempt without an answer.
enum NoAnswer {
    /// A guard rejected it; nothing was sent.
    Rejected(Failure, StopReason),
    /// It was sent and failed.
    Failed(Failure),
}

impl<T: Transport, O: Observer> Core<T, O> {
    /// Runs a flight until it completes, its last subscriber leaves or the last deadline passes.
    async fn supervise(&self, flight: &Arc<Flight>, request: &UpstreamRequest) {
        let mut work = Some(Box::pin(
            AssertUnwindSafe(self.run_flight(flight, request)).catch_unwind(),
        ));
        let completion = loop {
            let Some(running) = work.as_mut() else {
                break Completion::Abandoned;
            };
            tokio::select! {
                biased;
                () = flight.abandoned.cancelled() => break Completion::Abandoned,
                () = self.env.clock.sleep_until(flight.next_deadline()) => {
                    if !self.expire(flight) {
                        break Completion::Expired;
                    }
                }
                () = flight.changed.notified() => {}
                ended = running => break match ended {
                    Ok(Some(completion)) => completion,
                    // every call has its end already
                    Ok(None) => return,
                    Err(panic) => {
                        let text = panic_text(panic.as_ref());
                        Completion::Panicked(request.redact(text.as_str().into()))
                    }
                },
            }
        };
        // resources are released before any call ends
        drop(work.take());
        self.complete(flight, request, completion);
    }

    /// The semantic cache, then the upstream. Returns `None` if the flight was completed by a stored answer.
    async fn run_flight(&self, flight: &Arc<Flight>, request: &UpstreamRequest) -> Option<Completion> {
        let embedded = match &request.semantic {
            Some(prompt) => match Box::pin(self.semantic_lookup(flight, &request.secrets, prompt)).await {
                SemanticOutcome::Served => return None,
                SemanticOutcome::Missed(embedded) => embedded,
            },
            None => None,
        };
        Some(match self.call_upstream(flight, request).await {
            Ok(answer) => {
                if let Some(shadow) = embedded.as_ref().and_then(|embedded| embedded.shadow.as_ref()) {
                    self.compare_shadow(flight, shadow, &answer);
                }
                Completion::Answered(answer, embedded)
            }
            Err(failure) => Completion::Failed(failure),
        })
    }

    /// The inner layers. See [`ResilientClient::call`] for the outer ones.
    async fn call_upstream(
        &self,
        flight: &Arc<Flight>,
        request: &UpstreamRequest,
    ) -> Result<Answer, Failure> {
        let policy = Arc::clone(&self.lock().policy);
        let (tokens, model) = (request.prompt_tokens, request.breaker_model.as_ref());
        let mut guard = FlightGuard::new(self, flight, &policy, tokens, model);
        // a limiter or breaker that counts calls is outside the retries and sees the call once
        if policy.limit.charges == Counts::Call {
            let tokens = request.tokens(&policy);
            guard.acquire_limiter(&request.user, tokens).await?;
        }
        if policy.breaker.counts == Counts::Call {
            guard.acquire_breaker()?;
        }
        let result = self.run_attempts(&mut guard, request).await;
        guard.settle(AttemptEnd::from(&result), Counts::Call);
        result
    }

    /// Retry: outside the guards of an attempt, so that they see each attempt.
    async fn run_attempts(
        &self,
        guard: &mut FlightGuard<'_, T, O>,
        request: &UpstreamRequest,
    ) -> Result<Answer, Failure> {
        let flight = guard.flight;
        let seed = self.env.derive_seed("backoff", flight.id.0);
        // boxed and created late: its generators are a kilobyte, thousands of calls may wait here, and few retry
        let mut retry: Option<Box<Retry>> = None;
        let mut last: Option<Failure> = None;
        loop {
            match self.attempt(guard, request).await {
                Ok(answer) => return Ok(answer),
                Err(NoAnswer::Rejected(rejection, reason)) => {
                    // a rejection ends the call; after a failed attempt the call ends with that failure, which
                    // says more
                    let Some(last) = last else { return Err(rejection) };
                    let attempt = flight.lock().attempts;
                    let kind = self.lock().stopped(self.env.clock.now(), attempt, reason, None);
                    self.emit(flight, kind);
                    return Err(last);
                }
                Err(NoAnswer::Failed(failure)) if !request.may_repeat => {
                    let attempt = flight.lock().attempts;
                    let reason = StopReason::NotRetryable;
                    let kind = self.lock().stopped(self.env.clock.now(), attempt, reason, None);
                    self.emit(flight, kind);
                    return Err(failure);
                }
                Err(NoAnswer::Failed(failure)) => {
                    let settings = &guard.policy.retry;
                    let retry = retry.get_or_insert_with(|| Box::new(Retry::new(settings, seed)));
                    match self.decide(flight, retry, &failure) {
                        Some(at) => self.env.clock.sleep_until(at).await,
                        None => return Err(failure),
                    }
                    last = Some(failure);
                }
            }
        }
    }

    /// One attempt inside its guards.
    async fn attempt(
        &self,
        guard: &mut FlightGuard<'_, T, O>,
        request: &UpstreamRequest,
    ) -> Result<Answer, NoAnswer> {
        if let Err((rejection, reason)) = self.admit_attempt(guard, request).await {
            // what was granted before is not used
            guard.settle(AttemptEnd::Dropped(None), Counts::Attempt);
            return Err(NoAnswer::Rejected(rejection, reason));
        }
        let Some((owner, number)) = guard.begin() else {
            // the flight is abandoned: its task drops this future
            return std::future::pending().await;
        };
        if number == 1 {
            // not earlier: a call that a guard rejects earns no retries
            self.lock().budget.deposit(self.env.clock.now());
        }
        // boxed, so that calls that wait for a guard do not reserve the space of an attempt
        let result = Box::pin(self.exchange(guard, request, request.attempt(owner, number))).await;
        guard.settle(AttemptEnd::from(&result), Counts::Attempt);
        result.map_err(|failure| {
            self.slow_after_rate_limit(&failure);
            guard.flight.lock().last_failure = Some(failure.clone());
            NoAnswer::Failed(failure)
        })
    }

    /// The guards of an attempt, in this order for these reasons.
    async fn admit_attempt(
        &self,
        guard: &mut FlightGuard<'_, T, O>,
        request: &UpstreamRequest,
    ) -> Result<(), (Failure, StopReason)> {
        let policy = guard.policy;
        let refused = |failure| (failure, StopReason::CircuitOpen);
        // breaker, early check: do not queue for an upstream that is known to be down
        if policy.breaker.counts == Counts::Attempt {
            guard.check_breaker().map_err(refused)?;
        }
        // limiter: every attempt is charged, or retries would exceed the quota when it matters most
        if policy.limit.charges == Counts::Attempt {
            let acquired = guard.acquire_limiter(&request.user, request.tokens(policy)).await;
            acquired.map_err(|failure| (failure, StopReason::RateLimited))?;
        }
        // breaker, the permit: last, so that no attempt holds the only probe while it queues
        if policy.breaker.counts == Counts::Attempt {
            guard.acquire_breaker().map_err(refused)?;
        }
        Ok(())
    }

    /// Decides and emits whether another attempt follows; returns its time.
    fn decide(&self, flight: &Flight, retry: &mut Retry, failure: &Failure) -> Option<Timestamp> {
        let mut guards = self.lock();
        let now = self.env.clock.now();
        let attempt = retry.attempts();
        let decision = retry.decide(now, flight.last_deadline(), failure, &mut guards.budget);
        let (RetryDecision::Retry { pause, .. } | RetryDecision::Stop { pause, .. }) = decision;
        if let Some(wait) = pause {
            // the server's hint applies to every later call, not only to this one
            let until = guards.limiter.pause(now, now + wait);
            self.observer.emit(None, EventKind::LimitPaused { until });
            self.emit_head(&mut guards, now);
        }
        match decision {
            RetryDecision::Retry {
                next,
                at,
                delay,
                drawn,
                hint,
                ambiguous,
                ..
            } => {
                let kind = EventKind::RetryScheduled {
                    next,
                    at,
                    delay,
                    drawn,
                    hint,
                    class: failure.class,
                    ambiguous,
                    budget: guards.budget.balance(now),
                    budget_max: guards.budget.max(now),
                };
                self.emit(flight, kind);
                Some(at)
            }
            RetryDecision::Stop { reason, .. } => {
                self.emit(flight, guards.stopped(now, attempt, reason, failure.hint));
                None
            }
        }
    }
}

#[cfg(test)]
pub(crate) mod tests;
