//! Text from a model, a server or a file, made printable once, at the boundary.
//!
//! A terminal obeys what it prints: an escape sequence inside an answer can retitle the window, write the
//! clipboard or fake a screen. [`SafeText`] can only be built by the sanitiser here, and panes accept no
//! other untrusted text. The mapping is **character by character, not sequence stripping**, so a sequence
//! that is split over two chunks cannot slip through.

pub(crate) mod units;

use std::fmt;
use std::ops::Deref;

use serde::de::Visitor;
use serde::{Deserialize, Deserializer, Serialize};

/// Combining marks kept on one base character; more would draw over neighbouring rows.
const MAX_COMBINING: u8 = 8;

/// Text that is safe to print: no control character except line feed, no bidirectional override, no
/// invisible tag, no more than eight combining marks in a row.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(transparent)]
pub struct SafeText {
    text: String,
    #[serde(skip)]
    combining: u8,
}

impl SafeText {
    /// Sanitises `raw`.
    pub fn new(raw: &str) -> Self {
        let mut safe = Self::default();
        safe.push(raw);
        safe
    }

    /// Sanitises `raw` and keeps at most `max` characters of what comes of it, with `…` where something was cut.
    pub fn excerpt(raw: &str, max: usize) -> Self {
        let mut safe = Self::default();
        let (mut kept, mut count) = (0, 0);
        for c in raw.chars() {
            let before = safe.text.len();
            safe.push_char(c);
            for c in safe.text.get(before..).unwrap_or_default().chars() {
                count += 1;
                if count < max {
                    kept += c.len_utf8();
                }
            }
            if count > max {
                safe.text.truncate(kept);
                safe.text.push('…');
                safe.combining = 0;
                break;
            }
        }
        safe
    }

    /// Sanitises bytes that should be UTF-8; invalid ones become U+FFFD.
    pub fn from_bytes(raw: &[u8], max: usize) -> Self {
        Self::excerpt(&String::from_utf8_lossy(raw), max)
    }

    /// Appends `raw`, sanitised. State carries over, so split input gives the same text as whole input.
    pub fn push(&mut self, raw: &str) {
        if raw.bytes().all(|byte| matches!(byte, b' '..=b'~' | b'\n')) {
            // nearly all text, and nothing to do about it
            if !raw.is_empty() {
                self.text.push_str(raw);
                self.combining = 0;
            }
            return;
        }
        self.text.reserve(raw.len());
        for c in raw.chars() {
            self.push_char(c);
        }
    }

    /// Appends text that is already safe.
    pub fn push_safe(&mut self, other: &Self) {
        self.push(&other.text);
    }

    /// Appends text that is already safe until the whole has about `max` bytes, never more; the rest is
    /// dropped. Once full it stays as it is: a shorter character does not slip in behind a longer one.
    pub fn push_within(&mut self, other: &Self, max: usize) {
        let fits = self.text.len() + other.text.len() + 3 <= max;
        if fits && !other.text.starts_with(is_combining) {
            if !other.text.is_empty() {
                self.text.push_str(&other.text);
                self.combining = other.combining;
            }
            return;
        }
        for c in other.text.chars() {
            // a character has at most four bytes
            if self.text.len() + 4 > max {
                return;
            }
            self.push_char(c);
        }
    }

    /// The text on one line: line feeds become spaces.
    pub fn single_line(&self) -> String {
        self.text.replace('\n', " ")
    }

    /// The printable text.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    fn push_char(&mut self, c: char) {
        if is_combining(c) {
            if self.combining < MAX_COMBINING {
                self.combining += 1;
                self.text.push(c);
            }
            return;
        }
        if c == '\r' {
            // leaves no trace, so it must not start a new count either
            return;
        }
        self.combining = 0;
        match c {
            '\n' => self.text.push('\n'),
            '\t' => self.text.push_str("    "),
            // C0 and DEL have pictures of their own in Unicode, which show what was there
            '\0'..='\u{1f}' => self
                .text
                .push(char::from_u32(0x2400 + c as u32).unwrap_or('\u{fffd}')),
            '\u{7f}' => self.text.push('\u{2421}'),
            '\u{80}'..='\u{9f}' => self.text.push('\u{fffd}'),
            _ if is_invisible_format(c) => self.text.push('\u{fffd}'),
            _ => self.text.push(c),
        }
    }
}

/// Characters that reorder, hide or tag text: bidirectional controls, separators, zero-width, tags.
fn is_invisible_format(c: char) -> bool {
    matches!(c,
        '\u{061c}' | '\u{180e}' | '\u{200b}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e0fff}')
}

