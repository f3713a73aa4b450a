//! A run over time: a bounded fold over events.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::event::{BreakerState, BreakerStates, BucketLevel, CallId, Event, EventKind, Fate};
use crate::state::{Percentiles, RetryCause};
use crate::text::units;
use crate::time::Timestamp;

/// The width of the bins at the start.
pub(super) const NARROWEST: Duration = Duration::from_millis(125);
/// Maximum number of bins; beyond it, pairs are merged.
const MOST_BINS: usize = 360;
/// Maximum number of breaker transitions and of fault switches kept, each.
const MOST_MOVES: usize = 4096;

/// Maximum number of calls whose next attempt has a known cause; the retries of others have another cause.
const MOST_CALLS: usize = 16_384;

/// Counts within a bin.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Bin {
    /// Calls that ended, in the order of [`Fate::ALL`].
    pub fates: [u32; Fate::ALL.len()],
    /// First attempts sent.
    pub first_attempts: u32,
    /// Retries sent, in the order of [`RetryCause::ALL`].
    pub retries: [u32; RetryCause::ALL.len()],
    /// Durations of calls answered by the upstream, from start to end.
    pub latency: Percentiles,
    /// The lowest level of the request bucket over its capacity; below 0: debt.
    pub requests: Option<f64>,
    /// The lowest level of the token bucket over its capacity.
    pub tokens: Option<f64>,
}

impl Bin {
    fn merged(&self, later: &Self) -> Self {
        let lowest = |a: Option<f64>, b: Option<f64>| match (a, b) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        };
        let mut both = self.clone();
        let sums = both.fates.iter_mut().chain(&mut both.retries);
        for (sum, more) in sums.zip(later.fates.iter().chain(&later.retries)) {
            *sum = sum.saturating_add(*more);
        }
        both.first_attempts = both.first_attempts.saturating_add(later.first_attempts);
        both.latency.merge(&later.latency);
        both.requests = lowest(self.requests, later.requests);
        both.tokens = lowest(self.tokens, later.tokens);
        both
    }
}

/// A run over time.
#[derive(Clone, Debug)]
pub struct History {
    pub(super) width: Duration,
    pub(super) bins: Vec<Bin>,
    levels: Option<(BucketLevel, BucketLevel)>,
    pub(super) moves: Vec<(Timestamp, BreakerState)>,
    breakers: BreakerStates,
    /// The name of the faults from each time on.
    switches: Vec<(Timestamp, Option<String>)>,
    /// The cause of the next attempt of a call.
    causes: BTreeMap<CallId, RetryCause>,
    pub(super) last_at: Timestamp,
}

impl Default for History {
    fn default() -> Self {
        Self {
            width: NARROWEST,
            bins: Vec::new(),
            levels: None,
            moves: Vec::new(),
            breakers: BreakerStates::default(),
            switches: Vec::new(),
            causes: BTreeMap::new(),
            last_at: Timestamp::ZERO,
        }
    }
}

impl History {
    /// Applies an event.
    pub fn apply(&mut self, event: &Event) {
        self.last_at = self.last_at.max(event.at);
        self.reach(event.at);
        let Some(bin) = self.bins.last_mut() else { return };
        match &event.kind {
            EventKind::CallEnded { fate, took, .. } => {
                let place = Fate::ALL.iter().position(|one| one == fate);
                if let Some(count) = place.and_then(|at| bin.fates.get_mut(at)) {
                    *count = count.saturating_add(1);
                }
                if *fate == Fate::Answered {
                    bin.latency.record(*took);
                }
                event.call.map(|call| self.causes.remove(&call));
            }
            EventKind::RetryScheduled { class, .. } if self.causes.len() < MOST_CALLS => {
                let cause = RetryCause::from_class(*class);
                event.call.map(|call| self.causes.insert(call, cause));
            }
            EventKind::FlightHandedOver { from, .. } => {
                let cause = self.causes.remove(from);
                event
                    .call
                    .zip(cause)
                    .map(|(call, cause)| self.causes.insert(call, cause));
            }
            EventKind::AttemptStarted { attempt, .. } => {
                let cause = event.call.and_then(|call| self.causes.remove(&call));
                let cause = cause.unwrap_or(RetryCause::Other);
                let count = match bin.retries.get_mut(cause as usize) {
                    Some(count) if *attempt > 1 => count,
                    _ => &mut bin.first_attempts,
                };
                *count = count.saturating_add(1);
            }
            EventKind::LimitAdmitted { requests, tokens, .. }
            | EventKind::LimitSettled { requests, tokens, .. } => {
                self.levels = Some((*requests, *tokens));
                self.note_levels(event.at);
            }
            EventKind::BreakerMoved { model, to, .. } if self.moves.len() < MOST_MOVES => {
                let all = self.breakers.apply(model.as_ref(), *to);
                self.moves.push((event.at, all));
            }
            EventKind::FaultsApplied { on, profile } if self.switches.len() < MOST_MOVES => {
                let name = || match profile.total() {
                    total if total > 0.0 => format!("{} {}", profile.name, units::rate(total)),
                    _ => profile.name.clone(),
                };
                self.switches.push((event.at, on.then(name)));
            }
            _ => {}
        }
    }

