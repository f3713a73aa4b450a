//! The gateway on loopback, between raw clients and a scripted upstream. Each test ends with the checker, which
//! verifies the invariants of its session.

mod cache;
mod errors;
mod hostile;
mod passing;
mod rig;
mod stopping;
