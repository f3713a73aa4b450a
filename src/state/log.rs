//! The log: relevant events as sentences.
//!
//! Not every event has a line: admissions, deltas and stored answers have none, and a queue has one when it
//! forms, not for each call in it.

mod guards;
mod policy;
mod semantic;
mod sentence;

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

pub(super) use self::sentence::Views;
use super::Session;
use crate::event::{CallId, Event};
use crate::text::SafeText;
use crate::time::Timestamp;

/// Lines kept.
const MAX_LINES: usize = 10_000;

/// The newest 10,000 lines.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Log {
    /// Oldest first.
    pub lines: VecDeque<LogLine>,
    /// Lines dropped.
    pub dropped: u64,
}

/// One line.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LogLine {
    /// The `seq` of its event.
    pub seq: u64,
    /// Time of the event.
    pub at: Timestamp,
    /// The word before the sentence; filters and colours use it.
    pub kind: LogKind,
    /// The call.
    pub call: Option<CallId>,
    /// The sentence.
    pub text: SafeText,
}

/// Kinds of log lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LogKind {
    /// A call was answered.
    Ok,
    /// From the cache.
    Hit,
    /// By another call's flight.
    Shared,
    /// Another attempt follows.
    Retry,
    /// A call failed or was interrupted.
    Fail,
    /// The breaker refused a call.
    Refused,
    /// The limiter limited a call.
    Limited,
    /// The breaker moved.
    Breaker,
    /// The limiter queues or pauses.
    Bucket,
    /// A fault was injected.
    Inject,
    /// A call was cancelled.
    Stop,
    /// Anything else.
    Note,
}

impl Log {
    pub(super) fn apply(&mut self, event: &Event, before: &Session, views: Views<'_>) {
        let Some((kind, text)) = sentence::of(event, before, views) else {
            return;
        };
        if self.lines.len() >= MAX_LINES {
            self.lines.pop_front();
            self.dropped += 1;
        }
        self.lines.push_back(LogLine {
            seq: event.seq,
            at: event.at,
            kind,
            call: event.call,
            text: text.into(),
        });
    }
}

