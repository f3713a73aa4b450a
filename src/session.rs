//! A session in one value: clock, bus, simulator, client and engine. The program starts one; a library user gets
//! the whole stack from [`Session::start`].

pub mod bus;
pub mod engine;
mod local;
pub mod source;

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::CertificateDer;
use tokio_util::sync::CancellationToken;
use url::Url;

pub use local::LocalSession;

use crate::client::{
    Answer, ApiKey, CallContext, CallError, CallStream, Embedder, Env, ExtraHeader, HttpConfig, HttpEmbedder,
    HttpTransport, LexicalEmbedder, ResilientClient, Transport as _, TransportSetupError, host_of,
    without_secrets,
};
use crate::event::{
    CallId, Command, EventKind, FORMAT_VERSION, Observer, SimulatorPace, UpstreamHealth, UserId,
};
use crate::openai::ChatRequest;
use crate::session::bus::Bus;
use crate::session::engine::{Engine, RequestStyle, Route};
use crate::session::source::Source;
use crate::settings::{Capacity, FaultKind, FaultProfile, LatencyProfile, Policy, SettingsError};
use crate::simulator::{self, FaultControl, FaultSink, Simulator, SimulatorConfig};
use crate::state::Stats;
use crate::time::Clock;

/// The default users of a session.
pub const USERS: [&str; 4] = ["ana", "ben", "cleo", "dev"];
/// The interval between probes of an upstream that is not ready.
const PROBE_EVERY: Duration = Duration::from_secs(2);

/// A real upstream.
#[derive(Clone, Debug)]
pub struct UpstreamConfig {
    /// The base URL, read as [`HttpConfig::base`] is.
    pub url: Url,
    /// The API key.
    pub api_key: Option<ApiKey>,
    /// Further request headers.
    pub headers: Vec<ExtraHeader>,
    /// Certificates to trust in addition to those of the system: a private CA.
    pub extra_roots: Vec<CertificateDer<'static>>,
}

impl UpstreamConfig {
    /// The server at `url`, without key, further headers or certificates.
    pub fn new(url: Url) -> Self {
        Self {
            url,
            api_key: None,
            headers: Vec::new(),
            extra_roots: Vec::new(),
        }
    }
}

/// The configuration of a session. The default is the built-in simulator under the `production` policy.
#[derive(Clone, Debug)]
pub struct SessionConfig {
    /// The seed of all random draws. Default 7.
    pub seed: u64,
    /// The policy of all guards.
    pub policy: Policy,
    /// The fault profile.
    pub faults: FaultProfile,
    /// True if faults are on from the start.
    pub faults_on: bool,
    /// The latency of the simulator.
    pub latency: LatencyProfile,
    /// The capacity of the simulator; `None` is unlimited.
    pub capacity: Option<Capacity>,
    /// A real upstream; `None` is the simulator.
    pub upstream: Option<UpstreamConfig>,
    /// The API key of the embedder that the policy names.
    pub embedder_key: Option<ApiKey>,
    /// Further request headers of the embedder client.
    pub embedder_headers: Vec<ExtraHeader>,
    /// Certificates that the embedder client trusts in addition to those of the system.
    pub embedder_roots: Vec<CertificateDer<'static>>,
    /// The model of requests that name none; the server chooses if `None`.
    pub model: Option<String>,
    /// The limit of an answer, in LLM tokens: the `max_tokens` of requests without a limit of their own, for OpenAI
    /// `max_completion_tokens`. Default 256; 0 sends none, and the server chooses. Bursts and loads on the simulator ask
    /// for at most 64.
    pub answer_tokens: u32,
    /// The users that a person can send as. Default [`USERS`].
    pub users: Vec<UserId>,
    /// The prompts of bursts and loads, in turn; empty, the default, for composed ones that are all distinct.
    pub prompts: Vec<String>,
    /// Share of the prompts of bursts and loads that repeat one of the user's last 20 answered ones, 0 to 1. Default 0.4.
    pub repeat: f64,
}

impl Default for SessionConfig {
    fn default() -> Self {
        Self {
            seed: 7,
            policy: Policy::default(),
            faults: FaultProfile::default(),
            faults_on: false,
            latency: LatencyProfile::default(),
            capacity: None,
            upstream: None,
            embedder_key: None,
            embedder_headers: Vec::new(),
            embedder_roots: Vec::new(),
            model: None,
            answer_tokens: 256,
            users: USERS.iter().map(|name| UserId::new(name)).collect(),
            prompts: Vec::new(),
            repeat: 0.4,
        }
    }
}

