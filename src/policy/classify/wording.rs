//! Error messages: one line of at most 240 characters that names the host or the value, and what to do.
//!
//! Text that others wrote is redacted and made printable before it becomes part of a message. The server's own
//! text gets the space that is left, so the remedy is never truncated.

use std::time::Duration;

use http::HeaderMap;
use http::header::LOCATION;

use super::redact::redact;
use super::verdict::{INSPECTED_BYTES, is_html};
use super::{BodyProblem, ConnectKind, Progress, Upstream};
use crate::event::{FailureClass, Hint, Phase};
use crate::openai::ApiError;
use crate::policy::hint::HintReading;
use crate::text::SafeText;

/// Most characters of a message.
pub(super) const MAX_MESSAGE: usize = 240;
/// Most characters of a host name.
const MAX_HOST: usize = 60;
/// Most characters of the name of a model, a variable or a code.
const MAX_NAME: usize = 40;
/// Most characters of an excerpt of a body.
const MAX_EXCERPT: usize = 80;

/// The remedy for a request that exceeds a limit by itself. Some servers count `max_tokens` as used.
const TOO_LARGE: &str = "shorten the prompt, lower max_tokens or raise the limit";

/// The parts of an error response that its message uses.
pub(super) struct ErrorResponse<'a> {
    pub(super) status: u16,
    pub(super) headers: &'a HeaderMap,
    /// The beginning of the body.
    pub(super) text: &'a str,
    pub(super) error: Option<&'a ApiError>,
    pub(super) reading: HintReading,
}

pub(super) fn connect(upstream: &Upstream<'_>, kind: ConnectKind, detail: &str) -> SafeText {
    let host = host(upstream);
    // the message says all of it
    let detail = if kind == ConnectKind::Refused { "" } else { detail };
    let (lead, remedy) = match kind {
        ConnectKind::Refused => (
            format!("nothing listens at {host} (connection refused)"),
            "start the server or correct the base URL",
        ),
        ConnectKind::Unreachable => (
            format!("{host} cannot be reached"),
            "check the network and the base URL",
        ),
        ConnectKind::Timeout => (
            format!("connection to {host} timed out"),
            "check the network, or raise timeouts.connect",
        ),
        ConnectKind::DnsUnknown => (
            format!("host name of {host} does not exist"),
            "correct the base URL",
        ),
        ConnectKind::DnsTemporary => (
            format!("DNS lookup of {host} failed"),
            "check the network and its DNS",
        ),
        ConnectKind::TlsConfig => (
            format!("no trusted TLS connection to {host}"),
            "check certificate, host name and scheme: a retry cannot help",
        ),
        ConnectKind::TlsHandshake => (format!("TLS handshake with {host} broke off"), ""),
    };
    sentence(&lead, detail, remedy)
}

pub(super) fn header_timeout(upstream: &Upstream<'_>, after: Duration) -> SafeText {
    let lead = format!("{} sent no response within {after:?}", host(upstream));
    sentence(
        &lead,
        "",
        "it may be queueing: raise timeouts.headers or send fewer requests at once",
    )
}

pub(super) fn reset(upstream: &Upstream<'_>, unsent: bool) -> SafeText {
    let host = host(upstream);
    if unsent {
        let lead = format!("pooled connection to {host} was already closed; nothing was sent");
        sentence(&lead, "", "")
    } else {
        let lead = format!("{host} closed the connection before it answered");
        sentence(&lead, "", "the request may have been processed")
    }
}

pub(super) fn deadline(upstream: &Upstream<'_>, after: Duration, progress: Progress) -> SafeText {
    let host = host(upstream);
    let stage = match progress {
        Progress::Unsent => format!("before anything was sent to {host}"),
        Progress::Sent => format!("before {host} responded"),
        Progress::Begun => format!("before {host} sent any text"),
        Progress::Delivered => format!("while {host} was answering; the text so far is kept"),
    };
    sentence(
        &format!("deadline of {after:?} passed {stage}"),
        "",
        "set by timeouts.call",
    )
}

pub(super) fn internal(detail: &str) -> SafeText {
    sentence("internal error in seawall", detail, "please report it")
}

/// The message of an error response.
pub(super) fn response(upstream: &Upstream<'_>, class: FailureClass, answer: &ErrorResponse<'_>) -> SafeText {
    let (lead, remedy) = refusal(upstream, class, answer);
    let mut lead = format!("{lead} ({})", status_and_code(answer));
    if let Some(hint) = answer.reading.hint {
        lead = format!("{lead}, asks to wait {:?}", hint.wait);
    } else if answer.reading.rejected {
        lead = format!("{lead}, sends an invalid Retry-After");
    }
    sentence(&lead, &server_text(class, answer), &remedy)
}

