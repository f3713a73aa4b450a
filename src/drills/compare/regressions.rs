//! What is better and what is worse, for the measures that judge a policy.
//!
//! | measure            | worse is | why                                                             |
//! | ------------------ | -------- | --------------------------------------------------------------- |
//! | served             | less     | a call without an answer is what all this is there to prevent   |
//! | attempts a call    | more     | load on an upstream that is already ill                         |
//! | p95                | more     | of served calls: look at it beside the served share             |
//! | time to recover    | more     | the upstream is well again and nobody asks it                   |
//! | tokens wasted      | more     | paid for, and nobody got them                                   |
//! | maybe billed twice | more     | a retry after an outcome that may have been billed              |
//!
//! Not judged is what is neither good nor bad by itself: how often the breaker opened and how soon (a false alarm is no
//! merit), tokens spent (who serves more spends more), and by which way calls were served or turned away.

use super::{Column, Interval};
use crate::drills::scenario::Measure;

/// Which way is worse.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Worse {
    /// Less of it.
    Less,
    /// More of it.
    More,
}

/// What is judged, the most important first.
pub(super) const JUDGED: [(Measure, Worse); 6] = [
    (Measure::ServedShare, Worse::Less),
    (Measure::Amplification, Worse::More),
    (Measure::LatencyP95, Worse::More),
    (Measure::Recovery, Worse::More),
    (Measure::WastedTokens, Worse::More),
    (Measure::PossibleDoubles, Worse::More),
];

impl Worse {
    /// Whether the difference to the first policy is for the worse, and the interval leaves no doubt about it.
    pub(super) fn is_sure(self, difference: &Interval) -> bool {
        match self {
            Self::Less => difference.high < 0.0,
            Self::More => difference.low > 0.0,
        }
    }
}

impl Column {
    /// Whether a measure that is judged is surely worse than that of the first policy.
    pub fn is_worse(&self) -> bool {
        JUDGED.iter().any(|(measure, worse)| {
            let difference = self.row(*measure).and_then(|row| row.difference);
            difference.is_some_and(|difference| worse.is_sure(&difference))
        })
    }
}
