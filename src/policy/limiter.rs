//! The rate limiter: two token buckets and a number of slots, with one queue in front, and in it a lane a user.
//!
//! The problem: an upstream allows so many requests and so many LLM tokens a minute, and some number of calls
//! at a time. Calls above that must wait in order, or be told at once how long they would wait. Many users share it:
//! a flood of one must not starve the rest.
//!
//! ```text
//!               a lane a user                  whose turn? the first whose      all or nothing
//!            +- ana | third .. second .. head -+  own buckets have enough
//! acquire -> +- ben |            second .. head -+-> fair: smallest start tag -> user's requests >= 1
//!            +- (others) |               head -+     fifo: who came first        user's tokens   >= reserved
//!               leave: unlinked,                                               requests        >= 1  -> grant
//!               nothing was charged                                            tokens          >= reserved
//!               queue full, fair: the newest of                                slots in use    < slots
//!               the longest lane makes room                                    not paused
//! settle <- refund up to capacity, or debt, in both pairs of buckets <-------------------------------- grant
//! ```
//!
//! - A grant takes from all buckets and takes a slot, or none of them. Nobody holds one and waits for
//!   another, so nothing can deadlock and nothing is charged to those who leave.
//! - In a lane nobody overtakes. Between lanes the order says who is next ([`user_queue::Pace`] has that of fair queueing);
//!   whoever is next waits for the buckets of all and a slot, and a smaller one does not slip past: large calls are
//!   not starved. A user whose own bucket is short holds up nobody else.
//! - Nobody waits longer than `max_wait`: who would by the forecast is turned away at the door, and who does in
//!   spite of it at the instant [`Limiter::gives_up_at`] names.
//! - Only one waiter has a reason to wake by itself before that: the one that will be admitted first if nothing
//!   happens, at the instant [`Limiter::head`] names. After every call that changes something, and after a
//!   [`Limiter::poll`] that says "wait, but not until when", ask `head` and wake that waiter if its instant has come or
//!   changed: that is all a caller must do, and no wake-up is lost.
//! - For every window `W`: granted - given back <= capacity + rate * `W`, of each bucket. The arithmetic is that of
//!   [`BucketLevel`]: integers, so no refill is lost however often one asks (the `floor` of the usual token
//!   bucket loses all of it if polled often enough, semantics 1.14).
//! - An answer's length is not known before: what may be used is reserved, what was used is settled. Too
//!   little reserved becomes debt, which the next one waits for.
//!
//! Sources: semantics 1.6; the bound is that of GCRA (ITU-T I.371, as in the governor crate); dropping from the
//! longest queue: Suter, Lakshman, Stiliadis, Choudhury, INFOCOM '98.

mod decision;
mod forecast;
mod pausable_bucket;
#[cfg(test)]
mod tests;
mod turn;
mod user_buckets;
mod user_queue;
mod user_queues;

use std::time::Duration;

pub use decision::{Admission, Grant, LaneId, Request, Settled, Settlement, Ticket, Turn};

use self::forecast::Newcomer;
use self::pausable_bucket::{Reservoir, Slow};
use self::user_buckets::Flow;
use self::user_queues::{Lanes, Waiter};
use super::LONGEST_HINT;
use crate::event::{BucketLevel, Constraint, LimitReject, UserId, UserLevels};
use crate::settings::LimitSettings;
use crate::time::Timestamp;

/// The limiter of one upstream.
#[derive(Debug)]
pub struct Limiter {
    settings: LimitSettings,
    requests: Reservoir,
    tokens: Reservoir,
    /// Nobody is admitted before.
    paused_until: Timestamp,
    in_use: u32,
    lanes: Lanes,
}

impl Limiter {
    /// A limiter with full buckets.
    pub fn new(settings: &LimitSettings, now: Timestamp) -> Self {
        Self {
            settings: settings.clone(),
            requests: Reservoir::full(&settings.requests, now),
            tokens: Reservoir::full(&settings.tokens, now),
            paused_until: Timestamp::ZERO,
            in_use: 0,
            lanes: Lanes::new(settings),
        }
    }

    /// Obeys other settings from now on. What is in the buckets stays, as far as it fits; grants, waiters, a
    /// pause and a slow-down stay too. A waiter that needs more than the new capacity passes when the bucket
    /// is full, into debt: it must not block those behind it for ever.
    pub fn configure(&mut self, settings: &LimitSettings, now: Timestamp) {
        let now = self.advance(now);
        self.requests = self.requests.configured(&settings.requests);
        self.tokens = self.tokens.configured(&settings.tokens);
        self.lanes.configure(settings, now);
        self.settings = settings.clone();
    }

