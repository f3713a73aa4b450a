//! In front of a real upstream: requests pass through, and real answers break as the script says.
//!
//! ```text
//! refusals, stall, reset, malformed, html   answered here; the upstream is never asked
//! cut, hang, drip                           performed on the upstream's answer as it passes, if it is a 2xx
//!                                           and (cut, hang) long enough to be broken
//! no fault                                  body, status and end-to-end header fields pass unchanged
//! ```
//!
//! What cannot be passed on: a client of this server has always *connected*. An upstream that refuses
//! connections, or cannot be found, is seen as a connection reset before the first byte: as bad, and
//! retryable, but counted under another name. An answer that the upstream breaks off is broken off here.
//!
//! Each request opens a connection of its own: a reused one could die of age, and a person would see a
//! fault that nobody made.

use std::io;
use std::time::Duration;

use ::http::{HeaderMap, HeaderName, header};
use bytes::Bytes;
use rustls::pki_types::CertificateDer;
use url::Url;

use super::events::EventCounter;
use super::script::Plan;
use super::server::ATTEMPT_HEADER;
use crate::settings::FaultKind;
use crate::simulator::wire::{Framing, Request, Response};
use crate::time::Clock;

/// For a connection to the upstream. What comes after it has no limit here: that is the client's decision.
const CONNECT_TIME: Duration = Duration::from_secs(10);

/// Fields that belong to one connection (RFC 9110 section 7.6.1), and those that are written anew.
const NOT_PASSED: [HeaderName; 11] = [
    header::CONNECTION,
    header::PROXY_AUTHENTICATE,
    header::PROXY_AUTHORIZATION,
    header::TE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
    header::CONTENT_LENGTH,
    header::HOST,
    header::EXPECT,
    HeaderName::from_static("keep-alive"),
];

/// The way to the upstream.
#[derive(Debug)]
pub(super) struct Forward {
    client: reqwest::Client,
    base: Url,
}

