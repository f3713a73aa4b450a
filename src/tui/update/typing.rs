//! Keys that are text: the prompt, the filter, the search lines of lists. Nothing here fires a command.

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

use super::{Effect, Known};
use crate::event::Command;
use crate::tui::action::Action;
use crate::tui::editor::{Edit, Editor};
use crate::tui::overlay::Overlay;
use crate::tui::pane::PaneId;
use crate::tui::ui::{Mode, Ui};

/// What is being edited, and whether it has one line only.
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
        Some(Overlay::Shadow) => {
            let line = ui.shadow.line.as_mut()?;
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

/// A key that means nothing else: text, or an edit.
pub(super) fn key(ui: &mut Ui, key: KeyEvent) {
    let Some((editor, _)) = target(ui) else { return };
    let control = key.modifiers.contains(KeyModifiers::CONTROL);
    let alt = key.modifiers.contains(KeyModifiers::ALT);
    let edit = match (key.code, control, alt) {
        (KeyCode::Char(c), false, false) => {
            editor.insert(c.encode_utf8(&mut [0; 4]));
            return;
        }
        // AltGr arrives as Ctrl+Alt on some keyboards: then it is text
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

/// A paste: one edit, never a command, never a submission. Outside of any text it opens the prompt.
pub(super) fn paste(ui: &mut Ui, known: &Known<'_>, text: &str) {
    if ui.overlays.is_empty() && ui.mode == Mode::Normal {
        if ui.read_only {
            ui.say("this session is read-only", known.now);
            return;
        }
        ui.mode = Mode::Input;
    }
    let taken = match target(ui) {
        Some((editor, true)) => editor.insert_line(text),
        Some((editor, false)) => editor.insert(text),
        None => return,
    };
    if !taken {
        ui.say("too long: a prompt has at most 64 KiB", known.now);
    }
}

/// Actions of the prompt and of the filter.
pub(super) fn perform(ui: &mut Ui, known: &Known<'_>, action: Action) -> Option<Effect> {
    match (ui.mode, action) {
        (Mode::Input, Action::Submit) => return submit(ui, known),
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
        // paging while a prompt is written moves the conversation
        (Mode::Input, page) => super::scroll::scroll(ui, known, PaneId::Chat, page),
        (Mode::Normal | Mode::Filter, _) => {}
    }
    None
}

/// Sends the prompt. The draft stays until the engine has taken it.
fn submit(ui: &mut Ui, known: &Known<'_>) -> Option<Effect> {
    let prompt = ui.draft.text().trim().to_owned();
    if prompt.is_empty() {
        ui.say("nothing to send: write a question first", known.now);
        return None;
    }
    Some(Effect::Send(Command::Send {
        prompt,
        user: ui.asking(),
        conversation: ui.conversation,
    }))
}
