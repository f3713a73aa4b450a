//! The buckets of one user: requests, LLM tokens, both or neither.

use super::throttled_bucket::ThrottledBucket;
use super::waiting_calls::{Demand, WaitingCalls};
use crate::event::{BucketLevel, Constraint};
use crate::settings::{Bucket, UserLimits};
use crate::time::Timestamp;

/// The buckets of one user. A missing bucket does not limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct UserBuckets {
    requests: Option<UserBucket>,
    tokens: Option<UserBucket>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct UserBucket {
    bucket: ThrottledBucket,
    /// Version of the settings that created it. A grant from before was not charged to it and refunds nothing.
    since: u64,
}

/// A change to a pair of buckets, of requests and of LLM tokens.
#[derive(Clone, Copy, Debug)]
pub(super) enum BucketChange {
    /// A grant debits one request and these tokens.
    Grant(u64),
    /// A settlement returns these tokens, and the request if it was not sent.
    Refund { request: bool, tokens: u64 },
    /// A settlement debits these additional tokens.
    Debt(u64),
}

impl BucketChange {
    pub(super) fn apply_to_requests(self, bucket: ThrottledBucket) -> ThrottledBucket {
        match self {
            Self::Grant(_) => bucket.debited(1),
            Self::Refund { request: true, .. } => bucket.credited(1),
            Self::Refund { .. } | Self::Debt(_) => bucket,
        }
    }

    pub(super) fn apply_to_tokens(self, bucket: ThrottledBucket) -> ThrottledBucket {
        match self {
            Self::Grant(tokens) | Self::Debt(tokens) => bucket.debited(tokens),
            Self::Refund { tokens, .. } => bucket.credited(tokens),
        }
    }
}

impl UserBuckets {
    /// Full buckets, created by the settings of this version.
    pub(super) fn full(limits: &UserLimits, now: Timestamp, version: u64) -> Self {
        Self::default().configured(limits, now, version)
    }

    /// Adopts new limits. A new bucket is full; an existing one keeps its level, capped at the new capacity.
    pub(super) fn configured(self, limits: &UserLimits, now: Timestamp, version: u64) -> Self {
        let bucket = |old: Option<UserBucket>, settings: &Option<Bucket>| {
            let settings = settings.as_ref()?;
            Some(match old {
                Some(old) => UserBucket {
                    bucket: old.bucket.at(now).configured(settings),
                    ..old
                },
                None => UserBucket {
                    bucket: ThrottledBucket::full(settings, now),
                    since: version,
                },
            })
        };
        Self {
            requests: bucket(self.requests, &limits.requests),
            tokens: bucket(self.tokens, &limits.tokens),
        }
    }

    pub(super) fn has_any(&self) -> bool {
        self.requests.is_some() || self.tokens.is_some()
    }

    /// True if the capacity suffices for a call of this size.
    pub(super) fn can_hold(&self, tokens: u64) -> bool {
        self.tokens
            .is_none_or(|own| tokens <= own.bucket.level().capacity)
    }

    /// The instant at which the buckets suffice for a call of this size, and the bucket that fills last; `now`
    /// and `None` if they suffice already.
    pub(super) fn ready(&self, now: Timestamp, tokens: u64) -> (Timestamp, Option<Constraint>) {
        let mut latest = (now, None);
        if !self.has_any() {
            return latest;
        }
        for (own, units, constraint) in [
            (self.requests, 1, Constraint::UserRequests),
            (self.tokens, tokens, Constraint::UserTokens),
        ] {
            let ready = own.map_or(now, |own| own.bucket.at(now).ready_at(units));
            if ready > latest.0 {
                latest = (ready, Some(constraint));
            }
        }
        latest
    }

    /// The same behind other calls of the user; a lower bound if a bucket fills up in between.
    pub(super) fn ready_after(
        &self,
        now: Timestamp,
        ahead: Demand,
        tokens: u64,
    ) -> (Timestamp, Option<Constraint>) {
        let mut latest = (now, None);
        for (own, ahead, units, constraint) in [
            (self.requests, ahead.calls, 1, Constraint::UserRequests),
            (self.tokens, ahead.tokens, tokens, Constraint::UserTokens),
        ] {
            let ready = own.map_or(now, |own| own.bucket.at(now).ready_after(ahead, units));
            if ready > latest.0 {
                latest = (ready, Some(constraint));
            }
        }
        latest
    }

    /// The number of the first `count` waiters that the buckets admit by an instant.
    pub(super) fn admits_by(&self, horizon: Timestamp, waiting: &WaitingCalls, count: usize) -> usize {
        let units = |own: UserBucket| {
            let level = own.bucket.at(horizon).level();
            u64::try_from(level.scaled).unwrap_or(0) / level.per_ns.max(1)
        };
        let calls = self.requests.map_or(u64::MAX, units);
        let fitting = self.tokens.map_or(count, |own| waiting.fitting(units(own)));
        count
            .min(fitting)
            .min(usize::try_from(calls).unwrap_or(usize::MAX))
    }

    /// The instant at which all buckets are full if nothing more is debited.
    pub(super) fn full_at(&self, now: Timestamp) -> Timestamp {
        let buckets = [self.requests, self.tokens].into_iter().flatten();
        let full = buckets.map(|own| own.bucket.at(now).ready_at(u64::MAX));
        full.max().unwrap_or(now)
    }

    /// Changes the buckets. `version` is that of the settings under which the grant was made.
    pub(super) fn change(&mut self, now: Timestamp, change: BucketChange, version: u64) {
        if self.has_any() {
            *self = self.changed(now, change, version);
        }
    }

    fn changed(self, now: Timestamp, change: BucketChange, version: u64) -> Self {
        let apply =
            |own: UserBucket, apply: fn(BucketChange, ThrottledBucket) -> ThrottledBucket| UserBucket {
                bucket: if own.since <= version {
                    apply(change, own.bucket.at(now))
                } else {
                    own.bucket
                },
                ..own
            };
        Self {
            requests: self
                .requests
                .map(|own| apply(own, BucketChange::apply_to_requests)),
            tokens: self.tokens.map(|own| apply(own, BucketChange::apply_to_tokens)),
        }
    }

    /// The levels of requests and of LLM tokens.
    pub(super) fn levels(self, now: Timestamp) -> (Option<BucketLevel>, Option<BucketLevel>) {
        let level = |own: UserBucket| own.bucket.at(now).level();
        (self.requests.map(level), self.tokens.map(level))
    }
}
