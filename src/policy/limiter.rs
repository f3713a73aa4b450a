//! The rate limiter: two token buckets and a number of slots behind one queue that is divided by user.
//!
//! An upstream allows a number of requests and of LLM tokens per minute and a number of concurrent calls. Calls
//! beyond that wait in order, or are rejected at once with the predicted wait. A flood from one user must not
//! starve the others.
//!
//! ```text
//!               one queue per user             the first in order whose        all or nothing
//!            +- ana | third .. second .. head -+  own buckets suffice
//! acquire -> +- ben |            second .. head -+-> fair: smallest start tag -> user's requests >= 1
//!            +- (others) |               head -+     fifo: first arrival         user's tokens   >= reserved
//!               leave: removed,                                                requests        >= 1  -> grant
//!               nothing was charged                                            tokens          >= reserved
//!               queue full, fair: the newest of                                slots in use    < slots
//!               the longest user queue makes room                              not paused
//! settle <- refund up to capacity, or debt, in both pairs of buckets <-------------------------------- grant
//! ```
//!
//! - A grant debits all buckets and takes a slot, or does neither. No call holds one resource while it waits for
//!   another: there is no deadlock, and a call that leaves the queue was charged nothing.
//! - Within a user queue, no call overtakes. Between user queues, the order decides (`VirtualClock` documents fair
//!   queueing). The next call waits for the shared buckets and a slot, and no smaller call passes it: large calls
//!   do not starve. A user whose own bucket is short delays no other user.
//! - No waiter waits longer than `max_wait`: a call whose forecast exceeds it is rejected on arrival, a waiter
//!   whose forecast was too short expires at [`Limiter::expires_at`].
//! - Only one waiter needs a timer besides that: the one returned by [`Limiter::head`]. After every call that
//!   changes the limiter, and after a [`Limiter::poll`] that returns no instant, ask `head` and wake that waiter
//!   if its instant has come or changed. No other wake-up is needed, and none is lost.
//! - For every window `W` and each bucket: granted - returned <= capacity + rate * `W`. [`BucketLevel`] counts
//!   in integers, so no refill is lost however often it is read (the `floor` of the usual token bucket loses all
//!   refill if it is polled often enough; docs/semantics.md, Exercise).
//! - The length of an answer is unknown in advance: the maximum is reserved, the usage is settled. Usage beyond
//!   the reservation becomes debt, which delays later calls.
//!
//! Sources: docs/semantics.md, Rate limiter. The bound is that of GCRA (ITU-T I.371, as in the governor crate);
//! dropping from the longest queue: Suter, Lakshman, Stiliadis, Choudhury, INFOCOM '98.

mod decision;
mod forecast;
mod next_admission;
#[cfg(test)]
mod tests;
mod throttled_bucket;
mod user_buckets;
mod user_queue;
mod user_queues;
mod waiting_calls;

use std::time::Duration;

pub use decision::{Admission, Grant, PollOutcome, Request, SettledGrant, Settlement, Ticket, UserQueueId};

pub use next_admission::NextAdmission;

use self::forecast::Arrival;
use self::throttled_bucket::{Throttle, ThrottledBucket};
use self::user_buckets::BucketChange;
use self::user_queues::{UserQueues, Waiter};
use super::MAX_SERVER_WAIT;
use crate::event::{BucketLevel, Constraint, LimitReject, UserId, UserLevels};
use crate::settings::LimitSettings;
use crate::time::Timestamp;

/// The rate limiter of one upstream. Limits: [`LimitSettings`].
///
/// ```
/// use std::time::Duration;
///
/// use seawall::event::UserId;
/// use seawall::policy::limiter::{Admission, Limiter, Request, Settlement};
/// use seawall::settings::LimitSettings;
/// use seawall::time::Timestamp;
///
/// let now = Timestamp::ZERO;
/// let mut limiter = Limiter::new(&LimitSettings::default(), now);
/// let request = Request { user: &UserId::new("ana"), tokens: 300, deadline: now + Duration::from_secs(30) };
/// let Admission::Admitted(grant) = limiter.acquire(now, request) else {
///     panic!("the buckets are full");
/// };
/// let settled = limiter.settle(now, grant, Settlement::Used(120));
/// assert_eq!((settled.reserved, settled.charged), (300, 120));
/// ```
#[derive(Debug)]
pub struct Limiter {
    settings: LimitSettings,
    requests: ThrottledBucket,
    tokens: ThrottledBucket,
    /// No call is admitted before.
    paused_until: Timestamp,
    in_use: u32,
    queues: UserQueues,
}

impl Limiter {
    /// Returns a limiter with full buckets.
    pub fn new(settings: &LimitSettings, now: Timestamp) -> Self {
        Self {
            settings: settings.clone(),
            requests: ThrottledBucket::full(&settings.requests, now),
            tokens: ThrottledBucket::full(&settings.tokens, now),
            paused_until: Timestamp::ZERO,
            in_use: 0,
            queues: UserQueues::new(settings),
        }
    }

