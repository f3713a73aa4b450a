//! What people read: one line of at most 240 characters that names the host or the value, and what to do.
//!
//! Every piece that others wrote is redacted and made printable before it is built in. The server's own words
//! get what room is left, so the remedy is never what is cut off.

use std::time::Duration;

use http::HeaderMap;
use http::header::LOCATION;
use serde_json::Value;

use super::redact::redact;
use super::verdict::{LOOK, is_page};
use super::{BodyProblem, ConnectKind, Progress, Upstream};
use crate::event::{FailureClass, Phase};
use crate::openai::ApiError;
use crate::policy::hint::HintReading;
use crate::text::SafeText;

/// The longest message.
pub(super) const LONGEST: usize = 240;
/// The longest host name shown.
const HOST: usize = 60;
/// The longest name of a model, a variable or a code.
const NAME: usize = 40;
/// The longest excerpt of a broken body.
const EXCERPT: usize = 80;

/// A response that is no success, as far as it is worded.
pub(super) struct Answer<'a> {
    pub(super) status: u16,
    pub(super) headers: &'a HeaderMap,
    pub(super) body: &'a [u8],
    pub(super) error: Option<&'a ApiError>,
    pub(super) reading: HintReading,
}

pub(super) fn connect(upstream: &Upstream<'_>, kind: ConnectKind, detail: &str) -> SafeText {
    let host = host(upstream);
    // the lead says all of it
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
            format!("no connection to {host} in time"),
            "check the network, or raise timeouts.connect",
        ),
        ConnectKind::DnsUnknown => (
            format!("the host name of {host} is not known"),
            "correct the base URL",
        ),
        ConnectKind::DnsTemporary => (
            format!("the host name of {host} could not be looked up now"),
            "check the network and its DNS",
        ),
        ConnectKind::TlsConfig => (
            format!("no trusted TLS connection to {host}"),
            "check certificate, host name and scheme: trying again does not help",
        ),
        ConnectKind::TlsHandshake => (format!("the TLS handshake with {host} broke off"), ""),
    };
    sentence(&lead, detail, remedy)
}

pub(super) fn header_timeout(upstream: &Upstream<'_>, after: Duration) -> SafeText {
    let lead = format!("{} sent no response within {after:?}", host(upstream));
    sentence(
        &lead,
        "",
        "it may be queueing: raise timeouts.headers or send fewer at once",
    )
}

pub(super) fn reset(upstream: &Upstream<'_>, unsent: bool) -> SafeText {
    let host = host(upstream);
    if unsent {
        let lead = format!("a kept connection to {host} was already closed; nothing was sent");
        sentence(&lead, "", "")
    } else {
        let lead = format!("{host} closed the connection before it answered");
        sentence(&lead, "", "the request may have been worked on")
    }
}

pub(super) fn deadline(upstream: &Upstream<'_>, after: Duration, progress: Progress) -> SafeText {
    let host = host(upstream);
    let stage = match progress {
        Progress::Unsent => format!("before anything was sent to {host}"),
        Progress::Sent => format!("while {host} had not answered yet"),
        Progress::Begun => format!("before {host} sent any text"),
        Progress::Delivered => format!("while {host} was still answering; the text so far is kept"),
    };
    sentence(
        &format!("the deadline of {after:?} passed {stage}"),
        "",
        "timeouts.call sets it",
    )
}

pub(super) fn internal(detail: &str) -> SafeText {
    sentence("a bug in seawall ended this attempt", detail, "please report it")
}

/// A response that is no success.
pub(super) fn response(upstream: &Upstream<'_>, class: FailureClass, answer: &Answer<'_>) -> SafeText {
    let (lead, remedy) = refusal(upstream, class, answer);
    let mut lead = format!("{lead} ({})", tag(answer));
    if let Some(hint) = answer.reading.hint {
        lead = format!("{lead}, asks to wait {:?}", hint.wait);
    } else if answer.reading.rejected {
        lead = format!("{lead}, names an unreadable wait");
    }
    sentence(&lead, &said(class, answer), &remedy)
}

