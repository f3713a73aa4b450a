//! The comparison as a text table: measures down and policies across, or policies down if there are many.

use std::fmt;

use super::layout::{Layout, WIDTH, wrapped};
use super::{Comparison, PolicyResult, Row};
use crate::drills::scenario::Measure;

/// The note below a table.
pub(super) const NOTE: &str = "Latencies are those of served calls only: a policy that limits or refuses slow calls \
looks faster. Tokens spent are those that attempts used; tokens wasted are those without an answer to their call. A \
truncated attempt counts its prompt and the text it streamed.";
/// Maximum number of policies across.
const ACROSS: usize = 3;

impl PolicyResult {
    /// The row of a measure.
    pub fn row(&self, measure: Measure) -> Option<&Row> {
        self.rows.iter().find(|row| row.measure == measure)
    }
}

impl fmt::Display for Comparison {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let head = match &self.recorded {
            Some(recorded) => format!("{}: {}", self.scenario, recorded.heading(self.seeds)),
            None => format!("{}, {}", self.scenario, self.runs()),
        };
        writeln!(f, "{}\n", wrapped(&head))?;
        for (place, table) in self.tables().into_iter().enumerate() {
            let between = if place > 0 { "\n" } else { "" };
            write!(f, "{between}{table}")?;
        }
        writeln!(f, "\n{}", wrapped(&self.summary))?;
        if let Some(recorded) = &self.recorded {
            writeln!(f, "{}", wrapped(&recorded.to_string()))?;
        }
        writeln!(f, "{}", wrapped(NOTE))?;
        write!(f, "{}", wrapped(&self.model))
    }
}

impl Comparison {
    /// The seeds and the number of runs.
    pub(super) fn runs(&self) -> String {
        match self.seeds {
            1 => format!("seed {}, one run", self.first_seed),
            seeds => format!(
                "means of {seeds} runs, seeds {} to {}",
                self.first_seed,
                self.last_seed()
            ),
        }
    }

    /// The text tables. Three policies that do not fit across give two tables, each against the first.
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

    /// True if there are too few seeds for intervals.
    fn has_no_intervals(&self) -> bool {
        self.seeds < crate::report::statistics::FEWEST as u64
    }

    /// The rows of the table, the head first, in the form that fits the number of policies.
    pub(super) fn rows(&self) -> Vec<Vec<String>> {
        if self.policies.len() <= ACROSS {
            self.across(&[1, 2])
        } else {
            self.down(false)
        }
    }

    /// The rows with measures down, the head first, of the first policy and these others.
    pub fn across(&self, others: &[usize]) -> Vec<Vec<String>> {
        let others: Vec<&PolicyResult> = others.iter().filter_map(|at| self.policies.get(*at)).collect();
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

    /// The rows with policies down, the head first; with `short`, names omit that of the first.
    pub fn down(&self, short: bool) -> Vec<Vec<String>> {
        const SHOWN: [Measure; 7] = [
            Measure::ServedShare,
            Measure::Amplification,
            Measure::LatencyP95,
            Measure::CircuitOpen,
            Measure::RateLimited,
            Measure::TimeToRecover,
            Measure::WastedTokens,
        ];
        let mut head = vec![String::new()];
        head.extend(SHOWN.map(|measure| label(measure).to_owned()));
        let mut table = vec![head];
        let first = self.policies.first().map_or("", |first| first.policy.as_str());
        let rest = |column: &PolicyResult| -> Option<String> {
            let rest = column.policy.strip_prefix(first)?;
            rest.starts_with(['+', ' ']).then(|| rest.trim_start().to_owned())
        };
        // a setting without its policy, below another one, would look like a setting of that one
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

/// The label of a measure.
pub(super) fn label(measure: Measure) -> &'static str {
    match measure {
        Measure::ServedShare => "served",
        Measure::Answered => "  answered",
        Measure::Hits => "  cached",
        Measure::RateLimited => "limited",
        Measure::CircuitOpen => "refused",
        Measure::Shared => "  shared",
        Measure::LatencyP50 => "p50",
        Measure::LatencyP95 => "p95",
        Measure::LatencyP99 => "p99",
        Measure::WaitP95 => "queue p95",
        Measure::Amplification => "attempts per call",
        Measure::TimeToTrip => "time to trip",
        Measure::TimeToRecover => "time to recover",
        Measure::SpentTokens => "tokens spent",
        Measure::WastedTokens => "tokens wasted",
        Measure::AmbiguousRetries => "ambiguous retries",
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
            | Measure::TimeToRecover
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
        _ if value.abs() >= 1000.0 => format!("{plus}{value:.0}"),
        _ => format!("{plus}{value:.1}"),
    }
}

/// The mean, and the number of runs with a value if not all have one.
pub(super) fn cell(measure: Measure, row: Option<&Row>, seeds: u64) -> String {
    match row.and_then(|row| Some((row.mean?, row.runs))) {
        None => "-".to_owned(),
        Some((mean, runs)) if runs < seeds => format!("{} ({runs} runs)", value(measure, mean, false)),
        Some((mean, _)) => whole(&value(measure, mean, false), seeds),
    }
}

/// A count of a single run without decimals.
fn whole(text: &str, seeds: u64) -> String {
    let whole = text.strip_suffix(".0").filter(|_| seeds == 1);
    whole.unwrap_or(text).to_owned()
}

/// The unit of a difference: that of two percentages is not a percentage.
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

/// The paired difference and its interval, with a question mark if it is not significant.
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
        if interval.excludes_zero() { "" } else { " ?" }
    )
}
