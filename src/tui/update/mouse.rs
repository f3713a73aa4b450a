//! The mouse: a click focuses a pane or presses a key of the footer, the wheel scrolls what is under it.

use crossterm::event::{MouseButton, MouseEvent, MouseEventKind};
use ratatui::layout::{Position, Rect};

use super::{Effect, Known, areas, scroll, whatif};
use crate::tui::action::Action;
use crate::tui::footer;
use crate::tui::overlay::{Overlay, area_of};
use crate::tui::pane::PaneId;
use crate::tui::ui::{Mode, Ui};

/// Rows one notch of the wheel moves.
const NOTCH: i64 = 3;

/// Whether an event can change anything: movement and releases cannot.
pub(super) fn matters(mouse: MouseEvent) -> bool {
    matches!(
        mouse.kind,
        MouseEventKind::Down(MouseButton::Left) | MouseEventKind::ScrollUp | MouseEventKind::ScrollDown
    )
}

/// Obeys the mouse.
pub(super) fn update(ui: &mut Ui, known: &Known<'_>, mouse: MouseEvent) -> Option<Effect> {
    let position = Position::new(mouse.column, mouse.row);
    match mouse.kind {
        MouseEventKind::Down(MouseButton::Left) => click(ui, known, position),
        MouseEventKind::ScrollUp => wheel(ui, known, position, -NOTCH),
        MouseEventKind::ScrollDown => wheel(ui, known, position, NOTCH),
        _ => None,
    }
}

fn click(ui: &mut Ui, known: &Known<'_>, position: Position) -> Option<Effect> {
    let areas = areas(ui);
    if areas.footer.contains(position) {
        let action = footer::at(ui, known.shown, known.keymap, areas.footer, position.x)?;
        return super::perform(ui, known, action);
    }
    if let Some(overlay) = ui.overlays.last() {
        let screen = Rect::new(0, 0, ui.size.width, ui.size.height);
        let outside = !area_of(overlay, screen).contains(position);
        // a question wants an answer, not a slip of the hand
        match overlay {
            Overlay::Shadow if outside => return Some(whatif::close(ui, known)),
            Overlay::Shadow => whatif::click(ui, position),
            Overlay::Confirm(_) => {}
            _ if outside => {
                ui.overlays.pop();
            }
            _ => {}
        }
        return None;
    }
    if areas.input.contains(position) && !ui.read_only {
        ui.mode = Mode::Input;
        return None;
    }
    if let Some(pane) = areas.at(position) {
        ui.focus = pane;
        ui.mode = Mode::Normal;
    }
    None
}

fn wheel(ui: &mut Ui, known: &Known<'_>, position: Position, by: i64) -> Option<Effect> {
    if ui.overlays.is_empty() {
        let pane = areas(ui).at(position)?;
        if matches!(pane, PaneId::Chat | PaneId::Log | PaneId::Attempts) {
            scroll::scroll_by(ui, known, pane, by);
        }
        return None;
    }
    let step = if by < 0 { Action::Up } else { Action::Down };
    super::perform(ui, known, step)
}
