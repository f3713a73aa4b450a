//! The argument of every pane, and the whole screen drawn from it.

use ratatui::buffer::Buffer;
use ratatui::layout::{Position, Rect};
use ratatui::style::{Color, Modifier, Style};
use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

use crate::state::State;
use crate::time::Timestamp;

use super::keymap::Keymap;
use super::layout::{Tier, layout};
use super::pane;
use super::theme::{Role, Theme};
use super::tour;
use super::ui::{Mode, Ui};
use super::{footer, input, overlay};

/// Everything a pane may read. Shared references only: drawing changes nothing.
#[derive(Clone, Copy, Debug)]
pub struct View<'a> {
    /// The folded events.
    pub state: &'a State,
    /// The state of the screen itself.
    pub ui: &'a Ui,
    /// Roles and glyphs.
    pub theme: &'a Theme,
    /// The instant drawn: levels and countdowns are functions of it.
    pub now: Timestamp,
}

impl View<'_> {
    /// Writes a notice on the first line of `area`, cut at its edge.
    pub(super) fn draw_notice(&self, area: Rect, text: &str, buf: &mut Buffer) {
        if area.is_empty() {
            return;
        }
        let style = self.theme.style(Role::Muted);
        buf.set_stringn(area.x, area.y, text, usize::from(area.width), style);
    }
}

/// Draws the whole screen. Returns the position of the terminal cursor while text is typed.
pub fn draw(view: &View<'_>, keymap: &Keymap, area: Rect, buf: &mut Buffer) -> Option<Position> {
    let area = area.intersection(buf.area);
    if area.is_empty() {
        return None;
    }
    let areas = layout(area, view.ui);
    pane::title::render(view, areas.title, buf);
    pane::status::sentence(view, areas.sentence, buf);
    pane::counts::counts(view, areas.counts, buf);
    if areas.tier == Tier::Tiny {
        pane::too_small(view, areas.notice, buf);
    } else {
        pane::rules(view, &areas, buf);
    }
    for (id, _) in &areas.panes {
        id.render(view, areas.inner(*id), buf);
    }
    if areas.limiter_chart.is_some() {
        pane::zoom::limiter::render_chart(view, areas.limiter_chart_inner(), buf);
    }
    if let Some(area) = pane::first::area(view, &areas) {
        pane::first::render(view, keymap, area, buf);
    }
    pane::crosshair::render(view, &areas, buf);
    let mut cursor = input::render(view, keymap, areas.input, buf);
    if view.ui.mode == Mode::Filter {
        cursor = pane::filter_cursor(view, &areas);
    }
    footer::render(view, keymap, areas.footer, buf);
    if let Some(running) = &view.ui.tour {
        tour::dim_others(view, running, &areas, buf);
        tour::render(view, running, areas.tour, buf);
    }
    if !view.ui.overlays.is_empty() {
        dim(
            Rect {
                height: area.height.saturating_sub(1),
                ..area
            },
            buf,
        );
    }
    for open in &view.ui.overlays {
        // an overlay hides the text typed below it
        cursor = overlay::render(view, keymap, open, area, buf);
    }
    simplify_clusters(area, buf);
    cursor.filter(|position| area.contains(*position))
}

/// Takes colours and emphasis from everything behind an overlay.
fn dim(area: Rect, buf: &mut Buffer) {
    let emphasis = Modifier::BOLD | Modifier::REVERSED | Modifier::UNDERLINED;
    let style = Style::new()
        .fg(Color::Reset)
        .bg(Color::Reset)
        .add_modifier(Modifier::DIM)
        .remove_modifier(emphasis);
    buf.set_style(area, style);
}

/// Keeps only the first character of clusters whose width differs between terminals: joined emoji (a family), and
/// emoji with a skin tone or a presentation selector. They take two cells in one terminal and up to eight in
/// another, which shifts everything to their right, borders included.
fn simplify_clusters(area: Rect, buf: &mut Buffer) {
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
    use super::*;

    #[test]
    fn clusters_of_ambiguous_width_are_drawn_as_one_character() {
        let area = Rect::new(0, 0, 12, 1);
        let table = [
            ("a👩\u{200d}👩\u{200d}👧b", ["a", "👩", " ", "b"]),
            ("a👍\u{1f3fd}b", ["a", "👍", " ", "b"]),
            ("a❤\u{fe0f}b", ["a", "❤", " ", "b"]),
            // unchanged: accents, wide letters
            ("ae\u{301}日", ["a", "e\u{301}", "日", " "]),
        ];
        for (text, cells) in table {
            let mut buf = Buffer::empty(area);
            buf.set_string(0, 0, text, Style::default());
            simplify_clusters(area, &mut buf);
            let shown: Vec<&str> = (0..4).map(|x| buf[(x, 0)].symbol()).collect();
            assert_eq!(shown, cells, "{text}");
        }
    }
}
