//! Hits, misses and what they saved.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::event::{BypassReason, Event, EventKind, EvictReason, Fate, MissReason, SkipReason};
use crate::time::Timestamp;

/// Seconds of history.
const HISTORY: u64 = 60;

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
    /// Waiting spared by hits; a replay does not say how long the answer took.
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

impl CacheView {
    pub(super) fn apply(&mut self, event: &Event) {
        match &event.kind {
            EventKind::CacheHit {
                saved, saved_time, ..
            } => {
                self.hits += 1;
                self.saved_tokens = self.saved_tokens.saturating_add(saved.total());
                self.saved_time = self.saved_time.saturating_add(*saved_time);
                self.note_lookup(event.at, true);
            }
            EventKind::CacheMissed { reason, .. } => {
                *self.misses.entry(*reason).or_default() += 1;
                self.note_lookup(event.at, false);
            }
            EventKind::CacheBypassed { reason } => *self.bypasses.entry(*reason).or_default() += 1,
            EventKind::CacheStored {
                entries, total_bytes, ..
            } => {
                self.stored += 1;
                (self.entries, self.bytes) = (*entries, *total_bytes);
            }
            EventKind::CacheSkipped { reason } => *self.skipped.entry(*reason).or_default() += 1,
            EventKind::CacheEvicted {
                reason,
                removed,
                entries,
                total_bytes,
            } => {
                match reason {
                    EvictReason::Expired => self.expired = self.expired.saturating_add(*removed),
                    EvictReason::Capacity => self.evicted = self.evicted.saturating_add(*removed),
                    EvictReason::Cleared | EvictReason::Labelled => {}
                }
                (self.entries, self.bytes) = (*entries, *total_bytes);
            }
            EventKind::CacheSwitched { on } => self.on = *on,
            EventKind::PolicyApplied { policy } => self.on = policy.cache.enabled,
            EventKind::FlightJoined { .. } => self.shared += 1,
            EventKind::ResultReplayed { saved, .. } => {
                self.replays += 1;
                self.saved_tokens = self.saved_tokens.saturating_add(saved.total());
            }
            EventKind::CallEnded {
                fate: Fate::Shared,
                usage: Some(usage),
                ..
            } => self.saved_tokens = self.saved_tokens.saturating_add(usage.total()),
            EventKind::SessionStarted { .. }
            | EventKind::UpstreamProbed { .. }
            | EventKind::FaultsApplied { .. }
            | EventKind::FaultInjected { .. }
            | EventKind::BurstStarted { .. }
            | EventKind::BurstEnded { .. }
            | EventKind::Suspended { .. }
            | EventKind::Noticed { .. }
            | EventKind::TaskPanicked { .. }
            | call_events!()
            | EventKind::FlightStarted { .. }
            | EventKind::FlightHandedOver { .. }
            | semantic_events!()
            | limit_events!()
            | breaker_events!()
            | attempt_events!() => {}
        }
    }

    fn note_lookup(&mut self, at: Timestamp, hit: bool) {
        let second = at.0 / 1_000_000_000;
        match self.history.back_mut() {
            Some((last, hits, lookups)) if *last == second => {
                *hits += u32::from(hit);
                *lookups += 1;
            }
            Some(_) | None => self.history.push_back((second, u32::from(hit), 1)),
        }
        while self
            .history
            .front()
            .is_some_and(|(first, ..)| first.saturating_add(HISTORY) <= second)
        {
            self.history.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{FlightId, Origin};
    use crate::openai::Usage;
    use crate::state::story::{Story, ended, started};

    #[test]
    fn lookups_are_hits_and_misses_and_savings_come_from_all_three() {
        let mut story = Story::begin();
        let age = Duration::from_secs(1);
        let saved = Usage::new(12, 48);
        story.at(3.0).call(1, Origin::Chat);
        let hit = EventKind::CacheHit {
            age,
            saved,
            saved_time: Duration::from_secs(2),
            text: "x".into(),
        };
        story.tell(2, started(2, Origin::Chat, story.now)).tell(2, hit);
        let replayed = EventKind::ResultReplayed {
            age,
            saved,
            text: "x".into(),
        };
        story.at(70.0).tell(3, replayed);
        let joined = EventKind::FlightJoined {
            flight: FlightId(1),
            owner: crate::event::CallId(1),
            subscribers: 2,
        };
        story
            .tell(4, started(4, Origin::Chat, story.now))
            .tell(4, joined)
            .tell(4, ended(Fate::Shared, 0, 9));
        let reason = BypassReason::Asked;
        story.tell(5, EventKind::CacheBypassed { reason });
        let view = story.state().cache;
        assert_eq!(
            (view.lookups(), view.hits, view.replays, view.shared),
            (2, 1, 1, 1)
        );
        assert_eq!(view.hit_rate(), Some(0.5));
        assert_eq!(
            (view.saved_tokens, view.saved_time),
            (180, Duration::from_secs(2))
        );
        assert_eq!(view.history, [(3, 1, 2)]);
        story.call(6, Origin::Chat);
        assert_eq!(story.state().cache.history, [(70, 0, 1)]);
    }
}
