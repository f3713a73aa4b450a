//! Each user's share of the limiter, its fair share, and noisy users.
//!
//! ```text
//!  fair share    weight / weights of all users in play; in play is who waits, or was admitted in the last minute
//!  noisy         others wait, and the user's share of the queue, or of what was admitted in the last minute, is
//!                more than twice its fair share: or, where twice the share would be more than there is, is
//!                nearer to all than to the fair share: above min(2 fair, (1 + fair) / 2)
//! ```
//!
//! Shares of the queue are counted in calls, shares of the last minute in LLM tokens reserved: that is what the
//! limiter hands out. Fewer than four calls are no noise.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::Duration;

use super::UserUsage;
use crate::event::{BucketLevel, UserId};
use crate::settings::QueueOrder;
use crate::state::{State, Waiter};
use crate::time::Timestamp;

/// Fewer calls in the queue, or admitted, are no noise.
const LEAST: u64 = 4;

/// A user compared with the others at one instant.
#[derive(Clone, Debug, PartialEq)]
pub struct UserShare<'a> {
    /// The user; `None` for the sum of the others.
    pub name: Option<&'a UserId>,
    /// Its usage.
    pub usage: &'a UserUsage,
    /// Its calls in the queue.
    pub waiting: u64,
    /// Its part of the LLM tokens admitted in the last minute, 0 to 1.
    pub share: f64,
    /// Its fair share; `None` while inactive.
    pub fair: Option<f64>,
    /// Waits of the last minute, those that still go on included, shortest first.
    pub(super) waits: Vec<Duration>,
}

impl<'a> UserShare<'a> {
    /// A user without any events.
    pub fn silent(name: &'a UserId, nothing: &'a UserUsage) -> Self {
        Self {
            name: Some(name),
            usage: nothing,
            waiting: 0,
            share: 0.0,
            fair: None,
            waits: Vec::new(),
        }
    }

    /// The wait for the limiter that a share `quantile` (0 to 1) of its calls did not exceed over the last
    /// minute. Who still waits counts with the wait so far: a queue that moves not at all must not look short.
    pub fn wait(&self, quantile: f64) -> Option<Duration> {
        // nearest rank
        let rank = (quantile.clamp(0.0, 1.0) * self.waits.len() as f64).ceil() as usize;
        self.waits.get(rank.max(1) - 1).copied()
    }
}

/// A user that keeps others waiting.
#[derive(Clone, Debug, PartialEq)]
pub struct NoisyUser {
    /// The user.
    pub user: UserId,
    /// The kind of noise.
    pub kind: NoisyKind,
    /// Its part, 0 to 1.
    pub share: f64,
    /// Its fair share.
    pub fair: f64,
}

/// Kinds of noise.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum NoisyKind {
    /// It took too much of the last minute.
    Took,
    /// It fills the queue.
    Floods,
}

impl fmt::Display for NoisyUser {
    /// One sentence, with the name as it is.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (user, share, fair) = (&self.user, self.share * 100.0, self.fair * 100.0);
        match self.kind {
            NoisyKind::Floods => write!(
                f,
                "{user} floods the queue: {share:.0}% of it, fair share {fair:.0}%"
            ),
            NoisyKind::Took => write!(
                f,
                "{user} took {share:.0}% of the last minute, fair share {fair:.0}%"
            ),
        }
    }
}

