//! The layout of the screen: a pure function of the size, the focus and the zoom.
//!
//! ```text
//!  < 60x16           60x16 and up          110x30 and up           180x50 and up
//!  title             title                 the same; cards of      cards of seven rows
//!  sentence          sentence              five rows, two strips,  charts, limiter  | Retries
//!  counts            counts                a wider gutter          chart, Calls     | Users
//!  last log lines    cards                                                          | Chat
//!  60x16 needed      Traffic  gutter|plot                                           | Log
//!                    Latency  gutter|plot  (from 28 rows)
//!                    Calls    gutter|plot
//!                    Log | Chat            (one row of log below 100 columns)
//!                    prompt, keys
//! ```
//!
//! A pane has a rule on top and no other border; a rule belongs to the pane below it. Traffic, Latency and Calls
//! share the columns of one time axis. A pane without room on the main screen opens on the whole screen.
//!
//! Height goes to the sentence, the counts, Calls, the cards, Traffic, Latency and the log, in this order.

use ratatui::layout::{Position, Rect};

use super::input;
use super::pane::PaneId;
use super::tour;
use super::ui::Ui;

/// The smallest width with panes.
pub const MIN_WIDTH: u16 = 60;
/// The smallest height with panes.
pub const MIN_HEIGHT: u16 = 16;
/// The width from which the chat is always visible.
pub const CHAT_WIDTH: u16 = 100;
/// The width from which the users have a card.
const USERS_WIDTH: u16 = 150;
/// The width below which the retries have no card.
const FOUR_CARDS: u16 = 76;
/// The height from which latency has a pane.
const LATENCY_HEIGHT: u16 = 28;
/// The columns of the right part of the largest tier, its divider included.
const RIGHT: u16 = 50;

/// The class of a terminal size.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Tier {
    /// The sentence and a few log lines.
    Tiny,
    /// Cards of three rows.
    Small,
    /// Cards of five rows.
    Medium,
    /// Cards of seven rows, a column on the right.
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

    /// Rows of a card.
    fn card_rows(self) -> u16 {
        match self {
            Self::Tiny | Self::Small => 3,
            Self::Medium => 5,
            Self::Large => 7,
        }
    }

    /// Rows above the bars of Traffic: faults and breaker; only the breaker on small screens.
    pub fn strips(self) -> u16 {
        if self >= Self::Medium { 2 } else { 1 }
    }
}

/// The areas of one screen; empty without room.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Areas {
    /// The tier of the size.
    pub tier: Tier,
    /// The title bar.
    pub title: Rect,
    /// The chip and the sentence; two rows in the smallest tier.
    pub sentence: Rect,
    /// The counts of calls.
    pub counts: Rect,
    /// The required size, in the smallest tier.
    pub notice: Rect,
    /// The visible panes, each with its rule as the first row.
    pub panes: Vec<(PaneId, Rect)>,
    /// The chart of the limiter in the largest tier, with its rule.
    pub limiter_chart: Option<Rect>,
    /// The values at the crosshair, while there is one.
    pub crosshair: Rect,
    /// Vertical lines, one column wide, that begin on a rule.
    pub dividers: Vec<Rect>,
    /// Columns left of the time axis.
    pub gutter: u16,
    /// The box of the tour.
    pub tour: Rect,
    /// The prompt.
    pub input: Rect,
    /// Keys and messages.
    pub footer: Rect,
    /// The pane with the focus.
    pub focus: PaneId,
    /// True if the focused pane fills the screen.
    pub zoomed: bool,
}

impl Areas {
    /// The area of a visible pane, rule included.
    pub fn pane(&self, id: PaneId) -> Option<Rect> {
        self.panes
            .iter()
            .find(|(pane, _)| *pane == id)
            .map(|(_, rect)| *rect)
    }

    /// The content area of a pane: below the rule; beside a divider and a blank column, except for charts, which
    /// use every column.
    pub fn inner(&self, id: PaneId) -> Rect {
        let Some(outer) = self.pane(id) else {
            return Rect::default();
        };
        if self.tier == Tier::Tiny {
            return outer;
        }
        let left = if self.has_axis(id) {
            0
        } else {
            1 + u16::from(outer.x > 0)
        };
        Rect {
            x: outer.x.saturating_add(left).min(outer.right()),
            y: outer.y.saturating_add(1).min(outer.bottom()),
            width: outer.width.saturating_sub(left),
            height: outer.height.saturating_sub(1),
        }
    }

