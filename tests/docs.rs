//! The documents against the repository: links, paths, headings and the list of invariants.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use seawall::check::INVARIANTS;
use seawall::event::Fate;
use seawall::settings::SETTINGS;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn documents() -> Vec<PathBuf> {
    let folders = [root().to_owned(), root().join("docs")];
    let entries = folders.iter().flat_map(|folder| fs::read_dir(folder).unwrap());
    let paths = entries.map(|entry| entry.unwrap().path());
    let documents: Vec<PathBuf> = paths
        .filter(|path| path.extension().is_some_and(|extension| extension == "md"))
        .collect();
    assert!(documents.len() > 8, "{documents:?}");
    documents
}

/// The text between two marks, each time.
fn between<'a>(text: &'a str, open: &'a str, close: &'a str) -> impl Iterator<Item = &'a str> {
    let after = text.split(open).skip(1);
    after.filter_map(move |rest| rest.split_once(close).map(|(inside, _)| inside))
}

/// The headings of a document, without their marks.
fn headings(document: &Path) -> Vec<String> {
    let text = fs::read_to_string(document).unwrap();
    let lines = text.lines().filter(|line| line.starts_with('#'));
    lines
        .map(|line| line.trim_start_matches('#').trim().to_owned())
        .collect()
}

/// The anchor of a heading, as a browser links it.
fn anchor(heading: &str) -> String {
    let kept = heading
        .chars()
        .filter(|c| c.is_alphanumeric() || " -_".contains(*c));
    kept.collect::<String>().to_lowercase().replace(' ', "-")
}

