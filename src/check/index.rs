//! The calls and flights that run, as recorded in the log. The other checks look up the flight of an event here
//! and keep their facts with it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use super::Slack;
use super::violation::{Breach, Holds, breach, ensure};
use crate::event::{
    AttemptResult, CallId, Event, EventKind, Failure, Fate, FlightId, ModelName, Sharing, UserId,
};
use crate::openai::Usage;
use crate::settings::{FaultKind, Policy};
use crate::text::SafeText;
use crate::time::Timestamp;

/// Events kept of each flight as proof: the first two and the latest.
const TRAIL: usize = 24;

/// A user and the fingerprint of a request.
pub(super) type RequestId = (UserId, String);

/// A running call.
#[derive(Debug)]
pub(super) struct Call {
    pub(super) started: Arc<Event>,
    pub(super) request: RequestId,
    pub(super) prompt_tokens: u64,
    pub(super) deadline: Timestamp,
    pub(super) lookup: Lookup,
    pub(super) flight: Option<FlightId>,
    /// Attempts started while it owned its flight.
    pub(super) attempts: u32,
}

/// The result of the cache lookup of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lookup {
    /// Not looked up yet.
    NotYet,
    /// A miss or a bypass.
    Nothing,
    /// A hit: no flight follows.
    Answer,
}

/// A grant of the limiter that a flight holds.
#[derive(Clone, Copy, Debug)]
pub(super) struct Grant {
    pub(super) reserved: u64,
    /// True if the buckets were charged.
    pub(super) charged: bool,
    /// Attempts of the flight before it.
    pub(super) attempts: u32,
}

/// The end of an owner whose flight has no other owner yet.
#[derive(Clone, Debug)]
pub(super) struct Departed {
    pub(super) call: CallId,
    pub(super) fate: Fate,
    pub(super) failure: Option<Failure>,
}

/// A running flight.
#[derive(Debug)]
#[expect(clippy::struct_excessive_bools, reason = "independent facts")]
pub(super) struct Flight {
    pub(super) id: FlightId,
    pub(super) sharing: Sharing,
    pub(super) request: RequestId,
    pub(super) prompt_tokens: u64,
    /// In order of arrival.
    pub(super) subscribers: Vec<CallId>,
    pub(super) owner: Option<CallId>,
    pub(super) departed: Option<Departed>,
    /// The start of an identical flight while this one is being cancelled.
    pub(super) displaced: Option<Arc<Event>>,
    /// The policies it may run under: several if the policy changed before its first step.
    pub(super) policies: Vec<Arc<Policy>>,
    /// The usage of the stored answer, if the flight ended with a semantic hit.
    pub(super) hit: Option<Usage>,
    fresh: bool,
    /// Its events, as proof.
    trail: Vec<Arc<Event>>,

    // === attempts ===
    pub(super) attempts: u32,
    pub(super) running: bool,
    pub(super) responded: bool,
    pub(super) delivered: bool,
    /// The start of the last attempt and its time to the first token.
    pub(super) began_at: Timestamp,
    pub(super) ttft: Option<Duration>,
    /// The fault that the simulator injected into it.
    pub(super) struck: Option<FaultKind>,
    /// The result and duration of the last finished attempt.
    pub(super) outcome: Option<AttemptResult>,
    pub(super) took: Duration,
    /// True if a retry decision followed it.
    pub(super) decided: bool,
    /// True if no attempt may follow.
    pub(super) stopped: bool,
    /// The next attempt and its time.
    pub(super) scheduled: Option<(u32, Timestamp)>,
    pub(super) polls: u32,
    pub(super) ambiguous: u32,
    /// Waits drawn from the backoff, without those of polls.
    pub(super) draws: u32,
    pub(super) text: SafeText,
    pub(super) chunks: u64,

