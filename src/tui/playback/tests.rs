//! The player under test clocks: every path to a position leads to the same state.

use std::io::Write as _;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use super::{Input, Player, Recording};
use crate::event::{BreakerState, CallId, Event, EventKind, Fate, MoveReason, Origin, UserId, WindowCounts};
use crate::journal::{Header, Journal, JournalError, Reader};
use crate::settings::{FaultProfile, Policy};
use crate::state::State;
use crate::time::Timestamp;
use crate::tui::playback::bar::{Control, MarkKind};

const SECOND: u64 = 1_000_000_000;

fn seconds(seconds: u64) -> Timestamp {
    Timestamp(seconds * SECOND)
}

/// A notice per second, two thousand times; the breaker opens after 700 of them, a burst starts after 1,500, and
/// calls fail twice within one second and once much later.
fn journal() -> Vec<u8> {
    let header = Header::virtual_time(7, Policy::default());
    let mut journal = Journal::try_new(Vec::new(), &header).unwrap();
    for seq in 0..2000 {
        let (call, kind) = match seq {
            700 => (
                None,
                EventKind::BreakerMoved {
                    model: None,
                    from: BreakerState::Closed,
                    to: BreakerState::Open,
                    generation: 1,
                    reason: MoveReason::FailureRate,
                    until: None,
                    window: WindowCounts::default(),
                },
            ),
            1500 => (None, EventKind::BurstStarted { burst: 1, calls: 10 }),
            100 | 101 | 1900 => (
                Some(CallId(seq)),
                EventKind::CallEnded {
                    fate: Fate::Failed,
                    attempts: 1,
                    failure: None,
                    usage: None,
                    took: Duration::ZERO,
                },
            ),
            _ => (
                None,
                EventKind::Notice {
                    text: format!("notice {seq}").as_str().into(),
                },
            ),
        };
        // two failures within a second
        let at = if seq == 101 {
            100 * SECOND + 1
        } else {
            seq * SECOND
        };
        journal
            .write(&Event {
                seq,
                at: Timestamp(at),
                call,
                kind,
            })
            .unwrap();
    }
    journal.finish().unwrap()
}

fn load(journal: &[u8]) -> Result<Recording, JournalError> {
    Recording::load(Input::Memory(journal.to_vec().into()), &AtomicU64::default())
}

fn player() -> Player {
    Player::new(load(&journal()).unwrap(), Timestamp::ZERO)
}

/// All events of a journal.
fn events(journal: &[u8]) -> Vec<Event> {
    let mut events = Vec::new();
    let reader = Reader::open(std::io::Cursor::new(journal.to_owned())).unwrap();
    reader.for_each_event(|event| events.push(event.clone()));
    events
}

/// A player, the resulting state, and the events for the expected one.
struct Watched {
    player: Player,
    shown: State,
    events: Vec<Event>,
    now: Timestamp,
}

impl Watched {
    fn new() -> Self {
        Self {
            events: events(&journal()),
            player: player(),
            shown: load(&journal()).unwrap().initial_state(),
            now: Timestamp::ZERO,
        }
    }

    /// Executes a control and compares with a fold from the beginning.
    fn press(&mut self, control: Control) -> usize {
        let change = self.player.control(control, self.now);
        change.apply(&mut self.shown);
        self.compare();
        self.player.position()
    }

    fn compare(&self) {
        let mut folded = self.player.recording().initial_state();
        for event in &self.events[..self.player.position()] {
            folded.apply(event);
        }
        assert_eq!(self.shown, folded, "after {} events", self.player.position());
    }

    fn wait(&mut self, time: Duration) {
        self.now = self.now + time;
        let events = self.player.play(self.now, usize::MAX);
        for event in events {
            self.shown.apply(&event);
        }
        self.compare();
    }
}

