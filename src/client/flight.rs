//! A flight: one upstream call, shared by every identical call that arrives while it runs.
//!
//! ```text
//!   call ── no flight with its key ──> starts one, owns it
//!   call ── a flight with its key ───> subscribes
//!   owner leaves ──> the oldest subscriber owns it; the upstream call goes on
//!   last one leaves ──> the upstream call is cancelled, everything it holds is released
//!   upstream done ──> cache written, flight removed, subscribers notified: in that order
//! ```
//!
//! A flight that others can join is a task of its own, not part of any caller, so a caller that leaves cancels only
//! itself (moka, tower-resilience and Go's singleflight each pass the leader's cancellation on to its followers). A
//! call of the gateway that no other can join runs its flight itself: see [`SharedWork`](super::SharedWork). Chunks go
//! to an append-only log that each subscriber reads at its own pace. An error goes to the present subscribers and is
//! not stored.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use http::HeaderMap;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::answer::{Answer, CallError, Chunk};
use super::sync::{Mutex, MutexGuard};
use super::wire::{WireHead, WireLog};
use crate::event::{CallId, Failure, FlightId, Origin};
use crate::policy::fingerprint::RequestKey;
use crate::time::Timestamp;

/// The key under which calls share a flight.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum FlightKey {
    /// The same canonical request of the same user, if it is deterministic or its caller opted in.
    Content(RequestKey),
    /// The same idempotency key of the same user.
    Keyed(String, String),
    /// Never shared.
    Alone(CallId),
}

/// A call that waits for the flight's answer.
#[derive(Clone, Debug)]
pub(super) struct Subscriber {
    pub(super) call: CallId,
    pub(super) started_at: Timestamp,
    pub(super) deadline: Timestamp,
    /// Attempts made while it owned the flight.
    pub(super) attempts: u32,
    pub(super) origin: Origin,
}

/// The end of a flight, as its subscribers read it.
pub(super) type FlightEnd = Result<Answer, CallError>;

/// A piece of the body, with the head of the response.
pub(super) type Piece = (Arc<WireHead>, Bytes);

/// See the module documentation.
#[derive(Debug)]
pub(super) struct Flight {
    pub(super) id: FlightId,
    pub(super) key: FlightKey,
    /// The request that it carries: an idempotency key with another request is rejected.
    pub(super) request_key: RequestKey,
    /// Cancelled when the last subscriber has left, or the client is closed.
    pub(super) abandoned: CancellationToken,
    /// A subscriber joined or left: deadlines have changed.
    pub(super) changed: Notify,
    log: Mutex<FlightLog>,
}

/// The subscribers of a flight and what they read. The first one owns the flight.
#[derive(Debug, Default)]
pub(super) struct FlightLog {
    pub(super) chunks: Vec<Chunk>,
    pub(super) subscribers: Vec<Subscriber>,
    /// By call, because owner and followers have different fates; with the number of chunks and of pieces of the
    /// body at that time, because a call that has ended gets no more.
    ends: BTreeMap<CallId, (usize, usize, Arc<FlightEnd>)>,
    /// The response, for calls whose bytes pass unchanged.
    pub(super) wire: WireLog,
    /// Readers that wait for the next chunk or the end. Under the lock of the log, so that no wake-up is missed.
    chunk_readers: BTreeMap<CallId, Waker>,
    /// Readers that wait for the next bytes or the end.
    wire_readers: BTreeMap<CallId, Waker>,
    /// Readers that wait for the end alone, which no token wakes.
    end_readers: BTreeMap<CallId, Waker>,
    /// True if the semantic cache answered.
    pub(super) semantic_hit: bool,
    /// True once the last deadline has passed.
    pub(super) expired: bool,
    /// True if the machine slept during the current attempt: its result says nothing about the upstream.
    pub(super) overslept: bool,
    /// The failure of the latest attempt, quoted in the error of a call whose deadline passes.
    pub(super) last_failure: Option<Failure>,
    /// Attempts begun so far.
    pub(super) attempts: u32,
    /// The wait that a guard forecast when it rejected the flight.
    pub(super) retry_in: Option<Duration>,
    /// Time that it waited for the limiter.
    pub(super) queued: Duration,
    /// The response headers of the latest attempt.
    pub(super) headers: Option<Arc<HeaderMap>>,
}

