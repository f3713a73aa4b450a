//! Layers that can be removed, to measure the contribution of each.

use std::str::FromStr;

use crate::settings::{Policy, QueueOrder, SemanticMode};

/// A removable layer of the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layer {
    /// The exact cache, and with it the semantic one.
    Cache,
    /// The semantic cache only.
    Semantic,
    /// Single flight.
    Flight,
    /// All retries.
    Retry,
    /// The retry budget, which limits retries in a storm.
    Budget,
    /// Retry-After hints of the server.
    Hints,
    /// The limiter.
    Limit,
    /// Fair queueing between users; without it the queue is first in, first out.
    Fairness,
    /// The breaker.
    Breaker,
}

impl Layer {
    /// Every layer, from the outside in.
    pub const ALL: [Self; 9] = [
        Self::Cache,
        Self::Semantic,
        Self::Flight,
        Self::Retry,
        Self::Budget,
        Self::Hints,
        Self::Limit,
        Self::Fairness,
        Self::Breaker,
    ];

    /// The name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Cache => "cache",
            Self::Semantic => "semantic",
            Self::Flight => "flight",
            Self::Retry => "retry",
            Self::Budget => "budget",
            Self::Hints => "hints",
            Self::Limit => "limit",
            Self::Fairness => "fairness",
            Self::Breaker => "breaker",
        }
    }

    /// Returns the policy without this layer, with a name that says so.
    pub fn off(self, policy: &Policy) -> Policy {
        let mut policy = policy.clone();
        match self {
            Self::Cache => policy.cache.enabled = false,
            Self::Semantic => policy.semantic.mode = SemanticMode::Off,
            Self::Flight => policy.flight.enabled = false,
            Self::Retry => policy.retry.attempts = 1,
            Self::Budget => (policy.retry.budget_ratio, policy.retry.budget_min_per_s) = (0.0, 0.0),
            Self::Hints => policy.retry.obey_hints = false,
            Self::Limit => policy.limit.enabled = false,
            Self::Fairness => policy.limit.order = QueueOrder::Fifo,
            Self::Breaker => policy.breaker.enabled = false,
        }
        policy.name = format!("{} without {}", policy.name, self.name());
        policy
    }
}

impl FromStr for Layer {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let names = || Self::ALL.map(Self::name).join(", ");
        Self::ALL
            .into_iter()
            .find(|layer| layer.name() == text)
            .ok_or_else(|| format!("unknown layer; the layers are {}", names()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_changes_the_policy_and_has_a_name_of_its_own() {
        let mut whole = Policy::default();
        whole.semantic.mode = SemanticMode::On;
        for layer in Layer::ALL {
            let without = layer.off(&whole);
            let renamed = Policy {
                name: without.name.clone(),
                ..whole.clone()
            };
            assert_ne!(without, renamed, "{layer:?}");
            assert_eq!(without.validate(), Ok(()));
            assert_eq!(layer.name().parse(), Ok(layer));
        }
        assert!(
            "wall"
                .parse::<Layer>()
                .unwrap_err()
                .starts_with("unknown layer; the layers are cache, ")
        );
    }
}
