//! Actions that become commands for the engine.

use super::blocked::{busy, one_line};
use super::{Effect, Performed, UpdateContext, chat, perform as perform_action, typing};
use crate::event::{BreakerMode, BurstUsers, Command, Load, UserId, read_load};
use crate::settings::{FaultProfile, QueueOrder, SemanticMode};
use crate::state::State;
use crate::text::units;
use crate::time::Timestamp;
use crate::tui::action::Action;
use crate::tui::overlay::palette::takes_number;
use crate::tui::overlay::{Confirm, Faults, Overlay, faults};
use crate::tui::pane::PaneId;
use crate::tui::tour;
use crate::tui::ui::{Mode, Ui};
use crate::tui::undo::Reverse;

/// The size of a burst without a number in the palette.
const DEFAULT_BURST: u32 = 20;

/// Performs an action that sends a command or changes its arguments.
pub(super) fn perform(ui: &mut Ui, context: &UpdateContext<'_>, action: Action) -> Performed {
    let effect = match action {
        Action::Burst10 => burst(ui, context, 10, false),
        Action::Burst50 => burst(ui, context, 50, false),
        Action::BurstOf => burst(ui, context, DEFAULT_BURST, false),
        Action::BurstAll => burst(ui, context, DEFAULT_BURST, true),
        Action::Load => toggle_load(ui, context),
        Action::Tour => Some(Effect::SendAll(tour::start(ui, context.state, context.now))),
        Action::Stop => Some(Effect::Send(Command::CancelAll)),
        Action::ToggleFaults => Some(toggle_faults(ui, context)),
        Action::MoreFaults => Some(more_faults(ui, context, 5)),
        Action::FewerFaults => Some(more_faults(ui, context, -5)),
        Action::ToggleCache => Some(toggle_cache(ui, context)),
        Action::CycleSemantic => Some(cycle_semantic(ui, context)),
        Action::ToggleOrder => Some(toggle_order(ui, context)),
        Action::ForceOpen => Some(set_breaker(ui, context, BreakerMode::ForcedOpen)),
        Action::ForceClosed => Some(set_breaker(ui, context, BreakerMode::ForcedClosed)),
        Action::ReleaseBreaker => Some(set_breaker(ui, context, BreakerMode::Automatic)),
        Action::ResetBreaker => {
            let question = "Reset the breaker? It closes and forgets its failures. y/N";
            ask(ui, question, Effect::Send(Command::ResetBreaker))
        }
        Action::ClearCache => {
            let answers = units::count(context.state.cache.entries, "stored answer");
            let question = format!("Remove {answers} from the cache? y/N");
            ask(ui, question, Effect::Send(Command::ClearCache))
        }
        Action::Quit => quit(ui, context),
        Action::Undo => undo(ui, context),
        Action::ForgetConversation => {
            ui.say("the next prompt starts a new conversation", context.now);
            Some(Effect::Send(Command::ForgetConversation))
        }
        Action::NextUser => {
            ui.user = (ui.user + 1) % ui.users.len().max(1);
            let user = one_line(&ui.asking());
            let digit = PaneId::Users.digit();
            ui.say(
                format!("now sending as {user}, bursts too; {digit} shows all users"),
                context.now,
            );
            None
        }
        Action::StopCall => {
            let call = chat::to_stop(ui, context.state);
            call.map(|call| Effect::Send(Command::Cancel { call }))
        }
        Action::SetSystem | Action::SetTemperature => {
            chat::ask_for_text(ui, action);
            None
        }
        Action::ToggleConversation => {
            let before = ui.conversation;
            ui.conversation = !before;
            let text = if ui.conversation {
                "earlier turns are sent too, so repeats may miss the cache"
            } else {
                "each prompt is sent alone"
            };
            ui.report(text, Reverse::Conversation(before), context.now);
            // no command, so nothing can fail
            ui.undo.on_accepted();
            None
        }
        _ => return Performed::NotHandled,
    };
    Performed::Done(effect)
}

/// Reports a change that `reverse` undoes, and returns its command.
pub(super) fn change(
    ui: &mut Ui,
    context: &UpdateContext<'_>,
    text: &str,
    command: Command,
    reverse: Command,
) -> Effect {
    ui.report(text, Reverse::Send(reverse), context.now);
    Effect::Send(command)
}

