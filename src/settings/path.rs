//! Access to a single setting by its path, as text: `retry.attempts`, `breaker.open`.
//!
//! ```text
//! production+retry.attempts=1+breaker.open=10s
//!            path          =value, as TOML or a bare word
//! ```
//!
//! The command line, saved scenarios and the screen change settings through this module, so that all of them
//! parse, reject and write a value in the same way.

use std::collections::BTreeMap;

use toml::{Table, Value};

use super::catalog::{Setting, SettingKind};
use super::toml_error::reword_toml_error;
use super::toml_text::{toml_key, toml_string, toml_value};
use super::{Policy, UserLimits};

/// Settings that a policy omits while they are unset; `none` unsets them. Users and their buckets are optional
/// too.
const OPTIONAL: [&str; 5] = [
    "semantic.threshold",
    "semantic.embedder",
    "semantic.model",
    "limit.each_user.requests",
    "limit.each_user.tokens",
];

/// The value of an optional setting that is unset.
pub const UNSET: &str = "none";

/// An unknown setting, or a value that it cannot have.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{path}: {message}")]
#[non_exhaustive]
pub struct PathError {
    /// The path as given.
    pub path: String,
    /// The problem, and what to write instead.
    pub message: String,
}

impl Policy {
    /// Returns the policy with one setting changed.
    ///
    /// Bounds are not checked, because two changes may be valid only together: see [`Policy::validate`].
    ///
    /// # Errors
    /// Fails if the setting is unknown or the value has the wrong type.
    pub fn with(&self, path: &str, value: &str) -> Result<Self, PathError> {
        let error_at = |message: String| PathError {
            path: path.to_owned(),
            message,
        };
        let mut root = Table::try_from(self).map_err(|error| error_at(error.to_string()))?;
        let keys = split_path(path);
        if value == UNSET && is_optional(&keys) {
            remove(&mut root, &keys);
        } else {
            let is_text = Setting::find(path).is_some_and(|setting| setting.kind == SettingKind::Text);
            let slot = value_mut(&mut root, &keys).map_err(error_at)?;
            *slot = match parse_value(value) {
                text @ Value::String(_) => text,
                _ if is_text => Value::String(value.to_owned()),
                parsed => coerce(slot, parsed),
            };
        }
        root.try_into().map_err(|error: toml::de::Error| {
            error_at(format!("'{value}': {}", reword_toml_error(error.message())))
        })
    }

    /// Returns every setting that is set, by its path, as [`Policy::with`] takes it. The name and the semantic
    /// labels are not settings and are left out.
    pub fn settings(&self) -> BTreeMap<String, String> {
        let mut flat = BTreeMap::new();
        if let Ok(root) = Table::try_from(self) {
            flatten("", &root, &mut flat);
        }
        flat.remove("name");
        flat.remove("semantic.labels");
        flat
    }

    /// Returns the policy with these settings, each `table.key=value`, checked together.
    ///
    /// # Errors
    /// If a setting cannot be read or does not exist, or the policy is invalid.
    pub(crate) fn with_settings(&self, settings: &[String]) -> Result<Self, String> {
        let mut changed = self.clone();
        for setting in settings {
            let (path, value) = split_setting(setting).ok_or_else(|| {
                format!("'{setting}': write a setting as table.key=value: retry.attempts=1")
            })?;
            changed = changed.with(path, value).map_err(|error| error.to_string())?;
        }
        changed.validate().map_err(|error| error.to_string())?;
        Ok(changed)
    }

    /// Returns the settings that turn this policy into `other`, in the order of the paths.
    pub fn changes(&self, other: &Self) -> Vec<(String, String)> {
        let before = self.settings();
        let mut after = other.settings();
        after.retain(|path, value| before.get(path) != Some(value));
        let (had, has) = (self.optional(), other.optional());
        for (path, whole) in &has {
            if !had.contains_key(path) {
                // a bucket is set as a whole
                let parts = format!("{path}.");
                after.retain(|known, _| !known.starts_with(&parts));
                after.insert(path.clone(), whole.clone());
            }
        }
        let removed = |user: &&String| !other.limit.users.contains_key(*user);
        let removed_users: Vec<String> = self
            .limit
            .users
            .keys()
            .filter(removed)
            .map(|user| user_path(user))
            .collect();
        for path in had.keys().filter(|path| !has.contains_key(*path)) {
            let with_user = removed_users
                .iter()
                .any(|user| path.starts_with(&format!("{user}.")));
            if !with_user {
                after.insert(path.clone(), UNSET.to_owned());
            }
        }
        after.extend(removed_users.into_iter().map(|user| (user, UNSET.to_owned())));
        after.into_iter().collect()
    }

