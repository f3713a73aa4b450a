//! The columns of the Users table: a function of the width, the longest name and the policy, so that no column
//! moves while numbers change. The least important columns are dropped first.

use ratatui::text::Line;

use crate::event::{BucketLevel, Fate};
use crate::tui::theme::Role;
use crate::tui::view::View;

use super::{UserRow, gauge, name, row, units};

/// The fewest and the most columns of a name.
const NAME: (usize, usize) = (4, 16);
/// Columns of the mark in front of it.
const MARK: usize = 2;

/// The content of a column, in display order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum ColumnKind {
    /// A bar of the share, with the fair share marked.
    Bar,
    /// The share as a number.
    Share,
    /// A bar of the user's emptier own bucket.
    OwnBar,
    /// The level of that bucket.
    Own,
    /// Calls in the queue.
    Queue,
    /// The 95th percentile of the waits.
    Wait,
    /// Running calls.
    Running,
    /// All calls.
    Calls,
    /// Calls answered from the cache.
    Cached,
    /// Calls limited by the limiter.
    Limited,
    /// LLM tokens charged.
    Tokens,
}

/// In order of importance, with their width including the gap in front.
const BY_USE: [(ColumnKind, usize); 11] = [
    (ColumnKind::Queue, 6),
    (ColumnKind::Share, 6),
    (ColumnKind::Wait, 6),
    (ColumnKind::Bar, 9),
    (ColumnKind::Own, 10),
    (ColumnKind::Limited, 9),
    (ColumnKind::Tokens, 8),
    (ColumnKind::OwnBar, 9),
    (ColumnKind::Running, 6),
    (ColumnKind::Calls, 7),
    (ColumnKind::Cached, 7),
];

/// The columns of a table.
pub(super) struct Columns {
    name: usize,
    shown: Vec<(ColumnKind, usize)>,
}

impl Columns {
    /// The columns of a table `width` columns wide.
    pub(super) fn new(view: &View<'_>, rows: &[UserRow<'_>], width: usize) -> Self {
        let longest = rows.iter().map(|user| row::width(&label(view, user, NAME.1)));
        let longest = longest.max().unwrap_or(0).clamp(NAME.0, NAME.1);
        let limit = &view.state.session.policy.limit;
        let own = limit.enabled
            && std::iter::once(&limit.each_user)
                .chain(limit.users.values())
                .any(|user| user.requests.is_some() || user.tokens.is_some());
        // numbers first: the beginning of a name identifies it
        let name = longest.min((width / 6).max(NAME.0));
        let mut left = width.saturating_sub(MARK + name);
        let mut shown = Vec::new();
        for (kind, cells) in BY_USE {
            if !own && matches!(kind, ColumnKind::Own | ColumnKind::OwnBar) {
                continue;
            }
            if cells > left {
                break;
            }
            left -= cells;
            shown.push((kind, cells));
        }
        // the rest widens the names, then the bar of the share
        let whole = (name + left).min(longest);
        left -= whole - name;
        if let Some((_, cells)) = shown.iter_mut().find(|(kind, _)| *kind == ColumnKind::Bar) {
            *cells += left.min(12);
        }
        shown.sort_unstable();
        Self { name: whole, shown }
    }

    fn has(&self, kind: ColumnKind) -> bool {
        self.shown.iter().any(|(shown, _)| *shown == kind)
    }

    /// The column heads.
    pub(super) fn heads(&self, view: &View<'_>) -> Line<'static> {
        let mut text = format!("{}{}", " ".repeat(MARK), row::left("user", self.name));
        for (kind, cells) in &self.shown {
            let head = match kind {
                // the next head covers both
                ColumnKind::Bar | ColumnKind::OwnBar => {
                    text.push_str(&" ".repeat(*cells));
                    continue;
                }
                ColumnKind::Share if self.has(ColumnKind::Bar) => "share (| fair)",
                ColumnKind::Share => "share",
                ColumnKind::Own => "own limit",
                ColumnKind::Queue => "queue",
                ColumnKind::Wait => "p95",
                ColumnKind::Running => "runs",
                ColumnKind::Calls => "calls",
                ColumnKind::Cached => "cached",
                ColumnKind::Limited => "limited",
                ColumnKind::Tokens => "tokens",
            };
            // a head wider than its column extends over the bar before it
            let over = row::width(head).saturating_sub(*cells);
            text.truncate(text.len() - over);
            text.push_str(&row::right(head, *cells));
        }
        Line::from(row::piece(view.theme, Role::Muted, text))
    }

    /// The meaning of the heads.
    pub(super) fn legend(&self) -> &'static str {
        match (self.has(ColumnKind::Bar), self.has(ColumnKind::Limited)) {
            (true, true) => {
                "share: of the tokens admitted in the last minute; |: fair share by weight; queue: waiting calls; p95: \
                 waits of the last minute; limited: calls without a place in the queue"
            }
            (true, false) => "share, p95 of waits: last minute; |: fair share by weight",
            (false, _) => "share, p95 of waits: last minute",
        }
    }

    /// The row of a user.
    pub(super) fn row(&self, view: &View<'_>, user: &UserRow<'_>) -> Line<'static> {
        let theme = view.theme;
        let share = &user.share;
        let mark = match (user.noisy, user.sending) {
            (true, true) => "!>",
            (true, false) => "! ",
            (false, true) => "> ",
            (false, false) => "  ",
        };
        let role = match (user.noisy, user.sending) {
            (true, _) => Role::Held,
            (_, true) => Role::Strong,
            _ if share.usage.started == 0 => Role::Muted,
            _ => Role::Text,
        };
        let named = row::left(&label(view, user, self.name), self.name);
        let mut line = Line::from(vec![
            row::piece(theme, role, mark),
            row::piece(theme, role, named),
        ]);
        let emptier = emptier_bucket(view, user);
        for (kind, cells) in &self.shown {
            let number = |count: u64| (Role::Text, units::amount(count));
            let (role, text) = match kind {
                ColumnKind::Bar => {
                    line.push_span(row::plain(" "));
                    line.spans.extend(share_bar(view, user, cells.saturating_sub(3)));
                    continue;
                }
                ColumnKind::OwnBar => {
                    let left = emptier.map(|(bucket, _)| bucket.share_at(view.now));
                    line.push_span(row::plain(" "));
                    match left {
                        Some(left) => line.spans.extend(gauge::bar(theme, Role::Work, left, cells - 3)),
                        None => line.push_span(row::plain(" ".repeat(cells - 1))),
                    }
                    continue;
                }
                ColumnKind::Share if share.fair.is_none() => (Role::Muted, "--".to_owned()),
                ColumnKind::Share => (Role::Text, units::percent(share.share)),
                ColumnKind::Own => own(view, emptier),
                ColumnKind::Queue if share.waiting > 0 => (Role::Held, units::amount(share.waiting)),
                ColumnKind::Queue => number(0),
                ColumnKind::Wait => match share.wait(0.95) {
                    Some(wait) => (Role::Text, units::duration(wait)),
                    None => (Role::Muted, "--".to_owned()),
                },
                ColumnKind::Running => number(share.usage.running),
                ColumnKind::Calls => number(share.usage.started),
                ColumnKind::Cached => number(share.usage.ended(Fate::Hit)),
                ColumnKind::Limited => match share.usage.ended(Fate::RateLimited) {
                    0 => number(0),
                    limited => (Role::Broken, units::amount(limited)),
                },
                ColumnKind::Tokens => number(share.usage.charged_tokens),
            };
            let role = if text == "0" { Role::Muted } else { role };
            // unstyled blanks: in the mono theme a role may be reversed
            let blanks = cells.saturating_sub(row::width(&text));
            line.push_span(row::plain(" ".repeat(blanks)));
            line.push_span(row::piece(theme, role, text));
        }
        line
    }
}

