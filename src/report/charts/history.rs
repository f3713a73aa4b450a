//! What a run did over time: a bounded fold over events.

use std::time::Duration;

use crate::event::{BreakerState, BucketLevel, Event, EventKind, Fate};
use crate::time::Timestamp;

/// The bins of the shortest runs.
pub(super) const NARROWEST: Duration = Duration::from_millis(125);
/// When there are more, each two become one.
const MOST_BINS: usize = 360;
/// Moves of the breaker and switches of the faults that are kept, each: a chart could not show more.
const MOST_MOVES: usize = 4096;

/// What happened within a bin.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Bin {
    /// Calls that ended, in the order of [`Fate::ALL`].
    pub fates: [u32; Fate::ALL.len()],
    /// First attempts that were sent.
    pub first_attempts: u32,
    /// Later ones.
    pub retries: u32,
    /// The lowest level of the bucket of requests over its capacity; below 0 is debt.
    pub requests: Option<f64>,
    /// The same of LLM tokens.
    pub tokens: Option<f64>,
}

impl Bin {
    fn with(&self, later: &Self) -> Self {
        let lowest = |a: Option<f64>, b: Option<f64>| match (a, b) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        };
        let mut both = *self;
        for (sum, more) in both.fates.iter_mut().zip(later.fates) {
            *sum = sum.saturating_add(more);
        }
        both.first_attempts = both.first_attempts.saturating_add(later.first_attempts);
        both.retries = both.retries.saturating_add(later.retries);
        both.requests = lowest(self.requests, later.requests);
        both.tokens = lowest(self.tokens, later.tokens);
        both
    }
}

/// See the module documentation.
#[derive(Clone, Debug)]
pub struct History {
    pub(super) width: Duration,
    pub(super) bins: Vec<Bin>,
    levels: Option<(BucketLevel, BucketLevel)>,
    pub(super) moves: Vec<(Timestamp, BreakerState)>,
    switches: Vec<(Timestamp, bool)>,
    pub(super) last_at: Timestamp,
}

impl Default for History {
    fn default() -> Self {
        Self {
            width: NARROWEST,
            bins: Vec::new(),
            levels: None,
            moves: Vec::new(),
            switches: Vec::new(),
            last_at: Timestamp::ZERO,
        }
    }
}

impl History {
    /// Takes note of an event.
    pub fn take(&mut self, event: &Event) {
        self.last_at = self.last_at.max(event.at);
        self.reach(event.at);
        match &event.kind {
            EventKind::CallEnded { fate, .. } => {
                let place = Fate::ALL.iter().position(|one| one == fate);
                if let Some(count) = place.and_then(|at| self.bins.last_mut()?.fates.get_mut(at)) {
                    *count = count.saturating_add(1);
                }
            }
            EventKind::AttemptStarted { attempt, .. } => {
                if let Some(bin) = self.bins.last_mut() {
                    let count = if *attempt > 1 {
                        &mut bin.retries
                    } else {
                        &mut bin.first_attempts
                    };
                    *count = count.saturating_add(1);
                }
            }
            EventKind::LimitAdmitted { requests, tokens, .. }
            | EventKind::LimitSettled { requests, tokens, .. } => {
                self.levels = Some((*requests, *tokens));
                self.note_levels(event.at);
            }
            EventKind::BreakerMoved { to, .. } if self.moves.len() < MOST_MOVES => {
                self.moves.push((event.at, *to));
            }
            EventKind::FaultsApplied { on, .. } if self.switches.len() < MOST_MOVES => {
                self.switches.push((event.at, *on));
            }
            _ => {}
        }
    }

    /// Makes the bin of `at` the last one.
    fn reach(&mut self, at: Timestamp) {
        let bin_of = |width: Duration| (at.0 / crate::time::saturating_nanos(width).max(1)) as usize;
        while bin_of(self.width) >= MOST_BINS {
            self.width = self.width.saturating_mul(2);
            let pair = |pair: &[Bin]| pair.iter().skip(1).fold(pair[0], |sum, bin| sum.with(bin));
            self.bins = self.bins.chunks(2).map(pair).collect();
        }
        while self.bins.len() <= bin_of(self.width) {
            let begins = Timestamp::ZERO + self.width.saturating_mul(self.bins.len() as u32);
            self.bins.push(Bin::default());
            // a bucket that nobody draws from only rises: it is lowest at the beginning
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

    /// What the charts show, under this title.
    pub fn series(&self, title: &str) -> Series {
        let end = self.last_at.as_secs_f64();
        let mut breaker = Vec::new();
        let mut from = (0.0, BreakerState::Closed);
        for (at, to) in &self.moves {
            breaker.push(Span {
                from: from.0,
                until: at.as_secs_f64(),
                what: from.1,
            });
            from = (at.as_secs_f64(), *to);
        }
        breaker.push(Span {
            from: from.0,
            until: end,
            what: from.1,
        });
        let mut faults = Vec::new();
        let mut since = None;
        for (at, on) in &self.switches {
            let at = at.as_secs_f64();
            match (since, on) {
                (None, true) => since = Some(at),
                (Some(from), false) => {
                    faults.push(Span {
                        from,
                        until: at,
                        what: (),
                    });
                    since = None;
                }
                (None, false) | (Some(_), true) => {}
            }
        }
        faults.extend(since.map(|from| Span {
            from,
            until: end,
            what: (),
        }));
        Series {
            title: title.to_owned(),
            seconds: end,
            width: self.width.as_secs_f64(),
            bins: self.bins.clone(),
            breaker,
            faults,
        }
    }
}

/// Something that held for a time, in seconds since the start.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Span<T> {
    /// From.
    pub from: f64,
    /// Until.
    pub until: f64,
    /// What.
    pub what: T,
}

/// What the charts of a run show.
#[derive(Clone, Debug, PartialEq)]
pub struct Series {
    /// What was played.
    pub title: String,
    /// How long, in seconds.
    pub seconds: f64,
    /// The width of a bin, in seconds.
    pub width: f64,
    /// From the start, without a gap.
    pub bins: Vec<Bin>,
    /// The states of the breaker, one after the other.
    pub breaker: Vec<Span<BreakerState>>,
    /// When faults were on.
    pub faults: Vec<Span<()>>,
}
