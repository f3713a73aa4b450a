use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::*;
use crate::client::{Env, ResilientClient};
use crate::event::{
    AttemptResult, BreakerMode, BreakerState, CallOptions, Event, EventKind, Failure, FailureClass, Fate,
    Finish, Hint, HintSource, MoveReason, Observer, Origin, Phase, Sharing, UserId, WindowCounts,
};
use crate::openai::Usage;
use crate::settings::Policy;
use crate::time::Clock;

fn secs(seconds: u64) -> Timestamp {
    Timestamp::ZERO + Duration::from_secs(seconds)
}

/// Events, told at their times.
fn tell(traffic: &mut Traffic, at: Timestamp, call: Option<u64>, kind: EventKind) {
    traffic.take(&Event {
        seq: 0,
        at,
        call: call.map(CallId),
        kind,
    });
}

fn begin(traffic: &mut Traffic, at: Timestamp, call: u64, prompt: &str, fingerprint: &str) {
    let kind = EventKind::CallStarted {
        origin: Origin::Library,
        user: UserId::new("ana"),
        prompt: prompt.into(),
        fingerprint: fingerprint.into(),
        prompt_tokens: 9,
        deadline: at + Duration::from_mins(10),
        options: CallOptions {
            stream: true,
            ..CallOptions::default()
        },
    };
    tell(traffic, at, Some(call), kind);
}

fn attempt(traffic: &mut Traffic, at: Timestamp, call: u64, took: Duration, result: AttemptResult) {
    let flight = FlightId(call);
    tell(
        traffic,
        at,
        Some(call),
        EventKind::AttemptStarted { attempt: 1, flight },
    );
    let ended = EventKind::AttemptEnded {
        attempt: 1,
        result,
        took,
    };
    tell(traffic, at + took, Some(call), ended);
}

fn answered() -> AttemptResult {
    AttemptResult::Succeeded {
        finish: Finish::Stop,
        usage: Usage::new(9, 5),
        estimated: false,
    }
}

#[test]
fn the_oldest_go_and_what_held_for_the_rest_stays() {
    let mut traffic = Traffic::keeping(100);
    let profile = FaultProfile {
        server_error: 0.5,
        ..FaultProfile::default()
    };
    let on = EventKind::FaultsApplied {
        on: true,
        profile: Box::new(profile),
    };
    tell(&mut traffic, secs(1), None, on);
    for call in 1..=1000 {
        let at = secs(10 * call);
        begin(
            &mut traffic,
            at,
            call,
            &format!("prompt {call}"),
            &format!("{call}"),
        );
        attempt(&mut traffic, at, call, Duration::from_secs(1), answered());
        assert!(traffic.calls().len() <= 100);
    }
    assert!(traffic.calls().len() >= 75);
    assert!(traffic.attempts().count() <= 100);
    assert!(traffic.fold.prompts_kept() <= 100);
    let last = traffic.calls().last().unwrap();
    assert_eq!(last.call, CallId(1000));
    assert_eq!(traffic.call(CallId(990)).unwrap().prompt.as_ref(), "prompt 990");
    assert_eq!(traffic.call(CallId(1)), None);
    assert_eq!(
        traffic.faults().len(),
        1,
        "the faults that are on hold for all that stay"
    );
}

#[test]
fn a_breaker_that_was_forced_before_the_oldest_call_is_forced_still() {
    let force = |mode| EventKind::BreakerForced { mode };
    let (open, automatic) = (BreakerMode::ForcedOpen, BreakerMode::Automatic);
    for (let_go, deeds) in [
        (None, vec![(secs(1), Deed::Force(open))]),
        (Some(automatic), vec![]),
    ] {
        let mut traffic = Traffic::keeping(8);
        tell(&mut traffic, secs(1), None, force(open));
        if let Some(mode) = let_go {
            tell(&mut traffic, secs(2), None, force(mode));
        }
        for call in 1..=20 {
            begin(&mut traffic, secs(10 * call), call, "prompt", "1");
        }
        assert!(traffic.call(CallId(1)).is_none());
        assert_eq!(traffic.deeds(), deeds);
    }
}

