//! A policy as a file that a person would keep and edit.
//!
//! ```toml
//! [retry]
//! attempts = 5                # All tries of a call, the first included; 1 switches retries off. (production: 3)
//! ```

use std::fmt::Write as _;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use toml::{Table, Value};

use super::dated::create_dated;
use super::{ConfigError, one_line};
use crate::settings::{Bucket, Kind, Policy, SETTINGS, Setting, UserLimits, bare, inline, quoted};
use crate::time::Utc;

/// No line is longer, unless a value of somebody's own makes it so.
const WIDTH: usize = 100;
/// Where comments begin, behind short values.
const COMMENT: usize = 28;
/// The layers, in the order in which a call meets them.
const LAYERS: [&str; 7] = [
    "cache", "semantic", "flight", "retry", "limit", "breaker", "timeouts",
];
/// What settings that are not set could be.
const EXAMPLES: [(&str, &str); 3] = [
    ("semantic.threshold", "0.5"),
    ("semantic.embedder", "\"http://127.0.0.1:8034\""),
    ("semantic.model", "\"all-minilm-l6-v2\""),
];
const BUCKET_EXAMPLES: [(&str, &str); 2] = [
    ("requests", "{ capacity = 20, refill = 60, per = \"1m\" }"),
    ("tokens", "{ capacity = 8000, refill = 30000, per = \"1m\" }"),
];

/// Writes the policy into a new file in `dir`, `policy-YYYYMMDD-HHMMSS.toml`; nothing is overwritten. Its name in
/// there is that of the policy, with the date. `unix_seconds` is now.
pub fn save_policy(policy: &Policy, dir: &Path, unix_seconds: u64) -> Result<PathBuf, ConfigError> {
    let when = Utc::of(unix_seconds);
    let unwritable = |(path, error)| ConfigError::Unwritable { path, error };
    let (path, mut file) = create_dated(dir, "policy", when).map_err(unwritable)?;
    let mut kept = policy.clone();
    kept.name = dated(&policy.name, when);
    let from = format!("# Saved on {when} from the policy {}.\n", one_line(&policy.name));
    let text = from + &policy_text(&kept);
    if let Err(error) = file.write_all(text.as_bytes()) {
        drop(file);
        // half a file would be half a policy
        drop(fs::remove_file(&path));
        return Err(unwritable((path, error)));
    }
    Ok(path)
}

/// `production-20261125-235102`, and not one date behind the other.
fn dated(name: &str, when: Utc) -> String {
    let stamp = when.compact();
    let name = one_line(name);
    let name = name.as_str();
    let is_stamp = |end: &str| {
        let mut pairs = end.bytes().zip(stamp.bytes());
        end.len() == stamp.len()
            && pairs.all(|(is, like)| is == like || (is.is_ascii_digit() && like != b'-'))
    };
    let cut = name.len().checked_sub(stamp.len() + 1);
    let base = cut
        .and_then(|cut| name.split_at_checked(cut))
        .filter(|(_, end)| end.strip_prefix('-').is_some_and(is_stamp))
        .map_or(name, |(base, _)| base);
    format!("{base}-{stamp}")
}

/// The policy as a file, each setting with what it does. Read again it is the same policy; without its labels, which
/// are kept in the label file.
pub fn policy_text(policy: &Policy) -> String {
    let mut text = format!(
        "# A policy of seawall {}. What is left out is as in production, and what stands behind\n\
         # \"production:\" is its value there. What is commented out is not set.\n\
         name = {}\n",
        env!("CARGO_PKG_VERSION"),
        quoted(&one_line(&policy.name).to_string())
    );
    let values = Table::try_from(policy).unwrap_or_default();
    let usual = Table::try_from(Policy::default()).unwrap_or_default();
    let file = File { values, usual };
    for layer in LAYERS {
        let _ = writeln!(text, "\n[{layer}]");
        let settings = SETTINGS.iter().filter(|setting| setting.layer() == layer);
        let own = settings.filter(|setting| !setting.name().starts_with("each_user."));
        let mut done = "";
        for setting in own {
            match setting.name().split_once('.') {
                None => file.setting(&mut text, setting),
                Some((bucket, _)) if bucket == done => {}
                Some((bucket, _)) => {
                    file.bucket(&mut text, layer, bucket);
                    done = bucket;
                }
            }
        }
        if layer == "limit" {
            users(&mut text, policy);
        }
    }
    text
}

/// What is written.
struct File {
    values: Table,
    /// Those of production.
    usual: Table,
}

