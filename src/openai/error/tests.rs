//! Error objects as servers send them, row by row. Each row names its source.

use proptest::prelude::*;

use super::*;

/// Message, type, code, parameter, status.
type Parts<'a> = (&'a str, &'a str, &'a str, &'a str, Option<u16>);

fn parts(error: &ApiError) -> Parts<'_> {
    (
        &error.message,
        &error.kind,
        &error.code,
        &error.param,
        error.status(),
    )
}

/// Errors in a shape that counts under any status.
const ERRORS: &[(&str, &str, Parts<'_>)] = &[
    (
        "openai",
        r#"{"error":{"message":"m","type":"insufficient_quota","param":null,"code":"insufficient_quota"}}"#,
        ("m", "insufficient_quota", "insufficient_quota", "", Some(402)),
    ),
    (
        "openai, parameter",
        r#"{"error":{"message":"m","type":"invalid_request_error","param":"temperature","code":null}}"#,
        ("m", "invalid_request_error", "", "temperature", Some(400)),
    ),
    (
        "openai responses event",
        r#"{"type":"error","code":"server_error","message":"m","param":null,"sequence_number":1}"#,
        ("m", "", "server_error", "", None),
    ),
    (
        "llama.cpp",
        r#"{"error":{"code":503,"message":"Loading model","type":"unavailable_error"}}"#,
        ("Loading model", "unavailable_error", "503", "", Some(503)),
    ),
    (
        "anthropic",
        r#"{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"},"request_id":"r"}"#,
        ("Overloaded", "overloaded_error", "", "", Some(503)),
    ),
    (
        "ollama",
        r#"{"error":"model 'x' not found"}"#,
        ("model 'x' not found", "", "", "", None),
    ),
    (
        "tgi",
        r#"{"error":"Input validation error","error_type":"validation"}"#,
        ("Input validation error", "validation", "", "", Some(400)),
    ),
    (
        "hugging face",
        r#"{"error":["Error in `parameters`","more"],"warnings":[]}"#,
        ("Error in `parameters`", "", "", "", None),
    ),
    (
        "vllm",
        r#"{"object":"error","message":"the engine died","type":"InternalServerError","param":null,"code":500}"#,
        ("the engine died", "InternalServerError", "500", "", Some(500)),
    ),
    (
        "sglang",
        r#"{"error":{"object":"error","message":"m","type":"BadRequestError","param":null,"code":400}}"#,
        ("m", "BadRequestError", "400", "", Some(400)),
    ),
    (
        "mistral",
        r#"{"object":"error","message":{"detail":[{"type":"missing","loc":["body","messages"],"msg":"Field required"}]},"type":"invalid_request_error","code":null}"#,
        ("Field required", "missing", "", "messages", None),
    ),
    (
        "fastapi",
        r#"{"detail":"Not Found"}"#,
        ("Not Found", "", "", "", None),
    ),
    (
        "fastapi, object",
        r#"{"detail":{"error":{"message":"m","code":"model_not_found"}}}"#,
        ("m", "", "model_not_found", "", Some(404)),
    ),
    (
        "problem+json",
        r#"{"type":"about:blank","title":"Too Many Requests","status":429,"detail":"slow down"}"#,
        ("slow down", "about:blank", "", "", Some(429)),
    ),
    (
        "google",
        r#"[{"error":{"code":429,"message":"m","status":"RESOURCE_EXHAUSTED","details":[{"message":"no"}]}}]"#,
        ("m", "RESOURCE_EXHAUSTED", "429", "", Some(429)),
    ),
    (
        "google, status alone",
        r#"{"error":{"message":"m","status":"UNAVAILABLE"}}"#,
        ("m", "UNAVAILABLE", "", "", Some(503)),
    ),
    (
        "google behind a proxy: JSON as the message",
        r#"{"error":{"message":"{\n  \"error\": {\"code\": 503, \"message\": \"m\", \"status\": \"UNAVAILABLE\"}}","code":500}}"#,
        ("m", "UNAVAILABLE", "503", "", Some(503)),
    ),
    (
        "vertex behind a gateway: an array after words",
        r#"{"error":{"message":"upstream: [{\"error\":{\"code\":429,\"message\":\"m\"}}]"}}"#,
        ("upstream: m", "", "429", "", Some(429)),
    ),
    (
        "openrouter",
        r#"{"error":{"message":"Provider returned error","code":429,"metadata":{"raw":"{\"error\":{\"message\":\"busy\",\"type\":\"t\"}}","provider_name":"P"}},"user_id":"u"}"#,
        ("Provider returned error: busy", "", "429", "", Some(429)),
    ),
    (
        "openrouter, plain text",
        r#"{"error":{"message":"Provider returned error","code":429,"metadata":{"raw":"limited upstream"}}}"#,
        (
            "Provider returned error: limited upstream",
            "",
            "429",
            "",
            Some(429),
        ),
    ),
    (
        "openrouter, in the choice",
        r#"{"choices":[{"delta":{"content":""},"finish_reason":"error","error":{"code":502,"message":"m"}}]}"#,
        ("m", "", "502", "", Some(502)),
    ),
    (
        "pollinations",
        r#"{"success":false,"error":{"message":"m","code":"RATE_LIMITED","timestamp":"t"},"status":429}"#,
        ("m", "", "RATE_LIMITED", "", Some(429)),
    ),
    (
        "letta",
        r#"{"error":{"error":{"type":"llm_rate_limit","message":"m"},"run_id":"r"}}"#,
        ("m", "llm_rate_limit", "", "", Some(429)),
    ),
    (
        "fastify",
        r#"{"statusCode":400,"error":"Bad Request","message":"body must be object"}"#,
        ("body must be object", "Bad Request", "400", "", Some(400)),
    ),
    (
        "azure api management",
        r#"{"statusCode":429,"message":"Rate limit is exceeded. Try again in 27 seconds."}"#,
        (
            "Rate limit is exceeded. Try again in 27 seconds.",
            "",
            "429",
            "",
            Some(429),
        ),
    ),
    (
        "oauth",
        r#"{"error":"invalid_client","error_description":"m"}"#,
        ("m", "invalid_client", "", "", None),
    ),
    (
        "dashscope",
        r#"{"code":"Throttling.RateQuota","message":"m","request_id":"r"}"#,
        ("m", "", "Throttling.RateQuota", "", Some(429)),
    ),
    (
        "dashscope, unpaid",
        r#"{"code":"Arrearage","message":"m","request_id":"r"}"#,
        ("m", "", "Arrearage", "", Some(402)),
    ),
    (
        "zhipu",
        r#"{"error":{"code":"1302","message":"m"}}"#,
        ("m", "", "1302", "", Some(429)),
    ),
    (
        "siliconflow",
        r#"{"code":20012,"message":"Model does not exist","data":null}"#,
        ("Model does not exist", "", "20012", "", None),
    ),
    (
        "spark",
        r#"{"code":11202,"message":"m","sid":"s"}"#,
        ("m", "", "11202", "", Some(429)),
    ),
    (
        "qianfan",
        r#"{"code":336501,"msg":"Rate limit reached for RPM"}"#,
        ("Rate limit reached for RPM", "", "336501", "", Some(429)),
    ),
    (
        "baidu",
        r#"{"error_code":18,"error_msg":"Open api qps request limit reached"}"#,
        ("Open api qps request limit reached", "", "18", "", Some(429)),
    ),
    (
        "baidu, code alone",
        r#"{"error_code":110}"#,
        ("", "", "110", "", Some(401)),
    ),
    (
        "deepinfra",
        r#"{"id":"1","choices":[],"error_type":"BadRequestError","error_message":"m"}"#,
        ("m", "BadRequestError", "", "", Some(400)),
    ),
    (
        "minimax",
        r#"{"id":"1","choices":[],"base_resp":{"status_code":1002,"status_msg":"rate limit exceeded(RPM)"}}"#,
        ("rate limit exceeded(RPM)", "", "1002", "", Some(429)),
    ),
    (
        "minimax, null choices",
        r#"{"choices":null,"base_resp":{"status_code":1008,"status_msg":"insufficient balance"}}"#,
        ("insufficient balance", "", "1008", "", Some(402)),
    ),
    (
        "minimax, unknown",
        r#"{"base_resp":{"status_code":1000,"status_msg":"m"}}"#,
        ("m", "", "1000", "", None),
    ),
    (
        "cloudflare",
        r#"{"result":null,"success":false,"errors":[{"code":10000,"message":"Authentication error"}],"messages":[]}"#,
        ("Authentication error", "", "10000", "", None),
    ),
    (
        "github",
        r#"{"message":"Validation Failed","errors":[{"message":"m","resource":"r"}],"status":"422"}"#,
        ("m", "", "", "", Some(422)),
    ),
    (
        "apigee",
        r#"{"fault":{"faultstring":"m","detail":{"errorcode":"policies.ratelimit.SpikeArrestViolation"}}}"#,
        ("m", "", "policies.ratelimit.SpikeArrestViolation", "", Some(429)),
    ),
    (
        "spring",
        r#"{"timestamp":"t","status":503,"error":"Service Unavailable","message":"","path":"/v1"}"#,
        ("Service Unavailable", "", "", "", Some(503)),
    ),
    (
        "aws lambda",
        r#"{"errorMessage":"m","errorType":"Runtime.ExitError"}"#,
        ("m", "Runtime.ExitError", "", "", None),
    ),
    (
        "aws s3",
        r#"{"Error":{"Code":"AccessDenied","Message":"m"}}"#,
        ("m", "", "AccessDenied", "", Some(403)),
    ),
    (
        "a gateway, status as a flag",
        r#"{"status":false,"message":"m"}"#,
        ("m", "", "", "", None),
    ),
    (
        "a gateway",
        r#"{"status":"error","message":"m"}"#,
        ("m", "", "", "", None),
    ),
    (
        "a gateway, code last",
        r#"{"code":"500","msg":"m","success":false}"#,
        ("m", "", "500", "", Some(500)),
    ),
    (
        "a flag",
        r#"{"error":true,"message":"m"}"#,
        ("m", "", "", "", None),
    ),
    (
        "unknown members",
        r#"{"error":{"oops":1}}"#,
        (r#"{"error":{"oops":1}}"#, "", "", "", None),
    ),
];

/// Errors only under an error status: under a success status they may be an answer, or part of one.
const BODIES: &[(&str, &str, Parts<'_>)] = &[
    (
        "aws",
        r#"{"message":"Too many tokens"}"#,
        ("Too many tokens", "", "", "", None),
    ),
    ("aws, old", r#"{"Message":"m"}"#, ("m", "", "", "", None)),
    (
        "aws, with a type",
        r#"{"__type":"com.amazonaws#ThrottlingException","message":"m"}"#,
        ("m", "com.amazonaws#ThrottlingException", "", "", Some(429)),
    ),
    (
        "siliconflow",
        r#"{"message":"m","data":null}"#,
        ("m", "", "", "", None),
    ),
    (
        "title alone",
        r#"{"title":"Forbidden"}"#,
        ("Forbidden", "", "", "", None),
    ),
    (
        "code of success",
        r#"{"code":0,"message":"m"}"#,
        ("m", "", "", "", None),
    ),
];

/// Good answers and placeholders.
const ANSWERS: &[(&str, &str)] = &[
    ("chat", r#"{"choices":[{"message":{"content":"hi"}}],"usage":{}}"#),
    ("no choices", r#"{"choices":[]}"#),
    ("usage chunk", r#"{"choices":[],"usage":{"total_tokens":3}}"#),
    (
        "azure, prompt filter",
        r#"{"choices":[],"prompt_filter_results":[{"content_filter_results":{}}]}"#,
    ),
    ("null", r#"{"error":null,"detail":null,"choices":[]}"#),
    ("empty object", r#"{"error":{},"choices":[]}"#),
    ("empty text", r#"{"error":"","choices":[]}"#),
    ("flag", r#"{"error":false,"choices":[]}"#),
    ("empty list", r#"{"error":[],"errors":[]}"#),
    (
        "members of null",
        r#"{"error":{"message":null,"code":null,"type":""}}"#,
    ),
    ("code 0", r#"{"code":0,"message":"Success","choices":[]}"#),
    ("code 200", r#"{"code":200,"message":"done"}"#),
    ("code text", r#"{"code":"200","msg":"done"}"#),
    ("code word", r#"{"code":"success","message":"done"}"#),
    ("error_code 0", r#"{"error_code":0,"error_msg":""}"#),
    (
        "minimax",
        r#"{"choices":[],"base_resp":{"status_code":0,"status_msg":""}}"#,
    ),
    (
        "code beside an answer",
        r#"{"code":429,"message":"m","choices":[{"delta":{"content":"hi"}}]}"#,
    ),
    (
        "detail beside an answer",
        r#"{"detail":"m","choices":[{"delta":{"content":"hi"}}]}"#,
    ),
    (
        "an error of null in the choice",
        r#"{"choices":[{"delta":{},"error":null}]}"#,
    ),
    ("ping", r#"{"type":"ping"}"#),
    ("list", "[]"),
    ("text", r#""error""#),
];

#[test]
fn reads_every_shape_under_any_status() {
    for (source, json, wanted) in ERRORS {
        let value: Value = serde_json::from_str(json).unwrap();
        let error = ApiError::in_answer(&value).unwrap_or_else(|| panic!("{source}"));
        assert_eq!(parts(&error), *wanted, "{source}");
        assert_eq!(ApiError::parse(json.as_bytes()), Some(error), "{source}");
    }
}

#[test]
fn reads_more_shapes_under_an_error_status() {
    for (source, json, wanted) in BODIES {
        let value: Value = serde_json::from_str(json).unwrap();
        assert_eq!(ApiError::in_answer(&value), None, "{source}");
        let error = ApiError::parse(json.as_bytes()).unwrap_or_else(|| panic!("{source}"));
        assert_eq!(parts(&error), *wanted, "{source}");
    }
}

#[test]
fn an_answer_is_no_error() {
    for (source, json) in ANSWERS {
        let value: Value = serde_json::from_str(json).unwrap();
        assert_eq!(ApiError::in_answer(&value), None, "{source}");
    }
    assert_eq!(ApiError::parse(b"Internal Server Error"), None);
    assert_eq!(ApiError::parse(br#"{"choices":[]}"#), None);
    assert_eq!(ApiError::parse(br#"{"message":"","choices":[{}]}"#), None);
}

#[test]
fn a_name_means_a_status() {
    for (status, names) in [
        (
            400,
            [
                "INVALID_ARGUMENT",
                "ValidationException",
                "ContextWindowExceededError",
            ]
            .as_slice(),
        ),
        (401, &["UNAUTHENTICATED", "InvalidApiKey", "AuthenticationError"]),
        (402, &["insufficient_balance", "AccountOverdueError"]),
        (403, &["PERMISSION_DENIED", "AccessDeniedException"]),
        (
            404,
            &["NOT_FOUND", "NotFoundError", "InvalidEndpointOrModel.NotFound"],
        ),
        (409, &["ABORTED"]),
        (413, &["RequestTooLarge", "request_too_large"]),
        (
            429,
            &[
                "RateLimitError",
                "Throttling.AllocationQuota",
                "ThrottlingException",
                "rate_limit_reached_error",
            ],
        ),
        (501, &["UNIMPLEMENTED"]),
        (
            503,
            &[
                "ServiceUnavailableError",
                "ServerOverloaded",
                "engine_overloaded_error",
                "capacity_exceeded",
            ],
        ),
        (504, &["DEADLINE_EXCEEDED", "APITimeoutError", "timeout_error"]),
    ] {
        for name in names {
            let code = ApiError {
                code: (*name).to_owned(),
                ..ApiError::default()
            };
            let kind = ApiError {
                kind: (*name).to_owned(),
                ..ApiError::default()
            };
            assert_eq!(
                (code.status(), kind.status()),
                (Some(status), Some(status)),
                "{name}"
            );
        }
    }
    for name in [
        "server_error",
        "api_error",
        "InternalServerError",
        "INTERNAL",
        "UNKNOWN",
        "generation",
        "",
    ] {
        assert_eq!(named(name), None, "{name}");
    }
}

fn json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i32>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        "\\PC{0,20}".prop_map(Value::from),
        Just(Value::from(r#"{"error":{"message":"m"}}"#)),
    ];
    leaf.prop_recursive(4, 24, 4, |inner| {
        let keys: Vec<&str> = [
            MESSAGES,
            CODES,
            KINDS,
            INNER,
            &["choices", "metadata", "raw", "success", "loc"],
        ]
        .concat();
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::hash_map(prop::sample::select(keys), inner, 0..5).prop_map(|map| map
                .into_iter()
                .map(|(key, value)| (key.to_owned(), value))
                .collect()),
        ]
    })
}

proptest! {
    #[test]
    fn tolerates_any_json(value in json()) {
        if let Some(error) = ApiError::in_answer(&value) {
            prop_assert!(!error.message.is_empty() || !error.kind.is_empty() || !error.code.is_empty());
            let body = value.to_string();
            // f64 that JSON cannot hold
            if serde_json::from_str::<Value>(&body).unwrap() == value {
                prop_assert_eq!(ApiError::parse(body.as_bytes()), Some(error));
            }
        }
    }
}
