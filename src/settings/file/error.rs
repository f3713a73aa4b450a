//! Errors of configuration: files, names, URLs and keys that cannot be used.

use std::io;
use std::path::{Path, PathBuf};

use crate::text::SafeText;

/// Characters of an error message that are shown.
const MAX_MESSAGE_CHARS: usize = 400;

/// A configuration that cannot be used. The message is one line that is safe to print, whatever the file contains.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// A file that cannot be read.
    #[error("cannot read {}: {error}", printable_path(path))]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// The error of the system.
        error: io::Error,
    },
    /// A file above the size limit.
    #[error(
        "{} is larger than {max_bytes} bytes: too large for a {kind}",
        printable_path(path)
    )]
    TooLarge {
        /// The size limit in bytes.
        max_bytes: u64,
        /// The kind of file: `policy`, `fault profile`.
        kind: &'static str,
        /// The file.
        path: PathBuf,
    },
    /// A file that cannot be written.
    #[error("cannot write {}: {error}", printable_path(path))]
    Unwritable {
        /// The file.
        path: PathBuf,
        /// The error of the system.
        error: io::Error,
    },
    /// A file to write that exists already.
    #[error(
        "{option} {}: the file exists already; name a new file, or add --overwrite",
        printable_path(path)
    )]
    Exists {
        /// The option that named the file.
        option: &'static str,
        /// The file.
        path: PathBuf,
    },
    /// A file or preset that does not parse.
    #[error("{name}, line {line}: {message}")]
    Syntax {
        /// The file or the preset.
        name: SafeText,
        /// The line, counted from 1.
        line: usize,
        /// The problem, and what to write instead.
        message: String,
    },
    /// A value out of bounds.
    #[error("{name}: {message}")]
    Value {
        /// The file or the preset.
        name: SafeText,
        /// The problem, and what to write instead.
        message: String,
    },
    /// A name that is neither a preset nor a file.
    #[error("no {kind} '{name}': not a file, and not a bundled one; known: {known}{hint}")]
    Unknown {
        /// `policy` or `fault profile`.
        kind: &'static str,
        /// The name given.
        name: SafeText,
        /// The names of the presets.
        known: String,
        /// The suggestion: the closest name, or empty.
        hint: String,
    },
    /// Names of users that cannot be used.
    #[error("--users: {message}")]
    Users {
        /// The problem, and what to write instead.
        message: String,
    },
    /// A URL that cannot be used.
    #[error("{option} {url}: {message}")]
    Url {
        /// The option that gave the URL.
        option: &'static str,
        /// The URL given.
        url: SafeText,
        /// The problem, and what to write instead.
        message: String,
    },
    /// A request header that cannot be sent. The message does not hold its value.
    #[error("{option}: {message}")]
    Header {
        /// The option that gave the header.
        option: &'static str,
        /// The problem, and what to write instead.
        message: String,
    },
    /// A key file that other users can read.
    #[error(
        "{} is readable by other users (mode {mode:o}): run chmod 600 on it",
        printable_path(path)
    )]
    OpenKeyFile {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// A key file without a key.
    #[error("{} contains no key: put it on the first line", printable_path(path))]
    EmptyKeyFile {
        /// The file.
        path: PathBuf,
    },
    /// A file of gateway keys without a key.
    #[error(
        "no gateway key in {}: add one with seawall key add NAME",
        printable_path(path)
    )]
    NoKeys {
        /// The file.
        path: PathBuf,
    },
    /// A name of a gateway key that cannot be used.
    #[error("seawall key: {message}")]
    KeyName {
        /// The problem, and what to do instead.
        message: String,
    },
    /// A certificate file that cannot be used.
    #[error("--ca-file {}: {message}", path.display())]
    CaFile {
        /// The file.
        path: PathBuf,
        /// The problem, and what to write instead.
        message: String,
    },
}

/// A value out of bounds; `shown` names the file or the setting.
pub(crate) fn value_error(shown: &str, message: &str) -> ConfigError {
    ConfigError::Value {
        name: single_line(shown),
        message: single_line(message).to_string(),
    }
}

/// A path that is safe to print.
pub(crate) fn printable_path(path: &Path) -> SafeText {
    single_line(&path.display().to_string())
}

/// The text as one line of bounded length that is safe to print.
pub(crate) fn single_line(text: &str) -> SafeText {
    SafeText::excerpt(&text.replace('\n', " "), MAX_MESSAGE_CHARS)
}
