//! What another policy would have made of the same hour: one world, played under several policies.
//!
//! ```text
//!  world (scenario) x seed 1..n  --+--> policy A --> measures --+
//!                                  +--> policy B --> measures --+--> paired differences, seed by seed --> table
//! ```
//!
//! The same seed gives the same arrivals, the same prompts and the same draws of the upstream for the same attempt
//! of the same call, whatever the policy: so the difference between two runs of one seed is the policy's, and
//! differences of many seeds say how sure that is.
//!
//! What the upstream is here: the simulator. It fails at the rates the scenario says, attempt by attempt and
//! independently of how hard it is driven, unless the scenario gives it a capacity: then it queues and overflows.
//! It never learns, never bans, and its answers are as long as they are drawn. A policy that looks better here is
//! better in such a world.

mod interval;
mod junit;
mod layer;
mod markdown;
mod picture;
mod plan;
mod reading;
mod side;
mod sweep;
mod table;
mod worse;

use std::num::NonZero;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;

pub use interval::Interval;
pub use layer::Layer;
pub use picture::picture;
pub use plan::Wanted;
pub use sweep::{Sweep, SweepError};

use serde::Serialize;

use crate::charts::{History, OverTime};
use crate::scenario::{Measure, Part, RunError, Scene, in_virtual_time};
use crate::settings::Policy;

/// Version of the JSON form.
const COMPARISON_VERSION: u32 = 1;

/// What is compared, in the order it is shown. Per run; every policy has a value for each seed.
pub const MEASURES: [Measure; 22] = [
    Measure::Calls,
    Measure::ServedShare,
    Measure::Ok,
    Measure::Hits,
    Measure::Shared,
    Measure::Rejected,
    Measure::Refused,
    Measure::Failed,
    Measure::Cut,
    Measure::Stopped,
    Measure::LatencyP50,
    Measure::LatencyP95,
    Measure::LatencyP99,
    Measure::WaitP95,
    Measure::Amplification,
    Measure::Attempts,
    Measure::TimeToTrip,
    Measure::Recovery,
    Measure::ChargedTokens,
    Measure::WastedTokens,
    Measure::PossibleDoubles,
    Measure::BreakerOpened,
];

/// What to compare.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The world; its own policy is not looked at.
    pub scene: Scene,
    /// The policies, the one the others are compared with first.
    pub policies: Vec<Policy>,
    /// How many seeds, from that of the scene on.
    pub seeds: u64,
}

/// Why nothing can be compared.
#[derive(Debug, thiserror::Error)]
pub enum CompareError {
    /// A run failed.
    #[error(transparent)]
    Run(#[from] RunError),
    /// A run broke a promise: its numbers are worth nothing.
    #[error("policy {policy}, seed {seed}: {problem}; this is a bug in seawall, please report it")]
    Broken {
        /// Under which policy.
        policy: String,
        /// With which seed.
        seed: u64,
        /// What.
        problem: String,
    },
}

/// What came of it. Serialised, it is the JSON form.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Comparison {
    /// Version of this form.
    pub comparison: u32,
    /// The world.
    pub scenario: String,
    /// The first seed.
    pub first_seed: u64,
    /// How many seeds.
    pub seeds: u64,
    /// The policies, in the order they were given.
    pub policies: Vec<Column>,
    /// One sentence that is true of these numbers.
    pub reading: String,
    /// What the upstream is, and what it is not.
    pub model: &'static str,
}

/// A policy and what it came to.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Column {
    /// Its name.
    pub policy: String,
    /// By the name of the measure.
    pub rows: Vec<Row>,
    /// What it did when, for charts.
    #[serde(skip)]
    pub over_time: OverTime,
}

/// A measure of one policy.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Row {
    /// Which.
    pub measure: Measure,
    /// Seeds in which it came to be: a breaker that never opened has no time to trip.
    pub runs: u64,
    /// The mean over those; nothing where there are none.
    pub mean: Option<f64>,
    /// How sure that mean is.
    pub interval: Option<Interval>,
    /// The mean of the differences to the first policy, over the seeds in which both have a value.
    pub difference: Option<Interval>,
}

/// What the upstream is, in the words of a report.
pub const MODEL: &str = "The upstream is simulated: it fails at the scenario's rates, attempt by attempt, however hard it is \
driven, unless the scenario gives it a capacity; arrivals, prompts and draws are the same for every policy, seed by seed.";

