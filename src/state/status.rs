//! The state that matters most: what holds calls back, what comes next, and when.
//!
//! One state is shown at a time, the first of this list that is so:
//!
//! ```text
//! forced open > upstream unusable > breaker open > half-open > retry storm > model loading > failing
//!   > paused by the server > waiting for the limiter > slow upstream > backing off > running
//! ```
//!
//! Invariant: the head of the queue, its constraint and its time are those that the limiter emitted last.

use std::time::Duration;

use super::{Call, Doing, State, Storm, Trouble, WINDOW};
use crate::event::{
    BreakerMode, BreakerState, BucketLevel, CallId, Constraint, FailureClass, UpstreamHealth,
};
use crate::time::Timestamp;

/// The state that matters most at one instant.
#[derive(Clone, Debug, PartialEq)]
pub enum Status {
    /// A person holds the breaker open.
    ForcedOpen,
    /// The next call would fail for the same reason: a rejected key, a missing model, no connection.
    Unusable(Trouble),
    /// The breaker refuses calls until a probe.
    BreakerOpen {
        /// Time of the next probe, if known.
        probe_at: Option<Timestamp>,
    },
    /// The breaker is half-open.
    HalfOpen {
        /// Probes that run.
        out: u32,
        /// Probes in a row that ended well.
        good: u32,
        /// Probes in a row that close it.
        needed: u32,
    },
    /// Retries are most of the load and do not help.
    Storm(Storm),
    /// The upstream loads its model.
    Loading,
    /// Many attempts fail.
    Failing {
        /// Share of the attempts of the last 30 s that failed.
        share: f64,
    },
    /// The server asked for a pause.
    Paused {
        /// Its end.
        until: Timestamp,
    },
    /// Calls wait for the limiter.
    Waiting {
        /// Calls in the queue.
        calls: u64,
        /// The next to be admitted; `None` while that is not known.
        head: Option<(CallId, Constraint)>,
        /// Time of its admission; `None` while it needs a slot.
        next: Option<Timestamp>,
    },
    /// Calls were sent and wait long for a first token.
    Slow {
        /// Calls that wait longer than 1.5 s.
        calls: u64,
        /// The longest wait so far.
        longest: Duration,
    },
    /// Calls wait before another attempt.
    BackingOff {
        /// These calls.
        calls: u64,
        /// Start of the earliest attempt.
        next: Timestamp,
    },
    /// Calls run, or ended in the last five seconds.
    Running {
        /// Answers per second in the last five seconds; `None` if no call ended in them.
        answers_per_s: Option<f64>,
    },
    /// No call runs.
    Idle {
        /// End of the last call.
        since: Timestamp,
    },
    /// Nothing was sent yet.
    Ready,
}

/// A call that waits longer than this for its first token is held by the server.
const SERVER_SLOW: Duration = Duration::from_millis(1500);
/// Attempts in the window needed to call them failing.
const FAILING_ATTEMPTS: u32 = 10;
/// The share of them that fails.
const FAILING_SHARE: f64 = 0.25;
/// An attempt failed in this time, or it is over.
const FAILING_NOW: Duration = Duration::from_secs(5);
/// Time between frames while calls or countdowns run.
const FRAME: Duration = Duration::from_millis(100);
/// Time between frames while only a bucket fills.
const SLOW_FRAME: Duration = Duration::from_millis(250);

impl Status {
    /// True for a state without a chip: nothing holds calls back.
    pub fn is_calm(&self) -> bool {
        matches!(self, Self::Running { .. } | Self::Idle { .. } | Self::Ready)
    }
}

impl State {
    /// The state that matters most at `now`.
    pub fn status(&self, now: Timestamp) -> Status {
        if self.breaker().mode == BreakerMode::ForcedOpen {
            return Status::ForcedOpen;
        }
        if let Some(trouble) = &self.session.trouble {
            return Status::Unusable(trouble.clone());
        }
        self.breaker_status(now)
            .or_else(|| self.storm(now).map(Status::Storm))
            .or_else(|| self.is_loading().then_some(Status::Loading))
            .or_else(|| self.failing(now))
            .or_else(|| self.limiter_status(now))
            .or_else(|| self.call_status(now))
            .unwrap_or_else(|| self.calm(now))
    }

