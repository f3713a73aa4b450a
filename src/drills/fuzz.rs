//! Deterministic simulation testing: random scenarios, drawn from a seed, are checked against the invariants.
//!
//! Every case draws its own policy, callers, faults and commands, from narrow bounds: small buckets, short
//! timeouts and few calls make edge cases coincide. A case is small, so that thousands run in a minute; the same
//! seed gives the same case.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::scenario::Scene;
use super::scenario::run::{Outcome, RunError, in_virtual_time};
use super::scenario::script::{
    Arrival, Callers, Impatience, PolicyChoice, PromptMix, RequestDefaults, Scenario, UpstreamScript,
};
use super::scenario::tally::SemanticResult;
use crate::event::{BreakerMode, CallId, Command, TimedCommand, read_load};
use crate::settings::{
    BreakerSettings, Bucket, CacheSettings, Capacity, Counts, FaultKind, FaultProfile, FlightSettings,
    Jitter, LatencyProfile, LimitSettings, Policy, QueueOrder, Range, RetrySettings, SemanticMode,
    SemanticSettings, TimeoutSettings, UserLimits,
};
use crate::time::Timestamp;

/// The users of the callers.
const USERS: [&str; 5] = ["ana", "ben", "cleo", "dev", "eli"];

/// A case that violated an invariant or leaked a resource.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FuzzFailure {
    /// The seed: `seawall fuzz --seed N --count 1` runs the case alone.
    pub seed: u64,
    /// The violation.
    pub problem: String,
}

/// The result of many cases.
#[derive(Clone, Debug, Default)]
pub struct FuzzSummary {
    /// Number of cases run.
    pub cases: u64,
    /// Number of calls.
    pub calls: u64,
    /// Number of events.
    pub events: u64,
    /// Number of calls served by the semantic cache.
    pub semantic_hits: u64,
    /// The failed case with the lowest seed.
    pub failure: Option<FuzzFailure>,
}

/// Runs `count` cases from the seed `first` on, on all cores, until one fails. `done` counts cases.
pub fn run(first: u64, count: u64, done: &AtomicU64) -> FuzzSummary {
    let threads = thread::available_parallelism().map_or(1, std::num::NonZero::get) as u64;
    let next = AtomicU64::new(0);
    let stop = AtomicBool::new(false);
    let summary = Mutex::new(FuzzSummary::default());
    thread::scope(|scope| {
        for _ in 0..threads.min(count) {
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    let index = next.fetch_add(1, Ordering::Relaxed);
                    if index >= count {
                        break;
                    }
                    let seed = first.wrapping_add(index);
                    let outcome = in_virtual_time(&case(seed), None::<Vec<u8>>, &Arc::default());
                    done.fetch_add(1, Ordering::Relaxed);
                    let mut summary = summary.lock().unwrap_or_else(PoisonError::into_inner);
                    summary.add(seed, outcome);
                    stop.fetch_or(summary.failure.is_some(), Ordering::Relaxed);
                }
            });
        }
    });
    summary.into_inner().unwrap_or_else(PoisonError::into_inner)
}

impl FuzzSummary {
    fn add(&mut self, seed: u64, outcome: Result<Outcome, RunError>) {
        self.cases += 1;
        let problem = match outcome {
            Ok(outcome) => {
                let calls = || outcome.tally.calls();
                self.calls += calls().count() as u64;
                self.events += outcome.tally.events;
                let hits = calls().filter(|call| call.semantic == SemanticResult::Hit);
                self.semantic_hits += hits.count() as u64;
                let unended = calls().filter(|call| call.fate.is_none()).count();
                match (&outcome.violation, outcome.leftovers.first(), unended) {
                    (Some(violation), ..) => violation.to_string(),
                    (None, Some(leftover), _) => format!("at the end: {leftover}"),
                    (None, None, 1..) => format!("at the end: {unended} calls without a fate"),
                    (None, None, 0) => return,
                }
            }
            Err(error) => error.to_string(),
        };
        if self.failure.as_ref().is_none_or(|failure| seed < failure.seed) {
            self.failure = Some(FuzzFailure { seed, problem });
        }
    }
}

