//! Kinds of steps: one variant per fact with its numbers. Small, because tens of
//! thousands are kept and copied for each viewer: large variants are shared.

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::event::{
    AttemptResult, BreakerState, BucketLevel, BypassReason, CallId, Constraint, Failure, FailureClass, Fate,
    FlightId, Hint, LimitLevels, LimitReject, MissReason, ModelName, MoveReason, NearMiss, NearestPrompt,
    Origin, SemanticMiss, Sharing, SkipReason, StopReason, UserId, UserLevels, WindowCounts,
};
use crate::openai::Usage;
use crate::settings::FaultKind;
use crate::text::SafeText;
use crate::time::{Timestamp, nanos, nanos_option};

/// The kind of a step. In JSON its name is in `step`; all durations are nanoseconds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "step", rename_all = "snake_case")]
pub enum StepKind {
    /// The call was accepted.
    Started(Arc<Started>),
    /// Answered by the stored result of its idempotency key.
    Replayed(Arc<StoredAnswer>),
    /// Answered from the exact cache.
    CacheHit(Arc<StoredAnswer>),
    /// The exact cache missed.
    CacheMissed {
        /// The reason.
        reason: MissReason,
        /// The most similar stored request.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        nearest: Option<Arc<NearMiss>>,
    },
    /// The exact cache was bypassed.
    CacheBypassed {
        /// The reason.
        reason: BypassReason,
    },
    /// Answered by the semantic cache.
    SemanticHit(Arc<SemanticHitStep>),
    /// The semantic cache missed.
    SemanticMissed(Arc<SemanticMissStep>),
    /// Shadow mode: this would have been served.
    SemanticShadowed(Arc<SemanticHitStep>),
    /// Shadow mode: the answer was compared with the one that would have been served.
    SemanticCompared {
        /// The call whose answer would have been served.
        source: CallId,
        /// Similarity of the answers, 0 to 1.
        agreement: f64,
        /// True if they count as the same.
        same: bool,
    },
    /// The prompt was added to the semantic index.
    SemanticStored {
        /// Prompts in it now.
        entries: u64,
    },
    /// The semantic hit was labelled.
    Labelled(Arc<HitLabel>),
    /// The call owns a new flight.
    FlightStarted {
        /// The number or id.
        flight: FlightId,
        /// The calls that may join.
        sharing: Sharing,
    },
    /// The call joined the flight of another call.
    FlightJoined {
        /// The number or id.
        flight: FlightId,
        /// The owner at that time.
        owner: CallId,
        /// Subscribers then, this one included.
        subscribers: u32,
    },
    /// The owner left; the call of this step goes on with the flight.
    FlightHandedOver {
        /// The number or id.
        flight: FlightId,
        /// The call that left.
        from: CallId,
    },
    /// In the queue of the limiter.
    Queued(Arc<Queued>),
    /// Admitted by the limiter.
    Admitted(Arc<Admitted>),
    /// Rejected by the limiter.
    Rejected(Arc<Rejected>),
    /// Left the queue: cancelled or out of time.
    LeftQueue {
        /// Waiters left.
        waiting: u32,
    },
    /// Admitted by the breaker.
    BreakerAdmitted {
        /// The generation its result belongs to.
        generation: u64,
        /// True if it is the probe.
        probe: bool,
        /// The state.
        state: BreakerState,
        /// The window at that moment.
        window: WindowCounts,
    },
    /// Rejected by the breaker.
    BreakerRefused(Arc<Refused>),
    /// An HTTP request went out.
    AttemptStarted {
        /// From 1, within the flight.
        attempt: u32,
    },
    /// A fault was injected.
    FaultInjected {
        /// The attempt it hit; 0 if the request did not say.
        attempt: u32,
        /// The number or id.
        fault: FaultKind,
    },
    /// Response headers arrived.
    AttemptResponded {
        /// Number of the attempt.
        attempt: u32,
        /// HTTP status.
        status: u16,
    },
    /// The first content arrived.
    AttemptFirstToken {
        /// Number of the attempt.
        attempt: u32,
        /// Time since it was sent.
        #[serde(with = "nanos")]
        ttft: Duration,
    },
    /// The stream was silent until now.
    AttemptStalled {
        /// Number of the attempt.
        attempt: u32,
        /// Length of the silence.
        #[serde(with = "nanos")]
        silent: Duration,
    },
    /// The attempt is over.
    AttemptEnded(Arc<Ended>),
    /// Another attempt follows.
    RetryScheduled(Arc<Retried>),
    /// No other attempt follows.
    RetryStopped(Arc<Stopped>),
    /// The reservation was settled.
    Settled {
        /// LLM tokens that had been reserved.
        reserved: u64,
        /// LLM tokens charged.
        charged: u64,
        /// True if the request itself was refunded too.
        refunded: bool,
    },
    /// The answer was stored in the exact cache.
    CacheStored {
        /// Bytes of the entry.
        bytes: u64,
    },
    /// The answer was not stored.
    CacheSkipped {
        /// The reason.
        reason: SkipReason,
    },
    /// The call is over.
    Finished(Arc<Finished>),
}

