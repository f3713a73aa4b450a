//! Made-up stories, and what they add up to.

use proptest::prelude::*;

use super::*;
use crate::event::{FlightId, Origin};
use crate::policy::budget::RetryBudget;
use crate::settings::Policy;
use crate::state::fixture::{Story, attempt, ended, fold, retry, session, started, succeeded};
use crate::state::fixture::{failed as fails, moved};
use crate::state::{Slot, State};

fn at(seconds: f64) -> Timestamp {
    Timestamp::from_secs_f64(seconds)
}

/// The counts of one second.
fn second_of(state: &State, second: u64) -> Slot {
    state.timeline.sum(at(second as f64), at(second as f64 + 0.9))
}

/// A call that makes `attempts` attempts at one instant; all but the last fail with 429, and it ends with `fate`.
fn call(story: &mut Story, id: u64, attempts: u32, fate: Fate) {
    story.call(id, Origin::Library);
    for number in 1..=attempts {
        if number > 1 {
            story.emit(id, retry(number, FailureClass::RateLimited, story.now, 100, None));
        }
        story.emit(id, attempt(number, id));
        if number == attempts && fate == Fate::Answered {
            story.emit(id, succeeded(number, 9));
        } else {
            story.emit(id, fails(number, FailureClass::RateLimited, Some(429), 9));
        }
    }
    story.emit(id, ended(fate, attempts, 9));
}

#[test]
fn counts_causes_attempts_and_outcomes() {
    let mut story = Story::begin();
    call(&mut story, 1, 2, Fate::Answered);
    story.call(2, Origin::Chat).emit(2, attempt(1, 2));
    story
        .emit(2, fails(1, FailureClass::Reset, None, 9))
        .emit(2, ended(Fate::Failed, 1, 9));
    story
        .call(3, Origin::Chat)
        .emit(3, ended(Fate::CircuitOpen, 0, 9));
    story.call(4, Origin::Chat).emit(4, ended(Fate::Failed, 99, 9));
    call(&mut story, 5, 3, Fate::Cancelled);
    let view = story.state().retry;
    assert_eq!((view.attempts, view.retries, view.sent), (6, 3, 3));
    assert_eq!(
        view.causes,
        BTreeMap::from([("429".into(), 4), ("RST".into(), 1)])
    );
    assert_eq!(view.attempts_per_call, [1, 1, 1, 0, 0, 0, 0, 1]);
    assert_eq!(view.answered_after, [0, 1, 0, 0, 0, 0, 0, 0]);
    assert_eq!(view.lost_after, [1, 0, 0, 0, 0, 0, 0, 1]);
    assert_eq!((view.recovered, view.wasted, view.spent), (1, 100, 1));
    assert_eq!((view.helped, view.in_vain), (1, 2));
    assert_eq!(view.backed_off, Duration::from_millis(300));
    assert_eq!(view.waits.len(), 3);
    assert_eq!(
        (&view.running.calls, view.running.out_calls),
        (&BTreeMap::new(), 0)
    );
}

#[test]
fn a_server_that_invents_statuses_fills_no_memory() {
    let mut story = Story::begin();
    for status in 400..600 {
        story.emit(1, fails(1, FailureClass::Invalid, Some(status), 9));
    }
    let causes = story.state().retry.causes;
    assert_eq!(
        (causes.len(), causes["other"], causes["463"]),
        (MAX_CAUSES + 1, 136, 1)
    );
}

#[test]
fn a_second_is_stacked_by_what_failed_before() {
    let mut story = Story::begin();
    story.at(4.5).call(1, Origin::Chat).emit(1, attempt(1, 1));
    let classes = [
        FailureClass::RateLimited,
        FailureClass::Overloaded,
        FailureClass::HeaderTimeout,
        FailureClass::Reset,
        FailureClass::Truncated,
        FailureClass::Loading,
    ];
    for (number, class) in (2..).zip(classes) {
        story.emit(1, retry(number, class, story.now, 1, None));
        story.emit(1, attempt(number, 1));
    }
    // no reason given
    story.emit(1, attempt(8, 1));
    let second = second_of(&story.state(), 4);
    assert_eq!((second.first, second.retries), (1, [1, 1, 1, 1, 1, 2]));
}

