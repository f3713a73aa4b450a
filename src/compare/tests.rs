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

#[test]
fn without_a_limiter_tokens_are_spent_all_the_same() {
    let mut plan = plan(&["production"], 2);
    let without = Layer::Limit.off(&plan.policies[0]);
    plan.policies.push(without);
    let comparison = compare(&plan, &AtomicU64::new(0)).unwrap();
    let mean = |at: usize| {
        let row = comparison.policies[at].row(Measure::ChargedTokens).unwrap();
        row.mean.unwrap()
    };
    // this world is slow enough for the limiter to hold nobody back: the same calls, the same tokens
    assert!(mean(0) > 1000.0, "{comparison}");
    assert!((mean(0) - mean(1)).abs() < f64::EPSILON, "{comparison}");
    assert!(
        comparison
            .to_string()
            .contains("Latencies are of served calls only")
    );
}

#[test]
fn markdown_has_the_table_and_a_hostile_policy_stays_in_its_cell() {
    let mut plan = plan(&["production", "exercise"], 2);
    plan.policies[1].name = "a|b <b>*x*</b>".to_owned();
    let text = compare(&plan, &AtomicU64::new(0)).unwrap().markdown(None);
    let table: Vec<&str> = text.lines().filter(|line| line.starts_with('|')).collect();
    assert_eq!(table.len(), 2 + MEASURES.len(), "{text}");
    let bars = |line: &str| line.replace("\\|", "").matches('|').count();
    assert!(table.iter().all(|line| bars(line) == 5), "{text}");
    assert!(text.contains("a\\|b &lt;b&gt;\\*x\\*&lt;/b&gt;"), "{text}");
    assert!(text.contains("Means of 2 runs, seeds "), "{text}");
}

#[test]
fn junit_fails_where_a_policy_is_surely_worse_and_only_there() {
    let comparison = compare(
        &plan(&["production", "production+retry.attempts=1", "production"], 6),
        &AtomicU64::new(0),
    )
    .unwrap();
    assert!(comparison.is_any_worse());
    let text = comparison.junit().unwrap();
    let (worse, same) = text.split_once("production against production").unwrap();
    assert!(
        worse.contains("production+retry.attempts=1 against production") && worse.contains(r#"failures="1""#),
        "{text}"
    );
    let mean = |at: usize| {
        let row = comparison.policies[at].row(Measure::ServedShare).unwrap();
        format!("{:.1}%", row.mean.unwrap() * 100.0)
    };
    let told = format!(
        "served: {} against {} of production, difference -",
        mean(1),
        mean(0)
    );
    assert_eq!(worse.matches("<failure ").count(), 1, "{text}");
    assert!(worse.contains(&format!(r#"<failure message="{told}"#)), "{text}");
    // fewer attempts are no fault
    assert!(
        worse.contains("<system-out>attempts a call: 1.00 against"),
        "{text}"
    );
    assert!(!same.contains("<failure "), "{text}");
    // nothing broke after the faults were over in a world whose faults never end
    assert!(same.contains("nothing to judge"), "{text}");
    assert!(same.contains("0 runs of production"), "{text}");
}

#[test]
fn junit_judges_nothing_by_one_seed() {
    let comparison = compare(&plan(&["production", "exercise"], 1), &AtomicU64::new(0)).unwrap();
    let text = comparison.junit().unwrap();
    assert!(!comparison.is_any_worse());
    assert!(
        text.contains(r#"tests="6" failures="0" errors="0" skipped="6""#),
        "{text}"
    );
    assert!(text.contains("one seed proves nothing"), "{text}");
}

#[test]
fn charts_are_the_same_whichever_thread_plays_what() {
    let sweep: Sweep = "retry.attempts=1..3".parse().unwrap();
    let charts = |seeds: u64| {
        let mut plan = plan(&[], seeds);
        plan.policies = sweep.policies(&Policy::default()).unwrap();
        let comparison = compare(&plan, &AtomicU64::new(0)).unwrap();
        comparison.charts(Some(&sweep)).unwrap()
    };
    let first = charts(4);
    assert!(first == charts(4), "not the same bytes");
    let files: Vec<&str> = first.iter().map(|chart| chart.file).collect();
    assert_eq!(files[..2], ["tradeoff.svg", "compare-measures.svg"]);
    assert_eq!(files.len(), 5);
    // the first values of a long sweep alone would say nothing
    let long: Sweep = "retry.backoff.base=100ms..2s/13".parse().unwrap();
    let mut plan = plan(&[], 1);
    plan.policies = vec![Policy::default(); 13];
    let comparison = compare(&plan, &AtomicU64::new(0)).unwrap();
    assert_eq!(comparison.charts(Some(&long)).unwrap().len(), 1);
    assert_eq!(comparison.charts(None).unwrap().len(), 4);
}

#[test]
fn a_sweep_is_drawn_over_its_values_alone() {
    let sweep: Sweep = "retry.attempts=1..3".parse().unwrap();
    let mut plan = plan(&["production", "exercise"], 3);
    plan.policies.extend(sweep.policies(&Policy::default()).unwrap());
    let comparison = compare(&plan, &AtomicU64::new(0)).unwrap();
    let trade_off = comparison.trade_off(&sweep);
    let labels: Vec<&str> = trade_off
        .points
        .iter()
        .map(|point| point.label.as_str())
        .collect();
    assert_eq!(labels, ["1", "2", "3"]);
    let (first, last) = (&trade_off.points[0], &trade_off.points[2]);
    assert!(first.served.unwrap().mean < last.served.unwrap().mean);
    let one = first.attempts.unwrap();
    assert_eq!((one.low, one.mean, one.high), (1.0, 1.0, 1.0));
    let chart = picture(&trade_off);
    assert!(chart.lines().all(|line| line.chars().count() <= 80));
    let text = comparison.markdown(Some(&trade_off));
    let fenced = format!("### What retry.attempts buys and costs\n\n```text\n{chart}\n```");
    assert!(text.ends_with(&fenced), "{text}");
}
