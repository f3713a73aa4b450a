//! The result of a what-if in a sentence, and the note on its method.

use std::time::Duration;

use crate::event::{Fate, PolicyFigures, WhatIfResult, WhatIfUpstream};
use crate::state::State;
use crate::text::{SafeText, units};
use crate::time::Timestamp;
use crate::tui::theme::Role;

use super::draft::Draft;

/// The smallest relative change of p95 that is mentioned.
const NOTABLE: f64 = 0.05;

/// The share of calls that end differently when replayed, above which the figures are doubtful.
const DOUBTFUL: f64 = 0.02;

/// The sentence on top: pieces that are left out from the end where there is no room.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Sentence {
    /// The pieces, each with the comma before it.
    pub(super) pieces: Vec<String>,
    pub(super) role: Role,
}

impl Sentence {
    fn plain(role: Role, text: impl Into<String>) -> Self {
        Self {
            pieces: vec![text.into()],
            role,
        }
    }

    /// As many pieces as `wrap` fits into `rows` rows; `None` if the first is too long already.
    pub(super) fn within(&self, wrap: impl Fn(&str) -> Vec<String>, rows: usize) -> Option<Vec<String>> {
        let most_first = (1..=self.pieces.len()).rev();
        most_first
            .map(|pieces| wrap(&self.pieces.get(..pieces).unwrap_or_default().concat()))
            .find(|texts| texts.len() <= rows)
    }

    /// All pieces.
    pub(super) fn text(&self) -> String {
        self.pieces.concat()
    }
}

/// The latest result, and true if it belongs to the latest edit.
pub(super) fn latest_result<'a>(state: &'a State, draft: &Draft) -> (Option<&'a WhatIfResult>, bool) {
    let latest = state.whatif.latest.as_ref();
    let result = latest.map(|(_, result)| &**result);
    let result = result.filter(|result| result.edited.calls > 0);
    (result, result.is_some_and(|it| it.edit == draft.edit))
}

/// The result in a sentence.
pub(super) fn sentence(state: &State, draft: &Draft, changes: usize, paused: bool) -> Sentence {
    if let Some(error) = &draft.error {
        let error = error.replace(char::is_control, " ");
        return Sentence::plain(Role::Broken, format!("invalid policy: {error}"));
    }
    match latest_result(state, draft) {
        (Some(result), true) if changes > 0 => compared(result),
        (Some(result), true) => without_edits(result),
        _ if state.calls.totals.started == 0 => Sentence::plain(
            Role::Held,
            "no calls yet: close this view and press b for a burst",
        ),
        _ if paused => Sentence::plain(Role::Held, "the view is paused: close this view, then p resumes"),
        _ if state.whatif.problem.is_some() => {
            let problem = state.whatif.problem.as_ref().map(SafeText::single_line);
            Sentence::plain(Role::Broken, problem.unwrap_or_default())
        }
        (Some(_), false) => Sentence::plain(Role::Held, "evaluating... figures are of the previous edit"),
        (None, _) => Sentence::plain(Role::Held, "evaluating..."),
    }
}

/// The edited policy against the running one, both replayed.
fn compared(result: &WhatIfResult) -> Sentence {
    let (running, edited) = (&result.running, &result.edited);
    let calls = units::count(edited.calls, "call");
    if result.changed == 0 && edited == running {
        return Sentence::plain(Role::Text, format!("no difference so far in {calls}"));
    }
    let (served, before) = (edited.served(), running.served());
    let role = match served.cmp(&before) {
        // no verdict on doubtful figures
        _ if is_doubtful(result) => Role::Text,
        std::cmp::Ordering::Greater => Role::Ok,
        std::cmp::Ordering::Less => Role::Broken,
        std::cmp::Ordering::Equal => Role::Text,
    };
    let first = if served == before {
        format!("would have served the same {served} of {calls}")
    } else {
        format!("would have served {} of {calls}", difference(served, before))
    };
    let rest = [
        changed_fate(running, edited).filter(|_| served == before),
        attempts(running.attempts, edited.attempts),
        latency(running.p95, edited.p95),
    ];
    let mut pieces = vec![first];
    pieces.extend(rest.into_iter().flatten().map(|piece| format!(", {piece}")));
    Sentence { pieces, role }
}

/// `3 more` or `3 fewer`.
fn difference(count: u64, before: u64) -> String {
    let word = if count > before { "more" } else { "fewer" };
    format!("{} {word}", count.abs_diff(before))
}

/// The first other fate with a different count.
fn changed_fate(running: &PolicyFigures, edited: &PolicyFigures) -> Option<String> {
    let fates = [Fate::CircuitOpen, Fate::RateLimited, Fate::Failed];
    fates.into_iter().find_map(|fate| {
        let (count, before) = (edited.ended_as(fate), running.ended_as(fate));
        (count != before).then(|| format!("{} {}", difference(count, before), fate.brief()))
    })
}

fn attempts(running: u64, edited: u64) -> Option<String> {
    let by = running.abs_diff(edited);
    let percent = by as f64 * 100.0 / running.max(1) as f64;
    match by {
        0 => None,
        1 => Some(format!("for {} attempt", difference(edited, running))),
        // a percentage of few attempts would mislead
        _ if running < 10 || percent < 1.0 => Some(format!("for {} attempts", difference(edited, running))),
        _ if edited > running => Some(format!("for {percent:.0}% more attempts")),
        _ => Some(format!("for {percent:.0}% fewer attempts")),
    }
}

