//! Writes one response, and can break it at any byte.

use std::fmt::Write as _;
use std::io;

use bytes::{BufMut, BytesMut};

use super::connection::Connection;
use crate::time::Timestamp;

/// How the end of a body is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// `Content-Length`.
    Length(u64),
    /// `Transfer-Encoding: chunked`.
    Chunked,
}

/// The response to one request. A handler writes [`head`](Self::head), any number of
/// [`body`](Self::body) and [`end`](Self::end); or leaves the way with [`reset`](Self::reset) or
/// [`cut`](Self::cut). Left without an end, it counts as cut.
#[derive(Debug)]
pub struct Response<'a> {
    connection: &'a mut Connection,
    state: State,
    http10: bool,
    bodyless: bool,
    close: bool,
}

/// Where the writer stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Fresh,
    Fixed { left: u64 },
    Chunked,
    UntilClose,
    Ended,
    Cut,
    Reset,
}

/// What becomes of the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum After {
    KeepAlive,
    Close,
    Reset,
}

impl<'a> Response<'a> {
    /// `bodyless`: the request was a HEAD. `close`: this is the last response of the connection.
    pub(super) fn new(connection: &'a mut Connection, http10: bool, bodyless: bool, close: bool) -> Self {
        Self {
            connection,
            state: State::Fresh,
            http10,
            bodyless,
            close,
        }
    }

    /// Sends the status line and the header fields. The framing fields and those of the connection are
    /// added here; give no others of their kind. A field that would break out of its line is left out.
    pub async fn head(
        &mut self,
        status: u16,
        headers: &[(impl AsRef<str>, impl AsRef<[u8]>)],
        framing: Framing,
    ) -> io::Result<()> {
        if self.state != State::Fresh {
            return Err(io::Error::other("a response has one head"));
        }
        let reason = ::http::StatusCode::from_u16(status)
            .ok()
            .and_then(|status| status.canonical_reason())
            .unwrap_or("Unknown");
        let mut head = BytesMut::with_capacity(512);
        head.put_slice(format!("HTTP/1.1 {status} {reason}\r\n").as_bytes());
        for (name, value) in headers {
            let (name, value) = (name.as_ref(), value.as_ref());
            if ::http::HeaderName::from_bytes(name.as_bytes()).is_err()
                || ::http::HeaderValue::from_bytes(value).is_err()
            {
                continue;
            }
            head.put_slice(name.as_bytes());
            head.put_slice(b": ");
            head.put_slice(value);
            head.put_slice(b"\r\n");
        }
        self.state = match framing {
            Framing::Length(left) => {
                // statuses that have no body must not announce one
                if !matches!(status, 100..=199 | 204 | 304) {
                    head.put_slice(format!("Content-Length: {left}\r\n").as_bytes());
                }
                State::Fixed { left }
            }
            Framing::Chunked if self.http10 => {
                self.close = true;
                State::UntilClose
            }
            Framing::Chunked => {
                head.put_slice(b"Transfer-Encoding: chunked\r\n");
                State::Chunked
            }
        };
        let limits = &self.connection.limits;
        let connection = if self.close {
            "Connection: close\r\n\r\n".to_owned()
        } else {
            let seconds = limits.idle_time.as_secs();
            format!("Keep-Alive: timeout={seconds}, max={}\r\n\r\n", limits.requests)
        };
        head.put_slice(connection.as_bytes());
        self.connection.write(&head).await
    }

    /// Sends a piece of the body: as one chunk, or as it is under a `Content-Length`. It has left this
    /// process when the call returns.
    pub async fn body(&mut self, bytes: &[u8]) -> io::Result<()> {
        if bytes.is_empty() || self.bodyless {
            return Ok(());
        }
        match &mut self.state {
            State::Fixed { left } => {
                *left = left
                    .checked_sub(bytes.len() as u64)
                    .ok_or_else(|| io::Error::other("a body longer than its Content-Length"))?;
                self.connection.write(bytes).await
            }
            State::Chunked => {
                let mut size = String::new();
                write!(size, "{:x}\r\n", bytes.len()).map_err(io::Error::other)?;
                let mut chunk = BytesMut::with_capacity(size.len() + bytes.len() + 2);
                chunk.put_slice(size.as_bytes());
                chunk.put_slice(bytes);
                chunk.put_slice(b"\r\n");
                self.connection.write(&chunk).await
            }
            State::UntilClose => self.connection.write(bytes).await,
            State::Fresh | State::Ended | State::Cut | State::Reset => {
                Err(io::Error::other("a body outside of a response"))
            }
        }
    }

    /// Ends the response properly. A fixed body that is not complete becomes a cut.
    pub async fn end(&mut self) -> io::Result<()> {
        self.state = match self.state {
            State::Chunked => {
                if !self.bodyless {
                    self.connection.write(b"0\r\n\r\n").await?;
                }
                State::Ended
            }
            State::Fixed { left } if left > 0 && !self.bodyless => State::Cut,
            State::Fixed { .. } | State::UntilClose => State::Ended,
            State::Fresh => State::Cut,
            over @ (State::Ended | State::Cut | State::Reset) => over,
        };
        Ok(())
    }

    /// Breaks the connection with a TCP reset when the handler returns. What was sent and not read yet
    /// may be lost to the client: that is what a reset is.
    pub fn reset(&mut self) {
        self.state = State::Reset;
    }

    /// Ends the connection, when the handler returns, without the end of the response: the client sees
    /// every byte that was sent and then an end of file where more was promised.
    pub fn cut(&mut self) {
        self.state = State::Cut;
    }

    /// Sends a whole response.
    pub async fn send(
        &mut self,
        status: u16,
        headers: &[(impl AsRef<str>, impl AsRef<[u8]>)],
        body: &[u8],
    ) -> io::Result<()> {
        self.head(status, headers, Framing::Length(body.len() as u64))
            .await?;
        self.body(body).await?;
        self.end().await
    }

    /// Waits until `at`; fails as soon as the client is gone, even if `at` has passed.
    pub async fn wait_until(&mut self, at: Timestamp) -> io::Result<()> {
        let clock = self.connection.clock;
        self.unless_gone(async {
            // a timer rounds up to the next millisecond, even for an instant that has passed
            if clock.now() < at {
                clock.sleep_until(at).await;
            }
        })
        .await
    }

    /// Runs `work` to its end, unless the client is gone before; then `work` is dropped.
    pub async fn unless_gone<T>(&mut self, work: impl Future<Output = T>) -> io::Result<T> {
        tokio::select! {
            biased;
            error = self.connection.gone() => Err(error),
            done = work => Ok(done),
        }
    }

    /// Whether the head was sent.
    pub fn started(&self) -> bool {
        self.state != State::Fresh
    }

    pub(super) fn after(&self) -> After {
        match self.state {
            State::Reset => After::Reset,
            State::Ended if !self.close => After::KeepAlive,
            State::Ended
            | State::Cut
            | State::Fresh
            | State::Fixed { .. }
            | State::Chunked
            | State::UntilClose => After::Close,
        }
    }
}
