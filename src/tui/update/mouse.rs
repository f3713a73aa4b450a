//! The mouse: a click focuses a pane and selects a row, or presses a key of the footer; a second click shows why; the
//! wheel scrolls the pane under it.

use std::time::Duration;

use crossterm::event::{MouseButton, MouseEvent, MouseEventKind};
use ratatui::layout::{Position, Rect};

use super::{Effect, Performed, UpdateContext, areas, chart, scroll, whatif};
use crate::tui::action::Action;
use crate::tui::footer;
use crate::tui::layout::Tier;
use crate::tui::overlay::{Overlay, area_of, breaker};
use crate::tui::pane::PaneId;
use crate::tui::ui::{Mode, Ui};

/// Rows per notch of the wheel.
const NOTCH: i64 = 3;

/// The longest time between the two clicks of a double click.
const DOUBLE: Duration = Duration::from_millis(400);

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
    let again = is_second(ui, context, position);
    if !ui.overlays.is_empty() {
        return click_overlay(ui, context, position, again);
    }
    if areas.input.contains(position) && !ui.read_only {
        ui.start_typing();
        return None;
    }
    let pane = areas.at(position)?;
    let title = areas.tier != Tier::Tiny && areas.pane(pane).is_some_and(|rect| rect.y == position.y);
    if !title && let Performed::Done(effect) = chart::click(ui, context, position) {
        ui.mode = Mode::Normal;
        return effect;
    }
    // a pane that has lost the focus since the first click gets it back
    if !again || ui.focus != pane {
        ui.focus_on(pane);
        ui.mode = Mode::Normal;
        if !title {
            scroll::select_row(ui, context, pane, areas.inner(pane), position.y);
        }
        return None;
    }
    match pane {
        _ if title => super::zoom(ui),
        PaneId::Calls | PaneId::Log => return super::perform(ui, context, Action::Open),
        _ => {}
    }
    None
}

/// Returns true for the second click on a row within [`DOUBLE`].
fn is_second(ui: &mut Ui, context: &UpdateContext<'_>, position: Position) -> bool {
    let near = |at: Position| at.y == position.y && at.x.abs_diff(position.x) <= 1;
    let first = ui.clicked.take();
    let second = first.is_some_and(|(when, at)| near(at) && context.now.since(when) < DOUBLE);
    if !second {
        ui.clicked = Some((context.now, position));
    }
    second
}

/// A click while an overlay is open: on a row it selects or runs it, outside it closes the overlay.
fn click_overlay(
    ui: &mut Ui,
    context: &UpdateContext<'_>,
    position: Position,
    again: bool,
) -> Option<Effect> {
    let screen = Rect::new(0, 0, ui.size.width, ui.size.height);
    let overlay = ui.overlays.last_mut()?;
    let area = area_of(overlay, screen);
    let row = usize::from(position.y.saturating_sub(area.y + 1));
    match overlay {
        // a question is answered by a key only
        Overlay::Confirm(_) => {}
        Overlay::WhatIf if area.contains(position) => whatif::click(ui, position),
        Overlay::WhatIf => whatif::close(ui, context),
        _ if !area.contains(position) => {
            ui.overlays.pop();
        }
        Overlay::Breaker => {
            let (action, ..) = breaker::CHOICES.get(row)?;
            return super::perform(ui, context, *action);
        }
        Overlay::Palette(palette) => {
            palette.select(area, position.y);
            if again {
                return super::perform(ui, context, Action::Accept);
            }
        }
        _ => {}
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
    if let Some(Overlay::Details(call)) = ui.overlays.last() {
        scroll::scroll_story(ui, context, *call, by);
        return None;
    }
    let step = if by < 0 { Action::Up } else { Action::Down };
    super::perform(ui, context, step)
}
