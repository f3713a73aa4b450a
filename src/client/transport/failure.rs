//! Errors of reqwest as kinds of [`SendError`] and [`BodyError`].

use std::error::Error as _;
use std::io;

use super::{BodyError, SendError, SendErrorKind};

/// All causes, joined: reqwest's own text hides them.
fn causes(error: &reqwest::Error) -> String {
    let mut text = String::new();
    let mut source = error.source();
    while let Some(cause) = source {
        if !text.is_empty() {
            text.push_str(": ");
        }
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    if text.is_empty() { error.to_string() } else { text }
}

/// The innermost I/O error among the causes.
fn io_kind(error: &reqwest::Error) -> Option<io::ErrorKind> {
    let mut source = error.source();
    let mut kind = None;
    while let Some(cause) = source {
        if let Some(io) = cause.downcast_ref::<io::Error>() {
            kind = Some(io.kind());
        }
        source = cause.source();
    }
    kind
}

/// The kind of a failed request; `proxy` is the proxy it went through.
pub(crate) fn send_error(error: &reqwest::Error, proxy: Option<&str>) -> SendError {
    let detail = causes(error);
    let io = io_kind(error);
    let lower = detail.to_lowercase();
    let kind = if error.is_connect() {
        match io {
            Some(io::ErrorKind::ConnectionRefused) => SendErrorKind::Refused,
            _ if error.is_timeout() => SendErrorKind::ConnectTimeout,
            _ if error.is_dns() || lower.contains("dns error") => {
                let unknown = ["not known", "no address associated", "nodename nor servname"];
                if unknown.iter().any(|words| lower.contains(words)) {
                    SendErrorKind::DnsUnknown
                } else {
                    SendErrorKind::DnsTemporary
                }
            }
            _ if lower.contains("certificate")
                || lower.contains("corruptmessage")
                || lower.contains("invalidcontenttype") =>
            {
                SendErrorKind::TlsConfig
            }
            _ if lower.contains("tls") || lower.contains("handshake") => SendErrorKind::TlsHandshake,
            _ => SendErrorKind::Unreachable,
        }
    } else if error.is_timeout() {
        SendErrorKind::ConnectTimeout
    } else if [
        "invalid http",
        "invalid header",
        "invalid content-length",
        "invalid transfer-encoding",
        "unexpected transfer-encoding",
        "message head is too large",
    ]
    .iter()
    .any(|words| lower.contains(words))
    {
        SendErrorKind::Framing
    } else {
        SendErrorKind::Reset
    };
    let Some(proxy) = proxy else {
        return SendError { kind, detail };
    };
    // it is the proxy that refuses or has an unknown name, not the upstream
    let kind = match kind {
        SendErrorKind::Refused | SendErrorKind::DnsUnknown | SendErrorKind::DnsTemporary => {
            SendErrorKind::Unreachable
        }
        kind => kind,
    };
    SendError {
        kind,
        detail: format!("through proxy {proxy}: {detail}"),
    }
}

pub(super) fn body_error(error: &reqwest::Error) -> BodyError {
    BodyError {
        reset: io_kind(error) == Some(io::ErrorKind::ConnectionReset),
        detail: causes(error),
    }
}
