//! The reasons why actions are not possible now: a key without effect shows its reason.

use super::areas;
use crate::event::{BreakerMode, MAX_RUNNING, UserId};
use crate::state::{SemanticOutcome, State};
use crate::tui::action::Action;
use crate::tui::keymap::Context;
use crate::tui::playback::bar::Control;
use crate::tui::tour;
use crate::tui::ui::Ui;

/// Returns the reason why `action` is not possible now.
pub fn blocked(action: Action, ui: &Ui, state: &State) -> Option<String> {
    // Enter also ends the typing of a filter
    let filters = ui.context() == Context::Line;
    if ui.read_only && changes_engine(action) && !filters {
        let reason = match action {
            _ if ui.playback.is_none() => "this session is read-only",
            Action::WhatIf => "not in a replay; seawall compare --journal FILE compares policies",
            _ => "not in a replay: it shows a recording and sends nothing",
        };
        return Some(reason.to_owned());
    }
    if let (Some(playback), Some(control)) = (&ui.playback, Control::from_action(action)) {
        return playback.blocked(control).map(str::to_owned);
    }
    if let Some(reason) = super::whatif::blocked(action, ui, state) {
        return Some(reason);
    }
    let reason = match action {
        Action::Pause if ui.playback.is_some() => "Space pauses and resumes a replay",
        Action::CrosshairLeft | Action::CrosshairRight if ui.paused.is_none() && ui.playback.is_none() => {
            "only while paused: p pauses the view"
        }
        Action::Stop if !busy(state) && ui.paused.is_none() => "nothing is running",
        Action::Burst10 | Action::Burst50 | Action::BurstOf | Action::BurstAll => {
            return burst(state);
        }
        Action::Tour if !tour::is_possible(state) => tour::NEEDS_SIMULATOR,
        Action::Tour if ui.tour.is_some() => "the tour is running: Esc leaves it",
        Action::MoreFaults if state.session.faults.total() >= 1.0 - 1e-9 => {
            "the failure rate is 100% already"
        }
        Action::FewerFaults if state.session.faults.total() < 0.015 => {
            "the failure rate is as low as it goes; F turns faults off"
        }
        Action::Undo if ui.undo.is_empty() => "nothing to undo",
        Action::ForceOpen if state.breaker().mode == BreakerMode::ForcedOpen => "it is forced open already",
        Action::ForceClosed if state.breaker().mode == BreakerMode::ForcedClosed => {
            "it is forced closed already"
        }
        Action::ReleaseBreaker if state.breaker().mode == BreakerMode::Automatic => "it is automatic already",
        Action::Filter if !has_filter(ui) => "no list here: filter 8 Calls, 9 Users or 0 Log",
        Action::FindNext | Action::FindPrev if ui.filter_text(areas(ui).focus).is_none() => {
            "no filter: / sets one"
        }
        Action::Up | Action::Down | Action::PageUp | Action::PageDown | Action::Top | Action::Follow
            if ui.context() == Context::Normal && !areas(ui).focus.has_calls() =>
        {
            "no list here: 8 goes to the calls, 0 to the log"
        }
        Action::NextUser if ui.users.len() < 2 => "only one user",
        Action::ToggleOrder if !state.session.policy.limit.enabled => "no queue: the limiter is off",
        Action::ClearCache if state.cache.entries == 0 => "the cache is empty",
        Action::SaveDrill if state.calls.totals.started == 0 => "no calls yet: b sends ten, i asks",
        Action::Follow
            if ui.context() == Context::Normal
                && ui.chat_top.is_none()
                && ui.log_cursor.is_none()
                && ui.selected_call.is_none() =>
        {
            "already following"
        }
        Action::StopCall if super::chat::to_stop(ui, state).is_none() => {
            if ui.context() == Context::Input {
                "no answer is running"
            } else {
                "this call has ended"
            }
        }
        Action::SetSystem | Action::SetTemperature | Action::EditPrompt if ui.read_only => {
            "this session is read-only"
        }
        Action::LabelGood | Action::LabelBad => return label_hit(ui, state, action == Action::LabelGood),
        _ => return None,
    };
    Some(reason.to_owned())
}

/// Returns true if the focused pane has a list that can be filtered.
fn has_filter(ui: &Ui) -> bool {
    let areas = areas(ui);
    areas.focus.has_filter(areas.zoomed)
}

/// Returns true if anything can be stopped.
pub(super) fn busy(state: &State) -> bool {
    let totals = &state.calls.totals;
    totals.running() > 0
        || state.calls.running_bursts().next().is_some()
        || state.session.running_load().is_some()
}

/// The reason why another burst is not possible: bursts may overlap until this many calls run.
fn burst(state: &State) -> Option<String> {
    let running = state.calls.totals.running();
    (running >= MAX_RUNNING).then(|| format!("{running} calls are running: x stops them"))
}

/// The name of a user on one line.
pub(crate) fn one_line(user: &UserId) -> String {
    user.as_str().replace('\n', " ")
}

/// The reason why the open or selected call cannot be labelled.
fn label_hit(ui: &Ui, state: &State, good: bool) -> Option<String> {
    let id = match ui.overlays.last() {
        Some(crate::tui::overlay::Overlay::Details(call)) => Some(*call),
        _ => super::scroll::call_in(ui, state),
    };
    let Some(call) = id.and_then(|id| state.calls.recent.get(&id)) else {
        return Some("no call here".to_owned());
    };
    let meaning = call.semantic.as_deref();
    let label = meaning.and_then(|meaning| meaning.label);
    match meaning.map(|meaning| meaning.outcome) {
        Some(SemanticOutcome::Served { .. }) => {
            let word = if good { "right" } else { "wrong" };
            label
                .filter(|label| label.good == good)
                .map(|_| format!("{} is already judged {word}", call.id))
        }
        Some(SemanticOutcome::Shadowed { .. }) => Some(format!(
            "{} was answered by the upstream: the semantic cache is in shadow mode",
            call.id
        )),
        Some(SemanticOutcome::Missed { .. }) | None => Some(format!("{} is not a semantic hit", call.id)),
    }
}

/// Returns true if an action needs an engine.
fn changes_engine(action: Action) -> bool {
    matches!(
        action,
        Action::Prompt
            | Action::Burst10
            | Action::Load
            | Action::Tour
            | Action::Burst50
            | Action::BurstOf
            | Action::BurstAll
            | Action::Stop
            | Action::ToggleFaults
            | Action::ChooseFaults
            | Action::MoreFaults
            | Action::FewerFaults
            | Action::ToggleCache
            | Action::CycleSemantic
            | Action::ToggleOrder
            | Action::LabelGood
            | Action::LabelBad
            | Action::ClearCache
            | Action::ChooseBreaker
            | Action::ForceOpen
            | Action::ForceClosed
            | Action::ReleaseBreaker
            | Action::ResetBreaker
            | Action::Undo
            | Action::ForgetConversation
            | Action::SaveDrill
            | Action::WhatIf
            | Action::ApplyDraft
            | Action::SavePolicy
            | Action::StopCall
            | Action::ApplyFaults
            | Action::Submit
    )
}
