//! A connection: reads requests within the limits and detects that the peer has disconnected.

use std::io;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::body::Dechunk;
use super::head::{BodyLength, Head};
use super::{Limits, Rejection, Request};
use crate::time::{Clock, Timestamp};

/// A closing connection keeps reading up to these limits: closing with unread bytes makes the kernel send a reset,
/// which can overtake the answer.
const DRAIN_TIME: Duration = Duration::from_secs(1);
const DRAIN_BYTES: usize = 1 << 20;

/// A socket with its unparsed input.
#[derive(Debug)]
pub(super) struct Connection {
    stream: TcpStream,
    buffer: BytesMut,
    pub(super) limits: Limits,
    pub(super) clock: Clock,
}

/// A request, with what its response depends on.
#[derive(Debug)]
pub(super) struct Incoming {
    pub(super) request: Request,
    pub(super) http10: bool,
    pub(super) wants_close: bool,
}

/// The end of a connection without another request.
#[derive(Debug)]
pub(super) enum NoRequest {
    /// Closed, broken, or idle for too long: no response is expected.
    Disconnected,
    /// An invalid request: respond with this and close.
    Rejected(Rejection),
}

impl From<Rejection> for NoRequest {
    fn from(rejection: Rejection) -> Self {
        Self::Rejected(rejection)
    }
}

impl Connection {
    pub(super) fn new(stream: TcpStream, limits: Limits, clock: Clock) -> Self {
        // events must be sent at once; without this option they are late, not wrong
        stream.set_nodelay(true).ok();
        Self {
            stream,
            buffer: BytesMut::new(),
            limits,
            clock,
        }
    }

    /// Reads the next request. `first`: it is the first of this connection.
    pub(super) async fn read_request(&mut self, first: bool) -> Result<Incoming, NoRequest> {
        if self.buffer.is_empty() {
            let wait = if first {
                self.limits.head_time
            } else {
                self.limits.idle_time
            };
            self.fill(self.clock.now() + wait)
                .await
                .map_err(|_| NoRequest::Disconnected)?;
        }
        let deadline = self.clock.now() + self.limits.head_time;
        let head = loop {
            if let Some((head, length)) = Head::parse(&self.buffer, &self.limits)? {
                drop(self.buffer.split_to(length));
                break head;
            }
            self.fill(deadline).await?;
        };
        let body = self.read_body(&head).await?;
        Ok(Incoming {
            http10: head.http10,
            wants_close: head.wants_close(),
            request: Request {
                method: head.method,
                target: head.target,
                headers: head.headers,
                body,
            },
        })
    }

    async fn read_body(&mut self, head: &Head) -> Result<Bytes, NoRequest> {
        let deadline = self.clock.now() + self.limits.body_time;
        if head.expects_continue() && self.buffer.is_empty() && head.length != BodyLength::Bytes(0) {
            self.write(b"HTTP/1.1 100 Continue\r\n\r\n")
                .await
                .map_err(|_| NoRequest::Disconnected)?;
        }
        match head.length {
            BodyLength::Bytes(length) => {
                while self.buffer.len() < length {
                    self.fill(deadline).await?;
                }
                Ok(self.buffer.split_to(length).freeze())
            }
            BodyLength::Chunked => {
                let mut decoder = Dechunk::new();
                while !decoder.feed(&mut self.buffer, &self.limits)? {
                    self.fill(deadline).await?;
                }
                Ok(decoder.into_body())
            }
        }
    }

    /// Reads more bytes, until `deadline`.
    async fn fill(&mut self, deadline: Timestamp) -> Result<(), NoRequest> {
        tokio::select! {
            read = self.stream.read_buf(&mut self.buffer) => match read {
                Ok(1..) => Ok(()),
                Ok(0) | Err(_) => Err(NoRequest::Disconnected),
            },
            () = self.clock.sleep_until(deadline) => {
                Err(Rejection::new(408, "the request took too long to arrive").into())
            }
        }
    }

    /// Writes all bytes; fails if the peer does not read them in time.
    pub(super) async fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        let deadline = self.clock.now() + self.limits.write_time;
        tokio::select! {
            biased;
            written = self.stream.write_all(bytes) => written,
            () = self.clock.sleep_until(deadline) => Err(io::ErrorKind::TimedOut.into()),
        }
    }

    /// Completes when the peer has disconnected: closed, reset, or half-closed, which llama-server treats the
    /// same. Cancel-safe: bytes of the next request are kept.
    pub(super) async fn disconnected(&mut self) -> io::Error {
        loop {
            // a client that sends too far ahead is no longer watched, to bound the buffer
            if self.buffer.len() >= self.limits.head_bytes {
                return std::future::pending().await;
            }
            if let Err(error) = self.stream.readable().await {
                return error;
            }
            match self.stream.try_read_buf(&mut self.buffer) {
                Ok(0) => return io::ErrorKind::UnexpectedEof.into(),
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return error,
            }
        }
    }

    /// Closes the connection so that the peer sees all written bytes, then an end of file.
    pub(super) async fn close(mut self) {
        if self.stream.shutdown().await.is_err() {
            return;
        }
        let deadline = self.clock.now() + DRAIN_TIME;
        let mut drained = 0;
        while drained < DRAIN_BYTES && self.fill(deadline).await.is_ok() {
            drained += self.buffer.len();
            self.buffer.clear();
        }
    }

    /// Closes the connection with a TCP reset: the peer sees an error and may lose unread bytes.
    pub(super) fn reset(self) {
        // if the option fails the peer sees a plain close, which still breaks the answer
        self.stream.set_zero_linger().ok();
    }
}
