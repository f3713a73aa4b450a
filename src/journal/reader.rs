//! The one reader of journals. It splits a file into pieces at line ends, parses the pieces on all cores and
//! returns them in order.
//!
//! ```text
//!               +--> worker 0: parse --+
//!  file --split-+--> worker 1: parse --+--in order--> Reader
//!               +--> ..              --+
//! ```
//!
//! Each worker buffers a few pieces, so memory does not grow with the file.

use std::fmt;
use std::io::{self, BufRead, BufReader, Read};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;

use super::line::{BYTE_ORDER_MARK, LONGEST_LINE, header, is_blank, parse};
use super::{Header, JournalError, Line};
use crate::event::Event;
use crate::text::units;

/// Bytes of a piece, without the remainder of its last line.
pub const PIECE: u64 = 128 << 10;
/// Pieces buffered before and after each worker.
const WAITING: usize = 2;
/// More workers would wait for the disk and the consumer.
const MOST_WORKERS: usize = 8;

/// A run of complete, parsed lines.
#[derive(Debug)]
pub struct Piece {
    /// Offset of the first line in the file, in bytes.
    pub offset: u64,
    /// Length in the file, in bytes.
    pub bytes: u64,
    /// Number of the first line; the header is line 1.
    pub first_line: u64,
    /// The lines up to the error.
    pub lines: Vec<Line>,
    /// The error that ends the piece and the journal.
    pub error: Option<JournalError>,
    /// True if the file ends here.
    is_last: bool,
}

/// A piece before it is parsed.
struct Raw {
    offset: u64,
    first_line: u64,
    text: Vec<u8>,
    error: Option<JournalError>,
    is_last: bool,
}

/// A journal whose header was read; an iterator over the pieces after it. The iterator ends after an error.
#[derive(Debug)]
pub struct Reader {
    /// The first line of the journal.
    pub header: Header,
    workers: Vec<Receiver<Piece>>,
    /// The worker that has the next piece.
    next_worker: usize,
    /// The first line of the next piece.
    line: u64,
    over: bool,
}

/// The reason why a journal without an `end` line may be incomplete.
pub(crate) const NO_END_LINE: &str =
    "the journal has no end line: the session is still running, was killed, or the file was truncated";

/// The state of a journal at its end, or where reading stopped.
#[derive(Debug, Default)]
pub struct Ending {
    /// True if the session was closed: the journal has an `end` line.
    pub closed: bool,
    /// Events that the journal has lost.
    pub lost: u64,
    /// The error that stopped the reader.
    pub damage: Option<JournalError>,
}

impl Ending {
    /// Returns true if the journal has every event of a closed session.
    pub fn is_complete(&self) -> bool {
        self.closed && self.lost == 0 && self.damage.is_none()
    }
}

impl fmt::Display for Ending {
    /// The reasons why events are missing, joined by `; `. Empty for a complete journal.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lost = (self.lost > 0).then(|| {
            format!(
                "{} missing: the disk was too slow",
                units::count(self.lost, "event")
            )
        });
        let stop = match &self.damage {
            Some(error) => Some(format!("read up to here: {error}")),
            None if !self.closed => Some(NO_END_LINE.to_owned()),
            None => None,
        };
        let reasons: Vec<String> = lost.into_iter().chain(stop).collect();
        f.write_str(&reasons.join("; "))
    }
}

impl Piece {
    /// Parses the text of a piece again: `text` begins at `offset` of the file with line `first_line`.
    pub fn parse(offset: u64, first_line: u64, text: Vec<u8>) -> Self {
        let raw = Raw {
            offset,
            first_line,
            text,
            error: None,
            is_last: false,
        };
        raw.parsed()
    }
}

