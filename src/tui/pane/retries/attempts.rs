//! How many tries calls took, and whether it was worth it.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::text::Line;

use crate::tui::theme::Role;
use crate::tui::view::View;

use super::super::{row, units};

/// Rows: the head, and one to five tries and more.
pub(super) const ROWS: u16 = 6;
/// With fewer rows than these it says little.
pub(super) const LEAST_ROWS: u16 = 5;
/// The last row stands for so many tries and more; with fewer rows, for fewer.
const MOST: usize = 5;
/// Columns of label and numbers.
const NUMBERS: usize = 3 + 2 * (units::AMOUNT_WIDTH + 1);

/// Draws a bar for each number of tries: answered calls, then lost ones.
pub(super) fn render(view: &View<'_>, area: Rect, buf: &mut Buffer) {
    let theme = view.theme;
    let width = usize::from(area.width);
    let cells = width.saturating_sub(NUMBERS);
    let retry = &view.state.retry;
    let most_tries = usize::from(area.height).saturating_sub(1).min(MOST);
    let answered = fold(&retry.answered_after, most_tries);
    let lost = fold(&retry.lost_after, most_tries);
    let sums = answered
        .iter()
        .zip(&lost)
        .map(|(answered, lost)| answered.saturating_add(*lost));
    let most = sums.max().unwrap_or(0).max(1);
    row::draw(&head(view, width), 0, area, buf);
    for (index, (answered, lost)) in answered.into_iter().zip(lost).enumerate() {
        let label = if index + 1 == most_tries {
            format!("{most_tries}+ ")
        } else {
            format!("{}  ", index + 1)
        };
        let [ok, bad] = lengths(answered, lost, most, cells);
        let bar = theme.glyphs.bar_full.repeat(ok);
        let rest = theme.glyphs.failed.repeat(bad);
        let blank = " ".repeat(cells - ok - bad);
        let number = |count: u64| format!(" {}", row::right(&units::amount(count), units::AMOUNT_WIDTH));
        let role = |count: u64| if count == 0 { Role::Muted } else { Role::Text };
        let line = Line::from(vec![
            row::plain(label),
            row::piece(theme, Role::Gauge, bar),
            row::piece(theme, Role::Wait, rest),
            row::plain(blank),
            row::piece(theme, role(answered), number(answered)),
            row::piece(theme, role(lost), number(lost)),
        ]);
        row::draw(&line, index + 1, area, buf);
    }
}

/// What the two parts of a bar are, and the heads of the numbers.
fn head(view: &View<'_>, width: usize) -> Line<'static> {
    let theme = view.theme;
    let text = |text: String| Line::from(row::piece(theme, Role::Muted, text));
    let numbers = text(format!(
        " {} {}",
        row::right("ok", units::AMOUNT_WIDTH),
        row::right("lost", units::AMOUNT_WIDTH)
    ));
    let room = width.saturating_sub(numbers.width());
    let (ok, lost) = (theme.glyphs.bar_full, theme.glyphs.failed);
    let wordings = [
        text(format!("tries a call took: {ok} ok {lost} lost")),
        text("tries a call took".into()),
        text("tries".into()),
    ];
    row::apart(row::first_fit(theme, wordings, room), numbers, 0, width)
}

/// The counts in `places`, with all above the last one in it.
fn fold(counts: &[u64; 8], places: usize) -> Vec<u64> {
    let mut folded = vec![0_u64; places];
    for (index, count) in counts.iter().enumerate() {
        if let Some(place) = folded.get_mut(index.min(places.saturating_sub(1))) {
            *place = place.saturating_add(*count);
        }
    }
    folded
}

/// Cells of both parts: at least one for what is not zero, together at most `cells`.
fn lengths(answered: u64, lost: u64, most: u64, cells: usize) -> [usize; 2] {
    let length = |count: u64| {
        let share = count as f64 / most as f64;
        let least = usize::from(count > 0);
        ((share * cells as f64).round() as usize).max(least).min(cells)
    };
    let (ok, bad) = (length(answered), length(lost));
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
        assert_eq!(fold(&[1, 2, 3, 4, 5, 6, 7, 8], 5), [1, 2, 3, 4, 26]);
        assert_eq!(fold(&[1; 8], 4), [1, 1, 1, 5]);
        assert!(fold(&[1; 8], 0).is_empty());
    }
}