#[test]
fn an_heir_makes_the_retry_that_the_owner_waited_for() {
    for ends_first in [true, false] {
        let mut story = Story::begin();
        story.call(1, Origin::Chat).emit(1, attempt(1, 1));
        story.emit(2, started(2, Origin::Chat, story.now));
        story.emit(1, retry(2, FailureClass::HeaderTimeout, story.now, 500, None));
        let over = EventKind::FlightHandedOver {
            flight: FlightId(1),
            from: CallId(1),
        };
        if ends_first {
            story.emit(1, ended(Fate::Cancelled, 1, 9)).emit(2, over);
        } else {
            story.emit(2, over).emit(1, ended(Fate::Cancelled, 1, 9));
        }
        story.emit(2, attempt(2, 1));
        let view = story.state().retry;
        assert_eq!(second_of(&story.state(), 0).retries, [0, 0, 1, 0, 0, 0]);
        assert_eq!(view.sent, 2);
        assert!(view.running.left.is_empty());
    }
}

#[test]
fn waits_say_what_was_drawn_and_asked_and_done() {
    let mut story = Story::begin();
    for number in 2..=100 {
        let hint = (number == 100).then_some(2);
        story.at(f64::from(number));
        story.emit(1, retry(number, FailureClass::RateLimited, story.now, 900, hint));
    }
    let view = story.state().retry;
    assert_eq!(
        (view.waits.len(), view.waits.front().map(|wait| wait.next)),
        (64, Some(37))
    );
    let last = view.waits.back().unwrap();
    assert_eq!(
        (last.at, last.next, last.class),
        (at(100.0), 100, FailureClass::RateLimited)
    );
    let millis = [last.drawn, last.used, last.hint.unwrap().wait].map(|wait| wait.as_millis());
    assert_eq!(millis, [450, 900, 2000]);
}

#[test]
fn what_may_be_paid_twice_is_counted_in_prompts() {
    let mut story = Story::begin();
    story.call(1, Origin::Chat).emit(1, attempt(1, 1));
    let mut doubtful = retry(2, FailureClass::HeaderTimeout, story.now, 100, None);
    if let EventKind::RetryScheduled { ambiguous, .. } = &mut doubtful {
        *ambiguous = true;
    }
    story.emit(1, doubtful);
    let view = story.state().retry;
    assert_eq!((view.ambiguous, view.ambiguous_tokens), (1, 12));
}

/// Settings with a budget, applied as a policy.
fn budget_policy(ratio: f64, min_per_s: f64, ttl: Duration) -> EventKind {
    let mut policy = Policy::default();
    policy.retry.budget_ratio = ratio;
    policy.retry.budget_min_per_s = min_per_s;
    policy.retry.budget_ttl = ttl;
    policy.name = "exer\u{1b}cise".into();
    EventKind::PolicyApplied {
        policy: Box::new(policy),
    }
}

