//! Stacked bars, one per column.
//!
//! With colours, a bar is exact to an eighth of a cell: a cell with two parts has the lower one in the foreground
//! and the upper one in the background. Without colours or without block glyphs, a cell shows one part by its fill.
//! Either way each part of a bar that is not zero is visible.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Style;

use super::{fill_style, put};
use crate::tui::theme::{Palette, Role, Theme};

/// A part of a bar: its fill where cells are whole, and its colour.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Part {
    /// One column.
    pub fill: &'static str,
    /// The role whose colour it has.
    pub role: Role,
}

/// Lower blocks of one to seven eighths.
const EIGHTHS: [&str; 7] = ["▁", "▂", "▃", "▄", "▅", "▆", "▇"];
/// Eighths in a cell.
const CELL: u32 = 8;

/// Draws a bar per column of the plot: `bars` has the values of its parts, lowest first, on a scale that ends at
/// `top`. `None` leaves a column as it is.
pub fn draw(
    theme: &Theme,
    parts: &[Part],
    bars: &[Option<Vec<f64>>],
    top: f64,
    plot: Rect,
    buf: &mut Buffer,
) {
    let exact = theme.palette != Palette::Mono && !theme.is_ascii();
    for (column, bar) in (0..plot.width).zip(bars) {
        let Some(bar) = bar else { continue };
        let x = plot.x + column;
        let ends = if exact {
            eighths(bar, top, plot.height)
        } else {
            None
        };
        if let Some(ends) = ends {
            draw_exact(theme, parts, &ends, x, plot, buf);
            continue;
        }
        for (up, part) in (0..plot.height).zip(cells(bar, top, plot.height)) {
            if let Some(part) = parts.get(part) {
                let style = fill_style(theme, part.role);
                put(buf, x, plot.bottom() - 1 - up, part.fill, style);
            }
        }
    }
}

/// Draws one bar from the ends of its parts in eighths.
fn draw_exact(theme: &Theme, parts: &[Part], ends: &[u32], x: u16, plot: Rect, buf: &mut Buffer) {
    let colour = |part: Option<usize>| {
        let role = parts.get(part?).map(|part| part.role)?;
        fill_style(theme, role).fg
    };
    for up in 0..plot.height {
        let floor = u32::from(up) * CELL;
        // the part at the bottom of the cell, and that above the boundary in it
        let lower = ends.iter().position(|end| *end > floor);
        let Some(end) = lower.and_then(|lower| ends.get(lower)) else {
            break;
        };
        let inside = (*end - floor).min(CELL);
        let upper = ends.iter().position(|other| *other > floor + inside);
        let mut style = Style::new();
        style.fg = colour(lower);
        let symbol = match EIGHTHS.get(inside as usize - 1) {
            Some(symbol) => {
                style.bg = colour(upper);
                symbol
            }
            None => "█",
        };
        put(buf, x, plot.bottom() - 1 - up, symbol, style);
    }
}

/// The ends of the parts in eighths of a cell from the bottom, rounded so that each part that is not zero has an
/// eighth and no cell more than one boundary. `None` if that needs more than `rows`.
fn eighths(bar: &[f64], top: f64, rows: u16) -> Option<Vec<u32>> {
    let full = u32::from(rows) * CELL;
    let mut sum = 0.0;
    let mut at = 0_u32;
    // the cell whose boundary is taken
    let mut taken = None;
    let mut ends = Vec::with_capacity(bar.len());
    for value in bar {
        if *value > 0.0 {
            sum += value;
            let exact = (sum / top * f64::from(full)).round().clamp(0.0, f64::from(full)) as u32;
            let mut end = exact.max(at + 1);
            if !end.is_multiple_of(CELL) && taken == Some(end / CELL) {
                end = end.next_multiple_of(CELL);
            }
            if !end.is_multiple_of(CELL) {
                taken = Some(end / CELL);
            }
            at = end;
        }
        ends.push(at);
    }
    (at <= full).then_some(ends)
}

