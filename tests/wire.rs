//! The real transport and client against captured exchanges: a small server replays the response of a capture byte for
//! byte, split into writes at chosen places, over a real socket.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test, and the helpers of one"
)]

#[path = "wire/captures.rs"]
mod captures;
#[path = "wire/client.rs"]
mod client;
#[path = "wire/server.rs"]
mod server;
#[path = "wire/splits.rs"]
mod splits;

use std::io::Read as _;
use std::net::TcpListener;
use std::sync::mpsc;

use captures::{Expected, TABLE};
use client::{KEY, Rig};
use seawall::client::{ApiKey, Chunk, HttpConfig, HttpTransport};
use seawall::event::{EventKind, FailureClass, Fate, Phase, UpstreamHealth};
use seawall::openai::{ChatRequest, Usage};
use seawall::session::source::Progress;
use seawall::session::{Session, SessionConfig, UpstreamConfig};
use server::{Play, Server, accept, capture, captured_names, cuts, finish_request};

fn prompt() -> ChatRequest {
    ChatRequest::prompt("Tell me about the sea").temperature(0.0)
}

/// The result of one call in the terms of the table.
async fn outcome(rig: &Rig) -> Outcome {
    let result = rig.client.call(&prompt(), rig.context()).finish().await;
    match result {
        Ok(answer) => Outcome {
            fate: answer.fate,
            class: None,
            text: answer.text,
            reasoning: answer.reasoning,
            finish: Some(format!("{:?}", answer.finish)),
            usage: (!answer.estimated).then_some(answer.usage),
        },
        Err(error) => Outcome {
            fate: error.fate,
            class: Some((error.failure.class, error.failure.phase)),
            text: error.partial,
            reasoning: String::new(),
            finish: None,
            usage: None,
        },
    }
}

#[derive(Clone, Debug, PartialEq)]
struct Outcome {
    fate: Fate,
    class: Option<(FailureClass, Phase)>,
    text: String,
    reasoning: String,
    finish: Option<String>,
    usage: Option<Usage>,
}

/// Asserts that an outcome is the expected one.
fn check(name: &str, expected: &Expected, outcome: &Outcome) {
    match expected {
        Expected::Answer {
            text,
            words,
            finish,
            usage,
        } => {
            assert_eq!(outcome.fate, Fate::Answered, "{name}: {outcome:?}");
            assert!(outcome.text.starts_with(text), "{name}: {:?}", outcome.text);
            assert_eq!(
                outcome.text.split_whitespace().count(),
                *words,
                "{name}: {:?}",
                outcome.text
            );
            assert_eq!(outcome.finish.as_deref(), Some(*finish), "{name}");
            let usage = usage.map(|(prompt, completion)| Usage::new(prompt, completion));
            assert_eq!(outcome.usage, usage, "{name}");
        }
        Expected::Failure { class, phase } => {
            assert_eq!(
                (outcome.fate, outcome.class),
                (Fate::Failed, Some((*class, *phase))),
                "{name}"
            );
            assert_eq!(outcome.text, "", "{name}");
        }
        Expected::Interrupted { text, words } => {
            assert_eq!(outcome.fate, Fate::Interrupted, "{name}: {outcome:?}");
            assert_eq!(
                outcome.class,
                Some((FailureClass::Interrupted, Phase::Delivered)),
                "{name}"
            );
            assert!(outcome.text.starts_with(text), "{name}: {:?}", outcome.text);
            assert_eq!(
                outcome.text.split_whitespace().count(),
                *words,
                "{name}: {:?}",
                outcome.text
            );
        }
    }
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap()
}

