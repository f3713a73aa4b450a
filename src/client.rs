//! The resilient client: an async shell around the policies. It knows no screen and no channel to one.
//!
//! The layers stand in two functions, top to bottom: [`ResilientClient::call`] (admission, idempotency,
//! cache, single flight) and `Core::go` (semantic cache, deadline, retry, breaker, limiter, attempt). What a person
//! changes while it runs is in `controls`.

mod answer;
mod assemble;
mod attempt;
mod completion;
mod controls;
mod embedder;
mod env;
mod flight;
mod guards;
mod layers;
mod probe;
mod redact;
mod semantic;
mod sse;
mod stream;
mod sync;
mod transport;

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures_util::FutureExt as _;

pub use crate::semantic::embedder::{EmbedError, Embedder, Embedding, Lexical};
pub use answer::{Answer, CallError, Chunk};
pub use embedder::{EmbedderConfig, HttpEmbedder};
pub use env::Env;
pub use sse::{SseDecoder, SseItem, SseTooLong};
pub use stream::CallStream;
pub use transport::{
    ApiKey, AttemptRequest, BodyError, BodyStream, HttpConfig, HttpTransport, Response, SendError,
    SendErrorKind, Transport, TransportSetupError, host_of, is_loopback,
};

use attempt::Attempt;
use completion::{Landing, panic_text};
use flight::Flight;
use guards::Guards;
use layers::{Errand, Shared};
use semantic::Looked;
use sync::Mutex;

use crate::event::{
    CallId, EventKind, Failure, FlightId, Observer, Origin, Sample, StopReason, UpstreamHealth, UserId,
};
use crate::openai::ChatRequest;
use crate::policy::retry::{Retry, RetryDecision};
use crate::semantic::{HoldOff, Index};
use crate::settings::{Counts, Policy};
use crate::time::Timestamp;

/// Who asks, and how.
#[derive(Clone, Debug)]
pub struct CallContext {
    /// The tenant: part of every cache key.
    pub user: UserId,
    /// What made the call.
    pub origin: Origin,
    /// A deadline shorter than the policy's.
    pub deadline: Option<Duration>,
    /// Cache and share the answer although the request is not deterministic.
    pub cacheable: bool,
    /// Ask the upstream even if the answer is stored.
    pub fresh: bool,
    /// Calls with the same key and the same request have one result.
    pub idempotency_key: Option<String>,
    /// LLM tokens of the prompt, where the caller has counted them itself; estimated from the text otherwise.
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

/// A client with every guard between the caller and one upstream. Cheap to clone; clones share all state.
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

/// What all clones share.
#[derive(Debug)]
struct Core<T, O> {
    transport: T,
    observer: O,
    env: Env,
    /// The vectors of the semantic cache. Behind a lock of its own, because a search takes a millisecond; who
    /// takes both takes this one first, so nobody who holds the guards ever waits for a search.
    index: Mutex<Index>,
    guards: Mutex<Guards>,
    next_call: AtomicU64,
    next_flight: AtomicU64,
}

impl<T: Transport, O: Observer> ResilientClient<T, O> {
    /// A client under this policy.
    pub fn new(policy: Policy, transport: T, observer: O, env: Env) -> Self {
        observer.emit(
            None,
            EventKind::PolicyApplied {
                policy: Box::new(policy.clone()),
            },
        );
        let index = Index::new(policy.semantic.max_entries);
        let guards = Guards::new(policy, env.derive_seed("breaker", 0), env.clock.now());
        let core = Core {
            transport,
            observer,
            env,
            index: Mutex::new(index),
            guards: Mutex::new(guards),
            next_call: AtomicU64::new(1),
            next_flight: AtomicU64::new(1),
        };
        Self { core: Arc::new(core) }
    }

    /// With another embedder for the semantic cache than the built-in one. Its vectors are of another space: what
    /// the index holds is forgotten.
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

