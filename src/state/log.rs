//! The log: events as sentences.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use crate::event::CallId;
use crate::text::SafeText;
use crate::time::Timestamp;

/// The newest 10,000 lines.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Log {
    /// Oldest first.
    pub lines: VecDeque<LogLine>,
    /// Lines dropped for want of room.
    pub dropped: u64,
}

/// One line.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LogLine {
    /// The event it tells of.
    pub seq: u64,
    /// When.
    pub at: Timestamp,
    /// The word before the sentence; filters and colours go by it.
    pub kind: LogKind,
    /// Which call.
    pub call: Option<CallId>,
    /// The sentence.
    pub text: SafeText,
}

/// What a line is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LogKind {
    /// A call was answered.
    Ok,
    /// From the cache.
    Hit,
    /// By another call's flight.
    Shared,
    /// Another attempt follows.
    Retry,
    /// A call failed or was cut.
    Fail,
    /// A guard turned a call away.
    Refuse,
    /// The breaker moved.
    Breaker,
    /// The limiter queues or pauses.
    Bucket,
    /// A fault was made on purpose.
    Inject,
    /// A person stopped a call.
    Stop,
    /// Anything else.
    Note,
}

impl LogKind {
    /// The word in the log, at most 6 characters.
    pub fn label(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Hit => "hit",
            Self::Shared => "shared",
            Self::Retry => "retry",
            Self::Fail => "fail",
            Self::Refuse => "refuse",
            Self::Breaker => "break",
            Self::Bucket => "bucket",
            Self::Inject => "inject",
            Self::Stop => "stop",
            Self::Note => "note",
        }
    }
}
