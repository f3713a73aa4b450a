//! A simulated LLM server: it speaks llama-server's wire format, has a few dozen canned answers, and injects
//! faults.
//!
//! The response is decided before its first byte: [`script::Script`] is a pure function of the request, the fault
//! profile, the seed and the number of the request. Two players perform it:
//!
//! ```text
//!                    +-> server: a loopback socket; a reset is a TCP reset     (server.rs)
//! request -> Script -+
//!                    +-> local: in memory, in virtual time                     (local.rs)
//! ```
//!
//! With a real upstream, the server acts as a proxy that injects the same faults into real answers (`forward.rs`).
//! The wire format was captured from llama-server. The answers come from a file; a question outside it gets an
//! answer that says so.

mod answer;
mod capacity;
mod embeddings;
mod events;
mod fault;
mod forward;
mod local;
#[doc(hidden)]
pub mod reply;
mod request_rng;
#[doc(hidden)]
pub mod script;
mod server;
#[doc(hidden)]
pub mod wire;

pub use fault::{FaultControl, FaultSink};
pub use local::LocalTransport;
pub use server::{Simulator, SimulatorConfig};

/// The id of the only model.
pub const MODEL: &str = "seawall-sim";
