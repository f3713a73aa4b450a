//! Named people, places, products, files, identifiers.

use super::{Pair, told, written};
use crate::event::{Objection, SemanticGuard};
use crate::semantic::guard::word::is_in;
use crate::semantic::thesaurus::THESAURUS;
use crate::semantic::tokens::{Kind, Reading, Word};

/// In a prompt with so many words of content, and nearly all with a capital, capitals are style.
const TITLE_WORDS: usize = 4;

pub(super) fn guard(pair: &Pair<'_>) -> Option<Objection> {
    let [asked, stored] = pair
        .sides()
        .map(|(of, other)| written(names(of).filter(|name| !is_in(name, of, other))));
    let differ = !asked.is_empty() || !stored.is_empty();
    differ.then(|| told(SemanticGuard::Name, &asked, &stored))
}

/// The names in a prompt.
fn names<'r, 'a>(reading: &'r Reading<'a>) -> impl Iterator<Item = &'r Word<'a>> {
    let capitals = capitals_mean_names(reading);
    reading.content().filter(move |word| {
        word.kind == Kind::Code
            || THESAURUS.is_name(&word.concept)
            || capitals && (is_acronym(word) || is_capital(word) && !word.opens)
    })
}

fn capitals_mean_names(reading: &Reading<'_>) -> bool {
    let (mut all, mut capital) = (0, 0);
    for word in reading.content() {
        all += 1;
        capital += usize::from(is_capital(word));
    }
    all < TITLE_WORDS || capital * 4 < all * 3
}

fn is_capital(word: &Word<'_>) -> bool {
    word.raw.chars().next().is_some_and(char::is_uppercase)
}

/// Two capitals or more, and nothing else.
fn is_acronym(word: &Word<'_>) -> bool {
    word.raw.len() > 1 && word.raw.chars().all(|c| c.is_uppercase() || c.is_ascii_digit())
}
