//! The guards as pure state machines.
//!
//! A policy owns no clock, no task and no lock: `now` is an argument, and what comes back is a decision that
//! says why and until when. So an hour of traffic is a loop in a test, and the caller alone decides what a
//! decision looks like to others: the client makes events of them, policies do not.

pub mod admission;
pub mod backoff;
pub mod breaker;
pub mod budget;
pub mod cache;
pub mod classify;
pub mod fingerprint;
pub mod hint;
pub mod ledger;
pub mod limiter;
pub mod near_miss;
pub mod retry;

use std::time::Duration;

/// A wish of the server is believed this far ahead and no further (semantics 1.2): a wrong or hostile
/// `Retry-After` must not stop an upstream for days.
pub(crate) const LONGEST_HINT: Duration = Duration::from_hours(1);
