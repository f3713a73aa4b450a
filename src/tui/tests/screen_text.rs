//! Whole screens as rows of text.

use ratatui::buffer::Buffer;
use ratatui::layout::{Position, Rect, Size};

use super::Bench;
use crate::tui::theme::Theme;
use crate::tui::view::{View, draw};
use crate::tui::wrap;

/// The screen as rows of text, and the cursor position.
pub(super) fn screen(
    bench: &mut Bench,
    width: u16,
    height: u16,
    theme: &Theme,
) -> (Vec<String>, Option<Position>) {
    bench.ui.size = Size::new(width, height);
    let area = Rect::new(0, 0, width, height);
    let mut buf = Buffer::empty(area);
    let view = View {
        state: &bench.state,
        ui: &bench.ui,
        theme,
        now: bench.now,
    };
    let cursor = draw(&view, &bench.keymap, area, &mut buf);
    let rows = (0..height)
        .map(|y| {
            let mut row = String::new();
            let mut skip = 0;
            for x in 0..width {
                let symbol = buf[(x, y)].symbol();
                if skip == 0 {
                    row.push_str(symbol);
                }
                // the cell after a wide character is not drawn
                skip = if skip > 0 {
                    skip - 1
                } else {
                    wrap::width(symbol).saturating_sub(1)
                };
            }
            row.trim_end().to_owned()
        })
        .collect();
    (rows, cursor)
}

/// The rows with the default theme.
pub(super) fn rows(bench: &mut Bench, width: u16, height: u16) -> Vec<String> {
    screen(bench, width, height, &Theme::default()).0
}

/// Returns true if a row contains the text.
pub(super) fn holds(rows: &[String], text: &str) -> bool {
    rows.iter().any(|row| row.contains(text))
}
