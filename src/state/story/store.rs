//! Storage of the steps of stories, with bounds.
//!
//! ```text
//!  call #12: started, own steps (cache, flight, label, end)  ---+
//!  flight 7: steps of its owner (queue, breaker, attempts) --+--> story of #12: its own steps, and those of
//!  call #13 joined flight 7 ---------------------------------+     its flight between joining and leaving
//! ```
//!
//! Bounded like the calls themselves: all that run, the last 512 that are over, and 50 of a chat. And in bytes:
//! at most [`MAX_BYTES`] in all. Beyond that the oldest finished stories go, and where only running calls are
//! left, those that began first lose the steps they have so far (the story says how many are missing). 10,000
//! calls in the queue take about 7 MB, so that this is rare.
//!
//! Text of an answer is never kept: of a stream only how many chunks came, and each silence.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::step::{BreakerOpening, Ended, Refused, Started, StepKind};
use super::{Step, Story, from_event};
use crate::event::{
    AttemptResult, BreakerState, CallId, Event, EventKind, FlightId, MAX_MODELS, ModelName, MoveReason,
    Origin,
};
use crate::time::Timestamp;

/// Limit of the stored bytes, as counted: collections and texts.
pub(super) const MAX_BYTES: usize = 8 << 20;
/// Finished calls kept, chats not counted: as many as `Calls` remembers.
const MAX_FINISHED: usize = 512;
/// Chat calls kept.
const MAX_CHAT: usize = 50;
/// Steps of a call, and of a flight; the oldest are dropped first.
const MAX_STEPS: usize = 256;
/// Stories dropped per event, at most.
const SWEEP: usize = 8;
/// A stream counts as silent after this gap, if the gap is also four times the mean time per chunk
/// until then: a slow model is not silent between its words.
pub const SILENCE: Duration = Duration::from_secs(1);

/// The owner of a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum StepScope {
    /// This call alone.
    Call,
    /// All calls that share the flight.
    Flight,
}

/// The steps of all stories; see the module documentation.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct StoryStore {
    calls: BTreeMap<CallId, CallRecord>,
    flights: BTreeMap<FlightId, FlightRecord>,
    /// Finished calls, in the order in which they ended.
    finished: VecDeque<CallId>,
    finished_chat: VecDeque<CallId>,
    bytes: usize,
    /// Running calls up to this one have lost their steps to the limit.
    swept: Option<CallId>,
    /// Those of the models that were called, and the one that others share; at most [`MAX_MODELS`] and one. The one
    /// that moved last is the last.
    breakers: Vec<Breaker>,
    scope: Retention,
}

/// The calls whose steps are kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
enum Retention {
    /// Recent calls.
    #[default]
    Recent,
    /// This call, without limit, and all running calls: it may join the flight of any.
    One(CallId),
    /// All calls, without limit.
    All,
}

/// The last transition of the breaker of a model.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Breaker {
    model: Option<ModelName>,
    state: BreakerState,
    opened: Option<BreakerOpening>,
}

/// The steps of a call.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct CallRecord {
    at: Timestamp,
    started: Arc<Started>,
    steps: Vec<StoredStep>,
    /// The flight, and the `seq` with which it joined.
    flight: Option<(FlightId, u64)>,
    /// The `seq` of its end.
    ended: Option<u64>,
    lost: u32,
}

/// The steps of a flight.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct FlightRecord {
    /// Calls kept that refer to it.
    calls: u32,
    steps: Vec<StoredStep>,
    lost: u32,
    /// The `seq` of the last dropped step: calls that joined later miss nothing.
    lost_to: u64,
    /// The running attempt, its chunks, and the times of the first and the last one.
    attempt: u32,
    chunks: u32,
    chunk_times: Option<(Timestamp, Timestamp)>,
}

/// A stored step.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct StoredStep {
    seq: u64,
    at: Timestamp,
    call: CallId,
    kind: StepKind,
}

