//! What can be expected of a run, by name, and how it is read off the [`Tally`].

use serde::{Deserialize, Serialize};

use super::tally::{CallFacts, Meaning, Tally};
use crate::event::{BreakerState, Fate};
use crate::time::Timestamp;

/// A number that a run comes to. Durations are in seconds, shares from 0 to 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Measure {
    // === of calls: may be asked of a part of them ===
    /// Calls that began.
    Calls,
    /// Calls that got an answer: ok, hit or shared.
    Served,
    /// Served by the upstream, for themselves.
    Ok,
    /// Served by the cache or the ledger.
    Hits,
    /// Hits on the answer to another prompt that means the same.
    SemanticHits,
    /// Near prompts whose answer a guard refused.
    SemanticRefused,
    /// Served by a flight of another call.
    Shared,
    /// Turned away by the limiter.
    Rejected,
    /// Turned away by the breaker.
    Refused,
    /// All tries failed.
    Failed,
    /// Broken off after some text.
    Cut,
    /// Given up by the caller.
    Stopped,
    /// Served over calls.
    ServedShare,
    /// Hits over calls.
    HitShare,
    /// Shared over calls.
    SharedShare,
    /// Rejected over calls.
    RejectedShare,
    /// Refused over calls.
    RefusedShare,
    /// Failed and cut over calls.
    FailedShare,
    /// Attempts for each call that made any: the amplification.
    Amplification,
    /// The most attempts a call made.
    MaxAttempts,
    /// Attempts after the first of a call.
    Retries,
    /// Calls answered after more than one attempt.
    SavedByRetry,
    /// Half of the served calls took no longer.
    LatencyP50,
    /// 95 % of the served calls took no longer.
    LatencyP95,
    /// 99 % of the served calls took no longer.
    LatencyP99,
    /// The longest of all calls, served or not.
    LatencyMax,
    /// 95 % of the first tokens came no later after the call began.
    FirstTokenP95,
    /// 95 % of the calls waited no longer for the limiter.
    WaitP95,

    // === of the run ===
    /// Attempts sent.
    Attempts,
    /// Faults made by the simulator.
    Faults,
    /// How often the breaker opened.
    BreakerOpened,
    /// How often it closed again.
    BreakerClosed,
    /// From the beginning of the first faults to the first opening.
    TimeToTrip,
    /// From the end of the last faults to the first answer of the upstream to a call that began after them.
    Recovery,
    /// From the end of the last faults to the closing of the breaker; 0 if it was closed then.
    TimeToClose,
    /// The most waiters in the limiter's queue.
    MaxWaiting,
    /// The most attempts in flight.
    MaxParallel,
    /// LLM tokens that attempts used, with or without a limiter.
    ChargedTokens,
    /// LLM tokens used for what nobody got.
    WastedTokens,
    /// LLM tokens that the cache and shared flights saved.
    SavedTokens,
    /// Misses of the cache that differ from a stored request in one field other than the question.
    NearMisses,
    /// Retries after an outcome that may already have been billed.
    PossibleDoubles,
}

/// Which calls are asked about.
#[derive(Clone, Debug, Default)]
pub struct Part {
    /// Those that began then or later.
    pub from: Option<Timestamp>,
    /// Those that began before.
    pub until: Option<Timestamp>,
    /// Those of this user.
    pub user: Option<String>,
    /// Those of these users; of all where there are none.
    pub users: Vec<String>,
}

impl Part {
    fn has(&self, call: &CallFacts) -> bool {
        self.from.is_none_or(|from| call.started_at >= from)
            && self.until.is_none_or(|until| call.started_at < until)
            && self.user.as_ref().is_none_or(|user| call.user.as_str() == user)
            && (self.users.is_empty() || self.users.iter().any(|user| call.user.as_str() == user))
    }
}

