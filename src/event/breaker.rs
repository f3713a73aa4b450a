//! What the breaker says, and why.

use serde::{Deserialize, Serialize};

/// The breaker's state. Closed admits, open refuses, half-open lets one probe through.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BreakerState {
    /// Calls pass.
    #[default]
    Closed,
    /// Calls are refused.
    Open,
    /// One probe at a time passes.
    HalfOpen,
}

/// Who decides about the breaker.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BreakerMode {
    /// Its own window.
    #[default]
    Automatic,
    /// A person: refuse everything.
    ForcedOpen,
    /// A person: let everything through.
    ForcedClosed,
}

/// What an outcome counts as.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Sample {
    /// Good.
    Ok,
    /// Good, but too slow.
    Slow,
    /// The upstream failed.
    Failed,
    /// Says nothing about the upstream's health: 4xx, 429, cancelled.
    Neutral,
    /// Belongs to an older generation: not counted.
    Late,
}

/// What the breaker's window holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct WindowCounts {
    /// Outcomes.
    pub total: u32,
    /// Of these, failed.
    pub failed: u32,
    /// Of these, slow.
    pub slow: u32,
    /// Failures in a row, up to now.
    pub consecutive: u32,
}

/// Why the breaker moved.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MoveReason {
    /// Too large a share of the window failed.
    FailureRate,
    /// Too many failures in a row.
    Consecutive,
    /// Too large a share of the window was slow.
    SlowRate,
    /// The open time is over.
    CoolDown,
    /// Enough probes succeeded.
    ProbesSucceeded,
    /// A probe failed.
    ProbeFailed,
    /// A person.
    Manual,
}