    /// The optional settings that are set, by path, buckets of users included.
    fn optional(&self) -> BTreeMap<String, String> {
        let mut set = BTreeMap::new();
        let texts = [
            ("semantic.threshold", self.semantic.threshold.map(Value::from)),
            (
                "semantic.embedder",
                self.semantic.embedder.clone().map(Value::from),
            ),
            ("semantic.model", self.semantic.model.clone().map(Value::from)),
        ];
        for (path, value) in texts {
            if let Some(value) = value {
                set.insert(path.to_owned(), format_value(path, &value));
            }
        }
        let each = [("limit.each_user".to_owned(), &self.limit.each_user)];
        let users = self.limit.users.iter();
        let users = users.map(|(user, limits)| (user_path(user), limits));
        for (path, limits) in each.into_iter().chain(users) {
            let UserLimits { requests, tokens, .. } = limits;
            for (name, bucket) in [("requests", requests), ("tokens", tokens)] {
                if let Some(bucket) = bucket {
                    set.insert(format!("{path}.{name}"), bucket.to_toml());
                }
            }
        }
        set
    }
}

impl Setting {
    /// Returns the value in a policy, as [`Policy::with`] takes it; [`UNSET`] if it is not set.
    pub fn value(&self, policy: &Policy) -> String {
        policy
            .settings()
            .remove(self.path)
            .unwrap_or_else(|| UNSET.to_owned())
    }
}

/// `limit.users.ana`.
fn user_path(name: &str) -> String {
    format!("limit.users.{}", toml_key(name))
}

/// Splits `path=value`. A quoted key may contain `=`.
pub(crate) fn split_setting(text: &str) -> Option<(&str, &str)> {
    let (mut in_quotes, mut escaped) = (false, false);
    let at = text.char_indices().find_map(|(at, c)| {
        in_quotes ^= c == '"' && !escaped;
        escaped = c == '\\' && !escaped;
        (c == '=' && !in_quotes).then_some(at)
    })?;
    let (path, value) = (text.get(..at)?, text.get(at + 1..)?);
    Some((path.trim(), value.trim()))
}

/// The keys of a path, quoted as in TOML where needed: `limit.users."ann@example.com".weight`.
fn split_path(path: &str) -> Vec<String> {
    let mut keys = Vec::new();
    let mut table = format!("{path} = 0").parse::<Table>().ok();
    while let Some(level) = table.take() {
        let mut level = level.into_iter();
        let (Some((key, value)), None) = (level.next(), level.next()) else {
            break;
        };
        keys.push(key);
        match value {
            Value::Table(inner) => table = Some(inner),
            _ => return keys,
        }
    }
    path.split('.').map(str::to_owned).collect()
}

fn is_optional(keys: &[String]) -> bool {
    let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
    match keys.as_slice() {
        ["limit", "users", _] | ["limit", "users", _, "requests" | "tokens"] => true,
        _ => OPTIONAL.contains(&keys.join(".").as_str()),
    }
}

fn flatten(prefix: &str, table: &Table, flat: &mut BTreeMap<String, String>) {
    for (key, value) in table {
        let key = toml_key(key);
        let path = if prefix.is_empty() {
            key
        } else {
            format!("{prefix}.{key}")
        };
        match value {
            Value::Table(inner) => flatten(&path, inner, flat),
            other => {
                let value = format_value(&path, other);
                flat.insert(path, value);
            }
        }
    }
}

/// A value as [`Policy::with`] parses it. A word is quoted only if it would parse as something else.
fn format_value(path: &str, value: &Value) -> String {
    match value {
        Value::String(word) if parse_value(word) != *value => toml_string(word),
        Value::String(word) if word == UNSET && OPTIONAL.contains(&path) => toml_string(word),
        Value::String(word) => word.clone(),
        other => toml_value(other),
    }
}

/// Parses a TOML literal; anything else is a bare word: `10s`, `full`.
fn parse_value(value: &str) -> Value {
    let line = format!("value = {value}");
    let parsed = line.parse::<Table>().ok().filter(|table| table.len() == 1);
    parsed
        .and_then(|mut table| table.remove("value"))
        .unwrap_or_else(|| Value::String(value.to_owned()))
}

/// Converts a whole number to a float if the setting is a float: `retry.budget_ratio=0`.
fn coerce(before: &Value, value: Value) -> Value {
    match (before, value) {
        (Value::Float(_), Value::Integer(whole)) => Value::Float(whole as f64),
        (_, value) => value,
    }
}

fn remove(root: &mut Table, keys: &[String]) {
    let Some((key, tables)) = keys.split_last() else {
        return;
    };
    let mut table = Some(root);
    for name in tables {
        table = table.and_then(|table| table.get_mut(name)?.as_table_mut());
    }
    if let Some(table) = table {
        table.remove(key);
    }
}

