//! What a caller gets.

use serde_json::Value;

use crate::event::{Failure, Fate, Finish};
use crate::openai::Usage;
use crate::text::SafeText;

/// A piece of an answer, as it comes.
#[derive(Clone, Debug, PartialEq)]
pub enum Chunk {
    /// Text of the answer, raw: sanitise it before printing.
    Text(String),
    /// The model's thoughts, raw.
    Reasoning(String),
    /// Increments of tool calls, passed through.
    ToolCalls(Value),
}

impl Chunk {
    /// Bytes, for bounds.
    pub(crate) fn len(&self) -> usize {
        match self {
            Self::Text(text) | Self::Reasoning(text) => text.len(),
            Self::ToolCalls(value) => value.to_string().len(),
        }
    }
}

/// A complete answer.
#[derive(Clone, Debug, PartialEq)]
pub struct Answer {
    /// The text, raw.
    pub text: String,
    /// The same text, printable.
    pub shown: SafeText,
    /// The model's thoughts, raw.
    pub reasoning: String,
    /// Increments of tool calls, in the order they came.
    pub tool_calls: Vec<Value>,
    /// Why it ended.
    pub finish: Finish,
    /// Tokens.
    pub usage: Usage,
    /// Whether `usage` is an estimate.
    pub estimated: bool,
    /// The model that answered, by its own name.
    pub model: Option<String>,
    /// Whether bytes that are no UTF-8 were replaced.
    pub bad_text: bool,
    /// How the caller got it: `Answered`, `Hit` or `Shared`.
    pub fate: Fate,
}

impl Answer {
    /// The whole answer as chunks, as a stream would have given it.
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

    /// Bytes kept if it is stored.
    pub(crate) fn stored_bytes(&self) -> u64 {
        let tools: usize = self.tool_calls.iter().map(|call| call.to_string().len()).sum();
        (self.text.len() + self.shown.len() + self.reasoning.len() + tools + size_of::<Self>()) as u64
    }
}

/// No complete answer.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("{failure}")]
pub struct CallError {
    /// How the call ended.
    pub fate: Fate,
    /// Why.
    pub failure: Failure,
    /// Text that was delivered before it broke, raw.
    pub partial: String,
}
