//! Server hints: the wait that a response asks for, in its headers or in its body.
//!
//! Order of precedence:
//!
//! 1. `retry-after-ms`, then `retry-after` in seconds or as a date, as in the Python SDKs of OpenAI and Anthropic.
//!    Fractions are tolerated, although RFC 9110 section 10.2.3 allows none; a date has any of the three forms of
//!    section 5.6.7.
//! 2. A member of the error object: `retryDelay` of `google.rpc.RetryInfo`, `retry_after` and its relatives.
//! 3. The words of the message: "Please try again in 7.66s" (OpenAI, Groq), "retry after 26 seconds" (Azure).
//! 4. The reset of a limit of which nothing remains: `x-ratelimit-reset-*` beside `x-ratelimit-remaining-*: 0`, or
//!    `ratelimit: "default";r=0;t=30`.
//!
//! A moment is compared with the `Date` header of the same response, so a wrong clock on either side does not
//! matter; the local clock is used only without that header. A moment in the past means no wait.
//!
//! A number is valid if it is finite, not negative and at most 2^53. An invalid `retry-after` is skipped in favour
//! of the next source (as Envoy does) and reported.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use http::HeaderMap;
use http::header::{DATE, HeaderName, RETRY_AFTER};
use humantime_serde::re::humantime;
use serde_json::Value;

use crate::event::{Hint, HintSource};
use crate::openai::ApiError;

const RETRY_AFTER_MS: HeaderName = HeaderName::from_static("retry-after-ms");
const X_SHOULD_RETRY: HeaderName = HeaderName::from_static("x-should-retry");

/// Above this a float no longer represents every integer; such a value is not a wait.
const LARGEST: f64 = 9_007_199_254_740_992.0;

/// Result of [`read`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HintReading {
    /// The wait, if a header names a valid one.
    pub hint: Option<Hint>,
    /// The value of `x-should-retry`; `None` unless it is `true` or `false`.
    pub should_retry: Option<bool>,
    /// True if `retry-after-ms` or `retry-after` is invalid.
    pub rejected: bool,
}

/// Reads the headers that are made for hints. `wall_seconds` is Unix time, used for dates if the `Date` header is
/// missing.
pub fn read(headers: &HeaderMap, wall_seconds: u64) -> HintReading {
    let should_retry = text(headers, &X_SHOULD_RETRY).and_then(|value| match value {
        _ if value.eq_ignore_ascii_case("true") => Some(true),
        _ if value.eq_ignore_ascii_case("false") => Some(false),
        _ => None,
    });
    let mut rejected = false;
    let mut hint = None;
    if headers.contains_key(&RETRY_AFTER_MS) {
        hint = text(headers, &RETRY_AFTER_MS)
            .and_then(number)
            .and_then(|millis| wait(millis / 1e3, HintSource::RetryAfterMs));
        rejected |= hint.is_none();
    }
    if hint.is_none() && headers.contains_key(RETRY_AFTER) {
        hint = text(headers, &RETRY_AFTER).and_then(|value| match number(value) {
            Some(seconds) => wait(seconds, HintSource::RetryAfter),
            // gateways in Go: "30s"
            None => match duration(value) {
                Some((seconds, "")) => wait(seconds, HintSource::RetryAfter),
                _ => date(value, headers, wall_seconds),
            },
        });
        rejected |= hint.is_none();
    }
    HintReading {
        hint,
        should_retry,
        rejected,
    }
}

/// Reads the wait that an error object asks for, in a member or in the words of its message. `now` is Unix time;
/// without it, moments are passed over.
pub fn in_error(error: &ApiError, now: Option<u64>) -> Option<Hint> {
    member(&error.json, now)
        .map(|wait| hint(wait, HintSource::Body))
        .or_else(|| in_text(&error.message, now))
}

/// Reads the wait that words ask for: "try again in 1m2.5s", "retry after 26 seconds".
pub fn in_text(text: &str, now: Option<u64>) -> Option<Hint> {
    let lower = text.to_ascii_lowercase();
    ASKS.iter()
        .flat_map(|phrase| lower.match_indices(phrase).map(|(at, _)| at + phrase.len()))
        .find_map(|end| asked(&text[end..], now))
        .map(|wait| hint(wait, HintSource::Message))
}

/// Reads the time at which every limit is reset of which nothing remains. Header names: OpenAI, Groq and Cerebras
/// (`x-ratelimit-reset-tokens`), OpenRouter (`x-ratelimit-reset`), Anthropic (`anthropic-ratelimit-tokens-reset`),
/// the IETF drafts (`ratelimit-reset`, `ratelimit`).
pub fn at_reset(headers: &HeaderMap, wall_seconds: u64) -> Option<Hint> {
    let now = Some(now(headers, wall_seconds));
    let is_limit = |name: &str| name.contains("ratelimit") || name.contains("rate-limit");
    let wait = headers
        .iter()
        .filter(|(name, _)| is_limit(name.as_str()))
        .filter_map(|(name, value)| {
            let (name, value) = (name.as_str(), value.to_str().ok()?.trim());
            if !name.contains("reset") {
                return policy_reset(value);
            }
            let beside = name.replace("reset", "remaining");
            let remaining = headers
                .get(&beside)
                .or_else(|| headers.get(beside.trim_end_matches("-after")))?;
            let remaining: f64 = remaining.to_str().ok()?.trim().parse().ok()?;
            (remaining <= 0.0).then_some(moment(value, now)?)
        })
        .max()?;
    Some(hint(wait, HintSource::LimitReset))
}

