//! Examples, known bugs of other breakers, then random traffic against a simpler model.

use proptest::prelude::*;

use super::*;

const SECOND: Duration = Duration::from_secs(1);

fn at(seconds: f64) -> Timestamp {
    Timestamp::from_secs_f64(seconds)
}

/// 3 failures in a row or half of 6 in 30 s open for 5 s, then 10 s, then 20 s; 2 good probes close and 6 good
/// outcomes end the doubling. No jitter.
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
            Err(rejection) => panic!("{rejection:?}"),
        }
    }

    /// One call from permit to outcome.
    fn call(&mut self, now: Timestamp, sample: Sample) -> SettledPermit {
        let permit = self.must_permit(now);
        self.settle(now, permit, sample, None)
    }

    fn fail_until_open(&mut self, now: Timestamp) -> Transition {
        for _ in 0..100 {
            if let Some(transition) = self.call(now, Sample::Failed).transition {
                return transition;
            }
        }
        panic!("100 failures did not open it");
    }

    fn rejected_until(&mut self, now: Timestamp) -> Option<Timestamp> {
        let Acquired { permit, transition } = self.acquire(now);
        assert_eq!(transition, None);
        let rejection = permit.unwrap_err();
        assert_eq!(self.check(now), Err(rejection));
        rejection.until
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
fn the_settings_of_these_tests_are_valid() {
    let policy = crate::settings::Policy {
        breaker: settings(),
        ..Default::default()
    };
    assert_eq!(policy.validate(), Ok(()));
}

#[test]
fn an_outage_from_the_first_failure_to_the_last_probe() {
    let mut breaker = breaker();
    // two failures are tolerated, the third opens
    assert_eq!(breaker.call(at(1.0), Sample::Failed).transition, None);
    assert_eq!(breaker.call(at(2.0), Sample::Failed).transition, None);
    let opened = Transition {
        from: BreakerState::Closed,
        to: BreakerState::Open,
        generation: 1,
        reason: MoveReason::Consecutive,
        until: Some(at(8.0)),
        window: window(3, 3, 0, 3),
    };
    let settled = SettledPermit {
        sample: Sample::Failed,
        probe: false,
        generation: 0,
        window: window(3, 3, 0, 3),
        transition: Some(opened),
    };
    assert_eq!(breaker.call(at(3.0), Sample::Failed), settled);
    assert_eq!(breaker.window(at(3.0)), WindowCounts::default());
    // for five seconds all calls are rejected with the end of the open time
    assert_eq!(breaker.rejected_until(at(7.999)), Some(at(8.0)));
    assert_eq!(breaker.next_change(at(7.999)), Some(at(8.0)));
    // the open time is over: a check changes nothing
    assert_eq!(breaker.check(at(8.0)), Ok(()));
    assert_eq!(breaker.state(), BreakerState::Open);
    // no further change is due: a timer set for an instant that has passed would spin
    assert_eq!(breaker.next_change(at(8.0)), None);
    // the first call is the probe, the others are rejected until its result
    let Acquired { permit, transition } = breaker.acquire(at(8.0));
    let half_open = Transition {
        from: BreakerState::Open,
        to: BreakerState::HalfOpen,
        generation: 2,
        reason: MoveReason::CoolDown,
        until: None,
        window: WindowCounts::default(),
    };
    assert_eq!(transition, Some(half_open));
    let probe = permit.unwrap();
    assert!(probe.is_probe());
    assert_eq!(breaker.rejected_until(at(8.5)), None);
    // the probe fails: open again, for twice as long
    let reopened = breaker
        .settle(at(9.0), probe, Sample::Failed, None)
        .transition
        .unwrap();
    assert_eq!(
        (reopened.reason, reopened.generation, reopened.until),
        (MoveReason::ProbeFailed, 3, Some(at(19.0)))
    );
    // the upstream is back: one good probe is not enough, two close
    assert_eq!(breaker.call(at(19.0), Sample::Ok).transition, None);
    assert_eq!(breaker.state(), BreakerState::HalfOpen);
    let closed = breaker.call(at(20.0), Sample::Ok).transition.unwrap();
    assert_eq!(
        (closed.to, closed.reason, closed.generation),
        (BreakerState::Closed, MoveReason::ProbesSucceeded, 5)
    );
    // six good outcomes later, the next outage starts with the short open time
    for _ in 0..6 {
        assert_eq!(breaker.call(at(29.0), Sample::Ok).transition, None);
    }
    assert_eq!(breaker.fail_until_open(at(30.0)).until, Some(at(35.0)));
}

#[test]
fn each_rule_opens_at_its_threshold_and_not_before() {
    use Sample::{Failed as F, Neutral as N, Ok as O, Slow as S};
    // the last outcome of each row opens, or none does
    let table: &[(&[Sample], Option<MoveReason>)] = &[
        (&[F, F, F], Some(MoveReason::Consecutive)),
        // a neutral outcome does not end a run, a good or a slow one does
        (&[F, N, F, N, F], Some(MoveReason::Consecutive)),
        (&[F, F, O, F, F], None),
        (&[F, F, S, F, F], None),
        (&[O, F, O, F, O, F], Some(MoveReason::FailureRate)),
        (&[O, O, F, O, O, F, O, F], None),
        // half failed, but five calls are too few
        (&[F, O, F, O, F], None),
        // a success that is the sixth call does not open, the failure after it does
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
            .map(|sample| breaker.call(at(1.0), *sample).transition)
            .collect();
        let (last, before) = moves.split_last().unwrap();
        assert!(before.iter().all(Option::is_none), "{samples:?} opened too early");
        assert_eq!(last.map(|transition| transition.reason), *reason, "{samples:?}");
    }
}

#[test]
fn failures_older_than_the_window_do_not_open() {
    let mut breaker = breaker();
    for second in [0.0, 1.0, 31.0] {
        assert_eq!(breaker.call(at(second), Sample::Failed).transition, None);
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
    // otherwise many breakers would probe at the same instant
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
fn a_hint_prolongs_the_open_time_by_at_most_an_hour() {
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
        let transition = breaker.settle(at(0.0), permit, Sample::Failed, hint).transition;
        assert_eq!(transition.unwrap().until, Some(until), "{hint:?}");
    }
}

#[test]
fn a_slow_probe_is_bad_only_if_slow_calls_can_open() {
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
        let transition = breaker.call(at(5.0), Sample::Slow).transition.unwrap();
        assert_eq!(transition.to, to, "slow_rate {slow_rate}");
    }
}

// === known bugs of other breakers ===

/// Hystrix before PR 1621, resilience4j 544: the probe was cancelled or its error ignored, its permit was never
/// returned, and the breaker stayed half-open.
#[test]
fn bug_a_cancelled_probe_does_not_block_half_open() {
    let mut breaker = breaker();
    let _opened = breaker.fail_until_open(at(0.0));
    let cancelled = breaker.call(at(5.0), Sample::Neutral);
    assert_eq!((cancelled.sample, cancelled.transition), (Sample::Neutral, None));
    assert_eq!(breaker.state(), BreakerState::HalfOpen);
    assert!(breaker.must_permit(at(5.0)).is_probe());
}

/// resilience4j 903, 1389: `maxWaitDurationInHalfOpenState = 0` waits indefinitely for a lost probe.
#[test]
fn bug_a_lost_probe_frees_its_place_when_its_lease_ends() {
    let mut breaker = breaker();
    let _opened = breaker.fail_until_open(at(0.0));
    let mut lost = breaker.must_permit(at(5.0));
    assert_eq!(breaker.next_change(at(5.0)), Some(at(65.0)));
    assert_eq!(breaker.rejected_until(at(64.9)), None);
    let second = breaker.must_permit(at(65.0));
    // the first token of the lost probe does not free the place of the second
    breaker.first_token(at(66.0), &mut lost);
    assert_eq!(lost.proven_at(), None);
    assert_eq!(breaker.rejected_until(at(66.0)), None);
    // its outcome counts, but does not free that place either
    let late = breaker.settle(at(66.0), lost, Sample::Ok, None);
    assert_eq!(
        (late.sample, late.probe, late.transition),
        (Sample::Ok, true, None)
    );
    assert_eq!(breaker.rejected_until(at(66.0)), None);
    let closed = breaker.settle(at(67.0), second, Sample::Ok, None);
    assert_eq!(closed.transition.unwrap().reason, MoveReason::ProbesSucceeded);
}

#[test]
fn first_tokens_admit_further_probes_and_close_nothing() {
    let mut breaker = breaker();
    let _opened = breaker.fail_until_open(at(0.0));
    let mut first = breaker.must_permit(at(5.0));
    assert_eq!(breaker.rejected_until(at(5.0)), None);
    breaker.first_token(at(5.5), &mut first);
    let mut second = breaker.must_permit(at(6.0));
    breaker.first_token(at(6.5), &mut second);
    assert_eq!(breaker.state(), BreakerState::HalfOpen);
    // two may run, as many as close it; the next place is free when the first lease ends
    assert_eq!(breaker.rejected_until(at(7.0)), None);
    assert_eq!(breaker.next_change(at(7.0)), Some(at(65.5)));
    assert_eq!(breaker.settle(at(8.0), first, Sample::Ok, None).transition, None);
    assert_eq!(breaker.next_change(at(8.0)), None);
    let third = breaker.must_permit(at(8.0));
    let closed = breaker.settle(at(9.0), second, Sample::Ok, None).transition;
    assert_eq!(closed.unwrap().reason, MoveReason::ProbesSucceeded);
    let late = breaker.settle(at(9.0), third, Sample::Ok, None);
    assert_eq!((late.sample, late.transition), (Sample::Late, None));
}

/// Every stream gives text at once and is cut two seconds later; two calls per second.
#[test]
fn an_upstream_that_cuts_every_stream_is_probed_ever_less() {
    let mut breaker = breaker();
    let (mut running, mut attempts, mut opened) = (Vec::new(), 0, Vec::new());
    for half_second in 0..90 {
        let now = at(f64::from(half_second) / 2.0);
        let cut: Vec<_> = running
            .extract_if(.., |(begun, _): &mut (i32, Permit)| half_second - *begun >= 4)
            .collect();
        for (_, permit) in cut {
            let settled = breaker.settle(now, permit.cut(), Sample::Failed, None);
            opened.extend(settled.transition.and_then(|transition| transition.until));
        }
        if let Ok(mut permit) = breaker.acquire(now).permit {
            breaker.first_token(now, &mut permit);
            running.push((half_second, permit));
            attempts += 1;
        }
    }
    // opened at 3, 10 and 22 s, for 5, 10 and 20 s
    assert_eq!(opened, [at(8.0), at(20.0), at(42.0), at(64.0)]);
    assert_eq!(attempts, 6 + 3 * 2);
}

/// Streams that were admitted before, and fail now.
#[test]
fn the_cut_of_a_stream_counts_in_whatever_generation_it_happens() {
    let failed = |breaker: &mut Breaker, now, permit: Permit| {
        let settled = breaker.settle(at(now), permit.cut(), Sample::Failed, None);
        (settled.sample, settled.window.failed, settled.transition)
    };
    let mut breaker = breaker();
    let mut old: Vec<_> = (0..4).map(|_| breaker.must_permit(at(0.0))).collect();
    let _opened = breaker.fail_until_open(at(0.0));
    // open: nothing to change
    assert_eq!(failed(&mut breaker, 1.0, old.remove(0)), (Sample::Late, 0, None));
    // half-open: the count of good probes starts again
    assert_eq!(breaker.call(at(5.0), Sample::Ok).transition, None);
    assert_eq!(
        failed(&mut breaker, 5.0, old.remove(0)),
        (Sample::Failed, 1, None)
    );
    assert_eq!(breaker.call(at(6.0), Sample::Ok).transition, None);
    let probe = breaker.must_permit(at(6.0));
    assert!(
        breaker
            .settle(at(7.0), probe, Sample::Ok, None)
            .transition
            .is_some()
    );
    // closed: a failure in the window. Silence is no cut
    assert_eq!(
        failed(&mut breaker, 8.0, old.remove(0)),
        (Sample::Failed, 1, None)
    );
    let silent = breaker.settle(at(8.0), old.remove(0), Sample::Failed, None);
    assert_eq!((silent.sample, silent.window.failed), (Sample::Late, 1));
}

/// A probe admitted half-open, whose first token admitted the next; that one fails first.
#[test]
fn the_cut_of_a_probe_is_not_lost_when_another_opened() {
    let mut breaker = breaker();
    let _opened = breaker.fail_until_open(at(0.0));
    let mut first = breaker.must_permit(at(5.0));
    breaker.first_token(at(5.0), &mut first);
    let second = breaker.must_permit(at(5.0));
    let reopened = breaker.settle(at(6.0), second.cut(), Sample::Failed, None);
    assert_eq!(reopened.transition.unwrap().until, Some(at(16.0)));
    assert_eq!(breaker.call(at(16.0), Sample::Ok).transition, None);
    let cut = breaker.settle(at(17.0), first.cut(), Sample::Failed, None);
    assert_eq!(
        (cut.sample, cut.probe, cut.transition),
        (Sample::Failed, true, None)
    );
    assert_eq!(breaker.call(at(17.0), Sample::Ok).transition, None);
    assert!(breaker.call(at(17.0), Sample::Ok).transition.is_some());
}

#[test]
fn probes_that_deliver_past_their_lease_close_and_only_a_failure_of_the_rest_counts() {
    for (end, sample, failed) in [
        (Sample::Ok, Sample::Neutral, 0),
        (Sample::Slow, Sample::Neutral, 0),
        (Sample::Neutral, Sample::Neutral, 0),
        (Sample::Failed, Sample::Failed, 1),
    ] {
        let mut breaker = breaker();
        let _opened = breaker.fail_until_open(at(0.0));
        let mut rests = Vec::new();
        for second in [6.0, 7.0] {
            let mut permit = breaker.must_permit(at(second - 1.0));
            breaker.first_token(at(second), &mut permit);
            assert_eq!(permit.proven_at(), Some(at(second + 60.0)));
            rests.push(permit);
        }
        let first = breaker.settle(at(66.0), rests.remove(0), Sample::Ok, None);
        assert_eq!((first.sample, first.transition), (Sample::Ok, None));
        let rest = breaker.continue_stream().unwrap();
        assert!(!rest.is_probe() && rest.proven_at().is_none());
        let closed = breaker.settle(at(67.0), rests.remove(0), Sample::Ok, None);
        assert_eq!(closed.transition.unwrap().reason, MoveReason::ProbesSucceeded);
        let second_rest = breaker.continue_stream().unwrap();
        let settled = breaker.settle(at(300.0), second_rest, end, None);
        assert_eq!(
            (settled.sample, settled.window.failed),
            (sample, failed),
            "{end:?}"
        );
        // the first one is of half-open, which is over
        let late = breaker.settle(at(300.0), rest, end, None);
        assert_eq!(late.sample, Sample::Late);
    }
}

#[test]
fn the_failed_rest_of_a_probe_opens_while_half_open() {
    let mut breaker = breaker();
    let _opened = breaker.fail_until_open(at(0.0));
    let mut long = breaker.must_permit(at(5.0));
    breaker.first_token(at(5.0), &mut long);
    assert_eq!(breaker.settle(at(65.0), long, Sample::Ok, None).transition, None);
    let rest = breaker.continue_stream().unwrap();
    let opened = breaker.settle(at(66.0), rest, Sample::Failed, None).transition;
    assert_eq!(opened.unwrap().reason, MoveReason::ProbeFailed);
    assert_eq!(breaker.continue_stream(), None);
}

#[test]
fn the_open_time_doubles_until_enough_outcomes_were_good() {
    // (good outcomes between closing and the next failure, length of the next open time)
    for (good, lasts) in [(0, 10.0), (5, 10.0), (6, 5.0), (60, 5.0)] {
        let mut breaker = breaker();
        let _opened = breaker.fail_until_open(at(0.0));
        for _ in 0..2 {
            let _good = breaker.call(at(5.0), Sample::Ok);
        }
        for _ in 0..good {
            assert_eq!(breaker.call(at(6.0), Sample::Ok).transition, None);
        }
        // however long it was closed: silence proves nothing
        let opened = breaker.fail_until_open(at(10_000.0));
        assert_eq!(opened.until, Some(at(10_000.0 + lasts)), "{good} good outcomes");
    }
}

/// The exercise, Envoy: after the open time all calls are admitted, which overloads a failing server.
#[test]
fn bug_half_open_admits_only_one_call() {
    let mut breaker = breaker();
    let _opened = breaker.fail_until_open(at(0.0));
    let permits: Vec<_> = (0..100)
        .filter_map(|_| breaker.acquire(at(5.0)).permit.ok())
        .collect();
    assert_eq!(permits.len(), 1);
}

/// Breakers without generations: a call from before the outage succeeds during it and closes the breaker.
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
    assert_eq!(breaker.rejected_until(at(6.0)), None);
    assert!(
        breaker
            .settle(at(6.0), probe, Sample::Ok, None)
            .transition
            .is_some()
    );
    let closed = breaker.settle(at(7.0), old.next().unwrap(), Sample::Failed, None);
    for settled in [open, half_open, closed] {
        assert_eq!((settled.sample, settled.transition), (Sample::Late, None));
    }
    assert_eq!(breaker.window(at(7.0)), WindowCounts::default());
}

