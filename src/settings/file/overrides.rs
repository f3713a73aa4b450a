//! A policy in a word: a preset or a file, and single settings that differ from it:
//! `production+retry.attempts=1+breaker.open=10s`.

use super::error::{ConfigError, value_error};
use crate::settings::{Policy, split_setting};

/// Splits `base+setting=value+..`. Nothing where there is no setting in it: a file may have a plus in its name.
pub(super) fn split(text: &str) -> Option<(&str, &str)> {
    let (base, rest) = text.split_once('+')?;
    rest.contains('=').then_some((base, rest))
}

/// The policy with these settings, each `table.key=value`.
pub(super) fn apply(policy: &Policy, settings: &str) -> Result<Policy, ConfigError> {
    let mut changed = policy.clone();
    for setting in settings.split('+') {
        let Some((path, value)) = split_setting(setting) else {
            return Err(value_error(
                setting,
                "a setting is written table.key=value: retry.attempts=1",
            ));
        };
        changed = set(&changed, path, value)?;
    }
    changed.name = format!("{}+{settings}", policy.name);
    Ok(changed)
}

/// The policy with one setting changed; its bounds are checked by whoever has set all.
pub(super) fn set(policy: &Policy, path: &str, value: &str) -> Result<Policy, ConfigError> {
    policy
        .with(path, value)
        .map_err(|error| value_error(&error.path, &error.message))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use crate::settings::file::policy;
    use crate::settings::{Jitter, QueueOrder};

    #[test]
    fn settings_of_every_kind_are_changed_and_named() {
        let changed = policy(
            "production+retry.attempts=1+retry.jitter=none+breaker.open=10s+retry.budget_ratio=0+cache.enabled=false\
             +limit.requests.capacity=7+limit.order=fifo+limit.users.ann.weight=3+semantic.model=m",
        )
        .unwrap();
        assert_eq!((changed.retry.attempts, changed.retry.jitter), (1, Jitter::None));
        assert_eq!(changed.breaker.open, Duration::from_secs(10));
        assert!(changed.retry.budget_ratio == 0.0 && !changed.cache.enabled);
        assert_eq!(
            (changed.limit.requests.capacity, changed.limit.order),
            (7, QueueOrder::Fifo)
        );
        assert_eq!(changed.limit.of_user("ann").weight, 3);
        assert_eq!(changed.semantic.model.as_deref(), Some("m"));
        assert!(changed.name.starts_with("production+retry.attempts=1+"));
    }

    #[test]
    fn a_mistake_names_the_setting_and_what_to_write() {
        let message = |text: &str| policy(text).unwrap_err().to_string();
        assert_eq!(
            message("production+retry.atempts=1"),
            "retry.atempts: no such setting; did you mean retry.attempts?"
        );
        assert!(
            message("production+retry.attempts=many").starts_with("retry.attempts: 'many': invalid type")
        );
        assert!(message("production+retry=1").starts_with("retry: '1': invalid type"));
        assert!(message("production+=1").starts_with(": no such setting; there are "));
        assert!(message("production+retry.attempts=0").contains("at least 1"));
        assert_eq!(
            message("production+cache.ttl=1h+off"),
            "off: a setting is written table.key=value: retry.attempts=1"
        );
        assert!(message("no-such+retry.attempts=1").starts_with("no policy 'no-such'"));
    }
}
