//! The key that is sent, hidden wherever it comes back: in errors, in lists of models, in what a model says.
//!
//! Patterns find keys that look like keys (`policy::classify::redact`); only who knows a key can find one that
//! looks like nothing. Events, and so screen, journal and reports, hold text without it; what a caller of the
//! library gets is what the server sent (semantics 3.2).

use secrecy::ExposeSecret as _;

use super::transport::ApiKey;
use crate::text::SafeText;

/// Keys below this are placeholders for servers that want any: "none", "dummy". A beginning of a key that is as
/// long is hidden too: the text may have been cut in the middle of one.
const SHORTEST_KEY: usize = 8;
/// Any other part of a key is hidden from this length on.
const SHORTEST_PART: usize = 12;

const MASK: &str = "[redacted]";

impl ApiKey {
    /// The text without this key, if it holds it.
    pub(super) fn hidden_in(&self, text: &SafeText) -> Option<SafeText> {
        hide(text, self.secret.expose_secret()).map(SafeText::from)
    }

    /// Whether this key may begin at the end of `text`: what comes next decides.
    pub(super) fn may_begin_at_end(&self, text: &str) -> bool {
        let key = self.secret.expose_secret();
        let beginnings = key.char_indices().skip(1).map(|(end, _)| key.get(..end));
        key.len() >= SHORTEST_KEY && beginnings.flatten().any(|beginning| text.ends_with(beginning))
    }
}

fn hide(text: &str, key: &str) -> Option<String> {
    if key.len() < SHORTEST_KEY {
        return None;
    }
    let mut out = String::new();
    let mut shown_from = 0;
    let mut at = 0;
    while let Some(first) = text.get(at..).and_then(|rest| rest.chars().next()) {
        let hidden = part_at(text.get(at..).unwrap_or_default(), key);
        if hidden == 0 {
            at += first.len_utf8();
            continue;
        }
        out.push_str(text.get(shown_from..at).unwrap_or_default());
        out.push_str(MASK);
        at += hidden;
        shown_from = at;
    }
    (shown_from > 0).then(|| out + text.get(shown_from..).unwrap_or_default())
}

/// The bytes of the longest part of the key that `text` begins with; 0 if it is too short to matter.
fn part_at(text: &str, key: &str) -> usize {
    let parts = key.char_indices().map(|(from, _)| {
        let same = text
            .chars()
            .zip(key.get(from..).unwrap_or_default().chars())
            .take_while(|(a, b)| a == b);
        let length: usize = same.map(|(c, _)| c.len_utf8()).sum();
        let shortest = if from == 0 { SHORTEST_KEY } else { SHORTEST_PART };
        if length < shortest { 0 } else { length }
    });
    parts.max().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const KEY: &str = "canary.4711.secret";

    fn key() -> ApiKey {
        ApiKey {
            name: "KEY".into(),
            secret: KEY.into(),
        }
    }

    #[test]
    fn a_key_is_hidden_whole_or_in_part() {
        for (text, expected) in [
            ("no key here", None),
            ("canary.", None),
            ("<canary.4711.secret>", Some("<[redacted]>")),
            (
                "canary.4711.secretcanary.4711.secret!",
                Some("[redacted][redacted]!"),
            ),
            ("cut: canary.47…", Some("cut: [redacted]…")),
            ("the end: y.4711.secret", Some("the end: [redacted]")),
            ("too little: 1.secret", None),
        ] {
            assert_eq!(hide(text, KEY).as_deref(), expected, "{text}");
        }
        assert_eq!(hide("dummy", "dummy"), None);
    }

    #[test]
    fn a_key_that_has_begun_is_known() {
        for (text, expected) in [
            ("", false),
            ("it is c", true),
            ("it is canary.4711", true),
            ("canary.4711.secret", false),
        ] {
            assert_eq!(key().may_begin_at_end(text), expected, "{text}");
        }
    }

    proptest! {
        /// However a stream is cut, no piece that is told holds eight characters of the key's beginning.
        #[test]
        fn a_key_in_pieces_is_hidden(
            before in "[a-z. ]{0,12}", after in "[a-z. ]{0,12}", cuts in prop::collection::vec(0..40usize, 0..5),
        ) {
            let text = format!("{before}{KEY}{after}");
            let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(text.len())).collect();
            cuts.push(text.len());
            cuts.sort_unstable();
            let (mut from, mut kept, mut told) = (0, String::new(), String::new());
            for to in cuts {
                kept.push_str(&text[from..to]);
                from = to;
                if !key().may_begin_at_end(&kept) {
                    let piece = std::mem::take(&mut kept);
                    told.push_str(&hide(&piece, KEY).unwrap_or(piece));
                }
            }
            told.push_str(&hide(&kept, KEY).unwrap_or(kept));
            prop_assert!(!told.contains(&KEY[..SHORTEST_KEY]), "{}", told);
        }
    }
}
