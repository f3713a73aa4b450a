//! Keys of the what-if overlay: the policy is edited, evaluated and applied.

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use ratatui::layout::{Position, Rect};

use super::scroll::lines;
use super::{Effect, UpdateContext, command};
use crate::event::Command;
use crate::settings::{Policy, SETTINGS, Setting, SettingKind};
use crate::state::State;
use crate::tui::action::Action;
use crate::tui::overlay::Overlay;
use crate::tui::overlay::save::{Save, Saved};
use crate::tui::overlay::whatif::{self, AT_START, values};
use crate::tui::ui::Ui;

/// Opens the overlay and requests an evaluation.
pub(super) fn open(ui: &mut Ui, context: &UpdateContext<'_>) {
    ui.overlays.push(Overlay::WhatIf);
    drop_applied(ui, context);
    clamp_cursor(ui);
    evaluate(ui, &context.state.session.policy);
}

/// Closes the overlay: edits are kept and no longer evaluated.
pub(super) fn close(ui: &mut Ui, context: &UpdateContext<'_>) {
    drop_applied(ui, context);
    ui.overlays.pop();
    ui.whatif.line = None;
    ui.whatif.request = None;
}

/// Performs an action in the open overlay.
pub(super) fn perform(ui: &mut Ui, context: &UpdateContext<'_>, action: Action) -> Option<Effect> {
    let running = &context.state.session.policy;
    let mut effect = None;
    match action {
        Action::Close => close(ui, context),
        Action::ApplyDraft => effect = apply_draft(ui, context),
        Action::Undo => effect = command::undo(ui, context),
        Action::SavePolicy => ui.overlays.push(Overlay::Save(Save::new(Saved::Policy))),
        Action::Less | Action::More | Action::ToggleSetting => {
            let next = ui.whatif.stepped(running, action != Action::Less)?;
            set(ui, context, &next);
        }
        Action::ResetSetting => {
            let value = ui.whatif.setting()?.value(running);
            set(ui, context, &value);
        }
        Action::EditValue => ui.whatif.edit_value(running, None),
        Action::CancelValue => ui.whatif.line = None,
        Action::AcceptValue => {
            if ui.whatif.accept_value(running) {
                evaluate(ui, running);
            }
        }
        Action::DiscardDraft => {
            ui.whatif.discard();
            ui.say("all edits discarded", context.now);
            evaluate(ui, running);
        }
        other => move_cursor(ui, context, other),
    }
    clamp_cursor(ui);
    effect
}

/// Starts to type a value with a digit; returns true if the key was one.
pub(super) fn typed(ui: &mut Ui, context: &UpdateContext<'_>, key: KeyEvent) -> bool {
    let plain = (key.modifiers - KeyModifiers::SHIFT).is_empty();
    let digit = match key.code {
        KeyCode::Char(c) if plain && c.is_ascii_digit() => c,
        _ => return false,
    };
    if !matches!(ui.overlays.last(), Some(Overlay::WhatIf)) || ui.whatif.line.is_some() {
        return false;
    }
    match blocked(Action::EditValue, ui, context.state) {
        Some(reason) => ui.say(format!("{digit}: {reason}"), context.now),
        None => ui.whatif.edit_value(&context.state.session.policy, Some(digit)),
    }
    clamp_cursor(ui);
    true
}

/// Selects the clicked setting.
pub(super) fn click(ui: &mut Ui, at: Position) {
    if ui.whatif.line.is_some() {
        return;
    }
    if let Some(row) = whatif::setting_at(&ui.whatif, screen(ui), at) {
        ui.whatif.row = row;
        clamp_cursor(ui);
    }
}

/// The reason why an action of the overlay is not possible.
pub(super) fn blocked(action: Action, ui: &Ui, state: &State) -> Option<String> {
    let open = matches!(ui.overlays.last(), Some(Overlay::WhatIf));
    let small =
        !whatif::fits(screen(ui)) && !matches!(action, Action::Close | Action::CancelValue | Action::Help);
    let always = matches!(action, Action::StopOrQuit | Action::Suspend | Action::Redraw);
    if small && !always && (open || action == Action::WhatIf) {
        return Some("needs a terminal of 60x16".to_owned());
    }
    let running = &state.session.policy;
    let reason = match action {
        Action::ApplyDraft => return apply_blocked(ui, running),
        Action::DiscardDraft | Action::NextChange | Action::PrevChange if changes(ui, running) == 0 => {
            "no edits"
        }
        Action::Less | Action::More | Action::EditValue | Action::ToggleSetting if open => {
            fixed(ui.whatif.setting()?, action)?
        }
        Action::ResetSetting => {
            let setting = ui.whatif.setting()?;
            let unchanged = ui.whatif.changed(setting, &setting.value(running)).is_none();
            unchanged.then_some("unchanged")?
        }
        _ => return None,
    };
    Some(reason.to_owned())
}

