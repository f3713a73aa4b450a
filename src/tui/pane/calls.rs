//! The Calls pane: one row per call, newest first, each with its lane on the wall clock.
//!
//! ```text
//! ━ 8 Calls  wall clock ━━━━━━━┼━━━━━━━━━━━━━┼━━ ─ waits  ━ streams  · backs off  ┄ queued ━━━━━ 236 calls, newest first ━
//! ›#217–236 ⊘ 11 ◇ 9           │                ┊                          ◇⊘ ◇⊘⊘◇◇⊘⊘
//!  #216     ✗ failed   1×  28ms│                ┊                         RST✗
//!  #190     ✓ answered +3  1.4s│                ┊             ─━━━✓
//! ```
//!
//! - The lanes share the time axis of the charts up to 30 s. Beyond it they keep 30 s and a clock on their own rule.
//! - With a crosshair the pane shows the calls that ran at that time.
//! - Rows are sorted by id, so no row moves while calls run. Only visible rows are computed.
//! - On the whole screen the gutter has more columns, and a row with their heads.

mod columns;
mod rows;

use std::time::Duration;

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::text::Line;

use crate::event::CallId;
use crate::state::Call;
use crate::time::Timestamp;
use crate::tui::layout::Areas;
use crate::tui::pane::{self, NO_MATCH, PaneId};
use crate::tui::plot::{self, Axis, Frame, Window};
use crate::tui::theme::Role;
use crate::tui::view::View;

use super::{chart, row, timeline, units};
use columns::Columns;
use rows::Rows;
use timeline::Scale;

/// The time that the lanes cover while the charts cover more.
const SPAN: Duration = Duration::from_secs(30);
/// Columns of the rule that stay free between the legend and the note, and in front of the legend.
const MARGIN: u16 = 5;
/// Columns of a plot from which the rule has a note that only says what is usual.
const WIDE: u16 = 80;

/// Draws the calls, and the rule above them.
pub(crate) fn render(view: &View<'_>, area: Rect, buf: &mut Buffer) {
    let area = area.intersection(buf.area);
    if area.is_empty() {
        return;
    }
    let areas = chart::areas(view);
    let frame = Frame::new(area, areas.gutter);
    let lanes = Lanes::new(view, &areas, frame.plot.width);
    let rows = rows(view);
    if view.state.calls.recent.is_empty() {
        lanes.rule(view, frame, false, buf);
        row::draw(&row::muted(view.theme, " no calls yet"), 0, frame.gutter, buf);
        return;
    }
    let columns = Columns::new(&view.state.calls, frame.gutter.width, areas.zoomed);
    let heads = u16::from(areas.zoomed && area.height > 2);
    if heads > 0 {
        row::draw(&columns.heads(view.theme), 0, frame.gutter, buf);
        row::draw(&legend(view), 0, frame.plot, buf);
    }
    let body = frame.rows(heads, area.height - heads);
    let cursor = cursor(view, &rows);
    let visible = rows.visible(cursor, usize::from(body.plot.height));
    lanes.rule(view, frame, visible.newer, buf);
    if visible.rows.is_empty() {
        let nothing = if view.ui.filter_text(PaneId::Calls).is_some() {
            NO_MATCH
        } else {
            "No call ran at this time"
        };
        let plot = body.plot;
        let at = Rect {
            x: plot.x.saturating_add(1).min(plot.right()),
            width: plot.width.saturating_sub(1),
            ..plot
        };
        view.draw_notice(at, nothing, buf);
        return;
    }
    let followers = rows.followers(&visible.rows);
    for (index, shown) in visible.rows.iter().enumerate() {
        let at = body.rows(index as u16, 1);
        let selected = visible.cursor == Some(index);
        let sharing = shown.newest().and_then(|call| followers.get(&call.id)).copied();
        let text = columns.row(view, shown, selected, sharing.unwrap_or(0));
        row::draw(&text, 0, at.gutter, buf);
        match shown.calls.as_slice() {
            [call] => timeline::draw(view, call, &lanes.scale(call), at.plot, buf),
            group => lanes.group(view, group, at.plot, buf),
        }
    }
    lanes.lines(view, body.plot, buf);
}

/// The rows of a view.
pub(crate) fn rows<'a>(view: &View<'a>) -> Rows<'a> {
    let ran = view.ui.crosshair.map(|at| {
        let axis = Axis::new(view, chart::areas(view).plot_columns().max(1));
        let from = axis.column(at).map_or(at, |column| axis.at(column));
        (from, from + axis.bin())
    });
    Rows::new(view, ran)
}