/// The longest wait for a policy of which nothing remains, in the forms of the IETF drafts:
/// `limit=10, remaining=0, reset=30` and `"default";r=0;t=30, "daily";r=9;t=3600`.
fn policy_reset(value: &str) -> Option<Duration> {
    let policies: Vec<&str> = if value.contains("remaining") {
        vec![value]
    } else {
        value.split(',').collect()
    };
    let reset = |policy: &&str| {
        let parameter = |names: [&str; 2]| {
            let mut pairs = policy.split([',', ';']).filter_map(|pair| pair.split_once('='));
            let (_, value) = pairs.find(|(name, _)| names.contains(&name.trim()))?;
            number(value)
        };
        let is_exhausted = parameter(["remaining", "r"])? <= 0.0;
        span(parameter(["reset", "t"])?).filter(|_| is_exhausted)
    };
    policies.iter().filter_map(reset).max()
}

/// Returns the Unix time at which a response was sent.
pub fn now(headers: &HeaderMap, wall_seconds: u64) -> u64 {
    text(headers, &DATE)
        .and_then(unix_seconds)
        .unwrap_or(wall_seconds)
}

/// The first value of a header, if it is text.
fn text<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    headers.get(name)?.to_str().ok().map(str::trim)
}

/// A number that is valid as a wait.
fn number(value: &str) -> Option<f64> {
    value
        .trim()
        .parse()
        .ok()
        .filter(|number| (0.0..=LARGEST).contains(number))
}

fn wait(seconds: f64, source: HintSource) -> Option<Hint> {
    Some(hint(span(seconds)?, source))
}

/// The wait until a date.
fn date(value: &str, headers: &HeaderMap, wall_seconds: u64) -> Option<Hint> {
    let until = unix_seconds(value)?;
    let wait = Duration::from_secs(until.saturating_sub(now(headers, wall_seconds)));
    Some(hint(wait, HintSource::RetryAfterDate))
}

/// Seconds since the Unix epoch of an HTTP date, or of one in the form of RFC 3339.
fn unix_seconds(value: &str) -> Option<u64> {
    let date: SystemTime = httpdate::parse_http_date(value)
        .ok()
        .or_else(|| humantime::parse_rfc3339(value).ok())?;
    date.duration_since(UNIX_EPOCH).ok().map(|since| since.as_secs())
}

fn hint(wait: Duration, source: HintSource) -> Hint {
    Hint { wait, source }
}

/// The wait in the first member that is named for it, outer members first.
fn member(value: &Value, now: Option<u64>) -> Option<Duration> {
    match value {
        Value::Array(items) => items.iter().find_map(|item| member(item, now)),
        Value::Object(fields) => {
            let own = fields
                .iter()
                .find_map(|(key, value)| amount(value, scale(key)?, now));
            let exhausted = || {
                // OpenRouter repeats the headers of the limit in the body
                let headers = fields.get("headers")?.as_object()?;
                let headers: HeaderMap = headers
                    .iter()
                    .filter_map(|(name, value)| {
                        Some((name.parse::<HeaderName>().ok()?, value.as_str()?.parse().ok()?))
                    })
                    .collect();
                Some(at_reset(&headers, now?)?.wait)
            };
            own.or_else(exhausted)
                .or_else(|| fields.values().find_map(|inner| member(inner, now)))
        }
        _ => None,
    }
}

/// Seconds per unit of a member that holds a wait.
fn scale(key: &str) -> Option<f64> {
    let key: String = key.chars().filter(char::is_ascii_alphanumeric).collect();
    match key.to_ascii_lowercase().as_str() {
        "retryafter"
        | "retryafterseconds"
        | "retryaftersecs"
        | "retryaftersec"
        | "retryinseconds"
        | "retryin"
        | "retrydelay"
        | "retrydelayseconds"
        | "resetsinseconds"
        | "retryat"
        | "resetsat"
        | "resetat"
        | "resetafter"
        | "resetafterseconds"
        | "quotaresetdelay"
        | "quotaresettimestamp"
        | "cooldowntime" => Some(1.0),
        "retryafterms" | "retryaftermillis" | "retryaftermilliseconds" | "retryinms" | "retrydelayms" => {
            Some(1e-3)
        }
        _ => None,
    }
}

