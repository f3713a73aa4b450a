//! The transport over the network: HTTP/1.1 with reqwest, and with hyper alone to servers on this machine.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures_util::{StreamExt as _, TryStreamExt as _};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, header};
use http_body_util::{BodyDataStream, Full};
use rustls::pki_types::CertificateDer;
use secrecy::ExposeSecret as _;
use url::Url;

use super::address::{Address, add_query, host_of, is_loopback};
use super::failure::{body_error, plain_send_error, send_error};
use super::header::{ExtraHeader, HeaderError, add_headers, credential_id, secrets};
use super::plain::PlainClient;
use super::{ApiKey, AttemptRequest, BodyStream, Response, SendError, SendErrorKind, Transport};
use crate::event::UpstreamInfo;
use crate::text::SafeText;

/// Servers close idle connections, some after 5 s: they are closed here first, before one dies under a request.
pub(super) const POOL_IDLE: Duration = Duration::from_secs(4);

/// The endpoint of chat completions.
const CHAT: &str = "chat/completions";

/// The configuration of an [`HttpTransport`].
#[derive(Clone, Debug)]
pub struct HttpConfig {
    /// The base URL as the manual of the server gives it. An empty path becomes `/v1`; nothing is added to another
    /// path; a query is part of every request; the URL of an endpoint (`.../chat/completions`) is accepted too.
    pub base: Url,
    /// The model to name in messages.
    pub model: Option<String>,
    /// The key, sent as bearer token.
    pub api_key: Option<ApiKey>,
    /// Further request headers.
    pub headers: Vec<ExtraHeader>,
    /// Certificates trusted besides those of the system, such as a private CA.
    pub extra_roots: Vec<CertificateDer<'static>>,
    /// Time limit of a connection, TLS handshake included.
    pub connect_timeout: Duration,
    /// True if the upstream is seawall's own simulator. Attempts then carry their number, by which it names the
    /// call that a fault hit, and the idempotency key, which other servers may not know.
    pub simulated: bool,
    /// The host to show instead of that of `base`, if the simulator is between client and upstream.
    pub shown_host: Option<String>,
}

impl HttpConfig {
    /// A configuration for the server at `base`: no key, no further headers or certificates, 5 s to connect.
    pub fn new(base: Url) -> Self {
        Self {
            base,
            model: None,
            api_key: None,
            headers: Vec::new(),
            extra_roots: Vec::new(),
            connect_timeout: Duration::from_secs(5),
            simulated: false,
            shown_host: None,
        }
    }
}

