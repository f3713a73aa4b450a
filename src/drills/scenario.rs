//! Scenarios: a file describes callers, faults, commands and expectations; a run reports whether the expectations
//! and the invariants hold.
//!
//! ```text
//!  file --load--> Scene --run--> client, engine, simulator --events--> tap --+--> Tally ---> expectations
//!                                (the same as under a screen)                +--> Checker -> invariants
//!                                                                            +--> journal
//! ```
//!
//! In virtual time an hour of traffic takes about a second, and the same seed and file give the same journal to
//! the last byte. In real time the same scene runs over sockets.

mod bundled;
pub(super) mod command;
mod junit;
mod markdown;
mod measure;
mod recorded_calls;
mod report;
pub(super) mod run;
mod runner;
pub(super) mod script;
pub(super) mod tally;

use std::sync::Arc;
use std::time::Duration;

pub use bundled::bundled;
pub use measure::{CallFilter, Measure};
pub(super) use report::is_within;
pub use report::{ExpectationResult, Report};
pub use run::{
    ExplainedCall, Outcome, RunError, Upstream, in_real_time, in_virtual_time, in_virtual_time_aside,
};
pub use script::{
    Arrival, Callers, Expectation, FaultPhase, Impatience, PolicyChoice, PromptMix, RequestDefaults,
    Scenario, UpstreamScript,
};
pub use tally::{CallRow, Hits, Tally};

use crate::drills::recorded::Traffic;
use crate::event::{CallId, Command, TimedCommand};
use crate::settings::Policy;
use crate::settings::duration::format_duration;
use crate::settings::file::{self, ConfigError};
use crate::time::Timestamp;
use command::{Action, Problem};

/// The longest scenario.
pub(crate) const LONGEST: Duration = Duration::from_hours(24);
/// The highest rate of a group of callers, in calls per second.
const FASTEST: f64 = 10_000.0;

/// A scenario with everything it refers to: a run looks nothing up.
#[derive(Clone, Debug)]
pub struct Scene {
    /// The content of the file.
    pub scenario: Scenario,
    /// The policy at the start.
    pub policy: Policy,
    /// The seed of everything random.
    pub seed: u64,
    /// The commands and the switches of faults, in order.
    pub commands: Vec<TimedCommand>,
    /// The call to explain.
    pub watch: Option<CallId>,
    /// Recorded calls that are sent instead of those of the file's callers.
    pub recorded: Option<Arc<Traffic>>,
}

/// Loads a scenario: a bundled one by name, or a file. `policy` and `seed` override those of the file.
///
/// # Errors
/// If the file, or a policy or fault profile that it names, cannot be read or is invalid.
pub fn load(name: &str, policy: Option<&str>, seed: Option<u64>) -> Result<Scene, ConfigError> {
    let (shown, text) = file::find_text("scenario", name, bundled())?;
    read(&shown, &text, policy, seed)
}

/// Reads a scenario from its text; errors call it `shown`.
///
/// # Errors
/// If the text, or a policy or fault profile that it names, is invalid.
pub fn read(shown: &str, text: &str, policy: Option<&str>, seed: Option<u64>) -> Result<Scene, ConfigError> {
    let mut scenario: Scenario = file::parse_toml(shown, text)?;
    if scenario.name.is_empty() {
        shown.clone_into(&mut scenario.name);
    }
    sanitise(&mut scenario);
    let refuse = |message: String| file::value_error(shown, &message);
    validate(&scenario).map_err(refuse)?;
    let chosen = match policy {
        Some(name) => file::load_policy(name)?,
        None => resolve_policy(&scenario)?,
    };
    chosen
        .validate()
        .map_err(|error| refuse(format!("policy.{error}")))?;
    let commands = commands(&scenario).map_err(|problem| match problem {
        Problem::Config(error) => error,
        Problem::Value(message) => refuse(message),
    })?;
    command::validate(&commands, &chosen).map_err(refuse)?;
    Ok(Scene {
        seed: seed.unwrap_or(scenario.seed),
        policy: chosen,
        commands,
        scenario,
        watch: None,
        recorded: None,
    })
}

