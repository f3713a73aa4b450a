//! A simulation of the queue: the order and the instants of admission if no other call changes the limiter.
//!
//! It obeys the current order, the users' own buckets and a pause; slots are ignored, because it is unknown when
//! they are freed. In fair order a later arrival may be admitted first, so an instant is an estimate there.
//!
//! Its cost grows with the queue. Behind more than [`SIMULATED`] waiters, [`SharedBuckets::ready_after`] computes
//! the instant from sums.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::decision::{Ticket, UserQueueId};
use super::throttled_bucket::ThrottledBucket;
use super::user_buckets::{BucketChange, UserBuckets};
use super::user_queue::{OrderKey, VirtualClock};
use super::user_queues::UserQueues;
use super::waiting_calls::{Demand, WaitingCalls};
use crate::event::Constraint;
use crate::time::Timestamp;

/// The most waiters behind which an arrival is simulated.
pub(super) const SIMULATED: usize = 32;

/// The shared buckets after each simulated admission.
#[derive(Clone, Copy, Debug)]
pub(super) struct SharedBuckets {
    pub(super) requests: ThrottledBucket,
    pub(super) tokens: ThrottledBucket,
    /// The latest simulated admission.
    pub(super) at: Timestamp,
    /// The constraint that admission waited for.
    pub(super) constraint: Constraint,
}

impl SharedBuckets {
    /// The earliest admission of a call of this size, and the constraint that clears last.
    pub(super) fn ready(&self, tokens: u64) -> (Timestamp, Constraint) {
        let mut latest = (self.at, self.constraint);
        for (ready, constraint) in [
            (self.requests.ready_at(1), Constraint::Requests),
            (self.tokens.ready_at(tokens), Constraint::Tokens),
        ] {
            if ready > latest.0 {
                latest = (ready, constraint);
            }
        }
        latest
    }

    /// The earliest admission of a call behind others: exact if no bucket fills up during the wait, otherwise a
    /// lower bound.
    pub(super) fn ready_after(&self, ahead: Demand, tokens: u64) -> (Timestamp, Constraint) {
        let mut latest = (self.at, self.constraint);
        for (ready, constraint) in [
            (
                self.requests.at(self.at).ready_after(ahead.calls, 1),
                Constraint::Requests,
            ),
            (
                self.tokens.at(self.at).ready_after(ahead.tokens, tokens),
                Constraint::Tokens,
            ),
        ] {
            if ready > latest.0 {
                latest = (ready, constraint);
            }
        }
        latest
    }

    /// Admits a call as soon as both buckets suffice, not before the calls ahead of it.
    pub(super) fn admit(&mut self, tokens: u64) -> (Timestamp, Constraint) {
        (self.at, self.constraint) = self.ready(tokens);
        let grant = BucketChange::Grant(tokens);
        self.requests = grant.apply_to_requests(self.requests.at(self.at));
        self.tokens = grant.apply_to_tokens(self.tokens.at(self.at));
        (self.at, self.constraint)
    }
}

/// A call that arrives and is not queued yet.
#[derive(Clone, Copy, Debug)]
pub(super) struct Arrival {
    pub(super) queue: UserQueueId,
    pub(super) tokens: u64,
    /// The waiter that leaves the full queue for it.
    pub(super) displaces: Option<Ticket>,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct PredictedAdmission {
    pub(super) ticket: Ticket,
    pub(super) at: Timestamp,
    pub(super) constraint: Constraint,
}

/// The state of the simulation.
pub(super) struct Forecast<'a> {
    queues: &'a UserQueues,
    shared: SharedBuckets,
    clock: VirtualClock,
    simulated: Vec<SimulatedQueue<'a>>,
    /// Queues whose own buckets suffice for their head.
    ready: BinaryHeap<Reverse<(OrderKey, usize)>>,
    /// The other queues, and the instant at which their buckets suffice.
    short: BinaryHeap<Reverse<(Timestamp, OrderKey, usize)>>,
    arrival: Option<(Ticket, Arrival)>,
}

/// The state of one user queue in the simulation.
struct SimulatedQueue<'a> {
    buckets: UserBuckets,
    weight: u32,
    finish: u128,
    /// LLM tokens of the head.
    tokens: u64,
    /// The instant at which its own buckets suffice for its head, and the bucket that fills last.
    own: (Timestamp, Option<Constraint>),
    waiting: &'a WaitingCalls,
    /// Number of waiters that were head.
    passed: usize,
    /// True if the arrival comes after the waiters.
    arrival_follows: bool,
}

