//! Calls, their lanes and their fates.
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
    BypassReason, CallId, Constraint, Failure, Fate, FlightId, MissReason, Origin, StopReason, UserId,
};
use crate::openai::Usage;
use crate::settings::FaultKind;
use crate::text::SafeText;
use crate::time::Timestamp;

/// All calls in numbers, the newest ones in full.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Calls {
    /// The newest calls and every running one, by id. Bounded: finished ones go first, oldest first;
    /// the last 50 of a person's chat stay longer than those of bursts.
    pub recent: BTreeMap<CallId, Call>,
    /// Flights some recent call belongs to.
    pub flights: BTreeMap<FlightId, Flight>,
    /// Calls of a person's chat, oldest first, each of them in `recent`.
    pub chat: Vec<CallId>,
    /// Over the whole session.
    pub totals: FateCounts,
    /// The latest burst.
    pub burst: Option<Burst>,
    /// What pruning and the flow need to know besides.
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

/// Who needs a flight, and what it does while nobody owns it.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct FlightUse {
    /// Calls of `recent` that refer to it.
    pub(super) calls: u32,
    /// What its owner was doing when it left; the heir goes on with it.
    pub(super) left_at: Option<Doing>,
}

/// How many calls ended how. `started` is always the sum of `ended` and `running`.
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

/// A burst and how it fares.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Burst {
    /// Counts from 1.
    pub burst: u64,
    /// How many calls it will make.
    pub calls: u32,
    /// When it began.
    pub started_at: Timestamp,
    /// No more calls come.
    pub all_made: bool,
    /// Its calls.
    pub counts: FateCounts,
}

/// One call.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Call {
    /// Its number.
    pub id: CallId,
    /// What made it.
    pub origin: Origin,
    /// Who asks.
    pub user: UserId,
    /// The beginning of the prompt.
    pub prompt: SafeText,
    /// The fingerprint, in hex.
    pub fingerprint: String,
    /// When it began.
    pub started_at: Timestamp,
    /// When it must be over.
    pub deadline: Timestamp,
    /// When it ended.
    pub ended_at: Option<Timestamp>,
    /// How it ended.
    pub fate: Option<Fate>,
    /// What it is doing.
    pub doing: Doing,
    /// What the cache said.
    pub cache: Option<CacheVerdict>,
    /// What the semantic cache said, where it was asked.
    pub semantic: Option<Box<SemanticLookup>>,
    /// The flight it owns or shares.
    pub flight: Option<FlightId>,
    /// Its lane: what it did, in order of time. At most 64 spans.
    pub spans: Vec<Span>,
    /// HTTP tries begun.
    pub attempts: u32,
    /// The status of the running attempt, once headers came.
    pub status: Option<u16>,
    /// To the first token, of the attempt that gave one.
    pub ttft: Option<Duration>,
    /// Tokens, once known.
    pub usage: Option<Usage>,
    /// What went wrong last.
    pub failure: Option<Failure>,
    /// Why no more attempts followed.
    pub stopped: Option<StopReason>,
    /// Faults made on purpose in this call, with the attempt they hit. At most 16.
    pub injected: Vec<(u32, FaultKind)>,
    /// The answer, where it came from the cache; otherwise it is that of the flight.
    pub cached_text: SafeText,
}

/// What a call is doing right now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "doing")]
pub enum Doing {
    /// Between two layers.
    Starting,
    /// In the limiter's queue.
    Queued {
        /// For what.
        constraint: Constraint,
        /// Until when, if that can be told.
        ready_at: Option<Timestamp>,
    },
    /// Sent, no token yet.
    Waiting,
    /// Receiving.
    Streaming,
    /// Sleeping before another attempt.
    BackingOff {
        /// Until when.
        until: Timestamp,
    },
    /// Waiting for the flight of another call.
    Following {
        /// Whose it was when this call joined; [`Flight::owner`] says whose it is now.
        owner: CallId,
    },
    /// Over.
    Ended,
}

/// What the cache said to a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "verdict")]
pub enum CacheVerdict {
    /// Served.
    Hit {
        /// How old the answer was, in nanoseconds.
        age_ns: u64,
        /// Tokens not spent again.
        saved: Usage,
        /// The time the answer took when it was made, in nanoseconds.
        saved_ns: u64,
        /// Whether it came from the ledger of completed results.
        replayed: bool,
    },
    /// Asked in vain.
    Miss {
        /// Why.
        reason: MissReason,
    },
    /// Not asked.
    Bypass {
        /// Why.
        reason: BypassReason,
    },
}

/// A stretch of a lane.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Span {
    /// What the call did.
    pub kind: SpanKind,
    /// From.
    pub from: Timestamp,
    /// To; still going on if absent.
    pub to: Option<Timestamp>,
    /// Why it ended, in at most four characters: `429`, `TMO`, `RST`; empty where all went well.
    pub label: String,
}

/// What a stretch of a lane shows.
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
    /// Whose attempts it makes now.
    pub owner: CallId,
    /// Calls that share it, the owner included.
    pub subscribers: u32,
    /// The answer so far. At most 64 KiB.
    pub text: SafeText,
    /// The model's thoughts so far. At most 64 KiB.
    pub reasoning: SafeText,
    /// Chunks so far: about as many tokens.
    pub chunks: u32,
    /// When the first text came.
    pub first_text_at: Option<Timestamp>,
    /// When the last text came.
    pub last_text_at: Option<Timestamp>,
}

impl FateCounts {
    /// Calls that ended so.
    pub fn ended(&self, fate: Fate) -> u64 {
        self.ended[fate as usize]
    }

    /// Calls that ended at all.
    pub fn finished(&self) -> u64 {
        self.ended.iter().sum()
    }

    /// Calls that have not ended.
    pub fn running(&self) -> u64 {
        self.started.saturating_sub(self.finished())
    }
}

impl Calls {
    /// The answer of a call as far as it came: from the cache, or from its flight.
    pub fn answer<'a>(&'a self, call: &'a Call) -> &'a str {
        match call.flight.and_then(|flight| self.flights.get(&flight)) {
            Some(flight) if call.cached_text.is_empty() => &flight.text,
            _ => &call.cached_text,
        }
    }
}
