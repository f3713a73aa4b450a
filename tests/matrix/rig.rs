//! The real client in front of a misbehaving upstream, and the events it emits.

use std::collections::VecDeque;
use std::future::Future;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use futures_util::{StreamExt as _, stream};
use http::{HeaderMap, HeaderValue, header};
use rustls::pki_types::CertificateDer;
use seawall::check::Checker;
use seawall::client::{
    ApiKey, AttemptRequest, CallContext, CallStream, Env, Held, HttpConfig, HttpTransport, ResilientClient,
    Response, SendError, SendErrorKind, Transport,
};
use seawall::event::{CallId, Event, EventKind, Observer, UpstreamInfo};
use seawall::openai::ChatRequest;
use seawall::settings::{Jitter, Policy};
use seawall::time::Clock;
use tokio::sync::Notify;

/// A key that matches no known pattern.
pub(crate) const KEY: &str = "canary.QuiteSecret.4711";

/// The longest wait for something that must happen on a busy machine. Shorter than any timeout of [`quick`].
const PATIENCE: Duration = Duration::from_secs(25);

/// Waits for something that must happen.
pub(crate) async fn patiently<R>(what: &str, future: impl Future<Output = R>) -> R {
    let waited = tokio::time::timeout(PATIENCE, future).await;
    waited.unwrap_or_else(|_| panic!("waited in vain for {what}"))
}

/// A policy with tiny backoffs and timeouts that cannot expire by themselves.
pub(crate) fn quick() -> Policy {
    let mut policy = Policy::default();
    policy.retry.base = Duration::from_millis(1);
    policy.retry.cap = Duration::from_millis(2);
    policy.retry.jitter = Jitter::None;
    policy.retry.budget_ratio = 10.0;
    policy.timeouts.call = Duration::from_mins(1);
    policy.timeouts.connect = Duration::from_secs(30);
    policy.timeouts.headers = Duration::from_secs(30);
    policy.timeouts.byte_idle = Duration::from_secs(30);
    policy.timeouts.event_idle = Duration::from_secs(30);
    policy
}

/// A request with a cacheable answer.
pub(crate) fn prompt() -> ChatRequest {
    ChatRequest::prompt("Tell me about the sea")
        .temperature(0.0)
        .with("stream", true)
}

/// An observer that keeps every event.
#[derive(Debug)]
pub(crate) struct Recorder {
    clock: Clock,
    events: Mutex<Vec<Event>>,
    changed: Notify,
}

impl Observer for Recorder {
    fn emit(&self, call: Option<CallId>, kind: EventKind) {
        let mut events = self.events.lock().unwrap();
        let seq = events.len() as u64;
        let at = self.clock.now();
        events.push(Event { seq, at, call, kind });
        drop(events);
        self.changed.notify_waiters();
    }
}

/// A client and its recorded events.
pub(crate) struct Rig<T: Transport = HttpTransport> {
    pub(crate) client: ResilientClient<T, Arc<Recorder>>,
    pub(crate) env: Env,
    recorder: Arc<Recorder>,
    policy: Policy,
}

impl Rig<HttpTransport> {
    /// A client of the server at `url`.
    pub(crate) fn new(url: &str, policy: Policy) -> Self {
        Self::trusting(url, Vec::new(), policy)
    }

    /// A client that trusts additional certificates.
    pub(crate) fn trusting(url: &str, extra_roots: Vec<CertificateDer<'static>>, policy: Policy) -> Self {
        let config = HttpConfig {
            api_key: Some(ApiKey {
                name: "SEAWALL_API_KEY".into(),
                secret: KEY.into(),
            }),
            extra_roots,
            connect_timeout: policy.timeouts.connect,
            ..HttpConfig::new(url.parse().unwrap())
        };
        Self::over(HttpTransport::new(&config).unwrap(), policy)
    }
}

impl<T: Transport> Rig<T> {
    pub(crate) fn over(transport: T, policy: Policy) -> Self {
        let env = Env::new(Clock::start(), 7);
        let recorder = Arc::new(Recorder {
            clock: env.clock,
            events: Mutex::default(),
            changed: Notify::new(),
        });
        let client = ResilientClient::new(policy.clone(), transport, Arc::clone(&recorder), env.clone());
        Self {
            client,
            env,
            recorder,
            policy,
        }
    }

    /// Makes the call of most rows.
    pub(crate) fn call(&self) -> CallStream {
        self.client.call(&prompt(), CallContext::default())
    }

