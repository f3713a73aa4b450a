//! The panes: one file with one pure function `render(&View, Rect, &mut Buffer)` each.
//!
//! Rules, titles and dividers are drawn here. A new pane is one file, one variant, and one arm in each `match`.

pub(super) mod appearance;
mod breaker;
mod cache;
pub(super) mod calls;
mod card;
mod chart;
pub(super) mod chat;
pub(super) mod counts;
pub(super) mod crosshair;
pub(super) mod first;
#[cfg(test)]
mod fixture;
pub(super) mod gauge;
pub(super) mod latency;
mod limiter;
pub(super) mod log;
mod near_matches;
mod near_miss;
#[cfg(test)]
mod properties;
mod retries;
pub(super) mod row;
mod semantic;
mod semantic_answer;
pub(super) mod status;
pub(super) mod story;
pub(super) mod timeline;
pub(super) mod title;
mod traffic;
mod users;
pub(super) mod zoom;

use ratatui::buffer::{Buffer, Cell};
use ratatui::layout::{Position, Rect};
use ratatui::style::Style;
use ratatui::symbols::border;
use ratatui::symbols::merge::MergeStrategy;
use ratatui::text::{Line, Span};
use ratatui::widgets::Block;

use super::layout::{Areas, MIN_HEIGHT, MIN_WIDTH, Tier};
use super::theme::{Glyphs, Role, Theme};
use super::view::View;
use super::wrap;
use crate::text::units;

/// A region of the screen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PaneId {
    /// The conversation.
    Chat,
    /// The cache.
    Cache,
    /// The limiter.
    Limiter,
    /// The breaker.
    Breaker,
    /// Retries and their budget.
    Retries,
    /// Attempts over time, by cause.
    Traffic,
    /// Latency over time.
    Latency,
    /// The calls, each on the time axis.
    #[default]
    Calls,
    /// Each user's share of the limiter.
    Users,
    /// The log.
    Log,
}

impl PaneId {
    /// All panes in the order of their digits: 1 to 9, then 0.
    pub const ALL: [Self; 10] = [
        Self::Chat,
        Self::Cache,
        Self::Limiter,
        Self::Breaker,
        Self::Retries,
        Self::Traffic,
        Self::Latency,
        Self::Calls,
        Self::Users,
        Self::Log,
    ];

    /// The digit that selects the pane, the same at every size.
    pub fn digit(self) -> usize {
        (self as usize + 1) % 10
    }

    /// Returns true for the panes that have a time axis on the whole screen.
    pub fn has_time_axis_zoomed(self) -> bool {
        self.has_time_axis() || matches!(self, Self::Cache | Self::Limiter | Self::Breaker | Self::Retries)
    }

    /// Returns true for the panes drawn on the shared time axis.
    pub fn has_time_axis(self) -> bool {
        matches!(self, Self::Traffic | Self::Latency | Self::Calls)
    }

    /// The name on the screen.
    pub fn name(self) -> &'static str {
        match self {
            Self::Chat => "Chat",
            Self::Cache => "Cache",
            Self::Limiter => "Limiter",
            Self::Breaker => "Breaker",
            Self::Retries => "Retries",
            Self::Traffic => "Traffic",
            Self::Latency => "Latency",
            Self::Calls => "Calls",
            Self::Users => "Users",
            Self::Log => "Log",
        }
    }

    /// Returns true if the pane has a list that can be filtered, on the whole screen if `zoomed`.
    pub fn has_filter(self, zoomed: bool) -> bool {
        match self {
            Self::Chat | Self::Calls | Self::Users | Self::Log => true,
            Self::Cache => zoomed,
            Self::Limiter | Self::Breaker | Self::Retries | Self::Traffic | Self::Latency => false,
        }
    }

    /// Returns true if Enter on a row opens a call.
    pub fn has_calls(self) -> bool {
        matches!(self, Self::Chat | Self::Calls | Self::Log)
    }

    /// Draws the content.
    pub fn render(self, view: &View<'_>, area: Rect, buf: &mut Buffer) {
        let area = area.intersection(buf.area);
        if area.is_empty() {
            return;
        }
        let areas = chart::areas(view);
        match self {
            Self::Cache if areas.zoomed => zoom::cache::render(view, area, buf),
            Self::Breaker if areas.zoomed => zoom::breaker::render(view, area, buf),
            Self::Limiter if areas.zoomed => zoom::limiter::render(view, area, buf),
            Self::Retries if areas.zoomed => zoom::retries::render(view, area, buf),
            Self::Retries if areas.tier == Tier::Large => zoom::retries::render_column(view, area, buf),
            Self::Chat => chat::render(view, area, buf),
            Self::Breaker => breaker::render(view, area, buf),
            Self::Limiter => limiter::render(view, area, buf),
            Self::Cache => cache::render(view, area, buf),
            Self::Latency => latency::render(view, area, buf),
            Self::Traffic => traffic::render(view, area, buf),
            Self::Calls => calls::render(view, area, buf),
            Self::Log => log::render(view, area, buf),
            Self::Retries => retries::render(view, area, buf),
            Self::Users if areas.zoomed => users::table(view, area, buf),
            Self::Users => users::render(view, area, buf),
        }
    }
}

