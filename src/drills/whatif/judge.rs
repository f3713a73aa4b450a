//! Replays the calls under the policy in force and under the edited one, and compares the results.

use std::sync::Arc;
use std::thread;

use super::figures::judged;
use crate::drills::recorded::{Traffic, TrafficError, UpstreamModel};
use crate::drills::scenario::{Scene, Tally, in_virtual_time};
use crate::event::{CallId, ChangedFate, Fate, WhatIfResult, WhatIfUpstream};
use crate::settings::Policy;
use crate::text::SafeText;

/// If older calls are no longer known, the first 1/4 only warms up caches, buckets and windows.
const WARM_UP: usize = 4;
/// Maximum number of calls listed one by one.
const EXAMPLES: usize = 12;

/// Judges the edited policy. Returns nothing if there are no calls yet.
pub(super) fn judge(
    edit: u64,
    traffic: Traffic,
    observed: &Tally,
    running: &Policy,
    edited: &Policy,
) -> Result<Option<WhatIfResult>, String> {
    let calls = traffic.calls();
    // a session counts its calls from 1
    let is_whole = calls.first().is_none_or(|call| call.call == CallId(1));
    let warm_up = if is_whole { 0 } else { calls.len() / WARM_UP };
    let counted: Vec<CallId> = calls.iter().skip(warm_up).map(|call| call.call).collect();
    let (Some(since), Some(until)) = (
        calls.get(warm_up).map(|call| call.at),
        calls.last().map(|call| call.at),
    ) else {
        return Ok(None);
    };
    let upstream = match traffic.upstream_model() {
        Ok(UpstreamModel::Simulator(_)) => WhatIfUpstream::Simulator,
        Ok(UpstreamModel::Recorded { attempts }) => WhatIfUpstream::Observed {
            attempts: attempts as u64,
        },
        // a later judgement will have some
        Err(TrafficError::NoCalls | TrafficError::NoAttempts) => return Ok(None),
        Err(error) => return Err(error.to_string()),
    };
    let mixed = traffic.changed_at().is_some_and(|changed| changed > since);
    let traffic = Arc::new(traffic);
    let play = |policy: &Policy| replay(&traffic, policy);
    let (first, second) = thread::scope(|scope| {
        let edited = scope.spawn(|| play(edited));
        let first = play(running);
        let second = edited
            .join()
            .unwrap_or_else(|_| Err("the replay panicked".to_owned()));
        (first, second)
    });
    let (first, second) = (first?, second?);
    let changes = running.changes(edited).into_iter();
    let mut differing = changed_fates(&counted, &first, &second);
    let count = differing.len() as u64;
    let examples = differing.split_off(differing.len().saturating_sub(EXAMPLES));
    Ok(Some(WhatIfResult {
        edit,
        changes: changes
            .map(|(path, value)| SafeText::new(&format!("{path}={value}")))
            .collect(),
        since,
        until,
        warm_up: warm_up as u64,
        upstream,
        observed: judged(observed, counted.first().copied(), since),
        mixed,
        running: judged(&first, counted.first().copied(), since),
        edited: judged(&second, counted.first().copied(), since),
        changed: count,
        examples,
    }))
}

/// Replays the calls under a policy. They keep their numbers.
fn replay(traffic: &Arc<Traffic>, policy: &Policy) -> Result<Tally, String> {
    let seed = traffic.seed;
    let scene = Scene::from_traffic("what-if", Arc::clone(traffic), policy.clone(), seed)
        .map_err(|error| error.to_string())?;
    let outcome =
        in_virtual_time(&scene, None::<std::io::Sink>, &Arc::default()).map_err(|error| error.to_string())?;
    if let Some(violation) = outcome.violation {
        return Err(format!("{violation}; this is a bug in seawall, please report it"));
    }
    Ok(outcome.tally)
}

/// The calls with another fate, in order.
fn changed_fates(counted: &[CallId], running: &Tally, edited: &Tally) -> Vec<ChangedFate> {
    let fate = |tally: &Tally, call: &CallId| -> Option<Fate> { tally.call(*call)?.fate };
    let differing = counted.iter().filter_map(|call| {
        let (one, other) = (fate(running, call)?, fate(edited, call)?);
        (one != other).then_some(ChangedFate {
            call: *call,
            running: one,
            edited: other,
        })
    });
    differing.collect()
}
