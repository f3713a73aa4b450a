//! The parts below the chart on the whole screen: percentiles by stage, a histogram, the slowest answered calls.
//!
//! They are of the recorded calls that ended in the window: exact, and at most the newest 512.

use std::time::Duration;

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::text::Line;
use ratatui::widgets::{Clear, Widget};

use crate::event::Fate;
use crate::state::{Call, Span, SpanKind};
use crate::text::units;
use crate::tui::pane::chart::{Chart, divider, rule};
use crate::tui::pane::{row, timeline};
use crate::tui::theme::Role;
use crate::tui::view::View;

use super::seconds;

/// Rows of the table of stages, with its head.
const STAGES: u16 = 7;
/// Columns of the name of a stage, and of each of its figures.
const NAME: usize = 26;
const FIGURE: usize = 8;
/// Columns from which the histogram is beside the table.
const SIDE_BY_SIDE: u16 = 100;
/// Columns of the table.
const TABLE: u16 = 61;
/// Edges of the histogram in every power of ten.
const EDGES: [f64; 7] = [1.0, 1.5, 2.0, 3.0, 4.0, 6.0, 8.0];
/// Bins of the histogram.
const BINS: usize = 8;

/// Draws the parts into the free rows of the chart.
pub(super) fn render(view: &View<'_>, chart: &Chart<'_>, buf: &mut Buffer) {
    let free = chart.frame;
    let width = free.gutter.width + free.axis.width + free.plot.width;
    let area = Rect { width, ..free.gutter };
    Clear.render(area.intersection(buf.area), buf);
    let calls = ended(view, chart);
    let window = view.ui.window.label();
    let mut y = area.y;
    let mut rows = |count: u16| {
        let at = Rect {
            y,
            height: count.min(area.bottom().saturating_sub(y)),
            ..area
        };
        y += at.height;
        at
    };
    let head = rows(1);
    let body = rows(STAGES + 1);
    let (left, right) = if area.width >= SIDE_BY_SIDE {
        let right = area.width - TABLE;
        (
            Rect { width: TABLE, ..head },
            Some(Rect {
                x: area.x + TABLE,
                width: right,
                ..head
            }),
        )
    } else {
        (head, None)
    };
    rule(view, left, "By stage", window, buf);
    draw_stages(
        view,
        &calls,
        Rect {
            width: left.width,
            ..body
        },
        buf,
    );
    if let Some(right) = right {
        rule(view, right, "How long calls took", window, buf);
        let at = Rect {
            x: right.x,
            width: right.width,
            ..body
        };
        divider(
            view,
            Rect {
                height: body.height + 1,
                ..right
            },
            buf,
        );
        histogram(
            view,
            &calls,
            Rect {
                x: at.x + 2,
                width: at.width.saturating_sub(3),
                ..at
            },
            buf,
        );
    }
    rule(view, rows(1), "Slowest answered calls", window, buf);
    slowest(view, &calls, rows(u16::MAX), buf);
}

/// The calls that ended in the window of the chart.
fn ended<'a>(view: &View<'a>, chart: &Chart<'_>) -> Vec<&'a Call> {
    let (from, to) = (chart.axis.start(), chart.axis.end());
    let inside = |call: &&Call| call.ended_at.is_some_and(|at| from <= at && at <= to);
    view.state.calls.recent.values().filter(inside).collect()
}

/// A call's time from start to end.
fn took(call: &Call) -> Duration {
    call.ended_at
        .map_or(Duration::ZERO, |at| at.since(call.started_at))
}

/// The length of a span that is over.
fn length(span: &Span) -> Option<Duration> {
    Some(span.to?.since(span.from))
}

fn is_answered(call: &Call) -> bool {
    call.fate == Some(Fate::Answered)
}

fn is_failed(call: &Call) -> bool {
    matches!(call.fate, Some(Fate::Failed | Fate::Interrupted))
}

