//! The panes: one file with one pure function `render(&View, Rect, &mut Buffer)` each.
//!
//! Borders and titles are drawn here, so that neighbours can share a line and a pane does not know its number. A
//! new pane is one file, one variant, and one arm in each `match`.

pub(super) mod appearance;
mod attempts;
mod breaker;
mod cache;
pub(super) mod chat;
#[cfg(test)]
mod fixture;
pub(super) mod gauge;
mod guards;
mod latency;
mod limiter;
pub(super) mod log;
mod near_matches;
mod near_miss;
mod policy;
#[cfg(test)]
mod properties;
mod retries;
pub(super) mod row;
mod semantic;
mod semantic_answer;
pub(super) mod story;
pub(super) mod timeline;
pub(super) mod title;
mod users;
pub(super) mod verdict;

use ratatui::buffer::Buffer;
use ratatui::layout::{Position, Rect};
use ratatui::style::Style;
use ratatui::symbols::border;
use ratatui::symbols::merge::MergeStrategy;
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, Widget};

use super::layout::{Areas, MIN_HEIGHT, MIN_WIDTH};
use super::theme::{Glyphs, Role, Theme};
use super::ui::Mode;
use super::view::View;
use super::wrap;
use crate::text::units;

/// A region of the screen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PaneId {
    /// The conversation.
    #[default]
    Chat,
    /// Breaker, limiter, cache and latency in one, on small screens.
    Guards,
    /// The breaker, on large screens.
    Breaker,
    /// The limiter, on large screens.
    Limiter,
    /// The cache.
    Cache,
    /// Latency percentiles, on large screens.
    Latency,
    /// Faults and policy, on large screens.
    Policy,
    /// A timeline per call.
    Attempts,
    /// The log.
    Log,
    /// Retries over time.
    Retries,
    /// Each user's share of the limiter.
    Users,
}

