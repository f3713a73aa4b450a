//! The window of the charts and their crosshair.

use ratatui::layout::Position;

use super::{Effect, Performed, UpdateContext, areas};
use crate::time::Timestamp;
use crate::tui::action::Action;
use crate::tui::pane::PaneId;
use crate::tui::plot::Axis;
use crate::tui::ui::Ui;

/// Performs an action on the charts.
pub(super) fn perform(ui: &mut Ui, context: &UpdateContext<'_>, action: Action) {
    match action {
        Action::LongerWindow => ui.window = ui.window.longer(),
        Action::ShorterWindow => ui.window = ui.window.shorter(),
        Action::CrosshairLeft => move_crosshair(ui, context, false),
        Action::CrosshairRight => move_crosshair(ui, context, true),
        _ => {}
    }
}

/// The axis of the charts on the screen.
fn axis(ui: &Ui, shown_at: Timestamp) -> Axis {
    Axis::ending(shown_at, ui.window.span(shown_at), areas(ui).plot_columns())
}

/// Moves the crosshair by a column; beyond the last one it returns to now.
fn move_crosshair(ui: &mut Ui, context: &UpdateContext<'_>, forward: bool) {
    let axis = axis(ui, context.shown_at);
    let columns = axis.columns();
    let column = ui.crosshair.and_then(|at| axis.column(at)).unwrap_or(columns);
    let next = if forward {
        column.saturating_add(1)
    } else {
        column.saturating_sub(1)
    };
    if next >= columns {
        ui.crosshair = None;
    } else if !axis.is_before_start(next) {
        ui.crosshair = Some(axis.middle(next));
    }
}

/// Sets the crosshair where a chart was clicked, and pauses a live view.
pub(super) fn click(ui: &mut Ui, context: &UpdateContext<'_>, position: Position) -> Performed {
    let Some((pane, at)) = instant(ui, context, position) else {
        return Performed::NotHandled;
    };
    ui.focus_on(pane);
    ui.crosshair = Some(at);
    let live = ui.paused.is_none() && ui.playback.is_none();
    Performed::Done(live.then_some(Effect::Pause))
}

/// The chart at a position, and the instant that its column shows.
fn instant(ui: &Ui, context: &UpdateContext<'_>, position: Position) -> Option<(PaneId, Timestamp)> {
    if context.shown.calls.totals.started == 0 {
        // the first screen has no charts
        return None;
    }
    let areas = areas(ui);
    let pane = areas
        .at(position)
        .filter(|pane| areas.has_chart(*pane, position))?;
    let limiter = areas.limiter_chart.filter(|rect| rect.contains(position));
    let area = limiter.or(areas.pane(pane))?;
    let column = position.x.checked_sub(area.x + areas.gutter + 1)?;
    let axis = axis(ui, context.shown_at);
    let inside = column < axis.columns() && !axis.is_before_start(column);
    inside.then(|| (pane, axis.middle(column)))
}