/// The case of a seed.
pub fn case(seed: u64) -> Scene {
    let mut draw = Draw(StdRng::seed_from_u64(seed));
    let duration = draw.millis(2_000, 30_000);
    let callers = (0..draw.count(1, 3)).map(|_| draw.callers(duration)).collect();
    let policies = [draw.policy("drawn"), draw.policy("other")];
    let mut commands = draw.phases(duration);
    commands.extend(draw.commands(duration, &policies));
    commands.sort_by_key(|command| command.at);
    let scenario = Scenario {
        name: format!("case {seed}"),
        about: String::new(),
        seed,
        duration,
        policy: PolicyChoice::default(),
        callers,
        requests: RequestDefaults::default(),
        upstream: UpstreamScript {
            latency: draw.latency(),
            capacity: draw.sometimes(0.3).then(|| Capacity {
                parallel: draw.count(1, 4),
                queue: draw.count(0, 8),
            }),
            phases: Vec::new(),
        },
        commands: Vec::new(),
        expectations: Vec::new(),
    };
    let [policy, _] = policies;
    Scene {
        policy,
        seed,
        commands,
        scenario,
        watch: None,
        recorded: None,
    }
}

/// Similar prompts, some of them paraphrases.
const SIMILAR: [&str; 6] = [
    "How do I cancel my berth for Friday?",
    "How can I cancel the berth for Friday?",
    "How do I cancel my berth for Monday?",
    "Cancel my berth on Friday, please: how do I do that?",
    "How do I book a berth for Friday?",
    "What does a red buoy with 3 white stripes mean?",
];

/// Draws the parts of a case.
struct Draw(StdRng);

impl Draw {
    fn sometimes(&mut self, share: f64) -> bool {
        self.0.random::<f64>() < share
    }

    fn count(&mut self, least: u32, most: u32) -> u32 {
        self.0.random_range(least..=most)
    }

    /// Log-uniform, because edge cases coincide at short times.
    fn millis(&mut self, least: u64, most: u64) -> Duration {
        let (low, high) = ((least as f64).ln(), (most as f64).ln());
        let point = low + (high - low) * self.0.random::<f64>();
        Duration::from_millis((point.exp() as u64).clamp(least, most))
    }

    fn one_of<X: Clone>(&mut self, choices: &[X]) -> X {
        let index = self.0.random_range(0..choices.len());
        choices[index].clone()
    }

    fn callers(&mut self, duration: Duration) -> Callers {
        let from = duration.mul_f64(self.0.random::<f64>() * 0.5);
        let seconds = duration.saturating_sub(from).as_secs_f64();
        let arrival = match self.count(0, 3) {
            0 => Arrival::Steady {
                per_s: f64::from(self.count(1, 24)) / seconds,
            },
            1 => Arrival::Poisson {
                per_s: f64::from(self.count(1, 24)) / seconds,
            },
            2 => Arrival::Burst {
                calls: self.one_of(&[1, 4, 12, 24]),
                every: self.sometimes(0.3).then_some(duration / 3),
            },
            _ => Arrival::Closed {
                workers: self.count(1, 3),
                think: self.millis(500, 10_000),
            },
        };
        Callers {
            users: USERS[..self.one_of(&[1, 1, 2, 5])]
                .iter()
                .map(ToString::to_string)
                .collect(),
            arrival,
            from,
            until: None,
            prompts: PromptMix {
                distinct: self.one_of(&[1, 2, 4, 6, 6]),
                skew: self.one_of(&[0.0, 1.0, 2.0]),
                list: if self.sometimes(0.7) {
                    SIMILAR.map(ToOwned::to_owned).to_vec()
                } else {
                    Vec::new()
                },
                repeat: self.sometimes(0.1).then_some(0.5),
            },
            system: self.one_of(&[
                None,
                None,
                Some("Help.".into()),
                Some("Help. It is {time}.".into()),
            ]),
            temperature: self.one_of(&[0.0, 0.0, 0.0, 0.7]),
            max_tokens: self.one_of(&[1, 3, 8, 8]),
            stream: self.sometimes(0.8),
            deadline: self.sometimes(0.3).then(|| self.millis(5, 10_000)),
            impatience: self.sometimes(0.4).then(|| Impatience {
                share: 0.5,
                within: self.millis(1, 5_000),
            }),
            keys: self.one_of(&[0, 0, 0, 2]),
            fresh: self.sometimes(0.1),
        }
    }

