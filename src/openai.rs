//! The OpenAI chat wire format as data: requests, answers, stream chunks, errors. No HTTP.
//!
//! A request keeps every field, because compatible servers need fields that seawall does not know.

mod chat;
mod chunk;
mod error;
mod json;
mod tool_calls;

pub use chat::{ChatRequest, Message, RequestError, Role, Usage};
pub use chunk::{ChatChunk, Choice, Delta};
pub use error::ApiError;
pub(crate) use json::{Halves, Parsed, join_halves, parse as parse_json};
pub(crate) use tool_calls::{ToolCalls, merge_fields};