/// The name of a row.
fn label(view: &View<'_>, user: &UserRow<'_>, width: usize) -> String {
    match user.name {
        Some(id) if id.as_str().trim().is_empty() => row::clip(view.theme, "(no name)", width),
        Some(id) => name(view, id, width),
        None => row::clip(view.theme, "(others)", width),
    }
}

/// `[####|----]`: the share, with a mark at the fair share.
fn share_bar(view: &View<'_>, user: &UserRow<'_>, cells: usize) -> Vec<ratatui::text::Span<'static>> {
    let theme = view.theme;
    let share = &user.share;
    let role = if user.noisy { Role::Held } else { Role::Work };
    let filled = gauge::filled_cells(share.share, cells);
    let fair = share.fair.filter(|fair| fair.is_finite() && cells > 0);
    let fair = fair.map(|fair| ((fair * cells as f64).round() as usize).min(cells - 1));
    let mut spans = vec![row::plain("[")];
    for cell in 0..cells {
        spans.push(match fair {
            Some(fair) if fair == cell => row::piece(theme, Role::Strong, "|"),
            _ if cell < filled => row::piece(theme, role, theme.glyphs.bar_full),
            _ => row::piece(theme, Role::Muted, theme.glyphs.bar_empty),
        });
    }
    spans.push(row::plain("]"));
    spans
}

/// The emptier of a user's own buckets, and its unit.
fn emptier_bucket(view: &View<'_>, user: &UserRow<'_>) -> Option<(BucketLevel, &'static str)> {
    let [requests, tokens] = view.state.own_levels(user.name?);
    let buckets = [
        requests.map(|level| (level, "req")),
        tokens.map(|level| (level, "tok")),
    ];
    let left = |(level, _): &(BucketLevel, &str)| level.level_at(view.now) / level.capacity.max(1) as f64;
    buckets
        .into_iter()
        .flatten()
        .min_by(|a, b| left(a).total_cmp(&left(b)))
}

/// `2.3k tok`, `4 req`, `debt 120`.
fn own(view: &View<'_>, emptier: Option<(BucketLevel, &'static str)>) -> (Role, String) {
    let Some((bucket, unit)) = emptier else {
        return (Role::Muted, "no limit".into());
    };
    let level = bucket.level_at(view.now);
    if level < 0.0 {
        return (
            Role::Broken,
            format!("debt {}", units::amount((-level).ceil() as u64)),
        );
    }
    (Role::Text, format!("{} {unit}", units::amount(level as u64)))
}
