//! A whole session in one value: clock, bus, simulator, client, engine. What the program starts, and the
//! short way into the library.

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
    Answer, ApiKey, CallContext, CallError, CallStream, Embedder, EmbedderConfig, Env, HttpConfig,
    HttpEmbedder, HttpTransport, Lexical, ResilientClient, Transport as _, TransportSetupError, host_of,
};
use crate::event::{CallId, EventKind, FORMAT_VERSION, Observer, SimulatorPace, UpstreamHealth, UserId};
use crate::openai::ChatRequest;
use crate::session::bus::Bus;
use crate::session::engine::{Engine, RequestStyle, Route};
use crate::session::source::Source;
use crate::settings::{Capacity, FaultKind, FaultProfile, LatencyProfile, Policy};
use crate::simulator::{self, FaultControl, FaultSink, Simulator, SimulatorConfig};
use crate::state::Stats;
use crate::time::Clock;

/// Who asks in a session where nobody says otherwise.
pub const USERS: [&str; 4] = ["ana", "ben", "cleo", "dev"];
/// Between two questions to an upstream that is not ready.
const PROBE_EVERY: Duration = Duration::from_secs(2);

/// A real upstream.
#[derive(Clone, Debug)]
pub struct UpstreamConfig {
    /// Its base URL.
    pub url: Url,
    /// Its key.
    pub api_key: Option<ApiKey>,
    /// Trusted beside what the system trusts: a private CA.
    pub extra_roots: Vec<CertificateDer<'static>>,
}

/// How to start a session. The default is the built-in simulator under the `production` policy.
#[derive(Clone, Debug)]
pub struct SessionConfig {
    /// The seed of everything random.
    pub seed: u64,
    /// The settings of all guards.
    pub policy: Policy,
    /// The faults that can be switched on.
    pub faults: FaultProfile,
    /// Whether they are on from the start.
    pub faults_on: bool,
    /// How fast the simulator answers.
    pub latency: LatencyProfile,
    /// How much the simulator does at a time; without bounds where absent.
    pub capacity: Option<Capacity>,
    /// A real upstream; the simulator answers where there is none.
    pub upstream: Option<UpstreamConfig>,
    /// The key of the embeddings API that the policy names.
    pub embedder_key: Option<ApiKey>,
    /// Trusted by its client beside what the system trusts.
    pub embedder_roots: Vec<CertificateDer<'static>>,
    /// The model to ask for.
    pub model: Option<String>,
    /// The most an answer may have, in LLM tokens.
    pub answer_tokens: u32,
    /// Who can ask.
    pub users: Vec<UserId>,
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
            embedder_roots: Vec::new(),
            model: None,
            answer_tokens: 256,
            users: USERS.iter().map(|name| UserId::new(name)).collect(),
        }
    }
}

/// Why a session cannot start.
#[derive(Debug, thiserror::Error)]
pub enum SessionError {
    /// The simulator has no port to listen on.
    #[error(transparent)]
    Simulator(#[from] std::io::Error),
    /// The transport, or the embedder's, cannot be built.
    #[error(transparent)]
    Transport(#[from] TransportSetupError),
    /// The embedder's URL is none.
    #[error(
        "semantic.embedder = {value}: {reason}; write something like http://127.0.0.1:8034, or leave it out"
    )]
    Embedder {
        /// What it says.
        value: String,
        /// What is wrong with it.
        reason: url::ParseError,
    },
}

/// The embedder that the settings ask for. Its key is not that of the upstream.
fn embedder(session: &SessionConfig) -> Result<Arc<dyn Embedder>, SessionError> {
    let policy = &session.policy;
    let settings = &policy.semantic;
    let Some(value) = &settings.embedder else {
        return Ok(Arc::new(Lexical));
    };
    let base = Url::parse(value).map_err(|reason| SessionError::Embedder {
        value: value.clone(),
        reason,
    })?;
    let config = EmbedderConfig {
        base,
        model: settings.model.clone(),
        api_key: session.embedder_key.clone(),
        extra_roots: session.embedder_roots.clone(),
        connect_timeout: policy.timeouts.connect,
        timeout: settings.timeout,
    };
    Ok(Arc::new(HttpEmbedder::new(&config)?))
}

/// A running session.
#[derive(Debug)]
pub struct Session {
    clock: Clock,
    env: Env,
    bus: Bus,
    simulator: Simulator,
    client: ResilientClient<Route, Bus>,
    engine: Engine<Route, Bus>,
    stop_probing: CancellationToken,
}

impl Session {
    /// Starts a session. Needs a tokio runtime.
    pub async fn start(config: SessionConfig) -> Result<Self, SessionError> {
        let clock = Clock::start();
        Self::start_on(config, clock, Bus::new(clock)).await
    }

