//! Scrolling in panes. Positions are ids (a call, a `seq`), so that new rows do not move them.

use ratatui::layout::{Position, Rect};

use super::{UpdateContext, areas, measure};
use crate::event::CallId;
use crate::state::State;
use crate::tui::action::Action;
use crate::tui::overlay::{self, Overlay, details};
use crate::tui::pane::{PaneId, calls, chat, log, story};
use crate::tui::theme::Theme;
use crate::tui::ui::Ui;
use crate::tui::view::View;

/// Rows of a scrolling action, negative for up, with pages of `page` rows.
pub(super) fn lines(action: Action, page: i64) -> i64 {
    match action {
        Action::Up => -1,
        Action::Down => 1,
        Action::PageUp => -page,
        Action::PageDown => page,
        Action::Top => i64::MIN / 2,
        Action::Follow => i64::MAX / 2,
        _ => 0,
    }
}

/// Scrolls a pane by an action.
pub(super) fn scroll(ui: &mut Ui, context: &UpdateContext<'_>, pane: PaneId, action: Action) {
    let by = match action {
        Action::FindNext => 1,
        Action::FindPrev => -1,
        other => {
            let height = i64::from(areas(ui).inner(pane).height);
            lines(other, (height - 1).max(1))
        }
    };
    scroll_by(ui, context, pane, by);
}

/// Scrolls a pane by rows, negative for up.
pub(super) fn scroll_by(ui: &mut Ui, context: &UpdateContext<'_>, pane: PaneId, by: i64) {
    if by == 0 {
        return;
    }
    match pane {
        PaneId::Chat => {
            let inner = areas(ui).inner(PaneId::Chat);
            let theme = Theme::default();
            let view = measure(ui, context, &theme);
            ui.chat_top = chat::moved(&view, inner.width, usize::from(inner.height), by);
        }
        PaneId::Log => {
            let theme = Theme::default();
            let filter = log::LogFilter::new(&measure(ui, context, &theme));
            ui.log_cursor = log::moved(&context.shown.log, &filter, ui.log_cursor, by);
        }
        PaneId::Calls
        | PaneId::Retries
        | PaneId::Users
        | PaneId::Breaker
        | PaneId::Limiter
        | PaneId::Cache
        | PaneId::Traffic
        | PaneId::Latency => {
            let theme = Theme::default();
            // Follow selects the newest, which is on top here
            let follows = by >= i64::MAX / 2;
            ui.selected_call = if follows {
                None
            } else {
                calls::moved(&measure(ui, context, &theme), by)
            };
        }
    }
}

/// Opens the group of calls that share the row under the cursor of 8 Calls. Returns false without one.
pub(super) fn open_group(ui: &mut Ui, context: &UpdateContext<'_>) -> bool {
    let theme = Theme::default();
    let view = measure(ui, context, &theme);
    if areas(ui).focus != PaneId::Calls || !calls::shares_row(&view) {
        return false;
    }
    ui.selected_call = calls::call_under_cursor(&view);
    show_calls(ui, context, Action::OpenGroup);
    true
}

/// Opens or closes the group of calls under the cursor, or changes where lanes begin.
pub(super) fn show_calls(ui: &mut Ui, context: &UpdateContext<'_>, action: Action) {
    if action == Action::AlignCalls {
        ui.align_calls = !ui.align_calls;
        return;
    }
    let theme = Theme::default();
    let group: Vec<CallId> = calls::group_under_cursor(&measure(ui, context, &theme))
        .iter()
        .map(|call| call.id)
        .collect();
    let (Some(newest), Some(oldest)) = (group.first(), group.last()) else {
        return;
    };
    if action == Action::OpenGroup && newest != oldest {
        // groups that are no longer in memory are forgotten
        let kept = &context.shown.calls.recent;
        ui.open_groups.retain(|id| kept.contains_key(id));
        ui.open_groups.insert(*newest);
    } else {
        ui.open_groups.retain(|id| id < oldest || id > newest);
    }
}

/// The call `by` places below `from` in the order of ids, the newest on top; `None`: the newest.
fn moved_call(context: &UpdateContext<'_>, from: Option<CallId>, by: i64) -> Option<CallId> {
    let recent = &context.shown.calls.recent;
    let newest = *recent.last_key_value()?.0;
    let here = from.unwrap_or(newest);
    let steps = usize::try_from(by.unsigned_abs()).unwrap_or(usize::MAX);
    let target = if by > 0 {
        recent
            .range(..=here)
            .rev()
            .map(|(id, _)| *id)
            .take(steps.saturating_add(1))
            .last()
    } else {
        recent
            .range(here..)
            .map(|(id, _)| *id)
            .take(steps.saturating_add(1))
            .last()
    };
    target.or(Some(newest)).filter(|id| *id != newest)
}

