//! All lanes: who waits, in whose lane, and whose turn it is.
//!
//! There are at most `max_users` of them, besides those of the users that the policy names, and one more that
//! everybody beyond shares. A lane is given to another user only when it is as good as new: nobody waits in it, no
//! grant of it is out, its buckets are full and its finish tag is past. One that was dropped with an empty bucket
//! would come back with a full one.

use std::collections::{BTreeMap, BTreeSet};

use super::decision::{LaneId, Ticket};
use super::user_buckets::{Flow, Purse};
use super::user_queue::{Key, Lane, Pace};
use crate::event::{UserId, UserLevels};
use crate::settings::{LimitSettings, UserLimits};
use crate::time::Timestamp;

/// Whose lane it is that too many users share.
const OTHERS: &str = "(others)";
/// Idle lanes that are looked at for one to give away.
const LOOKED_AT: usize = 16;

/// Somebody in the queue.
#[derive(Clone, Copy, Debug)]
pub(super) struct Waiter {
    pub(super) lane: LaneId,
    /// A hash of the user.
    pub(super) user: u64,
    pub(super) tokens: u64,
    pub(super) since: Timestamp,
    /// When it should be its turn, as predicted when it came.
    pub(super) expected: Timestamp,
}

/// See the module documentation.
#[derive(Debug)]
pub(super) struct Lanes {
    pub(super) pace: Pace,
    all: BTreeMap<LaneId, Lane>,
    names: BTreeMap<UserId, LaneId>,
    /// The lanes with waiters: whoever stands first goes first, if its own buckets have enough.
    turns: BTreeMap<Key, LaneId>,
    /// Everybody, in the order of arrival: tickets only grow.
    waiters: BTreeMap<Ticket, Waiter>,
    /// The lanes that nobody uses, and when their buckets are full.
    idle: BTreeSet<(Timestamp, LaneId)>,
    /// The latest finish tag.
    latest: u128,
    /// Lanes that do not count as one of `max_users`: of named users, and the one of the others.
    apart: usize,
    limits: Limits,
    /// Counts settings.
    version: u64,
    next_lane: u64,
    next_ticket: u64,
}

/// What the settings say of users.
#[derive(Clone, Debug)]
struct Limits {
    each: UserLimits,
    named: BTreeMap<String, UserLimits>,
    max_users: usize,
}

impl Limits {
    fn of(settings: &LimitSettings) -> Self {
        Self {
            each: settings.each_user.clone(),
            named: settings.users.clone(),
            max_users: settings.max_users,
        }
    }

    fn of_user(&self, name: &str) -> &UserLimits {
        self.named.get(name).unwrap_or(&self.each)
    }

    /// Whether a lane does not count as one of those that are given to whoever comes.
    fn is_apart(&self, user: &UserId) -> bool {
        user.as_str() == OTHERS || self.named.contains_key(user.as_str())
    }

    /// Whether any user has a bucket of its own.
    fn any(&self) -> bool {
        let has = |limits: &UserLimits| limits.requests.is_some() || limits.tokens.is_some();
        has(&self.each) || self.named.values().any(has)
    }
}

impl Lanes {
    pub(super) fn new(settings: &LimitSettings) -> Self {
        Self {
            pace: Pace::new(settings),
            all: BTreeMap::new(),
            names: BTreeMap::new(),
            turns: BTreeMap::new(),
            waiters: BTreeMap::new(),
            idle: BTreeSet::new(),
            latest: 0,
            apart: 0,
            limits: Limits::of(settings),
            version: 0,
            next_lane: 0,
            next_ticket: 0,
        }
    }

    /// Obeys other settings. Nobody loses its place; the virtual time begins anew, since another rate gives
    /// other costs: whoever waits has the same start tag then, and ties go by arrival.
    pub(super) fn configure(&mut self, settings: &LimitSettings, now: Timestamp) {
        self.version += 1;
        self.limits = Limits::of(settings);
        self.pace = Pace::new(settings);
        self.latest = 0;
        (self.turns, self.idle) = (BTreeMap::new(), BTreeSet::new());
        self.apart = 0;
        for (id, lane) in &mut self.all {
            self.apart += usize::from(self.limits.is_apart(&lane.user));
            let limits = self.limits.of_user(lane.user.as_str());
            lane.purse = lane.purse.configured(limits, now, self.version);
            lane.weight = limits.weight;
            (lane.start, lane.finish) = (0, 0);
            if let Some(key) = lane.key() {
                self.turns.insert(key, *id);
            }
            lane.idle = lane.is_idle().then(|| lane.purse.full_at(now));
            self.idle.extend(lane.idle.map(|full_at| (full_at, *id)));
        }
    }

