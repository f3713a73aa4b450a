//! One user's queue, and the virtual clock that orders the heads of all user queues.

use super::decision::Ticket;
use super::user_buckets::UserBuckets;
use super::waiting_calls::WaitingCalls;
use crate::event::UserId;
use crate::settings::{LimitSettings, QueueOrder};
use crate::time::{Timestamp, saturating_nanos};

/// Steps of virtual time per nanosecond: fine enough that dividing a cost by a weight loses nothing relevant.
const STEPS_PER_NANO: u128 = 1 << 20;

/// Sort key of a user queue; the smallest is admitted first. Start tag of the head (always zero in arrival
/// order), then the ticket of the head.
pub(super) type OrderKey = (u128, Ticket);

#[derive(Clone, Debug)]
pub(super) struct UserQueue {
    pub(super) user: UserId,
    pub(super) buckets: UserBuckets,
    pub(super) weight: u32,
    pub(super) waiting: WaitingCalls,
    /// Grants that are not settled yet.
    pub(super) grants: u32,
    /// Virtual time: start tag of the head.
    pub(super) start: u128,
    /// Virtual time: finish tag of the last admitted call.
    pub(super) finish: u128,
    /// Its key in the index of idle queues: its buckets are not full before. A queue that is no longer idle may
    /// keep it.
    pub(super) full_at: Option<Timestamp>,
}

impl UserQueue {
    /// The sort key; `None` if the queue is empty.
    pub(super) fn key(&self) -> Option<OrderKey> {
        Some((self.start, self.waiting.first()?))
    }

    /// True if the queue has no waiter and no open grant.
    pub(super) fn is_idle(&self) -> bool {
        self.waiting.is_empty() && self.grants == 0
    }
}

/// The virtual clock of start-time fair queueing over user queues (Goyal, Vin, Cheng: Start-time Fair Queueing,
/// SIGCOMM '96).
///
/// The cost of a call is its demand on the scarcer bucket, over the user's weight: the larger of its share of
/// the requests and its share of the LLM tokens, each as the time in which that amount is refilled (dominant
/// resource, Ghodsi et al., Dominant Resource Fairness, NSDI '11). Its start tag is the later of the virtual
/// time and the finish tag of the user's previous call; its finish tag is the start tag plus the cost. The
/// smallest start tag is admitted first, and the virtual time is the latest start tag admitted.
///
/// A tag is fixed when a waiter becomes the head of its user queue, and only an admission moves the finish tag:
/// a waiter that leaves costs its user nothing. A returning user starts at the virtual time: idle time earns no
/// credit.
#[derive(Clone, Copy, Debug)]
pub(super) struct VirtualClock {
    order: QueueOrder,
    /// Cost of one request.
    request: u128,
    /// Cost of LLM tokens, as a fraction: virtual time per `.1` tokens.
    tokens: (u128, u128),
    pub(super) time: u128,
}

impl VirtualClock {
    pub(super) fn new(settings: &LimitSettings) -> Self {
        let steps = |per| u128::from(saturating_nanos(per)) * STEPS_PER_NANO;
        let (requests, tokens) = (&settings.requests, &settings.tokens);
        Self {
            order: settings.order,
            request: steps(requests.per) / u128::from(requests.refill.max(1)),
            tokens: (steps(tokens.per), u128::from(tokens.refill.max(1))),
            time: 0,
        }
    }

    pub(super) fn is_fair(&self) -> bool {
        self.order == QueueOrder::Fair
    }

    /// The start tag of a waiter that becomes the head of its user queue now.
    pub(super) fn start(&self, finish: u128) -> u128 {
        if self.is_fair() { self.time.max(finish) } else { 0 }
    }

    /// Advances the virtual time for an admission and returns the finish tag.
    pub(super) fn admit(&mut self, start: u128, tokens: u64, weight: u32) -> u128 {
        if !self.is_fair() {
            return 0;
        }
        self.time = self.time.max(start);
        start.saturating_add(self.cost(tokens, weight))
    }

    /// The virtual time that an admission takes; zero in arrival order.
    pub(super) fn cost(&self, tokens: u64, weight: u32) -> u128 {
        if !self.is_fair() {
            return 0;
        }
        let (per, refill) = self.tokens;
        let tokens = u128::from(tokens).saturating_mul(per);
        // a division of 128 bits is slow, and most products are short
        let tokens = match (u64::try_from(tokens), u64::try_from(refill)) {
            (Ok(tokens), Ok(refill)) => u128::from(tokens / refill.max(1)),
            _ => tokens / refill,
        };
        let cost = self.request.max(tokens);
        let cost = if weight > 1 {
            cost / u128::from(weight)
        } else {
            cost
        };
        cost.max(1)
    }
}
