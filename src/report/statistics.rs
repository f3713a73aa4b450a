//! How sure a mean is.

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use serde::Serialize;

/// Resamples. With 2,000 the ends move by a few percent of the interval's width from one seed to another; here the
/// seed is fixed, so that the same numbers give the same interval.
const RESAMPLES: usize = 2000;
/// Fewer values have no interval: five differences have the same sign by mere chance once in 16 times, and what
/// resampling makes of them would never say so. Six have it once in 32.
pub const FEWEST: usize = 6;

/// A mean and its 95 % interval.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Interval {
    /// The mean.
    pub mean: f64,
    /// 2.5 % are below, as far as resampling can tell.
    pub low: f64,
    /// 2.5 % are above.
    pub high: f64,
}

impl Interval {
    /// The mean of paired differences, by the percentile bootstrap (Efron and Tibshirani, An Introduction to the
    /// Bootstrap, 1993, chapter 13): no shape of the differences is assumed, and most of them are lumpy here.
    /// Its ends are moved outwards as far as Student's t is wider than that (Hesterberg, What Teachers Should Know
    /// About the Bootstrap, The American Statistician 69, 2015): without that ten values hold the true mean nine times
    /// of ten only. Nothing for fewer than [`FEWEST`].
    pub fn of_mean(values: &[f64]) -> Option<Self> {
        if values.len() < FEWEST {
            return None;
        }
        let mut generator = StdRng::seed_from_u64(values.len() as u64);
        let mut means: Vec<f64> = (0..RESAMPLES)
            .map(|_| {
                let drawn = (0..values.len())
                    .filter_map(|_| values.get(generator.random_range(0..values.len())))
                    .sum::<f64>();
                drawn / values.len() as f64
            })
            .collect();
        means.sort_by(f64::total_cmp);
        let at = |share: f64| {
            means
                .get((share * (RESAMPLES - 1) as f64).round() as usize)
                .copied()
        };
        let tail = tail(values.len() as f64);
        Some(Self {
            mean: mean(values)?,
            low: at(tail)?,
            high: at(1.0 - tail)?,
        })
    }

    /// Whether the interval leaves no doubt about the sign.
    pub fn is_sure(&self) -> bool {
        self.low > 0.0 || self.high < 0.0
    }
}

/// The share of resampled means that is cut off on each side, for so many values.
fn tail(values: f64) -> f64 {
    // 97.5 % of the normal distribution
    const Z: f64 = 1.959_964;
    let (freedom, square) = (values - 1.0, Z * Z);
    // Student's t with so many degrees of freedom: Abramowitz and Stegun, Handbook of Mathematical Functions, 26.7.5
    let first = Z * (square + 1.0) / 4.0;
    let second = Z * ((5.0 * square + 16.0) * square + 3.0) / 96.0;
    let third = Z * (((3.0 * square + 19.0) * square + 17.0) * square - 15.0) / 384.0;
    let t = Z + first / freedom + second / freedom.powi(2) + third / freedom.powi(3);
    beyond(t * (values / freedom).sqrt())
}

/// How much of the normal distribution is above: Abramowitz and Stegun, 26.2.17, with an error below 1e-7.
fn beyond(x: f64) -> f64 {
    const TERMS: [f64; 5] = [
        1.330_274_429,
        -1.821_255_978,
        1.781_477_937,
        -0.356_563_782,
        0.319_381_530,
    ];
    let part = 1.0 / (1.0 + 0.231_641_9 * x);
    let sum = TERMS.iter().fold(0.0, |sum, term| (sum + term) * part);
    sum * (-x * x / 2.0).exp() / std::f64::consts::TAU.sqrt()
}

/// The mean; nothing of nothing.
pub fn mean(values: &[f64]) -> Option<f64> {
    (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_holds_the_true_mean_about_as_often_as_it_says() {
        let mut generator = StdRng::seed_from_u64(7);
        for values in [8, 20] {
            let held = (0..200)
                .filter(|_| {
                    let values: Vec<f64> = (0..values).map(|_| generator.random::<f64>()).collect();
                    let interval = Interval::of_mean(&values).unwrap();
                    (interval.low..=interval.high).contains(&0.5)
                })
                .count();
            assert!((182..=198).contains(&held), "{held} of 200 with {values}");
        }
    }

    #[test]
    fn the_tail_is_that_of_students_t() {
        // from tables: t is 2.5706, 2.0930 and 1.9840 for 5, 19 and 99 degrees of freedom
        for (values, t) in [(6.0, 2.5706_f64), (20.0, 2.0930), (100.0, 1.9840)] {
            let there = beyond(t * f64::sqrt(values / (values - 1.0)));
            assert!((tail(values) / there - 1.0).abs() < 0.02, "{values}");
        }
        assert!((beyond(1.959_964) - 0.025).abs() < 1e-6);
    }

    #[test]
    fn equal_values_have_no_width_and_few_have_no_interval() {
        let interval = Interval::of_mean(&[2.0; FEWEST]).unwrap();
        assert_eq!((interval.low, interval.mean, interval.high), (2.0, 2.0, 2.0));
        assert!(interval.is_sure());
        assert_eq!(Interval::of_mean(&[2.0; FEWEST - 1]), None);
        assert!(
            !Interval::of_mean(&[-1.0, 1.0, -1.0, 1.0, -1.0, 1.0])
                .unwrap()
                .is_sure()
        );
    }
}
