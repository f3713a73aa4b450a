//! The Attempts pane: one row per call, newest first, with its timeline.
//!
//! ```text
//!  id  state attempts time  |0s        |1s        |2s
//! #34 ▶ stream      1  0.9s  ━━━▒▒▒▒▶
//! #33 ↻ retrying    2  1.9s !━━━429·······▏next 0.8s
//! ```
//!
//! Rows are sorted by id, so no row moves while calls run. Only visible rows are computed.

use std::time::Duration;

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::text::Line;

use crate::event::{CallId, Fate};
use crate::state::{Call, Calls};
use crate::time::Timestamp;
use crate::tui::pane::PaneId;
use crate::tui::theme::Role;
use crate::tui::view::View;

use super::latency::Quantiles;
use super::{appearance, row, timeline, units};

/// Smallest size with a ruler, and with a legend in the border.
const WIDE: (u16, u16) = (100, 6);

/// Draws the calls.
pub(crate) fn render(view: &View<'_>, area: Rect, buf: &mut Buffer) {
    let area = area.intersection(buf.area);
    if area.is_empty() {
        return;
    }
    let calls = &view.state.calls;
    let width = usize::from(area.width);
    if calls.recent.is_empty() {
        row::draw(&no_calls(view, width), 0, area, buf);
        return;
    }
    let columns = Columns::new(calls, width);
    let scale = timeline::scale(calls, view.now, columns.timeline);
    let mut body = area;
    if area.width >= WIDE.0 && area.height >= WIDE.1 {
        row::draw(&columns.heads(view, scale), 0, area, buf);
        body.y += 1;
        body.height -= 1;
    }
    let selected = selected(view);
    let skip = first_row(calls, selected, usize::from(body.height));
    let rows = calls.recent.values().rev().skip(skip);
    for (index, call) in rows.take(usize::from(body.height)).enumerate() {
        let is_selected = selected == Some(call.id);
        row::draw(&columns.row(view, call, is_selected, scale), index, body, buf);
        if is_selected {
            row::select(view.theme, index, body, buf);
        }
    }
}

/// Legend and span of the timelines, for the border of a pane with `width` columns of content.
pub(crate) fn title(view: &View<'_>, width: u16) -> String {
    note(view, &Quantiles::new(&view.state.latency.call), width)
}

/// The note in the border, with the percentiles of calls.
fn note(view: &View<'_>, call: &Quantiles, width: u16) -> String {
    let glyphs = view.theme.glyphs;
    let room = row::note_room(width);
    let columns = Columns::new(&view.state.calls, usize::from(width));
    if columns.timeline == 0 || view.state.calls.recent.is_empty() {
        return String::new();
    }
    let scale = timeline::scale(&view.state.calls, view.now, columns.timeline);
    let column = units::setting(scale);
    let all = units::setting(Duration::from_secs(
        (scale * columns.timeline as u32).as_secs().max(1),
    ));
    let quantiles: String = [("  p50 ", call.p50), (" p95 ", call.p95)]
        .into_iter()
        .filter_map(|(label, value)| Some(format!("{label}{}", units::duration(value?))))
        .collect();
    let legend = format!(
        "{} wait  {} stream  {} back-off",
        glyphs.timeline_wait, glyphs.timeline_stream, glyphs.timeline_backoff
    );
    // the cursor holds an older call: newer ones arrive above the visible rows
    let follow = if view.ui.selected_call.is_some() {
        "[End] follow  "
    } else {
        ""
    };
    let mut wordings = Vec::new();
    if let Some(digit) = retries_digit(view) {
        let retries = format!("  [{digit}] retries over time");
        if width >= WIDE.0 {
            wordings.push(format!("{legend}  {column} per column{retries}"));
        }
        wordings.push(format!("0s ... {all}{quantiles}{retries}"));
    }
    if width >= WIDE.0 {
        wordings.push(format!("{legend}  {column} per column"));
        wordings.push(format!("{legend}  {column}"));
    }
    wordings.push(format!("0s ... {all}{quantiles}"));
    wordings.push(format!("0s ... {all}"));
    let fits = |text: &String| row::width(text) <= room;
    wordings
        .into_iter()
        .map(|text| format!("{follow}{text}"))
        .find(fits)
        .unwrap_or_default()
}

/// The digit of the Retries pane, unless that pane is visible beside this one.
fn retries_digit(view: &View<'_>) -> Option<usize> {
    (view.ui.size.width < 110).then(|| PaneId::Retries.digit())
}

