//! All user queues: waiters, order of admission and the users' own buckets.
//!
//! At most `max_users` queues, plus one for each user the policy names, plus one that all users beyond share. A
//! queue is reassigned to another user only when it is indistinguishable from a new one: no waiter, no open
//! grant, full buckets and a finish tag in the past. A queue dropped with an empty bucket would come back with a
//! full one.

use std::collections::{BTreeMap, BTreeSet};

use super::decision::{Ticket, UserQueueId};
use super::forecast::Arrival;
use super::user_buckets::{BucketChange, UserBuckets};
use super::user_queue::{OrderKey, UserQueue, VirtualClock};
use super::waiting_calls::{Demand, WaitingCalls};
use crate::event::{UserId, UserLevels};
use crate::settings::{LimitSettings, UserLimits};
use crate::time::Timestamp;

/// Name of the queue that users beyond `max_users` share.
const OTHERS: &str = "(others)";
/// Idle queues that are examined for one to reassign.
const EXAMINED: usize = 16;

#[derive(Clone, Copy, Debug)]
pub(super) struct Waiter {
    pub(super) queue: UserQueueId,
    /// Hash of the user: distinguishes users that share a queue.
    pub(super) user: u64,
    pub(super) tokens: u64,
    pub(super) since: Timestamp,
    /// Admission as predicted on arrival.
    pub(super) expected: Timestamp,
}

#[derive(Debug)]
pub(super) struct UserQueues {
    pub(super) clock: VirtualClock,
    queues: BTreeMap<UserQueueId, UserQueue>,
    by_user: BTreeMap<UserId, UserQueueId>,
    /// Queues with waiters: the first whose own buckets suffice is admitted first.
    order: BTreeMap<OrderKey, UserQueueId>,
    /// All waiters in order of arrival: tickets only grow.
    waiters: BTreeMap<Ticket, Waiter>,
    /// LLM tokens of all waiters.
    waiting_tokens: u64,
    /// Idle queues by an instant before which their buckets are not full. An entry may be stale: its queue is
    /// busy again, or was and has emptier buckets now. [`Self::has_room`] mends it, so that a call without
    /// waiters does not touch this index.
    idle: BTreeSet<(Timestamp, UserQueueId)>,
    latest_finish: u128,
    /// Number of queues that do not count towards `max_users`.
    exempt: usize,
    limits: Limits,
    /// Version of the settings; each change adds 1.
    version: u64,
    next_queue: u64,
    next_ticket: u64,
}

/// The part of the settings that concerns users.
#[derive(Clone, Debug)]
struct Limits {
    each: UserLimits,
    named: BTreeMap<String, UserLimits>,
    max_users: usize,
}

impl Limits {
    fn from_settings(settings: &LimitSettings) -> Self {
        Self {
            each: settings.each_user.clone(),
            named: settings.users.clone(),
            max_users: settings.max_users,
        }
    }

    fn for_user(&self, name: &str) -> &UserLimits {
        self.named.get(name).unwrap_or(&self.each)
    }

    /// True if the user's queue does not count towards `max_users`.
    fn is_exempt(&self, user: &UserId) -> bool {
        user.as_str() == OTHERS || self.named.contains_key(user.as_str())
    }

    /// True if any user has a bucket of its own.
    fn has_any(&self) -> bool {
        let has = |limits: &UserLimits| limits.requests.is_some() || limits.tokens.is_some();
        has(&self.each) || self.named.values().any(has)
    }
}

impl UserQueues {
    pub(super) fn new(settings: &LimitSettings) -> Self {
        Self {
            clock: VirtualClock::new(settings),
            queues: BTreeMap::new(),
            by_user: BTreeMap::new(),
            order: BTreeMap::new(),
            waiters: BTreeMap::new(),
            waiting_tokens: 0,
            idle: BTreeSet::new(),
            latest_finish: 0,
            exempt: 0,
            limits: Limits::from_settings(settings),
            version: 0,
            next_queue: 0,
            next_ticket: 0,
        }
    }