impl StoredStep {
    fn new(event: &Event, call: CallId, kind: StepKind) -> Self {
        let (seq, at) = (event.seq, event.at);
        Self { seq, at, call, kind }
    }

    fn bytes(&self) -> usize {
        size_of::<Self>() + self.kind.heap()
    }
}

/// Bytes of a call or a flight without its steps.
const CALL_BYTES: usize = size_of::<CallRecord>() + size_of::<CallId>();
const FLIGHT_BYTES: usize = size_of::<FlightRecord>() + size_of::<FlightId>();

impl StoryStore {
    /// Keeps the whole story of one call, and of other calls until they end.
    pub fn for_call(call: CallId) -> Self {
        let scope = Retention::One(call);
        Self {
            scope,
            ..Self::default()
        }
    }

    /// Keeps the stories of all calls; memory is unbounded.
    pub fn for_all_calls() -> Self {
        let scope = Retention::All;
        Self {
            scope,
            ..Self::default()
        }
    }

    /// Stored bytes, approximately.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// The same, recounted.
    #[cfg(test)]
    pub(super) fn counted(&self) -> usize {
        let calls = self
            .calls
            .values()
            .map(|thread| thread.base() + bytes_of(&thread.steps));
        let flights = self
            .flights
            .values()
            .map(|track| FLIGHT_BYTES + bytes_of(&track.steps));
        calls.sum::<usize>() + flights.sum::<usize>()
    }

    /// The story of a call, if known.
    pub fn story(&self, id: CallId) -> Option<Story> {
        let thread = self.calls.get(&id)?;
        let track = thread.flight.and_then(|(flight, joined)| {
            let track = self.flights.get(&flight)?;
            Some((track, joined, thread.ended.unwrap_or(u64::MAX)))
        });
        let shared = track.into_iter().flat_map(|(track, joined, ended)| {
            let within = move |step: &&StoredStep| step.seq > joined && step.seq < ended;
            track.steps.iter().filter(within)
        });
        let mut stored: Vec<&StoredStep> = thread.steps.iter().chain(shared).collect();
        // stable: a silence and the end that it led to have the same seq
        stored.sort_by_key(|step| step.seq);
        let deadline = thread.started.deadline;
        let new_step = |at: Timestamp, call: CallId, kind: StepKind| Step {
            at,
            offset: at.since(thread.at),
            deadline_left: Some(at.until(deadline)),
            flight_owner: (call != id).then_some(call),
            kind,
        };
        let started = StepKind::Started(thread.started.clone());
        let mut steps = vec![new_step(thread.at, id, started)];
        steps.extend(
            stored
                .into_iter()
                .map(|step| new_step(step.at, step.call, step.kind.clone())),
        );
        let shared = track.map_or(
            0,
            |(track, joined, _)| if joined < track.lost_to { track.lost } else { 0 },
        );
        Some(Story {
            call: id,
            steps,
            lost: thread.lost.saturating_add(shared),
        })
    }

    /// Folds one event in.
    pub fn apply(&mut self, event: &Event) {
        if let EventKind::BreakerMoved {
            model,
            to,
            generation,
            reason,
            window,
            ..
        } = &event.kind
        {
            let mut breaker = self.take_breaker(model.as_ref());
            breaker.state = *to;
            if *to == BreakerState::Open {
                breaker.opened = Some(BreakerOpening {
                    at: event.at,
                    ago: Duration::ZERO,
                    generation: *generation,
                    reason: *reason,
                    window: *window,
                });
            }
            if *reason != MoveReason::Unused {
                self.breakers.push(breaker);
            }
            return;
        }
        let Some(id) = event.call else {
            return;
        };
        match &event.kind {
            EventKind::StreamDelta { chunks, .. } => self.delta(event, id, *chunks),
            EventKind::CallStarted { .. } => self.start(event, id),
            EventKind::CallEnded { .. } => self.end(event, id),
            EventKind::FlightStarted { flight, .. } | EventKind::FlightJoined { flight, .. } => {
                self.join_flight(event, id, *flight);
            }
            EventKind::AttemptEnded {
                attempt,
                result,
                took,
            } => {
                self.attempt_ended(event, id, (*attempt, *took, result));
            }
            EventKind::BreakerAdmitted { .. } | EventKind::BreakerRefused { .. } => self.breaker(event, id),
            session_events!()
            | cache_events!()
            | semantic_events!()
            | EventKind::FlightHandedOver { .. }
            | EventKind::ResultReplayed { .. }
            | limit_events!()
            | EventKind::BreakerRecorded { .. }
            | EventKind::BreakerMoved { .. }
            | EventKind::BreakerForced { .. }
            | EventKind::AttemptStarted { .. }
            | EventKind::AttemptResponded { .. }
            | EventKind::AttemptFirstToken { .. }
            | EventKind::RetryScheduled { .. }
            | EventKind::RetryStopped { .. } => self.apply_step(event, id),
        }
    }

