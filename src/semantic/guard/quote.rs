//! Quoted strings, code in backticks, and the text after a colon that a request is about.

use super::{PromptPair, new_objection};
use crate::event::{Objection, SemanticGuard};
use crate::semantic::tokens::Prompt;
use crate::semantic::word::WordKind;

/// Opening and closing quotation marks.
const MARKS: &[(&str, &str)] = &[
    ("```", "```"),
    ("`", "`"),
    ("\"", "\""),
    ("“", "”"),
    ("„", "“"),
    ("«", "»"),
    ("‘", "’"),
];

pub(super) fn guard(pair: &PromptPair<'_>) -> Option<Objection> {
    let (asked, stored) = (quotations(pair.asked.text), quotations(pair.stored.text));
    let lacks = |quotes: &[&str], others: &[&str], text: &str| {
        let lower = text.to_lowercase();
        let missing = quotes.iter().copied().find(|quote| {
            // the other prompt may have the same text without marks, but not another quotation
            !others.contains(quote) && (!others.is_empty() || !lower.contains(&quote.to_lowercase()))
        });
        missing.map(str::to_owned)
    };
    let of_asked = lacks(&asked, &stored, pair.stored.text);
    let of_stored = lacks(&stored, &asked, pair.asked.text);
    if of_asked.is_some() || of_stored.is_some() {
        return Some(new_objection(
            SemanticGuard::Quote,
            &of_asked.unwrap_or_default(),
            &of_stored.unwrap_or_default(),
        ));
    }
    let (asked, stored) = (subject(&pair.asked)?, subject(&pair.stored)?);
    let same = subject_words(&pair.asked, asked).eq(subject_words(&pair.stored, stored));
    let shown = |prompt: &Prompt<'_>, at: usize| prompt.text.get(at..).unwrap_or_default().trim().to_owned();
    (!same).then(|| {
        new_objection(
            SemanticGuard::Quote,
            &shown(&pair.asked, asked),
            &shown(&pair.stored, stored),
        )
    })
}

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

/// `'..'` without a letter outside next to the marks, which would make them apostrophes.
fn single_quoted(text: &str, at: usize) -> Option<(&str, usize)> {
    let inner = text.get(at..)?.strip_prefix('\'')?;
    let before = text.get(..at)?.chars().next_back();
    if before.is_some_and(char::is_alphanumeric) {
        return None;
    }
    let ends = inner.match_indices('\'').map(|(end, _)| end);
    let end = ends.into_iter().take(8).find(|end| {
        let after = inner.get(end + 1..).and_then(|rest| rest.chars().next());
        *end > 0 && !after.is_some_and(char::is_alphanumeric)
    })?;
    Some((inner.get(..end)?, end + 2))
}

/// The offset of the text that a request is about: after the first colon, if a request precedes it.
fn subject(prompt: &Prompt<'_>) -> Option<usize> {
    let colon = prompt.text.match_indices(':').map(|(at, _)| at + 1).find(|at| {
        prompt
            .text
            .get(*at..)
            .is_some_and(|rest| rest.starts_with(char::is_whitespace))
    })?;
    let before = prompt.words.iter().filter(|word| word.at < colon);
    let (mut count, mut content) = (0, 0);
    for word in before {
        count += usize::from(word.kind != WordKind::Padding);
        content += usize::from(word.kind == WordKind::Content);
    }
    let after = prompt.words.iter().any(|word| word.at >= colon);
    (count >= 3 && content > 0 && after).then_some(colon)
}

fn subject_words<'r>(prompt: &'r Prompt<'_>, from: usize) -> impl Iterator<Item = &'r str> {
    let after = prompt.words.iter().filter(move |word| word.at >= from);
    after
        .filter(|word| !matches!(word.kind, WordKind::Function | WordKind::Padding))
        .map(|word| &*word.concept)
}
