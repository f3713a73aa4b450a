//! A policy in a word: a preset or a file, and single settings that differ from it.
//!
//! ```text
//! production+retry.attempts=1+breaker.open=10s
//! base       setting      =value, as TOML or a bare word
//! ```

use toml::{Table, Value};

use super::error::{ConfigError, value_error};
use super::read::nearest;
use crate::settings::Policy;

/// Splits `base+setting=value+..`. Nothing where there is no setting in it: a file may have a plus in its name.
pub(super) fn split(text: &str) -> Option<(&str, &str)> {
    let (base, rest) = text.split_once('+')?;
    rest.contains('=').then_some((base, rest))
}

/// The policy with these settings, each `table.key=value`.
pub(super) fn apply(policy: &Policy, settings: &str) -> Result<Policy, ConfigError> {
    let mut changed = policy.clone();
    for setting in settings.split('+') {
        let Some((path, value)) = setting.split_once('=') else {
            return Err(value_error(
                setting,
                "a setting is written table.key=value: retry.attempts=1",
            ));
        };
        changed = set(&changed, path.trim(), value.trim())?;
    }
    changed.name = format!("{}+{settings}", policy.name);
    Ok(changed)
}

/// The policy with one setting changed. The bounds are checked by whoever has set all of them: two may only fit
/// together.
pub(super) fn set(policy: &Policy, path: &str, value: &str) -> Result<Policy, ConfigError> {
    let refuse = |message: String| value_error(path, &message);
    let mut root = Table::try_from(policy).map_err(|error| refuse(error.to_string()))?;
    let parsed = literal(value);
    let place = place(&mut root, path).map_err(refuse)?;
    *place = fit(place, parsed);
    root.try_into()
        .map_err(|error: toml::de::Error| refuse(format!("'{value}': {}", error.message())))
}

/// A number, a truth value, a table or an array as TOML writes it; everything else is a word: `10s`, `full`.
fn literal(value: &str) -> Value {
    let line = format!("value = {value}");
    let parsed = line.parse::<Table>().ok().filter(|table| table.len() == 1);
    parsed
        .and_then(|mut table| table.remove("value"))
        .unwrap_or_else(|| Value::String(value.to_owned()))
}

/// A whole number where a fraction stood is meant as one: `retry.budget_ratio=0`.
fn fit(before: &Value, value: Value) -> Value {
    match (before, value) {
        (Value::Float(_), Value::Integer(whole)) => Value::Float(whole as f64),
        (_, value) => value,
    }
}

/// Where a path leads. Settings that are absent until somebody sets them are made.
fn place<'a>(root: &'a mut Table, path: &str) -> Result<&'a mut Value, String> {
    let (tables, key) = path.rsplit_once('.').unwrap_or(("", path));
    let mut table = root;
    let mut walked = String::new();
    for name in tables.split('.').filter(|name| !name.is_empty()) {
        let hint = unknown(table, &walked, name);
        walked = format!("{walked}{name}.");
        // users are named by whoever writes the policy
        if walked.starts_with("limit.users.") && !table.contains_key(name) {
            table.insert(name.to_owned(), Value::Table(Table::new()));
        }
        table = table.get_mut(name).and_then(Value::as_table_mut).ok_or(hint)?;
    }
    let open = OPTIONAL.contains(&path) || walked.starts_with("limit.users.");
    if !open && !table.contains_key(key) {
        return Err(unknown(table, &walked, key));
    }
    Ok(table.entry(key).or_insert(Value::Boolean(false)))
}

/// Settings that a policy leaves out where they are not set.
const OPTIONAL: [&str; 4] = [
    "semantic.embedder",
    "semantic.model",
    "limit.each_user.requests",
    "limit.each_user.tokens",
];

fn unknown(table: &Table, walked: &str, name: &str) -> String {
    let names: Vec<&str> = table.keys().map(String::as_str).collect();
    match nearest(name, names.iter().copied()) {
        Some(near) => format!("no such setting; did you mean {walked}{near}?"),
        None => format!(
            "no such setting; there are {walked}{}",
            names.join(&format!(", {walked}"))
        ),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use crate::config::policy;
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
