//! What a run came to, for people and for machines.

use std::collections::BTreeMap;
use std::fmt::{self, Write as _};
use std::time::Duration;

use serde::Serialize;

use super::measure::{Measure, Part};
use super::run::Outcome;
use super::script::Expectation;
use super::tally::Hits;
use super::{Scene, Tally};
use crate::event::Fate;
use crate::time::Timestamp;

/// Version of the JSON form; `assets/report.schema.json` describes it.
const REPORT_VERSION: u32 = 2;

/// See the module documentation. `Display` is for people, serde for machines.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// Version of this form.
    pub report: u32,
    /// What was played.
    pub scenario: String,
    /// What it teaches.
    pub about: String,
    /// The seed.
    pub seed: u64,
    /// The settings of the guards, by name.
    pub policy: String,
    /// Whether time was virtual.
    #[serde(rename = "virtual")]
    pub is_virtual: bool,
    /// From the beginning to the last event, in seconds.
    pub seconds: f64,
    /// Events.
    pub events: u64,
    /// Calls by fate: they add up to the measure `calls`.
    pub fates: BTreeMap<Fate, u64>,
    /// Every measure by name; null where it never came to be.
    pub measures: BTreeMap<&'static str, Option<f64>>,
    /// Failed attempts by label.
    pub causes: BTreeMap<String, u64>,
    /// Answers that needed no upstream of their own, by what gave them.
    pub hits: Hits,
    /// Times the cache was asked in vain.
    pub missed: u64,
    /// Misses of the cache that differ from a stored request in one field other than the question, by what
    /// differs.
    pub near_misses: BTreeMap<String, u64>,
    /// What was expected, and whether it came so.
    pub expectations: Vec<Judged>,
    /// The promise that was broken, if one was.
    pub violation: Option<String>,
    /// What was not given back.
    pub leftovers: Vec<String>,
    /// Whether everything is as expected.
    pub met: bool,
}

/// An expectation and what came.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Judged {
    /// Of what.
    pub measure: Measure,
    /// Not less.
    pub at_least: Option<f64>,
    /// Not more.
    pub at_most: Option<f64>,
    /// Only calls that began then or later, in seconds.
    pub from: Option<f64>,
    /// Only calls that began before, in seconds.
    pub until: Option<f64>,
    /// Only calls of this user.
    pub user: Option<String>,
    /// Only calls of these users; of all where there are none.
    pub users: Vec<String>,
    /// What it came to.
    pub value: Option<f64>,
    /// Whether that is within the bounds; what never came to be is not.
    pub met: bool,
}

impl Judged {
    fn new(expectation: &Expectation, tally: &Tally) -> Self {
        let Expectation {
            measure,
            at_least,
            at_most,
            from,
            until,
            user,
            users,
        } = expectation;
        let part = Part {
            from: from.map(|from| Timestamp::ZERO + from),
            until: until.map(|until| Timestamp::ZERO + until),
            user: user.clone(),
            users: users.clone(),
        };
        let value = measure.of(tally, &part);
        let met = value.is_some_and(|value| {
            at_least.is_none_or(|least| value >= least) && at_most.is_none_or(|most| value <= most)
        });
        Self {
            measure: *measure,
            at_least: *at_least,
            at_most: *at_most,
            from: from.map(|from| from.as_secs_f64()),
            until: until.map(|until| until.as_secs_f64()),
            user: user.clone(),
            users: users.clone(),
            value,
            met,
        }
    }
}

impl Judged {
    /// What was expected, without what came: the same words in every run.
    pub fn expected(&self) -> String {
        let mut words = self.measure.name().to_owned();
        let bounds = [("at least", self.at_least), ("at most", self.at_most)];
        for (word, bound) in bounds {
            if let Some(bound) = bound {
                let _ = write!(words, " {word} {}", number(bound));
            }
        }
        words + &self.part()
    }

    /// Of which calls.
    fn part(&self) -> String {
        let mut words = String::new();
        for (word, bound) in [("from", self.from), ("until", self.until)] {
            if let Some(bound) = bound {
                let _ = write!(words, " {word} {bound}s");
            }
        }
        match (&self.user, &self.users[..]) {
            (Some(user), _) | (None, [user]) => {
                let _ = write!(words, " for {user}");
            }
            (None, []) => {}
            (None, [first, .., last]) => {
                let _ = write!(words, " for {first} .. {last}");
            }
        }
        words
    }
}

impl fmt::Display for Judged {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} is ", self.measure.name())?;
        match self.value {
            Some(value) => write!(f, "{}", number(value))?,
            None => f.write_str("not to be had")?,
        }
        let bounds = [("at least", self.at_least), ("at most", self.at_most)];
        for (word, bound) in bounds {
            if let Some(bound) = bound {
                write!(f, ", {word} {}", number(bound))?;
            }
        }
        f.write_str(&self.part())
    }
}

