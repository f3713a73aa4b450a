//! Class and phase of an error response, from its code, type, message and status.

use http::HeaderMap;
use http::header::{CONTENT_TYPE, RETRY_AFTER};
use serde_json::Value;

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

/// The verdict on an error response; `text` is the beginning of its body.
pub(super) fn for_response(
    status: u16,
    error: Option<&ApiError>,
    headers: &HeaderMap,
    text: &str,
) -> Verdict {
    match (status, error) {
        // a success status in the wrong place: read as a body that is no answer
        (0..=299, Some(error)) => for_event(error),
        (0..=299, None) if is_html(headers, text) => (FailureClass::NotAnApi, Phase::Final),
        (0..=299, None) => (FailureClass::Malformed, Phase::Begun),
        (_, Some(error)) => match by_error(status, error) {
            // the server names a time at which this request may pass
            TOO_LARGE if status == 429 && by_type_alone(error) && headers.contains_key(RETRY_AFTER) => RATE,
            verdict => verdict,
        },
        (_, None) => {
            let text = text.to_lowercase();
            let verdict = by_message(status, &text).unwrap_or_else(|| by_status(status));
            limited(verdict, status, &text)
        }
    }
}

/// The verdict on an error inside a 200, before any content: as if its code were the status. An ambiguous one counts
/// as an answer that had begun.
pub(super) fn for_event(error: &ApiError) -> Verdict {
    let status = error
        .status()
        .unwrap_or_else(|| spoken_status(&lower(&error.message)));
    match by_error(status, error) {
        (class, Phase::Ambiguous) => (class, Phase::Begun),
        verdict => verdict,
    }
}

/// The status that a message, in lower case, means, if neither code nor type mean one.
fn spoken_status(text: &str) -> u16 {
    const SAYINGS: [(u16, &[&str]); 6] = [
        (402, NO_BALANCE),
        (429, &["rate limit", "too many requests"]),
        (503, &["overloaded"]),
        (400, TOO_LONG),
        // LM Studio answers every path with 200
        (404, &["unexpected endpoint"]),
        (401, &["invalid api key", "incorrect api key"]),
    ];
    let row = SAYINGS
        .iter()
        .find(|(_, phrases)| phrases.iter().any(|phrase| text.contains(phrase)));
    row.map_or(500, |row| row.0)
}

/// The verdict by code, then type, then message, then status. A type that servers use for everything decides last.
fn by_error(status: u16, error: &ApiError) -> Verdict {
    let message = lower(&error.message);
    // OpenAI uses this type for unknown paths, bad keys and more: there the status says more
    let vague = error.kind == "invalid_request_error" && matches!(status, 400 | 422 | 500);
    let verdict = by_name(&error.code)
        .or_else(|| by_name(&error.kind))
        .or_else(|| by_message(status, &message))
        .or(vague.then_some(INVALID))
        .unwrap_or_else(|| by_status(status));
    match verdict {
        RATE if names_daily_quota(&error.json) => QUOTA,
        RATE if by_type_alone(error) => TOO_LARGE,
        verdict => limited(verdict, status, &message),
    }
}

/// Returns true if only the type says that the tokens of one request exceed the limit. OpenAI uses the type for every
/// limit of tokens, but if waiting helps, the message says so.
fn by_type_alone(error: &ApiError) -> bool {
    let message = lower(&error.message);
    error.kind == "tokens"
        && !["used", "again", "retry", "wait"]
            .iter()
            .any(|word| message.contains(word))
        && !exceeds_limit(&message)
}

/// Makes a refusal final if the request by itself exceeds the limit. There the status or the message says more than
/// the name: Groq sends `rate_limit_exceeded` with 413, OpenAI with 429.
fn limited(verdict: Verdict, status: u16, message: &str) -> Verdict {
    match verdict {
        (_, Phase::Refused) if status == 413 => TOO_LARGE,
        RATE if exceeds_limit(message) => TOO_LARGE,
        // Gemini: the model is not in this tier
        RATE if number_after(message, "limit") == Some(0) => QUOTA,
        verdict => verdict,
    }
}

