//! Hits, misses and what they saved.

mod advice;
mod misses;

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{CacheVerdict, Calls};
use crate::event::{BypassReason, Event, EventKind, EvictReason, Fate, MissReason, SkipReason};
use crate::openai::Usage;

pub use self::advice::Advice;
pub use self::misses::{ExplainedMiss, FieldCount, Misses};

/// The cache, in numbers. Lookups are the sum of hits and misses. A call that joined a flight is no miss: its answer
/// was on the way. Bypassed calls are extra.
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
    /// Misses by reason; without calls that joined a flight.
    pub misses: BTreeMap<MissReason, u64>,
    /// Bypasses by reason.
    pub bypasses: BTreeMap<BypassReason, u64>,
    /// Lookups that found no answer, of calls that joined a flight.
    pub joined: u64,
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
            joined: 0,
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
        let lookups = self.lookups();
        (lookups > 0).then(|| (self.served() as f64 / lookups as f64).min(1.0))
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

    /// Applies an event. `calls` must have applied it already.
    pub(super) fn apply(&mut self, event: &Event, calls: &Calls) {
        match &event.kind {
            EventKind::CacheHit {
                saved, saved_time, ..
            } => {
                self.hits += 1;
                self.spared(*saved, *saved_time);
            }
            EventKind::SemanticHit {
                saved, saved_time, ..
            } => {
                self.semantic += 1;
                self.spared(*saved, *saved_time);
            }
            EventKind::CacheMissed { reason, nearest } => {
                *self.misses.entry(*reason).or_default() += 1;
                if let (Some(call), Some(nearest)) = (event.call, nearest) {
                    self.near.take(event.at, call, nearest);
                }
            }
            EventKind::CacheBypassed { reason } => {
                *self.bypasses.entry(*reason).or_default() += 1;
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
                let call = event.call.and_then(|id| calls.recent.get(&id));
                if let Some(CacheVerdict::Miss { reason }) = call.and_then(|call| call.cache)
                    && let Some(count) = self.misses.get_mut(&reason)
                {
                    *count = count.saturating_sub(1);
                    self.joined += 1;
                    event.call.into_iter().for_each(|call| self.near.take_back(call));
                }
            }
            EventKind::ResultReplayed { saved, .. } => {
                self.replays += 1;
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
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{FlightId, Origin};
    use crate::openai::Usage;
    use crate::state::fixture::{Story, ended, started};
    use crate::time::Timestamp;

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
    }

    #[test]
    fn a_call_that_joins_a_flight_is_no_miss() {
        use super::misses::near;
        use crate::event::DiffKind;
        let stamp = ("system prompt", DiffKind::Time, "10:32", "10:30");
        let mut story = Story::begin();
        story.at(3.0).call(1, Origin::Chat);
        for call in 2..=10 {
            let reason = MissReason::NeverSeen;
            let joined = EventKind::FlightJoined {
                flight: FlightId(1),
                owner: crate::event::CallId(1),
                subscribers: call as u32,
            };
            story.emit(call, started(call, Origin::Chat, story.now));
            story.emit(
                call,
                EventKind::CacheMissed {
                    reason,
                    nearest: Some(Box::new(near(&[stamp]))),
                },
            );
            story.emit(call, joined);
        }
        let state = story.state();
        let view = &state.cache;
        assert_eq!((view.lookups(), view.unserved(), view.shared), (1, 1, 9));
        assert_eq!((view.near.explained, view.near.fields.len()), (0, 0));
        let slot = state.timeline.sum(Timestamp::ZERO, story.now);
        assert_eq!((slot.lookups, slot.new_prompts, slot.joined), (1, 1, 9));
        let stats = state.stats(story.now).cache;
        assert_eq!((stats.hits, stats.misses, stats.joined), (0, 1, 9));
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
        let slot = story.state().timeline.sum(Timestamp::ZERO, story.now);
        assert_eq!((slot.hits, slot.new_prompts, slot.hit_rate()), (1, 1, Some(0.5)));
    }
}
