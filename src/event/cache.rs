//! What the exact cache says, and why.

use serde::{Deserialize, Serialize};

use super::CallId;
use crate::text::SafeText;

/// Why the cache had nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MissReason {
    /// Never stored, as far as is remembered.
    NeverSeen,
    /// Stored once, older than the TTL now.
    Expired,
    /// Stored once, removed to make room.
    Evicted,
    /// Another request has the same fingerprint: not served.
    Collision,
}

/// The stored request most like one that missed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NearMiss {
    /// The call that had made it.
    pub source: CallId,
    /// The beginning of its prompt.
    pub prompt: SafeText,
    /// What differs, the most telling first. At most four.
    pub differs: Vec<FieldDiff>,
    /// How many fields differ in all.
    pub fields: u32,
}

/// A field in which two requests differ.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FieldDiff {
    /// `user`, `model`, `system prompt`, `earlier turns`, `prompt`, `tools`, or the name of a field of the body.
    pub field: SafeText,
    /// In what way.
    pub how: DiffKind,
    /// What the request that missed has there, around the difference.
    pub here: SafeText,
    /// What the stored one has there.
    pub stored: SafeText,
}

/// In what way two fields differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DiffKind {
    /// Another value.
    Value,
    /// Only the request that missed has it.
    Added,
    /// Only the stored one has it.
    Missing,
    /// The same things in another order.
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
    /// Whether it is only that something else was asked: no fault of anybody.
    pub fn is_another_question(&self) -> bool {
        let question = matches!(self.field.as_str(), "prompt" | "earlier turns");
        let apart = matches!(
            self.how,
            DiffKind::Value | DiffKind::Number | DiffKind::Added | DiffKind::Missing | DiffKind::Order
        );
        question && apart
    }

    /// The first word in which the two differ: of the request that missed, and of the stored one.
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

/// Why the cache was not asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BypassReason {
    /// Switched off.
    Off,
    /// No explicit temperature 0, no seed, no opt-in: another answer may be wanted.
    NotDeterministic,
    /// The caller asked for a fresh answer.
    FreshRequested,
}

/// Why an answer was not stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SkipReason {
    /// Not complete, or not provably complete.
    Incomplete,
    /// Cut by a content filter.
    Filtered,
    /// Empty.
    Empty,
    /// Larger than an entry may be.
    TooLarge,
    /// The model that answered is not the one asked for.
    OtherModel,
    /// The text was not valid UTF-8.
    BadText,
}

/// Why entries were removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EvictReason {
    /// Older than the TTL.
    Expired,
    /// To make room.
    Capacity,
    /// A person cleared the cache.
    Cleared,
    /// A person said that the answer is wrong.
    Labelled,
}
