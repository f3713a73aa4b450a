//! What is true of every session, whatever happened in it (semantics 5).

use std::collections::BTreeMap;
use std::time::Duration;

use crate::event::{BreakerState, CallId, Event, EventKind, FailureClass as C, Fate, FlightId, Sample};
use crate::settings::Policy;
use crate::time::Timestamp;

/// A call so far.
#[derive(Debug)]
struct Call {
    deadline: Timestamp,
    flight: Option<FlightId>,
    /// Attempts begun while it owned its flight.
    attempts: u32,
    ended: bool,
}

/// A flight so far.
#[derive(Debug, Default)]
struct Flight {
    attempts: u32,
    running: bool,
    polls: u32,
    ambiguous: u32,
    delivered: bool,
    not_before: Timestamp,
    reserved: Vec<u64>,
}

#[derive(Default)]
struct Session {
    calls: BTreeMap<CallId, Call>,
    flights: BTreeMap<FlightId, Flight>,
    /// Admissions minus recordings.
    permits: BTreeMap<(u64, bool), i64>,
    state: BreakerState,
    generation: u64,
    /// Whether the last thing told of the breaker was a probe's verdict.
    probe_judged: bool,
    in_use: u32,
    waiting: u32,
    last: Timestamp,
    first_attempts: Vec<Timestamp>,
    /// Retries that took from the budget.
    retries: Vec<Timestamp>,
    bad_sample: bool,
}

/// Checks a session that has come to rest; `sent` is what the upstream saw.
pub(super) fn check(events: &[Event], policy: &Policy, sent: usize) {
    let mut session = Session::default();
    let mut attempts = 0;
    for (seq, event) in events.iter().enumerate() {
        assert_eq!(event.seq, seq as u64, "dense");
        assert!(event.at >= session.last, "time goes back: {event:?}");
        session.last = event.at;
        attempts += usize::from(matches!(event.kind, EventKind::AttemptStarted { .. }));
        session.take(event, policy);
    }
    assert_eq!(attempts, sent, "attempts told and attempts sent");
    for (id, call) in &session.calls {
        assert!(call.ended, "{id} has no end");
    }
    for (id, flight) in &session.flights {
        assert!(!flight.running, "an attempt of {id:?} has no end");
        assert_eq!(
            flight.reserved,
            Vec::<u64>::new(),
            "grants of {id:?} that were not settled"
        );
    }
    assert!(
        session.permits.values().all(|open| *open == 0),
        "permits: {:?}",
        session.permits
    );
    assert_eq!((session.in_use, session.waiting), (0, 0), "slots and waiters");
    session.check_budget(policy);
}

impl Session {
    fn take(&mut self, event: &Event, policy: &Policy) {
        if let Some(id) = event.call {
            let begins = matches!(event.kind, EventKind::CallStarted { .. });
            let known = self.calls.get(&id);
            assert_eq!(known.is_none(), begins, "{event:?}");
            assert!(known.is_none_or(|call| !call.ended), "after the end: {event:?}");
        }
        self.take_call(event);
        self.take_breaker(event);
        self.take_limiter(event);
        self.take_attempt(event, policy);
    }

    fn take_call(&mut self, event: &Event) {
        match &event.kind {
            EventKind::CallStarted { deadline, .. } => {
                let call = Call {
                    deadline: *deadline,
                    flight: None,
                    attempts: 0,
                    ended: false,
                };
                self.calls.insert(event.call.expect("a call"), call);
            }
            EventKind::CallEnded {
                fate,
                attempts,
                failure,
                usage,
                ..
            } => {
                let call = self.call(event);
                call.ended = true;
                assert_eq!(*attempts, call.attempts, "{event:?}");
                assert!(event.at <= call.deadline + Duration::from_millis(1), "{event:?}");
                let good = matches!(fate, Fate::Answered | Fate::Hit | Fate::Shared);
                assert_eq!(usage.is_some(), good, "{event:?}");
                let bad = !good && *fate != Fate::Cancelled;
                assert_eq!(failure.is_some(), bad, "{event:?}");
            }
            EventKind::FlightStarted { flight } => {
                self.call(event).flight = Some(*flight);
                let known = self.flights.insert(*flight, Flight::default());
                assert!(known.is_none(), "{event:?}");
            }
            EventKind::FlightJoined { flight, .. } | EventKind::FlightHandedOver { flight, .. } => {
                self.call(event).flight = Some(*flight);
                assert!(self.flights.contains_key(flight), "{event:?}");
            }
            _ => {}
        }
    }

    fn take_breaker(&mut self, event: &Event) {
        match &event.kind {
            EventKind::BreakerAdmitted { generation, probe } => {
                assert_eq!(*generation, self.generation, "{event:?}");
                // in half-open: a probe, or the rest of one that was judged by its first token
                let half_open = self.state == BreakerState::HalfOpen;
                assert!(*probe == half_open || self.probe_judged, "{event:?}");
                self.probe_judged = false;
                assert_ne!(self.state, BreakerState::Open, "{event:?}");
                let open = self.permits.entry((*generation, *probe)).or_default();
                *open += 1;
                // the stories stay within the lease of a probe
                assert!(!*probe || *open == 1, "two probes: {event:?}");
            }
            EventKind::BreakerRecorded {
                generation,
                probe,
                sample,
                ..
            } => {
                *self.permits.entry((*generation, *probe)).or_default() -= 1;
                self.probe_judged = *probe;
                assert_eq!(
                    *sample == Sample::Late,
                    *generation != self.generation,
                    "{event:?}"
                );
                self.bad_sample = matches!(sample, Sample::Failed | Sample::Slow);
            }
            EventKind::BreakerMoved {
                from,
                to,
                generation,
                reason,
                ..
            } => {
                use crate::event::MoveReason as Why;
                assert_eq!(
                    (*from, *generation),
                    (self.state, self.generation + 1),
                    "{event:?}"
                );
                let opens = matches!(
                    reason,
                    Why::FailureRate | Why::Consecutive | Why::SlowRate | Why::ProbeFailed
                );
                assert!(!opens || self.bad_sample, "only what is bad opens: {event:?}");
                (self.state, self.generation) = (*to, *generation);
            }
            _ => {}
        }
    }

