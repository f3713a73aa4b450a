//! Violations of invariants, and the events that prove them.

use std::fmt;
use std::sync::Arc;

use crate::event::Event;

/// Every invariant that is checked; its number is its position, from 1. docs/semantics.md, Invariants repeats
/// them.
pub const INVARIANTS: &[&str] = &[
    "every call has exactly one end, and no event of the call follows it",
    "sequence numbers are dense, time never goes back, and the events of a call come in a legal order",
    "no more attempts than the policy allows, no attempt after the first without a retry decision, no more ambiguous retries than allowed",
    "nothing of a call continues past its deadline, and no wait starts that would end after it",
    "no attempt starts after text was delivered",
    "a wait is never shorter than the server's hint, lies within the bounds of its backoff, and is spread by its jitter",
    "no retry after a final failure or when the server forbids it",
    "retries within the budget's window are a bounded share of first attempts, and none within the budget is denied",
    "text comes only from the running attempt, after its response has begun",
    "a call is answered only by a complete answer, and fails only with a failure its flight met",
    "grants in any window are at most capacity + rate * window, and none is made during a pause",
    "the level of a bucket is what was granted, settled and refilled; only a settlement takes it below zero",
    "each attempt is charged once and settled by its usage; an attempt that was not sent costs nothing",
    "the limiter's queue is first in, first out per user; in arrival order it is so overall, in fair order no user gets ahead of another by more than one call of each",
    "a call larger than a bucket is limited, not queued",
    "the breaker moves only from closed to open, from open to half-open and from half-open to either, one generation at a time, for a reason its window gives",
    "half-open admits a probe when none waits for its first token and fewer than `successes_to_close` run, open admits nothing",
    "each permit is of the breaker of the call's model, and returned exactly once",
    "an outcome counts only in the generation that admitted it, the cut of a stream in the one in which it happens",
    "an outcome counts as failed, slow or good by what it says about the upstream; a neutral one neither opens nor closes the breaker",
    "the breaker refuses no call after its open time has ended",
    "a hit returns the stored answer to the same request of the same user",
    "only complete answers are stored",
    "the cache stays within its byte limit and serves nothing past its time to live",
    "a near miss names a call whose answer was stored and at least one field that differs",
    "a semantic hit serves a stored answer of the same user, above the threshold, without a guard's objection, only where the semantic cache is on, and never an answer labelled bad",
    "a semantic hit costs no attempt, no token and no permit",
    "identical calls share one flight",
    "followers share the end of their flight, and a leader that leaves does not end it",
    "an error reaches only the calls that waited for it",
    "no user receives another user's answer",
    "a repeated idempotency key gets the identical result",
    "the counts of a call equal the counts of its events",
    "at rest nothing is held: no slot, no queue entry, no flight",
    "the breaker closes only after `successes_to_close` probes in a row that ended well, or delivered for a whole lease",
    "each opening doubles the next open time, until `min_calls` good outcomes have been counted while closed",
    "one load runs at a time, makes its calls between its start and its end and none before it is due, and counts them",
];

/// Events shown with a violation: the first and the last ones.
const SHOWN: usize = 12;
/// Characters shown of each event.
const WIDTH: usize = 400;

/// A violated invariant.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub struct Violation {
    /// The position in [`INVARIANTS`], from 1.
    pub number: u8,
    /// The difference between the log and the invariant.
    pub detail: String,
    /// The events that prove the violation, in order; the last one broke the invariant.
    pub events: Vec<Event>,
}

impl Violation {
    /// The sentence of the invariant.
    pub fn sentence(&self) -> &'static str {
        let index = usize::from(self.number).checked_sub(1);
        index
            .and_then(|index| INVARIANTS.get(index))
            .copied()
            .unwrap_or_default()
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "invariant {} failed: {}", self.number, self.sentence())?;
        write!(f, "  {}", self.detail)?;
        for event in &self.events {
            // as the journal has it, so that the line can be found there
            let line = serde_json::to_string(event).map_err(|_| fmt::Error)?;
            let short: String = line.chars().take(WIDTH).collect();
            let more = if short.len() < line.len() { "…" } else { "" };
            write!(f, "\n  {} s  {short}{more}", event.at)?;
        }
        Ok(())
    }
}

/// A violation before its last event is known.
#[derive(Debug)]
pub(super) struct Breach {
    number: u8,
    detail: String,
    proof: Vec<Arc<Event>>,
}

/// The result of a check.
pub(super) type Holds = Result<(), Breach>;

/// Returns a breach of invariant `number` unless `fact` is true.
pub(super) fn ensure(fact: bool, number: u8, detail: impl FnOnce() -> String) -> Holds {
    if fact {
        Ok(())
    } else {
        Err(breach(number, detail()))
    }
}

/// A breach of invariant `number`.
pub(super) fn breach(number: u8, detail: impl Into<String>) -> Breach {
    let detail = detail.into();
    Breach {
        number,
        detail,
        proof: Vec::new(),
    }
}

impl Breach {
    /// Adds events to the proof.
    pub(super) fn with(mut self, events: impl IntoIterator<Item = Arc<Event>>) -> Self {
        self.proof.extend(events);
        self
    }

    /// The violation that the event `last` completed.
    pub(super) fn proven_by(mut self, last: &Arc<Event>) -> Violation {
        self.proof.push(Arc::clone(last));
        self.alone()
    }

    /// The violation with the events collected so far.
    pub(super) fn alone(mut self) -> Violation {
        self.proof.sort_by_key(|event| event.seq);
        self.proof.dedup_by_key(|event| event.seq);
        if self.proof.len() > SHOWN {
            let middle = self.proof.len() - SHOWN / 2;
            self.proof.drain(SHOWN / 2..middle);
        }
        Violation {
            number: self.number,
            detail: self.detail,
            events: self.proof.iter().map(|event| event.as_ref().clone()).collect(),
        }
    }
}
