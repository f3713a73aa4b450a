//! A drill by hand, kept as a scenario: what a person commanded, when, and what came of it.
//!
//! ```text
//!  Engine::obey --ear--> commands --+
//!                                   +--> Drill --text--> scenario --headless--> which bounds hold --> file
//!  Bus ---------tap----> Tally -----+
//! ```
//!
//! A run in virtual time differs a little from the live one: nobody waits for sockets there. So a drill is played
//! once before it is kept, and an expectation that does not hold headless is left out, with a line that says so.

mod expect;
mod save;
mod text;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

pub use save::{Place, SaveError, Saved};

use url::Url;

use crate::client::host_of;
use crate::drills::scenario::{BurstOf, Faults, Person, Prompt, Tally, TimedCommand, Wish};
use crate::event::{BreakerMode, BurstUsers, Command, EventKind};
use crate::session::SessionConfig;
use crate::session::bus::Tap;
use crate::session::engine::CommandObserver;
use crate::settings::{Capacity, FaultProfile, LatencyProfile, Policy};
use crate::time::Timestamp;

/// More commands are not kept: nobody would read them.
const MOST_COMMANDS: usize = 10_000;
/// More calls are not added up: the tally forgets none, and memory has an end.
const MOST_CALLS: u64 = 100_000;
/// Times are kept to this.
const GRAIN: Duration = Duration::from_millis(10);

/// What a session started with.
#[derive(Clone, Debug)]
struct World {
    seed: u64,
    policy: Policy,
    latency: LatencyProfile,
    capacity: Option<Capacity>,
    person: Person,
    /// The host that answered; nothing for the simulator.
    upstream: Option<String>,
    /// The host that embedded, where the semantic cache did not do it for itself.
    embedder: Option<String>,
}

/// Hears a session. Cheap to clone; clones keep the same drill.
#[derive(Clone, Debug)]
pub struct Recorder {
    world: Arc<World>,
    heard: Arc<Mutex<Heard>>,
}

#[derive(Debug)]
struct Heard {
    commands: Vec<TimedCommand>,
    /// The faults that are chosen, and whether they are made.
    faults: FaultProfile,
    faults_on: bool,
    /// The policy in force.
    policy: Policy,
    tally: Tally,
    calls: u64,
    /// The session has ended: what ran was stopped.
    ended: bool,
    /// Something was not kept.
    is_full: bool,
}

/// What was done up to a moment.
#[derive(Clone, Debug)]
pub struct Drill {
    world: Arc<World>,
    commands: Vec<TimedCommand>,
    tally: Tally,
    calls: u64,
    /// Calls that had not ended.
    running: usize,
    duration: Duration,
    is_full: bool,
}

impl Recorder {
    /// A recorder for a session that starts so.
    pub fn new(config: &SessionConfig) -> Self {
        let mut policy = config.policy.clone();
        // a headless run asks no other host; with it goes the threshold that suits it
        let embedder = policy.semantic.embedder.take().map(|url| {
            let url = Url::parse(&url);
            url.map_or_else(|_| "another host".to_owned(), |url| host_of(&url))
        });
        let world = World {
            seed: config.seed,
            policy,
            embedder,
            latency: config.latency,
            capacity: config.capacity,
            person: Person {
                users: config.users.iter().map(ToString::to_string).collect(),
                answer_tokens: config.answer_tokens,
                model: config.model.clone(),
            },
            upstream: config.upstream.as_ref().map(|upstream| host_of(&upstream.url)),
        };
        let mut heard = Heard {
            commands: Vec::new(),
            faults: config.faults.clone(),
            faults_on: config.faults_on,
            policy: config.policy.clone(),
            tally: Tally::default(),
            calls: 0,
            ended: false,
            is_full: false,
        };
        if config.faults_on {
            let wish = heard.faults_now();
            heard.commands.push(TimedCommand {
                at: Duration::ZERO,
                wish,
            });
        }
        Self {
            world: Arc::new(world),
            heard: Arc::new(Mutex::new(heard)),
        }
    }

    /// What the bus must call with every event.
    pub fn tap(&self) -> Tap {
        let recorder = self.clone();
        Box::new(move |event| {
            let mut heard = recorder.lock();
            heard.calls += u64::from(matches!(event.kind, EventKind::CallStarted { .. }));
            if heard.calls > MOST_CALLS {
                heard.is_full = true;
                heard.tally = Tally::default();
            } else {
                heard.tally.take(event);
            }
        })
    }

    /// What the person's engine must be heard by.
    pub fn ear(&self) -> Arc<dyn CommandObserver> {
        Arc::new(self.clone())
    }

