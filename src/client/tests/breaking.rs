//! The breaker in front of attempts.

use super::retrying::refused;
use super::rig::{Rig, cold, millis, secs, steady, tick, warm};
use super::script::{Part, Reply, Step, error};
use crate::event::{
    BreakerMode, BreakerState, EventKind, FailureClass, Fate, MoveReason, Sample, StopReason,
};
use crate::settings::{Counts, Policy};

/// One attempt per call, so that tests can count.
fn single() -> Policy {
    let mut policy = steady();
    policy.retry.attempts = 1;
    policy
}

fn moves(rig: &Rig) -> Vec<(BreakerState, MoveReason)> {
    rig.find(|event| match event.kind {
        EventKind::BreakerMoved { to, reason, .. } => Some((to, reason)),
        _ => None,
    })
}

/// Two good probes close the breaker.
async fn closes(rig: &Rig) {
    for _ in 0..2 {
        rig.ask(&warm("hi")).await.unwrap();
    }
    assert_eq!(
        moves(rig).last(),
        Some(&(BreakerState::Closed, MoveReason::ProbesSucceeded))
    );
}

/// Opens the breaker by five failures in a row.
async fn open(policy: Policy) -> Rig {
    let rig = Rig::new(policy);
    rig.upstream.push(vec![refused(); 5]);
    for _ in 0..5 {
        rig.ask(&warm("hi")).await.unwrap_err();
    }
    assert_eq!(moves(&rig), [(BreakerState::Open, MoveReason::Consecutive)]);
    rig
}

#[tokio::test(start_paused = true)]
async fn it_opens_refuses_probes_and_closes() {
    let rig = open(single()).await;
    let refused = rig.ask(&warm("hi")).await.unwrap_err();
    assert_eq!(
        (refused.fate, refused.failure.class),
        (Fate::CircuitOpen, FailureClass::BreakerRefused)
    );
    assert!(
        refused.failure.message.as_str().contains("5.0s"),
        "{}",
        refused.failure
    );
    assert_eq!(rig.upstream.sent().len(), 5);
    rig.sleep(secs(5)).await;
    // one probe at a time
    rig.upstream.push([Reply::says(&["a"]).after(secs(1)).into()]);
    let probe = rig.call(&warm("hi"));
    tick().await;
    assert_eq!(rig.ask(&warm("hi")).await.unwrap_err().fate, Fate::CircuitOpen);
    probe.finish().await.unwrap();
    rig.ask(&warm("hi")).await.unwrap();
    assert_eq!(
        moves(&rig)[1..],
        [
            (BreakerState::HalfOpen, MoveReason::CoolDown),
            (BreakerState::Closed, MoveReason::ProbesSucceeded)
        ]
    );
    rig.done().await;
}

#[tokio::test(start_paused = true)]
async fn a_failed_probe_opens_for_twice_as_long() {
    let rig = open(single()).await;
    rig.sleep(secs(5)).await;
    rig.upstream.push([refused()]);
    rig.ask(&warm("hi")).await.unwrap_err();
    rig.sleep(millis(9_999)).await;
    assert_eq!(rig.ask(&warm("hi")).await.unwrap_err().fate, Fate::CircuitOpen);
    rig.sleep(millis(1)).await;
    rig.ask(&warm("hi")).await.unwrap();
    rig.done().await;
}

#[tokio::test(start_paused = true)]
async fn a_cancelled_probe_releases_its_permit() {
    let rig = open(single()).await;
    rig.sleep(secs(5)).await;
    for step in [Step::Hang, Reply::stream().part(Part::Hang).into()] {
        rig.upstream.push([step]);
        let probe = rig.call(&warm("hi"));
        rig.sleep(secs(1)).await;
        drop(probe);
        tick().await;
    }
    let samples = rig.find(|event| match event.kind {
        EventKind::BreakerRecorded {
            probe: true, sample, ..
        } => Some(sample),
        _ => None,
    });
    assert_eq!(samples, [Sample::Neutral; 2]);
    closes(&rig).await;
    rig.done().await;
}