impl Measure {
    /// Every measure, in the order they are reported.
    pub const ALL: [Self; 42] = [
        Self::Calls,
        Self::Served,
        Self::Ok,
        Self::Hits,
        Self::SemanticHits,
        Self::SemanticRefused,
        Self::Shared,
        Self::Rejected,
        Self::Refused,
        Self::Failed,
        Self::Cut,
        Self::Stopped,
        Self::ServedShare,
        Self::HitShare,
        Self::SharedShare,
        Self::RejectedShare,
        Self::RefusedShare,
        Self::FailedShare,
        Self::Amplification,
        Self::MaxAttempts,
        Self::Retries,
        Self::SavedByRetry,
        Self::LatencyP50,
        Self::LatencyP95,
        Self::LatencyP99,
        Self::LatencyMax,
        Self::FirstTokenP95,
        Self::WaitP95,
        Self::Attempts,
        Self::Faults,
        Self::BreakerOpened,
        Self::BreakerClosed,
        Self::TimeToTrip,
        Self::Recovery,
        Self::TimeToClose,
        Self::MaxWaiting,
        Self::MaxParallel,
        Self::ChargedTokens,
        Self::WastedTokens,
        Self::SavedTokens,
        Self::NearMisses,
        Self::PossibleDoubles,
    ];

