//! The `[[command]]` tables of a scenario file, and the [`Command`]s that they stand for.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::LONGEST;
use crate::event::{BreakerMode, BurstUsers, CallId, ChatOptions, Command, TimedCommand, UserId, read_load};
use crate::settings::duration::format_duration;
use crate::settings::file::{self, ConfigError};
use crate::settings::{FaultProfile, Policy, QueueOrder, SemanticMode};
use crate::time::Timestamp;

/// A `[[command]]` table.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct CommandTable {
    #[serde(with = "humantime_serde")]
    pub(crate) at: Duration,
    #[serde(rename = "do")]
    pub(crate) action: Action,
}

/// A [`Command`] as a person writes it: policies and fault profiles may be given by name.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub(crate) enum Action {
    /// Calls at once, with prompts drawn from the seed.
    Burst {
        calls: u32,
        /// Every user in turn if absent.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        user: Option<String>,
    },
    /// A load, as `:load` reads it: `10/s 60s`; `off` ends it. It ends with the scenario.
    Load(String),
    Send {
        prompt: String,
        #[serde(default = "super::script::ana")]
        user: String,
        /// Sends the earlier turns of the conversation along.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        conversation: bool,
    },
    /// Options of the prompts from now on: `{ system = "Be brief.", temperature = 0.7 }`.
    Chat(ChatOptions),
    Cancel(u64),
    CancelAll,
    ForgetConversation,
    /// Faults on or off, with another profile if `profile` (a bundled one or a file) or `rates` is given.
    Faults {
        on: bool,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        profile: Option<String>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        rates: Option<Box<FaultProfile>>,
    },
    ForceOpen,
    ForceClosed,
    /// Ends a forced state of the breaker.
    Automatic,
    ResetBreaker,
    CacheOn,
    CacheOff,
    ClearCache,
    Semantic(SemanticMode),
    Label {
        call: u64,
        good: bool,
    },
    SetOrder(QueueOrder),
    /// A preset or a file.
    ApplyPolicy(String),
    /// Single settings of the policy in force: `["retry.attempts=5", "breaker.open=10s"]`.
    Set(Vec<String>),
    /// Suspends the machine: nothing runs until it resumes.
    Suspend(#[serde(with = "humantime_serde")] Duration),
}

/// An invalid part of a scenario: found in a file that it names, or in the scenario itself.
pub(super) enum Problem {
    Config(ConfigError),
    Value(String),
}

impl Action {
    /// The commands, with the profiles and policies that are named.
    pub(super) fn resolve(self) -> Result<Vec<Command>, Problem> {
        Ok(vec![match self {
            Self::Burst { calls, user } => Command::Burst {
                calls,
                users: user.map_or(BurstUsers::All, |name| BurstUsers::One(UserId::new(&name))),
            },
            Self::Send {
                prompt,
                user,
                conversation,
            } => Command::Send {
                prompt,
                user: UserId::new(&user),
                conversation,
            },
            Self::Load(text) => Command::SetLoad {
                load: read_load(&text).map_err(|error| Problem::Value(format!("load: {error}")))?,
            },
            Self::Chat(options) => {
                options
                    .validate()
                    .map_err(|error| Problem::Value(format!("chat: {error}")))?;
                Command::SetChat { options }
            }
            Self::Cancel(call) => Command::Cancel { call: CallId(call) },
            Self::CancelAll => Command::CancelAll,
            Self::ForgetConversation => Command::ForgetConversation,
            Self::Faults { on, profile, rates } => {
                let profile = fault_profile(profile.as_deref(), rates.map(|rates| *rates))?.map(Box::new);
                let profile = profile.map(|profile| Command::SetFaultProfile { profile });
                return Ok(profile.into_iter().chain([Command::SetFaults { on }]).collect());
            }
            Self::ForceOpen => Command::SetBreaker {
                mode: BreakerMode::ForcedOpen,
            },
            Self::ForceClosed => Command::SetBreaker {
                mode: BreakerMode::ForcedClosed,
            },
            Self::Automatic => Command::SetBreaker {
                mode: BreakerMode::Automatic,
            },
            Self::ResetBreaker => Command::ResetBreaker,
            Self::CacheOn => Command::SetCache { on: true },
            Self::CacheOff => Command::SetCache { on: false },
            Self::ClearCache => Command::ClearCache,
            Self::Semantic(mode) => Command::SetSemantic { mode },
            Self::Label { call, good } => Command::LabelHit {
                call: CallId(call),
                good,
            },
            Self::SetOrder(order) => Command::SetQueueOrder { order },
            Self::ApplyPolicy(name) => Command::ApplyPolicy {
                policy: Box::new(file::load_policy(&name).map_err(Problem::Config)?),
            },
            Self::Set(settings) => Command::ChangeSettings { settings },
            Self::Suspend(gap) => Command::Suspend { gap },
        }])
    }
}

