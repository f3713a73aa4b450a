//! Type names in the messages of serde, replaced by what a policy file writes.

const WHOLE: &str = "a whole number, 0 or more";

/// Types that serde expects, and how to write them in a file.
const EXPECTED: [(&str, &str); 9] = [
    ("u8", WHOLE),
    ("u16", WHOLE),
    ("u32", WHOLE),
    ("u64", WHOLE),
    ("usize", WHOLE),
    ("f64", "a number"),
    ("a boolean", "true or false"),
    (
        "a duration",
        "a duration in quotes: \"500ms\", \"10s\", \"1m 30s\"",
    ),
    ("a sequence", "a list in brackets: [\"..\", \"..\"]"),
];

/// The message of a TOML error, with the expected type in terms of the file.
pub(crate) fn reword_toml_error(message: &str) -> String {
    let Some((start, kind)) = message.rsplit_once(", expected ") else {
        return message.to_owned();
    };
    let expected = match EXPECTED.iter().find(|(code, _)| *code == kind) {
        Some((_, expected)) => *expected,
        None if kind.starts_with("struct ") => "a table of settings",
        None => return message.to_owned(),
    };
    format!("{start}, expected {expected}")
}

#[cfg(test)]
mod tests {
    use super::reword_toml_error;

    #[test]
    fn replaces_rust_types_by_toml_values() {
        for (message, reworded) in [
            (
                "invalid type: string \"a, expected b\", expected u32",
                "invalid type: string \"a, expected b\", expected a whole number, 0 or more",
            ),
            (
                "invalid type: integer `5`, expected struct RetrySettings",
                "invalid type: integer `5`, expected a table of settings",
            ),
            ("missing field `refill`", "missing field `refill`"),
            (
                "unknown field `x`, expected one of `a`, `b`",
                "unknown field `x`, expected one of `a`, `b`",
            ),
        ] {
            assert_eq!(reword_toml_error(message), reworded);
        }
    }
}
