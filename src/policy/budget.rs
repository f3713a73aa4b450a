//! The retry budget: limits retries to a share of the traffic, so that an outage does not cause a retry storm.
//!
//! ```text
//! balance(t) = ratio * first attempts in (t - ttl, t]  +  min_per_s * ttl  -  retries in (t - ttl, t]
//! ```
//!
//! A retry is granted if the balance is at least 1. This is the budget of Finagle (`RetryBudget`) and tower
//! (`TpsBudget`): a deposit per first attempt, a reserve for low traffic, and both deposits and withdrawals
//! expire after the time to live. An empty budget does not queue: the last error is returned.
//!
//! Time is divided into slots, so memory is fixed. Rounding is always against the retry: a deposit may expire up
//! to one slot (1/20 of the time to live) early, a withdrawal up to two slots late. Therefore **exactly**, for
//! each grant at `t`:
//!
//! `retries in (t - ttl, t] <= ratio * first attempts in (t - ttl, t] + min_per_s * ttl`
//!
//! and for any 10 seconds `W` with a ttl of 10 s:
//! `retries in W <= ratio * first attempts in W and the 10 s before + min_per_s * 10`.
//! (First attempts before the window count, because their deposits may be spent within it.)

use std::time::Duration;

use crate::settings::RetrySettings;
use crate::time::{Timestamp, saturating_nanos};

/// Slots per time to live.
const SLOTS: u64 = 20;
/// Slots kept: the current one, and two more for withdrawals.
const RING: usize = 22;
/// Makes `0.29 * 100` count as 29.
const ROUNDING: f64 = 1e-9;

#[derive(Clone, Copy, Debug, Default)]
struct Slot {
    /// `now / width` of all that is counted here.
    epoch: u64,
    deposits: u64,
    withdrawals: u64,
}

/// The retry budget of one upstream: `budget_ratio`, `budget_min_per_s` and `budget_ttl` of [`RetrySettings`].
#[derive(Clone, Debug)]
pub struct RetryBudget {
    ratio: f64,
    min_per_s: f64,
    ttl: Duration,
    ring: [Slot; RING],
    /// The latest epoch seen: time never goes back.
    latest: u64,
}

impl RetryBudget {
    /// Returns a budget without deposits: the reserve only.
    pub fn new(settings: &RetrySettings) -> Self {
        Self {
            ratio: settings.budget_ratio,
            min_per_s: settings.budget_min_per_s,
            ttl: settings.budget_ttl,
            ring: [Slot::default(); RING],
            latest: 0,
        }
    }

    /// Adopts new settings. The counts are kept unless the time to live changes.
    pub fn configure(&mut self, settings: &RetrySettings) {
        if self.ttl == settings.budget_ttl {
            self.ratio = settings.budget_ratio;
            self.min_per_s = settings.budget_min_per_s;
        } else {
            *self = Self::new(settings);
        }
    }

    /// False if ratio and reserve are both zero: every retry is granted.
    fn is_enabled(&self) -> bool {
        self.ratio > 0.0 || self.min_per_s > 0.0
    }

    /// Counts a first attempt.
    pub fn deposit(&mut self, now: Timestamp) {
        let slot = self.slot(now);
        slot.deposits = slot.deposits.saturating_add(1);
    }

    /// Withdraws one retry. Returns false, and withdraws nothing, if the balance is below 1.
    #[must_use = "false means that no retry may follow"]
    pub fn withdraw(&mut self, now: Timestamp) -> bool {
        let granted = !self.is_enabled() || self.signed_balance(now) + ROUNDING >= 1.0;
        if granted {
            let slot = self.slot(now);
            slot.withdrawals = slot.withdrawals.saturating_add(1);
        }
        granted
    }

    /// Retries left at `now`, with fractions; 0 if the budget is disabled.
    pub fn balance(&self, now: Timestamp) -> f64 {
        self.signed_balance(now).max(0.0)
    }

    /// Retries that would be left at `now` if none had been made; 0 if the budget is disabled.
    pub fn max(&self, now: Timestamp) -> f64 {
        let epoch = self.epoch(now);
        let oldest = epoch.saturating_sub(SLOTS - 1);
        let deposits: u64 = self.since(oldest).map(|slot| slot.deposits).sum();
        self.ratio * deposits as f64 + self.min_per_s * self.ttl.as_secs_f64()
    }

    /// The balance; negative if deposits expired before the withdrawals they paid for, or if the budget is
    /// disabled.
    fn signed_balance(&self, now: Timestamp) -> f64 {
        let oldest = self.epoch(now).saturating_sub(RING as u64 - 1);
        let withdrawals: u64 = self.since(oldest).map(|slot| slot.withdrawals).sum();
        self.max(now) - withdrawals as f64
    }

    fn since(&self, oldest: u64) -> impl Iterator<Item = &Slot> {
        self.ring.iter().filter(move |slot| slot.epoch >= oldest)
    }

    fn epoch(&self, now: Timestamp) -> u64 {
        let width = (saturating_nanos(self.ttl) / SLOTS).max(1);
        (now.0 / width).max(self.latest)
    }