#[tokio::test(start_paused = true)]
async fn a_probe_is_judged_by_its_end() {
    let mut policy = single();
    policy.breaker.successes_to_close = 1;
    let rig = open(policy).await;
    rig.sleep(secs(5)).await;
    rig.upstream.push([Reply::stream()
        .word("a")
        .wait(secs(30))
        .word("b")
        .stop()
        .done()
        .into()]);
    let probe = rig.call(&warm("long"));
    rig.sleep(secs(1)).await;
    // one that runs is as many as close it
    assert_eq!(rig.ask(&warm("hi")).await.unwrap_err().fate, Fate::CircuitOpen);
    probe.finish().await.unwrap();
    assert_eq!(
        moves(&rig).last(),
        Some(&(BreakerState::Closed, MoveReason::ProbesSucceeded))
    );
    rig.ask(&warm("hi")).await.unwrap();
    rig.done().await;
}

/// Text at once, then the end of the body without a finish reason, a closed connection or a reset; two calls per
/// second for 45 seconds.
#[tokio::test(start_paused = true)]
async fn streams_that_are_all_cut_are_asked_ever_less() {
    for end in [None, Some(Part::Cut), Some(Part::Reset)] {
        let rig = Rig::new(single());
        let reply = Reply::stream().word("A ").word("tok").wait(secs(2));
        let reply = end.into_iter().fold(reply, Reply::part);
        rig.upstream.push(vec![Step::from(reply); 90]);
        let mut calls = Vec::new();
        for _ in 0..90 {
            calls.push(rig.call(&warm("hi")));
            rig.sleep(millis(500)).await;
        }
        for call in calls {
            call.finish().await.unwrap_err();
        }
        // nine until it opens, then two whenever it is half-open, after 5, 10 and 20 s; the session ends during
        // the last
        assert_eq!(rig.upstream.sent().len(), 9 + 2 + 2 + 1);
        let closed = |(state, _): &(BreakerState, MoveReason)| *state == BreakerState::Closed;
        assert!(!moves(&rig).iter().any(closed));
        rig.upstream.forget_rest();
        rig.done().await;
    }
}

/// Text at once, then silence for longer than the lease.
#[tokio::test(start_paused = true)]
async fn streams_that_fall_silent_do_not_close_it_and_do_not_block_it() {
    let rig = open(single()).await;
    rig.sleep(secs(5)).await;
    rig.upstream
        .push([Reply::stream().word("a").part(Part::Hang).into()]);
    let silent = rig.call(&warm("hi"));
    rig.sleep(secs(1)).await;
    rig.ask(&warm("hi")).await.unwrap();
    // 65 s without a byte fail the probe, which is of this generation
    assert_eq!(
        silent.finish().await.unwrap_err().failure.class,
        FailureClass::Stalled
    );
    assert_eq!(
        moves(&rig).last(),
        Some(&(BreakerState::Open, MoveReason::ProbeFailed))
    );
    rig.sleep(secs(10)).await;
    closes(&rig).await;
    rig.done().await;
}

/// Every answer takes five minutes, a word per second.
#[tokio::test(start_paused = true)]
async fn probes_that_deliver_for_a_lease_close_it() {
    for (end, sample) in [(None, Sample::Neutral), (Some(Part::Cut), Sample::Failed)] {
        let rig = open(single()).await;
        rig.sleep(secs(5)).await;
        let long = (0..300).fold(Reply::stream(), |reply, _| reply.word("a ").wait(secs(1)));
        let long = match end {
            None => long.stop().done(),
            Some(end) => long.part(end),
        };
        rig.upstream.push(vec![Step::from(long); 2]);
        let mut probes = Vec::new();
        for _ in 0..2 {
            probes.push(rig.call(&warm("long")));
            rig.sleep(secs(1)).await;
        }
        assert_eq!(rig.ask(&warm("hi")).await.unwrap_err().fate, Fate::CircuitOpen);
        rig.sleep(secs(57)).await;
        assert_eq!(
            moves(&rig).last(),
            Some(&(BreakerState::HalfOpen, MoveReason::CoolDown))
        );
        rig.sleep(secs(3)).await;
        assert_eq!(
            moves(&rig).last(),
            Some(&(BreakerState::Closed, MoveReason::ProbesSucceeded))
        );
        rig.ask(&warm("hi")).await.unwrap();
        for probe in probes {
            let _end = probe.finish().await;
        }
        let samples = rig.find(|event| match event.kind {
            EventKind::BreakerRecorded { sample, .. } => Some(sample),
            _ => None,
        });
        // the rest of the first one is of half-open; a cut counts all the same
        let first = if sample == Sample::Failed {
            sample
        } else {
            Sample::Late
        };
        assert_eq!(samples[5..], [Sample::Ok, Sample::Ok, Sample::Ok, first, sample]);
        rig.done().await;
    }
}

