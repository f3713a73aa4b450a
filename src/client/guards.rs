//! The policies under one lock, and the proofs of admission that give back what they hold on every way out.
//!
//! One lock for all, held for microseconds and never across an await: a decision and its event are made
//! under it, so the order of events is the order of decisions. The observer is called with the lock held and
//! never calls back.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;

use super::Core;
use super::answer::Answer;
use super::embedder::{Embedder, Lexical};
use super::flight::{Flight, FlightKey};
use super::sync::MutexGuard;
use super::transport::Transport;
use crate::event::{
    CallId, EventKind, Failure, FailureClass, Hint, LimitLevels, LimitReject, Observer, Phase, Sample,
    StopReason, UserId, UserLevels, WindowCounts,
};
use crate::policy::breaker::{Acquired, Breaker, Check, Move, Permit, Settled};
use crate::policy::budget::RetryBudget;
use crate::policy::cache::Cache;
use crate::policy::classify;
use crate::policy::ledger::IdempotencyLedger;
use crate::policy::limiter::{Admission, Grant, LaneId, Limiter, Request, Settlement, Ticket, Turn};
use crate::policy::semantic::{HoldOff, Labels};
use crate::settings::Policy;
use crate::time::Timestamp;

/// How long a 429 without a hint slows the limiter down, and to what share of its rate.
const SLOW_FOR: Duration = Duration::from_secs(30);
const SLOW_TO: f64 = 0.7;

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

/// Somebody in the limiter's queue: how to wake it, and for whom it waits.
#[derive(Debug)]
struct Waiting {
    turn: Arc<Notify>,
    flight: Arc<Flight>,
    user: UserId,
    /// LLM tokens it needs.
    tokens: u64,
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
        let kept = self.budget.is_kept();
        EventKind::RetryStopped {
            attempt,
            reason,
            hint,
            budget: self.budget.balance(now),
            budget_max: if kept { self.budget.max(now) } else { 0.0 },
        }
    }

    /// The buckets as they are, for a user who needs so many LLM tokens.
    fn levels(&self, now: Timestamp, user: &UserId, needs: u64) -> Box<LimitLevels> {
        Box::new(LimitLevels {
            requests: self.limiter.requests(now),
            tokens: self.limiter.tokens(now),
            in_use: self.limiter.in_use(),
            needs,
            user: self.limiter.of_user(now, user),
        })
    }

    /// Wakes the head of the limiter's queue: its turn may have come.
    pub(super) fn wake_head(&self, now: Timestamp) {
        if let Some((ticket, _)) = self.limiter.head(now)
            && let Some(waiting) = self.turns.get(&ticket)
        {
            waiting.turn.notify_one();
        }
    }

    /// The user's own buckets, where it has any.
    fn own(&self, now: Timestamp, lane: LaneId) -> Option<Box<UserLevels>> {
        self.limiter.of_lane(now, lane).map(Box::new)
    }
}

/// The event of a transition.
pub(super) fn moved(step: Move) -> EventKind {
    let Move {
        from,
        to,
        generation,
        reason,
        until,
        window,
    } = step;
    EventKind::BreakerMoved {
        from,
        to,
        generation,
        reason,
        until,
        window,
    }
}

/// A breaker's permit. Dropped without a verdict it frees its place, and says nothing about the upstream
/// unless a deadline or a panic ended the attempt.
pub(super) struct Pass<'a, T: Transport, O: Observer> {
    core: &'a Core<T, O>,
    flight: &'a Flight,
    permit: Option<Permit>,
}

