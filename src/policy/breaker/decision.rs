//! What comes out of the breaker.

use crate::event::{BreakerState, MoveReason, Sample, WindowCounts};
use crate::time::Timestamp;

/// The answer to who only wants to know whether waiting is worth while.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Check {
    /// A permit would be given now.
    Pass,
    /// It would not.
    Refuse {
        /// When a probe may pass; unknown if forced open or while a probe is out.
        until: Option<Timestamp>,
    },
}

/// Proof of admission. Goes back to [`settle`](super::Breaker::settle) on every way out, a cancelled one
/// included; a lost probe blocks half-open until its lease ends.
#[derive(Debug, PartialEq, Eq)]
#[must_use = "a permit that is not settled is an outcome the breaker never hears of"]
pub struct Permit {
    /// The generation that gave it.
    pub(super) generation: u64,
    /// Which probe, if it is one.
    pub(super) probe: Option<u64>,
    /// Whether it is for the rest of a probe whose first token was judged.
    pub(super) judged: bool,
}

impl Permit {
    /// The generation its result belongs to.
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// Whether it is the probe of a half-open breaker.
    pub fn is_probe(&self) -> bool {
        self.probe.is_some()
    }
}

/// No permit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// When a probe may pass; unknown if forced open or while a probe is out.
    pub until: Option<Timestamp>,
}

/// The answer to who wants to send.
#[derive(Debug, PartialEq, Eq)]
#[must_use]
pub struct Acquired {
    /// Whether it may.
    pub permit: Result<Permit, Refusal>,
    /// The move to half-open, if this was the first after the open time. It came before the permit.
    pub moved: Option<Move>,
}

/// How a permit was settled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub struct Settled {
    /// What it counted as: what was said, or `Late`.
    pub sample: Sample,
    /// Whether it was a probe.
    pub probe: bool,
    /// The generation of the permit.
    pub generation: u64,
    /// The window with it, before a move emptied it.
    pub window: WindowCounts,
    /// The move it caused, if it did.
    pub moved: Option<Move>,
}

/// A transition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Move {
    /// Before.
    pub from: BreakerState,
    /// After.
    pub to: BreakerState,
    /// The new generation: one more than the last.
    pub generation: u64,
    /// Why.
    pub reason: MoveReason,
    /// When open ends; only with `to` open, and not if forced.
    pub until: Option<Timestamp>,
    /// The window that led to it. It is empty now.
    pub window: WindowCounts,
}

/// What a reset did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub struct Reset {
    /// To closed, always: also from closed, since a new generation begins.
    pub moved: Move,
    /// Whether it was forced before; it is automatic now.
    pub released: bool,
}
