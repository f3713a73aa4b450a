//! The journal: every event of a session in a file, a line each.
//!
//! ```text
//! {"journal":2,"program":"seawall 0.1.0","seed":7,"policy":{..},"started":0,"virtual":true}   the header
//! {"seq":0,"at":0,"type":"session_started",..}                                               an event
//! {"gap":12}                                              so many events are lost here: the disk was slow
//! {"end":3456}                                            the session ended in order, after so many events
//! ```
//!
//! NDJSON, so that `grep`, `jq` and `tail -f` work. The same seed and script give the same journal to the
//! last byte under virtual time, where `started` is 0. A journal without its last line was not closed: what
//! is in it is true, but not all that happened.
//!
//! The journal holds what events hold: the beginnings of prompts and the answers, and never a key.

mod live;
mod pieces;
mod read;

use std::io::{self, BufWriter, Write};

use serde::{Deserialize, Serialize};

pub use live::{LiveJournal, QUEUE};
pub use pieces::{PIECE, Piece, Pieces, read_in_parallel};
pub use read::{JournalError, Lines, read};

use crate::event::{Event, FORMAT_VERSION, UserId};
use crate::settings::Policy;
use crate::text::SafeText;

/// The first line: what a reader must know before the events.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Header {
    /// Version of the format, [`FORMAT_VERSION`].
    pub journal: u32,
    /// What wrote it: name and version.
    pub program: SafeText,
    /// The seed of everything random.
    pub seed: u64,
    /// The settings in force at the start.
    pub policy: Policy,
    /// Seconds since the Unix epoch; 0 in virtual time.
    pub started: u64,
    /// Whether time was virtual.
    #[serde(rename = "virtual")]
    pub is_virtual: bool,
    /// The scenario that was played, if one was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scenario: Option<SafeText>,
    /// Who could ask, where a person chose; whoever asks is in the events besides.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub users: Vec<UserId>,
}

impl Header {
    /// The header of a session in real time that starts now: at `started` seconds after the Unix epoch.
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

    /// The header of a session in virtual time: nothing in it says when it was played.
    pub fn virtual_time(seed: u64, policy: Policy) -> Self {
        Self {
            is_virtual: true,
            ..Self::live(seed, policy, 0)
        }
    }

    /// The same header, of a session in which these can ask.
    #[must_use]
    pub fn asked_by(self, users: &[UserId]) -> Self {
        Self {
            users: users.to_vec(),
            ..self
        }
    }

    /// The same header, of this scenario.
    #[must_use]
    pub fn of_scenario(self, name: &str) -> Self {
        Self {
            scenario: Some(name.into()),
            ..self
        }
    }
}

/// A line after the header.
#[derive(Clone, Debug, PartialEq)]
pub enum Line {
    /// An event.
    Event(Event),
    /// So many events are lost here.
    Gap(u64),
    /// The session ended in order. Nothing follows.
    End {
        /// Events there were, lost ones included.
        events: u64,
    },
}

/// The lines that are no events.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Mark {
    Gap(u64),
    End(u64),
}

/// Writes a journal. Buffered: [`flush`](Self::flush) now and then, [`finish`](Self::finish) at the end.
#[derive(Debug)]
pub struct Journal<W: Write> {
    out: BufWriter<W>,
    /// One line, used again and again: a line is handed over whole or not at all.
    line: Vec<u8>,
    events: u64,
}

impl<W: Write> Journal<W> {
    /// A journal that begins with this header.
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
        self.put(&Mark::Gap(lost))
    }

    /// Hands over what is buffered.
    pub fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }

    /// Writes the last line and gives back what was written to.
    pub fn finish(mut self) -> io::Result<W> {
        self.put(&Mark::End(self.events))?;
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
