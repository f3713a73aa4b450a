//! Reading a journal: line by line, so that its size does not matter; a file is hostile, so every line is
//! bounded and every word of it that is shown is sanitised.

use std::io::{self, BufRead, Read as _};

use serde::Deserialize;

use super::{Header, Line, Mark};
use crate::event::{Event, EventKind, FORMAT_VERSION};
use crate::text::SafeText;

/// The longest line: an answer of the largest size, each of its bytes escaped.
pub(super) const LONGEST_LINE: u64 = 128 << 20;
/// Characters of a line that an error shows.
const EXCERPT: usize = 80;

/// Why a journal cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// Reading failed.
    #[error("line {line}: cannot be read: {error}")]
    Unreadable {
        /// From 1.
        line: u64,
        /// Why.
        error: io::Error,
    },
    /// The first line is no header.
    #[error(
        "line 1: not a journal: it begins with '{excerpt}', where a journal has {{\"journal\":{FORMAT_VERSION},..}}; give a file that seawall has written"
    )]
    NotAJournal {
        /// What it begins with.
        excerpt: SafeText,
    },
    /// The header is one, but something in it is wrong.
    #[error("line 1: the header cannot be read: {message}")]
    BadHeader {
        /// What is wrong.
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
    /// A line that is no event.
    #[error(
        "line {line}: not an event ({message}): '{excerpt}'; remove the line or take another copy of the file"
    )]
    Broken {
        /// From 1.
        line: u64,
        /// What is wrong.
        message: SafeText,
        /// The beginning of the line.
        excerpt: SafeText,
    },
    /// The last line has no end: the program was killed while it wrote. All lines before it are good.
    #[error(
        "line {line}: the last line is torn, the program was stopped while it wrote; the lines before it are whole"
    )]
    Torn {
        /// From 1.
        line: u64,
    },
    /// A line that is too long to be one.
    #[error("line {line}: longer than {LONGEST_LINE} bytes: not a journal, or a broken one")]
    TooLong {
        /// From 1.
        line: u64,
    },
}

impl JournalError {
    /// The line that it is about, from 1.
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

/// Reads the header; the lines follow as they are asked for.
pub fn read<R: BufRead>(input: R) -> Result<(Header, Lines<R>), JournalError> {
    let mut lines = Lines {
        input,
        line: 0,
        text: Vec::new(),
        over: false,
    };
    lines.fetch()?;
    let header = header(&lines.text)?;
    Ok((header, lines))
}

/// The lines after the header. After an error there is nothing more.
#[derive(Debug)]
pub struct Lines<R> {
    input: R,
    /// The number of the line in `text`, from 1.
    line: u64,
    text: Vec<u8>,
    over: bool,
}

impl<R> Lines<R> {
    /// What was read of the first line, and the rest of the input: for another reader to go on with.
    pub(super) fn after_header(self) -> (u64, R) {
        (self.text.len() as u64, self.input)
    }
}

impl<R: BufRead> Lines<R> {
    /// The number of the line that was read last; the header is line 1.
    pub fn line(&self) -> u64 {
        self.line
    }

    /// Reads the next line, with its end if it has one. False at the end of the file.
    fn fetch(&mut self) -> Result<bool, JournalError> {
        self.line += 1;
        let line = self.line;
        self.text.clear();
        let mut bounded = (&mut self.input).take(LONGEST_LINE);
        let read = bounded.read_until(b'\n', &mut self.text);
        let read = read.map_err(|error| JournalError::Unreadable { line, error })?;
        if read as u64 == LONGEST_LINE && !self.text.ends_with(b"\n") {
            return Err(JournalError::TooLong { line });
        }
        Ok(read > 0)
    }
}

impl<R: BufRead> Iterator for Lines<R> {
    type Item = Result<Line, JournalError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.over {
            return None;
        }
        let line = match self.fetch() {
            Ok(false) => return None,
            Ok(true) => parse(&self.text, self.line),
            Err(error) => Err(error),
        };
        self.over = line.is_err();
        Some(line)
    }
}

/// One line, with its end if it has one.
pub(super) fn parse(text: &[u8], line: u64) -> Result<Line, JournalError> {
    let error = match serde_json::from_slice(text) {
        Ok(event) => return Ok(Line::Event(printable(event))),
        Err(error) => error,
    };
    match serde_json::from_slice(text) {
        Ok(Mark::Gap(lost)) => return Ok(Line::Gap(lost)),
        Ok(Mark::End(events)) => return Ok(Line::End { events }),
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

/// The header, its version first: what a later format adds must not look like a mistake.
fn header(text: &[u8]) -> Result<Header, JournalError> {
    #[derive(Deserialize)]
    struct Version {
        journal: u32,
    }
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

/// The event with the names in its settings sanitised: all other text of an event is a [`SafeText`].
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
    // a long line is not decoded for the sake of its first words
    let beginning = text.get(..8 * EXCERPT).unwrap_or(text);
    let words = String::from_utf8_lossy(beginning);
    one_line(words.trim_end(), EXCERPT)
}
