//! seawall: a control room for LLM API resilience.
//!
//! Between an application and an LLM API sit a cache, a rate limiter, a circuit breaker and retries. seawall is a
//! client with these guards, a simulator to break them against, and a terminal that shows every decision. The
//! library is the client and the session around it; the program is built on both.
//!
//! # Example
//!
//! ```
//! use seawall::openai::ChatRequest;
//! use seawall::session::{Session, SessionConfig};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! // asks the built-in simulator; set `upstream` for a real server
//! let session = Session::start(SessionConfig::default()).await?;
//! let answer = session.ask(&ChatRequest::prompt("What is a token bucket?")).await?;
//! assert!(!answer.text.is_empty());
//! session.shutdown().await;
//! # Ok(())
//! # }
//! ```
//!
//! A call with options, read as it is written. [`CallStream`](client::CallStream) is also a `futures::Stream`:
//!
//! ```
//! use seawall::client::{CallContext, Chunk};
//! use seawall::event::UserId;
//! use seawall::openai::{ChatRequest, Message};
//! # use seawall::session::{Session, SessionConfig};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let session = Session::start(SessionConfig::default()).await?;
//! let request = ChatRequest::new([Message::system("Be brief."), Message::user("What is jitter?")])
//!     .temperature(0.0) // a fixed answer, so the cache may serve it
//!     .max_tokens(100)
//!     .stream(true)
//!     .with("stream_options", serde_json::json!({ "include_usage": true }));
//! let context = CallContext { user: UserId::new("ana"), ..CallContext::default() };
//!
//! let mut call = session.call(&request, context);
//! let mut text = String::new();
//! while let Some(chunk) = call.next().await {
//!     if let Chunk::Text(more) = chunk {
//!         text.push_str(&more);
//!     }
//! }
//! // the chunks end with the call; its result is the answer or the error
//! let answer = call.finish().await?;
//! assert_eq!(answer.text, text);
//! assert!(answer.headers.is_some());
//! # Ok(())
//! # }
//! ```
//!
//! Tool calls: the answer and the results of the tools become messages of the next request, until the model is done.
//!
//! ```
//! use seawall::openai::{ChatRequest, Message};
//! use serde_json::json;
//! # use seawall::session::{Session, SessionConfig};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let session = Session::start(SessionConfig::default()).await?;
//! let tools = json!([{ "type": "function", "function": { "name": "now", "parameters": { "type": "object" } } }]);
//! let mut request = ChatRequest::prompt("What time is it?").with("tools", tools);
//! let answer = loop {
//!     let answer = session.ask(&request).await?;
//!     if answer.tool_calls.is_empty() {
//!         break answer;
//!     }
//!     request = request.message(answer.to_message());
//!     for call in &answer.tool_calls {
//!         let id = call["id"].as_str().unwrap_or_default();
//!         request = request.message(Message::tool(id, "12:30"));
//!     }
//! };
//! assert!(!answer.text.is_empty());
//! # Ok(())
//! # }
//! ```
//!
//! # The map
//!
//! Each module is a room. They are declared in dependency order: a room imports only from rooms above it, and
//! `tests/architecture.rs` holds the exact table.
//!
//! | room | purpose |
//! |---|---|
//! | [`time`] | [`Timestamp`](time::Timestamp) and [`Clock`](time::Clock): the only code that reads a clock |
//! | [`text`] | [`SafeText`](text::SafeText): untrusted text made printable; formatters of numbers and durations |
//! | [`openai`] | the wire types of chat completions, errors and streams |
//! | [`settings`] | every setting with unit, bounds and default; reading and writing policy and fault files |
//! | [`event`] | events and commands: the one stream that feeds everything, with every reason in words |
//! | [`policy`] | the guards as pure state machines: cache, limiter, breaker, retry, budget, ledger |
//! | [`semantic`] | the semantic cache: built-in embedder, guards, index, labels |
//! | [`client`] | the resilient client: the guards around one upstream, flights, transport |
//! | [`state`] | the fold of events that screens and reports read; the story of a call |
//! | [`journal`] | events in a file: the writer and the one reader |
//! | [`simulator`] | a stand-in for an LLM server that injects faults, and a raw HTTP/1.1 server that can break at any byte |
//! | [`session`] | bus, engine and source: a running client with everything around it |
//! | [`check`] | the invariants, checked from events alone |
//! | `report` | charts, JUnit XML, Markdown, statistics |
//! | `drills` | scenarios, fuzzing, recordings, comparisons, what-if |
//! | `tui` | the control room; playback of journals |
//! | `app` | command line, configuration, one file per mode of the program |
//!
//! The last four belong to the program and are not part of the public interface.
//!
//! # Data flow
//!
//! ```text
//!  key -> tui::update -> Command -> session::engine -> ResilientClient::call
//!                                                             |
//!                    cache, flights, limiter, breaker, retries: policy decides
//!                                                             |
//!                           upstream or simulator <--- transport
//!
//!  screen <- State::apply <- session::bus <--- every decision is an Event
//!                                 |
//!                                 +-> taps: journal, label store, recorder, what-if
//! ```
//!
//! # Where to add
//!
//! | addition | start at | then |
//! |---|---|---|
//! | a pane | `src/tui/pane.rs`: `PaneId` | a file in `src/tui/pane`, its area in `src/tui/layout.rs` |
//! | a policy | a state machine in `src/policy` | its settings, its events, its call in `src/client` |
//! | a fault | `src/settings/faults.rs`: `FaultKind` | its steps in `src/simulator/script.rs` |
//! | a setting | `src/settings/policy.rs` | its row in `src/settings/catalog.rs` |
//! | an event | `src/event/kind.rs`: `EventKind` | `emit` beside the decision, its fold in `src/state` |
//!
//! `docs/architecture.md` has these as recipes, `docs/semantics.md` the guarantees of each layer with their
//! sources.

pub mod time;

pub mod text;

pub mod openai;

pub mod dialect;

pub mod settings;

pub mod event;

pub mod policy;

pub mod semantic;

pub mod client;

pub mod gateway;

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

/// The example of the README, compiled and run with the tests.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
mod readme {}
