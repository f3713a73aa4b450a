//! A drill as a file that a person would edit.

use std::fmt::Write as _;
use std::time::Duration;

use serde::Serialize;
use toml::{Table, Value};

use super::expect::Bounds;
use super::{Drill, World};
use crate::drills::scenario::{Faults, Measure, TimedCommand, Wish};
use crate::settings::file;
use crate::settings::{
    FaultProfile, LatencyProfile, Policy, QueueOrder, SemanticMode, toml_key as bare, toml_string as quoted,
    toml_value as inline,
};
use crate::text::units;
use crate::time::Utc;

/// What is said beside the drill itself.
#[derive(Clone, Copy, Debug)]
pub(super) struct Heading<'a> {
    /// One word.
    pub(super) name: &'a str,
    /// The file, as a person would type it.
    pub(super) file: &'a str,
    pub(super) when: Utc,
}

/// An expectation, and what the headless run came to.
pub(super) type Tried = (Bounds, Option<f64>);

/// The whole file. Expectations that did not hold headless are comments in it.
pub(super) fn write(drill: &Drill, heading: Heading<'_>, tried: &[Tried]) -> String {
    let mut text = String::new();
    head(&mut text, drill, heading);
    let _ = writeln!(text, "name = {}", quoted(heading.name));
    let _ = writeln!(text, "about = {}", quoted(&about(drill)));
    let _ = writeln!(text, "seed = {}", drill.world.seed);
    let _ = writeln!(text, "duration = \"{}\"", seconds(drill.duration));
    let wishes = || drill.commands.iter().map(|command| &command.wish);
    let semantic = drill.world.policy.semantic.mode != SemanticMode::Off
        || wishes().any(|wish| matches!(wish, Wish::Semantic(_) | Wish::Label { .. }));
    world(&mut text, &drill.world, semantic);
    let _ = writeln!(text, "\n# What was done, and when.");
    for command in &drill.commands {
        let TimedCommand { at, wish } = command;
        let _ = writeln!(
            text,
            "\n[[command]]\nat = \"{}\"\ndo = {}",
            seconds(*at),
            said(wish)
        );
    }
    expectations(&mut text, tried);
    text
}

fn head(text: &mut String, drill: &Drill, heading: Heading<'_>) {
    let host = drill
        .world
        .upstream
        .as_deref()
        .unwrap_or("the built-in simulator");
    let policy = &drill.world.policy.name;
    let _ = writeln!(
        text,
        "# A drill by hand, saved by seawall {} on {}.\n\
         # {} in {} under the policy {}; {} answered.\n\
         #\n\
         # To run it again, without a screen and in virtual time:\n\
         #   seawall run {}\n\
         # The same seed asks the same prompts and draws the same faults. Times, commands and bounds may be edited.",
        env!("CARGO_PKG_VERSION"),
        heading.when,
        units::count(drill.calls, "call"),
        seconds(drill.duration),
        comment(policy),
        comment(host),
        comment(heading.file),
    );
    if drill.world.upstream.is_some() {
        let _ = writeln!(
            text,
            "# The simulator stands in for that upstream in a headless run: it is a model, with a pace and answers of its own."
        );
    }
    if let Some(host) = &drill.world.embedder {
        let _ = writeln!(
            text,
            "# {} compared the prompts of the semantic cache. The built-in embedder stands in for it in a headless run:\n\
             # it finds other prompts alike, so the semantic cache may serve other calls.",
            comment(host)
        );
    }
    if drill.running > 0 {
        let _ = writeln!(
            text,
            "# When it was saved, {} had not ended.",
            units::count(drill.running as u64, "call")
        );
    }
    text.push('\n');
}

/// The drill in a sentence.
fn about(drill: &Drill) -> String {
    let wishes = || drill.commands.iter().map(|command| &command.wish);
    let count = |keep: fn(&Wish) -> bool| wishes().filter(|wish| keep(wish)).count() as u64;
    let bursts = count(|wish| matches!(wish, Wish::Burst(_)));
    let prompts = count(|wish| matches!(wish, Wish::Send(_)));
    let mut faulty = Vec::new();
    for wish in wishes() {
        if let Wish::Faults(Faults {
            on: true,
            rates: Some(rates),
            ..
        }) = wish
            && !faulty.contains(&&rates.name)
        {
            faulty.push(&rates.name);
        }
    }
    let changes = count(|wish| matches!(wish, Wish::Set(_)));
    let parts = [
        (bursts > 0).then(|| units::count(bursts, "burst")),
        (prompts > 0).then(|| units::count(prompts, "prompt")),
        faulty.first().map(|first| match faulty.len() {
            1 => format!("the fault profile {first}"),
            many => format!("{many} fault profiles"),
        }),
        (changes > 0).then(|| units::count(changes, "policy change")),
    ];
    let parts: Vec<String> = parts.into_iter().flatten().collect();
    format!("a drill by hand: {}", parts.join(", "))
}

