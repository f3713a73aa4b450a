//! What the semantic cache says, and why.

use serde::{Deserialize, Serialize};

use super::CallId;
use crate::text::SafeText;

/// The stored prompt nearest to another one.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NearestPrompt {
    /// The call that had asked it.
    pub source: CallId,
    /// The beginning of it.
    pub prompt: SafeText,
    /// Cosine of the two embeddings, -1 to 1.
    pub similarity: f64,
    /// What it had to be at least: the setting, or what a label asks for.
    pub threshold: f64,
    /// Why it may not be served although it is like enough.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub objection: Option<Objection>,
}

/// Why a near match is refused.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Objection {
    /// What kind of difference.
    pub guard: SemanticGuard,
    /// What the new prompt has: empty where only the other one has something.
    pub asked: SafeText,
    /// What the stored one has.
    pub stored: SafeText,
}

/// What a guard of the semantic cache looks at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
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
    /// Who does what to whom: the same words in another order.
    Role,
    /// The language asked in, or for.
    Language,
    /// What is asked for: a word that changes the question (`who`, `when`, `how many`).
    Question,
    /// A word with content that only one of them has.
    Word,
}

/// Why the semantic cache served nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SemanticMiss {
    /// Nothing compatible is stored.
    Empty,
    /// The nearest prompt is not like enough.
    NotSimilar,
    /// It is like enough, and a guard refused it.
    GuardRejected,
    /// The embedder took too long.
    TimedOut,
    /// The embedder failed.
    Failed,
    /// This kind of request is never matched by meaning: an image, no text.
    Ineligible,
}