/// Returns true if a message, in lower case, says that one request is larger than the limit: "Limit 6000, Requested
/// 6294". With "Used 5034, Requested 1443" the request fits, only not now.
fn exceeds_limit(message: &str) -> bool {
    let requested = [
        "requested",
        "request of",
        "request has",
        "request is",
        "request contains",
        "request needs",
    ];
    let requested = requested.iter().find_map(|words| number_after(message, words));
    match (number_after(message, "limit"), requested) {
        (Some(limit), Some(requested)) => requested > limit,
        _ => [
            "request too large",
            "request is too large",
            "tokens must be reduced",
        ]
        .iter()
        .any(|phrase| message.contains(phrase)),
    }
}

/// The number that follows a word, with nothing but fillers between. Digits of a name, as in `gpt-5` or an
/// identifier, are no number.
fn number_after(message: &str, word: &str) -> Option<u64> {
    const FILLERS: [&str; 7] = ["a", "about", "at", "is", "of", "total", "was"];
    message.match_indices(word).find_map(|(at, _)| {
        let rest = &message[at + word.len()..];
        let (between, rest) = rest.split_at(rest.find(|c: char| c.is_ascii_digit())?);
        let mut words = between
            .split(|c: char| !c.is_alphanumeric())
            .filter(|word| !word.is_empty());
        let end = rest
            .find(|c: char| !c.is_ascii_digit() && c != ',')
            .unwrap_or(rest.len());
        let (digits, rest) = rest.split_at(end);
        let fraction = rest.strip_prefix('.').unwrap_or_default();
        let whole = !rest.starts_with(|c: char| c.is_alphanumeric() || c == '-')
            && !fraction.starts_with(|c: char| c.is_ascii_digit());
        let number = digits.replace(',', "").parse().ok();
        number.filter(|_| whole && words.all(|word| FILLERS.contains(&word)))
    })
}

/// Returns true if the exhausted quota of a Google error, also of a quoted one, is one per day: it is not refilled
/// within any wait that `RetryInfo` names.
fn names_daily_quota(json: &Value) -> bool {
    match json {
        Value::Array(items) => items.iter().any(names_daily_quota),
        Value::Object(fields) => fields.iter().any(|(key, value)| match value {
            Value::String(id) => matches!(key.as_str(), "quotaId" | "quota_limit") && id.contains("PerDay"),
            value => names_daily_quota(value),
        }),
        _ => false,
    }
}

fn lower(message: &str) -> String {
    let start: String = message.chars().take(INSPECTED_BYTES).collect();
    start.to_lowercase()
}

/// The verdict by a code or type that has one meaning everywhere. Sources: the error documentation of OpenAI,
/// Anthropic, Moonshot, Zhipu (numbers), DashScope, Volcengine, Groq, AWS and new-api, and captures of llama-server
/// and llama-cpp-python (`tests/wire`).
fn by_name(name: &str) -> Option<Verdict> {
    Some(match name {
        "insufficient_quota"
        | "insufficient_balance"
        | "insufficient_credits"
        | "insufficient_user_quota"
        | "credit_balance_exhausted"
        | "exceeded_current_quota_error"
        | "organization_usage_limit_exceeded"
        | "quota_exceeded"
        | "usage_limit_reached"
        | "usage_not_included"
        | "Arrearage"
        | "AccountOverdueError"
        | "billing"
        | "billing_error"
        | "billing_not_active"
        | "billing_hard_limit_reached"
        | "1113"
        | "1304"
        | "1308"
        | "1309"
        | "1310" => QUOTA,
        _ if name.ends_with("spend_limit_exceeded") => QUOTA,
        "rate_limit_exceeded"
        | "rate_limit_error"
        | "rate_limit_reached_error"
        | "RateLimitReached"
        | "slow_down"
        | "too_many_requests" => RATE,
        _ if name.starts_with("Throttling") => RATE,
        "server_is_overloaded"
        | "overloaded_error"
        | "overloaded"
        | "engine_overloaded_error"
        | "ServerOverloaded"
        | "capacity_exceeded" => OVERLOADED,
        "context_length_exceeded"
        | "exceed_context_size_error"
        | "ContextWindowExceededError"
        | "model_max_prompt_tokens_exceeded"
        | "1261" => CONTEXT,
        "invalid_api_key" | "authentication_error" | "permission_error" | "account_deactivated" => AUTH,
        "model_not_found" | "not_found_error" | "unknown_url" => NOT_FOUND,
        "request_too_large" => TOO_LARGE,
        "not_supported_error" => UNSUPPORTED,
        "content_filter" | "content_policy_violation" => INVALID,
        _ => return None,
    })
}