#[test]
fn the_oldest_that_stays_found_the_breaker_closed() {
    let moved = |from, to| EventKind::BreakerMoved {
        from,
        to,
        reason: MoveReason::Manual,
        generation: 1,
        window: WindowCounts::default(),
        until: None,
    };
    let (closed, open) = (BreakerState::Closed, BreakerState::Open);
    for (closes_at, oldest) in [(29, 29), (60, 26)] {
        let mut traffic = Traffic::keeping(100);
        for call in 1..=101 {
            if call == 20 {
                tell(&mut traffic, secs(10 * call), None, moved(closed, open));
            }
            if call == closes_at {
                tell(&mut traffic, secs(10 * call), None, moved(open, closed));
            }
            begin(&mut traffic, secs(10 * call), call, "prompt", "1");
        }
        assert_eq!(traffic.calls().first().unwrap().call, CallId(oldest));
    }
}

#[test]
fn flights_are_counted_from_that_of_the_oldest_call() {
    let mut traffic = Traffic::keeping(8);
    for call in 1..=20 {
        begin(&mut traffic, secs(10 * call), call, "prompt", "1");
        let flight = EventKind::FlightStarted {
            flight: FlightId(100 + call),
            sharing: Sharing::default(),
        };
        tell(&mut traffic, secs(10 * call), Some(call), flight);
    }
    let oldest = traffic.calls().first().unwrap().call;
    assert_eq!(traffic.first_flight(), Some(FlightId(100 + oldest.0)));
}

#[test]
fn equal_fingerprints_make_equal_requests_and_others_do_not() {
    let mut traffic = Traffic::default();
    for (call, fingerprint) in [(1, "a"), (2, "b"), (3, "a"), (4, "b"), (5, "c")] {
        begin(&mut traffic, secs(call), call, "the same words", fingerprint);
    }
    let requests: Vec<_> = traffic.calls().iter().map(RecordedCall::again).collect();
    assert_eq!(requests[0], requests[2]);
    assert_eq!(requests[1], requests[3]);
    assert!(requests[0] != requests[1] && requests[0] != requests[4] && requests[1] != requests[4]);
}

#[test]
fn a_reset_is_told_from_a_forced_breaker() {
    let moved = || EventKind::BreakerMoved {
        from: BreakerState::Open,
        to: BreakerState::Closed,
        generation: 2,
        reason: MoveReason::Manual,
        until: None,
        window: WindowCounts::default(),
    };
    let forced = |mode| EventKind::BreakerForced { mode };
    let mut traffic = Traffic::default();
    tell(&mut traffic, secs(1), None, forced(BreakerMode::ForcedOpen));
    tell(&mut traffic, secs(1), None, moved());
    tell(&mut traffic, secs(2), None, moved());
    tell(&mut traffic, secs(3), None, forced(BreakerMode::Automatic));
    let deeds: Vec<&Deed> = traffic.deeds().iter().map(|(_, deed)| deed).collect();
    let wanted = [
        &Deed::Force(BreakerMode::ForcedOpen),
        &Deed::Reset,
        &Deed::Force(BreakerMode::Automatic),
    ];
    assert_eq!(deeds, wanted);
}

#[tokio::test(start_paused = true)]
async fn its_own_attempt_answers_a_call_or_one_near_in_time() {
    let mut traffic = Traffic::default();
    for call in 1..=100 {
        begin(&mut traffic, secs(call), call, "p", "f");
        attempt(
            &mut traffic,
            secs(call),
            call,
            Duration::from_millis(10),
            answered(),
        );
    }
    let seen = SeenUpstream::new(&Arc::new(traffic), 7, Clock::start()).unwrap();
    let chosen = |now, call| seen.choose(secs(now), CallId(call), 1).unwrap();
    let (own, is_own) = chosen(52, 50);
    assert!(is_own && own.call == CallId(50));
    let mut drawn = std::collections::BTreeSet::new();
    for call in 200..400 {
        let (near, is_own) = chosen(50, call);
        assert!(!is_own && (40..=60).contains(&near.call.0), "{near:?}");
        drawn.insert(near.call.0);
    }
    assert_eq!(drawn.len(), 20, "each of the nearest is drawn");
    // too late for its own, and far from all that is known: the last one alone
    let (near, is_own) = chosen(1000, 1);
    assert!(!is_own && near.call.0 == 100);
}

#[tokio::test(start_paused = true)]
async fn behind_an_open_breaker_its_probes_tell_how_the_upstream_was_and_not_the_good_times() {
    let mut traffic = Traffic::default();
    // much traffic before and after, and one probe in the minute between
    let times = (0..100).chain([130]).chain(160..260);
    for (call, at) in (1..).zip(times) {
        begin(&mut traffic, secs(at), call, "p", "f");
        attempt(&mut traffic, secs(at), call, Duration::ZERO, answered());
    }
    let seen = SeenUpstream::new(&Arc::new(traffic), 7, Clock::start()).unwrap();
    let at = |now, call| seen.choose(secs(now), CallId(call), 1).unwrap().0.at;
    for call in 1000..1100 {
        assert_eq!(at(120, call), secs(130));
        assert_eq!(at(144, call), secs(130));
        assert!(at(105, call) < secs(100) && at(105, call) >= secs(95));
        assert!(at(155, call) >= secs(160) && at(155, call) <= secs(165));
    }
}