/// The cut of a stream from before the outage, after it.
#[tokio::test(start_paused = true)]
async fn a_cut_counts_after_the_breaker_has_closed_again() {
    let rig = Rig::new(single());
    let late = |end: Part| Reply::stream().word("a").wait(secs(20)).part(end);
    rig.upstream.push([late(Part::Cut).into()]);
    let cut = rig.call(&warm("cut"));
    tick().await;
    rig.upstream.push(vec![refused(); 5]);
    for _ in 0..5 {
        rig.ask(&warm("hi")).await.unwrap_err();
    }
    rig.sleep(secs(5)).await;
    for _ in 0..2 {
        rig.ask(&warm("hi")).await.unwrap();
    }
    cut.finish().await.unwrap_err();
    let counted = rig.find(|event| match event.kind {
        EventKind::BreakerRecorded {
            generation: 0,
            sample,
            window,
            ..
        } => Some((sample, window.failed)),
        _ => None,
    });
    assert_eq!(counted.last(), Some(&(Sample::Failed, 1)));
    rig.done().await;
}

/// An upstream that fails again as soon as the breaker has closed.
#[tokio::test(start_paused = true)]
async fn the_open_time_doubles_when_it_reopens_soon() {
    let rig = open(single()).await;
    for wait in [5, 10, 20, 40, 60] {
        rig.sleep(millis(wait * 1000 - 1)).await;
        assert_eq!(rig.ask(&warm("hi")).await.unwrap_err().fate, Fate::CircuitOpen);
        rig.sleep(millis(1)).await;
        for _ in 0..2 {
            rig.ask(&warm("hi")).await.unwrap();
        }
        rig.upstream.push(vec![refused(); 5]);
        for _ in 0..5 {
            rig.ask(&warm("hi")).await.unwrap_err();
        }
    }
    rig.done().await;
}

/// Every stream thinks for 900 ms and then answers; a first token after 500 ms is slow.
#[tokio::test(start_paused = true)]
async fn thoughts_are_first_tokens() {
    let mut policy = single();
    policy.breaker.slow_after = millis(500);
    let rig = Rig::new(policy);
    let thought = r#"{"choices":[{"index":0,"delta":{"reasoning_content":"hm "}}]}"#;
    let thinks = (0..9).fold(Reply::stream(), |reply, _| reply.event(thought).wait(millis(100)));
    rig.upstream
        .push(vec![Step::from(thinks.word("a").stop().done()); 20]);
    let mut calls = Vec::new();
    for _ in 0..20 {
        calls.push(rig.call(&warm("hi")));
        rig.sleep(millis(500)).await;
    }
    for call in calls {
        call.finish().await.unwrap();
    }
    assert_eq!(moves(&rig), []);
    rig.done().await;
}

/// An upstream whose streams all break after the first word must not look recovered.
#[tokio::test(start_paused = true)]
async fn streams_that_break_after_their_first_word_do_not_close_it() {
    let rig = open(single()).await;
    rig.sleep(secs(5)).await;
    let broken = Reply::stream().word("a").wait(secs(1)).part(Part::Cut);
    for wait in [10, 20, 40] {
        rig.upstream.push([broken.clone().into()]);
        let cut = rig.ask(&warm("hi")).await.unwrap_err();
        assert_eq!((cut.fate, cut.partial.as_str()), (Fate::Interrupted, "a"));
        assert_eq!(
            moves(&rig).last(),
            Some(&(BreakerState::Open, MoveReason::ProbeFailed))
        );
        rig.sleep(secs(wait)).await;
    }
    rig.done().await;
}

