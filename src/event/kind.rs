//! Every kind of fact, in flat groups. Each transition carries its reason.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{
    AttemptResult, BreakerMode, BreakerState, BucketLevel, BypassReason, CallId, CallOptions, Constraint,
    EvictReason, Failure, FailureClass, Fate, FlightId, Hint, LimitLevels, LimitReject, MissReason,
    MoveReason, NearMiss, NearestPrompt, Origin, Sample, SemanticMiss, Sharing, SimulatorPace, SkipReason,
    StopReason, UpstreamHealth, UpstreamInfo, UserId, UserLevels, WhatIfResult, WindowCounts,
};
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
        /// How the simulator answers, where calls go to it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        simulator: Option<Box<SimulatorPace>>,
    },
    /// These settings hold from now on.
    PolicyApplied {
        /// All of them.
        policy: Box<Policy>,
    },
    /// What a copy of the settings would have made of the calls so far, beside the settings in force.
    WhatIfEvaluated {
        /// The figures.
        result: Box<WhatIfResult>,
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
    /// The machine is put to sleep: nothing is done before `until`, and what was due by then is late.
    Suspended {
        /// When it wakes.
        until: Timestamp,
    },
    /// Something a person should read, that belongs to no call.
    Notice {
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
        fingerprint: SafeText,
        /// Estimated tokens of the prompt.
        prompt_tokens: u64,
        /// When it must be over.
        deadline: Timestamp,
        /// How it was asked, beside the prompt.
        #[serde(default)]
        options: CallOptions,
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
        /// The stored request most like it, and what differs; nothing where nothing like it is stored.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        nearest: Option<Box<NearMiss>>,
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

    // === semantic cache ===
    /// The stored answer to a prompt that means the same was served.
    SemanticHit {
        /// Which prompt, and how like it is.
        nearest: Box<NearestPrompt>,
        /// Prompts it was compared with: those stored under the same compatibility fingerprint.
        candidates: u32,
        /// Embedding and search.
        #[serde(with = "nanos")]
        lookup: Duration,
        /// How old the answer is.
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
    /// No stored prompt means the same, or none may be served.
    SemanticMissed {
        /// Why.
        reason: SemanticMiss,
        /// The nearest prompt, where one was found.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        nearest: Option<Box<NearestPrompt>>,
        /// Prompts it was compared with.
        candidates: u32,
        /// Embedding and search.
        #[serde(with = "nanos")]
        lookup: Duration,
        /// What the embedder said, where it failed.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        detail: Option<SafeText>,
    },
    /// In shadow mode: this answer would have been served. The call goes on to the upstream.
    SemanticShadowed {
        /// Which prompt, and how like it is.
        nearest: Box<NearestPrompt>,
        /// Prompts it was compared with.
        candidates: u32,
        /// Embedding and search.
        #[serde(with = "nanos")]
        lookup: Duration,
        /// Tokens that would not have been spent.
        saved: Usage,
    },
    /// In shadow mode: the upstream's answer was compared with the one that would have been served.
    SemanticCompared {
        /// The call whose answer would have been served.
        source: CallId,
        /// How like the two answers are, 0 to 1.
        agreement: f64,
        /// Whether that counts as the same answer.
        same: bool,
    },
    /// A prompt was added to the semantic index.
    SemanticStored {
        /// Prompts in the index now.
        entries: u64,
    },
    /// A person judged a semantic hit. The call of the event is the one that was served.
    SemanticLabelled {
        /// The call that had asked the stored prompt.
        source: CallId,
        /// The fingerprint of its request, in hex.
        request: SafeText,
        /// Whether the answer fitted.
        good: bool,
        /// How like the prompts are.
        similarity: f64,
        /// What the stored prompt asks for from now on.
        threshold: f64,
        /// Whether the stored answer was removed.
        removed: bool,
    },

    // === flight ===
    /// The call became the owner of a new flight.
    FlightStarted {
        /// The flight.
        flight: FlightId,
        /// Who may join it.
        #[serde(default)]
        sharing: Sharing,
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
        /// What it saw: the buckets as they were.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        levels: Option<Box<LimitLevels>>,
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
        /// The buckets of the user, after, where it has any of its own.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        user: Option<Box<UserLevels>>,
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
        /// The buckets of the user, after, where it has any of its own.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        user: Option<Box<UserLevels>>,
    },
    /// The limiter turned the call away, at the door or out of its queue.
    LimitRejected {
        /// Why.
        reason: LimitReject,
        /// How long it would have had to wait, where that can be told.
        #[serde(default, with = "nanos_option", skip_serializing_if = "Option::is_none")]
        predicted: Option<Duration>,
        /// Waiters now.
        waiting: u32,
        /// What it saw: the buckets as they were.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        levels: Option<Box<LimitLevels>>,
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
        /// The window as it was.
        #[serde(default)]
        window: WindowCounts,
    },
    /// The breaker turned the call away.
    BreakerRefused {
        /// When it will let a probe through; unknown if forced open or while a probe is out.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        until: Option<Timestamp>,
        /// The window as it was.
        #[serde(default)]
        window: WindowCounts,
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
        /// What the server asked for.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        hint: Option<Hint>,
        /// Tokens left in the retry budget.
        #[serde(default)]
        budget: f64,
        /// The most the budget can hold now; 0 where no budget is kept.
        #[serde(default)]
        budget_max: f64,
    },
}
