//! The OpenAI wire format as data: requests, answers, stream chunks, errors. No HTTP.
//!
//! A request keeps every field it came with: a client that drops what it does not know breaks look-alikes.

mod chat;
mod error;
mod stream;

pub use chat::{ChatRequest, ChatResponse, Message, RequestError, Role, Usage};
pub use error::ApiError;
pub use stream::{ChatChunk, Choice, Delta};
