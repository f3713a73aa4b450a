//! The reaction to keys, clicks and pastes: `(Ui, context, input) -> (Ui, effect)`. Pure: no await, no I/O. The
//! event loop carries out effects.

mod blocked;
mod chart;
mod chat;
mod command;
mod mouse;
mod scroll;
mod typing;
mod whatif;

use std::path::PathBuf;

use crossterm::event::{Event as Terminal, KeyEvent, KeyEventKind};
use ratatui::layout::{Rect, Size};

use crate::event::{CallId, Command};
use crate::state::State;
use crate::time::Timestamp;

use super::action::Action;
use super::keymap::{Chord, Context, Keymap};
use super::layout::{Areas, layout};
use super::overlay::help::Subject;
use super::overlay::save::Saved;
use super::overlay::{Faults, Help, Overlay, Palette, Save, area_of, help};
use super::pane::PaneId;
use super::playback::bar::Control;
use super::theme::Theme;
use super::tour;
use super::ui::Ui;
use super::view::View;

pub use blocked::blocked;
pub(super) use blocked::one_line;
pub(super) use command::start_load;

/// The read-only inputs of an update.
#[derive(Clone, Copy, Debug)]
pub struct UpdateContext<'a> {
    /// The current state; commands depend on it.
    pub state: &'a State,
    /// The drawn state; differs while the view is paused. Scrolling depends on it.
    pub shown: &'a State,
    /// The drawn time: that of the pause, or the recorded time of a replay.
    pub shown_at: Timestamp,
    /// The key table.
    pub keymap: &'a Keymap,
    /// The current time.
    pub now: Timestamp,
}

/// An effect for the event loop.
#[derive(Clone, Debug, PartialEq)]
pub enum Effect {
    /// Send a command to the engine.
    Send(Command),
    /// Send several, in order.
    SendAll(Vec<Command>),
    /// Copy text to the clipboard.
    Copy(String),
    /// Save to a new file of this name; `None`: a name with the date.
    Save(Saved, Option<PathBuf>),
    /// Pause or resume the view.
    Pause,
    /// Control playback.
    Control(Control),
    /// Return the terminal to the shell until `fg`.
    Suspend,
    /// Edit the prompt in the user's editor.
    EditPrompt,
    /// Redraw every cell.
    Redraw,
    /// Quit.
    Quit,
    /// Quit with the exit code of SIGINT.
    Interrupt,
}

/// The result of offering an action to a handler.
enum Performed {
    Done(Option<Effect>),
    NotHandled,
}

/// Handles one input.
pub fn update(ui: &mut Ui, context: &UpdateContext<'_>, input: &Terminal) -> Option<Effect> {
    match input {
        Terminal::Key(key) if key.kind != KeyEventKind::Release => key_pressed(ui, context, *key),
        Terminal::Paste(text) => {
            typing::paste(ui, context, text);
            None
        }
        Terminal::Mouse(mouse) => mouse::update(ui, context, *mouse),
        Terminal::Resize(width, height) => {
            ui.size = Size::new(*width, *height);
            None
        }
        Terminal::Key(_) | Terminal::FocusGained | Terminal::FocusLost => None,
    }
}

/// Returns true if an input can change the picture: mouse movement must not cause a frame.
pub fn matters(input: &Terminal) -> bool {
    match input {
        Terminal::Key(key) => key.kind != KeyEventKind::Release,
        Terminal::Mouse(mouse) => mouse::matters(*mouse),
        Terminal::Paste(_) | Terminal::Resize(..) => true,
        Terminal::FocusGained | Terminal::FocusLost => false,
    }
}

fn key_pressed(ui: &mut Ui, context: &UpdateContext<'_>, key: KeyEvent) -> Option<Effect> {
    if let Some(effect) = tour::key(ui, context.state, context.now, key) {
        return Some(effect);
    }
    let chord = Chord::from_event(key);
    if let Some(action) = context.keymap.action(ui.keys(), chord) {
        return perform(ui, context, action);
    }
    if ui.context() == Context::Normal {
        ui.say(format!("{chord}: no command; ? lists the keys"), context.now);
    } else if !whatif::typed(ui, context, key) {
        typing::key(ui, key);
    }
    None
}