impl<T: Transport, O: Observer> Pass<'_, T, O> {
    /// Settles the permit.
    pub(super) fn settle(&mut self, sample: Sample, hint: Option<Timestamp>) {
        if let Some(permit) = self.permit.take() {
            // the machine slept meanwhile: whatever came of it, the upstream did not do it
            let overslept = self.flight.lock().overslept;
            let sample = if overslept { Sample::Neutral } else { sample };
            let mut guards = self.core.lock();
            let _ = self
                .core
                .settle_permit(&mut guards, self.flight, permit, sample, hint);
        }
    }

    /// Settles the permit by what came of the attempt; `good` is what an answer counts as.
    pub(super) fn settle_result(&mut self, result: &Result<Answer, Failure>, good: Sample) {
        match result {
            Ok(_) => self.settle(good, None),
            Err(failure) => {
                let hint = failure.hint.map(|hint| self.core.env.clock.now() + hint.wait);
                self.settle(classify::sample(failure), hint);
            }
        }
    }

    /// The first token is here. A probe is judged by it: a long answer must not keep the breaker half-open
    /// for minutes. The rest of the stream is judged again at its end.
    pub(super) fn first_token(&mut self, ttft: Duration) {
        if !self.permit.as_ref().is_some_and(Permit::is_probe) {
            return;
        }
        let Some(permit) = self.permit.take() else { return };
        let mut guards = self.core.lock();
        let sample = if ttft > guards.policy.breaker.slow_after {
            Sample::Slow
        } else {
            Sample::Ok
        };
        let settled = self
            .core
            .settle_permit(&mut guards, self.flight, permit, sample, None);
        self.permit = guards.breaker.follow(&settled);
        if let Some(permit) = &self.permit {
            self.core.note_permit(self.flight, permit, settled.window);
        }
    }
}

impl<T: Transport, O: Observer> Drop for Pass<'_, T, O> {
    fn drop(&mut self) {
        let sample = match &self.flight.lock().cut_short {
            Some(failure) => classify::sample(failure),
            None => Sample::Neutral,
        };
        self.settle(sample, None);
    }
}

/// A limiter's grant. Dropped, it is settled by how far the attempt came.
pub(super) struct Ride<'a, T: Transport, O: Observer> {
    core: &'a Core<T, O>,
    flight: &'a Flight,
    grant: Option<Grant>,
    prompt_tokens: u64,
    sent: bool,
}

impl<T: Transport, O: Observer> Ride<'_, T, O> {
    /// From here on the request counts as sent.
    pub(super) fn mark_sent(&mut self) {
        self.sent = true;
    }

    /// Settles the grant.
    pub(super) fn settle(&mut self, settlement: Settlement) {
        let Some(grant) = self.grant.take() else { return };
        let mut guards = self.core.lock();
        let now = self.core.env.clock.now();
        let lane = grant.lane();
        let settled = guards.limiter.settle(now, grant, settlement);
        let kind = EventKind::LimitSettled {
            reserved: settled.reserved,
            charged: settled.charged,
            refunded: settled.refunded,
            requests: guards.limiter.requests(now),
            tokens: guards.limiter.tokens(now),
            in_use: guards.limiter.in_use(),
            user: guards.own(now, lane),
        };
        self.core.note(self.flight, kind);
        guards.wake_head(now);
    }

    /// Settles the grant by what the attempt used, as far as can be known.
    pub(super) fn settle_result(&mut self, result: &Result<Answer, Failure>) {
        let failure = match result {
            Ok(answer) => return self.settle(Settlement::Used(answer.usage.total())),
            Err(failure) => failure,
        };
        let chunks = self.flight.lock().chunks.len() as u64;
        self.settle(match failure.phase {
            _ if classify::is_unsent(failure) => Settlement::Unsent,
            Phase::NotSent => Settlement::Unsent,
            // refused before any work: the request counts, its tokens do not
            Phase::Refused | Phase::Final => Settlement::Used(0),
            Phase::Ambiguous | Phase::Begun => Settlement::Unknown,
            Phase::Delivered => Settlement::Used(self.prompt_tokens + chunks),
        });
    }
}

impl<T: Transport, O: Observer> Drop for Ride<'_, T, O> {
    fn drop(&mut self) {
        if self.grant.is_none() {
            return;
        }
        let log = self.flight.lock();
        let chunks = log.chunks.len() as u64;
        // a call's ride is marked before its first attempt, which may not have come to be
        let sent = self.sent && log.attempts > 0;
        drop(log);
        self.settle(match (sent, chunks) {
            (false, _) => Settlement::Unsent,
            (true, 0) => Settlement::Unknown,
            (true, chunks) => Settlement::Used(self.prompt_tokens + chunks),
        });
    }
}

/// A place in the limiter's queue. Dropped, it is left, and nothing is charged.
struct Place<'a, T: Transport, O: Observer> {
    core: &'a Core<T, O>,
    flight: &'a Flight,
    ticket: Ticket,
    turn: Arc<Notify>,
    left: bool,
}