/// Polly, from reading its code: an outcome it does not handle closes the half-open circuit.
#[test]
fn bug_a_neutral_probe_does_not_close() {
    let mut breaker = breaker();
    let _opened = breaker.fail_until_open(at(0.0));
    for _ in 0..10 {
        assert_eq!(breaker.call(at(5.0), Sample::Neutral).transition, None);
    }
    assert_eq!(breaker.state(), BreakerState::HalfOpen);
    // nor does `Late` from a caller
    assert_eq!(breaker.call(at(5.0), Sample::Late).transition, None);
    assert!(breaker.must_permit(at(5.0)).is_probe());
}

// === modes and settings ===

#[test]
fn a_reset_closes_clears_and_makes_older_permits_late() {
    let mut breaker = breaker();
    let _settled = (
        breaker.call(at(0.0), Sample::Failed),
        breaker.call(at(0.0), Sample::Failed),
    );
    let old = breaker.must_permit(at(0.0));
    let transition = Transition {
        from: BreakerState::Closed,
        to: BreakerState::Closed,
        generation: 1,
        reason: MoveReason::Manual,
        until: None,
        window: window(2, 2, 0, 2),
    };
    let reset = Reset {
        transition,
        released: false,
    };
    assert_eq!(breaker.reset(at(1.0)), reset);
    let late = breaker.settle(at(2.0), old, Sample::Failed, None);
    assert_eq!(
        (late.sample, late.window),
        (Sample::Late, WindowCounts::default())
    );
    // the doubled open time is reset too
    let _opened = breaker.fail_until_open(at(10.0));
    let _opened = breaker.fail_until_open(at(15.0));
    assert_eq!(breaker.reset(at(16.0)).transition.from, BreakerState::Open);
    assert_eq!(breaker.fail_until_open(at(20.0)).until, Some(at(25.0)));
}

