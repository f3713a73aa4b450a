//! Negation and opposites.

use std::collections::BTreeMap;

use super::{Pair, told, written};
use crate::event::{Objection, SemanticGuard};
use crate::semantic::thesaurus::THESAURUS;
use crate::semantic::tokens::{Kind, Reading, Word};

/// Words that turn a statement round.
const NEGATIONS: &[&str] = &[
    "not",
    "no",
    "never",
    "without",
    "except",
    "cannot",
    "neither",
    "nor",
    "none",
    "nobody",
    "nothing",
    "nowhere",
    "unless",
    "excluding",
    "unable",
    "impossible",
    "lack",
    "lacks",
    "lacking",
    "apart",
    "hardly",
];

/// Beginnings that make an opposite of a word.
const PREFIXES: &[&str] = &["un", "in", "im", "il", "ir", "dis", "de", "non", "anti", "mis"];

pub(super) fn negation(pair: &Pair<'_>) -> Option<Objection> {
    let (asked, stored) = (negations(&pair.asked), negations(&pair.stored));
    (asked.len() != stored.len()).then(|| told(SemanticGuard::Negation, &written(asked), &written(stored)))
}

fn negations<'r, 'a>(reading: &'r Reading<'a>) -> Vec<&'r Word<'a>> {
    let words = reading.words.iter();
    words
        .filter(|word| word.kind != Kind::Padding && NEGATIONS.contains(&&*word.lower))
        .collect()
}

pub(super) fn opposites(pair: &Pair<'_>) -> Option<Objection> {
    from_table(pair).or_else(|| from_prefix(pair))
}

/// What each pair of opposites has in a prompt: a word of its one side, a word of its other side.
type Sides<'r, 'a> = BTreeMap<u16, [Option<&'r Word<'a>>; 2]>;

fn from_table(pair: &Pair<'_>) -> Option<Objection> {
    let (asked, stored) = (sides(&pair.asked), sides(&pair.stored));
    asked.iter().find_map(|(number, of_asked)| {
        let (([Some(one), _], [None, Some(other)])
        | ([_, Some(one)], [Some(other), None])
        | ([Some(one), None], [_, Some(other)])
        | ([None, Some(one)], [Some(other), _])) = (of_asked, stored.get(number)?)
        else {
            return None;
        };
        Some(told(SemanticGuard::Opposite, one.raw, other.raw))
    })
}

fn sides<'r, 'a>(reading: &'r Reading<'a>) -> Sides<'r, 'a> {
    let mut found = Sides::new();
    for word in reading.words.iter().filter(|word| word.kind != Kind::Padding) {
        // the words of a phrase too: `lose weight`
        let parts = word.lower.split(' ').map(|part| THESAURUS.key(part));
        for key in parts.chain([word.concept.to_string()]) {
            for (number, is_other) in THESAURUS.opposites(&key) {
                if let Some(side) = found.entry(*number).or_default().get_mut(usize::from(*is_other)) {
                    *side = Some(word);
                }
            }
        }
    }
    found
}

/// Words of grammar that change what is asked for: all others may come and go.
const NARROWING: &[&str] = &[
    "only", "during", "before", "after", "until", "since", "within", "above", "below", "per",
];

/// What `in place of` and `rather than` mean too: `with aspirin` is not `instead of aspirin`.
const INSTEAD: &str = "instead of";

pub(super) fn narrowing(pair: &Pair<'_>) -> Option<Objection> {
    let narrows = |word: &&Word<'_>| NARROWING.contains(&&*word.lower) || word.concept == INSTEAD;
    let [asked, stored] = pair.sides().map(|(of, other)| {
        let narrowing = of.words.iter().filter(narrows);
        written(narrowing.filter(|word| {
            !other
                .words
                .iter()
                .any(|one| one.concept == word.concept || one.lower.split(' ').any(|part| part == word.lower))
        }))
    });
    let differ = !asked.is_empty() || !stored.is_empty();
    differ.then(|| told(SemanticGuard::Word, &asked, &stored))
}

/// `encrypted` and `unencrypted`.
fn from_prefix(pair: &Pair<'_>) -> Option<Objection> {
    let made = |one: &Word<'_>, other: &Word<'_>| {
        PREFIXES.iter().any(|prefix| {
            one.lower
                .strip_prefix(prefix)
                .is_some_and(|rest| rest.len() > 3 && THESAURUS.key(rest) == THESAURUS.key(&other.lower))
        })
    };
    for (asked, stored, turned) in [
        (&pair.asked, &pair.stored, false),
        (&pair.stored, &pair.asked, true),
    ] {
        for one in asked.content().filter(|word| word.lower.len() > 5) {
            let Some(other) = stored.content().find(|other| made(one, other)) else {
                continue;
            };
            let alike = |word: &&Word<'_>, other: &Word<'_>| word.concept == other.concept;
            let both_have_both = asked.content().any(|word| alike(&word, other))
                || stored.content().any(|word| alike(&word, one));
            if !both_have_both {
                let (asked, stored) = if turned { (other, one) } else { (one, other) };
                return Some(told(SemanticGuard::Opposite, asked.raw, stored.raw));
            }
        }
    }
    None
}
