//! Content words that only one of the prompts has.

use super::{PromptPair, join_raw, new_objection, objection_if_any};
use crate::event::{Objection, SemanticGuard};
use crate::semantic::thesaurus::THESAURUS;
use crate::semantic::tokens::Prompt;
use crate::semantic::word::{Word, WordKind};

/// The shortest word in which one typing error is accepted.
const MIN_ONE_TYPO: usize = 4;
/// The shortest word in which two are.
const MIN_TWO_TYPOS: usize = 9;

/// One content word replaced by another, and all else the same: the embeddings are very close, but words that are
/// not known synonyms differ in meaning.
pub(super) fn swapped(pair: &PromptPair<'_>) -> Option<Objection> {
    let [asked, stored] = unmatched_words(pair);
    (asked.len() == 1 && stored.len() == 1)
        .then(|| new_objection(SemanticGuard::Word, &join_raw(asked), &join_raw(stored)))
}

/// Any unmatched content word.
pub(super) fn unmatched(pair: &PromptPair<'_>) -> Option<Objection> {
    let [asked, stored] = unmatched_words(pair).map(join_raw);
    objection_if_any(SemanticGuard::Word, &asked, &stored)
}

fn unmatched_words<'p, 'a>(pair: &'p PromptPair<'a>) -> [Vec<&'p Word<'a>>; 2] {
    pair.sides()
        .map(|(of, other)| of.content().filter(|word| !is_in(word, of, other)).collect())
}

/// Returns true if the other prompt has the word, a synonym or a misspelling of it.
pub(super) fn is_in(word: &Word<'_>, of: &Prompt<'_>, other: &Prompt<'_>) -> bool {
    other
        .words
        .iter()
        .any(|one| one.concept == word.concept || one.lower == word.lower)
        || is_compound(word, other)
        || is_compound_of(word, of, other)
        || other.words.iter().any(|one| is_typo(word, one))
}

/// `filename` if the other prompt has `file name`.
fn is_compound(word: &Word<'_>, other: &Prompt<'_>) -> bool {
    let pairs = other.words.iter().zip(other.words.iter().skip(1));
    word.lower.len() > 5
        && pairs.into_iter().any(|(one, next)| {
            word.lower
                .strip_prefix(&*one.lower)
                .is_some_and(|rest| !rest.is_empty() && (rest == next.lower || rest == next.concept))
        })
}

/// `file` or `name` if the other prompt has `filename`.
fn is_compound_of(word: &Word<'_>, of: &Prompt<'_>, other: &Prompt<'_>) -> bool {
    let pairs = of.words.iter().zip(of.words.iter().skip(1));
    pairs
        .into_iter()
        .filter(|(one, next)| one.at == word.at || next.at == word.at)
        .any(|(one, next)| {
            other.words.iter().any(|whole| {
                whole
                    .lower
                    .strip_prefix(&*one.lower)
                    .is_some_and(|rest| rest == next.lower)
            })
        })
}

/// Returns true if one word is a misspelling of the other: the thesaurus has exactly one of them. Two unknown
/// words match only if they are long and differ by an omitted letter or two swapped ones.
fn is_typo(one: &Word<'_>, other: &Word<'_>) -> bool {
    let (a, b) = (&*one.lower, &*other.lower);
    let plain = |word: &Word<'_>| {
        matches!(word.kind, WordKind::Content | WordKind::Function)
            && word.lower.bytes().all(|byte| byte.is_ascii_alphabetic())
    };
    let length = a.len().min(b.len());
    if length < MIN_ONE_TYPO || a.len().abs_diff(b.len()) > 2 || !plain(one) || !plain(other) {
        return false;
    }
    let typos = strsim::osa_distance(a, b);
    let same_length = a.len() == b.len();
    let sorted = |word: &str| {
        let mut bytes = word.as_bytes().to_vec();
        bytes.sort_unstable();
        bytes
    };
    // replacing a letter often gives another word: mouse and moose
    let is_substitution = same_length && sorted(a) != sorted(b);
    match (THESAURUS.knows(a), THESAURUS.knows(b)) {
        (true, true) => false,
        (false, false) => typos == 1 && length > 7 && !is_substitution,
        _ => {
            typos == 1 && (!is_substitution || length > 5 && a.get(..1) == b.get(..1))
                || typos == 2 && length >= MIN_TWO_TYPOS && a.get(..2) == b.get(..2)
        }
    }
}
