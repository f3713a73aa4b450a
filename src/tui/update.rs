//! What a key, a click or a paste does: `(Ui, known, input) -> Ui, maybe an effect`. Pure apart from `Ui`:
//! no await, no input or output. Effects are carried out by the loop.

mod blocked;
mod command;
mod mouse;
mod scroll;
mod typing;
mod whatif;

use crossterm::event::{Event as Terminal, KeyEvent, KeyEventKind};
use ratatui::layout::{Rect, Size};

use crate::event::{CallId, Command};
use crate::state::State;
use crate::time::Timestamp;

use super::action::Action;
use super::keymap::{Chord, Context, Keymap};
use super::layout::{Areas, Tier, layout};
use super::overlay::{Help, Overlay, Palette};
use super::playback::bar::Control;
use super::theme::Theme;
use super::ui::{Mode, Ui};
use super::view::View;

pub use blocked::blocked;
pub(super) use whatif::question;

/// What an update may look at.
#[derive(Clone, Copy, Debug)]
pub struct Known<'a> {
    /// What is true now: commands go by it.
    pub state: &'a State,
    /// What is drawn: the same, unless the view is paused. Scrolling goes by it.
    pub shown: &'a State,
    /// The key table.
    pub keymap: &'a Keymap,
    /// The time.
    pub now: Timestamp,
}

/// What the loop is asked to do.
#[derive(Clone, Debug, PartialEq)]
pub enum Effect {
    /// Hand this to the engine.
    Send(Command),
    /// Hand these to the engine, in this order.
    SendAll(Vec<Command>),
    /// Put this on the clipboard.
    Copy(String),
    /// Keep what was done as a scenario.
    SaveDrill,
    /// Keep the policy in force as a file.
    SavePolicy,
    /// Stop drawing new events, or go on.
    Pause,
    /// Move a replay.
    Control(Control),
    /// Give the terminal back to the shell until `fg`.
    Suspend,
    /// Draw every cell again.
    Redraw,
    /// Leave.
    Quit,
    /// End, as SIGINT would: the shell that started it should know.
    Interrupt,
}

/// Obeys one input.
pub fn update(ui: &mut Ui, known: &Known<'_>, input: &Terminal) -> Option<Effect> {
    match input {
        Terminal::Key(key) if key.kind != KeyEventKind::Release => key_pressed(ui, known, *key),
        Terminal::Paste(text) => {
            typing::paste(ui, known, text);
            None
        }
        Terminal::Mouse(mouse) => mouse::update(ui, known, *mouse),
        Terminal::Resize(width, height) => {
            ui.size = Size::new(*width, *height);
            None
        }
        Terminal::Key(_) | Terminal::FocusGained | Terminal::FocusLost => None,
    }
}

/// Whether an input can change the picture at all: a mouse that merely moves must not cause a frame.
pub fn matters(input: &Terminal) -> bool {
    match input {
        Terminal::Key(key) => key.kind != KeyEventKind::Release,
        Terminal::Mouse(mouse) => mouse::matters(*mouse),
        Terminal::Paste(_) | Terminal::Resize(..) => true,
        Terminal::FocusGained | Terminal::FocusLost => false,
    }
}

fn key_pressed(ui: &mut Ui, known: &Known<'_>, key: KeyEvent) -> Option<Effect> {
    let chord = Chord::of(key);
    if let Some(action) = known.keymap.action(ui.keys(), chord) {
        return perform(ui, known, action);
    }
    if !whatif::typed(ui, known, key) {
        typing::key(ui, key);
    }
    None
}

/// Does what an action says, or says why not.
pub fn perform(ui: &mut Ui, known: &Known<'_>, action: Action) -> Option<Effect> {
    if let Some(reason) = blocked(action, ui, known.state) {
        let key = known.keymap.key(ui.keys(), action);
        let key = key.unwrap_or_else(|| action.label().to_owned());
        ui.say(format!("{key}: {reason}"), known.now);
        return None;
    }
    ui.toast = None;
    if ui.context() == Context::Normal {
        normal(ui, known, action)
    } else {
        elsewhere(ui, known, action)
    }
}