#[test]
fn the_budget_is_a_function_of_now() {
    let ten = Duration::from_secs(10);
    let mut story = Story::begin();
    story.emit(0, budget_policy(0.2, 1.0, ten));
    story.at(2.5);
    for id in 1..=5 {
        call(&mut story, id, 2, Fate::Answered);
    }
    let budget = |story: &Story, seconds| {
        let level = story.state().retry_budget(at(seconds)).unwrap();
        (level.left, level.max)
    };
    // five first attempts earn one retry, five retries were made
    assert_eq!(budget(&story, 2.5), (6.0, 11.0));
    assert_eq!(budget(&story, 11.9), (6.0, 11.0));
    assert_eq!(budget(&story, 12.1), (5.0, 10.0));
    assert_eq!(budget(&story, 13.5), (10.0, 10.0));
    // a retry that sent nothing is free
    story.at(20.0).call(9, Origin::Chat).emit(9, attempt(1, 9));
    let mut unsent = fails(1, FailureClass::Connect, None, 9);
    if let EventKind::AttemptEnded {
        result: AttemptResult::Failed { failure },
        ..
    } = &mut unsent
    {
        failure.phase = crate::event::Phase::NotSent;
    }
    let again = retry(2, FailureClass::Connect, story.now, 5, None);
    story.emit(9, unsent).emit(9, again);
    assert_eq!(budget(&story, 20.0), (10.2, 10.2));
    // another time to live begins with an empty budget, no budget has no level
    story.emit(0, budget_policy(0.0, 1.0, Duration::from_secs(3)));
    assert_eq!(budget(&story, 20.0), (3.0, 3.0));
    story.emit(0, budget_policy(0.0, 0.0, ten));
    assert_eq!(story.state().retry_budget(at(20.0)), None);
}

#[test]
fn amplification_is_of_calls_that_are_out_or_ended_in_the_window() {
    let mut story = Story::begin();
    let now = |story: &Story, seconds| story.state().attempts_per_call(at(seconds));
    assert_eq!(
        (now(&story, 0.0), story.state().retry.amplification()),
        (None, None)
    );
    story.at(10.0);
    call(&mut story, 1, 4, Fate::Failed);
    call(&mut story, 2, 1, Fate::Answered);
    // not sent: no part of it
    story.call(3, Origin::Chat).emit(3, ended(Fate::Hit, 0, 1));
    story.call(4, Origin::Chat);
    assert_eq!(now(&story, 10.0), Some(2.5));
    assert_eq!(story.state().retry.peak, None, "two calls have no peak");
    // out, and therefore counted however long it takes
    story.emit(4, attempt(1, 4));
    assert_eq!(now(&story, 39.9), Some(2.0));
    assert_eq!(now(&story, 40.0), Some(1.0));
    story.at(15.0);
    call(&mut story, 5, 6, Fate::Failed);
    call(&mut story, 6, 1, Fate::Failed);
    let view = story.state().retry;
    assert_eq!(view.amplification(), Some(13.0 / 5.0));
    assert_eq!(view.peak, Some((13.0 / 5.0, at(15.0))));
}

#[test]
fn three_calls_are_no_storm_and_thirty_are() {
    let storm = |calls| {
        let mut story = Story::begin();
        for id in 1..=calls {
            story.at(5.0 + id as f64 / 10.0);
            call(&mut story, id, 6, Fate::Failed);
        }
        story.state().storm(story.now)
    };
    assert_eq!(storm(3), None);
    let storm = storm(30).unwrap();
    assert_eq!((storm.since, storm.helped), (at(6.0), 0.0));
    assert_eq!((storm.retries, storm.amplification), (150.0 / 180.0, 6.0));
    assert_eq!(
        storm.sentences()[0],
        "retries are 83 % of all attempts and 0 % of them help: a retry storm."
    );
}

#[test]
fn retries_that_help_are_no_storm() {
    let mut story = Story::begin();
    for id in 1..=40 {
        story.at(5.0 + id as f64 / 10.0);
        call(&mut story, id, 3, Fate::Answered);
    }
    let state = story.state();
    assert_eq!(state.storm(story.now), None);
    assert_eq!(
        (state.retry.recovered, state.retry.amplification()),
        (40, Some(3.0))
    );
}

#[test]
fn a_storm_ends_when_its_retries_begin_to_help() {
    let raging = || {
        let mut story = Story::begin();
        for id in 1..=30 {
            story.at(5.0 + id as f64 / 10.0);
            call(&mut story, id, 6, Fate::Failed);
        }
        story
    };
    let mut story = raging();
    for id in 31..=200 {
        call(&mut story, id, 2, Fate::Answered);
    }
    assert_eq!(story.state().storm(story.now), None);
    assert_eq!(story.state().retry.storms, 1);
}

