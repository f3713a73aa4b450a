//! The panes: one file each, one pure function `render(&View, Rect, &mut Buffer)` each.
//!
//! Borders and titles are drawn here, so that neighbours can share a line and a pane need not know its
//! number. Adding a pane is one file, one variant and one row in each `match`.

pub mod appearance;
pub mod attempts;
pub mod breaker;
pub mod buckets;
pub mod cache;
pub mod chat;
#[cfg(test)]
mod fixture;
pub mod gauge;
pub mod guards;
pub mod latency;
pub mod log;
pub mod near_matches;
pub mod near_miss;
pub mod policy;
pub mod retries;
pub mod row;
pub mod semantic;
pub mod semantic_answer;
pub mod story;
pub mod timeline;
pub mod title;
#[cfg(test)]
mod totality;
pub mod users;
pub mod verdict;

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
    /// Breaker, buckets, cache and latency in one.
    Guards,
    /// The breaker alone, where there is room.
    Breaker,
    /// The buckets alone, where there is room.
    Buckets,
    /// The cache alone, where there is room.
    Cache,
    /// Percentiles alone, where there is room.
    Latency,
    /// Faults and policy, where there is room.
    Policy,
    /// A lane for each call.
    Attempts,
    /// The log.
    Log,
    /// Retries over time, where there is room.
    Retries,
    /// Each user's share, where there is room.
    Users,
}

