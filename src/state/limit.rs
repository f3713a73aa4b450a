//! Buckets, slots and the queue.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::State;
use crate::event::{BucketLevel, CallId, Constraint, Event, EventKind, LimitReject};
use crate::settings::{Bucket, Policy};
use crate::time::Timestamp;

/// The limiter. Levels are functions of time: ask [`BucketLevel::level_at`].
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct LimitView {
    /// The bucket of requests, once a policy is known.
    pub requests: Option<BucketLevel>,
    /// The bucket of LLM tokens, once a policy is known.
    pub tokens: Option<BucketLevel>,
    /// Slots in use.
    pub in_use: u32,
    /// Waiters by call.
    pub waiters: BTreeMap<CallId, Waiter>,
    /// The waiter that is admitted next; `None` while that is not known.
    pub head: Option<QueueHead>,
    /// Calls admitted in all.
    pub admitted: u64,
    /// Calls rejected, by reason.
    pub rejected: BTreeMap<LimitReject, u64>,
    /// End of the pause requested by the server.
    pub paused_until: Option<Timestamp>,
    /// LLM tokens charged in the end.
    pub charged_tokens: u64,
    /// The call that ended last in the queue; another call may take over its flight.
    left: Option<(CallId, Waiter, Option<QueueHead>)>,
}

/// A call in the queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Waiter {
    /// Start of the wait.
    pub since: Timestamp,
    /// LLM tokens that it needs; 0 if unknown.
    pub needs: u64,
}

/// The call that the limiter admits next if nothing else changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct QueueHead {
    /// The call.
    pub call: CallId,
    /// The constraint that clears last.
    pub constraint: Constraint,
    /// Time of admission; `None` while it needs a slot.
    pub ready_at: Option<Timestamp>,
}

impl LimitView {
    /// Calls rejected.
    pub fn rejections(&self) -> u64 {
        self.rejected.values().sum()
    }

    /// The head of the queue, while it is still held at `now`: one whose time has come is being admitted.
    pub fn held_head(&self, now: Timestamp) -> Option<QueueHead> {
        self.head
            .filter(|head| head.ready_at.is_none_or(|ready| ready > now))
    }
}

impl State {
    /// The constraint that holds a call in the queue at `now`: a bucket of its own user, or else what holds the head
    /// of the queue, because the rest moves when the head does.
    pub fn waits_for(&self, call: CallId, now: Timestamp) -> Option<Constraint> {
        let waiter = self.limit.waiters.get(&call)?;
        let head = self.limit.held_head(now);
        if let Some(head) = head.filter(|head| head.call == call) {
            return Some(head.constraint);
        }
        self.own_shortage(call, *waiter, now).or_else(|| {
            let shared = |constraint: &Constraint| {
                !matches!(constraint, Constraint::UserRequests | Constraint::UserTokens)
            };
            head.map(|head| head.constraint).filter(shared)
        })
    }

    /// The bucket of the user that is short for its call, the one that fills last.
    fn own_shortage(&self, call: CallId, waiter: Waiter, now: Timestamp) -> Option<Constraint> {
        let user = &self.calls.recent.get(&call)?.user;
        let [requests, tokens] = self.own_levels(user);
        [
            (requests, 1, Constraint::UserRequests),
            (tokens, waiter.needs.max(1), Constraint::UserTokens),
        ]
        .into_iter()
        .filter_map(|(bucket, units, constraint)| {
            let bucket = bucket?;
            Some((bucket.ready_at(units.min(bucket.capacity))?, constraint))
        })
        .filter(|(ready, _)| *ready > now)
        .max_by_key(|(ready, _)| *ready)
        .map(|(_, constraint)| constraint)
    }
}

impl LimitView {
    pub(super) fn apply(&mut self, event: &Event) {
        match &event.kind {
            EventKind::LimitQueued {
                constraint,
                position,
                ready_at,
                levels,
                ..
            } => {
                // journals of earlier versions do not have the head
                if *position == 1 && self.head.is_none() {
                    self.head_changed(event, *constraint, *ready_at);
                }
                if let Some(call) = event.call {
                    let needs = levels.as_ref().map_or(0, |levels| levels.needs);
                    let since = event.at;
                    self.waiters.entry(call).or_insert(Waiter { since, needs });
                }
            }
            EventKind::LimitHeadChanged { constraint, ready_at } => {
                self.head_changed(event, *constraint, *ready_at);
            }
            EventKind::LimitAdmitted {
                requests,
                tokens,
                in_use,
                waiting,
                ..
            } => {
                self.admitted += 1;
                (self.requests, self.tokens) = (Some(*requests), Some(*tokens));
                self.in_use = *in_use;
                self.left(event, *waiting);
            }
            EventKind::LimitSettled {
                charged,
                requests,
                tokens,
                in_use,
                ..
            } => {
                self.charged_tokens = self.charged_tokens.saturating_add(*charged);
                (self.requests, self.tokens) = (Some(*requests), Some(*tokens));
                self.in_use = *in_use;
            }
            EventKind::LimitRejected { reason, waiting, .. } => {
                *self.rejected.entry(*reason).or_default() += 1;
                self.left(event, *waiting);
            }
            EventKind::LimitLeft { waiting } => self.left(event, *waiting),
            EventKind::LimitPaused { until } => self.paused_until = self.paused_until.max(Some(*until)),
            EventKind::PolicyApplied { policy } => self.resize(policy, event.at),
            // a call that ended no longer waits, however it left the queue
            EventKind::CallEnded { .. } => {
                let waiter = event
                    .call
                    .and_then(|call| Some((call, *self.waiters.get(&call)?)));
                if let Some((call, waiter)) = waiter {
                    self.left = Some((call, waiter, self.head.filter(|head| head.call == call)));
                    self.forget(Some(call));
                }
            }
            EventKind::FlightHandedOver { from, .. } => self.handed_over(event.call, *from),
            frame_events!()
            | EventKind::FaultInjected { .. }
            | EventKind::CallStarted { .. }
            | cache_events!()
            | semantic_events!()
            | EventKind::FlightStarted { .. }
            | EventKind::FlightJoined { .. }
            | EventKind::ResultReplayed { .. }
            | breaker_events!()
            | attempt_events!() => {}
        }
    }

