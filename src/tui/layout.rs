//! The layout of the screen: a pure function of the size and the zoomed pane.
//!
//! ```text
//!  < 60x16             60x16 and up            110 wide              180x50
//!  verdict             title                   the same, input       title, verdict
//!  counts              verdict                 inside the chat       Chat | Breaker | Limiter
//!  last log lines      Chat     | Guards                                  | Cache   | Latency
//!  needs 60x16         Attempts                                           | Policy
//!                      Log                                           Attempts | Retries | Users
//!                                                                    Log
//! ```
//!
//! A pane without room beside the others still has a digit: it opens on the whole screen, and Escape returns to
//! its parent pane.
//!
//! Neighbours share a border line, which saves a row per pane. Height goes to verdict, attempts, guards, chat and
//! log, in this order.

use ratatui::layout::{Position, Rect};

use super::input;
use super::pane::PaneId;
use super::ui::Ui;

/// The smallest width with panes.
pub const MIN_WIDTH: u16 = 60;
/// The smallest height with panes.
pub const MIN_HEIGHT: u16 = 16;

/// The class of a terminal size.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Tier {
    /// The verdict and a few log lines.
    Tiny,
    /// Four panes.
    Small,
    /// Four larger panes, the prompt inside the chat.
    Medium,
    /// A pane per guard.
    Large,
}

impl Tier {
    /// The tier of a size.
    pub fn for_size(width: u16, height: u16) -> Self {
        if width < MIN_WIDTH || height < MIN_HEIGHT {
            Self::Tiny
        } else if width >= 180 && height >= 50 {
            Self::Large
        } else if width >= 110 && height >= 30 {
            Self::Medium
        } else {
            Self::Small
        }
    }

    /// The panes of this tier; the digit of a pane is its position, from 1.
    pub fn order(self) -> &'static [PaneId] {
        match self {
            Self::Tiny => &[PaneId::Log],
            Self::Small | Self::Medium => &[
                PaneId::Chat,
                PaneId::Guards,
                PaneId::Attempts,
                PaneId::Log,
                PaneId::Cache,
                PaneId::Retries,
                PaneId::Users,
            ],
            Self::Large => &[
                PaneId::Chat,
                PaneId::Breaker,
                PaneId::Limiter,
                PaneId::Cache,
                PaneId::Latency,
                PaneId::Policy,
                PaneId::Attempts,
                PaneId::Log,
                PaneId::Retries,
                PaneId::Users,
            ],
        }
    }

    /// The digit of a pane; `None` if this tier does not have it.
    pub fn digit(self, pane: PaneId) -> Option<usize> {
        let position = self.order().iter().position(|other| *other == pane)?;
        Some((position + 1) % 10)
    }

    /// The pane that Escape returns to from a pane that this tier shows only on the whole screen; `None` for
    /// others.
    pub fn parent_pane(self, focus: PaneId) -> Option<PaneId> {
        match (self, self.visible_pane(focus)) {
            (Self::Small | Self::Medium, PaneId::Cache | PaneId::Users) => Some(PaneId::Guards),
            (Self::Small | Self::Medium, PaneId::Retries) => Some(PaneId::Attempts),
            _ => None,
        }
    }

    /// The pane that replaces `focus` in this tier: guards merge and split when the terminal is resized.
    pub fn visible_pane(self, focus: PaneId) -> PaneId {
        let order = self.order();
        if order.contains(&focus) {
            return focus;
        }
        let other = match focus {
            PaneId::Guards => PaneId::Breaker,
            PaneId::Breaker | PaneId::Limiter | PaneId::Cache | PaneId::Latency | PaneId::Policy => {
                PaneId::Guards
            }
            PaneId::Chat | PaneId::Attempts | PaneId::Log | PaneId::Retries | PaneId::Users => PaneId::Log,
        };
        if order.contains(&other) {
            other
        } else {
            PaneId::Log
        }
    }
}