    /// Returns true if a pane is drawn on a time axis on this screen.
    pub fn has_axis(&self, id: PaneId) -> bool {
        if self.zoomed {
            id.has_time_axis_zoomed()
        } else {
            id.has_time_axis()
        }
    }

    /// The content area of the limiter's chart.
    pub fn limiter_chart_inner(&self) -> Rect {
        let outer = self.limiter_chart.unwrap_or_default();
        Rect {
            y: outer.y.saturating_add(1).min(outer.bottom()),
            height: outer.height.saturating_sub(1),
            ..outer
        }
    }

    /// Columns of the plots right of the time axis.
    pub fn plot_columns(&self) -> u16 {
        let chart = self.panes.iter().find(|(id, _)| self.has_axis(*id));
        chart.map_or(0, |(_, rect)| rect.width.saturating_sub(self.gutter + 1))
    }

    /// Returns true if a position in a pane lies on the plot of a chart.
    pub fn has_chart(&self, pane: PaneId, position: Position) -> bool {
        let charts = [PaneId::Traffic, PaneId::Latency].contains(&pane)
            || self.limiter_chart.is_some_and(|rect| rect.contains(position));
        charts && self.tier != Tier::Tiny && position.x > self.gutter
    }

    /// The pane at a position.
    pub fn at(&self, position: Position) -> Option<PaneId> {
        if self.limiter_chart.is_some_and(|rect| rect.contains(position)) {
            return Some(PaneId::Limiter);
        }
        self.panes
            .iter()
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
    let mut rows = Rows::new(area);
    let mut areas = Areas {
        tier,
        title: Rect::default(),
        sentence: Rect::default(),
        counts: Rect::default(),
        notice: Rect::default(),
        panes: Vec::new(),
        limiter_chart: None,
        crosshair: Rect::default(),
        dividers: Vec::new(),
        gutter: match area.width {
            0..CHAT_WIDTH => 19,
            _ if tier >= Tier::Medium => 29,
            _ => 24,
        },
        tour: Rect::default(),
        input: Rect::default(),
        footer: Rect::default(),
        focus: ui.focus,
        zoomed: false,
    };
    if tier == Tier::Tiny {
        tiny(&mut areas, &mut rows, ui);
        return areas;
    }
    areas.title = rows.top(1);
    areas.sentence = rows.top(1);
    areas.counts = rows.top(1);
    areas.footer = rows.bottom(1);
    areas.tour = rows.bottom(tour::rows(ui, area.width, area.height));
    let lines = input::height(ui, area.width, (area.height / 5).max(1));
    areas.input = rows.bottom(lines);
    let body = rows.left;
    if !ui.zoomed {
        match tier {
            Tier::Large => large(&mut areas, body, ui),
            _ => stacked(&mut areas, body, ui),
        }
    }
    if areas.pane(ui.focus).is_none() {
        areas.zoomed = true;
        areas.limiter_chart = None;
        areas.dividers.clear();
        areas.panes = vec![(ui.focus, body)];
        if ui.focus == PaneId::Calls {
            // more columns about each call
            areas.gutter = areas.gutter.max(body.width * 9 / 20);
        }
        if ui.focus.has_time_axis_zoomed() {
            axis_divider(&mut areas, body);
        }
    }
    if ui.crosshair.is_some() {
        crosshair(&mut areas);
    }
    areas
}

/// Takes the last row of the calls, or of the chart on the whole screen, for the values at the crosshair.
fn crosshair(areas: &mut Areas) {
    let pane = areas.focus;
    let zoomed = areas.zoomed && pane.has_time_axis_zoomed();
    let id = if zoomed { pane } else { PaneId::Calls };
    let rect = areas.panes.iter_mut().find(|(pane, _)| *pane == id);
    if let Some((_, rect)) = rect.filter(|(_, rect)| rect.height > 3) {
        rect.height -= 1;
        areas.crosshair = Rect {
            y: rect.bottom(),
            height: 1,
            ..*rect
        };
    }
}

/// The smallest tier: the most important rows first.
fn tiny(areas: &mut Areas, rows: &mut Rows, ui: &Ui) {
    let first = rows.top(1);
    areas.focus = PaneId::Log;
    areas.footer = rows.bottom(1);
    if ui.typing() || ui.playback.is_some() {
        areas.input = rows.bottom(1);
    }
    areas.sentence = first;
    areas.counts = rows.top(1);
    if rows.left.height > 2 {
        areas.notice = rows.bottom(1);
    }
    if rows.left.height > 3 {
        areas.title = first;
        areas.sentence = areas.counts.union(rows.top(1));
        areas.counts = rows.top(1);
    }
    areas.panes = vec![(PaneId::Log, rows.left)];
}

/// Rows of the panes below the cards, rules included.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Heights {
    traffic: u16,
    latency: u16,
    calls: u16,
    /// The log, and the chat beside it.
    band: u16,
}

