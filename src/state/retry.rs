//! Retries: causes, tries for each call, budget.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::event::StopReason;

/// The retry dashboard in numbers.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct RetryView {
    /// HTTP tries begun.
    pub attempts: u64,
    /// Of these, with a number above 1.
    pub retries: u64,
    /// Tries that failed, by label: `429`, `500`, `TMO`, ...
    pub causes: BTreeMap<String, u64>,
    /// Calls that ended after so many tries: index 0 is one try; the last also holds all above it.
    pub tries_per_call: [u64; 8],
    /// Calls answered after more than one try.
    pub recovered: u64,
    /// Failed tries of calls that were not answered in the end.
    pub wasted: u64,
    /// Retries after an outcome that may already have been billed.
    pub ambiguous: u64,
    /// Time spent sleeping between tries.
    pub backed_off: Duration,
    /// Hints obeyed.
    pub hints: u64,
    /// Tokens in the retry budget, and the most it can hold; nothing where no budget is kept.
    pub budget: Option<(f64, f64)>,
    /// Calls that were not retried again, by reason.
    pub stopped: BTreeMap<StopReason, u64>,
}
