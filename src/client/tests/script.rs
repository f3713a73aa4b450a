//! An upstream that follows a script, attempt by attempt.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream;
use http::{HeaderMap, HeaderName, HeaderValue};

use crate::client::{
    ApiKey, AttemptRequest, BodyError, BodyStream, Response, SendError, SendErrorKind, Transport,
};
use crate::event::UpstreamInfo;
use crate::time::Clock;

/// The reaction to one attempt.
#[derive(Clone, Debug)]
pub(crate) enum Step {
    /// No response.
    Fail(SendErrorKind),
    /// No answer, forever.
    Hang,
    /// A bug in the transport.
    Panic,
    /// A response.
    Reply(Reply),
    /// A response where schedules are explored: no time passes, but other threads may run.
    Explored(Reply),
}

/// A response with its timing.
#[derive(Clone, Debug)]
pub(crate) struct Reply {
    after: Duration,
    status: u16,
    headers: Vec<(&'static str, String)>,
    body: Vec<Part>,
}

/// A piece of a body.
#[derive(Clone, Debug)]
pub(crate) enum Part {
    Wait(Duration),
    /// Lets other threads run: see [`Step::Explored`].
    Pause,
    Bytes(Bytes),
    /// The connection closes too early.
    Cut,
    /// The connection is reset.
    Reset,
    /// Nothing follows, and no end.
    Hang,
    /// Waits until a test notifies it.
    Until(Arc<tokio::sync::Notify>),
    /// A bug in the middle of a body.
    Panic,
}

impl Reply {
    /// A response with this status and no body.
    pub(crate) fn status(status: u16) -> Self {
        Self {
            after: Duration::from_millis(10),
            status,
            headers: vec![("content-type", "application/json".into())],
            body: Vec::new(),
        }
    }

    /// The beginning of a stream.
    pub(crate) fn stream() -> Self {
        Self::status(200).header("content-type", "text/event-stream")
    }

    /// A complete stream with these words, one per event, and usage.
    pub(crate) fn says(words: &[&str]) -> Self {
        words
            .iter()
            .fold(Self::stream(), |reply, word| reply.word(word))
            .stop()
            .done()
    }

    pub(crate) fn header(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.retain(|(known, _)| *known != name);
        self.headers.push((name, value.into()));
        self
    }

    /// Time to the headers.
    pub(crate) fn after(mut self, after: Duration) -> Self {
        self.after = after;
        self
    }

    pub(crate) fn part(mut self, part: Part) -> Self {
        self.body.push(part);
        self
    }

    pub(crate) fn bytes(self, bytes: impl Into<Bytes>) -> Self {
        self.part(Part::Bytes(bytes.into()))
    }

    pub(crate) fn wait(self, duration: Duration) -> Self {
        self.part(Part::Wait(duration))
    }

    /// One event with this data.
    pub(crate) fn event(self, data: &str) -> Self {
        self.bytes(format!("data: {data}\n\n"))
    }

    /// One event with content.
    pub(crate) fn word(self, word: &str) -> Self {
        let word = serde_json::Value::from(word);
        self.event(&format!(
            r#"{{"choices":[{{"index":0,"delta":{{"content":{word}}}}}],"model":"m"}}"#
        ))
    }

