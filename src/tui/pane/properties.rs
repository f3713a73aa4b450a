//! Properties of every pane: it draws at any size without a panic, only inside its area, only ASCII with the ASCII
//! glyphs, and no colour with the mono palette.

use ratatui::buffer::{Buffer, Cell};
use ratatui::layout::{Rect, Size};
use ratatui::style::Color;

use super::fixture::{self, Fixture};
use super::{
    breaker, cache, calls, counts, latency, limiter, retries, status, story, title, traffic, users, zoom,
};
use crate::tui::pane::PaneId;
use crate::tui::theme::{Palette, Theme};
use crate::tui::view::View;

type Render = fn(&View<'_>, Rect, &mut Buffer);

/// The story of the call with the most spans.
fn longest_story(view: &View<'_>, area: Rect, buf: &mut Buffer) {
    let calls = view.state.calls.recent.values();
    if let Some(call) = calls.max_by_key(|call| call.spans.len()) {
        super::row::draw_all(&story::lines(view, call, area.width), area, buf);
    }
}

const PANES: [(&str, Render); 17] = [
    ("calls", calls::render),
    ("breaker", breaker::render),
    ("limiter", limiter::render),
    ("cache", cache::render),
    ("latency", latency::render),
    ("retries", retries::render),
    ("traffic", traffic::render),
    ("limiter chart", zoom::limiter::render_chart),
    ("limiter zoom", zoom::limiter::render),
    ("breaker zoom", zoom::breaker::render),
    ("retries zoom", zoom::retries::render),
    ("retries column", zoom::retries::render_column),
    ("story", longest_story),
    ("title", title::render),
    ("users", users::render),
    ("sentence", status::sentence),
    ("counts", counts::counts),
];

/// A cell that no pane writes.
fn untouched() -> Cell {
    Cell::new("\u{2591}")
}

/// Draws each pane in a `width` x `height` hole of a larger buffer and checks the cells around it.
fn draw_all(fixture: &Fixture, width: u16, height: u16) -> Vec<(&'static str, Buffer)> {
    let whole = Rect::new(0, 0, width + 2, height + 2);
    let hole = Rect::new(1, 1, width, height);
    let view = fixture.view();
    let draw = |(name, render): (&'static str, Render)| {
        let mut buf = Buffer::filled(whole, untouched());
        render(&view, hole, &mut buf);
        let columns = (0..whole.width).flat_map(|x| [(x, 0), (x, height + 1)]);
        let rows = (0..whole.height).flat_map(|y| [(0, y), (width + 1, y)]);
        for position in columns.chain(rows) {
            assert_eq!(
                buf.cell(position),
                Some(&untouched()),
                "{name} {width}x{height} at {position:?}"
            );
        }
        (name, buf)
    };
    PANES.into_iter().map(draw).collect()
}

/// Every width and every height up to 130 x 40, without all their pairs.
fn sizes() -> impl Iterator<Item = (u16, u16)> {
    let tall = (0..=40).flat_map(|height| [0, 1, 35, 76, 130].map(|width| (width, height)));
    let wide = (0..=130).flat_map(|width| [1, 6, 17].map(|height| (width, height)));
    tall.chain(wide)
}

#[test]
fn every_pane_draws_at_every_size_and_only_inside() {
    let fixtures = vec![
        fixture::burst(),
        fixture::worst(),
        fixture::probing(),
        Fixture::default(),
    ];
    for (index, mut fixture) in fixtures.into_iter().enumerate() {
        // the last two add few lines to the others
        for (width, height) in sizes().step_by(if index < 2 { 4 } else { 7 }) {
            fixture.ui.size = Size::new(width, height);
            fixture.ui.zoomed = width % 2 == 0;
            fixture.ui.focus = if width % 2 == 0 {
                PaneId::Latency
            } else {
                PaneId::Traffic
            };
            draw_all(&fixture, width, height);
        }
    }
}

#[test]
fn ascii_is_ascii_at_every_size() {
    let mut fixture = fixture::burst();
    fixture.state.cache.near = fixture::near_misses(25);
    fixture.theme = Theme::new(Palette::Mono, true);
    for (width, height) in sizes().step_by(4) {
        for (name, buf) in draw_all(&fixture, width, height) {
            let drawn = buf.content().iter().filter(|cell| **cell != untouched());
            for cell in drawn {
                assert!(
                    cell.symbol().is_ascii(),
                    "{name} {width}x{height}: {}",
                    cell.symbol()
                );
            }
        }
    }
}

#[test]
fn mono_has_no_colour() {
    let mut fixture = fixture::burst();
    fixture.state.cache.near = fixture::near_misses(25);
    fixture.theme = Theme::new(Palette::Mono, false);
    for (name, buf) in draw_all(&fixture, 130, 40) {
        for cell in buf.content() {
            assert_eq!((cell.fg, cell.bg), (Color::Reset, Color::Reset), "{name}");
        }
    }
}

#[test]
fn an_area_outside_the_buffer_draws_nothing() {
    let fixture = fixture::burst();
    let view = fixture.view();
    for (_, render) in PANES {
        let mut buf = Buffer::empty(Rect::new(5, 5, 20, 4));
        render(&view, Rect::new(15, 7, 60, 20), &mut buf);
        render(&view, Rect::new(0, 0, 60, 20), &mut buf);
        let before = buf.clone();
        render(&view, Rect::new(100, 100, 9, 9), &mut buf);
        render(&view, Rect::new(0, 0, 3, 3), &mut buf);
        assert_eq!(buf, before);
    }
}