#[test]
fn every_path_leads_to_the_state_of_the_fold() {
    let mut watched = Watched::new();
    assert_eq!(watched.press(Control::End), 2000);
    assert_eq!(watched.press(Control::Step(-1)), 1999);
    assert_eq!(watched.press(Control::Seconds(-5)), 1994);
    assert_eq!(watched.press(Control::Beginning), 0);
    assert_eq!(watched.press(Control::Step(1)), 1);
    assert_eq!(watched.press(Control::Seconds(5)), 6);
    for _ in 0..110 {
        watched.press(Control::Seconds(5));
    }
    // on both sides of a kept state, after 512 events
    while watched.player.position() > 505 {
        watched.press(Control::Step(-1));
    }
    while watched.player.position() < 520 {
        watched.press(Control::Step(1));
    }
}

#[test]
fn jumps_to_marks_in_both_directions() {
    let mut watched = Watched::new();
    let kinds: Vec<_> = watched
        .player
        .recording()
        .marks()
        .iter()
        .map(|mark| mark.kind)
        .collect();
    assert_eq!(
        kinds,
        [
            MarkKind::Failure,
            MarkKind::Breaker,
            MarkKind::Burst,
            MarkKind::Failure
        ]
    );
    let on = [101, 701, 1501, 1901, 1901].map(|_| watched.press(Control::Mark(1)));
    assert_eq!(on, [101, 701, 1501, 1901, 1901]);
    let back = [1501, 701, 101, 101].map(|_| watched.press(Control::Mark(-1)));
    assert_eq!(back, [1501, 701, 101, 101]);
    let message = watched.player.control(Control::Mark(-1), watched.now).message;
    assert_eq!(
        message.as_deref(),
        Some("no change, failure or burst before this")
    );
    let message = watched.player.control(Control::Mark(1), watched.now).message;
    assert_eq!(message.as_deref(), Some("breaker opened"));
}

/// A journal of marks only, with a very long name.
#[test]
fn marks_of_a_hostile_journal_are_bounded() {
    let mut journal = Journal::try_new(Vec::new(), &Header::virtual_time(7, Policy::default())).unwrap();
    for seq in 0..12_000 {
        let kind = if seq == 0 {
            EventKind::FaultsApplied {
                on: true,
                profile: Box::new(FaultProfile {
                    name: "x".repeat(100_000),
                    ..FaultProfile::default()
                }),
            }
        } else {
            EventKind::BurstStarted { burst: seq, calls: 1 }
        };
        let (at, call) = (seconds(seq), None);
        journal.write(&Event { seq, at, call, kind }).unwrap();
    }
    let recording = load(&journal.finish().unwrap()).unwrap();
    assert_eq!((recording.len(), recording.marks().len()), (12_000, 10_000));
    let widest = recording
        .marks()
        .iter()
        .map(|mark| mark.text.chars().count())
        .max();
    assert!(widest.is_some_and(|widest| widest < 60), "{widest:?}");
    let mut player = Player::new(recording, Timestamp::ZERO);
    player.seek(seconds(9_998));
    let message = |player: &mut Player| player.control(Control::Mark(1), Timestamp::ZERO).message;
    assert_eq!(message(&mut player).as_deref(), Some("burst of 1 call"));
    assert_eq!(
        message(&mut player).as_deref(),
        Some("only the first 10000 marks are kept: step by events or seconds")
    );
}

#[test]
fn time_advances_at_the_speed_and_stops_when_paused() {
    let mut watched = Watched::new();
    watched.wait(Duration::from_secs(10));
    assert_eq!(
        (watched.player.position(), watched.player.at(watched.now)),
        (11, seconds(10))
    );
    for _ in 0..9 {
        watched.press(Control::Speed(1));
    }
    assert_eq!(watched.player.playback(watched.now).speed, "x64");
    assert_eq!(
        watched.player.next_due(),
        Some(watched.now + Duration::from_nanos(SECOND / 64))
    );
    watched.wait(Duration::from_secs(1));
    assert_eq!(watched.player.at(watched.now), seconds(74));
    for _ in 0..20 {
        watched.press(Control::Speed(-1));
    }
    watched.wait(Duration::from_secs(4));
    assert_eq!(watched.player.at(watched.now), seconds(75));
    watched.press(Control::Play);
    watched.wait(Duration::from_hours(1));
    assert_eq!(watched.player.at(watched.now), seconds(75));
    assert_eq!(watched.player.next_due(), None);
}

