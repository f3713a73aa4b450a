//! The buckets of single users: invariants 11 to 13 for each of them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::bucket::{Bucket, Flow};
use super::index::Flight;
use super::violation::Holds;
use crate::event::{BucketLevel, Event, FlightId, UserId, UserLevels};
use crate::settings::{Bucket as Settings, LimitSettings, UserLimits};
use crate::time::Timestamp;

/// The name of the bucket shared by users beyond the limit.
const OTHERS: &str = "(others)";

/// The buckets of all users.
#[derive(Debug)]
pub(super) struct Users {
    settings: LimitSettings,
    /// Number of the settings in force.
    version: u64,
    /// Every user seen, and the shared entry if there are too many.
    by_user: BTreeMap<UserId, UserBuckets>,
    /// The user charged for each grant, and the number of the settings.
    grants: BTreeMap<FlightId, (Option<UserId>, u64)>,
}

/// The buckets of one user.
#[derive(Debug, Default)]
struct UserBuckets {
    requests: Option<UserBucket>,
    tokens: Option<UserBucket>,
}

#[derive(Debug)]
struct UserBucket {
    bucket: Bucket,
    /// The number of the settings that created it: earlier grants were not charged to it.
    since: u64,
}

impl Users {
    pub(super) fn new() -> Self {
        Self {
            settings: LimitSettings::default(),
            version: 0,
            by_user: BTreeMap::new(),
            grants: BTreeMap::new(),
        }
    }

    pub(super) fn configure(&mut self, settings: &LimitSettings, now: Timestamp) {
        self.settings = settings.clone();
        self.version += 1;
        for (user, buckets) in &mut self.by_user {
            buckets.configure(settings.for_user(user.as_str()), now, self.version);
        }
    }

    /// Records a user.
    pub(super) fn levels(&mut self, user: &UserId, now: Timestamp) {
        self.open(user, now);
        if self.are_too_many() {
            self.open(&UserId::new(OTHERS), now);
        }
    }

    /// Returns true if there may be more users than have buckets of their own.
    pub(super) fn are_too_many(&self) -> bool {
        // calls may hold the shared bucket longer than the settings that created it
        self.by_user.len() > self.settings.max_users || self.by_user.contains_key(&UserId::new(OTHERS))
    }

    fn open(&mut self, user: &UserId, now: Timestamp) {
        if !self.by_user.contains_key(user) {
            let mut buckets = UserBuckets::default();
            buckets.configure(self.settings.for_user(user.as_str()), now, self.version);
            self.by_user.insert(user.clone(), buckets);
        }
    }

    /// Returns true if any user has a bucket of its own.
    pub(super) fn have_any(&self) -> bool {
        has_any(&self.settings.each_user) || self.settings.users.values().any(has_any)
    }

    /// Returns true if this user has a bucket of its own or may share one.
    pub(super) fn has_own(&self, user: &UserId) -> bool {
        let shared = self.are_too_many() && has_any(&self.settings.each_user);
        shared || has_any(self.settings.for_user(user.as_str()))
    }

