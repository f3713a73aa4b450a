use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::*;
use crate::client::{Env, ResilientClient};
use crate::event::{
    AttemptResult, BreakerMode, BreakerState, CallOptions, Event, EventKind, Failure, FailureClass, Fate,
    Finish, Hint, HintSource, ModelName, MoveReason, Observer, Origin, Phase, Sharing, UserId, WindowCounts,
};
use crate::openai::Usage;
use crate::settings::Policy;
use crate::time::Clock;

fn secs(seconds: u64) -> Timestamp {
    Timestamp::ZERO + Duration::from_secs(seconds)
}

fn apply(traffic: &mut Traffic, at: Timestamp, call: Option<u64>, kind: EventKind) {
    traffic.apply(&Event {
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
    apply(traffic, at, Some(call), kind);
}

fn attempt(traffic: &mut Traffic, at: Timestamp, call: u64, took: Duration, result: AttemptResult) {
    let flight = FlightId(call);
    apply(
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
    apply(traffic, at + took, Some(call), ended);
}

fn answered() -> AttemptResult {
    AttemptResult::Succeeded {
        finish: Finish::Stop,
        usage: Usage::new(9, 5),
        estimated: false,
    }
}

#[test]
fn the_oldest_calls_are_dropped_and_the_faults_in_force_stay() {
    let mut traffic = Traffic::keeping(100);
    let profile = FaultProfile {
        server_error: 0.5,
        ..FaultProfile::default()
    };
    let on = EventKind::FaultsApplied {
        on: true,
        profile: Box::new(profile),
    };
    apply(&mut traffic, secs(1), None, on);
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
        traffic.faults.len(),
        1,
        "the faults in force apply to all calls that stay"
    );
}

#[test]
fn a_breaker_that_was_forced_before_the_oldest_call_stays_forced() {
    let force = |mode| EventKind::BreakerForced { mode };
    let (open, automatic) = (BreakerMode::ForcedOpen, BreakerMode::Automatic);
    let forced = TimedCommand {
        at: secs(1),
        command: Command::SetBreaker { mode: open },
    };
    for (released, commands) in [(None, vec![forced]), (Some(automatic), vec![])] {
        let mut traffic = Traffic::keeping(8);
        apply(&mut traffic, secs(1), None, force(open));
        if let Some(mode) = released {
            apply(&mut traffic, secs(2), None, force(mode));
        }
        for call in 1..=20 {
            begin(&mut traffic, secs(10 * call), call, "prompt", "1");
        }
        assert!(traffic.call(CallId(1)).is_none());
        assert_eq!(traffic.commands(), commands);
    }
}

#[test]
fn the_oldest_call_that_stays_began_with_a_closed_breaker() {
    let moved = |from, to| EventKind::BreakerMoved {
        model: None,
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
                apply(&mut traffic, secs(10 * call), None, moved(closed, open));
            }
            if call == closes_at {
                apply(&mut traffic, secs(10 * call), None, moved(open, closed));
            }
            begin(&mut traffic, secs(10 * call), call, "prompt", "1");
        }
        assert_eq!(traffic.calls().first().unwrap().call, CallId(oldest));
    }
}

