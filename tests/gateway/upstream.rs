//! An upstream with canned answers in every dialect, whole and streamed.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use seawall::simulator::wire::{Framing, Handler, Limits, Request, Response, Server};
use seawall::time::Clock;
use serde_json::{Value, json};
use tokio::net::TcpListener;

/// The words of every answer.
pub(crate) const WORDS: [&str; 8] = [
    "A ", "token ", "bucket ", "holds ", "what ", "it ", "can ", "hold.",
];
/// The time between two events of a stream.
const WORD_TIME: Duration = Duration::from_millis(2);
/// Events before an answer to a prompt with the word `linger` waits until its client leaves.
const LINGERS_AFTER: usize = 4;

/// Serves until it is dropped.
pub(crate) async fn start() -> Server {
    let clock = Clock::start();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    Server::start(listener, Arc::new(Canned(clock)), Limits::default(), clock).unwrap()
}

struct Canned(Clock);

impl Handler for Canned {
    async fn handle(&self, request: Request, response: &mut Response<'_>) -> io::Result<()> {
        let body: Value = serde_json::from_slice(&request.body).unwrap_or_default();
        let json = [("content-type", "application/json")];
        // a server that repeats the key it was sent
        let key = ["authorization", "x-api-key"]
            .iter()
            .find_map(|name| request.header(name))
            .unwrap_or_default();
        if request.body.windows(4).any(|word| word == b"echo") {
            let error = json!({ "error": { "message": format!("no such key: {key}"), "type": "invalid_request_error" } });
            return response.send(401, &json, error.to_string().as_bytes()).await;
        }
        let lingers = request.body.windows(6).any(|word| word == b"linger");
        let Some(events) = events(request.path(), key) else {
            let page = json!({ "object": "list", "data": [{ "id": "m" }], "input_tokens": 7 });
            return response.send(200, &json, page.to_string().as_bytes()).await;
        };
        if body["stream"] != true {
            let whole = whole(request.path(), key).to_string();
            response.wait_until(self.0.now() + 4 * WORD_TIME).await?;
            return response.send(200, &json, whole.as_bytes()).await;
        }
        let kind = [("content-type", "text/event-stream")];
        response.head(200, &kind, Framing::Chunked).await?;
        let mut at = self.0.now();
        for (number, event) in events.into_iter().enumerate() {
            at = at + WORD_TIME;
            response.wait_until(at).await?;
            response.body(event.as_bytes()).await?;
            if lingers && number == LINGERS_AFTER {
                response.while_connected(std::future::pending::<()>()).await?;
            }
        }
        response.end().await
    }
}

fn event(name: &str, data: &Value) -> String {
    match name {
        "" => format!("data: {data}\n\n"),
        name => format!("event: {name}\ndata: {data}\n\n"),
    }
}

/// The text of an answer: the words, and the key of the client, which no journal may hold.
fn words(key: &str) -> impl Iterator<Item = &str> {
    WORDS.into_iter().chain([key])
}

/// The whole answer of an endpoint.
fn whole(path: &str, key: &str) -> Value {
    let text: String = words(key).collect();
    let usage = json!({ "prompt_tokens": 9, "completion_tokens": 8, "total_tokens": 17 });
    let counts = json!({ "input_tokens": 9, "output_tokens": 8, "total_tokens": 17 });
    match path {
        "/v1/chat/completions" => json!({ "id": "c", "model": "m", "usage": usage, "choices": [{
            "index": 0, "finish_reason": "stop", "message": { "role": "assistant", "content": text },
        }] }),
        "/v1/completions" => json!({ "id": "c", "model": "m", "usage": usage, "choices": [{
            "index": 0, "finish_reason": "stop", "text": text,
        }] }),
        "/v1/responses" => json!({ "id": "r", "object": "response", "model": "m", "status": "completed",
            "error": null, "usage": counts, "output": [{
            "type": "message", "role": "assistant", "content": [{ "type": "output_text", "text": text }],
        }] }),
        "/v1/messages" => json!({ "id": "a", "type": "message", "role": "assistant", "model": "m",
            "content": [{ "type": "text", "text": text }], "stop_reason": "end_turn", "usage": counts }),
        _ => json!({ "object": "list", "model": "m", "usage": usage, "data": [{
            "object": "embedding", "index": 0, "embedding": [0.25, -0.5],
        }] }),
    }
}

/// The events of a streamed answer; `None` for an endpoint without a dialect.
fn events(path: &str, key: &str) -> Option<Vec<String>> {
    let mut events = Vec::new();
    match path {
        "/v1/chat/completions" | "/v1/completions" => {
            let is_chat = path.starts_with("/v1/chat");
            for word in words(key) {
                let choice = if is_chat {
                    json!({ "index": 0, "delta": { "content": word } })
                } else {
                    json!({ "index": 0, "text": word })
                };
                events.push(event(
                    "",
                    &json!({ "id": "c", "model": "m", "choices": [choice] }),
                ));
            }
            let last = json!({ "index": 0, "delta": {}, "text": "", "finish_reason": "stop" });
            events.push(event("", &json!({ "id": "c", "model": "m", "choices": [last] })));
            events.push("data: [DONE]\n\n".to_owned());
        }
        "/v1/responses" => {
            let mut push = |kind: &str, mut data: Value| {
                data["type"] = json!(kind);
                events.push(event(kind, &data));
            };
            let begun = json!({ "id": "r", "object": "response", "model": "m", "status": "in_progress", "output": [] });
            push("response.created", json!({ "response": begun }));
            for word in words(key) {
                push(
                    "response.output_text.delta",
                    json!({ "output_index": 0, "delta": word }),
                );
            }
            push("response.completed", json!({ "response": whole(path, key) }));
        }
        "/v1/messages" => {
            let mut push = |kind: &str, mut data: Value| {
                data["type"] = json!(kind);
                events.push(event(kind, &data));
            };
            let mut begun = whole(path, key);
            begun["content"] = json!([]);
            begun["stop_reason"] = Value::Null;
            push("message_start", json!({ "message": begun }));
            push(
                "content_block_start",
                json!({ "index": 0, "content_block": { "type": "text", "text": "" } }),
            );
            push("ping", json!({}));
            for word in words(key) {
                let delta = json!({ "type": "text_delta", "text": word });
                push("content_block_delta", json!({ "index": 0, "delta": delta }));
            }
            push("content_block_stop", json!({ "index": 0 }));
            push(
                "message_delta",
                json!({ "delta": { "stop_reason": "end_turn" }, "usage": { "output_tokens": 8 } }),
            );
            push("message_stop", json!({}));
        }
        "/v1/embeddings" => {}
        _ => return None,
    }
    Some(events)
}
