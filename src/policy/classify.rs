//! What went wrong: one total function from what the transport saw to a [`Failure`].
//!
//! The only place that knows status codes. An error is told apart by its code, then by its type, then by its
//! status (semantics 1.1), because the status alone lies: a 429 can mean an empty purse, and llama-server
//! answers broken JSON with a 500.
//!
//! ```text
//!  connect --> request --> headers --> body --> first content --> end
//!  NotSent     Ambiguous   Refused     Begun    Delivered
//!                          Ambiguous
//!                          Final
//! ```
//!
//! Once content was delivered the phase is `Delivered`, whatever broke. The class is then `Interrupted`,
//! except where it tells more than that: `Stalled`, `NoProgress`, `Oversize` and `Deadline` stay.
//!
//! `x-should-retry: true` turns `Final` into `Refused` here, so that "never after `Final`" holds without
//! exception everywhere else.

mod redact;
mod verdict;
mod wording;

use std::time::Duration;

use http::HeaderMap;

pub use redact::redact;

use crate::event::{Failure, FailureClass, Phase, Sample};
use crate::openai::ApiError;
use crate::policy::hint::{self, HintReading};

/// Whom the failed attempt talked to; named in messages.
#[derive(Clone, Copy, Debug)]
pub struct Upstream<'a> {
    /// Host and port, as a person would write them.
    pub host: &'a str,
    /// The model asked for, if one was named.
    pub model: Option<&'a str>,
    /// The **variable** that holds the key, if a key was sent. Never the key.
    pub key_name: Option<&'a str>,
}

/// Why there is no connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConnectKind {
    /// Nothing listens there.
    Refused,
    /// No route, network down, or reset while connecting.
    Unreachable,
    /// Not within the connect timeout.
    Timeout,
    /// The name does not exist: NXDOMAIN.
    DnsUnknown,
    /// The name could not be looked up now: SERVFAIL, timeout.
    DnsTemporary,
    /// The certificate or the protocol version does not fit; trying again changes nothing.
    TlsConfig,
    /// The handshake was reset or stalled.
    TlsHandshake,
}

/// How far an attempt had come when its call's deadline passed.
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

/// What is wrong with a body under a good status.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum BodyProblem<'a> {
    /// It ended without its end: no last chunk, too few bytes, neither `finish_reason` nor `[DONE]`.
    Cut,
    /// The connection was reset.
    Reset,
    /// No bytes for so long.
    Stalled {
        /// The byte-idle timeout.
        after: Duration,
    },
    /// Bytes, but no event with data for so long.
    NoProgress {
        /// The event-idle timeout.
        after: Duration,
    },
    /// It does not parse, or holds no answer.
    Malformed {
        /// Where it went wrong.
        excerpt: &'a [u8],
    },
    /// HTML or something else that no API sends.
    NotAnApi {
        /// What it says it is.
        content_type: &'a str,
        /// How it begins.
        excerpt: &'a [u8],
    },
    /// Larger than the cap, decoded.
    Oversize {
        /// The cap in bytes.
        cap: u64,
    },
    /// An error inside a 200.
    ErrorEvent {
        /// What it says.
        error: &'a ApiError,
    },
    /// A complete body with nothing in it.
    Empty,
    /// Packed, though no packing was offered. Not unpacked: it may be a bomb.
    Packed {
        /// How: `Content-Encoding`.
        encoding: &'a str,
    },
    /// No proper HTTP, or framing that two parties could read in two ways: `Content-Length` beside
    /// `Transfer-Encoding`.
    BadFraming {
        /// What exactly.
        detail: &'a str,
    },
}

/// What the transport saw.
#[derive(Clone, Copy, Debug)]
pub enum Observed<'a> {
    /// No connection.
    Connect {
        /// Why.
        kind: ConnectKind,
        /// The error's own words.
        detail: &'a str,
    },
    /// The request was sent, and no headers came in time.
    HeaderTimeout {
        /// The timeout.
        after: Duration,
    },
    /// The connection broke after the request was handed over and before any header.
    ResetBeforeHeaders {
        /// Whether it is certain that no byte of the request left: a pooled connection that had died.
        unsent: bool,
    },
    /// A response that is no success. A success given by mistake is read as a bad body.
    Response {
        /// HTTP status.
        status: u16,
        /// Its headers.
        headers: &'a HeaderMap,
        /// Its body, as far as it was read.
        body: &'a [u8],
        /// Unix time, for hints given as a date.
        wall_seconds: u64,
    },
    /// A success whose body is no answer.
    Body {
        /// HTTP status, 200 as a rule.
        status: u16,
        /// Whether content had reached the caller.
        delivered: bool,
        /// What is wrong.
        problem: BodyProblem<'a>,
    },
    /// The call's deadline passed during this attempt.
    Deadline {
        /// How long the call was given.
        after: Duration,
        /// How far the attempt had come.
        progress: Progress,
    },
    /// The attempt's task panicked.
    Panic {
        /// What the panic said.
        detail: &'a str,
    },
}

/// Class, phase, message and hints of a failed attempt. Total: every input gives a failure.
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
        } => response(upstream, status, headers, body, hint::read(headers, wall_seconds)),
        Observed::Body {
            status,
            delivered,
            problem,
        } => {
            let (class, phase) = body(delivered, &problem);
            let message = wording::body(upstream, (class, phase), &problem);
            Failure {
                status: Some(status),
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
    reading: HintReading,
) -> Failure {
    let error = ApiError::parse(body);
    let (class, phase) = verdict::of_response(status, error.as_ref(), headers, body);
    // the server knows better than its status: it did nothing, and asks to be asked again
    let phase = match (reading.should_retry, phase) {
        (Some(true), Phase::Final) => Phase::Refused,
        (_, phase) => phase,
    };
    let answer = wording::Answer {
        status,
        headers,
        body,
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
        BodyProblem::Cut | BodyProblem::Reset => (FailureClass::Cut, Phase::Begun),
        BodyProblem::Stalled { .. } => (FailureClass::Stalled, Phase::Begun),
        BodyProblem::NoProgress { .. } => (FailureClass::NoProgress, Phase::Begun),
        BodyProblem::Malformed { .. } | BodyProblem::Empty => (FailureClass::Malformed, Phase::Begun),
        BodyProblem::NotAnApi { .. } => (FailureClass::NotAnApi, Phase::Final),
        BodyProblem::Oversize { .. } => (FailureClass::Oversize, Phase::Final),
        BodyProblem::ErrorEvent { error } => verdict::of_event(error),
        BodyProblem::BadFraming { .. } | BodyProblem::Packed { .. } => {
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

/// What a failure counts as for the breaker: column B of the fault matrix.
///
/// Neutral is what the caller caused, and what a healthy server says under load. A reset of an unsent request
/// is a pooled connection that had died: it says nothing about the server of now. A context that overflowed
/// while answering is shared by parallel requests, so that one counts; a prompt too long from the start does
/// not. A deadline that passed after the request was sent is slow (row 13), not failed: the caller set it.
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
        | C::Cut
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

/// Whether it is certain that nothing was sent, so that the limiter refunds the whole charge.
///
/// Wider than [`Phase::NotSent`]: an unknown host is final, and nothing was sent all the same.
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
