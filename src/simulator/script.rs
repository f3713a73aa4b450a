//! What will happen to one request, decided before its first byte leaves: a list of timed steps.
//!
//! Pure: the same facts, profile, seed and number give the same script, byte for byte. Two players
//! perform it, the [server](super::Simulator) on a socket and [`local`](super::local) in memory.
//!
//! ```text
//! streamed        Head  first  token .. token  finish(+usage)  DONE  End
//! cut             Head  first  token .. token  Cut                             after `cut_after` tokens
//! hang            Head  first  token .. token  (stall_for) Reset
//! drip            Head  1..7 bytes at a time, in the middle of events and characters ..  End
//! not streamed    (the time of all tokens) Head  body  End
//! 429 .. html     (a short while) Head  body  End
//! stall, reset    (stall_for, or at once) Reset
//! ```

use std::time::Duration;

use bytes::Bytes;
use serde_json::{Value, json};
use xxhash_rust::xxh3::xxh3_64;

use super::MODEL;
use super::answer::{self, Answer};
use super::draw::Draw;
use crate::http::Framing;
use crate::openai::{ChatRequest, Usage};
use crate::settings::{FaultKind, FaultProfile, LatencyProfile};

/// The facts of a request that its answer depends on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ask {
    /// What will be said, if nothing breaks.
    pub text: String,
    /// Tokens of the prompt.
    pub prompt_tokens: u64,
    /// At most so many tokens are said.
    pub limit: u64,
    /// Whether the answer is streamed.
    pub stream: bool,
    /// Whether a stream ends with usage.
    pub usage: bool,
    /// Unix seconds, for the field `created`.
    pub created: u64,
}

impl Ask {
    /// The facts of a request; the answer is looked up in [`reply`](super::reply).
    pub fn new(request: &ChatRequest) -> Self {
        answer::ask(request)
    }
}

/// What decides about faults and speed.
#[derive(Clone, Copy, Debug)]
pub struct Conditions<'a> {
    /// The fault profile, where faults are on.
    pub faults: Option<&'a FaultProfile>,
    /// How fast answers come, unless the profile has a pace of its own.
    pub pace: LatencyProfile,
    /// The seed of the session.
    pub seed: u64,
    /// Which request this is. See [`attempt_number`].
    pub number: u64,
}

/// The number of an attempt that says what it is: it does not depend on the order of arrival, so that
/// concurrent calls meet the same faults in every run.
pub fn attempt_number(call: u64, attempt: u32) -> u64 {
    let mut bytes = [0; 12];
    bytes[..8].copy_from_slice(&call.to_le_bytes());
    bytes[8..].copy_from_slice(&attempt.to_le_bytes());
    xxh3_64(&bytes)
}

/// One thing a player does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Status line and header fields.
    Head {
        /// The status.
        status: u16,
        /// Header fields without those of the framing.
        headers: Vec<(&'static str, String)>,
        /// How the end of the body is told.
        framing: Framing,
    },
    /// A piece of the body, in one write; one chunk if chunked.
    Bytes(Bytes),
    /// The connection is reset.
    Reset,
    /// The connection is closed before the end of the body.
    Cut,
    /// The body ends as it should.
    End,
}

/// A step, and how long to wait before it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TimedStep {
    /// Since the step before.
    pub after: Duration,
    /// What to do then.
    pub step: Step,
}

/// What will happen to one request. The last step is `End`, `Cut` or `Reset`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Script {
    /// The steps.
    pub steps: Vec<TimedStep>,
    /// The fault, and the index of the step that performs it: it counts as injected when the wait for
    /// that step begins.
    pub fault: Option<(usize, FaultKind)>,
}

impl Script {
    /// Decides what happens.
    pub fn new(ask: &Ask, conditions: &Conditions<'_>) -> Self {
        let mut plan = Plan::new(conditions);
        let Some((fault, profile)) = plan.fault else {
            return Self {
                steps: plan.answer(ask),
                fault: None,
            };
        };
        if let Some(steps) = plan.refusal(ask.stream) {
            return Self {
                steps,
                fault: Some((0, fault)),
            };
        }
        let mut steps = plan.answer(ask);
        let strikes_at = match fault {
            FaultKind::Cut => break_off(&mut steps, profile, ask.stream, plan.between(), Step::Cut),
            FaultKind::StallMidStream => {
                break_off(&mut steps, profile, ask.stream, profile.stall_for, Step::Reset)
            }
            FaultKind::Drip => plan.drip(&mut steps, profile.drip_factor),
            _ => 0,
        };
        Self {
            steps,
            fault: Some((strikes_at, fault)),
        }
    }
}

