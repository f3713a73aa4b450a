//! Text input: the prompt, the filter, search fields. Typed keys never trigger a command.

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

use super::{Effect, Performed, UpdateContext};
use crate::event::Command;
use crate::tui::action::Action;
use crate::tui::editor::{Edit, Editor};
use crate::tui::keymap::Context;
use crate::tui::overlay::Overlay;
use crate::tui::pane::PaneId;
use crate::tui::ui::{Mode, Ui};

/// The text field with the focus, and true if it is a single line.
fn target(ui: &mut Ui) -> Option<(&mut Editor, bool)> {
    let typing = ui.typing();
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
        Some(Overlay::Save(save)) => Some((&mut save.name, true)),
        Some(Overlay::Faults(_) | Overlay::Breaker | Overlay::Confirm(_) | Overlay::Details(_)) => None,
        None => match ui.mode {
            Mode::Filter => Some((ui.filters.entry(ui.focus).or_default(), true)),
            Mode::Normal => typing.then_some((&mut ui.draft, false)),
        },
    }
}

/// Handles a key without an action: text, or an edit.
pub(super) fn key(ui: &mut Ui, key: KeyEvent) {
    let control = key.modifiers.contains(KeyModifiers::CONTROL);
    let alt = key.modifiers.contains(KeyModifiers::ALT);
    let replaces = match key.code {
        KeyCode::Char(_) => !control && !alt,
        code => matches!(code, KeyCode::Backspace | KeyCode::Delete),
    };
    replace_selected(ui, replaces);
    let Some((editor, _)) = target(ui) else { return };
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

/// Ends the selection of a filter; removes its text if new text replaces it.
fn replace_selected(ui: &mut Ui, replaces: bool) {
    let selected = ui.overlays.is_empty() && std::mem::take(&mut ui.filter_selected);
    if selected
        && replaces
        && let Some(filter) = ui.filters.get_mut(&ui.focus)
    {
        filter.take();
    }
}

/// Handles a paste: one edit, never a command or a submission. Without a text field it goes to the prompt.
pub(super) fn paste(ui: &mut Ui, context: &UpdateContext<'_>, text: &str) {
    if ui.keys() == Context::Normal && !ui.read_only {
        ui.start_typing();
    }
    replace_selected(ui, true);
    let inserted = match target(ui) {
        Some((editor, true)) => editor.insert_line(text),
        Some((editor, false)) => editor.insert(text),
        None => {
            let reason = if ui.read_only {
                "this session is read-only"
            } else {
                "paste: nothing here takes text; Esc closes it"
            };
            ui.say(reason, context.now);
            return;
        }
    };
    if !inserted {
        ui.say("paste too long: a prompt is at most 64 KiB", context.now);
    }
}

/// Performs an action of the prompt or the filter.
pub(super) fn perform(ui: &mut Ui, context: &UpdateContext<'_>, action: Action) -> Performed {
    match (ui.context(), action) {
        (Context::Input, Action::Submit) => return Performed::Done(submit(ui, context)),
        (Context::Input, Action::EditPrompt) => return Performed::Done(Some(Effect::EditPrompt)),
        (Context::Input, Action::Newline) => {
            ui.draft.insert("\n");
        }
        (Context::Input, Action::HistoryPrev) => {
            if !ui.draft.up() {
                ui.history.earlier(&mut ui.draft);
            }
        }
        (Context::Input, Action::HistoryNext) => {
            if !ui.draft.down() {
                ui.history.later(&mut ui.draft);
            }
        }
        (Context::Input, Action::Leave) => leave(ui),
        (Context::Line, Action::Leave) => {
            ui.filters.remove(&ui.focus);
            ui.end_filter();
        }
        (Context::Line, Action::Submit) => ui.end_filter(),
        _ => return Performed::NotHandled,
    }
    Performed::Done(None)
}

/// Clears the text being typed. Returns the message to show; `None` without text.
pub(super) fn clear(ui: &mut Ui) -> Option<&'static str> {
    let prompt = ui.context() == Context::Input;
    let (editor, _) = target(ui)?;
    let text = editor.take();
    if text.is_empty() {
        return None;
    }
    if prompt {
        ui.history.push(&text);
        return Some("cleared; Up brings it back");
    }
    Some("cleared")
}

/// Closes the text field with the focus, if it is not in an overlay.
pub(super) fn close(ui: &mut Ui) -> bool {
    match ui.context() {
        Context::Input => leave(ui),
        Context::Line => ui.end_filter(),
        _ => return false,
    }
    true
}

/// Leaves the prompt to the pane before it. The draft is kept.
fn leave(ui: &mut Ui) {
    if ui.filters.remove(&PaneId::Chat).is_some() {
        return;
    }
    ui.zoomed = false;
    ui.chat_top = None;
    ui.focus = ui.previous;
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
