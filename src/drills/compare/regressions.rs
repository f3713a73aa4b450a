//! The measures that judge a policy, and the direction in which each is worse.
//!
//! | measure           | worse  | why                                                     |
//! | ----------------- | ------ | ------------------------------------------------------- |
//! | served            | lower  | a call without an answer is what the layers prevent     |
//! | attempts per call | higher | load on an upstream that already fails                  |
//! | p95               | higher | of served calls: read it together with the served share |
//! | time to recover   | higher | the upstream works again but gets no calls              |
//! | tokens wasted     | higher | paid for without an answer                              |
//! | ambiguous retries | higher | retries after an outcome that may have been billed      |
//!
//! Not judged: how often and how soon the breaker opened (a false alarm is no improvement), tokens spent (a policy
//! that serves more spends more), and how calls were served or rejected.

use super::{Interval, PolicyResult};
use crate::drills::scenario::Measure;

/// The direction that is worse.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Worse {
    Less,
    More,
}

/// The judged measures, the most important first.
pub(super) const JUDGED: [(Measure, Worse); 6] = [
    (Measure::ServedShare, Worse::Less),
    (Measure::Amplification, Worse::More),
    (Measure::LatencyP95, Worse::More),
    (Measure::TimeToRecover, Worse::More),
    (Measure::WastedTokens, Worse::More),
    (Measure::AmbiguousRetries, Worse::More),
];

impl Worse {
    /// Returns true if the difference from the first policy is significantly worse.
    pub(super) fn is_significant(self, difference: &Interval) -> bool {
        match self {
            Self::Less => difference.high < 0.0,
            Self::More => difference.low > 0.0,
        }
    }
}

impl PolicyResult {
    /// Returns true if a judged measure is significantly worse than that of the first policy.
    pub fn is_worse(&self) -> bool {
        JUDGED.iter().any(|(measure, worse)| {
            let difference = self.row(*measure).and_then(|row| row.difference);
            difference.is_some_and(|difference| worse.is_significant(&difference))
        })
    }
}
