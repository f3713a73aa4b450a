//! The Users pane: each user's share of the limiter, queue and waits, and the noisy user that keeps others
//! waiting.
//!
//! ```text
//! ben floods the queue: 80% of it, fair share 50%; t shares it fairly
//!   user  share (| fair)   queue   p95  limited
//! > ana  [#####|----]  50%      4   12s        0
//! ! ben  [#####|----]  50%     16   15s        2
//! ```
//!
//! Rows are sorted by name and never move while all fit. Otherwise the most important rows come first, in classes
//! so coarse that a row does not move with every call.

mod charts;
mod columns;

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::text::Line;

use crate::event::UserId;
use crate::settings::QueueOrder;
use crate::state::{NoisyUser, UserShare, UserUsage};
use crate::time::Timestamp;
use crate::tui::filter::{self, Filter};
use crate::tui::pane::NO_MATCH;
use crate::tui::theme::Role;
use crate::tui::view::View;

use super::{PaneId, card, chart, gauge, row, units};
use columns::Columns;

/// Width from which one row is enough for the sentence.
const WIDE: usize = 60;

/// The key that switches to a fair queue.
pub(super) const SHARE_FAIRLY: &str = "t shares it fairly";

/// A row of the table.
struct UserRow<'a> {
    /// `None` for the sum of all users that are not tracked.
    name: Option<&'a UserId>,
    share: UserShare<'a>,
    /// True for the user that prompts are sent as.
    sending: bool,
    noisy: bool,
}

/// Draws the card.
pub(crate) fn render(view: &View<'_>, area: Rect, buf: &mut Buffer) {
    let area = area.intersection(buf.area);
    let (width, rows) = (usize::from(area.width), usize::from(area.height));
    card::draw(view, card_lines(view, width, rows), area, buf);
}

/// Draws the sentence and the table, and below them a chart for each user.
pub(crate) fn table(view: &View<'_>, area: Rect, buf: &mut Buffer) {
    let area = area.intersection(buf.area);
    if area.is_empty() {
        return;
    }
    let (width, height) = (usize::from(area.width), usize::from(area.height));
    let unused = UserUsage::default();
    let shares = view.state.user_shares(view.now);
    let noise = NoisyUser::find(&shares, view.now);
    let mut rows = user_rows(view, shares, noise.as_ref(), &unused);
    let (role, text) = sentence(view, noise.as_ref(), &rows);
    // the sentence always has its rows, so that the table does not move when it grows
    let kept = if width < WIDE && height >= 8 { 2 } else { 1 };
    let mut lines: Vec<Line<'static>> = row::wrap(view.theme, &text, width, kept)
        .into_iter()
        .map(|text| Line::from(row::piece(view.theme, role, text)))
        .collect();
    lines.resize(kept, Line::default());
    let columns = Columns::new(view, &rows, width);
    let filter = view.ui.filter_of(PaneId::Users);
    rows.retain(|user| matches_user(&filter, user.name, view.now));
    if height >= kept + 3 {
        lines.push(columns.heads(view));
    }
    let room = height.saturating_sub(lines.len());
    let all = rows.len();
    let hidden = select(&mut rows, room);
    lines.extend(rows.iter().map(|user| columns.row(view, user)));
    if rows.is_empty() {
        lines.push(row::muted(view.theme, NO_MATCH));
    } else if hidden > 0 {
        let more = row::muted(view.theme, format!("  and {hidden} more of {all}"));
        lines.push(row::first_fit(view.theme, [more], width));
    } else if lines.len() + 2 <= height {
        lines.push(Line::default());
        let legend = columns.legend();
        let words = row::wrap(view.theme, legend, width, height - lines.len());
        lines.extend(words.into_iter().map(|text| row::muted(view.theme, text)));
    }
    row::draw_all(&lines, area, buf);
    let used = (lines.len() as u16 + 1).min(area.height);
    let free = Rect {
        y: area.y + used,
        height: area.height - used,
        ..area
    };
    charts::render(view, &rows, free, buf);
}

