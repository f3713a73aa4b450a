//! What a comparison says, in sentences that are true of it: only what the intervals leave no doubt about; of one
//! recording asked again once, which is a fact, what came of it.

use super::regressions::{JUDGED, Worse};
use super::{Column, Interval, Layer};
use crate::drills::scenario::Measure;
use crate::report::statistics::FEWEST;

/// Advantages told of one policy; what is worse is told in any case.
const MOST: usize = 3;
/// More policies than these beside the first: only the best and the worst are told.
const EACH: usize = 2;

/// Numbers to be told.
pub(super) struct Reading<'a> {
    /// The policies, the one the others are compared with first.
    pub columns: &'a [Column],
    /// Which of them are the first one without a layer.
    pub without: &'a [(usize, Layer)],
    /// How many seeds.
    pub seeds: u64,
    /// Whether the world is recorded.
    pub recorded: bool,
    /// The served share of one policy beside that of another, by their places.
    pub apart: &'a dyn Fn(usize, usize) -> Option<Apart>,
}

/// How much more of the calls one policy serves than another.
pub(super) struct Apart {
    /// In the mean.
    pub mean: f64,
    /// How sure that is.
    pub interval: Option<Interval>,
    /// Whether it is nothing, in each seed.
    pub same: bool,
}

/// A difference to the first policy that is beyond doubt.
#[derive(Clone, Copy)]
pub(super) struct Difference {
    pub measure: Measure,
    pub mean: f64,
    /// Its interval; nothing where it is a fact.
    span: Option<(f64, f64)>,
    pub is_worse: bool,
}

impl Reading<'_> {
    /// What the numbers of the policies say about each other.
    pub(super) fn sentences(&self) -> String {
        let Some((first, others)) = self.columns.split_first() else {
            return String::new();
        };
        if !self.is_fact() && self.seeds < FEWEST as u64 {
            let seeds = match self.seeds {
                1 => "One seed shows".to_owned(),
                seeds => format!("{seeds} seeds show"),
            };
            return format!("{seeds} what can happen, not which policy is better: give --seeds 20 or more.");
        }
        let is_layer = |place: usize| self.without.iter().any(|(at, _)| *at == place);
        let plain = (1..).zip(others).filter(|(place, _)| !is_layer(*place));
        let plain: Vec<&Column> = plain.map(|(_, column)| column).collect();
        let mut told = Vec::new();
        if plain.len() > EACH && !self.is_fact() {
            told.extend(self.best_and_worst(&is_layer));
        } else if self.is_fact() && !plain.is_empty() {
            told.push(this_once(first, &plain));
        } else {
            told.extend(plain.iter().map(|column| self.against(first, column)));
        }
        told.extend(self.who_saved());
        if self.is_fact() {
            told.push("That is so of this recording; --seeds 20 draws the upstream anew.".to_owned());
        }
        told.join(" ")
    }

    /// Whether it is one recording, asked again once.
    pub(super) fn is_fact(&self) -> bool {
        self.recorded && self.seeds == 1
    }

    /// What differs from the first policy beyond doubt, the most important first.
    pub(super) fn differences(&self, column: &Column) -> Vec<Difference> {
        let judged = JUDGED.iter().filter_map(|(measure, worse)| {
            let row = column.row(*measure)?;
            let (mean, span) = if self.is_fact() {
                (row.mean_difference.filter(|mean| *mean != 0.0)?, None)
            } else {
                let sure = row.difference.filter(Interval::is_sure)?;
                (sure.mean, Some((sure.low, sure.high)))
            };
            Some(Difference {
                measure: *measure,
                mean,
                span,
                is_worse: (mean > 0.0) == (*worse == Worse::More),
            })
        });
        judged.collect()
    }

    /// One policy against the first.
    fn against(&self, first: &Column, other: &Column) -> String {
        let (seeds, names) = (self.seeds, [&other.policy, &first.policy]);
        let [name, base] = names;
        match both_sides(&self.differences(other)) {
            None if is_same(other) => {
                format!("{name} and {base}: every measure is the same in all {seeds} seeds.")
            }
            None => format!("{name} and {base}: no difference that {seeds} seeds are sure of."),
            Some((told, but)) if but.is_empty() => format!("{name} {told} than {base}."),
            Some((told, but)) => format!("{name} {told} than {base}, but {but}."),
        }
    }

    /// Of many policies the two ends, and whether they are surely apart.
    fn best_and_worst(&self, is_layer: &dyn Fn(usize) -> bool) -> Option<String> {
        let seeds = self.seeds;
        let of = |column: &Column, measure| column.row(measure).and_then(|row| row.mean);
        let places = self.columns.iter().enumerate();
        let mut by_share: Vec<(usize, f64)> = places
            .filter(|(place, _)| !is_layer(*place))
            .filter_map(|(place, column)| Some((place, of(column, Measure::ServedShare)?)))
            .collect();
        by_share.sort_by(|a, b| b.1.total_cmp(&a.1));
        let (&(best, most), &(worst, least)) = (by_share.first()?, by_share.last()?);
        let between = (self.apart)(best, worst)?;
        let same = |end: usize| {
            let same = by_share.iter().filter(|(place, _)| *place != end);
            same.filter(|(place, _)| (self.apart)(*place, end).is_some_and(|apart| apart.same))
                .count()
        };
        if between.same {
            return Some(format!(
                "Over {seeds} seeds all serve the same share of the calls."
            ));
        }
        let told = |end: usize, share: f64| {
            let column = self.columns.get(end)?;
            let others = match same(end) {
                0 => String::new(),
                1 => " (and one other the same)".to_owned(),
                others => format!(" (and {others} others the same)"),
            };
            let attempts = of(column, Measure::Amplification)
                .map_or_else(String::new, |mean| format!(" with {mean:.2} attempts a call"));
            Some((
                format!("{}{others}", column.policy),
                format!("{:.1} %{attempts}", share * 100.0),
            ))
        };
        let ((best, most), (worst, least)) = (told(best, most)?, told(worst, least)?);
        let sure = match between.interval.filter(Interval::is_sure) {
            Some(interval) => format!(
                "{} percent points between them",
                figure(between.mean, Some((interval.low, interval.high)), 100.0, 1)
            ),
            None => format!("{seeds} seeds are not sure of that difference"),
        };
        Some(format!(
            "Over {seeds} seeds {best} serves the most of the calls, {most}; {worst} the fewest, {least}: {sure}."
        ))
    }
}

