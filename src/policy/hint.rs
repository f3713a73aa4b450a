//! Server hints: the wait that response headers ask for.
//!
//! Order of precedence, as in the Python SDKs of OpenAI and Anthropic: `x-should-retry`, `retry-after-ms`
//! (milliseconds), `retry-after` in seconds (fractions are tolerated, although RFC 9110 section 10.2.3 allows
//! none), `retry-after` as a date in any of the three forms of RFC 9110 section 5.6.7.
//!
//! A date is compared with the `Date` header of the same response, so a wrong clock on either side does not
//! matter; the local clock is used only without that header. A date in the past means no wait.
//!
//! A number is valid if it is finite, not negative and at most 2^53. An invalid value is skipped in favour of
//! the next header (as Envoy does) and reported.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use http::HeaderMap;
use http::header::{DATE, HeaderName, RETRY_AFTER};

use crate::event::{Hint, HintSource};

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
    /// True if a header names an invalid wait.
    pub rejected: bool,
}

/// Reads the hints of a response. `wall_seconds` is Unix time, used for dates if the `Date` header is missing.
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
            None => date(value, headers, wall_seconds),
        });
        rejected |= hint.is_none();
    }
    HintReading {
        hint,
        should_retry,
        rejected,
    }
}

/// The first value of a header, if it is text.
fn text<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    headers.get(name)?.to_str().ok().map(str::trim)
}

/// A number that is valid as a wait.
fn number(value: &str) -> Option<f64> {
    let number: f64 = value.parse().ok()?;
    (number.is_finite() && (0.0..=LARGEST).contains(&number)).then_some(number)
}

fn wait(seconds: f64, source: HintSource) -> Option<Hint> {
    let wait = Duration::try_from_secs_f64(seconds).ok()?;
    Some(Hint { wait, source })
}

/// The wait until a date.
fn date(value: &str, headers: &HeaderMap, wall_seconds: u64) -> Option<Hint> {
    let until = unix_seconds(value)?;
    let now = text(headers, &DATE)
        .and_then(unix_seconds)
        .unwrap_or(wall_seconds);
    Some(Hint {
        wait: Duration::from_secs(until.saturating_sub(now)),
        source: HintSource::RetryAfterDate,
    })
}

