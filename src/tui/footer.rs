//! The keys that are valid now, the most useful first. Keys that do not fit are dropped from the end, never cut,
//! and `? help` always stays. A message replaces the keys for three seconds.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;

use crate::state::State;

use super::action::Action;
use super::keymap::{Context, Keymap};
use super::overlay::Overlay;
use super::playback::bar::Control;
use super::theme::Role;
use super::ui::Ui;
use super::update::blocked;
use super::view::View;
use super::wrap;

/// The keys of normal mode, the most useful to a newcomer first.
const NORMAL: [Action; 24] = [
    Action::Stop,
    Action::Prompt,
    Action::Burst10,
    Action::ToggleFaults,
    Action::NextPane,
    Action::Open,
    Action::Zoom,
    Action::CycleSemantic,
    Action::NextUser,
    Action::BurstAll,
    Action::ToggleOrder,
    Action::Pause,
    Action::Filter,
    Action::Palette,
    Action::Burst50,
    Action::ChooseFaults,
    Action::Follow,
    Action::WhatIf,
    Action::ToggleCache,
    Action::CycleBreaker,
    Action::Copy,
    Action::ResetBreaker,
    Action::ToggleConversation,
    Action::Quit,
];

/// The keys of a replay, without those that need an engine.
const REPLAY: [Action; 16] = [
    Action::Play,
    Action::NextMark,
    Action::PrevMark,
    Action::StepForward,
    Action::StepBack,
    Action::Faster,
    Action::Slower,
    Action::SecondsForward,
    Action::SecondsBack,
    Action::NextPane,
    Action::Open,
    Action::Zoom,
    Action::Filter,
    Action::Beginning,
    Action::End,
    Action::Quit,
];

/// The keys of the present context.
fn candidates(ui: &Ui) -> &'static [Action] {
    match ui.keys() {
        Context::Replay => &REPLAY,
        Context::Always | Context::Normal => &NORMAL,
        Context::Input => &[
            Action::Submit,
            Action::Newline,
            Action::Leave,
            Action::HistoryPrev,
            Action::Palette,
        ],
        Context::Line => &[Action::Submit, Action::Leave],
        // the help has nothing to accept
        Context::List if matches!(ui.overlays.last(), Some(Overlay::Help(_))) => {
            &[Action::Close, Action::Up, Action::Down]
        }
        Context::List => &[Action::Accept, Action::Close, Action::Up, Action::Down],
        Context::Faults => &[Action::Less, Action::More, Action::Switch, Action::Close],
        Context::Details => &[
            Action::LabelGood,
            Action::LabelBad,
            Action::Close,
            Action::Up,
            Action::Down,
            Action::Copy,
            Action::StopCall,
        ],
        Context::Confirm => &[Action::Yes, Action::No],
        Context::WhatIf => &[
            Action::Less,
            Action::More,
            Action::EditValue,
            Action::ToggleSetting,
            Action::ApplyDraft,
            Action::Revert,
            Action::Close,
            Action::ResetSetting,
            Action::DiscardDraft,
            Action::SavePolicy,
            Action::NextChange,
            Action::NextLayer,
        ],
        Context::Value => &[Action::AcceptValue, Action::CancelValue],
    }
}

/// The label of an action, if it has a narrower meaning in a context.
fn label(action: Action, context: Context) -> &'static str {
    match (context, action) {
        (Context::Line, Action::Submit) => "apply",
        (Context::Line, Action::Leave) => "clear",
        (Context::WhatIf, Action::SavePolicy) => "save",
        (Context::List, Action::Accept) => "run",
        (Context::List | Context::Faults, Action::Up) => "previous",
        (Context::List | Context::Faults, Action::Down) => "next",
        (Context::Normal, Action::BurstAll) => "burst all",
        (Context::Normal, Action::ToggleOrder) => "fair/fifo",
        (Context::Details, Action::Up) => "newer call",
        (Context::Details, Action::Down) => "older call",
        _ => action.label(),
    }
}

/// A key in the footer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Item {
    /// The action of the key.
    pub action: Action,
    /// The key as text.
    pub key: String,
    /// The label after the key.
    pub label: &'static str,
    /// First column, from the left of the footer.
    pub x: u16,
    /// Columns of key and label.
    pub width: u16,
}