impl Report {
    /// What came of a scene.
    pub fn new(scene: &Scene, outcome: &Outcome, is_virtual: bool) -> Self {
        let tally = &outcome.tally;
        let whole = Part::default();
        let expectations: Vec<Judged> = scene
            .scenario
            .expectations
            .iter()
            .map(|expectation| Judged::new(expectation, tally))
            .collect();
        let met = outcome.violation.is_none()
            && outcome.leftovers.is_empty()
            && expectations.iter().all(|judged| judged.met);
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
                .map(|fate| (fate, tally.fated(fate)))
                .collect(),
            measures: Measure::ALL
                .into_iter()
                .map(|measure| (measure.name(), measure.of(tally, &whole)))
                .collect(),
            causes: tally.causes.clone(),
            hits: tally.hits,
            missed: tally.missed,
            near_misses: tally.near.clone(),
            expectations,
            violation: outcome.violation.as_ref().map(ToString::to_string),
            leftovers: outcome.leftovers.clone(),
            met,
        }
    }

    fn of(&self, measure: Measure) -> Option<f64> {
        self.measures.get(measure.name()).copied().flatten()
    }

    fn count(&self, measure: Measure) -> String {
        self.of(measure).map_or_else(|| "-".into(), number)
    }

    fn seconds(&self, measure: Measure) -> String {
        self.of(measure)
            .map_or_else(|| "-".into(), |seconds| format!("{seconds:.2}s"))
    }

    fn percent(&self, measure: Measure) -> String {
        self.of(measure)
            .map_or_else(|| "-".into(), |share| format!("{:.1}%", share * 100.0))
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
    /// What came through, and who saved it.
    fn write_calls(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut fates = String::new();
        for (fate, count) in self.fates.iter().filter(|(_, count)| **count > 0) {
            let comma = if fates.is_empty() { "" } else { ", " };
            write!(fates, "{comma}{count} {}", fate.brief())?;
        }
        writeln!(f, "calls     {}: {fates}", self.count(Measure::Calls))?;
        writeln!(
            f,
            "served    {}; saved by the cache {}, by a shared flight {}, by a retry {}",
            self.percent(Measure::ServedShare),
            self.count(Measure::Hits),
            self.count(Measure::Shared),
            self.count(Measure::SavedByRetry)
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

    /// What the cache did, and what kept it from more.
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
            "cache     {rate} of {lookups} lookups hit: {exact} exact, {semantic} semantic; {shared} calls joined a flight, {replayed} were replayed"
        )?;
        let top = self.near_misses.iter().max_by_key(|(_, count)| **count);
        match top {
            Some((what, count)) => writeln!(
                f,
                "misses    {}: {count} differ from a stored request only in the {what}",
                self.missed
            ),
            None => Ok(()),
        }
    }

    /// What the guards did.
    fn write_guards(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "attempts  {}, {} a call at the mean, {} at most; {} retries, {} may have been billed twice",
            self.count(Measure::Attempts),
            self.of(Measure::Amplification)
                .map_or_else(|| "-".into(), |mean| format!("{mean:.2}")),
            self.count(Measure::MaxAttempts),
            self.count(Measure::Retries),
            self.count(Measure::PossibleDoubles)
        )?;
        if !self.causes.is_empty() {
            let causes = self
                .causes
                .iter()
                .map(|(label, count)| format!("{label} {count}"));
            writeln!(
                f,
                "failures  {}; {} faults made",
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
        if let Some(seconds) = self.of(Measure::Recovery) {
            writeln!(
                f,
                "recovery  the first answer came {seconds:.2}s after the faults ended"
            )?;
        }
        writeln!(
            f,
            "tokens    {} spent, {} of them for nothing, {} saved",
            self.count(Measure::ChargedTokens),
            self.count(Measure::WastedTokens),
            self.count(Measure::SavedTokens)
        )
    }

    /// What the breaker did. What never came to be is not told of with a dash.
    fn write_breaker(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.of(Measure::BreakerOpened) {
            None | Some(0.0) => return writeln!(f, "breaker   never opened"),
            Some(1.0) => write!(f, "breaker   opened once")?,
            Some(times) => write!(f, "breaker   opened {times} times")?,
        }
        if let Some(seconds) = self.of(Measure::TimeToTrip) {
            write!(f, ", {seconds:.2}s after the faults began")?;
        }
        match self.of(Measure::TimeToClose) {
            Some(seconds) => writeln!(f, "; closed {seconds:.2}s after they ended"),
            None if self.of(Measure::TimeToTrip).is_some() => writeln!(f, "; not closed again"),
            None => writeln!(f),
        }
    }

    /// Whether it came as expected.
    fn write_verdict(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.violation {
            None => writeln!(f, "promises  all kept, in {} events\n", self.events)?,
            Some(violation) => writeln!(f, "promises  BROKEN: {violation}\n")?,
        }
        for leftover in &self.leftovers {
            writeln!(f, "not met   at the end {leftover}")?;
        }
        for judged in &self.expectations {
            let word = if judged.met { "met    " } else { "not met" };
            writeln!(f, "{word}   {judged}")?;
        }
        writeln!(f, "{}", if self.met { "passed" } else { "FAILED" })
    }
}

/// Whole numbers as such, others with three digits.
pub(super) fn number(value: f64) -> String {
    if value.fract() == 0.0 {
        format!("{value:.0}")
    } else {
        format!("{value:.3}")
    }
}

pub(super) fn clock_time(seconds: f64) -> String {
    humantime(Duration::from_secs(seconds.max(0.0).round() as u64))
}

/// `1h 2m 3s`, without empty parts.
fn humantime(duration: Duration) -> String {
    let all = duration.as_secs();
    let parts = [(all / 3600, "h"), (all / 60 % 60, "m"), (all % 60, "s")];
    let words: Vec<String> = parts
        .iter()
        .filter(|(count, _)| *count > 0)
        .map(|(count, unit)| format!("{count}{unit}"))
        .collect();
    if words.is_empty() {
        "0s".into()
    } else {
        words.join(" ")
    }
}
