//! Retries and their times.

use super::rig::{Rig, cold, millis, secs, steady, warm};
use super::script::{Part, Reply, Step, error};
use crate::client::SendErrorKind;
use crate::event::{EventKind, FailureClass, Fate, HintSource, Sample, StopReason};
use crate::settings::Policy;

pub(super) fn refused() -> Step {
    Step::Fail(SendErrorKind::Refused)
}

fn busy() -> Reply {
    error(503, "server_error", "busy")
}

fn stops(rig: &Rig) -> Vec<(u32, StopReason)> {
    rig.find(|event| match event.kind {
        EventKind::RetryStopped { attempt, reason, .. } => Some((attempt, reason)),
        _ => None,
    })
}

fn samples(rig: &Rig) -> Vec<Sample> {
    rig.find(|event| match event.kind {
        EventKind::BreakerRecorded { sample, .. } => Some(sample),
        _ => None,
    })
}

#[tokio::test(start_paused = true)]
async fn backoff_doubles_until_attempts_are_exhausted() {
    let rig = Rig::scripted([busy().into(), busy().into(), busy().into()]);
    let failed = rig.ask(&cold("hi")).await.unwrap_err();
    assert_eq!(
        (failed.fate, failed.failure.class),
        (Fate::Failed, FailureClass::Unavailable)
    );
    // 10 ms for each answer, then 0.5 and 1 s of waiting
    assert_eq!(rig.attempt_times(), [0.0, 0.51, 1.52]);
    assert_eq!(stops(&rig), [(3, StopReason::Attempts)]);
    assert_eq!(samples(&rig), [Sample::Failed; 3]);
    rig.done().await;
}

