//! Stories, the known bugs of others by name, then random traffic against a second, simpler breaker.

use proptest::prelude::*;

use super::*;

const SECOND: Duration = Duration::from_secs(1);

fn at(seconds: f64) -> Timestamp {
    Timestamp::from_secs_f64(seconds)
}

/// 3 failures in a row or half of 6 in 30 s open for 5 s, then 10 s, then 20 s; 2 good probes close. No spread.
fn settings() -> BreakerSettings {
    BreakerSettings {
        enabled: true,
        window: 30 * SECOND,
        min_calls: 6,
        failure_rate: 0.5,
        consecutive: 3,
        slow_rate: 0.8,
        open: 5 * SECOND,
        open_max: 20 * SECOND,
        open_jitter: 0.0,
        successes_to_close: 2,
        probe_lease: 60 * SECOND,
        ..BreakerSettings::default()
    }
}

fn breaker() -> Breaker {
    Breaker::new(&settings(), 7, Timestamp::ZERO)
}

impl Breaker {
    fn must_permit(&mut self, now: Timestamp) -> Permit {
        match self.acquire(now).permit {
            Ok(permit) => permit,
            Err(refusal) => panic!("{refusal:?}"),
        }
    }

    /// One call from permit to outcome.
    fn call(&mut self, now: Timestamp, sample: Sample) -> Settled {
        let permit = self.must_permit(now);
        self.settle(now, permit, sample, None)
    }

    fn fail_until_open(&mut self, now: Timestamp) -> Move {
        for _ in 0..100 {
            if let Some(moved) = self.call(now, Sample::Failed).moved {
                return moved;
            }
        }
        panic!("100 failures did not open it");
    }

    fn refused_until(&mut self, now: Timestamp) -> Option<Timestamp> {
        let Acquired { permit, moved } = self.acquire(now);
        assert_eq!(moved, None);
        let until = permit.unwrap_err().until;
        assert_eq!(self.check(now), Check::Refuse { until });
        until
    }
}

fn window(total: u32, failed: u32, slow: u32, consecutive: u32) -> WindowCounts {
    WindowCounts {
        total,
        failed,
        slow,
        consecutive,
    }
}

#[test]
fn the_settings_of_the_stories_are_valid() {
    let policy = crate::settings::Policy {
        breaker: settings(),
        ..Default::default()
    };
    assert_eq!(policy.validate(), Ok(()));
}

#[test]
fn an_outage_from_the_first_failure_to_the_last_probe() {
    let mut breaker = breaker();
    // the upstream dies: two failures are tolerated, the third opens
    assert_eq!(breaker.call(at(1.0), Sample::Failed).moved, None);
    assert_eq!(breaker.call(at(2.0), Sample::Failed).moved, None);
    let opened = Move {
        from: BreakerState::Closed,
        to: BreakerState::Open,
        generation: 1,
        reason: MoveReason::Consecutive,
        until: Some(at(8.0)),
        window: window(3, 3, 0, 3),
    };
    let settled = Settled {
        sample: Sample::Failed,
        probe: false,
        generation: 0,
        window: window(3, 3, 0, 3),
        moved: Some(opened),
    };
    assert_eq!(breaker.call(at(3.0), Sample::Failed), settled);
    assert_eq!(breaker.window(at(3.0)), WindowCounts::default());
    // for five seconds nobody passes, and everybody is told how long
    assert_eq!(breaker.refused_until(at(7.999)), Some(at(8.0)));
    assert_eq!(breaker.next_change(at(7.999)), Some(at(8.0)));
    // the open time is over: asking alone moves nothing
    assert_eq!(breaker.check(at(8.0)), Check::Pass);
    assert_eq!(breaker.state(), BreakerState::Open);
    // and nothing more is waited for: a timer that is set again for an instant that has come would spin
    assert_eq!(breaker.next_change(at(8.0)), None);
    // whoever sends is the probe, all others wait for its result
    let Acquired { permit, moved } = breaker.acquire(at(8.0));
    let half_open = Move {
        from: BreakerState::Open,
        to: BreakerState::HalfOpen,
        generation: 2,
        reason: MoveReason::CoolDown,
        until: None,
        window: WindowCounts::default(),
    };
    assert_eq!(moved, Some(half_open));
    let probe = permit.unwrap();
    assert!(probe.is_probe());
    assert_eq!(breaker.refused_until(at(8.5)), None);
    // it fails: open again, for twice as long
    let reopened = breaker
        .settle(at(9.0), probe, Sample::Failed, None)
        .moved
        .unwrap();
    assert_eq!(
        (reopened.reason, reopened.generation, reopened.until),
        (MoveReason::ProbeFailed, 3, Some(at(19.0)))
    );
    // the upstream is back: one good probe is not enough, two close
    assert_eq!(breaker.call(at(19.0), Sample::Ok).moved, None);
    assert_eq!(breaker.state(), BreakerState::HalfOpen);
    let closed = breaker.call(at(20.0), Sample::Ok).moved.unwrap();
    assert_eq!(
        (closed.to, closed.reason, closed.generation),
        (BreakerState::Closed, MoveReason::ProbesSucceeded, 5)
    );
    // and the next outage begins with the short time again
    assert_eq!(breaker.fail_until_open(at(30.0)).until, Some(at(35.0)));
}

