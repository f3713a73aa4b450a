//! The tokeniser: a prompt as a list of words with their kind and meaning.
//!
//! text -> pieces (split at spaces and punctuation) -> words (contractions expanded, numbers and units recognised)
//! -> phrases of the thesaurus merged, padding marked. The embedder and the guards use the same list.

use std::borrow::Cow;

use super::quantity::{self, Quantity};
use super::stem::stem;
use super::thesaurus::{Meaning, THESAURUS};
use super::word::{Word, WordKind, is_currency};

/// Words read per prompt; a guard rejects longer prompts.
pub(super) const MAX_WORDS: usize = 4096;

/// A tokenised prompt.
#[derive(Debug)]
pub(super) struct Prompt<'a> {
    pub text: &'a str,
    pub words: Vec<Word<'a>>,
    /// True if the prompt has more than [`MAX_WORDS`].
    pub truncated: bool,
}

impl<'a> Prompt<'a> {
    pub(super) fn parse(text: &'a str) -> Self {
        let mut words = Vec::with_capacity(text.len().min(64 * 1024) / 5);
        let mut truncated = false;
        let mut opens = true;
        let pieces = Pieces { text, at: 0 };
        for piece in pieces {
            if words.len() >= MAX_WORDS {
                truncated = true;
                break;
            }
            split(piece, opens, &mut words);
            opens = ends_sentence(text, piece.0 + piece.1.len());
        }
        let words = merge_phrases(text, &words);
        Self {
            text,
            words,
            truncated,
        }
    }

    /// The words that carry content, including code.
    pub(super) fn content(&self) -> impl Iterator<Item = &Word<'a>> {
        let carries = |word: &&Word<'_>| matches!(word.kind, WordKind::Content | WordKind::Code);
        self.words.iter().filter(carries)
    }
}

/// The pieces of a text between spaces and punctuation, with their offsets.
struct Pieces<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Iterator for Pieces<'a> {
    type Item = (usize, &'a str);

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let rest = self.text.get(self.at..)?;
            let start = self.at + rest.find(|c| !is_break(c))?;
            let rest = self.text.get(start..)?;
            let mut end = rest.find(is_break).unwrap_or(rest.len());
            // 1,000 is one piece
            while let Some(more) = joined_number(rest, end) {
                end = more;
            }
            self.at = start + end;
            let piece = rest.get(..end)?;
            let trimmed =
                piece.trim_start_matches(['\'', '*', '’', '‘', '`', '-', '=', '.', '~', '|', '\\', '&']);
            let skipped = piece.len() - trimmed.len();
            // --force keeps its dashes; c++ and c# keep their ends
            let (skipped, trimmed) = match piece.as_bytes() {
                [b'-', b'-', b'a'..=b'z', ..] => (0, piece),
                _ => (skipped, trimmed),
            };
            let trimmed = trimmed.trim_end_matches([
                '\'', '*', '’', '‘', '`', '.', '-', '=', '~', '|', '/', '\\', '&', ':',
            ]);
            if trimmed.chars().any(|c| c.is_alphanumeric() || is_currency(c)) {
                return Some((start + skipped, trimmed));
            }
        }
    }
}

fn is_break(c: char) -> bool {
    c.is_whitespace() || "\"“”„«»()[]{}<>,;!?¿¡—–…。、？`".contains(c)
}

/// The end of a number that continues after a thousands separator.
fn joined_number(rest: &str, end: usize) -> Option<usize> {
    let before = rest.get(..end)?.bytes().next_back()?;
    let mut behind = rest.get(end..)?.bytes();
    let comma = behind.next()?;
    let digits = behind.clone().take_while(u8::is_ascii_digit).count();
    let thousands = comma == b',' && digits == 3 && before.is_ascii_digit();
    if !thousands {
        return None;
    }
    let tail = rest.get(end + 1..)?;
    Some(end + 1 + tail.find(is_break).unwrap_or(tail.len()))
}

