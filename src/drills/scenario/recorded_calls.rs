//! Recorded calls, made again: each at its time and under its number, so that it meets the draws it met.
//!
//! The calls of one origin are made by one player, as the callers of a scenario are. What happens in the same
//! millisecond happens in the order of virtual time's timers, which need not be the recorded one: where an answer
//! and an identical call come together, a hit may become a shared flight.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::Scene;
use super::runner::Stage;
use super::script::{Person, PolicyChoice, Scenario, UpstreamScript};
use crate::client::Transport;
use crate::drills::recorded::{Answerer, Deed, Traffic, TrafficError};
use crate::event::{Command, EventKind, Observer, Origin};
use crate::settings::{FaultProfile, Policy};
use crate::time::Timestamp;

impl Scene {
    /// Recorded calls under a policy. With the traffic's own seed the simulator draws as it drew then.
    pub fn of_traffic(
        name: &str,
        traffic: Arc<Traffic>,
        policy: Policy,
        seed: u64,
    ) -> Result<Self, TrafficError> {
        let mut upstream = UpstreamScript::default();
        if let Answerer::Simulator(pace) = traffic.answerer()? {
            (upstream.latency, upstream.capacity) = (pace.latency, pace.capacity);
        }
        let last = traffic.calls().last().map_or(Timestamp::ZERO, |call| call.at);
        let scenario = Scenario {
            name: name.to_owned(),
            about: "recorded traffic".to_owned(),
            seed,
            duration: traffic.until().max(last).since(Timestamp::ZERO),
            policy: PolicyChoice::default(),
            callers: Vec::new(),
            person: Person::default(),
            upstream,
            commands: Vec::new(),
            expectations: Vec::new(),
        };
        Ok(Self {
            scenario,
            policy,
            seed,
            phases: Vec::new(),
            policies: Vec::new(),
            watch: None,
            recorded: Some(traffic),
        })
    }
}

/// So many calls at one moment are made before others get their turn.
const CALLS_AT_ONCE: u32 = 32;

/// Sets the players going.
pub(super) fn play<T: Transport, O: Observer + Clone>(traffic: &Arc<Traffic>, stage: &Stage<T, O>) {
    if let Some(flight) = traffic.first_flight() {
        stage.client.set_next_flight(flight);
    }
    let mut parts: BTreeMap<u64, Vec<usize>> = BTreeMap::new();
    for (place, call) in traffic.calls().iter().enumerate() {
        let part = match call.origin {
            Origin::Chat => 0,
            Origin::Burst { burst } => burst,
            Origin::Library => u64::MAX,
        };
        parts.entry(part).or_default().push(place);
    }
    for part in parts.into_values() {
        stage
            .players
            .spawn(call_again(part, Arc::clone(traffic), stage.clone()));
    }
    stage.players.spawn(fall_ill(Arc::clone(traffic), stage.clone()));
    stage.players.spawn(act(Arc::clone(traffic), stage.clone()));
}

/// Makes the calls at these places.
async fn call_again<T: Transport, O: Observer + Clone>(
    places: Vec<usize>,
    traffic: Arc<Traffic>,
    stage: Stage<T, O>,
) {
    let clock = stage.players.clock;
    let mut at_once = 0;
    for call in places.into_iter().filter_map(|place| traffic.calls().get(place)) {
        if clock.now() < call.at {
            clock.sleep_until(call.at).await;
            at_once = 0;
        }
        stage.client.set_next_call(call.call);
        let stream = stage.client.call(&call.again(), call.context());
        let leaves_at = call.left_at().unwrap_or(Timestamp::MAX);
        stage.players.spawn(async move {
            tokio::select! {
                biased;
                ended = stream.finish() => drop(ended),
                () = clock.sleep_until(leaves_at) => {}
            }
        });
        at_once += 1;
        if at_once % CALLS_AT_ONCE == 0 {
            tokio::task::yield_now().await;
        }
    }
}

/// Switches faults as they were switched.
async fn fall_ill<T: Transport, O: Observer + Clone>(traffic: Arc<Traffic>, stage: Stage<T, O>) {
    let clock = stage.players.clock;
    let (mut on, mut profile) = (false, Arc::new(FaultProfile::default()));
    for faults in traffic.faults() {
        clock.sleep_until(faults.at).await;
        if faults.profile != profile {
            profile = Arc::clone(&faults.profile);
            let profile = Box::new(profile.as_ref().clone());
            stage.engine.execute(Command::SetFaultProfile { profile });
        }
        if faults.on != on {
            on = faults.on;
            stage.engine.execute(Command::SetFaults { on });
        }
    }
}

/// Does again what was done to the machines.
async fn act<T: Transport, O: Observer + Clone>(traffic: Arc<Traffic>, stage: Stage<T, O>) {
    let clock = stage.players.clock;
    for (at, deed) in traffic.deeds() {
        clock.sleep_until(*at).await;
        match deed {
            Deed::Force(mode) => stage.engine.execute(Command::SetBreaker { mode: *mode }),
            Deed::Reset => stage.engine.execute(Command::ResetBreaker),
            Deed::ClearCache => stage.engine.execute(Command::ClearCache),
            Deed::Suspend(gap) => {
                let until = clock.now() + *gap;
                stage.engine.emit(EventKind::Suspended { until });
                clock.skip(*gap).await;
            }
        }
    }
}

#[cfg(test)]
mod tests;
