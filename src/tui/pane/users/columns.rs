//! The columns of the table: which there are is a function of the width, of the longest name and of the policy
//! alone, so that nothing moves while numbers change. What matters least is left out first.

use ratatui::text::Line;

use crate::event::{BucketLevel, Fate};
use crate::tui::theme::Role;
use crate::tui::view::View;

use super::{Entry, gauge, name, row, units};

/// Columns of a name, at least and at most.
const NAME: (usize, usize) = (4, 16);
/// The mark in front of it.
const MARK: usize = 2;

/// What can stand in a column.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    /// A bar of the share, with the fair share marked.
    Bar,
    /// The share as a number.
    Share,
    /// A bar of the scarcer one of its own buckets.
    OwnBar,
    /// What is left in that.
    Own,
    /// Calls in the queue.
    Queue,
    /// How long 95 of 100 waited.
    Wait,
    /// Calls that run.
    Running,
    /// Calls in all.
    Calls,
    /// Of these, from a cache.
    Hits,
    /// Turned away by limiter or breaker.
    Away,
    /// LLM tokens charged.
    Tokens,
}

/// In the order of their use, with the columns they take, the gap before them included.
const BY_USE: [(Kind, usize); 11] = [
    (Kind::Queue, 6),
    (Kind::Share, 6),
    (Kind::Wait, 6),
    (Kind::Bar, 9),
    (Kind::Own, 10),
    (Kind::Away, 6),
    (Kind::Tokens, 8),
    (Kind::OwnBar, 9),
    (Kind::Running, 6),
    (Kind::Calls, 7),
    (Kind::Hits, 6),
];

/// The columns of a table.
pub(super) struct Columns {
    name: usize,
    shown: Vec<(Kind, usize)>,
}

