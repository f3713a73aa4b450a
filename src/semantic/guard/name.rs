//! Names of people, places and products; files and identifiers.

use super::{PromptPair, join_raw, objection_if_any};
use crate::event::{Objection, SemanticGuard};
use crate::semantic::guard::word::is_in;
use crate::semantic::thesaurus::THESAURUS;
use crate::semantic::tokens::Prompt;
use crate::semantic::word::{Word, WordKind};

/// From this many content words on, capitals on nearly all of them are title case.
const TITLE_CASE_WORDS: usize = 4;

pub(super) fn guard(pair: &PromptPair<'_>) -> Option<Objection> {
    let [asked, stored] = pair
        .sides()
        .map(|(of, other)| join_raw(names(of).filter(|name| !is_in(name, of, other))));
    objection_if_any(SemanticGuard::Name, &asked, &stored)
}

fn names<'r, 'a>(prompt: &'r Prompt<'a>) -> impl Iterator<Item = &'r Word<'a>> {
    let capitals = capitals_mean_names(prompt);
    prompt.content().filter(move |word| {
        word.kind == WordKind::Code
            || THESAURUS.is_name(&word.concept)
            || capitals && (is_acronym(word) || is_capital(word) && !word.opens)
    })
}

fn capitals_mean_names(prompt: &Prompt<'_>) -> bool {
    let (mut all, mut capital) = (0, 0);
    for word in prompt.content() {
        all += 1;
        capital += usize::from(is_capital(word));
    }
    all < TITLE_CASE_WORDS || capital * 4 < all * 3
}

fn is_capital(word: &Word<'_>) -> bool {
    word.raw.chars().next().is_some_and(char::is_uppercase)
}

/// Two or more capitals or digits, and nothing else.
fn is_acronym(word: &Word<'_>) -> bool {
    word.raw.len() > 1 && word.raw.chars().all(|c| c.is_uppercase() || c.is_ascii_digit())
}
