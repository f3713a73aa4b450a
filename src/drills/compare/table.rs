//! The comparison for people: measures down, policies across; or policies down where there are many.

use std::fmt;

use super::layout::{Layout, WIDTH, wrapped};
use super::{Column, Comparison, Row};
use crate::drills::scenario::Measure;

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
        let head = match &self.recorded {
            Some(recorded) => format!("{}: {}", self.scenario, recorded.world(self.seeds)),
            None => format!("{}, {}", self.scenario, self.runs()),
        };
        writeln!(f, "{}\n", wrapped(&head))?;
        for (place, table) in self.tables().into_iter().enumerate() {
            let between = if place > 0 { "\n" } else { "" };
            write!(f, "{between}{table}")?;
        }
        writeln!(f, "\n{}", wrapped(&self.reading))?;
        if let Some(recorded) = &self.recorded {
            writeln!(f, "{}", wrapped(&recorded.to_string()))?;
        }
        writeln!(f, "{}", wrapped(NOTE))?;
        write!(f, "{}", wrapped(&self.model))
    }
}

impl Comparison {
    /// How often which seeds were played.
    pub(super) fn runs(&self) -> String {
        match self.seeds {
            1 => format!("seed {}: one run", self.first_seed),
            seeds => format!(
                "seeds {} to {}: means of {seeds} runs",
                self.first_seed,
                self.last_seed()
            ),
        }
    }

    /// The tables in text. Three policies that do not fit beside each other have a table for each against the first.
    fn tables(&self) -> Vec<Layout> {
        if self.policies.len() > ACROSS {
            return vec![Layout::new(self.down(true))];
        }
        let whole = Layout::new(self.across(&[1, 2]));
        if self.policies.len() < 3 || whole.width() <= WIDTH {
            return vec![whole];
        }
        [1, 2].map(|other| Layout::new(self.across(&[other]))).into()
    }

    /// The seed of the last run.
    pub(super) fn last_seed(&self) -> u64 {
        self.first_seed.wrapping_add(self.seeds.saturating_sub(1))
    }

    /// Whether seeds are too few for intervals.
    fn has_no_intervals(&self) -> bool {
        self.seeds < crate::report::statistics::FEWEST as u64
    }

    /// The rows of the table, the head first, in the form that fits so many policies.
    pub(super) fn rows(&self) -> Vec<Vec<String>> {
        if self.policies.len() <= ACROSS {
            self.across(&[1, 2])
        } else {
            self.down(false)
        }
    }

    /// The rows of the table, the head first: measures down; of the first policy and these others.
    pub fn across(&self, others: &[usize]) -> Vec<Vec<String>> {
        let others: Vec<&Column> = others.iter().filter_map(|at| self.policies.get(*at)).collect();
        let first = self.policies.first();
        let mut head = vec![String::new()];
        head.extend(first.map(|first| first.policy.clone()));
        for column in &others {
            let sure = if self.has_no_intervals() { "" } else { " (95 %)" };
            head.extend([column.policy.clone(), format!("difference{sure}")]);
        }
        let mut table = vec![head];
        for measure in super::MEASURES {
            let mut line = vec![label(measure).to_owned()];
            line.extend(first.map(|first| cell(measure, first.row(measure), self.seeds)));
            for column in &others {
                let row = column.row(measure);
                line.push(cell(measure, row, self.seeds));
                line.push(if self.has_no_intervals() {
                    plain_difference(measure, row, self.seeds)
                } else {
                    difference(measure, row)
                });
            }
            table.push(line);
        }
        table
    }

    /// The rows of the table, the head first: policies down; with `short` their names without that of the first.
    pub fn down(&self, short: bool) -> Vec<Vec<String>> {
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
        let first = self.policies.first().map_or("", |first| first.policy.as_str());
        let rest = |column: &Column| -> Option<String> {
            let rest = column.policy.strip_prefix(first)?;
            rest.starts_with(['+', ' ']).then(|| rest.trim_start().to_owned())
        };
        // a bare setting below another policy would be taken for one of that
        let short = short && self.policies.iter().skip(1).all(|column| rest(column).is_some());
        for column in &self.policies {
            let name = rest(column).filter(|_| short);
            let name = name.unwrap_or_else(|| column.policy.clone());
            let mut line = vec![name];
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
        Measure::ServedShare if signed => format!("{plus}{:.1}", value * 100.0),
        Measure::ServedShare => format!("{:.1}%", value * 100.0),
        _ if is_seconds(measure) => format!("{plus}{value:.2}s"),
        Measure::Amplification => format!("{plus}{value:.2}"),
        // tenths of thousands are noise
        _ if value.abs() >= 1000.0 => format!("{plus}{value:.0}"),
        _ => format!("{plus}{value:.1}"),
    }
}

/// The mean, and in how many runs there was one where not in all.
pub(super) fn cell(measure: Measure, row: Option<&Row>, seeds: u64) -> String {
    match row.and_then(|row| Some((row.mean?, row.runs))) {
        None => "-".to_owned(),
        Some((mean, runs)) if runs < seeds => format!("{} ({runs} runs)", value(measure, mean, false)),
        Some((mean, _)) => whole(&value(measure, mean, false), seeds),
    }
}

/// What one run counted has no tenths.
fn whole(text: &str, seeds: u64) -> String {
    let whole = text.strip_suffix(".0").filter(|_| seeds == 1);
    whole.unwrap_or(text).to_owned()
}

/// What stands behind a difference: one of two percentages is none.
fn unit(measure: Measure) -> &'static str {
    if measure == Measure::ServedShare {
        " points"
    } else {
        ""
    }
}

/// The difference without an interval.
fn plain_difference(measure: Measure, row: Option<&Row>, seeds: u64) -> String {
    match row.and_then(|row| row.mean_difference) {
        Some(mean) if mean.abs() < 1e-9 => "same".to_owned(),
        Some(mean) if measure == Measure::ServedShare => value(measure, mean, true) + unit(measure),
        Some(mean) => whole(&value(measure, mean, true), seeds),
        None => "-".to_owned(),
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
        "{} ({} to {}){}{}",
        value(measure, interval.mean, true),
        value(measure, interval.low, true),
        value(measure, interval.high, true),
        unit(measure),
        if interval.is_sure() { "" } else { " ?" }
    )
}
