//! Whose turn it is, and when.

use std::time::Duration;

use super::decision::{LaneId, Ticket};
use super::forecast::{Forecast, Gate, Newcomer};
use super::{Limiter, count};
use crate::event::Constraint;
use crate::time::Timestamp;

/// Who will be admitted first, if nothing happens.
#[derive(Clone, Copy, Debug)]
pub(super) struct Next {
    pub(super) ticket: Ticket,
    /// Then, or once a slot was given back.
    pub(super) until: Option<Timestamp>,
    /// What it waits for last.
    pub(super) constraint: Constraint,
}

impl Limiter {
    /// The buckets of all, before anybody has passed. Where neither pause nor bucket is in the way, only a slot
    /// can be missing.
    pub(super) fn gate(&self, now: Timestamp) -> Gate {
        let paused = self.paused_until > now;
        Gate {
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

    /// Whether somebody who comes may go at once: nothing is missing, and it is its turn.
    pub(super) fn may_go(&self, now: Timestamp, id: LaneId, tokens: u64) -> bool {
        let Some(lane) = self.lanes.get(id) else {
            return false;
        };
        if self.in_use >= self.settings.concurrency
            || self.gate(now).ready(tokens).0 > now
            || !lane.queue.is_empty()
            || lane.purse.ready(now, tokens).0 > now
        {
            return false;
        }
        let key = (self.lanes.pace.start(lane.finish), self.lanes.next_ticket());
        let before = self.lanes.turns().take_while(|(first, ..)| **first < key);
        let mut heads = before.filter_map(|((_, head), _, lane)| Some((self.lanes.waiter(*head)?, lane)));
        heads.all(|(head, lane)| lane.purse.ready(now, head.tokens).0 > now)
    }

    /// Who goes first, if nothing happens.
    pub(super) fn next(&self, now: Timestamp) -> Option<Next> {
        let ((_, ticket), _, lane) = self.lanes.turns().next()?;
        let tokens = self.lanes.waiter(*ticket)?.tokens;
        let next = |until, constraint| Next {
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
        if lane.purse.ready(now, tokens).0 <= now {
            // the first in order, and nothing of its own is in its way: nobody can come before it
            let (at, constraint) = self.gate(now).ready(tokens);
            return Some(next(Some(at), constraint));
        }
        let first = Forecast::start(&self.lanes, self.gate(now), None).step()?;
        Some(Next {
            ticket: first.ticket,
            until: Some(first.at),
            constraint: first.constraint,
        })
    }

    /// When somebody who comes would be admitted, what it would have waited for last, and how many go before it.
    /// Slots are left out: nobody knows when they come back, so this is the least wait.
    pub(super) fn forecast(&self, now: Timestamp, newcomer: Newcomer) -> (Timestamp, Constraint, u32) {
        let mut gate = self.gate(now);
        if self.lanes.is_one_line() {
            for waiter in self.lanes.waiters() {
                gate.pass(waiter.tokens);
            }
            let (at, constraint) = gate.pass(newcomer.tokens);
            return (at, constraint, self.waiting());
        }
        match Forecast::start(&self.lanes, gate, Some(newcomer)).reach() {
            Some((passed, ahead)) => (passed.at, passed.constraint, count(ahead)),
            None => (Timestamp::MAX, Constraint::Slots, self.waiting()),
        }
    }

    /// Whoever comes last waits longer than the last one here: of its user in fair order, of all otherwise.
    pub(super) fn least_wait(&self, now: Timestamp, id: LaneId) -> Option<Duration> {
        let last = if self.lanes.pace.is_fair() {
            let last = self.lanes.get(id).and_then(|lane| lane.queue.last());
            last.and_then(|last| self.lanes.waiter(*last))
        } else {
            self.lanes.waiters().next_back()
        };
        last.map(|last| last.expected.since(now))
            .filter(|wait| !wait.is_zero())
    }
}
