//! Rows 8 to 13, 31 to 43 and 45 to 47: a 200 with an unexpected body.

use std::time::Duration;

use seawall::client::{CallContext, Chunk};
use seawall::event::{
    Event, EventKind, FailureClass as C, Fate, Finish, Phase, Sample, SkipReason, StopReason, UpstreamHealth,
};
use seawall::openai::Usage;

use crate::connecting::assert_may_be_billed;
use crate::rig::{Rig, patiently, prompt, quick};
use crate::server::{Play, Server, Step};
use crate::table::{Kept, Observed, Row};
use crate::wire::{
    ANSWER, DONE, END, HEL, LO, ROLE, STOP, answer, begun, breaks, chunk, cut, events, head, in_chunks, json,
    response, stream,
};

const PING: &[u8] = b"3\r\n:\n\n\r\n";

pub(crate) fn rows() -> Vec<Row> {
    let mut rows = broken_streams();
    rows.extend(error_events());
    rows.extend(silent_streams());
    rows.extend(no_answers());
    rows.extend(too_large());
    rows.extend(packed());
    rows.extend(odd_ends());
    rows.extend(odd_answers());
    rows
}

fn hello() -> Play {
    stream(&[ROLE, HEL, LO, STOP, DONE])
}

fn broken_streams() -> Vec<Row> {
    let half = &ANSWER.as_bytes()[..40];
    let mut short = response("200 OK", "", "application/json", ANSWER);
    short.truncate(short.len() - ANSWER.len() + half.len());
    vec![
        Row::fails(
            8,
            "reset in the middle of a whole body",
            [Play::then(short.clone(), Step::Reset)],
            C::Truncated,
            Phase::Begun,
        )
        .counts("FF")
        .says(&["HOST reset the connection while answering"])
        .also(assert_may_be_billed),
        Row::answers(9, "stream cut before content", [cut(&[ROLE]), hello()]).counts("FO"),
        Row::answers(
            9,
            "stream reset before content",
            [breaks(&[ROLE], Step::Reset), hello()],
        )
        .counts("FO"),
        Row::fails(
            10,
            "stream cut after content",
            [cut(&[ROLE, HEL]), hello()],
            C::Interrupted,
            Phase::Delivered,
        )
        .counts("F")
        .text("hel")
        .says(&["response from HOST was truncated", "the text so far is kept"])
        .also(assert_never_again),
        Row::fails(
            10,
            "stream reset after content",
            [breaks(&[ROLE, HEL], Step::Reset), hello()],
            C::Interrupted,
            Phase::Delivered,
        )
        .counts("F")
        .text("hel")
        .also(assert_never_again)
        .note("a reset may overtake bytes that the client has not read yet (Linux gives them all the same): then the row is row 9"),
        Row::fails(
            33,
            "JSON shorter than its Content-Length",
            [Play::whole(short)],
            C::Truncated,
            Phase::Begun,
        )
        .counts("FF")
        .says(&["response from HOST was truncated"])
        .also(assert_may_be_billed),
        Row::fails(37, "stream ends without reason and mark", [stream(&[ROLE])], C::Truncated, Phase::Begun)
            .counts("FF"),
        Row::fails(
            37,
            "stream ends without reason and mark, after content",
            [stream(&[ROLE, HEL])],
            C::Interrupted,
            Phase::Delivered,
        )
        .counts("F")
        .text("hel"),
        Row::fails(37, "stream without an event", [stream(&[])], C::Malformed, Phase::Begun)
            .counts("FF")
            .says(&["empty response from HOST"]),
    ]
}

