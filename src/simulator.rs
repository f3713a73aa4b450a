//! A stand-in for an LLM server: it speaks llama-server's wire format, knows a few dozen answers, and
//! breaks on demand.
//!
//! What a request gets is decided before its first byte leaves: [`script::Script`] is a pure function of
//! the request, the fault profile, the seed and the request's number. Two players perform it:
//!
//! ```text
//!                    +-> server: a loopback socket; a reset is a TCP reset     (server.rs)
//! request -> Script -+
//!                    +-> local: in memory, under virtual time                  (local.rs)
//! ```
//!
//! Told of a real upstream, the same server stands in front of it and performs the same faults on the
//! real answers (`forward.rs`). The wire format was captured from llama-server; what the simulator says
//! comes from a file, and it says so when it knows nothing.

pub mod fault;
pub mod local;
pub mod reply;
pub mod script;
pub mod wire;

mod answer;
mod capacity;
mod draw;
mod embeddings;
mod events;
mod forward;
mod server;

pub use capacity::{Slot, Slots};
pub use fault::{FaultControl, FaultSink};
pub use server::{ATTEMPT_HEADER, Simulator, SimulatorConfig};

/// The id of the simulator's only model.
pub const MODEL: &str = "seawall-sim";
