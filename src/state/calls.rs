//! Calls, their timelines and their fates.
//!
//! ```text
//! Starting -> [Queued] -> Waiting -> Streaming -> Starting -> Ended
//!                ^                       |
//!                +----- BackingOff <-----+        Following -> Ended, or what its owner did
//! ```

mod counts;
mod facts;
mod fold;
mod semantic;
mod timeline;

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use serde::{Deserialize, Serialize};

pub use semantic::{SemanticLabel, SemanticLookup, SemanticOutcome};

use crate::event::{
    BypassReason, CallId, Failure, Fate, Finish, FlightId, MissReason, ModelName, Origin, StopReason, UserId,
};
use crate::openai::Usage;
use crate::settings::FaultKind;
use crate::text::SafeText;
use crate::time::Timestamp;

/// Counts of all calls, and the newest calls in full.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Calls {
    /// The newest calls and every running one, by id. Bounded: finished ones go first, oldest first;
    /// the last 50 of a person's chat stay longer than those of bursts.
    pub recent: BTreeMap<CallId, Call>,
    /// Flights some recent call belongs to.
    pub flights: BTreeMap<FlightId, Flight>,
    /// Calls of a person's chat, oldest first, each of them in `recent`.
    pub chat: Vec<CallId>,
    /// Calls of the chat that are no longer kept.
    pub chat_dropped: u64,
    /// Over the whole session.
    pub totals: FateCounts,
    /// The newest bursts, oldest first; at most 8. Ended ones are dropped before running ones.
    pub bursts: VecDeque<Burst>,
    /// Bookkeeping for pruning and for the flow.
    pub(crate) table: CallTable,
}

/// The bookkeeping of [`Calls`].
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct CallTable {
    /// Finished calls in `recent` that are not of a chat, in the order in which they finished.
    pub(super) finished: VecDeque<CallId>,
    /// The same of a chat.
    pub(super) finished_chat: VecDeque<CallId>,
    /// For each flight: how many calls of `recent` refer to it, and what its owner did last.
    pub(super) flights: BTreeMap<FlightId, FlightUse>,
    /// `(second, answered, ended)` for the last seconds in which a call ended, oldest first.
    pub(super) flow: VecDeque<(u64, u32, u32)>,
}

/// References to a flight, and its activity while it has no owner.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct FlightUse {
    /// Calls of `recent` that refer to it.
    pub(super) calls: u32,
    /// Activity of the owner when it left; the next owner continues with it.
    pub(super) left_at: Option<Doing>,
}

/// Counts of calls by fate. `started` is always the sum of `ended` and `running`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FateCounts {
    /// Calls accepted.
    pub started: u64,
    /// By fate, in the order of `Fate::ALL`.
    pub ended: [u64; Fate::ALL.len()],
    /// Waiting in the limiter's queue now.
    pub queued: u64,
    /// Sleeping before another attempt now.
    pub backing_off: u64,
    /// Sent, waiting for the first token now.
    pub waiting: u64,
    /// Receiving an answer now.
    pub streaming: u64,
    /// Waiting for the flight of another call now.
    pub following: u64,
}

/// A burst and its progress.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Burst {
    /// Counts from 1.
    pub burst: u64,
    /// Calls planned.
    pub calls: u32,
    /// Time of the start.
    pub started_at: Timestamp,
    /// True once all calls were made.
    pub all_made: bool,
    /// Its calls.
    pub counts: FateCounts,
}

/// One call.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Call {
    /// The id.
    pub id: CallId,
    /// The origin.
    pub origin: Origin,
    /// The user.
    pub user: UserId,
    /// The model, if the request names one.
    #[serde(default)]
    pub model: Option<ModelName>,
    /// The beginning of the prompt.
    pub prompt: SafeText,
    /// Time of the start.
    pub started_at: Timestamp,
    /// The deadline.
    pub deadline: Timestamp,
    /// Time of the end.
    pub ended_at: Option<Timestamp>,
    /// The fate.
    pub fate: Option<Fate>,
    /// The current activity.
    pub doing: Doing,
    /// The result of the exact cache.
    pub cache: Option<CacheVerdict>,
    /// The result of the semantic cache, if it was used.
    pub semantic: Option<Box<SemanticLookup>>,
    /// The flight it owns or shares.
    pub flight: Option<FlightId>,
    /// The timeline in order of time. At most 64 spans.
    pub spans: Vec<Span>,
    /// HTTP attempts started.
    pub attempts: u32,
    /// The status of the running attempt, once headers came.
    pub status: Option<u16>,
    /// Time to the first token, of the attempt that delivered one.
    pub ttft: Option<Duration>,
    /// Tokens, once known.
    pub usage: Option<Usage>,
    /// The finish reason of its own complete attempt.
    pub finish: Option<Finish>,
    /// The last failure.
    pub failure: Option<Failure>,
    /// The reason not to retry again.
    pub stopped: Option<StopReason>,
    /// Injected faults with the attempt they hit. At most 16.
    pub injected: Vec<(u32, FaultKind)>,
    /// The answer, if it came from a cache; otherwise the flight has it.
    pub cached_text: SafeText,
}

