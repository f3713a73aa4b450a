//! The fold of events into calls, and the pruning of old ones.
//!
//! Running calls are never pruned. Of the finished ones, the newest 512 stay, and the newest 50 of a
//! chat in any case; a flight stays as long as a call that is remembered refers to it.

use super::counts::of_burst;
use super::{Burst, Call, CallTable, Calls, Doing, Flight, FlightUse};
use crate::event::{AttemptResult, CallId, Event, EventKind, Failure, Fate, FlightId};
use crate::openai::Usage;
use crate::text::SafeText;
use crate::time::Timestamp;

/// Finished calls remembered, chats not counted.
const MAX_FINISHED: usize = 512;
/// Calls of a chat remembered.
const MAX_CHAT: usize = 50;
/// Bursts remembered.
const MAX_BURSTS: usize = 8;
/// Bytes of an answer, and of the thoughts before it.
pub(super) const MAX_TEXT: usize = 64 * 1024;
/// Seconds over which the flow is measured, the present one included.
const FLOW: u64 = 5;

impl Calls {
    pub(in crate::state) fn apply(&mut self, event: &Event) {
        match &event.kind {
            EventKind::BurstStarted { burst, calls } => self.burst_started(event.at, *burst, *calls),
            EventKind::BurstEnded { burst, .. } => {
                if let Some(ended) = self.bursts.iter_mut().rfind(|one| one.burst == *burst) {
                    ended.all_made = true;
                }
            }
            EventKind::SessionStarted { .. }
            | EventKind::PolicyApplied { .. }
            | EventKind::WhatIfEvaluated { .. }
            | EventKind::UpstreamProbed { .. }
            | EventKind::FaultsApplied { .. }
            | EventKind::FaultInjected { .. }
            | EventKind::LoadStarted { .. }
            | EventKind::LoadEnded { .. }
            | EventKind::Suspended { .. }
            | EventKind::Notice { .. }
            | EventKind::GatewayListening { .. }
            | EventKind::TaskPanicked { .. }
            | call_events!()
            | cache_events!()
            | flight_events!()
            | semantic_events!()
            | limit_events!()
            | breaker_events!()
            | attempt_events!() => {
                if let Some(id) = event.call {
                    self.apply_to_call(event, id);
                }
            }
        }
    }

    fn apply_to_call(&mut self, event: &Event, id: CallId) {
        let at = event.at;
        match &event.kind {
            EventKind::CallStarted { .. } => self.started(event, id),
            EventKind::CallEnded {
                fate,
                attempts,
                failure,
                usage,
                ..
            } => {
                if let Some(call) = self.recent.get_mut(&id) {
                    call.attempts = call.attempts.max(*attempts);
                }
                self.ended(at, id, *fate, (failure.as_ref(), *usage));
            }
            EventKind::FlightStarted { flight, .. } => {
                if let Some(flight) = self.refer(id, *flight) {
                    (flight.owner, flight.subscribers) = (id, 1);
                }
            }
            EventKind::FlightJoined {
                flight,
                owner,
                subscribers,
            } => {
                if let Some(flight) = self.refer(id, *flight) {
                    (flight.owner, flight.subscribers) = (*owner, *subscribers);
                }
                self.does(id, Doing::Following { owner: *owner }, at);
            }
            EventKind::FlightHandedOver { flight, from } => self.handed_over(at, id, *flight, *from),
            EventKind::LimitQueued { .. } => self.does(id, Doing::Queued, at),
            EventKind::LimitAdmitted { .. }
            | EventKind::LimitRejected { .. }
            | EventKind::LimitLeft { .. } => self.left_queue(id, at),
            EventKind::StreamDelta {
                text,
                chunks,
                reasoning,
            } => self.delta(at, id, text, (*chunks, *reasoning)),
            EventKind::AttemptStarted { flight, attempt } => {
                self.attempt_started(at, id, *flight, *attempt);
            }
            EventKind::RetryScheduled { at: until, .. } => {
                self.does(id, Doing::BackingOff { until: *until }, at);
            }
            EventKind::AttemptEnded { result, .. } => self.attempt_ended(at, id, result),
            EventKind::AttemptFirstToken { ttft, .. } => {
                if let Some(call) = self.recent.get_mut(&id) {
                    call.ttft = Some(*ttft);
                }
                self.does(id, Doing::Streaming, at);
            }
            session_events!()
            | cache_events!()
            | semantic_events!()
            | EventKind::ResultReplayed { .. }
            | EventKind::LimitSettled { .. }
            | EventKind::LimitHeadChanged { .. }
            | EventKind::LimitPaused { .. }
            | breaker_events!()
            | EventKind::AttemptResponded { .. }
            | EventKind::RetryStopped { .. } => {
                if let Some(call) = self.recent.get_mut(&id) {
                    call.note_facts(&event.kind);
                }
            }
        }
    }

