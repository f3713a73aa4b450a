//! The Chat pane. Only visible turns are wrapped. A scroll position is a turn and a row within it, so text that
//! arrives below does not move what is being read. The question of the topmost turn stays in the first row.

use std::time::Duration;

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::text::{Line, Span};

use crate::event::{CallId, ChatOptions, Failure, Fate, Finish, StopReason};
use crate::state::{CacheVerdict, Call, Doing, State};
use crate::tui::theme::{Glyphs, Role};
use crate::tui::ui::ChatAnchor;
use crate::tui::view::View;
use crate::tui::{markdown, wrap};

use super::{NO_MATCH, PaneId, semantic_answer, units};

/// Columns in front of each row: `you  `.
const INDENT: u16 = 5;

/// The height below which an answer has no status line: its text needs the row.
const SHORT: usize = 4;

/// One row of the conversation.
#[derive(Clone, Debug, PartialEq, Eq)]
struct ChatRow {
    /// `you` or `llm` on the first row of a message.
    speaker: &'static str,
    line: Line<'static>,
}

impl ChatRow {
    fn new(view: &View<'_>, speaker: &'static str, text: String, role: Role) -> Self {
        let line = Line::from(Span::styled(text, view.theme.style(role)));
        Self { speaker, line }
    }
}

/// Draws the conversation.
pub(crate) fn render(view: &View<'_>, area: Rect, buf: &mut Buffer) {
    let area = area.intersection(buf.area);
    if area.is_empty() {
        return;
    }
    let (height, width) = (usize::from(area.height), area.width);
    let rows = if view.state.calls.chat.is_empty() {
        welcome(view, width)
    } else if shown(view).next().is_none() {
        vec![ChatRow::new(view, "", NO_MATCH.to_owned(), Role::Muted)]
    } else {
        visible(view, width, height)
    };
    for (y, row) in (area.y..area.bottom()).zip(rows) {
        let speaker = view.theme.style(if row.speaker == "you" {
            Role::Strong
        } else {
            Role::Muted
        });
        buf.set_stringn(area.x, y, row.speaker, usize::from(width.min(INDENT)), speaker);
        let x = area.x.saturating_add(INDENT.min(width));
        let room = width.saturating_sub(INDENT);
        buf.set_line(x, y, &row.line, room);
    }
}

/// The empty state, with the keys that send a first call.
fn welcome(view: &View<'_>, width: u16) -> Vec<ChatRow> {
    const OTHERS: &str = "Other calls are listed under 8 Calls.";
    let none = if view.ui.typing() {
        "No questions yet. Type one and press Enter."
    } else {
        "No questions yet. Press i to ask one."
    };
    let texts: &[(&str, Role)] = if view.ui.playback.is_some() {
        &[
            ("No questions in this recording.", Role::Muted),
            (OTHERS, Role::Muted),
        ]
    } else if view.state.calls.totals.started == 0 {
        &[
            (none, Role::Strong),
            ("Try: what does a token bucket do?", Role::Muted),
            ("     and a circuit breaker?", Role::Muted),
            ("     why do retries need jitter?", Role::Muted),
        ]
    } else {
        &[(none, Role::Muted), (OTHERS, Role::Muted)]
    };
    let columns = usize::from(width.saturating_sub(INDENT));
    let mut rows = Vec::new();
    for (text, role) in texts {
        push_wrapped(view, &mut rows, "", text, *role, columns);
    }
    rows
}

/// Appends `text`, wrapped at `columns`.
fn push_wrapped(
    view: &View<'_>,
    rows: &mut Vec<ChatRow>,
    speaker: &'static str,
    text: &str,
    role: Role,
    columns: usize,
) {
    for (index, range) in wrap::rows(text, columns).into_iter().enumerate() {
        let speaker = if index == 0 { speaker } else { "" };
        let text = text.get(range).unwrap_or_default().trim_end().to_owned();
        rows.push(ChatRow::new(view, speaker, text, role));
    }
}

/// The calls of the conversation, oldest first.
fn turns(state: &State) -> impl DoubleEndedIterator<Item = &Call> {
    state
        .calls
        .chat
        .iter()
        .filter_map(|id| state.calls.recent.get(id))
}

/// The turns that match the filter, oldest first.
fn shown<'a>(view: &View<'a>) -> impl DoubleEndedIterator<Item = &'a Call> {
    let (state, now) = (view.state, view.now);
    let filter = view.ui.filter_of(PaneId::Chat);
    turns(state).filter(move |call| filter.matches_call(call, &[state.calls.answer(call)], now))
}

/// The number of turns that match the filter, and of all.
pub(crate) fn matches(view: &View<'_>) -> (usize, usize) {
    (shown(view).count(), turns(view.state).count())
}

