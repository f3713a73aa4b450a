//! The prompt line: one row when idle, more while a longer prompt is typed.

use ratatui::buffer::Buffer;
use ratatui::layout::{Position, Rect};

use super::theme::Role;
use super::ui::{Mode, Ui};
use super::view::View;
use super::{playback, wrap};

/// Columns of the mark in front of the text.
const MARK: u16 = 2;

/// The rows of the prompt at `width`, at most `max`.
pub fn height(ui: &Ui, width: u16, max: u16) -> u16 {
    let columns = usize::from(width.saturating_sub(MARK));
    let rows = wrap::rows(ui.draft.text(), columns).len();
    u16::try_from(rows).unwrap_or(u16::MAX).clamp(1, max.max(1))
}

/// Draws the prompt. Returns the position of the terminal cursor while it is typed.
pub fn render(view: &View<'_>, area: Rect, buf: &mut Buffer) -> Option<Position> {
    let area = area.intersection(buf.area);
    if area.width <= MARK || area.is_empty() {
        return None;
    }
    let ui = view.ui;
    if let Some(playback) = &ui.playback {
        playback::bar::render(view, playback, area, buf);
        return None;
    }
    let typing = ui.mode == Mode::Input;
    let role = if typing { Role::Input } else { Role::Muted };
    buf.set_string(area.x, area.y, ">", view.theme.style(role));
    let columns = area.width - MARK;
    let x = area.x + MARK;
    if ui.draft.is_empty() {
        let hint = match (typing, ui.read_only) {
            (_, true) => "read-only: a recorded or remote session",
            (true, _) => "Ask something (Enter to send, Esc to leave)",
            (false, _) => "[i] ask a question",
        };
        let hint = wrap::fit(hint, usize::from(columns), view.theme.glyphs.ellipsis);
        buf.set_string(x, area.y, hint, view.theme.style(Role::Muted));
        return typing.then_some(Position::new(x, area.y));
    }
    let text = ui.draft.text();
    let rows = wrap::rows(text, usize::from(columns));
    let (row, column) = ui.draft.cursor_at(usize::from(columns));
    // the row of the cursor is always visible
    let first = (row + 1).saturating_sub(usize::from(area.height));
    for (y, range) in (area.y..area.bottom()).zip(rows.into_iter().skip(first)) {
        let line = text.get(range).unwrap_or_default();
        buf.set_stringn(x, y, line, usize::from(columns), view.theme.style(Role::Text));
    }
    let down = u16::try_from(row - first).unwrap_or_default();
    let right = u16::try_from(column).unwrap_or_default();
    typing.then_some(Position::new(x + right.min(columns - 1), area.y + down))
}