    fn latency(&mut self) -> LatencyProfile {
        let range = |most: u64| Range {
            min_ms: most / 4,
            max_ms: most,
        };
        LatencyProfile {
            first_token: range(self.one_of(&[0, 40, 400, 3_000])),
            between_tokens: range(self.one_of(&[0, 4, 40, 400])),
        }
    }

    /// Up to three phases of faults that do not overlap.
    fn phases(&mut self, duration: Duration) -> Vec<TimedCommand> {
        let count = self.count(0, 3);
        let slot = duration / count.max(1);
        let mut commands = Vec::new();
        for index in 0..count {
            let from = slot * index + slot.mul_f64(self.0.random::<f64>() * 0.5);
            let until = from + slot.mul_f64(0.01 + self.0.random::<f64>() * 0.48);
            let profile = Box::new(self.rates());
            for (at, command) in [
                (from, Command::SetFaultProfile { profile }),
                (from, Command::SetFaults { on: true }),
                (until, Command::SetFaults { on: false }),
            ] {
                let at = Timestamp::ZERO + at;
                commands.push(TimedCommand { at, command });
            }
        }
        commands
    }

    /// Up to four kinds of fault, with a total rate of 0.2 to 1.
    fn rates(&mut self) -> FaultProfile {
        let mut rates = FaultProfile {
            name: "drawn".into(),
            retry_after: self.one_of(&[0, 1, 2, 200]),
            stall_for: self.millis(10, 20_000),
            cut_after: self.count(0, 4),
            drip_factor: self.count(1, 10),
            latency: self.sometimes(0.2).then(|| self.latency()),
            capacity: self.sometimes(0.1).then(|| Capacity {
                parallel: self.count(1, 4),
                queue: self.count(0, 8),
            }),
            ..FaultProfile::default()
        };
        for _ in 0..self.count(1, 4) {
            let kind = self.one_of(&FaultKind::ALL);
            rates.set_rate(kind, self.0.random());
        }
        let total = self.one_of(&[0.2, 0.7, 1.0]);
        rates.scale_to(total);
        rates
    }

    fn commands(&mut self, duration: Duration, policies: &[Policy]) -> Vec<TimedCommand> {
        let breaker = |mode| Command::SetBreaker { mode };
        let apply = |policy: &Policy| Command::ApplyPolicy {
            policy: Box::new(policy.clone()),
        };
        let mut choices = vec![
            breaker(BreakerMode::ForcedOpen),
            breaker(BreakerMode::ForcedClosed),
            breaker(BreakerMode::Automatic),
            Command::ResetBreaker,
            Command::SetCache { on: true },
            Command::SetCache { on: false },
            Command::ClearCache,
            Command::LabelHit {
                call: CallId(u64::from(self.count(1, 20))),
                good: self.sometimes(0.3),
            },
            Command::CancelAll,
            Command::ChangeSettings {
                settings: vec!["retry.attempts=4".into(), "limit.max_waiters=3".into()],
            },
            Command::Suspend {
                gap: self.millis(10, 100_000),
            },
        ];
        for load in ["3/s repeat 50%", "20/s 2s poisson as ana", "1..10/s 5s", "off"] {
            let load = read_load(load).unwrap_or_default();
            choices.push(Command::SetLoad { load });
        }
        let modes = [SemanticMode::Off, SemanticMode::On, SemanticMode::Shadow];
        choices.extend(modes.map(|mode| Command::SetSemantic { mode }));
        choices.extend([QueueOrder::Fifo, QueueOrder::Fair].map(|order| Command::SetQueueOrder { order }));
        choices.extend(policies.iter().map(apply));
        let count = self.one_of(&[0, 0, 1, 2, 5]);
        let command = |draw: &mut Self| TimedCommand {
            at: Timestamp::ZERO + duration.mul_f64(draw.0.random()),
            command: draw.one_of(&choices),
        };
        (0..count).map(|_| command(self)).collect()
    }

