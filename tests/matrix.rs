//! The fault matrix: every row of the table in docs/semantics.md, Fault matrix, produced for real and checked.
//!
//! A row is a call to a misbehaving upstream, or a test function of its own. The result is read from the journal:
//! attempts, class and phase, the samples of the breaker, the cache entry, the message. A note on a row explains a
//! deliberate deviation.
//!
//! "Neutral" in the breaker column means "no failure": a complete answer counts as good here.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test, and the helpers of one"
)]

#[path = "matrix/addresses.rs"]
mod addresses;
#[path = "matrix/bodies.rs"]
mod bodies;
#[path = "matrix/connecting.rs"]
mod connecting;
#[path = "matrix/process.rs"]
mod process;
#[path = "matrix/refusals.rs"]
mod refusals;
#[path = "matrix/rig.rs"]
mod rig;
#[path = "matrix/server.rs"]
mod server;
#[path = "matrix/table.rs"]
mod table;
#[path = "matrix/tls.rs"]
mod tls;
#[path = "terminal/upstream.rs"]
mod upstream;
#[path = "matrix/wire.rs"]
mod wire;

use std::collections::BTreeSet;

use table::prove;

#[tokio::test]
async fn faults_before_the_response() {
    prove(connecting::rows()).await;
}

#[tokio::test]
async fn error_statuses() {
    prove(refusals::rows()).await;
}

#[tokio::test]
async fn faults_in_the_body() {
    prove(bodies::rows()).await;
}

#[tokio::test]
async fn every_base_url_reaches_its_endpoint() {
    addresses::base_urls().await;
}

#[tokio::test]
async fn a_probe_needs_no_list_of_models() {
    addresses::probes().await;
}

#[tokio::test]
async fn headers_are_sent_and_redacted() {
    addresses::headers().await;
}

#[tokio::test]
async fn proxies_of_the_environment_are_used() {
    addresses::proxies().await;
}

#[tokio::test]
async fn the_process_survives() {
    prove(process::rows()).await;
}

/// Runs one row after the other: they share one clock, which jumps whenever all tasks are idle.
#[tokio::test(start_paused = true)]
async fn faults_of_time() {
    for row in process::virtual_rows() {
        prove(vec![row]).await;
    }
}

#[test]
fn every_row_is_tested() {
    let groups = [
        connecting::rows(),
        refusals::rows(),
        bodies::rows(),
        process::rows(),
        process::virtual_rows(),
    ];
    let proven: BTreeSet<u8> = groups.iter().flatten().map(|row| row.number).collect();
    let wanted: BTreeSet<u8> = (1..=62).collect();
    assert_eq!(proven, wanted);
    for row in groups.iter().flatten() {
        assert!(
            !row.fault.is_empty() && !row.note.ends_with('.'),
            "row {}",
            row.number
        );
    }
}