/// Every capture of a chat completion, complete and in pieces: every split of a short one, a sample for the others.
#[test]
fn every_captured_chat_is_understood_however_it_is_cut() {
    let mut script = Vec::new();
    for (name, expected) in TABLE {
        script.push((name, expected, cuts(name, &capture(name))));
    }
    let plays = script.iter().flat_map(|(_, _, plays)| plays.clone()).collect();
    runtime().block_on(async {
        let server = Server::start(plays);
        let rig = Rig::new(server.address(), 1);
        for (name, expected, plays) in script {
            let mut first: Option<Outcome> = None;
            for play in plays {
                let outcome = outcome(&rig).await;
                check(name, expected, &outcome);
                let first = first.get_or_insert_with(|| outcome.clone());
                assert_eq!(*first, outcome, "{name} cut at {:?}", play.cuts());
            }
        }
        rig.assert_at_rest();
        rig.assert_key_unseen();
    });
}

/// Every capture is in the table, or is not a chat completion that the client could request.
#[test]
fn the_table_has_every_chat_capture() {
    let named: Vec<&str> = TABLE.iter().map(|(name, _)| *name).collect();
    let missing: Vec<String> = captured_names()
        .into_iter()
        .filter(|name| !named.contains(&name.as_str()))
        .collect();
    assert_eq!(missing, Vec::<String>::new());
}

#[test]
fn thoughts_come_apart_from_the_text() {
    runtime().block_on(async {
        for name in ["think", "think_ns"] {
            let server = Server::start(vec![Play::whole(capture(name))]);
            let rig = Rig::new(server.address(), 1);
            let outcome = outcome(&rig).await;
            assert_eq!(outcome.text, "", "{name}");
            assert!(
                outcome.reasoning.starts_with(" under"),
                "{name}: {}",
                outcome.reasoning
            );
        }
    });
}

#[test]
fn a_loading_model_is_asked_again_until_it_answers() {
    runtime().block_on(async {
        let plays = vec![
            Play::whole(capture("loading_chat")),
            Play::whole(capture("loading_chat")),
            Play::whole(capture("chat_stream_usage")),
        ];
        let server = Server::start(plays);
        let rig = Rig::new(server.address(), 3);
        let outcome = outcome(&rig).await;
        assert_eq!(
            (outcome.fate, outcome.text.as_str()),
            (Fate::Answered, " second slow then")
        );
        assert_eq!(server.served(), 3);
        rig.assert_at_rest();
    });
}

#[test]
fn a_stream_killed_before_its_first_word_is_repaired() {
    runtime().block_on(async {
        let whole = capture("chat_stream_usage");
        let head = whole.windows(4).position(|four| four == b"\r\n\r\n").unwrap() + 4;
        let plays = vec![Play::whole(whole[..head].to_vec()), Play::whole(whole.clone())];
        let server = Server::start(plays);
        let rig = Rig::new(server.address(), 3);
        let outcome = outcome(&rig).await;
        assert_eq!(
            (outcome.fate, outcome.text.as_str()),
            (Fate::Answered, " second slow then")
        );
        rig.assert_at_rest();
    });
}

#[test]
fn no_listener() {
    runtime().block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        drop(listener);
        let rig = Rig::new(address, 1);
        let outcome = outcome(&rig).await;
        assert_eq!(outcome.class, Some((FailureClass::Connect, Phase::NotSent)));
        let message = rig.last_message();
        assert!(message.contains(&address.to_string()), "{message}");
        rig.assert_at_rest();
        rig.assert_key_unseen();
    });
}

