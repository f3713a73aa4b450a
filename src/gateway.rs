//! The gateway: an HTTP server in front of real apps, whose calls pass through the resilient client.
//!
//! ```text
//!  app --HTTP--> connection --> request --> ResilientClient::call_wire --> upstream
//!                 limits         checks           |
//!                 timeouts       tenant           v
//!  app <--HTTP-- response: the upstream's bytes, unchanged, or an error of the dialect
//! ```
//!
//! - The upstream gets the body that the client sent, byte for byte, and the client gets the upstream's bytes.
//! - A client that leaves cancels its call, unless others share its flight.
//! - A stream that breaks ends with an error event and a broken connection, never with a clean end.
//! - Bad input costs no other client anything: see [`GatewayLimits`].

mod connection;
mod flush;
mod raw_head;
mod reply;
mod request;
mod tenant;
#[cfg(test)]
mod tests;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

pub(crate) use tenant::hex;
pub use tenant::{Credentials, KeyRing};

use crate::client::{Env, ResilientClient, Transport};
use crate::event::Observer;

/// Bytes of the head of a request; a larger one gets 431.
const HEAD_BYTES: usize = 64 << 10;

/// Bounds on what clients may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GatewayLimits {
    /// Connections at a time; further ones get 503 at once. Default 256.
    pub connections: usize,
    /// Bytes of a request body; larger ones get 413. Default 8 MiB.
    pub body_bytes: usize,
    /// Time for the head of a request, and of an idle connection. Default 10 s.
    pub head_time: Duration,
    /// Time for the body of a request; slower ones get 408. Default 30 s.
    pub body_time: Duration,
    /// Time for which a client may read nothing. Default 30 s.
    pub write_time: Duration,
    /// Time for running calls after the stop. Default 10 s.
    pub drain_time: Duration,
}

impl Default for GatewayLimits {
    fn default() -> Self {
        Self {
            connections: 256,
            body_bytes: 8 << 20,
            head_time: Duration::from_secs(10),
            body_time: Duration::from_secs(30),
            write_time: Duration::from_secs(30),
            drain_time: Duration::from_secs(10),
        }
    }
}

/// The configuration of a gateway.
#[derive(Clone, Debug)]
pub struct GatewayConfig {
    /// The address to listen on.
    pub listen: SocketAddr,
    /// The way in which clients identify themselves.
    pub credentials: Credentials,
    /// Bounds on what clients may do.
    pub limits: GatewayLimits,
}

/// The error of a gateway that cannot start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum GatewayError {
    /// The address cannot be used.
    #[error("cannot listen on {address}: {error}; choose another address with --listen")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// The error of the system.
        error: std::io::Error,
    },
    /// Anyone in the network could use the upstream.
    #[error(
        "{address} is reachable from other machines: listen on 127.0.0.1, or add a gateway key first: seawall key add NAME"
    )]
    Exposed {
        /// The address.
        address: SocketAddr,
    },
    /// Any program on this machine could use the upstream's key.
    #[error(
        "seawall holds the key of the upstream, so that clients need a key of their own: seawall key add NAME, or use --no-auth"
    )]
    KeyWithoutAuth,
}

/// A listening gateway. Dropping it stops it; [`Gateway::stop`] also waits until running calls have ended.
#[derive(Debug)]
pub struct Gateway {
    address: SocketAddr,
    stopping: CancellationToken,
    stopped: CancellationToken,
}

impl Gateway {
    /// Listens and serves in tasks of the session.
    ///
    /// # Errors
    /// If the address cannot be used, or if a stranger could use the upstream through it.
    pub async fn start<T: Transport, O: Observer>(
        config: GatewayConfig,
        client: ResilientClient<T, O>,
        env: &Env,
    ) -> Result<Self, GatewayError> {
        let address = config.listen;
        if !address.ip().is_loopback() && !config.credentials.are_required() {
            return Err(GatewayError::Exposed { address });
        }
        let listener = TcpListener::bind(address).await;
        let listener = listener.map_err(|error| GatewayError::Listen { address, error })?;
        let address = listener.local_addr().unwrap_or(address);
        let (stopping, stopped) = (CancellationToken::new(), CancellationToken::new());
        let server = Arc::new(connection::Server {
            client,
            env: env.clone(),
            is_loopback: address.ip().is_loopback(),
            credentials: config.credentials,
            limits: config.limits,
        });
        env.spawn(connection::serve(
            server,
            listener,
            stopping.clone(),
            stopped.clone(),
        ));
        Ok(Self {
            address,
            stopping,
            stopped,
        })
    }

    /// The address it listens on.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Accepts no more connections, and waits until the running calls have ended. Those that run longer than
    /// [`GatewayLimits::drain_time`] end with an error.
    pub async fn stop(&self) {
        self.stopping.cancel();
        self.stopped.cancelled().await;
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        self.stopping.cancel();
    }
}