/// The current activity of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "doing")]
pub enum Doing {
    /// Between two layers.
    Starting,
    /// In the limiter's queue.
    Queued,
    /// Sent, no token yet.
    Waiting,
    /// Receiving.
    Streaming,
    /// Sleeping before another attempt.
    BackingOff {
        /// End of the wait.
        until: Timestamp,
    },
    /// Waiting for the flight of another call.
    Following {
        /// The owner when this call joined; [`Flight::owner`] is the current one.
        owner: CallId,
    },
    /// Over.
    Ended,
}

/// The result of a cache lookup.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "verdict")]
pub enum CacheVerdict {
    /// Served.
    Hit {
        /// Age of the answer in nanoseconds.
        age_ns: u64,
        /// Tokens saved.
        saved: Usage,
        /// Time the answer originally took, in nanoseconds.
        saved_ns: u64,
        /// True if it came from the ledger of completed results.
        replayed: bool,
    },
    /// No answer found.
    Miss {
        /// The reason.
        reason: MissReason,
    },
    /// Bypassed.
    Bypass {
        /// The reason.
        reason: BypassReason,
    },
}

/// A span of a timeline.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Span {
    /// The activity.
    pub kind: SpanKind,
    /// Start.
    pub from: Timestamp,
    /// End; `None` while it lasts.
    pub to: Option<Timestamp>,
    /// Label of the failure that ended it, at most four characters: `429`, `TMO`, `RST`; empty on success.
    pub label: String,
}

/// Kinds of span in a timeline.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SpanKind {
    /// In the limiter's queue.
    Queued,
    /// An attempt without a token yet.
    Waiting,
    /// An attempt that streams.
    Streaming,
    /// Before another attempt.
    BackOff,
    /// Another call's flight.
    Following,
}

/// The answer of a flight, shared by its calls.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Flight {
    /// The current owner.
    pub owner: CallId,
    /// Calls that share it, the owner included.
    pub subscribers: u32,
    /// The answer so far. At most 64 KiB.
    pub text: SafeText,
    /// The reasoning so far. At most 64 KiB.
    pub reasoning: SafeText,
    /// Chunks so far; roughly one token each.
    pub chunks: u32,
    /// Time of the first text.
    pub first_text_at: Option<Timestamp>,
    /// Time of the last text.
    pub last_text_at: Option<Timestamp>,
}

impl Burst {
    /// True once all calls were made and have ended.
    pub fn is_done(&self) -> bool {
        self.all_made && self.counts.running() == 0
    }
}

impl FateCounts {
    /// Calls with this fate.
    pub fn ended(&self, fate: Fate) -> u64 {
        self.ended[fate as usize]
    }

    /// Calls that ended.
    pub fn finished(&self) -> u64 {
        self.ended.iter().sum()
    }

    /// Calls that have not ended.
    pub fn running(&self) -> u64 {
        self.started.saturating_sub(self.finished())
    }
}

impl Calls {
    /// The latest burst.
    pub fn burst(&self) -> Option<&Burst> {
        self.bursts.back()
    }

    /// Bursts that still start calls or wait for them, oldest first.
    pub fn running_bursts(&self) -> impl Iterator<Item = &Burst> {
        self.bursts.iter().filter(|burst| !burst.is_done())
    }

    /// Returns true if several calls in memory refer to a flight.
    pub fn shares(&self, flight: FlightId) -> bool {
        self.table.flights.get(&flight).is_some_and(|used| used.calls > 1)
    }

    /// The answer of a call so far, from the cache or from its flight.
    pub fn answer<'a>(&'a self, call: &'a Call) -> &'a str {
        match call.flight.and_then(|flight| self.flights.get(&flight)) {
            Some(flight) if call.cached_text.is_empty() => &flight.text,
            _ => &call.cached_text,
        }
    }
}