impl Heights {
    /// Distributes `height` rows: first a minimum for each pane in the order of importance, then the rest.
    fn new(height: u16, screen: u16, strips: u16, band: u16, calls: u16) -> Self {
        let mut left = height;
        // a rule without enough content below it has no use: less than `least` rows are not taken
        let mut take = |least: u16, most: u16| {
            let taken = if left < least { 0 } else { most.min(left) };
            left -= taken;
            taken
        };
        let mut heights = Self {
            band: take(0, band),
            calls: take(0, calls),
            traffic: take(strips + 2, strips + 5),
            latency: take(4, if screen < LATENCY_HEIGHT { 0 } else { 5 }),
        };
        let most = |pane: u16, rows: u16| if pane > 0 { rows } else { 0 };
        heights.calls += take(0, 3);
        heights.traffic += take(0, most(heights.traffic, 2));
        heights.latency += take(0, most(heights.latency, 2));
        let part = left / 5;
        let mut take = |rows: u16| {
            left -= rows;
            rows
        };
        heights.latency += take(most(heights.latency, part));
        heights.traffic += take(most(heights.traffic, part));
        heights.band += take(if heights.band > 1 { part.min(8) } else { 0 });
        heights.calls += left;
        heights
    }
}

/// Cards, charts, calls, and the log with the chat beside it.
fn stacked(areas: &mut Areas, body: Rect, ui: &Ui) {
    let mut rows = Rows::new(body);
    let card_rows = areas.tier.card_rows() + 1;
    cards(areas, rows.top(card_rows));
    let screen = areas.footer.bottom();
    let wide = body.width >= CHAT_WIDTH;
    let drawer = ui.focus == PaneId::Chat;
    // the charts show what the tour explains
    let touring = areas.tour.height > 0;
    let band = match (wide, drawer) {
        _ if touring && !drawer => 1 + u16::from(wide),
        (_, true) => (screen * 2 / 5).clamp(8, 17),
        (true, false) if screen < 20 => 2,
        (true, false) if screen < LATENCY_HEIGHT => 3,
        (true, false) => 4,
        (false, false) => 1,
    };
    let calls = match band {
        _ if drawer || touring => 3,
        2 => 5,
        _ => 6,
    };
    let heights = Heights::new(rows.left.height, screen, areas.tier.strips(), band, calls);
    charts(areas, &mut rows, heights);
    let band = rows.left;
    if wide {
        let split = band.width * 11 / 20;
        let log = Rect { width: split, ..band };
        let chat = Rect {
            x: band.x + split,
            width: band.width - split,
            ..band
        };
        areas.panes.extend([(PaneId::Log, log), (PaneId::Chat, chat)]);
        areas.dividers.push(Rect { width: 1, ..chat });
    } else {
        let pane = if drawer { PaneId::Chat } else { PaneId::Log };
        areas.panes.push((pane, band));
    }
}

/// Traffic, Latency and Calls on one time axis.
fn charts(areas: &mut Areas, rows: &mut Rows, heights: Heights) {
    let top = rows.left;
    for (id, height) in [
        (PaneId::Traffic, heights.traffic),
        (PaneId::Latency, heights.latency),
    ] {
        if height > 0 {
            areas.panes.push((id, rows.top(height)));
        }
    }
    if areas.tier == Tier::Large {
        areas.limiter_chart = Some(rows.top(7));
    }
    areas.panes.push((PaneId::Calls, rows.top(heights.calls)));
    let height = rows.left.y - top.y;
    axis_divider(areas, Rect { height, ..top });
}

