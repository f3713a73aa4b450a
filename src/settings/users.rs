//! What each user may use of an upstream that many share.

use serde::{Deserialize, Serialize};

use super::bounds::{BUCKET_RULE, Rule};
use super::{Bucket, LimitSettings};

/// Who goes first when many wait for the limiter.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum QueueOrder {
    /// Users take turns, by weight: a flood of one makes only itself wait.
    #[default]
    Fair,
    /// Whoever came first, whoever it is.
    Fifo,
}

impl QueueOrder {
    /// The other one.
    #[must_use]
    pub fn other(self) -> Self {
        match self {
            Self::Fair => Self::Fifo,
            Self::Fifo => Self::Fair,
        }
    }

    /// The word for it.
    pub fn label(self) -> &'static str {
        match self {
            Self::Fair => "fair",
            Self::Fifo => "fifo",
        }
    }
}

/// What one user may use. All or nothing together with the buckets of everybody.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct UserLimits {
    /// The user's bucket of requests; no limit of its own where absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub requests: Option<Bucket>,
    /// The user's bucket of LLM tokens; no limit of its own where absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tokens: Option<Bucket>,
    /// The user's share where many wait: twice the weight, twice as much. 1 to 1000.
    pub weight: u32,
}

impl Default for UserLimits {
    fn default() -> Self {
        Self {
            requests: None,
            tokens: None,
            weight: 1,
        }
    }
}

impl LimitSettings {
    /// The limits of a user.
    pub fn of_user(&self, name: &str) -> &UserLimits {
        self.users.get(name).unwrap_or(&self.each_user)
    }

    /// Bounds of what concerns single users.
    pub(super) fn user_rules(&self) -> Vec<Rule> {
        let mut rules = Vec::new();
        let each = [("limit.each_user".to_owned(), &self.each_user)];
        let named = self.users.iter();
        let named = named.map(|(name, limits)| (format!("limit.users.{name}"), limits));
        for (key, limits) in each.into_iter().chain(named) {
            let weight = limits.weight;
            let holds = (1..=1000).contains(&weight);
            rules.push((
                holds,
                format!("{key}.weight"),
                weight.to_string(),
                "between 1 and 1000",
            ));
            for (field, bucket) in [("requests", &limits.requests), ("tokens", &limits.tokens)] {
                if let Some(bucket) = bucket {
                    let (holds, value) = (bucket.is_valid(), format!("{bucket:?}"));
                    rules.push((holds, format!("{key}.{field}"), value, BUCKET_RULE));
                }
            }
        }
        rules
    }
}
