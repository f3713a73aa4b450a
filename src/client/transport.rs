//! One HTTP attempt: no retries, no redirects, cancelled by drop.
//!
//! [`HttpTransport`] sends over the network; the simulator and the scripted tests implement the same trait in
//! memory.

use std::error::Error as _;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::time::Duration;

use bytes::Bytes;
use futures_util::{Stream, StreamExt as _};
use http::{HeaderMap, HeaderValue, header};
use rustls::pki_types::CertificateDer;
use secrecy::{ExposeSecret as _, SecretString};
use url::Url;

use crate::event::{CallId, UpstreamInfo};
use crate::policy::classify::{may_start_at_end, redact_key};
use crate::text::SafeText;

/// The request of one attempt.
#[derive(Clone, Debug)]
pub struct AttemptRequest {
    /// The JSON body.
    pub body: Bytes,
    /// The call that owns the flight.
    pub call: CallId,
    /// The number of the attempt in its flight, from 1.
    pub attempt: u32,
    /// LLM tokens of the prompt, counted by the caller or estimated. Not sent.
    pub prompt_tokens: u64,
    /// The idempotency key, the same for every attempt of a call.
    pub idempotency_key: String,
}

/// Status, headers, and the body as a stream.
pub struct Response {
    /// HTTP status.
    pub status: u16,
    /// Response headers.
    pub headers: HeaderMap,
    /// The body. Its last item is an error if the transport knows that the body is incomplete.
    pub body: BodyStream,
}

impl std::fmt::Debug for Response {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Response")
            .field("status", &self.status)
            .finish_non_exhaustive()
    }
}

/// Body bytes as they arrive.
pub type BodyStream = Pin<Box<dyn Stream<Item = Result<Bytes, BodyError>> + Send>>;

/// The error of a truncated body.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{detail}")]
pub struct BodyError {
    /// True if the peer reset the connection instead of closing it.
    pub reset: bool,
    /// The transport's own error text.
    pub detail: String,
}

/// The error of a request without a response.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{detail}")]
pub struct SendError {
    /// The kind of failure, which decides phase and class.
    pub kind: SendErrorKind,
    /// The transport's own error text.
    pub detail: String,
}

/// The kinds of [`SendError`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SendErrorKind {
    /// Connection refused: nothing listens at the address.
    Refused,
    /// No route, or the connection broke while it was made.
    Unreachable,
    /// No connection within the connect timeout.
    ConnectTimeout,
    /// The host name does not exist.
    DnsUnknown,
    /// The resolver failed.
    DnsTemporary,
    /// Certificate or protocol version do not fit: a retry cannot help.
    TlsConfig,
    /// The TLS handshake broke off.
    TlsHandshake,
    /// The connection broke after the request was sent.
    Reset,
    /// The response is not HTTP, or its framing is ambiguous.
    Framing,
}

/// The way to one upstream, for one attempt at a time.
pub trait Transport: Send + Sync + 'static {
    /// Sends the request and waits for the response headers. Dropping the future or the body cancels the request.
    ///
    /// # Errors
    /// If no response headers arrive. A response with an error status is not an error here.
    fn send(&self, request: AttemptRequest) -> impl Future<Output = Result<Response, SendError>> + Send;

    /// The upstream, for messages and cache keys.
    fn info(&self) -> UpstreamInfo;

    /// A number that differs between API keys, part of every cache key. Default: 0.
    fn credential_id(&self) -> u64 {
        0
    }

    /// The key that is sent. No default, because a forgotten key would be shown wherever a server echoes it.
    fn key(&self) -> Option<&ApiKey>;

    /// The variable or file of the key, for messages.
    fn key_name(&self) -> Option<&str> {
        self.key().map(|key| key.name.as_str())
    }

    /// The text with the key redacted. Every event, and so screen, journal and reports, holds redacted text; the
    /// caller of the library gets what the server sent (docs/semantics.md, Security).
    fn redact(&self, text: SafeText) -> SafeText {
        match self.key() {
            Some(key) => key.redact(text),
            None => text,
        }
    }
}

/// An API key and its source.
#[derive(Clone, Debug)]
pub struct ApiKey {
    /// The variable or file, for messages.
    pub name: String,
    /// The key itself; never printed.
    pub secret: SecretString,
}

impl ApiKey {
    /// The text with this key, and parts of it, redacted.
    pub(super) fn redact(&self, text: SafeText) -> SafeText {
        redact_key(&text, self.secret.expose_secret()).map_or(text, SafeText::from)
    }

    /// Returns true if this key may start at the end of `text`.
    pub(super) fn may_start_at_end(&self, text: &str) -> bool {
        may_start_at_end(text, self.secret.expose_secret())
    }
}