/// The border symbols of a theme.
pub fn border_set(glyphs: &Glyphs) -> border::Set<'static> {
    let [
        horizontal,
        vertical,
        top_left,
        top_right,
        bottom_left,
        bottom_right,
    ] = glyphs.border;
    border::Set {
        top_left,
        top_right,
        bottom_left,
        bottom_right,
        vertical_left: vertical,
        vertical_right: vertical,
        horizontal_top: horizontal,
        horizontal_bottom: horizontal,
    }
}

/// A bordered block of a theme.
pub fn block(theme: &Theme, style: Style) -> Block<'static> {
    Block::bordered()
        .border_set(border_set(theme.glyphs))
        .border_style(style)
        .merge_borders(MergeStrategy::Fuzzy)
}

/// Draws the rules of all panes with their titles, and the dividers.
pub fn rules(view: &View<'_>, areas: &Areas, buf: &mut Buffer) {
    let glyphs = view.theme.glyphs;
    let screen = buf.area;
    let mut lines: Vec<(PaneId, Rect)> = areas.panes.clone();
    lines.extend(areas.limiter_chart.map(|rect| (PaneId::Limiter, rect)));
    for (id, area) in &lines {
        let focused = *id == areas.focus;
        let (symbol, role) = if focused {
            (glyphs.heavy_rule, Role::Focus)
        } else {
            (glyphs.border[0], Role::Border)
        };
        for x in area.left()..area.right() {
            if let Some(cell) = buf.cell_mut((x, area.y)) {
                cell.set_symbol(symbol).set_style(view.theme.style(role));
            }
        }
    }
    for divider in &areas.dividers {
        draw_divider(view, *divider, divider.intersection(screen), buf);
    }
    for (id, area) in &lines {
        draw_title(view, areas, *id, *area, buf);
        let is_chart =
            area.width > areas.gutter && (areas.has_axis(*id) || areas.limiter_chart == Some(*area));
        if is_chart {
            chart::head(view, areas, *id, *area, buf);
        }
    }
}

/// Draws a vertical line that begins on a rule. A rule that it meets further down gets a junction.
fn draw_divider(view: &View<'_>, divider: Rect, visible: Rect, buf: &mut Buffer) {
    let glyphs = view.theme.glyphs;
    let is_rule = |x: Option<u16>, y: u16, buf: &Buffer| {
        let symbol = x.and_then(|x| buf.cell((x, y))).map(Cell::symbol);
        symbol.is_some_and(|symbol| symbol == glyphs.border[0] || symbol == glyphs.heavy_rule)
    };
    for y in visible.top()..visible.bottom() {
        let x = visible.x;
        let left = is_rule(x.checked_sub(1), y, buf);
        let right = is_rule(x.checked_add(1), y, buf);
        let heavy = buf
            .cell((x, y))
            .is_some_and(|cell| cell.symbol() == glyphs.heavy_rule);
        let first = y == divider.y;
        let symbol = match (first, left, right) {
            (true, ..) if heavy => glyphs.heavy_tee,
            (true, ..) => glyphs.tees[0],
            (false, true, true) => glyphs.tees[3],
            (false, true, false) => glyphs.tees[1],
            (false, false, true) => glyphs.tees[2],
            (false, false, false) => glyphs.border[1],
        };
        if let Some(cell) = buf.cell_mut((x, y)) {
            cell.set_symbol(symbol);
            if !heavy {
                cell.set_style(view.theme.style(Role::Border));
            }
        }
    }
}

/// Writes a line over a rule, in at most `room` columns.
pub(super) fn write_on_rule(line: &Line<'_>, x: u16, y: u16, room: u16, buf: &mut Buffer) {
    let cells = (line.width() as u16).min(room);
    for x in x..x.saturating_add(cells) {
        if let Some(cell) = buf.cell_mut((x, y)) {
            cell.reset();
        }
    }
    if y < buf.area.bottom() {
        buf.set_line(x, y, line, cells);
    }
}

