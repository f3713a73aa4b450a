//! The Latency pane: percentiles of answered calls over time, and a mark for each failed one.
//!
//! The upper edge of the band is the 95th percentile, the lower edge the median; each point covers the time before
//! it that [`Columns::cover`](crate::tui::plot::Columns::cover) states. Calls that failed, or that the cache or
//! another call answered, are not in it. Without an answer there is no point.

mod stages;

use std::time::Duration;

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::text::Line;

use crate::event::Fate;
use crate::state::Slot;
use crate::text::units;
use crate::tui::plot::dots::{self, Look, Series};
use crate::tui::plot::{self, Frame, Unit, scale};
use crate::tui::theme::Role;
use crate::tui::view::View;

use super::PaneId;
use super::chart::{self, Chart};
use super::row;

/// The smallest end of the scale, in seconds.
const LEAST: f64 = 0.1;
/// An answer older than this is stated.
const RECENT: Duration = Duration::from_secs(3);
/// Columns of the gutter from which a fact takes one row.
const WIDE: u16 = 29;
/// Rows from which the whole screen shows stages, a histogram and the slowest calls.
const ROOM_FOR_STAGES: u16 = 24;

/// Draws the chart; on the whole screen also the parts of `stages`.
pub(crate) fn render(view: &View<'_>, area: Rect, buf: &mut Buffer) {
    let zoomed = chart::is_zoomed(view, PaneId::Latency);
    let area = area.intersection(buf.area);
    if area.is_empty() {
        return;
    }
    let mut chart = Chart::new(view, area);
    if zoomed {
        chart.strips(2, buf);
    }
    let height = chart.frame.plot.height;
    let staged = zoomed && height >= ROOM_FOR_STAGES;
    let frame = chart.take(if staged { height * 2 / 5 } else { height });
    draw(&chart, frame, zoomed, buf);
    if staged {
        stages::render(view, &chart, buf);
    }
}

/// Draws the band, and the row of failures below it.
fn draw(chart: &Chart<'_>, frame: Frame, zoomed: bool, buf: &mut Buffer) {
    let theme = chart.view.theme;
    let height = frame.plot.height;
    let marks = u16::from(height > 2);
    let band = frame.rows(0, height - marks);
    let (values, before) = chart.columns.quantiles(0.5, 0.95);
    let most = values.iter().flatten().map(|(_, high)| *high).fold(0.0, f64::max);
    let top = scale(most, before, LEAST);
    let series = Series {
        values,
        look: Look::Band,
        role: Role::Work,
    };
    dots::draw(theme, &[series], top, band.plot, buf);
    band.labels(theme, Unit::Time, top, buf);
    let row_of_marks = frame.rows(height - marks, marks);
    chart.marks(row_of_marks, theme.glyphs.failed, Role::Broken, failed, buf);
    let sum = chart.columns.sum();
    let labels = plot::levels(band.gutter.height, top)
        .into_iter()
        .map(|(_, value)| row::width(&Unit::Time.label(value, top)));
    let labels = labels.max().unwrap_or(0) as u16 + 1;
    chart.facts(band.gutter, labels, facts(chart, &sum, band, zoomed), buf);
    let count = failed(&sum);
    let role = if count == 0 { Role::Muted } else { Role::Text };
    let mark = if count == 0 { Role::Muted } else { Role::Broken };
    let line = |note| {
        Line::from(vec![
            row::piece(theme, mark, format!(" {} ", theme.glyphs.failed)),
            row::piece(theme, role, format!("{count} failed")),
            row::piece(theme, Role::Muted, note),
        ])
    };
    let notes: &[&str] = if zoomed { &["  not in p50, p95", ""] } else { &[""] };
    chart.facts(
        row_of_marks.gutter,
        0,
        [notes.iter().copied().map(line).collect()],
        buf,
    );
    chart.lines(frame, buf);
}

/// The figures of the window, in the gutter left of the labels of the scale.
fn facts(chart: &Chart<'_>, sum: &Slot, band: Frame, zoomed: bool) -> Vec<Vec<Line<'static>>> {
    let view = chart.view;
    let theme = view.theme;
    let figure = |name: &str, quantile: f64, note: &'static str| {
        let value = sum.latency.quantile(quantile)?;
        let wording = |note| {
            Line::from(vec![
                row::piece(theme, Role::Muted, format!(" {name} ")),
                row::piece(theme, Role::Strong, seconds(value)),
                row::piece(theme, Role::Muted, note),
            ])
        };
        Some(vec![wording(if zoomed { note } else { "" }), wording("")])
    };
    let muted = |text: String| row::muted(theme, text);
    let answered = sum.latency.count();
    let rows = usize::from(band.gutter.height);
    let mut lines: Vec<Vec<Line<'static>>> = Vec::new();
    if zoomed {
        let window = format!(" {}", view.ui.window.label());
        lines.push(vec![muted(format!("{window}   v changes")), muted(window)]);
        lines.push(Vec::new());
        lines.extend(figure("p99", 0.99, ""));
    }
    lines.extend(figure("p95", 0.95, "  upper edge"));
    lines.extend(figure("p50", 0.5, "  lower edge"));
    let last = last_answer(view).filter(|ago| *ago >= RECENT);
    let is_wide = band.gutter.width >= WIDE;
    if answered > 0 {
        lines.push(vec![Line::from(format!(" {answered} answered"))]);
    } else if is_wide || last.is_none() {
        lines.push(vec![
            muted(" no answers in this window".to_owned()),
            muted(" no answers".to_owned()),
        ]);
    }
    if let Some(ago) = last {
        let texts = if is_wide {
            vec![format!(" last answer {} ago", rounded(ago))]
        } else {
            vec![" no answer".to_owned(), format!(" for {}", rounded(ago))]
        };
        // the age is more important than the count
        lines.truncate(rows.saturating_sub(texts.len()));
        lines.extend(texts.into_iter().map(|text| vec![Line::from(text)]));
    }
    if zoomed {
        let cover = chart.columns.cover().as_secs();
        lines.push(Vec::new());
        lines.push(vec![
            muted(format!(" each point: the {cover} s")),
            muted(format!(" point: {cover} s")),
        ]);
        lines.push(vec![
            muted(" before it; gap = none".to_owned()),
            muted(" gap: none".to_owned()),
        ]);
    }
    lines.truncate(rows);
    lines
}

/// The time since the upstream last answered a call.
fn last_answer(view: &View<'_>) -> Option<Duration> {
    let at = view.state.timeline.answered_at()?;
    Some(view.now.since(at))
}

/// Calls that got no answer, or only the beginning of one.
fn failed(slot: &Slot) -> u32 {
    slot.ended(Fate::Failed)
        .saturating_add(slot.ended(Fate::Interrupted))
}

/// A time that has passed: `7.5 s`, `80 s`, `12 m`.
fn rounded(span: Duration) -> String {
    match span.as_secs_f64() {
        value @ ..9.95 => format!("{value:.1} s"),
        value @ 9.95..599.5 => format!("{value:.0} s"),
        value => format!("{:.0} m", value / 60.0),
    }
}

/// A duration with its unit: `327 ms`, `1.38 s`, `12.4 s`, `80 s`, `12 m`.
pub(super) fn seconds(span: Duration) -> String {
    let value = span.as_secs_f64();
    match value {
        ..0.9995 => format!("{:.0} ms", value * 1e3),
        0.9995..9.995 => format!("{value:.2} s"),
        9.995..59.95 => format!("{value:.1} s"),
        59.95..599.5 => format!("{value:.0} s"),
        _ => units::duration(span),
    }
}
