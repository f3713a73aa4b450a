use std::sync::mpsc;

use tokio::runtime::Runtime;
use tokio::task::JoinHandle;

use super::judge::judge;
use super::*;
use crate::event::{BurstUsers, Command, Fate, WhatIfUpstream};
use crate::session::{LocalSession, SessionConfig};
use crate::settings::{FaultProfile, Policy};

/// A session in virtual time, driven by `drive`: its events.
fn played<F>(policy: &Policy, drive: impl FnOnce(LocalSession) -> F) -> Vec<Event>
where
    F: Future<Output = LocalSession>,
{
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .unwrap();
    let (sender, events) = mpsc::channel();
    let config = SessionConfig {
        policy: policy.clone(),
        faults: FaultProfile {
            server_error: 0.5,
            ..FaultProfile::default()
        },
        ..SessionConfig::default()
    };
    runtime.block_on(async move {
        let clock = Clock::start();
        let tap: Tap = Box::new(move |event| drop(sender.send(event.clone())));
        let session = drive(LocalSession::start(&config, clock, Bus::tapped(clock, tap))).await;
        session.env.join().await;
    });
    events.iter().collect()
}

fn burst_of(calls: u32) -> Command {
    Command::Burst {
        calls,
        users: BurstUsers::All,
    }
}

/// Two bursts, the second with a failing upstream.
fn session(policy: &Policy) -> Vec<Event> {
    played(policy, |session| async move {
        session.engine.execute(burst_of(30));
        session.engine.settled().await;
        session.engine.execute(Command::SetFaults { on: true });
        session.engine.execute(burst_of(30));
        session.engine.settled().await;
        session
    })
}

fn folds(events: &[Event]) -> (Traffic, Tally) {
    let mut state = (Traffic::keeping(CALLS), Tally::default());
    for event in events {
        state.0.apply(event);
        state.1.apply(event);
    }
    state
}

/// Nine bursts of 30 with a failing upstream in the second and from the seventh on; the newest 260 calls are kept.
/// The oldest ones are dropped in the third burst, of which the breaker rejects most calls.
fn long_session(policy: &Policy) -> (Traffic, Tally) {
    let events = played(policy, |session| async move {
        for burst in 1..=9 {
            let on = burst == 2 || burst >= 7;
            session.engine.execute(Command::SetFaults { on });
            session.engine.execute(burst_of(30));
            session.engine.settled().await;
            session.env.clock.sleep(Duration::from_mins(1)).await;
        }
        session
    });
    let mut state = Recorded::keeping(260);
    for event in &events {
        state.apply(event);
    }
    (state.traffic, state.tally)
}

fn judged(running: &Policy, copy: &Policy) -> WhatIfResult {
    let (traffic, tally) = folds(&session(running));
    judge(0, traffic, &tally, running, copy).unwrap().unwrap()
}

#[test]
fn with_the_simulator_the_policy_in_force_is_reproduced_exactly() {
    let policy = Policy::default();
    let result = judged(&policy, &policy);
    assert_eq!(result.upstream, WhatIfUpstream::Simulator);
    assert_eq!((result.observed.calls, result.warm_up), (60, 0));
    assert!(result.observed.ended_as(Fate::Failed) + result.observed.ended_as(Fate::CircuitOpen) > 0);
    assert_eq!(result.running, result.observed);
    assert_eq!(result.edited, result.running);
    assert_eq!((result.changed, result.changes.len()), (0, 0));
}

#[test]
fn an_edited_policy_is_judged_by_its_differences() {
    // a breaker would stop the retries of calls that fail together
    let policy = Policy::default().with("breaker.enabled", "false").unwrap();
    let copy = policy.with("retry.attempts", "1").unwrap();
    let result = judged(&policy, &copy);
    assert_eq!(result.changes, ["retry.attempts=1".into()]);
    let (running, other) = (&result.running, &result.edited);
    assert!(running.retries > 0 && other.retries == 0, "{result:?}");
    assert_eq!((running.ended(), other.ended()), (60, 60));
    assert!(result.changed >= running.served().abs_diff(other.served()));
    for one in &result.examples {
        assert_ne!(one.running, one.edited);
    }
}

#[test]
fn without_the_first_calls_the_rest_is_reproduced() {
    // without a cache, only buckets and breaker depend on earlier calls
    let policy = Policy::default().with("cache.enabled", "false").unwrap();
    let (traffic, tally) = long_session(&policy);
    let kept = traffic.calls().len();
    assert!((130..200).contains(&kept), "{kept}");
    let result = judge(0, traffic, &tally, &policy, &policy).unwrap().unwrap();
    assert_eq!(result.warm_up as usize, kept / 4);
    assert_eq!(result.observed.calls as usize, kept - kept / 4);
    let (seen, running) = (&result.observed, &result.running);
    assert!(seen.opened > 0 && seen.served() < seen.calls, "{seen:?}");
    assert_eq!(running, seen);
}