#[test]
fn a_metastable_failure_is_detected_before_retries_outnumber_first_attempts() {
    let mut story = Story::begin();
    for id in 1..=30 {
        story.at(id as f64);
        call(&mut story, id, 1, Fate::Answered);
    }
    let mut id = 31;
    for second in 31..=60 {
        story.at(f64::from(second));
        call(
            &mut story,
            id,
            1,
            if second % 2 == 0 {
                Fate::Answered
            } else {
                Fate::Failed
            },
        );
        call(&mut story, id + 1, 2, Fate::Failed);
        id += 2;
    }
    let storm = story.state().storm(story.now).unwrap();
    assert!(storm.retries < 0.5 && storm.amplification < 2.0, "{storm:?}");
}

#[test]
fn a_storm_says_what_holds_it() {
    let advice = |min_per_s: f64, breaker: bool| {
        let mut story = Story::begin();
        story.emit(0, budget_policy(0.0, min_per_s, Duration::from_secs(10)));
        for id in 1..=30 {
            call(&mut story, id, 6, Fate::Failed);
        }
        if breaker {
            let (from, to) = (
                crate::event::BreakerState::Closed,
                crate::event::BreakerState::Open,
            );
            story.emit(
                0,
                moved(from, to, 1, crate::event::MoveReason::FailureRate, Some(9.0)),
            );
        }
        story.state().storm(Timestamp::ZERO).unwrap().advice()[0].clone()
    };
    // 150 retries were made
    for (min_per_s, breaker, expected) in [
        (
            0.0,
            false,
            "No budget is kept (policy exer␛cise): set retry.budget_ratio; o opens the breaker.",
        ),
        (
            15.0,
            false,
            "The budget is empty and holds it: no more retries than it earns.",
        ),
        (
            15.4,
            false,
            "The budget allows 4 more: lower retry.budget_min_per_s = 15.4; o opens the breaker.",
        ),
        (
            15.4,
            true,
            "The breaker is open: no attempt is sent, the upstream can recover.",
        ),
    ] {
        assert_eq!(advice(min_per_s, breaker), expected);
    }
}

#[test]
fn a_storm_is_over_when_five_seconds_say_so() {
    let raging = || {
        let mut story = Story::begin();
        for id in 1..=30 {
            story.at(5.0 + id as f64 / 10.0);
            call(&mut story, id, 6, Fate::Failed);
        }
        story
    };
    assert!(raging().state().storm(at(12.9)).is_some());
    assert_eq!(
        raging().state().storm(at(13.0)),
        None,
        "five seconds without a retry"
    );
    // few retries, or answers, end it while the 30 s are still full of it
    for (attempts, fate) in [(1, Fate::Failed), (2, Fate::Answered)] {
        let mut story = raging();
        for id in 31..=40 {
            story.at(13.0);
            call(&mut story, id, attempts, fate);
        }
        let state = story.state();
        assert_eq!(
            (state.storm(story.now), state.retry.storms),
            (None, 1),
            "{fate:?}"
        );
    }
}

