//! The proxy in front of a real upstream: requests pass through, and real answers break as the script says.
//!
//! ```text
//! errors, stall, reset, malformed, html     answered here; the upstream gets no request
//! cut, hang, drip                           performed on the upstream's answer as it passes, if it is a 2xx
//!                                           and (cut, hang) long enough to be broken
//! no fault                                  body, status and end-to-end header fields pass unchanged
//! ```
//!
//! A refused connection cannot be passed on, because the client has already connected to this server. It becomes a
//! connection reset before the first byte: retryable as well, but counted as a reset. An answer that the upstream
//! truncates is truncated here.
//!
//! Each request opens a new connection: a reused one could fail because of its age, which would look like a fault.

use std::io;
use std::time::Duration;

use ::http::{HeaderMap, header};
use bytes::Bytes;
use rustls::pki_types::CertificateDer;
use url::Url;

use super::events::EventCounter;
use super::script::Plan;
use super::server::ATTEMPT_HEADER;
use crate::client::{Address, add_query, end_to_end, http_client};
use crate::dialect::Dialect;
use crate::settings::FaultKind;
use crate::simulator::wire::{Framing, Request, Response};
use crate::time::Clock;

/// The limit for connecting to the upstream. Later time limits are the client's.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// The client of the upstream.
#[derive(Debug)]
pub(super) struct Forward {
    client: reqwest::Client,
    address: Address,
}

impl Forward {
    pub(super) fn new(base: &Url, extra_roots: &[CertificateDer<'static>]) -> io::Result<Self> {
        let roots = extra_roots
            .iter()
            .map(|root| reqwest::Certificate::from_der(root));
        let roots: Result<Vec<_>, _> = roots.collect();
        let client = http_client(base)
            .tls_certs_merge(roots.map_err(io::Error::other)?)
            .pool_max_idle_per_host(0)
            .connect_timeout(CONNECT_TIMEOUT)
            .tcp_nodelay(true)
            .build()
            .map_err(io::Error::other)?;
        let address = Address::new(base);
        Ok(Self { client, address })
    }

    /// Forwards the request and returns the answer, broken by `fault` if there is one. `on_failure` receives the
    /// reason if the upstream cannot be reached.
    pub(super) async fn pass(
        &self,
        request: Request,
        response: &mut Response<'_>,
        fault: Option<BodyFault<'_>>,
        on_failure: &(dyn Fn(String) + Sync),
    ) -> io::Result<()> {
        let mut headers = end_to_end(&request.headers);
        headers.remove(ATTEMPT_HEADER);
        // events cannot be counted in a compressed body
        headers.insert(
            header::ACCEPT_ENCODING,
            header::HeaderValue::from_static("identity"),
        );
        let (path, query) = match request.target.split_once('?') {
            Some((path, query)) => (path, Some(query)),
            None => (&*request.target, None),
        };
        let send = |mut url: Url| {
            if let Some(query) = query {
                add_query(&mut url, query);
            }
            let builder = self.client.request(request.method.clone(), url);
            builder.headers(headers.clone()).body(request.body.clone()).send()
        };
        let sent = async {
            match endpoint_of(path) {
                Some(endpoint) => self.address.send(&request.method, endpoint, send).await,
                None => send(self.address.beside(path)).await,
            }
        };
        let mut answer = match response.while_connected(sent).await? {
            Ok(answer) => answer,
            Err(error) => {
                on_failure(reasons(error));
                response.reset();
                return Ok(());
            }
        };
        let framing = framing_of(&answer);
        let fields = end_to_end(answer.headers());
        let fields: Vec<(&str, &[u8])> = fields
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_bytes()))
            .collect();
        response.head(answer.status().as_u16(), &fields, framing).await?;
        let mut fault = fault
            .filter(|_| answer.status().is_success())
            .map(|fault| fault.aimed_at(answer.headers(), framing));
        loop {
            match response.while_connected(answer.chunk()).await? {
                Ok(Some(bytes)) => match &mut fault {
                    None => response.body(&bytes).await?,
                    Some(fault) => {
                        if fault.pass(bytes, response).await? == Flow::Broken {
                            return Ok(());
                        }
                    }
                },
                Ok(None) => return response.end().await,
                Err(_) => {
                    response.cut();
                    return Ok(());
                }
            }
        }
    }
}

/// The endpoint of the API that a path names, with or without `/v1`; `None` for another page, such as `/health`.
pub(super) fn endpoint_of(path: &str) -> Option<&str> {
    let bare = ["/chat/completions", "/embeddings", "/models"];
    path.strip_prefix("/v1/")
        .or_else(|| bare.contains(&path).then(|| path.trim_start_matches('/')))
}

/// An error with all its causes, without the URL, which may contain a password.
fn reasons(error: reqwest::Error) -> String {
    let error = error.without_url();
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(&error);
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

fn framing_of(answer: &reqwest::Response) -> Framing {
    // these have no body, whatever their header fields say
    if matches!(answer.status().as_u16(), 204 | 304) {
        return Framing::Length(0);
    }
    let length = answer.headers().get(header::CONTENT_LENGTH);
    let length = length.and_then(|value| value.to_str().ok()?.parse().ok());
    length.map_or(Framing::Chunked, Framing::Length)
}

/// The state of the answer after a piece of its body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Flow {
    Continues,
    Broken,
}

/// A fault that breaks the body of an answer.
pub(super) struct BodyFault<'a> {
    dialect: Dialect,
    plan: Plan<'a>,
    on_inject: &'a (dyn Fn(FaultKind) + Sync),
    clock: Clock,
    target: Target,
}

