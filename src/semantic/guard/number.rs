//! Numbers and units: the same ones on both sides, as often.

use super::{Pair, told, written};
use crate::event::{Objection, SemanticGuard};
use crate::semantic::tokens::{Kind, Reading, Word};

pub(super) fn numbers(pair: &Pair<'_>) -> Option<Objection> {
    let (mut asked, mut stored) = apart(pair, Kind::Number);
    // `one` is an article as often as a number: it stands for a 1 of the other side, and is nothing else
    let says_one = |reading: &Reading<'_>| {
        reading
            .words
            .iter()
            .any(|word| word.lower == "one" || word.lower == "a")
    };
    if says_one(&pair.stored) {
        asked.retain(|word| word.concept != "1");
    }
    if says_one(&pair.asked) {
        stored.retain(|word| word.concept != "1");
    }
    objection(SemanticGuard::Number, &asked, &stored)
}

pub(super) fn units(pair: &Pair<'_>) -> Option<Objection> {
    let (mut asked, mut stored) = apart(pair, Kind::Unit);
    let has = |reading: &Reading<'_>, unit: &str| reading.words.iter().any(|word| word.concept == unit);
    // said twice on one side, once on the other
    asked.retain(|word| !has(&pair.stored, &word.concept));
    stored.retain(|word| !has(&pair.asked, &word.concept));
    objection(SemanticGuard::Unit, &asked, &stored)
}

fn objection(guard: SemanticGuard, asked: &[&Word<'_>], stored: &[&Word<'_>]) -> Option<Objection> {
    let differ = !asked.is_empty() || !stored.is_empty();
    differ.then(|| {
        told(
            guard,
            &written(asked.iter().copied()),
            &written(stored.iter().copied()),
        )
    })
}

/// What of a kind only one side has.
fn apart<'p, 'a>(pair: &'p Pair<'a>, kind: Kind) -> (Vec<&'p Word<'a>>, Vec<&'p Word<'a>>) {
    let of = |reading: &'p Reading<'a>| {
        let words = reading.words.iter().filter(|word| word.kind == kind);
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
