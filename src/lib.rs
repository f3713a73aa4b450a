//! seawall: a control room for LLM API resilience.
//!
//! The modules stand in the order of their dependencies: each may use only those above it
//! (`tests/architecture.rs` checks the exact table).

pub mod time;

pub mod text;

pub mod openai;

pub mod settings;

pub mod event;

pub mod policy;

pub mod semantic;

pub mod client;

pub mod state;

pub mod journal;

pub mod simulator;

pub mod session;

pub mod check;

#[doc(hidden)]
pub mod report;

#[doc(hidden)]
pub mod drills;

#[doc(hidden)]
pub mod tui;

#[doc(hidden)]
pub mod app;

/// The README's example is compiled and run with the tests.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
mod readme {}
