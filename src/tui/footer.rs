//! The keys that are valid now, in a fixed order. Without room the least useful are left out, never cut, and
//! `? help` always stays. A message replaces the keys while it is shown.

use std::borrow::Cow;

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;

use crate::settings::QueueOrder;
use crate::state::State;
use crate::text::units;

use super::action::Action;
use super::keymap::{Context, Keymap};
use super::layout::{CHAT_WIDTH, layout};
use super::overlay::help::own_keys;
use super::pane::{PaneId, calls};
use super::playback::bar::Control;
use super::theme::{Role, Theme};
use super::ui::Ui;
use super::update::blocked;
use super::view::View;
use super::wrap;

/// Keys of the footer in their order on the screen. The second number is the rank: the highest is left out first.
type Row = (Action, u8);

/// Before the first call.
const FIRST: [Row; 9] = [
    (Action::Burst10, 1),
    (Action::Burst50, 2),
    (Action::Load, 3),
    (Action::ToggleFaults, 4),
    (Action::ChooseFaults, 8),
    (Action::Prompt, 5),
    (Action::Tour, 6),
    (Action::Palette, 9),
    (Action::Quit, 7),
];

/// A live session.
const LIVE: [Row; 21] = [
    (Action::Burst10, 1),
    (Action::Burst50, 2),
    (Action::Load, 3),
    (Action::ToggleFaults, 4),
    (Action::ChooseFaults, 9),
    (Action::Stop, 5),
    (Action::LongerWindow, 10),
    (Action::Open, 6),
    (Action::Zoom, 11),
    (Action::Tour, 8),
    (Action::Pause, 12),
    (Action::Filter, 13),
    (Action::Palette, 14),
    (Action::WhatIf, 15),
    (Action::CycleSemantic, 16),
    (Action::ChooseBreaker, 17),
    (Action::BurstAll, 18),
    (Action::ToggleOrder, 19),
    (Action::Copy, 20),
    (Action::Follow, 21),
    (Action::ToggleCache, 22),
];

/// A pane that fills the screen.
const ZOOMED: [Row; 12] = [
    (Action::LongerWindow, 4),
    (Action::CrosshairLeft, 7),
    (Action::Pause, 4),
    (Action::Down, 5),
    (Action::Open, 3),
    (Action::Copy, 6),
    (Action::Leave, 1),
    (Action::NextPane, 8),
    (Action::Filter, 9),
    (Action::Burst10, 10),
    (Action::ToggleFaults, 11),
    (Action::Palette, 12),
];

/// A replay: no key needs an engine.
const REPLAY: [Row; 13] = [
    (Action::Play, 1),
    (Action::NextMark, 2),
    (Action::StepForward, 4),
    (Action::Faster, 5),
    (Action::SecondsBack, 6),
    (Action::LongerWindow, 7),
    (Action::CrosshairLeft, 8),
    (Action::Open, 3),
    (Action::Zoom, 9),
    (Action::Filter, 10),
    (Action::NextPane, 11),
    (Action::Beginning, 12),
    (Action::End, 13),
];

/// Examples beside a filter while it is typed, the longest that fits.
const FILTERS: [&str; 3] = [
    "words, !word, #31, user:ana, failed, 503, attempts>1, >2s",
    "word, !word, user:ana, failed, 503, >2s",
    "user:ana, failed, 503, >2s",
];

/// A pane that fills the screen of a replay.
const REPLAY_ZOOMED: [Row; 8] = [
    (Action::Play, 1),
    (Action::NextMark, 3),
    (Action::Open, 4),
    (Action::Leave, 2),
    (Action::LongerWindow, 5),
    (Action::CrosshairLeft, 6),
    (Action::Filter, 7),
    (Action::NextPane, 8),
];

