//! The order of the limiter's queue (invariant 14).
//!
//! - **Among the calls of one user**: first come, first served, in either order.
//! - **In order of arrival**: an admitted flight arrived before all that still wait, except for flights of users
//!   whose own buckets may be short.
//! - **In fair order** no user gets ahead of another. While two users both wait without a break, and neither has a
//!   bucket of its own, what one gets and what the other gets differ, in any stretch of that time, by no more than
//!   what the largest call of each costs. A call costs the larger of its shares of the two buckets, in seconds of
//!   refill, over the weight of its user. This is theorem 1 of Goyal, Vin, Cheng (Start-time Fair Queueing,
//!   SIGCOMM '96); it holds here because between two such users a start tag is never below the virtual time, and
//!   above it by one cost at most. It is not checked for users with buckets of their own, which may be short for a
//!   while, or when there are more users than queues.
//! - **Displacement**: a full queue drops the newest flight of the user with the most flights in it.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use super::index::Flight;
use super::users::Users;
use super::violation::{Breach, Holds};
use crate::event::{FlightId, UserId};
use crate::settings::{LimitSettings, QueueOrder};
use crate::time::Timestamp;

/// Users whose shares are compared at a time; bounds the number of pairs.
const WATCHED: usize = 16;

/// A waiting flight.
#[derive(Debug)]
struct Waiter {
    flight: FlightId,
    user: UserId,
    /// LLM tokens it needs, if recorded.
    needs: Option<u64>,
    /// The number of the settings it was queued under: a later cut of the capacity excuses a call that is too
    /// large.
    settings: u64,
}

/// The queue as the log implies it.
#[derive(Debug)]
pub(super) struct Queue {
    settings: LimitSettings,
    waiters: VecDeque<Waiter>,
    /// Waiting users whose shares are compared.
    watched: Vec<UserId>,
    /// The lead of the first user over the second, in seconds.
    leads: BTreeMap<(UserId, UserId), Lead>,
    /// The largest cost of a call of each user.
    largest: BTreeMap<UserId, f64>,
}

/// The lead of one user over another since both wait.
#[derive(Clone, Copy, Debug, Default)]
struct Lead {
    now: f64,
    least: f64,
    most: f64,
}

impl Queue {
    pub(super) fn new() -> Self {
        Self {
            settings: LimitSettings::default(),
            waiters: VecDeque::new(),
            watched: Vec::new(),
            leads: BTreeMap::new(),
            largest: BTreeMap::new(),
        }
    }

    /// Restarts the comparison under other settings.
    pub(super) fn configure(&mut self, settings: &LimitSettings, users: &Users) {
        self.settings = settings.clone();
        (self.watched, self.leads) = (Vec::new(), BTreeMap::new());
        self.largest = BTreeMap::new();
        let waiting: Vec<UserId> = self.waiters.iter().map(|waiter| waiter.user.clone()).collect();
        for user in waiting {
            self.watch(&user, users);
        }
    }

    pub(super) fn len(&self) -> usize {
        self.waiters.len()
    }

    pub(super) fn flights(&self) -> impl Iterator<Item = FlightId> {
        self.waiters.iter().map(|waiter| waiter.flight)
    }

    /// Adds a flight at the end.
    pub(super) fn join(
        &mut self,
        flight: &Flight,
        needs: Option<u64>,
        settings: u64,
        (position, waiting): (usize, usize),
        users: &Users,
    ) -> Holds {
        let user = flight.request.0.clone();
        self.watch(&user, users);
        self.waiters.push_back(Waiter {
            flight: flight.id,
            user,
            needs,
            settings,
        });
        let count = self.len();
        let one_line = self.settings.order == QueueOrder::Fifo && !users.have_any();
        let placed = if one_line {
            position == count
        } else {
            (1..=count).contains(&position)
        };
        flight.ensure(placed && waiting == count, 14, || {
            format!("it is number {count} in the queue")
        })
    }

    /// Removes a waiting flight.
    pub(super) fn leave(&mut self, flight: &Flight, waiting: usize, users: &Users) -> Holds {
        let waiter = self.take(flight.id);
        flight.ensure(waiter.is_some(), 14, || "it is not in the queue".into())?;
        self.unwatch(users);
        self.reject(flight, waiting)
    }

    /// Checks the rejection of a flight on arrival.
    pub(super) fn reject(&self, flight: &Flight, waiting: usize) -> Holds {
        let count = self.len();
        flight.ensure(waiting == count, 14, || format!("{count} wait"))
    }

