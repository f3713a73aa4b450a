//! The cards on the whole screen: each adds charts over time to what its card says.

pub(in crate::tui) mod breaker;
pub(in crate::tui) mod cache;
pub(in crate::tui) mod limiter;
pub(in crate::tui) mod retries;

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::widgets::{Clear, Widget};

use crate::tui::view::View;

use super::chart::{self, Chart};

/// Takes the rows that no chart uses, cleared of the axis, with all columns.
fn below(chart: &Chart<'_>, buf: &mut Buffer) -> Rect {
    let free = chart.frame;
    let area = Rect {
        width: free.gutter.width + free.axis.width + free.plot.width,
        ..free.gutter
    };
    let area = area.intersection(buf.area);
    Clear.render(area, buf);
    area
}

/// Takes rows from the top of an area.
fn rows(area: &mut Rect, count: u16) -> Rect {
    let count = count.min(area.height);
    let taken = Rect {
        height: count,
        ..*area
    };
    area.y += count;
    area.height -= count;
    taken
}

/// Two rules beside each other, and the areas below them: `height` rows, indented by a blank.
fn two(view: &View<'_>, area: Rect, left: u16, titles: [(&str, &str); 2], buf: &mut Buffer) -> [Rect; 2] {
    let left = left.min(area.width);
    let one = Rect { width: left, ..area };
    let other = Rect {
        x: area.x + left,
        width: area.width - left,
        ..area
    };
    let inner = |area: Rect, indent: u16| Rect {
        x: area.x + indent.min(area.width),
        y: area.y + 1.min(area.height),
        width: area.width.saturating_sub(indent),
        height: area.height.saturating_sub(1),
    };
    for (at, (title, note)) in [one, other].into_iter().zip(titles) {
        chart::rule(
            view,
            Rect {
                height: 1.min(at.height),
                ..at
            },
            title,
            note,
            buf,
        );
    }
    chart::divider(view, other, buf);
    [inner(one, 1), inner(other, 2)]
}