/// The vertical line right of the gutter.
fn axis_divider(areas: &mut Areas, charts: Rect) {
    areas.dividers.push(Rect {
        x: charts.x + areas.gutter.min(charts.width),
        width: 1.min(charts.width.saturating_sub(areas.gutter)),
        ..charts
    });
}

/// The cards in the order in which a call meets them. The cache's hit rate, the buckets and the breaker are on
/// every screen.
fn cards(areas: &mut Areas, band: Rect) {
    let ids: &[PaneId] = match band.width {
        0..FOUR_CARDS => &[PaneId::Cache, PaneId::Limiter, PaneId::Breaker],
        FOUR_CARDS..USERS_WIDTH => &[PaneId::Cache, PaneId::Limiter, PaneId::Breaker, PaneId::Retries],
        USERS_WIDTH.. if areas.tier == Tier::Large => &[PaneId::Cache, PaneId::Limiter, PaneId::Breaker],
        USERS_WIDTH.. => &[
            PaneId::Cache,
            PaneId::Limiter,
            PaneId::Breaker,
            PaneId::Retries,
            PaneId::Users,
        ],
    };
    let count = ids.len() as u16;
    let mut x = band.x;
    for (index, id) in ids.iter().enumerate() {
        // the first card has no divider, so it has a column less
        let right = match index as u16 + 1 {
            last if last == count => band.right(),
            next => band.x + (band.width * next / count).saturating_sub(1),
        };
        let card = Rect {
            x,
            width: right - x,
            ..band
        };
        areas.panes.push((*id, card));
        if index > 0 {
            areas.dividers.push(Rect { width: 1, ..card });
        }
        x = right;
    }
}