/// The attempts of a call: time from request to end, and true if it failed.
fn attempts(call: &Call) -> Vec<(Duration, bool)> {
    let mut attempts = Vec::new();
    let mut spans = call.spans.iter().peekable();
    while let Some(span) = spans.next() {
        if span.kind != SpanKind::Waiting {
            continue;
        }
        let mut last = span;
        if let Some(stream) = spans.next_if(|next| next.kind == SpanKind::Streaming) {
            last = stream;
        }
        if let Some(to) = last.to {
            attempts.push((to.since(span.from), !last.label.is_empty()));
        }
    }
    attempts
}

/// Draws percentiles, maximum and count of each stage.
fn draw_stages(view: &View<'_>, calls: &[&Call], area: Rect, buf: &mut Buffer) {
    let of = |kind: fn(&Call) -> bool| calls.iter().copied().filter(move |call| kind(call));
    let queued = |call: &Call| -> Option<Duration> {
        let waits = call.spans.iter().filter(|span| span.kind == SpanKind::Queued);
        (call.attempts > 0).then(|| waits.filter_map(length).sum())
    };
    let tried = |failed: bool| -> Vec<Duration> {
        let all = calls.iter().flat_map(|call| attempts(call));
        all.filter(|(_, bad)| *bad == failed)
            .map(|(took, _)| took)
            .collect()
    };
    let stages: [(&str, Vec<Duration>); 6] = [
        ("whole call, answered", of(is_answered).map(took).collect()),
        (
            "  waiting for the limiter",
            calls.iter().copied().filter_map(queued).collect(),
        ),
        ("  attempt, answered", tried(false)),
        (
            "    to the first token",
            of(is_answered).filter_map(|call| call.ttft).collect(),
        ),
        ("  attempt, failed", tried(true)),
        ("whole call, failed", of(is_failed).map(took).collect()),
    ];
    let theme = view.theme;
    let columns =
        |cells: [String; 4]| -> String { cells.iter().map(|cell| row::right(cell, FIGURE)).collect() };
    let heads = ["p50", "p95", "max", "count"].map(str::to_owned);
    let head = format!(" {}{}", row::left("", NAME), columns(heads));
    let mut lines = vec![row::muted(theme, head)];
    for (name, mut values) in stages {
        values.sort_unstable();
        let at = |quantile: f64| {
            let rank = (quantile * values.len() as f64).ceil() as usize;
            values
                .get(rank.max(1) - 1)
                .map_or_else(|| "-".to_owned(), |value| seconds(*value))
        };
        let cells = [at(0.5), at(0.95), at(1.0), values.len().to_string()];
        let text = format!(" {}{}", row::left(name, NAME), columns(cells));
        lines.push(if values.is_empty() {
            row::muted(theme, text)
        } else {
            Line::from(text)
        });
    }
    row::draw_all(&lines, area, buf);
}

/// The lower edges of the histogram, in seconds: the last bin begins near the 95th percentile.
fn edges(p95: f64) -> Vec<f64> {
    let power = |at: i32| EDGES.map(|edge| edge * 10.0_f64.powi(at));
    let p95 = p95.max(1e-3);
    let scale = p95.log10().floor() as i32;
    let mut edges: Vec<f64> = (scale - 2..=scale + 1).flat_map(power).collect();
    let last = edges
        .iter()
        .position(|edge| *edge >= p95)
        .unwrap_or(edges.len() - 1);
    edges.truncate(last + 1);
    let surplus = edges.len().saturating_sub(BINS - 1);
    edges.drain(..surplus);
    edges.insert(0, 0.0);
    edges
}