    fn burst_started(&mut self, at: Timestamp, burst: u64, calls: u32) {
        if self.bursts.iter().any(|one| one.burst == burst) {
            return;
        }
        if self.bursts.len() == MAX_BURSTS {
            let oldest = self.bursts.iter().position(Burst::is_done);
            self.bursts.remove(oldest.unwrap_or(0));
        }
        self.bursts.push_back(Burst {
            burst,
            calls,
            started_at: at,
            ..Burst::default()
        });
    }

    fn started(&mut self, event: &Event, id: CallId) {
        let Some(call) = Call::from_start(event, id) else {
            return;
        };
        if self.recent.contains_key(&id) {
            return;
        }
        self.totals.started += 1;
        if let Some(counts) = of_burst(&mut self.bursts, call.origin) {
            counts.started += 1;
        }
        let chat = call.is_chat();
        self.recent.insert(id, call);
        if chat {
            self.chat.push(id);
            self.prune_chat();
        }
    }

    /// Changes the activity of a call, unless it is over or pruned.
    fn does(&mut self, id: CallId, doing: Doing, at: Timestamp) {
        self.moves(id, doing, at, String::new());
    }

    fn moves(&mut self, id: CallId, doing: Doing, at: Timestamp, label: String) {
        let Some(call) = self.recent.get_mut(&id) else {
            return;
        };
        if call.doing == Doing::Ended {
            return;
        }
        self.totals.moved(&call.doing, &doing);
        if let Some(counts) = of_burst(&mut self.bursts, call.origin) {
            counts.moved(&call.doing, &doing);
        }
        call.enter(doing, at, label);
    }

    fn left_queue(&mut self, id: CallId, at: Timestamp) {
        let queued = |call: &Call| call.doing == Doing::Queued;
        if self.recent.get(&id).is_some_and(queued) {
            self.does(id, Doing::Starting, at);
        }
    }

    fn attempt_started(&mut self, at: Timestamp, id: CallId, flight: FlightId, attempt: u32) {
        let Some(flight) = self.refer(id, flight) else {
            return;
        };
        flight.owner = id;
        flight.subscribers = flight.subscribers.max(1);
        if attempt > 1 {
            // another attempt delivers its answer from the beginning
            flight.text = SafeText::default();
            flight.reasoning = SafeText::default();
            flight.chunks = 0;
            (flight.first_text_at, flight.last_text_at) = (None, None);
        }
        if let Some(call) = self.recent.get_mut(&id) {
            call.attempts += 1;
            call.status = None;
        }
        self.does(id, Doing::Waiting, at);
    }

    fn attempt_ended(&mut self, at: Timestamp, id: CallId, result: &AttemptResult) {
        let Some(call) = self.recent.get_mut(&id) else {
            return;
        };
        let label = match result {
            AttemptResult::Succeeded { usage, finish, .. } => {
                call.usage = Some(*usage);
                call.finish = Some(*finish);
                String::new()
            }
            AttemptResult::Failed { failure } => {
                call.failure = Some(failure.clone());
                failure.brief()
            }
            AttemptResult::Cancelled => String::new(),
        };
        self.moves(id, Doing::Starting, at, label);
    }

    fn delta(&mut self, at: Timestamp, id: CallId, text: &SafeText, (chunks, reasoning): (u32, bool)) {
        let Some(call) = self.recent.get(&id) else {
            return;
        };
        let waits = call.doing == Doing::Waiting;
        if let Some(flight) = call.flight.and_then(|flight| self.flights.get_mut(&flight)) {
            let whole = if reasoning {
                &mut flight.reasoning
            } else {
                &mut flight.text
            };
            whole.push_within(text, MAX_TEXT);
            flight.chunks = flight.chunks.saturating_add(chunks);
            flight.first_text_at.get_or_insert(at);
            flight.last_text_at = Some(at);
        }
        if waits {
            self.does(id, Doing::Streaming, at);
        }
    }

    /// The new owner continues the activity of the former one, whether that one has ended already or not.
    fn handed_over(&mut self, at: Timestamp, heir: CallId, flight: FlightId, from: CallId) {
        let Some(shared) = self.refer(heir, flight) else {
            return;
        };
        shared.owner = heir;
        let left_at = self
            .table
            .flights
            .get_mut(&flight)
            .and_then(|record| record.left_at.take());
        let doing = match self.recent.get(&from).map(|call| call.doing) {
            Some(Doing::Ended) | None => left_at.unwrap_or(Doing::Starting),
            Some(doing) => doing,
        };
        self.does(heir, doing, at);
    }