/// The error of a transport that cannot be built.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TransportSetupError {
    /// The key has characters that an HTTP header cannot carry.
    #[error(
        "the API key in {name} has characters not allowed in an HTTP header: check for a line break or a quote"
    )]
    BadKey {
        /// The variable or file of the key.
        name: String,
    },
    /// A further header cannot be sent.
    #[error(transparent)]
    Header(#[from] HeaderError),
    /// The base URL has a user or a password, which would be sent and shown.
    #[error("the URL of {host} must not contain a user or password: use an API key or a header")]
    Credentials {
        /// The host of the URL.
        host: String,
    },
    /// The HTTP client could not be built.
    #[error("cannot set up HTTP: {0}")]
    Client(#[from] reqwest::Error),
}

/// The transport over the network: HTTP/1.1 with reqwest, and with hyper alone to servers on this machine.
#[derive(Clone, Debug)]
pub struct HttpTransport {
    client: reqwest::Client,
    /// The client with kept connections, where `client` keeps none.
    keeping: Option<reqwest::Client>,
    /// The clients without and with kept connections for a server on this machine.
    plain: Option<[PlainClient; 2]>,
    keep_alive: Arc<KeepAlive>,
    address: Address,
    proxy: Option<String>,
    keys: Vec<ApiKey>,
    credential_id: u64,
    info: UpstreamInfo,
    /// True if the requests go to seawall's simulator, which may forward them without this.
    tag_attempts: bool,
}

impl HttpTransport {
    /// Builds a transport to one upstream. Connects to nothing yet.
    ///
    /// # Errors
    /// If the base URL holds a user or password, if the key or a header cannot be sent, or if a certificate of
    /// `extra_roots` cannot be read.
    pub fn new(config: &HttpConfig) -> Result<Self, TransportSetupError> {
        let address = Address::new(&config.base);
        let plain = if is_plain(&config.base) {
            let defaults = default_headers(config)?;
            Some([false, true].map(|keep| PlainClient::new(&defaults, config.connect_timeout, keep)))
        } else {
            None
        };
        let keeping = if is_kept(config) || plain.is_some() {
            None
        } else {
            Some(client_builder(config)?.build()?)
        };
        let host = config.shown_host.clone().unwrap_or_else(|| address.host());
        Ok(Self {
            client: client_for(config)?.build()?,
            keeping,
            plain,
            keep_alive: Arc::new(KeepAlive::new(is_kept(config))),
            keys: secrets(config.api_key.as_ref(), &config.headers, &config.base),
            credential_id: credential_id(config.api_key.as_ref(), &config.headers),
            info: UpstreamInfo {
                host: SafeText::new(&host),
                model: config.model.as_deref().map(SafeText::new),
                simulated: config.simulated,
                loopback: address.is_loopback(),
            },
            proxy: address.proxy(),
            address,
            tag_attempts: config.simulated || config.shown_host.is_some(),
        })
    }

    /// Returns true if the base URL is `https`.
    pub(crate) fn is_tls(&self) -> bool {
        self.address.is_tls()
    }

    /// The path of an endpoint.
    pub(crate) fn path(&self, endpoint: &str) -> String {
        self.address.url(endpoint).path().to_owned()
    }

    /// The list of models: status and at most 1 MiB of body.
    pub(crate) async fn models(&self, timeout: Duration) -> Result<(u16, Vec<u8>), SendError> {
        let get = |url| self.client.get(url).timeout(timeout).send();
        self.read(self.address.send(&Method::GET, "models", get).await)
            .await
    }

    /// The health page beside the API.
    pub(crate) async fn health(&self, timeout: Duration) -> Result<(u16, Vec<u8>), SendError> {
        let url = self.address.beside("/health");
        self.read(self.client.get(url).timeout(timeout).send().await)
            .await
    }

    /// The answer to a chat request without messages, which every server refuses that has the endpoint.
    pub(crate) async fn empty_chat(&self, timeout: Duration) -> Result<(u16, Vec<u8>), SendError> {
        let post = |url| self.client.post(url).timeout(timeout).body("{}").send();
        self.read(self.address.send(&Method::POST, CHAT, post).await)
            .await
    }

    /// Status and at most 1 MiB of body.
    async fn read(&self, sent: reqwest::Result<reqwest::Response>) -> Result<(u16, Vec<u8>), SendError> {
        let response = sent.map_err(|error| self.send_error(&error))?;
        let status = response.status().as_u16();
        let mut body = Vec::new();
        let mut chunks = response.bytes_stream();
        while let Some(Ok(chunk)) = chunks.next().await {
            body.extend_from_slice(&chunk);
            if body.len() > 1 << 20 {
                break;
            }
        }
        Ok((status, body))
    }

    fn send_error(&self, error: &reqwest::Error) -> SendError {
        send_error(error, self.proxy.as_deref())
    }

    /// The headers of an attempt besides the default ones.
    fn headers(&self, request: &AttemptRequest) -> HeaderMap {
        let mut headers = request
            .wire
            .as_ref()
            .map_or_else(HeaderMap::new, |wire| wire.headers.clone());
        if self.tag_attempts
            && let Ok(number) = HeaderValue::try_from(format!("{}.{}", request.call.0, request.attempt))
        {
            headers.insert("x-seawall-attempt", number);
        }
        if self.info.simulated
            && let Ok(key) = HeaderValue::try_from(request.idempotency_key.as_str())
        {
            headers.append("idempotency-key", key);
        }
        headers
    }

    /// Sends with hyper alone.
    async fn send_plain(
        &self,
        client: &PlainClient,
        request: &AttemptRequest,
    ) -> Result<Response, SendError> {
        let (method, endpoint, query) = target(request);
        let send = |place| {
            let made = self.address.uri(place, endpoint, query).map(|uri| {
                let mut made = Request::new(Full::new(body_of(request)));
                *made.method_mut() = method.clone();
                *made.uri_mut() = uri;
                *made.headers_mut() = self.headers(request);
                made
            });
            async move {
                let made = made.map_err(|error| SendError {
                    kind: SendErrorKind::Framing,
                    detail: format!("{endpoint} cannot be part of an address: {error}"),
                })?;
                client.send(made).await.map_err(|error| plain_send_error(&error))
            }
        };
        let response = self.address.send_at(method, send, http::Response::status).await?;
        let (head, body) = response.into_parts();
        let body = BodyDataStream::new(body).map_err(|error| body_error(&error));
        self.response(head.status.as_u16(), head.headers, Box::pin(body))
    }

    /// Sends with reqwest.
    async fn send_any(&self, request: &AttemptRequest) -> Result<Response, SendError> {
        let (method, endpoint, query) = target(request);
        let keeping = self.keeping.as_ref().filter(|_| self.keep_alive.is_safe());
        let client = keeping.unwrap_or(&self.client);
        let send = |mut url: Url| {
            if let Some(query) = query {
                add_query(&mut url, query);
            }
            let builder = client.request(method.clone(), url);
            builder
                .headers(self.headers(request))
                .body(body_of(request))
                .send()
        };
        let sent = self.address.send(method, endpoint, send).await;
        let mut response = sent.map_err(|error| self.send_error(&error))?;
        let status = response.status().as_u16();
        let headers = std::mem::take(response.headers_mut());
        let body = response.bytes_stream().map_err(|error| body_error(&error));
        self.response(status, headers, Box::pin(body))
    }

    fn response(&self, status: u16, headers: HeaderMap, body: BodyStream) -> Result<Response, SendError> {
        self.keep_alive.learn(&headers);
        // RFC 9112 section 6.3: it may be response splitting, which hyper accepts silently. Dropping the body closes
        // the connection
        if headers.contains_key(header::CONTENT_LENGTH) && headers.contains_key(header::TRANSFER_ENCODING) {
            return Err(SendError {
                kind: SendErrorKind::Framing,
                detail: "both Content-Length and Transfer-Encoding".into(),
            });
        }
        Ok(Response {
            status,
            headers,
            body,
        })
    }
}

/// Method, endpoint and query of an attempt.
fn target(request: &AttemptRequest) -> (&Method, &str, Option<&str>) {
    match request.wire.as_deref() {
        Some(wire) => (&wire.method, &wire.endpoint, wire.query.as_deref()),
        None => (&Method::POST, CHAT, None),
    }
}

/// The body of an attempt; empty where none may be sent.
fn body_of(request: &AttemptRequest) -> Bytes {
    match target(request).0 {
        &Method::GET | &Method::HEAD => Bytes::new(),
        _ => request.body.clone(),
    }
}

impl Transport for HttpTransport {
    async fn send(&self, request: AttemptRequest) -> Result<Response, SendError> {
        match &self.plain {
            Some([once, keeping]) => {
                let client = if self.keep_alive.is_safe() { keeping } else { once };
                self.send_plain(client, &request).await
            }
            None => self.send_any(&request).await,
        }
    }

    fn info(&self) -> UpstreamInfo {
        self.info.clone()
    }

    fn credential_id(&self) -> u64 {
        self.credential_id
    }

    fn keys(&self) -> &[ApiKey] {
        &self.keys
    }
}

/// Evidence whether a server closes kept connections under a request.
///
/// llama-server has few HTTP threads and closes a kept connection at once when another one waits for a thread. A
/// request sent meanwhile may have been processed, so it costs an ambiguous retry and counts against a healthy
/// server. The library it is built on (cpp-httplib) does so, and states the most requests of a connection.
#[derive(Debug, Default)]
struct KeepAlive(AtomicU8);

impl KeepAlive {
    const SAFE: u8 = 1;
    const UNSAFE: u8 = 2;

    /// `is_safe`: the server is known to close none.
    fn new(is_safe: bool) -> Self {
        Self(AtomicU8::new(u8::from(is_safe)))
    }

    /// True once a response has come, and none looked like one of llama-server.
    fn is_safe(&self) -> bool {
        self.0.load(Ordering::Relaxed) == Self::SAFE
    }

    fn learn(&self, headers: &HeaderMap) {
        let has = |name, word: &str| {
            let value = headers
                .get(name)
                .and_then(|value: &HeaderValue| value.to_str().ok());
            value.is_some_and(|value| value.contains(word))
        };
        let is_unsafe =
            has(header::SERVER, "llama.cpp") || has(HeaderName::from_static("keep-alive"), "max=");
        // the maximum: what was seen once holds
        let seen = if is_unsafe { Self::UNSAFE } else { Self::SAFE };
        self.0.fetch_max(seen, Ordering::Relaxed);
    }
}

/// True if connections to this server are kept from the start: with TLS a new one is expensive, and the simulator
/// closes none under a request.
fn is_kept(config: &HttpConfig) -> bool {
    config.base.scheme() != "http" || config.simulated || config.shown_host.is_some()
}

/// A client builder for one server that keeps connections only if that is safe whatever the server is.
pub(crate) fn client_for(config: &HttpConfig) -> Result<reqwest::ClientBuilder, TransportSetupError> {
    let builder = client_builder(config)?;
    Ok(if is_kept(config) {
        builder
    } else {
        builder.pool_max_idle_per_host(0)
    })
}

/// A client builder for one server: its key, its certificates, and how its connections are kept.
fn client_builder(config: &HttpConfig) -> Result<reqwest::ClientBuilder, TransportSetupError> {
    if !config.base.username().is_empty() || config.base.password().is_some() {
        return Err(TransportSetupError::Credentials {
            host: host_of(&config.base),
        });
    }
    let roots = config
        .extra_roots
        .iter()
        .map(|root| reqwest::Certificate::from_der(root));
    let builder = http_client(&config.base)
        .default_headers(default_headers(config)?)
        .connect_timeout(config.connect_timeout)
        .pool_idle_timeout(POOL_IDLE);
    if is_plain(&config.base) {
        return Ok(builder);
    }
    Ok(builder.tls_certs_merge(roots.collect::<Result<Vec<_>, _>>()?))
}

/// The headers of each request that does not set them itself.
fn default_headers(config: &HttpConfig) -> Result<HeaderMap, TransportSetupError> {
    let mut headers = HeaderMap::new();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    // no compression: no bomb is decoded by accident, and a stream arrives as it is written
    headers.insert(header::ACCEPT_ENCODING, HeaderValue::from_static("identity"));
    if let Some(key) = &config.api_key {
        let mut value =
            HeaderValue::try_from(format!("Bearer {}", key.secret.expose_secret())).map_err(|_| {
                TransportSetupError::BadKey {
                    name: key.name.clone(),
                }
            })?;
        value.set_sensitive(true);
        headers.insert(header::AUTHORIZATION, value);
    }
    add_headers(&mut headers, &config.headers, config.api_key.as_ref())?;
    Ok(headers)
}

/// A client builder with everything disabled that would hide an attempt or send a key elsewhere. The proxies of the
/// environment (HTTPS_PROXY, HTTP_PROXY, ALL_PROXY, NO_PROXY) are used, except for this machine.
pub(crate) fn http_client(base: &Url) -> reqwest::ClientBuilder {
    // a second installation fails, which is fine: the first one is the same
    drop(rustls::crypto::ring::default_provider().install_default());
    let builder = reqwest::Client::builder()
        // by default ten redirects are followed, with headers such as x-api-key
        .redirect(reqwest::redirect::Policy::none())
        // reqwest would retry protocol NACKs, unseen by the limiter
        .retry(reqwest::retry::never())
        .referer(false);
    if is_plain(base) {
        // no TLS, so the certificates of the system need not be read, which takes as long as all else at the start
        builder.no_proxy().tls_certs_only([])
    } else if is_loopback(base) {
        builder.no_proxy()
    } else {
        builder
    }
}

/// True if requests to this server never use TLS: there is no proxy in between either.
fn is_plain(base: &Url) -> bool {
    base.scheme() == "http" && is_loopback(base)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_are_kept_once_the_server_does_not_look_like_llama_server() {
        let headers = |name, value| HeaderMap::from_iter([(name, HeaderValue::from_static(value))]);
        let llama = headers(header::SERVER, "llama.cpp");
        let limited = headers(HeaderName::from_static("keep-alive"), "timeout=5, max=100");
        let uvicorn = headers(header::SERVER, "uvicorn");
        for (seen, is_safe) in [
            (vec![], false),
            (vec![&uvicorn], true),
            (vec![&llama], false),
            (vec![&uvicorn, &limited, &uvicorn], false),
        ] {
            let keep_alive = KeepAlive::default();
            for headers in &seen {
                keep_alive.learn(headers);
            }
            assert_eq!(keep_alive.is_safe(), is_safe, "{seen:?}");
        }
    }
}