impl PaneId {
    /// Its name on the screen.
    pub fn name(self) -> &'static str {
        match self {
            Self::Chat => "Chat",
            Self::Guards => "Guards",
            Self::Breaker => "Breaker",
            Self::Buckets => "Buckets",
            Self::Cache => "Cache",
            Self::Latency => "Latency",
            Self::Policy => "Faults & policy",
            Self::Attempts => "Attempts",
            Self::Log => "Log",
            Self::Retries => "Retries",
            Self::Users => "Users",
        }
    }

    /// Whether Enter on one of its rows opens a call.
    pub fn has_calls(self) -> bool {
        matches!(self, Self::Chat | Self::Attempts | Self::Log)
    }

    /// What its rows and marks mean, for the help.
    pub fn about(self) -> &'static [&'static str] {
        match self {
            Self::Chat => &[
                "you ask, the model answers",
                "under each answer: where it came from,",
                "tries, first token, speed, what it saved",
            ],
            Self::Guards => &[
                "what decides whether a call is sent:",
                "breaker, buckets, cache, latency",
            ],
            Self::Breaker => &[
                "CLOSED lets calls pass, OPEN refuses them",
                "HALF-OPEN lets one probe through",
            ],
            Self::Buckets => &["the bar is what is left", "right of it: left/capacity and refill"],
            Self::Cache => &[
                "hits of lookups, and what they saved",
                "the key holds the user: no sharing",
                "s: also answer prompts that mean the same",
                "Enter on such a hit, then g right, b wrong",
            ],
            Self::Latency => &[
                "half of the calls were faster than p50",
                "95 of 100 were faster than p95",
            ],
            Self::Policy => &["what is broken on purpose", "and the settings in force"],
            Self::Attempts => &[
                "one row = one call, newest first",
                "429/500/TMO = why a try failed",
                "Enter tells the story of a call",
            ],
            Self::Log => &["what happened, newest last", "/ filters, a leading ! inverts"],
            Self::Retries => &[
                "attempts a second: first tries and retries",
                "what retries achieved, and what they cost",
                "waits: o is drawn, | is the server's hint",
                "F breaks the upstream, B then shows retries",
            ],
            Self::Users => &[
                "each user's share, waiting, refused",
                "t: fair by user, or first come first served",
                "> asks, | is the fair share, by weight",
                "! is noisy: others wait, and its share is",
                "more than twice what is fair",
            ],
        }
    }

    /// Draws its content.
    pub fn render(self, view: &View<'_>, area: Rect, buf: &mut Buffer) {
        let area = area.intersection(buf.area);
        if area.is_empty() {
            return;
        }
        match self {
            Self::Chat => chat::render(view, area, buf),
            Self::Guards => guards::render(view, area, buf),
            Self::Breaker => breaker::render(view, area, buf),
            Self::Buckets => buckets::render(view, area, buf),
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

/// Border symbols of a theme.
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

/// Draws the borders of all panes, the focused one last, and then the titles: neighbours share lines, so
/// a border drawn late would cut a title drawn early.
pub fn frames(view: &View<'_>, areas: &Areas, buf: &mut Buffer) {
    let focused = |id: PaneId| id == areas.focus;
    let (late, early): (Vec<_>, Vec<_>) = areas.panes.iter().copied().partition(|(id, _)| focused(*id));
    for (id, area) in early.into_iter().chain(late) {
        let role = if focused(id) { Role::Focus } else { Role::Border };
        block(view.theme, view.theme.style(role)).render(area.intersection(buf.area), buf);
    }
    for (id, area) in &areas.panes {
        title_of(view, areas, *id, *area, buf);
    }
}

/// Writes number and name at the left of the top line, a note at its right.
fn title_of(view: &View<'_>, areas: &Areas, id: PaneId, area: Rect, buf: &mut Buffer) {
    let number = areas
        .tier
        .order()
        .iter()
        .position(|pane| *pane == id)
        .map_or(0, |at| (at + 1) % 10);
    let role = if id == areas.focus {
        Role::Focus
    } else {
        Role::Strong
    };
    let room = area.width.saturating_sub(4);
    let name = format!(" {number} {} ", id.name());
    let line = Line::from(Span::styled(name, view.theme.style(role)));
    let (x, _) = buf.set_line(area.x.saturating_add(2), area.y, &line, room);
    let note = note(view, id, usize::from(area.right().saturating_sub(x + 3)));
    let cells = u16::try_from(wrap::width(&note)).unwrap_or(u16::MAX);
    if cells > 2 && x + cells + 3 <= area.right() {
        let style = view.theme.style(Role::Muted);
        buf.set_stringn(area.right() - cells - 2, area.y, note, usize::from(cells), style);
    }
}

/// What stands at the right of a title, at most `room` cells.
fn note(view: &View<'_>, id: PaneId, room: usize) -> String {
    let ui = view.ui;
    let text = match id {
        PaneId::Chat => {
            let turns = view.state.calls.chat.len();
            let turns = match turns {
                0 => String::new(),
                1 => "1 turn".to_owned(),
                many => format!("{many} turns"),
            };
            let user = if ui.users.len() > 1 && ui.playback.is_none() {
                format!("as {}", ui.asking())
            } else {
                String::new()
            };
            let whole = if ui.conversation {
                "conversation".to_owned()
            } else {
                String::new()
            };
            let scrolled = if ui.chat_top.is_some() {
                "End follows".to_owned()
            } else {
                String::new()
            };
            let parts: Vec<String> = [scrolled, whole, user, turns]
                .into_iter()
                .filter(|part| !part.is_empty())
                .collect();
            parts.join(&format!(" {} ", view.theme.glyphs.dot))
        }
        PaneId::Log => {
            let filter = match (ui.filter.text(), ui.mode) {
                ("", Mode::Normal | Mode::Input) => "/ filter".to_owned(),
                (text, _) => format!("/{text}"),
            };
            if ui.log_cursor.is_some() {
                format!("{filter}   End follows")
            } else {
                filter
            }
        }
        PaneId::Guards => guards::title(view, room as u16),
        PaneId::Breaker => breaker::title(view, room as u16),
        PaneId::Buckets => buckets::title(view, room as u16),
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

/// Where the real cursor belongs while the filter is typed: after its text, in the title of the log.
pub fn filter_cursor(view: &View<'_>, log: Rect) -> Option<Position> {
    let note = note(view, PaneId::Log, usize::from(log.width.saturating_sub(12)));
    let follow = if view.ui.log_cursor.is_some() {
        wrap::width("   End follows")
    } else {
        0
    };
    let back = u16::try_from(follow + 1).ok()?;
    let shown = u16::try_from(wrap::width(&note)).ok()?;
    (shown > 0).then(|| Position::new(log.right().saturating_sub(2 + back), log.y))
}

/// Says why there are no panes.
pub fn too_small(view: &View<'_>, area: Rect, buf: &mut Buffer) {
    let area = area.intersection(buf.area);
    if area.is_empty() {
        return;
    }
    let text = format!("needs {MIN_WIDTH}x{MIN_HEIGHT} for panes");
    view.say(area, &text, buf);
}