/// The beginning of the message, and the remedy.
fn refusal(upstream: &Upstream<'_>, class: FailureClass, answer: &ErrorResponse<'_>) -> (String, String) {
    use FailureClass as C;
    let host = host(upstream);
    let (lead, remedy) = match class {
        C::RateLimited => (format!("rate limited by {host}"), "send fewer requests at once"),
        C::Quota => (
            format!("quota or credit at {host} is exhausted"),
            "check plan and billing: waiting does not help",
        ),
        C::RequestTimeout => (format!("{host} timed out waiting for the request"), ""),
        C::Conflict => (format!("{host} reports a conflict"), ""),
        C::BadGateway => (
            format!("gateway {host} got no valid response"),
            "check the server behind it",
        ),
        C::Unavailable => (format!("{host} is unavailable"), ""),
        C::Overloaded => (format!("{host} is overloaded"), "not caused by your quota"),
        C::Loading => (format!("{host} is loading its model"), ""),
        C::Invalid => return (format!("{host} rejected the request"), invalid(answer)),
        C::ContextLength => return (too_long(&host, answer), context_remedy(answer.status).to_owned()),
        C::Auth => return auth(upstream, answer.status),
        C::NotFound => return not_found(upstream),
        C::TooLarge => (format!("request too large for {host}"), TOO_LARGE),
        C::Unsupported => (format!("{host} does not support this"), ""),
        C::Redirect => (
            format!("{host} redirects to {}", target(answer.headers)),
            "redirects are not followed: if you trust the target, make it the base URL",
        ),
        C::NotAnApi => (
            format!("{host} did not send an API response"),
            "check the base URL, and for a proxy or a login page",
        ),
        C::Malformed => (format!("malformed response from {host}"), ""),
        C::ServerError
        | C::Connect
        | C::ConnectTimeout
        | C::Dns
        | C::Tls
        | C::Reset
        | C::HeaderTimeout
        | C::Truncated
        | C::Interrupted
        | C::Stalled
        | C::NoProgress
        | C::Oversize
        | C::Deadline
        | C::LimitRejected
        | C::BreakerRefused
        | C::Internal => (format!("{host} failed"), "see its log"),
    };
    (lead, remedy.to_owned())
}

fn invalid(answer: &ErrorResponse<'_>) -> String {
    let param = answer
        .error
        .map(|error| clean(&error.param, MAX_NAME))
        .unwrap_or_default();
    if param.is_empty() {
        "fix the request: a retry cannot help".to_owned()
    } else {
        format!("fix `{param}`: a retry cannot help")
    }
}

/// The prompt against the context, in LLM tokens if the server counts them (as llama-server does).
fn too_long(host: &str, answer: &ErrorResponse<'_>) -> String {
    let count = |key: &str| answer.error?.json["error"][key].as_u64();
    match (answer.status, count("n_prompt_tokens"), count("n_ctx")) {
        (_, Some(prompt), Some(context)) => {
            format!("prompt ({prompt} tokens) exceeds the context of {host} ({context} tokens)")
        }
        (500.., ..) => format!("context shared by parallel requests at {host} is full"),
        _ => format!("prompt exceeds the context of {host}"),
    }
}

fn context_remedy(status: u16) -> &'static str {
    if status >= 500 {
        "send fewer requests at once, or give the server more context"
    } else {
        "shorten the prompt or start a new conversation"
    }
}

fn auth(upstream: &Upstream<'_>, status: u16) -> (String, String) {
    let host = host(upstream);
    match upstream.key_name.map(|name| clean(name, MAX_NAME)) {
        Some(name) if status == 403 => (
            format!("the key in {name} is not allowed to do this at {host}"),
            "check its permissions".to_owned(),
        ),
        Some(name) => (
            format!("{host} rejected the key in {name}"),
            format!("check the value of {name}"),
        ),
        None => (
            format!("{host} requires an API key and none was sent"),
            "set SEAWALL_API_KEY".to_owned(),
        ),
    }
}

fn not_found(upstream: &Upstream<'_>) -> (String, String) {
    let host = host(upstream);
    let base = "check the base URL (one /v1, no trailing slash)";
    match upstream.model.map(|model| clean(model, MAX_NAME)) {
        Some(model) => (
            format!("path or model {model} not found at {host}"),
            format!("{base} and the model list"),
        ),
        None => (format!("path not found at {host}"), base.to_owned()),
    }
}

/// The target of a redirect, without query and fragment, which may hold secrets.
fn target(headers: &HeaderMap) -> String {
    let Some(location) = headers.get(LOCATION) else {
        return "an unnamed target".to_owned();
    };
    let location = String::from_utf8_lossy(location.as_bytes());
    let bare = location.split(['?', '#']).next().unwrap_or_default();
    clean(bare, MAX_HOST)
}

/// The status, and the code if it says more than the status: `429 insufficient_quota`.
fn status_and_code(answer: &ErrorResponse<'_>) -> String {
    let code = answer
        .error
        .map(|error| clean(&error.code, MAX_NAME))
        .unwrap_or_default();
    if code.is_empty() || code.parse::<f64>().is_ok() {
        answer.status.to_string()
    } else {
        format!("{} {code}", answer.status)
    }
}

