//! Traffic out of a journal.

use std::io::Read;

use super::Traffic;
use crate::journal::{Header, JournalError, Reader};

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
    let reader = Reader::open(input)?;
    let header = reader.header.clone();
    let mut traffic = Traffic::default();
    let ending = reader.for_each_event(|event| traffic.take(event));
    Ok(Recorded {
        header,
        traffic,
        lost: ending.lost,
        damage: ending.damage,
    })
}
