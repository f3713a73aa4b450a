//! Each step as text: a label, a sentence and further lines.

use std::fmt;
use std::sync::Arc;

use super::labels;
use super::step::{
    Admitted, Ended, Finished, Refused, Retried, SemanticHitStep, SemanticMissStep, Started, StepKind,
    StoredAnswer,
};
use super::{Step, Story};
use crate::event::{
    AttemptResult, BreakerState, FieldDiff, NearMiss, NearestPrompt, Objection, Origin, Sharing,
};
use crate::openai::Usage;
use crate::text::{SafeText, units};

/// The widest label.
const LABEL: usize = 10;
/// Columns of an offset in plain text.
const OFFSET: usize = 7;
/// Characters of a prompt that is quoted.
const QUOTED: usize = 160;

/// The text of a step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StepText {
    /// The layer, or the attempt: at most ten characters for attempts below 100.
    pub label: String,
    /// The sentence.
    pub text: String,
    /// Further lines.
    pub more: Vec<String>,
}

impl StepText {
    /// Creates the text of a step.
    pub fn new(step: &Step) -> Self {
        let kind = &step.kind;
        let (label, text, more) = match kind {
            StepKind::Started(start) => started(step, start),
            StepKind::Replayed(_)
            | StepKind::CacheHit(_)
            | StepKind::CacheMissed { .. }
            | StepKind::CacheBypassed { .. }
            | StepKind::CacheStored { .. }
            | StepKind::CacheSkipped { .. } => cache(kind),
            StepKind::SemanticHit(_)
            | StepKind::SemanticMissed(_)
            | StepKind::SemanticShadowed(_)
            | StepKind::SemanticCompared { .. }
            | StepKind::SemanticStored { .. }
            | StepKind::Labelled(_) => semantic(kind),
            StepKind::FlightStarted { .. }
            | StepKind::FlightJoined { .. }
            | StepKind::FlightHandedOver { .. } => flight(step),
            StepKind::Queued(_)
            | StepKind::Admitted(_)
            | StepKind::Rejected(_)
            | StepKind::LeftQueue { .. }
            | StepKind::Settled { .. } => limit(kind),
            StepKind::BreakerAdmitted { .. } | StepKind::BreakerRefused(_) => breaker(kind),
            StepKind::AttemptStarted { .. }
            | StepKind::FaultInjected { .. }
            | StepKind::AttemptResponded { .. }
            | StepKind::AttemptFirstToken { .. }
            | StepKind::AttemptStalled { .. }
            | StepKind::AttemptEnded(_) => attempt(kind),
            StepKind::RetryScheduled(retried) => retry(step, retried),
            StepKind::RetryStopped(stopped) => {
                let more = labels::hint(stopped.hint) + &labels::budget(stopped.budget, stopped.budget_max);
                let text = format!("no further attempt: {}{more}", stopped.reason.sentence());
                ("retry".to_owned(), text, Vec::new())
            }
            StepKind::Finished(end) => ("end".to_owned(), finished(end), Vec::new()),
        };
        // the owner, if another call
        let text = match step.flight_owner {
            Some(owner) => format!("[{owner}] {text}"),
            None => text,
        };
        let line = |text: String| SafeText::new(&text).single_line();
        Self {
            label,
            text: line(text),
            more: more.into_iter().map(line).collect(),
        }
    }
}

/// Label, text and further lines.
type Line = (String, String, Vec<String>);

fn line(label: &str, text: impl Into<String>) -> Line {
    (label.to_owned(), text.into(), Vec::new())
}

/// The tokens of an answer.
pub(super) fn tokens(usage: &Usage) -> String {
    let (asked, answered) = (usage.prompt_tokens, usage.completion_tokens);
    format!(
        "{} ({asked} asked, {answered} answered)",
        units::count(usage.total(), "token")
    )
}

/// A prompt in quotes.
pub(super) fn quoted(prompt: &SafeText) -> String {
    format!("\"{}\"", SafeText::excerpt(&prompt.single_line(), QUOTED))
}

