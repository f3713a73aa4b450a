//! The names of users, from the command line or the policy.

use super::error::ConfigError;
use crate::settings::Policy;
use crate::text::SafeText;

/// Users that can be named; more do not fit a screen.
const MAX_USERS: usize = 64;
const MAX_NAME_CHARS: usize = 64;
/// Users by default; fewer do not show fairness.
const DEFAULT_USERS: usize = 4;

/// Returns the users named on the command line, or by default those of the policy, padded to four from `defaults`.
pub(crate) fn resolve_users(
    named: &[String],
    policy: &Policy,
    defaults: &[&str],
) -> Result<Vec<String>, ConfigError> {
    let error = |message: String| Err(ConfigError::Users { message });
    if named.is_empty() {
        let mut users: Vec<String> = policy.limit.users.keys().take(MAX_USERS).cloned().collect();
        let more = defaults
            .iter()
            .filter(|name| !policy.limit.users.contains_key(**name));
        let missing = DEFAULT_USERS.saturating_sub(users.len());
        users.extend(more.take(missing).map(|name| (*name).to_owned()));
        return Ok(users);
    }
    if named.len() > MAX_USERS {
        return error(format!("{} names (at most {MAX_USERS})", named.len()));
    }
    let mut users: Vec<String> = Vec::new();
    for (index, name) in named.iter().map(|name| name.trim()).enumerate() {
        let shown = SafeText::excerpt(name, 40).single_line();
        let length = name.chars().count();
        if name.is_empty() {
            return error(format!(
                "name {} is empty (write names as ann,ben,cleo)",
                index + 1
            ));
        }
        if length > MAX_NAME_CHARS {
            return error(format!(
                "'{shown}' has {length} characters (at most {MAX_NAME_CHARS})"
            ));
        }
        if name.contains('\n') || SafeText::new(name).as_str() != name {
            return error(format!(
                "'{shown}' is not printable (use letters, digits, - and _)"
            ));
        }
        if users.iter().any(|user| user == name) {
            return error(format!("'{shown}' is named twice"));
        }
        users.push(name.to_owned());
    }
    Ok(users)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::UserLimits;

    #[test]
    fn users_are_the_named_ones_or_those_of_the_policy_padded_to_four() {
        const DEFAULTS: [&str; 4] = ["ana", "ben", "cleo", "dev"];
        let mut policy = Policy::default();
        let named = |names: &[&str], policy: &Policy| {
            let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
            resolve_users(&names, policy, &DEFAULTS)
        };
        assert_eq!(named(&[], &policy).unwrap(), DEFAULTS);
        assert_eq!(named(&["zoe", " bob "], &policy).unwrap(), ["zoe", "bob"]);
        for name in ["team red", "cleo"] {
            policy.limit.users.insert(name.into(), UserLimits::default());
        }
        assert_eq!(named(&[], &policy).unwrap(), ["cleo", "team red", "ana", "ben"]);
        let long = "x".repeat(65);
        let many = ["u"; 65];
        let table: [(&[&str], &str); 6] = [
            (
                &["ann", ""],
                "--users: name 2 is empty (write names as ann,ben,cleo)",
            ),
            (&["ann", "ann"], "--users: 'ann' is named twice"),
            (
                &["a\u{1b}[2J"],
                "--users: 'a\u{241b}[2J' is not printable (use letters, digits, - and _)",
            ),
            (
                &["a\nb"],
                "--users: 'a b' is not printable (use letters, digits, - and _)",
            ),
            (&[&long], "has 65 characters (at most 64)"),
            (&many, "--users: 65 names (at most 64)"),
        ];
        for (names, expected) in table {
            let message = named(names, &Policy::default()).unwrap_err().to_string();
            assert!(message.contains(expected), "{message}");
        }
    }
}
