//! The fault matrix (docs/semantics.md, Fault matrix) and real captures, row by row.

use http::header::{CONTENT_TYPE, HeaderName};
use http::{HeaderMap, HeaderValue};
use proptest::prelude::*;

use super::wording::MAX_MESSAGE;
use super::*;
use crate::event::{Hint, HintSource};
use FailureClass as C;
use Phase as P;
use Sample as S;

const UPSTREAM: Upstream<'_> = Upstream {
    host: "127.0.0.1:8033",
    model: Some("tiny"),
    key_name: Some("OPENAI_API_KEY"),
};

/// Fri, 15 May 2015 15:34:21 GMT.
const WALL: u64 = 1_431_704_061;

fn respond(status: u16, headers: &[(&'static str, &str)], body: &str) -> Failure {
    let mut map = HeaderMap::new();
    for (name, value) in headers {
        map.append(
            HeaderName::from_static(name),
            HeaderValue::from_str(value).unwrap(),
        );
    }
    let observed = Observed::Response {
        status,
        headers: &map,
        body: body.as_bytes(),
        wall_seconds: WALL,
    };
    classify(&UPSTREAM, &observed)
}

fn coded(status: u16, code: &str) -> Failure {
    let body = format!(r#"{{"error":{{"message":"m","type":"t","param":null,"code":"{code}"}}}}"#);
    respond(status, &[], &body)
}

fn typed(status: u16, kind: &str) -> Failure {
    respond(
        status,
        &[],
        &format!(r#"{{"type":"error","error":{{"type":"{kind}","message":"m"}}}}"#),
    )
}

fn broken(delivered: bool, problem: BodyProblem<'_>) -> Failure {
    classify(
        &UPSTREAM,
        &Observed::Body {
            status: 200,
            delivered,
            problem,
        },
    )
}

fn unconnected(kind: ConnectKind) -> Failure {
    classify(
        &UPSTREAM,
        &Observed::Connect {
            kind,
            detail: "os error 111",
        },
    )
}

fn event(delivered: bool, json: &str) -> Failure {
    let error = ApiError::parse(json.as_bytes()).unwrap();
    broken(delivered, BodyProblem::ErrorEvent { error: &error })
}

/// The parts of a failure on which other modules decide.
fn facts(failure: &Failure) -> (C, P, S) {
    (failure.class, failure.phase, sample(failure))
}

/// Clients, and another seawall in front of this one, read error messages for phrases of servers.
#[test]
fn the_message_of_an_empty_answer_does_not_claim_a_context_error() {
    let message = broken(false, BodyProblem::Empty).message;
    let relayed = respond(502, &[], &format!(r#"{{"error":{{"message":"{message}"}}}}"#));
    assert_ne!(relayed.class, C::ContextLength);
}

#[test]
fn fault_matrix_before_the_response() {
    let reset = |unsent| classify(&UPSTREAM, &Observed::ResetBeforeHeaders { unsent });
    let stalled = classify(
        &UPSTREAM,
        &Observed::HeaderTimeout {
            after: Duration::from_mins(1),
        },
    );
    for (row, failure, wanted, unsent) in [
        (
            1,
            unconnected(ConnectKind::Refused),
            (C::Connect, P::NotSent, S::Failed),
            true,
        ),
        (
            1,
            unconnected(ConnectKind::Unreachable),
            (C::Connect, P::NotSent, S::Failed),
            true,
        ),
        (
            1,
            unconnected(ConnectKind::Timeout),
            (C::ConnectTimeout, P::NotSent, S::Failed),
            true,
        ),
        (
            2,
            unconnected(ConnectKind::DnsUnknown),
            (C::Dns, P::Final, S::Failed),
            true,
        ),
        (
            2,
            unconnected(ConnectKind::DnsTemporary),
            (C::Dns, P::NotSent, S::Failed),
            true,
        ),
        (
            3,
            unconnected(ConnectKind::TlsConfig),
            (C::Tls, P::Final, S::Neutral),
            true,
        ),
        (
            4,
            unconnected(ConnectKind::TlsHandshake),
            (C::Connect, P::NotSent, S::Failed),
            true,
        ),
        (5, reset(false), (C::Reset, P::Ambiguous, S::Failed), false),
        (6, reset(true), (C::Reset, P::NotSent, S::Neutral), true),
        (7, stalled, (C::HeaderTimeout, P::Ambiguous, S::Failed), false),
    ] {
        assert_eq!(
            (facts(&failure), is_unsent(&failure)),
            (wanted, unsent),
            "row {row}"
        );
        assert_eq!(failure.status, None, "row {row}");
    }
}

#[test]
fn fault_matrix_of_bodies() {
    let minute = Duration::from_mins(1);
    let html = BodyProblem::NotAnApi {
        content_type: "text/html",
        excerpt: b"<html>",
    };
    let bad = BodyProblem::Malformed { excerpt: b"{" };
    let stalled = BodyProblem::Stalled { after: minute };
    let pings = BodyProblem::NoProgress { after: minute };
    for (row, problem, delivered, wanted) in [
        (8, BodyProblem::Reset, false, (C::Truncated, P::Begun, S::Failed)),
        (
            9,
            BodyProblem::Truncated,
            false,
            (C::Truncated, P::Begun, S::Failed),
        ),
        (
            10,
            BodyProblem::Truncated,
            true,
            (C::Interrupted, P::Delivered, S::Failed),
        ),
        (
            10,
            BodyProblem::Reset,
            true,
            (C::Interrupted, P::Delivered, S::Failed),
        ),
        (11, stalled, false, (C::Stalled, P::Begun, S::Failed)),
        (11, stalled, true, (C::Stalled, P::Delivered, S::Failed)),
        (12, pings, false, (C::NoProgress, P::Begun, S::Failed)),
        (12, pings, true, (C::NoProgress, P::Delivered, S::Failed)),
        (31, bad, false, (C::Malformed, P::Begun, S::Failed)),
        (31, bad, true, (C::Interrupted, P::Delivered, S::Failed)),
        (32, html, false, (C::NotAnApi, P::Final, S::Failed)),
        (
            33,
            BodyProblem::Truncated,
            false,
            (C::Truncated, P::Begun, S::Failed),
        ),
        (
            34,
            BodyProblem::Oversize { cap: 9 },
            false,
            (C::Oversize, P::Final, S::Failed),
        ),
        (
            43,
            BodyProblem::Oversize { cap: 9 },
            true,
            (C::Oversize, P::Delivered, S::Failed),
        ),
        (37, BodyProblem::Empty, false, (C::Malformed, P::Begun, S::Failed)),
        (
            45,
            BodyProblem::BadFraming {
                detail: "two lengths",
            },
            false,
            (C::Malformed, P::Final, S::Failed),
        ),
        (
            43,
            BodyProblem::Compressed { encoding: "gzip" },
            false,
            (C::Malformed, P::Final, S::Failed),
        ),
    ] {
        let failure = broken(delivered, problem);
        assert_eq!(facts(&failure), wanted, "row {row}");
        assert_eq!(
            (failure.status, is_unsent(&failure)),
            (Some(200), false),
            "row {row}"
        );
    }
}

#[test]
fn fault_matrix_of_statuses() {
    let final_neutral = |class| (class, P::Final, S::Neutral);
    for (row, statuses, wanted) in [
        (
            14,
            [408, 425].as_slice(),
            (C::RequestTimeout, P::Refused, S::Neutral),
        ),
        (15, &[409], (C::Conflict, P::Ambiguous, S::Neutral)),
        (16, &[429, 420], (C::RateLimited, P::Refused, S::Neutral)),
        (
            22,
            &[500, 505, 561, 599, 600, 999, 65_535],
            (C::ServerError, P::Ambiguous, S::Failed),
        ),
        // Cloudflare's 520 to 530, TGI's 424, a client that left a proxy in between (AWS, nginx)
        (
            23,
            &[502, 504, 520, 521, 522, 523, 524, 525, 527, 530, 424, 460, 499],
            (C::BadGateway, P::Ambiguous, S::Failed),
        ),
        (24, &[503], (C::Unavailable, P::Refused, S::Failed)),
        // Anthropic; Groq's flex tier
        (26, &[529, 498], (C::Overloaded, P::Refused, S::Failed)),
        // 463 and 464: AWS, a malformed request
        (27, &[400, 415, 422, 431, 463, 464], final_neutral(C::Invalid)),
        (28, &[401, 403], final_neutral(C::Auth)),
        (29, &[404, 405, 410], final_neutral(C::NotFound)),
        (30, &[402], final_neutral(C::Quota)),
        (30, &[413], final_neutral(C::TooLarge)),
        (32, &[511], (C::NotAnApi, P::Final, S::Failed)),
        (
            44,
            &[300, 301, 302, 303, 304, 307, 308],
            final_neutral(C::Redirect),
        ),
        (0, &[501], final_neutral(C::Unsupported)),
        // a success status in the wrong place
        (31, &[0, 100, 200, 204], (C::Malformed, P::Begun, S::Failed)),
    ] {
        for status in statuses {
            let failure = respond(*status, &[], "");
            assert_eq!(facts(&failure), wanted, "row {row}: {status}");
            assert_eq!((failure.status, is_unsent(&failure)), (Some(*status), false));
        }
    }
}

#[test]
fn code_decides_before_type_before_status() {
    let quota = (C::Quota, P::Final, S::Neutral);
    for code in [
        "insufficient_quota",
        "credit_balance_exhausted",
        "organization_spend_limit_exceeded",
        "project_spend_limit_exceeded",
        "organization_usage_limit_exceeded",
        "billing_hard_limit_reached",
    ] {
        assert_eq!(facts(&coded(429, code)), quota, "row 21: {code}");
    }
    let overloaded = (C::Overloaded, P::Refused, S::Failed);
    let context = (C::ContextLength, P::Final, S::Neutral);
    for (failure, wanted) in [
        (
            coded(429, "rate_limit_exceeded"),
            (C::RateLimited, P::Refused, S::Neutral),
        ),
        (coded(503, "slow_down"), (C::RateLimited, P::Refused, S::Neutral)),
        (coded(503, "server_is_overloaded"), overloaded),
        (coded(400, "context_length_exceeded"), context),
        (coded(401, "invalid_api_key"), (C::Auth, P::Final, S::Neutral)),
        (coded(404, "model_not_found"), (C::NotFound, P::Final, S::Neutral)),
        (coded(418, "no_code_we_know"), (C::Invalid, P::Final, S::Neutral)),
        // Anthropic's
        (typed(402, "billing_error"), quota),
        (typed(529, "overloaded_error"), overloaded),
        (typed(500, "overloaded_error"), overloaded),
        (typed(500, "api_error"), (C::ServerError, P::Ambiguous, S::Failed)),
        (
            typed(504, "timeout_error"),
            (C::BadGateway, P::Ambiguous, S::Failed),
        ),
        (
            typed(413, "request_too_large"),
            (C::TooLarge, P::Final, S::Neutral),
        ),
        // a type that OpenAI uses for everything must not outweigh the status
        (
            typed(500, "invalid_request_error"),
            (C::Invalid, P::Final, S::Neutral),
        ),
        (
            typed(404, "invalid_request_error"),
            (C::NotFound, P::Final, S::Neutral),
        ),
        (
            typed(401, "invalid_request_error"),
            (C::Auth, P::Final, S::Neutral),
        ),
        (
            typed(429, "invalid_request_error"),
            (C::RateLimited, P::Refused, S::Neutral),
        ),
        (
            respond(200, &[], r#"{"error":{"code":"insufficient_quota"}}"#),
            quota,
        ),
        (
            respond(200, &[("content-type", "text/html")], "hi"),
            (C::NotAnApi, P::Final, S::Failed),
        ),
    ] {
        assert_eq!(facts(&failure), wanted, "{failure}");
    }
}

/// Status and message before the name: no wait makes a request fit that exceeds the limit by itself.
#[test]
#[expect(clippy::too_many_lines, reason = "one table")]
fn a_request_above_the_limit_is_final() {
    let large = (C::TooLarge, P::Final, S::Neutral);
    let rate = (C::RateLimited, P::Refused, S::Neutral);
    for (source, status, message, wanted) in [
        (
            "groq",
            413,
            "Request too large for model `llama-3.1-8b-instant` in organization `o` service tier `on_demand` on tokens \
             per minute (TPM): Limit 6000, Requested 6294, please reduce your message size and try again.",
            large,
        ),
        ("groq, other words", 413, "the request is too big", large),
        (
            "openai",
            429,
            "Request too large for gpt-4o in organization o on tokens per min (TPM): Limit 30000, Requested 31538. The \
             input or output tokens must be reduced in order to run successfully.",
            large,
        ),
        (
            "groq, an estimate",
            429,
            "Limit 7000, Used 0, Requested ~12903. Please try again in 50.597142857s.",
            large,
        ),
        (
            "openai, with a wait",
            429,
            "Limit 10,000, Used 0, Requested 12,000. Please try again in 12s.",
            large,
        ),
        (
            "other words",
            429,
            "request of 6294 tokens is above the limit of 6000 a minute",
            large,
        ),
        (
            "no numbers",
            429,
            "Request too large. The input or output tokens must be reduced.",
            large,
        ),
        ("a limit of nothing", 429, "Limit 0, Requested 1", large),
        (
            "groq, fits later",
            429,
            "Rate limit reached for model `m` on tokens per minute (TPM): Limit 6000, Used 5034, Requested 1443. Please \
             try again in 4.77s.",
            rate,
        ),
        (
            "openai, a model name after the word",
            429,
            "Rate limit reached for gpt-5.5 (for limit gpt-5.5) on tokens per min (TPM): Limit 180000000, Used \
             180000000, Requested 8929. Please try again in 2ms.",
            rate,
        ),
        (
            "openai, 2023",
            429,
            "on tokens per min. Limit: 40000 / min. Please try again in 1ms.",
            rate,
        ),
        (
            "openai, requests",
            429,
            "on requests per min (RPM): Limit 3, Used 3, Requested 1.",
            rate,
        ),
        (
            "anthropic",
            429,
            "This request would exceed the rate limit for your organization of 20,000 input tokens per minute. Please \
             reduce the prompt length or the maximum tokens requested, or try again later.",
            rate,
        ),
        (
            "azure, peak load",
            429,
            "Your request exceeds the maximum usage size allowed during peak load. Please retry after 20 seconds.",
            rate,
        ),
        (
            "an identifier after the word",
            429,
            "Limit 60 per minute. Request 98765 was rejected.",
            rate,
        ),
        (
            "an identifier with letters",
            429,
            "limit 60, requested 4096abc",
            rate,
        ),
        (
            "foundry",
            429,
            "Rate limit of 50000 per 60s exceeded for UserByModelByMinute.",
            rate,
        ),
        (
            "cerebras",
            429,
            "Tokens per minute limit exceeded - too many tokens processed.",
            rate,
        ),
    ] {
        let coded = serde_json::json!({"error": {"message": message, "type": "requests", "code": "rate_limit_exceeded"}});
        let failure = respond(status, &[], &coded.to_string());
        assert_eq!(facts(&failure), wanted, "{source}: {failure}");
        assert_eq!(
            facts(&respond(status, &[], message)),
            wanted,
            "{source}, as plain text"
        );
        if wanted == large {
            let remedy = "; shorten the prompt, lower max_tokens or raise the limit";
            assert!(failure.message.ends_with(remedy), "{source}: {failure}");
        }
        let inside = format!(
            r#"{{"error":{{"message":{},"code":{status}}}}}"#,
            serde_json::json!(message)
        );
        assert_eq!(facts(&event(false, &inside)), wanted, "{source}, inside a 200");
    }
}

/// A 429 means an exhausted quota, an exhausted limit or too much load; the names differ.
#[test]
#[expect(clippy::too_many_lines, reason = "one table")]
fn a_429_by_its_source() {
    let quota = (C::Quota, P::Final, S::Neutral);
    let rate = (C::RateLimited, P::Refused, S::Neutral);
    let google = |quota: &str| {
        format!(
            r#"[{{"error":{{"code":429,"message":"You exceeded your current quota, please check your plan and billing details.","status":"RESOURCE_EXHAUSTED","details":[{{"violations":[{{"quotaId":"{quota}"}}]}},{{"retryDelay":"3.2s"}}]}}}}]"#
        )
    };
    for (source, body, wanted) in [
        (
            "gemini, a minute",
            google("GenerateRequestsPerMinutePerProjectPerModel-FreeTier"),
            rate,
        ),
        (
            "gemini, a day",
            google("GenerateRequestsPerDayPerProjectPerModel-FreeTier"),
            quota,
        ),
        (
            "gemini, a day, quoted by a gateway",
            r#"{"error":{"message":"{\"error\":{\"code\":429,\"message\":\"m\",\"details\":[{\"violations\":[{\"quotaId\":\"GenerateRequestsPerDayPerProject\"}]}]}}","code":429}}"#.to_owned(),
            quota,
        ),
        (
            "gemini cli, a day",
            r#"[{"error":{"code":429,"message":"m","status":"RESOURCE_EXHAUSTED","details":[{"metadata":{"quota_limit":"Gemini25ProRequestsPerDay"}}]}}]"#.to_owned(),
            quota,
        ),
        (
            "gemini, not in this tier",
            r#"[{"error":{"code":429,"message":"Quota exceeded for metric: free_tier_requests, limit: 0, model: m\nPlease retry in 2.5s.","status":"RESOURCE_EXHAUSTED"}}]"#.to_owned(),
            quota,
        ),
        (
            "a limit below one",
            r#"{"error":{"code":429,"message":"over the limit: 0.5 requests per second"}}"#.to_owned(),
            rate,
        ),
        (
            "codex",
            r#"{"error":{"type":"usage_limit_reached","message":"m","code":429}}"#.to_owned(),
            quota,
        ),
        (
            "moonshot, suspended",
            r#"{"error":{"message":"Your account is suspended due to insufficient balance","code":429}}"#.to_owned(),
            quota,
        ),
        (
            "one-api, saturated",
            r#"{"error":{"message":"当前分组上游负载已饱和，请稍后再试","type":"new_api_error","code":429}}"#.to_owned(),
            (C::Overloaded, P::Refused, S::Failed),
        ),
        (
            "zhipu, unpaid",
            r#"{"error":{"code":"1113","message":"m"}}"#.to_owned(),
            quota,
        ),
        (
            "zhipu, parallel requests",
            r#"{"error":{"code":"1302","message":"m"}}"#.to_owned(),
            rate,
        ),
        (
            "moonshot, unpaid",
            r#"{"error":{"type":"exceeded_current_quota_error","message":"m"}}"#.to_owned(),
            quota,
        ),
        (
            "moonshot, overloaded",
            r#"{"error":{"type":"engine_overloaded_error","message":"m"}}"#.to_owned(),
            (C::Overloaded, P::Refused, S::Failed),
        ),
        (
            "moonshot, limited",
            r#"{"error":{"type":"rate_limit_reached_error","message":"m"}}"#.to_owned(),
            rate,
        ),
        (
            "siliconflow",
            r#"{"message":"Request was rejected due to rate limiting.","data":null}"#.to_owned(),
            rate,
        ),
        (
            "nvidia",
            r#"{"status":429,"title":"Too Many Requests"}"#.to_owned(),
            rate,
        ),
        (
            "openrouter",
            r#"{"error":{"message":"Provider returned error","code":429}}"#.to_owned(),
            rate,
        ),
        (
            "openai, tokens and no way to wait",
            r#"{"error":{"message":"The prompt is over the limit","type":"tokens","code":429}}"#.to_owned(),
            (C::TooLarge, P::Final, S::Neutral),
        ),
        (
            "openai, tokens and a wait",
            r#"{"error":{"message":"Limit: 40000 / min. Please try again in 1ms.","type":"tokens","code":429}}"#.to_owned(),
            rate,
        ),
        (
            "openai, tokens used by others",
            r#"{"error":{"message":"Limit 6000, Used 5034, Requested 1443","type":"tokens","code":429}}"#.to_owned(),
            rate,
        ),
    ] {
        assert_eq!(facts(&respond(429, &[], &body)), wanted, "{source}");
        assert_eq!(facts(&event(false, &body)), wanted, "{source}, inside a 200");
    }
}

#[test]
#[expect(clippy::too_many_lines, reason = "one table")]
fn the_message_decides_if_code_and_type_do_not() {
    let refused = |class| (class, P::Refused, S::Neutral);
    let final_neutral = |class| (class, P::Final, S::Neutral);
    for (status, body, wanted) in [
        (503, "Model x is currently loading", refused(C::Loading)),
        (
            503,
            "The engine is OVERLOADED",
            (C::Overloaded, P::Refused, S::Failed),
        ),
        (
            400,
            r#"{"detail":"prompt is too long: 9 > 8"}"#,
            final_neutral(C::ContextLength),
        ),
        // Anthropic's exhausted credit, Gemini's wrong key
        (
            400,
            r#"{"error":{"type":"invalid_request_error","message":"Your credit balance is too low"}}"#,
            final_neutral(C::Quota),
        ),
        (
            400,
            r#"{"error":{"code":400,"message":"API key not valid."}}"#,
            final_neutral(C::Auth),
        ),
        (400, "model 'x' not found", final_neutral(C::NotFound)),
        // half of a phrase does not match
        (400, "model 'x' has no tools", final_neutral(C::Invalid)),
        (400, "tool 'x' not found", final_neutral(C::Invalid)),
        // Moonshot, DashScope, Copilot
        (
            400,
            r#"{"error":{"message":"Invalid request: Your request exceeded model token limit: 8192","type":"invalid_request_error"}}"#,
            final_neutral(C::ContextLength),
        ),
        (
            400,
            r#"{"code":"InvalidParameter","message":"Range of input length should be [1, 30720]"}"#,
            final_neutral(C::ContextLength),
        ),
        (
            400,
            r#"{"error":{"message":"m","code":"model_max_prompt_tokens_exceeded"}}"#,
            final_neutral(C::ContextLength),
        ),
        // LM Studio, TGI
        (
            400,
            r#"{"error":"The model has crashed without additional information. (Exit code: 6)"}"#,
            (C::ServerError, P::Ambiguous, S::Failed),
        ),
        (
            424,
            r#"{"error":"Request failed during generation","error_type":"generation"}"#,
            (C::BadGateway, P::Ambiguous, S::Failed),
        ),
        // a rate limit under another status: LiteLLM, a gateway, Google
        (
            500,
            r#"{"error":{"message":"litellm.RateLimitError: m","type":null,"code":"500"}}"#,
            refused(C::RateLimited),
        ),
        (
            400,
            r#"{"error":{"message":"Rate limit exceeded, slow down"}}"#,
            refused(C::RateLimited),
        ),
        (
            403,
            r#"{"error":{"code":403,"message":"Rate Limit Exceeded","errors":[{"reason":"rateLimitExceeded"}]}}"#,
            refused(C::RateLimited),
        ),
        // OpenRouter's moderation, one-api's empty account
        (
            403,
            r#"{"error":{"code":403,"message":"Your chosen model requires moderation and your input was flagged"}}"#,
            final_neutral(C::Invalid),
        ),
        (
            403,
            r#"{"error":{"message":"用户额度不足, 剩余额度: 0","type":"new_api_error"}}"#,
            final_neutral(C::Quota),
        ),
        // in server-sent events
        (
            429,
            "data: {\"error\":{\"code\":\"insufficient_quota\",\"message\":\"m\"}}\n\n",
            final_neutral(C::Quota),
        ),
        // a phrase counts only with its statuses
        (502, "Loading model", (C::BadGateway, P::Ambiguous, S::Failed)),
    ] {
        assert_eq!(facts(&respond(status, &[], body)), wanted, "{body}");
    }
}

/// As code or type, with any status.
#[test]
fn a_name_has_one_meaning_as_code_or_type() {
    for (class, phase, names) in [
        (
            C::Quota,
            P::Final,
            ["insufficient_quota", "billing", "billing_not_active"].as_slice(),
        ),
        (
            C::RateLimited,
            P::Refused,
            &["rate_limit_error", "too_many_requests"],
        ),
        (C::Overloaded, P::Refused, &["overloaded", "overloaded_error"]),
        (C::ContextLength, P::Final, &["exceed_context_size_error"]),
        (
            C::Auth,
            P::Final,
            &[
                "invalid_api_key",
                "authentication_error",
                "permission_error",
                "account_deactivated",
            ],
        ),
        (
            C::NotFound,
            P::Final,
            &["model_not_found", "not_found_error", "unknown_url"],
        ),
        (C::TooLarge, P::Final, &["request_too_large"]),
        (C::Unsupported, P::Final, &["not_supported_error"]),
        (
            C::Invalid,
            P::Final,
            &["content_filter", "content_policy_violation"],
        ),
    ] {
        for name in names {
            for status in [400, 404, 500, 503] {
                for failure in [coded(status, name), typed(status, name)] {
                    assert_eq!(
                        (failure.class, failure.phase),
                        (class, phase),
                        "{name} with {status}"
                    );
                }
            }
        }
    }
}

#[test]
#[expect(clippy::too_many_lines, reason = "one table")]
fn an_error_inside_a_stream() {
    let shared =
        r#"{"error":{"code":500,"message":"Context size has been exceeded.","type":"server_error"}}"#;
    let cut = (C::Interrupted, P::Delivered, S::Failed);
    for (row, json, wanted) in [
        (39, shared, (C::ContextLength, P::Begun, S::Failed)),
        (
            39,
            r#"{"error":{"code":429}}"#,
            (C::RateLimited, P::Refused, S::Neutral),
        ),
        (
            39,
            r#"{"error":{"type":"overloaded_error"}}"#,
            (C::Overloaded, P::Refused, S::Failed),
        ),
        (
            39,
            r#"{"error":{"type":"invalid_request_error"}}"#,
            (C::Invalid, P::Final, S::Neutral),
        ),
        (
            39,
            r#"{"error":{"type":"invalid_request_error","message":"prompt is too long"}}"#,
            (C::ContextLength, P::Final, S::Neutral),
        ),
        (
            39,
            r#"{"error":{"type":"unavailable_error"}}"#,
            (C::Unavailable, P::Refused, S::Failed),
        ),
        (
            39,
            r#"{"error":{"type":"unavailable_error","message":"Loading model"}}"#,
            (C::Loading, P::Refused, S::Neutral),
        ),
        (
            39,
            r#"{"error":{"type":"timeout_error"}}"#,
            (C::BadGateway, P::Begun, S::Failed),
        ),
        (
            39,
            r#"{"error":{"code":"insufficient_quota"}}"#,
            (C::Quota, P::Final, S::Neutral),
        ),
        (
            39,
            r#"{"error":"something"}"#,
            (C::ServerError, P::Begun, S::Failed),
        ),
        (
            39,
            r#"{"error":{"code":99999}}"#,
            (C::ServerError, P::Begun, S::Failed),
        ),
        // vLLM, DeepInfra, MiniMax (two), Google, Baidu, FastAPI
        (
            39,
            r#"{"object":"error","message":"the engine died","type":"InternalServerError","code":500}"#,
            (C::ServerError, P::Begun, S::Failed),
        ),
        (
            39,
            r#"{"error_type":"BadRequestError","error_message":"maximum context length is 4096"}"#,
            (C::ContextLength, P::Final, S::Neutral),
        ),
        (
            39,
            r#"{"base_resp":{"status_code":1002,"status_msg":"rate limit exceeded (RPM)"}}"#,
            (C::RateLimited, P::Refused, S::Neutral),
        ),
        (
            39,
            r#"{"base_resp":{"status_code":1008,"status_msg":"insufficient balance"}}"#,
            (C::Quota, P::Final, S::Neutral),
        ),
        (
            39,
            r#"[{"error":{"message":"m","status":"UNAVAILABLE"}}]"#,
            (C::Unavailable, P::Refused, S::Failed),
        ),
        (
            39,
            r#"{"error_code":110,"error_msg":"Access token invalid or no longer valid"}"#,
            (C::Auth, P::Final, S::Neutral),
        ),
        (
            39,
            r#"{"detail":"Rate limit exceeded"}"#,
            (C::RateLimited, P::Refused, S::Neutral),
        ),
        // LM Studio; a gateway
        (
            39,
            r#"{"error":"Unexpected endpoint or method. (POST /v1/v1/chat/completions)"}"#,
            (C::NotFound, P::Final, S::Neutral),
        ),
        (
            39,
            r#"{"error":"Invalid API key"}"#,
            (C::Auth, P::Final, S::Neutral),
        ),
    ] {
        assert_eq!(facts(&event(false, json)), wanted, "row {row}: {json}");
        assert_eq!(facts(&event(true, json)), cut, "row 40: {json}");
    }
}

#[test]
fn the_deadline_and_a_panic() {
    let after = Duration::from_mins(10);
    let late = |progress| classify(&UPSTREAM, &Observed::Deadline { after, progress });
    for (progress, wanted, unsent) in [
        (Progress::Unsent, (C::Deadline, P::NotSent, S::Neutral), true),
        (Progress::Sent, (C::Deadline, P::Ambiguous, S::Slow), false),
        (Progress::Begun, (C::Deadline, P::Begun, S::Slow), false),
        (Progress::Delivered, (C::Deadline, P::Delivered, S::Slow), false),
    ] {
        let failure = late(progress);
        assert_eq!(
            (facts(&failure), is_unsent(&failure)),
            (wanted, unsent),
            "{progress:?}"
        );
    }
    let panic = classify(
        &UPSTREAM,
        &Observed::Panic {
            detail: "index out of bounds",
        },
    );
    assert_eq!(facts(&panic), (C::Internal, P::Final, S::Failed), "row 51");
}

/// The response of a capture: status, headers, body as sent.
fn capture(name: &str) -> (u16, HeaderMap, Vec<u8>) {
    let path = format!("{}/tests/wire/{name}.raw", env!("CARGO_MANIFEST_DIR"));
    let raw = std::fs::read(path).unwrap();
    let split = |bytes: &[u8], mark: &[u8]| {
        let at = bytes
            .windows(mark.len())
            .position(|window| window == mark)
            .unwrap();
        (bytes[..at].to_vec(), bytes[at + mark.len()..].to_vec())
    };
    let (head, body) = split(&split(&raw, b"<<<\n").1, b"\r\n\r\n");
    let head = String::from_utf8(head).unwrap();
    let mut lines = head.lines();
    let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
    let mut headers = HeaderMap::new();
    for line in lines {
        let (name, value) = line.split_once(':').unwrap();
        headers.append(
            HeaderName::from_bytes(name.as_bytes()).unwrap(),
            HeaderValue::from_str(value.trim()).unwrap(),
        );
    }
    (status, headers, body)
}

fn captured(name: &str) -> Failure {
    let (status, headers, body) = capture(name);
    let observed = Observed::Response {
        status,
        headers: &headers,
        body: &body,
        wall_seconds: WALL,
    };
    classify(&UPSTREAM, &observed)
}

#[test]
fn classifies_captures_of_real_servers() {
    for (names, class, phase) in [
        (
            [
                "e_badjson",
                "e_badtype_temp",
                "e_empty",
                "e_fmt",
                "e_grammar",
                "e_img",
                "e_maxtokens_str",
                "e_msgstring",
                "e_n2",
                "e_nomessages",
                "e_norole",
                "router_nomodel",
            ]
            .as_slice(),
            C::Invalid,
            P::Final,
        ),
        (
            &["e_embeddings_off", "e_metrics_off", "k_slots", "lcp_emb"],
            C::Unsupported,
            P::Final,
        ),
        (
            &["e_toolong", "e_toolong_stream", "lcp_toolong"],
            C::ContextLength,
            P::Final,
        ),
        (&["kvun_0"], C::ContextLength, P::Ambiguous),
        (
            &[
                "k_404",
                "k_bad",
                "k_models",
                "k_none",
                "k_props",
                "lcp_k_bad",
                "lcp_k_models",
                "lcp_k_none",
            ],
            C::Auth,
            P::Final,
        ),
        (
            &[
                "e_404",
                "e_method",
                "lcp_404",
                "lcp_health",
                "lcp_method",
                "lcp_metrics",
                "lcp_props",
                "lcp_slots",
                "router_badmodel",
            ],
            C::NotFound,
            P::Final,
        ),
        (&["lcp_badjson"], C::ServerError, P::Ambiguous),
        (&["loading_chat", "loading_models"], C::Loading, P::Refused),
    ] {
        for name in names {
            let failure = captured(name);
            assert_eq!(
                (failure.class, failure.phase),
                (class, phase),
                "{name}: {failure}"
            );
            assert_eq!(failure.hint, None, "{name}");
        }
    }
}

#[test]
fn classifies_a_captured_error_event() {
    let (_, _, body) = capture("kvu_3");
    let body = String::from_utf8(body).unwrap();
    let json = body.lines().find_map(|line| line.strip_prefix("data: ")).unwrap();
    assert_eq!(
        facts(&event(false, json)),
        (C::ContextLength, P::Begun, S::Failed)
    );
}

#[test]
fn messages_name_the_value_and_the_remedy() {
    let redirect = respond(301, &[("location", "https://me:pw@evil.example/v1?key=abc")], "");
    let slow = respond(
        429,
        &[("retry-after", "2")],
        r#"{"error":{"message":"Slow down."}}"#,
    );
    let odd = respond(429, &[("retry-after", "soon")], "");
    let param = r#"{"error":{"message":"bad value","param":"temperature"}}"#;
    let quota = coded(429, "insufficient_quota");
    for (failure, wanted) in [
        (
            captured("e_toolong"),
            "prompt (1805 tokens) exceeds the context of 127.0.0.1:8033 (512 tokens) (400); \
             shorten the prompt or start a new conversation",
        ),
        (
            captured("k_bad"),
            "127.0.0.1:8033 rejected the key in OPENAI_API_KEY (401): Invalid API Key; \
             check the value of OPENAI_API_KEY",
        ),
        (
            captured("e_404"),
            "path or model tiny not found at 127.0.0.1:8033 (404): File Not Found; \
             check the base URL (one /v1, no trailing slash) and the model list",
        ),
        (
            captured("e_metrics_off"),
            "127.0.0.1:8033 does not support this (501): \
             This server does not support metrics endpoint. Start it with `--metrics`",
        ),
        (
            captured("loading_chat"),
            "127.0.0.1:8033 is loading its model (503)",
        ),
        (
            captured("kvun_0"),
            "context shared by parallel requests at 127.0.0.1:8033 is full (500); \
             send fewer requests at once, or give the server more context",
        ),
        (
            redirect,
            "127.0.0.1:8033 redirects to https://[redacted]@evil.example/v1 (301); \
             redirects are not followed: if you trust the target, make it the base URL",
        ),
        (
            slow,
            "rate limited by 127.0.0.1:8033 (429), asks to wait 2s: Slow down; send fewer requests at once",
        ),
        (
            odd,
            "rate limited by 127.0.0.1:8033 (429), sends an invalid Retry-After; send fewer requests at once",
        ),
        (
            quota,
            "quota or credit at 127.0.0.1:8033 is exhausted (429 insufficient_quota): m; \
             check plan and billing: waiting does not help",
        ),
        (
            respond(400, &[], param),
            "127.0.0.1:8033 rejected the request (400): bad value; \
             fix `temperature`: a retry cannot help",
        ),
        (
            respond(502, &[("content-type", "text/html")], "<html><title>502"),
            "gateway 127.0.0.1:8033 got no valid response (502): an HTML page; check the server behind it",
        ),
        (
            unconnected(ConnectKind::Refused),
            "nothing listens at 127.0.0.1:8033 (connection refused); start the server or correct the base URL",
        ),
        (
            broken(true, BodyProblem::Truncated),
            "response from 127.0.0.1:8033 was truncated; the text so far is kept",
        ),
    ] {
        assert_eq!(failure.to_string(), wanted);
    }
}

#[test]
fn a_key_without_permission_is_not_a_wrong_key() {
    assert_eq!(
        respond(403, &[], "").to_string(),
        "the key in OPENAI_API_KEY is not allowed to do this at 127.0.0.1:8033 (403); check its permissions"
    );
}

#[test]
fn messages_of_other_failures() {
    let seen = |observed| classify(&UPSTREAM, &observed);
    let reset = |unsent| seen(Observed::ResetBeforeHeaders { unsent });
    let after = Duration::from_mins(1);
    let progress = Progress::Sent;
    let detail = "index out of bounds";
    let shared = r#"{"error":{"code":500,"message":"Context size has been exceeded."}}"#;
    let quota = r#"{"error":{"code":"insufficient_quota","message":"Nothing left."}}"#;
    let content_type = "text/html";
    let html = BodyProblem::NotAnApi {
        content_type,
        excerpt: b"<html> \n <p>",
    };
    for (failure, wanted) in [
        (
            seen(Observed::HeaderTimeout { after }),
            "127.0.0.1:8033 sent no response within 60s; \
             it may be queueing: raise timeouts.headers or send fewer requests at once",
        ),
        (
            reset(true),
            "pooled connection to 127.0.0.1:8033 was already closed; nothing was sent",
        ),
        (
            reset(false),
            "127.0.0.1:8033 closed the connection before it answered; the request may have been processed",
        ),
        (
            seen(Observed::Deadline { after, progress }),
            "deadline of 60s passed before 127.0.0.1:8033 responded; set by timeouts.call",
        ),
        (
            seen(Observed::Panic { detail }),
            "internal error in seawall: index out of bounds; please report it",
        ),
        (
            broken(false, BodyProblem::Malformed { excerpt: b"{\"choi" }),
            "malformed response from 127.0.0.1:8033: {\"choi",
        ),
        (
            broken(false, html),
            "127.0.0.1:8033 did not send an API response (text/html): <html> <p>; \
             check the base URL, and for a proxy or a login page",
        ),
        (
            event(true, shared),
            "127.0.0.1:8033 sent an error while answering: Context size has been exceeded; the text so far is kept",
        ),
        (
            event(false, shared),
            "127.0.0.1:8033 sent an error instead of text: Context size has been exceeded; \
             send fewer requests at once, or shorten the prompt",
        ),
        (
            event(false, quota),
            "127.0.0.1:8033 sent an error instead of text: Nothing left; \
             check plan and billing: waiting does not help",
        ),
    ] {
        assert_eq!(failure.to_string(), wanted);
    }
}

#[test]
fn a_long_server_message_does_not_truncate_the_remedy() {
    let message = respond(429, &[], &"and so on ".repeat(100)).to_string();
    assert!(message.ends_with("; send fewer requests at once"), "{message}");
    // and the message uses the available space
    assert!(
        (MAX_MESSAGE - 2..=MAX_MESSAGE).contains(&message.chars().count()),
        "{message}"
    );
}

#[test]
fn an_auth_error_without_a_key_says_that_none_was_sent() {
    let upstream = Upstream {
        key_name: None,
        ..UPSTREAM
    };
    let observed = Observed::Response {
        status: 401,
        headers: &HeaderMap::new(),
        body: b"",
        wall_seconds: WALL,
    };
    assert_eq!(
        classify(&upstream, &observed).to_string(),
        "127.0.0.1:8033 requires an API key and none was sent (401); set SEAWALL_API_KEY"
    );
}

#[test]
fn echoed_keys_and_escapes_are_removed() {
    let echo =
        r#"{"error":{"message":"Incorrect API key provided: sk-abcdefgh12345678.\n\u001b]0;x\u0007"}}"#;
    let message = respond(401, &[], echo).to_string();
    assert!(
        !message.contains("sk-abc") && message.contains("[redacted]"),
        "{message}"
    );
    assert!(!message.contains(char::is_control), "{message}");
    // a key must be redacted before truncation makes it unrecognisable
    let long = format!("{} Bearer abcdefghijkl", "x ".repeat(60));
    assert!(!respond(500, &[], &long).message.contains("abcdefgh"));
}

#[test]
fn passes_on_the_hint_of_the_server() {
    let limited = respond(429, &[("retry-after", "2")], "");
    let hint = Hint {
        wait: Duration::from_secs(2),
        source: HintSource::RetryAfter,
    };
    assert_eq!(limited.hint, Some(hint));
    assert_eq!(respond(429, &[], "").hint, None);
}

/// Headers made for hints, then the body, then the resets of exhausted limits.
#[test]
fn the_most_direct_hint_wins() {
    const RESET: [(&str, &str); 2] = [
        ("x-ratelimit-remaining-requests", "0"),
        ("x-ratelimit-reset-requests", "9s"),
    ];
    let words = r#"{"error":{"message":"Please try again in 7.66s."}}"#;
    for (status, headers, body, wanted) in [
        (
            429,
            [("retry-after", "2"), RESET[0], RESET[1]].as_slice(),
            words,
            Some((2_000, HintSource::RetryAfter)),
        ),
        (
            429,
            &[("retry-after", "soon")],
            words,
            Some((7_660, HintSource::Message)),
        ),
        (429, &RESET, words, Some((7_660, HintSource::Message))),
        (
            429,
            &RESET,
            r#"{"error":{"message":"m","retry_after":3}}"#,
            Some((3_000, HintSource::Body)),
        ),
        (429, &RESET, "", Some((9_000, HintSource::LimitReset))),
        (529, &RESET, "", Some((9_000, HintSource::LimitReset))),
        // no wait makes it fit
        (
            429,
            &RESET,
            r#"{"error":{"message":"Limit 10, Requested 12. Please try again in 7s."}}"#,
            None,
        ),
        // a limit that happens to be exhausted has nothing to do with this failure
        (500, &RESET, "", None),
        (
            503,
            &[],
            "Overloaded, retry in 5 seconds",
            Some((5_000, HintSource::Message)),
        ),
    ] {
        let hint = respond(status, headers, body).hint;
        let hint = hint.map(|hint| (hint.wait.as_millis(), hint.source));
        assert_eq!(hint, wanted, "{status} {body}");
    }
    let tokens = r#"{"error":{"message":"too many","type":"tokens"}}"#;
    assert_eq!(
        respond(429, &[("retry-after", "2")], tokens).class,
        C::RateLimited
    );
    assert_eq!(respond(429, &[], tokens).class, C::TooLarge);
    let inside = event(false, r#"{"error":{"code":429,"message":"m","retry_after":3}}"#);
    assert_eq!(inside.hint.map(|hint| hint.wait), Some(Duration::from_secs(3)));
    assert_eq!(
        inside.to_string(),
        "127.0.0.1:8033 sent an error instead of text, asks to wait 3s: m"
    );
}

#[test]
fn x_should_retry_overrides_the_status() {
    let yes = respond(400, &[("x-should-retry", "true")], "");
    assert_eq!(
        (yes.class, yes.phase, yes.should_retry),
        (C::Invalid, P::Refused, Some(true))
    );
    let no = respond(429, &[("x-should-retry", "false")], "");
    assert_eq!(
        (no.class, no.phase, no.should_retry),
        (C::RateLimited, P::Refused, Some(false))
    );
    let maybe_billed = respond(500, &[("x-should-retry", "true")], "");
    assert_eq!(maybe_billed.phase, P::Ambiguous);
}

fn problems() -> impl Strategy<Value = (u8, Vec<u8>)> {
    (0_u8..9, prop::collection::vec(any::<u8>(), 0..300))
}

proptest! {
    #[test]
    fn every_response_is_classified(
        status in any::<u16>(), wall in any::<u64>(),
        kind in prop::sample::select(vec!["", "text/html", "application/json"]),
        retry_after in prop::collection::vec(0x20_u8..0x7f, 0..12),
        body in prop_oneof![
            prop::collection::vec(any::<u8>(), 0..600),
            "\\{\"error\":\\{\"(message|code|type|param)\":(\"\\PC{0,300}\"|-?[0-9]{1,30}|null)\\}\\}"
                .prop_map(String::into_bytes),
        ],
    ) {
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
        headers.insert("retry-after", HeaderValue::from_bytes(&retry_after).unwrap());
        headers.insert("location", HeaderValue::from_bytes(&retry_after).unwrap());
        let failure = classify(&UPSTREAM, &Observed::Response { status, headers: &headers, body: &body, wall_seconds: wall });
        prop_assert_eq!(failure.status, Some(status));
        prop_assert!(failure.phase != Phase::Delivered && failure.phase != Phase::NotSent);
        prop_assert!(failure.message.chars().count() <= MAX_MESSAGE && !failure.message.contains('\n'));
        prop_assert!(failure.message.contains("127.0.0.1:8033"), "{}", failure);
    }

    #[test]
    fn every_body_is_classified((which, text) in problems(), delivered in any::<bool>(), host in "\\PC{0,200}") {
        let words = String::from_utf8_lossy(&text);
        let error = ApiError { message: words.to_string(), code: words.to_string(), ..ApiError::default() };
        let after = Duration::from_mins(1);
        let problem = match which {
            0 => BodyProblem::Truncated,
            1 => BodyProblem::Reset,
            2 => BodyProblem::Stalled { after },
            3 => BodyProblem::NoProgress { after },
            4 => BodyProblem::Malformed { excerpt: &text },
            5 => BodyProblem::NotAnApi { content_type: &words, excerpt: &text },
            6 => BodyProblem::Oversize { cap: 1 },
            7 => BodyProblem::ErrorEvent { error: &error },
            _ => BodyProblem::Empty,
        };
        let upstream = Upstream { host: &host, ..UPSTREAM };
        let failure = classify(&upstream, &Observed::Body { status: 200, delivered, problem });
        prop_assert_eq!(failure.phase == Phase::Delivered, delivered);
        prop_assert!(failure.message.chars().count() <= MAX_MESSAGE && !failure.message.contains('\n'));
    }
}
