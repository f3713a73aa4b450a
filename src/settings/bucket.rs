//! A token bucket as a setting.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// A token bucket: at most `capacity` units, refilled continuously at `refill` units every `per`.
///
/// Valid buckets have `capacity * per` of at most 2e9 seconds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Bucket {
    /// Units in a full bucket, which is the largest burst: 1 to 10,000,000.
    pub capacity: u64,
    /// Units gained in each `per`: 1 to 1,000,000,000.
    pub refill: u64,
    /// The refill period: 1 ms to 24 h.
    #[serde(with = "super::duration")]
    pub per: Duration,
}

impl Bucket {
    /// The bounds of [`Bucket::is_valid`].
    pub(super) const RULE: &str = "a bucket with capacity 1 to 10000000, refill at least 1, per 1ms to 24h, and capacity * per at most 2e9 seconds; use a shorter per";

    /// True within the bounds in which the integer arithmetic of the bucket cannot overflow.
    pub(super) fn is_valid(&self) -> bool {
        let per = self.per;
        (1..=10_000_000).contains(&self.capacity)
            && (1..=1_000_000_000).contains(&self.refill)
            && per >= Duration::from_millis(1)
            && per <= Duration::from_hours(24)
            // a level is an i64 of 1/per units (event::BucketLevel): full is a quarter of it, the rest is for debt
            && u128::from(self.capacity) * per.as_nanos() <= 2_000_000_000_000_000_000
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_that_could_overflow_is_invalid() {
        let valid = |capacity, per| {
            let refill = capacity;
            Bucket {
                capacity,
                refill,
                per,
            }
            .is_valid()
        };
        assert!(valid(10_000_000, Duration::from_mins(1)));
        assert!(valid(20_000, Duration::from_hours(24)));
        // 8.6e20 does not fit: the bucket would always look full below its capacity
        assert!(!valid(10_000_000, Duration::from_hours(24)));
    }
}