/// What the session started with, where it is not what a scenario has anyway.
fn world(text: &mut String, world: &World, semantic: bool) {
    policy(text, &world.policy, semantic);
    let _ = writeln!(
        text,
        "\n# Who asked, and how: for the bursts and prompts below.\n[person]"
    );
    let users: Vec<String> = world.person.users.iter().map(|user| quoted(user)).collect();
    let _ = writeln!(text, "users = [{}]", users.join(", "));
    let _ = writeln!(text, "answer_tokens = {}", world.person.answer_tokens);
    if let Some(model) = &world.person.model {
        let _ = writeln!(text, "model = {}", quoted(model));
    }
    if world.latency != LatencyProfile::default() {
        table(text, "upstream.latency", &world.latency, &Table::new());
    }
    if let Some(capacity) = world.capacity {
        table(text, "upstream.capacity", &capacity, &Table::new());
    }
}

/// A preset by its name, or what differs from `production`. What people said of earlier hits is of this machine: it
/// stands here only where it can matter.
fn policy(text: &mut String, policy: &Policy, semantic: bool) {
    let mut policy = policy.clone();
    if !semantic {
        policy.semantic.labels.clear();
    }
    let policy = &policy;
    let same = |name: &&&str| {
        file::load_policy(name).is_ok_and(|mut preset| {
            preset.name.clone_from(&policy.name);
            preset == *policy
        })
    };
    let presets = ["production", "exercise"];
    let base = presets.iter().find(same);
    let _ = writeln!(text, "\n[policy]");
    let _ = writeln!(text, "base = \"{}\"", base.unwrap_or(&"production"));
    if base.is_some() {
        return;
    }
    let usual = Policy::default();
    section(text, "cache", &policy.cache, &usual.cache);
    if !policy.semantic.labels.is_empty() {
        let _ = writeln!(
            text,
            "\n# The labels: what was said of earlier hits, as this machine had kept it."
        );
    }
    section(text, "semantic", &policy.semantic, &usual.semantic);
    section(text, "flight", &policy.flight, &usual.flight);
    section(text, "retry", &policy.retry, &usual.retry);
    section(text, "limit", &policy.limit, &usual.limit);
    section(text, "breaker", &policy.breaker, &usual.breaker);
    section(text, "timeouts", &policy.timeouts, &usual.timeouts);
}

fn section<T: Serialize>(text: &mut String, name: &str, settings: &T, usual: &T) {
    let usual = Table::try_from(usual).unwrap_or_default();
    table(text, &format!("policy.{name}"), settings, &usual);
}

/// A table without what is usual; nothing where all of it is.
fn table<T: Serialize>(text: &mut String, name: &str, settings: &T, usual: &Table) {
    let settings = Table::try_from(settings).unwrap_or_default();
    let differs: Vec<_> = settings
        .iter()
        .filter(|(key, value)| usual.get(*key) != Some(value))
        .collect();
    if differs.is_empty() {
        return;
    }
    let _ = writeln!(text, "\n[{name}]");
    for (key, value) in differs {
        let _ = writeln!(text, "{} = {}", bare(key), inline(value));
    }
}

