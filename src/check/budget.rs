//! Invariant 8, the retry budget: for each retry at `t` that reaches the upstream,
//!
//! `retries in (t - ttl, t] <= ratio * first attempts in (t - ttl, t] + min_per_s * ttl`
//!
//! The converse holds within the rounding of the budget: a retry that fits even with first attempts counted a
//! twentieth of the ttl early and retries two twentieths late is not denied.

use std::collections::VecDeque;
use std::sync::Arc;

use super::Slack;
use super::violation::{Holds, ensure};
use crate::event::Event;
use crate::settings::RetrySettings;
use crate::time::Timestamp;

#[derive(Debug, Default)]
pub(super) struct Budget {
    firsts: VecDeque<Timestamp>,
    retries: VecDeque<Arc<Event>>,
}

impl Budget {
    /// Forgets everything, for another time to live.
    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }

    /// Counts a first attempt.
    pub(super) fn first(&mut self, at: Timestamp) {
        self.firsts.push_back(at);
    }

    /// Checks a granted retry that reaches the upstream.
    pub(super) fn retry(&mut self, event: &Arc<Event>, settings: &RetrySettings, slack: Slack) -> Holds {
        let (now, ttl) = (event.at, settings.budget_ttl);
        self.retries.push_back(Arc::clone(event));
        // kept longer than they count, for the converse
        let kept = ttl.saturating_add(ttl / 10);
        while self.retries.front().is_some_and(|retry| retry.at + kept <= now) {
            self.retries.pop_front();
        }
        while self.firsts.front().is_some_and(|first| *first + ttl <= now) {
            self.firsts.pop_front();
        }
        if settings.budget_ratio <= 0.0 && settings.budget_min_per_s <= 0.0 {
            return Ok(());
        }
        let made = self.retries.iter().filter(|retry| retry.at + ttl > now).count();
        let firsts = self.firsts.len();
        let mut allowed =
            settings.budget_ratio * firsts as f64 + settings.budget_min_per_s * ttl.as_secs_f64();
        if !slack.stamp.is_zero() {
            // the record of a first attempt may be late
            allowed += 1.0;
        }
        ensure(made as f64 <= allowed + 1e-6, 8, || {
            format!("{made} retries in {ttl:?} for {firsts} first attempts, at most {allowed:.1} are allowed")
        })
        .map_err(|breach| breach.with(self.retries.iter().map(Arc::clone)))
    }

    /// Checks a retry denied for an empty budget. Skipped in real time, where the record of a first attempt may be
    /// late.
    pub(super) fn denied(&self, event: &Event, settings: &RetrySettings, slack: Slack) -> Holds {
        let (now, slot) = (event.at, settings.budget_ttl / 20);
        let firsts = self
            .firsts
            .iter()
            .filter(|first| **first + slot * 19 >= now)
            .count();
        let made = self
            .retries
            .iter()
            .filter(|retry| retry.at + slot * 22 >= now)
            .count();
        let earned = settings.budget_ratio * firsts as f64;
        let allowed = earned + settings.budget_min_per_s * settings.budget_ttl.as_secs_f64();
        let is_kept = settings.budget_ratio > 0.0 || settings.budget_min_per_s > 0.0;
        let empty = is_kept && made as f64 + 1.0 > allowed - 1e-6;
        ensure(empty || !slack.stamp.is_zero(), 8, || {
            format!(
                "a retry was denied after {made} for {firsts} first attempts, where {allowed:.1} are allowed"
            )
        })
        .map_err(|breach| breach.with(self.retries.iter().map(Arc::clone)))
    }
}
