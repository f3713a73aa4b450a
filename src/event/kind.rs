//! Every kind of event, in flat groups. Each transition carries its reason.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{
    AttemptResult, BreakerMode, BreakerState, BucketLevel, BypassReason, CallId, CallOptions, Constraint,
    EvictReason, Failure, FailureClass, Fate, FlightId, Hint, LimitLevels, LimitReject, Load, MissReason,
    ModelName, MoveReason, NearMiss, NearestPrompt, Origin, Sample, SemanticMiss, Sharing, SimulatorPace,
    SkipReason, StopReason, UpstreamHealth, UpstreamInfo, UserId, UserLevels, WhatIfResult, WindowCounts,
};
use crate::openai::Usage;
use crate::settings::{FaultKind, FaultProfile, Policy};
use crate::text::SafeText;
use crate::time::{Timestamp, nanos, nanos_option};

/// The kind of an event with its data. Durations are serialised as whole nanoseconds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
#[non_exhaustive]
pub enum EventKind {
    // === session ===
    /// The first event of a session.
    SessionStarted {
        /// The format version, see [`FORMAT_VERSION`](super::FORMAT_VERSION).
        format: u32,
        /// The seed of all random numbers.
        seed: u64,
        /// The upstream.
        upstream: UpstreamInfo,
        /// Latency and capacity of the simulator, if it is the upstream.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        simulator: Option<Box<SimulatorPace>>,
    },
    /// New settings took effect.
    PolicyApplied {
        /// All settings.
        policy: Box<Policy>,
    },
    /// An edited policy was compared with the running one over the recent calls.
    WhatIfEvaluated {
        /// The comparison.
        result: Box<WhatIfResult>,
    },
    /// The health of the upstream was probed.
    UpstreamProbed {
        /// The health it reported.
        health: UpstreamHealth,
    },
    /// The fault injection was switched or its profile changed.
    FaultsApplied {
        /// True if faults are injected.
        on: bool,
        /// The profile.
        profile: Box<FaultProfile>,
    },
    /// The simulator injected a fault.
    FaultInjected {
        /// The attempt it hit, from 1; 0 if the request did not carry a number.
        attempt: u32,
        /// The fault.
        fault: FaultKind,
    },
    /// A burst began.
    BurstStarted {
        /// The number of the burst, from 1.
        burst: u64,
        /// Calls planned.
        calls: u32,
    },
    /// A burst ended: all its calls were made, or it was stopped.
    BurstEnded {
        /// The number, from 1.
        burst: u64,
        /// Calls made.
        calls: u32,
    },
    /// A load began.
    LoadStarted {
        /// The number of the load, from 1.
        load: u64,
        /// Its rate, users and end.
        plan: Box<Load>,
    },
    /// A load ended: all its calls were made, or it was stopped or replaced.
    LoadEnded {
        /// The number, from 1.
        load: u64,
        /// Calls made.
        calls: u64,
        /// Calls that were due but not made: too many were running, or the machine was suspended.
        skipped: u64,
    },
    /// The machine was suspended: nothing runs before `until`, and whatever was due earlier is late.
    Suspended {
        /// The time of waking.
        until: Timestamp,
    },
    /// The gateway serves clients.
    GatewayListening {
        /// The address, such as `127.0.0.1:4000`.
        address: SafeText,
    },
    /// A message for the log that belongs to no call.
    Notice {
        /// The message.
        text: SafeText,
    },
    /// A background task panicked; only its own work is lost.
    TaskPanicked {
        /// The panic message.
        text: SafeText,
    },

    // === calls ===
    /// A call was accepted. Exactly one `CallEnded` follows.
    CallStarted {
        /// The origin of the call.
        origin: Origin,
        /// The user that sent it.
        user: UserId,
        /// The beginning of the prompt.
        prompt: SafeText,
        /// The fingerprint of the request, in hex.
        fingerprint: SafeText,
        /// Estimated tokens of the prompt.
        prompt_tokens: u64,
        /// The deadline.
        deadline: Timestamp,
        /// The options of the request.
        #[serde(default)]
        options: CallOptions,
    },
    /// The call ended: its last event.
    CallEnded {
        /// The outcome.
        fate: Fate,
        /// Attempts made while the call owned its flight.
        attempts: u32,
        /// The failure, if any.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        failure: Option<Failure>,
        /// Tokens of the answer, if complete.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        usage: Option<Usage>,
        /// Time since `CallStarted`.
        #[serde(with = "nanos")]
        took: Duration,
    },