/// A row for each user: the share of its calls of the last minute that were served.
fn card_lines(view: &View<'_>, width: usize, rows: usize) -> Vec<Line<'static>> {
    let theme = view.theme;
    let unused = UserUsage::default();
    let shares = view.state.user_shares(view.now);
    let noise = NoisyUser::find(&shares, view.now);
    let mut users = user_rows(view, shares, noise.as_ref(), &unused);
    let filter = view.ui.filter_of(PaneId::Users);
    users.retain(|user| matches_user(&filter, user.name, view.now));
    if users.is_empty() {
        return vec![row::muted(theme, NO_MATCH)];
    }
    let all = users.len();
    let hidden = select(&mut users, rows);
    let names = users.iter().map(|user| row::width(&card_name(view, user)));
    let names = names.max().unwrap_or(0).clamp(5, 14);
    let cells = width.saturating_sub(names + 20).clamp(4, 14);
    let mut lines: Vec<Line<'static>> = users
        .iter()
        .map(|user| {
            let (served, ended) = user.share.usage.served(view.now);
            let share = served as f64 / ended.max(1) as f64;
            // fewer than ten calls have no percentage
            let text = match (served, ended) {
                (_, 0) => "no calls ended".to_owned(),
                (0, _) | (_, ..10) => format!("{served} of {ended} served"),
                _ => format!("{:.0}% of {ended} served", share * 100.0),
            };
            let name = row::clip(theme, &card_name(view, user), names);
            let role = if user.sending { Role::Strong } else { Role::Text };
            let mut line = Line::from(row::piece(theme, role, row::left(&name, names + 1)));
            line.spans.extend(card::meter(theme, Role::Work, share, cells));
            let waiting = user.share.waiting;
            let waits = if waiting == 0 {
                String::new()
            } else {
                format!(", {waiting} waiting")
            };
            let (mark, waits) = match (user.noisy, waits) {
                (true, waits) => (
                    row::piece(theme, Role::Held, format!(" {} noisy", theme.glyphs.injected)),
                    waits,
                ),
                (false, waits) => (row::plain(""), waits),
            };
            row::join(
                theme,
                [
                    line,
                    Line::from(format!(" {text}")),
                    Line::from(waits),
                    Line::from(mark),
                ],
                width,
            )
        })
        .collect();
    if hidden > 0 {
        lines.push(row::muted(theme, format!("and {hidden} more of {all}")));
    }
    lines
}

fn card_name(view: &View<'_>, user: &UserRow<'_>) -> String {
    user.name
        .map_or_else(|| "others".to_owned(), |user| name(view, user, 14))
}

fn matches_user(filter: &Filter, name: Option<&UserId>, now: Timestamp) -> bool {
    let name = name.map(UserId::as_str);
    let texts = [name.unwrap_or("others")];
    filter.matches(
        filter::Row {
            user: name,
            texts: &texts,
            ..filter::Row::default()
        },
        now,
    )
}

/// The number of matching users, and of all.
pub(crate) fn matches(view: &View<'_>) -> (usize, usize) {
    let filter = view.ui.filter_of(PaneId::Users);
    let unused = UserUsage::default();
    let rows = user_rows(view, view.state.user_shares(view.now), None, &unused);
    let found = rows
        .iter()
        .filter(|user| matches_user(&filter, user.name, view.now));
    (found.count(), rows.len())
}

/// The window of the card, or on the whole screen the order of the queue, with `room` columns left.
pub(crate) fn title(view: &View<'_>, room: usize) -> String {
    if !chart::is_zoomed(view, PaneId::Users) {
        return card::window("last 60 s", room);
    }
    let limit = &view.state.session.policy.limit;
    let words: &[&str] = match (limit.enabled, limit.order) {
        (false, _) => &["limiter OFF"],
        (true, QueueOrder::Fair) => &["fair by user", "fair"],
        (true, QueueOrder::Fifo) => &["first come first served", "fifo"],
    };
    let switches = if limit.enabled && !view.ui.read_only {
        "   t switches"
    } else {
        ""
    };
    let wordings = [switches, ""]
        .into_iter()
        .flat_map(|end| words.iter().map(move |word| format!("{word}{end}")));
    // a blank on each side
    let mut fitting = wordings.filter(|text| row::width(text) + 2 <= room);
    fitting.next().unwrap_or_default()
}

fn users(count: usize) -> String {
    units::count(count as u64, "user")
}

/// A user's name in at most `width` columns.
pub(super) fn name(view: &View<'_>, user: &UserId, width: usize) -> String {
    row::clip(view.theme, &user.as_str().replace('\n', " "), width)
}

/// All users of the session and of the prompt line, by name; the sum of the untracked users last.
fn user_rows<'a>(
    view: &View<'a>,
    mut shares: Vec<UserShare<'a>>,
    noise: Option<&NoisyUser>,
    unused: &'a UserUsage,
) -> Vec<UserRow<'a>> {
    for name in &view.ui.users {
        if !view.state.users.by_name.contains_key(name) {
            shares.push(UserShare::silent(name, unused));
        }
    }
    shares.sort_by_key(|share| (share.name.is_none(), share.name));
    shares.dedup_by_key(|share| share.name);
    let sender = view.ui.playback.is_none().then(|| view.ui.asking());
    let user_row = |share: UserShare<'a>| UserRow {
        name: share.name,
        sending: sender.is_some() && share.name == sender.as_ref(),
        noisy: noise.is_some_and(|noise| share.name == Some(&noise.user)),
        share,
    };
    shares.into_iter().map(user_row).collect()
}

