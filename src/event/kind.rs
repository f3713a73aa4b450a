//! Every kind of fact, in flat groups. Each transition carries its reason.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{AttemptResult, BucketLevel, CallId, Failure, FailureClass, FlightId, Hint, UserId};
use crate::openai::Usage;
use crate::settings::{FaultKind, FaultProfile, Policy};
use crate::text::SafeText;
use crate::time::{Timestamp, nanos, nanos_option};

/// What happened.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
#[non_exhaustive]
pub enum EventKind {
    // === session ===
    /// First event of a session.
    SessionStarted {
        /// Version of this format.
        format: u32,
        /// The seed of everything random.
        seed: u64,
        /// Where calls go.
        upstream: UpstreamInfo,
    },
    /// These settings hold from now on.
    PolicyApplied {
        /// All of them.
        policy: Box<Policy>,
    },
    /// The upstream was asked how it is.
    UpstreamProbed {
        /// What it said.
        health: UpstreamHealth,
    },
    /// Faults were switched or changed.
    FaultsApplied {
        /// Whether they are on.
        on: bool,
        /// The profile.
        profile: Box<FaultProfile>,
    },
    /// A fault was made, on purpose, by the simulator.
    FaultInjected {
        /// The attempt it hit; 0 if the request did not say.
        attempt: u32,
        /// Which fault.
        fault: FaultKind,
    },
    /// A burst begins.
    BurstStarted {
        /// Counts bursts from 1.
        burst: u64,
        /// How many calls it will make.
        calls: u32,
    },
    /// No more calls come from this burst: all were made, or it was stopped.
    BurstEnded {
        /// Which.
        burst: u64,
        /// How many calls it made.
        calls: u32,
    },
    /// Something a person should read, that belongs to no call.
    Noticed {
        /// What.
        text: SafeText,
    },
    /// A background task panicked; only what it was doing is lost.
    TaskPanicked {
        /// What it said.
        text: SafeText,
    },

    // === calls ===
    /// A call was accepted. From here on it will have exactly one `CallEnded`.
    CallStarted {
        /// What made it.
        origin: Origin,
        /// Who asks.
        user: UserId,
        /// The beginning of the prompt.
        prompt: SafeText,
        /// The fingerprint of the request, in hex.
        fingerprint: String,
        /// Estimated tokens of the prompt.
        prompt_tokens: u64,
        /// When it must be over.
        deadline: Timestamp,
    },
    /// The call is over. Nothing of it follows.
    CallEnded {
        /// How.
        fate: Fate,
        /// Upstream attempts made while it owned the flight.
        attempts: u32,
        /// What went wrong, where something did.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        failure: Option<Failure>,
        /// Tokens of the answer it got, if complete.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        usage: Option<Usage>,
        /// Since `CallStarted`.
        #[serde(with = "nanos")]
        took: Duration,
    },

    // === cache ===
    /// An answer was served from the cache.
    CacheHit {
        /// How old it is.
        #[serde(with = "nanos")]
        age: Duration,
        /// Tokens not spent again.
        saved: Usage,
        /// How long the answer took when it was made.
        #[serde(with = "nanos")]
        saved_time: Duration,
        /// The whole answer.
        text: SafeText,
    },
    /// The cache was asked and had nothing.
    CacheMissed {
        /// Why.
        reason: MissReason,
    },
    /// The cache was not asked.
    CacheBypassed {
        /// Why.
        reason: BypassReason,
    },
    /// An answer was stored.
    CacheStored {
        /// Bytes of the entry, key included.
        bytes: u64,
        /// Entries now.
        entries: u64,
        /// Bytes now.
        total_bytes: u64,
    },
    /// An answer was not stored.
    CacheSkipped {
        /// Why.
        reason: SkipReason,
    },
    /// Entries were removed.
    CacheEvicted {
        /// Why.
        reason: EvictReason,
        /// How many went.
        removed: u64,
        /// Entries now.
        entries: u64,
        /// Bytes now.
        total_bytes: u64,
    },
    /// The cache was switched.
    CacheSwitched {
        /// On or off.
        on: bool,
    },

