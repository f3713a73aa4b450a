//! The mean of many runs over time.
//!
//! All sums are integers, so the result does not depend on the order in which threads add runs.

use std::time::Duration;

use super::history::{Bin, History, NARROWEST, Span};
use super::run::percentiles;
use super::stack::Percentile;
use crate::event::{BreakerState, Fate};
use crate::state::Percentiles;
use crate::time::{Timestamp, saturating_nanos};

/// Sums within a bin, over all runs.
#[derive(Clone, Debug, Default, PartialEq)]
struct Sums {
    served: u64,
    rejected: u64,
    lost: u64,
    first_attempts: u64,
    retries: u64,
    /// Nanoseconds in this state.
    open: u64,
    /// Nanoseconds in this state.
    half_open: u64,
    /// Nanoseconds of runs that had not ended.
    played: u64,
    /// Calls answered by the upstream, of all runs.
    latency: Percentiles,
}

impl Sums {
    fn add(&mut self, other: &Self) {
        let Self {
            served,
            rejected,
            lost,
            first_attempts,
            retries,
            open,
            half_open,
            played,
            latency,
        } = other;
        self.latency.merge(latency);
        for (sum, more) in [
            (&mut self.served, served),
            (&mut self.rejected, rejected),
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
                Fate::RateLimited | Fate::CircuitOpen => &mut self.rejected,
                Fate::Failed | Fate::Interrupted | Fate::Cancelled => &mut self.lost,
            };
            *sum = sum.saturating_add(u64::from(count));
        }
        self.first_attempts = self.first_attempts.saturating_add(u64::from(bin.first_attempts));
        let retries = bin.retries.iter().copied().map(u64::from).sum();
        self.retries = self.retries.saturating_add(retries);
        self.latency.merge(&bin.latency);
    }
}

/// Many runs over time.
#[derive(Clone, Debug, PartialEq)]
pub struct OverTime {
    width: Duration,
    runs: u64,
    bins: Vec<Sums>,
    /// The number of the first run, and its periods of faults: they are the same in all runs.
    faults: (u64, Vec<Span<String>>),
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

/// Means per run, in consecutive bins.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Means {
    /// Width of a bin, in seconds.
    pub width: f64,
    /// Calls per second.
    pub served: Vec<f64>,
    /// Calls rejected by the limiter or the breaker, per second.
    pub rejected: Vec<f64>,
    /// Failed, interrupted or cancelled calls, per second.
    pub lost: Vec<f64>,
    /// Attempts per second.
    pub first_attempts: Vec<f64>,
    /// Retries per second.
    pub retries: Vec<f64>,
    /// Percent of the time of runs that had not ended.
    pub open: Vec<f64>,
    /// Percent of the time of runs that had not ended.
    pub half_open: Vec<f64>,
    /// Latency of calls answered by the upstream.
    pub latency: Vec<Percentile>,
}

impl Means {
    /// All attempts per second.
    pub(super) fn attempts(&self) -> Vec<f64> {
        let both = self.first_attempts.iter().zip(&self.retries);
        both.map(|(first, retries)| first + retries).collect()
    }
}

impl OverTime {
    /// Adds a run, with its number.
    pub fn join(&mut self, number: u64, run: &History) {
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
        self.add_time(Timestamp::ZERO, run.last_at, |sums| &mut sums.played);
        let ends = run.moves.iter().skip(1).map(|(at, _)| *at).chain([run.last_at]);
        for ((from, state), until) in run.moves.iter().zip(ends) {
            match state {
                BreakerState::Open => self.add_time(*from, until, |sums| &mut sums.open),
                BreakerState::HalfOpen => self.add_time(*from, until, |sums| &mut sums.half_open),
                BreakerState::Closed => {}
            }
        }
        if number < self.faults.0 {
            self.faults = (number, run.series("").faults);
        }
        self.end = self.end.max(run.last_at);
        self.runs += 1;
    }

    /// Adds a period to the bins that it overlaps.
    fn add_time(&mut self, from: Timestamp, until: Timestamp, of: impl Fn(&mut Sums) -> &mut u64) {
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

    /// Duration of the longest run, in seconds.
    pub fn seconds(&self) -> f64 {
        self.end.as_secs_f64()
    }

    /// Number of runs.
    pub fn runs(&self) -> u64 {
        self.runs
    }

    /// Periods of faults.
    pub fn faults(&self) -> &[Span<String>] {
        &self.faults.1
    }

    /// The smallest width at which at most this many bins cover `seconds`.
    pub(super) fn width_for(&self, seconds: f64, most: usize) -> Duration {
        let mut width = self.width;
        while (seconds / width.as_secs_f64()) > most as f64 {
            width = width.saturating_mul(2);
        }
        width
    }

    /// The means, in bins of at least `width`: one that [`Self::width_for`] returned.
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
            rejected: rate(|sums| sums.rejected),
            lost: rate(|sums| sums.lost),
            first_attempts: rate(|sums| sums.first_attempts),
            retries: rate(|sums| sums.retries),
            open: share(|sums| sums.open),
            half_open: share(|sums| sums.half_open),
            latency: bins.iter().map(|sums| percentiles(&sums.latency)).collect(),
        }
    }
}

/// The number of bins of width `narrow` per bin of width `wide`; all widths are powers of two of one width.
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
