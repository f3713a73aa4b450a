//! Bytes and headers, in both directions.

use std::sync::Arc;

use tokio::sync::Notify;

use super::rig::{House, cold, gated, post};
use crate::client::tests::script::{Part, Reply, error, whole};
use crate::event::{EventKind, Fate};

#[tokio::test]
async fn a_request_and_its_answer_pass_unchanged() {
    let answer = "{ \"id\":\"x\",\"model\":\"m\", \"unknown\" : [1.0, {}],\n \"choices\":[{\"message\":{\"content\":\"hi\"},\
                  \"finish_reason\":\"stop\"}]}";
    let reply = Reply::status(200)
        .header("x-request-id", "req_1")
        .header("x-ratelimit-remaining-requests", "7")
        .header("set-cookie", "a=b")
        .header("keep-alive", "timeout=5")
        .header("x-should-retry", "true")
        .bytes(answer);
    let house = House::new([reply.into()]).await;
    let body =
        "{\"messages\" : [ {\"role\":\"user\",\"content\":\"\\u0041\"} ],\t\"unknown\":1.50,\"model\":\"m\"}";
    let headers = "Authorization: Bearer sk-client\r\nCookie: a=b\r\nOpenAI-Organization: org\r\n\
                   Te: trailers\r\nKeep-Alive: 5\r\nX-Stainless-Lang: python\r\n";
    let received = house
        .send(&post("/v1/chat/completions?api-version=1", headers, body))
        .await;
    assert_eq!((received.status, received.body.as_str()), (200, answer));
    assert_eq!(received.header("x-request-id"), Some("req_1"));
    assert_eq!(received.header("x-ratelimit-remaining-requests"), Some("7"));
    assert_eq!(received.header("x-seawall-attempts"), Some("1"));
    assert_eq!(received.header("x-seawall-call"), Some("1"));
    assert_eq!(received.header("x-seawall-queue-ms"), Some("0"));
    assert_eq!(received.cache(), "bypass");
    for dropped in ["set-cookie", "keep-alive", "x-should-retry"] {
        assert_eq!(received.header(dropped), None);
    }
    let sent = house.rig.upstream.sent().remove(0);
    assert_eq!(sent.body, body);
    let wire = sent.wire.unwrap();
    assert_eq!(wire.query.as_deref(), Some("api-version=1"));
    let names = ["authorization", "openai-organization", "x-stainless-lang"];
    assert!(
        names.iter().all(|name| wire.headers.contains_key(*name)),
        "{:?}",
        wire.headers
    );
    let kept = [
        "cookie",
        "te",
        "keep-alive",
        "connection",
        "host",
        "content-length",
    ];
    assert!(
        kept.iter().all(|name| !wire.headers.contains_key(*name)),
        "{:?}",
        wire.headers
    );
    house.done().await;
}

#[tokio::test]
async fn events_pass_as_they_come_with_comments_and_unknown_fields() {
    let reply = Reply::stream()
        .bytes(": ping\n\n")
        .word("a")
        .bytes("event: odd\r\ndata: {\"odd\":1}\r\n\r\n")
        .word("b")
        .stop()
        .done();
    let bytes: String = reply
        .clone()
        .into_parts()
        .iter()
        .map(|part| match part {
            Part::Bytes(bytes) => String::from_utf8_lossy(bytes).into_owned(),
            other => panic!("{other:?}"),
        })
        .collect();
    let house = House::new([reply.into()]).await;
    let received = house.chat("", &cold("a", true)).await;
    assert_eq!((received.body, received.complete), (bytes, true));
    house.done().await;
}

#[tokio::test]
async fn the_last_error_of_the_upstream_passes_with_its_id() {
    let refusal = || error(400, "invalid_request_error", "no such field").header("x-request-id", "req_9");
    let house = House::new([refusal().into()]).await;
    let received = house.chat("", &cold("a", false)).await;
    assert_eq!(
        (received.status, received.header("x-request-id")),
        (400, Some("req_9"))
    );
    assert!(received.body.contains("no such field"));
    assert_eq!(received.header("x-should-retry"), Some("false"));
    house.done().await;
    let long = "no such field ".repeat(10_000);
    let house = House::new([error(400, "invalid_request_error", &long).into()]).await;
    let received = house.chat("", &cold("a", false)).await;
    assert!(received.body.contains(&long), "{} bytes", received.body.len());
    house.done().await;
}

