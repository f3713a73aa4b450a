//! Small charts of numbers: bars, sparklines and the cells of a window.
//!
//! A gap is not zero: a slot without a value is blank, a value of zero is the lowest mark.

use ratatui::text::Span;

use crate::event::Sample;
use crate::tui::theme::{Role, Theme};

use super::row::{piece, plain};

/// `[####------]`: `cells` cells between brackets, filled up to `share` (0 to 1).
///
/// Only 0 is drawn as empty, and only 1 as full.
pub(crate) fn bar(theme: &Theme, role: Role, share: f64, cells: usize) -> Vec<Span<'static>> {
    let filled = filled_cells(share, cells);
    vec![
        plain("["),
        piece(theme, role, theme.glyphs.bar_full.repeat(filled)),
        piece(theme, Role::Muted, theme.glyphs.bar_empty.repeat(cells - filled)),
        plain("]"),
    ]
}

/// The number of `cells` that a share fills: at least one above 0, not all below 1.
pub(crate) fn filled_cells(share: f64, cells: usize) -> usize {
    if !share.is_finite() || share <= 0.0 || cells == 0 {
        return 0;
    }
    if share >= 1.0 {
        return cells;
    }
    let filled = (share * cells as f64).round() as usize;
    filled.clamp(1, cells.saturating_sub(1).max(1))
}

/// One mark per value on a scale from 0 to `max`; blank where there is no value.
pub(crate) fn sparkline(theme: &Theme, values: impl IntoIterator<Item = Option<f64>>, max: f64) -> String {
    let marks = &theme.glyphs.spark;
    values
        .into_iter()
        .map(|value| {
            let Some(value) = value else { return " " };
            let share = if max > 0.0 { value / max } else { 0.0 };
            // NaN becomes 0 in the conversion
            let height = (share.clamp(0.0, 1.0) * (marks.len() - 1) as f64).round() as usize;
            marks.get(height).copied().unwrap_or(" ")
        })
        .collect()
}

/// The outcomes of a breaker's window as cells, oldest first: the newest `room` of the `total` that count.
/// Outcomes that say nothing about the upstream are left out, as in the counts.
pub(crate) fn cells<'a>(
    theme: &Theme,
    samples: impl DoubleEndedIterator<Item = &'a Sample>,
    total: u32,
    room: usize,
) -> Vec<Span<'static>> {
    let mut newest: Vec<Span<'static>> = samples
        .rev()
        .filter_map(|sample| sample_cell(theme, *sample))
        .take(room.min(total as usize))
        .collect();
    newest.reverse();
    newest
}

/// A counted outcome as one cell.
fn sample_cell(theme: &Theme, sample: Sample) -> Option<Span<'static>> {
    match sample {
        Sample::Ok => Some(piece(theme, Role::Ok, theme.glyphs.ok)),
        Sample::Slow => Some(piece(theme, Role::Held, "s")),
        Sample::Failed => Some(piece(theme, Role::Broken, theme.glyphs.failed)),
        Sample::Neutral | Sample::Late => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tui::theme::Palette;
    use ratatui::text::Line;

    #[test]
    fn only_zero_is_an_empty_bar_and_only_one_a_full_one() {
        let theme = Theme::new(Palette::Mono, true);
        let text = |share| Line::from(bar(&theme, Role::Work, share, 10)).to_string();
        assert_eq!(text(0.0), "[..........]");
        assert_eq!(text(0.001), "[#.........]");
        assert_eq!(text(0.38), "[####......]");
        assert_eq!(text(0.999), "[#########.]");
        assert_eq!(text(1.0), "[##########]");
        assert_eq!(text(f64::NAN), "[..........]");
        assert_eq!(text(-3.0), "[..........]");
    }

    #[test]
    fn a_gap_is_not_zero() {
        let theme = Theme::default();
        assert_eq!(
            sparkline(&theme, [Some(0.0), None, Some(1.0), Some(0.5)], 1.0),
            "▁ █▅"
        );
        assert_eq!(sparkline(&theme, [Some(3.0), Some(f64::NAN)], 0.0), "▁▁");
    }

    #[test]
    fn only_outcomes_that_count_are_cells() {
        let theme = Theme::default();
        let samples = [
            Sample::Ok,
            Sample::Failed,
            Sample::Neutral,
            Sample::Slow,
            Sample::Late,
            Sample::Failed,
        ];
        let text = |total, room| Line::from(cells(&theme, samples.iter(), total, room)).to_string();
        assert_eq!(text(9, 9), "✓✗s✗");
        assert_eq!(text(2, 9), "s✗");
        assert_eq!(text(9, 3), "✗s✗");
    }
}
