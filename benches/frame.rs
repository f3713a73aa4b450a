//! Whole frames, drawn as the event loop draws them. Limits at 200x60: 1 ms after 10,000 calls, 1.5 ms with all of them running.

use std::time::Duration;

use divan::Bencher;
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use seawall::event::{CallId, UserId};
use seawall::session::USERS;
use seawall::state::State;
use seawall::time::Timestamp;
use seawall::tui::editor::Editor;
use seawall::tui::keymap::Keymap;
use seawall::tui::overlay::Overlay;
use seawall::tui::pane::PaneId;
use seawall::tui::theme::Theme;
use seawall::tui::ui::Ui;
use seawall::tui::view::{View, draw};

use crate::traffic::TRAFFIC;

const SIZES: [(u16, u16); 2] = [(200, 60), (80, 24)];

/// After 10,000 calls, none running.
#[divan::bench(args = SIZES)]
fn after_the_session(bencher: Bencher<'_, '_>, size: (u16, u16)) {
    let state = TRAFFIC.whole();
    let now = state.last_event_at;
    frames(bencher, size, &state, now);
}

/// After 9,500 calls, hundreds running.
#[divan::bench(args = SIZES)]
fn during_a_burst(bencher: Bencher<'_, '_>, size: (u16, u16)) {
    let state = TRAFFIC.state(TRAFFIC.in_the_middle);
    let now = state.last_event_at;
    frames(bencher, size, &state, now);
}

/// 10,000 running calls.
#[divan::bench(args = SIZES)]
fn with_all_running(bencher: Bencher<'_, '_>, size: (u16, u16)) {
    let state = crate::traffic::all_running();
    let now = state.last_event_at;
    frames(bencher, size, &state, now);
}

/// 10,000 running calls of a few flights: all but the owners have no row of their own.
#[divan::bench(args = SIZES)]
fn with_all_sharing(bencher: Bencher<'_, '_>, size: (u16, u16)) {
    let state = crate::traffic::all_sharing();
    let now = state.last_event_at;
    frames(bencher, size, &state, now);
}

/// A filter over 10,000 running calls: by word, and by a text that no call has.
#[divan::bench(args = ["queued", "nowhere"])]
fn filtered(bencher: Bencher<'_, '_>, filter: &str) {
    let state = crate::traffic::all_running();
    let mut ui = ui((200, 60));
    ui.filters.insert(PaneId::Calls, Editor::from_text(filter));
    frames_of(bencher, &ui, &state, state.last_event_at);
}

/// A crosshair while 10,000 calls run, or after the session.
#[divan::bench(args = [true, false])]
fn with_a_crosshair(bencher: Bencher<'_, '_>, running: bool) {
    let state = if running {
        crate::traffic::all_running()
    } else {
        TRAFFIC.whole()
    };
    let mut ui = ui((200, 60));
    let now = state.last_event_at + Duration::from_secs(2);
    ui.crosshair = Some(now - Duration::from_secs(1));
    frames_of(bencher, &ui, &state, now);
}

/// The Calls pane on the whole screen, the cursor in the middle of 10,000 running calls.
#[divan::bench(args = SIZES)]
fn with_calls_zoomed(bencher: Bencher<'_, '_>, size: (u16, u16)) {
    let state = crate::traffic::all_running();
    let mut ui = ui(size);
    (ui.focus, ui.zoomed, ui.selected_call) = (PaneId::Calls, true, Some(CallId(5_000)));
    frames_of(bencher, &ui, &state, state.last_event_at);
}

/// The what-if overlay over the panes.
#[divan::bench(args = SIZES)]
fn comparing(bencher: Bencher<'_, '_>, size: (u16, u16)) {
    let state = TRAFFIC.whole();
    let now = state.last_event_at;
    let mut ui = ui(size);
    ui.overlays.push(Overlay::WhatIf);
    frames_of(bencher, &ui, &state, now);
}

fn frames(bencher: Bencher<'_, '_>, size: (u16, u16), state: &State, now: Timestamp) {
    frames_of(bencher, &ui(size), state, now);
}

fn ui((width, height): (u16, u16)) -> Ui {
    Ui {
        users: USERS.iter().map(|name| UserId::new(name)).collect(),
        size: (width, height).into(),
        ..Ui::default()
    }
}

fn frames_of(bencher: Bencher<'_, '_>, ui: &Ui, state: &State, now: Timestamp) {
    let Ok(keymap) = Keymap::builtin() else {
        unreachable!("the bundled keymap is checked by the tests")
    };
    let theme = Theme::default();
    let area = Rect::new(0, 0, ui.size.width, ui.size.height);
    let mut buffer = Buffer::empty(area);
    bencher.bench_local(|| {
        buffer.reset();
        let view = View {
            state,
            ui,
            theme: &theme,
            now,
        };
        draw(&view, &keymap, area, &mut buffer)
    });
}
