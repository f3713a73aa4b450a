//! Policies, written and parsed again.

use std::path::Path;
use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::settings::SemanticLabel;
use crate::settings::file::{load_policy, parse_policy};

/// A dated file in a directory.
fn dated(dir: &Path) -> NewFile {
    NewFile::Dated(dir.to_owned())
}

/// 2026-11-25 23:51:02 UTC.
const NOW: u64 = 1_795_650_662;

fn bucket() -> impl Strategy<Value = Bucket> {
    (1..100_000_u64, 1..1_000_000_u64, 1..86_400_u64).prop_map(|(capacity, refill, per)| Bucket {
        capacity,
        refill,
        per: Duration::from_millis(per * 10),
    })
}

fn limits() -> impl Strategy<Value = UserLimits> {
    let bucket = || prop::option::of(bucket());
    (bucket(), bucket(), 1..1000_u32).prop_map(|(requests, tokens, weight)| UserLimits {
        requests,
        tokens,
        weight,
    })
}

/// A policy with random values; a value out of bounds is not applied.
fn any_policy() -> impl Strategy<Value = Policy> {
    let draws = prop::collection::vec((prop::bool::weighted(0.2), any::<u32>()), SETTINGS.len());
    let name = "[a-z\"\\\\ #=é🦀-]{1,12}";
    let users = prop::collection::btree_map("[a-z.=\"' é]{0,6}", limits(), 0..3);
    let model = prop::option::of("[a-z0-9./\" =]{1,12}|none|true|1e5");
    (draws, name, users, limits(), model).prop_map(|(draws, name, users, each, model)| {
        let mut policy = Policy::default();
        policy.limit.each_user = each;
        policy.limit.users = users;
        policy.semantic.model = model;
        for (setting, (_, draw)) in SETTINGS.iter().zip(draws).filter(|(_, (taken, _))| *taken) {
            let value = match setting.kind {
                SettingKind::Toggle => (draw % 2 == 0).to_string(),
                SettingKind::Choice(words) => words[draw as usize % words.len()].to_owned(),
                SettingKind::Count { .. } | SettingKind::Bytes => (draw % 5_000).to_string(),
                SettingKind::Ratio { .. } | SettingKind::PerSecond => {
                    format!("{:?}", f64::from(draw) / f64::from(u32::MAX))
                }
                SettingKind::Duration => format!("{}ns", u64::from(draw) * 1_001),
                SettingKind::Text => continue,
            };
            let changed = policy.with(setting.path, &value).unwrap();
            if changed.validate().is_ok() {
                policy = changed;
            }
        }
        name.trim().clone_into(&mut policy.name);
        policy
    })
}

proptest! {
    // each case reads and writes a policy a hundred times
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn a_written_policy_parses_to_the_same_policy(policy in any_policy()) {
        let text = policy_to_toml(&policy);
        let parsed = parse_policy("written", &text).unwrap();
        prop_assert_eq!(&parsed, &policy, "{}", text);
        prop_assert_eq!(policy_to_toml(&parsed), text);
    }

    #[test]
    fn changes_turn_any_policy_into_any_other(one in any_policy(), other in any_policy()) {
        let changes = one.changes(&other);
        let mut made = one;
        for (path, value) in &changes {
            made = made.with(path, value).map_err(|error| TestCaseError::fail(format!("{error}\n{changes:?}")))?;
        }
        made.name.clone_from(&other.name);
        prop_assert_eq!(made, other, "{:?}", changes);
    }
}

#[test]
fn a_written_policy_has_comments_and_production_values() {
    let mut policy =
        load_policy("production+retry.attempts=5+limit.requests.capacity=90+breaker.open=10s").unwrap();
    policy.limit.users.insert("ana".into(), UserLimits::default());
    policy.semantic.labels.push(SemanticLabel::default());
    let text = policy_to_toml(&policy);
    for part in [
        "\nname = \"production+retry.attempts=5+limit.requests.capacity=90+breaker.open=10s\"\n\n[cache]\n",
        "\n[retry]\n# Attempts per call, the first included; 1 disables retries. (production: 3)\nattempts = 5\n",
        "\n# First open period; each opening doubles it until min_calls good outcomes. (production: \"5s\")\nopen = \"10s\"\nopen_max = \"1m\"             # Longest open period.\n",
        "\n# production: { capacity = 60, refill = 300, per = \"1m\" }\nrequests = { capacity = 90, refill = 300, per = \"1m\" }\n",
        "\nmin_calls = 10              # Outcomes in the window before the failure rate counts.\n",
        "\n# threshold = 0.5\n",
        "\n# embedder = \"http://127.0.0.1:8034\"\n",
        "\n[limit.users.ana]\nweight = 1\n# requests = { capacity = 20, refill = 60, per = \"1m\" }\n",
    ] {
        assert!(text.contains(part), "{part}\nin\n{text}");
    }
    assert!(!text.contains("label"), "{text}");
    let longest = text.lines().skip(3).map(|line| line.chars().count()).max();
    assert!(longest <= Some(WIDTH), "{text}");
}

/// Removing `# ` from a commented-out setting sets it.
#[test]
fn commented_out_settings_are_valid_examples() {
    let text = policy_to_toml(&Policy::default());
    let mut commented = 0;
    let lines = text.lines().map(|line| {
        let bare = line
            .strip_prefix("# ")
            .filter(|rest| rest.contains(" = ") && !rest.contains(": "));
        commented += usize::from(bare.is_some());
        bare.unwrap_or(line)
    });
    let set = lines.collect::<Vec<_>>().join("\n");
    assert_eq!(commented, 5, "{text}");
    let policy = parse_policy("set", &set).unwrap();
    assert!(policy.semantic.embedder.is_some() && policy.limit.each_user.tokens.is_some());
}

#[test]
fn a_policy_is_saved_to_a_new_file_that_names_its_origin() {
    let dir = tempfile::tempdir().unwrap();
    let mut policy = load_policy("exercise").unwrap();
    let first = save_policy(&policy, &dated(dir.path()), NOW).unwrap();
    let second = save_policy(&policy, &dated(dir.path()), NOW).unwrap();
    assert_eq!(first, dir.path().join("policy-20261125-235102.toml"));
    assert_eq!(second, dir.path().join("policy-20261125-235102-2.toml"));
    let text = fs::read_to_string(&first).unwrap();
    assert!(
        text.starts_with("# Saved on 2026-11-25 23:51:02 UTC from the policy exercise.\n"),
        "{text}"
    );
    let loaded = load_policy(first.to_str().unwrap()).unwrap();
    assert_eq!(loaded.name, "exercise-20261125-235102");
    // the date is replaced
    policy.name.clone_from(&loaded.name);
    assert_eq!(loaded, policy);
    let third = save_policy(&loaded, &dated(dir.path()), NOW + 1).unwrap();
    let loaded = load_policy(third.to_str().unwrap()).unwrap();
    assert_eq!(loaded.name, "exercise-20261125-235103");
    let refused = save_policy(&loaded, &dated(&dir.path().join("no such")), NOW).unwrap_err();
    assert!(refused.to_string().starts_with("cannot write "), "{refused}");
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 3);
}
