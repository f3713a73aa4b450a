//! Whole frames, drawn as the event loop draws them. Limits at 200x60: 1 ms after 10,000 calls, 1.5 ms with all of them running.

use divan::Bencher;
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use seawall::event::UserId;
use seawall::session::USERS;
use seawall::state::State;
use seawall::time::Timestamp;
use seawall::tui::keymap::Keymap;
use seawall::tui::overlay::Overlay;
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

/// The what-if overlay over the panes.
#[divan::bench(args = SIZES)]
fn comparing(bencher: Bencher<'_, '_>, size: (u16, u16)) {
    let state = TRAFFIC.whole();
    let now = state.last_event_at;
    frames_of(bencher, size, &state, now, vec![Overlay::WhatIf]);
}

fn frames(bencher: Bencher<'_, '_>, size: (u16, u16), state: &State, now: Timestamp) {
    frames_of(bencher, size, state, now, Vec::new());
}

fn frames_of(
    bencher: Bencher<'_, '_>,
    (width, height): (u16, u16),
    state: &State,
    now: Timestamp,
    overlays: Vec<Overlay>,
) {
    let Ok(keymap) = Keymap::builtin() else {
        unreachable!("the bundled keymap is checked by the tests")
    };
    let ui = Ui {
        users: USERS.iter().map(|name| UserId::new(name)).collect(),
        size: (width, height).into(),
        overlays,
        ..Ui::default()
    };
    let theme = Theme::default();
    let area = Rect::new(0, 0, width, height);
    let mut buffer = Buffer::empty(area);
    bencher.bench_local(|| {
        buffer.reset();
        let view = View {
            state,
            ui: &ui,
            theme: &theme,
            now,
        };
        draw(&view, &keymap, area, &mut buffer)
    });
}
