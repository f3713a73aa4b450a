//! What the judgement comes to, in a sentence, and how it was made.

use std::time::Duration;

use crate::event::{Fate, Judged, Judgement, ShadowUpstream};
use crate::state::State;
use crate::time::Timestamp;
use crate::tui::pane::units;
use crate::tui::theme::Role;

use super::draft::Shadow;

/// A change of p95 that is worth a word: a twentieth.
const NOTABLE: f64 = 0.05;

/// The sentence on top: pieces that are left out from the end where there is no room.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Sentence {
    /// The pieces, each with the comma before it.
    pub(super) pieces: Vec<String>,
    /// What it means.
    pub(super) role: Role,
}

impl Sentence {
    fn plain(role: Role, text: impl Into<String>) -> Self {
        Self {
            pieces: vec![text.into()],
            role,
        }
    }

    /// All of it.
    pub(super) fn text(&self) -> String {
        self.pieces.concat()
    }
}

/// The judgement to show, and whether it is about the copy as it is now.
pub(super) fn heard<'a>(state: &'a State, shadow: &Shadow) -> (Option<&'a Judgement>, bool) {
    let latest = state.shadow.latest.as_ref();
    let judgement = latest.map(|(_, judgement)| &**judgement);
    let judgement = judgement.filter(|judgement| judgement.copy.calls > 0);
    (judgement, judgement.is_some_and(|it| it.edit == shadow.edit))
}

/// The sentence that says it all.
pub(super) fn sentence(state: &State, shadow: &Shadow, changes: usize, paused: bool) -> Sentence {
    if let Some(error) = &shadow.error {
        let error = error.replace(char::is_control, " ");
        return Sentence::plain(Role::Bad, format!("this copy cannot hold: {error}"));
    }
    match heard(state, shadow) {
        (Some(judgement), true) if changes > 0 => compared(judgement),
        (Some(judgement), true) => repeated(judgement),
        _ if state.calls.totals.started == 0 => Sentence::plain(
            Role::Wait,
            "no calls yet: close, press b for a burst, and come back",
        ),
        _ if paused => Sentence::plain(Role::Wait, "the view is paused: close, and p goes on"),
        (Some(_), false) => Sentence::plain(Role::Wait, "judging... the figures are those of before"),
        (None, _) => Sentence::plain(Role::Wait, "judging..."),
    }
}

/// The copy against what runs, both played again.
fn compared(judgement: &Judgement) -> Sentence {
    let (running, copy) = (&judgement.running, &judgement.copy);
    let calls = copy.calls;
    if judgement.otherwise == 0 && copy == running {
        return Sentence::plain(
            Role::Text,
            format!("no difference so far in {}", count(calls, "call")),
        );
    }
    let (served, before) = (copy.served(), running.served());
    let role = match served.cmp(&before) {
        std::cmp::Ordering::Greater => Role::Ok,
        std::cmp::Ordering::Less => Role::Bad,
        std::cmp::Ordering::Equal => Role::Text,
    };
    let first = if served == before {
        format!("would have served as many of {}: {served}", count(calls, "call"))
    } else {
        let word = if served > before { "more" } else { "fewer" };
        let by = served.abs_diff(before);
        format!("would have served {by} {word} of {}", count(calls, "call"))
    };
    let turned = turned_away(running, copy).filter(|_| served == before);
    let rest = [
        turned,
        attempts(running.attempts, copy.attempts),
        slower(running.p95, copy.p95),
    ];
    let mut pieces = vec![first];
    pieces.extend(rest.into_iter().flatten().map(|piece| format!(", {piece}")));
    Sentence { pieces, role }
}

/// Who turned calls away, where as many were served.
fn turned_away(running: &Judged, copy: &Judged) -> Option<String> {
    let words = [
        (Fate::Refused, "refused"),
        (Fate::Rejected, "rejected"),
        (Fate::Failed, "failed"),
    ];
    words.into_iter().find_map(|(fate, word)| {
        let (this, that) = (copy.of(fate), running.of(fate));
        let more = if this > that { "more" } else { "fewer" };
        (this != that).then(|| format!("{} {more} {word}", this.abs_diff(that)))
    })
}

fn attempts(running: u64, copy: u64) -> Option<String> {
    let by = running.abs_diff(copy);
    let word = if copy > running { "more" } else { "fewer" };
    let percent = by as f64 * 100.0 / running.max(1) as f64;
    match by {
        0 => None,
        1 => Some(format!("for 1 {word} attempt")),
        // a percentage of a few would pretend
        _ if running < 10 || percent < 1.0 => Some(format!("for {by} {word} attempts")),
        _ => Some(format!("for {percent:.0}% {word} attempts")),
    }
}

fn slower(running: Option<Duration>, copy: Option<Duration>) -> Option<String> {
    let (running, copy) = (running?, copy?);
    let by = running.abs_diff(copy);
    let notable = by.as_secs_f64() >= NOTABLE * running.as_secs_f64().max(0.02);
    let word = if copy > running { "longer" } else { "shorter" };
    notable.then(|| format!("p95 {} {word}", units::precise(by)))
}

/// What runs, played again, against what really was: how far the figures can be trusted.
fn repeated(judgement: &Judgement) -> Sentence {
    let (seen, running) = (judgement.seen.served(), judgement.running.served());
    let calls = count(judgement.running.calls, "call");
    let pieces = vec![
        format!("no change in the copy: what runs serves {running} of {calls}"),
        if seen == running {
            ", as it really did".to_owned()
        } else {
            format!(", really {seen} were")
        },
    ];
    Sentence {
        pieces,
        role: Role::Text,
    }
}

/// How it was judged, from the longest wording to the shortest.
pub(super) fn notes(judgement: &Judgement) -> Vec<String> {
    let calls = judgement.copy.calls;
    let since = clock(judgement.since);
    let until = clock(judgement.until);
    let last = match calls {
        1 => "the last call".to_owned(),
        _ => format!("the last {calls} calls"),
    };
    let (before, short) = match judgement.upstream {
        ShadowUpstream::Simulator => (
            "before the simulator with the same draws".to_owned(),
            "by the simulator, same draws".to_owned(),
        ),
        ShadowUpstream::Seen { attempts } => {
            let seen = count(attempts, "attempt");
            (
                format!("before what was seen of the upstream in {seen}: an estimate"),
                format!("as {seen} were: an estimate"),
            )
        }
    };
    let warm = match judgement.warm_up {
        0 => String::new(),
        calls => format!("; {} before them to warm up", count(calls, "call")),
    };
    vec![
        format!("{last} from {since} to {until} played again under both, {before}{warm}"),
        format!("{last} from {since} to {until} played again, {before}{warm}"),
        format!("the last {calls}, {since} to {until}, played again {short}{warm}"),
        format!("the last {calls}, {since} to {until}, played again {short}"),
        format!("{last} played again, {before}"),
        format!("{last} again, {short}"),
    ]
}

fn clock(at: Timestamp) -> String {
    units::clock(at.since(Timestamp::ZERO), false)
}

fn count(number: u64, word: &str) -> String {
    format!("{number} {word}{}", if number == 1 { "" } else { "s" })
}
