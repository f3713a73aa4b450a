//! Keys of the view that compares live: the copy is edited, judged, committed and taken back.

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use ratatui::layout::{Position, Rect};

use super::scroll::lines;
use super::{Effect, Known};
use crate::event::Command;
use crate::settings::{Policy, SETTINGS, Setting, SettingKind};
use crate::state::State;
use crate::tui::action::Action;
use crate::tui::overlay::Overlay;
use crate::tui::overlay::whatif::{self, AT_START, values};
use crate::tui::ui::Ui;

/// Opens the view, and has the copy judged.
pub(super) fn open(ui: &mut Ui, known: &Known<'_>) -> Option<Effect> {
    ui.overlays.push(Overlay::Shadow);
    forget_what_runs(ui, known);
    settle(ui);
    judge(ui, &known.state.session.policy)
}

/// Closes the view: the copy is kept, and judged no more.
pub(super) fn close(ui: &mut Ui, known: &Known<'_>) -> Effect {
    forget_what_runs(ui, known);
    ui.overlays.pop();
    ui.shadow.line = None;
    ui.shadow.edit += 1;
    Effect::Send(Command::EvaluatePolicy {
        edit: ui.shadow.edit,
        policy: None,
    })
}

/// Does what an action says in the open view.
pub(super) fn perform(ui: &mut Ui, known: &Known<'_>, action: Action) -> Option<Effect> {
    let running = &known.state.session.policy;
    let effect = match action {
        Action::Close => return Some(close(ui, known)),
        Action::CommitCopy => commit(ui, known),
        Action::TakeBack => take_back(ui, known),
        Action::SavePolicy => Some(Effect::SavePolicy),
        Action::Less | Action::More | Action::FlipSetting => {
            let next = ui.shadow.stepped(running, action != Action::Less)?;
            set(ui, known, &next)
        }
        Action::ResetSetting => {
            let value = ui.shadow.setting()?.value(running);
            set(ui, known, &value)
        }
        Action::EditValue => {
            ui.shadow.write(running, None);
            None
        }
        Action::LeaveValue => {
            ui.shadow.line = None;
            None
        }
        Action::TakeValue => {
            let changed = ui.shadow.take_line(running);
            changed.then(|| judge(ui, running)).flatten()
        }
        Action::DiscardCopy => {
            ui.shadow.discard();
            ui.say("every change of the copy is discarded", known.now);
            judge(ui, running)
        }
        other => {
            walk(ui, known, other);
            None
        }
    };
    settle(ui);
    effect
}

/// A digit begins to write a value. Whether the key was one.
pub(super) fn typed(ui: &mut Ui, known: &Known<'_>, key: KeyEvent) -> bool {
    let plain = (key.modifiers - KeyModifiers::SHIFT).is_empty();
    let digit = match key.code {
        KeyCode::Char(c) if plain && c.is_ascii_digit() => c,
        _ => return false,
    };
    if !matches!(ui.overlays.last(), Some(Overlay::Shadow)) || ui.shadow.line.is_some() {
        return false;
    }
    match blocked(Action::EditValue, ui, known.state) {
        Some(reason) => ui.say(format!("{digit}: {reason}"), known.now),
        None => ui.shadow.write(&known.state.session.policy, Some(digit)),
    }
    settle(ui);
    true
}

/// A click: the setting there is selected.
pub(super) fn click(ui: &mut Ui, at: Position) {
    if ui.shadow.line.is_some() {
        return;
    }
    if let Some(row) = whatif::setting_at(&ui.shadow, screen(ui), at) {
        ui.shadow.row = row;
        settle(ui);
    }
}

/// Why something is not possible in the open view, or about it.
pub(super) fn blocked(action: Action, ui: &Ui, state: &State) -> Option<String> {
    let open = matches!(ui.overlays.last(), Some(Overlay::Shadow));
    let small =
        !whatif::fits(screen(ui)) && !matches!(action, Action::Close | Action::LeaveValue | Action::Help);
    let always = matches!(action, Action::StopOrQuit | Action::Suspend | Action::Redraw);
    if small && !always && (open || action == Action::CompareLive) {
        return Some("comparing needs 60x16".to_owned());
    }
    let running = &state.session.policy;
    let reason = match action {
        Action::TakeBack if !ui.shadow.can_take_back() => "no copy was committed yet",
        Action::CommitCopy => return no_commit(ui, running),
        Action::DiscardCopy | Action::NextChange | Action::PrevChange if changes(ui, running) == 0 => {
            "the copy has no change"
        }
        Action::Less | Action::More | Action::EditValue | Action::FlipSetting if open => {
            fixed(ui.shadow.setting()?, action)?
        }
        Action::ResetSetting => {
            let setting = ui.shadow.setting()?;
            let runs = setting.value(running);
            let same = ui.shadow.changed(setting, &runs).is_none();
            same.then_some("this setting is as it runs")?
        }
        _ => return None,
    };
    Some(reason.to_owned())
}

fn changes(ui: &Ui, running: &Policy) -> usize {
    ui.shadow.count(&values(running))
}

fn no_commit(ui: &Ui, running: &Policy) -> Option<String> {
    match &ui.shadow.error {
        Some(error) => Some(error.replace(char::is_control, " ")),
        None => (changes(ui, running) == 0)
            .then(|| "the copy has no change: Left and Right change a setting".to_owned()),
    }
}

