//! Ends of scales and their labels.

use std::time::Duration;

use crate::text::units;

/// The steps of a scale in each power of ten.
const STEPS: [f64; 8] = [1.0, 1.5, 2.0, 3.0, 4.0, 6.0, 8.0, 10.0];
/// A scale of which less than this share is used for a whole window shrinks.
const SHRINK: f64 = 0.4;

/// The end of a scale for values up to `most` in the window, and up to `before` in the window before it; at least
/// `least`.
///
/// The scale grows at once. It shrinks once all values of the window are below 40 % of it, so that it does not
/// follow every peak.
pub fn scale(most: f64, before: f64, least: f64) -> f64 {
    let wide = step(most.max(before).max(least));
    if most < wide * SHRINK {
        step(most.max(least))
    } else {
        wide
    }
}

/// The smallest of 1, 1.5, 2, 3, 4, 6, 8, 10 in any power of ten that is not less than `value`; 1 if `value` is not
/// a positive number.
fn step(value: f64) -> f64 {
    if !value.is_finite() || value <= 0.0 {
        return 1.0;
    }
    let power = 10.0_f64.powi(value.log10().floor() as i32);
    let steps = STEPS.map(|step| step * power);
    steps
        .into_iter()
        .find(|step| *step >= value * (1.0 - 1e-9))
        .unwrap_or(value)
}

/// The rows of a chart that carry a label, and their values: the end of the scale in the first row, its middle in
/// the middle row, 0 in the last.
pub fn levels(rows: u16, top: f64) -> Vec<(u16, f64)> {
    match rows {
        0 => Vec::new(),
        1 => vec![(0, top)],
        _ => {
            let mut levels = vec![(0, top)];
            if rows >= 5 {
                levels.push(((rows - 1) / 2, top / 2.0));
            }
            levels.push((rows - 1, 0.0));
            levels
        }
    }
}

/// The unit of a scale.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// A rate per second.
    PerSecond,
    /// A number of things.
    Count,
    /// Seconds.
    Time,
    /// A share of 1.
    Share,
}

impl Unit {
    /// The label of a value on a scale that ends at `top`, short enough for a gutter: `12/s`, `1.5 s`, `50%`.
    pub fn label(self, value: f64, top: f64) -> String {
        if value == 0.0 && self != Self::Share {
            return "0".to_owned();
        }
        match self {
            // the unit is written once
            Self::PerSecond if value < top => format!("{:<2}", number(value)),
            Self::PerSecond => format!("{}/s", number(value)),
            Self::Count => number(value),
            Self::Time => seconds(value),
            Self::Share => format!("{:.0}%", value * 100.0),
        }
    }
}

/// A number in at most four columns: `0.3`, `12`, `2.3k`.
pub fn number(value: f64) -> String {
    if value < 100.0 && value.fract() > 1e-6 {
        format!("{value:.1}")
    } else {
        units::amount(value.round() as u64)
    }
}

/// A time on a scale: `400 ms`, `1.5 s`, `3.0 s`, `7.5 s`, `20 s`, `5 m`.
fn seconds(value: f64) -> String {
    match value {
        ..1.0 => format!("{:.0} ms", value * 1e3),
        1.0..10.0 => format!("{value:.1} s"),
        10.0..100.0 if value.fract() < 1e-6 => format!("{value:.0} s"),
        10.0..100.0 => format!("{value:.1} s"),
        100.0..1000.0 => format!("{value:.0} s"),
        _ => units::duration(Duration::from_secs_f64(value.min(1e9))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scale_grows_at_once_and_shrinks_after_a_window_below_40_percent() {
        // most in the window, most in the window before it, end
        for (most, before, end) in [
            (0.0, 0.0, 1.0),
            (1.1, 0.0, 1.5),
            (7.0, 1.0, 8.0),
            (12.0, 1.0, 15.0),
            (100.0, 0.0, 100.0),
            (5.0, 10.0, 10.0),
            (4.0, 10.0, 10.0),
            (3.9, 10.0, 4.0),
            (0.0, 10.0, 1.0),
            (f64::NAN, 0.0, 1.0),
        ] {
            assert!(
                (scale(most, before, 1.0) - end).abs() < 1e-9,
                "{most} after {before}"
            );
        }
    }

    #[test]
    fn labels_fit_a_gutter() {
        use Unit::{Count, PerSecond, Share, Time};
        for (unit, value, top, text) in [
            (PerSecond, 12.0, 12.0, "12/s"),
            (PerSecond, 6.0, 12.0, "6 "),
            (PerSecond, 7.5, 15.0, "7.5"),
            (PerSecond, 3000.0, 3000.0, "3k/s"),
            (Count, 0.0, 80.0, "0"),
            (Count, 40.0, 80.0, "40"),
            (Time, 0.4, 0.4, "400 ms"),
            (Time, 1.5, 3.0, "1.5 s"),
            (Time, 3.0, 3.0, "3.0 s"),
            (Time, 15.0, 15.0, "15 s"),
            (Time, 7.5, 15.0, "7.5 s"),
            (Share, 0.0, 1.0, "0%"),
            (Share, 0.5, 1.0, "50%"),
        ] {
            assert_eq!(unit.label(value, top), text);
        }
    }

    #[test]
    fn levels_are_the_ends_and_the_middle() {
        assert_eq!(levels(6, 12.0), [(0, 12.0), (2, 6.0), (5, 0.0)]);
        assert_eq!(levels(3, 12.0), [(0, 12.0), (2, 0.0)]);
        assert_eq!(levels(1, 12.0), [(0, 12.0)]);
        assert_eq!(levels(0, 12.0), []);
    }
}
