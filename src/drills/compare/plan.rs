//! What the command line asks to be compared.

use std::sync::Arc;

use super::{Layer, Plan, RecordedWorld, Sweep};
use crate::drills::scenario::{self, Scene};
use crate::settings::Policy;
use crate::settings::file::{self, ConfigError};

/// Runs beyond this are a typing mistake: at a tenth of a second each they would take a day.
const MOST_RUNS: u64 = 1_000_000;

/// Which policies are the first one without a layer, by their places.
type Without = Vec<(usize, Layer)>;

/// A comparison in words.
#[derive(Clone, Debug, Default)]
pub struct Wanted {
    /// Presets, files, or either with settings that differ; the scenario's own policy where there are none.
    pub policies: Vec<String>,
    /// The world: a bundled scenario, or a file.
    pub scenario: String,
    /// Recorded traffic as the world, instead of a scenario.
    pub recorded: Option<RecordedWorld>,
    /// The first seed, instead of the scenario's.
    pub seed: Option<u64>,
    /// How many.
    pub seeds: u64,
    /// Layers to do without: each makes a policy out of the first one.
    pub off: Vec<Layer>,
    /// A setting over a range: each value makes a policy out of the first one.
    pub sweep: Option<Sweep>,
}

impl Wanted {
    /// Looks everything up. Errors name what there is instead.
    pub fn plan(&self) -> Result<Plan, ConfigError> {
        let scene = self.scene()?;
        let (policies, without) = self.policies(&scene)?;
        let refuse = |message: String| Err(file::value_error("compare", &message));
        if policies.len() < 2 {
            return refuse(
                "one policy has nothing to be compared with: give two, or --off LAYER, or --sweep SETTING=A..B".into(),
            );
        }
        let runs = self.seeds.saturating_mul(policies.len() as u64);
        if self.seeds == 0 || runs > MOST_RUNS {
            return refuse(format!(
                "--seeds {} for {} policies are {runs} runs: between 1 and {MOST_RUNS}",
                self.seeds,
                policies.len()
            ));
        }
        Ok(Plan {
            scene,
            policies,
            seeds: self.seeds,
            without,
        })
    }

    fn scene(&self) -> Result<Scene, ConfigError> {
        let Some(RecordedWorld {
            name,
            traffic,
            policy,
        }) = &self.recorded
        else {
            return scenario::load(&self.scenario, None, self.seed);
        };
        let refuse = |message: String| file::value_error(name, &message);
        policy
            .validate()
            .map_err(|error| refuse(format!("the recorded policy: {error}")))?;
        let seed = self.seed.unwrap_or(traffic.seed);
        Scene::of_traffic(name, Arc::clone(traffic), policy.clone(), seed)
            .map_err(|error| refuse(error.to_string()))
    }

    /// The policies, and which of them are the first one without a layer.
    fn policies(&self, scene: &Scene) -> Result<(Vec<Policy>, Without), ConfigError> {
        let mut policies: Vec<Policy> = self
            .policies
            .iter()
            .map(|name| file::load_policy(name))
            .collect::<Result<_, _>>()?;
        // what was recorded is what one policy is compared with
        let alone = policies.len() == 1 && self.off.is_empty() && self.sweep.is_none();
        if policies.is_empty() || (self.recorded.is_some() && alone) {
            policies.insert(0, scene.policy.clone());
        }
        let first = policies.first().cloned().unwrap_or_default();
        let places = (policies.len()..).zip(self.off.iter().copied());
        let without: Without = places.collect();
        policies.extend(self.off.iter().map(|layer| layer.off(&first)));
        if let Some(sweep) = &self.sweep {
            let swept = sweep.policies(&first)?;
            // the range alone is the picture; its base is one of the values, or beside the point
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

    fn wanted(policies: &[&str]) -> Wanted {
        Wanted {
            policies: policies.iter().map(|name| (*name).to_owned()).collect(),
            scenario: "outage".into(),
            seeds: 3,
            ..Wanted::default()
        }
    }

    #[test]
    fn layers_and_sweeps_make_policies_of_the_first() {
        let mut both = wanted(&["exercise"]);
        both.off = vec![Layer::Cache, Layer::Breaker];
        let names = |wanted: &Wanted| -> Vec<String> {
            let plan = wanted.plan().unwrap();
            plan.policies.into_iter().map(|policy| policy.name).collect()
        };
        assert_eq!(
            names(&both),
            ["exercise", "exercise without cache", "exercise without breaker"]
        );
        let mut swept = wanted(&[]);
        swept.sweep = Some("retry.attempts=1..3".parse().unwrap());
        assert_eq!(
            names(&swept),
            ["retry.attempts=1", "retry.attempts=2", "retry.attempts=3"]
        );
    }

    #[test]
    fn what_cannot_be_compared_is_refused_with_what_to_give() {
        let told = |wanted: &Wanted| wanted.plan().unwrap_err().to_string();
        assert!(told(&wanted(&["production"])).contains("give two, or --off LAYER"));
        let mut none = wanted(&["production", "exercise"]);
        none.seeds = 0;
        assert!(told(&none).contains("--seeds 0"));
        assert!(told(&wanted(&["production", "exercize"])).contains("did you mean exercise?"));
        let mut swept = wanted(&["production"]);
        swept.sweep = Some("retry.atempts=1..3".parse().unwrap());
        assert!(told(&swept).contains("did you mean retry.attempts?"));
    }
}