/// The position of the fault.
#[derive(Debug)]
enum Target {
    /// After an event.
    Event(EventCounter),
    /// After this many more bytes.
    Byte(u64),
    /// From the first byte on.
    Everywhere,
}

impl<'a> BodyFault<'a> {
    /// `on_inject` is called when the fault is performed.
    pub(super) fn new(
        dialect: Dialect,
        plan: Plan<'a>,
        on_inject: &'a (dyn Fn(FaultKind) + Sync),
        clock: Clock,
    ) -> Self {
        Self {
            dialect,
            plan,
            on_inject,
            clock,
            target: Target::Byte(0),
        }
    }

    /// Chooses the position: after `cut_after` events of a stream, or in the middle of another body.
    fn aimed_at(mut self, headers: &HeaderMap, framing: Framing) -> Self {
        let kind = headers.get(header::CONTENT_TYPE);
        let stream = kind.is_some_and(|kind| kind.as_bytes().starts_with(b"text/event-stream"));
        self.target = match (self.plan.fault, framing) {
            (Some((FaultKind::Drip, _)), _) => {
                (self.on_inject)(FaultKind::Drip);
                Target::Everywhere
            }
            (Some((_, profile)), _) if stream => {
                Target::Event(EventCounter::new(self.dialect, profile.cut_after))
            }
            (_, Framing::Length(length)) => Target::Byte(length / 2),
            (_, Framing::Chunked) => Target::Byte(1),
        };
        self
    }

    async fn pass(&mut self, mut bytes: Bytes, response: &mut Response<'_>) -> io::Result<Flow> {
        let at = match &mut self.target {
            Target::Everywhere => {
                self.drip(bytes, response).await?;
                return Ok(Flow::Continues);
            }
            Target::Event(counter) => counter.feed(&bytes),
            Target::Byte(left) => match usize::try_from(*left) {
                Ok(at) if at <= bytes.len() => Some(at),
                _ => {
                    *left -= bytes.len() as u64;
                    None
                }
            },
        };
        let Some(at) = at else {
            response.body(&bytes).await?;
            return Ok(Flow::Continues);
        };
        bytes.truncate(at);
        response.body(&bytes).await?;
        if let Some((fault, profile)) = self.plan.fault {
            (self.on_inject)(fault);
            if fault == FaultKind::StallMidStream {
                response.wait_until(self.clock.now() + profile.stall_for).await?;
                response.reset();
                return Ok(Flow::Broken);
            }
        }
        response.cut();
        Ok(Flow::Broken)
    }

    /// Spreads a piece over `drip_factor` times the time of a token.
    async fn drip(&mut self, mut bytes: Bytes, response: &mut Response<'_>) -> io::Result<()> {
        let factor = self.plan.fault.map_or(1, |(_, profile)| profile.drip_factor);
        // about four bytes per piece
        let gap = self.plan.between().saturating_mul(factor) / ((bytes.len() / 4) as u32).max(1);
        let mut at = self.clock.now();
        while !bytes.is_empty() {
            let piece = bytes.split_to(self.plan.drip_bytes(bytes.len()));
            at = at + gap;
            response.wait_until(at).await?;
            response.body(&piece).await?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use ::http::HeaderName;

    use super::*;

    #[test]
    fn a_request_goes_below_the_base_url() {
        let cases = [
            ("http://h:1", "/v1/models", "http://h:1/v1/models"),
            ("http://h:1/", "/v1/models", "http://h:1/v1/models"),
            (
                "http://h:1/v1",
                "/v1/models?a=b%20c",
                "http://h:1/v1/models?a=b%20c",
            ),
            ("http://h:1/v1/", "/health", "http://h:1/health"),
            (
                "http://h:1/v1/chat/completions",
                "/v1/models",
                "http://h:1/v1/models",
            ),
            ("http://h:1/x/v1", "/v1/models", "http://h:1/x/v1/models"),
            (
                "http://h:1/x/v1",
                "/chat/completions",
                "http://h:1/x/v1/chat/completions",
            ),
            (
                "http://h:1/api/v3",
                "/v1/chat/completions",
                "http://h:1/api/v3/chat/completions",
            ),
            ("http://h:1/d?v=1", "/v1/models", "http://h:1/d/models?v=1"),
            (
                "http://h:1/d?v=1",
                "/v1/models?a=b",
                "http://h:1/d/models?v=1&a=b",
            ),
            ("http://h:1/x", "/v1", "http://h:1/x/v1"),
        ];
        for (base, target, wanted) in cases {
            let address = Address::new(&Url::parse(base).unwrap());
            let (path, query) = target.split_once('?').unzip();
            let path = path.unwrap_or(target);
            let mut url = endpoint_of(path).map_or_else(|| address.beside(path), |end| address.url(end));
            if let Some(query) = query {
                add_query(&mut url, query);
            }
            assert_eq!(url.as_str(), wanted, "{base} {target}");
        }
    }

    #[test]
    fn hop_by_hop_fields_are_not_forwarded() {
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("connection", "close, X-Private"),
            ("x-private", "1"),
            ("keep-alive", "timeout=5"),
            ("transfer-encoding", "chunked"),
            ("authorization", "Bearer k"),
            ("x-ratelimit-remaining", "3"),
        ] {
            headers.insert(HeaderName::from_static(name), value.parse().unwrap());
        }
        let passed = end_to_end(&headers);
        let mut names: Vec<&str> = passed.keys().map(HeaderName::as_str).collect();
        names.sort_unstable();
        assert_eq!(names, ["authorization", "x-ratelimit-remaining"]);
    }
}
