//! The settings of every layer. `Policy::default()` is the `production` preset.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::Bucket;
use super::semantic::SemanticSettings;
use super::user_limits::{QueueOrder, UserLimits};

/// The settings of every layer. A policy file may leave out any table or key, which then has its default.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct Policy {
    /// The name shown in titles. Default: the name of the file.
    pub name: String,
    /// The prompt cache.
    pub cache: CacheSettings,
    /// The semantic cache.
    pub semantic: SemanticSettings,
    /// Single flight and replay of completed results.
    pub flight: FlightSettings,
    /// Attempts, backoff and the retry budget.
    pub retry: RetrySettings,
    /// The rate limiter: buckets, slots and queue.
    pub limit: LimitSettings,
    /// The circuit breaker.
    pub breaker: BreakerSettings,
    /// The time limits of a call and of an attempt.
    pub timeouts: TimeoutSettings,
}

/// The unit that a layer counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Counts {
    /// Every attempt: the layer is inside the retry loop.
    Attempt,
    /// Each call once: the layer is outside the retry loop, as in the exercise.
    Call,
}

/// The prompt cache.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct CacheSettings {
    /// True if answers are looked up and stored. Default: true.
    pub enabled: bool,
    /// The lifetime of a stored answer. Default: 24 h.
    #[serde(with = "super::duration")]
    pub ttl: Duration,
    /// The bytes of all stored answers, keys included. Default: 64 MiB.
    pub max_bytes: u64,
    /// The bytes of the largest answer that is stored. Default: 1 MiB.
    pub max_entry_bytes: u64,
    /// True if answers of requests without temperature 0 and without a seed are stored too. Default: false.
    pub store_all: bool,
}

/// Single flight.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct FlightSettings {
    /// True if identical calls in flight share one upstream call. Default: true.
    pub enabled: bool,
    /// The time for which a result is replayed to its idempotency key; zero disables replay. Default: 10 min.
    #[serde(with = "super::duration")]
    pub replay_ttl: Duration,
    /// The number of results kept for replay. Default: 1024.
    pub max_results: usize,
}

/// The randomisation of a backoff.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Jitter {
    /// `U(0, min(cap, base * 2^n))`: AWS "full jitter".
    Full,
    /// `v/2 + U(0, v/2)`, `v = min(cap, base * 2^n)`: AWS "equal jitter".
    Equal,
    /// `min(cap, v + 0.3 * U(0, v))`, `v = base * 2^n`: the exercise; retries bunch up at the cap.
    Proportional,
    /// `min(cap, base * 2^n)`: no jitter, to show its effect.
    None,
}

/// Attempts, backoff and the retry budget.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct RetrySettings {
    /// Attempts per call, the first included: 1 to 100, default 3; 1 disables retries.
    pub attempts: u32,
    /// Retries after an outcome that may already have been billed. Default: 1.
    pub max_ambiguous_retries: u32,
    /// The first backoff, at most `cap`. Default: 500 ms.
    #[serde(with = "super::duration")]
    pub base: Duration,
    /// The longest backoff. Default: 8 s.
    #[serde(with = "super::duration")]
    pub cap: Duration,
    /// The randomisation of backoffs. Default: full.
    pub jitter: Jitter,
    /// True if Retry-After and similar headers are obeyed. Default: true.
    pub obey_hints: bool,
    /// A hint longer than this ends the call at once, with the hint attached. Default: 2 min.
    #[serde(with = "super::duration")]
    pub max_hint: Duration,
    /// Retries earned by each first attempt: 0 to 10, default 0.2. With 0 here and in `budget_min_per_s` there is
    /// no budget.
    pub budget_ratio: f64,
    /// Retries per second that are always allowed: 0 to 1,000,000, default 1.
    pub budget_min_per_s: f64,
    /// The lifetime of an earned retry, above 0 s. Default: 10 s.
    #[serde(with = "super::duration")]
    pub budget_ttl: Duration,
}

/// The rate limiter.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct LimitSettings {
    /// True if calls are limited. Default: true.
    pub enabled: bool,
    /// The bucket of requests. Default: 60, refilled at 300 per minute.
    pub requests: Bucket,
    /// The bucket of LLM tokens, prompt and answer together. Default: 20,000, refilled at 90,000 per minute.
    pub tokens: Bucket,
    /// Attempts in flight at the same time, at least 1. Default: 16.
    pub concurrency: u32,
    /// The length of the queue; a call that finds it full is rejected with its predicted wait. Default: 1024.
    pub max_waiters: usize,
    /// The longest predicted wait; a longer one is rejected at once. Default: 1 min.
    #[serde(with = "super::duration")]
    pub max_wait: Duration,
    /// LLM tokens reserved for the answer if the request sets no limit: 0 to 10,000,000, default 256.
    pub default_answer_tokens: u64,
    /// The unit charged. Default: every attempt.
    pub charges: Counts,
    /// The order of the queue. Default: fair.
    pub order: QueueOrder,
    /// The limits of each user, in addition to the shared buckets. Default: weight 1, no buckets.
    pub each_user: UserLimits,
    /// The limits of single users by name, which replace `each_user`. Default: none.
    pub users: BTreeMap<String, UserLimits>,
    /// Users with buckets of their own; all others share one set: 1 to 100,000, default 1000.
    pub max_users: usize,
}

