//! What a person hands in: policies, fault profiles, users, servers, keys. A mistake is told with its line and the
//! nearest right name.
//!
//! ```text
//! policies and faults   here; single settings that differ: overrides; labels of semantic hits: labels
//! policies as text      write (a file to keep), dated (its name), listing (every setting)
//! users                 users
//! servers               server (URLs), key (API keys), ca (certificates)
//! files and mistakes    read (find, bound, parse), error
//! ```

mod dated;
mod error;
mod listing;
mod overrides;
mod read;
mod users;
mod write;

pub(crate) use dated::create_dated;
pub use error::ConfigError;
pub(crate) use error::{one_line, shown, value_error};
pub use listing::settings_text;
use read::line_of;
pub(crate) use read::{LARGEST_FILE, find, line_at, parse, parse_error, read_bounded};
pub use read::{journal, pairs_file};
pub use users::users;
pub use write::{policy_text, save_policy};

use crate::settings::{FaultProfile, Policy};

/// The presets that ship with the program.
pub const POLICIES: [(&str, &str); 2] = [
    (
        "production",
        include_str!("../../assets/policies/production.toml"),
    ),
    ("exercise", include_str!("../../assets/policies/exercise.toml")),
];

/// The fault profiles that ship with the program, gentlest first.
pub const FAULT_PROFILES: [(&str, &str); 6] = [
    ("flaky", include_str!("../../assets/faults/flaky.toml")),
    ("slow", include_str!("../../assets/faults/slow.toml")),
    ("mixed", include_str!("../../assets/faults/mixed.toml")),
    (
        "cut-streams",
        include_str!("../../assets/faults/cut-streams.toml"),
    ),
    (
        "rate-limit-storm",
        include_str!("../../assets/faults/rate-limit-storm.toml"),
    ),
    ("outage", include_str!("../../assets/faults/outage.toml")),
];

/// A policy: a preset by name or a file, with single settings that differ where some are given:
/// `production+retry.attempts=1`.
pub fn policy(name: &str) -> Result<Policy, ConfigError> {
    if let Some((base, settings)) = overrides::split(name) {
        let changed = overrides::apply(&policy(base)?, settings)?;
        return checked(changed, name);
    }
    let (shown, text) = find("policy", name, &POLICIES)?;
    read_policy(&shown, &text)
}

/// A policy with one setting changed: `retry.attempts`, `1`.
pub fn policy_with(policy: &Policy, setting: &str, value: &str) -> Result<Policy, ConfigError> {
    checked(overrides::set(policy, setting, value)?, setting)
}

/// A policy from its text; `shown` is what errors call it.
pub fn read_policy(shown: &str, text: &str) -> Result<Policy, ConfigError> {
    let mut policy: Policy = parse(shown, text)?;
    if !text.lines().any(|line| line.trim_start().starts_with("name")) {
        shown.clone_into(&mut policy.name);
    }
    // a rule speaks of a setting that stands somewhere, or of what is usual where it does not
    if let Err(error) = policy.validate()
        && let Some(line) = line_of(text, &error.key)
    {
        return Err(ConfigError::Syntax {
            name: one_line(shown),
            line,
            message: one_line(&error.to_string()).to_string(),
        });
    }
    checked(policy, shown)
}

/// Within all bounds, with a name that titles and reports can print.
fn checked(mut policy: Policy, shown: &str) -> Result<Policy, ConfigError> {
    policy.name = one_line(&policy.name).to_string();
    policy
        .validate()
        .map_err(|error| value_error(shown, &error.to_string()))?;
    Ok(policy)
}

/// A fault profile: a bundled one by name, or a file.
pub fn faults(name: &str) -> Result<FaultProfile, ConfigError> {
    let (shown, text) = find("fault profile", name, &FAULT_PROFILES)?;
    read_faults(&shown, &text)
}

