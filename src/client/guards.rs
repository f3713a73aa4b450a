//! The policies under one lock, and the proofs of admission that give back what they hold on every way out.
//!
//! ```text
//! check_breaker ──> board ───────> pass_breaker ──> the attempt     (why in this order: `guarded_attempt`)
//! pass              queue          pass
//!                   │              └─ Pass: a permit, ends as a sample in the breaker's window
//!                   ├─ Place: in the queue, left when dropped
//!                   ├─ ride: a Ride is a grant, ends as what was used of it
//!                   └─ rejection: what is told of whom it turns away
//! ```
//!
//! One lock for all, held for microseconds and never across an await: a decision and its event are made
//! under it, so the order of events is the order of decisions. The observer is called with the lock held and
//! never calls back.

mod breaker_guard;
mod limiter_guard;
mod limiter_queue;
mod rejection;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, PoisonError};
use std::time::Duration;

pub(super) use breaker_guard::{Pass, moved};
use limiter_queue::Waiting;

use super::Core;
use super::answer::Answer;
use super::flight::{Flight, FlightKey};
use super::sync::MutexGuard;
use super::transport::Transport;
use crate::event::{CallId, EventKind, Hint, Observer, StopReason};
use crate::policy::breaker::Breaker;
use crate::policy::budget::RetryBudget;
use crate::policy::cache::Cache;
use crate::policy::ledger::IdempotencyLedger;
use crate::policy::limiter::{Limiter, Ticket};
use crate::semantic::embedder::{Embedder, Lexical};
use crate::semantic::{HoldOff, Labels};
use crate::settings::Policy;
use crate::time::Timestamp;

/// An answer worth keeping, whose it was, and how long it took to get.
#[derive(Clone, Debug)]
pub(super) struct Kept {
    /// The call that owned its flight when it landed: `CacheStored` is told under it.
    pub(super) call: CallId,
    pub(super) answer: Arc<Answer>,
    pub(super) took: Duration,
}

/// Every policy's state.
#[derive(Debug)]
pub(super) struct Guards {
    pub(super) policy: Arc<Policy>,
    pub(super) cache: Cache<Kept>,
    pub(super) ledger: IdempotencyLedger<Kept>,
    pub(super) limiter: Limiter,
    pub(super) breaker: Breaker,
    pub(super) budget: RetryBudget,
    /// Flights in the air.
    pub(super) flights: BTreeMap<FlightKey, Arc<Flight>>,
    /// Models the upstream lists, once it was asked.
    pub(super) models: BTreeSet<String>,
    /// What turns prompts into vectors, and whether it is asked.
    pub(super) embedder: Arc<dyn Embedder>,
    pub(super) hold_off: HoldOff,
    /// What people said of semantic hits.
    pub(super) labels: Labels,
    /// Who waits in the limiter's queue.
    turns: BTreeMap<Ticket, Waiting>,
}

impl Guards {
    pub(super) fn new(policy: Policy, breaker_seed: u64, now: Timestamp) -> Self {
        Self {
            cache: Cache::new(&policy.cache),
            ledger: IdempotencyLedger::new(&policy.flight),
            limiter: Limiter::new(&policy.limit, now),
            breaker: Breaker::new(&policy.breaker, breaker_seed, now),
            budget: RetryBudget::new(&policy.retry),
            embedder: Arc::new(Lexical),
            hold_off: HoldOff::default(),
            labels: Labels::new(&policy.semantic.labels),
            policy: Arc::new(policy),
            flights: BTreeMap::new(),
            models: BTreeSet::new(),
            turns: BTreeMap::new(),
        }
    }

    /// Nobody joins the flight from now on. One that was abandoned or ran out of time was forgotten then, and
    /// its key may have a new flight by now.
    pub(super) fn forget(&mut self, flight: &Flight) {
        if self
            .flights
            .get(&flight.key)
            .is_some_and(|known| known.id == flight.id)
        {
            self.flights.remove(&flight.key);
        }
    }

    /// Tells that no other attempt follows.
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

    /// Records a fact of a flight, under the call that owns it.
    pub(super) fn note(&self, flight: &Flight, kind: EventKind) {
        // the flight's lock is held while recording, so that a change of owner cannot come in between
        let log = flight.lock();
        let owner = log.subscribers.first().map(|one| one.call);
        self.observer.emit(owner, kind);
    }
}
