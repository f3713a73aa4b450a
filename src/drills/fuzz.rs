//! Random worlds: scenarios that nobody would think of, drawn from a seed, to find what breaks a promise.
//!
//! Every world draws its own guards, callers, illnesses and commands, from bounds that are narrow on purpose:
//! small buckets, short clocks and few calls make the corners meet. A world is small, so that thousands fit into
//! a minute; the same seed is the same world.

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
    Arrival, Callers, FaultPhase, Impatience, Person, PolicyChoice, PromptMix, Scenario, UpstreamScript,
};
use super::scenario::tally::Meaning;
use super::scenario::wish::{TimedCommand, Wish};
use crate::settings::{
    BreakerSettings, Bucket, CacheSettings, Capacity, Counts, FaultKind, FaultProfile, FlightSettings,
    Jitter, LatencyProfile, LimitSettings, Policy, QueueOrder, Range, RetrySettings, SemanticMode,
    SemanticSettings, TimeoutSettings, UserLimits,
};

/// Who calls.
const USERS: [&str; 5] = ["ana", "ben", "cleo", "dev", "eli"];

/// A world that broke a promise, or left something behind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Broken {
    /// Its seed: `seawall worlds --seed N --count 1` plays it alone.
    pub seed: u64,
    /// What was broken.
    pub how: String,
}

/// What a look at many worlds found.
#[derive(Clone, Debug, Default)]
pub struct Explored {
    /// Worlds played.
    pub worlds: u64,
    /// Calls made in them.
    pub calls: u64,
    /// Events told in them.
    pub events: u64,
    /// Calls in them that got the answer to another prompt.
    pub semantic_hits: u64,
    /// The first broken one, by seed, as far as was looked.
    pub broken: Option<Broken>,
}

/// Plays `count` worlds from this seed on, on all cores, until one is broken.
pub fn explore(first: u64, count: u64, played: &AtomicU64) -> Explored {
    let threads = thread::available_parallelism().map_or(1, std::num::NonZero::get) as u64;
    let next = AtomicU64::new(0);
    let stop = AtomicBool::new(false);
    let explored = Mutex::new(Explored::default());
    thread::scope(|scope| {
        for _ in 0..threads.min(count) {
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    let index = next.fetch_add(1, Ordering::Relaxed);
                    if index >= count {
                        break;
                    }
                    let seed = first.wrapping_add(index);
                    let outcome = in_virtual_time(&world(seed), None::<Vec<u8>>, &Arc::default());
                    played.fetch_add(1, Ordering::Relaxed);
                    let mut explored = explored.lock().unwrap_or_else(PoisonError::into_inner);
                    explored.add(seed, outcome);
                    stop.fetch_or(explored.broken.is_some(), Ordering::Relaxed);
                }
            });
        }
    });
    explored.into_inner().unwrap_or_else(PoisonError::into_inner)
}

impl Explored {
    fn add(&mut self, seed: u64, outcome: Result<Outcome, RunError>) {
        self.worlds += 1;
        let how = match outcome {
            Ok(outcome) => {
                self.calls += outcome.tally.calls().count() as u64;
                self.events += outcome.tally.events;
                let by_meaning = { outcome.tally.calls() }.filter(|call| call.meaning == Meaning::Served);
                self.semantic_hits += by_meaning.count() as u64;
                let unended = outcome.tally.calls().filter(|call| call.fate.is_none()).count();
                match (&outcome.violation, outcome.leftovers.first(), unended) {
                    (Some(violation), ..) => violation.to_string(),
                    (None, Some(leftover), _) => format!("at the end {leftover}"),
                    (None, None, 1..) => format!("{unended} calls have no fate"),
                    (None, None, 0) => return,
                }
            }
            Err(error) => error.to_string(),
        };
        if self.broken.as_ref().is_none_or(|broken| seed < broken.seed) {
            self.broken = Some(Broken { seed, how });
        }
    }
}

/// The world of this seed.
pub fn world(seed: u64) -> Scene {
    let mut draw = Draw(StdRng::seed_from_u64(seed));
    let duration = draw.millis(2_000, 30_000);
    let callers = (0..draw.count(1, 3)).map(|_| draw.callers(duration)).collect();
    let (phases, commands) = (draw.phases(duration), draw.commands(duration));
    let scenario = Scenario {
        name: format!("world {seed}"),
        about: String::new(),
        seed,
        duration,
        policy: PolicyChoice::default(),
        callers,
        person: Person::default(),
        upstream: UpstreamScript {
            latency: draw.latency(),
            capacity: draw.sometimes(0.3).then(|| Capacity {
                parallel: draw.count(1, 4),
                queue: draw.count(0, 8),
            }),
            phases: phases.iter().map(|(phase, _)| phase.clone()).collect(),
        },
        commands,
        expectations: Vec::new(),
    };
    let policy = draw.policy("drawn");
    Scene {
        policies: vec![
            ("other".into(), draw.policy("other")),
            ("drawn".into(), policy.clone()),
        ],
        policy,
        seed,
        phases,
        scenario,
        watch: None,
        recorded: None,
    }
}

