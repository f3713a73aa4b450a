//! The response writer, which can break a response at any byte.

use std::fmt::Write as _;
use std::io;

use bytes::{BufMut, BytesMut};

use super::connection::Connection;
use crate::time::Timestamp;

/// The framing of a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// `Content-Length`.
    Length(u64),
    /// `Transfer-Encoding: chunked`.
    Chunked,
}

/// The response to one request. A handler calls [`head`](Self::head), [`body`](Self::body) any number of times,
/// and [`end`](Self::end), or breaks it with [`reset`](Self::reset) or [`cut`](Self::cut). A response without an
/// end is cut.
#[derive(Debug)]
pub struct Response<'a> {
    connection: &'a mut Connection,
    state: State,
    http10: bool,
    bodyless: bool,
    close: bool,
}

/// The state of the writer.
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

/// The fate of the connection after the response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NextStep {
    KeepAlive,
    Close,
    Reset,
}

impl<'a> Response<'a> {
    /// `bodyless`: the request is a HEAD. `close`: this is the last response of the connection.
    pub(super) fn new(connection: &'a mut Connection, http10: bool, bodyless: bool, close: bool) -> Self {
        Self {
            connection,
            state: State::Fresh,
            http10,
            bodyless,
            close,
        }
    }

    /// Sends the status line and the header fields, and adds those of the framing and the connection. Invalid
    /// fields are left out.
    ///
    /// # Errors
    /// Fails if the head was already sent or the client has disconnected.
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

    /// Sends a piece of the body, as one chunk if chunked. The bytes have left the process when the call returns.
    ///
    /// # Errors
    /// Fails if the body exceeds its `Content-Length` or the client has disconnected.
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

    /// Ends the response. A body shorter than its `Content-Length` counts as cut.
    ///
    /// # Errors
    /// Fails if the client has disconnected.
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

    /// Resets the connection when the handler returns. The client may lose bytes it has not read.
    pub fn reset(&mut self) {
        self.state = State::Reset;
    }

    /// Closes the connection when the handler returns, without ending the response: the client sees all sent
    /// bytes, then an unexpected end of file.
    pub fn cut(&mut self) {
        self.state = State::Cut;
    }

    /// Sends a complete response.
    ///
    /// # Errors
    /// Fails if the client has disconnected.
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

    /// Waits until `at`.
    ///
    /// # Errors
    /// Fails as soon as the client disconnects, even if `at` has passed.
    pub async fn wait_until(&mut self, at: Timestamp) -> io::Result<()> {
        let clock = self.connection.clock;
        self.while_connected(async {
            // a timer rounds up to the next millisecond, even for a time that has passed
            if clock.now() < at {
                clock.sleep_until(at).await;
            }
        })
        .await
    }

    /// Runs `work`, or drops it if the client disconnects first.
    ///
    /// # Errors
    /// Fails if the client disconnects first.
    pub async fn while_connected<T>(&mut self, work: impl Future<Output = T>) -> io::Result<T> {
        tokio::select! {
            biased;
            error = self.connection.disconnected() => Err(error),
            done = work => Ok(done),
        }
    }

    /// Returns true if the head was sent.
    pub fn is_started(&self) -> bool {
        self.state != State::Fresh
    }

    pub(super) fn next_step(&self) -> NextStep {
        match self.state {
            State::Reset => NextStep::Reset,
            State::Ended if !self.close => NextStep::KeepAlive,
            State::Ended
            | State::Cut
            | State::Fresh
            | State::Fixed { .. }
            | State::Chunked
            | State::UntilClose => NextStep::Close,
        }
    }
}