    // === cache ===
    /// An answer was served from the cache.
    CacheHit {
        /// The age of the answer.
        #[serde(with = "nanos")]
        age: Duration,
        /// Tokens saved.
        saved: Usage,
        /// The time the answer originally took.
        #[serde(with = "nanos")]
        saved_time: Duration,
        /// The whole answer.
        text: SafeText,
    },
    /// A cache lookup found no answer.
    CacheMissed {
        /// The reason.
        reason: MissReason,
        /// The most similar stored request and its differences, if there is one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        nearest: Option<Box<NearMiss>>,
    },
    /// The cache was bypassed.
    CacheBypassed {
        /// The reason.
        reason: BypassReason,
    },
    /// An answer was stored.
    CacheStored {
        /// Size of the entry in bytes, key included.
        bytes: u64,
        /// Entries in the cache, after.
        entries: u64,
        /// Size of the cache in bytes, after.
        total_bytes: u64,
    },
    /// An answer was not stored.
    CacheSkipped {
        /// The reason.
        reason: SkipReason,
    },
    /// Entries were removed.
    CacheEvicted {
        /// The reason.
        reason: EvictReason,
        /// Entries removed.
        removed: u64,
        /// Entries in the cache, after.
        entries: u64,
        /// Size of the cache in bytes, after.
        total_bytes: u64,
    },
    /// The cache was switched on or off.
    CacheSwitched {
        /// True if on.
        on: bool,
    },

    // === semantic cache ===
    /// The stored answer to a similar prompt was served.
    SemanticHit {
        /// The stored prompt and its similarity.
        nearest: Box<NearestPrompt>,
        /// Prompts compared: those stored under the same compatibility fingerprint.
        candidates: u32,
        /// Time for embedding and search.
        #[serde(with = "nanos")]
        lookup: Duration,
        /// The age of the answer.
        #[serde(with = "nanos")]
        age: Duration,
        /// Tokens saved.
        saved: Usage,
        /// The time the answer originally took.
        #[serde(with = "nanos")]
        saved_time: Duration,
        /// The whole answer.
        text: SafeText,
    },
    /// No stored prompt is similar enough, or a guard rejected it.
    SemanticMissed {
        /// The reason.
        reason: SemanticMiss,
        /// The nearest prompt, if one was found.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        nearest: Option<Box<NearestPrompt>>,
        /// Prompts compared.
        candidates: u32,
        /// Time for embedding and search.
        #[serde(with = "nanos")]
        lookup: Duration,
        /// The embedder's error, if it failed.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        detail: Option<SafeText>,
    },
    /// Shadow mode: a stored answer would have been served. The call goes on to the upstream.
    SemanticShadowed {
        /// The stored prompt and its similarity.
        nearest: Box<NearestPrompt>,
        /// Prompts compared.
        candidates: u32,
        /// Time for embedding and search.
        #[serde(with = "nanos")]
        lookup: Duration,
        /// Tokens that would have been saved.
        saved: Usage,
    },
    /// Shadow mode: the upstream's answer was compared with the one that would have been served.
    SemanticCompared {
        /// The call whose answer would have been served.
        source: CallId,
        /// Similarity of the two answers, 0 to 1.
        agreement: f64,
        /// True if they count as the same answer.
        same: bool,
    },
    /// A prompt was added to the semantic index.
    SemanticStored {
        /// Prompts in the index now.
        entries: u64,
    },
    /// A semantic hit was labelled right or wrong. The call of the event is the one that was served.
    SemanticLabelled {
        /// The call that sent the stored prompt.
        source: CallId,
        /// The fingerprint of its request, in hex.
        request: SafeText,
        /// True if labelled right.
        good: bool,
        /// Similarity of the two prompts, -1 to 1.
        similarity: f64,
        /// Similarity that the stored prompt requires from now on.
        threshold: f64,
        /// True if the stored answer was removed.
        removed: bool,
    },

