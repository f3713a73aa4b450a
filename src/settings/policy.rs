//! The settings of every layer. `Policy::default()` is the `production` preset.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::semantic::SemanticSettings;
use super::users::{QueueOrder, UserLimits};

/// Every setting of every layer. In a file each table and each key may be left out.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Policy {
    /// Shown in the title; the file's name where the file gives none.
    pub name: String,
    /// The prompt cache.
    pub cache: CacheSettings,
    /// The semantic cache.
    pub semantic: SemanticSettings,
    /// Single flight and replay of completed results.
    pub flight: FlightSettings,
    /// Attempts, backoff and the retry budget.
    pub retry: RetrySettings,
    /// The two buckets, the slots and the queue.
    pub limit: LimitSettings,
    /// The circuit breaker.
    pub breaker: BreakerSettings,
    /// The clocks of one call and one attempt.
    pub timeouts: TimeoutSettings,
}

/// What a layer counts: every attempt, or the call as a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Counts {
    /// Every HTTP try: the layer stands inside the retry loop.
    Attempt,
    /// One for the call, whatever it took: the layer stands outside the retry loop, as in the exercise.
    Call,
}

/// The prompt cache.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CacheSettings {
    /// Whether lookups and stores happen at all.
    pub enabled: bool,
    /// How long an answer may be served.
    #[serde(with = "super::span")]
    pub ttl: Duration,
    /// Bound on the stored bytes, keys included.
    pub max_bytes: u64,
    /// Bound on one entry; larger answers are not stored.
    pub max_entry_bytes: u64,
    /// Store answers of requests that are not deterministic too (no temperature 0, no seed).
    pub store_all: bool,
}

/// Single flight.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct FlightSettings {
    /// Whether identical calls in flight share one upstream call.
    pub enabled: bool,
    /// How long a completed result is replayed to the same idempotency key.
    #[serde(with = "super::span")]
    pub replay_ttl: Duration,
    /// Bound on the replayable results.
    pub max_results: usize,
}

/// How a backoff is spread.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Jitter {
    /// `U(0, min(cap, base * 2^n))`: AWS "full jitter".
    Full,
    /// `v/2 + U(0, v/2)`, `v = min(cap, base * 2^n)`: AWS "equal jitter".
    Equal,
    /// `min(cap, v + 0.3 * U(0, v))`, `v = base * 2^n`: the exercise, herd at the cap included.
    Proportional,
    /// `min(cap, base * 2^n)`: no jitter, to see what it does.
    None,
}

/// Attempts, backoff and the retry budget.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RetrySettings {
    /// All tries of a call, the first included; 1 switches retries off.
    pub attempts: u32,
    /// How many retries may follow an outcome that may already have been billed.
    pub max_ambiguous_retries: u32,
    /// The first backoff.
    #[serde(with = "super::span")]
    pub base: Duration,
    /// The longest backoff.
    #[serde(with = "super::span")]
    pub cap: Duration,
    /// How backoffs are spread.
    pub jitter: Jitter,
    /// Whether Retry-After and its relatives are obeyed.
    pub obey_hints: bool,
    /// A hint above this ends the call at once, with the hint attached.
    #[serde(with = "super::span")]
    pub max_hint: Duration,
    /// Retry tokens earned by each first attempt; 0 with `budget_min_per_s = 0` means no budget is kept.
    pub budget_ratio: f64,
    /// Retries a second that are always allowed.
    pub budget_min_per_s: f64,
    /// After this long an earned token expires.
    #[serde(with = "super::span")]
    pub budget_ttl: Duration,
}

/// A token bucket: at most `capacity`, refilled continuously at `refill` every `per`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Bucket {
    /// Units when full: the largest burst.
    pub capacity: u64,
    /// Units gained in each `per`.
    pub refill: u64,
    /// The refill period.
    #[serde(with = "super::span")]
    pub per: Duration,
}

/// The rate limiter.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LimitSettings {
    /// Whether calls are limited at all.
    pub enabled: bool,
    /// The bucket of requests.
    pub requests: Bucket,
    /// The bucket of LLM tokens, prompt and answer together.
    pub tokens: Bucket,
    /// Attempts in flight at the same time.
    pub concurrency: u32,
    /// Waiters at most; one more is rejected with the predicted wait.
    pub max_waiters: usize,
    /// A predicted wait above this is rejected at once.
    #[serde(with = "super::span")]
    pub max_wait: Duration,
    /// LLM tokens reserved for the answer where the request sets no limit.
    pub default_answer_tokens: u64,
    /// What is charged.
    pub charges: Counts,
    /// Who goes first when many wait.
    pub order: QueueOrder,
    /// What each user may use, besides what all may together: no limit of its own where absent.
    pub each_user: UserLimits,
    /// Other limits for single users, by name.
    pub users: BTreeMap<String, UserLimits>,
    /// Users whose buckets are kept apart; those beyond share the buckets of one.
    pub max_users: usize,
}

/// The circuit breaker.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct BreakerSettings {
    /// Whether calls are ever refused.
    pub enabled: bool,
    /// What is counted.
    pub counts: Counts,
    /// Outcomes older than this are forgotten.
    #[serde(with = "super::span")]
    pub window: Duration,
    /// Outcomes in the window before the rate counts.
    pub min_calls: u32,
    /// The rate of failures that opens, 0 to 1.
    pub failure_rate: f64,
    /// Failures in a row that open.
    pub consecutive: u32,
    /// A first token later than this is slow.
    #[serde(with = "super::span")]
    pub slow_after: Duration,
    /// The rate of slow outcomes that opens, 0 to 1; above 1 never.
    pub slow_rate: f64,
    /// The first time spent open.
    #[serde(with = "super::span")]
    pub open: Duration,
    /// The longest time spent open; doubles up to it for each failed probe.
    #[serde(with = "super::span")]
    pub open_max: Duration,
    /// The share of the open time that is spread at random, 0 to 1.
    pub open_jitter: f64,
    /// Successful probes in a row that close.
    pub successes_to_close: u32,
    /// A probe that has not ended by then loses its permit.
    #[serde(with = "super::span")]
    pub probe_lease: Duration,
}

/// The clocks of one call and one attempt.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TimeoutSettings {
    /// One deadline over queueing, attempts and sleeps.
    #[serde(with = "super::span")]
    pub call: Duration,
    /// To connect, TLS included.
    #[serde(with = "super::span")]
    pub connect: Duration,
    /// From the request to the response headers.
    #[serde(with = "super::span")]
    pub headers: Duration,
    /// Silence on the wire, pings included.
    #[serde(with = "super::span")]
    pub byte_idle: Duration,
    /// Silence between events that carry data: pings prove nothing about progress.
    #[serde(with = "super::span")]
    pub event_idle: Duration,
    /// The largest decoded answer, in bytes.
    pub max_response_bytes: u64,
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
            max_response_bytes: 16 << 20,
        }
    }
}
