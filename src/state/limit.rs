//! Buckets, slots and the queue.

use std::collections::{BTreeMap, VecDeque};

use serde::{Deserialize, Serialize};

use crate::event::{BucketLevel, CallId, Constraint, LimitReject};
use crate::time::Timestamp;

/// The limiter. Levels are functions of time: ask [`BucketLevel::level_at`].
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct LimitView {
    /// The bucket of requests, once a policy is known.
    pub requests: Option<BucketLevel>,
    /// The bucket of LLM tokens, once a policy is known.
    pub tokens: Option<BucketLevel>,
    /// Slots in use.
    pub in_use: u32,
    /// Waiters, by call: who waits for what.
    pub waiters: BTreeMap<CallId, Waiter>,
    /// Calls admitted in all.
    pub admitted: u64,
    /// Calls turned away, by reason.
    pub rejected: BTreeMap<LimitReject, u64>,
    /// Nobody is admitted until then: the server asked for it.
    pub paused_until: Option<Timestamp>,
    /// LLM tokens charged in the end.
    pub charged_tokens: u64,
    /// `(second, lowest share of the token bucket, most waiters)` for the last 60 seconds with a change.
    pub history: VecDeque<(u64, f32, u32)>,
}

/// A call in the queue.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Waiter {
    /// What it waited for when it was queued.
    pub constraint: Constraint,
    /// Since when.
    pub since: Timestamp,
    /// When it should be admitted, as predicted then.
    pub ready_at: Option<Timestamp>,
}

impl LimitView {
    /// Calls turned away.
    pub fn rejections(&self) -> u64 {
        self.rejected.values().sum()
    }

    /// The call at the head of the queue: the one that waits longest.
    pub fn head(&self) -> Option<(CallId, Waiter)> {
        self.waiters
            .iter()
            .min_by_key(|(id, waiter)| (waiter.since, **id))
            .map(|(id, waiter)| (*id, *waiter))
    }
}
