use super::*;
use crate::{config, scenario};

/// A minute in which every fifth attempt fails.
const WORLD: &str = r#"
duration = "1m"

[[callers]]
arrival.poisson = { per_s = 1.0 }
prompts = { distinct = 1000, skew = 0.0 }
max_tokens = 4
stream = false

[[upstream.phase]]
from = "1s"
until = "1m"
rates = { name = "fifth", server_error = 0.2 }
"#;

fn plan(policies: &[&str], seeds: u64) -> Plan {
    Plan {
        scene: scenario::read("world", WORLD, None, None).unwrap(),
        policies: policies
            .iter()
            .map(|name| config::policy(name).unwrap())
            .collect(),
        seeds,
    }
}

#[test]
fn the_same_policy_twice_has_no_difference_at_all() {
    let plan = plan(&["production", "production"], 4);
    let comparison = compare(&plan, &AtomicU64::new(0)).unwrap();
    let second = &comparison.policies[1];
    for row in &second.rows {
        let difference = row.difference.map(|interval| (interval.low, interval.high));
        assert!(matches!(difference, None | Some((0.0, 0.0))), "{row:?}");
    }
    assert!(
        comparison
            .reading
            .contains("no difference that 4 seeds are sure of"),
        "{}",
        comparison.reading
    );
}

#[test]
fn without_retries_fewer_are_served_and_the_table_says_so() {
    let done = AtomicU64::new(0);
    let comparison = compare(&plan(&["production", "production+retry.attempts=1"], 6), &done).unwrap();
    assert_eq!(done.into_inner(), 12);
    let served = comparison.policies[1].row(Measure::ServedShare).unwrap();
    assert!(served.difference.unwrap().high < 0.0, "{served:?}");
    let text = comparison.to_string();
    assert!(
        comparison
            .reading
            .starts_with("production+retry.attempts=1 serves "),
        "{text}"
    );
    assert!(text.contains("percent points fewer of the calls"), "{text}");
    // the numbers of the table are those of the runs
    let mean = comparison.policies[0]
        .row(Measure::Amplification)
        .unwrap()
        .mean
        .unwrap();
    assert!(mean > 1.05 && text.contains(&format!("{mean:.2}")), "{text}");
    let json = serde_json::to_value(&comparison).unwrap();
    assert_eq!(json["policies"][1]["rows"][1]["measure"], "served_share");
}

#[test]
fn many_policies_stand_below_each_other() {
    let sweep: Sweep = "retry.attempts=1..4".parse().unwrap();
    let mut plan = plan(&[], 2);
    plan.policies = sweep.policies(&Policy::default()).unwrap();
    let text = compare(&plan, &AtomicU64::new(0)).unwrap().to_string();
    assert!(
        text.contains("\nretry.attempts=1 ") && text.contains("\nretry.attempts=4 "),
        "{text}"
    );
    assert!(text.contains("serves the most"), "{text}");
}

#[test]
fn one_seed_is_no_proof() {
    let comparison = compare(&plan(&["production", "exercise"], 1), &AtomicU64::new(0)).unwrap();
    assert!(comparison.reading.starts_with("One seed shows"));
    assert!(
        comparison.policies[1]
            .rows
            .iter()
            .all(|row| row.difference.is_none())
    );
}
