//! Finding a preset or a file, reading it up to a size limit, and parsing its TOML.

use std::fs;
use std::io::{self, Read};
use std::path::Path;

use serde::de::DeserializeOwned;
use toml::de::{DeTable, DeValue};

use super::error::{ConfigError, printable_path, single_line};
use crate::settings::closest_name;
use crate::settings::toml_error::reword_toml_error;
use crate::text::SafeText;

/// The size limit of policies, profiles and scenarios. A device or a pipe may have no end.
pub(crate) const MAX_FILE_BYTES: u64 = 1 << 20;
/// The size limit of files of prompt pairs; published sets are large.
const MAX_PAIRS_BYTES: u64 = 64 << 20;

/// Returns the printable name and the text of a preset or a file.
pub(crate) fn find_text(
    kind: &'static str,
    name: &str,
    known: &[(&str, &str)],
) -> Result<(String, String), ConfigError> {
    if let Some((name, text)) = known.iter().find(|(known, _)| *known == name) {
        return Ok(((*name).to_owned(), (*text).to_owned()));
    }
    let path = Path::new(name);
    match read_limited(path, MAX_FILE_BYTES, kind) {
        Ok(text) => Ok((printable_path(path).to_string(), text)),
        Err(ConfigError::Unreadable { error, .. }) if error.kind() == io::ErrorKind::NotFound => {
            Err(ConfigError::Unknown {
                kind,
                name: SafeText::excerpt(name, 80),
                known: known.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", "),
                hint: closest_name(name, known.iter().map(|(name, _)| *name))
                    .map_or_else(String::new, |near| format!("; did you mean {near}?")),
            })
        }
        Err(error) => Err(error),
    }
}

/// Reads a file of at most `max_bytes`; `kind` names it in the error.
pub(crate) fn read_limited(path: &Path, max_bytes: u64, kind: &'static str) -> Result<String, ConfigError> {
    let mut text = String::new();
    let read = fs::File::open(path).and_then(|file| file.take(max_bytes + 1).read_to_string(&mut text));
    let path = path.to_owned();
    match read {
        Ok(read) if read as u64 > max_bytes => Err(ConfigError::TooLarge {
            max_bytes,
            kind,
            path,
        }),
        Ok(_) => Ok(text),
        Err(error) => Err(ConfigError::Unreadable { path, error }),
    }
}

/// Opens a journal of any length: a file, or standard input for `-`.
pub(crate) fn open_journal(file: &Path) -> Result<Box<dyn Read + Send>, ConfigError> {
    if file == Path::new("-") {
        return Ok(Box::new(io::stdin()));
    }
    let opened = fs::File::open(file).map_err(|error| ConfigError::Unreadable {
        path: file.to_owned(),
        error,
    })?;
    Ok(Box::new(opened))
}

/// The name of a journal in messages: its path, or `standard input` for `-`.
pub(crate) fn journal_name(file: &Path) -> String {
    if file == Path::new("-") {
        return "standard input".to_owned();
    }
    SafeText::new(&file.display().to_string()).single_line()
}

/// Reads a file of prompt pairs.
pub(crate) fn read_pairs_file(path: &Path) -> Result<String, ConfigError> {
    read_limited(path, MAX_PAIRS_BYTES, "file of prompt pairs")
}

/// Parses TOML.
pub(crate) fn parse_toml<T: DeserializeOwned>(name: &str, text: &str) -> Result<T, ConfigError> {
    toml::from_str(text).map_err(|error| parse_error(name, text, &error))
}

/// Converts a TOML error: adds the line, the key and the closest valid name.
pub(crate) fn parse_error(name: &str, text: &str, error: &toml::de::Error) -> ConfigError {
    let mut message = reword_toml_error(error.message());
    let at = error.span().map_or(0, |span| span.start);
    if let Some(close) = closest_field(&message) {
        // before the list of known names, which may be truncated
        let (wrong, all) = message.split_once(", ").unwrap_or((&message, ""));
        message = format!("{wrong}; did you mean `{close}`? {all}");
    } else if message.starts_with("invalid ")
        && let Some(key) = key_before(text, at)
    {
        message = format!("{key}: {message}");
    }
    ConfigError::Syntax {
        name: single_line(name),
        line: line_at(text, at),
        message: single_line(&message).to_string(),
    }
}

/// The line, counted from 1, of the byte at `at`.
pub(crate) fn line_at(text: &str, at: usize) -> usize {
    let before = text.as_bytes().iter().take(at);
    before.filter(|byte| **byte == b'\n').count() + 1
}

/// The key whose value begins at this byte, if it is on the same line.
fn key_before(text: &str, at: usize) -> Option<&str> {
    let line = text.get(..at)?.rsplit('\n').next()?;
    let key = line.trim_end().strip_suffix('=')?.trim_end();
    let key = key.rsplit([' ', '\t', '{', ',']).next()?;
    (!key.is_empty()).then_some(key)
}

/// The line of a setting: of its value, or of the innermost table on its path.
pub(super) fn setting_line(text: &str, path: &str) -> Option<usize> {
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

/// The closest valid name, from serde's message about an unknown one.
fn closest_field(message: &str) -> Option<String> {
    let rest = message
        .strip_prefix("unknown field `")
        .or_else(|| message.strip_prefix("unknown variant `"))?;
    let (wrong, expected) = rest.split_once('`')?;
    // every second piece is a name in backticks
    let names: Vec<&str> = expected.split('`').skip(1).step_by(2).collect();
    closest_name(wrong, names.iter().copied()).map(str::to_owned)
}
