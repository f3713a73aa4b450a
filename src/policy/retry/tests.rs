//! Each rule alone, then the invariants for random sequences of failures.

use proptest::prelude::*;

use super::*;
use crate::event::HintSource;
use crate::settings::Jitter;
use FailureClass as C;
use Phase as P;

const NEVER: Timestamp = Timestamp::MAX;

fn settings() -> RetrySettings {
    RetrySettings {
        jitter: Jitter::None,
        ..RetrySettings::default()
    }
}

fn failure(class: C, phase: P) -> Failure {
    Failure::new(class, phase, "m")
}

fn hinted(class: C, phase: P, wait: Duration) -> Failure {
    Failure {
        hint: Some(hint(wait)),
        ..failure(class, phase)
    }
}

fn hint(wait: Duration) -> Hint {
    Hint {
        wait,
        source: HintSource::RetryAfter,
    }
}

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// The decisions for consecutive failures, each at the end of the previous wait.
fn run(settings: &RetrySettings, deadline: Timestamp, failures: &[Failure]) -> Vec<RetryDecision> {
    let mut retry = Retry::new(settings, 7);
    let mut budget = RetryBudget::new(settings);
    let mut now = Timestamp::ZERO;
    let mut decisions = Vec::new();
    for failure in failures {
        let decision = retry.decide(now, deadline, failure, &mut budget);
        decisions.push(decision);
        match decision {
            RetryDecision::Retry { at, .. } => now = at,
            RetryDecision::Stop { .. } => break,
        }
    }
    decisions
}

fn last_reason(settings: &RetrySettings, failures: &[Failure]) -> (usize, Option<StopReason>) {
    let decisions = run(settings, NEVER, failures);
    let retries = decisions
        .iter()
        .filter(|decision| matches!(decision, RetryDecision::Retry { .. }))
        .count();
    match decisions.last() {
        Some(RetryDecision::Stop { reason, .. }) => (retries, Some(*reason)),
        _ => (retries, None),
    }
}

#[test]
fn a_decision_has_number_instant_and_delay() {
    let unavailable = failure(C::Unavailable, P::Refused);
    let decisions = run(
        &settings(),
        NEVER,
        &[unavailable.clone(), unavailable.clone(), unavailable],
    );
    let retry = |next, at: u64, delay: u64| RetryDecision::Retry {
        next,
        at: Timestamp(at * 1_000_000),
        delay: Duration::from_millis(delay),
        drawn: Duration::from_millis(delay),
        hint: None,
        ambiguous: false,
        pause: None,
    };
    let stop = RetryDecision::Stop {
        reason: StopReason::Attempts,
        pause: None,
    };
    assert_eq!(decisions, [retry(2, 500, 500), retry(3, 1500, 1000), stop]);
}

