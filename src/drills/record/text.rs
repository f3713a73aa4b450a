//! A drill as a scenario file: comments and layout here, values by serde.

use std::fmt::Write as _;
use std::time::Duration;

use serde::Serialize;
use toml::{Table, Value};

use super::expect::Bounds;
use super::{Drill, SessionStart};
use crate::drills::scenario::Measure;
use crate::drills::scenario::command::{Action, CommandTable};
use crate::event::{BurstUsers, Command, Load, TimedCommand};
use crate::session::engine::TRAFFIC_TOKENS;
use crate::settings::file;
use crate::settings::{
    FaultProfile, LatencyProfile, Policy, SemanticMode, toml_key, toml_string, toml_value,
};
use crate::text::units::{self, number};
use crate::time::{Timestamp, Utc};

/// Maximum width of a list of settings on one line.
const WIDTH: usize = 90;

/// The heading of the file.
#[derive(Clone, Copy, Debug)]
pub(super) struct Heading<'a> {
    /// The name of the scenario.
    pub(super) name: &'a str,
    /// The path, as given on the command line.
    pub(super) file: &'a str,
    pub(super) when: Utc,
}

/// An expectation and the value of the headless run.
pub(super) type TestedBounds = (Bounds, Option<f64>);

impl Drill {
    /// The `[[command]]` tables of the file.
    pub(super) fn tables(&self) -> Vec<CommandTable> {
        CommandTable::from_commands(&self.commands)
    }
}

/// A load as callers of a scenario: its plan, and the time it ran.
pub(super) struct RecordedLoad<'a> {
    pub(super) plan: &'a Load,
    pub(super) from: Duration,
    pub(super) until: Duration,
}

/// The loads of the recording. A load ends with its duration, the next load, a stop, or the recording.
pub(super) fn loads(drill: &Drill) -> Vec<RecordedLoad<'_>> {
    let mut loads: Vec<RecordedLoad<'_>> = Vec::new();
    let mut running = false;
    for TimedCommand { at, command } in &drill.commands {
        let at = at.since(Timestamp::ZERO);
        let plan = match command {
            Command::SetLoad { load } => load.as_ref(),
            Command::CancelAll => None,
            _ => continue,
        };
        if let Some(last) = loads.last_mut().filter(|_| running) {
            last.until = last.until.min(at);
        }
        running = plan.is_some();
        loads.extend(plan.map(|plan| {
            RecordedLoad {
                plan,
                from: at,
                until: plan
                    .lasts
                    .map_or(drill.duration, |lasts| drill.duration.min(at + lasts)),
            }
        }));
    }
    loads.retain(|load| load.from < load.until);
    loads
}