#[test]
fn without_calls_or_attempts_nothing_can_be_asked() {
    let mut traffic = Traffic::default();
    assert_eq!(traffic.answerer(), Err(TrafficError::NoCalls));
    begin(&mut traffic, secs(1), 1, "p", "f");
    attempt(&mut traffic, secs(1), 1, Duration::ZERO, AttemptResult::Cancelled);
    assert_eq!(traffic.answerer(), Err(TrafficError::NothingSeen));
    attempt(&mut traffic, secs(2), 1, Duration::ZERO, answered());
    assert_eq!(traffic.answerer(), Ok(Answerer::Seen(1)));
    begin(&mut traffic, Timestamp::MAX, 2, "p", "f");
    assert!(matches!(traffic.answerer(), Err(TrafficError::TooLong(_))));
}

/// Hears how attempts end.
#[derive(Clone, Debug, Default)]
struct Ends(Arc<Mutex<Vec<(AttemptResult, Duration)>>>);

impl Observer for Ends {
    fn emit(&self, _: Option<CallId>, kind: EventKind) {
        if let EventKind::AttemptEnded { result, took, .. } = kind {
            self.0.lock().unwrap().push((result, took));
        }
    }
}

/// The end of the attempt that is answered as this one was.
async fn asked_again(
    result: AttemptResult,
    took: Duration,
    first_token: bool,
    headers: bool,
) -> (AttemptResult, Duration) {
    let mut traffic = Traffic::default();
    let own_deadline =
        matches!(&result, AttemptResult::Failed { failure } if failure.class == FailureClass::Deadline);
    begin(&mut traffic, secs(0), 1, "p", "f");
    let flight = FlightId(1);
    tell(
        &mut traffic,
        secs(0),
        Some(1),
        EventKind::AttemptStarted { attempt: 1, flight },
    );
    if headers {
        let responded = EventKind::AttemptResponded {
            attempt: 1,
            status: 200,
        };
        tell(
            &mut traffic,
            secs(0) + Duration::from_millis(600),
            Some(1),
            responded,
        );
    }
    if first_token {
        let ttft = Duration::from_millis(700);
        tell(
            &mut traffic,
            secs(0) + ttft,
            Some(1),
            EventKind::AttemptFirstToken { attempt: 1, ttft },
        );
        let text = EventKind::StreamDelta {
            text: "some words".into(),
            chunks: 2,
            reasoning: false,
        };
        tell(&mut traffic, secs(0) + ttft, Some(1), text);
    }
    let ended = EventKind::AttemptEnded {
        attempt: 1,
        result,
        took,
    };
    tell(&mut traffic, secs(0) + took, Some(1), ended);
    let clock = Clock::start();
    let seen = SeenUpstream::new(&Arc::new(traffic.clone()), 7, clock).unwrap();
    let mut policy = Policy::default();
    policy.retry.attempts = 1;
    let ends = Ends::default();
    let client = ResilientClient::new(policy, seen, ends.clone(), Env::new(clock, 7));
    let call = traffic.call(CallId(1)).unwrap();
    let mut context = call.context();
    context.deadline = own_deadline.then_some(took);
    drop(client.call(&call.again(), context).finish().await);
    let mut ends = ends.0.lock().unwrap();
    assert_eq!(ends.len(), 1, "{ends:?}");
    ends.remove(0)
}

