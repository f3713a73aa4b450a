//! Invariant 8, as the budget promises it: for each retry at `t` that the upstream feels,
//!
//! `retries in (t - ttl, t] <= ratio * first attempts in (t - ttl, t] + min_per_s * ttl`
//!
//! And the other way round, within its rounding: a twentieth of the ttl early for a first attempt, two late for
//! a retry. None is refused where there is room for it even so.

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
    /// Another time to live begins from nothing.
    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }

    /// A first attempt goes out.
    pub(super) fn first(&mut self, at: Timestamp) {
        self.firsts.push_back(at);
    }

    /// A retry was granted that may cost the upstream something.
    pub(super) fn retry(&mut self, event: &Arc<Event>, settings: &RetrySettings, slack: Slack) -> Holds {
        let (now, ttl) = (event.at, settings.budget_ttl);
        self.retries.push_back(Arc::clone(event));
        // kept a little longer than they count, for the other way round
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
            // one more, where a first attempt may be told of a little late
            allowed += 1.0;
        }
        ensure(made as f64 <= allowed + 1e-6, 8, || {
            format!("{made} retries in {ttl:?} for {firsts} first attempts, {allowed:.1} are allowed")
        })
        .map_err(|breach| breach.with(self.retries.iter().map(Arc::clone)))
    }

    /// A retry was refused because the budget is empty. In real time a first attempt may be told of too late to
    /// say whether it was.
    pub(super) fn refused(&self, event: &Event, settings: &RetrySettings, slack: Slack) -> Holds {
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
                "no retry is left, after {made} for {firsts} first attempts where {allowed:.1} are allowed"
            )
        })
        .map_err(|breach| breach.with(self.retries.iter().map(Arc::clone)))
    }
}