#[test]
fn each_rule_opens_at_its_threshold_and_not_before() {
    use Sample::{Failed as F, Neutral as N, Ok as O, Slow as S};
    // the last outcome of each row opens, or nothing does
    let table: &[(&[Sample], Option<MoveReason>)] = &[
        (&[F, F, F], Some(MoveReason::Consecutive)),
        // a neutral outcome does not break a row, a good or a slow one does
        (&[F, N, F, N, F], Some(MoveReason::Consecutive)),
        (&[F, F, O, F, F], None),
        (&[F, F, S, F, F], None),
        (&[O, F, O, F, O, F], Some(MoveReason::FailureRate)),
        (&[O, O, F, O, O, F, O, F], None),
        // half failed already, but five are too few
        (&[F, O, F, O, F], None),
        // a success that makes the sixth does not open, the failure after it does
        (&[F, O, F, O, F, O], None),
        (&[F, O, F, O, F, O, F], Some(MoveReason::FailureRate)),
        (&[O, S, S, S, S, S], Some(MoveReason::SlowRate)),
        (&[O, O, S, S, S, S], None),
        (&[N, N, N, N, N, N, N, N], None),
    ];
    for (samples, reason) in table {
        let mut breaker = breaker();
        let moves: Vec<_> = samples
            .iter()
            .map(|sample| breaker.call(at(1.0), *sample).moved)
            .collect();
        let (last, before) = moves.split_last().unwrap();
        assert!(before.iter().all(Option::is_none), "{samples:?} opened too early");
        assert_eq!(last.map(|moved| moved.reason), *reason, "{samples:?}");
    }
}

#[test]
fn what_is_older_than_the_window_does_not_open() {
    let mut breaker = breaker();
    for second in [0.0, 1.0, 31.0] {
        assert_eq!(breaker.call(at(second), Sample::Failed).moved, None);
    }
    assert_eq!(breaker.window(at(31.0)), window(1, 1, 0, 1));
}

#[test]
fn the_open_time_doubles_up_to_its_cap_and_jitter_stays_below() {
    let spread = BreakerSettings {
        open_jitter: 0.2,
        ..settings()
    };
    let mut firsts = std::collections::BTreeSet::new();
    for seed in 0..50 {
        let mut breaker = Breaker::new(&spread, seed, at(0.0));
        let mut until = breaker.fail_until_open(at(0.0)).until.unwrap();
        let mut start = at(0.0);
        firsts.insert(until);
        for most in [5.0, 10.0, 20.0, 20.0, 20.0] {
            let lasted = until.since(start).as_secs_f64();
            assert!((most * 0.8..=most).contains(&lasted), "{lasted} of {most}");
            start = until;
            until = breaker.fail_until_open(start).until.unwrap();
        }
    }
    // else many breakers would probe at the same instant
    assert!(firsts.len() > 40);
}

#[test]
fn the_same_seed_draws_the_same_open_times() {
    let spread = BreakerSettings {
        open_jitter: 0.5,
        ..settings()
    };
    let until = |seed| {
        Breaker::new(&spread, seed, at(0.0))
            .fail_until_open(at(0.0))
            .until
    };
    assert_eq!(until(1), until(1));
    assert_ne!(until(1), until(2));
}

#[test]
fn a_hint_makes_the_open_time_longer_but_not_endless() {
    // (hint, open until)
    let table = [
        (None, at(5.0)),
        (Some(at(2.0)), at(5.0)),
        (Some(at(17.0)), at(17.0)),
        (Some(Timestamp::MAX), at(3600.0)),
    ];
    for (hint, until) in table {
        let mut breaker = breaker();
        let _ = (
            breaker.call(at(0.0), Sample::Failed),
            breaker.call(at(0.0), Sample::Failed),
        );
        let permit = breaker.must_permit(at(0.0));
        let moved = breaker.settle(at(0.0), permit, Sample::Failed, hint).moved;
        assert_eq!(moved.unwrap().until, Some(until), "{hint:?}");
    }
}

