//! Chunks of a streamed answer: the JSON after `data: `.

use serde::Deserialize;

use super::{ApiError, Usage};

/// One chunk. Any field may be missing, because servers differ in all of them.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[non_exhaustive]
pub struct ChatChunk {
    /// The model name reported by the server.
    #[serde(default)]
    pub model: Option<String>,
    /// Increments, one per answer; empty in the usage chunk.
    #[serde(default)]
    pub choices: Vec<Choice>,
    /// The tokens used, in the last chunk if requested.
    #[serde(default, deserialize_with = "super::chat::lenient_usage")]
    pub usage: Option<Usage>,
    /// An error sent with status 200.
    #[serde(default)]
    pub error: Option<ApiError>,
}

/// The increment of one answer.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[non_exhaustive]
pub struct Choice {
    /// The index of the answer.
    #[serde(default)]
    pub index: u64,
    /// The new text.
    #[serde(default)]
    pub delta: Delta,
    /// The reason for the end, in the last chunk of the answer: `stop`, `length`, ...
    #[serde(default)]
    pub finish_reason: Option<String>,
}

/// The new text of an answer.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[non_exhaustive]
pub struct Delta {
    /// The text; null in the role chunk.
    #[serde(default)]
    pub content: Option<String>,
    /// The reasoning text of a model that sends it separately.
    #[serde(default)]
    pub reasoning_content: Option<String>,
    /// Parts of tool calls, passed through unchanged.
    #[serde(default)]
    pub tool_calls: Option<serde_json::Value>,
}
