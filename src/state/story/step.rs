//! What a step can be: one variant for each fact, with the numbers that explain it. Kept small, because tens of
//! thousands are kept, and copied for each viewer: what has many numbers is shared.

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::event::{
    AttemptResult, BreakerState, BucketLevel, BypassReason, CallId, Constraint, Failure, FailureClass, Fate,
    FlightId, Hint, LimitLevels, LimitReject, MissReason, MoveReason, NearMiss, NearestPrompt, Origin,
    SemanticMiss, Sharing, SkipReason, StopReason, UserId, UserLevels, WindowCounts,
};
use crate::openai::Usage;
use crate::settings::FaultKind;
use crate::text::SafeText;
use crate::time::{Timestamp, nanos, nanos_option};

/// What happened in a step. In JSON its name stands in `step`; all durations are nanoseconds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "step", rename_all = "snake_case")]
pub enum StepKind {
    /// The call was accepted.
    Started(Arc<Started>),
    /// Answered by the stored result of its idempotency key.
    Replayed(Arc<StoredAnswer>),
    /// Answered from the exact cache.
    CacheHit(Arc<StoredAnswer>),
    /// The exact cache had nothing.
    CacheMissed {
        /// Why.
        reason: MissReason,
        /// The stored request most like it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        nearest: Option<Arc<NearMiss>>,
    },
    /// The exact cache was not asked.
    CacheBypassed {
        /// Why.
        reason: BypassReason,
    },
    /// Answered by the semantic cache.
    SemanticHit(Arc<SemanticHitStep>),
    /// The semantic cache served nothing.
    SemanticMissed(Arc<SemanticMissStep>),
    /// In shadow mode: this would have been served.
    SemanticShadowed(Arc<SemanticHitStep>),
    /// In shadow mode: the answer was compared with the one that would have been served.
    SemanticCompared {
        /// The call whose answer would have been served.
        source: CallId,
        /// How like the answers are, 0 to 1.
        agreement: f64,
        /// Whether that counts as the same.
        same: bool,
    },
    /// The prompt was added to the semantic index.
    SemanticStored {
        /// Prompts in it now.
        entries: u64,
    },
    /// A person judged the semantic hit.
    Labelled(Arc<HitLabel>),
    /// It owns a new flight.
    FlightStarted {
        /// Which.
        flight: FlightId,
        /// Who may join.
        sharing: Sharing,
    },
    /// It shares the flight of another call.
    FlightJoined {
        /// Which.
        flight: FlightId,
        /// Who owned it then.
        owner: CallId,
        /// Subscribers then, this one included.
        subscribers: u32,
    },
    /// The owner left; the call of this step goes on with the flight.
    FlightHandedOver {
        /// Which.
        flight: FlightId,
        /// Who left.
        from: CallId,
    },
    /// In the queue of the limiter.
    Queued(Arc<Queued>),
    /// Let through by the limiter.
    Admitted(Arc<Admitted>),
    /// Turned away by the limiter.
    Rejected(Arc<Rejected>),
    /// Left the queue by itself.
    LeftQueue {
        /// Waiters left.
        waiting: u32,
    },
    /// Let through by the breaker.
    BreakerAdmitted {
        /// The generation its result belongs to.
        generation: u64,
        /// Whether it is the probe.
        probe: bool,
        /// The state.
        state: BreakerState,
        /// The window it saw.
        window: WindowCounts,
    },
    /// Turned away by the breaker.
    BreakerRefused(Arc<Refused>),
    /// An HTTP request went out.
    AttemptStarted {
        /// From 1, within the flight.
        attempt: u32,
    },
    /// A fault was made on purpose.
    FaultInjected {
        /// The attempt it hit; 0 if the request did not say.
        attempt: u32,
        /// Which.
        fault: FaultKind,
    },
    /// Response headers came.
    AttemptResponded {
        /// Which attempt.
        attempt: u32,
        /// HTTP status.
        status: u16,
    },
    /// The first content came.
    AttemptFirstToken {
        /// Which attempt.
        attempt: u32,
        /// Since it was sent.
        #[serde(with = "nanos")]
        ttft: Duration,
    },
    /// The stream had been silent until now.
    AttemptStalled {
        /// Which attempt.
        attempt: u32,
        /// How long.
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
        /// Whether the request itself was refunded too.
        refunded: bool,
    },
    /// The answer was stored in the exact cache.
    CacheStored {
        /// Bytes of the entry.
        bytes: u64,
    },
    /// The answer was not stored.
    CacheSkipped {
        /// Why.
        reason: SkipReason,
    },
    /// The call is over.
    Finished(Arc<Finished>),
}

/// How a call began.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Started {
    /// Who asks.
    pub user: UserId,
    /// What made it.
    #[serde(flatten)]
    pub origin: Origin,
    /// The beginning of the prompt.
    pub prompt: SafeText,
    /// The fingerprint of the request, in hex.
    pub fingerprint: SafeText,
    /// Estimated tokens of the prompt.
    pub prompt_tokens: u64,
    /// When it must be over.
    pub deadline: Timestamp,
}

/// A stored answer that was served.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StoredAnswer {
    /// How old it is.
    #[serde(with = "nanos")]
    pub age: Duration,
    /// Tokens not spent again.
    pub saved: Usage,
    /// How long it took when it was made; unknown for a replayed one.
    #[serde(default, with = "nanos_option", skip_serializing_if = "Option::is_none")]
    pub saved_time: Option<Duration>,
}