/// Keys that share a place in the footer: the first of a pair is the one of the row.
const PAIRS: [(Context, Action, Action, &str); 8] = [
    (
        Context::Replay,
        Action::NextMark,
        Action::PrevMark,
        "next, previous change",
    ),
    (Context::Replay, Action::StepForward, Action::StepBack, "step"),
    (Context::Replay, Action::Faster, Action::Slower, "speed"),
    (
        Context::Replay,
        Action::SecondsBack,
        Action::SecondsForward,
        "5 s",
    ),
    (
        Context::Replay,
        Action::CrosshairLeft,
        Action::CrosshairRight,
        "crosshair",
    ),
    (
        Context::Normal,
        Action::CrosshairLeft,
        Action::CrosshairRight,
        "crosshair",
    ),
    (Context::Replay, Action::Down, Action::Up, "select"),
    (Context::Normal, Action::Down, Action::Up, "select"),
];

/// The keys of an open overlay or a text field, the most useful first.
fn fixed(ui: &Ui) -> &'static [Action] {
    match ui.context() {
        Context::Input => &[
            Action::Submit,
            Action::Leave,
            Action::StopCall,
            Action::Newline,
            Action::HistoryPrev,
            Action::Open,
            Action::Copy,
            Action::NextPane,
            Action::EditPrompt,
            Action::Palette,
        ],
        Context::Line => &[Action::Submit, Action::Leave],
        Context::Help => &[
            Action::Close,
            Action::PageDown,
            Action::PageUp,
            Action::Top,
            Action::Follow,
        ],
        Context::List => &[Action::Accept, Action::Close, Action::Up, Action::Down],
        Context::Faults => &[
            Action::Less,
            Action::More,
            Action::Switch,
            Action::ApplyFaults,
            Action::Close,
        ],
        Context::Breaker => &[
            Action::ForceOpen,
            Action::ForceClosed,
            Action::ReleaseBreaker,
            Action::ResetBreaker,
            Action::Close,
        ],
        Context::Name => &[Action::Save, Action::Close],
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
            Action::NextLayer,
            Action::Close,
            Action::Undo,
            Action::ResetSetting,
            Action::DiscardDraft,
            Action::SavePolicy,
            Action::NextChange,
        ],
        Context::Value => &[Action::AcceptValue, Action::CancelValue],
        Context::Normal | Context::Replay | Context::Always => &[],
    }
}

/// The keys of the present context.
fn rows(ui: &Ui, state: &State) -> Vec<Row> {
    let fixed = fixed(ui);
    if !fixed.is_empty() {
        return fixed.iter().copied().zip(1..).collect();
    }
    let screen = Rect::new(0, 0, ui.size.width, ui.size.height);
    let zoomed = layout(screen, ui).zoomed;
    let rows: &[Row] = match ui.keys() {
        Context::Replay if zoomed => &REPLAY_ZOOMED,
        Context::Replay => &REPLAY,
        _ if zoomed => &ZOOMED,
        _ if state.calls.totals.started == 0 => &FIRST,
        _ => &LIVE,
    };
    let mut rows = rows.to_vec();
    if !ui.focus.has_calls() {
        own_first(&mut rows, ui.focus, zoomed);
    }
    if ui.paused.is_some() {
        // the way on comes first
        rows.retain(|(action, _)| *action != Action::Pause);
        rows.insert(0, (Action::Pause, 0));
    }
    rows
}

/// Puts the keys of the focused pane before those of the whole screen.
fn own_first(rows: &mut Vec<Row>, pane: PaneId, zoomed: bool) {
    let own = own_keys(pane);
    for (action, rank) in rows.iter_mut() {
        let first = match own.iter().position(|own| own == action) {
            Some(0) => 3,
            Some(_) => 6,
            None if *action == Action::Zoom => 5,
            None => u8::MAX,
        };
        *rank = first.min(*rank);
    }
    if zoomed {
        let charts = [Action::LongerWindow, Action::CrosshairLeft, Action::Pause];
        rows.retain(|(action, _)| pane.has_time_axis_zoomed() || !charts.contains(action));
        let shares = |listed: Action, own: Action| {
            let paired = |(_, first, second, _): &(_, Action, Action, _)| (*first, *second) == (listed, own);
            listed == own || PAIRS.iter().any(paired)
        };
        let missing = |own: &&Action| !rows.iter().any(|(listed, _)| shares(*listed, **own));
        let missing: Vec<_> = own.iter().filter(missing).map(|action| (*action, 3)).collect();
        rows.splice(0..0, missing);
    }
}

