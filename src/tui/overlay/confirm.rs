//! A question before something that costs money, ends the session or cannot be undone.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;

use super::centred;
use crate::tui::theme::Role;
use crate::tui::update::Effect;
use crate::tui::view::View;
use crate::tui::wrap;

/// A question and the effect of yes.
#[derive(Clone, Debug, PartialEq)]
pub struct Confirm {
    /// The question, with the default in capitals: `50 paid calls to HOST? y/N`.
    pub question: String,
    /// The effect of yes.
    pub effect: Effect,
}

impl Confirm {
    /// The area it needs.
    pub fn area(&self, screen: Rect) -> Rect {
        let width = u16::try_from(wrap::width(&self.question)).unwrap_or(u16::MAX);
        let width = width.saturating_add(4).clamp(30, 70);
        let rows = wrap::rows(&self.question, usize::from(width - 4)).len();
        centred(
            screen,
            width,
            u16::try_from(rows).unwrap_or(u16::MAX).saturating_add(2),
        )
    }
}

/// Draws the confirmation.
pub fn render(view: &View<'_>, confirm: &Confirm, area: Rect, buf: &mut Buffer) {
    let inner = super::frame(view, "Sure?", "y yes   n no", area, buf);
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