    /// The lane of a user; where there are too many users, the one of the others.
    pub(super) fn of(&mut self, user: &UserId, now: Timestamp) -> LaneId {
        if let Some(lane) = self.names.get(user) {
            return *lane;
        }
        let others = UserId::new(OTHERS);
        let shared = self.names.get(&others).copied();
        // while it waits among the others it stays there: in a lane of its own it would overtake itself
        let stays = shared.filter(|lane| self.waits_in(*lane, user));
        match (stays, shared) {
            (Some(lane), _) => lane,
            _ if self.limits.is_apart(user) || self.has_room(now) => self.open(user.clone(), now),
            (None, Some(lane)) => lane,
            (None, None) => self.open(others, now),
        }
    }

    fn waits_in(&self, lane: LaneId, user: &UserId) -> bool {
        let queue = self.all.get(&lane).into_iter().flat_map(|lane| &lane.queue);
        let hash = hash(user);
        queue
            .filter_map(|ticket| self.waiters.get(ticket))
            .any(|waiter| waiter.user == hash)
    }

    /// The lane that a user has, if it has called before.
    pub(super) fn known(&self, user: &UserId) -> Option<LaneId> {
        let others = || self.names.get(&UserId::new(OTHERS));
        self.names.get(user).or_else(others).copied()
    }

    /// Whether there is a lane for one more, if need be by dropping one that is as good as new.
    fn has_room(&mut self, now: Timestamp) -> bool {
        if self.all.len() - self.apart < self.limits.max_users {
            return true;
        }
        let unused = |(_, id): &&(Timestamp, LaneId)| {
            let lane = self.all.get(id);
            lane.is_some_and(|lane| lane.finish <= self.pace.time && !self.limits.is_apart(&lane.user))
        };
        let full = self.idle.iter().take_while(|(full_at, _)| *full_at <= now);
        let Some(&(full_at, id)) = full.take(LOOKED_AT + self.apart).find(unused) else {
            return false;
        };
        self.idle.remove(&(full_at, id));
        if let Some(lane) = self.all.remove(&id) {
            self.names.remove(&lane.user);
        }
        // fewer users than before may be allowed by now
        self.all.len() - self.apart < self.limits.max_users
    }

    fn open(&mut self, user: UserId, now: Timestamp) -> LaneId {
        let id = LaneId(self.next_lane);
        self.next_lane += 1;
        let limits = self.limits.of_user(user.as_str());
        let lane = Lane {
            purse: Purse::full(limits, now, self.version),
            weight: limits.weight,
            user: user.clone(),
            queue: BTreeSet::new(),
            grants: 0,
            start: 0,
            finish: 0,
            idle: Some(now),
        };
        self.apart += usize::from(self.limits.is_apart(&user));
        self.all.insert(id, lane);
        self.names.insert(user, id);
        self.idle.insert((now, id));
        id
    }

    pub(super) fn get(&self, lane: LaneId) -> Option<&Lane> {
        self.all.get(&lane)
    }

    /// Changes a lane, and puts it where it belongs then.
    fn change(&mut self, id: LaneId, now: Timestamp, change: impl FnOnce(&mut Lane, &mut Pace)) {
        let Some(lane) = self.all.get_mut(&id) else {
            return;
        };
        let before = lane.key();
        if let Some(full_at) = lane.idle.take() {
            self.idle.remove(&(full_at, id));
        }
        change(lane, &mut self.pace);
        // whoever is the head now became it now, unless it was before
        if lane.queue.first() != before.as_ref().map(|(_, head)| head) {
            lane.start = self.pace.start(lane.finish);
        }
        let after = lane.key();
        if before != after {
            if let Some(before) = before {
                self.turns.remove(&before);
            }
            if let Some(after) = after {
                self.turns.insert(after, id);
            }
        }
        if lane.is_idle() {
            let full_at = lane.purse.full_at(now);
            lane.idle = Some(full_at);
            self.idle.insert((full_at, id));
        }
        self.latest = self.latest.max(lane.finish);
        if self.waiters.is_empty() {
            // nobody is behind: what was had while all could go is nobody's advantage
            self.pace.time = self.pace.time.max(self.latest);
        }
    }

