//! The caller's handle of a call.

use std::collections::VecDeque;
use std::fmt;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use futures_util::stream::{FusedStream, Stream};
use http::HeaderMap;

use super::answer::{Answer, CallError, Chunk};
use super::flight::{Flight, FlightEnd, Piece};
use super::wire::CacheUse;
use crate::event::CallId;

/// Cancellation of a call by its caller.
pub(super) trait Unsubscribe: Send + Sync {
    /// Cancels the call. Its flight continues for the other subscribers.
    fn leave(&self, call: CallId, flight: &Flight);
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
        chunks: VecDeque<Chunk>,
        end: Arc<FlightEnd>,
    },
    Running {
        flight: Arc<Flight>,
        read: usize,
        end: Option<Arc<FlightEnd>>,
        unsubscribe: Arc<dyn Unsubscribe>,
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
    pub(super) fn ended(call: CallId, end: FlightEnd, cache_use: CacheUse) -> Self {
        let chunks = end.as_ref().map(Answer::to_chunks).unwrap_or_default();
        Self {
            call,
            source: Source::Ended {
                chunks: chunks.into(),
                end: Arc::new(end),
            },
            cache_use,
            read_wire: 0,
        }
    }

    pub(super) fn running(
        call: CallId,
        flight: Arc<Flight>,
        unsubscribe: Arc<dyn Unsubscribe>,
        cache_use: CacheUse,
    ) -> Self {
        Self {
            call,
            source: Source::Running {
                flight,
                read: 0,
                end: None,
                unsubscribe,
            },
            cache_use,
            read_wire: 0,
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
    pub fn poll_next_wire(&mut self, cx: &Context<'_>) -> Poll<Option<Piece>> {
        let read = self.read_wire;
        let next = match &mut self.source {
            Source::Ended { end, .. } => end.as_ref().as_ref().ok().and_then(|answer| {
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
    pub fn end(&self) -> Option<&Result<Answer, CallError>> {
        match &self.source {
            Source::Ended { end, .. } => Some(end),
            Source::Running { end, .. } => end.as_deref(),
        }
    }

    /// Waits for the end of the call.
    ///
    /// # Errors
    /// If there is no complete answer: the upstream failed, the deadline passed, or a guard rejected the call. The
    /// error keeps the text that was delivered.
    pub async fn finish(mut self) -> Result<Answer, CallError> {
        let end = match &mut self.source {
            Source::Ended { end, .. } | Source::Running { end: Some(end), .. } => Arc::clone(end),
            Source::Running { flight, end, .. } => {
                let ended = poll_fn(|cx| flight.poll_end(self.call, cx)).await;
                Arc::clone(end.insert(ended))
            }
        };
        end.as_ref().clone()
    }
}

impl Stream for CallStream {
    type Item = Chunk;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Chunk>> {
        let call = self.call;
        Poll::Ready(match &mut self.source {
            Source::Ended { chunks, .. } => chunks.pop_front(),
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
            Source::Ended { chunks, .. } => chunks.is_empty(),
            Source::Running { end, .. } => end.is_some(),
        }
    }
}

impl Drop for CallStream {
    fn drop(&mut self) {
        if let Source::Running {
            flight,
            end: None,
            unsubscribe,
            ..
        } = &self.source
        {
            unsubscribe.leave(self.call, flight);
        }
    }
}
