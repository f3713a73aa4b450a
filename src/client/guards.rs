//! The state of all policies under one lock.
//!
//! ```text
//! check_breaker ──> acquire_limiter ──> acquire_breaker ──> begin ──> the attempt ──> settle
//!                   │ admitted: a grant  permit              (the reasons for this order: `Core::admit_attempt`)
//!                   │ queued: a QueuePosition, left when dropped
//!                   └ rejected: event and error
//! ```
//!
//! - The lock is held for microseconds and never across an await.
//! - A decision and its event are made under it, so the order of events is the order of decisions.
//! - The observer is called with the lock held and never calls back.
//! - A [`FlightGuard`] returns whatever its flight holds, on every way out.

mod breaker;
mod flight_guard;
mod limiter;
mod limiter_queue;
mod rejection;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, PoisonError};
use std::time::Duration;

pub(super) use breaker::moved_event;
pub(super) use flight_guard::{AttemptEnd, FlightGuard};
use limiter_queue::Waiter;

use super::Core;
use super::answer::Answer;
use super::flight::{Flight, FlightKey};
use super::sync::MutexGuard;
use super::transport::Transport;
use crate::event::{CallId, EventKind, Hint, ModelName, Observer, StopReason};
use crate::policy::breakers::Breakers;
use crate::policy::budget::RetryBudget;
use crate::policy::cache::Cache;
use crate::policy::ledger::IdempotencyLedger;
use crate::policy::limiter::{Limiter, NextAdmission, Ticket};
use crate::semantic::embedder::{Embedder, LexicalEmbedder};
use crate::semantic::{HoldOff, Labels};
use crate::settings::Policy;
use crate::time::Timestamp;

/// A stored answer, with the call and the time that it took.
#[derive(Clone, Debug)]
pub(super) struct CachedAnswer {
    /// The owner of the flight when it completed: `CacheStored` is emitted for this call.
    pub(super) call: CallId,
    pub(super) answer: Arc<Answer>,
    pub(super) took: Duration,
}

/// The state of every policy.
#[derive(Debug)]
pub(super) struct Guards {
    pub(super) policy: Arc<Policy>,
    pub(super) cache: Cache<CachedAnswer>,
    pub(super) ledger: IdempotencyLedger<CachedAnswer>,
    pub(super) limiter: Limiter,
    pub(super) breakers: Breakers,
    pub(super) budget: RetryBudget,
    /// Running flights.
    pub(super) flights: BTreeMap<FlightKey, Arc<Flight>>,
    /// Models that the upstream lists; empty before the first probe.
    pub(super) models: BTreeSet<String>,
    pub(super) embedder: Arc<dyn Embedder>,
    pub(super) hold_off: HoldOff,
    /// Labels of semantic hits.
    pub(super) labels: Labels,
    /// The limiter's queue.
    waiters: BTreeMap<Ticket, Waiter>,
    /// The head of that queue as last emitted.
    emitted_head: Option<NextAdmission>,
}

impl Guards {
    /// `model` is the model of calls that name no other.
    pub(super) fn new(policy: Policy, breaker_seed: u64, model: Option<ModelName>, now: Timestamp) -> Self {
        Self {
            cache: Cache::new(&policy.cache),
            ledger: IdempotencyLedger::new(&policy.flight),
            limiter: Limiter::new(&policy.limit, now),
            breakers: Breakers::new(&policy.breaker, breaker_seed, model, now),
            budget: RetryBudget::new(&policy.retry),
            embedder: Arc::new(LexicalEmbedder),
            hold_off: HoldOff::default(),
            labels: Labels::new(&policy.semantic.labels),
            policy: Arc::new(policy),
            flights: BTreeMap::new(),
            models: BTreeSet::new(),
            waiters: BTreeMap::new(),
            emitted_head: None,
        }
    }

    /// Removes a flight, so that no call joins it any more. A flight that was abandoned or expired was removed
    /// then, and its key may have a new flight, which stays.
    pub(super) fn remove_flight(&mut self, flight: &Flight) {
        if self
            .flights
            .get(&flight.key)
            .is_some_and(|known| known.id == flight.id)
        {
            self.flights.remove(&flight.key);
        }
    }

    /// The event that no other attempt follows.
    pub(super) fn stopped(
        &self,
        now: Timestamp,
        attempt: u32,
        reason: StopReason,
        hint: Option<Hint>,
    ) -> EventKind {
        EventKind::RetryStopped {
            attempt,
            reason,
            hint,
            budget: self.budget.balance(now),
            budget_max: self.budget.max(now),
        }
    }
}

impl<T: Transport, O: Observer> Core<T, O> {
    pub(super) fn lock(&self) -> MutexGuard<'_, Guards> {
        // policies are plain state machines: a panic elsewhere leaves them whole
        self.guards.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Emits an event of a flight for the call that owns it.
    pub(super) fn emit(&self, flight: &Flight, kind: EventKind) {
        // the flight stays locked, so that its owner cannot change between the look and the event
        let log = flight.lock();
        let owner = log.subscribers.first().map(|one| one.call);
        self.observer.emit(owner, kind);
    }
}
