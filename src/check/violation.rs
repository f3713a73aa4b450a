//! What the checker says where something does not hold.

use std::fmt;
use std::sync::Arc;

use crate::event::Event;

/// Every invariant that is checked: its number in the design, and its sentence.
pub const INVARIANTS: &[(u8, &str)] = &[
    (1, "every call has exactly one end, and nothing of it follows"),
    (
        2,
        "events are dense, time never goes back, and the events of a call come in their order",
    ),
    (
        3,
        "no more attempts than allowed, none after the first without a decision, no more retries of what may have been billed than allowed",
    ),
    (
        4,
        "nothing of a call goes on past its deadline, and no wait is begun that would end after it",
    ),
    (5, "no attempt once text was delivered"),
    (
        6,
        "a wait is never shorter than the server's hint, and lies within the bounds of its backoff, spread by its jitter",
    ),
    (
        7,
        "no retry where asking again would change nothing or the server forbids it",
    ),
    (
        8,
        "retries are a bounded share of the first attempts of the last while, and none within it is refused",
    ),
    (
        9,
        "text comes only from the one attempt that runs, once its response has begun",
    ),
    (
        10,
        "a call is answered only by a complete answer, and fails only by what its flight met",
    ),
    (
        11,
        "what the limiter grants in any window is at most capacity + rate * window, and nothing during a pause",
    ),
    (
        12,
        "the level of a bucket is what was granted, settled and refilled; below zero by a settlement only",
    ),
    (
        13,
        "each attempt is charged once, and settled by what it used; what was not sent costs nothing",
    ),
    (
        14,
        "the limiter's queue is first come, first served, of each user and in order of arrival of all; in fair order no user gets ahead of another by more than a call of each",
    ),
    (15, "a call larger than the bucket is turned away, not queued"),
    (
        18,
        "the breaker moves only from closed to open, from open to half-open and from there to either, one generation at a time, and for a reason its window gives",
    ),
    (
        19,
        "half-open lets one probe out at a time, open lets nothing out",
    ),
    (20, "each permit is given back exactly once"),
    (
        21,
        "an outcome counts in the generation that admitted it, and in no other",
    ),
    (
        22,
        "an outcome counts as what it says of the upstream: failed, slow or good; if it says nothing, it neither opens nor closes the breaker",
    ),
    (
        23,
        "a hit gives the stored answer of the same request and the same user",
    ),
    (24, "only a complete answer is stored"),
    (
        25,
        "identical calls share one flight: never two of them in the air",
    ),
    (
        26,
        "who shares a flight shares its end, and an owner that leaves takes nothing with it",
    ),
    (
        27,
        "at rest nothing is held: no slot, no place in the queue, no flight",
    ),
    (
        28,
        "the cache keeps its bounds in bytes, and nothing is served past its time to live",
    ),
    (29, "no user is given the answer of another"),
    (30, "a repeated idempotency key gets the identical result"),
    (31, "an error is told only to those who waited for it"),
    (40, "the counts of a call are the counts of its events"),
    (
        41,
        "a semantic hit gives an answer that is stored, of the same user, at least as near as asked for and without objection; only where it is switched on, and never an answer that was labelled bad",
    ),
    (42, "the breaker turns nobody away once its open time is over"),
    (
        43,
        "what a semantic hit serves costs nothing: no attempt, no token, no permit",
    ),
    (
        45,
        "what a miss is said to be like was stored by the call that is named, and differs in a field",
    ),
];

/// Events that a violation shows at most; the first and the last ones.
const SHOWN: usize = 12;
/// Characters of an event that a violation shows.
const WIDTH: usize = 400;

/// An invariant that does not hold.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub struct Violation {
    /// Its number in [`INVARIANTS`].
    pub number: u8,
    /// What is wrong here.
    pub detail: String,
    /// The events that prove it, in their order; the last one broke it.
    pub events: Vec<Event>,
}

impl Violation {
    /// What should hold.
    pub fn sentence(&self) -> &'static str {
        let known = INVARIANTS.iter().find(|(number, _)| *number == self.number);
        known.map_or("", |(_, sentence)| sentence)
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "invariant {} does not hold: {}", self.number, self.sentence())?;
        write!(f, "  {}", self.detail)?;
        for event in &self.events {
            // a line of the journal, so that it can be found there
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

/// Whether something holds.
pub(super) type Holds = Result<(), Breach>;

/// Holds if `fact` does.
pub(super) fn ensure(fact: bool, number: u8, detail: impl FnOnce() -> String) -> Holds {
    if fact {
        Ok(())
    } else {
        Err(breach(number, detail()))
    }
}

/// Does not hold.
pub(super) fn breach(number: u8, detail: impl Into<String>) -> Breach {
    let detail = detail.into();
    Breach {
        number,
        detail,
        proof: Vec::new(),
    }
}

impl Breach {
    /// With more events to prove it.
    pub(super) fn with(mut self, events: impl IntoIterator<Item = Arc<Event>>) -> Self {
        self.proof.extend(events);
        self
    }

    /// By the event that broke it, and those before.
    pub(super) fn proven_by(mut self, last: &Arc<Event>) -> Violation {
        self.proof.push(Arc::clone(last));
        self.alone()
    }

    /// By what it has.
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
