//! The one-sentence summary of a story: outcome, attempt and what took time. Derived from the steps
//! alone, so that it matches the steps shown below it.

use std::time::Duration;

use super::step::{Finished, SemanticHitStep, StepKind};
use super::{Story, text};
use crate::event::{AttemptResult, CallId, Constraint, Fate, StopReason};
use crate::settings::FaultKind;
use crate::text::{SafeText, units};

/// Shorter waits are not mentioned.
const NOTABLE: Duration = Duration::from_millis(50);
/// Groups of equal failures that are named one by one.
const NAMED: usize = 4;
/// Characters of a message.
const MESSAGE: usize = 160;

/// Facts collected from the steps.
#[derive(Default)]
struct Facts<'a> {
    /// Attempts seen to be sent.
    sent: u32,
    /// The number of the last attempt seen.
    last: u32,
    /// Failed attempts as text.
    failures: Vec<String>,
    /// The fault injected into the last attempt.
    fault: Option<FaultKind>,
    /// Time in the queue, and what was short last.
    queued: Duration,
    short: Option<Constraint>,
    between: Duration,
    silent: Duration,
    stopped: Option<StopReason>,
    /// Owner of the flight, if another call.
    owner: Option<CallId>,
    inherited: Option<CallId>,
    end: Option<&'a Finished>,
    now: Doing,
}

/// The activity of a running call.
#[derive(Clone, Copy, Default)]
enum Doing {
    #[default]
    Between,
    Queued,
    Sent,
    Streams,
    Waits(u32, Duration),
}

/// The summary.
pub(super) fn of(story: &Story) -> String {
    let facts = gather(story);
    let Some(end) = facts.end else {
        return running(&facts);
    };
    match end.fate {
        Fate::Answered => answered(story, &facts, end),
        Fate::Hit => hit(story, end),
        Fate::Shared => shared(&facts, end),
        Fate::RateLimited => rejected(story, &facts, end),
        Fate::CircuitOpen => refused(story, &facts, end),
        Fate::Failed => failed(&facts, end),
        Fate::Interrupted => interrupted(&facts, end),
        Fate::Cancelled => cancelled(&facts, end),
    }
}

fn gather(story: &Story) -> Facts<'_> {
    let mut facts = Facts::default();
    // when it entered the queue, and when it began to wait for another attempt
    let (mut queued_at, mut waits_from) = (None, None::<(Duration, Duration)>);
    for step in &story.steps {
        if let Some((from, wait)) = waits_from.filter(|_| goes_on(&step.kind)) {
            facts.between += step.offset.saturating_sub(from).min(wait);
            waits_from = None;
        }
        match &step.kind {
            StepKind::FlightJoined { owner, .. } => facts.owner = Some(*owner),
            StepKind::FlightHandedOver { from, .. } => {
                facts.owner = step.flight_owner;
                if step.flight_owner.is_none() {
                    facts.inherited = Some(*from);
                }
            }
            StepKind::Queued(queued) => {
                facts.short = Some(queued.constraint);
                queued_at = Some(step.offset);
                facts.now = Doing::Queued;
            }
            StepKind::Admitted(_) | StepKind::Rejected(_) | StepKind::LeftQueue { .. } => {
                if let Some(from) = queued_at.take() {
                    facts.queued += step.offset.saturating_sub(from);
                }
                facts.now = Doing::Between;
            }
            StepKind::AttemptStarted { attempt } => {
                (facts.sent, facts.last) = (facts.sent + 1, *attempt);
                facts.fault = None;
                facts.now = Doing::Sent;
            }
            StepKind::FaultInjected { fault, .. } => facts.fault = Some(*fault),
            StepKind::AttemptFirstToken { attempt, .. } => {
                facts.last = *attempt;
                facts.now = Doing::Streams;
            }
            StepKind::AttemptStalled { silent, .. } => facts.silent = facts.silent.max(*silent),
            StepKind::AttemptEnded(attempt) => {
                facts.last = attempt.attempt;
                facts.now = Doing::Between;
                if let AttemptResult::Failed { failure } = &attempt.result {
                    let asked = failure
                        .hint
                        .map(|hint| format!("asked to wait {}", units::setting(hint.wait)));
                    let purpose = facts.fault.take().map(|_| "injected".to_owned());
                    let notes: Vec<String> = [purpose, asked].into_iter().flatten().collect();
                    let said = failure.sentence();
                    facts.failures.push(if notes.is_empty() {
                        said
                    } else {
                        format!("{said} ({})", notes.join(", "))
                    });
                }
            }
            StepKind::RetryScheduled(retried) => {
                waits_from = Some((step.offset, retried.wait));
                facts.now = Doing::Waits(retried.next, retried.wait);
            }
            StepKind::RetryStopped(stopped) => facts.stopped = Some(stopped.reason),
            StepKind::Finished(end) => {
                if let Some(from) = queued_at.take() {
                    facts.queued += step.offset.saturating_sub(from);
                }
                facts.end = Some(end.as_ref());
            }
            _ => {}
        }
    }
    facts
}

