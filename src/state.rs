//! What the events add up to: `State::apply(&Event)`, a pure fold with bounded memory.
//!
//! Every number on a screen, in a report or in `stats()` is read from here. Nothing here knows of panes,
//! and nothing outside writes to it.

mod breaker;
mod cache;
mod calls;
mod latency;
mod limit;
mod log;
mod retry;
mod session;
mod verdict;

pub use breaker::{BreakerView, StateSpell};
pub use cache::CacheView;
pub use calls::{Burst, CacheVerdict, Call, Calls, Doing, FateCounts, Flight, Span, SpanKind};
pub use latency::{LatencyView, Percentiles};
pub use limit::{LimitView, Waiter};
pub use log::{Log, LogKind, LogLine};
pub use retry::RetryView;
pub use session::Session;
pub use verdict::{Cause, Hold, Verdict};

use serde::{Deserialize, Serialize};

use crate::event::Event;
use crate::time::Timestamp;

/// Everything known about a session. Serialised, it is the snapshot a new viewer starts from.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct State {
    /// The `seq` the next event must have: the number of events applied.
    pub next_seq: u64,
    /// When the last event happened.
    pub last_event_at: Timestamp,
    /// Where calls go and which settings hold.
    pub session: Session,
    /// Calls, their lanes and their fates.
    pub calls: Calls,
    /// Hits, misses and what they saved.
    pub cache: CacheView,
    /// Buckets, slots and the queue.
    pub limit: LimitView,
    /// The breaker and its window.
    pub breaker: BreakerView,
    /// Retries: causes, tries for each call, budget.
    pub retry: RetryView,
    /// How long things take.
    pub latency: LatencyView,
    /// The log.
    pub log: Log,
}

impl State {
    /// Folds one event in.
    pub fn apply(&mut self, event: &Event) {
        self.next_seq = event.seq + 1;
        self.last_event_at = event.at;
    }
}
