//! The chat: its system prompt and temperature, one answer stopped, the prompt in the user's editor.

use super::{Effect, UpdateContext, command, scroll};
use crate::event::{CallId, Command};
use crate::state::State;
use crate::text::units;
use crate::tui::action::Action;
use crate::tui::editor::Editor;
use crate::tui::keymap::Context;
use crate::tui::overlay::{Overlay, Palette};
use crate::tui::pane::chat;
use crate::tui::ui::Ui;

/// Opens the palette with a command that takes a text, followed by the current one.
pub(super) fn ask_for_text(ui: &mut Ui, action: Action) {
    let current = match action {
        Action::SetSystem => ui.chat.system.clone(),
        _ => ui.chat.temperature.map(units::number),
    };
    let text = format!("{} {}", action.label(), current.unwrap_or_default());
    ui.overlays.push(Overlay::Palette(Palette {
        query: Editor::from_text(&text),
        selected: 0,
    }));
}

/// Sets the system prompt or the temperature; `off` removes it.
pub(super) fn set(ui: &mut Ui, context: &UpdateContext<'_>, action: Action, text: &str) -> Option<Effect> {
    let off = text.is_empty() || text.eq_ignore_ascii_case("off");
    let mut options = ui.chat.clone();
    let done = if action == Action::SetSystem {
        options.system = (!off).then(|| text.to_owned());
        if off {
            "no system prompt".to_owned()
        } else {
            "system prompt set".to_owned()
        }
    } else if off {
        options.temperature = None;
        "temperature not sent".to_owned()
    } else if let Ok(value) = text.parse() {
        options.temperature = Some(value);
        if value == 0.0 {
            "temperature 0".to_owned()
        } else {
            format!("temperature {value}: answers differ, so the cache is bypassed")
        }
    } else {
        let problem = format!("temperature {text}: write a number from 0 to 2, or off");
        ui.say(problem, context.now);
        return None;
    };
    if let Err(problem) = options.validate() {
        ui.say(format!("{problem}, or off"), context.now);
        return None;
    }
    ui.overlays.clear();
    let set = |options| Command::SetChat { options };
    let before = set(ui.chat.clone());
    Some(command::change(ui, context, &done, set(options), before))
}

/// The call that [`Action::StopCall`] stops: the open one; in the chat the one that answers; else the selected one.
pub(super) fn to_stop(ui: &Ui, state: &State) -> Option<CallId> {
    let call = match (ui.overlays.last(), ui.context()) {
        (Some(Overlay::Details(call)), _) => Some(*call),
        (_, Context::Input) => chat::answering(state),
        _ => scroll::call_in(ui, state),
    };
    call.filter(|id| state.calls.recent.get(id).is_some_and(|call| call.fate.is_none()))
}