    /// The current slot, cleared if it was last used one round ago.
    fn slot(&mut self, now: Timestamp) -> &mut Slot {
        let epoch = self.epoch(now);
        self.latest = epoch;
        let slot = &mut self.ring[(epoch % RING as u64) as usize];
        if slot.epoch != epoch {
            *slot = Slot {
                epoch,
                ..Slot::default()
            };
        }
        slot
    }
}

#[cfg(test)]
#[expect(clippy::float_cmp, reason = "whole numbers of retries, exact in binary")]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn settings(ratio: f64, min_per_s: f64) -> RetrySettings {
        RetrySettings {
            budget_ratio: ratio,
            budget_min_per_s: min_per_s,
            ..RetrySettings::default()
        }
    }

    fn at(seconds: f64) -> Timestamp {
        Timestamp::from_secs_f64(seconds)
    }

    fn granted(budget: &mut RetryBudget, now: Timestamp) -> u32 {
        (0..1000).take_while(|_| budget.withdraw(now)).count() as u32
    }

    #[test]
    fn the_reserve_is_available_at_the_start_and_refills() {
        let mut budget = RetryBudget::new(&settings(0.2, 1.0));
        assert_eq!(budget.balance(at(0.0)), 10.0);
        assert_eq!(granted(&mut budget, at(0.0)), 10);
        assert_eq!(granted(&mut budget, at(9.9)), 0);
        assert_eq!(granted(&mut budget, at(11.0)), 10);
    }

    #[test]
    fn first_attempts_deposit_their_ratio() {
        let mut budget = RetryBudget::new(&settings(0.2, 0.0));
        for _ in 0..15 {
            budget.deposit(at(1.0));
        }
        assert_eq!(budget.max(at(1.0)), 3.0);
        assert_eq!(granted(&mut budget, at(1.0)), 3);
        assert_eq!((budget.balance(at(1.0)), budget.max(at(1.0))), (0.0, 3.0));
    }

    #[test]
    fn deposits_expire() {
        let mut budget = RetryBudget::new(&settings(1.0, 0.0));
        budget.deposit(at(0.0));
        assert_eq!(budget.balance(at(9.49)), 1.0);
        assert!(!budget.withdraw(at(10.0)));
    }

    #[test]
    fn rounding_loses_no_retry() {
        let mut budget = RetryBudget::new(&settings(0.29, 0.0));
        for _ in 0..100 {
            budget.deposit(at(0.0));
        }
        assert_eq!(granted(&mut budget, at(0.0)), 29);
    }

    #[test]
    fn without_ratio_and_reserve_every_retry_is_granted() {
        let mut budget = RetryBudget::new(&settings(0.0, 0.0));
        assert_eq!(granted(&mut budget, at(0.0)), 1000);
        assert_eq!((budget.balance(at(0.0)), budget.max(at(0.0))), (0.0, 0.0));
    }

    #[test]
    fn new_settings_keep_the_counts() {
        let mut budget = RetryBudget::new(&settings(0.0, 1.0));
        assert_eq!(granted(&mut budget, at(0.0)), 10);
        budget.configure(&settings(0.0, 1.2));
        assert_eq!(granted(&mut budget, at(0.0)), 2);
        budget.configure(&RetrySettings {
            budget_ttl: Duration::from_secs(3),
            ..settings(0.0, 1.0)
        });
        assert_eq!(granted(&mut budget, at(0.0)), 3);
    }

    #[test]
    fn time_that_goes_back_deposits_nothing() {
        let mut budget = RetryBudget::new(&settings(0.0, 1.0));
        assert_eq!(granted(&mut budget, at(50.0)), 10);
        assert_eq!(granted(&mut budget, at(0.0)), 0);
        assert_eq!(budget.balance(at(0.0)), 0.0);
    }

    proptest! {
        /// Invariant 8, for every grant and every window of ten seconds that starts at a grant.
        #[test]
        fn retries_are_a_bounded_share_of_first_attempts(
            ratio in 0.0..2.0, min in 0.0..3.0,
            steps in prop::collection::vec((0_u64..900, any::<bool>()), 0..400),
        ) {
            let mut budget = RetryBudget::new(&settings(ratio, min));
            prop_assume!(budget.is_enabled());
            let ttl = Duration::from_secs(10);
            let (mut now, mut firsts, mut retries) = (Timestamp::ZERO, Vec::new(), Vec::new());
            for (millis, first) in steps {
                now = now + Duration::from_millis(millis);
                if first {
                    budget.deposit(now);
                    firsts.push(now);
                } else if budget.withdraw(now) {
                    retries.push(now);
                    let within = |list: &[Timestamp]| list.iter().filter(|t| **t + ttl > now).count() as f64;
                    let bound = ratio * within(&firsts) + min * 10.0;
                    prop_assert!(within(&retries) <= bound + 1e-6, "{} > {bound}", within(&retries));
                }
                prop_assert!(budget.balance(now) <= budget.max(now));
            }
            for start in &retries {
                let end = *start + ttl;
                let made = retries.iter().filter(|t| **t >= *start && **t < end).count() as f64;
                let earned = firsts.iter().filter(|t| **t + ttl > *start && **t < end).count() as f64;
                prop_assert!(made <= ratio * earned + min * 10.0 + 1e-6);
            }
        }
    }
}
