//! What the events of a run add up to, call by call: a fold, like the state of the screen, but one that forgets
//! nothing, because a run has an end and expectations look back.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;

use crate::event::{
    AttemptResult, BreakerState, CallId, Event, EventKind, Fate, NearMiss, Phase, SemanticMiss, UserId,
};
use crate::time::Timestamp;

/// A call, as far as it has come.
#[derive(Clone, Debug)]
pub struct CallFacts {
    /// Who called.
    pub user: UserId,
    /// When.
    pub started_at: Timestamp,
    /// How it ended.
    pub fate: Option<Fate>,
    /// Attempts made while it owned its flight.
    pub attempts: u32,
    /// From beginning to end.
    pub took: Option<Duration>,
    /// From its beginning to the first token of its flight.
    pub first_token: Option<Duration>,
    /// In the limiter's queue, all attempts together.
    pub waited: Duration,
    /// What the semantic cache said.
    pub meaning: Meaning,
    /// HTTP tries made under its number; those of a flight that it took over are in it from then on.
    pub tries: u32,
    /// LLM tokens that those used.
    pub spent_tokens: u64,
    /// LLM tokens of the answer that it got from the upstream, if any.
    pub answered_tokens: u64,
    /// Estimated tokens of the prompt.
    prompt_tokens: u64,
    /// Chunks of the answer that the attempt under way has brought: about as many tokens.
    streamed: u64,
}

/// What the semantic cache said to a call.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Meaning {
    /// Nothing, or that it has nothing.
    #[default]
    Nothing,
    /// It served the answer to another prompt.
    Served,
    /// A guard refused the nearest.
    Refused,
}

impl CallFacts {
    /// Whether it got an answer.
    pub fn is_served(&self) -> bool {
        self.fate.is_some_and(Fate::is_served)
    }

    /// How long it took, if it got an answer.
    pub fn served_after(&self) -> Option<Duration> {
        self.took.filter(|_| self.is_served())
    }
}

/// Answers that needed no upstream of their own, by what gave them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Hits {
    /// The exact cache.
    pub exact: u64,
    /// The semantic cache.
    pub semantic: u64,
    /// The flight of another call, which it joined.
    pub shared: u64,
    /// The ledger of completed results.
    pub replayed: u64,
}

/// See the module documentation.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    /// In the order of their numbers.
    calls: BTreeMap<CallId, CallFacts>,
    moves: Vec<(Timestamp, BreakerState)>,
    /// When faults were switched, and to what.
    switches: Vec<(Timestamp, bool)>,
    /// Events.
    pub events: u64,
    /// Attempts sent.
    pub attempts: u64,
    /// Faults made.
    pub faults: u64,
    /// The most waiters.
    pub max_waiting: u32,
    /// The most attempts in flight.
    pub max_parallel: u32,
    /// LLM tokens that attempts used, as far as that can be known; the limiter's charges are others, and none where
    /// it is off.
    pub spent_tokens: u64,
    /// LLM tokens of answers that the upstream gave for their own call.
    answered_tokens: u64,
    /// LLM tokens that cache and shared flights saved.
    pub saved_tokens: u64,
    /// Retries after an outcome that may have been billed.
    pub possible_doubles: u64,
    /// Failed attempts by label.
    pub causes: BTreeMap<String, u64>,
    /// Answers that needed no upstream of their own.
    pub hits: Hits,
    /// Times the cache was asked in vain.
    pub missed: u64,
    /// Misses that differ from a stored request in one field other than the question, by what differs.
    pub near: BTreeMap<String, u64>,
    /// The latest event.
    pub last_at: Timestamp,
}

