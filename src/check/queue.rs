//! Who waits for the limiter, and whose turn it is (invariant 14).
//!
//! - **Among the calls of one user**: first come, first served, in either order.
//! - **In order of arrival**: whoever is admitted came before all who still wait, but for those whose user's own
//!   buckets may be short.
//! - **In fair order** no user gets ahead of another. While two users both wait without a break, and neither has a
//!   bucket of its own, what one gets and what the other gets differ, in any stretch of that time, by no more than
//!   what the largest call of each costs. A call costs the larger of its shares of the two buckets, in seconds of
//!   refill, over the weight of its user. That is theorem 1 of Goyal, Vin, Cheng (Start-time Fair Queueing,
//!   SIGCOMM '96); it holds here because between two such users a start tag is never below the virtual time, and
//!   above it by one cost at most. For users with own buckets it does not hold, and is not asked: one that was short
//!   for a while has one call in hand. Nor is it once there are more users than lanes.
//! - **Whoever makes room** in a full queue is the newest of the user with the most in it.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use super::index::Flight;
use super::users::Users;
use super::violation::{Breach, Holds};
use crate::event::{FlightId, UserId};
use crate::settings::{LimitSettings, QueueOrder};
use crate::time::Timestamp;

/// Users whose shares are compared at a time: so many pairs of them are kept.
const WATCHED: usize = 16;

/// A place in the queue.
#[derive(Debug)]
struct Place {
    flight: FlightId,
    user: UserId,
    /// LLM tokens it needs, where that was told.
    needs: Option<u64>,
    /// The settings it was queued under: a bucket that was made smaller meanwhile excuses what is too large.
    settings: u64,
}

/// See the module documentation.
#[derive(Debug)]
pub(super) struct Queue {
    settings: LimitSettings,
    places: VecDeque<Place>,
    /// Users that wait, and whose shares are compared.
    watched: Vec<UserId>,
    /// How far the first of two is ahead of the second, in seconds.
    leads: BTreeMap<(UserId, UserId), Lead>,
    /// The most that a call of a user has cost.
    largest: BTreeMap<UserId, f64>,
}

/// How far one is ahead, since both wait.
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
            places: VecDeque::new(),
            watched: Vec::new(),
            leads: BTreeMap::new(),
            largest: BTreeMap::new(),
        }
    }

    /// Under other settings the comparison begins anew.
    pub(super) fn configure(&mut self, settings: &LimitSettings, users: &Users) {
        self.settings = settings.clone();
        (self.watched, self.leads) = (Vec::new(), BTreeMap::new());
        self.largest = BTreeMap::new();
        let waiting: Vec<UserId> = self.places.iter().map(|place| place.user.clone()).collect();
        for user in waiting {
            self.watch(&user, users);
        }
    }

    pub(super) fn len(&self) -> usize {
        self.places.len()
    }

    pub(super) fn flights(&self) -> impl Iterator<Item = FlightId> {
        self.places.iter().map(|place| place.flight)
    }

    /// A flight takes a place at the end.
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
        self.places.push_back(Place {
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

    /// A flight leaves its place.
    pub(super) fn leave(&mut self, flight: &Flight, waiting: usize, users: &Users) -> Holds {
        let place = self.take(flight.id);
        flight.ensure(place.is_some(), 14, || "it has no place in the queue".into())?;
        self.unwatch(users);
        self.turn_away(flight, waiting)
    }

    /// A flight is turned away at the door.
    pub(super) fn turn_away(&self, flight: &Flight, waiting: usize) -> Holds {
        let count = self.len();
        flight.ensure(waiting == count, 14, || format!("{count} wait"))
    }

    /// A flight loses its place to another one.
    pub(super) fn displace(&mut self, flight: &Flight, waiting: usize, users: &Users) -> Holds {
        let mut counts: BTreeMap<&UserId, usize> = BTreeMap::new();
        for place in &self.places {
            *counts.entry(&place.user).or_default() += 1;
        }
        let own = counts.get(&flight.request.0).copied().unwrap_or(0);
        let most = counts.values().max().copied().unwrap_or(0);
        let full = self.len() >= self.settings.max_waiters && self.settings.order == QueueOrder::Fair;
        let newest = self.places.iter().rfind(|place| place.user == flight.request.0);
        let newest = newest.is_some_and(|place| place.flight == flight.id);
        let fair = full && ((newest && own == most) || users.are_too_many());
        flight.ensure(fair, 14, || {
            format!("it makes room, with {own} calls of its user in the queue, where another has {most}")
        })?;
        self.leave(flight, waiting, users)
    }

    /// A flight is admitted. Gives the settings under which it was queued, if it was.
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
        let ahead = self.places.iter().take_while(|place| place.flight != flight.id);
        // whoever is not the first of its user waits for that one
        let mut seen = BTreeSet::new();
        let overtaken = ahead.into_iter().find(|place| {
            let first = seen.insert(&place.user);
            let short = || users.may_be_short(&place.user, place.needs, at, late);
            place.user == *user || (fifo && first && !short())
        });
        if let (Some(place), true) = (overtaken, self.settings.enabled) {
            let first = place.flight.0;
            flight.ensure(false, 14, || {
                format!("flight {first} of {} has waited for longer", place.user)
            })?;
        }
        if self.settings.enabled && !fifo {
            self.share(flight, reserved)?;
        }
        let place = self.take(flight.id);
        self.unwatch(users);
        Ok(place.map(|place| place.settings))
    }

    fn take(&mut self, flight: FlightId) -> Option<Place> {
        let place = self.places.iter().position(|place| place.flight == flight)?;
        self.places.remove(place)
    }

    /// A user begins to wait.
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

    /// Users that wait no more.
    fn unwatch(&mut self, users: &Users) {
        let places = &self.places;
        let waits = |user: &UserId| places.iter().any(|place| place.user == *user);
        if users.are_too_many() {
            self.watched.clear();
        }
        self.watched.retain(waits);
        let watched = &self.watched;
        self.leads
            .retain(|(one, other), _| watched.contains(one) && watched.contains(other));
    }

    /// A call of a user is admitted: nobody who waits may be left behind by too much.
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
                    "while {one} and {other} both wait, their shares come {apart:.3} s apart, where {bound:.3} s are allowed"
                )
            })?;
        }
        Ok(())
    }

    /// What a call takes of the bucket that it takes more of, in seconds of its refill, over the weight.
    fn cost(&self, user: &UserId, tokens: u64) -> f64 {
        let limit = &self.settings;
        let request = limit.requests.per.as_secs_f64() / limit.requests.refill.max(1) as f64;
        let token = limit.tokens.per.as_secs_f64() / limit.tokens.refill.max(1) as f64;
        request.max(token * tokens as f64) / f64::from(limit.of_user(user.as_str()).weight.max(1))
    }
}