/// The call under the cursor: that of the selected row, or the newest while the pane has the focus.
fn cursor(view: &View<'_>, rows: &Rows<'_>) -> Option<CallId> {
    match view.ui.selected_call {
        Some(chosen) => rows.row_of(chosen),
        None if view.ui.focus == PaneId::Calls => rows.newest().and_then(|newest| rows.row_of(newest)),
        None => None,
    }
}

/// The call that keys refer to: the newest one of the row under the cursor.
pub(crate) fn call_under_cursor(view: &View<'_>) -> Option<CallId> {
    let rows = rows(view);
    let chosen = view.ui.selected_call.or_else(|| rows.newest())?;
    rows.row_of(chosen)
}

/// The newest call of the row at `y` of the screen, in a pane with this content area.
pub(crate) fn call_at(view: &View<'_>, area: Rect, y: u16) -> Option<CallId> {
    let areas = chart::areas(view);
    let zoomed = areas.zoomed && areas.focus == PaneId::Calls;
    let heads = u16::from(zoomed && area.height > 2);
    let rows = rows(view);
    let visible = rows.visible(
        cursor(view, &rows),
        usize::from(area.height - heads.min(area.height)),
    );
    let row = y.checked_sub(area.y + heads)?;
    visible.rows.get(usize::from(row))?.newest().map(|call| call.id)
}

/// The selected call after moving by rows, down if positive; `None`: follows the newest.
pub(crate) fn moved(view: &View<'_>, by: i64) -> Option<CallId> {
    let rows = rows(view);
    let newest = rows.newest()?;
    let target = rows.moved(view.ui.selected_call.unwrap_or(newest), by)?;
    (Some(target) != rows.row_of(newest)).then_some(target)
}

/// The group under the cursor, newest first; fewer than two calls without a group.
pub(crate) fn group_under_cursor<'a>(view: &View<'a>) -> Vec<&'a Call> {
    let rows = rows(view);
    let chosen = view.ui.selected_call.or_else(|| rows.newest());
    chosen
        .and_then(|id| rows.row_of(id))
        .map_or_else(Vec::new, |id| rows.group_of(id))
}

/// Returns true if several calls share the row under the cursor.
pub(crate) fn shares_row(view: &View<'_>) -> bool {
    let rows = rows(view);
    let chosen = view.ui.selected_call.or_else(|| rows.newest());
    chosen.is_some_and(|id| rows.shares_row(id))
}

/// The number of calls that match the filter, and of those in memory.
pub(crate) fn matches(view: &View<'_>) -> (usize, usize) {
    (rows(view).count(), view.state.calls.recent.len())
}

/// The right end of the note on the rule of the pane, which ends at `right`.
pub(crate) fn note_end(view: &View<'_>, areas: &Areas, right: u16) -> u16 {
    let own_clock = !follows_charts(view, areas) && !view.ui.align_calls;
    right.saturating_sub(if own_clock { 2 * MARGIN } else { 0 } + 1)
}

/// Returns true if the clock of the charts above is that of the lanes.
fn follows_charts(view: &View<'_>, areas: &Areas) -> bool {
    view.ui.window == Window::HalfMinute && !areas.zoomed && !view.ui.align_calls
}

/// The note on the rule, and true if it only says what is usual; `None` without calls, and with a crosshair.
fn note(view: &View<'_>, newer: bool) -> Option<(String, bool)> {
    let calls = &view.state.calls;
    let (kept, all) = (calls.recent.len(), calls.totals.started);
    if newer {
        return Some(("newer calls above, End follows".to_owned(), false));
    }
    if view.ui.crosshair.is_some() || all == 0 {
        return None;
    }
    if (kept as u64) < all {
        return Some((format!("newest {kept} of {}", units::grouped(all)), false));
    }
    Some((format!("{}, newest first", units::count(all, "call")), true))
}

/// The columns of the lanes.
struct Lanes {
    axis: Axis,
    /// Time per column from the start of each call, if lanes begin there.
    own_start: Option<Duration>,
    /// True if the clock is on the rule of another chart.
    shared: bool,
}

impl Lanes {
    fn new(view: &View<'_>, areas: &Areas, columns: u16) -> Self {
        let ui = view.ui;
        let axis = match ui.crosshair {
            _ if ui.window == Window::HalfMinute => Axis::new(view, columns),
            // the crosshair is in the middle, as far as the recording goes
            Some(at) => Axis::ending((at + SPAN / 2).min(view.now), SPAN, columns),
            None => Axis::ending(view.now, SPAN, columns),
        };
        Self {
            axis,
            own_start: ui
                .align_calls
                .then(|| timeline::step(&view.state.calls, view.now, columns)),
            shared: follows_charts(view, areas),
        }
    }

    /// The scale of a call's lane.
    fn scale(&self, call: &Call) -> Scale {
        match self.own_start {
            Some(step) => Scale::from_start(call.started_at, step, self.axis.columns()),
            None => Scale::from_axis(&self.axis),
        }
    }