impl Flight {
    /// A flight with one subscriber. `closed` is the client's: cancelling it abandons the flight.
    pub(super) fn new(
        id: FlightId,
        key: FlightKey,
        request_key: RequestKey,
        owner: Subscriber,
        closed: &CancellationToken,
    ) -> Self {
        Self {
            id,
            key,
            request_key,
            abandoned: closed.child_token(),
            changed: Notify::new(),
            log: Mutex::new(FlightLog {
                subscribers: vec![owner],
                ..FlightLog::default()
            }),
        }
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, FlightLog> {
        // a panic while the log was locked has left it whole: every change is a single push
        self.log.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Appends to the log and wakes its readers.
    pub(super) fn append(&self, chunk: Chunk) {
        let mut log = self.lock();
        log.chunks.push(chunk);
        let readers = std::mem::take(&mut log.chunk_readers);
        drop(log);
        readers.into_values().for_each(Waker::wake);
    }

    /// Passes bytes of a response on and wakes the readers.
    pub(super) fn append_wire(&self, head: &Arc<WireHead>, bytes: Bytes) {
        let mut log = self.lock();
        log.wire.head.get_or_insert_with(|| Arc::clone(head));
        log.wire.body.push(bytes);
        let readers = std::mem::take(&mut log.wire_readers);
        drop(log);
        readers.into_values().for_each(Waker::wake);
    }

    /// Returns true if any text was delivered: from then on no retry is legal.
    pub(super) fn has_delivered(&self) -> bool {
        let log = self.lock();
        !log.chunks.is_empty() || log.wire.head.is_some()
    }

    /// The owner; `None` once the last subscriber has gone.
    pub(super) fn owner(&self) -> Option<CallId> {
        self.lock().subscribers.first().map(|one| one.call)
    }

    /// The earliest deadline of a subscriber.
    pub(super) fn next_deadline(&self) -> Timestamp {
        self.lock()
            .subscribers
            .iter()
            .map(|one| one.deadline)
            .min()
            .unwrap_or(Timestamp::MAX)
    }

    /// The latest deadline of a subscriber, up to which attempts are made.
    pub(super) fn last_deadline(&self) -> Timestamp {
        self.lock()
            .subscribers
            .iter()
            .map(|one| one.deadline)
            .max()
            .unwrap_or(Timestamp::ZERO)
    }

    /// Wakes all readers.
    pub(super) fn wake_readers(&self) {
        let mut log = self.lock();
        let of_chunks = std::mem::take(&mut log.chunk_readers);
        let of_bytes = std::mem::take(&mut log.wire_readers);
        let of_the_end = std::mem::take(&mut log.end_readers);
        drop(log);
        of_chunks
            .into_values()
            .chain(of_bytes.into_values())
            .chain(of_the_end.into_values())
            .for_each(Waker::wake);
    }

    /// The end, past all chunks.
    pub(super) fn poll_end(&self, call: CallId, cx: &Context<'_>) -> Poll<Arc<FlightEnd>> {
        let mut log = self.lock();
        if let Some(end) = log.end_of(call, usize::MAX) {
            return Poll::Ready(end);
        }
        let earlier = log.end_readers.insert(call, cx.waker().clone());
        // unlocked first: the last reference to a task may be its waker, and its drop may leave this flight
        drop(log);
        drop(earlier);
        Poll::Pending
    }

    /// The next chunk after the first `read`, or the end.
    pub(super) fn poll_next(
        &self,
        call: CallId,
        read: usize,
        cx: &Context<'_>,
    ) -> Poll<Result<Chunk, Arc<FlightEnd>>> {
        let mut log = self.lock();
        let end = log.end_of(call, read).map(Err);
        if let Some(found) = end.or_else(|| log.chunks.get(read).cloned().map(Ok)) {
            return Poll::Ready(found);
        }
        let earlier = log.chunk_readers.insert(call, cx.waker().clone());
        drop(log);
        drop(earlier);
        Poll::Pending
    }
}

impl Flight {
    /// Returns true if there are more than the first `read` pieces of the body.
    pub(super) fn has_wire(&self, read: usize) -> bool {
        self.lock().wire.body.len() > read
    }

    /// The next piece of the body after the first `read`, with the head of the response, or the end.
    pub(super) fn poll_next_wire(
        &self,
        call: CallId,
        read: usize,
        cx: &Context<'_>,
    ) -> Poll<Result<Piece, Arc<FlightEnd>>> {
        let mut log = self.lock();
        if let Some((_, pieces, end)) = log.ends.get(&call)
            && read >= *pieces
        {
            return Poll::Ready(Err(Arc::clone(end)));
        }
        if let (Some(head), Some(piece)) = (&log.wire.head, log.wire.body.get(read)) {
            return Poll::Ready(Ok((Arc::clone(head), piece.clone())));
        }
        let earlier = log.wire_readers.insert(call, cx.waker().clone());
        drop(log);
        drop(earlier);
        Poll::Pending
    }
}

impl FlightLog {
    /// Stores the end of a call for its reader.
    pub(super) fn put_end(&mut self, call: CallId, end: FlightEnd) {
        let (chunks, pieces) = (self.chunks.len(), self.wire.body.len());
        self.ends.insert(call, (chunks, pieces, Arc::new(end)));
    }

    /// The end of a call for a reader of `read` chunks, once it has read all that came before the end.
    fn end_of(&self, call: CallId, read: usize) -> Option<Arc<FlightEnd>> {
        let (chunks, _, end) = self.ends.get(&call)?;
        (read >= *chunks).then(|| Arc::clone(end))
    }

    /// The text delivered so far.
    pub(super) fn partial_text(&self) -> String {
        let texts = self.chunks.iter().filter_map(|chunk| match chunk {
            Chunk::Text(text) | Chunk::Refusal(text) => Some(text.as_str()),
            Chunk::Reasoning(_) | Chunk::ToolCalls(_) => None,
        });
        texts.collect()
    }
}