    /// Checks a displacement and removes the flight.
    pub(super) fn displace(&mut self, flight: &Flight, waiting: usize, users: &Users) -> Holds {
        let mut counts: BTreeMap<&UserId, usize> = BTreeMap::new();
        for waiter in &self.waiters {
            *counts.entry(&waiter.user).or_default() += 1;
        }
        let own = counts.get(&flight.request.0).copied().unwrap_or(0);
        let most = counts.values().max().copied().unwrap_or(0);
        let full = self.len() >= self.settings.max_waiters && self.settings.order == QueueOrder::Fair;
        let newest = self
            .waiters
            .iter()
            .rfind(|waiter| waiter.user == flight.request.0);
        let newest = newest.is_some_and(|waiter| waiter.flight == flight.id);
        let fair = full && ((newest && own == most) || users.are_too_many());
        flight.ensure(fair, 14, || {
            format!(
                "it is displaced with {own} calls of its user in the queue, where another user has {most}"
            )
        })?;
        self.leave(flight, waiting, users)
    }

    /// Removes an admitted flight. Returns the number of the settings it was queued under, if it was queued.
    pub(super) fn admit(
        &mut self,
        flight: &Flight,
        at: Timestamp,
        reserved: u64,
        late: Duration,
        users: &Users,
    ) -> Result<Option<u64>, Breach> {
        let user = &flight.request.0;
        let fifo = self.settings.order == QueueOrder::Fifo;
        let ahead = self
            .waiters
            .iter()
            .take_while(|waiter| waiter.flight != flight.id);
        // a flight that is not the first of its user waits for that one
        let mut seen = BTreeSet::new();
        let overtaken = ahead.into_iter().find(|waiter| {
            let first = seen.insert(&waiter.user);
            let short = || users.may_be_short(&waiter.user, waiter.needs, at, late);
            waiter.user == *user || (fifo && first && !short())
        });
        if let (Some(waiter), true) = (overtaken, self.settings.enabled) {
            let first = waiter.flight.0;
            flight.ensure(false, 14, || {
                format!("flight {first} of {} has waited longer", waiter.user)
            })?;
        }
        if self.settings.enabled && !fifo {
            self.share(flight, reserved)?;
        }
        let waiter = self.take(flight.id);
        self.unwatch(users);
        Ok(waiter.map(|waiter| waiter.settings))
    }

    fn take(&mut self, flight: FlightId) -> Option<Waiter> {
        let waiter = self.waiters.iter().position(|waiter| waiter.flight == flight)?;
        self.waiters.remove(waiter)
    }

    /// Starts to compare the share of a waiting user.
    fn watch(&mut self, user: &UserId, users: &Users) {
        let compared = self.settings.enabled && self.settings.order == QueueOrder::Fair;
        if !compared
            || self.watched.len() >= WATCHED
            || self.watched.contains(user)
            || users.has_own(user)
            || users.are_too_many()
        {
            return;
        }
        for other in &self.watched {
            let pair = (other.clone(), user.clone());
            self.leads.insert(pair, Lead::default());
        }
        self.watched.push(user.clone());
    }

    /// Stops comparing users that wait no more.
    fn unwatch(&mut self, users: &Users) {
        let waiters = &self.waiters;
        let waits = |user: &UserId| waiters.iter().any(|waiter| waiter.user == *user);
        if users.are_too_many() {
            self.watched.clear();
        }
        self.watched.retain(waits);
        let watched = &self.watched;
        self.leads
            .retain(|(one, other), _| watched.contains(one) && watched.contains(other));
    }

    /// Counts an admitted call and checks that no waiting user falls behind by too much.
    fn share(&mut self, flight: &Flight, reserved: u64) -> Holds {
        let user = &flight.request.0;
        let cost = self.cost(user, reserved);
        let largest = self.largest.entry(user.clone()).or_default();
        *largest = largest.max(cost);
        let largest = &self.largest;
        let most = |user: &UserId| largest.get(user).copied().unwrap_or(0.0);
        for ((one, other), lead) in &mut self.leads {
            if one == user {
                lead.now += cost;
            } else if other == user {
                lead.now -= cost;
            }
            (lead.least, lead.most) = (lead.least.min(lead.now), lead.most.max(lead.now));
            let (apart, bound) = (lead.most - lead.least, most(one) + most(other));
            flight.ensure(apart <= bound * 1.000_001 + 1e-9, 14, || {
                format!(
                    "while {one} and {other} wait, their shares differ by {apart:.3} s, more than {bound:.3} s"
                )
            })?;
        }
        Ok(())
    }

    /// The larger share of the two buckets that a call takes, in seconds of refill, divided by the weight.
    fn cost(&self, user: &UserId, tokens: u64) -> f64 {
        let limit = &self.settings;
        let request = limit.requests.per.as_secs_f64() / limit.requests.refill.max(1) as f64;
        let token = limit.tokens.per.as_secs_f64() / limit.tokens.refill.max(1) as f64;
        request.max(token * tokens as f64) / f64::from(limit.for_user(user.as_str()).weight.max(1))
    }
}
