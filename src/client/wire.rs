//! Requests and responses whose bytes pass unchanged: a caller that is itself an HTTP server forwards what its own
//! client sent, and passes on what the upstream answers.
//!
//! ```text
//!  upstream bytes ──> AnswerReader            is it an answer? text, usage, finish
//!        └──> WireLog: held ──> passed on ──> CallStream::next_wire
//! ```
//!
//! - Bytes are held until the first content: until then an attempt may fail, and another one takes its place.
//! - A stream passes in whole events, so that an error event can follow at any time. Another body passes once it is
//!   complete.
//! - Each call of a flight reads all bytes from the first one on.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use serde_json::{Map, Value};

use super::transport::{ApiKey, is_secret_name};
use crate::dialect::Dialect;
use crate::event::{BypassReason, MissReason};
use crate::openai::ChatRequest;

/// A request to pass on.
#[derive(Clone, Debug)]
pub struct WireRequest {
    /// The wire format.
    pub dialect: Dialect,
    /// The method; anything but GET and HEAD has a body.
    pub method: Method,
    /// The endpoint below the base URL: `chat/completions`.
    pub endpoint: String,
    /// The query, without the question mark.
    pub query: Option<String>,
    /// The headers to send besides those of the transport, which they replace.
    pub headers: HeaderMap,
    /// The body, as it came.
    pub body: Bytes,
    /// The keys of the client, passed on or not. No event may hold them.
    pub secrets: Vec<ApiKey>,
    /// The body in the terms of chat completions.
    pub(super) view: ChatRequest,
}

impl WireRequest {
    /// A POST without query and headers, whose `fields` are those of the JSON in `body`; empty for another body.
    pub fn new(dialect: Dialect, endpoint: &str, body: Bytes, fields: Map<String, Value>) -> Self {
        Self {
            dialect,
            method: Method::POST,
            endpoint: endpoint.to_owned(),
            query: None,
            headers: HeaderMap::new(),
            body,
            secrets: Vec::new(),
            view: dialect.view(fields),
        }
    }

    /// Returns true if the same request may be sent again: an answer of a known dialect is paid twice at worst, of
    /// another endpoint nothing is known.
    pub(super) fn may_repeat(&self) -> bool {
        self.dialect.is_known() || matches!(self.method, Method::GET | Method::HEAD)
    }

    /// The header whose key is passed on.
    pub(super) fn key_name(&self) -> Option<&str> {
        let mut names = self.headers.keys().filter(|name| holds_secret(name));
        names.next().map(HeaderName::as_str)
    }

    /// The part of a cache key that is neither user nor body: endpoint, and the shape of the answer, because stored
    /// bytes are passed on as they are.
    pub(super) fn route(&self) -> String {
        let options = self.view.get("stream_options").map(Value::to_string);
        let shape = match (self.view.is_stream(), options) {
            (false, _) => String::new(),
            (true, options) => format!(" stream {}", options.unwrap_or_default()),
        };
        let scope = |name| self.headers.get(name).map_or(&[][..], HeaderValue::as_bytes);
        let scopes = [
            "openai-organization",
            "openai-project",
            "anthropic-version",
            "anthropic-beta",
        ]
        .map(|name| String::from_utf8_lossy(scope(name)).into_owned());
        let query = self.query.as_deref().unwrap_or_default();
        format!("gateway {} {query}{shape} {}", self.endpoint, scopes.join(" "))
    }
}

/// The keys in the headers of a client.
pub(crate) fn client_secrets(headers: &HeaderMap) -> Vec<ApiKey> {
    let secret = headers.iter().filter(|(name, _)| holds_secret(name));
    let keys = secret.filter_map(|(name, value)| {
        // behind the scheme, if the value names one
        let secret = value.to_str().ok()?.rsplit(' ').next()?;
        (!secret.is_empty()).then(|| ApiKey {
            name: name.to_string(),
            secret: secret.to_owned().into(),
        })
    });
    keys.collect()
}

/// Returns true if a header of this name holds a secret of the client. An idempotency key is not one.
pub(crate) fn holds_secret(name: &HeaderName) -> bool {
    name != "idempotency-key" && is_secret_name(name.as_str())
}

/// Status and headers of a response.
#[derive(Clone, Debug, PartialEq)]
pub struct WireHead {
    /// HTTP status.
    pub status: StatusCode,
    /// The headers, as they came.
    pub headers: Arc<HeaderMap>,
}

/// A response of which all bytes are known.
#[derive(Clone, Debug, PartialEq)]
pub struct WireResponse {
    /// Status and headers.
    pub head: WireHead,
    /// The body, in the pieces in which it came.
    pub body: Vec<Bytes>,
}

impl WireHead {
    /// `None` for a status that is not HTTP.
    pub(super) fn new(status: u16, headers: Arc<HeaderMap>) -> Option<Self> {
        let status = StatusCode::from_u16(status).ok()?;
        Some(Self { status, headers })
    }
}

