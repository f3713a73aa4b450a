//! The kind of question: for a person, a time, a place, a reason, an amount.

use super::{PromptPair, new_objection};
use crate::event::{Objection, SemanticGuard};
use crate::semantic::tokens::Prompt;
use crate::semantic::word::{Word, WordKind};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Question {
    /// A request, or a question without a question word.
    Request,
    /// Also `which`.
    What,
    How,
    YesNo,
    Who,
    /// Also `what date`.
    When,
    Where,
    Why,
    /// `how many`, `how long`, `how far`.
    Amount(Amount),
}

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

/// Verbs that open a yes-or-no question.
const YES_NO_VERBS: &[&str] = &[
    "is", "are", "was", "were", "do", "does", "did", "can", "could", "should", "will", "would", "has",
    "have", "had", "may", "must", "am", "might",
];

pub(super) fn guard(pair: &PromptPair<'_>) -> Option<Objection> {
    let (asked, asked_words) = question(&pair.asked);
    let (stored, stored_words) = question(&pair.stored);
    let compatible =
        are_compatible(asked, stored) || is_named_in(asked, &pair.stored) || is_named_in(stored, &pair.asked);
    (!compatible).then(|| new_objection(SemanticGuard::Question, asked_words, stored_words))
}

/// Returns true if the other prompt names what is asked: `how old is it` and `what is its age`.
fn is_named_in(asked: Question, other: &Prompt<'_>) -> bool {
    let names: &[&str] = match asked {
        Question::Amount(Amount::Old) => &["age"],
        Question::Amount(Amount::Far) => &["distance"],
        Question::Amount(Amount::Tall) => &["height"],
        Question::Amount(Amount::Heavy) => &["weight"],
        Question::Amount(Amount::Count) => &["count", "inhabitants"],
        Question::When => &["date", "date of birth", "time", "year", "day"],
        Question::Why => &["reason"],
        Question::Where => &["place", "location", "address"],
        _ => &[],
    };
    let asks_what = matches!(question(other).0, Question::What | Question::Request);
    asks_what && other.words.iter().any(|word| names.contains(&&*word.concept))
}

/// Returns true if one answer can fit both questions.
fn are_compatible(one: Question, other: Question) -> bool {
    use Question::{How, Request, What, Who, YesNo};
    one == other
        || matches!(
            (one, other),
            (Request, How | What | Who | YesNo) | (How | What | Who | YesNo, Request)
        )
}

/// The question of a prompt, and its question words.
fn question<'r>(prompt: &'r Prompt<'_>) -> (Question, &'r str) {
    let words: Vec<&Word<'_>> = prompt
        .words
        .iter()
        .filter(|word| word.kind != WordKind::Padding)
        .collect();
    for (at, word) in words.iter().enumerate() {
        let next = words.get(at + 1);
        let kind = match &*word.lower {
            _ if word.concept == "when" && word.lower != "when" => Question::When,
            "how old" => Question::Amount(Amount::Old),
            "how far" => Question::Amount(Amount::Far),
            "how tall" | "how high" => Question::Amount(Amount::Tall),
            "how heavy" => Question::Amount(Amount::Heavy),
            "who" | "whom" | "whose" => Question::Who,
            // `when the disk is full, what happens`: a clause, not a question
            "when" if word.opens || at == 0 => {
                if next.is_some_and(|next| YES_NO_VERBS.contains(&&*next.lower)) {
                    Question::When
                } else {
                    continue;
                }
            }
            "where" => Question::Where,
            "why" => Question::Why,
            "which" => Question::What,
            "what" => match next.map_or("", |next| &*next.lower) {
                "date" | "day" | "year" | "month" => Question::When,
                "make" | "makes" | "made" | "cause" | "causes" | "caused" => Question::Why,
                // `what is it like` asks how it is
                _ if words.iter().skip(at + 1).take(6).any(|word| word.lower == "like") => Question::How,
                _ => Question::What,
            },
            "how" => match next.map_or("", |next| &*next.lower) {
                "come" => Question::Why,
                "many" | "much" => Question::Amount(Amount::Count),
                "long" => Question::Amount(Amount::Long),
                "old" => Question::Amount(Amount::Old),
                "far" => Question::Amount(Amount::Far),
                "often" | "frequently" => Question::Amount(Amount::Often),
                "effective" | "fast" | "big" | "large" | "deep" | "wide" | "likely" | "hot" | "cold"
                | "safe" => Question::Amount(Amount::Other),
                _ => Question::How,
            },
            _ if at == 0 && YES_NO_VERBS.contains(&&*word.lower) => Question::YesNo,
            _ => continue,
        };
        return (kind, phrase(prompt, word, next.copied(), kind));
    }
    (Question::Request, "")
}

fn phrase<'r>(prompt: &'r Prompt<'_>, word: &Word<'_>, next: Option<&Word<'_>>, kind: Question) -> &'r str {
    let last = if matches!(kind, Question::Amount(_)) {
        next.unwrap_or(word)
    } else {
        word
    };
    prompt
        .text
        .get(word.at..last.at + last.raw.len())
        .unwrap_or_default()
}