/// Writes number and name at the left of the rule, and a note at its right.
fn draw_title(view: &View<'_>, areas: &Areas, id: PaneId, area: Rect, buf: &mut Buffer) {
    let style = |role| Style::reset().patch(view.theme.style(role));
    let focused = id == areas.focus;
    let role = if focused { Role::Title } else { Role::Strong };
    let first = u16::from(area.x > 0) + 1;
    let room = area.width.saturating_sub(first + 1);
    let name = if focused && view.theme.is_ascii() {
        format!("[{} {}]", id.digit(), id.name())
    } else {
        format!(" {} {} ", id.digit(), id.name())
    };
    let line = Line::from(Span::styled(name, style(role)));
    let (x, _) = buf.set_line(area.x.saturating_add(first), area.y, &line, room);
    let end = note_end(view, areas, id, area);
    let mut room = end.saturating_sub(x + 1);
    let note = match id {
        // its lanes determine the room, or the clock is there
        PaneId::Calls => return,
        _ if areas.zoomed && id.has_time_axis_zoomed() || areas.limiter_chart == Some(area) => return,
        _ => filter_note(view, id, usize::from(room)),
    };
    if id == PaneId::Log && area.height == 1 {
        // one row is the rule itself: the newest line is on it
        room = room.saturating_sub(note.as_ref().map_or(0, |note| note.width() as u16));
        let mut newest = log::newest(view, usize::from(room.saturating_sub(2)));
        if newest.width() > 0 {
            newest.spans.insert(0, Span::raw(" "));
            newest.push_span(Span::raw(" "));
            write_on_rule(&newest, x + 1, area.y, room, buf);
        }
        if note.is_none() {
            return;
        }
        room = end.saturating_sub(x + 1);
    }
    let note = note.unwrap_or_else(|| {
        let text = note_of(view, id, usize::from(room));
        Line::from(Span::styled(text, view.theme.style(Role::Muted)))
    });
    let cells = note.width() as u16;
    if cells > 2 && cells <= room {
        write_on_rule(&note, end - cells, area.y, cells, buf);
    }
}

/// The right end of the note on a pane's rule: at the edge of the screen the rule goes on behind it.
fn note_end(view: &View<'_>, areas: &Areas, id: PaneId, area: Rect) -> u16 {
    if id == PaneId::Calls {
        return calls::note_end(view, areas, area.right());
    }
    area.right()
        .saturating_sub(u16::from(area.right() == view.ui.size.width))
}

/// Shown in place of rows if none matches a filter.
pub(super) const NO_MATCH: &str = "No matching lines (Esc clears the filter)";