    /// Time of the next visible change without an event: `now` plus a frame while something changes with
    /// time (a running call, a bucket that refills, a countdown), `None` if nothing changes.
    pub fn next_change(&self, now: Timestamp) -> Option<Timestamp> {
        let counts_down = |until: Option<Timestamp>| until.is_some_and(|until| until > now);
        if self.calls.totals.running() > 0
            || (self.breaker().state == BreakerState::Open && counts_down(self.breaker().until))
            || counts_down(self.limit.paused_until)
        {
            return Some(now + FRAME);
        }
        let fills = |bucket: Option<BucketLevel>| {
            bucket.is_some_and(|bucket| bucket.ready_at(bucket.capacity).is_some_and(|full| full > now))
        };
        let (leaves, own_fills) = self.users.next_change(now);
        if fills(self.limit.requests)
            || fills(self.limit.tokens)
            || own_fills
            || self.calls.table.flow_at(now).is_some()
        {
            return Some(now + SLOW_FRAME);
        }
        leaves
    }

    fn breaker_status(&self, now: Timestamp) -> Option<Status> {
        let breaker = self.breaker();
        match (breaker.mode, breaker.state) {
            (BreakerMode::ForcedOpen | BreakerMode::ForcedClosed, _) | (_, BreakerState::Closed) => None,
            (BreakerMode::Automatic, BreakerState::Open) => Some(Status::BreakerOpen {
                probe_at: breaker.until.filter(|until| *until > now),
            }),
            (BreakerMode::Automatic, BreakerState::HalfOpen) => Some(Status::HalfOpen {
                out: breaker.probes_out,
                good: breaker.probes_ok,
                needed: self.session.policy.breaker.successes_to_close,
            }),
        }
    }

    fn is_loading(&self) -> bool {
        // a restarted server loads too, and its health was not probed since it was ready
        let met_loading = |call: &Call| {
            matches!(call.doing, Doing::BackingOff { .. })
                && call
                    .failure
                    .as_ref()
                    .is_some_and(|failure| failure.class == FailureClass::Loading)
        };
        self.session.health == Some(UpstreamHealth::Loading)
            || (self.calls.totals.backing_off > 0 && self.running().any(met_loading))
    }

    /// Attempts fail, now and over a window that is long enough to say so.
    fn failing(&self, now: Timestamp) -> Option<Status> {
        let window = self.timeline.last(now, Duration::from_secs(WINDOW));
        let attempts = window.ended_attempts;
        let share = f64::from(window.failed_attempts) / f64::from(attempts.max(1));
        let fails = attempts >= FAILING_ATTEMPTS
            && share >= FAILING_SHARE
            && self.timeline.last(now, FAILING_NOW).failed_attempts > 0;
        fails.then(|| Status::Failing {
            share: share.min(1.0),
        })
    }

    fn limiter_status(&self, now: Timestamp) -> Option<Status> {
        let limit = &self.limit;
        if let Some(until) = limit.paused_until.filter(|until| *until > now) {
            return Some(Status::Paused { until });
        }
        let head = limit.held_head(now);
        (!limit.waiters.is_empty()).then(|| Status::Waiting {
            calls: limit.waiters.len() as u64,
            head: head.map(|head| (head.call, head.constraint)),
            next: head.and_then(|head| head.ready_at),
        })
    }

    /// States of single calls: the first token, the next attempt.
    fn call_status(&self, now: Timestamp) -> Option<Status> {
        let totals = &self.calls.totals;
        if totals.backing_off + totals.waiting == 0 {
            return None;
        }
        let mut next_attempt: Option<Timestamp> = None;
        let (mut longest, mut slow) = (Duration::ZERO, 0);
        for call in self.running() {
            match call.doing {
                Doing::BackingOff { until } => {
                    next_attempt = Some(next_attempt.map_or(until, |earliest| earliest.min(until)));
                }
                Doing::Waiting => {
                    let since = call.spans.last().map_or(call.started_at, |span| span.from);
                    let waited = now.since(since);
                    slow += u64::from(waited > SERVER_SLOW);
                    longest = longest.max(waited);
                }
                Doing::Starting
                | Doing::Queued
                | Doing::Streaming
                | Doing::Following { .. }
                | Doing::Ended => {}
            }
        }
        if slow > 0 {
            return Some(Status::Slow { calls: slow, longest });
        }
        next_attempt.map(|next| Status::BackingOff {
            calls: totals.backing_off,
            next,
        })
    }

    fn calm(&self, now: Timestamp) -> Status {
        let answers_per_s = self.calls.table.flow_at(now);
        if self.calls.totals.running() > 0 || answers_per_s.is_some() {
            return Status::Running { answers_per_s };
        }
        match self.calls.last_end() {
            Some(since) => Status::Idle { since },
            None => Status::Ready,
        }
    }