/// Phrases for a prompt that exceeds the context: OpenAI and vLLM, llama-server, Anthropic (two), Gemini, vLLM's
/// engine, SGLang, TGI, Bedrock, xAI, Zhipu, Moonshot, DashScope, Volcengine, Cloudflare.
const TOO_LONG: &[&str] = &[
    "maximum context length",
    "exceeds the available context size",
    "prompt is too long",
    "exceed context limit",
    "exceeds the maximum number of tokens allowed",
    "longer than the maximum model length",
    "longer than the model's context length",
    "`max_new_tokens` must be",
    "input is too long for requested model",
    "maximum prompt length is",
    "prompt exceeds max length",
    "exceeded model token limit",
    "range of input length should be",
    "exceed max message tokens",
    "exceeded this model context window limit",
];

/// Phrases for an empty account: Anthropic, DeepSeek and Moonshot, one-api and its forks (two).
const NO_BALANCE: &[&str] = &[
    "credit balance is too low",
    "insufficient balance",
    "额度不足",
    "余额不足",
];

/// Phrases for a rate limit, in gateways also under another status: LiteLLM, Google's 403, one-api, Zhipu.
const RATE_LIMIT: &[&str] = &[
    "rate limit exceeded",
    "rate limit reached",
    "rate limited",
    "ratelimiterror",
    "too many requests",
    "请求过于频繁",
    "速率限制",
];

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
        // 403 is Together's
        400 | 403 | 413 | 422 if says(TOO_LONG) => Some(CONTEXT),
        400 | 403 | 429 | 500 if says(NO_BALANCE) => Some(QUOTA),
        400 | 403 | 500 | 502 | 503 if says(RATE_LIMIT) => Some(RATE),
        // one-api: the upstream is saturated
        429 | 500 if says(&["负载已饱和"]) => Some(OVERLOADED),
        // LM Studio, with any exit code
        400 if says(&["the model has crashed"]) => Some(SERVER),
        // OpenRouter's moderation
        403 if says(&["requires moderation", "was flagged"]) => Some(INVALID),
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
        // 420 is an old 429
        420 | 429 => RATE,
        // 460 and 499 are AWS's and nginx's for a client that left: seawall did not, so a proxy between them did.
        // 520 to 530 are Cloudflare's: the origin failed or was too slow. 424 is TGI's: generation failed.
        424 | 460 | 499 | 502 | 504 | 520..=528 | 530 => GATEWAY,
        // Groq: the capacity of the flex tier is exhausted
        498 | 529 => OVERLOADED,
        400..=499 => INVALID,
        501 => UNSUPPORTED,
        503 => UNAVAILABLE,
        // "network authentication required": a captive portal
        511 => (FailureClass::NotAnApi, Phase::Final),
        // RFC 9110 section 15: an invalid status is treated as 5xx
        _ => SERVER,
    }
}

/// Returns true if a body is an HTML page.
pub(super) fn is_html(headers: &HeaderMap, text: &str) -> bool {
    let html = headers
        .get(CONTENT_TYPE)
        .is_some_and(|kind| kind.as_bytes().to_ascii_lowercase().starts_with(b"text/html"));
    html || text.trim_ascii_start().starts_with('<')
}