fn latency(running: Option<Duration>, edited: Option<Duration>) -> Option<String> {
    let (running, edited) = (running?, edited?);
    let by = running.abs_diff(edited);
    let notable = by.as_secs_f64() >= NOTABLE * running.as_secs_f64().max(0.02);
    let word = if edited > running { "longer" } else { "shorter" };
    notable.then(|| format!("p95 {} {word}", units::precise(by)))
}

/// The running policy replayed against the observed results: the quality of the model.
fn without_edits(result: &WhatIfResult) -> Sentence {
    let (observed, running) = (&result.observed, &result.running);
    let calls = units::count(running.calls, "call");
    let same = observed.served() == running.served();
    let mut pieces = vec![format!(
        "no edits yet; the running policy served {} of {calls}",
        observed.served()
    )];
    if !same {
        pieces.push(format!(", {} when replayed", running.served()));
    }
    if observed.running() > 0 {
        pieces.push(format!(", {} still running", observed.running()));
    }
    if !same && result.mixed {
        pieces.push(", some under other settings".to_owned());
    }
    Sentence {
        pieces,
        role: Role::Text,
    }
}

/// The note on the method, from the longest wording to the shortest.
pub(super) fn notes(result: &WhatIfResult) -> Vec<String> {
    let calls = result.edited.calls;
    // a session known from its first call needs no warm-up
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
    let (upstream, short) = match result.upstream {
        WhatIfUpstream::Simulator => (
            "on the simulator with the same random draws".to_owned(),
            "on the simulator, same draws".to_owned(),
        ),
        WhatIfUpstream::Observed { attempts } => {
            let recorded = units::count(attempts, "attempt");
            (
                format!("on the upstream as recorded in {recorded}: an estimate"),
                format!("from {recorded}: an estimate"),
            )
        }
    };
    let warm = match result.warm_up {
        0 => String::new(),
        calls => format!("; {} before as warm-up", units::count(calls, "call")),
    };
    if let Some(doubt) = doubt(result) {
        let why = reason(result);
        return vec![
            format!("{which}, {times}, replayed under both policies {upstream}{warm}; {doubt}{why}"),
            format!("{few}, {times}, replayed {short}; {doubt}{why}"),
            format!("{few}, replayed; {doubt}{why}"),
            format!("{which}, {times}, replayed under both policies {upstream}{warm}; {doubt}"),
            format!("{few}, {times}, replayed {short}{warm}; {doubt}"),
            format!("{few}, {times}, replayed {short}; {doubt}"),
            format!("{few}, replayed; {doubt}"),
            doubt,
        ];
    }
    let still = result.observed.running();
    let open = match still {
        0 => String::new(),
        _ => format!("; {still} still running, replayed to their end"),
    };
    let mut all = vec![
        format!("{which}, {times}, replayed under both policies {upstream}{warm}{open}"),
        format!("{which}, {times}, replayed {upstream}{warm}{open}"),
        format!("{few}, {times}, replayed {short}{warm}{open}"),
        format!("{few}, replayed {short}{warm}{open}"),
    ];
    if still > 0 {
        all.push(format!("{few}, replayed {short}; {still} still running"));
    }
    all.extend([
        format!("{few}, {times}, replayed {short}"),
        format!("{which} replayed {upstream}"),
        format!("{which} replayed {short}"),
    ]);
    all
}

/// The doubt about the figures: the replay of the running policy deviates from the observed results. Calls still
/// running may be served later.
fn doubt(result: &WhatIfResult) -> Option<String> {
    let (observed, running) = (&result.observed, &result.running);
    let (replayed, least) = (running.served(), observed.served());
    let most = least.saturating_add(observed.running());
    let by = least.saturating_sub(replayed).max(replayed.saturating_sub(most));
    let notable = by as f64 > DOUBTFUL * running.calls as f64;
    let so_far = if observed.running() > 0 { " so far" } else { "" };
    notable.then(|| format!("inexact: {replayed} served when replayed, {least} observed{so_far}"))
}

/// Returns true if the figures are doubtful, so that the note on them must be seen.
pub(super) fn is_doubtful(result: &WhatIfResult) -> bool {
    doubt(result).is_some()
}

/// The cause of the doubt, if known.
fn reason(result: &WhatIfResult) -> &'static str {
    match (result.mixed, result.warm_up) {
        (true, _) => " (some under other settings)",
        (false, 1..) => " (earlier calls were dropped)",
        (false, 0) => "",
    }
}

fn clock(at: Timestamp) -> String {
    units::clock(at.since(Timestamp::ZERO), false)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::PolicyFigures;

    fn served(count: u64, calls: u64) -> PolicyFigures {
        PolicyFigures {
            calls,
            fates: [(Fate::Answered, count), (Fate::Failed, calls - count)].into(),
            ..PolicyFigures::default()
        }
    }

    #[test]
    fn an_improvement_on_doubtful_figures_is_not_marked_good() {
        let result = |observed| WhatIfResult {
            edit: 1,
            changes: Vec::new(),
            since: Timestamp::ZERO,
            until: Timestamp::ZERO,
            warm_up: 500,
            upstream: WhatIfUpstream::Simulator,
            mixed: false,
            observed: served(observed, 1500),
            running: served(941, 1500),
            edited: served(1137, 1500),
            changed: 196,
            examples: Vec::new(),
        };
        assert_eq!(compared(&result(1464)).role, Role::Text);
        assert_eq!(compared(&result(950)).role, Role::Ok);
    }
}
