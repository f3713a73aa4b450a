//! A question before something that costs money. Anything but a clear yes means no.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;

use super::place;
use crate::event::Command;
use crate::tui::theme::Role;
use crate::tui::view::View;
use crate::tui::wrap;

/// A question and what follows a yes.
#[derive(Clone, Debug, PartialEq)]
pub struct Confirm {
    /// The question, with the answer that Enter gives in capitals: `50 paid calls to HOST? y/N`.
    pub question: String,
    /// What yes does.
    pub command: Command,
}

impl Confirm {
    /// The box it needs.
    pub fn area(&self, screen: Rect) -> Rect {
        let width = u16::try_from(wrap::width(&self.question)).unwrap_or(u16::MAX);
        let width = width.saturating_add(4).clamp(24, 70);
        let rows = wrap::rows(&self.question, usize::from(width - 4)).len();
        place(
            screen,
            width,
            u16::try_from(rows).unwrap_or(u16::MAX).saturating_add(2),
        )
    }
}

/// Draws it.
pub fn render(view: &View<'_>, confirm: &Confirm, area: Rect, buf: &mut Buffer) {
    let inner = super::frame(view, "Sure?", "y yes, any other way no", area, buf);
    let rows = wrap::rows(&confirm.question, usize::from(inner.width));
    for (y, row) in (inner.y..inner.bottom()).zip(rows) {
        let text = confirm.question.get(row).unwrap_or_default();
        buf.set_stringn(
            inner.x,
            y,
            text,
            usize::from(inner.width),
            view.theme.style(Role::Strong),
        );
    }
}