    /// Makes a call. It has begun when this returns, and will have exactly one end; dropping the stream
    /// cancels it. Must be called within a tokio runtime.
    ///
    /// The layers, from the outside in. The order is an argument (semantics 1.13):
    pub fn call(&self, request: &ChatRequest, context: CallContext) -> CallStream {
        // admission: the call gets its number and its deadline, and is told of
        let pending = self.core.admit(request, context);
        // one lock over the next three: a flight that lands or starts between two looks would be missed by
        // both, and the upstream asked twice
        let mut guards = self.core.lock();
        // idempotency: a completed result of the same key is given again; nothing else is even looked at
        if let Some(ended) = self.core.replay(&mut guards, &pending) {
            return ended;
        }
        // exact cache: outside every guard, so a hit costs no request, no token and no permit
        if let Some(hit) = self.core.look_up(&mut guards, request, &pending) {
            return hit;
        }
        // single flight: identical calls in the air share one upstream call
        let flight = match self.core.share(&mut guards, &pending) {
            Shared::Joined(stream) => return stream,
            Shared::Started(flight) => flight,
        };
        drop(guards);
        // which goes through the rest; first of it the semantic cache, in the flight's own task, because an
        // embedding may take a while: whoever is identical shares one, and no guard is asked for what it serves
        self.core.take_off(request, pending, flight)
    }

    /// Gives the next call this number, and counts on from there: recorded calls are asked again under their own
    /// numbers, so that they meet the same draws.
    pub(crate) fn count_calls_from(&self, call: CallId) {
        self.core.next_call.store(call.0, Ordering::Relaxed);
    }

    /// The same for the next flight.
    pub(crate) fn count_flights_from(&self, flight: FlightId) {
        self.core.next_flight.store(flight.0, Ordering::Relaxed);
    }

    /// The transport, for what is not a call: probes.
    pub fn transport(&self) -> &T {
        &self.core.transport
    }

    /// Tells what the upstream says of itself.
    pub fn note_health(&self, health: UpstreamHealth) {
        if let UpstreamHealth::Ready { models } = &health {
            self.core.lock().models = models.iter().map(ToString::to_string).collect();
        }
        self.core
            .observer
            .emit(None, EventKind::UpstreamProbed { health });
    }

    /// Flights in the air.
    pub fn flights(&self) -> usize {
        self.core.lock().flights.len()
    }

    /// What is held for calls that run; all zero when none does.
    pub fn held(&self) -> Held {
        let guards = self.core.lock();
        Held {
            flights: guards.flights.len(),
            slots: guards.limiter.in_use() as usize,
            waiters: guards.limiter.waiting() as usize,
        }
    }
}

/// See [`ResilientClient::held`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Held {
    /// Flights in the air.
    pub flights: usize,
    /// Slots of the limiter.
    pub slots: usize,
    /// Places in its queue.
    pub waiters: usize,
}

/// What stays the same over all attempts of a flight.
#[derive(Clone, Copy)]
struct Trip<'a> {
    flight: &'a Arc<Flight>,
    errand: &'a Errand,
    policy: &'a Policy,
    /// LLM tokens to reserve for each attempt.
    tokens: u64,
}

/// Why an attempt brought no answer.
enum NoAnswer {
    /// A guard turned it away: nothing was sent.
    TurnedAway(Failure, StopReason),
    /// It was sent, and failed.
    Failed(Failure),
}

impl<T: Transport, O: Observer> Core<T, O> {
    /// Runs a flight until it lands, its last subscriber leaves or the last deadline passes.
    async fn supervise(&self, flight: &Arc<Flight>, errand: &Errand) {
        let mut work = Some(Box::pin(AssertUnwindSafe(self.go(flight, errand)).catch_unwind()));
        let landing = loop {
            let Some(running) = work.as_mut() else {
                break Landing::Abandoned;
            };
            tokio::select! {
                biased;
                () = flight.abandoned.cancelled() => break Landing::Abandoned,
                () = self.env.clock.sleep_until(flight.next_deadline()) => {
                    if !self.expire(flight) {
                        break Landing::Expired;
                    }
                }
                () = flight.changed.notified() => {}
                landed = running => break match landed {
                    Ok(Some(landing)) => landing,
                    // everybody has been told
                    Ok(None) => return,
                    Err(panic) => Landing::Panicked(panic_text(panic.as_ref())),
                },
            }
        };
        // what the work holds is given back before anybody is told the end
        drop(work.take());
        self.land(flight, errand, &landing);
    }

