//! The server side of HTTP/1.1: an accept loop, limits, and a writer that knows which bytes left.
//!
//! Why not hyper: what is served here has to break exactly. A fault is a promise about the wire ("six
//! events left, then a TCP reset"); hyper buffers, so it cannot say which bytes left before an abort, and
//! it refuses to send illegal framing, which is what a cut answer is. Parsing stays with `httparse`.
//!
//! One connection is one task of a joined set, and one request at a time:
//!
//! ```text
//! accept -> read head -> read body -> Handler::handle(request, response) -+-> ended, keep-alive: read head
//!             |  |           |                                            +-> ended, or cut: FIN, drain, close
//!  idle: close  431 408 400  413 408 400                                  +-> reset: RST
//! ```
//!
//! Everything is bounded ([`Limits`]), every wait runs on the [`Clock`](crate::time::Clock), and
//! [`Server::shutdown`] ends every connection. Framing: RFC 9112.

mod body;
mod connection;
mod head;
mod response;
mod server;

use std::time::Duration;

pub use response::{Framing, Response};
pub use server::{Handler, Server};

/// What a connection may cost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Connections at a time; more wait in the backlog of the kernel.
    pub connections: usize,
    /// Bytes of a request's header block, and of the trailers of a chunked body.
    pub head_bytes: usize,
    /// Bytes of a request's body.
    pub body_bytes: usize,
    /// For the whole header block, from its first byte (of a new connection: from the accept).
    pub head_time: Duration,
    /// For the whole body.
    pub body_time: Duration,
    /// For one write: a client that reads nothing for so long is gone.
    pub write_time: Duration,
    /// Between two requests of a connection.
    pub idle_time: Duration,
    /// Requests of a connection.
    pub requests: u32,
}

impl Default for Limits {
    /// The keep-alive numbers are those of llama-server.
    fn default() -> Self {
        Self {
            connections: 1024,
            head_bytes: 32 * 1024,
            body_bytes: 8 * 1024 * 1024,
            head_time: Duration::from_secs(10),
            body_time: Duration::from_secs(30),
            write_time: Duration::from_secs(30),
            idle_time: Duration::from_secs(5),
            requests: 100,
        }
    }
}

/// A whole request.
#[derive(Clone, Debug)]
pub struct Request {
    /// `GET`, `POST`, ...
    pub method: ::http::Method,
    /// Path and query, as they came.
    pub target: String,
    /// Header fields; the names are in lower case.
    pub headers: ::http::HeaderMap,
    /// The body, without any framing; empty where there was none.
    pub body: bytes::Bytes,
}

impl Request {
    /// The path without the query.
    pub fn path(&self) -> &str {
        self.target
            .split_once('?')
            .map_or(self.target.as_str(), |(path, _)| path)
    }

    /// A header field as text; `None` if it is absent or no ASCII text.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }
}

/// Why a request is answered by the server itself, and its connection closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{status}: {reason}")]
pub(crate) struct Refusal {
    /// 400, 408, 413 or 431.
    pub(crate) status: u16,
    /// For people.
    pub(crate) reason: &'static str,
}

impl Refusal {
    pub(crate) const fn new(status: u16, reason: &'static str) -> Self {
        Self { status, reason }
    }

    pub(crate) const fn bad(reason: &'static str) -> Self {
        Self::new(400, reason)
    }
}
