//! Events of the breaker: states, outcomes, reasons.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::ModelName;

/// The state of the breaker.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BreakerState {
    /// Calls are admitted.
    #[default]
    Closed,
    /// Calls are rejected until the open time has elapsed.
    Open,
    /// A few probes are admitted: one waits for its first token, at most `breaker.successes_to_close` run.
    HalfOpen,
}

/// The states of the breakers of all models, as their moves give them.
#[derive(Clone, Debug, Default)]
pub struct BreakerStates {
    /// Those that are not closed.
    not_closed: BTreeMap<Option<ModelName>, BreakerState>,
}

impl BreakerStates {
    /// Applies the move of a breaker and returns the state of all: open if one is, else half-open if one is.
    pub fn apply(&mut self, model: Option<&ModelName>, to: BreakerState) -> BreakerState {
        match to {
            BreakerState::Closed => self.not_closed.remove(&model.cloned()),
            BreakerState::Open | BreakerState::HalfOpen => self.not_closed.insert(model.cloned(), to),
        };
        if self.not_closed.values().any(|state| *state == BreakerState::Open) {
            BreakerState::Open
        } else if self.not_closed.is_empty() {
            BreakerState::Closed
        } else {
            BreakerState::HalfOpen
        }
    }
}

/// The control of the breaker: automatic or forced.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BreakerMode {
    /// Decided by its window.
    #[default]
    Automatic,
    /// Forced open: rejects every call.
    ForcedOpen,
    /// Forced closed: admits every call.
    ForcedClosed,
}

/// The classification of an outcome.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Sample {
    /// Success.
    Ok,
    /// Success, but slower than `breaker.slow_after`.
    Slow,
    /// The upstream failed.
    Failed,
    /// No evidence about the upstream's health: 4xx, 429, cancelled.
    Neutral,
    /// Outcome of an earlier generation: not counted. The cut of a stream counts in any generation.
    Late,
}

/// Counts of the breaker's window.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct WindowCounts {
    /// Outcomes in the window.
    pub total: u32,
    /// Of these, failed.
    pub failed: u32,
    /// Of these, slow.
    pub slow: u32,
    /// Failures in a row.
    pub consecutive: u32,
}

/// Reasons for a state change of the breaker.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum MoveReason {
    /// The failure rate reached `breaker.failure_rate`.
    FailureRate,
    /// Failures in a row reached `breaker.consecutive`.
    Consecutive,
    /// The rate of slow calls reached `breaker.slow_rate`.
    SlowRate,
    /// The open time elapsed.
    CoolDown,
    /// Enough probes in a row ended well.
    ProbesSucceeded,
    /// A probe failed.
    ProbeFailed,
    /// Forced or reset by a command.
    Manual,
    /// No call used it for a while, and its place goes to another model: nothing of it is kept.
    Unused,
}
