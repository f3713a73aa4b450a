//! A request of a client: the checks before it counts, and its translation for the client core.

use std::time::Duration;

use bytes::Bytes;
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use serde_json::{Map, Value};

use super::tenant::{Credentials, KEY_HEADERS};
use crate::client::{CallContext, WireRequest, client_secrets, holds_secret};
use crate::dialect::Dialect;
use crate::event::{Origin, UserId};

/// A request that is rejected before it becomes a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Rejection {
    pub(super) status: StatusCode,
    pub(super) code: &'static str,
    pub(super) message: String,
}

impl Rejection {
    pub(super) fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        Self {
            status,
            code,
            message: message.into(),
        }
    }
}

/// The endpoints that are served without `/v1` too.
const BARE: [&str; 7] = [
    "chat/completions",
    "completions",
    "responses",
    "embeddings",
    "messages",
    "messages/count_tokens",
    "models",
];

/// Request headers that go upstream, besides those that start with one of [`PREFIXES`].
const PASSED: [HeaderName; 9] = [
    header::CONTENT_TYPE,
    header::ACCEPT,
    header::ACCEPT_LANGUAGE,
    // the app's name, for OpenRouter
    HeaderName::from_static("http-referer"),
    header::REFERER,
    header::USER_AGENT,
    HeaderName::from_static("idempotency-key"),
    HeaderName::from_static("traceparent"),
    HeaderName::from_static("tracestate"),
];

/// The families of request headers that go upstream: those of APIs, and the apps' own.
const PREFIXES: [&str; 6] = ["openai-", "anthropic-", "helicone-", "portkey-", "cf-aig-", "x-"];

/// Headers of these families that stay here: those of proxies in front of the gateway, and its own.
const KEPT: [&str; 3] = ["x-forwarded-", "x-real-ip", "x-seawall-"];

/// The endpoint that a path names: `/v1/chat/completions` or `/chat/completions`.
pub(super) fn endpoint(path: &str) -> Result<&str, Rejection> {
    let bare = path.trim_start_matches('/');
    let endpoint = path
        .strip_prefix("/v1/")
        .or_else(|| BARE.contains(&bare).then_some(bare));
    // the upstream might resolve it to a path outside of its API
    let climbs = |endpoint: &str| {
        let mut segments = endpoint.split(['/', '\\']);
        segments.any(|segment| segment.to_ascii_lowercase().replace("%2e", ".") == "..")
    };
    let is_inside = |endpoint: &&str| !endpoint.is_empty() && !climbs(endpoint);
    endpoint.filter(is_inside).ok_or_else(|| {
        let message = format!("no endpoint {path}: the base URL of this gateway ends in /v1");
        Rejection::new(StatusCode::NOT_FOUND, "seawall_not_found", message)
    })
}

/// Rejects requests that a browser may send on behalf of a foreign page.
pub(super) fn check_head(parts: &Parts, is_loopback: bool) -> Result<(), Rejection> {
    let headers = &parts.headers;
    let text = |name| {
        headers
            .get(name)
            .and_then(|value: &HeaderValue| value.to_str().ok())
    };
    let host = text(header::HOST).or(parts.uri.authority().map(http::uri::Authority::as_str));
    // any name may be resolved to this machine by a foreign page (DNS rebinding)
    if is_loopback && !host.is_some_and(is_local) {
        let message = format!(
            "Host {:?} is not this machine: use 127.0.0.1 or localhost",
            host.unwrap_or_default()
        );
        return Err(Rejection::new(StatusCode::FORBIDDEN, "seawall_bad_host", message));
    }
    if let Some(origin) = text(header::ORIGIN)
        && origin.split_once("://").map(|(_, origin)| origin) != host
    {
        let message =
            format!("Origin {origin:?} is a foreign page: this gateway serves programs, not browsers");
        return Err(Rejection::new(
            StatusCode::FORBIDDEN,
            "seawall_bad_origin",
            message,
        ));
    }
    Ok(())
}

fn is_local(host: &str) -> bool {
    let name = host
        .rsplit_once(':')
        .filter(|(_, port)| port.bytes().all(|byte| byte.is_ascii_digit()))
        .map_or(host, |(name, _)| name);
    let name = name.trim_start_matches('[').trim_end_matches(']');
    name.eq_ignore_ascii_case("localhost")
        || name
            .parse::<std::net::IpAddr>()
            .is_ok_and(|address| address.is_loopback())
}

/// The dialect of a request: only a POST is a call of a known one.
pub(super) fn dialect(method: &Method, endpoint: &str) -> Dialect {
    match Dialect::for_endpoint(endpoint) {
        dialect if *method == Method::POST => dialect,
        Dialect::Messages | Dialect::RawMessages => Dialect::RawMessages,
        _ => Dialect::Raw,
    }
}

