//! The language of the project: plain words, and documentation that opens with a noun or a verb. CONTRIBUTING.md has
//! the rules; this test holds those a machine can check.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::path::{Path, PathBuf};

/// Words and phrases that no text may contain. Names of items count, split at underscores and capitals.
const BANNED: &[&str] = &[
    "told",
    "tell",
    "tells",
    "telling",
    "whoever",
    "nobody",
    "somebody",
    "stands",
    "anew",
    "is none",
    "are none",
    "so many",
    "so long",
    "came of",
    "comes of",
    "by now",
    "for want of",
    "for ever",
    "of the like",
    "may be had",
    "is to be had",
    "by hand of",
    "as it were",
    "turned away",
    "turns away",
    "promise",
    "promises",
    "wish",
    "wishes",
    "heard",
    "hears",
];

/// First words that no documentation comment and no description in a schema may have.
const OPENINGS: &[&str] = &[
    "What", "Why", "When", "Where", "Which", "Who", "Whoever", "Whatever", "Whether", "How", "Nobody",
    "Somebody",
];

/// A file, a text that may stay in its lines, and why.
const ALLOWED: &[(&str, &str, &str)] = &[
    ("tests/prose.rs", "", "the list itself"),
    ("src/semantic/stem.rs", "\"told\"", "irregular verbs"),
    ("assets/tour.toml", "Please tell me", "a prompt"),
    ("src/semantic/tokens.rs", "\"tell\"", "a list of English words"),
    ("src/semantic/thesaurus.rs", "someone", "a list of English words"),
    (
        "src/semantic/guard/language.rs",
        "tell give",
        "a list of English words",
    ),
    (
        "src/semantic/guard/polarity.rs",
        "\"nobody\"",
        "a list of English words",
    ),
    ("src/semantic/lexical.rs", "tell me", "a sample prompt"),
    ("src/semantic/guard/tests.rs", "tell me", "a sample prompt"),
    ("src/client/tests/schedules.rs", "tell me", "a sample prompt"),
    ("assets/scenarios/semantic.toml", "tell me", "sample prompts"),
    ("tests/wire.rs", "Tell me", "a captured prompt"),
    ("tests/matrix/rig.rs", "Tell me", "a captured prompt"),
    ("tests/simulator/protocol.rs", "Tell me", "a captured prompt"),
];

/// Folders and files with text that we write.
const ROOTS: &[&str] = &["src", "tests", "benches", "examples", "assets", "docs"];

/// Text of others: captured bytes, inputs of fuzz targets, prompts and replies as people and models write them.
const DATA: &[&str] = &[
    "tests/wire/",
    "tests/fuzz/corpus/",
    "assets/semantic/",
    "assets/replies/",
    "assets/prompts.txt",
];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The extension of a file.
fn kind(name: &str) -> &str {
    let kind = Path::new(name).extension();
    kind.and_then(|kind| kind.to_str()).unwrap_or_default()
}

fn texts(dir: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        let kind = path
            .extension()
            .and_then(|kind| kind.to_str())
            .unwrap_or_default();
        if path.is_dir() {
            texts(&path, found);
        } else if ["rs", "md", "toml", "json", "txt"].contains(&kind) {
            found.push(path);
        }
    }
}

/// Every text file of the project with its path, but for data.
fn files() -> Vec<(String, String)> {
    let mut found = Vec::new();
    for dir in ROOTS
        .iter()
        .map(|dir| root().join(dir))
        .filter(|dir| dir.is_dir())
    {
        texts(&dir, &mut found);
    }
    let top = fs::read_dir(root()).unwrap().map(|entry| entry.unwrap().path());
    found.extend(top.filter(|path| path.extension().is_some_and(|kind| kind == "md")));
    let named = found.into_iter().map(|path| {
        let name = path.strip_prefix(root()).unwrap().to_str().unwrap().to_owned();
        (name, fs::read_to_string(path).unwrap())
    });
    named
        .filter(|(name, _)| {
            !DATA
                .iter()
                .any(|data| name.starts_with(data) && kind(name) != "rs")
        })
        .collect()
}

