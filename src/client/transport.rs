//! One HTTP attempt: no retries, no redirects, cancelled by drop.
//!
//! [`HttpTransport`] sends over the network; the simulator and the scripted tests implement the same trait in
//! memory.

mod address;
mod failure;
mod header;
mod http;
mod plain;

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use ::http::HeaderMap;
use bytes::Bytes;
use futures_util::Stream;
use secrecy::{ExposeSecret as _, SecretString};

pub(crate) use address::{Address, add_query, host_of, is_loopback, is_private, without_secrets};
pub(crate) use failure::send_error;
pub use header::{ExtraHeader, HeaderError};
pub(crate) use header::{end_to_end, is_secret_name, secrets};
pub use http::{HttpConfig, HttpTransport, TransportSetupError};
pub(crate) use http::{client_for, http_client};

use super::wire::WireRequest;
use crate::event::{CallId, UpstreamInfo};
use crate::policy::classify::{may_start_at_end, redact_key};
use crate::text::SafeText;

/// The request of one attempt.
#[derive(Clone, Debug)]
pub struct AttemptRequest {
    /// The body: JSON, unless `wire` says otherwise.
    pub body: Bytes,
    /// The request to pass on, with its endpoint, method and headers; `None` for a chat completion.
    pub wire: Option<Arc<WireRequest>>,
    /// The call that owns the flight.
    pub call: CallId,
    /// The number of the attempt in its flight, from 1.
    pub attempt: u32,
    /// LLM tokens of the prompt, counted by the caller or estimated. Not sent.
    pub prompt_tokens: u64,
    /// The idempotency key, the same for every attempt of a call.
    pub idempotency_key: String,
}

/// Status, headers, and the body as a stream.
pub struct Response {
    /// HTTP status.
    pub status: u16,
    /// Response headers.
    pub headers: HeaderMap,
    /// The body. Its last item is an error if the transport knows that the body is incomplete.
    pub body: BodyStream,
}

impl std::fmt::Debug for Response {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Response")
            .field("status", &self.status)
            .finish_non_exhaustive()
    }
}

/// Body bytes as they arrive.
pub type BodyStream = Pin<Box<dyn Stream<Item = Result<Bytes, BodyError>> + Send>>;

/// The error of a truncated body.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{detail}")]
pub struct BodyError {
    /// True if the peer reset the connection instead of closing it.
    pub reset: bool,
    /// The transport's own error text.
    pub detail: String,
}

/// The error of a request without a response.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{detail}")]
pub struct SendError {
    /// The kind of failure, which decides phase and class.
    pub kind: SendErrorKind,
    /// The transport's own error text.
    pub detail: String,
}

/// The kinds of [`SendError`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SendErrorKind {
    /// Connection refused: nothing listens at the address.
    Refused,
    /// No route, or the connection broke while it was made.
    Unreachable,
    /// No connection within the connect timeout.
    ConnectTimeout,
    /// The host name does not exist.
    DnsUnknown,
    /// The resolver failed.
    DnsTemporary,
    /// Certificate or protocol version do not fit: a retry cannot help.
    TlsConfig,
    /// The TLS handshake broke off.
    TlsHandshake,
    /// The connection broke after the request was sent.
    Reset,
    /// The response is not HTTP, or its framing is ambiguous.
    Framing,
}

/// The way to one upstream, for one attempt at a time.
pub trait Transport: Send + Sync + 'static {
    /// Sends the request and waits for the response headers. Dropping the future or the body cancels the request.
    ///
    /// # Errors
    /// If no response headers arrive. A response with an error status is not an error here.
    fn send(&self, request: AttemptRequest) -> impl Future<Output = Result<Response, SendError>> + Send;

    /// The upstream, for messages and cache keys.
    fn info(&self) -> UpstreamInfo;

    /// A number that differs between API keys, part of every cache key. Default: 0.
    fn credential_id(&self) -> u64 {
        0
    }

    /// Everything secret that is sent: the API key first, which messages name, then secret headers. No default,
    /// because a forgotten key would be shown wherever a server echoes it.
    fn keys(&self) -> &[ApiKey];

    /// The variable or file of the key, for messages.
    fn key_name(&self) -> Option<&str> {
        self.keys().first().map(|key| key.name.as_str())
    }

    /// The text with the keys redacted. Every event, and so screen, journal and reports, holds redacted text; the
    /// caller of the library gets what the server sent (docs/semantics.md, Security).
    fn redact(&self, text: SafeText) -> SafeText {
        redact_all(self.keys(), text)
    }
}

/// The text with these keys redacted.
pub(super) fn redact_all(keys: &[ApiKey], text: SafeText) -> SafeText {
    keys.iter().fold(text, |text, key| key.redact(text))
}

/// An API key and its source.
#[derive(Clone, Debug)]
pub struct ApiKey {
    /// The variable or file, for messages.
    pub name: String,
    /// The key itself; never printed.
    pub secret: SecretString,
}

impl ApiKey {
    /// The text with this key, and parts of it, redacted.
    pub(super) fn redact(&self, text: SafeText) -> SafeText {
        redact_key(&text, self.secret.expose_secret()).map_or(text, SafeText::from)
    }

    /// Returns true if this key may start at the end of `text`.
    pub(super) fn may_start_at_end(&self, text: &str) -> bool {
        may_start_at_end(text, self.secret.expose_secret())
    }
}