    /// Returns true if the buckets of a user may be too low for a call.
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
        let (Some(needs), Some(buckets), false) = (needs, self.by_user.get(user), self.are_too_many()) else {
            return true;
        };
        let surely = |own: &Option<UserBucket>, units: u64| {
            let own = own.as_ref();
            own.is_none_or(|own| own.bucket.surely_holds(units, at, late))
        };
        !(surely(&buckets.requests, 1) && surely(&buckets.tokens, needs))
    }

    /// Checks a grant, charged unless the limiter is off.
    pub(super) fn granted(
        &mut self,
        flight: &Flight,
        event: &Arc<Event>,
        reserved: Option<u64>,
        levels: Option<&UserLevels>,
        late: Duration,
    ) -> Holds {
        self.check_names(flight, levels)?;
        let user = levels.map(|levels| levels.user.clone());
        self.grants.insert(flight.id, (user, self.version));
        let flows = (reserved.map(|_| Flow::Granted(1)), reserved.map(Flow::Granted));
        self.check_levels(flight, event, flows, (levels, self.version), late)
    }

    /// Checks a settlement: its flows apply to the buckets of the user as well.
    pub(super) fn settled(
        &mut self,
        flight: &Flight,
        event: &Arc<Event>,
        flows: (Option<Flow>, Option<Flow>),
        levels: Option<&UserLevels>,
        late: Duration,
    ) -> Holds {
        self.check_names(flight, levels)?;
        let (charged, version) = self.grants.remove(&flight.id).unwrap_or((None, self.version));
        let same = match (&charged, levels) {
            (Some(charged), Some(levels)) => levels.user == *charged,
            _ => true,
        };
        flight.ensure(same, 13, || format!("its grant was charged to {charged:?}"))?;
        self.check_levels(flight, event, flows, (levels, version), late)
    }

    /// Checks invariant 12: the recorded buckets are those of the settings.
    fn check_names(&self, flight: &Flight, levels: Option<&UserLevels>) -> Holds {
        let user = &flight.request.0;
        let limits = &self.settings;
        let fits = |name: &str| {
            let limits = limits.for_user(name);
            let (requests, tokens) = levels.map_or((None, None), |levels| (levels.requests, levels.tokens));
            limits.requests.is_some() == requests.is_some() && limits.tokens.is_some() == tokens.is_some()
        };
        let shared = self.are_too_many();
        let right = match levels {
            Some(levels) if levels.user == *user => fits(user.as_str()),
            Some(levels) => levels.user.as_str() == OTHERS && fits(OTHERS),
            None => fits(user.as_str()) || (shared && fits(OTHERS)),
        };
        let own = levels.is_none_or(|levels| levels.user == *user || self.are_too_many());
        flight.ensure(right && own, 12, || {
            format!("the recorded buckets of {user} differ from its limits")
        })
    }

    /// Checks invariants 11 and 12 for the recorded buckets.
    fn check_levels(
        &mut self,
        flight: &Flight,
        event: &Arc<Event>,
        (request, token): (Option<Flow>, Option<Flow>),
        (levels, version): (Option<&UserLevels>, u64),
        late: Duration,
    ) -> Holds {
        let Some(levels) = levels else { return Ok(()) };
        let Some(buckets) = self.by_user.get_mut(&levels.user) else {
            return Ok(());
        };
        for (own, level, flow) in [
            (&mut buckets.requests, levels.requests, request),
            (&mut buckets.tokens, levels.tokens, token),
        ] {
            if let (Some(own), Some(level)) = (own, level) {
                own.check_level(event, &level, flow.filter(|_| own.since <= version), late)
                    .map_err(|breach| breach.with(flight.proof()))?;
            }
        }
        Ok(())
    }
}

impl UserBuckets {
    fn configure(&mut self, limits: &UserLimits, now: Timestamp, version: u64) {
        for (own, name, settings) in [
            (&mut self.requests, "the user's requests", &limits.requests),
            (&mut self.tokens, "the user's LLM tokens", &limits.tokens),
        ] {
            match (own.as_mut(), settings) {
                (Some(own), Some(settings)) => own.bucket.configure(settings, now),
                (_, None) => *own = None,
                (None, Some(settings)) => *own = Some(UserBucket::full(name, settings, now, version)),
            }
        }
    }
}

impl UserBucket {
    fn full(name: &'static str, settings: &Settings, now: Timestamp, since: u64) -> Self {
        Self {
            bucket: Bucket::full(name, settings, now),
            since,
        }
    }

    fn check_level(
        &mut self,
        event: &Arc<Event>,
        level: &BucketLevel,
        flow: Option<Flow>,
        late: Duration,
    ) -> Holds {
        if let Some(flow) = flow {
            self.bucket.count(event, flow, late)?;
        }
        // a slow-down by the server does not affect the buckets of a user
        self.bucket.check_level(event.at, level, flow, false, late)
    }
}

fn has_any(limits: &UserLimits) -> bool {
    limits.requests.is_some() || limits.tokens.is_some()
}
