//! Distributions of durations, kept in log-linear buckets, as HdrHistogram does, but sparse: durations from a
//! millisecond to a minute fill at most about 500 of them, and copies for snapshots stay small.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::time::saturating_nanos;

/// Buckets in each power of two, as a power of two: a bucket is at most 1/32 wide.
const PRECISION: u32 = 5;

/// A distribution of durations in bounded memory.
///
/// A quantile is never below the true one and at most 1/32 (3.2 %) above it; count and maximum are exact.
/// There are at most 1,920 buckets.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Percentiles {
    buckets: BTreeMap<u16, u64>,
    count: u64,
    max_ns: u64,
}

impl Percentiles {
    /// Takes note of one.
    pub fn record(&mut self, duration: Duration) {
        let ns = saturating_nanos(duration);
        *self.buckets.entry(bucket_of(ns)).or_default() += 1;
        self.count += 1;
        self.max_ns = self.max_ns.max(ns);
    }

    /// Adds all that `other` recorded.
    pub fn merge(&mut self, other: &Self) {
        for (bucket, count) in &other.buckets {
            let sum = self.buckets.entry(*bucket).or_default();
            *sum = sum.saturating_add(*count);
        }
        self.count = self.count.saturating_add(other.count);
        self.max_ns = self.max_ns.max(other.max_ns);
    }

    /// Number of recorded durations.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// The given quantile (0 to 1); `None` if nothing was recorded.
    pub fn quantile(&self, quantile: f64) -> Option<Duration> {
        // nearest rank: the smallest value with at least that share at or below it
        let rank = ((quantile.clamp(0.0, 1.0) * self.count as f64).ceil() as u64).max(1);
        let mut seen = 0_u64;
        for (bucket, count) in &self.buckets {
            seen = seen.saturating_add(*count);
            if seen >= rank {
                return Some(Duration::from_nanos(highest_in(*bucket).min(self.max_ns)));
            }
        }
        self.max()
    }

    /// The longest.
    pub fn max(&self) -> Option<Duration> {
        (self.count > 0).then(|| Duration::from_nanos(self.max_ns))
    }
}

/// Values below 64 have a bucket each; above, every power of two has 32.
fn bucket_of(ns: u64) -> u16 {
    let shift = (u64::BITS - ns.leading_zeros()).saturating_sub(PRECISION + 1);
    (u64::from(shift << PRECISION) + (ns >> shift)) as u16
}

/// The largest value of a bucket.
fn highest_in(bucket: u16) -> u64 {
    let bucket = u64::from(bucket);
    let shift = (bucket >> PRECISION).saturating_sub(1).min(58);
    let lowest = (bucket - (shift << PRECISION)) << shift;
    lowest.saturating_add((1 << shift) - 1)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn an_empty_distribution_says_nothing() {
        let empty = Percentiles::default();
        assert_eq!((empty.count(), empty.quantile(0.5), empty.max()), (0, None, None));
    }

    #[test]
    fn buckets_are_adjacent_and_in_order() {
        for bucket in 0..1919_u16 {
            assert_eq!(bucket_of(highest_in(bucket)), bucket);
            assert_eq!(bucket_of(highest_in(bucket) + 1), bucket + 1);
        }
        assert_eq!(bucket_of(u64::MAX), 1919);
        assert_eq!(highest_in(1919), u64::MAX);
    }

    #[test]
    fn a_hostile_snapshot_does_not_break_it() {
        let hostile = Percentiles {
            buckets: BTreeMap::from([(u16::MAX, 1)]),
            count: 3,
            max_ns: 5,
        };
        assert_eq!(hostile.quantile(1.0), Some(Duration::from_nanos(5)));
    }

    proptest! {
        #[test]
        fn quantiles_keep_their_error_bound(
            mut values in proptest::collection::vec(0_u64..100_000_000_000, 1..200),
            quantile in 0.0_f64..=1.0,
        ) {
            let mut sketch = Percentiles::default();
            for value in &values {
                sketch.record(Duration::from_nanos(*value));
            }
            values.sort_unstable();
            let rank = ((quantile * values.len() as f64).ceil() as usize).max(1);
            let exact = values[rank - 1];
            let estimate = saturating_nanos(sketch.quantile(quantile).unwrap());
            prop_assert!(estimate >= exact && estimate <= exact + exact / 32, "{estimate} for {exact}");
            prop_assert_eq!(sketch.max(), values.last().map(|ns| Duration::from_nanos(*ns)));
            prop_assert_eq!(sketch.count(), values.len() as u64);
        }
    }
}