/// While its answer continues, the next calls are the next probes.
#[tokio::test(start_paused = true)]
async fn a_long_answer_blocks_no_probe() {
    let rig = open(single()).await;
    rig.sleep(secs(5)).await;
    rig.upstream.push([Reply::stream()
        .word("a")
        .wait(secs(30))
        .word("b")
        .stop()
        .done()
        .into()]);
    let long = rig.call(&warm("long"));
    rig.sleep(secs(1)).await;
    assert_eq!(
        moves(&rig).last(),
        Some(&(BreakerState::HalfOpen, MoveReason::CoolDown))
    );
    for last in [
        (BreakerState::HalfOpen, MoveReason::CoolDown),
        (BreakerState::Closed, MoveReason::ProbesSucceeded),
    ] {
        rig.ask(&warm("hi")).await.unwrap();
        assert_eq!(moves(&rig).last(), Some(&last));
    }
    long.finish().await.unwrap();
    rig.done().await;
}

#[tokio::test(start_paused = true)]
async fn queued_calls_do_not_hold_the_probe() {
    let mut policy = single();
    policy.limit.concurrency = 1;
    policy.limit.requests.capacity = 60;
    let rig = open(policy).await;
    rig.sleep(secs(5)).await;
    rig.upstream
        .push(vec![Step::from(Reply::says(&["a"]).after(secs(1))); 3]);
    let calls: Vec<_> = (0..3).map(|n| rig.call(&warm(&format!("{n}")))).collect();
    tick().await;
    let mut fates = Vec::new();
    for call in calls {
        fates.push(
            call.finish()
                .await
                .map_or_else(|error| error.fate, |answer| answer.fate),
        );
    }
    // the early check refuses calls while the probe is out, so none queues in vain
    assert_eq!(fates, [Fate::Answered, Fate::CircuitOpen, Fate::CircuitOpen]);
    rig.done().await;
}

#[tokio::test(start_paused = true)]
async fn forced_open_forced_closed_and_reset() {
    let rig = Rig::new(single());
    rig.client.force_breaker(BreakerMode::ForcedOpen);
    let refused_call = rig.ask(&warm("hi")).await.unwrap_err();
    assert_eq!(refused_call.fate, Fate::CircuitOpen);
    assert_eq!(refused_call.failure.message.as_str(), "circuit open, not sent");
    rig.client.force_breaker(BreakerMode::ForcedClosed);
    rig.upstream.push(vec![refused(); 20]);
    for _ in 0..20 {
        assert_eq!(
            rig.ask(&warm("hi")).await.unwrap_err().failure.class,
            FailureClass::Connect
        );
    }
    rig.client.reset_breaker();
    rig.ask(&warm("hi")).await.unwrap();
    let manual = |state| (state, MoveReason::Manual);
    let (open, closed) = (BreakerState::Open, BreakerState::Closed);
    assert_eq!(moves(&rig), [manual(open), manual(closed), manual(closed)]);
    let forced = rig.find(|event| match event.kind {
        EventKind::BreakerForced { mode } => Some(mode),
        _ => None,
    });
    assert_eq!(
        forced,
        [
            BreakerMode::ForcedOpen,
            BreakerMode::ForcedClosed,
            BreakerMode::Automatic
        ]
    );
    rig.done().await;
}

#[tokio::test(start_paused = true)]
async fn errors_of_a_healthy_server_never_open_it() {
    let rig = Rig::new(single());
    for status in [400, 401, 404, 429].repeat(10) {
        rig.upstream.push([error(status, "", "no").into()]);
        rig.ask(&warm("hi")).await.unwrap_err();
    }
    assert_eq!(moves(&rig), []);
    rig.done().await;
}

#[tokio::test(start_paused = true)]
async fn a_late_result_is_ignored() {
    let rig = Rig::new(single());
    rig.upstream.push([Reply::says(&["late"]).after(secs(3)).into()]);
    let slow = rig.call(&warm("slow"));
    tick().await;
    rig.upstream.push(vec![refused(); 5]);
    for _ in 0..5 {
        rig.ask(&warm("hi")).await.unwrap_err();
    }
    assert_eq!(slow.finish().await.unwrap().text, "late");
    let late = rig.find(|event| match event.kind {
        EventKind::BreakerRecorded {
            sample: Sample::Late,
            generation,
            ..
        } => Some(generation),
        _ => None,
    });
    assert_eq!(late, [0]);
    assert_eq!(rig.ask(&warm("hi")).await.unwrap_err().fate, Fate::CircuitOpen);
    rig.done().await;
}