impl<T: Transport, O: Observer> Drop for Place<'_, T, O> {
    fn drop(&mut self) {
        self.leave();
    }
}

impl<T: Transport, O: Observer> Place<'_, T, O> {
    /// Whether it still had its place.
    fn leave(&mut self) -> bool {
        let mut guards = self.core.lock();
        guards.turns.remove(&self.ticket);
        if std::mem::replace(&mut self.left, true) {
            return false;
        }
        let now = self.core.env.clock.now();
        if !guards.limiter.leave(now, self.ticket) {
            // it was displaced, and that was told
            return false;
        }
        self.core.note(
            self.flight,
            EventKind::LimitLeft {
                waiting: guards.limiter.waiting(),
            },
        );
        guards.wake_head(now);
        true
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
        self.observer.record(owner, kind);
    }

    /// Breaker, first look: do not queue for an upstream that is known to be down.
    pub(super) fn check_breaker(&self, flight: &Flight) -> Result<(), Failure> {
        let (guards, now) = (self.lock(), self.env.clock.now());
        match guards.breaker.check(now) {
            Check::Pass => Ok(()),
            Check::Refuse { until } => {
                let window = guards.breaker.window(now);
                Err(self.refuse(flight, until, window))
            }
        }
    }

    /// Limiter: waits for one request, the tokens and a slot, all or nothing.
    pub(super) async fn board<'a>(
        &'a self,
        flight: &'a Arc<Flight>,
        user: &UserId,
        tokens: u64,
        prompt_tokens: u64,
    ) -> Result<Ride<'a, T, O>, Failure> {
        let ride = |grant| Ride {
            core: self,
            flight,
            grant: Some(grant),
            prompt_tokens,
            sent: false,
        };
        let mut place = {
            let mut guards = self.lock();
            let now = self.env.clock.now();
            let request = Request {
                user,
                tokens,
                deadline: flight.last_deadline(),
            };
            match guards.limiter.acquire(now, request) {
                Admission::Admitted(grant) => {
                    self.note_admitted(&guards, flight, &grant, Duration::ZERO);
                    return Ok(ride(grant));
                }
                Admission::Rejected { reason, predicted } => {
                    let saw = guards.levels(now, user, tokens);
                    let failure = rejection(reason, predicted, &saw, user);
                    self.note_rejected(&guards, flight, reason, predicted, saw);
                    return Err(failure);
                }
                Admission::Queued {
                    ticket,
                    constraint,
                    position,
                    ready_at,
                    displaced,
                } => {
                    if let Some(displaced) = displaced {
                        self.displace(&mut guards, now, displaced);
                    }
                    let kind = EventKind::LimitQueued {
                        constraint,
                        position,
                        ready_at,
                        waiting: guards.limiter.waiting(),
                        saw: Some(guards.levels(now, user, tokens)),
                    };
                    self.note(flight, kind);
                    let turn = Arc::new(Notify::new());
                    let waiting = Waiting {
                        turn: Arc::clone(&turn),
                        flight: Arc::clone(flight),
                        user: user.clone(),
                        tokens,
                    };
                    guards.turns.insert(ticket, waiting);
                    Place {
                        core: self,
                        flight,
                        ticket,
                        turn,
                        left: false,
                    }
                }
            }
        };
        let grant = self.wait_turn(&mut place, user, tokens).await?;
        Ok(ride(grant))
    }

    /// Tells somebody that its place was given to another one. Its event comes before that of the other: so many
    /// wait as there are places.
    fn displace(&self, guards: &mut Guards, now: Timestamp, ticket: Ticket) {
        let Some(waiting) = guards.turns.remove(&ticket) else {
            return;
        };
        let saw = guards.levels(now, &waiting.user, waiting.tokens);
        let left = guards.limiter.waiting().saturating_sub(1);
        let kind = EventKind::LimitRejected {
            reason: LimitReject::Displaced,
            predicted: None,
            waiting: left,
            saw: Some(saw),
        };
        self.note(&waiting.flight, kind);
        waiting.turn.notify_one();
    }

    /// Waits in the queue until it is this place's turn, or for as long as it may. Only the head of the queue has
    /// an instant of its own to wake at; the others are woken when they become the head.
    async fn wait_turn(
        &self,
        place: &mut Place<'_, T, O>,
        user: &UserId,
        tokens: u64,
    ) -> Result<Grant, Failure> {
        let mut woke = false;
        loop {
            let wake_at = {
                let mut guards = self.lock();
                let now = self.env.clock.now();
                let gives_up_at = guards.limiter.gives_up_at(place.ticket);
                let gives_up_at = gives_up_at.unwrap_or(Timestamp::MAX);
                match guards.limiter.poll(now, place.ticket) {
                    Turn::Admitted { grant, waited } => {
                        place.left = true;
                        self.note_admitted(&guards, place.flight, &grant, waited);
                        guards.wake_head(now);
                        return Ok(grant);
                    }
                    Turn::Wait { .. } if gives_up_at <= now => {
                        drop(guards);
                        return Err(self.give_up(place, user, tokens));
                    }
                    Turn::Wait { until, .. } => {
                        let head = guards.limiter.head(now).map(|(head, _)| head);
                        if woke && head != Some(place.ticket) {
                            // it may have been the head, and have woken too late to be it still
                            guards.wake_head(now);
                        }
                        until.unwrap_or(Timestamp::MAX).min(gives_up_at)
                    }
                    Turn::Gone => {
                        place.left = true;
                        let saw = guards.levels(now, user, tokens);
                        return Err(rejection(LimitReject::Displaced, None, &saw, user));
                    }
                }
            };
            tokio::select! {
                biased;
                () = place.turn.notified() => {}
                () = self.env.clock.sleep_until(wake_at) => {}
            }
            woke = true;
        }
    }

    /// Leaves the queue after the longest wait that is allowed.
    fn give_up(&self, place: &mut Place<'_, T, O>, user: &UserId, tokens: u64) -> Failure {
        let waits = place.leave();
        let guards = self.lock();
        let saw = guards.levels(self.env.clock.now(), user, tokens);
        if !waits {
            // between the two locks its place was given to another one, and that was told
            return rejection(LimitReject::Displaced, None, &saw, user);
        }
        let reason = LimitReject::WaitTooLong;
        let failure = rejection(reason, None, &saw, user);
        self.note_rejected(&guards, place.flight, reason, None, saw);
        failure
    }

    fn note_rejected(
        &self,
        guards: &Guards,
        flight: &Flight,
        reason: LimitReject,
        predicted: Option<Duration>,
        saw: Box<LimitLevels>,
    ) {
        let kind = EventKind::LimitRejected {
            reason,
            predicted,
            waiting: guards.limiter.waiting(),
            saw: Some(saw),
        };
        self.note(flight, kind);
    }

    /// Breaker, the permit: taken last, so that nobody sits on the only probe while queueing.
    pub(super) fn pass_breaker<'a>(&'a self, flight: &'a Flight) -> Result<Pass<'a, T, O>, Failure> {
        let mut guards = self.lock();
        let permit = self.take_permit(&mut guards, flight)?;
        Ok(Pass {
            core: self,
            flight,
            permit: Some(permit),
        })
    }

    /// A pass for attempts whose breaker counts calls, not attempts: nothing to settle.
    pub(super) fn free_pass<'a>(&'a self, flight: &'a Flight) -> Pass<'a, T, O> {
        Pass {
            core: self,
            flight,
            permit: None,
        }
    }

    /// A ride for attempts whose limiter charges calls, not attempts: nothing to settle.
    pub(super) fn free_ride<'a>(&'a self, flight: &'a Flight) -> Ride<'a, T, O> {
        Ride {
            core: self,
            flight,
            grant: None,
            prompt_tokens: 0,
            sent: false,
        }
    }

    fn take_permit(&self, guards: &mut Guards, flight: &Flight) -> Result<Permit, Failure> {
        let now = self.env.clock.now();
        let Acquired { permit, moved: step } = guards.breaker.acquire(now);
        let window = guards.breaker.window(now);
        if let Some(step) = step {
            self.observer.record(None, moved(step));
        }
        match permit {
            Ok(permit) => {
                self.note_permit(flight, &permit, window);
                Ok(permit)
            }
            Err(refusal) => Err(self.refuse(flight, refusal.until, window)),
        }
    }

    fn note_permit(&self, flight: &Flight, permit: &Permit, window: WindowCounts) {
        let kind = EventKind::BreakerAdmitted {
            generation: permit.generation(),
            probe: permit.is_probe(),
            window,
        };
        self.note(flight, kind);
    }

    fn settle_permit(
        &self,
        guards: &mut Guards,
        flight: &Flight,
        permit: Permit,
        sample: Sample,
        hint: Option<Timestamp>,
    ) -> Settled {
        let settled = guards.breaker.settle(self.env.clock.now(), permit, sample, hint);
        let kind = EventKind::BreakerRecorded {
            generation: settled.generation,
            probe: settled.probe,
            sample: settled.sample,
            window: settled.window,
        };
        self.note(flight, kind);
        if let Some(step) = settled.moved {
            self.observer.record(None, moved(step));
        }
        settled
    }

    /// A 429 that names no wait still says that the rate is too high: take it back for a while. One that
    /// does has paused the limiter already.
    pub(super) fn heed_rate_limit(&self, failure: &Failure) {
        if failure.class != FailureClass::RateLimited {
            return;
        }
        let mut guards = self.lock();
        if failure.hint.is_none() || !guards.policy.retry.obey_hints {
            let now = self.env.clock.now();
            guards.limiter.slow(now, SLOW_TO, now + SLOW_FOR);
        }
    }

    fn refuse(&self, flight: &Flight, until: Option<Timestamp>, window: WindowCounts) -> Failure {
        self.note(flight, EventKind::BreakerRefused { until, window });
        let message = match until {
            Some(until) => {
                let wait = self.env.clock.now().until(until).as_secs_f64();
                format!("breaker open, not sent; it lets a probe through in {wait:.1}s")
            }
            None => "breaker open, not sent".to_owned(),
        };
        Failure::new(FailureClass::BreakerRefused, Phase::NotSent, message)
    }

    fn note_admitted(&self, guards: &Guards, flight: &Flight, grant: &Grant, waited: Duration) {
        let now = self.env.clock.now();
        let kind = EventKind::LimitAdmitted {
            waited,
            reserved: grant.reserved(),
            requests: guards.limiter.requests(now),
            tokens: guards.limiter.tokens(now),
            in_use: guards.limiter.in_use(),
            waiting: guards.limiter.waiting(),
            user: guards.own(now, grant.lane()),
        };
        self.note(flight, kind);
    }
}

