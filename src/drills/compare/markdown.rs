//! The comparison as Markdown.

use std::fmt::Write as _;

use super::Comparison;
use crate::report::charts::TradeOff;
use crate::report::markdown::{escape, table, verbatim};

impl Comparison {
    /// Returns the comparison as Markdown, with the chart of a sweep. The last line has no line end.
    pub fn markdown(&self, sweep: Option<&TradeOff>) -> String {
        let mut out = String::new();
        let _ = write!(
            out,
            "## {} under {} policies\n\n",
            escape(&self.scenario),
            self.policies.len()
        );
        let _ = write!(out, "{}\n\n", escape(&self.summary));
        let mut rows = self.rows();
        let head = if rows.is_empty() {
            Vec::new()
        } else {
            rows.remove(0)
        };
        out.push_str(&table(&head, &rows));
        match &self.recorded {
            Some(recorded) => {
                let (heading, model) = (recorded.heading(self.seeds), recorded.to_string());
                let _ = write!(
                    out,
                    "\n{}. {} {}\n\n",
                    escape(&heading),
                    escape(&model),
                    super::table::NOTE
                );
            }
            None => {
                let _ = write!(out, "\nRuns: {}. {}\n\n", self.runs(), super::table::NOTE);
            }
        }
        out.push_str(&escape(&self.model));
        if let Some(trade_off) = sweep {
            let _ = write!(
                out,
                "\n\n### Effect of {}\n\n{}",
                escape(trade_off.setting.as_deref().unwrap_or_default()),
                verbatim(&super::text_chart(trade_off)).trim_end()
            );
        }
        out
    }
}