impl<'a> Forecast<'a> {
    pub(super) fn new(queues: &'a UserQueues, shared: SharedBuckets, arrival: Option<Arrival>) -> Self {
        let mut forecast = Self {
            queues,
            shared,
            clock: queues.clock,
            simulated: Vec::new(),
            ready: BinaryHeap::new(),
            short: BinaryHeap::new(),
            arrival: arrival.map(|arrival| (queues.next_ticket(), arrival)),
        };
        let mut joins = arrival.map(|arrival| arrival.queue);
        for (_, id, queue) in queues.in_order() {
            let arrival_follows = joins.take_if(|joins| *joins == id).is_some();
            forecast.add_queue(id, Some(queue.start), arrival_follows);
        }
        if let Some(id) = joins {
            forecast.add_queue(id, None, true);
        }
        forecast
    }

    fn add_queue(&mut self, id: UserQueueId, start: Option<u128>, arrival_follows: bool) {
        let Some(queue) = self.queues.get(id) else { return };
        self.simulated.push(SimulatedQueue {
            buckets: queue.buckets,
            weight: queue.weight,
            finish: queue.finish,
            tokens: 0,
            own: (self.shared.at, None),
            waiting: &queue.waiting,
            passed: 0,
            arrival_follows,
        });
        self.advance_head(self.simulated.len() - 1, start);
    }

    /// Makes the next waiter of a queue its head.
    fn advance_head(&mut self, index: usize, start: Option<u128>) {
        let Some(queue) = self.simulated.get_mut(index) else {
            return;
        };
        let (queues, arrival) = (self.queues, self.arrival);
        let leaves = arrival.and_then(|(_, arrival)| arrival.displaces);
        let waiting = queue.waiting.tickets().skip(queue.passed);
        let waiting = waiting.enumerate().find(|(_, ticket)| Some(*ticket) != leaves);
        queue.passed += waiting.map_or(0, |(skipped, _)| skipped + 1);
        let waiting = waiting.map(|(_, ticket)| ticket);
        let waiting = waiting.and_then(|ticket| Some((ticket, queues.waiter(ticket)?.tokens)));
        let next = match (waiting, arrival) {
            (None, Some((ticket, arrival))) if std::mem::take(&mut queue.arrival_follows) => {
                Some((ticket, arrival.tokens))
            }
            _ => waiting,
        };
        let Some((ticket, tokens)) = next else { return };
        let start = start.unwrap_or_else(|| self.clock.start(queue.finish));
        queue.tokens = tokens;
        queue.own = queue.buckets.ready(self.shared.at, tokens);
        let key = (start, ticket);
        if queue.own.0 <= self.shared.at {
            self.ready.push(Reverse((key, index)));
        } else {
            self.short.push(Reverse((queue.own.0, key, index)));
        }
    }

    /// Simulates the next admission.
    pub(super) fn next_admission(&mut self) -> Option<PredictedAdmission> {
        loop {
            while let Some(Reverse((ready, key, index))) = self.short.peek().copied()
                && ready <= self.shared.at
            {
                self.short.pop();
                self.ready.push(Reverse((key, index)));
            }
            let soonest = self.short.peek().map(|Reverse((ready, ..))| *ready);
            let first = self.ready.peek().map(|Reverse((_, index))| *index);
            let queue = first.and_then(|index| self.simulated.get(index));
            let ready = queue.map(|queue| self.shared.ready(queue.tokens).0);
            // before that instant the buckets of another user may suffice, and its head may come first
            match soonest {
                Some(soonest) if ready.is_none_or(|ready| soonest <= ready) => self.shared.at = soonest,
                _ => break,
            }
        }
        let Reverse(((start, ticket), index)) = self.ready.pop()?;
        let queue = self.simulated.get_mut(index)?;
        if let (at, Some(own)) = queue.own
            && at == self.shared.at
        {
            self.shared.constraint = own;
        }
        let (at, constraint) = self.shared.admit(queue.tokens);
        queue.finish = self.clock.admit(start, queue.tokens, queue.weight);
        let grant = BucketChange::Grant(queue.tokens);
        queue.buckets.change(at, grant, u64::MAX);
        self.advance_head(index, None);
        Some(PredictedAdmission {
            ticket,
            at,
            constraint,
        })
    }

    /// Simulates until the arrival is admitted; returns its admission and the number of admissions before it.
    pub(super) fn admission_of_arrival(&mut self) -> Option<(PredictedAdmission, usize)> {
        let (arrival, _) = self.arrival?;
        let mut ahead = 0;
        loop {
            let admission = self.next_admission()?;
            if admission.ticket == arrival {
                return Some((admission, ahead));
            }
            ahead += 1;
        }
    }
}