impl Tally {
    /// Takes note of an event.
    pub fn take(&mut self, event: &Event) {
        self.events += 1;
        self.last_at = event.at;
        match &event.kind {
            EventKind::CallStarted {
                user, prompt_tokens, ..
            } => self.begin(event, user, *prompt_tokens),
            EventKind::CallEnded {
                fate,
                attempts,
                usage,
                took,
                ..
            } => {
                let tokens = usage.map_or(0, |usage| usage.total());
                match fate {
                    Fate::Answered => self.answered_tokens += tokens,
                    Fate::Hit | Fate::Shared => self.saved_tokens += tokens,
                    Fate::RateLimited
                    | Fate::CircuitOpen
                    | Fate::Failed
                    | Fate::Interrupted
                    | Fate::Cancelled => {}
                }
                if let Some(call) = self.of(event) {
                    (call.fate, call.attempts, call.took) = (Some(*fate), *attempts, Some(*took));
                    if *fate == Fate::Answered {
                        call.answered_tokens = tokens;
                    }
                }
            }
            EventKind::CacheHit { .. } => self.hits.exact += 1,
            EventKind::SemanticHit { .. } => {
                self.hits.semantic += 1;
                self.note_meaning(event, Meaning::Served);
            }
            EventKind::FlightJoined { .. } => self.hits.shared += 1,
            EventKind::ResultReplayed { .. } => self.hits.replayed += 1,
            EventKind::CacheMissed { nearest, .. } => self.miss(nearest.as_deref()),
            EventKind::SemanticMissed {
                reason: SemanticMiss::GuardRejected,
                ..
            } => self.note_meaning(event, Meaning::Refused),
            EventKind::AttemptStarted { .. } => {
                self.attempts += 1;
                if let Some(call) = self.of(event) {
                    call.tries += 1;
                    call.streamed = 0;
                }
            }
            EventKind::StreamDelta { chunks, .. } => {
                self.stream(event, |streamed| streamed + u64::from(*chunks));
            }
            EventKind::FlightHandedOver { from, .. } => {
                let streamed = self.calls.get(from).map_or(0, |call| call.streamed);
                self.stream(event, |_| streamed);
            }
            EventKind::AttemptFirstToken { .. } => {
                let at = event.at;
                if let Some(call) = self.of(event) {
                    call.first_token.get_or_insert(at.since(call.started_at));
                }
            }
            EventKind::AttemptEnded { result, .. } => self.end_attempt(event, result),
            EventKind::LimitQueued { waiting, .. } => self.max_waiting = self.max_waiting.max(*waiting),
            EventKind::LimitAdmitted { waited, in_use, .. } => {
                self.max_parallel = self.max_parallel.max(*in_use);
                if let Some(call) = self.of(event) {
                    call.waited = call.waited.saturating_add(*waited);
                }
            }
            EventKind::BreakerMoved { to, .. } => self.moves.push((event.at, *to)),
            EventKind::FaultsApplied { on, .. } => self.switches.push((event.at, *on)),
            EventKind::FaultInjected { .. } => self.faults += 1,
            EventKind::RetryScheduled { ambiguous, .. } => self.possible_doubles += u64::from(*ambiguous),
            _ => {}
        }
    }

    /// All calls, in the order of their numbers.
    pub fn calls(&self) -> impl Iterator<Item = &CallFacts> {
        self.calls.values()
    }

    /// The calls from this one on, in the order of their numbers.
    pub fn calls_from(&self, first: CallId) -> impl Iterator<Item = &CallFacts> {
        self.calls.range(first..).map(|(_, call)| call)
    }

    /// One call.
    pub fn call(&self, call: CallId) -> Option<&CallFacts> {
        self.calls.get(&call)
    }

    /// Forgets the calls before this one, for whoever adds up a session without an end. What is counted for the run as
    /// a whole stays.
    pub fn forget_before(&mut self, first: CallId) {
        if self.calls.keys().next().is_none_or(|known| *known >= first) {
            return;
        }
        self.calls = self.calls.split_off(&first);
        let kept = self
            .calls
            .values()
            .next()
            .map_or(Timestamp::MAX, |call| call.started_at);
        self.moves.retain(|(at, _)| *at >= kept);
        self.switches.retain(|(at, _)| *at >= kept);
    }

    /// How often the breaker came to this state from then on.
    pub fn moves_since(&self, state: BreakerState, since: Timestamp) -> u64 {
        let moves = self.moves.iter();
        moves.filter(|(at, to)| *to == state && *at >= since).count() as u64
    }

    /// Calls that ended so.
    pub fn fated(&self, fate: Fate) -> u64 {
        self.calls().filter(|call| call.fate == Some(fate)).count() as u64
    }

    /// How often the breaker came to this state.
    pub fn moves_to(&self, state: BreakerState) -> u64 {
        self.moves.iter().filter(|(_, to)| *to == state).count() as u64
    }

    /// LLM tokens spent on what nobody got.
    pub fn wasted_tokens(&self) -> u64 {
        self.spent_tokens.saturating_sub(self.answered_tokens)
    }

