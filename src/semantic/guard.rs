//! What refuses a near match: differences that change the answer and hardly change an embedding.
//!
//! Embeddings put `enable 2FA` nearer to `disable 2FA` than to `turn on two-factor authentication` (design field
//! 3.2), so likeness alone must not decide. Two levels:
//!
//! ```text
//! objection          numbers, units, negation, opposites, names, quotes, roles, language, question,
//!                    and one word of content put in the place of another: right with any embedder
//! lexical_objection  all of that, and no word of content left over on either side: for the built-in embedder,
//!                    to which any two words are equally strange. A model's paraphrases share too few words for it
//! ```
//!
//! A guard sees two texts and nothing else, and the first that objects is told. Guards err on the side of asking
//! the upstream: a refusal costs a call, a wrong answer costs trust.

mod language;
mod name;
mod number;
mod order;
mod polarity;
mod question;
mod quote;
mod word;

use super::tokens::{Reading, Word};
use crate::event::{Objection, SemanticGuard};
use crate::text::SafeText;

/// Characters of either side that are shown.
const SHOWN: usize = 80;

/// The guards of every embedder, in the order in which they are asked: what says most comes first.
const GUARDS: &[fn(&Pair<'_>) -> Option<Objection>] = &[
    quote::guard,
    language::guard,
    polarity::negation,
    polarity::opposites,
    polarity::narrowing,
    number::numbers,
    number::units,
    name::guard,
    order::guard,
    question::guard,
    word::swapped,
];

/// Why the answer to `stored` must not be given to `asked`, whatever the embedder says of them; nothing if no guard
/// sees a reason.
pub fn objection(asked: &str, stored: &str) -> Option<Objection> {
    if asked == stored {
        return None;
    }
    hard(&Pair::new(asked, stored))
}

/// The same for the built-in embedder: a word of content that only one of the two has is a reason too.
pub fn lexical_objection(asked: &str, stored: &str) -> Option<Objection> {
    if asked == stored {
        return None;
    }
    let pair = Pair::new(asked, stored);
    hard(&pair).or_else(|| word::left_over(&pair))
}

fn hard(pair: &Pair<'_>) -> Option<Objection> {
    pair.too_long()
        .or_else(|| GUARDS.iter().find_map(|guard| guard(pair)))
}

/// Two prompts that have been read.
struct Pair<'a> {
    asked: Reading<'a>,
    stored: Reading<'a>,
}

impl<'a> Pair<'a> {
    fn new(asked: &'a str, stored: &'a str) -> Self {
        Self {
            asked: Reading::of(asked),
            stored: Reading::of(stored),
        }
    }

    /// What is not read cannot be compared.
    fn too_long(&self) -> Option<Objection> {
        let said = |reading: &Reading<'_>| {
            if reading.cut {
                "more words than are compared"
            } else {
                ""
            }
        };
        (self.asked.cut || self.stored.cut)
            .then(|| told(SemanticGuard::Word, said(&self.asked), said(&self.stored)))
    }

    /// The same pair, seen from the other side.
    fn sides(&self) -> [(&Reading<'a>, &Reading<'a>); 2] {
        [(&self.asked, &self.stored), (&self.stored, &self.asked)]
    }
}

/// An objection, with what either side has.
fn told(guard: SemanticGuard, asked: &str, stored: &str) -> Objection {
    Objection {
        guard,
        asked: shown(asked),
        stored: shown(stored),
    }
}

fn shown(text: &str) -> SafeText {
    SafeText::new(&SafeText::excerpt(text, SHOWN).single_line())
}

/// Words as they are written, between commas.
fn written<'a, 'b: 'a>(words: impl IntoIterator<Item = &'a Word<'b>>) -> String {
    let mut out = String::new();
    for word in words {
        if out.len() > SHOWN * 4 {
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
