//! Headless drills: a file says who calls, what breaks and what is expected; a run says whether it came so.
//!
//! ```text
//!  file --load--> Scene --run--> client, engine, simulator --events--> tap --+--> Tally ---> expectations
//!                                (the same as under a screen)                +--> Checker -> invariants
//!                                                                            +--> journal
//! ```
//!
//! In virtual time an hour of traffic takes about a second, and the same seed and file give the same journal to
//! the last byte. In real time the same scene plays over sockets.

mod bundled;
mod changes;
mod junit;
mod markdown;
mod measure;
mod recorded_calls;
mod report;
pub(super) mod run;
mod runner;
pub(super) mod script;
pub(super) mod tally;
pub(super) mod wish;

use std::sync::Arc;
use std::time::Duration;

pub use bundled::bundled;
pub use measure::{Measure, Part};
pub use report::{Judged, Report};
pub use run::{Outcome, RunError, Upstream, Watched, in_real_time, in_virtual_time};
pub use script::{
    Arrival, Callers, Expectation, FaultPhase, Impatience, Person, PolicyChoice, PromptMix, Scenario,
    UpstreamScript,
};
pub use tally::{CallFacts, Tally};
pub use wish::{BurstOf, Faults, Prompt, TimedCommand, Wish};

use crate::drills::recorded::Traffic;
use crate::event::CallId;
use crate::settings::file::{self, ConfigError};
use crate::settings::{FaultProfile, Policy};

/// No scenario is longer: a day.
pub(crate) const LONGEST: Duration = Duration::from_hours(24);
/// No group of callers is faster, in calls a second.
const FASTEST: f64 = 10_000.0;

/// A scenario with everything it names: nothing is left to be looked up while it plays.
#[derive(Clone, Debug)]
pub struct Scene {
    /// What the file says.
    pub scenario: Scenario,
    /// The settings of the guards.
    pub policy: Policy,
    /// The seed.
    pub seed: u64,
    /// When the upstream is ill and how, in order.
    pub phases: Vec<(FaultPhase, FaultProfile)>,
    /// The policies that commands apply, by their names.
    pub policies: Vec<(String, Policy)>,
    /// The call whose story is kept, if one is.
    pub watch: Option<CallId>,
    /// Recorded calls that are made instead of those that the file speaks of.
    pub recorded: Option<Arc<Traffic>>,
}

/// A scenario: a bundled one by name, or a file. `policy` and `seed` of the command line come first.
pub fn load(name: &str, policy: Option<&str>, seed: Option<u64>) -> Result<Scene, ConfigError> {
    let (shown, text) = file::find_text("scenario", name, bundled())?;
    read(&shown, &text, policy, seed)
}

/// A scenario from its text; `shown` is what errors call it.
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
        None => resolve(&scenario.policy)?,
    };
    chosen
        .validate()
        .map_err(|error| refuse(format!("policy.{error}")))?;
    let phases = phases(&scenario).map_err(|problem| match problem {
        Problem::Config(error) => error,
        Problem::Value(message) => refuse(message),
    })?;
    let mut policies = Vec::new();
    for command in &scenario.commands {
        if let Wish::ApplyPolicy(name) = &command.wish {
            policies.push((name.clone(), file::load_policy(name)?));
        }
    }
    changes::check(&scenario.commands, &chosen, &policies).map_err(refuse)?;
    for command in &mut scenario.commands {
        if let Wish::Faults(faults) = &mut command.wish
            && let Some(name) = &faults.profile
        {
            faults.rates = Some(Box::new(file::load_faults(name)?));
        }
    }
    Ok(Scene {
        seed: seed.unwrap_or(scenario.seed),
        policy: chosen,
        phases,
        policies,
        scenario,
        watch: None,
        recorded: None,
    })
}

/// Makes the words that reports and journals print fit for a terminal.
fn sanitise(scenario: &mut Scenario) {
    let Scenario {
        name,
        about,
        upstream,
        commands,
        expectations,
        ..
    } = scenario;
    let commanded = commands.iter_mut().filter_map(|command| match &mut command.wish {
        Wish::Faults(faults) => faults.rates.as_deref_mut(),
        _ => None,
    });
    let rates = upstream
        .phases
        .iter_mut()
        .filter_map(|phase| phase.rates.as_mut());
    let words = [name, about]
        .into_iter()
        .chain(
            rates
                .chain(commanded)
                .flat_map(|rates| [&mut rates.name, &mut rates.about]),
        )
        .chain(
            expectations
                .iter_mut()
                .flat_map(|one| one.user.iter_mut().chain(&mut one.users)),
        );
    for word in words {
        *word = file::single_line(word).to_string();
    }
}

/// The policy a scenario asks for.
fn resolve(choice: &PolicyChoice) -> Result<Policy, ConfigError> {
    let PolicyChoice {
        base,
        cache,
        semantic,
        flight,
        retry,
        limit,
        breaker,
        timeouts,
    } = choice.clone();
    let mut policy = file::load_policy(&base)?;
    policy.cache = cache.unwrap_or(policy.cache);
    policy.semantic = semantic.unwrap_or(policy.semantic);
    policy.flight = flight.unwrap_or(policy.flight);
    policy.retry = retry.unwrap_or(policy.retry);
    policy.limit = limit.unwrap_or(policy.limit);
    policy.breaker = breaker.unwrap_or(policy.breaker);
    policy.timeouts = timeouts.unwrap_or(policy.timeouts);
    Ok(policy)
}

/// What can be wrong with a phase.
enum Problem {
    Config(ConfigError),
    Value(String),
}

