//! Retries over time: do they help, or are they the load?
//!
//! ```text
//!  retries are 83 % of all tries and 0 % of them help: a retry storm.
//!  tries per call   now  6.0   peak  6.0 at 01:52   run  4.1
//!  No budget is kept (policy exercise): set retry.budget_ratio; o opens the breaker.
//!   20│      ▒▒▒▒▒▒▒▒▒                      · other   0
//!     │    ▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒                ...
//!   10│ ██▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒             ▒ 429   120
//!  0/s│ ███████████████████████████         █ first  60
//!     └-2m────────────-1m────────────now
//!  achieved, cost, budget
//!  tries per call            waits
//! ```
//!
//! The first lines are always there, so that nothing moves when a storm comes. What goes first where there is
//! little room: headline and load, chart, achieved and cost, budget, tries per call, waits. Everything is a
//! function of the seconds that the state keeps: nothing here looks at single events.

mod attempts;
mod chart;
mod facts;
mod waits;

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::text::Line;

use crate::tui::view::View;

use super::row;

/// From this width on tries and waits stand side by side.
const SIDE_BY_SIDE: u16 = 70;
/// Columns between them.
const GAP: u16 = 2;
/// Rows of the chart, its axis included, below which the rows under it give way.
const LEAST_CHART: u16 = 8;
/// Rows of the chart, its axis included, after which the waits grow.
const GOOD_CHART: u16 = 13;

/// Draws them.
pub fn render(view: &View<'_>, area: Rect, buf: &mut Buffer) {
    let area = area.intersection(buf.area);
    if area.is_empty() {
        return;
    }
    let width = usize::from(area.width);
    if view.state.retry.attempts == 0 {
        row::draw(&facts::nothing_yet(view, width), 0, area, buf);
        return;
    }
    let plan = Plan::of(area.width, area.height);
    let mut from_top = Rows(area);
    row::draw_all(&facts::head(view, width), from_top.take(plan.head), buf);
    chart::render(view, from_top.take(plan.chart), buf);
    let facts: Vec<Line<'static>> = facts::below(view, width);
    row::draw_all(&facts, from_top.take(plan.facts), buf);
    if area.width >= SIDE_BY_SIDE {
        let both = from_top.take(plan.tries.max(plan.waits));
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
        attempts::render(view, from_top.take(plan.tries), buf);
        waits::render(view, from_top.take(plan.waits), buf);
    }
}

/// The note in the border: tries for each call now.
pub fn title(view: &View<'_>, width: u16) -> String {
    let room = row::note_room(width);
    let Some(now) = view.state.retry.amplification_now(view.now) else {
        return String::new();
    };
    [format!("{now:.1} tries a call now"), format!("{now:.1} a call")]
        .into_iter()
        .find(|text| row::width(text) <= room)
        .unwrap_or_default()
}

/// How many rows each part gets: a function of the size alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Plan {
    head: u16,
    chart: u16,
    facts: u16,
    tries: u16,
    waits: u16,
}

impl Plan {
    fn of(width: u16, height: u16) -> Self {
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
        let tries = take(attempts::ROWS, attempts::LEAST_ROWS);
        let mut waits = if width >= SIDE_BY_SIDE { tries } else { 0 };
        chart += take(GOOD_CHART - (LEAST_CHART - 1), 1);
        facts += take(facts::MORE, 1);
        // what is left shows more waits; beside the tries it makes both longer
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
            tries,
            waits,
        }
    }
}

/// Hands out rows from the top down.
struct Rows(Rect);

impl Rows {
    fn take(&mut self, rows: u16) -> Rect {
        let rows = rows.min(self.0.height);
        let taken = Rect {
            height: rows,
            ..self.0
        };
        self.0.y += rows;
        self.0.height -= rows;
        taken
    }
}

#[cfg(test)]
mod tests;