    /// Adopts new settings. Bucket levels are kept, capped at the new capacity; grants, waiters, a pause and a
    /// throttle are kept. A waiter that needs more than the new capacity is admitted when the bucket is full, into
    /// debt: otherwise it would block the queue permanently.
    pub fn configure(&mut self, settings: &LimitSettings, now: Timestamp) {
        let now = self.advance(now);
        self.requests = self.requests.configured(&settings.requests);
        self.tokens = self.tokens.configured(&settings.tokens);
        self.queues.configure(settings, now);
        self.settings = settings.clone();
    }

    /// Requests a grant: admits, queues or rejects the call.
    ///
    /// Cost: O(waiting users); in arrival order without per-user buckets O(log waiters).
    pub fn acquire(&mut self, now: Timestamp, request: Request<'_>) -> Admission {
        let now = self.advance(now);
        let Request {
            user,
            tokens,
            deadline,
        } = request;
        let id = self.queues.for_user(user, now);
        if !self.settings.enabled {
            return Admission::Admitted(self.admit(now, id, tokens, None));
        }
        if tokens > self.settings.tokens.capacity {
            return reject(LimitReject::TooLarge, None);
        }
        let queue = self.queues.get(id);
        if queue.is_some_and(|queue| !queue.buckets.can_hold(tokens)) {
            return reject(LimitReject::UserTooLarge, None);
        }
        if queue.is_some_and(|queue| self.can_admit(now, queue, tokens)) {
            return Admission::Admitted(self.admit(now, id, tokens, None));
        }
        let mut displaced = None;
        if self.queues.waiting() >= self.settings.max_waiters {
            displaced = self
                .queues
                .displaceable(id)
                .filter(|_| self.queues.clock.is_fair());
            if displaced.is_none() {
                return reject(LimitReject::QueueFull, self.least_wait(now, id));
            }
        }
        let arrival = Arrival {
            queue: id,
            tokens,
            displaces: displaced,
        };
        let (expected, constraint, ahead) = self.forecast(now, arrival);
        let wait = expected.since(now);
        if wait > self.settings.max_wait {
            return reject(LimitReject::WaitTooLong, Some(wait));
        }
        if wait > deadline.since(now) {
            return reject(LimitReject::Deadline, Some(wait));
        }
        if let Some(ticket) = displaced {
            let _queued = self.queues.leave(now, ticket);
        }
        let waiter = Waiter {
            queue: id,
            user: user_queues::hash(user),
            tokens,
            since: now,
            expected,
        };
        let ticket = self.queues.enqueue(now, waiter);
        let has_slot = self.in_use.saturating_add(ahead) < self.settings.concurrency;
        Admission::Queued {
            ticket,
            constraint: if has_slot { constraint } else { Constraint::Slots },
            position: ahead.saturating_add(1),
            ready_at: has_slot.then_some(expected),
            displaced,
        }
    }

    /// Requests the grant again, for a waiter that woke. A grant invalidates the ticket.
    pub fn poll(&mut self, now: Timestamp, ticket: Ticket) -> PollOutcome {
        let now = self.advance(now);
        let (Some(&waiter), Some(next)) = (self.queues.waiter(ticket), self.next(now)) else {
            return PollOutcome::NotQueued;
        };
        let ready = next.until.is_some_and(|until| until <= now);
        if !self.settings.enabled || (ready && next.ticket == ticket) {
            return PollOutcome::Admitted {
                grant: self.admit(now, waiter.queue, waiter.tokens, Some(ticket)),
                waited: now.since(waiter.since),
            };
        }
        PollOutcome::Waiting {
            until: next.until.filter(|_| next.ticket == ticket),
            // the head is ready and not yet woken: a waiter behind it waits at most for its slot
            constraint: if ready { Constraint::Slots } else { next.constraint },
        }
    }

    /// The instant at which a waiter has waited `max_wait` and must leave. The forecast on arrival does not
    /// guarantee admission before: it knows neither when slots are freed nor of a later pause.
    pub fn expires_at(&self, ticket: Ticket) -> Option<Timestamp> {
        let waiter = self.queues.waiter(ticket)?;
        Some(waiter.since + self.settings.max_wait)
    }

    /// Removes a waiter from the queue; nothing was charged. Returns false, and changes nothing, if the ticket is
    /// not queued: the waiter was admitted or displaced.
    pub fn leave(&mut self, now: Timestamp, ticket: Ticket) -> bool {
        let now = self.advance(now);
        self.queues.leave(now, ticket)
    }

    /// The waiter that is admitted first if nothing changes, and the instant, `None` while no slot is
    /// free. If the instant is not later than `now`, wake the waiter.
    pub fn head(&self, now: Timestamp) -> Option<(Ticket, Option<Timestamp>)> {
        let next = self.next_admission(now)?;
        Some((next.ticket, next.until))
    }

    /// The same with the constraint that clears last.
    pub fn next_admission(&self, now: Timestamp) -> Option<NextAdmission> {
        self.next(now.max(self.latest()))
    }

