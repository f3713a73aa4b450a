//! Checks of a whole policy: every setting against its bounds, and the settings that depend on each other.

use toml::Table;

use super::bounds::Rule;
use super::catalog::SETTINGS;
use super::duration::format_duration;
use super::{Bucket, Policy};

/// A setting that is out of its bounds.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{key} = {value} (must be {rule})")]
#[non_exhaustive]
pub struct SettingsError {
    /// The path of the setting: `breaker.failure_rate`.
    pub key: String,
    /// Its value.
    pub value: String,
    /// The allowed values, as they follow "must be".
    pub rule: &'static str,
}

impl Policy {
    /// Checks the bounds of every setting, and the settings that depend on each other.
    ///
    /// # Errors
    /// Returns the first setting that is out of its bounds.
    pub fn validate(&self) -> Result<(), SettingsError> {
        let rules = self
            .single_rules()
            .into_iter()
            .chain(self.combined_rules())
            .chain(self.semantic.rules())
            .chain(self.user_rules());
        match { rules }.find(|rule| !rule.holds) {
            Some(Rule {
                key, value, allowed, ..
            }) => Err(SettingsError {
                key,
                value,
                rule: allowed,
            }),
            None => Ok(()),
        }
    }

    fn single_rules(&self) -> Vec<Rule> {
        if let Err(error) = Table::try_from(self) {
            return vec![Rule {
                holds: false,
                key: self.name.clone(),
                value: error.to_string(),
                allowed: "at most 9223372036854775807 in every whole number",
            }];
        }
        let mut values = self.settings();
        let rules = SETTINGS.iter().filter_map(|setting| {
            let bounds = setting.bounds?;
            let value = values.remove(setting.path)?;
            Some(Rule {
                holds: setting.allows(&value),
                key: setting.path.to_owned(),
                // 50, not 50.0
                value: value.strip_suffix(".0").unwrap_or(&value).to_owned(),
                allowed: bounds.rule,
            })
        });
        rules.collect()
    }

    /// Runs after the single rules: each value is within its own bounds.
    fn combined_rules(&self) -> [Rule; 4] {
        let Self {
            retry,
            limit,
            breaker,
            ..
        } = self;
        let bucket = |key: &str, bucket: &Bucket| Rule {
            holds: bucket.is_valid(),
            key: format!("{key}.per"),
            value: format_duration(bucket.per),
            allowed: "shorter, because capacity * per is at most 2e9 seconds",
        };
        [
            Rule {
                holds: retry.base <= retry.cap,
                key: "retry.base".to_owned(),
                value: format_duration(retry.base),
                allowed: "at most retry.cap",
            },
            Rule {
                holds: breaker.open <= breaker.open_max,
                key: "breaker.open".to_owned(),
                value: format_duration(breaker.open),
                allowed: "above 0s and at most breaker.open_max",
            },
            bucket("limit.requests", &limit.requests),
            bucket("limit.tokens", &limit.tokens),
        ]
    }

    fn user_rules(&self) -> Vec<Rule> {
        let mut rules = Vec::new();
        let each = [("limit.each_user".to_owned(), &self.limit.each_user)];
        let named = self.limit.users.iter();
        let named = named.map(|(name, limits)| (format!("limit.users.{name}"), limits));
        for (key, limits) in each.into_iter().chain(named) {
            rules.push(Rule {
                holds: (1..=1000).contains(&limits.weight),
                key: format!("{key}.weight"),
                value: limits.weight.to_string(),
                allowed: "from 1 to 1000",
            });
            for (field, bucket) in [("requests", &limits.requests), ("tokens", &limits.tokens)] {
                rules.extend(bucket.as_ref().map(|bucket| Rule {
                    holds: bucket.is_valid(),
                    key: format!("{key}.{field}"),
                    value: bucket.to_toml(),
                    allowed: Bucket::RULE,
                }));
            }
        }
        rules
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::SettingKind;

    #[test]
    fn the_default_policy_is_valid() {
        assert_eq!(Policy::default().validate(), Ok(()));
    }

    #[test]
    fn an_error_names_key_value_and_bounds() {
        let mut policy = Policy::default();
        policy.breaker.failure_rate = 1.5;
        let error = policy.validate().unwrap_err();
        assert_eq!(
            error.to_string(),
            "breaker.failure_rate = 1.5 (must be above 0 and at most 1)"
        );
        policy.breaker.failure_rate = f64::NAN;
        assert!(policy.validate().is_err());
    }

    /// Regressions: each value was accepted once and blocked every call, opened the breaker at once, or made the
    /// journal unreadable.
    #[test]
    fn rejects_values_that_cannot_work() {
        let message = |path: &str, value: &str| {
            let policy = Policy::default().with(path, value).unwrap();
            policy.validate().unwrap_err().to_string()
        };
        for path in [
            "call",
            "connect",
            "headers",
            "byte_idle",
            "event_idle",
            "after_finish",
        ] {
            let expected = format!("timeouts.{path} = 0s (must be above 0s and at most a year)");
            assert_eq!(message(&format!("timeouts.{path}"), "0s"), expected);
        }
        for (path, value, rule) in [
            ("timeouts.max_response_bytes", "0", "1 or more"),
            ("breaker.slow_after", "0s", "breaker.slow_rate = 2.0 "),
            ("breaker.slow_rate", "inf", "above 1 never opens"),
            ("breaker.failure_rate", "0", "above 0"),
            ("breaker.open_max", "0s", "above 0s"),
            ("breaker.open_max", "1s", "at most breaker.open_max"),
            ("retry.cap", "0s", "must be at most retry.cap"),
            ("breaker.window", "3years", "at most a year"),
            ("retry.attempts", "101", "from 1 to 100"),
            ("retry.budget_ratio", "nan", "from 0 to 10"),
            ("limit.default_answer_tokens", "9223372036854775807", "10000000"),
            ("limit.requests.per", "0s", "from 1ms to 24h"),
            ("limit.each_user.weight", "0", "from 1 to 1000"),
            ("semantic.timeout", "0s", "above 0s"),
        ] {
            let error = message(path, value);
            assert!(error.contains(rule), "{error}");
        }
        let mut policy = Policy::default();
        policy.cache.max_bytes = u64::MAX;
        assert!(policy.validate().is_err());
    }

    #[test]
    fn rejects_combinations_and_writes_durations_as_the_file_does() {
        let message = |changes: &[(&str, &str)]| {
            let with = |policy: Policy, (path, value): &(&str, &str)| policy.with(path, value).unwrap();
            let policy = changes.iter().fold(Policy::default(), with);
            policy.validate().unwrap_err().to_string()
        };
        assert_eq!(
            message(&[("retry.base", "48h")]),
            "retry.base = 48h (must be at most retry.cap)"
        );
        assert_eq!(
            message(&[("limit.tokens.capacity", "10000000"), ("limit.tokens.per", "24h")]),
            "limit.tokens.per = 24h (must be shorter, because capacity * per is at most 2e9 seconds)"
        );
    }

    #[test]
    fn zero_is_valid_exactly_where_the_bounds_allow_it() {
        for setting in SETTINGS {
            let zero = match setting.kind {
                SettingKind::Duration => "0s",
                SettingKind::Count { .. } | SettingKind::Bytes => "0",
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