impl State {
    /// Every user beside the others, by name, and the sum of those not kept apart last, if there are any.
    pub fn user_shares(&self, now: Timestamp) -> Vec<UserShare<'_>> {
        let users = &self.users;
        let mut waiting: BTreeMap<Option<&UserId>, Vec<Duration>> = BTreeMap::new();
        for (whose, waiter) in self.waiters_with_users() {
            waiting.entry(whose).or_default().push(now.since(waiter.since));
        }
        // those who have no name here wait among the others
        let others: Vec<&UserId> = waiting.keys().copied().flatten().collect();
        for name in others {
            if !users.by_name.contains_key(name) {
                let waits = waiting.remove(&Some(name)).unwrap_or_default();
                waiting.entry(None).or_default().extend(waits);
            }
        }
        let apart = users.by_name.iter().map(|(name, usage)| (Some(name), usage));
        let others = [(None, &users.others)];
        let unknown = waiting.contains_key(&None);
        let others = others
            .into_iter()
            .filter(|(_, usage)| usage.started > 0 || unknown);
        let limit = &self.session.policy.limit;
        let mut shares: Vec<UserShare<'_>> = Vec::with_capacity(users.by_name.len() + 1);
        let (mut all_tokens, mut all_weights) = (0.0, 0.0);
        for (name, usage) in apart.chain(others) {
            let mut waits = waiting.remove(&name).unwrap_or_default();
            let in_queue = waits.len() as u64;
            waits.extend(usage.waits(now));
            waits.sort_unstable();
            let (admitted, tokens) = usage.last_minute(now);
            let weight = limit.for_user(name.map_or("", UserId::as_str)).weight;
            let in_play = in_queue > 0 || admitted > 0;
            all_tokens += tokens as f64;
            all_weights += if in_play { f64::from(weight) } else { 0.0 };
            shares.push(UserShare {
                name,
                usage,
                waiting: in_queue,
                share: tokens as f64,
                fair: in_play.then_some(f64::from(weight)),
                waits,
            });
        }
        for user in &mut shares {
            user.share = if all_tokens > 0.0 {
                user.share / all_tokens
            } else {
                0.0
            };
            user.fair = user.fair.map(|weight| weight / all_weights.max(1.0));
        }
        shares
    }

    /// Number of waiting users, untracked ones included.
    pub fn users_waiting(&self) -> usize {
        let whose: BTreeSet<Option<&UserId>> = self.waiters_with_users().map(|(whose, _)| whose).collect();
        whose.len()
    }

    /// Everybody in the queue and whose call it is. Both maps are in the order of calls, so they are walked side
    /// by side: ten thousand may wait, and a look-up for each would be felt in every frame.
    fn waiters_with_users(&self) -> impl Iterator<Item = (Option<&UserId>, &Waiter)> {
        let mut owners = self.users.calls.iter().peekable();
        self.limit.waiters.iter().map(move |(call, waiter)| {
            while owners.next_if(|(id, _)| *id < call).is_some() {}
            let whose = match owners.peek() {
                Some((id, whose)) if *id == call => whose.as_ref(),
                _ => self.calls.recent.get(call).map(|call| &call.user),
            };
            (whose, waiter)
        })
    }

    /// The user that keeps others waiting most, if one does. See the rule at the top of this file.
    pub fn noise(&self, now: Timestamp) -> Option<NoisyUser> {
        NoisyUser::find(&self.user_shares(now), now)
    }

    /// The same where turns would help: others wait behind a flood, first come first served.
    pub fn flood(&self, now: Timestamp) -> Option<NoisyUser> {
        let limit = &self.session.policy.limit;
        if !limit.enabled || limit.order != QueueOrder::Fifo || self.limit.waiters.len() < 2 {
            return None;
        }
        self.noise(now).filter(|noise| noise.kind == NoisyKind::Floods)
    }

    /// A user's own buckets of requests and of LLM tokens: as of the last event, full without an event, and
    /// `None` if not configured.
    pub fn own_levels(&self, user: &UserId) -> [Option<BucketLevel>; 2] {
        let limit = &self.session.policy.limit;
        if !limit.enabled {
            return [None, None];
        }
        let known = self.users.by_name.get(user);
        let known = known.and_then(|usage| usage.levels.as_ref());
        let own = limit.for_user(user.as_str());
        let full = |bucket| BucketLevel::full(bucket, self.last_event_at);
        [
            (known.and_then(|levels| levels.requests), &own.requests),
            (known.and_then(|levels| levels.tokens), &own.tokens),
        ]
        .map(|(known, bucket)| known.or(bucket.as_ref().map(full)))
    }
}

impl NoisyUser {
    /// The noisiest user: floods first, then by the multiple of its fair share.
    pub fn find(shares: &[UserShare<'_>], now: Timestamp) -> Option<NoisyUser> {
        let all_waiting: u64 = shares.iter().map(|user| user.waiting).sum();
        let noisy = shares.iter().filter_map(|user| {
            let (name, fair) = (user.name?, user.fair?);
            if all_waiting == user.waiting {
                // no other user waits
                return None;
            }
            let loud = (2.0 * fair).min(f64::midpoint(1.0, fair));
            let of_queue = user.waiting as f64 / all_waiting as f64;
            let (kind, share) = if user.waiting >= LEAST && of_queue > loud {
                (NoisyKind::Floods, of_queue)
            } else if user.usage.last_minute(now).0 >= LEAST && user.share > loud {
                (NoisyKind::Took, user.share)
            } else {
                return None;
            };
            let user = name.clone();
            Some(NoisyUser {
                user,
                kind,
                share,
                fair,
            })
        });
        noisy.max_by(|a, b| {
            let times = |noise: &NoisyUser| noise.share / noise.fair;
            a.kind
                .cmp(&b.kind)
                .then(times(a).total_cmp(&times(b)))
                .then(b.user.cmp(&a.user))
        })
    }
}
