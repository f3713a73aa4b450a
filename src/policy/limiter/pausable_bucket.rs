//! A token bucket whose inflow can be throttled for a while.
//!
//! ```text
//! level(t) = min(capacity, level + inflow * time at full speed + percent/100 * inflow * time slowed)
//! ```
//!
//! [`BucketLevel`] knows one inflow. A slowed one is another inflow, exact to the last nanosecond: with
//! `refill * percent` not divisible by 100 the period is made longer instead of the refill being rounded. At
//! each switch the level is brought up to date first and then written in units of the other period. Writing
//! it in a shorter period rounds down by less than one `1/per`: less than a nanosecond of refill, never up.

use crate::event::BucketLevel;
use crate::settings::Bucket;
use crate::time::{Timestamp, saturating_nanos};

/// How fast it fills: `refill` units in each `per_ns`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Inflow {
    refill: u64,
    per_ns: u64,
}

/// For how long it fills slower, and how much.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Slow {
    /// Of the inflow, this share is left; 1 to 100.
    pub(super) percent: u64,
    /// From then on all of it.
    pub(super) until: Timestamp,
}

/// A bucket and the two inflows it may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Reservoir {
    level: BucketLevel,
    normal: Inflow,
    slow: Option<Slow>,
}

impl Reservoir {
    /// A full bucket.
    pub(super) fn full(settings: &Bucket, now: Timestamp) -> Self {
        Self {
            level: BucketLevel::full(settings, now),
            normal: Inflow::of(settings),
            slow: None,
        }
    }

    /// The same bucket at `now`; unchanged if `now` is not later.
    pub(super) fn at(self, now: Timestamp) -> Self {
        match self.slow {
            Some(slow) if slow.until <= now => {
                let level = self.level.at(slow.until);
                Self {
                    level: converted(level, level.capacity, self.normal).at(now),
                    slow: None,
                    ..self
                }
            }
            _ => Self {
                level: self.level.at(now),
                ..self
            },
        }
    }

    /// The first instant at which `units` are in the bucket, or all it can hold if that is less.
    pub(super) fn ready_at(self, units: u64) -> Timestamp {
        let units = units.min(self.level.capacity);
        let ready = self.level.ready_at(units).unwrap_or(Timestamp::MAX);
        match self.slow {
            Some(slow) if ready > slow.until => self.at(slow.until).ready_at(units),
            _ => ready,
        }
    }

    /// Takes `units`, into debt if need be.
    pub(super) fn debited(self, units: u64) -> Self {
        Self {
            level: self.level.debited(units),
            ..self
        }
    }

    /// Gives `units` back, up to capacity.
    pub(super) fn credited(self, units: u64) -> Self {
        Self {
            level: self.level.credited(units),
            ..self
        }
    }

    /// Fills slower from the instant of its level on.
    pub(super) fn slowed(self, slow: Slow) -> Self {
        let capacity = self.level.capacity;
        Self {
            level: converted(self.level, capacity, self.normal.slowed(slow.percent, capacity)),
            slow: Some(slow),
            ..self
        }
    }

    /// Obeys other settings from the instant of its level on. What is in it stays, as far as it fits.
    pub(super) fn configured(self, settings: &Bucket) -> Self {
        let normal = Inflow::of(settings);
        let inflow = self
            .slow
            .map_or(normal, |slow| normal.slowed(slow.percent, settings.capacity));
        Self {
            level: converted(self.level, settings.capacity, inflow),
            normal,
            ..self
        }
    }

    /// The level, for people and events. It knows the inflow of this moment only.
    pub(super) fn level(self) -> BucketLevel {
        self.level
    }

    /// How it is slowed, if it is.
    pub(super) fn slow(self) -> Option<Slow> {
        self.slow
    }
}

impl Inflow {
    fn of(settings: &Bucket) -> Self {
        Self {
            refill: settings.refill,
            per_ns: saturating_nanos(settings.per).max(1),
        }
    }