impl WireResponse {
    pub(super) fn new(status: u16, headers: Arc<HeaderMap>, body: Vec<Bytes>) -> Option<Arc<Self>> {
        let head = WireHead::new(status, headers)?;
        Some(Arc::new(Self { head, body }))
    }

    /// Bytes of the body.
    pub(super) fn size(&self) -> usize {
        self.body.iter().map(Bytes::len).sum()
    }

    /// The same for the cache, without what it would keep in memory for nothing: the buffers of its pieces. Without
    /// request ids, dates and limits too, which would mislead.
    pub(super) fn stored(&self) -> Self {
        let mut headers = HeaderMap::new();
        if let Some(kind) = self.head.headers.get(header::CONTENT_TYPE) {
            // a value of its own: this one is a part of the whole head
            headers.extend(HeaderValue::from_bytes(kind.as_bytes()).map(|kind| (header::CONTENT_TYPE, kind)));
        }
        Self {
            head: WireHead {
                status: self.head.status,
                headers: Arc::new(headers),
            },
            body: vec![self.body.concat().into()],
        }
    }
}

/// The use that a call made of the stored answers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CacheUse {
    /// Answered by the exact cache.
    Hit,
    /// A stored result under the caller's idempotency key.
    Replayed,
    /// Joined the flight of another call.
    Shared,
    /// Answered by the semantic cache.
    Semantic,
    /// Looked up in vain.
    Miss(MissReason),
    /// Not looked up.
    Bypass(BypassReason),
    /// Ended before the lookup.
    #[default]
    None,
}

/// The bytes of the running attempt that are not passed on yet.
#[derive(Debug, Default)]
pub(super) struct WireHold {
    streamed: bool,
    held: BytesMut,
    /// Bytes at the end of `held` that are no whole event.
    open: usize,
}

impl WireHold {
    /// Adds bytes of a body, which is a stream of events or not.
    pub(super) fn push(&mut self, bytes: &[u8], streamed: bool) {
        self.streamed = streamed;
        if !streamed {
            return self.held.extend_from_slice(bytes);
        }
        // an event ends at a blank line, whose first byte may be in the bytes before
        let from = self.held.len().saturating_sub(3);
        self.held.extend_from_slice(bytes);
        let end = self
            .held
            .get(from..)
            .and_then(last_event_end)
            .map(|end| from + end);
        self.open = match end {
            Some(end) => self.held.len() - end,
            None => self.open + bytes.len(),
        };
    }

    /// Takes the whole events of a stream that has content.
    pub(super) fn take_events(&mut self) -> Option<Bytes> {
        let ready = self.held.len() - self.open;
        (self.streamed && ready > 0).then(|| self.held.split_to(ready).freeze())
    }

    /// Takes all bytes of a complete body.
    pub(super) fn take_rest(&mut self) -> Option<Bytes> {
        self.open = 0;
        (!self.held.is_empty()).then(|| self.held.split().freeze())
    }
}

/// The position after the last blank line.
fn last_event_end(bytes: &[u8]) -> Option<usize> {
    let ends_blank_line = |at: &usize| {
        let before = bytes.get(..*at).unwrap_or_default();
        match bytes.get(*at) {
            Some(b'\n') => before.ends_with(b"\n") || before.ends_with(b"\n\r"),
            _ => before.ends_with(b"\r"),
        }
    };
    memchr::memrchr2_iter(b'\n', b'\r', bytes)
        .find(ends_blank_line)
        .map(|at| at + 1)
}

/// The response that the calls of a flight read.
#[derive(Debug, Default)]
pub(super) struct WireLog {
    /// The head, once anything was passed on: no other attempt may follow.
    pub(super) head: Option<Arc<WireHead>>,
    pub(super) body: Vec<Bytes>,
    /// The error response of the latest attempt.
    pub(super) error: Option<Arc<WireResponse>>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_passes_in_whole_events() {
        let mut hold = WireHold::default();
        let mut passed = Vec::new();
        for byte in b"data: 1\r\n\r\ndata: 2\n\n: ping\r\rdata: 3\n\r\ndata: half" {
            hold.push(&[*byte], true);
            passed.extend(hold.take_events());
        }
        assert_eq!(
            passed,
            ["data: 1\r\n\r\n", "data: 2\n\n", ": ping\r\r", "data: 3\n\r\n"]
        );
        assert_eq!(hold.take_rest().unwrap(), "data: half");
        hold.push(b"a\n\nb\n\nc", true);
        assert_eq!(hold.take_events().unwrap(), "a\n\nb\n\n");
        assert_eq!(hold.take_events(), None);
    }

    #[test]
    fn another_body_passes_at_its_end() {
        let mut hold = WireHold::default();
        hold.push(b"{\n\n}", false);
        assert_eq!(hold.take_events(), None);
        assert_eq!(hold.take_rest().unwrap(), "{\n\n}");
        assert_eq!(hold.take_rest(), None);
    }
}
