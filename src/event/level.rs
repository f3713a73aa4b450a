//! The level of a token bucket as a function of time.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::settings::Bucket;
use crate::time::{Timestamp, saturating_nanos};

/// A token bucket at one instant, and therefore at every later one:
///
/// `level(t) = min(capacity, level + (t - as_of) * refill / per)`
///
/// Kept as an integer of `1/per` units (`scaled = level * per_ns`), so refill is exact: no remainder is
/// lost however often the level is read. Policy and screen use this one method, so they cannot disagree.
/// A negative level is debt: more was used than reserved.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BucketLevel {
    /// Units when full.
    pub capacity: u64,
    /// Units gained in each `per_ns`.
    pub refill: u64,
    /// The refill period in nanoseconds.
    pub per_ns: u64,
    /// `level * per_ns` at `as_of`; at most `capacity * per_ns`.
    pub scaled: i64,
    /// Time of `scaled`.
    pub as_of: Timestamp,
}

impl BucketLevel {
    /// A full bucket.
    pub fn full(settings: &Bucket, now: Timestamp) -> Self {
        let per_ns = saturating_nanos(settings.per).max(1);
        let mut level = Self {
            capacity: settings.capacity,
            refill: settings.refill,
            per_ns,
            scaled: 0,
            as_of: now,
        };
        level.scaled = level.full_scaled();
        level
    }

    /// The same bucket at `now`; unchanged if `now` is not later.
    #[must_use]
    pub fn at(self, now: Timestamp) -> Self {
        let elapsed = now.0.saturating_sub(self.as_of.0);
        let gained = i128::from(elapsed) * i128::from(self.refill);
        let scaled = (i128::from(self.scaled) + gained).min(i128::from(self.full_scaled()));
        Self {
            scaled: clamp(scaled),
            as_of: self.as_of.max(now),
            ..self
        }
    }

    /// Units in the bucket at `now`; negative is debt.
    pub fn level_at(self, now: Timestamp) -> f64 {
        self.at(now).scaled as f64 / self.per_ns as f64
    }

    /// Level over capacity at `now`, 0 to 1.
    pub fn share_at(self, now: Timestamp) -> f64 {
        (self.level_at(now) / self.capacity.max(1) as f64).clamp(0.0, 1.0)
    }

    /// Time at which the bucket holds `units` if nothing else is taken; `None` if `units` exceed the capacity.
    pub fn ready_at(self, units: u64) -> Option<Timestamp> {
        if units > self.capacity {
            return None;
        }
        let missing = i128::from(units) * i128::from(self.per_ns) - i128::from(self.scaled);
        if missing <= 0 {
            return Some(self.as_of);
        }
        let refill = i128::from(self.refill.max(1));
        let wait = (missing + refill - 1) / refill;
        Some(self.as_of + Duration::from_nanos(u64::try_from(wait).unwrap_or(u64::MAX)))
    }

    /// Takes `units`, into debt if need be. The caller asks [`Self::ready_at`] first.
    #[must_use]
    pub fn debited(self, units: u64) -> Self {
        let scaled = i128::from(self.scaled) - i128::from(units) * i128::from(self.per_ns);
        Self {
            scaled: clamp(scaled),
            ..self
        }
    }

    /// Gives `units` back, up to capacity.
    #[must_use]
    pub fn credited(self, units: u64) -> Self {
        let scaled = i128::from(self.scaled) + i128::from(units) * i128::from(self.per_ns);
        Self {
            scaled: clamp(scaled.min(i128::from(self.full_scaled()))),
            ..self
        }
    }

    /// Refill in units per second.
    pub fn per_second(self) -> f64 {
        self.refill as f64 * 1e9 / self.per_ns as f64
    }

    /// `capacity * per_ns`; settings are bounded so that it fits.
    fn full_scaled(self) -> i64 {
        clamp(i128::from(self.capacity) * i128::from(self.per_ns))
    }
}

/// The nearest `i64`.
fn clamp(value: i128) -> i64 {
    i64::try_from(value).unwrap_or(if value < 0 { i64::MIN } else { i64::MAX })
}

#[cfg(test)]
mod tests {
    use std::num::NonZero;

    use governor::clock::{Clock as _, FakeRelativeClock};
    use governor::{Quota, RateLimiter};
    use proptest::prelude::*;

    use super::*;

    fn bucket() -> BucketLevel {
        let settings = Bucket {
            capacity: 10,
            refill: 3,
            per: Duration::from_secs(1),
        };
        BucketLevel::full(&settings, Timestamp::ZERO)
    }

    #[test]
    fn polling_does_not_lose_refill() {
        let mut polled = bucket().debited(10);
        for step in 1..=999 {
            polled = polled.at(Timestamp(step * 1_001_001));
        }
        let once = bucket().debited(10).at(Timestamp(999 * 1_001_001));
        assert_eq!(polled, once);
    }

    #[test]
    fn ready_at_is_the_first_instant() {
        let empty = bucket().debited(10);
        let ready = empty.ready_at(1).unwrap();
        assert!(empty.at(ready).level_at(ready) >= 1.0);
        assert!(empty.level_at(Timestamp(ready.0 - 1)) < 1.0);
        assert_eq!(empty.ready_at(11), None);
    }

    #[test]
    fn debt_is_repaid_before_the_next_admission() {
        let owing = bucket().debited(13);
        assert_eq!(owing.ready_at(0), Some(Timestamp(1_000_000_000)));
        assert!(owing.level_at(Timestamp::ZERO) < -2.9);
    }

    proptest! {
        /// governor's GCRA as an oracle: another algorithm by other people, so no common mistake. It must let
        /// the same calls pass at the same instants, and name the same waits, to the nanosecond.
        #[test]
        fn admits_what_governor_admits(
            capacity in 1_u32..50,
            // governor keeps the time of one unit in whole nanoseconds
            unit_ns in 1_u64..2_000_000_000,
            calls in prop::collection::vec((0_u64..5_000_000_000, 1_u32..60), 1..60),
        ) {
            let clock = FakeRelativeClock::default();
            let quota = Quota::with_period(Duration::from_nanos(unit_ns)).unwrap();
            let quota = quota.allow_burst(NonZero::new(capacity).unwrap());
            let oracle = RateLimiter::direct_with_clock(quota, clock.clone());
            let settings = Bucket { capacity: capacity.into(), refill: 1, per: Duration::from_nanos(unit_ns) };
            let mut bucket = BucketLevel::full(&settings, Timestamp::ZERO);
            let mut now = Timestamp::ZERO;
            for (pause, units) in calls {
                clock.advance(Duration::from_nanos(pause));
                now = now + Duration::from_nanos(pause);
                bucket = bucket.at(now);
                let wait = bucket.ready_at(units.into()).map(|ready| now.until(ready));
                match oracle.check_n(NonZero::new(units).unwrap()) {
                    Err(_) => prop_assert_eq!(wait, None),
                    Ok(Ok(())) => {
                        prop_assert_eq!(wait, Some(Duration::ZERO));
                        bucket = bucket.debited(units.into());
                    }
                    Ok(Err(not_yet)) => prop_assert_eq!(wait, Some(not_yet.wait_time_from(clock.now()))),
                }
            }
        }
    }
}
