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

pub mod client;

pub mod state;

pub mod bus;

pub mod source;

pub mod journal;

pub mod labels;

pub mod markdown;

pub mod junit;

pub mod charts;

pub mod check;

pub mod http;

pub mod simulator;

pub mod engine;

pub mod session;

pub mod traffic;

pub mod tui;

pub mod replay;

pub mod config;

pub mod scenario;

pub mod record;

pub mod shadow;

pub mod evaluate;

pub mod compare;

pub mod cli;

pub mod drill;

pub mod explain;

pub mod picture;

/// The README's example is compiled and run with the tests.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
mod readme {}