/// Class, phase and status of everything that an attempt can come to.
fn failures() -> Vec<Failure> {
    use FailureClass as C;
    use Phase::{Ambiguous, Begun, Delivered, Final, NotSent, Refused};
    let table: &[(C, Phase, &[u16])] = &[
        (C::RateLimited, Refused, &[200, 429, 503]),
        (C::Quota, Final, &[200, 402, 403, 429]),
        (C::RequestTimeout, Refused, &[200, 408, 425]),
        (C::Conflict, Ambiguous, &[409]),
        (C::Conflict, Begun, &[200]),
        (C::ServerError, Ambiguous, &[500, 505, 599]),
        (C::ServerError, Begun, &[200, 204]),
        (C::BadGateway, Ambiguous, &[502, 504, 522]),
        (C::BadGateway, Begun, &[200]),
        (C::Unavailable, Refused, &[200, 503]),
        (C::Overloaded, Refused, &[200, 503, 529]),
        (C::Loading, Refused, &[200, 503]),
        (C::Invalid, Final, &[200, 400, 422, 500]),
        (C::ContextLength, Final, &[200, 400, 413]),
        (C::ContextLength, Ambiguous, &[500]),
        (C::ContextLength, Begun, &[200]),
        (C::Auth, Final, &[200, 400, 401, 403]),
        (C::NotFound, Final, &[200, 400, 404]),
        (C::TooLarge, Final, &[200, 413]),
        (C::Unsupported, Final, &[200, 500, 501]),
        (C::Redirect, Final, &[302, 307]),
        (C::NotAnApi, Final, &[200, 204, 511]),
        (C::Malformed, Begun, &[200, 204]),
        (C::Malformed, Final, &[200]),
        (C::Truncated, Begun, &[200]),
        (C::Interrupted, Delivered, &[200]),
        (C::Stalled, Begun, &[200]),
        (C::Stalled, Delivered, &[200]),
        (C::NoProgress, Begun, &[200]),
        (C::NoProgress, Delivered, &[200]),
        (C::Oversize, Final, &[200]),
        (C::Oversize, Delivered, &[200]),
    ];
    let silent = [
        (C::Connect, NotSent),
        (C::ConnectTimeout, NotSent),
        (C::Dns, NotSent),
        (C::Dns, Final),
        (C::Tls, Final),
        (C::Reset, Ambiguous),
        (C::HeaderTimeout, Ambiguous),
        (C::Deadline, Ambiguous),
        (C::Deadline, Begun),
        (C::Deadline, Delivered),
    ];
    let of = |class, phase| Failure::new(class, phase, "then");
    let spoken = table.iter().flat_map(|(class, phase, statuses)| {
        statuses.iter().map(|status| Failure {
            status: Some(*status),
            ..of(*class, *phase)
        })
    });
    let hinted = [HintSource::RetryAfter, HintSource::RetryAfterMs].map(|source| Failure {
        status: Some(429),
        hint: Some(Hint {
            wait: Duration::from_millis(2500),
            source,
        }),
        should_retry: Some(false),
        ..of(C::RateLimited, Refused)
    });
    let urged = Failure {
        status: Some(401),
        should_retry: Some(true),
        ..of(C::Auth, Refused)
    };
    let silent = silent.map(|(class, phase)| of(class, phase));
    silent
        .into_iter()
        .chain(spoken)
        .chain(hinted)
        .chain([urged])
        .collect()
}

#[tokio::test(start_paused = true)]
async fn every_failure_comes_again_as_what_it_was() {
    for failure in failures() {
        let took = match failure.class {
            FailureClass::HeaderTimeout => Duration::from_mins(1),
            FailureClass::Stalled => Duration::from_secs(66),
            FailureClass::NoProgress => Duration::from_secs(121),
            _ => Duration::from_millis(1500),
        };
        let result = AttemptResult::Failed {
            failure: failure.clone(),
        };
        let begun = failure.phase == Phase::Delivered;
        let headers = begun || failure.phase == Phase::Begun || failure.status.is_some();
        let (again, took_again) = asked_again(result, took, begun, headers).await;
        let AttemptResult::Failed { failure: again } = again else {
            panic!("{failure:?} became {again:?}");
        };
        let facts = |failure: &Failure| {
            (
                failure.class,
                failure.phase,
                failure.status,
                failure.hint,
                failure.should_retry,
            )
        };
        assert_eq!(facts(&again), facts(&failure));
        assert!(
            took_again.abs_diff(took) < Duration::from_millis(500),
            "{failure:?}: {took_again:?}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn an_answer_comes_again_as_long_and_as_dear() {
    let took = Duration::from_millis(1500);
    let (again, took_again) = asked_again(answered(), took, true, true).await;
    assert_eq!(again, answered());
    assert!(
        took_again.abs_diff(took) < Duration::from_millis(2),
        "{took_again:?}"
    );
}

#[test]
fn who_left_leaves_again() {
    let mut traffic = Traffic::default();
    begin(&mut traffic, secs(1), 1, "p", "f");
    let ended = EventKind::CallEnded {
        fate: Fate::Cancelled,
        attempts: 0,
        failure: None,
        usage: None,
        took: Duration::from_secs(4),
    };
    tell(&mut traffic, secs(5), Some(1), ended);
    assert_eq!(traffic.calls()[0].left_at(), Some(secs(5)));
}