    /// Makes a call with another prompt.
    pub(crate) fn other_call(&self, text: &str) -> CallStream {
        let request = ChatRequest::prompt(text).temperature(0.0);
        self.client.call(&request, CallContext::default())
    }

    pub(crate) fn events(&self) -> Vec<Event> {
        self.recorder.events.lock().unwrap().clone()
    }

    pub(crate) fn count(&self, is: impl Fn(&EventKind) -> bool) -> usize {
        let events = self.recorder.events.lock().unwrap();
        events.iter().filter(|event| is(&event.kind)).count()
    }

    /// Waits until `count` events of a kind were emitted.
    pub(crate) async fn until(&self, what: &str, count: usize, is: impl Fn(&EventKind) -> bool) {
        let wait = async {
            loop {
                let changed = self.recorder.changed.notified();
                tokio::pin!(changed);
                changed.as_mut().enable();
                if self.count(&is) >= count {
                    return;
                }
                changed.await;
            }
        };
        patiently(what, wait).await;
    }

    /// Checks that nothing runs or is held, every event is printable, the key is in no event, and every invariant
    /// holds. No call may follow.
    pub(crate) async fn rest(&self) -> Vec<Event> {
        patiently("the end of all tasks", self.env.join()).await;
        assert_eq!(
            (self.client.held(), self.env.running_tasks()),
            (Held::default(), 0)
        );
        let events = self.events();
        for event in &events {
            let written = serde_json::to_value(event).unwrap();
            assert_printable(&written);
            assert!(!written.to_string().contains("QuiteSecret"), "{written}");
        }
        let mut checker = Checker::new(&self.policy).in_real_time();
        for event in &events {
            checker.apply(event).unwrap();
        }
        checker.finish(true).unwrap();
        events
    }

    /// Emits an event that belongs to no call.
    pub(crate) fn emit(&self, kind: EventKind) {
        self.recorder.emit(None, kind);
    }
}

/// Asserts that no text in `value` can control a terminal.
fn assert_printable(value: &serde_json::Value) {
    use serde_json::Value;
    match value {
        Value::String(text) => {
            let bad = |c: char| {
                c.is_control() && c != '\n'
                    || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{200e}' | '\u{200f}')
            };
            assert!(!text.contains(bad), "{text:?}");
        }
        Value::Array(values) => values.iter().for_each(assert_printable),
        Value::Object(fields) => fields.values().for_each(assert_printable),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// The behaviour of [`Fake`] for one attempt.
#[derive(Clone, Debug)]
pub(crate) enum Act {
    /// Never answers.
    Hang,
    /// Panics with this message: a bug in the transport.
    Panic(&'static str),
    /// Fails to connect.
    Fail(SendErrorKind),
    /// Streams these pieces.
    Stream(Vec<Bytes>),
}

/// A transport for faults that no socket can produce on demand: a bug, a resolver failure, a jump of time. Performs each
/// act once and repeats the last one.
#[derive(Clone, Debug)]
pub(crate) struct Fake(Arc<Mutex<VecDeque<Act>>>);

impl Fake {
    pub(crate) fn new(acts: impl IntoIterator<Item = Act>) -> Self {
        Self(Arc::new(Mutex::new(acts.into_iter().collect())))
    }

    fn next(&self) -> Act {
        let mut acts = self.0.lock().unwrap();
        if acts.len() > 1 {
            acts.pop_front().unwrap()
        } else {
            acts.front().unwrap().clone()
        }
    }
}

impl Transport for Fake {
    async fn send(&self, _: AttemptRequest) -> Result<Response, SendError> {
        match self.next() {
            Act::Hang => std::future::pending().await,
            Act::Panic(said) => panic!("{said}"),
            Act::Fail(kind) => Err(SendError {
                kind,
                detail: "as asked for".into(),
            }),
            Act::Stream(parts) => {
                let kind = HeaderValue::from_static("text/event-stream");
                Ok(Response {
                    status: 200,
                    headers: HeaderMap::from_iter([(header::CONTENT_TYPE, kind)]),
                    body: stream::iter(parts.into_iter().map(Ok)).boxed(),
                })
            }
        }
    }

    fn keys(&self) -> &[ApiKey] {
        &[]
    }

    fn info(&self) -> UpstreamInfo {
        UpstreamInfo {
            host: "fake".into(),
            model: None,
            simulated: true,
            loopback: true,
        }
    }
}
