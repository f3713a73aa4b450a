//! The buckets that users have of their own: invariants 11 and 12, for each of them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::bucket::{Bucket, Flow};
use super::index::Flight;
use super::violation::Holds;
use crate::event::{BucketLevel, Event, FlightId, UserId, UserLevels};
use crate::settings::{Bucket as Settings, LimitSettings, UserLimits};
use crate::time::Timestamp;

/// Whose bucket it is that too many users share.
const OTHERS: &str = "(others)";

/// See the module documentation.
#[derive(Debug)]
pub(super) struct Users {
    settings: LimitSettings,
    /// Counts settings.
    version: u64,
    /// Of all who have been there, and of the others where there are too many.
    purses: BTreeMap<UserId, Purse>,
    /// Whose buckets a grant was charged to, and under which settings.
    grants: BTreeMap<FlightId, (Option<UserId>, u64)>,
}

/// What a user has.
#[derive(Debug, Default)]
struct Purse {
    requests: Option<Own>,
    tokens: Option<Own>,
}

#[derive(Debug)]
struct Own {
    bucket: Bucket,
    /// The settings that made it: what was granted before was not charged to it.
    since: u64,
}

impl Users {
    pub(super) fn new() -> Self {
        Self {
            settings: LimitSettings::default(),
            version: 0,
            purses: BTreeMap::new(),
            grants: BTreeMap::new(),
        }
    }

    pub(super) fn configure(&mut self, settings: &LimitSettings, now: Timestamp) {
        self.settings = settings.clone();
        self.version += 1;
        for (user, purse) in &mut self.purses {
            purse.configure(settings.of_user(user.as_str()), now, self.version);
        }
    }

    /// A user was there.
    pub(super) fn saw(&mut self, user: &UserId, now: Timestamp) {
        self.open(user, now);
        if self.are_too_many() {
            self.open(&UserId::new(OTHERS), now);
        }
    }

    /// Whether there may be more users than are kept apart.
    pub(super) fn are_too_many(&self) -> bool {
        // once some share a bucket, their calls may hold it for longer than the settings that made them
        self.purses.len() > self.settings.max_users || self.purses.contains_key(&UserId::new(OTHERS))
    }

    fn open(&mut self, user: &UserId, now: Timestamp) {
        if !self.purses.contains_key(user) {
            let mut purse = Purse::default();
            purse.configure(self.settings.of_user(user.as_str()), now, self.version);
            self.purses.insert(user.clone(), purse);
        }
    }

    /// Whether any user has a bucket of its own.
    pub(super) fn have_any(&self) -> bool {
        has_any(&self.settings.each_user) || self.settings.users.values().any(has_any)
    }

    /// Whether this one has, or may share one.
    pub(super) fn has_own(&self, user: &UserId) -> bool {
        let shared = self.are_too_many() && has_any(&self.settings.each_user);
        shared || has_any(self.settings.of_user(user.as_str()))
    }

    /// Whether a user's own buckets may have too little for a call.
    pub(super) fn may_be_short(
        &self,
        user: &UserId,
        needs: Option<u64>,
        at: Timestamp,
        late: Duration,
    ) -> bool {
        if !self.has_own(user) {
            return false;
        }
        let (Some(needs), Some(purse), false) = (needs, self.purses.get(user), self.are_too_many()) else {
            return true;
        };
        let surely = |own: &Option<Own>, units: u64| {
            let own = own.as_ref();
            own.is_none_or(|own| own.bucket.surely_holds(units, at, late))
        };
        !(surely(&purse.requests, 1) && surely(&purse.tokens, needs))
    }

    /// A grant, charged unless the limiter is off.
    pub(super) fn granted(
        &mut self,
        flight: &Flight,
        event: &Arc<Event>,
        reserved: Option<u64>,
        told: Option<&UserLevels>,
        late: Duration,
    ) -> Holds {
        self.named(flight, told)?;
        let user = told.map(|told| told.user.clone());
        self.grants.insert(flight.id, (user, self.version));
        let flows = (reserved.map(|_| Flow::Granted(1)), reserved.map(Flow::Granted));
        self.told(flight, event, flows, (told, self.version), late)
    }

