//! One sentence that is true of a comparison: only what the intervals leave no doubt about.

use super::worse::JUDGED;
use super::{Column, Interval};
use crate::scenario::Measure;

/// Differences told of one policy.
const MOST: usize = 3;

/// What the numbers of the policies say about each other.
pub(super) fn sentence(columns: &[Column], seeds: u64, recorded: bool) -> String {
    let Some((first, others)) = columns.split_first() else {
        return String::new();
    };
    if recorded && seeds < 2 {
        return this_once(first, others);
    }
    if seeds < 2 {
        return "One seed shows what can happen, not which policy is better: give --seeds 20 or more."
            .to_owned();
    }
    // of many variants only the best and the worst are worth a sentence
    if others.len() > 2 {
        return best_and_worst(columns, seeds);
    }
    let told: Vec<String> = others
        .iter()
        .map(|column| against(first, column, seeds))
        .collect();
    told.join(" ")
}

/// What the policies made of one recording: a fact about it, and no more.
fn this_once(first: &Column, others: &[Column]) -> String {
    let of = |column: &Column, measure| column.row(measure).and_then(|row| row.mean);
    let told: Vec<String> = others
        .iter()
        .filter_map(|other| {
            let share = |column| of(column, Measure::ServedShare);
            let points = (share(other)? - share(first)?) * 100.0;
            let served = match points {
                _ if points.abs() < 0.05 => "serves as many of the calls".to_owned(),
                _ if points > 0.0 => format!("serves {points:.1} percent points more of the calls"),
                _ => format!("serves {:.1} percent points fewer of the calls", -points),
            };
            let sent = of(other, Measure::Attempts)? - of(first, Measure::Attempts)?;
            let sent = match sent {
                0.0 => "as many attempts".to_owned(),
                _ if sent > 0.0 => format!("{sent:.0} attempts more"),
                _ => format!("{:.0} attempts fewer", -sent),
            };
            Some(format!("{} {served} with {sent}", other.policy))
        })
        .collect();
    format!(
        "Of these calls, against {}: {}. That is so of this recording; --seeds 20 draws the upstream anew.",
        first.policy,
        told.join("; ")
    )
}

/// One policy against the first.
fn against(first: &Column, other: &Column, seeds: u64) -> String {
    let sure: Vec<String> = JUDGED
        .iter()
        .filter_map(|(measure, _)| {
            let difference = other.row(*measure)?.difference?;
            difference.is_sure().then(|| words(*measure, difference))
        })
        .take(MOST)
        .collect();
    let (other, first) = (&other.policy, &first.policy);
    match sure.split_last() {
        None => format!("{other} and {first}: no difference that {seeds} seeds are sure of."),
        Some((last, [])) => format!("{other} {last} than {first}."),
        Some((last, before)) => format!("{other} {} and {last} than {first}.", before.join(", ")),
    }
}

/// `serves 12.3 points more of the calls (10.1 to 14.4)`.
fn words(measure: Measure, difference: Interval) -> String {
    let more = difference.mean > 0.0;
    let size = |scale: f64, digits: usize| {
        let (a, b) = (difference.low.abs() * scale, difference.high.abs() * scale);
        format!(
            "{:.digits$} ({:.digits$} to {:.digits$})",
            difference.mean.abs() * scale,
            a.min(b),
            a.max(b)
        )
    };
    let pick = |yes: &'static str, no: &'static str| if more { yes } else { no };
    match measure {
        Measure::ServedShare => format!(
            "serves {} percent points {} of the calls",
            size(100.0, 1),
            pick("more", "fewer")
        ),
        Measure::Amplification => format!(
            "sends {} {} attempts for each call sent",
            size(1.0, 2),
            pick("more", "fewer")
        ),
        Measure::LatencyP95 => format!("has a p95 {} s {}", size(1.0, 2), pick("longer", "shorter")),
        Measure::Recovery => format!(
            "answers again {} s {} after the faults",
            size(1.0, 2),
            pick("later", "sooner")
        ),
        Measure::WastedTokens => format!("wastes {} {} tokens", size(1.0, 0), pick("more", "fewer")),
        _ => format!(
            "sends {} {} retries that may be billed twice",
            size(1.0, 1),
            pick("more", "fewer")
        ),
    }
}

fn best_and_worst(columns: &[Column], seeds: u64) -> String {
    let share = |column: &Column| column.row(Measure::ServedShare).and_then(|row| row.mean);
    let mut by_share: Vec<(&Column, f64)> = columns
        .iter()
        .filter_map(|column| Some((column, share(column)?)))
        .collect();
    by_share.sort_by(|a, b| b.1.total_cmp(&a.1));
    let attempts = |column: &Column| {
        let row = column.row(Measure::Amplification);
        row.and_then(|row| row.mean)
            .map_or_else(String::new, |mean| format!(" with {mean:.2} attempts a call"))
    };
    match (by_share.first(), by_share.last()) {
        (Some((best, most)), Some((worst, least))) if most > least => format!(
            "Over {seeds} seeds {} serves the most, {:.1} % of the calls{}; {} the fewest, {:.1} %{}.",
            best.policy,
            most * 100.0,
            attempts(best),
            worst.policy,
            least * 100.0,
            attempts(worst)
        ),
        _ => format!("Over {seeds} seeds all serve the same share of the calls."),
    }
}
