//! The limiter in front of attempts.

use std::time::Duration;

use super::rig::{Rig, cold, millis, secs, steady, tick, warm};
use super::script::{Reply, Step, error};
use crate::client::{CallContext, CallStream};
use crate::event::{Constraint, EventKind, FailureClass, Fate, LimitReject, Phase, UserId};
use crate::settings::{Bucket, Counts, Policy, QueueOrder};

/// One request per second, burst of one.
fn one_per_second() -> Policy {
    let mut policy = steady();
    policy.limit.requests = Bucket {
        capacity: 1,
        refill: 1,
        per: secs(1),
    };
    policy
}

/// LLM tokens in the bucket at the last settlement.
fn tokens_left(rig: &Rig) -> f64 {
    let levels = rig.find(|event| match event.kind {
        EventKind::LimitSettled { tokens, .. } => Some(tokens.level_at(event.at)),
        _ => None,
    });
    *levels.last().unwrap()
}

#[tokio::test(start_paused = true)]
async fn the_queue_is_served_in_order() {
    let rig = Rig::new(one_per_second());
    let calls: Vec<_> = (0..5).map(|n| rig.call(&warm(&format!("{n}")))).collect();
    for call in calls {
        call.finish().await.unwrap();
    }
    assert_eq!(rig.attempt_times(), [0.0, 1.0, 2.0, 3.0, 4.0]);
    let order: Vec<u64> = rig.upstream.sent().iter().map(|sent| sent.call.0).collect();
    assert_eq!(order, [1, 2, 3, 4, 5]);
    let queued = rig.find(|event| match event.kind {
        EventKind::LimitQueued {
            constraint,
            position,
            ready_at,
            ..
        } => Some((
            constraint,
            position,
            ready_at.map(crate::time::Timestamp::as_secs_f64),
        )),
        _ => None,
    });
    let expected: Vec<_> = (1..5)
        .map(|n| (Constraint::Requests, n, Some(f64::from(n))))
        .collect();
    assert_eq!(queued, expected);
    rig.done().await;
}

#[tokio::test(start_paused = true)]
async fn slots_bound_concurrency() {
    let mut policy = steady();
    policy.limit.concurrency = 2;
    let rig = Rig::new(policy);
    rig.upstream
        .push(vec![Step::from(Reply::says(&["a"]).after(secs(1))); 6]);
    let calls: Vec<_> = (0..6).map(|n| rig.call(&warm(&format!("{n}")))).collect();
    tick().await;
    assert_eq!(rig.upstream.open(), 2);
    for call in calls {
        call.finish().await.unwrap();
    }
    assert_eq!(rig.attempt_times(), [0.0, 0.0, 1.0, 1.0, 2.0, 2.0]);
    rig.done().await;
}

#[tokio::test(start_paused = true)]
async fn rejects_a_call_that_cannot_be_served_in_time_at_once() {
    let mut policy = one_per_second();
    policy.limit.max_wait = secs(2);
    policy.limit.max_waiters = 2;
    let rig = Rig::new(policy);
    let running = rig.call(&warm("0"));
    let waiting = rig.call(&warm("1"));
    tick().await;
    let late = rig
        .call_within(&warm("2"), millis(1500))
        .finish()
        .await
        .unwrap_err();
    let third = rig.call(&warm("3"));
    tick().await;
    let full = rig.ask(&warm("4")).await.unwrap_err();
    let large = rig.ask(&warm(&"5".repeat(100_000))).await.unwrap_err();
    let rejections = rig.find(|event| match event.kind {
        EventKind::LimitRejected {
            reason, predicted, ..
        } => Some((reason, predicted)),
        _ => None,
    });
    assert_eq!(
        rejections,
        [
            (LimitReject::Deadline, Some(secs(2))),
            (LimitReject::QueueFull, Some(secs(2))),
            (LimitReject::TooLarge, None)
        ]
    );
    for error in [late, full, large] {
        assert_eq!(
            (error.fate, error.failure.class),
            (Fate::RateLimited, FailureClass::LimitRejected)
        );
    }
    for call in [running, waiting, third] {
        call.finish().await.unwrap();
    }
    rig.done().await;
}

