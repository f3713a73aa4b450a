//! A share with its confidence interval.

use serde::Serialize;

use crate::state::Interval;

/// A share with its 95 % Wilson interval.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Rate {
    /// Number of pairs counted.
    pub count: usize,
    /// Number of all pairs.
    pub of: usize,
    /// The share, 0 to 1; 0 of no pairs.
    pub share: f64,
    /// Lower bound.
    pub low: f64,
    /// Upper bound.
    pub high: f64,
}

impl Rate {
    /// The share of `count` in `of`.
    pub fn new(count: usize, of: usize) -> Self {
        let known = Interval::wilson(count as u64, of as u64);
        // without pairs the interval is [0, 1]
        Self {
            count,
            of,
            share: known.map_or(0.0, |known| known.share),
            low: known.map_or(0.0, |known| known.low),
            high: known.map_or(1.0, |known| known.high),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_intervals() {
        // values of statsmodels' proportion_confint(method="wilson")
        for (count, of, low, high) in [
            (0, 250, 0.0, 0.015_133),
            (1, 10, 0.017_876, 0.404_150),
            (50, 100, 0.403_832, 0.596_168),
            (10, 10, 0.722_467, 1.0),
        ] {
            let Rate { low: l, high: h, .. } = Rate::new(count, of);
            assert!(
                (l - low).abs() < 1e-4 && (h - high).abs() < 1e-4,
                "{count}/{of}: {l} {h}"
            );
        }
        let none = Rate::new(0, 0);
        assert_eq!((none.share, none.low, none.high), (0.0, 0.0, 1.0));
    }
}