#[test]
#[expect(clippy::too_many_lines, reason = "one table, a row for each reason")]
fn each_reason_to_stop() {
    let many = |class, phase| vec![failure(class, phase); 10];
    let no = Failure {
        should_retry: Some(false),
        ..failure(C::Unavailable, P::Refused)
    };
    let without = |change: fn(&mut RetrySettings)| {
        let mut settings = settings();
        change(&mut settings);
        settings
    };
    for (settings, failures, expected) in [
        (
            settings(),
            many(C::Connect, P::NotSent),
            (2, StopReason::Attempts),
        ),
        (
            settings(),
            many(C::RateLimited, P::Refused),
            (2, StopReason::Attempts),
        ),
        (
            settings(),
            many(C::ServerError, P::Ambiguous),
            (1, StopReason::Ambiguous),
        ),
        (
            settings(),
            many(C::Truncated, P::Begun),
            (1, StopReason::Ambiguous),
        ),
        (
            settings(),
            vec![
                failure(C::Truncated, P::Begun),
                failure(C::BadGateway, P::Ambiguous),
            ],
            (1, StopReason::Ambiguous),
        ),
        (
            settings(),
            many(C::Interrupted, P::Delivered),
            (0, StopReason::Delivered),
        ),
        (
            settings(),
            many(C::Deadline, P::Delivered),
            (0, StopReason::Delivered),
        ),
        (
            settings(),
            many(C::Invalid, P::Final),
            (0, StopReason::NotRetryable),
        ),
        (
            settings(),
            many(C::Deadline, P::Ambiguous),
            (0, StopReason::Deadline),
        ),
        (
            settings(),
            many(C::BreakerRefused, P::NotSent),
            (0, StopReason::CircuitOpen),
        ),
        (
            settings(),
            many(C::LimitRejected, P::NotSent),
            (0, StopReason::RateLimited),
        ),
        (settings(), vec![no], (0, StopReason::NoRetryHeader)),
        (
            settings(),
            vec![hinted(C::RateLimited, P::Refused, seconds(121))],
            (0, StopReason::HintTooLong),
        ),
        (
            without(|settings| settings.attempts = 1),
            many(C::Unavailable, P::Refused),
            (0, StopReason::Attempts),
        ),
        (
            without(|settings| settings.attempts = 1),
            many(C::Loading, P::Refused),
            (0, StopReason::Attempts),
        ),
        (
            without(|settings| settings.max_ambiguous_retries = 0),
            many(C::ServerError, P::Ambiguous),
            (0, StopReason::Ambiguous),
        ),
        (
            // the last attempt meets a loading model too
            settings(),
            [
                C::Unavailable,
                C::Unavailable,
                C::Loading,
                C::Loading,
                C::Unavailable,
            ]
            .map(|class| failure(class, P::Refused))
            .to_vec(),
            (4, StopReason::Attempts),
        ),
        (
            // 0.05 per second for 10 seconds: less than one retry
            without(|settings| settings.budget_min_per_s = 0.05),
            many(C::Unavailable, P::Refused),
            (0, StopReason::Budget),
        ),
    ] {
        let (retries, reason) = last_reason(&settings, &failures);
        assert_eq!(
            (retries, reason),
            (expected.0, Some(expected.1)),
            "{:?}",
            failures[0].class
        );
    }
}

#[test]
fn a_failure_that_was_not_sent_does_not_charge_the_budget() {
    let settings = RetrySettings {
        budget_min_per_s: 0.05,
        ..settings()
    };
    let refused = vec![failure(C::Connect, P::NotSent); 3];
    assert_eq!(last_reason(&settings, &refused), (2, Some(StopReason::Attempts)));
}

#[test]
fn a_stopped_call_does_not_charge_the_budget() {
    let mut budget = RetryBudget::new(&settings());
    let full = budget.balance(Timestamp::ZERO);
    for (failure, deadline) in [
        (failure(C::Invalid, P::Final), NEVER),
        (failure(C::Unavailable, P::Refused), Timestamp(500_000_000)),
        (hinted(C::RateLimited, P::Refused, seconds(500)), NEVER),
    ] {
        let decision = Retry::new(&settings(), 1).decide(Timestamp::ZERO, deadline, &failure, &mut budget);
        assert!(matches!(decision, RetryDecision::Stop { .. }));
    }
    assert!((budget.balance(Timestamp::ZERO) - full).abs() < f64::EPSILON);
}

#[test]
fn loading_is_polled_until_the_deadline() {
    let loading = vec![failure(C::Loading, P::Refused); 1000];
    let deadline = Timestamp::ZERO + seconds(60);
    // a budget that grants no retry
    let settings = RetrySettings {
        budget_min_per_s: 0.05,
        ..settings()
    };
    let decisions = run(&settings, deadline, &loading);
    assert_eq!(
        decisions.last(),
        Some(&RetryDecision::Stop {
            reason: StopReason::Deadline,
            pause: None
        })
    );
    // 0.5 + 1 + 2 + 4, then 8 each: 6 more fit into 60 s
    assert_eq!(decisions.len(), 11);
}

#[test]
fn polls_change_neither_attempts_nor_backoff() {
    let mut retry = Retry::new(&settings(), 1);
    let mut budget = RetryBudget::new(&settings());
    for _ in 0..20 {
        let loading = failure(C::Loading, P::Refused);
        let _ = retry.decide(Timestamp::ZERO, NEVER, &loading, &mut budget);
    }
    assert_eq!((retry.attempts(), retry.polls), (21, 20));
    let decision = retry.decide(
        Timestamp::ZERO,
        NEVER,
        &failure(C::Unavailable, P::Refused),
        &mut budget,
    );
    assert!(matches!(decision, RetryDecision::Retry { next: 22, drawn, .. } if drawn == settings().base));
    let _ = retry.decide(
        Timestamp::ZERO,
        NEVER,
        &failure(C::Unavailable, P::Refused),
        &mut budget,
    );
    let decision = retry.decide(
        Timestamp::ZERO,
        NEVER,
        &failure(C::Unavailable, P::Refused),
        &mut budget,
    );
    assert!(matches!(
        decision,
        RetryDecision::Stop {
            reason: StopReason::Attempts,
            ..
        }
    ));
}

