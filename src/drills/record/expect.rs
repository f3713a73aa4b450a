//! Expectations of a recorded drill: the observed values with tolerances.
//!
//! The tolerance of a value is the sum of three parts:
//!
//! ```text
//!                    absolute   relative   three standard deviations
//!  a share s         0.02       -          3 sqrt(p (1 - p) / n),  p = (k + 1) / (n + 2) of n calls
//!  amplification a   0.05       5 %        3 sqrt(a (a - 1) / n)   of n calls: geometric attempts
//!  latency           50 ms      25 %       -
//!  breaker opened k  1          25 %       -                       exactly 0 if it never opened
//!  calls             -          -          -                       exact
//! ```
//!
//! The share takes `p` rather than `k / n`, so that none of three calls does not mean never (Agresti and Coull,
//! "Approximate Is Better than Exact for Interval Estimation of Binomial Proportions", 1998).

use crate::drills::scenario::{Measure, Tally, is_within};

/// The measures with expectations, in the order of the file, and their descriptions.
const MEASURES: [(Measure, &str); 10] = [
    (Measure::Calls, "calls that began"),
    (
        Measure::ServedShare,
        "answered by the upstream, the cache or a shared flight",
    ),
    (Measure::HitShare, "answered by the cache"),
    (Measure::SharedShare, "answered by the flight of another call"),
    (Measure::RateLimitedShare, "limited by the limiter"),
    (Measure::CircuitOpenShare, "refused by the breaker"),
    (Measure::FailedShare, "failed, or truncated in the answer"),
    (Measure::Amplification, "attempts per call that was sent"),
    (Measure::BreakerOpened, "times the breaker opened"),
    (
        Measure::LatencyP95,
        "95th percentile of the latency of served calls, in seconds",
    ),
];

/// An expectation with the observed value.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Bounds {
    pub(super) measure: Measure,
    pub(super) description: &'static str,
    pub(super) observed: f64,
    pub(super) at_least: Option<f64>,
    pub(super) at_most: Option<f64>,
}

impl Bounds {
    /// True if the value of a run meets the expectation.
    pub(super) fn hold(&self, value: Option<f64>) -> bool {
        is_within(value, self.at_least, self.at_most)
    }
}

/// The expectations for what was observed.
pub(super) fn expectations(tally: &Tally) -> Vec<Bounds> {
    let calls = tally.calls().count();
    if calls == 0 {
        return Vec::new();
    }
    let sent = tally.calls().filter(|call| call.attempts > 0).count().max(1);
    let bounds = MEASURES.into_iter().filter_map(|(measure, description)| {
        let observed = measure.value(tally)?;
        let (at_least, at_most) = bounds(measure, observed, calls as f64, sent as f64);
        (at_least.is_some() || at_most.is_some()).then_some(Bounds {
            measure,
            description,
            observed,
            at_least,
            at_most,
        })
    });
    bounds.collect()
}

fn bounds(measure: Measure, observed: f64, calls: f64, sent: f64) -> (Option<f64>, Option<f64>) {
    match measure {
        Measure::Calls => (Some(observed), Some(observed)),
        Measure::BreakerOpened => {
            let tolerance = if observed > 0.0 {
                (1.0 + 0.25 * observed).floor()
            } else {
                0.0
            };
            // the drill shows that it opens
            let least = (observed - tolerance).max(1.0).min(observed);
            (Some(least), Some(observed + tolerance))
        }
        Measure::Amplification => {
            let chance = 3.0 * (observed * (observed - 1.0).max(0.0) / sent).sqrt();
            let tolerance = 0.05 + 0.05 * observed + chance;
            // a call that was sent makes at least one attempt
            let least = down(observed - tolerance);
            ((least > 1.0).then_some(least), Some(up(observed + tolerance)))
        }
        Measure::LatencyP95 => {
            let tolerance = 0.05 + 0.25 * observed;
            let least = down(observed - tolerance);
            ((least > 0.0).then_some(least), Some(up(observed + tolerance)))
        }
        _ => {
            let share = (observed * calls + 1.0) / (calls + 2.0);
            let tolerance = 0.02 + 3.0 * (share * (1.0 - share) / calls).sqrt();
            let (least, most) = (down(observed - tolerance), up(observed + tolerance));
            ((least > 0.0).then_some(least), (most < 1.0).then_some(most))
        }
    }
}

/// Rounds down to two decimals, with a margin for the error of a binary fraction.
fn down(value: f64) -> f64 {
    (value * 100.0 + 1e-9).floor() / 100.0
}

/// Rounds up likewise.
fn up(value: f64) -> f64 {
    (value * 100.0 - 1e-9).ceil() / 100.0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rounded(measure: Measure, observed: f64, calls: f64) -> (Option<f64>, Option<f64>) {
        bounds(measure, observed, calls, calls)
    }

    #[test]
    fn bounds_are_as_wide_as_the_rule_says() {
        // p = 51/102: 0.02 + 3 * 0.05
        assert_eq!(
            rounded(Measure::ServedShare, 0.5, 100.0),
            (Some(0.33), Some(0.67))
        );
        // three calls prove little
        assert_eq!(rounded(Measure::FailedShare, 0.0, 3.0), (None, Some(0.72)));
        assert_eq!(rounded(Measure::ServedShare, 1.0, 1000.0), (Some(0.97), None));
        assert_eq!(rounded(Measure::Amplification, 1.0, 50.0), (None, Some(1.1)));
        assert_eq!(rounded(Measure::LatencyP95, 2.0, 50.0), (Some(1.45), Some(2.55)));
        assert_eq!(rounded(Measure::Calls, 40.0, 40.0), (Some(40.0), Some(40.0)));
    }

    #[test]
    fn a_breaker_that_never_opened_must_not_and_one_that_did_must() {
        assert_eq!(rounded(Measure::BreakerOpened, 0.0, 9.0), (Some(0.0), Some(0.0)));
        assert_eq!(rounded(Measure::BreakerOpened, 1.0, 9.0), (Some(1.0), Some(2.0)));
        assert_eq!(rounded(Measure::BreakerOpened, 4.0, 9.0), (Some(2.0), Some(6.0)));
    }

    #[test]
    fn an_undefined_value_is_not_within_bounds() {
        assert!(is_within(Some(1.0), Some(1.0), Some(1.0)));
        assert!(!is_within(Some(2.0), Some(1.0), Some(1.0)) && !is_within(None, Some(1.0), None));
    }
}
