//! The caller's handle of a call.

use std::collections::VecDeque;
use std::fmt;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use futures_util::stream::{FusedStream, Stream};
use http::HeaderMap;

use super::answer::{Answer, CallError, Chunk};
use super::flight::{Flight, FlightEnd, Piece};
use super::wire::CacheUse;
use crate::event::CallId;
use crate::time::Clock;

/// Cancellation of a call by its caller.
pub(super) trait Unsubscribe: Send + Sync {
    /// Cancels the call. Its flight continues for the other subscribers.
    fn leave(&self, call: CallId, flight: &Flight);
}

/// The work of a flight that no other call can join: its only reader runs it, which spares a task and its wake-ups.
pub(super) type Work = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Work that its reader runs. Ends it on time while its reader waits for a client that reads slowly.
#[derive(Clone)]
pub(crate) struct SharedWork {
    flight: Arc<Flight>,
    /// `None` once it has ended.
    work: Arc<Mutex<Option<Work>>>,
}

impl SharedWork {
    fn lock(&self) -> MutexGuard<'_, Option<Work>> {
        // work that has panicked is dropped with its connection
        self.work.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs the work as far as it goes.
    pub(crate) fn run(&self, cx: &mut Context<'_>) {
        let mut slot = self.lock();
        if let Some(work) = &mut *slot
            && work.as_mut().poll(cx).is_ready()
        {
            *slot = None;
        }
    }

    /// Waits until the work is to end: by the deadline of its call, or because that was cancelled.
    pub(crate) fn due(&self, clock: Clock) -> impl Future<Output = ()> + Send + use<> {
        let (abandoned, deadline) = (self.flight.abandoned.clone(), self.flight.next_deadline());
        async move {
            tokio::select! {
                () = abandoned.cancelled() => {}
                () = clock.sleep_until(deadline) => {}
            }
        }
    }
}

/// The handle of a call. Read the answer by chunks, with [`CallStream::next`] or as a [`Stream`], or as a whole
/// with [`CallStream::finish`]. Dropping it before the end cancels the call.
///
/// The stream of chunks ends with the call, however that ended; `finish` returns the answer or the error. Once it
/// has ended it returns `None` forever.
#[must_use = "dropping a call cancels it"]
pub struct CallStream {
    call: CallId,
    source: Source,
    cache_use: CacheUse,
    /// Pieces of the body that were read.
    read_wire: usize,
}

enum Source {
    /// Ended at once: from the cache, replayed, or rejected.
    Ended {
        end: Result<Arc<Answer>, CallError>,
        /// The chunks that are not read yet, once one was asked for.
        chunks: Option<VecDeque<Chunk>>,
    },
    Running {
        flight: Arc<Flight>,
        read: usize,
        end: Option<Arc<FlightEnd>>,
        unsubscribe: Arc<dyn Unsubscribe>,
        /// The work, unless a task runs it.
        work: Option<SharedWork>,
    },
}

impl fmt::Debug for CallStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CallStream")
            .field("call", &self.call)
            .finish_non_exhaustive()
    }
}

impl CallStream {
    pub(super) fn ended(call: CallId, end: Result<Arc<Answer>, CallError>, cache_use: CacheUse) -> Self {
        Self {
            call,
            source: Source::Ended { end, chunks: None },
            cache_use,
            read_wire: 0,
        }
    }

    pub(super) fn running(
        call: CallId,
        flight: Arc<Flight>,
        unsubscribe: Arc<dyn Unsubscribe>,
        cache_use: CacheUse,
        work: Option<Work>,
    ) -> Self {
        let work = work.map(|work| SharedWork {
            flight: Arc::clone(&flight),
            work: Arc::new(Mutex::new(Some(work))),
        });
        Self {
            call,
            source: Source::Running {
                flight,
                read: 0,
                end: None,
                unsubscribe,
                work,
            },
            cache_use,
            read_wire: 0,
        }
    }

    /// The work of the flight, if this stream runs it.
    pub(crate) fn work(&self) -> Option<&SharedWork> {
        match &self.source {
            Source::Running { work, .. } => work.as_ref(),
            Source::Ended { .. } => None,
        }
    }

    /// Runs the work of the flight as far as it goes, if this stream has it.
    fn run(&self, cx: &mut Context<'_>) {
        if let Some(work) = self.work() {
            work.run(cx);
        }
    }

    /// The id of the call.
    pub fn call(&self) -> CallId {
        self.call
    }

    /// The response headers of the latest attempt, raw, once they have arrived; `None` for a stored answer.
    pub fn headers(&self) -> Option<Arc<HeaderMap>> {
        match &self.source {
            Source::Ended { .. } => None,
            Source::Running { flight, .. } => flight.lock().headers.clone(),
        }
    }

    /// Waits for the next chunk; returns `None` once the call has ended. Cancel-safe.
    pub async fn next(&mut self) -> Option<Chunk> {
        poll_fn(|cx| Pin::new(&mut *self).poll_next(cx)).await
    }

