//! Filters of lists: words joined by AND, `!` in front of a word excludes.
//!
//! | word | matches |
//! |---|---|
//! | `#31` | this call |
//! | `user:ana` | users whose name begins so |
//! | `failed`, `queued` | calls with this outcome, or that do this now |
//! | `503`, `TMO` | calls with an attempt that failed so |
//! | `attempts>1`, `attempts=3` | calls by their attempts |
//! | `>2s`, `<500ms` | calls by their duration so far |
//! | anything else | a part of a text of the row |
//!
//! Case is ignored. A word that is not complete yet (`!`, `#`, `user:`, `attempts>`) matches every row, so that the
//! list does not become empty while it is typed.

use std::cmp::Ordering;
use std::time::Duration;

use super::pane::appearance;
use super::theme::Theme;
use crate::event::{CallId, Fate};
use crate::state::Call;
use crate::time::Timestamp;

/// Words that are used; more are ignored, because each costs time for every row.
const MAX_WORDS: usize = 16;

/// A parsed filter.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Filter {
    words: Vec<Word>,
}

#[derive(Clone, Debug, PartialEq)]
struct Word {
    excludes: bool,
    test: Test,
}

#[derive(Clone, Debug, PartialEq)]
enum Test {
    Call(CallId),
    /// Lower case.
    User(String),
    Attempts(Comparison, u64),
    Lasts(Comparison, Duration),
    /// A whole word of an outcome or an activity, lower case.
    State(String),
    /// A code as it is drawn.
    Code(String),
    /// Lower case.
    Text(String),
}

/// A comparison with a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Comparison {
    Less,
    AtMost,
    Equal,
    AtLeast,
    More,
}

impl Comparison {
    const ALL: [(&'static str, Self); 5] = [
        (">=", Self::AtLeast),
        ("<=", Self::AtMost),
        (">", Self::More),
        ("<", Self::Less),
        ("=", Self::Equal),
    ];

    /// Splits a comparison sign from the front.
    fn split(text: &str) -> Option<(Self, &str)> {
        Self::ALL
            .into_iter()
            .find_map(|(sign, comparison)| Some((comparison, text.strip_prefix(sign)?)))
    }

    fn holds<T: Ord>(self, left: &T, right: &T) -> bool {
        match self {
            Self::Less => left < right,
            Self::AtMost => left <= right,
            Self::Equal => left.cmp(right) == Ordering::Equal,
            Self::AtLeast => left >= right,
            Self::More => left > right,
        }
    }
}

/// A row of a list that is not a call itself.
#[derive(Clone, Copy, Debug, Default)]
pub struct Row<'a> {
    /// The call that the row is about.
    pub call: Option<CallId>,
    /// The same, while it is in memory.
    pub facts: Option<&'a Call>,
    /// The user that the row is about.
    pub user: Option<&'a str>,
    /// The visible texts.
    pub texts: &'a [&'a str],
}

impl Filter {
    /// Parses typed text. Every text is a filter.
    pub fn new(typed: &str) -> Self {
        let words = typed.split_whitespace().filter_map(Word::parse);
        Self {
            words: words.take(MAX_WORDS).collect(),
        }
    }

    /// Returns true if every row matches.
    pub fn is_empty(&self) -> bool {
        self.words.is_empty()
    }

    /// Returns true if a call matches at `now`. `texts` are searched besides its own.
    pub fn matches_call(&self, call: &Call, texts: &[&str], now: Timestamp) -> bool {
        self.words
            .iter()
            .all(|word| word.test.is_true_of(call, texts, now) != word.excludes)
    }

    /// Returns true if a row of another list matches at `now`.
    pub fn matches(&self, row: Row<'_>, now: Timestamp) -> bool {
        self.words
            .iter()
            .all(|word| word.test.is_true_of_row(row, now) != word.excludes)
    }
}

impl Word {
    /// Parses one word; `None` if it is not complete.
    fn parse(word: &str) -> Option<Self> {
        let (excludes, rest) = match word.strip_prefix('!') {
            Some(rest) => (true, rest),
            None => (false, word),
        };
        let test = Test::parse(rest)?;
        Some(Self { excludes, test })
    }
}

impl Test {
    fn parse(word: &str) -> Option<Self> {
        let lower = word.to_lowercase();
        if lower.is_empty() || lower == "#" {
            return None;
        }
        if let Some(id) = lower.strip_prefix('#').and_then(|id| id.parse().ok()) {
            return Some(Self::Call(CallId(id)));
        }
        if let Some(name) = lower.strip_prefix("user:") {
            return (!name.is_empty()).then(|| Self::User(name.to_owned()));
        }
        if let Some((comparison, number)) = lower.strip_prefix("attempts").and_then(Comparison::split) {
            if number.is_empty() {
                return None;
            }
            if let Ok(number) = number.parse() {
                return Some(Self::Attempts(comparison, number));
            }
        }
        if let Some((comparison, length)) = Comparison::split(&lower) {
            if length.is_empty() {
                return None;
            }
            if let Some(length) = duration(length) {
                return Some(Self::Lasts(comparison, length));
            }
        }
        let status = lower.len() == 3 && lower.parse::<u16>().is_ok_and(|code| (100..600).contains(&code));
        if status || ["tmo", "rst", "cut", "con"].contains(&lower.as_str()) {
            return Some(Self::Code(lower));
        }
        if is_state(&lower) {
            return Some(Self::State(lower));
        }
        Some(Self::Text(lower))
    }

