//! The events of a run, folded into a row per call and counts of the whole run. Unlike the state of the screen it
//! drops nothing by itself: expectations look back over the whole run.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;

use crate::event::{
    AttemptResult, BreakerState, BreakerStates, CallId, Event, EventKind, Fate, ModelName, NearMiss, Phase,
    SemanticMiss, UserId,
};
use crate::time::Timestamp;

/// A call, as far as its events go.
#[derive(Clone, Debug, Default)]
pub struct CallRow {
    /// The user.
    pub user: UserId,
    /// The time of `CallStarted`.
    pub started_at: Timestamp,
    /// Absent while the call runs.
    pub fate: Option<Fate>,
    /// Attempts made while it owned its flight.
    pub attempts: u32,
    /// From its start to its end.
    pub took: Option<Duration>,
    /// From its start to the first token of its flight.
    pub first_token: Option<Duration>,
    /// Time in the limiter's queue, over all attempts.
    pub queued: Duration,
    /// Result of its semantic lookup.
    pub semantic: SemanticResult,
    /// Attempts sent under its number, with those of a flight that it took over from then on.
    pub sent: u32,
    /// LLM tokens that those attempts used.
    pub spent_tokens: u64,
    /// LLM tokens of the answer that the upstream gave to it.
    pub answered_tokens: u64,
    /// Estimated tokens of the prompt.
    prompt_tokens: u64,
    /// Chunks that the running attempt has streamed: about as many tokens.
    streamed: u64,
    /// True if its miss of the exact cache is counted.
    missed: bool,
    /// The field of [`Tally::near_misses`] that the miss is counted for.
    near_miss: Option<String>,
}

/// Result of a semantic lookup.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SemanticResult {
    /// No lookup, or nothing similar enough.
    #[default]
    Miss,
    /// Served the answer to another prompt.
    Hit,
    /// A guard rejected the nearest prompt.
    Rejected,
}

impl CallRow {
    /// True if the call got an answer.
    pub fn is_served(&self) -> bool {
        self.fate.is_some_and(Fate::is_served)
    }

    /// The latency of a served call.
    pub fn latency(&self) -> Option<Duration> {
        self.took.filter(|_| self.is_served())
    }
}

/// Answers without an upstream call of their own, by source.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Hits {
    /// Hits of the exact cache.
    pub exact: u64,
    /// Hits of the semantic cache.
    pub semantic: u64,
    /// Calls that joined the flight of another call.
    pub shared: u64,
    /// Results replayed from the ledger.
    pub replayed: u64,
}

/// See the module documentation.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    calls: BTreeMap<CallId, CallRow>,
    moves: Vec<BreakerMove>,
    breakers: BreakerStates,
    /// Switches of the faults, on or off.
    switches: Vec<(Timestamp, bool)>,
    /// Number of events.
    pub events: u64,
    /// Attempts sent.
    pub attempts: u64,
    /// Faults injected.
    pub faults: u64,
    /// Maximum length of the limiter's queue.
    pub max_waiting: u32,
    /// Maximum number of attempts in flight.
    pub max_parallel: u32,
    /// LLM tokens that attempts used, as far as known. The limiter's charges differ, and are zero if it is off.
    pub spent_tokens: u64,
    /// LLM tokens of answers of the upstream to the call that sent the attempt.
    answered_tokens: u64,
    /// LLM tokens of answers from the cache and from shared flights.
    pub saved_tokens: u64,
    /// Retries after an ambiguous failure, which the upstream may have billed.
    pub ambiguous_retries: u64,
    /// Failed attempts by label.
    pub causes: BTreeMap<String, u64>,
    /// Answers without an upstream call of their own.
    pub hits: Hits,
    /// Misses of the exact cache. A call that joined a flight is no miss: its answer was on the way.
    pub missed: u64,
    /// Misses that differ from a stored request in one field other than the question, by that field.
    pub near_misses: BTreeMap<String, u64>,
    /// The time of the latest event.
    pub last_at: Timestamp,
}

/// A transition of a breaker.
#[derive(Clone, Copy, Debug)]
struct BreakerMove {
    at: Timestamp,
    to: BreakerState,
    /// The state of the breakers of all models after it.
    all: BreakerState,
}

