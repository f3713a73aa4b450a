//! The state of a session: `State::apply(&Event)`, a pure fold over the events with bounded memory.
//!
//! Every number on a screen, in a report or in `stats()` is read from here. The room does not know the panes,
//! and nothing outside writes to it. Invariant: `fold(events) == apply(snapshot_k, tail_k)` for every k, so a
//! viewer may start from a snapshot at any time and see the same as one present from the start.
//!
//! Each view matches every kind of event or its group, even those it ignores: a kind in no group does not compile
//! until each view has been considered. The groups are defined once, below.

#![expect(
    clippy::unnested_or_patterns,
    reason = "the groups of kinds are macros, which clippy asks to be nested"
)]

/// The session: its frame, the settings, and the faults that were injected.
macro_rules! session_events {
    () => {
        frame_events!() | EventKind::PolicyApplied { .. } | EventKind::FaultInjected { .. }
    };
}

/// The frame of the session: upstream, which faults are on, bursts, loads, notices.
macro_rules! frame_events {
    () => {
        EventKind::SessionStarted { .. }
            | EventKind::WhatIfEvaluated { .. }
            | EventKind::UpstreamProbed { .. }
            | EventKind::FaultsApplied { .. }
            | EventKind::BurstStarted { .. }
            | EventKind::BurstEnded { .. }
            | EventKind::LoadStarted { .. }
            | EventKind::LoadEnded { .. }
            | EventKind::Suspended { .. }
            | EventKind::Notice { .. }
            | EventKind::GatewayListening { .. }
            | EventKind::TaskPanicked { .. }
    };
}

/// The two ends of a call.
macro_rules! call_events {
    () => {
        EventKind::CallStarted { .. } | EventKind::CallEnded { .. }
    };
}

/// The cache.
macro_rules! cache_events {
    () => {
        EventKind::CacheHit { .. }
            | EventKind::CacheMissed { .. }
            | EventKind::CacheBypassed { .. }
            | EventKind::CacheStored { .. }
            | EventKind::CacheSkipped { .. }
            | EventKind::CacheEvicted { .. }
            | EventKind::CacheSwitched { .. }
    };
}

/// The semantic cache.
macro_rules! semantic_events {
    () => {
        EventKind::SemanticHit { .. }
            | EventKind::SemanticMissed { .. }
            | EventKind::SemanticShadowed { .. }
            | EventKind::SemanticCompared { .. }
            | EventKind::SemanticStored { .. }
            | EventKind::SemanticLabelled { .. }
    };
}

/// Single flight and replays.
macro_rules! flight_events {
    () => {
        EventKind::FlightStarted { .. }
            | EventKind::FlightJoined { .. }
            | EventKind::FlightHandedOver { .. }
            | EventKind::ResultReplayed { .. }
    };
}

/// The limiter.
macro_rules! limit_events {
    () => {
        EventKind::LimitQueued { .. }
            | EventKind::LimitAdmitted { .. }
            | EventKind::LimitSettled { .. }
            | EventKind::LimitRejected { .. }
            | EventKind::LimitLeft { .. }
            | EventKind::LimitHeadChanged { .. }
            | EventKind::LimitPaused { .. }
    };
}

/// The breaker.
macro_rules! breaker_events {
    () => {
        EventKind::BreakerAdmitted { .. }
            | EventKind::BreakerRefused { .. }
            | EventKind::BreakerRecorded { .. }
            | EventKind::BreakerMoved { .. }
            | EventKind::BreakerForced { .. }
    };
}

/// Attempts and what follows them.
macro_rules! attempt_events {
    () => {
        EventKind::AttemptStarted { .. }
            | EventKind::AttemptResponded { .. }
            | EventKind::AttemptFirstToken { .. }
            | EventKind::StreamDelta { .. }
            | EventKind::AttemptEnded { .. }
            | EventKind::RetryScheduled { .. }
            | EventKind::RetryStopped { .. }
    };
}