/// The start of a call.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Started {
    /// The user.
    pub user: UserId,
    /// The origin.
    #[serde(flatten)]
    pub origin: Origin,
    /// The beginning of the prompt.
    pub prompt: SafeText,
    /// The fingerprint of the request, in hex.
    pub fingerprint: SafeText,
    /// Estimated tokens of the prompt.
    pub prompt_tokens: u64,
    /// The deadline.
    pub deadline: Timestamp,
}

/// A stored answer that was served.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StoredAnswer {
    /// Age of the answer.
    #[serde(with = "nanos")]
    pub age: Duration,
    /// Tokens saved.
    pub saved: Usage,
    /// Time the answer originally took; unknown for a replay.
    #[serde(default, with = "nanos_option", skip_serializing_if = "Option::is_none")]
    pub saved_time: Option<Duration>,
}

/// A semantic hit, served or, in shadow mode, not.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SemanticHitStep {
    /// The stored prompt and its similarity.
    pub nearest: NearestPrompt,
    /// Prompts compared.
    pub candidates: u32,
    /// Time for embedding and search.
    #[serde(with = "nanos")]
    pub lookup: Duration,
    /// Tokens saved.
    pub saved: Usage,
    /// Age of the answer, if served.
    #[serde(default, with = "nanos_option", skip_serializing_if = "Option::is_none")]
    pub age: Option<Duration>,
    /// Time the answer originally took, if served.
    #[serde(default, with = "nanos_option", skip_serializing_if = "Option::is_none")]
    pub saved_time: Option<Duration>,
}

/// A semantic lookup without an answer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SemanticMissStep {
    /// The reason.
    pub reason: SemanticMiss,
    /// The nearest prompt, with the objection of a guard.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nearest: Option<NearestPrompt>,
    /// Prompts compared.
    pub candidates: u32,
    /// Time for embedding and search.
    #[serde(with = "nanos")]
    pub lookup: Duration,
    /// The embedder's error, if it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<SafeText>,
}

/// A label of a semantic hit.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct HitLabel {
    /// The call that sent the stored prompt.
    pub source: CallId,
    /// True if labelled right.
    pub good: bool,
    /// Similarity of the prompts.
    pub similarity: f64,
    /// Similarity that the stored prompt requires from now on.
    pub threshold: f64,
    /// True if the stored answer was removed.
    pub removed: bool,
}

/// A bucket at the instant of the step.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct StepLevel {
    /// Units in it; negative is debt.
    pub level: f64,
    /// Units when full.
    pub capacity: u64,
}

impl StepLevel {
    /// The level of a bucket at an instant.
    pub(super) fn new(bucket: &BucketLevel, at: Timestamp) -> Self {
        Self {
            level: bucket.level_at(at),
            capacity: bucket.capacity,
        }
    }
}

/// The buckets as a call found them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StepLevels {
    /// Of requests.
    pub requests: StepLevel,
    /// Of LLM tokens.
    pub tokens: StepLevel,
    /// Slots in use.
    pub in_use: u32,
    /// LLM tokens the call needs.
    pub needs: u64,
    /// The user's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<Arc<UserStepLevels>>,
}

impl StepLevels {
    pub(super) fn new(levels: &LimitLevels, at: Timestamp) -> Self {
        Self {
            requests: StepLevel::new(&levels.requests, at),
            tokens: StepLevel::new(&levels.tokens, at),
            in_use: levels.in_use,
            needs: levels.needs,
            user: levels
                .user
                .as_ref()
                .map(|own| Arc::new(UserStepLevels::new(own, at))),
        }
    }
}

/// The buckets of a user.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct UserStepLevels {
    /// The user.
    pub user: UserId,
    /// The request bucket, if limited.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub requests: Option<StepLevel>,
    /// The bucket of LLM tokens, if limited.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tokens: Option<StepLevel>,
}

impl UserStepLevels {
    pub(super) fn new(own: &UserLevels, at: Timestamp) -> Self {
        Self {
            user: own.user.clone(),
            requests: own.requests.as_ref().map(|level| StepLevel::new(level, at)),
            tokens: own.tokens.as_ref().map(|level| StepLevel::new(level, at)),
        }
    }
}

/// A place in the limiter's queue.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Queued {
    /// The constraint it waits for.
    pub constraint: Constraint,
    /// Place; 1 is the head.
    pub position: u32,
    /// Waiters, this one included.
    pub waiting: u32,
    /// Forecast wait.
    #[serde(default, with = "nanos_option", skip_serializing_if = "Option::is_none")]
    pub forecast: Option<Duration>,
    /// The buckets at that moment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub levels: Option<StepLevels>,
}

/// An admission by the limiter.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Admitted {
    /// Time in the queue.
    #[serde(with = "nanos")]
    pub waited: Duration,
    /// LLM tokens reserved.
    pub reserved: u64,
    /// The bucket of requests, after.
    pub requests: StepLevel,
    /// The bucket of LLM tokens, after.
    pub tokens: StepLevel,
    /// Slots in use, after.
    pub in_use: u32,
    /// Waiters left.
    pub waiting: u32,
    /// The user's own buckets, after.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<UserStepLevels>,
}

