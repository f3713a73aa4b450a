//! The timeline of one call, one column per step of time; column 0 is the start of the call.
//!
//! - A span is a run of one glyph.
//! - The reason of a failed attempt follows as text and covers the columns behind it, so that even the shortest
//!   attempt shows why it failed.
//! - A call that shares a flight begins with the id of the leader: the same column in every row, always with room.

use std::time::Duration;

use ratatui::text::{Line, Span};

use crate::event::{CallId, Fate};
use crate::state::{CacheVerdict, Call, Calls, Doing, SpanKind, State};
use crate::time::Timestamp;
use crate::tui::theme::{Role, Theme};
use crate::tui::view::View;

use super::{appearance, row, semantic, units};

/// Milliseconds per column. Few steps, so that the scale seldom changes.
const SCALES_MS: [u64; 8] = [20, 50, 100, 200, 500, 1000, 2000, 5000];

/// Columns kept free after the longest timeline, for the last reason and the glyph.
const RESERVE: u64 = 6;

/// The number of newest calls that determine the scale. Independent of the visible rows, so that scrolling does
/// not change it.
const RECENT: usize = 40;

/// The time per column: the finest scale at which the recent calls fit `width` columns.
pub(crate) fn scale(calls: &Calls, now: Timestamp, width: usize) -> Duration {
    let recent = calls.recent.values().rev().take(RECENT);
    let longest = recent.map(|call| elapsed(call, now)).max().unwrap_or_default();
    let room = u128::from((width as u64).saturating_sub(RESERVE).max(1));
    let fits = |step: u64| longest.as_millis() <= u128::from(step) * room;
    let step = SCALES_MS.into_iter().find(|step| fits(*step)).unwrap_or(5000);
    Duration::from_millis(step)
}

/// The duration of a call so far.
pub(crate) fn elapsed(call: &Call, now: Timestamp) -> Duration {
    call.ended_at.unwrap_or(now).since(call.started_at)
}

/// The ruler above the timelines: `|0s        |1s`.
pub(crate) fn ruler(scale: Duration, width: usize) -> String {
    const STEPS_MS: [u64; 13] = [
        200, 500, 1_000, 2_000, 5_000, 10_000, 20_000, 30_000, 60_000, 120_000, 300_000, 600_000, 1_200_000,
    ];
    let column = scale.as_millis().max(1) as u64;
    let step = STEPS_MS
        .into_iter()
        .find(|step| step / column >= 9)
        .unwrap_or(column * 9);
    let mut text = String::new();
    for tick in 0u64.. {
        let at = (tick * step / column) as usize;
        let label = format!("|{}", units::setting(Duration::from_millis(tick * step)));
        if at + label.len() > width {
            break;
        }
        text = row::left(&text, at) + &label;
    }
    text
}

