//! Untrusted text from a model, a server or a file, made safe to print at the boundary.
//!
//! A terminal executes escape sequences: one inside an answer can retitle the window, write the clipboard or fake
//! a screen. Only the sanitiser here builds a [`SafeText`], and panes accept no other untrusted text. It maps
//! **character by character instead of stripping sequences**, so a sequence that is split over two chunks cannot
//! pass.

pub(crate) mod units;

use std::fmt;
use std::ops::Deref;

use serde::de::Visitor;
use serde::{Deserialize, Deserializer, Serialize};

/// Combining marks kept per base character; more would draw over neighbouring rows.
const MAX_COMBINING: u8 = 8;
/// Bytes reserved for a text that grows.
const LEAST_CAPACITY: usize = 256;

/// Text that is safe to print: without control characters other than line feed, bidirectional overrides and
/// invisible tags, and with at most eight combining marks in a row.
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

    /// Sanitises `raw` and truncates the result to `max` characters, ending in `…`.
    pub fn excerpt(raw: &str, max: usize) -> Self {
        let mut safe = Self::default();
        // the common case: nothing to replace, and each byte is a character
        if let Some(start) = raw.get(..raw.len().min(max.saturating_add(1)))
            && is_plain(start)
        {
            let is_cut = start.len() > max;
            let kept = if is_cut {
                max.saturating_sub(1)
            } else {
                start.len()
            };
            safe.text.push_str(start.get(..kept).unwrap_or_default());
            if is_cut {
                safe.text.push('…');
            }
            return safe;
        }
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

    /// Sanitises UTF-8, truncated to `max` characters; invalid bytes become U+FFFD.
    pub fn from_bytes(raw: &[u8], max: usize) -> Self {
        Self::excerpt(&String::from_utf8_lossy(raw), max)
    }

    /// Appends `raw`, sanitised. State carries over, so split input gives the same text as whole input.
    pub fn push(&mut self, raw: &str) {
        if is_plain(raw) {
            // the common case: nothing to replace
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

    /// Appends safe text up to about `max` bytes in total, never more, and drops the rest. A full text stays as it
    /// is, even if a shorter character would still fit.
    pub fn push_within(&mut self, other: &Self, max: usize) {
        let fits = self.text.len() + other.text.len() + 3 <= max;
        if fits && !other.text.starts_with(is_combining) {
            if !other.text.is_empty() {
                if self.text.capacity() == 0 {
                    // answers come word by word: without it, each would be moved once per power of two
                    self.text.reserve(other.text.len().max(LEAST_CAPACITY));
                }
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
            // dropped, so it must not reset the count of combining marks
            return;
        }
        self.combining = 0;
        match c {
            '\n' => self.text.push('\n'),
            '\t' => self.text.push_str("    "),
            // Unicode has a visible picture of each C0 control and of DEL
            '\0'..='\u{1f}' => self
                .text
                .push(char::from_u32(0x2400 + c as u32).unwrap_or('\u{fffd}')),
            '\u{7f}' => self.text.push('\u{2421}'),
            '\u{80}'..='\u{9f}' => self.text.push('\u{fffd}'),
            _ if is_invisible(c) => self.text.push('\u{fffd}'),
            _ => self.text.push(c),
        }
    }
}

/// Returns true for characters that reorder, hide or tag text: bidirectional controls, separators, zero-width
/// spaces, tags.
pub(crate) fn is_invisible(c: char) -> bool {
    matches!(c,
        '\u{061c}' | '\u{180e}' | '\u{200b}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e0fff}')
}

/// Returns true for zero-width characters that attach to the one before, including joiners and variation
/// selectors.
fn is_combining(c: char) -> bool {
    // below U+0300 only the soft hyphen has no width
    (c > '\u{2ff}' || c == '\u{ad}')
        && !is_invisible(c)
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
        if is_plain(&raw) {
            let combining = 0;
            return Self { text: raw, combining };
        }
        Self::new(&raw)
    }
}

/// Returns true if no character has to be replaced, and none combines.
fn is_plain(raw: &str) -> bool {
    first_byte(raw.as_bytes(), |byte| !matches!(byte, b' '..=b'~' | b'\n')).is_none()
}

/// The position of the first byte that `is_wanted`. Blocks without one are passed over as a whole, which compiles to
/// vector instructions if `is_wanted` consists of comparisons.
pub(crate) fn first_byte(bytes: &[u8], is_wanted: impl Fn(u8) -> bool) -> Option<usize> {
    const BLOCK: usize = 32;
    let has_one = |block: &[u8]| block.iter().fold(false, |found, &byte| found | is_wanted(byte));
    let blocks = bytes.chunks_exact(BLOCK);
    let passed = blocks.take_while(|block| !has_one(block)).count() * BLOCK;
    let at = bytes.get(passed..)?.iter().position(|&byte| is_wanted(byte))?;
    Some(passed + at)
}

impl<'de> Deserialize<'de> for SafeText {
    /// Sanitises again: a journal is an untrusted file.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(SafeTextVisitor)
    }
}

/// Sanitises without copying the string first.
struct SafeTextVisitor;

impl Visitor<'_> for SafeTextVisitor {
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
    fn escape_sequences_become_visible() {
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
        // found by the fuzzer: a soft hyphen has no width either, so it must not reset the count
        let hyphens = format!("a{}", "\u{301}\u{ad}".repeat(500));
        assert_eq!(
            SafeText::new(&hyphens).chars().count(),
            1 + usize::from(MAX_COMBINING)
        );
    }

    #[test]
    fn an_excerpt_ends_in_an_ellipsis() {
        assert_eq!(SafeText::excerpt("abcdef", 4).as_str(), "abc…");
        assert_eq!(SafeText::excerpt("abcd", 4).as_str(), "abcd");
        // a tab counts as four characters
        assert_eq!(SafeText::excerpt("a\tbc", 4).as_str(), "a  …");
    }

    #[test]
    fn push_within_never_exceeds_its_limit() {
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
    fn sanitising_twice_changes_nothing() {
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
