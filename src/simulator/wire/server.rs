//! The accept loop, and the loop of one connection.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

use super::connection::{Connection, NoRequest};
use super::response::{NextStep, Response};
use super::{Limits, Rejection, Request};
use crate::time::Clock;

/// The pause after a failed accept (no file descriptors left).
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// The request handler.
pub trait Handler: Send + Sync + 'static {
    /// Writes the response to `request`. On an error, such as a disconnected client, the connection is closed. The
    /// future is dropped at shutdown.
    fn handle(
        &self,
        request: Request,
        response: &mut Response<'_>,
    ) -> impl Future<Output = io::Result<()>> + Send;
}

/// A running server. Dropping it stops it without waiting.
#[derive(Debug)]
pub struct Server {
    addr: SocketAddr,
    tasks: TaskTracker,
    stop: CancellationToken,
    _stop_on_drop: DropGuard,
}

impl Server {
    /// Serves `listener` until [`shutdown`](Self::shutdown). Needs a tokio runtime.
    ///
    /// # Errors
    /// Fails if the listener has no local address.
    pub fn start<H: Handler>(
        listener: TcpListener,
        handler: Arc<H>,
        limits: Limits,
        clock: Clock,
    ) -> io::Result<Self> {
        let addr = listener.local_addr()?;
        let stop = CancellationToken::new();
        let tasks = TaskTracker::new();
        tasks.spawn(accept(listener, handler, limits, clock, stop.clone()));
        tasks.close();
        Ok(Self {
            addr,
            tasks,
            _stop_on_drop: stop.clone().drop_guard(),
            stop,
        })
    }

    /// The address it listens on.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Closes the listener and every connection, and waits until all are closed.
    pub async fn shutdown(&self) {
        self.stop.cancel();
        self.tasks.wait().await;
    }
}

async fn accept<H: Handler>(
    listener: TcpListener,
    handler: Arc<H>,
    limits: Limits,
    clock: Clock,
    stop: CancellationToken,
) {
    let permits = Arc::new(Semaphore::new(limits.connections));
    let mut connections = JoinSet::new();
    loop {
        let next = async {
            let permit = Arc::clone(&permits).acquire_owned().await;
            (permit, listener.accept().await)
        };
        tokio::select! {
            () = stop.cancelled() => break,
            // a panic in a handler ends its connection; the panic hook has reported it
            Some(_) = connections.join_next(), if !connections.is_empty() => {}
            (permit, accepted) = next => match accepted {
                Ok((stream, _)) => {
                    let handler = Arc::clone(&handler);
                    connections.spawn(async move {
                        serve(stream, handler.as_ref(), limits, clock).await;
                        drop(permit);
                    });
                }
                Err(_) => clock.sleep(ACCEPT_PAUSE).await,
            },
        }
    }
    drop(listener);
    connections.shutdown().await;
}

/// Serves one connection to its end.
async fn serve<H: Handler>(stream: TcpStream, handler: &H, limits: Limits, clock: Clock) {
    let mut connection = Connection::new(stream, limits, clock);
    for count in 1..=limits.requests {
        let incoming = match connection.read_request(count == 1).await {
            Ok(incoming) => incoming,
            Err(NoRequest::Disconnected) => return,
            Err(NoRequest::Rejected(rejection)) => {
                reject(&mut connection, rejection).await;
                return connection.close().await;
            }
        };
        let close = incoming.wants_close || count == limits.requests;
        let bodyless = incoming.request.method == ::http::Method::HEAD;
        let mut response = Response::new(&mut connection, incoming.http10, bodyless, close);
        if handler.handle(incoming.request, &mut response).await.is_err()
            && response.next_step() != NextStep::Reset
        {
            return;
        }
        match response.next_step() {
            NextStep::KeepAlive => {}
            NextStep::Close => return connection.close().await,
            NextStep::Reset => return connection.reset(),
        }
    }
}

/// Responds with the reason of a rejection; the caller closes the connection.
async fn reject(connection: &mut Connection, rejection: Rejection) {
    let Rejection { status, reason } = rejection;
    let body = serde_json::json!({
        "error": { "code": status, "message": reason, "type": "invalid_request_error" }
    });
    let headers = [("Content-Type", "application/json; charset=utf-8")];
    let mut response = Response::new(connection, false, false, true);
    response
        .send(status, &headers, body.to_string().as_bytes())
        .await
        .ok();
}
