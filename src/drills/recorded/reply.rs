//! A recorded failure as a reply: the classifier maps it to the same failure again.

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, header};
use serde_json::json;

use crate::client::SendErrorKind;
use crate::event::{Failure, FailureClass, Hint, HintSource, Phase};

/// The message of a reply whose message does not matter.
const MESSAGE: &str = "as it was recorded";

/// A reply in place of an answer.
#[derive(Debug)]
pub(super) enum FailureReply {
    /// No response.
    Error(SendErrorKind),
    /// A response that never comes.
    Silence,
    Response {
        status: u16,
        headers: HeaderMap,
        /// True if text comes before the end.
        text: bool,
        end: BodyEnd,
    },
}

/// The end of a body.
#[derive(Clone, Debug)]
pub(super) enum BodyEnd {
    /// A proper end after these bytes.
    Complete(Bytes),
    /// Closed before its end.
    Truncated,
    /// No end, and no more bytes.
    Silence,
    /// No end, only keep-alive comments.
    Pings,
    /// No end, and more bytes than the client reads.
    Flood,
}

/// The reply for a recorded failure.
pub(super) fn from_failure(failure: &Failure, stream: bool) -> FailureReply {
    use FailureClass as C;
    let silent = |text| body(stream, text, BodyEnd::Silence);
    match (failure.class, failure.phase, failure.status) {
        // the rest of the response is unknown: silence, if the new deadline is later
        (C::Deadline, Phase::Begun, _) => silent(false),
        (C::Deadline, Phase::Delivered, _) => silent(true),
        (C::Deadline | C::HeaderTimeout, ..) => FailureReply::Silence,
        (_, _, Some(200)) => bad_body(failure, stream),
        (_, _, Some(status)) => refusal(failure, status),
        (C::ConnectTimeout, ..) => FailureReply::Error(SendErrorKind::ConnectTimeout),
        (C::Dns, Phase::Final, _) => FailureReply::Error(SendErrorKind::DnsUnknown),
        (C::Dns, ..) => FailureReply::Error(SendErrorKind::DnsTemporary),
        (C::Tls, ..) => FailureReply::Error(SendErrorKind::TlsConfig),
        (C::Connect, ..) => FailureReply::Error(SendErrorKind::Refused),
        _ => FailureReply::Error(SendErrorKind::Reset),
    }
}

fn typed(kind: &'static str) -> HeaderMap {
    HeaderMap::from_iter([(header::CONTENT_TYPE, HeaderValue::from_static(kind))])
}

/// The headers of an answer.
pub(super) fn answer_type(stream: bool) -> HeaderMap {
    typed(if stream {
        "text/event-stream"
    } else {
        "application/json"
    })
}

fn body(stream: bool, text: bool, end: BodyEnd) -> FailureReply {
    FailureReply::Response {
        status: 200,
        headers: answer_type(stream),
        text,
        end,
    }
}

/// A success without an answer in its body.
fn bad_body(failure: &Failure, stream: bool) -> FailureReply {
    use FailureClass as C;
    let framed = |data: &str| {
        BodyEnd::Complete(if stream {
            format!("data: {data}\n\n").into()
        } else {
            data.to_owned().into()
        })
    };
    let end = match (failure.class, failure.phase) {
        // invalid HTTP framing
        (C::Malformed, Phase::Final) => return FailureReply::Error(SendErrorKind::Framing),
        (C::NotAnApi, _) => {
            return FailureReply::Response {
                status: 200,
                headers: typed("text/html"),
                text: false,
                end: BodyEnd::Complete(page()),
            };
        }
        (C::Truncated | C::Interrupted, _) => BodyEnd::Truncated,
        // without a stream, pings would be part of the answer
        (C::NoProgress, _) if stream => BodyEnd::Pings,
        (C::Stalled | C::NoProgress, _) => BodyEnd::Silence,
        (C::Malformed, _) => framed(r#"{"choices":[{"delta":{"content":"#),
        (C::Oversize, _) => BodyEnd::Flood,
        (class, phase) => framed(&error(class, phase, true)),
    };
    body(stream, failure.phase == Phase::Delivered, end)
}

/// An error response; with a status below 300 an error in the body.
fn refusal(failure: &Failure, status: u16) -> FailureReply {
    let success = status < 300;
    let (mut headers, body) = match failure.class {
        FailureClass::NotAnApi if success => (typed("text/html"), page()),
        FailureClass::Malformed => (typed("application/json"), Bytes::from_static(b"{}")),
        class => (
            typed("application/json"),
            error(class, failure.phase, success).into(),
        ),
    };
    if let Some((name, value)) = failure.hint.and_then(hint) {
        headers.insert(name, value);
    }
    if let Some(should_retry) = failure.should_retry {
        let word = if should_retry { "true" } else { "false" };
        headers.insert("x-should-retry", HeaderValue::from_static(word));
    }
    FailureReply::Response {
        status,
        headers,
        text: false,
        end: BodyEnd::Complete(body),
    }
}

fn hint(hint: Hint) -> Option<(HeaderName, HeaderValue)> {
    let seconds = hint.wait.as_secs_f64();
    let (name, value) = match hint.source {
        HintSource::RetryAfterMs => (HeaderName::from_static("retry-after-ms"), seconds * 1e3),
        // a recorded date would be compared with the clock of today
        HintSource::RetryAfter
        | HintSource::RetryAfterDate
        | HintSource::Body
        | HintSource::Message
        | HintSource::LimitReset => (header::RETRY_AFTER, seconds),
    };
    Some((name, HeaderValue::try_from(value.to_string()).ok()?))
}

fn page() -> Bytes {
    Bytes::from_static(b"<!doctype html><title>as it was recorded</title>")
}

/// An error body that means this class under any status; `coded` if the status does not.
fn error(class: FailureClass, phase: Phase, coded: bool) -> String {
    use FailureClass as C;
    let (code, message) = match class {
        C::RateLimited => ("rate_limit_exceeded", MESSAGE),
        C::Quota => ("insufficient_quota", MESSAGE),
        C::Overloaded => ("overloaded_error", MESSAGE),
        C::ContextLength if matches!(phase, Phase::Ambiguous | Phase::Begun) => {
            ("500", "context size has been exceeded")
        }
        C::ContextLength => ("context_length_exceeded", MESSAGE),
        C::Auth => ("invalid_api_key", MESSAGE),
        C::NotFound => ("model_not_found", MESSAGE),
        C::TooLarge => ("request_too_large", MESSAGE),
        C::Unsupported => ("not_supported_error", MESSAGE),
        C::Invalid => ("content_filter", MESSAGE),
        C::Loading => ("503", "loading model"),
        C::RequestTimeout => ("408", MESSAGE),
        C::Conflict => ("409", MESSAGE),
        C::BadGateway => ("502", MESSAGE),
        C::Unavailable => ("503", MESSAGE),
        C::Redirect => ("302", MESSAGE),
        C::NotAnApi => ("511", MESSAGE),
        _ => ("500", MESSAGE),
    };
    // a numeric code repeats the status
    let code = if coded || code.parse::<u16>().is_err() {
        code
    } else {
        ""
    };
    json!({ "error": { "message": message, "type": "", "code": code } }).to_string()
}
