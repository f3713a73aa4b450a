//! The caller's handle of a call.

use std::collections::VecDeque;
use std::fmt;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use futures_util::stream::{FusedStream, Stream};
use http::HeaderMap;

use super::answer::{Answer, CallError, Chunk};
use super::flight::{Flight, FlightEnd};
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
    pub(super) fn ended(call: CallId, end: FlightEnd) -> Self {
        let chunks = end.as_ref().map(Answer::to_chunks).unwrap_or_default();
        Self {
            call,
            source: Source::Ended {
                chunks: chunks.into(),
                end: Arc::new(end),
            },
        }
    }

    pub(super) fn running(call: CallId, flight: Arc<Flight>, unsubscribe: Arc<dyn Unsubscribe>) -> Self {
        Self {
            call,
            source: Source::Running {
                flight,
                read: 0,
                end: None,
                unsubscribe,
            },
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
