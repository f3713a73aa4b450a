//! The report of a run, as text and as JSON.

use std::collections::BTreeMap;
use std::fmt::{self, Write as _};
use std::time::Duration;

use serde::Serialize;

use super::measure::{CallFilter, Measure};
use super::run::Outcome;
use super::script::Expectation;
use super::tally::Hits;
use super::{Scene, Tally};
use crate::event::Fate;
use crate::text::units::{self, number};
use crate::time::Timestamp;

/// Version of the JSON form; `assets/report.schema.json` describes it.
const REPORT_VERSION: u32 = 3;

/// The report of a run. `Display` is the text form, serde the JSON form.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// Version of the JSON form.
    pub report: u32,
    /// Name of the scenario.
    pub scenario: String,
    /// Description of the scenario.
    pub about: String,
    /// The seed.
    pub seed: u64,
    /// Name of the policy.
    pub policy: String,
    /// True if the run was in virtual time.
    #[serde(rename = "virtual")]
    pub is_virtual: bool,
    /// Time of the last event, in seconds since the start.
    pub seconds: f64,
    /// Number of events.
    pub events: u64,
    /// Calls by fate; the sum is the measure `calls`.
    pub fates: BTreeMap<Fate, u64>,
    /// Every measure by name; null if undefined.
    pub measures: BTreeMap<&'static str, Option<f64>>,
    /// Failed attempts by label.
    pub causes: BTreeMap<String, u64>,
    /// Answers without an upstream call of their own, by source.
    pub hits: Hits,
    /// Misses of the exact cache. A call that joined a flight is no miss.
    pub missed: u64,
    /// Misses that differ from a stored request in one field other than the question, by that field.
    pub near_misses: BTreeMap<String, u64>,
    /// The expectations with their results.
    pub expectations: Vec<ExpectationResult>,
    /// The first violation of an invariant.
    pub violation: Option<String>,
    /// Resources that were not released.
    pub leftovers: Vec<String>,
    /// True if all expectations and invariants hold and every resource was released.
    pub met: bool,
}

/// An expectation and its result.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ExpectationResult {
    /// The measure.
    pub measure: Measure,
    /// The lower bound, inclusive.
    pub at_least: Option<f64>,
    /// The upper bound, inclusive.
    pub at_most: Option<f64>,
    /// Counts only calls that began at this time or later, in seconds.
    pub from: Option<f64>,
    /// Counts only calls that began before this time, in seconds.
    pub until: Option<f64>,
    /// Counts only calls of this user.
    pub user: Option<String>,
    /// Counts only calls of these users; empty: of all users.
    pub users: Vec<String>,
    /// The value; absent if undefined.
    pub value: Option<f64>,
    /// True if the value is defined and within the bounds.
    pub met: bool,
}

/// True if a value is defined and within the bounds.
pub(in crate::drills) fn is_within(value: Option<f64>, at_least: Option<f64>, at_most: Option<f64>) -> bool {
    value.is_some_and(|value| {
        at_least.is_none_or(|least| value >= least) && at_most.is_none_or(|most| value <= most)
    })
}

impl ExpectationResult {
    fn new(expectation: &Expectation, tally: &Tally) -> Self {
        let Expectation {
            measure,
            at_least,
            at_most,
            from,
            until,
            user,
            users,
        } = expectation.clone();
        let filter = CallFilter {
            from: from.map(|from| Timestamp::ZERO + from),
            until: until.map(|until| Timestamp::ZERO + until),
            user: user.clone(),
            users: users.clone(),
        };
        let value = measure.filtered(tally, &filter);
        Self {
            measure,
            at_least,
            at_most,
            from: from.map(|from| from.as_secs_f64()),
            until: until.map(|until| until.as_secs_f64()),
            user,
            users,
            value,
            met: is_within(value, at_least, at_most),
        }
    }

    /// The expectation without its value: the same text in every run.
    pub fn expected(&self) -> String {
        let parts: Vec<String> = [self.measure.name().to_owned()]
            .into_iter()
            .chain(self.bounds())
            .collect();
        parts.join(" ") + &self.filter()
    }

