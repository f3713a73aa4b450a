//! The comparison as JUnit XML: a suite for each policy but the first, a case for each measure that is judged
//! ([`super::regressions`]). A case fails where the policy is surely worse than the first one.

use std::io;

use super::regressions::{JUDGED, Worse};
use super::table::{cell, difference, label};
use super::{Column, Comparison};
use crate::drills::scenario::Measure;
use crate::report::junit::{self, Case, Suite, Verdict};
use crate::report::statistics::FEWEST;

impl Comparison {
    /// The comparison as JUnit XML.
    pub fn junit(&self) -> io::Result<String> {
        let Some((first, others)) = self.policies.split_first() else {
            return junit::document(&[]);
        };
        let suites: Vec<Suite> = others.iter().map(|other| self.suite(first, other)).collect();
        junit::document(&suites)
    }

    /// Whether a policy is surely worse than the first in anything that is judged: whether a case of
    /// [`Self::junit`] failed.
    pub fn is_any_worse(&self) -> bool {
        self.policies.iter().skip(1).any(Column::is_worse)
    }

    fn suite(&self, first: &Column, other: &Column) -> Suite {
        let case = |(measure, worse): &(Measure, Worse)| Case {
            name: format!("{} no worse", name(*measure)),
            verdict: self.verdict(first, other, *measure, *worse),
        };
        Suite {
            name: format!("{}: {} against {}", self.scenario, other.policy, first.policy),
            seconds: None,
            properties: vec![
                ("scenario", self.scenario.clone()),
                ("policy", other.policy.clone()),
                ("against", first.policy.clone()),
                ("seeds", format!("{} to {}", self.first_seed, self.last_seed())),
            ],
            cases: JUDGED.iter().map(case).collect(),
        }
    }

    fn verdict(&self, first: &Column, other: &Column, measure: Measure, worse: Worse) -> Verdict {
        let (there, here) = (first.row(measure), other.row(measure));
        let Some(interval) = here.and_then(|row| row.difference) else {
            let runs = |row: Option<&super::Row>| row.map_or(0, |row| row.runs);
            return Verdict::Skipped(if self.seeds < FEWEST as u64 {
                format!("fewer than {FEWEST} seeds prove nothing: give --seeds 20 or more")
            } else {
                format!(
                    "fewer than {FEWEST} seeds gave a value under both policies ({} runs of {}, {} of {}): nothing to judge",
                    runs(here),
                    other.policy,
                    runs(there),
                    first.policy
                )
            });
        };
        let figures = format!(
            "{}: {} against {} of {}, difference {}; means of {} seeds, 95 % interval",
            name(measure),
            cell(measure, here, self.seeds),
            cell(measure, there, self.seeds),
            first.policy,
            difference(measure, here).trim_end_matches(" ?"),
            self.seeds,
        );
        if worse.is_sure(&interval) {
            let more = if worse == Worse::More { "more" } else { "less" };
            let why =
                format!("{more} of it is worse, and the interval of the paired difference leaves no doubt");
            Verdict::Failed(vec![figures, why])
        } else {
            Verdict::Passed(Some(figures))
        }
    }
}

fn name(measure: Measure) -> &'static str {
    match measure {
        // who gives up on the slow ones has a short one
        Measure::LatencyP95 => "p95 of served calls",
        other => label(other).trim(),
    }
}
