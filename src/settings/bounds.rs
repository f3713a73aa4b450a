//! What no type can express: which values a setting takes, and which go together.

use std::time::Duration;

use toml::Table;

use super::catalog::{Kind, SETTINGS};
use super::span::written;
use super::{Bucket, Policy};

/// Which numbers a setting takes; seconds of a duration.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Bounds {
    /// Not less.
    pub least: f64,
    /// Not more.
    pub most: f64,
    /// Whether `least` itself is none.
    pub above: bool,
    /// The same for people.
    pub rule: &'static str,
}

impl Bounds {
    /// Whether a number lies within.
    pub fn hold(&self, number: f64) -> bool {
        let least = if self.above {
            number > self.least
        } else {
            number >= self.least
        };
        least && number <= self.most
    }
}

/// From `least` to `most`, both included.
pub(super) const fn between(least: f64, most: f64, rule: &'static str) -> Bounds {
    Bounds {
        least,
        most,
        above: false,
        rule,
    }
}

/// Above `least`, up to `most`.
pub(super) const fn above(least: f64, most: f64, rule: &'static str) -> Bounds {
    Bounds {
        above: true,
        ..between(least, most, rule)
    }
}

/// A year, in seconds: a clock that is set further never strikes (`Clock::sleep_until`).
pub(super) const YEAR: f64 = 365.0 * 86_400.0;
/// The largest whole number that a file can have.
pub(super) const WHOLE: f64 = i64::MAX as f64;

/// The bounds of a kind, where a setting has none of its own.
pub(super) const fn usual(kind: Kind) -> Option<Bounds> {
    match kind {
        Kind::Count { least: 0, .. } | Kind::Bytes => Some(between(0.0, WHOLE, "a whole number from 0 on")),
        Kind::Count { least, .. } => Some(between(least as f64, WHOLE, "at least 1")),
        Kind::Share { .. } => Some(between(0.0, 1.0, "between 0 and 1")),
        Kind::PerSecond => Some(between(0.0, 1e6, "between 0 and 1000000")),
        Kind::Time => Some(between(0.0, YEAR, "at most a year")),
        Kind::Switch | Kind::Choice(_) | Kind::Text => None,
    }
}

/// What [`Bucket::is_valid`] asks for.
pub(super) const BUCKET_RULE: &str = "capacity and refill at least 1, per between 1ms and 24h, capacity at most 10000000, capacity * per at most 2e9 seconds (a shorter per does it)";

