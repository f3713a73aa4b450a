//! Usage by user, with bounded memory.
//!
//! At most [`MAX_USERS`] users are tracked. For one more, the user idle for the longest time is added to the sum
//! of all others; if no user is idle, the calls of the new one are counted in that sum.

mod share;

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use serde::{Deserialize, Serialize};

pub use share::{NoisyKind, NoisyUser, UserShare};

use super::Calls;
use super::limit::resized;
use crate::event::{
    BucketLevel, CallId, Event, EventKind, Fate, LimitLevels, LimitReject, UserId, UserLevels,
};
use crate::settings::{Bucket, LimitSettings, Policy};
use crate::time::Timestamp;

/// Users tracked.
pub const MAX_USERS: usize = 256;
/// Waits kept per user.
const MAX_WAITS: usize = 64;
/// Slices of the last minute.
const SLICES: u64 = 12;
/// Slices kept: two minutes.
const KEPT: u64 = 2 * SLICES;
/// Nanoseconds per slice.
const SLICE_NS: u64 = 5_000_000_000;

/// Usage by user.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct UsersView {
    /// Tracked users.
    pub by_name: BTreeMap<UserId, UserUsage>,
    /// The sum of all others.
    pub others: UserUsage,
    /// Users added to that sum.
    pub summed: u64,
    /// Users of running calls; `None` if counted with the others.
    calls: BTreeMap<CallId, Option<UserId>>,
}

/// One user.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct UserUsage {
    /// Calls begun.
    pub started: u64,
    /// Calls without an end yet.
    pub running: u64,
    /// Calls that ended, in the order of [`Fate::ALL`].
    pub ended: [u64; Fate::ALL.len()],
    /// Attempts admitted by the limiter.
    pub admitted: u64,
    /// Calls rejected by the limiter, by reason.
    pub rejected: BTreeMap<LimitReject, u64>,
    /// LLM tokens finally charged.
    pub charged_tokens: u64,
    /// Its own buckets as of the last event; `None` without any.
    pub levels: Option<UserLevels>,
    /// Time of its last event.
    pub last_at: Timestamp,
    /// Time and wait of its last 64 admissions.
    waits: VecDeque<(Timestamp, Duration)>,
    /// The last two minutes, by slice.
    slices: VecDeque<Slice>,
}

/// Five seconds of a user.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Slice {
    /// Number of the slice, from 0.
    number: u64,
    /// Attempts.
    admitted: u64,
    /// LLM tokens reserved.
    tokens: u64,
    /// Calls ended.
    ended: u64,
    /// Of these, served: answered, cached or shared.
    served: u64,
}

impl UserUsage {
    /// Calls with this fate.
    pub fn ended(&self, fate: Fate) -> u64 {
        self.ended.get(fate as usize).copied().unwrap_or(0)
    }

    /// Calls rejected by the limiter.
    pub fn rejections(&self) -> u64 {
        self.rejected.values().sum()
    }

    /// Attempts and LLM tokens admitted over the last minute, in slices of five seconds: 55 to 60 seconds.
    pub fn last_minute(&self, now: Timestamp) -> (u64, u64) {
        self.slices
            .iter()
            .filter(|slice| counts(slice.number, now))
            .fold((0, 0), |(admitted, tokens), slice| {
                (admitted + slice.admitted, tokens.saturating_add(slice.tokens))
            })
    }

    /// Calls served, and all that ended, over the same minute.
    pub fn served(&self, now: Timestamp) -> (u64, u64) {
        self.slices
            .iter()
            .filter(|slice| counts(slice.number, now))
            .fold((0, 0), |(served, ended), slice| {
                (served + slice.served, ended + slice.ended)
            })
    }

    /// Calls served, and all that ended, in each five seconds of the last two minutes, oldest first.
    pub fn served_history(&self, now: Timestamp) -> [(u64, u64); KEPT as usize] {
        let mut history = [(0, 0); KEPT as usize];
        let newest = now.0 / SLICE_NS;
        for slice in &self.slices {
            let back = newest
                .checked_sub(slice.number)
                .and_then(|back| KEPT.checked_sub(back + 1));
            if let Some(place) = back.and_then(|place| history.get_mut(place as usize)) {
                *place = (slice.served, slice.ended);
            }
        }
        history
    }

