//! Traffic from a journal.

use std::io::Read;

use super::Traffic;
use crate::drills::scenario::Tally;
use crate::journal::{Header, JournalError, Reader};

/// A journal, up to its end or its first damaged line.
#[derive(Debug)]
pub struct LoadedJournal {
    /// The first line.
    pub header: Header,
    /// The calls, to be sent again.
    pub traffic: Traffic,
    /// The recorded results of the calls.
    pub tally: Tally,
    /// Number of events that the journal lost.
    pub lost: u64,
    /// The damaged line at which reading stopped.
    pub damage: Option<JournalError>,
}

/// Loads a journal up to its end or its first damaged line.
///
/// # Errors
/// If the input is not a journal.
pub fn load<R: Read + Send + 'static>(input: R) -> Result<LoadedJournal, JournalError> {
    let reader = Reader::open(input)?;
    let header = reader.header.clone();
    let (mut traffic, mut tally) = (Traffic::default(), Tally::default());
    let ending = reader.for_each_event(|event| {
        traffic.apply(event);
        tally.apply(event);
    });
    Ok(LoadedJournal {
        header,
        traffic,
        tally,
        lost: ending.lost,
        damage: ending.damage,
    })
}
