use std::sync::mpsc;

use super::judge::judge;
use super::*;
use crate::event::{BurstUsers, Fate, Judgement, ShadowUpstream};
use crate::session::{LocalSession, SessionConfig};
use crate::settings::FaultProfile;

/// A session in virtual time: two bursts, the second of them before an upstream that fails. Its events.
fn session(policy: &Policy) -> Vec<Event> {
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
        let tap: Tap = Box::new(move |event| tell.send(event.clone()).unwrap());
        let session = LocalSession::start(&config, clock, Bus::tapped(clock, tap));
        let burst = || Command::Burst {
            calls: 30,
            users: BurstUsers::All,
        };
        session.engine.obey(burst());
        session.engine.settled().await;
        session.engine.obey(Command::SetFaults { on: true });
        session.engine.obey(burst());
        session.engine.settled().await;
        session.env.join().await;
    });
    told.iter().collect()
}

fn heard(events: &[Event]) -> (Traffic, Tally) {
    let mut heard = (Traffic::keeping(CALLS), Tally::default());
    for event in events {
        heard.0.take(event);
        heard.1.take(event);
    }
    heard
}

fn judged(running: &Policy, copy: &Policy) -> Judgement {
    let (traffic, tally) = heard(&session(running));
    judge(traffic, &tally, running, copy).unwrap().unwrap()
}

#[test]
fn before_the_simulator_the_settings_in_force_do_again_what_they_did() {
    let policy = Policy::default();
    let judgement = judged(&policy, &policy);
    assert_eq!(judgement.upstream, ShadowUpstream::Simulator);
    assert_eq!((judgement.seen.calls, judgement.warm_up), (60, 0));
    assert!(judgement.seen.of(Fate::Failed) + judgement.seen.of(Fate::Refused) > 0);
    assert_eq!(judgement.running, judgement.seen);
    assert_eq!(judgement.copy, judgement.running);
    assert_eq!((judgement.otherwise, judgement.changes.len()), (0, 0));
}

#[test]
fn a_copy_is_judged_by_what_differs() {
    // a breaker would stop the retries of calls that fail together
    let policy = Policy::default().with("breaker.enabled", "false").unwrap();
    let copy = policy.with("retry.attempts", "1").unwrap();
    let judgement = judged(&policy, &copy);
    assert_eq!(judgement.changes, ["retry.attempts=1".into()]);
    let (running, other) = (&judgement.running, &judgement.copy);
    assert!(running.retries > 0 && other.retries == 0, "{judgement:?}");
    assert_eq!((running.ended(), other.ended()), (60, 60));
    assert!(judgement.otherwise >= running.served().abs_diff(other.served()));
    for one in &judgement.examples {
        assert_ne!(one.running, one.copy);
    }
}

#[test]
fn without_calls_there_is_nothing_to_say() {
    let (traffic, tally) = heard(&session(&Policy::default())[..3]);
    let policy = Policy::default();
    assert_eq!(judge(traffic, &tally, &policy, &policy), Ok(None));
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

fn next(told: &mpsc::Receiver<Event>) -> Judgement {
    told.iter()
        .find_map(|event| match event.kind {
            EventKind::PolicyJudged { judgement } => Some(*judgement),
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
        bus.record(event.call, event.kind);
    }
    let judging = shadow.start(bus.clone(), Clock::start()).unwrap();
    let ask = |edit, policy: Option<Policy>| {
        let policy = policy.map(Box::new);
        shadow.obeyed(Timestamp::ZERO, &Command::JudgePolicy { edit, policy });
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
            .any(|event| matches!(event.kind, EventKind::PolicyJudged { .. })),
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
        bus.record(event.call, event.kind.clone());
    }
    let judging = shadow.start(bus.clone(), Clock::start()).unwrap();
    let policy = Some(Box::new(policy));
    shadow.obeyed(Timestamp::ZERO, &Command::JudgePolicy { edit: 1, policy });
    let before = next(&told);
    for event in rest {
        bus.record(event.call, event.kind.clone());
    }
    let after = next(&told);
    assert!(after.seen.calls > before.seen.calls, "{before:?} {after:?}");
    drop(judging);
}