/// The draws of a request, taken in a fixed order.
#[derive(Debug)]
pub(super) struct Plan<'a> {
    pub(super) fault: Option<(FaultKind, &'a FaultProfile)>,
    pace: LatencyProfile,
    draw: Draw,
}

impl<'a> Plan<'a> {
    pub(super) fn new(conditions: &Conditions<'a>) -> Self {
        let mut draw = Draw::new(conditions.seed, conditions.number);
        let fault = draw.fault(conditions.faults);
        let pace = conditions.faults.and_then(|faults| faults.latency);
        Self {
            fault: fault.zip(conditions.faults),
            pace: pace.unwrap_or(conditions.pace),
            draw,
        }
    }

    /// The script of a fault that needs no answer to break; `None` for the others.
    pub(super) fn refusal(&mut self, stream: bool) -> Option<Vec<TimedStep>> {
        let (fault, profile) = self.fault?;
        // a refusal is quicker than an answer, but a server still has to think of it
        let pause = self.draw.first_token(&self.pace) / 8;
        let mut steps = match fault {
            FaultKind::RateLimited => rate_limited(profile),
            FaultKind::ServerError => {
                let text = "Internal server error (injected by seawall)";
                json_steps(&answer::error(500, "server_error", text), &[])
            }
            FaultKind::Unavailable => {
                let text = "Service temporarily overloaded (injected by seawall)";
                json_steps(&answer::error(503, "unavailable_error", text), &[])
            }
            FaultKind::Overloaded => json_steps(
                &answer::error(529, "overloaded_error", "Overloaded (injected by seawall)"),
                &[],
            ),
            FaultKind::Stall => return Some(vec![step(profile.stall_for, Step::Reset)]),
            FaultKind::Reset => vec![step(Duration::ZERO, Step::Reset)],
            FaultKind::Malformed => malformed(stream),
            FaultKind::WrongContentType => {
                let page = "<!doctype html>\n<html><head><title>Sign in</title></head>\n<body><h1>Sign in to the \
                            network</h1><p>Injected by seawall.</p></body></html>\n";
                fixed(200, "text/html; charset=utf-8", &[], page.into())
            }
            FaultKind::Cut | FaultKind::StallMidStream | FaultKind::Drip => return None,
        };
        if let Some(first) = steps.first_mut() {
            first.after = pause;
        }
        Some(steps)
    }

    /// A wait between two tokens.
    pub(super) fn between(&mut self) -> Duration {
        self.draw.next_token(&self.pace)
    }

    /// The next bytes of a drip: how many, of at most `left`.
    pub(super) fn drip_bytes(&mut self, left: usize) -> usize {
        self.draw.drip_bytes().min(left)
    }

    /// The script of the answer, unbroken.
    fn answer(&mut self, ask: &Ask) -> Vec<TimedStep> {
        let said: Vec<&str> = tokens(&ask.text);
        let kept = usize::try_from(ask.limit).unwrap_or(usize::MAX).min(said.len());
        let finish = if kept < said.len() { "length" } else { "stop" };
        let said = said.get(..kept).unwrap_or_default();
        let first = self.draw.first_token(&self.pace);
        let waits: Vec<Duration> = said.iter().skip(1).map(|_| self.between()).collect();
        let rest: Duration = waits.iter().sum();
        let envelope = Envelope {
            id: self.draw.id(),
            created: ask.created,
            usage: Usage::new(ask.prompt_tokens, kept as u64),
            timings: timings(ask.prompt_tokens, first, kept as u64, rest),
        };
        if ask.stream {
            let waits = std::iter::once(first).chain(waits);
            envelope.stream(said, waits, finish, ask.usage)
        } else {
            let mut steps = envelope.whole(said, finish);
            if let Some(head) = steps.first_mut() {
                head.after = first + rest;
            }
            steps
        }
    }