    /// The semantic cache, and behind it the rest. Nothing if the flight came down with a stored answer.
    async fn go(&self, flight: &Arc<Flight>, errand: &Errand) -> Option<Landing> {
        let meaning = match &errand.asked {
            Some(asked) => match Box::pin(self.look_for_meaning(flight, asked)).await {
                Looked::Served => return None,
                Looked::On(meaning) => meaning,
            },
            None => None,
        };
        Some(match self.fly(flight, errand).await {
            Ok(answer) => {
                if let Some(shadow) = meaning.as_ref().and_then(|meaning| meaning.shadow.as_ref()) {
                    self.compare(flight, shadow, &answer);
                }
                Landing::Answered(answer, meaning)
            }
            Err(failure) => Landing::Failed(failure),
        })
    }

    /// The inner layers. See [`ResilientClient::call`] for the outer ones.
    async fn fly(&self, flight: &Arc<Flight>, errand: &Errand) -> Result<Answer, Failure> {
        let policy = Arc::clone(&self.lock().policy);
        let trip = Trip {
            flight,
            errand,
            policy: &policy,
            tokens: errand.prompt_tokens + errand.answer_limit.unwrap_or(policy.limit.default_answer_tokens),
        };
        // where limiter and breaker count calls, as in the exercise, they stand out here and see the call once
        let mut ride = match policy.limit.charges {
            Counts::Call => {
                let board = self.board(flight, &errand.user, trip.tokens, errand.prompt_tokens);
                Some(board.await?)
            }
            Counts::Attempt => None,
        };
        let mut pass = match policy.breaker.counts {
            Counts::Call => Some(self.pass_breaker(flight)?),
            Counts::Attempt => None,
        };
        if let Some(ride) = &mut ride {
            ride.mark_sent();
        }
        let result = self.try_and_retry(&trip).await;
        if let Some(ride) = &mut ride {
            ride.settle_result(&result);
        }
        if let Some(pass) = &mut pass {
            pass.settle_result(&result, Sample::Ok);
        }
        result
    }

    /// Retry: outside the guards of an attempt, so that each attempt is seen by them.
    async fn try_and_retry(&self, trip: &Trip<'_>) -> Result<Answer, Failure> {
        let flight = trip.flight;
        let seed = self.env.derive_seed("backoff", flight.id.0);
        // its generators are a kilobyte: thousands of calls may wait here, and few of them ever need it
        let mut retry: Option<Box<Retry>> = None;
        let mut last: Option<Failure> = None;
        loop {
            match self.guarded_attempt(trip).await {
                Ok(answer) => return Ok(answer),
                Err(NoAnswer::TurnedAway(turned_away, reason)) => {
                    // before the first attempt that is the call's end; after a failed one the failure is,
                    // because it says more
                    let Some(last) = last else { return Err(turned_away) };
                    // the one that was turned away never became an attempt
                    let attempt = flight.lock().attempts;
                    let kind = self.lock().stopped(self.env.clock.now(), attempt, reason, None);
                    self.note(flight, kind);
                    return Err(last);
                }
                Err(NoAnswer::Failed(failure)) => {
                    let retry = retry.get_or_insert_with(|| Box::new(Retry::new(&trip.policy.retry, seed)));
                    match self.decide(flight, retry, &failure) {
                        Some(at) => self.env.clock.sleep_until(at).await,
                        None => return Err(failure),
                    }
                    last = Some(failure);
                }
            }
        }
    }