/// Returns true if a sentence ends at this offset, so that the next word is capitalised for that reason.
fn ends_sentence(text: &str, at: usize) -> bool {
    let rest = text.get(at..).unwrap_or_default();
    let gap = rest.find(|c: char| c.is_alphanumeric()).unwrap_or(rest.len());
    let gap = rest.get(..gap).unwrap_or_default();
    gap.contains(['?', '!', '\n', '¿', '¡', ':', '。', '？']) || gap.contains(". ") || gap.contains(".\n")
}

/// Appends the words of a piece.
fn split<'a>((at, piece): (usize, &'a str), opens: bool, words: &mut Vec<Word<'a>>) {
    // 12-line
    if let Some((number, word)) = piece.split_once('-')
        && number.bytes().all(|byte| byte.is_ascii_digit())
        && word.starts_with(char::is_alphabetic)
    {
        split((at, number), opens, words);
        split((at + number.len() + 1, word), false, words);
        return;
    }
    // utf8 and utf-8, python3
    let letters = piece.bytes().take_while(u8::is_ascii_alphabetic).count();
    if letters > 1
        && let Some((word, number)) = piece.split_at_checked(letters)
        && let Some(number) = number.strip_prefix('-').or(Some(number))
        && number.starts_with(|c: char| c.is_ascii_digit())
        && number.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.')
        && THESAURUS.exact(&piece.to_ascii_lowercase()).is_none()
    {
        split((at, word), opens, words);
        split((at + piece.len() - number.len(), number), false, words);
        return;
    }
    if let Some(parts) = quantity::parse(piece) {
        let mut opens = opens;
        for part in parts {
            let kind = match &part {
                Quantity::Number(_) => WordKind::Number,
                Quantity::Unit(_) => WordKind::Unit,
            };
            let concept = match part {
                Quantity::Number(value) => Cow::Owned(value),
                Quantity::Unit(unit) => Cow::Borrowed(unit),
            };
            let mut word = content_word(at, piece, opens);
            (word.kind, word.concept) = (kind, concept);
            words.push(word);
            opens = false;
        }
        return;
    }
    if THESAURUS.exact(&piece.to_ascii_lowercase()).is_some() {
        words.push(content_word(at, piece, opens));
        return;
    }
    if is_code(piece) {
        let mut word = content_word(at, piece, opens);
        word.kind = WordKind::Code;
        word.concept = Cow::Owned(word.lower.to_string());
        words.push(word);
        return;
    }
    let mut from = 0;
    for part in piece.split(['-', '/', ':', '‐', '‑', '+', '=', '&', '.', '*', '|']) {
        if !part.is_empty() {
            push_expanded(at + from, part, opens && from == 0, words);
        }
        let next = piece
            .get(from + part.len()..)
            .and_then(|rest| rest.chars().next());
        from += part.len() + next.map_or(0, char::len_utf8);
    }
}

fn content_word(at: usize, raw: &str, opens: bool) -> Word<'_> {
    let lower = if raw.bytes().all(|byte| byte.is_ascii_lowercase()) {
        Cow::Borrowed(raw)
    } else {
        Cow::Owned(raw.to_lowercase().replace('’', "'"))
    };
    Word {
        raw,
        at,
        lower,
        concept: Cow::Borrowed(""),
        kind: WordKind::Content,
        opens,
        grouped: false,
    }
}

/// Appends a word with contractions expanded: `doesn't` is `does` and `not`.
fn push_expanded<'a>(at: usize, raw: &'a str, opens: bool, words: &mut Vec<Word<'a>>) {
    let mut first = content_word(at, raw, opens);
    let (whole, tail) = expand_contraction(&first.lower);
    if whole != first.lower {
        first.lower = Cow::Owned(whole.to_owned());
    }
    words.push(first);
    if let Some(tail) = tail {
        let mut second = content_word(at, raw, false);
        second.lower = Cow::Borrowed(tail);
        words.push(second);
    }
}

