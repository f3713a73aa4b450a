//! Redaction of secrets in text that others wrote: an error message may echo the key that it rejects, and a model
//! may repeat it.
//!
//! - [`redact`] finds what looks like a key by pattern, because the text may hold a key that is not ours. It hides
//!   rather too much than too little.
//! - [`redact_key`] finds one known key, whatever it looks like, whole or in part.

const MASK: &str = "[redacted]";

/// Shorter keys are placeholders for servers that want any: "none", "dummy". A beginning of a key that is as long
/// is hidden too, because the text may have been truncated in the middle of the key.
const SHORTEST_KEY: usize = 8;
/// Any other part of a key is hidden from this length on.
const SHORTEST_PART: usize = 12;

/// Prefixes of keys, and the least number of characters after them. OpenAI, Anthropic and many others use `sk-`.
const PREFIXES: [(&str, usize); 18] = [
    ("sk-", 6),
    ("sk_", 6),
    ("pk-", 12),
    ("rk_", 12),
    ("gsk_", 6),
    ("csk-", 6),
    ("hf_", 8),
    ("xai-", 6),
    ("pplx-", 6),
    ("nvapi-", 6),
    ("tgp_", 6),
    ("r8_", 12),
    ("AIza", 12),
    ("AKIA", 12),
    ("ghp_", 12),
    ("github_pat_", 6),
    ("glpat-", 6),
    // a JSON web token
    ("eyJ", 17),
];

/// Words before a secret, separated from it by spaces only.
const SCHEMES: [&str; 4] = ["bearer ", "bearer:", "basic ", "key provided: "];

/// Words that may follow a scheme and are no secret: "Bearer authentication required".
const NO_SECRETS: [&str; 10] = [
    "auth",
    "authentication",
    "authorization",
    "token",
    "tokens",
    "scheme",
    "header",
    "is",
    "in",
    "or",
];

/// Names that stand before `=` or `:` and a secret.
const LABELS: [&str; 8] = [
    "api-key",
    "api_key",
    "apikey",
    "api key",
    "access_token",
    "authorization",
    "password",
    "secret",
];

/// Names of query parameters; too common in prose to be followed by a colon.
const PARAMETERS: [&str; 3] = ["key=", "token=", "sig="];

/// The least length at which letters mixed with digits are taken for a key.
const OPAQUE: usize = 32;

/// Replaces everything that looks like a key or a token by `[redacted]`.
pub(crate) fn redact(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    let mut before = ' ';
    while let Some(first) = rest.chars().next() {
        if let Some((shown, hidden)) = secret_at(rest, before) {
            out.push_str(rest.get(..shown).unwrap_or_default());
            out.push_str(MASK);
            rest = rest.get(shown + hidden..).unwrap_or_default();
            before = ' ';
        } else {
            out.push(first);
            rest = rest.get(first.len_utf8()..).unwrap_or_default();
            before = first;
        }
    }
    out
}

/// The length of the text before a secret that begins here, and the length of the secret, in bytes.
fn secret_at(rest: &str, before: char) -> Option<(usize, usize)> {
    // within a word only an address can begin, after its scheme
    if before.is_ascii_alphanumeric() {
        return in_address(rest);
    }
    after_scheme(rest)
        .or_else(|| after_label(rest))
        .or_else(|| {
            PREFIXES
                .iter()
                .find(|(prefix, tail)| rest.starts_with(prefix) && token_len(rest) >= prefix.len() + tail)
                .map(|_| (0, token_len(rest)))
        })
        .or_else(|| opaque(rest))
}

fn after_scheme(rest: &str) -> Option<(usize, usize)> {
    let scheme = SCHEMES.iter().find(|scheme| starts_with(rest, scheme))?;
    let shown = scheme.len() + spaces(rest.get(scheme.len()..)?);
    let secret = rest.get(shown..)?;
    let hidden = token_len(secret);
    let word = secret.get(..hidden)?;
    let harmless = NO_SECRETS.iter().any(|known| word.eq_ignore_ascii_case(known));
    (hidden > 0 && !harmless).then_some((shown, hidden))
}

