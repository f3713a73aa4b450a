//! One setting over a range: `retry.attempts=1..5`, `breaker.failure_rate=0.2..0.8`, `breaker.open=1s..30s/6`,
//! `retry.jitter=none,full`.

use std::str::FromStr;
use std::time::Duration;

use crate::settings::Policy;
use crate::settings::file::{self, ConfigError};

/// Default number of values of a range, with both ends.
const POINTS: usize = 7;
/// Maximum number of values.
const MOST_POINTS: usize = 50;

/// A setting and the values it takes, as a policy file writes them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sweep {
    /// The path, as `retry.attempts`.
    pub setting: String,
    /// The values in order; at least two.
    pub values: Vec<String>,
}

/// An invalid sweep.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "'{text}': {problem}; write retry.attempts=1..5, breaker.failure_rate=0.2..0.8/4 or retry.jitter=none,full"
)]
pub struct SweepError {
    text: String,
    problem: &'static str,
}

impl Sweep {
    /// Returns the policy with each of the values, named by it.
    ///
    /// # Errors
    /// If a value is invalid.
    pub fn policies(&self, policy: &Policy) -> Result<Vec<Policy>, ConfigError> {
        self.values
            .iter()
            .map(|value| {
                let mut policy = file::with_setting(policy, &self.setting, value)?;
                policy.name = format!("{}={value}", self.setting);
                Ok(policy)
            })
            .collect()
    }
}

impl FromStr for Sweep {
    type Err = SweepError;

    fn from_str(text: &str) -> Result<Self, SweepError> {
        let refuse = |problem| SweepError {
            text: crate::text::SafeText::excerpt(text, 80).to_string(),
            problem,
        };
        let (setting, range) = text.split_once('=').ok_or(refuse("it has no values"))?;
        let values = match range.split_once("..") {
            Some((from, to)) => spread(from, to).map_err(refuse)?,
            None => range.split(',').map(|value| value.trim().to_owned()).collect(),
        };
        if values.len() < 2 || values.iter().any(String::is_empty) {
            return Err(refuse("it needs at least two values"));
        }
        if values.len() > MOST_POINTS {
            return Err(refuse("it has more than 50 values"));
        }
        Ok(Self {
            setting: setting.trim().to_owned(),
            values,
        })
    }
}

/// The values from one end to the other.
fn spread(from: &str, to: &str) -> Result<Vec<String>, &'static str> {
    let (to, points) = match to.split_once('/') {
        Some((to, points)) => (
            to,
            Some(
                points
                    .trim()
                    .parse()
                    .map_err(|_| "the part after / is not a number")?,
            ),
        ),
        None => (to, None),
    };
    let (from, to) = (from.trim(), to.trim());
    if let Some(2..) | None = points.map(|points: usize| points) {
    } else {
        return Err("it needs at least two values");
    }
    if points.is_some_and(|points| points > MOST_POINTS) {
        return Err("it has more than 50 values");
    }
    if let (Ok(first), Ok(last)) = (from.parse::<i64>(), to.parse::<i64>()) {
        let span =
            usize::try_from(last.checked_sub(first).unwrap_or(-1)).map_err(|_| "the range is descending")?;
        let steps = points.map_or(span, |points| points - 1).min(span).max(1);
        let steps = if points.is_none() {
            steps.min(MOST_POINTS - 1)
        } else {
            steps
        };
        let mut values: Vec<i64> = (0..=steps)
            .map(|step| first + (span as f64 * step as f64 / steps as f64).round() as i64)
            .collect();
        values.dedup();
        return Ok(values.into_iter().map(|value| value.to_string()).collect());
    }
    let steps = points.unwrap_or(POINTS) - 1;
    let between = |first: f64, last: f64| {
        (0..=steps).map(move |step| first + (last - first) * step as f64 / steps as f64)
    };
    if let (Ok(first), Ok(last)) = (from.parse::<f64>(), to.parse::<f64>()) {
        if !(first < last && first.is_finite() && last.is_finite()) {
            return Err("the range is descending");
        }
        return Ok(between(first, last).map(short).collect());
    }
    match (seconds(from), seconds(to)) {
        (Some(first), Some(last)) if first < last => {
            let whole = |value: f64| Duration::from_millis((value * 1000.0).round() as u64);
            Ok(between(first, last).map(|value| written(whole(value))).collect())
        }
        (Some(_), Some(_)) => Err("the range is descending"),
        _ => Err("a range needs two numbers or two durations"),
    }
}

/// A fraction with one to four decimals: TOML distinguishes `1` from `1.0`.
fn short(value: f64) -> String {
    let rounded = (value * 10_000.0).round() / 10_000.0;
    format!("{rounded:?}")
}

fn written(duration: Duration) -> String {
    match duration.as_millis() {
        millis if millis % 1000 == 0 => format!("{}s", millis / 1000),
        millis => format!("{millis}ms"),
    }
}

/// The seconds of `250ms`, `10s`, `2m`, `1h`.
fn seconds(text: &str) -> Option<f64> {
    let digits = text.find(|letter: char| letter.is_ascii_alphabetic())?;
    let (number, unit) = text.split_at(digits);
    let scale = match unit {
        "ms" => 0.001,
        "s" => 1.0,
        "m" => 60.0,
        "h" => 3600.0,
        _ => return None,
    };
    let number: f64 = number.parse().ok()?;
    (number >= 0.0).then_some(number * scale)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(text: &str) -> Vec<String> {
        text.parse::<Sweep>().unwrap().values
    }

    #[test]
    fn ranges_lists_and_durations() {
        assert_eq!(values("retry.attempts=1..5"), ["1", "2", "3", "4", "5"]);
        assert_eq!(values("limit.concurrency=1..100/4"), ["1", "34", "67", "100"]);
        assert_eq!(
            values("breaker.failure_rate=0.2..0.8/4"),
            ["0.2", "0.4", "0.6", "0.8"]
        );
        assert_eq!(
            values("breaker.open=500ms..2s/4"),
            ["500ms", "1s", "1500ms", "2s"]
        );
        assert_eq!(values("retry.jitter=none,full"), ["none", "full"]);
        let sweep: Sweep = "breaker.open=500ms..2s/4".parse().unwrap();
        let policies = sweep.policies(&Policy::default()).unwrap();
        assert_eq!(policies[2].breaker.open, Duration::from_millis(1500));
        assert_eq!(policies[2].name, "breaker.open=1500ms");
    }

    #[test]
    fn an_invalid_sweep_is_rejected_with_an_example() {
        for (text, problem) in [
            ("retry.attempts", "it has no values"),
            ("retry.attempts=3", "at least two values"),
            ("retry.attempts=5..1", "the range is descending"),
            ("breaker.failure_rate=0.8..0.2", "the range is descending"),
            ("breaker.open=30s..1s", "the range is descending"),
            ("breaker.open=fast..slow", "two numbers or two durations"),
            ("retry.attempts=1..5/0", "at least two values"),
            ("retry.attempts=1..5/x", "the part after / is not a number"),
            ("retry.attempts=1..100/99", "more than 50"),
            ("retry.jitter=none,,full", "at least two values"),
        ] {
            let error = text.parse::<Sweep>().unwrap_err().to_string();
            assert!(
                error.contains(problem) && error.contains("write retry.attempts=1..5"),
                "{text}: {error}"
            );
        }
    }
}
