//! How calls begin and end.

use serde::{Deserialize, Serialize};

/// What made a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "origin")]
pub enum Origin {
    /// A person typed a prompt.
    Chat,
    /// A burst.
    Burst {
        /// Which, from 1.
        burst: u64,
    },
    /// A program that uses the library.
    Library,
}

/// Who may join a flight.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Sharing {
    /// Calls of the same user with the same request: any answer will do for them.
    SameRequest,
    /// Calls of the same user with the same idempotency key.
    SameKey,
    /// Nobody.
    #[default]
    Off,
}

/// What of a request decides how it is treated, beside its prompt: with it a call can be asked again.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct CallOptions {
    /// The most the answer may have, in LLM tokens, where the request says so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub answer_limit: Option<u64>,
    /// Whether the same answer will do again: temperature 0, a seed, or the caller's word.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub repeatable: bool,
    /// Whether the caller wants no stored answer.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub fresh: bool,
    /// Whether the answer is streamed.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub stream: bool,
    /// A hash of the idempotency key that the caller gave, if any.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<u64>,
}

/// How a call ends: exactly one of these.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fate {
    /// By the upstream, completely.
    Answered,
    /// From the cache or the ledger of completed results, without any upstream.
    Hit,
    /// By a flight that another call owned.
    Shared,
    /// The limiter turned it away.
    RateLimited,
    /// The breaker turned it away.
    CircuitOpen,
    /// All tries failed, or the deadline passed.
    Failed,
    /// The stream broke after text was delivered.
    Interrupted,
    /// Nobody wanted it any more.
    Cancelled,
}

impl Fate {
    /// Every fate, in the order it is shown.
    pub const ALL: [Self; 8] = [
        Self::Answered,
        Self::Hit,
        Self::Shared,
        Self::RateLimited,
        Self::CircuitOpen,
        Self::Failed,
        Self::Interrupted,
        Self::Cancelled,
    ];

    /// Whether the caller got a whole answer, wherever it came from.
    pub fn is_served(self) -> bool {
        matches!(self, Self::Answered | Self::Hit | Self::Shared)
    }
}

/// Why no other attempt follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StopReason {
    /// All allowed attempts were made.
    Attempts,
    /// Asking again would change nothing.
    NotRetryable,
    /// The server said so: `x-should-retry: false`.
    NoRetryHeader,
    /// Text was already delivered.
    Delivered,
    /// Too many outcomes that may have been billed.
    Ambiguous,
    /// The retry budget is empty.
    Budget,
    /// The wait would end after the deadline.
    Deadline,
    /// The server asks for a longer wait than is allowed.
    HintTooLong,
    /// The breaker is open.
    CircuitOpen,
    /// The limiter turned the next attempt away.
    RateLimited,
}