#[test]
fn forced_open_rejects_all_and_released_it_is_closed_and_empty() {
    let mut breaker = breaker();
    let _settled = breaker.call(at(0.0), Sample::Failed);
    let inside = breaker.must_permit(at(0.0));
    let transition = breaker.force(at(1.0), BreakerMode::ForcedOpen).unwrap();
    assert_eq!(
        (
            transition.from,
            transition.to,
            transition.reason,
            transition.until
        ),
        (BreakerState::Closed, BreakerState::Open, MoveReason::Manual, None)
    );
    assert_eq!(breaker.rejected_until(at(100_000.0)), None);
    assert_eq!(breaker.next_change(at(1.0)), None);
    assert_eq!(breaker.force(at(1.0), BreakerMode::ForcedOpen), None);
    let late = breaker.settle(at(2.0), inside, Sample::Failed, None);
    assert_eq!(late.sample, Sample::Late);
    let transition = breaker.force(at(3.0), BreakerMode::Automatic).unwrap();
    assert_eq!((transition.to, transition.generation), (BreakerState::Closed, 2));
    assert_eq!(breaker.window(at(3.0)), WindowCounts::default());
}

#[test]
fn forced_open_while_open_has_no_end() {
    let mut breaker = breaker();
    let _opened = breaker.fail_until_open(at(0.0));
    assert_eq!(breaker.force(at(1.0), BreakerMode::ForcedOpen), None);
    assert_eq!((breaker.until(), breaker.generation()), (None, 1));
    assert_eq!(breaker.rejected_until(at(1000.0)), None);
    let reset = breaker.reset(at(1001.0));
    assert!(reset.released);
    assert_eq!(
        (breaker.mode(), breaker.state()),
        (BreakerMode::Automatic, BreakerState::Closed)
    );
}

