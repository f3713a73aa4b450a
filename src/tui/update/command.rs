//! Actions that become commands for the engine.

use std::time::Duration;

use super::blocked::{busy, one_line};
use super::{Effect, Known, perform as act};
use crate::event::{BreakerMode, BurstUsers, Command, UserId};
use crate::settings::{QueueOrder, SemanticMode};
use crate::tui::action::Action;
use crate::tui::layout::Tier;
use crate::tui::overlay::faults::scaled;
use crate::tui::overlay::palette::takes_number;
use crate::tui::overlay::{Confirm, Overlay};
use crate::tui::pane::PaneId;
use crate::tui::ui::{Mode, Ui};

/// A second Ctrl-C within this time quits.
const TWICE: Duration = Duration::from_secs(2);

/// Calls of a burst where the palette names no number.
const DEFAULT_BURST: u32 = 20;

/// Does what a commanding action says; nothing if it is not one.
#[expect(
    clippy::option_option,
    reason = "not mine / done without effect / done with effect"
)]
pub(super) fn perform(ui: &mut Ui, known: &Known<'_>, action: Action) -> Option<Option<Effect>> {
    let session = &known.state.session;
    let command = match action {
        Action::Burst10 => return Some(burst(ui, known, 10, false)),
        Action::Burst50 => return Some(burst(ui, known, 50, false)),
        Action::BurstOf => return Some(burst(ui, known, DEFAULT_BURST, false)),
        Action::BurstAll => return Some(burst(ui, known, DEFAULT_BURST, true)),
        Action::Stop => Command::CancelAll,
        Action::ToggleFaults => Command::SetFaults {
            on: !session.faults_on,
        },
        Action::MoreFaults => more_faults(ui, known, 5),
        Action::FewerFaults => more_faults(ui, known, -5),
        Action::ToggleCache => Command::SetCache {
            on: !known.state.cache.on,
        },
        Action::ClearCache => Command::ClearCache,
        Action::CycleSemantic => {
            let mode = session.policy.semantic.mode.next();
            let text = match mode {
                SemanticMode::On => "semantic on: prompts that mean the same share an answer",
                SemanticMode::Shadow => "semantic shadow: only tells what it would have served",
                SemanticMode::Off => "semantic off: only equal requests hit",
            };
            ui.say(text, known.now);
            Command::SetSemantic { mode }
        }
        Action::ToggleOrder => {
            let order = session.policy.limit.order.toggled();
            let text = match order {
                QueueOrder::Fifo => "queue: first come first served; a flood of one user makes all wait",
                QueueOrder::Fair => "queue: fair by user; a flood of one makes only itself wait",
            };
            ui.say(text, known.now);
            Command::SetQueueOrder { order }
        }
        Action::CycleBreaker => Command::SetBreaker {
            mode: match known.state.breaker.mode {
                BreakerMode::Automatic => BreakerMode::ForcedOpen,
                BreakerMode::ForcedOpen => BreakerMode::ForcedClosed,
                BreakerMode::ForcedClosed => BreakerMode::Automatic,
            },
        },
        Action::ResetBreaker => Command::ResetBreaker,
        Action::ForgetConversation => {
            ui.say("the next prompt starts a new conversation", known.now);
            Command::ForgetConversation
        }
        Action::NextUser => {
            ui.user = (ui.user + 1) % ui.users.len().max(1);
            let user = one_line(&ui.asking());
            let digit = Tier::for_size(ui.size.width, ui.size.height).digit(PaneId::Users);
            let shows = digit.map_or(String::new(), |digit| format!("; {digit} shows each user"));
            ui.say(format!("now asking as {user}, bursts too{shows}"), known.now);
            return Some(None);
        }
        Action::ToggleConversation => {
            ui.conversation = !ui.conversation;
            let text = if ui.conversation {
                "conversation: earlier turns are sent too, so equal prompts are no longer equal"
            } else {
                "each prompt stands alone"
            };
            ui.say(text, known.now);
            return Some(None);
        }
        _ => return None,
    };
    Some(Some(Effect::Send(command)))
}

/// Who sends the calls of a burst from all.
fn in_turn(calls: u32, users: &[UserId]) -> String {
    if users.len() > 4 {
        return format!("{calls} calls, in turn as each of {} users", users.len());
    }
    let names: Vec<String> = users.iter().map(one_line).collect();
    format!("{calls} calls, in turn as {}", names.join(", "))
}

/// The faults with so many points more.
fn more_faults(ui: &mut Ui, known: &Known<'_>, points: i32) -> Command {
    let session = &known.state.session;
    let profile = scaled(&session.faults, points);
    let hint = if session.faults_on {
        ""
    } else {
        " (faults are off, F switches them on)"
    };
    ui.say(
        format!("failure rate {:.0}%{hint}", profile.total() * 100.0),
        known.now,
    );
    Command::SetFaultProfile {
        profile: Box::new(profile),
    }
}

/// A burst; asks first where it may cost money.
fn burst(ui: &mut Ui, known: &Known<'_>, calls: u32, everybody: bool) -> Option<Effect> {
    let users = if everybody {
        BurstUsers::All
    } else {
        BurstUsers::One(ui.asking())
    };
    let command = Command::Burst { calls, users };
    let question = match &known.state.session.upstream {
        Some(upstream) if upstream.loopback || upstream.simulated => {
            if everybody && ui.users.len() > 1 {
                ui.say(in_turn(calls, &ui.users), known.now);
            }
            return Some(Effect::Send(command));
        }
        Some(upstream) => format!("{calls} paid calls to {}? y/N", upstream.host),
        None => format!("{calls} calls to an unknown upstream? y/N"),
    };
    ui.overlays.push(Overlay::Confirm(Confirm { question, command }));
    None
}

/// Does what was chosen in the palette.
pub(super) fn chosen(
    ui: &mut Ui,
    known: &Known<'_>,
    action: Option<Action>,
    number: Option<u32>,
) -> Option<Effect> {
    let Some(action) = action else {
        ui.say("no such command", known.now);
        return None;
    };
    ui.overlays.pop();
    // What is chosen here means what it means in normal mode, even from the prompt; the draft stays.
    ui.overlays.clear();
    ui.mode = Mode::Normal;
    match number {
        Some(calls) if takes_number(action) => {
            if let Some(reason) = super::blocked(action, ui, known.state) {
                ui.say(format!("burst: {reason}"), known.now);
                return None;
            }
            burst(ui, known, calls, action == Action::BurstAll)
        }
        _ => act(ui, known, action),
    }
}

/// Ctrl-C: stops what runs; a second one soon after, or with nothing running, quits.
pub(super) fn stop_or_quit(ui: &mut Ui, known: &Known<'_>) -> Effect {
    let again = ui.interrupted_at.is_some_and(|at| known.now.since(at) < TWICE);
    if again || ui.read_only || !busy(known.state) {
        return Effect::Interrupt;
    }
    ui.interrupted_at = Some(known.now);
    ui.say("stopping what runs; ^C again quits", known.now);
    Effect::Send(Command::CancelAll)
}