/// Contractions typed without an apostrophe.
#[rustfmt::skip]
const WITHOUT_APOSTROPHE: &[(&str, &str, &str)] = &[
    ("arent", "are", "not"), ("cannot", "can", "not"), ("cant", "can", "not"), ("couldnt", "could", "not"),
    ("didnt", "did", "not"), ("doesnt", "does", "not"), ("dont", "do", "not"), ("hasnt", "has", "not"),
    ("havent", "have", "not"), ("hows", "how", "is"), ("im", "i", "am"), ("isnt", "is", "not"),
    ("ive", "i", "have"), ("shouldnt", "should", "not"), ("thats", "that", "is"), ("theyre", "they", "are"),
    ("wasnt", "was", "not"), ("werent", "were", "not"), ("whats", "what", "is"), ("wheres", "where", "is"),
    ("whos", "who", "is"), ("wont", "will", "not"), ("wouldnt", "would", "not"), ("youre", "you", "are"),
];

fn expand_contraction(lower: &str) -> (&str, Option<&'static str>) {
    if let Some((_, whole, tail)) = WITHOUT_APOSTROPHE.iter().find(|(form, ..)| *form == lower) {
        return (whole, Some(tail));
    }
    let Some((start, ending)) = lower.split_once('\'') else {
        return (lower, None);
    };
    match (start, ending) {
        ("can", "t") => ("can", Some("not")),
        ("won", "t") => ("will", Some("not")),
        ("shan", "t") => ("shall", Some("not")),
        ("let", "s") => ("let", Some("us")),
        (_, "t") => (start.strip_suffix('n').unwrap_or(start), Some("not")),
        (
            "what" | "who" | "where" | "when" | "how" | "why" | "that" | "there" | "here" | "it" | "he"
            | "she",
            "s",
        ) => (start, Some("is")),
        (_, "re") => (start, Some("are")),
        (_, "ve") => (start, Some("have")),
        (_, "ll") => (start, Some("will")),
        (_, "d") => (start, Some("would")),
        (_, "m") => (start, Some("am")),
        (_, "s" | "") => (start, None),
        _ => (lower, None),
    }
}

/// Returns true for a file name, an identifier, an address or an option.
fn is_code(piece: &str) -> bool {
    let bytes = piece.as_bytes();
    let inner = |index: usize| {
        let letter = |at: Option<usize>| {
            at.and_then(|at| bytes.get(at))
                .is_some_and(u8::is_ascii_alphanumeric)
        };
        letter(index.checked_sub(1)) && letter(Some(index + 1))
    };
    let camel = bytes
        .windows(2)
        .any(|pair| matches!(pair, [a, b] if a.is_ascii_lowercase() && b.is_ascii_uppercase()));
    let dotted = bytes
        .iter()
        .enumerate()
        .any(|(index, byte)| *byte == b'.' && inner(index));
    let mixed = bytes.iter().any(u8::is_ascii_digit) && bytes.iter().any(u8::is_ascii_alphabetic);
    let slashes = piece.matches('/').count();
    matches!(bytes.first(), Some(b'@' | b'#' | b'/' | b'-' | b'$'))
        || piece.contains('_')
        || piece.contains("::")
        || slashes > 1
        || camel
        || dotted
        || mixed
}

