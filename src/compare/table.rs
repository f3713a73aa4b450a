//! The comparison for people: measures down, policies across; or policies down where there are many.

use std::fmt;

use super::{Column, Comparison, Row};
use crate::scenario::Measure;

/// What a reader of the table must know of its numbers.
pub(super) const NOTE: &str = "Latencies are of served calls only: a policy that gives up on the slow ones looks faster. \
Tokens are what attempts used, wasted those that no caller got; a broken attempt counts its prompt and what came \
of the text.";
/// More policies than these stand below each other.
const ACROSS: usize = 3;

impl Column {
    /// A measure of it.
    pub fn row(&self, measure: Measure) -> Option<&Row> {
        self.rows.iter().find(|row| row.measure == measure)
    }
}

impl fmt::Display for Comparison {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seeds = self.seeds;
        let last = self.last_seed();
        match &self.recorded {
            Some(recorded) => writeln!(f, "{}: {}", self.scenario, recorded.world(seeds))?,
            None => writeln!(
                f,
                "{}, seeds {} to {last}: means of {seeds} runs",
                self.scenario, self.first_seed
            )?,
        }
        writeln!(f)?;
        write_aligned(f, &self.rows())?;
        writeln!(f)?;
        writeln!(f, "{}", self.reading)?;
        if let Some(recorded) = &self.recorded {
            writeln!(f, "{recorded}")?;
        }
        writeln!(f, "{NOTE}")?;
        write!(f, "{}", self.model)
    }
}

impl Comparison {
    /// The seed of the last run.
    pub(super) fn last_seed(&self) -> u64 {
        self.first_seed.wrapping_add(self.seeds.saturating_sub(1))
    }

    /// Whether it is of one recording asked again once: then the differences are facts, and have no interval.
    fn is_fact(&self) -> bool {
        self.recorded.is_some() && self.seeds == 1
    }

    /// The rows of the table, the head first, in the form that fits so many policies.
    pub(super) fn rows(&self) -> Vec<Vec<String>> {
        if self.policies.len() <= ACROSS {
            self.across()
        } else {
            self.down()
        }
    }

    /// The rows of the table, the head first: measures down.
    pub fn across(&self) -> Vec<Vec<String>> {
        let mut head = vec![String::new()];
        for (at, column) in self.policies.iter().enumerate() {
            head.push(column.policy.clone());
            if at > 0 {
                let sure = if self.is_fact() { "" } else { " (95 %)" };
                head.push(format!("difference{sure}"));
            }
        }
        let mut table = vec![head];
        for measure in super::MEASURES {
            let mut line = vec![label(measure).to_owned()];
            for (at, column) in self.policies.iter().enumerate() {
                let row = column.row(measure);
                line.push(cell(measure, row, self.seeds));
                if at > 0 {
                    let first = self.policies.first().and_then(|first| first.row(measure));
                    line.push(if self.is_fact() {
                        plain_difference(measure, first, row)
                    } else {
                        difference(measure, row)
                    });
                }
            }
            table.push(line);
        }
        table
    }

    /// The rows of the table, the head first: policies down.
    pub fn down(&self) -> Vec<Vec<String>> {
        const SHOWN: [Measure; 7] = [
            Measure::ServedShare,
            Measure::Amplification,
            Measure::LatencyP95,
            Measure::Refused,
            Measure::Rejected,
            Measure::Recovery,
            Measure::WastedTokens,
        ];
        let mut head = vec![String::new()];
        head.extend(SHOWN.map(|measure| label(measure).to_owned()));
        let mut table = vec![head];
        for column in &self.policies {
            let mut line = vec![column.policy.clone()];
            line.extend(SHOWN.map(|measure| cell(measure, column.row(measure), self.seeds)));
            table.push(line);
        }
        table
    }
}

