//! The columns of the gutter.

use std::time::Duration;

use ratatui::text::{Line, Span};

use crate::event::{CallId, Fate};
use crate::state::{Call, Calls};
use crate::time::Timestamp;
use crate::tui::pane::{appearance, row, timeline, units};
use crate::tui::theme::{Role, Theme};
use crate::tui::view::View;

use super::rows::Row;

/// Columns of a gutter from which ids have room for a range.
const WIDE: usize = 29;
/// Columns of an id with such room: `#217–236`.
const RANGE: usize = 8;
/// Columns of `3×`, and of `+12`.
const ATTEMPTS: usize = 3;
/// Columns of a user's name.
const USER: usize = 8;
/// The fewest columns for a text about the call.
const LEAST_TEXT: usize = 12;

/// The visible columns: a function of the width of the gutter and of the longest id, so that no column moves.
pub(super) struct Columns {
    width: usize,
    /// This and the others: their columns, 0 without room.
    id: usize,
    attempts: usize,
    time: usize,
    user: usize,
    first_token: usize,
    tokens: usize,
    /// Columns for the failure, the source of a stored answer, or the prompt.
    text: usize,
}

impl Columns {
    pub(super) fn new(calls: &Calls, gutter: u16, zoomed: bool) -> Self {
        let width = usize::from(gutter);
        let longest = calls
            .recent
            .last_key_value()
            .map_or(0, |(id, _)| id.to_string().len());
        let id = longest.max(if width >= WIDE { RANGE } else { 4 });
        // cursor, id, mark, word
        let mut left = width.saturating_sub(1 + id + 2 + 1 + appearance::WORD_WIDTH);
        let mut take = |cells: usize, wanted: bool| {
            let taken = if wanted && cells <= left { cells } else { 0 };
            left -= taken;
            taken
        };
        let attempts = take(ATTEMPTS, true);
        let time = take(1 + units::DURATION_WIDTH, attempts > 0);
        let user = take(1 + USER, zoomed);
        let first_token = take(1 + units::DURATION_WIDTH, zoomed);
        let tokens = take(1 + units::AMOUNT_WIDTH, zoomed);
        let text = if zoomed && left > LEAST_TEXT { left - 1 } else { 0 };
        Self {
            width,
            id,
            attempts,
            time,
            user,
            first_token,
            tokens,
            text,
        }
    }