/// A failure of the first attempt, the number of attempts, the stop reason and the breaker's sample.
#[tokio::test(start_paused = true)]
async fn the_phase_decides_whether_a_retry_is_legal() {
    use SendErrorKind as S;
    use StopReason::{Ambiguous, Attempts, NoRetryHeader, NotRetryable};
    let status = |status| Step::from(error(status, "", "no"));
    let quota = || Step::from(error(429, "insufficient_quota", "pay"));
    let table: [(Step, u32, StopReason, Sample); 24] = [
        (Step::Fail(S::Refused), 3, Attempts, Sample::Failed),
        (Step::Fail(S::Unreachable), 3, Attempts, Sample::Failed),
        (Step::Fail(S::ConnectTimeout), 3, Attempts, Sample::Failed),
        (Step::Fail(S::DnsTemporary), 3, Attempts, Sample::Failed),
        (Step::Fail(S::DnsUnknown), 1, NotRetryable, Sample::Failed),
        (Step::Fail(S::TlsConfig), 1, NotRetryable, Sample::Neutral),
        (Step::Fail(S::TlsHandshake), 3, Attempts, Sample::Failed),
        (Step::Fail(S::Reset), 2, Ambiguous, Sample::Failed),
        (Step::Fail(S::Framing), 1, NotRetryable, Sample::Failed),
        (status(302), 1, NotRetryable, Sample::Neutral),
        (status(400), 1, NotRetryable, Sample::Neutral),
        (status(401), 1, NotRetryable, Sample::Neutral),
        (status(404), 1, NotRetryable, Sample::Neutral),
        (status(408), 3, Attempts, Sample::Neutral),
        (status(409), 2, Ambiguous, Sample::Neutral),
        (status(413), 1, NotRetryable, Sample::Neutral),
        (status(429), 3, Attempts, Sample::Neutral),
        (quota(), 1, NotRetryable, Sample::Neutral),
        (status(500), 2, Ambiguous, Sample::Failed),
        (status(502), 2, Ambiguous, Sample::Failed),
        (status(503), 3, Attempts, Sample::Failed),
        (status(529), 3, Attempts, Sample::Failed),
        (
            error(503, "", "no").header("x-should-retry", "false").into(),
            1,
            NoRetryHeader,
            Sample::Failed,
        ),
        (
            error(400, "", "no").header("x-should-retry", "true").into(),
            3,
            Attempts,
            Sample::Neutral,
        ),
    ];
    for (step, attempts, reason, sample) in table {
        let rig = Rig::scripted(vec![step.clone(); 3]);
        let failed = rig.ask(&cold("hi")).await.unwrap_err();
        assert_eq!(stops(&rig), [(attempts, reason)], "{step:?}");
        assert_eq!(samples(&rig), vec![sample; attempts as usize], "{step:?}");
        assert_eq!(failed.fate, Fate::Failed);
        let refunded = rig.find(|event| match event.kind {
            EventKind::LimitSettled { refunded, .. } => Some(refunded),
            _ => None,
        });
        let unsent = matches!(&step, Step::Fail(kind) if !matches!(kind, S::Reset | S::Framing));
        assert_eq!(refunded, vec![unsent; attempts as usize], "{step:?}");
        rig.done().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_hint_is_obeyed_and_never_shortened() {
    for (name, value, source) in [
        ("retry-after", "2", HintSource::RetryAfter),
        ("retry-after-ms", "2000", HintSource::RetryAfterMs),
    ] {
        let rig = Rig::scripted([error(429, "rate_limit_error", "slow").header(name, value).into()]);
        let answer = rig.ask(&cold("hi")).await.unwrap();
        assert_eq!(answer.fate, Fate::Answered);
        let second = rig.attempt_times()[1];
        assert!((2.01..=2.22).contains(&second), "{second}");
        let hints = rig.find(|event| match event.kind {
            EventKind::RetryScheduled { hint, .. } => hint.map(|hint| (hint.wait, hint.source)),
            _ => None,
        });
        assert_eq!(hints, [(secs(2), source)]);
        rig.done().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_hint_pauses_all_other_calls_too() {
    let rig = Rig::scripted([error(429, "", "slow").header("retry-after", "2").into()]);
    let first = rig.call(&warm("a"));
    rig.sleep(millis(500)).await;
    let second = rig.call(&warm("b"));
    let third = rig.call(&warm("c"));
    let results = tokio::join!(first.finish(), second.finish(), third.finish());
    assert!(results.0.is_ok() && results.1.is_ok() && results.2.is_ok());
    let times = rig.attempt_times();
    assert_eq!(times.len(), 4);
    assert!(times[1..].iter().all(|at| *at >= 2.01), "{times:?}");
    let pauses = rig.find(|event| match event.kind {
        EventKind::LimitPaused { until } => Some(until.as_secs_f64()),
        _ => None,
    });
    assert_eq!(pauses, [2.01]);
    rig.done().await;
}

#[tokio::test(start_paused = true)]
async fn a_429_without_a_hint_slows_the_limiter_down() {
    let rig = Rig::scripted([error(429, "", "slow").into()]);
    rig.ask(&cold("hi")).await.unwrap();
    let refills = rig.find(|event| match event.kind {
        EventKind::LimitAdmitted { requests, .. } => Some(requests.per_second()),
        _ => None,
    });
    assert_eq!(refills.len(), 2);
    assert!((refills[1] / refills[0] - 0.7).abs() < 1e-9, "{refills:?}");
    rig.done().await;
}

#[tokio::test(start_paused = true)]
async fn a_hint_beyond_the_limit_ends_the_call_and_pauses_the_limiter() {
    let rig = Rig::scripted([error(429, "", "slow").header("retry-after", "121").into()]);
    let failed = rig.ask(&cold("hi")).await.unwrap_err();
    assert_eq!(stops(&rig), [(1, StopReason::HintTooLong)]);
    assert_eq!(failed.failure.hint.map(|hint| hint.wait), Some(secs(121)));
    // the next call is rejected at once, without a request
    let next = rig.ask(&cold("hi")).await.unwrap_err();
    assert_eq!(
        (next.fate, next.failure.class),
        (Fate::RateLimited, FailureClass::LimitRejected)
    );
    assert!(
        next.failure.message.as_str().contains("2m01s"),
        "{}",
        next.failure
    );
    assert!(rig.now().as_secs_f64() < 0.1);
    rig.done().await;
}

#[tokio::test(start_paused = true)]
async fn a_wait_beyond_the_deadline_is_not_started() {
    let rig = Rig::scripted([busy().into()]);
    let failed = rig
        .call_within(&cold("hi"), millis(400))
        .finish()
        .await
        .unwrap_err();
    assert_eq!(
        (failed.fate, failed.failure.class),
        (Fate::Failed, FailureClass::Unavailable)
    );
    assert_eq!(stops(&rig), [(1, StopReason::Deadline)]);
    assert_eq!(rig.millis(), 10);
    rig.done().await;
}

#[tokio::test(start_paused = true)]
async fn an_empty_budget_returns_the_error_at_once() {
    let mut policy = steady();
    policy.retry.budget_ratio = 0.0;
    policy.retry.budget_min_per_s = 0.1;
    let rig = Rig::new(policy);
    rig.upstream
        .push([busy().into(), Reply::says(&["a"]).into(), busy().into()]);
    assert!(rig.ask(&warm("a")).await.is_ok());
    assert!(rig.ask(&warm("b")).await.is_err());
    assert_eq!(stops(&rig), [(1, StopReason::Budget)]);
    // a request that was not sent costs nothing
    rig.upstream.push([refused()]);
    assert!(rig.ask(&warm("c")).await.is_ok());
    rig.done().await;
}

#[tokio::test(start_paused = true)]
async fn calls_that_were_not_sent_earn_no_retries() {
    let mut policy = steady();
    policy.retry.budget_ratio = 0.2;
    policy.retry.budget_min_per_s = 0.0;
    let rig = Rig::new(policy);
    rig.client.force_breaker(crate::event::BreakerMode::ForcedOpen);
    for _ in 0..20 {
        assert_eq!(rig.ask(&warm("hi")).await.unwrap_err().fate, Fate::CircuitOpen);
    }
    rig.client.reset_breaker();
    rig.upstream.push([busy().into()]);
    rig.ask(&warm("hi")).await.unwrap_err();
    assert_eq!(stops(&rig), [(1, StopReason::Budget)]);
    rig.done().await;
}

#[tokio::test(start_paused = true)]
async fn a_loading_model_is_retried_until_the_deadline() {
    let loading = || Step::from(error(503, "unavailable_error", "Loading model"));
    let rig = Rig::scripted(vec![loading(); 12]);
    let answer = rig.ask(&cold("hi")).await.unwrap();
    assert_eq!(answer.fate, Fate::Answered);
    assert_eq!(rig.upstream.sent().len(), 13);
    assert_eq!(samples(&rig)[..12], [Sample::Neutral; 12]);
    rig.done().await;
    // but not beyond the deadline
    let rig = Rig::scripted(vec![loading(); 100]);
    let failed = rig.call_within(&cold("hi"), secs(30)).finish().await.unwrap_err();
    assert_eq!(
        (failed.fate, failed.failure.class),
        (Fate::Failed, FailureClass::Loading)
    );
    rig.done().await;
}

/// Each timeout of an attempt, and the class of its failure.
#[tokio::test(start_paused = true)]
async fn every_timeout_of_an_attempt_fires() {
    let pings = |reply: Reply| (0..9).fold(reply, |reply, _| reply.wait(secs(30)).bytes(":\n\n"));
    let table: [(&str, Step, FailureClass, Fate, f64); 7] = [
        (
            "headers",
            Step::Hang,
            FailureClass::HeaderTimeout,
            Fate::Failed,
            60.0,
        ),
        (
            "late headers",
            Reply::says(&["a"]).after(secs(61)).into(),
            FailureClass::HeaderTimeout,
            Fate::Failed,
            60.0,
        ),
        (
            "no byte",
            Reply::stream().part(Part::Hang).into(),
            FailureClass::Stalled,
            Fate::Failed,
            65.01,
        ),
        (
            "no byte after a word",
            Reply::stream().word("a").part(Part::Hang).into(),
            FailureClass::Stalled,
            Fate::Interrupted,
            65.01,
        ),
        (
            "pings only",
            pings(Reply::stream()).into(),
            FailureClass::NoProgress,
            Fate::Failed,
            120.01,
        ),
        (
            "pings after a word",
            pings(Reply::stream().word("a")).into(),
            FailureClass::NoProgress,
            Fate::Interrupted,
            120.01,
        ),
        (
            "whole",
            Reply::status(200).bytes("{").wait(secs(70)).bytes("}").into(),
            FailureClass::Stalled,
            Fate::Failed,
            65.01,
        ),
    ];
    for (name, step, class, fate, at) in table {
        let mut policy = steady();
        policy.retry.attempts = 1;
        let rig = Rig::new(policy);
        rig.upstream.push([step]);
        let failed = rig.ask(&cold("hi")).await.unwrap_err();
        assert_eq!(
            (failed.failure.class, failed.fate, rig.now().as_secs_f64()),
            (class, fate, at),
            "{name}"
        );
        assert_eq!(samples(&rig), [Sample::Failed], "{name}");
        rig.done().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_slow_stream_with_data_does_not_stall() {
    let drip = (0..20).fold(Reply::stream(), |reply, _| reply.wait(secs(60)).word("a"));
    let rig = Rig::scripted([drip.clone().stop().done().into()]);
    let failed = rig.ask(&cold("hi")).await.unwrap_err();
    assert_eq!(
        (failed.failure.class, failed.partial.len()),
        (FailureClass::Deadline, 9)
    );
    let mut policy = Policy::default();
    policy.timeouts.call = secs(3600);
    let patient = Rig::new(policy);
    patient.upstream.push([drip.stop().done().into()]);
    assert_eq!(patient.ask(&cold("hi")).await.unwrap().text, "a".repeat(20));
    rig.done().await;
    patient.done().await;
}

#[tokio::test(start_paused = true)]
async fn an_endless_error_page_is_read_within_bounds() {
    let endless = Reply::status(500).bytes("{").part(Part::Hang);
    let rig = Rig::scripted([endless.into()]);
    assert!(rig.ask(&cold("hi")).await.is_ok());
    assert!(rig.now().as_secs_f64() < 7.0);
    rig.done().await;
}
