//! The addresses of an API: which URL an endpoint has below a base URL, and which hosts are near.
//!
//! ```text
//! given                                       chat completions at
//! http://h:1                                  http://h:1/v1/chat/completions
//! https://h/api/v3/                           https://h/api/v3/chat/completions
//! https://h/x/chat/completions                https://h/x/chat/completions
//! https://h/openai/deployments/d?api-version=1    .../deployments/d/chat/completions?api-version=1
//! https://h/openai                            https://h/openai/chat/completions; if that is missing,
//!                                             https://h/openai/v1/chat/completions
//! ```
//!
//! - An empty path becomes `/v1`. To any other path nothing is added, and the query is kept.
//! - A path without a version is the exception that is tried: earlier releases added `/v1` there, and gateways
//!   differ. If the endpoint is missing as given (404 or 405), the same request goes to `/v1` below it; the first
//!   POST that finds its endpoint decides for the life of the address.

use std::future::Future;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use http::uri::InvalidUri;
use http::{StatusCode, Uri};
use hyper_util::client::proxy::matcher::Matcher;
use url::{Host, Position, Url};

/// Endpoints that a URL copied from a manual may end in.
const ENDPOINTS: [&str; 3] = ["/chat/completions", "/embeddings", "/models"];

/// The last labels of names that only exist in a private network (RFC 6762, RFC 8375, the name reserved by ICANN,
/// and the habit of routers).
const PRIVATE_NAMES: [&str; 4] = ["local", "internal", "lan", "home.arpa"];

/// The base URL of an API.
#[derive(Clone, Debug)]
pub(crate) struct Address {
    /// Without fragment and without a slash at the end of the path.
    base: Url,
    /// The base with `/v1`, where it may be meant.
    versioned: Option<Url>,
    /// True if the endpoints are below `versioned`; empty until a request has shown it. Shared by clones.
    is_versioned: Arc<OnceLock<bool>>,
}

impl Address {
    pub(crate) fn new(given: &Url) -> Self {
        let mut base = given.clone();
        base.set_fragment(None);
        let path = given.path().trim_end_matches('/');
        let lower = path.to_ascii_lowercase();
        let endpoint = ENDPOINTS.iter().find(|end| lower.ends_with(**end));
        // https://NAME.services.ai.azure.com/models is a base, not a list of models
        let endpoint = endpoint.filter(|end| **end != "/models" || lower.len() > end.len());
        let stem = endpoint.and_then(|end| path.get(..path.len() - end.len()));
        let path = match stem {
            Some(stem) => stem.trim_end_matches('/'),
            None if path.is_empty() => "/v1",
            None => path,
        };
        base.set_path(path);
        let may_be_v1 = stem.is_none() && given.query().is_none() && !names_version(path);
        let versioned = may_be_v1.then(|| below(&base, "v1"));
        Self {
            base,
            versioned,
            is_versioned: Arc::default(),
        }
    }

    /// The URL of an endpoint such as `chat/completions`.
    pub(crate) fn url(&self, endpoint: &str) -> Url {
        below(self.base_at(Place::Known), endpoint)
    }

    /// The URL of a path that is not part of the API, such as `/health` of llama-server: beside `/v1`.
    pub(crate) fn beside(&self, path: &str) -> Url {
        let mut url = self.base.clone();
        let root = self.base.path().trim_end_matches('/');
        let root = root.strip_suffix("/v1").unwrap_or(root);
        url.set_path(&format!("{root}{path}"));
        url.set_query(None);
        url
    }

    /// The address of an endpoint at a place, with the query of a request.
    pub(super) fn uri(&self, place: Place, endpoint: &str, query: Option<&str>) -> Result<Uri, InvalidUri> {
        let base = self.base_at(place);
        let stem = &base[..Position::AfterPath];
        let queries = [base.query(), query].into_iter().flatten();
        let mut text = format!("{}/{endpoint}", stem.trim_end_matches('/'));
        for (query, mark) in queries.zip(['?', '&']) {
            text.push(mark);
            text.push_str(query);
        }
        Uri::from_maybe_shared(Bytes::from(text))
    }

    fn base_at(&self, place: Place) -> &Url {
        let versioned = self.versioned.as_ref().filter(|_| match place {
            Place::Known => self.is_versioned.get() == Some(&true),
            Place::Versioned => true,
        });
        versioned.unwrap_or(&self.base)
    }