/// Reverses the newest change.
pub(super) fn undo(ui: &mut Ui, context: &UpdateContext<'_>) -> Option<Effect> {
    let undone = ui.undo.take()?;
    ui.say(format!("Undone: {}.", undone.text), context.now);
    match undone.reverse {
        Reverse::Send(command) => {
            if let Command::ApplyPolicy { policy } = &command {
                super::whatif::evaluate(ui, policy);
            }
            Some(Effect::Send(command))
        }
        Reverse::Conversation(before) => {
            ui.conversation = before;
            ui.undo.on_accepted();
            None
        }
    }
}

/// Asks before an effect.
fn ask(ui: &mut Ui, question: impl Into<String>, effect: Effect) -> Option<Effect> {
    let question = question.into();
    ui.overlays.push(Overlay::Confirm(Confirm { question, effect }));
    None
}

/// Quits; asks while calls run.
fn quit(ui: &mut Ui, context: &UpdateContext<'_>) -> Option<Effect> {
    let running = context.state.calls.totals.running();
    if running == 0 || ui.read_only {
        return Some(Effect::Quit);
    }
    let calls = units::count(running, "call");
    let are = if running == 1 { "is" } else { "are" };
    ask(ui, format!("{calls} {are} running. Quit? y/N"), Effect::Quit)
}

fn toggle_faults(ui: &mut Ui, context: &UpdateContext<'_>) -> Effect {
    let session = &context.state.session;
    let on = !session.faults_on;
    let text = if on {
        format!("faults on: {}", faults::one_line(&session.faults))
    } else {
        "faults off".to_owned()
    };
    let set = |on| Command::SetFaults { on };
    let effect = change(ui, context, &text, set(on), set(!on));
    if on {
        suggest_calls(ui, context.state);
    }
    effect
}

/// Adds to the report of faults that there are no calls yet to fail.
fn suggest_calls(ui: &mut Ui, state: &State) {
    if let Some(toast) = ui.toast.as_mut().filter(|_| !busy(state)) {
        toast.text.push_str(" Send calls: b, L.");
    }
}

/// Changes the failure rate by `points` percent.
fn more_faults(ui: &mut Ui, context: &UpdateContext<'_>, points: i32) -> Effect {
    let session = &context.state.session;
    let profile = faults::scaled(&session.faults, points, &ui.profiles);
    let off = if session.faults_on {
        ""
    } else {
        " once faults are on (F)"
    };
    let text = format!("{} of attempts fail{off}", units::rate(profile.total()));
    let set = |profile: FaultProfile| Command::SetFaultProfile {
        profile: Box::new(profile),
    };
    change(ui, context, &text, set(profile), set(session.faults.clone()))
}

/// Applies the edited faults as one change.
pub(super) fn apply_faults(ui: &mut Ui, context: &UpdateContext<'_>, edited: Faults) -> Option<Effect> {
    let session = &context.state.session;
    let before = Command::ApplyFaults {
        on: session.faults_on,
        profile: Box::new(session.faults.clone()),
    };
    let name = faults::one_line(&edited.profile);
    let is_on = edited.on;
    let text = if is_on {
        format!("faults on: {name}")
    } else {
        format!("faults off, {name} is ready")
    };
    let command = Command::ApplyFaults {
        on: edited.on,
        profile: Box::new(edited.profile),
    };
    if command == before {
        return None;
    }
    let effect = change(ui, context, &text, command, before);
    if is_on {
        suggest_calls(ui, context.state);
    }
    Some(effect)
}

fn toggle_cache(ui: &mut Ui, context: &UpdateContext<'_>) -> Effect {
    let on = !context.state.cache.on;
    let text = if on { "cache on" } else { "cache off" };
    let set = |on| Command::SetCache { on };
    change(ui, context, text, set(on), set(!on))
}

fn cycle_semantic(ui: &mut Ui, context: &UpdateContext<'_>) -> Effect {
    let before = context.state.session.policy.semantic.mode;
    let mode = before.next();
    let text = match mode {
        SemanticMode::On => "semantic on: similar prompts share an answer",
        SemanticMode::Shadow => "semantic shadow: ask the upstream, log would-be hits",
        SemanticMode::Off => "semantic off: only equal requests hit",
    };
    let set = |mode| Command::SetSemantic { mode };
    change(ui, context, text, set(mode), set(before))
}

fn toggle_order(ui: &mut Ui, context: &UpdateContext<'_>) -> Effect {
    let before = context.state.session.policy.limit.order;
    let order = before.toggled();
    let text = match order {
        QueueOrder::Fifo => "queue by arrival: a flood by one user delays all",
        QueueOrder::Fair => "queue fair by user: a flood delays its own user only",
    };
    let set = |order| Command::SetQueueOrder { order };
    change(ui, context, text, set(order), set(before))
}

