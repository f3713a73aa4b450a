//! What other settings would have made of the same calls.
//!
//! PolicyFigures by playing the calls again in virtual time, under the settings in force and under the copy, before the
//! upstream as it was: so both are in the same world, and the difference is that of the settings.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{CallId, Fate};
use crate::text::SafeText;
use crate::time::{Timestamp, nanos_option};

/// What one policy made, or would have made, of a stretch of calls.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct PolicyFigures {
    /// Calls that were judged.
    pub calls: u64,
    /// How they ended; those that had not are in none.
    pub fates: BTreeMap<Fate, u64>,
    /// HTTP tries.
    pub attempts: u64,
    /// Those of them that were not the first of their call.
    pub retries: u64,
    /// Calls that had to wait for the limiter.
    pub waited: u64,
    /// Median time of the calls that got an answer.
    #[serde(default, with = "nanos_option", skip_serializing_if = "Option::is_none")]
    pub p50: Option<Duration>,
    /// The time in which 95 of 100 of them had it.
    #[serde(default, with = "nanos_option", skip_serializing_if = "Option::is_none")]
    pub p95: Option<Duration>,
    /// LLM tokens that attempts used.
    pub tokens: u64,
    /// Those of them that no caller got.
    pub wasted: u64,
    /// How often the breaker opened.
    pub opened: u64,
}

impl PolicyFigures {
    /// Calls with this end.
    pub fn ended_as(&self, fate: Fate) -> u64 {
        self.fates.get(&fate).copied().unwrap_or_default()
    }

    /// Calls that got an answer: from the upstream, a cache or another call.
    pub fn served(&self) -> u64 {
        let served = self.fates.iter().filter(|(fate, _)| fate.is_served());
        served.map(|(_, calls)| calls).sum()
    }

    /// Calls that still run. Played again, none does: there each call is played to its end.
    pub fn running(&self) -> u64 {
        self.calls.saturating_sub(self.ended())
    }

    /// Calls that have ended.
    pub fn ended(&self) -> u64 {
        self.fates.values().sum()
    }
}

/// A call that would have ended otherwise.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChangedFate {
    /// Which, by its number in this session.
    pub call: CallId,
    /// Its end under the settings in force, played again.
    pub running: Fate,
    /// Its end under the copy.
    pub edited: Fate,
}

/// What answers when calls are played again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum WhatIfUpstream {
    /// The simulator, with the same draws and the same faults at the same times: exact.
    Simulator,
    /// What a real upstream was seen to do at about that time: an estimate.
    Observed {
        /// Attempts it is made of.
        attempts: u64,
    },
}

/// A copy of the settings, judged.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct WhatIfResult {
    /// Which question this answers: see `Command::EvaluatePolicy`.
    pub edit: u64,
    /// What differs in the copy, as `retry.attempts=5`.
    pub changes: Vec<SafeText>,
    /// When the first call that counts was made.
    pub since: Timestamp,
    /// When the last one was.
    pub until: Timestamp,
    /// Calls before those, played only so that caches, buckets and windows are as they would be.
    pub warm_up: u64,
    /// What answered.
    pub upstream: WhatIfUpstream,
    /// What really became of the calls, as far as they have come.
    pub observed: PolicyFigures,
    /// Whether the settings were others for a part of that time: what really was is then not by those in force alone.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub mixed: bool,
    /// The settings in force, played again.
    pub running: PolicyFigures,
    /// The copy.
    pub edited: PolicyFigures,
    /// How many calls would have ended otherwise.
    pub changed: u64,
    /// The latest of them.
    pub examples: Vec<ChangedFate>,
}