mod breaker;
mod breakers;
mod cache;
mod calls;
#[cfg(test)]
pub(crate) mod fixture;
mod interval;
mod limit;
mod log;
mod percentiles;
mod retry;
mod semantic;
mod session;
mod stats;
mod status;
pub mod story;
#[cfg(test)]
mod tests;
mod timeline;
mod users;
mod whatif;

pub use breaker::{BreakerView, ProbeEnd, StateSpell};
pub use breakers::{BreakersView, ModelBreaker, with_states};
pub use cache::{Advice, CacheView, ExplainedMiss, FieldCount, Misses};
pub use calls::{
    Burst, CacheVerdict, Call, Calls, Doing, FateCounts, Flight, SemanticLabel, SemanticLookup,
    SemanticOutcome, Span, SpanKind,
};
pub use interval::Interval;
pub use limit::{LimitView, QueueHead, Waiter};
pub use log::{Log, LogKind, LogLine};
pub use percentiles::Percentiles;
pub use retry::{BackoffWait, RetryBudgetLevel, RetryCause, RetryView, Storm, StormGuard, WINDOW};
pub use semantic::{Lookups, NearMatch, NearMatchKind, SemanticView};
pub use session::{LoadRun, Session, Trouble};
pub use stats::{BreakerStats, CacheStats, CallStats, RateLimiterStats, Stats};
pub use status::Status;
pub use timeline::{FaultSpan, Level, Mark, MarkKind, SentCalls, Sketch, Sliding, Slot, Timeline};
pub use users::{MAX_USERS, NoisyKind, NoisyUser, UserShare, UserUsage, UsersView};
pub use whatif::WhatIfView;

use serde::{Deserialize, Serialize};

use crate::event::{Event, EventKind};
use crate::time::Timestamp;

/// Everything known about a session. Serialised, it is the snapshot a new viewer starts from.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct State {
    /// The `seq` the next event must have: the number of events applied.
    pub next_seq: u64,
    /// Time of the last event.
    pub last_event_at: Timestamp,
    /// Upstream and settings.
    pub session: Session,
    /// Calls, their timelines and their fates.
    pub calls: Calls,
    /// Hits, misses and what they saved.
    pub cache: CacheView,
    /// The semantic cache: hits, rejections by guards, labels.
    pub semantic: SemanticView,
    /// Buckets, slots and the queue.
    pub limit: LimitView,
    /// Usage by user.
    #[serde(default)]
    pub users: UsersView,
    /// The breakers of all models.
    pub breakers: BreakersView,
    /// Retries: causes, attempts per call, budget.
    pub retry: RetryView,
    /// Counts second by second.
    #[serde(default)]
    pub timeline: Timeline,
    /// The log.
    pub log: Log,
    /// The comparison with an edited policy.
    #[serde(default)]
    pub whatif: WhatIfView,
    /// Steps of the stories of calls.
    pub stories: story::StoryStore,
}

impl State {
    /// The breaker that matters most.
    pub fn breaker(&self) -> &BreakerView {
        &self.breakers.shown().view
    }

    /// Folds one event in.
    pub fn apply(&mut self, event: &Event) {
        self.next_seq = event.seq.saturating_add(1);
        self.last_event_at = self.last_event_at.max(event.at);
        if let EventKind::StreamDelta { .. } = event.kind {
            // by far the most frequent kind, used by two views only
            self.calls.apply(event);
            self.stories.apply(event);
            return;
        }
        self.calls.apply(event);
        self.cache.apply(event, &self.calls);
        // after the calls, which know the prompt that was asked
        self.semantic.apply(event, &self.calls);
        self.limit.apply(event);
        self.users.apply(event, &self.calls);
        self.breakers.apply(event, &self.calls);
        self.retry.apply(event, &mut self.timeline);
        self.timeline
            .apply(event, &self.calls, &self.limit, &self.breakers);
        self.stories.apply(event);
        // before the session, so that a line can compare old and new values
        let views = log::Views {
            calls: &self.calls,
            semantic: &self.semantic,
            breakers: &self.breakers,
        };
        self.log.apply(event, &self.session, views);
        self.session.apply(event);
        self.whatif.apply(event);
    }
}
