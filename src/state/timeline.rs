//! The timeline of the session: what happened second by second, for every chart, window and sparkline.
//!
//! ```text
//!  event --> open second --closes--> recent: 610 slots of 1 s
//!                            |
//!                            +-----> whole: up to 256 slots; when they are used up, neighbours merge
//!                                    and the step doubles
//! ```
//!
//! Invariants:
//! - A slot is keyed by `time / step`, and steps are powers of two, so the rings depend on the events alone and
//!   `fold(all) == snapshot + tail` holds.
//! - Time never goes back: an event out of order counts for the newest second.
//! - A second without events is a slot with zero counts; what lasts (attempts in flight, the queue, the buckets)
//!   is carried into it. A suspended second, and one before the first event, is no slot: it says nothing.

mod sketch;
mod slot;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::time::Duration;

use serde::{Deserialize, Serialize};

pub use sketch::{Sketch, Sliding};
pub use slot::{Level, SentCalls, Slot};

use super::{BreakersView, CacheVerdict, Calls, LimitView};
use crate::event::{AttemptResult, BucketLevel, Event, EventKind, Fate};
use crate::settings::FaultProfile;
use crate::text::SafeText;
use crate::time::{Timestamp, saturating_nanos};

/// Slots of one second: ten minutes, and the bin that sticks out at their beginning.
const RECENT: u64 = 610;
/// Slots for the whole session.
const WHOLE: u64 = 256;
/// Spans of faults and marks kept, each.
const MARKS: usize = 64;
/// Nanoseconds of a second.
const SECOND: u64 = 1_000_000_000;

/// The session second by second, in bounded memory.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Timeline {
    /// Time of the first event.
    started_at: Option<Timestamp>,
    /// Number of the newest second: the last slot of `recent`, still open.
    second: u64,
    /// The newest seconds, oldest first.
    recent: VecDeque<Slot>,
    /// All closed seconds, merged.
    whole: Whole,
    /// The latest suspension.
    suspended: Option<(Timestamp, Timestamp)>,
    /// Attempts in flight now.
    in_flight: u32,
    /// Calls in the limiter's queue now.
    waiting: u32,
    requests: Option<BucketLevel>,
    tokens: Option<BucketLevel>,
    /// The last time that the upstream answered a call.
    answered_at: Option<Timestamp>,
    faults: VecDeque<FaultSpan>,
    marks: VecDeque<Mark>,
    /// True once the policy of the start is known: a later one is a change.
    has_policy: bool,
}

/// All closed seconds in slots of `step` seconds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Whole {
    /// Seconds of a slot: a power of two.
    step: u64,
    /// Number of the first slot: its start over the step.
    first: u64,
    /// Oldest first.
    slots: VecDeque<Slot>,
}

/// A time during which faults were injected.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FaultSpan {
    /// Start.
    pub from: Timestamp,
    /// End; `None` while it lasts.
    pub to: Option<Timestamp>,
    /// The name of the profile.
    pub name: SafeText,
    /// The probability that a request is hit, 0 to 1; 0 for a profile that only makes the upstream slow or small.
    pub rate: f64,
}

/// A change made from outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mark {
    /// Its time.
    pub at: Timestamp,
    /// Its kind.
    pub kind: MarkKind,
}

/// Kinds of [`Mark`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MarkKind {
    /// Another policy was applied.
    Policy,
    /// A burst began.
    Burst,
    /// A load began or ended.
    Load,
    /// The breaker was forced or released.
    Force,
}

impl Default for Whole {
    fn default() -> Self {
        Self {
            step: 1,
            first: 0,
            slots: VecDeque::new(),
        }
    }
}

impl Timeline {
    /// Merged slots of `columns` bins of `width`, the last one containing `end`. Bins are counted from time 0, so a
    /// bin stays the same once it is over. `None` for a bin before the first event, after `end`, or suspended.
    ///
    /// A slot belongs to the bin in which it begins; bins narrower than a slot repeat it. Bins older than ten
    /// minutes are made of coarser slots; the first younger one may overlap the last of them.
    pub fn bins(&self, end: Timestamp, width: Duration, columns: usize) -> Vec<Option<Slot>> {
        let width = saturating_nanos(width).max(1);
        let last = end.0 / width;
        let bin = |back: usize| {
            let start = last.checked_sub(back as u64)?.saturating_mul(width);
            self.merged(start, start.saturating_add(width), end)
        };
        (0..columns).rev().map(bin).collect()
    }

