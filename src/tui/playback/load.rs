//! A journal loaded up to its end or its damage: read once, then accessed through an index of its pieces.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::input::Input;
use super::keyframes::Keyframes;
use super::marks::{JournalMark, MarkFinder};
use crate::event::{Event, EventKind, UserId};
use crate::journal::{Ending, Header, JournalError, Line, Piece, Reader};
use crate::state::{MAX_USERS, State};
use crate::text::SafeText;
use crate::time::Timestamp;
use crate::tui::playback::bar::MarkKind;

/// The largest journal shown, in bytes. Beyond it a seek would take longer than a frame or two.
const MAX_BYTES: u64 = 1 << 30;

/// The damage of a journal: in short, and in full.
pub type Damage = (String, SafeText);

/// A recorded session.
#[derive(Debug)]
pub struct Recording {
    /// The name of the file; empty if unknown.
    pub name: SafeText,
    /// The header of the journal.
    pub header: Header,
    input: Input,
    pieces: Vec<PiecePosition>,
    len: usize,
    length: Timestamp,
    pub(super) frames: Keyframes,
    pub(super) marks: Vec<JournalMark>,
    /// True if marks were dropped.
    pub(super) more_marks: bool,
    /// The marks in the form of the bar.
    pub(super) bar_marks: Arc<[(Timestamp, MarkKind)]>,
    /// The users, in the order of their first calls.
    users: Vec<UserId>,
    /// The damage of the journal.
    pub damage: Option<Damage>,
}

/// The position of a piece of the journal.
#[derive(Debug)]
struct PiecePosition {
    offset: u64,
    bytes: usize,
    line: u64,
    /// The index of its first event.
    first: usize,
    /// The time of its first event.
    at: Timestamp,
}

/// The events of one piece.
#[derive(Clone, Debug, Default)]
pub(super) struct Page {
    /// The index of the first event.
    pub(super) first: usize,
    pub(super) events: Vec<Arc<Event>>,
}

impl Page {
    /// The event with this index.
    pub(super) fn event(&self, index: usize) -> Option<&Arc<Event>> {
        self.events.get(index.checked_sub(self.first)?)
    }

    /// The index after the last event.
    pub(super) fn end(&self) -> usize {
        self.first + self.events.len()
    }
}

impl Recording {
    /// Reads a journal up to its damage, see [`damage`](Self::damage). `read` is the number of bytes read so far.
    ///
    /// # Errors
    /// If the input does not start with the header of a journal.
    pub fn load(input: Input, read: &AtomicU64) -> Result<Self, JournalError> {
        Self::up_to(MAX_BYTES, input, read)
    }

    /// Reads at most `largest` bytes, to the end of a piece.
    pub(super) fn up_to(largest: u64, input: Input, read: &AtomicU64) -> Result<Self, JournalError> {
        let reader = Reader::open(input.reader())?;
        let header = reader.header.clone();
        let mut scan = Scan::new(input.len().min(largest), initial_state(&header));
        let mut damage = None;
        for piece in reader {
            read.store(piece.offset + piece.bytes, Ordering::Relaxed);
            damage = if piece.offset >= largest && !piece.lines.is_empty() {
                Some(scan.too_long(largest))
            } else {
                scan.apply(piece)
            };
            if damage.is_some() {
                break;
            }
        }
        let damage = damage.or_else(|| scan.end());
        let bar_marks = scan.finder.marks.iter().map(|mark| (mark.at, mark.kind));
        Ok(Self {
            name: SafeText::default(),
            header,
            input,
            len: scan.len,
            length: scan.at,
            bar_marks: bar_marks.collect(),
            frames: scan.frames,
            marks: scan.finder.marks,
            more_marks: scan.finder.more,
            pieces: scan.pieces,
            users: scan.users,
            damage,
        })
    }

    /// The state before the first event.
    pub fn initial_state(&self) -> State {
        let mut state = initial_state(&self.header);
        if self.is_empty() {
            // otherwise the first event applies the policy
            state.session.policy.clone_from(&self.header.policy);
        }
        state
    }

    /// The number of events.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Returns true if there are no events.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The marks, in the order of the events.
    pub fn marks(&self) -> &[JournalMark] {
        &self.marks
    }

    /// The users named by the journal; if it names none, the users of its calls.
    pub fn possible_users(&self) -> Vec<UserId> {
        let named = &self.header.users;
        if named.is_empty() { &self.users } else { named }.clone()
    }

    /// The time of the last event.
    pub fn length(&self) -> Timestamp {
        self.length
    }

    /// The number of events up to `at`.
    pub(super) fn events_until(&self, at: Timestamp) -> Result<usize, Damage> {
        let started = self.pieces.partition_point(|piece| piece.at <= at);
        let Some(last) = started.checked_sub(1) else {
            return Ok(0);
        };
        let page = self.read(last)?;
        Ok(page.first + page.events.partition_point(|event| event.at <= at))
    }

    /// The page with the event at `position`; empty at the end.
    pub(super) fn page(&self, position: usize) -> Result<Page, Damage> {
        let started = self.pieces.partition_point(|piece| piece.first <= position);
        match started.checked_sub(1) {
            Some(last) if position < self.len => self.read(last),
            _ => Ok(Page {
                first: position,
                events: Vec::new(),
            }),
        }
    }

