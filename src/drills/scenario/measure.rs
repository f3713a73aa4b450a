//! The measures of a run, by name, computed from the [`Tally`].

use serde::{Deserialize, Serialize};

use super::tally::{CallRow, SemanticResult, Tally};
use crate::event::{BreakerState, Fate};
use crate::time::Timestamp;

/// Defines the measures with their names in files.
macro_rules! measures {
    ($($(#[$doc:meta])* $variant:ident = $name:literal,)*) => {
        /// A number computed from a run. Durations are in seconds, shares from 0 to 1.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
        pub enum Measure {
            $($(#[$doc])* #[serde(rename = $name)] $variant,)*
        }

        impl Measure {
            /// Every measure, in the order of reports.
            pub const ALL: &[Self] = &[$(Self::$variant,)*];

            /// The name in scenario files and reports.
            pub fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)*
                }
            }
        }
    };
}

measures! {
    // === per call: can be filtered by time and user ===
    /// Calls that began.
    Calls = "calls",
    /// Calls that got an answer: from the upstream, the cache or a shared flight.
    Served = "served",
    /// Calls answered by the upstream.
    Answered = "answered",
    /// Calls answered by the cache or the ledger.
    Hits = "hits",
    /// Calls answered by the semantic cache.
    SemanticHits = "semantic_hits",
    /// Semantic lookups whose nearest prompt a guard rejected.
    SemanticRejected = "semantic_rejected",
    /// Calls answered by the flight of another call.
    Shared = "shared",
    /// Calls limited by the limiter.
    RateLimited = "rate_limited",
    /// Calls refused by the breaker.
    CircuitOpen = "circuit_open",
    /// Calls whose attempts all failed.
    Failed = "failed",
    /// Calls whose answer was truncated.
    Interrupted = "interrupted",
    /// Calls cancelled by the caller.
    Cancelled = "cancelled",
    /// Served calls over all calls.
    ServedShare = "served_share",
    /// Hits over all calls.
    HitShare = "hit_share",
    /// Shared calls over all calls.
    SharedShare = "shared_share",
    /// Limited calls over all calls.
    RateLimitedShare = "rate_limited_share",
    /// Refused calls over all calls.
    CircuitOpenShare = "circuit_open_share",
    /// Failed and interrupted calls over all calls.
    FailedShare = "failed_share",
    /// Attempts per call that made any.
    Amplification = "amplification",
    /// Maximum attempts of a call.
    MaxAttempts = "max_attempts",
    /// Attempts after the first of a call.
    Retries = "retries",
    /// Calls answered after more than one attempt.
    RecoveredByRetry = "recovered_by_retry",
    /// Median latency of served calls.
    LatencyP50 = "latency_p50",
    /// 95th percentile of the latency of served calls.
    LatencyP95 = "latency_p95",
    /// 99th percentile of the latency of served calls.
    LatencyP99 = "latency_p99",
    /// Maximum duration of all calls, served or not.
    LatencyMax = "latency_max",
    /// 95th percentile of the time from the start of a call to its first token.
    FirstTokenP95 = "first_token_p95",
    /// 95th percentile of the time in the limiter's queue.
    WaitP95 = "wait_p95",

    // === of the whole run ===
    /// Attempts sent.
    Attempts = "attempts",
    /// Faults injected by the simulator.
    Faults = "faults",
    /// Transitions of the breaker to open.
    BreakerOpened = "breaker_opened",
    /// Transitions of the breaker to closed.
    BreakerClosed = "breaker_closed",
    /// From the first start of faults to the first opening of the breaker.
    TimeToTrip = "time_to_trip",
    /// From the last end of faults to the first answer of the upstream to a call that began after it.
    TimeToRecover = "time_to_recover",
    /// From the last end of faults to the closing of the breaker; 0 if it was closed then.
    TimeToClose = "time_to_close",
    /// Maximum length of the limiter's queue.
    MaxWaiting = "max_waiting",
    /// Maximum number of attempts in flight.
    MaxParallel = "max_parallel",
    /// LLM tokens that attempts used, with or without a limiter.
    SpentTokens = "spent_tokens",
    /// LLM tokens of attempts without an answer to their call.
    WastedTokens = "wasted_tokens",
    /// LLM tokens of answers from the cache and from shared flights.
    SavedTokens = "saved_tokens",
    /// Cache misses that differ from a stored request in one field other than the question.
    NearMisses = "near_misses",
    /// Retries after an ambiguous failure, which the upstream may have billed.
    AmbiguousRetries = "ambiguous_retries",
}

/// A filter of calls; the default keeps all.
#[derive(Clone, Debug, Default)]
pub struct CallFilter {
    /// Keeps calls that began at this time or later.
    pub from: Option<Timestamp>,
    /// Keeps calls that began before this time.
    pub until: Option<Timestamp>,
    /// Keeps calls of this user.
    pub user: Option<String>,
    /// Keeps calls of these users; empty: of all users.
    pub users: Vec<String>,
}

impl CallFilter {
    fn keeps(&self, call: &CallRow) -> bool {
        self.from.is_none_or(|from| call.started_at >= from)
            && self.until.is_none_or(|until| call.started_at < until)
            && self.user.as_ref().is_none_or(|user| call.user.as_str() == user)
            && (self.users.is_empty() || self.users.iter().any(|user| call.user.as_str() == user))
    }
}

impl Measure {
    /// True if the measure is computed from single calls, and so can be filtered.
    pub fn is_per_call(self) -> bool {
        self < Self::Attempts
    }

    /// The value over all calls; absent if undefined: a share of no calls, the time to a trip that never was.
    pub fn value(self, tally: &Tally) -> Option<f64> {
        self.filtered(tally, &CallFilter::default())
    }

    /// The value over the calls that the filter keeps.
    pub fn filtered(self, tally: &Tally, filter: &CallFilter) -> Option<f64> {
        if self.is_per_call() {
            let calls: Vec<&CallRow> = tally.calls().filter(|call| filter.keeps(call)).collect();
            self.of_calls(&calls)
        } else {
            self.of_run(tally)
        }
    }

    fn of_calls(self, calls: &[&CallRow]) -> Option<f64> {
        let count = |keep: &dyn Fn(&CallRow) -> bool| calls.iter().filter(|call| keep(call)).count() as f64;
        let ended = |fate: Fate| count(&|call| call.fate == Some(fate));
        let share = |number: f64| (!calls.is_empty()).then(|| number / calls.len() as f64);
        let sent = || calls.iter().filter(|call| call.attempts > 0);
        let retried = |call: &CallRow| f64::from(call.attempts.saturating_sub(1));
        match self {
            Self::Calls => Some(calls.len() as f64),
            Self::Served => Some(count(&CallRow::is_served)),
            Self::Answered => Some(ended(Fate::Answered)),
            Self::Hits => Some(ended(Fate::Hit)),
            Self::SemanticHits => Some(count(&|call| call.semantic == SemanticResult::Hit)),
            Self::SemanticRejected => Some(count(&|call| call.semantic == SemanticResult::Rejected)),
            Self::Shared => Some(ended(Fate::Shared)),
            Self::RateLimited => Some(ended(Fate::RateLimited)),
            Self::CircuitOpen => Some(ended(Fate::CircuitOpen)),
            Self::Failed => Some(ended(Fate::Failed)),
            Self::Interrupted => Some(ended(Fate::Interrupted)),
            Self::Cancelled => Some(ended(Fate::Cancelled)),
            Self::ServedShare => share(count(&CallRow::is_served)),
            Self::HitShare => share(ended(Fate::Hit)),
            Self::SharedShare => share(ended(Fate::Shared)),
            Self::RateLimitedShare => share(ended(Fate::RateLimited)),
            Self::CircuitOpenShare => share(ended(Fate::CircuitOpen)),
            Self::FailedShare => share(ended(Fate::Failed) + ended(Fate::Interrupted)),
            Self::Amplification => {
                let attempts: f64 = sent().map(|call| f64::from(call.attempts)).sum();
                (attempts > 0.0).then(|| attempts / sent().count() as f64)
            }
            Self::MaxAttempts => calls.iter().map(|call| f64::from(call.attempts)).reduce(f64::max),
            // an empty sum is -0.0, and a report would print the sign
            Self::Retries => Some(calls.iter().map(|call| retried(call)).sum::<f64>() + 0.0),
            Self::RecoveredByRetry => Some(count(&|call| {
                call.fate == Some(Fate::Answered) && call.attempts > 1
            })),
            Self::LatencyP50 => quantile(calls, 0.5, CallRow::latency),
            Self::LatencyP95 => quantile(calls, 0.95, CallRow::latency),
            Self::LatencyP99 => quantile(calls, 0.99, CallRow::latency),
            Self::LatencyMax => quantile(calls, 1.0, |call| call.took),
            Self::FirstTokenP95 => quantile(calls, 0.95, |call| call.first_token),
            Self::WaitP95 => quantile(calls, 0.95, |call| Some(call.queued)),
            _ => None,
        }
    }

    fn of_run(self, tally: &Tally) -> Option<f64> {
        let whole = |number: u64| Some(number as f64);
        match self {
            Self::Attempts => whole(tally.attempts),
            Self::Faults => whole(tally.faults),
            Self::BreakerOpened => whole(tally.breaker_moves(BreakerState::Open, Timestamp::ZERO)),
            Self::BreakerClosed => whole(tally.breaker_moves(BreakerState::Closed, Timestamp::ZERO)),
            Self::TimeToTrip => tally.time_to_trip(),
            Self::TimeToRecover => tally.time_to_recover(),
            Self::TimeToClose => tally.time_to_close(),
            Self::MaxWaiting => Some(f64::from(tally.max_waiting)),
            Self::MaxParallel => Some(f64::from(tally.max_parallel)),
            Self::SpentTokens => whole(tally.spent_tokens),
            Self::WastedTokens => whole(tally.wasted_tokens()),
            Self::SavedTokens => whole(tally.saved_tokens),
            Self::NearMisses => whole(tally.near_misses.values().sum()),
            Self::AmbiguousRetries => whole(tally.ambiguous_retries),
            _ => None,
        }
    }
}

/// A quantile in seconds, from a histogram: at most 1/32 above the true value.
fn quantile(
    calls: &[&CallRow],
    quantile: f64,
    of: impl Fn(&CallRow) -> Option<std::time::Duration>,
) -> Option<f64> {
    let mut durations = crate::state::Percentiles::default();
    for duration in calls.iter().filter_map(|call| of(call)) {
        durations.record(duration);
    }
    Some(durations.quantile(quantile)?.as_secs_f64())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_the_file_format() {
        for measure in Measure::ALL {
            let written = serde_json::to_value(measure).unwrap();
            assert_eq!(written, measure.name());
        }
    }
}