    /// Seconds from the first faults to the first opening after them.
    pub fn time_to_trip(&self) -> Option<f64> {
        let (begun, _) = self.switches.iter().find(|(_, on)| *on)?;
        let opened = |(at, to): &&(Timestamp, BreakerState)| *to == BreakerState::Open && at >= begun;
        let (at, _) = self.moves.iter().find(opened)?;
        Some(at.since(*begun).as_secs_f64())
    }

    /// Seconds from the last faults to the first answer to a call that began after them.
    pub fn recovery(&self) -> Option<f64> {
        let over = self.faults_over()?;
        let ends = self.calls().filter_map(|call| {
            let answered = call.fate == Some(Fate::Answered) && call.started_at >= over;
            answered.then(|| call.started_at + call.took.unwrap_or_default())
        });
        Some(ends.min()?.since(over).as_secs_f64())
    }

    /// Seconds from the last faults to the closing of the breaker; 0 if it was closed.
    pub fn time_to_close(&self) -> Option<f64> {
        let over = self.faults_over()?;
        let then = self.moves.iter().rev().find(|(at, _)| *at <= over);
        if then.is_none_or(|(_, state)| *state == BreakerState::Closed) {
            return Some(0.0);
        }
        let closed = |(at, to): &&(Timestamp, BreakerState)| *to == BreakerState::Closed && *at > over;
        let (at, _) = self.moves.iter().find(closed)?;
        Some(at.since(over).as_secs_f64())
    }

    /// When faults were switched off for the last time, after having been on.
    fn faults_over(&self) -> Option<Timestamp> {
        let first_on = self.switches.iter().position(|(_, on)| *on)?;
        let (at, on) = self.switches.get(first_on..)?.last()?;
        (!on).then_some(*at)
    }

    /// What the attempt used: the count of a whole answer; of a broken one the prompt and what came of the text; of a
    /// request that was refused before any work, or never sent, nothing.
    fn end_attempt(&mut self, event: &Event, result: &AttemptResult) {
        let begun = |call: &mut CallFacts| call.prompt_tokens.saturating_add(call.streamed);
        let used = match result {
            AttemptResult::Succeeded { usage, .. } => Some(usage.total()),
            AttemptResult::Failed { failure } => {
                *self.causes.entry(failure.brief()).or_default() += 1;
                match failure.phase {
                    Phase::NotSent | Phase::Refused | Phase::Final => None,
                    Phase::Ambiguous | Phase::Begun | Phase::Delivered => self.of(event).map(begun),
                }
            }
            AttemptResult::Cancelled => self.of(event).map(begun),
        };
        let used = used.unwrap_or_default();
        self.spent_tokens = self.spent_tokens.saturating_add(used);
        if let Some(call) = self.of(event) {
            call.spent_tokens = call.spent_tokens.saturating_add(used);
        }
    }

    fn stream(&mut self, event: &Event, change: impl FnOnce(u64) -> u64) {
        if let Some(call) = self.of(event) {
            call.streamed = change(call.streamed);
        }
    }

    fn begin(&mut self, event: &Event, user: &UserId, prompt_tokens: u64) {
        let Some(id) = event.call else { return };
        let call = CallFacts {
            user: user.clone(),
            started_at: event.at,
            fate: None,
            attempts: 0,
            took: None,
            first_token: None,
            waited: Duration::ZERO,
            meaning: Meaning::default(),
            tries: 0,
            spent_tokens: 0,
            answered_tokens: 0,
            prompt_tokens,
            streamed: 0,
        };
        self.calls.insert(id, call);
    }

    fn miss(&mut self, nearest: Option<&NearMiss>) {
        self.missed += 1;
        if let Some(NearMiss {
            differs, fields: 1, ..
        }) = nearest
            && let Some(diff) = differs.first().filter(|diff| !diff.is_another_question())
        {
            *self.near.entry(diff.brief()).or_default() += 1;
        }
    }

    fn note_meaning(&mut self, event: &Event, meaning: Meaning) {
        if let Some(call) = self.of(event) {
            call.meaning = meaning;
        }
    }

    fn of(&mut self, event: &Event) -> Option<&mut CallFacts> {
        self.calls.get_mut(&event.call?)
    }
}