    /// The length of the slots at an instant: a second, or that of the coarser ones for what is older than ten minutes.
    pub fn step(&self, at: Timestamp) -> Duration {
        let start = self.started_at.map_or(0, |start| start.0 / SECOND);
        let is_recent = (at.0 / SECOND).max(start) >= self.first_second();
        Duration::from_secs(if is_recent { 1 } else { self.whole.step.max(1) })
    }

    /// The sum of all seconds that begin from `from` to `to`, both included. Seconds older than ten minutes are
    /// exact to the step of their slots.
    pub fn sum(&self, from: Timestamp, to: Timestamp) -> Slot {
        self.merged(from.0, to.0.saturating_add(1), to)
            .filter(|_| from.0.div_ceil(SECOND) <= to.0 / SECOND)
            .unwrap_or_default()
    }

    /// The sum of the seconds that began in the last `window` before `now`.
    pub fn last(&self, now: Timestamp, window: Duration) -> Slot {
        // at the very start the second 0 has no earlier one
        let from = Timestamp(
            (now - window)
                .0
                .saturating_add(u64::from(now.0 >= saturating_nanos(window))),
        );
        self.sum(from, now)
    }

    /// The spans with faults, oldest first; at most 64.
    pub fn faults(&self) -> impl DoubleEndedIterator<Item = &FaultSpan> {
        self.faults.iter()
    }

    /// The changes made from outside, oldest first; at most 64.
    pub fn marks(&self) -> impl DoubleEndedIterator<Item = &Mark> {
        self.marks.iter()
    }

    /// Time of the first event.
    pub fn started_at(&self) -> Option<Timestamp> {
        self.started_at
    }

    /// The last time that the upstream answered a call.
    pub fn answered_at(&self) -> Option<Timestamp> {
        self.answered_at
    }

    /// Attempts in flight and calls in the limiter's queue, after the last event.
    pub fn load(&self) -> (u32, u32) {
        (self.in_flight, self.waiting)
    }

    /// A timeline of these seconds.
    #[cfg(test)]
    pub(crate) fn from_slots(first: u64, slots: Vec<Slot>) -> Self {
        let mut timeline = Self {
            started_at: Some(Timestamp(first.saturating_mul(SECOND))),
            second: first + slots.len() as u64 - 1,
            ..Self::default()
        };
        timeline.whole.first = first;
        timeline.recent = slots.into();
        timeline
    }

    /// Time when a picture of the last `window` changes next without any event: with the next second, as long as
    /// an event is in it.
    pub fn next_change(&self, now: Timestamp, window: Duration) -> Option<Timestamp> {
        let second = now.0 / SECOND;
        self.started_at?;
        (self.second.saturating_add(window.as_secs()) > second)
            .then(|| Timestamp(second.saturating_add(1).saturating_mul(SECOND)))
    }

    /// The number of the newest second.
    pub(super) fn second(&self) -> u64 {
        self.second
    }

    /// The slots of the `count` seconds up to the second `last`, as far as they are kept.
    pub(super) fn seconds(&self, last: u64, count: u64) -> impl Iterator<Item = &Slot> {
        let first = self.first_second();
        let from = last.saturating_add(1).saturating_sub(count).max(first);
        let place = |second: u64| (second.saturating_sub(first) as usize).min(self.recent.len());
        self.recent
            .range(place(from)..place(last.saturating_add(1)).max(place(from)))
    }

    /// The open second. Goes to the second of `at` before.
    pub(super) fn open(&mut self, at: Timestamp) -> &mut Slot {
        self.advance(at);
        if self.recent.is_empty() {
            self.recent.push_back(Slot::default());
        }
        let last = self.recent.len() - 1;
        &mut self.recent[last]
    }

    fn first_second(&self) -> u64 {
        (self.second + 1).saturating_sub(self.recent.len() as u64)
    }

