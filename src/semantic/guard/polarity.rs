//! Negation and opposites.

use std::collections::BTreeMap;

use super::{PromptPair, join_raw, new_objection, objection_if_any};
use crate::event::{Objection, SemanticGuard};
use crate::semantic::thesaurus::THESAURUS;
use crate::semantic::tokens::Prompt;
use crate::semantic::word::{Word, WordKind};

/// Words that negate a statement.
#[rustfmt::skip]
const NEGATIONS: &[&str] = &[
    "not", "no", "never", "without", "except", "cannot", "neither", "nor", "none", "nobody", "nothing",
    "nowhere", "unless", "excluding", "unable", "impossible", "lack", "lacks", "lacking", "apart", "hardly",
];

/// Prefixes that form an opposite.
const PREFIXES: &[&str] = &["un", "in", "im", "il", "ir", "dis", "de", "non", "anti", "mis"];

pub(super) fn negation(pair: &PromptPair<'_>) -> Option<Objection> {
    let (asked, stored) = (negations(&pair.asked), negations(&pair.stored));
    (asked.len() != stored.len())
        .then(|| new_objection(SemanticGuard::Negation, &join_raw(asked), &join_raw(stored)))
}

fn negations<'r, 'a>(prompt: &'r Prompt<'a>) -> Vec<&'r Word<'a>> {
    let words = prompt.words.iter();
    words
        .filter(|word| word.kind != WordKind::Padding && NEGATIONS.contains(&&*word.lower))
        .collect()
}

pub(super) fn opposites(pair: &PromptPair<'_>) -> Option<Objection> {
    from_table(pair).or_else(|| from_prefix(pair))
}

/// For each pair of opposites, a word of either side in a prompt.
type Sides<'r, 'a> = BTreeMap<u16, [Option<&'r Word<'a>>; 2]>;

fn from_table(pair: &PromptPair<'_>) -> Option<Objection> {
    let (asked, stored) = (sides(&pair.asked), sides(&pair.stored));
    asked.iter().find_map(|(number, of_asked)| {
        let (([Some(one), _], [None, Some(other)])
        | ([_, Some(one)], [Some(other), None])
        | ([Some(one), None], [_, Some(other)])
        | ([None, Some(one)], [Some(other), _])) = (of_asked, stored.get(number)?)
        else {
            return None;
        };
        Some(new_objection(SemanticGuard::Opposite, one.raw, other.raw))
    })
}

fn sides<'r, 'a>(prompt: &'r Prompt<'a>) -> Sides<'r, 'a> {
    let mut found = Sides::new();
    for word in prompt.words.iter().filter(|word| word.kind != WordKind::Padding) {
        // including the words of a phrase: `lose weight`
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

/// Function words that change the question; others are ignored.
const NARROWING: &[&str] = &[
    "only", "during", "before", "after", "until", "since", "within", "above", "below", "per",
];

/// The group of `in place of` and `rather than`: `with aspirin` is not `instead of aspirin`.
const INSTEAD: &str = "instead of";

pub(super) fn narrowing(pair: &PromptPair<'_>) -> Option<Objection> {
    let narrows = |word: &&Word<'_>| NARROWING.contains(&&*word.lower) || word.concept == INSTEAD;
    let [asked, stored] = pair.sides().map(|(of, other)| {
        let narrowing = of.words.iter().filter(narrows);
        join_raw(narrowing.filter(|word| {
            !other
                .words
                .iter()
                .any(|one| one.concept == word.concept || one.lower.split(' ').any(|part| part == word.lower))
        }))
    });
    objection_if_any(SemanticGuard::Word, &asked, &stored)
}

/// `encrypted` and `unencrypted`.
fn from_prefix(pair: &PromptPair<'_>) -> Option<Objection> {
    let is_opposite = |one: &Word<'_>, other: &Word<'_>| {
        PREFIXES.iter().any(|prefix| {
            one.lower
                .strip_prefix(prefix)
                .is_some_and(|rest| rest.len() > 3 && THESAURUS.key(rest) == THESAURUS.key(&other.lower))
        })
    };
    for (asked, stored, swapped) in [
        (&pair.asked, &pair.stored, false),
        (&pair.stored, &pair.asked, true),
    ] {
        for one in asked.content().filter(|word| word.lower.len() > 5) {
            let Some(other) = stored.content().find(|other| is_opposite(one, other)) else {
                continue;
            };
            let same = |word: &&Word<'_>, other: &Word<'_>| word.concept == other.concept;
            let both_have_both = asked.content().any(|word| same(&word, other))
                || stored.content().any(|word| same(&word, one));
            if !both_have_both {
                let (asked, stored) = if swapped { (other, one) } else { (one, other) };
                return Some(new_objection(SemanticGuard::Opposite, asked.raw, stored.raw));
            }
        }
    }
    None
}
