//! The real client in front of a captured server, and the events it emits.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use seawall::client::{ApiKey, CallContext, Env, HttpConfig, HttpTransport, ResilientClient};
use seawall::event::{CallId, EventKind, Observer};
use seawall::settings::Policy;
use seawall::time::Clock;

/// A key that matches no known pattern.
pub(crate) const KEY: &str = "canary.QuiteSecret.4711";

/// An observer that keeps every event.
#[derive(Debug, Default)]
pub(crate) struct Recorder(Mutex<Vec<(Option<CallId>, EventKind)>>);

impl Observer for Recorder {
    fn emit(&self, call: Option<CallId>, kind: EventKind) {
        self.0.lock().unwrap().push((call, kind));
    }
}

/// A client and its recorded events.
pub(crate) struct Rig {
    pub(crate) client: ResilientClient<HttpTransport, Arc<Recorder>>,
    pub(crate) env: Env,
    recorder: Arc<Recorder>,
}

impl Rig {
    /// A client of the server at `address`, without limiter, breaker or long waits.
    /// for long.
    pub(crate) fn new(address: SocketAddr, attempts: u32) -> Self {
        Self::shown_as(address, attempts, None)
    }

    /// A client whose transport reports another host, as behind our own simulator.
    pub(crate) fn through_simulator(address: SocketAddr) -> Self {
        Self::shown_as(address, 1, Some("elsewhere".into()))
    }

    fn shown_as(address: SocketAddr, attempts: u32, shown_host: Option<String>) -> Self {
        let mut policy = Policy::default();
        policy.retry.attempts = attempts;
        policy.retry.base = Duration::from_millis(1);
        policy.retry.cap = Duration::from_millis(2);
        policy.limit.enabled = false;
        policy.breaker.enabled = false;
        policy.timeouts.call = Duration::from_secs(30);
        let config = HttpConfig {
            api_key: Some(ApiKey {
                name: "SEAWALL_API_KEY".into(),
                secret: KEY.into(),
            }),
            connect_timeout: policy.timeouts.connect,
            shown_host,
            ..HttpConfig::new(format!("http://{address}").parse().unwrap())
        };
        let env = Env::new(Clock::start(), 7);
        let recorder = Arc::new(Recorder::default());
        let transport = HttpTransport::new(&config).unwrap();
        let client = ResilientClient::new(policy, transport, Arc::clone(&recorder), env.clone());
        Self {
            client,
            env,
            recorder,
        }
    }

    /// A call that bypasses the cache.
    #[expect(clippy::unused_self, reason = "reads better at the call")]
    pub(crate) fn context(&self) -> CallContext {
        CallContext {
            fresh: true,
            ..CallContext::default()
        }
    }

    fn events(&self) -> Vec<(Option<CallId>, EventKind)> {
        self.recorder.0.lock().unwrap().clone()
    }

    /// The number of events of a kind.
    pub(crate) fn find(&self, is: impl Fn(&EventKind) -> bool) -> usize {
        self.events().iter().filter(|(_, kind)| is(kind)).count()
    }

    /// The failure of the last call as text.
    pub(crate) fn last_message(&self) -> String {
        let events = self.events();
        let last = events.iter().rev().find_map(|(_, kind)| match kind {
            EventKind::CallEnded { failure, .. } => failure.as_ref().map(ToString::to_string),
            _ => None,
        });
        last.unwrap_or_default()
    }

    /// Checks that nothing runs, and each call and attempt has one end.
    pub(crate) fn assert_at_rest(&self) {
        assert_eq!((self.client.held().flights, self.env.running_tasks()), (0, 0));
        let began = self.find(|kind| matches!(kind, EventKind::CallStarted { .. }));
        assert_eq!(
            self.find(|kind| matches!(kind, EventKind::CallEnded { .. })),
            began
        );
        let sent = self.find(|kind| matches!(kind, EventKind::AttemptStarted { .. }));
        assert_eq!(
            self.find(|kind| matches!(kind, EventKind::AttemptEnded { .. })),
            sent
        );
    }

    /// Asserts that the key is in no event in any encoding.
    pub(crate) fn assert_key_unseen(&self) {
        for (_, kind) in self.events() {
            let written = serde_json::to_string(&kind).unwrap();
            assert!(!written.contains("QuiteSecret"), "{written}");
        }
        assert!(!format!("{:?}", self.client).contains("QuiteSecret"));
    }
}
