//! Reading a whole journal with all cores: it is cut into pieces at the ends of lines, each piece is parsed by the
//! next worker in turn, and they come out in their order.
//!
//! ```text
//!             +--> worker 0: parse --+
//!  file --cut-+--> worker 1: parse --+--in turn--> Pieces
//!             +--> ..              --+
//! ```
//!
//! A few pieces for each worker wait at most, so the size of the file does not matter. The lines are parsed by the
//! same function as those of [`read`](super::read()).

use std::io::{self, BufRead, BufReader, Read};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;

use super::read::{LONGEST_LINE, parse};
use super::{Header, JournalError, Line, read};

/// Bytes of a piece, the rest of its last line not counted.
pub const PIECE: u64 = 128 << 10;
/// Pieces that wait before a worker, and behind it.
const WAITING: usize = 2;
/// More workers than this would wait for the disk, and for who takes the pieces.
const MOST_WORKERS: usize = 8;

/// Whole lines of a journal, parsed, in their order.
#[derive(Debug)]
pub struct Piece {
    /// Where its first line begins in the file.
    pub offset: u64,
    /// Its length there.
    pub bytes: u64,
    /// The number of its first line; the header is line 1.
    pub first_line: u64,
    /// Its lines up to the error.
    pub lines: Vec<Line>,
    /// Why it ends early. Nothing follows.
    pub error: Option<JournalError>,
    /// Whether the file ends with it.
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

/// The pieces after the header, in their order. After an error there is nothing more.
#[derive(Debug)]
pub struct Pieces {
    workers: Vec<Receiver<Piece>>,
    /// Who has the next piece.
    turn: usize,
    /// The line it begins with.
    line: u64,
    over: bool,
}

/// Reads the header here, and all that follows on threads of its own: one that reads, and one for each core that
/// parses. They end with the file, or when the pieces are dropped.
pub fn read_in_parallel<R: Read + Send + 'static>(input: R) -> Result<(Header, Pieces), JournalError> {
    let (header, lines) = read(BufReader::with_capacity(PIECE as usize, input))?;
    let (offset, input) = lines.after_header();
    let cores = thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let unstarted = |error| JournalError::Unreadable { line: 2, error };
    let (mut work, mut workers) = (Vec::new(), Vec::new());
    for _ in 0..cores.min(MOST_WORKERS) {
        let (give, raws) = sync_channel::<Raw>(WAITING);
        let (done, pieces) = sync_channel(WAITING);
        let worker = move || {
            for raw in raws {
                if done.send(raw.parsed()).is_err() {
                    // who takes the pieces has gone
                    return;
                }
            }
        };
        spawn("journal parser", worker).map_err(unstarted)?;
        work.push(give);
        workers.push(pieces);
    }
    spawn("journal reader", move || cut(input, offset, &work)).map_err(unstarted)?;
    let pieces = Pieces {
        workers,
        turn: 0,
        line: 2,
        over: false,
    };
    Ok((header, pieces))
}

impl Piece {
    /// Parses a piece that was cut before: `text` stands at `offset` of the file, and begins with line `first_line`
    /// of it.
    pub fn again(offset: u64, first_line: u64, text: Vec<u8>) -> Self {
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

impl Pieces {
    /// Their lines one by one, for who needs no more.
    pub fn lines(self) -> impl Iterator<Item = Result<Line, JournalError>> {
        self.flat_map(|piece| piece.lines.into_iter().map(Ok).chain(piece.error.map(Err)))
    }
}

impl Iterator for Pieces {
    type Item = Piece;

    fn next(&mut self) -> Option<Piece> {
        if self.over {
            return None;
        }
        let turn = self.turn;
        self.turn = (turn + 1) % self.workers.len();
        let piece = self.workers.get(turn).and_then(|worker| worker.recv().ok());
        let piece = piece.unwrap_or_else(|| Piece {
            offset: 0,
            bytes: 0,
            first_line: self.line,
            lines: Vec::new(),
            error: Some(JournalError::Unreadable {
                line: self.line,
                error: io::Error::other("the thread that reads it has panicked"),
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

/// Cuts the input into pieces and deals them out, up to its end or an error.
fn cut<R: BufRead>(mut input: R, mut offset: u64, work: &[SyncSender<Raw>]) {
    let mut first_line = 2;
    for worker in work.iter().cycle() {
        let raw = next(&mut input, offset, first_line);
        offset += raw.text.len() as u64;
        first_line += ends(&raw.text);
        let is_last = raw.is_last;
        if worker.send(raw).is_err() || is_last {
            return;
        }
    }
}

/// The next piece: so many bytes, and the rest of the line they end in.
fn next<R: BufRead>(input: &mut R, offset: u64, first_line: u64) -> Raw {
    let mut text = Vec::with_capacity(PIECE as usize + 1024);
    let read = input.take(PIECE).read_to_end(&mut text).and_then(|_| {
        let begun = text.len() - begin_of_last(&text);
        input
            .take(LONGEST_LINE - begun as u64)
            .read_until(b'\n', &mut text)
    });
    let whole = text.ends_with(b"\n");
    let last = begin_of_last(&text);
    let line = first_line + ends(&text);
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

/// Where the line begins that has no end yet.
fn begin_of_last(text: &[u8]) -> usize {
    let end = text.iter().rposition(|byte| *byte == b'\n');
    end.map_or(0, |end| end + 1)
}

/// Lines that have an end.
fn ends(text: &[u8]) -> u64 {
    text.iter().fold(0, |ends, byte| ends + u64::from(*byte == b'\n'))
}

fn spawn(name: &str, work: impl FnOnce() + Send + 'static) -> io::Result<()> {
    thread::Builder::new().name(name.into()).spawn(work).map(drop)
}
