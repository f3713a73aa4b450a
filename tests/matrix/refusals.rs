//! Rows 14 to 30 and 44: a status other than 200.

use std::time::Duration;

use seawall::client::CallContext;
use seawall::event::{Event, EventKind, FailureClass as C, HintSource, Phase, Sample, StopReason};

use crate::connecting::assert_may_be_billed;
use crate::rig::{KEY, Rig, prompt, quick};
use crate::server::{Play, Server};
use crate::table::{Observed, Row};
use crate::wire::{answer, refusal};

const RATE: &str = r#"{"message":"Rate limit reached","type":"requests","code":"rate_limit_exceeded"}"#;

pub(crate) fn rows() -> Vec<Row> {
    let mut rows = rate_limits();
    rows.extend(empty_purses());
    rows.extend(hints());
    rows.extend(server_failures());
    rows.extend(final_refusals());
    rows.extend(redirects());
    rows
}

fn rate_limits() -> Vec<Row> {
    vec![
        Row::fails(
            14,
            "408",
            [refusal("408 Request Timeout", "", r#"{"message":"slow"}"#)],
            C::RequestTimeout,
            Phase::Refused,
        )
        .counts("NNN"),
        Row::fails(
            14,
            "425",
            [refusal("425 Too Early", "", r#"{"message":"early"}"#)],
            C::RequestTimeout,
            Phase::Refused,
        )
        .counts("NNN"),
        Row::fails(
            15,
            "409",
            [refusal("409 Conflict", "", r#"{"message":"twice"}"#)],
            C::Conflict,
            Phase::Ambiguous,
        )
        .counts("NN")
        .also(assert_may_be_billed),
        Row::answers(
            15,
            "409 in progress, with Retry-After",
            [
                refusal(
                    "409 Conflict",
                    "Retry-After: 0.2\r\n",
                    r#"{"message":"in progress"}"#,
                ),
                answer(),
            ],
        )
        .counts("NO")
        .also(|seen| assert_waited(seen, 200, 500, HintSource::RetryAfter)),
        Row::fails(
            16,
            "429 without hint",
            [refusal("429 Too Many Requests", "", RATE)],
            C::RateLimited,
            Phase::Refused,
        )
        .counts("NNN")
        .says(&["rate limited by HOST (429 rate_limit_exceeded)"])
        .also(|seen| {
            // 300 per minute at first, 70 % of it after the first rejection
            let rates = seen.all(|kind| match kind {
                EventKind::LimitAdmitted { requests, .. } => Some((requests.refill, requests.per_ns)),
                _ => None,
            });
            let share = |(refill, per): (u64, u64)| refill as f64 / per as f64;
            let slowed = share(rates[1]) / share(rates[0]);
            assert!((slowed - 0.7).abs() < 0.01, "{rates:?}");
            assert_eq!(
                seen.settled(),
                [(false, 0); 3],
                "refused: the request counts, its tokens do not"
            );
        }),
        Row::story(17, "429 Retry-After: 1", || Box::pin(everybody_waits())),
        asked_in_the_body(
            "429, the wait in Google's RetryInfo",
            r#"{"code":429,"message":"over quota","details":[{"retryDelay":"0.2s"}]}"#,
        )
        .also(|seen| assert_waited(seen, 200, 500, HintSource::Body)),
        asked_in_the_body(
            "429, the wait in the words of OpenAI",
            r#"{"message":"Limit 60, Used 60, Requested 1. Please try again in 200ms.","code":"rate_limit_exceeded"}"#,
        )
        .also(|seen| assert_waited(seen, 200, 500, HintSource::Message)),
    ]
}

fn asked_in_the_body(fault: &'static str, error: &str) -> Row {
    Row::answers(17, fault, [refusal("429 Too Many Requests", "", error), answer()]).counts("NO")
}

fn empty_purses() -> Vec<Row> {
    vec![
        Row::fails(
            21,
            "429 quota codes",
            [refusal(
                "429 Too Many Requests",
                "",
                r#"{"message":"You exceeded your current quota","type":"insufficient_quota","code":"insufficient_quota"}"#,
            )],
            C::Quota,
            Phase::Final,
        )
        .says(&["quota or credit at HOST is exhausted", "check plan and billing"])
        .also(|seen| assert_eq!(seen.pauses(), [0; 0]))
        .note("paused only if the server names a wait: without one the time of recovery is unknown, and a user who has paid wants to try"),
        Row::fails(
            21,
            "429 quota code with a hint",
            [refusal(
                "429 Too Many Requests",
                "Retry-After: 60\r\n",
                r#"{"message":"spent","code":"organization_spend_limit_exceeded"}"#,
            )],
            C::Quota,
            Phase::Final,
        )
        .also(|seen| assert_eq!(seen.pauses(), [60])),
    ]
}

/// Checks that the one retry waited for the hint, and not much longer.
fn assert_waited(seen: &Observed<'_>, at_least: u64, below: u64, source: HintSource) {
    let retries = seen.retries();
    let hint = retries[0].hint.expect("a hint");
    assert_eq!((hint.source, retries.len()), (source, 1));
    let delay = retries[0].delay;
    let range = Duration::from_millis(at_least)..Duration::from_millis(below);
    assert!(range.contains(&delay), "{delay:?}");
    // the request was not sent before its scheduled time
    let starts: Vec<_> = seen
        .events
        .iter()
        .filter(|event| matches!(event.kind, EventKind::AttemptStarted { .. }))
        .map(|event| event.at)
        .collect();
    assert!(starts[1].since(starts[0]) >= Duration::from_millis(at_least));
}

fn limited(extra: &str) -> [Play; 2] {
    [refusal("429 Too Many Requests", extra, RATE), answer()]
}

fn hints() -> Vec<Row> {
    let mut rows = vec![
        Row::answers(
            18,
            "429 Retry-After as a date, server clock years ahead",
            limited("Date: Tue, 01 Jan 2030 00:00:00 GMT\r\nRetry-After: Tue, 01 Jan 2030 00:00:01 GMT\r\n"),
        )
        .counts("NO")
        .also(|seen| assert_waited(seen, 1000, 1200, HintSource::RetryAfterDate)),
        Row::answers(
            18,
            "429 Retry-After as a date that has passed",
            limited("Date: Tue, 01 Jan 2030 00:00:00 GMT\r\nRetry-After: Tue, 01 Jan 2019 00:00:01 GMT\r\n"),
        )
        .counts("NO")
        .also(|seen| assert_waited(seen, 0, 5, HintSource::RetryAfterDate)),
        Row::answers(
            19,
            "429 retry-after-ms: 150 beside Retry-After: 7",
            limited("Retry-After: 7\r\nretry-after-ms: 150\r\n"),
        )
        .counts("NO")
        .also(|seen| assert_waited(seen, 150, 200, HintSource::RetryAfterMs)),
        Row::fails(
            20,
            "429 Retry-After: 999999",
            limited("Retry-After: 999999\r\n"),
            C::RateLimited,
            Phase::Refused,
        )
        .says(&["asks to wait 999999s"])
        .also(|seen| {
            assert_eq!(seen.stop(), Some(StopReason::HintTooLong));
            assert_eq!(seen.pauses(), [3600]);
        }),
        Row::fails(
            20,
            "429 Retry-After beyond the deadline",
            limited("Retry-After: 90\r\n"),
            C::RateLimited,
            Phase::Refused,
        )
        .says(&["asks to wait 90s"])
        .also(|seen| assert_eq!(seen.stop(), Some(StopReason::Deadline))),
    ];
    for (fault, extra) in [
        ("429 Retry-After: -1", "Retry-After: -1\r\n"),
        ("429 Retry-After: NaN", "Retry-After: NaN\r\n"),
        ("429 Retry-After: soon", "Retry-After: soon\r\n"),
        (
            "429 Retry-After of 30 digits",
            "Retry-After: 123456789012345678901234567890\r\n",
        ),
    ] {
        let always = [refusal("429 Too Many Requests", extra, RATE)];
        rows.push(
            Row::fails(20, fault, always, C::RateLimited, Phase::Refused)
                .counts("NNN")
                .says(&["sends an invalid Retry-After"])
                .also(|seen| {
                    assert_eq!(seen.pauses(), [0; 0]);
                    assert!(seen.retries().iter().all(|retry| retry.hint.is_none()));
                }),
        );
    }
    rows
}

/// A hint pauses all calls, not only the one that received it.
async fn everybody_waits() {
    let server = Server::start(limited("Retry-After: 1\r\n").to_vec()).await;
    let rig = Rig::new(&server.url(), quick());
    let first = rig.call();
    rig.until("the pause", 1, |kind| {
        matches!(kind, EventKind::LimitPaused { .. })
    })
    .await;
    let second = rig.other_call("And the tide?");
    first.finish().await.unwrap();
    second.finish().await.unwrap();
    let events = rig.rest().await;
    let refused_at = events
        .iter()
        .find(|event| matches!(event.kind, EventKind::LimitPaused { .. }))
        .unwrap()
        .at;
    let starts = events
        .iter()
        .filter(|event| matches!(event.kind, EventKind::AttemptStarted { .. }));
    let after: Vec<_> = starts.skip(1).map(|event| event.at.since(refused_at)).collect();
    assert_eq!(after.len(), 2);
    // the pause starts at the decision, a moment before its event
    assert!(
        after.iter().all(|wait| *wait >= Duration::from_millis(990)),
        "{after:?}"
    );
}

fn server_failures() -> Vec<Row> {
    let plain = |number, status: &'static str, class, phase, samples| {
        let error = r#"{"message":"it broke","type":"server_error"}"#;
        Row::fails(number, status, [refusal(status, "", error)], class, phase).counts(samples)
    };
    let ambiguous = |number, status, class| {
        plain(number, status, class, Phase::Ambiguous, "FF").also(assert_may_be_billed)
    };
    let overload = r#"{"message":"busy","code":"server_is_overloaded"}"#;
    vec![
        ambiguous(22, "500 Internal Server Error", C::ServerError).says(&["it broke", "(500)"]),
        ambiguous(23, "502 Bad Gateway", C::BadGateway),
        ambiguous(23, "504 Gateway Timeout", C::BadGateway),
        ambiguous(23, "530 Origin DNS Error", C::BadGateway),
        plain(24, "503 Service Unavailable", C::Unavailable, Phase::Refused, "FFF"),
        Row::fails(
            24,
            "503 overloaded",
            [refusal("503 Service Unavailable", "", overload)],
            C::Overloaded,
            Phase::Refused,
        )
        .counts("FFF"),
        Row::answers(
            25,
            "503 Loading model, four times",
            [loading(), loading(), loading(), loading(), answer()],
        )
        .counts("NNNNO")
        .also(|seen| {
            let waits: Vec<_> = seen.retries().iter().map(|retry| retry.delay).collect();
            assert!(waits.iter().all(|wait| *wait >= Duration::from_millis(250)), "{waits:?}");
        })
        .note("the call itself is the poll, not /health: a server that loads answers both alike, and not every server has /health"),
        Row::story(25, "503 Loading model, without end", || Box::pin(loading_without_end())),
        Row::fails(
            26,
            "529",
            [refusal(
                "529 Overloaded",
                "",
                r#"{"message":"Overloaded","type":"overloaded_error"}"#,
            )],
            C::Overloaded,
            Phase::Refused,
        )
        .counts("FFF")
        .says(&["HOST is overloaded", "not caused by your quota"]),
    ]
}

fn loading() -> Play {
    let error = r#"{"message":"Loading model","type":"unavailable_error","code":503}"#;
    refusal("503 Service Unavailable", "", error)
}

/// Polls until the deadline, however many polls that is on this machine.
async fn loading_without_end() {
    let server = Server::start(vec![loading()]).await;
    let mut policy = quick();
    policy.retry.attempts = 2;
    policy.timeouts.call = Duration::from_secs(6);
    let rig = Rig::new(&server.url(), policy);
    let error = rig.call().finish().await.unwrap_err();
    // stopped before a wait that is too long, or, on a slow machine, during a poll
    let message = error.failure.message.as_str();
    assert!(matches!(error.failure.class, C::Loading | C::Deadline), "{error}");
    assert!(message.contains("is loading its model (503)"), "{message}");
    let events = rig.rest().await;
    let polls = |event: &&Event| matches!(event.kind, EventKind::RetryScheduled { .. });
    assert!(events.iter().filter(polls).count() > 1, "polls take no attempts");
    for event in events {
        if let EventKind::BreakerRecorded { sample, .. } = event.kind {
            assert_ne!(sample, Sample::Failed);
        }
    }
}

fn final_refusals() -> Vec<Row> {
    let once = |number, status: &'static str, error: &str, class, says| {
        Row::fails(number, status, [refusal(status, "", error)], class, Phase::Final)
            .says(says)
            .also(|seen| assert_eq!(seen.stop(), Some(StopReason::NotRetryable)))
    };
    let echo = format!(r#"{{"message":"Incorrect API key provided: {KEY}","code":"invalid_api_key"}}"#);
    vec![
        once(
            27,
            "400 Bad Request",
            r#"{"message":"too hot","type":"invalid_request_error","param":"temperature"}"#,
            C::Invalid,
            &["HOST rejected the request", "too hot", "fix `temperature`"],
        ),
        once(
            27,
            "422 Unprocessable Content",
            r#"{"message":"no","param":"top_p"}"#,
            C::Invalid,
            &["`top_p`"],
        ),
        once(
            27,
            "400 Context too long",
            r#"{"code":400,"message":"request (1805 tokens) exceeds the available context size (512 tokens), try increasing it","type":"exceed_context_size_error","n_prompt_tokens":1805,"n_ctx":512}"#,
            C::ContextLength,
            &["prompt (1805 tokens) exceeds the context of HOST (512 tokens)"],
        ),
        once(28, "401 Unauthorized", &echo, C::Auth, &["SEAWALL_API_KEY"])
            .note("the credential is not marked bad: the next call tries again and fails the same. A key repaired at the server works at once, and a 401 costs nothing"),
        once(28, "403 Forbidden", r#"{"message":"no access"}"#, C::Auth, &["SEAWALL_API_KEY"]),
        once(
            29,
            "404 Not Found",
            r#"{"message":"File Not Found","type":"not_found_error","code":404}"#,
            C::NotFound,
            &["not found at HOST", "check the base URL"],
        ),
        Row::story(29, "404 for a model", || Box::pin(unknown_model())),
        once(
            30,
            "402 Payment Required",
            r#"{"message":"pay"}"#,
            C::Quota,
            &["check plan and billing"],
        ),
        once(
            30,
            "413 Content Too Large",
            r#"{"message":"big","type":"tokens","code":"rate_limit_exceeded"}"#,
            C::TooLarge,
            &["request too large for HOST", "shorten the prompt"],
        ),
        once(
            30,
            "429 Too Many Requests",
            r#"{"message":"Limit 6000, Requested 6294","type":"tokens","code":"rate_limit_exceeded"}"#,
            C::TooLarge,
            &["request too large for HOST", "raise the limit"],
        ),
    ]
}

async fn unknown_model() {
    let error = r#"{"message":"The model does not exist","code":"model_not_found"}"#;
    let server = Server::start(vec![refusal("404 Not Found", "", error)]).await;
    let rig = Rig::new(&server.url(), quick());
    let request = prompt().model("nope");
    let error = rig
        .client
        .call(&request, CallContext::default())
        .finish()
        .await
        .unwrap_err();
    assert_eq!(
        (error.failure.class, error.failure.phase),
        (C::NotFound, Phase::Final)
    );
    assert!(error.failure.message.contains("does not exist"), "{error}");
    assert_eq!(server.requests().len(), 1);
    rig.rest().await;
}

fn redirects() -> Vec<Row> {
    let to_itself = |status: &'static str| {
        let redirect =
            format!("HTTP/1.1 {status}\r\nLocation: /v1/chat/completions\r\nContent-Length: 0\r\n\r\n");
        Row::fails(
            44,
            "redirect to itself",
            [Play::whole(redirect)],
            C::Redirect,
            Phase::Final,
        )
        .says(&[
            "HOST redirects to /v1/chat/completions",
            "redirects are not followed",
        ])
        .also(|seen| assert_eq!(seen.server.requests().len(), 1, "followed"))
    };
    vec![
        to_itself("301 Moved Permanently"),
        to_itself("303 See Other"),
        to_itself("308 Permanent Redirect"),
        Row::story(44, "redirect to another host", || Box::pin(redirect_elsewhere())),
    ]
}

async fn redirect_elsewhere() {
    let elsewhere = Server::start(vec![answer()]).await;
    for status in ["302 Found", "307 Temporary Redirect", "308 Permanent Redirect"] {
        let target = elsewhere.url();
        let redirect =
            format!("HTTP/1.1 {status}\r\nLocation: {target}/x?secret=1\r\nContent-Length: 0\r\n\r\n");
        let server = Server::start(vec![Play::whole(redirect)]).await;
        let rig = Rig::new(&server.url(), quick());
        let error = rig.call().finish().await.unwrap_err();
        assert_eq!(
            (error.failure.class, error.failure.phase),
            (C::Redirect, Phase::Final)
        );
        let message = error.failure.message.as_str();
        assert!(
            message.contains(&target) && !message.contains("secret"),
            "{message}"
        );
        rig.rest().await;
    }
    assert_eq!(elsewhere.connections(), 0);
}
