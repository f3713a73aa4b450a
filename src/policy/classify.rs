//! Classification of failures: one total function from what the transport observed to a [`Failure`].
//!
//! The only place that knows status codes. Code decides before type, type before status (docs/semantics.md,
//! Failures), because a status alone misleads: a 429 can mean exhausted credit, and llama-server answers broken
//! JSON with a 500. A request above a limit is final under any name: no wait makes it fit.
//!
//! ```text
//!  connect --> request --> headers --> body --> first content --> end
//!  NotSent     Ambiguous   Refused     Begun    Delivered
//!                          Ambiguous
//!                          Final
//! ```
//!
//! - Once content was delivered the phase is `Delivered`. The class is then `Interrupted`, except for `Stalled`,
//!   `NoProgress`, `Oversize` and `Deadline`, which say more.
//! - `x-should-retry: true` turns `Final` into `Refused`, so that no retry follows `Final` anywhere else.

mod redact;
mod verdict;
mod wording;

use std::time::Duration;

use http::HeaderMap;

pub(crate) use redact::{may_start_at_end, redact, redact_key};
use verdict::INSPECTED_BYTES;

use crate::event::{Failure, FailureClass, Phase, Sample};
use crate::openai::ApiError;
use crate::policy::hint;

/// The upstream of the failed attempt, named in messages.
#[derive(Clone, Copy, Debug)]
pub struct Upstream<'a> {
    /// Host, and port unless it is the scheme's default.
    pub host: &'a str,
    /// The requested model, if one was named.
    pub model: Option<&'a str>,
    /// The **variable** that holds the key, if a key was sent. Never the key.
    pub key_name: Option<&'a str>,
}

/// The reasons of a missing connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConnectKind {
    /// Connection refused: nothing listens at the address.
    Refused,
    /// No route, network down, or reset while connecting.
    Unreachable,
    /// No connection within the connect timeout.
    Timeout,
    /// The host name does not exist: NXDOMAIN.
    DnsUnknown,
    /// The lookup failed for now: SERVFAIL, timeout.
    DnsTemporary,
    /// Certificate or protocol version do not fit: a retry cannot help.
    TlsConfig,
    /// The TLS handshake was reset or stalled.
    TlsHandshake,
}

/// The progress of an attempt when the deadline of its call passed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// Nothing of the request was sent.
    Unsent,
    /// Sent, no headers yet.
    Sent,
    /// Headers came, no content.
    Begun,
    /// Content reached the caller.
    Delivered,
}

/// The problem of a body under a success status.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum BodyProblem<'a> {
    /// The body ended early: no last chunk, too few bytes, or neither `finish_reason` nor `[DONE]`.
    Truncated,
    /// The connection was reset.
    Reset,
    /// No bytes arrived for the byte-idle timeout.
    Stalled {
        /// The byte-idle timeout.
        after: Duration,
    },
    /// Bytes arrived, but no event with data for the event-idle timeout.
    NoProgress {
        /// The event-idle timeout.
        after: Duration,
    },
    /// The body does not parse, or holds no answer.
    Malformed {
        /// The beginning of the malformed part.
        excerpt: &'a [u8],
    },
    /// HTML or another type that no API sends.
    NotAnApi {
        /// The `Content-Type`.
        content_type: &'a str,
        /// The beginning of the body.
        excerpt: &'a [u8],
    },
    /// The body exceeds the limit.
    Oversize {
        /// The limit in bytes.
        cap: u64,
    },
    /// An error inside a 200.
    ErrorEvent {
        /// The error.
        error: &'a ApiError,
    },
    /// A complete but empty body.
    Empty,
    /// The body is compressed, although no compression was offered. It is not decompressed: it may be a bomb.
    Compressed {
        /// The `Content-Encoding`.
        encoding: &'a str,
    },
    /// Invalid HTTP, or ambiguous framing such as `Content-Length` with `Transfer-Encoding`.
    BadFraming {
        /// The problem, as the transport names it.
        detail: &'a str,
    },
}