/// The tag of the mode in front of the keys.
fn tag(ui: &Ui) -> Option<String> {
    match (ui.context(), ui.paused) {
        (Context::Input, _) => Some(" INPUT ".to_owned()),
        (Context::Line, _) => Some(" FILTER ".to_owned()),
        (Context::Value, _) => Some(" VALUE ".to_owned()),
        (_, Some(1)) => Some(" PAUSED +1 event ".to_owned()),
        (_, Some(behind)) => Some(format!(" PAUSED +{behind} events ")),
        (_, None) => None,
    }
}

/// The keys that fit `width` columns, `? help` last.
pub fn items(ui: &Ui, state: &State, keymap: &Keymap, width: u16) -> Vec<Item> {
    let context = ui.context();
    let mut x = 1 + tag(ui).map_or(0, |tag| cells(&tag) + 1);
    // in the help the key only closes it
    let in_help = matches!(ui.overlays.last(), Some(Overlay::Help(_)));
    let help = item(Action::Help, keymap, context).filter(|_| !in_help);
    let reserved = help.as_ref().map_or(0, |help| help.width + 2);
    let mut shown = Vec::new();
    let fitting = candidates(ui)
        .iter()
        // playback keys that are blocked at an end, and keys that do not apply to the selected setting, keep their
        // place, so that the others do not move
        .filter(|action| {
            let stays = Control::from_action(**action).is_some() || context == Context::WhatIf;
            stays || blocked(**action, ui, state).is_none()
        })
        .filter(|action| **action != Action::Open || context != Context::Normal || has_calls(ui, state))
        .filter_map(|action| item(*action, keymap, ui.keys()));
    for mut item in fitting {
        if x + item.width + reserved > width {
            break;
        }
        item.x = x;
        x += item.width + 2;
        shown.push(item);
    }
    if let Some(mut help) = help
        && x + help.width <= width
    {
        help.x = x;
        shown.push(help);
    }
    shown
}

/// Returns true if the focused pane can open a call.
fn has_calls(ui: &Ui, state: &State) -> bool {
    ui.focus.has_calls() && !state.calls.recent.is_empty()
}

fn item(action: Action, keymap: &Keymap, context: Context) -> Option<Item> {
    let key = keymap.key(context, action)?;
    let label = label(action, context);
    let width = cells(&key) + 1 + cells(label);
    Some(Item {
        action,
        key,
        label,
        x: 0,
        width,
    })
}

fn cells(text: &str) -> u16 {
    u16::try_from(wrap::width(text)).unwrap_or(u16::MAX)
}

/// The action at column `x` of the screen.
pub fn at(ui: &Ui, state: &State, keymap: &Keymap, area: Rect, x: u16) -> Option<Action> {
    let x = x.checked_sub(area.x)?;
    items(ui, state, keymap, area.width)
        .into_iter()
        .find(|item| (item.x..item.x + item.width).contains(&x))
        .map(|item| item.action)
}

/// Draws the footer.
pub fn render(view: &View<'_>, keymap: &Keymap, area: Rect, buf: &mut Buffer) {
    let area = area.intersection(buf.area);
    if area.is_empty() {
        return;
    }
    let items = items(view.ui, view.state, keymap, area.width);
    let mut x = area.x + 1;
    if let Some(tag) = tag(view.ui) {
        let style = view
            .theme
            .style(Role::Input)
            .patch(view.theme.style(Role::Selection));
        buf.set_stringn(
            x,
            area.y,
            &tag,
            usize::from(area.right().saturating_sub(x)),
            style,
        );
        x = x.saturating_add(cells(&tag) + 1);
    }
    // the event loop removes messages by the real clock; `now` of a replay is another time
    let message = match (&view.ui.playback, &view.ui.toast) {
        (Some(_), Some(toast)) => Some(toast.text.as_str()),
        _ => view.ui.message(view.now),
    };
    if let Some(message) = message {
        let help = items.last().filter(|item| item.action == Action::Help);
        let kept = help.map_or(0, |help| help.width + 2);
        let room = area.right().saturating_sub(x).saturating_sub(kept);
        let text = wrap::fit(message, usize::from(room), view.theme.glyphs.ellipsis);
        buf.set_stringn(x, area.y, text, usize::from(room), view.theme.style(Role::Held));
        if let Some(help) = help {
            draw(view, help, area.right().saturating_sub(help.width + 1), area, buf);
        }
        return;
    }
    for item in &items {
        draw(view, item, area.x + item.x, area, buf);
    }
}

