//! Charts on one time axis: the window, its columns, scales, and the shapes drawn in them.
//!
//! ```text
//!  gutter: legend and y axis    │ plot: one column per bin of window/columns
//!  ─ 6 Traffic ─────────────────┬──────00:20──────────┼──now      clock
//!  faults                       │      ╱╱ outage 75% ╱╱╱╱╱╱      strip
//!                           12/s┤          ┊                      guides
//!  ░ first attempt        50   0┤░░░░░░░░░░▓▓▓                    bars, dots
//! ```
//!
//! - Bins are counted from time 0, so that a bin never changes once it is over.
//! - A gap is not zero: a bin without data (`None`) stays blank.
//! - The parts of a stack that exist are never rounded away.
//!
//! Everything here is a function of its arguments; the panes read the state and pass series of values.

pub mod bars;
mod clock;
mod columns;
pub mod dots;
mod scale;
pub mod strip;

use std::time::Duration;

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Style;

pub use clock::{crosshair, guides, rule, ticks};
pub use columns::Columns;
pub use scale::{Unit, levels, number as rate, scale};

use super::theme::{Role, Theme};
use super::view::View;
use crate::event::BreakerState;
use crate::state::MarkKind;
use crate::time::{Timestamp, saturating_nanos};

/// The time that the charts cover.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Window {
    /// The last 30 seconds.
    #[default]
    HalfMinute,
    /// The last two minutes.
    TwoMinutes,
    /// The last ten minutes.
    TenMinutes,
    /// Everything since the start.
    All,
}

/// One second.
pub const SECOND: u64 = 1_000_000_000;
/// Lengths of [`Window::All`] in seconds, up to an hour; beyond, it doubles.
const ALL_STEPS: [u64; 11] = [30, 45, 60, 90, 120, 180, 300, 600, 1200, 1800, 3600];

impl Window {
    /// Every window, the shortest first.
    pub const ALL: [Self; 4] = [Self::HalfMinute, Self::TwoMinutes, Self::TenMinutes, Self::All];

    /// The next longer window; after the longest the shortest.
    #[must_use]
    pub fn longer(self) -> Self {
        Self::ALL[(self as usize + 1) % Self::ALL.len()]
    }

    /// The next shorter window; after the shortest the longest.
    #[must_use]
    pub fn shorter(self) -> Self {
        Self::ALL[(self as usize + Self::ALL.len() - 1) % Self::ALL.len()]
    }

    /// The label: `last 30 s`, `since start`.
    pub fn label(self) -> &'static str {
        match self {
            Self::HalfMinute => "last 30 s",
            Self::TwoMinutes => "last 2 m",
            Self::TenMinutes => "last 10 m",
            Self::All => "since start",
        }
    }

    /// The length at `now`. That of [`Window::All`] grows in steps, so that the axis rarely changes.
    pub fn span(self, now: Timestamp) -> Duration {
        let seconds = match self {
            Self::HalfMinute => 30,
            Self::TwoMinutes => 120,
            Self::TenMinutes => 600,
            Self::All => {
                let age = now.0.div_ceil(SECOND);
                let step = ALL_STEPS.into_iter().find(|step| *step >= age);
                step.unwrap_or_else(|| age.div_ceil(3600).checked_next_power_of_two().unwrap_or(1) * 3600)
            }
        };
        Duration::from_secs(seconds)
    }
}

/// The columns of the shared time axis: bins of equal length, the last of which contains the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Axis {
    span: Duration,
    /// Length of a bin in nanoseconds, at least 1.
    bin: u64,
    columns: u16,
    /// Number of the last bin since time 0.
    last: u64,
    end: Timestamp,
}

impl Axis {
    /// The axis of the view's window in `columns` columns.
    pub fn new(view: &View<'_>, columns: u16) -> Self {
        Self::ending(view.now, view.ui.window.span(view.now), columns)
    }

    /// An axis of `span` that contains `end` in the last of `columns` columns.
    pub fn ending(end: Timestamp, span: Duration, columns: u16) -> Self {
        let bin = (saturating_nanos(span) / u64::from(columns.max(1))).max(1);
        Self {
            span,
            bin,
            columns,
            last: end.0 / bin,
            end,
        }
    }

    /// The length of a column's bin.
    pub fn bin(&self) -> Duration {
        Duration::from_nanos(self.bin)
    }

    /// The number of columns.
    pub fn columns(&self) -> u16 {
        self.columns
    }

    /// The time that all columns cover.
    pub fn span(&self) -> Duration {
        self.span
    }

    /// The instant at the right edge, inside the last bin.
    pub fn end(&self) -> Timestamp {
        self.end
    }

    /// The start of the first column.
    pub fn start(&self) -> Timestamp {
        self.at(0)
    }

    /// The column of an instant; `None` outside.
    pub fn column(&self, at: Timestamp) -> Option<u16> {
        let back = self.last.checked_sub(at.0 / self.bin)?;
        u64::from(self.columns)
            .checked_sub(back + 1)
            .map(|column| column as u16)
    }

    /// The start of a column's bin; 0 for bins before the start.
    pub fn at(&self, column: u16) -> Timestamp {
        let index = (self.last + 1 + u64::from(column)).saturating_sub(u64::from(self.columns));
        Timestamp(index.saturating_mul(self.bin))
    }

    /// The middle of a column's bin, at most the end: not at the edge of a second, whatever the length of a bin.
    pub fn middle(&self, column: u16) -> Timestamp {
        (self.at(column) + self.bin() / 2).min(self.end)
    }

    /// Returns true if a column's bin lies before time 0.
    pub fn is_before_start(&self, column: u16) -> bool {
        self.last + 1 + u64::from(column) < u64::from(self.columns)
    }