    /// Adopts new settings. Waiters keep their places. The virtual time restarts, because another rate changes the
    /// costs: all waiters get the same start tag, and ties are broken by arrival.
    pub(super) fn configure(&mut self, settings: &LimitSettings, now: Timestamp) {
        self.version += 1;
        self.limits = Limits::from_settings(settings);
        self.clock = VirtualClock::new(settings);
        self.latest_finish = 0;
        (self.order, self.idle) = (BTreeMap::new(), BTreeSet::new());
        self.exempt = 0;
        for (id, queue) in &mut self.queues {
            self.exempt += usize::from(self.limits.is_exempt(&queue.user));
            let limits = self.limits.for_user(queue.user.as_str());
            queue.buckets = queue.buckets.configured(limits, now, self.version);
            queue.weight = limits.weight;
            (queue.start, queue.finish) = (0, 0);
            let tickets: Vec<Ticket> = queue.waiting.tickets().collect();
            queue.waiting = WaitingCalls::default();
            for ticket in tickets {
                let tokens = self.waiters.get(&ticket).map_or(0, |waiter| waiter.tokens);
                queue
                    .waiting
                    .push(ticket, tokens, self.clock.cost(tokens, queue.weight));
            }
            if let Some(key) = queue.key() {
                self.order.insert(key, *id);
            }
            queue.full_at = queue.is_idle().then(|| queue.buckets.full_at(now));
            self.idle.extend(queue.full_at.map(|full_at| (full_at, *id)));
        }
    }

    /// The user's queue, opened if needed; the shared one if there are too many users.
    pub(super) fn for_user(&mut self, user: &UserId, now: Timestamp) -> UserQueueId {
        if let Some(queue) = self.by_user.get(user) {
            return *queue;
        }
        let others = UserId::new(OTHERS);
        let shared = self.by_user.get(&others).copied();
        // a user that waits in the shared queue stays there: in its own queue it would overtake itself
        let stays = shared.filter(|queue| self.waits_in(*queue, user));
        match (stays, shared) {
            (Some(queue), _) => queue,
            _ if self.limits.is_exempt(user) || self.has_room(now) => self.open(user.clone(), now),
            (None, Some(queue)) => queue,
            (None, None) => self.open(others, now),
        }
    }

    fn waits_in(&self, queue: UserQueueId, user: &UserId) -> bool {
        let hash = hash(user);
        let mut tickets = self
            .queues
            .get(&queue)
            .into_iter()
            .flat_map(|queue| queue.waiting.tickets());
        tickets.any(|ticket| {
            self.waiters
                .get(&ticket)
                .is_some_and(|waiter| waiter.user == hash)
        })
    }

    /// The queue a user has, if it has called before.
    pub(super) fn find(&self, user: &UserId) -> Option<UserQueueId> {
        let others = || self.by_user.get(&UserId::new(OTHERS));
        self.by_user.get(user).or_else(others).copied()
    }

    /// Returns true if one more queue may be opened, after dropping an idle one if needed.
    fn has_room(&mut self, now: Timestamp) -> bool {
        if self.queues.len() - self.exempt < self.limits.max_users {
            return true;
        }
        while self.mend_idle(now) {}
        let unused = |(_, id): &&(Timestamp, UserQueueId)| {
            let queue = self.queues.get(id);
            queue.is_some_and(|queue| queue.finish <= self.clock.time && !self.limits.is_exempt(&queue.user))
        };
        let full = self.idle.iter().take_while(|(full_at, _)| *full_at <= now);
        let Some(&(full_at, id)) = full.take(EXAMINED + self.exempt).find(unused) else {
            return false;
        };
        self.idle.remove(&(full_at, id));
        if let Some(queue) = self.queues.remove(&id) {
            self.by_user.remove(&queue.user);
        }
        // new settings may allow fewer users than there are
        self.queues.len() - self.exempt < self.limits.max_users
    }

    /// Mends the stale entries among the first, and returns true if there were any. Each was left by an earlier
    /// change of its queue.
    fn mend_idle(&mut self, now: Timestamp) -> bool {
        let due = self.idle.iter().take_while(|(full_at, _)| *full_at <= now);
        let due = due.take(EXAMINED + self.exempt);
        let stale = due.filter_map(|(full_at, id)| {
            let queue = self.queues.get(id)?;
            let real = queue.is_idle().then(|| queue.buckets.full_at(now));
            let is_stale = real.is_none_or(|real| real > now);
            is_stale.then_some((*full_at, *id, real))
        });
        let stale: Vec<_> = stale.collect();
        for (full_at, id, real) in &stale {
            self.idle.remove(&(*full_at, *id));
            self.idle.extend(real.map(|real| (real, *id)));
            if let Some(queue) = self.queues.get_mut(id) {
                queue.full_at = *real;
            }
        }
        !stale.is_empty()
    }