    /// One attempt and the guards around it, each with the reason why it stands where it stands.
    async fn guarded_attempt(&self, trip: &Trip<'_>) -> Result<Answer, NoAnswer> {
        let Trip {
            flight,
            errand,
            policy,
            tokens,
        } = *trip;
        let refused = |failure| NoAnswer::TurnedAway(failure, StopReason::BreakerOpen);
        let limited = |failure| NoAnswer::TurnedAway(failure, StopReason::Limited);
        // breaker, first look: do not queue for an upstream that is known to be down
        if policy.breaker.counts == Counts::Attempt {
            self.check_breaker(flight).map_err(refused)?;
        }
        // limiter: every attempt is charged, or retries would break the quota just when it matters
        let mut ride = match policy.limit.charges {
            Counts::Attempt => self
                .board(flight, &errand.user, tokens, errand.prompt_tokens)
                .await
                .map_err(limited)?,
            Counts::Call => self.free_ride(flight),
        };
        // breaker, the permit: last, so that nobody queues with the only probe in hand
        let mut pass = match policy.breaker.counts {
            Counts::Attempt => self.pass_breaker(flight).map_err(refused)?,
            Counts::Call => self.free_pass(flight),
        };
        // the attempt, under its own clocks
        let started_at = self.env.clock.now();
        let Some((owner, number)) = self.begin_attempt(flight) else {
            // its task is being told, and drops this
            return std::future::pending().await;
        };
        ride.mark_sent();
        let request = errand.request(owner, number);
        if number == 1 {
            // not earlier: a call that a guard turns away earns no retries
            self.lock().budget.deposit(started_at);
        }
        let timeouts = &policy.timeouts;
        let attempt = Attempt {
            flight,
            number,
            started_at,
            prompt_tokens: errand.prompt_tokens,
            timeouts,
        };
        // in a box, so that those who wait for a guard do not keep the room of an attempt free meanwhile
        let result = Box::pin(self.attempt(&attempt, request, &mut pass)).await;

        let took = self.env.clock.now().since(started_at);
        let ttft = flight.lock().first_token_after.take().unwrap_or(took);
        let good = if ttft > policy.breaker.slow_after {
            Sample::Slow
        } else {
            Sample::Ok
        };
        pass.settle_result(&result, good);
        ride.settle_result(&result);
        result.map_err(|failure| {
            self.heed_rate_limit(&failure);
            flight.lock().last_failure = Some(failure.clone());
            NoAnswer::Failed(failure)
        })
    }

    /// Whether another attempt follows, and when; tells either way.
    fn decide(&self, flight: &Flight, retry: &mut Retry, failure: &Failure) -> Option<Timestamp> {
        let mut guards = self.lock();
        let now = self.env.clock.now();
        let attempt = retry.attempts();
        let decision = retry.decide(now, flight.last_deadline(), failure, &mut guards.budget);
        let (RetryDecision::Retry { pause, .. } | RetryDecision::Stop { pause, .. }) = decision;
        if let Some(wait) = pause {
            // the server's wish counts for everybody who comes next, not only for this call
            let until = guards.limiter.pause(now, now + wait);
            self.observer.emit(None, EventKind::LimitPaused { until });
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
                self.note(flight, kind);
                Some(at)
            }
            RetryDecision::Stop { reason, .. } => {
                self.note(flight, guards.stopped(now, attempt, reason, failure.hint));
                None
            }
        }
    }

    /// Numbers the next attempt of the flight and tells of it, in one step: counted for one call and told of
    /// another, if the owner left in between, it would be missing in the one's end. Nothing if nobody is left:
    /// the last one may leave on another thread while this one is on its way here.
    fn begin_attempt(&self, flight: &Flight) -> Option<(CallId, u32)> {
        let mut log = flight.lock();
        if flight.abandoned.is_cancelled() {
            return None;
        }
        log.attempts += 1;
        log.responded = false;
        log.overslept = false;
        let attempt = log.attempts;
        let owner = log.subscribers.first_mut().map(|owner| {
            owner.attempts += 1;
            owner.call
        });
        let flight = flight.id;
        self.observer
            .emit(owner, EventKind::AttemptStarted { attempt, flight });
        Some((owner.unwrap_or_default(), attempt))
    }
}

#[cfg(test)]
mod tests;