/// The call that Enter opens in the drawn state.
pub(super) fn call_under_cursor(ui: &Ui, context: &UpdateContext<'_>) -> Option<CallId> {
    call_in(ui, context.shown)
}

/// The call that Enter opens in `shown`.
pub(super) fn call_in(ui: &Ui, shown: &State) -> Option<CallId> {
    let theme = Theme::default();
    let view = View {
        state: shown,
        ui,
        theme: &theme,
        now: shown.last_event_at,
    };
    match areas(ui).focus {
        PaneId::Chat => ui
            .chat_top
            .map(|anchor| anchor.call)
            .or_else(|| shown.calls.chat.last().copied()),
        PaneId::Calls => calls::call_under_cursor(&view),
        PaneId::Log => {
            let filter = log::LogFilter::new(&view);
            log::cursor_line(&shown.log, &filter, ui.log_cursor).and_then(|line| line.call)
        }
        PaneId::Retries
        | PaneId::Users
        | PaneId::Breaker
        | PaneId::Limiter
        | PaneId::Cache
        | PaneId::Traffic
        | PaneId::Latency => None,
    }
}

/// Selects the row at `y` of the screen in the list of a pane with this content area.
pub(super) fn select_row(ui: &mut Ui, context: &UpdateContext<'_>, pane: PaneId, inner: Rect, y: u16) {
    let theme = Theme::default();
    let view = measure(ui, context, &theme);
    match pane {
        PaneId::Calls => {
            let call = calls::call_at(&view, inner, y);
            ui.selected_call = call.or(ui.selected_call);
        }
        PaneId::Log => {
            let line = log::line_at(&view, inner, y);
            ui.log_cursor = line.or(ui.log_cursor);
        }
        _ => {}
    }
}

/// Scrolls a story by a page.
pub(super) fn page_story(ui: &mut Ui, context: &UpdateContext<'_>, call: CallId, down: bool) {
    let inner = story_area(ui, call);
    let page = i64::from(inner.height).saturating_sub(1).max(1);
    scroll_story(ui, context, call, if down { page } else { -page });
}

/// The area of the text of a story.
fn story_area(ui: &Ui, call: CallId) -> Rect {
    let screen = Rect::from((Position::ORIGIN, ui.size));
    details::inner(overlay::area_of(&Overlay::Details(call), screen))
}

/// Scrolls a story by rows, negative for up.
pub(super) fn scroll_story(ui: &mut Ui, context: &UpdateContext<'_>, call: CallId, by: i64) {
    let Some(call) = context.shown.calls.recent.get(&call) else {
        return;
    };
    let inner = story_area(ui, call.id);
    let theme = Theme::default();
    let rows = details::rows(&measure(ui, context, &theme), call, inner);
    let last = rows.len().saturating_sub(usize::from(inner.height));
    ui.story_top = overlay::stepped(ui.story_top.min(last), by, last);
}

/// Opens the story of another call, an older one if `by` is positive.
pub(super) fn other_call(ui: &mut Ui, context: &UpdateContext<'_>, by: i64) {
    let Some(Overlay::Details(open)) = ui.overlays.last_mut() else {
        return;
    };
    if by == 0 {
        return;
    }
    let newest = context.shown.calls.recent.last_key_value().map(|(id, _)| *id);
    let next = moved_call(context, Some(*open), by);
    if let Some(id) = next.or(newest) {
        *open = id;
    }
    ui.story_top = 0;
    ui.selected_call = next;
}

/// The text that `y` copies: sanitised, as on the screen.
pub(super) fn text_under_cursor(ui: &Ui, context: &UpdateContext<'_>) -> Option<String> {
    let state = context.shown;
    if let Some(Overlay::Details(id)) = ui.overlays.last() {
        let call = state.calls.recent.get(id)?;
        let theme = Theme::default();
        return Some(story::text(&measure(ui, context, &theme), call));
    }
    match areas(ui).focus {
        PaneId::Log => {
            let theme = Theme::default();
            let filter = log::LogFilter::new(&measure(ui, context, &theme));
            let line = log::cursor_line(&state.log, &filter, ui.log_cursor)?;
            Some(format!("{} {} {}", line.at, line.kind.label(), line.text))
        }
        PaneId::Calls => {
            let id = call_under_cursor(ui, context)?;
            let call = state.calls.recent.get(&id)?;
            Some(format!("{id} {}\n{}", call.prompt, state.calls.answer(call)))
        }
        PaneId::Chat
        | PaneId::Retries
        | PaneId::Users
        | PaneId::Breaker
        | PaneId::Limiter
        | PaneId::Cache
        | PaneId::Traffic
        | PaneId::Latency => chat::last_answer(state).map(str::to_owned),
    }
}
