//! A token bucket whose refill can be throttled for a while.
//!
//! ```text
//! level(t) = min(capacity, level + rate * time at full rate + percent/100 * rate * time throttled)
//! ```
//!
//! [`BucketLevel`] has one rate. A throttled rate is exact to the nanosecond: where `refill * percent` is not
//! divisible by 100, the period is lengthened instead of the refill being rounded. At each switch the level is
//! brought up to date first and then converted to units of the other period. Conversion to a shorter period rounds
//! down by less than one `1/per`: less than a nanosecond of refill, never up.

use std::time::Duration;

use crate::event::BucketLevel;
use crate::settings::Bucket;
use crate::time::{Timestamp, saturating_nanos};

/// A refill rate: `refill` units in each `per_ns`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct RefillRate {
    refill: u64,
    per_ns: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Throttle {
    /// Share of the full rate, 1 to 100.
    pub(super) percent: u64,
    /// The full rate applies again from this instant.
    pub(super) until: Timestamp,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ThrottledBucket {
    level: BucketLevel,
    normal: RefillRate,
    throttle: Option<Throttle>,
}

impl ThrottledBucket {
    pub(super) fn full(settings: &Bucket, now: Timestamp) -> Self {
        Self {
            level: BucketLevel::full(settings, now),
            normal: RefillRate::from_settings(settings),
            throttle: None,
        }
    }

    /// The same bucket at `now`; unchanged if `now` is not later.
    pub(super) fn at(self, now: Timestamp) -> Self {
        match self.throttle {
            Some(throttle) if throttle.until <= now => {
                let level = self.level.at(throttle.until);
                Self {
                    level: converted(level, level.capacity, self.normal).at(now),
                    throttle: None,
                    ..self
                }
            }
            _ => Self {
                level: self.level.at(now),
                ..self
            },
        }
    }

    /// Brings the level up to `now` in place: most calls find no throttle to end.
    pub(super) fn advance(&mut self, now: Timestamp) {
        if self.throttle.is_some_and(|throttle| throttle.until <= now) {
            *self = self.at(now);
        } else if now > self.level.as_of {
            self.level = self.level.at(now);
        }
    }

    /// True if the bucket holds `units`, or its capacity if that is less, at the instant of its level.
    pub(super) fn holds(&self, units: u64) -> bool {
        let units = units.min(self.level.capacity);
        i128::from(units) * i128::from(self.level.per_ns) <= i128::from(self.level.scaled)
    }

    /// The first instant at which the bucket holds `units`, or its capacity if that is less.
    pub(super) fn ready_at(self, units: u64) -> Timestamp {
        let units = units.min(self.level.capacity);
        let ready = self.level.ready_at(units).unwrap_or(Timestamp::MAX);
        match self.throttle {
            Some(throttle) if ready > throttle.until => self.at(throttle.until).ready_at(units),
            _ => ready,
        }
    }

    /// The first instant at which the bucket holds `units` after `ahead` units were taken, if it never fills up
    /// before. If it does, what flows over is lost and the instant is later.
    pub(super) fn ready_after(self, ahead: u64, units: u64) -> Timestamp {
        let level = self.level;
        let units = u128::from(ahead) + u128::from(units.min(level.capacity));
        let per = i128::from(level.per_ns.max(1));
        // in 1/per, like the level
        let missing =
            i128::try_from(units).unwrap_or(i128::MAX).saturating_mul(per) - i128::from(level.scaled);
        let after = |start: Timestamp, missing: i128, refill: u64| {
            let wait = u128::try_from(missing)
                .unwrap_or(0)
                .div_ceil(u128::from(refill.max(1)));
            start + Duration::from_nanos(u64::try_from(wait).unwrap_or(u64::MAX))
        };
        if missing <= 0 {
            return level.as_of;
        }
        let ready = after(level.as_of, missing, level.refill);
        match self.throttle {
            Some(throttle) if ready > throttle.until => {
                let slow = i128::from(throttle.until.0.saturating_sub(level.as_of.0));
                let missing = (missing - slow * i128::from(level.refill)).max(0);
                let missing = missing.saturating_mul(i128::from(self.normal.per_ns));
                let missing = missing.unsigned_abs().div_ceil(per.unsigned_abs());
                let missing = i128::try_from(missing).unwrap_or(i128::MAX);
                after(throttle.until.max(level.as_of), missing, self.normal.refill)
            }
            _ => ready,
        }
    }

    /// Removes `units`; the level may become negative (debt).
    pub(super) fn debited(self, units: u64) -> Self {
        Self {
            level: self.level.debited(units),
            ..self
        }
    }

    /// Returns `units`, up to capacity.
    pub(super) fn credited(self, units: u64) -> Self {
        Self {
            level: self.level.credited(units),
            ..self
        }
    }

    /// Throttles the refill from the instant of the level on.
    pub(super) fn throttled(self, throttle: Throttle) -> Self {
        let capacity = self.level.capacity;
        Self {
            level: converted(
                self.level,
                capacity,
                self.normal.throttled(throttle.percent, capacity),
            ),
            throttle: Some(throttle),
            ..self
        }
    }

    /// Adopts new settings from the instant of the level on. The level is kept, capped at the new capacity.
    pub(super) fn configured(self, settings: &Bucket) -> Self {
        let normal = RefillRate::from_settings(settings);
        let rate = self.throttle.map_or(normal, |throttle| {
            normal.throttled(throttle.percent, settings.capacity)
        });
        Self {
            level: converted(self.level, settings.capacity, rate),
            normal,
            ..self
        }
    }

    /// The level with the current refill rate; it does not know the end of a throttle.
    pub(super) fn level(self) -> BucketLevel {
        self.level
    }

    pub(super) fn throttle(self) -> Option<Throttle> {
        self.throttle
    }
}

impl RefillRate {
    fn from_settings(settings: &Bucket) -> Self {
        Self {
            refill: settings.refill,
            per_ns: saturating_nanos(settings.per).max(1),
        }
    }

    /// `percent` of the rate: exact if a bucket of `capacity` can be counted in units that small, else rounded
    /// down, to at least one unit per period.
    fn throttled(self, percent: u64, capacity: u64) -> Self {
        let product = u128::from(self.refill) * u128::from(percent);
        let spread = (1..=100)
            .find(|spread| (product * spread).is_multiple_of(100))
            .unwrap_or(1);
        let per = u128::from(self.per_ns) * spread;
        let fits = u128::from(capacity) * per <= u128::from(u64::MAX / 4);
        let (refill, per) = if fits {
            (product * spread / 100, per)
        } else {
            (product / 100, u128::from(self.per_ns))
        };
        Self {
            refill: u64::try_from(refill).unwrap_or(self.refill).max(1),
            per_ns: u64::try_from(per).unwrap_or(self.per_ns),
        }
    }
}

/// Converts a level to another capacity and rate: rounded down to its resolution, capped at its capacity.
fn converted(level: BucketLevel, capacity: u64, rate: RefillRate) -> BucketLevel {
    let scaled = i128::from(level.scaled) * i128::from(rate.per_ns);
    let scaled = scaled.div_euclid(i128::from(level.per_ns.max(1)));
    let nearest = if scaled < 0 { i64::MIN } else { i64::MAX };
    let other = BucketLevel {
        capacity,
        refill: rate.refill,
        per_ns: rate.per_ns,
        scaled: i64::try_from(scaled).unwrap_or(nearest),
        as_of: level.as_of,
    };
    other.at(level.as_of)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn empty(capacity: u64, refill: u64, per: Duration) -> ThrottledBucket {
        let settings = Bucket {
            capacity,
            refill,
            per,
        };
        ThrottledBucket::full(&settings, Timestamp::ZERO).debited(capacity)
    }

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_throttled_rate_is_exact_even_if_the_refill_is_one() {
        let throttle = Throttle {
            percent: 70,
            until: Timestamp::ZERO + 10 * SECOND,
        };
        let bucket = empty(20, 1, SECOND).throttled(throttle);
        // 7 units in the 10 throttled seconds, then one per second
        assert_eq!(bucket.ready_at(7), Timestamp::ZERO + 10 * SECOND);
        assert_eq!(bucket.ready_at(9), Timestamp::ZERO + 12 * SECOND);
        let later = bucket.at(Timestamp::ZERO + 12 * SECOND);
        assert_eq!(
            later,
            empty(20, 1, SECOND)
                .at(Timestamp::ZERO + 9 * SECOND)
                .shifted(3 * SECOND)
        );
    }

    /// 73 % of 15 per second is 219 in 20 s, but a bucket this large cannot be counted in units that small.
    #[test]
    fn a_throttled_rate_of_a_huge_bucket_is_rounded_down_and_keeps_the_level() {
        let huge = 4_000_000_000;
        let now = Timestamp::ZERO;
        let throttle = Throttle {
            percent: 73,
            until: now + SECOND,
        };
        let level = empty(huge, 15, SECOND)
            .credited(huge - 1)
            .throttled(throttle)
            .level();
        assert!((level.per_second() - 10.0).abs() < 1e-9, "{level:?}");
        assert!(
            (level.level_at(now) - (huge - 1) as f64).abs() < 1e-3,
            "{level:?}"
        );
    }

    #[test]
    fn a_level_that_new_settings_cannot_represent_stays_full_or_in_debt() {
        let minutely = Bucket {
            capacity: 10,
            refill: 600,
            per: 60 * SECOND,
        };
        let units = |bucket: ThrottledBucket| bucket.configured(&minutely).level().level_at(Timestamp::ZERO);
        let full = empty(4_000_000_000, 1, SECOND).credited(4_000_000_000);
        assert!((units(full) - 10.0).abs() < 1e-9);
        // the debt saturates at what can be counted, half a year of refill: no call is admitted by mistake
        let owing = empty(10, 1, SECOND).debited(8_000_000_000);
        assert!(units(owing) < -150_000_000.0);
    }

    impl ThrottledBucket {
        /// The same level at a later instant.
        fn shifted(mut self, by: Duration) -> Self {
            self.level.as_of = self.level.as_of + by;
            self
        }
    }

    #[test]
    fn new_settings_keep_the_level_up_to_the_new_capacity() {
        let now = Timestamp::ZERO + 4 * SECOND;
        let bucket = empty(10, 1, SECOND).at(now);
        let settings = |capacity| Bucket {
            capacity,
            refill: 600,
            per: 60 * SECOND,
        };
        let units = |bucket: ThrottledBucket| bucket.level().level_at(now);
        assert!((units(bucket.configured(&settings(10))) - 4.0).abs() < 1e-9);
        assert!((units(bucket.configured(&settings(3))) - 3.0).abs() < 1e-9);
        let owing = bucket.debited(9).configured(&settings(3));
        assert!((units(owing) + 5.0).abs() < 1e-9);
    }

    proptest! {
        /// Each switch of the rate loses less than a nanosecond of refill.
        #[test]
        fn a_switch_of_the_rate_loses_no_refill(
            refill in 1_u64..2000,
            percent in 1_u64..=100,
            spells in prop::collection::vec((0_u64..2_000_000_000, 0_u64..2_000_000_000), 1..8),
        ) {
            let mut bucket = empty(10_000_000, refill, SECOND);
            let mut now = Timestamp::ZERO;
            // in 1/100 of a 1/per
            let mut due = 0_i128;
            for &(slow, fast) in &spells {
                let until = now + Duration::from_nanos(slow);
                bucket = bucket.at(now).throttled(Throttle { percent, until });
                now = until + Duration::from_nanos(fast);
                due += i128::from(refill) * (i128::from(slow) * i128::from(percent) + i128::from(fast) * 100);
            }
            let got = bucket.at(now).level();
            prop_assert_eq!((got.refill, got.per_ns), (refill, 1_000_000_000));
            let lost = due - i128::from(got.scaled) * 100;
            prop_assert!((0..=100 * spells.len() as i128).contains(&lost), "lost {} of {}", lost, due);
        }

        /// `ready_at` is the first instant, also across the end of a throttle.
        #[test]
        fn ready_at_is_the_first_instant(
            refill in 1_u64..2000,
            percent in 1_u64..=100,
            slow in 0_u64..5_000_000_000,
            units in 1_u64..5000,
        ) {
            let bucket = empty(5000, refill, SECOND).throttled(Throttle { percent, until: Timestamp(slow) });
            let ready = bucket.ready_at(units);
            let holds = |at: Timestamp| {
                let level = bucket.at(at).level();
                i128::from(level.scaled) >= i128::from(units) * i128::from(level.per_ns)
            };
            prop_assert!(holds(ready));
            prop_assert!(!holds(Timestamp(ready.0 - 1)));
        }
    }
}