    // === flight ===
    /// The call became the owner of a new flight.
    FlightStarted {
        /// The flight.
        flight: FlightId,
    },
    /// The call shares a flight that another one started.
    FlightJoined {
        /// The flight.
        flight: FlightId,
        /// Who owns it now.
        owner: CallId,
        /// Subscribers now, this one included.
        subscribers: u32,
    },
    /// The owner left; the flight goes on under the call of this event.
    FlightHandedOver {
        /// The flight.
        flight: FlightId,
        /// Who left.
        from: CallId,
    },
    /// The call was answered by the stored result of its idempotency key.
    ResultReplayed {
        /// How old it is.
        #[serde(with = "nanos")]
        age: Duration,
        /// Tokens not spent again.
        saved: Usage,
        /// The whole answer.
        text: SafeText,
    },

    // === limiter ===
    /// The call waits in the queue of the limiter.
    LimitQueued {
        /// What it waits for.
        constraint: Constraint,
        /// Place in the queue; 1 is the head.
        position: u32,
        /// When it should be admitted, if nothing changes; unknown where it waits for a slot.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        ready_at: Option<Timestamp>,
        /// Waiters now, this one included.
        waiting: u32,
    },
    /// An attempt was admitted and charged.
    LimitAdmitted {
        /// How long it waited.
        #[serde(with = "nanos")]
        waited: Duration,
        /// LLM tokens reserved.
        reserved: u64,
        /// The bucket of requests, after.
        requests: BucketLevel,
        /// The bucket of LLM tokens, after.
        tokens: BucketLevel,
        /// Slots in use now.
        in_use: u32,
        /// Waiters left.
        waiting: u32,
    },
    /// An admitted attempt gave its slot back, and its reservation was settled.
    LimitSettled {
        /// LLM tokens that had been reserved.
        reserved: u64,
        /// LLM tokens charged in the end.
        charged: u64,
        /// Whether the request itself was refunded too: it was never sent.
        refunded: bool,
        /// The bucket of requests, after.
        requests: BucketLevel,
        /// The bucket of LLM tokens, after.
        tokens: BucketLevel,
        /// Slots in use now.
        in_use: u32,
    },
    /// The limiter turned the call away.
    LimitRejected {
        /// Why.
        reason: LimitReject,
        /// How long it would have had to wait, where that can be told.
        #[serde(default, with = "nanos_option", skip_serializing_if = "Option::is_none")]
        predicted: Option<Duration>,
        /// Waiters now.
        waiting: u32,
    },
    /// A waiter left the queue uncharged: cancelled, or out of time.
    LimitLeft {
        /// Waiters left.
        waiting: u32,
    },
    /// Nobody is admitted until then: the server said so.
    LimitPaused {
        /// Until when.
        until: Timestamp,
    },

    // === breaker ===
    /// The breaker let an attempt through.
    BreakerAdmitted {
        /// The generation its result belongs to.
        generation: u64,
        /// Whether it is the probe of a half-open breaker.
        probe: bool,
    },
    /// The breaker turned the call away.
    BreakerRefused {
        /// When it will let a probe through; unknown if forced open or while a probe is out.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        until: Option<Timestamp>,
    },
    /// An admission was settled.
    BreakerRecorded {
        /// The generation the admission belonged to.
        generation: u64,
        /// Whether it was the probe.
        probe: bool,
        /// What it counted as.
        sample: Sample,
        /// The window, after.
        window: WindowCounts,
    },
    /// The breaker changed its state.
    BreakerMoved {
        /// Before.
        from: BreakerState,
        /// After.
        to: BreakerState,
        /// The new generation: one more than the last.
        generation: u64,
        /// Why.
        reason: MoveReason,
        /// When open ends.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        until: Option<Timestamp>,
        /// The window that led to it.
        window: WindowCounts,
    },
    /// A person forced the breaker or let it go.
    BreakerForced {
        /// What it does now.
        mode: BreakerMode,
    },

