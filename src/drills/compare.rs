//! Compares policies: the same scenario, run under each of them.
//!
//! ```text
//!  scenario x seeds 1..n  --+--> policy A --> measures --+
//!                           +--> policy B --> measures --+--> paired differences, seed by seed --> table
//! ```
//!
//! A seed gives the same arrivals and prompts, and the same draws of the upstream for the same attempt of the same
//! call, under every policy. So a difference between two runs of a seed is caused by the policy, and the
//! differences over many seeds give its confidence interval.
//!
//! Recorded traffic can take the place of the scenario: its calls are sent again (see
//! [`crate::drills::recorded`]), and the first seed is that of the recording.
//!
//! The upstream is the simulator. It fails at the scenario's rates, attempt by attempt and independently of load,
//! unless the scenario gives it a capacity: then it queues and overflows. It does not adapt and does not ban
//! clients.

mod attribution;
mod charts;
mod junit;
mod layer;
mod layout;
mod markdown;
mod plan;
mod recorded;
mod regressions;
mod summary;
mod sweep;
mod sweep_chart;
mod table;

use std::num::NonZero;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

pub use crate::report::statistics::Interval;
pub use layer::Layer;
pub use plan::PlanRequest;
pub use recorded::{Figures, RecordedInput, RecordingSummary};
pub use sweep::{Sweep, SweepError};
pub use sweep_chart::text_chart;

use serde::Serialize;
use summary::{ServedDifference, Summary};

use crate::drills::scenario::{Measure, RunError, Scene, Tally, in_virtual_time};
use crate::report::charts::{History, OverTime};
use crate::report::statistics::mean;
use crate::settings::Policy;

/// Version of the JSON form; `assets/comparison.schema.json` describes it.
const COMPARISON_VERSION: u32 = 2;

/// The measures compared, in the order of the table; each policy has a value for each seed.
pub const MEASURES: [Measure; 22] = [
    Measure::Calls,
    Measure::ServedShare,
    Measure::Answered,
    Measure::Hits,
    Measure::Shared,
    Measure::RateLimited,
    Measure::CircuitOpen,
    Measure::Failed,
    Measure::Interrupted,
    Measure::Cancelled,
    Measure::LatencyP50,
    Measure::LatencyP95,
    Measure::LatencyP99,
    Measure::WaitP95,
    Measure::Amplification,
    Measure::Attempts,
    Measure::TimeToTrip,
    Measure::TimeToRecover,
    Measure::SpentTokens,
    Measure::WastedTokens,
    Measure::AmbiguousRetries,
    Measure::BreakerOpened,
];

/// A comparison to run.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The scenario or recorded traffic. Its policy is used only if the traffic is recorded: then it is the
    /// recorded one.
    pub scene: Scene,
    /// The policies; the others are compared with the first.
    pub policies: Vec<Policy>,
    /// Number of seeds, from that of the scene on.
    pub seeds: u64,
    /// The recorded results, if the traffic is recorded.
    pub observed: Option<Arc<Tally>>,
    /// Indexes of the policies that are the first one without a layer.
    pub without: Vec<(usize, Layer)>,
}

/// A comparison that failed.
#[derive(Debug, thiserror::Error)]
pub enum CompareError {
    /// A run failed.
    #[error(transparent)]
    Run(#[from] RunError),
    /// A run violated an invariant: its values are meaningless.
    #[error("policy {policy}, seed {seed}: {problem}; this is a bug in seawall, please report it")]
    Broken {
        /// The policy.
        policy: String,
        /// The seed.
        seed: u64,
        /// The violation.
        problem: String,
    },
}

/// The result of a comparison. Serde gives the JSON form.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Comparison {
    /// Version of the JSON form.
    pub comparison: u32,
    /// Name of the scenario or journal.
    pub scenario: String,
    /// The first seed.
    pub first_seed: u64,
    /// Number of seeds.
    pub seeds: u64,
    /// The results of the policies, in the order given.
    pub policies: Vec<PolicyResult>,
    /// The result in sentences.
    pub summary: String,
    /// The recording, and how well the model reproduces it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub recorded: Option<RecordingSummary>,
    /// The model of the upstream, and its limits.
    pub model: String,
}

/// The results of a policy.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct PolicyResult {
    /// Name of the policy.
    pub policy: String,
    /// A row for each of [`MEASURES`].
    pub rows: Vec<Row>,
    /// Its runs over time, for charts.
    #[serde(skip)]
    pub over_time: OverTime,
}

/// A measure of a policy.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Row {
    /// The measure.
    pub measure: Measure,
    /// Number of seeds with a value: a breaker that never opened has no time to trip.
    pub runs: u64,
    /// Mean over those seeds.
    pub mean: Option<f64>,
    /// Confidence interval of the mean.
    pub interval: Option<Interval>,
    /// Mean of the differences from the first policy, over the seeds with a value under both.
    pub mean_difference: Option<f64>,
    /// Confidence interval of that difference; absent if fewer than six seeds have a value under both.
    pub difference: Option<Interval>,
}

/// The model of a simulated upstream, for reports.
pub const MODEL: &str = "The upstream is simulated: each attempt fails at the scenario's rates, independently of \
load unless the scenario gives the upstream a capacity. Arrivals, prompts and draws are the same for every \
policy, seed by seed.";