/// Rejects a body that is not labelled as JSON, where JSON is expected.
pub(super) fn check_media_type(dialect: Dialect, headers: &HeaderMap) -> Result<(), Rejection> {
    let Some(kind) = headers.get(header::CONTENT_TYPE).filter(|_| dialect.is_known()) else {
        return Ok(());
    };
    let kind = kind.to_str().unwrap_or_default().to_ascii_lowercase();
    let kind = kind.split(';').next().unwrap_or_default().trim();
    if kind == "application/json" || kind.ends_with("+json") {
        return Ok(());
    }
    let message = format!("Content-Type {kind:?} is not JSON: send application/json");
    Err(Rejection::new(
        StatusCode::UNSUPPORTED_MEDIA_TYPE,
        "seawall_media_type",
        message,
    ))
}

/// The request to pass on, and the options of its call.
pub(super) fn translate(
    parts: &Parts,
    endpoint: &str,
    body: Bytes,
    credentials: &Credentials,
    user: UserId,
) -> Result<(WireRequest, CallContext), Rejection> {
    let dialect = dialect(&parts.method, endpoint);
    let fields = if dialect.is_known() {
        // the depth of nesting is bounded by the parser, at 128
        let fields: Result<Map<String, Value>, _> = serde_json::from_slice(&body);
        fields.map_err(|error| {
            let message = format!("the request body is not a JSON object: {error}");
            Rejection::new(StatusCode::BAD_REQUEST, "seawall_bad_json", message)
        })?
    } else {
        Map::new()
    };
    let mut wire = WireRequest::new(dialect, endpoint, body, fields);
    wire.method = parts.method.clone();
    wire.query = parts.uri.query().map(str::to_owned);
    wire.headers = passed_headers(&parts.headers, credentials);
    wire.secrets = client_secrets(&parts.headers);
    let headers = &parts.headers;
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let has = |name: &str, word: &str| {
        let mut words = text(name).unwrap_or_default().split(',');
        words.any(|one| one.trim().eq_ignore_ascii_case(word))
    };
    let bypass = has("x-seawall-cache", "bypass");
    let context = CallContext {
        user,
        origin: Origin::Gateway,
        deadline: deadline(&text),
        fresh: bypass || has("x-seawall-cache", "refresh") || has("cache-control", "no-cache"),
        no_store: bypass || has("cache-control", "no-store"),
        idempotency_key: text("idempotency-key").map(|key| key.trim_matches('"').to_owned()),
        ..CallContext::default()
    };
    Ok((wire, context))
}

/// The headers that go upstream: an allow-list, so that cookies and what proxies add stay here.
fn passed_headers(headers: &HeaderMap, credentials: &Credentials) -> HeaderMap {
    let is_passed = |name: &HeaderName| {
        let begins = |prefixes: &[&str]| prefixes.iter().any(|prefix| name.as_str().starts_with(prefix));
        let is_listed =
            KEY_HEADERS.contains(name) || PASSED.contains(name) || (begins(&PREFIXES) && !begins(&KEPT));
        is_listed && (credentials.are_passed_on() || !holds_secret(name))
    };
    headers
        .iter()
        .filter(|(name, _)| is_passed(name))
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect()
}

/// The shortest of the limits that the client states: `x-seawall-deadline` and those of SDKs. In seconds.
fn deadline<'a>(text: &dyn Fn(&str) -> Option<&'a str>) -> Option<Duration> {
    let names = [
        "x-seawall-deadline",
        "x-stainless-timeout",
        "x-stainless-read-timeout",
    ];
    names
        .iter()
        .filter_map(|name| text(name)?.trim().trim_end_matches('s').parse::<f64>().ok())
        .filter(|seconds| seconds.is_finite() && *seconds > 0.0)
        .filter_map(|seconds| Duration::try_from_secs_f64(seconds).ok())
        .min()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_of_apps_pass_and_those_of_proxies_do_not() {
        let passed = [
            "anthropic-beta",
            "authorization",
            "http-referer",
            "idempotency-key",
            "x-goog-api-key",
            "x-stainless-lang",
            "x-title",
        ];
        let kept = [
            "accept-encoding",
            "connection",
            "cookie",
            "forwarded",
            "x-forwarded-for",
            "x-seawall-deadline",
        ];
        let value = HeaderValue::from_static("1");
        let names = passed.into_iter().chain(kept);
        let headers: HeaderMap = names
            .map(|name| (HeaderName::from_static(name), value.clone()))
            .collect();
        let names = |holds_key| {
            let headers = passed_headers(&headers, &Credentials::of_clients(holds_key));
            let mut names: Vec<String> = headers.keys().map(ToString::to_string).collect();
            names.sort();
            names
        };
        assert_eq!(names(false), passed);
        assert_eq!(
            names(true),
            passed
                .map(str::to_owned)
                .into_iter()
                .filter(|name| !name.ends_with("api-key") && name != "authorization")
                .collect::<Vec<_>>()
        );
    }
}