    /// The event with the finish reason, and one with usage.
    pub(crate) fn stop(self) -> Self {
        self.event(r#"{"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}"#)
            .event(r#"{"choices":[],"usage":{"prompt_tokens":5,"completion_tokens":2,"total_tokens":7}}"#)
    }

    /// Lets other threads run: see [`Step::Explored`].
    pub(crate) fn pause(self) -> Self {
        self.part(Part::Pause)
    }

    pub(crate) fn into_parts(self) -> Vec<Part> {
        self.body
    }

    pub(crate) fn done(self) -> Self {
        self.event("[DONE]")
    }
}

impl From<Reply> for Step {
    fn from(reply: Reply) -> Self {
        Self::Reply(reply)
    }
}

/// An answer that was not streamed.
pub(crate) fn whole(text: &str) -> Reply {
    let body = serde_json::json!({
        "choices": [{ "message": { "content": text }, "finish_reason": "stop" }],
        "usage": { "prompt_tokens": 5, "completion_tokens": 2, "total_tokens": 7 },
        "model": "m",
    });
    Reply::status(200).bytes(body.to_string())
}

/// An error with an OpenAI body.
pub(crate) fn error(status: u16, kind: &str, message: &str) -> Reply {
    let body = serde_json::json!({ "error": { "type": kind, "message": message } });
    Reply::status(status).bytes(body.to_string())
}

/// The scripted upstream. Clones share one script.
#[derive(Clone, Debug)]
pub(crate) struct ScriptedTransport {
    clock: Clock,
    steps: Arc<Mutex<VecDeque<Step>>>,
    sent: Arc<Mutex<Vec<AttemptRequest>>>,
    open: Arc<AtomicUsize>,
}

/// A running exchange; dropped at its end or when it is cancelled.
struct Open(Arc<AtomicUsize>);

impl Drop for Open {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl ScriptedTransport {
    pub(crate) fn new(clock: Clock) -> Self {
        Self {
            clock,
            steps: Arc::default(),
            sent: Arc::default(),
            open: Arc::default(),
        }
    }

    /// Appends to the script. Attempts beyond its end get "hello sea".
    pub(crate) fn push(&self, steps: impl IntoIterator<Item = Step>) {
        self.steps.lock().unwrap().extend(steps);
    }

    /// Removes the rest of the script.
    pub(crate) fn forget_rest(&self) {
        self.steps.lock().unwrap().clear();
    }

    /// Requests sent so far.
    pub(crate) fn sent(&self) -> Vec<AttemptRequest> {
        self.sent.lock().unwrap().clone()
    }

    /// Number of running exchanges.
    pub(crate) fn open(&self) -> usize {
        self.open.load(Ordering::Relaxed)
    }
}

impl Transport for ScriptedTransport {
    fn keys(&self) -> &[ApiKey] {
        &[]
    }

    async fn send(&self, request: AttemptRequest) -> Result<Response, SendError> {
        self.sent.lock().unwrap().push(request);
        self.open.fetch_add(1, Ordering::Relaxed);
        let open = Open(Arc::clone(&self.open));
        let step = self.steps.lock().unwrap().pop_front();
        match step.unwrap_or_else(|| Reply::says(&["hello", " sea"]).into()) {
            Step::Fail(kind) => {
                let detail = format!("{kind:?}");
                Err(SendError { kind, detail })
            }
            Step::Hang => std::future::pending().await,
            Step::Panic => panic!("scripted"),
            Step::Reply(reply) => {
                self.clock.sleep(reply.after).await;
                Ok(reply.into_response(self.clock, open))
            }
            Step::Explored(reply) => {
                shuttle::future::yield_now().await;
                Ok(reply.into_response(self.clock, open))
            }
        }
    }

    fn info(&self) -> UpstreamInfo {
        UpstreamInfo {
            host: "scripted".into(),
            model: None,
            simulated: true,
            loopback: true,
        }
    }
}

impl Reply {
    fn into_response(self, clock: Clock, open: Open) -> Response {
        let mut headers = HeaderMap::new();
        for (name, value) in self.headers {
            headers.append(
                HeaderName::from_static(name),
                HeaderValue::try_from(value).unwrap(),
            );
        }
        Response {
            status: self.status,
            headers,
            body: play(self.body.into(), clock, open),
        }
    }
}

fn play(parts: VecDeque<Part>, clock: Clock, open: Open) -> BodyStream {
    Box::pin(stream::unfold(
        (parts, open),
        move |(mut parts, open)| async move {
            let broken = |reset| {
                Err(BodyError {
                    reset,
                    detail: "scripted".into(),
                })
            };
            loop {
                let item = match parts.pop_front()? {
                    Part::Wait(duration) => {
                        clock.sleep(duration).await;
                        continue;
                    }
                    Part::Pause => {
                        shuttle::future::yield_now().await;
                        continue;
                    }
                    Part::Until(notify) => {
                        notify.notified().await;
                        continue;
                    }
                    Part::Bytes(bytes) => Ok(bytes),
                    Part::Cut => broken(false),
                    Part::Reset => broken(true),
                    Part::Hang => std::future::pending().await,
                    Part::Panic => panic!("scripted"),
                };
                return Some((item, (parts, open)));
            }
        },
    ))
}
