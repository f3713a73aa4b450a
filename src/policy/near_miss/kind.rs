//! The kind of difference between two texts, and the excerpt that shows it.
//!
//! The common prefix and suffix are removed first; only the middle and a few words around it are compared. Each
//! check then asks if the texts are equal without white space, case, times, random ids or numbers, in this
//! order.

use unicode_segmentation::{GraphemeCursor, UnicodeSegmentation as _};

use crate::event::DiffKind;

/// Graphemes in an excerpt.
const SHOWN: usize = 60;
/// Of them, before the first difference.
const BEFORE: usize = 24;
/// Characters around the difference that may identify it: `Nov` before `25`.
const CONTEXT: usize = 24;

/// The kind of difference between two different texts.
pub(super) fn diff_kind(here: &str, stored: &str) -> DiffKind {
    let prefix = common_prefix(here, stored);
    let suffix = common_suffix(rest(here, prefix), rest(stored, prefix));
    let middle = |text: &str| -> String {
        let from = token_start(text, back(text, prefix, CONTEXT));
        let to = token_end(text, forward(text, text.len() - suffix, CONTEXT));
        text.get(from..to).unwrap_or(text).to_owned()
    };
    let (here, stored) = (middle(here), middle(stored));
    let same = |without: fn(&str) -> String| without(&here) == without(&stored);
    if same(|text| text.split_whitespace().collect()) {
        DiffKind::Whitespace
    } else if same(str::to_lowercase) {
        DiffKind::Case
    } else if same(|text| masked(text, Mask::Times)) {
        DiffKind::Time
    } else if same(|text| masked(text, Mask::Ids)) {
        DiffKind::Id
    } else if same(|text| masked(text, Mask::Numbers)) {
        DiffKind::Number
    } else {
        DiffKind::Value
    }
}

/// The two texts around the first difference, on one line each.
pub(super) fn excerpts(here: &str, stored: &str, how: DiffKind) -> (String, String) {
    let prefix = common_prefix(here, stored);
    let from = back(here, token_start(here, prefix), BEFORE);
    (excerpt(here, from, how), excerpt(stored, from, how))
}

/// The text from an index on, shortened at a grapheme boundary.
fn excerpt(text: &str, from: usize, how: DiffKind) -> String {
    let mut from = from.min(text.len());
    // the texts are equal up to here, but the next character may combine with the last one
    let mut cursor = GraphemeCursor::new(from, text.len(), true);
    if !cursor.is_boundary(text, 0).unwrap_or(true) {
        from = cursor.prev_boundary(text, 0).ok().flatten().unwrap_or(0);
    }
    let mut shown = String::from(if from > 0 { "…" } else { "" });
    let mut graphemes = rest(text, from).graphemes(true);
    for grapheme in graphemes.by_ref().take(SHOWN) {
        // a grapheme may have any number of characters
        for c in grapheme.chars().take(8) {
            match c {
                '\n' if how == DiffKind::Whitespace => shown.push_str("\\n"),
                '\r' if how == DiffKind::Whitespace => shown.push_str("\\r"),
                '\t' if how == DiffKind::Whitespace => shown.push_str("\\t"),
                '\u{80}'.. if how == DiffKind::Whitespace && c.is_whitespace() => {
                    shown.extend(c.escape_unicode());
                }
                '\n' | '\r' | '\t' => shown.push(' '),
                _ => shown.push(c),
            }
        }
    }
    if graphemes.next().is_some() {
        shown.push('…');
    }
    shown
}

fn rest(text: &str, from: usize) -> &str {
    text.get(from..).unwrap_or_default()
}

/// Length of the common prefix in bytes, in whole characters.
fn common_prefix(a: &str, b: &str) -> usize {
    let same = a.bytes().zip(b.bytes()).take_while(|(a, b)| a == b).count();
    (0..=same).rev().find(|&at| a.is_char_boundary(at)).unwrap_or(0)
}

/// Length of the common suffix in bytes, in whole characters.
fn common_suffix(a: &str, b: &str) -> usize {
    let pairs = a.bytes().rev().zip(b.bytes().rev());
    let same = pairs.take_while(|(a, b)| a == b).count();
    (0..=same)
        .rev()
        .find(|&length| a.is_char_boundary(a.len() - length))
        .unwrap_or(0)
}

/// The index `count` characters before `at`.
fn back(text: &str, at: usize, count: usize) -> usize {
    let before = text.get(..at).unwrap_or(text);
    before
        .char_indices()
        .rev()
        .take(count)
        .last()
        .map_or(at, |(at, _)| at)
}

/// The index `count` characters after `at`.
fn forward(text: &str, at: usize, count: usize) -> usize {
    let after = rest(text, at).chars().take(count);
    at + after.map(char::len_utf8).sum::<usize>()
}

fn in_token(c: char) -> bool {
    c.is_alphanumeric() || matches!(c, '-' | ':' | '.' | '/' | '+' | '_' | '%')
}

/// A longer word is neither a time nor an id, and may be split anywhere.
const LONGEST: usize = 64;