    fn is_true_of(&self, call: &Call, texts: &[&str], now: Timestamp) -> bool {
        match self {
            Self::Call(id) => call.id == *id,
            Self::User(name) => begins(call.user.as_str(), name),
            Self::Attempts(comparison, number) => comparison.holds(&u64::from(call.attempts), number),
            Self::Lasts(comparison, length) => {
                let lasted = call.ended_at.unwrap_or(now).since(call.started_at);
                comparison.holds(&lasted, length)
            }
            Self::State(word) => state(call) == word || (word == "running" && call.fate.is_none()),
            Self::Code(code) => {
                let failed = |label: &str| label.eq_ignore_ascii_case(code);
                call.spans.iter().any(|span| failed(&span.label))
                    || call
                        .failure
                        .as_ref()
                        .is_some_and(|failure| failed(&failure.brief()))
                    || (code == "cut" && call.fate == Some(Fate::Interrupted))
            }
            Self::Text(text) => {
                let message = call
                    .failure
                    .as_ref()
                    .map_or("", |failure| failure.message.as_str());
                begins(state(call), text)
                    || [call.user.as_str(), call.prompt.as_str(), message]
                        .iter()
                        .chain(texts)
                        .any(|place| contains(place, text))
            }
        }
    }

    fn is_true_of_row(&self, row: Row<'_>, now: Timestamp) -> bool {
        match self {
            Self::Call(id) => row.call == Some(*id),
            Self::User(name) => {
                let user = row.user.or(row.facts.map(|call| call.user.as_str()));
                user.is_some_and(|user| begins(user, name))
            }
            Self::Attempts(..) | Self::Lasts(..) => {
                row.facts.is_some_and(|call| self.is_true_of(call, &[], now))
            }
            Self::State(text) | Self::Code(text) | Self::Text(text) => {
                row.texts.iter().any(|place| contains(place, text))
            }
        }
    }
}

/// The word for a call in the list of calls; of several words the first.
fn state(call: &Call) -> &'static str {
    let word = appearance::for_call(&Theme::default(), call).word;
    word.split(' ').next().unwrap_or(word)
}

/// Returns true for the word of an outcome or of an activity.
fn is_state(word: &str) -> bool {
    const ACTIVITIES: [&str; 6] = ["running", "queued", "waiting", "stream", "retrying", "sharing"];
    ACTIVITIES.contains(&word) || Fate::ALL.iter().any(|fate| fate.brief() == word)
}

/// `2s`, `1.5s`, `500ms`, `2m`, `1h`; a number alone is seconds.
fn duration(text: &str) -> Option<Duration> {
    let digits = text.find(|letter: char| !letter.is_ascii_digit() && letter != '.');
    let (number, unit) = text.split_at(digits.unwrap_or(text.len()));
    let scale = match unit {
        "ms" => 1e-3,
        "" | "s" => 1.0,
        "m" | "min" => 60.0,
        "h" => 3600.0,
        _ => return None,
    };
    Duration::try_from_secs_f64(number.parse::<f64>().ok()? * scale).ok()
}

/// Returns true if `text` begins with `part`, which is in lower case.
fn begins(text: &str, part: &str) -> bool {
    match (text.as_bytes().get(..part.len()), part.is_ascii()) {
        (Some(front), true) => front.eq_ignore_ascii_case(part.as_bytes()),
        _ => text.to_lowercase().starts_with(part),
    }
}