    fn policy(&mut self, name: &str) -> Policy {
        Policy {
            name: name.into(),
            cache: CacheSettings {
                enabled: self.sometimes(0.9),
                ttl: if self.sometimes(0.5) {
                    self.millis(1, 60_000)
                } else {
                    Duration::from_mins(1)
                },
                max_bytes: self.one_of(&[0, 1_100, 4_000, 1_000_000, 1_000_000]),
                max_entry_bytes: self.one_of(&[1_100, 1 << 20, 1 << 20]),
                store_all: self.sometimes(0.2),
            },
            semantic: self.semantic(),
            flight: FlightSettings {
                enabled: self.sometimes(0.8),
                replay_ttl: self.millis(1, 60_000),
                max_results: self.one_of(&[0, 1, 1024]),
            },
            retry: self.retry(),
            limit: self.limit(),
            breaker: self.breaker(),
            timeouts: self.timeouts(),
        }
    }

    /// Timeouts so short that most calls fail, or long enough for answers.
    fn timeouts(&mut self) -> TimeoutSettings {
        let least = if self.sometimes(0.4) { 5 } else { 4_000 };
        TimeoutSettings {
            call: self.millis(least.max(20), 60_000),
            connect: self.millis(least.min(10), 5_000),
            headers: self.millis(least, 10_000),
            byte_idle: self.millis(least, 10_000),
            event_idle: self.millis(least, 20_000),
            after_finish: self.millis(least.min(100), 10_000),
            max_response_bytes: self.one_of(&[300, 1 << 20, 1 << 20, 1 << 20]),
        }
    }

    fn semantic(&mut self) -> SemanticSettings {
        SemanticSettings {
            mode: self.one_of(&[
                SemanticMode::Off,
                SemanticMode::On,
                SemanticMode::On,
                SemanticMode::On,
                SemanticMode::Shadow,
            ]),
            threshold: Some(self.one_of(&[0.05, 0.3, 0.6, 0.8, 1.0])),
            guards: self.sometimes(0.3),
            max_entries: self.one_of(&[1, 2, 1_000]),
            ..SemanticSettings::default()
        }
    }

    fn retry(&mut self) -> RetrySettings {
        let base = self.millis(1, 2_000);
        RetrySettings {
            attempts: self.count(1, 5),
            max_ambiguous_retries: self.count(0, 3),
            base,
            cap: base * self.count(1, 8),
            jitter: self.one_of(&[Jitter::Full, Jitter::Equal, Jitter::Proportional, Jitter::None]),
            obey_hints: self.sometimes(0.8),
            max_hint: self.millis(100, 120_000),
            budget_ratio: self.one_of(&[0.0, 0.2, 1.0]),
            budget_min_per_s: self.one_of(&[0.0, 0.1, 1.0]),
            budget_ttl: self.millis(100, 20_000),
        }
    }

    fn limit(&mut self) -> LimitSettings {
        LimitSettings {
            enabled: self.sometimes(0.8),
            requests: Bucket {
                capacity: u64::from(self.count(1, 10)),
                refill: u64::from(self.count(1, 20)),
                per: self.millis(100, 10_000),
            },
            tokens: Bucket {
                capacity: u64::from(self.count(10, 500)),
                refill: u64::from(self.count(10, 1_000)),
                per: self.millis(100, 10_000),
            },
            concurrency: self.count(1, 6),
            max_waiters: self.one_of(&[0, 2, 3, 4, 6, 10]),
            max_wait: if self.sometimes(0.5) {
                self.millis(1, 60_000)
            } else {
                Duration::from_mins(1)
            },
            default_answer_tokens: 16,
            charges: self.one_of(&[Counts::Attempt, Counts::Attempt, Counts::Call]),
            order: self.one_of(&[QueueOrder::Fair, QueueOrder::Fair, QueueOrder::Fifo]),
            each_user: self.user_limits(),
            users: self.named_users(),
            max_users: self.one_of(&[1, 2, 3, 1000, 1000]),
        }
    }

