//! Roles: the same words with subject and object swapped.
//!
//! A word that relates two things (`to`, `than`, `beat`) has words before and after it. If both prompts have the
//! word and the two sides are swapped, so are the roles:
//!
//! ```text
//! convert JSON to YAML          before `to`: convert, json    after: yaml
//! convert YAML to JSON          before `to`: convert, yaml    after: json     -> rejected
//! Brazil was beaten by Germany  `by` swaps the sides: germany | beat | brazil
//! ```

use super::{PromptPair, new_objection};
use crate::event::{Objection, SemanticGuard};
use crate::semantic::thesaurus::THESAURUS;
use crate::semantic::tokens::Prompt;
use crate::semantic::word::{Word, WordKind};

/// Function words that relate the words before them to those after them.
const RELATIONS: &[&str] = &[
    "to", "into", "from", "than", "before", "after", "over", "under", "against", "of", "with", "for", "on",
    "in", "via", "as", "about", "while", "per",
];

/// Function words that agree with the words around them: `does the teacher`, `do the students`.
const AGREEING: &[&str] = &[
    "a", "an", "the", "do", "does", "did", "is", "are", "was", "were", "has", "have", "had",
];

/// Words whose sides are interchangeable.
const SYMMETRIC: &[&str] = &["and", "or", "vs", "versus", "nor", "between", "plus", "times"];

/// Words after which `to` begins an infinitive.
const INFINITIVE: &[&str] = &[
    "how", "what", "where", "when", "way", "ways", "want", "need", "have", "has", "going", "able", "used",
    "try", "like",
];

/// Content words compared on either side.
const REACH: usize = 3;
/// Words of a prompt that are compared: a longer prompt is a text, where roles cannot be matched.
const MAX_WORDS: usize = 200;

/// A relating word with the words around it.
struct Relation<'r> {
    key: &'r str,
    is_content: bool,
    passive: bool,
    raw: &'r str,
    before: Vec<&'r str>,
    after: Vec<&'r str>,
    /// The nearest word on either side, in its original text.
    nearest: (Option<&'r str>, Option<&'r str>),
}

impl Relation<'_> {
    /// Returns true if the other prompt has the same relation.
    fn is_in(&self, other: &[Relation<'_>]) -> bool {
        let same =
            |one: &Relation<'_>| one.key == self.key && one.before == self.before && one.after == self.after;
        other.iter().any(same)
    }
}

pub(super) fn guard(pair: &PromptPair<'_>) -> Option<Objection> {
    let (asked, stored) = (relations(&pair.asked), relations(&pair.stored));
    let same_grammar = has_same_grammar(&pair.asked, &pair.stored);
    for one in &asked {
        for other in stored.iter().filter(|other| other.key == one.key) {
            // both relations occur in both prompts
            if one.is_in(&stored) && other.is_in(&asked) {
                continue;
            }
            if is_swapped(one, other) && (!one.is_content || one.passive != other.passive || same_grammar) {
                return Some(new_objection(
                    SemanticGuard::Role,
                    &side_by_side(one),
                    &side_by_side(other),
                ));
            }
        }
    }
    None
}

fn side_by_side(relation: &Relation<'_>) -> String {
    let (before, after) = relation.nearest;
    format!(
        "{} {} {}",
        before.unwrap_or_default(),
        relation.raw,
        after.unwrap_or_default()
    )
}

/// Returns true if the function words of two prompts differ in at most one. Rewording can also swap the sides of a
/// content word (`a vegetarian recipe for dinner`, `a dinner recipe that is vegetarian`), but it changes these
/// words.
fn has_same_grammar(one: &Prompt<'_>, other: &Prompt<'_>) -> bool {
    fn grammar<'r>(prompt: &'r Prompt<'_>) -> Vec<&'r str> {
        let words = prompt.words.iter().take(MAX_WORDS);
        let grammar =
            words.filter(|word| word.kind == WordKind::Function && !AGREEING.contains(&&*word.lower));
        grammar.map(|word| &*word.lower).collect()
    }
    let mut unmatched = grammar(other);
    let mut extra = 0;
    for word in grammar(one) {
        match unmatched.iter().position(|other| *other == word) {
            Some(at) => drop(unmatched.swap_remove(at)),
            None => extra += 1,
        }
    }
    extra + unmatched.len() <= 1
}

/// Returns true if the words before one are after the other, and vice versa.
fn is_swapped(one: &Relation<'_>, other: &Relation<'_>) -> bool {
    let meet = |a: &[&str], b: &[&str]| a.iter().any(|word| b.contains(word));
    let kept = |a: &[&str], b: &[&str]| a.first().is_some_and(|first| b.first() == Some(first));
    meet(&one.before, &other.after)
        && meet(&one.after, &other.before)
        && !kept(&one.before, &other.before)
        && !kept(&one.after, &other.after)
}

fn relations<'r, 'a>(prompt: &'r Prompt<'a>) -> Vec<Relation<'r>> {
    let words: Vec<&'r Word<'a>> = prompt
        .words
        .iter()
        .filter(|word| word.kind != WordKind::Padding)
        .take(MAX_WORDS)
        .collect();
    let mut found = Vec::new();
    for (at, word) in words.iter().enumerate() {
        let relates = match word.kind {
            WordKind::Function => RELATIONS.contains(&&*word.lower),
            WordKind::Content => !SYMMETRIC.contains(&&*word.lower),
            _ => false,
        };
        let previous = at.checked_sub(1).and_then(|before| words.get(before));
        let infinitive =
            word.lower == "to" && previous.is_none_or(|before| INFINITIVE.contains(&&*before.lower));
        if !relates || infinitive {
            continue;
        }
        let mut before = nearest_words(words.get(..at).unwrap_or_default().iter().rev());
        let mut after = nearest_words(words.get(at + 1..).unwrap_or_default().iter());
        let by = words.get(at + 1..).unwrap_or_default().iter().take(2);
        // `beaten by` swaps the sides, and `from` is `to` with the sides swapped
        let inflected = !word.lower.ends_with('s') && THESAURUS.key(&word.lower) != word.lower;
        let passive =
            word.kind == WordKind::Content && inflected && by.into_iter().any(|next| next.lower == "by");
        let key = if word.lower == "from" || word.lower == "into" {
            "to"
        } else {
            &word.concept
        };
        if passive || word.lower == "from" {
            std::mem::swap(&mut before, &mut after);
        }
        let nearest = (
            before.first().map(|word| word.raw),
            after.first().map(|word| word.raw),
        );
        found.push(Relation {
            key,
            is_content: word.kind == WordKind::Content,
            passive,
            raw: word.raw,
            before: before.iter().map(|word| &*word.concept).collect(),
            after: after.iter().map(|word| &*word.concept).collect(),
            nearest,
        });
    }
    found
}

/// The nearest content words, up to a word whose sides are interchangeable.
fn nearest_words<'x, 'r: 'x, 'a: 'r>(words: impl Iterator<Item = &'x &'r Word<'a>>) -> Vec<&'r Word<'a>> {
    let until = words.take_while(|word| !SYMMETRIC.contains(&&*word.lower));
    let content = until.filter(|word| !matches!(word.kind, WordKind::Function | WordKind::Padding));
    content.take(REACH).copied().collect()
}
