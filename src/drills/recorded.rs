//! Recorded traffic: what is needed to ask the same calls again, and who answers then.
//!
//! ```text
//!  events --take--> Traffic --+--> calls, in the order in which they were made --------> asked again
//!                             +--> what a person did to the machines, faults ----------> done again
//!                             +--> simulator, same seed and draws  (the upstream was it)    \  who
//!                             +--> SeenUpstream, attempts as they were seen  (it was not)   /  answers
//! ```
//!
//! A fold over events, like the state of the screen, and bounded where it is told to be: [`Traffic::keeping`].
//! Changes of the policy are not kept: the policy is what differs when calls are asked again.
//!
//! What an event does not say cannot be asked again: of a prompt its first 400 letters are known, of a caller who
//! left only when it left, of an attempt that was given up nothing.

mod attempt;
mod call;
mod fold;
mod load;
mod seen;
mod wire;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

pub use attempt::{SeenAttempt, SeenEnd};
pub use call::RecordedCall;
pub use load::{Recorded, load};
pub use seen::SeenUpstream;

use crate::event::{BreakerMode, CallId, FlightId, SimulatorPace, UpstreamInfo};
use crate::settings::FaultProfile;
use crate::time::Timestamp;

/// No recording that is played again is longer: timers reach no further than a year.
const LONGEST: Duration = Duration::from_hours(24 * 200);

/// What was done to the machines, beside the settings.
#[derive(Clone, Debug, PartialEq)]
pub enum Deed {
    /// The breaker was forced, or let go.
    Force(BreakerMode),
    /// The breaker was closed and its window forgotten.
    Reset,
    /// Every stored answer was forgotten.
    ClearCache,
    /// The machine slept for so long.
    Suspend(Duration),
}

/// Faults from a moment on.
#[derive(Clone, Debug, PartialEq)]
pub struct FaultsFrom {
    /// From when.
    pub at: Timestamp,
    /// Whether they are on.
    pub on: bool,
    /// Which.
    pub profile: Arc<FaultProfile>,
}

/// Who answers when the calls are asked again.
#[derive(Clone, Debug, PartialEq)]
pub enum Answerer {
    /// The simulator, as it was.
    Simulator(SimulatorPace),
    /// What was seen of an upstream: so many attempts.
    Seen(usize),
}

/// Why recorded calls cannot be asked again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TrafficError {
    /// There are none.
    #[error("no call was recorded: nothing can be asked again")]
    NoCalls,
    /// Nothing is known of the upstream.
    #[error(
        "no attempt of a real upstream was recorded to its end: nothing is known of how it answers; record for longer"
    )]
    NothingSeen,
    /// No session takes so long: the times are wrong.
    #[error("the recording spans {0} days, and at most 200 are played again: its times are wrong")]
    TooLong(u64),
}

/// See the module documentation.
#[derive(Clone, Debug, Default)]
pub struct Traffic {
    /// The most calls that are kept, where there is a bound.
    keep: Option<usize>,
    /// The seed of everything random.
    pub seed: u64,
    /// Where the calls went.
    pub upstream: Option<UpstreamInfo>,
    /// How the simulator answered, where they went to it.
    pub simulator: Option<SimulatorPace>,
    /// In the order in which they were made.
    calls: Vec<RecordedCall>,
    /// Where a call is in `calls`.
    places: HashMap<CallId, usize>,
    /// In the order in which they began.
    attempts: Vec<SeenAttempt>,
    /// The attempt that a call makes now: few, and each piece of text looks here.
    open: BTreeMap<CallId, usize>,
    /// In order.
    faults: Vec<FaultsFrom>,
    /// In order.
    deeds: Vec<(Timestamp, Deed)>,
    /// When the last event was.
    until: Timestamp,
    /// How often the settings changed while calls were recorded.
    changes: u64,
    /// When they did last.
    changed_at: Option<Timestamp>,
    /// What only the fold needs.
    fold: fold::Now,
}

impl Traffic {
    /// One that keeps the newest `calls`, more or less: the oldest go in blocks of a quarter of that, or
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

    /// One of them.
    pub fn call(&self, call: CallId) -> Option<&RecordedCall> {
        self.places.get(&call).and_then(|place| self.calls.get(*place))
    }

    /// Attempts that were seen to their end, in the order in which they began.
    pub fn attempts(&self) -> impl Iterator<Item = &SeenAttempt> {
        self.attempts.iter().filter(|attempt| attempt.end.is_some())
    }

    /// When faults were switched or changed.
    pub fn faults(&self) -> &[FaultsFrom] {
        &self.faults
    }

    /// What was done to the machines, and when.
    pub fn deeds(&self) -> &[(Timestamp, Deed)] {
        &self.deeds
    }

    /// The number of the first flight: under it the waits of retries are drawn.
    pub fn first_flight(&self) -> Option<FlightId> {
        self.calls.iter().filter_map(|call| call.flight).min()
    }

    /// When the last event was.
    pub fn until(&self) -> Timestamp {
        self.until
    }

    /// How often the settings changed between the first call and the last.
    pub fn changes(&self) -> u64 {
        self.changes
    }

    /// When the settings changed last, after a call was recorded.
    pub fn changed_at(&self) -> Option<Timestamp> {
        self.changed_at
    }

    /// Who answers when the calls are asked again; an error if they cannot be.
    pub fn answerer(&self) -> Result<Answerer, TrafficError> {
        let until = self.until.since(Timestamp::ZERO);
        if self.calls.is_empty() {
            return Err(TrafficError::NoCalls);
        }
        if until > LONGEST {
            return Err(TrafficError::TooLong(until.as_secs() / 86400));
        }
        let simulated = self.upstream.as_ref().is_some_and(|info| info.simulated);
        match (simulated, self.simulator.clone(), self.attempts().count()) {
            (true, Some(pace), _) => Ok(Answerer::Simulator(pace)),
            (_, _, 0) => Err(TrafficError::NothingSeen),
            (_, _, attempts) => Ok(Answerer::Seen(attempts)),
        }
    }
}

#[cfg(test)]
mod tests;