/// How a refusal begins, and what to do about it.
fn refusal(upstream: &Upstream<'_>, class: FailureClass, answer: &Answer<'_>) -> (String, String) {
    use FailureClass as C;
    let host = host(upstream);
    let (lead, remedy) = match class {
        C::RateLimited => (format!("{host} limits the rate"), "send fewer at once"),
        C::Quota => (
            format!("{host} reports that quota or credit is used up"),
            "waiting does not help: check plan and billing",
        ),
        C::RequestTimeout => (format!("{host} gave up waiting for the request"), ""),
        C::Conflict => (format!("{host} reports a conflict"), ""),
        C::BadGateway => (
            format!("the gateway at {host} got no good answer"),
            "check the server behind it",
        ),
        C::Unavailable => (format!("{host} is not available"), ""),
        C::Overloaded => (format!("{host} is overloaded"), "this is not your quota"),
        C::Loading => (format!("{host} is loading its model"), ""),
        C::Invalid => return (format!("{host} rejects the request"), invalid(answer)),
        C::ContextLength => return (too_long(&host, answer), context_remedy(answer.status).to_owned()),
        C::Auth => return auth(upstream, answer.status),
        C::NotFound => return not_found(upstream),
        C::TooLarge => (
            format!("the request is too large for {host}"),
            "shorten the prompt",
        ),
        C::Unsupported => (format!("{host} does not offer this"), ""),
        C::Redirect => (
            format!("{host} redirects to {}", target(answer.headers)),
            "redirects are not followed: if you trust it, make it the base URL",
        ),
        C::NotAnApi => (
            format!("{host} did not answer like an API"),
            "check the base URL, a proxy or a login page",
        ),
        C::Malformed => (format!("the answer of {host} makes no sense"), ""),
        C::ServerError
        | C::Connect
        | C::ConnectTimeout
        | C::Dns
        | C::Tls
        | C::Reset
        | C::HeaderTimeout
        | C::Cut
        | C::Interrupted
        | C::Stalled
        | C::NoProgress
        | C::Oversize
        | C::Deadline
        | C::LimitRejected
        | C::BreakerRefused
        | C::Internal => (format!("{host} failed"), "its log may tell why"),
    };
    (lead, remedy.to_owned())
}

fn invalid(answer: &Answer<'_>) -> String {
    let param = answer
        .error
        .map(|error| clean(&error.param, NAME))
        .unwrap_or_default();
    if param.is_empty() {
        "correct it: sending it again changes nothing".to_owned()
    } else {
        format!("correct `{param}`: sending it again changes nothing")
    }
}

/// The prompt against the context, in tokens where the server tells them (llama-server does).
fn too_long(host: &str, answer: &Answer<'_>) -> String {
    let error = serde_json::from_slice::<Value>(answer.body).unwrap_or_default();
    let count = |key: &str| error["error"][key].as_u64();
    match (answer.status, count("n_prompt_tokens"), count("n_ctx")) {
        (_, Some(prompt), Some(context)) => {
            format!("the prompt ({prompt} tokens) exceeds the context of {host} ({context} tokens)")
        }
        (500.., ..) => format!("the context that parallel requests share at {host} is full"),
        _ => format!("the prompt exceeds the context of {host}"),
    }
}

fn context_remedy(status: u16) -> &'static str {
    if status >= 500 {
        "send fewer at once, or give the server more context"
    } else {
        "shorten the prompt or forget the conversation"
    }
}

fn auth(upstream: &Upstream<'_>, status: u16) -> (String, String) {
    let host = host(upstream);
    match upstream.key_name.map(|name| clean(name, NAME)) {
        Some(name) if status == 403 => (
            format!("{host} does not allow this with the key in {name}"),
            "check what the key may do".to_owned(),
        ),
        Some(name) => (
            format!("{host} refuses the key in {name}"),
            format!("check the value of {name}"),
        ),
        None => (
            format!("{host} wants an API key and none was sent"),
            "put it into SEAWALL_API_KEY".to_owned(),
        ),
    }
}

fn not_found(upstream: &Upstream<'_>) -> (String, String) {
    let host = host(upstream);
    let base = "check the base URL (one /v1, no slash at its end)";
    match upstream.model.map(|model| clean(model, NAME)) {
        Some(model) => (
            format!("{host} does not know the path or the model {model}"),
            format!("{base} and the list of models"),
        ),
        None => (format!("{host} does not know the path"), base.to_owned()),
    }
}

/// Where a redirect leads, without user, query and fragment: they may hold secrets.
fn target(headers: &HeaderMap) -> String {
    let Some(location) = headers.get(LOCATION) else {
        return "nowhere".to_owned();
    };
    let location = String::from_utf8_lossy(location.as_bytes());
    let bare = location.split(['?', '#']).next().unwrap_or_default();
    clean(bare, HOST)
}

