//! Edge cases of the tally and of the measures: undefined times, and filtered calls.

use std::io;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::measure::{CallFilter, Measure};
use super::tally::Tally;
use crate::event::{BreakerState, CallId, Event, EventKind, Fate, MoveReason, Origin, UserId, WindowCounts};
use crate::settings::FaultProfile;
use crate::state::State;
use crate::text::SafeText;
use crate::time::Timestamp;

fn at(seconds: u64) -> Timestamp {
    Timestamp::ZERO + Duration::from_secs(seconds)
}

/// A tally of scripted events.
#[derive(Default)]
struct Script(Tally);

impl Script {
    fn apply(&mut self, seconds: u64, call: Option<u64>, kind: EventKind) {
        self.0.apply(&Event {
            seq: 0,
            at: at(seconds),
            call: call.map(CallId),
            kind,
        });
    }

    fn faults(mut self, seconds: u64, on: bool) -> Self {
        let profile = Box::new(FaultProfile::default());
        self.apply(seconds, None, EventKind::FaultsApplied { on, profile });
        self
    }

    fn breaker(mut self, seconds: u64, from: BreakerState, to: BreakerState) -> Self {
        let kind = EventKind::BreakerMoved {
            model: None,
            from,
            to,
            generation: 0,
            reason: MoveReason::Consecutive,
            until: None,
            window: WindowCounts::default(),
        };
        self.apply(seconds, None, kind);
        self
    }

    /// A call from its beginning to its end.
    fn call(mut self, number: u64, user: &str, (from, until): (u64, u64), fate: Fate, attempts: u32) -> Self {
        let kind = EventKind::CallStarted {
            origin: Origin::Library,
            user: UserId::new(user),
            prompt: SafeText::new("why?"),
            fingerprint: "".into(),
            prompt_tokens: 1,
            deadline: Timestamp::MAX,
            options: crate::event::CallOptions::default(),
        };
        self.apply(from, Some(number), kind);
        let kind = EventKind::CallEnded {
            fate,
            attempts,
            failure: None,
            usage: None,
            took: Duration::from_secs(until - from),
        };
        self.apply(until, Some(number), kind);
        self
    }

    fn value(&self, measure: Measure) -> Option<f64> {
        measure.value(&self.0)
    }
}

use BreakerState::{Closed, HalfOpen, Open};

#[test]
fn without_faults_there_is_neither_trip_nor_recovery() {
    let script =
        Script::default()
            .faults(0, false)
            .breaker(5, Closed, Open)
            .call(1, "ana", (6, 7), Fate::Answered, 1);
    for measure in [Measure::TimeToTrip, Measure::TimeToRecover, Measure::TimeToClose] {
        assert_eq!(script.value(measure), None, "{measure:?}");
    }
}

#[test]
fn the_time_to_trip_is_from_the_first_faults_to_the_first_opening_after_them() {
    let script = Script::default()
        .breaker(2, Closed, Open)
        .faults(10, true)
        .breaker(14, Closed, Open)
        .faults(20, false)
        .faults(30, true)
        .breaker(31, Closed, Open);
    assert_eq!(script.value(Measure::TimeToTrip), Some(4.0));
    assert_eq!(script.value(Measure::BreakerOpened), Some(3.0));
}

#[test]
fn only_a_call_that_began_after_the_faults_proves_recovery() {
    let script = Script::default()
        .faults(10, true)
        .call(1, "ana", (19, 22), Fate::Answered, 1)
        .faults(20, false)
        .call(2, "ana", (21, 24), Fate::Hit, 0)
        .call(3, "ana", (23, 29), Fate::Answered, 1)
        .call(4, "ana", (24, 26), Fate::Answered, 1);
    // neither the call before the end of faults nor the hit; and the earliest answer, not the earliest call
    assert_eq!(script.value(Measure::TimeToRecover), Some(6.0));
}

