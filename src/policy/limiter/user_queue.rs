//! One lane of the queue: a user, what it has of its own, and who waits for it.

use std::collections::BTreeSet;

use super::decision::Ticket;
use super::user_buckets::Purse;
use crate::event::UserId;
use crate::settings::{LimitSettings, QueueOrder};
use crate::time::{Timestamp, saturating_nanos};

/// Steps of virtual time in a nanosecond: so fine that a weight divides a cost without a loss that matters.
const GRAIN: u128 = 1 << 20;

/// Where a lane stands: the smallest goes first. In fair order its start tag, in order of arrival always zero;
/// then the ticket of its head.
pub(super) type Key = (u128, Ticket);

/// A user's lane.
#[derive(Clone, Debug)]
pub(super) struct Lane {
    /// Whose.
    pub(super) user: UserId,
    pub(super) purse: Purse,
    pub(super) weight: u32,
    /// In the order of arrival.
    pub(super) queue: BTreeSet<Ticket>,
    /// Grants that are not settled yet.
    pub(super) grants: u32,
    /// In virtual time: the start tag of the head.
    pub(super) start: u128,
    /// In virtual time: the finish tag of whoever was admitted last.
    pub(super) finish: u128,
    /// When its buckets are full, while nobody uses it.
    pub(super) idle: Option<Timestamp>,
}

impl Lane {
    /// Where it stands, if anybody waits in it.
    pub(super) fn key(&self) -> Option<Key> {
        Some((self.start, *self.queue.first()?))
    }

    /// Whether nobody waits in it or holds a grant of it.
    pub(super) fn is_idle(&self) -> bool {
        self.queue.is_empty() && self.grants == 0
    }
}

/// Start-time fair queueing over lanes (Goyal, Vin, Cheng: Start-time Fair Queueing, SIGCOMM '96).
///
/// A call costs what it takes of the scarcer bucket: the larger of its share of the requests and its share of the
/// LLM tokens, both as the time in which so much flows in (the dominant resource of Ghodsi et al., Dominant
/// Resource Fairness, NSDI '11), over the user's weight. Its start tag is the virtual time or the finish tag of
/// the user's call before it, whichever is later; its finish tag lies its cost behind that. The smallest start
/// tag goes first, and the virtual time is the latest start tag of an admitted one.
///
/// A tag is fixed when a waiter becomes the head of its lane, and only an admission moves the finish tag: whoever
/// leaves the queue costs its user nothing. Who was away begins at the virtual time: it has saved up nothing.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pace {
    order: QueueOrder,
    /// What one request costs.
    request: u128,
    /// What so many LLM tokens cost together.
    tokens: (u128, u128),
    /// The virtual time.
    pub(super) time: u128,
}

impl Pace {
    pub(super) fn new(settings: &LimitSettings) -> Self {
        let nanos = |per| u128::from(saturating_nanos(per)) * GRAIN;
        let (requests, tokens) = (&settings.requests, &settings.tokens);
        Self {
            order: settings.order,
            request: nanos(requests.per) / u128::from(requests.refill.max(1)),
            tokens: (nanos(tokens.per), u128::from(tokens.refill.max(1))),
            time: 0,
        }
    }

    pub(super) fn is_fair(&self) -> bool {
        self.order == QueueOrder::Fair
    }

    /// The start tag of who becomes the head of a lane now.
    pub(super) fn start(&self, finish: u128) -> u128 {
        if self.is_fair() { self.time.max(finish) } else { 0 }
    }

    /// An admission: the virtual time moves on. Gives the finish tag.
    pub(super) fn admit(&mut self, start: u128, tokens: u64, weight: u32) -> u128 {
        if !self.is_fair() {
            return 0;
        }
        self.time = self.time.max(start);
        let (per, refill) = self.tokens;
        let tokens = u128::from(tokens).saturating_mul(per) / refill;
        let cost = self.request.max(tokens) / u128::from(weight.max(1));
        start.saturating_add(cost.max(1))
    }
}
