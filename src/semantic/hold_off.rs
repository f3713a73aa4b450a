//! Pauses an embedder that keeps failing, so that calls do not wait for it.
//!
//! ```text
//!            3 failures in a row
//!   in use ------------------------> paused for 10 s ----> in use
//!     ^  \________ an embedding ______________________________/ |
//!      \_________________________________ failure: paused again
//! ```
//!
//! A breaker with probes is not needed: the worst effect of an extra lookup is waiting for its time limit.

use std::time::Duration;

use crate::time::Timestamp;

/// Consecutive failures that pause the embedder; a late embedding is a failure.
const MAX_FAILURES: u32 = 3;
/// The length of a pause.
const PAUSE: Duration = Duration::from_secs(10);

/// The hold-off of one embedder. See the module documentation.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct HoldOff {
    failures: u32,
    until: Option<Timestamp>,
    reported: bool,
}

/// A change of the hold-off that is worth a notice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum HoldOffChange {
    /// The embedder is paused, for the first time since it last answered.
    Paused {
        /// The length of the pause.
        pause: Duration,
    },
    /// The embedder answers again.
    Resumed,
}

impl HoldOff {
    /// Checks that the embedder may be used.
    ///
    /// # Errors
    /// Returns the end of the pause.
    pub(crate) fn check(&self, now: Timestamp) -> Result<(), Timestamp> {
        match self.until {
            Some(until) if now < until => Err(until),
            _ => Ok(()),
        }
    }

    /// Records an embedding.
    pub(crate) fn record_success(&mut self) -> Option<HoldOffChange> {
        let reported = self.reported;
        *self = Self::default();
        reported.then_some(HoldOffChange::Resumed)
    }

    /// Records a failed or late embedding.
    pub(crate) fn record_failure(&mut self, now: Timestamp) -> Option<HoldOffChange> {
        self.failures = self.failures.saturating_add(1);
        if self.failures < MAX_FAILURES {
            return None;
        }
        self.until = Some(now + PAUSE);
        let first = !std::mem::replace(&mut self.reported, true);
        first.then_some(HoldOffChange::Paused { pause: PAUSE })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Timestamp {
        Timestamp::ZERO + Duration::from_secs(seconds)
    }

    #[test]
    fn three_consecutive_failures_pause_and_one_more_pauses_again() {
        let mut hold_off = HoldOff::default();
        assert_eq!(hold_off.record_failure(at(1)), None);
        assert_eq!(hold_off.record_failure(at(1)), None);
        assert_eq!(hold_off.record_success(), None);
        assert_eq!(hold_off.record_failure(at(2)), None);
        assert_eq!(hold_off.record_failure(at(2)), None);
        assert_eq!(hold_off.check(at(2)), Ok(()));
        assert_eq!(
            hold_off.record_failure(at(3)),
            Some(HoldOffChange::Paused { pause: PAUSE })
        );
        assert_eq!(hold_off.check(at(12)), Err(at(13)));
        assert_eq!(hold_off.check(at(13)), Ok(()));
        // reported once, until it answers
        assert_eq!(hold_off.record_failure(at(14)), None);
        assert_eq!(hold_off.check(at(23)), Err(at(24)));
        assert_eq!(hold_off.record_success(), Some(HoldOffChange::Resumed));
        assert_eq!(hold_off.check(at(23)), Ok(()));
        assert_eq!(hold_off.record_success(), None);
    }
}