#[test]
fn pauses_at_the_end_and_play_restarts() {
    let mut watched = Watched::new();
    watched.wait(Duration::from_mins(50));
    assert_eq!(watched.player.position(), 2000);
    assert!(!watched.player.is_playing());
    let playback = watched.player.playback(watched.now);
    assert_eq!(playback.at, playback.length);
    assert!(playback.blocked(Control::Step(1)).is_some());
    assert!(playback.blocked(Control::Step(-1)).is_none());
    assert_eq!(watched.press(Control::Play), 0);
    assert!(watched.player.is_playing());
    let playback = watched.player.playback(watched.now);
    assert!(playback.blocked(Control::Seconds(-5)).is_some());
}

#[test]
fn the_shown_time_never_passes_an_event_not_yet_returned() {
    let mut player = player();
    let late = seconds(50);
    assert_eq!(player.at(late), seconds(0));
    assert_eq!(player.play(late, 8).len(), 8);
    assert_eq!(player.at(late), seconds(8));
    assert_eq!(player.play(late, 256).len(), 43);
    assert_eq!(player.at(late), late);
}

/// The number of events of a journal, and its damage.
fn opened(text: &str) -> (usize, String) {
    let recording = load(text.as_bytes()).unwrap();
    let damage = recording.damage.clone();
    let (short, full) = damage.unwrap_or_default();
    (recording.len(), format!("{short} | {full}"))
}

