//! Records a live session as a scenario: the commands, their times and the observed results.
//!
//! ```text
//!  Engine --observer--> commands --+
//!                                  +--> Drill --text--> scenario --headless run--> bounds that hold --> file
//!  Bus ------tap------> Tally -----+
//! ```
//!
//! A run in virtual time differs slightly from the live one, because nothing waits for sockets. So a drill is run
//! once before it is saved, and an expectation that does not hold headless is left out, with a comment that says
//! so.

mod expect;
mod save;
mod text;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

pub use save::{SaveError, SaveTarget, Saved};

use url::Url;

use crate::client::host_of;
use crate::drills::scenario::{RequestDefaults, Tally};
use crate::event::{Command, EventKind, TimedCommand};
use crate::session::SessionConfig;
use crate::session::bus::Tap;
use crate::session::engine::CommandObserver;
use crate::settings::{Capacity, FaultProfile, LatencyProfile, Policy};
use crate::time::Timestamp;

/// Maximum number of commands recorded: a longer file is not readable.
const MOST_COMMANDS: usize = 10_000;
/// Maximum number of calls counted: the tally keeps a row for each.
const MOST_CALLS: u64 = 100_000;
/// Resolution of recorded times.
const RESOLUTION: Duration = Duration::from_millis(10);

/// The configuration of the recorded session.
#[derive(Clone, Debug)]
struct SessionStart {
    seed: u64,
    policy: Policy,
    latency: LatencyProfile,
    capacity: Option<Capacity>,
    requests: RequestDefaults,
    /// Host of the upstream; absent for the simulator.
    upstream: Option<String>,
    /// Host of the embedder; absent for the built-in one.
    embedder: Option<String>,
}

/// Records a session. Cheap to clone; clones share the recording.
#[derive(Clone, Debug)]
pub struct Recorder {
    start: Arc<SessionStart>,
    state: Arc<Mutex<RecorderState>>,
}

#[derive(Debug)]
struct RecorderState {
    commands: Vec<TimedCommand>,
    /// The selected fault profile, and whether faults are on.
    faults: FaultProfile,
    faults_on: bool,
    /// The policy in force.
    policy: Policy,
    tally: Tally,
    calls: u64,
    /// True after `Shutdown`.
    ended: bool,
    /// True if something was not recorded.
    is_full: bool,
}

/// A recording up to a moment.
#[derive(Clone, Debug)]
pub struct Drill {
    start: Arc<SessionStart>,
    commands: Vec<TimedCommand>,
    tally: Tally,
    calls: u64,
    /// Number of calls that had not ended.
    running: usize,
    duration: Duration,
    is_full: bool,
}

impl Recorder {
    /// A recorder for a session with this configuration.
    pub fn new(config: &SessionConfig) -> Self {
        let mut policy = config.policy.clone();
        // a headless run uses the built-in embedder, with its own threshold
        let embedder = policy.semantic.embedder.take().map(|url| {
            let url = Url::parse(&url);
            url.map_or_else(|_| "another host".to_owned(), |url| host_of(&url))
        });
        let start = SessionStart {
            seed: config.seed,
            policy,
            embedder,
            latency: config.latency,
            capacity: config.capacity,
            requests: RequestDefaults::from(config),
            upstream: config.upstream.as_ref().map(|upstream| host_of(&upstream.url)),
        };
        let mut state = RecorderState {
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
            state.record(Timestamp::ZERO, &Command::SetFaults { on: true });
        }
        Self {
            start: Arc::new(start),
            state: Arc::new(Mutex::new(state)),
        }
    }

    /// Returns the tap for the session's bus.
    pub fn tap(&self) -> Tap {
        let recorder = self.clone();
        Box::new(move |event| {
            let mut state = recorder.lock();
            state.calls += u64::from(matches!(event.kind, EventKind::CallStarted { .. }));
            if state.calls > MOST_CALLS {
                state.is_full = true;
                state.tally = Tally::default();
            } else {
                state.tally.apply(event);
            }
        })
    }