/// The circuit breaker.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct BreakerSettings {
    /// True if the breaker can reject calls. Default: true.
    pub enabled: bool,
    /// The unit counted. Default: every attempt.
    pub counts: Counts,
    /// The length of the window of outcomes, above 0 s. Default: 30 s.
    #[serde(with = "super::duration")]
    pub window: Duration,
    /// Outcomes in the window before the failure rate counts, at least 1. Default: 10.
    pub min_calls: u32,
    /// The failure rate that opens the breaker: above 0, up to 1, default 0.5.
    pub failure_rate: f64,
    /// Consecutive failures that open the breaker, at least 1. Default: 5.
    pub consecutive: u32,
    /// A first token later than this is slow. Above 0 s, default 30 s.
    #[serde(with = "super::duration")]
    pub slow_after: Duration,
    /// The rate of slow outcomes that opens the breaker: above 0, default 0.8; above 1 never opens it.
    pub slow_rate: f64,
    /// The first open period, above 0 s and at most `open_max`. Default: 5 s.
    #[serde(with = "super::duration")]
    pub open: Duration,
    /// The longest open period; the period doubles with each opening until `min_calls` good outcomes were counted
    /// while closed. Default: 1 min.
    #[serde(with = "super::duration")]
    pub open_max: Duration,
    /// The random fraction of the open period: 0 to 1, default 0.1.
    pub open_jitter: f64,
    /// Consecutive probes that must end well to close the breaker, and how many run at once; at least 1. Default: 2.
    pub successes_to_close: u32,
    /// A probe without a first token loses its place after this time; one that has delivered for this time counts
    /// as ended well. Above 0 s, default 1 min.
    #[serde(with = "super::duration")]
    pub probe_lease: Duration,
}

/// The time limits of a call and of an attempt. Each is above 0 s and at most a year.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct TimeoutSettings {
    /// The deadline of a call, with queueing, attempts and backoffs. Default: 10 min.
    #[serde(with = "super::duration")]
    pub call: Duration,
    /// The time to connect, TLS included. Default: 5 s.
    #[serde(with = "super::duration")]
    pub connect: Duration,
    /// The time from the request to the response headers. Default: 1 min.
    #[serde(with = "super::duration")]
    pub headers: Duration,
    /// The longest silence on the wire; pings count as data. Default: 65 s.
    #[serde(with = "super::duration")]
    pub byte_idle: Duration,
    /// The longest time between events that carry data: pings do not count. Default: 2 min.
    #[serde(with = "super::duration")]
    pub event_idle: Duration,
    /// The longest wait for usage and `[DONE]` once the answer has its finish reason. Default: 2 s.
    #[serde(with = "super::duration")]
    pub after_finish: Duration,
    /// The largest decoded answer in bytes, at least 1. Default: 16 MiB.
    pub max_response_bytes: u64,
}

impl LimitSettings {
    /// The most LLM tokens that a call of this user can reserve: what the bucket and the user's own one hold.
    pub fn most_tokens(&self, user: &str) -> u64 {
        let own = self.for_user(user).tokens.as_ref();
        own.map_or(self.tokens.capacity, |own| own.capacity.min(self.tokens.capacity))
    }

    /// The limits of a user.
    pub fn for_user(&self, name: &str) -> &UserLimits {
        self.users.get(name).unwrap_or(&self.each_user)
    }
}

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_mins(1);

impl Default for Policy {
    fn default() -> Self {
        Self {
            name: "production".into(),
            cache: CacheSettings::default(),
            semantic: SemanticSettings::default(),
            flight: FlightSettings::default(),
            retry: RetrySettings::default(),
            limit: LimitSettings::default(),
            breaker: BreakerSettings::default(),
            timeouts: TimeoutSettings::default(),
        }
    }
}

impl Default for CacheSettings {
    fn default() -> Self {
        Self {
            enabled: true,
            ttl: 24 * 60 * MINUTE,
            max_bytes: 64 << 20,
            max_entry_bytes: 1 << 20,
            store_all: false,
        }
    }
}

impl Default for FlightSettings {
    fn default() -> Self {
        Self {
            enabled: true,
            replay_ttl: 10 * MINUTE,
            max_results: 1024,
        }
    }
}

impl Default for RetrySettings {
    fn default() -> Self {
        Self {
            attempts: 3,
            max_ambiguous_retries: 1,
            base: Duration::from_millis(500),
            cap: 8 * SECOND,
            jitter: Jitter::Full,
            obey_hints: true,
            max_hint: 2 * MINUTE,
            budget_ratio: 0.2,
            budget_min_per_s: 1.0,
            budget_ttl: 10 * SECOND,
        }
    }
}

impl Default for LimitSettings {
    fn default() -> Self {
        Self {
            enabled: true,
            requests: Bucket {
                capacity: 60,
                refill: 300,
                per: MINUTE,
            },
            tokens: Bucket {
                capacity: 20_000,
                refill: 90_000,
                per: MINUTE,
            },
            concurrency: 16,
            max_waiters: 1024,
            max_wait: MINUTE,
            default_answer_tokens: 256,
            charges: Counts::Attempt,
            order: QueueOrder::Fair,
            each_user: UserLimits::default(),
            users: BTreeMap::new(),
            max_users: 1000,
        }
    }
}

impl Default for BreakerSettings {
    fn default() -> Self {
        Self {
            enabled: true,
            counts: Counts::Attempt,
            window: 30 * SECOND,
            min_calls: 10,
            failure_rate: 0.5,
            consecutive: 5,
            slow_after: 30 * SECOND,
            slow_rate: 0.8,
            open: 5 * SECOND,
            open_max: MINUTE,
            open_jitter: 0.1,
            successes_to_close: 2,
            probe_lease: MINUTE,
        }
    }
}

impl Default for TimeoutSettings {
    fn default() -> Self {
        Self {
            call: 10 * MINUTE,
            connect: 5 * SECOND,
            headers: MINUTE,
            byte_idle: 65 * SECOND,
            event_idle: 2 * MINUTE,
            after_finish: 2 * SECOND,
            max_response_bytes: 16 << 20,
        }
    }
}
