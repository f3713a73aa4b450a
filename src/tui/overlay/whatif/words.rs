//! What the judgement comes to, in a sentence, and how it was made.

use std::time::Duration;

use crate::event::{Fate, PolicyFigures, WhatIfResult, WhatIfUpstream};
use crate::state::State;
use crate::text::units;
use crate::time::Timestamp;
use crate::tui::theme::Role;

use super::draft::Shadow;

/// A change of p95 that is worth a word: a twentieth.
const NOTABLE: f64 = 0.05;

/// A part of the calls that ended otherwise when played again, beyond which that is told.
const DOUBTFUL: f64 = 0.02;

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

    /// As many of its pieces as `wrap` gets into so many rows; nothing where the first is too long already.
    pub(super) fn within(&self, wrap: impl Fn(&str) -> Vec<String>, rows: usize) -> Option<Vec<String>> {
        let most_first = (1..=self.pieces.len()).rev();
        most_first
            .map(|pieces| wrap(&self.pieces.get(..pieces).unwrap_or_default().concat()))
            .find(|texts| texts.len() <= rows)
    }

    /// All of it.
    pub(super) fn text(&self) -> String {
        self.pieces.concat()
    }
}

/// The judgement to show, and whether it is about the copy as it is now.
pub(super) fn heard<'a>(state: &'a State, shadow: &Shadow) -> (Option<&'a WhatIfResult>, bool) {
    let latest = state.whatif.latest.as_ref();
    let result = latest.map(|(_, result)| &**result);
    let result = result.filter(|result| result.edited.calls > 0);
    (result, result.is_some_and(|it| it.edit == shadow.edit))
}