/// What a caller is told whom the limiter turned away.
fn rejection(reason: LimitReject, predicted: Option<Duration>, saw: &LimitLevels, user: &UserId) -> Failure {
    let wait = predicted.map_or_else(String::new, |wait| {
        format!(", try again in {:.1}s", wait.as_secs_f64())
    });
    let tokens = saw.needs;
    let message = match reason {
        LimitReject::QueueFull => format!("rate limiter: the queue is full{wait}"),
        LimitReject::TooLarge => format!(
            "rate limiter: this call may need {tokens} tokens, but the bucket holds {}: lower max_tokens or raise limit.tokens.capacity",
            saw.tokens.capacity
        ),
        LimitReject::UserTooLarge => {
            let own = saw.user.as_ref();
            let whose = own.map_or(user, |own| &own.user);
            let capacity = own.and_then(|own| own.tokens).map_or(0, |level| level.capacity);
            format!(
                "rate limiter: this call may need {tokens} tokens, but the bucket of {whose} holds {capacity}: lower max_tokens or raise tokens.capacity in limit.each_user or limit.users"
            )
        }
        LimitReject::Displaced => format!(
            "rate limiter: the queue is full, and {user} has more calls in it than others: its last one made room"
        ),
        LimitReject::WaitTooLong if predicted.is_none() => {
            "rate limiter: waited as long as limit.max_wait allows".to_owned()
        }
        LimitReject::WaitTooLong => format!("rate limiter: the wait would be too long{wait}"),
        LimitReject::Deadline => format!("rate limiter: the deadline would pass in the queue{wait}"),
    };
    Failure::new(FailureClass::LimitRejected, Phase::NotSent, message)
}