/// Rejected by the limiter.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Rejected {
    /// The reason.
    pub reason: LimitReject,
    /// Forecast wait.
    #[serde(default, with = "nanos_option", skip_serializing_if = "Option::is_none")]
    pub predicted: Option<Duration>,
    /// Waiters.
    pub waiting: u32,
    /// The buckets at that moment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub levels: Option<StepLevels>,
}

/// Rejected by the breaker.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Refused {
    /// The model whose breaker it is, if calls of several models were made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<ModelName>,
    /// Time until the next probe, if known.
    #[serde(default, with = "nanos_option", skip_serializing_if = "Option::is_none")]
    pub probe_in: Option<Duration>,
    /// The state.
    pub state: BreakerState,
    /// The window as it was.
    pub window: WindowCounts,
    /// The transition that opened it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub opened: Option<BreakerOpening>,
}

/// The transition that opened the breaker.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct BreakerOpening {
    /// Time of the transition.
    pub at: Timestamp,
    /// Time before the rejection.
    #[serde(with = "nanos")]
    pub ago: Duration,
    /// The generation that began.
    pub generation: u64,
    /// The reason.
    pub reason: MoveReason,
    /// The window that led to it.
    pub window: WindowCounts,
}

/// The end of an attempt.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Ended {
    /// The number or id.
    pub attempt: u32,
    /// Time since it was sent.
    #[serde(with = "nanos")]
    pub took: Duration,
    /// Chunks of text received; roughly one token each.
    pub chunks: u32,
    /// The outcome.
    #[serde(flatten)]
    pub result: AttemptResult,
}

/// Another attempt follows.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Retried {
    /// Number of the next attempt.
    pub next: u32,
    /// The wait.
    #[serde(with = "nanos")]
    pub wait: Duration,
    /// Wait drawn by the backoff.
    #[serde(with = "nanos")]
    pub drawn: Duration,
    /// Wait requested by the server.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<Hint>,
    /// Class of the failure.
    pub class: FailureClass,
    /// True if the failed attempt may have been billed.
    pub ambiguous: bool,
    /// Tokens left in the retry budget.
    pub budget: f64,
    /// Capacity of the retry budget; 0 without a budget.
    pub budget_max: f64,
}

/// No other attempt follows.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Stopped {
    /// The last attempt.
    pub attempt: u32,
    /// The reason.
    pub reason: StopReason,
    /// Wait requested by the server.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<Hint>,
    /// Tokens left in the retry budget.
    pub budget: f64,
    /// Capacity of the retry budget; 0 without a budget.
    pub budget_max: f64,
}

/// The end of a call.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Finished {
    /// The outcome.
    pub fate: Fate,
    /// Duration of the call.
    #[serde(with = "nanos")]
    pub took: Duration,
    /// Attempts made while the call owned the flight.
    pub attempts: u32,
    /// The failure, if any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<Failure>,
    /// Tokens of its answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub usage: Option<Usage>,
}

impl StepKind {
    /// Bytes on the heap, about.
    pub(super) fn heap(&self) -> usize {
        match self.shared() {
            0 => 0,
            // an Arc has two reference counts
            bytes => bytes + 2 * size_of::<usize>(),
        }
    }

    fn shared(&self) -> usize {
        let near = |near: &NearestPrompt| near.prompt.len() + 64;
        match self {
            Self::Started(start) => {
                size_of::<Started>()
                    + start.prompt.len()
                    + start.fingerprint.len()
                    + start.user.as_str().len()
            }
            Self::CacheMissed {
                nearest: Some(nearest),
                ..
            } => {
                let differs = nearest.differs.iter();
                let differs: usize = differs
                    .map(|diff| 128 + diff.here.len() + diff.stored.len())
                    .sum();
                size_of::<NearMiss>() + nearest.prompt.len() + differs
            }
            Self::SemanticHit(hit) | Self::SemanticShadowed(hit) => {
                size_of::<SemanticHitStep>() + near(&hit.nearest)
            }
            Self::SemanticMissed(miss) => {
                size_of::<SemanticMissStep>() + miss.nearest.as_ref().map_or(0, near)
            }
            Self::Labelled(_) => size_of::<HitLabel>(),
            Self::Queued(_) => size_of::<Queued>(),
            Self::Admitted(_) => size_of::<Admitted>(),
            Self::Rejected(_) => size_of::<Rejected>(),
            Self::BreakerRefused(_) => size_of::<Refused>(),
            Self::RetryScheduled(_) => size_of::<Retried>(),
            Self::RetryStopped(_) => size_of::<Stopped>(),
            Self::Replayed(_) | Self::CacheHit(_) => size_of::<StoredAnswer>(),
            Self::AttemptEnded(end) => {
                let message = match &end.result {
                    AttemptResult::Failed { failure } => failure.message.len(),
                    AttemptResult::Succeeded { .. } | AttemptResult::Cancelled => 0,
                };
                size_of::<Ended>() + message
            }
            Self::Finished(end) => {
                size_of::<Finished>() + end.failure.as_ref().map_or(0, |failure| failure.message.len())
            }
            _ => 0,
        }
    }
}
