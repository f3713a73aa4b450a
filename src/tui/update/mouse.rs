//! The mouse: a click focuses a pane or presses a footer key; the wheel scrolls the pane under it.

use crossterm::event::{MouseButton, MouseEvent, MouseEventKind};
use ratatui::layout::{Position, Rect};

use super::{Effect, Performed, UpdateContext, areas, chart, scroll, whatif};
use crate::tui::action::Action;
use crate::tui::footer;
use crate::tui::overlay::{Overlay, area_of};
use crate::tui::pane::PaneId;
use crate::tui::ui::{Mode, Ui};

/// Rows per notch of the wheel.
const NOTCH: i64 = 3;

/// Returns true for events with an effect; movement and releases have none.
pub(super) fn matters(mouse: MouseEvent) -> bool {
    matches!(
        mouse.kind,
        MouseEventKind::Down(MouseButton::Left) | MouseEventKind::ScrollUp | MouseEventKind::ScrollDown
    )
}

/// Handles a mouse event.
pub(super) fn update(ui: &mut Ui, context: &UpdateContext<'_>, mouse: MouseEvent) -> Option<Effect> {
    let position = Position::new(mouse.column, mouse.row);
    match mouse.kind {
        MouseEventKind::Down(MouseButton::Left) => click(ui, context, position),
        MouseEventKind::ScrollUp => wheel(ui, context, position, -NOTCH),
        MouseEventKind::ScrollDown => wheel(ui, context, position, NOTCH),
        _ => None,
    }
}

fn click(ui: &mut Ui, context: &UpdateContext<'_>, position: Position) -> Option<Effect> {
    let areas = areas(ui);
    if areas.footer.contains(position) {
        let action = footer::at(ui, context.shown, context.keymap, areas.footer, position.x)?;
        return super::perform(ui, context, action);
    }
    if let Some(overlay) = ui.overlays.last() {
        let screen = Rect::new(0, 0, ui.size.width, ui.size.height);
        let outside = !area_of(overlay, screen).contains(position);
        // a confirmation is answered by key only
        match overlay {
            Overlay::WhatIf if outside => whatif::close(ui, context),
            Overlay::WhatIf => whatif::click(ui, position),
            Overlay::Confirm(_) => {}
            _ if outside => {
                ui.overlays.pop();
            }
            _ => {}
        }
        return None;
    }
    if areas.input.contains(position) && !ui.read_only {
        ui.start_typing();
        return None;
    }
    if let Performed::Done(effect) = chart::click(ui, context, position) {
        ui.mode = Mode::Normal;
        return effect;
    }
    if let Some(pane) = areas.at(position) {
        ui.focus_on(pane);
        ui.mode = Mode::Normal;
    }
    None
}

fn wheel(ui: &mut Ui, context: &UpdateContext<'_>, position: Position, by: i64) -> Option<Effect> {
    if ui.overlays.is_empty() {
        let areas = areas(ui);
        let pane = areas.at(position)?;
        if areas.has_chart(pane, position) {
            let action = if by < 0 {
                Action::ShorterWindow
            } else {
                Action::LongerWindow
            };
            return super::perform(ui, context, action);
        }
        if matches!(pane, PaneId::Chat | PaneId::Log | PaneId::Calls) {
            scroll::scroll_by(ui, context, pane, by);
        }
        return None;
    }
    let step = if by < 0 { Action::Up } else { Action::Down };
    super::perform(ui, context, step)
}
