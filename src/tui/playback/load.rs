//! A journal that is opened, up to its end or to where it is damaged: read once, and remembered by places.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::frames::Frames;
use super::input::Input;
use super::marks::{Finder, Mark};
use crate::event::{Event, EventKind, UserId};
use crate::journal::{Header, JournalError, Line, Piece, Reader};
use crate::state::{MAX_USERS, State};
use crate::text::SafeText;
use crate::time::Timestamp;
use crate::tui::playback::bar::MarkKind;

/// What stands behind so many bytes is not shown: going back there would take longer than a frame or two.
const LARGEST: u64 = 1 << 30;

/// What is wrong with a journal: in a few words, and in full.
pub type Damage = (String, SafeText);

/// A recorded session.
#[derive(Debug)]
pub struct Recording {
    /// What the journal says of itself.
    pub header: Header,
    input: Input,
    places: Vec<Place>,
    len: usize,
    length: Timestamp,
    pub(super) frames: Frames,
    pub(super) marks: Vec<Mark>,
    /// Whether there were more of them than are kept.
    pub(super) more_marks: bool,
    /// The marks as the bar has them.
    pub(super) drawn: Arc<[(Timestamp, MarkKind)]>,
    /// Who asked, in the order of their first calls.
    users: Vec<UserId>,
    /// What is wrong with the journal.
    pub damage: Option<Damage>,
}

/// Where a piece of the journal stands.
#[derive(Debug)]
struct Place {
    offset: u64,
    bytes: usize,
    line: u64,
    /// Its first event, by its place in the recording.
    first: usize,
    /// When that was.
    at: Timestamp,
}

/// Events that follow each other.
#[derive(Clone, Debug, Default)]
pub(super) struct Page {
    /// The place of the first in the recording.
    pub(super) first: usize,
    pub(super) events: Vec<Arc<Event>>,
}

impl Page {
    /// The event at this place of the recording.
    pub(super) fn event(&self, place: usize) -> Option<&Arc<Event>> {
        self.events.get(place.checked_sub(self.first)?)
    }

    /// The place behind the last.
    pub(super) fn end(&self) -> usize {
        self.first + self.events.len()
    }
}

impl Recording {
    /// Reads a journal. What comes after a damage is left out, and [`damage`](Self::damage) tells; only a file that
    /// does not begin like a journal is an error. `read` tells how many bytes were read so far.
    pub fn load(input: Input, read: &AtomicU64) -> Result<Self, JournalError> {
        Self::up_to(LARGEST, input, read)
    }

    /// The same of a journal that is read to so many bytes.
    pub(super) fn up_to(largest: u64, input: Input, read: &AtomicU64) -> Result<Self, JournalError> {
        let reader = Reader::open(input.reader())?;
        let header = reader.header.clone();
        let begins = begins(&header);
        let mut scan = Scan::new(input.len().min(largest), begins);
        let mut over = None;
        for piece in reader {
            read.store(piece.offset + piece.bytes, Ordering::Relaxed);
            over = if piece.offset >= largest && !piece.lines.is_empty() {
                Some(scan.too_long(largest))
            } else {
                scan.take(piece)
            };
            if over.is_some() {
                break;
            }
        }
        let damage = over.or_else(|| scan.end());
        let drawn = scan.finder.marks.iter().map(|mark| (mark.at, mark.kind));
        Ok(Self {
            header,
            input,
            len: scan.len,
            length: scan.at,
            drawn: drawn.collect(),
            frames: scan.frames,
            marks: scan.finder.marks,
            more_marks: scan.finder.more,
            places: scan.places,
            users: scan.users,
            damage,
        })
    }

    /// What is known before the first event.
    pub fn begins(&self) -> State {
        let mut state = begins(&self.header);
        if self.is_empty() {
            // where events follow, the first of them applies it, and is told as a change
            state.session.policy.clone_from(&self.header.policy);
        }
        state
    }

    /// How many events there are.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The marks, in the order of the events.
    pub fn marks(&self) -> &[Mark] {
        &self.marks
    }

    /// Who could ask: those the journal names; in one that names nobody, who did ask.
    pub fn possible_users(&self) -> Vec<UserId> {
        let named = &self.header.users;
        if named.is_empty() { &self.users } else { named }.clone()
    }

    /// When the last event happened.
    pub fn length(&self) -> Timestamp {
        self.length
    }

    /// How many events had happened at `at`.
    pub(super) fn events_until(&self, at: Timestamp) -> Result<usize, Damage> {
        let begun = self.places.partition_point(|place| place.at <= at);
        let Some(last) = begun.checked_sub(1) else {
            return Ok(0);
        };
        let page = self.read(last)?;
        Ok(page.first + page.events.partition_point(|event| event.at <= at))
    }

    /// The events around this place; none behind the last.
    pub(super) fn page(&self, position: usize) -> Result<Page, Damage> {
        let begun = self.places.partition_point(|place| place.first <= position);
        match begun.checked_sub(1) {
            Some(last) if position < self.len => self.read(last),
            _ => Ok(Page {
                first: position,
                events: Vec::new(),
            }),
        }
    }