/// The areas of one screen; empty without room.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Areas {
    /// The tier of the size.
    pub tier: Tier,
    /// The title bar.
    pub title: Rect,
    /// The verdict; two rows in the smallest tier.
    pub verdict: Rect,
    /// The required size, in the smallest tier.
    pub notice: Rect,
    /// The visible panes, borders included.
    pub panes: Vec<(PaneId, Rect)>,
    /// The prompt.
    pub input: Rect,
    /// Keys and messages.
    pub footer: Rect,
    /// The pane with the focus.
    pub focus: PaneId,
}

impl Areas {
    /// The area of a visible pane, border included.
    pub fn pane(&self, id: PaneId) -> Option<Rect> {
        self.panes
            .iter()
            .find(|(pane, _)| *pane == id)
            .map(|(_, rect)| *rect)
    }

    /// The content area of a pane: inside the border, with a blank column on each side.
    pub fn inner(&self, id: PaneId) -> Rect {
        let Some(outer) = self.pane(id) else {
            return Rect::default();
        };
        if self.tier == Tier::Tiny {
            return outer;
        }
        let mut inner = Rect {
            x: outer.x.saturating_add(2),
            y: outer.y.saturating_add(1),
            width: outer.width.saturating_sub(4),
            height: outer.height.saturating_sub(2),
        };
        if id == PaneId::Chat && self.input.intersects(inner) {
            inner.height = self.input.y.saturating_sub(inner.y);
        }
        inner
    }

    /// The pane at a position.
    pub fn at(&self, position: Position) -> Option<PaneId> {
        self.panes
            .iter()
            .rev()
            .find(|(_, rect)| rect.contains(position))
            .map(|(id, _)| *id)
    }
}

/// Allocates rows from the top or the bottom of an area.
pub(super) struct Rows {
    left: Rect,
}

impl Rows {
    pub(super) fn new(area: Rect) -> Self {
        Self { left: area }
    }

    pub(super) fn top(&mut self, height: u16) -> Rect {
        let height = height.min(self.left.height);
        let row = Rect { height, ..self.left };
        self.left.y += height;
        self.left.height -= height;
        row
    }

    fn bottom(&mut self, height: u16) -> Rect {
        let height = height.min(self.left.height);
        self.left.height -= height;
        Rect {
            y: self.left.y + self.left.height,
            height,
            ..self.left
        }
    }
}

/// Computes the areas of a screen of size `area`.
pub fn layout(area: Rect, ui: &Ui) -> Areas {
    let tier = Tier::for_size(area.width, area.height);
    let focus = tier.visible_pane(ui.focus);
    let mut rows = Rows::new(area);
    let mut areas = Areas {
        tier,
        title: Rect::default(),
        verdict: Rect::default(),
        notice: Rect::default(),
        panes: Vec::new(),
        input: Rect::default(),
        footer: Rect::default(),
        focus,
    };
    if tier == Tier::Tiny {
        tiny(&mut areas, &mut rows, ui);
        return areas;
    }
    areas.title = rows.top(1);
    areas.verdict = rows.top(1);
    areas.footer = rows.bottom(1);
    let lines = input::height(ui, area.width, (area.height / 5).max(1));
    let zoomed = ui.zoomed || tier.parent_pane(focus).is_some();
    // the bar of a replay gets the whole width
    let chat_holds_input = if ui.playback.is_some() {
        false
    } else if zoomed {
        focus == PaneId::Chat
    } else {
        tier >= Tier::Medium
    };
    if !chat_holds_input {
        areas.input = rows.bottom(lines);
    }
    let body = rows.left;
    areas.panes = match (zoomed, tier) {
        (true, _) => vec![(focus, body)],
        (false, Tier::Large) => large(body),
        (false, _) => bands(body, lines.saturating_sub(1).min(areas.input.height)),
    };
    if chat_holds_input && let Some(chat) = areas.pane(PaneId::Chat) {
        let width = chat.width.saturating_sub(4);
        let lines = input::height(ui, width, (chat.height / 2).max(1));
        areas.input = Rect {
            x: chat.x + 2,
            y: chat.bottom().saturating_sub(1 + lines),
            width,
            height: lines,
        }
        .intersection(chat);
    }
    areas
}

