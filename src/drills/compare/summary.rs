//! The sentences of a comparison. They state only significant differences: those whose 95 % interval excludes 0. A
//! recording that is replayed once has no sampling error; its differences are stated as they are.

use super::regressions::{JUDGED, Worse};
use super::{Interval, Layer, PolicyResult};
use crate::drills::scenario::Measure;
use crate::report::statistics::FEWEST;

/// Maximum number of advantages listed of one policy; disadvantages are all listed.
const MOST: usize = 3;
/// Maximum number of policies described one by one; of more, only the best and the worst are.
const EACH: usize = 2;

/// The input of the sentences.
pub(super) struct Summary<'a> {
    /// The policies; the others are compared with the first.
    pub policies: &'a [PolicyResult],
    /// Indexes of the policies that are the first one without a layer.
    pub without: &'a [(usize, Layer)],
    /// Number of seeds.
    pub seeds: u64,
    /// True if the traffic is recorded.
    pub recorded: bool,
    /// The difference of the served shares of two policies, by index.
    pub served_difference: &'a dyn Fn(usize, usize) -> Option<ServedDifference>,
}

/// A difference of served shares.
pub(super) struct ServedDifference {
    pub mean: f64,
    pub interval: Option<Interval>,
    /// True if it is zero in every seed.
    pub is_zero: bool,
}

/// A significant difference from the first policy.
#[derive(Clone, Copy)]
pub(super) struct Difference {
    pub measure: Measure,
    pub mean: f64,
    /// The bounds of its interval; absent if it is exact.
    bounds: Option<(f64, f64)>,
    is_worse: bool,
}

