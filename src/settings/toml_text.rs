//! Keys and values as TOML text that is safe to print.

use std::fmt::Write as _;

use toml::{Table, Value};

use super::Bucket;
use crate::text::is_invisible;

/// A key, quoted only if it must be.
pub(crate) fn toml_key(key: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
    if !key.is_empty() && key.chars().all(is_plain) {
        return key.to_owned();
    }
    toml_string(key)
}

/// A value on one line.
pub(crate) fn toml_value(value: &Value) -> String {
    match value {
        Value::String(text) => toml_string(text),
        Value::Array(values) => {
            let values: Vec<String> = values.iter().map(toml_value).collect();
            format!("[{}]", values.join(", "))
        }
        Value::Table(table) => {
            let pairs: Vec<String> = table
                .iter()
                .map(|(key, value)| format!("{} = {}", toml_key(key), toml_value(value)))
                .collect();
            format!("{{ {} }}", pairs.join(", "))
        }
        other => other.to_string(),
    }
}

/// A basic string. Control and invisible characters are escaped, so that the file is safe to print.
pub(crate) fn toml_string(text: &str) -> String {
    let mut quoted = String::from("\"");
    for c in text.chars() {
        match c {
            '"' => quoted.push_str("\\\""),
            '\\' => quoted.push_str("\\\\"),
            '\n' => quoted.push_str("\\n"),
            '\t' => quoted.push_str("\\t"),
            c if c.is_control() || is_invisible(c) || matches!(c, '\u{200c}' | '\u{200d}') => {
                let _ = write!(quoted, "\\U{:08X}", u32::from(c));
            }
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}

impl Bucket {
    /// The bucket as an inline table: how much, then how fast.
    pub(super) fn to_toml(&self) -> String {
        let table = Table::try_from(self).unwrap_or_default();
        let parts = ["capacity", "refill", "per"].map(|name| {
            let value = table.get(name).map_or_else(String::new, toml_value);
            format!("{name} = {value}")
        });
        format!("{{ {} }}", parts.join(", "))
    }
}