/// Actions while nothing is typed and nothing is open.
fn normal(ui: &mut Ui, known: &Known<'_>, action: Action) -> Option<Effect> {
    if let Some(effect) = command::perform(ui, known, action) {
        return effect;
    }
    if let Some(index) = action.pane_index() {
        let order = Tier::for_size(ui.size.width, ui.size.height).order();
        ui.focus = order.get(index).copied().unwrap_or(ui.focus);
        return None;
    }
    if let Some(control) = Control::of(action) {
        return Some(Effect::Control(control));
    }
    match action {
        Action::Prompt => {
            ui.mode = Mode::Input;
            None
        }
        Action::ChooseFaults => {
            open_faults(ui, known);
            None
        }
        Action::NextPane => turn_focus(ui, true),
        Action::PrevPane => turn_focus(ui, false),
        Action::Zoom => {
            ui.zoomed = !ui.zoomed;
            None
        }
        Action::Pause => Some(Effect::Pause),
        Action::SaveDrill => Some(Effect::SaveDrill),
        Action::SavePolicy => Some(Effect::SavePolicy),
        Action::CompareLive => whatif::open(ui, known),
        Action::TakeBack => whatif::take_back(ui, known),
        Action::Filter => {
            ui.focus = super::pane::PaneId::Log;
            ui.mode = Mode::Filter;
            None
        }
        Action::Leave => {
            step_back(ui);
            None
        }
        Action::Open => {
            if let Some(call) = scroll::call_under_cursor(ui, known) {
                ui.story_top = 0;
                ui.overlays.push(Overlay::Details(call));
            } else {
                ui.say("Enter: there is no call here", known.now);
            }
            None
        }
        Action::Copy => copy(ui, known),
        Action::LabelGood | Action::LabelBad => {
            let call = scroll::call_under_cursor(ui, known)?;
            Some(judge(ui, known, call, action == Action::LabelGood))
        }
        Action::Palette | Action::Help => {
            open_list(ui, action);
            None
        }
        other => general(ui, known, other),
    }
}

/// Actions while something is typed or open.
fn elsewhere(ui: &mut Ui, known: &Known<'_>, action: Action) -> Option<Effect> {
    match action {
        Action::Palette | Action::Help => {
            open_list(ui, action);
            return None;
        }
        Action::StopOrQuit | Action::Suspend | Action::Redraw => return general(ui, known, action),
        _ => {}
    }
    if matches!(ui.overlays.last(), Some(Overlay::Shadow)) {
        return whatif::perform(ui, known, action);
    }
    let Some(overlay) = ui.overlays.last_mut() else {
        return typing::perform(ui, known, action);
    };
    match (overlay, action) {
        (_, Action::Close | Action::No) | (Overlay::Help(_), Action::Accept) => {
            ui.overlays.pop();
            None
        }
        (Overlay::Confirm(confirm), Action::Yes) => {
            let command = confirm.command.clone();
            ui.overlays.pop();
            Some(Effect::Send(command))
        }
        (Overlay::Palette(palette), Action::Accept) => {
            let (chosen, number) = (palette.chosen(), palette.number());
            command::chosen(ui, known, chosen, number)
        }
        (Overlay::Palette(palette), step) => {
            palette.step(scroll::lines(step, 8));
            None
        }
        (Overlay::Help(help), step) => {
            help.step(scroll::lines(step, 8), known.keymap);
            None
        }
        (Overlay::Faults(faults), Action::Less | Action::More) => faults
            .change(action == Action::More, &ui.profiles)
            .map(|profile| {
                Effect::Send(Command::SetFaultProfile {
                    profile: Box::new(profile),
                })
            }),
        (Overlay::Faults(_), Action::Switch) => Some(Effect::Send(Command::SetFaults {
            on: !known.state.session.faults_on,
        })),
        (Overlay::Faults(faults), step) => {
            faults.step(scroll::lines(step, 8));
            None
        }
        (Overlay::Details(call), Action::StopCall) => Some(Effect::Send(Command::Cancel { call: *call })),
        (Overlay::Details(call), Action::LabelGood | Action::LabelBad) => {
            let call = *call;
            Some(judge(ui, known, call, action == Action::LabelGood))
        }
        (Overlay::Details(_), Action::Copy) => copy(ui, known),
        (Overlay::Details(call), Action::PageUp | Action::PageDown) => {
            let call = *call;
            scroll::page_story(ui, known, call, action == Action::PageDown);
            None
        }
        (Overlay::Details(_), step) => {
            scroll::other_call(ui, known, scroll::lines(step, 8));
            None
        }
        (Overlay::Confirm(_) | Overlay::Shadow, _) => None,
    }
}