#[tokio::test(start_paused = true)]
async fn it_opens_between_the_attempts_of_a_call() {
    let mut policy = steady();
    policy.breaker.consecutive = 2;
    let rig = Rig::new(policy);
    rig.upstream.push(vec![Step::from(error(503, "", "busy")); 2]);
    let failed = rig.ask(&cold("hi")).await.unwrap_err();
    // the error of the attempt says more than "circuit open"
    assert_eq!(
        (failed.fate, failed.failure.class),
        (Fate::Failed, FailureClass::Unavailable)
    );
    let stops = rig.find(|event| match event.kind {
        EventKind::RetryStopped { attempt, reason, .. } => Some((attempt, reason)),
        _ => None,
    });
    assert_eq!(stops, [(2, StopReason::CircuitOpen)]);
    rig.done().await;
}

#[tokio::test(start_paused = true)]
async fn a_breaker_that_counts_calls_records_one_failure_for_three_attempts() {
    for (counts, recorded) in [(Counts::Attempt, 3), (Counts::Call, 1)] {
        let mut policy = steady();
        policy.breaker.counts = counts;
        policy.limit.charges = counts;
        let rig = Rig::new(policy);
        rig.upstream.push(vec![Step::from(error(503, "", "busy")); 3]);
        rig.ask(&cold("hi")).await.unwrap_err();
        let samples = rig.find(|event| match event.kind {
            EventKind::BreakerRecorded { sample, .. } => Some(sample),
            _ => None,
        });
        assert_eq!(samples, vec![Sample::Failed; recorded], "{counts:?}");
        rig.ask(&cold("hi")).await.unwrap();
        rig.done().await;
    }
}

#[tokio::test(start_paused = true)]
async fn slow_first_tokens_open_it_too() {
    let mut policy = single();
    policy.breaker.slow_after = secs(1);
    policy.breaker.min_calls = 3;
    let rig = Rig::new(policy);
    rig.upstream
        .push(vec![Step::from(Reply::says(&["a"]).after(secs(2))); 3]);
    for _ in 0..3 {
        rig.ask(&warm("hi")).await.unwrap();
    }
    assert_eq!(moves(&rig), [(BreakerState::Open, MoveReason::SlowRate)]);
    rig.done().await;
}

/// An upstream that hangs while callers give it less time than its own timeouts must not look healthy.
#[tokio::test(start_paused = true)]
async fn deadlines_that_pass_while_it_hangs_count_as_slow() {
    let mut policy = single();
    policy.breaker.min_calls = 3;
    let rig = Rig::new(policy);
    rig.upstream.push(vec![Step::Hang; 3]);
    for _ in 0..3 {
        let failed = rig.call_within(&warm("hi"), secs(2)).finish().await.unwrap_err();
        assert_eq!(failed.failure.class, FailureClass::Deadline);
    }
    let samples = rig.find(|event| match event.kind {
        EventKind::BreakerRecorded { sample, .. } => Some(sample),
        _ => None,
    });
    assert_eq!(samples, [Sample::Slow; 3]);
    assert_eq!(moves(&rig), [(BreakerState::Open, MoveReason::SlowRate)]);
    rig.done().await;
}

/// The moves of the breaker of one model.
fn moves_of(rig: &Rig, name: &str) -> Vec<(BreakerState, MoveReason)> {
    rig.find(|event| match &event.kind {
        EventKind::BreakerMoved {
            model, to, reason, ..
        } if model.as_ref().is_some_and(|model| model.as_str() == name) => Some((*to, *reason)),
        _ => None,
    })
}

