//! Admission by the limiter, and its queue.
//!
//! ```text
//! wait_for_grant ──┬─ admitted ────────────────────────────> Grant
//!                  ├─ rejected ────────────────────────────> rejection
//!                  └─ queued ─> QueuePosition ──┬─ its turn ───> Grant
//!                                               ├─ displaced, or max_wait is over ──> rejection
//!                                               └─ dropped ──> left, nothing charged; the next head is woken
//! ```

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;

use super::Guards;
use super::rejection::rejection;
use crate::client::Core;
use crate::client::flight::Flight;
use crate::client::transport::Transport;
use crate::event::{EventKind, Failure, LimitLevels, LimitReject, Observer, UserId};
use crate::policy::limiter::{Admission, Grant, PollOutcome, Request, Ticket};
use crate::time::Timestamp;

/// An attempt in the limiter's queue.
#[derive(Debug)]
pub(super) struct Waiter {
    turn: Arc<Notify>,
    flight: Arc<Flight>,
    user: UserId,
    /// LLM tokens that it needs.
    tokens: u64,
}

/// A position in the limiter's queue. Dropping it leaves the queue and charges nothing.
struct QueuePosition<'a, T: Transport, O: Observer> {
    core: &'a Core<T, O>,
    flight: &'a Flight,
    ticket: Ticket,
    turn: Arc<Notify>,
    left: bool,
}

impl<T: Transport, O: Observer> Drop for QueuePosition<'_, T, O> {
    fn drop(&mut self) {
        self.leave();
    }
}

impl<T: Transport, O: Observer> QueuePosition<'_, T, O> {
    /// Leaves the queue. Returns true if the position was still held.
    fn leave(&mut self) -> bool {
        let mut guards = self.core.lock();
        guards.waiters.remove(&self.ticket);
        if std::mem::replace(&mut self.left, true) {
            return false;
        }
        let now = self.core.env.clock.now();
        if !guards.limiter.leave(now, self.ticket) {
            // it was displaced, and that was emitted
            return false;
        }
        self.core.emit(
            self.flight,
            EventKind::LimitLeft {
                waiting: guards.limiter.waiting(),
            },
        );
        self.core.wake_head(&mut guards, now);
        true
    }
}

impl Guards {
    /// The levels of the buckets, for a user that needs this number of LLM tokens.
    fn levels(&self, now: Timestamp, user: &UserId, needs: u64) -> Box<LimitLevels> {
        Box::new(LimitLevels {
            requests: self.limiter.requests(now),
            tokens: self.limiter.tokens(now),
            in_use: self.limiter.in_use(),
            needs,
            user: self.limiter.user_levels(now, user),
        })
    }

    /// The limiter's next admission and the call that owns it.
    #[cfg(test)]
    pub(in crate::client) fn next_admission(
        &self,
        now: Timestamp,
    ) -> Option<(
        Option<crate::event::CallId>,
        crate::policy::limiter::NextAdmission,
    )> {
        let next = self.limiter.next_admission(now)?;
        let flight = &self.waiters.get(&next.ticket)?.flight;
        let owner = flight.lock().subscribers.first().map(|one| one.call);
        Some((owner, next))
    }
}

impl<T: Transport, O: Observer> Core<T, O> {
    /// Wakes the head of the limiter's queue, because its turn may be due, and emits it if it changed.
    pub(in crate::client) fn wake_head(&self, guards: &mut Guards, now: Timestamp) {
        if let Some(head) = self.emit_head(guards, now)
            && let Some(waiter) = guards.waiters.get(&head)
        {
            waiter.turn.notify_one();
        }
    }

    /// Emits the head of the limiter's queue after a change of the limiter, if the head, its constraint or its time
    /// is not as last emitted. A head that nothing holds is about to be admitted and is not emitted.
    pub(in crate::client) fn emit_head(&self, guards: &mut Guards, now: Timestamp) -> Option<Ticket> {
        let head = guards.limiter.next_admission(now);
        let held = head.is_some_and(|head| head.until.is_none_or(|until| until > now));
        if held && guards.emitted_head != head {
            let waiter = head.and_then(|head| guards.waiters.get(&head.ticket));
            if let (Some(head), Some(waiter)) = (head, waiter) {
                let log = waiter.flight.lock();
                // without a caller left, it is about to leave the queue
                if let Some(owner) = log.subscribers.first() {
                    let (constraint, ready_at) = (head.constraint, head.until);
                    let kind = EventKind::LimitHeadChanged { constraint, ready_at };
                    self.observer.emit(Some(owner.call), kind);
                    guards.emitted_head = Some(head);
                }
            }
        }
        head.map(|head| head.ticket)
    }