/// An answer to a prompt that means the same, served or, in shadow mode, not.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SemanticHitStep {
    /// Which prompt, and how like it is.
    pub nearest: NearestPrompt,
    /// Prompts it was compared with.
    pub candidates: u32,
    /// Embedding and search.
    #[serde(with = "nanos")]
    pub lookup: Duration,
    /// Tokens not spent again.
    pub saved: Usage,
    /// How old the answer is, where it was served.
    #[serde(default, with = "nanos_option", skip_serializing_if = "Option::is_none")]
    pub age: Option<Duration>,
    /// How long it took when it was made, where it was served.
    #[serde(default, with = "nanos_option", skip_serializing_if = "Option::is_none")]
    pub saved_time: Option<Duration>,
}

/// A lookup by meaning that served nothing.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SemanticMissStep {
    /// Why.
    pub reason: SemanticMiss,
    /// The nearest prompt, with the guard that refused it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nearest: Option<NearestPrompt>,
    /// Prompts it was compared with.
    pub candidates: u32,
    /// Embedding and search.
    #[serde(with = "nanos")]
    pub lookup: Duration,
    /// What the embedder said, where it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<SafeText>,
}

/// What a person said of a semantic hit.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct HitLabel {
    /// The call that had asked the stored prompt.
    pub source: CallId,
    /// Whether the answer fitted.
    pub good: bool,
    /// How like the prompts are.
    pub similarity: f64,
    /// What the stored prompt asks for from now on.
    pub threshold: f64,
    /// Whether the stored answer was removed.
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
    pub(super) fn of(bucket: &BucketLevel, at: Timestamp) -> Self {
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
    /// LLM tokens it needs.
    pub needs: u64,
    /// The user's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<Arc<UserStepLevels>>,
}

impl StepLevels {
    pub(super) fn of(levels: &LimitLevels, at: Timestamp) -> Self {
        Self {
            requests: StepLevel::of(&levels.requests, at),
            tokens: StepLevel::of(&levels.tokens, at),
            in_use: levels.in_use,
            needs: levels.needs,
            user: levels
                .user
                .as_ref()
                .map(|own| Arc::new(UserStepLevels::of(own, at))),
        }
    }
}

/// The buckets of a user.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct UserStepLevels {
    /// Whose.
    pub user: UserId,
    /// Of requests, where they are limited.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub requests: Option<StepLevel>,
    /// Of LLM tokens, where they are limited.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tokens: Option<StepLevel>,
}

impl UserStepLevels {
    pub(super) fn of(own: &UserLevels, at: Timestamp) -> Self {
        Self {
            user: own.user.clone(),
            requests: own.requests.as_ref().map(|level| StepLevel::of(level, at)),
            tokens: own.tokens.as_ref().map(|level| StepLevel::of(level, at)),
        }
    }
}

/// A place in the limiter's queue.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Queued {
    /// What it waits for.
    pub constraint: Constraint,
    /// Place; 1 is the head.
    pub position: u32,
    /// Waiters, this one included.
    pub waiting: u32,
    /// How long it should take, if nothing changes.
    #[serde(default, with = "nanos_option", skip_serializing_if = "Option::is_none")]
    pub forecast: Option<Duration>,
    /// What it saw.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub levels: Option<StepLevels>,
}

/// An admission by the limiter.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Admitted {
    /// How long it waited.
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

/// Turned away by the limiter.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Rejected {
    /// Why.
    pub reason: LimitReject,
    /// How long it would have had to wait.
    #[serde(default, with = "nanos_option", skip_serializing_if = "Option::is_none")]
    pub predicted: Option<Duration>,
    /// Waiters.
    pub waiting: u32,
    /// What it saw.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub levels: Option<StepLevels>,
}

/// Turned away by the breaker.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Refused {
    /// Until it lets a probe through, where that can be told.
    #[serde(default, with = "nanos_option", skip_serializing_if = "Option::is_none")]
    pub probe_in: Option<Duration>,
    /// The state.
    pub state: BreakerState,
    /// The window as it was.
    pub window: WindowCounts,
    /// The move that opened it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub opened: Option<BreakerOpening>,
}

/// The move that opened the breaker.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct BreakerOpening {
    /// When.
    pub at: Timestamp,
    /// How long before the refusal.
    #[serde(with = "nanos")]
    pub ago: Duration,
    /// The generation that began.
    pub generation: u64,
    /// Why.
    pub reason: MoveReason,
    /// The window that led to it.
    pub window: WindowCounts,
}

/// The end of an attempt.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Ended {
    /// Which.
    pub attempt: u32,
    /// Since it was sent.
    #[serde(with = "nanos")]
    pub took: Duration,
    /// Chunks of text it had brought: about as many tokens.
    pub chunks: u32,
    /// How.
    #[serde(flatten)]
    pub result: AttemptResult,
}

/// Another attempt follows.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Retried {
    /// Its number.
    pub next: u32,
    /// The wait.
    #[serde(with = "nanos")]
    pub wait: Duration,
    /// What the backoff drew.
    #[serde(with = "nanos")]
    pub drawn: Duration,
    /// What the server asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<Hint>,
    /// What had gone wrong.
    pub class: FailureClass,
    /// Whether that may have been billed.
    pub ambiguous: bool,
    /// Left in the retry budget.
    pub budget: f64,
    /// The most it can hold; 0 where none is kept.
    pub budget_max: f64,
}

/// No other attempt follows.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Stopped {
    /// The last attempt.
    pub attempt: u32,
    /// Why.
    pub reason: StopReason,
    /// What the server asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<Hint>,
    /// Left in the retry budget.
    pub budget: f64,
    /// The most it can hold; 0 where none is kept.
    pub budget_max: f64,
}

/// The end of a call.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Finished {
    /// How.
    pub fate: Fate,
    /// Since it began.
    #[serde(with = "nanos")]
    pub took: Duration,
    /// Attempts while it owned the flight.
    pub attempts: u32,
    /// What went wrong.
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
            // two counts stand before what is shared
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
