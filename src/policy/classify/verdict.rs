//! From code, type, wording and status to class and phase.

use http::HeaderMap;
use http::header::CONTENT_TYPE;

use crate::event::{FailureClass, Phase};
use crate::openai::ApiError;

/// What is looked at of an error body; more is never an error message.
pub(super) const LOOK: usize = 4096;

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

/// The verdict on a response that is no success.
pub(super) fn of_response(
    status: u16,
    error: Option<&ApiError>,
    headers: &HeaderMap,
    body: &[u8],
) -> Verdict {
    match (status, error) {
        // no success was expected here; read as a body that is no answer
        (0..=299, Some(error)) => of_event(error),
        (0..=299, None) if is_page(headers, body) => (FailureClass::NotAnApi, Phase::Final),
        (0..=299, None) => (FailureClass::Malformed, Phase::Begun),
        (_, Some(error)) => by_error(status, error).unwrap_or_else(|| by_status(status)),
        (_, None) => {
            let text = String::from_utf8_lossy(body.get(..LOOK).unwrap_or(body)).to_lowercase();
            by_wording(status, &text).unwrap_or_else(|| by_status(status))
        }
    }
}

/// The verdict on an error inside a 200, before any content: by its code if that is a refusal or final, else
/// an answer that had begun.
pub(super) fn of_event(error: &ApiError) -> Verdict {
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

/// By code, then by type. A type that servers use for everything decides last: its wording comes before it.
fn by_error(status: u16, error: &ApiError) -> Option<Verdict> {
    let message: String = error.message.chars().take(LOOK).collect();
    by_name(&error.code)
        .or_else(|| by_name(&error.kind))
        .or_else(|| by_wording(status, &message.to_lowercase()))
        .or({
            // OpenAI gives this type to unknown paths, bad keys and more: there the status knows better
            let vague = error.kind == "invalid_request_error";
            (vague && matches!(status, 400 | 422 | 500)).then_some(INVALID)
        })
}

/// Codes and types that mean one thing wherever they stand. Sources: the error pages of OpenAI and Anthropic,
/// llama-server's and llama-cpp-python's own (llama-server-wire.md, sections 4 and 8).
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

/// What only the message tells. `text` is in lower case. Each phrase counts only under the statuses it was
/// seen with: a model's own words may be quoted in a message.
fn by_wording(status: u16, text: &str) -> Option<Verdict> {
    let says = |phrases: &[&str]| phrases.iter().any(|phrase| text.contains(phrase));
    match status {
        // llama-server; Hugging Face says "Model x is currently loading"
        503 if says(&["loading model", "is currently loading"]) => Some(LOADING),
        503 if says(&["overloaded"]) => Some(OVERLOADED),
        // a context that parallel requests share (llama-server): each alone may pass
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

/// The status alone.
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
        // 520 to 524 are Cloudflare's: it reached the origin badly or too late
        502 | 504 | 520..=524 => GATEWAY,
        503 => UNAVAILABLE,
        // "network authentication required": a captive portal
        511 => (FailureClass::NotAnApi, Phase::Final),
        529 => OVERLOADED,
        // RFC 9110 section 15: an invalid status is treated as 5xx
        _ => SERVER,
    }
}

/// Whether a body is a page for people.
pub(super) fn is_page(headers: &HeaderMap, body: &[u8]) -> bool {
    let html = headers
        .get(CONTENT_TYPE)
        .is_some_and(|kind| kind.as_bytes().to_ascii_lowercase().starts_with(b"text/html"));
    html || body.trim_ascii_start().starts_with(b"<")
}
