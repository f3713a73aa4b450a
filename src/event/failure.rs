//! Outcomes of an attempt.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::openai::Usage;
use crate::text::SafeText;

/// The progress of an attempt when it failed, which decides whether a retry is safe (docs/semantics.md, Failures;
/// RFC 9110, section 9.2.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Phase {
    /// P0: nothing was sent; a retry is safe.
    NotSent,
    /// P1: the server rejected the request by contract; no work was done.
    Refused,
    /// P2: sent, outcome unknown. The work may have been done and billed.
    Ambiguous,
    /// P3: a response began, but no text reached the caller. Probably billed.
    Begun,
    /// P4: text reached the caller. Never retried.
    Delivered,
    /// P5: a permanent failure; retrying cannot help.
    Final,
}

/// Failure classes, as far as retry, breaker and messages distinguish them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum FailureClass {
    /// No connection: refused, unreachable, reset during the handshake.
    Connect,
    /// No connection within the connect timeout.
    ConnectTimeout,
    /// The host name is unknown, or the resolver failed.
    Dns,
    /// Certificate or protocol mismatch: a configuration error.
    Tls,
    /// The connection was reset after the request was sent and before the response.
    Reset,
    /// No response headers in time.
    HeaderTimeout,
    /// 429: too many requests; waiting helps.
    RateLimited,
    /// 429 or 402 with a quota or billing code: waiting does not help.
    Quota,
    /// 408 or 425.
    RequestTimeout,
    /// 409.
    Conflict,
    /// 500.
    ServerError,
    /// 502 or 504.
    BadGateway,
    /// 503.
    Unavailable,
    /// 529, or 503 with an overload code.
    Overloaded,
    /// 503 while a model is loading: retried without counting as a failure.
    Loading,
    /// 400, 422 and other permanent rejections.
    Invalid,
    /// The prompt exceeds the context.
    ContextLength,
    /// 401 or 403.
    Auth,
    /// 404: the path or the model.
    NotFound,
    /// 413.
    TooLarge,
    /// 501: a server flag is missing.
    Unsupported,
    /// 3xx: redirects are never followed.
    Redirect,
    /// The body was truncated before any text was delivered.
    Truncated,
    /// The stream broke after text was delivered.
    Interrupted,
    /// No bytes for too long.
    Stalled,
    /// Bytes, but no events that carry data, for too long.
    NoProgress,
    /// Invalid JSON, or a response without an answer.
    Malformed,
    /// Not an API response: HTML or another content type.
    NotAnApi,
    /// Larger than `timeouts.max_response_bytes`.
    Oversize,
    /// The call's deadline passed.
    Deadline,
    /// Rejected by the limiter.
    LimitRejected,
    /// Rejected by the breaker.
    BreakerRefused,
    /// A bug in seawall: a panic in the call's task.
    Internal,
}

/// The part of a response that requested a wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum HintSource {
    /// `retry-after-ms`.
    RetryAfterMs,
    /// `retry-after` in seconds.
    RetryAfter,
    /// `retry-after` as a date.
    RetryAfterDate,
    /// A member of the error body: `retryDelay`, `retry_after`.
    Body,
    /// The words of the error message: "try again in 7s".
    Message,
    /// The reset of an exhausted limit: `x-ratelimit-reset-*`.
    LimitReset,
}

/// The wait requested by the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hint {
    /// Time to wait from the arrival of the response.
    #[serde(with = "crate::time::nanos")]
    pub wait: Duration,
    /// The part of the response that requested it.
    pub source: HintSource,
}

/// A classified failure of an attempt. `Display` prints the message.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, thiserror::Error)]
#[error("{message}")]
pub struct Failure {
    /// The class of the failure.
    pub class: FailureClass,
    /// The progress of the attempt.
    pub phase: Phase,
    /// The HTTP status, if received.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// Message for people: the value at fault and the remedy; sanitised, without secrets.
    pub message: SafeText,
    /// The wait requested by the server.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<Hint>,
    /// Value of `x-should-retry`, which overrides the class.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub should_retry: Option<bool>,
}

impl Failure {
    /// Creates a failure without status and hint.
    pub fn new(class: FailureClass, phase: Phase, message: impl Into<SafeText>) -> Self {
        Self {
            class,
            phase,
            status: None,
            message: message.into(),
            hint: None,
            should_retry: None,
        }
    }
}

/// Finish reasons of a complete answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Finish {
    /// The model finished.
    Stop,
    /// The token limit or the context was reached.
    Length,
    /// The model requests tool calls.
    ToolCalls,
    /// Truncated by a content filter.
    ContentFilter,
    /// The model refuses to answer, and says so.
    Refusal,
    /// A reason that seawall does not know, or none in a whole body; treated as complete.
    #[default]
    Unknown,
}

/// The outcome of an attempt.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "result", rename_all = "snake_case")]
#[non_exhaustive]
pub enum AttemptResult {
    /// A complete answer.
    Succeeded {
        /// The finish reason.
        finish: Finish,
        /// Tokens, counted by the server or estimated.
        usage: Usage,
        /// True if the server sent no usable count.
        estimated: bool,
    },
    /// No complete answer.
    Failed {
        /// The failure.
        failure: Failure,
    },
    /// Cancelled by the caller.
    Cancelled,
}