    /// Somebody more waits.
    pub(super) fn enqueue(&mut self, now: Timestamp, waiter: Waiter) -> Ticket {
        let ticket = self.next_ticket();
        self.next_ticket += 1;
        self.waiters.insert(ticket, waiter);
        self.change(waiter.lane, now, |lane, _| {
            lane.queue.insert(ticket);
        });
        ticket
    }

    /// Somebody leaves; nothing was charged. An unknown ticket changes nothing.
    pub(super) fn leave(&mut self, now: Timestamp, ticket: Ticket) {
        if let Some(waiter) = self.waiters.remove(&ticket) {
            self.change(waiter.lane, now, |lane, _| {
                lane.queue.remove(&ticket);
            });
        }
    }

    /// Somebody goes, out of the queue or straight in. Nothing is charged while the limiter is off. Gives the
    /// settings it was charged under.
    pub(super) fn admit(
        &mut self,
        now: Timestamp,
        id: LaneId,
        ticket: Option<Ticket>,
        charge: Option<u64>,
    ) -> u64 {
        if let Some(ticket) = ticket {
            self.waiters.remove(&ticket);
        }
        let version = self.version;
        self.change(id, now, |lane, pace| {
            let start = match ticket {
                Some(_) => lane.start,
                None => pace.start(lane.finish),
            };
            if let Some(ticket) = ticket {
                lane.queue.remove(&ticket);
            }
            lane.grants = lane.grants.saturating_add(1);
            if let Some(tokens) = charge {
                lane.finish = pace.admit(start, tokens, lane.weight);
                lane.purse = lane.purse.after(now, Flow::Out(tokens), version);
            }
        });
        version
    }

    /// A grant comes back; `flow` where it was charged, with the settings of then.
    pub(super) fn settle(&mut self, now: Timestamp, id: LaneId, flow: Option<(Flow, u64)>) {
        self.change(id, now, |lane, _| {
            lane.grants = lane.grants.saturating_sub(1);
            if let Some((flow, version)) = flow {
                lane.purse = lane.purse.after(now, flow, version);
            }
        });
    }

    /// Who makes room for one more in this lane where the queue is full: the newest of the longest lane, if that
    /// is longer by more than the one that comes. Where it is not, the newcomer would be the next to go.
    pub(super) fn makes_room(&self, lane: LaneId) -> Option<Ticket> {
        let queue = |id: &LaneId| self.all.get(id).map(|lane| &lane.queue);
        let longest = self.turns.values().filter_map(queue);
        let longest = longest.max_by_key(|queue| (queue.len(), queue.last().copied()))?;
        let own = queue(&lane).map_or(0, BTreeSet::len);
        (longest.len() > own + 1).then(|| longest.last().copied())?
    }

    /// Lanes with waiters, whoever goes first first.
    pub(super) fn turns(&self) -> impl Iterator<Item = (&Key, LaneId, &Lane)> {
        self.turns
            .iter()
            .filter_map(|(key, id)| Some((key, *id, self.all.get(id)?)))
    }

    pub(super) fn waiter(&self, ticket: Ticket) -> Option<&Waiter> {
        self.waiters.get(&ticket)
    }

    /// Everybody who waits, in the order of arrival.
    pub(super) fn waiters(&self) -> impl DoubleEndedIterator<Item = &Waiter> {
        self.waiters.values()
    }

    pub(super) fn waiting(&self) -> usize {
        self.waiters.len()
    }

    /// The ticket of whoever comes next.
    pub(super) fn next_ticket(&self) -> Ticket {
        Ticket(self.next_ticket)
    }

    /// Whether everybody goes in the order of arrival, and no user's bucket can change that.
    pub(super) fn is_one_line(&self) -> bool {
        !self.pace.is_fair() && !self.limits.any()
    }

    /// The levels of a lane, if it has buckets of its own.
    pub(super) fn levels(&self, now: Timestamp, lane: LaneId) -> Option<UserLevels> {
        let lane = self.all.get(&lane)?;
        let (requests, tokens) = lane.purse.levels(now);
        lane.purse.is_some().then(|| UserLevels {
            user: lane.user.clone(),
            requests,
            tokens,
        })
    }

    /// Lanes there are.
    #[cfg(test)]
    pub(super) fn count(&self) -> usize {
        self.all.len()
    }
}

/// Users are told apart by it where they share a lane.
pub(super) fn hash(user: &UserId) -> u64 {
    xxhash_rust::xxh3::xxh3_64(user.as_str().as_bytes())
}
