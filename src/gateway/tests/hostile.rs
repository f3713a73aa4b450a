//! Bad input: it gets an error, makes no call, and costs the others nothing.

use std::time::Duration;

use super::rig::{Client, House, cold, post, quick};
use crate::client::tests::rig::millis;
use crate::client::tests::script::{Part, Reply};
use crate::event::{Fate, Origin};
use crate::gateway::{Credentials, Gateway, GatewayConfig, GatewayError, GatewayLimits, KeyRing};

/// A gateway with small limits.
async fn narrow() -> House {
    let limits = GatewayLimits {
        connections: 8,
        body_bytes: 1000,
        head_time: millis(100),
        body_time: millis(100),
        ..GatewayLimits::default()
    };
    House::with(quick(), limits, []).await
}

/// A request with these lines of a head.
fn raw(lines: &str, body: &str) -> String {
    format!("POST /v1/chat/completions HTTP/1.1\r\nconnection: close\r\n{lines}\r\n{body}")
}

/// Requests, and the status and code of their errors.
fn bad_requests() -> Vec<(String, u16, &'static str)> {
    let ok = "host: localhost\r\ncontent-type: application/json\r\n";
    let deep = "[".repeat(200) + &"]".repeat(200);
    let deep = format!("{{\"messages\":{deep}}}");
    let long = "x".repeat(2000);
    vec![
        (
            raw("host: evil.example\r\ncontent-length: 2\r\n", "{}"),
            403,
            "seawall_bad_host",
        ),
        (raw("content-length: 2\r\n", "{}"), 403, "seawall_bad_host"),
        (
            raw(
                &format!("{ok}origin: http://evil.example\r\ncontent-length: 2\r\n"),
                "{}",
            ),
            403,
            "seawall_bad_origin",
        ),
        (
            raw(
                "host: localhost\r\ncontent-type: text/plain\r\ncontent-length: 2\r\n",
                "{}",
            ),
            415,
            "seawall_media_type",
        ),
        (
            raw(&format!("{ok}content-length: 2\r\n"), "[]"),
            400,
            "seawall_bad_json",
        ),
        (
            raw(&format!("{ok}content-length: {}\r\n", deep.len()), &deep),
            400,
            "seawall_bad_json",
        ),
        (
            raw(&format!("{ok}content-length: {}\r\n", long.len()), &long),
            413,
            "seawall_too_large",
        ),
        (
            raw(
                &format!("{ok}content-length: 9000\r\nexpect: 100-continue\r\n"),
                "",
            ),
            413,
            "seawall_too_large",
        ),
        (
            raw(
                &format!("{ok}content-length: 2\r\ntransfer-encoding: chunked\r\n"),
                "2\r\n{}\r\n0\r\n\r\n",
            ),
            400,
            "seawall_bad_request",
        ),
        (
            raw(
                &format!("{ok}Transfer-Encoding: chunked\r\nContent-Length: 2\r\n"),
                "2\r\n{}\r\n0\r\n\r\n",
            ),
            400,
            "seawall_bad_request",
        ),
        // a byte of the body, and no more
        (
            raw(&format!("{ok}content-length: 2\r\n"), "{"),
            408,
            "seawall_slow_body",
        ),
    ]
}

#[tokio::test]
async fn bad_requests_get_an_error_and_make_no_call() {
    let house = narrow().await;
    for (request, status, code) in bad_requests() {
        let received = house.send(request.as_bytes()).await;
        assert_eq!(
            (received.status, received.code().as_str()),
            (status, code),
            "{request}"
        );
        assert_eq!(received.header("x-should-retry"), Some("false"), "{request}");
    }
    // rejected by the parser, without a dialect
    let oversized = raw(
        &format!("host: localhost\r\nx-long: {}\r\n", "x".repeat(100 << 10)),
        "",
    );
    assert_eq!(house.send(oversized.as_bytes()).await.status, 431);
    assert_eq!((house.sent(), house.rig.fates()), (0, Vec::new()));
    house.done().await;
}

#[tokio::test]
async fn chunked_bodies_and_kept_connections_work() {
    let house = narrow().await;
    let mut client = house.connect().await;
    let chunked = |close: &str| {
        let body = cold("a", false);
        format!(
            "POST /v1/chat/completions HTTP/1.1\r\nhost: 127.0.0.1:4000\r\n{close}transfer-encoding: chunked\r\n\r\n\
             {:x}\r\n{body}\r\n0\r\n\r\n",
            body.len()
        )
    };
    client.write(chunked("").as_bytes()).await;
    client.read_until("[DONE]").await;
    client.write(chunked("connection: close\r\n").as_bytes()).await;
    assert!(client.rest().await.body.contains("[DONE]"));
    assert_eq!(house.rig.fates(), [Fate::Answered, Fate::Hit]);
    house.done().await;
}

