//! Who can ask: the names of users, from the command line or the policy.

use super::error::ConfigError;
use crate::settings::Policy;
use crate::text::SafeText;

/// Users that can be named; a screen and a person can follow no more.
const MOST_USERS: usize = 64;
/// Characters of a user's name.
const LONGEST_USER: usize = 64;
/// Where nobody is named, as many of `usual` are added as make so many: fewer show nothing of fairness.
const USUAL_USERS: usize = 4;

/// Who can ask: those named on the command line; where none is, those that the policy names, and of `usual` as
/// many as make four.
pub fn users(named: &[String], policy: &Policy, usual: &[&str]) -> Result<Vec<String>, ConfigError> {
    let refuse = |message: String| Err(ConfigError::Users { message });
    if named.is_empty() {
        let mut users: Vec<String> = policy.limit.users.keys().take(MOST_USERS).cloned().collect();
        let more = usual
            .iter()
            .filter(|name| !policy.limit.users.contains_key(**name));
        let missing = USUAL_USERS.saturating_sub(users.len());
        users.extend(more.take(missing).map(|name| (*name).to_owned()));
        return Ok(users);
    }
    if named.len() > MOST_USERS {
        return refuse(format!("{} names: at most {MOST_USERS}", named.len()));
    }
    let mut users: Vec<String> = Vec::new();
    for (index, name) in named.iter().map(|name| name.trim()).enumerate() {
        let shown = SafeText::excerpt(name, 40).single_line();
        let length = name.chars().count();
        if name.is_empty() {
            return refuse(format!("name {} is empty: write them as ann,ben,cleo", index + 1));
        }
        if length > LONGEST_USER {
            return refuse(format!(
                "'{shown}' has {length} characters: at most {LONGEST_USER}"
            ));
        }
        if name.contains('\n') || SafeText::new(name).as_str() != name {
            return refuse(format!(
                "'{shown}' cannot be printed: write letters, digits, - and _"
            ));
        }
        if users.iter().any(|user| user == name) {
            return refuse(format!("'{shown}' is named twice: each name once"));
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
    fn users_are_those_named_or_those_of_the_policy_and_some_more() {
        const USUAL: [&str; 4] = ["ana", "ben", "cleo", "dev"];
        let mut policy = Policy::default();
        let named = |names: &[&str], policy: &Policy| {
            let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
            users(&names, policy, &USUAL)
        };
        assert_eq!(named(&[], &policy).unwrap(), USUAL);
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
                "--users: name 2 is empty: write them as ann,ben,cleo",
            ),
            (&["ann", "ann"], "--users: 'ann' is named twice: each name once"),
            (
                &["a\u{1b}[2J"],
                "--users: 'a\u{241b}[2J' cannot be printed: write letters, digits, - and _",
            ),
            (
                &["a\nb"],
                "--users: 'a b' cannot be printed: write letters, digits, - and _",
            ),
            (&[&long], "has 65 characters: at most 64"),
            (&many, "--users: 65 names: at most 64"),
        ];
        for (names, told) in table {
            let said = named(names, &Policy::default()).unwrap_err().to_string();
            assert!(said.contains(told), "{said}");
        }
    }
}