    /// Waits for the limiter over the same minute, at most 64.
    pub fn waits(&self, now: Timestamp) -> impl Iterator<Item = Duration> {
        self.waits
            .iter()
            .filter(move |(at, _)| counts(at.0 / SLICE_NS, now))
            .map(|(_, waited)| *waited)
    }

    fn admit(&mut self, at: Timestamp, waited: Duration, tokens: u64) {
        self.admitted += 1;
        self.waits.push_back((at, waited));
        if self.waits.len() > MAX_WAITS {
            self.waits.pop_front();
        }
        let slice = Slice {
            number: at.0 / SLICE_NS,
            admitted: 1,
            tokens,
            ..Slice::default()
        };
        self.add_slice(slice);
    }

    fn add_slice(&mut self, new: Slice) {
        let place = self.slices.partition_point(|slice| slice.number < new.number);
        match self
            .slices
            .get_mut(place)
            .filter(|slice| slice.number == new.number)
        {
            Some(slice) => {
                slice.admitted += new.admitted;
                slice.tokens = slice.tokens.saturating_add(new.tokens);
                slice.ended += new.ended;
                slice.served += new.served;
            }
            None => self.slices.insert(place, new),
        }
        let newest = self.slices.back().map_or(0, |slice| slice.number);
        self.slices
            .retain(|slice| slice.number.saturating_add(KEPT) > newest);
    }

    fn note_levels(&mut self, levels: Option<&UserLevels>) {
        if let Some(levels) = levels {
            self.levels = Some(levels.clone());
        }
    }

    /// Adds the numbers of another user, without its buckets and waits.
    fn add(&mut self, other: Self) {
        self.started += other.started;
        self.running += other.running;
        for (sum, more) in self.ended.iter_mut().zip(other.ended) {
            *sum += more;
        }
        self.admitted += other.admitted;
        for (reason, count) in other.rejected {
            *self.rejected.entry(reason).or_default() += count;
        }
        self.charged_tokens = self.charged_tokens.saturating_add(other.charged_tokens);
        self.last_at = self.last_at.max(other.last_at);
        for slice in other.slices {
            self.add_slice(slice);
        }
    }
}

impl UsersView {
    /// Applies an event. `calls` must have applied it already.
    pub(super) fn apply(&mut self, event: &Event, calls: &Calls) {
        let at = event.at;
        match &event.kind {
            EventKind::CallStarted { user, .. } => self.started(event, user),
            EventKind::CallEnded { fate, .. } => self.ended(event, *fate),
            EventKind::LimitAdmitted {
                waited,
                reserved,
                user,
                ..
            } => self.change(event, calls, |usage| {
                usage.admit(at, *waited, *reserved);
                usage.note_levels(user.as_deref());
            }),
            EventKind::LimitSettled { charged, user, .. } => self.change(event, calls, |usage| {
                usage.charged_tokens = usage.charged_tokens.saturating_add(*charged);
                usage.note_levels(user.as_deref());
            }),
            EventKind::LimitRejected { reason, levels, .. } => self.change(event, calls, |usage| {
                *usage.rejected.entry(*reason).or_default() += 1;
                usage.note_levels(own(levels.as_deref()));
            }),
            EventKind::LimitQueued { levels, .. } => self.change(event, calls, |usage| {
                usage.note_levels(own(levels.as_deref()));
            }),
            EventKind::PolicyApplied { policy } => self.resize(policy, at),
            EventKind::LimitLeft { .. }
            | EventKind::LimitHeadChanged { .. }
            | EventKind::LimitPaused { .. }
            | frame_events!()
            | EventKind::FaultInjected { .. }
            | cache_events!()
            | semantic_events!()
            | flight_events!()
            | breaker_events!()
            | attempt_events!() => {}
        }
    }

    /// The user of a call; `None` if counted with the others.
    fn whose<'a>(&'a self, call: CallId, calls: &'a Calls) -> Option<&'a UserId> {
        let name = match self.calls.get(&call) {
            Some(whose) => whose.as_ref(),
            None => calls.recent.get(&call).map(|call| &call.user),
        };
        name.filter(|name| self.by_name.contains_key(*name))
    }

    fn started(&mut self, event: &Event, user: &UserId) {
        let Some(call) = event.call.filter(|call| !self.calls.contains_key(call)) else {
            return;
        };
        let apart = self.by_name.contains_key(user) || self.make_room();
        let usage = if apart {
            self.by_name.entry(user.clone()).or_default()
        } else {
            &mut self.others
        };
        usage.started += 1;
        usage.running += 1;
        usage.last_at = event.at;
        self.calls.insert(call, apart.then(|| user.clone()));
    }

