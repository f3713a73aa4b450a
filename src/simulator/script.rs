//! Scripts: the timed steps of a response, decided before its first byte.
//!
//! Pure: the same request, profile, seed and number give the same script, byte for byte. Two players perform it:
//! [`Simulator`](super::Simulator) on a socket and [`LocalTransport`](super::LocalTransport) in memory.
//!
//! ```text
//! streamed        Head  first  token .. token  finish(+usage)  DONE  End
//! cut             Head  first  token .. token  Cut                             after `cut_after` tokens
//! hang            Head  first  token .. token  (stall_for) Reset
//! drip            Head  1..7 bytes at a time, splitting events and characters ..  End
//! not streamed    (the time of all tokens) Head  body  End
//! 429 .. html     (a short while) Head  body  End
//! stall, reset    (stall_for, or at once) Reset
//! ```

mod body;
mod tokens;

use std::time::Duration;

use bytes::Bytes;
use xxhash_rust::xxh3::xxh3_64;

use self::body::{Envelope, error_steps, fixed, malformed, rate_limited, timings};
use self::tokens::tokens;
use super::answer;
use super::request_rng::RequestRng;
use crate::dialect::Dialect;
use crate::openai::{ChatRequest, Usage};
use crate::settings::{FaultKind, FaultProfile, LatencyProfile};
use crate::simulator::wire::Framing;

pub(super) use self::body::json_steps;

/// The facts of a chat request on which the answer depends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChatSpec {
    /// The full text of the answer.
    pub text: String,
    /// LLM tokens of the prompt.
    pub prompt_tokens: u64,
    /// The largest number of tokens in the answer.
    pub limit: u64,
    /// True if the answer is streamed.
    pub stream: bool,
    /// True if a stream ends with usage.
    pub usage: bool,
    /// Unix seconds, for the field `created`.
    pub created: u64,
}

impl ChatSpec {
    /// Extracts the facts of a request; [`reply`](super::reply) provides the answer.
    pub fn new(request: &ChatRequest) -> Self {
        Self::with_prompt_tokens(request, request.estimated_prompt_tokens())
    }

    /// Like [`new`](Self::new), with the sender's count of prompt tokens.
    pub fn with_prompt_tokens(request: &ChatRequest, prompt_tokens: u64) -> Self {
        answer::chat_spec(request, prompt_tokens)
    }
}

/// The inputs that decide about faults and latency.
#[derive(Clone, Copy, Debug)]
pub struct Conditions<'a> {
    /// The fault profile, if faults are on.
    pub faults: Option<&'a FaultProfile>,
    /// The latency, unless the profile has its own.
    pub pace: LatencyProfile,
    /// The seed of the session.
    pub seed: u64,
    /// The number of the request. See [`attempt_number`].
    pub number: u64,
}

/// The number of an attempt that identifies itself. It does not depend on the order of arrival, so that concurrent
/// calls get the same faults in every run.
pub fn attempt_number(call: u64, attempt: u32) -> u64 {
    let mut bytes = [0; 12];
    bytes[..8].copy_from_slice(&call.to_le_bytes());
    bytes[8..].copy_from_slice(&attempt.to_le_bytes());
    xxh3_64(&bytes)
}

/// One action of a player.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Status line and header fields.
    Head {
        /// The status.
        status: u16,
        /// Header fields without those of the framing.
        headers: Vec<(&'static str, String)>,
        /// The framing of the body.
        framing: Framing,
    },
    /// A piece of the body, written at once; one chunk if chunked.
    Bytes(Bytes),
    /// The connection is reset.
    Reset,
    /// The connection is closed before the end of the body.
    Cut,
    /// The body is complete.
    End,
}

/// A step, and the wait before it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TimedStep {
    /// The time since the previous step.
    pub after: Duration,
    /// The action.
    pub step: Step,
}

/// The script of one response. The last step is `End`, `Cut` or `Reset`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Script {
    /// The steps.
    pub steps: Vec<TimedStep>,
    /// The fault and the index of the step that performs it. The fault counts as injected when the wait for that
    /// step begins.
    pub fault: Option<(usize, FaultKind)>,
}

impl Script {
    /// Decides the response.
    pub fn new(ask: &ChatSpec, conditions: &Conditions<'_>) -> Self {
        let mut plan = Plan::new(conditions);
        let Some((fault, profile)) = plan.fault else {
            return Self {
                steps: plan.answer(ask),
                fault: None,
            };
        };
        if let Some(steps) = plan.bodyless_fault(Dialect::Chat, ask.stream) {
            return Self {
                steps,
                fault: Some((0, fault)),
            };
        }
        let mut steps = plan.answer(ask);
        let fault_step = match fault {
            FaultKind::Cut => break_off(&mut steps, profile, ask.stream, plan.between(), Step::Cut),
            FaultKind::StallMidStream => {
                break_off(&mut steps, profile, ask.stream, profile.stall_for, Step::Reset)
            }
            FaultKind::Drip => plan.drip(&mut steps, profile.drip_factor),
            FaultKind::RateLimited
            | FaultKind::ServerError
            | FaultKind::Unavailable
            | FaultKind::Overloaded
            | FaultKind::Stall
            | FaultKind::Reset
            | FaultKind::Malformed
            | FaultKind::WrongContentType => 0,
        };
        Self {
            steps,
            fault: Some((fault_step, fault)),
        }
    }

