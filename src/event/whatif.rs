//! Comparison of an edited policy with the running one.
//!
//! The calls of the session are replayed in virtual time under both policies, with the same upstream, so that the policies
//! alone cause the difference.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{CallId, Fate};
use crate::settings::Policy;
use crate::text::SafeText;
use crate::time::{Timestamp, nanos_option};

/// The beginning of the notice of a failed evaluation.
pub(crate) const NOT_EVALUATED: &str = "the edited policy cannot be evaluated: ";

/// Figures of one policy over a range of calls.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct PolicyFigures {
    /// Calls compared.
    pub calls: u64,
    /// Calls that ended, by fate.
    pub fates: BTreeMap<Fate, u64>,
    /// HTTP attempts.
    pub attempts: u64,
    /// Attempts that were not the first of their call.
    pub retries: u64,
    /// Calls that waited for the limiter.
    pub waited: u64,
    /// Median latency of served calls.
    #[serde(default, with = "nanos_option", skip_serializing_if = "Option::is_none")]
    pub p50: Option<Duration>,
    /// 95th percentile of the latency of served calls.
    #[serde(default, with = "nanos_option", skip_serializing_if = "Option::is_none")]
    pub p95: Option<Duration>,
    /// LLM tokens used by attempts.
    pub tokens: u64,
    /// LLM tokens of attempts whose answer reached no caller.
    pub wasted: u64,
    /// Openings of the breaker.
    pub opened: u64,
}

impl PolicyFigures {
    /// Calls with this fate.
    pub fn ended_as(&self, fate: Fate) -> u64 {
        self.fates.get(&fate).copied().unwrap_or_default()
    }

    /// Served calls: answered by the upstream, a cache or a shared flight.
    pub fn served(&self) -> u64 {
        let served = self.fates.iter().filter(|(fate, _)| fate.is_served());
        served.map(|(_, calls)| calls).sum()
    }

    /// Running calls; 0 when replayed, because each call is replayed to its end.
    pub fn running(&self) -> u64 {
        self.calls.saturating_sub(self.ended())
    }

    /// Calls that ended.
    pub fn ended(&self) -> u64 {
        self.fates.values().sum()
    }
}

/// A policy to evaluate on the calls of a session.
#[derive(Clone, Debug, PartialEq)]
pub struct WhatIfRequest {
    /// The number of the edit; the result carries it.
    pub edit: u64,
    /// The edited policy.
    pub policy: Policy,
}

/// A call with different fates under the two policies.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChangedFate {
    /// The call.
    pub call: CallId,
    /// Its fate under the running policy, replayed.
    pub running: Fate,
    /// Its fate under the edited policy.
    pub edited: Fate,
}

/// The upstream of a replay.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
#[non_exhaustive]
pub enum WhatIfUpstream {
    /// The simulator with the same random draws and faults: exact.
    Simulator,
    /// The observed behaviour of a real upstream at about that time: an estimate.
    Observed {
        /// Number of observed attempts.
        attempts: u64,
    },
}

/// The result of a comparison.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct WhatIfResult {
    /// The edit of the [`WhatIfRequest`].
    pub edit: u64,
    /// Edited settings, such as `retry.attempts=5`.
    pub changes: Vec<SafeText>,
    /// Start of the first compared call.
    pub since: Timestamp,
    /// Start of the last compared call.
    pub until: Timestamp,
    /// Earlier calls, replayed only to warm up caches, buckets and windows.
    pub warm_up: u64,
    /// The upstream of the replay.
    pub upstream: WhatIfUpstream,
    /// The real outcome of the calls so far.
    pub observed: PolicyFigures,
    /// True if the settings changed in that time: the observed figures are then not those of the running policy
    /// alone.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub mixed: bool,
    /// The running policy, replayed.
    pub running: PolicyFigures,
    /// The edited policy, replayed.
    pub edited: PolicyFigures,
    /// Number of calls with different fates.
    pub changed: u64,
    /// The latest of these calls.
    pub examples: Vec<ChangedFate>,
}
