//! A session without sockets: client and simulator in memory, under any clock. Under a paused clock an hour of
//! traffic takes about a second, and the same seed gives the same events.

use std::sync::Arc;

use super::{FaultReporter, SessionConfig};
use crate::client::{Env, ResilientClient, Transport};
use crate::event::{EventKind, FORMAT_VERSION, Observer, SimulatorPace};
use crate::session::bus::Bus;
use crate::session::engine::{Engine, RequestStyle};
use crate::simulator::FaultControl;
use crate::simulator::LocalTransport;
use crate::time::Clock;

/// A session in memory. It needs no shutdown: it ends with its tasks, see [`Env::join`].
#[derive(Debug)]
pub struct LocalSession<T: Transport = LocalTransport, O: Observer = Bus> {
    /// The tasks, the clock and the seed.
    pub env: Env,
    /// The observer of all events.
    pub bus: O,
    /// The control of faults.
    pub faults: FaultControl,
    /// The client.
    pub client: ResilientClient<T, O>,
    /// The engine.
    pub engine: Engine<T, O>,
}

impl<O: Observer + Clone> LocalSession<LocalTransport, O> {
    /// Starts a session on a bus or sink that reads the same clock. Ignores the real upstream of the
    /// configuration.
    pub fn start(config: &SessionConfig, clock: Clock, bus: O) -> Self {
        let env = Env::new(clock, config.seed);
        let faults = FaultControl::new(config.faults.clone(), config.faults_on);
        let seed = env.derive_seed("simulator", 0);
        let transport = LocalTransport::new(seed, config.latency, faults.clone(), clock)
            .with_capacity(config.capacity)
            .with_sink(Arc::new(FaultReporter::new(bus.clone())));
        let pace = SimulatorPace {
            latency: config.latency,
            capacity: config.capacity,
        };
        Self::assemble(config, env, bus, transport, faults, Some(Box::new(pace)))
    }
}

impl<T: Transport, O: Observer + Clone> LocalSession<T, O> {
    /// Starts a session with another transport. Switching faults emits events and has no other effect.
    pub fn with_transport(transport: T, config: &SessionConfig, clock: Clock, bus: O) -> Self {
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
            simulated: true,
            limit_field: "max_tokens",
            users: config.users.clone(),
            prompts: config.prompts.clone(),
            repeat: config.repeat,
        };
        let engine = Engine::new(client.clone(), bus.clone(), env.clone(), faults.clone(), style);
        engine.emit_faults();
        Self {
            env,
            bus,
            faults,
            client,
            engine,
        }
    }
}