    fn running(&self) -> impl Iterator<Item = &Call> {
        self.calls
            .recent
            .values()
            .filter(|call| call.doing != Doing::Ended)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{EventKind, Fate, MoveReason, Origin, WindowCounts};
    use crate::state::fixture::{Story, admitted, attempt, ended, failed, first_token, moved, queued, retry};

    fn at(seconds: f64) -> Timestamp {
        Timestamp::from_secs_f64(seconds)
    }

    fn status(story: &Story, now: f64) -> Status {
        story.state().status(at(now))
    }

    fn opened(seconds: f64) -> EventKind {
        moved(
            BreakerState::Closed,
            BreakerState::Open,
            1,
            MoveReason::FailureRate,
            Some(seconds),
        )
    }

    /// A call backs off for two seconds after a failure of this class.
    fn backing_off(story: &mut Story, call: u64, class: FailureClass) {
        story.call(call, Origin::Chat).emit(call, attempt(1, call));
        story.emit(call, failed(1, class, Some(503), 9));
        story.emit(call, retry(2, class, story.now, 2000, None));
    }

    #[test]
    fn the_breaker_comes_before_what_its_calls_do() {
        let mut story = Story::begin();
        assert_eq!(status(&story, 1.0), Status::Ready);
        backing_off(&mut story, 1, FailureClass::ServerError);
        let (calls, next) = (1, at(2.0));
        assert_eq!(status(&story, 0.5), Status::BackingOff { calls, next });
        story.emit(0, opened(5.0));
        let open = |probe_at| Status::BreakerOpen { probe_at };
        assert_eq!(status(&story, 0.5), open(Some(at(5.0))));
        // the next call is the probe
        assert_eq!(status(&story, 5.0), open(None));
        let half = moved(
            BreakerState::Open,
            BreakerState::HalfOpen,
            2,
            MoveReason::CoolDown,
            None,
        );
        let probe = EventKind::BreakerAdmitted {
            model: None,
            generation: 2,
            probe: true,
            window: WindowCounts::default(),
        };
        story.emit(0, half).emit(1, probe);
        let (out, good, needed) = (1, 0, 2);
        assert_eq!(status(&story, 5.0), Status::HalfOpen { out, good, needed });
        let mode = BreakerMode::ForcedOpen;
        story.emit(0, EventKind::BreakerForced { mode });
        assert_eq!(status(&story, 9.0), Status::ForcedOpen);
    }

    #[test]
    fn the_head_of_the_queue_is_the_one_that_the_limiter_emitted() {
        let mut story = Story::begin();
        for call in [1, 2] {
            story.call(call, Origin::Chat);
            story.emit(call, queued(Constraint::Slots, None, call as u32));
        }
        let waiting = |head: Option<(u64, Constraint)>, next: Option<f64>| Status::Waiting {
            calls: 2,
            head: head.map(|(call, constraint)| (CallId(call), constraint)),
            next: next.map(at),
        };
        assert_eq!(status(&story, 1.0), waiting(Some((1, Constraint::Slots)), None));
        // a slot is free, but now the tokens are short
        let (constraint, ready_at) = (Constraint::Tokens, Some(at(3.0)));
        story.emit(1, EventKind::LimitHeadChanged { constraint, ready_at });
        assert_eq!(
            status(&story, 1.0),
            waiting(Some((1, Constraint::Tokens)), Some(3.0))
        );
        let rows = [1, 2].map(|call| story.state().waits_for(CallId(call), at(1.0)));
        assert_eq!(rows, [Some(Constraint::Tokens); 2]);
        // its time has come, and it is not admitted yet
        assert_eq!(status(&story, 3.0), waiting(None, None));
        let until = at(9.0);
        story.emit(0, EventKind::LimitPaused { until });
        assert_eq!(status(&story, 4.0), Status::Paused { until });
        // the head is cancelled, and its follower takes over
        story.emit(1, ended(Fate::Cancelled, 0, 3000));
        let (flight, from) = (crate::event::FlightId(1), CallId(1));
        story.emit(7, EventKind::FlightHandedOver { flight, from });
        let head = story.state().limit.head;
        assert_eq!(
            head.map(|head| (head.call, head.ready_at)),
            Some((CallId(7), ready_at))
        );
    }

    #[test]
    fn a_user_short_of_its_own_bucket_waits_for_that() {
        let mut story = Story::begin();
        let mut policy = crate::settings::Policy::default();
        let bucket = crate::settings::Bucket {
            capacity: 60,
            refill: 60,
            per: Duration::from_mins(1),
        };
        policy.limit.each_user.requests = Some(bucket.clone());
        story.emit(
            0,
            EventKind::PolicyApplied {
                policy: Box::new(policy),
            },
        );
        let empty = BucketLevel::full(&bucket, story.now).debited(61);
        let mut kind = admitted(story.now, 1, 0);
        if let EventKind::LimitAdmitted { user, .. } = &mut kind {
            *user = Some(Box::new(crate::event::UserLevels {
                user: crate::event::UserId::new("ann"),
                requests: Some(empty),
                tokens: None,
            }));
        }
        let start = |user, call| crate::state::fixture::started_by(user, call, Origin::Library, at(0.0));
        story
            .emit(1, start("ann", 1))
            .emit(2, start("ann", 2))
            .emit(3, start("ben", 3));
        story
            .emit(1, kind)
            .emit(3, queued(Constraint::Tokens, Some(9.0), 1))
            .emit(2, queued(Constraint::UserRequests, Some(2.0), 2));
        let waits = |call, now| story.state().waits_for(CallId(call), at(now));
        assert_eq!(waits(3, 0.5), Some(Constraint::Tokens));
        assert_eq!(waits(2, 0.5), Some(Constraint::UserRequests));
        // its own bucket has filled: now it waits for what all wait for
        assert_eq!(waits(2, 2.5), Some(Constraint::Tokens));
        assert_eq!(waits(1, 0.5), None, "it was admitted");
    }

    #[test]
    fn a_server_that_takes_its_time_or_loads() {
        let mut story = Story::begin();
        story.call(1, Origin::Chat).emit(1, attempt(1, 1));
        story.at(1.0).call(2, Origin::Chat).emit(2, attempt(1, 2));
        let running = Status::Running { answers_per_s: None };
        let slow = |calls, longest| Status::Slow {
            calls,
            longest: Duration::from_secs_f64(longest),
        };
        assert_eq!(status(&story, 1.5), running);
        assert_eq!(status(&story, 1.6), slow(1, 1.6));
        assert_eq!(status(&story, 3.0), slow(2, 3.0));
        story.emit(1, first_token(1, 900)).emit(2, first_token(1, 900));
        assert_eq!(status(&story, 3.0), running);
        let health = UpstreamHealth::Loading;
        story.emit(0, EventKind::UpstreamProbed { health });
        assert_eq!(status(&story, 3.0), Status::Loading);
        // a server that was started again is ready by its last probe
        let mut story = Story::begin();
        let health = UpstreamHealth::Ready { models: Vec::new() };
        story.emit(0, EventKind::UpstreamProbed { health });
        backing_off(&mut story, 1, FailureClass::Loading);
        assert_eq!(status(&story, 1.0), Status::Loading);
    }

    #[test]
    fn the_flow_is_of_answers_over_the_last_seconds() {
        let mut story = Story::begin();
        for call in 1..=30 {
            story.at(6.0 + call as f64 / 10.0).call(call, Origin::Library);
            let fate = if call % 3 == 0 { Fate::Failed } else { Fate::Hit };
            story.emit(call, ended(fate, 0, 1));
        }
        let Status::Running {
            answers_per_s: Some(rate),
        } = status(&story, 9.5)
        else {
            panic!("{:?}", status(&story, 9.5));
        };
        // twenty answers in the 4.5 seconds from 5.0
        assert!((rate - 20.0 / 4.5).abs() < 1e-9);
        assert_eq!(status(&story, 14.0), Status::Idle { since: at(9.0) });
    }

    #[test]
    fn a_still_picture_asks_for_no_frame() {
        let mut story = Story::begin();
        let next = |story: &Story, now| story.state().next_change(at(now)).map(Timestamp::as_secs_f64);
        assert_eq!(next(&story, 1.0), None);
        story.at(1.0).call(1, Origin::Chat);
        assert_eq!(next(&story, 1.0), Some(1.1));
        story
            .emit(1, admitted(at(1.0), 1, 0))
            .emit(1, ended(Fate::Answered, 1, 1));
        // the tokens need 12 seconds to fill
        assert_eq!(next(&story, 12.0), Some(12.25));
        // and then the user's share of the last minute is over
        assert_eq!(next(&story, 13.1), Some(60.0));
        story.emit(0, opened(20.0));
        assert_eq!(next(&story, 19.0), Some(19.1));
        assert_eq!(next(&story, 20.0), Some(60.0));
        story.emit(0, EventKind::LimitPaused { until: at(90.0) });
        assert_eq!(next(&story, 89.0), Some(89.1));
        assert_eq!(next(&story, 90.0), None);
    }

    #[test]
    fn the_flow_fades_before_the_last_frame() {
        let mut story = Story::begin();
        story
            .at(1.0)
            .call(1, Origin::Library)
            .emit(1, ended(Fate::Hit, 0, 1));
        let state = story.state();
        assert_eq!(state.next_change(at(5.9)), Some(at(6.15)));
        // the call leaves the last minute of its user
        assert_eq!(state.next_change(at(6.0)), Some(at(60.0)));
        assert_eq!(state.next_change(at(60.0)), None);
    }
}