/// The sentence that says it all.
pub(super) fn sentence(state: &State, shadow: &Shadow, changes: usize, paused: bool) -> Sentence {
    if let Some(error) = &shadow.error {
        let error = error.replace(char::is_control, " ");
        return Sentence::plain(Role::Bad, format!("this copy cannot hold: {error}"));
    }
    match heard(state, shadow) {
        (Some(result), true) if changes > 0 => compared(result),
        (Some(result), true) => repeated(result),
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
fn compared(result: &WhatIfResult) -> Sentence {
    let (running, copy) = (&result.running, &result.edited);
    let calls = copy.calls;
    if result.changed == 0 && copy == running {
        return Sentence::plain(
            Role::Text,
            format!("no difference so far in {}", count(calls, "call")),
        );
    }
    let (served, before) = (copy.served(), running.served());
    let role = match served.cmp(&before) {
        // better than what never was
        _ if is_doubtful(result) => Role::Text,
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
fn turned_away(running: &PolicyFigures, copy: &PolicyFigures) -> Option<String> {
    let words = [
        (Fate::CircuitOpen, "refused"),
        (Fate::RateLimited, "rejected"),
        (Fate::Failed, "failed"),
    ];
    words.into_iter().find_map(|(fate, word)| {
        let (this, that) = (copy.ended_as(fate), running.ended_as(fate));
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
fn repeated(result: &WhatIfResult) -> Sentence {
    let (seen, running) = (&result.observed, &result.running);
    let calls = count(running.calls, "call");
    let same = seen.served() == running.served();
    let mut pieces = vec![
        format!(
            "no change in the copy: what runs serves {} of {calls}",
            running.served()
        ),
        match (same, seen.running()) {
            (true, 0) => ", as it really did".to_owned(),
            (_, 0) => format!(", really {} were", seen.served()),
            _ => format!(", really {} so far", seen.served()),
        },
    ];
    if seen.running() > 0 {
        pieces.push(format!(", {} still run", seen.running()));
    }
    if !same && result.mixed {
        pieces.push(", in part under other settings".to_owned());
    }
    Sentence {
        pieces,
        role: Role::Text,
    }
}

/// How it was judged, from the longest wording to the shortest.
pub(super) fn notes(result: &WhatIfResult) -> Vec<String> {
    let calls = result.edited.calls;
    // a session that is known from its first call on needs no warming up
    let (which, few) = match (calls, result.warm_up) {
        (1, 0) => ("the only call".to_owned(), "the only call".to_owned()),
        (1, _) => ("the last call".to_owned(), "the last call".to_owned()),
        (_, 0) => (format!("all {calls} calls"), format!("all {calls}")),
        _ => (format!("the last {calls} calls"), format!("the last {calls}")),
    };
    let (since, until) = (clock(result.since), clock(result.until));
    let times = if since == until {
        format!("at {since}")
    } else {
        format!("{since} to {until}")
    };
    let (before, short) = match result.upstream {
        WhatIfUpstream::Simulator => (
            "before the simulator with the same draws".to_owned(),
            "by the simulator, same draws".to_owned(),
        ),
        WhatIfUpstream::Observed { attempts } => {
            let seen = count(attempts, "attempt");
            (
                format!("before what was seen of the upstream in {seen}: an estimate"),
                format!("as {seen} were: an estimate"),
            )
        }
    };
    let warm = match result.warm_up {
        0 => String::new(),
        calls => format!("; {} before them to warm up", count(calls, "call")),
    };
    let mut all = Vec::new();
    let mut open = String::new();
    if let Some(doubt) = doubt(result) {
        let why = reason(result);
        return vec![
            format!("{which}, made {times}, played again under both, {before}{warm}; {doubt}{why}"),
            format!("{few}, {times}, played again {short}; {doubt}{why}"),
            format!("{few}, played again; {doubt}{why}"),
            format!("{which}, made {times}, played again under both, {before}{warm}; {doubt}"),
            format!("{few}, {times}, played again {short}{warm}; {doubt}"),
            format!("{few}, {times}, played again {short}; {doubt}"),
            format!("{few}, played again; {doubt}"),
            format!("played again; {doubt}"),
        ];
    }
    if result.observed.running() > 0 {
        open = format!("; {} still run, played to their end", result.observed.running());
        all.push(format!(
            "{few}, played again {short}; {} still run",
            result.observed.running()
        ));
    }
    all.extend([
        format!("{few}, {times}, played again {short}"),
        format!("{which} played again, {before}"),
        format!("{which} again, {short}"),
    ]);
    let long = [
        format!("{which}, made {times}, played again under both, {before}{warm}{open}"),
        format!("{which}, made {times}, played again, {before}{warm}{open}"),
        format!("{few}, {times}, played again {short}{warm}{open}"),
        format!("{few}, played again {short}{warm}{open}"),
    ];
    [long.to_vec(), all].concat()
}

/// What can be said against the figures: played again, what runs did not do as it did. A call that still runs may yet
/// be served.
fn doubt(result: &WhatIfResult) -> Option<String> {
    let (seen, running) = (&result.observed, &result.running);
    let (served, really) = (running.served(), seen.served());
    let most = really.saturating_add(seen.running());
    let by = really.saturating_sub(served).max(served.saturating_sub(most));
    let notable = by as f64 > DOUBTFUL * running.calls as f64;
    let so_far = if seen.running() > 0 { " so far" } else { "" };
    notable.then(|| format!("not as it was: what runs serves {served}, really {really}{so_far}"))
}

/// Whether the figures are to be doubted, so that the note on them must be seen.
pub(super) fn is_doubtful(result: &WhatIfResult) -> bool {
    doubt(result).is_some()
}

/// Where the doubt comes from, as far as it is known.
fn reason(result: &WhatIfResult) -> &'static str {
    match (result.mixed, result.warm_up) {
        (true, _) => " (some under other settings)",
        (false, 1..) => " (the calls before are not kept)",
        (false, 0) => "",
    }
}

fn clock(at: Timestamp) -> String {
    units::clock(at.since(Timestamp::ZERO), false)
}

fn count(number: u64, word: &str) -> String {
    format!("{number} {word}{}", if number == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::PolicyFigures;

    fn served(of: u64, calls: u64) -> PolicyFigures {
        PolicyFigures {
            calls,
            fates: [(Fate::Answered, of), (Fate::Failed, calls - of)].into(),
            ..PolicyFigures::default()
        }
    }

    #[test]
    fn what_is_better_than_a_doubtful_figure_is_not_called_good() {
        let result = |really| WhatIfResult {
            edit: 1,
            changes: Vec::new(),
            since: Timestamp::ZERO,
            until: Timestamp::ZERO,
            warm_up: 500,
            upstream: WhatIfUpstream::Simulator,
            mixed: false,
            observed: served(really, 1500),
            running: served(941, 1500),
            edited: served(1137, 1500),
            changed: 196,
            examples: Vec::new(),
        };
        assert_eq!(compared(&result(1464)).role, Role::Text);
        assert_eq!(compared(&result(950)).role, Role::Ok);
    }
}