fn error_events() -> Vec<Row> {
    vec![
        Row::answers(
            39,
            "error event first, rate limited",
            [
                stream(&[r#"{"error":{"message":"slow","code":"rate_limit_exceeded"}}"#]),
                hello(),
            ],
        )
        .counts("NO"),
        Row::fails(
            39,
            "error event first, final",
            [stream(&[
                r#"{"error":{"message":"no","type":"invalid_request_error"}}"#,
            ])],
            C::Invalid,
            Phase::Final,
        ),
        Row::fails(
            39,
            "error event first, of the server",
            [stream(&[
                ROLE,
                r#"{"error":{"message":"it broke","type":"server_error","code":500}}"#,
            ])],
            C::ServerError,
            Phase::Begun,
        )
        .counts("FF")
        .says(&["HOST sent an error instead of text", "it broke"])
        .also(assert_may_be_billed),
        Row::fails(
            40,
            "error event after content",
            [
                stream(&[
                    ROLE,
                    HEL,
                    r#"{"error":{"message":"slow","code":"rate_limit_exceeded"}}"#,
                ]),
                hello(),
            ],
            C::Interrupted,
            Phase::Delivered,
        )
        .counts("F")
        .text("hel")
        .says(&["HOST sent an error while answering", "slow"])
        .also(assert_never_again),
    ]
}

fn assert_never_again(seen: &Observed<'_>) {
    assert_eq!(seen.stop(), Some(StopReason::Delivered));
    assert_eq!(seen.server.requests().len(), 1);
}

fn silent_streams() -> Vec<Row> {
    let byte_idle: fn(&mut seawall::settings::Policy) =
        |policy| policy.timeouts.byte_idle = Duration::from_millis(150);
    let event_idle: fn(&mut seawall::settings::Policy) =
        |policy| policy.timeouts.event_idle = Duration::from_millis(300);
    let pings = |data: &[&str]| breaks(data, Step::Repeat(PING.to_vec(), Duration::from_millis(20)));
    let whole = [events(&[ROLE, HEL, LO, STOP, DONE])].concat();
    vec![
        Row::fails(11, "stall after content", [breaks(&[ROLE, HEL], Step::Hang)], C::Stalled, Phase::Delivered)
            .tune(byte_idle)
            .counts("F")
            .text("hel")
            .says(&["no bytes from HOST for 150ms", "the text so far is kept"])
            .leaves(1)
            .also(assert_never_again),
        Row::fails(11, "stall before content", [breaks(&[ROLE], Step::Hang)], C::Stalled, Phase::Begun)
            .tune(byte_idle)
            .counts("FF")
            .leaves(2),
        Row::fails(11, "stall in a whole body", [Play::then(
            &response("200 OK", "", "application/json", ANSWER)[..100], Step::Hang)], C::Stalled, Phase::Begun)
            .tune(byte_idle)
            .counts("FF")
            .leaves(2),
        Row::fails(12, "pings only, after content", [pings(&[ROLE, HEL])], C::NoProgress, Phase::Delivered)
            .tune(event_idle)
            .counts("F")
            .text("hel")
            .says(&["no text from HOST for 300ms"])
            .leaves(1)
            .also(assert_never_again)
            .note("reported when it ends; until then the screen shows the time since the last token"),
        Row::fails(12, "pings only, from the first", [pings(&[])], C::NoProgress, Phase::Begun)
            .tune(event_idle)
            .counts("FF")
            .leaves(2),
        Row::story(13, "a drip that never gets to the content", || Box::pin(drip()))
            .note("the total deadline; there is no rule for the rate, since a model's first token may rightly take minutes"),
        Row::answers(
            13,
            "a drip of single bytes that gets to its end",
            [Play::new([
                Step::Drip(in_chunks(&[&whole]), Duration::ZERO),
            ])],
        ),
    ]
}

/// Tries a longer deadline if this machine was too busy: it saw no response within the deadline, or woke so late after
/// it that the outcome is not counted.
async fn drip() {
    for seconds in [1, 2, 4, 8, 16] {
        let step = Step::Repeat(b"1\r\n:\r\n".to_vec(), Duration::from_millis(10));
        let server = Server::start(vec![breaks(&[], step)]).await;
        let mut policy = quick();
        policy.timeouts.call = Duration::from_secs(seconds);
        let rig = Rig::new(&server.url(), policy);
        let error = patiently("the deadline", rig.call().finish()).await.unwrap_err();
        assert_eq!((error.fate, error.failure.class), (Fate::Failed, C::Deadline));
        let message = error.failure.message.as_str();
        assert!(
            message.contains(&format!("deadline of {seconds}.0s passed")),
            "{message}"
        );
        let events = rig.rest().await;
        let slow = |event: &Event| {
            let wanted = Sample::Slow;
            matches!(event.kind, EventKind::BreakerRecorded { sample, .. } if sample == wanted)
        };
        let responded = |event: &Event| matches!(event.kind, EventKind::AttemptResponded { .. });
        if events.iter().any(responded) && events.iter().any(slow) {
            server.until_left(1).await;
            return;
        }
    }
    panic!("no response that counts as slow within 16 s");
}

fn no_answers() -> Vec<Row> {
    let hostile = "{\"choices\": \u{1b}[2J\u{1b}]0;pwned\u{7}\u{202e} oops";
    let page = "<!doctype html><html><title>Hotel Wi-Fi</title></html>";
    vec![
        Row::fails(31, "200 with malformed JSON", [json(hostile)], C::Malformed, Phase::Begun)
            .counts("FF")
            .says(&["malformed response from HOST", "oops"])
            .also(assert_may_be_billed),
        Row::fails(31, "200 with JSON that holds no answer", [json("{\"choices\":[]}")], C::Malformed, Phase::Begun)
            .counts("FF"),
        Row::fails(
            31,
            "an event with malformed JSON",
            [stream(&[ROLE, "{\"choices\":"])],
            C::Malformed,
            Phase::Begun,
        )
        .counts("FF"),
        Row::fails(
            32,
            "200 text/html",
            [Play::whole(response("200 OK", "", "text/html; charset=utf-8", page))],
            C::NotAnApi,
            Phase::Final,
        )
        .counts("F")
        .says(&["HOST did not send an API response (text/html)", "a login page"]),
        Row::fails(
            45,
            "Content-Length beside Transfer-Encoding",
            [Play::then(
                format!(
                    "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {}\r\nTransfer-Encoding: chunked\r\n\r\n{:x}\r\n{ANSWER}\r\n0\r\n\r\n",
                    ANSWER.len(),
                    ANSWER.len()
                ),
                Step::Hang,
            )],
            C::Malformed,
            Phase::Final,
        )
        .counts("F")
        .says(&["invalid HTTP from HOST: both Content-Length and Transfer-Encoding"])
        // closed by the client although the server would keep it: it is not pooled
        .leaves(1),
        Row::fails(
            45,
            "two different lengths",
            [Play::whole(response("200 OK", "Content-Length: 7\r\n", "application/json", ANSWER))],
            C::Malformed,
            Phase::Final,
        )
        .counts("F"),
        Row::fails(
            45,
            "not HTTP at all",
            [Play::whole("SSH-2.0-OpenSSH_9.9\r\n\r\n")],
            C::Malformed,
            Phase::Final,
        )
        .counts("F"),
    ]
}

/// Bytes above the cap that may be in the buffers of both kernels when the client disconnects.
const SOCKET_BUFFERS: u64 = 16 << 20;

fn assert_bounded(seen: &Observed<'_>) {
    let written = seen.server.written();
    assert!(
        written < (24 << 20) + SOCKET_BUFFERS,
        "{written} bytes were taken"
    );
}

fn too_large() -> Vec<Row> {
    let endless = |head: &[u8], part: &[u8]| Play::then(head, Step::Repeat(part.to_vec(), Duration::ZERO));
    let small: fn(&mut seawall::settings::Policy) = |policy| policy.timeouts.max_response_bytes = 64 << 10;
    let wide = vec![b' '; 16 << 10];
    let long_line = chunk(&[b'x'; 16 << 10]);
    let many_lines = chunk(format!("data: {}\n", "y".repeat(8 << 10)).as_bytes());
    let untyped = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n";
    let header = format!("X-Long: {}\r\n", "z".repeat(1 << 10));
    let big = |fault, play| {
        Row::fails(34, fault, [play], C::Oversize, Phase::Final)
            .counts("F")
            .leaves(1)
            .also(assert_bounded)
    };
    vec![
        big("an endless body", endless(untyped, &wide))
            .tune(small)
            .says(&["response from HOST exceeds 65536 bytes", "max_response_bytes"]),
        big("an endless line", endless(&head(), &long_line)),
        big("an endless event", endless(&head(), &many_lines)),
        big(
            "endless comments",
            endless(&head(), &chunk(&[b":\n".as_slice(); 4096].concat())),
        )
        .tune(small),
        Row::story(34, "endless text", || Box::pin(endless_text())),
        Row::fails(
            34,
            "an endless page",
            [endless(
                b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\r\n<html>",
                &wide,
            )],
            C::NotAnApi,
            Phase::Final,
        )
        .counts("F")
        .leaves(1)
        .also(assert_bounded),
        Row::fails(
            34,
            "an endless error",
            [endless(b"HTTP/1.1 400 Bad Request\r\n\r\n", &wide)],
            C::Invalid,
            Phase::Final,
        )
        .leaves(1)
        .also(assert_bounded),
        Row::fails(
            34,
            "endless headers",
            [endless(b"HTTP/1.1 200 OK\r\n", header.as_bytes())],
            C::Malformed,
            Phase::Final,
        )
        .counts("F")
        .leaves(1)
        .also(assert_bounded),
    ]
}

fn packed() -> Vec<Row> {
    vec![
        Row::fails(
            43,
            "gzip bomb",
            [Play::whole(response(
                "200 OK",
                "Content-Encoding: gzip\r\n",
                "application/json",
                bomb(64 << 20),
            ))],
            C::Malformed,
            Phase::Final,
        )
        .counts("F")
        .says(&["HOST sent a gzip-compressed response that was not requested"])
        .note("not asked for and never unpacked, so there is no cap to reach: `Accept-Encoding: identity` is sent"),
        Row::fails(
            43,
            "gzip bomb as a stream",
            [Play::then(
                &b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nContent-Encoding: gzip\r\n\r\n"[..],
                Step::Write(bomb(64 << 20)),
            )],
            C::Malformed,
            Phase::Final,
        )
        .counts("F"),
            Row::answers(
                43,
                "an answer that says it is not packed",
                [Play::whole(response("200 OK", "Content-Encoding: identity\r\n", "application/json", ANSWER))],
            ),
    ]
}

/// Endless text: the client keeps the delivered part and closes the connection at the cap.
async fn endless_text() {
    let play = Play::then(
        begun(&[ROLE]),
        Step::Repeat(chunk(&events(&[HEL; 20])), Duration::ZERO),
    );
    let server = Server::start(vec![play]).await;
    let mut policy = quick();
    policy.timeouts.max_response_bytes = 64 << 10;
    let rig = Rig::new(&server.url(), policy);
    let error = patiently("the cap", rig.call().finish()).await.unwrap_err();
    assert_eq!(
        (error.failure.class, error.failure.phase),
        (C::Oversize, Phase::Delivered)
    );
    assert!(error.partial.starts_with("helhel") && error.partial.len() < (64 << 10));
    server.until_left(1).await;
    rig.rest().await;
}

/// A gzip file of zeros that is a thousand times smaller than its content: a literal zero, and then "repeat 258 times" in
/// fixed Huffman codes (RFC 1951 section 3.2.6), 13 bits each.
fn bomb(zeros: usize) -> Vec<u8> {
    let mut bytes = vec![0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255];
    let (mut pending, mut count) = (0_u32, 0);
    // codes start with their most significant bit
    let mut put = |code: &str| {
        for bit in code.bytes() {
            pending |= u32::from(bit == b'1') << count;
            count += 1;
            if count == 8 {
                bytes.push(pending as u8);
                (pending, count) = (0, 0);
            }
        }
    };
    put("110");
    put("00110000");
    for _ in 0..zeros / 258 {
        put("11000101");
        put("00000");
    }
    put("0000000");
    put("0000000");
    bytes
}

fn odd_ends() -> Vec<Row> {
    vec![
        Row::answers(
            36,
            "stream with a reason, without [DONE]",
            [stream(&[ROLE, HEL, LO, STOP])],
        )
        .also(|seen| assert_eq!(seen.success().unwrap().0, Finish::Stop)),
        Row::answers(37, "a cut after the reason", [cut(&[ROLE, HEL, LO, STOP])]),
        Row::fails(
            38,
            "[DONE] without a reason",
            [stream(&[ROLE, HEL, LO, DONE])],
            C::Interrupted,
            Phase::Delivered,
        )
        .counts("F")
        .text("hello"),
        Row::fails(
            38,
            "nothing but [DONE]",
            [stream(&[DONE])],
            C::Malformed,
            Phase::Begun,
        )
        .counts("FF"),
        Row::answers(
            41,
            "data after [DONE], and no end",
            [breaks(
                &[ROLE, HEL, LO, STOP, DONE],
                Step::Repeat(chunk(&events(&[LO])), Duration::from_millis(1)),
            )],
        )
        .leaves(1),
        Row::answers(
            41,
            "silence after [DONE], and no end",
            [breaks(&[ROLE, HEL, LO, STOP, DONE], Step::Hang)],
        )
        .leaves(1),
        Row::story(42, "every cut of a stream in two, and 200 in many", || {
            Box::pin(every_cut())
        }),
    ]
}

/// CR, LF and CRLF, a byte order mark, comments, several events in one read, split code points.
const MIXED: &str = "\u{feff}data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"é漢\"}}]}\r\n\r\n:ping\r\rid: 1\ndata: {\"choices\":[{\"index\":0,\rdata: \"delta\":{\"content\":\"🌊\"},\"finish_reason\":\"stop\"}]}\n\nretry: 5\r\ndata: [DONE]\r\r";

/// Each part is a chunk of the transfer coding, so the client receives exactly these parts, over a real socket.
async fn every_cut() {
    let bytes = MIXED.as_bytes();
    let mut cuts: Vec<Vec<usize>> = (0..=bytes.len()).map(|at| vec![at]).collect();
    // a small generator: the same splits on every machine
    let mut state = 7_u64;
    let mut draw = || {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize % bytes.len()
    };
    cuts.extend((0..200).map(|_| {
        let mut cut: Vec<usize> = (0..12).map(|_| draw()).collect();
        cut.sort_unstable();
        cut
    }));
    cuts.push((0..bytes.len()).collect());
    let plays = cuts.iter().map(|cut| {
        let mut parts = Vec::new();
        let mut from = 0;
        for to in cut.iter().copied().chain([bytes.len()]) {
            parts.push(&bytes[from..to]);
            from = to;
        }
        Play::then(in_chunks(&parts), Step::Next)
    });
    let server = Server::start(plays.collect()).await;
    let mut policy = quick();
    policy.limit.enabled = false;
    let rig = Rig::new(&server.url(), policy);
    for cut in &cuts {
        let fresh = CallContext {
            fresh: true,
            ..CallContext::default()
        };
        let mut call = rig.client.call(&prompt(), fresh);
        let mut chunks = Vec::new();
        while let Some(chunk) = call.next().await {
            chunks.push(chunk);
        }
        let wanted = [Chunk::Text("é漢".into()), Chunk::Text("🌊".into())];
        assert_eq!(chunks, wanted, "cut at {cut:?}");
        let answer = call.finish().await.unwrap();
        assert_eq!((answer.finish, answer.bad_text), (Finish::Stop, false));
    }
    // connections are kept: no response came from a server that closes them under a request
    assert!(server.connections() < cuts.len());
    rig.rest().await;
}

fn odd_answers() -> Vec<Row> {
    let mut bad_text = head();
    bad_text.extend(chunk(
        b"data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"he\xffllo\"}}]}\n\n",
    ));
    bad_text.extend(chunk(&events(&[STOP, DONE])));
    bad_text.extend(END);
    let used = |fault, usage: &str| {
        let end = format!(r#"{{"choices":[{{"index":0,"delta":{{}},"finish_reason":"stop"}}]{usage}}}"#);
        Row::answers(46, fault, [stream(&[ROLE, HEL, LO, &end, DONE])]).also(|seen| {
            let (_, usage, estimated) = seen.success().unwrap();
            // the prompt by its length, the answer by its chunks
            assert_eq!((usage, estimated), (Usage::new(10, 2), true));
            assert_eq!(seen.settled(), [(false, 12)]);
        })
    };
    vec![
        Row::answers(35, "invalid UTF-8 in a stream", [Play::whole(bad_text)])
            .text("he\u{fffd}llo")
            .kept(Kept::Skipped(SkipReason::BadText)),
        Row::answers(
            35,
            "invalid UTF-8 in a whole answer",
            [json([&ANSWER.as_bytes()[..50], b"\xc3", &ANSWER.as_bytes()[50..]].concat())],
        )
        .text("hel\u{fffd}lo")
        .kept(Kept::Skipped(SkipReason::BadText)),
        used("usage missing", ""),
        used("usage negative", r#","usage":{"prompt_tokens":-5,"completion_tokens":-1,"total_tokens":-6}"#),
        used(
            "usage absurd",
            r#","usage":{"prompt_tokens":9,"completion_tokens":18446744073709551615,"total_tokens":99999999999999}"#,
        ),
        used("usage of another type", r#","usage":"many""#),
        Row::story(47, "another model answers", || Box::pin(other_model()))
            .note("stored where the server does not distinguish models (llama-server answers under its own name whatever is asked): another name is held against it only if its own list has the one asked for"),
    ]
}

async fn other_model() {
    for (models, kept) in [(vec![], true), (vec!["gpt-4o".into()], false)] {
        let server = Server::start(vec![answer()]).await;
        let rig = Rig::new(&server.url(), quick());
        rig.client.report_health(UpstreamHealth::Ready { models });
        let request = prompt().model("gpt-4o");
        let call = rig.client.call(&request, CallContext::default());
        let answer = call.finish().await.unwrap();
        assert_eq!(answer.model.as_deref(), Some("m"));
        let stored = rig.count(|kind| matches!(kind, EventKind::CacheStored { .. })) == 1;
        let skipped = rig.count(|kind| {
            matches!(
                kind,
                EventKind::CacheSkipped {
                    reason: SkipReason::OtherModel
                }
            )
        });
        assert_eq!((stored, skipped), (kept, usize::from(!kept)));
        rig.rest().await;
    }
}
