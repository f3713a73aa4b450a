//! An HTTP/1.1 server that can break a response at an exact byte: an accept loop, limits, and an unbuffered
//! writer.
//!
//! hyper does not fit: a fault specifies the bytes on the wire ("six events, then a TCP reset"), but hyper
//! buffers, so the bytes sent before an abort are unknown, and it cannot send the invalid framing of a truncated
//! answer. `httparse` does the parsing.
//!
//! A connection is one task of a joined set and serves one request at a time:
//!
//! ```text
//! accept -> read head -> read body -> Handler::handle(request, response) -+-> ended, keep-alive: read head
//!             |  |           |                                            +-> ended, or cut: FIN, drain, close
//!  idle: close  431 408 400  413 408 400                                  +-> reset: RST
//! ```
//!
//! [`Limits`] bounds everything, every wait uses the [`Clock`](crate::time::Clock), and [`Server::shutdown`] ends
//! every connection. Framing: RFC 9112.

mod body;
mod connection;
mod head;
mod response;
mod server;

use std::time::Duration;

pub use response::{Framing, Response};
pub use server::{Handler, Server};

/// The limits of the server and its connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Simultaneous connections; more wait in the kernel's backlog.
    pub connections: usize,
    /// Bytes of the header block of a request, and of the trailers of a chunked body.
    pub head_bytes: usize,
    /// Bytes of the body of a request.
    pub body_bytes: usize,
    /// Time for the header block, from its first byte (on a new connection, from the accept).
    pub head_time: Duration,
    /// Time for the body.
    pub body_time: Duration,
    /// Time for one write; after that the client counts as disconnected.
    pub write_time: Duration,
    /// Time between two requests of a connection.
    pub idle_time: Duration,
    /// Requests per connection.
    pub requests: u32,
}

impl Default for Limits {
    /// The keep-alive values are those of llama-server.
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

/// A complete request.
#[derive(Clone, Debug)]
pub struct Request {
    /// `GET`, `POST`, ...
    pub method: ::http::Method,
    /// Path and query, unchanged.
    pub target: String,
    /// Header fields, with lower-case names.
    pub headers: ::http::HeaderMap,
    /// The body without framing; empty for a request without one.
    pub body: bytes::Bytes,
}

impl Request {
    /// The path without the query.
    pub fn path(&self) -> &str {
        self.target
            .split_once('?')
            .map_or(self.target.as_str(), |(path, _)| path)
    }

    /// A header field as text; `None` if it is absent or not ASCII.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }
}

/// A request that the server itself rejects before it closes the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{status}: {reason}")]
pub(crate) struct Rejection {
    /// 400, 408, 413 or 431.
    pub(crate) status: u16,
    /// The error message.
    pub(crate) reason: &'static str,
}

impl Rejection {
    pub(crate) const fn new(status: u16, reason: &'static str) -> Self {
        Self { status, reason }
    }

    pub(crate) const fn bad(reason: &'static str) -> Self {
        Self::new(400, reason)
    }
}