/// Performs an action, or shows why it is not possible.
pub fn perform(ui: &mut Ui, context: &UpdateContext<'_>, action: Action) -> Option<Effect> {
    if let Some(reason) = blocked(action, ui, context.state) {
        let key = context.keymap.key(ui.keys(), action);
        let key = key.unwrap_or_else(|| action.label().to_owned());
        ui.say(format!("{key}: {reason}"), context.now);
        return None;
    }
    ui.toast = None;
    if !ui.overlays.is_empty() {
        return in_overlay(ui, context, action);
    }
    match typing::perform(ui, context, action) {
        Performed::Done(effect) => effect,
        Performed::NotHandled => in_panes(ui, context, action),
    }
}

/// Performs an action of the panes.
fn in_panes(ui: &mut Ui, context: &UpdateContext<'_>, action: Action) -> Option<Effect> {
    if let Performed::Done(effect) = command::perform(ui, context, action) {
        return effect;
    }
    if let Some(pane) = action.pane_index().and_then(|index| PaneId::ALL.get(index)) {
        select_pane(ui, *pane);
        return None;
    }
    if let Some(control) = Control::from_action(action) {
        return Some(Effect::Control(control));
    }
    match action {
        Action::Pause => return Some(Effect::Pause),
        Action::Copy => return copy(ui, context),
        Action::LabelGood | Action::LabelBad => {
            let call = scroll::call_under_cursor(ui, context)?;
            return Some(label_hit(ui, context, call, action == Action::LabelGood));
        }
        Action::Prompt => ui.start_typing(),
        Action::NextPane | Action::PrevPane => move_focus(ui, action == Action::NextPane),
        Action::Zoom => zoom(ui),
        Action::LongerWindow | Action::ShorterWindow | Action::CrosshairLeft | Action::CrosshairRight => {
            chart::perform(ui, context, action);
        }
        Action::Filter => {
            let pane = areas(ui).focus;
            ui.start_filter(pane);
        }
        Action::Leave => step_back(ui),
        Action::OpenGroup | Action::CloseGroup | Action::AlignCalls => {
            scroll::show_calls(ui, context, action);
        }
        other if open_overlay(ui, context, other) => {}
        other => return general(ui, context, other),
    }
    None
}

/// Opens the overlay of an action. Returns false if it has none.
fn open_overlay(ui: &mut Ui, context: &UpdateContext<'_>, action: Action) -> bool {
    match action {
        Action::ChooseFaults => {
            let session = &context.state.session;
            let faults = Faults::new(session.faults.clone(), session.faults_on);
            ui.overlays.push(Overlay::Faults(Box::new(faults)));
        }
        Action::ChooseBreaker => ui.overlays.push(Overlay::Breaker),
        Action::SaveDrill => ui.overlays.push(Overlay::Save(Save::new(Saved::Drill))),
        Action::SavePolicy => ui.overlays.push(Overlay::Save(Save::new(Saved::Policy))),
        Action::WhatIf => whatif::open(ui, context),
        Action::Open if scroll::open_group(ui, context) => {}
        Action::Palette | Action::Help => open_list(ui, context, action),
        Action::Open => {
            if let Some(call) = scroll::call_under_cursor(ui, context) {
                ui.story_top = 0;
                ui.overlays.push(Overlay::Details(call));
            } else {
                let key = context.keymap.key(ui.keys(), action).unwrap_or_default();
                ui.say(format!("{key}: no call here"), context.now);
            }
        }
        _ => return false,
    }
    true
}

