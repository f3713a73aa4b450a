//! The figures of the tour: values of the state since the beginning of a step, by name.

use std::time::Duration;

use crate::event::{BreakerState, Fate, Origin};
use crate::settings::SemanticMode;
use crate::state::{Call, State};
use crate::time::Timestamp;

/// Figures that have no value at first.
#[cfg(test)]
pub(super) const WITHOUT_VALUE: &[&str] = &[
    "at_once",
    "longest_wait",
    "answer",
    "hit",
    "trip",
    "trip_failures",
    "trip_total",
    "trip_streak",
    "close",
    "since_budget",
    "budget_time",
    "similarity",
    "rate",
];

/// Counts of the state at one time. Figures are differences of two.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Counts {
    calls: u64,
    answered: u64,
    cached: u64,
    failed: u64,
    limited: u64,
    refused: u64,
    failed_attempts: u64,
    rescued: u64,
    opened: u64,
    semantic_hits: u64,
    objections: u64,
    tokens: u64,
}

impl Counts {
    pub(super) fn of(state: &State) -> Self {
        let ended = |fates: &[Fate]| fates.iter().map(|fate| state.calls.totals.ended(*fate)).sum();
        Self {
            calls: state.calls.totals.started,
            answered: ended(&[Fate::Answered]),
            cached: ended(&[Fate::Hit]),
            failed: ended(&[Fate::Failed, Fate::Interrupted]),
            limited: ended(&[Fate::RateLimited]),
            refused: ended(&[Fate::CircuitOpen]),
            failed_attempts: state.retry.causes.values().sum(),
            rescued: state.retry.recovered,
            opened: state.breakers.opened(),
            semantic_hits: state.semantic.live.hits,
            objections: state.semantic.refused(),
            tokens: state.cache.saved_tokens,
        }
    }

    /// The count of this name from here to another time.
    pub(super) fn until(&self, now: Self, name: &str) -> Option<Figure> {
        let (now, since) = now.get(name).zip(self.get(name))?;
        Some(Figure::Count(now.saturating_sub(since)))
    }

    /// The count of this name.
    fn get(&self, name: &str) -> Option<u64> {
        Some(match name {
            "calls" => self.calls,
            "answered" => self.answered,
            "cached" => self.cached,
            "failed" => self.failed,
            "limited" => self.limited,
            "refused" => self.refused,
            "failed_attempts" => self.failed_attempts,
            "rescued" => self.rescued,
            "opened" => self.opened,
            "semantic_hits" => self.semantic_hits,
            "objections" => self.objections,
            "tokens" => self.tokens,
            _ => return None,
        })
    }
}

/// The times and maxima that the state does not keep, recorded while a step runs.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Record {
    began: Timestamp,
    /// The counts at the beginning.
    since: Counts,
    /// The most waiters at once, and the time at which the queue was empty again.
    waited: u64,
    drained_at: Option<Timestamp>,
    faults_on_at: Option<Timestamp>,
    faults_off_at: Option<Timestamp>,
    closed_at: Option<Timestamp>,
    /// True once the step ran without a retry budget, and the time at which it was set after that.
    had_none: bool,
    budget_at: Option<Timestamp>,
    /// Answers of the upstream seen, and the time of the last.
    answers: u64,
    answered_at: Timestamp,
    /// The first answer after the budget was set.
    recovered_at: Option<Timestamp>,
}

impl Record {
    pub(super) fn begin(state: &State, now: Timestamp) -> Self {
        let since = Counts::of(state);
        Self {
            began: now,
            since,
            answers: since.answered,
            answered_at: now,
            ..Self::default()
        }
    }

    /// Returns true once the state shows the policy of the step. Until then it shows faults, load and budget of the
    /// step before.
    pub(super) fn is_current(&self, state: &State) -> bool {
        state.session.policy_at >= self.began
    }

    /// Takes note of the state.
    pub(super) fn update(&mut self, state: &State) {
        let at = state.last_event_at;
        let waiting = state.calls.totals.queued;
        self.waited = self.waited.max(waiting);
        if self.waited > 0 && waiting == 0 {
            self.drained_at.get_or_insert(at);
        } else if waiting > 0 {
            self.drained_at = None;
        }
        let (faults, budget) = (state.session.faults_on, has_budget(state));
        if faults {
            self.faults_on_at.get_or_insert(at);
            self.faults_off_at = None;
        } else if self.faults_on_at.is_some() {
            self.faults_off_at.get_or_insert(at);
        }
        let opened = state.breakers.opened() > self.since.opened;
        if opened && state.breaker().state == BreakerState::Closed {
            self.closed_at.get_or_insert(state.breaker().since);
        } else {
            self.closed_at = None;
        }
        self.had_none |= !budget;
        if budget && self.had_none {
            self.budget_at.get_or_insert(at);
        }
        let answers = state.calls.totals.ended(Fate::Answered);
        if answers != self.answers {
            self.answers = answers;
            self.answered_at = at;
            if self.budget_at.is_some() {
                self.recovered_at.get_or_insert(at);
            }
        }
    }

