//! Words of content that only one of the prompts has.

use super::{Pair, told, written};
use crate::event::{Objection, SemanticGuard};
use crate::semantic::thesaurus::THESAURUS;
use crate::semantic::tokens::{Kind, Reading, Word};

/// A word this long may have one slip of the keyboard in it.
const SHORTEST_SLIP: usize = 4;
/// A word this long may have two.
const SHORTEST_TWO_SLIPS: usize = 9;

/// One word in the place of another, and all else the same: with any embedder the two are as near as can be, and
/// words that are not known to mean the same do not.
pub(super) fn swapped(pair: &Pair<'_>) -> Option<Objection> {
    let [asked, stored] = left(pair);
    (asked.len() == 1 && stored.len() == 1)
        .then(|| told(SemanticGuard::Word, &written(asked), &written(stored)))
}

/// Any word left over.
pub(super) fn left_over(pair: &Pair<'_>) -> Option<Objection> {
    let [asked, stored] = left(pair);
    let differ = !asked.is_empty() || !stored.is_empty();
    differ.then(|| told(SemanticGuard::Word, &written(asked), &written(stored)))
}

fn left<'p, 'a>(pair: &'p Pair<'a>) -> [Vec<&'p Word<'a>>; 2] {
    pair.sides()
        .map(|(of, other)| of.content().filter(|word| !is_in(word, of, other)).collect())
}

/// Whether the other prompt has a word: the same, one of its group, or misspelled.
pub(super) fn is_in(word: &Word<'_>, of: &Reading<'_>, other: &Reading<'_>) -> bool {
    other
        .words
        .iter()
        .any(|one| one.concept == word.concept || one.lower == word.lower)
        || is_compound(word, other)
        || is_compound_of(word, of, other)
        || other.words.iter().any(|one| is_slip(word, one))
}

/// `filename` where the other has `file name`.
fn is_compound(word: &Word<'_>, other: &Reading<'_>) -> bool {
    let pairs = other.words.iter().zip(other.words.iter().skip(1));
    word.lower.len() > 5
        && pairs.into_iter().any(|(one, next)| {
            word.lower
                .strip_prefix(&*one.lower)
                .is_some_and(|rest| !rest.is_empty() && (rest == next.lower || rest == next.concept))
        })
}

/// `file` or `name` where the other has `filename`.
fn is_compound_of(word: &Word<'_>, of: &Reading<'_>, other: &Reading<'_>) -> bool {
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

/// Whether one word is the other with a slip: one of them is known to be spelled right, and the other is not known.
/// Of two unknown words, only long ones that differ by a letter left out or turned round.
fn is_slip(one: &Word<'_>, other: &Word<'_>) -> bool {
    let (a, b) = (&*one.lower, &*other.lower);
    let plain = |word: &Word<'_>| {
        matches!(word.kind, Kind::Content | Kind::Function)
            && word.lower.bytes().all(|byte| byte.is_ascii_alphabetic())
    };
    let length = a.len().min(b.len());
    if length < SHORTEST_SLIP || a.len().abs_diff(b.len()) > 2 || !plain(one) || !plain(other) {
        return false;
    }
    let slips = strsim::osa_distance(a, b);
    let same_length = a.len() == b.len();
    let sorted = |word: &str| {
        let mut bytes = word.as_bytes().to_vec();
        bytes.sort_unstable();
        bytes
    };
    // another letter in the place of one makes another word too often: mouse and moose, desert and dessert
    let is_substitution = same_length && sorted(a) != sorted(b);
    match (THESAURUS.knows(a), THESAURUS.knows(b)) {
        (true, true) => false,
        (false, false) => slips == 1 && length > 7 && !is_substitution,
        _ => {
            slips == 1 && (!is_substitution || length > 5 && a.get(..1) == b.get(..1))
                || slips == 2 && length >= SHORTEST_TWO_SLIPS && a.get(..2) == b.get(..2)
        }
    }
}