fn changes(ui: &Ui, running: &Policy) -> usize {
    ui.whatif.count(&values(running))
}

fn apply_blocked(ui: &Ui, running: &Policy) -> Option<String> {
    match &ui.whatif.error {
        Some(error) => Some(error.replace(char::is_control, " ")),
        None => (changes(ui, running) == 0).then(|| "no edits: Left/Right changes a setting".to_owned()),
    }
}

/// The reason why a setting cannot be changed in this way.
fn fixed(setting: &Setting, action: Action) -> Option<&'static str> {
    if setting.startup_only {
        return Some(AT_START);
    }
    let toggles = matches!(setting.kind, SettingKind::Toggle | SettingKind::Choice(_));
    match action {
        Action::ToggleSetting if !toggles => Some("not a toggle: use Left/Right, or e to type a value"),
        Action::Less | Action::More if setting.kind == SettingKind::Text => {
            Some("free text: e to type a value")
        }
        _ => None,
    }
}

/// Sets the selected setting and requests an evaluation if it changed.
fn set(ui: &mut Ui, context: &UpdateContext<'_>, value: &str) {
    let running = &context.state.session.policy;
    match ui.whatif.set(running, value) {
        Ok(true) => evaluate(ui, running),
        Ok(false) => ui.say("end of the range", context.now),
        Err(error) => ui.say(error, context.now),
    }
}

/// Requests the evaluation of the edited policy if the overlay is open.
pub(super) fn evaluate(ui: &mut Ui, running: &Policy) {
    if matches!(ui.overlays.last(), Some(Overlay::WhatIf)) {
        ui.whatif.evaluate(running);
    }
}

/// Applies the edited policy.
fn apply_draft(ui: &mut Ui, context: &UpdateContext<'_>) -> Option<Effect> {
    let running = &context.state.session.policy;
    let policy = Box::new(ui.whatif.apply(running)?);
    evaluate(ui, &policy);
    let before = Command::ApplyPolicy {
        policy: Box::new(running.clone()),
    };
    let command = Command::ApplyPolicy { policy };
    Some(command::change(ui, context, "policy applied", command, before))
}

/// Moves the cursor.
fn move_cursor(ui: &mut Ui, context: &UpdateContext<'_>, action: Action) {
    let last = SETTINGS.len().saturating_sub(1);
    let here = ui.whatif.row;
    ui.whatif.row = match action {
        Action::NextChange | Action::PrevChange => next_change(ui, context, action == Action::NextChange),
        Action::NextLayer | Action::PrevLayer => {
            // scrolls its heading to the top
            ui.whatif.top = usize::MAX;
            next_layer(here, action == Action::NextLayer)
        }
        step => {
            let page = i64::try_from(whatif::page(screen(ui))).unwrap_or(1);
            let by = lines(step, (page - 1).max(1));
            let steps = usize::try_from(by.unsigned_abs()).unwrap_or(usize::MAX);
            if by < 0 {
                here.saturating_sub(steps)
            } else {
                here.saturating_add(steps).min(last)
            }
        }
    };
}

/// The next or previous changed setting, wrapping around.
fn next_change(ui: &Ui, context: &UpdateContext<'_>, forward: bool) -> usize {
    let (running, here) = (values(&context.state.session.policy), ui.whatif.row);
    let changed = |row: &usize| {
        let setting = SETTINGS.get(*row).zip(running.get(*row));
        setting.is_some_and(|(setting, value)| ui.whatif.changed(setting, value).is_some())
    };
    let mut after = (here + 1..SETTINGS.len()).chain(0..here);
    let found = if forward {
        after.find(changed)
    } else {
        after.rfind(changed)
    };
    found.unwrap_or(here)
}

/// The first setting of the next layer, or of this or the previous layer when going back.
fn next_layer(here: usize, forward: bool) -> usize {
    let starts: Vec<usize> = (0..SETTINGS.len())
        .filter(|row| {
            let layer = |row: usize| SETTINGS.get(row).map(Setting::layer);
            *row == 0 || layer(*row) != layer(row - 1)
        })
        .collect();
    let next = if forward {
        starts.iter().find(|start| **start > here).or(starts.first())
    } else {
        starts.iter().rfind(|start| **start < here).or(starts.last())
    };
    next.copied().unwrap_or(here)
}

/// Drops changes that equal the running policy. Not on every key: right after an undo, the undone policy still
/// runs.
fn drop_applied(ui: &mut Ui, context: &UpdateContext<'_>) {
    let running = values(&context.state.session.policy);
    ui.whatif.drop_applied(&running);
}

/// Clamps the cursor to the list and scrolls it into view.
fn clamp_cursor(ui: &mut Ui) {
    ui.whatif.row = ui.whatif.row.min(SETTINGS.len().saturating_sub(1));
    ui.whatif.top = whatif::top(&ui.whatif, screen(ui));
}

fn screen(ui: &Ui) -> Rect {
    Rect::from((Position::ORIGIN, ui.size))
}