/// An observation of the transport.
#[derive(Clone, Copy, Debug)]
pub enum Observed<'a> {
    /// No connection.
    Connect {
        /// The reason.
        kind: ConnectKind,
        /// The transport's own error text.
        detail: &'a str,
    },
    /// The request was sent, and no headers came in time.
    HeaderTimeout {
        /// The timeout.
        after: Duration,
    },
    /// The connection broke after the request was handed over and before any header.
    ResetBeforeHeaders {
        /// True if it is certain that no byte of the request was sent: a pooled connection had died.
        unsent: bool,
    },
    /// A response with an error status. A success status is read as a bad body.
    Response {
        /// HTTP status.
        status: u16,
        /// Response headers.
        headers: &'a HeaderMap,
        /// The body, as far as it was read.
        body: &'a [u8],
        /// The wall clock in Unix seconds, for hints given as a date.
        wall_seconds: u64,
    },
    /// A success status with a body that is no answer.
    Body {
        /// HTTP status, usually 200.
        status: u16,
        /// True if content had reached the caller.
        delivered: bool,
        /// The problem of the body.
        problem: BodyProblem<'a>,
    },
    /// The call's deadline passed during this attempt.
    Deadline {
        /// The time that the call was given.
        after: Duration,
        /// The progress of the attempt.
        progress: Progress,
    },
    /// The attempt's task panicked.
    Panic {
        /// The panic message.
        detail: &'a str,
    },
}

/// Returns class, phase, message and hints of a failed attempt. Total: every observation gives a failure.
pub fn classify(upstream: &Upstream<'_>, observed: &Observed<'_>) -> Failure {
    match *observed {
        Observed::Connect { kind, detail } => {
            let (class, phase) = connect(kind);
            Failure::new(class, phase, wording::connect(upstream, kind, detail))
        }
        Observed::HeaderTimeout { after } => Failure::new(
            FailureClass::HeaderTimeout,
            Phase::Ambiguous,
            wording::header_timeout(upstream, after),
        ),
        Observed::ResetBeforeHeaders { unsent } => {
            let phase = if unsent { Phase::NotSent } else { Phase::Ambiguous };
            Failure::new(FailureClass::Reset, phase, wording::reset(upstream, unsent))
        }
        Observed::Response {
            status,
            headers,
            body,
            wall_seconds,
        } => response(upstream, status, headers, body, wall_seconds),
        Observed::Body {
            status,
            delivered,
            problem,
        } => {
            let (class, phase) = body(delivered, &problem);
            let hint = match problem {
                BodyProblem::ErrorEvent { error } if phase != Phase::Final => hint::in_error(error, None),
                _ => None,
            };
            let message = wording::body(upstream, (class, phase), &problem, hint);
            Failure {
                status: Some(status),
                hint,
                ..Failure::new(class, phase, message)
            }
        }
        Observed::Deadline { after, progress } => {
            let phase = match progress {
                Progress::Unsent => Phase::NotSent,
                Progress::Sent => Phase::Ambiguous,
                Progress::Begun => Phase::Begun,
                Progress::Delivered => Phase::Delivered,
            };
            let message = wording::deadline(upstream, after, progress);
            Failure::new(FailureClass::Deadline, phase, message)
        }
        Observed::Panic { detail } => {
            Failure::new(FailureClass::Internal, Phase::Final, wording::internal(detail))
        }
    }
}

fn connect(kind: ConnectKind) -> (FailureClass, Phase) {
    match kind {
        ConnectKind::Refused | ConnectKind::Unreachable | ConnectKind::TlsHandshake => {
            (FailureClass::Connect, Phase::NotSent)
        }
        ConnectKind::Timeout => (FailureClass::ConnectTimeout, Phase::NotSent),
        ConnectKind::DnsUnknown => (FailureClass::Dns, Phase::Final),
        ConnectKind::DnsTemporary => (FailureClass::Dns, Phase::NotSent),
        ConnectKind::TlsConfig => (FailureClass::Tls, Phase::Final),
    }
}

