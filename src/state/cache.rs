//! Hits, misses and what they saved.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::event::{BypassReason, MissReason, SkipReason};

/// The cache, in numbers. Lookups are the sum of hits and misses; bypassed calls are extra.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CacheView {
    /// Whether it is on.
    pub on: bool,
    /// Served from the cache.
    pub hits: u64,
    /// Served from the ledger of completed results.
    pub replays: u64,
    /// Asked in vain, by reason.
    pub misses: BTreeMap<MissReason, u64>,
    /// Not asked, by reason.
    pub bypasses: BTreeMap<BypassReason, u64>,
    /// Calls that shared a flight.
    pub shared: u64,
    /// Answers stored.
    pub stored: u64,
    /// Answers not stored, by reason.
    pub skipped: BTreeMap<SkipReason, u64>,
    /// Removed to make room.
    pub evicted: u64,
    /// Removed for their age.
    pub expired: u64,
    /// Entries now.
    pub entries: u64,
    /// Bytes now.
    pub bytes: u64,
    /// LLM tokens not spent again, by hits, replays and shared flights.
    pub saved_tokens: u64,
    /// Waiting spared by hits and replays.
    pub saved_time: Duration,
    /// Hits and lookups of each second, for the last 60 seconds in which there was a lookup or not:
    /// `(second since the start, hits, lookups)`, oldest first, seconds without a lookup left out.
    pub history: VecDeque<(u64, u32, u32)>,
}

impl Default for CacheView {
    fn default() -> Self {
        Self {
            on: true,
            hits: 0,
            replays: 0,
            misses: BTreeMap::new(),
            bypasses: BTreeMap::new(),
            shared: 0,
            stored: 0,
            skipped: BTreeMap::new(),
            evicted: 0,
            expired: 0,
            entries: 0,
            bytes: 0,
            saved_tokens: 0,
            saved_time: Duration::ZERO,
            history: VecDeque::new(),
        }
    }
}

impl CacheView {
    /// Times the cache was asked.
    pub fn lookups(&self) -> u64 {
        self.hits + self.missed()
    }

    /// Times it was asked in vain.
    pub fn missed(&self) -> u64 {
        self.misses.values().sum()
    }

    /// Hits over lookups, 0 to 1; nothing before the first lookup.
    pub fn hit_rate(&self) -> Option<f64> {
        let lookups = self.lookups();
        (lookups > 0).then(|| self.hits as f64 / lookups as f64)
    }
}
