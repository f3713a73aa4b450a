//! Who is in the air: calls and flights, as the log tells of them. The other checks ask here whose an event
//! is, and keep with each flight what they must remember of it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use super::Slack;
use super::violation::{Breach, Holds, breach, ensure};
use crate::event::{AttemptResult, CallId, Event, EventKind, Failure, Fate, FlightId, Sharing, UserId};
use crate::openai::Usage;
use crate::settings::{FaultKind, Policy};
use crate::text::SafeText;
use crate::time::Timestamp;

/// Events of a flight that are kept to prove something; the first, and the latest.
const TRAIL: usize = 24;

/// A user and the fingerprint of a request.
pub(super) type RequestId = (UserId, String);

/// A call in the air.
#[derive(Debug)]
pub(super) struct Call {
    pub(super) began: Arc<Event>,
    pub(super) request: RequestId,
    pub(super) prompt_tokens: u64,
    pub(super) deadline: Timestamp,
    pub(super) lookup: Lookup,
    pub(super) flight: Option<FlightId>,
    /// Attempts begun while it owned its flight.
    pub(super) attempts: u32,
}

/// What the store of answers said to a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lookup {
    /// It was not asked.
    NotYet,
    /// It had nothing, or was passed by.
    Nothing,
    /// It gave an answer: no flight follows.
    Answer,
}

/// A limiter's grant in a flight's hands.
#[derive(Clone, Copy, Debug)]
pub(super) struct Grant {
    pub(super) reserved: u64,
    /// Whether the buckets were charged.
    pub(super) charged: bool,
    /// Attempts of the flight before it.
    pub(super) attempts: u32,
}

/// The owner's end, while the flight has no other owner.
#[derive(Clone, Debug)]
pub(super) struct Departed {
    pub(super) call: CallId,
    pub(super) fate: Fate,
    pub(super) failure: Option<Failure>,
}

/// A flight in the air.
#[derive(Debug)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "facts that were told or were not, each on its own"
)]
pub(super) struct Flight {
    pub(super) id: FlightId,
    pub(super) sharing: Sharing,
    pub(super) request: RequestId,
    pub(super) prompt_tokens: u64,
    /// In the order they came.
    pub(super) subscribers: Vec<CallId>,
    pub(super) owner: Option<CallId>,
    pub(super) departed: Option<Departed>,
    /// An identical flight that began while this one was being given up.
    pub(super) displaced: Option<Arc<Event>>,
    /// The settings it may have: several if they changed before its first step.
    pub(super) policies: Vec<Arc<Policy>>,
    /// The semantic hit it came down with: (usage of the stored answer).
    pub(super) hit: Option<Usage>,
    fresh: bool,
    /// Its events, to prove something with.
    trail: Vec<Arc<Event>>,

    // === attempts ===
    pub(super) attempts: u32,
    pub(super) running: bool,
    pub(super) responded: bool,
    pub(super) delivered: bool,
    /// When the last attempt began, and its time to the first token, if one came.
    pub(super) began_at: Timestamp,
    pub(super) ttft: Option<Duration>,
    /// What the simulator did to it.
    pub(super) struck: Option<FaultKind>,
    /// Of the last attempt that is over, and how long it took.
    pub(super) outcome: Option<AttemptResult>,
    pub(super) took: Duration,
    /// Whether that was followed by a decision.
    pub(super) decided: bool,
    /// No attempt follows.
    pub(super) stopped: bool,
    /// The next attempt, and when.
    pub(super) scheduled: Option<(u32, Timestamp)>,
    pub(super) polls: u32,
    pub(super) ambiguous: u32,
    /// Waits drawn from the backoff, those of polls apart.
    pub(super) draws: u32,
    pub(super) text: SafeText,
    pub(super) chunks: u64,

    // === guards ===
    pub(super) grant: Option<Grant>,
    /// Generation, and whether it is a probe.
    pub(super) permit: Option<(u64, bool)>,
    /// Whether that permit is for the rest of a stream whose probe was judged by its first token.
    pub(super) rest: bool,
    /// Whether its probe was just judged so.
    pub(super) judged: bool,
    /// Whether the limiter or the breaker turned it away.
    pub(super) rejected: bool,
    pub(super) refused: bool,
}

/// See the module documentation.
#[derive(Debug)]
pub(super) struct Book {
    pub(super) policy: Arc<Policy>,
    pub(super) calls: BTreeMap<CallId, Call>,
    pub(super) flights: BTreeMap<FlightId, Flight>,
    /// Flights that identical calls join.
    pub(super) shared: BTreeMap<RequestId, FlightId>,
    /// Calls that are over: eight bytes each, as long as the session lasts.
    ended: BTreeSet<CallId>,
    /// The last flight that began.
    last_flight: Option<FlightId>,
    /// Attempts begun, and attempts that ended calls own up to.
    pub(super) begun: u64,
    pub(super) owned_up: u64,
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
            trail: vec![Arc::clone(&call.began), Arc::clone(event)],
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

    /// Whether a bound that the settings give holds under any that the flight may have.
    pub(super) fn any(&self, holds: impl Fn(&Policy) -> bool) -> bool {
        self.policies.iter().any(|policy| holds(policy))
    }

