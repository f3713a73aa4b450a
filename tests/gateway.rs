//! The gateway on a real listener, in front of an upstream that speaks every dialect: journals of its traffic.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking, and so do its helpers"
)]

#[path = "gateway/client.rs"]
mod client;
#[path = "gateway/faults.rs"]
mod faults;
#[path = "gateway/journal.rs"]
mod journal;
#[path = "gateway/upstream.rs"]
mod upstream;