/// An error that prevents a session from starting.
#[derive(Debug, thiserror::Error)]
pub enum SessionError {
    /// A setting of the policy is out of its bounds.
    #[error("invalid policy: {0}")]
    Policy(#[from] SettingsError),
    /// The simulator cannot listen.
    #[error(transparent)]
    Simulator(#[from] std::io::Error),
    /// A transport cannot be built.
    #[error(transparent)]
    Transport(#[from] TransportSetupError),
    /// The URL of the embedder is invalid.
    #[error("semantic.embedder = {value}: {reason}; write a URL such as http://127.0.0.1:8034, or omit it")]
    Embedder {
        /// The invalid value.
        value: String,
        /// The error of the parser.
        reason: url::ParseError,
    },
}

/// Returns the embedder of the policy. Its key is never that of the upstream.
fn embedder(session: &SessionConfig) -> Result<Arc<dyn Embedder>, SessionError> {
    let policy = &session.policy;
    let settings = &policy.semantic;
    let Some(value) = &settings.embedder else {
        return Ok(Arc::new(LexicalEmbedder));
    };
    let base = Url::parse(value).map_err(|reason| SessionError::Embedder {
        value: without_secrets(value),
        reason,
    })?;
    let config = HttpConfig {
        model: settings.model.clone(),
        api_key: session.embedder_key.clone(),
        headers: session.embedder_headers.clone(),
        extra_roots: session.embedder_roots.clone(),
        connect_timeout: policy.timeouts.connect,
        ..HttpConfig::new(base)
    };
    Ok(Arc::new(HttpEmbedder::new(&config, settings.timeout)?))
}

/// A running session. Dropping it ends its calls, probes and tasks without waiting for them;
/// [`Session::shutdown`] waits.
#[derive(Debug)]
pub struct Session {
    clock: Clock,
    env: Env,
    bus: Bus,
    simulator: Simulator,
    client: ResilientClient<Route, Bus>,
    engine: Engine<Route, Bus>,
    /// Cancelled by the drop: ends the tasks that a shutdown waits for.
    dropped: CancellationToken,
    /// Cancelled by a shutdown or the drop.
    stop_probing: CancellationToken,
}

impl Session {
    /// Starts a session. Must be called within a tokio runtime.
    ///
    /// # Errors
    /// If a setting of the policy is out of its bounds, the simulator cannot listen, or a transport cannot be built.
    pub async fn start(config: SessionConfig) -> Result<Self, SessionError> {
        let clock = Clock::start();
        Self::start_on(config, clock, Bus::new(clock)).await
    }

    /// Starts a session on a bus that reads the same clock, for subscribers that need every event from the first
    /// on.
    ///
    /// # Errors
    /// Those of [`Session::start`].
    pub async fn start_on(config: SessionConfig, clock: Clock, bus: Bus) -> Result<Self, SessionError> {
        config.policy.validate()?;
        let env = Env::new(clock, config.seed);
        let faults = FaultControl::new(config.faults.clone(), config.faults_on);
        let simulator_config = SimulatorConfig {
            seed: env.derive_seed("simulator", 0),
            port: 0,
            latency: config.latency,
            capacity: config.capacity,
            upstream: config.upstream.as_ref().map(|upstream| upstream.url.clone()),
            extra_roots: config
                .upstream
                .as_ref()
                .map(|upstream| upstream.extra_roots.clone())
                .unwrap_or_default(),
        };
        let sink: Arc<dyn FaultSink> = Arc::new(FaultReporter::new(bus.clone()));
        let simulator = Simulator::start(simulator_config, faults.clone(), sink, clock).await?;
        let route = route(&config, &simulator, &faults)?;

        bus.emit(
            None,
            EventKind::SessionStarted {
                format: FORMAT_VERSION,
                seed: config.seed,
                upstream: route.info(),
                simulator: config.upstream.is_none().then(|| {
                    Box::new(SimulatorPace {
                        latency: config.latency,
                        capacity: config.capacity,
                    })
                }),
            },
        );
        let embedder = embedder(&config)?;
        let client = ResilientClient::new(config.policy, route, bus.clone(), env.clone());
        let client = client.with_embedder(embedder);
        let style = RequestStyle {
            limit_field: limit_field(config.upstream.as_ref()),
            model: config.model,
            answer_tokens: config.answer_tokens,
            simulated: config.upstream.is_none(),
            users: config.users,
            prompts: config.prompts,
            repeat: config.repeat,
        };
        let engine = Engine::new(client.clone(), bus.clone(), env.clone(), faults, style);
        engine.emit_faults();
        let dropped = CancellationToken::new();
        let session = Self {
            clock,
            env,
            bus,
            simulator,
            client,
            engine,
            stop_probing: dropped.child_token(),
            dropped,
        };
        session.probe_until_ready();
        Ok(session)
    }

    /// Makes a call and waits for the complete answer.
    ///
    /// # Errors
    /// If there is no complete answer. A request of the wrong shape fails before anything is sent, with the name of
    /// the field: see [`ChatRequest::validate`].
    pub async fn ask(&self, request: &ChatRequest) -> Result<Answer, CallError> {
        self.call(request, CallContext::default()).finish().await
    }

    /// Starts a call, with the session's model and limit where the request has none of its own. The answer arrives
    /// as it is written if the request sets [`stream`](ChatRequest::stream), otherwise as a whole.
    pub fn call(&self, request: &ChatRequest, context: CallContext) -> CallStream {
        self.client.call(&self.engine.complete(request), context)
    }

    /// The current figures of all guards, from the state that a screen shows.
    pub fn stats(&self) -> Stats {
        self.bus.stats()
    }

    /// The current state and the events after it.
    pub fn watch(&self) -> Source {
        Source::live(&self.bus)
    }

    /// The bus.
    pub fn bus(&self) -> &Bus {
        &self.bus
    }

    /// The client.
    pub fn client(&self) -> &ResilientClient<Route, Bus> {
        &self.client
    }

    /// The engine, which executes commands.
    pub fn engine(&self) -> &Engine<Route, Bus> {
        &self.engine
    }

    /// The clock of the session.
    pub fn clock(&self) -> Clock {
        self.clock
    }

    /// The tasks, the clock and the seed of the session.
    pub fn env(&self) -> &Env {
        &self.env
    }

    /// Starts a task that [`Self::shutdown`] waits for. Dropping the session ends it.
    pub fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.spawn_until(&self.dropped, task);
    }

    fn spawn_until(&self, end: &CancellationToken, task: impl Future<Output = ()> + Send + 'static) {
        let task = end.clone().run_until_cancelled_owned(task);
        self.env.spawn(async move {
            task.await;
        });
    }

    /// Probes the upstream once and emits its health.
    pub async fn probe(&self) -> UpstreamHealth {
        let health = self.client.transport().upstream().probe().await;
        self.client.report_health(health.clone());
        health
    }

    /// Cancels all calls and waits until every call and task has ended. Later calls fail. A second shutdown, also
    /// at the same time, waits for the same end.
    pub async fn shutdown(&self) {
        self.stop();
        self.env.join().await;
        self.simulator.shutdown().await;
    }

    fn stop(&self) {
        self.stop_probing.cancel();
        self.engine.execute(Command::Shutdown);
        self.client.close();
    }

    /// Probes the upstream until it is ready, and emits every change of its health.
    fn probe_until_ready(&self) {
        let (client, clock) = (self.client.clone(), self.clock);
        self.spawn_until(&self.stop_probing, async move {
            let mut last = None;
            loop {
                let health = client.transport().upstream().probe().await;
                if last.as_ref() != Some(&health) {
                    client.report_health(health.clone());
                }
                if matches!(health, UpstreamHealth::Ready { .. }) {
                    return;
                }
                last = Some(health);
                clock.sleep(PROBE_EVERY).await;
            }
        });
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.dropped.cancel();
        self.stop();
    }
}

/// The field of the token limit for this server. OpenAI's newer models reject `max_tokens` with a 400; many other
/// servers know no other name.
fn limit_field(upstream: Option<&UpstreamConfig>) -> &'static str {
    match upstream.and_then(|upstream| upstream.url.host_str()) {
        Some(host) if host == "openai.com" || host.ends_with(".openai.com") => "max_completion_tokens",
        _ => "max_tokens",
    }
}

/// Builds the route: through the simulator, and direct if there is a real upstream.
fn route(
    config: &SessionConfig,
    simulator: &Simulator,
    faults: &FaultControl,
) -> Result<Route, SessionError> {
    let connect_timeout = config.policy.timeouts.connect;
    let base = Url::parse(&format!("http://{}", simulator.addr())).map_err(std::io::Error::other)?;
    let upstream = config.upstream.as_ref();
    // the simulator passes key and headers on, where there is a server to pass them to
    let (api_key, headers) = upstream.map_or_else(Default::default, |upstream| {
        (upstream.api_key.clone(), upstream.headers.clone())
    });
    let through_simulator = HttpTransport::new(&HttpConfig {
        model: config
            .model
            .clone()
            .or_else(|| upstream.is_none().then(|| simulator::MODEL.to_owned())),
        api_key: api_key.clone(),
        headers: headers.clone(),
        connect_timeout,
        simulated: upstream.is_none(),
        shown_host: Some(upstream.map_or_else(|| "simulator".to_owned(), |up| host_of(&up.url))),
        ..HttpConfig::new(base)
    })?;
    let direct = |upstream: &UpstreamConfig| {
        HttpTransport::new(&HttpConfig {
            model: config.model.clone(),
            api_key,
            headers,
            extra_roots: upstream.extra_roots.clone(),
            connect_timeout,
            ..HttpConfig::new(upstream.url.clone())
        })
    };
    let direct = upstream.map(direct).transpose()?;
    Ok(Route::new(through_simulator, direct, faults.clone()))
}

/// Emits an event for every fault that the simulator injects.
#[derive(Debug)]
pub(crate) struct FaultReporter<O> {
    bus: O,
}

impl<O: Observer> FaultReporter<O> {
    pub(crate) fn new(bus: O) -> Self {
        Self { bus }
    }
}

impl<O: Observer> FaultSink for FaultReporter<O> {
    fn injected(&self, call: Option<u64>, attempt: u32, fault: FaultKind) {
        self.bus
            .emit(call.map(CallId), EventKind::FaultInjected { attempt, fault });
    }
}

#[cfg(test)]
mod tests;