    /// Settles a grant: frees its slot and charges the actual usage to the shared and the user's own buckets.
    ///
    /// Usage is capped at `reserved + capacity`: one absurd number from a server must not stop the upstream for
    /// hours.
    #[expect(
        clippy::needless_pass_by_value,
        reason = "a grant is settled once: it is moved in"
    )]
    pub fn settle(&mut self, now: Timestamp, grant: Grant, settlement: Settlement) -> SettledGrant {
        let now = self.advance(now);
        self.in_use = self.in_use.saturating_sub(1);
        let Grant {
            reserved,
            charged,
            queue,
            version,
        } = grant;
        if !charged {
            self.queues.settle(now, queue, None);
            return SettledGrant {
                reserved: 0,
                charged: 0,
                refunded: false,
            };
        }
        let unsent = settlement == Settlement::Unsent;
        let used = match settlement {
            Settlement::Unsent => 0,
            Settlement::Unknown => reserved,
            Settlement::Used(tokens) => tokens.min(reserved.saturating_add(self.settings.tokens.capacity)),
        };
        let change = if used > reserved {
            BucketChange::Debt(used - reserved)
        } else {
            BucketChange::Refund {
                request: unsent,
                tokens: reserved - used,
            }
        };
        self.change(change);
        self.queues.settle(now, queue, Some((change, version)));
        SettledGrant {
            reserved,
            charged: used,
            refunded: unsent,
        }
    }

    /// Pauses admission until `until`, as the server asked: at most one hour ahead, and never shorter than a pause
    /// in force. The buckets refill meanwhile. Returns the end of the pause.
    pub fn pause(&mut self, now: Timestamp, until: Timestamp) -> Timestamp {
        let now = self.advance(now);
        self.paused_until = self.paused_until.max(until.min(now + MAX_SERVER_WAIT));
        self.paused_until
    }

    /// Multiplies both refill rates by `factor` until `until`, for a 429 that named no wait: at most one hour
    /// ahead. A `factor` of 1 or more, or NaN, changes nothing. If a throttle is in force, the smaller factor
    /// and the later end apply, so that several 429s of one burst count once. Returns the end of the throttle.
    pub fn throttle(&mut self, now: Timestamp, factor: f64, until: Timestamp) -> Timestamp {
        let now = self.advance(now);
        let before = self.tokens.throttle();
        let end = before.map_or(now, |throttle| throttle.until);
        if factor.is_nan() || factor >= 1.0 || until <= now {
            return end;
        }
        let until = until.min(now + MAX_SERVER_WAIT).max(end);
        let percent = ((factor * 100.0).round() as u64).clamp(1, 100);
        let throttle = Throttle {
            percent: before.map_or(percent, |before| before.percent.min(percent)),
            until,
        };
        self.requests = self.requests.throttled(throttle);
        self.tokens = self.tokens.throttled(throttle);
        until
    }

    /// The level of the request bucket. It extrapolates at the current rate, also past the end of a throttle.
    pub fn requests(&self, now: Timestamp) -> BucketLevel {
        self.requests.at(now).level()
    }

    /// The level of the LLM token bucket. It extrapolates at the current rate, also past the end of a throttle.
    pub fn tokens(&self, now: Timestamp) -> BucketLevel {
        self.tokens.at(now).level()
    }

    /// The levels of a user's own buckets; `None` if it has no bucket.
    pub fn user_levels(&self, now: Timestamp, user: &UserId) -> Option<UserLevels> {
        self.queue_levels(now, self.queues.find(user)?)
    }

    /// The levels of the user's own buckets that a grant was charged to; `None` if it has no bucket.
    pub fn queue_levels(&self, now: Timestamp, queue: UserQueueId) -> Option<UserLevels> {
        self.queues.levels(now.max(self.latest()), queue)
    }

    /// Slots in use: unsettled grants.
    pub fn in_use(&self) -> u32 {
        self.in_use
    }

    /// Number of waiters.
    pub fn waiting(&self) -> u32 {
        count(self.queues.waiting())
    }

    /// The latest instant seen. Callers read the clock before they get the lock, so `now` may be slightly earlier;
    /// this instant is used then.
    fn latest(&self) -> Timestamp {
        self.requests.level().as_of
    }

    /// Refills the shared buckets up to `now`.
    fn advance(&mut self, now: Timestamp) -> Timestamp {
        let now = now.max(self.latest());
        self.requests.advance(now);
        self.tokens.advance(now);
        now
    }

    fn change(&mut self, change: BucketChange) {
        self.requests = change.apply_to_requests(self.requests);
        self.tokens = change.apply_to_tokens(self.tokens);
    }

    /// Charges the buckets and takes a slot.
    fn admit(&mut self, now: Timestamp, queue: UserQueueId, tokens: u64, ticket: Option<Ticket>) -> Grant {
        let charged = self.settings.enabled;
        let reserved = if charged { tokens } else { 0 };
        if charged {
            self.change(BucketChange::Grant(tokens));
        }
        let version = self.queues.admit(now, queue, ticket, charged.then_some(tokens));
        self.in_use = self.in_use.saturating_add(1);
        Grant {
            reserved,
            charged,
            queue,
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
