//! A session without sockets: client and simulator in memory, under any clock. Where that clock is paused an hour
//! of traffic takes about a second, and the same seed gives the same events.

use std::sync::Arc;

use super::{SessionConfig, ToldFaults};
use crate::client::{Env, ResilientClient, Transport};
use crate::event::{EventKind, FORMAT_VERSION, Observer, SimulatorPace};
use crate::session::bus::Bus;
use crate::session::engine::{Engine, RequestStyle};
use crate::simulator::FaultControl;
use crate::simulator::local::LocalTransport;
use crate::time::Clock;

/// What such a session is made of. Nothing in it needs to be shut down: it ends with its tasks, see
/// [`Env::join`].
#[derive(Debug)]
pub struct LocalSession<T: Transport = LocalTransport, O: Observer = Bus> {
    /// The tasks, the clock and the seed.
    pub env: Env,
    /// Where the events go.
    pub bus: O,
    /// The faults.
    pub faults: FaultControl,
    /// The client.
    pub client: ResilientClient<T, O>,
    /// What obeys commands.
    pub engine: Engine<T, O>,
}

impl<O: Observer + Clone> LocalSession<LocalTransport, O> {
    /// Starts one on a bus, or a line, that reads the same clock. What the configuration says of a real upstream is not
    /// looked at.
    pub fn start(config: &SessionConfig, clock: Clock, bus: O) -> Self {
        let env = Env::new(clock, config.seed);
        let faults = FaultControl::new(config.faults.clone(), config.faults_on);
        let seed = env.derive_seed("simulator", 0);
        let transport = LocalTransport::new(seed, config.latency, faults.clone(), clock)
            .with_capacity(config.capacity)
            .telling(Arc::new(ToldFaults::new(bus.clone())));
        let pace = SimulatorPace {
            latency: config.latency,
            capacity: config.capacity,
        };
        Self::assemble(config, env, bus, transport, faults, Some(Box::new(pace)))
    }
}

impl<T: Transport, O: Observer + Clone> LocalSession<T, O> {
    /// Starts one before another upstream, which makes no faults of its own: that they are switched is told, and
    /// nothing more.
    pub fn before(transport: T, config: &SessionConfig, clock: Clock, bus: O) -> Self {
        let env = Env::new(clock, config.seed);
        let faults = FaultControl::new(config.faults.clone(), config.faults_on);
        Self::assemble(config, env, bus, transport, faults, None)
    }

    fn assemble(
        config: &SessionConfig,
        env: Env,
        bus: O,
        transport: T,
        faults: FaultControl,
        simulator: Option<Box<SimulatorPace>>,
    ) -> Self {
        bus.emit(
            None,
            EventKind::SessionStarted {
                format: FORMAT_VERSION,
                seed: config.seed,
                upstream: transport.info(),
                simulator,
            },
        );
        let client = ResilientClient::new(config.policy.clone(), transport, bus.clone(), env.clone());
        let style = RequestStyle {
            model: config.model.clone(),
            answer_tokens: config.answer_tokens,
            users: config.users.clone(),
        };
        let engine = Engine::new(client.clone(), bus.clone(), env.clone(), faults.clone(), style);
        engine.tell_faults();
        Self {
            env,
            bus,
            faults,
            client,
            engine,
        }
    }
}
