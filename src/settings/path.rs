//! One setting of a policy by its path, as text: `retry.attempts`, `breaker.open`.
//!
//! ```text
//! production+retry.attempts=1+breaker.open=10s
//!            path          =value, as TOML or a bare word
//! ```
//!
//! Files, the command line, saved drills and the screen all change settings through here, so that a value is read,
//! refused and written in one way.

use std::collections::BTreeMap;

use toml::{Table, Value};

use super::catalog::{Kind, Setting};
use super::literal::{bare, inline, quoted};
use super::mistake::plain;
use super::{Policy, UserLimits};

/// Settings that a policy leaves out where they are not set. `none` takes them out again. So are users, and their
/// buckets.
const OPTIONAL: [&str; 5] = [
    "semantic.threshold",
    "semantic.embedder",
    "semantic.model",
    "limit.each_user.requests",
    "limit.each_user.tokens",
];

/// What an optional setting is where it is not set.
pub const NONE: &str = "none";

/// A setting that there is not, or a value that it cannot have.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{path}: {message}")]
pub struct PathError {
    /// The setting, as it was named.
    pub path: String,
    /// What is wrong, and what to write instead.
    pub message: String,
}

impl Policy {
    /// The policy with one setting changed. The bounds are not checked ([`Policy::validate`] does it): two changes
    /// may only fit together.
    pub fn with(&self, path: &str, value: &str) -> Result<Self, PathError> {
        let refuse = |message: String| PathError {
            path: path.to_owned(),
            message,
        };
        let mut root = Table::try_from(self).map_err(|error| refuse(error.to_string()))?;
        let keys = keys(path);
        if value == NONE && is_optional(&keys) {
            take_out(&mut root, &keys);
        } else {
            let is_text = Setting::of(path).is_some_and(|setting| setting.kind == Kind::Text);
            let place = place(&mut root, &keys).map_err(refuse)?;
            *place = match literal(value) {
                literal @ Value::String(_) => literal,
                _ if is_text => Value::String(value.to_owned()),
                literal => fit(place, literal),
            };
        }
        root.try_into()
            .map_err(|error: toml::de::Error| refuse(format!("'{value}': {}", plain(error.message()))))
    }

    /// Every single setting by its path, as [`Policy::with`] takes it. Without the name, without what is not set, and
    /// without labels, which are not settings but what people said.
    pub fn settings(&self) -> BTreeMap<String, String> {
        let mut flat = BTreeMap::new();
        if let Ok(root) = Table::try_from(self) {
            flatten("", &root, &mut flat);
        }
        flat.remove("name");
        flat.remove("semantic.labels");
        flat
    }

    /// What has to be set to make `other` of this policy, in the order of the paths.
    pub fn changes(&self, other: &Self) -> Vec<(String, String)> {
        let before = self.settings();
        let mut after = other.settings();
        after.retain(|path, value| before.get(path) != Some(value));
        let (had, has) = (self.optional(), other.optional());
        for (path, whole) in &has {
            if !had.contains_key(path) {
                // a bucket is there as a whole or not at all
                let parts = format!("{path}.");
                after.retain(|known, _| !known.starts_with(&parts));
                after.insert(path.clone(), whole.clone());
            }
        }
        let gone = |user: &&String| !other.limit.users.contains_key(*user);
        let gone: Vec<String> = self
            .limit
            .users
            .keys()
            .filter(gone)
            .map(|user| of_user(user))
            .collect();
        for path in had.keys().filter(|path| !has.contains_key(*path)) {
            let with_user = gone.iter().any(|user| path.starts_with(&format!("{user}.")));
            if !with_user {
                after.insert(path.clone(), NONE.to_owned());
            }
        }
        after.extend(gone.into_iter().map(|user| (user, NONE.to_owned())));
        after.into_iter().collect()
    }

    /// What is set that need not be, by its path; users apart.
    fn optional(&self) -> BTreeMap<String, String> {
        let mut there = BTreeMap::new();
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
                there.insert(path.to_owned(), written(path, &value));
            }
        }
        let each = [("limit.each_user".to_owned(), &self.limit.each_user)];
        let users = self.limit.users.iter();
        let users = users.map(|(user, limits)| (of_user(user), limits));
        for (path, limits) in each.into_iter().chain(users) {
            let UserLimits { requests, tokens, .. } = limits;
            for (name, bucket) in [("requests", requests), ("tokens", tokens)] {
                if let Some(bucket) = bucket {
                    let table = Table::try_from(bucket).unwrap_or_default();
                    there.insert(format!("{path}.{name}"), inline(&Value::Table(table)));
                }
            }
        }
        there
    }
}

/// `limit.users.ana`.
fn of_user(name: &str) -> String {
    format!("limit.users.{}", bare(name))
}

