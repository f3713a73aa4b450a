//! Traffic out of a journal.

use std::io::Read;

use super::Traffic;
use crate::journal::{self, Header, JournalError, Line};

/// A journal, as far as it can be read.
#[derive(Debug)]
pub struct Recorded {
    /// Its first line.
    pub header: Header,
    /// What was recorded.
    pub traffic: Traffic,
    /// Events that are lost.
    pub lost: u64,
    /// Where it cannot be read any further, and why.
    pub damage: Option<JournalError>,
}

/// Reads a journal to its end, or to the first line that is none.
pub fn load<R: Read + Send + 'static>(input: R) -> Result<Recorded, JournalError> {
    let (header, pieces) = journal::read_in_parallel(input)?;
    let mut recorded = Recorded {
        header,
        traffic: Traffic::default(),
        lost: 0,
        damage: None,
    };
    for line in pieces.lines() {
        match line {
            Ok(Line::Event(event)) => recorded.traffic.take(&event),
            Ok(Line::Gap(lost)) => recorded.lost = recorded.lost.saturating_add(lost),
            Ok(Line::End { .. }) => {}
            Err(damage) => recorded.damage = Some(damage),
        }
    }
    Ok(recorded)
}