/// Cards and charts on the left; retries, users, chat and log on the right.
fn large(areas: &mut Areas, body: Rect, ui: &Ui) {
    let left = Rect {
        width: body.width - RIGHT,
        ..body
    };
    let mut rows = Rows::new(left);
    let card_rows = areas.tier.card_rows() + 1;
    cards(areas, rows.top(card_rows));
    let heights = Heights::new(
        rows.left.height.saturating_sub(7),
        areas.footer.bottom(),
        areas.tier.strips(),
        0,
        6,
    );
    charts(areas, &mut rows, heights);
    let right = Rect {
        x: left.right(),
        width: RIGHT,
        ..body
    };
    areas.dividers.push(Rect { width: 1, ..right });
    let mut rows = Rows::new(right);
    let chat = if ui.focus == PaneId::Chat {
        right.height * 2 / 5
    } else {
        right.height / 6
    };
    let retries = rows.top((right.height - chat) * 3 / 5);
    let users = rows.top(6);
    let chat = rows.top(chat);
    areas.panes.extend([
        (PaneId::Retries, retries),
        (PaneId::Users, users),
        (PaneId::Chat, chat),
        (PaneId::Log, rows.left),
    ]);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(width: u16, height: u16) -> Areas {
        with(width, height, &Ui::default())
    }

    fn with(width: u16, height: u16, ui: &Ui) -> Areas {
        layout(Rect::new(0, 0, width, height), ui)
    }

    #[test]
    fn areas_at_80x24() {
        let areas = at(80, 24);
        assert_eq!(areas.title, Rect::new(0, 0, 80, 1));
        assert_eq!(areas.sentence, Rect::new(0, 1, 80, 1));
        assert_eq!(areas.counts, Rect::new(0, 2, 80, 1));
        assert_eq!(
            areas.panes,
            [
                (PaneId::Cache, Rect::new(0, 3, 19, 4)),
                (PaneId::Limiter, Rect::new(19, 3, 20, 4)),
                (PaneId::Breaker, Rect::new(39, 3, 20, 4)),
                (PaneId::Retries, Rect::new(59, 3, 21, 4)),
                (PaneId::Traffic, Rect::new(0, 7, 80, 6)),
                (PaneId::Calls, Rect::new(0, 13, 80, 8)),
                (PaneId::Log, Rect::new(0, 21, 80, 1)),
            ]
        );
        assert_eq!((areas.gutter, areas.plot_columns()), (19, 60));
        assert_eq!(areas.input, Rect::new(0, 22, 80, 1));
        assert_eq!(areas.footer, Rect::new(0, 23, 80, 1));
        assert_eq!(areas.inner(PaneId::Cache), Rect::new(1, 4, 18, 3));
        assert_eq!(areas.inner(PaneId::Limiter), Rect::new(21, 4, 18, 3));
        assert_eq!(areas.inner(PaneId::Calls), Rect::new(0, 14, 80, 7));
    }

    #[test]
    fn rows_at_120x40() {
        let areas = at(120, 40);
        let heights = [
            PaneId::Cache,
            PaneId::Traffic,
            PaneId::Latency,
            PaneId::Calls,
            PaneId::Log,
        ]
        .map(|id| areas.pane(id).unwrap().height);
        assert_eq!(heights, [6, 9, 7, 9, 4]);
        assert_eq!((areas.gutter, areas.plot_columns()), (29, 90));
    }

    #[test]
    fn the_chat_is_visible_from_100_columns_and_grows_while_in_use() {
        let typing = Ui {
            focus: PaneId::Chat,
            ..Ui::default()
        };
        for (width, height, visible) in [(80, 24, false), (99, 40, false), (100, 24, true), (200, 60, true)] {
            let chat = |areas: &Areas| areas.pane(PaneId::Chat).map_or(0, |rect| rect.height);
            let (idle, used) = (at(width, height), with(width, height, &typing));
            assert_eq!(chat(&idle) > 0, visible, "{width}x{height}");
            assert!(chat(&used) >= 8 && chat(&used) > chat(&idle), "{width}x{height}");
            assert!(!used.zoomed, "{width}x{height}");
            assert!(used.inner(PaneId::Calls).height >= 2, "{width}x{height}");
        }
    }

    #[test]
    fn the_first_three_guards_are_on_every_screen_with_panes() {
        for (width, height) in [
            (60, 16),
            (75, 60),
            (80, 24),
            (120, 40),
            (160, 45),
            (220, 16),
            (220, 70),
        ] {
            let areas = at(width, height);
            for id in [PaneId::Cache, PaneId::Limiter, PaneId::Breaker, PaneId::Calls] {
                assert!(areas.inner(id).height >= 3, "{width}x{height} {id:?}");
            }
        }
        assert_eq!(at(59, 40).tier, Tier::Tiny);
        assert!(at(160, 45).pane(PaneId::Users).is_some());
    }

    #[test]
    fn a_pane_without_room_opens_on_the_whole_screen() {
        let ui = Ui {
            focus: PaneId::Users,
            ..Ui::default()
        };
        let areas = with(80, 24, &ui);
        assert!(areas.zoomed);
        assert_eq!(areas.panes, [(PaneId::Users, Rect::new(0, 3, 80, 19))]);
    }

    #[test]
    fn areas_stay_inside_and_panes_do_not_overlap() {
        for width in (0..=220).step_by(7) {
            for height in 0..=70 {
                let area = Rect::new(0, 0, width, height);
                for (zoomed, focus) in [
                    (false, PaneId::Calls),
                    (true, PaneId::Traffic),
                    (false, PaneId::Chat),
                ] {
                    let ui = Ui {
                        focus,
                        zoomed,
                        ..Ui::default()
                    };
                    let areas = layout(area, &ui);
                    let bars = [
                        areas.title,
                        areas.sentence,
                        areas.counts,
                        areas.input,
                        areas.footer,
                        areas.limiter_chart_inner(),
                    ];
                    let panes: Vec<Rect> = areas.panes.iter().map(|(_, rect)| *rect).collect();
                    for place in panes.iter().chain(&bars).chain(&areas.dividers) {
                        assert_eq!(place.intersection(area), *place, "{width}x{height} {focus:?}");
                    }
                    for (index, a) in panes.iter().enumerate() {
                        for b in panes.iter().skip(index + 1).chain(&bars) {
                            assert!(!a.intersects(*b), "{width}x{height} {focus:?} {a:?} {b:?}");
                        }
                    }
                    if areas.tier > Tier::Tiny && focus == PaneId::Calls {
                        assert!(areas.inner(PaneId::Calls).height >= 4, "{width}x{height}");
                    }
                }
            }
        }
    }
}