#[test]
fn every_link_leads_to_a_file_and_a_heading() {
    let mut broken = Vec::new();
    for document in documents() {
        let text = fs::read_to_string(&document).unwrap();
        for link in between(&text, "](", ")").filter(|link| !link.contains("://")) {
            let (path, heading) = link.split_once('#').unwrap_or((link, ""));
            let target = match path {
                "" => document.clone(),
                path => document.parent().unwrap().join(path),
            };
            let found = target.exists()
                && (heading.is_empty() || headings(&target).iter().any(|one| anchor(one) == heading));
            if !found {
                broken.push(format!("{}: {link}", document.display()));
            }
        }
    }
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

/// `src/check.rs`, `assets/faults/*.toml`: paths in backticks, from the root of the repository or below `src`.
#[test]
fn every_path_exists() {
    let folders = ["src/", "tests/", "assets/", "docs/", "benches/"];
    let mut broken = Vec::new();
    for document in documents() {
        let text = fs::read_to_string(&document).unwrap();
        for path in text.split('`').skip(1).step_by(2) {
            let plain = path.chars().all(|c| c.is_alphanumeric() || "/._-".contains(c));
            let is_rust = Path::new(path)
                .extension()
                .is_some_and(|extension| extension == "rs");
            let in_src = path.contains('/') && is_rust;
            if !plain || !(in_src || folders.iter().any(|folder| path.starts_with(folder))) {
                continue;
            }
            let places = [root().join(path), root().join("src").join(path)];
            if !places.iter().any(|place| place.exists()) {
                broken.push(format!("{}: {path}", document.display()));
            }
        }
    }
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

/// The comments of a file as running text: a citation may be wrapped.
fn running(text: &str) -> String {
    let lines = text
        .lines()
        .map(|line| line.trim_start().trim_start_matches(['/', '!', ' ']));
    lines.collect::<Vec<_>>().join(" ")
}

/// Code cites `docs/semantics.md` by heading.
#[test]
fn every_citation_names_a_heading() {
    let mut files = Vec::new();
    for folder in ["src", "tests", "benches"] {
        sources(&root().join(folder), &mut files);
    }
    let known = headings(&root().join("docs/semantics.md"));
    let mut broken = Vec::new();
    for file in files.iter().filter(|file| !file.ends_with("tests/docs.rs")) {
        let text = running(&fs::read_to_string(file).unwrap());
        for cited in text.split("docs/semantics.md, ").skip(1) {
            if !known.iter().any(|heading| cited.starts_with(heading.as_str())) {
                let cited: String = cited.chars().take(40).collect();
                broken.push(format!("{}: {cited}", file.display()));
            }
        }
    }
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

#[test]
fn the_document_lists_the_invariants_that_are_checked() {
    let text = fs::read_to_string(root().join("docs/semantics.md")).unwrap();
    let (_, list) = text.split_once("## Invariants").unwrap();
    let rows = list.lines().filter_map(|line| {
        let mut cells = line.split('|').map(str::trim).skip(1);
        let number: u8 = cells.next()?.parse().ok()?;
        Some((number, cells.next()?))
    });
    let listed: Vec<(u8, &str)> = rows.collect();
    let checked: Vec<(u8, &str)> = (1..).zip(INVARIANTS.iter().copied()).collect();
    assert_eq!(listed, checked);
}

#[test]
fn the_document_lists_the_fates_and_their_labels() {
    let text = fs::read_to_string(root().join("docs/semantics.md")).unwrap();
    for fate in Fate::ALL {
        let row = format!("| `{fate:?}` | {} |", fate.brief());
        assert!(text.contains(&row), "{row}");
    }
}

#[test]
fn the_readme_fits_150_lines() {
    let lines = fs::read_to_string(root().join("README.md"))
        .unwrap()
        .lines()
        .count();
    assert!(lines <= 150, "{lines} lines");
}

/// The text within the string literals of a source, without its tests: the even pieces are code.
fn literals(source: &str) -> String {
    let source = source.split("#[cfg(test)]\nmod tests {").next().unwrap();
    let lines = source
        .lines()
        .map(str::trim_start)
        .filter(|line| !line.starts_with("//"));
    let code = lines
        .collect::<Vec<_>>()
        .join("\n")
        .replace("\\\"", "")
        .replace("'\"'", "");
    code.split('"').skip(1).step_by(2).collect::<Vec<_>>().join("\n")
}

/// The names in a text that look like a setting: `retry.attempts`.
fn named_settings(text: &str) -> Vec<String> {
    let tables: BTreeSet<&str> = SETTINGS
        .iter()
        .map(|setting| setting.path.split('.').next().unwrap())
        .collect();
    let words = text.split(|letter: char| {
        !(letter.is_ascii_lowercase() || letter.is_ascii_digit() || "._".contains(letter))
    });
    let names = words.map(|word| word.trim_matches('.'));
    names
        .filter(|name| {
            name.split_once('.')
                .is_some_and(|(table, rest)| tables.contains(table) && !rest.is_empty())
        })
        .map(str::to_owned)
        .collect()
}

#[test]
fn every_setting_that_a_text_names_exists() {
    let mut texts: Vec<(PathBuf, String)> = Vec::new();
    let mut sources_found = Vec::new();
    sources(&root().join("src"), &mut sources_found);
    for path in sources_found {
        let text = literals(&fs::read_to_string(&path).unwrap());
        let is_test = path.components().any(|part| part.as_os_str() == "tests") || path.ends_with("tests.rs");
        texts.extend((!is_test).then_some((path, text)));
    }
    for path in documents() {
        let text = fs::read_to_string(&path).unwrap();
        texts.push((path, text));
    }
    let tour = root().join("assets/tour.toml");
    texts.push((tour.clone(), fs::read_to_string(tour).unwrap()));
    // a table of a setting, and the settings of single users and labels, which have names of their own
    let exists = |name: &str| {
        let path = |path: &str| path == name || path.starts_with(&format!("{name}."));
        SETTINGS.iter().any(|setting| path(setting.path))
            || ["limit.users", "limit.each_user", "semantic.labels"]
                .iter()
                .any(|table| name.starts_with(table))
    };
    let (mut found, mut wrong) = (0, Vec::new());
    for (path, text) in texts {
        for name in named_settings(&text) {
            found += 1;
            // files of the source: src/policy/breaker.rs
            let is_file = name
                .rsplit('.')
                .next()
                .is_some_and(|kind| ["rs", "toml", "md"].contains(&kind));
            if !exists(&name) && !is_file {
                wrong.push(format!("{}: {name}", path.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(found > 100, "{found}");
}
