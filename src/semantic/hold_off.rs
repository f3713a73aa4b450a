//! Spares calls the time of an embedder that does not answer.
//!
//! ```text
//!            3 failures in a row
//!   asked ------------------------> held off for 10 s ----> asked
//!     ^  \________ an embedding ______________________________/ |
//!      \________________________________ failure: held off again
//! ```
//!
//! Not a breaker with probes: the worst that a lookup too many does is wait for its time limit.

use std::time::Duration;

use crate::time::Timestamp;

/// Failures in a row, late embeddings included.
const FAILURES: u32 = 3;
/// How long it is not asked then.
const HOLD: Duration = Duration::from_secs(10);

/// See the module documentation.
#[derive(Clone, Copy, Debug, Default)]
pub struct HoldOff {
    failures: u32,
    until: Option<Timestamp>,
    told: bool,
}

/// What a person should be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    /// It is held off, for the first time since it answered.
    HeldOff {
        /// For so long.
        hold: Duration,
    },
    /// It answers again.
    Back,
}

impl HoldOff {
    /// Whether the embedder may be asked; if not, from when on.
    pub fn ask(&self, now: Timestamp) -> Result<(), Timestamp> {
        match self.until {
            Some(until) if now < until => Err(until),
            _ => Ok(()),
        }
    }

    /// It gave an embedding.
    pub fn succeeded(&mut self) -> Option<Turn> {
        let told = self.told;
        *self = Self::default();
        told.then_some(Turn::Back)
    }

    /// It failed, or was late.
    pub fn failed(&mut self, now: Timestamp) -> Option<Turn> {
        self.failures = self.failures.saturating_add(1);
        if self.failures < FAILURES {
            return None;
        }
        self.until = Some(now + HOLD);
        let first = !std::mem::replace(&mut self.told, true);
        first.then_some(Turn::HeldOff { hold: HOLD })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Timestamp {
        Timestamp::ZERO + Duration::from_secs(seconds)
    }

    #[test]
    fn three_failures_in_a_row_hold_it_off_and_one_more_again() {
        let mut hold_off = HoldOff::default();
        assert_eq!(hold_off.failed(at(1)), None);
        assert_eq!(hold_off.failed(at(1)), None);
        assert_eq!(hold_off.succeeded(), None);
        assert_eq!(hold_off.failed(at(2)), None);
        assert_eq!(hold_off.failed(at(2)), None);
        assert_eq!(hold_off.ask(at(2)), Ok(()));
        assert_eq!(hold_off.failed(at(3)), Some(Turn::HeldOff { hold: HOLD }));
        assert_eq!(hold_off.ask(at(12)), Err(at(13)));
        assert_eq!(hold_off.ask(at(13)), Ok(()));
        // told once, until it answers
        assert_eq!(hold_off.failed(at(14)), None);
        assert_eq!(hold_off.ask(at(23)), Err(at(24)));
        assert_eq!(hold_off.succeeded(), Some(Turn::Back));
        assert_eq!(hold_off.ask(at(23)), Ok(()));
        assert_eq!(hold_off.succeeded(), None);
    }
}
