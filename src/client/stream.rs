//! The caller's handle of a call.

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;

use super::answer::{Answer, CallError, Chunk};
use super::flight::{Flight, FlightEnd};
use crate::event::CallId;

/// Cancellation of a call by its caller.
pub(super) trait Unsubscribe: Send + Sync {
    /// Cancels the call. Its flight continues for the other subscribers.
    fn leave(&self, call: CallId, flight: &Flight);
}

/// The handle of a call. Read the answer by chunks with [`CallStream::next`], or as a whole with
/// [`CallStream::finish`]. Dropping it before the end cancels the call.
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

    /// Waits for the next chunk; returns `None` once the call has ended. Cancel-safe.
    pub async fn next(&mut self) -> Option<Chunk> {
        match &mut self.source {
            Source::Ended { chunks, .. } => chunks.pop_front(),
            Source::Running { end: Some(_), .. } => None,
            Source::Running {
                flight, read, end, ..
            } => match flight.next(self.call, *read).await {
                Ok(chunk) => {
                    *read += 1;
                    Some(chunk)
                }
                Err(ended) => {
                    *end = Some(ended);
                    None
                }
            },
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
                let ended = flight.end(self.call).await;
                Arc::clone(end.insert(ended))
            }
        };
        end.as_ref().clone()
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
