//! The cause that holds calls back most, and until when.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Call, Doing, State, Waiter};
use crate::event::{
    BreakerMode, BreakerState, BucketLevel, CallId, Constraint, FailureClass, UpstreamHealth, UserId,
};
use crate::time::Timestamp;

/// The main causes that hold calls back, and the flow of answers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Verdict {
    /// The main cause; `None` if calls flow or none run.
    pub held_by: Option<Hold>,
    /// The second cause.
    pub then: Option<Hold>,
    /// Answers per second over the last five seconds, from any source; `None` if no call ended.
    pub flowing_per_s: Option<f64>,
}

/// One cause.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Hold {
    /// The cause.
    pub cause: Cause,
    /// End of the hold, if known.
    pub until: Option<Timestamp>,
    /// Calls held now; for the breaker, calls rejected since it opened.
    pub calls: u64,
}

/// Causes that hold calls back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Cause {
    /// The breaker is open: refused at once, until a probe.
    BreakerOpen,
    /// A person holds the breaker open.
    BreakerForced,
    /// The breaker is half-open and its probe is out.
    ProbeOut,
    /// The server asked for a pause.
    Paused,
    /// The bucket of LLM tokens is short.
    Tokens,
    /// The bucket of requests is short.
    Requests,
    /// The user's own bucket of LLM tokens is short; other users are not held.
    UserTokens,
    /// The user's own request bucket is short; other users are not held.
    UserRequests,
    /// All slots are in use.
    Slots,
    /// Waiting before another attempt.
    BackOff,
    /// The upstream is loading its model.
    Loading,
    /// Sent, and the server has not answered yet.
    Server,
}

/// A call that waits longer than this for its first token is held by the server.
const SERVER_SLOW: Duration = Duration::from_millis(1500);
/// Time between frames while calls or countdowns run.
const FRAME: Duration = Duration::from_millis(100);
/// Time between frames while only a bucket fills.
const SLOW_FRAME: Duration = Duration::from_millis(250);

/// A cause and its duration: the rest of the wait if known, otherwise the time it
/// has lasted.
type Candidate = (Duration, Hold);

impl State {
    /// The cause with the longest wait at `now`, and the one after it.
    ///
    /// A cause counts only if it holds a running call; an open breaker counts in any case, because it
    /// would refuse the next one.
    pub fn verdict(&self, now: Timestamp) -> Verdict {
        let (mut first, mut second): (Option<Candidate>, Option<Candidate>) = (None, None);
        let [queue, own] = self.queue_holds(now);
        let causes = [self.breaker_hold(now), queue, own, self.loading_hold(now)];
        let causes = causes.into_iter().chain(self.call_holds(now)).flatten();
        for candidate in causes {
            if first.is_none_or(|(longest, _)| candidate.0 > longest) {
                second = first.replace(candidate);
            } else if second.is_none_or(|(longest, _)| candidate.0 > longest) {
                second = Some(candidate);
            }
        }
        Verdict {
            held_by: first.map(|(_, hold)| hold),
            then: second.map(|(_, hold)| hold),
            flowing_per_s: self.calls.table.flow_at(now),
        }
    }

