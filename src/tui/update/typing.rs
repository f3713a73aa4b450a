//! Text input: the prompt, the filter, search fields. Typed keys never trigger a command.

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

use super::{Effect, UpdateContext};
use crate::event::Command;
use crate::tui::action::Action;
use crate::tui::editor::{Edit, Editor};
use crate::tui::overlay::Overlay;
use crate::tui::pane::PaneId;
use crate::tui::ui::{Mode, Ui};

/// The text field with the focus, and true if it is a single line.
fn target(ui: &mut Ui) -> Option<(&mut Editor, bool)> {
    match ui.overlays.last_mut() {
        Some(Overlay::Help(help)) => {
            help.scroll = 0;
            Some((&mut help.search, true))
        }
        Some(Overlay::Palette(palette)) => {
            palette.selected = 0;
            Some((&mut palette.query, true))
        }
        Some(Overlay::WhatIf) => {
            let line = ui.whatif.line.as_mut()?;
            line.error = None;
            Some((&mut line.editor, true))
        }
        Some(Overlay::Faults(_) | Overlay::Confirm(_) | Overlay::Details(_)) => None,
        None => match ui.mode {
            Mode::Normal => None,
            Mode::Input => Some((&mut ui.draft, false)),
            Mode::Filter => Some((&mut ui.filter, true)),
        },
    }
}

/// Handles a key without an action: text, or an edit.
pub(super) fn key(ui: &mut Ui, key: KeyEvent) {
    let Some((editor, _)) = target(ui) else { return };
    let control = key.modifiers.contains(KeyModifiers::CONTROL);
    let alt = key.modifiers.contains(KeyModifiers::ALT);
    let edit = match (key.code, control, alt) {
        (KeyCode::Char(c), false, false) => {
            editor.insert(c.encode_utf8(&mut [0; 4]));
            return;
        }
        // AltGr arrives as Ctrl+Alt on some keyboards
        (KeyCode::Char(c), true, true) if !c.is_ascii_alphanumeric() => {
            editor.insert(c.encode_utf8(&mut [0; 4]));
            return;
        }
        (KeyCode::Backspace, false, true) | (KeyCode::Char('w') | KeyCode::Backspace, true, _) => {
            Edit::DeleteWord
        }
        (KeyCode::Backspace, ..) | (KeyCode::Char('h'), true, _) => Edit::Backspace,
        (KeyCode::Delete, ..) | (KeyCode::Char('d'), true, _) => Edit::Delete,
        (KeyCode::Char('u'), true, _) => Edit::DeleteToStart,
        (KeyCode::Char('k'), true, _) => Edit::DeleteToEnd,
        (KeyCode::Left, true, _) | (KeyCode::Left | KeyCode::Char('b'), _, true) => Edit::WordLeft,
        (KeyCode::Right, true, _) | (KeyCode::Right | KeyCode::Char('f'), _, true) => Edit::WordRight,
        (KeyCode::Left, ..) | (KeyCode::Char('b'), true, _) => Edit::Left,
        (KeyCode::Right, ..) | (KeyCode::Char('f'), true, _) => Edit::Right,
        (KeyCode::Home, ..) | (KeyCode::Char('a'), true, _) => Edit::Start,
        (KeyCode::End, ..) | (KeyCode::Char('e'), true, _) => Edit::End,
        _ => return,
    };
    editor.edit(edit);
}

/// Handles a paste: one edit, never a command or a submission. Without a text field it opens the prompt.
pub(super) fn paste(ui: &mut Ui, context: &UpdateContext<'_>, text: &str) {
    if ui.overlays.is_empty() && ui.mode == Mode::Normal {
        if ui.read_only {
            ui.say("this session is read-only", context.now);
            return;
        }
        ui.mode = Mode::Input;
    }
    let inserted = match target(ui) {
        Some((editor, true)) => editor.insert_line(text),
        Some((editor, false)) => editor.insert(text),
        None => return,
    };
    if !inserted {
        ui.say("paste too long: a prompt is at most 64 KiB", context.now);
    }
}

/// Performs an action of the prompt or the filter.
pub(super) fn perform(ui: &mut Ui, context: &UpdateContext<'_>, action: Action) -> Option<Effect> {
    match (ui.mode, action) {
        (Mode::Input, Action::Submit) => return submit(ui, context),
        (Mode::Input, Action::Newline) => {
            ui.draft.insert("\n");
        }
        (Mode::Input, Action::HistoryPrev) => {
            if !ui.draft.up() {
                ui.history.earlier(&mut ui.draft);
            }
        }
        (Mode::Input, Action::HistoryNext) => {
            if !ui.draft.down() {
                ui.history.later(&mut ui.draft);
            }
        }
        (Mode::Filter, Action::Leave) => {
            ui.filter.take();
            ui.mode = Mode::Normal;
        }
        (_, Action::Submit | Action::Leave) => ui.mode = Mode::Normal,
        // page keys scroll the conversation
        (Mode::Input, page) => super::scroll::scroll(ui, context, PaneId::Chat, page),
        (Mode::Normal | Mode::Filter, _) => {}
    }
    None
}

/// Sends the prompt. It stays in the editor until the engine has accepted it.
fn submit(ui: &mut Ui, context: &UpdateContext<'_>) -> Option<Effect> {
    let prompt = ui.draft.text().trim().to_owned();
    if prompt.is_empty() {
        ui.say("nothing to send: type a prompt first", context.now);
        return None;
    }
    Some(Effect::Send(Command::Send {
        prompt,
        user: ui.asking(),
        conversation: ui.conversation,
    }))
}