fn started(step: &Step, start: &Started) -> Line {
    let Started {
        user,
        origin,
        prompt,
        fingerprint,
        prompt_tokens,
        deadline,
    } = start;
    let origin = match origin {
        Origin::Chat => "in chat".to_owned(),
        Origin::Burst { burst } => format!("in burst {burst}"),
        Origin::Load { load } => format!("in load {load}"),
        Origin::Library => "by the library".to_owned(),
        Origin::Gateway => "through the gateway".to_owned(),
    };
    let text = format!("{user} {origin}: {}", quoted(prompt));
    // enough to distinguish two; the JSON form has all of it
    let prefix: String = fingerprint.chars().take(12).collect();
    let more = format!(
        "fingerprint {prefix}, ~{}, deadline {}",
        units::count(*prompt_tokens, "token"),
        units::setting(step.at.until(*deadline))
    );
    ("asked".to_owned(), text, vec![more])
}

fn cache(kind: &StepKind) -> Line {
    match kind {
        StepKind::Replayed(served) => line(
            "replay",
            format!("the result of this idempotency key, {}", saved(served)),
        ),
        StepKind::CacheHit(served) => line("cache", format!("hit: the same request, {}", saved(served))),
        StepKind::CacheMissed { reason, nearest } => {
            let mut text = format!("miss: {}", reason.sentence());
            let mut more = Vec::new();
            // most misses are just a different question
            let apart = |near: &&Arc<NearMiss>| near.differs.iter().all(FieldDiff::is_another_question);
            if let Some(near) = nearest.as_ref().filter(apart) {
                text = format!("{text}; nearest is {}, another question", near.source);
            } else if let Some(near) = nearest {
                let fields = units::count(u64::from(near.fields), "field");
                text = format!("{text}; nearest is {}, differs in {fields}", near.source);
                more.push(quoted(&near.prompt));
                more.extend(near.differs.iter().map(FieldDiff::sentence));
            }
            ("cache".to_owned(), text, more)
        }
        StepKind::CacheBypassed { reason } => line("cache", format!("bypassed: {}", reason.sentence())),
        StepKind::CacheStored { bytes } => line("cache", format!("answer stored, {bytes} bytes")),
        StepKind::CacheSkipped { reason } => {
            line("cache", format!("answer not stored: {}", reason.sentence()))
        }
        _ => line("cache", ""),
    }
}

/// `6.20s old; saves 412 tokens and 2.40s`.
fn saved(served: &StoredAnswer) -> String {
    let time = served
        .saved_time
        .map_or_else(String::new, |time| format!(" and {}", units::precise(time)));
    format!(
        "{} old; saves {}{time}",
        units::precise(served.age),
        units::count(served.saved.total(), "token")
    )
}

/// `similarity 0.94 to the prompt of #5 (needs 0.90)`.
pub(super) fn likeness(near: &NearestPrompt) -> String {
    format!(
        "similarity {:.2} to the prompt of {} (needs {:.2})",
        near.similarity, near.source, near.threshold
    )
}

fn semantic(kind: &StepKind) -> Line {
    match kind {
        StepKind::SemanticHit(hit) => semantic_hit("hit", hit),
        StepKind::SemanticShadowed(hit) => semantic_hit("shadow, not served", hit),
        StepKind::SemanticMissed(miss) => semantic_miss(miss),
        StepKind::SemanticCompared {
            source,
            agreement,
            same,
        } => {
            let verdict = if *same {
                "the same answer"
            } else {
                "not the same answer"
            };
            line(
                "semantic",
                format!("shadow: {verdict} as {source}, similarity {agreement:.2}"),
            )
        }
        StepKind::SemanticStored { entries } => {
            let prompts = units::count(*entries, "prompt");
            line("semantic", format!("prompt added to the index, {prompts} in it"))
        }
        StepKind::Labelled(judged) => {
            let verdict = if judged.good { "right" } else { "wrong" };
            let removed = if judged.removed {
                ", the stored answer was removed"
            } else {
                ""
            };
            // a right one changes nothing
            let asks = if judged.good {
                format!("still requires {:.2}", judged.threshold)
            } else {
                format!("requires {:.2} from now on", judged.threshold)
            };
            let text = format!("labelled {verdict}: {} {asks}{removed}", judged.source);
            line("label", text)
        }
        _ => line("semantic", ""),
    }
}

fn searched(candidates: u32, lookup: std::time::Duration) -> String {
    let prompts = units::count(u64::from(candidates), "prompt");
    format!("compared with {prompts} in {}", units::computation(lookup))
}

fn semantic_hit(how: &str, hit: &SemanticHitStep) -> Line {
    let old = hit
        .age
        .map_or_else(String::new, |age| format!(", {} old", units::precise(age)));
    let time = hit
        .saved_time
        .map_or_else(String::new, |time| format!(" and {}", units::precise(time)));
    let saves = units::count(hit.saved.total(), "token");
    let text = format!("{how}: {}{old}; saves {saves}{time}", likeness(&hit.nearest));
    let more = vec![quoted(&hit.nearest.prompt), searched(hit.candidates, hit.lookup)];
    ("semantic".to_owned(), text, more)
}

