//! A failure as it looked on the wire: the reply that the classifier takes for the same failure again.

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, header};
use serde_json::json;

use crate::client::SendErrorKind;
use crate::event::{Failure, FailureClass, Hint, HintSource, Phase};

/// What every reply says that nobody reads.
const WORDS: &str = "as it was recorded";

/// What comes instead of an answer.
#[derive(Debug)]
pub(super) enum Wire {
    /// No response.
    Error(SendErrorKind),
    /// Never a response.
    Silence,
    /// A response.
    Response {
        /// Its status.
        status: u16,
        /// Its headers.
        headers: HeaderMap,
        /// Whether text comes first.
        text: bool,
        /// What comes last.
        last: Last,
    },
}

/// How a body ends that is no answer.
#[derive(Clone, Debug)]
pub(super) enum Last {
    /// As it should, after these bytes.
    End(Bytes),
    /// Too early.
    Cut,
    /// Never: nothing comes any more.
    Silence,
    /// Never: signs of life come, and nothing else.
    Pings,
    /// Never: more comes than anybody reads.
    Flood,
}

/// The reply for a failure of an attempt that is streamed or not.
pub(super) fn reply(failure: &Failure, stream: bool) -> Wire {
    use FailureClass as C;
    let silent = |text| body(stream, text, Last::Silence);
    match (failure.class, failure.phase, failure.status) {
        // what would have come after the deadline is not known: silence, for whoever waits longer
        (C::Deadline, Phase::Begun, _) => silent(false),
        (C::Deadline, Phase::Delivered, _) => silent(true),
        (C::Deadline | C::HeaderTimeout, ..) => Wire::Silence,
        (_, _, Some(200)) => bad_body(failure, stream),
        (_, _, Some(status)) => refusal(failure, status),
        (C::ConnectTimeout, ..) => Wire::Error(SendErrorKind::ConnectTimeout),
        (C::Dns, Phase::Final, _) => Wire::Error(SendErrorKind::DnsUnknown),
        (C::Dns, ..) => Wire::Error(SendErrorKind::DnsTemporary),
        (C::Tls, ..) => Wire::Error(SendErrorKind::TlsConfig),
        (C::Connect, ..) => Wire::Error(SendErrorKind::Refused),
        _ => Wire::Error(SendErrorKind::Reset),
    }
}

fn typed(kind: &'static str) -> HeaderMap {
    HeaderMap::from_iter([(header::CONTENT_TYPE, HeaderValue::from_static(kind))])
}

/// The type of an answer.
pub(super) fn answer_type(stream: bool) -> HeaderMap {
    typed(if stream {
        "text/event-stream"
    } else {
        "application/json"
    })
}

fn body(stream: bool, text: bool, last: Last) -> Wire {
    Wire::Response {
        status: 200,
        headers: answer_type(stream),
        text,
        last,
    }
}

/// A success whose body is no answer.
fn bad_body(failure: &Failure, stream: bool) -> Wire {
    use FailureClass as C;
    let framed = |data: &str| {
        Last::End(if stream {
            format!("data: {data}\n\n").into()
        } else {
            data.to_owned().into()
        })
    };
    let last = match (failure.class, failure.phase) {
        // no proper HTTP
        (C::Malformed, Phase::Final) => return Wire::Error(SendErrorKind::Framing),
        (C::NotAnApi, _) => {
            return Wire::Response {
                status: 200,
                headers: typed("text/html"),
                text: false,
                last: Last::End(page()),
            };
        }
        (C::Truncated | C::Interrupted, _) => Last::Cut,
        // who does not stream tells no pings from an answer
        (C::NoProgress, _) if stream => Last::Pings,
        (C::Stalled | C::NoProgress, _) => Last::Silence,
        (C::Malformed, _) => framed(r#"{"choices":[{"delta":{"content":"#),
        (C::Oversize, _) => Last::Flood,
        (class, phase) => framed(&error(class, phase, true)),
    };
    body(stream, failure.phase == Phase::Delivered, last)
}

/// A response that is no success; below 300 a success that none was meant to be.
fn refusal(failure: &Failure, status: u16) -> Wire {
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
    Wire::Response {
        status,
        headers,
        text: false,
        last: Last::End(body),
    }
}

fn hint(hint: Hint) -> Option<(HeaderName, HeaderValue)> {
    let seconds = hint.wait.as_secs_f64();
    let (name, value) = match hint.source {
        HintSource::RetryAfterMs => (HeaderName::from_static("retry-after-ms"), seconds * 1e3),
        // a date would be read by the clock of today
        HintSource::RetryAfter | HintSource::RetryAfterDate => (header::RETRY_AFTER, seconds),
    };
    Some((name, HeaderValue::try_from(value.to_string()).ok()?))
}

fn page() -> Bytes {
    Bytes::from_static(b"<!doctype html><title>as it was recorded</title>")
}

/// An error in words that mean this class under any status; `coded` where there is no status that tells.
fn error(class: FailureClass, phase: Phase, coded: bool) -> String {
    use FailureClass as C;
    let (code, message) = match class {
        C::RateLimited => ("rate_limit_exceeded", WORDS),
        C::Quota => ("insufficient_quota", WORDS),
        C::Overloaded => ("overloaded_error", WORDS),
        C::ContextLength if matches!(phase, Phase::Ambiguous | Phase::Begun) => {
            ("500", "context size has been exceeded")
        }
        C::ContextLength => ("context_length_exceeded", WORDS),
        C::Auth => ("invalid_api_key", WORDS),
        C::NotFound => ("model_not_found", WORDS),
        C::TooLarge => ("request_too_large", WORDS),
        C::Unsupported => ("not_supported_error", WORDS),
        C::Invalid => ("content_filter", WORDS),
        C::Loading => ("503", "loading model"),
        C::RequestTimeout => ("408", WORDS),
        C::Conflict => ("409", WORDS),
        C::BadGateway => ("502", WORDS),
        C::Unavailable => ("503", WORDS),
        C::Redirect => ("302", WORDS),
        C::NotAnApi => ("511", WORDS),
        _ => ("500", WORDS),
    };
    // a number is the status again, and says nothing beside one
    let code = if coded || code.parse::<u16>().is_err() {
        code
    } else {
        ""
    };
    json!({ "error": { "message": message, "type": "", "code": code } }).to_string()
}