impl Forward {
    pub(super) fn new(base: Url, extra_roots: &[CertificateDer<'static>]) -> io::Result<Self> {
        // a second call finds the provider there, which is as good
        drop(rustls::crypto::ring::default_provider().install_default());
        let roots = extra_roots
            .iter()
            .map(|root| reqwest::Certificate::from_der(root));
        let roots: Result<Vec<_>, _> = roots.collect();
        let client = reqwest::Client::builder()
            .tls_certs_merge(roots.map_err(io::Error::other)?)
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .retry(reqwest::retry::never())
            .pool_max_idle_per_host(0)
            .connect_timeout(CONNECT_TIME)
            .tcp_nodelay(true)
            .build()
            .map_err(io::Error::other)?;
        Ok(Self { client, base })
    }

    /// Passes the request on and its answer back, broken by `mischief` if there is some. `failed` is told
    /// why the upstream could not be asked.
    pub(super) async fn pass(
        &self,
        request: Request,
        response: &mut Response<'_>,
        mischief: Option<Mischief<'_>>,
        failed: &(dyn Fn(String) + Sync),
    ) -> io::Result<()> {
        let url = target_url(&self.base, &request.target);
        let mut headers = passed_on(&request.headers);
        headers.remove(ATTEMPT_HEADER);
        // a packed body could neither be counted nor be cut at an event
        headers.insert(
            header::ACCEPT_ENCODING,
            header::HeaderValue::from_static("identity"),
        );
        let send = self
            .client
            .request(request.method, url)
            .headers(headers)
            .body(request.body)
            .send();
        let mut answer = match response.unless_gone(send).await? {
            Ok(answer) => answer,
            Err(error) => {
                failed(reasons(error));
                response.reset();
                return Ok(());
            }
        };
        let framing = framing_of(&answer);
        let fields = passed_on(answer.headers());
        let fields: Vec<(&str, &[u8])> = fields
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_bytes()))
            .collect();
        response.head(answer.status().as_u16(), &fields, framing).await?;
        let mut mischief = mischief
            .filter(|_| answer.status().is_success())
            .map(|mischief| mischief.on(answer.headers(), framing));
        loop {
            match response.unless_gone(answer.chunk()).await? {
                Ok(Some(bytes)) => match &mut mischief {
                    None => response.body(&bytes).await?,
                    Some(mischief) => {
                        if mischief.pass(bytes, response).await? == Flow::Broken {
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

/// The upstream's address of a target. This server stands where the base points *without* its `/v1`: a
/// target brings its own, and `/health` has none.
fn target_url(base: &Url, target: &str) -> Url {
    let prefix = base.path().trim_end_matches('/');
    let prefix = prefix.strip_suffix("/chat/completions").unwrap_or(prefix);
    let prefix = prefix.strip_suffix("/v1").unwrap_or(prefix);
    let (path, query) = match target.split_once('?') {
        Some((path, query)) => (path, Some(query)),
        None => (target, None),
    };
    let mut url = base.clone();
    url.set_path(&format!("{prefix}{path}"));
    url.set_query(query);
    url
}

/// Without the fields that belong to one connection, those that `Connection` names included.
fn passed_on(headers: &HeaderMap) -> HeaderMap {
    let mut passed = headers.clone();
    let named = headers
        .get_all(header::CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok());
    for name in named.flat_map(|value| value.split(',')) {
        passed.remove(name.trim());
    }
    for name in NOT_PASSED {
        passed.remove(name);
    }
    passed
}

/// An error with all its causes; without the address, which may hold a password.
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
    // these have no body, whatever they say
    if matches!(answer.status().as_u16(), 204 | 304) {
        return Framing::Length(0);
    }
    let length = answer.headers().get(header::CONTENT_LENGTH);
    let length = length.and_then(|value| value.to_str().ok()?.parse().ok());
    length.map_or(Framing::Chunked, Framing::Length)
}

/// Whether the answer goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Flow {
    On,
    Broken,
}

/// A fault that needs an answer to break.
pub(super) struct Mischief<'a> {
    plan: Plan<'a>,
    strike: &'a (dyn Fn(FaultKind) + Sync),
    clock: Clock,
    spot: Spot,
}

/// Where a cut or a hang strikes.
#[derive(Debug)]
enum Spot {
    /// After an event.
    Event(EventCounter),
    /// After so many bytes more.
    Byte(u64),
    /// A drip strikes once, at the first byte; then it goes on.
    Dripping,
}

impl<'a> Mischief<'a> {
    /// `strike` is told when the fault is performed.
    pub(super) fn new(plan: Plan<'a>, strike: &'a (dyn Fn(FaultKind) + Sync), clock: Clock) -> Self {
        Self {
            plan,
            strike,
            clock,
            spot: Spot::Byte(0),
        }
    }

    /// Chooses the spot: after `cut_after` events of a stream, or in the middle of another body.
    fn on(mut self, headers: &HeaderMap, framing: Framing) -> Self {
        let kind = headers.get(header::CONTENT_TYPE);
        let stream = kind.is_some_and(|kind| kind.as_bytes().starts_with(b"text/event-stream"));
        self.spot = match (self.plan.fault, framing) {
            (Some((FaultKind::Drip, _)), _) => {
                (self.strike)(FaultKind::Drip);
                Spot::Dripping
            }
            (Some((_, profile)), _) if stream => Spot::Event(EventCounter::new(profile.cut_after)),
            (_, Framing::Length(length)) => Spot::Byte(length / 2),
            (_, Framing::Chunked) => Spot::Byte(1),
        };
        self
    }

    async fn pass(&mut self, mut bytes: Bytes, response: &mut Response<'_>) -> io::Result<Flow> {
        let at = match &mut self.spot {
            Spot::Dripping => {
                self.drip(bytes, response).await?;
                return Ok(Flow::On);
            }
            Spot::Event(counter) => counter.feed(&bytes),
            Spot::Byte(left) => match usize::try_from(*left) {
                Ok(at) if at <= bytes.len() => Some(at),
                _ => {
                    *left -= bytes.len() as u64;
                    None
                }
            },
        };
        let Some(at) = at else {
            response.body(&bytes).await?;
            return Ok(Flow::On);
        };
        bytes.truncate(at);
        response.body(&bytes).await?;
        if let Some((fault, profile)) = self.plan.fault {
            (self.strike)(fault);
            if fault == FaultKind::StallMidStream {
                response.wait_until(self.clock.now() + profile.stall_for).await?;
                response.reset();
                return Ok(Flow::Broken);
            }
        }
        response.cut();
        Ok(Flow::Broken)
    }

    /// What came in one piece is spread over `drip_factor` times a token's time.
    async fn drip(&mut self, mut bytes: Bytes, response: &mut Response<'_>) -> io::Result<()> {
        let factor = self.plan.fault.map_or(1, |(_, profile)| profile.drip_factor);
        // about four bytes a piece
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
    use super::*;

    #[test]
    fn the_v1_of_the_base_is_the_targets() {
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
            ("http://h:1/x", "/v1", "http://h:1/x/v1"),
        ];
        for (base, target, url) in cases {
            let found = target_url(&Url::parse(base).unwrap(), target);
            assert_eq!(found.as_str(), url);
        }
    }

    #[test]
    fn fields_of_the_connection_stay_behind() {
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
        let passed = passed_on(&headers);
        let mut names: Vec<&str> = passed.keys().map(HeaderName::as_str).collect();
        names.sort_unstable();
        assert_eq!(names, ["authorization", "x-ratelimit-remaining"]);
    }
}