/// Whether a rule holds, the setting, its value, and what is allowed.
pub(super) type Rule = (bool, String, String, &'static str);

/// A setting out of its bounds.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{key} = {value}: {rule}")]
pub struct SettingsError {
    /// The setting, as a path: `breaker.failure_rate`.
    pub key: String,
    /// The value it has.
    pub value: String,
    /// What is allowed, and what to write instead.
    pub rule: &'static str,
}

impl Policy {
    /// Checks every bound that a type cannot express: those of the list of settings, and which values go together.
    pub fn validate(&self) -> Result<(), SettingsError> {
        let single = self.single_rules();
        let together = self.rules_together().into_iter();
        let rules = single
            .into_iter()
            .chain(together)
            .chain(self.semantic.rules())
            .chain(self.limit.user_rules());
        match { rules }.find(|(holds, ..)| !holds) {
            Some((_, key, value, rule)) => Err(SettingsError { key, value, rule }),
            None => Ok(()),
        }
    }

    /// Each setting by its own bounds.
    fn single_rules(&self) -> Vec<Rule> {
        if let Err(error) = Table::try_from(self) {
            let rule = "too large for a file: whole numbers go up to 9223372036854775807";
            return vec![(false, self.name.clone(), error.to_string(), rule)];
        }
        let mut values = self.settings();
        let rules = SETTINGS.iter().filter_map(|setting| {
            let bounds = setting.bounds?;
            let value = values.remove(setting.path)?;
            // as a person writes it: 50, not 50.0
            let short = value.strip_suffix(".0").unwrap_or(&value).to_owned();
            Some((
                setting.allows(&value),
                setting.path.to_owned(),
                short,
                bounds.rule,
            ))
        });
        rules.collect()
    }

    fn rules_together(&self) -> [Rule; 4] {
        let Self {
            retry,
            limit,
            breaker,
            ..
        } = self;
        // each of its values is within its own bounds by now
        let bucket = |key: &str, bucket: &Bucket| {
            (
                bucket.is_valid(),
                format!("{key}.per"),
                written(bucket.per),
                "too long, capacity * per at most 2e9 seconds",
            )
        };
        [
            (
                retry.base <= retry.cap,
                "retry.base".to_owned(),
                written(retry.base),
                "must not exceed retry.cap",
            ),
            (
                breaker.open <= breaker.open_max,
                "breaker.open".to_owned(),
                written(breaker.open),
                "longer than zero and at most breaker.open_max",
            ),
            bucket("limit.requests", &limit.requests),
            bucket("limit.tokens", &limit.tokens),
        ]
    }
}

impl Bucket {
    /// Bounds within which the integer arithmetic of the bucket cannot overflow.
    pub(super) fn is_valid(&self) -> bool {
        let per = self.per;
        (1..=10_000_000).contains(&self.capacity)
            && (1..=1_000_000_000).contains(&self.refill)
            && per >= Duration::from_millis(1)
            && per <= Duration::from_hours(24)
            // a level is an i64 of 1/per units (event::BucketLevel): full is a quarter of it, the rest is for debt
            && u128::from(self.capacity) * per.as_nanos() <= 2_000_000_000_000_000_000
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_policy_is_valid() {
        assert_eq!(Policy::default().validate(), Ok(()));
    }

    #[test]
    fn a_bucket_too_large_to_be_counted_is_not_valid() {
        let valid = |capacity, per| {
            let refill = capacity;
            Bucket {
                capacity,
                refill,
                per,
            }
            .is_valid()
        };
        assert!(valid(10_000_000, Duration::from_mins(1)));
        assert!(valid(20_000, Duration::from_hours(24)));
        // 8.6e20 does not fit: the bucket would be full for ever short of its capacity
        assert!(!valid(10_000_000, Duration::from_hours(24)));
    }

    #[test]
    fn a_rule_names_key_value_and_remedy() {
        let mut policy = Policy::default();
        policy.breaker.failure_rate = 1.5;
        let error = policy.validate().unwrap_err();
        assert_eq!(
            error.to_string(),
            "breaker.failure_rate = 1.5: above 0 and at most 1 (0.5 opens at half)"
        );
        policy.breaker.failure_rate = f64::NAN;
        assert!(policy.validate().is_err());
    }

    /// Each of these was accepted once, and broke something: no call ever came through, the breaker opened at once,
    /// or the journal could not be read again.
    #[test]
    fn values_without_sense_are_refused() {
        let told = |path: &str, value: &str| {
            let policy = Policy::default().with(path, value).unwrap();
            policy.validate().unwrap_err().to_string()
        };
        for path in ["call", "connect", "headers", "byte_idle", "event_idle"] {
            let said = told(&format!("timeouts.{path}"), "0s");
            let expected = format!("timeouts.{path} = 0s: longer than zero and at most a year");
            assert_eq!(said, expected);
        }
        for (path, value, rule) in [
            ("timeouts.max_response_bytes", "0", "at least 1"),
            ("breaker.slow_after", "0s", "breaker.slow_rate = 2.0"),
            ("breaker.slow_rate", "inf", "above 1 means never"),
            ("breaker.failure_rate", "0", "above 0"),
            ("breaker.open_max", "0s", "longer than zero"),
            ("breaker.open_max", "1s", "at most breaker.open_max"),
            ("retry.cap", "0s", "must not exceed retry.cap"),
            ("breaker.window", "3years", "at most a year"),
            ("retry.attempts", "101", "at most 100"),
            ("retry.budget_ratio", "nan", "between 0 and 10"),
            ("limit.default_answer_tokens", "9223372036854775807", "10000000"),
            ("limit.requests.per", "0s", "between 1ms and 24h"),
            ("limit.each_user.weight", "0", "between 1 and 1000"),
            ("semantic.timeout", "0s", "longer than zero"),
        ] {
            let said = told(path, value);
            assert!(said.contains(rule), "{said}");
        }
        let mut policy = Policy::default();
        policy.cache.max_bytes = u64::MAX;
        assert!(policy.validate().is_err());
    }

    #[test]
    fn what_does_not_go_together_is_told_as_it_is_written() {
        let told = |changes: &[(&str, &str)]| {
            let with = |policy: Policy, (path, value): &(&str, &str)| policy.with(path, value).unwrap();
            let policy = changes.iter().fold(Policy::default(), with);
            policy.validate().unwrap_err().to_string()
        };
        assert_eq!(
            told(&[("retry.base", "48h")]),
            "retry.base = 48h: must not exceed retry.cap"
        );
        assert_eq!(
            told(&[("limit.tokens.capacity", "10000000"), ("limit.tokens.per", "24h")]),
            "limit.tokens.per = 24h: too long, capacity * per at most 2e9 seconds"
        );
    }

    /// What means something at its end: the sentence of the setting says what.
    #[test]
    fn zero_means_something_where_it_is_accepted() {
        for setting in SETTINGS {
            let zero = match setting.kind {
                Kind::Time => "0s",
                Kind::Count { .. } | Kind::Bytes => "0",
                _ => continue,
            };
            let mut policy = Policy::default().with(setting.path, zero).unwrap();
            policy.retry.base = policy.retry.base.min(policy.retry.cap);
            assert_eq!(
                policy.validate().is_ok(),
                setting.allows(zero),
                "{}",
                setting.path
            );
        }
    }
}