    /// Splits every piece of the body into a few bytes each, so that the answer takes `factor` times
    /// longer, the wait for the first token of a stream excepted. Returns where the drip begins.
    fn drip(&mut self, steps: &mut Vec<TimedStep>, factor: u32) -> usize {
        let whole = steps.first().map_or(Duration::ZERO, |head| head.after);
        let first_slow = if whole.is_zero() {
            self.between().saturating_mul(factor)
        } else {
            // not streamed: the head has waited for all tokens once
            whole.saturating_mul(factor.saturating_sub(1))
        };
        let mut dripping = Vec::with_capacity(steps.len() * 64);
        let mut begins = None;
        for TimedStep { after, step: what } in steps.drain(..) {
            let Step::Bytes(bytes) = what else {
                dripping.push(step(after, what));
                continue;
            };
            // the first piece is awaited as ever, and slow within itself
            let (mut wait, slow) = match begins {
                None => (Some(after), first_slow),
                Some(_) => (None, after.saturating_mul(factor)),
            };
            begins.get_or_insert(dripping.len());
            let pieces = self.pieces(&bytes);
            let gap = slow / (pieces.len() as u32).max(1);
            for piece in pieces {
                dripping.push(step(wait.take().unwrap_or(gap), Step::Bytes(piece)));
            }
        }
        *steps = dripping;
        begins.unwrap_or(0)
    }

    fn pieces(&mut self, bytes: &Bytes) -> Vec<Bytes> {
        let mut left = bytes.clone();
        let mut pieces = Vec::with_capacity(bytes.len() / 3);
        while !left.is_empty() {
            pieces.push(left.split_to(self.drip_bytes(left.len())));
        }
        pieces
    }
}

/// What all events of an answer have in common.
struct Envelope {
    id: String,
    created: u64,
    usage: Usage,
    timings: Value,
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
    fn stream(
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
        for (token, wait) in said.iter().zip(waits) {
            let delta = json!([{ "finish_reason": null, "index": 0, "delta": { "content": token } }]);
            let bytes = std::mem::take(&mut lead) + &sse(&self.event(&delta));
            steps.push(step(wait, Step::Bytes(bytes.into())));
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

    fn whole(&self, said: &[&str], finish: &str) -> Vec<TimedStep> {
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
fn timings(prompt: u64, first: Duration, said: u64, rest: Duration) -> Value {
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

fn step(after: Duration, step: Step) -> TimedStep {
    TimedStep { after, step }
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

fn fixed(status: u16, kind: &str, more: &[(&'static str, String)], body: Bytes) -> Vec<TimedStep> {
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
pub(super) fn json_steps(answer: &Answer, more: &[(&'static str, String)]) -> Vec<TimedStep> {
    let body = answer.body.to_string().into();
    fixed(answer.status, "application/json; charset=utf-8", more, body)
}

/// As OpenAI says it: llama-server itself knows no 429.
fn rate_limited(profile: &FaultProfile) -> Vec<TimedStep> {
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
fn malformed(stream: bool) -> Vec<TimedStep> {
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

/// Replaces the end of an answer by `last`: after `cut_after` tokens of a stream, or in the middle of a
/// whole body. Returns the index of `last`.
fn break_off(
    steps: &mut Vec<TimedStep>,
    profile: &FaultProfile,
    stream: bool,
    after: Duration,
    last: Step,
) -> usize {
    if stream {
        // head, tokens, finish, DONE, end: at most the tokens stay
        let tokens = steps.len().saturating_sub(4);
        steps.truncate(1 + tokens.min(profile.cut_after as usize));
    } else {
        steps.truncate(2);
        if let Some(TimedStep {
            step: Step::Bytes(body),
            ..
        }) = steps.last_mut()
        {
            body.truncate(body.len() / 2);
        }
    }
    steps.push(step(after, last));
    steps.len() - 1
}

/// Splits a text into pieces of about four bytes, as a tokenizer would: a word with the space before it, a
/// long word in parts, punctuation and line breaks on their own. Joined, they are the text again.
pub(super) fn tokens(text: &str) -> Vec<&str> {
    const LONGEST: usize = 7;
    let mut tokens = Vec::with_capacity(text.len() / 4);
    let mut rest = text;
    while !rest.is_empty() {
        let mut length = 0;
        let mut letters = 0;
        for c in rest.chars() {
            let joins = if c.is_alphanumeric() {
                letters < LONGEST
            } else {
                // a space begins a word; anything else stands alone
                length == 0
            };
            if !joins {
                break;
            }
            letters += usize::from(c.is_alphanumeric());
            length += c.len_utf8();
            if length == c.len_utf8() && c != ' ' && !c.is_alphanumeric() {
                break;
            }
        }
        let (token, after) = rest.split_at(length);
        tokens.push(token);
        rest = after;
    }
    tokens
}

#[cfg(test)]
mod tests;
