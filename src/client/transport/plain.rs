//! Requests to a server on this machine, without TLS and proxy: hyper alone takes half the time of reqwest.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::{self, Client};
use hyper_util::rt::{TokioExecutor, TokioTimer};

use super::http::POOL_IDLE;

/// A client of one server.
#[derive(Clone, Debug)]
pub(super) struct PlainClient {
    client: Client<HttpConnector, Full<Bytes>>,
    /// Headers of each request that does not set them itself.
    defaults: HeaderMap,
}

impl PlainClient {
    /// Connections are kept for later requests if `keep` is set.
    pub(super) fn new(defaults: &HeaderMap, connect_timeout: Duration, keep: bool) -> Self {
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        connector.set_connect_timeout(Some(connect_timeout));
        let mut builder = Client::builder(TokioExecutor::new());
        builder.pool_timer(TokioTimer::new()).pool_idle_timeout(POOL_IDLE);
        if !keep {
            builder.pool_max_idle_per_host(0);
        }
        Self {
            client: builder.build(connector),
            defaults: defaults.clone(),
        }
    }

    /// Sends a request and waits for the head of its response.
    pub(super) async fn send(
        &self,
        mut request: Request<Full<Bytes>>,
    ) -> Result<Response<Incoming>, legacy::Error> {
        let headers = request.headers_mut();
        for (name, value) in &self.defaults {
            if !headers.contains_key(name) {
                headers.insert(name.clone(), value.clone());
            }
        }
        self.client.request(request).await
    }
}
