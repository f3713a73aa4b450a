use super::*;
use crate::drills::scenario;
use crate::settings::file;

/// A minute in which every fifth attempt fails.
const SCENARIO: &str = r#"
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
        scene: scenario::read("minute", SCENARIO, None, None).unwrap(),
        policies: policies
            .iter()
            .map(|name| file::load_policy(name).unwrap())
            .collect(),
        seeds,
        observed: None,
        without: Vec::new(),
    }
}

#[test]
fn the_same_policy_twice_has_no_difference_at_all() {
    let plan = plan(&["production", "production"], 6);
    let comparison = compare(&plan, &AtomicU64::new(0)).unwrap();
    let second = &comparison.policies[1];
    for row in &second.rows {
        let difference = row.difference.map(|interval| (interval.low, interval.high));
        assert!(matches!(difference, None | Some((0.0, 0.0))), "{row:?}");
    }
    assert!(
        comparison
            .summary
            .contains("every measure is equal in all 6 seeds"),
        "{}",
        comparison.summary
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
            .summary
            .starts_with("production+retry.attempts=1 serves "),
        "{text}"
    );
    let line = unwrapped(&text);
    assert!(line.contains("percentage points fewer of the calls"), "{text}");
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
fn many_policies_are_listed_down() {
    let sweep: Sweep = "retry.attempts=1..4".parse().unwrap();
    let mut plan = plan(&[], 8);
    plan.policies = sweep.policies(&Policy::default()).unwrap();
    let text = compare(&plan, &AtomicU64::new(0)).unwrap().to_string();
    assert!(
        text.contains("\nretry.attempts=1 ") && text.contains("\nretry.attempts=4 "),
        "{text}"
    );
    let text = text.replace('\n', " ");
    assert!(text.contains("serves the most calls, "), "{text}");
    assert!(text.contains("retry.attempts=1 the fewest, "), "{text}");
    assert!(text.contains(") percentage points."), "{text}");
}

/// A text on one line.
fn unwrapped(text: &impl ToString) -> String {
    text.to_string().split_whitespace().collect::<Vec<_>>().join(" ")
}

#[test]
fn many_policies_that_serve_the_same_have_no_best_one() {
    let plan = plan(&["production"; 4], 8);
    let summary = compare(&plan, &AtomicU64::new(0)).unwrap().summary;
    assert_eq!(
        summary,
        "Over 8 seeds all policies serve the same share of the calls."
    );
}

#[test]
fn an_insignificant_difference_between_best_and_worst_is_not_quoted() {
    let policy = |(name, served): (&str, f64)| PolicyResult {
        policy: name.to_owned(),
        rows: vec![Row {
            measure: Measure::ServedShare,
            runs: 8,
            mean: Some(served),
            interval: None,
            mean_difference: None,
            difference: None,
        }],
        over_time: OverTime::default(),
    };
    let policies = [("a", 0.9), ("b", 0.95), ("c", 0.95), ("d", 0.8)].map(policy);
    let sentences = |differences: [f64; 8]| {
        Summary {
            policies: &policies,
            without: &[],
            seeds: 8,
            recorded: false,
            served_difference: &|one, other| {
                let same = one == other || (one == 1 && other == 2) || (one == 2 && other == 1);
                Some(ServedDifference {
                    mean: 0.15,
                    interval: Interval::of_mean(&differences),
                    is_zero: same,
                })
            },
        }
        .sentences()
    };
    let ends = "Over 8 seeds b (and one other) serves the most calls, 95.0 %; d the fewest, 80.0 %: ";
    let unsure = sentences([-0.3, 0.6, -0.3, 0.6, -0.3, 0.6, -0.3, 0.6]);
    assert_eq!(unsure, format!("{ends}the difference is not significant."));
    let sure = sentences([0.15; 8]);
    assert_eq!(
        sure,
        format!("{ends}a difference of 15.0 (15.0 to 15.0) percentage points.")
    );
}

#[test]
fn the_contribution_of_each_layer_is_stated_and_idle_layers_are_named() {
    let mut plan = plan(&["production"], 10);
    let layers = [Layer::Semantic, Layer::Hints, Layer::Retry];
    plan.without = (1..).zip(layers).collect();
    let first = plan.policies[0].clone();
    plan.policies.extend(layers.map(|layer| layer.off(&first)));
    let comparison = compare(&plan, &AtomicU64::new(0)).unwrap();
    let summary = &comparison.summary;
    assert!(
        summary.starts_with("Served share gained by layer, in percentage points: retry 1"),
        "{summary}"
    );
    assert!(
        summary.contains(" percentage points fewer of the calls, but sends "),
        "{summary}"
    );
    assert!(
        summary.ends_with("Identical results without semantic or hints."),
        "{summary}"
    );
    let text = comparison.to_string();
    assert!(text.contains("\nwithout retry "), "{text}");
    assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
}

#[test]
fn a_significant_regression_is_stated_beside_improvements() {
    let plan = plan(
        &[
            "production",
            "production+retry.attempts=8+retry.max_ambiguous_retries=7",
        ],
        10,
    );
    let comparison = compare(&plan, &AtomicU64::new(0)).unwrap();
    let summary = &comparison.summary;
    let worse = comparison.policies[1].is_worse();
    assert!(worse && summary.contains(" than production, but "), "{summary}");
    let but = summary.split_once(" but ").unwrap().1;
    assert!(but.contains(" more attempts per call"), "{summary}");
}

#[test]
fn few_seeds_give_differences_without_intervals() {
    let plan = plan(&["production", "production+retry.attempts=1"], 5);
    let comparison = compare(&plan, &AtomicU64::new(0)).unwrap();
    let served = comparison.policies[1].row(Measure::ServedShare).unwrap();
    assert!(served.difference.is_none() && served.mean_difference.unwrap() < 0.0);
    assert!(
        comparison
            .summary
            .starts_with("5 seeds are not enough to compare policies")
    );
    let text = comparison.to_string();
    assert!(text.contains(" points\n") && !text.contains("(95 %)"), "{text}");
    assert!(!comparison.is_any_worse());
    assert!(
        comparison
            .junit()
            .unwrap()
            .contains("at least 6 seeds are needed")
    );
}

#[test]
fn names_are_shortened_only_if_all_derive_from_the_first() {
    let names = [
        "production",
        "exercise",
        "production+retry.attempts=1",
        "production+retry.attempts=2",
    ];
    let text = compare(&plan(&names, 1), &AtomicU64::new(0)).unwrap().to_string();
    // below exercise a bare setting would look like one of exercise
    assert!(!text.contains("\n+retry"), "{text}");
    let names = [names[0], names[2], names[2], names[3]];
    let text = compare(&plan(&names, 1), &AtomicU64::new(0)).unwrap().to_string();
    assert!(text.contains("\n+retry.attempts=2 "), "{text}");
}

#[test]
fn three_policies_fit_eighty_columns() {
    let plan = plan(&["production", "exercise", "production+retry.attempts=1"], 6);
    let text = compare(&plan, &AtomicU64::new(0)).unwrap().to_string();
    assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
    assert_eq!(text.matches("\nserved ").count(), 2, "{text}");
}

#[test]
fn one_seed_is_not_enough() {
    let comparison = compare(&plan(&["production", "exercise"], 1), &AtomicU64::new(0)).unwrap();
    assert!(comparison.summary.starts_with("One seed is not enough"));
    assert!(
        comparison.policies[1]
            .rows
            .iter()
            .all(|row| row.difference.is_none())
    );
    assert!(
        comparison.to_string().contains("seed 7, one run\n"),
        "{comparison}"
    );
}

#[test]
fn tokens_are_counted_without_a_limiter_too() {
    let mut plan = plan(&["production"], 2);
    let without = Layer::Limit.off(&plan.policies[0]);
    plan.policies.push(without);
    let comparison = compare(&plan, &AtomicU64::new(0)).unwrap();
    let mean = |at: usize| {
        let row = comparison.policies[at].row(Measure::SpentTokens).unwrap();
        row.mean.unwrap()
    };
    // the limiter delays no call of this scenario: the same calls, the same tokens
    assert!(mean(0) > 1000.0, "{comparison}");
    assert!((mean(0) - mean(1)).abs() < f64::EPSILON, "{comparison}");
    assert!(unwrapped(&comparison).contains("Latencies are those of served calls only"));
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
    assert!(text.contains("Runs: means of 2 runs, seeds 7 to 8. "), "{text}");
}

#[test]
fn junit_fails_only_for_a_significantly_worse_policy() {
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
    let message = format!(
        "served: {} against {} of production, difference -",
        mean(1),
        mean(0)
    );
    assert_eq!(worse.matches("<failure ").count(), 1, "{text}");
    assert!(
        worse.contains(&format!(r#"<failure message="{message}"#)),
        "{text}"
    );
    // fewer attempts are not worse
    assert!(
        worse.contains("<system-out>attempts per call: 1.00 against"),
        "{text}"
    );
    assert!(!same.contains("<failure "), "{text}");
    // no time to recover: the faults last to the end
    assert!(same.contains("seeds have a value under both policies"), "{text}");
    assert!(same.contains("0 runs of production"), "{text}");
}

#[test]
fn junit_skips_all_cases_for_one_seed() {
    let comparison = compare(&plan(&["production", "exercise"], 1), &AtomicU64::new(0)).unwrap();
    let text = comparison.junit().unwrap();
    assert!(!comparison.is_any_worse());
    assert!(
        text.contains(r#"tests="6" failures="0" errors="0" skipped="6""#),
        "{text}"
    );
    assert!(text.contains("at least 6 seeds are needed"), "{text}");
}

#[test]
fn charts_do_not_depend_on_thread_scheduling() {
    let sweep: Sweep = "retry.attempts=1..3".parse().unwrap();
    let charts = |seeds: u64| {
        let mut plan = plan(&[], seeds);
        plan.policies = sweep.policies(&Policy::default()).unwrap();
        let comparison = compare(&plan, &AtomicU64::new(0)).unwrap();
        comparison.charts(Some(&sweep))
    };
    let first = charts(4);
    assert!(first == charts(4), "not the same bytes");
    let files: Vec<&str> = first.iter().map(|chart| chart.file).collect();
    assert_eq!(files[..2], ["tradeoff.svg", "compare-measures.svg"]);
    assert_eq!(files.len(), 5);
    // a page holds a long sweep
    let long: Sweep = "retry.base=100ms..2s/13".parse().unwrap();
    let mut plan = plan(&[], 1);
    plan.policies = long.policies(&Policy::default()).unwrap();
    let charts = compare(&plan, &AtomicU64::new(0)).unwrap().charts(Some(&long));
    assert_eq!(charts.len(), 5);
    assert!(charts[2].svg.contains(&long.values[12]));
}

#[test]
fn a_sweep_chart_shows_only_its_values() {
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
    let chart = text_chart(&trade_off);
    assert!(chart.lines().all(|line| line.chars().count() <= 80));
    let text = comparison.markdown(Some(&trade_off));
    let fenced = format!("### Effect of retry.attempts\n\n```text\n{chart}\n```");
    assert!(text.ends_with(&fenced), "{text}");
}