/// Performs an action of the topmost overlay.
fn in_overlay(ui: &mut Ui, context: &UpdateContext<'_>, action: Action) -> Option<Effect> {
    match action {
        Action::Palette | Action::Help => {
            open_list(ui, context, action);
            return None;
        }
        Action::StopOrQuit | Action::Suspend | Action::Redraw => return general(ui, context, action),
        _ => {}
    }
    if matches!(ui.overlays.last(), Some(Overlay::WhatIf)) {
        return whatif::perform(ui, context, action);
    }
    let help_rows = help_rows(ui);
    let overlay = ui.overlays.last_mut()?;
    match (overlay, action) {
        (_, Action::Close | Action::No) => {
            ui.overlays.pop();
            None
        }
        (Overlay::Confirm(confirm), Action::Yes) => {
            let effect = confirm.effect.clone();
            ui.overlays.pop();
            Some(effect)
        }
        (Overlay::Breaker, Action::ResetBreaker) => {
            ui.overlays.pop();
            Some(Effect::Send(Command::ResetBreaker))
        }
        (Overlay::Breaker, Action::ForceOpen | Action::ForceClosed | Action::ReleaseBreaker) => {
            ui.overlays.pop();
            match command::perform(ui, context, action) {
                Performed::Done(effect) => effect,
                Performed::NotHandled => None,
            }
        }
        (Overlay::Save(save), Action::Save) => {
            let effect = Effect::Save(save.content, file_name(save.name.text()));
            ui.overlays.pop();
            Some(effect)
        }
        (Overlay::Palette(palette), Action::Accept) if palette.with_text().is_some() => {
            let (action, text) = palette.with_text()?;
            let text = text.to_owned();
            match action {
                Action::Load => command::load_typed(ui, context, &text),
                _ => chat::set(ui, context, action, &text),
            }
        }
        (Overlay::Palette(palette), Action::Accept) => {
            let (chosen, number) = (palette.chosen(), palette.number());
            command::chosen(ui, context, chosen, number)
        }
        (Overlay::Palette(palette), step) => {
            palette.step(scroll::lines(step, 8));
            None
        }
        (Overlay::Help(help), step) => {
            let by = scroll::lines(step, i64::try_from(help_rows).unwrap_or(2) - 1);
            help.step(by, context.keymap, help_rows);
            None
        }
        (Overlay::Faults(_), action) => in_faults(ui, context, action),
        (Overlay::Details(call), Action::StopCall) => Some(Effect::Send(Command::Cancel { call: *call })),
        (Overlay::Details(call), Action::LabelGood | Action::LabelBad) => {
            let call = *call;
            Some(label_hit(ui, context, call, action == Action::LabelGood))
        }
        (Overlay::Details(_), Action::Copy) => copy(ui, context),
        (Overlay::Details(call), Action::PageUp | Action::PageDown) => {
            let call = *call;
            scroll::page_story(ui, context, call, action == Action::PageDown);
            None
        }
        (Overlay::Details(_), step) => {
            scroll::other_call(ui, context, scroll::lines(step, 8));
            None
        }
        (Overlay::Breaker | Overlay::Confirm(_) | Overlay::Save(_) | Overlay::WhatIf, _) => None,
    }
}

/// Performs an action of the fault chooser.
fn in_faults(ui: &mut Ui, context: &UpdateContext<'_>, action: Action) -> Option<Effect> {
    let Some(Overlay::Faults(faults)) = ui.overlays.last_mut() else {
        return None;
    };
    match action {
        Action::Less | Action::More => faults.change(action == Action::More, &ui.profiles),
        Action::Switch => faults.on = !faults.on,
        Action::ApplyFaults => {
            let edited = (**faults).clone();
            ui.overlays.pop();
            return command::apply_faults(ui, context, edited);
        }
        step => faults.step(scroll::lines(step, 8)),
    }
    None
}

/// Performs an action that is the same in every context.
fn general(ui: &mut Ui, context: &UpdateContext<'_>, action: Action) -> Option<Effect> {
    match action {
        Action::StopOrQuit => command::interrupt(ui, context),
        Action::Suspend => Some(Effect::Suspend),
        Action::Redraw => Some(Effect::Redraw),
        step => {
            scroll::scroll(ui, context, ui.focus, step);
            None
        }
    }
}

/// The visible rows of an open help.
fn help_rows(ui: &Ui) -> usize {
    let screen = Rect::new(0, 0, ui.size.width, ui.size.height);
    let area = area_of(&Overlay::Help(Help::default()), screen);
    help::height(area).max(2)
}

/// Opens palette or help; a second press closes the help.
fn open_list(ui: &mut Ui, context: &UpdateContext<'_>, action: Action) {
    let open = ui.overlays.last();
    if action == Action::Help && matches!(open, Some(Overlay::Help(_))) {
        ui.overlays.pop();
        return;
    }
    let overlay = if action == Action::Palette {
        Overlay::Palette(Palette::default())
    } else {
        let areas = areas(ui);
        // before the first call a panel is drawn in place of Calls
        let panel = !areas.zoomed && areas.focus == PaneId::Calls && ui.playback.is_none();
        let starts = panel && context.state.calls.totals.started == 0;
        let context = ui.context();
        Overlay::Help(Help {
            subject: match context {
                Context::Normal if starts => Subject::Start,
                Context::Normal | Context::Input => Subject::Pane(areas.focus),
                Context::Value => Subject::Context(Context::WhatIf),
                context => Subject::Context(context),
            },
            replay: ui.playback.is_some() && context == Context::Normal,
            tour: ui.tour.is_some() && context == Context::Normal,
            ..Help::default()
        })
    };
    ui.overlays.push(overlay);
}

