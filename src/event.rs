//! The event stream that feeds every screen, report and check, and the commands that cause events.
//!
//! Events are facts in the past tense and contain only plain data: no `Instant`, no handle, no secret. Live,
//! replayed and remote sessions share this format. Bucket levels are not sent as ticks: a [`BucketLevel`] is a
//! function of `now`, which each viewer evaluates.

mod breaker;
mod cache;
mod call;
mod command;
mod failure;
mod kind;
mod level;
mod limit;
mod load;
mod model;
mod read;
mod semantic;
mod upstream;
mod whatif;
mod wording;

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

pub use breaker::{BreakerMode, BreakerState, BreakerStates, MoveReason, Sample, WindowCounts};
pub use cache::{BypassReason, DiffKind, EvictReason, FieldDiff, MissReason, NearMiss, SkipReason};
pub use call::{CallOptions, Fate, Origin, Sharing, StopReason};
pub use command::{BurstUsers, ChatOptions, Command, TimedCommand};
pub use failure::{AttemptResult, Failure, FailureClass, Finish, Hint, HintSource, Phase};
pub use kind::EventKind;
pub use level::BucketLevel;
pub use limit::{Constraint, LimitLevels, LimitReject, UserLevels};
pub use load::{Load, MAX_RUNNING, read_load, read_share};
pub use model::{MAX_MODELS, ModelName};
pub use semantic::{NearestPrompt, Objection, SemanticGuard, SemanticMiss};
pub use upstream::{SimulatorPace, UpstreamHealth, UpstreamInfo};
pub(crate) use whatif::NOT_EVALUATED;
pub use whatif::{ChangedFate, PolicyFigures, WhatIfRequest, WhatIfResult, WhatIfUpstream};

use crate::text::SafeText;
use crate::time::Timestamp;

/// Version of the event format, written in every journal header.
pub const FORMAT_VERSION: u32 = 2;

/// An event: its kind, its time and its call.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Event {
    /// Sequence number without gaps, from 0.
    pub seq: u64,
    /// Time of recording since the session began; never decreases.
    pub at: Timestamp,
    /// The call it belongs to, if any.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub call: Option<CallId>,
    /// The kind with its data.
    #[serde(flatten)]
    pub kind: EventKind,
}

/// The id of a call: one request of a user, with one result.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct CallId(pub u64);

impl fmt::Display for CallId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "#{}", self.0)
    }
}

/// The id of a flight: one upstream call shared by identical calls.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct FlightId(pub u64);

/// A user: the tenant in every cache key.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(from = "SafeText")]
pub struct UserId(Arc<str>);

impl From<SafeText> for UserId {
    fn from(name: SafeText) -> Self {
        Self(name.as_str().into())
    }
}

impl UserId {
    /// Creates a user id: printable, at most 64 characters. A longer name is truncated and a hash of the whole
    /// name appended, so that tenants with a common prefix stay distinct.
    pub fn new(name: &str) -> Self {
        bounded_name(name).into()
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for UserId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A name of at most 64 characters: the beginning of a longer one, and a hash of the whole.
fn bounded_name(name: &str) -> SafeText {
    if name.chars().count() <= 64 {
        return SafeText::new(name);
    }
    let beginning: String = name.chars().take(47).collect();
    let hash = xxhash_rust::xxh3::xxh3_64(name.as_bytes());
    SafeText::new(&format!("{beginning}~{hash:016x}"))
}

/// Receiver of events. The event bus implements it; `()` discards them.
///
/// Called right after a decision, by the deciding thread and in the order of the decisions. Implementations
/// must not block and cannot fail.
pub trait Observer: Send + Sync + 'static {
    /// Emits an event.
    fn emit(&self, call: Option<CallId>, kind: EventKind);
}

impl Observer for () {
    fn emit(&self, _call: Option<CallId>, _kind: EventKind) {}
}

impl<O: Observer + ?Sized> Observer for Arc<O> {
    fn emit(&self, call: Option<CallId>, kind: EventKind) {
        (**self).emit(call, kind);
    }
}