    fn bounds(&self) -> impl Iterator<Item = String> {
        let bounds = [("at least", self.at_least), ("at most", self.at_most)].into_iter();
        bounds.filter_map(|(word, bound)| Some(format!("{word} {}", number(bound?))))
    }

    /// The calls that are counted, as text.
    fn filter(&self) -> String {
        let mut text = String::new();
        for (word, bound) in [("from", self.from), ("until", self.until)] {
            if let Some(bound) = bound {
                let _ = write!(text, " {word} {bound}s");
            }
        }
        match (&self.user, &self.users[..]) {
            (Some(user), _) | (None, [user]) => {
                let _ = write!(text, " for {user}");
            }
            (None, []) => {}
            (None, [first, .., last]) => {
                let _ = write!(text, " for {first} .. {last}");
            }
        }
        text
    }
}

impl fmt::Display for ExpectationResult {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bounds: Vec<String> = self.bounds().collect();
        let (name, bounds, filter) = (self.measure.name(), bounds.join(", "), self.filter());
        match self.value {
            Some(value) => write!(f, "{name} is {}, {bounds}{filter}", number(value)),
            None => write!(f, "{name}: no value, {bounds}{filter}"),
        }
    }
}

impl Report {
    /// The report of a scene.
    pub fn new(scene: &Scene, outcome: &Outcome, is_virtual: bool) -> Self {
        let tally = &outcome.tally;
        let expectations: Vec<ExpectationResult> = scene
            .scenario
            .expectations
            .iter()
            .map(|expectation| ExpectationResult::new(expectation, tally))
            .collect();
        let met = outcome.violation.is_none()
            && outcome.leftovers.is_empty()
            && expectations.iter().all(|result| result.met);
        Self {
            report: REPORT_VERSION,
            scenario: scene.scenario.name.clone(),
            about: scene.scenario.about.clone(),
            seed: scene.seed,
            policy: scene.policy.name.clone(),
            is_virtual,
            seconds: tally.last_at.as_secs_f64(),
            events: tally.events,
            fates: Fate::ALL
                .into_iter()
                .map(|fate| (fate, tally.ended(fate)))
                .collect(),
            measures: Measure::ALL
                .iter()
                .map(|measure| (measure.name(), measure.value(tally)))
                .collect(),
            causes: tally.causes.clone(),
            hits: tally.hits,
            missed: tally.missed,
            near_misses: tally.near_misses.clone(),
            expectations,
            violation: outcome.violation.as_ref().map(ToString::to_string),
            leftovers: outcome.leftovers.clone(),
            met,
        }
    }

    fn value(&self, measure: Measure) -> Option<f64> {
        self.measures.get(measure.name()).copied().flatten()
    }

    fn shown(&self, measure: Measure, text: impl FnOnce(f64) -> String) -> String {
        self.value(measure).map_or_else(|| "-".into(), text)
    }

    fn count(&self, measure: Measure) -> String {
        self.shown(measure, number)
    }

    fn seconds(&self, measure: Measure) -> String {
        self.shown(measure, |seconds| format!("{seconds:.2}s"))
    }

    fn percent(&self, measure: Measure) -> String {
        self.shown(measure, |share| format!("{:.1}%", share * 100.0))
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let time = if self.is_virtual { "virtual" } else { "real" };
        writeln!(
            f,
            "seawall run {}   seed {}   policy {}   {} of {time} time",
            self.scenario,
            self.seed,
            self.policy,
            clock_time(self.seconds)
        )?;
        if !self.about.is_empty() {
            writeln!(f, "{}", self.about)?;
        }
        writeln!(f)?;
        self.write_calls(f)?;
        self.write_cache(f)?;
        self.write_guards(f)?;
        self.write_verdict(f)
    }
}

impl Report {
    fn write_calls(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut fates = String::new();
        for (fate, count) in self.fates.iter().filter(|(_, count)| **count > 0) {
            let comma = if fates.is_empty() { "" } else { ", " };
            write!(fates, "{comma}{count} {}", fate.brief())?;
        }
        writeln!(f, "calls     {}: {fates}", self.count(Measure::Calls))?;
        writeln!(
            f,
            "served    {}; {} cached, {} shared, {} after a retry",
            self.percent(Measure::ServedShare),
            self.count(Measure::Hits),
            self.count(Measure::Shared),
            self.count(Measure::RecoveredByRetry)
        )?;
        writeln!(
            f,
            "latency   p50 {}  p95 {}  p99 {} of served calls; first token p95 {}",
            self.seconds(Measure::LatencyP50),
            self.seconds(Measure::LatencyP95),
            self.seconds(Measure::LatencyP99),
            self.seconds(Measure::FirstTokenP95)
        )
    }

