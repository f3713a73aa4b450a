//! A distribution of durations small enough for every second of a timeline.
//!
//! Buckets are geometric: eight per octave, from 2^20 ns (1.05 ms) to 2^40 ns (18 minutes), 160 in all; shorter and
//! longer durations count in the first and the last one. A quantile is the centre of its bucket, at most 4.5 % from
//! the true one. Bucket bounds are computed with integers, so every machine folds the same.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::time::saturating_nanos;

/// Buckets per octave.
const PER_OCTAVE: u32 = 8;
/// The octave of the first bucket: durations from 2^20 ns.
const FIRST_OCTAVE: u32 = 20;
/// Buckets in all.
pub(super) const BUCKETS: u32 = 160;
/// The lower bounds of the second to the eighth bucket of an octave, `2^31 * 2^(k/8)`.
const BOUNDS: [u32; PER_OCTAVE as usize - 1] = [
    2_341_847_524,
    2_553_802_834,
    2_784_941_738,
    3_037_000_500,
    3_311_872_529,
    3_611_622_603,
    3_938_502_376,
];

/// A mergeable distribution of durations.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sketch {
    /// Bucket and count, in order of the buckets; no count is zero.
    cells: Vec<(u8, u32)>,
}

impl Sketch {
    /// Adds one duration.
    pub fn record(&mut self, duration: Duration) {
        self.add(bucket_of(saturating_nanos(duration)), 1);
    }

    /// Adds the durations of another distribution.
    pub fn merge(&mut self, other: &Self) {
        for (bucket, count) in &other.cells {
            self.add(*bucket, *count);
        }
    }

    /// Number of durations recorded.
    pub fn count(&self) -> u64 {
        self.cells.iter().map(|(_, count)| u64::from(*count)).sum()
    }

    /// The quantile `q`, from 0 to 1, by nearest rank; `None` if nothing was recorded.
    pub fn quantile(&self, q: f64) -> Option<Duration> {
        let rank = ((q.clamp(0.0, 1.0) * self.count() as f64).ceil() as u64).max(1);
        let mut below = 0_u64;
        let bucket = self.cells.iter().find_map(|(bucket, count)| {
            below += u64::from(*count);
            (below >= rank).then_some(*bucket)
        })?;
        Some(centre_of(bucket))
    }

    /// The bucket centres with their counts, shortest first: a histogram.
    pub fn histogram(&self) -> impl Iterator<Item = (Duration, u64)> + '_ {
        let cells = self.cells.iter();
        cells.map(|(bucket, count)| (centre_of(*bucket), u64::from(*count)))
    }

    fn add(&mut self, bucket: u8, count: u32) {
        match self.cells.binary_search_by_key(&bucket, |(bucket, _)| *bucket) {
            Ok(place) => self.cells[place].1 = self.cells[place].1.saturating_add(count),
            Err(place) => self.cells.insert(place, (bucket, count)),
        }
    }
}

/// The sum of the sketches of a window that slides: one is added, another removed, and quantiles cost no merging.
#[derive(Clone, Debug)]
pub struct Sliding {
    counts: [u64; BUCKETS as usize],
    total: u64,
}

impl Default for Sliding {
    fn default() -> Self {
        Self {
            counts: [0; BUCKETS as usize],
            total: 0,
        }
    }
}

impl Sliding {
    /// Adds a sketch.
    pub fn add(&mut self, sketch: &Sketch) {
        for (bucket, count) in &sketch.cells {
            if let Some(sum) = self.counts.get_mut(usize::from(*bucket)) {
                *sum += u64::from(*count);
                self.total += u64::from(*count);
            }
        }
    }

    /// Removes a sketch that was added.
    pub fn remove(&mut self, sketch: &Sketch) {
        for (bucket, count) in &sketch.cells {
            if let Some(sum) = self.counts.get_mut(usize::from(*bucket)) {
                *sum = sum.saturating_sub(u64::from(*count));
                self.total = self.total.saturating_sub(u64::from(*count));
            }
        }
    }

    /// The quantile `q`, from 0 to 1, as [`Sketch::quantile`].
    pub fn quantile(&self, q: f64) -> Option<Duration> {
        let rank = ((q.clamp(0.0, 1.0) * self.total as f64).ceil() as u64).max(1);
        let mut below = 0_u64;
        let bucket = self.counts.iter().position(|count| {
            below += count;
            below >= rank
        })?;
        Some(centre_of(bucket as u8))
    }
}

fn bucket_of(ns: u64) -> u8 {
    let octave = ns.max(1).ilog2();
    if octave < FIRST_OCTAVE {
        return 0;
    }
    // the leading 32 bits, from 2^31
    let mantissa = ((ns << ns.leading_zeros()) >> 32) as u32;
    let within = BOUNDS.partition_point(|bound| *bound <= mantissa) as u32;
    let bucket = (octave - FIRST_OCTAVE) * PER_OCTAVE + within;
    bucket.min(BUCKETS - 1) as u8
}

/// The geometric centre of a bucket.
fn centre_of(bucket: u8) -> Duration {
    let octaves = f64::from(FIRST_OCTAVE) + (f64::from(bucket) + 0.5) / f64::from(PER_OCTAVE);
    Duration::from_nanos(octaves.exp2() as u64)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn bounds_are_powers_of_the_eighth_root_of_two() {
        for (place, bound) in BOUNDS.into_iter().enumerate() {
            let exact = (31.0 + (place + 1) as f64 / 8.0).exp2();
            assert!((f64::from(bound) - exact).abs() <= 1.0, "{bound} for {exact}");
        }
    }

    #[test]
    fn any_duration_has_a_bucket() {
        let (shortest, longest) = (0, BUCKETS as u8 - 1);
        for (ns, bucket) in [
            (0, shortest),
            (1_000_000, shortest),
            (1 << 20, shortest),
            (1 << 21, 8),
            (1 << 40, longest),
            (u64::MAX, longest),
        ] {
            assert_eq!(bucket_of(ns), bucket, "{ns}");
        }
        assert_eq!(
            (Sketch::default().quantile(0.5), Sketch::default().count()),
            (None, 0)
        );
    }

    proptest! {
        #[test]
        fn quantiles_are_close_and_merging_is_recording(
            mut values in prop::collection::vec(2_000_000_u64..1_000_000_000_000, 1..200),
            q in 0.0..=1.0_f64,
            cut in 0..200_usize,
        ) {
            let sketch = |values: &[u64]| {
                let mut sketch = Sketch::default();
                for ns in values {
                    sketch.record(Duration::from_nanos(*ns));
                }
                sketch
            };
            let cut = cut.min(values.len());
            let whole = sketch(&values);
            let mut merged = sketch(&values[..cut]);
            merged.merge(&sketch(&values[cut..]));
            prop_assert_eq!(&merged, &whole);
            prop_assert_eq!(whole.count(), values.len() as u64);
            values.sort_unstable();
            let rank = ((q * values.len() as f64).ceil() as usize).max(1);
            let (exact, found) = (values[rank - 1] as f64, saturating_nanos(whole.quantile(q).unwrap()) as f64);
            prop_assert!((found / exact - 1.0).abs() < 0.045, "{found} for {exact}");
        }
    }
}