    /// Time of the next visible change without an event: `now` plus a frame while something changes with
    /// time (a running call, a bucket that refills, a countdown), `None` if nothing changes.
    pub fn next_change(&self, now: Timestamp) -> Option<Timestamp> {
        let counts_down = |until: Option<Timestamp>| until.is_some_and(|until| until > now);
        if self.calls.totals.running() > 0
            || (self.breaker.state == BreakerState::Open && counts_down(self.breaker.until))
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

    fn breaker_hold(&self, now: Timestamp) -> Option<Candidate> {
        let breaker = &self.breaker;
        let (wait, cause, until) = match (breaker.mode, breaker.state) {
            (BreakerMode::ForcedOpen, _) => (Duration::MAX, Cause::BreakerForced, None),
            (BreakerMode::ForcedClosed, _) | (_, BreakerState::Closed) => return None,
            (BreakerMode::Automatic, BreakerState::Open) => match breaker.until {
                // the cool-down is over: the next call is the probe, so no call is held
                Some(until) if until <= now => return None,
                Some(until) => (now.until(until), Cause::BreakerOpen, Some(until)),
                None => (Duration::MAX, Cause::BreakerOpen, None),
            },
            (BreakerMode::Automatic, BreakerState::HalfOpen) => {
                if !breaker.is_full(self.session.policy.breaker.successes_to_close) {
                    return None;
                }
                (now.since(breaker.since), Cause::ProbeOut, None)
            }
        };
        let calls = breaker.refused_since_open;
        Some((wait, Hold { cause, until, calls }))
    }

    /// A waiter short of its user's own bucket is held by that alone and holds no other. The rest of the
    /// queue moves when its head does, so all in it are held by what holds the head.
    fn queue_holds(&self, now: Timestamp) -> [Option<Candidate>; 2] {
        let mut own: Option<(Timestamp, Cause, Timestamp)> = None;
        let mut head: Option<(Timestamp, Waiter)> = None;
        let (mut own_calls, mut calls) = (0, 0);
        // in the order of their ids, so that of two that came at once the first one counts
        for (id, waiter) in &self.limit.waiters {
            if let Some((cause, until)) = self.own_cause(*id, *waiter, now) {
                own_calls += 1;
                if own.is_none_or(|(since, ..)| waiter.since < since) {
                    own = Some((waiter.since, cause, until));
                }
            } else {
                calls += 1;
                if head.is_none_or(|(since, _)| waiter.since < since) {
                    head = Some((waiter.since, *waiter));
                }
            }
        }
        let own = own.map(|(_, cause, until)| {
            let (until, calls) = (Some(until), own_calls);
            (
                until.map_or(Duration::ZERO, |until| now.until(until)),
                Hold { cause, until, calls },
            )
        });
        let shared = head.map(|(_, head)| {
            let (cause, until) = self.head_cause(head, now);
            let wait = until.map_or(now.since(head.since), |until| now.until(until));
            (wait, Hold { cause, until, calls })
        });
        [shared, own]
    }

    /// The user's own bucket that holds this waiter now, and until when; nothing if it is not held by one, or
    /// not any more, or by the pause of all.
    fn own_cause(&self, call: CallId, waiter: Waiter, now: Timestamp) -> Option<(Cause, Timestamp)> {
        let cause = match waiter.constraint {
            Constraint::UserRequests => Cause::UserRequests,
            Constraint::UserTokens => Cause::UserTokens,
            Constraint::Requests | Constraint::Tokens | Constraint::Slots | Constraint::Paused => {
                return None;
            }
        };
        let paused = self.limit.paused_until.is_some_and(|until| until > now);
        let later = |at: Option<Timestamp>| at.filter(|at| *at > now && !paused);
        let own = self
            .calls
            .recent
            .get(&call)
            .map(|call| self.own_levels(&call.user));
        let [requests, tokens] = own.unwrap_or_default();
        let bucket = if cause == Cause::UserRequests {
            requests
        } else {
            tokens
        };
        // how many tokens it needs is not known, only when it was to have them
        let until = later(waiter.ready_at).or(later(bucket.and_then(|bucket| bucket.ready_at(1))))?;
        Some((cause, until))
    }

    /// Whose own bucket is short, while a user's own bucket holds: of those it holds, the first one.
    pub fn held_user(&self, now: Timestamp) -> Option<&UserId> {
        let held = self.limit.waiters.iter();
        let held = held.filter(|(id, waiter)| self.own_cause(**id, **waiter, now).is_some());
        let (first, _) = held.min_by_key(|(id, waiter)| (waiter.since, **id))?;
        self.calls.recent.get(first).map(|call| &call.user)
    }

    /// The current cause for the head of the queue: the constraint it was queued for may be over, and another may
    /// hold it.
    fn head_cause(&self, head: Waiter, now: Timestamp) -> (Cause, Option<Timestamp>) {
        let limit = &self.limit;
        let later = |at: Option<Timestamp>| at.filter(|at| *at > now);
        if let Some(until) = later(limit.paused_until) {
            return (Cause::Paused, Some(until));
        }
        let one_more = |bucket: Option<BucketLevel>| later(bucket.and_then(|bucket| bucket.ready_at(1)));
        let no_slot = limit.in_use >= self.session.policy.limit.concurrency;
        let requests_at = one_more(limit.requests);
        // how many tokens the head needs is not known, only when it was to have them
        let tokens_at = match head.constraint {
            Constraint::Tokens => later(head.ready_at),
            Constraint::Requests
            | Constraint::Slots
            | Constraint::Paused
            | Constraint::UserRequests
            | Constraint::UserTokens => None,
        }
        .or(one_more(limit.tokens));
        let queued_for = match head.constraint {
            Constraint::Requests => (requests_at.is_some(), (Cause::Requests, requests_at)),
            Constraint::Tokens => (tokens_at.is_some(), (Cause::Tokens, tokens_at)),
            Constraint::Slots => (no_slot, (Cause::Slots, None)),
            Constraint::Paused => (false, (Cause::Paused, None)),
            // it is not short any more, or this would not be the head of those who share
            Constraint::UserRequests | Constraint::UserTokens => (false, (Cause::Slots, None)),
        };
        // in this order the limiter asks
        let holding = [
            queued_for,
            (no_slot, (Cause::Slots, None)),
            (requests_at.is_some(), (Cause::Requests, requests_at)),
            (tokens_at.is_some(), (Cause::Tokens, tokens_at)),
        ];
        holding
            .into_iter()
            .find(|(holds, _)| *holds)
            .map_or(queued_for.1, |(_, cause)| cause)
    }

    fn loading_hold(&self, now: Timestamp) -> Option<Candidate> {
        // a restarted server loads too, and its health was not probed since it was ready
        let met_loading = |call: &&Call| {
            matches!(call.doing, Doing::BackingOff { .. })
                && call
                    .failure
                    .as_ref()
                    .is_some_and(|failure| failure.class == FailureClass::Loading)
        };
        let (since, calls) = match self.session.health {
            Some(UpstreamHealth::Loading) => {
                let since = self.running().map(|call| call.started_at).min()?;
                (since, self.calls.totals.running())
            }
            Some(UpstreamHealth::Ready { .. } | UpstreamHealth::Unavailable { .. }) | None => {
                let since = self
                    .running()
                    .filter(met_loading)
                    .map(|call| call.started_at)
                    .min()?;
                (since, self.running().filter(met_loading).count() as u64)
            }
        };
        let hold = Hold {
            cause: Cause::Loading,
            until: None,
            calls,
        };
        Some((now.since(since), hold))
    }

    /// Causes of single calls: the next attempt, the first token.
    fn call_holds(&self, now: Timestamp) -> [Option<Candidate>; 2] {
        let totals = &self.calls.totals;
        if totals.backing_off + totals.waiting == 0 {
            return [None, None];
        }
        let mut next_try: Option<Timestamp> = None;
        let (mut longest, mut slow) = (Duration::ZERO, 0);
        for call in self.running() {
            match call.doing {
                Doing::BackingOff { until } => {
                    next_try = Some(next_try.map_or(until, |earliest| earliest.min(until)));
                }
                Doing::Waiting => {
                    let since = call.spans.last().map_or(call.started_at, |span| span.from);
                    let waited = now.since(since);
                    slow += u64::from(waited > SERVER_SLOW);
                    longest = longest.max(waited);
                }
                Doing::Starting
                | Doing::Queued { .. }
                | Doing::Streaming
                | Doing::Following { .. }
                | Doing::Ended => {}
            }
        }
        let back_off = next_try.map(|until| {
            let hold = Hold {
                cause: Cause::BackOff,
                until: Some(until),
                calls: totals.backing_off,
            };
            (now.until(until), hold)
        });
        let hold = Hold {
            cause: Cause::Server,
            until: None,
            calls: slow,
        };
        [back_off, (slow > 0).then_some((longest, hold))]
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
    use crate::event::{EventKind, Fate, MoveReason, Origin, UserLevels, WindowCounts};
    use crate::state::fixture::{
        Story, admitted, attempt, ended, failed, first_token, moved, queued, retry, settled, started_by,
    };

    fn at(seconds: f64) -> Timestamp {
        Timestamp::from_secs_f64(seconds)
    }

    fn causes(story: &Story, now: f64) -> [Option<(Cause, Option<f64>, u64)>; 2] {
        let verdict = story.state().verdict(at(now));
        [verdict.held_by, verdict.then]
            .map(|hold| hold.map(|hold| (hold.cause, hold.until.map(Timestamp::as_secs_f64), hold.calls)))
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

    /// One call backs off until second 2.
    fn backing_off(story: &mut Story) {
        story.call(1, Origin::Chat).emit(1, attempt(1, 1));
        story.emit(1, failed(1, FailureClass::ServerError, Some(500), 9));
        story.emit(1, retry(2, FailureClass::ServerError, story.now, 2000, None));
    }

    #[test]
    fn nothing_runs_and_nothing_is_held() {
        let verdict = Story::begin().state().verdict(at(1.0));
        let nothing = Verdict {
            held_by: None,
            then: None,
            flowing_per_s: None,
        };
        assert_eq!(verdict, nothing);
    }

    #[test]
    fn an_open_breaker_holds_even_when_nothing_runs_until_its_time_is_over() {
        let mut story = Story::begin();
        story.emit(0, opened(5.0));
        assert_eq!(
            causes(&story, 0.8),
            [Some((Cause::BreakerOpen, Some(5.0), 0)), None]
        );
        assert_eq!(causes(&story, 5.0), [None, None]);
        let mode = BreakerMode::ForcedOpen;
        story.emit(0, EventKind::BreakerForced { mode });
        assert_eq!(causes(&story, 9.0), [Some((Cause::BreakerForced, None, 0)), None]);
    }

    #[test]
    fn the_longest_wait_comes_first() {
        let mut story = Story::begin();
        story.emit(0, opened(5.0));
        backing_off(&mut story);
        let breaker = Some((Cause::BreakerOpen, Some(5.0), 0));
        let back_off = Some((Cause::BackOff, Some(2.0), 1));
        assert_eq!(causes(&story, 0.0), [breaker, back_off]);
        let mut story = Story::begin();
        story.emit(0, opened(1.0));
        backing_off(&mut story);
        let breaker = Some((Cause::BreakerOpen, Some(1.0), 0));
        assert_eq!(causes(&story, 0.0), [back_off, breaker]);
    }

    #[test]
    fn a_probe_that_is_out_holds_the_others() {
        let mut story = Story::begin();
        story.emit(
            0,
            moved(
                BreakerState::Open,
                BreakerState::HalfOpen,
                2,
                MoveReason::CoolDown,
                None,
            ),
        );
        assert_eq!(causes(&story, 1.0), [None, None]);
        let probe = EventKind::BreakerAdmitted {
            generation: 2,
            probe: true,
            window: WindowCounts::default(),
        };
        story.emit(1, probe);
        assert_eq!(causes(&story, 1.0), [Some((Cause::ProbeOut, None, 0)), None]);
    }

    #[test]
    fn the_head_of_the_queue_is_asked_again() {
        let mut story = Story::begin();
        let concurrency = story.state().session.policy.limit.concurrency;
        for call in [1, 2] {
            story.call(call, Origin::Chat);
            story.emit(call, queued(Constraint::Tokens, Some(3.0), call as u32));
        }
        assert_eq!(causes(&story, 1.0), [Some((Cause::Tokens, Some(3.0), 2)), None]);
        // the tokens have come, but the slots are gone
        story.emit(3, admitted(at(0.0), concurrency, 2));
        assert_eq!(causes(&story, 4.0)[0], Some((Cause::Slots, None, 2)));
        // nothing is left to wait for: still what it was queued for
        story.emit(3, settled(at(0.0), 0));
        assert_eq!(causes(&story, 4.0)[0], Some((Cause::Tokens, None, 2)));
        // a pause stops all
        story.emit(0, EventKind::LimitPaused { until: at(6.0) });
        assert_eq!(causes(&story, 4.0)[0], Some((Cause::Paused, Some(6.0), 2)));
    }

    #[test]
    fn requests_are_short_until_one_is_there() {
        let mut story = Story::begin();
        let EventKind::LimitAdmitted { tokens, .. } = admitted(at(0.0), 1, 1) else {
            panic!("not admitted");
        };
        let requests = story.state().limit.requests.unwrap().debited(60);
        story
            .call(1, Origin::Chat)
            .emit(1, queued(Constraint::Slots, None, 1));
        story.emit(
            2,
            EventKind::LimitSettled {
                reserved: 1,
                charged: 1,
                refunded: false,
                requests,
                tokens,
                in_use: 1,
                user: None,
            },
        );
        // five requests a second
        assert_eq!(causes(&story, 0.1)[0], Some((Cause::Requests, Some(0.2), 1)));
    }

    #[test]
    fn the_next_try_is_the_earliest() {
        let mut story = Story::begin();
        backing_off(&mut story);
        story.call(2, Origin::Chat).emit(2, attempt(1, 2));
        story.emit(2, failed(1, FailureClass::Reset, None, 9));
        story.emit(2, retry(2, FailureClass::Reset, story.now, 9000, None));
        assert_eq!(causes(&story, 1.0)[0], Some((Cause::BackOff, Some(2.0), 2)));
    }

    #[test]
    fn a_server_that_takes_its_time_or_loads() {
        let mut story = Story::begin();
        story.call(1, Origin::Chat).emit(1, attempt(1, 1));
        story.at(1.0).call(2, Origin::Chat).emit(2, attempt(1, 2));
        assert_eq!(causes(&story, 1.5), [None, None]);
        assert_eq!(causes(&story, 1.6)[0], Some((Cause::Server, None, 1)));
        assert_eq!(causes(&story, 3.0)[0], Some((Cause::Server, None, 2)));
        story.emit(1, first_token(1, 900)).emit(2, first_token(1, 900));
        assert_eq!(causes(&story, 3.0), [None, None]);
        let health = UpstreamHealth::Loading;
        story.emit(0, EventKind::UpstreamProbed { health });
        assert_eq!(causes(&story, 3.0), [Some((Cause::Loading, None, 2)), None]);
    }

    #[test]
    fn a_server_that_was_started_again_and_loads() {
        let mut story = Story::begin();
        let health = UpstreamHealth::Ready { models: Vec::new() };
        story.emit(0, EventKind::UpstreamProbed { health });
        story.call(1, Origin::Chat).emit(1, attempt(1, 1));
        story.emit(1, failed(1, FailureClass::Loading, Some(503), 10));
        story.emit(1, retry(2, FailureClass::Loading, story.now, 250, None));
        assert_eq!(causes(&story, 3.0)[0], Some((Cause::Loading, None, 1)));
    }

    #[test]
    fn the_flow_is_of_answers_over_the_last_seconds() {
        let mut story = Story::begin();
        for call in 1..=30 {
            story.at(6.0 + call as f64 / 10.0).call(call, Origin::Library);
            let fate = if call % 3 == 0 { Fate::Failed } else { Fate::Hit };
            story.emit(call, ended(fate, 0, 1));
        }
        let flow = |now| story.state().verdict(at(now)).flowing_per_s;
        // twenty answers in the 4.5 seconds from 5.0
        assert!((flow(9.5).unwrap() - 20.0 / 4.5).abs() < 1e-9);
        assert_eq!(flow(14.0), None);
        let mut story = Story::begin();
        story
            .at(0.1)
            .call(1, Origin::Chat)
            .emit(1, ended(Fate::Failed, 0, 1));
        assert_eq!(story.state().verdict(at(0.2)).flowing_per_s, Some(0.0));
    }

    #[test]
    fn a_users_own_bucket_holds_that_user_only() {
        let mut story = Story::begin();
        for (call, user) in [(1, "ben"), (2, "ben"), (3, "ann"), (4, "ann")] {
            let kind = started_by(user, call, Origin::Library, story.now);
            story.emit(call, kind);
        }
        story.emit(1, queued(Constraint::UserTokens, Some(3.0), 1));
        story.emit(2, queued(Constraint::UserRequests, Some(4.0), 2));
        let own = Some((Cause::UserTokens, Some(3.0), 2));
        assert_eq!(causes(&story, 0.5), [own, None]);
        let held = |story: &Story, now| story.state().held_user(at(now)).cloned();
        assert_eq!(held(&story, 0.5), Some(UserId::new("ben")));
        // the others wait for what all share, and not for ben
        story.emit(3, queued(Constraint::Tokens, Some(1.0), 3));
        story.emit(4, queued(Constraint::Tokens, Some(1.2), 4));
        let shared = Some((Cause::Tokens, Some(1.0), 2));
        assert_eq!(causes(&story, 0.5), [own, shared]);
        // the first one's forecast is over and its bucket full: what is left of it is the queue of all
        let second = Some((Cause::UserRequests, Some(4.0), 1));
        assert_eq!(causes(&story, 3.5)[1], second);
        // a pause is of all
        story.emit(0, EventKind::LimitPaused { until: at(9.0) });
        assert_eq!(causes(&story, 0.5), [Some((Cause::Paused, Some(9.0), 4)), None]);
        assert_eq!(held(&story, 0.5), None);
        // an unknown call is still held by its forecast
        let mut stray = Story::begin();
        stray.emit(7, queued(Constraint::UserTokens, Some(3.0), 1));
        assert_eq!(
            causes(&stray, 0.5),
            [Some((Cause::UserTokens, Some(3.0), 1)), None]
        );
        assert_eq!(held(&stray, 0.5), None);
    }

    #[test]
    fn an_own_bucket_without_a_forecast_is_read_for_itself() {
        let mut story = Story::begin();
        let mut policy = crate::settings::Policy::default();
        let bucket = crate::settings::Bucket {
            capacity: 60,
            refill: 60,
            per: Duration::from_mins(1),
        };
        policy.limit.each_user.requests = Some(bucket.clone());
        let policy = Box::new(policy);
        story.emit(0, EventKind::PolicyApplied { policy });
        let empty = BucketLevel::full(&bucket, story.now).debited(61);
        let user = UserLevels {
            user: UserId::new("ann"),
            requests: Some(empty),
            tokens: None,
        };
        let mut kind = admitted(story.now, 1, 0);
        if let EventKind::LimitAdmitted { user: levels, .. } = &mut kind {
            *levels = Some(Box::new(user));
        }
        for call in [1, 2] {
            let kind = started_by("ann", call, Origin::Library, story.now);
            story.emit(call, kind);
        }
        story
            .emit(1, kind)
            .emit(2, queued(Constraint::UserRequests, None, 1));
        let own = Some((Cause::UserRequests, Some(2.0), 1));
        assert_eq!(causes(&story, 0.5)[0], own);
        assert_ne!(
            causes(&story, 2.5)[0].map(|cause| cause.0),
            Some(Cause::UserRequests)
        );
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
