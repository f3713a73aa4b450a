//! What a caller holds: the answer as it comes, or whole.

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;

use super::answer::{Answer, CallError, Chunk};
use super::flight::{Flight, FlightEnd};
use crate::event::CallId;

/// Takes note that a caller left before the end.
pub(super) trait Departures: Send + Sync {
    /// The call is cancelled; the flight goes on for those who stay.
    fn leave(&self, call: CallId, flight: &Flight);
}

/// A running call. Read it chunk by chunk with [`CallStream::next`], or whole with [`CallStream::finish`].
/// Dropping it before its end cancels the call.
pub struct CallStream {
    call: CallId,
    source: Source,
}

enum Source {
    /// Over already: from the cache, replayed, or turned away at once.
    Over {
        chunks: VecDeque<Chunk>,
        end: Arc<FlightEnd>,
    },
    /// In the air.
    Flying {
        flight: Arc<Flight>,
        read: usize,
        end: Option<Arc<FlightEnd>>,
        departures: Arc<dyn Departures>,
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
    pub(super) fn over(call: CallId, end: FlightEnd) -> Self {
        let chunks = end.as_ref().map(Answer::to_chunks).unwrap_or_default();
        Self {
            call,
            source: Source::Over {
                chunks: chunks.into(),
                end: Arc::new(end),
            },
        }
    }

    pub(super) fn flying(call: CallId, flight: Arc<Flight>, departures: Arc<dyn Departures>) -> Self {
        Self {
            call,
            source: Source::Flying {
                flight,
                read: 0,
                end: None,
                departures,
            },
        }
    }

    /// The number of the call.
    pub fn call(&self) -> CallId {
        self.call
    }

    /// The next piece of the answer; nothing when the call is over. Cancel-safe.
    pub async fn next(&mut self) -> Option<Chunk> {
        match &mut self.source {
            Source::Over { chunks, .. } => chunks.pop_front(),
            Source::Flying { end: Some(_), .. } => None,
            Source::Flying {
                flight, read, end, ..
            } => match flight.next(self.call, *read).await {
                Ok(chunk) => {
                    *read += 1;
                    Some(chunk)
                }
                Err(told) => {
                    *end = Some(told);
                    None
                }
            },
        }
    }

    /// Waits for the end.
    pub async fn finish(mut self) -> Result<Answer, CallError> {
        let end = match &mut self.source {
            Source::Over { end, .. } | Source::Flying { end: Some(end), .. } => Arc::clone(end),
            Source::Flying { flight, end, .. } => {
                let told = flight.end(self.call).await;
                Arc::clone(end.insert(told))
            }
        };
        end.as_ref().clone()
    }
}

impl Drop for CallStream {
    fn drop(&mut self) {
        if let Source::Flying {
            flight,
            end: None,
            departures,
            ..
        } = &self.source
        {
            departures.leave(self.call, flight);
        }
    }
}