/// The smallest tier: the most important rows first.
fn tiny(areas: &mut Areas, rows: &mut Rows, ui: &Ui) {
    let first = rows.top(1);
    areas.footer = rows.bottom(1);
    if ui.mode == super::ui::Mode::Input || ui.playback.is_some() {
        areas.input = rows.bottom(1);
    }
    let second = rows.top(1);
    areas.verdict = first.union(second);
    if rows.left.height > 2 {
        areas.notice = rows.bottom(1);
    }
    if rows.left.height > 3 {
        areas.title = first;
        areas.verdict = second.union(rows.top(1));
    }
    areas.panes = vec![(PaneId::Log, rows.left)];
}

/// Chat and guards side by side, attempts, log. Neighbours share border lines.
///
/// A prompt of several lines takes `taken` rows of the body. Attempts lose them first, so that the other panes
/// keep their size while a prompt is typed.
fn bands(body: Rect, taken: u16) -> Vec<(PaneId, Rect)> {
    let whole = body.height + taken;
    let with_log = whole >= 17;
    let borders = if with_log { 4 } else { 3 };
    let content = body.height.saturating_sub(borders);
    let usual = whole.saturating_sub(borders);
    let log = if with_log { (usual * 3 / 16).clamp(3, 8) } else { 0 };
    let top = (usual * 3 / 8).clamp(4, 14).min(content.saturating_sub(log + 5));
    let attempts = content.saturating_sub(top + log);
    let split = body.width * 52 / 100;
    let chat = Rect {
        width: split + 1,
        height: top + 2,
        ..body
    };
    let guards = Rect {
        x: body.x + split,
        width: body.width - split,
        ..chat
    };
    let attempts = Rect {
        y: body.y + top + 1,
        height: attempts + 2,
        ..body
    };
    let mut panes = vec![
        (PaneId::Chat, chat),
        (PaneId::Guards, guards),
        (PaneId::Attempts, attempts),
    ];
    if with_log {
        let y = attempts.bottom() - 1;
        panes.push((
            PaneId::Log,
            Rect {
                y,
                height: body.bottom() - y,
                ..body
            },
        ));
    }
    panes
}

/// A pane per guard.
fn large(body: Rect) -> Vec<(PaneId, Rect)> {
    let content = body.height.saturating_sub(4);
    let (top, log) = ((content / 2).clamp(20, 30), (content * 3 / 16).clamp(5, 12));
    let chat = Rect {
        width: body.width * 2 / 5,
        height: top + 2,
        ..body
    };
    let rest = Rect {
        x: chat.right() - 1,
        width: body.width - chat.width + 1,
        ..chat
    };
    let half = rest.width / 2;
    // three rows of guards that share border lines
    let inner = top.saturating_sub(2);
    let first = inner * 9 / 24;
    let second = inner * 7 / 24;
    let row = |y: u16, height: u16| Rect {
        y,
        height: height + 2,
        ..rest
    };
    let left = |row: Rect| Rect {
        width: half + 1,
        ..row
    };
    let right = |row: Rect| Rect {
        x: row.x + half,
        width: row.width - half,
        ..row
    };
    let one = row(rest.y, first);
    let two = row(one.bottom() - 1, second);
    let three_top = two.bottom() - 1;
    let three = Rect {
        y: three_top,
        height: rest.bottom() - three_top,
        ..rest
    };
    let mut panes = vec![
        (PaneId::Chat, chat),
        (PaneId::Breaker, left(one)),
        (PaneId::Limiter, right(one)),
        (PaneId::Cache, left(two)),
        (PaneId::Latency, right(two)),
        (PaneId::Policy, three),
    ];
    let below = chat.bottom() - 1;
    panes.extend(attempts_and_log(body, below, log));
    panes
}