impl Tally {
    /// Applies an event.
    pub fn apply(&mut self, event: &Event) {
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
                if let Some(call) = self.row(event) {
                    (call.fate, call.attempts, call.took) = (Some(*fate), *attempts, Some(*took));
                    if *fate == Fate::Answered {
                        call.answered_tokens = tokens;
                    }
                }
            }
            EventKind::CacheHit { .. } => self.hits.exact += 1,
            EventKind::SemanticHit { .. } => {
                self.hits.semantic += 1;
                self.note_semantic(event, SemanticResult::Hit);
            }
            EventKind::FlightJoined { .. } => {
                self.hits.shared += 1;
                self.take_back_miss(event);
            }
            EventKind::ResultReplayed { .. } => self.hits.replayed += 1,
            EventKind::CacheMissed { nearest, .. } => self.miss(event, nearest.as_deref()),
            EventKind::SemanticMissed {
                reason: SemanticMiss::GuardRejected,
                ..
            } => self.note_semantic(event, SemanticResult::Rejected),
            EventKind::AttemptStarted { .. } => {
                self.attempts += 1;
                if let Some(call) = self.row(event) {
                    call.sent += 1;
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
                if let Some(call) = self.row(event) {
                    call.first_token.get_or_insert(at.since(call.started_at));
                }
            }
            EventKind::AttemptEnded { result, .. } => self.end_attempt(event, result),
            EventKind::LimitQueued { waiting, .. } => self.max_waiting = self.max_waiting.max(*waiting),
            EventKind::LimitAdmitted { waited, in_use, .. } => {
                self.max_parallel = self.max_parallel.max(*in_use);
                if let Some(call) = self.row(event) {
                    call.queued = call.queued.saturating_add(*waited);
                }
            }
            EventKind::BreakerMoved { model, to, .. } => self.breaker_moved(event.at, model.as_ref(), *to),
            EventKind::FaultsApplied { on, .. } => self.switches.push((event.at, *on)),
            EventKind::FaultInjected { .. } => self.faults += 1,
            EventKind::RetryScheduled { ambiguous, .. } => self.ambiguous_retries += u64::from(*ambiguous),
            _ => {}
        }
    }

    fn breaker_moved(&mut self, at: Timestamp, model: Option<&ModelName>, to: BreakerState) {
        let all = self.breakers.apply(model, to);
        self.moves.push(BreakerMove { at, to, all });
    }

    /// All calls, in the order of their numbers.
    pub fn calls(&self) -> impl Iterator<Item = &CallRow> {
        self.calls.values()
    }

    /// All calls with their numbers.
    pub fn rows(&self) -> impl Iterator<Item = (CallId, &CallRow)> {
        self.calls.iter().map(|(number, call)| (*number, call))
    }

    /// The calls from `first` on, in the order of their numbers.
    pub fn calls_from(&self, first: CallId) -> impl Iterator<Item = &CallRow> {
        self.calls.range(first..).map(|(_, call)| call)
    }

    /// The row of a call.
    pub fn call(&self, call: CallId) -> Option<&CallRow> {
        self.calls.get(&call)
    }

    /// Drops the calls before `first`, to bound the memory of a session without an end. Counts of the whole run
    /// stay.
    pub fn drop_before(&mut self, first: CallId) {
        if self.calls.keys().next().is_none_or(|known| *known >= first) {
            return;
        }
        self.calls = self.calls.split_off(&first);
        let kept = self
            .calls
            .values()
            .next()
            .map_or(Timestamp::MAX, |call| call.started_at);
        self.moves.retain(|one| one.at >= kept);
        self.switches.retain(|(at, _)| *at >= kept);
    }

    /// Number of calls with this fate.
    pub fn ended(&self, fate: Fate) -> u64 {
        self.calls().filter(|call| call.fate == Some(fate)).count() as u64
    }

    /// Number of breaker transitions to `state`, from `since` on.
    pub fn breaker_moves(&self, state: BreakerState, since: Timestamp) -> u64 {
        let moves = self.moves.iter();
        moves.filter(|one| one.to == state && one.at >= since).count() as u64
    }

    /// LLM tokens spent on attempts without an answer to their call.
    pub fn wasted_tokens(&self) -> u64 {
        self.spent_tokens.saturating_sub(self.answered_tokens)
    }

    /// Seconds from the first start of faults to the first opening after it.
    pub fn time_to_trip(&self) -> Option<f64> {
        let (begun, _) = self.switches.iter().find(|(_, on)| *on)?;
        let opened = |one: &&BreakerMove| one.to == BreakerState::Open && one.at >= *begun;
        let opening = self.moves.iter().find(opened)?;
        Some(opening.at.since(*begun).as_secs_f64())
    }

    /// Seconds from the last end of faults to the first answer of the upstream to a call that began after it.
    pub fn time_to_recover(&self) -> Option<f64> {
        let over = self.faults_over()?;
        let ends = self.calls().filter_map(|call| {
            let answered = call.fate == Some(Fate::Answered) && call.started_at >= over;
            answered.then(|| call.started_at + call.took.unwrap_or_default())
        });
        Some(ends.min()?.since(over).as_secs_f64())
    }

    /// Seconds from the last end of faults to the closing of the breaker; 0 if it was closed then.
    pub fn time_to_close(&self) -> Option<f64> {
        let over = self.faults_over()?;
        let then = self.moves.iter().rev().find(|one| one.at <= over);
        if then.is_none_or(|one| one.all == BreakerState::Closed) {
            return Some(0.0);
        }
        let closed = |one: &&BreakerMove| one.all == BreakerState::Closed && one.at > over;
        let closing = self.moves.iter().find(closed)?;
        Some(closing.at.since(over).as_secs_f64())
    }

    /// The last end of faults; absent if they are still on or never were.
    fn faults_over(&self) -> Option<Timestamp> {
        let first_on = self.switches.iter().position(|(_, on)| *on)?;
        let (at, on) = self.switches.get(first_on..)?.last()?;
        (!on).then_some(*at)
    }

    /// Adds the tokens that the attempt used: the usage of a complete answer; prompt and streamed text of a
    /// truncated one; nothing of a request that was not sent, or rejected before any work.
    fn end_attempt(&mut self, event: &Event, result: &AttemptResult) {
        let begun = |call: &mut CallRow| call.prompt_tokens.saturating_add(call.streamed);
        let used = match result {
            AttemptResult::Succeeded { usage, .. } => Some(usage.total()),
            AttemptResult::Failed { failure } => {
                *self.causes.entry(failure.brief()).or_default() += 1;
                match failure.phase {
                    Phase::NotSent | Phase::Refused | Phase::Final => None,
                    Phase::Ambiguous | Phase::Begun | Phase::Delivered => self.row(event).map(begun),
                }
            }
            AttemptResult::Cancelled => self.row(event).map(begun),
        };
        let used = used.unwrap_or_default();
        self.spent_tokens = self.spent_tokens.saturating_add(used);
        if let Some(call) = self.row(event) {
            call.spent_tokens = call.spent_tokens.saturating_add(used);
        }
    }

    fn stream(&mut self, event: &Event, change: impl FnOnce(u64) -> u64) {
        if let Some(call) = self.row(event) {
            call.streamed = change(call.streamed);
        }
    }

    fn begin(&mut self, event: &Event, user: &UserId, prompt_tokens: u64) {
        let Some(id) = event.call else { return };
        let call = CallRow {
            user: user.clone(),
            started_at: event.at,
            prompt_tokens,
            ..CallRow::default()
        };
        self.calls.insert(id, call);
    }

    fn miss(&mut self, event: &Event, nearest: Option<&NearMiss>) {
        self.missed += 1;
        let field = nearest.filter(|nearest| nearest.fields == 1).and_then(|nearest| {
            let diff = nearest.differs.first()?;
            (!diff.is_another_question()).then(|| diff.brief())
        });
        if let Some(field) = &field {
            *self.near_misses.entry(field.clone()).or_default() += 1;
        }
        if let Some(call) = self.row(event) {
            (call.missed, call.near_miss) = (true, field);
        }
    }

    /// The call joined a flight after its lookup.
    fn take_back_miss(&mut self, event: &Event) {
        let Some(call) = self.row(event).filter(|call| call.missed) else {
            return;
        };
        call.missed = false;
        let field = call.near_miss.take();
        self.missed = self.missed.saturating_sub(1);
        if let Some(field) = field
            && let Some(count) = self.near_misses.get_mut(&field)
        {
            *count = count.saturating_sub(1);
            self.near_misses.retain(|_, count| *count > 0);
        }
    }

    fn note_semantic(&mut self, event: &Event, result: SemanticResult) {
        if let Some(call) = self.row(event) {
            call.semantic = result;
        }
    }

    fn row(&mut self, event: &Event) -> Option<&mut CallRow> {
        self.calls.get_mut(&event.call?)
    }
}
