//! Retry storms: retries are most of the load and do not help.
//!
//! ```text
//!            rages, or tips over                      (both over the last 30 s)
//!   calm ---------------------------> storm
//!     ^                                 |
//!     +------------ abates -------------+
//!
//!   rages   at least as many retries as first attempts, 2 attempts per call or more,
//!           and fewer than one retry in four brings an answer
//!   tips    retries are a third of all attempts and more than in the 30 s before, by 10 points;
//!           answers are fewer than three in four and fewer than in the 30 s before, by 10 points;
//!           and fewer than one retry in four brings an answer
//!   abates  in the last 5 s: no retries, or fewer than half of the first attempts, or half of the calls answered;
//!           in the last 30 s: the same of the retries, or below 1.5 attempts per call, or half of them help
//! ```
//!
//! "Tips" is the way into a metastable failure: a trigger raises the load, retries keep it there when the trigger
//! is gone (Bronson and others, *Metastable failures in distributed systems*, HotOS 2021; Huang and others, OSDI
//! 2022, found retries in half of the cases they studied). Retries that do help are no storm, however many.
//! A few calls are not a storm: see [`LEAST_CALLS`] and its neighbours.

use serde::{Deserialize, Serialize};

use super::RetryView;
use super::window::{Sum, Windows};
use crate::event::{BreakerMode, BreakerState};
use crate::state::{State, Timeline};
use crate::text::{SafeText, units};
use crate::time::Timestamp;

/// Calls in the window needed for a storm.
const LEAST_CALLS: u64 = 10;
/// Retries in the window needed for a storm.
const LEAST_RETRIES: u64 = 15;
/// Retries in the last 5 s needed for a storm to begin.
const LEAST_RETRIES_NOW: u64 = 3;
/// Calls in the window needed for a peak: one call with three attempts is no threefold load.
const PEAK_CALLS: u64 = 5;
/// Ended retries in the window needed to judge if they help.
const LEAST_SETTLED: u64 = 10;

/// A retry storm that goes on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Storm {
    /// Start of the storm.
    pub since: Timestamp,
    /// Share of retries among the attempts of the last 30 s.
    pub retries: f64,
    /// Share of those retries that brought an answer.
    pub helped: f64,
    /// Attempts per call over the last 30 s.
    pub amplification: f64,
    /// The guard that holds it, if any.
    pub held_by: StormGuard,
}

/// Guards against a storm.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StormGuard {
    /// The breaker is open: no attempt is sent.
    Breaker,
    /// The budget is empty: no further retry is scheduled.
    Budget,
    /// The budget allows more retries.
    BudgetLeft {
        /// Number of them.
        left: f64,
        /// The setting that most of the budget comes from, with its value.
        setting: SafeText,
    },
    /// No budget; the name of the policy, as the title shows it.
    Nothing(SafeText),
}

impl Storm {
    /// Descriptions of the storm, longest first.
    pub fn sentences(&self) -> [String; 3] {
        let retries = self.retries * 100.0;
        let helped = self.helped * 100.0;
        [
            format!(
                "retries are {retries:.0} % of all attempts and {helped:.0} % of them help: a retry storm."
            ),
            format!("a retry storm: {retries:.0} % of attempts are retries, {helped:.0} % help."),
            format!("retry storm: {helped:.0} % of retries help"),
        ]
    }

    /// The effect of a guard or a remedy, longest first.
    pub fn advice(&self) -> [String; 2] {
        match &self.held_by {
            StormGuard::Breaker => [
                "The breaker is open: no attempt is sent, the upstream can recover.".into(),
                "The breaker is open and ends it.".into(),
            ],
            StormGuard::Budget => [
                "The budget is empty and holds it: no more retries than it earns.".into(),
                "The budget is empty and holds it.".into(),
            ],
            StormGuard::BudgetLeft { left, setting } => [
                format!("The budget allows {left:.0} more: lower {setting}; o opens the breaker."),
                format!("The budget allows {left:.0} more; o opens the breaker."),
            ],
            StormGuard::Nothing(policy) => [
                format!("No budget is kept (policy {policy}): set retry.budget_ratio; o opens the breaker."),
                "No budget is kept; o opens the breaker.".into(),
            ],
        }
    }
}

