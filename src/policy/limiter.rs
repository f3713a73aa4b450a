//! The rate limiter: two token buckets and a number of slots, with one queue in front.
//!
//! The problem: an upstream allows so many requests and so many LLM tokens a minute, and some number of calls
//! at a time. Calls above that must wait in order, or be told at once how long they would wait.
//!
//! ```text
//!            +--------- queue, first come first served ---------+   all or nothing
//! acquire -> | newest .. third .. second .. head: waits for one |-> requests >= 1
//!            +--------------------------------------------------+   tokens   >= reserved   -> grant
//!               leave: unlinked, nothing was charged                slots in use < slots
//!                                                                   not paused
//! settle <- refund up to capacity, or debt <------------------------------------------------- grant
//! ```
//!
//! - A grant takes from both buckets and takes a slot, or none of the three. Nobody holds one and waits for
//!   another, so nothing can deadlock and nothing is charged to those who leave.
//! - Who comes while others wait goes to the end, even if it would fit: large calls are not starved.
//! - Nobody waits longer than `max_wait`: who would by the forecast is turned away at the door, and who does in
//!   spite of it at the instant [`Limiter::gives_up_at`] names.
//! - Only the head has a reason to wake by itself before that, at the instant [`Limiter::head`] names. After every call
//!   that changes something, ask `head` and wake that waiter if its instant has come or changed: that is all
//!   a caller must do, and no wake-up is lost.
//! - For every window `W`: granted - given back <= capacity + rate * `W`. The arithmetic is that of
//!   [`BucketLevel`]: integers, so no refill is lost however often one asks (the `floor` of the usual token
//!   bucket loses all of it if polled often enough, semantics 1.14).
//! - An answer's length is not known before: what may be used is reserved, what was used is settled. Too
//!   little reserved becomes debt, which the next one waits for.
//!
//! Sources: semantics 1.6; the bound is that of GCRA (ITU-T I.371, as in the governor crate).

mod reservoir;
#[cfg(test)]
mod tests;
mod words;

use std::collections::BTreeMap;
use std::time::Duration;

pub use words::{Admission, Grant, Request, Settled, Settlement, Ticket, Turn};

use self::reservoir::{Reservoir, Slow};
use super::LONGEST_HINT;
use crate::event::{BucketLevel, Constraint, LimitReject};
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
    /// In the order of arrival: tickets only grow.
    queue: BTreeMap<Ticket, Waiter>,
    next_ticket: u64,
}

