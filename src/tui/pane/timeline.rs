//! The lane of one call: its activities on a time scale, one column per bin.
//!
//! ```text
//! ┄┄┄──────429···───━━━━━━✓      ◂──────TMO····────      waits for a free slot ┄┄┄┄┄┄┄
//! ```
//!
//! - A span is a run of one glyph; of several spans in one column the last one is drawn.
//! - The code of a failed attempt covers the last columns of the attempt, so that what follows stays at its time. An
//!   attempt without room for its code shows `x`. An attempt has one code, however the call ended after it.
//! - The outcome mark is at the end of the call.
//! - A lane that began left of the scale begins with `◂`.

use std::time::Duration;

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Style;

use crate::event::{CallId, Constraint, Fate};
use crate::state::{Call, Calls, Doing, SpanKind, State};
use crate::time::{Timestamp, saturating_nanos};
use crate::tui::plot::{Axis, fill_style};
use crate::tui::theme::{Role, Theme};
use crate::tui::view::View;
use crate::tui::wrap;

use super::{appearance, units};

/// Milliseconds per column of a scale that begins with the call. Few steps, so that the scale seldom changes.
const STEPS_MS: [u64; 8] = [20, 50, 100, 200, 500, 1000, 2000, 5000];

/// The number of newest calls that determine the step. Independent of the visible rows, so that scrolling does not
/// change it.
const RECENT: usize = 512;

/// The columns of a lane.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Scale {
    /// Bins are counted from here.
    zero: Timestamp,
    /// Length of a bin in nanoseconds, at least 1.
    bin: u64,
    /// The bin of the first column; negative if it lies before `zero`.
    first: i64,
    columns: u16,
}

impl Scale {
    /// The columns of a time axis.
    pub(crate) fn from_axis(axis: &Axis) -> Self {
        let bin = saturating_nanos(axis.bin()).max(1);
        let last = i64::try_from(axis.end().0 / bin).unwrap_or(i64::MAX);
        Self {
            zero: Timestamp::ZERO,
            bin,
            first: last.saturating_add(1) - i64::from(axis.columns()),
            columns: axis.columns(),
        }
    }

    /// Columns of `bin` each that begin at `start`.
    pub(crate) fn from_start(start: Timestamp, bin: Duration, columns: u16) -> Self {
        Self {
            zero: start,
            bin: saturating_nanos(bin).max(1),
            first: 0,
            columns,
        }
    }

    /// The column of an instant, negative on the left of the scale.
    pub(crate) fn column(&self, at: Timestamp) -> i64 {
        let bin = saturating_nanos(at.since(self.zero)) / self.bin;
        i64::try_from(bin).unwrap_or(i64::MAX).saturating_sub(self.first)
    }
}

/// The step of scales that begin with their call: the finest at which the recent calls fit `columns`.
pub(crate) fn step(calls: &Calls, now: Timestamp, columns: u16) -> Duration {
    let recent = calls.recent.values().rev().take(RECENT);
    let longest = recent.map(|call| elapsed(call, now)).max().unwrap_or_default();
    let room = u128::from(columns.saturating_sub(1).max(1));
    let fits = |step: u64| longest.as_millis() <= u128::from(step) * room;
    let step = STEPS_MS.into_iter().find(|step| fits(*step)).unwrap_or(5000);
    Duration::from_millis(step)
}

/// Ticks of a scale that begins with its call: columns and labels.
pub(crate) fn ruler(step: Duration, columns: u16) -> Vec<(u16, String)> {
    const TICKS_MS: [u64; 13] = [
        200, 500, 1_000, 2_000, 5_000, 10_000, 20_000, 30_000, 60_000, 120_000, 300_000, 600_000, 1_200_000,
    ];
    let column = saturating_nanos(step).max(1);
    let tick = TICKS_MS
        .into_iter()
        .map(|millis| millis * 1_000_000)
        .find(|tick| tick / column >= 10)
        .unwrap_or(column.saturating_mul(10));
    (0..u64::from(columns))
        .map(|number| {
            let at = number.saturating_mul(tick);
            (at / column, units::setting(Duration::from_nanos(at)))
        })
        .take_while(|(at, label)| at + label.len() as u64 <= u64::from(columns))
        .map(|(at, label)| (at as u16, label))
        .collect()
}

