//! The Traffic pane: attempts per second by cause.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;

use crate::tui::view::View;

/// Draws the attempts.
pub(crate) fn render(view: &View<'_>, area: Rect, buf: &mut Buffer) {
    super::retries::render(view, area, buf);
}
