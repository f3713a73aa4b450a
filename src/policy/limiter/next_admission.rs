//! The next admission, and the forecast for an arriving call.

use std::time::Duration;

use super::decision::{Ticket, UserQueueId};
use super::forecast::{Arrival, Forecast, PredictedAdmission, SIMULATED, SharedBuckets};
use super::user_queue::UserQueue;
use super::{Limiter, count};
use crate::event::Constraint;
use crate::time::Timestamp;

/// The waiter that is admitted first if nothing changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NextAdmission {
    /// The waiter.
    pub ticket: Ticket,
    /// Time of the admission; `None` until a slot is freed.
    pub until: Option<Timestamp>,
    /// The constraint that clears last. If `until` is not later than now, nothing holds the waiter.
    pub constraint: Constraint,
}

impl Limiter {
    /// The shared buckets at `now`. Where neither a pause nor a bucket holds a call, only a slot can be missing.
    pub(super) fn shared(&self, now: Timestamp) -> SharedBuckets {
        let paused = self.paused_until > now;
        SharedBuckets {
            requests: self.requests.at(now),
            tokens: self.tokens.at(now),
            at: now.max(self.paused_until),
            constraint: if paused {
                Constraint::Paused
            } else {
                Constraint::Slots
            },
        }
    }

    /// True if an arriving call can be admitted at once: nothing is missing, and no waiter precedes it. The shared
    /// buckets must be up to date.
    pub(super) fn can_admit(&self, now: Timestamp, queue: &UserQueue, tokens: u64) -> bool {
        if self.in_use >= self.settings.concurrency
            || self.paused_until > now
            || !self.requests.holds(1)
            || !self.tokens.holds(tokens)
            || !queue.waiting.is_empty()
            || queue.buckets.ready(now, tokens).0 > now
        {
            return false;
        }
        if self.queues.waiting() == 0 {
            return true;
        }
        let key = (self.queues.clock.start(queue.finish), self.queues.next_ticket());
        let before = self.queues.in_order().take_while(|(first, ..)| **first < key);
        let mut heads = before.filter_map(|((_, head), _, queue)| Some((self.queues.waiter(*head)?, queue)));
        heads.all(|(head, queue)| queue.buckets.ready(now, head.tokens).0 > now)
    }

    pub(super) fn next(&self, now: Timestamp) -> Option<NextAdmission> {
        let ((_, ticket), _, queue) = self.queues.in_order().next()?;
        let tokens = self.queues.waiter(*ticket)?.tokens;
        let next = |until, constraint| NextAdmission {
            ticket: *ticket,
            until,
            constraint,
        };
        if !self.settings.enabled {
            return Some(next(Some(now), Constraint::Slots));
        }
        if self.in_use >= self.settings.concurrency {
            return Some(next(None, Constraint::Slots));
        }
        if queue.buckets.ready(now, tokens).0 <= now {
            // first in order and not held by its own buckets: no other waiter can precede it
            let (at, constraint) = self.shared(now).ready(tokens);
            return Some(next(Some(at), constraint));
        }
        let first = Forecast::new(&self.queues, self.shared(now), None).next_admission()?;
        Some(NextAdmission {
            ticket: first.ticket,
            until: Some(first.at),
            constraint: first.constraint,
        })
    }

    /// The predicted admission of an arriving call, its last constraint, and the number of waiters before it.
    /// Slots are ignored, because it is unknown when they are freed: the wait is a lower bound.
    pub(super) fn forecast(&self, now: Timestamp, arrival: Arrival) -> (Timestamp, Constraint, u32) {
        if self.queues.waiting() > SIMULATED {
            return self.estimate(now, arrival);
        }
        let mut shared = self.shared(now);
        if self.queues.is_single_fifo() {
            for waiter in self.queues.waiters() {
                shared.admit(waiter.tokens);
            }
            let (at, constraint) = shared.admit(arrival.tokens);
            return (at, constraint, self.waiting());
        }
        match Forecast::new(&self.queues, shared, Some(arrival)).admission_of_arrival() {
            Some((PredictedAdmission { at, constraint, .. }, ahead)) => (at, constraint, count(ahead)),
            None => (Timestamp::MAX, Constraint::Slots, self.waiting()),
        }
    }

    /// The same from sums: the instant at which the buckets suffice for all calls ahead and the arrival. In arrival
    /// order it is at most that of the simulation, and equal if no bucket fills up during the wait.
    pub(super) fn estimate(&self, now: Timestamp, arrival: Arrival) -> (Timestamp, Constraint, u32) {
        let shared = self.shared(now);
        let own = self.queues.get(arrival.queue);
        let (own, constraint) = own.map_or((now, None), |queue| {
            let ahead = queue.waiting.demand(queue.waiting.len());
            queue.buckets.ready_after(now, ahead, arrival.tokens)
        });
        let mut ahead = self.queues.ahead_of(arrival, own.max(shared.at));
        let mut latest = shared.ready_after(ahead, arrival.tokens);
        if self.queues.has_own_buckets() {
            // the buckets of other users admit more of their calls by then
            ahead = self.queues.ahead_of(arrival, latest.0.max(own));
            latest = shared.ready_after(ahead, arrival.tokens);
        }
        if let Some(constraint) = constraint.filter(|_| own > latest.0) {
            latest = (own, constraint);
        }
        (latest.0, latest.1, u32::try_from(ahead.calls).unwrap_or(u32::MAX))
    }

    /// The predicted wait of the last waiter (of the user in fair order, of all otherwise): an arriving call waits
    /// longer.
    pub(super) fn least_wait(&self, now: Timestamp, id: UserQueueId) -> Option<Duration> {
        let last = if self.queues.clock.is_fair() {
            let last = self.queues.get(id).and_then(|queue| queue.waiting.last());
            last.and_then(|last| self.queues.waiter(last))
        } else {
            self.queues.waiters().next_back()
        };
        last.map(|last| last.expected.since(now))
            .filter(|wait| !wait.is_zero())
    }
}
