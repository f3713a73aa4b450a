//! The simulator as a proxy: what is forwarded, and what breaks.

use std::net::SocketAddr;

use seawall::settings::FaultKind as F;
use seawall::simulator::reply;
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio_util::task::TaskTracker;

use super::wire::*;

/// An upstream that reads one request, sends these bytes, and closes. The task returns the request.
async fn canned(response: &'static str) -> (SocketAddr, JoinHandle<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    let task = TaskTracker::new().spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let request = read_until(&mut stream, "}").await.text().to_owned();
        stream.write_all(response.as_bytes()).await.unwrap();
        request
    });
    (addr, task)
}

/// A request whose only closing brace is its last byte.
fn small() -> String {
    let fields = "Connection: close\r\nAuthorization: Bearer key\r\nX-Seawall-Attempt: 5.1\r\n";
    post("/v1/chat/completions", fields, r#"{"messages":[],"stream":true}"#)
}

#[tokio::test]
async fn without_faults_the_answer_passes_unchanged() {
    let upstream = Bench::start(None, None).await;
    let front = Bench::start(None, Some(upstream.addr())).await;
    for stream in [true, false] {
        let response = ask(front.addr(), stream).await;
        assert_eq!(
            (response.status(), response.header("server")),
            (200, Some("seawall-sim"))
        );
        if stream {
            assert!(response.chunks().1 && response.body().ends_with("data: [DONE]\n\n"));
            assert_eq!(response.answer_text(), reply::answer(QUESTION));
        } else {
            assert_eq!(
                response.json()["choices"][0]["message"]["content"],
                reply::answer(QUESTION)
            );
        }
    }
    let health = "GET /health HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
    let response = exchange(front.addr(), health).await;
    assert_eq!(
        (response.status(), response.body().as_str()),
        (200, r#"{"status":"ok"}"#)
    );
}

#[tokio::test]
async fn forwards_every_byte_and_every_end_to_end_field() {
    let (addr, upstream) = canned(
        "HTTP/1.1 429 Slow Down\r\nContent-Type: text/x-odd\r\nRetry-After: 3\r\nX-Ratelimit-Left: 0\r\n\
         Keep-Alive: timeout=1\r\nContent-Length: 9\r\n\r\na\r\n\tb\u{1}\u{fc}c",
    )
    .await;
    let front = Bench::start(None, Some(addr)).await;
    let response = exchange(front.addr(), &small()).await;
    assert_eq!(
        (response.status(), response.parts().1),
        (429, "a\r\n\tb\u{1}\u{fc}c")
    );
    assert_eq!(response.header("content-type"), Some("text/x-odd"));
    assert_eq!(
        (
            response.header("retry-after"),
            response.header("x-ratelimit-left")
        ),
        (Some("3"), Some("0"))
    );
    assert_eq!(
        (response.header("keep-alive"), response.header("connection")),
        (None, Some("close"))
    );
    let request = upstream.await.unwrap().to_lowercase();
    assert!(
        request.starts_with("post /v1/chat/completions http/1.1\r\n"),
        "{request}"
    );
    assert!(request.contains("authorization: bearer key") && request.contains("accept-encoding: identity"));
    assert!(!request.contains("x-seawall-attempt"), "{request}");
    assert!(request.contains(&format!("host: {addr}")), "{request}");
}

#[tokio::test]
async fn faults_that_replace_the_answer_never_reach_the_upstream() {
    let upstream = Bench::start(Some(always(F::ServerError)), None).await;
    let cases = [
        (F::RateLimited, Some(429)),
        (F::Unavailable, Some(503)),
        (F::Overloaded, Some(529)),
        (F::Stall, None),
        (F::Reset, None),
        (F::Malformed, Some(200)),
        (F::WrongContentType, Some(200)),
    ];
    for (kind, status) in cases {
        let front = Bench::start(Some(always(kind)), Some(upstream.addr())).await;
        let response = ask(front.addr(), true).await;
        assert_eq!(front.log.taken(), [(None, 0, kind)]);
        assert_eq!(status, (!response.bytes.is_empty()).then(|| response.status()));
        assert_eq!(response.end == End::Reset, status.is_none());
    }
    assert_eq!(upstream.log.taken(), []);
}

/// The simulator itself rejects this prompt as too long; a real upstream may accept it and must break too.
#[tokio::test]
async fn requests_that_only_the_simulator_rejects_are_forwarded_and_broken() {
    let upstream = Bench::start(None, None).await;
    let front = Bench::start(Some(always(F::Overloaded)), Some(upstream.addr())).await;
    let body = format!(
        r#"{{"messages":[{{"role":"user","content":"{}"}}]}}"#,
        "x".repeat(40_000)
    );
    let request = post("/v1/chat/completions", "Connection: close\r\n", &body);
    assert_eq!(exchange(front.addr(), &request).await.status(), 529);
    front.faults.set_on(false);
    let response = exchange(front.addr(), &request).await;
    assert_eq!(
        (response.status(), &response.json()["error"]["type"]),
        (400, &"exceed_context_size_error".into())
    );
}

/// A fault that needs a successful answer leaves an error unchanged and is not reported.
#[tokio::test]
async fn an_error_of_the_upstream_is_not_broken() {
    let upstream = Bench::start(Some(always(F::Unavailable)), None).await;
    for kind in [F::Cut, F::StallMidStream, F::Drip] {
        let front = Bench::start(Some(always(kind)), Some(upstream.addr())).await;
        let response = ask(front.addr(), true).await;
        assert_eq!((response.status(), response.end), (503, End::Eof));
        assert_eq!(
            (response.json()["error"]["code"].clone(), front.log.taken()),
            (503.into(), vec![])
        );
    }
}

#[tokio::test]
async fn real_streams_break_after_cut_after_events() {
    let upstream = Bench::start(None, None).await;
    let whole = ask(upstream.addr(), true).await;
    for (kind, end) in [(F::Cut, End::Eof), (F::StallMidStream, End::Reset)] {
        let front = Bench::start(Some(always(kind)), Some(upstream.addr())).await;
        let response = ask(front.addr(), true).await;
        assert_eq!(
            (response.status(), response.chunks().1, response.end),
            (200, false, end)
        );
        // role and first token are two events in one chunk
        let events = response.body().matches("data: ").count();
        assert_eq!((events, response.body().ends_with("\n\n")), (4, true));
        assert!(whole.answer_text().starts_with(&response.answer_text()));
        assert_eq!(front.log.taken(), [(None, 0, kind)]);

        let response = ask(front.addr(), false).await;
        let promised: usize = response.header("content-length").unwrap().parse().unwrap();
        assert_eq!((response.parts().1.len(), response.end), (promised / 2, end));
    }
    let front = Bench::start(Some(always(F::Drip)), Some(upstream.addr())).await;
    let response = ask(front.addr(), true).await;
    assert!(response.chunks().0.iter().all(|chunk| chunk.len() <= 7) && response.chunks().1);
    assert_eq!(response.answer_text(), whole.answer_text());
}

#[tokio::test]
async fn an_unreachable_or_truncating_upstream_is_passed_on_as_such() {
    let closed = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = closed.local_addr().unwrap();
    drop(closed);
    let front = Bench::start(None, Some(addr)).await;
    let response = ask(front.addr(), true).await;
    assert_eq!((response.bytes.len(), response.end), (0, End::Reset));
    let failures = front.log.failures();
    assert!(
        failures.len() == 1 && failures[0].contains("refused"),
        "{failures:?}"
    );

    let (addr, _task) =
        canned("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nsea,\r\n5\r\nwa").await;
    let front = Bench::start(None, Some(addr)).await;
    let response = exchange(front.addr(), &small()).await;
    assert_eq!(
        (response.status(), response.chunks().1, response.end),
        (200, false, End::Eof)
    );
    assert!("sea,wa".starts_with(&response.body()));

    let (addr, _task) = canned("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nsea").await;
    let front = Bench::start(None, Some(addr)).await;
    let response = exchange(front.addr(), &small()).await;
    assert_eq!(
        (response.header("content-length"), response.end),
        (Some("9"), End::Eof)
    );
    assert!("sea".starts_with(response.parts().1));
}

#[tokio::test]
async fn a_disconnecting_client_cancels_its_upstream_request() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let front = Bench::start(None, Some(listener.local_addr().unwrap())).await;
    for head in [
        "",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nsea\r\n",
    ] {
        let mut client = TcpStream::connect(front.addr()).await.unwrap();
        client.write_all(small().as_bytes()).await.unwrap();
        let (mut upstream, _) = listener.accept().await.unwrap();
        read_until(&mut upstream, "}").await;
        if !head.is_empty() {
            upstream.write_all(head.as_bytes()).await.unwrap();
            read_until(&mut client, "sea\r\n").await;
        }
        drop(client);
        // ends only if the proxy closes its side
        assert_eq!(read_to_end(&mut upstream).await.bytes, b"");
    }
}
