//! One socket: reads requests from it within the limits, and notices when the peer is gone.

use std::io;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::body::Dechunk;
use super::head::{BodyLength, Head};
use super::{Limits, Refusal, Request};
use crate::time::{Clock, Timestamp};

/// How long, and for how many bytes, a closing connection listens on: a close with unread bytes would
/// make the kernel send a reset, which can overtake the answer.
const DRAIN_TIME: Duration = Duration::from_secs(1);
const DRAIN_BYTES: usize = 1 << 20;

/// A socket, and what was read from it but not used yet.
#[derive(Debug)]
pub(super) struct Connection {
    stream: TcpStream,
    buffer: BytesMut,
    pub(super) limits: Limits,
    pub(super) clock: Clock,
}

/// A request, and what its answer has to know about it.
#[derive(Debug)]
pub(super) struct Incoming {
    pub(super) request: Request,
    pub(super) http10: bool,
    pub(super) wants_close: bool,
}

/// How reading a request ends without one.
#[derive(Debug)]
pub(super) enum NoRequest {
    /// Closed, idle for too long, or broken: nobody waits for an answer.
    Gone,
    /// Answer with this, and close.
    Refused(Refusal),
}

impl From<Refusal> for NoRequest {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

impl Connection {
    pub(super) fn new(stream: TcpStream, limits: Limits, clock: Clock) -> Self {
        // an event must leave when it is written; a socket that cannot do this is slower, not wrong
        stream.set_nodelay(true).ok();
        Self {
            stream,
            buffer: BytesMut::new(),
            limits,
            clock,
        }
    }

    /// Reads the next request. `first`: nothing came over this connection yet.
    pub(super) async fn read_request(&mut self, first: bool) -> Result<Incoming, NoRequest> {
        if self.buffer.is_empty() {
            let wait = if first {
                self.limits.head_time
            } else {
                self.limits.idle_time
            };
            self.fill(self.clock.now() + wait)
                .await
                .map_err(|_| NoRequest::Gone)?;
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
                .map_err(|_| NoRequest::Gone)?;
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

    /// Reads some bytes more, until `deadline`.
    async fn fill(&mut self, deadline: Timestamp) -> Result<(), NoRequest> {
        tokio::select! {
            read = self.stream.read_buf(&mut self.buffer) => match read {
                Ok(1..) => Ok(()),
                Ok(0) | Err(_) => Err(NoRequest::Gone),
            },
            () = self.clock.sleep_until(deadline) => {
                Err(Refusal::new(408, "the request took too long to arrive").into())
            }
        }
    }

    /// Writes everything, or fails; a peer that reads nothing for long counts as gone.
    pub(super) async fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        let deadline = self.clock.now() + self.limits.write_time;
        tokio::select! {
            biased;
            written = self.stream.write_all(bytes) => written,
            () = self.clock.sleep_until(deadline) => Err(io::ErrorKind::TimedOut.into()),
        }
    }

    /// Completes when the peer is gone: closed, reset, or half-closed, which llama-server takes for gone
    /// too. Cancel-safe: bytes of a next request are kept.
    pub(super) async fn gone(&mut self) -> io::Error {
        loop {
            // a client that sends ahead is no longer watched: its bytes would have to go somewhere
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

    /// Closes so that the peer sees everything that was written, then an end of file.
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

    /// Closes with a TCP reset: the peer sees an error, and may lose what it has not read yet.
    pub(super) fn reset(self) {
        // where the option fails the peer sees a plain close: still a broken answer
        self.stream.set_zero_linger().ok();
    }
}
