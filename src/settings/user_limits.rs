//! Limits of single users of a shared upstream.

use serde::{Deserialize, Serialize};

use super::Bucket;

/// The order in which the limiter serves its queue.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum QueueOrder {
    /// Users take turns by weight: a burst of one user delays only that user.
    #[default]
    Fair,
    /// Calls are served in order of arrival, regardless of the user.
    Fifo,
}

impl QueueOrder {
    /// The other order.
    #[must_use]
    pub fn toggled(self) -> Self {
        match self {
            Self::Fair => Self::Fifo,
            Self::Fifo => Self::Fair,
        }
    }

    /// The order as a policy file writes it.
    pub fn label(self) -> &'static str {
        match self {
            Self::Fair => "fair",
            Self::Fifo => "fifo",
        }
    }
}

/// The limits of one user. A call takes from the user's buckets and from the shared ones, or from none.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct UserLimits {
    /// The user's bucket of requests. Default: absent, only the shared bucket applies.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub requests: Option<Bucket>,
    /// The user's bucket of LLM tokens. Default: absent, only the shared bucket applies.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tokens: Option<Bucket>,
    /// The user's share of a busy upstream, relative to other weights: 1 to 1000, default 1.
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
