//! The guided tour: seven steps on the simulator, from `assets/tour.toml`.
//!
//! ```text
//!  state --> figures --> conditions --> the text that is shown --> box at the bottom
//!                             \--> commands of the text          Space --> its action
//! ```
//!
//! A text stays until the conditions of the next hold: the real keys lead on as Space does. The policy, the faults
//! and the load of the session are restored when the tour ends.

mod figures;
mod render;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::LazyLock;

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use serde::Deserialize;

use self::figures::{Counts, Figure, Record};
use super::keymap::Context;
use super::pane::PaneId;
use super::ui::Ui;
use super::undo::Undo;
use super::update::Effect;
use crate::event::{Command, Load};
use crate::settings::{FaultProfile, Policy};
use crate::state::State;
use crate::time::Timestamp;

pub(super) use render::{dim_others, render, rows};

/// The reason why the tour cannot start with a real upstream.
pub(super) const NEEDS_SIMULATOR: &str = "The tour needs the simulator: run seawall tour";

/// The steps of the tour.
static SCRIPT: LazyLock<Script> =
    LazyLock::new(|| toml::from_str(include_str!("../../assets/tour.toml")).unwrap_or_default());

/// The file of the tour.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Script {
    #[serde(rename = "step")]
    steps: Vec<Step>,
}

/// A step.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Step {
    /// The name in the title of the box.
    name: String,
    /// The guards that are on, by pane.
    guards: Vec<String>,
    /// The panes that are not dimmed.
    panes: Vec<String>,
    /// Settings that differ from the production policy.
    #[serde(default)]
    policy: Vec<String>,
    /// The profile that F switches on; the default profile if absent.
    #[serde(default)]
    faults: Option<FaultProfile>,
    /// Executed at the beginning.
    #[serde(default)]
    commands: Vec<Command>,
    #[serde(rename = "text")]
    texts: Vec<StepText>,
}

/// A text of a step.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct StepText {
    /// The least values of figures at which it is shown; none for the first text.
    #[serde(default)]
    when: BTreeMap<String, f64>,
    /// The text, with figures in braces.
    text: String,
    /// The label of the action of Space; absent without one.
    #[serde(default)]
    label: Option<String>,
    /// The action of Space.
    #[serde(default)]
    commands: Vec<Command>,
    /// Executed when the text begins.
    #[serde(default)]
    then: Vec<Command>,
}

/// The tour as it runs.
#[derive(Clone, Debug, PartialEq)]
pub struct Tour {
    /// Index of the step.
    step: usize,
    /// Index of the text.
    text: usize,
    record: Record,
    /// Counts at the beginning of the tour.
    began: Counts,
    /// The most calls that waited, and the time the retry budget took, for the last step.
    waited: u64,
    budget_time: Option<std::time::Duration>,
    /// The session before the tour.
    saved: Box<Saved>,
}

/// The session before the tour.
#[derive(Clone, Debug, PartialEq)]
struct Saved {
    policy: Policy,
    faults: FaultProfile,
    faults_on: bool,
    load: Option<Load>,
}

/// Returns true if the tour can run: the simulator answers.
pub(super) fn is_possible(state: &State) -> bool {
    let upstream = state.session.upstream.as_ref();
    upstream.is_none_or(|upstream| upstream.simulated)
}

/// Starts the tour.
pub(super) fn start(ui: &mut Ui, state: &State, now: Timestamp) -> Vec<Command> {
    let session = &state.session;
    let load = session.running_load().map(|load| load.plan.clone());
    ui.tour = Some(Box::new(Tour {
        step: 0,
        text: 0,
        record: Record::begin(state, now),
        began: Counts::of(state),
        waited: 0,
        budget_time: None,
        saved: Box::new(Saved {
            policy: session.policy.clone(),
            faults: session.faults.clone(),
            faults_on: session.faults_on,
            load,
        }),
    }));
    ui.overlays.clear();
    // U must not reach back to before the tour
    ui.undo = Undo::default();
    enter(ui, state, now, 0)
}

/// Begins a step: its policy, faults and load in place of those of the step before.
fn enter(ui: &mut Ui, state: &State, now: Timestamp, step: usize) -> Vec<Command> {
    let (Some(tour), Some(script)) = (ui.tour.as_mut(), SCRIPT.steps.get(step)) else {
        return leave(ui);
    };
    tour.waited = tour.waited.max(tour.record.waited());
    tour.budget_time = tour.record.budget_time().or(tour.budget_time);
    (tour.step, tour.text) = (step, 0);
    tour.record = Record::begin(state, now);
    // focus marks the guard that the step is about
    ui.focus = script
        .panes
        .first()
        .and_then(|name| pane(name))
        .unwrap_or_default();
    ui.zoomed = false;
    let mut policy = Policy::default()
        .with_settings(&script.policy)
        .unwrap_or_default();
    policy.name = format!("tour-{}", step + 1);
    let profile = script.faults.clone().unwrap_or_else(|| default_faults(ui));
    let reset = [
        // ends the load, too
        Command::CancelAll,
        Command::SetFaults { on: false },
        Command::SetBreaker {
            mode: crate::event::BreakerMode::Automatic,
        },
        Command::ApplyPolicy {
            policy: Box::new(policy),
        },
        Command::ClearCache,
        Command::ResetBreaker,
        Command::SetFaultProfile {
            profile: Box::new(profile),
        },
    ];
    reset.into_iter().chain(script.commands.iter().cloned()).collect()
}