#[test]
fn a_slow_probe_is_bad_only_where_slow_calls_can_open() {
    for (slow_rate, to) in [
        (0.8, BreakerState::Open),
        (1.0, BreakerState::Open),
        (1.1, BreakerState::Closed),
    ] {
        let mut breaker = Breaker::new(
            &BreakerSettings {
                slow_rate,
                successes_to_close: 1,
                ..settings()
            },
            7,
            at(0.0),
        );
        let _opened = breaker.fail_until_open(at(0.0));
        let moved = breaker.call(at(5.0), Sample::Slow).moved.unwrap();
        assert_eq!(moved.to, to, "slow_rate {slow_rate}");
    }
}

// === the known bugs of others ===

/// Hystrix before PR 1621, resilience4j 544: the probe was cancelled or its error ignored, its permit never came
/// back, and the breaker stayed half-open for ever.
#[test]
fn bug_a_cancelled_probe_does_not_wedge_it() {
    let mut breaker = breaker();
    let _opened = breaker.fail_until_open(at(0.0));
    let cancelled = breaker.call(at(5.0), Sample::Neutral);
    assert_eq!((cancelled.sample, cancelled.moved), (Sample::Neutral, None));
    assert_eq!(breaker.state(), BreakerState::HalfOpen);
    assert!(breaker.must_permit(at(5.0)).is_probe());
}

/// resilience4j 903, 1389: `maxWaitDurationInHalfOpenState = 0` waits for ever for a probe that was lost.
#[test]
fn bug_a_lost_probe_frees_its_place_when_its_lease_ends() {
    let mut breaker = breaker();
    let _opened = breaker.fail_until_open(at(0.0));
    let lost = breaker.must_permit(at(5.0));
    assert_eq!(breaker.next_change(at(5.0)), Some(at(65.0)));
    assert_eq!(breaker.refused_until(at(64.9)), None);
    let second = breaker.must_permit(at(65.0));
    // the lost one turns up after all: its place is taken, so it decides nothing, and frees nothing
    let late = breaker.settle(at(66.0), lost, Sample::Failed, None);
    assert_eq!((late.sample, late.probe, late.moved), (Sample::Late, true, None));
    assert_eq!(breaker.follow(&late), None);
    assert_eq!(breaker.refused_until(at(66.0)), None);
    assert_eq!(
        breaker.settle(at(67.0), second, Sample::Ok, None).sample,
        Sample::Ok
    );
}

/// A probe that outlives its lease is the best evidence there is, as long as nobody took its place.
#[test]
fn a_probe_that_comes_back_late_to_its_own_place_counts() {
    let mut breaker = breaker();
    let _opened = breaker.fail_until_open(at(0.0));
    let slow = breaker.must_permit(at(5.0));
    assert_eq!(
        breaker.settle(at(90.0), slow, Sample::Ok, None).sample,
        Sample::Ok
    );
    assert!(breaker.call(at(90.0), Sample::Ok).moved.is_some());
}

#[test]
fn a_stream_that_breaks_after_its_first_token_is_a_failed_probe() {
    let mut breaker = breaker();
    let _opened = breaker.fail_until_open(at(0.0));
    let first = breaker.call(at(5.0), Sample::Ok);
    let rest = breaker.follow(&first).unwrap();
    // the place is free: a long answer holds nobody up
    let second = breaker.must_permit(at(6.0));
    assert!(!rest.is_probe() && second.is_probe());
    let broken = breaker.settle(at(7.0), rest, Sample::Failed, None);
    let moved = broken.moved.unwrap();
    assert_eq!(
        (moved.to, moved.reason, moved.until),
        (BreakerState::Open, MoveReason::ProbeFailed, Some(at(17.0)))
    );
    let late = breaker.settle(at(8.0), second, Sample::Ok, None);
    assert_eq!((late.sample, late.moved), (Sample::Late, None));
}

