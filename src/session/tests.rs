//! A session in front of a server that records the requests and answers as a script says.

use std::sync::Arc;

use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};

use super::*;
use crate::client::Held;
use crate::event::{ChatOptions, Fate};
use crate::session::source::Progress;
use crate::simulator::wire::{Handler, Limits, Request, Response, Server};

/// The reaction to every chat request.
#[derive(Clone, Copy, PartialEq)]
enum Reaction {
    Answer,
    Hang,
}

/// Sends each request to the test, and closes the channel with the last connection.
struct Upstream {
    reaction: Reaction,
    requests: mpsc::Sender<(String, Value)>,
    /// The number of requests that are being answered is the number of receivers.
    open: watch::Sender<()>,
}

impl Handler for Upstream {
    async fn handle(&self, request: Request, response: &mut Response<'_>) -> std::io::Result<()> {
        let _open = self.open.subscribe();
        let body = serde_json::from_slice(&request.body).unwrap_or(Value::Null);
        self.requests
            .send((request.path().to_owned(), body))
            .await
            .unwrap();
        if self.reaction == Reaction::Hang {
            response.while_connected(std::future::pending::<()>()).await?;
        }
        let body = json!({
            "choices": [{ "message": { "content": "hello" }, "finish_reason": "stop" }],
            "data": [{ "id": "m" }],
        });
        let headers = [("Content-Type", "application/json"), ("X-Request-Id", "req-1")];
        response.send(200, &headers, body.to_string().as_bytes()).await
    }
}

struct Bench {
    server: Server,
    upstream: Arc<Upstream>,
    requests: mpsc::Receiver<(String, Value)>,
}

impl Bench {
    async fn start(reaction: Reaction) -> Self {
        let (sender, requests) = mpsc::channel(64);
        let upstream = Arc::new(Upstream {
            reaction,
            requests: sender,
            open: watch::Sender::default(),
        });
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let handler = Arc::clone(&upstream);
        let server = Server::start(listener, handler, Limits::default(), Clock::start()).unwrap();
        Self {
            server,
            upstream,
            requests,
        }
    }

    fn config(&self) -> SessionConfig {
        let url = format!("http://{}", self.server.addr()).parse().unwrap();
        SessionConfig {
            upstream: Some(UpstreamConfig::new(url)),
            ..SessionConfig::default()
        }
    }

    /// The body of the next chat request.
    async fn chat(&mut self) -> Value {
        loop {
            let (path, body) = self.requests.recv().await.unwrap();
            if path.ends_with("/chat/completions") {
                return body;
            }
        }
    }

    /// Waits until no request is open.
    async fn quiet(&self) {
        self.upstream.open.closed().await;
    }
}

#[tokio::test]
async fn the_options_of_the_chat_reach_the_server_and_decide_on_the_cache() {
    let mut bench = Bench::start(Reaction::Answer).await;
    let session = Session::start(bench.config()).await.unwrap();
    let engine = session.engine().clone();
    let ask = || {
        engine.execute(Command::Send {
            prompt: "What is jitter?".into(),
            user: UserId::new("ana"),
            conversation: false,
        });
    };
    let chat = |system: Option<&str>, temperature| {
        let system = system.map(str::to_owned);
        engine.execute(Command::SetChat {
            options: ChatOptions { system, temperature },
        });
    };
    let hits = || session.bus().with_state(|state| state.cache.hits);

    // a reasoning model rejects any temperature: none is sent, and the same question is still answered once
    ask();
    let body = bench.chat().await;
    assert_eq!(
        (
            body.get("temperature"),
            body["messages"].as_array().unwrap().len()
        ),
        (None, 1)
    );
    engine.settled().await;
    ask();
    engine.settled().await;
    assert_eq!(hits(), 1);
    // with another system prompt it is another request
    chat(Some("Be brief."), Some(0.0));
    ask();
    let body = bench.chat().await;
    assert_eq!(body["temperature"], json!(0.0));
    assert_eq!(
        body["messages"][0],
        json!({ "role": "system", "content": "Be brief." })
    );
    engine.settled().await;
    ask();
    engine.settled().await;
    assert_eq!(hits(), 2);
    // a temperature asks for different answers
    chat(None, Some(0.7));
    chat(None, Some(f64::NAN));
    for _ in 0..2 {
        ask();
        assert_eq!(bench.chat().await["temperature"], json!(0.7));
        engine.settled().await;
    }
    assert_eq!(hits(), 2);
    session.shutdown().await;
}

#[tokio::test]
async fn model_and_limit_of_the_session_reach_the_server() {
    let mut bench = Bench::start(Reaction::Answer).await;
    let config = SessionConfig {
        model: Some("m".into()),
        answer_tokens: 33,
        ..bench.config()
    };
    let session = Session::start(config).await.unwrap();
    let cold = ChatRequest::prompt("hi").temperature(0.0);
    for (request, model, limit) in [
        (ChatRequest::prompt("hi"), "m", json!([33, null])),
        (
            ChatRequest::prompt("hi").model("other").max_tokens(4),
            "other",
            json!([4, null]),
        ),
        (
            ChatRequest::prompt("hi").with("max_tokens", Value::Null),
            "m",
            json!([33, null]),
        ),
        (
            ChatRequest::prompt("hi").with("max_completion_tokens", 5),
            "m",
            json!([null, 5]),
        ),
        (cold.clone(), "m", json!([33, null])),
    ] {
        let answer = session.ask(&request).await.unwrap();
        assert_eq!(answer.request_id(), Some("req-1"));
        let body = bench.chat().await;
        assert_eq!(body["model"], model);
        assert_eq!(json!([body["max_tokens"], body["max_completion_tokens"]]), limit);
    }
    // the key of an answer is that of the request as it was sent
    let same = session.ask(&cold.model("m").max_tokens(33)).await.unwrap();
    assert_eq!(same.fate, Fate::Hit);
    session.shutdown().await;
}