/// Why a setting cannot be changed in this way.
fn fixed(setting: &Setting, action: Action) -> Option<&'static str> {
    if setting.startup_only {
        return Some(AT_START);
    }
    let words = matches!(setting.kind, SettingKind::Toggle | SettingKind::Choice(_));
    match action {
        Action::FlipSetting if !words => Some("not a switch: Left and Right step, e writes"),
        Action::Less | Action::More if setting.kind == SettingKind::Text => {
            Some("any word will do: e writes it")
        }
        _ => None,
    }
}

/// Sets the value under the cursor, and has the copy judged if it changed.
fn set(ui: &mut Ui, known: &Known<'_>, value: &str) -> Option<Effect> {
    let running = &known.state.session.policy;
    match ui.shadow.set(running, value) {
        Ok(true) => judge(ui, running),
        Ok(false) => {
            ui.say("that is the end of the range", known.now);
            None
        }
        Err(error) => {
            ui.say(error, known.now);
            None
        }
    }
}

/// Has the copy judged as it is now. One that cannot hold is not: its figures are those of before.
fn judge(ui: &mut Ui, running: &Policy) -> Option<Effect> {
    question(ui, running).map(Effect::Send)
}

/// Asks about the copy as it is now, where the view is open.
pub(in crate::tui) fn question(ui: &mut Ui, running: &Policy) -> Option<Command> {
    if !matches!(ui.overlays.last(), Some(Overlay::Shadow)) {
        return None;
    }
    ui.shadow.edit += 1;
    let copy = ui.shadow.check(running)?;
    Some(Command::EvaluatePolicy {
        edit: ui.shadow.edit,
        policy: Some(Box::new(copy)),
    })
}

/// Lets the copy hold.
fn commit(ui: &mut Ui, known: &Known<'_>) -> Option<Effect> {
    let policy = ui.shadow.commit(&known.state.session.policy)?;
    ui.say("policy applied, u takes it back", known.now);
    Some(apply(ui, policy))
}

/// Lets hold again what held before the last commit.
pub(super) fn take_back(ui: &mut Ui, known: &Known<'_>) -> Option<Effect> {
    let before = ui.shadow.take_back()?;
    let name = before.name.replace(char::is_control, " ");
    ui.say(
        format!("taken back: {name} holds again, the copy is kept"),
        known.now,
    );
    Some(apply(ui, before))
}

/// Applies a policy; where the view is open, the copy is judged beside it.
fn apply(ui: &mut Ui, policy: Policy) -> Effect {
    let judged = question(ui, &policy);
    let policy = Box::new(policy);
    let commands = [Some(Command::ApplyPolicy { policy }), judged];
    Effect::SendAll(commands.into_iter().flatten().collect())
}

/// Moves the cursor.
fn walk(ui: &mut Ui, known: &Known<'_>, action: Action) {
    let last = SETTINGS.len().saturating_sub(1);
    let here = ui.shadow.row;
    ui.shadow.row = match action {
        Action::NextChange | Action::PrevChange => next_change(ui, known, action == Action::NextChange),
        Action::NextLayer | Action::PrevLayer => {
            // its heading comes to the top, so that as much of it is seen as can be
            ui.shadow.top = usize::MAX;
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

/// The next changed setting, round from the end to the beginning.
fn next_change(ui: &Ui, known: &Known<'_>, on: bool) -> usize {
    let (running, here) = (values(&known.state.session.policy), ui.shadow.row);
    let changed = |row: &usize| {
        let of = SETTINGS.get(*row).zip(running.get(*row));
        of.is_some_and(|(setting, value)| ui.shadow.changed(setting, value).is_some())
    };
    let mut after = (here + 1..SETTINGS.len()).chain(0..here);
    let found = if on {
        after.find(changed)
    } else {
        after.rfind(changed)
    };
    found.unwrap_or(here)
}

/// The first setting of the next layer; of this one first, going back.
fn next_layer(here: usize, on: bool) -> usize {
    let starts: Vec<usize> = (0..SETTINGS.len())
        .filter(|row| {
            let layer = |row: usize| SETTINGS.get(row).map(Setting::layer);
            *row == 0 || layer(*row) != layer(row - 1)
        })
        .collect();
    let next = if on {
        starts.iter().find(|start| **start > here).or(starts.first())
    } else {
        starts.iter().rfind(|start| **start < here).or(starts.last())
    };
    next.copied().unwrap_or(here)
}

/// What runs by now is no change of the copy any more. Not with every key: right after a commit was taken back, what it
/// changed still runs.
fn forget_what_runs(ui: &mut Ui, known: &Known<'_>) {
    let running = values(&known.state.session.policy);
    ui.shadow.forget_what_runs(&running);
}

/// The cursor stays in the list, and is seen.
fn settle(ui: &mut Ui) {
    ui.shadow.row = ui.shadow.row.min(SETTINGS.len().saturating_sub(1));
    ui.shadow.top = whatif::top(&ui.shadow, screen(ui));
}

fn screen(ui: &Ui) -> Rect {
    Rect::from((Position::ORIGIN, ui.size))
}
