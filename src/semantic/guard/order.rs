//! Roles: the same words, and who does what to whom is another.
//!
//! Around every word that relates two things (`to`, `than`, `beat`) each prompt has something before it and
//! something behind it. Where both prompts have the word and the sides have changed places, so have the roles:
//!
//! ```text
//! convert JSON to YAML          before `to`: convert, json    behind: yaml
//! convert YAML to JSON          before `to`: convert, yaml    behind: json     -> refused
//! Brazil was beaten by Germany  `by` turns the sides: germany | beat | brazil
//! ```

use super::{Pair, told};
use crate::event::{Objection, SemanticGuard};
use crate::semantic::thesaurus::THESAURUS;
use crate::semantic::tokens::{Kind, Reading, Word};

/// Words of grammar that relate what stands before them to what stands behind.
const RELATIONS: &[&str] = &[
    "to", "into", "from", "than", "before", "after", "over", "under", "against", "of", "with", "for", "on",
    "in", "via", "as", "about", "while", "per",
];

/// Words of grammar that bend with the words around them: `does the teacher`, `do the students`.
const BENDING: &[&str] = &[
    "a", "an", "the", "do", "does", "did", "is", "are", "was", "were", "has", "have", "had",
];

/// Words between which sides may change places.
const SYMMETRIC: &[&str] = &["and", "or", "vs", "versus", "nor", "between", "plus", "times"];

/// Words behind which `to` begins a verb and relates nothing.
const INFINITIVE: &[&str] = &[
    "how", "what", "where", "when", "way", "ways", "want", "need", "have", "has", "going", "able", "used",
    "try", "like",
];

/// Words of content on either side that are looked at.
const REACH: usize = 3;
/// Words of a prompt that are looked at: with more, it is a text and not a question of who and whom.
const MOST: usize = 200;

/// What stands around a word.
struct Around<'r> {
    key: &'r str,
    is_content: bool,
    passive: bool,
    raw: &'r str,
    before: Vec<&'r str>,
    behind: Vec<&'r str>,
    /// As they are written.
    nearest: (Option<&'r str>, Option<&'r str>),
}

impl Around<'_> {
    /// Whether the other prompt has the word with the same around it.
    fn stands_in(&self, other: &[Around<'_>]) -> bool {
        let same =
            |one: &Around<'_>| one.key == self.key && one.before == self.before && one.behind == self.behind;
        other.iter().any(same)
    }
}

pub(super) fn guard(pair: &Pair<'_>) -> Option<Objection> {
    let (asked, stored) = (around(&pair.asked), around(&pair.stored));
    let alike = same_grammar(&pair.asked, &pair.stored);
    for one in &asked {
        for other in stored.iter().filter(|other| other.key == one.key) {
            // a word that stands twice is only compared with itself
            if one.stands_in(&stored) && other.stands_in(&asked) {
                continue;
            }
            if turned(one, other) && (!one.is_content || one.passive != other.passive || alike) {
                return Some(told(
                    SemanticGuard::Role,
                    &side_by_side(one),
                    &side_by_side(other),
                ));
            }
        }
    }
    None
}

fn side_by_side(around: &Around<'_>) -> String {
    let (before, behind) = around.nearest;
    format!(
        "{} {} {}",
        before.unwrap_or_default(),
        around.raw,
        behind.unwrap_or_default()
    )
}

/// Whether two prompts have the same words of grammar, but for one. Around a word of content sides change places by
/// rewording too (`a vegetarian recipe for dinner`, `a dinner recipe that is vegetarian`), and then these change.
fn same_grammar(one: &Reading<'_>, other: &Reading<'_>) -> bool {
    fn grammar<'r>(reading: &'r Reading<'_>) -> Vec<&'r str> {
        let words = reading.words.iter().take(MOST);
        let grammar = words.filter(|word| word.kind == Kind::Function && !BENDING.contains(&&*word.lower));
        grammar.map(|word| &*word.lower).collect()
    }
    let mut left = grammar(other);
    let mut more = 0;
    for word in grammar(one) {
        match left.iter().position(|other| *other == word) {
            Some(at) => drop(left.swap_remove(at)),
            None => more += 1,
        }
    }
    more + left.len() <= 1
}

/// Whether what stood before stands behind, and the other way round.
fn turned(one: &Around<'_>, other: &Around<'_>) -> bool {
    let meet = |a: &[&str], b: &[&str]| a.iter().any(|word| b.contains(word));
    let kept = |a: &[&str], b: &[&str]| a.first().is_some_and(|first| b.first() == Some(first));
    meet(&one.before, &other.behind)
        && meet(&one.behind, &other.before)
        && !kept(&one.before, &other.before)
        && !kept(&one.behind, &other.behind)
}

fn around<'r, 'a>(reading: &'r Reading<'a>) -> Vec<Around<'r>> {
    let words: Vec<&'r Word<'a>> = reading
        .words
        .iter()
        .filter(|word| word.kind != Kind::Padding)
        .take(MOST)
        .collect();
    let mut found = Vec::new();
    for (at, word) in words.iter().enumerate() {
        let relates = match word.kind {
            Kind::Function => RELATIONS.contains(&&*word.lower),
            Kind::Content => !SYMMETRIC.contains(&&*word.lower),
            _ => false,
        };
        let after = at.checked_sub(1).and_then(|before| words.get(before));
        let infinitive =
            word.lower == "to" && after.is_none_or(|before| INFINITIVE.contains(&&*before.lower));
        if !relates || infinitive {
            continue;
        }
        let mut before = near(words.get(..at).unwrap_or_default().iter().rev());
        let mut behind = near(words.get(at + 1..).unwrap_or_default().iter());
        let by = words.get(at + 1..).unwrap_or_default().iter().take(2);
        // `beaten by`, and `from` is `to` seen from the other end
        let inflected = !word.lower.ends_with('s') && THESAURUS.key(&word.lower) != word.lower;
        let passive =
            word.kind == Kind::Content && inflected && by.into_iter().any(|next| next.lower == "by");
        let key = if word.lower == "from" || word.lower == "into" {
            "to"
        } else {
            &word.concept
        };
        if passive || word.lower == "from" {
            std::mem::swap(&mut before, &mut behind);
        }
        let nearest = (
            before.first().map(|word| word.raw),
            behind.first().map(|word| word.raw),
        );
        found.push(Around {
            key,
            is_content: word.kind == Kind::Content,
            passive,
            raw: word.raw,
            before: before.iter().map(|word| &*word.concept).collect(),
            behind: behind.iter().map(|word| &*word.concept).collect(),
            nearest,
        });
    }
    found
}

/// The nearest words that say something, up to a word that makes the sides equal.
fn near<'x, 'r: 'x, 'a: 'r>(words: impl Iterator<Item = &'x &'r Word<'a>>) -> Vec<&'r Word<'a>> {
    let until = words.take_while(|word| !SYMMETRIC.contains(&&*word.lower));
    let saying = until.filter(|word| !matches!(word.kind, Kind::Function | Kind::Padding));
    saying.take(REACH).copied().collect()
}
