//! The limiter of a flight: a grant of one request, LLM tokens and a slot, settled by what was used of it.

use std::time::Duration;

use super::{AttemptEnd, FlightGuard, Guards};
use crate::client::Core;
use crate::client::flight::Flight;
use crate::client::transport::Transport;
use crate::event::{EventKind, Failure, FailureClass, Observer, Phase, UserId, UserLevels};
use crate::policy::classify;
use crate::policy::limiter::{Grant, Settlement, UserQueueId};
use crate::time::Timestamp;

/// Duration and factor of the slowdown after a 429 without a hint.
const SLOW_FOR: Duration = Duration::from_secs(30);
const SLOW_TO: f64 = 0.7;

impl<T: Transport, O: Observer> FlightGuard<'_, T, O> {
    /// Waits for a grant of the limiter: one request, `tokens` LLM tokens and a slot, all or nothing.
    pub(in crate::client) async fn acquire_limiter(
        &mut self,
        user: &UserId,
        tokens: u64,
    ) -> Result<(), Failure> {
        let grant = self.core.wait_for_grant(self.flight, user, tokens).await?;
        self.grant = Some(grant);
        self.sent = false;
        Ok(())
    }

    /// Settles the grant, if one is held, by what the attempt used as far as that can be known.
    pub(super) fn settle_limiter(&mut self, end: AttemptEnd<'_>) {
        let Some(grant) = self.grant.take() else { return };
        let chunks = self.flight.lock().chunks.len() as u64;
        let delivered = Settlement::Used(self.prompt_tokens + chunks);
        let settlement = match end {
            AttemptEnd::Answered(answer) => Settlement::Used(answer.usage.total()),
            AttemptEnd::Failed(failure) if classify::is_unsent(failure) => Settlement::Unsent,
            AttemptEnd::Failed(failure) => match failure.phase {
                Phase::NotSent => Settlement::Unsent,
                // refused before any work: the request counts, its tokens do not
                Phase::Refused | Phase::Final => Settlement::Used(0),
                Phase::Ambiguous | Phase::Begun => Settlement::Unknown,
                Phase::Delivered => delivered,
            },
            AttemptEnd::Dropped(_) if !self.sent => Settlement::Unsent,
            AttemptEnd::Dropped(_) if chunks == 0 => Settlement::Unknown,
            AttemptEnd::Dropped(_) => delivered,
        };
        let mut guards = self.core.lock();
        let now = self.core.env.clock.now();
        let queue = grant.user_queue();
        let settled = guards.limiter.settle(now, grant, settlement);
        let kind = EventKind::LimitSettled {
            reserved: settled.reserved,
            charged: settled.charged,
            refunded: settled.refunded,
            requests: guards.limiter.requests(now),
            tokens: guards.limiter.tokens(now),
            in_use: guards.limiter.in_use(),
            user: guards.user_levels(now, queue),
        };
        self.core.emit(self.flight, kind);
        self.core.wake_head(&mut guards, now);
    }
}

impl Guards {
    /// The buckets of the user, if it has any of its own.
    fn user_levels(&self, now: Timestamp, queue: UserQueueId) -> Option<Box<UserLevels>> {
        self.limiter.queue_levels(now, queue).map(Box::new)
    }
}

impl<T: Transport, O: Observer> Core<T, O> {
    /// Slows the limiter down for a while after a 429 that names no wait: the rate is still too high. A 429 that
    /// names one has paused the limiter already.
    pub(in crate::client) fn slow_after_rate_limit(&self, failure: &Failure) {
        if failure.class != FailureClass::RateLimited {
            return;
        }
        let mut guards = self.lock();
        if failure.hint.is_none() || !guards.policy.retry.obey_hints {
            let now = self.env.clock.now();
            guards.limiter.throttle(now, SLOW_TO, now + SLOW_FOR);
            self.emit_head(&mut guards, now);
        }
    }

    pub(super) fn emit_limit_admitted(
        &self,
        guards: &Guards,
        flight: &Flight,
        grant: &Grant,
        waited: Duration,
    ) {
        flight.lock().queued += waited;
        let now = self.env.clock.now();
        let kind = EventKind::LimitAdmitted {
            waited,
            reserved: grant.reserved(),
            requests: guards.limiter.requests(now),
            tokens: guards.limiter.tokens(now),
            in_use: guards.limiter.in_use(),
            waiting: guards.limiter.waiting(),
            user: guards.user_levels(now, grant.user_queue()),
        };
        self.emit(flight, kind);
    }
}
