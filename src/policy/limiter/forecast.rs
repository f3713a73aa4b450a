//! Who will go when, if nothing else happens: the queue as it stands, let through one after another.
//!
//! It obeys the order of now, the users' own buckets and a pause; slots are left out, since nobody knows when they
//! come back. In fair order somebody who comes later may go first, so there an instant is a forecast, no promise.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::collections::btree_set;

use super::decision::{LaneId, Ticket};
use super::pausable_bucket::Reservoir;
use super::user_buckets::{Flow, Purse};
use super::user_queue::{Key, Pace};
use super::user_queues::Lanes;
use crate::event::Constraint;
use crate::time::Timestamp;

/// The buckets of all as they will be, when one after another has passed as early as it can.
#[derive(Clone, Copy, Debug)]
pub(super) struct Gate {
    pub(super) requests: Reservoir,
    pub(super) tokens: Reservoir,
    pub(super) at: Timestamp,
    /// What held up whoever passed last.
    pub(super) constraint: Constraint,
}

impl Gate {
    /// When one with so many LLM tokens could pass, and what it would wait for last.
    pub(super) fn ready(&self, tokens: u64) -> (Timestamp, Constraint) {
        let mut found = (self.at, self.constraint);
        for (ready, constraint) in [
            (self.requests.ready_at(1), Constraint::Requests),
            (self.tokens.ready_at(tokens), Constraint::Tokens),
        ] {
            if ready > found.0 {
                found = (ready, constraint);
            }
        }
        found
    }

    /// Lets one pass at the first instant both buckets are ready, not before those ahead of it.
    pub(super) fn pass(&mut self, tokens: u64) -> (Timestamp, Constraint) {
        (self.at, self.constraint) = self.ready(tokens);
        self.requests = self.requests.at(self.at).debited(1);
        self.tokens = self.tokens.at(self.at).debited(tokens);
        (self.at, self.constraint)
    }
}

/// Somebody who asks and has no place yet.
#[derive(Clone, Copy, Debug)]
pub(super) struct Newcomer {
    pub(super) lane: LaneId,
    pub(super) tokens: u64,
    /// Who leaves the queue for it.
    pub(super) instead_of: Option<Ticket>,
}

/// Somebody who has passed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Passed {
    pub(super) ticket: Ticket,
    pub(super) at: Timestamp,
    pub(super) constraint: Constraint,
}

/// The queue, some steps on.
pub(super) struct Forecast<'a> {
    lanes: &'a Lanes,
    gate: Gate,
    pace: Pace,
    runs: Vec<Run<'a>>,
    /// Lanes whose own buckets have enough for their head.
    open: BinaryHeap<Reverse<(Key, usize)>>,
    /// The others, and when they will have.
    short: BinaryHeap<Reverse<(Timestamp, Key, usize)>>,
    newcomer: Option<(Ticket, Newcomer)>,
}

/// A lane, some steps on.
struct Run<'a> {
    purse: Purse,
    weight: u32,
    finish: u128,
    tokens: u64,
    /// When its own buckets have enough for its head, and which of them that waits for.
    own: (Timestamp, Option<Constraint>),
    behind: btree_set::Iter<'a, Ticket>,
    /// Whether somebody without a place comes behind them.
    then: bool,
}

impl<'a> Forecast<'a> {
    /// Nobody has passed yet.
    pub(super) fn start(lanes: &'a Lanes, gate: Gate, newcomer: Option<Newcomer>) -> Self {
        let mut forecast = Self {
            lanes,
            gate,
            pace: lanes.pace,
            runs: Vec::new(),
            open: BinaryHeap::new(),
            short: BinaryHeap::new(),
            newcomer: newcomer.map(|newcomer| (lanes.next_ticket(), newcomer)),
        };
        let mut joins = newcomer.map(|newcomer| newcomer.lane);
        for (_, id, lane) in lanes.turns() {
            let then = joins == Some(id);
            if then {
                joins = None;
            }
            forecast.enter(id, Some(lane.start), then);
        }
        if let Some(id) = joins {
            forecast.enter(id, None, true);
        }
        forecast
    }

    fn enter(&mut self, id: LaneId, start: Option<u128>, then: bool) {
        let Some(lane) = self.lanes.get(id) else { return };
        let run = Run {
            purse: lane.purse,
            weight: lane.weight,
            finish: lane.finish,
            tokens: 0,
            own: (self.gate.at, None),
            behind: lane.queue.iter(),
            then,
        };
        self.runs.push(run);
        self.line_up(self.runs.len() - 1, start);
    }

    /// The next one of a lane becomes its head.
    fn line_up(&mut self, index: usize, start: Option<u128>) {
        let Some(run) = self.runs.get_mut(index) else {
            return;
        };
        let (lanes, newcomer) = (self.lanes, self.newcomer);
        let leaves = newcomer.and_then(|(_, newcomer)| newcomer.instead_of);
        let waiting = run.behind.by_ref().find(|ticket| Some(**ticket) != leaves);
        let waiting = waiting.and_then(|ticket| Some((*ticket, lanes.waiter(*ticket)?.tokens)));
        let next = match (waiting, newcomer) {
            (None, Some((ticket, newcomer))) if std::mem::take(&mut run.then) => {
                Some((ticket, newcomer.tokens))
            }
            _ => waiting,
        };
        let Some((ticket, tokens)) = next else { return };
        let start = start.unwrap_or_else(|| self.pace.start(run.finish));
        run.tokens = tokens;
        run.own = run.purse.ready(self.gate.at, tokens);
        let key = (start, ticket);
        if run.own.0 <= self.gate.at {
            self.open.push(Reverse((key, index)));
        } else {
            self.short.push(Reverse((run.own.0, key, index)));
        }
    }

    /// Lets the next one pass.
    pub(super) fn step(&mut self) -> Option<Passed> {
        loop {
            while let Some(Reverse((ready, key, index))) = self.short.peek().copied()
                && ready <= self.gate.at
            {
                self.short.pop();
                self.open.push(Reverse((key, index)));
            }
            let soon = self.short.peek().map(|Reverse((ready, ..))| *ready);
            let first = self.open.peek().map(|Reverse((_, index))| *index);
            let run = first.and_then(|index| self.runs.get(index));
            let ready = run.map(|run| self.gate.ready(run.tokens).0);
            // until then somebody else may have enough, and come first
            match soon {
                Some(soon) if ready.is_none_or(|ready| soon <= ready) => self.gate.at = soon,
                _ => break,
            }
        }
        let Reverse(((start, ticket), index)) = self.open.pop()?;
        let run = self.runs.get_mut(index)?;
        if let (at, Some(own)) = run.own
            && at == self.gate.at
        {
            self.gate.constraint = own;
        }
        let (at, constraint) = self.gate.pass(run.tokens);
        run.finish = self.pace.admit(start, run.tokens, run.weight);
        run.purse = run.purse.after(at, Flow::Out(run.tokens), u64::MAX);
        self.line_up(index, None);
        Some(Passed {
            ticket,
            at,
            constraint,
        })
    }

    /// Lets all pass until the newcomer does; with how many before it.
    pub(super) fn reach(&mut self) -> Option<(Passed, usize)> {
        let (newcomer, _) = self.newcomer?;
        let mut ahead = 0;
        loop {
            let passed = self.step()?;
            if passed.ticket == newcomer {
                return Some((passed, ahead));
            }
            ahead += 1;
        }
    }
}