    fn open(&mut self, user: UserId, now: Timestamp) -> UserQueueId {
        let id = UserQueueId(self.next_queue);
        self.next_queue += 1;
        let limits = self.limits.for_user(user.as_str());
        let queue = UserQueue {
            buckets: UserBuckets::full(limits, now, self.version),
            weight: limits.weight,
            user: user.clone(),
            waiting: WaitingCalls::default(),
            grants: 0,
            start: 0,
            finish: 0,
            full_at: Some(now),
        };
        self.exempt += usize::from(self.limits.is_exempt(&user));
        self.queues.insert(id, queue);
        self.by_user.insert(user, id);
        self.idle.insert((now, id));
        id
    }

    pub(super) fn get(&self, queue: UserQueueId) -> Option<&UserQueue> {
        self.queues.get(&queue)
    }

    /// Updates a queue and its entries in `order` and `idle`.
    fn update(
        &mut self,
        id: UserQueueId,
        now: Timestamp,
        update: impl FnOnce(&mut UserQueue, &mut VirtualClock),
    ) {
        let Some(queue) = self.queues.get_mut(&id) else {
            return;
        };
        let before = queue.key();
        update(queue, &mut self.clock);
        // a new head gets its start tag now
        if queue.waiting.first() != before.map(|(_, head)| head) {
            queue.start = self.clock.start(queue.finish);
        }
        let after = queue.key();
        if before != after {
            if let Some(before) = before {
                self.order.remove(&before);
            }
            if let Some(after) = after {
                self.order.insert(after, id);
            }
        }
        if queue.full_at.is_none() && queue.is_idle() {
            let full_at = queue.buckets.full_at(now);
            queue.full_at = Some(full_at);
            self.idle.insert((full_at, id));
        }
        self.latest_finish = self.latest_finish.max(queue.finish);
        if self.waiters.is_empty() {
            // no user is behind: grants made without contention give no user an advantage later
            self.clock.time = self.clock.time.max(self.latest_finish);
        }
    }

    pub(super) fn enqueue(&mut self, now: Timestamp, waiter: Waiter) -> Ticket {
        let ticket = self.next_ticket();
        self.next_ticket += 1;
        self.waiters.insert(ticket, waiter);
        self.waiting_tokens = self.waiting_tokens.saturating_add(waiter.tokens);
        self.update(waiter.queue, now, |queue, clock| {
            let cost = clock.cost(waiter.tokens, queue.weight);
            queue.waiting.push(ticket, waiter.tokens, cost);
        });
        ticket
    }

    fn remove_waiter(&mut self, ticket: Ticket) -> Option<Waiter> {
        let waiter = self.waiters.remove(&ticket)?;
        self.waiting_tokens = self.waiting_tokens.saturating_sub(waiter.tokens);
        Some(waiter)
    }

    /// Removes a waiter; nothing was charged. Returns false for an unknown ticket.
    pub(super) fn leave(&mut self, now: Timestamp, ticket: Ticket) -> bool {
        let Some(waiter) = self.remove_waiter(ticket) else {
            return false;
        };
        self.update(waiter.queue, now, |queue, _| queue.waiting.remove(ticket));
        true
    }

    /// Records a grant to a waiter or to an arriving call. Nothing is charged while the limiter is off. Returns
    /// the version of the settings.
    pub(super) fn admit(
        &mut self,
        now: Timestamp,
        id: UserQueueId,
        ticket: Option<Ticket>,
        charge: Option<u64>,
    ) -> u64 {
        if let Some(ticket) = ticket {
            self.remove_waiter(ticket);
        }
        let version = self.version;
        self.update(id, now, |queue, clock| {
            let start = if let Some(ticket) = ticket {
                queue.waiting.remove(ticket);
                queue.start
            } else {
                clock.start(queue.finish)
            };
            queue.grants = queue.grants.saturating_add(1);
            if let Some(tokens) = charge {
                queue.finish = clock.admit(start, tokens, queue.weight);
                queue.buckets.change(now, BucketChange::Grant(tokens), version);
            }
        });
        version
    }

