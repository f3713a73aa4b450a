//! What is asked for: a person, a time, a place, a reason, an amount.

use super::{Pair, told};
use crate::event::{Objection, SemanticGuard};
use crate::semantic::tokens::{Kind, Reading, Word};

/// Kinds of questions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Asks {
    /// A request, or a question without a word for it.
    Nothing,
    /// What, which.
    What,
    /// How it is done.
    How,
    /// Yes or no.
    Whether,
    /// Who, whom, whose.
    Who,
    /// When, and what date.
    When,
    /// Where.
    Where,
    /// Why.
    Why,
    /// How many, how long, how far: each an amount of its own.
    Amount(Amount),
}

/// What amount.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Amount {
    Count,
    Long,
    Old,
    Far,
    Often,
    Tall,
    Heavy,
    Other,
}

/// Verbs that open a question of yes or no.
const OPENING: &[&str] = &[
    "is", "are", "was", "were", "do", "does", "did", "can", "could", "should", "will", "would", "has",
    "have", "had", "may", "must", "am", "might",
];

pub(super) fn guard(pair: &Pair<'_>) -> Option<Objection> {
    let (asked, shown_asked) = asks(&pair.asked);
    let (stored, shown_stored) = asks(&pair.stored);
    let fits = fits(asked, stored) || attribute(asked, &pair.stored) || attribute(stored, &pair.asked);
    (!fits).then(|| told(SemanticGuard::Question, shown_asked, shown_stored))
}

/// `how old is it` and `what is its age`, `when` and `on what date`: the word for what is asked stands in the other.
fn attribute(asks: Asks, other: &Reading<'_>) -> bool {
    let names: &[&str] = match asks {
        Asks::Amount(Amount::Old) => &["age"],
        Asks::Amount(Amount::Far) => &["distance"],
        Asks::Amount(Amount::Tall) => &["height"],
        Asks::Amount(Amount::Heavy) => &["weight"],
        Asks::Amount(Amount::Count) => &["count", "inhabitants"],
        Asks::When => &["date", "date of birth", "time", "year", "day"],
        Asks::Why => &["reason"],
        Asks::Where => &["place", "location", "address"],
        _ => &[],
    };
    let asks_what = matches!(self::asks(other).0, Asks::What | Asks::Nothing);
    asks_what && other.words.iter().any(|word| names.contains(&&*word.concept))
}

/// Whether one answer may do for both.
fn fits(one: Asks, other: Asks) -> bool {
    use Asks::{How, Nothing, What, Whether, Who};
    one == other
        || matches!(
            (one, other),
            (Nothing, How | What | Who | Whether) | (How | What | Who | Whether, Nothing)
        )
}

/// What a prompt asks for, and the words it does it with.
fn asks<'r>(reading: &'r Reading<'_>) -> (Asks, &'r str) {
    let words: Vec<&Word<'_>> = reading
        .words
        .iter()
        .filter(|word| word.kind != Kind::Padding)
        .collect();
    for (at, word) in words.iter().enumerate() {
        let next = words.get(at + 1);
        let kind = match &*word.lower {
            _ if word.concept == "when" && word.lower != "when" => Asks::When,
            "how old" => Asks::Amount(Amount::Old),
            "how far" => Asks::Amount(Amount::Far),
            "how tall" | "how high" => Asks::Amount(Amount::Tall),
            "how heavy" => Asks::Amount(Amount::Heavy),
            "who" | "whom" | "whose" => Asks::Who,
            // `when the disk is full, what happens`: a clause, not a question
            "when" if word.opens || at == 0 => {
                if next.is_some_and(|next| OPENING.contains(&&*next.lower)) {
                    Asks::When
                } else {
                    continue;
                }
            }
            "where" => Asks::Where,
            "why" => Asks::Why,
            "which" => Asks::What,
            "what" => match next.map_or("", |next| &*next.lower) {
                "date" | "day" | "year" | "month" => Asks::When,
                "make" | "makes" | "made" | "cause" | "causes" | "caused" => Asks::Why,
                // what is it like, how is it
                _ if words.iter().skip(at + 1).take(6).any(|word| word.lower == "like") => Asks::How,
                _ => Asks::What,
            },
            "how" => match next.map_or("", |next| &*next.lower) {
                "come" => Asks::Why,
                "many" | "much" => Asks::Amount(Amount::Count),
                "long" => Asks::Amount(Amount::Long),
                "old" => Asks::Amount(Amount::Old),
                "far" => Asks::Amount(Amount::Far),
                "often" | "frequently" => Asks::Amount(Amount::Often),
                "effective" | "fast" | "big" | "large" | "deep" | "wide" | "likely" | "hot" | "cold"
                | "safe" => Asks::Amount(Amount::Other),
                _ => Asks::How,
            },
            _ if at == 0 && OPENING.contains(&&*word.lower) => Asks::Whether,
            _ => continue,
        };
        return (kind, phrase(reading, word, next.copied(), kind));
    }
    (Asks::Nothing, "")
}

fn phrase<'r>(reading: &'r Reading<'_>, word: &Word<'_>, next: Option<&Word<'_>>, kind: Asks) -> &'r str {
    let last = if matches!(kind, Asks::Amount(_)) {
        next.unwrap_or(word)
    } else {
        word
    };
    reading
        .text
        .get(word.at..last.at + last.raw.len())
        .unwrap_or_default()
}
