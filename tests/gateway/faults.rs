//! Each fault of the chooser in each dialect: the client gets an error of its dialect or all of the answer, and never
//! a clean end after a part.

use std::time::Duration;

use seawall::session::{Session, SessionConfig, UpstreamConfig};
use seawall::settings::{FaultKind as F, FaultProfile, Policy};
use serde_json::Value;

use crate::client::{Client, DIALECTS, Seen, body, gateway};
use crate::upstream::{self, WORDS};

/// A session in which every request meets this fault.
fn always(kind: F, upstream: &str) -> SessionConfig {
    let mut policy = Policy::default();
    policy.breaker.enabled = false;
    policy.cache.enabled = false;
    policy.retry.base = Duration::from_millis(1);
    policy.retry.cap = Duration::from_millis(2);
    let mut faults = FaultProfile::default();
    faults.set_rate(kind, 1.0);
    faults.retry_after = 0;
    faults.stall_for = Duration::from_millis(30);
    faults.cut_after = 3;
    faults.drip_factor = 1;
    SessionConfig {
        policy,
        faults,
        faults_on: true,
        upstream: Some(UpstreamConfig::new(upstream.parse().unwrap())),
        ..SessionConfig::default()
    }
}

/// Asserts that this is an error object of the dialect, with its message.
fn is_error_of(endpoint: &str, value: &Value, case: &str) {
    let error = &value["error"];
    assert!(error["message"].is_string(), "{case}: {value}");
    if endpoint == "messages" {
        assert_eq!(value["type"], "error", "{case}: {value}");
        assert!(error["type"].is_string(), "{case}: {value}");
    }
}

/// Asserts that a stream passed a part, then an error event of its dialect, and broke.
fn is_broken_stream(endpoint: &str, seen: &Seen, case: &str) {
    assert!(!seen.complete && seen.body.contains(WORDS[0]), "{case}: {seen:?}");
    assert!(!seen.body.contains(WORDS[WORDS.len() - 1]), "{case}: {seen:?}");
    let last = seen.body.trim_end().rsplit("\n\n").next().unwrap();
    let (name, data) = match last.split_once('\n') {
        Some((name, data)) => (name, data),
        None => ("", last),
    };
    let named = matches!(endpoint, "messages" | "responses");
    assert_eq!(name, if named { "event: error" } else { "" }, "{case}: {last}");
    let data = serde_json::from_str(data.strip_prefix("data: ").unwrap()).unwrap();
    is_error_of(endpoint, &data, case);
}

fn check(kind: F, endpoint: &str, stream: bool, seen: &Seen) {
    let case = format!("{kind:?} {endpoint} {stream}");
    let status = match kind {
        F::RateLimited => 429,
        F::ServerError => 500,
        F::Unavailable => 503,
        F::Overloaded => 529,
        F::Cut | F::StallMidStream if stream => {
            assert_eq!(seen.status, 200, "{case}: {seen:?}");
            return is_broken_stream(endpoint, seen, &case);
        }
        F::Drip => {
            assert!(seen.status == 200 && seen.complete, "{case}: {seen:?}");
            return;
        }
        _ => 502,
    };
    assert_eq!((seen.status, seen.complete), (status, true), "{case}: {seen:?}");
    is_error_of(endpoint, &serde_json::from_str(&seen.body).unwrap(), &case);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_fault_in_each_dialect_is_an_error_of_that_dialect() {
    let server = upstream::start().await;
    let url = format!("http://{}/v1", server.addr());
    for kind in F::ALL {
        let session = Session::start(always(kind, &url)).await.unwrap();
        let gateway = gateway(&session).await;
        let client = Client::new(gateway.address(), ("x-api-key", "sk-app".to_owned()));
        for endpoint in DIALECTS {
            for stream in [false, true] {
                if stream && endpoint == "embeddings" {
                    continue;
                }
                let body = body(endpoint, "hello", stream).to_string();
                let seen = client.post(endpoint, &[], body, None).await.unwrap();
                check(kind, endpoint, stream, &seen);
            }
        }
        gateway.stop().await;
        session.shutdown().await;
    }
    server.shutdown().await;
}
