//! The retry budget: retries as a share of the traffic, so that an outage is not answered with a storm.
//!
//! ```text
//! balance(t) = ratio * first attempts in (t - ttl, t]  +  min_per_s * ttl  -  retries in (t - ttl, t]
//! ```
//!
//! A retry is granted where the balance is at least 1. This is the budget of Finagle (`RetryBudget`) and
//! tower (`TpsBudget`): a deposit for each first attempt, a reserve for quiet times, and both deposits and
//! withdrawals forgotten after the time to live. An empty budget does not queue: the last error is returned.
//!
//! Time is cut into slots, so memory is fixed whatever the traffic. Rounding always goes against the retry:
//! a deposit may be forgotten up to one slot (a twentieth of the time to live) early, a withdrawal up to two
//! slots late. Therefore **exactly**, for each grant at `t`:
//!
//! `retries in (t - ttl, t] <= ratio * first attempts in (t - ttl, t] + min_per_s * ttl`
//!
//! and for any 10 seconds `W` with a ttl of 10 s:
//! `retries in W <= ratio * first attempts in W and the 10 s before + min_per_s * 10`.
//! (The first attempts before the window count, because what they earned may be spent within it.)

use std::time::Duration;

use crate::settings::RetrySettings;
use crate::time::{Timestamp, saturating_nanos};

/// Slots that make up the time to live.
const SLOTS: u64 = 20;
/// Slots kept: the current one, and two more for withdrawals.
const RING: usize = 22;
/// Makes `0.29 * 100` count as 29.
const ROUNDING: f64 = 1e-9;

#[derive(Clone, Copy, Debug, Default)]
struct Slot {
    /// `now / width` of everything counted here.
    epoch: u64,
    deposits: u64,
    withdrawals: u64,
}

/// How many retries may still be made, for one upstream.
#[derive(Clone, Debug)]
pub struct RetryBudget {
    ratio: f64,
    min_per_s: f64,
    ttl: Duration,
    ring: [Slot; RING],
    /// The latest epoch seen: time does not go back.
    latest: u64,
}

impl RetryBudget {
    /// A budget without deposits: only the reserve.
    pub fn new(settings: &RetrySettings) -> Self {
        Self {
            ratio: settings.budget_ratio,
            min_per_s: settings.budget_min_per_s,
            ttl: settings.budget_ttl,
            ring: [Slot::default(); RING],
            latest: 0,
        }
    }

    /// Takes new settings. What was counted stays, unless the time to live changes.
    pub fn apply(&mut self, settings: &RetrySettings) {
        if self.ttl == settings.budget_ttl {
            self.ratio = settings.budget_ratio;
            self.min_per_s = settings.budget_min_per_s;
        } else {
            *self = Self::new(settings);
        }
    }

    /// Whether a budget is kept at all: ratio and reserve of zero mean that every retry is granted.
    pub fn is_kept(&self) -> bool {
        self.ratio > 0.0 || self.min_per_s > 0.0
    }

    /// A first attempt goes out.
    pub fn deposit(&mut self, now: Timestamp) {
        let slot = self.slot(now);
        slot.deposits = slot.deposits.saturating_add(1);
    }

    /// Asks for one retry, and takes it if there is one.
    #[must_use = "false means that no retry may follow"]
    pub fn withdraw(&mut self, now: Timestamp) -> bool {
        let granted = !self.is_kept() || self.open_balance(now) + ROUNDING >= 1.0;
        if granted {
            let slot = self.slot(now);
            slot.withdrawals = slot.withdrawals.saturating_add(1);
        }
        granted
    }

    /// Retries left now, with fractions; 0 where no budget is kept.
    pub fn balance(&self, now: Timestamp) -> f64 {
        if self.is_kept() {
            self.open_balance(now).max(0.0)
        } else {
            0.0
        }
    }

    /// Retries that would be left now if none had been made; 0 where no budget is kept.
    pub fn max(&self, now: Timestamp) -> f64 {
        let epoch = self.epoch(now);
        let oldest = epoch.saturating_sub(SLOTS - 1);
        let deposits: u64 = self.since(oldest).map(|slot| slot.deposits).sum();
        self.ratio * deposits as f64 + self.min_per_s * self.ttl.as_secs_f64()
    }

    /// The balance, below zero where deposits were forgotten before the withdrawals they paid for.
    fn open_balance(&self, now: Timestamp) -> f64 {
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

    /// The slot of now, emptied if it was last used a round ago.
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
    fn the_reserve_is_there_from_the_start_and_comes_back() {
        let mut budget = RetryBudget::new(&settings(0.2, 1.0));
        assert_eq!(budget.balance(at(0.0)), 10.0);
        assert_eq!(granted(&mut budget, at(0.0)), 10);
        assert_eq!(granted(&mut budget, at(9.9)), 0);
        assert_eq!(granted(&mut budget, at(11.0)), 10);
    }

    #[test]
    fn first_attempts_earn_their_share() {
        let mut budget = RetryBudget::new(&settings(0.2, 0.0));
        for _ in 0..15 {
            budget.deposit(at(1.0));
        }
        assert_eq!(budget.max(at(1.0)), 3.0);
        assert_eq!(granted(&mut budget, at(1.0)), 3);
        assert_eq!((budget.balance(at(1.0)), budget.max(at(1.0))), (0.0, 3.0));
    }

    #[test]
    fn what_was_earned_expires() {
        let mut budget = RetryBudget::new(&settings(1.0, 0.0));
        budget.deposit(at(0.0));
        assert_eq!(budget.balance(at(9.49)), 1.0);
        assert!(!budget.withdraw(at(10.0)));
    }

    #[test]
    fn binary_fractions_lose_no_retry() {
        let mut budget = RetryBudget::new(&settings(0.29, 0.0));
        for _ in 0..100 {
            budget.deposit(at(0.0));
        }
        assert_eq!(granted(&mut budget, at(0.0)), 29);
    }

    #[test]
    fn without_ratio_and_reserve_no_budget_is_kept() {
        let mut budget = RetryBudget::new(&settings(0.0, 0.0));
        assert_eq!(granted(&mut budget, at(0.0)), 1000);
        assert_eq!((budget.balance(at(0.0)), budget.max(at(0.0))), (0.0, 0.0));
    }

    #[test]
    fn new_settings_keep_the_counts() {
        let mut budget = RetryBudget::new(&settings(0.0, 1.0));
        assert_eq!(granted(&mut budget, at(0.0)), 10);
        budget.apply(&settings(0.0, 1.2));
        assert_eq!(granted(&mut budget, at(0.0)), 2);
        budget.apply(&RetrySettings {
            budget_ttl: Duration::from_secs(3),
            ..settings(0.0, 1.0)
        });
        assert_eq!(granted(&mut budget, at(0.0)), 3);
    }

    #[test]
    fn a_clock_that_goes_back_earns_nothing() {
        let mut budget = RetryBudget::new(&settings(0.0, 1.0));
        assert_eq!(granted(&mut budget, at(50.0)), 10);
        assert_eq!(granted(&mut budget, at(0.0)), 0);
        assert_eq!(budget.balance(at(0.0)), 0.0);
    }

    proptest! {
        /// Invariant 8, for every grant and for every window of ten seconds that begins at a grant.
        #[test]
        fn no_storm(
            ratio in 0.0..2.0, min in 0.0..3.0,
            steps in prop::collection::vec((0_u64..900, any::<bool>()), 0..400),
        ) {
            let mut budget = RetryBudget::new(&settings(ratio, min));
            prop_assume!(budget.is_kept());
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
