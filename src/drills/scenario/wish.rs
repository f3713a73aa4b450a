//! What can be commanded in a scenario, and which commands of the engine that is.

use std::time::Duration;

use serde::Deserialize;

use crate::event::{BreakerMode, BurstUsers, CallId, Command, UserId};
use crate::settings::{FaultProfile, QueueOrder, SemanticMode};

/// A command and its time.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TimedCommand {
    /// When.
    #[serde(with = "humantime_serde")]
    pub at: Duration,
    /// What.
    #[serde(rename = "do")]
    pub wish: Wish,
}

/// What a person at the screen could do, and what can happen to the machine.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Wish {
    /// Fire calls at once, with prompts drawn from the seed.
    Burst(BurstOf),
    /// Send a prompt.
    Send(Prompt),
    /// Stop one call, by its number.
    Cancel(u64),
    /// Forget the turns of the conversation.
    ForgetConversation,
    /// Switch the faults, or take others.
    Faults(Faults),
    /// Force the breaker open.
    ForceOpen,
    /// Force it closed.
    ForceClosed,
    /// Let it decide again.
    Automatic,
    /// Close it and forget its window.
    ResetBreaker,
    /// Switch the cache on.
    CacheOn,
    /// Switch it off.
    CacheOff,
    /// Forget all stored answers.
    ClearCache,
    /// Switch the semantic cache: off, on or shadow.
    Semantic(SemanticMode),
    /// Judge the semantic hit of a call, by its number.
    Label {
        /// The call that was served.
        call: u64,
        /// Whether the answer fitted.
        good: bool,
    },
    /// Stop every call that runs.
    CancelAll,
    /// Let the limiter's queue go in this order.
    SetOrder(QueueOrder),
    /// Take another policy: a preset or a file.
    ApplyPolicy(String),
    /// Change single settings of the policy in force, `["retry.attempts=5", "breaker.open=10s"]`. The others stay, and
    /// so does what was said of semantic hits.
    Set(Vec<String>),
    /// The machine sleeps: when it wakes, so much time has passed and nothing was done in it.
    Suspend(#[serde(with = "humantime_serde")] Duration),
}

/// A burst.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BurstOf {
    /// How many calls.
    pub calls: u32,
    /// Who sends them; every user of the person in turn where nobody is named.
    #[serde(default)]
    pub user: Option<String>,
}

/// A prompt that was typed.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Prompt {
    /// What is asked.
    pub prompt: String,
    /// Who asks.
    #[serde(default = "ana")]
    pub user: String,
    /// Whether the earlier turns of the conversation are sent too.
    #[serde(default)]
    pub conversation: bool,
}

fn ana() -> String {
    "ana".into()
}

/// Faults from now on.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Faults {
    /// Whether they are made.
    pub on: bool,
    /// A fault profile: a bundled one by name, or a file. Those before where neither this nor `rates` is said.
    #[serde(default)]
    pub profile: Option<String>,
    /// Or its rates.
    #[serde(default)]
    pub rates: Option<Box<FaultProfile>>,
}

impl Wish {
    /// Whether calls come of it.
    pub fn calls(&self) -> bool {
        matches!(self, Self::Burst(_) | Self::Send(_))
    }

    /// What the engine is told; nothing of what is not for the engine.
    pub(super) fn commands(&self) -> Vec<Command> {
        let force = |mode| vec![Command::SetBreaker { mode }];
        match self {
            Self::Burst(BurstOf { calls, user }) => {
                let one = user.as_deref().map(|name| BurstUsers::One(UserId::new(name)));
                vec![Command::Burst {
                    calls: *calls,
                    users: one.unwrap_or(BurstUsers::All),
                }]
            }
            Self::Send(send) => vec![Command::Send {
                prompt: send.prompt.clone(),
                user: UserId::new(&send.user),
                conversation: send.conversation,
            }],
            Self::Cancel(call) => vec![Command::Cancel { call: CallId(*call) }],
            Self::ForgetConversation => vec![Command::ForgetConversation],
            Self::Faults(Faults { on, rates, .. }) => {
                let profile = rates.clone().map(|profile| Command::SetFaultProfile { profile });
                let switch = Command::SetFaults { on: *on };
                profile.into_iter().chain([switch]).collect()
            }
            Self::ForceOpen => force(BreakerMode::ForcedOpen),
            Self::ForceClosed => force(BreakerMode::ForcedClosed),
            Self::Automatic => force(BreakerMode::Automatic),
            Self::ResetBreaker => vec![Command::ResetBreaker],
            Self::CacheOn => vec![Command::SetCache { on: true }],
            Self::CacheOff => vec![Command::SetCache { on: false }],
            Self::ClearCache => vec![Command::ClearCache],
            Self::Semantic(mode) => vec![Command::SetSemantic { mode: *mode }],
            Self::Label { call, good } => vec![Command::LabelHit {
                call: CallId(*call),
                good: *good,
            }],
            Self::CancelAll => vec![Command::CancelAll],
            Self::SetOrder(order) => vec![Command::SetQueueOrder { order: *order }],
            Self::ApplyPolicy(_) | Self::Set(_) | Self::Suspend(_) => Vec::new(),
        }
    }

    /// What is wrong with it, if anything is: the message names the value and what to write.
    pub(super) fn validate(&self) -> Result<(), String> {
        match self {
            Self::Burst(BurstOf { calls, .. }) if !(1..=100_000).contains(calls) => {
                Err(format!("burst.calls = {calls}: from 1 to 100000"))
            }
            Self::Send(send) if send.prompt.trim().is_empty() => {
                Err("send.prompt is empty: write what is asked".into())
            }
            Self::Faults(Faults {
                profile: Some(_),
                rates: Some(_),
                ..
            }) => Err("faults take profile = \"NAME\" or a table of rates, not both".into()),
            Self::Faults(Faults {
                rates: Some(rates), ..
            }) => rates.validate(),
            Self::Set(settings) if settings.is_empty() => {
                Err("set = []: write what changes: set = [\"retry.attempts=5\"]".into())
            }
            Self::Suspend(gap) if *gap > super::LONGEST => Err(format!("suspend = {gap:?}: at most a day")),
            _ => Ok(()),
        }
    }
}
