//! What the limiter let through: a grant of one request, tokens and a slot, settled by what was used of it.
//!
//! ```text
//! grant ──┬─ result ──> used so many tokens, unsent (given back), or unknown (kept as reserved)
//!         └─ dropped ─> the same, by how far the attempt came
//! ```

use std::time::Duration;

use super::Guards;
use crate::client::Core;
use crate::client::answer::Answer;
use crate::client::flight::Flight;
use crate::client::transport::Transport;
use crate::event::{EventKind, Failure, FailureClass, Observer, Phase, UserLevels};
use crate::policy::classify;
use crate::policy::limiter::{Grant, Settlement, UserQueueId};
use crate::time::Timestamp;

/// How long a 429 without a hint slows the limiter down, and to what share of its rate.
const SLOW_FOR: Duration = Duration::from_secs(30);
const SLOW_TO: f64 = 0.7;

/// A limiter's grant. Dropped, it is settled by how far the attempt came.
pub(in crate::client) struct Ride<'a, T: Transport, O: Observer> {
    core: &'a Core<T, O>,
    flight: &'a Flight,
    grant: Option<Grant>,
    prompt_tokens: u64,
    sent: bool,
}

impl<T: Transport, O: Observer> Ride<'_, T, O> {
    /// From here on the request counts as sent.
    pub(in crate::client) fn mark_sent(&mut self) {
        self.sent = true;
    }

    /// Settles the grant.
    pub(in crate::client) fn settle(&mut self, settlement: Settlement) {
        let Some(grant) = self.grant.take() else { return };
        let mut guards = self.core.lock();
        let now = self.core.env.clock.now();
        let lane = grant.user_queue();
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
    pub(in crate::client) fn settle_result(&mut self, result: &Result<Answer, Failure>) {
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

impl Guards {
    /// The user's own buckets, where it has any.
    fn own(&self, now: Timestamp, lane: UserQueueId) -> Option<Box<UserLevels>> {
        self.limiter.queue_levels(now, lane).map(Box::new)
    }
}

impl<T: Transport, O: Observer> Core<T, O> {
    /// The ride of somebody whom the limiter let through.
    pub(super) fn ride<'a>(&'a self, flight: &'a Flight, grant: Grant, prompt_tokens: u64) -> Ride<'a, T, O> {
        Ride {
            core: self,
            flight,
            grant: Some(grant),
            prompt_tokens,
            sent: false,
        }
    }

    /// A ride for attempts whose limiter charges calls, not attempts: nothing to settle.
    pub(in crate::client) fn free_ride<'a>(&'a self, flight: &'a Flight) -> Ride<'a, T, O> {
        Ride {
            core: self,
            flight,
            grant: None,
            prompt_tokens: 0,
            sent: false,
        }
    }

    /// A 429 that names no wait still says that the rate is too high: take it back for a while. One that
    /// does has paused the limiter already.
    pub(in crate::client) fn heed_rate_limit(&self, failure: &Failure) {
        if failure.class != FailureClass::RateLimited {
            return;
        }
        let mut guards = self.lock();
        if failure.hint.is_none() || !guards.policy.retry.obey_hints {
            let now = self.env.clock.now();
            guards.limiter.slow(now, SLOW_TO, now + SLOW_FOR);
        }
    }

    pub(super) fn note_admitted(&self, guards: &Guards, flight: &Flight, grant: &Grant, waited: Duration) {
        let now = self.env.clock.now();
        let kind = EventKind::LimitAdmitted {
            waited,
            reserved: grant.reserved(),
            requests: guards.limiter.requests(now),
            tokens: guards.limiter.tokens(now),
            in_use: guards.limiter.in_use(),
            waiting: guards.limiter.waiting(),
            user: guards.own(now, grant.user_queue()),
        };
        self.note(flight, kind);
    }
}
