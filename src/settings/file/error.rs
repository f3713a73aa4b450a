//! Why something that was asked for cannot be used, in one line that a terminal may print.

use std::io;
use std::path::{Path, PathBuf};

use crate::text::SafeText;

/// Characters of a mistake that are told.
const LONGEST_MESSAGE: usize = 400;

/// Why something that was asked for cannot be used. What is told is one line that a terminal may print: a file
/// names other files, and its words are not ours.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// A file that cannot be read.
    #[error("cannot read {}: {error}", shown(path))]
    Unreadable {
        /// Which.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// A file that is too large to be one.
    #[error("{} is larger than {largest} bytes: give a {kind}", shown(path))]
    TooLarge {
        /// The most it may have.
        largest: u64,
        /// What it should be.
        kind: &'static str,
        /// Which.
        path: PathBuf,
    },
    /// A file that cannot be written.
    #[error("cannot write {}: {error}", shown(path))]
    Unwritable {
        /// Which.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// A file or preset that does not parse.
    #[error("{name}, line {line}: {message}")]
    Syntax {
        /// The file, or the preset.
        name: SafeText,
        /// From 1.
        line: usize,
        /// What is wrong, and what to write instead.
        message: String,
    },
    /// A value out of its bounds.
    #[error("{name}: {message}")]
    Value {
        /// The file, or the preset.
        name: SafeText,
        /// What is wrong, and what to write instead.
        message: String,
    },
    /// Neither a preset nor a file.
    #[error("no {kind} '{name}': it is neither a file nor one of {known}{hint}")]
    Unknown {
        /// `policy` or `fault profile`.
        kind: &'static str,
        /// What was asked for.
        name: SafeText,
        /// What there is.
        known: String,
        /// The nearest name.
        hint: String,
    },
    /// Names of users that cannot be used.
    #[error("--users: {message}")]
    Users {
        /// What is wrong, and what to write instead.
        message: String,
    },
    /// A URL that cannot be used.
    #[error("{option} {url}: {message}")]
    Url {
        /// Which option gave it.
        option: &'static str,
        /// What was given.
        url: SafeText,
        /// What is wrong, and what to write instead.
        message: String,
    },
    /// A key file that others can read.
    #[error("{} can be read by others (mode {mode:o}): run chmod 600 on it", shown(path))]
    OpenKeyFile {
        /// Which.
        path: PathBuf,
        /// Its mode.
        mode: u32,
    },
    /// A key file without a key.
    #[error("{} holds no key: put it on the first line", shown(path))]
    EmptyKeyFile {
        /// Which.
        path: PathBuf,
    },
    /// A file of certificates that holds something else.
    #[error("--ca-file {}: {message}", path.display())]
    CaFile {
        /// Which.
        path: PathBuf,
        /// What is wrong, and what to write instead.
        message: String,
    },
}

/// A value out of its bounds, in a file that is called `shown`.
pub(crate) fn value_error(shown: &str, message: &str) -> ConfigError {
    ConfigError::Value {
        name: one_line(shown),
        message: one_line(message).to_string(),
    }
}

/// A path, so that it can be printed.
pub(crate) fn shown(path: &Path) -> SafeText {
    one_line(&path.display().to_string())
}

/// One line of bounded length, whatever is in the text.
pub(crate) fn one_line(text: &str) -> SafeText {
    SafeText::excerpt(&text.replace('\n', " "), LONGEST_MESSAGE)
}
