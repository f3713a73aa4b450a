//! Every fault, as the client receives it.

use seawall::settings::FaultKind as F;
use seawall::simulator::reply;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use super::wire::*;

async fn response_with(kind: F, stream: bool) -> Received {
    let bench = Bench::start(Some(always(kind)), None).await;
    let response = ask(bench.addr(), stream).await;
    assert_eq!(bench.log.taken(), [(None, 0, kind)]);
    response
}

#[tokio::test]
async fn error_faults_are_complete_responses_with_their_status() {
    let cases = [
        (F::RateLimited, 429, "code", "rate_limit_exceeded"),
        (F::ServerError, 500, "type", "server_error"),
        (F::Unavailable, 503, "type", "unavailable_error"),
        (F::Overloaded, 529, "type", "overloaded_error"),
    ];
    for (kind, status, key, value) in cases {
        for stream in [true, false] {
            let response = response_with(kind, stream).await;
            assert_eq!((response.status(), response.end), (status, End::Eof));
            let error = &response.json()["error"];
            assert_eq!(error[key], value);
            // a simulated outage must differ from a model that is still loading
            assert_ne!(error["message"], "Loading model");
            let hint = (kind == F::RateLimited).then_some("7");
            assert_eq!(response.header("retry-after"), hint);
        }
    }
}

#[tokio::test]
async fn a_reset_and_a_stall_send_nothing_and_then_a_tcp_reset() {
    for kind in [F::Reset, F::Stall] {
        for stream in [true, false] {
            let response = response_with(kind, stream).await;
            assert_eq!((response.bytes.len(), response.end), (0, End::Reset), "{kind:?}");
        }
    }
}

#[tokio::test]
async fn a_cut_stream_has_no_final_chunk() {
    let response = response_with(F::Cut, true).await;
    let (chunks, whole) = response.chunks();
    assert_eq!((response.status(), whole, response.end), (200, false, End::Eof));
    assert_eq!(chunks.len(), 3);
    assert!(
        reply::answer(QUESTION).starts_with(&response.answer_text()) && !response.answer_text().is_empty()
    );
}

#[tokio::test]
async fn a_cut_body_is_shorter_than_its_content_length() {
    let response = response_with(F::Cut, false).await;
    let promised: usize = response.header("content-length").unwrap().parse().unwrap();
    assert_eq!((response.parts().1.len(), response.end), (promised / 2, End::Eof));
}

#[tokio::test]
async fn a_mid_stream_stall_is_text_then_silence_then_a_reset() {
    let response = response_with(F::StallMidStream, true).await;
    let (chunks, whole) = response.chunks();
    assert_eq!((chunks.len(), whole, response.end), (3, false, End::Reset));
}

#[tokio::test]
async fn a_drip_is_the_complete_answer_in_small_pieces() {
    let response = response_with(F::Drip, true).await;
    let (chunks, whole) = response.chunks();
    assert!(whole && chunks.iter().all(|chunk| chunk.len() <= 7));
    assert_eq!(response.answer_text(), reply::answer(QUESTION));
    let response = response_with(F::Drip, false).await;
    assert_eq!(
        response.json()["choices"][0]["message"]["content"],
        reply::answer(QUESTION)
    );
}

#[tokio::test]
async fn bad_json_and_html_come_under_status_200() {
    let response = response_with(F::Malformed, false).await;
    assert_eq!((response.status(), response.end), (200, End::Eof));
    assert!(serde_json::from_str::<serde_json::Value>(&response.body()).is_err());
    let response = response_with(F::Malformed, true).await;
    assert_eq!(response.header("content-type"), Some("text/event-stream"));
    assert!(response.chunks().1 && response.answer_text().is_empty());
    for stream in [true, false] {
        let response = response_with(F::WrongContentType, stream).await;
        assert_eq!(response.header("content-type"), Some("text/html; charset=utf-8"));
        assert!(response.body().starts_with("<!doctype html>"));
    }
}

#[tokio::test]
async fn a_fault_is_reported_with_its_attempt() {
    let bench = Bench::start(Some(always(F::ServerError)), None).await;
    let cases = [
        ("17.2", (Some(17), 2, F::ServerError)),
        ("nonsense", (None, 0, F::ServerError)),
        ("1.x", (None, 0, F::ServerError)),
    ];
    for (header, expected) in cases {
        let fields = format!("Connection: close\r\nX-Seawall-Attempt: {header}\r\n");
        exchange(bench.addr(), &chat(true, &fields)).await;
        assert_eq!(bench.log.taken(), [expected]);
    }
}

#[tokio::test]
async fn settings_apply_from_the_next_request_and_only_to_chats() {
    let bench = Bench::start(Some(always(F::ServerError)), None).await;
    let health = "GET /health HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
    assert_eq!(exchange(bench.addr(), health).await.status(), 200);
    assert_eq!(ask(bench.addr(), true).await.status(), 500);
    bench.faults.set_profile(always(F::Unavailable));
    assert_eq!(ask(bench.addr(), true).await.status(), 503);
    bench.faults.set_on(false);
    assert_eq!(ask(bench.addr(), true).await.status(), 200);
}

#[tokio::test]
async fn a_rate_limited_connection_stays_open_for_the_retry() {
    let bench = Bench::start(Some(always(F::RateLimited)), None).await;
    let mut stream = TcpStream::connect(bench.addr()).await.unwrap();
    stream.write_all(chat(true, "").as_bytes()).await.unwrap();
    assert_eq!(read_until(&mut stream, "}}").await.status(), 429);
    bench.faults.set_on(false);
    stream.write_all(chat(true, "").as_bytes()).await.unwrap();
    assert_eq!(read_until(&mut stream, "\r\n0\r\n\r\n").await.status(), 200);
}