    /// The heads of the columns.
    pub(super) fn heads(&self, theme: &Theme) -> Line<'static> {
        let mut text = format!(
            " {} {}",
            row::left("call", self.id),
            row::left("outcome", 2 + appearance::WORD_WIDTH)
        );
        let mut head = |name: &str, cells: usize| {
            if cells > 0 {
                text.push_str(&row::right(name, cells));
            }
        };
        head(theme.glyphs.times, self.attempts);
        head("took", self.time);
        head(&row::left("user", USER), self.user);
        head("first", self.first_token);
        head("tok", self.tokens);
        if self.text > 0 {
            text.push_str(" why, or prompt");
        }
        row::muted(theme, text)
    }

    /// The gutter of a row. `sharing` calls fold into it.
    pub(super) fn row(
        &self,
        view: &View<'_>,
        shown: &Row<'_>,
        selected: bool,
        sharing: u32,
    ) -> Line<'static> {
        let theme = view.theme;
        let role = if selected { Role::Strong } else { Role::Text };
        let cursor = row::piece(
            theme,
            Role::Strong,
            if selected { theme.glyphs.cursor } else { " " },
        );
        let mut line = Line::from(vec![cursor]);
        match shown.calls.as_slice() {
            [] => {}
            [call] => self.call(view, call, role, sharing, &mut line),
            [newest, .., oldest] => {
                let ids = range(theme, oldest.id, newest.id, self.id);
                line.push_span(row::piece(theme, role, row::left(&ids, self.id)));
                self.counts(theme, &shown.calls, role, &mut line);
            }
        }
        line
    }

    fn call(&self, view: &View<'_>, call: &Call, role: Role, sharing: u32, line: &mut Line<'static>) {
        let theme = view.theme;
        let look = appearance::for_call(theme, call);
        let text = |text: String| row::piece(theme, role, text);
        line.spans.extend([
            text(row::left(&call.id.to_string(), self.id)),
            Span::raw(" "),
            row::piece(theme, look.role, look.glyph),
            text(format!(" {}", row::left(look.word, appearance::WORD_WIDTH))),
        ]);
        if self.attempts > 0 {
            let (role, attempts) = match (sharing, call.attempts) {
                (0, 0) => (role, String::new()),
                (0, attempts @ 1..=9) => (Role::Muted, format!("{attempts}{}", theme.glyphs.times)),
                (0, attempts) => (Role::Muted, attempts.min(99).to_string()),
                (1..=99, _) => (role, format!("+{sharing}")),
                (100.., _) => (role, "+99".to_owned()),
            };
            line.push_span(row::piece(theme, role, row::right(&attempts, ATTEMPTS)));
        }
        let cell = |value: String, cells: usize| text(row::right(&value, 1 + cells));
        if self.time > 0 {
            line.push_span(cell(time(call, view.now), units::DURATION_WIDTH));
        }
        if self.user > 0 {
            let user = row::clip(theme, &call.user.as_str().replace('\n', " "), USER);
            line.push_span(row::piece(
                theme,
                Role::Muted,
                format!(" {}", row::left(&user, USER)),
            ));
        }
        if self.first_token > 0 {
            line.push_span(cell(
                call.ttft.map(short).unwrap_or_default(),
                units::DURATION_WIDTH,
            ));
        }
        if self.tokens > 0 {
            let tokens = call.usage.map(|usage| units::amount(usage.total()));
            line.push_span(cell(tokens.unwrap_or_default(), units::AMOUNT_WIDTH));
        }
        if self.text > 0 {
            let about = row::clip(theme, &about(call), self.text);
            line.push_span(row::piece(theme, Role::Muted, format!(" {about}")));
        }
    }

    /// `⊘ 11 ◇ 9`: refused, cached, limited calls of a group. Limited calls have the mark of refused ones, and
    /// their word.
    fn counts(&self, theme: &Theme, group: &[&Call], role: Role, line: &mut Line<'static>) {
        let blank = if self.width >= WIDE { " " } else { "" };
        for (fate, word) in [
            (Fate::CircuitOpen, ""),
            (Fate::Hit, ""),
            (Fate::RateLimited, Fate::RateLimited.brief()),
        ] {
            let count = group.iter().filter(|call| call.fate == Some(fate)).count();
            if count == 0 {
                continue;
            }
            let look = appearance::for_fate(theme, fate);
            let number = format!("{blank}{count}");
            let used = line.width() + 2 + row::width(&number);
            line.spans.extend([
                Span::raw(" "),
                row::piece(theme, look.role, look.glyph),
                row::piece(theme, role, number),
            ]);
            if !word.is_empty() && used + 1 + row::width(word) <= self.width {
                line.push_span(row::piece(theme, role, format!(" {word}")));
            }
        }
    }
}

/// `#217–236`; without room the end is written without the digits that it shares with the beginning: `#1217–36`.
fn range(theme: &Theme, oldest: CallId, newest: CallId, width: usize) -> String {
    let dash = if theme.is_ascii() { "-" } else { "–" };
    let (from, to) = (oldest.0.to_string(), newest.0.to_string());
    let whole = format!("#{from}{dash}{to}");
    if row::width(&whole) <= width.max(RANGE) || from.len() != to.len() {
        return whole;
    }
    let shared = from.bytes().zip(to.bytes()).take_while(|(a, b)| a == b).count();
    format!("#{from}{dash}{}", to.get(shared..).unwrap_or_default())
}

/// The duration of a call so far; blank for a call that ended at once because nothing was sent.
fn time(call: &Call, now: Timestamp) -> String {
    let unsent = matches!(call.fate, Some(Fate::Hit | Fate::CircuitOpen | Fate::RateLimited));
    if unsent && call.spans.is_empty() {
        return String::new();
    }
    short(timeline::elapsed(call, now))
}

/// A duration in at most five columns: `28ms`, `1.4s`, `15.4s`, `2m10s`.
fn short(duration: Duration) -> String {
    match duration.as_millis() {
        millis @ 0..1000 => format!("{millis}ms"),
        1000..99_950 => format!("{:.1}s", duration.as_secs_f64()),
        _ => units::duration(duration),
    }
}

/// The reason why a call failed, the source of its stored answer, or else its prompt.
fn about(call: &Call) -> String {
    match &call.failure {
        Some(failure) if call.fate.is_some_and(|fate| fate != Fate::Answered) => {
            failure.message.single_line()
        }
        _ => call.prompt.single_line(),
    }
}
