//! Calls that share one upstream call, and idempotent replay.

use std::sync::atomic::{AtomicBool, Ordering};

use super::rig::{Rig, cold, millis, secs, steady, tick, warm};
use super::script::{Part, Reply, Step, error};
use crate::client::{CallContext, Chunk};
use crate::event::{AttemptResult, CallId, EventKind, FailureClass, Fate, Sample};

/// A slow stream: words at 10, 1010 and 2010 ms.
fn slow() -> Reply {
    Reply::stream()
        .word("a")
        .wait(secs(1))
        .word("b")
        .wait(secs(1))
        .word("c")
        .stop()
        .done()
}

fn handed_over(rig: &Rig) -> Vec<(Option<CallId>, CallId)> {
    rig.find(|event| match event.kind {
        EventKind::FlightHandedOver { from, .. } => Some((event.call, from)),
        _ => None,
    })
}

#[tokio::test(start_paused = true)]
async fn identical_calls_share_one_attempt_and_get_the_same_bytes() {
    let rig = Rig::scripted([slow().into()]);
    let mut calls: Vec<_> = (0..6).map(|_| rig.call(&cold("hi"))).collect();
    rig.sleep(millis(1500)).await;
    // a late call reads from the beginning
    calls.push(rig.call(&cold("hi")));
    for (position, mut call) in calls.into_iter().enumerate() {
        let mut chunks = Vec::new();
        while let Some(chunk) = call.next().await {
            chunks.push(chunk);
        }
        assert_eq!(chunks, ["a", "b", "c"].map(|text| Chunk::Text(text.into())));
        let answer = call.finish().await.unwrap();
        let fate = if position == 0 {
            Fate::Answered
        } else {
            Fate::Shared
        };
        assert_eq!((answer.fate, answer.text.as_str()), (fate, "abc"));
    }
    assert_eq!(rig.upstream.sent().len(), 1);
    let joined = rig.find(|event| match event.kind {
        EventKind::FlightJoined {
            owner, subscribers, ..
        } => Some((owner.0, subscribers)),
        _ => None,
    });
    assert_eq!(joined, [(1, 2), (1, 3), (1, 4), (1, 5), (1, 6), (1, 7)]);
    rig.done().await;
}

#[tokio::test(start_paused = true)]
async fn different_calls_are_not_shared() {
    let rig = Rig::new(steady());
    let other_user = CallContext {
        user: crate::event::UserId::new("eve"),
        ..CallContext::default()
    };
    let fresh = CallContext {
        fresh: true,
        ..CallContext::default()
    };
    let calls = [
        rig.call(&cold("hi")),
        rig.client.call(&cold("hi"), other_user),
        rig.client.call(&cold("hi"), fresh),
        rig.call(&cold("hi").max_tokens(5)),
        rig.call(&warm("hi")),
        rig.call(&warm("hi")),
    ];
    for call in calls {
        assert_eq!(call.finish().await.unwrap().fate, Fate::Answered);
    }
    assert_eq!(rig.upstream.sent().len(), 6);
    rig.done().await;
}

#[tokio::test(start_paused = true)]
async fn followers_are_not_affected_when_the_leader_leaves() {
    let rig = Rig::scripted([slow().into()]);
    let leader = rig.call(&cold("hi"));
    let second = rig.call(&cold("hi"));
    let third = rig.call(&cold("hi"));
    rig.sleep(millis(500)).await;
    drop(leader);
    tick().await;
    drop(second);
    tick().await;
    assert_eq!(
        handed_over(&rig),
        [(Some(CallId(2)), CallId(1)), (Some(CallId(3)), CallId(2))]
    );
    let answer = third.finish().await.unwrap();
    // it owns the flight now, so its fate is that of an owner
    assert_eq!((answer.text.as_str(), answer.fate), ("abc", Fate::Answered));
    assert_eq!(rig.upstream.sent().len(), 1);
    assert_eq!(rig.fates(), [Fate::Cancelled, Fate::Cancelled, Fate::Answered]);
    rig.done().await;
}

