//! The charts of a comparison.

use super::sweep_chart::range;
use super::{Comparison, PolicyResult, Sweep};
use crate::drills::scenario::Measure;
use crate::report::charts::{Chart, ChartError, MOST_SIDES, Side, SideBySide};

impl Comparison {
    /// The policies side by side, for charts.
    pub fn side_by_side(&self) -> SideBySide {
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
        }
    }

    /// All charts: the trade-off of a sweep, and the policies side by side, unless a sweep has more policies than
    /// fit on a page.
    ///
    /// # Errors
    /// If a chart cannot be drawn.
    pub fn charts(&self, sweep: Option<&Sweep>) -> Result<Vec<Chart>, ChartError> {
        let mut charts = Vec::new();
        if let Some(sweep) = sweep {
            charts.push(self.trade_off(sweep).chart()?);
        }
        if sweep.is_none() || self.policies.len() <= MOST_SIDES {
            charts.extend(self.side_by_side().charts()?);
        }
        Ok(charts)
    }
}