    /// Reads a piece again; fails if it has changed.
    fn read(&self, index: usize) -> Result<Page, Damage> {
        let Some(piece) = self.pieces.get(index) else {
            return Ok(Page::default());
        };
        let end = self.pieces.get(index + 1).map_or(self.len, |next| next.first);
        let changed = |why: &str| {
            let line = piece.line;
            let full = format!(
                "the journal has changed since it was opened ({why}, from line {line}): open it again"
            );
            ("journal changed".to_owned(), SafeText::new(&full))
        };
        let text = self.input.bytes(piece.offset, piece.bytes);
        let text = text.map_err(|error| changed(&error.to_string()))?;
        let lines = Piece::parse(piece.offset, piece.line, text).lines.into_iter();
        let events = lines.filter_map(|line| match line {
            Line::Event(event) => Some(Arc::new(event)),
            Line::Blank | Line::Gap(_) | Line::End { .. } => None,
        });
        let events: Vec<_> = events.take(end - piece.first).collect();
        if events.len() < end - piece.first || events.first().is_none_or(|first| first.at != piece.at) {
            return Err(changed("different events"));
        }
        Ok(Page {
            first: piece.first,
            events,
        })
    }
}

/// The state described by the header, before any event.
fn initial_state(header: &Header) -> State {
    let mut state = State::default();
    state.session.seed = header.seed;
    state
}

/// The results of reading a journal once.
struct Scan {
    pieces: Vec<PiecePosition>,
    frames: Keyframes,
    finder: MarkFinder,
    users: Vec<UserId>,
    state: State,
    /// Events so far.
    len: usize,
    /// The time of the last event.
    at: Timestamp,
    /// The expected `seq`.
    next: u64,
    lost: u64,
    ended: bool,
}

impl Scan {
    fn new(bytes: u64, initial: State) -> Self {
        Self {
            pieces: Vec::new(),
            frames: Keyframes::new(bytes, initial.clone()),
            finder: MarkFinder::default(),
            users: Vec::new(),
            state: initial,
            len: 0,
            at: Timestamp::ZERO,
            next: 0,
            lost: 0,
            ended: false,
        }
    }

    /// Applies the next piece. Returns the damage that ends the recording.
    fn apply(&mut self, piece: Piece) -> Option<Damage> {
        self.frames.observe(piece.offset, self.len, &self.state);
        let mut position = Some(PiecePosition {
            offset: piece.offset,
            bytes: usize::try_from(piece.bytes).unwrap_or(usize::MAX),
            line: piece.first_line,
            first: self.len,
            at: Timestamp::ZERO,
        });
        for (line, number) in piece.lines.into_iter().zip(piece.first_line..) {
            let damage = |text: &str| {
                let text = format!("line {number}: {text}");
                Some((format!("damaged at line {number}"), SafeText::new(&text)))
            };
            match line {
                Line::Blank => {}
                _ if self.ended => return damage("data after the end, ignored"),
                Line::End { .. } => self.ended = true,
                Line::Gap(gap) => {
                    self.next = self.next.saturating_add(gap);
                    self.lost = self.lost.saturating_add(gap);
                }
                Line::Event(event) if event.seq != self.next => {
                    let (seq, next) = (event.seq, self.next);
                    return damage(&format!("event {seq} instead of {next}; shown up to this line"));
                }
                Line::Event(event) if event.at < self.at => {
                    return damage("time runs backwards; shown up to this line");
                }
                Line::Event(event) => {
                    if let Some(mut position) = position.take() {
                        position.at = event.at;
                        self.pieces.push(position);
                    }
                    self.event(&event);
                }
            }
        }
        let error = piece.error?;
        let short = format!("damaged at line {}", error.line());
        let ending = Ending {
            damage: Some(error),
            ..Ending::default()
        };
        Some((short, SafeText::new(&ending.to_string())))
    }

    /// The damage of a journal that is too large.
    fn too_long(&self, largest: u64) -> Damage {
        let (mib, events) = (largest >> 20, self.len);
        let text = format!(
            "the journal is larger than {mib} MiB: only the first {events} events are shown. \
             'seawall why' and 'seawall check' read the whole journal"
        );
        (format!("first {mib} MiB only"), SafeText::new(&text))
    }

    fn event(&mut self, event: &Event) {
        self.finder.observe(self.len, event);
        if let EventKind::CallStarted { user, .. } = &event.kind
            && self.users.len() < MAX_USERS
            && !self.users.contains(user)
        {
            self.users.push(user.clone());
        }
        self.state.apply(event);
        self.len += 1;
        (self.next, self.at) = (self.next.saturating_add(1), event.at);
    }

    /// The damage of a journal that was read to its end.
    fn end(&self) -> Option<Damage> {
        let ending = Ending {
            closed: self.ended,
            lost: self.lost,
            damage: None,
        };
        let short = match (self.ended, self.lost) {
            (false, _) => "no end line".to_owned(),
            (true, lost @ 1..) => format!("{lost} lost"),
            (true, 0) => return None,
        };
        Some((short, SafeText::new(&ending.to_string())))
    }
}
