//! Framing, routes, errors and limits.

use seawall::openai::{ChatChunk, ChatRequest, Usage};
use seawall::settings::FaultKind;
use seawall::simulator::script::{ChatSpec, Conditions, Script, Step, attempt_number};
use seawall::simulator::{FaultControl, Simulator, SimulatorConfig, reply};
use seawall::time::Clock;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use super::wire::*;

/// Compared with `chat_stream_usage.raw`, a capture of llama-server.
#[tokio::test]
async fn a_stream_is_framed_like_llama_server() {
    let bench = Bench::start(None, None).await;
    let body = r#"{"messages": [{"role": "user", "content": "Tell me about the sea"}], "max_tokens": 3, "temperature": 0, "stream": true, "stream_options": {"include_usage": true}}"#;
    let request = post("/v1/chat/completions", "Connection: close\r\n", body);
    let response = exchange(bench.addr(), &request).await;
    assert_eq!(
        response.parts().0,
        "HTTP/1.1 200 OK\r\nServer: seawall-sim\r\nAccess-Control-Allow-Origin: \r\nX-Accel-Buffering: no\r\n\
         Content-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n"
    );
    let (chunks, whole) = response.chunks();
    assert!(whole && response.end == End::Eof);
    assert!(response.parts().1.ends_with("e\r\ndata: [DONE]\n\n\r\n0\r\n\r\n"));
    // role and first token, two tokens, finish and usage, DONE
    let events: Vec<_> = chunks
        .iter()
        .map(|chunk| {
            let text = std::str::from_utf8(chunk).unwrap();
            assert!(text.starts_with("data: ") && text.ends_with("\n\n") && !text.contains('\r'));
            text.matches("data: ").count()
        })
        .collect();
    assert_eq!(events, [2, 1, 1, 2, 1]);
    let first = String::from_utf8(chunks[0].clone()).unwrap();
    assert!(
        first.contains(r#""delta":{"content":null,"role":"assistant"}"#),
        "{first}"
    );
    let last = String::from_utf8(chunks[3].clone()).unwrap();
    assert!(last.contains(r#""delta":{},"finish_reason":"length""#), "{last}");
    assert!(
        last.contains(r#""choices":[]"#) && last.contains(r#""completion_tokens":3"#),
        "{last}"
    );
}

#[tokio::test]
async fn streamed_and_unstreamed_answers_and_their_usage_agree() {
    let bench = Bench::start(None, None).await;
    let whole = ask(bench.addr(), false).await;
    assert_eq!(
        whole.header("content-length"),
        Some(whole.parts().1.len().to_string().as_str())
    );
    let answer = ChatChunk::from(whole.json());
    let text = answer.choices[0].delta.text.clone();
    assert_eq!(text, reply::answer(QUESTION));
    assert_eq!(ask(bench.addr(), true).await.answer_text(), text);
    let Usage {
        prompt_tokens,
        completion_tokens,
        total_tokens,
    } = answer.usage.unwrap();
    assert_eq!(prompt_tokens + completion_tokens, total_tokens);
    assert!((text.len() as u64 / 6..=text.len() as u64 / 3).contains(&completion_tokens));
    assert_eq!(answer.choices[0].finish_reason.as_deref(), Some("stop"));
}

#[tokio::test]
async fn embeddings_are_served_and_follow_the_faults() {
    let bench = Bench::start(None, None).await;
    let request = post(
        "/v1/embeddings",
        "Connection: close\r\n",
        r#"{"input":["the tide","wave"]}"#,
    );
    let response = exchange(bench.addr(), &request).await.json();
    let data = response["data"].as_array().unwrap();
    assert_eq!((response["object"].as_str(), data.len()), (Some("list"), 2));
    let numbers = data[0]["embedding"].as_array().unwrap();
    let square: f64 = numbers.iter().map(|x| x.as_f64().unwrap().powi(2)).sum();
    assert!((square - 1.0).abs() < 1e-3, "{square}");
    let bench = Bench::start(Some(always(FaultKind::Unavailable)), None).await;
    assert_eq!(exchange(bench.addr(), &request).await.status(), 503);
}

#[tokio::test]
async fn routes_and_errors_match_llama_server() {
    let bench = Bench::start(None, None).await;
    let get = |path: &str| format!("GET {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    let bad = |body: &str| post("/chat/completions", "Connection: close\r\n", body);
    let not_found = r#"{"error":{"code":404,"message":"File Not Found","type":"not_found_error"}}"#;
    let cases = [
        (get("/health"), 200, r#"{"status":"ok"}"#),
        (get("/v1/models"), 200, r#""id":"seawall-sim""#),
        (get("/props"), 200, r#""n_ctx":8192"#),
        (get("/"), 404, not_found),
        (get("/v1/chat/completions"), 404, not_found),
        (post("/health", "Connection: close\r\n", "{}"), 404, not_found),
        (post("/v1/nope", "Connection: close\r\n", "{}"), 404, not_found),
        (
            bad("{}"),
            400,
            r#"{"error":{"code":400,"message":"'messages' is required","type":"invalid_request_error"}}"#,
        ),
        (
            bad(r#"{"messages": [}"#),
            500,
            "parse error at line 1, column 15: syntax error while parsing value - unexpected '}'",
        ),
    ];
    for (request, status, part) in cases {
        let response = exchange(bench.addr(), &request).await;
        assert_eq!(response.status(), status, "{request}");
        assert!(response.body().contains(part), "{}", response.body());
        assert_eq!(
            response.header("content-type"),
            Some("application/json; charset=utf-8")
        );
    }
    let head = "HEAD /health HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
    let response = exchange(bench.addr(), head).await;
    assert_eq!(
        (response.header("content-length"), response.parts().1),
        (Some("15"), "")
    );
}

#[tokio::test]
async fn a_connection_serves_many_requests_even_pipelined() {
    let bench = Bench::start(None, None).await;
    let mut stream = TcpStream::connect(bench.addr()).await.unwrap();
    for _ in 0..3 {
        stream.write_all(chat(true, "").as_bytes()).await.unwrap();
        let response = read_until(&mut stream, "\r\n0\r\n\r\n").await;
        assert_eq!((response.status(), response.header("connection")), (200, None));
        assert_eq!(response.header("keep-alive"), Some("timeout=5, max=100"));
    }
    let both = chat(true, "") + &chat(true, "Connection: close\r\n");
    stream.write_all(both.as_bytes()).await.unwrap();
    let response = read_to_end(&mut stream).await;
    assert_eq!(response.text().matches("HTTP/1.1 200 OK").count(), 2);
    assert!(response.text().ends_with("\r\n0\r\n\r\n"));
}

#[tokio::test]
async fn accepts_chunked_bodies_and_expect_continue() {
    let bench = Bench::start(None, None).await;
    let body = r#"{"messages":[{"role":"user","content":"sea"}],"max_tokens":1}"#;
    let (start, end) = body.split_at(20);
    let head = "POST /v1/chat/completions HTTP/1.1\r\nHost: a\r\nConnection: close\r\n";
    let chunked = format!(
        "{head}Transfer-Encoding: chunked\r\n\r\n{:x}\r\n{start}\r\n{:X};x=y\r\n{end}\r\n0\r\nX-T: 1\r\n\r\n",
        start.len(),
        end.len()
    );
    assert_eq!(exchange(bench.addr(), &chunked).await.status(), 200);

    let mut stream = TcpStream::connect(bench.addr()).await.unwrap();
    let expecting = format!(
        "{head}Content-Length: {}\r\nExpect: 100-continue\r\n\r\n",
        body.len()
    );
    stream.write_all(expecting.as_bytes()).await.unwrap();
    let interim = read_until(&mut stream, "\r\n\r\n").await;
    assert_eq!(interim.text(), "HTTP/1.1 100 Continue\r\n\r\n");
    stream.write_all(body.as_bytes()).await.unwrap();
    assert_eq!(read_to_end(&mut stream).await.status(), 200);
}

#[tokio::test]
async fn an_http_1_0_client_gets_no_chunks() {
    let bench = Bench::start(None, None).await;
    let response = exchange(bench.addr(), &chat(true, "").replace("HTTP/1.1", "HTTP/1.0")).await;
    assert_eq!(response.header("transfer-encoding"), None);
    assert!(response.parts().1.starts_with("data: {") && response.parts().1.ends_with("data: [DONE]\n\n"));
}

#[tokio::test]
async fn oversized_and_ambiguous_requests_are_rejected_and_closed() {
    let bench = Bench::start(None, None).await;
    let post = "POST /v1/chat/completions HTTP/1.1\r\nHost: a\r\n";
    let cases = [
        (format!("GET /{} HTTP/1.1\r\n\r\n", "x".repeat(40_000)), 431),
        (format!("GET / HTTP/1.1\r\n{}\r\n", "A: b\r\n".repeat(65)), 431),
        (format!("{post}Content-Length: 9000000\r\n\r\n"), 413),
        (
            format!("{post}Content-Length: 9000000\r\nExpect: 100-continue\r\n\r\n"),
            413,
        ),
        (format!("{post}Transfer-Encoding: chunked\r\n\r\n900000\r\n"), 413),
        (
            format!("{post}Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
            400,
        ),
        ("nonsense\r\n\r\n".to_owned(), 400),
    ];
    for (request, status) in cases {
        let response = exchange(bench.addr(), &request).await;
        assert_eq!((response.status(), response.end), (status, End::Eof));
        assert_eq!(response.header("connection"), Some("close"));
        assert_eq!(response.json()["error"]["code"], status);
    }
}

/// The clock is paused: it advances only when all tasks wait.
#[tokio::test(start_paused = true)]
async fn slow_requests_time_out_and_idle_connections_close() {
    let bench = Bench::start(None, None).await;
    let partial = exchange(bench.addr(), "GET /health HTTP/1.1\r\nHo").await;
    assert_eq!((partial.status(), partial.end), (408, End::Eof));
    let partial = exchange(bench.addr(), "POST / HTTP/1.1\r\nContent-Length: 9\r\n\r\n{").await;
    assert_eq!(partial.status(), 408);
    let idle = exchange(bench.addr(), "GET /health HTTP/1.1\r\nHost: a\r\n\r\n").await;
    assert_eq!((idle.status(), idle.body().as_str()), (200, r#"{"status":"ok"}"#));
    let silent = exchange(bench.addr(), "").await;
    assert_eq!((silent.bytes.len(), silent.end), (0, End::Eof));
}

#[tokio::test]
async fn the_socket_delivers_the_script_of_the_attempt() {
    let profile = seawall::settings::file::load_faults("rate-limit-storm").unwrap();
    let bench = Bench::start(Some(profile.clone()), None).await;
    let question = ChatRequest::prompt(QUESTION).with("stream", true);
    for call in 1..=20 {
        let pace = serde_json::from_str(
            r#"{"first_token":{"min_ms":0,"max_ms":0},"between_tokens":{"min_ms":0,"max_ms":0}}"#,
        );
        let conditions = Conditions {
            faults: Some(&profile),
            pace: pace.unwrap(),
            seed: 42,
            number: attempt_number(call, 1),
        };
        let script = Script::new(&ChatSpec::new(&question), &conditions);
        let Step::Head { status, .. } = script.steps[0].step else {
            panic!("{script:?}");
        };
        let fields = format!("Connection: close\r\nX-Seawall-Attempt: {call}.1\r\n");
        let response = exchange(bench.addr(), &chat(true, &fields)).await;
        assert_eq!(response.status(), status, "call {call}");
    }
}

#[tokio::test]
async fn shutdown_closes_open_streams_and_the_port() {
    let mut profile = always(FaultKind::StallMidStream);
    profile.stall_for = std::time::Duration::from_hours(1);
    let bench = Bench::start(Some(profile), None).await;
    let mut stream = TcpStream::connect(bench.addr()).await.unwrap();
    stream.write_all(chat(true, "").as_bytes()).await.unwrap();
    read_until(&mut stream, "\n\n\r\n").await;
    bench.simulator.shutdown().await;
    assert!(!read_to_end(&mut stream).await.text().contains("[DONE]"));
    assert!(TcpStream::connect(bench.addr()).await.is_err());
}

#[tokio::test]
async fn the_error_for_a_port_in_use_names_it() {
    let bench = Bench::start(None, None).await;
    let config = SimulatorConfig {
        seed: 1,
        port: bench.addr().port(),
        latency: seawall::settings::LatencyProfile::default(),
        capacity: None,
        upstream: None,
        extra_roots: Vec::new(),
    };
    let second = Simulator::start(
        config,
        FaultControl::off(),
        std::sync::Arc::new(()),
        Clock::start(),
    );
    let error = second.await.unwrap_err().to_string();
    assert!(error.contains(&bench.addr().to_string()), "{error}");
    assert!(error.contains("choose another port"), "{error}");
}