impl LogKind {
    /// The word in the log, at most 7 characters.
    pub fn label(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Hit => "hit",
            Self::Shared => "shared",
            Self::Retry => "retry",
            Self::Fail => "fail",
            Self::Refused => "refused",
            Self::Limited => "limited",
            Self::Breaker => "break",
            Self::Bucket => "bucket",
            Self::Inject => "inject",
            Self::Stop => "stop",
            Self::Note => "note",
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use crate::event::{
        BreakerState, Constraint, EventKind, EvictReason, FailureClass, Fate, Hint, HintSource, LimitReject,
        MoveReason, Origin, StopReason, UpstreamHealth, WindowCounts,
    };
    use crate::openai::Usage;
    use crate::settings::{FaultKind, FaultProfile, Policy, QueueOrder, SemanticMode};
    use crate::state::fixture::{
        Story, attempt, delta, ended, failed, moved, queued, retry, session, started, succeeded,
    };

    /// `word sentence` of every line after the first two, which describe the start.
    fn lines(story: &Story) -> Vec<String> {
        let lines = story.state().log.lines;
        let logged = lines
            .iter()
            .skip(2)
            .map(|line| format!("{} {}", line.kind.label(), line.text));
        logged.collect()
    }

    #[test]
    fn a_change_of_queue_order_is_named() {
        let mut story = Story::begin();
        let mut policy = Policy::default();
        for order in [QueueOrder::Fifo, QueueOrder::Fair] {
            policy.limit.order = order;
            let policy = Box::new(policy.clone());
            story.emit(0, EventKind::PolicyApplied { policy });
        }
        policy.limit.concurrency += 1;
        let mut apply = |policy: &Policy| {
            let policy = Box::new(policy.clone());
            story.emit(0, EventKind::PolicyApplied { policy });
        };
        apply(&policy);
        apply(&policy);
        policy.semantic.mode = SemanticMode::Shadow;
        apply(&policy);
        policy.retry.attempts = 5;
        policy.semantic.mode = SemanticMode::Off;
        policy.semantic.model = Some("\u{1b}[2J".to_owned() + &"long ".repeat(99));
        policy.breaker.open *= 2;
        policy.limit.order = QueueOrder::Fifo;
        apply(&policy);
        policy.name = "exercise".into();
        policy.retry.attempts = 3;
        apply(&policy);
        assert_eq!(
            lines(&story),
            [
                "note the limiter's queue goes first come first served",
                "note the limiter's queue goes fair by user",
                "note policy production: limit.concurrency=17",
                "note policy production applied",
                "note policy production applied: semantic cache in shadow",
                "note policy production: breaker.open=10s, limit.order=fifo, retry.attempts=5 and 2 more",
                "note policy exercise applied",
            ]
        );
        policy.name = "production".into();
        let mut again = Story::begin();
        let mut only = Policy::default();
        only.semantic.model = policy.semantic.model;
        let policy = Box::new(only);
        again.emit(0, EventKind::PolicyApplied { policy });
        let logged = lines(&again).remove(0);
        assert!(
            logged.starts_with("note policy production: semantic.model="),
            "{logged}"
        );
        assert!(
            logged.chars().count() < 90 && !logged.contains('\u{1b}'),
            "{logged}"
        );
    }

    #[test]
    fn a_session_begins_with_where_and_how() {
        let lines = Story::begin().state().log.lines;
        let texts: Vec<_> = lines.iter().map(|line| line.text.as_str()).collect();
        assert_eq!(
            texts,
            ["session started: sim, seed 7", "policy production applied"]
        );
    }

    #[test]
    fn rates_changed_while_faults_are_off_are_logged() {
        let mut story = Story::begin();
        for (on, rate) in [(false, 0.3), (false, 0.35), (true, 0.35), (false, 0.35)] {
            let profile = Box::new(FaultProfile {
                name: "mixed".into(),
                rate_limited: rate,
                ..FaultProfile::default()
            });
            story.emit(0, EventKind::FaultsApplied { on, profile });
        }
        let lines = story.state().log.lines;
        let texts: Vec<_> = lines.iter().skip(2).map(|line| line.text.as_str()).collect();
        assert_eq!(
            texts,
            [
                "faults off",
                "faults off, profile changed to mixed (429 35%)",
                "faults on: mixed (429 35%)",
                "faults off",
            ]
        );
    }

    #[test]
    fn retries_and_faults_read_as_drawn() {
        let mut story = Story::begin();
        let mut policy = Policy::default();
        policy.retry.attempts = 4;
        let policy = Box::new(policy);
        story.emit(0, EventKind::PolicyApplied { policy });
        let profile = Box::new(FaultProfile {
            name: "mixed".into(),
            rate_limited: 0.3,
            server_error: 0.1,
            ..FaultProfile::default()
        });
        story.emit(0, EventKind::FaultsApplied { on: true, profile });
        story.call(33, Origin::Chat).emit(33, attempt(1, 33));
        let fault = FaultKind::RateLimited;
        story.emit(33, EventKind::FaultInjected { attempt: 1, fault });
        story.emit(33, failed(1, FailureClass::RateLimited, Some(429), 200));
        story.emit(33, retry(2, FailureClass::RateLimited, story.now, 820, Some(1)));
        story
            .emit(33, attempt(2, 33))
            .emit(33, failed(2, FailureClass::BadGateway, Some(504), 9));
        story.emit(33, retry(3, FailureClass::BadGateway, story.now, 610, None));
        story
            .emit(33, attempt(3, 33))
            .emit(33, delta("x"))
            .emit(33, succeeded(3, 500));
        story.emit(33, ended(Fate::Answered, 3, 2410));
        let expected = [
            "note policy production: retry.attempts=4",
            "inject faults on: mixed (429 30%, 500 10%)",
            "inject #33 429 (fault profile mixed)",
            "retry #33 attempt 2/4 in 0.82s (429, Retry-After: 1)",
            "retry #33 attempt 3/4 in 0.61s (504)",
            "ok #33 answered, 3 attempts, 2.41s, 60 tokens",
        ];
        assert_eq!(lines(&story), expected);
    }

    #[test]
    fn a_retry_names_the_source_of_its_wait() {
        for (source, words) in [
            (HintSource::RetryAfterMs, "retry-after-ms: 1500"),
            (HintSource::RetryAfter, "Retry-After: 1.5"),
            (HintSource::RetryAfterDate, "Retry-After in 1.5s"),
            (HintSource::Body, "error body: retry in 1.5s"),
            (HintSource::Message, "message: retry in 1.5s"),
            (HintSource::LimitReset, "limit resets in 1.5s"),
        ] {
            let mut story = Story::begin();
            story.call(33, Origin::Chat).emit(33, attempt(1, 33));
            story.emit(33, failed(1, FailureClass::RateLimited, Some(429), 200));
            let mut scheduled = retry(2, FailureClass::RateLimited, story.now, 820, Some(1));
            if let EventKind::RetryScheduled { hint, .. } = &mut scheduled {
                let wait = Duration::from_millis(1500);
                *hint = Some(Hint { wait, source });
            }
            story.emit(33, scheduled);
            let wanted = format!("(429, {words})");
            assert!(
                lines(&story).iter().any(|line| line.ends_with(&wanted)),
                "{wanted}: {:?}",
                lines(&story)
            );
        }
    }

    #[test]
    fn guards_say_what_they_did_and_why() {
        let mut story = Story::begin();
        let now = story.at(42.1).now;
        let (closed, open, half) = (BreakerState::Closed, BreakerState::Open, BreakerState::HalfOpen);
        story.emit(0, moved(closed, open, 1, MoveReason::FailureRate, Some(47.1)));
        story.call(36, Origin::Chat);
        let until = Some(now + Duration::from_millis(4200));
        story
            .emit(
                36,
                EventKind::BreakerRefused {
                    model: None,
                    until,
                    window: WindowCounts::default(),
                },
            )
            .emit(36, ended(Fate::CircuitOpen, 0, 0));
        story.emit(0, moved(open, half, 2, MoveReason::CoolDown, None));
        story.emit(0, moved(half, open, 3, MoveReason::ProbeFailed, Some(52.1)));
        story.emit(0, moved(open, closed, 4, MoveReason::Manual, None));
        story
            .call(37, Origin::Chat)
            .emit(37, queued(Constraint::Tokens, Some(42.5), 1));
        story
            .call(38, Origin::Chat)
            .emit(38, queued(Constraint::Tokens, Some(42.9), 2));
        let rejected = EventKind::LimitRejected {
            reason: LimitReject::WaitTooLong,
            predicted: Some(Duration::from_secs(75)),
            waiting: 2,
            levels: None,
        };
        story
            .call(39, Origin::Chat)
            .emit(39, rejected)
            .emit(39, ended(Fate::RateLimited, 0, 0));
        let until = now + Duration::from_secs(2);
        story.emit(0, EventKind::LimitPaused { until });
        let hit = EventKind::CacheHit {
            age: Duration::from_secs(9),
            saved: Usage::new(12, 400),
            saved_time: Duration::from_secs(1),
            text: "a\nb".into(),
        };
        story
            .emit(32, started(32, Origin::Chat, now))
            .emit(32, hit)
            .emit(32, ended(Fate::Hit, 0, 0));
        let expected = [
            "break breaker sim: open: 11 of 20 calls failed (55% >= 50%), cool-down 5.0s",
            "refused #36 circuit open, probe in 4.2s",
            "break breaker sim: half-open, a few probes pass",
            "break breaker sim: open: probe failed, cool-down 10s",
            "break breaker sim: reset",
            "bucket #37 queued for the token bucket, next admission in 0.4s",
            "limited #39 forecast wait 1m15s exceeds limit.max_wait",
            "bucket paused for 2.0s, requested by the server",
            "hit #32 exact hit, 412 tokens saved",
        ];
        assert_eq!(lines(&story), expected);
    }

    #[test]
    fn failures_say_how_often_and_why_no_more_was_tried() {
        let mut story = Story::begin();
        story.call(30, Origin::Chat).emit(30, attempt(1, 30));
        let (attempt, reason) = (1, StopReason::Budget);
        story
            .emit(
                30,
                EventKind::RetryStopped {
                    attempt,
                    reason,
                    budget: 0.0,
                    budget_max: 0.0,
                    hint: None,
                },
            )
            .emit(30, ended(Fate::Failed, 4, 5800));
        story
            .call(31, Origin::Chat)
            .emit(31, ended(Fate::Failed, 0, 5800));
        story
            .call(32, Origin::Chat)
            .emit(32, ended(Fate::Interrupted, 1, 1500));
        story
            .call(33, Origin::Chat)
            .emit(33, ended(Fate::Cancelled, 1, 1500));
        let expected = [
            "fail #30 failed after 4 attempts, retry budget empty: made up: ServerError",
            "fail #31 failed: made up: ServerError",
            "fail #32 interrupted after 1.50s: made up: Interrupted",
            "stop #33 stopped after 1.50s",
        ];
        assert_eq!(lines(&story), expected);
    }

    #[test]
    fn upstream_health_is_logged_when_it_changes() {
        let mut story = Story::begin();
        let ready = UpstreamHealth::Ready {
            models: vec!["sim-1".into(), "b".into()],
        };
        for health in [
            UpstreamHealth::Loading,
            UpstreamHealth::Loading,
            ready.clone(),
            ready,
        ] {
            story.emit(0, EventKind::UpstreamProbed { health });
        }
        let removed = EventKind::CacheEvicted {
            reason: EvictReason::Cleared,
            removed: 18,
            entries: 0,
            total_bytes: 0,
        };
        story
            .emit(0, removed)
            .emit(0, EventKind::BurstStarted { burst: 1, calls: 50 });
        story.emit(0, EventKind::BurstEnded { burst: 1, calls: 12 });
        let expected = [
            "note upstream is loading its model",
            "note upstream ready: sim-1 and 1 more",
            "note cache cleared, 18 answers removed",
            "note burst 1: 50 calls",
            "stop burst 1 stopped after 12 of 50 calls",
        ];
        assert_eq!(lines(&story), expected);
    }

    #[test]
    fn a_model_the_upstream_lacks_is_logged_with_those_it_has() {
        let mut story = Story::begin();
        let upstream = crate::event::UpstreamInfo {
            host: "h:1".into(),
            model: Some("mine".into()),
            simulated: false,
            loopback: true,
        };
        let started = EventKind::SessionStarted {
            format: crate::event::FORMAT_VERSION,
            seed: 7,
            upstream,
            simulator: None,
        };
        story.emit(0, started);
        for models in [
            vec!["a", "b", "c", "d", "e"],
            vec!["a"],
            vec![],
            vec!["a", "mine"],
        ] {
            let models = models.into_iter().map(crate::text::SafeText::from).collect();
            let health = UpstreamHealth::Ready { models };
            story.emit(0, EventKind::UpstreamProbed { health });
        }
        let logged = lines(&story);
        let expected = [
            "fail upstream ready: no model 'mine' there, but a, b, c and 2 more",
            "fail upstream ready: no model 'mine' there, but a",
            "note upstream ready",
            "note upstream ready: a and 1 more",
        ];
        assert_eq!(logged.get(logged.len() - 4..).unwrap(), expected);
    }

    #[test]
    fn a_model_that_loads_is_waited_for_without_a_count_of_tries() {
        let mut story = Story::begin();
        story.call(33, Origin::Chat).emit(33, attempt(1, 33));
        story.emit(33, failed(1, FailureClass::Loading, Some(503), 10));
        let again = retry(5, FailureClass::Loading, story.now, 1480, None);
        story.emit(33, again);
        assert_eq!(
            lines(&story).last().unwrap(),
            "retry #33 model loading, next attempt in 1.48s"
        );
    }

    #[test]
    fn there_are_fewer_lines_than_events_and_each_is_one_line() {
        let events = session(4, 200);
        let state = crate::state::fixture::fold(&events);
        assert!(state.log.lines.len() * 4 < events.len());
        assert!(state.log.lines.iter().all(|line| !line.text.contains('\n')));
    }
}
