//! Origin, options and fate of a call.

use serde::{Deserialize, Serialize};

use super::ModelName;

/// Origins of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "origin")]
#[non_exhaustive]
pub enum Origin {
    /// A prompt typed in the chat.
    Chat,
    /// A burst.
    Burst {
        /// The number of the burst, from 1.
        burst: u64,
    },
    /// A load.
    Load {
        /// The number of the load, from 1.
        load: u64,
    },
    /// A program that uses the library.
    Library,
    /// A client of the gateway.
    Gateway,
}

/// The calls that may join a flight.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Sharing {
    /// Calls of the same user with the same repeatable request.
    SameRequest,
    /// Calls of the same user with the same idempotency key.
    SameKey,
    /// None.
    #[default]
    Off,
}

/// Options of a request that decide how it is handled; with the prompt they allow replaying the call.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[expect(clippy::struct_excessive_bools, reason = "independent options of a request")]
pub struct CallOptions {
    /// The model that it asks for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model: Option<ModelName>,
    /// Limit of the answer in LLM tokens, if the request sets one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub answer_limit: Option<u64>,
    /// True if a stored answer is acceptable: temperature 0, a seed, or an opt-in of the caller.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub repeatable: bool,
    /// True if the caller requests a fresh answer.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub fresh: bool,
    /// True if the answer must not be stored.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub no_store: bool,
    /// True if the answer is streamed.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub stream: bool,
    /// Hash of the caller's idempotency key, if given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<u64>,
}

/// The fate of a call: exactly one of these.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fate {
    /// Answered completely by the upstream.
    Answered,
    /// Served from a cache or the ledger of completed results.
    Hit,
    /// Served by the flight of another call.
    Shared,
    /// Rejected by the limiter.
    RateLimited,
    /// Rejected by the breaker.
    CircuitOpen,
    /// All attempts failed, or the deadline passed.
    Failed,
    /// The stream broke after text was delivered.
    Interrupted,
    /// Cancelled by the caller.
    Cancelled,
}

impl Fate {
    /// Every fate, in display order.
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

    /// Returns true if the caller got a complete answer, from any source.
    pub fn is_served(self) -> bool {
        matches!(self, Self::Answered | Self::Hit | Self::Shared)
    }
}

/// Reasons to stop retrying.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum StopReason {
    /// `retry.attempts` are used.
    Attempts,
    /// The failure is permanent.
    NotRetryable,
    /// The server sent `x-should-retry: false`.
    NoRetryHeader,
    /// Text was already delivered to the caller.
    Delivered,
    /// Too many outcomes that may have been billed.
    Ambiguous,
    /// The retry budget is empty.
    Budget,
    /// The wait would end after the deadline.
    Deadline,
    /// The server asks for a longer wait than `retry.max_hint`.
    HintTooLong,
    /// The breaker is open.
    CircuitOpen,
    /// The limiter rejected the next attempt.
    RateLimited,
}