/// Runs every seed under every policy, on all cores. `done` counts runs.
///
/// # Errors
/// If a run fails or violates an invariant.
pub fn compare(plan: &Plan, done: &AtomicU64) -> Result<Comparison, CompareError> {
    let mut results = run_all(plan, done)?;
    let extra = results.split_off(plan.policies.len());
    let first = results.first();
    let policies: Vec<PolicyResult> = plan
        .policies
        .iter()
        .zip(&results)
        .map(|(policy, result)| {
            let first = first.filter(|first| !std::ptr::eq(*first, result));
            PolicyResult {
                policy: policy.name.clone(),
                rows: rows(&result.runs, first.map(|first| &first.runs)),
                over_time: result.over_time.clone(),
            }
        })
        .collect();
    let recorded = plan.scene.recorded.as_ref().and_then(|traffic| {
        let own = plan.recorded_policy().and_then(|own| results.get(own));
        let own = own.or(extra.first());
        let observed = plan.observed.as_ref()?;
        Some(RecordingSummary::new(
            traffic,
            observed,
            &plan.scene.policy,
            own?.runs.first()?,
        ))
    });
    let model = recorded.as_ref().map(RecordingSummary::model);
    Ok(Comparison {
        comparison: COMPARISON_VERSION,
        scenario: plan.scene.scenario.name.clone(),
        first_seed: plan.scene.seed,
        seeds: plan.seeds,
        summary: Summary {
            policies: &policies,
            without: &plan.without,
            seeds: plan.seeds,
            recorded: recorded.is_some(),
            served_difference: &|one, other| served_difference(results.get(one)?, results.get(other)?),
        }
        .sentences(),
        policies,
        model: model.unwrap_or_else(|| MODEL.to_owned()),
        recorded,
    })
}

impl Plan {
    /// The index of the recorded policy, under any name.
    fn recorded_policy(&self) -> Option<usize> {
        let own = &self.scene.policy;
        self.policies.iter().position(|policy| {
            let renamed = Policy {
                name: own.name.clone(),
                ..policy.clone()
            };
            renamed == *own
        })
    }

    /// Pairs of policy and seed, counted from 0. If none of the policies is the recorded one, that runs too, with
    /// the first seed.
    fn jobs(&self) -> Vec<(usize, u64)> {
        let policies = self.policies.len();
        let all = (0..self.seeds).flat_map(|seed| (0..policies).map(move |policy| (policy, seed)));
        let extra = self.scene.recorded.is_some() && self.recorded_policy().is_none();
        all.chain(extra.then_some((policies, 0))).collect()
    }
}

/// The values of a run.
#[derive(Clone, Debug)]
struct Run {
    /// In the order of [`MEASURES`].
    values: [Option<f64>; MEASURES.len()],
    /// The share of recorded calls that end with the recorded fate.
    same_fate_share: Option<f64>,
}

impl Default for Run {
    fn default() -> Self {
        Self {
            values: [None; MEASURES.len()],
            same_fate_share: None,
        }
    }
}

impl Run {
    fn value(&self, measure: Measure) -> Option<f64> {
        let at = MEASURES.iter().position(|one| *one == measure)?;
        self.values.get(at).copied().flatten()
    }
}

/// The runs of a policy.
#[derive(Clone)]
struct PolicyRuns {
    /// By seed.
    runs: Vec<Run>,
    over_time: OverTime,
}

/// Returns the runs of each policy, and last those of the recorded policy, if it is not among them.
fn run_all(plan: &Plan, done: &AtomicU64) -> Result<Vec<PolicyRuns>, CompareError> {
    let jobs = plan.jobs();
    let empty = PolicyRuns {
        runs: vec![Run::default(); plan.seeds as usize],
        over_time: OverTime::default(),
    };
    let results = Mutex::new(vec![empty; plan.policies.len() + 1]);
    let failed = Mutex::new(None);
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
                    match run(plan, policy, seed) {
                        Ok((run, history)) => {
                            let mut results = results.lock().unwrap_or_else(PoisonError::into_inner);
                            if let Some(result) = results.get_mut(policy) {
                                result.over_time.join(seed, &history);
                                if let Some(slot) = result.runs.get_mut(seed as usize) {
                                    *slot = run;
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
        None => Ok(results.into_inner().unwrap_or_else(PoisonError::into_inner)),
    }
}

fn run(plan: &Plan, policy: usize, seed: u64) -> Result<(Run, History), CompareError> {
    let policy = plan.policies.get(policy).unwrap_or(&plan.scene.policy);
    let seed = plan.scene.seed.wrapping_add(seed);
    let scene = Scene {
        policy: policy.clone(),
        seed,
        ..plan.scene.clone()
    };
    let outcome = in_virtual_time(&scene, None::<std::io::Sink>, &Arc::default())?;
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
    let tally = &outcome.tally;
    let run = Run {
        values: MEASURES.map(|measure| measure.value(tally)),
        same_fate_share: plan
            .observed
            .as_ref()
            .and_then(|observed| recorded::same_fate_share(observed, tally)),
    };
    Ok((run, outcome.history))
}

/// The measures over all seeds, with the differences from the first policy.
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
                mean: mean(&here),
                interval: Interval::of_mean(&here),
                mean_difference: mean(&pairs),
                difference: Interval::of_mean(&pairs),
            }
        })
        .collect()
}

/// The difference of the served shares of two policies, paired by seed.
fn served_difference(one: &PolicyRuns, other: &PolicyRuns) -> Option<ServedDifference> {
    let both = one.runs.iter().zip(&other.runs);
    let share = |run: &Run| run.value(Measure::ServedShare);
    let pairs: Vec<f64> = both
        .filter_map(|(one, other)| Some(share(one)? - share(other)?))
        .collect();
    Some(ServedDifference {
        mean: mean(&pairs)?,
        interval: Interval::of_mean(&pairs),
        is_zero: pairs.iter().all(|pair| *pair == 0.0),
    })
}

#[cfg(test)]
mod tests;
