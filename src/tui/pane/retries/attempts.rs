//! A histogram of attempts per call, answered and failed calls apart.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::text::Line;

use crate::tui::theme::Role;
use crate::tui::view::View;

use super::super::{row, units};

/// Rows: the head, and one each for 1 to 4 attempts and for 5 or more.
pub(super) const ROWS: u16 = 6;
/// The fewest useful rows.
pub(super) const LEAST_ROWS: u16 = 5;
/// The last row counts this many attempts or more; fewer if there are fewer rows.
const MOST: usize = 5;
/// Columns of label and numbers.
const NUMBERS: usize = 3 + 2 * (units::AMOUNT_WIDTH + 1);

/// Draws a bar for each number of attempts: answered calls, then failed ones.
pub(super) fn render(view: &View<'_>, area: Rect, buf: &mut Buffer) {
    let theme = view.theme;
    let width = usize::from(area.width);
    let cells = width.saturating_sub(NUMBERS);
    let retry = &view.state.retry;
    let most_attempts = usize::from(area.height).saturating_sub(1).min(MOST);
    let answered = merge_tail(&retry.answered_after, most_attempts);
    let failed = merge_tail(&retry.lost_after, most_attempts);
    let sums = answered
        .iter()
        .zip(&failed)
        .map(|(answered, failed)| answered.saturating_add(*failed));
    let most = sums.max().unwrap_or(0).max(1);
    row::draw(&head(view, width), 0, area, buf);
    for (index, (answered, failed)) in answered.into_iter().zip(failed).enumerate() {
        let label = if index + 1 == most_attempts {
            format!("{most_attempts}+ ")
        } else {
            format!("{}  ", index + 1)
        };
        let [ok, bad] = lengths(answered, failed, most, cells);
        let bar = theme.glyphs.bar_full.repeat(ok);
        let rest = theme.glyphs.failed.repeat(bad);
        let blank = " ".repeat(cells - ok - bad);
        let number = |count: u64| format!(" {}", row::right(&units::amount(count), units::AMOUNT_WIDTH));
        let role = |count: u64| if count == 0 { Role::Muted } else { Role::Text };
        let line = Line::from(vec![
            row::plain(label),
            row::piece(theme, Role::Work, bar),
            row::piece(theme, Role::Held, rest),
            row::plain(blank),
            row::piece(theme, role(answered), number(answered)),
            row::piece(theme, role(failed), number(failed)),
        ]);
        row::draw(&line, index + 1, area, buf);
    }
}

/// The legend of the bars, and the heads of the numbers.
fn head(view: &View<'_>, width: usize) -> Line<'static> {
    let theme = view.theme;
    let numbers = row::muted(
        theme,
        format!(" {} {}", row::right("ok", units::AMOUNT_WIDTH), "fail"),
    );
    let room = width.saturating_sub(numbers.width());
    let (ok, failed) = (theme.glyphs.bar_full, theme.glyphs.failed);
    let wordings = [
        format!("attempts per call: {ok} ok {failed} failed"),
        "attempts per call".into(),
        "attempts".into(),
    ];
    let wordings = wordings.map(|text| row::muted(theme, text));
    row::apart(row::first_fit(theme, wordings, room), numbers, 0, width)
}

/// The counts in `slots` slots, the last one with the sum of the rest.
fn merge_tail(counts: &[u64; 8], slots: usize) -> Vec<u64> {
    let mut merged = vec![0_u64; slots];
    for (index, count) in counts.iter().enumerate() {
        if let Some(slot) = merged.get_mut(index.min(slots.saturating_sub(1))) {
            *slot = slot.saturating_add(*count);
        }
    }
    merged
}

/// The cells of both parts: at least one for a count above zero, together at most `cells`.
fn lengths(answered: u64, failed: u64, most: u64, cells: usize) -> [usize; 2] {
    let length = |count: u64| {
        let share = count as f64 / most as f64;
        let least = usize::from(count > 0);
        ((share * cells as f64).round() as usize).max(least).min(cells)
    };
    let (ok, bad) = (length(answered), length(failed));
    if ok >= bad {
        [ok.min(cells - bad), bad]
    } else {
        [ok, bad.min(cells - ok)]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bars_show_both_parts_and_stay_within_their_cells() {
        assert_eq!(lengths(0, 0, 9, 10), [0, 0]);
        assert_eq!(lengths(999, 1, 1000, 10), [9, 1]);
        assert_eq!(lengths(1, 999, 1000, 10), [1, 9]);
        assert_eq!(lengths(5, 5, 10, 9), [4, 5]);
        assert_eq!(lengths(5, 5, 10, 0), [0, 0]);
        assert_eq!(merge_tail(&[1, 2, 3, 4, 5, 6, 7, 8], 5), [1, 2, 3, 4, 26]);
        assert_eq!(merge_tail(&[1; 8], 4), [1, 1, 1, 5]);
        assert!(merge_tail(&[1; 8], 0).is_empty());
    }
}