    /// Adds bins up to that of `at`.
    fn reach(&mut self, at: Timestamp) {
        let bin_of = |width: Duration| (at.0 / crate::time::saturating_nanos(width).max(1)) as usize;
        while bin_of(self.width) >= MOST_BINS {
            self.width = self.width.saturating_mul(2);
            let pair = |pair: &[Bin]| {
                pair.iter()
                    .skip(1)
                    .fold(pair[0].clone(), |sum, bin| sum.merged(bin))
            };
            self.bins = self.bins.chunks(2).map(pair).collect();
        }
        while self.bins.len() <= bin_of(self.width) {
            let begins = Timestamp::ZERO + self.width.saturating_mul(self.bins.len() as u32);
            self.bins.push(Bin::default());
            // an unused bucket only rises: it is lowest at the beginning of the bin
            self.note_levels(begins);
        }
    }

    fn note_levels(&mut self, at: Timestamp) {
        let (Some((requests, tokens)), Some(bin)) = (self.levels, self.bins.last_mut()) else {
            return;
        };
        let share = |level: BucketLevel| level.level_at(at) / level.capacity.max(1) as f64;
        let lowest = |before: Option<f64>, now: f64| Some(before.map_or(now, |before| before.min(now)));
        bin.requests = lowest(bin.requests, share(requests));
        bin.tokens = lowest(bin.tokens, share(tokens));
    }

    /// The series for charts with this title.
    pub fn series(&self, title: &str) -> Series {
        let end = self.last_at.as_secs_f64();
        let moves = self.moves.iter().map(|(at, to)| (*at, Some(*to)));
        let moves = [(Timestamp::ZERO, Some(BreakerState::Closed))]
            .into_iter()
            .chain(moves);
        let switches = self.switches.iter().cloned();
        Series {
            title: title.to_owned(),
            seconds: end,
            width: self.width.as_secs_f64(),
            bins: self.bins.clone(),
            breaker: spans(moves, end),
            faults: spans(switches, end),
        }
    }
}

/// The spans between changes of a value; equal consecutive values are one span, and the last one ends at `end`.
fn spans<T: PartialEq>(changes: impl Iterator<Item = (Timestamp, Option<T>)>, end: f64) -> Vec<Span<T>> {
    let mut spans = Vec::new();
    let mut current: Option<(f64, T)> = None;
    for (at, value) in changes {
        if current.as_ref().map(|(_, value)| value) == value.as_ref() {
            continue;
        }
        let at = at.as_secs_f64();
        let over = std::mem::replace(&mut current, value.map(|value| (at, value)));
        spans.extend(over.map(|(from, value)| Span {
            from,
            until: at,
            value,
        }));
    }
    spans.extend(current.map(|(from, value)| Span {
        from,
        until: end,
        value,
    }));
    spans
}

/// A value over a period, in seconds since the start.
#[derive(Clone, Debug, PartialEq)]
pub struct Span<T> {
    /// The beginning.
    pub from: f64,
    /// The end.
    pub until: f64,
    /// The value.
    pub value: T,
}

/// The data of the charts of a run.
#[derive(Clone, Debug, PartialEq)]
pub struct Series {
    /// Name of the scenario.
    pub title: String,
    /// Duration of the run, in seconds.
    pub seconds: f64,
    /// Width of a bin, in seconds.
    pub width: f64,
    /// Consecutive bins from the start.
    pub bins: Vec<Bin>,
    /// Consecutive states of the breaker.
    pub breaker: Vec<Span<BreakerState>>,
    /// Periods of faults, with their names and rates.
    pub faults: Vec<Span<String>>,
}