    /// Closes seconds until the one of `at` is open.
    pub(super) fn advance(&mut self, at: Timestamp) {
        let second = at.0 / SECOND;
        if self.started_at.is_none() {
            self.started_at = Some(at);
            self.second = second;
            self.whole.first = second;
            self.recent.push_back(self.idle(second, second + 1, at));
        }
        if second <= self.second {
            return;
        }
        let open = self.second;
        let next = open + 1;
        if let Some(mut closed) = self.recent.pop_back() {
            self.settle(&mut closed, Timestamp(next.saturating_mul(SECOND)));
            self.whole.add(open, second, &closed);
            self.recent.push_back(closed);
        }
        self.fill(next, second);
        self.second = second;
        self.recent.push_back(self.idle(second, second + 1, at));
        while self.recent.len() as u64 > RECENT {
            self.recent.pop_front();
        }
    }

    /// Adds the seconds from `from` up to `to`, in which nothing happened.
    fn fill(&mut self, from: u64, to: u64) {
        if from >= to {
            return;
        }
        let mut start = from;
        while start < to {
            let step = self.whole.step_at(to).max(1);
            let end = ((start / step + 1) * step).min(to);
            let idle = self.idle(start, end, Timestamp(end.saturating_mul(SECOND)));
            self.whole.add(start, to, &idle);
            start = end;
        }
        if to - from >= RECENT {
            self.recent.clear();
        }
        for second in from.max(to.saturating_sub(RECENT))..to {
            let end = Timestamp((second + 1).saturating_mul(SECOND));
            self.recent.push_back(self.idle(second, second + 1, end));
        }
    }

    /// Seconds in which nothing happens, the last one seen up to `now`.
    fn idle(&self, from: u64, to: u64, now: Timestamp) -> Slot {
        let suspended = self.suspended.map_or(0, |(since, until)| {
            let first = since.0.div_ceil(SECOND).max(from);
            (until.0 / SECOND).min(to).saturating_sub(first)
        });
        let mut slot = Slot {
            seconds: u32::try_from((to - from).saturating_sub(suspended)).unwrap_or(u32::MAX),
            in_flight: self.in_flight,
            waiting: self.waiting,
            ..Slot::default()
        };
        self.note_levels(&mut slot, Timestamp(from.saturating_mul(SECOND)));
        self.settle(&mut slot, now);
        slot
    }

    /// Brings the last levels of a slot up to date; they only rise between events.
    fn settle(&self, slot: &mut Slot, now: Timestamp) {
        let last = |level: &mut Option<Level>, bucket: Option<BucketLevel>| {
            if let (Some(level), Some(bucket)) = (level, bucket) {
                level.last = per_mille(bucket, now);
            }
        };
        last(&mut slot.requests_left, self.requests);
        last(&mut slot.tokens_left, self.tokens);
    }

    fn note_levels(&self, slot: &mut Slot, at: Timestamp) {
        let note = |level: &mut Option<Level>, bucket: Option<BucketLevel>| {
            if let Some(bucket) = bucket {
                let share = per_mille(bucket, at);
                let now = Level {
                    lowest: share,
                    last: share,
                };
                *level = Some(level.map_or(now, |before| before.then(now)));
            }
        };
        note(&mut slot.requests_left, self.requests);
        note(&mut slot.tokens_left, self.tokens);
    }

    /// The slots that begin in `from..to` nanoseconds and not after `end`; or else the one around them.
    fn merged(&self, from: u64, to: u64, end: Timestamp) -> Option<Slot> {
        let start = self.started_at?.0 / SECOND;
        if from > end.0 || to <= start.saturating_mul(SECOND) {
            return None;
        }
        let step = self.step(Timestamp(from)).as_secs();
        let is_recent = (from / SECOND).max(start) >= self.first_second();
        let nanos = step.saturating_mul(SECOND);
        let (mut first, mut last) = (from.div_ceil(nanos), to.div_ceil(nanos));
        if first >= last {
            (first, last) = (from / nanos, from / nanos + 1);
        }
        let last = last.min(end.0 / nanos + 1);
        let mut sum = Slot::default();
        let (from, to) = (first.saturating_mul(step), last.saturating_mul(step));
        if is_recent {
            let closed = to.min(self.second);
            let count = closed.saturating_sub(from);
            self.seconds(closed.saturating_sub(1), count)
                .for_each(|slot| sum.merge(slot));
        } else {
            self.whole.between(first, last).for_each(|slot| sum.merge(slot));
        }
        if let Some(open) = self.recent.back().filter(|_| (from..to).contains(&self.second)) {
            let mut open = open.clone();
            let closes = Timestamp((self.second + 1).saturating_mul(SECOND));
            self.settle(&mut open, end.min(closes));
            sum.merge(&open);
        }
        let (from, to) = (from.max(self.second + 1), to.min(end.0 / SECOND + 1));
        if from < to {
            let until = Timestamp(to.saturating_mul(SECOND));
            sum.merge(&self.idle(from, to, end.min(until)));
        }
        (sum.seconds > 0).then_some(sum)
    }