/// Plays every seed under every policy, on all cores. `done` counts runs.
pub fn compare(plan: &Plan, done: &AtomicU64) -> Result<Comparison, CompareError> {
    let values = play_all(plan, done)?;
    let first = values.first();
    let columns: Vec<Column> = plan
        .policies
        .iter()
        .zip(&values)
        .map(|(policy, played)| {
            let first = first.filter(|first| !std::ptr::eq(*first, played));
            Column {
                policy: policy.name.clone(),
                rows: rows(&played.runs, first.map(|first| &first.runs)),
                over_time: played.over_time.clone(),
            }
        })
        .collect();
    Ok(Comparison {
        comparison: COMPARISON_VERSION,
        scenario: plan.scene.scenario.name.clone(),
        first_seed: plan.scene.seed,
        seeds: plan.seeds,
        reading: reading::sentence(&columns, plan.seeds),
        policies: columns,
        model: MODEL,
    })
}

/// The measures of a run, in the order of [`MEASURES`].
type Values = [Option<f64>; MEASURES.len()];

/// What came of a policy.
#[derive(Clone)]
struct Played {
    /// By seed.
    runs: Vec<Values>,
    over_time: OverTime,
}

/// What came of each policy.
fn play_all(plan: &Plan, done: &AtomicU64) -> Result<Vec<Played>, CompareError> {
    let jobs: Vec<(usize, u64)> = (0..plan.seeds)
        .flat_map(|seed| (0..plan.policies.len()).map(move |policy| (policy, seed)))
        .collect();
    let empty = Played {
        runs: vec![[None; MEASURES.len()]; plan.seeds as usize],
        over_time: OverTime::default(),
    };
    let (values, failed) = (Mutex::new(vec![empty; plan.policies.len()]), Mutex::new(None));
    let (next, stop) = (AtomicU64::new(0), AtomicBool::new(false));
    let threads = thread::available_parallelism().map_or(1, NonZero::get);
    thread::scope(|scope| {
        for _ in 0..threads.min(jobs.len()) {
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    let job = next.fetch_add(1, Ordering::Relaxed);
                    let Some(&(policy, seed)) = jobs.get(job as usize) else {
                        return;
                    };
                    match play(plan, policy, seed) {
                        Ok((run, history)) => {
                            let mut values = values.lock().unwrap_or_else(PoisonError::into_inner);
                            if let Some(played) = values.get_mut(policy) {
                                played.over_time.join(seed, &history);
                                if let Some(place) = played.runs.get_mut(seed as usize) {
                                    *place = run;
                                }
                            }
                        }
                        Err(error) => {
                            stop.store(true, Ordering::Relaxed);
                            *failed.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
                        }
                    }
                    done.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
    });
    match failed.into_inner().unwrap_or_else(PoisonError::into_inner) {
        Some(error) => Err(error),
        None => Ok(values.into_inner().unwrap_or_else(PoisonError::into_inner)),
    }
}

fn play(plan: &Plan, policy: usize, seed: u64) -> Result<(Values, History), CompareError> {
    let Some(policy) = plan.policies.get(policy) else {
        return Ok(([None; MEASURES.len()], History::default()));
    };
    let seed = plan.scene.seed.wrapping_add(seed);
    let scene = Scene {
        policy: policy.clone(),
        seed,
        ..plan.scene.clone()
    };
    let outcome = in_virtual_time(&scene, None::<std::io::Sink>, &std::sync::Arc::default())?;
    let broken = |problem: String| CompareError::Broken {
        policy: policy.name.clone(),
        seed,
        problem,
    };
    if let Some(violation) = &outcome.violation {
        return Err(broken(violation.to_string()));
    }
    if let Some(leftover) = outcome.leftovers.first() {
        return Err(broken(leftover.clone()));
    }
    let values = MEASURES.map(|measure| measure.of(&outcome.tally, &Part::default()));
    Ok((values, outcome.history))
}

/// The measures over all seeds; with the differences to `first`, if this is not the first.
fn rows(runs: &[Values], first: Option<&Vec<Values>>) -> Vec<Row> {
    MEASURES
        .iter()
        .enumerate()
        .map(|(at, measure)| {
            let value = |run: &Values| run.get(at).copied().flatten();
            let here: Vec<f64> = runs.iter().filter_map(value).collect();
            let pairs = first.map(|first| {
                let both = runs.iter().zip(first);
                let pairs = both.filter_map(|(here, there)| Some(value(here)? - value(there)?));
                pairs.collect::<Vec<f64>>()
            });
            Row {
                measure: *measure,
                runs: here.len() as u64,
                mean: interval::mean(&here),
                interval: Interval::of_mean(&here),
                difference: pairs.and_then(|pairs| Interval::of_mean(&pairs)),
            }
        })
        .collect()
}

#[cfg(test)]
mod tests;
