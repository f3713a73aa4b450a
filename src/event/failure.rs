//! How an attempt can end.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::openai::Usage;
use crate::text::SafeText;

/// How far an attempt had come when it failed: what decides whether a retry is legal (semantics 1.1,
/// after RFC 9110 section 9.2.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// P0: nothing was sent. A retry is free.
    NotSent,
    /// P1: the server refused by contract; no work was done.
    Refused,
    /// P2: sent, and nobody knows. The work may have been done, and billed.
    Ambiguous,
    /// P3: a response began, but nothing of it reached the caller. Probably billed.
    Begun,
    /// P4: text reached the caller. Never retried.
    Delivered,
    /// P5: asking again would change nothing.
    Final,
}

/// What went wrong, as far as retry, breaker and people need to tell apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FailureClass {
    /// No connection: refused, unreachable, reset during the handshake.
    Connect,
    /// No connection within the connect timeout.
    ConnectTimeout,
    /// The host's name is not known, or its resolver failed.
    Dns,
    /// The certificate or the protocol does not fit: a configuration error.
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
    /// 503 while a model is loaded: wait, do not count it as failure.
    Loading,
    /// 400, 422 and other requests the server will never accept.
    Invalid,
    /// The prompt is longer than the context.
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
    /// The body ended early, before anything of it was delivered.
    Truncated,
    /// The stream broke after text was delivered.
    Interrupted,
    /// No bytes for too long.
    Stalled,
    /// Bytes, but no events that carry data, for too long.
    NoProgress,
    /// JSON that does not parse, or an answer without an answer in it.
    Malformed,
    /// Not an API at all: HTML, or a body of another kind.
    NotAnApi,
    /// Larger than the cap.
    Oversize,
    /// The call's deadline passed.
    Deadline,
    /// The limiter rejected the call.
    LimitRejected,
    /// The breaker refused the call.
    BreakerRefused,
    /// A bug in seawall: a panic in the call's task.
    Internal,
}

/// Which header a wait came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HintSource {
    /// `retry-after-ms`.
    RetryAfterMs,
    /// `retry-after` in seconds.
    RetryAfter,
    /// `retry-after` as a date.
    RetryAfterDate,
}

/// How long the server asks to wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hint {
    /// From the moment the response came.
    #[serde(with = "crate::time::nanos")]
    pub wait: Duration,
    /// Where it was said.
    pub source: HintSource,
}

/// A failed attempt, classified. `Display` is for people.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, thiserror::Error)]
#[error("{message}")]
pub struct Failure {
    /// What went wrong.
    pub class: FailureClass,
    /// How far it had come.
    pub phase: Phase,
    /// The HTTP status, if one came.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// For people: names the value and what to do; sanitised, without secrets.
    pub message: SafeText,
    /// How long the server asks to wait.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<Hint>,
    /// `x-should-retry`, which overrides the class.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub should_retry: Option<bool>,
}

impl Failure {
    /// A failure without status and hint.
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

/// Why a complete answer ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Finish {
    /// The model was done.
    Stop,
    /// The limit of tokens, or the context, was reached.
    Length,
    /// The model asks for tools.
    ToolCalls,
    /// A filter cut it.
    ContentFilter,
    /// `[DONE]` came without a reason: complete, as far as anybody can know.
    Unknown,
}

/// How an attempt ended.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "result", rename_all = "snake_case")]
pub enum AttemptResult {
    /// A complete answer.
    Succeeded {
        /// Why it ended.
        finish: Finish,
        /// Tokens, as counted by the server or estimated.
        usage: Usage,
        /// Whether the server sent no usable count.
        estimated: bool,
    },
    /// No complete answer.
    Failed {
        /// Why.
        failure: Failure,
    },
    /// Nobody wants the answer any more.
    Cancelled,
}
