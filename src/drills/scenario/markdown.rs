//! The report as Markdown, for a CI comment or a post-mortem.

use std::fmt::Write as _;

use super::report::{ExpectationResult, Report, clock_time};
use crate::report::markdown::{escape, table};
use crate::text::units::number;

impl Report {
    /// Returns the report as Markdown.
    pub fn markdown(&self) -> String {
        let mut out = String::new();
        let verdict = if self.met { "passed" } else { "FAILED" };
        let time = if self.is_virtual { "virtual" } else { "real" };
        let _ = write!(out, "## {}: {verdict}\n\n", escape(&self.scenario));
        if !self.about.is_empty() {
            let _ = write!(out, "{}\n\n", escape(&self.about));
        }
        let _ = write!(
            out,
            "Seed {}, policy {}, {} of {time} time, {} events.\n\n",
            self.seed,
            escape(&self.policy),
            clock_time(self.seconds),
            self.events
        );
        match &self.violation {
            None => out.push_str("All invariants hold.\n"),
            Some(violation) => {
                let _ = writeln!(out, "**Invariant violated:** {}", escape(violation));
            }
        }
        for leftover in &self.leftovers {
            let _ = writeln!(out, "\n**At the end:** {}", escape(leftover));
        }
        if !self.expectations.is_empty() {
            let head = cells(["expectation", "value", "verdict"]);
            let rows: Vec<Vec<String>> = self.expectations.iter().map(row).collect();
            let _ = write!(out, "\n### Expectations\n\n{}", table(&head, &rows));
        }
        let _ = write!(out, "\n### Calls\n\n{}", self.fates_table());
        let _ = write!(out, "\n### Measures\n\n{}", self.measures_table());
        out.push_str("\nTimes are in seconds; latencies are those of served calls.\n");
        if !self.causes.is_empty() {
            let counted = |(label, count): (&String, &u64)| vec![label.clone(), count.to_string()];
            let rows: Vec<Vec<String>> = self.causes.iter().map(counted).collect();
            let head = cells(["failed attempts", "number"]);
            let _ = write!(out, "\n### Failures\n\n{}", table(&head, &rows));
        }
        out
    }

    fn fates_table(&self) -> String {
        let all: u64 = self.fates.values().sum();
        let row = |label: &str, count: u64| {
            let share = match all {
                0 => "-".to_owned(),
                _ => format!("{:.1}%", count as f64 * 100.0 / all as f64),
            };
            vec![label.to_owned(), count.to_string(), share]
        };
        let mut rows: Vec<Vec<String>> = self
            .fates
            .iter()
            .filter(|(_, count)| **count > 0)
            .map(|(fate, count)| row(fate.brief(), *count))
            .collect();
        rows.push(row("all", all));
        table(&cells(["fate", "calls", "share"]), &rows)
    }

    fn measures_table(&self) -> String {
        let rows: Vec<Vec<String>> = self
            .measures
            .iter()
            .map(|(name, value)| vec![(*name).to_owned(), value.map_or_else(|| "-".into(), number)])
            .collect();
        table(&cells(["measure", "value"]), &rows)
    }
}

fn row(result: &ExpectationResult) -> Vec<String> {
    vec![
        result.expected(),
        result.value.map_or_else(|| "-".into(), number),
        if result.met { "met" } else { "NOT MET" }.to_owned(),
    ]
}

fn cells<const N: usize>(texts: [&str; N]) -> [String; N] {
    texts.map(str::to_owned)
}
