//! The comparison as JUnit XML: a suite for each policy but the first, a case for each judged measure
//! ([`super::regressions`]). A case fails if the policy is significantly worse than the first.

use std::io;

use super::regressions::{JUDGED, Worse};
use super::table::{cell, difference, label};
use super::{Comparison, PolicyResult};
use crate::drills::scenario::Measure;
use crate::report::junit::{self, Case, Suite, Verdict};
use crate::report::statistics::FEWEST;

impl Comparison {
    /// Returns the comparison as JUnit XML.
    ///
    /// # Errors
    /// If the XML cannot be written.
    pub fn junit(&self) -> io::Result<String> {
        let Some((first, others)) = self.policies.split_first() else {
            return junit::document(&[]);
        };
        let suites: Vec<Suite> = others.iter().map(|other| self.suite(first, other)).collect();
        junit::document(&suites)
    }

    /// Returns true if a policy is significantly worse than the first in a judged measure: a case of
    /// [`Self::junit`] fails.
    pub fn is_any_worse(&self) -> bool {
        self.policies.iter().skip(1).any(PolicyResult::is_worse)
    }

    fn suite(&self, first: &PolicyResult, other: &PolicyResult) -> Suite {
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

    fn verdict(&self, first: &PolicyResult, other: &PolicyResult, measure: Measure, worse: Worse) -> Verdict {
        let (there, here) = (first.row(measure), other.row(measure));
        let Some(interval) = here.and_then(|row| row.difference) else {
            let runs = |row: Option<&super::Row>| row.map_or(0, |row| row.runs);
            return Verdict::Skipped(if self.seeds < FEWEST as u64 {
                format!("at least {FEWEST} seeds are needed: use --seeds 20 or more")
            } else {
                format!(
                    "fewer than {FEWEST} seeds have a value under both policies ({} runs of {}, {} of {})",
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
        if worse.is_significant(&interval) {
            let direction = if worse == Worse::More { "higher" } else { "lower" };
            let why = format!("{direction} is worse, and the interval of the paired difference excludes 0");
            Verdict::Failed(vec![figures, why])
        } else {
            Verdict::Passed(Some(figures))
        }
    }
}

fn name(measure: Measure) -> &'static str {
    match measure {
        // a policy that rejects slow calls has a low one
        Measure::LatencyP95 => "p95 of served calls",
        other => label(other).trim(),
    }
}
