//! Hits, misses and what they saved.

mod advice;
mod misses;

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::event::{BypassReason, Event, EventKind, EvictReason, Fate, MissReason, SkipReason};
use crate::openai::Usage;
use crate::time::Timestamp;

pub use self::advice::Advice;
pub use self::misses::{ExplainedMiss, FieldCount, Misses};

/// Seconds of history.
const HISTORY: u64 = 60;

/// The cache, in numbers. Lookups are the sum of hits and misses; bypassed calls are extra.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CacheView {
    /// True if the cache is on.
    pub on: bool,
    /// Served by the exact cache.
    pub hits: u64,
    /// Served by the semantic cache, after a miss of the exact one.
    pub semantic: u64,
    /// Served from the ledger of completed results.
    pub replays: u64,
    /// Misses by reason.
    pub misses: BTreeMap<MissReason, u64>,
    /// Bypasses by reason.
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
    /// LLM tokens saved by hits, replays and shared flights.
    pub saved_tokens: u64,
    /// Time saved by hits; a replay does not know how long the answer took.
    pub saved_time: Duration,
    /// Misses explained by a similar stored request.
    pub near: Misses,
    /// The last 60 seconds, oldest first, without empty ones.
    pub history: VecDeque<LookupSecond>,
}

/// Calls of one second.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LookupSecond {
    /// Seconds since the start.
    pub second: u64,
    /// The calls.
    pub counts: ServedCounts,
}

/// Calls by source of their answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServedCounts {
    /// Calls that reached the cache, bypasses included.
    pub calls: u64,
    /// Lookups.
    pub lookups: u64,
    /// Served by the exact cache.
    pub exact: u64,
    /// Served by the semantic cache.
    pub semantic: u64,
    /// Waited for the flight of another call.
    pub shared: u64,
    /// Served from the ledger of completed results.
    pub replayed: u64,
}

impl ServedCounts {
    fn hit(&mut self) {
        (self.calls, self.lookups, self.exact) = (self.calls + 1, self.lookups + 1, self.exact + 1);
    }

    fn missed(&mut self) {
        (self.calls, self.lookups) = (self.calls + 1, self.lookups + 1);
    }

    fn replay(&mut self) {
        (self.calls, self.replayed) = (self.calls + 1, self.replayed + 1);
    }

    /// Answers of the caches.
    pub fn hits(&self) -> u64 {
        self.exact.saturating_add(self.semantic)
    }

    /// Hits over lookups, 0 to 1; `None` without a lookup.
    pub fn hit_rate(&self) -> Option<f64> {
        (self.lookups > 0).then(|| (self.hits() as f64 / self.lookups as f64).min(1.0))
    }

    /// Calls answered without an upstream call of their own.
    pub fn without_upstream(&self) -> u64 {
        let joined = self.shared.saturating_add(self.replayed);
        self.hits().saturating_add(joined)
    }

    /// Returns the sum.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        Self {
            calls: self.calls.saturating_add(other.calls),
            lookups: self.lookups.saturating_add(other.lookups),
            exact: self.exact.saturating_add(other.exact),
            semantic: self.semantic.saturating_add(other.semantic),
            shared: self.shared.saturating_add(other.shared),
            replayed: self.replayed.saturating_add(other.replayed),
        }
    }
}

impl Default for CacheView {
    fn default() -> Self {
        Self {
            on: true,
            hits: 0,
            semantic: 0,
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
            near: Misses::default(),
            history: VecDeque::new(),
        }
    }
}

impl CacheView {
    /// Lookups.
    pub fn lookups(&self) -> u64 {
        self.hits + self.missed()
    }

    /// Misses of the exact cache; the semantic one may have served some of these.
    pub fn missed(&self) -> u64 {
        self.misses.values().sum()
    }

    /// Times neither cache had an answer.
    pub fn unserved(&self) -> u64 {
        self.lookups().saturating_sub(self.served())
    }

    /// Served by the exact cache or the semantic one.
    pub fn served(&self) -> u64 {
        self.hits.saturating_add(self.semantic)
    }

    /// Hits over lookups, 0 to 1; `None` before the first lookup.
    pub fn hit_rate(&self) -> Option<f64> {
        self.all().hit_rate()
    }

    /// Over the whole run.
    pub fn all(&self) -> ServedCounts {
        let bypassed: u64 = self.bypasses.values().sum();
        ServedCounts {
            calls: self.lookups() + bypassed + self.replays,
            lookups: self.lookups(),
            exact: self.hits,
            semantic: self.semantic,
            shared: self.shared,
            replayed: self.replays,
        }
    }

    /// Over the last 60 seconds, the current one included.
    pub fn recent(&self, now: Timestamp) -> ServedCounts {
        let second = second_of(now);
        let lately = self.history.iter().filter(|one| one.second + HISTORY > second);
        lately.fold(ServedCounts::default(), |sum, one| sum.plus(one.counts))
    }
}

impl CacheView {
    /// Adds saved tokens and time.
    fn spared(&mut self, tokens: Usage, time: Duration) {
        self.saved_tokens = self.saved_tokens.saturating_add(tokens.total());
        self.saved_time = self.saved_time.saturating_add(time);
    }

    fn removed(&mut self, reason: EvictReason, count: u64) {
        match reason {
            EvictReason::Expired => self.expired = self.expired.saturating_add(count),
            EvictReason::Capacity => self.evicted = self.evicted.saturating_add(count),
            EvictReason::Cleared | EvictReason::Labelled => {}
        }
    }

