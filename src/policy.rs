//! The resilience policies as pure state machines.
//!
//! A policy owns no clock, no task and no lock: `now` is an argument, and the result is a decision with its reason
//! and, if it is temporary, the time it ends. An hour of traffic is a loop in a test. Each policy works alone, with
//! its own section of the settings; the client combines them and turns decisions into events.
//!
//! | policy | type | source of its rules |
//! |---|---|---|
//! | exact cache | [`cache::Cache`] | docs/semantics.md, Cache |
//! | idempotent replay | [`ledger::IdempotencyLedger`] | docs/semantics.md, Idempotency |
//! | retry | [`retry::Retry`], [`backoff::Backoff`], [`budget::RetryBudget`], [`hint::read`] | docs/semantics.md, Retry |
//! | rate limiter | [`limiter::Limiter`] | docs/semantics.md, Rate limiter |
//! | circuit breaker | [`breaker::Breaker`], one for each model: [`breakers::Breakers`] | docs/semantics.md, Circuit breaker |

pub(crate) mod admission;
pub mod backoff;
pub mod breaker;
pub mod breakers;
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

/// Limit of what a server's hint can impose (docs/semantics.md, Server hints): a mistaken or hostile `Retry-After`
/// must not stop an upstream for days.
pub(crate) const MAX_SERVER_WAIT: Duration = Duration::from_hours(1);
