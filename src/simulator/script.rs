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

mod body;
mod tokens;

use std::time::Duration;

use bytes::Bytes;
use xxhash_rust::xxh3::xxh3_64;

use self::body::{Envelope, fixed, malformed, rate_limited, timings};
use self::tokens::tokens;
use super::answer;
use super::draw::Draw;
use crate::openai::{ChatRequest, Usage};
use crate::settings::{FaultKind, FaultProfile, LatencyProfile};
use crate::simulator::wire::Framing;

pub(super) use self::body::json_steps;

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
        Self::counted(request, request.estimated_prompt_tokens())
    }

    /// The facts of a request whose prompt has so many tokens, by the count of who sends it.
    pub fn counted(request: &ChatRequest, prompt_tokens: u64) -> Self {
        answer::ask(request, prompt_tokens)
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
            fault: Some((strikes_at, fault)),
        }
    }
}

impl Script {
    /// What a request hears for which the server has neither a slot nor a place in its queue.
    pub fn busy() -> Self {
        Self {
            steps: json_steps(&answer::busy("All slots are busy and the queue is full"), &[]),
            fault: None,
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
            FaultKind::Unavailable => json_steps(
                &answer::busy("Service temporarily overloaded (injected by seawall)"),
                &[],
            ),
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

fn step(after: Duration, step: Step) -> TimedStep {
    TimedStep { after, step }
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

#[cfg(test)]
mod tests;
