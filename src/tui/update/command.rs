//! Actions that become commands for the engine.

use std::time::Duration;

use super::blocked::{busy, one_line};
use super::{Effect, Performed, UpdateContext, perform as perform_action};
use crate::event::{BreakerMode, BurstUsers, Command, UserId};
use crate::settings::{QueueOrder, SemanticMode};
use crate::tui::action::Action;
use crate::tui::overlay::faults::scaled;
use crate::tui::overlay::palette::takes_number;
use crate::tui::overlay::{Confirm, Overlay};
use crate::tui::pane::PaneId;
use crate::tui::ui::{Mode, Ui};

/// A second Ctrl-C within this time quits.
const TWICE: Duration = Duration::from_secs(2);

/// The size of a burst without a number in the palette.
const DEFAULT_BURST: u32 = 20;

/// Performs an action that sends a command or changes its arguments.
pub(super) fn perform(ui: &mut Ui, context: &UpdateContext<'_>, action: Action) -> Performed {
    let session = &context.state.session;
    let command = match action {
        Action::Burst10 => return Performed::Done(burst(ui, context, 10, false)),
        Action::Burst50 => return Performed::Done(burst(ui, context, 50, false)),
        Action::BurstOf => return Performed::Done(burst(ui, context, DEFAULT_BURST, false)),
        Action::BurstAll => return Performed::Done(burst(ui, context, DEFAULT_BURST, true)),
        Action::Stop => Command::CancelAll,
        Action::ToggleFaults => Command::SetFaults {
            on: !session.faults_on,
        },
        Action::MoreFaults => more_faults(ui, context, 5),
        Action::FewerFaults => more_faults(ui, context, -5),
        Action::ToggleCache => Command::SetCache {
            on: !context.state.cache.on,
        },
        Action::ClearCache => Command::ClearCache,
        Action::CycleSemantic => {
            let mode = session.policy.semantic.mode.next();
            let text = match mode {
                SemanticMode::On => "semantic on: similar prompts share an answer",
                SemanticMode::Shadow => "semantic shadow: ask the upstream, log would-be hits",
                SemanticMode::Off => "semantic off: only equal requests hit",
            };
            ui.say(text, context.now);
            Command::SetSemantic { mode }
        }
        Action::ToggleOrder => {
            let order = session.policy.limit.order.toggled();
            let text = match order {
                QueueOrder::Fifo => "queue: first come, first served; a flood by one user delays everyone",
                QueueOrder::Fair => "queue: fair by user; a flood delays only its own user",
            };
            ui.say(text, context.now);
            Command::SetQueueOrder { order }
        }
        Action::CycleBreaker => Command::SetBreaker {
            mode: match context.state.breaker.mode {
                BreakerMode::Automatic => BreakerMode::ForcedOpen,
                BreakerMode::ForcedOpen => BreakerMode::ForcedClosed,
                BreakerMode::ForcedClosed => BreakerMode::Automatic,
            },
        },
        Action::ResetBreaker => Command::ResetBreaker,
        Action::ForgetConversation => {
            ui.say("the next prompt starts a new conversation", context.now);
            Command::ForgetConversation
        }
        Action::NextUser => {
            ui.user = (ui.user + 1) % ui.users.len().max(1);
            let user = one_line(&ui.asking());
            let digit = PaneId::Users.digit();
            ui.say(
                format!("now sending as {user}, bursts too; {digit} shows all users"),
                context.now,
            );
            return Performed::Done(None);
        }
        Action::ToggleConversation => {
            ui.conversation = !ui.conversation;
            let text = if ui.conversation {
                "conversation: earlier turns are sent too, so equal prompts may miss the cache"
            } else {
                "single prompts: earlier turns are not sent"
            };
            ui.say(text, context.now);
            return Performed::Done(None);
        }
        _ => return Performed::NotHandled,
    };
    Performed::Done(Some(Effect::Send(command)))
}

/// The message for a burst as every user.
fn in_turn(calls: u32, users: &[UserId]) -> String {
    if users.len() > 4 {
        return format!("{calls} calls as {} users in turn", users.len());
    }
    let names: Vec<String> = users.iter().map(one_line).collect();
    format!("{calls} calls as {} in turn", names.join(", "))
}

/// The command for a failure rate changed by `points` percent.
fn more_faults(ui: &mut Ui, context: &UpdateContext<'_>, points: i32) -> Command {
    let session = &context.state.session;
    let profile = scaled(&session.faults, points);
    let hint = if session.faults_on {
        ""
    } else {
        " (faults are off; F turns them on)"
    };
    ui.say(
        format!("failure rate {:.0}%{hint}", profile.total() * 100.0),
        context.now,
    );
    Command::SetFaultProfile {
        profile: Box::new(profile),
    }
}

/// Sends a burst; asks for confirmation if it may cost money.
fn burst(ui: &mut Ui, context: &UpdateContext<'_>, calls: u32, all_users: bool) -> Option<Effect> {
    let users = if all_users {
        BurstUsers::All
    } else {
        BurstUsers::One(ui.asking())
    };
    let command = Command::Burst { calls, users };
    let question = match &context.state.session.upstream {
        Some(upstream) if upstream.loopback || upstream.simulated => {
            if all_users && ui.users.len() > 1 {
                ui.say(in_turn(calls, &ui.users), context.now);
            }
            return Some(Effect::Send(command));
        }
        Some(upstream) => format!("{calls} paid calls to {}? y/N", upstream.host),
        None => format!("{calls} calls to an unknown upstream? y/N"),
    };
    ui.overlays.push(Overlay::Confirm(Confirm { question, command }));
    None
}

/// Performs the command selected in the palette.
pub(super) fn chosen(
    ui: &mut Ui,
    context: &UpdateContext<'_>,
    action: Option<Action>,
    number: Option<u32>,
) -> Option<Effect> {
    let Some(action) = action else {
        ui.say("no such command", context.now);
        return None;
    };
    ui.overlays.pop();
    // commands of the palette are commands even while Chat has the focus; the prompt is kept
    ui.overlays.clear();
    ui.mode = Mode::Normal;
    match number {
        Some(calls) if takes_number(action) => {
            if let Some(reason) = super::blocked(action, ui, context.state) {
                ui.say(format!("burst: {reason}"), context.now);
                return None;
            }
            burst(ui, context, calls, action == Action::BurstAll)
        }
        _ => perform_action(ui, context, action),
    }
}

/// Ctrl-C: stops all calls; quits on a second press soon after, or when idle.
pub(super) fn stop_or_quit(ui: &mut Ui, context: &UpdateContext<'_>) -> Effect {
    let again = ui.interrupted_at.is_some_and(|at| context.now.since(at) < TWICE);
    if again || ui.read_only || !busy(context.state) {
        return Effect::Interrupt;
    }
    ui.interrupted_at = Some(context.now);
    ui.say("stopping all calls; ^C again quits", context.now);
    Effect::Send(Command::CancelAll)
}
