//! A policy written as a commented TOML file.
//!
//! ```toml
//! [retry]
//! # Attempts per call, the first included; 1 disables retries. (production: 3)
//! attempts = 5
//! ```

use std::fmt::Write as _;
use std::fs;
use std::io::Write as _;
use std::path::PathBuf;

use toml::{Table, Value};

use super::dated::NewFile;
use super::{ConfigError, single_line};
use crate::settings::{
    Bucket, Policy, SETTINGS, Setting, SettingKind, UserLimits, toml_key, toml_string, toml_value,
};
use crate::time::Utc;

/// The longest line, except where a value is longer.
const WIDTH: usize = 100;
/// The column of comments after short values.
const COMMENT_COLUMN: usize = 28;
/// The layers, in the order in which a call passes them.
const LAYERS: [&str; 7] = [
    "cache", "semantic", "flight", "retry", "limit", "breaker", "timeouts",
];
/// Examples for optional settings that are unset.
const EXAMPLES: [(&str, &str); 3] = [
    ("semantic.threshold", "0.5"),
    ("semantic.embedder", "\"http://127.0.0.1:8034\""),
    ("semantic.model", "\"all-minilm-l6-v2\""),
];
const BUCKET_EXAMPLES: [(&str, &str); 2] = [
    ("requests", "{ capacity = 20, refill = 60, per = \"1m\" }"),
    ("tokens", "{ capacity = 8000, refill = 30000, per = \"1m\" }"),
];

/// Writes the policy to a new file; a dated one is called `policy-YYYYMMDD-HHMMSS.toml`. The date is appended to the
/// policy's name.
///
/// # Errors
/// Fails if the file cannot be written; nothing is overwritten.
pub fn save_policy(policy: &Policy, file: &NewFile, unix_seconds: u64) -> Result<PathBuf, ConfigError> {
    let when = Utc::from_unix_seconds(unix_seconds);
    let unwritable = |(path, error)| ConfigError::Unwritable { path, error };
    let (path, mut file) = file.create("policy", when).map_err(unwritable)?;
    let mut saved = policy.clone();
    saved.name = dated_name(&policy.name, when);
    let origin = format!(
        "# Saved on {when} from the policy {}.\n",
        single_line(&policy.name)
    );
    let text = origin + &policy_to_toml(&saved);
    if let Err(error) = file.write_all(text.as_bytes()) {
        drop(file);
        // a partial file would be a valid but different policy
        drop(fs::remove_file(&path));
        return Err(unwritable((path, error)));
    }
    Ok(path)
}

/// `production-20261125-235102`; replaces an earlier date.
fn dated_name(name: &str, when: Utc) -> String {
    let stamp = when.compact();
    let name = single_line(name);
    let name = name.as_str();
    let is_date = |end: &str| {
        let mut pairs = end.bytes().zip(stamp.bytes());
        end.len() == stamp.len()
            && pairs.all(|(have, want)| have == want || (have.is_ascii_digit() && want != b'-'))
    };
    let cut = name.len().checked_sub(stamp.len() + 1);
    let base = cut
        .and_then(|cut| name.split_at_checked(cut))
        .filter(|(_, end)| end.strip_prefix('-').is_some_and(is_date))
        .map_or(name, |(base, _)| base);
    format!("{base}-{stamp}")
}

/// The policy as a TOML file with a comment for each setting. It parses to the same policy, except for the
/// semantic labels, which have a file of their own.
pub fn policy_to_toml(policy: &Policy) -> String {
    let mut text = format!(
        "# A policy of seawall {}. Omitted settings have their value in production; \"production:\" shows that\n\
         # value where it differs. Settings that are commented out are not set.\n\
         name = {}\n",
        env!("CARGO_PKG_VERSION"),
        toml_string(&single_line(&policy.name).to_string())
    );
    let values = Table::try_from(policy).unwrap_or_default();
    let production = Table::try_from(Policy::default()).unwrap_or_default();
    let writer = PolicyWriter { values, production };
    for layer in LAYERS {
        let _ = writeln!(text, "\n[{layer}]");
        let settings = SETTINGS.iter().filter(|setting| setting.layer() == layer);
        let own = settings.filter(|setting| !setting.name().starts_with("each_user."));
        let mut done = "";
        for setting in own {
            match setting.name().split_once('.') {
                None => writer.setting(&mut text, setting),
                Some((bucket, _)) if bucket == done => {}
                Some((bucket, _)) => {
                    writer.bucket(&mut text, layer, bucket);
                    done = bucket;
                }
            }
        }
        if layer == "limit" {
            write_users(&mut text, policy);
        }
    }
    text
}