fn token_start(text: &str, at: usize) -> usize {
    let before = text.get(..at).unwrap_or(text).char_indices().rev();
    let word = before.take(LONGEST).take_while(|(_, c)| in_token(*c));
    word.last().map_or(at, |(at, _)| at)
}

fn token_end(text: &str, at: usize) -> usize {
    let word = rest(text, at).chars().take(LONGEST);
    at + word
        .take_while(|c| in_token(*c))
        .map(char::len_utf8)
        .sum::<usize>()
}

/// The words that are masked: each level includes those before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Mask {
    Times,
    Ids,
    Numbers,
}

/// The text with each masked word replaced by one character.
fn masked(text: &str, mask: Mask) -> String {
    let words = words(text);
    let mut out = String::with_capacity(text.len());
    for (nth, word) in words.iter().enumerate() {
        let has_neighbour = |by: fn(&str) -> bool| {
            // the adjacent words: every other part is a separator
            let adjacent = [
                nth.checked_sub(4),
                nth.checked_sub(2),
                Some(nth + 2),
                Some(nth + 4),
            ];
            adjacent
                .into_iter()
                .flatten()
                .filter_map(|nth| words.get(nth))
                .any(|word| by(word))
        };
        let is_time = is_time(word)
            || is_calendar_word(word)
            || (is_day_or_year(word) && has_neighbour(is_calendar_word))
            || (is_half_of_day(word) && has_neighbour(is_clock));
        let hidden =
            is_time || (mask >= Mask::Ids && is_id(word)) || (mask >= Mask::Numbers && is_number(word));
        if hidden {
            out.push('\u{1a}');
        } else {
            out.push_str(word);
        }
    }
    out
}

/// Words and the separators between them, alternating; a word may be empty.
fn words(text: &str) -> Vec<&str> {
    let mut parts = Vec::new();
    let mut left = text;
    loop {
        let end = left.find(|c| !in_token(c)).unwrap_or(left.len());
        let token = left.get(..end).unwrap_or_default();
        // a full stop belongs to the sentence
        let word = token.trim_end_matches(['.', ':', '-', '/']);
        parts.push(word);
        left = rest(left, word.len());
        if left.is_empty() {
            return parts;
        }
        let closing = token.len() - word.len();
        let gap = rest(left, closing)
            .find(in_token)
            .map_or(left.len(), |at| at + closing);
        parts.push(left.get(..gap).unwrap_or_default());
        left = rest(left, gap);
    }
}