fn set_breaker(ui: &mut Ui, context: &UpdateContext<'_>, mode: BreakerMode) -> Effect {
    let before = context.state.breaker().mode;
    let text = match mode {
        BreakerMode::ForcedOpen => "breaker forced open",
        BreakerMode::ForcedClosed => "breaker forced closed",
        BreakerMode::Automatic => "breaker automatic",
    };
    let set = |mode| Command::SetBreaker { mode };
    change(ui, context, text, set(mode), set(before))
}

/// The message for a burst as every user.
fn in_turn(calls: u32, users: &[UserId]) -> String {
    if users.len() > 4 {
        return format!("{calls} calls as {} users in turn", users.len());
    }
    let names: Vec<String> = users.iter().map(one_line).collect();
    format!("{calls} calls as {} in turn", names.join(", "))
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
    ask(ui, question, Effect::Send(command))
}

/// Starts the last load, or ends the running one.
fn toggle_load(ui: &mut Ui, context: &UpdateContext<'_>) -> Option<Effect> {
    let session = &context.state.session;
    if session.running_load().is_some() {
        return Some(Effect::Send(Command::SetLoad { load: None }));
    }
    let last = session.load.as_ref().map(|load| load.plan.clone());
    start_load(ui, context.state, last.unwrap_or_default(), context.now).map(Effect::Send)
}

/// Starts or ends a load as it was typed: `10/s 60s` or `off`.
pub(super) fn load_typed(ui: &mut Ui, context: &UpdateContext<'_>, text: &str) -> Option<Effect> {
    match read_load(text) {
        Ok(load) => {
            ui.overlays.clear();
            ui.mode = Mode::Normal;
            if let Some(reason) = super::blocked(Action::Load, ui, context.state) {
                ui.say(format!("load: {reason}"), context.now);
                return None;
            }
            match load {
                Some(load) => start_load(ui, context.state, load, context.now).map(Effect::Send),
                None => Some(Effect::Send(Command::SetLoad { load })),
            }
        }
        // the palette stays open, so that the text can be corrected
        Err(error) => {
            ui.say(format!("load: {error}"), context.now);
            None
        }
    }
}

/// The command that starts a load; asks for confirmation instead if it may cost money.
pub(in crate::tui) fn start_load(ui: &mut Ui, state: &State, load: Load, now: Timestamp) -> Option<Command> {
    let calls = load.total();
    let host = match &state.session.upstream {
        Some(upstream) if upstream.loopback || upstream.simulated => {
            ui.say(format!("load {load}: L ends it"), now);
            return Some(Command::SetLoad { load: Some(load) });
        }
        Some(upstream) => upstream.host.single_line(),
        None => "an unknown upstream".to_owned(),
    };
    let question = match (calls, load.lasts) {
        (Some(calls), Some(lasts)) => {
            format!("{calls} paid calls to {host} in {}? y/N", units::setting(lasts))
        }
        _ => format!("{} paid calls to {host} until L ends it? y/N", load.rate_text()),
    };
    ask(ui, question, Effect::Send(Command::SetLoad { load: Some(load) }));
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

/// Ctrl-C: clears the text being typed; then closes the field or overlay; then stops all calls; then quits. One press
/// never ends the session.
pub(super) fn interrupt(ui: &mut Ui, context: &UpdateContext<'_>) -> Option<Effect> {
    if let Some(kept) = typing::clear(ui) {
        ui.say(kept, context.now);
        return None;
    }
    if matches!(ui.overlays.last(), Some(Overlay::WhatIf)) {
        let typed = ui.whatif.line.is_some();
        let action = if typed { Action::CancelValue } else { Action::Close };
        return super::whatif::perform(ui, context, action);
    }
    if ui.overlays.pop().is_some() || typing::close(ui) {
        return None;
    }
    if ui.quits_until.is_some_and(|until| context.now < until) {
        return Some(Effect::Interrupt);
    }
    if ui.read_only || !busy(context.state) {
        ui.offer_to_quit("^C again or q quits", context.now);
        return None;
    }
    let stopped = match context.state.calls.totals.running() {
        0 => "Stopped".to_owned(),
        calls => format!("Stopped {}", units::count(calls, "call")),
    };
    ui.offer_to_quit(format!("{stopped}. ^C again quits"), context.now);
    Some(Effect::Send(Command::CancelAll))
}
