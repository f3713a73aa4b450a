//! Connections: the accept loop, timeouts, and the way of one request.

use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, Method, Request, Response, StatusCode, header};
use http_body_util::BodyExt as _;
use hyper::body::{Body as _, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::flush::{Flush, Flushed};
use super::raw_head::RawHead;
use super::reply::{self, ReplyBody};
use super::request::{self, Rejection};
use super::{Credentials, GatewayLimits, HEAD_BYTES};
use crate::client::{CallStream, Env, ResilientClient, Transport};
use crate::dialect::Dialect;
use crate::event::{Observer, Origin};
use crate::time::Clock;

/// Bodies above the limit are read up to this multiple of it and dropped: a client that writes while the connection
/// closes would miss the answer.
const DISCARDED: usize = 4;
/// The time for which a rejected connection is kept, so that its client can read the answer.
const LINGER: Duration = Duration::from_secs(1);
/// The pause after an accept that failed because descriptors ran out.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// The answer to a connection above the limit.
const FULL: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\ncontent-type: application/json\r\nretry-after: 1\r\n\
connection: close\r\ncontent-length: 129\r\n\r\n\
{\"error\":{\"message\":\"too many connections to seawall; retry later\",\"type\":\"server_error\",\"code\":\"seawall_too_many_connections\"}}\n";

/// State shared by all connections.
pub(super) struct Server<T: Transport, O: Observer> {
    pub(super) client: ResilientClient<T, O>,
    pub(super) env: Env,
    pub(super) is_loopback: bool,
    pub(super) credentials: Credentials,
    pub(super) limits: GatewayLimits,
}

/// Accepts connections until `stopping`, lets them end, and cancels `stopped`.
pub(super) async fn serve<T: Transport, O: Observer>(
    server: Arc<Server<T, O>>,
    listener: TcpListener,
    stopping: CancellationToken,
    stopped: CancellationToken,
) {
    let _stopped = stopped.drop_guard();
    let slots = Arc::new(Semaphore::new(server.limits.connections));
    let refusals = Arc::new(Semaphore::new(server.limits.connections));
    let tasks = TaskTracker::new();
    let force = CancellationToken::new();
    let _force = force.clone().drop_guard();
    loop {
        let accepted = tokio::select! {
            () = stopping.cancelled() => break,
            accepted = listener.accept() => accepted,
        };
        let Ok((stream, _)) = accepted else {
            // out of descriptors: the loop must not spin
            server.env.clock.sleep(ACCEPT_PAUSE).await;
            continue;
        };
        let Ok(slot) = Arc::clone(&slots).try_acquire_owned() else {
            if let Ok(slot) = Arc::clone(&refusals).try_acquire_owned() {
                tasks.spawn(refuse(stream, slot, stopping.clone(), server.env.clock));
            }
            continue;
        };
        let (server, stopping, force) = (Arc::clone(&server), stopping.clone(), force.clone());
        tasks.spawn(async move {
            let _slot = slot;
            tokio::select! {
                () = force.cancelled() => {}
                () = connection(server, stream, stopping) => {}
            }
        });
    }
    drop(listener);
    tasks.close();
    let clock = server.env.clock;
    tokio::select! {
        () = tasks.wait() => return,
        () = clock.sleep(server.limits.drain_time) => {}
    }
    // their streams end with an error event
    server.client.cancel(Origin::Gateway, |_| true);
    tokio::select! {
        () = tasks.wait() => {}
        () = clock.sleep(LINGER) => {}
    }
}

/// Answers a connection above the limit, and reads what its client sends meanwhile: closing with unread bytes would
/// reset the connection before the answer is read.
async fn refuse(
    mut stream: TcpStream,
    slot: OwnedSemaphorePermit,
    stopping: CancellationToken,
    clock: Clock,
) {
    let answer = async {
        stream.write_all(FULL).await?;
        stream.shutdown().await?;
        let mut dropped = [0; 4096];
        while stream.read(&mut dropped).await? > 0 {}
        io::Result::Ok(())
    };
    tokio::select! {
        _ = answer => {}
        () = clock.sleep(LINGER) => {}
        () = stopping.cancelled() => {}
    }
    drop(slot);
}

/// Serves the requests of one connection.
async fn connection<T: Transport, O: Observer>(
    server: Arc<Server<T, O>>,
    stream: TcpStream,
    stopping: CancellationToken,
) {
    // events are small, and each one matters
    drop(stream.set_nodelay(true));
    let limits = server.limits;
    let head = Arc::new(RawHead::default());
    let unused = Arc::clone(&head);
    let flush = Arc::new(Flush::default());
    let io = TokioIo::new(Writing {
        stream,
        limit: limits.write_time,
        clock: server.env.clock,
        timer: None,
        due: None,
        head: Arc::clone(&head),
        flush: Arc::clone(&flush),
    });
    let service = service_fn(move |request| {
        let (server, head, flush) = (Arc::clone(&server), Arc::clone(&head), Arc::clone(&flush));
        async move {
            let mut response = serve_request(&server, request, &head).await;
            flush.set_work(response.extensions_mut().remove());
            Ok::<_, Infallible>(response.map(|body| Flushed::new(body, flush)))
        }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.head_time)
        .max_buf_size(HEAD_BYTES)
        .max_header_size(HEAD_BYTES)
        .serve_connection(io, service);
    let mut connection = std::pin::pin!(connection);
    // an error of a connection is the client's: it has its answer, or it has left
    tokio::select! {
        _ = &mut connection => return,
        // hyper would wait for the first request
        () = stopping.cancelled() => if unused.is_unused() { return },
    }
    connection.as_mut().graceful_shutdown();
    drop(connection.await);
}

/// The response to one request.
async fn serve_request<T: Transport, O: Observer>(
    server: &Server<T, O>,
    request: Request<Incoming>,
    head: &RawHead,
) -> Response<ReplyBody> {
    let has_length = head.take_has_length();
    let path = request.uri().path();
    let dialect = request::dialect(request.method(), request::endpoint(path).unwrap_or_default());
    if path == "/health" && matches!(*request.method(), Method::GET | Method::HEAD) {
        return reply::page("{\"status\":\"ok\"}");
    }
    if has_length && request.headers().contains_key(header::TRANSFER_ENCODING) {
        let message = "both Content-Length and Transfer-Encoding: send one of them";
        let ambiguous = Rejection::new(StatusCode::BAD_REQUEST, "seawall_bad_request", message);
        return reply::rejection(&ambiguous, dialect);
    }
    match start(server, request, head, dialect).await {
        Ok(call) => reply::reply(call, dialect).await,
        Err(rejection) => reply::rejection(&rejection, dialect),
    }
}

/// Checks a request and starts its call.
async fn start<T: Transport, O: Observer>(
    server: &Server<T, O>,
    request: Request<Incoming>,
    head: &RawHead,
    dialect: Dialect,
) -> Result<CallStream, Rejection> {
    let (parts, body) = request.into_parts();
    // before the body is read
    request::check_head(&parts, server.is_loopback)?;
    let user = server.credentials.tenant(&parts.headers)?;
    let endpoint = request::endpoint(parts.uri.path())?;
    request::check_media_type(dialect, &parts.headers)?;
    let body = read_body(&server.limits, &parts.headers, body).await?;
    head.expect_next();
    let (wire, context) = request::translate(&parts, endpoint, body, &server.credentials, user)?;
    Ok(server.client.call_wire(wire, context))
}

/// Reads the body of a request, within its limits.
async fn read_body(limits: &GatewayLimits, headers: &HeaderMap, body: Incoming) -> Result<Bytes, Rejection> {
    let too_large = || {
        let message = format!("the request body is larger than {} bytes", limits.body_bytes);
        Rejection::new(StatusCode::PAYLOAD_TOO_LARGE, "seawall_too_large", message)
    };
    // a client that waits for `100 Continue` has sent nothing that it could miss the answer by
    if headers.contains_key(header::EXPECT) && body.size_hint().lower() > limits.body_bytes as u64 {
        return Err(too_large());
    }
    match tokio::time::timeout(limits.body_time, collect(body, limits.body_bytes)).await {
        Ok(Ok(Some(body))) => Ok(body),
        Ok(Ok(None)) => Err(too_large()),
        Ok(Err(_)) => {
            let message = "the request body broke off";
            Err(Rejection::new(
                StatusCode::BAD_REQUEST,
                "seawall_bad_request",
                message,
            ))
        }
        Err(_) => {
            let message = format!("the request body took longer than {:?}", limits.body_time);
            Err(Rejection::new(
                StatusCode::REQUEST_TIMEOUT,
                "seawall_slow_body",
                message,
            ))
        }
    }
}

/// The bytes of a body; `None` if there are more than `limit`.
async fn collect(mut body: Incoming, limit: usize) -> Result<Option<Bytes>, hyper::Error> {
    let mut bytes = BytesMut::new();
    let mut total = 0;
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame?.into_data() else { continue };
        total += data.len();
        if total <= limit {
            bytes.extend_from_slice(&data);
        } else if total > limit.saturating_mul(DISCARDED) {
            break;
        } else {
            bytes = BytesMut::new();
        }
    }
    Ok((total <= limit).then(|| bytes.freeze()))
}

type Waiting = Pin<Box<dyn Future<Output = ()> + Send>>;

/// A connection whose writes fail once the other side has taken nothing for a while.
struct Writing {
    stream: TcpStream,
    limit: Duration,
    clock: Clock,
    /// Runs while a write waits.
    timer: Option<Waiting>,
    /// Waits for the end of the call while a write waits.
    due: Option<Waiting>,
    head: Arc<RawHead>,
    flush: Arc<Flush>,
}

impl Writing {
    fn timed<V>(&mut self, polled: Poll<io::Result<V>>, cx: &mut Context<'_>) -> Poll<io::Result<V>> {
        if polled.is_ready() {
            (self.timer, self.due) = (None, None);
            return polled;
        }
        self.end_call(cx);
        let (clock, limit) = (self.clock, self.limit);
        let timer = self
            .timer
            .get_or_insert_with(|| Box::pin(async move { clock.sleep(limit).await }));
        ready!(timer.as_mut().poll(cx));
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }

    /// Ends the call whose body waits, once its deadline has passed or it was cancelled.
    fn end_call(&mut self, cx: &mut Context<'_>) {
        let Some(work) = self.flush.work() else { return };
        let clock = self.clock;
        let due = self.due.get_or_insert_with(|| Box::pin(work.due(clock)));
        if due.as_mut().poll(cx).is_ready() {
            self.due = None;
            self.flush.set_work(None);
            work.run(cx);
        }
    }
}

impl AsyncRead for Writing {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let polled = Pin::new(&mut self.stream).poll_read(cx, buf);
        self.head.push(buf.filled().get(before..).unwrap_or_default());
        polled
    }
}

impl AsyncWrite for Writing {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.timed(polled, cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write_vectored(cx, bytes);
        self.timed(polled, cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.flush.flushed(cx);
        let polled = Pin::new(&mut self.stream).poll_flush(cx);
        self.timed(polled, cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