/// The duration of a call so far.
pub(crate) fn elapsed(call: &Call, now: Timestamp) -> Duration {
    call.ended_at.unwrap_or(now).since(call.started_at)
}

/// Draws the lane of a call into the first row of `area`.
pub(crate) fn draw(view: &View<'_>, call: &Call, scale: &Scale, area: Rect, buf: &mut Buffer) {
    let mut lane = Lane::new(scale, view.theme);
    lane.call(call, view.now);
    let columns = i64::from(scale.columns);
    if lane.free < columns && scale.column(call.ended_at.unwrap_or(view.now)) >= columns {
        lane.put(
            i64::from(scale.columns) - 1,
            view.theme.glyphs.ellipsis,
            view.theme.style(Role::Muted),
        );
    }
    lane.remark(view, call);
    lane.draw(area, buf);
}

/// Draws the outcomes of calls that sent nothing, each at its time. In one column a call that a guard stopped covers
/// a cached one.
pub(crate) fn draw_marks(theme: &Theme, calls: &[&Call], scale: &Scale, area: Rect, buf: &mut Buffer) {
    let mut lane = Lane::new(scale, theme);
    for cached in [true, false] {
        for call in calls
            .iter()
            .filter(|call| (call.fate == Some(Fate::Hit)) == cached)
        {
            lane.mark(call);
        }
    }
    lane.draw(area, buf);
}

/// Glyph and role of a span.
pub(crate) fn span_glyph(theme: &Theme, kind: SpanKind) -> (&'static str, Role) {
    let glyphs = theme.glyphs;
    match kind {
        SpanKind::Queued => (glyphs.timeline_queue, Role::Held),
        SpanKind::Waiting => (glyphs.timeline_wait, Role::Text),
        SpanKind::Streaming => (glyphs.timeline_stream, Role::Work),
        SpanKind::BackOff => (glyphs.timeline_backoff, Role::Held),
        SpanKind::Following => (glyphs.timeline_follow, Role::Saved),
    }
}

/// The leader of a follower's flight, while the flight is in memory.
pub(crate) fn owner(state: &State, call: &Call) -> Option<CallId> {
    let flight = state.calls.flights.get(&call.flight?)?;
    (flight.owner != call.id).then_some(flight.owner)
}

/// A label of at most four printable characters. A journal is a file, so its labels are untrusted.
pub(crate) fn code(label: &str) -> String {
    let printable = |letter: char| if letter.is_ascii_graphic() { letter } else { '?' };
    label.chars().take(4).map(printable).collect()
}

/// The cells of one row.
struct Lane<'a> {
    theme: &'a Theme,
    scale: &'a Scale,
    cells: Vec<Option<(char, Style)>>,
    /// The first column right of the last code, or of the mark of an earlier start: nothing covers them.
    free: i64,
    /// True if the column before it is the end of a code.
    after_code: bool,
}

impl<'a> Lane<'a> {
    fn new(scale: &'a Scale, theme: &'a Theme) -> Self {
        Self {
            theme,
            scale,
            cells: vec![None; usize::from(scale.columns)],
            free: 0,
            after_code: false,
        }
    }