#[test]
fn polls_never_spin() {
    let settings = RetrySettings {
        base: Duration::ZERO,
        cap: Duration::ZERO,
        ..settings()
    };
    let decisions = run(
        &settings,
        Timestamp::ZERO + seconds(1),
        &vec![failure(C::Loading, P::Refused); 99],
    );
    assert_eq!(decisions.len(), 4);
}

#[test]
fn a_hint_is_obeyed_never_shortened_and_pauses_all_callers() {
    // 120 s is the longest that is obeyed
    for wait in [20, 120].map(seconds) {
        let limited = hinted(C::RateLimited, P::Refused, wait);
        let decisions = run(&settings(), NEVER, &[limited]);
        let [
            RetryDecision::Retry {
                delay,
                drawn,
                hint: obeyed,
                pause,
                ..
            },
        ] = decisions[..]
        else {
            panic!("{decisions:?}");
        };
        assert!(delay >= wait && delay <= wait + seconds(1), "{delay:?}");
        assert_eq!(
            (drawn, obeyed, pause),
            (settings().base, Some(hint(wait)), Some(wait))
        );
    }
}

#[test]
fn callers_that_wait_for_one_hint_are_spread() {
    // (hint, most that is added to it): a tenth, up to a second
    for (wait, most) in [(2, 200), (20, 1000)] {
        let limited = hinted(C::RateLimited, P::Refused, seconds(wait));
        let mut budget = RetryBudget::new(&RetrySettings {
            budget_min_per_s: 1000.0,
            ..settings()
        });
        let mut added: Vec<Duration> = (0..50)
            .map(|seed| {
                match Retry::new(&settings(), seed).decide(Timestamp::ZERO, NEVER, &limited, &mut budget) {
                    RetryDecision::Retry { delay, .. } => delay.checked_sub(seconds(wait)).unwrap(),
                    stop @ RetryDecision::Stop { .. } => panic!("{stop:?}"),
                }
            })
            .collect();
        added.sort();
        added.dedup();
        let most = Duration::from_millis(most);
        assert_eq!(added.len(), 50);
        assert!(added[0] < most / 4 && added[49] > most / 4 * 3 && added[49] <= most);
    }
}

#[test]
fn a_hint_that_is_too_long_stops_and_pauses_all_callers() {
    let stop = |reason, pause: Option<u64>| {
        vec![RetryDecision::Stop {
            reason,
            pause: pause.map(seconds),
        }]
    };
    let soon = Timestamp::ZERO + seconds(10);
    for (wait, deadline, expected) in [
        (121, NEVER, stop(StopReason::HintTooLong, Some(121))),
        (999_999, NEVER, stop(StopReason::HintTooLong, Some(3600))),
        (11, soon, stop(StopReason::Deadline, Some(11))),
        (10, soon, stop(StopReason::Deadline, Some(10))),
    ] {
        let limited = hinted(C::RateLimited, P::Refused, seconds(wait));
        assert_eq!(run(&settings(), deadline, &[limited]), expected, "{wait}");
    }
    // an exhausted quota pauses too; a lost answer does not concern other callers
    let quota = hinted(C::Quota, P::Final, seconds(30));
    assert_eq!(
        run(&settings(), NEVER, &[quota]),
        stop(StopReason::NotRetryable, Some(30))
    );
    let failed = hinted(C::ServerError, P::Ambiguous, seconds(500));
    assert_eq!(
        run(&settings(), NEVER, &[failed]),
        stop(StopReason::HintTooLong, None)
    );
}

#[test]
fn hints_can_be_ignored() {
    let settings = RetrySettings {
        obey_hints: false,
        ..settings()
    };
    let decisions = run(
        &settings,
        NEVER,
        &[hinted(C::RateLimited, P::Refused, seconds(999_999))],
    );
    assert!(matches!(
        decisions[..],
        [RetryDecision::Retry { delay, hint: None, pause: None, .. }] if delay == settings.base
    ));
}