/// The phases in order, with their profiles.
fn phases(scenario: &Scenario) -> Result<Vec<(FaultPhase, FaultProfile)>, Problem> {
    let mut phases = scenario.upstream.phases.clone();
    phases.sort_by_key(|phase| phase.from);
    for (earlier, later) in phases.iter().zip(phases.iter().skip(1)) {
        if later.from < earlier.until {
            return Err(Problem::Value(format!(
                "two phases overlap: one ends at {:?}, the next begins at {:?}",
                earlier.until, later.from
            )));
        }
    }
    let profile = |phase: &FaultPhase| match (&phase.faults, &phase.rates) {
        (Some(name), None) => file::load_faults(name).map_err(Problem::Config),
        (None, Some(rates)) => rates.validate().map(|()| rates.clone()).map_err(Problem::Value),
        _ => Err(Problem::Value(
            "a phase takes faults = \"NAME\" or a table of rates, one of the two".into(),
        )),
    };
    phases
        .into_iter()
        .map(|phase| profile(&phase).map(|profile| (phase, profile)))
        .collect()
}

/// Checks every bound that a type cannot express. The message names the value and what to write.
pub(super) fn validate(scenario: &Scenario) -> Result<(), String> {
    let rule = |holds: bool, message: String| if holds { Ok(()) } else { Err(message) };
    let Scenario {
        duration,
        callers,
        person,
        upstream,
        commands,
        expectations,
        ..
    } = scenario;
    rule(
        !duration.is_zero() && *duration <= LONGEST,
        format!("duration = {duration:?}: longer than zero, at most a day"),
    )?;
    rule(
        !callers.is_empty() || commands.iter().any(|command| command.wish.calls()),
        "nobody calls: write a [[callers]] table, or a [[command]] with a burst or send".into(),
    )?;
    for group in callers {
        validate_callers(group, *duration)?;
    }
    if let Some(capacity) = upstream.capacity {
        rule(
            capacity.parallel >= 1,
            "upstream.capacity.parallel = 0: at least 1".into(),
        )?;
    }
    for phase in &upstream.phases {
        rule(
            phase.from < phase.until,
            format!(
                "a phase from {:?} until {:?} is none: it must end after it begins",
                phase.from, phase.until
            ),
        )?;
    }
    for command in commands {
        let named = |message| format!("command at {:?}: {message}", command.at);
        command.wish.validate().map_err(named)?;
    }
    rule(
        !person.users.is_empty(),
        "person.users = []: name at least one user".into(),
    )?;
    rule(
        person.answer_tokens >= 1,
        "person.answer_tokens = 0: at least 1".into(),
    )?;
    for expectation in expectations {
        let Expectation {
            measure,
            at_least,
            at_most,
            from,
            until,
            user,
            users,
        } = expectation;
        rule(
            at_least.is_some() || at_most.is_some(),
            format!("{measure:?} is expected, but neither at_least nor at_most is said"),
        )?;
        let of_users = user.is_some() || !users.is_empty();
        let of_a_part = from.is_some() || until.is_some() || of_users;
        rule(
            !of_a_part || measure.is_of_calls(),
            format!("{measure:?} is of the whole run: from, until and user cannot be asked of it"),
        )?;
    }
    Ok(())
}

fn validate_callers(group: &Callers, duration: Duration) -> Result<(), String> {
    let rule = |holds: bool, message: String| if holds { Ok(()) } else { Err(message) };
    rule(
        !group.users.is_empty(),
        "users = []: name at least one user".into(),
    )?;
    let until = group.until.unwrap_or(duration);
    rule(
        group.from < until && until <= duration,
        format!(
            "callers from {:?} until {until:?}: they must begin before they end, and end with the scenario ({duration:?})",
            group.from
        ),
    )?;
    match &group.arrival {
        Arrival::Steady { per_s } | Arrival::Poisson { per_s } => rule(
            per_s.is_finite() && *per_s > 0.0 && *per_s <= FASTEST,
            format!("per_s = {per_s}: above 0, at most {FASTEST}"),
        )?,
        Arrival::Burst { calls, every } => {
            rule(
                (1..=100_000).contains(calls),
                format!("calls = {calls}: from 1 to 100000"),
            )?;
            rule(
                every.is_none_or(|every| every >= Duration::from_millis(1)),
                "every: at least 1ms".into(),
            )?;
        }
        Arrival::Closed { workers, .. } => rule(
            (1..=10_000).contains(workers),
            format!("workers = {workers}: from 1 to 10000"),
        )?,
    }
    let PromptMix {
        distinct,
        skew,
        ref list,
    } = group.prompts;
    rule(
        list.len() <= 1_000 && list.iter().all(|prompt| !prompt.trim().is_empty()),
        "prompts.list: at most 1000 prompts, none of them empty".into(),
    )?;
    rule(
        (1..=100_000).contains(&distinct),
        format!("prompts.distinct = {distinct}: from 1 to 100000"),
    )?;
    rule(
        skew.is_finite() && (0.0..=10.0).contains(&skew),
        format!("prompts.skew = {skew}: from 0 to 10"),
    )?;
    rule(
        group.temperature.is_finite() && (0.0..=2.0).contains(&group.temperature),
        format!("temperature = {}: from 0 to 2", group.temperature),
    )?;
    if let Some(impatience) = &group.impatience {
        rule(
            (0.0..=1.0).contains(&impatience.share),
            format!("impatience.share = {}: from 0 to 1", impatience.share),
        )?;
    }
    rule(group.max_tokens >= 1, "max_tokens = 0: at least 1".into())
}

#[cfg(test)]
mod tests;
