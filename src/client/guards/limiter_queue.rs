//! The limiter's door and its queue: who waits, and how it is woken.
//!
//! ```text
//! board ──┬─ admitted ─────────────────────────────────> Ride
//!         ├─ rejected ─────────────────────────────────> rejection
//!         └─ queued ──> Place ──┬─ its turn ───────────> Ride
//!                               ├─ displaced, or the longest wait over ──> rejection
//!                               └─ dropped ──> left, nothing charged; the next head is woken
//! ```

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;

use super::Guards;
use super::limiter_guard::Ride;
use super::rejection::rejection;
use crate::client::Core;
use crate::client::flight::Flight;
use crate::client::transport::Transport;
use crate::event::{EventKind, Failure, LimitLevels, LimitReject, Observer, UserId};
use crate::policy::limiter::{Admission, Grant, PollOutcome, Request, Ticket};
use crate::time::Timestamp;

/// Somebody in the limiter's queue: how to wake it, and for whom it waits.
#[derive(Debug)]
pub(super) struct Waiting {
    turn: Arc<Notify>,
    flight: Arc<Flight>,
    user: UserId,
    /// LLM tokens it needs.
    tokens: u64,
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

impl Guards {
    /// The buckets as they are, for a user who needs so many LLM tokens.
    fn levels(&self, now: Timestamp, user: &UserId, needs: u64) -> Box<LimitLevels> {
        Box::new(LimitLevels {
            requests: self.limiter.requests(now),
            tokens: self.limiter.tokens(now),
            in_use: self.limiter.in_use(),
            needs,
            user: self.limiter.user_levels(now, user),
        })
    }

    /// Wakes the head of the limiter's queue: its turn may have come.
    pub(in crate::client) fn wake_head(&self, now: Timestamp) {
        if let Some((ticket, _)) = self.limiter.head(now)
            && let Some(waiting) = self.turns.get(&ticket)
        {
            waiting.turn.notify_one();
        }
    }
}

impl<T: Transport, O: Observer> Core<T, O> {
    /// Limiter: waits for one request, the tokens and a slot, all or nothing.
    pub(in crate::client) async fn board<'a>(
        &'a self,
        flight: &'a Arc<Flight>,
        user: &UserId,
        tokens: u64,
        prompt_tokens: u64,
    ) -> Result<Ride<'a, T, O>, Failure> {
        let ride = |grant| self.ride(flight, grant, prompt_tokens);
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
                    let failure = rejection(reason, predicted, &saw, guards.limiter.waiting());
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
                let gives_up_at = guards.limiter.expires_at(place.ticket);
                let gives_up_at = gives_up_at.unwrap_or(Timestamp::MAX);
                match guards.limiter.poll(now, place.ticket) {
                    PollOutcome::Admitted { grant, waited } => {
                        place.left = true;
                        self.note_admitted(&guards, place.flight, &grant, waited);
                        guards.wake_head(now);
                        return Ok(grant);
                    }
                    PollOutcome::Waiting { .. } if gives_up_at <= now => {
                        drop(guards);
                        return Err(self.give_up(place, user, tokens));
                    }
                    PollOutcome::Waiting { until, .. } => {
                        let head = guards.limiter.head(now).map(|(head, _)| head);
                        if woke && head != Some(place.ticket) {
                            // it may have been the head, and have woken too late to be it still
                            guards.wake_head(now);
                        }
                        until.unwrap_or(Timestamp::MAX).min(gives_up_at)
                    }
                    PollOutcome::NotQueued => {
                        place.left = true;
                        let saw = guards.levels(now, user, tokens);
                        return Err(rejection(
                            LimitReject::Displaced,
                            None,
                            &saw,
                            guards.limiter.waiting(),
                        ));
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
            return rejection(LimitReject::Displaced, None, &saw, guards.limiter.waiting());
        }
        let reason = LimitReject::WaitTooLong;
        let failure = rejection(reason, None, &saw, guards.limiter.waiting());
        self.note_rejected(&guards, place.flight, reason, None, saw);
        failure
    }
}
