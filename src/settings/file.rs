//! Policy and fault files: presets, loading, saving and listing. Errors name the line and suggest the closest
//! valid name.
//!
//! ```text
//! presets, policies, fault profiles   this file; overrides (production+retry.attempts=1)
//! policies as text                    write (a file), dated (its name), listing (every setting)
//! user names                          users
//! files and errors                    read (find, size limit, parse), error
//! ```

mod dated;
mod error;
mod listing;
mod overrides;
mod prompts;
mod read;
mod users;
mod write;

use std::collections::BTreeMap;
use std::sync::LazyLock;

pub use dated::NewFile;
pub use error::ConfigError;
pub(crate) use error::{printable_path, single_line, value_error};
pub use listing::settings_list;
pub use prompts::read_prompts;
use read::setting_line;
pub(crate) use read::{
    MAX_FILE_BYTES, find_text, journal_name, line_at, open_journal, parse_error, parse_toml, read_limited,
    read_pairs_file,
};
pub(crate) use users::resolve_users;
pub use write::{policy_to_toml, save_policy};

use crate::settings::{FaultProfile, Policy};

/// The bundled policies: name and TOML text.
pub const POLICIES: [(&str, &str); 3] = [
    (
        "production",
        include_str!("../../assets/policies/production.toml"),
    ),
    ("gateway", include_str!("../../assets/policies/gateway.toml")),
    ("exercise", include_str!("../../assets/policies/exercise.toml")),
];