    /// Records a settled grant. `change` is set if it was charged, with the settings version of the grant.
    pub(super) fn settle(&mut self, now: Timestamp, id: UserQueueId, change: Option<(BucketChange, u64)>) {
        self.update(id, now, |queue, _| {
            queue.grants = queue.grants.saturating_sub(1);
            if let Some((change, version)) = change {
                queue.buckets.change(now, change, version);
            }
        });
    }

    /// The waiter that makes room for an arrival when the queue is full: the newest of the longest user queue, if
    /// that is longer by more than the arrival. Otherwise the arrival itself would be the next to be displaced.
    pub(super) fn displaceable(&self, arrival: UserQueueId) -> Option<Ticket> {
        let waiting = |id: &UserQueueId| self.queues.get(id).map(|queue| &queue.waiting);
        let longest = self.order.values().filter_map(waiting);
        let longest = longest.max_by_key(|waiting| (waiting.len(), waiting.last()))?;
        let own = waiting(&arrival).map_or(0, WaitingCalls::len);
        (longest.len() > own + 1).then(|| longest.last())?
    }

    /// Queues with waiters, in order of admission.
    pub(super) fn in_order(&self) -> impl Iterator<Item = (&OrderKey, UserQueueId, &UserQueue)> {
        self.order
            .iter()
            .filter_map(|(key, id)| Some((key, *id, self.queues.get(id)?)))
    }

    /// The demand of the waiters that precede an arrival, without the one it displaces. A queue with own buckets
    /// counts as far as these suffice by `horizon`.
    ///
    /// In fair order, the start tags of a queue follow from the tag of its head and the costs of its waiters.
    /// Own buckets can only delay that.
    pub(super) fn ahead_of(&self, arrival: Arrival, horizon: Timestamp) -> Demand {
        if self.is_single_fifo() {
            return Demand {
                calls: self.waiters.len() as u64,
                tokens: self.waiting_tokens,
            };
        }
        let Some(own) = self.queues.get(&arrival.queue) else {
            return Demand::default();
        };
        let start = if own.waiting.is_empty() {
            self.clock.start(own.finish)
        } else {
            own.start.saturating_add(own.waiting.cost())
        };
        let before = self.in_order().take_while(|((first, _), ..)| *first <= start);
        let others = before.filter(|(_, id, _)| *id != arrival.queue);
        let demands = others.map(|(_, _, queue)| {
            let waiting = &queue.waiting;
            let mut count = waiting.starting_within(start.saturating_sub(queue.start));
            if arrival.displaces.is_some() && arrival.displaces == waiting.last() {
                count = count.min(waiting.len() - 1);
            }
            waiting.demand(queue.buckets.admits_by(horizon, waiting, count))
        });
        demands.fold(own.waiting.demand(own.waiting.len()), Demand::plus)
    }

    /// True if any user has buckets of its own.
    pub(super) fn has_own_buckets(&self) -> bool {
        self.limits.has_any()
    }

    pub(super) fn waiter(&self, ticket: Ticket) -> Option<&Waiter> {
        self.waiters.get(&ticket)
    }

    /// All waiters in order of arrival.
    pub(super) fn waiters(&self) -> impl DoubleEndedIterator<Item = &Waiter> {
        self.waiters.values()
    }

    pub(super) fn waiting(&self) -> usize {
        self.waiters.len()
    }

    /// The ticket of the next arrival.
    pub(super) fn next_ticket(&self) -> Ticket {
        Ticket(self.next_ticket)
    }

    /// True if admission is in order of arrival and no user's bucket can change that.
    pub(super) fn is_single_fifo(&self) -> bool {
        !self.clock.is_fair() && !self.limits.has_any()
    }

    /// The levels of a user's own buckets; `None` if it has no bucket.
    pub(super) fn levels(&self, now: Timestamp, queue: UserQueueId) -> Option<UserLevels> {
        let queue = self.queues.get(&queue)?;
        let (requests, tokens) = queue.buckets.levels(now);
        queue.buckets.has_any().then(|| UserLevels {
            user: queue.user.clone(),
            requests,
            tokens,
        })
    }

    #[cfg(test)]
    pub(super) fn count(&self) -> usize {
        self.queues.len()
    }
}

/// Hash of a user, to distinguish users that share a queue.
pub(super) fn hash(user: &UserId) -> u64 {
    xxhash_rust::xxh3::xxh3_64(user.as_str().as_bytes())
}