/// The profile of F outside the steps that have their own.
fn default_faults(ui: &Ui) -> FaultProfile {
    let saved = ui.tour.as_ref().map(|tour| tour.saved.faults.clone());
    saved.unwrap_or_default()
}

/// Ends the tour and restores the session.
pub(super) fn leave(ui: &mut Ui) -> Vec<Command> {
    let Some(tour) = ui.tour.take() else {
        return Vec::new();
    };
    ui.focus = PaneId::Calls;
    // changes of the tour are undone by its end
    (ui.undo, ui.toast) = (Undo::default(), None);
    let Saved {
        policy,
        faults,
        faults_on,
        load,
    } = *tour.saved;
    let mut commands = vec![
        Command::CancelAll,
        Command::ApplyPolicy {
            policy: Box::new(policy),
        },
        Command::ResetBreaker,
        Command::SetFaultProfile {
            profile: Box::new(faults),
        },
        Command::SetFaults { on: faults_on },
    ];
    commands.extend(load.map(|load| Command::SetLoad { load: Some(load) }));
    commands
}

/// Goes on to the next text if its conditions hold. Returns the commands to execute.
pub(super) fn advance(ui: &mut Ui, state: &State, now: Timestamp) -> Vec<Command> {
    let Some(tour) = ui.tour.as_mut() else {
        return Vec::new();
    };
    if !tour.record.is_current(state) {
        return Vec::new();
    }
    tour.record.update(state);
    let mut commands = Vec::new();
    while let Some(next) = SCRIPT
        .steps
        .get(tour.step)
        .and_then(|step| step.texts.get(tour.text + 1))
    {
        let holds = |(name, least): (&String, &f64)| {
            let figure = tour.figure(name, state, now);
            figure.is_some_and(|figure| figure.value() >= *least)
        };
        if !next.when.iter().all(holds) {
            break;
        }
        tour.text += 1;
        commands.extend(next.then.iter().cloned());
    }
    commands
}

/// Handles a key of the tour; `None` if it is not one.
pub(super) fn key(ui: &mut Ui, state: &State, now: Timestamp, key: KeyEvent) -> Option<Effect> {
    let tour = ui.tour.as_ref()?;
    if ui.context() != Context::Normal || ui.zoomed || !(key.modifiers - KeyModifiers::SHIFT).is_empty() {
        return None;
    }
    let step = tour.step;
    let commands = match key.code {
        KeyCode::Char(' ') if tour.is_done() => enter(ui, state, now, step + 1),
        KeyCode::Char(' ') => {
            let text = SCRIPT.steps.get(step).and_then(|step| step.texts.get(tour.text));
            let commands = text.map(|text| text.commands.clone()).unwrap_or_default();
            if commands.is_empty() {
                ui.say("Space: wait for the next text, or go on with n", now);
            }
            commands
        }
        KeyCode::Char('n') => enter(ui, state, now, step + 1),
        KeyCode::Char('r') => enter(ui, state, now, step),
        KeyCode::Esc => leave(ui),
        _ => return None,
    };
    Some(Effect::SendAll(commands))
}

impl Tour {
    /// The step that is shown.
    fn step(&self) -> Option<&'static Step> {
        SCRIPT.steps.get(self.step)
    }

    /// Returns true at the last text of the step, if it asks for nothing.
    fn is_done(&self) -> bool {
        let last = self
            .step()
            .and_then(|step| Some((step.texts.len(), step.texts.last()?)));
        last.is_some_and(|(count, text)| self.text + 1 == count && text.commands.is_empty())
    }

    /// The figure of this name: of the step, or of the whole tour.
    fn figure(&self, name: &str, state: &State, now: Timestamp) -> Option<Figure> {
        match name {
            "all_waited" => Some(Figure::Count(self.waited)),
            "budget_time" => {
                let time = self.record.budget_time().or(self.budget_time);
                time.map(Figure::Time)
            }
            _ => match name.strip_prefix("all_") {
                Some(name) => self.began.until(Counts::of(state), name),
                None => self.record.figure(name, state, now),
            },
        }
    }

    /// The text that is shown, with its figures. A sentence with a figure that has no value yet is left out.
    fn text(&self, state: &State, now: Timestamp) -> String {
        let text = self.step().and_then(|step| step.texts.get(self.text));
        let sentences = text.map_or("", |text| text.text.as_str()).split_inclusive(". ");
        sentences
            .filter_map(|sentence| self.sentence(sentence, state, now))
            .collect()
    }

    fn sentence(&self, sentence: &str, state: &State, now: Timestamp) -> Option<String> {
        let mut rest = sentence;
        let mut filled = String::with_capacity(rest.len());
        while let Some((before, after)) = rest.split_once('{') {
            let (name, tail) = after.split_once('}')?;
            filled += before;
            filled += &self.figure(name, state, now)?.text();
            rest = tail;
        }
        Some(filled + rest)
    }

    /// Returns true if a guard is not part of the step.
    pub(super) fn is_off(&self, pane: PaneId) -> bool {
        let guard = matches!(
            pane,
            PaneId::Cache | PaneId::Limiter | PaneId::Breaker | PaneId::Retries
        );
        guard && self.step().is_some_and(|step| !names(&step.guards, pane))
    }
}

/// Returns true if the list names the pane.
fn names(list: &[String], pane: PaneId) -> bool {
    list.iter().any(|name| self::pane(name) == Some(pane))
}

/// The pane of a name in the file.
fn pane(name: &str) -> Option<PaneId> {
    PaneId::ALL
        .into_iter()
        .find(|pane| pane.name().eq_ignore_ascii_case(name))
}
