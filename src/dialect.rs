//! The wire formats of LLM APIs: which part of a request is the prompt, how an answer is recognised, and how an
//! error is written. One file for each format, behind [`WireFormat`].
//!
//! ```text
//!  request bytes --> body as JSON --> WireFormat::view --> ChatRequest    prompt, limits, determinism
//!  response bytes --> event --> WireFormat::read --> chat chunk           text, usage, finish, error
//!  failure --> WireFormat::error                                          the error object of the format
//! ```
//!
//! The core knows the terms of chat completions only: a format translates into them. The bytes themselves pass
//! unchanged, in both directions.

mod chat;
mod completions;
mod embeddings;
mod messages;
mod raw;
mod responses;

use serde_json::{Map, Value, json};

use crate::openai::{ChatRequest, Message};

/// A wire format, named after its endpoint.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Dialect {
    /// `POST /v1/chat/completions` (OpenAI).
    #[default]
    Chat,
    /// `POST /v1/completions` (OpenAI).
    Completions,
    /// `POST /v1/responses` (OpenAI).
    Responses,
    /// `POST /v1/embeddings` (OpenAI).
    Embeddings,
    /// `POST /v1/messages` (Anthropic).
    Messages,
    /// Any other endpoint: passed through, neither cached nor shared.
    Raw,
    /// Any other endpoint of the Anthropic API, such as `/v1/messages/count_tokens`: raw, with its errors.
    RawMessages,
}

/// An event, or a whole body, in the terms of chat completions.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Reading {
    /// A chat chunk; null if the event says nothing that matters.
    pub chunk: Value,
    /// True if the stream is complete with this event.
    pub done: bool,
}

impl Reading {
    fn chunk(chunk: Value) -> Self {
        Self { chunk, done: false }
    }
}

/// An error in words, for the error object of a dialect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ErrorText<'a> {
    /// HTTP status.
    pub status: u16,
    /// The machine-readable code, such as `seawall_circuit_open`.
    pub code: &'a str,
    /// The message: what happened and what to do.
    pub message: &'a str,
}

/// The interface of a wire format.
pub trait WireFormat: Sync {
    /// Adds the fields of a chat request (`messages`, `max_tokens`) to a body of this format.
    fn view(&self, body: &mut Map<String, Value>);

    /// Translates an event of a stream, or a whole body (with an empty name).
    fn read(&self, name: &str, value: Value) -> Reading;

    /// The body of an error response.
    fn error(&self, error: &ErrorText<'_>) -> Value;

    /// The data of the event that reports an error inside a stream.
    fn stream_error(&self, error: &ErrorText<'_>) -> Value {
        self.error(error)
    }

    /// The name of the event that reports an error inside a stream, if events of this format have names.
    fn error_event(&self) -> Option<&'static str> {
        None
    }
}

impl Dialect {
    /// The dialect of a request to a path without `/v1`, such as `chat/completions`.
    pub fn for_endpoint(endpoint: &str) -> Self {
        match endpoint {
            "chat/completions" => Self::Chat,
            "completions" => Self::Completions,
            "responses" => Self::Responses,
            "embeddings" => Self::Embeddings,
            "messages" => Self::Messages,
            _ if endpoint.starts_with("messages/") => Self::RawMessages,
            _ => Self::Raw,
        }
    }

    /// Its implementation.
    pub fn format(self) -> &'static dyn WireFormat {
        match self {
            Self::Chat => &chat::Chat,
            Self::Completions => &completions::Completions,
            Self::Responses => &responses::Responses,
            Self::Embeddings => &embeddings::Embeddings,
            Self::Messages => &messages::Messages,
            Self::Raw => &raw::Raw(openai_error),
            Self::RawMessages => &raw::Raw(messages::anthropic_error),
        }
    }

    /// Returns true if the answers of this dialect are understood: they may be cached, shared and judged.
    pub fn is_known(self) -> bool {
        !matches!(self, Self::Raw | Self::RawMessages)
    }

    /// Returns true for the formats of the Anthropic API.
    pub fn is_anthropic(self) -> bool {
        matches!(self, Self::Messages | Self::RawMessages)
    }

    /// The request in the terms of chat completions. Every field of the body stays, so that two views are equal
    /// only if their bodies are.
    pub fn view(self, body: Map<String, Value>) -> ChatRequest {
        let mut body = body;
        self.format().view(&mut body);
        ChatRequest::unchecked(body)
    }
}

/// The error object of the OpenAI API.
fn openai_error(error: &ErrorText<'_>) -> Value {
    json!({ "error": {
        "message": error.message,
        "type": openai_type(error.status),
        "param": null,
        "code": error.code,
    } })
}

fn openai_type(status: u16) -> &'static str {
    match status {
        401 => "authentication_error",
        403 => "permission_error",
        429 => "rate_limit_error",
        400..500 => "invalid_request_error",
        _ => "server_error",
    }
}

/// Sets a field of a view. One of the body with this name stays under another: it counts too.
fn set(body: &mut Map<String, Value>, field: &str, value: Value) {
    if let Some(own) = body.insert(field.to_owned(), value) {
        body.insert(format!("{field} of the body"), own);
    }
}

/// A `messages` field of one user message for each text.
fn user_messages(texts: impl IntoIterator<Item = String>) -> Value {
    texts
        .into_iter()
        .map(|text| Value::from(Message::user(text)))
        .collect()
}

/// The texts of a value that is a text, or a list of texts and of parts with a text.
fn texts_of(value: &Value) -> Vec<String> {
    match value {
        Value::String(text) => vec![text.clone()],
        Value::Array(items) => items
            .iter()
            .flat_map(|item| match item {
                Value::String(text) => vec![text.clone()],
                Value::Object(fields) => {
                    let inner = fields.get("text").or_else(|| fields.get("content"));
                    inner.map(texts_of).unwrap_or_default()
                }
                _ => Vec::new(),
            })
            .collect(),
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests;
