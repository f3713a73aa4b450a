//! The Latency pane: percentiles of calls, attempts and first tokens, and the last calls one by one.

use std::time::Duration;

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::text::Line;

use crate::state::Percentiles;
use crate::tui::theme::Role;
use crate::tui::view::View;

use super::{gauge, row, units};

/// Draws the table and the sparkline.
pub(crate) fn render(view: &View<'_>, area: Rect, buf: &mut Buffer) {
    let area = area.intersection(buf.area);
    let width = usize::from(area.width);
    let latency = &view.state.latency;
    let mut lines = vec![
        head(view, width),
        table_row(view, "call", &Quantiles::new(&latency.call), width),
        table_row(view, "attempt", &Quantiles::new(&latency.attempt), width),
        table_row(view, "ttft", &Quantiles::new(&latency.ttft), width),
    ];
    if area.height > 5 {
        lines.push(Line::default());
    }
    let cells = width.saturating_sub(27).max(10);
    lines.push(calls(view, "", cells, width));
    row::draw_all(&lines, area, buf);
}

/// Label, percentiles and count of the table, in columns.
const COLUMNS: [usize; 6] = [8, 6, 8, 8, 8, 8];

/// The percentiles that are shown; `None` without a value.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Quantiles {
    pub(crate) p50: Option<Duration>,
    pub(crate) p95: Option<Duration>,
    pub(crate) p99: Option<Duration>,
    pub(crate) max: Option<Duration>,
    pub(crate) count: u64,
}

impl Quantiles {
    pub(super) fn new(percentiles: &Percentiles) -> Self {
        Self {
            p50: percentiles.quantile(0.5),
            p95: percentiles.quantile(0.95),
            p99: percentiles.quantile(0.99),
            max: percentiles.max(),
            count: percentiles.count(),
        }
    }
}

/// A value in a fixed width; dashes without a value, since a gap is not zero.
fn cell(value: Option<Duration>) -> String {
    let text = value.map_or_else(|| "--".to_owned(), units::precise);
    row::right(&text, units::DURATION_WIDTH)
}

/// The column heads.
fn head(view: &View<'_>, width: usize) -> Line<'static> {
    let heads = ["", "p50", "p95", "p99", "max", "count"].into_iter().zip(COLUMNS);
    let pieces = heads.map(|(text, wide)| row::muted(view.theme, row::right(text, wide)));
    row::join(view.theme, pieces, width)
}

/// A row of the table; columns that do not fit are dropped, as in the head.
fn table_row(view: &View<'_>, label: &str, quantiles: &Quantiles, width: usize) -> Line<'static> {
    let [p50, p95, p99, max] = [quantiles.p50, quantiles.p95, quantiles.p99, quantiles.max].map(cell);
    let label = row::left(label, COLUMNS[0]);
    let values = [label, p50, p95, p99, max, units::amount(quantiles.count)]
        .into_iter()
        .zip(COLUMNS);
    row::join(
        view.theme,
        values.map(|(text, wide)| row::right(&text, wide)),
        width,
    )
}

/// `label` and the last calls, one cell each, newest at the right; a gap is a call that was not sent.
pub(super) fn calls(view: &View<'_>, label: &str, cells: usize, width: usize) -> Line<'static> {
    let theme = view.theme;
    let recent = &view.state.latency.recent;
    let cells = cells.min(width.saturating_sub(row::width(label)));
    let newest: Vec<Option<f64>> = recent
        .iter()
        .skip(recent.len().saturating_sub(cells))
        .map(|took| took.map(|took| took.as_secs_f64()))
        .collect();
    let most = newest.iter().flatten().copied().fold(0.0, f64::max);
    let blanks = cells.saturating_sub(newest.len());
    let pieces = vec![
        Line::from(vec![
            row::plain(label),
            row::piece(theme, Role::Work, gauge::sparkline(theme, newest, most)),
            row::plain(" ".repeat(blanks)),
        ]),
        row::muted(theme, "  per call, gap: not sent"),
    ];
    row::join(theme, pieces, width)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_aligned_with_their_heads() {
        let ms = |millis| Some(Duration::from_millis(millis));
        let quantiles = Quantiles {
            p50: ms(710),
            p95: ms(5_800),
            p99: ms(12_000),
            max: None,
            count: 40,
        };
        let fixture = super::super::fixture::Fixture::default();
        let view = fixture.view();
        assert_eq!(
            head(&view, 60).to_string(),
            "           p50     p95     p99     max   count"
        );
        assert_eq!(
            table_row(&view, "call", &quantiles, 60).to_string(),
            "call     0.71s   5.80s   12.0s      --      40"
        );
        assert_eq!(
            table_row(&view, "call", &quantiles, 30).to_string(),
            "call     0.71s   5.80s   12.0s"
        );
        assert_eq!(head(&view, 30).to_string(), "           p50     p95     p99");
    }
}
