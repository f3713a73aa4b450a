//! Benchmarks of the guaranteed speeds: an event applied within 0.3 µs, a frame at 200x60 after 10,000 calls within 1 ms, a
//! cache hit through the whole client within 20 µs.
//!
//! One binary, since each would link all of seawall: `cargo bench -- frame` runs a part of it.

mod client;
mod fold;
mod frame;
mod nearest;
mod policy;
mod semantic;
mod traffic;
mod whatif;

fn main() {
    // figures that divan has no column for; not when cargo only lists benches or runs others
    if std::env::args().any(|arg| arg.contains("nearest")) {
        nearest::report();
    }
    divan::main();
}