    /// Starts a session whose events go to this bus, which reads the same clock: for whoever must hear all of
    /// them, from the first.
    pub async fn start_on(config: SessionConfig, clock: Clock, bus: Bus) -> Result<Self, SessionError> {
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
        let sink: Arc<dyn FaultSink> = Arc::new(ToldFaults::new(bus.clone()));
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
            model: config.model,
            answer_tokens: config.answer_tokens,
            users: config.users,
        };
        let engine = Engine::new(client.clone(), bus.clone(), env.clone(), faults, style);
        engine.tell_faults();
        let session = Self {
            clock,
            env,
            bus,
            simulator,
            client,
            engine,
            stop_probing: CancellationToken::new(),
        };
        session.probe_until_ready();
        Ok(session)
    }

    /// Makes a call and waits for its whole answer.
    pub async fn ask(&self, request: &ChatRequest) -> Result<Answer, CallError> {
        self.call(request, CallContext::default()).finish().await
    }

    /// Makes a call and reads its answer as it comes.
    pub fn call(&self, request: &ChatRequest, context: CallContext) -> CallStream {
        self.client.call(request, context)
    }

    /// The guards in numbers, from the same state that a screen shows.
    pub fn stats(&self) -> Stats {
        self.bus.stats()
    }

    /// The events so far as a state, and all that follow.
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

    /// What obeys commands.
    pub fn engine(&self) -> &Engine<Route, Bus> {
        &self.engine
    }

    /// The session's clock.
    pub fn clock(&self) -> Clock {
        self.clock
    }

    /// The tasks of the session, and its seed.
    pub fn env(&self) -> &Env {
        &self.env
    }

    /// Starts a task that [`Self::shutdown`] waits for.
    pub fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.env.spawn(task);
    }

    /// Asks the upstream once how it is, and tells.
    pub async fn probe(&self) -> UpstreamHealth {
        let health = self.client.transport().upstream().probe().await;
        self.client.note_health(health.clone());
        health
    }

    /// Stops everything and waits until it has stopped. Every call has its end then.
    pub async fn shutdown(self) {
        self.stop_probing.cancel();
        self.engine.obey(crate::event::Command::Shutdown);
        self.env.join().await;
        self.simulator.shutdown().await;
    }

    /// Asks the upstream how it is until it is ready, and tells of every change.
    fn probe_until_ready(&self) {
        let (client, clock, stop) = (self.client.clone(), self.clock, self.stop_probing.clone());
        self.env.spawn(async move {
            let mut last = None;
            loop {
                let health = tokio::select! {
                    biased;
                    () = stop.cancelled() => return,
                    health = client.transport().upstream().probe() => health,
                };
                if last.as_ref() != Some(&health) {
                    client.note_health(health.clone());
                }
                if matches!(health, UpstreamHealth::Ready { .. }) {
                    return;
                }
                last = Some(health);
                tokio::select! {
                    biased;
                    () = stop.cancelled() => return,
                    () = clock.sleep(PROBE_EVERY) => {}
                }
            }
        });
    }
}

/// The ways to the upstream: always one through the simulator, and a straight one where it is not the end.
fn route(
    config: &SessionConfig,
    simulator: &Simulator,
    faults: &FaultControl,
) -> Result<Route, SessionError> {
    let connect_timeout = config.policy.timeouts.connect;
    let api_key = config
        .upstream
        .as_ref()
        .and_then(|upstream| upstream.api_key.clone());
    let base = Url::parse(&format!("http://{}", simulator.addr())).map_err(std::io::Error::other)?;
    let shown_host = config
        .upstream
        .as_ref()
        .map_or_else(|| "simulator".to_owned(), |up| host_of(&up.url));
    let through_simulator = HttpTransport::new(&HttpConfig {
        base,
        model: config
            .model
            .clone()
            .or_else(|| config.upstream.is_none().then(|| simulator::MODEL.to_owned())),
        api_key: api_key.clone(),
        extra_roots: Vec::new(),
        connect_timeout,
        simulated: config.upstream.is_none(),
        shown_host: Some(shown_host),
    })?;
    let direct = match &config.upstream {
        Some(upstream) => Some(HttpTransport::new(&HttpConfig {
            base: upstream.url.clone(),
            model: config.model.clone(),
            api_key,
            extra_roots: upstream.extra_roots.clone(),
            connect_timeout,
            simulated: false,
            shown_host: None,
        })?),
        None => None,
    };
    Ok(Route::new(through_simulator, direct, faults.clone()))
}

/// Tells of faults the simulator made.
#[derive(Debug)]
pub(crate) struct ToldFaults<O> {
    bus: O,
}

impl<O: Observer> ToldFaults<O> {
    pub(crate) fn new(bus: O) -> Self {
        Self { bus }
    }
}

impl<O: Observer> FaultSink for ToldFaults<O> {
    fn injected(&self, call: Option<u64>, attempt: u32, fault: FaultKind) {
        self.bus
            .emit(call.map(CallId), EventKind::FaultInjected { attempt, fault });
    }
}