/// Somebody in the queue.
#[derive(Clone, Copy, Debug)]
struct Waiter {
    tokens: u64,
    since: Timestamp,
    /// When the buckets should be ready for it, as predicted when it came.
    expected: Timestamp,
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
            queue: BTreeMap::new(),
            next_ticket: 0,
        }
    }

    /// Obeys other settings from now on. What is in the buckets stays, as far as it fits; grants, waiters, a
    /// pause and a slow-down stay too. A waiter that needs more than the new capacity passes when the bucket
    /// is full, into debt: it must not block those behind it for ever.
    pub fn configure(&mut self, settings: &LimitSettings, now: Timestamp) {
        self.advance(now);
        self.requests = self.requests.configured(&settings.requests);
        self.tokens = self.tokens.configured(&settings.tokens);
        self.settings = settings.clone();
    }

    /// Asks for a grant. Takes constant time, or one step for each waiter if it must wait itself.
    pub fn acquire(&mut self, now: Timestamp, request: Request) -> Admission {
        let now = self.advance(now);
        let Request { tokens, deadline } = request;
        if !self.settings.enabled {
            return Admission::Admitted(self.admit(tokens));
        }
        if tokens > self.settings.tokens.capacity {
            return reject(LimitReject::TooLarge, None);
        }
        if self.queue.is_empty() && self.obstacle(now, tokens).is_none() {
            return Admission::Admitted(self.admit(tokens));
        }
        if self.queue.len() >= self.settings.max_waiters {
            // whoever comes last waits longer than the last one here
            let last = self.queue.last_key_value();
            let wait = last.map(|(_, last)| last.expected.since(now));
            return reject(LimitReject::QueueFull, wait.filter(|wait| !wait.is_zero()));
        }
        let (expected, constraint) = self.forecast(now, tokens);
        let wait = expected.since(now);
        if wait > self.settings.max_wait {
            return reject(LimitReject::WaitTooLong, Some(wait));
        }
        if wait > deadline.since(now) {
            return reject(LimitReject::Deadline, Some(wait));
        }
        self.enqueue(now, tokens, expected, constraint)
    }

    /// Asks again, for a waiter that woke. A grant ends the ticket.
    pub fn poll(&mut self, now: Timestamp, ticket: Ticket) -> Turn {
        let now = self.advance(now);
        let (Some(&waiter), Some((&head, &first))) = (self.queue.get(&ticket), self.queue.first_key_value())
        else {
            return Turn::Gone;
        };
        let obstacle = self.obstacle(now, first.tokens);
        match obstacle {
            None if ticket == head || !self.settings.enabled => {
                self.queue.remove(&ticket);
                Turn::Admitted {
                    grant: self.admit(waiter.tokens),
                    waited: now.since(waiter.since),
                }
            }
            Some((until, constraint)) if ticket == head => Turn::Wait { until, constraint },
            // the head may go and has not yet been woken: behind it, one waits for its slot at most
            _ => Turn::Wait {
                until: None,
                constraint: obstacle.map_or(Constraint::Slots, |(_, constraint)| constraint),
            },
        }
    }

    /// When a waiter has waited as long as it may, and leaves if it is not admitted by then. The forecast at the
    /// door cannot promise that: it does not know when slots come back, nor of a pause to come.
    pub fn gives_up_at(&self, ticket: Ticket) -> Option<Timestamp> {
        let waiter = self.queue.get(&ticket)?;
        Some(waiter.since + self.settings.max_wait)
    }

    /// Leaves the queue; nothing was charged. An unknown ticket changes nothing.
    pub fn leave(&mut self, now: Timestamp, ticket: Ticket) {
        self.advance(now);
        self.queue.remove(&ticket);
    }

    /// Who is at the head of the queue, and the instant at which it will be admitted; `None` while no slot is
    /// free. An instant that is not later than `now` means: wake it.
    pub fn head(&self, now: Timestamp) -> Option<(Ticket, Option<Timestamp>)> {
        let now = now.max(self.latest());
        let (ticket, waiter) = self.queue.first_key_value()?;
        let until = match self.obstacle(now, waiter.tokens) {
            None => Some(now),
            Some((until, _)) => until,
        };
        Some((*ticket, until))
    }

    /// Takes a grant back: frees its slot and charges what was used in truth.
    ///
    /// A usage above `reserved + capacity` is not believed but cut there: one absurd number from a server must
    /// not stop the upstream for hours.
    #[expect(
        clippy::needless_pass_by_value,
        reason = "a grant is given back once: the move is the point"
    )]
    pub fn settle(&mut self, now: Timestamp, grant: Grant, settlement: Settlement) -> Settled {
        self.advance(now);
        self.in_use = self.in_use.saturating_sub(1);
        let Grant { reserved, charged } = grant;
        let unsent = settlement == Settlement::Unsent;
        if !charged {
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
        self.tokens = match used.checked_sub(reserved) {
            Some(more) => self.tokens.debited(more),
            None => self.tokens.credited(reserved - used),
        };
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

    /// Slots in use: grants that are not settled yet.
    pub fn in_use(&self) -> u32 {
        self.in_use
    }

    /// Waiters.
    pub fn waiting(&self) -> u32 {
        u32::try_from(self.queue.len()).unwrap_or(u32::MAX)
    }

    /// The latest instant it has seen. Callers read the clock before they get the lock, so `now` may step
    /// back a little: it is then taken for this.
    fn latest(&self) -> Timestamp {
        self.requests.level().as_of
    }

    /// Brings both buckets to `now`.
    fn advance(&mut self, now: Timestamp) -> Timestamp {
        let now = now.max(self.latest());
        self.requests = self.requests.at(now);
        self.tokens = self.tokens.at(now);
        now
    }

    /// What stands between the head and its grant, and when that will have gone: `None` with a slot, since
    /// only somebody's `settle` can tell. Both buckets must be at `now` or earlier.
    fn obstacle(&self, now: Timestamp, tokens: u64) -> Option<(Option<Timestamp>, Constraint)> {
        if !self.settings.enabled {
            return None;
        }
        if self.in_use >= self.settings.concurrency {
            return Some((None, Constraint::Slots));
        }
        let mut forecast = Forecast::start(self, now);
        let (ready, constraint) = forecast.pass(tokens);
        (ready > now).then_some((Some(ready), constraint))
    }

    /// When the buckets will be ready for one more with `tokens`, behind all who wait, and what it will have
    /// waited for last. Slots are left out: nobody knows when they come back, so this is the least wait.
    fn forecast(&self, now: Timestamp, tokens: u64) -> (Timestamp, Constraint) {
        let mut forecast = Forecast::start(self, now);
        for waiter in self.queue.values() {
            forecast.pass(waiter.tokens);
        }
        forecast.pass(tokens)
    }

    fn enqueue(
        &mut self,
        now: Timestamp,
        tokens: u64,
        expected: Timestamp,
        constraint: Constraint,
    ) -> Admission {
        let ticket = Ticket(self.next_ticket);
        self.next_ticket += 1;
        let ahead = self.waiting();
        let waiter = Waiter {
            tokens,
            since: now,
            expected,
        };
        self.queue.insert(ticket, waiter);
        let has_slot = self.in_use.saturating_add(ahead) < self.settings.concurrency;
        Admission::Queued {
            ticket,
            constraint: if has_slot { constraint } else { Constraint::Slots },
            position: ahead.saturating_add(1),
            ready_at: has_slot.then_some(expected),
        }
    }

    /// Charges and takes a slot.
    fn admit(&mut self, tokens: u64) -> Grant {
        let charged = self.settings.enabled;
        let reserved = if charged { tokens } else { 0 };
        if charged {
            self.requests = self.requests.debited(1);
            self.tokens = self.tokens.debited(tokens);
        }
        self.in_use = self.in_use.saturating_add(1);
        Grant { reserved, charged }
    }
}

/// The buckets as they will be, when one after another has passed as early as it can.
struct Forecast {
    requests: Reservoir,
    tokens: Reservoir,
    at: Timestamp,
    /// What held up whoever passed last.
    constraint: Constraint,
}

impl Forecast {
    /// Nobody has passed yet. Where neither pause nor bucket is in the way, only a slot can be missing.
    fn start(limiter: &Limiter, now: Timestamp) -> Self {
        let paused = limiter.paused_until > now;
        Self {
            requests: limiter.requests.at(now),
            tokens: limiter.tokens.at(now),
            at: now.max(limiter.paused_until),
            constraint: if paused {
                Constraint::Paused
            } else {
                Constraint::Slots
            },
        }
    }

    /// Lets one pass at the first instant both buckets are ready, not before those ahead of it.
    fn pass(&mut self, tokens: u64) -> (Timestamp, Constraint) {
        for (ready, constraint) in [
            (self.requests.ready_at(1), Constraint::Requests),
            (self.tokens.ready_at(tokens), Constraint::Tokens),
        ] {
            if ready > self.at {
                self.at = ready;
                self.constraint = constraint;
            }
        }
        self.requests = self.requests.at(self.at).debited(1);
        self.tokens = self.tokens.at(self.at).debited(tokens);
        (self.at, self.constraint)
    }
}

fn reject(reason: LimitReject, predicted: Option<Duration>) -> Admission {
    Admission::Rejected { reason, predicted }
}
