//! Policies with overrides: `production+retry.attempts=1+breaker.open=10s`.

use super::error::{ConfigError, value_error};
use crate::settings::{Policy, split_setting};

/// Splits `base+setting=value+..`. `None` without a setting: a file name may contain a plus.
pub(super) fn split(text: &str) -> Option<(&str, &str)> {
    let (base, rest) = text.split_once('+')?;
    rest.contains('=').then_some((base, rest))
}

/// Returns the policy with these settings, each `table.key=value`, changed.
pub(super) fn apply(policy: &Policy, settings: &str) -> Result<Policy, ConfigError> {
    let mut changed = policy.clone();
    for setting in settings.split('+') {
        let Some((path, value)) = split_setting(setting) else {
            return Err(value_error(
                setting,
                "not a setting: write table.key=value, as in retry.attempts=1",
            ));
        };
        changed = set(&changed, path, value)?;
    }
    changed.name = format!("{}+{settings}", policy.name);
    Ok(changed)
}

/// Returns the policy with one setting changed; the caller checks the bounds.
pub(super) fn set(policy: &Policy, path: &str, value: &str) -> Result<Policy, ConfigError> {
    policy
        .with(path, value)
        .map_err(|error| value_error(&error.path, &error.message))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use crate::settings::file::load_policy;
    use crate::settings::{Jitter, QueueOrder};

    #[test]
    fn overrides_settings_of_every_kind_and_names_the_policy() {
        let changed = load_policy(
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
        assert_eq!(changed.limit.for_user("ann").weight, 3);
        assert_eq!(changed.semantic.model.as_deref(), Some("m"));
        assert!(changed.name.starts_with("production+retry.attempts=1+"));
    }

    #[test]
    fn errors_name_the_setting_and_what_to_write() {
        let message = |text: &str| load_policy(text).unwrap_err().to_string();
        assert_eq!(
            message("production+retry.atempts=1"),
            "retry.atempts: no such setting; did you mean retry.attempts?"
        );
        assert!(
            message("production+retry.attempts=many").starts_with("retry.attempts: 'many': invalid type")
        );
        assert!(message("production+retry=1").starts_with("retry: '1': invalid type"));
        assert!(message("production+=1").starts_with(": no such setting; known: "));
        assert!(message("production+retry.attempts=0").contains("must be from 1 to 100"));
        assert_eq!(
            message("production+cache.ttl=1h+off"),
            "off: not a setting: write table.key=value, as in retry.attempts=1"
        );
        assert!(message("no-such+retry.attempts=1").starts_with("no policy 'no-such'"));
    }
}
