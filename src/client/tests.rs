//! The client in virtual time, between a scripted upstream and an observer that records every event.
//!
//! Each test ends with the checker, which verifies the invariants of every session.

mod answers;
mod breaking;
mod dialects;
mod handles;
mod leaving;
mod limiting;
mod missing;
mod odd;
mod queue_head;
mod retrying;
pub(crate) mod rig;
mod schedules;
pub(crate) mod script;
mod semantic;
mod sharing;
mod storm;