    /// The failure that the last attempt ended with.
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

    /// Holds if `fact` does; proven by the flight's events.
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

impl Book {
    pub(super) fn new(policy: &Policy) -> Self {
        Self {
            policy: Arc::new(policy.clone()),
            calls: BTreeMap::new(),
            flights: BTreeMap::new(),
            shared: BTreeMap::new(),
            ended: BTreeSet::new(),
            last_flight: None,
            begun: 0,
            owned_up: 0,
        }
    }

    /// These settings hold from now on: for what begins, and for what has begun and not taken a step yet.
    pub(super) fn configure(&mut self, policy: &Policy) {
        self.policy = Arc::new(policy.clone());
        for flight in self.flights.values_mut().filter(|flight| flight.fresh) {
            flight.policies.push(Arc::clone(&self.policy));
        }
    }

    /// Whose an event is, and whether it may come now.
    pub(super) fn take(&mut self, event: &Arc<Event>, slack: Slack) -> Holds {
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
            EventKind::SemanticHit { saved, .. } => self.served_by_meaning(event, *saved),
            EventKind::SemanticMissed { .. }
            | EventKind::SemanticShadowed { .. }
            | EventKind::SemanticCompared { .. }
            | EventKind::SemanticStored { .. } => {
                let flight = self.flight(event)?;
                flight.ensure(flight.hit.is_none(), 43, || {
                    "it had been served the answer of another prompt".into()
                })?;
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
                flight.ensure(flight.hit.is_none(), 43, || {
                    "it had been served the answer of another prompt".into()
                })?;
                flight.fresh = false;
                if !delta {
                    flight.remember(event);
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// A flight comes down with the answer of another prompt: before anything was asked for it.
    fn served_by_meaning(&mut self, event: &Arc<Event>, usage: Usage) -> Holds {
        let flight = self.flight(event)?;
        let first = flight.fresh && flight.hit.is_none() && flight.attempts == 0;
        flight.ensure(first, 43, || "the flight was under way already".into())?;
        flight.hit = Some(usage);
        flight.remember(event);
        Ok(())
    }

    /// The simulator breaks an attempt. Whose call is over by then is not looked for.
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

    /// The flight an event of a flight belongs to: that of its call, which must own it.
    pub(super) fn flight(&mut self, event: &Event) -> Result<&mut Flight, Breach> {
        let id = event.call.and_then(|call| self.calls.get(&call)?.flight);
        let flight = id.and_then(|id| self.flights.get_mut(&id));
        let Some(flight) = flight else {
            return Err(breach(2, "it belongs to a flight, and its call has none"));
        };
        flight.ensure(flight.owner == event.call, 2, || {
            format!("the flight is owned by {:?}, not by this call", flight.owner)
        })?;
        Ok(flight)
    }

    /// The latest deadline of those who wait for a flight.
    pub(super) fn last_deadline(&self, flight: &Flight) -> Timestamp {
        let calls = flight.subscribers.iter().filter_map(|call| self.calls.get(call));
        calls.map(|call| call.deadline).max().unwrap_or_default()
    }

    /// Invariant 1: an event of a call comes between its beginning and its end.
    fn known(&self, event: &Event) -> Holds {
        // the simulator tells of faults too, and hears of a call's end later than the client; and a person judges
        // an answer when it is there
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
                Err(breach(1, format!("call {call} begins twice")).with([Arc::clone(&known.began)]))
            }
            // a call that is in the air is not over: only where it is not, there is anything to look for
            None if self.ended.contains(&call) => Err(breach(1, format!("call {call} is over"))),
            None if !begins => Err(breach(2, format!("call {call} has not begun"))),
            _ => Ok(()),
        }
    }

    /// A call is over.
    pub(super) fn forget_call(&mut self, call: CallId) {
        self.calls.remove(&call);
        self.ended.insert(call);
    }

    /// A flight begins: its number is known from now on.
    pub(super) fn number(&mut self, flight: FlightId) {
        self.last_flight = self.last_flight.max(Some(flight));
    }

    /// Whether a flight with this number has been.
    pub(super) fn has_been(&self, flight: FlightId) -> bool {
        Some(flight) <= self.last_flight && !self.flights.contains_key(&flight)
    }

    /// After all checks have seen the event: a flight that nobody waits for is over, and must hold nothing.
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
            "the attempt of its flight has no end".into()
        })?;
        flight.ensure(flight.permit.is_none(), 20, || {
            "its flight has not given its permit back".into()
        })?;
        flight.ensure(flight.grant.is_none(), 27, || {
            "its flight has not given its slot back".into()
        })
    }

    /// The end of a session that came to rest.
    pub(super) fn rest(&self) -> Holds {
        if let Some((id, call)) = self.calls.first_key_value() {
            return Err(breach(1, format!("call {id} has no end")).with([Arc::clone(&call.began)]));
        }
        if let Some(flight) = self.flights.values().next() {
            return flight.ensure(false, 27, || "a flight is left in the air".into());
        }
        ensure(self.begun == self.owned_up, 40, || {
            format!(
                "{} attempts began, and calls own up to {}",
                self.begun, self.owned_up
            )
        })
    }
}

/// Facts of a flight, told under the call that owns it.
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