/// The filter of a pane with the number of matching rows, ` /failed user:ana  12 of 236 `, in at most `room` columns;
/// `None` without a filter. A text without room loses its beginning.
pub(super) fn filter_note(view: &View<'_>, id: PaneId, room: usize) -> Option<Line<'static>> {
    let text = view.ui.filter_text(id)?;
    let (found, all) = match id {
        PaneId::Calls => calls::matches(view),
        PaneId::Log => log::matches(view),
        PaneId::Users => users::matches(view),
        PaneId::Cache => zoom::cache::matches(view),
        PaneId::Chat => chat::matches(view),
        _ => return None,
    };
    let count = format!("  {found} of {all} ");
    let most = room.saturating_sub(wrap::width(&count) + 2);
    let start = text
        .char_indices()
        .map(|(at, _)| at)
        .chain([text.len()])
        .find(|at| text.get(*at..).is_none_or(|rest| wrap::width(rest) <= most))?;
    let typed = view.ui.filters_now(id);
    let role = match typed {
        true if view.ui.filter_selected => Role::Selection,
        true => Role::Input,
        false => Role::Strong,
    };
    let shown = text.get(start..).unwrap_or_default().to_owned();
    let style = |role| view.theme.style(role);
    Some(Line::from(vec![
        Span::styled(" /", style(Role::Muted)),
        Span::styled(shown, style(role)),
        Span::styled(count, style(Role::Muted)),
    ]))
}

/// Appended to the title of a list that stays at an older row.
const FOLLOW: &str = "End follow";

/// The note at the right of a title, at most `room` columns.
fn note_of(view: &View<'_>, id: PaneId, room: usize) -> String {
    let ui = view.ui;
    let text = match id {
        PaneId::Chat => {
            let turns = view.state.calls.chat.len();
            let several_users = ui.users.len() > 1 && ui.playback.is_none();
            let parts = [
                ui.chat_top
                    .map(|_| if ui.typing() { "PgDn goes on" } else { FOLLOW }.to_owned()),
                Some(chat::facts(&ui.chat).join(&format!(" {} ", view.theme.glyphs.dot)))
                    .filter(|facts| !facts.is_empty()),
                ui.conversation.then(|| "conversation".to_owned()),
                several_users.then(|| format!("as {}", ui.asking())),
                (turns > 0).then(|| kept(turns, view.state.calls.chat_dropped, "turn")),
            ];
            let parts: Vec<String> = parts.into_iter().flatten().collect();
            parts.join(&format!(" {} ", view.theme.glyphs.dot))
        }
        PaneId::Log => {
            let log = &view.state.log;
            if ui.log_cursor.is_some() {
                FOLLOW.to_owned()
            } else if log.dropped > 0 {
                kept(log.lines.len(), log.dropped, "line")
            } else {
                "/ filter".to_owned()
            }
        }
        PaneId::Breaker => breaker::title(view, room),
        PaneId::Limiter => limiter::title(view),
        PaneId::Retries => retries::title(view, room),
        PaneId::Users => users::title(view, room),
        PaneId::Cache => cache::title(view, room),
        PaneId::Traffic | PaneId::Latency | PaneId::Calls => String::new(),
    };
    if text.is_empty() || room < 6 {
        return String::new();
    }
    format!(" {} ", wrap::fit(&text, room - 2, view.theme.glyphs.ellipsis))
}

/// The rows of a list: `12 turns`, or `newest 50 of 62 turns` if the oldest are no longer kept.
fn kept(rows: usize, dropped: u64, noun: &str) -> String {
    let rows = rows as u64;
    if dropped == 0 {
        return units::count(rows, noun);
    }
    let all = rows.saturating_add(dropped);
    format!(
        "newest {} of {} {noun}s",
        units::grouped(rows),
        units::grouped(all)
    )
}

/// The position of the terminal cursor while a filter is typed, on the rule of its pane.
pub fn filter_cursor(view: &View<'_>, areas: &Areas) -> Option<Position> {
    let id = view.ui.focus;
    let area = areas.pane(id)?;
    let end = note_end(view, areas, id, area);
    let note = filter_note(view, id, usize::from(end.saturating_sub(area.x)))?;
    let start = end.saturating_sub(note.width() as u16);
    let (_, column) = view.ui.filters.get(&id)?.cursor_at(usize::MAX);
    let column = u16::try_from(column).unwrap_or(u16::MAX);
    Some(Position::new(
        start.saturating_add(2).saturating_add(column).min(end),
        area.y,
    ))
}

/// Writes why there are no panes.
pub fn too_small(view: &View<'_>, area: Rect, buf: &mut Buffer) {
    let area = area.intersection(buf.area);
    if !area.is_empty() {
        let text = format!("needs {MIN_WIDTH}x{MIN_HEIGHT} for panes");
        view.draw_notice(area, &text, buf);
    }
}

#[cfg(test)]
mod tests {
    use super::fixture;
    use super::*;
    use crate::event::CallId;
    use crate::state::{LogKind, LogLine};
    use crate::time::Timestamp;

    #[test]
    fn rows_that_are_no_longer_kept_are_counted() {
        let mut fixture = fixture::burst();
        let state = &mut fixture.state;
        state.calls.chat = (1..=50).map(CallId).collect();
        state.log.lines = (0..3)
            .map(|seq| LogLine {
                seq,
                at: Timestamp::ZERO,
                kind: LogKind::Note,
                call: None,
                text: "x".into(),
            })
            .collect();
        let notes = |fixture: &fixture::Fixture| {
            [PaneId::Chat, PaneId::Log].map(|id| note_of(&fixture.view(), id, 60).trim().to_owned())
        };
        let [chat, log] = notes(&fixture);
        assert!(chat.ends_with("50 turns") && log == "/ filter", "{chat}, {log}");
        (fixture.state.calls.chat_dropped, fixture.state.log.dropped) = (12, 9_998);
        let [chat, log] = notes(&fixture);
        assert!(chat.ends_with("newest 50 of 62 turns"), "{chat}");
        assert_eq!(log, "newest 3 of 10,001 lines");
    }
}
