//! The charts of a comparison.

use super::sweep_chart::range;
use super::{Comparison, PolicyResult, Sweep};
use crate::drills::scenario::Measure;
use crate::report::charts::{Chart, Point, Side, SideBySide, TradeOff};

impl Comparison {
    /// The policies side by side, for charts.
    fn side_by_side(&self, is_sweep: bool) -> SideBySide {
        let side = |policy: &PolicyResult| {
            let of = |measure| policy.row(measure).and_then(range);
            Side {
                name: policy.policy.clone(),
                served: of(Measure::ServedShare),
                attempts: of(Measure::Amplification),
                p95: of(Measure::LatencyP95),
                wasted: of(Measure::WastedTokens),
                over_time: policy.over_time.clone(),
            }
        };
        SideBySide {
            title: self.scenario.clone(),
            sides: self.policies.iter().map(side).collect(),
            is_sweep,
        }
    }

    /// All charts: the trade-off between the policies or the values of a sweep, and the policies side by side.
    pub fn charts(&self, sweep: Option<&Sweep>) -> Vec<Chart> {
        let trade_off = sweep.map_or_else(|| self.trade_off_of_policies(), |sweep| self.trade_off(sweep));
        let mut charts = vec![trade_off.chart()];
        charts.extend(self.side_by_side(sweep.is_some()).charts());
        charts
    }

    fn trade_off_of_policies(&self) -> TradeOff {
        TradeOff {
            title: self.scenario.clone(),
            setting: None,
            points: self
                .policies
                .iter()
                .map(|policy| point(policy, &policy.policy))
                .collect(),
        }
    }
}

/// The results of a policy as a point of a trade-off.
pub(super) fn point(policy: &PolicyResult, label: &str) -> Point {
    Point {
        label: label.to_owned(),
        served: policy.row(Measure::ServedShare).and_then(range),
        attempts: policy.row(Measure::Amplification).and_then(range),
    }
}
