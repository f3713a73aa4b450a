//! The file of pairs; the head of the bundled one, `assets/semantic/pairs.tsv`, describes the format.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_64;

use crate::text::SafeText;

/// The bundled pairs.
pub const BUNDLED: &str = include_str!("../../../assets/semantic/pairs.tsv");

/// The name of the bundled pairs.
pub const BUNDLED_NAME: &str = "bundled pairs";

/// Maximum number of pairs in a file.
const MOST_PAIRS: usize = 100_000;
/// Characters of a line shown in an error.
const SHOWN: usize = 60;

/// A half of the pairs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Half {
    /// For tuning tables and thresholds.
    Tuning,
    /// For evaluation only.
    HeldOut,
}

/// A new prompt and a stored one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PromptPair {
    /// The line number, from 1.
    pub line: usize,
    /// `paraphrase`, `paraphrase/typo`, or the kind of look-alike.
    pub class: String,
    /// The new prompt.
    pub asked: String,
    /// The stored prompt.
    pub stored: String,
    /// The half, by a hash of both prompts.
    pub half: Half,
}

impl PromptPair {
    /// Returns true if the stored answer fits the new prompt.
    pub fn is_paraphrase(&self) -> bool {
        is_paraphrase(&self.class)
    }
}

pub(super) fn is_paraphrase(class: &str) -> bool {
    class.split('/').next() == Some("paraphrase")
}

/// An invalid file of pairs.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PairsError {
    /// An invalid line.
    #[error("{name}, line {line}: {message}")]
    Line {
        /// The file.
        name: SafeText,
        /// The line number, from 1.
        line: usize,
        /// The problem and its remedy.
        message: String,
    },
    /// Too few pairs.
    #[error(
        "{name}: paraphrases: {paraphrases}, look-alikes: {others}; write at least one of each, one pair per \
         line: class, tab, new prompt, tab, stored prompt"
    )]
    Few {
        /// The file.
        name: SafeText,
        /// Number of paraphrases.
        paraphrases: usize,
        /// Number of look-alikes.
        others: usize,
    },
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    class: String,
    asked: String,
    stored: String,
}

/// Reads pairs; errors call the file `name`.
///
/// # Errors
/// If a line is invalid, or paraphrases or look-alikes are missing.
pub fn read(name: &str, text: &str) -> Result<Vec<PromptPair>, PairsError> {
    let mut pairs = Vec::new();
    let mut seen: HashMap<(String, String), usize> = HashMap::new();
    for (index, written) in text.trim_start_matches('\u{feff}').lines().enumerate() {
        let line = index + 1;
        let refuse = |message: String| PairsError::Line {
            name: SafeText::excerpt(name, 120),
            line,
            message,
        };
        let written = written.trim_end_matches('\r');
        if written.trim().is_empty() || written.starts_with('#') {
            continue;
        }
        if pairs.len() == MOST_PAIRS {
            return Err(refuse(format!("more than {MOST_PAIRS} pairs")));
        }
        let Line { class, asked, stored } = one(written).map_err(&refuse)?;
        let class = named(&class).map_err(&refuse)?;
        if asked.trim().is_empty() || stored.trim().is_empty() {
            return Err(refuse(
                "an empty prompt: write both prompts, or remove the pair".into(),
            ));
        }
        let key = if asked <= stored {
            (asked.clone(), stored.clone())
        } else {
            (stored.clone(), asked.clone())
        };
        let half = half(&key);
        if let Some(first) = seen.insert(key, line) {
            return Err(refuse(format!(
                "the same pair as on line {first}: remove one of them"
            )));
        }
        pairs.push(PromptPair {
            line,
            class,
            asked,
            stored,
            half,
        });
    }
    let paraphrases = pairs.iter().filter(|pair| pair.is_paraphrase()).count();
    let others = pairs.len() - paraphrases;
    if paraphrases == 0 || others == 0 {
        return Err(PairsError::Few {
            name: SafeText::excerpt(name, 120),
            paraphrases,
            others,
        });
    }
    Ok(pairs)
}

fn half((one, other): &(String, String)) -> Half {
    let hash = xxh3_64(format!("{one}\t{other}").as_bytes());
    if hash & 1 == 0 {
        Half::Tuning
    } else {
        Half::HeldOut
    }
}

