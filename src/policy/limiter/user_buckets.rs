//! What a user has of its own: a bucket of requests, one of LLM tokens, either, or none.

use super::pausable_bucket::Reservoir;
use crate::event::{BucketLevel, Constraint};
use crate::settings::{Bucket, UserLimits};
use crate::time::Timestamp;

/// The own buckets of a user. A limit that it does not have holds nobody up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Purse {
    requests: Option<Own>,
    tokens: Option<Own>,
}

/// A bucket and since when there is one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Own {
    bucket: Reservoir,
    /// The settings that made it. A grant of earlier ones was not charged to it, and gives nothing back.
    since: u64,
}

/// What is taken from a purse, or given back to it.
#[derive(Clone, Copy, Debug)]
pub(super) enum Flow {
    /// A grant takes a request and these.
    Out(u64),
    /// A settlement gives back a request, or none, and these.
    Back { request: bool, tokens: u64 },
    /// A settlement takes so many more.
    Debt(u64),
}

impl Purse {
    /// Full buckets, made by these settings.
    pub(super) fn full(limits: &UserLimits, now: Timestamp, version: u64) -> Self {
        Self::default().configured(limits, now, version)
    }

    /// Obeys other limits. A bucket that is new is full; what is in the others stays, as far as it fits.
    pub(super) fn configured(self, limits: &UserLimits, now: Timestamp, version: u64) -> Self {
        let bucket = |old: Option<Own>, settings: &Option<Bucket>| {
            let settings = settings.as_ref()?;
            let kept = old.map(|own| Own {
                bucket: own.bucket.at(now).configured(settings),
                ..own
            });
            let fresh = || Own {
                bucket: Reservoir::full(settings, now),
                since: version,
            };
            Some(kept.unwrap_or_else(fresh))
        };
        Self {
            requests: bucket(self.requests, &limits.requests),
            tokens: bucket(self.tokens, &limits.tokens),
        }
    }

    /// Whether there is any bucket.
    pub(super) fn is_some(self) -> bool {
        self.requests.is_some() || self.tokens.is_some()
    }

    /// Whether a call with so many LLM tokens could ever be paid from it.
    pub(super) fn could_hold(self, tokens: u64) -> bool {
        self.tokens
            .is_none_or(|own| tokens <= own.bucket.level().capacity)
    }

    /// When it holds enough for a call with so many LLM tokens, and which bucket that waits for; `now` and none
    /// if it does already.
    pub(super) fn ready(self, now: Timestamp, tokens: u64) -> (Timestamp, Option<Constraint>) {
        let mut found = (now, None);
        for (own, units, constraint) in [
            (self.requests, 1, Constraint::UserRequests),
            (self.tokens, tokens, Constraint::UserTokens),
        ] {
            let ready = own.map_or(now, |own| own.bucket.at(now).ready_at(units));
            if ready > found.0 {
                found = (ready, Some(constraint));
            }
        }
        found
    }

    /// When all buckets are full, if nobody takes any more.
    pub(super) fn full_at(self, now: Timestamp) -> Timestamp {
        let owns = [self.requests, self.tokens].into_iter().flatten();
        let full = owns.map(|own| own.bucket.at(now).ready_at(u64::MAX));
        full.max().unwrap_or(now)
    }

    /// The same purse after that. `version`: of the settings under which the grant was given.
    pub(super) fn after(self, now: Timestamp, flow: Flow, version: u64) -> Self {
        let (requests, tokens): (fn(Reservoir) -> Reservoir, _) = match flow {
            Flow::Out(_) => (|bucket| bucket.debited(1), flow),
            Flow::Back { request: true, .. } => (|bucket| bucket.credited(1), flow),
            Flow::Back { .. } | Flow::Debt(_) => (|bucket| bucket, flow),
        };
        let tokens = |bucket: Reservoir| match tokens {
            Flow::Out(units) | Flow::Debt(units) => bucket.debited(units),
            Flow::Back { tokens, .. } => bucket.credited(tokens),
        };
        let change = |own: Own, to: &dyn Fn(Reservoir) -> Reservoir| Own {
            bucket: if own.since <= version {
                to(own.bucket.at(now))
            } else {
                own.bucket
            },
            ..own
        };
        Self {
            requests: self.requests.map(|own| change(own, &requests)),
            tokens: self.tokens.map(|own| change(own, &tokens)),
        }
    }

    /// The levels, of requests and of LLM tokens.
    pub(super) fn levels(self, now: Timestamp) -> (Option<BucketLevel>, Option<BucketLevel>) {
        let level = |own: Own| own.bucket.at(now).level();
        (self.requests.map(level), self.tokens.map(level))
    }
}