    /// Its name, as scenario files and reports write it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Calls => "calls",
            Self::Served => "served",
            Self::Ok => "ok",
            Self::Hits => "hits",
            Self::SemanticHits => "semantic_hits",
            Self::SemanticRefused => "semantic_refused",
            Self::Shared => "shared",
            Self::Rejected => "rejected",
            Self::Refused => "refused",
            Self::Failed => "failed",
            Self::Cut => "cut",
            Self::Stopped => "stopped",
            Self::ServedShare => "served_share",
            Self::HitShare => "hit_share",
            Self::SharedShare => "shared_share",
            Self::RejectedShare => "rejected_share",
            Self::RefusedShare => "refused_share",
            Self::FailedShare => "failed_share",
            Self::Amplification => "amplification",
            Self::MaxAttempts => "max_attempts",
            Self::Retries => "retries",
            Self::SavedByRetry => "saved_by_retry",
            Self::LatencyP50 => "latency_p50",
            Self::LatencyP95 => "latency_p95",
            Self::LatencyP99 => "latency_p99",
            Self::LatencyMax => "latency_max",
            Self::FirstTokenP95 => "first_token_p95",
            Self::WaitP95 => "wait_p95",
            Self::Attempts => "attempts",
            Self::Faults => "faults",
            Self::BreakerOpened => "breaker_opened",
            Self::BreakerClosed => "breaker_closed",
            Self::TimeToTrip => "time_to_trip",
            Self::Recovery => "recovery",
            Self::TimeToClose => "time_to_close",
            Self::MaxWaiting => "max_waiting",
            Self::MaxParallel => "max_parallel",
            Self::ChargedTokens => "charged_tokens",
            Self::WastedTokens => "wasted_tokens",
            Self::SavedTokens => "saved_tokens",
            Self::NearMisses => "near_misses",
            Self::PossibleDoubles => "possible_doubles",
        }
    }

    /// Whether it can be asked of a part of the calls.
    pub fn is_of_calls(self) -> bool {
        self < Self::Attempts
    }

    /// The number; nothing where it never came to be: no share of no calls, no time to a trip that never was.
    pub fn of(self, tally: &Tally, part: &Part) -> Option<f64> {
        let of_calls = self.is_of_calls();
        if of_calls {
            let calls: Vec<&CallFacts> = tally.calls().filter(|call| part.has(call)).collect();
            self.of_these(&calls)
        } else {
            self.of_run(tally)
        }
    }

    fn of_these(self, calls: &[&CallFacts]) -> Option<f64> {
        let count = |keep: &dyn Fn(&CallFacts) -> bool| calls.iter().filter(|call| keep(call)).count() as f64;
        let fated = |fate: Fate| count(&|call| call.fate == Some(fate));
        let share = |number: f64| (!calls.is_empty()).then(|| number / calls.len() as f64);
        let sent = || calls.iter().filter(|call| call.attempts > 0);
        let retried = |call: &CallFacts| f64::from(call.attempts.saturating_sub(1));
        match self {
            Self::Calls => Some(calls.len() as f64),
            Self::Served => Some(count(&CallFacts::is_served)),
            Self::Ok => Some(fated(Fate::Answered)),
            Self::Hits => Some(fated(Fate::Hit)),
            Self::SemanticHits => Some(count(&|call| call.meaning == Meaning::Served)),
            Self::SemanticRefused => Some(count(&|call| call.meaning == Meaning::Refused)),
            Self::Shared => Some(fated(Fate::Shared)),
            Self::Rejected => Some(fated(Fate::RateLimited)),
            Self::Refused => Some(fated(Fate::CircuitOpen)),
            Self::Failed => Some(fated(Fate::Failed)),
            Self::Cut => Some(fated(Fate::Interrupted)),
            Self::Stopped => Some(fated(Fate::Cancelled)),
            Self::ServedShare => share(count(&CallFacts::is_served)),
            Self::HitShare => share(fated(Fate::Hit)),
            Self::SharedShare => share(fated(Fate::Shared)),
            Self::RejectedShare => share(fated(Fate::RateLimited)),
            Self::RefusedShare => share(fated(Fate::CircuitOpen)),
            Self::FailedShare => share(fated(Fate::Failed) + fated(Fate::Interrupted)),
            Self::Amplification => {
                let attempts: f64 = sent().map(|call| f64::from(call.attempts)).sum();
                (attempts > 0.0).then(|| attempts / sent().count() as f64)
            }
            Self::MaxAttempts => calls.iter().map(|call| f64::from(call.attempts)).reduce(f64::max),
            // the sum of nothing is -0.0, which a report would print so
            Self::Retries => Some(calls.iter().map(|call| retried(call)).sum::<f64>() + 0.0),
            Self::SavedByRetry => Some(count(&|call| {
                call.fate == Some(Fate::Answered) && call.attempts > 1
            })),
            Self::LatencyP50 => quantile(calls, 0.5, CallFacts::served_after),
            Self::LatencyP95 => quantile(calls, 0.95, CallFacts::served_after),
            Self::LatencyP99 => quantile(calls, 0.99, CallFacts::served_after),
            Self::LatencyMax => quantile(calls, 1.0, |call| call.took),
            Self::FirstTokenP95 => quantile(calls, 0.95, |call| call.first_token),
            Self::WaitP95 => quantile(calls, 0.95, |call| Some(call.waited)),
            _ => None,
        }
    }

    fn of_run(self, tally: &Tally) -> Option<f64> {
        let whole = |number: u64| Some(number as f64);
        match self {
            Self::Attempts => whole(tally.attempts),
            Self::Faults => whole(tally.faults),
            Self::BreakerOpened => whole(tally.moves_to(BreakerState::Open)),
            Self::BreakerClosed => whole(tally.moves_to(BreakerState::Closed)),
            Self::TimeToTrip => tally.time_to_trip(),
            Self::Recovery => tally.recovery(),
            Self::TimeToClose => tally.time_to_close(),
            Self::MaxWaiting => Some(f64::from(tally.max_waiting)),
            Self::MaxParallel => Some(f64::from(tally.max_parallel)),
            Self::ChargedTokens => whole(tally.spent_tokens),
            Self::WastedTokens => whole(tally.wasted_tokens()),
            Self::SavedTokens => whole(tally.saved_tokens),
            Self::NearMisses => whole(tally.near.values().sum()),
            Self::PossibleDoubles => whole(tally.possible_doubles),
            _ => None,
        }
    }
}

/// In seconds, by a histogram: at most 1/32 above the true one.
fn quantile(
    calls: &[&CallFacts],
    quantile: f64,
    of: impl Fn(&CallFacts) -> Option<std::time::Duration>,
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
