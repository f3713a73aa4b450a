//! What is kept for stories, and for how long.
//!
//! ```text
//!  call #12: started, own marks (cache, flight, label, end)  --+
//!  flight 7: marks of whoever owns it (queue, breaker, tries) --+--> story of #12: its own marks, and those of
//!  call #13 joined flight 7 ------------------------------------+    its flight between joining and leaving
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

use super::step::{Ended, Moved, Refused, Started, What};
use super::{Step, Story, from_event};
use crate::event::{AttemptResult, BreakerState, CallId, Event, EventKind, FlightId, Origin};
use crate::time::Timestamp;

/// Bytes of all that is kept, as far as they are counted: what stands in collections and texts.
pub(super) const MAX_BYTES: usize = 8 << 20;
/// Finished calls kept, chats not counted: as many as `Calls` remembers.
const MAX_FINISHED: usize = 512;
/// Of a chat.
const MAX_CHAT: usize = 50;
/// Marks of a call, and of a flight; the oldest go first.
const MAX_MARKS: usize = 256;
/// Stories given up at one event, at most.
const SWEEP: usize = 8;
/// A stream that brings nothing for so long is told to be silent, if the gap is also four times as long as a chunk
/// has taken on average until then: a slow model is not called silent between its words.
pub const SILENCE: Duration = Duration::from_secs(1);

/// Whose fact it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    /// Of this call alone.
    Call,
    /// Of all who share its flight.
    Flight,
}

/// What stories are made of; see the module documentation.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Why {
    calls: BTreeMap<CallId, Thread>,
    flights: BTreeMap<FlightId, Track>,
    /// Finished calls, in the order in which they ended.
    finished: VecDeque<CallId>,
    finished_chat: VecDeque<CallId>,
    bytes: usize,
    /// Running calls up to this one have lost their steps for want of room.
    swept: Option<CallId>,
    breaker: Breaker,
    scope: Scope,
}

/// Of which calls something is kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
enum Scope {
    /// Of the recent ones.
    #[default]
    Recent,
    /// Of this one, for ever, and of all that run: it may join the flight of any of them.
    One(CallId),
    /// Of all, for ever.
    All,
}

/// What the breaker said last.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Breaker {
    state: BreakerState,
    opened: Option<Moved>,
}

/// What is kept of a call.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Thread {
    at: Timestamp,
    started: Arc<Started>,
    marks: Vec<Mark>,
    /// The flight, and the `seq` with which it joined.
    flight: Option<(FlightId, u64)>,
    /// The `seq` of its end.
    ended: Option<u64>,
    lost: u32,
}

/// What is kept of a flight.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Track {
    /// Calls kept that refer to it.
    calls: u32,
    marks: Vec<Mark>,
    lost: u32,
    /// The `seq` of the last mark that was lost: who joined later misses nothing.
    lost_to: u64,
    /// The attempt in the air, what came of its stream, and when.
    attempt: u32,
    chunks: u32,
    heard: Option<(Timestamp, Timestamp)>,
}

/// A fact of a call.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Mark {
    seq: u64,
    at: Timestamp,
    call: CallId,
    what: What,
}

impl Mark {
    fn new(event: &Event, call: CallId, what: What) -> Self {
        let (seq, at) = (event.seq, event.at);
        Self { seq, at, call, what }
    }

    fn bytes(&self) -> usize {
        size_of::<Self>() + self.what.heap()
    }
}

/// What a call or a flight takes besides its marks.
const THREAD_BYTES: usize = size_of::<Thread>() + size_of::<CallId>();
const TRACK_BYTES: usize = size_of::<Track>() + size_of::<FlightId>();

impl Why {
    /// Keeps the story of one call, however long it is; of the others nothing after their end.
    pub fn of(call: CallId) -> Self {
        let scope = Scope::One(call);
        Self {
            scope,
            ..Self::default()
        }
    }

    /// Keeps the stories of all calls: memory grows with them.
    pub fn of_all() -> Self {
        let scope = Scope::All;
        Self {
            scope,
            ..Self::default()
        }
    }

    /// Bytes kept, about.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// The same, counted anew.
    #[cfg(test)]
    pub(super) fn counted(&self) -> usize {
        let calls = self
            .calls
            .values()
            .map(|thread| thread.base() + bytes_of(&thread.marks));
        let flights = self
            .flights
            .values()
            .map(|track| TRACK_BYTES + bytes_of(&track.marks));
        calls.sum::<usize>() + flights.sum::<usize>()
    }

