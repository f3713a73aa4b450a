//! Quoted strings, code between backticks, and the text a request is about, behind a colon.

use super::{Pair, told};
use crate::event::{Objection, SemanticGuard};
use crate::semantic::tokens::{Kind, Reading};

/// Marks that open and close a quotation.
const MARKS: &[(&str, &str)] = &[
    ("```", "```"),
    ("`", "`"),
    ("\"", "\""),
    ("“", "”"),
    ("„", "“"),
    ("«", "»"),
    ("‘", "’"),
];

pub(super) fn guard(pair: &Pair<'_>) -> Option<Objection> {
    let (asked, stored) = (quotations(pair.asked.text), quotations(pair.stored.text));
    let lacks = |quotes: &[&str], others: &[&str], text: &str| {
        let lower = text.to_lowercase();
        let missing = quotes.iter().copied().find(|quote| {
            // the other one may write the same without marks, but not another quotation
            !others.contains(quote) && (!others.is_empty() || !lower.contains(&quote.to_lowercase()))
        });
        missing.map(str::to_owned)
    };
    let of_asked = lacks(&asked, &stored, pair.stored.text);
    let of_stored = lacks(&stored, &asked, pair.asked.text);
    if of_asked.is_some() || of_stored.is_some() {
        return Some(told(
            SemanticGuard::Quote,
            &of_asked.unwrap_or_default(),
            &of_stored.unwrap_or_default(),
        ));
    }
    let (asked, stored) = (subject(&pair.asked)?, subject(&pair.stored)?);
    let same = subject_words(&pair.asked, asked).eq(subject_words(&pair.stored, stored));
    let shown =
        |reading: &Reading<'_>, at: usize| reading.text.get(at..).unwrap_or_default().trim().to_owned();
    (!same).then(|| {
        told(
            SemanticGuard::Quote,
            &shown(&pair.asked, asked),
            &shown(&pair.stored, stored),
        )
    })
}

/// What stands between quotation marks.
fn quotations(text: &str) -> Vec<&str> {
    let mut found = Vec::new();
    let mut at = 0;
    while let Some(rest) = text.get(at..).filter(|rest| !rest.is_empty()) {
        let mark = MARKS.iter().find(|(open, _)| rest.starts_with(open));
        let closed = mark.and_then(|(open, close)| {
            let inner = rest.get(open.len()..)?;
            let end = inner.find(close)?;
            Some((inner.get(..end)?, open.len() + end + close.len()))
        });
        match closed.or_else(|| single_quoted(text, at)) {
            Some((inner, length)) => {
                let inner = inner.trim();
                if !inner.is_empty() {
                    found.push(inner);
                }
                at += length;
            }
            None => at += rest.chars().next().map_or(1, char::len_utf8),
        }
    }
    found
}

/// `'..'` with no letter outside next to the marks: apostrophes have one.
fn single_quoted(text: &str, at: usize) -> Option<(&str, usize)> {
    let inner = text.get(at..)?.strip_prefix('\'')?;
    let before = text.get(..at)?.chars().next_back();
    if before.is_some_and(char::is_alphanumeric) {
        return None;
    }
    let ends = inner.match_indices('\'').map(|(end, _)| end);
    let end = ends.into_iter().take(8).find(|end| {
        let behind = inner.get(end + 1..).and_then(|rest| rest.chars().next());
        *end > 0 && !behind.is_some_and(char::is_alphanumeric)
    })?;
    Some((inner.get(..end)?, end + 2))
}

/// Where the text that a request is about begins: behind the first colon, if a request stands before it.
fn subject(reading: &Reading<'_>) -> Option<usize> {
    let colon = reading.text.match_indices(':').map(|(at, _)| at + 1).find(|at| {
        reading
            .text
            .get(*at..)
            .is_some_and(|rest| rest.starts_with(char::is_whitespace))
    })?;
    let before = reading.words.iter().filter(|word| word.at < colon);
    let (mut count, mut content) = (0, 0);
    for word in before {
        count += usize::from(word.kind != Kind::Padding);
        content += usize::from(word.kind == Kind::Content);
    }
    let behind = reading.words.iter().any(|word| word.at >= colon);
    (count >= 3 && content > 0 && behind).then_some(colon)
}

fn subject_words<'r>(reading: &'r Reading<'_>, from: usize) -> impl Iterator<Item = &'r str> {
    let behind = reading.words.iter().filter(move |word| word.at >= from);
    behind
        .filter(|word| !matches!(word.kind, Kind::Function | Kind::Padding))
        .map(|word| &*word.concept)
}