/// What a measure is called in a table.
pub(super) fn label(measure: Measure) -> &'static str {
    match measure {
        Measure::ServedShare => "served",
        Measure::Ok => "  by the upstream",
        Measure::Hits => "  from the cache",
        Measure::Shared => "  shared a flight",
        Measure::LatencyP50 => "p50",
        Measure::LatencyP95 => "p95",
        Measure::LatencyP99 => "p99",
        Measure::WaitP95 => "p95 in the queue",
        Measure::Amplification => "attempts a call",
        Measure::TimeToTrip => "time to trip",
        Measure::Recovery => "time to recover",
        Measure::ChargedTokens => "tokens spent",
        Measure::WastedTokens => "tokens wasted",
        Measure::PossibleDoubles => "maybe billed twice",
        Measure::BreakerOpened => "breaker opened",
        other => other.name(),
    }
}

fn is_seconds(measure: Measure) -> bool {
    matches!(
        measure,
        Measure::LatencyP50
            | Measure::LatencyP95
            | Measure::LatencyP99
            | Measure::WaitP95
            | Measure::TimeToTrip
            | Measure::Recovery
    )
}

/// A value in its unit.
fn value(measure: Measure, value: f64, signed: bool) -> String {
    let plus = if signed && value > 0.0 { "+" } else { "" };
    match measure {
        // a difference of two percentages is none
        Measure::ServedShare if signed => format!("{plus}{:.1} points", value * 100.0),
        Measure::ServedShare => format!("{:.1}%", value * 100.0),
        _ if is_seconds(measure) => format!("{plus}{value:.2}s"),
        Measure::Amplification => format!("{plus}{value:.2}"),
        _ => format!("{plus}{value:.1}"),
    }
}

/// The mean, and in how many runs there was one where not in all.
pub(super) fn cell(measure: Measure, row: Option<&Row>, seeds: u64) -> String {
    match row.and_then(|row| Some((row.mean?, row.runs))) {
        None => "-".to_owned(),
        Some((mean, runs)) if runs < seeds => format!("{} ({runs} runs)", value(measure, mean, false)),
        Some((mean, _)) => value(measure, mean, false),
    }
}

fn plain_difference(measure: Measure, first: Option<&Row>, row: Option<&Row>) -> String {
    let mean = |row: Option<&Row>| row.and_then(|row| row.mean);
    match (mean(first), mean(row)) {
        (Some(first), Some(mean)) if (mean - first).abs() < 1e-9 => "same".to_owned(),
        (Some(first), Some(mean)) => value(measure, mean - first, true),
        _ => "-".to_owned(),
    }
}

/// The paired difference and its interval; with a question mark where its sign is not sure.
pub(super) fn difference(measure: Measure, row: Option<&Row>) -> String {
    let Some(interval) = row.and_then(|row| row.difference) else {
        return "-".to_owned();
    };
    if interval.low == 0.0 && interval.high == 0.0 {
        return "same".to_owned();
    }
    format!(
        "{} ({} to {}){}",
        value(measure, interval.mean, true),
        value(measure, interval.low, true),
        value(measure, interval.high, true),
        if interval.is_sure() { "" } else { " ?" }
    )
}

/// The first column to the left, all others to the right.
fn write_aligned(f: &mut fmt::Formatter<'_>, table: &[Vec<String>]) -> fmt::Result {
    let columns = table.iter().map(Vec::len).max().unwrap_or_default();
    let widths: Vec<usize> = (0..columns)
        .map(|at| {
            table
                .iter()
                .filter_map(|line| line.get(at))
                .map(|cell| cell.chars().count())
                .max()
                .unwrap_or(0)
        })
        .collect();
    for line in table {
        let mut text = String::new();
        for (at, (cell, width)) in line.iter().zip(&widths).enumerate() {
            let fill = " ".repeat(width - cell.chars().count());
            if at == 0 {
                text.extend([cell.as_str(), &fill]);
            } else {
                text.extend(["  ", &fill, cell.as_str()]);
            }
        }
        writeln!(f, "{}", text.trim_end())?;
    }
    Ok(())
}