    fn ended(&mut self, event: &Event, fate: Fate) {
        let Some(whose) = event.call.and_then(|call| self.calls.remove(&call)) else {
            return;
        };
        let usage = match whose.and_then(|user| self.by_name.get_mut(&user)) {
            Some(usage) => usage,
            None => &mut self.others,
        };
        usage.running = usage.running.saturating_sub(1);
        if let Some(count) = usage.ended.get_mut(fate as usize) {
            *count += 1;
        }
        usage.last_at = event.at;
        let served = matches!(fate, Fate::Answered | Fate::Hit | Fate::Shared);
        usage.add_slice(Slice {
            number: event.at.0 / SLICE_NS,
            ended: 1,
            served: u64::from(served),
            ..Slice::default()
        });
    }

    /// Makes room for one more user, if possible by dropping the user idle for the longest time.
    fn make_room(&mut self) -> bool {
        if self.by_name.len() < MAX_USERS {
            return true;
        }
        let idle = self.by_name.iter().filter(|(_, usage)| usage.running == 0);
        let Some(silent) = idle
            .min_by_key(|(name, usage)| (usage.last_at, *name))
            .map(|(name, _)| name.clone())
        else {
            return false;
        };
        if let Some(usage) = self.by_name.remove(&silent) {
            self.others.add(usage);
            self.summed += 1;
        }
        true
    }

    fn change(&mut self, event: &Event, calls: &Calls, change: impl FnOnce(&mut UserUsage)) {
        let Some(call) = event.call else { return };
        if !self.calls.contains_key(&call) && !calls.recent.contains_key(&call) {
            return;
        }
        let name = self.whose(call, calls).cloned();
        let usage = match name.and_then(|name| self.by_name.get_mut(&name)) {
            Some(usage) => usage,
            None => &mut self.others,
        };
        usage.last_at = event.at;
        change(usage);
    }

    /// The buckets of another policy, with what the old ones held.
    fn resize(&mut self, policy: &Policy, at: Timestamp) {
        let limit = &policy.limit;
        for (name, usage) in &mut self.by_name {
            let Some(levels) = &mut usage.levels else { continue };
            let own = limit.for_user(name.as_str());
            levels.requests = fitted(levels.requests, own.requests.as_ref(), limit, at);
            levels.tokens = fitted(levels.tokens, own.tokens.as_ref(), limit, at);
        }
    }

    /// Time of the next visible change without an event: an admission leaves the minute, or an
    /// own bucket fills (second value true).
    pub(super) fn next_change(&self, now: Timestamp) -> (Option<Timestamp>, bool) {
        let all = || self.by_name.values().chain([&self.others]);
        let leaves = |slice: &Slice| Timestamp((slice.number + SLICES).saturating_mul(SLICE_NS));
        let next = all()
            .filter_map(|usage| usage.slices.iter().map(leaves).find(|at| *at > now))
            .min();
        let full = |bucket: BucketLevel| bucket.ready_at(bucket.capacity).is_none_or(|full| full <= now);
        let fills = all()
            .filter_map(|usage| usage.levels.as_ref())
            .flat_map(|levels| [levels.requests, levels.tokens])
            .flatten()
            .any(|bucket| !full(bucket));
        (next, fills)
    }
}

/// Returns true if the slice is within the last minute.
fn counts(slice: u64, now: Timestamp) -> bool {
    slice.saturating_add(SLICES) > now.0 / SLICE_NS
}

/// The user's own buckets, if any.
fn own(levels: Option<&LimitLevels>) -> Option<&UserLevels> {
    levels.and_then(|levels| levels.user.as_ref())
}

/// A level under new settings: unchanged for equal settings, `None` without a limit.
fn fitted(
    old: Option<BucketLevel>,
    settings: Option<&Bucket>,
    limit: &LimitSettings,
    at: Timestamp,
) -> Option<BucketLevel> {
    let (old, settings) = (old?, settings.filter(|_| limit.enabled)?);
    let full = BucketLevel::full(settings, at);
    let size = |level: BucketLevel| (level.capacity, level.refill, level.per_ns);
    Some(if size(full) == size(old) {
        old
    } else {
        resized(Some(old), settings, at)
    })
}

#[cfg(test)]
mod tests;
