//! A flight: one upstream call, shared by every identical call that arrives while it is in the air.
//!
//! ```text
//!   call ── no flight with its key ──> starts one, owns it
//!   call ── a flight with its key ───> subscribes
//!   owner leaves ──> the oldest subscriber owns it; the upstream call goes on
//!   last one leaves ──> the upstream call is cancelled, everything it holds is released
//!   upstream done ──> cache written, flight removed, subscribers told: in that order
//! ```
//!
//! The flight is a task of its own, not part of any caller: a caller that goes away takes nothing with it
//! (moka, tower-resilience and Go's singleflight each hand the leader's cancellation to its followers).
//! Chunks go to an append-only log that each subscriber reads at its own pace. An error is told to those
//! who wait and then forgotten.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::answer::{Answer, CallError, Chunk};
use super::sync::{Mutex, MutexGuard};
use crate::event::{CallId, Failure, FlightId};
use crate::policy::fingerprint::RequestKey;
use crate::time::Timestamp;

/// What makes two calls identical.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum FlightKey {
    /// The same canonical request of the same user: only where any answer will do (deterministic or opted in).
    Content(RequestKey),
    /// The same idempotency key of the same user.
    Keyed(String, String),
    /// Identical to nothing.
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
}

/// How a flight ended, for those who read its log.
pub(super) type FlightEnd = Result<Answer, CallError>;

/// See the module documentation.
#[derive(Debug)]
pub(super) struct Flight {
    pub(super) id: FlightId,
    pub(super) key: FlightKey,
    /// The fingerprint of the request it carries, for idempotency keys that come with another one.
    pub(super) request_key: RequestKey,
    /// Cancelled when nobody is left.
    pub(super) abandoned: CancellationToken,
    /// A subscriber joined or left: deadlines have changed.
    pub(super) changed: Notify,
    /// The log grew, or the flight ended.
    progress: Notify,
    /// The flight ended for somebody. Apart from the progress: who waits for the end alone sleeps through the tokens.
    landed: Notify,
    log: Mutex<FlightLog>,
}

/// What subscribers read, and who they are. The first one owns the flight.
#[derive(Debug, Default)]
pub(super) struct FlightLog {
    pub(super) chunks: Vec<Chunk>,
    pub(super) bytes: usize,
    pub(super) subscribers: Vec<Subscriber>,
    /// By call, because the owner and the followers are told different fates; with the chunks there were
    /// by then, because a call that is over hears no more.
    ends: BTreeMap<CallId, (usize, Arc<FlightEnd>)>,
    /// Whether the last deadline has passed.
    pub(super) expired: bool,
    /// Whether the machine slept during the current attempt: its outcome says nothing about the upstream.
    pub(super) overslept: bool,
    /// Whether the current attempt has its response headers.
    pub(super) responded: bool,
    /// How the current attempt ended, if neither the upstream nor a caller ended it.
    pub(super) cut_short: Option<Failure>,
    /// The last thing that went wrong: what a caller is told whose deadline passes meanwhile.
    pub(super) last_failure: Option<Failure>,
    /// Attempts made in all.
    pub(super) attempts: u32,
    /// To the first token of the latest attempt that gave one.
    pub(super) first_token_after: Option<Duration>,
}

impl Flight {
    pub(super) fn new(id: FlightId, key: FlightKey, request_key: RequestKey, owner: Subscriber) -> Self {
        Self {
            id,
            key,
            request_key,
            abandoned: CancellationToken::new(),
            changed: Notify::new(),
            progress: Notify::new(),
            landed: Notify::new(),
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
        log.bytes += chunk.len();
        log.chunks.push(chunk);
        drop(log);
        self.progress.notify_waiters();
    }

    /// Whether any text was delivered: from then on no retry is legal.
    pub(super) fn has_delivered(&self) -> bool {
        !self.lock().chunks.is_empty()
    }

    /// Who owns the flight, if anybody is left.
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

    /// The latest deadline: attempts are worth making until then.
    pub(super) fn last_deadline(&self) -> Timestamp {
        self.lock()
            .subscribers
            .iter()
            .map(|one| one.deadline)
            .max()
            .unwrap_or(Timestamp::ZERO)
    }

    /// Tells those who read that there is an end.
    pub(super) fn wake_readers(&self) {
        self.progress.notify_waiters();
        self.landed.notify_waiters();
    }

    /// Waits for the end, past all chunks.
    pub(super) async fn end(&self, call: CallId) -> Arc<FlightEnd> {
        told(&self.landed, || self.lock().end_of(call, usize::MAX)).await
    }

    /// The next chunk after the first `read`, or the end; waits for either.
    pub(super) async fn next(&self, call: CallId, read: usize) -> Result<Chunk, Arc<FlightEnd>> {
        let look = || {
            let log = self.lock();
            let end = log.end_of(call, read).map(Err);
            end.or_else(|| log.chunks.get(read).cloned().map(Ok))
        };
        told(&self.progress, look).await
    }
}

/// Waits until `look` finds something; it looks again after every word of `news`.
async fn told<F>(news: &Notify, look: impl Fn() -> Option<F>) -> F {
    loop {
        let heard = news.notified();
        tokio::pin!(heard);
        // enabled before it is looked, so that nothing is missed in between
        heard.as_mut().enable();
        if let Some(found) = look() {
            return found;
        }
        heard.await;
    }
}

impl FlightLog {
    /// Leaves the end of a call where its reader finds it.
    pub(super) fn put_end(&mut self, call: CallId, end: FlightEnd) {
        self.ends.insert(call, (self.chunks.len(), Arc::new(end)));
    }

    /// The end of a call for a reader that has read so much: a call that is over hears no more.
    fn end_of(&self, call: CallId, read: usize) -> Option<Arc<FlightEnd>> {
        let (chunks, end) = self.ends.get(&call)?;
        (read >= *chunks).then(|| Arc::clone(end))
    }

    /// The text delivered so far.
    pub(super) fn partial_text(&self) -> String {
        let texts = self.chunks.iter().filter_map(|chunk| match chunk {
            Chunk::Text(text) => Some(text.as_str()),
            Chunk::Reasoning(_) | Chunk::ToolCalls(_) => None,
        });
        texts.collect()
    }
}