/// The part in each cell, from the bottom up: each part that is not zero has a cell, if there are enough rows;
/// otherwise the upper parts have.
fn cells(bar: &[f64], top: f64, rows: u16) -> Vec<usize> {
    let rows = usize::from(rows);
    let sum: f64 = bar.iter().filter(|value| **value > 0.0).sum();
    let mut parts: Vec<usize> = (0..bar.len())
        .filter(|part| bar.get(*part).is_some_and(|value| *value > 0.0))
        .collect();
    let surplus = parts.len().saturating_sub(rows);
    parts.drain(..surplus);
    let height = ((sum / top * rows as f64).round() as usize).clamp(parts.len(), rows.max(parts.len()));
    // one cell each, the others to the part that lacks most
    let mut counts: Vec<usize> = vec![1; parts.len()];
    for _ in parts.len()..height {
        let lacks = |index: usize| {
            let value = parts
                .get(index)
                .and_then(|part| bar.get(*part))
                .copied()
                .unwrap_or(0.0);
            value / sum * height as f64 - counts.get(index).copied().unwrap_or(0) as f64
        };
        let most = (0..parts.len())
            .rev()
            .max_by(|one, other| lacks(*one).total_cmp(&lacks(*other)));
        if let Some(count) = most.and_then(|index| counts.get_mut(index)) {
            *count += 1;
        }
    }
    parts
        .into_iter()
        .zip(counts)
        .flat_map(|(part, count)| std::iter::repeat_n(part, count))
        .collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn whole_cells_show_every_part() {
        // on a scale of 12 in six rows
        for (bar, shown) in [
            (vec![2.0, 0.0, 0.0], vec![0]),
            (vec![8.0, 2.0, 2.0], vec![0, 0, 0, 0, 1, 2]),
            (vec![0.1, 0.1, 0.1], vec![0, 1, 2]),
            (vec![11.8, 0.1, 0.1], vec![0, 0, 0, 0, 1, 2]),
            (vec![0.0, 3.0, 0.0], vec![1, 1]),
            (vec![0.0, 0.0, 0.0], vec![]),
        ] {
            assert_eq!(cells(&bar, 12.0, 6), shown, "{bar:?}");
        }
        assert_eq!(cells(&[1.0, 1.0, 1.0], 12.0, 2), [1, 2]);
    }

    #[test]
    fn eighths_are_exact_where_they_can_be() {
        // two rows on a scale of 16: an eighth is 1
        assert_eq!(eighths(&[5.0, 0.0, 6.0], 16.0, 2), Some(vec![5, 5, 11]));
        assert_eq!(eighths(&[0.1, 8.0], 16.0, 2), Some(vec![1, 8]));
        // two boundaries in one cell: the second moves up
        assert_eq!(eighths(&[2.0, 2.0, 2.0], 16.0, 2), Some(vec![2, 8, 9]));
        assert_eq!(eighths(&[2.0, 2.0, 2.0], 16.0, 1), None);
    }

    #[test]
    fn a_cell_with_two_parts_has_both_colours() {
        let parts = [
            Part {
                fill: "░",
                role: Role::Work,
            },
            Part {
                fill: "█",
                role: Role::Broken,
            },
        ];
        let theme = Theme::default();
        let area = Rect::new(0, 0, 2, 2);
        let mut buf = Buffer::empty(area);
        let bars = [Some(vec![5.0, 6.0]), None];
        draw(&theme, &parts, &bars, 16.0, area, &mut buf);
        let (blue, red) = (
            fill_style(&theme, Role::Work).fg,
            fill_style(&theme, Role::Broken).fg,
        );
        let cell = |y| {
            (
                buf[(0, y)].symbol().to_owned(),
                Some(buf[(0, y)].fg),
                buf[(0, y)].bg,
            )
        };
        assert_eq!(cell(1), ("▅".to_owned(), blue, red.unwrap()));
        assert_eq!(cell(0), ("▃".to_owned(), red, ratatui::style::Color::Reset));
        assert_eq!(buf[(1, 1)].symbol(), " ");
    }

    proptest! {
        #[test]
        fn no_part_is_rounded_away(
            bar in proptest::collection::vec(prop_oneof![Just(0.0), 0.001_f64..20.0], 7),
            rows in 4_u16..14,
        ) {
            let sum: f64 = bar.iter().sum();
            let top = super::super::scale(sum, 0.0, 2.0);
            let there: Vec<usize> = (0..7).filter(|part| bar[*part] > 0.0).collect();
            if let Some(ends) = eighths(&bar, top, rows) {
                for part in &there {
                    let from = part.checked_sub(1).map_or(0, |before| ends[before]);
                    prop_assert!(ends[*part] > from);
                }
                prop_assert!(ends[6] <= u32::from(rows) * CELL);
                for cell in 0..u32::from(rows) {
                    let mut inside: Vec<u32> = ends.iter().copied().filter(|end| end / CELL == cell && !end.is_multiple_of(CELL)).collect();
                    inside.dedup();
                    prop_assert!(inside.len() <= 1, "{:?}", ends);
                }
            }
            let mut shown = cells(&bar, top, rows);
            prop_assert!(shown.len() <= usize::from(rows));
            shown.dedup();
            let first = there.len().saturating_sub(usize::from(rows));
            prop_assert_eq!(&shown[..], &there[first..]);
        }
    }
}
