//! Recorded traffic: calls that can be sent again, and an upstream to answer them.
//!
//! ```text
//!  events --apply--> Traffic --+--> calls, in the order in which they were made
//!                              +--> commands: faults, breaker, cache, suspensions
//!                              +--> upstream: the simulator with the same seed and draws, if it was the simulator;
//!                                             else ReplayUpstream, built from the recorded attempts
//! ```
//!
//! Memory is bounded with [`Traffic::keeping`]. Changes of the policy are not kept: the policy is what varies when
//! calls are sent again. Events do not contain everything: of a prompt the first 400 characters are known, of a
//! cancelled call only when it was cancelled, and of a cancelled attempt nothing.

mod attempt;
mod call;
mod fold;
mod load;
mod reply;
mod upstream;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

pub use attempt::{AttemptEnd, RecordedAttempt};
pub use call::RecordedCall;
pub use load::{LoadedJournal, load};
pub use upstream::ReplayUpstream;

use crate::event::{CallId, Command, FlightId, SimulatorPace, TimedCommand, UpstreamInfo};
use crate::settings::FaultProfile;
use crate::time::Timestamp;

/// The longest recording that is replayed: timers reach no further than a year.
const LONGEST: Duration = Duration::from_hours(24 * 200);

/// The faults from a moment on.
#[derive(Clone, Debug, PartialEq)]
struct FaultsFrom {
    at: Timestamp,
    on: bool,
    profile: Arc<FaultProfile>,
}

/// The upstream that answers replayed calls.
#[derive(Clone, Debug, PartialEq)]
pub enum UpstreamModel {
    /// The simulator, as it was recorded.
    Simulator(SimulatorPace),
    /// A model of the recorded upstream.
    Recorded {
        /// Number of attempts that it is built from.
        attempts: usize,
    },
}

/// Traffic that cannot be replayed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TrafficError {
    /// The recording has no calls.
    #[error("the journal has no calls to replay")]
    NoCalls,
    /// The recording says nothing about its upstream.
    #[error("the journal has no completed upstream attempt; record a longer session")]
    NoAttempts,
    /// The times of the recording are wrong.
    #[error("the recording spans {0} days (at most 200 can be replayed); its times are wrong")]
    TooLong(u64),
}

/// Recorded traffic: a fold over events.
#[derive(Clone, Debug, Default)]
pub struct Traffic {
    /// Maximum number of calls kept.
    keep: Option<usize>,
    /// The seed of the recorded session.
    pub seed: u64,
    /// The recorded upstream.
    pub upstream: Option<UpstreamInfo>,
    /// The pace of the simulator, if it was the upstream.
    pub simulator: Option<SimulatorPace>,
    /// In the order in which they were made.
    calls: Vec<RecordedCall>,
    /// Index into `calls`.
    call_index: HashMap<CallId, usize>,
    /// In the order in which they began.
    attempts: Vec<RecordedAttempt>,
    /// Index into `attempts` of the running attempt of a call.
    running: BTreeMap<CallId, usize>,
    faults: Vec<FaultsFrom>,
    /// Commands to the breaker, the cache and the machine.
    commands: Vec<TimedCommand>,
    until: Timestamp,
    changes: u64,
    changed_at: Option<Timestamp>,
    fold: fold::Context,
}

impl Traffic {
    /// Traffic that keeps about the newest `calls`: the oldest are dropped in blocks of a quarter of that, or of
    /// up to a half where the breaker was open.
    pub fn keeping(calls: usize) -> Self {
        Self {
            keep: Some(calls.max(1)),
            ..Self::default()
        }
    }

    /// The calls, in the order in which they were made.
    pub fn calls(&self) -> &[RecordedCall] {
        &self.calls
    }

    /// A call by its number.
    pub fn call(&self, call: CallId) -> Option<&RecordedCall> {
        self.call_index
            .get(&call)
            .and_then(|index| self.calls.get(*index))
    }

    /// The attempts that ended by themselves, in the order in which they began.
    pub fn attempts(&self) -> impl Iterator<Item = &RecordedAttempt> {
        self.attempts.iter().filter(|attempt| attempt.end.is_some())
    }

    /// The recorded commands in order, without changes of the policy; at the same time faults come first.
    pub fn commands(&self) -> Vec<TimedCommand> {
        let mut commands = Vec::new();
        let (mut on, mut profile) = (false, Arc::new(FaultProfile::default()));
        for faults in &self.faults {
            let mut add = |command| {
                let at = faults.at;
                commands.push(TimedCommand { at, command });
            };
            if faults.profile != profile {
                profile = Arc::clone(&faults.profile);
                let profile = Box::new(profile.as_ref().clone());
                add(Command::SetFaultProfile { profile });
            }
            if faults.on != on {
                on = faults.on;
                add(Command::SetFaults { on });
            }
        }
        commands.extend(self.commands.iter().cloned());
        commands.sort_by_key(|command| command.at);
        commands
    }

    /// The number of the first flight, which seeds the waits of its retries.
    pub fn first_flight(&self) -> Option<FlightId> {
        self.calls.iter().filter_map(|call| call.flight).min()
    }

    /// The time of the last event.
    pub fn until(&self) -> Timestamp {
        self.until
    }

    /// The number of policy changes after the first call.
    pub fn changes(&self) -> u64 {
        self.changes
    }

    /// The time of the last policy change after the first call.
    pub fn changed_at(&self) -> Option<Timestamp> {
        self.changed_at
    }

    /// The upstream that answers replayed calls.
    ///
    /// # Errors
    /// If the calls cannot be replayed.
    pub fn upstream_model(&self) -> Result<UpstreamModel, TrafficError> {
        let until = self.until.since(Timestamp::ZERO);
        if self.calls.is_empty() {
            return Err(TrafficError::NoCalls);
        }
        if until > LONGEST {
            return Err(TrafficError::TooLong(until.as_secs() / 86400));
        }
        let simulated = self.upstream.as_ref().is_some_and(|info| info.simulated);
        match (simulated, self.simulator.clone(), self.attempts().count()) {
            (true, Some(pace), _) => Ok(UpstreamModel::Simulator(pace)),
            (_, _, 0) => Err(TrafficError::NoAttempts),
            (_, _, attempts) => Ok(UpstreamModel::Recorded { attempts }),
        }
    }
}

#[cfg(test)]
mod tests;
