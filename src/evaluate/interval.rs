//! A share, and how sure it is.

use serde::Serialize;

/// The 97.5th percentile of the normal distribution.
const Z: f64 = 1.959_963_984_540_054;

/// How many of how many, with the interval that holds the true share in 95 of 100 such measurements.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Rate {
    /// How many.
    pub count: usize,
    /// Of how many.
    pub of: usize,
    /// The share, 0 to 1; 0 of nothing.
    pub share: f64,
    /// The least it may be.
    pub low: f64,
    /// The most it may be.
    pub high: f64,
}

impl Rate {
    /// So many of so many.
    pub fn new(count: usize, of: usize) -> Self {
        let (low, high) = wilson(count, of);
        Self {
            count,
            of,
            share: if of == 0 { 0.0 } else { count as f64 / of as f64 },
            low,
            high,
        }
    }
}

/// Wilson's score interval at 95 %. It holds for few trials and for shares near 0, where the usual one has no width
/// (Brown, Cai and DasGupta, Interval Estimation for a Binomial Proportion, 2001: their advice for any n). For
/// nothing of 250 it says 0 to 1.5 %, the exact one of Clopper and Pearson too.
pub fn wilson(count: usize, of: usize) -> (f64, f64) {
    if of == 0 {
        return (0.0, 1.0);
    }
    let (n, p) = (of as f64, count as f64 / of as f64);
    let centre = p + Z * Z / (2.0 * n);
    let spread = Z * (p * (1.0 - p) / n + Z * Z / (4.0 * n * n)).sqrt();
    let scale = 1.0 + Z * Z / n;
    let low = if count == 0 {
        0.0
    } else {
        (centre - spread) / scale
    };
    let high = if count == of {
        1.0
    } else {
        (centre + spread) / scale
    };
    (low.max(0.0), high.min(1.0))
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
            let (l, h) = wilson(count, of);
            assert!(
                (l - low).abs() < 1e-4 && (h - high).abs() < 1e-4,
                "{count}/{of}: {l} {h}"
            );
        }
        assert_eq!(wilson(0, 0), (0.0, 1.0));
    }
}