#[test]
fn the_time_to_close_is_zero_for_a_closed_breaker_and_undefined_for_one_that_stays_open() {
    let closed = Script::default().faults(1, true).faults(2, false);
    assert_eq!(closed.value(Measure::TimeToClose), Some(0.0));
    let open = Script::default()
        .faults(1, true)
        .breaker(2, Closed, Open)
        .faults(5, false);
    assert_eq!(open.value(Measure::TimeToClose), None);
    let probed = open.breaker(7, Open, HalfOpen).breaker(9, HalfOpen, Closed);
    assert_eq!(probed.value(Measure::TimeToClose), Some(4.0));
}

#[test]
fn faults_that_never_end_have_no_recovery() {
    let script = Script::default()
        .faults(1, true)
        .call(1, "ana", (2, 3), Fate::Answered, 2);
    assert_eq!(
        (
            script.value(Measure::TimeToRecover),
            script.value(Measure::TimeToClose)
        ),
        (None, None)
    );
}

#[test]
fn a_filter_includes_its_start_and_excludes_its_end() {
    let script = Script::default()
        .call(1, "ana", (0, 1), Fate::Answered, 1)
        .call(2, "ben", (10, 12), Fate::Failed, 3)
        .call(3, "ana", (20, 21), Fate::CircuitOpen, 0);
    let filter = |from: u64, until: u64, user: Option<&str>| CallFilter {
        from: Some(at(from)),
        until: Some(at(until)),
        user: user.map(str::to_owned),
        users: Vec::new(),
    };
    let tally = &script.0;
    assert_eq!(Measure::Calls.filtered(tally, &filter(0, 10, None)), Some(1.0));
    assert_eq!(Measure::Calls.filtered(tally, &filter(10, 20, None)), Some(1.0));
    assert_eq!(
        Measure::Calls.filtered(tally, &filter(0, 21, Some("ana"))),
        Some(2.0)
    );
    assert_eq!(
        Measure::FailedShare.filtered(tally, &filter(10, 20, None)),
        Some(1.0)
    );
    let together = |users: &[&str]| CallFilter {
        users: users.iter().map(ToString::to_string).collect(),
        ..CallFilter::default()
    };
    assert_eq!(Measure::Calls.filtered(tally, &together(&["ana"])), Some(2.0));
    assert_eq!(
        Measure::Calls.filtered(tally, &together(&["ana", "ben"])),
        Some(3.0)
    );
    // no calls: their number is 0, their share is undefined
    let none = filter(0, 21, Some("cleo"));
    assert_eq!(Measure::Calls.filtered(tally, &none), Some(0.0));
    assert_eq!(Measure::ServedShare.filtered(tally, &none), None);
    assert_eq!(Measure::LatencyP95.filtered(tally, &none), None);
}

#[test]
fn amplification_is_of_calls_that_made_attempts() {
    let script = Script::default()
        .call(1, "ana", (0, 1), Fate::Answered, 1)
        .call(2, "ana", (0, 1), Fate::Failed, 3)
        .call(3, "ana", (0, 0), Fate::CircuitOpen, 0)
        .call(4, "ana", (0, 2), Fate::Answered, 2);
    assert_eq!(script.value(Measure::Amplification), Some(2.0));
    assert_eq!(script.value(Measure::Retries), Some(3.0));
    assert_eq!(script.value(Measure::RecoveredByRetry), Some(1.0));
    assert_eq!(script.value(Measure::MaxAttempts), Some(3.0));
    assert_eq!(Script::default().value(Measure::Amplification), None);
}

#[test]
fn an_undefined_measure_is_not_within_bounds() {
    let text = "duration = \"1s\"\n[[callers]]\narrival.burst = { calls = 1 }\n\
                [[expect]]\nmeasure = \"time_to_trip\"\nat_most = 100.0\n";
    let scene = super::read("test", text, None, None).unwrap();
    let outcome = super::Outcome {
        tally: Tally::default(),
        history: crate::report::charts::History::default(),
        violation: None,
        leftovers: Vec::new(),
        explained: None,
    };
    let report = super::Report::new(&scene, &outcome, true);
    assert!(!report.met);
    assert!(
        report
            .to_string()
            .contains("not met   time_to_trip: no value, at most 100\n")
    );
}