    // === guards ===
    pub(super) grant: Option<Grant>,
    /// The model of the breaker that gave it, the generation, and true for a probe.
    pub(super) permit: Option<(Option<ModelName>, u64, bool)>,
    /// True if the permit is for the rest of a stream whose probe was judged at the end of its lease.
    pub(super) rest: bool,
    /// True if its probe was just judged at the end of its lease.
    pub(super) judged: bool,
    /// True if the limiter or the breaker rejected it.
    pub(super) rejected: bool,
    pub(super) refused: bool,
}

/// The index of running calls and flights.
#[derive(Debug)]
pub(super) struct CallIndex {
    pub(super) policy: Arc<Policy>,
    pub(super) calls: BTreeMap<CallId, Call>,
    pub(super) flights: BTreeMap<FlightId, Flight>,
    /// Flights that identical calls join.
    pub(super) shared: BTreeMap<RequestId, FlightId>,
    /// Calls that have ended: eight bytes each for the length of the session.
    ended: BTreeSet<CallId>,
    /// The last flight started.
    last_flight: Option<FlightId>,
    /// Attempts started, and attempts counted by ended calls.
    pub(super) begun: u64,
    pub(super) attributed: u64,
}

impl Flight {
    pub(super) fn new(
        event: &Arc<Event>,
        call: &Call,
        id: FlightId,
        sharing: Sharing,
        policy: Arc<Policy>,
    ) -> Self {
        let owner = event.call.unwrap_or_default();
        Self {
            id,
            sharing,
            request: call.request.clone(),
            prompt_tokens: call.prompt_tokens,
            subscribers: vec![owner],
            owner: Some(owner),
            departed: None,
            displaced: None,
            policies: vec![policy],
            hit: None,
            fresh: true,
            trail: vec![Arc::clone(&call.started), Arc::clone(event)],
            attempts: 0,
            running: false,
            responded: false,
            delivered: false,
            began_at: event.at,
            ttft: None,
            struck: None,
            outcome: None,
            took: Duration::ZERO,
            decided: false,
            stopped: false,
            scheduled: None,
            polls: 0,
            ambiguous: 0,
            draws: 0,
            text: SafeText::default(),
            chunks: 0,
            grant: None,
            permit: None,
            rest: false,
            judged: false,
            rejected: false,
            refused: false,
        }
    }

    /// Returns true if a condition holds under any policy of the flight.
    pub(super) fn any(&self, holds: impl Fn(&Policy) -> bool) -> bool {
        self.policies.iter().any(|policy| holds(policy))
    }

    /// The failure of the last attempt.
    pub(super) fn failure(&self) -> Option<&Failure> {
        match &self.outcome {
            Some(AttemptResult::Failed { failure }) => Some(failure),
            _ => None,
        }
    }

    /// The events of the flight, as proof.
    pub(super) fn proof(&self) -> impl Iterator<Item = Arc<Event>> + '_ {
        self.trail.iter().map(Arc::clone)
    }

    /// As [`ensure`], with the events of the flight as proof.
    pub(super) fn ensure(&self, fact: bool, number: u8, detail: impl FnOnce() -> String) -> Holds {
        ensure(fact, number, detail).map_err(|breach| breach.with(self.proof()))
    }

    fn remember(&mut self, event: &Arc<Event>) {
        if self.trail.len() == TRAIL {
            self.trail.remove(2);
        }
        self.trail.push(Arc::clone(event));
    }
}

impl CallIndex {
    pub(super) fn new(policy: &Policy) -> Self {
        Self {
            policy: Arc::new(policy.clone()),
            calls: BTreeMap::new(),
            flights: BTreeMap::new(),
            shared: BTreeMap::new(),
            ended: BTreeSet::new(),
            last_flight: None,
            begun: 0,
            attributed: 0,
        }
    }

    /// Applies a policy to new flights and to flights that have not taken a step yet.
    pub(super) fn configure(&mut self, policy: &Policy) {
        self.policy = Arc::new(policy.clone());
        for flight in self.flights.values_mut().filter(|flight| flight.fresh) {
            flight.policies.push(Arc::clone(&self.policy));
        }
    }

