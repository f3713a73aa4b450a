//! Comparisons as the command line requests them.

use std::sync::Arc;

use super::{Layer, Plan, RecordedInput, Sweep};
use crate::drills::scenario::{self, Scene};
use crate::settings::Policy;
use crate::settings::file::{self, ConfigError};

/// Maximum number of runs: at a tenth of a second each, more would take over a day.
const MOST_RUNS: u64 = 1_000_000;

/// Indexes of the policies that are the first one without a layer.
type Without = Vec<(usize, Layer)>;

/// The arguments of a comparison.
#[derive(Clone, Debug, Default)]
pub struct PlanRequest {
    /// Presets or files, optionally with changed settings. Default: the scenario's policy.
    pub policies: Vec<String>,
    /// A bundled scenario or a file.
    pub scenario: String,
    /// Recorded traffic in place of a scenario.
    pub recorded: Option<RecordedInput>,
    /// The first seed. Default: that of the scenario or the recording.
    pub seed: Option<u64>,
    /// Number of seeds.
    pub seeds: u64,
    /// Layers to remove, each from the first policy.
    pub off: Vec<Layer>,
    /// A setting of the first policy to vary.
    pub sweep: Option<Sweep>,
}

impl PlanRequest {
    /// Loads the scenario and the policies.
    ///
    /// # Errors
    /// If one cannot be loaded, or fewer than two policies or too many runs are requested.
    pub fn plan(&self) -> Result<Plan, ConfigError> {
        let scene = self.scene()?;
        let (policies, without) = self.policies(&scene)?;
        let refuse = |message: String| Err(file::value_error("compare", &message));
        if policies.len() < 2 {
            return refuse(
                "a comparison needs two policies: name two, or use --off LAYER or --sweep SETTING=A..B"
                    .into(),
            );
        }
        let runs = self.seeds.saturating_mul(policies.len() as u64);
        if self.seeds == 0 || runs > MOST_RUNS {
            return refuse(format!(
                "--seeds {} with {} policies gives {runs} runs (must be 1 to {MOST_RUNS})",
                self.seeds,
                policies.len()
            ));
        }
        Ok(Plan {
            scene,
            policies,
            seeds: self.seeds,
            observed: self.recorded.as_ref().map(|recorded| Arc::clone(&recorded.tally)),
            without,
        })
    }

    fn scene(&self) -> Result<Scene, ConfigError> {
        let Some(RecordedInput {
            name,
            traffic,
            policy,
            ..
        }) = &self.recorded
        else {
            return scenario::load(&self.scenario, None, self.seed);
        };
        let refuse = |message: String| file::value_error(name, &message);
        policy
            .validate()
            .map_err(|error| refuse(format!("the recorded policy: {error}")))?;
        let seed = self.seed.unwrap_or(traffic.seed);
        Scene::from_traffic(name, Arc::clone(traffic), policy.clone(), seed)
            .map_err(|error| refuse(error.to_string()))
    }

    /// The policies, and which of them are the first one without a layer.
    fn policies(&self, scene: &Scene) -> Result<(Vec<Policy>, Without), ConfigError> {
        let mut policies: Vec<Policy> = self
            .policies
            .iter()
            .map(|name| file::load_policy(name))
            .collect::<Result<_, _>>()?;
        // a single policy is compared with the recorded one
        let alone = policies.len() == 1 && self.off.is_empty() && self.sweep.is_none();
        if policies.is_empty() || (self.recorded.is_some() && alone) {
            policies.insert(0, scene.policy.clone());
        }
        let first = policies.first().cloned().unwrap_or_default();
        let without: Without = (policies.len()..).zip(self.off.iter().copied()).collect();
        policies.extend(self.off.iter().map(|layer| layer.off(&first)));
        if let Some(sweep) = &self.sweep {
            let swept = sweep.policies(&first)?;
            // a sweep by itself is not compared with its base
            if self.policies.len() < 2 && self.off.is_empty() {
                return Ok((swept, without));
            }
            policies.extend(swept);
        }
        Ok((policies, without))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(policies: &[&str]) -> PlanRequest {
        PlanRequest {
            policies: policies.iter().map(|name| (*name).to_owned()).collect(),
            scenario: "outage".into(),
            seeds: 3,
            ..PlanRequest::default()
        }
    }

    #[test]
    fn layers_and_sweeps_derive_policies_from_the_first() {
        let mut both = request(&["exercise"]);
        both.off = vec![Layer::Cache, Layer::Breaker];
        let names = |request: &PlanRequest| -> Vec<String> {
            let plan = request.plan().unwrap();
            plan.policies.into_iter().map(|policy| policy.name).collect()
        };
        assert_eq!(
            names(&both),
            ["exercise", "exercise without cache", "exercise without breaker"]
        );
        let mut swept = request(&[]);
        swept.sweep = Some("retry.attempts=1..3".parse().unwrap());
        assert_eq!(
            names(&swept),
            ["retry.attempts=1", "retry.attempts=2", "retry.attempts=3"]
        );
    }

    #[test]
    fn a_request_that_cannot_be_planned_is_rejected_with_a_remedy() {
        let message = |request: &PlanRequest| request.plan().unwrap_err().to_string();
        assert!(message(&request(&["production"])).contains("name two, or use --off LAYER"));
        let mut none = request(&["production", "exercise"]);
        none.seeds = 0;
        assert!(message(&none).contains("--seeds 0"));
        assert!(message(&request(&["production", "exercize"])).contains("did you mean exercise?"));
        let mut swept = request(&["production"]);
        swept.sweep = Some("retry.atempts=1..3".parse().unwrap());
        assert!(message(&swept).contains("did you mean retry.attempts?"));
    }
}