/// Zero-width characters that stack on the one before, joiners and variation selectors among them.
fn is_combining(c: char) -> bool {
    // below U+0300 the soft hyphen alone has no width
    (c > '\u{2ff}' || c == '\u{ad}')
        && !is_invisible_format(c)
        && unicode_width::UnicodeWidthChar::width(c) == Some(0)
}

impl Deref for SafeText {
    type Target = str;

    fn deref(&self) -> &str {
        &self.text
    }
}

impl fmt::Display for SafeText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.text.fmt(f)
    }
}

impl From<&str> for SafeText {
    fn from(raw: &str) -> Self {
        Self::new(raw)
    }
}

impl From<String> for SafeText {
    fn from(raw: String) -> Self {
        Self::new(&raw)
    }
}

impl<'de> Deserialize<'de> for SafeText {
    /// A journal is a file, and a file is hostile: what is read is sanitised again.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(Sanitised)
    }
}

/// Sanitises what is read where it stands.
struct Sanitised;

impl Visitor<'_> for Sanitised {
    type Value = SafeText;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string")
    }

    fn visit_str<E: serde::de::Error>(self, raw: &str) -> Result<SafeText, E> {
        Ok(SafeText::new(raw))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn escape_sequences_become_pictures() {
        assert_eq!(SafeText::new("\x1b]52;c;aGk=\x07").as_str(), "␛]52;c;aGk=␇");
        assert_eq!(
            SafeText::new("a\tb\r\nc\u{9b}31m").as_str(),
            "a    b\nc\u{fffd}31m"
        );
    }

    #[test]
    fn bidi_and_tags_are_made_visible() {
        assert_eq!(
            SafeText::new("x\u{202e}y\u{e0041}z").as_str(),
            "x\u{fffd}y\u{fffd}z"
        );
    }

    #[test]
    fn combining_floods_are_capped() {
        let flood = format!("a{}", "\u{301}".repeat(500));
        assert_eq!(
            SafeText::new(&flood).chars().count(),
            1 + usize::from(MAX_COMBINING)
        );
        // found by the fuzzer: a soft hyphen has no width either, so it must not begin a new count
        let hyphens = format!("a{}", "\u{301}\u{ad}".repeat(500));
        assert_eq!(
            SafeText::new(&hyphens).chars().count(),
            1 + usize::from(MAX_COMBINING)
        );
    }

    #[test]
    fn an_excerpt_says_that_it_is_one() {
        assert_eq!(SafeText::excerpt("abcdef", 4).as_str(), "abc…");
        assert_eq!(SafeText::excerpt("abcd", 4).as_str(), "abcd");
        // a tab is four characters
        assert_eq!(SafeText::excerpt("a\tbc", 4).as_str(), "a  …");
    }

    #[test]
    fn text_within_a_bound_stays_within_it() {
        let mut text = SafeText::new("abc");
        text.push_within(&SafeText::new("de"), 16);
        assert_eq!(text.as_str(), "abcde");
        text.push_within(&SafeText::new("€€€€€"), 16);
        assert_eq!(text.as_str(), "abcde€€€");
        for more in ["x€", "x", ""] {
            text.push_within(&SafeText::new(more), 16);
            assert_eq!(text.as_str(), "abcde€€€");
        }
    }

    #[test]
    fn reading_back_what_was_written_changes_nothing() {
        for raw in ["e\u{301}\r", "abe\u{301}\u{302}cd"] {
            for text in [SafeText::new(raw), SafeText::excerpt(raw, 4)] {
                assert_eq!(SafeText::new(&text), text);
            }
        }
    }

    proptest! {
        #[test]
        fn no_control_survives_and_splits_do_not_matter(raw in "\\PC*|[\\x00-\\u{2fff}]{0,40}", cut in 0usize..40) {
            let whole = SafeText::new(&raw);
            prop_assert!(whole.chars().all(|c| c == '\n' || !c.is_control()));
            let cut = raw.char_indices().map(|(i, _)| i).nth(cut).unwrap_or(raw.len());
            let mut split = SafeText::new(&raw[..cut]);
            split.push(&raw[cut..]);
            prop_assert_eq!(&whole, &split);
            let mut joined = SafeText::new(&raw[..cut]);
            joined.push_within(&SafeText::new(&raw[cut..]), 1 << 20);
            prop_assert_eq!(whole, joined);
        }
    }
}