impl Reader {
    /// Reads the header, and starts the threads that read and parse the rest. They stop at the end of the file or
    /// when the reader is dropped.
    pub fn open<R: Read + Send + 'static>(input: R) -> Result<Self, JournalError> {
        let mut input = BufReader::with_capacity(PIECE as usize, input);
        let (mut text, mut line, mut offset) = (Vec::new(), 0, 0);
        loop {
            line += 1;
            text.clear();
            let read = (&mut input).take(LONGEST_LINE).read_until(b'\n', &mut text);
            let read = read.map_err(|error| JournalError::Unreadable { line, error })?;
            offset += read as u64;
            if read as u64 == LONGEST_LINE && !text.ends_with(b"\n") {
                return Err(JournalError::TooLong { line });
            }
            let written = text.strip_prefix(BYTE_ORDER_MARK).unwrap_or(&text);
            if read == 0 || !is_blank(written) {
                break;
            }
        }
        let header = header(&text)?;
        line += 1;
        let cores = thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let no_thread = |error| JournalError::Unreadable { line, error };
        let (mut work, mut workers) = (Vec::new(), Vec::new());
        for _ in 0..cores.min(MOST_WORKERS) {
            let (sender, raws) = sync_channel::<Raw>(WAITING);
            let (done, pieces) = sync_channel(WAITING);
            let worker = move || {
                for raw in raws {
                    if done.send(raw.parsed()).is_err() {
                        // the reader was dropped
                        return;
                    }
                }
            };
            spawn("journal parser", worker).map_err(no_thread)?;
            work.push(sender);
            workers.push(pieces);
        }
        spawn("journal reader", move || split(input, offset, line, &work)).map_err(no_thread)?;
        Ok(Self {
            header,
            workers,
            next_worker: 0,
            line,
            over: false,
        })
    }

    /// Returns the lines after the header one by one, without blank ones.
    pub fn lines(self) -> impl Iterator<Item = Result<Line, JournalError>> {
        self.flat_map(|piece| piece.lines.into_iter().map(Ok).chain(piece.error.map(Err)))
            .filter(|line| !matches!(line, Ok(Line::Blank)))
    }

    /// Applies every event up to the end or the first error.
    pub fn for_each_event(self, mut apply: impl FnMut(&Event)) -> Ending {
        let mut ending = Ending::default();
        for line in self.lines() {
            match line {
                Ok(Line::Blank) => {}
                Ok(Line::Event(event)) => apply(&event),
                Ok(Line::Gap(lost)) => ending.lost = ending.lost.saturating_add(lost),
                Ok(Line::End { .. }) => ending.closed = true,
                Err(error) => ending.damage = Some(error),
            }
        }
        ending
    }
}

impl Iterator for Reader {
    type Item = Piece;

    fn next(&mut self) -> Option<Piece> {
        if self.over {
            return None;
        }
        let worker = self.workers.get(self.next_worker);
        self.next_worker = (self.next_worker + 1) % self.workers.len();
        let piece = worker.and_then(|worker| worker.recv().ok());
        let piece = piece.unwrap_or_else(|| Piece {
            offset: 0,
            bytes: 0,
            first_line: self.line,
            lines: Vec::new(),
            error: Some(JournalError::Unreadable {
                line: self.line,
                error: io::Error::other("the reader thread panicked"),
            }),
            is_last: true,
        });
        self.line = piece.first_line + piece.lines.len() as u64;
        self.over = piece.is_last || piece.error.is_some();
        Some(piece)
    }
}

impl Raw {
    fn parsed(self) -> Piece {
        let mut piece = Piece {
            offset: self.offset,
            bytes: self.text.len() as u64,
            first_line: self.first_line,
            lines: Vec::new(),
            error: None,
            is_last: self.is_last,
        };
        for (text, line) in self
            .text
            .split_inclusive(|byte| *byte == b'\n')
            .zip(self.first_line..)
        {
            match parse(text, line) {
                Ok(parsed) => piece.lines.push(parsed),
                Err(error) => {
                    piece.error = Some(error);
                    return piece;
                }
            }
        }
        piece.error = self.error;
        piece
    }
}

/// Splits the input into pieces and deals them to the workers, up to the end or an error.
fn split<R: BufRead>(mut input: R, mut offset: u64, mut first_line: u64, work: &[SyncSender<Raw>]) {
    for worker in work.iter().cycle() {
        let raw = next_piece(&mut input, offset, first_line);
        offset += raw.text.len() as u64;
        first_line += line_ends(&raw.text);
        let is_last = raw.is_last;
        if worker.send(raw).is_err() || is_last {
            return;
        }
    }
}

/// Reads the next piece: [`PIECE`] bytes and the remainder of the line they end in.
fn next_piece<R: BufRead>(input: &mut R, offset: u64, first_line: u64) -> Raw {
    let mut text = Vec::with_capacity(PIECE as usize + 1024);
    let read = input.take(PIECE).read_to_end(&mut text).and_then(|_| {
        let begun = text.len() - last_line(&text);
        input
            .take(LONGEST_LINE - begun as u64)
            .read_until(b'\n', &mut text)
    });
    let whole = text.ends_with(b"\n");
    let last = last_line(&text);
    let line = first_line + line_ends(&text);
    let error = match read {
        Err(error) => Some(JournalError::Unreadable { line, error }),
        Ok(_) if !whole && (text.len() - last) as u64 >= LONGEST_LINE => Some(JournalError::TooLong { line }),
        Ok(_) => None,
    };
    if error.is_some() {
        text.truncate(last);
    }
    Raw {
        offset,
        first_line,
        is_last: !whole || error.is_some(),
        text,
        error,
    }
}

/// Offset of the line without a line feed.
fn last_line(text: &[u8]) -> usize {
    let end = text.iter().rposition(|byte| *byte == b'\n');
    end.map_or(0, |end| end + 1)
}

/// Number of line feeds.
fn line_ends(text: &[u8]) -> u64 {
    memchr::memchr_iter(b'\n', text).count() as u64
}

fn spawn(name: &str, work: impl FnOnce() + Send + 'static) -> io::Result<()> {
    thread::Builder::new().name(name.into()).spawn(work).map(drop)
}
