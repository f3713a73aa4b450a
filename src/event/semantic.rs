//! Events of the semantic cache: similar prompts, guards, misses.

use serde::{Deserialize, Serialize};

use super::CallId;
use crate::text::SafeText;

/// The stored prompt most similar to another one.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NearestPrompt {
    /// The call that sent the stored prompt.
    pub source: CallId,
    /// The beginning of the prompt.
    pub prompt: SafeText,
    /// Cosine similarity of the embeddings, -1 to 1.
    pub similarity: f64,
    /// The similarity required: the setting, raised by a label.
    pub threshold: f64,
    /// The objection of a guard, if the similarity suffices but the answer is not served.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub objection: Option<Objection>,
}

/// The objection of a guard to a near match.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Objection {
    /// The kind of difference.
    pub guard: SemanticGuard,
    /// The text in the new prompt; empty if only the stored one has it.
    pub asked: SafeText,
    /// The text in the stored prompt.
    pub stored: SafeText,
}

/// Guards of the semantic cache, by the difference they detect.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum SemanticGuard {
    /// Numbers, dates, versions.
    Number,
    /// Units and currencies.
    Unit,
    /// `not`, `without`, `never`.
    Negation,
    /// `first` and `last`, `enable` and `disable`.
    Opposite,
    /// Named people, places, products.
    Name,
    /// Quoted strings and code.
    Quote,
    /// Roles: the same words in another order.
    Role,
    /// The language of the prompt or the one requested.
    Language,
    /// A word that changes the question (`who`, `when`, `how many`).
    Question,
    /// A content word that only one prompt has.
    Word,
}

/// Reasons for a semantic miss.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum SemanticMiss {
    /// Nothing compatible is stored.
    Empty,
    /// The nearest prompt is not similar enough.
    NotSimilar,
    /// Similar enough, but rejected by a guard.
    GuardRejected,
    /// The embedder took too long.
    TimedOut,
    /// The embedder failed.
    Failed,
    /// This kind of request is never matched: an image, no text.
    Ineligible,
}