/// Makes the texts that reports and journals print fit for a terminal.
fn sanitise(scenario: &mut Scenario) {
    let expectations = scenario.expectations.iter_mut();
    let users = expectations.flat_map(|one| one.user.iter_mut().chain(&mut one.users));
    for text in [&mut scenario.name, &mut scenario.about].into_iter().chain(users) {
        *text = file::single_line(text).to_string();
    }
}

/// The policy of a scenario; it has the name of the scenario if it changes the one it is based on.
fn resolve_policy(scenario: &Scenario) -> Result<Policy, ConfigError> {
    let PolicyChoice {
        base,
        cache,
        semantic,
        flight,
        retry,
        limit,
        breaker,
        timeouts,
    } = scenario.policy.clone();
    let based_on = file::load_policy(&base)?;
    let mut policy = based_on.clone();
    policy.cache = cache.unwrap_or(policy.cache);
    policy.semantic = semantic.unwrap_or(policy.semantic);
    policy.flight = flight.unwrap_or(policy.flight);
    policy.retry = retry.unwrap_or(policy.retry);
    policy.limit = limit.unwrap_or(policy.limit);
    policy.breaker = breaker.unwrap_or(policy.breaker);
    policy.timeouts = timeouts.unwrap_or(policy.timeouts);
    if policy != based_on {
        policy.name.clone_from(&scenario.name);
    }
    Ok(policy)
}

/// The fault phases and the `[[command]]` tables as commands in order; a phase comes before a command of the same
/// time.
fn commands(scenario: &Scenario) -> Result<Vec<TimedCommand>, Problem> {
    let mut phases: Vec<&FaultPhase> = scenario.upstream.phases.iter().collect();
    phases.sort_by_key(|phase| phase.from);
    let mut commands = Vec::new();
    let mut add = |at: Duration, command| {
        let at = Timestamp::ZERO + at;
        commands.push(TimedCommand { at, command });
    };
    let mut over = Duration::ZERO;
    for phase in phases {
        if phase.from < over {
            return Err(Problem::Value(format!(
                "two fault phases overlap: one ends at {}, the next begins at {}",
                format_duration(over),
                format_duration(phase.from)
            )));
        }
        over = phase.until;
        let profile = command::fault_profile(phase.faults.as_deref(), phase.rates.clone())?;
        let profile = profile.map(Box::new).ok_or_else(|| {
            Problem::Value("a fault phase needs faults = \"NAME\" or a table of rates".into())
        })?;
        add(phase.from, Command::SetFaultProfile { profile });
        add(phase.from, Command::SetFaults { on: true });
        add(phase.until, Command::SetFaults { on: false });
    }
    for table in scenario.commands.clone() {
        for command in table.action.resolve()? {
            add(table.at, command);
        }
    }
    commands.sort_by_key(|command| command.at);
    Ok(commands)
}

fn rule(holds: bool, message: impl FnOnce() -> String) -> Result<(), String> {
    if holds { Ok(()) } else { Err(message()) }
}

