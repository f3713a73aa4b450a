//! Errors of HTTP clients as kinds of [`SendError`] and [`BodyError`].

use std::error::Error;
use std::io;

use hyper_util::client::legacy;

use super::{BodyError, SendError, SendErrorKind};

/// All causes, joined: the clients' own texts hide them.
fn causes(error: &(dyn Error + 'static)) -> String {
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
fn io_kind(error: &(dyn Error + 'static)) -> Option<io::ErrorKind> {
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
    let failed = Failed {
        connecting: error.is_connect(),
        timed_out: error.is_timeout(),
        resolving: error.is_dns(),
    };
    let SendError { kind, detail } = failed.classify(error);
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

/// The kind of a request that failed without TLS and proxy.
pub(super) fn plain_send_error(error: &legacy::Error) -> SendError {
    let failed = Failed {
        connecting: error.is_connect(),
        timed_out: io_kind(error) == Some(io::ErrorKind::TimedOut),
        resolving: false,
    };
    failed.classify(error)
}

/// The statements of an HTTP client about its error.
struct Failed {
    connecting: bool,
    timed_out: bool,
    resolving: bool,
}

impl Failed {
    fn classify(&self, error: &(dyn Error + 'static)) -> SendError {
        let detail = causes(error);
        let kind = self.kind(&detail, io_kind(error));
        SendError { kind, detail }
    }

    fn kind(&self, detail: &str, io: Option<io::ErrorKind>) -> SendErrorKind {
        let lower = detail.to_lowercase();
        if !self.connecting {
            let is_framing = [
                "invalid http",
                "invalid header",
                "invalid content-length",
                "invalid transfer-encoding",
                "unexpected transfer-encoding",
                "message head is too large",
            ];
            return match () {
                () if self.timed_out => SendErrorKind::ConnectTimeout,
                () if is_framing.iter().any(|words| lower.contains(words)) => SendErrorKind::Framing,
                () => SendErrorKind::Reset,
            };
        }
        match io {
            Some(io::ErrorKind::ConnectionRefused) => SendErrorKind::Refused,
            _ if self.timed_out => SendErrorKind::ConnectTimeout,
            _ if self.resolving || lower.contains("dns error") => {
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
    }
}

pub(super) fn body_error(error: &(dyn Error + 'static)) -> BodyError {
    BodyError {
        reset: io_kind(error) == Some(io::ErrorKind::ConnectionReset),
        detail: causes(error),
    }
}