fn one(written: &str) -> Result<Line, String> {
    if written.starts_with('{') {
        return serde_json::from_str(written).map_err(|error| {
            format!(r#"{error}: write {{"class": "role", "asked": "..", "stored": ".."}}"#)
        });
    }
    let fields: Vec<&str> = written.split('\t').collect();
    let [class, asked, stored] = fields.as_slice() else {
        return Err(format!(
            "{} fields in '{}': write class, tab, new prompt, tab, stored prompt",
            fields.len(),
            SafeText::excerpt(written, SHOWN).single_line()
        ));
    };
    Ok(Line {
        class: (*class).to_owned(),
        asked: (*asked).to_owned(),
        stored: (*stored).to_owned(),
    })
}

/// The class for display. Public datasets use 1 and 0.
fn named(class: &str) -> Result<String, String> {
    let class = class.trim();
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '/' | ' ');
    match class {
        "1" => Ok("paraphrase".into()),
        "0" => Ok("look-alike".into()),
        _ if !class.is_empty() && class.len() <= 32 && class.chars().all(plain) => Ok(class.to_lowercase()),
        _ => Err(format!(
            "the class '{}': write paraphrase, or a word of at most 32 letters for the kind of look-alike",
            SafeText::excerpt(class, SHOWN).single_line()
        )),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn message(text: &str) -> String {
        read("FILE", text).unwrap_err().to_string()
    }

    #[test]
    fn the_bundled_set_is_balanced_and_split_in_halves() {
        let pairs = read(BUNDLED_NAME, BUNDLED).unwrap();
        assert!(pairs.len() >= 400, "{}", pairs.len());
        let mut classes: BTreeMap<&str, usize> = BTreeMap::new();
        for pair in &pairs {
            *classes.entry(pair.class.split('/').next().unwrap()).or_default() += 1;
            assert_ne!(pair.asked, pair.stored, "line {}", pair.line);
        }
        let names: Vec<&str> = classes.keys().copied().collect();
        let expected = [
            "entity",
            "language",
            "negation",
            "number",
            "opposite",
            "paraphrase",
            "question",
            "role",
            "unit",
        ];
        assert_eq!(names, expected);
        assert!(classes.values().all(|count| *count >= 30), "{classes:?}");
        assert!(classes["paraphrase"] >= 150, "{classes:?}");
        let held_out = pairs.iter().filter(|pair| pair.half == Half::HeldOut).count();
        assert!(
            held_out * 5 > pairs.len() * 2 && held_out * 5 < pairs.len() * 3,
            "{held_out}"
        );
    }

    #[test]
    fn tabs_json_and_numeric_classes_are_read() {
        let text = "# a set\n\n1\tone\tother\r\n{\"class\": \"Role\", \"asked\": \"a\\tb\", \"stored\": \"c\"}\n0\tx\ty\n";
        let pairs = read("FILE", text).unwrap();
        let read: Vec<_> = pairs
            .iter()
            .map(|pair| (pair.line, &*pair.class, &*pair.asked, &*pair.stored))
            .collect();
        assert_eq!(
            read,
            [
                (3, "paraphrase", "one", "other"),
                (4, "role", "a\tb", "c"),
                (5, "look-alike", "x", "y")
            ]
        );
    }

    #[test]
    fn errors_name_the_line_and_a_remedy() {
        for (text, words) in [
            (
                "role\ta\n",
                "FILE, line 1: 2 fields in 'role    a': write class, tab",
            ),
            ("# x\nrole\ta\tb\tc\n", "line 2: 4 fields"),
            ("role\t \tb\n", "line 1: an empty prompt"),
            ("r\u{1b}\ta\tb\n", "line 1: the class 'r␛': write paraphrase"),
            ("role\ta\tb\nrole\tb\ta\n", "line 2: the same pair as on line 1"),
            ("{\"class\": 1}\n", "line 1: "),
            ("role\ta\tb\n", "FILE: paraphrases: 0, look-alikes: 1;"),
            ("", "FILE: paraphrases: 0, look-alikes: 0;"),
        ] {
            assert!(message(text).contains(words), "{text:?}: {}", message(text));
        }
    }
}