/// The server's own message, if it says more than ours.
fn server_text(class: FailureClass, answer: &ErrorResponse<'_>) -> String {
    match answer.error {
        // already said
        _ if class == FailureClass::Loading => String::new(),
        Some(error) if class == FailureClass::ContextLength && !error.message.contains("maximum") => {
            String::new()
        }
        Some(error) => error.message.clone(),
        None if is_html(answer.headers, answer.text) => "an HTML page".to_owned(),
        None => answer.text.to_owned(),
    }
}

/// The message of a body that is no answer.
pub(super) fn body(
    upstream: &Upstream<'_>,
    (class, phase): (FailureClass, Phase),
    problem: &BodyProblem<'_>,
    hint: Option<Hint>,
) -> SafeText {
    let host = host(upstream);
    let kept = if phase == Phase::Delivered {
        "the text so far is kept"
    } else {
        ""
    };
    match *problem {
        BodyProblem::Truncated => sentence(&format!("response from {host} was truncated"), "", kept),
        BodyProblem::Reset => sentence(&format!("{host} reset the connection while answering"), "", kept),
        BodyProblem::Stalled { after } => sentence(&format!("no bytes from {host} for {after:?}"), "", kept),
        BodyProblem::NoProgress { after } => {
            let lead = format!("no text from {host} for {after:?}, only keep-alives");
            sentence(&lead, "", kept)
        }
        BodyProblem::Malformed { excerpt } => {
            sentence(&format!("malformed response from {host}"), &bytes(excerpt), kept)
        }
        BodyProblem::NotAnApi {
            content_type,
            excerpt,
        } => {
            let kind = clean(content_type, MAX_NAME);
            let lead = format!("{host} did not send an API response ({kind})");
            sentence(
                &lead,
                &bytes(excerpt),
                "check the base URL, and for a proxy or a login page",
            )
        }
        BodyProblem::Oversize { cap } => {
            let lead = format!("response from {host} exceeds {cap} bytes");
            sentence(&lead, "", "limit set by timeouts.max_response_bytes")
        }
        BodyProblem::ErrorEvent { error } => {
            let (when, remedy) = match class {
                _ if phase == Phase::Delivered => ("while answering", kept),
                FailureClass::ContextLength => (
                    "instead of text",
                    "send fewer requests at once, or shorten the prompt",
                ),
                FailureClass::Quota => ("instead of text", "check plan and billing: waiting does not help"),
                FailureClass::TooLarge => ("instead of text", TOO_LARGE),
                _ => ("instead of text", ""),
            };
            let mut lead = format!("{host} sent an error {when}");
            if let Some(hint) = hint {
                lead = format!("{lead}, asks to wait {:?}", hint.wait);
            }
            let said = [&error.message, &error.kind, &error.code];
            let said = said.into_iter().find(|said| !said.is_empty());
            sentence(&lead, said.map_or("", String::as_str), remedy)
        }
        BodyProblem::Empty => sentence(
            &format!("empty response from {host}"),
            "",
            "llama-cpp-python answers an overlong prompt like this",
        ),
        BodyProblem::Compressed { encoding } => sentence(
            &format!(
                "{host} sent a {}-compressed response that was not requested",
                clean(encoding, MAX_NAME)
            ),
            "",
            "check the proxy in front of it",
        ),
        BodyProblem::BadFraming { detail } => sentence(
            &format!("invalid HTTP from {host}"),
            detail,
            "check the base URL and the proxy in front of it",
        ),
    }
}

fn bytes(excerpt: &[u8]) -> String {
    let text = String::from_utf8_lossy(excerpt.get(..INSPECTED_BYTES).unwrap_or(excerpt));
    clean(&text, MAX_EXCERPT)
}

fn host(upstream: &Upstream<'_>) -> String {
    clean(upstream.host, MAX_HOST)
}

/// `lead: said; remedy` in one line. `lead` and `remedy` are clean; `said` gets the space that is left.
fn sentence(lead: &str, said: &str, remedy: &str) -> SafeText {
    let room = MAX_MESSAGE.saturating_sub(lead.chars().count() + remedy.chars().count() + 4);
    let said = clean(said, room);
    let said = said.trim_end_matches(['.', ' ']);
    let mut text = lead.to_owned();
    for (mark, part) in [(": ", said), ("; ", remedy)] {
        if !part.is_empty() {
            text.push_str(mark);
            text.push_str(part);
        }
    }
    SafeText::excerpt(&text, MAX_MESSAGE)
}

/// Text that others wrote, redacted, on one line, printable, with at most `max` characters.
fn clean(raw: &str, max: usize) -> String {
    let start: String = raw.chars().take(INSPECTED_BYTES).collect();
    let words: Vec<&str> = start.split_whitespace().collect();
    SafeText::excerpt(&redact(&words.join(" ")), max).to_string()
}
