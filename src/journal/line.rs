//! Parsing of single lines. A file is hostile: every line is bounded, and text that is shown is sanitised.

use std::io;

use serde::Deserialize;

use super::{ControlLine, Header, Line};
use crate::event::{Event, EventKind, FORMAT_VERSION};
use crate::text::SafeText;

/// The longest line in bytes: an answer of the largest size with every byte escaped.
pub(super) const LONGEST_LINE: u64 = 128 << 20;
/// Begins a file that some editors and shells wrote.
pub(super) const BYTE_ORDER_MARK: &[u8] = "\u{feff}".as_bytes();
/// Characters of a line shown in an error.
const EXCERPT: usize = 80;

/// An error in a journal.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// Reading the file failed.
    #[error("line {line}: cannot read: {error}")]
    Unreadable {
        /// From 1.
        line: u64,
        /// The error of the operating system.
        error: io::Error,
    },
    /// The first line is not a header.
    #[error(
        "line 1: not a journal: expected {{\"journal\":{FORMAT_VERSION},..}}, found '{excerpt}'; pass a file written by seawall"
    )]
    NotAJournal {
        /// The beginning of the line.
        excerpt: SafeText,
    },
    /// A header with an invalid field.
    #[error("line 1: invalid header: {message}; use the journal as seawall wrote it")]
    BadHeader {
        /// The message of the parser.
        message: SafeText,
    },
    /// A journal of another format version.
    #[error(
        "line 1: journal format {version}, but this seawall reads format {FORMAT_VERSION}; use the {} that wrote it",
        if *version > FORMAT_VERSION { "newer seawall" } else { "older seawall" }
    )]
    OtherFormat {
        /// The version in the header.
        version: u32,
    },
    /// A line that is not an event.
    #[error(
        "line {line}: not an event ({message}): '{excerpt}'; remove the line or use another copy of the file"
    )]
    Broken {
        /// From 1.
        line: u64,
        /// The message of the parser.
        message: SafeText,
        /// The beginning of the line.
        excerpt: SafeText,
    },
    /// The last line is incomplete. All lines before it are complete.
    #[error(
        "line {line}: the last line is incomplete: the program was stopped while writing it; earlier lines are complete"
    )]
    Torn {
        /// From 1.
        line: u64,
    },
    /// A line longer than any event.
    #[error("line {line}: longer than {LONGEST_LINE} bytes: not a journal, or a damaged one")]
    TooLong {
        /// From 1.
        line: u64,
    },
}

impl JournalError {
    /// The number of the line, from 1.
    pub fn line(&self) -> u64 {
        match self {
            Self::NotAJournal { .. } | Self::BadHeader { .. } | Self::OtherFormat { .. } => 1,
            Self::Unreadable { line, .. }
            | Self::Broken { line, .. }
            | Self::Torn { line }
            | Self::TooLong { line } => *line,
        }
    }
}

/// Returns true for a line of white space.
pub(super) fn is_blank(text: &[u8]) -> bool {
    text.trim_ascii().is_empty()
}

/// Parses a line, which may include its line end.
pub(super) fn parse(text: &[u8], line: u64) -> Result<Line, JournalError> {
    if is_blank(text) {
        return Ok(Line::Blank);
    }
    let error = match serde_json::from_slice(text) {
        Ok(event) => return Ok(Line::Event(printable(event))),
        Err(error) => error,
    };
    match serde_json::from_slice(text) {
        Ok(ControlLine::Gap(lost)) => return Ok(Line::Gap(lost)),
        Ok(ControlLine::End(events)) => return Ok(Line::End { events }),
        Err(_) => {}
    }
    if !text.ends_with(b"\n") {
        return Err(JournalError::Torn { line });
    }
    Err(JournalError::Broken {
        line,
        message: one_line(&error.to_string(), 2 * EXCERPT),
        excerpt: excerpt(text),
    })
}

/// Parses the header. Its version comes first: a field of a later format must not look like an error.
pub(super) fn header(text: &[u8]) -> Result<Header, JournalError> {
    #[derive(Deserialize)]
    struct Version {
        journal: u32,
    }
    let text = text.strip_prefix(BYTE_ORDER_MARK).unwrap_or(text);
    let Ok(Version { journal: version }) = serde_json::from_slice(text) else {
        return Err(JournalError::NotAJournal {
            excerpt: excerpt(text),
        });
    };
    if version != FORMAT_VERSION {
        return Err(JournalError::OtherFormat { version });
    }
    let mut header: Header = serde_json::from_slice(text).map_err(|error| JournalError::BadHeader {
        message: one_line(&error.to_string(), 2 * EXCERPT),
    })?;
    sanitise(&mut header.policy.name);
    Ok(header)
}

/// Sanitises the names in the settings of an event; all other text of an event is [`SafeText`] already.
fn printable(mut event: Event) -> Event {
    match &mut event.kind {
        EventKind::PolicyApplied { policy, .. } => sanitise(&mut policy.name),
        EventKind::FaultsApplied { profile, .. } => {
            sanitise(&mut profile.name);
            sanitise(&mut profile.about);
        }
        _ => {}
    }
    event
}

fn sanitise(text: &mut String) {
    *text = SafeText::new(text).to_string();
}

fn one_line(text: &str, max: usize) -> SafeText {
    SafeText::excerpt(&text.replace('\n', " "), max)
}

fn excerpt(text: &[u8]) -> SafeText {
    // decode only the beginning of a long line
    let beginning = text.get(..8 * EXCERPT).unwrap_or(text);
    let words = String::from_utf8_lossy(beginning);
    one_line(words.trim_end(), EXCERPT)
}
