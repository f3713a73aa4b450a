//! The life of a call: it starts, is looked up, joins at most one flight, and ends once.

use std::sync::Arc;

use super::Slack;
use super::index::{Call, CallIndex, Departed, Flight, Lookup};
use super::violation::{Holds, breach, ensure};
use crate::event::{CallId, Event, EventKind, FlightId, Sharing};

impl CallIndex {
    pub(super) fn call_started(&mut self, event: &Arc<Event>) -> Holds {
        let (
            Some(id),
            EventKind::CallStarted {
                user,
                fingerprint,
                prompt_tokens,
                deadline,
                ..
            },
        ) = (event.call, &event.kind)
        else {
            return Err(breach(2, "a call without a number"));
        };
        let call = Call {
            started: Arc::clone(event),
            request: (user.clone(), fingerprint.to_string()),
            prompt_tokens: *prompt_tokens,
            deadline: *deadline,
            lookup: Lookup::NotYet,
            flight: None,
            attempts: 0,
        };
        self.calls.insert(id, call);
        Ok(())
    }

    /// The call of an event.
    pub(super) fn call(&mut self, event: &Event) -> Result<&mut Call, super::Breach> {
        let call = event.call.and_then(|call| self.calls.get_mut(&call));
        call.ok_or_else(|| breach(2, "it must name a call"))
    }

    pub(super) fn looked_up(&mut self, event: &Event, found: Lookup) -> Holds {
        let call = self.call(event)?;
        let first = call.lookup == Lookup::NotYet && call.flight.is_none();
        ensure(first, 2, || "the call was looked up before".into())
            .map_err(|breach| breach.with([Arc::clone(&call.started)]))?;
        call.lookup = found;
        Ok(())
    }

    /// Checks that a call may start or join a flight: its lookup found no answer, and it has no flight.
    fn may_join(&mut self, event: &Event) -> Holds {
        let call = self.call(event)?;
        let ready = call.lookup == Lookup::Nothing && call.flight.is_none();
        ensure(ready, 2, || {
            "a call has one flight, after its lookup found no answer".into()
        })
        .map_err(|breach| breach.with([Arc::clone(&call.started)]))
    }

    pub(super) fn flight_started(&mut self, event: &Arc<Event>, id: FlightId, sharing: Sharing) -> Holds {
        self.may_join(event)?;
        let known = self.flights.contains_key(&id) || self.has_existed(id);
        // ids are assigned in order and recorded in nearly that order
        ensure(!self.flights.contains_key(&id), 2, || {
            format!("flight {} starts twice", id.0)
        })?;
        if !known {
            self.number(id);
        }
        let policy = Arc::clone(&self.policy);
        let call = self.call(event)?;
        call.flight = Some(id);
        let flight = Flight::new(event, call, id, sharing, policy);
        if sharing == Sharing::SameRequest
            && let Some(other) = self.shared.insert(flight.request.clone(), id)
            && let Some(other) = self.flights.get_mut(&other)
        {
            // allowed only while the other is being cancelled, which its next events show
            other.displaced = Some(Arc::clone(event));
        }
        self.flights.insert(id, flight);
        Ok(())
    }

    pub(super) fn flight_joined(&mut self, event: &Arc<Event>) -> Holds {
        let EventKind::FlightJoined {
            flight: id,
            owner,
            subscribers,
        } = &event.kind
        else {
            return Ok(());
        };
        self.may_join(event)?;
        let has_existed = self.has_existed(*id);
        let call = self.call(event)?;
        let (request, started) = (call.request.clone(), Arc::clone(&call.started));
        let joiner = event.call.unwrap_or_default();
        call.flight = Some(*id);
        let Some(flight) = self.flights.get_mut(id) else {
            let (number, what) = if has_existed {
                (30, "has ended")
            } else {
                (2, "has not started")
            };
            return Err(breach(number, format!("flight {} {what}", id.0)).with([started]));
        };
        let holds = flight
            .ensure(flight.owner.is_some(), 30, || "the flight has ended".into())
            .and_then(|()| {
                flight.ensure(flight.request.0 == request.0, 31, || {
                    format!("{} joins a flight of {}", request.0, flight.request.0)
                })
            })
            .and_then(|()| {
                let shared = flight.sharing != Sharing::Off && flight.request.1 == request.1;
                flight.ensure(shared, 28, || "this call may not share the flight".into())
            })
            .and_then(|()| {
                flight.ensure(flight.displaced.is_none(), 28, || {
                    "another flight of the same request has started".into()
                })
            });
        holds.map_err(|breach| breach.with([started]))?;
        flight.subscribers.push(joiner);
        let recorded = (Some(*owner), *subscribers as usize);
        let expected = (flight.owner, flight.subscribers.len());
        flight.ensure(recorded == expected, 29, || {
            format!("recorded (owner, subscribers) {recorded:?}, expected {expected:?}")
        })
    }

    pub(super) fn handed_over(&mut self, event: &Event, id: FlightId, from: CallId) -> Holds {
        let Some(flight) = self.flights.get_mut(&id) else {
            return Err(breach(2, format!("flight {} does not run", id.0)));
        };
        let left = flight.departed.take().filter(|left| left.call == from);
        flight.ensure(left.is_some(), 29, || format!("{from} has not left this flight"))?;
        let oldest = flight.subscribers.first().copied();
        flight.ensure(oldest == event.call, 29, || {
            format!("the oldest follower is {oldest:?}")
        })?;
        flight.owner = oldest;
        Ok(())
    }

    pub(super) fn call_ended(&mut self, event: &Arc<Event>, slack: Slack) -> Holds {
        let (
            Some(id),
            EventKind::CallEnded {
                fate,
                attempts,
                failure,
                took,
                ..
            },
        ) = (event.call, &event.kind)
        else {
            return Err(breach(2, "an end without a call"));
        };
        self.completion(event, slack)?;
        let call = self.call(event)?;
        let since = event.at.since(call.started.at);
        let counts = *attempts == call.attempts && since.abs_diff(*took) <= slack.stamp;
        ensure(counts, 33, || {
            format!("it has {} attempts in {since:?}", call.attempts)
        })
        .map_err(|breach| breach.with([Arc::clone(&call.started)]))?;
        let flight = call.flight;
        self.attributed += u64::from(*attempts);
        self.forget_call(id);
        if let Some(flight) = flight.and_then(|flight| self.flights.get_mut(&flight)) {
            flight.subscribers.retain(|one| *one != id);
            if flight.owner == Some(id) {
                flight.owner = None;
                flight.departed = Some(Departed {
                    call: id,
                    fate: *fate,
                    failure: failure.clone(),
                });
            }
        }
        Ok(())
    }
}