/// `429 insufficient_quota`: the status, and the code if it says more than the status.
fn tag(answer: &Answer<'_>) -> String {
    let code = answer
        .error
        .map(|error| clean(&error.code, NAME))
        .unwrap_or_default();
    if code.is_empty() || code.parse::<f64>().is_ok() {
        answer.status.to_string()
    } else {
        format!("{} {code}", answer.status)
    }
}

/// The server's own words, if they are words.
fn said(class: FailureClass, answer: &Answer<'_>) -> String {
    match answer.error {
        // the lead says it already
        _ if class == FailureClass::Loading => String::new(),
        Some(error) if class == FailureClass::ContextLength && !error.message.contains("maximum") => {
            String::new()
        }
        Some(error) => error.message.clone(),
        None if is_page(answer.headers, answer.body) => "an HTML page".to_owned(),
        None => String::from_utf8_lossy(answer.body.get(..LOOK).unwrap_or(answer.body)).into_owned(),
    }
}

/// A body that is no answer.
pub(super) fn body(
    upstream: &Upstream<'_>,
    (class, phase): (FailureClass, Phase),
    problem: &BodyProblem<'_>,
) -> SafeText {
    let host = host(upstream);
    let kept = if phase == Phase::Delivered {
        "the text so far is kept"
    } else {
        ""
    };
    match *problem {
        BodyProblem::Cut => sentence(&format!("the answer of {host} ended before its end"), "", kept),
        BodyProblem::Reset => sentence(&format!("{host} broke the connection while answering"), "", kept),
        BodyProblem::Stalled { after } => sentence(&format!("no bytes from {host} for {after:?}"), "", kept),
        BodyProblem::NoProgress { after } => {
            let lead = format!("no progress at {host} for {after:?}: signs of life, but no text");
            sentence(&lead, "", kept)
        }
        BodyProblem::Malformed { excerpt } => sentence(
            &format!("the answer of {host} makes no sense"),
            &bytes(excerpt),
            kept,
        ),
        BodyProblem::NotAnApi {
            content_type,
            excerpt,
        } => {
            let kind = clean(content_type, NAME);
            let lead = format!("{host} did not answer like an API ({kind})");
            sentence(
                &lead,
                &bytes(excerpt),
                "check the base URL, a proxy or a login page",
            )
        }
        BodyProblem::Oversize { cap } => {
            let lead = format!("the answer of {host} is larger than {cap} bytes");
            sentence(&lead, "", "timeouts.max_response_bytes sets the bound")
        }
        BodyProblem::ErrorEvent { error } if phase == Phase::Delivered => {
            let lead = format!("{host} broke off with an error");
            sentence(&lead, &error.message, kept)
        }
        BodyProblem::ErrorEvent { error } => {
            let remedy = match class {
                FailureClass::ContextLength => "send fewer at once, or shorten the prompt",
                FailureClass::Quota => "waiting does not help: check plan and billing",
                _ => "",
            };
            sentence(
                &format!("{host} sent an error instead of text"),
                &error.message,
                remedy,
            )
        }
        BodyProblem::Empty => sentence(
            &format!("{host} sent a complete answer with nothing in it"),
            "",
            "llama-cpp-python does so when the prompt is too long",
        ),
        BodyProblem::BadFraming => sentence(
            &format!("{host} framed its answer in two ways at once"),
            "",
            "not read: two readers could disagree; check the proxy before it",
        ),
    }
}

fn bytes(excerpt: &[u8]) -> String {
    let text = String::from_utf8_lossy(excerpt.get(..LOOK).unwrap_or(excerpt));
    clean(&text, EXCERPT)
}

fn host(upstream: &Upstream<'_>) -> String {
    clean(upstream.host, HOST)
}

/// `lead: said; remedy` in one line. `lead` and `remedy` are clean; what was said gets the room that is left.
fn sentence(lead: &str, said: &str, remedy: &str) -> SafeText {
    let room = LONGEST.saturating_sub(lead.chars().count() + remedy.chars().count() + 4);
    let said = clean(said, room);
    let said = said.trim_end_matches(['.', ' ']);
    let mut text = lead.to_owned();
    for (mark, part) in [(": ", said), ("; ", remedy)] {
        if !part.is_empty() {
            text.push_str(mark);
            text.push_str(part);
        }
    }
    SafeText::excerpt(&text, LONGEST)
}

/// Text that others wrote: without secrets, on one line, printable, at most `max` characters.
fn clean(raw: &str, max: usize) -> String {
    let start: String = raw.chars().take(LOOK).collect();
    let words: Vec<&str> = start.split_whitespace().collect();
    SafeText::excerpt(&redact(&words.join(" ")), max).to_string()
}