    /// The new owner of a flight takes over the place in the queue.
    fn handed_over(&mut self, heir: Option<CallId>, from: CallId) {
        let waiting = self.waiters.remove(&from).map(|waiter| (waiter, self.head));
        let ended = self.left.take_if(|(call, ..)| *call == from);
        let place = waiting.or(ended.map(|(_, waiter, head)| (waiter, head)));
        if let (Some((waiter, head)), Some(heir)) = (place, heir) {
            self.waiters.insert(heir, waiter);
            if let Some(head) = head.filter(|head| head.call == from) {
                self.head = Some(QueueHead { call: heir, ..head });
            }
        }
    }

    fn head_changed(&mut self, event: &Event, constraint: Constraint, ready_at: Option<Timestamp>) {
        self.head = event.call.map(|call| QueueHead {
            call,
            constraint,
            ready_at,
        });
    }

    fn left(&mut self, event: &Event, waiting: u32) {
        self.forget(event.call);
        if waiting == 0 {
            // the limiter's own count is authoritative
            self.waiters.clear();
            self.head = None;
        }
    }

    fn forget(&mut self, call: Option<CallId>) {
        if let Some(call) = call {
            self.waiters.remove(&call);
            self.head = self.head.filter(|head| head.call != call);
        }
    }

    /// The buckets of another policy, with what the old ones held.
    fn resize(&mut self, policy: &Policy, at: Timestamp) {
        let limit = &policy.limit;
        if limit.enabled {
            self.requests = Some(resized(self.requests, &limit.requests, at));
            self.tokens = Some(resized(self.tokens, &limit.tokens, at));
        } else {
            (self.requests, self.tokens) = (None, None);
        }
    }
}

/// A bucket of the new size with the level of the old one: full only if there was none.
pub(super) fn resized(old: Option<BucketLevel>, settings: &Bucket, at: Timestamp) -> BucketLevel {
    let mut new = BucketLevel::full(settings, at);
    if let Some(old) = old {
        let scaled = old.level_at(at) * new.per_ns as f64;
        new.scaled = new.scaled.min(scaled as i64);
    }
    new
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Origin;
    use crate::state::fixture::{Story, admitted, queued, settled};

    #[test]
    fn the_queue_is_what_was_queued_and_has_not_left() {
        let mut story = Story::begin();
        for call in 1..=3 {
            story.at(call as f64).call(call, Origin::Chat);
            story.emit(call, queued(Constraint::Tokens, Some(9.0), call as u32));
        }
        let view = story.state().limit;
        let first = view.waiters[&CallId(1)].since;
        assert_eq!(first, Timestamp::from_secs_f64(1.0));
        assert_eq!(view.head.map(|head| head.call), Some(CallId(1)));
        let now = story.at(4.0).now;
        story
            .emit(1, admitted(now, 1, 2))
            .emit(2, EventKind::LimitLeft { waiting: 1 });
        let view = story.state().limit;
        assert!(view.waiters.keys().eq([&CallId(3)]));
        assert_eq!((view.head, view.in_use), (None, 1));
        assert_eq!(view.requests.map(|bucket| bucket.level_at(now)), Some(6.0));
        story
            .emit(1, settled(now, 0))
            .emit(1, EventKind::LimitLeft { waiting: 0 });
        let view = story.state().limit;
        assert_eq!((view.waiters.len(), view.charged_tokens), (0, 60));
    }

    #[test]
    fn another_policy_keeps_the_level() {
        let mut story = Story::begin();
        story.call(1, Origin::Chat);
        story.emit(1, admitted(story.now, 1, 0));
        let mut policy = Policy::default();
        policy.limit.requests.capacity = 4;
        policy.limit.tokens.capacity = 50_000;
        let kind = |policy: &Policy| EventKind::PolicyApplied {
            policy: Box::new(policy.clone()),
        };
        let now = story.now;
        let levels = |story: &Story| {
            let limit = story.state().limit;
            let level = |bucket: Option<BucketLevel>| bucket.map(|bucket| bucket.level_at(now));
            (level(limit.requests), level(limit.tokens))
        };
        story.emit(0, kind(&policy));
        assert_eq!(levels(&story), (Some(4.0), Some(2000.0)));
        policy.limit.enabled = false;
        story.emit(0, kind(&policy));
        assert_eq!(levels(&story), (None, None));
    }

    #[test]
    fn a_pause_is_never_shortened() {
        let mut story = Story::begin();
        for until in [5_u64, 3] {
            story.emit(
                0,
                EventKind::LimitPaused {
                    until: Timestamp(until),
                },
            );
        }
        assert_eq!(story.state().limit.paused_until, Some(Timestamp(5)));
    }
}
