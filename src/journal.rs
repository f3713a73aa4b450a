//! The journal: every event of a session in a file, one line per event.
//!
//! ```text
//! {"journal":2,"program":"seawall 0.1.0","seed":7,"policy":{..},"started":0,"virtual":true}   the header
//! {"seq":0,"at":0,"type":"session_started",..}                                               an event
//! {"gap":12}                                              12 events are lost here: the disk was too slow
//! {"end":3456}                                            the session was closed after 3,456 events
//! ```
//!
//! The format is NDJSON, so `grep`, `jq` and `tail -f` work. The reader also accepts what editors and copies add: a
//! byte order mark, CRLF and blank lines. In virtual time `started` is 0, and the same seed and
//! script give the same bytes. A journal without an `end` line was not closed: later events may be missing.
//!
//! A journal contains prompt excerpts and answers, and never a key.

mod line;
mod live;
mod reader;

use std::io::{self, BufWriter, Write};

use serde::{Deserialize, Serialize};

pub use line::JournalError;
pub use live::{LiveJournal, QUEUE};
pub(crate) use reader::NO_END_LINE;
pub use reader::{Ending, PIECE, Piece, Reader};

use crate::event::{Event, FORMAT_VERSION, UserId};
use crate::settings::Policy;
use crate::text::SafeText;

/// The first line of a journal.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Header {
    /// Version of the format, [`FORMAT_VERSION`].
    pub journal: u32,
    /// Name and version of the program that wrote it.
    pub program: SafeText,
    /// The seed of everything random.
    pub seed: u64,
    /// The policy in force at the start.
    pub policy: Policy,
    /// Seconds since the Unix epoch; 0 in virtual time.
    pub started: u64,
    /// True if the session ran in virtual time.
    #[serde(rename = "virtual")]
    pub is_virtual: bool,
    /// The scenario that ran, if any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scenario: Option<SafeText>,
    /// The users a person could send as; empty in a journal of a scenario. Events name the user of each call.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub users: Vec<UserId>,
}

impl Header {
    /// The header of a session in real time that started at `started` seconds after the Unix epoch.
    pub fn live(seed: u64, policy: Policy, started: u64) -> Self {
        Self {
            journal: FORMAT_VERSION,
            program: concat!("seawall ", env!("CARGO_PKG_VERSION")).into(),
            seed,
            policy,
            started,
            is_virtual: false,
            scenario: None,
            users: Vec::new(),
        }
    }

    /// The header of a session in virtual time; `started` is 0.
    pub fn virtual_time(seed: u64, policy: Policy) -> Self {
        Self {
            is_virtual: true,
            ..Self::live(seed, policy, 0)
        }
    }

    /// Sets the users a person could send as.
    #[must_use]
    pub fn with_users(self, users: &[UserId]) -> Self {
        Self {
            users: users.to_vec(),
            ..self
        }
    }

    /// Sets the name of the scenario.
    #[must_use]
    pub fn with_scenario(self, name: &str) -> Self {
        Self {
            scenario: Some(name.into()),
            ..self
        }
    }
}

/// A line after the header.
#[derive(Clone, Debug, PartialEq)]
pub enum Line {
    /// Only white space: an editor or a copy added it. [`Reader::lines`] leaves it out.
    Blank,
    /// An event.
    Event(Event),
    /// The number of events lost here.
    Gap(u64),
    /// The session was closed. No line follows.
    End {
        /// Events of the session, lost ones included.
        events: u64,
    },
}

/// A line that is not an event.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum ControlLine {
    Gap(u64),
    End(u64),
}

/// A buffered writer of a journal. Call [`finish`](Self::finish) to write the `end` line.
#[derive(Debug)]
pub struct Journal<W: Write> {
    out: BufWriter<W>,
    /// The line being written, reused: a line is passed on complete or not at all.
    line: Vec<u8>,
    events: u64,
}

impl<W: Write> Journal<W> {
    /// Writes the header.
    pub fn try_new(out: W, header: &Header) -> io::Result<Self> {
        let mut journal = Self {
            out: BufWriter::new(out),
            line: Vec::new(),
            events: 0,
        };
        journal.put(header)?;
        Ok(journal)
    }

    /// Writes an event.
    pub fn write(&mut self, event: &Event) -> io::Result<()> {
        self.events = self.events.saturating_add(1);
        self.put(event)
    }

    /// Marks that `lost` events are missing here.
    pub fn gap(&mut self, lost: u64) -> io::Result<()> {
        self.events = self.events.saturating_add(lost);
        self.put(&ControlLine::Gap(lost))
    }

    /// Flushes the buffer.
    pub fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }

    /// Writes the `end` line and returns the writer.
    pub fn finish(mut self) -> io::Result<W> {
        self.put(&ControlLine::End(self.events))?;
        self.out.into_inner().map_err(io::IntoInnerError::into_error)
    }

    fn put(&mut self, line: &impl Serialize) -> io::Result<()> {
        self.line.clear();
        serde_json::to_writer(&mut self.line, line)?;
        self.line.push(b'\n');
        self.out.write_all(&self.line)
    }
}

#[cfg(test)]
mod tests;