/// Returns true if the step ends the wait before the next attempt.
fn goes_on(kind: &StepKind) -> bool {
    matches!(
        kind,
        StepKind::Queued(_)
            | StepKind::Admitted(_)
            | StepKind::Rejected(_)
            | StepKind::BreakerAdmitted { .. }
            | StepKind::BreakerRefused(_)
            | StepKind::AttemptStarted { .. }
            | StepKind::RetryStopped(_)
            | StepKind::Finished(_)
    )
}

impl Facts<'_> {
    /// `429 (asked to wait 1s), 500 twice, then a timeout`; empty where nothing failed.
    fn failures(&self) -> String {
        let mut groups: Vec<(&str, usize)> = Vec::new();
        for failure in &self.failures {
            match groups.last_mut() {
                Some((same, times)) if same == failure => *times += 1,
                _ => groups.push((failure, 1)),
            }
        }
        let more: usize = groups.iter().skip(NAMED).map(|(_, times)| times).sum();
        let mut named: Vec<String> = groups
            .iter()
            .take(NAMED)
            .map(|(failure, times)| match times {
                1 => (*failure).to_owned(),
                2 => format!("{failure} twice"),
                times => format!("{failure} {times} times"),
            })
            .collect();
        if more > 0 {
            named.push(format!("{more} more"));
        }
        match named.split_last() {
            Some((last, [])) => last.clone(),
            Some((last, before)) => format!("{}, then {last}", before.join(", ")),
            None => String::new(),
        }
    }

    /// `; 1.2s in the queue because the token bucket was short; 0.9s between attempts`, each where it was so.
    fn costs(&self) -> String {
        let short = self.short.filter(|_| self.queued >= NOTABLE);
        let queued = short.map(|short| {
            format!(
                "; {} queued for {}",
                units::precise(self.queued),
                short.sentence()
            )
        });
        let between =
            (self.between >= NOTABLE).then(|| format!("; {} between attempts", units::precise(self.between)));
        let silent =
            (!self.silent.is_zero()).then(|| format!("; stream silent for {}", units::precise(self.silent)));
        let inherited = self
            .inherited
            .map(|from| format!("; took over the flight of {from}"));
        let slowed = self
            .fault
            .map(|fault| format!("; slowed by an injected {}", fault.label()));
        [queued, between, silent, slowed, inherited]
            .into_iter()
            .flatten()
            .collect()
    }
}

/// `: 429, then a timeout`, or nothing.
fn because(text: &str) -> String {
    if text.is_empty() {
        String::new()
    } else {
        format!(": {text}")
    }
}

fn message(end: &Finished) -> Option<String> {
    let failure = end.failure.as_ref()?;
    Some(SafeText::excerpt(&failure.message.single_line(), MESSAGE).to_string())
}

fn answered(story: &Story, facts: &Facts<'_>, end: &Finished) -> String {
    let took = units::precise(end.took);
    let on = match facts.last {
        0 => String::new(),
        last => format!(" on attempt {last}"),
    };
    let shadow = story.steps.iter().find_map(|step| match &step.kind {
        StepKind::SemanticShadowed(hit) => Some(format!(
            "; shadow: the semantic cache would have served {} (similarity {:.2})",
            hit.nearest.source, hit.nearest.similarity
        )),
        _ => None,
    });
    format!(
        "Answered in {took}{on}{}{}{}.",
        because(&facts.failures()),
        facts.costs(),
        shadow.unwrap_or_default()
    )
}

fn hit(story: &Story, end: &Finished) -> String {
    let saved = |tokens: u64, time: Option<Duration>| {
        let time = time.map_or_else(String::new, |time| format!(" and {}", units::precise(time)));
        format!("{}{time} saved", units::count(tokens, "token"))
    };
    for step in &story.steps {
        match &step.kind {
            StepKind::CacheHit(served) => {
                return format!(
                    "Served from the cache: the same request was answered {} before, {}, nothing was sent.",
                    units::precise(served.age),
                    saved(served.saved.total(), served.saved_time)
                );
            }
            StepKind::Replayed(served) => {
                return format!(
                    "Served from the ledger: the same idempotency key was answered {} before, {}, nothing was sent.",
                    units::precise(served.age),
                    saved(served.saved.total(), None)
                );
            }
            StepKind::SemanticHit(hit) => {
                return by_semantic_cache(story, hit, &saved(hit.saved.total(), hit.saved_time));
            }
            _ => {}
        }
    }
    format!(
        "Served from a stored answer in {}, nothing was sent.",
        units::precise(end.took)
    )
}

fn by_semantic_cache(story: &Story, hit: &SemanticHitStep, saved: &str) -> String {
    let judged = story.steps.iter().rev().find_map(|step| match &step.kind {
        StepKind::Labelled(judged) if judged.good => Some("; labelled right"),
        StepKind::Labelled(_) => Some("; labelled wrong"),
        _ => None,
    });
    format!(
        "Served by the semantic cache: {}, {saved}, nothing was sent{}.",
        text::likeness(&hit.nearest),
        judged.unwrap_or_default()
    )
}

