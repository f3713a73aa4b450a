//! Numeric bounds of settings.

/// The range of a numeric setting. Durations are compared in seconds.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct Bounds {
    /// The smallest number.
    pub min: f64,
    /// The largest number, included.
    pub max: f64,
    /// True if `min` itself is out of range.
    pub exclusive_min: bool,
    /// The range in words, as it follows "must be".
    pub rule: &'static str,
}

impl Bounds {
    /// Returns true if `number` is in range.
    pub fn contains(&self, number: f64) -> bool {
        let above_min = if self.exclusive_min {
            number > self.min
        } else {
            number >= self.min
        };
        above_min && number <= self.max
    }
}

/// From `min` to `max`, both included.
pub(super) const fn between(min: f64, max: f64, rule: &'static str) -> Bounds {
    Bounds {
        min,
        max,
        exclusive_min: false,
        rule,
    }
}

/// Above `min`, up to `max`.
pub(super) const fn above(min: f64, max: f64, rule: &'static str) -> Bounds {
    Bounds {
        exclusive_min: true,
        ..between(min, max, rule)
    }
}

/// A year, in seconds: a timer that is set further ahead never fires (`Clock::sleep_until`).
pub(super) const YEAR: f64 = 365.0 * 86_400.0;
/// The largest integer of TOML.
pub(super) const MAX_INTEGER: f64 = i64::MAX as f64;

/// One check of [`Policy::validate`](super::Policy::validate).
pub(super) struct Rule {
    pub(super) holds: bool,
    pub(super) key: String,
    pub(super) value: String,
    /// The allowed values, as they follow "must be".
    pub(super) allowed: &'static str,
}
