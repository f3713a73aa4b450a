//! How sure a mean is.

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use serde::Serialize;

/// Resamples. With 2,000 the ends move by a few percent of the interval's width from one seed to another; here the
/// seed is fixed, so that the same numbers give the same interval.
const RESAMPLES: usize = 2000;

/// A mean and its 95 % interval.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Interval {
    /// The mean.
    pub mean: f64,
    /// 2.5 % of the resampled means are below.
    pub low: f64,
    /// 2.5 % are above.
    pub high: f64,
}

impl Interval {
    /// The mean of paired differences, by the percentile bootstrap (Efron and Tibshirani, An Introduction to the
    /// Bootstrap, 1993, chapter 13): no shape of the differences is assumed, and most of them are lumpy here.
    /// Nothing for fewer than two values: one run says nothing about the next.
    pub fn of_mean(values: &[f64]) -> Option<Self> {
        if values.len() < 2 {
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
        Some(Self {
            mean: mean(values)?,
            low: at(0.025)?,
            high: at(0.975)?,
        })
    }

    /// Whether the interval leaves no doubt about the sign.
    pub fn is_sure(&self) -> bool {
        self.low > 0.0 || self.high < 0.0
    }
}

/// The mean; nothing of nothing.
pub(super) fn mean(values: &[f64]) -> Option<f64> {
    (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_holds_the_true_mean_about_as_often_as_it_says() {
        let mut generator = StdRng::seed_from_u64(7);
        let held = (0..40)
            .filter(|_| {
                let values: Vec<f64> = (0..20).map(|_| generator.random::<f64>()).collect();
                let interval = Interval::of_mean(&values).unwrap();
                (interval.low..=interval.high).contains(&0.5)
            })
            .count();
        assert!((33..=40).contains(&held), "{held} of 40");
    }

    #[test]
    fn equal_values_have_no_width_and_one_value_has_no_interval() {
        let interval = Interval::of_mean(&[2.0, 2.0, 2.0]).unwrap();
        assert_eq!((interval.low, interval.mean, interval.high), (2.0, 2.0, 2.0));
        assert!(interval.is_sure());
        assert_eq!(Interval::of_mean(&[2.0]), None);
        assert!(!Interval::of_mean(&[-1.0, 1.0]).unwrap().is_sure());
    }
}
