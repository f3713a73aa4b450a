//! From a name to a value: finding a preset or a file, reading it up to a bound, and parsing its TOML. A mistake is
//! told with its line and the nearest right name.

use std::fs;
use std::io::{self, Read};
use std::path::Path;

use serde::de::DeserializeOwned;
use toml::de::{DeTable, DeValue};

use super::error::{ConfigError, one_line, shown};
use crate::settings::{nearest, plain};
use crate::text::SafeText;

/// No policy, profile or scenario is larger; a device or a pipe may have no end.
pub(crate) const LARGEST_FILE: u64 = 1 << 20;
/// A file of pairs of prompts may be larger: sets of others are.
const LARGEST_PAIRS: u64 = 64 << 20;

/// The text of a preset or a file, and what to call it.
pub(crate) fn find(
    kind: &'static str,
    name: &str,
    known: &[(&str, &str)],
) -> Result<(String, String), ConfigError> {
    if let Some((name, text)) = known.iter().find(|(known, _)| *known == name) {
        return Ok(((*name).to_owned(), (*text).to_owned()));
    }
    let path = Path::new(name);
    match read_bounded(path, LARGEST_FILE) {
        Ok(text) if text.len() as u64 > LARGEST_FILE => Err(ConfigError::TooLarge {
            largest: LARGEST_FILE,
            kind,
            path: path.to_owned(),
        }),
        Ok(text) => Ok((shown(path).to_string(), text)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Err(ConfigError::Unknown {
            kind,
            name: SafeText::excerpt(name, 80),
            known: known.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", "),
            hint: nearest(name, known.iter().map(|(name, _)| *name))
                .map_or_else(String::new, |near| format!("; did you mean {near}?")),
        }),
        Err(error) => Err(ConfigError::Unreadable {
            path: path.to_owned(),
            error,
        }),
    }
}

/// Reads a file up to the first byte that is too many.
pub(crate) fn read_bounded(path: &Path, largest: u64) -> io::Result<String> {
    let mut text = String::new();
    fs::File::open(path)?
        .take(largest + 1)
        .read_to_string(&mut text)?;
    Ok(text)
}

/// A journal to read, however long: a file, or standard input where it is called `-`.
pub fn journal(file: &Path) -> Result<Box<dyn Read + Send>, ConfigError> {
    if file == Path::new("-") {
        return Ok(Box::new(io::stdin()));
    }
    let opened = fs::File::open(file).map_err(|error| ConfigError::Unreadable {
        path: file.to_owned(),
        error,
    })?;
    Ok(Box::new(opened))
}

/// The text of a file of pairs of prompts.
pub fn pairs_file(path: &Path) -> Result<String, ConfigError> {
    let text = read_bounded(path, LARGEST_PAIRS).map_err(|error| ConfigError::Unreadable {
        path: path.to_owned(),
        error,
    })?;
    if text.len() as u64 > LARGEST_PAIRS {
        return Err(ConfigError::TooLarge {
            largest: LARGEST_PAIRS,
            kind: "smaller file of pairs",
            path: path.to_owned(),
        });
    }
    Ok(text)
}

/// Reads TOML; a mistake is told with its line.
pub(crate) fn parse<T: DeserializeOwned>(name: &str, text: &str) -> Result<T, ConfigError> {
    toml::from_str(text).map_err(|error| parse_error(name, text, &error))
}

/// What is wrong with TOML, and where.
pub(crate) fn parse_error(name: &str, text: &str, error: &toml::de::Error) -> ConfigError {
    let mut message = plain(error.message());
    let at = error.span().map_or(0, |span| span.start);
    if let Some(near) = near_field(&message) {
        // before the list of all there are, which may be longer than a message can be
        let (wrong, all) = message.split_once(", ").unwrap_or((&message, ""));
        message = format!("{wrong}; did you mean `{near}`? {all}");
    } else if message.starts_with("invalid ")
        && let Some(key) = key_before(text, at)
    {
        message = format!("{key}: {message}");
    }
    ConfigError::Syntax {
        name: one_line(name),
        line: line_at(text, at),
        message: one_line(&message).to_string(),
    }
}

/// The line, from 1, that holds the byte at `at`.
pub(crate) fn line_at(text: &str, at: usize) -> usize {
    let before = text.as_bytes().iter().take(at);
    before.filter(|byte| **byte == b'\n').count() + 1
}

/// The key whose value begins at this byte; nothing where none stands before it on its line.
fn key_before(text: &str, at: usize) -> Option<&str> {
    let line = text.get(..at)?.rsplit('\n').next()?;
    let key = line.trim_end().strip_suffix('=')?.trim_end();
    let key = key.rsplit([' ', '\t', '{', ',']).next()?;
    (!key.is_empty()).then_some(key)
}

/// The line of a setting: of its value, or of the table nearest to it that is there.
pub(super) fn line_of(text: &str, path: &str) -> Option<usize> {
    let root = DeTable::parse(text).ok()?;
    let mut table = root.get_ref();
    let mut at = None;
    for key in path.split('.') {
        let Some((_, value)) = table.iter().find(|(known, _)| known.get_ref() == key) else {
            break;
        };
        at = Some(value.span().start);
        match value.get_ref() {
            DeValue::Table(inner) => table = inner,
            _ => break,
        }
    }
    at.map(|at| line_at(text, at))
}

/// The right name nearest to the wrong one, out of serde's own sentence.
fn near_field(message: &str) -> Option<String> {
    let rest = message
        .strip_prefix("unknown field `")
        .or_else(|| message.strip_prefix("unknown variant `"))?;
    let (wrong, expected) = rest.split_once('`')?;
    // odd pieces stand between backticks
    let names: Vec<&str> = expected.split('`').skip(1).step_by(2).collect();
    nearest(wrong, names.iter().copied()).map(str::to_owned)
}
