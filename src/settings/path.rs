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

use super::Policy;

/// Settings that a policy leaves out where they are not set. `none` takes them out again.
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
        if value == NONE && OPTIONAL.contains(&path) {
            take_out(&mut root, path);
        } else {
            let place = place(&mut root, path).map_err(refuse)?;
            *place = fit(place, literal(value));
        }
        root.try_into()
            .map_err(|error: toml::de::Error| refuse(format!("'{value}': {}", error.message())))
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
        let (before, mut after) = (self.settings(), other.settings());
        for path in OPTIONAL {
            let of_it = |known: &BTreeMap<String, String>| {
                let tables = format!("{path}.");
                known.keys().any(|key| key == path || key.starts_with(&tables))
            };
            if of_it(&before) && !of_it(&after) {
                after.insert(path.to_owned(), NONE.to_owned());
            }
        }
        after.retain(|path, value| before.get(path) != Some(value));
        after.into_iter().collect()
    }
}

fn flatten(walked: &str, table: &Table, flat: &mut BTreeMap<String, String>) {
    for (key, value) in table {
        let path = if walked.is_empty() {
            key.clone()
        } else {
            format!("{walked}.{key}")
        };
        match value {
            Value::Table(inner) => flatten(&path, inner, flat),
            Value::String(word) => {
                flat.insert(path, word.clone());
            }
            other => {
                flat.insert(path, other.to_string());
            }
        }
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

fn take_out(root: &mut Table, path: &str) {
    let (tables, key) = path.rsplit_once('.').unwrap_or(("", path));
    let mut table = Some(root);
    for name in tables.split('.').filter(|name| !name.is_empty()) {
        table = table.and_then(|table| table.get_mut(name)?.as_table_mut());
    }
    if let Some(table) = table {
        table.remove(key);
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