#[test]
fn flights_are_counted_from_the_flight_of_the_oldest_call() {
    let mut traffic = Traffic::keeping(8);
    for call in 1..=20 {
        begin(&mut traffic, secs(10 * call), call, "prompt", "1");
        let flight = EventKind::FlightStarted {
            flight: FlightId(100 + call),
            sharing: Sharing::default(),
        };
        apply(&mut traffic, secs(10 * call), Some(call), flight);
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
    let requests: Vec<_> = traffic.calls().iter().map(RecordedCall::request).collect();
    assert_eq!(requests[0], requests[2]);
    assert_eq!(requests[1], requests[3]);
    assert!(requests[0] != requests[1] && requests[0] != requests[4] && requests[1] != requests[4]);
}

#[test]
fn a_reset_is_distinguished_from_a_forced_breaker() {
    let moved = || EventKind::BreakerMoved {
        model: None,
        from: BreakerState::Open,
        to: BreakerState::Closed,
        generation: 2,
        reason: MoveReason::Manual,
        until: None,
        window: WindowCounts::default(),
    };
    let forced = |mode| EventKind::BreakerForced { mode };
    let mut traffic = Traffic::default();
    apply(&mut traffic, secs(1), None, forced(BreakerMode::ForcedOpen));
    apply(&mut traffic, secs(1), None, moved());
    apply(&mut traffic, secs(2), None, moved());
    apply(&mut traffic, secs(3), None, forced(BreakerMode::Automatic));
    let commands: Vec<Command> = traffic
        .commands()
        .into_iter()
        .map(|timed| timed.command)
        .collect();
    let set = |mode| Command::SetBreaker { mode };
    let expected = [
        set(BreakerMode::ForcedOpen),
        Command::ResetBreaker,
        set(BreakerMode::Automatic),
    ];
    assert_eq!(commands, expected);
}

#[tokio::test(start_paused = true)]
async fn a_call_is_answered_by_its_own_attempt_or_by_one_near_in_time() {
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
    let upstream = ReplayUpstream::new(&Arc::new(traffic), 7, Clock::start()).unwrap();
    let chosen = |now, call| upstream.choose(secs(now), CallId(call), 1).unwrap();
    let (own, is_own) = chosen(52, 50);
    assert!(is_own && own.call == CallId(50));
    let mut drawn = std::collections::BTreeSet::new();
    for call in 200..400 {
        let (near, is_own) = chosen(50, call);
        assert!(!is_own && (40..=60).contains(&near.call.0), "{near:?}");
        drawn.insert(near.call.0);
    }
    assert_eq!(drawn.len(), 20, "each of the nearest is drawn");
    // too late for its own attempt and far from the others: only the last one
    let (near, is_own) = chosen(1000, 1);
    assert!(!is_own && near.call.0 == 100);
}

#[tokio::test(start_paused = true)]
async fn behind_an_open_breaker_its_probes_answer_and_not_the_healthy_attempts() {
    let mut traffic = Traffic::default();
    // much traffic before and after a minute with one probe
    let times = (0..100).chain([130]).chain(160..260);
    for (call, at) in (1..).zip(times) {
        begin(&mut traffic, secs(at), call, "p", "f");
        attempt(&mut traffic, secs(at), call, Duration::ZERO, answered());
    }
    let upstream = ReplayUpstream::new(&Arc::new(traffic), 7, Clock::start()).unwrap();
    let at = |now, call| upstream.choose(secs(now), CallId(call), 1).unwrap().0.at;
    for call in 1000..1100 {
        assert_eq!(at(120, call), secs(130));
        assert_eq!(at(144, call), secs(130));
        assert!(at(105, call) < secs(100) && at(105, call) >= secs(95));
        assert!(at(155, call) >= secs(160) && at(155, call) <= secs(165));
    }
}

#[test]
fn traffic_without_calls_or_attempts_cannot_be_replayed() {
    let mut traffic = Traffic::default();
    assert_eq!(traffic.upstream_model(), Err(TrafficError::NoCalls));
    begin(&mut traffic, secs(1), 1, "p", "f");
    attempt(&mut traffic, secs(1), 1, Duration::ZERO, AttemptResult::Cancelled);
    assert_eq!(traffic.upstream_model(), Err(TrafficError::NoAttempts));
    attempt(&mut traffic, secs(2), 1, Duration::ZERO, answered());
    assert_eq!(
        traffic.upstream_model(),
        Ok(UpstreamModel::Recorded { attempts: 1 })
    );
    begin(&mut traffic, Timestamp::MAX, 2, "p", "f");
    assert!(matches!(traffic.upstream_model(), Err(TrafficError::TooLong(_))));
}

/// Collects the ends of attempts.
#[derive(Clone, Debug, Default)]
struct Ends(Arc<Mutex<Vec<(AttemptResult, Duration)>>>);

impl Observer for Ends {
    fn emit(&self, _: Option<CallId>, kind: EventKind) {
        if let EventKind::AttemptEnded { result, took, .. } = kind {
            self.0.lock().unwrap().push((result, took));
        }
    }
}

/// The end of an attempt that is answered like this recorded one.
async fn replayed(
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
    apply(
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
        apply(
            &mut traffic,
            secs(0) + Duration::from_millis(600),
            Some(1),
            responded,
        );
    }
    if first_token {
        let ttft = Duration::from_millis(700);
        apply(
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
        apply(&mut traffic, secs(0) + ttft, Some(1), text);
    }
    let ended = EventKind::AttemptEnded {
        attempt: 1,
        result,
        took,
    };
    apply(&mut traffic, secs(0) + took, Some(1), ended);
    let clock = Clock::start();
    let upstream = ReplayUpstream::new(&Arc::new(traffic.clone()), 7, clock).unwrap();
    let mut policy = Policy::default();
    policy.retry.attempts = 1;
    let ends = Ends::default();
    let client = ResilientClient::new(policy, upstream, ends.clone(), Env::new(clock, 7));
    let call = traffic.call(CallId(1)).unwrap();
    let mut context = call.context();
    context.deadline = own_deadline.then_some(took);
    drop(client.call(&call.request(), context).finish().await);
    let mut ends = ends.0.lock().unwrap();
    assert_eq!(ends.len(), 1, "{ends:?}");
    ends.remove(0)
}

/// Failures with every class, phase and status that an attempt can have.
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
async fn every_failure_is_reproduced() {
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
        let (replay, took_again) = replayed(result, took, begun, headers).await;
        let AttemptResult::Failed { failure: replay } = replay else {
            panic!("{failure:?} became {replay:?}");
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
        assert_eq!(facts(&replay), facts(&failure));
        assert!(
            took_again.abs_diff(took) < Duration::from_millis(500),
            "{failure:?}: {took_again:?}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn an_answer_is_reproduced_with_its_time_and_tokens() {
    let took = Duration::from_millis(1500);
    let (replay, took_again) = replayed(answered(), took, true, true).await;
    assert_eq!(replay, answered());
    assert!(
        took_again.abs_diff(took) < Duration::from_millis(2),
        "{took_again:?}"
    );
}

#[test]
fn a_cancelled_call_is_cancelled_again() {
    let mut traffic = Traffic::default();
    begin(&mut traffic, secs(1), 1, "p", "f");
    let ended = EventKind::CallEnded {
        fate: Fate::Cancelled,
        attempts: 0,
        failure: None,
        usage: None,
        took: Duration::from_secs(4),
    };
    apply(&mut traffic, secs(5), Some(1), ended);
    assert_eq!(traffic.calls()[0].cancelled_at, Some(secs(5)));
}

/// A call of this model, with its attempt.
fn call_of(traffic: &mut Traffic, call: u64, model: &str, result: AttemptResult) {
    let kind = EventKind::CallStarted {
        origin: Origin::Gateway,
        user: UserId::new("ana"),
        prompt: "p".into(),
        fingerprint: format!("{call}").into(),
        prompt_tokens: 9,
        deadline: secs(call) + Duration::from_mins(10),
        options: CallOptions {
            model: ModelName::new(model),
            ..CallOptions::default()
        },
    };
    apply(traffic, secs(call), Some(call), kind);
    attempt(traffic, secs(call), call, Duration::from_millis(10), result);
}

#[tokio::test(start_paused = true)]
async fn a_model_is_answered_by_the_attempts_of_that_model() {
    let mut traffic = Traffic::default();
    for call in 1..=100 {
        let model = ["good", "bad"][call as usize % 2];
        call_of(&mut traffic, call, model, answered());
    }
    let requests: Vec<_> = traffic
        .calls()
        .iter()
        .take(2)
        .map(RecordedCall::request)
        .collect();
    let models: Vec<_> = requests.iter().map(|request| request.model_name()).collect();
    assert_eq!(models, [Some("bad"), Some("good")]);
    let upstream = ReplayUpstream::new(&Arc::new(traffic), 7, Clock::start()).unwrap();
    let (own, is_own) = upstream.choose(secs(50), CallId(50), 1).unwrap();
    assert!(is_own && own.call == CallId(50));
    for call in 1..=100 {
        let (near, is_own) = upstream.choose(secs(50), CallId(call), 2).unwrap();
        assert!(!is_own && near.call.0 % 2 == call % 2, "{near:?}");
    }
}

#[test]
fn a_command_that_moves_several_breakers_is_one_command() {
    let moved = |model, to, generation| EventKind::BreakerMoved {
        model: ModelName::new(model),
        from: BreakerState::Closed,
        to,
        generation,
        reason: MoveReason::Manual,
        until: None,
        window: WindowCounts::default(),
    };
    let (open, closed) = (BreakerState::Open, BreakerState::Closed);
    let mut traffic = Traffic::default();
    let forced = BreakerMode::ForcedOpen;
    let events = [
        (1, EventKind::BreakerForced { mode: forced }),
        (1, moved("a", open, 1)),
        (1, moved("b", open, 1)),
        // called for the first time
        (2, moved("c", open, 1)),
    ];
    for (second, kind) in events {
        apply(&mut traffic, secs(second), None, kind);
    }
    begin(&mut traffic, secs(3), 1, "p", "f");
    for (generation, model) in [(2, "a"), (2, "b"), (2, "c"), (3, "c")] {
        apply(&mut traffic, secs(4), None, moved(model, closed, generation));
    }
    let commands: Vec<_> = traffic
        .commands()
        .into_iter()
        .map(|one| (one.at, one.command))
        .collect();
    let expected = [
        (secs(1), Command::SetBreaker { mode: forced }),
        (secs(4), Command::ResetBreaker),
        (secs(4), Command::ResetBreaker),
    ];
    assert_eq!(commands, expected);
}
