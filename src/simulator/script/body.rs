//! The bodies of scripts: events, unstreamed answers, errors, in llama-server's format apart from field order.

use std::time::Duration;

use bytes::Bytes;
use serde_json::{Value, json};

use super::{Step, TimedStep, step};
use crate::dialect::{Dialect, ErrorText};
use crate::openai::Usage;
use crate::settings::FaultProfile;
use crate::simulator::MODEL;
use crate::simulator::answer::Answer;
use crate::simulator::wire::Framing;

/// The placeholder for the token in a frame.
const PLACEHOLDER: &str = "<token>";

/// The common fields of all events of an answer.
pub(super) struct Envelope {
    pub(super) id: String,
    pub(super) created: u64,
    pub(super) usage: Usage,
    pub(super) timings: Value,
}

impl Envelope {
    fn object(&self, kind: &str, choices: &Value) -> Value {
        json!({
            "choices": choices, "created": self.created, "id": self.id, "model": MODEL,
            "system_fingerprint": concat!("seawall-", env!("CARGO_PKG_VERSION")), "object": kind,
        })
    }

    fn with_usage(&self, mut object: Value) -> Value {
        object["usage"] = json!({
            "completion_tokens": self.usage.completion_tokens, "prompt_tokens": self.usage.prompt_tokens,
            "total_tokens": self.usage.total_tokens, "prompt_tokens_details": { "cached_tokens": 0 },
        });
        object["timings"] = self.timings.clone();
        object
    }

    fn event(&self, choices: &Value) -> Value {
        self.object("chat.completion.chunk", choices)
    }

    /// The steps of a stream. As captured, the role and the first token are one write, and so are the finish
    /// reason and the usage.
    pub(super) fn stream(
        &self,
        tokens: &[&str],
        waits: impl Iterator<Item = Duration>,
        finish: &str,
        usage: bool,
    ) -> Vec<TimedStep> {
        let role = json!({ "role": "assistant", "content": null });
        let role = json!([{ "finish_reason": null, "index": 0, "delta": role }]);
        let mut lead = sse(&self.event(&role));
        let mut steps = vec![step(Duration::ZERO, stream_head())];
        // token events differ in the token only: the frame is serialised once
        let delta = json!([{ "finish_reason": null, "index": 0, "delta": { "content": PLACEHOLDER } }]);
        let frame = sse(&self.event(&delta));
        let (before, after) = frame.split_once(PLACEHOLDER).unwrap_or((&frame, ""));
        // one buffer holds all events
        let mut text = String::with_capacity(tokens.len() * (frame.len() + 8) + lead.len());
        let mut ends = Vec::with_capacity(tokens.len());
        for (token, wait) in tokens.iter().zip(waits) {
            text += &std::mem::take(&mut lead);
            text += before;
            let quoted = serde_json::to_string(token).unwrap_or_default();
            text += quoted
                .strip_prefix('"')
                .and_then(|inner| inner.strip_suffix('"'))
                .unwrap_or(&quoted);
            text += after;
            ends.push((wait, text.len()));
        }
        let mut text = Bytes::from(text);
        let mut begin = 0;
        for (wait, end) in ends {
            steps.push(step(wait, Step::Bytes(text.split_to(end - begin))));
            begin = end;
        }
        let last = self.event(&json!([{ "finish_reason": finish, "index": 0, "delta": {} }]));
        let mut end = lead;
        if usage {
            end += &sse(&last);
            end += &sse(&self.with_usage(self.event(&json!([]))));
        } else {
            let mut last = last;
            last["timings"] = self.timings.clone();
            end += &sse(&last);
        }
        steps.push(step(Duration::ZERO, Step::Bytes(end.into())));
        steps.push(step(Duration::ZERO, Step::Bytes("data: [DONE]\n\n".into())));
        steps.push(step(Duration::ZERO, Step::End));
        steps
    }

    pub(super) fn whole(&self, tokens: &[&str], finish: &str) -> Vec<TimedStep> {
        let message = json!({ "role": "assistant", "content": tokens.concat() });
        let choices = json!([{ "finish_reason": finish, "index": 0, "message": message }]);
        let body = self.with_usage(self.object("chat.completion", &choices));
        json_steps(&Answer { status: 200, body }, &[])
    }
}

fn sse(event: &Value) -> String {
    format!("data: {event}\n\n")
}