/// Keeps the rows that fit, the most important first if some do not, and returns the number of hidden rows. One
/// row is reserved for that number.
fn select(rows: &mut Vec<UserRow<'_>>, room: usize) -> usize {
    if rows.len() <= room {
        return 0;
    }
    rows.sort_by_key(|user| {
        let share = &user.share;
        let class = match (user.sending || user.noisy, share.waiting) {
            (true, _) => 0,
            // classes of powers of two, so that a row seldom moves
            (_, waiting @ 1..) => u64::from(waiting.leading_zeros()),
            _ if share.fair.is_some() || share.usage.running > 0 => 100,
            _ if share.usage.started > 0 => 101,
            _ => 102,
        };
        // stable: by name within a class
        (class, share.name.is_none())
    });
    let shown = room.saturating_sub(1);
    let hidden = rows.len() - shown;
    rows.truncate(shown);
    hidden
}

/// The state of the queue in one sentence.
fn sentence(view: &View<'_>, noise: Option<&NoisyUser>, rows: &[UserRow<'_>]) -> (Role, String) {
    let limit = &view.state.session.policy.limit;
    let (acts, many) = (!view.ui.read_only, view.ui.users.len() > 1);
    if let Some(noise) = noise {
        let short = UserId::new(&name(view, &noise.user, 16));
        let noise = NoisyUser {
            user: short,
            ..noise.clone()
        };
        let help = if acts && view.state.flood(view.now).is_some() {
            format!("; {SHARE_FAIRLY}")
        } else {
            String::new()
        };
        return (Role::Held, format!("{noise}{help}"));
    }
    if !limit.enabled {
        return (Role::Muted, "limiter OFF: calls never wait".into());
    }
    let waiting = rows.iter().filter(|user| user.share.waiting > 0).count();
    if waiting > 0 {
        return (Role::Muted, format!("{} waiting, none noisy", users(waiting)));
    }
    let keys = match (acts, many) {
        (true, true) => ": a burst as all users, u next user, b burst as this user",
        (true, false) => ": b burst 10, i ask a question",
        (false, _) => "",
    };
    let text = if rows.iter().all(|user| user.share.usage.started == 0) {
        "no calls yet".to_owned()
    } else {
        "none waiting".to_owned()
    };
    (Role::Muted, format!("{text}{keys}"))
}

#[cfg(test)]
mod tests;