#[tokio::test]
async fn a_slow_head_is_closed_and_others_are_served_meanwhile() {
    let house = narrow().await;
    let mut slow = house.connect().await;
    slow.write(b"POST /v1/chat/completions HTTP/1.1\r\nhost: lo")
        .await;
    assert_eq!(house.chat("", &cold("a", true)).await.status, 200);
    let received = slow.rest().await;
    assert!([0, 408].contains(&received.status), "{received:?}");
    house.done().await;
}

#[tokio::test]
async fn connections_above_the_limit_get_503_at_once_and_the_others_go_on() {
    let limits = GatewayLimits {
        connections: 8,
        ..GatewayLimits::default()
    };
    let house = House::with(quick(), limits, []).await;
    let mut idle = Vec::new();
    for _ in 0..8 {
        let mut client = house.connect().await;
        // answered: the connection has its place
        client
            .write(b"GET /health HTTP/1.1\r\nhost: localhost\r\n\r\n")
            .await;
        client.read_until("ok").await;
        idle.push(client);
    }
    for _ in 0..50 {
        let full = house.chat("", &cold("a", true)).await;
        if full.status == 0 {
            // more rejected clients than are kept to read their answer
            continue;
        }
        assert_eq!(
            (full.status, full.code().as_str(), full.complete),
            (503, "seawall_too_many_connections", true)
        );
        assert_eq!(full.header("retry-after"), Some("1"));
    }
    let mut served = idle.pop().unwrap();
    served
        .write(&post("/v1/chat/completions", "", &cold("a", true)))
        .await;
    served.read_until("[DONE]").await;
    assert_eq!(house.sent(), 1);
    drop((idle, served));
    house.done().await;
}

/// The median time of twenty calls on a kept connection.
async fn median(house: &House, client: &mut Client, name: &str) -> Duration {
    let mut times = Vec::new();
    for number in 0..20 {
        times.push(client.timed(house, &format!("{name} {number}")).await);
    }
    times.sort();
    times[10]
}

/// Row 66 of the fault matrix, with the default limits.
#[tokio::test]
async fn a_thousand_idle_and_slow_connections_cost_the_others_no_time() {
    let mut policy = quick();
    policy.limit.enabled = false;
    let house = House::with(policy, GatewayLimits::default(), []).await;
    let mut other = house.connect().await;
    let calm = median(&house, &mut other, "calm").await;
    let slow = [
        // nothing, a part of a head, and a part of a body
        "",
        "POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\nx-slow: ",
        "POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\ncontent-length: 9000\r\n\r\n{",
    ];
    let mut held = Vec::new();
    let mut refused = 0;
    for number in 0..1000 {
        let mut client = house.connect().await;
        if held.len() < 255 {
            client.write(slow[number % slow.len()].as_bytes()).await;
            held.push(client);
        } else {
            let answer = client.rest().await;
            refused += usize::from([0, 503].contains(&answer.status));
        }
    }
    assert_eq!(refused, 745);
    // they send on, byte by byte, while the other client is served
    let drips = async {
        loop {
            for (_, client) in held.iter_mut().enumerate().filter(|(number, _)| number % 3 > 0) {
                client.write(b" ").await;
            }
            house.rig.sleep(millis(1)).await;
        }
    };
    let attacked = tokio::select! {
        attacked = median(&house, &mut other, "attacked") => attacked,
        () = drips => Duration::MAX,
    };
    assert!(attacked < calm * 10, "{calm:?}, under attack {attacked:?}");
    assert_eq!(house.sent(), 40, "no call of the attackers");
    drop((held, other));
    house.done().await;
}

#[tokio::test]
async fn a_client_that_never_reads_is_dropped_and_its_upstream_cancelled() {
    let mut policy = quick();
    policy.timeouts.max_response_bytes = 64 << 20;
    let limits = GatewayLimits {
        write_time: millis(50),
        ..GatewayLimits::default()
    };
    let word = "x".repeat(256 << 10);
    let flood = (0..100).fold(Reply::stream(), |reply, _| reply.word(&word));
    let hangs = flood.part(Part::Hang);
    let house = House::with(policy, limits, [hangs.into()]).await;
    let mut client = house.connect().await;
    client
        .write(&post("/v1/chat/completions", "", &cold("a", true)))
        .await;
    house
        .until(|rig| rig.fates() == [Fate::Cancelled] && rig.upstream.open() == 0)
        .await;
    assert_eq!(
        house.rig.client.held().flights,
        0,
        "and with the flight its bytes"
    );
    drop(client);
    house.done().await;
}