/// Returns true if `text` contains `part`, which is in lower case.
fn contains(text: &str, part: &str) -> bool {
    let (text_bytes, part_bytes) = (text.as_bytes(), part.as_bytes());
    match part_bytes {
        [first, ..] if part.is_ascii() => {
            // a filter is searched in thousands of texts for each frame
            memchr::memchr2_iter(*first, first.to_ascii_uppercase(), text_bytes)
                .filter_map(|at| text_bytes.get(at..at + part_bytes.len()))
                .any(|place| place.eq_ignore_ascii_case(part_bytes))
        }
        _ => text.to_lowercase().contains(part),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::event::Origin;
    use crate::event::{Failure, FailureClass, Phase, UserId};
    use crate::state::fixture::{Story, attempt, ended, failed, retry, succeeded};

    /// `#31` of ana: a 503, then an answer after 3 s; `#32` still waits.
    fn calls() -> (Call, Call, Timestamp) {
        let mut story = Story::begin();
        story.at(1.0).call(31, Origin::Chat).emit(31, attempt(1, 31));
        let now = story.at(1.5).now;
        story.emit(31, failed(1, FailureClass::Unavailable, Some(503), 500));
        story.emit(31, retry(2, FailureClass::Unavailable, now, 500, None));
        story.at(2.0).emit(31, attempt(2, 31));
        story
            .at(4.0)
            .emit(31, succeeded(2, 2000))
            .emit(31, ended(Fate::Answered, 2, 3000));
        story.call(32, Origin::Chat).emit(32, attempt(1, 32));
        let recent = story.at(4.5).state().calls.recent;
        let mut first = recent[&CallId(31)].clone();
        first.user = UserId::new("Ana");
        first.prompt = "Why do retries need Jitter? Straße".into();
        (first, recent[&CallId(32)].clone(), story.now)
    }

    #[test]
    fn each_word_finds_its_calls() {
        let (answered, waiting, now) = calls();
        // word, matches the answered call, matches the waiting one
        let table = [
            ("", true, true),
            ("#31", true, false),
            ("#3", false, false),
            ("!#31", false, true),
            ("user:ana", true, false),
            ("USER:An", true, false),
            ("user:na", false, false),
            ("answered", true, false),
            ("ANSWERED", true, false),
            ("ans", true, false),
            ("failed", false, false),
            ("waiting", false, true),
            ("running", false, true),
            ("503", true, false),
            ("500", false, false),
            ("!503", false, true),
            ("tmo", false, false),
            ("attempts>1", true, false),
            ("attempts>=1", true, true),
            ("attempts=2", true, false),
            ("attempts<2", false, true),
            ("attempts<=2", true, true),
            (">2s", true, false),
            (">2", true, false),
            ("<500ms", false, false),
            ("<=500ms", false, true),
            (">3s", false, false),
            (">=0.05m", true, false),
            ("jitter", true, false),
            ("STRASSE", false, false),
            ("straße", true, false),
            ("answered user:ana 503 >2s", true, false),
            ("answered !user:ana", false, false),
            // not complete yet
            ("!", true, true),
            ("#", true, true),
            ("user:", true, true),
            ("attempts>", true, true),
            (">", true, true),
            // not numbers: parts of a text
            ("#31x", false, false),
            ("#99999999999999999999999", false, false),
            ("attempts>many", false, false),
            (">2parsecs", false, false),
            (">1.2.3s", false, false),
            (">99999999999999999999999999h", false, false),
            ("attempts=-1", false, false),
        ];
        for (typed, first, second) in table {
            let filter = Filter::new(typed);
            let found = [&answered, &waiting].map(|call| filter.matches_call(call, &[], now));
            assert_eq!(found, [first, second], "{typed}");
        }
    }

    #[test]
    fn the_word_of_an_outcome_is_not_searched_in_texts() {
        let (mut call, _, now) = calls();
        call.prompt = "why was it refused with 429?".into();
        assert!(!Filter::new("refused").matches_call(&call, &[], now));
        assert!(!Filter::new("429").matches_call(&call, &[], now));
        assert!(Filter::new("refus").matches_call(&call, &[], now));
        call.fate = Some(Fate::Failed);
        call.failure = Some(Failure::new(FailureClass::Reset, Phase::NotSent, "reset by peer"));
        assert!(Filter::new("bucket").matches_call(&call, &["A Bucket holds tokens."], now));
        assert!(Filter::new("rst failed peer").matches_call(&call, &[], now));
    }

    #[test]
    fn rows_of_other_lists_match_by_their_texts_and_their_call() {
        let (call, _, now) = calls();
        let row = Row {
            call: Some(call.id),
            facts: Some(&call),
            user: None,
            texts: &["retry", "attempt 2 in 0.50 s: 503"],
        };
        for (typed, found) in [
            ("503", true),
            ("retry", true),
            ("answered", false),
            ("#31", true),
            ("user:ana", true),
            ("attempts>1", true),
            ("!retry", false),
        ] {
            assert_eq!(Filter::new(typed).matches(row, now), found, "{typed}");
        }
        let notice = Row {
            texts: &["notice"],
            ..Row::default()
        };
        for (typed, found) in [
            ("user:ana", false),
            (">2s", false),
            ("!>2s", true),
            ("notice", true),
        ] {
            assert_eq!(Filter::new(typed).matches(notice, now), found, "{typed}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_a_filter_of_bounded_cost(typed in ".{0,200}") {
            let (answered, waiting, now) = calls();
            let filter = Filter::new(&typed);
            prop_assert!(filter.words.len() <= MAX_WORDS);
            prop_assert_eq!(filter.words.iter().any(|word| word.excludes), typed.split_whitespace().any(|word| {
                word.starts_with('!') && Word::parse(word).is_some()
            }));
            for call in [&answered, &waiting] {
                filter.matches_call(call, &[], now);
            }
        }

        #[test]
        fn a_word_and_its_exclusion_share_all_calls(word in "[#<>=a-z0-9:.é]{1,12}") {
            let (answered, waiting, now) = calls();
            for call in [&answered, &waiting] {
                let (with, without) = (Filter::new(&word), Filter::new(&format!("!{word}")));
                prop_assert!(with.is_empty() || with.matches_call(call, &[], now) != without.matches_call(call, &[], now));
            }
        }
    }
}