    /// What was done until now.
    pub fn drill(&self, now: Timestamp) -> Drill {
        let heard = self.lock();
        let last = heard.commands.last().map(|command| command.at);
        Drill {
            world: Arc::clone(&self.world),
            commands: heard.commands.clone(),
            tally: heard.tally.clone(),
            calls: heard.calls,
            running: heard.tally.calls().filter(|call| call.fate.is_none()).count(),
            // a scenario lasts longer than nothing, and as long as its last command
            duration: rounded(now.since(Timestamp::ZERO))
                .max(last.unwrap_or_default())
                .max(GRAIN),
            is_full: heard.is_full,
        }
    }

    /// The session ends now, if it has not: what runs is stopped with it, as by a command.
    pub fn end(&self, now: Timestamp) {
        self.on_command(now, &Command::Shutdown);
    }

    fn lock(&self) -> MutexGuard<'_, Heard> {
        self.heard.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl CommandObserver for Recorder {
    fn on_command(&self, at: Timestamp, command: &Command) {
        let mut heard = self.lock();
        let Some(wish) = heard.wish(command) else { return };
        if heard.commands.len() < MOST_COMMANDS {
            heard.commands.push(TimedCommand {
                at: rounded(at.since(Timestamp::ZERO)),
                wish,
            });
        } else {
            heard.is_full = true;
        }
    }
}

impl Heard {
    /// The command as a scenario says it.
    fn wish(&mut self, command: &Command) -> Option<Wish> {
        Some(match command.clone() {
            Command::Send {
                prompt,
                user,
                conversation,
            } => Wish::Send(Prompt {
                prompt,
                user: user.to_string(),
                conversation,
            }),
            Command::Burst { calls, users } => Wish::Burst(BurstOf {
                calls,
                user: match users {
                    BurstUsers::One(user) => Some(user.to_string()),
                    BurstUsers::All => None,
                },
            }),
            Command::Cancel { call } => Wish::Cancel(call.0),
            Command::CancelAll => Wish::CancelAll,
            Command::ForgetConversation => Wish::ForgetConversation,
            Command::SetFaults { on } => {
                self.faults_on = on;
                self.faults_now()
            }
            Command::SetFaultProfile { profile } => {
                self.faults = *profile;
                if !self.faults_on {
                    // nothing is made of it until it is switched on, and then it is named
                    return None;
                }
                self.faults_now()
            }
            Command::SetCache { on } => {
                self.policy.cache.enabled = on;
                if on { Wish::CacheOn } else { Wish::CacheOff }
            }
            Command::ClearCache => Wish::ClearCache,
            Command::SetSemantic { mode } => {
                self.policy.semantic.mode = mode;
                Wish::Semantic(mode)
            }
            Command::LabelHit { call, good } => Wish::Label { call: call.0, good },
            Command::SetQueueOrder { order } => {
                self.policy.limit.order = order;
                Wish::SetOrder(order)
            }
            Command::ApplyPolicy { policy } => {
                let changes = self.policy.changes(&policy).into_iter();
                let changes: Vec<String> = changes.map(|(path, value)| format!("{path}={value}")).collect();
                self.policy = *policy;
                if changes.is_empty() {
                    return None;
                }
                Wish::Set(changes)
            }
            Command::SetBreaker { mode } => match mode {
                BreakerMode::ForcedOpen => Wish::ForceOpen,
                BreakerMode::ForcedClosed => Wish::ForceClosed,
                BreakerMode::Automatic => Wish::Automatic,
            },
            Command::ResetBreaker => Wish::ResetBreaker,
            Command::Shutdown => {
                let ended = std::mem::replace(&mut self.ended, true);
                let running = self.tally.calls().any(|call| call.fate.is_none());
                if ended || !running {
                    return None;
                }
                Wish::CancelAll
            }
            // looking at a copy changes nothing
            Command::EvaluatePolicy { .. } => return None,
        })
    }

    /// While faults are made, which; while they are not, only that: they are named when they are switched on.
    fn faults_now(&self) -> Wish {
        let rates = self.faults_on.then(|| Box::new(self.faults.clone()));
        Wish::Faults(Faults {
            on: self.faults_on,
            profile: None,
            rates,
        })
    }
}

/// To the nearest [`GRAIN`].
fn rounded(time: Duration) -> Duration {
    let grain = GRAIN.as_millis() as u64;
    let millis = u64::try_from((time + GRAIN / 2).as_millis()).unwrap_or(u64::MAX);
    Duration::from_millis(millis / grain * grain)
}

#[cfg(test)]
mod tests;