/// The wait that a member holds: a number, a text, or `seconds` and `nanos` (a protobuf duration).
fn amount(value: &Value, scale: f64, now: Option<u64>) -> Option<Duration> {
    let plain = |value: &Value| match value {
        Value::String(text) => number(text),
        value => value.as_f64(),
    };
    match value {
        Value::Object(parts) => {
            let (seconds, nanos) = (parts.get("seconds"), parts.get("nanos"));
            let part = |part: Option<&Value>| part.map_or(Some(0.0), plain);
            seconds.or(nanos)?;
            span(part(seconds)? + part(nanos)? / 1e9)
        }
        value => match plain(value) {
            Some(amount) if scale < 1.0 => span(amount * scale),
            Some(seconds) => span_or_moment(seconds, now),
            None => moment(value.as_str()?, now),
        },
    }
}

/// A wait in seconds (`30`, `7.66`), as a duration (`6m0s`, `120ms`), or until a moment.
fn moment(value: &str, now: Option<u64>) -> Option<Duration> {
    match (number(value), duration(value)) {
        (Some(seconds), _) => span_or_moment(seconds, now),
        (None, Some((seconds, ""))) => span(seconds),
        (None, _) => until(unix_seconds(value)? as f64, now),
    }
}

/// A number of seconds, or Unix time in seconds or in milliseconds (OpenRouter).
fn span_or_moment(number: f64, now: Option<u64>) -> Option<Duration> {
    /// Larger numbers are Unix times: as waits they would be more than 30 years.
    const UNIX: f64 = 1e9;
    /// Larger numbers are in milliseconds: as seconds they would be after the year 5000.
    const UNIX_MILLIS: f64 = 1e11;
    match number {
        _ if number < UNIX => span(number),
        _ if number < UNIX_MILLIS => until(number, now),
        _ => until(number / 1e3, now),
    }
}

fn until(unix_seconds: f64, now: Option<u64>) -> Option<Duration> {
    span((unix_seconds - now? as f64).max(0.0))
}

fn span(seconds: f64) -> Option<Duration> {
    Duration::try_from_secs_f64(seconds)
        .ok()
        .filter(|_| seconds <= LARGEST)
}

/// Words before a wait, in lower case.
const ASKS: &[&str] = &[
    "try again in",
    "try again after",
    "try again at",
    "retry in",
    "retry after",
    "retry-after",
    "retry_after",
    "please wait",
    "available in",
    "available again in",
    "must wait",
    "reset in",
    "resets after",
    "resets in",
    "resets at",
    "reset after",
];

/// The wait at the beginning of a text that follows one of [`ASKS`].
fn asked(rest: &str, now: Option<u64>) -> Option<Duration> {
    let mut rest = rest.trim_start_matches([' ', ':', '=', '~', '"', '\'']);
    for filler in ["about ", "approximately ", "at least ", "for "] {
        rest = rest.strip_prefix(filler).unwrap_or(rest);
    }
    let end = rest.find([' ', ',', ')', '"']).unwrap_or(rest.len());
    let date = || moment(rest[..end].trim_end_matches('.'), now).filter(|_| rest[..end].contains('T'));
    date().or_else(|| span(duration(rest)?.0))
}

/// The seconds of a duration at the beginning of a text, and the rest: `1m2.5s`, `26 seconds`, `1 minute and 5 s`.
/// A number without a unit means seconds if no word follows.
fn duration(text: &str) -> Option<(f64, &str)> {
    let (mut total, mut rest) = (None, text);
    loop {
        let next = rest.trim_start_matches([' ', ',']);
        let next = next.strip_prefix("and ").unwrap_or(next);
        let end = next
            .find(|c: char| !matches!(c, '0'..='9' | '.' | ','))
            .unwrap_or(next.len());
        let digits = next[..end].trim_end_matches(['.', ',']);
        let Some(amount) = number(&digits.replace(',', "")) else {
            break;
        };
        let after = next[digits.len()..].trim_start();
        let end = after.find(|c: char| !c.is_alphabetic()).unwrap_or(after.len());
        match (unit(&after[..end].to_ascii_lowercase()), total) {
            (Some(unit), _) => total = Some(total.unwrap_or(0.0) + amount * unit),
            (None, None) if ends_number(&next[digits.len()..]) => return Some((amount, after)),
            _ => break,
        }
        rest = &after[end..];
    }
    Some((total?, rest))
}

/// Returns true if a number ends here: `30.` and `30 (request 7)`, but not `3 attempts`, `01:30`, `2025-01-01`.
fn ends_number(rest: &str) -> bool {
    let next = rest.trim_start().chars().next();
    let mark = |c: char| matches!(c, '.' | ',' | ';' | '!' | '"' | '\'' | '(' | ')' | ']' | '}');
    next.is_none_or(mark)
}

/// Seconds per unit.
fn unit(name: &str) -> Option<f64> {
    Some(match name {
        "ns" | "nanoseconds" => 1e-9,
        "us" | "\u{b5}s" | "\u{3bc}s" | "microseconds" => 1e-6,
        "ms" | "msec" | "millis" | "millisecond" | "milliseconds" => 1e-3,
        "s" | "sec" | "secs" | "second" | "seconds" => 1.0,
        "m" | "min" | "mins" | "minute" | "minutes" => 60.0,
        "h" | "hr" | "hrs" | "hour" | "hours" => 3600.0,
        "d" | "day" | "days" => 86_400.0,
        _ => return None,
    })
}

#[cfg(test)]
mod tests;