/// The value at a path. An optional setting that is unset is inserted.
fn value_mut<'a>(root: &'a mut Table, keys: &[String]) -> Result<&'a mut Value, String> {
    let Some((key, tables)) = keys.split_last() else {
        return Err(unknown_setting(root, "", ""));
    };
    let mut table = root;
    let mut walked = String::new();
    for (index, name) in tables.iter().enumerate() {
        let hint = unknown_setting(table, &walked, name);
        walked = format!("{walked}{}.", toml_key(name));
        if !table.contains_key(name) {
            match keys.get(..=index) {
                // users have names of the author's choice
                Some([limit, users, _]) if limit == "limit" && users == "users" => {
                    table.insert(name.clone(), Value::Table(Table::new()));
                }
                Some(whole) if is_optional(whole) => {
                    let whole = walked.trim_end_matches('.');
                    return Err(format!("not set; set the whole bucket: {whole}={WHOLE_BUCKET}"));
                }
                _ => {}
            }
        }
        table = table.get_mut(name).and_then(Value::as_table_mut).ok_or(hint)?;
    }
    let open = is_optional(keys) || walked.starts_with("limit.users.");
    if !open && !table.contains_key(key) {
        return Err(unknown_setting(table, &walked, key));
    }
    Ok(table.entry(key.clone()).or_insert(Value::Boolean(false)))
}

/// The example in the error message.
const WHOLE_BUCKET: &str = "{ capacity = 20, refill = 60, per = \"1m\" }";

/// Returns the name closest to `wrong`, if any is close enough to be a misspelling.
pub(crate) fn closest_name<'a>(wrong: &str, names: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    names
        .map(|name| (strsim::damerau_levenshtein(wrong, name), name))
        .filter(|(distance, name)| *distance <= 2 + name.len() / 4)
        .min()
        .map(|(_, name)| name)
}

fn unknown_setting(table: &Table, walked: &str, name: &str) -> String {
    let names: Vec<&str> = table.keys().map(String::as_str).collect();
    match closest_name(name, names.iter().copied()) {
        Some(close) => format!("no such setting; did you mean {walked}{close}?"),
        None => format!(
            "no such setting; known: {walked}{}",
            names.join(&format!(", {walked}"))
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_setting_round_trips() {
        let policy = Policy::default();
        for (path, value) in policy.settings() {
            assert_eq!(
                policy.with(&path, &value).as_ref(),
                Ok(&policy),
                "{path} = {value}"
            );
        }
    }

    #[test]
    fn names_and_words_that_look_like_other_values_round_trip() {
        let mut policy = Policy::default();
        let bucket = policy.limit.requests.clone();
        policy.semantic.model = Some("none".into());
        policy.semantic.embedder = Some("7".into());
        let limits = UserLimits {
            requests: Some(bucket),
            ..UserLimits::default()
        };
        for name in ["ann@example.com", "a=b", "two words", "\"", ""] {
            policy.limit.users.insert(name.into(), limits.clone());
        }
        for (from, to) in [(Policy::default(), policy.clone()), (policy, Policy::default())] {
            let changes = from.changes(&to);
            let made = changes.iter().fold(from, |policy, (path, value)| {
                let text = format!("{path}={value}");
                assert_eq!(split_setting(&text), Some((path.as_str(), value.as_str())));
                policy.with(path, value).unwrap()
            });
            assert_eq!(made, to, "{changes:?}");
        }
    }

    #[test]
    fn rejects_part_of_an_unset_bucket_with_an_example() {
        let error = Policy::default().with("limit.each_user.requests.capacity", "5");
        assert_eq!(
            error.unwrap_err().to_string(),
            "limit.each_user.requests.capacity: not set; set the whole bucket: \
             limit.each_user.requests={ capacity = 20, refill = 60, per = \"1m\" }"
        );
        let whole = Policy::default()
            .with("limit.each_user.requests", WHOLE_BUCKET)
            .unwrap();
        assert_eq!(whole.limit.each_user.requests.unwrap().capacity, 20);
    }

    #[test]
    fn changes_turn_a_policy_into_the_other() {
        let one = Policy::default();
        let other = one
            .with("retry.attempts", "5")
            .and_then(|policy| policy.with("breaker.open", "10s"))
            .and_then(|policy| policy.with("semantic.threshold", "0.8"))
            .and_then(|policy| policy.with("retry.jitter", "none"))
            .unwrap();
        let changes = |from: &Policy, to: &Policy| {
            let settings = from.changes(to).into_iter();
            settings
                .map(|(path, value)| format!("{path}={value}"))
                .collect::<Vec<_>>()
        };
        let expected = [
            "breaker.open=10s",
            "retry.attempts=5",
            "retry.jitter=none",
            "semantic.threshold=0.8",
        ];
        assert_eq!(changes(&one, &other), expected);
        assert!(changes(&other, &one).contains(&"semantic.threshold=none".to_owned()));
        let mut back = other.clone();
        for (path, value) in other.changes(&one) {
            back = back.with(&path, &value).unwrap();
        }
        assert_eq!(back, one);
        assert_eq!(changes(&one, &one), [""; 0]);
    }
}
