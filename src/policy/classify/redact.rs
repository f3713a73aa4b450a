//! Secrets in text that others wrote: an error message may echo the key it refuses.
//!
//! By pattern, because the text may hold a key that is not ours. Rather too much than too little: what is
//! hidden by mistake is a word in an error message.

const MASK: &str = "[redacted]";

/// How keys begin, and how many characters must follow. OpenAI, Anthropic and many look-alikes use `sk-`.
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

/// Words before a secret, with nothing but spaces between.
const SCHEMES: [&str; 4] = ["bearer ", "bearer:", "basic ", "key provided: "];

/// What may follow a scheme without being a secret: "Bearer authentication required".
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

/// The length from which letters mixed with digits are taken for a key.
const OPAQUE: usize = 32;

/// The text with everything that looks like a key or a token replaced by `[redacted]`.
pub fn redact(text: &str) -> String {
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

/// If a secret begins here: the bytes before it that may be shown, and the bytes of the secret.
fn secret_at(rest: &str, before: char) -> Option<(usize, usize)> {
    // an address follows its scheme, everything else the beginning of a word
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

/// A long run of letters and digits, both of them.
fn opaque(rest: &str) -> Option<(usize, usize)> {
    let end = rest.find(|c: char| !c.is_ascii_alphanumeric());
    let run = rest.get(..end.unwrap_or(rest.len()))?;
    let mixed = run.contains(|c: char| c.is_ascii_digit()) && run.contains(|c: char| c.is_ascii_alphabetic());
    (run.len() >= OPAQUE && mixed).then_some((0, run.len()))
}

/// The bytes up to where a token surely ends, without the full stop of a sentence.
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_looks_like_a_key_is_hidden() {
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
            // as few characters as a key has, and as many
            ("sk-abcdef", "[redacted]"),
            ("0123456789abcdef0123456789abcdef", "[redacted]"),
        ] {
            assert_eq!(redact(raw), wanted, "{raw}");
        }
    }

    #[test]
    fn what_does_not_look_like_one_is_kept() {
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
            // nothing is where the secret would be
            "send 'Bearer ' and the key",
            "https://h/v1?key=&x=1",
            "password: , user: ada",
            "https://@h/v1",
        ] {
            assert_eq!(redact(raw), raw);
        }
    }

    proptest! {
        #[test]
        fn any_text_is_survived_and_nothing_is_found_twice(raw in "\\PC{0,80}|[a-z:= \"'@/._-]{0,80}") {
            let once = redact(&raw);
            prop_assert!(once.len() <= raw.len() * MASK.len() + MASK.len());
        }

        #[test]
        fn no_key_survives(
            before in "(\\PC{0,20}[ :=\"'(/])?", key in "[A-Za-z0-9]{24}", after in "([ ,.\"')]\\PC{0,20})?",
            prefix in prop::sample::select(vec!["sk-", "sk-ant-api03-", "sk-proj-", "gsk_", "Bearer ", "api-key: "]),
        ) {
            let safe = redact(&format!("{before}{prefix}{key}{after}"));
            prop_assert!(!safe.contains(&key), "{safe}");
        }
    }
}
