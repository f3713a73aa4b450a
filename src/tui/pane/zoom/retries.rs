//! Retries in full: attempts by cause and the budget over time, attempts per call, back-offs, and what they cost.
//!
//! The column of the largest terminals has the same parts without the charts.

mod waits;

use std::time::Duration;

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::text::Line;

use crate::state::Slot;
use crate::text::units;
use crate::tui::pane::chart::{self, Chart};
use crate::tui::pane::{latency, retries, row, traffic};
use crate::tui::plot::dots::{self, Look, Series};
use crate::tui::plot::{Frame, Unit, scale};
use crate::tui::theme::Role;
use crate::tui::view::View;

use super::{below, two};

/// Rows of attempts per call and of the cost, with their rule.
const PARTS: u16 = 14;
/// Rows of the chart of the budget.
const BUDGET: u16 = 5;
/// Columns of the label of a bar.
const LABEL: usize = 3;

/// Draws the charts, and the parts below them.
pub(crate) fn render(view: &View<'_>, area: Rect, buf: &mut Buffer) {
    let area = area.intersection(buf.area);
    if area.is_empty() {
        return;
    }
    let mut chart = Chart::new(view, area);
    chart.strips(2, buf);
    let height = chart.frame.plot.height;
    let parts = if height >= PARTS + 2 * BUDGET + 3 {
        PARTS
    } else {
        0
    };
    let charts = height - parts;
    let budget = if charts >= 2 * BUDGET + 3 {
        (charts / 3).max(BUDGET)
    } else {
        0
    };
    let frame = chart.take(charts - if budget > 0 { budget + 1 } else { 0 });
    chart::stack(&chart, frame, &traffic::attempts(), buf);
    chart.lines(frame, buf);
    if budget > 0 {
        chart.sub_rule("Budget", "retries left", buf);
        let frame = chart.take(budget);
        draw_budget(&chart, frame, buf);
    }
    let free = below(&chart, buf);
    if free.height > 2 {
        let titles = [
            ("Attempts per call", "since start"),
            ("Back-off against Retry-After", "newest first"),
        ];
        let [left, right] = two(view, free, free.width / 2, titles, buf);
        let mut lines = attempts_per_call(view, usize::from(left.width));
        lines.push(Line::default());
        lines.extend(cost(view, usize::from(left.width)));
        row::draw_all(&lines, left, buf);
        waits::render(view, right, buf);
    }
}

/// Draws the column: what a card says, and the parts since the start.
pub(crate) fn render_column(view: &View<'_>, area: Rect, buf: &mut Buffer) {
    let width = usize::from(area.width);
    let theme = view.theme;
    let mut lines = summary(view, width);
    let heading = |text: &str| row::muted(theme, text.to_owned());
    if let Some(storm) = view.state.storm(view.now) {
        lines.push(Line::default());
        lines.push(heading("what would end it"));
        let advice = storm.advice().map(Line::from);
        lines.push(row::first_fit(theme, advice, width));
    }
    lines.push(Line::default());
    lines.push(heading("attempts per call, since start"));
    lines.extend(attempts_per_call(view, width));
    lines.push(Line::default());
    lines.push(heading("last back-offs before a retry"));
    lines.extend(back_offs(view, width));
    lines.push(Line::default());
    lines.push(heading("cost, since start"));
    lines.extend(cost(view, width));
    row::draw_all(&lines, area, buf);
}

