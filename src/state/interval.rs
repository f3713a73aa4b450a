//! Confidence interval of a proportion.

use serde::{Deserialize, Serialize};

/// The 97.5 % quantile of the normal distribution: between its negative and itself lie 95 %.
const Z95: f64 = 1.959_963_984_540_054;

/// A counted share, and where the true one lies with 95 % confidence. All are 0 to 1.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Interval {
    /// The share that was counted.
    pub share: f64,
    /// The true one is hardly less.
    pub low: f64,
    /// Nor more.
    pub high: f64,
}

impl Interval {
    /// Of `of`, `part` were so: the score interval of Wilson (Probable inference, the law of succession, and
    /// statistical inference; Journal of the American Statistical Association 22, 1927). It stays between 0
    /// and 1 and says something of few and of none, where the textbook's interval has no width at all
    /// (Brown, Cai, DasGupta: Interval estimation for a binomial proportion, Statistical Science 16, 2001).
    /// Nothing where nothing was counted.
    pub fn wilson(part: u64, of: u64) -> Option<Self> {
        if of == 0 {
            return None;
        }
        let count = of as f64;
        let share = part.min(of) as f64 / count;
        let square = Z95 * Z95;
        let scale = 1.0 + square / count;
        let centre = (share + square / (2.0 * count)) / scale;
        let spread = (share * (1.0 - share) / count + square / (4.0 * count * count)).sqrt();
        let half = Z95 * spread / scale;
        // at the ends it is exact, whatever rounding makes of it
        let low = if part == 0 { 0.0 } else { centre - half };
        let high = if part >= of { 1.0 } else { centre + half };
        Some(Self {
            share,
            low: low.clamp(0.0, share),
            high: high.clamp(share, 1.0),
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn known_intervals() {
        // 81 of 263 is the example of Newcombe, Statistics in Medicine 17 (1998); the others by the formula
        for (part, of, low, high) in [
            (0, 10, 0.0, 0.2775),
            (2, 41, 0.0135, 0.1614),
            (81, 263, 0.2553, 0.3662),
            (10, 10, 0.7225, 1.0),
        ] {
            let interval = Interval::wilson(part, of).unwrap();
            assert!((interval.low - low).abs() < 5e-5, "{part} of {of}: {interval:?}");
            assert!(
                (interval.high - high).abs() < 5e-5,
                "{part} of {of}: {interval:?}"
            );
        }
        assert_eq!(Interval::wilson(0, 0), None);
    }

    proptest! {
        #[test]
        fn the_share_lies_between_and_more_counts_make_it_surer(part in 0_u64..1000, rest in 0_u64..1000) {
            prop_assume!(part + rest > 0);
            let few = Interval::wilson(part, part + rest).unwrap();
            let many = Interval::wilson(part * 9, (part + rest) * 9).unwrap();
            prop_assert!(0.0 <= few.low && few.low <= few.share && few.share <= few.high && few.high <= 1.0);
            prop_assert!(many.high - many.low < few.high - few.low);
        }
    }
}