/// A hand-made response and its expected classification.
type Odd = (&'static str, Play, FailureClass, Phase);

const ANSWER: &str = r#"{"choices":[{"message":{"content":"hi"},"finish_reason":"stop"}]}"#;

/// A JSON answer with these headers.
fn json(extra: &str, body: &str) -> Vec<u8> {
    format!("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n{extra}\r\n{body}").into_bytes()
}

fn expect_odd(table: Vec<Odd>) {
    runtime().block_on(async {
        for (name, play, class, phase) in table {
            let server = Server::start(vec![play]);
            let rig = Rig::new(server.address(), 1);
            let outcome = outcome(&rig).await;
            assert_eq!(
                outcome.class,
                Some((class, phase)),
                "{name}: {}",
                rig.last_message()
            );
            rig.assert_at_rest();
            rig.assert_key_unseen();
        }
    });
}

#[test]
fn invalid_responses_are_classified() {
    use FailureClass as C;
    let length = ANSWER.len();
    let chunked = format!("{length:x}\r\n{ANSWER}\r\n0\r\n\r\n");
    expect_odd(vec![
        (
            "reset before headers",
            Play::reset(Vec::new()),
            C::Reset,
            Phase::Ambiguous,
        ),
        (
            "closed before headers",
            Play::whole(Vec::new()),
            C::Reset,
            Phase::Ambiguous,
        ),
        (
            "reset inside the headers",
            Play::reset(b"HTTP/1.1 200 OK\r\nConte".to_vec()),
            C::Reset,
            Phase::Ambiguous,
        ),
        (
            "not HTTP",
            Play::whole(b"SSH-2.0-OpenSSH_9.9\r\n\r\n".to_vec()),
            C::Malformed,
            Phase::Final,
        ),
        (
            "two lengths",
            Play::whole(json(
                &format!("Content-Length: {length}\r\nContent-Length: 7\r\n"),
                ANSWER,
            )),
            C::Malformed,
            Phase::Final,
        ),
        (
            "length and chunks",
            Play::whole(json(
                &format!("Content-Length: {length}\r\nTransfer-Encoding: chunked\r\n"),
                &chunked,
            )),
            C::Malformed,
            Phase::Final,
        ),
    ]);
}

#[test]
fn truncated_bodies_are_classified() {
    use FailureClass as C;
    let (length, cut) = (ANSWER.len(), &ANSWER[..ANSWER.len() - 1]);
    expect_odd(vec![
        (
            "a length too long",
            Play::whole(json(&format!("Content-Length: {length}\r\n"), cut)),
            C::Truncated,
            Phase::Begun,
        ),
        (
            "a reset body",
            Play::reset(json(&format!("Content-Length: {length}\r\n"), cut)),
            C::Truncated,
            Phase::Begun,
        ),
        (
            "a bad chunk size",
            Play::whole(json("Transfer-Encoding: chunked\r\n", "zz\r\nhello\r\n")),
            C::Truncated,
            Phase::Begun,
        ),
        (
            "a login page",
            Play::whole(
                b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 13\r\n\r\n<html></html>"
                    .to_vec(),
            ),
            C::NotAnApi,
            Phase::Final,
        ),
    ]);
}

#[test]
fn a_redirect_is_refused_and_nothing_goes_there() {
    runtime().block_on(async {
        let elsewhere = Server::start(vec![Play::whole(capture("chat_nostream"))]);
        for status in [
            "301 Moved Permanently",
            "302 Found",
            "307 Temporary Redirect",
            "308 Permanent Redirect",
        ] {
            let target = format!("http://{}/v1/chat/completions", elsewhere.address());
            let redirect = format!("HTTP/1.1 {status}\r\nLocation: {target}\r\nContent-Length: 0\r\n\r\n");
            let server = Server::start(vec![Play::whole(redirect.into_bytes())]);
            let rig = Rig::new(server.address(), 3);
            let outcome = outcome(&rig).await;
            assert_eq!(outcome.class, Some((FailureClass::Redirect, Phase::Final)));
            assert!(
                rig.last_message().contains(&elsewhere.address().to_string()),
                "{}",
                rig.last_message()
            );
            rig.assert_at_rest();
        }
        assert_eq!(elsewhere.served(), 0);
    });
}

#[test]
fn a_key_echoed_by_the_server_is_not_passed_on() {
    runtime().block_on(async {
        for place in ["message", "type", "code", "param"] {
            let mut error =
                serde_json::json!({ "error": { "message": "no", "type": "invalid_request_error" } });
            error["error"][place] = format!("got {KEY} from you").into();
            let body = error.to_string();
            for status in [
                "401 Unauthorized",
                "200 OK",
                "400 Bad Request",
                "500 Internal Server Error",
            ] {
                let response = format!(
                    "HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
                    body.len()
                );
                let server = Server::start(vec![Play::whole(response.into_bytes())]);
                let rig = Rig::new(server.address(), 1);
                assert!(outcome(&rig).await.class.is_some());
                rig.assert_key_unseen();
            }
        }
        let page = format!("<html>{KEY}</html>");
        let response = format!(
            "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: {}\r\n\r\n{page}",
            page.len()
        );
        let server = Server::start(vec![Play::whole(response.into_bytes())]);
        let rig = Rig::new(server.address(), 1);
        assert!(outcome(&rig).await.class.is_some());
        rig.assert_key_unseen();
    });
}

#[test]
fn the_request_is_what_a_server_expects() {
    runtime().block_on(async {
        let server = Server::start(vec![Play::whole(capture("chat_nostream"))]);
        let rig = Rig::new(server.address(), 1);
        outcome(&rig).await;
        let request = server.requests().remove(0).to_lowercase();
        assert!(
            request.starts_with("post /v1/chat/completions http/1.1\r\n"),
            "{request}"
        );
        assert!(request.contains(&format!("authorization: bearer {}\r\n", KEY.to_lowercase())));
        assert!(request.contains("content-type: application/json\r\n"));
        assert!(request.contains("accept-encoding: identity\r\n"));
        assert!(!request.contains("idempotency-key") && !request.contains("x-seawall"));
    });
}

/// Dropping the call closes the connection in every state of the call.
#[test]
fn a_dropped_call_closes_its_connection() {
    let whole = capture("chat_stream_usage");
    let second = whole.windows(2).rposition(|two| two == b"\n\n").unwrap() / 2;
    runtime().block_on(async {
        for (name, sent) in [("waiting for headers", 0), ("streaming", second)] {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let address = listener.local_addr().unwrap();
            let (asked, is_asked) = tokio::sync::oneshot::channel();
            let (closed, is_closed) = mpsc::channel();
            let part = whole[..sent].to_vec();
            let thread = std::thread::spawn(move || {
                let mut stream = accept(&listener);
                finish_request(&mut stream).unwrap();
                server::write_all(&mut stream, &part);
                asked.send(()).unwrap();
                let mut rest = [0; 16];
                // blocks until the client has gone: end of file or a reset
                let end = stream.read(&mut rest);
                closed.send(end.map_or(true, |read| read == 0)).unwrap();
            });
            let rig = Rig::new(address, 1);
            let mut call = rig.client.call(&prompt(), rig.context());
            if sent > 0 {
                assert_eq!(call.next().await, Some(Chunk::Text(" second".into())), "{name}");
            }
            // the runtime must run while the server waits for the request
            is_asked.await.unwrap();
            let dropped_at = rig.env.clock.now();
            drop(call);
            rig.env.join().await;
            // the connection task closes the socket
            let closed = tokio::task::spawn_blocking(move || {
                is_closed.recv_timeout(std::time::Duration::from_secs(10))
            });
            assert_eq!(closed.await.unwrap(), Ok(true), "{name}");
            let took = rig.env.clock.now().since(dropped_at);
            assert!(took < std::time::Duration::from_secs(5), "{name}: {took:?}");
            thread.join().unwrap();
            let cancelled = rig.find(|kind| {
                matches!(
                    kind,
                    EventKind::CallEnded {
                        fate: Fate::Cancelled,
                        ..
                    }
                )
            });
            assert_eq!(cancelled, 1, "{name}");
            rig.assert_at_rest();
        }
    });
}

/// A request must not be lost in a race with a server that closes a connection it announced to keep.
#[test]
fn a_plain_connection_is_not_used_again() {
    runtime().block_on(async {
        let play = Play::whole(json(&format!("Content-Length: {}\r\n", ANSWER.len()), ANSWER)).dying();
        let server = Server::start(vec![play.clone(), play]);
        let rig = Rig::new(server.address(), 1);
        for _ in 0..2 {
            let outcome = outcome(&rig).await;
            assert_eq!(outcome.fate, Fate::Answered, "{outcome:?}");
        }
        assert_eq!(server.connections(), 2);
        rig.assert_at_rest();
    });
}

/// Connections are reused after a complete answer, and never after a broken one.
#[test]
fn a_connection_is_used_again_only_after_a_whole_answer() {
    runtime().block_on(async {
        let body = r#"{"choices":[{"message":{"content":"hi"},"finish_reason":"stop"}]}"#;
        let whole = format!("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}", body.len());
        let stream = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n";
        let event = "data: {\"choices\":[{\"delta\":{\"content\":\"a\"},\"finish_reason\":\"stop\"}]}\n\ndata: [DONE]\n\n";
        let streamed = format!("{stream}{:x}\r\n{event}\r\n0\r\n\r\n", event.len());
        let error = "data: {\"error\":{\"message\":\"boom\"}}\n\n";
        let broken = format!("{stream}{:x}\r\n{error}\r\n", error.len());
        for (response, connections) in [(whole, 1), (streamed, 1), (broken, 2)] {
            let play = Play::whole(response.into_bytes()).kept_open();
            let server = Server::start(vec![play.clone(), play]);
            let rig = Rig::through_simulator(server.address());
            for _ in 0..2 {
                outcome(&rig).await;
            }
            assert_eq!(server.connections(), connections);
            rig.assert_at_rest();
        }
    });
}

/// Starts a session in front of this server and waits for the list of models.
async fn session(server: &Server, model: &str) -> Session {
    let config = SessionConfig {
        upstream: Some(UpstreamConfig {
            api_key: Some(ApiKey {
                name: "SEAWALL_API_KEY".into(),
                secret: KEY.into(),
            }),
            ..UpstreamConfig::new(format!("http://{}", server.address()).parse().unwrap())
        }),
        model: Some(model.into()),
        ..SessionConfig::default()
    };
    let session = Session::start(config).await.unwrap();
    let mut source = session.watch();
    while source.state().session.health.is_none() {
        assert!(!matches!(source.advance().await, Progress::Ended));
    }
    session
}

fn refusal(status: &str, message: &str) -> Play {
    let body = serde_json::json!({ "error": { "message": message } }).to_string();
    let length = body.len();
    let head =
        format!("HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n");
    Play::whole(format!("{head}{body}").into_bytes())
}

const MODELS: &str = r#"{"data":[{"id":"alpha"},{"id":"beta"}]}"#;

/// The route of a session is a transport of its own and must forward everything.
#[test]
fn a_session_hides_its_key_and_names_the_models_there_are() {
    runtime().block_on(async {
        let models = json(&format!("Content-Length: {}\r\n", MODELS.len()), MODELS);
        let server = Server::start(vec![
            Play::whole(models),
            refusal("400 Bad Request", &format!("got {KEY} from you")),
            refusal("404 Not Found", "model gamma does not exist"),
        ]);
        let session = session(&server, "gamma").await;
        let echoed = session.ask(&prompt()).await.unwrap_err().to_string();
        assert!(
            echoed.contains("got [redacted] from you") && !echoed.contains("QuiteSecret"),
            "{echoed}"
        );
        let unknown = session.ask(&prompt()).await.unwrap_err().to_string();
        assert!(
            unknown.ends_with("no model 'gamma' there, but alpha, beta"),
            "{unknown}"
        );
        session.shutdown().await;
    });
}

#[test]
fn https_to_a_server_without_tls_names_the_remedy() {
    runtime().block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let thread = std::thread::spawn(move || {
            let mut stream = accept(&listener);
            let mut hello = [0; 16];
            drop(stream.read(&mut hello));
            server::write_all(
                &mut stream,
                b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n",
            );
        });
        let base = format!("https://{address}").parse().unwrap();
        let transport = HttpTransport::new(&HttpConfig::new(base)).unwrap();
        let UpstreamHealth::Unavailable { message, .. } = transport.probe().await else {
            panic!("no trouble");
        };
        assert!(
            message.as_str().ends_with("for a server without TLS use http://"),
            "{message}"
        );
        thread.join().unwrap();
    });
}
