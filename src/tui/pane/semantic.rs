//! The semantic cache: what it found, and whether that was right.

use ratatui::text::Line;

use crate::tui::theme::Role;
use crate::tui::view::View;

use super::row;

/// It in lines of at most `width` columns, for the end of the cache pane.
pub fn lines(view: &View<'_>, width: usize) -> Vec<Line<'static>> {
    let mode = view.state.session.policy.semantic.mode.label();
    let pieces = vec![
        Line::from(row::piece(view.theme, Role::Strong, "semantic")),
        Line::from(format!("  {mode}")),
    ];
    vec![row::join(view.theme, pieces, width)]
}