/// A journal in memory.
#[derive(Clone, Default)]
struct MemoryJournal(Arc<Mutex<Vec<u8>>>);

impl io::Write for MemoryJournal {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Runs a scene and folds its journal: the final state, and the seconds with a storm.
fn run(scene: &super::Scene) -> (State, Vec<u64>) {
    let memory = MemoryJournal::default();
    super::in_virtual_time(scene, Some(memory.clone()), &Arc::default()).unwrap();
    let journal = std::mem::take(&mut *memory.0.lock().unwrap());
    let (mut state, mut stormy) = (State::default(), Vec::new());
    let reader = crate::journal::Reader::open(io::Cursor::new(journal)).unwrap();
    let ending = reader.for_each_event(|event| {
        let second = event.at.0 / 1_000_000_000;
        if second > state.last_event_at.0 / 1_000_000_000 && state.storm(state.last_event_at).is_some() {
            stormy.push(state.last_event_at.0 / 1_000_000_000);
        }
        state.apply(event);
    });
    assert!(ending.is_complete(), "{ending}");
    (state, stormy)
}

/// Step 4 of the tour: a surge starts a retry storm, and a retry budget set in second 24 ends it.
const ENDED_BY_A_BUDGET: &str = r#"
duration = "44s"
[policy.retry]
attempts = 6
max_ambiguous_retries = 5
jitter = "none"
base = "200ms"
cap = "1s"
budget_ratio = 0.0
budget_min_per_s = 0.0
[policy.timeouts]
headers = "1500ms"
[policy.breaker]
enabled = false
[policy.limit]
enabled = false
[upstream]
capacity = { parallel = 4, queue = 60 }
[[callers]]
users = ["ana", "ben"]
arrival.steady = { per_s = 2.5 }
prompts = { distinct = 100000, skew = 0.0 }
max_tokens = 32
stream = false
[[callers]]
users = ["rush"]
arrival.steady = { per_s = 12.0 }
prompts = { distinct = 100000, skew = 0.0 }
max_tokens = 32
stream = false
from = "6s"
until = "10s"
[[command]]
at = "24s"
do = { set = ["retry.budget_ratio=0.2", "retry.budget_min_per_s=0.2"] }
"#;

#[test]
fn a_storm_that_has_ended_is_shown_no_longer() {
    for seed in 1..=10 {
        let scene = super::read("ended by a budget", ENDED_BY_A_BUDGET, None, Some(seed)).unwrap();
        let (state, stormy) = run(&scene);
        let (first, last) = (stormy[0], stormy[stormy.len() - 1]);
        assert!((8..=14).contains(&first), "seed {seed}: {stormy:?}");
        assert!((25..30).contains(&last), "seed {seed}: {stormy:?}");
        assert_eq!(
            (last - first + 1, state.retry.storms),
            (stormy.len() as u64, 1),
            "seed {seed}: {stormy:?}"
        );
    }
}

#[test]
fn the_retry_storm_is_detected_and_the_averted_one_is_not() {
    let (state, stormy) = run(&super::load("retry-storm", None, None).unwrap());
    // the trigger lasts from second 60 to 70; the storm does not end with it
    let first = *stormy.first().unwrap();
    assert!((60..90).contains(&first), "began in second {first}");
    assert_eq!(
        stormy,
        (first..=stormy[stormy.len() - 1]).collect::<Vec<_>>(),
        "it never paused"
    );
    assert!(stormy[stormy.len() - 1] >= 239);
    let storm = state.storm(Timestamp::ZERO + Duration::from_secs(239)).unwrap();
    assert!(storm.retries > 0.6 && storm.helped < 0.25, "{storm:?}");
    assert_eq!(state.retry.storms, 1);
    let (peak, _) = state.retry.peak.unwrap();
    assert!(peak > 4.0 && peak >= state.retry.amplification().unwrap());

    let (state, stormy) = run(&super::load("retry-storm-averted", None, None).unwrap());
    assert_eq!(stormy, Vec::<u64>::new());
    assert_eq!(state.retry.storms, 0);
    assert!(state.retry.amplification().unwrap() < 1.3);
}