    /// Reads a piece again. It must be as it was.
    fn read(&self, piece: usize) -> Result<Page, Damage> {
        let Some(place) = self.places.get(piece) else {
            return Ok(Page::default());
        };
        let end = self.places.get(piece + 1).map_or(self.len, |next| next.first);
        let changed = |why: &str| {
            let line = place.line;
            let full = format!(
                "the journal has changed since it was opened ({why}, from line {line}): open it again"
            );
            ("changed meanwhile".to_owned(), SafeText::new(&full))
        };
        let text = self.input.bytes(place.offset, place.bytes);
        let text = text.map_err(|error| changed(&error.to_string()))?;
        let lines = Piece::parse(place.offset, place.line, text).lines.into_iter();
        let events = lines.filter_map(|line| match line {
            Line::Event(event) => Some(Arc::new(event)),
            Line::Gap(_) | Line::End { .. } => None,
        });
        let events: Vec<_> = events.take(end - place.first).collect();
        if events.len() < end - place.first || events.first().is_none_or(|first| first.at != place.at) {
            return Err(changed("other events"));
        }
        Ok(Page {
            first: place.first,
            events,
        })
    }
}

/// A state that shows what the header says, and that events are folded into as in a session.
fn begins(header: &Header) -> State {
    let mut state = State::default();
    state.session.seed = header.seed;
    state
}

/// What reading it once finds.
struct Scan {
    places: Vec<Place>,
    frames: Frames,
    finder: Finder,
    users: Vec<UserId>,
    state: State,
    /// Events so far.
    len: usize,
    /// When the last was.
    at: Timestamp,
    /// The `seq` that comes next.
    next: u64,
    lost: u64,
    ended: bool,
}

impl Scan {
    /// Of a journal of so many bytes.
    fn new(bytes: u64, begins: State) -> Self {
        Self {
            places: Vec::new(),
            frames: Frames::new(bytes, begins.clone()),
            finder: Finder::default(),
            users: Vec::new(),
            state: begins,
            len: 0,
            at: Timestamp::ZERO,
            next: 0,
            lost: 0,
            ended: false,
        }
    }

    /// Takes the next piece. What comes back is a damage, and the end.
    fn take(&mut self, piece: Piece) -> Option<Damage> {
        self.frames.look(piece.offset, self.len, &self.state);
        let mut place = Some(Place {
            offset: piece.offset,
            bytes: usize::try_from(piece.bytes).unwrap_or(usize::MAX),
            line: piece.first_line,
            first: self.len,
            at: Timestamp::ZERO,
        });
        for (line, number) in piece.lines.into_iter().zip(piece.first_line..) {
            let damage = |what: &str| {
                let what = format!("line {number}: {what}");
                Some((format!("damaged at line {number}"), SafeText::new(&what)))
            };
            match line {
                _ if self.ended => return damage("more after the end; left out"),
                Line::End { .. } => self.ended = true,
                Line::Gap(gap) => {
                    self.next = self.next.saturating_add(gap);
                    self.lost = self.lost.saturating_add(gap);
                }
                Line::Event(event) if event.seq != self.next => {
                    let (seq, next) = (event.seq, self.next);
                    return damage(&format!("event {seq} where {next} comes next; shown up to there"));
                }
                Line::Event(event) if event.at < self.at => {
                    return damage("time goes back; shown up to there");
                }
                Line::Event(event) => {
                    if let Some(mut place) = place.take() {
                        place.at = event.at;
                        self.places.push(place);
                    }
                    self.event(&event);
                }
            }
        }
        let error = piece.error?;
        let what = match &error {
            JournalError::Torn { .. } => {
                "the last line is torn: the program was stopped while it wrote".to_owned()
            }
            error => format!("shown up to the damage: {error}"),
        };
        Some((format!("damaged at line {}", error.line()), SafeText::new(&what)))
    }

    /// That what follows is too much.
    fn too_long(&self, largest: u64) -> Damage {
        let events = self.len;
        let what = format!(
            "the journal is larger than {} MiB, and a replay shows no more of it: the first {events} events. \
             'seawall why' and 'seawall check' read all of it",
            largest >> 20
        );
        (format!("only {} MiB of it", largest >> 20), SafeText::new(&what))
    }

    fn event(&mut self, event: &Event) {
        self.finder.look(self.len, event);
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

    /// What is wrong with a journal that was read to its end.
    fn end(&self) -> Option<Damage> {
        let told = |short: String, what: &str| Some((short, SafeText::new(what)));
        match (self.ended, self.lost) {
            (false, _) => told(
                "no proper end".to_owned(),
                "the journal breaks off: still running, killed, or the file was cut",
            ),
            (true, lost @ 1..) => told(
                format!("{lost} lost"),
                &format!("{lost} events are missing: the disk was too slow for them"),
            ),
            (true, 0) => None,
        }
    }
}
