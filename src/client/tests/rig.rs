//! A client, its scripted upstream and its events.

use std::sync::Arc;
use std::time::Duration;

use super::script::{ScriptedTransport, Step};
use crate::check::Checker;
use crate::client::sync::Mutex;
use crate::client::{Answer, CallContext, CallError, CallStream, Env, ResilientClient};
use crate::event::{CallId, Event, EventKind, Fate, Observer};
use crate::openai::ChatRequest;
use crate::settings::{Jitter, Policy};
use crate::time::{Clock, Timestamp};

/// An observer that records every event.
#[derive(Debug)]
pub(crate) struct Recorder {
    clock: Clock,
    events: Mutex<Vec<Event>>,
}

impl Observer for Recorder {
    fn emit(&self, call: Option<CallId>, kind: EventKind) {
        let mut events = self.events.lock().unwrap();
        let seq = events.len() as u64;
        let at = self.clock.now();
        events.push(Event { seq, at, call, kind });
    }
}

/// See the module documentation.
pub(crate) struct Rig {
    pub(crate) client: ResilientClient<ScriptedTransport, Arc<Recorder>>,
    pub(crate) env: Env,
    pub(crate) upstream: ScriptedTransport,
    recorder: Arc<Recorder>,
    pub(crate) policy: Policy,
}

/// A policy without jitter, so that tests can name instants.
pub(crate) fn steady() -> Policy {
    let mut policy = Policy::default();
    policy.retry.jitter = Jitter::None;
    policy.breaker.open_jitter = 0.0;
    policy
}

/// A deterministic request, whose answer may be stored and shared.
pub(crate) fn cold(prompt: &str) -> ChatRequest {
    ChatRequest::prompt(prompt).temperature(0.0)
}

/// A request whose answer is not reused.
pub(crate) fn warm(prompt: &str) -> ChatRequest {
    ChatRequest::prompt(prompt)
}

pub(crate) fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

pub(crate) fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// Runs every task as far as it can go now. No time passes, because a busy runtime does not skip ahead.
pub(crate) async fn tick() {
    for _ in 0..32 {
        tokio::task::yield_now().await;
    }
}

impl Rig {
    pub(crate) fn new(policy: Policy) -> Self {
        Self::seeded(policy, 7)
    }

    pub(crate) fn seeded(policy: Policy, seed: u64) -> Self {
        let env = Env::new(Clock::start(), seed);
        let recorder = Arc::new(Recorder {
            clock: env.clock,
            events: Mutex::default(),
        });
        let upstream = ScriptedTransport::new(env.clock);
        let client = ResilientClient::new(
            policy.clone(),
            upstream.clone(),
            Arc::clone(&recorder),
            env.clone(),
        );
        Self {
            client,
            env,
            upstream,
            recorder,
            policy,
        }
    }

    /// A rig with the steady policy and this script.
    pub(crate) fn scripted(steps: impl IntoIterator<Item = Step>) -> Self {
        let rig = Self::new(steady());
        rig.upstream.push(steps);
        rig
    }

    pub(crate) fn call(&self, request: &ChatRequest) -> CallStream {
        self.client.call(request, CallContext::default())
    }

    /// A call with a deadline of its own.
    pub(crate) fn call_within(&self, request: &ChatRequest, deadline: Duration) -> CallStream {
        let context = CallContext {
            deadline: Some(deadline),
            ..CallContext::default()
        };
        self.client.call(request, context)
    }

    pub(crate) fn keyed(&self, request: &ChatRequest, key: &str) -> CallStream {
        let context = CallContext {
            idempotency_key: Some(key.into()),
            ..CallContext::default()
        };
        self.client.call(request, context)
    }

    pub(crate) async fn ask(&self, request: &ChatRequest) -> Result<Answer, CallError> {
        self.call(request).finish().await
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.env.clock.now()
    }

    /// Milliseconds since the start.
    pub(crate) fn millis(&self) -> u64 {
        self.now().0 / 1_000_000
    }

    pub(crate) async fn sleep(&self, duration: Duration) {
        self.env.clock.sleep(duration).await;
    }

    pub(crate) fn events(&self) -> Vec<Event> {
        self.recorder.events.lock().unwrap().clone()
    }

    /// The results of `pick` over all events, in order.
    pub(crate) fn find<R>(&self, pick: impl Fn(&Event) -> Option<R>) -> Vec<R> {
        self.events().iter().filter_map(pick).collect()
    }

    /// The start of each attempt, in seconds.
    pub(crate) fn attempt_times(&self) -> Vec<f64> {
        self.find(|event| {
            matches!(event.kind, EventKind::AttemptStarted { .. }).then(|| event.at.as_secs_f64())
        })
    }

    /// The fates of all calls, in the order of their ids.
    pub(crate) fn fates(&self) -> Vec<Fate> {
        let mut fates = self.find(|event| match event.kind {
            EventKind::CallEnded { fate, .. } => Some((event.call, fate)),
            _ => None,
        });
        fates.sort();
        fates.into_iter().map(|(_, fate)| fate).collect()
    }

    /// The end of a test: all resources are released at once, and the events are a legal session.
    pub(crate) async fn done(&self) {
        let now = self.now();
        tick().await;
        assert_eq!(self.now(), now, "no time passes while resources are released");
        self.nothing_is_left(Checker::new(&self.policy));
    }

    /// The same where time passes on its own.
    pub(crate) async fn done_in_real_time(&self) {
        self.env.join().await;
        self.nothing_is_left(Checker::new(&self.policy).in_real_time());
    }

    /// Asserts that all resources are released and that the checker accepts the events.
    pub(crate) fn nothing_is_left(&self, mut checker: Checker) {
        assert_eq!(self.env.running_tasks(), 0, "tasks");
        assert_eq!(self.client.held().flights, 0, "flights");
        assert_eq!(self.upstream.open(), 0, "open exchanges");
        let guards = self.client.core.lock();
        assert_eq!(guards.limiter.in_use(), 0, "slots");
        assert_eq!(guards.limiter.waiting(), 0, "waiters");
        drop(guards);
        let events = self.events();
        let begun = |event: &&Event| matches!(event.kind, EventKind::AttemptStarted { .. });
        let emitted = events.iter().filter(begun).count();
        assert_eq!(
            emitted,
            self.upstream.sent().len(),
            "attempts emitted and attempts sent"
        );
        for event in &events {
            checker
                .apply(event)
                .unwrap_or_else(|violation| panic!("{violation}"));
        }
        checker
            .finish(true)
            .unwrap_or_else(|violation| panic!("{violation}"));
    }
}