    /// The response if all slots and the queue are full.
    pub fn busy(dialect: Dialect) -> Self {
        let error = answer::busy("All slots are busy and the queue is full");
        Self {
            steps: error_steps(dialect, error, &[]),
            fault: None,
        }
    }
}

/// The random decisions of a request, drawn in a fixed order.
#[derive(Debug)]
pub(super) struct Plan<'a> {
    pub(super) fault: Option<(FaultKind, &'a FaultProfile)>,
    pace: LatencyProfile,
    rng: RequestRng,
}

impl<'a> Plan<'a> {
    pub(super) fn new(conditions: &Conditions<'a>) -> Self {
        let mut rng = RequestRng::new(conditions.seed, conditions.number);
        let fault = rng.fault(conditions.faults);
        let pace = conditions.faults.and_then(|faults| faults.latency);
        Self {
            fault: fault.zip(conditions.faults),
            pace: pace.unwrap_or(conditions.pace),
            rng,
        }
    }

    /// The steps of a fault that replaces the answer of this dialect; `None` for a fault that breaks it.
    pub(super) fn bodyless_fault(&mut self, dialect: Dialect, stream: bool) -> Option<Vec<TimedStep>> {
        let (fault, profile) = self.fault?;
        // an error is faster than an answer, but not immediate
        let pause = self.rng.first_token(&self.pace) / 8;
        let mut steps = match fault {
            FaultKind::RateLimited => rate_limited(dialect, profile),
            FaultKind::ServerError => {
                let text = "Internal server error (injected by seawall)";
                error_steps(dialect, answer::error(500, "server_error", text), &[])
            }
            FaultKind::Unavailable => error_steps(
                dialect,
                answer::busy("Service temporarily overloaded (injected by seawall)"),
                &[],
            ),
            FaultKind::Overloaded => error_steps(
                dialect,
                answer::error(529, "overloaded_error", "Overloaded (injected by seawall)"),
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
        self.rng.next_token(&self.pace)
    }

    /// The size of the next piece of a drip, at most `left`.
    pub(super) fn drip_bytes(&mut self, left: usize) -> usize {
        self.rng.drip_bytes().min(left)
    }

    /// The steps of the complete answer.
    fn answer(&mut self, ask: &ChatSpec) -> Vec<TimedStep> {
        let tokens: Vec<&str> = tokens(&ask.text);
        let kept = usize::try_from(ask.limit).unwrap_or(usize::MAX).min(tokens.len());
        let finish = if kept < tokens.len() { "length" } else { "stop" };
        let tokens = tokens.get(..kept).unwrap_or_default();
        let first = self.rng.first_token(&self.pace);
        let waits: Vec<Duration> = tokens.iter().skip(1).map(|_| self.between()).collect();
        let rest: Duration = waits.iter().sum();
        let envelope = Envelope {
            id: self.rng.id(),
            created: ask.created,
            usage: Usage::new(ask.prompt_tokens, kept as u64),
            timings: timings(ask.prompt_tokens, first, kept as u64, rest),
        };
        if ask.stream {
            let waits = std::iter::once(first).chain(waits);
            envelope.stream(tokens, waits, finish, ask.usage)
        } else {
            let mut steps = envelope.whole(tokens, finish);
            if let Some(head) = steps.first_mut() {
                head.after = first + rest;
            }
            steps
        }
    }

    /// Splits every piece of the body into a few bytes each, so that the answer takes `factor` times longer,
    /// except for the wait for the first token of a stream. Returns the step at which the drip begins.
    fn drip(&mut self, steps: &mut Vec<TimedStep>, factor: u32) -> usize {
        let whole = steps.first().map_or(Duration::ZERO, |head| head.after);
        let first_slow = if whole.is_zero() {
            self.between().saturating_mul(factor)
        } else {
            // not streamed: the head has already waited for all tokens
            whole.saturating_mul(factor.saturating_sub(1))
        };
        let mut dripping = Vec::with_capacity(steps.len() * 64);
        let mut begins = None;
        for TimedStep { after, step: what } in steps.drain(..) {
            let Step::Bytes(bytes) = what else {
                dripping.push(step(after, what));
                continue;
            };
            // the wait for the first piece is unchanged; its own bytes are slow
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

fn step(after: Duration, step: Step) -> TimedStep {
    TimedStep { after, step }
}

/// Replaces the end of an answer by `last`: after `cut_after` tokens of a stream, or in the middle of an
/// unstreamed body. Returns the index of `last`.
fn break_off(
    steps: &mut Vec<TimedStep>,
    profile: &FaultProfile,
    stream: bool,
    after: Duration,
    last: Step,
) -> usize {
    if stream {
        // the steps are head, tokens, finish, DONE, end: keep only tokens
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

#[cfg(test)]
mod tests;
