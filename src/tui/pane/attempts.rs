//! The retry dashboard: one row for each call, newest first, time to the right.
//!
//! ```text
//! id   outcome     try  time  |0s        |1s        |2s
//! #34 ▶ stream      1  0.9s  ━━━▒▒▒▒▶
//! #33 ↻ retry       2  1.9s !━━━429·······▏next 0.8s
//! ```
//!
//! Rows are in the order of their ids, so that none moves while calls run; only visible rows are computed.

use std::time::Duration;

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::text::Line;

use crate::event::CallId;
use crate::state::{Call, Calls};
use crate::time::Timestamp;
use crate::tui::layout::Tier;
use crate::tui::pane::PaneId;
use crate::tui::theme::Role;
use crate::tui::view::View;

use super::latency::Quantiles;
use super::{appearance, row, timeline, units};

/// From this size on there is a ruler, and a legend in the border.
const WIDE: (u16, u16) = (100, 6);

/// Draws the calls.
pub fn render(view: &View<'_>, area: Rect, buf: &mut Buffer) {
    let area = area.intersection(buf.area);
    if area.is_empty() {
        return;
    }
    let calls = &view.state.calls;
    let width = usize::from(area.width);
    if calls.recent.is_empty() {
        row::draw_all(&nothing_yet(view, width), area, buf);
        return;
    }
    let columns = Columns::of(calls, width);
    let scale = timeline::scale(calls, view.now, columns.lane);
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

/// What the lanes mean and how long they are, for the border of a pane with `width` columns of content.
pub fn title(view: &View<'_>, width: u16) -> String {
    note(view, &Quantiles::of(&view.state.latency.call), width)
}

/// What the pane says while it stays at an older call and new ones come in unseen.
const FOLLOWS: &str = "End follows   ";

/// The note in the border, with the quantiles of calls.
fn note(view: &View<'_>, call: &Quantiles, width: u16) -> String {
    let glyphs = view.theme.glyphs;
    let room = row::note_room(width);
    let columns = Columns::of(&view.state.calls, usize::from(width));
    if columns.lane == 0 || view.state.calls.recent.is_empty() {
        return String::new();
    }
    let scale = timeline::scale(&view.state.calls, view.now, columns.lane);
    let column = units::setting(scale);
    let all = units::setting(Duration::from_secs(
        (scale * columns.lane as u32).as_secs().max(1),
    ));
    let quantiles: String = [("  p50 ", call.p50), (" p95 ", call.p95)]
        .into_iter()
        .filter_map(|(label, value)| Some(format!("{label}{}", units::duration(value?))))
        .collect();
    let legend = format!(
        "{} wait  {} stream  {} back-off",
        glyphs.lane_wait, glyphs.lane_stream, glyphs.lane_backoff
    );
    let follows = if view.ui.selected_call.is_some() {
        FOLLOWS
    } else {
        ""
    };
    let mut wordings = Vec::new();
    if let Some(digit) = dashboard(view) {
        let over_time = format!("  {digit} over time");
        if width >= WIDE.0 {
            wordings.push(format!("{legend}  each column {column}{over_time}"));
        }
        wordings.push(format!("0s ... {all}{quantiles}{over_time}"));
    }
    if width >= WIDE.0 {
        wordings.push(format!("{legend}  each column {column}"));
        wordings.push(format!("{legend}  {column}"));
    }
    wordings.push(format!("0s ... {all}{quantiles}"));
    wordings.push(format!("0s ... {all}"));
    let fits = |text: &String| row::width(text) <= room;
    wordings
        .into_iter()
        .map(|text| format!("{follows}{text}"))
        .find(fits)
        .unwrap_or_default()
}

/// The digit that opens the retries over time, where they do not stand beside the lanes.
fn dashboard(view: &View<'_>) -> Option<usize> {
    let tier = Tier::of(view.ui.size.width, view.ui.size.height);
    tier.way_back(PaneId::Retries)?;
    let place = tier.order().iter().position(|pane| *pane == PaneId::Retries)?;
    Some(place + 1)
}

/// What to do where nothing was asked yet.
fn nothing_yet(view: &View<'_>, width: usize) -> Vec<Line<'static>> {
    let text = |text: &'static str| Line::from(row::piece(view.theme, Role::Muted, text));
    if view.ui.read_only {
        return vec![text("no calls yet")];
    }
    let wordings = [
        text("no calls yet: press b for a burst, i to ask, f to break something on purpose"),
        text("no calls yet: press b for a burst, i to ask, f for faults"),
        text("no calls yet: b burst, i ask, f faults"),
        text("no calls yet"),
    ];
    vec![row::first_fit(view.theme, wordings, width)]
}

/// The call under the cursor: the chosen one, or while the pane has the focus the newest. Where the
/// chosen one is forgotten, the next older one that is not.
fn selected(view: &View<'_>) -> Option<CallId> {
    let recent = &view.state.calls.recent;
    match view.ui.selected_call {
        Some(chosen) => recent
            .range(..=chosen)
            .next_back()
            .or_else(|| recent.first_key_value())
            .map(|(id, _)| *id),
        None if view.ui.focus == PaneId::Attempts => recent.last_key_value().map(|(id, _)| *id),
        None => None,
    }
}

/// How many of the newest rows are above the first visible one, so that the selected one is in view.
fn first_row(calls: &Calls, selected: Option<CallId>, rows: usize) -> usize {
    let above = selected.map_or(0, |id| calls.recent.range(id..).count().saturating_sub(1));
    (above + 1).saturating_sub(rows)
}

/// Which columns there are; a function of the width and of the longest id alone, so that nothing jumps.
struct Columns {
    id: usize,
    time: bool,
    tries: bool,
    lane: usize,
}

impl Columns {
    /// Blank, mark and blanks around the word.
    const MARK: usize = 3;
    /// Tries, blank.
    const TRIES: usize = 3;
    /// Time, blank, mark of an injected fault.
    const TIME: usize = units::DURATION_WIDTH + 2;
    /// A lane shorter than this says nothing.
    const LEAST_LANE: usize = 8;

    fn of(calls: &Calls, width: usize) -> Self {
        let longest = calls
            .recent
            .last_key_value()
            .map_or(0, |(id, _)| id.to_string().len());
        let id = longest.max(3);
        let base = 1 + id + Self::MARK + appearance::WORD_WIDTH;
        let time = width >= base + Self::TIME;
        let tries = width >= base + Self::TRIES + Self::TIME;
        let used = base + if tries { Self::TRIES + Self::TIME } else { 0 };
        let lane = if tries { width.saturating_sub(used) } else { 0 };
        Self {
            id,
            time,
            tries,
            lane: if lane < Self::LEAST_LANE { 0 } else { lane },
        }
    }

    /// The heads of the columns and the ruler.
    fn heads(&self, view: &View<'_>, scale: Duration) -> Line<'static> {
        let text = format!(
            " {} {} {} {}  ",
            row::left("id", self.id),
            row::left("outcome", Self::MARK + appearance::WORD_WIDTH - 4),
            "tries",
            row::right("time", units::DURATION_WIDTH - 1),
        );
        let mut line = Line::from(row::piece(view.theme, Role::Muted, text));
        line.push_span(row::piece(
            view.theme,
            Role::Muted,
            timeline::ruler(scale, self.lane),
        ));
        line
    }

    /// One call.
    fn row(&self, view: &View<'_>, call: &Call, is_selected: bool, scale: Duration) -> Line<'static> {
        let theme = view.theme;
        let mark = appearance::of_call(theme, call);
        let cursor = if is_selected { ">" } else { " " };
        let mut line = Line::from(vec![
            row::piece(theme, Role::Strong, cursor),
            row::plain(row::right(&call.id.to_string(), self.id)),
            row::plain(" "),
            mark.cell_and_word(theme),
            row::plain(" ".repeat(appearance::WORD_WIDTH.saturating_sub(row::width(mark.word)))),
        ]);
        if self.tries {
            line.push_span(row::plain(format!(" {:>2}", call.attempts.min(99))));
        }
        if self.time {
            line.push_span(row::plain(format!(
                " {}",
                row::right(&time(call, view.now), units::DURATION_WIDTH)
            )));
            // a blank has no colour that a selection could bring to light
            line.push_span(if call.injected.is_empty() {
                row::plain(" ")
            } else {
                row::piece(theme, Role::Injected, theme.glyphs.injected)
            });
        }
        if self.lane > 0 {
            line.spans
                .extend(timeline::draw(view, call, scale, self.lane).spans);
        }
        line
    }
}

/// How long the call took or takes; dashes where nothing was done for it.
fn time(call: &Call, now: Timestamp) -> String {
    let turned_away = matches!(
        call.fate,
        Some(crate::event::Fate::CircuitOpen | crate::event::Fate::RateLimited)
    );
    if turned_away && call.spans.is_empty() {
        return "--".to_owned();
    }
    units::duration(timeline::took(call, now))
}

#[cfg(test)]
mod tests {
    use ratatui::buffer::Buffer;
    use ratatui::layout::Rect;
    use ratatui::style::Modifier;

    use super::super::fixture::{self, Scene, ms};
    use super::*;
    use crate::event::Fate;
    use crate::tui::theme::{Palette, Theme};

    fn drawn(scene: &Scene, width: u16, height: u16) -> Vec<String> {
        fixture::rows(scene, width, height, render)
    }

    #[test]
    fn rows_at_80_columns() {
        assert_eq!(
            drawn(&fixture::burst(), 76, 15),
            [
                " #39 ▶ starts    0  0.0s",
                " #38 ≈ shares    0  0.2s ≈#37▏",
                " #37 ▶ waits     1  0.2s ━▏",
                " #36 ⊘ refused   0    -- ⊘ breaker open, not sent",
                " #35 … queued    0  0.6s ⋯⋯⋯ waits for the token bucket, 0.4s",
                " #34 ▶ stream    1  0.9s ━▒▒▒▶",
                " #33 ↻ retry     2  1.9s!⋯⋯━━429━429▏next 0.8s",
                " #32 ◇ hit       0  0.0s ◇ exact, saved 412 tok",
                " #31 ✓ ok        3  2.4s ━429━500━▒▒▒✓",
                " #30 ✗ failed    4  5.8s!━500━500━━━━━━━━━━━━TMO····━━429✗",
                " #29 ✓ ok        3  1.6s ━429━503✓",
                " #27 ≈ shared    0  0.6s ≈#31≈",
                " #26 ■ stopped   1  0.4s ━━■",
                " #25 ⊘ limited   0    -- ⊘ queue full (1024 wait)",
                " #24 ↯ cut       1  0.5s!━▒CUT↯",
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
                " id  outcome tries time  |0s       |1s       |2s       |3s       |4s       |5s       |6s       |7s       |8s",
                " #33 ↻ retry     2  1.9s!⋯⋯⋯⋯━━━━429···━━429▏next 0.8s",
                " #30 ✗ failed    4  5.8s!━━500··━━500····━━━━━━━━━━━━━━━━━━━━━━━━TMO············━━━429✗",
            ]
        );
    }

    #[test]
    fn ascii_has_a_twin_of_each_mark() {
        let mut scene = fixture::burst();
        scene.theme = Theme::new(Palette::Mono, true);
        let rows = drawn(&scene, 76, 15);
        assert_eq!(
            rows.get(6).map(String::as_str),
            Some(" #33 ~ retry     2  1.9s!,,--429-429|next 0.8s")
        );
        assert_eq!(
            rows.get(7).map(String::as_str),
            Some(" #32 c hit       0  0.0s c exact, saved 412 tok")
        );
    }

    #[test]
    fn every_fate_is_told_without_colour() {
        let mut scene = fixture::burst();
        scene.theme = Theme::new(Palette::Mono, false);
        scene.state.calls.recent = Fate::ALL
            .into_iter()
            .enumerate()
            .map(|(id, fate)| fixture::call(id as u64 + 1, 1.0, 2.0, fate))
            .map(|call| (call.id, call))
            .collect();
        let area = Rect::new(0, 0, 76, 8);
        let mut buf = Buffer::empty(area);
        render(&scene.view(), area, &mut buf);
        let looks: Vec<(String, Modifier)> = (0..8)
            .map(|y| {
                // mark and word, without the id
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
            looks.iter().map(|(_, modifier)| modifier.bits()).collect();
        assert!(
            modifiers.len() >= 4,
            "plain, underlined, reversed, bold and reversed, dim: {modifiers:?}"
        );
        for (index, look) in looks.iter().enumerate() {
            assert!(
                !looks.iter().skip(index + 1).any(|other| other == look),
                "{look:?}"
            );
        }
    }

    #[test]
    fn the_selected_call_is_marked_and_scrolled_into_view() {
        let mut scene = fixture::burst();
        scene.ui.selected_call = Some(CallId(30));
        let area = Rect::new(0, 0, 76, 4);
        let mut buf = Buffer::empty(area);
        render(&scene.view(), area, &mut buf);
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
    fn without_a_choice_the_newest_is_selected_while_the_pane_has_the_focus() {
        let mut scene = fixture::burst();
        assert!(drawn(&scene, 76, 4).iter().all(|row| !row.starts_with('>')));
        scene.ui.focus = PaneId::Attempts;
        assert!(
            drawn(&scene, 76, 4)
                .first()
                .is_some_and(|row| row.starts_with(">#39"))
        );
        // forgotten: the next older one
        scene.ui.selected_call = Some(CallId(28));
        assert!(drawn(&scene, 76, 4).iter().any(|row| row.starts_with(">#27")));
        scene.ui.selected_call = Some(CallId(1));
        assert!(drawn(&scene, 76, 4).iter().any(|row| row.starts_with(">#24")));
    }

    #[test]
    fn the_measure_does_not_change_with_scrolling() {
        let mut scene = fixture::burst();
        let head = |scene: &Scene| drawn(scene, 116, 7).first().cloned();
        let top = head(&scene);
        scene.ui.selected_call = Some(CallId(24));
        assert_eq!(head(&scene), top);
    }

    #[test]
    fn narrow_panes_leave_columns_out_whole() {
        let scene = fixture::burst();
        let row = |width| drawn(&scene, width, 7).pop();
        assert_eq!(row(18).as_deref(), Some(" #33 ↻ retry"));
        assert_eq!(row(26).as_deref(), Some(" #33 ↻ retry     2  1.9s!"));
        assert_eq!(
            row(45).as_deref(),
            Some(" #33 ↻ retry     2  1.9s!━429━429▏next 0.8s")
        );
    }

    #[test]
    fn the_border_says_how_long_the_lanes_are() {
        let scene = fixture::burst();
        let view = scene.view();
        let call = Quantiles {
            p50: Some(ms(700)),
            p95: Some(ms(5_800)),
            ..Quantiles::default()
        };
        assert_eq!(note(&view, &call, 76), "0s ... 10s  p50 0.7s p95 5.8s");
        assert_eq!(note(&view, &call, 40), "0s ... 15s");
        assert_eq!(
            note(&view, &call, 116),
            "━ wait  ▒ stream  · back-off  each column 0.1s"
        );
        assert_eq!(note(&view, &call, 20), "");
        let mut small = fixture::burst();
        small.ui.size = ratatui::layout::Size::new(80, 24);
        assert_eq!(
            note(&small.view(), &call, 76),
            "0s ... 10s  p50 0.7s p95 5.8s  6 over time"
        );
        let mut old = fixture::burst();
        old.ui.selected_call = Some(CallId(30));
        assert_eq!(
            note(&old.view(), &call, 76),
            "End follows   0s ... 10s  p50 0.7s p95 5.8s"
        );
        assert_eq!(note(&Scene::default().view(), &call, 116), "");
    }
}