/// The timeline of a call in at most `width` columns of `scale` each.
pub(crate) fn draw(view: &View<'_>, call: &Call, scale: Duration, width: usize) -> Line<'static> {
    let theme = view.theme;
    if width == 0 {
        return Line::default();
    }
    let strip = strip(view, call, scale, width);
    let overflow = strip.cells.len() > width;
    let mut line = strip.into_line(theme, width);
    if overflow {
        line.push_span(row::piece(theme, Role::Muted, theme.glyphs.ellipsis));
        return line;
    }
    let room = width - line.width();
    let gap = usize::from(line.width() > 0 && !matches!(call.doing, Doing::BackingOff { .. }));
    if let Some(text) = remarks(view, call)
        .into_iter()
        .find(|text| text.width() + gap <= room)
    {
        line.push_span(row::plain(" ".repeat(gap)));
        line.push_span(text);
    }
    line
}

/// The cells of a call: runs, reasons, and the final glyph.
fn strip(view: &View<'_>, call: &Call, scale: Duration, width: usize) -> Strip {
    let theme = view.theme;
    let glyphs = theme.glyphs;
    // one cell more than fits marks the overflow, and bounds the work for a call of any length
    let mut strip = Strip::new(width + 1);
    let column = |at: Timestamp| {
        let columns = at.since(call.started_at).as_nanos() / scale.as_nanos().max(1);
        usize::try_from(columns).unwrap_or(usize::MAX)
    };
    for span in &call.spans {
        let (glyph, role) = span_glyph(theme, span.kind);
        strip.fill(" ", Role::Text, column(span.from));
        if span.kind == SpanKind::Following
            && let Some(owner) = followed(view.state, call)
        {
            strip.push(glyph.to_owned(), role);
            for letter in owner.to_string().chars() {
                strip.push(letter.to_string(), Role::Text);
            }
        }
        strip.fill(glyph, role, column(span.to.unwrap_or(view.now)));
        if !span.label.is_empty() {
            // at least one cell of the attempt itself, so that two reasons never touch
            strip.fill_one_of(glyph, role);
            for letter in reason(&span.label).chars() {
                strip.push(letter.to_string(), reason_role(span.kind));
            }
        }
    }
    let end = match (call.fate, call.doing) {
        (Some(Fate::Hit | Fate::CircuitOpen | Fate::RateLimited), _) if call.spans.is_empty() => None,
        (Some(fate), _) => {
            let shown = appearance::for_fate(theme, fate);
            Some((shown.glyph, shown.role))
        }
        (None, Doing::Streaming) => Some((glyphs.streaming, Role::Text)),
        (None, Doing::Waiting | Doing::BackingOff { .. } | Doing::Following { .. }) => {
            Some((glyphs.timeline_now, Role::Strong))
        }
        (None, Doing::Starting | Doing::Queued { .. } | Doing::Ended) => None,
    };
    if let Some((glyph, role)) = end {
        strip.push(glyph.to_owned(), role);
    }
    strip
}

/// Glyph and role of a span.
pub(crate) fn span_glyph(theme: &Theme, kind: SpanKind) -> (&'static str, Role) {
    let glyphs = theme.glyphs;
    match kind {
        SpanKind::Queued => (glyphs.timeline_queue, Role::Held),
        SpanKind::Waiting => (glyphs.timeline_wait, Role::Text),
        SpanKind::Streaming => (glyphs.timeline_stream, Role::Ok),
        SpanKind::BackOff => (glyphs.timeline_backoff, Role::Held),
        SpanKind::Following => (glyphs.timeline_follow, Role::Saved),
    }
}

/// The role of the reason after a span.
fn reason_role(kind: SpanKind) -> Role {
    match kind {
        SpanKind::Waiting | SpanKind::Streaming => Role::Broken,
        SpanKind::Queued | SpanKind::BackOff | SpanKind::Following => Role::Refused,
    }
}

/// A label of at most four printable characters. A journal is a file, so its labels are untrusted.
pub(crate) fn reason(label: &str) -> String {
    let printable = |letter: char| if letter.is_ascii_graphic() { letter } else { '?' };
    label.chars().take(4).map(printable).collect()
}

/// The remark after the timeline, the longest wording first. Only the word at the front of the row has the colour
/// of the fate: a screen full of reversed sentences would be unreadable.
fn remarks(view: &View<'_>, call: &Call) -> Vec<Span<'static>> {
    let theme = view.theme;
    let texts: (Role, Vec<String>) = match (call.fate, call.doing) {
        (Some(Fate::Hit), _) => (Role::Text, hit_remark(theme, call)),
        (Some(Fate::CircuitOpen), _) => {
            // a timeline already ends with this glyph
            let mark = if call.spans.is_empty() {
                format!("{} ", theme.glyphs.refused)
            } else {
                String::new()
            };
            let texts = if call.attempts == 0 {
                vec![format!("{mark}circuit open, not sent"), "not sent".into()]
            } else {
                vec!["circuit open, not retried".into(), "circuit open".into()]
            };
            (Role::Text, texts)
        }
        (Some(Fate::RateLimited), _) => (Role::Text, limited_remark(theme, call)),
        (Some(Fate::Shared), _) if call.spans.is_empty() => {
            (Role::Text, shared_remark(theme, owner(view.state, call)))
        }
        (None, Doing::BackingOff { until }) => {
            let left = units::countdown(view.now.until(until));
            (Role::Held, vec![format!("next {left}"), left])
        }
        (None, Doing::Queued { constraint, ready_at }) => {
            let what = constraint.sentence();
            let mut texts = Vec::new();
            if let Some(at) = ready_at.filter(|at| *at > view.now) {
                let left = units::countdown(view.now.until(at));
                texts.push(format!("waiting for {what}, {left}"));
            }
            texts.push(format!("waiting for {what}"));
            texts.push(format!("for {what}"));
            (Role::Held, texts)
        }
        (Some(Fate::Answered | Fate::Shared | Fate::Failed | Fate::Interrupted | Fate::Cancelled), _)
        | (
            None,
            Doing::Starting | Doing::Waiting | Doing::Streaming | Doing::Following { .. } | Doing::Ended,
        ) => (Role::Text, Vec::new()),
    };
    let (role, texts) = texts;
    texts
        .into_iter()
        .map(|text| row::piece(theme, role, text))
        .collect()
}

/// `◇ exact, saved 412 tok`.
fn hit_remark(theme: &Theme, call: &Call) -> Vec<String> {
    let mark = theme.glyphs.hit;
    if let Some((nearest, saved)) = semantic::served(call) {
        let how = format!("{mark} semantic {}", semantic::similarity(nearest.similarity));
        let saved = format!("saved {} tok", units::amount(saved));
        return vec![
            format!("{how} from {}, {saved}", nearest.source),
            format!("{how}, {saved}"),
            how,
        ];
    }
    match call.cache {
        Some(CacheVerdict::Hit { saved, replayed, .. }) => {
            let how = if replayed { "replayed" } else { "exact" };
            let saved = units::amount(saved.total());
            vec![
                format!("{mark} {how}, saved {saved} tok"),
                format!("{mark} {how}"),
            ]
        }
        Some(CacheVerdict::Miss { .. } | CacheVerdict::Bypass { .. }) | None => vec![format!("{mark} exact")],
    }
}

/// `⊘ queue full (1024 wait)`: the limiter's message, or part of it.
fn limited_remark(theme: &Theme, call: &Call) -> Vec<String> {
    let mark = theme.glyphs.refused;
    let mut texts = Vec::new();
    if let Some(failure) = &call.failure {
        let message = failure.message.single_line();
        texts.push(format!("{mark} {message}"));
        for room in [50, 30] {
            texts.push(row::clip(theme, &format!("{mark} {message}"), room));
        }
    }
    texts.push(format!("{mark} limited, not sent"));
    texts.push("not sent".to_owned());
    texts
}

/// `≈ shares #31`, for a call without a timeline.
fn shared_remark(theme: &Theme, owner: Option<CallId>) -> Vec<String> {
    let mark = theme.glyphs.shared;
    match owner {
        Some(owner) => vec![format!("{mark} shares {owner}"), format!("{mark} {owner}")],
        None => vec![format!("{mark} shared a flight")],
    }
}

/// The leader of the flight that the call waits or waited for.
fn followed(state: &State, call: &Call) -> Option<CallId> {
    match call.doing {
        Doing::Following { owner } => Some(owner),
        Doing::Starting
        | Doing::Queued { .. }
        | Doing::Waiting
        | Doing::Streaming
        | Doing::BackingOff { .. }
        | Doing::Ended => owner(state, call),
    }
}

/// The leader of a follower's flight, while the flight is in memory.
pub(crate) fn owner(state: &State, call: &Call) -> Option<CallId> {
    let flight = state.calls.flights.get(&call.flight?)?;
    (flight.owner != call.id).then_some(flight.owner)
}

/// At most `most` cells, written from left to right.
struct Strip {
    cells: Vec<(String, Role)>,
    most: usize,
}

impl Strip {
    fn new(most: usize) -> Self {
        Self {
            cells: Vec::new(),
            most,
        }
    }

    fn push(&mut self, glyph: String, role: Role) {
        if self.cells.len() < self.most {
            self.cells.push((glyph, role));
        }
    }

    /// Fills with `glyph` up to column `end`; columns already covered stay as they are.
    fn fill(&mut self, glyph: &str, role: Role, end: usize) {
        while self.cells.len() < end.min(self.most) {
            self.cells.push((glyph.to_owned(), role));
        }
    }

    /// Adds a cell of `glyph` unless the last cell already shows it.
    fn fill_one_of(&mut self, glyph: &str, role: Role) {
        if self.cells.last().is_none_or(|(last, _)| last != glyph) {
            self.push(glyph.to_owned(), role);
        }
    }

    /// The cells as a line, adjacent cells of one role as one span; one column less than `width` on overflow.
    fn into_line(self, theme: &Theme, width: usize) -> Line<'static> {
        let mut shown = self.cells.len();
        if shown > width {
            shown = width.saturating_sub(1);
            // a reason is never cut
            let role = |index: usize| self.cells.get(index).map(|(_, role)| *role);
            while shown > 0 && role(shown - 1) == Some(Role::Broken) && role(shown) == Some(Role::Broken) {
                shown -= 1;
            }
        }
        let mut pieces: Vec<(String, Role)> = Vec::new();
        for (glyph, role) in self.cells.into_iter().take(shown) {
            match pieces.last_mut() {
                Some((text, last)) if *last == role => text.push_str(&glyph),
                _ => pieces.push((glyph, role)),
            }
        }
        let spans = pieces
            .into_iter()
            .map(|(text, role)| row::piece(theme, role, text));
        Line::from(spans.collect::<Vec<_>>())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::fixture::{self, at, ms};
    use super::*;
    use crate::state::Span as CallSpan;

    fn timeline_of(id: u64, scale: u64, width: usize) -> String {
        let fixture = fixture::burst();
        let call = &fixture.state.calls.recent[&CallId(id)];
        draw(&fixture.view(), call, ms(scale), width).to_string()
    }

    #[test]
    fn the_reason_of_a_short_attempt_covers_what_follows() {
        assert_eq!(timeline_of(29, 100, 60), "━429━503··━━━▒▒▒✓");
        assert_eq!(timeline_of(29, 1000, 60), "━429━503✓");
        assert_eq!(timeline_of(31, 100, 60), "━━429···━━━500···━━▒▒▒▒▒✓");
    }

    #[test]
    fn a_timeline_that_is_too_long_ends_with_an_ellipsis_and_a_whole_reason() {
        assert_eq!(timeline_of(31, 100, 10), "━━429···━…");
        assert_eq!(timeline_of(31, 100, 13), "━━429···━━━…");
        assert_eq!(timeline_of(31, 100, 1), "…");
        assert_eq!(timeline_of(31, 100, 0), "");
    }

    #[test]
    fn a_remark_is_shortened_or_dropped_but_not_cut() {
        assert_eq!(timeline_of(33, 500, 60), "━429━429▏next 0.8s");
        assert_eq!(timeline_of(33, 500, 17), "━429━429▏0.8s");
        assert_eq!(timeline_of(33, 500, 12), "━429━429▏");
        assert_eq!(timeline_of(36, 500, 23), "not sent");
        assert_eq!(timeline_of(36, 500, 24), "⊘ circuit open, not sent");
    }

    #[test]
    fn a_follower_begins_with_the_id_of_its_leader_at_any_width() {
        assert_eq!(timeline_of(27, 100, 60), "≈#31≈≈≈");
        assert_eq!(timeline_of(27, 10, 20), "≈#31≈≈≈≈≈≈≈≈≈≈≈≈≈≈≈…");
        assert_eq!(timeline_of(38, 50, 60), "≈#37▏");
    }

    #[test]
    fn a_call_refused_after_a_wait_has_one_glyph() {
        let mut fixture = fixture::burst();
        let mut call = fixture::call(1, 1.0, 2.0, Fate::CircuitOpen);
        call.attempts = 0;
        call.spans = fixture::spans(1.0, &[(SpanKind::Queued, 1.0, "")]);
        fixture.state.calls.recent.insert(call.id, call.clone());
        let timeline = draw(&fixture.view(), &call, ms(200), 60).to_string();
        assert_eq!(timeline, "⋯⋯⋯⋯⋯⊘ circuit open, not sent");
    }

    #[test]
    fn the_scale_fits_the_longest_recent_call() {
        let mut fixture = fixture::burst();
        let mut scale_at = |longest: f64, width: usize| {
            fixture.state.calls.recent.clear();
            let call = fixture::call(1, 1.0, 1.0 + longest, Fate::Answered);
            fixture.state.calls.recent.insert(call.id, call);
            scale(&fixture.state.calls, at(1.0 + longest), width).as_millis()
        };
        let table = [
            (0.0, 20),
            (1.0, 20),
            (1.2, 50),
            (5.0, 100),
            (9.9, 200),
            (60.0, 2000),
            (9_000.0, 5000),
        ];
        for (longest, step) in table {
            assert_eq!(scale_at(longest, 56), step, "{longest}");
        }
        assert_eq!(scale_at(1.0, 0), 1000);
    }

    #[test]
    fn ruler_labels_do_not_touch() {
        assert_eq!(ruler(ms(200), 30), "|0s       |2s       |4s");
        assert_eq!(ruler(ms(20), 30), "|0s       |0.2s     |0.4s");
        assert_eq!(ruler(ms(100), 0), "");
    }

    proptest! {
        #[test]
        fn no_timeline_is_wider_than_its_area(
            steps in proptest::collection::vec((0usize..5, 0u64..3_000, "[0-9A-Z]{0,4}"), 0..64),
            scale in 1u64..5_000,
            width in 1usize..60,
        ) {
            let fixture = fixture::burst();
            let kinds = [SpanKind::Queued, SpanKind::Waiting, SpanKind::Streaming, SpanKind::BackOff, SpanKind::Following];
            let mut from = at(1.0);
            let spans = steps
                .into_iter()
                .map(|(kind, length, label)| {
                    let to = from + ms(length);
                    let span = CallSpan { kind: kinds[kind], from, to: Some(to), label };
                    from = to;
                    span
                })
                .collect();
            let call = Call { spans, attempts: 3, ..fixture::call(1, 1.0, 9.0, Fate::Failed) };
            prop_assert!(draw(&fixture.view(), &call, ms(scale), width).width() <= width);
        }
    }
}
