//! Modal overlays over the panes: a stack; the topmost receives the keys.

pub mod breaker;
pub mod confirm;
pub mod details;
pub mod faults;
pub mod help;
pub mod palette;
pub mod save;
pub mod whatif;

use ratatui::buffer::Buffer;
use ratatui::layout::{Margin, Position, Rect};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Clear, Widget};

use crate::event::CallId;
use crate::settings::FaultKind;

use super::keymap::{Context, Keymap};
use super::pane;
use super::theme::Role;
use super::view::View;

pub use confirm::Confirm;
pub use faults::Faults;
pub use help::Help;
pub use palette::Palette;
pub use save::Save;

/// A modal overlay.
#[derive(Clone, Debug, PartialEq)]
pub enum Overlay {
    /// Keys and symbols.
    Help(Help),
    /// Every command by name.
    Palette(Palette),
    /// Faults and their rates.
    Faults(Box<Faults>),
    /// The commands to the breaker.
    Breaker,
    /// The name of a file to save.
    Save(Save),
    /// A question before something that cannot be undone.
    Confirm(Confirm),
    /// The story of a call.
    Details(CallId),
    /// The running policy beside an edited one, which is kept in [`Ui::whatif`](super::ui::Ui::whatif).
    WhatIf,
}

impl Overlay {
    /// The key context while it is topmost, except while a value is typed in the what-if overlay.
    pub fn context(&self) -> Context {
        match self {
            Self::Help(_) => Context::Help,
            Self::Palette(_) => Context::List,
            Self::Faults(_) => Context::Faults,
            Self::Breaker => Context::Breaker,
            Self::Save(_) => Context::Name,
            Self::Confirm(_) => Context::Confirm,
            Self::Details(_) => Context::Details,
            Self::WhatIf => Context::WhatIf,
        }
    }
}

/// The area of an overlay: centred, at most `width` by `height`; the first and last row (title and keys) stay free
/// on screens of more than 8 rows.
pub fn centred(area: Rect, width: u16, height: u16) -> Rect {
    let free = if area.height > 8 {
        Rect {
            y: area.y + 1,
            height: area.height - 2,
            ..area
        }
    } else {
        area
    };
    let (width, height) = (width.min(free.width), height.min(free.height));
    Rect {
        x: free.x + (free.width - width) / 2,
        y: free.y + (free.height - height) / 2,
        width,
        height,
    }
}

/// The area of an overlay on a screen.
pub fn area_of(overlay: &Overlay, screen: Rect) -> Rect {
    match overlay {
        Overlay::Help(_) => centred(screen, 76, 30),
        Overlay::Palette(_) => centred(screen, 72, 18),
        Overlay::Faults(_) => centred(screen, 74, FaultKind::ALL.len() as u16 + 7),
        Overlay::Breaker => centred(screen, 58, breaker::CHOICES.len() as u16 + 2),
        Overlay::Save(_) => centred(screen, 64, 5),
        Overlay::Confirm(confirm) => confirm.area(screen),
        Overlay::Details(_) => centred(screen, screen.width.saturating_sub(6).min(110), 36),
        Overlay::WhatIf => centred(screen, screen.width, screen.height),
    }
}

/// Draws an overlay; returns the cursor position if it takes text.
pub fn render(
    view: &View<'_>,
    keymap: &Keymap,
    overlay: &Overlay,
    screen: Rect,
    buf: &mut Buffer,
) -> Option<Position> {
    let area = area_of(overlay, screen).intersection(buf.area);
    if area.is_empty() {
        return None;
    }
    match overlay {
        Overlay::Help(help) => help::render(view, keymap, help, area, buf),
        Overlay::Palette(palette) => palette::render(view, keymap, palette, area, buf),
        Overlay::Faults(faults) => {
            faults::render(view, faults, area, buf);
            None
        }
        Overlay::Breaker => {
            breaker::render(view, keymap, area, buf);
            None
        }
        Overlay::Save(save) => save::render(view, save, area, buf),
        Overlay::Confirm(confirm) => {
            confirm::render(view, confirm, area, buf);
            None
        }
        Overlay::Details(call) => {
            details::render(view, *call, area, buf);
            None
        }
        Overlay::WhatIf => whatif::render(view, screen, area, buf),
    }
}

/// Clears the area with a margin, draws a border with a title and a note below, and returns the inner area.
fn frame(view: &View<'_>, title: &str, note: &str, area: Rect, buf: &mut Buffer) -> Rect {
    // title and keys stay readable
    let between = Rect {
        y: buf.area.y.saturating_add(1),
        height: buf.area.height.saturating_sub(2),
        ..buf.area
    };
    Clear.render(area.outer(Margin::new(1, 1)).intersection(between), buf);
    Clear.render(area, buf);
    let style = view.theme.style(Role::Focus);
    let block = pane::block(view.theme, style)
        .title_top(Line::from(Span::styled(format!(" {title} "), style)))
        .title_bottom(
            Line::from(Span::styled(format!(" {note} "), view.theme.style(Role::Muted))).right_aligned(),
        );
    let inner = block.inner(area);
    block.render(area, buf);
    Rect {
        x: inner.x.saturating_add(1).min(inner.right()),
        width: inner.width.saturating_sub(2),
        ..inner
    }
}

/// The first row of a window of `height` rows that includes `selected`.
fn first_row(selected: usize, height: usize) -> usize {
    (selected + 1).saturating_sub(height.max(1))
}

/// `at` moved by `by`, clamped to 0..=`last`.
pub(super) fn stepped(at: usize, by: i64, last: usize) -> usize {
    let steps = usize::try_from(by.unsigned_abs()).unwrap_or(usize::MAX);
    let moved = if by < 0 {
        at.saturating_sub(steps)
    } else {
        at.saturating_add(steps)
    };
    moved.min(last)
}