    // === attempts ===
    /// An HTTP request goes out.
    AttemptStarted {
        /// From 1, within the call's flight.
        attempt: u32,
        /// The flight it is for.
        flight: FlightId,
    },
    /// Response headers came.
    AttemptResponded {
        /// Which.
        attempt: u32,
        /// HTTP status.
        status: u16,
    },
    /// The first content came.
    AttemptFirstToken {
        /// Which.
        attempt: u32,
        /// Since `AttemptStarted`.
        #[serde(with = "nanos")]
        ttft: Duration,
    },
    /// New text of the answer; several tokens may have been joined.
    StreamDelta {
        /// The text.
        text: SafeText,
        /// Chunks joined: about as many tokens.
        chunks: u32,
        /// Whether it is reasoning, not answer.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        reasoning: bool,
    },
    /// The attempt is over.
    AttemptEnded {
        /// Which.
        attempt: u32,
        /// How.
        #[serde(flatten)]
        result: AttemptResult,
        /// Since `AttemptStarted`.
        #[serde(with = "nanos")]
        took: Duration,
    },
    /// Another attempt will follow.
    RetryScheduled {
        /// Its number.
        next: u32,
        /// When it starts. On the wire `at` is the time of the event itself.
        #[serde(rename = "starts_at")]
        at: Timestamp,
        /// The wait.
        #[serde(with = "nanos")]
        delay: Duration,
        /// What the backoff drew, before the hint was heard.
        #[serde(with = "nanos")]
        drawn: Duration,
        /// What the server asked for.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        hint: Option<Hint>,
        /// What went wrong.
        class: FailureClass,
        /// Whether the failed attempt may have been billed.
        ambiguous: bool,
        /// Tokens left in the retry budget.
        budget: f64,
        /// The most the budget can hold now; 0 where no budget is kept.
        budget_max: f64,
    },
    /// No other attempt will follow.
    RetryStopped {
        /// The last attempt.
        attempt: u32,
        /// Why.
        reason: StopReason,
    },
}

/// Where calls go.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UpstreamInfo {
    /// `127.0.0.1:8033`, or `simulator`.
    pub host: SafeText,
    /// The model asked for, if one was named.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<SafeText>,
    /// Whether answers come from the built-in simulator.
    pub simulated: bool,
    /// Whether calls stay on this machine; others may cost money.
    pub loopback: bool,
}

/// What an upstream says of itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "health", rename_all = "snake_case")]
pub enum UpstreamHealth {
    /// Ready.
    Ready {
        /// Models it serves.
        models: Vec<SafeText>,
    },
    /// Loading its model.
    Loading,
    /// Not usable, and why.
    Trouble {
        /// For people.
        message: SafeText,
    },
}

impl UpstreamHealth {
    /// What to tell who asks for a model that the upstream does not list; nothing if it lists that one or none.
    /// llama-server answers under any name, with the model it has.
    pub fn unlisted(&self, asked: &str) -> Option<String> {
        let Self::Ready { models } = self else { return None };
        let listed = models.iter().any(|model| model.as_str() == asked);
        if listed || models.is_empty() {
            return None;
        }
        let some: Vec<&str> = models.iter().take(3).map(SafeText::as_str).collect();
        let rest = models.len().saturating_sub(some.len());
        let more = if rest == 0 {
            String::new()
        } else {
            format!(" and {rest} more")
        };
        let asked = SafeText::excerpt(asked, 60);
        Some(format!("no model '{asked}' there, but {}{more}", some.join(", ")))
    }
}

/// What made a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "origin")]
pub enum Origin {
    /// A person typed a prompt.
    Chat,
    /// A burst.
    Burst {
        /// Which, from 1.
        burst: u64,
    },
    /// A program that uses the library.
    Library,
}

/// How a call ends: exactly one of these.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fate {
    /// By the upstream, completely.
    Answered,
    /// From the cache or the ledger of completed results, without any upstream.
    Hit,
    /// By a flight that another call owned.
    Shared,
    /// The limiter turned it away.
    Rejected,
    /// The breaker turned it away.
    Refused,
    /// All tries failed, or the deadline passed.
    Failed,
    /// The stream broke after text was delivered.
    Interrupted,
    /// Nobody wanted it any more.
    Cancelled,
}

impl Fate {
    /// Every fate, in the order it is shown.
    pub const ALL: [Self; 8] = [
        Self::Answered,
        Self::Hit,
        Self::Shared,
        Self::Rejected,
        Self::Refused,
        Self::Failed,
        Self::Interrupted,
        Self::Cancelled,
    ];

