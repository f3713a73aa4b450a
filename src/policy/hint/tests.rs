//! Waits as servers ask for them, row by row.

use http::HeaderValue;
use proptest::prelude::*;

use super::*;

/// Fri, 15 May 2015 15:34:21 GMT.
const WALL: u64 = 1_431_704_061;

fn reading(headers: &[(&str, &str)]) -> HintReading {
    read(&map(headers), WALL)
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
        // gateways in Go
        ("retry-after", "7.66s", hinted(7660, RetryAfter)),
        ("retry-after", "1m30s", hinted(90_000, RetryAfter)),
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

/// The wait in milliseconds that an error body asks for, each as a server sent it.
#[test]
#[expect(clippy::too_many_lines, reason = "one table")]
fn the_body_may_ask_for_a_wait() {
    use HintSource::{Body, Message};
    for (origin, body, millis, source) in [
        (
            "google, RetryInfo",
            r#"[{"error":{"code":429,"message":"over quota, come back in 3.2s","details":[{"@type":"type.googleapis.com/google.rpc.QuotaFailure"},{"@type":"type.googleapis.com/google.rpc.RetryInfo","retryDelay":"3.2s"}]}}]"#,
            3_200,
            Body,
        ),
        (
            "google, nanoseconds",
            r#"{"error":{"message":"m","details":[{"retryDelay":"45.837906927s"}]}}"#,
            45_837,
            Body,
        ),
        (
            "google, duration as an object",
            r#"{"error":{"message":"m","details":[{"retryDelay":{"seconds":"3","nanos":200000000}}]}}"#,
            3_200,
            Body,
        ),
        (
            "google, nanos alone",
            r#"{"error":{"message":"m","details":[{"retryDelay":{"nanos":500000000}}]}}"#,
            500,
            Body,
        ),
        (
            "discord",
            r#"{"message":"You are being rate limited.","retry_after":0.65,"global":false}"#,
            650,
            Body,
        ),
        (
            "a gateway, as text",
            r#"{"error":{"message":"m","retry_after":"12"}}"#,
            12_000,
            Body,
        ),
        (
            "a gateway, with a unit",
            r#"{"error":{"message":"m","retryAfter":"1m30s"}}"#,
            90_000,
            Body,
        ),
        (
            "a gateway, milliseconds",
            r#"{"error":{"message":"m","retry_after_ms":1500}}"#,
            1_500,
            Body,
        ),
        (
            "a gateway, camel case",
            r#"{"error":{"message":"m","metadata":{"retryAfterMs":"250"}}}"#,
            250,
            Body,
        ),
        (
            "openrouter",
            r#"{"error":{"message":"m","metadata":{"retry_after_seconds":7}}}"#,
            7_000,
            Body,
        ),
        (
            "codex",
            r#"{"error":{"type":"usage_limit_reached","message":"m","resets_in_seconds":60}}"#,
            60_000,
            Body,
        ),
        (
            "codex, as a moment",
            r#"{"error":{"type":"usage_limit_reached","message":"m","resets_at":1431704071}}"#,
            10_000,
            Body,
        ),
        (
            "gemini cli",
            r#"[{"error":{"message":"m","details":[{"metadata":{"quotaResetDelay":"373.8ms","quotaResetTimeStamp":"2015-05-15T15:34:22Z"}}]}}]"#,
            373,
            Body,
        ),
        (
            "litellm",
            r#"{"error":{"message":"No deployments available","cooldown_time":60}}"#,
            60_000,
            Body,
        ),
        (
            "a limit of plans",
            r#"{"error":{"message":"Usage limit hit; your limit will reset in 3 minutes."}}"#,
            180_000,
            Message,
        ),
        (
            "openrouter, headers in the body",
            r#"{"error":{"message":"m","code":429,"metadata":{"headers":{"X-RateLimit-Limit":"20","X-RateLimit-Remaining":"0","X-RateLimit-Reset":"1431704066000"}}}}"#,
            5_000,
            Body,
        ),
        (
            "openrouter, quoting google",
            r#"{"error":{"message":"Provider returned error","code":429,"metadata":{"raw":"{\"error\":{\"message\":\"m\",\"details\":[{\"retryDelay\":\"2.5s\"}]}}"}}}"#,
            2_500,
            Body,
        ),
        (
            "a gateway, quoting google after words",
            r#"{"error":{"message":"Error from provider(429): {\"error\":{\"message\":\"m\",\"details\":[{\"retryDelay\":\"2s\"}]}}"}}"#,
            2_000,
            Body,
        ),
        (
            "openai",
            r#"{"error":{"message":"Rate limit reached for gpt-4 in organization o on tokens per min (TPM): Limit 10000, Used 8554, Requested 3082. Please try again in 9.816s. Visit https://platform.openai.com/account/rate-limits to learn more.","type":"tokens"}}"#,
            9_816,
            Message,
        ),
        (
            "openai, milliseconds",
            r#"{"error":{"message":"Limit: 40000 / min. Please try again in 120ms. Contact us"}}"#,
            120,
            Message,
        ),
        (
            "openai, long",
            r#"{"error":{"message":"Please try again in 6h0m0s."}}"#,
            21_600_000,
            Message,
        ),
        (
            "groq",
            r#"{"error":{"message":"Used 97050, Requested 3619. Please try again in 9m38.016s. Need more"}}"#,
            578_016,
            Message,
        ),
        (
            "groq, short",
            r#"{"error":{"message":"Please try again in 6.780999999s. Visit"}}"#,
            6_780,
            Message,
        ),
        (
            "azure",
            r#"{"error":{"code":"429","message":"Please retry after 26 seconds. Please go here"}}"#,
            26_000,
            Message,
        ),
        (
            "azure, a day",
            r#"{"error":{"code":"429","message":"Please retry after 86400 seconds."}}"#,
            86_400_000,
            Message,
        ),
        (
            "azure api management",
            r#"{"statusCode":429,"message":"Rate limit is exceeded. Try again in 27 seconds."}"#,
            27_000,
            Message,
        ),
        (
            "github models",
            r#"{"error":{"code":"RateLimitReached","message":"exceeded for UserConcurrentRequests. Please wait 14 seconds before retrying."}}"#,
            14_000,
            Message,
        ),
        (
            "gemini, the words",
            r#"{"error":{"code":429,"message":"quota. Please retry in 26.660853464s."}}"#,
            26_660,
            Message,
        ),
        (
            "nvidia",
            r#"{"detail":"limit exceeded; please try again in 5 hours."}"#,
            18_000_000,
            Message,
        ),
        (
            "minimax",
            r#"{"error":{"message":"5-hour limit reached, resets at 2015-05-15T15:34:31Z (2056)"}}"#,
            10_000,
            Message,
        ),
        (
            "without a unit",
            r#"{"error":{"message":"slow down, retry after: 30"}}"#,
            30_000,
            Message,
        ),
        (
            "units in words",
            r#"{"error":{"message":"Try again in 1 minute and 5 seconds, 3 left"}}"#,
            65_000,
            Message,
        ),
        (
            "thousands",
            r#"{"error":{"message":"retry in about 1,200 ms"}}"#,
            1_200,
            Message,
        ),
    ] {
        let error = ApiError::parse(body.as_bytes()).unwrap();
        let hint = in_error(&error, Some(WALL)).unwrap_or_else(|| panic!("{origin}"));
        assert_eq!((hint.wait.as_millis(), hint.source), (millis, source), "{origin}");
    }
}

#[test]
fn other_numbers_in_a_body_are_no_wait() {
    for body in [
        r#"{"error":{"message":"Please retry after 3 attempts"}}"#,
        r#"{"error":{"message":"Please retry after 429 Too Many Requests"}}"#,
        r#"{"error":{"message":"Please try again in 00:01:30"}}"#,
        r#"{"error":{"message":"Please retry after 2025-01-01 00:00:00"}}"#,
        r#"{"error":{"message":"Please try again in a moment"}}"#,
        r#"{"error":{"message":"Please try again later. Limit 60 s"}}"#,
        r#"{"error":{"message":"m","retry_after":null}}"#,
        r#"{"error":{"message":"m","retry_after":-1}}"#,
        r#"{"error":{"message":"m","retry_after":"soon"}}"#,
        r#"{"error":{"message":"m","retryDelay":{}}}"#,
        r#"{"error":{"message":"m","retryDelay":{"seconds":"x"}}}"#,
        r#"{"error":{"message":"m","retryable":true,"retry":5}}"#,
        r#"{"error":{"message":"m","metadata":{"headers":{"X-RateLimit-Remaining":"3","X-RateLimit-Reset":"9"}}}}"#,
    ] {
        let error = ApiError::parse(body.as_bytes()).unwrap();
        assert_eq!(in_error(&error, Some(WALL)), None, "{body}");
    }
    // a moment means nothing without a clock
    let error = ApiError::parse(br#"{"error":{"message":"m","resets_at":1431704071}}"#).unwrap();
    assert_eq!(in_error(&error, None), None);
}

fn map(headers: &[(&str, &str)]) -> HeaderMap {
    let mut map = HeaderMap::new();
    for (name, value) in headers {
        let name: HeaderName = name.parse().unwrap();
        map.append(name, HeaderValue::from_str(value).unwrap());
    }
    map
}

#[test]
#[expect(clippy::too_many_lines, reason = "one table")]
fn an_exhausted_limit_is_reset() {
    for (origin, headers, millis) in [
        (
            "openai",
            [
                ("x-ratelimit-remaining-requests", "0"),
                ("x-ratelimit-reset-requests", "1s"),
            ]
            .as_slice(),
            1_000,
        ),
        (
            "openai, minutes",
            &[
                ("x-ratelimit-remaining-tokens", "0"),
                ("x-ratelimit-reset-tokens", "6m0s"),
            ],
            360_000,
        ),
        (
            "openai, milliseconds",
            &[
                ("x-ratelimit-remaining-tokens", "0"),
                ("x-ratelimit-reset-tokens", "120ms"),
            ],
            120,
        ),
        (
            "groq: only the exhausted one counts",
            &[
                ("x-ratelimit-remaining-requests", "14370"),
                ("x-ratelimit-reset-requests", "2m59.56s"),
                ("x-ratelimit-remaining-tokens", "0"),
                ("x-ratelimit-reset-tokens", "7.66s"),
            ],
            7_660,
        ),
        (
            "both exhausted: the later one",
            &[
                ("x-ratelimit-remaining-requests", "0"),
                ("x-ratelimit-reset-requests", "2s"),
                ("x-ratelimit-remaining-tokens", "0"),
                ("x-ratelimit-reset-tokens", "9s"),
            ],
            9_000,
        ),
        (
            "cerebras",
            &[
                ("x-ratelimit-remaining-tokens-minute", "0"),
                ("x-ratelimit-reset-tokens-minute", "11.382"),
            ],
            11_382,
        ),
        (
            "anthropic",
            &[
                ("anthropic-ratelimit-requests-remaining", "0"),
                ("anthropic-ratelimit-requests-reset", "2015-05-15T15:34:31Z"),
            ],
            10_000,
        ),
        (
            "IETF draft 7",
            &[("ratelimit", "limit=10, remaining=0, reset=2")],
            2_000,
        ),
        (
            "IETF draft 8, Hugging Face: only the exhausted one counts",
            &[
                ("ratelimit", "\"api\";r=0;t=55, \"pages\";r=9;t=99"),
                ("ratelimit-policy", "\"api\";q=500;w=300"),
            ],
            55_000,
        ),
        (
            "discord",
            &[("x-ratelimit-remaining", "0"), ("x-ratelimit-reset-after", "2.5")],
            2_500,
        ),
        (
            "a hyphen more",
            &[("x-rate-limit-remaining", "0"), ("x-rate-limit-reset", "2")],
            2_000,
        ),
        (
            "openrouter",
            &[
                ("x-ratelimit-remaining", "0"),
                ("x-ratelimit-reset", "1431704066000"),
            ],
            5_000,
        ),
        (
            "github",
            &[
                ("x-ratelimit-remaining", "0"),
                ("x-ratelimit-reset", "1431704063"),
            ],
            2_000,
        ),
        (
            "ietf draft",
            &[("ratelimit-remaining", "0"), ("ratelimit-reset", "50")],
            50_000,
        ),
        (
            "in the past",
            &[
                ("x-ratelimit-remaining", "0"),
                ("x-ratelimit-reset", "1431704000"),
            ],
            0,
        ),
        (
            "relative to the server's clock",
            &[
                ("date", "Fri, 15 May 2015 15:34:20 GMT"),
                ("x-ratelimit-remaining", "0"),
                ("x-ratelimit-reset", "1431704063"),
            ],
            3_000,
        ),
    ] {
        let hint = at_reset(&map(headers), WALL).unwrap_or_else(|| panic!("{origin}"));
        assert_eq!(
            (hint.wait.as_millis(), hint.source),
            (millis, HintSource::LimitReset),
            "{origin}"
        );
    }
    for headers in [
        [
            ("x-ratelimit-remaining-requests", "1"),
            ("x-ratelimit-reset-requests", "1s"),
        ]
        .as_slice(),
        &[("x-ratelimit-reset-requests", "1s")],
        &[
            ("x-ratelimit-remaining-tokens", "0"),
            ("x-ratelimit-reset-requests", "1s"),
        ],
        &[
            ("x-ratelimit-remaining-requests", "0"),
            ("x-ratelimit-reset-requests", "soon"),
        ],
        &[
            ("x-ratelimit-remaining-requests", "none"),
            ("x-ratelimit-reset-requests", "1s"),
        ],
    ] {
        assert_eq!(at_reset(&map(headers), WALL), None, "{headers:?}");
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

    #[test]
    fn tolerates_any_words(phrase in prop::sample::select(ASKS), text in "[ :0-9.,amshdµand]{0,20}|\\PC{0,30}", wall in any::<u64>()) {
        if let Some(hint) = in_text(&format!("é {phrase} {text}"), Some(wall)) {
            prop_assert!(hint.wait <= Duration::from_secs(1 << 53));
        }
        for name in ["x-ratelimit-reset", "retry-after"] {
            let mut headers = map(&[("x-ratelimit-remaining", "0")]);
            if let Ok(value) = HeaderValue::from_str(&text) {
                headers.insert(name, value);
            }
            prop_assert!(at_reset(&headers, wall).is_none_or(|hint| hint.wait <= Duration::from_secs(1 << 53)));
        }
    }
}