/// The client would take what follows on its connection for another protocol.
#[tokio::test]
async fn a_switch_of_protocols_does_not_pass() {
    let house = House::new([Reply::status(101).into(), Reply::status(101).into()]).await;
    let received = house.chat("", &cold("a", false)).await;
    assert!(received.status >= 500, "{received:?}");
    assert_eq!(received.code(), "seawall_upstream_failed");
    house.done().await;
}

#[tokio::test]
async fn a_stream_that_breaks_before_its_content_is_retried() {
    let broken = Reply::stream().event(r#"{"choices":[{"index":0,"delta":{"role":"assistant"}}]}"#);
    let house = House::new([broken.part(Part::Cut).into(), Reply::says(&["good"]).into()]).await;
    let received = house.chat("", &cold("a", true)).await;
    assert_eq!(
        (received.status, received.header("x-seawall-attempts")),
        (200, Some("2"))
    );
    assert!(received.body.contains("good") && received.complete);
    house.done().await;
}

#[tokio::test]
async fn a_stream_that_breaks_after_content_ends_with_an_error_event_and_broken_framing() {
    let cut = || Reply::stream().word("so far").part(Part::Cut).into();
    let house = House::new([cut()]).await;
    let received = house.chat("", &cold("a", true)).await;
    assert_eq!(received.status, 200);
    let last = received.body.trim_end().rsplit("\n\n").next().unwrap();
    assert!(last.starts_with("data: {\"error\":{"), "{}", received.body);
    assert!(last.contains("seawall_stream_broken"), "{last}");
    assert!(!received.complete && received.body.contains("so far"));
    assert_eq!(house.sent(), 1, "no other attempt after content");
    assert_eq!(house.rig.fates(), [Fate::Interrupted]);
    house.done().await;
}

#[tokio::test]
async fn a_client_that_leaves_cancels_its_call() {
    let gate = Arc::new(Notify::new());
    let house = House::new([gated("first", &gate)]).await;
    let client = house.streaming("first").await;
    drop(client);
    house
        .until(|rig| rig.fates() == [Fate::Cancelled] && rig.upstream.open() == 0)
        .await;
    house.done().await;
}

#[tokio::test]
async fn a_late_follower_gets_all_of_a_shared_stream_though_its_first_client_leaves() {
    let gate = Arc::new(Notify::new());
    let house = House::new([gated("first", &gate)]).await;
    let request = post("/v1/chat/completions", "", &cold("a", true));
    let mut owner = house.connect().await;
    owner.write(&request).await;
    owner.read_until("first").await;
    let mut follower = house.connect().await;
    follower.write(&request).await;
    follower.read_until("first").await;
    drop(owner);
    house.until(|rig| rig.fates() == [Fate::Cancelled]).await;
    gate.notify_one();
    let received = follower.rest().await;
    assert_eq!((received.cache(), received.complete), ("shared", true));
    assert!(
        received.body.contains("first") && received.body.ends_with("data: [DONE]\n\n"),
        "{}",
        received.body
    );
    assert_eq!(house.sent(), 1);
    let joined = house
        .rig
        .find(|event| matches!(event.kind, EventKind::FlightJoined { .. }).then_some(()));
    assert_eq!(joined.len(), 1);
    house.done().await;
}

#[tokio::test]
async fn an_idempotency_key_is_for_one_request() {
    let house = House::new([whole("once").into()]).await;
    let key = "Idempotency-Key: \"k\"\r\n";
    let body = r#"{"messages":[{"role":"user","content":"a"}]}"#;
    let (first, second) = (house.chat(key, body).await, house.chat(key, body).await);
    assert_eq!(
        (first.body.clone(), house.sent()),
        (second.body.clone(), 1),
        "{second:?}"
    );
    assert_eq!(second.cache(), "hit");
    let other = house.chat(key, &cold("b", false)).await;
    assert_eq!(
        (other.status, other.code().as_str()),
        (422, "seawall_invalid_request")
    );
    house.done().await;
}