    /// Asks for a grant. Takes one step for each user that waits, or for each waiter if it must wait itself.
    pub fn acquire(&mut self, now: Timestamp, request: Request<'_>) -> Admission {
        let now = self.advance(now);
        let Request {
            user,
            tokens,
            deadline,
        } = request;
        let id = self.lanes.of(user, now);
        if !self.settings.enabled {
            return Admission::Admitted(self.admit(now, id, tokens, None));
        }
        if tokens > self.settings.tokens.capacity {
            return reject(LimitReject::TooLarge, None);
        }
        let lane = self.lanes.get(id);
        if lane.is_some_and(|lane| !lane.purse.could_hold(tokens)) {
            return reject(LimitReject::UserTooLarge, None);
        }
        if self.may_go(now, id, tokens) {
            return Admission::Admitted(self.admit(now, id, tokens, None));
        }
        let mut displaced = None;
        if self.lanes.waiting() >= self.settings.max_waiters {
            displaced = self.lanes.makes_room(id).filter(|_| self.lanes.pace.is_fair());
            if displaced.is_none() {
                return reject(LimitReject::QueueFull, self.least_wait(now, id));
            }
        }
        let newcomer = Newcomer {
            lane: id,
            tokens,
            instead_of: displaced,
        };
        let (expected, constraint, ahead) = self.forecast(now, newcomer);
        let wait = expected.since(now);
        if wait > self.settings.max_wait {
            return reject(LimitReject::WaitTooLong, Some(wait));
        }
        if wait > deadline.since(now) {
            return reject(LimitReject::Deadline, Some(wait));
        }
        if let Some(ticket) = displaced {
            self.lanes.leave(now, ticket);
        }
        let waiter = Waiter {
            lane: id,
            user: user_queues::hash(user),
            tokens,
            since: now,
            expected,
        };
        let ticket = self.lanes.enqueue(now, waiter);
        let has_slot = self.in_use.saturating_add(ahead) < self.settings.concurrency;
        Admission::Queued {
            ticket,
            constraint: if has_slot { constraint } else { Constraint::Slots },
            position: ahead.saturating_add(1),
            ready_at: has_slot.then_some(expected),
            displaced,
        }
    }

    /// Asks again, for a waiter that woke. A grant ends the ticket.
    pub fn poll(&mut self, now: Timestamp, ticket: Ticket) -> Turn {
        let now = self.advance(now);
        let (Some(&waiter), Some(next)) = (self.lanes.waiter(ticket), self.next(now)) else {
            return Turn::Gone;
        };
        let ready = next.until.is_some_and(|until| until <= now);
        if !self.settings.enabled || (ready && next.ticket == ticket) {
            return Turn::Admitted {
                grant: self.admit(now, waiter.lane, waiter.tokens, Some(ticket)),
                waited: now.since(waiter.since),
            };
        }
        Turn::Wait {
            until: next.until.filter(|_| next.ticket == ticket),
            // the head may go and has not yet been woken: behind it, one waits for its slot at most
            constraint: if ready { Constraint::Slots } else { next.constraint },
        }
    }

    /// When a waiter has waited as long as it may, and leaves if it is not admitted by then. The forecast at the
    /// door cannot promise that: it does not know when slots come back, nor of a pause to come.
    pub fn gives_up_at(&self, ticket: Ticket) -> Option<Timestamp> {
        let waiter = self.lanes.waiter(ticket)?;
        Some(waiter.since + self.settings.max_wait)
    }

    /// Leaves the queue; nothing was charged. Whether it still had its place: whoever was displaced has not, and
    /// nothing changes.
    pub fn leave(&mut self, now: Timestamp, ticket: Ticket) -> bool {
        let now = self.advance(now);
        let waits = self.lanes.waiter(ticket).is_some();
        self.lanes.leave(now, ticket);
        waits
    }

    /// Who will be admitted first if nothing happens, and the instant; `None` while no slot is free. An instant
    /// that is not later than `now` means: wake it.
    pub fn head(&self, now: Timestamp) -> Option<(Ticket, Option<Timestamp>)> {
        let next = self.next(now.max(self.latest()))?;
        Some((next.ticket, next.until))
    }

