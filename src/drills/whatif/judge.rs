//! Plays the calls again, under the settings in force and under the copy, and compares what came of them.

use std::sync::Arc;
use std::thread;

use super::figures::judged;
use crate::drills::recorded::{Answerer, Traffic, TrafficError};
use crate::drills::scenario::{Scene, Tally, in_virtual_time};
use crate::event::{CallId, ChangedFate, Fate, WhatIfResult, WhatIfUpstream};
use crate::settings::Policy;
use crate::text::SafeText;

/// Of calls whose beginning is not known any more, this part is only played to fill caches, buckets and windows.
const WARM_UP: usize = 4;
/// Calls that are told one by one.
const EXAMPLES: usize = 12;

/// Judges the copy, in answer to the question `edit`. Nothing where there are no calls yet; an error says why it cannot be done.
pub(super) fn judge(
    edit: u64,
    traffic: Traffic,
    seen: &Tally,
    running: &Policy,
    copy: &Policy,
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
    let upstream = match traffic.answerer() {
        Ok(Answerer::Simulator(_)) => WhatIfUpstream::Simulator,
        Ok(Answerer::Seen(attempts)) => WhatIfUpstream::Observed {
            attempts: attempts as u64,
        },
        // there will be some, and then there is something to say
        Err(TrafficError::NoCalls | TrafficError::NothingSeen) => return Ok(None),
        Err(error) => return Err(error.to_string()),
    };
    let mixed = traffic.changed_at().is_some_and(|changed| changed > since);
    let traffic = Arc::new(traffic);
    let play = |policy: &Policy| played(&traffic, policy);
    let (first, second) = thread::scope(|scope| {
        let copied = scope.spawn(|| play(copy));
        let first = play(running);
        let second = copied.join().unwrap_or_else(|_| Err("it panicked".to_owned()));
        (first, second)
    });
    let (first, second) = (first?, second?);
    let changes = running.changes(copy).into_iter();
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
        observed: judged(seen, counted.first().copied(), since),
        mixed,
        running: judged(&first, counted.first().copied(), since),
        edited: judged(&second, counted.first().copied(), since),
        changed: count,
        examples,
    }))
}

/// What came of the calls under these settings, by the numbers they have in the session.
fn played(traffic: &Arc<Traffic>, policy: &Policy) -> Result<Tally, String> {
    let seed = traffic.seed;
    let scene = Scene::of_traffic("shadow", Arc::clone(traffic), policy.clone(), seed)
        .map_err(|error| error.to_string())?;
    let outcome =
        in_virtual_time(&scene, None::<std::io::Sink>, &Arc::default()).map_err(|error| error.to_string())?;
    if let Some(violation) = outcome.violation {
        return Err(format!("{violation}; this is a bug in seawall, please report it"));
    }
    Ok(outcome.tally)
}

/// The calls that ended otherwise, in their order.
fn changed_fates(counted: &[CallId], running: &Tally, copy: &Tally) -> Vec<ChangedFate> {
    let fate = |tally: &Tally, call: &CallId| -> Option<Fate> { tally.call(*call)?.fate };
    let differing = counted.iter().filter_map(|call| {
        let (one, other) = (fate(running, call)?, fate(copy, call)?);
        (one != other).then_some(ChangedFate {
            call: *call,
            running: one,
            edited: other,
        })
    });
    differing.collect()
}
