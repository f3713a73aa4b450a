//! The bodies a script sends: events, whole answers, refusals. Llama-server's form, field order aside.

use std::time::Duration;

use bytes::Bytes;
use serde_json::{Value, json};

use super::{Step, TimedStep, step};
use crate::openai::Usage;
use crate::settings::FaultProfile;
use crate::simulator::MODEL;
use crate::simulator::answer::Answer;
use crate::simulator::wire::Framing;

/// Stands in a frame where a token will.
const HOLE: &str = "<token>";

/// What all events of an answer have in common.
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

    /// As captured: the role comes with the first token in one write, the usage with the finish reason.
    pub(super) fn stream(
        &self,
        said: &[&str],
        waits: impl Iterator<Item = Duration>,
        finish: &str,
        usage: bool,
    ) -> Vec<TimedStep> {
        let role = json!({ "role": "assistant", "content": null });
        let role = json!([{ "finish_reason": null, "index": 0, "delta": role }]);
        let mut lead = sse(&self.event(&role));
        let mut steps = vec![step(Duration::ZERO, stream_head())];
        // all events of tokens are alike but for the token: the frame is written once
        let delta = json!([{ "finish_reason": null, "index": 0, "delta": { "content": HOLE } }]);
        let frame = sse(&self.event(&delta));
        let (before, after) = frame.split_once(HOLE).unwrap_or((&frame, ""));
        // and all of them into one piece of memory
        let mut text = String::with_capacity(said.len() * (frame.len() + 8) + lead.len());
        let mut ends = Vec::with_capacity(said.len());
        for (token, wait) in said.iter().zip(waits) {
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

    pub(super) fn whole(&self, said: &[&str], finish: &str) -> Vec<TimedStep> {
        let message = json!({ "role": "assistant", "content": said.concat() });
        let choices = json!([{ "finish_reason": finish, "index": 0, "message": message }]);
        let body = self.with_usage(self.object("chat.completion", &choices));
        json_steps(&Answer { status: 200, body }, &[])
    }
}

fn sse(event: &Value) -> String {
    format!("data: {event}\n\n")
}

/// llama-server's own account of its speed, from the waits that were drawn.
pub(super) fn timings(prompt: u64, first: Duration, said: u64, rest: Duration) -> Value {
    let rate = |count: u64, time: Duration| {
        let (ms, count) = (time.as_secs_f64() * 1000.0, count as f64);
        // at no latency at all nothing sensible can be said
        let per_second = if ms > 0.0 { count / ms * 1000.0 } else { 0.0 };
        (ms, ms / count.max(1.0), per_second)
    };
    let (prompt_ms, prompt_each, prompt_rate) = rate(prompt, first);
    let (said_ms, said_each, said_rate) = rate(said, rest);
    json!({
        "cache_n": 0, "prompt_n": prompt, "prompt_ms": prompt_ms, "prompt_per_token_ms": prompt_each,
        "prompt_per_second": prompt_rate, "predicted_n": said, "predicted_ms": said_ms,
        "predicted_per_token_ms": said_each, "predicted_per_second": said_rate,
    })
}

/// The fields of every response. The name is honest: who looks can tell the simulator from the real one.
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
        .map(|what| step(Duration::ZERO, what))
        .into()
}

/// The script of a plain JSON answer.
pub(in crate::simulator) fn json_steps(answer: &Answer, more: &[(&'static str, String)]) -> Vec<TimedStep> {
    let body = answer.body.to_string().into();
    fixed(answer.status, "application/json; charset=utf-8", more, body)
}

/// As OpenAI says it: llama-server itself knows no 429.
pub(super) fn rate_limited(profile: &FaultProfile) -> Vec<TimedStep> {
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
    json_steps(&Answer { status: 429, body }, &more)
}

/// An answer that stops in the middle of its JSON, but is whole to HTTP.
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
    .map(|what| step(Duration::ZERO, what))
    .into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_with_a_token_in_it_is_the_event_of_that_token() {
        let envelope = Envelope {
            id: "chatcmpl-x".into(),
            created: 1,
            usage: Usage::new(1, 2),
            timings: json!({}),
        };
        let said = ["\"sea\\", " <token>\n", "é\u{1}"];
        let steps = envelope.stream(&said, std::iter::repeat(Duration::ZERO), "stop", true);
        for (token, timed) in said.iter().zip(steps.iter().skip(1)) {
            let Step::Bytes(bytes) = &timed.step else {
                panic!("{timed:?}");
            };
            let delta = json!([{ "finish_reason": null, "index": 0, "delta": { "content": token } }]);
            let event = sse(&envelope.event(&delta));
            assert!(std::str::from_utf8(bytes).unwrap().ends_with(&event), "{token:?}");
        }
    }
}
