//! Each user's share of the upstream.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;

use crate::tui::view::View;

/// Draws them.
pub fn render(_view: &View<'_>, _area: Rect, _buf: &mut Buffer) {}
