//! The only argument of a pane, and the whole screen drawn from it.

use ratatui::buffer::Buffer;
use ratatui::layout::{Position, Rect};
use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

use crate::state::State;
use crate::time::Timestamp;

use super::keymap::Keymap;
use super::layout::{Tier, layout};
use super::pane::{self, PaneId};
use super::theme::{Role, Theme};
use super::ui::{Mode, Ui};
use super::{footer, input, overlay};

/// All that a pane may read. Shared references only: drawing changes nothing.
#[derive(Clone, Copy, Debug)]
pub struct View<'a> {
    /// What happened.
    pub state: &'a State,
    /// What only this screen knows.
    pub ui: &'a Ui,
    /// Roles and marks.
    pub theme: &'a Theme,
    /// The instant drawn: levels and countdowns are functions of it.
    pub now: Timestamp,
}

impl View<'_> {
    /// Says in one line, cut at the edge, why there is nothing else in `area`, which is not empty.
    pub(super) fn say(&self, area: Rect, why: &str, buf: &mut Buffer) {
        let style = self.theme.style(Role::Muted);
        buf.set_stringn(area.x, area.y, why, usize::from(area.width), style);
    }
}

/// Draws the whole screen. Returns where the real cursor belongs, if text is being typed.
pub fn draw(view: &View<'_>, keymap: &Keymap, area: Rect, buf: &mut Buffer) -> Option<Position> {
    let area = area.intersection(buf.area);
    if area.is_empty() {
        return None;
    }
    let areas = layout(area, view.ui);
    pane::title::render(view, areas.title, buf);
    pane::verdict::render(view, areas.verdict, buf);
    if areas.tier == Tier::Tiny {
        pane::too_small(view, areas.notice, buf);
    } else {
        pane::frames(view, &areas, buf);
    }
    for (id, _) in &areas.panes {
        id.render(view, areas.inner(*id), buf);
    }
    let mut cursor = input::render(view, areas.input, buf);
    if view.ui.mode == Mode::Filter {
        cursor = areas
            .pane(PaneId::Log)
            .and_then(|log| pane::filter_cursor(view, log));
    }
    footer::render(view, keymap, areas.footer, buf);
    for open in &view.ui.overlays {
        // an overlay hides what is typed below it
        cursor = overlay::render(view, keymap, open, area, buf);
    }
    settle(area, buf);
    cursor.filter(|position| area.contains(*position))
}

/// Leaves one character of each cluster about whose width terminals disagree: joined emoji (a family), those
/// with a skin tone or a presentation selector. They count two cells here and up to eight there, and what
/// stands behind them, borders included, would be drawn in the wrong place.
fn settle(area: Rect, buf: &mut Buffer) {
    for position in area.positions() {
        let cell = &mut buf[position];
        let symbol = cell.symbol();
        let mut letters = symbol.chars();
        let (Some(first), Some(_)) = (letters.next(), letters.next()) else {
            continue;
        };
        let apart: usize = symbol.chars().filter_map(UnicodeWidthChar::width).sum();
        if apart != symbol.width() {
            cell.set_char(first);
        }
    }
}

#[cfg(test)]
mod tests {
    use ratatui::style::Style;

    use super::*;

    #[test]
    fn clusters_that_terminals_measure_differently_are_drawn_as_one_character() {
        let area = Rect::new(0, 0, 12, 1);
        let table = [
            ("a👩\u{200d}👩\u{200d}👧b", ["a", "👩", " ", "b"]),
            ("a👍\u{1f3fd}b", ["a", "👍", " ", "b"]),
            ("a❤\u{fe0f}b", ["a", "❤", " ", "b"]),
            // no disagreement: accents, wide letters
            ("ae\u{301}日", ["a", "e\u{301}", "日", " "]),
        ];
        for (text, cells) in table {
            let mut buf = Buffer::empty(area);
            buf.set_string(0, 0, text, Style::default());
            settle(area, &mut buf);
            let shown: Vec<&str> = (0..4).map(|x| buf[(x, 0)].symbol()).collect();
            assert_eq!(shown, cells, "{text}");
        }
    }
}