/// The label of an action where it has a narrower meaning.
fn label(action: Action, ui: &Ui, state: &State) -> Cow<'static, str> {
    let playing = ui.playback.as_ref().is_some_and(|playback| playback.playing);
    let text = match (ui.context(), action) {
        (Context::Line, Action::Submit) => "apply",
        (Context::Line, Action::Leave) => "clear",
        (Context::WhatIf, Action::SavePolicy) => "save",
        (Context::Faults | Context::Name, Action::Close) => "cancel",
        (Context::List, Action::Accept) => "run",
        (Context::List | Context::Faults, Action::Up) => "previous",
        (Context::List | Context::Faults, Action::Down) => "next",
        (Context::Help, Action::Follow) => "end",
        (Context::Details, Action::Up) => "newer call",
        (Context::Details, Action::Down) => "older call",
        (Context::Normal, Action::Leave) => "back",
        (Context::Normal, Action::ToggleFaults) if state.session.faults_on => "faults off",
        (Context::Normal, Action::ToggleFaults) => "faults on",
        (Context::Normal, Action::ToggleCache) if state.cache.on => "cache off",
        (Context::Normal, Action::ToggleCache) => "cache on",
        (Context::Normal, Action::ToggleOrder) => match state.session.policy.limit.order {
            QueueOrder::Fair => "queue by arrival",
            QueueOrder::Fifo => "queue by user",
        },
        (Context::Normal, Action::Load) if state.session.running_load().is_some() => "load off",
        (Context::Normal, Action::Burst50) if ui.size.width < CHAT_WIDTH => "50",
        (Context::Normal, Action::Burst50) => "burst 50",
        (Context::Normal, Action::Pause) => match ui.paused {
            Some(0) => "resume",
            Some(events) => {
                let events = units::count(events, "event");
                return Cow::Owned(format!("resume, {events} behind"));
            }
            None => "pause",
        },
        (_, Action::Play) if playing => "pause",
        (Context::Normal, Action::Open) if opens_group(ui, state) => "open group",
        _ => action.label(),
    };
    Cow::Borrowed(text)
}

/// A key in the footer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Item {
    /// The action of the key.
    pub action: Action,
    /// The key as text.
    pub key: String,
    /// The label after the key.
    pub label: Cow<'static, str>,
    /// First column, from the left of the footer.
    pub x: u16,
    /// Columns of key and label.
    pub width: u16,
}

/// The keys that fit `width` columns: those of the context, `? help`, and `q quit` with room to spare.
pub fn items(ui: &Ui, state: &State, keymap: &Keymap, width: u16) -> Vec<Item> {
    let context = ui.context();
    let item = |action| item(action, ui, state, keymap);
    // in the help the key only closes it
    let help = item(Action::Help).filter(|_| context != Context::Help);
    let mut room = width.saturating_sub(1);
    let mut taken = |item: &Item| {
        let fits = item.width <= room;
        // the gap to the next key
        room = if fits {
            room.saturating_sub(item.width + 2)
        } else {
            0
        };
        fits
    };
    let help = help.filter(&mut taken);
    let is_quit = |item: &Item| item.action == Action::Quit;
    let mut found: Vec<(u8, usize, Item)> = rows(ui, state)
        .into_iter()
        // playback keys that are blocked at an end, and keys that do not apply to the selected setting, keep their
        // place, so that the others do not move
        .filter(|(action, _)| {
            let stays = Control::from_action(*action).is_some() || context == Context::WhatIf;
            stays || blocked(*action, ui, state).is_none()
        })
        .filter(|(action, _)| *action != Action::Open || has_calls(ui, state))
        .enumerate()
        .filter_map(|(place, (action, rank))| Some((rank, place, item(action)?)))
        .collect();
    found.sort_by_key(|(rank, ..)| *rank);
    let fitting = found.iter().take_while(|(.., item)| taken(item)).count();
    found.truncate(fitting);
    found.sort_by_key(|(_, place, _)| *place);
    let (quit, mut shown): (Vec<_>, Vec<_>) = found.into_iter().map(|(.., item)| item).partition(is_quit);
    shown.extend(help);
    // the last place, also if it has room only because all others have it
    let spare =
        item(Action::Quit).filter(|item| quit.is_empty() && context == Context::Normal && taken(item));
    shown.extend(quit.into_iter().chain(spare));
    let mut x = 1;
    for item in &mut shown {
        item.x = x;
        x += item.width + 2;
    }
    shown
}