/// hyper asks for no more of a body meanwhile, and no task runs the work of a call that is not shared.
#[tokio::test]
async fn a_call_ends_by_its_deadline_and_by_a_stop_while_its_client_reads_nothing() {
    let mut policy = quick();
    policy.timeouts.max_response_bytes = 64 << 20;
    let word = "x".repeat(256 << 10);
    let flood = || {
        (0..100)
            .fold(Reply::stream(), |reply, _| reply.word(&word))
            .part(Part::Hang)
    };
    let house = House::with(policy, GatewayLimits::default(), [flood().into(), flood().into()]).await;
    let body = r#"{"model":"m","stream":true,"messages":[{"role":"user","content":"a"}]}"#;
    let mut late = house.connect().await;
    let deadline = "x-seawall-deadline: 1\r\n";
    late.write(&post("/v1/chat/completions", deadline, body)).await;
    house.until(|rig| rig.fates() == [Fate::Interrupted]).await;
    let mut stopped = house.connect().await;
    stopped.write(&post("/v1/chat/completions", "", body)).await;
    stopped.read_until("xxx").await;
    house.rig.client.cancel(Origin::Gateway, |_| true);
    house
        .until(|rig| rig.fates().len() == 2 && rig.upstream.open() == 0)
        .await;
    assert_eq!(house.rig.fates(), [Fate::Interrupted, Fate::Cancelled]);
    drop((late, stopped));
    house.done().await;
}

#[tokio::test]
async fn a_client_that_reads_late_gets_all_of_a_broken_stream_and_its_error() {
    let word = "x".repeat(256 << 10);
    let flood = (0..32).fold(Reply::stream(), |reply, _| reply.word(&word));
    let house = House::new([flood.part(Part::Cut).into()]).await;
    let mut client = house.connect().await;
    client
        .write(&post("/v1/chat/completions", "", &cold("a", true)))
        .await;
    // more than the sockets hold has come, and then the break
    house.until(|rig| rig.fates() == [Fate::Interrupted]).await;
    let received = client.rest().await;
    assert!(!received.complete && received.body.len() > 32 * word.len());
    let last = received.body.trim_end().rsplit("\n\n").next().unwrap();
    assert!(last.contains("seawall_stream_broken"), "{}", last.len());
    house.done().await;
}

/// One client cannot make seawall keep more than one answer's worth.
#[tokio::test]
async fn what_is_kept_for_a_client_that_never_reads_is_bounded() {
    let mut policy = quick();
    policy.timeouts.max_response_bytes = 1 << 20;
    let word = "x".repeat(64 << 10);
    let flood = (0..100).fold(Reply::stream(), |reply, _| reply.word(&word));
    let hangs = flood.part(Part::Hang);
    let house = House::with(policy, GatewayLimits::default(), [hangs.into()]).await;
    let mut client = house.connect().await;
    client
        .write(&post("/v1/chat/completions", "", &cold("a", true)))
        .await;
    house
        .until(|rig| rig.fates() == [Fate::Interrupted] && rig.upstream.open() == 0)
        .await;
    let received = client.rest().await;
    assert!(
        received.body.len() < (1 << 20) + 2 * word.len(),
        "{}",
        received.body.len()
    );
    assert!(!received.complete && received.body.contains("seawall_stream_broken"));
    house.done().await;
}

#[tokio::test]
async fn a_gateway_refuses_an_address_in_use_and_one_that_strangers_reach() {
    let house = House::new([]).await;
    let config = |listen, credentials| GatewayConfig {
        listen,
        credentials,
        limits: GatewayLimits::default(),
    };
    let clients = || Credentials::of_clients(false);
    let start = |config| Gateway::start(config, house.rig.client.clone(), &house.rig.env);
    let error = start(config(house.gateway.address(), clients()))
        .await
        .unwrap_err();
    assert!(matches!(error, GatewayError::Listen { .. }), "{error}");
    assert!(
        error.to_string().contains(&house.gateway.address().to_string()),
        "{error}"
    );
    let everywhere = "0.0.0.0:0".parse().unwrap();
    let error = start(config(everywhere, clients())).await.unwrap_err();
    assert!(error.to_string().contains("seawall key add"), "{error}");
    let ring = KeyRing::new("salt", [("web".to_owned(), String::new())]);
    let guarded = start(config(everywhere, clients().with_keys(ring)))
        .await
        .unwrap();
    guarded.stop().await;
    house.done().await;
}