    fn named_users(&mut self) -> BTreeMap<String, UserLimits> {
        let count = self.one_of(&[0, 0, 1, 3]);
        let named = USERS.iter().rev().take(count);
        named
            .map(|name| ((*name).to_owned(), self.user_limits()))
            .collect()
    }

    /// Rarely any: a call that waits for its own user's bucket does not wait for another user.
    fn user_limits(&mut self) -> UserLimits {
        UserLimits {
            requests: self.sometimes(0.3).then(|| Bucket {
                capacity: u64::from(self.count(1, 5)),
                refill: u64::from(self.count(1, 10)),
                per: self.millis(100, 10_000),
            }),
            tokens: self.sometimes(0.2).then(|| Bucket {
                capacity: u64::from(self.count(10, 200)),
                refill: u64::from(self.count(10, 500)),
                per: self.millis(100, 10_000),
            }),
            weight: self.one_of(&[1, 1, 2, 7]),
        }
    }

    fn breaker(&mut self) -> BreakerSettings {
        let open = self.millis(10, 5_000);
        BreakerSettings {
            enabled: self.sometimes(0.9),
            counts: self.one_of(&[Counts::Attempt, Counts::Attempt, Counts::Call]),
            window: self.millis(100, 30_000),
            min_calls: self.count(1, 6),
            failure_rate: self.one_of(&[0.1, 0.5, 1.0]),
            consecutive: self.count(1, 6),
            slow_after: self.millis(10, 5_000),
            slow_rate: self.one_of(&[0.3, 0.8, 2.0]),
            open,
            open_max: open * self.count(1, 8),
            open_jitter: self.one_of(&[0.0, 0.1, 1.0]),
            successes_to_close: self.count(1, 3),
            probe_lease: self.millis(10, 20_000),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::drills::scenario::{command, validate};

    #[test]
    fn every_case_is_a_valid_scenario() {
        for seed in 0..500 {
            let scene = case(seed);
            assert_eq!(scene.policy.validate(), Ok(()), "case {seed}");
            assert_eq!(validate(&scene.scenario), Ok(()), "case {seed}");
            assert_eq!(
                command::validate(&scene.commands, &scene.policy),
                Ok(()),
                "case {seed}"
            );
            for TimedCommand { command, .. } in &scene.commands {
                match command {
                    Command::ApplyPolicy { policy } => assert_eq!(policy.validate(), Ok(()), "case {seed}"),
                    Command::SetFaultProfile { profile } => {
                        assert_eq!(profile.validate(), Ok(()), "case {seed}");
                    }
                    _ => {}
                }
            }
        }
    }

    #[test]
    fn two_thousand_cases_keep_every_invariant() {
        let summary = run(0, 2_000, &AtomicU64::new(0));
        assert_eq!(summary.failure, None);
        assert_eq!(summary.cases, 2_000);
        // cases in which nothing happens would prove nothing
        assert!(summary.calls > 20_000, "{summary:?}");
        assert!(summary.semantic_hits > 100, "{summary:?}");
    }

    #[test]
    fn the_same_seed_gives_the_same_journal_to_the_last_byte() {
        for seed in 0..40 {
            let journal = || {
                let file = tempfile::NamedTempFile::new().unwrap();
                let out = file.reopen().unwrap();
                in_virtual_time(&case(seed), Some(out), &Arc::default()).unwrap();
                std::fs::read(file.path()).unwrap()
            };
            assert_eq!(journal(), journal(), "case {seed}");
        }
    }
}