#[tokio::test(start_paused = true)]
async fn of_a_large_answer_limit_no_more_is_reserved_than_the_buckets_hold() {
    let mut policy = steady();
    policy.limit.tokens.capacity = 1000;
    let own = policy.limit.users.entry("default".into()).or_default();
    own.tokens = Some(Bucket {
        capacity: 600,
        ..policy.limit.tokens.clone()
    });
    let rig = Rig::new(policy);
    rig.ask(&warm("hi").max_tokens(128_000)).await.unwrap();
    let settled = rig.find(|event| match event.kind {
        EventKind::LimitSettled {
            reserved, charged, ..
        } => Some((reserved, charged)),
        _ => None,
    });
    assert_eq!(settled, [(600, 7)]);
    // the prompt alone is what no bucket holds
    let large = rig.ask(&warm(&"x".repeat(2600)).max_tokens(1)).await.unwrap_err();
    assert_eq!(
        (large.fate, large.failure.phase),
        (Fate::RateLimited, Phase::Final)
    );
    assert!(
        large.failure.message.contains("shorten the prompt"),
        "{}",
        large.failure
    );
    rig.done().await;
}

#[tokio::test(start_paused = true)]
async fn tokens_are_reserved_and_settled_by_usage() {
    let mut policy = steady();
    policy.limit.tokens.per = secs(86_400);
    let rig = Rig::new(policy);
    rig.ask(&cold("hi").max_tokens(1000)).await.unwrap();
    let settled = rig.find(|event| match event.kind {
        EventKind::LimitSettled {
            reserved, charged, ..
        } => Some((reserved, charged)),
        _ => None,
    });
    // 5 for the prompt by estimate; 7 in all by the server's count
    assert_eq!(settled, [(1005, 7)]);
    assert!((tokens_left(&rig) - 19_993.0).abs() < 1.0);
    rig.done().await;
}

#[tokio::test(start_paused = true)]
async fn attempts_that_may_have_been_billed_stay_charged() {
    let rig = Rig::scripted([error(500, "", "boom").into(), error(500, "", "boom").into()]);
    rig.ask(&cold("hi").max_tokens(95)).await.unwrap_err();
    let charged = rig.find(|event| match event.kind {
        EventKind::LimitSettled { charged, .. } => Some(charged),
        _ => None,
    });
    assert_eq!(charged, [100, 100]);
    rig.done().await;
}

#[tokio::test(start_paused = true)]
async fn a_waiter_that_leaves_wakes_the_next_one() {
    let rig = Rig::new(one_per_second());
    let mut calls: Vec<_> = (0..4).map(|n| rig.call(&warm(&format!("{n}")))).collect();
    tick().await;
    drop(calls.remove(1));
    tick().await;
    let left = rig.find(|event| match event.kind {
        EventKind::LimitLeft { waiting } => Some(waiting),
        _ => None,
    });
    assert_eq!(left, [2]);
    for call in calls {
        call.finish().await.unwrap();
    }
    assert_eq!(rig.attempt_times(), [0.0, 1.0, 2.0]);
    rig.done().await;
}

/// A new policy wakes the waiters of the old one.
#[tokio::test(start_paused = true)]
async fn a_new_policy_wakes_the_waiters() {
    let mut policy = steady();
    policy.limit.concurrency = 1;
    let rig = Rig::new(policy.clone());
    rig.upstream
        .push(vec![Step::from(Reply::says(&["a"]).after(secs(10))); 3]);
    let calls: Vec<_> = (0..3).map(|n| rig.call(&warm(&format!("{n}")))).collect();
    rig.sleep(secs(1)).await;
    policy.limit.concurrency = 3;
    rig.client.apply(policy);
    for call in calls {
        call.finish().await.unwrap();
    }
    assert_eq!(rig.attempt_times(), [0.0, 1.0, 1.0]);
    rig.done().await;
}

