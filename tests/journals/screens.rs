//! Every number on a screen comes from events, so a journal must draw exactly what the session drew, cell by cell.
//! draw what the session drew, cell by cell.

use std::sync::atomic::AtomicU64;

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use seawall::event::{CallId, Event, UserId};
use seawall::journal::{Line, Reader};
use seawall::session::USERS;
use seawall::state::State;
use seawall::time::Timestamp;
use seawall::tui::keymap::Keymap;
use seawall::tui::overlay::Overlay;
use seawall::tui::pane::PaneId;
use seawall::tui::playback::bar::Control;
use seawall::tui::playback::{Input, Player, Recording};
use seawall::tui::theme::Theme;
use seawall::tui::ui::Ui;
use seawall::tui::view::{self, View};

const SIZES: [(u16, u16); 4] = [(60, 16), (80, 24), (120, 40), (200, 60)];

/// A moment of a session: the number of events, and every screen.
pub(crate) struct Moment {
    pub(crate) events: u64,
    at: Timestamp,
    screens: Vec<(String, Buffer)>,
}

/// Draws a session every `EVERY` events while it applies them.
#[derive(Default)]
pub(crate) struct Camera {
    state: State,
    pub(crate) moments: Vec<Moment>,
}

/// A prime, so that no rhythm of a session hides a kind of event.
const EVERY: u64 = 61;

impl Camera {
    pub(crate) fn take(&mut self, event: &Event) {
        self.state.apply(event);
        if self.state.next_seq.is_multiple_of(EVERY) {
            self.shoot(event.at);
        }
    }

    fn shoot(&mut self, at: Timestamp) {
        self.moments.push(Moment {
            events: self.state.next_seq,
            at,
            screens: screens(&self.state, at),
        });
    }
}

/// Every pane at every size, in the layout and zoomed, and the story of three calls.
fn screens(state: &State, now: Timestamp) -> Vec<(String, Buffer)> {
    let mut drawn = Vec::new();
    for (width, height) in SIZES {
        let ui = Ui {
            size: (width, height).into(),
            users: USERS.iter().map(|name| UserId::new(name)).collect(),
            ..Ui::default()
        };
        drawn.push((format!("{width}x{height}"), draw(state, &ui, now)));
        if (width, height) == SIZES[0] {
            continue;
        }
        for pane in &PaneId::ALL {
            let zoomed = Ui {
                focus: *pane,
                zoomed: true,
                ..ui.clone()
            };
            let name = format!("{width}x{height}, {} alone", pane.name());
            drawn.push((name, draw(state, &zoomed, now)));
        }
        for call in newest(state) {
            let open = Ui {
                overlays: vec![Overlay::Details(call)],
                ..ui.clone()
            };
            drawn.push((
                format!("{width}x{height}, story of {call}"),
                draw(state, &open, now),
            ));
        }
    }
    drawn
}

fn newest(state: &State) -> Vec<CallId> {
    state.calls.recent.keys().rev().take(3).copied().collect()
}

fn draw(state: &State, ui: &Ui, now: Timestamp) -> Buffer {
    let area = Rect::new(0, 0, ui.size.width, ui.size.height);
    let mut buffer = Buffer::empty(area);
    let theme = Theme::default();
    let view = View {
        state,
        ui,
        theme: &theme,
        now,
    };
    view::draw(&view, &Keymap::builtin().unwrap(), area, &mut buffer);
    buffer
}

/// Plays the journal, seeks to the same moments in another order, and compares every cell.
pub(crate) fn compare_played(name: &str, journal: &str, live: &[Moment]) {
    let recording = Recording::load(Input::Memory(journal.to_owned().into()), &AtomicU64::default()).unwrap();
    assert_eq!(recording.damage, None, "{name}");
    let mut player = Player::new(recording, Timestamp::ZERO);
    let mut shown = State::default();
    player.control(Control::Play, Timestamp::ZERO).apply(&mut shown);
    // forwards, backwards, and back and forth
    let count = live.len();
    let order = (0..count)
        .chain((0..count).rev())
        .chain((0..count).map(|at| at * 7919 % count));
    for moment in order.map(|place| &live[place]).step_by(8) {
        player.seek(moment.at).apply(&mut shown);
        // several events may have the same time, with the picture between them
        while player.position() as u64 > moment.events {
            player
                .control(Control::Step(-1), Timestamp::ZERO)
                .apply(&mut shown);
        }
        assert_eq!(player.position() as u64, moment.events, "{name}");
        assert_eq!(player.at(Timestamp::ZERO), moment.at, "{name}");
        for ((what, live), (_, played)) in moment.screens.iter().zip(screens(&shown, moment.at)) {
            assert!(*live == played, "{name}, after {} events, {what}", moment.events);
        }
    }
}

/// Reads the journal, draws it at the same moments, and compares every cell.
pub(crate) fn compare(name: &str, journal: &str, live: &[Moment]) {
    let lines = Reader::open(std::io::Cursor::new(journal.to_owned()))
        .unwrap()
        .lines();
    let mut replayed = State::default();
    let mut moments = live.iter().peekable();
    for line in lines {
        let Line::Event(event) = line.unwrap() else {
            continue;
        };
        replayed.apply(&event);
        let Some(moment) = moments.next_if(|moment| moment.events == replayed.next_seq) else {
            continue;
        };
        for ((what, live), (_, read)) in moment.screens.iter().zip(screens(&replayed, moment.at)) {
            let lines = |buffer: &Buffer| format!("{buffer:?}");
            assert!(
                *live == read,
                "{name}, after {} events, {what}: live\n{}\nreplayed\n{}",
                moment.events,
                lines(live),
                lines(&read)
            );
        }
    }
    assert_eq!(moments.count(), 0, "{name}: the journal ends before the session");
}