impl Summary<'_> {
    pub(super) fn sentences(&self) -> String {
        let Some((first, others)) = self.policies.split_first() else {
            return String::new();
        };
        if !self.is_exact() && self.seeds < FEWEST as u64 {
            let seeds = match self.seeds {
                1 => "One seed is".to_owned(),
                seeds => format!("{seeds} seeds are"),
            };
            return format!("{seeds} not enough to compare policies: use --seeds 20 or more.");
        }
        let is_layer = |index: usize| self.without.iter().any(|(at, _)| *at == index);
        let plain = (1..).zip(others).filter(|(index, _)| !is_layer(*index));
        let plain: Vec<&PolicyResult> = plain.map(|(_, policy)| policy).collect();
        let mut sentences = Vec::new();
        if plain.len() > EACH && !self.is_exact() {
            sentences.extend(self.best_and_worst(&is_layer));
        } else if self.is_exact() && !plain.is_empty() {
            sentences.push(exact_differences(first, &plain));
        } else {
            sentences.extend(plain.iter().map(|policy| self.against(first, policy)));
        }
        sentences.extend(self.attribution());
        if self.is_exact() {
            sentences.push(
                "This holds for this recording; --seeds 20 varies the draws of the upstream.".to_owned(),
            );
        }
        sentences.join(" ")
    }

    /// True for a recording that is replayed once.
    pub(super) fn is_exact(&self) -> bool {
        self.recorded && self.seeds == 1
    }

    /// The significant differences from the first policy, the most important first.
    pub(super) fn differences(&self, policy: &PolicyResult) -> Vec<Difference> {
        let judged = JUDGED.iter().filter_map(|(measure, worse)| {
            let row = policy.row(*measure)?;
            let (mean, bounds) = if self.is_exact() {
                (row.mean_difference.filter(|mean| *mean != 0.0)?, None)
            } else {
                let interval = row.difference.filter(Interval::excludes_zero)?;
                (interval.mean, Some((interval.low, interval.high)))
            };
            Some(Difference {
                measure: *measure,
                mean,
                bounds,
                is_worse: (mean > 0.0) == (*worse == Worse::More),
            })
        });
        judged.collect()
    }

    /// A policy against the first.
    fn against(&self, first: &PolicyResult, other: &PolicyResult) -> String {
        let (seeds, name, base) = (self.seeds, &other.policy, &first.policy);
        match sides(&self.differences(other)) {
            None if is_same(other) => {
                format!("{name} and {base}: every measure is equal in all {seeds} seeds.")
            }
            None => format!("{name} and {base}: no significant difference in {seeds} seeds."),
            Some((main, against)) if against.is_empty() => format!("{name} {main} than {base}."),
            Some((main, against)) => format!("{name} {main} than {base}, but {against}."),
        }
    }

    /// The best and the worst of many policies, and whether they differ significantly.
    fn best_and_worst(&self, is_layer: &dyn Fn(usize) -> bool) -> Option<String> {
        let seeds = self.seeds;
        let mean = |policy: &PolicyResult, measure| policy.row(measure).and_then(|row| row.mean);
        let indexed = self.policies.iter().enumerate();
        let mut by_share: Vec<(usize, f64)> = indexed
            .filter(|(index, _)| !is_layer(*index))
            .filter_map(|(index, policy)| Some((index, mean(policy, Measure::ServedShare)?)))
            .collect();
        by_share.sort_by(|a, b| b.1.total_cmp(&a.1));
        let (&(best, most), &(worst, least)) = (by_share.first()?, by_share.last()?);
        let between = (self.served_difference)(best, worst)?;
        if between.is_zero {
            return Some(format!(
                "Over {seeds} seeds all policies serve the same share of the calls."
            ));
        }
        let equal = |end: usize| {
            let others = by_share.iter().filter(|(index, _)| *index != end);
            let equal = |index| (self.served_difference)(index, end).is_some_and(|one| one.is_zero);
            others.filter(|(index, _)| equal(*index)).count()
        };
        let described = |end: usize, share: f64| {
            let policy = self.policies.get(end)?;
            let others = match equal(end) {
                0 => String::new(),
                1 => " (and one other)".to_owned(),
                others => format!(" (and {others} others)"),
            };
            let attempts = mean(policy, Measure::Amplification)
                .map_or_else(String::new, |mean| format!(" with {mean:.2} attempts per call"));
            Some((
                format!("{}{others}", policy.policy),
                format!("{:.1} %{attempts}", share * 100.0),
            ))
        };
        let ((best, most), (worst, least)) = (described(best, most)?, described(worst, least)?);
        let difference = match between.interval.filter(Interval::excludes_zero) {
            Some(interval) => format!(
                "a difference of {} percentage points",
                figure(between.mean, Some((interval.low, interval.high)), 100.0, 1)
            ),
            None => "the difference is not significant".to_owned(),
        };
        Some(format!(
            "Over {seeds} seeds {best} serves the most calls, {most}; {worst} the fewest, {least}: {difference}."
        ))
    }
}

/// True if every measure equals that of the first policy.
pub(super) fn is_same(policy: &PolicyResult) -> bool {
    let same = |row: &super::Row| {
        let difference = row.difference.map(|difference| (difference.low, difference.high));
        row.mean_difference.is_none_or(|mean| mean == 0.0) && matches!(difference, None | Some((0.0, 0.0)))
    };
    policy.rows.iter().all(same)
}

/// Improvements and regressions as text: first the side with the most important difference, then the other.
pub(super) fn sides(differences: &[Difference]) -> Option<(String, String)> {
    let side = |is_worse: bool| {
        let side = differences.iter().filter(|one| one.is_worse == is_worse);
        let most = if is_worse { usize::MAX } else { MOST };
        join(&side.take(most).map(Difference::text).collect::<Vec<_>>(), "and")
    };
    let first = differences.first()?;
    Some((side(first.is_worse), side(!first.is_worse)))
}

/// `a, b and c`.
pub(super) fn join<T: AsRef<str>>(items: &[T], word: &str) -> String {
    let items: Vec<&str> = items.iter().map(AsRef::as_ref).collect();
    match items.split_last() {
        None => String::new(),
        Some((last, [])) => (*last).to_owned(),
        Some((last, before)) => format!("{} {word} {last}", before.join(", ")),
    }
}

