//! The clock on the rules of charts, guides, and the crosshair.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Style;

use super::{Axis, SECOND, put, symbols};
use crate::text::units;
use crate::time::Timestamp;
use crate::tui::theme::Role;
use crate::tui::view::View;
use crate::tui::wrap;

/// Distances of ticks in seconds, up to an hour; beyond, they double.
const TICKS: [u64; 12] = [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 1800, 3600];
/// The most ticks on an axis.
const MOST_TICKS: u64 = 8;
/// The fewest columns from tick to tick beyond a label.
const MARGIN: u64 = 3;

/// The instants with a tick, and their columns.
fn tick_columns(axis: &Axis) -> Vec<(u16, Timestamp)> {
    let span = axis.span().as_secs();
    let label = clock(axis.end()).len() as u64;
    let bin = axis.bin().as_nanos() as u64;
    let fits = |step: &u64| {
        let columns = step.saturating_mul(SECOND) / bin.max(1);
        step.saturating_mul(MOST_TICKS) >= span && columns >= label + MARGIN
    };
    let step = TICKS
        .into_iter()
        .find(fits)
        .unwrap_or_else(|| span.div_ceil(4).max(3600));
    let first = axis.start().0.div_ceil(step * SECOND);
    (first..)
        .map(|number| Timestamp(number.saturating_mul(step * SECOND)))
        .take_while(|at| *at <= axis.end())
        .take(usize::from(axis.columns()))
        .filter_map(|at| Some((axis.column(at)?, at)))
        .collect()
}

/// A label of the clock: `00:42`.
fn clock(at: Timestamp) -> String {
    units::clock(at.since(Timestamp::ZERO), false)
}

/// Draws the clock into the plot's part of a rule: times centred on their ticks, `now` at the end, and the time of
/// the crosshair. A time without room becomes a junction.
pub fn rule(view: &View<'_>, axis: &Axis, plot: Rect, buf: &mut Buffer) {
    let theme = view.theme;
    let end = if axis.end() == view.now {
        "now".to_owned()
    } else {
        clock(axis.end())
    };
    let width = plot.width.min(axis.columns());
    let mut taken: Vec<(u16, u16)> = Vec::new();
    let mut write = |column: u16, text: &str, margin: u16, style: Style, buf: &mut Buffer| {
        let cells = wrap::width(text) as u16;
        let from = column.saturating_sub(cells / 2).min(width.saturating_sub(cells));
        let to = from + cells;
        let free = taken
            .iter()
            .all(|(start, end)| to + margin <= *start || *end + margin <= from);
        if free && cells <= width {
            let style = Style::reset().patch(style);
            buf.set_string(plot.x + from, plot.y, text, style);
            taken.push((from, to));
        }
        free
    };
    if let Some(at) = view.ui.crosshair
        && let Some(column) = axis.column(at)
    {
        let text = format!(" {} ", clock(at));
        write(column, &text, 0, theme.style(Role::Title), buf);
    }
    write(width, &end, 0, theme.style(Role::Strong), buf);
    for (column, at) in tick_columns(axis) {
        let text = clock(at);
        // a label that would be cut at the left edge
        let cut = column < text.len() as u16 / 2;
        let free = !cut && write(column, &text, 1, theme.style(Role::Muted), buf);
        if !free {
            tick(view, column, plot, buf);
        }
    }
}

/// Marks the ticks of the axis on the rule of a further chart, where the rule is free.
pub fn ticks(view: &View<'_>, axis: &Axis, plot: Rect, buf: &mut Buffer) {
    for (column, _) in tick_columns(axis) {
        tick(view, column, plot, buf);
    }
}

fn tick(view: &View<'_>, column: u16, plot: Rect, buf: &mut Buffer) {
    let glyphs = view.theme.glyphs;
    let cell = buf
        .cell_mut((plot.x + column, plot.y))
        .filter(|_| column < plot.width);
    if let Some(cell) = cell
        && [glyphs.border[0], glyphs.heavy_rule].contains(&cell.symbol())
    {
        cell.set_symbol(glyphs.tees[3]);
    }
}

/// Draws the guides into the blank cells of a plot.
pub fn guides(view: &View<'_>, axis: &Axis, plot: Rect, buf: &mut Buffer) {
    let symbol = symbols(view.theme).guide;
    for column in axis.guides(view) {
        for y in plot.top()..plot.bottom() {
            let x = plot.x + column;
            if column < plot.width && buf.cell((x, y)).is_some_and(|cell| cell.symbol() == " ") {
                put(buf, x, y, symbol, view.theme.style(Role::Border));
            }
        }
    }
}

/// Draws the crosshair through a plot, over everything.
pub fn crosshair(view: &View<'_>, axis: &Axis, plot: Rect, buf: &mut Buffer) {
    let column = view.ui.crosshair.and_then(|at| axis.column(at));
    if let Some(column) = column.filter(|column| *column < plot.width) {
        let symbol = symbols(view.theme).crosshair;
        for y in plot.top()..plot.bottom() {
            put(buf, plot.x + column, y, symbol, view.theme.style(Role::Strong));
        }
    }
}
