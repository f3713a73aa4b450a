//! The list of what can be done to the breaker by hand.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::text::{Line, Span};

use crate::event::BreakerMode;
use crate::tui::action::Action;
use crate::tui::keymap::{Context, Keymap};
use crate::tui::theme::Role;
use crate::tui::view::View;

/// The choices: the action, its meaning, and the mode that it sets.
pub const CHOICES: [(Action, &str, Option<BreakerMode>); 4] = [
    (
        Action::ForceOpen,
        "refuse every call",
        Some(BreakerMode::ForcedOpen),
    ),
    (
        Action::ForceClosed,
        "let every call pass",
        Some(BreakerMode::ForcedClosed),
    ),
    (
        Action::ReleaseBreaker,
        "failures and probes decide",
        Some(BreakerMode::Automatic),
    ),
    (Action::ResetBreaker, "close, and forget the failures", None),
];

/// Draws the list.
pub fn render(view: &View<'_>, keymap: &Keymap, area: Rect, buf: &mut Buffer) {
    let title = if view.state.breakers.are_several() {
        "Breakers of all models"
    } else {
        "Breaker"
    };
    let inner = super::frame(view, title, "press a key   Esc close", area, buf);
    let running = view.state.breaker().mode;
    for (y, (action, about, mode)) in (inner.y..inner.bottom()).zip(CHOICES) {
        let key = keymap.key(Context::Breaker, action).unwrap_or_default();
        let now = if mode == Some(running) { "  now" } else { "" };
        let line = Line::from(vec![
            Span::styled(format!("{key}  "), view.theme.style(Role::Key)),
            Span::styled(format!("{:<13} ", action.label()), view.theme.style(Role::Text)),
            Span::styled(about, view.theme.style(Role::Muted)),
            Span::styled(now, view.theme.style(Role::Strong)),
        ]);
        buf.set_line(inner.x, y, &line, inner.width);
    }
}