/// The empty state, with the keys that send a first call.
fn no_calls(view: &View<'_>, width: usize) -> Line<'static> {
    let wordings = [
        "No calls yet.  [b] burst 10  [i] ask a question  [f] choose faults",
        "No calls yet.  [b] burst  [i] ask  [f] faults",
        "No calls yet.",
    ];
    let wordings = wordings.into_iter().skip(if view.ui.read_only { 2 } else { 0 });
    row::first_fit(
        view.theme,
        wordings.map(|text| row::muted(view.theme, text)),
        width,
    )
}

/// The call under the cursor: the selected one, or the newest while the pane has the focus. If the selected call
/// is no longer in memory, the next older one.
fn selected(view: &View<'_>) -> Option<CallId> {
    let recent = &view.state.calls.recent;
    match view.ui.selected_call {
        Some(chosen) => recent
            .range(..=chosen)
            .next_back()
            .or_else(|| recent.first_key_value())
            .map(|(id, _)| *id),
        None if view.ui.focus == PaneId::Calls => recent.last_key_value().map(|(id, _)| *id),
        None => None,
    }
}

/// The number of newest calls scrolled out above the first visible row to keep the selected call in view.
fn first_row(calls: &Calls, selected: Option<CallId>, rows: usize) -> usize {
    let above = selected.map_or(0, |id| calls.recent.range(id..).count().saturating_sub(1));
    (above + 1).saturating_sub(rows)
}

/// The visible columns: a function of the width and of the longest id, so that no column moves.
struct Columns {
    id: usize,
    time: bool,
    attempts: bool,
    timeline: usize,
}

impl Columns {
    /// Blank, glyph, blank before the word.
    const GLYPH: usize = 3;
    /// Blank and two digits.
    const ATTEMPTS: usize = 3;
    /// Blank, time, mark of an injected fault.
    const TIME: usize = units::DURATION_WIDTH + 2;
    /// The shortest useful timeline.
    const MIN_TIMELINE: usize = 8;

    fn new(calls: &Calls, width: usize) -> Self {
        let longest = calls
            .recent
            .last_key_value()
            .map_or(0, |(id, _)| id.to_string().len());
        let id = longest.max(3);
        let base = 1 + id + Self::GLYPH + appearance::WORD_WIDTH;
        let time = width >= base + Self::TIME;
        let attempts = width >= base + Self::ATTEMPTS + Self::TIME;
        let used = base + if attempts { Self::ATTEMPTS + Self::TIME } else { 0 };
        let timeline = if attempts { width.saturating_sub(used) } else { 0 };
        Self {
            id,
            time,
            attempts,
            timeline: if timeline < Self::MIN_TIMELINE {
                0
            } else {
                timeline
            },
        }
    }

    /// The column heads and the ruler.
    fn heads(&self, view: &View<'_>, scale: Duration) -> Line<'static> {
        let (id, time) = (
            row::left("id", self.id),
            row::right("time", units::DURATION_WIDTH),
        );
        let ruler = timeline::ruler(scale, self.timeline);
        // "attempts" reaches one column into the blank before the time
        row::muted(view.theme, format!(" {id} state attempts{time} {ruler}"))
    }

    /// The row of a call.
    fn row(&self, view: &View<'_>, call: &Call, is_selected: bool, scale: Duration) -> Line<'static> {
        let theme = view.theme;
        let shown = appearance::for_call(theme, call);
        let cursor = if is_selected { ">" } else { " " };
        let mut line = Line::from(vec![
            row::piece(theme, Role::Strong, cursor),
            row::plain(row::right(&call.id.to_string(), self.id)),
            row::plain(" "),
            shown.glyph_and_word(theme),
            row::plain(" ".repeat(appearance::WORD_WIDTH.saturating_sub(row::width(shown.word)))),
        ]);
        if self.attempts {
            line.push_span(row::plain(format!(" {:>2}", call.attempts.min(99))));
        }
        if self.time {
            line.push_span(row::plain(format!(
                " {}",
                row::right(&time(call, view.now), units::DURATION_WIDTH)
            )));
            // an unstyled blank: a selection would reveal the colour of a styled one
            line.push_span(if call.injected.is_empty() {
                row::plain(" ")
            } else {
                row::piece(theme, Role::Yours, theme.glyphs.injected)
            });
        }
        if self.timeline > 0 {
            line.spans
                .extend(timeline::draw(view, call, scale, self.timeline).spans);
        }
        line
    }
}

/// The duration of the call so far; dashes for a call that was rejected at once.
fn time(call: &Call, now: Timestamp) -> String {
    let rejected = matches!(call.fate, Some(Fate::CircuitOpen | Fate::RateLimited));
    if rejected && call.spans.is_empty() {
        return "--".to_owned();
    }
    units::duration(timeline::elapsed(call, now))
}

#[cfg(test)]
mod tests {
    use ratatui::buffer::Buffer;
    use ratatui::layout::Rect;
    use ratatui::style::Modifier;

    use super::super::fixture::{self, Fixture, ms};
    use super::*;
    use crate::tui::theme::{Palette, Theme};

    fn drawn(fixture: &Fixture, width: u16, height: u16) -> Vec<String> {
        fixture::rows(fixture, width, height, render)
    }

    #[test]
    fn rows_at_80_columns() {
        assert_eq!(
            drawn(&fixture::burst(), 76, 15),
            [
                " #39 ▶ starting  0  0.0s",
                " #38 ≈ sharing   0  0.2s ≈#37▏",
                " #37 ▶ waiting   1  0.2s ━▏",
                " #36 ⊘ refused   0    -- ⊘ circuit open, not sent",
                " #35 … queued    0  0.6s ⋯⋯⋯ waiting for the token bucket, 0.4s",
                " #34 ▶ stream    1  0.9s ━▒▒▒▶",
                " #33 ↻ retrying  2  1.9s!⋯⋯━━429━429▏next 0.8s",
                " #32 ◇ cached    0  0.0s ◇ exact, saved 412 tok",
                " #31 ✓ answered  3  2.4s ━429━500━▒▒▒✓",
                " #30 ✗ failed    4  5.8s!━500━500━━━━━━━━━━━━TMO····━━429✗",
                " #29 ✓ answered  3  1.6s ━429━503✓",
                " #27 ≈ shared    0  0.6s ≈#31≈",
                " #26 ■ stopped   1  0.4s ━━■",
                " #25 ⊘ limited   0    -- ⊘ queue full (1024 wait)",
                " #24 ↯ cut off   1  0.5s!━▒CUT↯",
            ]
        );
    }

    #[test]
    fn a_ruler_and_finer_columns_at_120() {
        let rows = drawn(&fixture::burst(), 116, 13);
        let picked: Vec<&String> = rows
            .iter()
            .enumerate()
            .filter(|(row, _)| [0, 7, 10].contains(row))
            .map(|(_, row)| row)
            .collect();
        assert_eq!(
            picked,
            [
                " id  state attempts time |0s       |1s       |2s       |3s       |4s       |5s       |6s       |7s       |8s",
                " #33 ↻ retrying  2  1.9s!⋯⋯⋯⋯━━━━429···━━429▏next 0.8s",
                " #30 ✗ failed    4  5.8s!━━500··━━500····━━━━━━━━━━━━━━━━━━━━━━━━TMO············━━━429✗",
            ]
        );
    }

    #[test]
    fn every_glyph_has_an_ascii_equivalent() {
        let mut fixture = fixture::burst();
        fixture.theme = Theme::new(Palette::Mono, true);
        let rows = drawn(&fixture, 76, 15);
        assert_eq!(
            rows.get(6).map(String::as_str),
            Some(" #33 ~ retrying  2  1.9s!,,--429-429|next 0.8s")
        );
        assert_eq!(
            rows.get(7).map(String::as_str),
            Some(" #32 c cached    0  0.0s c exact, saved 412 tok")
        );
    }

    #[test]
    fn every_fate_differs_without_colour() {
        let mut fixture = fixture::burst();
        fixture.theme = Theme::new(Palette::Mono, false);
        fixture.state.calls.recent = Fate::ALL
            .into_iter()
            .enumerate()
            .map(|(id, fate)| fixture::call(id as u64 + 1, 1.0, 2.0, fate))
            .map(|call| (call.id, call))
            .collect();
        let area = Rect::new(0, 0, 76, 8);
        let mut buf = Buffer::empty(area);
        render(&fixture.view(), area, &mut buf);
        let styles: Vec<(String, Modifier)> = (0..8)
            .map(|y| {
                // glyph and word, without the id
                let cells: Vec<_> = (5..14).filter_map(|x| buf.cell((x, y))).collect();
                let text = cells.iter().map(|cell| cell.symbol()).collect();
                (
                    text,
                    cells
                        .iter()
                        .map(|cell| cell.modifier)
                        .fold(Modifier::empty(), Modifier::union),
                )
            })
            .collect();
        let modifiers: std::collections::BTreeSet<u16> =
            styles.iter().map(|(_, modifier)| modifier.bits()).collect();
        assert!(
            modifiers.len() >= 4,
            "plain, underlined, reversed, bold and reversed, dim: {modifiers:?}"
        );
        for (index, style) in styles.iter().enumerate() {
            assert!(
                !styles.iter().skip(index + 1).any(|other| other == style),
                "{style:?}"
            );
        }
    }

    #[test]
    fn the_selected_call_is_marked_and_scrolled_into_view() {
        let mut fixture = fixture::burst();
        fixture.ui.selected_call = Some(CallId(30));
        let area = Rect::new(0, 0, 76, 4);
        let mut buf = Buffer::empty(area);
        render(&fixture.view(), area, &mut buf);
        let rows = fixture::text(&buf);
        let ids: Vec<&str> = rows.iter().map(|row| row.get(..4).unwrap_or_default()).collect();
        assert_eq!(ids, [" #33", " #32", " #31", ">#30"]);
        let reversed = |y| {
            buf.cell((70, y))
                .is_some_and(|cell| cell.modifier.contains(Modifier::REVERSED))
        };
        assert_eq!([0, 1, 2, 3].map(reversed), [false, false, false, true]);
    }

    #[test]
    fn the_newest_call_is_selected_while_the_pane_has_the_focus() {
        let mut fixture = fixture::burst();
        assert!(drawn(&fixture, 76, 4).iter().all(|row| !row.starts_with('>')));
        fixture.ui.focus = PaneId::Calls;
        assert!(
            drawn(&fixture, 76, 4)
                .first()
                .is_some_and(|row| row.starts_with(">#39"))
        );
        // no longer in memory: the next older one
        fixture.ui.selected_call = Some(CallId(28));
        assert!(drawn(&fixture, 76, 4).iter().any(|row| row.starts_with(">#27")));
        fixture.ui.selected_call = Some(CallId(1));
        assert!(drawn(&fixture, 76, 4).iter().any(|row| row.starts_with(">#24")));
    }

    #[test]
    fn scrolling_does_not_change_the_scale() {
        let mut fixture = fixture::burst();
        let head = |fixture: &Fixture| drawn(fixture, 116, 7).first().cloned();
        let top = head(&fixture);
        fixture.ui.selected_call = Some(CallId(24));
        assert_eq!(head(&fixture), top);
    }

    #[test]
    fn narrow_panes_drop_whole_columns() {
        let fixture = fixture::burst();
        let row = |width| drawn(&fixture, width, 7).pop();
        assert_eq!(row(18).as_deref(), Some(" #33 ↻ retrying"));
        assert_eq!(row(26).as_deref(), Some(" #33 ↻ retrying  2  1.9s!"));
        assert_eq!(
            row(45).as_deref(),
            Some(" #33 ↻ retrying  2  1.9s!━429━429▏next 0.8s")
        );
    }

    #[test]
    fn the_border_shows_the_span_of_the_timelines() {
        let fixture = fixture::burst();
        let view = fixture.view();
        let call = Quantiles {
            p50: Some(ms(700)),
            p95: Some(ms(5_800)),
            ..Quantiles::default()
        };
        assert_eq!(note(&view, &call, 76), "0s ... 10s  p50 0.7s p95 5.8s");
        assert_eq!(note(&view, &call, 40), "0s ... 15s");
        assert_eq!(
            note(&view, &call, 116),
            "━ wait  ▒ stream  · back-off  0.1s per column"
        );
        assert_eq!(note(&view, &call, 20), "");
        let mut small = fixture::burst();
        small.ui.size = ratatui::layout::Size::new(80, 24);
        assert_eq!(
            note(&small.view(), &call, 76),
            "0s ... 10s  p50 0.7s p95 5.8s  [6] retries over time"
        );
        let mut old = fixture::burst();
        old.ui.selected_call = Some(CallId(30));
        assert_eq!(
            note(&old.view(), &call, 76),
            "[End] follow  0s ... 10s  p50 0.7s p95 5.8s"
        );
        assert_eq!(note(&Fixture::default().view(), &call, 116), "");
    }
}
