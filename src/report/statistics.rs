//! Means and their confidence intervals.

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use serde::Serialize;

/// Number of resamples. With 2,000 the bounds vary by a few percent of the interval's width from seed to seed; the
/// seed is fixed here, so that equal values give equal intervals.
const RESAMPLES: usize = 2000;
/// Minimum number of values of an interval. Five differences have the same sign by chance with probability 1/16,
/// and resampling does not show it; six with 1/32.
pub const FEWEST: usize = 6;

/// A mean with its 95 % confidence interval.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Interval {
    /// The mean.
    pub mean: f64,
    /// Lower bound (2.5 %).
    pub low: f64,
    /// Upper bound (97.5 %).
    pub high: f64,
}

impl Interval {
    /// The interval of the mean, by the percentile bootstrap (Efron and Tibshirani, An Introduction to the
    /// Bootstrap, 1993, chapter 13): it assumes no distribution, and paired differences are often far from normal
    /// here. The bounds are moved outwards as far as Student's t is wider (Hesterberg, What Teachers Should Know
    /// About the Bootstrap, The American Statistician 69, 2015): without that, intervals of ten values cover the
    /// mean only in 90 % of cases. Returns nothing for fewer than [`FEWEST`] values.
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

    /// Returns true if the interval does not contain 0.
    pub fn excludes_zero(&self) -> bool {
        self.low > 0.0 || self.high < 0.0
    }
}

/// The share of resampled means beyond each bound, for this number of values.
fn tail(values: f64) -> f64 {
    // 97.5 % of the normal distribution
    const Z: f64 = 1.959_964;
    let (freedom, square) = (values - 1.0, Z * Z);
    // Student's t by its expansion in the degrees of freedom: Abramowitz and Stegun, Handbook of Mathematical
    // Functions, 26.7.5
    let first = Z * (square + 1.0) / 4.0;
    let second = Z * ((5.0 * square + 16.0) * square + 3.0) / 96.0;
    let third = Z * (((3.0 * square + 19.0) * square + 17.0) * square - 15.0) / 384.0;
    let t = Z + first / freedom + second / freedom.powi(2) + third / freedom.powi(3);
    beyond(t * (values / freedom).sqrt())
}

/// The upper tail of the normal distribution: Abramowitz and Stegun, 26.2.17, with an error below 1e-7.
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

/// The mean of at least one value.
pub fn mean(values: &[f64]) -> Option<f64> {
    (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interval_covers_the_mean_about_as_often_as_stated() {
        let mut generator = StdRng::seed_from_u64(7);
        for values in [8, 20] {
            let covered = (0..200)
                .filter(|_| {
                    let values: Vec<f64> = (0..values).map(|_| generator.random::<f64>()).collect();
                    let interval = Interval::of_mean(&values).unwrap();
                    (interval.low..=interval.high).contains(&0.5)
                })
                .count();
            assert!((182..=198).contains(&covered), "{covered} of 200 with {values}");
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
        assert!(interval.excludes_zero());
        assert_eq!(Interval::of_mean(&[2.0; FEWEST - 1]), None);
        assert!(
            !Interval::of_mean(&[-1.0, 1.0, -1.0, 1.0, -1.0, 1.0])
                .unwrap()
                .excludes_zero()
        );
    }
}
