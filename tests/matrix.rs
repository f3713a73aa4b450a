//! The fault matrix: every row of the table of faults, produced for real and held to what it demands.
//!
//! A row is a call to an upstream that misbehaves, or a story of its own; what came of it is read from the
//! journal: attempts, class and phase, what the breaker counted, what the cache kept, what the message says.
//! Where seawall does something else than the table in the design notes, the row says so and why.
//!
//! "Neutral" in the design's column B means "no failure": a complete answer counts as good here.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test, and the helpers of one"
)]

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
#[path = "matrix/wire.rs"]
mod wire;

use std::collections::BTreeSet;

use table::prove;

#[tokio::test]
async fn until_the_response_begins() {
    prove(connecting::rows()).await;
}

#[tokio::test]
async fn refusals_are_heard() {
    prove(refusals::rows()).await;
}

#[tokio::test]
async fn bodies_are_not_trusted() {
    prove(bodies::rows()).await;
}

#[tokio::test]
async fn the_process_goes_on() {
    prove(process::rows()).await;
}

/// One after the other: they share one clock, which jumps whenever all are idle.
#[tokio::test(start_paused = true)]
async fn time_is_no_trouble() {
    for row in process::virtual_rows() {
        prove(vec![row]).await;
    }
}

/// Rows of the design that concern the gateway, Redis, the disk and kill -9 come with these.
#[test]
fn no_row_is_forgotten() {
    let groups = [
        connecting::rows(),
        refusals::rows(),
        bodies::rows(),
        process::rows(),
        process::virtual_rows(),
    ];
    let proven: BTreeSet<u8> = groups.iter().flatten().map(|row| row.number).collect();
    let wanted: BTreeSet<u8> = (1..=47).chain(52..=64).chain([69, 70]).collect();
    assert_eq!(proven, wanted);
    for row in groups.iter().flatten() {
        assert!(
            !row.fault.is_empty() && !row.note.ends_with('.'),
            "row {}",
            row.number
        );
    }
}