    /// Folds an event in, after the views it reads.
    #[expect(clippy::too_many_lines, reason = "one table")]
    pub(super) fn apply(&mut self, event: &Event, calls: &Calls, limit: &LimitView, breakers: &BreakersView) {
        let at = event.at;
        self.advance(at);
        let now = calls.totals.waiting.saturating_add(calls.totals.streaming);
        self.in_flight = u32::try_from(now).unwrap_or(u32::MAX);
        self.waiting = u32::try_from(calls.totals.queued).unwrap_or(u32::MAX);
        let (in_flight, waiting) = (self.in_flight, self.waiting);
        let slot = self.open(at);
        slot.in_flight = slot.in_flight.max(in_flight);
        slot.waiting = slot.waiting.max(waiting);
        match &event.kind {
            EventKind::CallEnded { fate, took, .. } => {
                if let Some(count) = slot.fates.get_mut(*fate as usize) {
                    *count = count.saturating_add(1);
                }
                if *fate == Fate::Answered {
                    slot.latency.record(*took);
                    self.answered_at = Some(at);
                }
            }
            EventKind::CacheHit { .. } => {
                slot.lookups = slot.lookups.saturating_add(1);
                slot.hits = slot.hits.saturating_add(1);
            }
            EventKind::CacheMissed { .. } => {
                slot.lookups = slot.lookups.saturating_add(1);
                slot.new_prompts = slot.new_prompts.saturating_add(1);
            }
            EventKind::SemanticHit { .. } => {
                slot.hits = slot.hits.saturating_add(1);
                self.not_new();
            }
            EventKind::FlightJoined { .. } => {
                slot.joined = slot.joined.saturating_add(1);
                let call = event.call.and_then(|id| calls.recent.get(&id));
                if let Some(CacheVerdict::Miss { .. }) = call.and_then(|call| call.cache) {
                    slot.lookups = slot.lookups.saturating_sub(1);
                    self.not_new();
                }
            }
            EventKind::AttemptEnded { result, .. } => {
                let counts = match result {
                    AttemptResult::Succeeded { .. } => (1, 0),
                    AttemptResult::Failed { .. } => (1, 1),
                    AttemptResult::Cancelled => (0, 0),
                };
                slot.ended_attempts = slot.ended_attempts.saturating_add(counts.0);
                slot.failed_attempts = slot.failed_attempts.saturating_add(counts.1);
            }
            EventKind::BreakerRecorded { .. } | EventKind::BreakerMoved { .. } => {
                let window = breakers.worst_window();
                slot.breaker_window = Some((window.failed, window.total));
            }
            EventKind::LimitAdmitted { .. } | EventKind::LimitSettled { .. } => self.levels(limit, at),
            EventKind::PolicyApplied { .. } => {
                self.levels(limit, at);
                if std::mem::replace(&mut self.has_policy, true) {
                    self.mark(at, MarkKind::Policy);
                }
            }
            EventKind::BreakerForced { .. } => self.mark(at, MarkKind::Force),
            EventKind::BurstStarted { .. } => self.mark(at, MarkKind::Burst),
            EventKind::LoadStarted { .. } | EventKind::LoadEnded { .. } => self.mark(at, MarkKind::Load),
            EventKind::FaultsApplied { on, profile } => self.faults_applied(at, *on, profile),
            EventKind::Suspended { until } => self.suspended = Some((at, *until)),
            EventKind::SessionStarted { .. }
            | EventKind::WhatIfEvaluated { .. }
            | EventKind::UpstreamProbed { .. }
            | EventKind::FaultInjected { .. }
            | EventKind::BurstEnded { .. }
            | EventKind::Notice { .. }
            | EventKind::GatewayListening { .. }
            | EventKind::TaskPanicked { .. }
            | EventKind::CallStarted { .. }
            | EventKind::CacheBypassed { .. }
            | EventKind::CacheStored { .. }
            | EventKind::CacheSkipped { .. }
            | EventKind::CacheEvicted { .. }
            | EventKind::CacheSwitched { .. }
            | EventKind::SemanticMissed { .. }
            | EventKind::SemanticShadowed { .. }
            | EventKind::SemanticCompared { .. }
            | EventKind::SemanticStored { .. }
            | EventKind::SemanticLabelled { .. }
            | EventKind::FlightStarted { .. }
            | EventKind::FlightHandedOver { .. }
            | EventKind::ResultReplayed { .. }
            | EventKind::LimitQueued { .. }
            | EventKind::LimitRejected { .. }
            | EventKind::LimitLeft { .. }
            | EventKind::LimitHeadChanged { .. }
            | EventKind::LimitPaused { .. }
            | EventKind::BreakerAdmitted { .. }
            | EventKind::BreakerRefused { .. }
            | EventKind::AttemptStarted { .. }
            | EventKind::AttemptResponded { .. }
            | EventKind::AttemptFirstToken { .. }
            | EventKind::StreamDelta { .. }
            | EventKind::RetryScheduled { .. }
            | EventKind::RetryStopped { .. } => {}
        }
    }

