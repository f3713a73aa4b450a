//! How long things take.

use std::collections::VecDeque;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Percentiles of calls, attempts and first tokens, and the last calls one by one.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct LatencyView {
    /// Calls that got an answer from an upstream, from start to end.
    pub call: Percentiles,
    /// Attempts, from start to end.
    pub attempt: Percentiles,
    /// From the start of an attempt to its first token.
    pub ttft: Percentiles,
    /// The last 120 calls, oldest first; nothing for calls that were not sent.
    pub recent: VecDeque<Option<Duration>>,
}

/// A distribution of durations in bounded memory.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Percentiles {
    placeholder: u8,
}

impl Percentiles {
    /// How many were recorded.
    pub fn count(&self) -> u64 {
        0
    }

    /// The duration that a share `quantile` (0 to 1) of them did not exceed; nothing if there are none.
    pub fn quantile(&self, _quantile: f64) -> Option<Duration> {
        None
    }

    /// The longest.
    pub fn max(&self) -> Option<Duration> {
        None
    }
}