/// llama-server's timings, from the drawn waits.
pub(super) fn timings(prompt: u64, first: Duration, predicted: u64, rest: Duration) -> Value {
    let rate = |count: u64, time: Duration| {
        let (ms, count) = (time.as_secs_f64() * 1000.0, count as f64);
        // without latency there is no meaningful rate
        let per_second = if ms > 0.0 { count / ms * 1000.0 } else { 0.0 };
        (ms, ms / count.max(1.0), per_second)
    };
    let (prompt_ms, prompt_each, prompt_rate) = rate(prompt, first);
    let (predicted_ms, predicted_each, predicted_rate) = rate(predicted, rest);
    json!({
        "cache_n": 0, "prompt_n": prompt, "prompt_ms": prompt_ms, "prompt_per_token_ms": prompt_each,
        "prompt_per_second": prompt_rate, "predicted_n": predicted, "predicted_ms": predicted_ms,
        "predicted_per_token_ms": predicted_each, "predicted_per_second": predicted_rate,
    })
}

/// The fields of every response. The server name identifies the simulator.
fn common_headers() -> Vec<(&'static str, String)> {
    vec![
        ("Server", "seawall-sim".into()),
        ("Access-Control-Allow-Origin", String::new()),
    ]
}

fn stream_head() -> Step {
    let mut headers = common_headers();
    headers.push(("X-Accel-Buffering", "no".into()));
    headers.push(("Content-Type", "text/event-stream".into()));
    Step::Head {
        status: 200,
        headers,
        framing: Framing::Chunked,
    }
}

pub(super) fn fixed(status: u16, kind: &str, more: &[(&'static str, String)], body: Bytes) -> Vec<TimedStep> {
    let mut headers = common_headers();
    headers.push(("Content-Type", kind.into()));
    headers.extend_from_slice(more);
    let framing = Framing::Length(body.len() as u64);
    let head = Step::Head {
        status,
        headers,
        framing,
    };
    [head, Step::Bytes(body), Step::End]
        .map(|action| step(Duration::ZERO, action))
        .into()
}

/// The steps of a JSON response.
pub(in crate::simulator) fn json_steps(answer: &Answer, more: &[(&'static str, String)]) -> Vec<TimedStep> {
    let body = answer.body.to_string().into();
    fixed(answer.status, "application/json; charset=utf-8", more, body)
}

/// The steps of an error in the form of a dialect.
pub(super) fn error_steps(
    dialect: Dialect,
    mut answer: Answer,
    more: &[(&'static str, String)],
) -> Vec<TimedStep> {
    if dialect.is_anthropic() {
        let text = ErrorText {
            status: answer.status,
            code: "injected",
            message: answer.body["error"]["message"].as_str().unwrap_or_default(),
        };
        answer.body = dialect.format().error(&text);
    }
    json_steps(&answer, more)
}

/// OpenAI's error, because llama-server has no 429.
pub(super) fn rate_limited(dialect: Dialect, profile: &FaultProfile) -> Vec<TimedStep> {
    let seconds = profile.retry_after;
    let (hint, more) = match seconds {
        0 => (String::new(), vec![]),
        _ => (
            format!(" Please try again in {seconds}s."),
            vec![("Retry-After", seconds.to_string())],
        ),
    };
    let body = json!({ "error": {
        "message": format!("Rate limit reached for {MODEL} (injected by seawall).{hint}"),
        "type": "requests", "param": null, "code": "rate_limit_exceeded",
    }});
    error_steps(dialect, Answer { status: 429, body }, &more)
}

/// An answer with truncated JSON in a complete HTTP body.
pub(super) fn malformed(stream: bool) -> Vec<TimedStep> {
    let broken = r#"{"choices":[{"finish_reason":null,"index":0,"delta":{"content":"The s"#;
    if !stream {
        return fixed(200, "application/json; charset=utf-8", &[], broken.into());
    }
    [
        stream_head(),
        Step::Bytes(format!("data: {broken}\n\n").into()),
        Step::End,
    ]
    .map(|action| step(Duration::ZERO, action))
    .into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_frame_gives_the_same_event_as_serialising_it() {
        let envelope = Envelope {
            id: "chatcmpl-x".into(),
            created: 1,
            usage: Usage::new(1, 2),
            timings: json!({}),
        };
        let tokens = ["\"sea\\", " <token>\n", "é\u{1}"];
        let steps = envelope.stream(&tokens, std::iter::repeat(Duration::ZERO), "stop", true);
        for (token, timed) in tokens.iter().zip(steps.iter().skip(1)) {
            let Step::Bytes(bytes) = &timed.step else {
                panic!("{timed:?}");
            };
            let delta = json!([{ "finish_reason": null, "index": 0, "delta": { "content": token } }]);
            let event = sse(&envelope.event(&delta));
            assert!(std::str::from_utf8(bytes).unwrap().ends_with(&event), "{token:?}");
        }
    }
}