/// Splits `setting=value`. A name in quotes may have the sign in it.
pub fn split_setting(text: &str) -> Option<(&str, &str)> {
    let (mut in_quotes, mut escaped) = (false, false);
    let at = text.char_indices().find_map(|(at, c)| {
        in_quotes ^= c == '"' && !escaped;
        escaped = c == '\\' && !escaped;
        (c == '=' && !in_quotes).then_some(at)
    })?;
    let (path, value) = (text.get(..at)?, text.get(at + 1..)?);
    Some((path.trim(), value.trim()))
}

/// The keys of a path. A name that needs quotes is in quotes, as in TOML: `limit.users."ann@example.com".weight`.
fn keys(path: &str) -> Vec<String> {
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

fn flatten(walked: &str, table: &Table, flat: &mut BTreeMap<String, String>) {
    for (key, value) in table {
        let key = bare(key);
        let path = if walked.is_empty() {
            key
        } else {
            format!("{walked}.{key}")
        };
        match value {
            Value::Table(inner) => flatten(&path, inner, flat),
            other => {
                let value = written(&path, other);
                flat.insert(path, value);
            }
        }
    }
}

/// A value as [`Policy::with`] reads it. A word stands without quotes, unless it would be read as something else.
fn written(path: &str, value: &Value) -> String {
    match value {
        Value::String(word) if literal(word) != *value => quoted(word),
        Value::String(word) if word == NONE && OPTIONAL.contains(&path) => quoted(word),
        Value::String(word) => word.clone(),
        other => inline(other),
    }
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

fn take_out(root: &mut Table, keys: &[String]) {
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

/// Where a path leads. Settings that are absent until somebody sets them are made.
fn place<'a>(root: &'a mut Table, keys: &[String]) -> Result<&'a mut Value, String> {
    let Some((key, tables)) = keys.split_last() else {
        return Err(unknown(root, "", ""));
    };
    let mut table = root;
    let mut walked = String::new();
    for (index, name) in tables.iter().enumerate() {
        let hint = unknown(table, &walked, name);
        walked = format!("{walked}{}.", bare(name));
        if !table.contains_key(name) {
            match keys.get(..=index) {
                // users are named by whoever writes the policy
                Some([limit, users, _]) if limit == "limit" && users == "users" => {
                    table.insert(name.clone(), Value::Table(Table::new()));
                }
                Some(whole) if is_optional(whole) => {
                    let whole = walked.trim_end_matches('.');
                    return Err(format!("it is not set; write all of it: {whole}={WHOLE_BUCKET}"));
                }
                _ => {}
            }
        }
        table = table.get_mut(name).and_then(Value::as_table_mut).ok_or(hint)?;
    }
    let open = is_optional(keys) || walked.starts_with("limit.users.");
    if !open && !table.contains_key(key) {
        return Err(unknown(table, &walked, key));
    }
    Ok(table.entry(key.clone()).or_insert(Value::Boolean(false)))
}

/// How a bucket is written that was not there.
const WHOLE_BUCKET: &str = "{ capacity = 20, refill = 60, per = \"1m\" }";

/// The name most like `wrong`, if it is like it at all.
pub fn nearest<'a>(wrong: &str, names: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    names
        .map(|name| (strsim::damerau_levenshtein(wrong, name), name))
        .filter(|(distance, name)| *distance <= 2 + name.len() / 4)
        .min()
        .map(|(_, name)| name)
}

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
    use super::*;

    #[test]
    fn every_setting_can_be_written_back() {
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
    fn names_and_words_that_are_something_else_come_back() {
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
    fn half_a_bucket_is_refused_with_how_to_write_it() {
        let error = Policy::default().with("limit.each_user.requests.capacity", "5");
        assert_eq!(
            error.unwrap_err().to_string(),
            "limit.each_user.requests.capacity: it is not set; write all of it: \
             limit.each_user.requests={ capacity = 20, refill = 60, per = \"1m\" }"
        );
        let whole = Policy::default()
            .with("limit.each_user.requests", WHOLE_BUCKET)
            .unwrap();
        assert_eq!(whole.limit.each_user.requests.unwrap().capacity, 20);
    }

    #[test]
    fn the_changes_make_the_other_policy() {
        let one = Policy::default();
        let other = one
            .with("retry.attempts", "5")
            .and_then(|policy| policy.with("breaker.open", "10s"))
            .and_then(|policy| policy.with("semantic.threshold", "0.8"))
            .and_then(|policy| policy.with("retry.jitter", "none"))
            .unwrap();
        let told = |from: &Policy, to: &Policy| {
            let changes = from.changes(to).into_iter();
            changes
                .map(|(path, value)| format!("{path}={value}"))
                .collect::<Vec<_>>()
        };
        let there = [
            "breaker.open=10s",
            "retry.attempts=5",
            "retry.jitter=none",
            "semantic.threshold=0.8",
        ];
        assert_eq!(told(&one, &other), there);
        assert!(told(&other, &one).contains(&"semantic.threshold=none".to_owned()));
        let mut back = other.clone();
        for (path, value) in other.changes(&one) {
            back = back.with(&path, &value).unwrap();
        }
        assert_eq!(back, one);
        assert_eq!(told(&one, &one), [""; 0]);
    }
}