    /// First and last column of a time that overlaps the axis; at least one column.
    pub fn columns_of(&self, from: Timestamp, to: Timestamp) -> Option<(u16, u16)> {
        let last = self.columns.checked_sub(1)?;
        // the end of a time is not part of it
        let to = Timestamp(to.0.saturating_sub(1)).max(from);
        if to < self.start() || from.0 / self.bin > self.last {
            return None;
        }
        Some((self.column(from).unwrap_or(0), self.column(to).unwrap_or(last)))
    }

    /// The columns with a change of breaker or faults: the breaker opens, and closes again; faults go on and off; the
    /// load or the policy changes.
    pub fn guides(&self, view: &View<'_>) -> Vec<u16> {
        let timeline = &view.state.timeline;
        let marks = timeline
            .marks()
            .filter(|mark| mark.kind != MarkKind::Burst)
            .map(|mark| mark.at);
        let mut columns: Vec<u16> = outages(view)
            .into_iter()
            .chain(timeline.faults().map(|span| (span.from, span.to)))
            .flat_map(|(from, to)| [Some(from), to])
            .flatten()
            .chain(marks)
            .filter_map(|at| self.column(at))
            .collect();
        columns.sort_unstable();
        columns.dedup();
        columns
    }
}

/// The times that the breaker was not closed: from opening to closing, `None` for the last one if it has not closed.
fn outages(view: &View<'_>) -> Vec<(Timestamp, Option<Timestamp>)> {
    let breaker = view.state.breaker();
    let spells = breaker.history.iter().map(|spell| (spell.state, spell.from));
    let mut outages: Vec<(Timestamp, Option<Timestamp>)> = Vec::new();
    for (state, from) in spells.chain([(breaker.state, breaker.since)]) {
        let open = outages.last_mut().filter(|(_, to)| to.is_none());
        match (state, open) {
            (BreakerState::Closed, Some((_, to))) => *to = Some(from),
            (BreakerState::Open | BreakerState::HalfOpen, None) => outages.push((from, None)),
            _ => {}
        }
    }
    outages
}

/// The plot and the gutter left of it; between them is one column with the axis.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame {
    /// Legend and labels.
    pub gutter: Rect,
    /// The column of the axis.
    pub axis: Rect,
    /// The chart.
    pub plot: Rect,
}

impl Frame {
    /// Splits an area behind `gutter` columns.
    pub fn new(area: Rect, gutter: u16) -> Self {
        let gutter = gutter.min(area.width);
        let line = u16::from(gutter < area.width);
        Self {
            gutter: Rect {
                width: gutter,
                ..area
            },
            axis: Rect {
                x: area.x + gutter,
                width: line,
                ..area
            },
            plot: Rect {
                x: area.x + gutter + line,
                width: area.width - gutter - line,
                ..area
            },
        }
    }

    /// The frame of some of its rows.
    #[must_use]
    pub fn rows(&self, from: u16, count: u16) -> Self {
        let cut = |rect: Rect| {
            let from = from.min(rect.height);
            Rect {
                y: rect.y + from,
                height: count.min(rect.height - from),
                ..rect
            }
        };
        Self {
            gutter: cut(self.gutter),
            axis: cut(self.axis),
            plot: cut(self.plot),
        }
    }

    /// Writes a label of the y axis right-aligned at a row, with its tick.
    pub fn label(&self, theme: &Theme, row: u16, text: &str, buf: &mut Buffer) {
        if row >= self.axis.height || self.axis.width == 0 {
            return;
        }
        let y = self.axis.y + row;
        let width = super::wrap::width(text) as u16;
        if width < self.gutter.width {
            let x = self.gutter.right() - width;
            buf.set_string(x, y, text, theme.style(Role::Muted));
        }
        if !text.is_empty() {
            put(
                buf,
                self.axis.x,
                y,
                theme.glyphs.tees[1],
                theme.style(Role::Border),
            );
        }
    }

    /// Writes the labels of a scale: its end in the first row, its middle if a row shows it, and 0 in the last.
    pub fn labels(&self, theme: &Theme, unit: Unit, top: f64, buf: &mut Buffer) {
        let rows = self.axis.height;
        for (row, value) in levels(rows, top) {
            self.label(theme, row, &unit.label(value, top), buf);
        }
    }
}

/// The symbols of charts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Symbols {
    /// A guide.
    pub guide: &'static str,
    /// The crosshair.
    pub crosshair: &'static str,
    /// Injected faults.
    pub faults: &'static str,
    /// A closed breaker.
    pub closed: &'static str,
    /// An open breaker.
    pub open: &'static str,
    /// A half-open breaker.
    pub half_open: &'static str,
    /// A level that something is compared with.
    pub level: &'static str,
}

/// The symbols of a theme.
pub fn symbols(theme: &Theme) -> Symbols {
    if theme.is_ascii() {
        Symbols {
            guide: ":",
            crosshair: "|",
            faults: "/",
            closed: "-",
            open: "#",
            half_open: "?",
            level: ".",
        }
    } else {
        Symbols {
            guide: "┊",
            crosshair: "┃",
            faults: "╱",
            closed: "─",
            open: "█",
            half_open: "▒",
            level: "┄",
        }
    }
}

/// The style of a fill: the colour of a role without bold, which would change the colour in some terminals.
pub fn fill_style(theme: &Theme, role: Role) -> Style {
    theme
        .style(role)
        .fg
        .map_or(Style::new(), |colour| Style::new().fg(colour))
}

/// Replaces one cell.
pub fn put(buf: &mut Buffer, x: u16, y: u16, symbol: &str, style: Style) {
    if let Some(cell) = buf.cell_mut((x, y)) {
        cell.set_symbol(symbol).set_style(Style::reset().patch(style));
    }
}

#[cfg(test)]
mod tests;
