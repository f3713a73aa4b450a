//! The effect of a swept setting as a chart: for SVG, and as text within 80 columns.

use std::fmt::Write as _;

use super::charts::point;
use super::{Comparison, Interval, Row, Sweep};
use crate::report::charts::{Point, Range, TradeOff};

/// Columns of the plot; with the widest label and number a line has 80.
const COLUMNS: usize = 44;
/// Maximum width of a label.
const LABEL: usize = 24;

impl Comparison {
    /// The trade-off over the values of `sweep`.
    pub fn trade_off(&self, sweep: &Sweep) -> TradeOff {
        let swept = self.policies.len().saturating_sub(sweep.values.len());
        let values = sweep.values.iter().zip(self.policies.iter().skip(swept));
        let points = values.map(|(label, policy)| point(policy, label));
        TradeOff {
            title: self.scenario.clone(),
            setting: Some(sweep.setting.clone()),
            points: points.collect(),
        }
    }
}

pub(super) fn range(row: &Row) -> Option<Range> {
    let mean = row.mean?;
    let (low, high) = row
        .interval
        .map_or((mean, mean), |Interval { low, high, .. }| (low, high));
    Some(Range { mean, low, high })
}

/// The chart as text: a line for each value, `o` at the mean and dashes over its interval.
pub fn text_chart(trade_off: &TradeOff) -> String {
    let mut out = String::new();
    let served = |point: &Point| point.served.map(|range| range.scaled(100.0));
    panel(&mut out, trade_off, "calls served, %", &served);
    out.push('\n');
    panel(&mut out, trade_off, "attempts per call", &|point| point.attempts);
    let mut ranges = trade_off
        .points
        .iter()
        .flat_map(|point| [point.served, point.attempts]);
    out.push_str(
        if ranges.any(|range| range.is_some_and(|range| range.has_interval())) {
            "o is the mean, --- its 95 % interval"
        } else {
            "o is the mean"
        },
    );
    out
}

fn panel(out: &mut String, trade_off: &TradeOff, unit: &str, of: &dyn Fn(&Point) -> Option<Range>) {
    let ranges: Vec<Range> = trade_off.points.iter().filter_map(of).collect();
    let low = ranges.iter().map(|range| range.low).fold(f64::INFINITY, f64::min);
    let high = ranges
        .iter()
        .map(|range| range.high)
        .fold(f64::NEG_INFINITY, f64::max);
    let label = |text: &str| -> String { text.chars().take(LABEL).collect() };
    // enough digits to distinguish the ends
    let digits = match high - low {
        width if width >= 0.1 || width <= 0.0 => 2,
        width if width >= 0.01 => 3,
        _ => 4,
    };
    let (from, to) = (format!("{low:.digits$}"), format!("{high:.digits$}"));
    let gap = COLUMNS.saturating_sub(from.len() + to.len());
    if ranges.is_empty() {
        let _ = writeln!(out, "{unit}: no values");
        return;
    }
    let _ = writeln!(out, "{unit:<LABEL$} {from}{}{to}", " ".repeat(gap));
    for point in &trade_off.points {
        let name = label(&point.label);
        let Some(range) = of(point) else {
            let _ = writeln!(out, "{name:>LABEL$} {:COLUMNS$} {:>8}", "", "-");
            continue;
        };
        let at = |value: f64| column_of(value, low, high);
        let line: String = (0..COLUMNS)
            .map(|column| match column {
                column if column == at(range.mean) => 'o',
                column if (at(range.low)..=at(range.high)).contains(&column) => '-',
                0 => '|',
                column if column + 1 == COLUMNS => '|',
                _ => ' ',
            })
            .collect();
        let _ = writeln!(out, "{name:>LABEL$} {line} {:>8.digits$}", range.mean);
    }
}

/// The column of a value.
fn column_of(value: f64, low: f64, high: f64) -> usize {
    let width = high - low;
    let share = if width > 0.0 { (value - low) / width } else { 0.5 };
    (share * (COLUMNS - 1) as f64).round() as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    fn point(label: &str, mean: f64) -> Point {
        let range = Range {
            mean,
            low: mean - 0.05,
            high: mean + 0.05,
        };
        Point {
            label: label.to_owned(),
            served: Some(range),
            attempts: None,
        }
    }

    fn chart(points: Vec<Point>) -> String {
        text_chart(&TradeOff {
            title: "world".into(),
            setting: Some("retry.attempts".into()),
            points,
        })
    }

    #[test]
    fn a_better_value_is_to_the_right_within_80_columns() {
        let text = chart(vec![
            point("1", 0.5),
            point("a value with a very long name indeed", 0.9),
        ]);
        let lines: Vec<&str> = text.lines().collect();
        assert!(lines.iter().all(|line| line.chars().count() <= 80), "{text}");
        let at = |line: &str| line.rfind('o').unwrap();
        assert!(
            lines[1].contains("--o--") && at(lines[1]) < at(lines[2]),
            "{text}"
        );
        assert!(lines[0].contains("45.00") && lines[0].contains("95.00"), "{text}");
        assert!(text.contains("attempts per call: no values"), "{text}");
    }

    #[test]
    fn equal_values_are_in_the_middle() {
        let mut flat = point("1", 0.5);
        flat.served = flat.served.map(|range| Range {
            low: range.mean,
            high: range.mean,
            ..range
        });
        let text = chart(vec![flat]);
        let line = text.lines().nth(1).unwrap();
        assert_eq!(line.find('o'), Some(LABEL + 1 + COLUMNS / 2), "{text}");
        // without an interval the legend names none
        assert!(text.ends_with("o is the mean"), "{text}");
    }
}