    /// Takes back a new prompt: its call joined a flight, or the semantic cache answered it, perhaps a second later.
    fn not_new(&mut self) {
        if let Some(slot) = self.recent.iter_mut().rev().find(|slot| slot.new_prompts > 0) {
            slot.new_prompts -= 1;
        }
    }

    fn levels(&mut self, limit: &LimitView, at: Timestamp) {
        (self.requests, self.tokens) = (limit.requests, limit.tokens);
        if let Some(mut slot) = self.recent.pop_back() {
            self.note_levels(&mut slot, at);
            self.recent.push_back(slot);
        }
    }

    fn mark(&mut self, at: Timestamp, kind: MarkKind) {
        self.marks.push_back(Mark { at, kind });
        if self.marks.len() > MARKS {
            self.marks.pop_front();
        }
    }

    fn faults_applied(&mut self, at: Timestamp, on: bool, profile: &FaultProfile) {
        let rate = profile.total();
        let open = self.faults.back_mut().filter(|span| span.to.is_none());
        if let Some(span) = open {
            #[expect(clippy::float_cmp, reason = "the same profile has the same rates")]
            if on && span.name.as_str() == profile.name && span.rate == rate {
                return;
            }
            span.to = Some(at);
        }
        if on {
            self.faults.push_back(FaultSpan {
                from: at,
                to: None,
                name: SafeText::new(&profile.name),
                rate,
            });
            if self.faults.len() > MARKS {
                self.faults.pop_front();
            }
        }
    }
}

impl Whole {
    /// The step with which the second `last` fits.
    fn step_at(&self, last: u64) -> u64 {
        let (mut step, mut first) = (self.step.max(1), self.first);
        while last / step >= first.saturating_add(WHOLE) {
            (step, first) = (step.saturating_mul(2), first / 2);
        }
        step
    }

    /// Merges the seconds from `second` on, within one slot, after making room for the second `last`.
    fn add(&mut self, second: u64, last: u64, slot: &Slot) {
        let step = self.step_at(last);
        while self.step < step {
            self.halve();
        }
        let place = (second / self.step).saturating_sub(self.first) as usize;
        if self.slots.len() <= place {
            self.slots
                .resize_with((place + 1).min(WHOLE as usize), Slot::default);
        }
        if let Some(sum) = self.slots.get_mut(place) {
            sum.merge(slot);
        }
    }

    /// Merges neighbours.
    fn halve(&mut self) {
        let mut merged: VecDeque<Slot> = VecDeque::with_capacity(self.slots.len() / 2 + 1);
        let first = self.first;
        for (number, slot) in (first..).zip(self.slots.drain(..)) {
            match merged.back_mut() {
                Some(before) if number % 2 == 1 => before.merge(&slot),
                Some(_) | None => merged.push_back(slot),
            }
        }
        self.slots = merged;
        self.first = first / 2;
        self.step = self.step.saturating_mul(2);
    }

    /// The slots with the numbers `first..last`.
    fn between(&self, first: u64, last: u64) -> impl Iterator<Item = &Slot> {
        let place = |number: u64| (number.saturating_sub(self.first) as usize).min(self.slots.len());
        self.slots.range(place(first)..place(last).max(place(first)))
    }
}

fn per_mille(bucket: BucketLevel, at: Timestamp) -> u16 {
    (bucket.share_at(at) * 1000.0).round() as u16
}
