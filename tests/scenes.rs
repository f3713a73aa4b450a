//! The top rows, cards and charts of some scenes, drawn from their journals and compared with recorded pictures, cell by
//! cell.
//!
//! The scenarios in `tests/scenes` run in virtual time with a fixed seed, so their journals are always the same. Set
//! `RECORD_SCENES` to write the pictures again after a change of the screen.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
use std::fs;
use std::io::Cursor;
use std::path::{Path, PathBuf};
use std::process::Command;

use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use seawall::event::{Event, EventKind};
use seawall::journal::{Line, Reader};
use seawall::state::State;
use seawall::time::Timestamp;
use seawall::tui::keymap::Keymap;
use seawall::tui::layout::layout;
use seawall::tui::pane::PaneId;
use seawall::tui::plot::Window;
use seawall::tui::theme::{Palette, Theme};
use seawall::tui::ui::Ui;
use seawall::tui::view::{self, View};

/// A picture: its name, the scenario, the time in seconds, the size, the window, the pane that fills the screen, and
/// the crosshair in seconds.
type Picture = (
    &'static str,
    &'static str,
    f64,
    (u16, u16),
    Window,
    Option<PaneId>,
    Option<f64>,
);

const PICTURES: [Picture; 11] = [
    (
        "outage-80x24",
        "outage",
        45.0,
        (80, 24),
        Window::HalfMinute,
        None,
        None,
    ),
    (
        "outage-120x40",
        "outage",
        45.0,
        (120, 40),
        Window::HalfMinute,
        None,
        None,
    ),
    (
        "start-120x40",
        "outage",
        12.4,
        (120, 40),
        Window::HalfMinute,
        None,
        None,
    ),
    (
        "storm-200x60",
        "storm",
        142.0,
        (200, 60),
        Window::TwoMinutes,
        None,
        Some(78.5),
    ),
    (
        "zoom-cache",
        "outage",
        45.0,
        (120, 40),
        Window::HalfMinute,
        Some(PaneId::Cache),
        None,
    ),
    (
        "zoom-users",
        "outage",
        45.0,
        (120, 40),
        Window::HalfMinute,
        Some(PaneId::Users),
        None,
    ),
    (
        "zoom-limiter",
        "queue",
        11.5,
        (120, 40),
        Window::HalfMinute,
        Some(PaneId::Limiter),
        None,
    ),
    (
        "zoom-breaker",
        "outage",
        66.0,
        (120, 40),
        Window::All,
        Some(PaneId::Breaker),
        None,
    ),
    (
        "zoom-retries",
        "outage",
        45.0,
        (120, 40),
        Window::HalfMinute,
        Some(PaneId::Retries),
        None,
    ),
    (
        "zoom-traffic",
        "outage",
        66.0,
        (120, 40),
        Window::All,
        Some(PaneId::Traffic),
        None,
    ),
    (
        "zoom-latency",
        "outage",
        66.0,
        (120, 40),
        Window::TwoMinutes,
        Some(PaneId::Latency),
        None,
    ),
];

fn path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/scenes")
        .join(name)
}

/// The events of a scenario.
fn events(scenario: &str) -> Vec<Event> {
    let dir = tempfile::tempdir().unwrap();
    let journal = dir.path().join("scene.ndjson");
    let run = Command::new(env!("CARGO_BIN_EXE_seawall"))
        .args(["run", "--seed", "1", "--overwrite", "--journal"])
        .arg(&journal)
        .arg(path(&format!("{scenario}.toml")))
        .output()
        .unwrap();
    assert!(
        run.status.success(),
        "{scenario}: {}",
        String::from_utf8_lossy(&run.stdout)
    );
    let text = fs::read_to_string(&journal).unwrap();
    let lines = Reader::open(Cursor::new(text)).unwrap().lines();
    lines
        .filter_map(|line| match line.unwrap() {
            Line::Event(event) => Some(event),
            Line::Blank | Line::Gap(_) | Line::End { .. } => None,
        })
        .collect()
}

fn folded(events: &[Event], now: Timestamp) -> State {
    let mut state = State::default();
    for event in events.iter().take_while(|event| event.at <= now) {
        state.apply(event);
    }
    state
}

fn draw(state: &State, ui: &Ui, now: Timestamp) -> Buffer {
    let mut terminal = Terminal::new(TestBackend::new(ui.size.width, ui.size.height)).unwrap();
    let theme = Theme::new(Palette::Mono, false);
    let frame = terminal
        .draw(|frame| {
            let view = View {
                state,
                ui,
                theme: &theme,
                now,
            };
            view::draw(
                &view,
                &Keymap::builtin().unwrap(),
                frame.area(),
                frame.buffer_mut(),
            );
        })
        .unwrap();
    frame.buffer.clone()
}

