//! Numbers and units: both prompts must have the same ones, numbers equally often.

use super::{PromptPair, join_raw, objection_if_any};
use crate::event::{Objection, SemanticGuard};
use crate::semantic::tokens::Prompt;
use crate::semantic::word::{Word, WordKind};

pub(super) fn numbers(pair: &PromptPair<'_>) -> Option<Objection> {
    let (mut asked, mut stored) = differing(pair, WordKind::Number);
    // `one` is often an article: it matches a 1 in the other prompt and nothing else
    let has_one = |prompt: &Prompt<'_>| {
        prompt
            .words
            .iter()
            .any(|word| word.lower == "one" || word.lower == "a")
    };
    if has_one(&pair.stored) {
        asked.retain(|word| word.concept != "1");
    }
    if has_one(&pair.asked) {
        stored.retain(|word| word.concept != "1");
    }
    objection(SemanticGuard::Number, &asked, &stored)
}

pub(super) fn units(pair: &PromptPair<'_>) -> Option<Objection> {
    let (mut asked, mut stored) = differing(pair, WordKind::Unit);
    let has = |prompt: &Prompt<'_>, unit: &str| prompt.words.iter().any(|word| word.concept == unit);
    // a unit may occur twice in one prompt and once in the other
    asked.retain(|word| !has(&pair.stored, &word.concept));
    stored.retain(|word| !has(&pair.asked, &word.concept));
    objection(SemanticGuard::Unit, &asked, &stored)
}

fn objection(guard: SemanticGuard, asked: &[&Word<'_>], stored: &[&Word<'_>]) -> Option<Objection> {
    objection_if_any(
        guard,
        &join_raw(asked.iter().copied()),
        &join_raw(stored.iter().copied()),
    )
}

/// The words of a kind that only one prompt has.
fn differing<'p, 'a>(pair: &'p PromptPair<'a>, kind: WordKind) -> (Vec<&'p Word<'a>>, Vec<&'p Word<'a>>) {
    let of = |prompt: &'p Prompt<'a>| {
        let words = prompt.words.iter().filter(|word| word.kind == kind);
        words.collect::<Vec<_>>()
    };
    let mut stored = of(&pair.stored);
    let mut asked = of(&pair.asked);
    asked.retain(|word| {
        let same = stored.iter().position(|other| other.concept == word.concept);
        same.map(|at| stored.swap_remove(at)).is_none()
    });
    (asked, stored)
}
