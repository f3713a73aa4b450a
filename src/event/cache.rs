//! Events of the exact cache: reasons and near misses.

use serde::{Deserialize, Serialize};

use super::CallId;
use crate::text::SafeText;

/// Reasons for a cache miss.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum MissReason {
    /// Not stored before, as far as remembered.
    NeverSeen,
    /// Stored before, but older than the TTL.
    Expired,
    /// Stored before, but evicted to make room.
    Evicted,
    /// Another request has the same fingerprint; its answer is not served.
    Collision,
}

/// The stored request most similar to one that missed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NearMiss {
    /// The call that sent the stored request.
    pub source: CallId,
    /// The beginning of its prompt.
    pub prompt: SafeText,
    /// The differences, most relevant first. At most four.
    pub differs: Vec<FieldDiff>,
    /// Number of differing fields.
    pub fields: u32,
}

/// A field in which two requests differ.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FieldDiff {
    /// `user`, `model`, `system prompt`, `earlier turns`, `prompt`, `tools`, or the name of a field of the body.
    pub field: SafeText,
    /// The kind of difference.
    pub how: DiffKind,
    /// The text of the request that missed, around the difference.
    pub here: SafeText,
    /// The text of the stored request.
    pub stored: SafeText,
}

/// Kinds of difference between two fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum DiffKind {
    /// Another value.
    Value,
    /// Only the request that missed has it.
    Added,
    /// Only the stored request has it.
    Missing,
    /// The same elements in another order.
    Order,
    /// White space only.
    Whitespace,
    /// Upper and lower case only.
    Case,
    /// A date or a time of day.
    Time,
    /// A random id: a UUID, a long hex number.
    Id,
    /// A number.
    Number,
}

impl FieldDiff {
    /// True if the difference is only a different question, which is expected.
    pub fn is_another_question(&self) -> bool {
        let question = matches!(self.field.as_str(), "prompt" | "earlier turns");
        let apart = matches!(
            self.how,
            DiffKind::Value | DiffKind::Number | DiffKind::Added | DiffKind::Missing | DiffKind::Order
        );
        question && apart
    }

    /// The first differing word of the request that missed and of the stored one.
    pub fn words(&self) -> (SafeText, SafeText) {
        let pairs = self.here.split_whitespace().zip(self.stored.split_whitespace());
        let mut differing = pairs.filter(|(a, b)| a != b);
        let word = |text: &str| {
            let bare = text.trim_matches(|c: char| c.is_ascii_punctuation() || c == '…');
            SafeText::excerpt(if bare.is_empty() { text } else { bare }, 40)
        };
        match differing.next() {
            Some((a, b)) => (word(a), word(b)),
            None => (self.here.clone(), self.stored.clone()),
        }
    }
}

/// Reasons to bypass the cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum BypassReason {
    /// Switched off.
    Off,
    /// Neither temperature 0 nor a seed nor an opt-in: answers may differ.
    NotDeterministic,
    /// The caller requested a fresh answer.
    FreshRequested,
}

/// Reasons not to store an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum SkipReason {
    /// Incomplete, or not known to be complete.
    Incomplete,
    /// Truncated by a content filter, or the model refuses to answer.
    Filtered,
    /// Empty.
    Empty,
    /// Larger than `cache.max_entry_bytes`.
    TooLarge,
    /// Answered by another model than requested.
    OtherModel,
    /// Not valid UTF-8.
    BadText,
}

/// Reasons to remove entries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum EvictReason {
    /// Older than the TTL.
    Expired,
    /// Evicted to make room.
    Capacity,
    /// The cache was cleared by a command.
    Cleared,
    /// The answer was labelled wrong.
    Labelled,
}
