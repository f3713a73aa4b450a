//! Class and phase of an error response, from its code, type, message and status.

use http::HeaderMap;
use http::header::CONTENT_TYPE;

use crate::event::{FailureClass, Phase};
use crate::openai::ApiError;

/// Most bytes of an error body that are read; an error message is never longer.
pub(super) const INSPECTED_BYTES: usize = 4096;

type Verdict = (FailureClass, Phase);

const QUOTA: Verdict = (FailureClass::Quota, Phase::Final);
const RATE: Verdict = (FailureClass::RateLimited, Phase::Refused);
const OVERLOADED: Verdict = (FailureClass::Overloaded, Phase::Refused);
const UNAVAILABLE: Verdict = (FailureClass::Unavailable, Phase::Refused);
const LOADING: Verdict = (FailureClass::Loading, Phase::Refused);
const CONTEXT: Verdict = (FailureClass::ContextLength, Phase::Final);
const AUTH: Verdict = (FailureClass::Auth, Phase::Final);
const NOT_FOUND: Verdict = (FailureClass::NotFound, Phase::Final);
const TOO_LARGE: Verdict = (FailureClass::TooLarge, Phase::Final);
const UNSUPPORTED: Verdict = (FailureClass::Unsupported, Phase::Final);
const INVALID: Verdict = (FailureClass::Invalid, Phase::Final);
const SERVER: Verdict = (FailureClass::ServerError, Phase::Ambiguous);
const GATEWAY: Verdict = (FailureClass::BadGateway, Phase::Ambiguous);

/// The verdict on an error response.
pub(super) fn for_response(
    status: u16,
    error: Option<&ApiError>,
    headers: &HeaderMap,
    body: &[u8],
) -> Verdict {
    match (status, error) {
        // a success status in the wrong place: read as a body that is no answer
        (0..=299, Some(error)) => for_event(error),
        (0..=299, None) if is_html(headers, body) => (FailureClass::NotAnApi, Phase::Final),
        (0..=299, None) => (FailureClass::Malformed, Phase::Begun),
        (_, Some(error)) => by_error(status, error).unwrap_or_else(|| by_status(status)),
        (_, None) => {
            let text = String::from_utf8_lossy(body.get(..INSPECTED_BYTES).unwrap_or(body)).to_lowercase();
            by_message(status, &text).unwrap_or_else(|| by_status(status))
        }
    }
}

/// The verdict on an error inside a 200, before any content. An ambiguous one counts as an answer that had begun.
pub(super) fn for_event(error: &ApiError) -> Verdict {
    let status = match error.code.parse::<u16>() {
        Ok(status @ 300..=599) => status,
        _ => match error.kind.as_str() {
            "invalid_request_error" => 400,
            "unavailable_error" => 503,
            "timeout_error" => 504,
            _ => 500,
        },
    };
    match by_error(status, error).unwrap_or_else(|| by_status(status)) {
        (class, Phase::Ambiguous) => (class, Phase::Begun),
        verdict => verdict,
    }
}

/// The verdict by code, then type, then message. A type that servers use for everything decides last.
fn by_error(status: u16, error: &ApiError) -> Option<Verdict> {
    let message: String = error.message.chars().take(INSPECTED_BYTES).collect();
    by_name(&error.code)
        .or_else(|| by_name(&error.kind))
        .or_else(|| by_message(status, &message.to_lowercase()))
        .or({
            // OpenAI uses this type for unknown paths, bad keys and more: there the status says more
            let vague = error.kind == "invalid_request_error";
            (vague && matches!(status, 400 | 422 | 500)).then_some(INVALID)
        })
}