    /// Sends a request to an endpoint, and where that is missing, once more to `/v1` below the base.
    ///
    /// # Errors
    /// Those of `send`.
    pub(crate) async fn send<F>(
        &self,
        method: &http::Method,
        endpoint: &str,
        send: impl Fn(Url) -> F,
    ) -> reqwest::Result<reqwest::Response>
    where
        F: Future<Output = reqwest::Result<reqwest::Response>>,
    {
        let send = |place| send(below(self.base_at(place), endpoint));
        self.send_at(method, send, reqwest::Response::status).await
    }

    /// The same as [`send`](Self::send) for another client. `status` reads the status of a response.
    pub(super) async fn send_at<F, R, E>(
        &self,
        method: &http::Method,
        send: impl Fn(Place) -> F,
        status: impl Fn(&R) -> StatusCode,
    ) -> Result<R, E>
    where
        F: Future<Output = Result<R, E>>,
    {
        // web servers answer 405 to a POST
        let is_missing = |response: &R| matches!(status(response).as_u16(), 404 | 405);
        // asked before: another request may find the place while this one is under way
        let is_unknown = self.is_versioned.get().is_none();
        let first = send(Place::Known).await?;
        if !is_unknown || self.versioned.is_none() {
            return Ok(first);
        }
        // a list of models is no proof: some servers have it at both places
        let decide = |is_versioned| {
            if *method == http::Method::POST {
                self.is_versioned.get_or_init(|| is_versioned);
            }
        };
        if !is_missing(&first) {
            decide(false);
            return Ok(first);
        }
        match send(Place::Versioned).await {
            Ok(second) if !is_missing(&second) => {
                decide(true);
                Ok(second)
            }
            _ => Ok(first),
        }
    }

    /// `host:port`, or the host alone if the port is the scheme's default.
    pub(crate) fn host(&self) -> String {
        host_of(&self.base)
    }

    pub(crate) fn is_tls(&self) -> bool {
        self.base.scheme() == "https"
    }

    pub(crate) fn is_loopback(&self) -> bool {
        is_loopback(&self.base)
    }

    /// `host:port` of the proxy that HTTPS_PROXY, HTTP_PROXY, ALL_PROXY and NO_PROXY choose for this address.
    pub(crate) fn proxy(&self) -> Option<String> {
        if self.is_loopback() {
            return None;
        }
        let uri = self.base.as_str().parse().ok()?;
        let proxy = Matcher::from_env().intercept(&uri)?;
        Some(proxy.uri().authority()?.to_string())
    }
}

/// Adds the query of a request to that of the base URL.
pub(crate) fn add_query(url: &mut Url, query: &str) {
    let joined = url
        .query()
        .map_or_else(|| query.to_owned(), |base| format!("{base}&{query}"));
    url.set_query(Some(&joined));
}

/// The base below which an endpoint is looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// The base as given, or `/v1` below it once a request has found its endpoint there.
    Known,
    /// `/v1` below the base, if it may be meant.
    Versioned,
}

/// Returns true if a segment of the path is a version: `v1`, `v1beta`, `V4`.
fn names_version(path: &str) -> bool {
    path.split('/').any(|segment| {
        let mut bytes = segment.bytes();
        matches!(bytes.next(), Some(b'v' | b'V')) && bytes.next().is_some_and(|byte| byte.is_ascii_digit())
    })
}

/// The URL with `path` appended to its path.
fn below(base: &Url, path: &str) -> Url {
    let mut url = base.clone();
    url.set_path(&format!("{}/{path}", base.path().trim_end_matches('/')));
    url
}

/// The address of the host, with an IPv4 address written as IPv6 unwrapped.
fn ip_of(url: &Url) -> Option<IpAddr> {
    match url.host()? {
        Host::Ipv4(address) => Some(address.into()),
        Host::Ipv6(address) => Some(IpAddr::V6(address).to_canonical()),
        Host::Domain(_) => None,
    }
}

/// The host name of the URL, without the dot at the end that makes it absolute.
fn name_of(url: &Url) -> &str {
    url.domain().unwrap_or_default().trim_end_matches('.')
}

/// Returns true if the URL points at this machine. A connection to 0.0.0.0, the address at which servers say they
/// listen, ends here too.
pub(crate) fn is_loopback(url: &Url) -> bool {
    let name = name_of(url);
    ip_of(url).map_or_else(
        || name == "localhost" || name.ends_with(".localhost"),
        |address| address.is_loopback() || address.is_unspecified(),
    )
}

