//! Commands of the user or of a script. The engine responds with events only.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{BreakerMode, CallId, Load, UserId};
use crate::settings::{FaultProfile, Policy, QueueOrder, SemanticMode};
use crate::time::Timestamp;

/// The users that send the calls of a burst or a load.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum BurstUsers {
    /// One user sends all.
    One(UserId),
    /// Every known user in turn.
    All,
}

/// Options of the prompts that are typed in the chat.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ChatOptions {
    /// The system prompt, sent as the first message. Default: none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub system: Option<String>,
    /// Sampling temperature, 0 to 2. Default: not sent, so the server decides; reasoning models reject any other
    /// than theirs. Answers are then cached as if they were repeatable; with a temperature only at 0.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub temperature: Option<f64>,
}

impl ChatOptions {
    /// Checks the temperature.
    ///
    /// # Errors
    /// A message with the valid range.
    pub fn validate(&self) -> Result<(), String> {
        match self.temperature {
            Some(value) if !(0.0..=2.0).contains(&value) => {
                Err(format!("temperature = {value} (must be 0 to 2)"))
            }
            _ => Ok(()),
        }
    }
}

/// A command to the engine.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Command {
    /// Sends a prompt.
    Send {
        /// The prompt.
        prompt: String,
        /// The user.
        user: UserId,
        /// True to send the earlier turns of the conversation too.
        conversation: bool,
    },
    /// Sets the options of the prompts sent from now on.
    SetChat {
        /// The options.
        options: ChatOptions,
    },
    /// Sends calls at once: new prompts, and repeats of the user's last answered ones.
    Burst {
        /// Number of calls.
        calls: u32,
        /// The users that send them.
        users: BurstUsers,
    },
    /// Starts a load in place of the running one, or ends it.
    SetLoad {
        /// The new load; `None` ends the running one. Its calls are not cancelled.
        load: Option<Load>,
    },
    /// Cancels one call.
    Cancel {
        /// The call.
        call: CallId,
    },
    /// Cancels every running call, the rest of each burst, and the load.
    CancelAll,
    /// Clears the conversation.
    ForgetConversation,
    /// Switches fault injection.
    SetFaults {
        /// True for on.
        on: bool,
    },
    /// Changes the fault profile.
    SetFaultProfile {
        /// The new profile.
        profile: Box<FaultProfile>,
    },
    /// Changes the fault profile and switches fault injection, as one change.
    ApplyFaults {
        /// True for on.
        on: bool,
        /// The new profile.
        profile: Box<FaultProfile>,
    },
    /// Switches the cache.
    SetCache {
        /// True for on.
        on: bool,
    },
    /// Removes all stored answers.
    ClearCache,
    /// Applies new settings. Labels of semantic hits are kept.
    ApplyPolicy {
        /// The new policy.
        policy: Box<Policy>,
    },
    /// Switches the mode of the semantic cache.
    SetSemantic {
        /// The new mode.
        mode: SemanticMode,
    },
    /// Labels a semantic hit as right or wrong.
    LabelHit {
        /// The call that was served.
        call: CallId,
        /// True if right.
        good: bool,
    },
    /// Changes the order of the limiter's queue.
    SetQueueOrder {
        /// The new order.
        order: QueueOrder,
    },
    /// Forces or releases the breaker.
    SetBreaker {
        /// The new mode.
        mode: BreakerMode,
    },
    /// Closes the breaker and clears its window.
    ResetBreaker,
    /// Changes single settings of the running policy. Labels of semantic hits are kept.
    ChangeSettings {
        /// The settings, each as `table.key=value`.
        settings: Vec<String>,
    },
    /// Suspends the machine. Only in virtual time: the engine ignores it, the runner of a scenario skips the time.
    Suspend {
        /// Time until it resumes.
        gap: Duration,
    },
    /// Ends the session.
    Shutdown,
}

/// A command and its time: the unit of scenarios and recordings.
#[derive(Clone, Debug, PartialEq)]
pub struct TimedCommand {
    /// Time since the session began.
    pub at: Timestamp,
    /// The command.
    pub command: Command,
}
