//! The one stream that feeds everything: facts in the past tense, and the wishes that cause them.
//!
//! An [`Event`] carries all any screen, report or check needs, and nothing that cannot be written down: no
//! `Instant`, no handle, no secret. Live, replayed and remote sessions share this format. Levels are never
//! sent as ticks: a [`BucketLevel`] is a function of `now`, so each viewer draws it for itself.

mod breaker;
mod cache;
mod call;
mod command;
mod failure;
mod kind;
mod level;
mod limit;
mod read;
mod semantic;
mod upstream;
mod whatif;
mod wording;

use std::fmt;

use serde::{Deserialize, Serialize};

pub use breaker::{BreakerMode, BreakerState, MoveReason, Sample, WindowCounts};
pub use cache::{BypassReason, DiffKind, EvictReason, FieldDiff, MissReason, NearMiss, SkipReason};
pub use call::{CallOptions, Fate, Origin, Sharing, StopReason};
pub use command::{BurstUsers, Command, TimedCommand};
pub use failure::{AttemptResult, Failure, FailureClass, Finish, Hint, HintSource, Phase};
pub use kind::EventKind;
pub use level::BucketLevel;
pub use limit::{Constraint, LimitLevels, LimitReject, UserLevels};
pub use semantic::{NearestPrompt, Objection, SemanticGuard, SemanticMiss};
pub use upstream::{SimulatorPace, UpstreamHealth, UpstreamInfo};
pub use whatif::{ChangedFate, PolicyFigures, WhatIfResult, WhatIfUpstream};

use crate::text::SafeText;
use crate::time::Timestamp;

/// Version of the event format; it stands in every journal header.
pub const FORMAT_VERSION: u32 = 2;

/// A fact: what happened, when, and to which call.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Event {
    /// Dense: the n-th event of the session has `seq` n, from 0.
    pub seq: u64,
    /// When it was recorded; never less than that of the event before.
    pub at: Timestamp,
    /// Which call it belongs to, if to one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub call: Option<CallId>,
    /// What happened.
    #[serde(flatten)]
    pub kind: EventKind,
}

/// One user-level request with one result.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct CallId(pub u64);

impl fmt::Display for CallId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "#{}", self.0)
    }
}

/// One upstream call shared by all identical calls in flight.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct FlightId(pub u64);

/// Who asks: the tenant in every cache key.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct UserId(SafeText);

impl UserId {
    /// A user by name: printable, at most 64 characters. Of a longer name the beginning is kept, and a hash
    /// of the whole: two tenants must not become one because they begin alike.
    pub fn new(name: &str) -> Self {
        if name.chars().count() <= 64 {
            return Self(SafeText::new(name));
        }
        let beginning: String = name.chars().take(47).collect();
        Self(SafeText::new(&format!(
            "{beginning}~{:016x}",
            xxhash_rust::xxh3::xxh3_64(name.as_bytes())
        )))
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

/// Where decisions are reported. The bus implements it; so does `()`, which forgets them.
///
/// Called right after a decision, by the thread that took it and in the order of the decisions. It must
/// not block and cannot fail.
pub trait Observer: Send + Sync + 'static {
    /// Emits an event.
    fn emit(&self, call: Option<CallId>, kind: EventKind);
}

impl Observer for () {
    fn emit(&self, _call: Option<CallId>, _kind: EventKind) {}
}

impl<O: Observer + ?Sized> Observer for std::sync::Arc<O> {
    fn emit(&self, call: Option<CallId>, kind: EventKind) {
        (**self).emit(call, kind);
    }
}