/// Below the guards: attempts, retries and users side by side, and the log.
fn attempts_and_log(body: Rect, y: u16, log: u16) -> [(PaneId, Rect); 4] {
    let log_top = body.bottom() - (log + 2);
    let band = Rect {
        y,
        height: log_top + 1 - y,
        ..body
    };
    let (first, second) = (body.width * 11 / 20, body.width * 16 / 20);
    let part = |from: u16, to: u16| Rect {
        x: body.x + from,
        width: to - from,
        ..band
    };
    let log = Rect {
        y: log_top,
        height: log + 2,
        ..body
    };
    [
        (PaneId::Attempts, part(0, first)),
        (PaneId::Retries, part(first - 1, second)),
        (PaneId::Users, part(second - 1, body.width)),
        (PaneId::Log, log),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(width: u16, height: u16) -> Areas {
        layout(Rect::new(0, 0, width, height), &Ui::default())
    }

    #[test]
    fn areas_at_80x24() {
        let areas = at(80, 24);
        assert_eq!(areas.title, Rect::new(0, 0, 80, 1));
        assert_eq!(areas.verdict, Rect::new(0, 1, 80, 1));
        assert_eq!(
            areas.panes,
            [
                (PaneId::Chat, Rect::new(0, 2, 42, 8)),
                (PaneId::Guards, Rect::new(41, 2, 39, 8)),
                (PaneId::Attempts, Rect::new(0, 9, 80, 9)),
                (PaneId::Log, Rect::new(0, 17, 80, 5)),
            ]
        );
        assert_eq!(areas.input, Rect::new(0, 22, 80, 1));
        assert_eq!(areas.footer, Rect::new(0, 23, 80, 1));
        assert_eq!(areas.inner(PaneId::Guards), Rect::new(43, 3, 35, 6));
    }

    #[test]
    fn a_growing_prompt_takes_its_rows_from_the_attempts() {
        let with = |draft: &str| Ui {
            draft: crate::tui::editor::Editor::from_text(draft),
            ..Ui::default()
        };
        let area = Rect::new(0, 0, 80, 24);
        let (one, three) = (layout(area, &with("a")), layout(area, &with("a\nb\nc")));
        assert_eq!(one.pane(PaneId::Guards), three.pane(PaneId::Guards));
        let heights =
            [&one, &three].map(|areas| [PaneId::Attempts, PaneId::Log].map(|id| areas.inner(id).height));
        assert_eq!(heights, [[7, 3], [5, 3]]);
    }

    #[test]
    fn tiers_and_their_panes() {
        assert_eq!(at(59, 40).tier, Tier::Tiny);
        assert_eq!(at(60, 16).panes.len(), 3);
        assert_eq!(at(120, 40).tier, Tier::Medium);
        assert_eq!(at(200, 60).panes.len(), 10);
        let areas = at(120, 40);
        assert!(
            areas
                .pane(PaneId::Chat)
                .unwrap()
                .contains(areas.input.as_position())
        );
    }

    #[test]
    fn areas_stay_inside_and_panes_overlap_only_in_borders() {
        for width in (0..=220).step_by(7) {
            for height in 0..=70 {
                let area = Rect::new(0, 0, width, height);
                for zoomed in [false, true] {
                    let ui = Ui {
                        zoomed,
                        ..Ui::default()
                    };
                    let areas = layout(area, &ui);
                    let bars = [areas.title, areas.verdict, areas.input, areas.footer];
                    for place in areas.panes.iter().map(|(_, rect)| *rect).chain(bars) {
                        assert_eq!(place.intersection(area), place, "{width}x{height}");
                    }
                    for (index, (a, _)) in areas.panes.iter().enumerate() {
                        for (b, _) in areas.panes.iter().skip(index + 1) {
                            assert!(
                                !areas.inner(*a).intersects(areas.inner(*b)),
                                "{width}x{height} {a:?} {b:?}"
                            );
                        }
                    }
                    if areas.tier > Tier::Tiny && !zoomed {
                        assert!(areas.inner(PaneId::Attempts).height >= 5, "{width}x{height}");
                    }
                }
            }
        }
    }

    #[test]
    fn guards_split_and_merge_with_the_size() {
        assert_eq!(Tier::Large.visible_pane(PaneId::Guards), PaneId::Breaker);
        assert_eq!(Tier::Small.visible_pane(PaneId::Policy), PaneId::Guards);
        assert_eq!(Tier::Tiny.visible_pane(PaneId::Chat), PaneId::Log);
    }
}