/// The differences of policies in one replay of a recording.
fn exact_differences(first: &PolicyResult, others: &[&PolicyResult]) -> String {
    let difference = |policy: &PolicyResult, measure| policy.row(measure).and_then(|row| row.mean_difference);
    let described: Vec<String> = others
        .iter()
        .filter_map(|other| {
            let points = difference(other, Measure::ServedShare)?;
            let size = figure(points, None, 100.0, 1);
            let served = match points {
                0.0 => "serves the same share of the calls".to_owned(),
                _ if points > 0.0 => format!("serves {size} percentage points more of the calls"),
                _ => format!("serves {size} percentage points fewer of the calls"),
            };
            let attempts = match difference(other, Measure::Attempts)? {
                0.0 => "as many attempts".to_owned(),
                more if more > 0.0 => format!("{more:.0} more attempts"),
                fewer => format!("{:.0} fewer attempts", -fewer),
            };
            Some(format!("{} {served} with {attempts}", other.policy))
        })
        .collect();
    format!("Compared with {}: {}.", first.policy, described.join("; "))
}

impl Difference {
    /// `serves 12.3 (10.1 to 14.4) percentage points more of the calls`.
    fn text(&self) -> String {
        let size = |scale: f64, digits: usize| figure(self.mean, self.bounds, scale, digits);
        let pick = |more: &'static str, less: &'static str| if self.mean > 0.0 { more } else { less };
        let more = pick("more", "fewer");
        match self.measure {
            Measure::ServedShare => {
                format!("serves {} percentage points {more} of the calls", size(100.0, 1))
            }
            Measure::Amplification => format!("sends {} {more} attempts per call", size(1.0, 2)),
            Measure::LatencyP95 => format!("has a p95 {} s {}", size(1.0, 2), pick("longer", "shorter")),
            Measure::TimeToRecover => format!("recovers {} s {}", size(1.0, 2), pick("later", "sooner")),
            Measure::WastedTokens => format!("wastes {} {more} tokens", size(1.0, 0)),
            _ => format!("sends {} {more} ambiguous retries", size(1.0, 1)),
        }
    }
}

/// A size without its sign, and its interval. Digits are added if the size would be shown as 0, and one digit if a
/// bound of the interval would.
pub(super) fn figure(mean: f64, bounds: Option<(f64, f64)>, scale: f64, digits: usize) -> String {
    let size = mean.abs() * scale;
    let ends = bounds.map(|(low, high)| (low.abs() * scale, high.abs() * scale));
    let ends = ends.map(|(a, b)| (a.min(b), a.max(b)));
    let shows = |value: f64, digits: usize| format!("{value:.digits$}").parse() != Ok(0.0);
    let enough = |digits: &usize| {
        let near = ends.is_none_or(|(near, _)| near == 0.0 || shows(near, *digits));
        shows(size, *digits) && near
    };
    let only_size = |digits: &usize| shows(size, *digits);
    let digits = (digits..=digits + 1)
        .find(enough)
        .or_else(|| (digits..=digits + 3).find(only_size))
        .unwrap_or(digits + 3);
    match ends {
        Some((near, far)) => format!("{size:.digits$} ({near:.digits$} to {far:.digits$})"),
        None => format!("{size:.digits$}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_figure_has_enough_digits_to_differ_from_zero() {
        assert_eq!(
            figure(-12.34, Some((-14.44, -10.06)), 1.0, 1),
            "12.3 (10.1 to 14.4)"
        );
        assert_eq!(figure(0.54, Some((0.03, 1.43)), 1.0, 1), "0.54 (0.03 to 1.43)");
        assert_eq!(figure(0.5, Some((0.0001, 1.4)), 1.0, 1), "0.5 (0.0 to 1.4)");
        assert_eq!(figure(0.00002, None, 100.0, 1), "0.002");
    }
}
