//! Errors of seawall: status, code, and what clients should do.

use super::rig::{House, cold, post, quick};
use crate::client::SendErrorKind;
use crate::client::tests::rig::secs;
use crate::client::tests::script::Step;
use crate::event::BreakerMode;
use crate::gateway::GatewayLimits;
use crate::settings::Bucket;

fn wait_of(received: &super::rig::Received) -> u64 {
    received.header("retry-after").unwrap().parse().unwrap()
}

#[tokio::test]
async fn the_limiter_answers_429_with_its_forecast() {
    let mut policy = quick();
    policy.limit.requests = Bucket {
        capacity: 1,
        refill: 1,
        per: secs(600),
    };
    let house = House::with(policy, GatewayLimits::default(), []).await;
    assert_eq!(house.chat("", &cold("a", true)).await.status, 200);
    let limited = house.chat("", &cold("b", true)).await;
    assert_eq!(
        (limited.status, limited.code().as_str()),
        (429, "seawall_rate_limited")
    );
    assert!((590..=600).contains(&wait_of(&limited)), "{limited:?}");
    assert_eq!(limited.header("x-should-retry"), None);
    house.done().await;
}

/// Claude Code states 32,000, litellm 128,000: a limit is no forecast of the answer.
#[tokio::test]
async fn a_large_answer_limit_passes_and_a_prompt_that_no_bucket_holds_does_not() {
    let house = House::new([]).await;
    let body =
        r#"{"model":"m","max_tokens":128000,"stream":true,"messages":[{"role":"user","content":"a"}]}"#;
    assert_eq!(house.chat("", body).await.status, 200);
    let large = house.chat("", &cold(&"x".repeat(100_000), true)).await;
    assert_eq!((large.status, large.code().as_str()), (413, "seawall_too_large"));
    assert_eq!(
        (large.header("x-should-retry"), large.header("retry-after")),
        (Some("false"), None)
    );
    house.done().await;
}

#[tokio::test]
async fn the_breaker_answers_503_in_the_dialect() {
    let house = House::new([]).await;
    house.rig.client.force_breaker(BreakerMode::ForcedOpen);
    let refused = house.chat("", &cold("a", true)).await;
    assert_eq!(
        (refused.status, refused.code().as_str()),
        (503, "seawall_circuit_open")
    );
    assert!(wait_of(&refused) >= 1);
    let body = r#"{"model":"m","max_tokens":9,"messages":[{"role":"user","content":"a"}]}"#;
    let refused = house.send(&post("/v1/messages", "", body)).await;
    let error: serde_json::Value = serde_json::from_str(&refused.body).unwrap();
    assert_eq!(
        (error["type"].as_str(), error["error"]["type"].as_str()),
        (Some("error"), Some("overloaded_error"))
    );
    assert_eq!(house.sent(), 0);
    house.done().await;
}

/// An app that calls two models keeps the healthy one.
#[tokio::test]
async fn the_breaker_of_a_failing_model_leaves_another_one_alone() {
    let mut policy = quick();
    policy.retry.attempts = 1;
    policy.breaker.open = secs(40);
    let failing = || Step::Fail(SendErrorKind::Refused);
    let house = House::with(
        policy,
        GatewayLimits::default(),
        std::iter::repeat_with(failing).take(5),
    )
    .await;
    let ask = |model: &str| {
        let body = format!(r#"{{"model":"{model}","messages":[{{"role":"user","content":"a"}}]}}"#);
        post("/v1/chat/completions", "", &body)
    };
    for _ in 0..5 {
        assert_eq!(house.send(&ask("bad")).await.status, 502);
    }
    let refused = house.send(&ask("bad")).await;
    assert_eq!(
        (refused.status, refused.code().as_str()),
        (503, "seawall_circuit_open")
    );
    assert!((30..=40).contains(&wait_of(&refused)), "{refused:?}");
    assert_eq!(house.send(&ask("good")).await.status, 200);
    // every format meets the same breaker
    let body = r#"{"model":"bad","max_tokens":9,"messages":[{"role":"user","content":"a"}]}"#;
    assert_eq!(house.send(&post("/v1/messages", "", body)).await.status, 503);
    assert_eq!(house.sent(), 6);
    house.done().await;
}

/// A client may write its key where the model belongs.
#[tokio::test]
async fn the_name_of_a_model_holds_no_key() {
    let house = House::new([]).await;
    let body = r#"{"model":"sk-canary-0123456789","messages":[{"role":"user","content":"a"}]}"#;
    house
        .chat("authorization: Bearer sk-canary-0123456789\r\n", body)
        .await;
    let events = serde_json::to_string(&house.rig.events()).unwrap();
    assert!(
        events.contains("breaker_admitted") && !events.contains("canary"),
        "{events}"
    );
    house.done().await;
}

#[tokio::test]
async fn the_shortest_deadline_counts_and_answers_504() {
    let house = House::new([Step::Hang, Step::Hang]).await;
    for headers in [
        "x-seawall-deadline: 0.05\r\nx-stainless-timeout: 600\r\n",
        "x-seawall-deadline: 600\r\nx-stainless-read-timeout: 0.05\r\n",
    ] {
        let late = house.chat(headers, &cold("a", true)).await;
        assert_eq!((late.status, late.code().as_str()), (504, "seawall_deadline"));
        assert_eq!(late.header("x-should-retry"), Some("false"));
    }
    house.done().await;
}

#[tokio::test]
async fn an_upstream_that_is_not_there_is_502_after_the_retries() {
    let refused = || Step::Fail(SendErrorKind::Refused);
    let house = House::new(std::iter::repeat_with(refused).take(16)).await;
    let received = house.chat("", &cold("a", true)).await;
    assert_eq!(
        (received.status, received.code().as_str()),
        (502, "seawall_upstream_failed")
    );
    assert_eq!(received.header("x-should-retry"), Some("false"));
    let attempts: usize = received.header("x-seawall-attempts").unwrap().parse().unwrap();
    assert!(attempts > 1 && attempts == house.sent());
    house.done().await;
}

/// Paths that seawall does not know pass below `/v1`, once: nothing is known of their repetition.
#[tokio::test]
async fn other_paths_pass_below_v1_and_nowhere_else() {
    let house = House::new([Step::Fail(SendErrorKind::Reset)]).await;
    let failed = house.send(&post("/v1/audio/speech", "", "{}")).await;
    assert_eq!((failed.status, house.sent()), (502, 1));
    for path in ["/admin", "/v1/../admin", "/v1/files/%2E%2e/%2e./admin", "/v1/"] {
        let outside = house.send(&post(path, "", "{}")).await;
        assert_eq!(
            (outside.status, outside.code().as_str()),
            (404, "seawall_not_found"),
            "{path}"
        );
    }
    assert_eq!(house.sent(), 1);
    house.done().await;
}
