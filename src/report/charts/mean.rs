//! What many runs did over time, on average.
//!
//! All sums are of whole numbers: the order in which runs are taken, by whatever thread, does not change a bit of them.

use std::time::Duration;

use super::history::{Bin, History, NARROWEST, Span};
use crate::event::{BreakerState, Fate};
use crate::time::{Timestamp, saturating_nanos};

/// What happened within a bin, over all runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Sums {
    served: u64,
    turned_away: u64,
    lost: u64,
    first_attempts: u64,
    retries: u64,
    /// Nanoseconds, as are the others below.
    open: u64,
    half_open: u64,
    /// While runs had not ended.
    played: u64,
}

impl Sums {
    fn add(&mut self, other: &Self) {
        let Self {
            served,
            turned_away,
            lost,
            first_attempts,
            retries,
            open,
            half_open,
            played,
        } = other;
        for (sum, more) in [
            (&mut self.served, served),
            (&mut self.turned_away, turned_away),
            (&mut self.lost, lost),
            (&mut self.first_attempts, first_attempts),
            (&mut self.retries, retries),
            (&mut self.open, open),
            (&mut self.half_open, half_open),
            (&mut self.played, played),
        ] {
            *sum = sum.saturating_add(*more);
        }
    }

    fn count(&mut self, bin: &Bin) {
        for (fate, count) in Fate::ALL.iter().zip(bin.fates) {
            let sum = match fate {
                Fate::Answered | Fate::Hit | Fate::Shared => &mut self.served,
                Fate::RateLimited | Fate::CircuitOpen => &mut self.turned_away,
                Fate::Failed | Fate::Interrupted | Fate::Cancelled => &mut self.lost,
            };
            *sum = sum.saturating_add(u64::from(count));
        }
        self.first_attempts = self.first_attempts.saturating_add(u64::from(bin.first_attempts));
        self.retries = self.retries.saturating_add(u64::from(bin.retries));
    }
}

/// See the module documentation.
#[derive(Clone, Debug, PartialEq)]
pub struct OverTime {
    width: Duration,
    runs: u64,
    bins: Vec<Sums>,
    /// Of the earliest run, and which that is: faults come by the clock of the scenario.
    faults: (u64, Vec<Span<()>>),
    end: Timestamp,
}

impl Default for OverTime {
    fn default() -> Self {
        Self {
            width: NARROWEST,
            runs: 0,
            bins: Vec::new(),
            faults: (u64::MAX, Vec::new()),
            end: Timestamp::ZERO,
        }
    }
}

/// What a chart shows of it: means of a run, by bins without a gap.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Means {
    /// Of a bin, in seconds.
    pub width: f64,
    /// Calls a second.
    pub served: Vec<f64>,
    /// By the limiter or the breaker.
    pub turned_away: Vec<f64>,
    /// Failed, cut or stopped.
    pub lost: Vec<f64>,
    /// A second.
    pub first_attempts: Vec<f64>,
    /// A second.
    pub retries: Vec<f64>,
    /// Percent of the time of the runs that had not ended.
    pub open: Vec<f64>,
    /// Likewise.
    pub half_open: Vec<f64>,
}

impl OverTime {
    /// Takes a run in; `order` says which of the runs it is.
    pub fn join(&mut self, order: u64, run: &History) {
        let step = coarse(run.width, self.width);
        if self.width < run.width {
            self.bins = joined(&self.bins, coarse(self.width, run.width));
            self.width = run.width;
        }
        let bins = run.bins.len().div_ceil(step);
        self.bins.resize(self.bins.len().max(bins), Sums::default());
        for (bin, sums) in run.bins.chunks(step).zip(&mut self.bins) {
            for bin in bin {
                sums.count(bin);
            }
        }
        self.spend(Timestamp::ZERO, run.last_at, |sums| &mut sums.played);
        let ends = run.moves.iter().skip(1).map(|(at, _)| *at).chain([run.last_at]);
        for ((from, state), until) in run.moves.iter().zip(ends) {
            match state {
                BreakerState::Open => self.spend(*from, until, |sums| &mut sums.open),
                BreakerState::HalfOpen => self.spend(*from, until, |sums| &mut sums.half_open),
                BreakerState::Closed => {}
            }
        }
        if order < self.faults.0 {
            self.faults = (order, run.series("").faults);
        }
        self.end = self.end.max(run.last_at);
        self.runs += 1;
    }

    /// Adds the time between two moments to the bins it falls into.
    fn spend(&mut self, from: Timestamp, until: Timestamp, of: impl Fn(&mut Sums) -> &mut u64) {
        let width = saturating_nanos(self.width).max(1);
        let (first, last) = ((from.0 / width) as usize, (until.0 / width) as usize);
        let bins = self.bins.iter_mut().enumerate().skip(first);
        for (at, sums) in bins.take((last + 1).saturating_sub(first)) {
            let begins = (at as u64).saturating_mul(width);
            let part = until.0.min(begins.saturating_add(width)) - from.0.max(begins).min(until.0);
            let sum = of(sums);
            *sum = sum.saturating_add(part);
        }
    }

    /// Seconds until the last event of the longest run.
    pub fn seconds(&self) -> f64 {
        self.end.as_secs_f64()
    }

    /// How many runs are in it.
    pub fn runs(&self) -> u64 {
        self.runs
    }

    /// When faults were on.
    pub fn faults(&self) -> &[Span<()>] {
        &self.faults.1
    }

    /// The narrowest bins of which so many reach over `seconds`.
    pub(super) fn width_for(&self, seconds: f64, most: usize) -> Duration {
        let mut width = self.width;
        while (seconds / width.as_secs_f64()) > most as f64 {
            width = width.saturating_mul(2);
        }
        width
    }

    /// The means, in bins of `width` at least: that of another one, from [`Self::width_for`].
    pub(super) fn means(&self, width: Duration) -> Means {
        let bins = joined(&self.bins, coarse(self.width, width));
        let width = width.max(self.width).as_secs_f64();
        let rate = |of: fn(&Sums) -> u64| -> Vec<f64> {
            let all = self.runs.max(1) as f64 * width;
            bins.iter().map(|sums| of(sums) as f64 / all).collect()
        };
        let share = |of: fn(&Sums) -> u64| -> Vec<f64> {
            let percent = |sums: &Sums| of(sums) as f64 * 100.0 / sums.played.max(1) as f64;
            bins.iter().map(percent).collect()
        };
        Means {
            width,
            served: rate(|sums| sums.served),
            turned_away: rate(|sums| sums.turned_away),
            lost: rate(|sums| sums.lost),
            first_attempts: rate(|sums| sums.first_attempts),
            retries: rate(|sums| sums.retries),
            open: share(|sums| sums.open),
            half_open: share(|sums| sums.half_open),
        }
    }
}

/// How many bins of `narrow` make one of `wide`; all widths are one width doubled some times.
fn coarse(narrow: Duration, wide: Duration) -> usize {
    let times = saturating_nanos(wide) / saturating_nanos(narrow).max(1);
    usize::try_from(times).unwrap_or(usize::MAX).max(1)
}

fn joined(bins: &[Sums], step: usize) -> Vec<Sums> {
    let sum = |bins: &[Sums]| {
        let mut all = Sums::default();
        for bin in bins {
            all.add(bin);
        }
        all
    };
    bins.chunks(step).map(sum).collect()
}
