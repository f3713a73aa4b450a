//! What goes into the limiter and what comes out.

use std::time::Duration;

use crate::event::{Constraint, LimitReject, UserId};
use crate::time::Timestamp;

/// What an attempt needs: one request, one slot and these.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Request<'a> {
    /// Who asks.
    pub user: &'a UserId,
    /// LLM tokens to reserve: those of the prompt, and the most the answer may have.
    pub tokens: u64,
    /// When the call must be over; a wait beyond it is not begun.
    pub deadline: Timestamp,
}

/// A place in the queue. Later tickets have greater numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket(pub(super) u64);

/// A user's lane in the queue, or the one that too many users share. Never used again for another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LaneId(pub(super) u64);

/// Proof of admission: a slot is held, a request and tokens are charged. Goes back to
/// [`settle`](super::Limiter::settle) on every way out, or the slot is lost.
#[derive(Debug, PartialEq, Eq)]
#[must_use = "a grant that is not settled holds its slot for ever"]
pub struct Grant {
    /// LLM tokens charged at admission.
    pub(super) reserved: u64,
    /// Whether anything was charged: not while the limiter is off.
    pub(super) charged: bool,
    /// Whose it is.
    pub(super) lane: LaneId,
    /// The settings it was charged under.
    pub(super) version: u64,
}

impl Grant {
    /// LLM tokens reserved; zero if the limiter was off.
    pub fn reserved(&self) -> u64 {
        self.reserved
    }

    /// Whose buckets were charged, besides those of all.
    pub fn lane(&self) -> LaneId {
        self.lane
    }
}

/// The answer to who asks first.
#[derive(Debug, PartialEq, Eq)]
#[must_use]
pub enum Admission {
    /// Go.
    Admitted(Grant),
    /// Wait: [`poll`](super::Limiter::poll) when woken, [`leave`](super::Limiter::leave) when no longer wanted.
    Queued {
        /// The place in the queue.
        ticket: Ticket,
        /// What will hold it up last.
        constraint: Constraint,
        /// Place in the queue, by who should go before it; 1 is the head.
        position: u32,
        /// When it will be admitted, to the nanosecond, if nobody comes, leaves, settles or is told to pause;
        /// unknown where a slot must be given back first. First come, first served, nobody who comes can change
        /// it as long as no user has a bucket of its own; in fair order those of other users can.
        ready_at: Option<Timestamp>,
        /// Who lost its place to it, in a full queue. Its ticket is gone: wake it and tell it
        /// [`LimitReject::Displaced`].
        displaced: Option<Ticket>,
    },
    /// Turned away; nothing is charged.
    Rejected {
        /// Why.
        reason: LimitReject,
        /// How long it would have waited at least, where that can be told.
        predicted: Option<Duration>,
    },
}

/// The answer to a waiter that woke.
#[derive(Debug, PartialEq, Eq)]
#[must_use]
pub enum Turn {
    /// Go.
    Admitted {
        /// Proof of it.
        grant: Grant,
        /// Since it was queued.
        waited: Duration,
    },
    /// Not yet.
    Wait {
        /// When to ask again. `None`: not the head, or a slot must be given back first; somebody will wake it. Who
        /// is the head may have changed since it was asked: wake that one.
        until: Option<Timestamp>,
        /// What keeps the head of the queue.
        constraint: Constraint,
    },
    /// Nobody waits under this ticket: it was admitted, it left, or it was displaced.
    Gone,
}

/// What became of an admitted attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Settlement {
    /// It was never sent: the request and its tokens are given back.
    Unsent,
    /// It was sent, and nobody knows what it used: the reservation stays charged.
    Unknown,
    /// It used so many LLM tokens, prompt and answer. Less than reserved is given back, more becomes debt.
    Used(u64),
}

/// How a grant was settled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub struct Settled {
    /// LLM tokens that had been reserved.
    pub reserved: u64,
    /// LLM tokens charged in the end.
    pub charged: u64,
    /// Whether the request itself was given back too.
    pub refunded: bool,
}