    // === flight ===
    /// The call started a flight and owns it.
    FlightStarted {
        /// The flight.
        flight: FlightId,
        /// The calls that may join it.
        #[serde(default)]
        sharing: Sharing,
    },
    /// The call joined the flight of another call.
    FlightJoined {
        /// The flight.
        flight: FlightId,
        /// The current owner.
        owner: CallId,
        /// Subscribers, this one included.
        subscribers: u32,
    },
    /// The owner left; the call of this event owns the flight from now on.
    FlightHandedOver {
        /// The flight.
        flight: FlightId,
        /// The call that left.
        from: CallId,
    },
    /// The call was answered with the stored result of its idempotency key.
    ResultReplayed {
        /// The age of the answer.
        #[serde(with = "nanos")]
        age: Duration,
        /// Tokens saved.
        saved: Usage,
        /// The whole answer.
        text: SafeText,
    },

    // === limiter ===
    /// The call entered the queue of the limiter.
    LimitQueued {
        /// The constraint it waits for.
        constraint: Constraint,
        /// Position in the queue; 1 is the head.
        position: u32,
        /// Forecast time of admission; unknown while waiting for a slot.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        ready_at: Option<Timestamp>,
        /// Waiters, this one included.
        waiting: u32,
        /// The buckets at that moment.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        levels: Option<Box<LimitLevels>>,
    },
    /// The limiter admitted an attempt and charged the buckets.
    LimitAdmitted {
        /// Time in the queue.
        #[serde(with = "nanos")]
        waited: Duration,
        /// LLM tokens reserved.
        reserved: u64,
        /// The request bucket, after.
        requests: BucketLevel,
        /// The bucket of LLM tokens, after.
        tokens: BucketLevel,
        /// Slots in use, after.
        in_use: u32,
        /// Waiters, after.
        waiting: u32,
        /// The user's own buckets, after, if configured.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        user: Option<Box<UserLevels>>,
    },
    /// An admitted attempt returned its slot, and its reservation was settled.
    LimitSettled {
        /// LLM tokens reserved.
        reserved: u64,
        /// LLM tokens finally charged.
        charged: u64,
        /// True if the request itself was refunded too, because it was never sent.
        refunded: bool,
        /// The request bucket, after.
        requests: BucketLevel,
        /// The bucket of LLM tokens, after.
        tokens: BucketLevel,
        /// Slots in use, after.
        in_use: u32,
        /// The user's own buckets, after, if configured.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        user: Option<Box<UserLevels>>,
    },
    /// The limiter rejected the call, on arrival or out of its queue.
    LimitRejected {
        /// The reason.
        reason: LimitReject,
        /// The forecast wait, if known.
        #[serde(default, with = "nanos_option", skip_serializing_if = "Option::is_none")]
        predicted: Option<Duration>,
        /// Waiters, after.
        waiting: u32,
        /// The buckets at that moment.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        levels: Option<Box<LimitLevels>>,
    },
    /// A waiter left the queue uncharged: cancelled or out of time.
    LimitLeft {
        /// Waiters, after.
        waiting: u32,
    },
    /// The head of the queue is another call, or is held by another constraint, or until another time. The call of
    /// the event is the head: the waiter that is admitted first if nothing else changes.
    LimitHeadChanged {
        /// The constraint that clears last.
        constraint: Constraint,
        /// Time of admission; unknown while waiting for a slot.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        ready_at: Option<Timestamp>,
    },
    /// The limiter pauses admission because the server asked to wait.
    LimitPaused {
        /// End of the pause.
        until: Timestamp,
    },

