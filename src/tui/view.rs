//! The only argument of a pane, and the whole screen drawn from it.

use ratatui::buffer::Buffer;
use ratatui::layout::{Position, Rect};

use crate::state::State;
use crate::time::Timestamp;

use super::keymap::Keymap;
use super::layout::{Tier, layout};
use super::pane::{self, PaneId};
use super::theme::Theme;
use super::ui::{Mode, Ui};
use super::{footer, input, overlay};

/// All that a pane may read. Shared references only: drawing changes nothing.
#[derive(Clone, Copy, Debug)]
pub struct View<'a> {
    /// What happened.
    pub state: &'a State,
    /// What only this screen knows.
    pub ui: &'a Ui,
    /// Roles and marks.
    pub theme: &'a Theme,
    /// The instant drawn: levels and countdowns are functions of it.
    pub now: Timestamp,
}

/// Draws the whole screen. Returns where the real cursor belongs, if text is being typed.
pub fn draw(view: &View<'_>, keymap: &Keymap, area: Rect, buf: &mut Buffer) -> Option<Position> {
    let area = area.intersection(buf.area);
    if area.is_empty() {
        return None;
    }
    let areas = layout(area, view.ui);
    pane::title::render(view, areas.title, buf);
    pane::verdict::render(view, areas.verdict, buf);
    if areas.tier == Tier::Tiny {
        pane::counts(view, areas.counts, buf);
        pane::too_small(view, areas.notice, buf);
    } else {
        pane::frames(view, &areas, buf);
    }
    for (id, _) in &areas.panes {
        id.render(view, areas.inner(*id), buf);
    }
    let mut cursor = input::render(view, areas.input, buf);
    if view.ui.mode == Mode::Filter {
        cursor = areas
            .pane(PaneId::Log)
            .and_then(|log| pane::filter_cursor(view, log));
    }
    footer::render(view, keymap, areas.footer, buf);
    for open in &view.ui.overlays {
        // an overlay hides what is typed below it
        cursor = overlay::render(view, keymap, open, area, buf);
    }
    cursor.filter(|position| area.contains(*position))
}
