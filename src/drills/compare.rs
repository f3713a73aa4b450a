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
//! With recorded traffic as the world its calls are made again, see [`crate::drills::recorded`]; the first seed is that of the
//! recording.
//!
//! What the upstream is here: the simulator. It fails at the rates the scenario says, attempt by attempt and
//! independently of how hard it is driven, unless the scenario gives it a capacity: then it queues and overflows.
//! It never learns, never bans, and its answers are as long as they are drawn. A policy that looks better here is
//! better in such a world.

mod attribution;
mod charts;
mod junit;
mod layer;
mod layout;
mod markdown;
mod plan;
mod reading;
mod recorded;
mod regressions;
mod sweep;
mod sweep_chart;
mod table;

use std::num::NonZero;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;

pub use crate::report::statistics::Interval;
pub use layer::Layer;
pub use plan::Wanted;
pub use recorded::{Figures, Recorded, RecordedWorld};
pub use sweep::{Sweep, SweepError};
pub use sweep_chart::picture;

use reading::{Apart, Reading};
use serde::Serialize;

use crate::drills::scenario::{Measure, RunError, Scene, in_virtual_time};
use crate::report::charts::{History, OverTime};
use crate::settings::Policy;

/// Version of the JSON form; `assets/comparison.schema.json` describes it.
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
    /// The world. Its own policy is not looked at, unless it is recorded: then it is the one it was recorded under.
    pub scene: Scene,
    /// The policies, the one the others are compared with first.
    pub policies: Vec<Policy>,
    /// How many seeds, from that of the scene on.
    pub seeds: u64,
    /// Which of the policies are the first one without a layer, by their places.
    pub without: Vec<(usize, Layer)>,
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
    /// What the numbers say, in sentences.
    pub reading: String,
    /// Where the world is recorded traffic: what that is, and how good a model it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub recorded: Option<Recorded>,
    /// What the upstream is, and what it is not.
    pub model: String,
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
    pub mean_difference: Option<f64>,
    /// The same and how sure it is; nothing where fewer than six seeds have a value under both.
    pub difference: Option<Interval>,
}

/// What the upstream is, in the words of a report.
pub const MODEL: &str = "The upstream is simulated: it fails at the scenario's rates, attempt by attempt, however hard it is \
driven, unless the scenario gives it a capacity; arrivals, prompts and draws are the same for every policy, seed by seed.";

/// Plays every seed under every policy, on all cores. `done` counts runs.
pub fn compare(plan: &Plan, done: &AtomicU64) -> Result<Comparison, CompareError> {
    let mut values = play_all(plan, done)?;
    let extra = values.split_off(plan.policies.len());
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
    let recorded = plan.scene.recorded.as_ref().and_then(|traffic| {
        let own = plan
            .own_column()
            .and_then(|own| values.get(own))
            .or(extra.first());
        Some(Recorded::new(traffic, &plan.scene.policy, own?.runs.first()?))
    });
    Ok(Comparison {
        comparison: COMPARISON_VERSION,
        scenario: plan.scene.scenario.name.clone(),
        first_seed: plan.scene.seed,
        seeds: plan.seeds,
        reading: Reading {
            columns: &columns,
            without: &plan.without,
            seeds: plan.seeds,
            recorded: recorded.is_some(),
            apart: &|one, other| apart(values.get(one)?, values.get(other)?),
        }
        .sentences(),
        policies: columns,
        model: recorded
            .as_ref()
            .map_or_else(|| MODEL.to_owned(), Recorded::model),
        recorded,
    })
}

impl Plan {
    /// Which of the policies is the one that the world was recorded under, whatever it is called.
    fn own_column(&self) -> Option<usize> {
        let own = &self.scene.policy;
        self.policies.iter().position(|policy| {
            let renamed = Policy {
                name: own.name.clone(),
                ..policy.clone()
            };
            renamed == *own
        })
    }

    /// Policies and seeds, counted from 0. One more policy where the world is recorded under none of them: its own,
    /// with the first seed alone.
    fn jobs(&self) -> Vec<(usize, u64)> {
        let policies = self.policies.len();
        let all = (0..self.seeds).flat_map(|seed| (0..policies).map(move |policy| (policy, seed)));
        let extra = self.scene.recorded.is_some() && self.own_column().is_none();
        all.chain(extra.then_some((policies, 0))).collect()
    }
}

/// What a run came to.
#[derive(Clone, Debug)]
struct Run {
    /// In the order of [`MEASURES`].
    values: [Option<f64>; MEASURES.len()],
    /// The share of recorded calls that ended as they had ended.
    alike: Option<f64>,
}

impl Default for Run {
    fn default() -> Self {
        Self {
            values: [None; MEASURES.len()],
            alike: None,
        }
    }
}

/// What came of a policy.
#[derive(Clone)]
struct Played {
    /// By seed.
    runs: Vec<Run>,
    over_time: OverTime,
}

/// What came of each policy, and last of the one the world was recorded under, if it is none of them.
fn play_all(plan: &Plan, done: &AtomicU64) -> Result<Vec<Played>, CompareError> {
    let jobs = plan.jobs();
    let empty = Played {
        runs: vec![Run::default(); plan.seeds as usize],
        over_time: OverTime::default(),
    };
    let (values, failed) = (Mutex::new(vec![empty; plan.policies.len() + 1]), Mutex::new(None));
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

fn play(plan: &Plan, policy: usize, seed: u64) -> Result<(Run, History), CompareError> {
    let policy = plan.policies.get(policy).unwrap_or(&plan.scene.policy);
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
    let run = Run::of(&outcome.tally, plan.scene.recorded.as_deref());
    Ok((run, outcome.history))
}

/// The measures over all seeds; with the differences to `first`, if this is not the first.
fn rows(runs: &[Run], first: Option<&Vec<Run>>) -> Vec<Row> {
    MEASURES
        .iter()
        .enumerate()
        .map(|(at, measure)| {
            let value = |run: &Run| run.values.get(at).copied().flatten();
            let here: Vec<f64> = runs.iter().filter_map(value).collect();
            let pairs: Vec<f64> = first.map_or_else(Vec::new, |first| {
                let both = runs.iter().zip(first);
                let pairs = both.filter_map(|(here, there)| Some(value(here)? - value(there)?));
                pairs.collect()
            });
            Row {
                measure: *measure,
                runs: here.len() as u64,
                mean: crate::report::statistics::mean(&here),
                interval: Interval::of_mean(&here),
                mean_difference: crate::report::statistics::mean(&pairs),
                difference: Interval::of_mean(&pairs),
            }
        })
        .collect()
}

/// How much more of the calls one policy serves than another, seed by seed.
fn apart(one: &Played, other: &Played) -> Option<Apart> {
    let both = one.runs.iter().zip(&other.runs);
    let share = |run: &Run| run.value(Measure::ServedShare);
    let pairs: Vec<f64> = both
        .filter_map(|(one, other)| Some(share(one)? - share(other)?))
        .collect();
    Some(Apart {
        mean: crate::report::statistics::mean(&pairs)?,
        interval: Interval::of_mean(&pairs),
        same: pairs.iter().all(|pair| *pair == 0.0),
    })
}

#[cfg(test)]
mod tests;
