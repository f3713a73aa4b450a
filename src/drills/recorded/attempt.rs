//! An attempt as it was seen.

use std::time::Duration;

use crate::event::{CallId, Failure, Finish};
use crate::openai::Usage;
use crate::settings::TimeoutSettings;
use crate::time::Timestamp;

/// An attempt that came to an end of its own.
#[derive(Clone, Debug, PartialEq)]
pub struct SeenAttempt {
    /// The call that owned its flight when it was sent.
    pub call: CallId,
    /// From 1.
    pub number: u32,
    /// When it was sent.
    pub at: Timestamp,
    /// To the response headers, if they came.
    pub headers: Option<Duration>,
    /// To the first content, if it came.
    pub first_token: Option<Duration>,
    /// Pieces of text that came: about as many tokens.
    pub chunks: u64,
    /// From its beginning to its end.
    pub took: Duration,
    /// How it ended; nothing while it runs, and where it was given up.
    pub end: Option<SeenEnd>,
}

/// How an attempt ended.
#[derive(Clone, Debug, PartialEq)]
pub enum SeenEnd {
    /// With a complete answer.
    Answered {
        /// Tokens.
        usage: Usage,
        /// Why it ended.
        finish: Finish,
    },
    /// With a failure.
    Failed {
        /// Which.
        failure: Box<Failure>,
        /// How long the upstream had been silent then, where silence was the failure.
        silence: Duration,
    },
}

impl SeenEnd {
    /// How an attempt failed under these timeouts.
    pub(super) fn failed(failure: &Failure, timeouts: &TimeoutSettings) -> Self {
        use crate::event::FailureClass as C;
        let silence = match failure.class {
            C::Stalled => timeouts.byte_idle,
            C::NoProgress => timeouts.event_idle,
            _ => Duration::ZERO,
        };
        Self::Failed {
            failure: Box::new(failure.clone()),
            silence,
        }
    }
}

impl SeenAttempt {
    /// When the upstream fell silent, or was done.
    pub(super) fn spoke_for(&self) -> Duration {
        match &self.end {
            Some(SeenEnd::Failed { silence, .. }) => self.took.saturating_sub(*silence),
            _ => self.took,
        }
    }
}
