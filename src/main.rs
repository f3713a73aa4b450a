//! The seawall program.
fn main() {}
