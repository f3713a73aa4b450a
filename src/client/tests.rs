//! The client under virtual time, between a scripted upstream and an observer that keeps everything.
//!
//! Each story ends with the same checker: what is true of every session must be true of each of them.

mod answers;
mod breaking;
mod leaving;
mod limiting;
mod missing;
mod retrying;
mod rig;
mod schedules;
mod script;
mod semantic;
mod sharing;
mod storm;