    /// A settlement: what goes back to all goes back to the user, and what is owed is owed by it.
    pub(super) fn settled(
        &mut self,
        flight: &Flight,
        event: &Arc<Event>,
        flows: (Option<Flow>, Option<Flow>),
        told: Option<&UserLevels>,
        late: Duration,
    ) -> Holds {
        self.named(flight, told)?;
        let (charged, version) = self.grants.remove(&flight.id).unwrap_or((None, self.version));
        let same = match (&charged, told) {
            (Some(charged), Some(told)) => told.user == *charged,
            _ => true,
        };
        flight.ensure(same, 13, || format!("its grant was charged to {charged:?}"))?;
        self.told(flight, event, flows, (told, version), late)
    }

    /// Invariant 12: the buckets that are told are those that the settings give.
    fn named(&self, flight: &Flight, told: Option<&UserLevels>) -> Holds {
        let user = &flight.request.0;
        let limits = &self.settings;
        let fits = |name: &str| {
            let limits = limits.of_user(name);
            let (requests, tokens) = told.map_or((None, None), |told| (told.requests, told.tokens));
            limits.requests.is_some() == requests.is_some() && limits.tokens.is_some() == tokens.is_some()
        };
        let shared = self.are_too_many();
        let right = match told {
            Some(told) if told.user == *user => fits(user.as_str()),
            Some(told) => told.user.as_str() == OTHERS && fits(OTHERS),
            None => fits(user.as_str()) || (shared && fits(OTHERS)),
        };
        let own = told.is_none_or(|told| told.user == *user || self.are_too_many());
        flight.ensure(right && own, 12, || {
            format!("the buckets of {user} are those that its limits give, and no others")
        })
    }

    /// Invariants 11 and 12 of the buckets that are told.
    fn told(
        &mut self,
        flight: &Flight,
        event: &Arc<Event>,
        (request, token): (Option<Flow>, Option<Flow>),
        (told, version): (Option<&UserLevels>, u64),
        late: Duration,
    ) -> Holds {
        let Some(told) = told else { return Ok(()) };
        let Some(purse) = self.purses.get_mut(&told.user) else {
            return Ok(());
        };
        for (own, level, flow) in [
            (&mut purse.requests, told.requests, request),
            (&mut purse.tokens, told.tokens, token),
        ] {
            if let (Some(own), Some(level)) = (own, level) {
                own.told(event, &level, flow.filter(|_| own.since <= version), late)
                    .map_err(|breach| breach.with(flight.proof()))?;
            }
        }
        Ok(())
    }
}

impl Purse {
    fn configure(&mut self, limits: &UserLimits, now: Timestamp, version: u64) {
        for (own, name, settings) in [
            (&mut self.requests, "the user's requests", &limits.requests),
            (&mut self.tokens, "the user's LLM tokens", &limits.tokens),
        ] {
            match (own.as_mut(), settings) {
                (Some(own), Some(settings)) => own.bucket.configure(settings, now),
                (_, None) => *own = None,
                (None, Some(settings)) => *own = Some(Own::full(name, settings, now, version)),
            }
        }
    }
}

impl Own {
    fn full(name: &'static str, settings: &Settings, now: Timestamp, since: u64) -> Self {
        Self {
            bucket: Bucket::full(name, settings, now),
            since,
        }
    }

    fn told(&mut self, event: &Arc<Event>, level: &BucketLevel, flow: Option<Flow>, late: Duration) -> Holds {
        if let Some(flow) = flow {
            self.bucket.count(event, flow, late)?;
        }
        // a server's slow-down is not the user's
        self.bucket.told(event.at, level, flow, false, late)
    }
}

fn has_any(limits: &UserLimits) -> bool {
    limits.requests.is_some() || limits.tokens.is_some()
}