/// The words of a line in lower case, each between single spaces. With `split`, names of items are split into their
/// words: `isTold_by` is ` is told by `.
fn words(line: &str, split: bool) -> String {
    let mut words = String::from(" ");
    let mut before = ' ';
    for letter in line.chars() {
        let is_letter = letter.is_alphabetic() || (letter == '_' && !split);
        let starts = split && letter.is_uppercase() && before.is_lowercase();
        if (starts || !is_letter) && !words.ends_with(' ') {
            words.push(' ');
        }
        if is_letter {
            words.extend(letter.to_lowercase());
        }
        before = letter;
    }
    words.push(' ');
    words
}

fn is_allowed(file: &str, line: &str) -> bool {
    ALLOWED
        .iter()
        .any(|(name, text, _)| *name == file && line.contains(text))
}

#[test]
fn no_text_contains_a_banned_word() {
    let mut found = Vec::new();
    for (file, text) in files() {
        for (number, line) in text.lines().enumerate() {
            let (split, text) = (words(line, true), words(line, false));
            let banned = BANNED.iter().filter(|banned| {
                // a phrase in a name is another thing: `is_none`
                let words = if banned.contains(' ') { &text } else { &split };
                words.contains(&format!(" {banned} "))
            });
            for banned in banned.filter(|_| !is_allowed(&file, line)) {
                found.push(format!("{file}:{}: '{banned}' in: {}", number + 1, line.trim()));
            }
        }
    }
    assert!(
        found.is_empty(),
        "{} banned words\n{}",
        found.len(),
        found.join("\n")
    );
}

/// The first line of each documentation comment, with its number.
fn openings(text: &str) -> Vec<(usize, &str)> {
    let mut found = Vec::new();
    let mut in_paragraph = false;
    for (number, line) in text.lines().enumerate() {
        let line = line.trim_start();
        let comment = line.strip_prefix("///").or_else(|| line.strip_prefix("//!"));
        let comment = comment.map(str::trim).filter(|comment| !comment.is_empty());
        if let Some(comment) = comment.filter(|_| !in_paragraph) {
            found.push((number + 1, comment));
        }
        in_paragraph = comment.is_some();
    }
    found
}

#[test]
fn documentation_opens_with_a_noun_or_a_verb() {
    let mut found = Vec::new();
    let bare = |text: &str| {
        OPENINGS.contains(
            &text
                .split(|c: char| !c.is_alphabetic())
                .next()
                .unwrap_or_default(),
        )
    };
    for (file, text) in files() {
        if kind(&file) == "rs" {
            let openings = openings(&text).into_iter().filter(|(_, comment)| bare(comment));
            found.extend(openings.map(|(number, comment)| format!("{file}:{number}: {comment}")));
        } else if kind(&file) == "json" {
            let described = text
                .split("\"description\": \"")
                .skip(1)
                .filter(|text| bare(text));
            found
                .extend(described.map(|text| format!("{file}: {}", text.lines().next().unwrap_or_default())));
        }
    }
    assert!(found.is_empty(), "{} openings\n{}", found.len(), found.join("\n"));
}

#[test]
fn every_allowance_is_used() {
    let files = files();
    for (name, text, _) in ALLOWED {
        let file = files.iter().find(|(file, _)| file == name);
        assert!(
            file.is_some_and(|(_, content)| content.contains(text)),
            "{name}: {text}"
        );
    }
}

#[test]
fn words_are_split_at_underscores_and_capitals() {
    assert_eq!(words("fn is_told(ToldBy)", true).trim(), "fn is told told by");
    assert_eq!(words("fn is_none()", false).trim(), "fn is_none");
    assert_eq!(openings("/// One\n/// What\n///\n/// How").len(), 2);
}