#[tokio::test(start_paused = true)]
async fn a_follower_leaves_and_nothing_is_handed_over() {
    let rig = Rig::scripted([slow().into()]);
    let leader = rig.call(&cold("hi"));
    let follower = rig.call(&cold("hi"));
    rig.sleep(millis(500)).await;
    drop(follower);
    assert_eq!(leader.finish().await.unwrap().text, "abc");
    assert_eq!(handed_over(&rig), []);
    assert_eq!(rig.fates(), [Fate::Answered, Fate::Cancelled]);
    rig.done().await;
}

#[tokio::test(start_paused = true)]
async fn everything_is_released_when_the_last_caller_leaves() {
    let rig = Rig::scripted([slow().into()]);
    let calls: Vec<_> = (0..4).map(|_| rig.call(&cold("hi"))).collect();
    rig.sleep(millis(500)).await;
    drop(calls);
    rig.done().await;
    assert_eq!(rig.fates(), [Fate::Cancelled; 4]);
    // a new call of the same kind starts from the beginning
    assert_eq!(rig.ask(&cold("hi")).await.unwrap().text, "hello sea");
    rig.done().await;
}

/// Between the last caller's departure and the end of the flight's task, the next call must not join it.
#[tokio::test(start_paused = true)]
async fn no_call_joins_an_abandoned_flight() {
    let rig = Rig::scripted([slow().into()]);
    let first = rig.call(&cold("hi"));
    rig.sleep(millis(500)).await;
    drop(first);
    let second = rig.call(&cold("hi"));
    assert_eq!(second.finish().await.unwrap().text, "hello sea");
    assert_eq!(rig.fates(), [Fate::Cancelled, Fate::Answered]);
    rig.done().await;
}

#[tokio::test(start_paused = true)]
async fn a_follower_keeps_its_own_deadline() {
    let rig = Rig::scripted([slow().into()]);
    let leader = rig.call(&cold("hi"));
    let hasty = rig.call_within(&cold("hi"), millis(1500));
    let failed = hasty.finish().await.unwrap_err();
    assert_eq!(rig.millis(), 1500);
    assert_eq!(
        (failed.fate, failed.failure.class),
        (Fate::Interrupted, FailureClass::Deadline)
    );
    assert_eq!(failed.partial, "ab");
    assert_eq!(leader.finish().await.unwrap().text, "abc");
    rig.done().await;
}

#[tokio::test(start_paused = true)]
async fn a_leader_whose_deadline_passes_hands_over() {
    let rig = Rig::scripted([slow().into()]);
    let hasty = rig.call_within(&cold("hi"), millis(1500));
    let patient = rig.call(&cold("hi"));
    assert_eq!(
        hasty.finish().await.unwrap_err().failure.class,
        FailureClass::Deadline
    );
    assert_eq!(handed_over(&rig), [(Some(CallId(2)), CallId(1))]);
    assert_eq!(patient.finish().await.unwrap().text, "abc");
    rig.done().await;
}

/// The latest deadline counts: a retry may wait beyond the leader's own.
#[tokio::test(start_paused = true)]
async fn a_retry_is_made_for_the_latest_deadline() {
    let rig = Rig::scripted([error(503, "", "busy").into()]);
    let hasty = rig.call_within(&cold("hi"), millis(400));
    let patient = rig.call(&cold("hi"));
    assert_eq!(
        hasty.finish().await.unwrap_err().failure.class,
        FailureClass::Deadline
    );
    assert_eq!(rig.millis(), 400);
    let answer = patient.finish().await.unwrap();
    assert_eq!(
        (answer.fate, rig.attempt_times()),
        (Fate::Answered, vec![0.0, 0.51])
    );
    rig.done().await;
}