fn semantic_miss(miss: &SemanticMissStep) -> Line {
    let mut text = format!("miss: {}", miss.reason.sentence());
    if let Some(detail) = &miss.detail {
        let detail = SafeText::excerpt(&detail.single_line(), QUOTED);
        text = format!("{text} ({detail})");
    }
    let mut more = Vec::new();
    if let Some(near) = &miss.nearest {
        more.push(format!("{}: {}", likeness(near), quoted(&near.prompt)));
        more.extend(near.objection.as_ref().map(Objection::sentence));
    }
    more.push(searched(miss.candidates, miss.lookup));
    ("semantic".to_owned(), text, more)
}

fn flight(step: &Step) -> Line {
    match &step.kind {
        StepKind::FlightStarted { sharing, .. } => {
            let who = match sharing {
                Sharing::SameRequest => "the same request may join",
                Sharing::SameKey => "the same idempotency key may join",
                Sharing::Off => "no call may join",
            };
            line("flight", format!("new flight: {who}"))
        }
        StepKind::FlightJoined {
            owner, subscribers, ..
        } => line(
            "flight",
            format!("joined the flight of {owner} ({subscribers} subscribers)"),
        ),
        StepKind::FlightHandedOver { from, .. } if step.flight_owner.is_some() => {
            line("flight", format!("took over from {from}"))
        }
        StepKind::FlightHandedOver { from, .. } => {
            line("flight", format!("took over the flight, {from} left"))
        }
        _ => line("flight", ""),
    }
}

fn limit(kind: &StepKind) -> Line {
    match kind {
        StepKind::Queued(queued) => {
            let turn = queued
                .forecast
                .map_or_else(String::new, |wait| format!(", forecast {}", units::precise(wait)));
            let text = format!(
                "waits for {}: position {} of {}{turn}",
                queued.constraint.sentence(),
                queued.position,
                queued.waiting
            );
            let more = queued.levels.iter().map(labels::levels).collect();
            ("queue".to_owned(), text, more)
        }
        StepKind::Admitted(admitted) => line("limiter", admission(admitted)),
        StepKind::Rejected(rejected) => {
            let why = rejected.reason.sentence(rejected.waiting, rejected.predicted);
            let more = rejected.levels.iter().map(labels::levels).collect();
            ("limiter".to_owned(), format!("limited: {why}"), more)
        }
        StepKind::LeftQueue { waiting } => line("queue", format!("left the queue, {waiting} still wait")),
        StepKind::Settled {
            reserved,
            charged,
            refunded,
        } => {
            let text = if *refunded {
                format!("refunded {reserved} tokens and the request: it was never sent")
            } else {
                format!("{charged} of {reserved} reserved tokens charged")
            };
            line("limiter", text)
        }
        _ => line("limiter", ""),
    }
}

fn admission(admitted: &Admitted) -> String {
    let how = if admitted.waited.is_zero() {
        "admitted at once".to_owned()
    } else {
        format!("admitted after {}", units::precise(admitted.waited))
    };
    let own = admitted
        .user
        .as_ref()
        .map_or_else(String::new, labels::own_levels);
    format!(
        "{how} for {} tokens; {} and {} requests left{own}",
        admitted.reserved,
        labels::level(admitted.tokens),
        labels::level(admitted.requests)
    )
}

fn breaker(kind: &StepKind) -> Line {
    match kind {
        StepKind::BreakerAdmitted {
            probe: true, window, ..
        } => line(
            "breaker",
            format!("half-open, admitted as probe; {}", window.sentence()),
        ),
        StepKind::BreakerAdmitted { state, window, .. } => line(
            "breaker",
            format!("{}, admitted: {}", state.brief(), window.sentence()),
        ),
        StepKind::BreakerRefused(refused) => line("breaker", refusal(refused)),
        _ => line("breaker", ""),
    }
}