/// Returns true if Enter opens a group of calls instead of the story of one.
fn opens_group(ui: &Ui, state: &State) -> bool {
    let theme = Theme::default();
    let view = View {
        state,
        ui,
        theme: &theme,
        now: state.last_event_at,
    };
    ui.focus == PaneId::Calls && calls::shares_row(&view)
}

/// Returns true if the focused pane can open a call.
fn has_calls(ui: &Ui, state: &State) -> bool {
    ui.focus.has_calls() && !state.calls.recent.is_empty()
}

fn item(action: Action, ui: &Ui, state: &State, keymap: &Keymap) -> Option<Item> {
    let context = ui.keys();
    let pair = PAIRS
        .iter()
        .find(|(place, first, ..)| *first == action && *place == context);
    let mut key = keymap.key(context, action)?;
    let label = match pair {
        Some((.., second, label)) => {
            key = format!("{key} {}", keymap.key(context, *second)?);
            Cow::Borrowed(*label)
        }
        None => label(action, ui, state),
    };
    let width = cells(&key) + 1 + cells(&label);
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
    // the event loop removes messages by the real clock; `now` of a replay is another time
    let message = match (&view.ui.playback, &view.ui.toast) {
        (Some(_), Some(toast)) => Some(toast.text.as_str()),
        _ => view.ui.message(view.now),
    };
    if let Some(message) = message {
        let help = items.iter().find(|item| item.action == Action::Help);
        let kept = help.map_or(0, |help| help.width + 2);
        let room = area.width.saturating_sub(1 + kept);
        let text = wrap::fit(message, usize::from(room), view.theme.glyphs.ellipsis);
        buf.set_stringn(
            area.x + 1,
            area.y,
            text,
            usize::from(room),
            view.theme.style(Role::Strong),
        );
        if let Some(help) = help {
            draw(view, help, area.right().saturating_sub(help.width + 1), area, buf);
        }
        return;
    }
    for item in &items {
        draw(view, item, area.x + item.x, area, buf);
    }
    if view.ui.context() == Context::Line {
        let end = items.last().map_or(0, |item| item.x + item.width + 2);
        let room = usize::from(area.width.saturating_sub(end + 1));
        let hint = FILTERS.iter().find(|hint| wrap::width(hint) <= room);
        let x = area.x + end;
        buf.set_stringn(
            x,
            area.y,
            hint.unwrap_or(&""),
            room,
            view.theme.style(Role::Muted),
        );
    }
}