impl State {
    /// The retry storm that goes on at `now`, if one does.
    pub fn storm(&self, now: Timestamp) -> Option<Storm> {
        let retry = &self.retry;
        let windows = Windows::ending(&self.timeline, now.0 / 1_000_000_000);
        let calls = retry.attempts_of(&windows.window);
        let since = retry.storming.filter(|_| !abates(&windows, calls))?;
        let refuses = match self.breaker().mode {
            BreakerMode::ForcedOpen => true,
            BreakerMode::ForcedClosed => false,
            BreakerMode::Automatic => self.breaker().state != BreakerState::Closed,
        };
        let held_by = match self.retry_budget(now) {
            _ if refuses => StormGuard::Breaker,
            Some(budget) if budget.left < 1.0 => StormGuard::Budget,
            Some(budget) => StormGuard::BudgetLeft {
                left: budget.left,
                setting: self.budget_setting(budget.max),
            },
            None => {
                let name = SafeText::new(&self.session.policy_label).single_line();
                StormGuard::Nothing(name.as_str().into())
            }
        };
        Some(Storm {
            since,
            retries: windows.window.retry_share(),
            helped: windows.window.helped_share(),
            amplification: if calls.0 == 0 { 1.0 } else { calls.1 },
            held_by,
        })
    }

    /// The setting that gives most of a retry budget of `max`: `retry.budget_ratio = 0.2`.
    fn budget_setting(&self, max: f64) -> SafeText {
        let settings = &self.session.policy.retry;
        let steady = settings.budget_min_per_s * settings.budget_ttl.as_secs_f64();
        let (name, value) = if max > 2.0 * steady {
            ("retry.budget_ratio", settings.budget_ratio)
        } else {
            ("retry.budget_min_per_s", settings.budget_min_per_s)
        };
        format!("{name} = {}", units::number(value)).into()
    }
}

impl RetryView {
    /// Looks again after something happened.
    pub(super) fn watch(&mut self, now: Timestamp, timeline: &Timeline) {
        let windows = self.windows.now(timeline);
        let calls = self.attempts_of(&windows.window);
        if calls.0 >= PEAK_CALLS && self.peak.is_none_or(|(peak, _)| calls.1 > peak) {
            self.peak = Some((calls.1, now));
        }
        match self.storming {
            Some(_) if abates(&windows, calls) => self.storming = None,
            None if goes_on(&windows.short) && (rages(&windows.window, calls) || tips(&windows)) => {
                self.storming = Some(now);
                self.storms = self.storms.saturating_add(1);
            }
            Some(_) | None => {}
        }
    }

    /// Calls of the window, the running ones included, and attempts per call.
    pub(super) fn attempts_of(&self, window: &Sum) -> (u64, f64) {
        let calls = window.ended.saturating_add(self.running.out_calls);
        let attempts = window.ended_attempts.saturating_add(self.running.out_tries);
        let per_call = if calls == 0 {
            0.0
        } else {
            attempts as f64 / calls as f64
        };
        (calls, per_call)
    }
}

/// Few of the retries that ended brought an answer, and enough ended to say so.
fn in_vain(window: &Sum) -> bool {
    window.helped + window.wasted >= LEAST_SETTLED && window.helped_share() < 0.25
}

fn rages(window: &Sum, (calls, tries): (u64, f64)) -> bool {
    calls >= LEAST_CALLS
        && window.retries >= LEAST_RETRIES
        && window.retries >= window.first
        && tries >= 2.0
        && in_vain(window)
}

fn tips(Windows { window, before, .. }: &Windows) -> bool {
    let enough = |sum: &Sum| sum.answered + sum.lost >= LEAST_CALLS;
    enough(window)
        && enough(before)
        && window.retries >= LEAST_RETRIES
        && window.retry_share() >= (1.0_f64 / 3.0).max(before.retry_share() + 0.1)
        && window.answered_share() < 0.75_f64.min(before.answered_share() - 0.1)
        && in_vain(window)
}

/// The last 5 s show enough retries to begin with, and no end.
fn goes_on(short: &Sum) -> bool {
    short.retries >= LEAST_RETRIES_NOW && !is_over(short)
}

/// The last 5 s show no storm, whatever the 30 s still hold.
fn is_over(short: &Sum) -> bool {
    let ended = short.answered + short.lost;
    short.retries == 0 || short.retries * 2 < short.first || (ended > 0 && short.answered * 2 >= ended)
}

fn abates(Windows { window, short, .. }: &Windows, (_, per_call): (u64, f64)) -> bool {
    is_over(short) || window.retries * 2 < window.first || per_call < 1.5 || window.helped_share() >= 0.5
}