    fn take_limiter(&mut self, event: &Event) {
        match &event.kind {
            EventKind::LimitQueued { waiting, .. } => {
                self.waiting += 1;
                assert_eq!(*waiting, self.waiting, "{event:?}");
            }
            EventKind::LimitLeft { waiting } => {
                self.waiting -= 1;
                assert_eq!(*waiting, self.waiting, "{event:?}");
            }
            EventKind::LimitAdmitted {
                reserved,
                in_use,
                waiting,
                ..
            } => {
                assert!(
                    *waiting == self.waiting || waiting + 1 == self.waiting,
                    "{event:?}"
                );
                (self.in_use, self.waiting) = (self.in_use + 1, *waiting);
                assert_eq!(*in_use, self.in_use, "{event:?}");
                self.flight(event).reserved.push(*reserved);
            }
            EventKind::LimitSettled {
                reserved,
                charged,
                refunded,
                in_use,
                ..
            } => {
                self.in_use -= 1;
                assert_eq!(*in_use, self.in_use, "{event:?}");
                assert!(!*refunded || *charged == 0, "{event:?}");
                let held = self.flight(event).reserved.pop();
                assert_eq!(held, Some(*reserved), "{event:?}");
            }
            _ => {}
        }
    }

    fn take_attempt(&mut self, event: &Event, policy: &Policy) {
        match &event.kind {
            EventKind::AttemptStarted { attempt, flight } => {
                let call = self.call(event);
                call.attempts += 1;
                assert!(event.at <= call.deadline, "{event:?}");
                assert_eq!(call.flight, Some(*flight), "{event:?}");
                let flight = self.flight(event);
                flight.attempts += 1;
                assert_eq!(*attempt, flight.attempts, "{event:?}");
                assert!(!flight.running && !flight.delivered, "{event:?}");
                assert!(event.at >= flight.not_before, "too soon: {event:?}");
                flight.running = true;
                let allowed = policy.retry.attempts + flight.polls;
                assert!(*attempt <= allowed, "{event:?}");
                assert!(
                    flight.ambiguous <= policy.retry.max_ambiguous_retries,
                    "{event:?}"
                );
                if *attempt == 1 {
                    self.first_attempts.push(event.at);
                }
            }
            EventKind::AttemptFirstToken { .. } | EventKind::StreamDelta { .. } => {
                let flight = self.flight(event);
                assert!(flight.running, "{event:?}");
                flight.delivered = true;
            }
            EventKind::AttemptResponded { .. } => assert!(self.flight(event).running, "{event:?}"),
            EventKind::AttemptEnded { attempt, .. } => {
                let flight = self.flight(event);
                assert!(flight.running && *attempt == flight.attempts, "{event:?}");
                flight.running = false;
            }
            EventKind::RetryScheduled {
                next,
                at,
                delay,
                hint,
                class,
                ambiguous,
                ..
            } => {
                let deadline = self.call(event).deadline;
                let flight = self.flight(event);
                assert_eq!(*next, flight.attempts + 1, "{event:?}");
                assert!(!flight.delivered && !flight.running, "{event:?}");
                assert!(hint.is_none_or(|hint| *delay >= hint.wait), "{event:?}");
                assert!(hint.is_some() || *delay <= policy.retry.cap, "{event:?}");
                flight.not_before = *at;
                flight.polls += u32::from(*class == C::Loading);
                flight.ambiguous += u32::from(*ambiguous);
                let alone = self.calls.len() == 1;
                assert!(!alone || *at < deadline, "{event:?}");
                if !matches!(class, C::Loading | C::Connect | C::ConnectTimeout | C::Dns) {
                    self.retries.push(event.at);
                }
            }
            EventKind::RetryStopped { attempt, .. } => {
                assert_eq!(*attempt, self.flight(event).attempts, "{event:?}");
            }
            _ => {}
        }
    }

    /// Invariant 8, as `policy::budget` states it.
    fn check_budget(&self, policy: &Policy) {
        let retry = &policy.retry;
        if retry.budget_ratio == 0.0 && retry.budget_min_per_s == 0.0 {
            return;
        }
        for now in &self.retries {
            let recent = |at: &&Timestamp| **at <= *now && **at + retry.budget_ttl > *now;
            let firsts = self.first_attempts.iter().filter(recent).count() as f64;
            let made = self.retries.iter().filter(recent).count() as f64;
            let reserve = retry.budget_min_per_s * retry.budget_ttl.as_secs_f64();
            let allowed = retry.budget_ratio * firsts + reserve;
            assert!(
                made <= allowed + 1e-6,
                "{made} retries by {now}, {allowed} allowed"
            );
        }
    }

    fn call(&mut self, event: &Event) -> &mut Call {
        let id = event.call.unwrap_or_else(|| panic!("no call: {event:?}"));
        self.calls
            .get_mut(&id)
            .unwrap_or_else(|| panic!("unknown: {event:?}"))
    }

    fn flight(&mut self, event: &Event) -> &mut Flight {
        let id = self
            .call(event)
            .flight
            .unwrap_or_else(|| panic!("no flight: {event:?}"));
        self.flights
            .get_mut(&id)
            .unwrap_or_else(|| panic!("unknown: {event:?}"))
    }
}
