//! The Retries pane: whether retries help or cause the load.
//!
//! ```text
//!  headline: retries help, or a retry storm
//!  attempts per call  now  6.0  peak  6.0 at 01:52  mean  4.1
//!  advice in a storm
//!   20│      ▒▒▒▒▒▒▒▒▒                      · other   0
//!     │    ▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒                ...
//!   10│ ██▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒             ▒ 429   120
//!  0/s│ ███████████████████████████         █ first  60
//!     └-2m────────────-1m────────────now
//!  recovered, cost, budget
//!  attempts per call         back-offs
//! ```
//!
//! The first three lines always have their rows, so that nothing moves when a storm begins. With little room the
//! parts are kept in this order: headline and load, chart, recovered and cost, budget, attempts per call,
//! back-offs. The pane reads only the seconds that the state keeps, no single events.

mod attempts;
mod chart;
mod facts;
mod waits;

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;

use crate::tui::view::View;

use super::row;
use crate::tui::layout::Rows;

/// Width from which attempts and back-offs are side by side.
const SIDE_BY_SIDE: u16 = 70;
/// Columns between them.
const GAP: u16 = 2;
/// Rows of the chart with its axis that take precedence over the rows below.
const LEAST_CHART: u16 = 8;
/// Rows of the chart with its axis that take precedence over more back-offs.
const GOOD_CHART: u16 = 13;

/// Draws the pane.
pub(crate) fn render(view: &View<'_>, area: Rect, buf: &mut Buffer) {
    let area = area.intersection(buf.area);
    if area.is_empty() {
        return;
    }
    let width = usize::from(area.width);
    if view.state.retry.attempts == 0 {
        row::draw(&facts::no_calls(view, width), 0, area, buf);
        return;
    }
    let plan = Plan::for_size(area.width, area.height);
    let mut rows = Rows::new(area);
    row::draw_all(&facts::head(view, width), rows.top(plan.head), buf);
    chart::render(view, rows.top(plan.chart), buf);
    row::draw_all(&facts::below(view, width), rows.top(plan.facts), buf);
    if area.width >= SIDE_BY_SIDE {
        let both = rows.top(plan.attempts.max(plan.waits));
        let half = (both.width - GAP) / 2;
        let left = Rect { width: half, ..both };
        let right = Rect {
            x: both.x + half + GAP,
            width: both.width - half - GAP,
            ..both
        };
        attempts::render(view, left, buf);
        waits::render(view, right, buf);
    } else {
        attempts::render(view, rows.top(plan.attempts), buf);
        waits::render(view, rows.top(plan.waits), buf);
    }
}

/// The present attempts per call, for a border of a pane with `width` columns of content.
pub(crate) fn title(view: &View<'_>, width: u16) -> String {
    let room = row::note_room(width);
    let Some(now) = view.state.attempts_per_call(view.now) else {
        return String::new();
    };
    [
        format!("now {now:.1} attempts per call"),
        format!("{now:.1} per call"),
    ]
    .into_iter()
    .find(|text| row::width(text) <= room)
    .unwrap_or_default()
}

/// The rows of each part: a function of the size alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Plan {
    head: u16,
    chart: u16,
    facts: u16,
    attempts: u16,
    waits: u16,
}

impl Plan {
    fn for_size(width: u16, height: u16) -> Self {
        let mut left = height;
        let mut take = |wanted: u16, least: u16| {
            let taken = if left >= least { wanted.min(left) } else { 0 };
            left -= taken;
            taken
        };
        let mut head = take(2, 1);
        let mut chart = take(LEAST_CHART - 1, 3);
        let mut facts = take(facts::BELOW, 1);
        head += take(1, 1);
        let attempts = take(attempts::ROWS, attempts::LEAST_ROWS);
        let mut waits = if width >= SIDE_BY_SIDE { attempts } else { 0 };
        chart += take(GOOD_CHART - (LEAST_CHART - 1), 1);
        facts += take(facts::MORE, 1);
        // the rest shows more back-offs, or makes both longer side by side
        let more = if width >= SIDE_BY_SIDE {
            take(8, 1)
        } else {
            take(12, 3)
        };
        waits += more;
        chart += take(10, 1);
        Self {
            head,
            chart,
            facts,
            attempts,
            waits,
        }
    }
}

#[cfg(test)]
mod tests;
