use std::sync::mpsc;

use super::judge::judge;
use super::*;
use crate::event::{BurstUsers, Fate, WhatIfResult, WhatIfUpstream};
use crate::session::{LocalSession, SessionConfig};
use crate::settings::FaultProfile;

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
    let (tell, told) = mpsc::channel();
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
        let tap: Tap = Box::new(move |event| drop(tell.send(event.clone())));
        let session = drive(LocalSession::start(&config, clock, Bus::tapped(clock, tap))).await;
        session.env.join().await;
    });
    told.iter().collect()
}

fn burst_of(calls: u32) -> Command {
    Command::Burst {
        calls,
        users: BurstUsers::All,
    }
}

/// Two bursts, the second of them before an upstream that fails.
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

fn heard(events: &[Event]) -> (Traffic, Tally) {
    let mut heard = (Traffic::keeping(CALLS), Tally::default());
    for event in events {
        heard.0.take(event);
        heard.1.take(event);
    }
    heard
}

/// Nine bursts of 30, before an upstream that fails during the second one and from the seventh on. What was heard of
/// it, where the newest 260 calls are kept: they are cut in the third burst, of which most calls are refused.
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
    let mut heard = Heard::keeping(260);
    for event in &events {
        heard.take(event);
    }
    (heard.traffic, heard.tally)
}

fn judged(running: &Policy, copy: &Policy) -> WhatIfResult {
    let (traffic, tally) = heard(&session(running));
    judge(0, traffic, &tally, running, copy).unwrap().unwrap()
}

#[test]
fn before_the_simulator_the_settings_in_force_do_again_what_they_did() {
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
fn a_copy_is_judged_by_what_differs() {
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
fn where_the_first_calls_are_gone_the_rest_is_judged_as_it_was() {
    // without a cache, what the first calls left behind is in the buckets and the breaker alone
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
fn calls_that_still_run_are_counted_as_such_and_played_to_their_end() {
    let policy = Policy::default();
    let events = played(&policy, |session| async move {
        session.engine.execute(burst_of(30));
        session.engine.settled().await;
        session.engine.execute(burst_of(30));
        session.env.clock.sleep(Duration::from_secs(1)).await;
        session
    });
    // as it was heard a second into the second burst
    let began = |event: &Event| matches!(event.kind, EventKind::CallStarted { .. });
    let second = events.iter().rposition(began).unwrap();
    let (traffic, tally) = heard(&events[..=second]);
    let copy = policy.with("cache.enabled", "false").unwrap();
    let result = judge(0, traffic, &tally, &policy, &copy).unwrap().unwrap();
    assert!(result.observed.running() > 0, "{:?}", result.observed);
    assert_eq!(result.observed.ended() + result.observed.running(), 60);
    assert_eq!((result.running.running(), result.edited.running()), (0, 0));
    assert!(!result.mixed);
}

#[test]
fn that_settings_changed_meanwhile_is_told() {
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
    let (traffic, tally) = heard(&events);
    let result = judge(0, traffic, &tally, &policy, &policy).unwrap().unwrap();
    assert!(result.mixed);
}

#[test]
fn without_calls_there_is_nothing_to_say() {
    let (traffic, tally) = heard(&session(&Policy::default())[..3]);
    let policy = Policy::default();
    assert_eq!(judge(0, traffic, &tally, &policy, &policy), Ok(None));
}

/// Everything that a bus was told, as it was told.
fn listening(shadow: &Shadow) -> (Bus, mpsc::Receiver<Event>) {
    let (tell, told) = mpsc::channel();
    let mut hears = shadow.tap();
    let tap: Tap = Box::new(move |event| {
        hears(event);
        // whoever listened may have gone
        drop(tell.send(event.clone()));
    });
    (Bus::tapped(Clock::start(), tap), told)
}

fn next(told: &mpsc::Receiver<Event>) -> WhatIfResult {
    told.iter()
        .find_map(|event| match event.kind {
            EventKind::WhatIfEvaluated { result } => Some(*result),
            _ => None,
        })
        .unwrap()
}

#[test]
fn a_running_session_is_told_of_each_edit() {
    let policy = Policy::default();
    let shadow = Shadow::default();
    let (bus, told) = listening(&shadow);
    for event in session(&policy) {
        bus.emit(event.call, event.kind);
    }
    let judging = shadow.start(bus.clone(), Clock::start()).unwrap();
    let ask = |edit, policy: Option<Policy>| {
        let policy = policy.map(Box::new);
        shadow.on_command(Timestamp::ZERO, &Command::EvaluatePolicy { edit, policy });
    };
    ask(1, Some(policy.clone()));
    assert_eq!(next(&told).edit, 1);
    ask(2, Some(policy.with("breaker.enabled", "false").unwrap()));
    let second = next(&told);
    assert_eq!(
        (second.edit, second.changes),
        (2, vec!["breaker.enabled=false".into()])
    );
    ask(3, None);
    drop(judging);
    drop(bus);
    drop(shadow);
    assert!(
        !told
            .iter()
            .any(|event| matches!(event.kind, EventKind::WhatIfEvaluated { .. })),
        "judged although nobody looks"
    );
}

#[test]
fn new_calls_are_judged_without_being_asked_again() {
    let policy = Policy::default();
    let shadow = Shadow::default();
    let (bus, told) = listening(&shadow);
    let events = session(&policy);
    let (first, rest) = events.split_at(events.len() / 2);
    for event in first {
        bus.emit(event.call, event.kind.clone());
    }
    let judging = shadow.start(bus.clone(), Clock::start()).unwrap();
    let policy = Some(Box::new(policy));
    shadow.on_command(Timestamp::ZERO, &Command::EvaluatePolicy { edit: 1, policy });
    let before = next(&told);
    for event in rest {
        bus.emit(event.call, event.kind.clone());
    }
    let after = next(&told);
    assert!(
        after.observed.calls > before.observed.calls,
        "{before:?} {after:?}"
    );
    drop(judging);
}