/// A fault profile from its text; `shown` is what errors call it.
pub fn read_faults(shown: &str, text: &str) -> Result<FaultProfile, ConfigError> {
    let mut profile: FaultProfile = parse(shown, text)?;
    profile.name = one_line(&profile.name).to_string();
    profile.about = one_line(&profile.about).to_string();
    profile
        .validate()
        .map_err(|message| value_error(shown, &message))?;
    Ok(profile)
}

/// The profiles that ship with the program; those that do not parse are left out (a test parses them all).
pub fn bundled_faults() -> Vec<FaultProfile> {
    FAULT_PROFILES
        .iter()
        .filter_map(|(name, _)| faults(name).ok())
        .collect()
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn message<T: std::fmt::Debug>(result: Result<T, ConfigError>) -> String {
        result.unwrap_err().to_string()
    }

    #[test]
    fn the_production_file_says_what_the_code_says() {
        assert_eq!(policy("production").unwrap(), Policy::default());
    }

    #[test]
    fn every_shipped_file_is_valid() {
        for (name, _) in POLICIES {
            assert_eq!(policy(name).unwrap().name, name);
        }
        for (name, _) in FAULT_PROFILES {
            let profile = faults(name).unwrap();
            assert_eq!(profile.name, name);
            assert!(!profile.about.is_empty() && profile.total() > 0.0, "{name}");
            // drills must be quick: a stall of a bundled profile lasts seconds, not minutes
            assert!(profile.stall_for.as_secs() <= 4, "{name}");
        }
    }

    #[test]
    fn mixed_and_outage_have_the_total_rates_of_their_descriptions() {
        let total = |name| (faults(name).unwrap().total() * 100.0).round();
        assert_eq!((total("mixed"), total("outage")), (35.0, 90.0));
    }

    #[test]
    fn fault_profile_errors_name_the_profile_and_what_is_wrong() {
        let error = message(faults("tsunami"));
        assert!(
            error.contains("'tsunami'") && error.contains("mixed, cut-streams"),
            "{error}"
        );
        let error = message(read_faults("mine", "reset = 0.7\ncut = 0.7"));
        assert!(error.contains("mine") && error.contains("1.40"), "{error}");
        assert!(message(read_faults("mine", "rest = 1")).contains("rest"));
    }

    #[test]
    fn mistakes_are_told_with_line_and_nearest_name() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let path = file.path().to_str().unwrap();
        let try_text = |text: &str| {
            fs::write(path, text).unwrap();
            message(policy(path)).replace(path, "FILE")
        };
        let unknown = try_text("# mine\n[retry]\natempts = 3\n");
        assert!(
            unknown.starts_with("FILE, line 3: unknown field `atempts`"),
            "{unknown}"
        );
        assert!(
            unknown.contains("; did you mean `attempts`? expected one of"),
            "{unknown}"
        );
        let wrong_type = try_text("[retry]\nattempts = \"three\"\n");
        assert!(
            wrong_type
                == "FILE, line 2: attempts: invalid type: string \"three\", expected a whole number from 0 on",
            "{wrong_type}"
        );
        let bound = try_text("[breaker]\nfailure_rate = 50\n");
        assert_eq!(
            bound,
            "FILE, line 2: breaker.failure_rate = 50: above 0 and at most 1 (0.5 opens at half)"
        );
        let variant = try_text("[retry]\njitter = \"ful\"\n");
        assert!(variant.contains("did you mean `full`?"), "{variant}");
        let preset = message(policy("prodution"));
        assert!(
            preset.ends_with("one of production, exercise; did you mean production?"),
            "{preset}"
        );
    }

    #[test]
    fn a_partial_file_keeps_the_defaults_and_takes_its_own_name() {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), "[retry]\nattempts = 7\n").unwrap();
        let name = file.path().to_str().unwrap();
        let policy = policy(name).unwrap();
        assert_eq!((policy.retry.attempts, policy.name.as_str()), (7, name));
        assert_eq!(policy.breaker, Policy::default().breaker);
    }
}