impl Columns {
    /// For a table `width` columns wide.
    pub(super) fn of(view: &View<'_>, entries: &[Entry<'_>], width: usize) -> Self {
        let longest = entries
            .iter()
            .map(|entry| row::width(&label(view, entry, NAME.1)));
        let longest = longest.max().unwrap_or(0).clamp(NAME.0, NAME.1);
        let limit = &view.state.session.policy.limit;
        let own = limit.enabled
            && std::iter::once(&limit.each_user)
                .chain(limit.users.values())
                .any(|user| user.requests.is_some() || user.tokens.is_some());
        // numbers first: a name is known by its beginning
        let name = longest.min((width / 6).max(NAME.0));
        let mut left = width.saturating_sub(MARK + name);
        let mut shown = Vec::new();
        for (kind, cells) in BY_USE {
            if !own && matches!(kind, Kind::Own | Kind::OwnBar) {
                continue;
            }
            if cells > left {
                break;
            }
            left -= cells;
            shown.push((kind, cells));
        }
        // what is left makes names longer, and then the bar of the share
        let whole = (name + left).min(longest);
        left -= whole - name;
        if let Some((_, cells)) = shown.iter_mut().find(|(kind, _)| *kind == Kind::Bar) {
            *cells += left.min(12);
        }
        shown.sort_unstable();
        Self { name: whole, shown }
    }

    fn has(&self, kind: Kind) -> bool {
        self.shown.iter().any(|(shown, _)| *shown == kind)
    }

    /// The heads.
    pub(super) fn heads(&self, view: &View<'_>) -> Line<'static> {
        let mut text = format!("{}{}", " ".repeat(MARK), row::left("user", self.name));
        for (kind, cells) in &self.shown {
            let head = match kind {
                // stands over both
                Kind::Bar | Kind::OwnBar => {
                    text.push_str(&" ".repeat(*cells));
                    continue;
                }
                Kind::Share if self.has(Kind::Bar) => "share, | fair",
                Kind::Share => "share",
                Kind::Own => "own limit",
                Kind::Queue => "queue",
                Kind::Wait => "p95",
                Kind::Running => "runs",
                Kind::Calls => "calls",
                Kind::Hits => "hits",
                Kind::Away => "away",
                Kind::Tokens => "tokens",
            };
            // a head longer than its column reaches back into the bar before it
            let over = row::width(head).saturating_sub(*cells);
            text.truncate(text.len() - over);
            text.push_str(&row::right(head, *cells));
        }
        Line::from(row::piece(view.theme, Role::Muted, text))
    }

    /// What the heads mean.
    pub(super) fn legend(&self) -> &'static str {
        match (self.has(Kind::Bar), self.has(Kind::Away)) {
            (true, true) => {
                "share: of the tokens admitted in the last minute, | what is fair by weight; queue: calls that \
                 wait; p95: of their waits in that minute; away: refused by limiter or breaker"
            }
            (true, false) => "share and p95 wait: last minute; | is the fair share, by weight",
            (false, _) => "share and p95 wait: last minute",
        }
    }

    /// One user.
    pub(super) fn row(&self, view: &View<'_>, entry: &Entry<'_>) -> Line<'static> {
        let theme = view.theme;
        let share = &entry.share;
        let mark = match (entry.noisy, entry.asks) {
            (true, true) => "!>",
            (true, false) => "! ",
            (false, true) => "> ",
            (false, false) => "  ",
        };
        let role = match (entry.noisy, entry.asks) {
            (true, _) => Role::Wait,
            (_, true) => Role::Strong,
            _ if share.uses.started == 0 => Role::Muted,
            _ => Role::Text,
        };
        let named = row::left(&label(view, entry, self.name), self.name);
        let mut line = Line::from(vec![
            row::piece(theme, role, mark),
            row::piece(theme, role, named),
        ]);
        let scarcer = scarcer(view, entry);
        for (kind, cells) in &self.shown {
            let number = |count: u64| (Role::Text, units::amount(count));
            let (role, text) = match kind {
                Kind::Bar => {
                    line.push_span(row::plain(" "));
                    line.spans.extend(share_bar(view, entry, cells.saturating_sub(3)));
                    continue;
                }
                Kind::OwnBar => {
                    let left = scarcer.map(|(bucket, _)| bucket.share_at(view.now));
                    line.push_span(row::plain(" "));
                    match left {
                        Some(left) => line.spans.extend(gauge::bar(theme, Role::Gauge, left, cells - 3)),
                        None => line.push_span(row::plain(" ".repeat(cells - 1))),
                    }
                    continue;
                }
                Kind::Share if share.fair.is_none() => (Role::Muted, "--".to_owned()),
                Kind::Share => (Role::Text, units::percent(share.share)),
                Kind::Own => own(view, scarcer),
                Kind::Queue if share.waiting > 0 => (Role::Wait, units::amount(share.waiting)),
                Kind::Queue => number(0),
                Kind::Wait => match share.wait(0.95) {
                    Some(wait) => (Role::Text, units::duration(wait)),
                    None => (Role::Muted, "--".to_owned()),
                },
                Kind::Running => number(share.uses.running),
                Kind::Calls => number(share.uses.started),
                Kind::Hits => number(share.uses.ended(Fate::Hit)),
                Kind::Away => match share.uses.rejections() + share.uses.ended(Fate::CircuitOpen) {
                    0 => number(0),
                    away => (Role::Bad, units::amount(away)),
                },
                Kind::Tokens => number(share.uses.charged_tokens),
            };
            let role = if text == "0" { Role::Muted } else { role };
            // the blanks apart: in the mono theme a role may be reversed
            let blanks = cells.saturating_sub(row::width(&text));
            line.push_span(row::plain(" ".repeat(blanks)));
            line.push_span(row::piece(theme, role, text));
        }
        line
    }
}

/// The name of a row.
fn label(view: &View<'_>, entry: &Entry<'_>, width: usize) -> String {
    match entry.name {
        Some(user) if user.as_str().trim().is_empty() => row::clip(view.theme, "(no name)", width),
        Some(user) => name(view, user, width),
        None => row::clip(view.theme, "(others)", width),
    }
}

/// `[####|----]`: the share, and where the fair share is.
fn share_bar(view: &View<'_>, entry: &Entry<'_>, cells: usize) -> Vec<ratatui::text::Span<'static>> {
    let theme = view.theme;
    let share = &entry.share;
    let role = if entry.noisy { Role::Wait } else { Role::Gauge };
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

/// The one of a user's own buckets that has less left, and its unit.
fn scarcer(view: &View<'_>, entry: &Entry<'_>) -> Option<(BucketLevel, &'static str)> {
    let [requests, tokens] = view.state.own_levels(entry.name?);
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
fn own(view: &View<'_>, scarcer: Option<(BucketLevel, &'static str)>) -> (Role, String) {
    let Some((bucket, unit)) = scarcer else {
        return (Role::Muted, "no limit".into());
    };
    let level = bucket.level_at(view.now);
    if level < 0.0 {
        return (
            Role::Bad,
            format!("debt {}", units::amount((-level).ceil() as u64)),
        );
    }
    (Role::Text, format!("{} {unit}", units::amount(level as u64)))
}