#[test]
fn running_calls_without_number_are_counted_and_not_remembered() {
    let mut view = RetryView::default();
    let mut timeline = Timeline::default();
    let most = MAX_CALLS as u64 + 5;
    for id in 0..most {
        for kind in [started(id, Origin::Library, at(0.0)), attempt(1, id)] {
            let call = Some(CallId(id));
            let event = Event {
                seq: id,
                at: at(0.0),
                call,
                kind,
            };
            view.apply(&event, &mut timeline);
        }
    }
    assert_eq!(
        (view.attempts, view.sent, view.running.calls.len()),
        (most, most, MAX_CALLS)
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    #[test]
    fn sums_agree_with_the_events(seed in any::<u64>()) {
        let events = session(seed, 150);
        let mut by_fate: BTreeMap<Fate, (u64, u64)> = BTreeMap::new();
        let mut first_try = 0;
        for event in &events {
            if let EventKind::CallEnded { fate, attempts, .. } = event.kind && attempts > 0 {
                let (calls, tries) = by_fate.entry(fate).or_default();
                *calls += 1;
                *tries += u64::from(attempts);
                first_try += u64::from(fate == Fate::Answered && attempts == 1);
            }
        }
        let view = fold(&events).retry;
        let (calls, tries) = by_fate.values().fold((0, 0), |sum, one| (sum.0 + one.0, sum.1 + one.1));
        let sum = |counts: &[u64; 8]| counts.iter().sum::<u64>();
        let (answered, lost) = (sum(&view.answered_after), sum(&view.lost_after));
        let stopped = by_fate.get(&Fate::Cancelled).copied().unwrap_or_default();
        prop_assert_eq!(sum(&view.attempts_per_call), calls);
        prop_assert_eq!(answered + lost + stopped.0, calls);
        prop_assert_eq!(view.recovered + first_try, answered);
        prop_assert_eq!(view.fruitless() + answered + stopped.1, tries);
        prop_assert!(view.helped <= view.recovered && view.helped + view.in_vain <= view.retries);
        prop_assert_eq!(&view.running, &RunningCalls { left: view.running.left.clone(), ..RunningCalls::default() });
    }

    /// The budget that a screen shows is the policy's own, but for the second in which counts expire.
    #[test]
    fn the_budget_shown_is_that_of_the_policy(
        ratio in 0.0..1.0_f64, min in 0.01..2.0_f64, ttl in 1_u64..20,
        steps in prop::collection::vec((0_u64..900, any::<bool>()), 0..200),
    ) {
        let ttl = Duration::from_secs(ttl);
        let applied = budget_policy(ratio, min, ttl);
        let EventKind::PolicyApplied { policy } = &applied else { unreachable!("a policy") };
        let mut budget = RetryBudget::new(&policy.retry);
        let (mut story, mut state) = (Story::begin(), State::default());
        story.emit(0, applied.clone());
        let (mut firsts, mut retries) = (Vec::new(), Vec::new());
        for (id, (millis, first)) in (1..).zip(steps) {
            let now = story.now + Duration::from_millis(millis);
            story.now = now;
            if first {
                budget.deposit(now);
                story.emit(id, attempt(1, id));
                firsts.push(now);
            } else if budget.withdraw(now) {
                story.emit(id, retry(2, FailureClass::RateLimited, now, 100, None));
                retries.push(now);
            }
            let applied = state.next_seq as usize;
            story.events[applied..].iter().for_each(|event| state.apply(event));
            let shown = state.retry_budget(now).unwrap();
            let expiring = |times: &[Timestamp], ttl: Duration| {
                let second = Duration::from_secs(1);
                let expires = |at: &&Timestamp| **at + ttl > now && **at + ttl <= now + second;
                times.iter().filter(expires).count() as f64
            };
            let earned = ratio * expiring(&firsts, ttl) + 1e-6;
            let spent = expiring(&retries, ttl + ttl / 10);
            prop_assert!((shown.max - budget.max(now)).abs() <= earned, "{} {}", shown.max, budget.max(now));
            let (left, own) = (shown.left, budget.balance(now));
            prop_assert!((left - own).abs() <= earned + spent, "{left} is not {own} at {now}");
        }
    }

    #[test]
    fn a_snapshot_and_its_tail_are_the_whole(seed in any::<u64>(), place in 0.0..1.0_f64) {
        let events = session(seed, 60);
        let whole = fold(&events).retry;
        let place = (place * events.len() as f64) as usize;
        let snapshot = serde_json::to_string(&fold(&events[..place])).unwrap();
        let mut state: State = serde_json::from_str(&snapshot).unwrap();
        for event in &events[place..] {
            state.apply(event);
        }
        prop_assert_eq!(state.retry, whole);
    }
}
