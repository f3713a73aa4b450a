//! The one thing that holds calls back, and until when.

use serde::{Deserialize, Serialize};

use super::State;
use crate::time::Timestamp;

/// The answer to "is it getting through, and if not, what is holding it?".
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Verdict {
    /// What holds most; nothing if calls flow or none are there.
    pub held_by: Option<Hold>,
    /// What would hold next, if the first were gone.
    pub then: Option<Hold>,
    /// Answers (upstream, cache, shared) a second over the last few seconds; nothing if no call ended.
    pub flowing_per_s: Option<f64>,
}

/// One cause.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Hold {
    /// What.
    pub cause: Cause,
    /// Until when, if that can be told.
    pub until: Option<Timestamp>,
    /// How many calls it holds now.
    pub calls: u64,
}

/// What can hold calls back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Cause {
    /// The breaker is open: refused at once, until a probe.
    BreakerOpen,
    /// A person holds the breaker open.
    BreakerForced,
    /// The breaker is half-open and its probe is out.
    ProbeOut,
    /// The server asked for a pause.
    Paused,
    /// The bucket of LLM tokens is short.
    Tokens,
    /// The bucket of requests is short.
    Requests,
    /// All slots are in use.
    Slots,
    /// Waiting before another attempt.
    BackOff,
    /// The upstream is loading its model.
    Loading,
    /// Sent, and the server has not answered yet.
    Server,
}

impl State {
    /// What holds calls back at `now`.
    pub fn verdict(&self, _now: Timestamp) -> Verdict {
        Verdict {
            held_by: None,
            then: None,
            flowing_per_s: None,
        }
    }

    /// When the picture changes next without any event: `now` plus a little while something moves with
    /// time (a running call, a bucket that refills, a countdown), nothing while all stands still.
    pub fn next_change(&self, _now: Timestamp) -> Option<Timestamp> {
        None
    }
}