fn write_loads(text: &mut String, drill: &Drill, loads: &[RecordedLoad<'_>]) {
    if loads.is_empty() {
        return;
    }
    let requests = &drill.start.requests;
    let _ = writeln!(text, "\n# Loads.");
    for RecordedLoad { plan, from, until } in loads {
        let users = match &plan.users {
            BurstUsers::One(user) => vec![toml_string(user.as_str())],
            BurstUsers::All => requests.users.iter().map(|user| toml_string(user)).collect(),
        };
        let (rate, poisson) = (plan.rate, plan.poisson);
        // the first call of callers at a steady rate comes an interval after their beginning
        let early = match (plan.until, poisson) {
            (None, false) => Duration::from_secs_f64(rate.recip()),
            _ => Duration::ZERO,
        };
        let arrival = match plan.until {
            Some(to) => {
                // stopped early, it did not reach its last rate
                let lasts = plan.lasts.unwrap_or_default().as_secs_f64();
                let part = until.saturating_sub(*from).as_secs_f64() / lasts;
                let to = if part < 1.0 { rate + (to - rate) * part } else { to };
                let poisson = if poisson { ", poisson = true" } else { "" };
                format!("ramp = {{ from_per_s = {rate}, to_per_s = {to}{poisson} }}")
            }
            None if poisson => format!("poisson = {{ per_s = {rate} }}"),
            None => format!("steady = {{ per_s = {rate} }}"),
        };
        let _ = writeln!(
            text,
            "\n[[callers]]\nusers = [{}]\narrival.{arrival}\nfrom = \"{}\"\nuntil = \"{}\"\n\
             prompts = {{ repeat = {} }}\nmax_tokens = {}{}",
            users.join(", "),
            seconds(from.saturating_sub(early)),
            seconds(*until),
            plan.repeat.unwrap_or(requests.repeat),
            requests.answer_tokens.min(TRAFFIC_TOKENS),
            if plan.whole { "\nstream = false" } else { "" },
        );
    }
}

/// The whole file. An expectation that does not hold headless becomes a comment.
pub(super) fn write(drill: &Drill, heading: Heading<'_>, tested: &[TestedBounds]) -> String {
    let tables = drill.tables();
    let mut text = String::new();
    write_heading(&mut text, drill, heading);
    let _ = writeln!(text, "name = {}", toml_string(heading.name));
    let _ = writeln!(
        text,
        "about = {}",
        toml_string(&about(&tables, loads(drill).len()))
    );
    let _ = writeln!(text, "seed = {}", drill.start.seed);
    let _ = writeln!(text, "duration = \"{}\"", seconds(drill.duration));
    let uses_semantic = |action: &Action| matches!(action, Action::Semantic(_) | Action::Label { .. });
    let semantic = drill.start.policy.semantic.mode != SemanticMode::Off
        || tables.iter().any(|table| uses_semantic(&table.action));
    write_start(&mut text, &drill.start, semantic);
    let loads = loads(drill);
    write_loads(&mut text, drill, &loads);
    if !tables.is_empty() {
        let _ = writeln!(text, "\n# Commands and their times.");
    }
    for CommandTable { at, action } in &tables {
        let (at, action) = (seconds(*at), written(action));
        let _ = writeln!(text, "\n[[command]]\nat = \"{at}\"\ndo = {action}");
    }
    write_expectations(&mut text, tested);
    text
}

fn write_heading(text: &mut String, drill: &Drill, heading: Heading<'_>) {
    let start = &drill.start;
    let host = start.upstream.as_deref().unwrap_or("the built-in simulator");
    let _ = writeln!(
        text,
        "# A recorded drill, saved by seawall {} on {}.\n\
         # {} in {} under the policy {}; upstream: {}.\n\
         #\n\
         # Run it again, headless and in virtual time:\n\
         #   seawall run {}\n\
         # The same seed gives the same prompts and faults. Times, commands and bounds can be edited.",
        env!("CARGO_PKG_VERSION"),
        heading.when,
        units::count(drill.calls, "call"),
        seconds(drill.duration),
        comment(&start.policy.name),
        comment(host),
        comment(heading.file),
    );
    if start.upstream.is_some() {
        let _ = writeln!(
            text,
            "# The simulator replaces that upstream in a headless run: a model with a pace and answers of its own."
        );
    }
    if let Some(host) = &start.embedder {
        let _ = writeln!(
            text,
            "# The built-in embedder replaces {} in a headless run: it finds other prompts similar, so the\n\
             # semantic cache may serve other calls.",
            comment(host)
        );
    }
    if drill.running > 0 {
        let running = units::count(drill.running as u64, "running call");
        let _ = writeln!(text, "# Saved with {running}.");
    }
    text.push('\n');
}

/// The description of the drill, in a sentence.
fn about(tables: &[CommandTable], loads: usize) -> String {
    let actions = || tables.iter().map(|table| &table.action);
    let count = |keep: fn(&Action) -> bool| actions().filter(|action| keep(action)).count() as u64;
    let mut faults: Vec<&str> = actions()
        .filter_map(|action| match action {
            Action::Faults {
                on: true,
                profile,
                rates,
            } => profile
                .as_deref()
                .or(rates.as_ref().map(|rates| rates.name.as_str())),
            _ => None,
        })
        .collect();
    faults.sort_unstable();
    faults.dedup();
    let parts = [
        (count(|action| matches!(action, Action::Burst { .. })), "burst"),
        (loads as u64, "load"),
        (count(|action| matches!(action, Action::Send { .. })), "prompt"),
        (faults.len() as u64, "fault profile"),
        (count(|action| matches!(action, Action::Set(_))), "policy change"),
    ];
    let parts = parts.into_iter().filter(|(number, _)| *number > 0);
    let parts: Vec<String> = parts
        .map(|(number, noun)| match (noun, &faults[..]) {
            ("fault profile", [name]) => format!("fault profile {name}"),
            _ => units::count(number, noun),
        })
        .collect();
    format!("a recorded drill: {}", parts.join(", "))
}

/// The start of the session, where it differs from the defaults of a scenario.
fn write_start(text: &mut String, start: &SessionStart, semantic: bool) {
    write_policy(text, &start.policy, semantic);
    let _ = writeln!(
        text,
        "\n# The users, length limit, model and prompts of the bursts, loads and prompts below."
    );
    let _ = write!(text, "[requests]");
    write_pairs(text, &start.requests, &Table::new());
    if start.latency != LatencyProfile::default() {
        write_table(text, "upstream.latency", &start.latency, &Table::new());
    }
    if let Some(capacity) = start.capacity {
        write_table(text, "upstream.capacity", &capacity, &Table::new());
    }
}

/// A preset by its name, or what differs from `production`. Labels of earlier hits are local to this machine, and
/// are written only if the semantic cache is used.
fn write_policy(text: &mut String, policy: &Policy, semantic: bool) {
    let mut policy = policy.clone();
    if !semantic {
        policy.semantic.labels.clear();
    }
    let is_preset = |name: &&&str| {
        file::load_policy(name).is_ok_and(|mut preset| {
            preset.name.clone_from(&policy.name);
            preset == policy
        })
    };
    let base = ["production", "exercise"].iter().find(is_preset);
    let _ = writeln!(text, "\n[policy]\nbase = \"{}\"", base.unwrap_or(&"production"));
    if base.is_some() {
        return;
    }
    let (Ok(tables), Ok(defaults)) = (Table::try_from(&policy), Table::try_from(Policy::default())) else {
        return;
    };
    for name in [
        "cache", "semantic", "flight", "retry", "limit", "breaker", "timeouts",
    ] {
        if name == "semantic" && !policy.semantic.labels.is_empty() {
            let _ = writeln!(text, "\n# The labels of earlier hits, as stored on this machine.");
        }
        if let (Some(table), Some(Value::Table(usual))) = (tables.get(name), defaults.get(name)) {
            write_table(text, &format!("policy.{name}"), table, usual);
        }
    }
}

/// A table without the values that are usual; nothing if all are.
fn write_table<T: Serialize>(text: &mut String, name: &str, settings: &T, usual: &Table) {
    let mut pairs = String::new();
    write_pairs(&mut pairs, settings, usual);
    if pairs.len() > 1 {
        let _ = write!(text, "\n[{name}]{pairs}");
    }
}

fn write_pairs<T: Serialize>(text: &mut String, settings: &T, usual: &Table) {
    text.push('\n');
    for (key, value) in Table::try_from(settings).unwrap_or_default() {
        if usual.get(&key) != Some(&value) {
            let _ = writeln!(text, "{} = {}", toml_key(&key), toml_value(&value));
        }
    }
}

/// An action as a value: on one line, or a line for each setting if there is no room.
fn written(action: &Action) -> String {
    let mut value = Value::try_from(action).unwrap_or_else(|_| Value::String(String::new()));
    if let Some(Value::Table(rates)) = value.get_mut("faults").and_then(|faults| faults.get_mut("rates")) {
        shorten(rates);
    }
    let line = toml_value(&value);
    match action {
        Action::Set(settings) if line.chars().count() > WIDTH => {
            let settings: Vec<String> = settings.iter().map(|setting| toml_string(setting)).collect();
            format!("{{ set = [\n    {},\n] }}", settings.join(",\n    "))
        }
        _ => line,
    }
}

/// Removes the usual rates and the description, and rounds the rest to four decimals: this draws another fault for
/// at most one call in ten thousand. Downward, because the rates of a profile must not add up to more than 1.
fn shorten(rates: &mut Table) {
    let usual = Table::try_from(FaultProfile::default()).unwrap_or_default();
    rates.retain(|key, value| key != "about" && usual.get(key) != Some(value));
    for (_, value) in rates.iter_mut() {
        if let Value::Float(rate) = value {
            *rate = (*rate * 1e4 + 1e-6).floor() / 1e4;
        }
    }
}

fn write_expectations(text: &mut String, tested: &[TestedBounds]) {
    if tested.is_empty() {
        return;
    }
    let _ = writeln!(
        text,
        "\n# Observed results with tolerances (wider for fewer calls). Shares are of all calls."
    );
    for (bounds, headless) in tested {
        let name = bounds.measure.name();
        let is_time = bounds.measure == Measure::LatencyP95;
        let shown = |value: f64| format!("{}{}", number(value), if is_time { "s" } else { "" });
        let observed = shown(bounds.observed);
        if !bounds.hold(*headless) {
            let headless = headless.map_or_else(|| "no value".to_owned(), shown);
            let _ = writeln!(
                text,
                "\n# {name} is left out: {observed} live, but {headless} headless."
            );
            continue;
        }
        let description = bounds.description;
        let _ = writeln!(
            text,
            "\n[[expect]]\nmeasure = \"{name}\" # {description}: was {observed}"
        );
        for (key, bound) in [("at_least", bounds.at_least), ("at_most", bounds.at_most)] {
            if let Some(bound) = bound {
                let _ = writeln!(text, "{key} = {bound}");
            }
        }
    }
}

/// `3.2s`.
fn seconds(time: Duration) -> String {
    format!("{}s", number(time.as_secs_f64()))
}

/// Foreign text in a comment: it must not end the line.
fn comment(text: &str) -> String {
    file::single_line(text).to_string()
}
