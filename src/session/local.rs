//! A session without sockets: client and simulator in memory, under any clock. Where that clock is paused an hour
//! of traffic takes about a second, and the same seed gives the same events.

use std::sync::Arc;

use super::{SessionConfig, ToldFaults};
use crate::bus::Bus;
use crate::client::{Env, ResilientClient, Transport as _};
use crate::engine::{Engine, RequestStyle};
use crate::event::{EventKind, FORMAT_VERSION, Observer as _, SimulatorPace};
use crate::simulator::FaultControl;
use crate::simulator::local::LocalTransport;
use crate::time::Clock;

/// What such a session is made of. Nothing in it needs to be shut down: it ends with its tasks, see
/// [`Env::join`].
#[derive(Debug)]
pub struct LocalSession {
    /// The tasks, the clock and the seed.
    pub env: Env,
    /// Where the events go.
    pub bus: Bus,
    /// The faults.
    pub faults: FaultControl,
    /// The client.
    pub client: ResilientClient<LocalTransport, Bus>,
    /// What obeys commands.
    pub engine: Engine<LocalTransport, Bus>,
}

impl LocalSession {
    /// Starts one on a bus that reads the same clock. What the configuration says of a real upstream is not
    /// looked at.
    pub fn start(config: &SessionConfig, clock: Clock, bus: Bus) -> Self {
        let env = Env::new(clock, config.seed);
        let faults = FaultControl::new(config.faults.clone(), config.faults_on);
        let seed = env.derive_seed("simulator", 0);
        let transport = LocalTransport::new(seed, config.latency, faults.clone(), clock)
            .with_capacity(config.capacity)
            .telling(Arc::new(ToldFaults::new(bus.clone())));
        bus.record(
            None,
            EventKind::SessionStarted {
                format: FORMAT_VERSION,
                seed: config.seed,
                upstream: transport.info(),
                simulator: Some(Box::new(SimulatorPace {
                    latency: config.latency,
                    capacity: config.capacity,
                })),
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
