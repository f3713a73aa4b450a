//! Rows 48 to 62: time, callers, bugs, floods, and the process itself.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use seawall::client::{CallContext, Env, Held, ResilientClient};
use seawall::event::{AttemptResult, EventKind, FailureClass as C, Fate, LimitReject, Phase, Sample, UserId};
use seawall::openai::ChatRequest;
use seawall::session::bus::{Bus, Received};
use seawall::settings::{Bucket, FaultProfile};
use seawall::simulator::{FaultControl, Simulator, SimulatorConfig};
use seawall::time::Clock;
use tokio::net::TcpListener;

use crate::rig::{Act, Fake, Rig, patiently, prompt, quick};
use crate::server::{Play, Server, Step};
use crate::table::Row;
use crate::wire::{DONE, HEL, LO, ROLE, STOP, answer, begun, breaks, events, json, refusal, stream};

/// Rows that need real time.
pub(crate) fn rows() -> Vec<Row> {
    let terminal = "tests/terminal.rs";
    let ending = "tests/terminal/ending.rs";
    vec![
        Row::story(48, "the wall clock is a year off", || Box::pin(wrong_wall_clock()))
            .note("nothing but a Retry-After date without a Date beside it is compared with the wall clock; a server a year ahead is the same to us as our clock a year behind"),
        Row::story(50, "cancelled while queued", || Box::pin(cancelled_in_queue())),
        Row::story(50, "cancelled while sleeping", || Box::pin(cancelled_asleep())),
        Row::story(50, "cancelled while connecting", || Box::pin(cancelled_connecting())),
        Row::story(50, "cancelled while waiting and while streaming", || {
            Box::pin(cancelled_on_the_wire())
        }),
        Row::story(50, "leader and follower cancelled", || Box::pin(leader_and_follower()))
            .note("within the 100 ms of the matrix on a quiet machine; asserted is that no timeout is needed for it"),
        Row::story(51, "panic in an attempt", || Box::pin(panic_in_attempt())),
        Row::elsewhere(
            51,
            "panic on the screen and in a task",
            terminal,
            &[
                "a_panic_of_the_drawing_thread_restores_the_terminal_first",
                "a_panic_in_a_task_does_not_touch_the_screen",
            ],
        ),
        Row::story(52, "an event consumer stalls", || Box::pin(stalled_consumer())),
        Row::elsewhere(
            55,
            "terminal 1x1, 0x0, 1000x1000, resize storm",
            terminal,
            &["survives_every_size_and_redraws"],
        ),
        Row::elsewhere(
            56,
            "no TTY, TERM=dumb, NO_COLOR, closed stdout",
            terminal,
            &[
                "without_a_terminal_the_drill_runs",
                "draws_on_a_dumb_terminal",
                "a_closed_stdout_exits_quietly",
                "no_color_disables_colours_but_not_bold",
            ],
        ),
        Row::elsewhere(57, "SIGINT", terminal, &["control_c_stops_what_runs_and_then_quits"]),
        Row::elsewhere(58, "SIGTERM", terminal, &["signals_end_it_by_the_normal_path"]),
        Row::elsewhere(58, "SIGTERM in every mode", ending, &["sigterm_is_143_in_every_mode"]),
        Row::elsewhere(59, "SIGHUP", terminal, &["signals_end_it_by_the_normal_path"]),
        Row::elsewhere(
            59,
            "the terminal is gone, with and without SIGHUP",
            ending,
            &["a_terminal_that_disappears_ends_the_session_and_its_files_are_saved"],
        ),
        Row::elsewhere(
            60,
            "SIGTSTP and SIGCONT",
            terminal,
            &["leaves_the_screen_when_stopped_and_redraws_when_continued"],
        ),
        Row::story(61, "escape sequences in output, error, model and header", || {
            Box::pin(hostile_text())
        }),
        Row::elsewhere(
            61,
            "escape sequences on the way to a pty",
            terminal,
            &["an_answer_cannot_command_the_terminal"],
        ),
        Row::story(62, "port in use", || Box::pin(port_in_use())),
        Row::elsewhere(62, "port in use, as a process", terminal, &["a_port_in_use_is_named"]),
    ]
}