/// Checks the bounds that a type cannot express, those of commands aside ([`command::validate`]).
pub(super) fn validate(scenario: &Scenario) -> Result<(), String> {
    let Scenario {
        duration,
        callers,
        requests,
        upstream,
        commands,
        expectations,
        ..
    } = scenario;
    rule(!duration.is_zero() && *duration <= LONGEST, || {
        let duration = format_duration(*duration);
        format!("duration = {duration} (must be above zero and at most a day)")
    })?;
    let calls = |action: &Action| {
        matches!(
            action,
            Action::Burst { .. } | Action::Load(_) | Action::Send { .. }
        )
    };
    rule(
        !callers.is_empty() || commands.iter().any(|table| calls(&table.action)),
        || "no callers: add a [[callers]] table, or a [[command]] with a burst, load or send".into(),
    )?;
    for group in callers {
        validate_callers(group, *duration)?;
    }
    if let Some(capacity) = upstream.capacity {
        rule(capacity.parallel >= 1, || {
            "upstream.capacity.parallel = 0 (must be 1 or more)".into()
        })?;
    }
    for FaultPhase { from, until, .. } in &upstream.phases {
        rule(from < until, || {
            let (from, until) = (format_duration(*from), format_duration(*until));
            format!("fault phase from {from} until {until} is empty: it must end after it begins")
        })?;
    }
    rule(!requests.users.is_empty(), || {
        "requests.users = [] (name at least one user)".into()
    })?;
    rule(requests.answer_tokens >= 1, || {
        "requests.answer_tokens = 0 (must be 1 or more)".into()
    })?;
    rule((0.0..=1.0).contains(&requests.repeat), || {
        format!("requests.repeat = {} (must be 0 to 1)", requests.repeat)
    })?;
    for expectation in expectations {
        let measure = expectation.measure.name();
        rule(
            expectation.at_least.is_some() || expectation.at_most.is_some(),
            || format!("expectation of {measure} has neither at_least nor at_most"),
        )?;
        rule(
            !expectation.is_filtered() || expectation.measure.is_per_call(),
            || format!("{measure} is a measure of the whole run: remove from, until, user and users"),
        )?;
    }
    Ok(())
}

fn validate_callers(group: &Callers, duration: Duration) -> Result<(), String> {
    rule(!group.users.is_empty(), || {
        "users = [] (name at least one user)".into()
    })?;
    let (from, until) = (group.from, group.until.unwrap_or(duration));
    rule(from < until && until <= duration, || {
        let [from, until, duration] = [from, until, duration].map(format_duration);
        format!(
            "callers from {from} until {until}: must end after they begin, and within the \
             scenario ({duration})"
        )
    })?;
    match &group.arrival {
        Arrival::Steady { per_s } | Arrival::Poisson { per_s } => {
            rule(per_s.is_finite() && *per_s > 0.0 && *per_s <= FASTEST, || {
                format!("per_s = {per_s} (must be above 0 and at most {FASTEST})")
            })?;
        }
        Arrival::Ramp {
            from_per_s, to_per_s, ..
        } => {
            for (key, rate, lowest) in [("from_per_s", from_per_s, 0.0), ("to_per_s", to_per_s, 1e-3)] {
                rule((lowest..=FASTEST).contains(rate), || {
                    format!("{key} = {rate} (must be {lowest} to {FASTEST})")
                })?;
            }
        }
        Arrival::Burst { calls, every } => {
            rule((1..=100_000).contains(calls), || {
                format!("calls = {calls} (must be 1 to 100000)")
            })?;
            rule(
                every.is_none_or(|every| every >= Duration::from_millis(1)),
                || "every is too short (must be at least 1ms)".into(),
            )?;
        }
        Arrival::Closed { workers, .. } => rule((1..=10_000).contains(workers), || {
            format!("workers = {workers} (must be 1 to 10000)")
        })?,
    }
    let PromptMix {
        distinct,
        skew,
        ref list,
        repeat,
    } = group.prompts;
    rule(repeat.is_none_or(|share| (0.0..=1.0).contains(&share)), || {
        format!("prompts.repeat = {} (must be 0 to 1)", repeat.unwrap_or_default())
    })?;
    rule(
        list.len() <= 1_000 && list.iter().all(|prompt| !prompt.trim().is_empty()),
        || "prompts.list has more than 1000 prompts, or an empty one".into(),
    )?;
    rule((1..=100_000).contains(&distinct), || {
        format!("prompts.distinct = {distinct} (must be 1 to 100000)")
    })?;
    rule((0.0..=10.0).contains(&skew), || {
        format!("prompts.skew = {skew} (must be 0 to 10)")
    })?;
    rule((0.0..=2.0).contains(&group.temperature), || {
        format!("temperature = {} (must be 0 to 2)", group.temperature)
    })?;
    if let Some(Impatience { share, .. }) = group.impatience {
        rule((0.0..=1.0).contains(&share), || {
            format!("impatience.share = {share} (must be 0 to 1)")
        })?;
    }
    rule(group.max_tokens >= 1, || {
        "max_tokens = 0 (must be 1 or more)".into()
    })
}

#[cfg(test)]
mod tests;