/// Prompts that are near each other, some of which mean the same.
const NEAR: [&str; 6] = [
    "How do I cancel my berth for Friday?",
    "How can I cancel the berth for Friday?",
    "How do I cancel my berth for Monday?",
    "Cancel my berth on Friday, please: how do I do that?",
    "How do I book a berth for Friday?",
    "What does a red buoy with 3 white stripes mean?",
];

/// Chance, in the words of a world.
struct Draw(StdRng);

impl Draw {
    fn sometimes(&mut self, share: f64) -> bool {
        self.0.random::<f64>() < share
    }

    fn count(&mut self, least: u32, most: u32) -> u32 {
        self.0.random_range(least..=most)
    }

    /// As likely within each order of magnitude: short times are where things meet.
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
                    NEAR.map(ToOwned::to_owned).to_vec()
                } else {
                    Vec::new()
                },
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

    fn phases(&mut self, duration: Duration) -> Vec<(FaultPhase, FaultProfile)> {
        let count = self.count(0, 3);
        let slot = duration / count.max(1);
        let phase = |draw: &mut Self, index: u32| {
            let from = slot * index + slot.mul_f64(draw.0.random::<f64>() * 0.5);
            let until = from + slot.mul_f64(0.01 + draw.0.random::<f64>() * 0.48);
            let rates = draw.rates();
            let phase = FaultPhase {
                from,
                until,
                faults: None,
                rates: Some(rates.clone()),
            };
            (phase, rates)
        };
        (0..count).map(|index| phase(self, index)).collect()
    }

    /// A few kinds of fault, rare or certain.
    fn rates(&mut self) -> FaultProfile {
        let mut rates = FaultProfile {
            name: "drawn".into(),
            retry_after: self.one_of(&[0, 1, 2, 200]),
            stall_for: self.millis(10, 20_000),
            cut_after: self.count(0, 4),
            drip_factor: self.count(1, 10),
            latency: self.sometimes(0.2).then(|| self.latency()),
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

    fn commands(&mut self, duration: Duration) -> Vec<TimedCommand> {
        let wishes = [
            Wish::ForceOpen,
            Wish::ForceClosed,
            Wish::Automatic,
            Wish::ResetBreaker,
            Wish::CacheOn,
            Wish::CacheOff,
            Wish::ClearCache,
            Wish::Semantic(SemanticMode::Off),
            Wish::Semantic(SemanticMode::On),
            Wish::Semantic(SemanticMode::Shadow),
            Wish::Label {
                call: u64::from(self.count(1, 20)),
                good: self.sometimes(0.3),
            },
            Wish::CancelAll,
            Wish::SetOrder(QueueOrder::Fifo),
            Wish::SetOrder(QueueOrder::Fair),
            Wish::ApplyPolicy("other".into()),
            Wish::ApplyPolicy("drawn".into()),
            Wish::Set(vec!["retry.attempts=4".into(), "limit.max_waiters=3".into()]),
            Wish::Suspend(self.millis(10, 100_000)),
        ];
        let count = self.one_of(&[0, 0, 1, 2, 5]);
        let command = |draw: &mut Self| TimedCommand {
            at: duration.mul_f64(draw.0.random()),
            wish: draw.one_of(&wishes),
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

    /// Short ones, which end most calls, or such that answers come.
    fn timeouts(&mut self) -> TimeoutSettings {
        let least = if self.sometimes(0.4) { 5 } else { 4_000 };
        TimeoutSettings {
            call: self.millis(least.max(20), 60_000),
            connect: self.millis(least.min(10), 5_000),
            headers: self.millis(least, 10_000),
            byte_idle: self.millis(least, 10_000),
            event_idle: self.millis(least, 20_000),
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

    /// Rarely any at all: where all wait for themselves, nobody waits for another one.
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

    #[test]
    fn every_world_is_one_that_a_file_could_describe() {
        for seed in 0..500 {
            let scene = world(seed);
            for policy in [&scene.policy, &scene.policies[0].1] {
                assert_eq!(policy.validate(), Ok(()), "world {seed}");
            }
            assert_eq!(
                crate::drills::scenario::validate(&scene.scenario),
                Ok(()),
                "world {seed}"
            );
            for (_, rates) in &scene.phases {
                assert_eq!(rates.validate(), Ok(()), "world {seed}");
            }
        }
    }

    #[test]
    fn two_thousand_worlds_keep_every_promise() {
        let explored = explore(0, 2_000, &AtomicU64::new(0));
        assert_eq!(explored.broken, None);
        assert_eq!(explored.worlds, 2_000);
        // worlds in which nothing happens would prove nothing
        assert!(explored.calls > 20_000, "{explored:?}");
        assert!(explored.semantic_hits > 200, "{explored:?}");
    }

    #[test]
    fn the_same_seed_is_the_same_world_to_the_last_byte() {
        for seed in 0..40 {
            let journal = || {
                let file = tempfile::NamedTempFile::new().unwrap();
                let out = file.reopen().unwrap();
                in_virtual_time(&world(seed), Some(out), &Arc::default()).unwrap();
                std::fs::read(file.path()).unwrap()
            };
            assert_eq!(journal(), journal(), "world {seed}");
        }
    }
}
