//! The common parts of the cards: each guard in three, five or seven rows.
//!
//! The first row has the figure of the card, the last one its policy in dim text. A guard that is off shows none of
//! its rules.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::text::{Line, Span};

use crate::state::State;
use crate::tui::theme::{Role, Theme};
use crate::tui::view::View;

use super::row;

/// Columns of the labels before the gauges.
pub(super) const LABEL: usize = 9;
/// Columns from which a card has room for sentences.
pub(super) const WIDE: usize = 24;
/// Columns from which a card has room for two facts in a row.
pub(super) const ROOMY: usize = 40;

/// Returns true until the first call: the cards explain themselves.
pub(super) fn is_first(state: &State) -> bool {
    state.calls.totals.started == 0
}

/// The number of cells of the gauges in `width` columns.
pub(super) fn cells(width: usize) -> usize {
    if width < WIDE {
        width.saturating_sub(LABEL).min(8)
    } else {
        8
    }
}

/// The role of what is left: yellow below a quarter, red below a tenth.
pub(super) fn left_role(share: f64) -> Role {
    match share {
        0.25.. => Role::Work,
        0.1.. => Role::Held,
        _ => Role::Broken,
    }
}

/// `■■■■····`: a share of 1 in `cells` cells. Only 0 is empty, and only 1 is full.
pub(super) fn meter(theme: &Theme, role: Role, share: f64, cells: usize) -> [Span<'static>; 2] {
    let filled = super::gauge::filled_cells(share, cells);
    [
        row::piece(theme, role, theme.glyphs.bar_full.repeat(filled)),
        row::piece(theme, Role::Muted, theme.glyphs.bar_empty.repeat(cells - filled)),
    ]
}

/// The window of a card for the note of a title with `room` columns: without `last` in a narrow one.
pub(super) fn window(label: &str, room: usize) -> String {
    let short = label.strip_prefix("last ").unwrap_or(label);
    let fits = row::width(label) + 2 <= room;
    if fits { label } else { short }.to_owned()
}

/// The key that switches a guard on by a setting; none in a recording.
pub(super) fn switch_on(view: &View<'_>, setting: &str, width: usize) -> Option<Line<'static>> {
    let wordings = [
        format!("switch on: = then {setting}"),
        "= switches it on".to_owned(),
    ];
    let wordings = wordings.map(|text| row::muted(view.theme, text));
    (!view.ui.read_only).then(|| row::first_fit(view.theme, wordings, width))
}

/// Words in a role.
pub(super) fn words(theme: &Theme, role: Role, text: impl Into<String>) -> Line<'static> {
    Line::from(row::piece(theme, role, text))
}

/// The figure of a card in bold, and what belongs to it in dim text if there is room.
pub(super) fn figure(
    theme: &Theme,
    glyph: Span<'static>,
    text: &str,
    rest: &str,
    width: usize,
) -> Line<'static> {
    let mut line = Line::from(glyph);
    line.push_span(row::piece(theme, Role::Strong, text));
    let rest = row::muted(theme, format!("  {rest}"));
    row::join(theme, [line, rest], width)
}

/// Draws the rows of a card, clipped to its width.
pub(super) fn draw(view: &View<'_>, lines: Vec<Line<'static>>, area: Rect, buf: &mut Buffer) {
    let width = usize::from(area.width);
    let fit = |line| row::first_fit(view.theme, [line], width);
    let lines: Vec<Line<'_>> = lines.into_iter().map(fit).collect();
    row::draw_all(&lines, area, buf);
}

/// The explanation of a card before the first call: a short one in three rows; in five, a long one above `policy`.
pub(super) fn explained(
    theme: &Theme,
    first: Line<'static>,
    words: [&str; 2],
    policy: Line<'static>,
    (width, rows): (usize, usize),
) -> Vec<Line<'static>> {
    let [long, short] = words;
    let is_long = rows >= 5;
    let room = rows.saturating_sub(1 + usize::from(is_long));
    let text = row::wrap(theme, if is_long { long } else { short }, width, room);
    let mut lines = vec![first];
    lines.extend(text.into_iter().map(|text| row::muted(theme, text)));
    if is_long {
        lines.resize(rows - 1, Line::default());
        lines.push(policy);
    }
    lines
}

#[cfg(test)]
mod tests;
