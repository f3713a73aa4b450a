//! `stats()`: the guards in a handful of numbers, for a program that embeds seawall.
//!
//! The three tables are those of the exercise (`cache`, `rateLimiter`, `circuitBreaker`), and the calls by
//! their fate come on top.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::State;
use crate::event::{BreakerState, Fate};
use crate::time::Timestamp;

/// All layers at one instant.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Stats {
    /// The cache.
    pub cache: CacheStats,
    /// The limiter.
    pub rate_limiter: RateLimiterStats,
    /// The breaker.
    pub circuit_breaker: BreakerStats,
    /// The calls.
    pub calls: CallStats,
}

/// The cache.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct CacheStats {
    /// Entries.
    pub size: u64,
    /// Bytes of all entries.
    pub bytes: u64,
    /// Lookups that were served, by the exact cache or by the semantic one.
    pub hits: u64,
    /// Lookups that were not, without those that joined a flight.
    pub misses: u64,
    /// Calls that joined a flight: their answer was on the way.
    #[serde(default)]
    pub joined: u64,
    /// Hits over lookups, 0 to 1; nothing before the first lookup.
    pub hit_rate: Option<f64>,
    /// LLM tokens not spent again.
    pub saved_tokens: u64,
}

/// The limiter. All zero while calls are not limited.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct RateLimiterStats {
    /// LLM tokens in the bucket; negative is debt.
    pub tokens: f64,
    /// LLM tokens when full.
    pub max_tokens: u64,
    /// Requests in the bucket.
    pub requests: f64,
    /// Requests when full.
    pub max_requests: u64,
    /// Slots in use.
    pub in_use: u32,
    /// Calls in the queue.
    pub waiting: u64,
    /// Calls rejected.
    pub rejected: u64,
}

/// The breaker; of several models the one that matters most.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct BreakerStats {
    /// Its state.
    pub state: BreakerState,
    /// Failures in its window.
    pub failures: u32,
    /// Outcomes in its window.
    pub outcomes: u32,
    /// Calls rejected, of all models.
    pub refused: u64,
}

/// The calls. `started` is the sum of `running` and `ended`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct CallStats {
    /// Accepted.
    pub started: u64,
    /// Not over yet.
    pub running: u64,
    /// Over, by fate; every fate is there.
    pub ended: BTreeMap<Fate, u64>,
}

impl State {
    /// The numbers at `now`.
    pub fn stats(&self, now: Timestamp) -> Stats {
        let totals = &self.calls.totals;
        Stats {
            cache: CacheStats {
                size: self.cache.entries,
                bytes: self.cache.bytes,
                hits: self.cache.served(),
                misses: self.cache.unserved(),
                joined: self.cache.shared,
                hit_rate: self.cache.hit_rate(),
                saved_tokens: self.cache.saved_tokens,
            },
            rate_limiter: RateLimiterStats {
                tokens: self.limit.tokens.map_or(0.0, |bucket| bucket.level_at(now)),
                max_tokens: self.limit.tokens.map_or(0, |bucket| bucket.capacity),
                requests: self.limit.requests.map_or(0.0, |bucket| bucket.level_at(now)),
                max_requests: self.limit.requests.map_or(0, |bucket| bucket.capacity),
                in_use: self.limit.in_use,
                waiting: self.limit.waiters.len() as u64,
                rejected: totals.ended(Fate::RateLimited),
            },
            circuit_breaker: BreakerStats {
                state: self.breaker().state,
                failures: self.breaker().window.failed,
                outcomes: self.breaker().window.total,
                refused: totals.ended(Fate::CircuitOpen),
            },
            calls: CallStats {
                started: totals.started,
                running: totals.running(),
                ended: Fate::ALL
                    .into_iter()
                    .map(|fate| (fate, totals.ended(fate)))
                    .collect(),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::fixture::{Story, fold, session};

    #[test]
    fn a_fresh_session_in_the_words_of_the_exercise() {
        let story = Story::begin();
        let value = serde_json::to_value(story.state().stats(story.now)).unwrap();
        assert_eq!(value["cache"]["size"], 0);
        assert_eq!(value["cache"]["hit_rate"], serde_json::Value::Null);
        assert_eq!(value["rate_limiter"]["tokens"], 20_000.0);
        assert_eq!(value["rate_limiter"]["max_tokens"], 20_000);
        assert_eq!(value["circuit_breaker"]["state"], "closed");
        assert_eq!(value["circuit_breaker"]["failures"], 0);
    }

    #[test]
    fn the_fates_add_up_and_the_stats_can_be_read_back() {
        let events = session(8, 100);
        let state = fold(&events);
        let stats = state.stats(state.last_event_at);
        let ended: u64 = stats.calls.ended.values().sum();
        assert_eq!((stats.calls.started, stats.calls.running + ended), (100, 100));
        assert_eq!(stats.calls.ended.len(), Fate::ALL.len());
        let text = serde_json::to_string(&stats).unwrap();
        assert_eq!(serde_json::from_str::<Stats>(&text).unwrap(), stats);
    }
}