    /// The questions of this step, newest first.
    fn asked<'a>(&self, state: &'a State) -> impl Iterator<Item = &'a Call> {
        let began = self.began;
        let calls = state.calls.recent.values().rev();
        calls.filter(move |call| call.origin == Origin::Chat && call.started_at >= began)
    }

    /// The most calls that waited at once.
    pub(super) fn waited(&self) -> u64 {
        self.waited
    }

    /// The time from setting the retry budget to the first answer.
    pub(super) fn budget_time(&self) -> Option<Duration> {
        Some(self.recovered_at?.since(self.budget_at?))
    }

    /// The figure of this name; `None` if it has no value yet.
    pub(super) fn figure(&self, name: &str, state: &State, now: Timestamp) -> Option<Figure> {
        if let Some(figure) = self.since.until(Counts::of(state), name) {
            return Some(figure);
        }
        let flag = |holds: bool| Some(Figure::Count(u64::from(holds)));
        let spell = || {
            let from = self.faults_on_at?;
            let mut spells = state.breaker().spells(now);
            spells.find(|spell| spell.state == BreakerState::Open && spell.from >= from)
        };
        match name {
            "waiting" => Some(Figure::Count(state.calls.totals.queued)),
            "waited" => Some(Figure::Count(self.waited)),
            "at_once" => {
                let burst = state.calls.burst()?;
                Some(Figure::Count(burst.counts.started.saturating_sub(self.waited)))
            }
            "drained" => flag(self.drained_at.is_some()),
            "longest_wait" => {
                let burst = state.calls.burst()?;
                Some(Figure::Time(self.drained_at?.since(burst.started_at)))
            }
            "asked" => Some(Figure::Count(self.asked(state).count() as u64)),
            "answer" | "hit" => {
                let fate = if name == "hit" { Fate::Hit } else { Fate::Answered };
                let call = self.asked(state).find(|call| call.fate == Some(fate))?;
                Some(Figure::Time(call.ended_at?.since(call.started_at)))
            }
            "faults" => flag(state.session.faults_on),
            "repaired" => flag(self.faults_off_at.is_some()),
            "closed" => flag(self.closed_at.is_some()),
            "trip" => Some(Figure::Time(spell()?.from.since(self.faults_on_at?))),
            "trip_failures" => Some(Figure::Count(u64::from(spell()?.window.failed))),
            "trip_total" => Some(Figure::Count(u64::from(spell()?.window.total))),
            // only if it is the reason
            "trip_streak" => {
                let streak = spell()?.window.consecutive;
                let limit = state.session.policy.breaker.consecutive;
                (streak >= limit).then(|| Figure::Count(u64::from(streak)))
            }
            "close" => Some(Figure::Time(self.closed_at?.since(self.faults_off_at?))),
            "rate" => {
                let load = state.session.load.as_ref();
                let load = load.filter(|load| load.started_at >= self.began)?;
                Some(Figure::Share(load.plan.rate))
            }
            "load_ended" => flag(state.session.running_load().is_none()),
            "silence" => Some(Figure::Time(now.since(self.answered_at))),
            "budget" => flag(has_budget(state)),
            "since_budget" => {
                let recovered = self.recovered_at?;
                Some(Figure::Time(now.since(recovered)))
            }
            "budget_time" => self.budget_time().map(Figure::Time),
            "semantic" => flag(state.session.policy.semantic.mode == SemanticMode::On),
            "similarity" => {
                let last = state.semantic.recent.back()?;
                Some(Figure::Share(last.nearest.similarity))
            }
            _ => None,
        }
    }
}

fn has_budget(state: &State) -> bool {
    let retry = &state.session.policy.retry;
    retry.budget_ratio > 0.0 || retry.budget_min_per_s > 0.0
}

/// A figure and its unit.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Figure {
    Count(u64),
    Time(Duration),
    Share(f64),
}

impl Figure {
    /// The number that a condition compares: a count, seconds or a share.
    pub(super) fn value(self) -> f64 {
        match self {
            Self::Count(count) => count as f64,
            Self::Time(time) => time.as_secs_f64(),
            Self::Share(share) => share,
        }
    }

    /// The figure in words.
    pub(super) fn text(self) -> String {
        match self {
            Self::Count(count) => count.to_string(),
            // a no-break space: a line must not end between a number and its unit
            Self::Time(time) => format!("{:.1}\u{a0}s", time.as_secs_f64()),
            Self::Share(share) => format!("{share:.2}"),
        }
    }
}
