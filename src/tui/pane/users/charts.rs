//! A small chart for each user: calls that ended in the last two minutes, served and not.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::text::Line;

use crate::tui::plot::bars::{self, Part};
use crate::tui::theme::Role;
use crate::tui::view::View;

use super::{UserRow, card_name, row, units};

/// Rows of a chart with its heading, without the blank below it.
const ROWS: u16 = 4;
/// Columns of a chart, and between two charts.
const COLUMNS: u16 = 24;
const GAP: u16 = 4;
/// The smallest end of the scale: calls in five seconds.
const LEAST: u64 = 5;

/// Draws as many charts as fit, all on one scale.
pub(super) fn render(view: &View<'_>, users: &[UserRow<'_>], area: Rect, buf: &mut Buffer) {
    let theme = view.theme;
    if area.height < ROWS + 1 || area.width < COLUMNS {
        return;
    }
    let histories: Vec<_> = users
        .iter()
        .map(|user| user.share.usage.served_history(view.now))
        .collect();
    let most = histories
        .iter()
        .flatten()
        .map(|(_, ended)| *ended)
        .max()
        .unwrap_or(0)
        .max(LEAST);
    let parts = [
        Part {
            fill: theme.glyphs.fills[0],
            role: Role::Work,
        },
        Part {
            fill: theme.glyphs.fills[2],
            role: Role::Broken,
        },
    ];
    let legend = Line::from(vec![
        row::piece(theme, Role::Strong, "calls ended in the last 2 m"),
        row::piece(theme, Role::Muted, format!(", at most {most} in 5 s   ")),
        row::piece(theme, Role::Work, parts[0].fill),
        row::plain(" served  "),
        row::piece(theme, Role::Broken, parts[1].fill),
        row::plain(" not served"),
    ]);
    row::draw(
        &row::first_fit(theme, [legend], usize::from(area.width)),
        0,
        area,
        buf,
    );
    let across = ((area.width + GAP) / (COLUMNS + GAP)).max(1);
    for (index, (user, history)) in users.iter().zip(&histories).enumerate() {
        let index = index as u16;
        let (x, y) = (index % across * (COLUMNS + GAP), 1 + index / across * (ROWS + 1));
        if y + ROWS > area.height {
            break;
        }
        let at = Rect::new(area.x + x, area.y + y, COLUMNS, ROWS);
        let (served, ended) = user.share.usage.served(view.now);
        let share = format!("  {}", units::sample(served, ended));
        let heading = [
            Line::from(row::piece(theme, Role::Strong, card_name(view, user))),
            row::muted(theme, share),
        ];
        row::draw(&row::join(theme, heading, usize::from(COLUMNS)), 0, at, buf);
        let columns: Vec<Option<Vec<f64>>> = history
            .iter()
            .map(|(served, ended)| Some(vec![*served as f64, ended.saturating_sub(*served) as f64]))
            .collect();
        let plot = Rect {
            y: at.y + 1,
            height: ROWS - 1,
            ..at
        };
        bars::draw(theme, &parts, &columns, most as f64, plot, buf);
    }
}