#[test]
fn the_good_end_of_a_judged_stream_counts_no_second_time() {
    for end in [Sample::Ok, Sample::Slow, Sample::Neutral] {
        let mut breaker = breaker();
        let _opened = breaker.fail_until_open(at(0.0));
        let first = breaker.call(at(5.0), Sample::Ok);
        let rest = breaker.follow(&first).unwrap();
        let second = breaker.must_permit(at(6.0));
        let settled = breaker.settle(at(7.0), rest, end, None);
        assert_eq!((settled.sample, settled.moved), (Sample::Neutral, None));
        assert_eq!(settled.window, window(1, 0, 0, 0));
        // and the place of the second one is not given away
        assert_eq!(breaker.refused_until(at(7.0)), None);
        let closed = breaker.settle(at(8.0), second, Sample::Ok, None);
        assert_eq!(closed.moved.unwrap().reason, MoveReason::ProbesSucceeded);
        // what closed it goes on like any other
        let rest = breaker.follow(&closed).unwrap();
        let failed = breaker.settle(at(9.0), rest, Sample::Failed, None);
        assert_eq!(
            (failed.sample, failed.window),
            (Sample::Failed, window(1, 1, 0, 1))
        );
    }
}

#[test]
fn a_judged_stream_is_late_once_half_open_is_over() {
    let mut breaker = breaker();
    let _opened = breaker.fail_until_open(at(0.0));
    let first = breaker.call(at(5.0), Sample::Ok);
    let rest = breaker.follow(&first).unwrap();
    let failed = breaker.call(at(6.0), Sample::Failed);
    assert_eq!(breaker.follow(&failed), None);
    let late = breaker.settle(at(7.0), rest, Sample::Failed, None);
    assert_eq!((late.sample, late.moved), (Sample::Late, None));
}

/// The exercise, Envoy: after the open time everybody is let in, and a sick server is trampled.
#[test]
fn bug_half_open_does_not_let_everybody_in() {
    let mut breaker = breaker();
    let _opened = breaker.fail_until_open(at(0.0));
    let permits: Vec<_> = (0..100)
        .filter_map(|_| breaker.acquire(at(5.0)).permit.ok())
        .collect();
    assert_eq!(permits.len(), 1);
}

/// Breakers without generations: a call from before the outage ends well in the middle of it, and closes.
#[test]
fn bug_a_late_success_of_the_old_generation_does_not_close() {
    let mut breaker = Breaker::new(
        &BreakerSettings {
            successes_to_close: 1,
            ..settings()
        },
        7,
        at(0.0),
    );
    let old: Vec<_> = (0..3).map(|_| breaker.must_permit(at(0.0))).collect();
    let _opened = breaker.fail_until_open(at(0.0));
    let mut old = old.into_iter();
    // while open, while half-open, and after it closed
    let open = breaker.settle(at(1.0), old.next().unwrap(), Sample::Ok, None);
    let probe = breaker.must_permit(at(5.0));
    let half_open = breaker.settle(at(6.0), old.next().unwrap(), Sample::Ok, None);
    assert_eq!(breaker.state(), BreakerState::HalfOpen);
    assert_eq!(breaker.refused_until(at(6.0)), None);
    assert!(breaker.settle(at(6.0), probe, Sample::Ok, None).moved.is_some());
    let closed = breaker.settle(at(7.0), old.next().unwrap(), Sample::Failed, None);
    for settled in [open, half_open, closed] {
        assert_eq!((settled.sample, settled.moved), (Sample::Late, None));
    }
    assert_eq!(breaker.window(at(7.0)), WindowCounts::default());
}

/// Polly, as read: an outcome it does not handle closes the half-open circuit.
#[test]
fn bug_a_neutral_probe_does_not_heal() {
    let mut breaker = breaker();
    let _opened = breaker.fail_until_open(at(0.0));
    for _ in 0..10 {
        assert_eq!(breaker.call(at(5.0), Sample::Neutral).moved, None);
    }
    assert_eq!(breaker.state(), BreakerState::HalfOpen);
    // and neither does a caller who says "late"
    assert_eq!(breaker.call(at(5.0), Sample::Late).moved, None);
    assert!(breaker.must_permit(at(5.0)).is_probe());
}

// === people ===

#[test]
fn a_reset_closes_forgets_and_makes_older_permits_late() {
    let mut breaker = breaker();
    let _settled = (
        breaker.call(at(0.0), Sample::Failed),
        breaker.call(at(0.0), Sample::Failed),
    );
    let old = breaker.must_permit(at(0.0));
    let moved = Move {
        from: BreakerState::Closed,
        to: BreakerState::Closed,
        generation: 1,
        reason: MoveReason::Manual,
        until: None,
        window: window(2, 2, 0, 2),
    };
    let reset = Reset {
        moved,
        released: false,
    };
    assert_eq!(breaker.reset(at(1.0)), reset);
    let late = breaker.settle(at(2.0), old, Sample::Failed, None);
    assert_eq!(
        (late.sample, late.window),
        (Sample::Late, WindowCounts::default())
    );
    // the doubled open times are forgotten too
    let _opened = breaker.fail_until_open(at(10.0));
    let _opened = breaker.fail_until_open(at(15.0));
    assert_eq!(breaker.reset(at(16.0)).moved.from, BreakerState::Open);
    assert_eq!(breaker.fail_until_open(at(20.0)).until, Some(at(25.0)));
}

