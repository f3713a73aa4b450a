//! Why an action is not possible now, in words: a key that does nothing must say so.

use crate::event::{Origin, UserId};
use crate::state::{Call, Doing, SemanticOutcome, State};
use crate::tui::action::Action;
use crate::tui::keymap::Context;
use crate::tui::layout::Tier;
use crate::tui::playback::bar::Control;
use crate::tui::ui::Ui;

/// The reason why `action` is not possible now; nothing if it is.
pub fn blocked(action: Action, ui: &Ui, state: &State) -> Option<String> {
    if ui.read_only && changes_engine(action) {
        return Some("this session is read-only".to_owned());
    }
    if let (Some(playback), Some(control)) = (&ui.playback, Control::of(action)) {
        return playback.blocked(control).map(str::to_owned);
    }
    if let Some(reason) = super::whatif::blocked(action, ui, state) {
        return Some(reason);
    }
    let reason = match action {
        Action::Pause if ui.playback.is_some() => "Space stops a replay, and goes on",
        Action::Stop if !busy(state) && ui.paused.is_none() => "nothing is running",
        Action::Burst10 | Action::Burst50 | Action::BurstOf | Action::BurstAll => {
            return burst(action == Action::BurstAll, ui, state);
        }
        Action::MoreFaults if state.session.faults.total() >= 1.0 - 1e-9 => "every try fails already",
        Action::FewerFaults if state.session.faults.total() < 1e-3 => "the failure rate is zero already",
        Action::FindNext | Action::FindPrev if ui.filter.is_empty() => "no filter is set, / sets one",
        Action::NextUser if ui.users.len() < 2 => "there is only one user",
        Action::ToggleOrder if !state.session.policy.limit.enabled => "the limiter is off: there is no queue",
        Action::ClearCache if state.cache.entries == 0 => "the cache is empty",
        Action::SaveDrill if state.calls.totals.started == 0 => "nothing was asked yet, b bursts, i asks",
        Action::Follow
            if ui.context() == Context::Normal
                && ui.chat_top.is_none()
                && ui.log_cursor.is_none()
                && ui.selected_call.is_none() =>
        {
            "already following"
        }
        Action::StopCall => return stop_call(ui, state),
        Action::LabelGood | Action::LabelBad => return judge(ui, state, action == Action::LabelGood),
        _ => return pane_missing(action, ui),
    };
    Some(reason.to_owned())
}

/// Whether anything can be stopped.
pub(super) fn busy(state: &State) -> bool {
    let totals = &state.calls.totals;
    totals.started > totals.finished() || bursting(state)
}

/// Whether a burst still makes calls, or waits for them.
fn bursting(state: &State) -> bool {
    state
        .calls
        .burst
        .as_ref()
        .is_some_and(|burst| !burst.all_made || burst.counts.started > burst.counts.finished())
}

/// Why no other burst may begin: one for each user is enough, and one from all. Another user may begin one while
/// somebody's runs, or nobody would see who makes whom wait.
fn burst(everybody: bool, ui: &Ui, state: &State) -> Option<String> {
    if state.calls.burst.as_ref().is_some_and(|burst| !burst.all_made) {
        return Some("a burst is already running, x stops it".to_owned());
    }
    let (asking, mut first) = (ui.asking(), None);
    let runs = |call: &&Call| call.doing != Doing::Ended && matches!(call.origin, Origin::Burst { .. });
    let mut running = state.calls.recent.values().filter(runs);
    if everybody {
        let mixed = running.any(|call| *first.get_or_insert(&call.user) != &call.user);
        return mixed.then(|| "bursts of several users are running, x stops them".to_owned());
    }
    let hint = if ui.users.len() > 1 {
        "x stops it, u asks as another"
    } else {
        "x stops it"
    };
    let own = running.any(|call| call.user == asking);
    own.then(|| format!("a burst of {} is already running: {hint}", one_line(&asking)))
}

/// A name for a sentence.
pub(super) fn one_line(user: &UserId) -> String {
    user.as_str().replace('\n', " ")
}

fn stop_call(ui: &Ui, state: &State) -> Option<String> {
    let Some(crate::tui::overlay::Overlay::Details(call)) = ui.overlays.last() else {
        return None;
    };
    let running = state
        .calls
        .recent
        .get(call)
        .is_some_and(|call| call.fate.is_none());
    (!running).then(|| "this call is over".to_owned())
}

/// Why a person cannot judge the answer of the open call, or of the one under the cursor.
fn judge(ui: &Ui, state: &State, good: bool) -> Option<String> {
    let id = match ui.overlays.last() {
        Some(crate::tui::overlay::Overlay::Details(call)) => Some(*call),
        _ => super::scroll::call_in(ui, state),
    };
    let Some(call) = id.and_then(|id| state.calls.recent.get(&id)) else {
        return Some("there is no call here".to_owned());
    };
    let meaning = call.semantic.as_deref();
    let label = meaning.and_then(|meaning| meaning.label);
    match meaning.map(|meaning| meaning.outcome) {
        Some(SemanticOutcome::Served { .. }) => {
            let word = if good { "right" } else { "wrong" };
            label
                .filter(|label| label.good == good)
                .map(|_| format!("{} was judged {word} already", call.id))
        }
        Some(SemanticOutcome::Shadowed { .. }) => Some(format!(
            "{}: the upstream answered, the semantic cache only watched",
            call.id
        )),
        Some(SemanticOutcome::Missed { .. }) | None => {
            Some(format!("{} is no semantic hit: only those are judged", call.id))
        }
    }
}

fn pane_missing(action: Action, ui: &Ui) -> Option<String> {
    let index = action.pane_index()?;
    let count = Tier::for_size(ui.size.width, ui.size.height).order().len();
    (index >= count).then(|| match count {
        1 => "there is only one pane at this size".to_owned(),
        many => format!("there are only {many} panes at this size"),
    })
}

/// Whether an action needs an engine.
fn changes_engine(action: Action) -> bool {
    matches!(
        action,
        Action::Prompt
            | Action::Burst10
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
            | Action::CycleBreaker
            | Action::ResetBreaker
            | Action::ForgetConversation
            | Action::SaveDrill
            | Action::CompareLive
            | Action::CommitCopy
            | Action::TakeBack
            | Action::SavePolicy
            | Action::StopCall
            | Action::Submit
    )
}