    fn start(&mut self, event: &Event, id: CallId) {
        let Some(started) = from_event::start(&event.kind).filter(|_| !self.calls.contains_key(&id)) else {
            return;
        };
        let thread = CallRecord {
            at: event.at,
            started: Arc::new(started),
            steps: Vec::new(),
            flight: None,
            ended: None,
            lost: 0,
        };
        self.bytes += thread.base();
        self.calls.insert(id, thread);
        self.sweep();
    }

    /// Assigns the call to a flight, its own or another one.
    fn join_flight(&mut self, event: &Event, id: CallId, flight: FlightId) {
        let Some(thread) = self.calls.get_mut(&id).filter(|thread| thread.ended.is_none()) else {
            return;
        };
        let before = thread.flight.replace((flight, event.seq));
        let track = self.flights.entry(flight).or_insert_with(|| {
            self.bytes += FLIGHT_BYTES;
            FlightRecord::default()
        });
        track.calls += 1;
        if let Some((before, _)) = before {
            self.release(before);
        }
        if let Some((side, kind)) = from_event::step(event) {
            self.note(event, id, side, kind);
        }
    }

    fn apply_step(&mut self, event: &Event, id: CallId) {
        let Some((side, kind)) = from_event::step(event) else {
            return;
        };
        if let EventKind::AttemptStarted { attempt, .. } = &event.kind
            && let Some(track) = self.track(id)
        {
            (track.attempt, track.chunks, track.chunk_times) = (*attempt, 0, None);
        }
        self.note(event, id, side, kind);
    }

    /// Takes the breaker of a model out, to be put back.
    fn take_breaker(&mut self, model: Option<&ModelName>) -> Breaker {
        let known = self.breakers.iter().position(|one| one.model.as_ref() == model);
        if let Some(place) = known {
            return self.breakers.remove(place);
        }
        if self.breakers.len() > MAX_MODELS {
            self.breakers.remove(0);
        }
        Breaker {
            model: model.cloned(),
            ..Breaker::default()
        }
    }

    /// The breaker of a model as it is, remembered from now on.
    fn breaker_of(&mut self, model: Option<&ModelName>) -> Breaker {
        let known = self.breakers.iter().find(|one| one.model.as_ref() == model);
        known.cloned().unwrap_or_else(|| {
            let new = self.take_breaker(model);
            self.breakers.push(new.clone());
            new
        })
    }

    fn breaker(&mut self, event: &Event, id: CallId) {
        let kind = match &event.kind {
            EventKind::BreakerAdmitted {
                model,
                generation,
                probe,
                window,
            } => StepKind::BreakerAdmitted {
                generation: *generation,
                probe: *probe,
                state: self.breaker_of(model.as_ref()).state,
                window: *window,
            },
            EventKind::BreakerRefused { model, until, window } => {
                let Breaker { state, opened, .. } = self.breaker_of(model.as_ref());
                let are_several = self.breakers.len() > 1;
                StepKind::BreakerRefused(Arc::new(Refused {
                    // where all calls have the same model its name says nothing
                    model: model.clone().filter(|_| are_several),
                    probe_in: until.map(|until| event.at.until(until)),
                    state,
                    window: *window,
                    opened: opened.map(|opened| BreakerOpening {
                        ago: event.at.since(opened.at),
                        ..opened
                    }),
                }))
            }
            _ => return,
        };
        self.note(event, id, StepScope::Flight, kind);
    }

