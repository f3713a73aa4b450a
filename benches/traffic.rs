//! The events of a session of 10,000 calls: chats, bursts, hits, streams, retries and outages, made by the engine
//! and the client with the simulator, in virtual time.

use std::future::Future;
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use seawall::client::{Env, ResilientClient, Transport as _};
use seawall::event::{BurstUsers, CallId, Command, Event, EventKind, FORMAT_VERSION, Observer, UserId};
use seawall::session::USERS;
use seawall::session::engine::{Engine, RequestStyle};
use seawall::settings::{Bucket, FaultProfile, LatencyProfile, Policy};
use seawall::simulator::FaultControl;
use seawall::simulator::LocalTransport;
use seawall::state::State;
use seawall::time::Clock;

const SEED: u64 = 7;
const BURSTS: u32 = 20;
const CALLS_EACH: u32 = 499;

/// The events of 10,000 calls.
pub(crate) struct Traffic {
    pub(crate) events: Vec<Event>,
    /// Number of events before the last burst: 9,500 calls, all ended.
    pub(crate) before_last: usize,
    /// Number of events in the middle of the last burst: most of its calls run.
    pub(crate) in_the_middle: usize,
}

pub(crate) static TRAFFIC: LazyLock<Traffic> = LazyLock::new(|| virtually(session()));

impl Traffic {
    /// The state after this number of events.
    pub(crate) fn state(&self, events: usize) -> State {
        let mut state = State::default();
        for event in self.events.iter().take(events) {
            state.apply(event);
        }
        state
    }

    /// The final state.
    pub(crate) fn whole(&self) -> State {
        self.state(self.events.len())
    }
}

/// Runs `work` to its end in virtual time.
pub(crate) fn virtually<T>(work: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build();
    match runtime {
        Ok(runtime) => runtime.block_on(work),
        Err(error) => unreachable!("a runtime without sockets uses no resources: {error}"),
    }
}

/// A policy whose limiter admits nearly everything.
pub(crate) fn wide() -> Policy {
    let mut policy = Policy::default();
    let bucket = Bucket {
        capacity: 10_000_000,
        refill: 1_000_000,
        per: Duration::from_secs(1),
    };
    policy.limit.requests = bucket.clone();
    policy.limit.tokens = bucket;
    policy.limit.max_waiters = 100_000;
    policy
}

/// Collects events, with time and number as the bus assigns them.
#[derive(Clone)]
struct Recorder {
    clock: Clock,
    events: Arc<Mutex<Vec<Event>>>,
}

impl Recorder {
    fn lock(&self) -> MutexGuard<'_, Vec<Event>> {
        self.events.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Observer for Recorder {
    fn emit(&self, call: Option<CallId>, kind: EventKind) {
        let mut events = self.lock();
        let event = Event {
            seq: events.len() as u64,
            at: self.clock.now(),
            call,
            kind,
        };
        events.push(event);
    }
}

/// The parts of a session.
struct Rig {
    clock: Clock,
    env: Env,
    recorder: Recorder,
    engine: Engine<LocalTransport, Recorder>,
}

impl Rig {
    fn new(policy: Policy, prompts: &[&str]) -> Self {
        let clock = Clock::start();
        let env = Env::new(clock, SEED);
        let recorder = Recorder {
            clock,
            events: Arc::default(),
        };
        let mut outage = FaultProfile::default();
        outage.name = "outage".into();
        outage.unavailable = 0.4;
        outage.rate_limited = 0.1;
        outage.cut = 0.1;
        let faults = FaultControl::new(outage, false);
        let transport = LocalTransport::new(SEED, LatencyProfile::default(), faults.clone(), clock);
        recorder.emit(
            None,
            EventKind::SessionStarted {
                format: FORMAT_VERSION,
                seed: SEED,
                upstream: transport.info(),
                simulator: None,
            },
        );
        let client = ResilientClient::new(policy, transport, recorder.clone(), env.clone());
        let style = RequestStyle {
            model: None,
            answer_tokens: 256,
            limit_field: "max_tokens",
            simulated: true,
            prompts: prompts.iter().map(|prompt| (*prompt).to_owned()).collect(),
            repeat: 0.4,
            users: USERS.iter().map(|name| UserId::new(name)).collect(),
        };
        let engine = Engine::new(client, recorder.clone(), env.clone(), faults, style);
        Self {
            clock,
            env,
            recorder,
            engine,
        }
    }

    fn burst(&self, calls: u32) {
        let users = BurstUsers::All;
        self.engine.execute(Command::Burst { calls, users });
    }
}

async fn session() -> Traffic {
    let rig = Rig::new(wide(), &[]);
    let (mut before_last, mut in_the_middle) = (0, 0);
    for burst in 1..=BURSTS {
        // a third of the bursts with the cache, a fifth in an outage, the last one with neither
        let last = burst == BURSTS;
        rig.engine.execute(Command::SetCache {
            on: burst % 3 == 0 && !last,
        });
        rig.engine.execute(Command::SetFaults {
            on: burst % 5 == 0 && !last,
        });
        before_last = rig.recorder.lock().len();
        rig.engine.execute(Command::Send {
            prompt: "What is a token bucket, and what does it do when it is empty?".into(),
            user: UserId::new(USERS[0]),
            conversation: false,
        });
        rig.burst(CALLS_EACH);
        rig.clock.sleep(Duration::from_secs(2)).await;
        in_the_middle = rig.recorder.lock().len();
        rig.clock.sleep(Duration::from_mins(2)).await;
    }
    rig.env.join().await;
    let events = std::mem::take(&mut *rig.recorder.lock());
    Traffic {
        events,
        before_last,
        in_the_middle,
    }
}

/// The state with 10,000 running calls: a few are sent, the others are queued.
pub(crate) fn all_running() -> State {
    let mut policy = wide();
    policy.cache.enabled = false;
    policy.flight.enabled = false;
    running(policy, &[])
}

/// The state with 10,000 running calls that share the flight of their user.
pub(crate) fn all_sharing() -> State {
    running(wide(), &["What is a token bucket?"])
}

fn running(policy: Policy, prompts: &[&str]) -> State {
    virtually(async {
        let rig = Rig::new(policy, prompts);
        rig.burst(10_000);
        rig.clock.sleep(Duration::from_millis(5)).await;
        let mut state = State::default();
        for event in rig.recorder.lock().iter() {
            state.apply(event);
        }
        state
    })
}