/// The visible rows.
fn visible(view: &View<'_>, width: u16, height: usize) -> Vec<ChatRow> {
    let anchored = view
        .ui
        .chat_top
        .map(|anchor| from_anchor(view, anchor, width, height));
    // an anchor near the end would leave the pane half empty
    let anchored = anchored.filter(|(rows, _)| rows.len() >= height);
    let (mut rows, first) = anchored.unwrap_or_else(|| tail(view, width, height));
    if let Some(call) = first.filter(|_| height > 1)
        && let Some(row) = rows.first_mut()
    {
        *row = question(view, call, width);
    }
    rows
}

/// The rows from a scroll position on, and the call whose question is above them.
fn from_anchor<'a>(
    view: &View<'a>,
    anchor: ChatAnchor,
    width: u16,
    height: usize,
) -> (Vec<ChatRow>, Option<&'a Call>) {
    let mut rows = Vec::new();
    let mut above = None;
    for call in shown(view).filter(|call| call.id >= anchor.call) {
        let skip = if call.id == anchor.call { anchor.row } else { 0 };
        above = above.or((skip > 0).then_some(call));
        rows.extend(turn(view, call, width, height).into_iter().skip(skip));
        if rows.len() >= height {
            break;
        }
    }
    (rows, above)
}

/// The last `height` rows, and the call whose question is above them.
fn tail<'a>(view: &View<'a>, width: u16, height: usize) -> (Vec<ChatRow>, Option<&'a Call>) {
    let mut pages: Vec<Vec<ChatRow>> = Vec::new();
    let mut have = 0;
    let mut first = None;
    for call in shown(view).rev() {
        let mut rows = turn(view, call, width, height);
        if pages.is_empty() {
            // the blank row below the newest turn
            rows.pop();
        }
        have += rows.len();
        pages.push(rows);
        first = Some(call);
        if have >= height {
            break;
        }
    }
    let rows: Vec<ChatRow> = pages.into_iter().rev().flatten().collect();
    let skip = rows.len().saturating_sub(height);
    (rows.into_iter().skip(skip).collect(), first.filter(|_| skip > 0))
}

/// The question of a call on one row.
fn question(view: &View<'_>, call: &Call, width: u16) -> ChatRow {
    let columns = usize::from(width.saturating_sub(INDENT)).max(1);
    let text = wrap::fit(&call.prompt.single_line(), columns, view.theme.glyphs.ellipsis);
    ChatRow::new(view, "you", text, Role::Text)
}