#[test]
fn a_damaged_journal_opens_up_to_the_damage() {
    let whole = String::from_utf8(journal()).unwrap();
    assert_eq!(opened(&whole), (2000, " | ".to_owned()));
    let lines: Vec<&str> = whole.lines().collect();
    let with = |index: usize, line: &str| {
        let mut lines = lines.clone();
        lines[index] = line;
        format!("{}\n", lines.join("\n"))
    };
    let cases = [
        (
            whole[..whole.len() / 2].to_owned(),
            "damaged at line 10",
            "is incomplete",
        ),
        (lines[..500].join("\n"), "no end line", "no end line"),
        (with(100, "hello"), "damaged at line 101", "not an event"),
        (
            with(100, lines[102]),
            "damaged at line 101",
            "event 101 instead of 99",
        ),
        (with(100, r#"{"gap":1}"#), "1 lost", "1 event missing"),
        (
            with(100, r#"{"end":99}"#),
            "damaged at line 102",
            "data after the end",
        ),
    ];
    let shown = [None, Some(499), Some(99), Some(99), Some(1999), Some(99)];
    for ((text, short, full), shown) in cases.into_iter().zip(shown) {
        let (events, damage) = opened(&text);
        assert!(damage.starts_with(short) && damage.contains(full), "{damage}");
        assert!(shown.is_none_or(|shown| shown == events), "{events}: {damage}");
    }
    // what editors and copies add is no damage, and lines keep their numbers
    let copied = format!("\u{feff}{}\r\n\r\n \n", lines.join("\r\n\r\n"));
    assert_eq!(opened(&copied), (2000, " | ".to_owned()));
    let (events, damage) = opened(&with(100, "\r\n\nhello"));
    assert!(
        events == 99 && damage.starts_with("damaged at line 103"),
        "{damage}"
    );
    assert_eq!(opened(lines[0]).0, 0);
    assert!(load(b"hello").is_err());
    assert!(load(b"").is_err());
}

#[test]
fn an_empty_recording_does_not_play() {
    let whole = String::from_utf8(journal()).unwrap();
    let header = whole.lines().next().unwrap();
    let mut player = Player::new(load(header.as_bytes()).unwrap(), Timestamp::ZERO);
    assert_eq!(player.next_due(), None);
    // the header is known
    let mut policy = Policy::default();
    policy.retry.attempts = 9;
    let empty = Journal::try_new(Vec::new(), &Header::virtual_time(8, policy.clone())).unwrap();
    let known = load(&empty.finish().unwrap()).unwrap().initial_state().session;
    assert_eq!((known.seed, known.policy), (8, policy));
    for control in [
        Control::Play,
        Control::Step(1),
        Control::Mark(1),
        Control::End,
        Control::Seconds(-5),
    ] {
        player.control(control, seconds(1));
        assert_eq!((player.position(), player.is_playing()), (0, false));
    }
}

#[test]
fn a_journal_that_changes_while_open_pauses_with_a_message() {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    let text = journal();
    file.write_all(&text).unwrap();
    let input = Input::from_file(file.reopen().unwrap()).unwrap();
    let mut player = Player::new(
        Recording::load(input, &AtomicU64::default()).unwrap(),
        Timestamp::ZERO,
    );
    assert_eq!(player.recording().len(), 2000);
    assert_eq!(player.play(seconds(10), 256).len(), 11);
    // another session under the same name
    file.as_file().set_len(text.len() as u64 / 2).unwrap();
    let change = player.control(Control::End, seconds(10));
    let message = change.message.unwrap();
    assert!(
        message.contains("has changed since it was opened") && message.contains("open it again"),
        "{message}"
    );
    assert!(change.state.is_none() && change.events.is_empty());
    assert_eq!((player.position(), player.is_playing()), (11, false));
    let (short, _) = player.playback(seconds(10)).damage.unwrap();
    assert_eq!(short, "journal changed");
    // the rest of the journal is still shown; playing ends after it
    assert_eq!(player.control(Control::Step(1), seconds(10)).events.len(), 1);
    player.control(Control::Play, seconds(10));
    let shown = player.play(seconds(5000), usize::MAX).len();
    assert!((100..1988).contains(&shown), "{shown}");
    assert!(!player.is_playing());
}

#[test]
fn possible_users_are_named_by_the_header_or_the_calls() {
    let user = |name: &str| UserId::new(name);
    let recorded = |header: Header| {
        let mut journal = Journal::try_new(Vec::new(), &header).unwrap();
        for (seq, name) in ["eve", "ben", "eve"].into_iter().enumerate() {
            let seq = seq as u64;
            journal
                .write(&Event {
                    seq,
                    at: seconds(seq),
                    call: Some(CallId(seq)),
                    kind: EventKind::CallStarted {
                        origin: Origin::Library,
                        user: user(name),
                        prompt: "why?".into(),
                        fingerprint: "00".into(),
                        prompt_tokens: 1,
                        deadline: seconds(60),
                        options: crate::event::CallOptions::default(),
                    },
                })
                .unwrap();
        }
        load(&journal.finish().unwrap()).unwrap().possible_users()
    };
    let header = Header::live(7, Policy::default(), 0);
    assert_eq!(recorded(header.clone()), [user("eve"), user("ben")]);
    let named = [user("ana"), user("ben"), user("eve")];
    assert_eq!(recorded(header.with_users(&named)), named);
}

#[test]
fn a_journal_that_is_too_long_is_shown_in_part() {
    // pieces have 128 KiB
    let mut journal = Journal::try_new(Vec::new(), &Header::virtual_time(7, Policy::default())).unwrap();
    for seq in 0..2000 {
        let text = "a long story ".repeat(20);
        let kind = EventKind::Notice {
            text: text.as_str().into(),
        };
        journal
            .write(&Event {
                seq,
                at: seconds(seq),
                call: None,
                kind,
            })
            .unwrap();
    }
    let text = journal.finish().unwrap();
    let input = Input::Memory(text.into());
    let recording = Recording::up_to(100_000, input.clone(), &AtomicU64::default()).unwrap();
    let (short, full) = recording.damage.clone().unwrap();
    assert!((100..1999).contains(&recording.len()), "{}", recording.len());
    assert!(
        short.starts_with("first ") && full.contains("read the whole journal"),
        "{short}, {full}"
    );
    let whole = Recording::up_to(1 << 20, input, &AtomicU64::default()).unwrap();
    assert_eq!((whole.len(), whole.damage), (2000, None));
}