fn shared(facts: &Facts<'_>, end: &Finished) -> String {
    let took = units::precise(end.took);
    let tokens = end.usage.map_or_else(String::new, |usage| {
        format!(", {} shared", units::count(usage.total(), "token"))
    });
    let failures = match facts.failures().as_str() {
        "" => String::new(),
        failures => format!("; failed attempts: {failures}"),
    };
    match facts.owner {
        Some(owner) => format!(
            "Shared the answer of {owner} (identical request) after {took}{tokens}{failures}{}.",
            facts.costs()
        ),
        None => format!(
            "Shared the answer of an identical call after {took}{tokens}{failures}{}.",
            facts.costs()
        ),
    }
}

fn rejected(story: &Story, facts: &Facts<'_>, end: &Finished) -> String {
    let why = story.steps.iter().rev().find_map(|step| match &step.kind {
        StepKind::Rejected(rejected) => Some(rejected.reason.sentence(rejected.waiting, rejected.predicted)),
        _ => None,
    });
    let why = why.or_else(|| message(end)).unwrap_or_default();
    let when = if end.took < NOTABLE {
        "at once".to_owned()
    } else {
        format!("after {}", units::precise(end.took))
    };
    format!("Limited {when}{}{}.", because(&why), unsent(facts))
}

/// `; nothing was sent`, where nothing was.
fn unsent(facts: &Facts<'_>) -> &'static str {
    if facts.sent == 0 && facts.last == 0 {
        "; nothing was sent"
    } else {
        ""
    }
}

fn refused(story: &Story, facts: &Facts<'_>, end: &Finished) -> String {
    let why = story.steps.iter().rev().find_map(|step| match &step.kind {
        StepKind::BreakerRefused(refused) => {
            let why = refused.opened.map_or_else(
                || "open".to_owned(),
                |opened| {
                    let why = opened.reason.sentence(opened.window);
                    format!("opened {} before ({why})", units::precise(opened.ago))
                },
            );
            Some((why, refused.model.as_ref()))
        }
        _ => None,
    });
    let (why, model) = why.unwrap_or_else(|| (message(end).unwrap_or_default(), None));
    let of = model.map_or_else(String::new, |model| format!(" of {model}"));
    let (why, costs) = (because(&why), facts.costs());
    format!("Refused by the breaker{of}{why}{costs}{}.", unsent(facts))
}

fn failed(facts: &Facts<'_>, end: &Finished) -> String {
    let took = units::precise(end.took);
    let said = message(end).unwrap_or_default();
    // its own failure may say more than the attempts: its deadline, the answer to its key
    let why = match (facts.failures().as_str(), facts.stopped) {
        ("", None) => said,
        ("", Some(stopped)) => format!("{said}; {}", stopped.sentence()),
        (failures, None) => format!("{failures}; {said}"),
        (failures, Some(stopped)) => format!("{failures}; {}", stopped.sentence()),
    };
    let why = because(why.trim_end_matches("; "));
    let costs = facts.costs();
    if let Some(owner) = facts.owner {
        return format!("Failed after {took} with the flight of {owner}{why}{costs}.");
    }
    match facts.last.max(end.attempts) {
        0 if end.took < NOTABLE => format!("Failed at once{why}; nothing was sent."),
        0 => format!("Failed after {took}{why}{costs}; nothing was sent."),
        attempts => format!(
            "Failed after {} in {took}{why}{costs}.",
            units::count(u64::from(attempts), "attempt")
        ),
    }
}

fn interrupted(facts: &Facts<'_>, end: &Finished) -> String {
    let took = units::precise(end.took);
    let on = match facts.last {
        0 | 1 => String::new(),
        last => format!(" on attempt {last}"),
    };
    // the attempts say it in fewer words than the message
    let why = match facts.failures().as_str() {
        "" => message(end).unwrap_or_default(),
        failures => failures.to_owned(),
    };
    format!(
        "Interrupted after {took}{on}{}; not retried: text was already delivered{}.",
        because(&why),
        facts.costs()
    )
}

fn cancelled(facts: &Facts<'_>, end: &Finished) -> String {
    let took = units::precise(end.took);
    let costs = facts.costs();
    let attempts = match facts.sent {
        0 => "nothing was sent".to_owned(),
        _ if facts.owner.is_some() => "the flight belonged to another call".to_owned(),
        sent => format!("{} sent", units::count(u64::from(sent), "attempt")),
    };
    format!("Stopped after {took} by the caller; {attempts}{costs}.")
}

fn running(facts: &Facts<'_>) -> String {
    let failures = match facts.failures().as_str() {
        "" => String::new(),
        failures => format!(", after {failures}"),
    };
    let does = match facts.now {
        // the constraint may have changed since: the line of the present has it
        Doing::Queued => "waiting in the queue".to_owned(),
        Doing::Sent => format!("waiting for the answer to attempt {}", facts.last),
        Doing::Streams => format!("receiving the answer of attempt {}", facts.last),
        Doing::Waits(next, wait) => format!("waiting {} before attempt {}", units::precise(wait), next),
        Doing::Between => "between two steps".to_owned(),
    };
    match facts.owner {
        Some(owner) => format!("Running: shares the flight of {owner} ({does}){failures}."),
        None => format!("Running: {does}{failures}."),
    }
}