/// The verdict by a code or type that has one meaning everywhere. Sources: the error documentation of OpenAI and
/// Anthropic, and captures of llama-server and llama-cpp-python (`tests/wire`).
fn by_name(name: &str) -> Option<Verdict> {
    Some(match name {
        "insufficient_quota"
        | "credit_balance_exhausted"
        | "organization_usage_limit_exceeded"
        | "billing"
        | "billing_error"
        | "billing_not_active"
        | "billing_hard_limit_reached" => QUOTA,
        _ if name.ends_with("spend_limit_exceeded") => QUOTA,
        "rate_limit_exceeded" | "rate_limit_error" | "slow_down" | "too_many_requests" => RATE,
        "server_is_overloaded" | "overloaded_error" | "overloaded" => OVERLOADED,
        "context_length_exceeded" | "exceed_context_size_error" => CONTEXT,
        "invalid_api_key" | "authentication_error" | "permission_error" | "account_deactivated" => AUTH,
        "model_not_found" | "not_found_error" | "unknown_url" => NOT_FOUND,
        "request_too_large" => TOO_LARGE,
        "not_supported_error" => UNSUPPORTED,
        "content_filter" | "content_policy_violation" => INVALID,
        _ => return None,
    })
}

/// The verdict by the message, in lower case. Each phrase counts only with the statuses it was seen with, because
/// a message may quote a model's answer.
fn by_message(status: u16, text: &str) -> Option<Verdict> {
    let says = |phrases: &[&str]| phrases.iter().any(|phrase| text.contains(phrase));
    match status {
        // llama-server; Hugging Face says "Model x is currently loading"
        503 if says(&["loading model", "is currently loading"]) => Some(LOADING),
        503 if says(&["overloaded"]) => Some(OVERLOADED),
        // a context shared by parallel requests (llama-server): each alone may fit
        500 if says(&["context size has been exceeded"]) => {
            Some((FailureClass::ContextLength, Phase::Ambiguous))
        }
        // llama-server calls these bad requests server errors
        500 if says(&[
            "failed to parse messages",
            "json.exception.parse_error",
            "parse error at line",
            "input is not supported",
            "too large to process",
        ]) =>
        {
            Some(INVALID)
        }
        // llama-cpp-python
        500 if says(&["must be created with embedding=true"]) => Some(UNSUPPORTED),
        400 | 413 | 422
            if says(&[
                "maximum context length",
                "exceeds the available context size",
                "prompt is too long",
            ]) =>
        {
            Some(CONTEXT)
        }
        400 | 403 | 429 if says(&["credit balance is too low"]) => Some(QUOTA),
        400 if says(&["api key not valid", "invalid api key"]) => Some(AUTH),
        // llama-server as router: "model 'x' not found"
        400 if text.starts_with("model '") && text.ends_with("not found") => Some(NOT_FOUND),
        _ => None,
    }
}

/// The verdict by the status alone.
fn by_status(status: u16) -> Verdict {
    match status {
        300..=399 => (FailureClass::Redirect, Phase::Final),
        401 | 403 => AUTH,
        402 => QUOTA,
        404 | 405 | 410 => NOT_FOUND,
        408 | 425 => (FailureClass::RequestTimeout, Phase::Refused),
        409 => (FailureClass::Conflict, Phase::Ambiguous),
        413 => TOO_LARGE,
        429 => RATE,
        400..=499 => INVALID,
        501 => UNSUPPORTED,
        // 520 to 524 are Cloudflare's: the origin failed or was too slow
        502 | 504 | 520..=524 => GATEWAY,
        503 => UNAVAILABLE,
        // "network authentication required": a captive portal
        511 => (FailureClass::NotAnApi, Phase::Final),
        529 => OVERLOADED,
        // RFC 9110 section 15: an invalid status is treated as 5xx
        _ => SERVER,
    }
}

/// Returns true if a body is an HTML page.
pub(super) fn is_html(headers: &HeaderMap, body: &[u8]) -> bool {
    let html = headers
        .get(CONTENT_TYPE)
        .is_some_and(|kind| kind.as_bytes().to_ascii_lowercase().starts_with(b"text/html"));
    html || body.trim_ascii_start().starts_with(b"<")
}
