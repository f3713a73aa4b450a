//! The conversation. Only the turns that are visible are wrapped; a place in it is a turn and a row of it,
//! so text that arrives below does not move what is being read.

use std::time::Duration;

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;

use crate::event::{CallId, Failure, Fate, StopReason};
use crate::state::{CacheVerdict, Call, Doing, State};
use crate::tui::theme::{Glyphs, Role};
use crate::tui::ui::ChatAnchor;
use crate::tui::view::View;
use crate::tui::wrap;

use super::{semantic_answer, units};

/// Cells in front of each row: `you  `.
const INDENT: u16 = 5;

/// One row: who speaks, if it is the first of theirs, and what is said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// In front of it.
    pub lead: String,
    /// The text.
    pub text: String,
    /// What it means.
    pub role: Role,
}

impl Row {
    fn new(lead: &str, text: impl Into<String>, role: Role) -> Self {
        Self {
            lead: lead.to_owned(),
            text: text.into(),
            role,
        }
    }
}

/// Draws it.
pub fn render(view: &View<'_>, area: Rect, buf: &mut Buffer) {
    let area = area.intersection(buf.area);
    if area.is_empty() {
        return;
    }
    let (height, width) = (usize::from(area.height), area.width);
    let rows = if view.state.calls.chat.is_empty() {
        welcome(view, width)
    } else {
        visible(view, width, height)
    };
    for (y, row) in (area.y..area.bottom()).zip(rows) {
        let lead = view.theme.style(if row.lead.starts_with("you") {
            Role::Strong
        } else {
            Role::Muted
        });
        buf.set_stringn(area.x, y, &row.lead, usize::from(width.min(INDENT)), lead);
        let x = area.x.saturating_add(INDENT.min(width));
        let room = width.saturating_sub(INDENT);
        buf.set_stringn(x, y, &row.text, usize::from(room), view.theme.style(row.role));
    }
}

/// The first screen: what this is and what to press.
fn welcome(view: &View<'_>, width: u16) -> Vec<Row> {
    let mut rows = Vec::new();
    let mut say = |text: &str, role: Role| {
        for range in wrap::rows(text, usize::from(width.saturating_sub(INDENT))) {
            rows.push(Row::new("", text.get(range).unwrap_or_default(), role));
        }
    };
    if view.ui.playback.is_some() {
        say("No question was asked yet.", Role::Muted);
        say("Calls of bursts stand under Attempts.", Role::Muted);
    } else if view.state.calls.totals.started == 0 {
        say("An LLM call and its guards, live.", Role::Text);
        say(
            "Press i to ask, b for a burst, F for faults, ? for help.",
            Role::Strong,
        );
        say("Try: what does a token bucket do?", Role::Muted);
        say("     and a circuit breaker?", Role::Muted);
        say("     why do retries need jitter?", Role::Muted);
    } else {
        say("No question yet: i asks one.", Role::Muted);
        say("Calls of bursts stand under Attempts.", Role::Muted);
    }
    rows
}

/// The calls of the conversation, oldest first.
fn turns(state: &State) -> impl DoubleEndedIterator<Item = &Call> {
    state
        .calls
        .chat
        .iter()
        .filter_map(|id| state.calls.recent.get(id))
}

/// The rows that are visible.
fn visible(view: &View<'_>, width: u16, height: usize) -> Vec<Row> {
    let last_page = tail(view, width, height);
    let Some(anchor) = view.ui.chat_top else {
        return last_page;
    };
    let mut rows = Vec::new();
    for call in turns(view.state).filter(|call| call.id >= anchor.call) {
        let skip = if call.id == anchor.call { anchor.row } else { 0 };
        rows.extend(turn(view, call, width).into_iter().skip(skip));
        if rows.len() >= height {
            break;
        }
    }
    // An anchor near the end would leave the pane half empty.
    if rows.len() < height { last_page } else { rows }
}