/// Returns true for a host that only a private network has, where plain http is usual: an address of RFC 1918, RFC
/// 3927, RFC 4193 or RFC 6598 (carriers and overlay networks), a name of one label, or a private name.
pub(crate) fn is_private(url: &Url) -> bool {
    let shared = |address: Ipv4Addr| address.octets()[0] == 100 && address.octets()[1] & 0xc0 == 64;
    match ip_of(url) {
        Some(IpAddr::V4(address)) => address.is_private() || address.is_link_local() || shared(address),
        Some(IpAddr::V6(address)) => address.is_unique_local() || address.is_unicast_link_local(),
        None => {
            let name = name_of(url);
            let ends_in = |end: &&str| name.strip_suffix(*end).is_some_and(|rest| rest.ends_with('.'));
            !name.is_empty() && (!name.contains('.') || PRIVATE_NAMES.iter().any(ends_in))
        }
    }
}

/// The text of an address without what may be a secret in it: user, password and query.
pub(crate) fn without_secrets(text: &str) -> String {
    // an unescaped password may hold any character, so the last @ counts
    let (hidden, rest) = text
        .rsplit_once('@')
        .map_or(("", text), |(_, rest)| ("[redacted]@", rest));
    let end = rest.find(['?', '#']).map_or("", |_| "?...");
    let rest = rest.split(['?', '#']).next().unwrap_or_default();
    format!("{hidden}{rest}{end}")
}

