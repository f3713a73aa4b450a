//! Chunks of a streamed answer: the JSON after `data: `.

use serde::Deserialize;

use super::{ApiError, Usage};

/// One chunk. Every field may be missing: servers differ in all of them.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
pub struct ChatChunk {
    /// The server's name of the model.
    #[serde(default)]
    pub model: Option<String>,
    /// Increments, one for each answer; empty on the usage chunk.
    #[serde(default)]
    pub choices: Vec<Choice>,
    /// Tokens used, on the last chunk, if asked for.
    #[serde(default, deserialize_with = "super::chat::lenient_usage")]
    pub usage: Option<Usage>,
    /// An error inside a 200.
    #[serde(default)]
    pub error: Option<ApiError>,
}

/// The increment of one answer.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
pub struct Choice {
    /// Which answer.
    #[serde(default)]
    pub index: u64,
    /// What is new.
    #[serde(default)]
    pub delta: Delta,
    /// Why the answer ended, on its last chunk.
    #[serde(default)]
    pub finish_reason: Option<String>,
}

/// New text of an answer.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
pub struct Delta {
    /// Text; null on the role chunk.
    #[serde(default)]
    pub content: Option<String>,
    /// A reasoning model's thoughts: a second text beside the answer.
    #[serde(default)]
    pub reasoning_content: Option<String>,
    /// Parts of tool calls, passed through unread.
    #[serde(default)]
    pub tool_calls: Option<serde_json::Value>,
}
