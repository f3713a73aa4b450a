//! The end of the gateway, and calls that are stopped from the control room.

use std::sync::Arc;

use tokio::net::TcpStream;
use tokio::sync::Notify;

use super::rig::{House, cold, gated, post, quick};
use crate::client::tests::rig::millis;
use crate::client::tests::script::Step;
use crate::event::{Fate, Origin};
use crate::gateway::GatewayLimits;

#[tokio::test]
async fn a_stop_lets_running_calls_end_and_accepts_no_more() {
    let gate = Arc::new(Notify::new());
    let house = House::new([gated("first", &gate)]).await;
    let client = house.streaming("first").await;
    let idle = house.connect().await;
    let address = house.gateway.address();
    let ends = async {
        // the stop has begun once nothing listens
        while TcpStream::connect(address).await.is_ok() {
            tokio::task::yield_now().await;
        }
        gate.notify_one();
        client.rest().await
    };
    let ((), received) = tokio::join!(house.gateway.stop(), super::rig::patiently(ends));
    assert!(
        received.complete && received.body.ends_with("data: [DONE]\n\n"),
        "{received:?}"
    );
    assert_eq!(house.rig.fates(), [Fate::Answered]);
    drop(idle);
    house.done().await;
}

#[tokio::test]
async fn streams_that_outlast_the_drain_end_with_an_error_event() {
    let limits = GatewayLimits {
        drain_time: millis(20),
        ..GatewayLimits::default()
    };
    let gate = Arc::new(Notify::new());
    let house = House::with(quick(), limits, [gated("first", &gate)]).await;
    let client = house.streaming("first").await;
    let ((), received) = tokio::join!(house.gateway.stop(), client.rest());
    assert!(
        !received.complete && received.body.contains("\"error\""),
        "{received:?}"
    );
    assert_eq!(house.rig.fates(), [Fate::Cancelled]);
    house.done().await;
}

#[tokio::test]
async fn cancelled_calls_get_an_error_and_others_go_on() {
    let gate = Arc::new(Notify::new());
    let house = House::new([gated("first", &gate), Step::Hang]).await;
    let request = post("/v1/chat/completions", "", &cold("a", true));
    let (mut owner, mut follower) = (house.connect().await, house.connect().await);
    owner.write(&request).await;
    owner.read_until("first").await;
    follower.write(&request).await;
    follower.read_until("first").await;
    // one of two that share a flight: the other gets the whole answer
    house.rig.client.cancel(Origin::Gateway, |call| call.0 == 1);
    let stopped = owner.rest().await;
    assert!(
        !stopped.complete && stopped.body.contains("\"error\""),
        "{stopped:?}"
    );
    gate.notify_one();
    assert!(follower.rest().await.complete);
    // before its first byte
    let mut waiting = house.connect().await;
    waiting
        .write(&post("/v1/chat/completions", "", &cold("b", false)))
        .await;
    house.until(|rig| rig.upstream.sent().len() == 2).await;
    house.rig.client.cancel(Origin::Library, |_| true);
    house.rig.client.cancel(Origin::Gateway, |_| true);
    let stopped = waiting.rest().await;
    assert_eq!(
        (stopped.status, stopped.code().as_str()),
        (503, "seawall_cancelled")
    );
    assert_eq!(stopped.header("x-should-retry"), Some("false"));
    assert_eq!(
        house.rig.fates(),
        [Fate::Cancelled, Fate::Answered, Fate::Cancelled]
    );
    house.done().await;
}
