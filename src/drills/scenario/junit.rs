//! The report as JUnit XML: a suite for the scenario, a case for each expectation and one for the invariants.

use std::io;

use super::report::Report;
use crate::report::junit::{self, Case, Suite, Verdict};

impl Report {
    /// Returns the report as JUnit XML.
    ///
    /// # Errors
    /// If the XML cannot be written.
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
        let leftovers = self.leftovers.iter();
        let leftovers = leftovers.map(|leftover| format!("at the end: {leftover}"));
        let mut cases = vec![Case {
            name: "all invariants hold".to_owned(),
            verdict: verdict(self.violation.iter().cloned().chain(leftovers).collect()),
        }];
        cases.extend(self.expectations.iter().map(|result| Case {
            name: result.expected(),
            verdict: verdict((!result.met).then(|| result.to_string()).into_iter().collect()),
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