/// The configuration of an [`HttpTransport`].
#[derive(Clone, Debug)]
pub struct HttpConfig {
    /// The base URL, with or without `/v1`.
    pub base: Url,
    /// The model to name in messages.
    pub model: Option<String>,
    /// The key, sent as bearer token.
    pub api_key: Option<ApiKey>,
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
    /// The HTTP client could not be built.
    #[error("cannot set up HTTP: {0}")]
    Client(#[from] reqwest::Error),
}

/// The transport over the network: HTTP/1.1 with reqwest.
#[derive(Clone, Debug)]
pub struct HttpTransport {
    client: reqwest::Client,
    chat_url: Url,
    base: Url,
    api_key: Option<ApiKey>,
    credential_id: u64,
    info: UpstreamInfo,
    tag_attempts: bool,
}

impl HttpTransport {
    /// Builds a transport to one upstream. Connects to nothing yet.
    ///
    /// # Errors
    /// If the key cannot be sent in a header, or a certificate of `extra_roots` cannot be read.
    pub fn new(config: &HttpConfig) -> Result<Self, TransportSetupError> {
        let base = versioned(&config.base);
        let loopback = is_loopback(&config.base);
        let builder = client_for(config)?;
        let host = config.shown_host.clone().unwrap_or_else(|| host_of(&config.base));
        Ok(Self {
            client: builder.build()?,
            chat_url: join_path(&base, "chat/completions"),
            api_key: config.api_key.clone(),
            credential_id: config.api_key.as_ref().map_or(0, |key| {
                xxhash_rust::xxh3::xxh3_64(key.secret.expose_secret().as_bytes())
            }),
            info: UpstreamInfo {
                host: SafeText::new(&host),
                model: config.model.as_deref().map(SafeText::new),
                simulated: config.simulated,
                loopback,
            },
            base,
            tag_attempts: config.simulated || config.shown_host.is_some(),
        })
    }

    /// Returns true if the base URL is `https`.
    pub(crate) fn is_tls(&self) -> bool {
        self.base.scheme() == "https"
    }

    /// The path of the model list.
    pub(crate) fn models_path(&self) -> String {
        join_path(&self.base, "models").path().to_owned()
    }

    /// A GET below the base URL, for probes: status and at most 1 MiB of body.
    pub(crate) async fn get(&self, path: &str, timeout: Duration) -> Result<(u16, Vec<u8>), SendError> {
        let request = self.client.get(join_path(&self.base, path)).timeout(timeout);
        let response = request.send().await.map_err(|error| send_error(&error))?;
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
}

impl Transport for HttpTransport {
    async fn send(&self, request: AttemptRequest) -> Result<Response, SendError> {
        let mut builder = self.client.post(self.chat_url.clone()).body(request.body);
        if self.tag_attempts {
            builder = builder
                .header(
                    "x-seawall-attempt",
                    format!("{}.{}", request.call.0, request.attempt),
                )
                .header("idempotency-key", request.idempotency_key);
        }
        let response = builder.send().await.map_err(|error| send_error(&error))?;
        let status = response.status().as_u16();
        let headers = response.headers().clone();
        // RFC 9112 section 6.3: it may be response splitting, which reqwest accepts silently. Dropping the
        // response closes the connection
        if headers.contains_key(header::CONTENT_LENGTH) && headers.contains_key(header::TRANSFER_ENCODING) {
            return Err(SendError {
                kind: SendErrorKind::Framing,
                detail: "both Content-Length and Transfer-Encoding".into(),
            });
        }
        let body = response
            .bytes_stream()
            .map(|chunk| chunk.map_err(|error| body_error(&error)));
        Ok(Response {
            status,
            headers,
            body: Box::pin(body),
        })
    }

    fn info(&self) -> UpstreamInfo {
        self.info.clone()
    }

    fn credential_id(&self) -> u64 {
        self.credential_id
    }