#[test]
fn forced_open_refuses_all_and_let_go_it_is_closed_and_empty() {
    let mut breaker = breaker();
    let _settled = breaker.call(at(0.0), Sample::Failed);
    let inside = breaker.must_permit(at(0.0));
    let moved = breaker.force(at(1.0), BreakerMode::ForcedOpen).unwrap();
    assert_eq!(
        (moved.from, moved.to, moved.reason, moved.until),
        (BreakerState::Closed, BreakerState::Open, MoveReason::Manual, None)
    );
    assert_eq!(breaker.refused_until(at(100_000.0)), None);
    assert_eq!(breaker.next_change(at(1.0)), None);
    assert_eq!(breaker.force(at(1.0), BreakerMode::ForcedOpen), None);
    let late = breaker.settle(at(2.0), inside, Sample::Failed, None);
    assert_eq!(late.sample, Sample::Late);
    let moved = breaker.force(at(3.0), BreakerMode::Automatic).unwrap();
    assert_eq!((moved.to, moved.generation), (BreakerState::Closed, 2));
    assert_eq!(breaker.window(at(3.0)), WindowCounts::default());
}

#[test]
fn forced_open_while_open_takes_its_end_away() {
    let mut breaker = breaker();
    let _opened = breaker.fail_until_open(at(0.0));
    assert_eq!(breaker.force(at(1.0), BreakerMode::ForcedOpen), None);
    assert_eq!((breaker.until(), breaker.generation()), (None, 1));
    assert_eq!(breaker.refused_until(at(1000.0)), None);
    let reset = breaker.reset(at(1001.0));
    assert!(reset.released);
    assert_eq!(
        (breaker.mode(), breaker.state()),
        (BreakerMode::Automatic, BreakerState::Closed)
    );
}

#[test]
fn forced_closed_lets_all_through_and_counts() {
    let mut breaker = breaker();
    let _opened = breaker.fail_until_open(at(0.0));
    let moved = breaker.force(at(1.0), BreakerMode::ForcedClosed).unwrap();
    assert_eq!((moved.from, moved.to), (BreakerState::Open, BreakerState::Closed));
    for _ in 0..20 {
        assert_eq!(breaker.call(at(2.0), Sample::Failed).moved, None);
    }
    // let go, it goes on with what it has seen: the next failure opens
    assert_eq!(breaker.force(at(3.0), BreakerMode::Automatic), None);
    assert_eq!(breaker.window(at(3.0)), window(20, 20, 0, 20));
    assert_eq!(breaker.call(at(3.0), Sample::Ok).moved, None);
    let opened = breaker.call(at(3.0), Sample::Failed).moved.unwrap();
    assert_eq!(opened.reason, MoveReason::FailureRate);
}

#[test]
fn switched_off_it_is_closed_and_counts_nothing() {
    let off = BreakerSettings {
        enabled: false,
        ..settings()
    };
    let mut breaker = breaker();
    let _opened = breaker.fail_until_open(at(0.0));
    let moved = breaker.configure(&off, at(1.0)).unwrap();
    assert_eq!(
        (moved.to, moved.reason),
        (BreakerState::Closed, MoveReason::Manual)
    );
    for _ in 0..20 {
        assert_eq!(breaker.call(at(1.0), Sample::Failed).moved, None);
    }
    assert_eq!(breaker.window(at(1.0)), WindowCounts::default());
    // a mode is remembered, and holds once it is on
    assert_eq!(breaker.force(at(1.0), BreakerMode::ForcedOpen), None);
    assert_eq!(breaker.check(at(1.0)), Check::Pass);
    let moved = breaker.configure(&settings(), at(2.0)).unwrap();
    assert_eq!(moved.to, BreakerState::Open);
}

#[test]
fn other_settings_keep_the_state_and_the_window() {
    let mut breaker = breaker();
    let _settled = (
        breaker.call(at(0.0), Sample::Failed),
        breaker.call(at(0.0), Sample::Failed),
    );
    let stricter = BreakerSettings {
        consecutive: 2,
        ..settings()
    };
    assert_eq!(breaker.configure(&stricter, at(1.0)), None);
    assert_eq!(breaker.window(at(1.0)), window(2, 2, 0, 2));
    let shorter = BreakerSettings {
        window: 10 * SECOND,
        ..stricter
    };
    assert_eq!(breaker.configure(&shorter, at(1.0)), None);
    assert_eq!(breaker.window(at(1.0)), WindowCounts::default());
}

