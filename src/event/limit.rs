//! What the limiter says, and why.

use serde::{Deserialize, Serialize};

use super::{BucketLevel, UserId};

/// The buckets as somebody found them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LimitLevels {
    /// The bucket of requests.
    pub requests: BucketLevel,
    /// The bucket of LLM tokens.
    pub tokens: BucketLevel,
    /// Slots in use.
    pub in_use: u32,
    /// LLM tokens it needs.
    pub needs: u64,
    /// The buckets of the user, where it has any of its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<UserLevels>,
}

/// The buckets of one user.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct UserLevels {
    /// Whose: the user, or those who share a bucket because there are too many users.
    pub user: UserId,
    /// Of requests, where they are limited.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub requests: Option<BucketLevel>,
    /// Of LLM tokens, where they are limited.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tokens: Option<BucketLevel>,
}

/// What keeps the head of the limiter's queue waiting.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Constraint {
    /// The bucket of requests.
    Requests,
    /// The bucket of LLM tokens.
    Tokens,
    /// All slots are in use.
    Slots,
    /// The server asked for a pause.
    Paused,
    /// The user's own bucket of requests.
    UserRequests,
    /// The user's own bucket of LLM tokens.
    UserTokens,
}

/// Why the limiter turns a call away.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LimitReject {
    /// The queue is full.
    QueueFull,
    /// It needs more than the bucket can ever hold.
    TooLarge,
    /// The predicted wait is longer than allowed.
    WaitTooLong,
    /// The deadline would pass in the queue.
    Deadline,
    /// It needs more than the user's own bucket can ever hold.
    UserTooLarge,
    /// The queue is full, and others have fewer in it: the last one of the user with the most makes room.
    Displaced,
}