/// The bundled fault profiles, mildest first: name and TOML text.
pub const FAULT_PROFILES: [(&str, &str); 7] = [
    ("flaky", include_str!("../../assets/faults/flaky.toml")),
    ("slow", include_str!("../../assets/faults/slow.toml")),
    ("mixed", include_str!("../../assets/faults/mixed.toml")),
    ("crowded", include_str!("../../assets/faults/crowded.toml")),
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

/// Loads a preset by name, or a policy file, with optional overrides: `production+retry.attempts=1`.
///
/// # Errors
/// Fails if the file cannot be read or parsed, or if a setting is unknown or out of bounds.
pub fn load_policy(name: &str) -> Result<Policy, ConfigError> {
    if let Some((base, settings)) = overrides::split(name) {
        let changed = overrides::apply(&load_policy(base)?, settings)?;
        return checked(changed, name);
    }
    let (shown, text) = find_text("policy", name, &POLICIES)?;
    parse_policy(&shown, &text)
}

/// The bundled policy of this name.
pub(crate) fn preset(name: &str) -> Option<&'static Policy> {
    static PARSED: LazyLock<BTreeMap<&str, Policy>> = LazyLock::new(|| {
        let parsed = |(name, text): &(&'static str, &str)| Some((*name, parse_policy(name, text).ok()?));
        POLICIES.iter().filter_map(parsed).collect()
    });
    PARSED.get(name)
}

/// Returns the policy with one setting changed and all bounds checked.
pub(crate) fn with_setting(policy: &Policy, setting: &str, value: &str) -> Result<Policy, ConfigError> {
    checked(overrides::set(policy, setting, value)?, setting)
}

/// Parses a policy file. Errors call it `shown`.
///
/// # Errors
/// Fails if the text does not parse, or if a setting is unknown or out of bounds.
pub fn parse_policy(shown: &str, text: &str) -> Result<Policy, ConfigError> {
    let mut policy: Policy = parse_toml(shown, text)?;
    if !text.lines().any(|line| line.trim_start().starts_with("name")) {
        shown.clone_into(&mut policy.name);
    }
    // a setting that has its default has no line
    if let Err(error) = policy.validate()
        && let Some(line) = setting_line(text, &error.key)
    {
        return Err(ConfigError::Syntax {
            name: single_line(shown),
            line,
            message: single_line(&error.to_string()).to_string(),
        });
    }
    checked(policy, shown)
}

/// Checks all bounds and makes the name printable.
fn checked(mut policy: Policy, shown: &str) -> Result<Policy, ConfigError> {
    policy.name = single_line(&policy.name).to_string();
    policy
        .validate()
        .map_err(|error| value_error(shown, &error.to_string()))?;
    Ok(policy)
}

/// Loads a bundled fault profile by name, or a file.
///
/// # Errors
/// Fails if the file cannot be read or parsed, or if a rate is out of bounds.
pub fn load_faults(name: &str) -> Result<FaultProfile, ConfigError> {
    let (shown, text) = find_text("fault profile", name, &FAULT_PROFILES)?;
    parse_faults(&shown, &text)
}

/// Parses a fault profile. Errors call it `shown`.
///
/// # Errors
/// Fails if the text does not parse, or if a rate is out of bounds.
pub fn parse_faults(shown: &str, text: &str) -> Result<FaultProfile, ConfigError> {
    let mut profile: FaultProfile = parse_toml(shown, text)?;
    profile.name = single_line(&profile.name).to_string();
    profile.about = single_line(&profile.about).to_string();
    profile
        .validate()
        .map_err(|message| value_error(shown, &message))?;
    Ok(profile)
}

/// The bundled fault profiles. A test checks that all of them parse.
pub(crate) fn bundled_faults() -> Vec<FaultProfile> {
    FAULT_PROFILES
        .iter()
        .filter_map(|(name, _)| load_faults(name).ok())
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
    fn the_production_file_equals_the_default_policy() {
        assert_eq!(load_policy("production").unwrap(), Policy::default());
    }

    #[test]
    fn every_bundled_file_is_valid() {
        for (name, _) in POLICIES {
            assert_eq!(load_policy(name).unwrap().name, name);
        }
        for (name, _) in FAULT_PROFILES {
            let profile = load_faults(name).unwrap();
            assert_eq!(profile.name, name);
            assert!(!profile.about.is_empty(), "{name}");
            assert!(profile.total() > 0.0 || profile.capacity.is_some(), "{name}");
            // scenarios must be quick: a stall of a bundled profile lasts seconds, not minutes
            assert!(profile.stall_for.as_secs() <= 4, "{name}");
        }
    }

    #[test]
    fn mixed_and_outage_have_the_total_rates_of_their_descriptions() {
        let total = |name| (load_faults(name).unwrap().total() * 100.0).round();
        assert_eq!((total("mixed"), total("outage")), (35.0, 90.0));
    }

    #[test]
    fn fault_profile_errors_name_the_profile_and_the_problem() {
        let error = message(load_faults("tsunami"));
        assert!(
            error.contains("'tsunami'") && error.contains("mixed, crowded, cut-streams"),
            "{error}"
        );
        let error = message(parse_faults("mine", "reset = 0.7\ncut = 0.7"));
        assert!(error.contains("mine") && error.contains("1.40"), "{error}");
        assert!(message(parse_faults("mine", "rest = 1")).contains("rest"));
    }

    #[test]
    fn errors_name_the_line_and_the_closest_name() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let path = file.path().to_str().unwrap();
        let error_of = |text: &str| {
            fs::write(path, text).unwrap();
            message(load_policy(path)).replace(path, "FILE")
        };
        let unknown = error_of("# mine\n[retry]\natempts = 3\n");
        assert!(
            unknown.starts_with("FILE, line 3: unknown field `atempts`"),
            "{unknown}"
        );
        assert!(
            unknown.contains("; did you mean `attempts`? expected one of"),
            "{unknown}"
        );
        let wrong_type = error_of("[retry]\nattempts = \"three\"\n");
        assert!(
            wrong_type
                == "FILE, line 2: attempts: invalid type: string \"three\", expected a whole number, 0 or more",
            "{wrong_type}"
        );
        let bound = error_of("[breaker]\nfailure_rate = 50\n");
        assert_eq!(
            bound,
            "FILE, line 2: breaker.failure_rate = 50 (must be above 0 and at most 1)"
        );
        let variant = error_of("[retry]\njitter = \"ful\"\n");
        assert!(variant.contains("did you mean `full`?"), "{variant}");
        let preset = message(load_policy("prodution"));
        assert!(
            preset.ends_with("known: production, gateway, exercise; did you mean production?"),
            "{preset}"
        );
    }

    #[test]
    fn a_partial_file_keeps_the_defaults_and_is_named_after_its_path() {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), "[retry]\nattempts = 7\n").unwrap();
        let name = file.path().to_str().unwrap();
        let policy = load_policy(name).unwrap();
        assert_eq!((policy.retry.attempts, policy.name.as_str()), (7, name));
        assert_eq!(policy.breaker, Policy::default().breaker);
    }
}