#[test]
fn a_clock_read_before_the_lock_does_no_harm() {
    let mut breaker = breaker();
    let _opened = breaker.fail_until_open(at(10.0));
    assert_eq!(breaker.refused_until(at(9.0)), Some(at(15.0)));
    let _probe = breaker.must_permit(at(15.0));
    assert_eq!(breaker.refused_until(at(14.0)), None);
}

// === random traffic ===

#[derive(Clone, Debug)]
enum Op {
    Acquire,
    Settle {
        nth: usize,
        sample: Sample,
        hint: Option<u64>,
    },
    Lose {
        nth: usize,
    },
    Force(BreakerMode),
    Reset,
    Switch {
        on: bool,
    },
    Advance {
        millis: u64,
    },
}

fn operation() -> impl Strategy<Value = Op> {
    let sample = prop_oneof![
        4 => Just(Sample::Failed),
        4 => Just(Sample::Ok),
        2 => Just(Sample::Slow),
        2 => Just(Sample::Neutral),
        1 => Just(Sample::Late),
    ];
    let mode = prop_oneof![
        3 => Just(BreakerMode::Automatic),
        1 => Just(BreakerMode::ForcedOpen),
        1 => Just(BreakerMode::ForcedClosed),
    ];
    prop_oneof![
        16 => Just(Op::Acquire),
        14 => (0_usize..6, sample, prop::option::weighted(0.1, 0_u64..100))
            .prop_map(|(nth, sample, hint)| Op::Settle { nth, sample, hint }),
        1 => (0_usize..6).prop_map(|nth| Op::Lose { nth }),
        1 => mode.prop_map(Op::Force),
        1 => Just(Op::Reset),
        1 => prop::bool::weighted(0.8).prop_map(|on| Op::Switch { on }),
        8 => (0_u64..8000).prop_map(|millis| Op::Advance { millis }),
    ]
}

/// A breaker, its callers, and what can be said of it from outside by keeping lists.
struct World {
    breaker: Breaker,
    now: Timestamp,
    permits: Vec<Permit>,
    state: BreakerState,
    generation: u64,
    until: Option<Timestamp>,
    /// Outcomes of this generation.
    outcomes: Vec<(Timestamp, Sample)>,
    /// The probe in its place: its permit's number, and its lease.
    probe: Option<(u64, Timestamp)>,
    good: u32,
    failed_probes: i32,
    taken: usize,
    returned: usize,
    lost: usize,
}

impl World {
    fn new() -> Self {
        let settings = BreakerSettings {
            // short, so that probes are lost and replaced often
            probe_lease: 6 * SECOND,
            open_jitter: 0.5,
            ..settings()
        };
        Self {
            breaker: Breaker::new(&settings, 7, Timestamp::ZERO),
            now: Timestamp::ZERO,
            permits: Vec::new(),
            state: BreakerState::Closed,
            generation: 0,
            until: None,
            outcomes: Vec::new(),
            probe: None,
            good: 0,
            failed_probes: 0,
            taken: 0,
            returned: 0,
            lost: 0,
        }
    }

    fn settings(&self) -> BreakerSettings {
        self.breaker.settings.clone()
    }

    /// Invariant 18, and what a new generation begins with.
    fn moved(&mut self, moved: Option<Move>) {
        use BreakerState::{Closed, HalfOpen, Open};
        use MoveReason::{
            Consecutive, CoolDown, FailureRate, Manual, ProbeFailed, ProbesSucceeded, SlowRate,
        };
        let Some(moved) = moved else {
            return;
        };
        assert_eq!((moved.from, moved.generation), (self.state, self.generation + 1));
        let legal = match moved.reason {
            FailureRate | Consecutive | SlowRate => (moved.from, moved.to) == (Closed, Open),
            CoolDown => (moved.from, moved.to) == (Open, HalfOpen),
            ProbesSucceeded => (moved.from, moved.to) == (HalfOpen, Closed),
            ProbeFailed => (moved.from, moved.to) == (HalfOpen, Open),
            Manual => moved.to != HalfOpen,
        };
        assert!(legal, "{moved:?}");
        assert_eq!(moved.window, self.counts());
        assert_eq!(moved.until.is_some(), moved.to == Open && moved.reason != Manual);
        self.state = moved.to;
        self.generation = moved.generation;
        self.until = moved.until;
        self.outcomes.clear();
        self.probe = None;
        self.good = 0;
        if moved.to == Closed {
            self.failed_probes = 0;
        }
    }