struct PolicyWriter {
    values: Table,
    production: Table,
}

impl PolicyWriter {
    fn setting(&self, text: &mut String, setting: &Setting) {
        let (name, about) = (setting.name(), setting.about);
        let value = at(&self.values, setting.path);
        let production = at(&self.production, setting.path).filter(|production| Some(*production) != value);
        let production = production.map_or_else(String::new, |value| {
            format!(" (production: {})", toml_value(value))
        });
        let choices = match setting.kind {
            SettingKind::Choice(choices) => format!(" Values: {}.", choices.join(" | ")),
            _ => String::new(),
        };
        let startup = if setting.startup_only {
            " Applied at startup only."
        } else {
            ""
        };
        let about = format!("{about}{choices}{startup}{production}");
        let Some(value) = value else {
            let example = EXAMPLES.iter().find(|(path, _)| *path == setting.path);
            let example = example.map_or("\"\"", |(_, example)| example);
            return write_line(text, &format!("# {name} = {example}"), &about);
        };
        write_line(text, &format!("{name} = {}", toml_value(value)), &about);
    }

    /// Writes a bucket on one line, with a comment for each of its numbers.
    fn bucket(&self, text: &mut String, layer: &str, name: &str) {
        let path = format!("{layer}.{name}");
        for setting in SETTINGS {
            if let Some(part) = setting
                .path
                .strip_prefix(&path)
                .and_then(|rest| rest.strip_prefix('.'))
            {
                write_comment(text, &format!("{part}: {}", setting.about));
            }
        }
        let bucket = |root: &Table| {
            at(root, &path)
                .and_then(|bucket| bucket.clone().try_into().ok())
                .map(|bucket: Bucket| bucket.to_toml())
        };
        let (value, production) = (bucket(&self.values), bucket(&self.production));
        if production != value {
            write_comment(text, &format!("production: {}", production.unwrap_or_default()));
        }
        let _ = writeln!(text, "{name} = {}", value.unwrap_or_default());
    }
}

/// Writes the limits of users.
fn write_users(text: &mut String, policy: &Policy) {
    text.push('\n');
    let about = "Limits of each user, in addition to the shared ones. A user without a bucket has no limit of its own.";
    write_comment(text, about);
    let _ = writeln!(text, "[limit.each_user]");
    if let Some(weight) = Setting::find("limit.each_user.weight") {
        let value = policy.limit.each_user.weight;
        let default = Policy::default().limit.each_user.weight;
        let production = (default != value).then(|| format!(" (production: {default})"));
        let about = format!("{}{}", weight.about, production.unwrap_or_default());
        write_line(text, &format!("weight = {value}"), &about);
    }
    write_buckets(text, &policy.limit.each_user);
    let _ = writeln!(
        text,
        "\n# Limits of one user, which replace those of each_user: [limit.users.NAME]"
    );
    for (index, (user, limits)) in policy.limit.users.iter().enumerate() {
        let gap = if index == 0 { "" } else { "\n" };
        let _ = writeln!(text, "{gap}[limit.users.{}]", toml_key(user));
        let _ = writeln!(text, "weight = {}", limits.weight);
        write_buckets(text, limits);
    }
}

fn write_buckets(text: &mut String, limits: &UserLimits) {
    let buckets = [&limits.requests, &limits.tokens];
    for ((name, example), bucket) in BUCKET_EXAMPLES.into_iter().zip(buckets) {
        let _ = match bucket {
            Some(bucket) => writeln!(text, "{name} = {}", bucket.to_toml()),
            None => writeln!(text, "# {name} = {example}"),
        };
    }
}

fn at<'a>(root: &'a Table, path: &str) -> Option<&'a Value> {
    let (tables, key) = path.rsplit_once('.').unwrap_or(("", path));
    let mut table = root;
    for name in tables.split('.').filter(|name| !name.is_empty()) {
        table = table.get(name)?.as_table()?;
    }
    table.get(key)
}

/// Writes a setting with its comment after it, or above it if the line would be too long.
fn write_line(text: &mut String, setting: &str, about: &str) {
    let width = setting.chars().count().max(COMMENT_COLUMN - 1) + " # ".len() + about.chars().count();
    if width <= WIDTH {
        let column = COMMENT_COLUMN - 1;
        let _ = writeln!(text, "{setting:<column$} # {about}");
        return;
    }
    write_comment(text, about);
    let _ = writeln!(text, "{setting}");
}

fn write_comment(text: &mut String, about: &str) {
    for line in super::listing::wrapped(about, WIDTH - "# ".len()) {
        let _ = writeln!(text, "# {line}");
    }
}

#[cfg(test)]
mod tests;