fn draw(view: &View<'_>, item: &Item, x: u16, area: Rect, buf: &mut Buffer) {
    let room = usize::from(area.right().saturating_sub(x));
    let (end, _) = buf.set_stringn(x, area.y, &item.key, room, view.theme.style(Role::Key));
    let room = usize::from(area.right().saturating_sub(end + 1));
    buf.set_stringn(end + 1, area.y, item.label, room, view.theme.style(Role::Muted));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::UserId;
    use crate::tui::overlay::{Help, Palette};
    use crate::tui::ui::Mode;

    fn line(ui: &Ui, width: u16) -> String {
        let keymap = Keymap::builtin().unwrap();
        let items = items(ui, &State::default(), &keymap, width);
        let texts: Vec<_> = items
            .iter()
            .map(|item| format!("{} {}", item.key, item.label))
            .collect();
        texts.join("  ")
    }

    #[test]
    fn keys_are_dropped_from_the_end_and_help_stays() {
        let ui = Ui::default();
        assert_eq!(
            line(&ui, 80),
            "i ask  b burst 10  F faults  Tab pane  z zoom  s semantic  a burst all  ? help"
        );
        assert_eq!(line(&ui, 30), "i ask  b burst 10  ? help");
        assert_eq!(line(&ui, 8), "? help");
        assert_eq!(line(&ui, 5), "");
        assert!(line(&ui, 200).contains("^P commands"));
        let ui = Ui {
            users: ["ana", "ben"].map(UserId::new).to_vec(),
            size: (120, 40).into(),
            ..ui
        };
        assert!(line(&ui, 80).ends_with("z zoom  s semantic  u user  ? help"));
        assert!(line(&ui, 120).ends_with("u user  a burst all  t fair/fifo  7 users  p pause  ? help"));
    }

    #[test]
    fn nothing_overlaps_at_any_width() {
        let keymap = Keymap::builtin().unwrap();
        for mode in [Mode::Normal, Mode::Input, Mode::Filter] {
            let ui = Ui {
                mode,
                paused: Some(12),
                ..Ui::default()
            };
            for width in 0..300 {
                let mut end = 0;
                for item in items(&ui, &State::default(), &keymap, width) {
                    assert!(item.x >= end && item.x + item.width <= width);
                    end = item.x + item.width;
                }
            }
        }
    }

    #[test]
    fn input_mode_shows_its_own_keys() {
        let ui = Ui {
            mode: Mode::Input,
            ..Ui::default()
        };
        assert_eq!(
            line(&ui, 80),
            "Enter send  ^J new line  Esc leave  Up earlier  ^P commands  F1 help"
        );
    }

    #[test]
    fn labels_of_overlays_and_of_the_filter() {
        let with = |overlay| Ui {
            overlays: vec![overlay],
            ..Ui::default()
        };
        assert_eq!(
            line(&with(Overlay::Help(Help::default())), 80),
            "Esc close  Up previous  Down next"
        );
        assert_eq!(
            line(&with(Overlay::Palette(Palette::default())), 80),
            "Enter run  Esc close  Up previous  Down next  F1 help"
        );
        assert_eq!(
            line(&with(Overlay::Details(crate::event::CallId(1))), 80),
            "Esc close  Up newer call  Down older call  y copy  ? help"
        );
        let filter = Ui {
            mode: Mode::Filter,
            ..Ui::default()
        };
        assert_eq!(line(&filter, 80), "Enter apply  Esc clear  F1 help");
    }

    #[test]
    fn stop_is_offered_only_while_something_runs() {
        let keymap = Keymap::builtin().unwrap();
        let mut state = State::default();
        state.calls.totals.started = 1;
        let first = items(&Ui::default(), &state, &keymap, 80);
        assert_eq!(first.first().map(|item| item.action), Some(Action::Stop));
    }
}
