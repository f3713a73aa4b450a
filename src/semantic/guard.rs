//! Guards: reject a similar prompt if a difference changes the answer but hardly changes the embedding
//! (docs/semantics.md, Semantic cache).
//!
//! Embeddings place `enable 2FA` closer to `disable 2FA` than to `turn on two-factor authentication`, so
//! similarity alone must not decide. There are two levels:
//!
//! ```text
//! objection          numbers, units, negation, opposites, names, quotes, roles, language, question, and one content
//!                    word replaced by another: for any embedder
//! lexical_objection  all of these, and any unmatched content word: for the built-in embedder, to which any two words
//!                    are equally different. Too strict for a model, whose paraphrases share few words
//! ```
//!
//! A guard compares two texts only; the first objection is reported. Guards err on the side of asking the
//! upstream: a rejection costs a call, a wrong answer costs trust.

mod language;
mod name;
mod number;
mod polarity;
mod question;
mod quote;
mod role;
mod word;

use super::tokens::Prompt;
use super::word::Word;
use crate::event::{Objection, SemanticGuard};
use crate::text::SafeText;

/// Characters of either prompt in an objection.
const MAX_SHOWN: usize = 80;

/// The guards for every embedder, most specific first.
const GUARDS: &[fn(&PromptPair<'_>) -> Option<Objection>] = &[
    quote::guard,
    language::guard,
    polarity::negation,
    polarity::opposites,
    polarity::narrowing,
    number::numbers,
    number::units,
    name::guard,
    role::guard,
    question::guard,
    word::swapped,
];

/// Returns the reason not to serve the answer of `stored` to `asked`, with any embedder; `None` if no guard
/// objects.
pub fn objection(asked: &str, stored: &str) -> Option<Objection> {
    if asked == stored {
        return None;
    }
    common_objection(&PromptPair::new(asked, stored))
}

/// Like [`objection`], for the built-in embedder: an unmatched content word is a reason too.
pub fn lexical_objection(asked: &str, stored: &str) -> Option<Objection> {
    if asked == stored {
        return None;
    }
    let pair = PromptPair::new(asked, stored);
    common_objection(&pair).or_else(|| word::unmatched(&pair))
}

fn common_objection(pair: &PromptPair<'_>) -> Option<Objection> {
    pair.too_long()
        .or_else(|| GUARDS.iter().find_map(|guard| guard(pair)))
}

/// Two tokenised prompts.
struct PromptPair<'a> {
    asked: Prompt<'a>,
    stored: Prompt<'a>,
}

impl<'a> PromptPair<'a> {
    fn new(asked: &'a str, stored: &'a str) -> Self {
        Self {
            asked: Prompt::parse(asked),
            stored: Prompt::parse(stored),
        }
    }

    fn too_long(&self) -> Option<Objection> {
        let [asked, stored] = [&self.asked, &self.stored].map(|prompt| {
            if prompt.truncated {
                "more words than are compared"
            } else {
                ""
            }
        });
        objection_if_any(SemanticGuard::Word, asked, stored)
    }

    /// Each prompt with the other one.
    fn sides(&self) -> [(&Prompt<'a>, &Prompt<'a>); 2] {
        [(&self.asked, &self.stored), (&self.stored, &self.asked)]
    }
}

/// An objection with the differing text of either prompt.
fn new_objection(guard: SemanticGuard, asked: &str, stored: &str) -> Objection {
    let excerpt = |text| SafeText::new(&SafeText::excerpt(text, MAX_SHOWN).single_line());
    Objection {
        guard,
        asked: excerpt(asked),
        stored: excerpt(stored),
    }
}

/// An objection if either prompt has differing text.
fn objection_if_any(guard: SemanticGuard, asked: &str, stored: &str) -> Option<Objection> {
    let differ = !asked.is_empty() || !stored.is_empty();
    differ.then(|| new_objection(guard, asked, stored))
}

/// The original text of words, comma-separated.
fn join_raw<'a, 'b: 'a>(words: impl IntoIterator<Item = &'a Word<'b>>) -> String {
    let mut out = String::new();
    for word in words {
        if out.len() > MAX_SHOWN * 4 {
            break;
        }
        if !out.is_empty() {
            out.push_str(", ");
        }
        out.push_str(word.raw);
    }
    out
}

#[cfg(test)]
mod tests;