fn draw(view: &View<'_>, item: &Item, x: u16, area: Rect, buf: &mut Buffer) {
    let room = usize::from(area.right().saturating_sub(x));
    let (end, _) = buf.set_stringn(x, area.y, &item.key, room, view.theme.style(Role::Key));
    let room = usize::from(area.right().saturating_sub(end + 1));
    buf.set_stringn(end + 1, area.y, &item.label, room, view.theme.style(Role::Muted));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tui::overlay::{Help, Overlay, Palette};
    use crate::tui::tests::busy_state;
    use crate::tui::ui::Mode;

    fn line(ui: &Ui, state: &State, width: u16) -> String {
        let keymap = Keymap::builtin().unwrap();
        let ui = Ui {
            size: (width, 40).into(),
            ..ui.clone()
        };
        let texts: Vec<_> = items(&ui, state, &keymap, width)
            .iter()
            .map(|item| format!("{} {}", item.key, item.label))
            .collect();
        texts.join("  ")
    }

    #[test]
    fn keys_are_left_out_by_rank_and_help_stays() {
        let (ui, new) = (Ui::default(), State::default());
        assert_eq!(
            line(&ui, &new, 120),
            "b burst 10  B burst 50  L load  F faults on  f choose faults  i ask  T tour  : commands  \
             ? help  q quit"
        );
        assert_eq!(line(&ui, &new, 40), "b burst 10  B 50  L load  ? help");
        assert_eq!(line(&ui, &new, 22), "b burst 10  ? help");
        assert_eq!(line(&ui, &new, 8), "? help");
        assert_eq!(line(&ui, &new, 5), "");
        assert!(line(&ui, &new, 200).ends_with("? help  q quit"));
        let mut busy = busy_state();
        busy.session.faults_on = true;
        assert_eq!(
            line(&ui, &busy, 80),
            "b burst 10  B 50  L load  F faults off  x stop  Enter why  T tour  ? help"
        );
    }

    #[test]
    fn the_keys_of_the_focused_pane_have_room() {
        for (focus, key) in [
            (PaneId::Cache, "c cache o"),
            (PaneId::Limiter, "t queue by arrival"),
            (PaneId::Breaker, "o breaker"),
            (PaneId::Latency, "v window"),
            (PaneId::Users, "a burst, all users"),
        ] {
            let ui = Ui {
                focus,
                ..Ui::default()
            };
            let line = line(&ui, &busy_state(), 80);
            assert!(
                line.contains(key) && line.ends_with("? help"),
                "{focus:?}: {line}"
            );
        }
    }

    #[test]
    fn nothing_overlaps_at_any_width() {
        let keymap = Keymap::builtin().unwrap();
        for (focus, mode) in [
            (PaneId::Calls, Mode::Normal),
            (PaneId::Chat, Mode::Normal),
            (PaneId::Log, Mode::Filter),
        ] {
            for width in 0..300 {
                let ui = Ui {
                    focus,
                    mode,
                    paused: Some(12),
                    size: (width, 40).into(),
                    ..Ui::default()
                };
                let mut end = 0;
                for item in items(&ui, &State::default(), &keymap, width) {
                    assert!(item.x >= end && item.x + item.width <= width);
                    end = item.x + item.width;
                }
            }
        }
    }

    #[test]
    fn text_fields_and_overlays_show_their_own_keys() {
        let with = |overlay| Ui {
            overlays: vec![overlay],
            ..Ui::default()
        };
        let typing = Ui {
            focus: PaneId::Chat,
            ..Ui::default()
        };
        let filter = Ui {
            mode: Mode::Filter,
            ..Ui::default()
        };
        let table = [
            (
                typing,
                "Enter send  Esc leave  ^S stop this  ^J new line  Up earlier  ^O why  ^Y copy  F1 help",
            ),
            (filter, "Enter apply  Esc clear  F1 help"),
            (
                with(Overlay::Help(Help::default())),
                "Esc close  PgDn page down  PgUp page up  Home top  End end",
            ),
            (
                with(Overlay::Palette(Palette::default())),
                "Enter run  Esc close  Up previous  Down next  F1 help",
            ),
            (
                with(Overlay::Details(crate::event::CallId(99))),
                "Esc close  Up newer call  Down older call  y copy  ? help",
            ),
        ];
        for (ui, expected) in table {
            assert_eq!(line(&ui, &busy_state(), 90), expected);
        }
    }

    #[test]
    fn a_paused_view_begins_with_the_way_on() {
        let paused = |events| Ui {
            paused: Some(events),
            ..Ui::default()
        };
        let busy = busy_state();
        assert!(line(&paused(0), &busy, 80).starts_with("p resume  b burst 10"));
        assert!(line(&paused(12), &busy, 80).starts_with("p resume, 12 events behind  b burst 10"));
        let zoomed = Ui {
            zoomed: true,
            ..paused(1)
        };
        assert_eq!(
            line(&zoomed, &busy, 84),
            "p resume, 1 event behind  v window  j k select  Enter why  y copy  Esc back  ? help"
        );
    }
}