#[tokio::test(start_paused = true)]
async fn retries_cost_nothing_if_calls_are_charged() {
    for (charges, admitted, times) in [
        (Counts::Attempt, 3, [0.0, 1.0, 2.01]),
        (Counts::Call, 1, [0.0, 0.51, 1.52]),
    ] {
        let mut policy = one_per_second();
        policy.limit.charges = charges;
        let rig = Rig::new(policy);
        rig.upstream.push(vec![Step::from(error(503, "", "busy")); 2]);
        rig.ask(&cold("hi")).await.unwrap();
        let admissions =
            rig.find(|event| matches!(event.kind, EventKind::LimitAdmitted { .. }).then_some(()));
        assert_eq!(admissions.len(), admitted, "{charges:?}");
        assert_eq!(rig.attempt_times(), times, "{charges:?}");
        rig.done().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_rejected_retry_ends_with_the_error_of_the_last_attempt() {
    let mut policy = one_per_second();
    policy.limit.requests.per = secs(100);
    let rig = Rig::new(policy);
    rig.upstream.push([error(503, "", "busy").into()]);
    let failed = rig.ask(&cold("hi")).await.unwrap_err();
    assert_eq!(
        (failed.fate, failed.failure.class),
        (Fate::Failed, FailureClass::Unavailable)
    );
    let stops = rig.find(|event| match event.kind {
        EventKind::RetryStopped { attempt, reason, .. } => Some((attempt, reason)),
        _ => None,
    });
    assert_eq!(stops, [(1, crate::event::StopReason::RateLimited)]);
    rig.done().await;
}

#[tokio::test(start_paused = true)]
async fn a_disabled_limiter_admits_every_call() {
    let mut policy = one_per_second();
    policy.limit.enabled = false;
    let rig = Rig::new(policy);
    let calls: Vec<_> = (0..50).map(|n| rig.call(&warm(&format!("{n}")))).collect();
    for call in calls {
        call.finish().await.unwrap();
    }
    assert!(rig.now().as_secs_f64() < 0.1);
    assert_eq!(
        rig.events()
            .last()
            .map(|event| event.at.since(crate::time::Timestamp::ZERO)),
        Some(Duration::from_millis(10))
    );
    rig.done().await;
}

/// The forecast on arrival cannot know of slots that never return.
#[tokio::test(start_paused = true)]
async fn no_waiter_waits_longer_than_max_wait() {
    let mut policy = steady();
    policy.limit.concurrency = 1;
    policy.limit.max_wait = secs(3);
    let rig = Rig::new(policy);
    rig.upstream.push([Step::Hang]);
    let hangs = rig.call(&warm("hangs"));
    let waits: Vec<_> = (0..3).map(|n| rig.call(&warm(&format!("{n}")))).collect();
    for call in waits {
        let error = call.finish().await.unwrap_err();
        assert_eq!(
            (error.fate, error.failure.class),
            (Fate::RateLimited, FailureClass::LimitRejected)
        );
        assert_eq!(
            error.failure.message.as_str(),
            "rate limiter: waited for limit.max_wait"
        );
    }
    assert_eq!(rig.millis(), 3000);
    drop(hangs);
    rig.done().await;
}

fn call_of(rig: &Rig, user: &str, prompt: &str) -> CallStream {
    let context = CallContext {
        user: UserId::new(user),
        ..CallContext::default()
    };
    rig.client.call(&warm(prompt), context)
}

/// One runs, three of the same user wait, and the queue is full when another user comes.
#[tokio::test(start_paused = true)]
async fn a_full_queue_displaces_the_user_with_the_most_calls() {
    let mut policy = one_per_second();
    policy.limit.max_waiters = 3;
    let rig = Rig::new(policy);
    let mut flood: Vec<_> = (0..4).map(|n| call_of(&rig, "noisy", &format!("{n}"))).collect();
    tick().await;
    let modest = call_of(&rig, "modest", "hi");
    let error = flood.pop().unwrap().finish().await.unwrap_err();
    assert_eq!(
        (error.fate, error.failure.class, rig.millis()),
        (Fate::RateLimited, FailureClass::LimitRejected, 0)
    );
    assert_eq!(
        error.failure.message.as_str(),
        "rate limiter: queue full, displaced by a user with fewer waiting calls"
    );
    // it had the newest position; its event shows the queue without it and before the other call joins
    let queue_events = rig.find(|event| match &event.kind {
        EventKind::LimitRejected {
            reason,
            predicted,
            waiting,
            ..
        } => Some((event.call.unwrap().0, *reason, *predicted, *waiting)),
        EventKind::LimitQueued { waiting, .. } => {
            Some((event.call.unwrap().0, LimitReject::QueueFull, None, *waiting))
        }
        _ => None,
    });
    let queued = |call, waiting| (call, LimitReject::QueueFull, None, waiting);
    let displaced = (4, LimitReject::Displaced, None, 2);
    assert_eq!(
        queue_events,
        [queued(2, 1), queued(3, 2), queued(4, 3), displaced, queued(5, 3)]
    );
    for call in flood.into_iter().chain([modest]) {
        call.finish().await.unwrap();
    }
    // in fair order the other user precedes the last call of the flood
    let order: Vec<u64> = rig.upstream.sent().iter().map(|sent| sent.call.0).collect();
    assert_eq!(order, [1, 2, 5, 3]);
    rig.done().await;
}

#[tokio::test(start_paused = true)]
async fn in_order_of_arrival_no_call_is_displaced() {
    let mut policy = one_per_second();
    policy.limit.max_waiters = 2;
    policy.limit.order = QueueOrder::Fifo;
    let rig = Rig::new(policy);
    let flood: Vec<_> = (0..3).map(|n| call_of(&rig, "noisy", &format!("{n}"))).collect();
    tick().await;
    let error = call_of(&rig, "modest", "hi").finish().await.unwrap_err();
    assert_eq!(error.fate, Fate::RateLimited);
    assert!(
        error
            .failure
            .message
            .starts_with("rate limiter: queue full (2 waiting); retry in"),
        "{}",
        error.failure.message
    );
    for call in flood {
        call.finish().await.unwrap();
    }
    rig.done().await;
}

/// A displaced call that leaves at once has one end and leaves nothing behind.
#[tokio::test(start_paused = true)]
async fn a_displaced_call_may_leave_before_it_is_polled() {
    let mut policy = one_per_second();
    policy.limit.max_waiters = 2;
    let rig = Rig::new(policy);
    let mut flood: Vec<_> = (0..3).map(|n| call_of(&rig, "noisy", &format!("{n}"))).collect();
    tick().await;
    let modest = call_of(&rig, "modest", "hi");
    // the newcomer's flight takes the position while the displaced one is not polled
    tokio::task::yield_now().await;
    drop(flood.pop());
    for call in flood.into_iter().chain([modest]) {
        call.finish().await.unwrap();
    }
    let fates = rig.fates();
    assert!(
        matches!(fates[2], Fate::RateLimited | Fate::Cancelled),
        "{fates:?}"
    );
    rig.done().await;
}

/// A waiter of the shared bucket is charged to it, even if its user has a bucket of its own by then.
#[tokio::test(start_paused = true)]
async fn a_waiter_of_the_shared_bucket_stays_there_when_more_users_are_allowed() {
    let mut policy = one_per_second();
    policy.limit.each_user.requests = Some(Bucket {
        capacity: 3,
        refill: 1,
        per: secs(10),
    });
    policy.limit.max_users = 1;
    let rig = Rig::new(policy.clone());
    let calls = ["ana", "ben"].map(|user| call_of(&rig, user, "hi"));
    tick().await;
    policy.limit.max_users = 3;
    rig.client.apply(policy);
    for call in calls {
        call.finish().await.unwrap();
    }
    call_of(&rig, "ben", "ho").finish().await.unwrap();
    let charged = rig.find(|event| match &event.kind {
        EventKind::LimitAdmitted { user: Some(own), .. } => Some(own.user.to_string()),
        _ => None,
    });
    assert_eq!(charged, ["ana", "(others)", "ben"]);
    rig.done().await;
}
