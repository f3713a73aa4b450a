//! Decisions and transitions of the breaker.

use crate::event::{BreakerState, MoveReason, Sample, WindowCounts};
use crate::time::Timestamp;

/// Proof of admission. Return it to [`settle`](super::Breaker::settle) on every exit path, cancellation
/// included: a lost probe holds its place until its lease ends.
#[derive(Debug, PartialEq, Eq)]
#[must_use = "a permit that is not settled is an outcome the breaker does not count"]
pub struct Permit {
    pub(super) generation: u64,
    /// Number of the probe, if it is one.
    pub(super) probe: Option<u64>,
    pub(super) proven_at: Option<Timestamp>,
    /// True for the rest of a stream whose probe was settled at the end of its lease.
    pub(super) judged: bool,
    pub(super) cut: bool,
}

impl Permit {
    /// The generation that admitted it. Its outcome counts only in that generation, unless it is a [cut](Self::cut).
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// Returns true for a probe of a half-open breaker.
    pub fn is_probe(&self) -> bool {
        self.probe.is_some()
    }

    /// The end of the lease of a probe with a first token. A stream that delivers after it is settled as good and
    /// continues with the permit of [`continue_stream`](super::Breaker::continue_stream).
    pub fn proven_at(&self) -> Option<Timestamp> {
        self.proven_at
    }

    /// Marks the permit of a stream that was cut after its first token: the upstream failed at this moment,
    /// whenever the stream was admitted. Not for a stream that fell silent, whose failure is as old as its silence.
    pub fn cut(self) -> Self {
        Self { cut: true, ..self }
    }
}

/// The breaker rejects the call: it is open, or half-open and admits no further probe.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("circuit open")]
pub struct CircuitOpen {
    /// Time at which a probe is admitted; `None` if forced open, or half-open.
    pub until: Option<Timestamp>,
}

/// Result of [`Breaker::acquire`](super::Breaker::acquire).
#[derive(Debug, PartialEq, Eq)]
#[must_use]
pub struct Acquired {
    /// The permit, or the rejection.
    pub permit: Result<Permit, CircuitOpen>,
    /// The transition to half-open, if this was the first request after the open time. It precedes the permit.
    pub transition: Option<Transition>,
}

/// Result of [`Breaker::settle`](super::Breaker::settle).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub struct SettledPermit {
    /// The sample as counted: that of the caller, or `Late`.
    pub sample: Sample,
    /// True if the permit was a probe.
    pub probe: bool,
    /// The generation of the permit.
    pub generation: u64,
    /// The window with this outcome, before a transition emptied it.
    pub window: WindowCounts,
    /// The transition this outcome caused.
    pub transition: Option<Transition>,
}

/// A change of state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Transition {
    /// State before.
    pub from: BreakerState,
    /// State after.
    pub to: BreakerState,
    /// The new generation: the previous one plus 1.
    pub generation: u64,
    /// The rule that caused it.
    pub reason: MoveReason,
    /// End of the open time; `None` unless `to` is open, and if forced.
    pub until: Option<Timestamp>,
    /// The window that led to it; the new window is empty.
    pub window: WindowCounts,
}

/// Result of [`Breaker::reset`](super::Breaker::reset).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub struct Reset {
    /// The transition to closed, also from closed: a new generation begins.
    pub transition: Transition,
    /// True if the breaker was forced before; it is automatic now.
    pub released: bool,
}
