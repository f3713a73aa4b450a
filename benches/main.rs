//! What the program promises of its own speed: an event folded in within 1 µs, a frame at 200x60 with 10,000
//! calls behind it within 2 ms, a cache hit through the whole client within 20 µs.
//!
//! One binary, because each would be linked with all of seawall: `cargo bench -- frame` runs a part of it.

mod client;
mod fold;
mod frame;
mod nearest;
mod policy;
mod semantic;
mod shadow;
mod traffic;

fn main() {
    // what divan has no column for; not when cargo only lists benches, or asks for others
    if std::env::args().any(|arg| arg.contains("nearest")) {
        nearest::report();
    }
    divan::main();
}