/// The file of a typed name, with the extension of scenarios and policies; `None` without a name.
fn file_name(typed: &str) -> Option<PathBuf> {
    let typed = typed.trim();
    let path = PathBuf::from(typed);
    let path = if path.extension().is_none() {
        path.with_extension("toml")
    } else {
        path
    };
    (!typed.is_empty()).then_some(path)
}

/// Labels a semantic hit as right or wrong.
fn label_hit(ui: &mut Ui, context: &UpdateContext<'_>, call: CallId, good: bool) -> Effect {
    let text = if good {
        format!("{call} judged right: counted for its stored prompt")
    } else {
        format!("{call} judged wrong: answer dropped, threshold of its prompt raised")
    };
    ui.say(text, context.now);
    Effect::Send(Command::LabelHit { call, good })
}

/// Moves the focus to the next or previous pane of this screen size.
fn move_focus(ui: &mut Ui, forward: bool) {
    let areas = areas(ui);
    let mut visible: Vec<_> = if areas.zoomed {
        PaneId::ALL.to_vec()
    } else {
        areas.panes.iter().map(|(id, _)| *id).collect()
    };
    // on narrow screens one of them takes the place of the other
    for (index, pane) in [(0, PaneId::Log), (1, PaneId::Chat)] {
        if !visible.contains(&pane) {
            let end = visible.len() + index;
            visible.insert(end.saturating_sub(1), pane);
        }
    }
    let focus = if ui.typing() { PaneId::Chat } else { areas.focus };
    let at = visible.iter().position(|id| *id == focus).unwrap_or_default();
    let count = visible.len().max(1);
    let next = (at + if forward { 1 } else { count - 1 }) % count;
    ui.focus_on(visible.get(next).copied().unwrap_or(ui.focus));
}

/// A digit: focuses its pane; again, it fills the screen; again, back to the main screen.
fn select_pane(ui: &mut Ui, pane: PaneId) {
    if ui.focus == pane {
        zoom(ui);
    } else if pane == PaneId::Chat {
        ui.start_typing();
    } else {
        ui.focus_on(pane);
    }
}

/// Fills the screen with the focused pane, or goes back to the main screen.
fn zoom(ui: &mut Ui) {
    if !areas(ui).zoomed {
        ui.zoomed = true;
        return;
    }
    ui.zoomed = false;
    // a pane without room on the main screen leaves the focus to one with room
    for pane in [ui.previous, PaneId::default()] {
        if areas(ui).zoomed {
            ui.focus = pane;
        }
    }
}

/// Escape: undoes one step of filter, zoom, focus or scrolling.
fn step_back(ui: &mut Ui) {
    if ui.crosshair.take().is_some() {
        // back to now
    } else if ui.filters.remove(&areas(ui).focus).is_some() {
        // every row again
    } else if areas(ui).zoomed {
        zoom(ui);
    } else {
        ui.log_cursor = None;
        ui.chat_top = None;
        ui.selected_call = None;
        ui.open_groups.clear();
    }
}

fn copy(ui: &mut Ui, context: &UpdateContext<'_>) -> Option<Effect> {
    let text = scroll::text_under_cursor(ui, context);
    if text.is_none() {
        ui.say("y: nothing to copy here", context.now);
    }
    text.map(Effect::Copy)
}

/// The layout of the current screen.
fn areas(ui: &Ui) -> Areas {
    layout(Rect::new(0, 0, ui.size.width, ui.size.height), ui)
}

/// A view for measuring: heights depend on text, not on colours.
fn measure<'a>(ui: &'a Ui, context: &UpdateContext<'a>, theme: &'a Theme) -> View<'a> {
    View {
        state: context.shown,
        ui,
        theme,
        now: ui.playback.as_ref().map_or(context.now, |playback| playback.at),
    }
}