    /// Spans, codes and outcome.
    fn call(&mut self, call: &Call, now: Timestamp) {
        if self.scale.column(call.started_at) < 0 {
            self.earlier();
        }
        for span in &call.spans {
            let attempt = matches!(span.kind, SpanKind::Waiting | SpanKind::Streaming);
            let failed = attempt && !span.label.is_empty();
            let (glyph, role) = span_glyph(self.theme, span.kind);
            let style = if failed {
                fill_style(self.theme, Role::Broken)
            } else {
                fill_style(self.theme, role)
            };
            let from = self.scale.column(span.from);
            // a span that lasts fills the present column, and one shorter than a column is visible
            let to = match span.to {
                Some(to) => self.scale.column(to),
                None => self.scale.column(now).saturating_add(1),
            };
            self.fill(from, to.max(from.saturating_add(1)), glyph, style);
            if failed {
                self.code(&code(&span.label), from, to);
            }
        }
        if call.ended_at.is_some() {
            self.mark(call);
        } else if call.spans.is_empty() {
            let shown = appearance::for_call(self.theme, call);
            let at = self.scale.column(call.started_at);
            self.put(at, shown.glyph, self.theme.style(shown.role));
        }
    }

    /// Marks a beginning left of the scale.
    fn earlier(&mut self) {
        self.put(0, self.theme.glyphs.earlier, self.theme.style(Role::Muted));
        self.free = self.free.max(1);
    }

    /// The outcome of a call at its end, or right of its last code.
    fn mark(&mut self, call: &Call) {
        let (Some(fate), Some(ended_at)) = (call.fate, call.ended_at) else {
            return;
        };
        let shown = appearance::for_fate(self.theme, fate);
        let at = self.scale.column(ended_at);
        if at >= 0 {
            self.put(at.max(self.free), shown.glyph, self.theme.style(shown.role));
        } else {
            self.earlier();
        }
    }

    /// Writes the code of an attempt so that it ends before column `to`; `x` without room.
    fn code(&mut self, code: &str, from: i64, to: i64) {
        if to > i64::from(self.scale.columns) {
            // it failed right of the scale
            return;
        }
        // two codes never touch
        let least = self.free + i64::from(self.after_code);
        let wide = column(code.chars().count());
        let style = self.theme.style(Role::Broken);
        if wide > 0 && to - wide >= least {
            self.put_text(to - wide, code, style);
            (self.free, self.after_code) = (to, true);
        } else {
            let at = from.max(to - 1);
            if at >= self.free {
                self.put_char(at, 'x', style);
                (self.free, self.after_code) = (at + 1, true);
            }
        }
    }

    /// The present reason of a wait, left of the lane or right of it.
    fn remark(&mut self, view: &View<'_>, call: &Call) {
        let used = |cell: &Option<(char, Style)>| cell.is_some();
        let first = self.cells.iter().position(used);
        let last = self.cells.iter().rposition(used);
        let (Some(first), Some(last)) = (first, last) else {
            return;
        };
        let after = self.cells.len() - last - 1;
        for text in remarks(view, call) {
            let cells = wrap::width(&text) + 1;
            let at = if cells <= first {
                first - cells
            } else if cells <= after {
                last + 2
            } else {
                continue;
            };
            self.put_text(column(at), &text, self.theme.style(Role::Muted));
            return;
        }
    }

    fn fill(&mut self, from: i64, to: i64, glyph: &str, style: Style) {
        for at in from.max(self.free)..to.min(i64::from(self.scale.columns)) {
            self.put(at, glyph, style);
        }
    }

    /// Writes a glyph of one character.
    fn put(&mut self, at: i64, glyph: &str, style: Style) {
        if let Some(letter) = glyph.chars().next() {
            self.put_char(at, letter, style);
        }
    }

    fn put_text(&mut self, from: i64, text: &str, style: Style) {
        for (at, letter) in (from..).zip(text.chars()) {
            self.put_char(at, letter, style);
        }
    }

    fn put_char(&mut self, at: i64, letter: char, style: Style) {
        if let Some(cell) = usize::try_from(at).ok().and_then(|at| self.cells.get_mut(at)) {
            *cell = Some((letter, style));
        }
    }

    fn draw(self, area: Rect, buf: &mut Buffer) {
        if area.height == 0 {
            return;
        }
        for (x, cell) in (area.left()..area.right()).zip(self.cells) {
            if let (Some((letter, style)), Some(target)) = (cell, buf.cell_mut((x, area.y))) {
                target.set_char(letter).set_style(style);
            }
        }
    }
}

