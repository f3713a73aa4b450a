//! Wishes of a person or a script; answered by events only.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{BreakerMode, CallId, UserId};
use crate::settings::{FaultProfile, Policy, QueueOrder, SemanticMode};
use crate::time::Timestamp;

/// Who sends the calls of a burst.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BurstUsers {
    /// One user sends all.
    One(UserId),
    /// Every known user in turn.
    All,
}

/// What can be asked of the engine.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Command {
    /// Send a prompt.
    Send {
        /// What to ask.
        prompt: String,
        /// Who asks.
        user: UserId,
        /// Whether the earlier turns of the conversation are sent too.
        conversation: bool,
    },
    /// Fire calls at once, with prompts from `assets/prompts.txt`.
    Burst {
        /// How many.
        calls: u32,
        /// Who sends them.
        users: BurstUsers,
    },
    /// Stop one call.
    Cancel {
        /// Which.
        call: CallId,
    },
    /// Stop every running call and the rest of a burst.
    CancelAll,
    /// Forget the turns of the conversation.
    ForgetConversation,
    /// Switch the faults on or off.
    SetFaults {
        /// On or off.
        on: bool,
    },
    /// Take another fault profile.
    SetFaultProfile {
        /// All its rates.
        profile: Box<FaultProfile>,
    },
    /// Switch the cache on or off.
    SetCache {
        /// On or off.
        on: bool,
    },
    /// Forget all stored answers.
    ClearCache,
    /// Let these settings hold from now on. What people said of semantic hits stays.
    ApplyPolicy {
        /// All of them.
        policy: Box<Policy>,
    },
    /// Judge a copy of the settings by the calls so far, and by those that come, until told otherwise.
    EvaluatePolicy {
        /// Counts what is asked, so that an answer can be told from one to an earlier question.
        edit: u64,
        /// The copy; nothing to stop.
        policy: Option<Box<Policy>>,
    },
    /// Switch the semantic cache.
    SetSemantic {
        /// Off, on, or beside the upstream.
        mode: SemanticMode,
    },
    /// Judge a semantic hit.
    LabelHit {
        /// The call that was served.
        call: CallId,
        /// Whether the answer fitted.
        good: bool,
    },
    /// Let the limiter's queue go by turns or by arrival.
    SetQueueOrder {
        /// Which.
        order: QueueOrder,
    },
    /// Force the breaker, or let it go.
    SetBreaker {
        /// What it should do.
        mode: BreakerMode,
    },
    /// Close the breaker and forget its window.
    ResetBreaker,
    /// Change single settings of the policy in force; labels of semantic hits stay.
    ChangeSettings {
        /// Each as `table.key=value`.
        settings: Vec<String>,
    },
    /// Suspend the machine. Only in virtual time: the engine ignores it, the runner of a scenario skips the time.
    Suspend {
        /// Time until it resumes.
        gap: Duration,
    },
    /// End the session.
    Shutdown,
}

/// A command and its time: the unit of scenarios and recordings.
#[derive(Clone, Debug, PartialEq)]
pub struct TimedCommand {
    /// Since the start of the session.
    pub at: Timestamp,
    /// The command.
    pub command: Command,
}