fn after_label(rest: &str) -> Option<(usize, usize)> {
    if let Some(name) = PARAMETERS.iter().find(|name| starts_with(rest, name)) {
        let hidden = token_len(rest.get(name.len()..)?);
        return (hidden > 0).then_some((name.len(), hidden));
    }
    let label = LABELS.iter().find(|label| starts_with(rest, label))?;
    let mut shown = label.len();
    let tail = rest.get(shown..)?;
    // as in JSON: `"api_key": "..."`
    shown += tail.len() - tail.trim_start_matches(['"', '\'', '\\', ' ']).len();
    if !rest.get(shown..)?.starts_with([':', '=']) {
        return None;
    }
    shown += 1;
    let tail = rest.get(shown..)?;
    shown += tail.len() - tail.trim_start_matches(['"', '\'', '\\', ' ']).len();
    if let Some((scheme, hidden)) = after_scheme(rest.get(shown..)?) {
        return Some((shown + scheme, hidden));
    }
    let hidden = token_len(rest.get(shown..)?);
    (hidden > 0).then_some((shown, hidden))
}

/// The user and password of an address: `https://user:password@host`.
fn in_address(rest: &str) -> Option<(usize, usize)> {
    let tail = rest.strip_prefix("://")?;
    let end = tail.find(['/', '?', '#', ' ', '"', '\'']).unwrap_or(tail.len());
    let at = tail.get(..end)?.rfind('@')?;
    (at > 0).then_some((3, at))
}

/// A long run of both letters and digits.
fn opaque(rest: &str) -> Option<(usize, usize)> {
    let end = rest.find(|c: char| !c.is_ascii_alphanumeric());
    let run = rest.get(..end.unwrap_or(rest.len()))?;
    let mixed = run.contains(|c: char| c.is_ascii_digit()) && run.contains(|c: char| c.is_ascii_alphabetic());
    (run.len() >= OPAQUE && mixed).then_some((0, run.len()))
}

/// The length of a token, without the punctuation of the sentence around it.
fn token_len(text: &str) -> usize {
    let ends = |c: char| c.is_whitespace() || "\"'`<>(){}[],;&\\".contains(c);
    let token = text.get(..text.find(ends).unwrap_or(text.len())).unwrap_or(text);
    token.trim_end_matches(['.', ':', '!', '?']).len()
}

fn spaces(text: &str) -> usize {
    text.len() - text.trim_start_matches(' ').len()
}

fn starts_with(text: &str, prefix: &str) -> bool {
    text.get(..prefix.len())
        .is_some_and(|start| start.eq_ignore_ascii_case(prefix))
}

