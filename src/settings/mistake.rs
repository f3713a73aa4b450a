//! What serde says of a value of the wrong kind, in words of a file instead of words of the code.

/// Types of the code, and what a person writes for them.
const KINDS: [(&str, &str); 9] = [
    ("u8", WHOLE),
    ("u16", WHOLE),
    ("u32", WHOLE),
    ("u64", WHOLE),
    ("usize", WHOLE),
    ("f64", "a number"),
    ("a boolean", "true or false"),
    (
        "a duration",
        "a duration in quotes, as \"500ms\", \"10s\" or \"1m 30s\"",
    ),
    ("a sequence", "a list in brackets: [\"..\", \"..\"]"),
];
const WHOLE: &str = "a whole number from 0 on";

/// The message with what is expected in plain words.
pub fn plain(message: &str) -> String {
    let Some((said, kind)) = message.rsplit_once(", expected ") else {
        return message.to_owned();
    };
    let known = KINDS.iter().find(|(code, _)| *code == kind);
    let expected = match known {
        Some((_, words)) => *words,
        None if kind.starts_with("struct ") => "a table of settings: name one of them",
        None => return message.to_owned(),
    };
    format!("{said}, expected {expected}")
}

#[cfg(test)]
mod tests {
    use super::plain;

    #[test]
    fn types_of_the_code_are_words_of_a_file() {
        for (said, plainly) in [
            (
                "invalid type: string \"a, expected b\", expected u32",
                "invalid type: string \"a, expected b\", expected a whole number from 0 on",
            ),
            (
                "invalid type: integer `5`, expected struct RetrySettings",
                "invalid type: integer `5`, expected a table of settings: name one of them",
            ),
            ("missing field `refill`", "missing field `refill`"),
            (
                "unknown field `x`, expected one of `a`, `b`",
                "unknown field `x`, expected one of `a`, `b`",
            ),
        ] {
            assert_eq!(plain(said), plainly);
        }
    }
}
