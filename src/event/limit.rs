//! Events of the limiter: buckets, constraints, rejections.

use serde::{Deserialize, Serialize};

use super::{BucketLevel, UserId};

/// The buckets that a call found.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LimitLevels {
    /// The request bucket.
    pub requests: BucketLevel,
    /// The bucket of LLM tokens.
    pub tokens: BucketLevel,
    /// Slots in use.
    pub in_use: u32,
    /// LLM tokens the call needs.
    pub needs: u64,
    /// The user's own buckets, if configured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<UserLevels>,
}

/// The buckets of one user.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct UserLevels {
    /// The user, or the group that shares a bucket because there are too many users.
    pub user: UserId,
    /// The request bucket, if limited.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub requests: Option<BucketLevel>,
    /// The bucket of LLM tokens, if limited.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tokens: Option<BucketLevel>,
}

/// The constraint that a waiter of the limiter waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Constraint {
    /// The request bucket.
    Requests,
    /// The bucket of LLM tokens.
    Tokens,
    /// All slots are in use.
    Slots,
    /// The server asked for a pause.
    Paused,
    /// The user's own request bucket.
    UserRequests,
    /// The user's own bucket of LLM tokens.
    UserTokens,
}

/// Reasons of the limiter to reject a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum LimitReject {
    /// The queue is full.
    QueueFull,
    /// The call needs more than the bucket can hold.
    TooLarge,
    /// The forecast wait exceeds `limit.max_wait`.
    WaitTooLong,
    /// The deadline would pass in the queue.
    Deadline,
    /// The call needs more than the user's own bucket can hold.
    UserTooLarge,
    /// Displaced from a full queue: the newest waiter of the user with the most waiters makes room for another
    /// user.
    Displaced,
}