/// A slow reader gets the end with the chunks up to that time, not with later ones.
#[tokio::test(start_paused = true)]
async fn a_call_that_has_ended_gets_no_more_chunks() {
    let rig = Rig::scripted([slow().into()]);
    let leader = rig.call(&cold("hi"));
    let mut hasty = rig.call_within(&cold("hi"), millis(1500));
    leader.finish().await.unwrap();
    let mut received = Vec::new();
    while let Some(chunk) = hasty.next().await {
        received.push(chunk);
    }
    assert_eq!(received, ["a", "b"].map(|text| Chunk::Text(text.into())));
    assert_eq!(hasty.finish().await.unwrap_err().partial, "ab");
    rig.done().await;
}

#[tokio::test(start_paused = true)]
async fn an_error_is_shared_and_not_stored() {
    let rig = Rig::scripted([error(400, "invalid_request_error", "no").after(secs(1)).into()]);
    let calls: Vec<_> = (0..3).map(|_| rig.call(&cold("hi"))).collect();
    for call in calls {
        let failed = call.finish().await.unwrap_err();
        assert_eq!(
            (failed.fate, failed.failure.class),
            (Fate::Failed, FailureClass::Invalid)
        );
    }
    assert_eq!(rig.upstream.sent().len(), 1);
    assert_eq!(rig.ask(&cold("hi")).await.unwrap().fate, Fate::Answered);
    rig.done().await;
}

#[tokio::test(start_paused = true)]
async fn a_key_is_replayed_to_the_same_request_only() {
    let rig = Rig::new(steady());
    let first = rig.keyed(&warm("hi"), "k").finish().await.unwrap();
    let again = rig.keyed(&warm("hi"), "k").finish().await.unwrap();
    assert_eq!((again.fate, again.text), (Fate::Hit, first.text));
    let other = rig.keyed(&warm("ho"), "k").finish().await.unwrap_err();
    assert_eq!(
        (other.fate, other.failure.class),
        (Fate::Failed, FailureClass::Invalid)
    );
    assert_eq!(rig.upstream.sent().len(), 1);
    // another key, another call
    assert_eq!(
        rig.keyed(&warm("hi"), "l").finish().await.unwrap().fate,
        Fate::Answered
    );
    // and the result expires
    rig.sleep(secs(600)).await;
    assert_eq!(
        rig.keyed(&warm("hi"), "k").finish().await.unwrap().fate,
        Fate::Answered
    );
    rig.done().await;
}

#[tokio::test(start_paused = true)]
async fn a_key_in_flight_is_joined_or_refused() {
    let rig = Rig::scripted([slow().into()]);
    let first = rig.keyed(&warm("hi"), "k");
    let same = rig.keyed(&warm("hi"), "k");
    let other = rig.keyed(&warm("ho"), "k").finish().await.unwrap_err();
    assert_eq!(other.failure.class, FailureClass::Invalid);
    assert_eq!(first.finish().await.unwrap().fate, Fate::Answered);
    assert_eq!(same.finish().await.unwrap().fate, Fate::Shared);
    assert_eq!(rig.upstream.sent().len(), 1);
    rig.done().await;
}

#[tokio::test(start_paused = true)]
async fn the_failure_of_a_key_is_not_replayed() {
    let rig = Rig::scripted([error(400, "", "no").into()]);
    assert!(rig.keyed(&warm("hi"), "k").finish().await.is_err());
    assert_eq!(
        rig.keyed(&warm("hi"), "k").finish().await.unwrap().fate,
        Fate::Answered
    );
    rig.done().await;
}