    /// The window, from the list.
    fn counts(&self) -> WindowCounts {
        let slot = |at: Timestamp| at.0 / 1_000_000_000;
        let is_live = |at: &Timestamp| slot(*at) + 30 > slot(self.now);
        let live: Vec<_> = self
            .outcomes
            .iter()
            .filter(|(at, _)| is_live(at))
            .map(|(_, sample)| *sample)
            .collect();
        let count = |wanted| live.iter().filter(|sample| **sample == wanted).count() as u32;
        let run = live
            .iter()
            .rev()
            .take_while(|sample| **sample == Sample::Failed)
            .count();
        window(
            live.len() as u32,
            count(Sample::Failed),
            count(Sample::Slow),
            run as u32,
        )
    }

    fn acquire(&mut self) {
        let on = self.breaker.settings.enabled;
        let check = self.breaker.check(self.now);
        let Acquired { permit, moved } = self.breaker.acquire(self.now);
        assert_eq!(check == Check::Pass, permit.is_ok());
        if let Some(moved) = moved {
            // nobody passes before the open time is over
            assert!(self.until.unwrap() <= self.now);
            assert_eq!(moved.reason, MoveReason::CoolDown);
        }
        self.moved(moved);
        match permit {
            Ok(permit) => {
                // invariant 19: nobody passes while open, and one at a time while half-open
                assert_ne!(self.state, BreakerState::Open);
                assert_eq!(permit.is_probe(), self.state == BreakerState::HalfOpen);
                assert_eq!(permit.generation(), self.generation);
                if let Some(number) = permit.probe {
                    assert!(self.probe.is_none_or(|(_, lease)| lease <= self.now));
                    self.probe = Some((number, self.now + self.settings().probe_lease));
                }
                self.taken += 1;
                self.permits.push(permit);
            }
            Err(refusal) => {
                assert!(on, "refused while switched off");
                let until = match self.state {
                    BreakerState::Closed => panic!("refused while closed"),
                    BreakerState::Open => self.until,
                    BreakerState::HalfOpen => {
                        assert!(self.probe.unwrap().1 > self.now, "refused without a probe");
                        None
                    }
                };
                assert!(until.is_none_or(|until| until > self.now));
                assert_eq!(refusal, Refusal { until });
            }
        }
    }

    /// What an outcome must lead to, by the rules as they are written.
    fn verdict(&self, sample: Sample) -> Option<MoveReason> {
        let settings = self.settings();
        let counts = self.counts();
        let is_bad = matches!(sample, Sample::Failed | Sample::Slow);
        let full = counts.total >= settings.min_calls;
        match self.state {
            BreakerState::HalfOpen if is_bad => Some(MoveReason::ProbeFailed),
            BreakerState::HalfOpen
                if sample == Sample::Ok && self.good + 1 >= settings.successes_to_close =>
            {
                Some(MoveReason::ProbesSucceeded)
            }
            BreakerState::Closed
                if is_bad && self.breaker.mode() == BreakerMode::Automatic && settings.enabled =>
            {
                // half failed, four fifths slow
                let rules = [
                    (
                        counts.consecutive >= settings.consecutive,
                        MoveReason::Consecutive,
                    ),
                    (full && counts.failed * 2 >= counts.total, MoveReason::FailureRate),
                    (full && counts.slow * 5 >= counts.total * 4, MoveReason::SlowRate),
                ];
                rules
                    .into_iter()
                    .find(|(holds, _)| *holds)
                    .map(|(_, reason)| reason)
            }
            _ => None,
        }
    }

