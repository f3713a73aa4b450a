//! The result of a call: chunks, answer, error.

use std::sync::Arc;

use http::HeaderMap;
use serde_json::Value;

use crate::event::{Failure, Fate, Finish};
use crate::openai::Usage;
use crate::text::SafeText;

/// A part of an answer, as it arrives.
#[derive(Clone, Debug, PartialEq)]
pub enum Chunk {
    /// Text of the answer, raw: sanitise it before printing.
    Text(String),
    /// Reasoning of the model, raw.
    Reasoning(String),
    /// The `tool_calls` of one delta, passed through.
    ToolCalls(Value),
}

/// A complete answer.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Answer {
    /// The text, raw.
    pub text: String,
    /// The text with the API key redacted, safe to print.
    pub shown: SafeText,
    /// Reasoning of the model, raw; empty if it sent none.
    pub reasoning: String,
    /// The `tool_calls` of all deltas, in the order of arrival.
    pub tool_calls: Vec<Value>,
    /// The finish reason.
    pub finish: Finish,
    /// LLM tokens of prompt and answer.
    pub usage: Usage,
    /// True if `usage` is an estimate, because the server sent none or an implausible one.
    pub estimated: bool,
    /// The model as named by the server.
    pub model: Option<String>,
    /// True if bytes that are not UTF-8 were replaced.
    pub bad_text: bool,
    /// The source of the answer: [`Fate::Answered`], [`Fate::Hit`] or [`Fate::Shared`].
    pub fate: Fate,
    /// The response headers, raw. `None` for a stored answer: request ids and limits of an old response would
    /// mislead.
    pub headers: Option<Arc<HeaderMap>>,
}

impl Answer {
    /// The server's id of the request, to quote in a report to its operator.
    pub fn request_id(&self) -> Option<&str> {
        request_id(self.headers.as_deref()?)
    }

    /// The answer as chunks, for a call that reads it as a stream.
    pub(crate) fn to_chunks(&self) -> Vec<Chunk> {
        let mut chunks = Vec::new();
        if !self.reasoning.is_empty() {
            chunks.push(Chunk::Reasoning(self.reasoning.clone()));
        }
        if !self.text.is_empty() {
            chunks.push(Chunk::Text(self.text.clone()));
        }
        chunks.extend(self.tool_calls.iter().cloned().map(Chunk::ToolCalls));
        chunks
    }

    /// Bytes that it takes in the cache.
    pub(crate) fn stored_bytes(&self) -> u64 {
        let tools: usize = self.tool_calls.iter().map(|call| call.to_string().len()).sum();
        (self.text.len() + self.shown.len() + self.reasoning.len() + tools + size_of::<Self>()) as u64
    }
}

/// The error of a call that ended without a complete answer.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("{failure}")]
#[non_exhaustive]
pub struct CallError {
    /// The fate of the call: neither [`Fate::Answered`], [`Fate::Hit`] nor [`Fate::Shared`].
    pub fate: Fate,
    /// Class, phase and message of the failure.
    pub failure: Failure,
    /// Text that was delivered before the failure, raw.
    pub partial: String,
    /// The response headers of the last attempt, raw; `None` if it had no response. The status is that of the
    /// failure.
    pub headers: Option<Arc<HeaderMap>>,
}

impl CallError {
    /// The server's id of the request, to quote in a report to its operator.
    pub fn request_id(&self) -> Option<&str> {
        request_id(self.headers.as_deref()?)
    }
}

/// The headers that name a request: OpenAI and most gateways, Anthropic, Azure, AWS.
const REQUEST_IDS: [&str; 4] = [
    "x-request-id",
    "request-id",
    "apim-request-id",
    "x-amzn-requestid",
];

fn request_id(headers: &HeaderMap) -> Option<&str> {
    let mut known = REQUEST_IDS.iter().filter_map(|name| headers.get(*name));
    known.find_map(|id| id.to_str().ok())
}
