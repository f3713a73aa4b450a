//! Recorded calls, sent again: each at its time and under its number, so that the simulator makes the same draws.
//!
//! The calls of one origin are made by one task, as those of a group of callers are. Within one millisecond the
//! order is that of virtual time's timers, which may differ from the recorded one: if an answer and an identical
//! call coincide, a cache hit may become a shared flight.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::Scene;
use super::runner::Runner;
use super::script::{PolicyChoice, RequestDefaults, Scenario, UpstreamScript};
use crate::client::Transport;
use crate::drills::recorded::{Traffic, TrafficError, UpstreamModel};
use crate::event::{Observer, Origin};
use crate::settings::Policy;
use crate::time::Timestamp;

impl Scene {
    /// Recorded calls under a policy. With the seed of the recording the simulator makes the draws that it made
    /// then.
    ///
    /// # Errors
    /// If the traffic cannot be replayed.
    pub fn from_traffic(
        name: &str,
        traffic: Arc<Traffic>,
        policy: Policy,
        seed: u64,
    ) -> Result<Self, TrafficError> {
        let mut upstream = UpstreamScript::default();
        if let UpstreamModel::Simulator(pace) = traffic.upstream_model()? {
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
            requests: RequestDefaults::default(),
            upstream,
            commands: Vec::new(),
            expectations: Vec::new(),
        };
        Ok(Self {
            scenario,
            policy,
            seed,
            commands: traffic.commands(),
            watch: None,
            recorded: Some(traffic),
        })
    }
}

/// Calls that one task makes at one moment before it yields.
const CALLS_AT_ONCE: u32 = 32;

/// Spawns the tasks that send the calls.
pub(super) fn spawn<T: Transport, O: Observer + Clone>(traffic: &Arc<Traffic>, runner: &Runner<T, O>) {
    if let Some(flight) = traffic.first_flight() {
        runner.client.set_next_flight(flight);
    }
    let mut by_origin: BTreeMap<u64, Vec<usize>> = BTreeMap::new();
    for (index, call) in traffic.calls().iter().enumerate() {
        let origin = match call.origin {
            Origin::Chat => 0,
            Origin::Burst { burst } => burst,
            Origin::Load { .. } => u64::MAX - 1,
            Origin::Library | Origin::Gateway => u64::MAX,
        };
        by_origin.entry(origin).or_default().push(index);
    }
    for indexes in by_origin.into_values() {
        runner
            .tasks
            .spawn(send(indexes, Arc::clone(traffic), runner.clone()));
    }
}

async fn send<T: Transport, O: Observer + Clone>(
    indexes: Vec<usize>,
    traffic: Arc<Traffic>,
    runner: Runner<T, O>,
) {
    let clock = runner.tasks.clock;
    let mut at_once = 0;
    for call in indexes.into_iter().filter_map(|index| traffic.calls().get(index)) {
        if clock.now() < call.at {
            clock.sleep_until(call.at).await;
            at_once = 0;
        }
        runner.client.set_next_call(call.call);
        let stream = runner.client.call(&call.request(), call.context());
        let cancelled_at = call.cancelled_at.unwrap_or(Timestamp::MAX);
        runner.tasks.spawn(async move {
            tokio::select! {
                biased;
                ended = stream.finish() => drop(ended),
                () = clock.sleep_until(cancelled_at) => {}
            }
        });
        at_once += 1;
        if at_once % CALLS_AT_ONCE == 0 {
            tokio::task::yield_now().await;
        }
    }
}

#[cfg(test)]
mod tests;