    /// Draws a group: a mark at each time.
    fn group(&self, view: &View<'_>, group: &[&Call], area: Rect, buf: &mut Buffer) {
        if self.own_start.is_none() {
            timeline::draw_marks(view.theme, group, &Scale::from_axis(&self.axis), area, buf);
        }
    }

    /// Completes the rule above the pane: subtitle, clock, legend and note.
    fn rule(&self, view: &View<'_>, frame: Frame, newer: bool, buf: &mut Buffer) {
        let glyphs = view.theme.glyphs;
        let plot = Rect {
            y: frame.plot.y.saturating_sub(1),
            height: 1,
            ..frame.plot
        };
        let end = plot.right().saturating_sub(1);
        let rule = buf.cell((end, plot.y)).map(ratatui::buffer::Cell::symbol);
        if rule.is_none_or(|rule| rule != glyphs.border[0] && rule != glyphs.heavy_rule) {
            return;
        }
        let subtitle = match (view.ui.crosshair, self.own_start) {
            (_, Some(_)) => "own start".to_owned(),
            (Some(at), None) => format!("around {}", units::clock(at.since(Timestamp::ZERO), false)),
            (None, None) if self.shared => "wall clock".to_owned(),
            (None, None) => "last 30 s".to_owned(),
        };
        let title = row::width(PaneId::Calls.name()) as u16 + 5;
        if usize::from(title) + subtitle.len() + 2 <= usize::from(frame.gutter.width) {
            let subtitle = row::muted(view.theme, format!(" {subtitle} "));
            pane::write_on_rule(&subtitle, frame.gutter.x + title, plot.y, frame.gutter.width, buf);
        }
        if let Some(step) = self.own_start {
            for (column, label) in timeline::ruler(step, plot.width) {
                let label = row::muted(view.theme, label);
                pane::write_on_rule(&label, plot.x + column, plot.y, plot.width, buf);
            }
        } else if self.shared {
            plot::ticks(view, &self.axis, plot, buf);
        } else {
            plot::rule(view, &self.axis, plot, buf);
        }
        let right = note_end(view, &chart::areas(view), plot.right());
        let room = right.saturating_sub(plot.x);
        let note = pane::filter_note(view, PaneId::Calls, usize::from(room)).or_else(|| {
            let (text, usual) = note(view, newer)?;
            let shown = !usual || (plot.width >= WIDE && self.own_start.is_none());
            shown.then(|| row::muted(view.theme, format!(" {text} ")))
        });
        let Some(note) = note.filter(|note| note.width() <= usize::from(room)) else {
            return;
        };
        let at = right - note.width() as u16;
        pane::write_on_rule(&note, at, plot.y, room, buf);
        let legend = legend(view);
        let cells = legend.width() as u16;
        if self.shared && at >= plot.x + cells + 3 * MARGIN {
            pane::write_on_rule(&legend, at - MARGIN - cells, plot.y, cells, buf);
        }
    }

    /// Draws guides and crosshair between the lanes.
    fn lines(&self, view: &View<'_>, plot: Rect, buf: &mut Buffer) {
        if self.own_start.is_some() {
            return;
        }
        plot::guides(view, &self.axis, plot, buf);
        let Some(column) = view.ui.crosshair.and_then(|at| self.axis.column(at)) else {
            return;
        };
        let glyphs = view.theme.glyphs;
        let symbols = plot::symbols(view.theme);
        // codes and outcomes stay legible
        let covered = [
            " ",
            symbols.guide,
            glyphs.timeline_queue,
            glyphs.timeline_wait,
            glyphs.timeline_stream,
            glyphs.timeline_backoff,
            glyphs.timeline_follow,
        ];
        let x = plot.x + column;
        for y in plot.top()..plot.bottom() {
            let symbol = buf.cell((x, y)).map(ratatui::buffer::Cell::symbol);
            if column < plot.width && symbol.is_some_and(|symbol| covered.contains(&symbol)) {
                plot::put(buf, x, y, symbols.crosshair, view.theme.style(Role::Strong));
            }
        }
    }
}

/// `─ waits  ━ streams  · backs off  ┄ queued`.
fn legend(view: &View<'_>) -> Line<'static> {
    let glyphs = view.theme.glyphs;
    let pairs = [
        (glyphs.timeline_wait, "waits"),
        (glyphs.timeline_stream, "streams"),
        (glyphs.timeline_backoff, "backs off"),
        (glyphs.timeline_queue, "queued"),
    ];
    let text: Vec<String> = pairs
        .iter()
        .map(|(glyph, word)| format!("{glyph} {word}"))
        .collect();
    row::muted(view.theme, format!(" {} ", text.join("  ")))
}

#[cfg(test)]
mod tests;
