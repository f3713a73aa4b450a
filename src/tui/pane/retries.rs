//! The Retries card: whether retries help or cause the load.

mod facts;

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;

use crate::tui::view::View;

use super::row;

/// Draws the card.
pub(crate) fn render(view: &View<'_>, area: Rect, buf: &mut Buffer) {
    let area = area.intersection(buf.area);
    let width = usize::from(area.width);
    if view.state.retry.attempts == 0 {
        row::draw(&facts::no_calls(view, width), 0, area, buf);
        return;
    }
    let mut lines = facts::head(view, width).to_vec();
    lines.extend(facts::below(view, width));
    row::draw_all(&lines, area, buf);
}

/// The present attempts per call, for a border of a pane with `width` columns of content.
pub(crate) fn title(view: &View<'_>, width: u16) -> String {
    let room = row::note_room(width);
    let Some(now) = view.state.attempts_per_call(view.now) else {
        return String::new();
    };
    [
        format!("now {now:.1} attempts per call"),
        format!("{now:.1} per call"),
    ]
    .into_iter()
    .find(|text| row::width(text) <= room)
    .unwrap_or_default()
}