/// Draws a bar per bin: answered calls, and failed ones behind them.
fn histogram(view: &View<'_>, calls: &[&Call], area: Rect, buf: &mut Buffer) {
    let theme = view.theme;
    let mut answered: Vec<f64> = calls
        .iter()
        .filter(|call| is_answered(call))
        .map(|call| took(call).as_secs_f64())
        .collect();
    answered.sort_unstable_by(f64::total_cmp);
    if answered.is_empty() {
        view.draw_notice(area, "no answers in this window", buf);
        return;
    }
    let rank = (answered.len() * 95).div_ceil(100).max(1) - 1;
    let edges = edges(answered.get(rank).copied().unwrap_or_default());
    let bin = |seconds: f64| edges.iter().rposition(|edge| *edge <= seconds).unwrap_or(0);
    let mut counts = vec![(0_usize, 0_usize); edges.len()];
    for call in calls {
        let place = counts.get_mut(bin(took(call).as_secs_f64()));
        match place {
            Some(count) if is_answered(call) => count.0 += 1,
            Some(count) if is_failed(call) => count.1 += 1,
            _ => {}
        }
    }
    let most = counts
        .iter()
        .map(|(ok, failed)| ok + failed)
        .max()
        .unwrap_or(1)
        .max(1);
    let room = usize::from(area.width).saturating_sub(12 + 16).max(1);
    let cells = |count: usize| (count * room).div_ceil(most);
    let lines: Vec<Line<'static>> = edges
        .iter()
        .zip(&counts)
        .enumerate()
        .map(|(at, (edge, (ok, failed)))| {
            let label = match edges.get(at + 1) {
                Some(next) => format!("{}-{} s", units::number(*edge), units::number(*next)),
                None => format!("{} s up", units::number(*edge)),
            };
            let note = if *failed > 0 {
                format!(" {ok} + {failed} failed")
            } else {
                format!(" {ok}")
            };
            Line::from(vec![
                row::piece(theme, Role::Muted, row::right(&label, 12)),
                row::plain(" "),
                row::piece(theme, Role::Work, theme.glyphs.bar_full.repeat(cells(*ok))),
                row::piece(theme, Role::Broken, theme.glyphs.bar_full.repeat(cells(*failed))),
                row::plain(note),
            ])
        })
        .collect();
    row::draw_all(&lines, area, buf);
}

/// Draws the slowest answered calls, each from its own start on one scale.
fn slowest(view: &View<'_>, calls: &[&Call], area: Rect, buf: &mut Buffer) {
    let mut slowest: Vec<&Call> = calls.iter().copied().filter(|call| is_answered(call)).collect();
    slowest.sort_by_key(|call| std::cmp::Reverse(took(call)));
    slowest.truncate(usize::from(area.height.saturating_sub(1)));
    let Some(longest) = slowest.first().map(|call| took(call)) else {
        view.draw_notice(area, " no answers in this window", buf);
        return;
    };
    let indent = (NAME + 4) as u16;
    let lanes = Rect {
        x: area.x + indent.min(area.width),
        width: area.width.saturating_sub(indent + 1),
        ..area
    };
    let column = (longest / u32::from(lanes.width.saturating_sub(4).max(1))).max(Duration::from_millis(1));
    let style = view.theme.style(Role::Muted);
    for (at, label) in timeline::ruler(column, lanes.width) {
        buf.set_string(lanes.x + at, area.y, label, style);
    }
    for (index, call) in (1..).zip(slowest) {
        let at = |area: Rect| Rect {
            y: area.y + index,
            height: 1,
            ..area
        };
        let id = row::left(&call.id.to_string(), 7);
        let tries = units::count(u64::from(call.attempts), "attempt");
        let text = format!("  {id}{}  {tries}", row::right(&seconds(took(call)), 7));
        row::draw(&Line::from(text), 0, at(area), buf);
        let scale = timeline::Scale::from_start(call.started_at, column, lanes.width);
        timeline::draw(view, call, &scale, at(lanes), buf);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_bin_begins_near_the_95th_percentile() {
        assert_eq!(edges(5.5), [0.0, 0.8, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0]);
        assert_eq!(edges(0.02).last().map(|edge| (edge * 1e3).round()), Some(20.0));
        assert_eq!(edges(0.0).len(), BINS);
        assert!(edges(5000.0).last().is_some_and(|edge| *edge >= 5000.0));
    }
}
