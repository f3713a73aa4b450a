//! The result of a call: chunks, answer, error.

use std::sync::Arc;

use http::HeaderMap;
use serde_json::{Value, json};

use super::wire::WireResponse;
use crate::event::{Failure, Fate, Finish};
use crate::openai::{Message, Role, Usage};
use crate::text::SafeText;

/// A part of an answer, as it arrives.
#[derive(Clone, Debug, PartialEq)]
pub enum Chunk {
    /// Text of the answer, raw: sanitise it before printing.
    Text(String),
    /// Reasoning of the model, raw.
    Reasoning(String),
    /// Text in which the model refuses to answer, raw.
    Refusal(String),
    /// The `tool_calls` of one delta: an array of fragments, as the server sent them, or of whole calls.
    ToolCalls(Value),
}

/// One choice of an answer.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct AnswerChoice {
    /// The index, from 0.
    pub index: u64,
    /// The text, raw.
    pub text: String,
    /// Reasoning of the model, raw; empty if it sent none.
    pub reasoning: String,
    /// The words in which the model refuses to answer, raw; empty if it does not.
    pub refusal: String,
    /// Whole tool calls.
    pub tool_calls: Vec<Value>,
    /// The finish reason.
    pub finish: Finish,
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
    /// The words in which the model refuses to answer, raw; empty if it does not.
    pub refusal: String,
    /// Whole tool calls, merged from their fragments: `{"id", "type", "function": {"name", "arguments"}}`.
    pub tool_calls: Vec<Value>,
    /// The finish reason.
    pub finish: Finish,
    /// The other choices, if the request asked for more than one with `n`.
    pub others: Vec<AnswerChoice>,
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
    /// The unchanged response, if the bytes of the call pass unchanged.
    pub wire: Option<Arc<WireResponse>>,
    /// The response without the fields that are above.
    pub(super) fields: Value,
}

impl Answer {
    /// The server's id of the request, to quote in a report to its operator.
    pub fn request_id(&self) -> Option<&str> {
        request_id(self.headers.as_deref()?)
    }

    /// The answer as a message, to continue the conversation: `request.message(answer.to_message())`. Reasoning is
    /// left out, which most servers do not take back.
    pub fn to_message(&self) -> Message {
        let content = match self.text.as_str() {
            "" if !self.tool_calls.is_empty() || !self.refusal.is_empty() => Value::Null,
            text => json!(text),
        };
        let mut message = Message::new(Role::Assistant, content);
        if !self.refusal.is_empty() {
            message = message.with("refusal", self.refusal.as_str());
        }
        if !self.tool_calls.is_empty() {
            message = message.with("tool_calls", self.tool_calls.clone());
        }
        message
    }

    /// The answer as the JSON of an unstreamed response, with every field that the server sent. Of a field that
    /// came in several chunks, lists are joined, objects merged, and the last one of other values counts.
    pub fn to_json(&self) -> Value {
        let mut json = self.fields.clone();
        json["object"] = json!("chat.completion");
        json["model"] = json!(self.model);
        if !self.estimated && json["usage"].is_null() {
            json["usage"] = json!(self.usage);
        }
        let others = self.others.iter().map(|one| {
            let parts = (&one.text, &one.reasoning, &one.refusal, &one.tool_calls);
            (one.index, parts)
        });
        let parts = (&self.text, &self.reasoning, &self.refusal, &self.tool_calls);
        let choices = json["choices"].as_array_mut().into_iter().flatten();
        for choice in choices {
            let index = choice["index"].as_u64();
            let found = others.clone().find(|(other, _)| Some(*other) == index);
            let (text, reasoning, refusal, tool_calls) = found.map_or(parts, |(_, parts)| parts);
            let message = &mut choice["message"];
            message["role"] = json!("assistant");
            message["content"] = if text.is_empty() { Value::Null } else { json!(text) };
            if !reasoning.is_empty() {
                message["reasoning_content"] = json!(reasoning);
            }
            if !refusal.is_empty() {
                message["refusal"] = json!(refusal);
            }
            if !tool_calls.is_empty() {
                message["tool_calls"] = json!(tool_calls);
            }
        }
        json
    }

    /// True if it has no content that a later caller could use: reasoning alone is not an answer.
    pub(super) fn is_empty(&self) -> bool {
        self.text.is_empty() && self.refusal.is_empty() && self.tool_calls.is_empty()
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
        if !self.refusal.is_empty() {
            chunks.push(Chunk::Refusal(self.refusal.clone()));
        }
        if !self.tool_calls.is_empty() {
            chunks.push(Chunk::ToolCalls(Value::Array(self.tool_calls.clone())));
        }
        chunks
    }

    /// The same for the cache. The fields of an answer whose bytes pass unchanged are in these bytes.
    pub(super) fn to_stored(&self) -> Self {
        let mut stored = self.clone();
        stored.fate = Fate::Hit;
        if stored.wire.is_some() {
            stored.fields = Value::Null;
        }
        stored
    }

    /// Bytes that it takes in the cache.
    pub(crate) fn stored_bytes(&self) -> u64 {
        let content = match &self.wire {
            Some(wire) => {
                let calls: usize = self.tool_calls.iter().map(|call| call.to_string().len()).sum();
                wire.size() + self.text.len() + self.reasoning.len() + self.refusal.len() + calls
            }
            None => self.to_json().to_string().len(),
        };
        (content + self.shown.len() + size_of::<Self>()) as u64
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
    /// The unchanged error response of the last attempt, if the bytes of the call pass unchanged. Its body has at most
    /// 1 MiB.
    pub response: Option<Arc<WireResponse>>,
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