/// `refused: opened 2.10s ago (11 of 20 calls failed); next probe in 2.90s`.
fn refusal(refused: &Refused) -> String {
    let why = refused.opened.map_or_else(
        || "open".to_owned(),
        |opened| {
            let why = opened.reason.sentence(opened.window);
            format!("opened {} ago ({why})", units::precise(opened.ago))
        },
    );
    let probe = match (refused.probe_in, refused.state) {
        (Some(wait), _) => format!("; next probe in {}", units::precise(wait)),
        (None, BreakerState::HalfOpen) => "; its probes are out".to_owned(),
        (None, BreakerState::Open | BreakerState::Closed) => String::new(),
    };
    let of = refused
        .model
        .as_ref()
        .map_or_else(String::new, |model| format!(" {model}"));
    format!("refused{of}: {why}{probe}")
}

fn attempt(kind: &StepKind) -> Line {
    let (number, text) = match kind {
        StepKind::AttemptStarted { attempt } => (*attempt, "sent".to_owned()),
        StepKind::FaultInjected { attempt, fault } => (*attempt, format!("{} injected", fault.label())),
        StepKind::AttemptResponded { attempt, status } => {
            (*attempt, format!("responded with status {status}"))
        }
        StepKind::AttemptFirstToken { attempt, ttft } => {
            (*attempt, format!("first token after {}", units::precise(*ttft)))
        }
        StepKind::AttemptStalled { attempt, silent } => {
            (*attempt, format!("silent for {}", units::precise(*silent)))
        }
        StepKind::AttemptEnded(end) => (end.attempt, attempt_end(end)),
        _ => (0, String::new()),
    };
    if number == 0 {
        return line("fault", text);
    }
    line(&format!("attempt {number}"), text)
}

fn attempt_end(end: &Ended) -> String {
    let took = units::precise(end.took);
    match &end.result {
        AttemptResult::Succeeded {
            finish,
            usage,
            estimated,
        } => {
            let about = if *estimated { "about " } else { "" };
            format!(
                "complete after {took}: {about}{}; {}",
                tokens(usage),
                finish.sentence()
            )
        }
        AttemptResult::Failed { failure } => {
            // most messages contain it
            let hint = failure.hint.filter(|_| !failure.message.contains("asks to wait"));
            let asked = hint.map_or_else(String::new, |hint| {
                format!("; server asks to wait {}", units::setting(hint.wait))
            });
            let got = match end.chunks {
                0 => String::new(),
                chunks => format!(", {} in", units::count(u64::from(chunks), "chunk")),
            };
            let message = SafeText::excerpt(&failure.message.single_line(), 2 * QUOTED);
            format!("failed after {took}{got}: {message}{asked}")
        }
        AttemptResult::Cancelled => format!("stopped after {took} by the caller"),
    }
}

fn retry(step: &Step, retried: &Retried) -> Line {
    let Retried {
        next,
        wait,
        drawn,
        hint,
        class,
        ambiguous,
        budget,
        budget_max,
    } = retried;
    let billed = if *ambiguous {
        "; the failed attempt may have been billed"
    } else {
        ""
    };
    let text = format!(
        "attempt {next} in {}: {}",
        units::precise(*wait),
        class.sentence()
    );
    let left = step.deadline_left.map_or_else(String::new, |left| {
        format!("; deadline in {}", units::precise(left))
    });
    let more = format!(
        "drew {}{}{}{left}{billed}",
        units::precise(*drawn),
        labels::hint(*hint),
        labels::budget(*budget, *budget_max)
    );
    ("retry".to_owned(), text, vec![more])
}

fn finished(end: &Finished) -> String {
    let took = units::precise(end.took);
    let attempts = match end.attempts {
        0 => String::new(),
        attempts => format!(", {}", units::count(u64::from(attempts), "attempt")),
    };
    // its own usage is in the last attempt
    let tokens = end
        .usage
        .as_ref()
        .filter(|_| end.attempts == 0)
        .map_or_else(String::new, |usage| format!(", {}", tokens(usage)));
    let fate = end.fate.brief();
    format!("{fate} after {took}{attempts}{tokens}")
}

/// See the `Display` of [`Story`].
pub(super) fn write(story: &Story, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    writeln!(f, "{} {}", story.call, story.sentence().single_line())?;
    writeln!(f)?;
    if story.lost > 0 {
        let steps = units::count(u64::from(story.lost), "step");
        writeln!(f, "{:OFFSET$}  {steps} dropped", "")?;
    }
    for step in story.shown_steps() {
        let text = StepText::new(step);
        let offset = units::precise(step.offset);
        writeln!(f, "{offset:>OFFSET$}  {:<LABEL$} {}", text.label, text.text)?;
        for more in &text.more {
            writeln!(f, "{:OFFSET$}  {:LABEL$} {more}", "", "")?;
        }
    }
    Ok(())
}