fn response(
    upstream: &Upstream<'_>,
    status: u16,
    headers: &HeaderMap,
    body: &[u8],
    wall_seconds: u64,
) -> Failure {
    let error = ApiError::parse(body);
    let text = String::from_utf8_lossy(body.get(..INSPECTED_BYTES).unwrap_or(body));
    let (class, phase) = verdict::for_response(status, error.as_ref(), headers, &text);
    let mut reading = hint::read(headers, wall_seconds);
    // the header outranks the status: the server did nothing and asks for a retry
    let phase = match (reading.should_retry, phase) {
        (Some(true), Phase::Final) => Phase::Refused,
        (_, phase) => phase,
    };
    // a request that is final for another reason than an exhausted quota does not come again
    let comes_again = phase != Phase::Final || class == FailureClass::Quota;
    reading.hint = reading.hint.or_else(|| {
        let now = Some(hint::now(headers, wall_seconds));
        let limited = matches!(class, FailureClass::RateLimited | FailureClass::Overloaded);
        match &error {
            Some(error) => hint::in_error(error, now),
            None => hint::in_text(&text, now),
        }
        .or_else(|| hint::at_reset(headers, wall_seconds).filter(|_| limited))
        .filter(|_| comes_again)
    });
    let answer = wording::ErrorResponse {
        status,
        headers,
        text: &text,
        error: error.as_ref(),
        reading,
    };
    Failure {
        status: Some(status),
        hint: reading.hint,
        should_retry: reading.should_retry,
        ..Failure::new(class, phase, wording::response(upstream, class, &answer))
    }
}

/// The class and the phase of a body that is no answer.
fn body(delivered: bool, problem: &BodyProblem<'_>) -> (FailureClass, Phase) {
    let (class, phase) = match problem {
        BodyProblem::Truncated | BodyProblem::Reset => (FailureClass::Truncated, Phase::Begun),
        BodyProblem::Stalled { .. } => (FailureClass::Stalled, Phase::Begun),
        BodyProblem::NoProgress { .. } => (FailureClass::NoProgress, Phase::Begun),
        BodyProblem::Malformed { .. } | BodyProblem::Empty => (FailureClass::Malformed, Phase::Begun),
        BodyProblem::NotAnApi { .. } => (FailureClass::NotAnApi, Phase::Final),
        BodyProblem::Oversize { .. } => (FailureClass::Oversize, Phase::Final),
        BodyProblem::ErrorEvent { error } => verdict::for_event(error),
        BodyProblem::BadFraming { .. } | BodyProblem::Compressed { .. } => {
            (FailureClass::Malformed, Phase::Final)
        }
    };
    match class {
        _ if !delivered => (class, phase),
        FailureClass::Stalled | FailureClass::NoProgress | FailureClass::Oversize => {
            (class, Phase::Delivered)
        }
        _ => (FailureClass::Interrupted, Phase::Delivered),
    }
}

/// Returns the breaker's sample of a failure (docs/semantics.md, Fault matrix, column B).
///
/// - Neutral is what the caller caused, and what a healthy server says under load.
/// - A reset of an unsent request is neutral: a pooled connection had died, which says nothing about the server
///   now.
/// - A context that overflows during the answer is shared by parallel requests and counts as failed; a prompt that
///   is too long from the start is neutral.
/// - A deadline that passes after the request was sent is slow, not failed, because the caller chose it.
pub fn sample(failure: &Failure) -> Sample {
    use FailureClass as C;
    match failure.class {
        C::Reset if failure.phase == Phase::NotSent => Sample::Neutral,
        C::ContextLength if matches!(failure.phase, Phase::Ambiguous | Phase::Begun) => Sample::Failed,
        C::Deadline if failure.phase != Phase::NotSent => Sample::Slow,
        C::Connect
        | C::ConnectTimeout
        | C::Dns
        | C::Reset
        | C::HeaderTimeout
        | C::ServerError
        | C::BadGateway
        | C::Unavailable
        | C::Overloaded
        | C::Truncated
        | C::Interrupted
        | C::Stalled
        | C::NoProgress
        | C::Malformed
        | C::NotAnApi
        | C::Oversize
        | C::Internal => Sample::Failed,
        C::ContextLength
        | C::Deadline
        | C::Tls
        | C::RateLimited
        | C::Quota
        | C::RequestTimeout
        | C::Conflict
        | C::Loading
        | C::Invalid
        | C::Auth
        | C::NotFound
        | C::TooLarge
        | C::Unsupported
        | C::Redirect
        | C::LimitRejected
        | C::BreakerRefused => Sample::Neutral,
    }
}

/// Returns true if it is certain that nothing was sent, so that the limiter refunds the whole charge.
///
/// Wider than [`Phase::NotSent`]: an unknown host is final, but nothing was sent either.
pub fn is_unsent(failure: &Failure) -> bool {
    use FailureClass as C;
    failure.phase == Phase::NotSent
        || matches!(
            failure.class,
            C::Connect | C::ConnectTimeout | C::Dns | C::Tls | C::LimitRejected | C::BreakerRefused
        )
}

#[cfg(test)]
mod tests;