#[test]
fn forced_closed_admits_all_and_counts() {
    let mut breaker = breaker();
    let _opened = breaker.fail_until_open(at(0.0));
    let transition = breaker.force(at(1.0), BreakerMode::ForcedClosed).unwrap();
    assert_eq!(
        (transition.from, transition.to),
        (BreakerState::Open, BreakerState::Closed)
    );
    for _ in 0..20 {
        assert_eq!(breaker.call(at(2.0), Sample::Failed).transition, None);
    }
    // released, it keeps its window: the next failure opens
    assert_eq!(breaker.force(at(3.0), BreakerMode::Automatic), None);
    assert_eq!(breaker.window(at(3.0)), window(20, 20, 0, 20));
    assert_eq!(breaker.call(at(3.0), Sample::Ok).transition, None);
    let opened = breaker.call(at(3.0), Sample::Failed).transition.unwrap();
    assert_eq!(opened.reason, MoveReason::FailureRate);
}

#[test]
fn disabled_it_is_closed_and_counts_nothing() {
    let off = BreakerSettings {
        enabled: false,
        ..settings()
    };
    let mut breaker = breaker();
    let _opened = breaker.fail_until_open(at(0.0));
    let transition = breaker.configure(&off, at(1.0)).unwrap();
    assert_eq!(
        (transition.to, transition.reason),
        (BreakerState::Closed, MoveReason::Manual)
    );
    for _ in 0..20 {
        assert_eq!(breaker.call(at(1.0), Sample::Failed).transition, None);
    }
    assert_eq!(breaker.window(at(1.0)), WindowCounts::default());
    // the mode is kept and applies once the breaker is enabled
    assert_eq!(breaker.force(at(1.0), BreakerMode::ForcedOpen), None);
    assert_eq!(breaker.check(at(1.0)), Ok(()));
    let transition = breaker.configure(&settings(), at(2.0)).unwrap();
    assert_eq!(transition.to, BreakerState::Open);
}