/// The last `height` rows.
fn tail(view: &View<'_>, width: u16, height: usize) -> Vec<Row> {
    let mut pages: Vec<Vec<Row>> = Vec::new();
    let mut have = 0;
    for call in turns(view.state).rev() {
        let rows = turn(view, call, width);
        have += rows.len();
        pages.push(rows);
        if have >= height {
            break;
        }
    }
    let rows: Vec<Row> = pages.into_iter().rev().flatten().collect();
    let skip = rows.len().saturating_sub(height);
    rows.into_iter().skip(skip).collect()
}

/// The anchor after moving by `by` rows, up if negative; nothing where it follows the end.
pub fn moved(view: &View<'_>, width: u16, height: usize, by: i64) -> Option<ChatAnchor> {
    let heights: Vec<(CallId, usize)> = turns(view.state)
        .map(|call| (call.id, turn(view, call, width).len()))
        .collect();
    let total: usize = heights.iter().map(|(_, rows)| rows).sum();
    let last = total.saturating_sub(height);
    let before = |id: CallId| -> usize {
        heights
            .iter()
            .take_while(|(call, _)| *call < id)
            .map(|(_, rows)| rows)
            .sum()
    };
    let top = view
        .ui
        .chat_top
        .map_or(last, |anchor| (before(anchor.call) + anchor.row).min(last));
    let steps = usize::try_from(by.unsigned_abs()).unwrap_or(usize::MAX);
    let target = if by < 0 {
        top.saturating_sub(steps)
    } else {
        top.saturating_add(steps)
    };
    if target >= last {
        return None;
    }
    let mut left = target;
    for (call, rows) in heights {
        if left < rows {
            return Some(ChatAnchor { call, row: left });
        }
        left -= rows;
    }
    None
}

/// The rows of one turn: question, answer, what became of it, a blank row.
fn turn(view: &View<'_>, call: &Call, width: u16) -> Vec<Row> {
    let columns = usize::from(width.saturating_sub(INDENT)).max(1);
    let glyphs = view.theme.glyphs;
    let mut rows = Vec::new();
    let mut say = |lead: &str, text: &str, role: Role| {
        for (index, range) in wrap::rows(text, columns).into_iter().enumerate() {
            let lead = if index == 0 { lead } else { "" };
            rows.push(Row::new(
                lead,
                text.get(range).unwrap_or_default().trim_end(),
                role,
            ));
        }
    };
    say("you", &call.prompt, Role::Text);
    let mut answer = view.state.calls.answer(call).to_owned();
    if call.doing == Doing::Streaming {
        answer.push_str(glyphs.caret);
    }
    if !answer.is_empty() {
        say("llm", &answer, Role::Text);
    }
    let (role, status) = status(view, call);
    let first = if answer.is_empty() { "llm" } else { "" };
    say(first, &status, role);
    rows.push(Row::new("", "", Role::Text));
    rows
}

/// The line under an answer, and what it means.
fn status(view: &View<'_>, call: &Call) -> (Role, String) {
    let glyphs = view.theme.glyphs;
    let (role, mark, mut facts) = match call.fate {
        None => running(view, call),
        Some(Fate::Hit) if call.served_by_meaning().is_some() => semantic_answer::status(view, call),
        Some(fate) => ended(view.state, call, fate, glyphs),
    };
    if view.ui.users.first().is_some_and(|first| *first != call.user) {
        facts.push(format!("as {}", call.user));
    }
    facts.retain(|fact| !fact.is_empty());
    let facts = facts.join(&format!(" {} ", glyphs.dot));
    (role, format!("{mark} {facts}"))
}

/// What a running call does.
fn running(view: &View<'_>, call: &Call) -> (Role, &'static str, Vec<String>) {
    let glyphs = view.theme.glyphs;
    let left = |until| units::precise(view.now.until(until));
    match call.doing {
        Doing::Starting | Doing::Ended => (Role::Wait, glyphs.queued, vec!["on its way".into()]),
        Doing::Queued { constraint, ready_at } => {
            let what = format!("waits for {}", constraint.sentence());
            let when = ready_at.map_or_else(String::new, left);
            (Role::Wait, glyphs.queued, vec![what, when])
        }
        Doing::Waiting => (
            Role::Wait,
            glyphs.queued,
            vec![try_number(call), "sent, waits for the first token".into()],
        ),
        Doing::Streaming => {
            let mut facts = vec![try_number(call)];
            facts.extend(speed(view.state, call));
            (Role::Ok, glyphs.streaming, facts)
        }
        Doing::BackingOff { until } => {
            let why = call.failure.as_ref().map(Failure::brief).unwrap_or_default();
            let next = format!("try {} in {}", call.attempts + 1, left(until));
            (Role::Wait, glyphs.retry, vec![why, next])
        }
        Doing::Following { owner } => (
            Role::Hit,
            glyphs.shared,
            vec![format!("shares the answer of {owner}, which asks the same")],
        ),
    }
}