#[test]
fn running_calls_are_counted_as_running_and_replayed_to_their_end() {
    let policy = Policy::default();
    let events = played(&policy, |session| async move {
        session.engine.execute(burst_of(30));
        session.engine.settled().await;
        session.engine.execute(burst_of(30));
        session.env.clock.sleep(Duration::from_secs(1)).await;
        session
    });
    // as recorded a second into the second burst
    let began = |event: &Event| matches!(event.kind, EventKind::CallStarted { .. });
    let second = events.iter().rposition(began).unwrap();
    let (traffic, tally) = folds(&events[..=second]);
    let copy = policy.with("cache.enabled", "false").unwrap();
    let result = judge(0, traffic, &tally, &policy, &copy).unwrap().unwrap();
    assert!(result.observed.running() > 0, "{:?}", result.observed);
    assert_eq!(result.observed.ended() + result.observed.running(), 60);
    assert_eq!((result.running.running(), result.edited.running()), (0, 0));
    assert!(!result.mixed);
}

#[test]
fn the_calls_of_a_load_are_replayed_without_the_load() {
    let policy = Policy::default();
    let events = played(&policy, |session| async move {
        let load = Some("10/s 6s".parse().unwrap());
        session.engine.execute(Command::SetLoad { load });
        session.engine.settled().await;
        session
    });
    let (traffic, tally) = folds(&events);
    let copy = policy.with("cache.enabled", "false").unwrap();
    let result = judge(0, traffic, &tally, &policy, &copy).unwrap().unwrap();
    assert_eq!((result.running.ended(), result.edited.ended()), (60, 60));
}

#[test]
fn a_policy_change_during_the_calls_is_reported() {
    let policy = Policy::default().with("retry.attempts", "1").unwrap();
    let applied = policy.clone();
    let events = played(&Policy::default(), |session| async move {
        session.engine.execute(burst_of(30));
        session.engine.settled().await;
        let policy = Box::new(applied);
        session.engine.execute(Command::ApplyPolicy { policy });
        session.engine.execute(burst_of(30));
        session.engine.settled().await;
        session
    });
    let (traffic, tally) = folds(&events);
    let result = judge(0, traffic, &tally, &policy, &policy).unwrap().unwrap();
    assert!(result.mixed);
}

#[test]
fn without_calls_there_is_no_judgement() {
    let (traffic, tally) = folds(&session(&Policy::default())[..3]);
    let policy = Policy::default();
    assert_eq!(judge(0, traffic, &tally, &policy, &policy), Ok(None));
}

/// A bus with the tap, and its events.
fn tapped_bus(what_if: &WhatIf) -> (Bus, mpsc::Receiver<Event>) {
    let (sender, events) = mpsc::channel();
    let mut tap_what_if = what_if.tap();
    let tap: Tap = Box::new(move |event| {
        tap_what_if(event);
        // the receiver may be dropped
        drop(sender.send(event.clone()));
    });
    (Bus::tapped(Clock::start(), tap), events)
}

/// Starts the task. It ends when the sender is dropped.
fn start(what_if: &WhatIf, bus: &Bus) -> (Runtime, JoinHandle<()>, watch::Sender<Option<WhatIfRequest>>) {
    let runtime = Runtime::new().unwrap();
    let (requests, receiver) = watch::channel(None);
    let run = what_if.clone().run(receiver, bus.clone(), Clock::start());
    let task = runtime.spawn(run);
    (runtime, task, requests)
}

fn next(events: &mpsc::Receiver<Event>) -> WhatIfResult {
    events
        .iter()
        .find_map(|event| match event.kind {
            EventKind::WhatIfEvaluated { result } => Some(*result),
            _ => None,
        })
        .unwrap()
}

#[test]
fn each_edit_is_evaluated_in_a_running_session() {
    let policy = Policy::default();
    let what_if = WhatIf::default();
    let (bus, emitted) = tapped_bus(&what_if);
    for event in session(&policy) {
        bus.emit(event.call, event.kind);
    }
    let (runtime, task, requests) = start(&what_if, &bus);
    let request = |edit, policy| requests.send_replace(Some(WhatIfRequest { edit, policy }));
    request(1, policy.clone());
    assert_eq!(next(&emitted).edit, 1);
    request(2, policy.with("breaker.enabled", "false").unwrap());
    let second = next(&emitted);
    assert_eq!(
        (second.edit, second.changes),
        (2, vec!["breaker.enabled=false".into()])
    );
    requests.send_replace(None);
    drop(requests);
    runtime.block_on(task).unwrap();
    drop(bus);
    drop(what_if);
    assert!(
        !emitted
            .iter()
            .any(|event| matches!(event.kind, EventKind::WhatIfEvaluated { .. })),
        "evaluated without a request"
    );
}

#[test]
fn new_calls_are_evaluated_without_another_request() {
    let policy = Policy::default();
    let what_if = WhatIf::default();
    let (bus, emitted) = tapped_bus(&what_if);
    let events = session(&policy);
    let (first, rest) = events.split_at(events.len() / 2);
    for event in first {
        bus.emit(event.call, event.kind.clone());
    }
    let (runtime, task, requests) = start(&what_if, &bus);
    requests.send_replace(Some(WhatIfRequest { edit: 1, policy }));
    let before = next(&emitted);
    for event in rest {
        bus.emit(event.call, event.kind.clone());
    }
    let after = next(&emitted);
    assert!(
        after.observed.calls > before.observed.calls,
        "{before:?} {after:?}"
    );
    drop(requests);
    runtime.block_on(task).unwrap();
}