/// An index as a column.
fn column(index: usize) -> i64 {
    i64::try_from(index).unwrap_or(i64::MAX)
}

/// The present reason of a wait, the longest wording first.
fn remarks(view: &View<'_>, call: &Call) -> Vec<String> {
    match call.doing {
        Doing::BackingOff { until } => {
            let left = units::countdown(view.now.until(until));
            vec![format!("next attempt in {left}"), format!("in {left}")]
        }
        Doing::Queued => {
            let held = view.state.waits_for(call.id, view.now);
            let what = held.map(Constraint::sentence);
            what.map_or_else(Vec::new, |what| {
                vec![format!("waits for {what}"), format!("for {what}")]
            })
        }
        Doing::Starting | Doing::Waiting | Doing::Streaming | Doing::Following { .. } | Doing::Ended => {
            Vec::new()
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::fixture::{self, at, ms};
    use super::*;
    use crate::state::{QueueHead, Span, Waiter};

    fn text(buf: &Buffer) -> String {
        fixture::text(buf).remove(0)
    }

    /// The lane of a call on the wall clock: columns of half a second, the last of which contains `now`.
    fn lane(call: &Call, now: f64, columns: u16) -> String {
        let mut fixture = fixture::burst();
        fixture.now = at(now);
        let (since, needs) = (at(10.0), 60);
        fixture
            .state
            .limit
            .waiters
            .insert(call.id, Waiter { since, needs });
        fixture.state.limit.head = Some(QueueHead {
            call: call.id,
            constraint: Constraint::Slots,
            ready_at: None,
        });
        let axis = Axis::ending(at(now), ms(500) * u32::from(columns), columns);
        drawn(&fixture, call, &Scale::from_axis(&axis), columns)
    }

    fn drawn(fixture: &fixture::Fixture, call: &Call, scale: &Scale, columns: u16) -> String {
        let area = Rect::new(0, 0, columns, 1);
        let mut buf = Buffer::empty(area);
        draw(&fixture.view(), call, scale, area, &mut buf);
        text(&buf)
    }

    /// Spans: kind, length in seconds, code.
    type Steps = &'static [(SpanKind, f64, &'static str)];

    /// A call that began at 10 s, with these spans, and ended at the end of them.
    fn ended(fate: Fate, steps: &[(SpanKind, f64, &str)]) -> Call {
        let length: f64 = steps.iter().map(|(_, length, _)| length).sum();
        Call {
            spans: fixture::spans(10.0, steps),
            attempts: 1,
            ..fixture::call(1, 10.0, 10.0 + length, fate)
        }
    }

    #[test]
    fn activities_codes_and_outcomes_on_the_wall_clock() {
        use SpanKind::{BackOff, Following, Queued, Streaming, Waiting};
        // now is 16.4 s, so 10 s is column 7 of 20
        let table: [(&str, Fate, Steps); 12] = [
            (
                "       ──━━✓",
                Fate::Answered,
                &[(Waiting, 1.0, ""), (Streaming, 1.4, "")],
            ),
            (
                "       ┄┄┄┄──✓",
                Fate::Answered,
                &[(Queued, 2.0, ""), (Waiting, 1.0, "")],
            ),
            // the code ends where the attempt ends
            (
                "       ───TMO··──✓",
                Fate::Answered,
                &[(Waiting, 3.0, "TMO"), (BackOff, 1.0, ""), (Waiting, 1.0, "")],
            ),
            // an attempt shorter than its code covers what was before it
            (
                "    429·503─✓",
                Fate::Answered,
                &[
                    (Waiting, 0.1, "429"),
                    (BackOff, 1.9, ""),
                    (Waiting, 0.1, "503"),
                    (Waiting, 0.5, ""),
                ],
            ),
            // two codes never touch
            (
                "    429─x✗",
                Fate::Failed,
                &[(Waiting, 0.1, "429"), (BackOff, 0.1, ""), (Waiting, 0.9, "503")],
            ),
            // one failed attempt is drawn once, also if the breaker refused its retry
            (
                "    RST·✗",
                Fate::Failed,
                &[(Waiting, 0.1, "RST"), (BackOff, 0.5, "RST")],
            ),
            (
                "    RST✗",
                Fate::Failed,
                &[(Waiting, 0.1, "RST"), (BackOff, 0.1, "RST")],
            ),
            ("       ━━CUT↯", Fate::Interrupted, &[(Streaming, 2.6, "CUT")]),
            ("       ┄⊘", Fate::CircuitOpen, &[(Queued, 0.5, "OPEN")]),
            ("       ◇", Fate::Hit, &[]),
            ("       ≈≈≈≈", Fate::Shared, &[(Following, 1.7, "")]),
            ("       ──■", Fate::Cancelled, &[(Waiting, 1.2, "")]),
        ];
        for (expected, fate, steps) in table {
            assert_eq!(lane(&ended(fate, steps), 16.4, 20), expected);
        }
    }

    #[test]
    fn a_lane_that_began_left_of_the_window_is_marked() {
        use SpanKind::{BackOff, Streaming, Waiting};
        let steps = [
            (Waiting, 2.0, "500"),
            (BackOff, 0.5, ""),
            (Waiting, 1.0, ""),
            (Streaming, 1.5, ""),
        ];
        let call = ended(Fate::Answered, &steps);
        for (now, expected) in [
            (18.4, "   ─500·──━━━✓"),
            (20.4, "◂─x·──━━━✓"),
            (20.9, "◂x·──━━━✓"),
            (24.0, "◂✓"),
            (60.0, "◂"),
        ] {
            assert_eq!(lane(&call, now, 20), expected, "{now}");
        }
    }

    #[test]
    fn a_running_call_reaches_the_present_and_says_what_it_waits_for() {
        let running = |doing, steps: &[(SpanKind, f64, &str)]| Call {
            spans: fixture::open_spans(10.0, steps),
            ..fixture::running(1, 10.0, doing)
        };
        let queued = running(Doing::Queued, &[(SpanKind::Queued, 0.0, "")]);
        let failed = [(SpanKind::Waiting, 0.5, "503"), (SpanKind::BackOff, 0.0, "")];
        let retrying = running(Doing::BackingOff { until: at(11.9) }, &failed);
        let streaming = running(
            Doing::Streaming,
            &[(SpanKind::Waiting, 0.4, ""), (SpanKind::Streaming, 0.0, "")],
        );
        for (call, columns, expected) in [
            (&queued, 30, "     waits for a free slot ┄┄┄"),
            (&queued, 20, " for a free slot ┄┄┄"),
            (&queued, 10, "       ┄┄┄"),
            (&retrying, 30, "    next attempt in 0.7s 503··"),
            (&retrying, 20, "       in 0.7s 503··"),
            (&streaming, 10, "       ━━━"),
            (&running(Doing::Starting, &[]), 10, "       ▶"),
        ] {
            assert_eq!(lane(call, 11.2, columns), expected);
        }
    }

    #[test]
    fn lanes_from_their_own_start_have_a_common_step() {
        let mut fixture = fixture::burst();
        let steps = [
            (SpanKind::Waiting, 0.5, "503"),
            (SpanKind::BackOff, 0.3, ""),
            (SpanKind::Streaming, 0.4, ""),
        ];
        let call = ended(Fate::Answered, &steps);
        let scale = Scale::from_start(call.started_at, ms(100), 30);
        assert_eq!(drawn(&fixture, &call, &scale, 30), "──503···━━━━✓");
        let mut step_at = |longest: f64, columns| {
            let call = fixture::call(1, 1.0, 1.0 + longest, Fate::Answered);
            fixture.state.calls.recent = [(call.id, call)].into();
            step(&fixture.state.calls, at(1.0 + longest), columns).as_millis()
        };
        for (longest, step) in [
            (0.0, 20),
            (1.0, 20),
            (1.2, 50),
            (5.0, 100),
            (60.0, 2000),
            (9_000.0, 5000),
        ] {
            assert_eq!(step_at(longest, 56), step, "{longest}");
        }
        let labels = |step, columns| -> Vec<String> {
            ruler(ms(step), columns)
                .into_iter()
                .map(|(at, label)| format!("{at} {label}"))
                .collect()
        };
        assert_eq!(labels(200, 30), ["0 0s", "10 2s", "20 4s"]);
        assert_eq!(labels(20, 25), ["0 0s", "10 0.2s", "20 0.4s"]);
        assert!(labels(100, 0).is_empty());
    }

    #[test]
    fn a_lane_that_goes_on_right_of_the_scale_has_no_code_there() {
        use SpanKind::{BackOff, Waiting};
        let call = ended(
            Fate::Failed,
            &[(Waiting, 1.0, "503"), (BackOff, 0.5, ""), (Waiting, 1.0, "429")],
        );
        let fixture = fixture::burst();
        for (columns, expected) in [
            (30, "───────503·····───────429✗"),
            (25, "───────503·····───────429"),
            (24, "───────503·····────────…"),
            (9, "────────…"),
            (0, ""),
        ] {
            let scale = Scale::from_start(call.started_at, ms(100), columns);
            assert_eq!(
                drawn(&fixture, &call, &scale, columns.max(1)),
                expected,
                "{columns}"
            );
        }
    }

    #[test]
    fn outcomes_of_a_group_are_drawn_at_their_times() {
        let fixture = fixture::burst();
        // a guard's mark covers that of a cached call, whichever came first
        let calls: Vec<Call> = [
            (8.0, Fate::Hit),
            (10.1, Fate::CircuitOpen),
            (10.2, Fate::Hit),
            (12.0, Fate::Hit),
        ]
        .into_iter()
        .map(|(at, fate)| fixture::call(1, at, at, fate))
        .collect();
        let calls: Vec<&Call> = calls.iter().collect();
        let axis = Axis::ending(at(16.4), ms(8000), 16);
        let area = Rect::new(0, 0, 16, 1);
        let mut buf = Buffer::empty(area);
        draw_marks(&fixture.theme, &calls, &Scale::from_axis(&axis), area, &mut buf);
        assert_eq!(text(&buf), "◂  ⊘   ◇");
    }

    proptest! {
        #[test]
        fn any_lane_fits_any_scale(
            steps in proptest::collection::vec((0usize..5, 0u64..30_000, ".{0,6}"), 0..64),
            start in 0u64..u64::MAX,
            now in 0u64..u64::MAX,
            bin in 0u64..5_000_000_000,
            columns in 0u16..60,
        ) {
            let fixture = fixture::burst();
            let kinds = [
                SpanKind::Queued,
                SpanKind::Waiting,
                SpanKind::Streaming,
                SpanKind::BackOff,
                SpanKind::Following,
            ];
            let start = Timestamp(start);
            let mut from = start;
            let spans = steps
                .into_iter()
                .map(|(kind, length, label)| {
                    let to = from + ms(length);
                    let span = Span { kind: kinds[kind], from, to: Some(to), label };
                    from = to;
                    span
                })
                .collect();
            let call = Call {
                spans,
                started_at: start,
                ended_at: Some(from),
                ..fixture::call(1, 1.0, 9.0, Fate::Failed)
            };
            let axis = Axis::ending(Timestamp(now), Duration::from_nanos(bin) * u32::from(columns), columns);
            for scale in [Scale::from_axis(&axis), Scale::from_start(start, Duration::from_nanos(bin), columns)] {
                let area = Rect::new(1, 0, columns, 1);
                let mut buf = Buffer::empty(Rect::new(0, 0, columns + 2, 1));
                draw(&fixture.view(), &call, &scale, area, &mut buf);
                prop_assert_eq!(buf[(0, 0)].symbol(), " ");
                prop_assert_eq!(buf[(columns + 1, 0)].symbol(), " ");
            }
        }
    }
}