/// `host:port` of a URL, or the host alone if the port is the scheme's default.
pub(crate) fn host_of(url: &Url) -> String {
    let host = url.host_str().unwrap_or("?");
    url.port()
        .map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(text: &str) -> Url {
        Url::parse(text).unwrap()
    }

    /// The rows are addresses that manuals give, and forms that users of other clients reported as trouble.
    #[test]
    fn an_endpoint_is_where_the_server_has_it() {
        let table = [
            // llama-server, vLLM, Ollama, LM Studio: host alone, with /v1, with slashes
            ("http://h:1", "http://h:1/v1/chat/completions"),
            ("http://h:1/", "http://h:1/v1/chat/completions"),
            ("http://h:1//", "http://h:1/v1/chat/completions"),
            ("http://h:1/v1", "http://h:1/v1/chat/completions"),
            ("http://h:1/v1/", "http://h:1/v1/chat/completions"),
            ("https://h/api/v1//", "https://h/api/v1/chat/completions"),
            // the address of an endpoint
            ("http://h:1/v1/chat/completions", "http://h:1/v1/chat/completions"),
            (
                "http://h:1/v1/chat/completions/",
                "http://h:1/v1/chat/completions",
            ),
            ("http://h:1/v1/embeddings", "http://h:1/v1/chat/completions"),
            ("http://h:1/v1/models", "http://h:1/v1/chat/completions"),
            ("https://h/chat/completions", "https://h/chat/completions"),
            ("https://h/v1/Chat/Completions", "https://h/v1/chat/completions"),
            (
                "https://h/v4/chat/completions?api-version=1",
                "https://h/v4/chat/completions?api-version=1",
            ),
            // Gemini, Zhipu, Volcengine, DeepInfra, DashScope, Cloudflare: another version, or not at the end
            (
                "https://h/v1beta/openai/",
                "https://h/v1beta/openai/chat/completions",
            ),
            ("https://h/api/paas/v4", "https://h/api/paas/v4/chat/completions"),
            ("https://h/api/v3", "https://h/api/v3/chat/completions"),
            ("https://h/v1/openai", "https://h/v1/openai/chat/completions"),
            (
                "https://h/compatible-mode/v1",
                "https://h/compatible-mode/v1/chat/completions",
            ),
            (
                "https://h/client/v4/accounts/a/ai/v1",
                "https://h/client/v4/accounts/a/ai/v1/chat/completions",
            ),
            // Databricks, GitHub Models, a path behind a reverse proxy: no version
            (
                "https://h/serving-endpoints",
                "https://h/serving-endpoints/chat/completions",
            ),
            ("https://h/inference", "https://h/inference/chat/completions"),
            ("https://h/openai", "https://h/openai/chat/completions"),
            // Azure: the query belongs to every request; /models is the base of AI Foundry
            (
                "https://h/openai/deployments/gpt?api-version=2024-06-01",
                "https://h/openai/deployments/gpt/chat/completions?api-version=2024-06-01",
            ),
            (
                "https://h/openai/deployments/gpt/chat/completions?api-version=2024-06-01",
                "https://h/openai/deployments/gpt/chat/completions?api-version=2024-06-01",
            ),
            (
                "https://h/models?api-version=2024-05-01-preview",
                "https://h/models/chat/completions?api-version=2024-05-01-preview",
            ),
            (
                "http://h:1?api-version=1",
                "http://h:1/v1/chat/completions?api-version=1",
            ),
            // fragments, case, escapes, default ports, IPv6
            ("http://h:1/v1#top", "http://h:1/v1/chat/completions"),
            ("HTTP://HOST:1/V1", "http://host:1/V1/chat/completions"),
            (
                "https://h/a%20b%2Fc/v1",
                "https://h/a%20b%2Fc/v1/chat/completions",
            ),
            ("https://h:443/v1", "https://h/v1/chat/completions"),
            (
                "http://[fd00::1]:8080",
                "http://[fd00::1]:8080/v1/chat/completions",
            ),
        ];
        for (given, chat) in table {
            let address = Address::new(&url(given));
            assert_eq!(address.url("chat/completions").as_str(), chat, "{given}");
            let models = chat.replace("chat/completions", "models");
            assert_eq!(address.url("models").as_str(), models, "{given}");
        }
    }

    #[test]
    fn v1_is_tried_only_below_a_path_without_a_version() {
        for (given, versioned) in [
            ("https://h/openai", Some("https://h/openai/v1")),
            ("https://h/vendor/", Some("https://h/vendor/v1")),
            ("https://h", None),
            ("https://h/v1", None),
            ("https://h/v1beta/openai", None),
            ("https://h/api/V4", None),
            ("https://h/openai/chat/completions", None),
            ("https://h/openai/deployments/d?api-version=1", None),
        ] {
            let address = Address::new(&url(given));
            assert_eq!(address.versioned.as_ref().map(Url::as_str), versioned, "{given}");
        }
    }

    #[test]
    fn health_is_beside_v1() {
        for (given, health) in [
            ("http://h:1", "http://h:1/health"),
            ("http://h:1/v1/chat/completions", "http://h:1/health"),
            ("http://h:1/llama/v1?a=b", "http://h:1/llama/health"),
            ("http://h:1/llama", "http://h:1/llama/health"),
            ("http://h:1/chat/completions", "http://h:1/health"),
        ] {
            assert_eq!(
                Address::new(&url(given)).beside("/health").as_str(),
                health,
                "{given}"
            );
        }
    }

    #[test]
    fn an_address_is_shown_without_secrets() {
        for (text, shown) in [
            ("http://h:1/v1", "http://h:1/v1"),
            ("https://me:pw@h/v1", "[redacted]@h/v1"),
            ("https://me:p/w?x#y@z@h:99999", "[redacted]@h:99999"),
            ("me:pw@h", "[redacted]@h"),
            ("https://h/v1?key=canary", "https://h/v1?..."),
            ("https://h/v1#canary", "https://h/v1?..."),
        ] {
            assert_eq!(without_secrets(text), shown);
        }
    }

    #[test]
    fn hosts_are_here_private_or_public() {
        let here = [
            "127.0.0.1:8033",
            "127.9.9.9",
            "127.1",
            "[::1]:1",
            "[::ffff:127.0.0.1]",
            "0.0.0.0:11434",
            "[::]:1",
            "localhost",
            "LOCALHOST.:1",
            "app.localhost",
        ];
        let private = [
            "10.0.0.1",
            "172.16.0.1",
            "172.31.255.255",
            "192.168.1.5:11434",
            "169.254.1.1",
            "100.64.0.1",
            "100.127.255.254",
            "[fd12:3456::1]",
            "[fe80::1]:1",
            "[::ffff:10.0.0.1]",
            "gpu-box:8033",
            "ollama",
            "nas.local",
            "host.docker.internal",
            "pc.lan.",
            "pi.home.arpa",
        ];
        let public = [
            "8.8.8.8",
            "172.32.0.1",
            "192.169.0.1",
            "100.63.0.1",
            "100.128.0.1",
            "[2001:db8::1]",
            "api.openai.com",
            "localhost.example.com",
            "local.example.com",
            "notlocal.example",
            "mylan.com",
            "home.arpa.com",
        ];
        let rows = [
            (&here[..], true, false),
            (&private, false, true),
            (&public, false, false),
        ];
        for (host, is_here, is_near) in rows
            .iter()
            .flat_map(|(hosts, here, near)| hosts.iter().map(move |host| (host, *here, *near)))
        {
            let url = url(&format!("http://{host}"));
            assert_eq!(
                (is_loopback(&url), is_private(&url) && !is_here),
                (is_here, is_near),
                "{host}"
            );
        }
    }
}
