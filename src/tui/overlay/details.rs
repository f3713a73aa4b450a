//! The story of one call.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;

use crate::event::CallId;
use crate::tui::pane::story;
use crate::tui::theme::Role;
use crate::tui::view::View;

/// Draws it.
pub fn render(view: &View<'_>, id: CallId, area: Rect, buf: &mut Buffer) {
    let note = "Up Down other calls   y copy   x stop   Esc closes";
    let inner = super::frame(view, &format!("Call {id}"), note, area, buf);
    if inner.is_empty() {
        return;
    }
    if let Some(call) = view.state.calls.recent.get(&id) {
        story::render(view, call, inner, buf);
    } else {
        let text = "this call is too old: only the newest are kept in full";
        buf.set_stringn(
            inner.x,
            inner.y,
            text,
            usize::from(inner.width),
            view.theme.style(Role::Muted),
        );
    }
}