#[tokio::test(start_paused = true)]
async fn a_panic_ends_its_own_call_and_no_other() {
    for step in [Step::Panic, Reply::stream().word("a").part(Part::Panic).into()] {
        let rig = Rig::scripted([Reply::says(&["fine"]).after(secs(1)).into(), step]);
        let other = rig.call(&warm("other"));
        tick().await;
        let calls = [rig.call(&cold("hi")), rig.call(&cold("hi"))];
        for call in calls {
            let failed = call.finish().await.unwrap_err();
            assert_eq!(
                (failed.fate, failed.failure.class),
                (Fate::Failed, FailureClass::Internal)
            );
            assert!(
                failed.failure.message.as_str().contains("scripted"),
                "{}",
                failed.failure
            );
        }
        assert_eq!(other.finish().await.unwrap().text, "fine");
        let panics = rig.find(|event| match &event.kind {
            EventKind::TaskPanicked { text } => Some(text.to_string()),
            _ => None,
        });
        assert_eq!(panics, ["scripted"]);
        // a panic is not a cancellation: it counts as a failure (row 51 of the fault matrix)
        let samples = rig.find(|event| match event.kind {
            EventKind::BreakerRecorded { sample, .. } => Some(sample),
            _ => None,
        });
        assert_eq!(samples, [Sample::Failed, Sample::Ok]);
        let results = rig.find(|event| match &event.kind {
            EventKind::AttemptEnded {
                result: AttemptResult::Failed { failure },
                ..
            } => Some(failure.class),
            _ => None,
        });
        assert_eq!(results, [FailureClass::Internal]);
        assert_eq!(rig.ask(&cold("hi")).await.unwrap().fate, Fate::Answered);
        rig.done().await;
    }
}

/// On many threads callers with one key arrive in every order: one upstream call or an error, never two calls.
#[test]
fn on_many_threads_a_key_means_one_upstream_call() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(4)
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let mut policy = steady();
        policy.limit.enabled = false;
        let rig = std::sync::Arc::new(Rig::new(policy));
        for round in 0..40 {
            let quick = Reply::says(&["a"]).after(millis(0));
            rig.upstream.push(vec![Step::from(quick); 8]);
            let before = rig.upstream.sent().len();
            let mut tasks = tokio::task::JoinSet::new();
            for n in 0..8 {
                let rig = std::sync::Arc::clone(&rig);
                tasks.spawn(async move {
                    let prompt = if n % 4 == 3 { "other" } else { "hi" };
                    let call = rig.keyed(&warm(&format!("{prompt}{round}")), &format!("k{round}"));
                    call.finish()
                        .await
                        .map(|answer| answer.text)
                        .map_err(|error| error.failure.class)
                });
            }
            let results = tasks.join_all().await;
            assert!(
                results
                    .iter()
                    .all(|result| result == &Ok("a".into()) || result == &Err(FailureClass::Invalid))
            );
            assert_eq!(rig.upstream.sent().len() - before, 1, "round {round}");
        }
    });
}

/// On real threads, because in virtual time nothing happens between two looks: a call that arrives while a flight
/// completes finds the flight or its stored answer.
#[test]
fn a_call_that_arrives_while_a_flight_completes_starts_no_second_one() {
    const ROUNDS: usize = 200;
    let mut policy = steady();
    policy.limit.enabled = false;
    let rig = Rig::new(policy);
    rig.upstream
        .push((0..2 * ROUNDS).map(|_| Step::from(Reply::says(&["a"]))));
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_time()
        .build()
        .unwrap();
    let _entered = runtime.enter();
    for round in 0..ROUNDS {
        let request = cold(&format!("p{round}"));
        let first = rig.call(&request);
        let completed = AtomicBool::new(false);
        std::thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| {
                    let _entered = runtime.enter();
                    while !completed.load(Ordering::Relaxed) {
                        drop(rig.call(&request));
                    }
                });
            }
            let answer = runtime.block_on(first.finish());
            completed.store(true, Ordering::Relaxed);
            assert_eq!(answer.unwrap().text, "a");
        });
    }
    let flights = rig.find(|event| matches!(event.kind, EventKind::FlightStarted { .. }).then_some(()));
    assert_eq!(flights.len(), ROUNDS);
}