/// A wish, on one line.
fn said(wish: &Wish) -> String {
    match wish {
        Wish::Burst(burst) => {
            let user = burst.user.as_deref();
            let user = user.map_or_else(String::new, |user| format!(", user = {}", quoted(user)));
            format!("{{ burst = {{ calls = {}{user} }} }}", burst.calls)
        }
        Wish::Send(send) => {
            let conversation = if send.conversation {
                ", conversation = true"
            } else {
                ""
            };
            format!(
                "{{ send = {{ prompt = {}, user = {}{conversation} }} }}",
                quoted(&send.prompt),
                quoted(&send.user)
            )
        }
        Wish::Faults(faults) => format!("{{ faults = {{ on = {}{} }} }}", faults.on, which(faults)),
        Wish::Cancel(call) => format!("{{ cancel = {call} }}"),
        Wish::Semantic(mode) => format!(
            "{{ semantic = \"{}\" }}",
            match mode {
                SemanticMode::Off => "off",
                SemanticMode::On => "on",
                SemanticMode::Shadow => "shadow",
            }
        ),
        Wish::Label { call, good } => format!("{{ label = {{ call = {call}, good = {good} }} }}"),
        Wish::SetOrder(order) => format!(
            "{{ set_order = \"{}\" }}",
            match order {
                QueueOrder::Fair => "fair",
                QueueOrder::Fifo => "fifo",
            }
        ),
        Wish::ApplyPolicy(name) => format!("{{ apply_policy = {} }}", quoted(name)),
        Wish::Set(settings) => set(settings),
        Wish::Suspend(gap) => format!("{{ suspend = \"{}\" }}", seconds(*gap)),
        Wish::ForgetConversation => quoted("forget_conversation"),
        Wish::ForceOpen => quoted("force_open"),
        Wish::ForceClosed => quoted("force_closed"),
        Wish::Automatic => quoted("automatic"),
        Wish::ResetBreaker => quoted("reset_breaker"),
        Wish::CacheOn => quoted("cache_on"),
        Wish::CacheOff => quoted("cache_off"),
        Wish::ClearCache => quoted("clear_cache"),
        Wish::CancelAll => quoted("cancel_all"),
    }
}

/// Changed settings: on one line where there is room, each on its own where there is none.
fn set(settings: &[String]) -> String {
    let settings: Vec<String> = settings.iter().map(|setting| quoted(setting)).collect();
    let short = format!("{{ set = [{}] }}", settings.join(", "));
    if short.chars().count() <= 90 {
        return short;
    }
    format!("{{ set = [\n    {},\n] }}", settings.join(",\n    "))
}

/// The faults by name where they are bundled, or their rates.
fn which(faults: &Faults) -> String {
    let Some(rates) = &faults.rates else {
        return String::new();
    };
    let bundled = file::bundled_faults();
    if let Some(profile) = bundled.iter().find(|profile| *profile == &**rates) {
        return format!(", profile = {}", quoted(&profile.name));
    }
    let usual = Table::try_from(FaultProfile::default()).unwrap_or_default();
    let rates = Table::try_from(rates).unwrap_or_default();
    let differs = |key: &String, value: &Value| key != "about" && usual.get(key) != Some(value);
    // the name first, as a person would write it
    let (name, others): (Vec<_>, Vec<_>) = rates
        .iter()
        .filter(|(key, value)| differs(key, value))
        .partition(|(key, _)| *key == "name");
    let rates: Vec<String> = name
        .into_iter()
        .chain(others)
        .map(|(key, value)| format!("{key} = {}", rate(value)))
        .collect();
    format!(", rates = {{ {} }}", rates.join(", "))
}

/// Four places of a rate are enough, and one call in ten thousand may draw another fault for it. Downward: the
/// rates of a profile must not add up to more than 1.
fn rate(value: &Value) -> String {
    match value {
        Value::Float(rate) => format!("{}", (rate * 1e4 + 1e-6).floor() / 1e4),
        other => inline(other),
    }
}

fn expectations(text: &mut String, tried: &[Tried]) {
    if tried.is_empty() {
        return;
    }
    let _ = writeln!(
        text,
        "\n# What came of it, with room for chance: the fewer the calls, the wider the bounds. A share is of all calls."
    );
    for (bounds, headless) in tried {
        let name = bounds.measure.name();
        let unit = if bounds.measure == Measure::LatencyP95 {
            "s"
        } else {
            ""
        };
        let shown = |value: f64| format!("{}{unit}", units::number(value));
        let observed = shown(bounds.observed);
        let headless_shown = headless.map_or_else(|| "nothing".to_owned(), shown);
        if !bounds.hold(*headless) {
            let _ = writeln!(
                text,
                "\n# {name} is left out: it was {observed} by hand, but {headless_shown} headless."
            );
            continue;
        }
        let _ = writeln!(text, "\n[[expect]]");
        let _ = writeln!(
            text,
            "measure = \"{name}\" # {}: was {observed}",
            bounds.meaning()
        );
        for (word, bound) in [("at_least", bounds.at_least), ("at_most", bounds.at_most)] {
            if let Some(bound) = bound {
                let _ = writeln!(text, "{word} = {bound}");
            }
        }
    }
}

/// `3.2s`.
fn seconds(time: Duration) -> String {
    format!("{}s", units::number(time.as_secs_f64()))
}

/// Text of others behind a `#`: it must not end the line.
fn comment(text: &str) -> String {
    file::single_line(text).to_string()
}