/// Merges phrases and assigns each word its meaning.
fn merge_phrases<'a>(text: &'a str, words: &[Word<'a>]) -> Vec<Word<'a>> {
    let keys: Vec<String> = words.iter().map(|word| THESAURUS.key(&word.lower)).collect();
    let mut out: Vec<Word<'a>> = Vec::with_capacity(words.len());
    let mut at = 0;
    let mut opening = true;
    while let Some(word) = words.get(at) {
        if word.opens {
            opening = true;
        }
        let (mut word, taken) = match phrase_at(text, words, &keys, at, opening) {
            Some((meaning, length)) => (merged(text, words, at, length, meaning), length),
            None => (single(word, &keys, at), 1),
        };
        if opening {
            word.opens = true;
            normalise_opening(&mut word, words.get(at + taken));
            // padding does not end the opening of a sentence: the request follows
            opening = word.kind == WordKind::Padding;
        }
        out.push(word);
        at += taken;
    }
    quantity::mark_quantities(&mut out);
    out
}

/// Drops or unifies the verb that opens a request: `explain how it works` is `how does it work`.
fn normalise_opening(word: &mut Word<'_>, next: Option<&Word<'_>>) {
    match &*word.concept {
        "explain" => word.kind = WordKind::Padding,
        "write" | "create" => word.concept = Cow::Borrowed("write"),
        "list" | "name" | "enumerate" => {
            let counted = next.is_some_and(|next| {
                next.kind == WordKind::Number
                    || THESAURUS.is_function(&next.lower)
                    || quantity::is_spelled(&next.lower)
            });
            if counted {
                word.kind = WordKind::Padding;
            }
        }
        _ => {}
    }
}

/// The longest phrase that begins at a word, with its length in words.
fn phrase_at(
    text: &str,
    words: &[Word<'_>],
    keys: &[String],
    at: usize,
    opening: bool,
) -> Option<(Meaning, usize)> {
    let word = words.get(at)?;
    if matches!(word.kind, WordKind::Number | WordKind::Unit | WordKind::Code) {
        return None;
    }
    for phrase in THESAURUS.phrases(keys.get(at)?) {
        let length = phrase.rest.len() + 1;
        let Some(behind) = keys.get(at + 1..at + length) else {
            continue;
        };
        if behind != phrase.rest {
            continue;
        }
        // `I need help` is padding at the start; `do I need a visa` is the question
        let padding_only_at_start = matches!(
            &*word.lower,
            "i" | "give" | "show" | "get" | "send" | "provide" | "tell" | "can" | "could" | "may"
        );
        if phrase.meaning == Meaning::Padding && padding_only_at_start && !opening {
            continue;
        }
        let last = words.get(at + length - 1)?;
        // a phrase does not cross the end of a sentence
        if words.get(at + 1..at + length)?.iter().any(|word| word.opens) {
            continue;
        }
        match phrase.meaning {
            // the pronoun, not the country
            Meaning::Concept(_) if length == 1 && word.lower == "us" && word.raw != "US" => {}
            Meaning::Greeting => {
                let next = words.get(at + length);
                let from = last.at + last.raw.len();
                let gap = text.get(from..next.map_or(text.len(), |next| next.at));
                let apart = gap.is_some_and(|gap| gap.contains([',', '!', '.', '\n', ':', '-', '—']));
                let quoted = text
                    .get(..word.at)
                    .is_some_and(|before| before.ends_with(['"', '\'', '“', '`']));
                if !quoted && (next.is_none() && at > 0 || opening && (apart || length == 1 && at == 0)) {
                    return Some((Meaning::Padding, length));
                }
            }
            meaning => return Some((meaning, length)),
        }
    }
    None
}

fn merged<'a>(text: &'a str, words: &[Word<'a>], at: usize, length: usize, meaning: Meaning) -> Word<'a> {
    let span = words.get(at..at + length).unwrap_or_default();
    let (Some(first), Some(last)) = (span.first(), span.last()) else {
        return content_word(0, "", false);
    };
    let mut word = first.clone();
    word.raw = text.get(first.at..last.at + last.raw.len()).unwrap_or(first.raw);
    word.grouped = true;
    if length > 1 {
        word.lower = Cow::Owned(span.iter().map(|word| &*word.lower).collect::<Vec<_>>().join(" "));
    }
    match meaning {
        Meaning::Concept(name) => {
            // the exact word before its stem: `best` has a group of its own
            let exact = (length == 1).then(|| THESAURUS.exact(&word.lower)).flatten();
            word.concept = Cow::Borrowed(exact.unwrap_or(name));
            word.kind = WordKind::Content;
        }
        Meaning::Padding | Meaning::Greeting => {
            word.concept = Cow::Borrowed("");
            word.kind = WordKind::Padding;
        }
    }
    word
}

fn single<'a>(word: &Word<'a>, keys: &[String], at: usize) -> Word<'a> {
    let mut word = word.clone();
    if matches!(word.kind, WordKind::Number | WordKind::Unit | WordKind::Code) {
        return word;
    }
    if let Some(name) = THESAURUS.exact(&word.lower).filter(|_| word.lower != "us") {
        word.concept = Cow::Borrowed(name);
        word.grouped = true;
        return word;
    }
    word.concept = Cow::Owned(keys.get(at).cloned().unwrap_or_else(|| stem(&word.lower)));
    if THESAURUS.is_function(&word.lower) {
        word.kind = WordKind::Function;
    }
    word
}