    fn ended(&mut self, at: Timestamp, id: CallId, fate: Fate, end: (Option<&Failure>, Option<Usage>)) {
        let (failure, usage) = end;
        let Some(call) = self.recent.get_mut(&id) else {
            return;
        };
        if call.doing == Doing::Ended {
            return;
        }
        if let Some(flight) = call.flight
            && let Some(shared) = self.flights.get_mut(&flight)
        {
            shared.subscribers = shared.subscribers.saturating_sub(1);
            if shared.owner == id
                && let Some(record) = self.table.flights.get_mut(&flight)
            {
                record.left_at = Some(call.doing);
            }
        }
        call.ended_at = Some(at);
        call.fate = Some(fate);
        call.usage = usage.or(call.usage);
        if let Some(failure) = failure {
            call.failure = Some(failure.clone());
        }
        let (origin, chat) = (call.origin, call.is_chat());
        self.moves(
            id,
            Doing::Ended,
            at,
            failure.map(Failure::brief).unwrap_or_default(),
        );
        self.totals.ended_as(fate);
        if let Some(counts) = of_burst(&mut self.bursts, origin) {
            counts.ended_as(fate);
        }
        self.table.note_end(at, fate);
        if chat {
            self.table.finished_chat.push_back(id);
            self.prune_chat();
        } else {
            self.table.finished.push_back(id);
            if self.table.finished.len() > MAX_FINISHED
                && let Some(oldest) = self.table.finished.pop_front()
            {
                self.forget(oldest);
            }
        }
    }

    /// Assigns the call to this flight only; `None` if the call is unknown.
    fn refer(&mut self, id: CallId, flight: FlightId) -> Option<&mut Flight> {
        let before = self.recent.get_mut(&id)?.flight.replace(flight);
        if before != Some(flight) {
            let unused = FlightUse {
                calls: 0,
                left_at: None,
            };
            self.table.flights.entry(flight).or_insert(unused).calls += 1;
            if let Some(before) = before {
                self.release(before);
            }
        }
        Some(self.flights.entry(flight).or_default())
    }

    fn release(&mut self, flight: FlightId) {
        if let Some(record) = self.table.flights.get_mut(&flight) {
            record.calls = record.calls.saturating_sub(1);
            if record.calls == 0 {
                self.table.flights.remove(&flight);
                self.flights.remove(&flight);
            }
        }
    }

    fn forget(&mut self, id: CallId) {
        if let Some(flight) = self.recent.remove(&id).and_then(|call| call.flight) {
            self.release(flight);
        }
    }

    fn prune_chat(&mut self) {
        while self.chat.len() > MAX_CHAT
            && let Some(oldest) = self.table.finished_chat.pop_front()
        {
            self.chat.retain(|id| *id != oldest);
            self.chat_dropped += 1;
            self.forget(oldest);
        }
    }
}

impl Calls {
    /// End of the last call that ended.
    pub fn last_end(&self) -> Option<Timestamp> {
        [&self.table.finished, &self.table.finished_chat]
            .into_iter()
            .filter_map(|finished| self.recent.get(finished.back()?)?.ended_at)
            .max()
    }
}

impl CallTable {
    fn note_end(&mut self, at: Timestamp, fate: Fate) {
        let answered = match fate {
            Fate::Answered | Fate::Hit | Fate::Shared => 1,
            Fate::RateLimited | Fate::CircuitOpen | Fate::Failed | Fate::Interrupted | Fate::Cancelled => 0,
        };
        let second = at.0 / 1_000_000_000;
        match self.flow.back_mut() {
            Some((last, answers, ends)) if *last == second => {
                *answers += answered;
                *ends += 1;
            }
            Some(_) | None => self.flow.push_back((second, answered, 1)),
        }
        while self
            .flow
            .front()
            .is_some_and(|(first, ..)| first.saturating_add(FLOW) <= second)
        {
            self.flow.pop_front();
        }
    }

    /// Answers per second over the last five seconds (the current one counts partially); `None` if no
    /// call ended in them.
    pub(in crate::state) fn flow_at(&self, now: Timestamp) -> Option<f64> {
        let second = now.0 / 1_000_000_000;
        let (mut answers, mut ends) = (0_u64, 0_u64);
        for (_, answered, ended) in self
            .flow
            .iter()
            .filter(|(at, ..)| at.saturating_add(FLOW) > second)
        {
            answers += u64::from(*answered);
            ends += u64::from(*ended);
        }
        let whole = second.min(FLOW - 1) as f64;
        let part = (now.0 % 1_000_000_000) as f64 / 1e9;
        (ends > 0).then(|| answers as f64 / (whole + part).max(1.0))
    }
}