#[test]
fn the_limit_has_the_name_that_the_server_knows() {
    for (url, field) in [
        ("https://api.openai.com/v1", "max_completion_tokens"),
        ("https://eu.api.openai.com", "max_completion_tokens"),
        ("https://openrouter.ai/api/v1", "max_tokens"),
        ("https://api.notopenai.com", "max_tokens"),
        ("http://127.0.0.1:8033", "max_tokens"),
    ] {
        let upstream = UpstreamConfig::new(url.parse().unwrap());
        assert_eq!(limit_field(Some(&upstream)), field, "{url}");
    }
    assert_eq!(limit_field(None), "max_tokens");
}

/// Handles that a server keeps in its state or moves to another task.
#[test]
fn sessions_and_calls_move_between_threads() {
    fn shared<T: Send + Sync + 'static>() {}
    shared::<Session>();
    shared::<CallStream>();
    shared::<CallError>();
}

#[tokio::test]
async fn without_model_and_limit_the_request_is_sent_as_it_is() {
    let mut bench = Bench::start(Reaction::Answer).await;
    let config = SessionConfig {
        answer_tokens: 0,
        ..bench.config()
    };
    let session = Session::start(config).await.unwrap();
    let request = ChatRequest::prompt("hi").stream(false);
    session.ask(&request).await.unwrap();
    assert_eq!(bench.chat().await, serde_json::to_value(&request).unwrap());
    session.shutdown().await;
}

#[tokio::test]
async fn a_dropped_session_leaves_no_task_and_no_request() {
    let mut bench = Bench::start(Reaction::Hang).await;
    let session = Session::start(bench.config()).await.unwrap();
    let (env, client) = (session.env().clone(), session.client().clone());
    let mut watched = session.watch();
    // a call of the caller, one of a command, a burst, a probe, and a task of the caller that never ends
    let call = session.call(&ChatRequest::prompt("hi"), CallContext::default());
    session.engine().execute(Command::Send {
        prompt: "ho".into(),
        user: UserId::new("ana"),
        conversation: false,
    });
    session.spawn(std::future::pending());
    bench.chat().await;
    bench.chat().await;
    drop(session);
    env.join().await;
    assert_eq!((env.running_tasks(), client.held()), (0, Held::default()));
    assert_eq!(call.finish().await.unwrap_err().fate, Fate::Cancelled);
    // the server sees every connection close, and nothing new
    bench.quiet().await;
    while let Ok((path, _)) = bench.requests.try_recv() {
        assert!(path.ends_with("/models"), "{path}");
    }
    let late = client.call(&ChatRequest::prompt("late"), CallContext::default());
    assert!(late.finish().await.is_err());
    drop(client);
    while watched.advance().await != Progress::Ended {}
    assert!(bench.requests.try_recv().is_err());
}

#[tokio::test]
async fn a_shared_session_is_shut_down_by_any_of_its_owners() {
    let bench = Bench::start(Reaction::Hang).await;
    let session = Arc::new(Session::start(bench.config()).await.unwrap());
    let other = Arc::clone(&session);
    let call = session.call(&ChatRequest::prompt("hi"), CallContext::default());
    tokio::join!(session.shutdown(), other.shutdown());
    session.shutdown().await;
    assert_eq!(session.env().running_tasks(), 0);
    assert_eq!(call.finish().await.unwrap_err().fate, Fate::Cancelled);
    let late = session.ask(&ChatRequest::prompt("late")).await.unwrap_err();
    assert_eq!(late.fate, Fate::Failed);
    bench.quiet().await;
}

/// A breaker without probes would reject every call for good.
#[tokio::test]
async fn an_invalid_policy_is_refused() {
    let mut config = SessionConfig::default();
    config.policy.breaker.successes_to_close = 0;
    let error = Session::start(config).await.unwrap_err().to_string();
    assert!(
        error.starts_with("invalid policy: breaker.successes_to_close = 0 (must be "),
        "{error}"
    );
}

#[tokio::test]
async fn a_command_with_an_invalid_policy_changes_nothing() {
    let session = Session::start(SessionConfig::default()).await.unwrap();
    let before = session.client().policy();
    let mut policy = before.clone();
    policy.retry.attempts = 0;
    session.engine().execute(Command::ApplyPolicy {
        policy: Box::new(policy.clone()),
    });
    assert_eq!(session.client().policy(), before);
    policy.retry.attempts = 2;
    session.engine().execute(Command::ApplyPolicy {
        policy: Box::new(policy.clone()),
    });
    assert_eq!(session.client().policy(), policy);
    session.shutdown().await;
}
