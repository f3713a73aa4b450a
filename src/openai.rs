//! The OpenAI chat wire format as data: requests, answers, stream chunks, errors. No HTTP.
//!
//! A request keeps every field, because compatible servers need fields that seawall does not know.

mod chat;
mod error;
mod stream;

pub use chat::{ChatRequest, ChatResponse, Message, RequestError, ResponseChoice, Role, Usage};
pub use error::ApiError;
pub use stream::{ChatChunk, Choice, Delta};