    /// The use that the call made of the stored answers so far: the semantic cache is asked after the call starts.
    pub fn cache_use(&self) -> CacheUse {
        match (&self.source, self.cache_use) {
            (Source::Running { flight, .. }, CacheUse::Miss(_)) if flight.lock().semantic_hit => {
                CacheUse::Semantic
            }
            (_, cache_use) => cache_use,
        }
    }

    /// Attempts of the flight so far, and the time that it waited for the limiter.
    pub fn attempts(&self) -> (u32, Duration) {
        match &self.source {
            Source::Ended { .. } => (0, Duration::ZERO),
            Source::Running { flight, .. } => {
                let log = flight.lock();
                (log.attempts, log.queued)
            }
        }
    }

    /// The wait after which the guard that rejected the call expects to admit one.
    pub fn retry_in(&self) -> Option<Duration> {
        match &self.source {
            Source::Ended { .. } => None,
            Source::Running { flight, .. } => flight.lock().retry_in,
        }
    }

    /// Waits for the next bytes of the response, with its head; returns `None` once the call has ended, however
    /// that was. Cancel-safe. A call that was not started by [`call_wire`](super::ResilientClient::call_wire) has
    /// none.
    pub async fn next_wire(&mut self) -> Option<Piece> {
        poll_fn(|cx| self.poll_next_wire(cx)).await
    }

    /// See [`next_wire`](Self::next_wire).
    pub fn poll_next_wire(&mut self, cx: &mut Context<'_>) -> Poll<Option<Piece>> {
        let read = self.read_wire;
        // not before what is there was read: a client that reads slowly slows the upstream down
        let is_due = match &self.source {
            Source::Ended { .. } => false,
            Source::Running { flight, .. } => !flight.has_wire(read),
        };
        if is_due {
            self.run(cx);
        }
        let next = match &mut self.source {
            Source::Ended { end, .. } => end.as_ref().ok().and_then(|answer| {
                let wire = answer.wire.as_ref()?;
                Some((Arc::new(wire.head.clone()), wire.body.get(read)?.clone()))
            }),
            Source::Running { end: Some(_), .. } => None,
            Source::Running { flight, end, .. } => match ready!(flight.poll_next_wire(self.call, read, cx)) {
                Ok(next) => Some(next),
                Err(ended) => {
                    *end = Some(ended);
                    None
                }
            },
        };
        self.read_wire += usize::from(next.is_some());
        Poll::Ready(next)
    }

    /// The end of a call whose bytes were all read.
    pub fn end(&self) -> Option<Result<&Answer, &CallError>> {
        match &self.source {
            Source::Ended { end, .. } => Some(end.as_deref()),
            Source::Running { end, .. } => end.as_deref().map(Result::as_ref),
        }
    }

    /// Waits for the end of the call.
    ///
    /// # Errors
    /// If there is no complete answer: the upstream failed, the deadline passed, or a guard rejected the call. The
    /// error keeps the text that was delivered.
    pub async fn finish(mut self) -> Result<Answer, CallError> {
        poll_fn(|cx| self.poll_end(cx)).await
    }

    fn poll_end(&mut self, cx: &mut Context<'_>) -> Poll<FlightEnd> {
        self.run(cx);
        Poll::Ready(match &mut self.source {
            Source::Ended { end, .. } => end.clone().map(Arc::unwrap_or_clone),
            Source::Running { end: Some(end), .. } => end.as_ref().clone(),
            Source::Running { flight, end, .. } => {
                let ended = ready!(flight.poll_end(self.call, cx));
                end.insert(ended).as_ref().clone()
            }
        })
    }
}

impl Stream for CallStream {
    type Item = Chunk;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Chunk>> {
        self.run(cx);
        let call = self.call;
        Poll::Ready(match &mut self.source {
            Source::Ended { chunks, end } => {
                let of_end = || end.as_deref().map(Answer::to_chunks).unwrap_or_default();
                chunks.get_or_insert_with(|| of_end().into()).pop_front()
            }
            Source::Running { end: Some(_), .. } => None,
            Source::Running {
                flight, read, end, ..
            } => match ready!(flight.poll_next(call, *read, cx)) {
                Ok(chunk) => {
                    *read += 1;
                    Some(chunk)
                }
                Err(ended) => {
                    *end = Some(ended);
                    None
                }
            },
        })
    }
}

impl FusedStream for CallStream {
    fn is_terminated(&self) -> bool {
        match &self.source {
            Source::Ended { chunks, end } => chunks.as_ref().map_or(end.is_err(), VecDeque::is_empty),
            Source::Running { end, .. } => end.is_some(),
        }
    }
}

impl Drop for CallStream {
    fn drop(&mut self) {
        let Source::Running {
            flight,
            end,
            unsubscribe,
            work,
            ..
        } = &self.source
        else {
            return;
        };
        if end.is_none() {
            unsubscribe.leave(self.call, flight);
        }
        let unfinished = work.as_ref().and_then(|work| work.lock().take());
        drop(unfinished);
    }
}
