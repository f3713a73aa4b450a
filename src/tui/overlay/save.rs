//! The name of a file to save.

use ratatui::buffer::Buffer;
use ratatui::layout::{Position, Rect};
use ratatui::text::{Line, Span};

use crate::tui::editor::Editor;
use crate::tui::theme::Role;
use crate::tui::view::View;
use crate::tui::wrap;

/// The content of the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Saved {
    /// The commands of the session, as a scenario.
    Drill,
    /// The running policy.
    Policy,
}

/// A file to save and its name, while it is typed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Save {
    /// The content.
    pub content: Saved,
    /// The name; empty: a name with the date.
    pub name: Editor,
}

impl Save {
    /// A question for the name of a file.
    pub fn new(content: Saved) -> Self {
        let name = Editor::default();
        Self { content, name }
    }
}

/// Draws the question; returns the cursor position.
pub fn render(view: &View<'_>, save: &Save, area: Rect, buf: &mut Buffer) -> Option<Position> {
    let (title, about, dated) = match save.content {
        Saved::Drill => (
            "Save this session's commands",
            "A scenario file: seawall run FILE plays it again.",
            "(empty: drill-DATE.toml, or the --record file)",
        ),
        Saved::Policy => (
            "Save the running policy",
            "A policy file: seawall --policy FILE uses it.",
            "(empty: policy-DATE.toml)",
        ),
    };
    let inner = super::frame(view, title, "Enter save   Esc cancel", area, buf);
    if inner.is_empty() {
        return None;
    }
    let muted = view.theme.style(Role::Muted);
    buf.set_stringn(inner.x, inner.y, about, usize::from(inner.width), muted);
    let y = inner.y + 2;
    if y >= inner.bottom() {
        return None;
    }
    let lead = "file name: ";
    let room = usize::from(inner.width).saturating_sub(lead.len() + 1);
    let text = save.name.text();
    // the end of a long name is where it is typed
    let from = wrap::width(text).saturating_sub(room);
    let shown: String = text.chars().skip(from).collect();
    let value = if text.is_empty() {
        Span::styled(dated, muted)
    } else {
        Span::styled(shown.clone(), view.theme.style(Role::Input))
    };
    let line = Line::from(vec![Span::styled(lead, view.theme.style(Role::Strong)), value]);
    buf.set_line(inner.x, y, &line, inner.width);
    let column = lead.len() + wrap::width(&shown);
    let x = inner.x + u16::try_from(column).unwrap_or(u16::MAX).min(inner.width - 1);
    Some(Position::new(x, y))
}