    pub(super) fn apply(&mut self, event: &Event) {
        match &event.kind {
            EventKind::CacheHit {
                saved, saved_time, ..
            } => {
                self.hits += 1;
                self.spared(*saved, *saved_time);
                self.note(event.at, ServedCounts::hit);
            }
            EventKind::SemanticHit {
                saved, saved_time, ..
            } => {
                self.semantic += 1;
                self.spared(*saved, *saved_time);
                self.note(event.at, |counts| counts.semantic += 1);
            }
            EventKind::CacheMissed { reason, nearest } => {
                *self.misses.entry(*reason).or_default() += 1;
                self.note(event.at, ServedCounts::missed);
                if let (Some(call), Some(nearest)) = (event.call, nearest) {
                    self.near.take(event.at, call, nearest);
                }
            }
            EventKind::CacheBypassed { reason } => {
                *self.bypasses.entry(*reason).or_default() += 1;
                self.note(event.at, |counts| counts.calls += 1);
            }
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
                self.removed(*reason, *removed);
                (self.entries, self.bytes) = (*entries, *total_bytes);
            }
            EventKind::CacheSwitched { on } => self.on = *on,
            EventKind::PolicyApplied { policy } => self.on = policy.cache.enabled,
            EventKind::FlightJoined { .. } => {
                self.shared += 1;
                self.note(event.at, |counts| counts.shared += 1);
            }
            EventKind::ResultReplayed { saved, .. } => {
                self.replays += 1;
                self.note(event.at, ServedCounts::replay);
                self.spared(*saved, Duration::ZERO);
            }
            EventKind::CallEnded {
                fate: Fate::Shared,
                usage: Some(usage),
                ..
            } => self.spared(*usage, Duration::ZERO),
            frame_events!()
            | EventKind::FaultInjected { .. }
            | call_events!()
            | EventKind::FlightStarted { .. }
            | EventKind::FlightHandedOver { .. }
            | EventKind::SemanticMissed { .. }
            | EventKind::SemanticShadowed { .. }
            | EventKind::SemanticCompared { .. }
            | EventKind::SemanticStored { .. }
            | EventKind::SemanticLabelled { .. }
            | limit_events!()
            | breaker_events!()
            | attempt_events!() => {}
        }
    }

    fn note(&mut self, at: Timestamp, count: impl FnOnce(&mut ServedCounts)) {
        let second = second_of(at);
        if self.history.back().is_none_or(|last| last.second != second) {
            let counts = ServedCounts::default();
            self.history.push_back(LookupSecond { second, counts });
        }
        if let Some(last) = self.history.back_mut() {
            count(&mut last.counts);
        }
        let old = |first: &LookupSecond| first.second.saturating_add(HISTORY) <= second;
        while self.history.front().is_some_and(old) {
            self.history.pop_front();
        }
    }
}

fn second_of(at: Timestamp) -> u64 {
    at.0 / 1_000_000_000
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{FlightId, Origin};
    use crate::openai::Usage;
    use crate::state::fixture::{Story, ended, started};

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
        story.emit(2, started(2, Origin::Chat, story.now)).emit(2, hit);
        let replayed = EventKind::ResultReplayed {
            age,
            saved,
            text: "x".into(),
        };
        story.at(70.0).emit(3, replayed);
        let joined = EventKind::FlightJoined {
            flight: FlightId(1),
            owner: crate::event::CallId(1),
            subscribers: 2,
        };
        story
            .emit(4, started(4, Origin::Chat, story.now))
            .emit(4, joined)
            .emit(4, ended(Fate::Shared, 0, 9));
        let reason = BypassReason::FreshRequested;
        story.emit(5, EventKind::CacheBypassed { reason });
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
        let all = ServedCounts {
            calls: 4,
            lookups: 2,
            exact: 1,
            semantic: 0,
            shared: 1,
            replayed: 1,
        };
        assert_eq!((view.all(), all.without_upstream()), (all, 3));
        // the second 70 no longer has the lookups of the second 3
        let lately = view.recent(story.now);
        assert_eq!((lately.calls, lately.lookups, lately.exact), (2, 0, 0));
        story.call(6, Origin::Chat);
        let lately = story.state().cache.recent(story.now);
        assert_eq!((lately.calls, lately.lookups, lately.exact), (3, 1, 0));
        assert_eq!(story.state().cache.history.len(), 1);
    }

    #[test]
    fn a_semantic_hit_is_a_hit_of_a_lookup_that_missed() {
        let mut story = Story::begin();
        story.at(3.0).call(1, Origin::Chat);
        let nearest = Box::new(crate::event::NearestPrompt {
            source: crate::event::CallId(1),
            prompt: "x".into(),
            similarity: 0.9,
            threshold: 0.8,
            objection: None,
        });
        let hit = EventKind::SemanticHit {
            nearest,
            candidates: 1,
            lookup: Duration::from_millis(1),
            age: Duration::from_secs(1),
            saved: Usage::new(12, 48),
            saved_time: Duration::from_secs(2),
            text: "x".into(),
        };
        story.call(2, Origin::Chat).emit(2, hit);
        let view = story.state().cache;
        assert_eq!(
            (view.hits, view.semantic, view.served(), view.lookups()),
            (0, 1, 1, 2)
        );
        assert_eq!((view.hit_rate(), view.saved_tokens), (Some(0.5), 60));
        assert_eq!(view.recent(story.now).hit_rate(), Some(0.5));
    }
}