    /// Counts chunks; stores a step only after a silence.
    fn delta(&mut self, event: &Event, id: CallId, chunks: u32) {
        let Some(track) = self.track(id) else { return };
        let silent = track.silence(event.at);
        let first = track.chunk_times.map_or(event.at, |(first, _)| first);
        track.chunk_times = Some((first, event.at));
        track.chunks = track.chunks.saturating_add(chunks);
        let attempt = track.attempt;
        if let Some(silent) = silent {
            self.note(
                event,
                id,
                StepScope::Flight,
                StepKind::AttemptStalled { attempt, silent },
            );
        }
    }

    fn attempt_ended(
        &mut self,
        event: &Event,
        id: CallId,
        (attempt, took, result): (u32, Duration, &AttemptResult),
    ) {
        let (silent, chunks) = self
            .track(id)
            .map_or((None, 0), |track| (track.silence(event.at), track.chunks));
        if let Some(silent) = silent {
            self.note(
                event,
                id,
                StepScope::Flight,
                StepKind::AttemptStalled { attempt, silent },
            );
        }
        let ended = Ended {
            attempt,
            took,
            chunks,
            result: result.clone(),
        };
        self.note(
            event,
            id,
            StepScope::Flight,
            StepKind::AttemptEnded(Arc::new(ended)),
        );
    }

    fn end(&mut self, event: &Event, id: CallId) {
        let Some(finished) = from_event::end(&event.kind) else {
            return;
        };
        let Some(thread) = self.calls.get(&id).filter(|thread| thread.ended.is_none()) else {
            return;
        };
        let chat = thread.started.origin == Origin::Chat;
        self.note(event, id, StepScope::Call, StepKind::Finished(Arc::new(finished)));
        if let Some(thread) = self.calls.get_mut(&id) {
            thread.ended = Some(event.seq);
        }
        let (queue, most) = if chat {
            (&mut self.finished_chat, MAX_CHAT)
        } else {
            (&mut self.finished, MAX_FINISHED)
        };
        match self.scope {
            Retention::One(only) if only != id => self.forget(id),
            Retention::One(_) | Retention::All => {}
            Retention::Recent => {
                queue.push_back(id);
                if queue.len() > most
                    && let Some(oldest) = queue.pop_front()
                {
                    self.forget(oldest);
                }
            }
        }
    }

    /// Stores a step with the call or its flight.
    fn note(&mut self, event: &Event, id: CallId, side: StepScope, kind: StepKind) {
        let step = StoredStep::new(event, id, kind);
        let grown = step.bytes();
        let most = if self.scope == Retention::Recent {
            MAX_STEPS
        } else {
            usize::MAX
        };
        let shed = match (side, self.flight_of(id)) {
            (StepScope::Flight, Some(flight)) => match self.flights.get_mut(&flight) {
                Some(track) => {
                    let gone = push(&mut track.steps, step, most);
                    track.forgets(gone.as_ref());
                    gone
                }
                None => return,
            },
            (StepScope::Flight | StepScope::Call, _) => {
                let Some(thread) = self.calls.get_mut(&id) else {
                    return;
                };
                // only labels follow an end
                if thread.ended.is_some() && !matches!(step.kind, StepKind::Labelled(_)) {
                    return;
                }
                let gone = push(&mut thread.steps, step, most);
                thread.lost += u32::from(gone.is_some());
                gone
            }
        };
        let shed = shed.as_ref().map_or(0, StoredStep::bytes);
        self.bytes = (self.bytes + grown).saturating_sub(shed);
        self.sweep();
    }