    fn settle(&mut self, nth: usize, sample: Sample, hint: Option<u64>) {
        if self.permits.is_empty() {
            return;
        }
        let permit = self.permits.remove(nth % self.permits.len());
        let Permit {
            generation, probe, ..
        } = permit;
        let in_place = probe.is_none_or(|number| self.probe.is_some_and(|(place, _)| place == number));
        let is_late = generation != self.generation || !in_place;
        let said = if sample == Sample::Late {
            Sample::Neutral
        } else {
            sample
        };
        let before = self.counts();
        let hint = hint.map(|seconds| self.now + seconds as u32 * SECOND);
        let settled = self.breaker.settle(self.now, permit, sample, hint);
        self.returned += 1;
        assert_eq!((settled.generation, settled.probe), (generation, probe.is_some()));
        if is_late {
            // invariant 21
            assert_eq!(
                (settled.sample, settled.moved, settled.window),
                (Sample::Late, None, before)
            );
            return;
        }
        assert_eq!(settled.sample, said);
        if said == Sample::Neutral {
            // invariant 22
            assert_eq!((settled.moved, settled.window), (None, before));
        } else if self.breaker.settings.enabled {
            self.outcomes.push((self.now, said));
        }
        assert_eq!(settled.window, self.counts());
        assert_eq!(settled.moved.map(|moved| moved.reason), self.verdict(said));
        if probe.is_some() {
            self.probe = None;
            self.good += u32::from(said == Sample::Ok);
        }
        if let Some(Move {
            until: Some(until),
            reason,
            ..
        }) = settled.moved
        {
            self.failed_probes += i32::from(reason == MoveReason::ProbeFailed);
            let longest = (5.0 * 2_f64.powi(self.failed_probes)).min(20.0);
            let lasts = until.since(self.now).as_secs_f64();
            let hinted = hint.map_or(0.0, |hint| hint.since(self.now).as_secs_f64());
            assert!(
                lasts >= hinted.max(longest * 0.5) && lasts <= hinted.max(longest),
                "{lasts} s"
            );
        }
        self.moved(settled.moved);
    }

    fn apply(&mut self, op: &Op) {
        match *op {
            Op::Acquire => self.acquire(),
            Op::Settle { nth, sample, hint } => self.settle(nth, sample, hint),
            Op::Lose { nth } if !self.permits.is_empty() => {
                drop(self.permits.remove(nth % self.permits.len()));
                self.lost += 1;
            }
            Op::Lose { .. } => {}
            Op::Force(mode) => {
                let moved = self.breaker.force(self.now, mode);
                self.moved(moved);
                if mode == BreakerMode::ForcedOpen {
                    self.until = None;
                }
                assert_eq!(self.breaker.mode(), mode);
            }
            Op::Reset => {
                let Reset { moved, .. } = self.breaker.reset(self.now);
                self.moved(Some(moved));
                assert_eq!(self.state, BreakerState::Closed);
            }
            Op::Switch { on } => {
                let settings = BreakerSettings {
                    enabled: on,
                    ..self.settings()
                };
                let moved = self.breaker.configure(&settings, self.now);
                self.moved(moved);
                if !on {
                    self.outcomes.clear();
                }
            }
            Op::Advance { millis } => self.now = self.now + Duration::from_millis(millis),
        }
        assert_eq!(self.breaker.state(), self.state);
        assert_eq!(self.breaker.generation(), self.generation);
        assert_eq!(self.breaker.until(), self.until);
        assert_eq!(self.breaker.window(self.now), self.counts());
        // invariant 20, the part that holds at any time
        assert_eq!(self.taken, self.returned + self.lost + self.permits.len());
    }

    /// Invariant 42: once nobody interferes and the upstream is well, it closes by itself, whatever was lost.
    fn recover(&mut self) {
        self.apply(&Op::Switch { on: true });
        self.apply(&Op::Force(BreakerMode::Automatic));
        self.permits.clear();
        // the longest hint, and the lease of a lost probe
        self.now = self.now + Duration::from_secs(100) + self.settings().probe_lease;
        for _ in 0..2 {
            let settled = self.breaker.call(self.now, Sample::Ok);
            assert_eq!(settled.sample, Sample::Ok);
        }
        assert_eq!(self.breaker.state(), BreakerState::Closed);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn it_keeps_its_invariants(ops in prop::collection::vec(operation(), 1..250)) {
        let mut world = World::new();
        for op in &ops {
            world.apply(op);
        }
        world.recover();
    }
}

/// Found in world 142367: three good probes were wanted and two were there, then other settings wanted two.
#[test]
fn other_settings_do_not_let_an_outcome_close_it_that_says_nothing() {
    let mut breaker = Breaker::new(
        &BreakerSettings {
            successes_to_close: 3,
            ..settings()
        },
        7,
        Timestamp::ZERO,
    );
    breaker.fail_until_open(at(0.0));
    for _ in 0..2 {
        assert_eq!(breaker.call(at(6.0), Sample::Ok).moved, None);
    }
    assert_eq!(breaker.configure(&settings(), at(7.0)), None);
    assert_eq!(breaker.call(at(7.0), Sample::Neutral).moved, None);
    assert_eq!(breaker.state(), BreakerState::HalfOpen);
    let closed = breaker.call(at(7.0), Sample::Ok).moved;
    assert_eq!(closed.map(|step| step.to), Some(BreakerState::Closed));
}