#[tokio::test(start_paused = true)]
async fn a_healthy_model_is_not_refused_because_another_one_fails() {
    let rig = Rig::new(single());
    let (good, bad) = (warm("hi").model("good"), warm("hi").model("bad"));
    for _ in 0..5 {
        rig.upstream.push([refused()]);
        rig.ask(&bad).await.unwrap_err();
        rig.ask(&good).await.unwrap();
    }
    assert_eq!(rig.ask(&bad).await.unwrap_err().fate, Fate::CircuitOpen);
    rig.ask(&good).await.unwrap();
    // a call without a model has a breaker too
    rig.ask(&warm("hi")).await.unwrap();
    let opened = (BreakerState::Open, MoveReason::Consecutive);
    assert_eq!(moves(&rig), [opened]);
    // the probe of the one is out: the other is called as before, and its answers close nothing
    rig.sleep(secs(5)).await;
    rig.upstream.push([Reply::says(&["a"]).after(secs(1)).into()]);
    let probe = rig.call(&bad);
    tick().await;
    for _ in 0..3 {
        rig.ask(&good).await.unwrap();
    }
    assert_eq!(rig.ask(&bad).await.unwrap_err().fate, Fate::CircuitOpen);
    probe.finish().await.unwrap();
    let half_open = (BreakerState::HalfOpen, MoveReason::CoolDown);
    assert_eq!(moves_of(&rig, "bad"), [opened, half_open]);
    rig.ask(&bad).await.unwrap();
    let closed = (BreakerState::Closed, MoveReason::ProbesSucceeded);
    assert_eq!(moves_of(&rig, "bad"), [opened, half_open, closed]);
    assert_eq!(moves_of(&rig, "good"), []);
    rig.done().await;
}

#[tokio::test(start_paused = true)]
async fn commands_act_on_the_breakers_of_all_models() {
    let rig = Rig::new(single());
    let ask = |name: &str| rig.call(&warm("hi").model(name)).finish();
    ask("a").await.unwrap();
    ask("b").await.unwrap();
    rig.client.force_breaker(BreakerMode::ForcedOpen);
    // also on a model that is called for the first time
    for name in ["a", "b", "c"] {
        assert_eq!(ask(name).await.unwrap_err().fate, Fate::CircuitOpen);
    }
    rig.client.reset_breaker();
    for name in ["a", "b", "c"] {
        ask(name).await.unwrap();
        let opened = (BreakerState::Open, MoveReason::Manual);
        let closed = (BreakerState::Closed, MoveReason::Manual);
        assert_eq!(moves_of(&rig, name), [opened, closed], "{name}");
    }
    rig.done().await;
}

#[tokio::test(start_paused = true)]
async fn a_thousand_invented_models_share_few_breakers() {
    let mut policy = single();
    (policy.breaker.open, policy.breaker.open_max) = (secs(3600), secs(3600));
    policy.limit.enabled = false;
    let rig = Rig::new(policy);
    for _ in 0..5 {
        rig.upstream.push([refused()]);
        rig.ask(&warm("hi").model("bad")).await.unwrap_err();
    }
    for number in 0..1000 {
        let model = format!("invented-{number}");
        rig.ask(&warm("hi").model(&model)).await.unwrap();
    }
    let mut named = std::collections::BTreeSet::new();
    for event in rig.events() {
        if let EventKind::BreakerAdmitted { model, .. } = event.kind {
            named.insert(model);
        }
    }
    // 64 and the one that all others share
    assert_eq!(named.len(), 65);
    assert_eq!(
        rig.ask(&warm("hi").model("bad")).await.unwrap_err().fate,
        Fate::CircuitOpen
    );
    rig.done().await;
}

#[tokio::test(start_paused = true)]
async fn a_name_of_a_model_is_one_bounded_line_without_a_key() {
    let rig = Rig::new(single());
    let hostile = format!("a\u{1b}]0;x\u{7}\nb{}", "z".repeat(100_000));
    rig.ask(&warm("hi").model(&hostile)).await.unwrap();
    let names = rig.find(|event| match &event.kind {
        EventKind::CallStarted { options, .. } => options.model.clone(),
        _ => None,
    });
    let [name] = names.as_slice() else {
        panic!("{names:?}")
    };
    assert!(name.as_str().chars().count() <= 64);
    assert!(!name.as_str().contains(char::is_control));
    rig.done().await;
}
