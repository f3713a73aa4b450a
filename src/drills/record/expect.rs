//! What is expected of a drill that is played again: what was observed, give or take.
//!
//! A bound lies as far from the observed value as three parts add up to:
//!
//! ```text
//!                   absolute   relative   chance: three standard deviations
//!  a share s        0.02       -          3 sqrt(p (1 - p) / n),  p = (k + 1) / (n + 2) of n calls
//!  amplification a  0.05       5 %        3 sqrt(a (a - 1) / n)   of n calls: geometric tries
//!  latency          50 ms      25 %       -
//!  breaker opened k 1          25 %       -                       exactly 0 where it never opened
//!  calls            -          -          -                       exactly
//! ```
//!
//! The share takes `p` rather than `k / n`, so that none of three calls does not mean never (Agresti and Coull,
//! "Approximate Is Better than Exact for Interval Estimation of Binomial Proportions", 1998).

use crate::drills::scenario::{Measure, Part, Tally};

/// What is looked at, in this order.
const MEASURES: [Measure; 10] = [
    Measure::Calls,
    Measure::ServedShare,
    Measure::HitShare,
    Measure::SharedShare,
    Measure::RejectedShare,
    Measure::RefusedShare,
    Measure::FailedShare,
    Measure::Amplification,
    Measure::BreakerOpened,
    Measure::LatencyP95,
];

/// An expectation.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Bounds {
    pub(super) measure: Measure,
    /// What was observed.
    pub(super) observed: f64,
    pub(super) at_least: Option<f64>,
    pub(super) at_most: Option<f64>,
}

impl Bounds {
    /// The measure in words.
    pub(super) fn meaning(&self) -> &'static str {
        match self.measure {
            Measure::Calls => "calls that began",
            Measure::ServedShare => "answered by the upstream, the cache or a shared flight",
            Measure::HitShare => "answered by the cache",
            Measure::SharedShare => "answered by the flight of another call",
            Measure::RejectedShare => "turned away by the limiter",
            Measure::RefusedShare => "turned away by the breaker",
            Measure::FailedShare => "failed, or broke off in the answer",
            Measure::Amplification => "attempts for each call that was sent",
            Measure::BreakerOpened => "times the breaker opened",
            Measure::LatencyP95 => "seconds that 95 % of the answered calls took at most",
            // none of MEASURES
            _ => "observed",
        }
    }

    /// Whether a run that came to this is as expected.
    pub(super) fn hold(&self, value: Option<f64>) -> bool {
        value.is_some_and(|value| {
            self.at_least.is_none_or(|least| value >= least) && self.at_most.is_none_or(|most| value <= most)
        })
    }
}

/// What is expected after this was observed.
pub(super) fn of(tally: &Tally) -> Vec<Bounds> {
    let calls = tally.calls().count();
    if calls == 0 {
        return Vec::new();
    }
    let sent = tally.calls().filter(|call| call.attempts > 0).count();
    MEASURES
        .into_iter()
        .filter_map(|measure| {
            let observed = measure.of(tally, &Part::default())?;
            bounds(measure, observed, calls as f64, sent.max(1) as f64)
        })
        .collect()
}

fn bounds(measure: Measure, observed: f64, calls: f64, sent: f64) -> Option<Bounds> {
    let (at_least, at_most) = match measure {
        Measure::Calls => (Some(observed), Some(observed)),
        Measure::BreakerOpened => {
            let tolerance = if observed > 0.0 {
                (1.0 + 0.25 * observed).floor()
            } else {
                0.0
            };
            // that it opened at all is what the drill showed
            let least = (observed - tolerance).max(1.0).min(observed);
            (Some(least), Some(observed + tolerance))
        }
        Measure::Amplification => {
            let chance = 3.0 * (observed * (observed - 1.0).max(0.0) / sent).sqrt();
            let tolerance = 0.05 + 0.05 * observed + chance;
            // no call that was sent makes fewer than one attempt
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
    };
    (at_least.is_some() || at_most.is_some()).then_some(Bounds {
        measure,
        observed,
        at_least,
        at_most,
    })
}

/// Two places, outward; what is a hair beside a place for want of digits is there.
fn down(value: f64) -> f64 {
    (value * 100.0 + 1e-9).floor() / 100.0
}

fn up(value: f64) -> f64 {
    (value * 100.0 - 1e-9).ceil() / 100.0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(measure: Measure, observed: f64, calls: f64) -> (Option<f64>, Option<f64>) {
        let bounds = bounds(measure, observed, calls, calls);
        bounds.map_or((None, None), |bounds| (bounds.at_least, bounds.at_most))
    }

    #[test]
    fn bounds_are_as_wide_as_the_rule_says() {
        // p = 51/102: 0.02 + 3 * 0.05
        assert_eq!(of(Measure::ServedShare, 0.5, 100.0), (Some(0.33), Some(0.67)));
        // few calls prove little: nothing of three is expected to be anything
        assert_eq!(of(Measure::FailedShare, 0.0, 3.0), (None, Some(0.72)));
        assert_eq!(of(Measure::ServedShare, 1.0, 1000.0), (Some(0.97), None));
        assert_eq!(of(Measure::Amplification, 1.0, 50.0), (None, Some(1.1)));
        assert_eq!(of(Measure::LatencyP95, 2.0, 50.0), (Some(1.45), Some(2.55)));
        assert_eq!(of(Measure::Calls, 40.0, 40.0), (Some(40.0), Some(40.0)));
    }

    #[test]
    fn a_breaker_that_never_opened_must_not_and_one_that_did_must() {
        assert_eq!(of(Measure::BreakerOpened, 0.0, 9.0), (Some(0.0), Some(0.0)));
        assert_eq!(of(Measure::BreakerOpened, 1.0, 9.0), (Some(1.0), Some(2.0)));
        assert_eq!(of(Measure::BreakerOpened, 4.0, 9.0), (Some(2.0), Some(6.0)));
    }

    #[test]
    fn what_never_came_to_be_is_not_within_bounds() {
        let bounds = bounds(Measure::Calls, 1.0, 1.0, 1.0).unwrap();
        assert!(bounds.hold(Some(1.0)) && !bounds.hold(Some(2.0)) && !bounds.hold(None));
    }
}
