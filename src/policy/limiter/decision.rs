//! Requests, decisions and settlements of the limiter.

use std::time::Duration;

use crate::event::{Constraint, LimitReject, UserId};
use crate::time::Timestamp;

/// The demand of one attempt: one request, one slot and `tokens`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Request<'a> {
    /// The user whose queue and buckets apply.
    pub user: &'a UserId,
    /// LLM tokens to reserve: those of the prompt plus the most the answer may have.
    pub tokens: u64,
    /// End of the call. A wait that would end after it is rejected.
    pub deadline: Timestamp,
}

/// The handle of a queued waiter. Later tickets compare greater.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket(pub(super) u64);

/// A user's queue, or the one that users beyond `max_users` share. Ids are never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UserQueueId(pub(super) u64);

/// Proof of admission: one slot is held, one request and the reserved tokens are charged. Return it to
/// [`settle`](super::Limiter::settle) on every exit path, or the slot is lost.
#[derive(Debug, PartialEq, Eq)]
#[must_use = "a grant that is not settled never frees its slot"]
pub struct Grant {
    pub(super) reserved: u64,
    /// False if the limiter was off at admission.
    pub(super) charged: bool,
    pub(super) queue: UserQueueId,
    /// Version of the settings it was charged under.
    pub(super) version: u64,
}

impl Grant {
    /// LLM tokens reserved at admission; zero if the limiter was off.
    pub fn reserved(&self) -> u64 {
        self.reserved
    }

    /// The user's queue; its buckets were charged in addition to the shared ones.
    pub fn user_queue(&self) -> UserQueueId {
        self.queue
    }
}

/// Result of [`Limiter::acquire`](super::Limiter::acquire).
#[derive(Debug, PartialEq, Eq)]
#[must_use]
pub enum Admission {
    /// The attempt may be sent now.
    Admitted(Grant),
    /// The attempt waits: [`poll`](super::Limiter::poll) when woken, [`leave`](super::Limiter::leave) when the
    /// caller cancels.
    Queued {
        /// Handle for `poll` and `leave`.
        ticket: Ticket,
        /// The constraint that is expected to clear last.
        constraint: Constraint,
        /// Position in the order of admission; 1 is the head. With per-user buckets, the forecast of a position.
        position: u32,
        /// Predicted admission; `None` if a slot must be freed first. Behind at most 32 waiters it is exact to
        /// the nanosecond if no other call to the limiter changes its state; behind more it may be earlier than
        /// the admission. In arrival order without per-user buckets, later arrivals cannot change it; in fair
        /// order, later arrivals of other users can.
        ready_at: Option<Timestamp>,
        /// The waiter that was removed from a full queue to make room. Its ticket is no longer valid: wake it and
        /// reject it with [`LimitReject::Displaced`].
        displaced: Option<Ticket>,
    },
    /// The attempt may not be sent; nothing is charged.
    Rejected {
        /// The limit that was exceeded.
        reason: LimitReject,
        /// Lower bound of the wait it would have had, if it can be predicted.
        predicted: Option<Duration>,
    },
}

/// Result of [`Limiter::poll`](super::Limiter::poll).
#[derive(Debug, PartialEq, Eq)]
#[must_use]
pub enum PollOutcome {
    /// The attempt may be sent now.
    Admitted {
        /// Proof of admission.
        grant: Grant,
        /// Time spent in the queue.
        waited: Duration,
    },
    /// The attempt keeps its place.
    Waiting {
        /// Time to poll again. `None`: it is not the head, or a slot must be freed first; another call wakes it.
        /// The head may have changed: wake [`head`](super::Limiter::head).
        until: Option<Timestamp>,
        /// The constraint that holds the head of the queue.
        constraint: Constraint,
    },
    /// The ticket is not in the queue: it was admitted, left or was displaced.
    NotQueued,
}

/// The usage of an admitted attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Settlement {
    /// It was never sent: the request and its tokens are refunded.
    Unsent,
    /// It was sent and its usage is unknown: the reservation stays charged.
    Unknown,
    /// It used this many LLM tokens, prompt and answer. The unused rest of the reservation is refunded; usage
    /// beyond it becomes debt.
    Used(u64),
}

/// Result of [`Limiter::settle`](super::Limiter::settle).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub struct SettledGrant {
    /// LLM tokens that were reserved.
    pub reserved: u64,
    /// LLM tokens charged after settlement.
    pub charged: u64,
    /// True if the request was refunded too.
    pub refunded: bool,
}