    /// The word for it.
    pub fn label(self) -> &'static str {
        match self {
            Self::Answered => "ok",
            Self::Hit => "hit",
            Self::Shared => "shared",
            Self::Rejected => "rejected",
            Self::Refused => "refused",
            Self::Failed => "failed",
            Self::Interrupted => "cut",
            Self::Cancelled => "stopped",
        }
    }
}

/// Why the cache had nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MissReason {
    /// Never stored, as far as is remembered.
    NeverSeen,
    /// Stored once, older than the TTL now.
    Expired,
    /// Stored once, removed to make room.
    Evicted,
    /// Another request has the same fingerprint: not served.
    Collision,
}

/// Why the cache was not asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BypassReason {
    /// Switched off.
    Off,
    /// No explicit temperature 0, no seed, no opt-in: another answer may be wanted.
    NotDeterministic,
    /// The caller asked for a fresh answer.
    Asked,
}

/// Why an answer was not stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SkipReason {
    /// Not complete, or not provably complete.
    Incomplete,
    /// Cut by a content filter.
    Filtered,
    /// Empty.
    Empty,
    /// Larger than an entry may be.
    TooLarge,
    /// The model that answered is not the one asked for.
    OtherModel,
    /// The text was not valid UTF-8.
    BadText,
}

/// Why entries were removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EvictReason {
    /// Older than the TTL.
    Expired,
    /// To make room.
    Capacity,
    /// A person cleared the cache.
    Cleared,
}

/// What keeps the head of the limiter's queue waiting.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Constraint {
    /// The bucket of requests.
    Requests,
    /// The bucket of LLM tokens.
    Tokens,
    /// All slots are in use.
    Slots,
    /// The server asked for a pause.
    Paused,
}

/// Why the limiter turns a call away.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LimitReject {
    /// The queue is full.
    QueueFull,
    /// It needs more than the bucket can ever hold.
    TooLarge,
    /// The predicted wait is longer than allowed.
    WaitTooLong,
    /// The deadline would pass in the queue.
    Deadline,
}

/// The breaker's state. Closed admits, open refuses, half-open lets one probe through.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BreakerState {
    /// Calls pass.
    #[default]
    Closed,
    /// Calls are refused.
    Open,
    /// One probe at a time passes.
    HalfOpen,
}

/// Who decides about the breaker.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BreakerMode {
    /// Its own window.
    #[default]
    Automatic,
    /// A person: refuse everything.
    ForcedOpen,
    /// A person: let everything through.
    ForcedClosed,
}

/// What an outcome counts as.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Sample {
    /// Good.
    Ok,
    /// Good, but too slow.
    Slow,
    /// The upstream failed.
    Failed,
    /// Says nothing about the upstream's health: 4xx, 429, cancelled.
    Neutral,
    /// Belongs to an older generation: not counted.
    Late,
}

/// What the breaker's window holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct WindowCounts {
    /// Outcomes.
    pub total: u32,
    /// Of these, failed.
    pub failed: u32,
    /// Of these, slow.
    pub slow: u32,
    /// Failures in a row, up to now.
    pub consecutive: u32,
}

/// Why the breaker moved.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MoveReason {
    /// Too large a share of the window failed.
    FailureRate,
    /// Too many failures in a row.
    Consecutive,
    /// Too large a share of the window was slow.
    SlowRate,
    /// The open time is over.
    CoolDown,
    /// Enough probes succeeded.
    ProbesSucceeded,
    /// A probe failed.
    ProbeFailed,
    /// A person.
    Manual,
}

/// Why no other attempt follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StopReason {
    /// All allowed attempts were made.
    Attempts,
    /// Asking again would change nothing.
    NotRetryable,
    /// The server said so: `x-should-retry: false`.
    ServerSaysNo,
    /// Text was already delivered.
    Delivered,
    /// Too many outcomes that may have been billed.
    Ambiguous,
    /// The retry budget is empty.
    Budget,
    /// The wait would end after the deadline.
    Deadline,
    /// The server asks for a longer wait than is allowed.
    HintTooLong,
    /// The breaker is open.
    BreakerOpen,
    /// The limiter turned the next attempt away.
    Limited,
}