    /// Checks that an event belongs to a running call or flight and may come now.
    pub(super) fn apply(&mut self, event: &Arc<Event>, slack: Slack) -> Holds {
        self.known(event)?;
        match &event.kind {
            EventKind::CallStarted { .. } => self.call_started(event),
            EventKind::CacheHit { .. } | EventKind::ResultReplayed { .. } => {
                self.looked_up(event, Lookup::Answer)
            }
            EventKind::CacheMissed { .. } | EventKind::CacheBypassed { .. } => {
                self.looked_up(event, Lookup::Nothing)
            }
            EventKind::FlightStarted { flight, sharing } => self.flight_started(event, *flight, *sharing),
            EventKind::FlightJoined { .. } => self.flight_joined(event),
            EventKind::FlightHandedOver { flight, from } => self.handed_over(event, *flight, *from),
            EventKind::CallEnded { .. } => self.call_ended(event, slack),
            EventKind::SemanticHit { saved, .. } => self.served_semantically(event, *saved),
            // the semantic cache was switched on, and the stored prompts were indexed
            EventKind::SemanticStored { .. } if event.call.is_none() => Ok(()),
            EventKind::SemanticMissed { .. }
            | EventKind::SemanticShadowed { .. }
            | EventKind::SemanticCompared { .. }
            | EventKind::SemanticStored { .. } => {
                let flight = self.flight(event)?;
                flight.ensure(flight.hit.is_none(), 27, || "a semantic hit had ended it".into())?;
                flight.remember(event);
                Ok(())
            }
            EventKind::FaultInjected { attempt, fault } => {
                self.struck(event, *attempt, *fault);
                Ok(())
            }
            kind if is_of_flight(kind) => {
                let delta = matches!(kind, EventKind::StreamDelta { .. });
                let flight = self.flight(event)?;
                flight.ensure(flight.hit.is_none(), 27, || "a semantic hit had ended it".into())?;
                flight.fresh = false;
                if !delta {
                    flight.remember(event);
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// Checks that a semantic hit ends a flight before any attempt.
    fn served_semantically(&mut self, event: &Arc<Event>, usage: Usage) -> Holds {
        let flight = self.flight(event)?;
        let first = flight.fresh && flight.hit.is_none() && flight.attempts == 0;
        flight.ensure(first, 27, || "the flight had taken a step already".into())?;
        flight.hit = Some(usage);
        flight.remember(event);
        Ok(())
    }

    /// Records a fault of the simulator, unless the call has ended.
    fn struck(&mut self, event: &Arc<Event>, attempt: u32, fault: FaultKind) {
        let id = event.call.and_then(|call| self.calls.get(&call)?.flight);
        if let Some(flight) = id.and_then(|id| self.flights.get_mut(&id))
            && flight.running
            && flight.attempts == attempt
        {
            flight.struck = Some(fault);
            flight.remember(event);
        }
    }

    /// Returns the flight of an event, whose call must own it.
    pub(super) fn flight(&mut self, event: &Event) -> Result<&mut Flight, Breach> {
        let id = event.call.and_then(|call| self.calls.get(&call)?.flight);
        let flight = id.and_then(|id| self.flights.get_mut(&id));
        let Some(flight) = flight else {
            return Err(breach(2, "its call has no flight"));
        };
        flight.ensure(flight.owner == event.call, 2, || {
            format!("the flight is owned by {:?}, not by this call", flight.owner)
        })?;
        Ok(flight)
    }

    /// The latest deadline of the subscribers of a flight.
    pub(super) fn last_deadline(&self, flight: &Flight) -> Timestamp {
        let calls = flight.subscribers.iter().filter_map(|call| self.calls.get(call));
        calls.map(|call| call.deadline).max().unwrap_or_default()
    }

    /// Checks invariant 1: an event of a call comes between its start and its end.
    fn known(&self, event: &Event) -> Holds {
        // the simulator learns of the end of a call later than the client, and a person labels an answer after it
        let late = matches!(
            event.kind,
            EventKind::FaultInjected { .. } | EventKind::SemanticLabelled { .. }
        );
        let (Some(call), false) = (event.call, late) else {
            return Ok(());
        };
        let begins = matches!(event.kind, EventKind::CallStarted { .. });
        match self.calls.get(&call) {
            Some(known) if begins => {
                Err(breach(1, format!("call {call} starts twice")).with([Arc::clone(&known.started)]))
            }
            None if self.ended.contains(&call) => Err(breach(1, format!("call {call} has ended"))),
            None if !begins => Err(breach(2, format!("call {call} has not started"))),
            _ => Ok(()),
        }
    }

    /// Removes an ended call.
    pub(super) fn forget_call(&mut self, call: CallId) {
        self.calls.remove(&call);
        self.ended.insert(call);
    }

    /// Records the number of a flight.
    pub(super) fn number(&mut self, flight: FlightId) {
        self.last_flight = self.last_flight.max(Some(flight));
    }

    /// Returns true if a flight with this number has ended.
    pub(super) fn has_existed(&self, flight: FlightId) -> bool {
        Some(flight) <= self.last_flight && !self.flights.contains_key(&flight)
    }

    /// Removes a flight without subscribers, which may hold neither permit nor slot. Called after all checks.
    pub(super) fn close(&mut self, event: &Event) -> Holds {
        if !matches!(event.kind, EventKind::CallEnded { .. }) {
            return Ok(());
        }
        let over = self.flights.values().find(|flight| flight.subscribers.is_empty());
        let Some(id) = over.map(|flight| flight.id) else {
            return Ok(());
        };
        let Some(flight) = self.flights.remove(&id) else {
            return Ok(());
        };
        if self.shared.get(&flight.request) == Some(&id) {
            self.shared.remove(&flight.request);
        }
        flight.ensure(!flight.running, 2, || {
            "the attempt of its flight has not ended".into()
        })?;
        flight.ensure(flight.permit.is_none(), 18, || {
            "its flight has not returned its permit".into()
        })?;
        flight.ensure(flight.grant.is_none(), 34, || {
            "its flight has not returned its slot".into()
        })
    }

    /// Checks that nothing is left at the end of a closed session.
    pub(super) fn rest(&self) -> Holds {
        if let Some((id, call)) = self.calls.first_key_value() {
            return Err(breach(1, format!("call {id} has no end")).with([Arc::clone(&call.started)]));
        }
        if let Some(flight) = self.flights.values().next() {
            return flight.ensure(false, 34, || "a flight still runs".into());
        }
        ensure(self.begun == self.attributed, 33, || {
            format!(
                "{} attempts started, but calls count {}",
                self.begun, self.attributed
            )
        })
    }
}

/// Returns true for events of a flight, which name the call that owns it.
fn is_of_flight(kind: &EventKind) -> bool {
    use EventKind as K;
    matches!(
        kind,
        K::CacheStored { .. }
            | K::CacheSkipped { .. }
            | K::LimitQueued { .. }
            | K::LimitAdmitted { .. }
            | K::LimitSettled { .. }
            | K::LimitRejected { .. }
            | K::LimitLeft { .. }
            | K::LimitHeadChanged { .. }
            | K::BreakerAdmitted { .. }
            | K::BreakerRefused { .. }
            | K::BreakerRecorded { .. }
            | K::AttemptStarted { .. }
            | K::AttemptResponded { .. }
            | K::AttemptFirstToken { .. }
            | K::StreamDelta { .. }
            | K::AttemptEnded { .. }
            | K::RetryScheduled { .. }
            | K::RetryStopped { .. }
    )
}