fn all_digits(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

fn below(text: &str, digits: usize, limit: u32) -> bool {
    all_digits(text) && text.len() <= digits && text.parse().is_ok_and(|value: u32| value < limit)
}

/// A date, a time of day, both, or seconds since 1970.
fn is_time(word: &str) -> bool {
    let both = word
        .split_once(['T', '_'])
        .is_some_and(|(date, clock)| is_date(date) && is_clock(clock));
    both || is_date(word) || is_clock(word) || is_epoch(word)
}

fn is_date(word: &str) -> bool {
    let compact = word.len() == 8
        && all_digits(word)
        && (word.starts_with("19") || word.starts_with("20"))
        && below(word.get(4..6).unwrap_or_default(), 2, 13)
        && below(word.get(6..).unwrap_or_default(), 2, 32);
    let separated = ['-', '/', '.'].into_iter().any(|separator| {
        let parts: Vec<&str> = word.split(separator).collect();
        let year = |part: &str| part.len() == 4 && all_digits(part);
        match parts.as_slice() {
            [a, b, c] if year(a) => below(b, 2, 32) && below(c, 2, 32),
            [a, b, c] if year(c) => below(a, 2, 32) && below(b, 2, 32),
            // 1.2.3 is a version
            [a, b, c] if separator == '/' => {
                [a, b].into_iter().all(|part| below(part, 2, 32)) && below(c, 2, 100)
            }
            _ => false,
        }
    });
    compact || separated
}

fn is_clock(word: &str) -> bool {
    let word = word.trim_end_matches(['Z', 'z']);
    let word = ["am", "pm", "AM", "PM"]
        .into_iter()
        .find_map(|half| word.strip_suffix(half))
        .unwrap_or(word);
    let zone = word.rfind(['+', '-']).filter(|at| *at > 0);
    let word = zone.and_then(|at| word.get(..at)).unwrap_or(word);
    let (word, fraction) = word.split_once('.').unwrap_or((word, "0"));
    let mut parts = word.split(':');
    let hour = parts.next().is_some_and(|part| below(part, 2, 25));
    let others: Vec<&str> = parts.collect();
    let sixty = |part: &&str| part.len() == 2 && below(part, 2, 61);
    hour && matches!(others.len(), 1 | 2) && others.iter().all(sixty) && all_digits(fraction)
}

fn is_epoch(word: &str) -> bool {
    let (whole, fraction) = word.split_once('.').unwrap_or((word, "0"));
    // seconds, milli-, micro- and nanoseconds since 1970, from 2001 to 2033
    matches!(whole.len(), 10 | 13 | 16 | 19)
        && whole.starts_with('1')
        && all_digits(whole)
        && all_digits(fraction)
}

fn is_day_or_year(word: &str) -> bool {
    let number = word.trim_end_matches(|c: char| c.is_ascii_lowercase());
    below(number, 2, 32) || (number.len() == 4 && below(number, 4, 2200))
}

fn is_half_of_day(word: &str) -> bool {
    ["am", "pm"]
        .into_iter()
        .any(|half| half.eq_ignore_ascii_case(word))
}

fn is_calendar_word(word: &str) -> bool {
    const NAMES: [&str; 19] = [
        "January",
        "February",
        "March",
        "April",
        "May",
        "June",
        "July",
        "August",
        "September",
        "October",
        "November",
        "December",
        "Monday",
        "Tuesday",
        "Wednesday",
        "Thursday",
        "Friday",
        "Saturday",
        "Sunday",
    ];
    NAMES
        .into_iter()
        .any(|name| word == name || (word.len() == 3 && name.starts_with(word)))
}

/// A UUID, a long number, or a mix of letters and digits that is not a natural word.
fn is_id(word: &str) -> bool {
    let lengths: Vec<usize> = word.split('-').map(str::len).collect();
    let hex = |c: char| c.is_ascii_hexdigit() || c == '-';
    let uuid = lengths == [8, 4, 4, 4, 12] && word.chars().all(hex);
    let mixed = |part: &str| {
        let digits = part.bytes().filter(u8::is_ascii_digit).count();
        let letters = part.bytes().filter(u8::is_ascii_alphabetic).count();
        digits >= 2 && letters >= 2 && part.len() >= 8 && digits + letters == part.len()
    };
    let long = word.len() >= 12 && all_digits(word);
    uuid || long || word.split(['-', '_', '.', '/', ':']).any(mixed)
}

fn is_number(word: &str) -> bool {
    let signs = |c: char| c.is_ascii_digit() || matches!(c, '.' | '+' | '-' | '%');
    word.contains(|c: char| c.is_ascii_digit()) && word.chars().all(signs)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_the_kind_of_difference() {
        use DiffKind::{Case, Id, Number, Time, Value, Whitespace};
        for (here, stored, expected) in [
            ("It is 10:32:01. Help.", "It is 10:35:59. Help.", Time),
            ("now: 2026-11-25T22:00:19Z", "now: 2026-12-01T03:14:15.926Z", Time),
            ("on 2026-11-25 at 10:32", "on 2026-11-26 at 09:01", Time),
            ("Today is Nov 25, 2026.", "Today is Nov 26, 2026.", Time),
            (
                "Today is Wednesday, 25 November",
                "Today is Thursday, 26 November",
                Time,
            ),
            ("at 9:05 am", "at 9:05 pm", Time),
            ("t=1732572000", "t=1732572099", Time),
            ("t=1732572000123", "t=1732572099456", Time),
            ("11/25/26", "11/26/26", Time),
            (
                "id 123e4567-e89b-12d3-a456-426614174000",
                "id 00000000-e89b-12d3-a456-426614174001",
                Id,
            ),
            ("trace 8f3a9c1d22", "trace 77aa0b1c99", Id),
            (
                "request req_8f3a9c1d at 10:00",
                "request req_0b1c99aa at 10:01",
                Id,
            ),
            ("version 1.2.3", "version 1.2.4", Number),
            ("costs 5%", "costs 15%", Number),
            ("the 3 rules", "the 12 rules", Number),
            ("a  b", "a b", Whitespace),
            ("a\nb", "a b", Whitespace),
            ("Hello", "hello", Case),
            ("cat", "dog", Value),
            ("cat", "", Value),
            ("It is 10:32:01, cat", "It is 10:35:59, dog", Value),
            ("ärger", "örger", Value),
        ] {
            assert_eq!(diff_kind(here, stored), expected, "{here:?} {stored:?}");
            assert_eq!(diff_kind(stored, here), expected, "{stored:?} {here:?}");
        }
    }

    #[test]
    fn an_excerpt_starts_before_the_difference_and_ends_at_a_grapheme_boundary() {
        let around = |here: &str, stored: &str| excerpts(here, stored, DiffKind::Value);
        let long = "word ".repeat(40);
        let (here, stored) = around(
            &format!("{long}It is 10:32:01. {long}"),
            &format!("{long}It is 10:35:59. {long}"),
        );
        assert_eq!(
            here,
            "…rd word word word It is 10:32:01. word word word word word w…"
        );
        assert_eq!(
            stored,
            "…rd word word word It is 10:35:59. word word word word word w…"
        );
        assert_eq!(around("e\u{301}", "e"), ("e\u{301}".to_owned(), "e".to_owned()));
        assert_eq!(
            excerpts("a\n\tb", "a b", DiffKind::Whitespace),
            ("a\\n\\tb".to_owned(), "a b".to_owned())
        );
        let family = "👩‍👩‍👧";
        let (here, _) = around(
            &format!("{}x", family.repeat(100)),
            &format!("{}y", family.repeat(100)),
        );
        assert!(here.starts_with("…👩") || here.starts_with("…x"), "{here}");
    }
}