/// The rows of the charts, with their rules.
fn charts(buffer: &Buffer, ui: &Ui) -> String {
    let areas = layout(buffer.area, ui);
    let mut rects: Vec<Rect> = Vec::new();
    if areas.zoomed {
        rects.extend(areas.panes.iter().map(|(_, rect)| *rect));
    } else {
        let panes = [PaneId::Traffic, PaneId::Latency];
        rects.extend(panes.into_iter().filter_map(|pane| areas.pane(pane)));
        rects.extend(areas.limiter_chart);
        rects.extend((!areas.crosshair.is_empty()).then_some(areas.crosshair));
    }
    rows(buffer, &rects)
}

/// The title, the chip with its sentence, the counts, and the cards with their rules.
fn top(buffer: &Buffer, ui: &Ui) -> String {
    let areas = layout(buffer.area, ui);
    rows(buffer, &[areas.title, areas.sentence, areas.counts]) + &cards(buffer, ui)
}

/// The rows of the cards, with their rules; empty on the whole screen.
fn cards(buffer: &Buffer, ui: &Ui) -> String {
    let areas = layout(buffer.area, ui);
    let top = areas.pane(PaneId::Cache).map(|rect| rect.y);
    let cards = areas
        .panes
        .iter()
        .filter(|(_, rect)| Some(rect.y) == top && !areas.zoomed);
    let cards: Vec<Rect> = cards.map(|(_, rect)| *rect).collect();
    let first = cards.first().map_or(0, |card| card.height);
    let row = cards.into_iter().reduce(Rect::union);
    let row = row.map(|row| Rect { height: first, ..row });
    rows(buffer, row.as_slice())
}

fn rows(buffer: &Buffer, rects: &[Rect]) -> String {
    let mut text = String::new();
    for rect in rects {
        for y in rect.top()..rect.bottom() {
            let row: String = (rect.left()..rect.right())
                .map(|x| buffer[(x, y)].symbol())
                .collect();
            text.push_str(row.trim_end());
            text.push('\n');
        }
    }
    text
}

#[test]
fn top_rows_cards_and_charts_look_as_recorded() {
    let mut scenes: BTreeMap<&str, Vec<Event>> = BTreeMap::new();
    for (name, scenario, at, (width, height), window, zoom, crosshair) in PICTURES {
        let events = scenes.entry(scenario).or_insert_with(|| events(scenario));
        let now = Timestamp::from_secs_f64(at);
        let ui = Ui {
            size: (width, height).into(),
            focus: zoom.unwrap_or_default(),
            zoomed: zoom.is_some(),
            window,
            paused: crosshair.map(|_| 0),
            crosshair: crosshair.map(Timestamp::from_secs_f64),
            ..Ui::default()
        };
        let buffer = draw(&folded(events, now), &ui, now);
        compare(name, &charts(&buffer, &ui));
        if zoom.is_none() {
            compare(&format!("top-{name}"), &top(&buffer, &ui));
        }
    }
}

/// Compares a picture with the recorded one, or records it.
fn compare(name: &str, drawn: &str) {
    let file = path(&format!("{name}.txt"));
    if std::env::var_os("RECORD_SCENES").is_some() {
        fs::write(&file, drawn).unwrap();
    }
    let recorded = fs::read_to_string(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    assert!(
        drawn == recorded,
        "{name} differs from {}:\n{drawn}",
        file.display()
    );
}

#[test]
fn the_legend_of_traffic_adds_up_to_the_attempts_of_its_window() {
    let events = events("outage");
    for at in [10.0, 21.3, 45.0, 69.9] {
        let now = Timestamp::from_secs_f64(at);
        let ui = Ui {
            size: (120, 40).into(),
            window: Window::All,
            ..Ui::default()
        };
        let picture = charts(&draw(&folded(&events, now), &ui, now), &ui);
        let totals = picture.lines().filter_map(|line| {
            let (legend, _) = line.split_once(['│', '┤'])?;
            let label = legend.contains("retry:") || legend.contains("first attempt");
            // the label of the scale follows
            let counts: String = legend.chars().take(26).collect();
            label.then(|| counts.split_whitespace().last().unwrap().parse::<u64>().unwrap())
        });
        let started = events.iter().take_while(|event| event.at <= now);
        let attempts = started.filter(|event| matches!(event.kind, EventKind::AttemptStarted { .. }));
        assert_eq!(
            totals.sum::<u64>(),
            attempts.count() as u64,
            "at {at} s:\n{picture}"
        );
    }
}