    /// `percent` of it, exactly, where a bucket of `capacity` can be counted in so small units; else rounded
    /// down, but never to nothing.
    fn slowed(self, percent: u64, capacity: u64) -> Self {
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

/// The same units in another bucket: rounded down to its grain, cut to its capacity.
fn converted(level: BucketLevel, capacity: u64, inflow: Inflow) -> BucketLevel {
    let scaled = i128::from(level.scaled) * i128::from(inflow.per_ns);
    let scaled = scaled.div_euclid(i128::from(level.per_ns.max(1)));
    let nearest = if scaled < 0 { i64::MIN } else { i64::MAX };
    let other = BucketLevel {
        capacity,
        refill: inflow.refill,
        per_ns: inflow.per_ns,
        scaled: i64::try_from(scaled).unwrap_or(nearest),
        as_of: level.as_of,
    };
    other.at(level.as_of)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;

    fn empty(capacity: u64, refill: u64, per: Duration) -> Reservoir {
        let settings = Bucket {
            capacity,
            refill,
            per,
        };
        Reservoir::full(&settings, Timestamp::ZERO).debited(capacity)
    }

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_slowed_inflow_is_exact_even_where_the_refill_is_one() {
        let slow = Slow {
            percent: 70,
            until: Timestamp::ZERO + 10 * SECOND,
        };
        let bucket = empty(20, 1, SECOND).slowed(slow);
        // 7 units in the 10 slow seconds, one in each second after them
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

    /// 73 % of 15 a second are 219 in 20 s, but so many units cannot be counted that finely.
    #[test]
    fn a_slowed_inflow_of_a_huge_bucket_is_rounded_down_and_keeps_what_is_in_it() {
        let huge = 4_000_000_000;
        let now = Timestamp::ZERO;
        let slow = Slow {
            percent: 73,
            until: now + SECOND,
        };
        let level = empty(huge, 15, SECOND).credited(huge - 1).slowed(slow).level();
        assert!((level.per_second() - 10.0).abs() < 1e-9, "{level:?}");
        assert!(
            (level.level_at(now) - (huge - 1) as f64).abs() < 1e-3,
            "{level:?}"
        );
    }

    #[test]
    fn what_other_settings_cannot_count_stays_full_or_in_debt() {
        let minutely = Bucket {
            capacity: 10,
            refill: 600,
            per: 60 * SECOND,
        };
        let units = |bucket: Reservoir| bucket.configured(&minutely).level().level_at(Timestamp::ZERO);
        let full = empty(4_000_000_000, 1, SECOND).credited(4_000_000_000);
        assert!((units(full) - 10.0).abs() < 1e-9);
        // as much of it as can be counted: half a year, so that nobody passes by mistake
        let owing = empty(10, 1, SECOND).debited(8_000_000_000);
        assert!(units(owing) < -150_000_000.0);
    }

    impl Reservoir {
        /// The same level, but later.
        fn shifted(mut self, by: Duration) -> Self {
            self.level.as_of = self.level.as_of + by;
            self
        }
    }

    #[test]
    fn other_settings_keep_what_is_in_the_bucket_as_far_as_it_fits() {
        let now = Timestamp::ZERO + 4 * SECOND;
        let bucket = empty(10, 1, SECOND).at(now);
        let settings = |capacity| Bucket {
            capacity,
            refill: 600,
            per: 60 * SECOND,
        };
        let units = |bucket: Reservoir| bucket.level().level_at(now);
        assert!((units(bucket.configured(&settings(10))) - 4.0).abs() < 1e-9);
        assert!((units(bucket.configured(&settings(3))) - 3.0).abs() < 1e-9);
        let owing = bucket.debited(9).configured(&settings(3));
        assert!((units(owing) + 5.0).abs() < 1e-9);
    }

    proptest! {
        /// Reading, slowing and speeding up again lose less than a nanosecond of refill for each switch.
        #[test]
        fn nothing_is_lost_at_a_switch(
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
                bucket = bucket.at(now).slowed(Slow { percent, until });
                now = until + Duration::from_nanos(fast);
                due += i128::from(refill) * (i128::from(slow) * i128::from(percent) + i128::from(fast) * 100);
            }
            let got = bucket.at(now).level();
            prop_assert_eq!((got.refill, got.per_ns), (refill, 1_000_000_000));
            let lost = due - i128::from(got.scaled) * 100;
            prop_assert!((0..=100 * spells.len() as i128).contains(&lost), "lost {} of {}", lost, due);
        }

        /// `ready_at` is the first instant, whatever the inflow does before it.
        #[test]
        fn ready_at_is_the_first_instant(
            refill in 1_u64..2000,
            percent in 1_u64..=100,
            slow in 0_u64..5_000_000_000,
            units in 1_u64..5000,
        ) {
            let bucket = empty(5000, refill, SECOND).slowed(Slow { percent, until: Timestamp(slow) });
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
