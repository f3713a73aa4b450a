//! Stored answers: their shape, the directives of clients, and the separation of tenants.

use std::sync::Arc;

use tokio::sync::Notify;

use super::rig::{House, cold, gated, post, quick};
use crate::client::tests::script::{Reply, error, whole};
use crate::gateway::{Credentials, GatewayLimits, KeyRing};
use crate::settings::SemanticMode;

#[tokio::test]
async fn a_hit_has_the_shape_that_was_asked_for() {
    let house = House::new([Reply::says(&["a", "b"]).into(), whole("ab").into()]).await;
    let mut bodies = Vec::new();
    for (stream, cache) in [(true, "miss"), (true, "hit"), (false, "miss"), (false, "hit")] {
        let received = house.chat("", &cold("a", stream)).await;
        assert_eq!((received.status, received.cache()), (200, cache), "{received:?}");
        let kind = if stream {
            "text/event-stream"
        } else {
            "application/json"
        };
        assert_eq!(received.header("content-type"), Some(kind));
        assert!(received.complete);
        bodies.push(received.body);
    }
    assert_eq!((&bodies[0], &bodies[2]), (&bodies[1], &bodies[3]));
    assert_eq!(house.sent(), 2);
    house.done().await;
}

#[tokio::test]
async fn a_client_says_whether_answers_are_looked_up_and_stored() {
    for (directive, then, cache) in [
        // the directive of the first request, the cache's answer to it, and to one without a directive
        ("x-seawall-cache: bypass\r\n", "bypass", "miss"),
        ("x-seawall-cache: refresh\r\n", "bypass", "hit"),
        ("cache-control: no-store\r\n", "miss", "miss"),
        ("cache-control: no-cache, max-age=0\r\n", "bypass", "hit"),
    ] {
        let house = House::new([]).await;
        let first = house.chat(directive, &cold("a", true)).await;
        assert_eq!(first.cache(), then, "{directive}");
        let second = house.chat("", &cold("a", true)).await;
        assert_eq!(second.cache(), cache, "{directive}");
        // nothing that asks for another answer gets this one
        let third = house.chat(directive, &cold("a", true)).await;
        let looked_up = directive.contains("no-store");
        assert_eq!(third.cache() == "hit", looked_up, "{directive}");
        house.done().await;
    }
}

#[tokio::test]
async fn a_similar_prompt_is_answered_by_the_semantic_cache() {
    let mut policy = quick();
    policy.semantic.mode = SemanticMode::On;
    policy.semantic.threshold = Some(0.3);
    policy.semantic.guards = false;
    let house = House::with(policy, GatewayLimits::default(), []).await;
    let stored = house.chat("", &cold("the red boat sails", true)).await;
    let similar = house.chat("", &cold("the red boat sails today", true)).await;
    assert_eq!((stored.cache(), similar.cache()), ("miss", "semantic"));
    assert_eq!(
        (stored.body, similar.header("x-seawall-attempts")),
        (similar.body.clone(), Some("0"))
    );
    assert_eq!(house.sent(), 1);
    house.done().await;
}

fn keys() -> Credentials {
    let empty = KeyRing::new("salt", []);
    let keys = ["ana", "ben"].map(|name| {
        (
            name.to_owned(),
            empty.hash(format!("sw-{name}-canary").as_bytes()),
        )
    });
    Credentials::of_clients(false).with_keys(KeyRing::new("salt", keys))
}

/// The canary: what one tenant asks and gets is not seen by another, with gateway keys and without.
#[tokio::test]
async fn one_tenant_never_gets_the_answer_or_the_flight_of_another() {
    for credentials in [keys(), Credentials::of_clients(false)] {
        let gate = Arc::new(Notify::new());
        let steps = [
            Reply::says(&["secret of ana"]).into(),
            Reply::says(&["for ben"]).into(),
            gated("secret of ana", &gate),
            Reply::says(&["for ben"]).into(),
            whole("secret of ana").into(),
            whole("for ben").into(),
        ];
        let house = House::guarded(quick(), GatewayLimits::default(), credentials, steps).await;
        let (ana, ben) = (
            "Authorization: Bearer sw-ana-canary\r\n",
            "x-api-key: sw-ben-canary\r\n",
        );
        // the stored answer
        house.chat(ana, &cold("same", true)).await;
        let other = house.chat(ben, &cold("same", true)).await;
        assert!(
            other.body.contains("for ben") && !other.body.contains("ana"),
            "{other:?}"
        );
        assert_eq!(house.chat(ben, &cold("same", true)).await.cache(), "hit");
        // the flight
        let mut running = house.connect().await;
        running
            .write(&post("/v1/chat/completions", ana, &cold("running", true)))
            .await;
        running.read_until("secret").await;
        let other = house.chat(ben, &cold("running", true)).await;
        assert!(
            other.body.contains("for ben") && !other.body.contains("ana"),
            "{other:?}"
        );
        gate.notify_one();
        running.rest().await;
        // the idempotency key
        let key = "Idempotency-Key: k\r\n";
        house.chat(&format!("{ana}{key}"), &cold("keyed", false)).await;
        let other = house.chat(&format!("{ben}{key}"), &cold("keyed", false)).await;
        assert!(other.body.contains("for ben"), "{other:?}");
        assert_eq!(house.sent(), 6);
        house.done().await;
    }
}

#[tokio::test]
async fn a_key_is_in_no_event_and_gateway_keys_stay_here() {
    let echo = |key: &str| error(401, "invalid_request_error", &format!("Incorrect API key: {key}"));
    let spelled: Vec<String> = "zz-ana-canary".chars().map(String::from).collect();
    let spelled: Vec<&str> = spelled.iter().map(String::as_str).collect();
    let steps = [
        echo("zz-ana-canary").into(),
        Reply::says(&spelled).into(),
        Reply::status(200).bytes("no JSON zz-ana-canary").into(),
        Reply::status(200).bytes("no JSON zz-ana-canary").into(),
    ];
    let mut policy = quick();
    policy.semantic.mode = SemanticMode::Shadow;
    let house = House::with(policy, GatewayLimits::default(), steps).await;
    let asks = |prompt: &str| cold(&format!("my key is zz-ana-canary{prompt}"), true);
    // the last two are compared with what is stored
    for prompt in ["", "", "", ", is it not", ", what else"] {
        house
            .chat("Authorization: Bearer zz-ana-canary\r\n", &asks(prompt))
            .await;
    }
    let written = serde_json::to_string(&house.rig.events()).unwrap();
    assert!(!written.contains("canary"), "{written}");
    for found in [
        "rejected the key in authorization",
        "\"differs\":[",
        "\"similarity\":",
    ] {
        assert!(written.contains(found), "{found} in {written}");
    }
    house.done().await;

    let house = House::guarded(quick(), GatewayLimits::default(), keys(), []).await;
    let known = "Authorization: Bearer sw-ana-canary\r\n";
    let asks = cold("my key is sw-ana-canary", true);
    assert_eq!(house.chat(known, &asks).await.status, 200);
    let wire = house.rig.upstream.sent().remove(0).wire.unwrap();
    assert!(!wire.headers.contains_key("authorization"));
    let unknown = house
        .chat("x-api-key: sw-unknown-canary\r\n", &cold("a", true))
        .await;
    assert_eq!(
        (unknown.status, unknown.code().as_str()),
        (401, "seawall_unauthorized")
    );
    assert!(!unknown.body.contains("canary"));
    let written = serde_json::to_string(&house.rig.events()).unwrap();
    assert!(!written.contains("canary"), "{written}");
    assert!(written.contains("\"ana\""), "the tenant is the name of the key");
    house.done().await;
}