/// Rows in virtual time.
pub(crate) fn virtual_rows() -> Vec<Row> {
    vec![
        Row::story(49, "the machine sleeps", || Box::pin(suspended())),
        Row::story(53, "10000 queued requests", || Box::pin(ten_thousand())),
        Row::story(54, "one user floods", || Box::pin(flood())).note(
            "identical calls cost one upstream call, stored answers pass the queue by. A flood of different calls \
             waits behind itself: scenario noisy-neighbour-fair, beside noisy-neighbour in order of arrival",
        ),
    ]
}

async fn wrong_wall_clock() {
    let year = |year: u64| format!("Retry-After: Thu, 01 Jan {year} 00:00:00 GMT\r\n");
    // the clock is ahead: the wait is too long, and a pause is an hour at most
    let refuse = |extra: &str| refusal("429 Too Many Requests", extra, r#"{"message":"slow"}"#);
    let server = Server::start(vec![refuse(&year(2199))]).await;
    let rig = Rig::new(&server.url(), quick());
    let error = rig.call().finish().await.unwrap_err();
    assert_eq!(
        (error.failure.class, error.failure.phase),
        (C::RateLimited, Phase::Refused)
    );
    for event in rig.rest().await {
        if let EventKind::LimitPaused { until } = event.kind {
            assert!(event.at.until(until) <= Duration::from_hours(1));
        }
    }
    // the clock is behind: no wait and no burst
    let server = Server::start(vec![refuse(&year(2001)), answer()]).await;
    let rig = Rig::new(&server.url(), quick());
    assert_eq!(rig.call().finish().await.unwrap().text, "hello");
    assert_eq!(
        rig.count(|kind| matches!(kind, EventKind::AttemptStarted { .. })),
        2
    );
    rig.rest().await;
}

async fn suspended() {
    let mut policy = quick();
    policy.limit.requests = Bucket {
        capacity: 3,
        refill: 1,
        per: Duration::from_secs(1),
    };
    policy.timeouts.call = Duration::from_mins(10);
    policy.timeouts.headers = Duration::from_mins(5);
    policy.limit.max_wait = Duration::from_secs(1);
    let rig = Rig::over(Fake::new([Act::Hang]), policy);
    let before = rig.call();
    rig.until("the attempt", 1, |kind| {
        matches!(kind, EventKind::AttemptStarted { .. })
    })
    .await;
    let night = Duration::from_hours(8);
    rig.emit(EventKind::Suspended {
        until: rig.env.clock.now() + night,
    });
    rig.env.clock.skip(night).await;
    // running calls end by their own timeouts at once
    let error = before.finish().await.unwrap_err();
    assert!(
        matches!(error.failure.class, C::Deadline | C::HeaderTimeout),
        "{error}"
    );
    // eight hours of refill fill three requests
    let calls: Vec<_> = (0..6).map(|n| rig.other_call(&format!("{n}"))).collect();
    rig.until("admissions", 4, |kind| {
        matches!(kind, EventKind::LimitAdmitted { .. })
    })
    .await;
    let admitted = rig.count(|kind| matches!(kind, EventKind::LimitAdmitted { .. }));
    assert_eq!(admitted, 1 + 3, "more than a full bucket");
    drop(calls);
    let samples: Vec<Sample> = rig
        .rest()
        .await
        .iter()
        .filter_map(|event| match event.kind {
            EventKind::BreakerRecorded { sample, .. } => Some(sample),
            _ => None,
        })
        .collect();
    assert!(
        samples.iter().all(|sample| *sample == Sample::Neutral),
        "the upstream is not to blame: {samples:?}"
    );
}

/// Checks that the last call was cancelled and nothing is left of it. Every timeout exceeds the patience.
async fn assert_gone(rig: &Rig, cancelled: usize) {
    let end = |kind: &EventKind| {
        matches!(
            kind,
            EventKind::CallEnded {
                fate: Fate::Cancelled,
                failure: None,
                ..
            }
        )
    };
    rig.until("the end of the cancelled call", cancelled, end).await;
}

async fn cancelled_in_queue() {
    let server = Server::start(vec![Play::new([Step::Hang])]).await;
    let mut policy = quick();
    policy.limit.concurrency = 1;
    let rig = Rig::new(&server.url(), policy);
    let first = rig.call();
    server.until_asked(1).await;
    let second = rig.other_call("And the tide?");
    rig.until("the queue", 1, |kind| {
        matches!(kind, EventKind::LimitQueued { .. })
    })
    .await;
    drop(second);
    assert_gone(&rig, 1).await;
    assert_eq!(rig.count(|kind| matches!(kind, EventKind::LimitLeft { .. })), 1);
    let held = Held {
        flights: 1,
        slots: 1,
        waiters: 0,
    };
    assert_eq!(rig.client.held(), held);
    drop(first);
    assert_gone(&rig, 2).await;
    server.until_left(1).await;
    assert_eq!(server.requests().len(), 1, "the queued one was sent");
    rig.rest().await;
}

async fn cancelled_asleep() {
    let refuse = refusal(
        "429 Too Many Requests",
        "Retry-After: 50\r\n",
        r#"{"message":"slow"}"#,
    );
    let server = Server::start(vec![refuse]).await;
    let rig = Rig::new(&server.url(), quick());
    let call = rig.call();
    rig.until("the wait", 1, |kind| {
        matches!(kind, EventKind::RetryScheduled { .. })
    })
    .await;
    drop(call);
    assert_gone(&rig, 1).await;
    rig.rest().await;
    assert_eq!(server.requests().len(), 1);
}

async fn cancelled_connecting() {
    let server = Server::start(vec![Play::unasked([Step::Hang])]).await;
    let rig = Rig::new(&format!("https://{}", server.address()), quick());
    let call = rig.call();
    server.until_connected(1).await;
    drop(call);
    assert_gone(&rig, 1).await;
    assert_neutral(&rig);
    rig.rest().await;
}

/// Checks that the attempt is recorded as cancelled and the permit returned without a sample.
fn assert_neutral(rig: &Rig) {
    let cancelled = |kind: &EventKind| {
        matches!(
            kind,
            EventKind::AttemptEnded {
                result: AttemptResult::Cancelled,
                ..
            }
        )
    };
    let neutral = |kind: &EventKind| {
        matches!(
            kind,
            EventKind::BreakerRecorded {
                sample: Sample::Neutral,
                ..
            }
        )
    };
    assert_eq!((rig.count(cancelled), rig.count(neutral)), (1, 1));
}

async fn cancelled_on_the_wire() {
    for (play, streaming) in [
        (Play::new([Step::Hang]), false),
        (breaks(&[ROLE, HEL], Step::Hang), true),
    ] {
        let server = Server::start(vec![play]).await;
        let rig = Rig::new(&server.url(), quick());
        let mut call = rig.call();
        server.until_asked(1).await;
        if streaming {
            patiently("text", call.next()).await.unwrap();
        }
        drop(call);
        assert_gone(&rig, 1).await;
        // a closed connection stops a server that generates
        server.until_left(1).await;
        assert_neutral(&rig);
        let events = rig.rest().await;
        let charged = events.iter().find_map(|event| match event.kind {
            EventKind::LimitSettled {
                charged, reserved, ..
            } => Some((charged, reserved)),
            _ => None,
        });
        let (charged, reserved) = charged.unwrap();
        // the known usage: the prompt and one chunk, or everything reserved
        assert_eq!(charged, if streaming { 11 } else { reserved });
    }
}

async fn leader_and_follower() {
    let gate = Arc::new(tokio::sync::Notify::new());
    let play = Play::new([
        Step::Write(begun(&[ROLE, HEL])),
        Step::Gate(Arc::clone(&gate)),
        Step::Write(
            [
                crate::wire::chunk(&events(&[LO, STOP, DONE])),
                crate::wire::END.to_vec(),
            ]
            .concat(),
        ),
    ]);
    let server = Server::start(vec![play]).await;
    let rig = Rig::new(&server.url(), quick());
    let mut leader = rig.call();
    let (follower, staying) = (rig.call(), rig.call());
    patiently("text", leader.next()).await.unwrap();
    drop(follower);
    assert_gone(&rig, 1).await;
    drop(leader);
    assert_gone(&rig, 2).await;
    assert_eq!(
        rig.count(|kind| matches!(kind, EventKind::FlightHandedOver { .. })),
        1
    );
    gate.notify_one();
    let answer = patiently("the answer", staying.finish()).await.unwrap();
    assert_eq!((answer.text.as_str(), server.requests().len()), ("hello", 1));
    rig.rest().await;
}

fn whole_stream() -> Act {
    Act::Stream(vec![Bytes::from(events(&[ROLE, HEL, LO, STOP, DONE]))])
}

async fn panic_in_attempt() {
    // printed on the console like any panic; in the control room the hook suppresses it
    let rig = Rig::over(
        Fake::new([
            Act::Panic("row 51, on purpose: Bearer sk-proj-4711aBcDeFgHiJkLmNoPqRsTuV"),
            whole_stream(),
        ]),
        quick(),
    );
    let error = rig.call().finish().await.unwrap_err();
    assert_eq!((error.fate, error.failure.class), (Fate::Failed, C::Internal));
    assert!(
        error
            .failure
            .message
            .contains("internal error in seawall: row 51, on purpose"),
        "{error}"
    );
    let failed = |kind: &EventKind| {
        matches!(
            kind,
            EventKind::BreakerRecorded {
                sample: Sample::Failed,
                ..
            }
        )
    };
    assert_eq!(rig.count(failed), 1);
    assert_eq!(
        rig.count(|kind| matches!(kind, EventKind::TaskPanicked { .. })),
        1
    );
    assert_eq!(rig.call().finish().await.unwrap().text, "hello");
    for event in rig.rest().await {
        assert!(
            !serde_json::to_string(&event).unwrap().contains("4711aB"),
            "{event:?}"
        );
    }
}

async fn stalled_consumer() {
    const CALLS: usize = 700;
    let env = Env::new(Clock::start(), 7);
    let bus = Bus::new(env.clock);
    let (_, mut tail) = bus.subscribe();
    let mut policy = quick();
    policy.limit.enabled = false;
    policy.limit.concurrency = 1000;
    let client = ResilientClient::new(policy, Fake::new([whole_stream()]), bus.clone(), env.clone());
    for number in 0..CALLS {
        let request = ChatRequest::prompt(format!("{number}")).temperature(0.0);
        let call = client.call(&request, CallContext::default());
        patiently("a call beside a stalled consumer", call.finish())
            .await
            .unwrap();
    }
    assert_eq!(bus.stats().calls.started as usize, CALLS);
    let mut batch = Vec::new();
    let received = patiently("the tail", tail.recv_many(&mut batch, 10_000)).await;
    // bounded, dropped and counted
    assert!(
        matches!(received, Received::Lagged(lost) if lost > 0),
        "{received:?}"
    );
    assert_eq!(client.held(), Held::default());
}

async fn ten_thousand() {
    let mut policy = quick();
    policy.limit.requests = Bucket {
        capacity: 1,
        refill: 1,
        per: Duration::from_secs(1),
    };
    policy.limit.max_wait = Duration::from_hours(1);
    policy.timeouts.call = Duration::from_hours(2);
    let bound = policy.limit.max_waiters;
    let rig = Rig::over(Fake::new([Act::Hang]), policy);
    let calls: Vec<_> = (0..10_000).map(|n| rig.other_call(&format!("{n}"))).collect();
    let rejected = |kind: &EventKind| {
        matches!(
            kind,
            EventKind::LimitRejected {
                reason: LimitReject::QueueFull,
                predicted: Some(_),
                ..
            }
        )
    };
    // every server is contacted before time passes
    rig.until("rejections", 10_000 - 1 - bound, rejected).await;
    let held = Held {
        flights: bound + 1,
        slots: 1,
        waiters: bound,
    };
    assert_eq!(rig.client.held(), held);
    let message = rig.events().into_iter().rev().find_map(|event| match event.kind {
        EventKind::CallEnded {
            fate: Fate::RateLimited,
            failure,
            ..
        } => failure.map(|failure| failure.to_string()),
        _ => None,
    });
    let message = message.unwrap();
    assert!(
        message.contains("queue full") && message.contains("retry in 17m"),
        "{message}"
    );
    drop(calls);
    rig.rest().await;
}

async fn flood() {
    let mut policy = quick();
    policy.limit.concurrency = 1;
    let rig = Rig::over(Fake::new([whole_stream(), Act::Hang]), policy);
    let by = |user: &str, text: &str| {
        let request = ChatRequest::prompt(text).temperature(0.0);
        let user = UserId::new(user);
        rig.client.call(
            &request,
            CallContext {
                user,
                ..CallContext::default()
            },
        )
    };
    by("ben", "known").finish().await.unwrap();
    let flood: Vec<_> = (0..2000).map(|_| by("ana", "the same")).collect();
    rig.until("the flood's attempt", 2, |kind| {
        matches!(kind, EventKind::AttemptStarted { .. })
    })
    .await;
    assert_eq!(rig.client.held().flights, 1);
    let answer = by("ben", "known").finish().await.unwrap();
    assert_eq!(answer.fate, Fate::Hit);
    // another user shares nothing with the flood
    let other = by("ben", "the same");
    rig.until("ben's place", 1, |kind| {
        matches!(kind, EventKind::LimitQueued { .. })
    })
    .await;
    drop((flood, other));
    rig.rest().await;
}

/// Sets the window title, writes the clipboard, clears the screen, reverses the text.
const HOSTILE: &str =
    "\u{1b}]0;pwned\u{7}\u{1b}]52;c;cHduZWQ=\u{7}\u{1b}[2J\u{9b}31m\u{202e}pwned\u{2066}\u{200f}\0\u{8}";

async fn hostile_text() {
    let quoted = serde_json::to_string(HOSTILE).unwrap();
    let text = format!(
        r#"{{"model":{quoted},"choices":[{{"index":0,"delta":{{"content":{quoted},"reasoning_content":{quoted}}}}}]}}"#
    );
    let error = format!(r#"{{"message":{quoted},"type":{quoted},"code":{quoted},"param":{quoted}}}"#);
    let bent = HOSTILE.replace(['\0', '\u{7}', '\u{8}', '\u{1b}'], "\u{9b}");
    let location = format!("Location: http://x/{bent}\r\nRetry-After: {bent}\r\n");
    let whole = format!(
        r#"{{"model":{quoted},"choices":[{{"message":{{"content":{quoted}}},"finish_reason":"stop"}}]}}"#
    );
    for play in [
        stream(&[&text, STOP, DONE]),
        stream(&[&text, &format!(r#"{{"error":{error}}}"#)]),
        json(whole),
        refusal("400 Bad Request", "", &error),
        refusal("500 Oh", "", &error),
        refusal("307 Elsewhere", &location, &error),
        refusal("429 Slow", &location, &error),
        Play::whole(crate::wire::response(
            "200 OK",
            "",
            &format!("text/{bent}"),
            HOSTILE,
        )),
        Play::whole(HOSTILE),
        json(HOSTILE),
    ] {
        let server = Server::start(vec![play]).await;
        let mut policy = quick();
        policy.retry.attempts = 1;
        let rig = Rig::new(&server.url(), policy);
        let request = prompt().model(HOSTILE);
        let context = CallContext {
            user: UserId::new(HOSTILE),
            ..CallContext::default()
        };
        // the caller gets the text unchanged
        if let Ok(answer) = patiently("an end", rig.client.call(&request, context).finish()).await {
            assert_eq!(answer.text, HOSTILE);
        }
        // events are printable, as `rest` checks
        rig.rest().await;
    }
}

async fn port_in_use() {
    let taken = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = taken.local_addr().unwrap().port();
    let config = SimulatorConfig {
        seed: 7,
        port,
        latency: seawall::settings::LatencyProfile::default(),
        capacity: None,
        upstream: None,
        extra_roots: Vec::new(),
    };
    let faults = FaultControl::new(FaultProfile::default(), false);
    let error = Simulator::start(config, faults, Arc::new(()), Clock::start())
        .await
        .unwrap_err();
    assert!(error.to_string().contains(&port.to_string()), "{error}");
}