    fn write_cache(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Hits {
            exact,
            semantic,
            shared,
            replayed,
        } = self.hits;
        let lookups = exact + self.missed;
        let rate = match lookups {
            0 => "-".to_owned(),
            _ => format!("{:.1}%", (exact + semantic) as f64 * 100.0 / lookups as f64),
        };
        writeln!(
            f,
            "cache     {rate} of {lookups} lookups hit ({exact} exact, {semantic} semantic); {}; \
             {shared} joined a call in flight; {replayed} results replayed",
            units::count(lookups.saturating_sub(exact + semantic), "new prompt")
        )?;
        let top = self.near_misses.iter().max_by_key(|(_, count)| **count);
        match top {
            Some((field, count)) => writeln!(
                f,
                "misses    {}: {count} differ from a stored request only in the {field}",
                self.missed
            ),
            None => Ok(()),
        }
    }

    fn write_guards(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "attempts  {}; per call {} (mean), {} (maximum); {} retries, {} of them ambiguous \
             (may be billed twice)",
            self.count(Measure::Attempts),
            self.shown(Measure::Amplification, |mean| format!("{mean:.2}")),
            self.count(Measure::MaxAttempts),
            self.count(Measure::Retries),
            self.count(Measure::AmbiguousRetries)
        )?;
        if !self.causes.is_empty() {
            let causes = self
                .causes
                .iter()
                .map(|(label, count)| format!("{label} {count}"));
            writeln!(
                f,
                "failures  {}; {} faults injected",
                causes.collect::<Vec<_>>().join(", "),
                self.count(Measure::Faults)
            )?;
        }
        writeln!(
            f,
            "limiter   at most {} in flight and {} waiting; wait p95 {}",
            self.count(Measure::MaxParallel),
            self.count(Measure::MaxWaiting),
            self.seconds(Measure::WaitP95)
        )?;
        self.write_breaker(f)?;
        if let Some(seconds) = self.value(Measure::TimeToRecover) {
            writeln!(
                f,
                "recovery  first answer {seconds:.2}s after the end of the faults"
            )?;
        }
        writeln!(
            f,
            "tokens    {} spent, {} of them wasted, {} saved",
            self.count(Measure::SpentTokens),
            self.count(Measure::WastedTokens),
            self.count(Measure::SavedTokens)
        )
    }

    fn write_breaker(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.value(Measure::BreakerOpened) {
            None | Some(0.0) => return writeln!(f, "breaker   never opened"),
            Some(1.0) => write!(f, "breaker   opened once")?,
            Some(times) => write!(f, "breaker   opened {times} times")?,
        }
        if let Some(seconds) = self.value(Measure::TimeToTrip) {
            write!(f, ", {seconds:.2}s after the start of the faults")?;
        }
        match self.value(Measure::TimeToClose) {
            Some(seconds) => writeln!(f, "; closed {seconds:.2}s after their end"),
            None if self.value(Measure::TimeToTrip).is_some() => writeln!(f, "; not closed again"),
            None => writeln!(f),
        }
    }

    fn write_verdict(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.violation {
            None => writeln!(f, "checks    all invariants hold over {} events\n", self.events)?,
            Some(violation) => writeln!(f, "checks    INVARIANT VIOLATED: {violation}\n")?,
        }
        for leftover in &self.leftovers {
            writeln!(f, "not met   at the end: {leftover}")?;
        }
        for result in &self.expectations {
            let word = if result.met { "met    " } else { "not met" };
            writeln!(f, "{word}   {result}")?;
        }
        writeln!(f, "{}", if self.met { "passed" } else { "FAILED" })
    }
}

pub(super) fn clock_time(seconds: f64) -> String {
    units::setting(Duration::from_secs(seconds.max(0.0).round() as u64))
}