impl PaneId {
    /// The name on the screen.
    pub fn name(self) -> &'static str {
        match self {
            Self::Chat => "Chat",
            Self::Guards => "Guards",
            Self::Breaker => "Breaker",
            Self::Limiter => "Limiter",
            Self::Cache => "Cache",
            Self::Latency => "Latency",
            Self::Policy => "Faults & policy",
            Self::Attempts => "Attempts",
            Self::Log => "Log",
            Self::Retries => "Retries",
            Self::Users => "Users",
        }
    }

    /// Returns true if Enter on a row opens a call.
    pub fn has_calls(self) -> bool {
        matches!(self, Self::Chat | Self::Attempts | Self::Log)
    }

    /// The meaning of rows and glyphs, for the help.
    pub fn about(self) -> &'static [&'static str] {
        match self {
            Self::Chat => &[
                "prompts and answers",
                "status under each answer: source,",
                "attempts, first token, speed, savings",
            ],
            Self::Guards => &[
                "what decides whether a call is sent:",
                "breaker, limiter, cache; and latency",
            ],
            Self::Breaker => &[
                "CLOSED: calls pass, OPEN: calls are refused",
                "HALF-OPEN: a few probes pass",
            ],
            Self::Limiter => &["bar: what is left", "numbers: left/capacity and refill rate"],
            Self::Cache => &[
                "hits of lookups, and what they saved",
                "the key includes the user: no sharing",
                "[s] also match similar prompts",
                "[Enter] on such a hit: judge it right or wrong",
            ],
            Self::Latency => &["p50, p95, p99: percentiles", "ttft: time to the first token"],
            Self::Policy => &["injected faults", "and the settings in force"],
            Self::Attempts => &[
                "one row per call, newest first",
                "429/500/TMO: why an attempt failed",
                "[Enter] show the story of a call",
            ],
            Self::Log => &["events, newest last", "[/] filter; a leading ! inverts"],
            Self::Retries => &[
                "attempts per second: first and retries",
                "what retries achieved, and what they cost",
                "back-offs: o drawn, | server hint",
                "[F] inject faults, then [B] see retries",
            ],
            Self::Users => &[
                "each user's share, queue, rejected calls",
                "[t] switch: fair by user, or first come first served",
                "> sends prompts, | fair share by weight",
                "! noisy: others wait, and its share is",
                "more than twice the fair share",
            ],
        }
    }

    /// Draws the content.
    pub fn render(self, view: &View<'_>, area: Rect, buf: &mut Buffer) {
        let area = area.intersection(buf.area);
        if area.is_empty() {
            return;
        }
        match self {
            Self::Chat => chat::render(view, area, buf),
            Self::Guards => guards::render(view, area, buf),
            Self::Breaker => breaker::render(view, area, buf),
            Self::Limiter => limiter::render(view, area, buf),
            Self::Cache => cache::render(view, area, buf),
            Self::Latency => latency::render(view, area, buf),
            Self::Policy => policy::render(view, area, buf),
            Self::Attempts => attempts::render(view, area, buf),
            Self::Log => log::render(view, area, buf),
            Self::Retries => retries::render(view, area, buf),
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

/// Draws the borders of all panes, the focused one last, then the titles. Neighbours share lines: a border drawn
/// later would overwrite a title.
pub fn frames(view: &View<'_>, areas: &Areas, buf: &mut Buffer) {
    let focused = |id: PaneId| id == areas.focus;
    let (late, early): (Vec<_>, Vec<_>) = areas.panes.iter().copied().partition(|(id, _)| focused(*id));
    for (id, area) in early.into_iter().chain(late) {
        let role = if focused(id) { Role::Focus } else { Role::Border };
        block(view.theme, view.theme.style(role)).render(area.intersection(buf.area), buf);
    }
    for (id, area) in &areas.panes {
        draw_title(view, areas, *id, *area, buf);
    }
}

/// Writes number and name at the left of the top line, and a note at its right.
fn draw_title(view: &View<'_>, areas: &Areas, id: PaneId, area: Rect, buf: &mut Buffer) {
    let number = areas.tier.digit(id).unwrap_or(0);
    // without the style of a focused neighbour's border on the same line
    let style = |role| Style::reset().patch(view.theme.style(role));
    let role = if id == areas.focus {
        Role::Focus
    } else {
        Role::Strong
    };
    let room = area.width.saturating_sub(4);
    let name = format!(" {number} {} ", id.name());
    let line = Line::from(Span::styled(name, style(role)));
    let (x, _) = buf.set_line(area.x.saturating_add(2), area.y, &line, room);
    let note = note(view, id, usize::from(area.right().saturating_sub(x + 3)));
    let cells = u16::try_from(wrap::width(&note)).unwrap_or(u16::MAX);
    if cells > 2 && x + cells + 3 <= area.right() {
        let x = area.right() - cells - 2;
        buf.set_stringn(x, area.y, note, usize::from(cells), style(Role::Muted));
    }
}

/// Appended to the title of a list that stays at an older row.
const FOLLOW: &str = "[End] follow";

/// The note at the right of a title, at most `room` columns.
fn note(view: &View<'_>, id: PaneId, room: usize) -> String {
    let ui = view.ui;
    let text = match id {
        PaneId::Chat => {
            let turns = view.state.calls.chat.len();
            let several_users = ui.users.len() > 1 && ui.playback.is_none();
            let parts = [
                ui.chat_top.map(|_| FOLLOW.to_owned()),
                ui.conversation.then(|| "conversation".to_owned()),
                several_users.then(|| format!("as {}", ui.asking())),
                (turns > 0).then(|| units::count(turns as u64, "turn")),
            ];
            let parts: Vec<String> = parts.into_iter().flatten().collect();
            parts.join(&format!(" {} ", view.theme.glyphs.dot))
        }
        PaneId::Log => {
            let filter = match (ui.filter.text(), ui.mode) {
                ("", Mode::Normal | Mode::Input) => "[/] filter".to_owned(),
                (text, _) => format!("/{text}"),
            };
            if ui.log_cursor.is_some() {
                format!("{filter}   {FOLLOW}")
            } else {
                filter
            }
        }
        PaneId::Breaker => breaker::title(view, room as u16),
        PaneId::Guards | PaneId::Limiter => limiter::title(view, room as u16),
        PaneId::Policy => policy::title(view, room as u16),
        PaneId::Attempts => attempts::title(view, room as u16),
        PaneId::Retries => retries::title(view, room as u16),
        PaneId::Users => users::title(view, room),
        PaneId::Cache => semantic::count(view).unwrap_or_default(),
        PaneId::Latency => String::new(),
    };
    if text.is_empty() || room < 6 {
        return String::new();
    }
    format!(" {} ", wrap::fit(&text, room - 2, view.theme.glyphs.ellipsis))
}

/// The position of the terminal cursor while the filter is typed: after its text, in the title of the log.
pub fn filter_cursor(view: &View<'_>, log: Rect) -> Option<Position> {
    let note = note(view, PaneId::Log, usize::from(log.width.saturating_sub(12)));
    let follow = if view.ui.log_cursor.is_some() {
        3 + FOLLOW.len()
    } else {
        0
    };
    let back = u16::try_from(follow + 1).ok()?;
    let shown = u16::try_from(wrap::width(&note)).ok()?;
    (shown > 0).then(|| Position::new(log.right().saturating_sub(2 + back), log.y))
}

/// Writes why there are no panes.
pub fn too_small(view: &View<'_>, area: Rect, buf: &mut Buffer) {
    let area = area.intersection(buf.area);
    if !area.is_empty() {
        let text = format!("needs {MIN_WIDTH}x{MIN_HEIGHT} for panes");
        view.draw_notice(area, &text, buf);
    }
}
