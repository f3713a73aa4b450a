//! A recorded attempt.

use std::time::Duration;

use crate::event::{CallId, Failure, FailureClass, Finish, ModelName};
use crate::openai::Usage;
use crate::settings::TimeoutSettings;
use crate::time::Timestamp;

/// An attempt with the times of its response.
#[derive(Clone, Debug, PartialEq)]
pub struct RecordedAttempt {
    /// The call that owned its flight when it was sent.
    pub call: CallId,
    /// The model that the call asked for.
    pub model: Option<ModelName>,
    /// Counted from 1.
    pub number: u32,
    /// The time of sending.
    pub at: Timestamp,
    /// From sending to the response headers.
    pub headers: Option<Duration>,
    /// From sending to the first content.
    pub first_token: Option<Duration>,
    /// Chunks of text: about as many tokens.
    pub chunks: u64,
    /// From sending to the end.
    pub took: Duration,
    /// Absent while it runs, and if it was cancelled.
    pub end: Option<AttemptEnd>,
}

/// The end of an attempt.
#[derive(Clone, Debug, PartialEq)]
pub enum AttemptEnd {
    /// A complete answer.
    Answered {
        /// Token counts.
        usage: Usage,
        /// The finish reason.
        finish: Finish,
    },
    /// A failure.
    Failed {
        /// The failure.
        failure: Box<Failure>,
        /// The silence before it, if silence was the failure.
        silence: Duration,
    },
}

impl AttemptEnd {
    /// A failure under these timeouts.
    pub(super) fn from_failure(failure: &Failure, timeouts: &TimeoutSettings) -> Self {
        let silence = match failure.class {
            FailureClass::Stalled => timeouts.byte_idle,
            FailureClass::NoProgress => timeouts.event_idle,
            _ => Duration::ZERO,
        };
        Self::Failed {
            failure: Box::new(failure.clone()),
            silence,
        }
    }
}

impl RecordedAttempt {
    /// From sending to the last byte of the upstream.
    pub(super) fn active_for(&self) -> Duration {
        match &self.end {
            Some(AttemptEnd::Failed { silence, .. }) => self.took.saturating_sub(*silence),
            _ => self.took,
        }
    }
}