/// The text with the key, and parts of it, replaced by `[redacted]`; `None` if there is nothing to replace.
pub(crate) fn redact_key(text: &str, key: &str) -> Option<String> {
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

/// The length of the longest part of the key that `text` begins with; 0 if that is too short to hide.
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

/// Returns true if the key may start at the end of `text`, so that only the next chunk decides.
pub(crate) fn may_start_at_end(text: &str, key: &str) -> bool {
    let beginnings = key.char_indices().skip(1).map(|(end, _)| key.get(..end));
    key.len() >= SHORTEST_KEY && beginnings.flatten().any(|beginning| text.ends_with(beginning))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const KEY: &str = "canary.4711.secret";

    #[test]
    fn redacts_a_key_whole_or_in_part() {
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
            assert_eq!(redact_key(text, KEY).as_deref(), expected, "{text}");
        }
        assert_eq!(redact_key("dummy", "dummy"), None);
    }

    #[test]
    fn detects_a_key_that_may_start_at_the_end() {
        for (text, expected) in [
            ("", false),
            ("it is c", true),
            ("it is canary.4711", true),
            ("canary.4711.secret", false),
        ] {
            assert_eq!(may_start_at_end(text, KEY), expected, "{text}");
        }
    }

    #[test]
    fn redacts_what_looks_like_a_key() {
        for (raw, wanted) in [
            (
                "Incorrect API key provided: sk-proj-ab***yz. See the docs",
                "Incorrect API key provided: [redacted]. See the docs",
            ),
            (
                "Incorrect API key provided: sekret.",
                "Incorrect API key provided: [redacted].",
            ),
            (
                "got 'Authorization: Bearer sekret'",
                "got 'Authorization: Bearer [redacted]'",
            ),
            ("bearer  x", "bearer  [redacted]"),
            ("{\"api_key\": \"abc\"}", "{\"api_key\": \"[redacted]\"}"),
            ("x-api-key: abc, ok", "x-api-key: [redacted], ok"),
            ("https://h/v1?key=abc&x=1", "https://h/v1?key=[redacted]&x=1"),
            ("https://me:pw@h/v1", "https://[redacted]@h/v1"),
            ("(gsk_abcdefgh)", "([redacted])"),
            ("AIzaSyA-1234567890 bad", "[redacted] bad"),
            ("key 0123456789abcdef0123456789abcdef!", "key [redacted]!"),
            ("日sk-abcdefgh", "日[redacted]"),
            ("_sk-abcdefgh", "_[redacted]"),
            // the shortest key and the shortest opaque run
            ("sk-abcdef", "[redacted]"),
            ("0123456789abcdef0123456789abcdef", "[redacted]"),
        ] {
            assert_eq!(redact(raw), wanted, "{raw}");
        }
    }

    #[test]
    fn keeps_what_does_not_look_like_a_key() {
        for raw in [
            "",
            "Invalid API Key",
            "Bearer authentication required",
            "the task-management risk-based desk-top",
            "Field 'max_tokens': type must be number",
            "request c28f2bc8-6a1b-4d90-9134-63bc23bd4148",
            "check OPENAI_API_KEY",
            "check MY_COMPANY_OPENAI_API_KEY_STAGING_2",
            "http://127.0.0.1:8033/v1",
            "[json.exception.parse_error.101] parse error at line 1, column 15",
            "This_is_a_very_long_identifier_without_any_figure",
            "sk-abcde",
            "0123456789abcdef0123456789abcde",
            "abcdefghijklmnopqrstuvwxyzabcdefghijklmn",
            "0123456789012345678901234567890123456789",
            // no secret after the label
            "send 'Bearer ' and the key",
            "https://h/v1?key=&x=1",
            "password: , user: ada",
            "https://@h/v1",
        ] {
            assert_eq!(redact(raw), raw);
        }
    }

    proptest! {
        /// However a stream is split, no emitted piece holds the first eight characters of the key.
        #[test]
        fn redacts_a_key_in_pieces(
            before in "[a-z. ]{0,12}", after in "[a-z. ]{0,12}", splits in prop::collection::vec(0..40usize, 0..5),
        ) {
            let text = format!("{before}{KEY}{after}");
            let mut splits: Vec<usize> = splits.into_iter().map(|split| split.min(text.len())).collect();
            splits.push(text.len());
            splits.sort_unstable();
            let (mut from, mut kept, mut emitted) = (0, String::new(), String::new());
            for to in splits {
                kept.push_str(&text[from..to]);
                from = to;
                if !may_start_at_end(&kept, KEY) {
                    let piece = std::mem::take(&mut kept);
                    emitted.push_str(&redact_key(&piece, KEY).unwrap_or(piece));
                }
            }
            emitted.push_str(&redact_key(&kept, KEY).unwrap_or(kept));
            prop_assert!(!emitted.contains(&KEY[..SHORTEST_KEY]), "{}", emitted);
        }

        #[test]
        fn accepts_any_text(raw in "\\PC{0,80}|[a-z:= \"'@/._-]{0,80}") {
            let once = redact(&raw);
            prop_assert!(once.len() <= raw.len() * MASK.len() + MASK.len());
        }

        #[test]
        fn redacts_every_key_with_a_known_prefix(
            before in "(\\PC{0,20}[ :=\"'(/])?", key in "[A-Za-z0-9]{24}", after in "([ ,.\"')]\\PC{0,20})?",
            prefix in prop::sample::select(vec!["sk-", "sk-ant-api03-", "sk-proj-", "gsk_", "Bearer ", "api-key: "]),
        ) {
            let safe = redact(&format!("{before}{prefix}{key}{after}"));
            prop_assert!(!safe.contains(&key), "{safe}");
        }
    }
}
