//! The story of one call.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::text::Line;

use crate::event::CallId;
use crate::state::Call;
use crate::tui::action::Action;
use crate::tui::pane::story;
use crate::tui::update::blocked;
use crate::tui::view::View;

/// Draws the story. A story longer than the area shows the keys that scroll it.
pub fn render(view: &View<'_>, id: CallId, area: Rect, buf: &mut Buffer) {
    let call = view.state.calls.recent.get(&id);
    let lines = call.map(|call| rows(view, call, inner(area))).unwrap_or_default();
    let judged = blocked(Action::LabelBad, view.ui, view.state).is_none();
    let runs = blocked(Action::StopCall, view.ui, view.state).is_none();
    let keys = [
        (true, "y copy"),
        (true, "Up Down other calls"),
        (lines.len() > usize::from(inner(area).height), "PgUp PgDn scroll"),
        (runs, "x stop"),
        (judged, "g right   b wrong"),
    ];
    // as many as fit, the last ones first; the key that closes it always
    let mut note = "Esc close".to_owned();
    for (_, key) in keys.into_iter().rev().filter(|(valid, _)| *valid) {
        if note.len() + key.len() + 3 + 6 <= usize::from(area.width) {
            note = format!("{key}   {note}");
        }
    }
    let inner = super::frame(view, &format!("Why {id}"), &note, area, buf);
    if inner.is_empty() {
        return;
    }
    if call.is_none() {
        let text = "details of this call were dropped: only the newest calls are kept";
        view.draw_notice(inner, text, buf);
        return;
    }
    // a story that became shorter still fills the area
    let last = lines.len().saturating_sub(usize::from(inner.height));
    let shown = lines.iter().skip(view.ui.story_top.min(last));
    for (y, line) in (inner.y..inner.bottom()).zip(shown) {
        buf.set_line(inner.x, y, line, inner.width);
    }
}

/// The area of the text: inside the border, with a blank column on each side.
pub fn inner(area: Rect) -> Rect {
    Rect {
        x: area.x.saturating_add(2),
        y: area.y.saturating_add(1),
        width: area.width.saturating_sub(4),
        height: area.height.saturating_sub(2),
    }
}

/// All rows of the story, wrapped to that area.
pub fn rows(view: &View<'_>, call: &Call, inner: Rect) -> Vec<Line<'static>> {
    let mut lines = story::lines(view, call, inner.width);
    // the last part may be empty
    while lines.last().is_some_and(|line| line.width() == 0) {
        lines.pop();
    }
    lines
}