#[test]
fn new_settings_keep_the_state_and_the_window() {
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
fn tolerates_a_timestamp_older_than_the_latest() {
    let mut breaker = breaker();
    let _opened = breaker.fail_until_open(at(10.0));
    assert_eq!(breaker.rejected_until(at(9.0)), Some(at(15.0)));
    let _probe = breaker.must_permit(at(15.0));
    assert_eq!(breaker.rejected_until(at(14.0)), None);
}

// === random traffic ===

#[derive(Clone, Debug)]
enum Op {
    Acquire,
    Settle {
        nth: usize,
        sample: Sample,
        hint: Option<u64>,
        cut: bool,
    },
    FirstToken {
        nth: usize,
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
        14 => (0_usize..6, sample, prop::option::weighted(0.1, 0_u64..100), any::<bool>())
            .prop_map(|(nth, sample, hint, cut)| Op::Settle { nth, sample, hint, cut }),
        8 => (0_usize..6).prop_map(|nth| Op::FirstToken { nth }),
        1 => (0_usize..6).prop_map(|nth| Op::Lose { nth }),
        1 => mode.prop_map(Op::Force),
        1 => Just(Op::Reset),
        1 => prop::bool::weighted(0.8).prop_map(|on| Op::Switch { on }),
        8 => (0_u64..8000).prop_map(|millis| Op::Advance { millis }),
    ]
}

/// A breaker, its open permits, and a model that keeps lists of outcomes.
struct World {
    breaker: Breaker,
    now: Timestamp,
    permits: Vec<Permit>,
    state: BreakerState,
    generation: u64,
    until: Option<Timestamp>,
    /// Outcomes of this generation.
    outcomes: Vec<(Timestamp, Sample)>,
    /// The probes that hold a place; true for those with a first token.
    probes: Vec<(Probe, bool)>,
    good: u32,
    doublings: i32,
    taken: usize,
    returned: usize,
    lost: usize,
}

impl World {
    fn new() -> Self {
        let settings = BreakerSettings {
            // short, so that probes are often lost and replaced
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
            probes: Vec::new(),
            good: 0,
            doublings: 0,
            taken: 0,
            returned: 0,
            lost: 0,
        }
    }

    fn settings(&self) -> BreakerSettings {
        self.breaker.settings.clone()
    }

    /// Invariant 16, and the state of a new generation.
    fn check_transition(&mut self, transition: Option<Transition>) {
        use BreakerState::{Closed, HalfOpen, Open};
        use MoveReason::{
            Consecutive, CoolDown, FailureRate, Manual, ProbeFailed, ProbesSucceeded, SlowRate,
        };
        let Some(transition) = transition else {
            return;
        };
        assert_eq!(
            (transition.from, transition.generation),
            (self.state, self.generation + 1)
        );
        let legal = match transition.reason {
            FailureRate | Consecutive | SlowRate => (transition.from, transition.to) == (Closed, Open),
            CoolDown => (transition.from, transition.to) == (Open, HalfOpen),
            ProbesSucceeded => (transition.from, transition.to) == (HalfOpen, Closed),
            ProbeFailed => (transition.from, transition.to) == (HalfOpen, Open),
            Manual => transition.to != HalfOpen,
            MoveReason::Unused => false,
        };
        assert!(legal, "{transition:?}");
        assert_eq!(transition.window, self.counts());
        assert_eq!(
            transition.until.is_some(),
            transition.to == Open && transition.reason != Manual
        );
        self.state = transition.to;
        self.generation = transition.generation;
        self.until = transition.until;
        self.outcomes.clear();
        self.probes.clear();
        self.good = 0;
        if (transition.to, transition.reason) == (Closed, Manual) {
            self.doublings = 0;
        }
    }

    /// Half-open admits no further probe.
    fn is_full(&self) -> bool {
        let held = self.probes.iter().filter(|(probe, _)| probe.lease > self.now);
        let answering = held.clone().filter(|(_, answers)| *answers).count();
        answering < held.count() || answering >= 2
    }

    /// The window, computed from the list.
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
        let Acquired { permit, transition } = self.breaker.acquire(self.now);
        assert_eq!(check.is_ok(), permit.is_ok());
        if let Some(transition) = transition {
            // no call is admitted before the open time is over
            assert!(self.until.unwrap() <= self.now);
            assert_eq!(transition.reason, MoveReason::CoolDown);
        }
        self.check_transition(transition);
        match permit {
            Ok(permit) => {
                // invariant 17: no permit while open, one waits and two run while half-open
                assert_ne!(self.state, BreakerState::Open);
                assert_eq!(permit.is_probe(), self.state == BreakerState::HalfOpen);
                assert_eq!(permit.generation(), self.generation);
                if let Some(number) = permit.probe {
                    assert!(!self.is_full());
                    let lease = self.now + self.settings().probe_lease;
                    let probe = Probe { number, lease };
                    self.probes
                        .retain(|(probe, answers)| *answers && probe.lease > self.now);
                    self.probes.push((probe, false));
                }
                self.taken += 1;
                self.permits.push(permit);
            }
            Err(rejection) => {
                assert!(on, "rejected while disabled");
                let until = match self.state {
                    BreakerState::Closed => panic!("rejected while closed"),
                    BreakerState::Open => self.until,
                    BreakerState::HalfOpen => {
                        assert!(self.is_full(), "rejected with a free place");
                        None
                    }
                };
                assert!(until.is_none_or(|until| until > self.now));
                assert_eq!(rejection, CircuitOpen { until });
            }
        }
    }

    /// The transition an outcome must cause.
    fn expected_reason(&self, sample: Sample, is_old: bool) -> Option<MoveReason> {
        let settings = self.settings();
        let counts = self.counts();
        let is_bad = matches!(sample, Sample::Failed | Sample::Slow);
        let full = counts.total >= settings.min_calls;
        match self.state {
            BreakerState::HalfOpen if is_bad => (!is_old).then_some(MoveReason::ProbeFailed),
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

    fn first_token(&mut self, nth: usize) {
        if self.permits.is_empty() {
            return;
        }
        let nth = nth % self.permits.len();
        self.breaker.first_token(self.now, &mut self.permits[nth]);
        let renewed = self.now + self.settings().probe_lease;
        for (probe, answers) in &mut self.probes {
            if Some(probe.number) == self.permits[nth].probe && !*answers {
                *answers = true;
                probe.lease = renewed;
                assert_eq!(self.permits[nth].proven_at(), Some(renewed));
            }
        }
    }

    fn settle(&mut self, nth: usize, sample: Sample, hint: Option<u64>, cut: bool) {
        if self.permits.is_empty() {
            return;
        }
        let permit = self.permits.remove(nth % self.permits.len());
        let Permit {
            generation, probe, ..
        } = permit;
        let is_old = generation != self.generation;
        let is_cut = cut && sample == Sample::Failed && self.state != BreakerState::Open;
        let is_late = is_old && !is_cut;
        let reported = if sample == Sample::Late {
            Sample::Neutral
        } else {
            sample
        };
        let before = self.counts();
        let hint = hint.map(|seconds| self.now + seconds as u32 * SECOND);
        let permit = if cut { permit.cut() } else { permit };
        let settled = self.breaker.settle(self.now, permit, sample, hint);
        self.returned += 1;
        assert_eq!((settled.generation, settled.probe), (generation, probe.is_some()));
        if is_late {
            // invariant 19
            assert_eq!(
                (settled.sample, settled.transition, settled.window),
                (Sample::Late, None, before)
            );
            return;
        }
        assert_eq!(settled.sample, reported);
        if reported == Sample::Neutral {
            // invariant 20
            assert_eq!((settled.transition, settled.window), (None, before));
        } else if self.breaker.settings.enabled {
            self.outcomes.push((self.now, reported));
        }
        assert_eq!(settled.window, self.counts());
        assert_eq!(
            settled.transition.map(|transition| transition.reason),
            self.expected_reason(reported, is_old)
        );
        if !is_old {
            self.probes.retain(|(place, _)| Some(place.number) != probe);
        }
        match reported {
            Sample::Ok if self.breaker.settings.enabled => self.good += 1,
            Sample::Failed if self.state == BreakerState::HalfOpen => self.good = 0,
            _ => {}
        }
        if self.state == BreakerState::Closed && self.good >= self.settings().min_calls {
            self.doublings = 0;
        }
        if let Some(Transition {
            until: Some(until), ..
        }) = settled.transition
        {
            // invariant 36
            let longest = (5.0 * 2_f64.powi(self.doublings)).min(20.0);
            self.doublings += 1;
            let lasts = until.since(self.now).as_secs_f64();
            let hinted = hint.map_or(0.0, |hint| hint.since(self.now).as_secs_f64());
            assert!(
                lasts >= hinted.max(longest * 0.5) && lasts <= hinted.max(longest),
                "{lasts} s"
            );
        }
        self.check_transition(settled.transition);
    }

    fn apply(&mut self, op: &Op) {
        match *op {
            Op::Acquire => self.acquire(),
            Op::Settle {
                nth,
                sample,
                hint,
                cut,
            } => self.settle(nth, sample, hint, cut),
            Op::FirstToken { nth } => self.first_token(nth),
            Op::Lose { nth } if !self.permits.is_empty() => {
                drop(self.permits.remove(nth % self.permits.len()));
                self.lost += 1;
            }
            Op::Lose { .. } => {}
            Op::Force(mode) => {
                let transition = self.breaker.force(self.now, mode);
                self.check_transition(transition);
                if mode == BreakerMode::ForcedOpen {
                    self.until = None;
                }
                assert_eq!(self.breaker.mode(), mode);
            }
            Op::Reset => {
                let Reset { transition, .. } = self.breaker.reset(self.now);
                self.check_transition(Some(transition));
                assert_eq!(self.state, BreakerState::Closed);
            }
            Op::Switch { on } => {
                let settings = BreakerSettings {
                    enabled: on,
                    ..self.settings()
                };
                let transition = self.breaker.configure(&settings, self.now);
                self.check_transition(transition);
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
        // invariant 18, the part that holds at all times
        assert_eq!(self.taken, self.returned + self.lost + self.permits.len());
    }

    /// Invariant 21: in automatic mode with a healthy upstream it closes by itself, whatever permits were lost:
    /// within the open time or a lease, and the time of the answers.
    fn recover(&mut self) {
        self.apply(&Op::Switch { on: true });
        self.apply(&Op::Force(BreakerMode::Automatic));
        self.permits.clear();
        let open = self.until.map_or(Duration::ZERO, |until| self.now.until(until));
        let latest = self.now + open + self.settings().probe_lease + 3 * SECOND;
        let mut running = Vec::new();
        while self.breaker.state() != BreakerState::Closed {
            assert!(self.now <= latest, "still {:?}", self.breaker.state);
            // answers of a second, asked for each half second
            if let Some(permit) = running.pop() {
                assert_eq!(
                    self.breaker.settle(self.now, permit, Sample::Ok, None).sample,
                    Sample::Ok
                );
            }
            self.now = self.now + SECOND / 2;
            if let Ok(mut permit) = self.breaker.acquire(self.now).permit {
                self.breaker.first_token(self.now, &mut permit);
                running.insert(0, permit);
            }
            self.now = self.now + SECOND / 2;
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn keeps_its_invariants(ops in prop::collection::vec(operation(), 1..250)) {
        let mut world = World::new();
        for op in &ops {
            world.apply(op);
        }
        world.recover();
    }

    /// An upstream that cuts every stream within the lease, at any time and at any rate of calls: it opens, never
    /// closes, each open time is twice the previous one, and half-open admits as many probes as close it.
    #[test]
    fn streams_that_are_all_cut_never_close_it(
        waits in prop::collection::vec((1_u64..3000, 0_u64..60_000), 400),
    ) {
        let mut breaker = breaker();
        let mut running: Vec<(Timestamp, Permit)> = Vec::new();
        let (mut now, mut opened, mut probes) = (Timestamp::ZERO, Vec::new(), 0);
        for (gap, lives) in waits {
            now = now + Duration::from_millis(gap);
            running.sort_by_key(|(cut_at, _)| *cut_at);
            let due = running.partition_point(|(cut_at, _)| *cut_at <= now);
            for (cut_at, permit) in running.drain(..due) {
                let transition = breaker.settle(cut_at, permit.cut(), Sample::Failed, None).transition;
                if let Some(transition) = transition {
                    prop_assert_eq!(transition.to, BreakerState::Open);
                    opened.push(transition.until.unwrap().since(breaker.latest).as_secs());
                    prop_assert!(probes <= 2);
                    probes = 0;
                }
            }
            if let Ok(mut permit) = breaker.acquire(now).permit {
                breaker.first_token(now, &mut permit);
                probes += usize::from(permit.is_probe());
                running.push((now + Duration::from_millis(lives), permit));
            }
        }
        prop_assert!(opened.len() >= 2, "{:?}", opened);
        let expected: Vec<_> = [5, 10].into_iter().chain(std::iter::repeat(20)).take(opened.len()).collect();
        prop_assert_eq!(opened, expected);
    }
}

/// Found by fuzz seed 142367: three good probes were required and two were counted, then new settings required
/// two.
#[test]
fn a_neutral_outcome_does_not_close_after_a_change_of_settings() {
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
        assert_eq!(breaker.call(at(6.0), Sample::Ok).transition, None);
    }
    assert_eq!(breaker.configure(&settings(), at(7.0)), None);
    assert_eq!(breaker.call(at(7.0), Sample::Neutral).transition, None);
    assert_eq!(breaker.state(), BreakerState::HalfOpen);
    let closed = breaker.call(at(7.0), Sample::Ok).transition;
    assert_eq!(closed.map(|transition| transition.to), Some(BreakerState::Closed));
}