impl CommandTable {
    /// Recorded commands as tables of a file; a fault profile and the switch that follows it are one table.
    pub(crate) fn from_commands(commands: &[TimedCommand]) -> Vec<Self> {
        let mut tables = Vec::new();
        let mut profile = None;
        for TimedCommand { at, command } in commands {
            let action = match command.clone() {
                Command::SetFaultProfile { profile: chosen } => {
                    profile = Some(chosen);
                    continue;
                }
                Command::SetFaults { on } => faults(on, profile.take()),
                Command::ApplyFaults { on, profile } => faults(on, Some(profile)),
                Command::Burst { calls, users } => Action::Burst {
                    calls,
                    user: match users {
                        BurstUsers::One(user) => Some(user.to_string()),
                        BurstUsers::All => None,
                    },
                },
                Command::Send {
                    prompt,
                    user,
                    conversation,
                } => Action::Send {
                    prompt,
                    user: user.to_string(),
                    conversation,
                },
                Command::SetChat { options } => Action::Chat(options),
                Command::Cancel { call } => Action::Cancel(call.0),
                Command::CancelAll => Action::CancelAll,
                Command::ForgetConversation => Action::ForgetConversation,
                Command::SetBreaker { mode } => match mode {
                    BreakerMode::ForcedOpen => Action::ForceOpen,
                    BreakerMode::ForcedClosed => Action::ForceClosed,
                    BreakerMode::Automatic => Action::Automatic,
                },
                Command::ResetBreaker => Action::ResetBreaker,
                Command::SetCache { on: true } => Action::CacheOn,
                Command::SetCache { on: false } => Action::CacheOff,
                Command::ClearCache => Action::ClearCache,
                Command::SetSemantic { mode } => Action::Semantic(mode),
                Command::LabelHit { call, good } => Action::Label { call: call.0, good },
                Command::SetQueueOrder { order } => Action::SetOrder(order),
                Command::ApplyPolicy { policy } => Action::ApplyPolicy(policy.name),
                Command::ChangeSettings { settings } => Action::Set(settings),
                Command::Suspend { gap } => Action::Suspend(gap),
                // a recording writes loads as callers
                Command::SetLoad { .. } | Command::Shutdown => continue,
            };
            let at = at.since(Timestamp::ZERO);
            tables.push(Self { at, action });
        }
        tables
    }
}

/// The faults by name if they are bundled, else by their rates.
fn faults(on: bool, profile: Option<Box<FaultProfile>>) -> Action {
    let is_bundled = |profile: &FaultProfile| file::bundled_faults().contains(profile);
    let named = profile.as_deref().is_some_and(is_bundled);
    let (name, rates) = match profile {
        Some(profile) if named => (Some(profile.name), None),
        rates => (None, rates),
    };
    Action::Faults {
        on,
        profile: name,
        rates,
    }
}

/// A fault profile by name or by its rates, fit for a terminal.
pub(super) fn fault_profile(
    name: Option<&str>,
    rates: Option<FaultProfile>,
) -> Result<Option<FaultProfile>, Problem> {
    match (name, rates) {
        (Some(name), None) => file::load_faults(name).map(Some).map_err(Problem::Config),
        (None, Some(mut rates)) => {
            rates.validate().map_err(Problem::Value)?;
            for text in [&mut rates.name, &mut rates.about] {
                *text = file::single_line(text).to_string();
            }
            Ok(Some(rates))
        }
        (None, None) => Ok(None),
        (Some(_), Some(_)) => Err(Problem::Value(
            "faults take a profile by name or a table of rates, not both".into(),
        )),
    }
}

/// Checks the bounds that a type cannot express, in the order of time: settings are changed as a run will change
/// them.
pub(in crate::drills) fn validate(commands: &[TimedCommand], policy: &Policy) -> Result<(), String> {
    let mut policy = policy.clone();
    for TimedCommand { at, command } in commands {
        let at = format_duration(at.since(Timestamp::ZERO));
        let refuse = |message: String| Err(format!("command at {at}: {message}"));
        match command {
            Command::Burst { calls, .. } if !(1..=100_000).contains(calls) => {
                return refuse(format!("burst.calls = {calls} (must be 1 to 100000)"));
            }
            Command::Send { prompt, .. } if prompt.trim().is_empty() => {
                return refuse("send.prompt is empty: write the text to send".into());
            }
            Command::ChangeSettings { settings } if settings.is_empty() => {
                return refuse("set = [] (name a setting: set = [\"retry.attempts=5\"])".into());
            }
            Command::Suspend { gap } if *gap > LONGEST => {
                let gap = format_duration(*gap);
                return refuse(format!("suspend = {gap} (must be at most a day)"));
            }
            Command::ApplyPolicy { policy: applied } => policy.clone_from(applied),
            Command::ChangeSettings { settings } => {
                policy = policy
                    .with_settings(settings)
                    .map_err(|message| format!("set at {at}: {message}"))?;
            }
            _ => {}
        }
    }
    Ok(())
}