/// What became of a call.
fn ended(state: &State, call: &Call, fate: Fate, glyphs: &Glyphs) -> (Role, &'static str, Vec<String>) {
    let took = call
        .ended_at
        .map_or_else(String::new, |end| units::precise(end.since(call.started_at)));
    let why = || {
        call.failure
            .as_ref()
            .map_or_else(String::new, |failure| failure.message.single_line())
    };
    match fate {
        Fate::Answered => {
            let mut facts = vec![tries(call), took];
            facts.extend(speed(state, call));
            if let Some(usage) = call.usage {
                facts.push(format!("{} tok", usage.total()));
            }
            (Role::Ok, glyphs.ok, facts)
        }
        Fate::Hit => {
            let mut facts = vec!["exact hit".to_owned()];
            if let Some(CacheVerdict::Hit {
                saved,
                saved_ns,
                replayed,
                ..
            }) = call.cache
            {
                if replayed {
                    facts = vec!["replayed: same idempotency key".to_owned()];
                }
                facts.push(took);
                let spared = units::precise(Duration::from_nanos(saved_ns));
                facts.push(format!("saved {} tok and {spared}", saved.total()));
            }
            (Role::Hit, glyphs.hit, facts)
        }
        Fate::Shared => (
            Role::Hit,
            glyphs.shared,
            vec!["shared another call's answer".into(), took],
        ),
        Fate::RateLimited => (
            Role::Refused,
            glyphs.refused,
            vec!["the limiter turned it away".into(), why()],
        ),
        Fate::CircuitOpen => (
            Role::Refused,
            glyphs.refused,
            vec!["the breaker is open: not sent".into(), why()],
        ),
        Fate::Failed => (
            Role::Bad,
            glyphs.failed,
            vec![
                format!("failed after {}", tries(call)),
                why(),
                stopped(call),
                took,
            ],
        ),
        Fate::Interrupted => (
            Role::Bad,
            glyphs.cut,
            vec!["interrupted: the answer above is not complete".into(), why()],
        ),
        Fate::Cancelled => (Role::Muted, glyphs.stopped, vec!["stopped".into(), took]),
    }
}

/// Why no other try followed, in words.
fn stopped(call: &Call) -> String {
    let stopped = call.stopped.filter(|reason| *reason != StopReason::Attempts);
    stopped.map_or_else(String::new, |reason| reason.sentence().to_owned())
}

fn try_number(call: &Call) -> String {
    format!("try {}", call.attempts.max(1))
}

fn tries(call: &Call) -> String {
    match call.attempts {
        1 => "1 try".to_owned(),
        many => format!("{many} tries"),
    }
}

/// Time to the first token and tokens a second, as far as known.
fn speed(state: &State, call: &Call) -> Vec<String> {
    let mut facts = Vec::new();
    if let Some(ttft) = call.ttft {
        facts.push(format!("ttft {}", units::precise(ttft)));
    }
    let flight = call.flight.and_then(|flight| state.calls.flights.get(&flight));
    if let Some(flight) = flight
        && let (Some(first), Some(last)) = (flight.first_text_at, flight.last_text_at)
    {
        let streamed = last.since(first).as_secs_f64();
        if streamed > 0.05 && flight.chunks > 1 {
            facts.push(format!("{:.0} tok/s", f64::from(flight.chunks - 1) / streamed));
        }
    }
    facts
}

/// The last answer of the conversation, for copying.
pub fn last_answer(state: &State) -> Option<&str> {
    turns(state)
        .rev()
        .map(|call| state.calls.answer(call))
        .find(|answer| !answer.is_empty())
}