    /// Takes a grant back: frees its slot and charges what was used in truth, to all and to its user.
    ///
    /// A usage above `reserved + capacity` is not believed but cut there: one absurd number from a server must
    /// not stop the upstream for hours.
    #[expect(
        clippy::needless_pass_by_value,
        reason = "a grant is given back once: the move is the point"
    )]
    pub fn settle(&mut self, now: Timestamp, grant: Grant, settlement: Settlement) -> Settled {
        let now = self.advance(now);
        self.in_use = self.in_use.saturating_sub(1);
        let Grant {
            reserved,
            charged,
            lane,
            version,
        } = grant;
        let unsent = settlement == Settlement::Unsent;
        if !charged {
            self.lanes.settle(now, lane, None);
            return Settled {
                reserved: 0,
                charged: 0,
                refunded: false,
            };
        }
        if unsent {
            self.requests = self.requests.credited(1);
        }
        let used = match settlement {
            Settlement::Unsent => 0,
            Settlement::Unknown => reserved,
            Settlement::Used(tokens) => tokens.min(reserved.saturating_add(self.settings.tokens.capacity)),
        };
        let flow = match used.checked_sub(reserved) {
            Some(more) if !unsent => Flow::Debt(more),
            _ => Flow::Back {
                request: unsent,
                tokens: reserved - used,
            },
        };
        self.tokens = match flow {
            Flow::Out(more) | Flow::Debt(more) => self.tokens.debited(more),
            Flow::Back { tokens, .. } => self.tokens.credited(tokens),
        };
        self.lanes.settle(now, lane, Some((flow, version)));
        Settled {
            reserved,
            charged: used,
            refunded: unsent,
        }
    }

    /// Admits nobody before `until`: the server said so. At most an hour ahead; a pause in force is never
    /// made shorter. Returns when the pause ends. The buckets fill meanwhile.
    pub fn pause(&mut self, now: Timestamp, until: Timestamp) -> Timestamp {
        let now = self.advance(now);
        self.paused_until = self.paused_until.max(until.min(now + LONGEST_HINT));
        self.paused_until
    }

    /// Multiplies both refills by `factor` until then: the server said "too many" and not how long. At most an
    /// hour ahead. Never faster than the settings: a factor of 1 or more, or no number, changes nothing. While
    /// slowed already, the smaller factor and the later end hold, so that many refusals of one burst count
    /// once. Returns when it ends.
    pub fn slow(&mut self, now: Timestamp, factor: f64, until: Timestamp) -> Timestamp {
        let now = self.advance(now);
        let before = self.tokens.slow();
        let end = before.map_or(now, |slow| slow.until);
        if factor.is_nan() || factor >= 1.0 || until <= now {
            return end;
        }
        let until = until.min(now + LONGEST_HINT).max(end);
        let percent = ((factor * 100.0).round() as u64).clamp(1, 100);
        let slow = Slow {
            percent: before.map_or(percent, |before| before.percent.min(percent)),
            until,
        };
        self.requests = self.requests.slowed(slow);
        self.tokens = self.tokens.slowed(slow);
        until
    }

    /// The bucket of requests. While slowed it has the slow refill, also for instants after that.
    pub fn requests(&self, now: Timestamp) -> BucketLevel {
        self.requests.at(now).level()
    }

    /// The bucket of LLM tokens. While slowed it has the slow refill, also for instants after that.
    pub fn tokens(&self, now: Timestamp) -> BucketLevel {
        self.tokens.at(now).level()
    }

    /// The buckets that a user has of its own; nothing where it has none.
    pub fn of_user(&self, now: Timestamp, user: &UserId) -> Option<UserLevels> {
        self.of_lane(now, self.lanes.known(user)?)
    }

    /// The same of the lane that a grant was charged to.
    pub fn of_lane(&self, now: Timestamp, lane: LaneId) -> Option<UserLevels> {
        self.lanes.levels(now.max(self.latest()), lane)
    }

    /// Slots in use: grants that are not settled yet.
    pub fn in_use(&self) -> u32 {
        self.in_use
    }

    /// Waiters.
    pub fn waiting(&self) -> u32 {
        count(self.lanes.waiting())
    }

    /// The latest instant it has seen. Callers read the clock before they get the lock, so `now` may step
    /// back a little: it is then taken for this.
    fn latest(&self) -> Timestamp {
        self.requests.level().as_of
    }

    /// Brings the buckets of all to `now`.
    fn advance(&mut self, now: Timestamp) -> Timestamp {
        let now = now.max(self.latest());
        self.requests = self.requests.at(now);
        self.tokens = self.tokens.at(now);
        now
    }

    /// Charges and takes a slot.
    fn admit(&mut self, now: Timestamp, lane: LaneId, tokens: u64, ticket: Option<Ticket>) -> Grant {
        let charged = self.settings.enabled;
        let reserved = if charged { tokens } else { 0 };
        if charged {
            self.requests = self.requests.debited(1);
            self.tokens = self.tokens.debited(tokens);
        }
        let version = self.lanes.admit(now, lane, ticket, charged.then_some(tokens));
        self.in_use = self.in_use.saturating_add(1);
        Grant {
            reserved,
            charged,
            lane,
            version,
        }
    }
}

fn reject(reason: LimitReject, predicted: Option<Duration>) -> Admission {
    Admission::Rejected { reason, predicted }
}

fn count(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}