    /// Waits for one request, the tokens and a slot, all or nothing.
    pub(super) async fn wait_for_grant(
        &self,
        flight: &Arc<Flight>,
        user: &UserId,
        tokens: u64,
    ) -> Result<Grant, Failure> {
        let mut position = {
            let mut guards = self.lock();
            let now = self.env.clock.now();
            let request = Request {
                user,
                tokens,
                deadline: flight.last_deadline(),
            };
            match guards.limiter.acquire(now, request) {
                Admission::Admitted(grant) => {
                    self.emit_limit_admitted(&guards, flight, &grant, Duration::ZERO);
                    self.emit_head(&mut guards, now);
                    return Ok(grant);
                }
                Admission::Rejected { reason, predicted } => {
                    let levels = guards.levels(now, user, tokens);
                    let failure = rejection(reason, predicted, &levels, guards.limiter.waiting());
                    self.emit_rejected(&guards, flight, reason, predicted, levels);
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
                        levels: Some(guards.levels(now, user, tokens)),
                    };
                    self.emit(flight, kind);
                    let turn = Arc::new(Notify::new());
                    let waiter = Waiter {
                        turn: Arc::clone(&turn),
                        flight: Arc::clone(flight),
                        user: user.clone(),
                        tokens,
                    };
                    guards.waiters.insert(ticket, waiter);
                    self.emit_head(&mut guards, now);
                    QueuePosition {
                        core: self,
                        flight,
                        ticket,
                        turn,
                        left: false,
                    }
                }
            }
        };
        self.wait_turn(&mut position, user, tokens).await
    }

    /// Rejects a waiter whose position is given to another user. Its event precedes that of the new waiter, so the
    /// events never show more waiters than positions.
    fn displace(&self, guards: &mut Guards, now: Timestamp, ticket: Ticket) {
        let Some(waiter) = guards.waiters.remove(&ticket) else {
            return;
        };
        let levels = guards.levels(now, &waiter.user, waiter.tokens);
        let left = guards.limiter.waiting().saturating_sub(1);
        let kind = EventKind::LimitRejected {
            reason: LimitReject::Displaced,
            predicted: None,
            waiting: left,
            levels: Some(levels),
        };
        self.emit(&waiter.flight, kind);
        waiter.turn.notify_one();
    }

    /// Waits in the queue until this position's turn, at most `limit.max_wait`. Only the head of the queue has an
    /// instant to wake at; the others are woken when they become the head.
    async fn wait_turn(
        &self,
        position: &mut QueuePosition<'_, T, O>,
        user: &UserId,
        tokens: u64,
    ) -> Result<Grant, Failure> {
        let mut woke = false;
        loop {
            let wake_at = {
                let mut guards = self.lock();
                let now = self.env.clock.now();
                let expires_at = guards.limiter.expires_at(position.ticket);
                let expires_at = expires_at.unwrap_or(Timestamp::MAX);
                match guards.limiter.poll(now, position.ticket) {
                    PollOutcome::Admitted { grant, waited } => {
                        position.left = true;
                        self.emit_limit_admitted(&guards, position.flight, &grant, waited);
                        self.wake_head(&mut guards, now);
                        return Ok(grant);
                    }
                    PollOutcome::Waiting { .. } if expires_at <= now => {
                        drop(guards);
                        return Err(self.give_up(position, user, tokens));
                    }
                    PollOutcome::Waiting { until, .. } => {
                        let head = guards.limiter.head(now).map(|(head, _)| head);
                        if woke && head != Some(position.ticket) {
                            // it may have been the head, but woke too late
                            self.wake_head(&mut guards, now);
                        }
                        until.unwrap_or(Timestamp::MAX).min(expires_at)
                    }
                    PollOutcome::NotQueued => {
                        position.left = true;
                        let levels = guards.levels(now, user, tokens);
                        return Err(rejection(
                            LimitReject::Displaced,
                            None,
                            &levels,
                            guards.limiter.waiting(),
                        ));
                    }
                }
            };
            tokio::select! {
                biased;
                () = position.turn.notified() => {}
                () = self.env.clock.sleep_until(wake_at) => {}
            }
            woke = true;
        }
    }

    /// Leaves the queue after the longest wait that `limit.max_wait` allows.
    fn give_up(&self, position: &mut QueuePosition<'_, T, O>, user: &UserId, tokens: u64) -> Failure {
        let held = position.leave();
        let guards = self.lock();
        let levels = guards.levels(self.env.clock.now(), user, tokens);
        if !held {
            // between the two locks it was displaced, and that was emitted
            return rejection(LimitReject::Displaced, None, &levels, guards.limiter.waiting());
        }
        let reason = LimitReject::WaitTooLong;
        let failure = rejection(reason, None, &levels, guards.limiter.waiting());
        self.emit_rejected(&guards, position.flight, reason, None, levels);
        failure
    }
}