    fn key(&self) -> Option<&ApiKey> {
        self.api_key.as_ref()
    }
}

/// A client builder for one server: its key, its certificates, and how its connections are kept.
pub(super) fn client_for(config: &HttpConfig) -> Result<reqwest::ClientBuilder, TransportSetupError> {
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
    let roots = config
        .extra_roots
        .iter()
        .map(|root| reqwest::Certificate::from_der(root));
    let mut builder = http_client()
        .default_headers(headers)
        .tls_certs_merge(roots.collect::<Result<Vec<_>, _>>()?)
        .connect_timeout(config.connect_timeout)
        // servers close idle connections, some after 5 s: close them first, before one dies under a request
        .pool_idle_timeout(Duration::from_secs(4));
    // llama-server has few HTTP threads and closes a kept connection at once when another one waits for a thread.
    // A request sent meanwhile may have been processed, so it costs an ambiguous retry and counts against a
    // healthy server. Without TLS a new connection is cheap. The simulator closes none under a request
    let own = config.simulated || config.shown_host.is_some();
    if config.base.scheme() == "http" && !own {
        builder = builder.pool_max_idle_per_host(0);
    }
    if is_loopback(&config.base) {
        builder = builder.no_proxy();
    }
    Ok(builder)
}

/// A client builder with everything disabled that would hide an attempt or send a key elsewhere.
pub(crate) fn http_client() -> reqwest::ClientBuilder {
    // a second installation fails, which is fine: the first one is the same
    drop(rustls::crypto::ring::default_provider().install_default());
    reqwest::Client::builder()
        // by default ten redirects are followed, with headers such as x-api-key
        .redirect(reqwest::redirect::Policy::none())
        // reqwest would retry protocol NACKs, unseen by the limiter
        .retry(reqwest::retry::never())
        .referer(false)
}

/// Returns true if the URL points at this machine.
pub(crate) fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(url::Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
        Some(url::Host::Ipv4(address)) => address.is_loopback(),
        Some(url::Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}

/// `host:port` of a URL, or the host alone if the port is the scheme's default.
pub(crate) fn host_of(url: &Url) -> String {
    let host = url.host_str().unwrap_or("?");
    url.port()
        .map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
}

/// The base URL with exactly one `/v1` at its end: a doubled one is a 404. The address of an endpoint, as many
/// manuals give it, is accepted too.
pub(super) fn versioned(base: &Url) -> Url {
    let mut url = base.clone();
    let path = base.path().trim_end_matches('/');
    let endpoint = ["/chat/completions", "/embeddings"].into_iter();
    let path = endpoint.fold(path, |path, end| path.strip_suffix(end).unwrap_or(path));
    let path = if path.ends_with("/v1") {
        path.to_owned()
    } else {
        format!("{path}/v1")
    };
    url.set_path(&path);
    url.set_query(None);
    url.set_fragment(None);
    url
}

/// `base` with `path` appended; a path that begins with `/` replaces `/v1`.
pub(super) fn join_path(base: &Url, path: &str) -> Url {
    let mut url = base.clone();
    let joined = match path.strip_prefix('/') {
        Some(rest) => format!(
            "{}/{rest}",
            base.path().trim_end_matches("/v1").trim_end_matches('/')
        ),
        None => format!("{}/{path}", base.path().trim_end_matches('/')),
    };
    url.set_path(&joined);
    url
}

/// All causes, joined: reqwest's own text hides them.
fn causes(error: &reqwest::Error) -> String {
    let mut text = String::new();
    let mut source = error.source();
    while let Some(cause) = source {
        if !text.is_empty() {
            text.push_str(": ");
        }
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    if text.is_empty() { error.to_string() } else { text }
}

/// The innermost I/O error among the causes.
fn io_kind(error: &reqwest::Error) -> Option<io::ErrorKind> {
    let mut source = error.source();
    let mut kind = None;
    while let Some(cause) = source {
        if let Some(io) = cause.downcast_ref::<io::Error>() {
            kind = Some(io.kind());
        }
        source = cause.source();
    }
    kind
}

pub(super) fn send_error(error: &reqwest::Error) -> SendError {
    let detail = causes(error);
    let io = io_kind(error);
    let lower = detail.to_lowercase();
    let kind = if error.is_connect() {
        match io {
            Some(io::ErrorKind::ConnectionRefused) => SendErrorKind::Refused,
            _ if error.is_timeout() => SendErrorKind::ConnectTimeout,
            _ if error.is_dns() || lower.contains("dns error") => {
                let unknown = ["not known", "no address associated", "nodename nor servname"];
                if unknown.iter().any(|words| lower.contains(words)) {
                    SendErrorKind::DnsUnknown
                } else {
                    SendErrorKind::DnsTemporary
                }
            }
            _ if lower.contains("certificate")
                || lower.contains("corruptmessage")
                || lower.contains("invalidcontenttype") =>
            {
                SendErrorKind::TlsConfig
            }
            _ if lower.contains("tls") || lower.contains("handshake") => SendErrorKind::TlsHandshake,
            _ => SendErrorKind::Unreachable,
        }
    } else if error.is_timeout() {
        SendErrorKind::ConnectTimeout
    } else if [
        "invalid http",
        "invalid header",
        "invalid content-length",
        "invalid transfer-encoding",
        "unexpected transfer-encoding",
        "message head is too large",
    ]
    .iter()
    .any(|words| lower.contains(words))
    {
        SendErrorKind::Framing
    } else {
        SendErrorKind::Reset
    };
    SendError { kind, detail }
}

fn body_error(error: &reqwest::Error) -> BodyError {
    BodyError {
        reset: io_kind(error) == Some(io::ErrorKind::ConnectionReset),
        detail: causes(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_is_in_the_path_once() {
        for base in [
            "http://h:1",
            "http://h:1/",
            "http://h:1/v1",
            "http://h:1/v1/",
            "http://h:1/v1/chat/completions",
            "http://h:1/v1/embeddings",
        ] {
            let base = versioned(&Url::parse(base).unwrap());
            assert_eq!(join_path(&base, "models").as_str(), "http://h:1/v1/models");
            assert_eq!(join_path(&base, "/health").as_str(), "http://h:1/health");
        }
        let prefixed = versioned(&Url::parse("https://h/openai").unwrap());
        assert_eq!(
            join_path(&prefixed, "models").as_str(),
            "https://h/openai/v1/models"
        );
    }

    #[test]
    fn recognises_loopback_hosts() {
        for (url, expected) in [
            ("http://127.0.0.1:8033", true),
            ("http://[::1]:1", true),
            ("http://localhost", true),
            ("http://10.0.0.1", false),
            ("https://localhost.example.com", false),
        ] {
            assert_eq!(is_loopback(&Url::parse(url).unwrap()), expected, "{url}");
        }
    }
}