    /// The story of a call, if anything of it is known.
    pub fn story(&self, id: CallId) -> Option<Story> {
        let thread = self.calls.get(&id)?;
        let track = thread.flight.and_then(|(flight, joined)| {
            let track = self.flights.get(&flight)?;
            Some((track, joined, thread.ended.unwrap_or(u64::MAX)))
        });
        let shared = track.into_iter().flat_map(|(track, joined, ended)| {
            let within = move |mark: &&Mark| mark.seq > joined && mark.seq < ended;
            track.marks.iter().filter(within)
        });
        let mut marks: Vec<&Mark> = thread.marks.iter().chain(shared).collect();
        // stable: a silence and the end that it led to have the same seq
        marks.sort_by_key(|mark| mark.seq);
        let deadline = thread.started.deadline;
        let step = |at: Timestamp, call: CallId, what: What| Step {
            at,
            offset: at.since(thread.at),
            deadline_left: Some(at.until(deadline)),
            of: (call != id).then_some(call),
            what,
        };
        let started = What::Started(thread.started.clone());
        let mut steps = vec![step(thread.at, id, started)];
        steps.extend(
            marks
                .into_iter()
                .map(|mark| step(mark.at, mark.call, mark.what.clone())),
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
            to,
            generation,
            reason,
            window,
            ..
        } = &event.kind
        {
            self.breaker.state = *to;
            if *to == BreakerState::Open {
                self.breaker.opened = Some(Moved {
                    at: event.at,
                    ago: Duration::ZERO,
                    generation: *generation,
                    reason: *reason,
                    window: *window,
                });
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
                self.board(event, id, *flight);
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
            | EventKind::RetryStopped { .. } => self.other(event, id),
        }
    }

    fn start(&mut self, event: &Event, id: CallId) {
        let Some(started) = from_event::start(&event.kind).filter(|_| !self.calls.contains_key(&id)) else {
            return;
        };
        let thread = Thread {
            at: event.at,
            started: Arc::new(started),
            marks: Vec::new(),
            flight: None,
            ended: None,
            lost: 0,
        };
        self.bytes += thread.base();
        self.calls.insert(id, thread);
        self.sweep();
    }

    /// The call goes with a flight, its own or another's.
    fn board(&mut self, event: &Event, id: CallId, flight: FlightId) {
        let Some(thread) = self.calls.get_mut(&id).filter(|thread| thread.ended.is_none()) else {
            return;
        };
        let before = thread.flight.replace((flight, event.seq));
        let track = self.flights.entry(flight).or_insert_with(|| {
            self.bytes += TRACK_BYTES;
            Track::default()
        });
        track.calls += 1;
        if let Some((before, _)) = before {
            self.release(before);
        }
        if let Some((side, what)) = from_event::step(event) {
            self.note(event, id, side, what);
        }
    }

    fn other(&mut self, event: &Event, id: CallId) {
        let Some((side, what)) = from_event::step(event) else {
            return;
        };
        if let EventKind::AttemptStarted { attempt, .. } = &event.kind
            && let Some(track) = self.track(id)
        {
            (track.attempt, track.chunks, track.heard) = (*attempt, 0, None);
        }
        self.note(event, id, side, what);
    }

    fn breaker(&mut self, event: &Event, id: CallId) {
        let Breaker { state, opened } = self.breaker;
        let what = match &event.kind {
            EventKind::BreakerAdmitted {
                generation,
                probe,
                window,
            } => What::BreakerAdmitted {
                generation: *generation,
                probe: *probe,
                state,
                window: *window,
            },
            EventKind::BreakerRefused { until, window } => What::BreakerRefused(Arc::new(Refused {
                probe_in: until.map(|until| event.at.until(until)),
                state,
                window: *window,
                opened: opened.map(|opened| Moved {
                    ago: event.at.since(opened.at),
                    ..opened
                }),
            })),
            _ => return,
        };
        self.note(event, id, Side::Flight, what);
    }

    /// Text came: counted, and told only after a silence.
    fn delta(&mut self, event: &Event, id: CallId, chunks: u32) {
        let Some(track) = self.track(id) else { return };
        let silent = track.silence(event.at);
        let first = track.heard.map_or(event.at, |(first, _)| first);
        track.heard = Some((first, event.at));
        track.chunks = track.chunks.saturating_add(chunks);
        let attempt = track.attempt;
        if let Some(silent) = silent {
            self.note(event, id, Side::Flight, What::AttemptStalled { attempt, silent });
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
            self.note(event, id, Side::Flight, What::AttemptStalled { attempt, silent });
        }
        let ended = Ended {
            attempt,
            took,
            chunks,
            result: result.clone(),
        };
        self.note(event, id, Side::Flight, What::AttemptEnded(Arc::new(ended)));
    }

    fn end(&mut self, event: &Event, id: CallId) {
        let Some(finished) = from_event::end(&event.kind) else {
            return;
        };
        let Some(thread) = self.calls.get(&id).filter(|thread| thread.ended.is_none()) else {
            return;
        };
        let chat = thread.started.origin == Origin::Chat;
        self.note(event, id, Side::Call, What::Finished(Arc::new(finished)));
        if let Some(thread) = self.calls.get_mut(&id) {
            thread.ended = Some(event.seq);
        }
        let (queue, most) = if chat {
            (&mut self.finished_chat, MAX_CHAT)
        } else {
            (&mut self.finished, MAX_FINISHED)
        };
        match self.scope {
            Scope::One(only) if only != id => self.forget(id),
            Scope::One(_) | Scope::All => {}
            Scope::Recent => {
                queue.push_back(id);
                if queue.len() > most
                    && let Some(oldest) = queue.pop_front()
                {
                    self.forget(oldest);
                }
            }
        }
    }

    /// Keeps a fact with the call or with its flight.
    fn note(&mut self, event: &Event, id: CallId, side: Side, what: What) {
        let mark = Mark::new(event, id, what);
        let grown = mark.bytes();
        let most = if self.scope == Scope::Recent {
            MAX_MARKS
        } else {
            usize::MAX
        };
        let shed = match (side, self.flight_of(id)) {
            (Side::Flight, Some(flight)) => match self.flights.get_mut(&flight) {
                Some(track) => {
                    let gone = push(&mut track.marks, mark, most);
                    track.forgets(gone.as_ref());
                    gone
                }
                None => return,
            },
            (Side::Flight | Side::Call, _) => {
                let Some(thread) = self.calls.get_mut(&id) else {
                    return;
                };
                // nothing follows an end but what people say of it
                if thread.ended.is_some() && !matches!(mark.what, What::Labelled(_)) {
                    return;
                }
                let gone = push(&mut thread.marks, mark, most);
                thread.lost += u32::from(gone.is_some());
                gone
            }
        };
        let shed = shed.as_ref().map_or(0, Mark::bytes);
        self.bytes = (self.bytes + grown).saturating_sub(shed);
        self.sweep();
    }

    /// The flight a call belongs to.
    fn flight_of(&self, id: CallId) -> Option<FlightId> {
        self.calls.get(&id)?.flight.map(|(flight, _)| flight)
    }

    fn track(&mut self, id: CallId) -> Option<&mut Track> {
        let flight = self.flight_of(id)?;
        self.flights.get_mut(&flight)
    }

    /// Gives up what goes over the bound: a little at each event, so that no event takes long.
    fn sweep(&mut self) {
        for _ in 0..SWEEP {
            if self.bytes <= MAX_BYTES || self.scope != Scope::Recent {
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

    /// The call loses the steps it has so far.
    fn empty(&mut self, id: CallId) {
        let Some(thread) = self.calls.get_mut(&id) else {
            return;
        };
        let flight = thread.flight.map(|(flight, _)| flight);
        thread.lost = thread.lost.saturating_add(thread.marks.len() as u32);
        let mut shed = bytes_of(&std::mem::take(&mut thread.marks));
        if let Some(track) = flight.and_then(|flight| self.flights.get_mut(&flight)) {
            let marks = std::mem::take(&mut track.marks);
            track.forgets(&marks);
            shed += bytes_of(&marks);
        }
        self.bytes = self.bytes.saturating_sub(shed);
    }

    fn forget(&mut self, id: CallId) {
        let Some(thread) = self.calls.remove(&id) else {
            return;
        };
        let shed = thread.base() + bytes_of(&thread.marks);
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
            let shed = TRACK_BYTES + bytes_of(&track.marks);
            self.flights.remove(&flight);
            self.bytes = self.bytes.saturating_sub(shed);
        }
    }
}

impl Thread {
    fn base(&self) -> usize {
        let Started {
            user,
            prompt,
            fingerprint,
            ..
        } = self.started.as_ref();
        THREAD_BYTES + size_of::<Started>() + user.as_str().len() + prompt.len() + fingerprint.len()
    }
}

impl Track {
    /// These marks are gone.
    fn forgets<'a>(&mut self, marks: impl IntoIterator<Item = &'a Mark>) {
        for mark in marks {
            self.lost = self.lost.saturating_add(1);
            self.lost_to = self.lost_to.max(mark.seq);
        }
    }

    /// How long the stream has been silent, where that is worth telling.
    fn silence(&self, now: Timestamp) -> Option<Duration> {
        let (first, last) = self.heard?;
        let gap = now.since(last);
        if gap < SILENCE {
            return None;
        }
        let each = last.since(first) / self.chunks.max(1);
        (gap >= each * 4).then_some(gap)
    }
}

/// Appends a mark; gives the one that went for it.
fn push(marks: &mut Vec<Mark>, mark: Mark, most: usize) -> Option<Mark> {
    let gone = (marks.len() >= most).then(|| marks.remove(0));
    if marks.len() == marks.capacity() {
        // most calls have few steps, and there may be ten thousand of them
        marks.reserve_exact((marks.len() / 2).max(2));
    }
    marks.push(mark);
    gone
}

fn bytes_of(marks: &[Mark]) -> usize {
    marks.iter().map(Mark::bytes).sum()
}