    /// The flight a call belongs to.
    fn flight_of(&self, id: CallId) -> Option<FlightId> {
        self.calls.get(&id)?.flight.map(|(flight, _)| flight)
    }

    fn track(&mut self, id: CallId) -> Option<&mut FlightRecord> {
        let flight = self.flight_of(id)?;
        self.flights.get_mut(&flight)
    }

    /// Drops steps beyond the limit, a few per event, so that no event takes long.
    fn sweep(&mut self) {
        for _ in 0..SWEEP {
            if self.bytes <= MAX_BYTES || self.scope != Retention::Recent {
                return;
            }
            let oldest = self
                .finished
                .pop_front()
                .or_else(|| self.finished_chat.pop_front());
            if let Some(oldest) = oldest {
                self.forget(oldest);
                continue;
            }
            let from = self
                .swept
                .map_or(CallId(0), |swept| CallId(swept.0.saturating_add(1)));
            // once around: what the first ones have gathered since then is next
            self.swept = self.calls.range(from..).next().map(|(id, _)| *id);
            if let Some(next) = self.swept {
                self.empty(next);
            }
        }
    }

    /// Drops the steps of a call so far.
    fn empty(&mut self, id: CallId) {
        let Some(thread) = self.calls.get_mut(&id) else {
            return;
        };
        let flight = thread.flight.map(|(flight, _)| flight);
        thread.lost = thread.lost.saturating_add(thread.steps.len() as u32);
        let mut shed = bytes_of(&std::mem::take(&mut thread.steps));
        if let Some(track) = flight.and_then(|flight| self.flights.get_mut(&flight)) {
            let steps = std::mem::take(&mut track.steps);
            track.forgets(&steps);
            shed += bytes_of(&steps);
        }
        self.bytes = self.bytes.saturating_sub(shed);
    }

    fn forget(&mut self, id: CallId) {
        let Some(thread) = self.calls.remove(&id) else {
            return;
        };
        let shed = thread.base() + bytes_of(&thread.steps);
        self.bytes = self.bytes.saturating_sub(shed);
        if let Some((flight, _)) = thread.flight {
            self.release(flight);
        }
    }

    fn release(&mut self, flight: FlightId) {
        let Some(track) = self.flights.get_mut(&flight) else {
            return;
        };
        track.calls = track.calls.saturating_sub(1);
        if track.calls == 0 {
            let shed = FLIGHT_BYTES + bytes_of(&track.steps);
            self.flights.remove(&flight);
            self.bytes = self.bytes.saturating_sub(shed);
        }
    }
}

impl CallRecord {
    fn base(&self) -> usize {
        let Started {
            user,
            prompt,
            fingerprint,
            ..
        } = self.started.as_ref();
        CALL_BYTES + size_of::<Started>() + user.as_str().len() + prompt.len() + fingerprint.len()
    }
}

impl FlightRecord {
    /// Records dropped steps.
    fn forgets<'a>(&mut self, steps: impl IntoIterator<Item = &'a StoredStep>) {
        for step in steps {
            self.lost = self.lost.saturating_add(1);
            self.lost_to = self.lost_to.max(step.seq);
        }
    }

    /// Length of the current silence, if it counts as one.
    fn silence(&self, now: Timestamp) -> Option<Duration> {
        let (first, last) = self.chunk_times?;
        let gap = now.since(last);
        if gap < SILENCE {
            return None;
        }
        let each = last.since(first) / self.chunks.max(1);
        (gap >= each * 4).then_some(gap)
    }
}

/// Appends a step; returns the one dropped for it.
fn push(steps: &mut Vec<StoredStep>, step: StoredStep, most: usize) -> Option<StoredStep> {
    let gone = (steps.len() >= most).then(|| steps.remove(0));
    if steps.len() == steps.capacity() {
        // most calls have few steps, and there may be ten thousand of them
        steps.reserve_exact(steps.len().max(2));
    }
    steps.push(step);
    gone
}

fn bytes_of(steps: &[StoredStep]) -> usize {
    steps.iter().map(StoredStep::bytes).sum()
}