impl File {
    fn setting(&self, text: &mut String, setting: &Setting) {
        let (name, about) = (setting.name(), setting.about);
        let value = at(&self.values, setting.path);
        let usual = at(&self.usual, setting.path).filter(|usual| Some(*usual) != value);
        let usual = usual.map_or_else(String::new, |usual| format!(" (production: {})", inline(usual)));
        let words = match setting.kind {
            Kind::Choice(words) => format!(" {}.", words.join(" | ")),
            _ => String::new(),
        };
        let start = if setting.at_start {
            " Read at the start only."
        } else {
            ""
        };
        let about = format!("{about}{words}{start}{usual}");
        let Some(value) = value else {
            let example = EXAMPLES.iter().find(|(path, _)| *path == setting.path);
            let example = example.map_or("\"\"", |(_, example)| example);
            return line(text, &format!("# {name} = {example}"), &about);
        };
        line(text, &format!("{name} = {}", inline(value)), &about);
    }

    /// A bucket on one line, with what its three numbers are.
    fn bucket(&self, text: &mut String, layer: &str, name: &str) {
        let path = format!("{layer}.{name}");
        for setting in SETTINGS {
            if let Some(part) = setting
                .path
                .strip_prefix(&path)
                .and_then(|rest| rest.strip_prefix('.'))
            {
                above(text, &format!("{part}: {}", setting.about));
            }
        }
        let bucket = |root: &Table| {
            at(root, &path)
                .and_then(|bucket| bucket.clone().try_into().ok())
                .map(|bucket| bucket_text(&bucket))
        };
        let (value, usual) = (bucket(&self.values), bucket(&self.usual));
        if usual != value {
            above(text, &format!("production: {}", usual.unwrap_or_default()));
        }
        let _ = writeln!(text, "{name} = {}", value.unwrap_or_default());
    }
}

/// What single users may have.
fn users(text: &mut String, policy: &Policy) {
    text.push('\n');
    let about = "What each user may have, besides what all may have together; where it has no bucket, no limit \
                 of its own.";
    above(text, about);
    let _ = writeln!(text, "[limit.each_user]");
    if let Some(weight) = Setting::of("limit.each_user.weight") {
        let value = policy.limit.each_user.weight;
        let usual = Policy::default().limit.each_user.weight;
        let usual = (usual != value).then(|| format!(" (production: {usual})"));
        let about = format!("{}{}", weight.about, usual.unwrap_or_default());
        line(text, &format!("weight = {value}"), &about);
    }
    buckets(text, &policy.limit.each_user);
    let _ = writeln!(
        text,
        "\n# Other limits for one user, in the place of those of each: [limit.users.NAME]"
    );
    for (index, (user, limits)) in policy.limit.users.iter().enumerate() {
        let gap = if index == 0 { "" } else { "\n" };
        let _ = writeln!(text, "{gap}[limit.users.{}]", bare(user));
        let _ = writeln!(text, "weight = {}", limits.weight);
        buckets(text, limits);
    }
}

/// The buckets of a user.
fn buckets(text: &mut String, limits: &UserLimits) {
    let buckets = [&limits.requests, &limits.tokens];
    for ((name, example), bucket) in BUCKET_EXAMPLES.into_iter().zip(buckets) {
        let _ = match bucket {
            Some(bucket) => writeln!(text, "{name} = {}", bucket_text(bucket)),
            None => writeln!(text, "# {name} = {example}"),
        };
    }
}

/// The bucket as it is said: how much, then how fast.
fn bucket_text(bucket: &Bucket) -> String {
    let table = Table::try_from(bucket).unwrap_or_default();
    let parts = ["capacity", "refill", "per"].map(|name| {
        let value = table.get(name).map_or_else(String::new, inline);
        format!("{name} = {value}")
    });
    format!("{{ {} }}", parts.join(", "))
}

fn at<'a>(root: &'a Table, path: &str) -> Option<&'a Value> {
    let (tables, key) = path.rsplit_once('.').unwrap_or(("", path));
    let mut table = root;
    for name in tables.split('.').filter(|name| !name.is_empty()) {
        table = table.get(name)?.as_table()?;
    }
    table.get(key)
}

/// A setting with its comment behind it, or above it where there is no room.
fn line(text: &mut String, setting: &str, about: &str) {
    let width = setting.chars().count().max(COMMENT - 1) + " # ".len() + about.chars().count();
    if width <= WIDTH {
        let column = COMMENT - 1;
        let _ = writeln!(text, "{setting:<column$} # {about}");
        return;
    }
    above(text, about);
    let _ = writeln!(text, "{setting}");
}

/// A comment of its own.
fn above(text: &mut String, about: &str) {
    for line in super::listing::wrapped(about, WIDTH - "# ".len()) {
        let _ = writeln!(text, "# {line}");
    }
}

#[cfg(test)]
mod tests;
