//! Policies, written and read again.

use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::settings::file::{policy, read_policy};
use crate::settings::{Kind, SemanticLabel};

/// 2026-11-25 23:51:02 UTC.
const NOW: u64 = 1_795_650_662;

/// A bucket that is valid.
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

/// A value for each setting, most of them within its bounds; what does not fit is left as it was.
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
                Kind::Switch => (draw % 2 == 0).to_string(),
                Kind::Choice(words) => words[draw as usize % words.len()].to_owned(),
                Kind::Count { .. } | Kind::Bytes => (draw % 5_000).to_string(),
                Kind::Share { .. } | Kind::PerSecond => {
                    format!("{:?}", f64::from(draw) / f64::from(u32::MAX))
                }
                Kind::Time => format!("{}ns", u64::from(draw) * 1_001),
                Kind::Text => continue,
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
    fn what_is_written_is_read_again(policy in any_policy()) {
        let text = policy_text(&policy);
        let came = read_policy("written", &text).unwrap();
        prop_assert_eq!(&came, &policy, "{}", text);
        // and the same words again
        prop_assert_eq!(policy_text(&came), text);
    }

    #[test]
    fn the_changes_make_any_policy_of_any_other(one in any_policy(), other in any_policy()) {
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
fn a_policy_reads_as_a_person_would_write_it() {
    let mut policy =
        policy("production+retry.attempts=5+limit.requests.capacity=90+breaker.open=10s").unwrap();
    policy.limit.users.insert("ana".into(), UserLimits::default());
    policy.semantic.labels.push(SemanticLabel::default());
    let text = policy_text(&policy);
    for part in [
        "\nname = \"production+retry.attempts=5+limit.requests.capacity=90+breaker.open=10s\"\n\n[cache]\n",
        "\n[retry]\n# All tries of a call, the first included; 1 switches retries off. (production: 3)\nattempts = 5\n",
        "failed probe. (production: \"5s\")\nopen = \"10s\"\nopen_max = \"1m\"             # The longest it stays open.\n",
        "\n# production: { capacity = 60, refill = 300, per = \"1m\" }\nrequests = { capacity = 90, refill = 300, per = \"1m\" }\n",
        "\nmin_calls = 10              # Outcomes in the window before their failure rate counts.\n",
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

/// Each line that is commented out can be put in force by taking its `# ` away.
#[test]
fn what_is_commented_out_is_an_example_that_is_valid() {
    let text = policy_text(&Policy::default());
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
    let policy = read_policy("set", &set).unwrap();
    assert!(policy.semantic.embedder.is_some() && policy.limit.each_user.tokens.is_some());
}

#[test]
fn a_policy_is_saved_beside_others_and_says_where_it_came_from() {
    let dir = tempfile::tempdir().unwrap();
    let mut policy = policy("exercise").unwrap();
    let first = save_policy(&policy, dir.path(), NOW).unwrap();
    let second = save_policy(&policy, dir.path(), NOW).unwrap();
    assert_eq!(first, dir.path().join("policy-20261125-235102.toml"));
    assert_eq!(second, dir.path().join("policy-20261125-235102-2.toml"));
    let text = fs::read_to_string(&first).unwrap();
    assert!(
        text.starts_with("# Saved on 2026-11-25 23:51:02 UTC from the policy exercise.\n"),
        "{text}"
    );
    let came = super::super::policy(first.to_str().unwrap()).unwrap();
    assert_eq!(came.name, "exercise-20261125-235102");
    // and again: one date, not two
    policy.name.clone_from(&came.name);
    assert_eq!(came, policy);
    let third = save_policy(&came, dir.path(), NOW + 1).unwrap();
    let came = super::super::policy(third.to_str().unwrap()).unwrap();
    assert_eq!(came.name, "exercise-20261125-235103");
    let refused = save_policy(&came, &dir.path().join("no such"), NOW).unwrap_err();
    assert!(refused.to_string().starts_with("cannot write "), "{refused}");
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 3);
}