/// Actions that mean the same everywhere.
fn general(ui: &mut Ui, known: &Known<'_>, action: Action) -> Option<Effect> {
    match action {
        Action::StopOrQuit => Some(command::stop_or_quit(ui, known)),
        Action::Suspend => Some(Effect::Suspend),
        Action::Redraw => Some(Effect::Redraw),
        Action::Quit => Some(Effect::Quit),
        step => {
            scroll::scroll(ui, known, ui.focus, step);
            None
        }
    }
}

/// Opens palette or help; a second press closes the help rather than stack a second one.
fn open_list(ui: &mut Ui, action: Action) {
    let open = ui.overlays.last();
    if action == Action::Help && matches!(open, Some(Overlay::Help(_))) {
        ui.overlays.pop();
        return;
    }
    let overlay = if action == Action::Palette {
        Overlay::Palette(Palette::default())
    } else {
        Overlay::Help(Help {
            pane: Tier::for_size(ui.size.width, ui.size.height).visible_pane(ui.focus),
            replay: ui.playback.is_some(),
            comparing: matches!(open, Some(Overlay::Shadow)),
            ..Help::default()
        })
    };
    ui.overlays.push(overlay);
}

fn open_faults(ui: &mut Ui, known: &Known<'_>) {
    let faults = super::overlay::Faults::new(known.state.session.faults.clone());
    ui.overlays.push(Overlay::Faults(Box::new(faults)));
}

/// Says of a semantic hit whether its answer fitted.
fn judge(ui: &mut Ui, known: &Known<'_>, call: CallId, good: bool) -> Effect {
    let text = if good {
        format!("{call} judged right: counted for the prompt it came from")
    } else {
        format!("{call} judged wrong: that answer is forgotten, its prompt asks for more")
    };
    ui.say(text, known.now);
    Effect::Send(Command::LabelHit { call, good })
}

/// Moves the focus to the next pane that is there at this size.
fn turn_focus(ui: &mut Ui, on: bool) -> Option<Effect> {
    let tier = Tier::for_size(ui.size.width, ui.size.height);
    let visible: Vec<_> = if ui.zoomed || tier.parent_pane(ui.focus).is_some() {
        tier.order().to_vec()
    } else {
        areas(ui).panes.iter().map(|(id, _)| *id).collect()
    };
    let focus = tier.visible_pane(ui.focus);
    let at = visible.iter().position(|id| *id == focus).unwrap_or_default();
    let count = visible.len().max(1);
    let next = (at + if on { 1 } else { count - 1 }) % count;
    ui.focus = visible.get(next).copied().unwrap_or(ui.focus);
    None
}

/// Escape: one step back.
fn step_back(ui: &mut Ui) {
    if !ui.filter.is_empty() {
        ui.filter.take();
    } else if ui.zoomed {
        ui.zoomed = false;
    } else if let Some(neighbour) = Tier::for_size(ui.size.width, ui.size.height).parent_pane(ui.focus) {
        ui.focus = neighbour;
    } else {
        ui.log_cursor = None;
        ui.chat_top = None;
        ui.selected_call = None;
    }
}

fn copy(ui: &mut Ui, known: &Known<'_>) -> Option<Effect> {
    let text = scroll::text_under_cursor(ui, known);
    if text.is_none() {
        ui.say("y: there is nothing to copy here", known.now);
    }
    text.map(Effect::Copy)
}

/// The places on the present screen.
fn areas(ui: &Ui) -> Areas {
    layout(Rect::new(0, 0, ui.size.width, ui.size.height), ui)
}

/// A view for measuring: heights depend on words, not on colours.
fn measure<'a>(ui: &'a Ui, known: &Known<'a>, theme: &'a Theme) -> View<'a> {
    View {
        state: known.shown,
        ui,
        theme,
        now: ui.playback.as_ref().map_or(known.now, |playback| playback.at),
    }
}
