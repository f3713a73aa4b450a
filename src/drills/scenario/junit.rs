//! The report as JUnit XML: a suite for the scenario, a case for each expectation, and one for the promises.

use std::io;

use super::report::Report;
use crate::report::junit::{self, Case, Suite, Verdict};

impl Report {
    /// The report as JUnit XML.
    pub fn junit(&self) -> io::Result<String> {
        let time = if self.is_virtual { "virtual" } else { "real" };
        junit::document(&[Suite {
            name: self.scenario.clone(),
            seconds: Some(self.seconds),
            properties: vec![
                ("seed", self.seed.to_string()),
                ("policy", self.policy.clone()),
                ("time", time.to_owned()),
                ("events", self.events.to_string()),
            ],
            cases: self.cases(),
        }])
    }

    fn cases(&self) -> Vec<Case> {
        let mut promises: Vec<String> = self.violation.iter().cloned().collect();
        promises.extend(
            self.leftovers
                .iter()
                .map(|leftover| format!("at the end {leftover}")),
        );
        let mut cases = vec![Case {
            name: "every promise kept".to_owned(),
            verdict: verdict(promises),
        }];
        cases.extend(self.expectations.iter().map(|judged| Case {
            name: judged.expected(),
            verdict: verdict((!judged.met).then(|| judged.to_string()).into_iter().collect()),
        }));
        cases
    }
}

fn verdict(failures: Vec<String>) -> Verdict {
    if failures.is_empty() {
        Verdict::Passed(None)
    } else {
        Verdict::Failed(failures)
    }
}