/// Whether nothing at all differs from the first policy.
pub(super) fn is_same(column: &Column) -> bool {
    let same = |row: &super::Row| {
        let difference = row.difference.map(|difference| (difference.low, difference.high));
        row.mean_difference.is_none_or(|mean| mean == 0.0) && matches!(difference, None | Some((0.0, 0.0)))
    };
    column.rows.iter().all(same)
}

/// What is better and what is worse, in words: that side first which has the most important, and what may be said
/// against it. Nothing where there is neither.
pub(super) fn both_sides(differences: &[Difference]) -> Option<(String, String)> {
    let told = |worse: bool| {
        let side = differences.iter().filter(|one| one.is_worse == worse);
        let most = if worse { usize::MAX } else { MOST };
        listed(&side.take(most).map(Difference::words).collect::<Vec<_>>())
    };
    let first = differences.first()?;
    Some((told(first.is_worse), told(!first.is_worse)))
}

/// `a, b and c`.
pub(super) fn listed<T: AsRef<str>>(items: &[T]) -> String {
    let items: Vec<&str> = items.iter().map(AsRef::as_ref).collect();
    match items.split_last() {
        None => String::new(),
        Some((last, [])) => (*last).to_owned(),
        Some((last, before)) => format!("{} and {last}", before.join(", ")),
    }
}

/// What the policies made of one recording: a fact about it, and no more.
fn this_once(first: &Column, others: &[&Column]) -> String {
    let apart = |column: &Column, measure| column.row(measure).and_then(|row| row.mean_difference);
    let told: Vec<String> = others
        .iter()
        .filter_map(|other| {
            let points = apart(other, Measure::ServedShare)?;
            let size = figure(points, None, 100.0, 1);
            let served = match points {
                0.0 => "serves as many of the calls".to_owned(),
                _ if points > 0.0 => format!("serves {size} percent points more of the calls"),
                _ => format!("serves {size} percent points fewer of the calls"),
            };
            let sent = apart(other, Measure::Attempts)?;
            let sent = match sent {
                0.0 => "as many attempts".to_owned(),
                _ if sent > 0.0 => format!("{sent:.0} attempts more"),
                _ => format!("{:.0} attempts fewer", -sent),
            };
            Some(format!("{} {served} with {sent}", other.policy))
        })
        .collect();
    format!("Of these calls, against {}: {}.", first.policy, told.join("; "))
}

impl Difference {
    /// `serves 12.3 (10.1 to 14.4) percent points more of the calls`.
    pub(super) fn words(&self) -> String {
        let size = |scale: f64, digits: usize| figure(self.mean, self.span, scale, digits);
        let pick = |yes: &'static str, no: &'static str| if self.mean > 0.0 { yes } else { no };
        match self.measure {
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
            Measure::WastedTokens => {
                format!("wastes {} {} tokens", size(1.0, 0), pick("more", "fewer"))
            }
            _ => format!(
                "sends {} {} retries that may be billed twice",
                size(1.0, 1),
                pick("more", "fewer")
            ),
        }
    }
}

/// A size without its sign, and its interval; with more digits where so few would show nothing, and with one more where
/// they would show an end of it as nothing.
pub(super) fn figure(mean: f64, span: Option<(f64, f64)>, scale: f64, digits: usize) -> String {
    let size = mean.abs() * scale;
    let ends = span.map(|(low, high)| (low.abs() * scale, high.abs() * scale));
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
    fn a_figure_has_as_many_digits_as_it_takes_to_show_something() {
        assert_eq!(
            figure(-12.34, Some((-14.44, -10.06)), 1.0, 1),
            "12.3 (10.1 to 14.4)"
        );
        assert_eq!(figure(0.54, Some((0.03, 1.43)), 1.0, 1), "0.54 (0.03 to 1.43)");
        assert_eq!(figure(0.5, Some((0.0001, 1.4)), 1.0, 1), "0.5 (0.0 to 1.4)");
        assert_eq!(figure(0.00002, None, 100.0, 1), "0.002");
    }
}
