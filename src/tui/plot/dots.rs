//! Lines, bands and areas of dots: braille, or one mark per cell without Unicode.
//!
//! A series has a value per column, `None` leaves a gap. The scale begins at 0.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Color;
use ratatui::symbols::Marker;
use ratatui::widgets::Widget;
use ratatui::widgets::canvas::{Canvas, Painter, Shape};

use super::fill_style;
use crate::tui::theme::{Role, Theme};

/// The look of a series.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Look {
    /// A line along the upper values.
    Line,
    /// The same with every second dot.
    Dotted,
    /// Lines along both values, and every second dot between them.
    Band,
    /// Every dot from 0 to the upper value.
    Area,
}

/// A series of values: the lower and the upper edge per column.
#[derive(Clone, Debug, PartialEq)]
pub struct Series {
    /// Per column; the lower edge counts only for [`Look::Band`].
    pub values: Vec<Option<(f64, f64)>>,
    /// Its look.
    pub look: Look,
    /// The role whose colour it has.
    pub role: Role,
}

/// Draws series on a scale that ends at `top`; in a cell with dots of several, the last one counts.
pub fn draw(theme: &Theme, series: &[Series], top: f64, plot: Rect, buf: &mut Buffer) {
    let plot = plot.intersection(buf.area);
    if plot.is_empty() || top <= 0.0 {
        return;
    }
    let (marker, per_cell) = if theme.is_ascii() {
        (Marker::Custom('*'), (1, 1))
    } else {
        (Marker::Braille, (2, 4))
    };
    let size = (
        usize::from(plot.width) * per_cell.0,
        usize::from(plot.height) * per_cell.1,
    );
    Canvas::default()
        .marker(marker)
        .x_bounds([0.0, 1.0])
        .y_bounds([0.0, 1.0])
        .paint(|context| {
            for series in series {
                context.layer();
                context.draw(&Dots {
                    series,
                    top,
                    size,
                    per_column: per_cell.0,
                    colour: fill_style(theme, series.role).fg.unwrap_or(Color::Reset),
                });
            }
        })
        .render(plot, buf);
}

/// The dots of one series.
struct Dots<'a> {
    series: &'a Series,
    top: f64,
    /// Dots across and down.
    size: (usize, usize),
    per_column: usize,
    colour: Color,
}

impl Dots<'_> {
    /// The dot of a value, from the top.
    fn row(&self, value: f64) -> usize {
        let last = self.size.1.saturating_sub(1);
        let share = (value / self.top).clamp(0.0, 1.0);
        last - (share * last as f64).round() as usize
    }
}

impl Shape for Dots<'_> {
    fn draw(&self, painter: &mut Painter<'_, '_>) {
        let (across, down) = self.size;
        // upper and lower edge of the dot column before
        let mut before: Option<(usize, usize)> = None;
        let columns = self.series.values.iter();
        let dots = columns.flat_map(|value| std::iter::repeat_n(value, self.per_column));
        for (x, value) in dots.enumerate().take(across) {
            let Some((low, high)) = *value else {
                before = None;
                continue;
            };
            let (upper, lower) = (self.row(high), self.row(low));
            let (last_upper, last_lower) = before.unwrap_or((upper, lower));
            let line = |now: usize, then: usize| now.min(then)..=now.max(then);
            let mut paint = |y: usize| painter.paint(x, y, self.colour);
            match self.series.look {
                Look::Line => line(upper, last_upper).for_each(paint),
                Look::Dotted if x % 2 == 0 => paint(upper),
                Look::Dotted => {}
                Look::Band => {
                    line(upper, last_upper).for_each(&mut paint);
                    line(lower, last_lower).for_each(&mut paint);
                    (upper..=lower).filter(|y| (x + y) % 2 == 0).for_each(&mut paint);
                }
                Look::Area => (upper..down).for_each(paint),
            }
            before = Some((upper, lower));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tui::theme::Palette;

    fn rows(theme: &Theme, look: Look, values: &[Option<(f64, f64)>], height: u16) -> Vec<String> {
        let area = Rect::new(0, 0, values.len() as u16, height);
        let mut buf = Buffer::empty(area);
        let series = Series {
            values: values.to_vec(),
            look,
            role: Role::Work,
        };
        draw(theme, &[series], 8.0, area, &mut buf);
        (0..height)
            .map(|y| (0..area.width).map(|x| buf[(x, y)].symbol()).collect())
            .collect()
    }

    #[test]
    fn a_gap_stays_blank_and_edges_are_joined() {
        let theme = Theme::new(Palette::Mono, false);
        let values = [Some((0.0, 8.0)), Some((0.0, 8.0)), None, Some((0.0, 0.0))];
        assert_eq!(rows(&theme, Look::Line, &values, 2), ["⠉⠉  ", "   ⣀"]);
        assert_eq!(rows(&theme, Look::Area, &values, 2), ["⣿⣿  ", "⣿⣿ ⣀"]);
        assert_eq!(rows(&theme, Look::Dotted, &values, 2), ["⠁⠁  ", "   ⡀"]);
        assert_eq!(rows(&theme, Look::Band, &values, 2), ["⢝⢝  ", "⣕⣕ ⣀"]);
        let step = [Some((0.0, 0.0)), Some((0.0, 8.0))];
        assert_eq!(rows(&theme, Look::Line, &step, 2), [" ⡏", "⣀⡇"]);
    }

    #[test]
    fn without_unicode_a_cell_has_one_mark() {
        let theme = Theme::new(Palette::Mono, true);
        let values = [Some((0.0, 8.0)), None, Some((0.0, 0.0))];
        assert_eq!(rows(&theme, Look::Line, &values, 2), ["*  ", "  *"]);
        assert_eq!(rows(&theme, Look::Area, &values, 2), ["*  ", "* *"]);
    }
}