/// The anchor after moving by `by` rows, up if negative; `None` if it follows the end.
pub(crate) fn moved(view: &View<'_>, width: u16, height: usize, by: i64) -> Option<ChatAnchor> {
    let heights: Vec<(CallId, usize)> = shown(view)
        .map(|call| (call.id, turn(view, call, width, height).len()))
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

/// The rows of one turn: prompt, answer, status, a blank row.
fn turn(view: &View<'_>, call: &Call, width: u16, height: usize) -> Vec<ChatRow> {
    let columns = usize::from(width.saturating_sub(INDENT)).max(1);
    let mut rows = Vec::new();
    push_wrapped(view, &mut rows, "you", &call.prompt, Role::Text, columns);
    let first = rows.len();
    let answer = view.state.calls.answer(call);
    let streams = call.doing == Doing::Streaming;
    let text = if streams {
        markdown::settled(answer)
    } else {
        answer
    };
    let lines = markdown::rows(view.theme, text, columns);
    rows.extend(lines.into_iter().map(|line| ChatRow { speaker: "", line }));
    if streams {
        if rows.len() == first {
            rows.push(ChatRow::new(view, "", String::new(), Role::Text));
        }
        if let Some(row) = rows.last_mut() {
            row.line.push_span(Span::styled(
                view.theme.glyphs.caret,
                view.theme.style(Role::Work),
            ));
        }
    }
    let (role, status) = status(view, call);
    let has_text = (streams || call.fate.is_some_and(Fate::is_served)) && rows.len() > first;
    if !(has_text && height < SHORT) {
        push_wrapped(view, &mut rows, "", &status, role, columns);
    }
    if let Some(row) = rows.get_mut(first) {
        row.speaker = "llm";
    }
    rows.push(ChatRow::new(view, "", String::new(), Role::Text));
    rows
}

/// The line under an answer, and its role.
fn status(view: &View<'_>, call: &Call) -> (Role, String) {
    let glyphs = view.theme.glyphs;
    let (role, glyph, mut facts) = match call.fate {
        None => running(view, call),
        Some(Fate::Hit) if call.semantic_source().is_some() => semantic_answer::status(view, call),
        Some(fate) => ended(view.state, call, fate, glyphs),
    };
    if view.ui.users.first().is_some_and(|first| *first != call.user) {
        facts.push(format!("as {}", call.user));
    }
    facts.retain(|fact| !fact.is_empty());
    let facts = facts.join(&format!(" {} ", glyphs.dot));
    (role, format!("{glyph} {facts}"))
}

/// The status of a running call.
fn running(view: &View<'_>, call: &Call) -> (Role, &'static str, Vec<String>) {
    let glyphs = view.theme.glyphs;
    let left = |until| units::countdown(view.now.until(until));
    match call.doing {
        Doing::Starting | Doing::Ended => (Role::Held, glyphs.queued, vec!["starting".into()]),
        Doing::Queued => {
            let what = match view.state.waits_for(call.id, view.now) {
                Some(constraint) => format!("waits for {}", constraint.sentence()),
                None => "queued".to_owned(),
            };
            (Role::Held, glyphs.queued, vec![what])
        }
        Doing::Waiting => (
            Role::Held,
            glyphs.queued,
            vec![attempt_number(call), "sent, waiting for the first token".into()],
        ),
        Doing::Streaming => {
            let mut facts = vec![attempt_number(call)];
            facts.extend(speed(view.state, call));
            (Role::Ok, glyphs.streaming, facts)
        }
        Doing::BackingOff { until } => {
            let why = call.failure.as_ref().map(Failure::brief).unwrap_or_default();
            let next = format!("attempt {} in {}", call.attempts + 1, left(until));
            (Role::Held, glyphs.retry, vec![why, next])
        }
        Doing::Following { owner } => (
            Role::Saved,
            glyphs.shared,
            vec![format!("shares the flight of {owner}, an identical request")],
        ),
    }
}

/// The status of a finished call.
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
            let limited = call
                .finish
                .filter(|finish| matches!(finish, Finish::Length | Finish::ContentFilter | Finish::Refusal));
            let mut facts = vec![limited.map_or("", Finish::sentence).to_owned()];
            facts.extend([attempts(call), took]);
            facts.extend(speed(state, call));
            if let Some(usage) = call.usage {
                facts.push(format!("{} tok", usage.total()));
            }
            (Role::Ok, glyphs.ok, facts)
        }
        Fate::Hit => {
            let mut facts = vec!["cached".to_owned()];
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
            (Role::Saved, glyphs.hit, facts)
        }
        Fate::Shared => (
            Role::Saved,
            glyphs.shared,
            vec!["shared the answer of another call".into(), took],
        ),
        Fate::RateLimited => (
            Role::Refused,
            glyphs.refused,
            vec!["limited, not sent".into(), why()],
        ),
        Fate::CircuitOpen => (
            Role::Refused,
            glyphs.refused,
            vec!["refused: the breaker is open".into(), why()],
        ),
        Fate::Failed => (
            Role::Broken,
            glyphs.failed,
            vec![
                format!("failed after {}", attempts(call)),
                why(),
                stopped(call),
                took,
            ],
        ),
        Fate::Interrupted => (
            Role::Broken,
            glyphs.cut,
            vec!["cut off: the answer is incomplete".into(), why()],
        ),
        Fate::Cancelled => (Role::Muted, glyphs.stopped, vec!["stopped".into(), took]),
    }
}

/// The reason that ended the retries, unless the attempts were used up.
fn stopped(call: &Call) -> String {
    let stopped = call.stopped.filter(|reason| *reason != StopReason::Attempts);
    stopped.map_or_else(String::new, |reason| reason.sentence().to_owned())
}

fn attempt_number(call: &Call) -> String {
    format!("attempt {}", call.attempts.max(1))
}

/// `1 attempt`, `3 attempts`.
pub(super) fn attempts(call: &Call) -> String {
    units::count(call.attempts.into(), "attempt")
}

/// Time to the first token and tokens per second, as far as known.
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

/// The newest running call of the chat.
pub(crate) fn answering(state: &State) -> Option<CallId> {
    let running = |id: &&CallId| state.calls.recent.get(id).is_some_and(|call| call.fate.is_none());
    state.calls.chat.iter().rev().find(running).copied()
}

/// The options that differ from those of a new session, for the title of the chat.
pub(crate) fn facts(chat: &ChatOptions) -> Vec<String> {
    let system = chat.system.as_ref().map(|_| "system prompt".to_owned());
    let temperature = chat
        .temperature
        .map(|value| format!("temperature {}", units::number(value)));
    system.into_iter().chain(temperature).collect()
}

/// The last answer of the conversation.
pub(crate) fn last_answer(state: &State) -> Option<&str> {
    turns(state)
        .rev()
        .map(|call| state.calls.answer(call))
        .find(|answer| !answer.is_empty())
}
