//! Fuzz tests of everything that reads input from outside: the network, files, a model.
//!
//! A target (`fuzz/targets.rs`) takes arbitrary bytes and asserts its properties. It runs
//!
//! - as a plain test over its corpus, `fuzz/corpus/TARGET/`, and over thousands of mutations, the same ones each time;
//!   `SEAWALL_FUZZ_RUNS=1000000 cargo test --release --test fuzz` runs more;
//! - under libFuzzer, guided by coverage (`cargo install cargo-bolero`), on a copy of the corpus, which it extends:
//!   `cargo bolero test sse_decoder --rustc-bootstrap --sanitizer NONE --corpus-dir COPY -T 60s`, with
//!   `RUSTFLAGS=-Clink-arg=-Wl,--unresolved-symbols=ignore-all`, because cargo also builds the program, which is
//!   instrumented but not linked with the fuzzer.
//!
//! A failing input is written to `target/tmp`; add it to the corpus.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test, and the helpers of one")]

#[path = "fuzz/hostile.rs"]
mod hostile;
#[cfg_attr(fuzzing, expect(dead_code, reason = "libFuzzer mutates by itself"))]
#[path = "fuzz/mutate.rs"]
mod mutate;
#[path = "fuzz/targets.rs"]
mod targets;

/// Defines a test per target: `name: tokens of its language`.
macro_rules! fuzz {
    ($($name:ident: $words:expr;)*) => {$(
        #[test]
        fn $name() {
            #[cfg(fuzzing)]
            bolero::check!().for_each(|input: &[u8]| targets::$name(input));
            #[cfg(not(fuzzing))]
            mutate::run(stringify!($name), &$words, targets::$name);
        }
    )*};
}

fuzz! {
    sse_decoder: ["data:", "data: ", " data:", "error: ", "{\"a\":\"", "}", "event: error\n", ":\n", "\r\n\r\n", "\n\n", "\r", "\u{feff}", "[DONE]", "\u{1f30a}"];
    answer_reader: [
        "data: ", "\n\n", "[DONE]", "{\"choices\":[", "{\"index\":0,\"delta\":{", "\"content\":\"a\"", "\"finish_reason\":\"stop\"", "}}]}",
        "\\ud83d", "\\ude00", "NaN", "null", "\"tool_calls\":[{\"index\":0,\"id\":\"t\"}]", "\"message\":{", "{\"error\":{\"code\":500}}",
        "event: error\n", "\"refusal\":\"no\"", "\"usage\":{\"total_tokens\":3.0}", "\"object\":\"error\"", "<html>", ":\n", "\u{feff}",
        "\"finishReason\":\"STOP\"", "{\"data\":", "\"{\\\"choices\\\":[", "error: {\"code\":500}\n\n", "event: failed\n", "\"index\":1",
    ];
    hint_headers: [
        "retry-after: ", "retry-after-ms: ", "x-should-retry: true\r\n", "date: ", "Fri, 15 May 2015 15:34:21 GMT",
        "Sun, 06 Nov 1994 08:49:37 GMT", "1e308", "-0", "0x1p3", "inf", "9007199254740993", "0.0000000001", "\r\n",
    ];
    error_classifier: [
        "HTTP/1.1 429 ", "HTTP/1.1 500 ", "HTTP/1.1 200 OK\r\n", "\r\n\r\n", "{\"error\":", "{\"detail\":", "\"code\":",
        "\"type\":\"invalid_request_error\"", "\"message\":\"", "insufficient_quota", "overloaded_error", "sk-proj-abcdefgh",
        "content-type: text/html\r\n", "retry-after: 3\r\n", "x-should-retry: true\r\n", "location: http://", "\\u001b[2J",
        "\\u202e", "context size has been exceeded", "\u{9b}31m",
    ];
    scenario_file: [
        "[[callers]]\n", "[[upstream.phase]]\n", "[[command]]\n", "[[expect]]\n", "arrival.burst = { calls = 3 }\n",
        "duration = ", "\"10m\"", "\"1ns\"", "\"99999999d\"", "nan", "inf", "-1", "18446744073709551615", "1e308", "faults = \"flaky\"\n",
        "base = \"exercise\"\n", "base = \"/dev/zero\"\n", "\"\\u001b[2J\"", "\"\\u0000\"", "\"a\\nb\"", "measure = \"calls\"\n",
        "[policy.limit]\n", "[policy.retry]\n", "[policy.breaker]\n", "\u{202e}",
    ];
    policy_file: [
        "[retry]\n", "[limit]\n", "[breaker]\n", "[cache]\n", "[flight]\n", "[timeouts]\n", "attempts = ", "refill = ", "per = \"1ns\"",
        "\"99999999d\"", "nan", "inf", "-1", "18446744073709551615", "9223372036854775807", "1e308", "0", "\"\\u001b[2J\"", "name = ",
        "'''\n'''", "\u{202e}",
    ];
    fault_file: [
        "name = ", "0.5", "1.0", "nan", "-0.0", "1e308", "\"1ns\"", "\"99999999d\"", "18446744073709551615", "\"\\u001b[2J\"", "[",
    ];
    journal_reader: [
        "{\"gap\":1}\n", "{\"end\":9}\n", "\"seq\":", "\"at\":18446744073709551615", "\"call\":1,", "\"type\":\"noticed\",", "null",
        "\"text\":\"\\u001b[2J\"", "\\ud800", "1e308", "-1", "\n", "}", "{\"journal\":2,", "\u{9b}",
    ];
    sanitiser: [
        "\u{1b}[2J", "\u{1b}]52;c;aGk=\u{7}", "\u{1b}]8;;http://x\u{1b}\\", "\u{1b}P", "\u{9b}31m", "\u{90}", "\u{202e}", "\u{2066}",
        "\u{200b}", "\u{200d}", "\u{feff}", "\u{e0041}", "\u{301}", "\u{fe0f}", "\u{1f30a}", "\r", "\t", "\n", "\u{7f}", "\u{ad}", "\u{115f}",
    ];
}