fn unix_seconds(value: &str) -> Option<u64> {
    let date: SystemTime = httpdate::parse_http_date(value).ok()?;
    date.duration_since(UNIX_EPOCH).ok().map(|since| since.as_secs())
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use proptest::prelude::*;

    use super::*;

    /// Fri, 15 May 2015 15:34:21 GMT.
    const WALL: u64 = 1_431_704_061;

    fn reading(headers: &[(&str, &str)]) -> HintReading {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            let name: HeaderName = name.parse().unwrap();
            map.append(name, HeaderValue::from_str(value).unwrap());
        }
        read(&map, WALL)
    }

    fn hinted(millis: u64, source: HintSource) -> HintReading {
        HintReading {
            hint: Some(Hint {
                wait: Duration::from_millis(millis),
                source,
            }),
            ..HintReading::default()
        }
    }

    #[test]
    fn reads_each_form() {
        use HintSource::{RetryAfter, RetryAfterDate, RetryAfterMs};
        for (name, value, expected) in [
            ("retry-after", "2", hinted(2000, RetryAfter)),
            ("retry-after", " 2 ", hinted(2000, RetryAfter)),
            ("retry-after", "0", hinted(0, RetryAfter)),
            ("Retry-After", "0.25", hinted(250, RetryAfter)),
            ("retry-after", "-0", hinted(0, RetryAfter)),
            ("retry-after", "999999", hinted(999_999_000, RetryAfter)),
            ("retry-after-ms", "150", hinted(150, RetryAfterMs)),
            ("retry-after-ms", "1.5e3", hinted(1500, RetryAfterMs)),
            // IMF-fixdate, RFC 850, asctime
            (
                "retry-after",
                "Fri, 15 May 2015 15:34:31 GMT",
                hinted(10_000, RetryAfterDate),
            ),
            (
                "retry-after",
                "Friday, 15-May-15 15:34:31 GMT",
                hinted(10_000, RetryAfterDate),
            ),
            (
                "retry-after",
                "Fri May 15 15:34:31 2015",
                hinted(10_000, RetryAfterDate),
            ),
            // in the past
            (
                "retry-after",
                "Thu, 14 May 2015 15:34:31 GMT",
                hinted(0, RetryAfterDate),
            ),
        ] {
            assert_eq!(reading(&[(name, value)]), expected, "{name}: {value}");
        }
        assert_eq!(reading(&[]), HintReading::default());
    }

    #[test]
    fn invalid_values_are_ignored_and_reported() {
        let rejected = HintReading {
            rejected: true,
            ..HintReading::default()
        };
        for value in [
            "-1",
            "NaN",
            "inf",
            "soon",
            "",
            "1, 2",
            "123456789012345678901234567890",
            "9007199254740994",
            "Fri, 32 May 2015 15:34:31 GMT",
        ] {
            assert_eq!(reading(&[("retry-after", value)]), rejected, "{value}");
            assert_eq!(reading(&[("retry-after-ms", value)]), rejected, "ms {value}");
        }
    }

    #[test]
    fn milliseconds_take_precedence_and_invalid_values_are_skipped() {
        let both = reading(&[("retry-after", "2"), ("retry-after-ms", "150")]);
        assert_eq!(both, hinted(150, HintSource::RetryAfterMs));
        let second = reading(&[("retry-after-ms", "soon"), ("retry-after", "2")]);
        assert_eq!(
            second,
            HintReading {
                rejected: true,
                ..hinted(2000, HintSource::RetryAfter)
            }
        );
    }

    #[test]
    fn the_date_header_is_preferred_to_the_local_clock() {
        let skewed = reading(&[
            ("date", "Tue, 01 Jan 2030 00:00:00 GMT"),
            ("retry-after", "Tue, 01 Jan 2030 00:00:07 GMT"),
        ]);
        assert_eq!(skewed, hinted(7000, HintSource::RetryAfterDate));
        let unreadable = reading(&[("date", "now"), ("retry-after", "Fri, 15 May 2015 15:34:22 GMT")]);
        assert_eq!(unreadable, hinted(1000, HintSource::RetryAfterDate));
    }

    #[test]
    fn should_retry_is_true_or_false() {
        for (value, expected) in [
            ("true", Some(true)),
            ("False", Some(false)),
            ("1", None),
            ("maybe", None),
        ] {
            assert_eq!(
                reading(&[("x-should-retry", value)]).should_retry,
                expected,
                "{value}"
            );
        }
    }

    fn value() -> impl Strategy<Value = Vec<u8>> {
        prop_oneof![
            prop::collection::vec(any::<u8>(), 0..40),
            "[-+]?[0-9]{0,40}(\\.[0-9]{0,5})?(e-?[0-9]{1,3})?".prop_map(String::into_bytes),
            any::<f64>().prop_map(|number| number.to_string().into_bytes()),
            "(Fri|Friday)[, ]{0,2}[0-9]{1,2}[- ]May[- ][0-9]{1,5} [0-9]{2}:[0-9]{2}:[0-9]{2} GMT"
                .prop_map(String::into_bytes),
        ]
    }

    proptest! {
        #[test]
        fn tolerates_any_header(values in prop::collection::vec((0usize..4, value()), 0..6), wall in any::<u64>()) {
            let mut map = HeaderMap::new();
            for (name, value) in values {
                let name = [RETRY_AFTER, RETRY_AFTER_MS, X_SHOULD_RETRY, DATE][name].clone();
                if let Ok(value) = HeaderValue::from_bytes(&value) {
                    map.append(name, value);
                }
            }
            let reading = read(&map, wall);
            if let Some(hint) = reading.hint {
                prop_assert!(hint.wait <= Duration::from_secs(1 << 53));
            }
            let named = map.contains_key(RETRY_AFTER) || map.contains_key(RETRY_AFTER_MS);
            prop_assert_eq!(named, reading.hint.is_some() || reading.rejected);
        }
    }
}