/// The last 30 s, and the budget now.
fn summary(view: &View<'_>, width: usize) -> Vec<Line<'static>> {
    let theme = view.theme;
    let retry = &view.state.retry;
    let lately = view
        .state
        .timeline
        .last(view.now, Duration::from_secs(crate::state::WINDOW));
    vec![
        retries::per_call(view, width),
        retries::helped(view, &lately, width),
        row::first_fit(
            theme,
            [format!(
                "{} failed, {} answered",
                units::count(lately.sent.lost.into(), "call"),
                lately.sent.answered
            )],
            width,
        ),
        retries::budget(view, width),
        row::muted(
            theme,
            format!(
                "{} rescued since the start",
                units::count(retry.recovered, "call")
            ),
        ),
    ]
}

/// A bar per number of attempts: answered calls, and failed ones.
fn attempts_per_call(view: &View<'_>, width: usize) -> Vec<Line<'static>> {
    let theme = view.theme;
    let retry = &view.state.retry;
    let used = |at: usize| retry.answered_after[at].max(retry.lost_after[at]) > 0;
    let most = (0..retry.answered_after.len())
        .rev()
        .find(|at| used(*at))
        .map_or(0, |at| at + 1);
    let shown = most
        .max(usize::try_from(view.state.session.policy.retry.attempts).unwrap_or(1))
        .clamp(1, retry.answered_after.len());
    let longest = (0..shown)
        .map(|at| retry.answered_after[at].max(retry.lost_after[at]))
        .max()
        .unwrap_or(0)
        .max(1);
    let room = width.saturating_sub(LABEL + 2 * 15).max(4) as f64;
    // at least one cell for a count above zero
    let bar = |count: u64| {
        let cells = (count as f64 / longest as f64 * room).ceil();
        theme.glyphs.bar_full.repeat(cells as usize)
    };
    (0..shown)
        .map(|at| {
            let (answered, failed) = (retry.answered_after[at], retry.lost_after[at]);
            let last = at + 1 == retry.answered_after.len();
            let label = if last {
                format!("{}+", at + 1)
            } else {
                (at + 1).to_string()
            };
            let mut spans = vec![row::plain(row::left(&label, LABEL))];
            if !used(at) {
                spans.push(row::piece(theme, Role::Muted, theme.glyphs.bar_empty));
            }
            if answered > 0 {
                spans.push(row::piece(theme, Role::Work, bar(answered)));
                spans.push(row::plain(format!(" {answered} answered ")));
            }
            if failed > 0 {
                spans.push(row::piece(theme, Role::Broken, bar(failed)));
                spans.push(row::plain(format!(" {failed} failed")));
            }
            row::join(theme, [Line::from(spans)], width)
        })
        .collect()
}

/// The last back-offs in bins of equal width.
fn back_offs(view: &View<'_>, width: usize) -> Vec<Line<'static>> {
    /// Bins.
    const BINS: usize = 4;
    let theme = view.theme;
    let waits = &view.state.retry.waits;
    if waits.is_empty() {
        return vec![row::muted(theme, "none yet")];
    }
    let longest = waits
        .iter()
        .map(|wait| wait.used.as_secs_f64().min(1e9))
        .fold(0.0, f64::max);
    let step = scale(longest, 0.0, 0.1) / BINS as f64;
    let mut counts = [0_usize; BINS];
    for wait in waits {
        let bin = ((wait.used.as_secs_f64() / step).ceil() as usize).clamp(1, BINS);
        counts[bin - 1] += 1;
    }
    let most = counts.iter().max().copied().unwrap_or(1).max(1);
    let room = width.saturating_sub(16).max(1);
    counts
        .iter()
        .zip(1..)
        .map(|(count, bin)| {
            let label = format!(
                "up to {}",
                latency::seconds(Duration::from_secs_f64(step * f64::from(bin)))
            );
            Line::from(vec![
                row::plain(row::left(&label, 13)),
                row::piece(
                    theme,
                    Role::Held,
                    theme
                        .glyphs
                        .bar_full
                        .repeat((count * room).div_ceil(most).min(room.saturating_sub(4))),
                ),
                row::plain(format!(" {count}")),
            ])
        })
        .collect()
}

/// The cost of retries since the start.
fn cost(view: &View<'_>, width: usize) -> Vec<Line<'static>> {
    let retry = &view.state.retry;
    let lines = [
        format!("{} wasted attempts", retry.fruitless()),
        format!("{} may have been billed twice", retry.ambiguous),
        format!("{} spent in back-off", latency::seconds(retry.backed_off)),
    ];
    lines
        .into_iter()
        .map(|text| row::first_fit(view.theme, [text], width))
        .collect()
}

/// Draws the budget over time: what is left, and dotted what there would be without a retry.
fn draw_budget(chart: &Chart<'_>, frame: Frame, buf: &mut Buffer) {
    let view = chart.view;
    let theme = view.theme;
    let settings = &view.state.session.policy.retry;
    let Some(now) = view.state.retry_budget(view.now) else {
        view.draw_notice(frame.gutter, " none: retries are unlimited", buf);
        chart.lines(frame, buf);
        return;
    };
    let ttl = settings.budget_ttl;
    let base = settings.budget_min_per_s * ttl.as_secs_f64();
    let sums = chart.columns.sums(ttl, |slot: &Slot| [slot.first, slot.granted]);
    let levels = |level: fn(f64, f64) -> f64| -> Vec<Option<(f64, f64)>> {
        let value = |sum: &Option<[u64; 2]>| {
            sum.map(|[first, granted]| {
                let most = base + settings.budget_ratio * first as f64;
                let level = level(most, granted as f64).max(0.0);
                (level, level)
            })
        };
        sums.iter().map(value).collect()
    };
    let left = levels(|most, granted| most - granted);
    let max = levels(|most, _| most);
    let most = max
        .iter()
        .flatten()
        .map(|(_, high)| *high)
        .fold(now.max, f64::max);
    let top = scale(most, 0.0, 1.0);
    let series = |values, look, role| Series { values, look, role };
    dots::draw(
        theme,
        &[
            series(max, Look::Dotted, Role::Muted),
            series(left, Look::Line, Role::Work),
        ],
        top,
        frame.plot,
        buf,
    );
    frame.labels(theme, Unit::Count, top, buf);
    let left = Line::from(vec![
        row::plain(" left "),
        row::piece(
            theme,
            Role::Strong,
            format!("{:.0} of {:.0}", now.left.floor(), now.max),
        ),
    ]);
    let share = format!(" {:.0}% of first", settings.budget_ratio * 100.0);
    let rate = units::number(settings.budget_min_per_s);
    let rules = [
        [format!("{share} attempts"), share],
        [
            format!(" + {rate} per second, {}", units::setting(ttl)),
            format!(" + {rate} per second"),
        ],
        [
            " dotted: without retries".to_owned(),
            " dotted: unused".to_owned(),
        ],
    ];
    let rules = rules.map(|wordings| wordings.map(|text| row::muted(theme, text)).to_vec());
    chart.facts(frame.gutter, 3, std::iter::once(vec![left]).chain(rules), buf);
    chart.lines(frame, buf);
}