    // === breaker ===
    /// The breaker admitted an attempt.
    BreakerAdmitted {
        /// The model of the breaker. `None` for the one of calls without a model, which further models may share.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        model: Option<ModelName>,
        /// The generation that its result counts for.
        generation: u64,
        /// True if it is a probe of a half-open breaker.
        probe: bool,
        /// The window at that moment.
        #[serde(default)]
        window: WindowCounts,
    },
    /// The breaker rejected the call.
    BreakerRefused {
        /// The model of the breaker. `None` for the one of calls without a model, which further models may share.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        model: Option<ModelName>,
        /// Time of the next probe; unknown if forced open or half-open.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        until: Option<Timestamp>,
        /// The window at that moment.
        #[serde(default)]
        window: WindowCounts,
    },
    /// The outcome of an admitted attempt was recorded: at its end, or for a probe that has delivered for a
    /// whole lease.
    BreakerRecorded {
        /// The model of the breaker. `None` for the one of calls without a model, which further models may share.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        model: Option<ModelName>,
        /// The generation of the admission.
        generation: u64,
        /// True if it was a probe.
        probe: bool,
        /// The outcome recorded.
        sample: Sample,
        /// The window, after.
        window: WindowCounts,
    },
    /// The breaker changed its state.
    BreakerMoved {
        /// The model of the breaker. `None` for the one of calls without a model, which further models may share.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        model: Option<ModelName>,
        /// The state before.
        from: BreakerState,
        /// The state after.
        to: BreakerState,
        /// The new generation: the previous one plus 1.
        generation: u64,
        /// The reason.
        reason: MoveReason,
        /// End of the open time, if open.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        until: Option<Timestamp>,
        /// The window that led to it.
        window: WindowCounts,
    },
    /// The breakers of all models were forced open or closed, or released.
    BreakerForced {
        /// The new mode.
        mode: BreakerMode,
    },

    // === attempts ===
    /// An HTTP request was sent.
    AttemptStarted {
        /// The number of the attempt within the flight, from 1.
        attempt: u32,
        /// The flight.
        flight: FlightId,
    },
    /// Response headers arrived.
    AttemptResponded {
        /// The number, from 1.
        attempt: u32,
        /// HTTP status.
        status: u16,
    },
    /// The first content arrived.
    AttemptFirstToken {
        /// The number, from 1.
        attempt: u32,
        /// Time since `AttemptStarted`.
        #[serde(with = "nanos")]
        ttft: Duration,
    },
    /// New text of the answer; several chunks may be joined.
    StreamDelta {
        /// The text.
        text: SafeText,
        /// Chunks joined; roughly one token each.
        chunks: u32,
        /// True for reasoning text.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        reasoning: bool,
    },
    /// The attempt ended.
    AttemptEnded {
        /// The number, from 1.
        attempt: u32,
        /// The outcome.
        #[serde(flatten)]
        result: AttemptResult,
        /// Time since `AttemptStarted`.
        #[serde(with = "nanos")]
        took: Duration,
    },
    /// A retry was scheduled.
    RetryScheduled {
        /// The number of the next attempt.
        next: u32,
        /// Start of the next attempt. Serialised as `starts_at`, because `at` is the time of the event.
        #[serde(rename = "starts_at")]
        at: Timestamp,
        /// The wait before it.
        #[serde(with = "nanos")]
        delay: Duration,
        /// The wait drawn by the backoff, before the hint was applied.
        #[serde(with = "nanos")]
        drawn: Duration,
        /// The wait requested by the server.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        hint: Option<Hint>,
        /// The class of the failure.
        class: FailureClass,
        /// True if the failed attempt may have been billed.
        ambiguous: bool,
        /// Retries left in the retry budget.
        budget: f64,
        /// Capacity of the budget now; 0 without a budget.
        budget_max: f64,
    },
    /// No further attempt follows.
    RetryStopped {
        /// The last attempt.
        attempt: u32,
        /// The reason.
        reason: StopReason,
        /// The wait requested by the server.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        hint: Option<Hint>,
        /// Retries left in the retry budget.
        #[serde(default)]
        budget: f64,
        /// Capacity of the budget now; 0 without a budget.
        #[serde(default)]
        budget_max: f64,
    },
}
