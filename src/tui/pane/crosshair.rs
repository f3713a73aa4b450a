//! The values at the crosshair, in one row below the calls.

use ratatui::buffer::Buffer;
use ratatui::text::Line;
use ratatui::widgets::{Clear, Widget};

use crate::event::Fate;
use crate::state::{RetryCause, Slot};
use crate::text::units;
use crate::time::Timestamp;
use crate::tui::layout::Areas;
use crate::tui::plot::{Axis, Columns, rate};
use crate::tui::theme::Role;
use crate::tui::view::View;

use super::row;

/// Draws the row, if an instant is selected that the axis shows.
pub(crate) fn render(view: &View<'_>, areas: &Areas, buf: &mut Buffer) {
    let area = areas.crosshair.intersection(buf.area);
    let Some(at) = view.ui.crosshair.filter(|_| !area.is_empty()) else {
        return;
    };
    Clear.render(area, buf);
    let theme = view.theme;
    let width = usize::from(area.width);
    let axis = Axis::new(view, areas.plot_columns());
    let columns = Columns::new(&view.state.timeline, &axis);
    let slot = axis.column(at).and_then(|column| columns.get(column));
    let clock = units::clock(at.since(Timestamp::ZERO), false);
    let mut pieces = vec![Line::from(row::piece(
        theme,
        Role::Strong,
        format!(" at {clock}"),
    ))];
    match slot {
        Some(slot) => pieces.extend(values(slot).into_iter().map(Line::from)),
        None => pieces.push(row::muted(theme, "  no data")),
    }
    let running = view
        .state
        .calls
        .recent
        .values()
        .filter(|call| call.started_at <= at && call.ended_at.is_none_or(|ended| at <= ended));
    let count = running.count() as u64;
    if count > 0 {
        pieces.push(Line::from(format!("   {} running", units::count(count, "call"))));
    }
    let keys = row::muted(theme, "h l move  Esc now ");
    let left = row::join(theme, pieces, width.saturating_sub(keys.width() + 2));
    row::draw(&row::apart(left, keys, 2, width), 0, area, buf);
}

/// The values of a column, the most important first.
fn values(slot: &Slot) -> [String; 3] {
    let seconds = f64::from(slot.seconds.max(1));
    let per_second = |count: u32| rate(f64::from(count) / seconds);
    let retried = slot.retried();
    let most = RetryCause::ALL
        .into_iter()
        .max_by_key(|cause| slot.retries[*cause as usize]);
    let cause = most
        .filter(|_| retried > 0)
        .map_or_else(String::new, |cause| format!(" ({})", words(cause)));
    let failed = slot
        .ended(Fate::Failed)
        .saturating_add(slot.ended(Fate::Interrupted));
    [
        format!(
            "  {} attempts/s: {} first, {} retried{cause}",
            per_second(slot.attempts()),
            per_second(slot.first),
            per_second(retried)
        ),
        format!("   {} in flight", slot.in_flight),
        format!("   {} answered, {failed} failed", slot.ended(Fate::Answered)),
    ]
}

fn words(cause: RetryCause) -> &'static str {
    match cause {
        RetryCause::RateLimited => "rate limited",
        RetryCause::Server => "server error",
        RetryCause::Timeout => "timed out",
        RetryCause::Connection => "no connection",
        RetryCause::Stream => "stream cut",
        RetryCause::Other => "other",
    }
}
