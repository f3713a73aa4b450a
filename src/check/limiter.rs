//! The limiter: its slots, its two buckets and the settlement of each grant. [`super::queue`] has its queue,
//! [`super::users`] the buckets of single users.

use std::sync::Arc;
use std::time::Duration;

use super::Slack;
use super::bucket::{Bucket, Flow};
use super::index::{CallIndex, Flight, Grant};
use super::queue::Queue;
use super::users::Users;
use super::violation::{Holds, ensure};
use crate::event::{
    AttemptResult, BucketLevel, Event, EventKind, Failure, FailureClass, FlightId, LimitReject, Phase,
};
use crate::settings::{Counts, LimitSettings};
use crate::time::Timestamp;

/// Duration of the slow-down after a 429 without a hint.
const SLOW_FOR: Duration = Duration::from_secs(30);

#[derive(Debug)]
pub(super) struct Limiter {
    settings: LimitSettings,
    /// Number of the settings in force.
    version: u64,
    buckets: Option<(Bucket, Bucket)>,
    queue: Queue,
    users: Users,
    in_use: u32,
    paused_until: Timestamp,
    /// The end of a possible slow-down.
    slow_until: Timestamp,
}

/// The recorded levels of a grant or a settlement, and their flows.
struct Levels<'a> {
    requests: (&'a BucketLevel, Option<Flow>),
    tokens: (&'a BucketLevel, Option<Flow>),
}

impl Limiter {
    pub(super) fn new() -> Self {
        Self {
            settings: LimitSettings::default(),
            version: 0,
            buckets: None,
            queue: Queue::new(),
            users: Users::new(),
            in_use: 0,
            paused_until: Timestamp::ZERO,
            slow_until: Timestamp::ZERO,
        }
    }

    pub(super) fn configure(&mut self, settings: &LimitSettings, now: Timestamp) {
        self.settings = settings.clone();
        self.version += 1;
        self.users.configure(settings, now);
        self.queue.configure(settings, &self.users);
        match &mut self.buckets {
            None => {
                let requests = Bucket::full("requests", &settings.requests, now);
                let tokens = Bucket::full("LLM tokens", &settings.tokens, now);
                self.buckets = Some((requests, tokens));
            }
            Some((requests, tokens)) => {
                requests.configure(&settings.requests, now);
                tokens.configure(&settings.tokens, now);
            }
        }
    }

    pub(super) fn apply(&mut self, index: &mut CallIndex, event: &Arc<Event>, slack: Slack) -> Holds {
        match &event.kind {
            EventKind::LimitQueued {
                position,
                waiting,
                ready_at,
                levels,
                ..
            } => {
                let id = index.flight(event)?.id;
                let deadline = index.flights.get(&id).map(|flight| index.last_deadline(flight));
                let flight = index.flight(event)?;
                let in_time =
                    ready_at.is_none_or(|at| deadline.is_some_and(|deadline| at <= deadline.max(event.at)));
                flight.ensure(in_time || !slack.stamp.is_zero(), 4, || {
                    format!("it is due at {ready_at:?}, the deadline is {deadline:?}")
                })?;
                let needs = levels.as_ref().map(|levels| levels.needs);
                self.users.levels(&flight.request.0, event.at);
                let recorded = (*position as usize, *waiting as usize);
                self.queue
                    .join(flight, needs, self.version, recorded, &self.users)
            }
            EventKind::LimitLeft { waiting } => {
                let flight = index.flight(event)?;
                self.queue.leave(flight, *waiting as usize, &self.users)
            }
            EventKind::LimitRejected { waiting, reason, .. } => {
                let flight = index.flight(event)?;
                flight.rejected = true;
                self.users.levels(&flight.request.0, event.at);
                let waiting = *waiting as usize;
                match reason {
                    LimitReject::Displaced => self.queue.displace(flight, waiting, &self.users),
                    _ => self.queue.reject(flight, waiting),
                }
            }
            EventKind::LimitHeadChanged { .. } => {
                let flight = index.flight(event)?;
                let queued = self.queue.flights().any(|id| id == flight.id);
                flight.ensure(queued, 14, || "the head is not in the queue".into())
            }
            EventKind::LimitPaused { until } => {
                self.paused_until = self.paused_until.max(*until);
                Ok(())
            }
            EventKind::LimitAdmitted { .. } => self.admitted(index.flight(event)?, event, slack),
            EventKind::LimitSettled { .. } => self.settled(index.flight(event)?, event, slack),
            EventKind::AttemptStarted { attempt, .. } => attempt_started(index.flight(event)?, *attempt),
            EventKind::AttemptEnded {
                result: AttemptResult::Failed { failure },
                ..
            } if failure.class == FailureClass::RateLimited => {
                self.slow_until = self.slow_until.max(event.at + SLOW_FOR + slack.timer);
                Ok(())
            }
            EventKind::CallEnded { .. } => self.no_waiter_left(index, event),
            _ => Ok(()),
        }
    }

    /// Checks that nothing is held at the end of a closed session.
    pub(super) fn rest(&self) -> Holds {
        let waiting = self.queue.len();
        ensure(self.in_use == 0 && waiting == 0, 34, || {
            format!("{} slots are in use, and {waiting} wait", self.in_use)
        })
    }

    /// Checks invariants 11, 12, 14, 15 and 34.
    fn admitted(&mut self, flight: &mut Flight, event: &Arc<Event>, slack: Slack) -> Holds {
        let EventKind::LimitAdmitted {
            reserved,
            requests,
            tokens,
            in_use,
            waiting,
            user,
            ..
        } = &event.kind
        else {
            return Ok(());
        };
        let enabled = self.settings.enabled;
        flight.ensure(flight.grant.is_none() && !flight.running, 13, || {
            "it has a grant already".into()
        })?;
        self.users.levels(&flight.request.0, event.at);
        let queued = self
            .queue
            .admit(flight, event.at, *reserved, slack.stamp, &self.users)?;
        let count = self.queue.len();
        flight.ensure(*waiting as usize == count, 14, || format!("{count} wait"))?;
        self.in_use += 1;
        let slots = *in_use == self.in_use && (!enabled || self.in_use <= self.settings.concurrency);
        flight.ensure(slots, 34, || {
            format!(
                "{} slots of {} are in use",
                self.in_use, self.settings.concurrency
            )
        })?;
        flight.grant = Some(Grant {
            reserved: *reserved,
            charged: enabled,
            attempts: flight.attempts,
        });
        let own = user.as_deref();
        if !enabled {
            self.users.granted(flight, event, None, own, slack.stamp)?;
            let levels = Levels {
                requests: (requests, None),
                tokens: (tokens, None),
            };
            return self.check_levels(event, &levels, slack);
        }
        let excused = queued.is_some_and(|version| version != self.version);
        let too_large = self
            .buckets
            .as_ref()
            .is_some_and(|(_, tokens)| *reserved > tokens.capacity());
        let too_large =
            too_large || own.is_some_and(|own| own.tokens.is_some_and(|own| *reserved > own.capacity));
        flight.ensure(!too_large || excused, 15, || {
            format!("{reserved} LLM tokens exceed the capacity of the bucket")
        })?;
        flight.ensure(event.at >= self.paused_until, 11, || {
            format!("nothing may be granted before {}", self.paused_until)
        })?;
        self.users
            .granted(flight, event, Some(*reserved), own, slack.stamp)?;
        if let Some((requests, tokens)) = &mut self.buckets {
            requests.count(event, Flow::Granted(1), slack.stamp)?;
            tokens.count(event, Flow::Granted(*reserved), slack.stamp)?;
        }
        let levels = Levels {
            requests: (requests, Some(Flow::Granted(1))),
            tokens: (tokens, Some(Flow::Granted(*reserved))),
        };
        self.check_levels(event, &levels, slack)
    }

    /// Checks invariants 12, 13 and 34.
    fn settled(&mut self, flight: &mut Flight, event: &Arc<Event>, slack: Slack) -> Holds {
        let EventKind::LimitSettled {
            reserved,
            charged,
            refunded,
            requests,
            tokens,
            in_use,
            user,
            ..
        } = &event.kind
        else {
            return Ok(());
        };
        let grant = flight.grant.take();
        let Some(grant) = grant.filter(|grant| grant.reserved == *reserved) else {
            return flight.ensure(false, 13, || format!("the grant it settles is {grant:?}"));
        };
        self.in_use = self.in_use.saturating_sub(1);
        flight.ensure(*in_use == self.in_use, 34, || {
            format!("{} slots are in use", self.in_use)
        })?;
        let cap = self.buckets.as_ref().map_or(0, |(_, tokens)| tokens.capacity());
        check_charge(flight, grant, *charged, *refunded, cap)?;
        let request = refunded.then_some(Flow::Returned(1));
        let token = match charged.checked_sub(*reserved) {
            _ if !grant.charged => None,
            Some(more) => Some(Flow::Debt(more)),
            None => Some(Flow::Returned(reserved - charged)),
        };
        self.users
            .settled(flight, event, (request, token), user.as_deref(), slack.stamp)?;
        if let Some((requests, tokens)) = &mut self.buckets {
            for (bucket, flow) in [(requests, request), (tokens, token)] {
                if let Some(flow) = flow {
                    bucket.count(event, flow, slack.stamp)?;
                }
            }
        }
        let levels = Levels {
            requests: (requests, request),
            tokens: (tokens, token),
        };
        self.check_levels(event, &levels, slack)
    }

    fn check_levels(&mut self, event: &Event, levels: &Levels<'_>, slack: Slack) -> Holds {
        let Some((requests, tokens)) = &mut self.buckets else {
            return Ok(());
        };
        let slowed = |bucket: &Bucket| bucket.since().is_some_and(|since| since < self.slow_until);
        for (bucket, (level, flow)) in [(requests, levels.requests), (tokens, levels.tokens)] {
            let slowed = slowed(bucket);
            bucket.check_level(event.at, level, flow, slowed, slack.stamp)?;
        }
        Ok(())
    }

    /// Checks that no ended flight is in the queue.
    fn no_waiter_left(&self, index: &CallIndex, event: &Event) -> Holds {
        let over = |id: &FlightId| {
            let flight = index.flights.get(id);
            flight.is_none_or(|flight| flight.subscribers.is_empty())
        };
        match self
            .queue
            .flights()
            .find(over)
            .and_then(|id| index.flights.get(&id))
        {
            Some(flight) => flight.ensure(false, 34, || {
                format!("{:?} has ended and is still in the queue", event.call)
            }),
            None => Ok(()),
        }
    }
}

/// Checks invariant 13 when an attempt starts: it has its own grant or that of its flight.
fn attempt_started(flight: &Flight, attempt: u32) -> Holds {
    let Some(grant) = flight.grant else {
        return flight.ensure(false, 13, || "it has no grant".into());
    };
    let unused = attempt == grant.attempts + 1;
    let shared = flight.any(|policy| policy.limit.charges == Counts::Call);
    flight.ensure(unused || shared, 13, || {
        "an earlier attempt used its grant".into()
    })
}

/// Checks invariant 13 when a grant is settled: the results of its attempts determine the charge.
fn check_charge(flight: &Flight, grant: Grant, charged: u64, refunded: bool, capacity: u64) -> Holds {
    let reserved = grant.reserved;
    if !grant.charged {
        return flight.ensure(charged == 0 && !refunded, 13, || "nothing was charged".into());
    }
    flight.ensure(!flight.running, 13, || "its attempt still runs".into())?;
    let most = reserved.saturating_add(capacity);
    let by_text = || {
        let no_text = !flight.delivered && charged == reserved;
        let some_text =
            flight.delivered && charged >= flight.prompt_tokens.saturating_add(flight.chunks).min(most);
        !refunded && (no_text || some_text)
    };
    let fits = match &flight.outcome {
        _ if flight.attempts == grant.attempts => refunded && charged == 0,
        // cancelled in the wait before the next attempt, with a grant for the whole call
        _ if flight.scheduled.is_some() => !refunded && charged == reserved,
        Some(AttemptResult::Succeeded { usage, .. }) => !refunded && charged == usage.total().min(most),
        Some(AttemptResult::Failed { failure }) => match failure.phase {
            _ if matches!(failure.class, FailureClass::Deadline | FailureClass::Internal) => by_text(),
            _ if is_unsent(failure) => refunded && charged == 0,
            Phase::NotSent => refunded && charged == 0,
            Phase::Refused | Phase::Final => !refunded && charged == 0,
            Phase::Ambiguous | Phase::Begun => !refunded && charged == reserved,
            Phase::Delivered => by_text(),
        },
        Some(AttemptResult::Cancelled) => by_text(),
        None => false,
    };
    flight.ensure(fits, 13, || {
        let refund = if refunded {
            "and the request refunded"
        } else {
            "and the request kept"
        };
        format!(
            "{charged} of {reserved} LLM tokens are charged, {refund}, for {:?}",
            flight.outcome
        )
    })
}

/// Returns true if no byte can have reached the server.
fn is_unsent(failure: &Failure) -> bool {
    use FailureClass as C;
    failure.phase == Phase::NotSent
        || matches!(failure.class, C::Connect | C::ConnectTimeout | C::Dns | C::Tls)
}