#[test]
fn an_attempt_that_was_rejected_is_not_counted() {
    let mut budget = RetryBudget::new(&settings());
    let mut retry = Retry::new(&settings(), 1);
    let _ = retry.decide(
        Timestamp::ZERO,
        NEVER,
        &failure(C::Connect, P::NotSent),
        &mut budget,
    );
    assert_eq!(retry.attempts(), 2);
    let _ = retry.decide(
        Timestamp::ZERO,
        NEVER,
        &failure(C::BreakerRefused, P::NotSent),
        &mut budget,
    );
    assert_eq!(retry.attempts(), 1);
}

#[test]
fn the_same_seed_decides_the_same() {
    let settings = RetrySettings::default();
    let failures = vec![hinted(C::Unavailable, P::Refused, seconds(3)); 3];
    assert_eq!(run(&settings, NEVER, &failures), run(&settings, NEVER, &failures));
}

fn any_failure() -> impl Strategy<Value = Failure> {
    let classes = vec![
        (C::Connect, P::NotSent),
        (C::RateLimited, P::Refused),
        (C::Loading, P::Refused),
        (C::ServerError, P::Ambiguous),
        (C::Truncated, P::Begun),
        (C::Interrupted, P::Delivered),
        (C::Quota, P::Final),
    ];
    let waits = prop::option::of(prop_oneof![0_u64..3000, any::<u64>()]);
    let should = prop::sample::select(vec![None, None, None, Some(true), Some(false)]);
    (prop::sample::select(classes), waits, should).prop_map(|((class, phase), wait, should_retry)| Failure {
        hint: wait.map(|millis| hint(Duration::from_millis(millis))),
        should_retry,
        ..failure(class, phase)
    })
}

proptest! {
    /// docs/semantics.md, Invariants 3 to 7.
    #[test]
    fn keeps_the_invariants_for_any_failures(
        failures in prop::collection::vec(any_failure(), 1..30),
        attempts in 1_u32..6, max_ambiguous in 0_u32..4, seed in any::<u64>(), deadline in 0_u64..40_000,
        jitter in prop::sample::select(vec![Jitter::Full, Jitter::Equal, Jitter::Proportional, Jitter::None]),
    ) {
        let settings = RetrySettings {
            attempts, jitter, max_ambiguous_retries: max_ambiguous, ..RetrySettings::default()
        };
        let deadline = Timestamp::ZERO + Duration::from_millis(deadline);
        let mut budget = RetryBudget::new(&settings);
        let mut retry = Retry::new(&settings, seed);
        let (mut now, mut ambiguous_retries, mut waits) = (Timestamp::ZERO, 0, 0_u32);
        for failure in failures {
            let before = retry.attempts();
            match retry.decide(now, deadline, &failure, &mut budget) {
                RetryDecision::Stop { pause, .. } => {
                    prop_assert!(pause.is_none_or(|pause| pause <= MAX_SERVER_WAIT));
                    prop_assert_eq!(retry.attempts(), before);
                    break;
                }
                RetryDecision::Retry { next, at, delay, drawn, hint, ambiguous, .. } => {
                    prop_assert_eq!(next, before + 1);
                    prop_assert!(!matches!(failure.phase, P::Delivered | P::Final));
                    prop_assert_ne!(failure.should_retry, Some(false));
                    prop_assert_eq!(at, now + delay);
                    prop_assert!(at < deadline);
                    let hinted = hint.map_or(Duration::ZERO, |hint| hint.wait);
                    prop_assert!(delay >= hinted && delay >= drawn);
                    prop_assert!(delay <= drawn.max(hinted) + (hinted / 10).min(seconds(1)));
                    if failure.class != C::Loading {
                        let ceiling = settings.base * 2_u32.pow(waits) * 13 / 10;
                        prop_assert!(drawn <= settings.cap.min(ceiling));
                        waits += 1;
                    }
                    ambiguous_retries += u32::from(ambiguous);
                    now = at;
                }
            }
        }
        prop_assert!(retry.attempts() - retry.polls <= attempts);
        prop_assert!(ambiguous_retries <= max_ambiguous);
    }
}