    /// Returns the observer for the session's engine.
    pub fn observer(&self) -> Arc<dyn CommandObserver> {
        Arc::new(self.clone())
    }

    /// Returns the recording up to `now`.
    pub fn drill(&self, now: Timestamp) -> Drill {
        let state = self.lock();
        let last = state.commands.last().map_or(Timestamp::ZERO, |last| last.at);
        Drill {
            start: Arc::clone(&self.start),
            commands: state.commands.clone(),
            tally: state.tally.clone(),
            calls: state.calls,
            running: state.tally.calls().filter(|call| call.fate.is_none()).count(),
            // a scenario has a duration, and its last command lies within it
            duration: rounded(now).max(last).since(Timestamp::ZERO).max(RESOLUTION),
            is_full: state.is_full,
        }
    }

    /// Records the end of the session, unless it is recorded: it cancels the running calls.
    pub fn end(&self, now: Timestamp) {
        self.on_command(now, &Command::Shutdown);
    }

    fn lock(&self) -> MutexGuard<'_, RecorderState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl CommandObserver for Recorder {
    fn on_command(&self, at: Timestamp, command: &Command) {
        self.lock().record(at, command);
    }
}

impl RecorderState {
    fn record(&mut self, at: Timestamp, command: &Command) {
        let at = rounded(at);
        for command in self.recorded(command) {
            if self.commands.len() < MOST_COMMANDS {
                self.commands.push(TimedCommand { at, command });
            } else {
                self.is_full = true;
            }
        }
    }

    /// The commands to record for one that was executed.
    fn recorded(&mut self, command: &Command) -> Vec<Command> {
        let recorded = match command.clone() {
            Command::SetFaults { on } => {
                self.faults_on = on;
                return self.faults();
            }
            Command::SetFaultProfile { profile } => {
                self.faults = *profile;
                // a profile has no effect, and is not recorded, until faults are on
                return if self.faults_on { self.faults() } else { Vec::new() };
            }
            Command::ApplyFaults { on, profile } => {
                let before = std::mem::replace(&mut self.faults_on, on);
                self.faults = *profile;
                return if on || before { self.faults() } else { Vec::new() };
            }
            Command::ApplyPolicy { policy } => {
                let changes = self.policy.changes(&policy).into_iter();
                let settings: Vec<String> = changes.map(|(path, value)| format!("{path}={value}")).collect();
                self.policy = *policy;
                if settings.is_empty() {
                    return Vec::new();
                }
                Command::ChangeSettings { settings }
            }
            Command::Shutdown => {
                let ended = std::mem::replace(&mut self.ended, true);
                let running = self.tally.calls().any(|call| call.fate.is_none());
                if ended || !running {
                    return Vec::new();
                }
                Command::CancelAll
            }
            command => {
                match &command {
                    Command::SetCache { on } => self.policy.cache.enabled = *on,
                    Command::SetSemantic { mode } => self.policy.semantic.mode = *mode,
                    Command::SetQueueOrder { order } => self.policy.limit.order = *order,
                    Command::ChangeSettings { settings } => {
                        if let Ok(policy) = self.policy.with_settings(settings) {
                            self.policy = policy;
                        }
                    }
                    _ => {}
                }
                command
            }
        };
        vec![recorded]
    }

    /// The commands for the current faults; the profile is recorded only while they are on.
    fn faults(&self) -> Vec<Command> {
        let profile = self.faults_on.then(|| Command::SetFaultProfile {
            profile: Box::new(self.faults.clone()),
        });
        let switch = Command::SetFaults { on: self.faults_on };
        profile.into_iter().chain([switch]).collect()
    }
}

/// The time to the nearest [`RESOLUTION`].
fn rounded(time: Timestamp) -> Timestamp {
    let step = RESOLUTION.as_nanos() as u64;
    Timestamp((time.0.saturating_add(step / 2)) / step * step)
}

#[cfg(test)]
mod tests;
