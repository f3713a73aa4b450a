//! Each user's share of the limiter: who takes how much, who waits, and who keeps others waiting.
//!
//! ```text
//! ben floods the queue: 80% of it, fair share 50%; t shares the queue fairly
//!   user  share, | fair    queue   p95  away
//! > ana  [#####|----]  50%      4   12s     0
//! ! ben  [#####|----]  50%     16   15s     2
//! ```
//!
//! Rows that all have room stand by name and never move. Where there are more, those with something to tell come
//! first, in classes so coarse that a row does not move with every call.

mod columns;

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::text::Line;

use crate::event::UserId;
use crate::settings::QueueOrder;
use crate::state::{Noise, UserShare, UserUse};
use crate::tui::layout::Tier;
use crate::tui::pane::PaneId;
use crate::tui::theme::Role;
use crate::tui::view::View;

use super::{gauge, row, units};
use columns::Columns;

/// From this width on one row is enough for the sentence.
const WIDE: usize = 60;

/// A user as it stands in the table.
struct Entry<'a> {
    /// Who; nobody for the sum of all that are not kept apart.
    name: Option<&'a UserId>,
    share: UserShare<'a>,
    asks: bool,
    noisy: bool,
}

/// Draws the sentence and the table.
pub fn render(view: &View<'_>, area: Rect, buf: &mut Buffer) {
    let area = area.intersection(buf.area);
    if area.is_empty() {
        return;
    }
    let (width, height) = (usize::from(area.width), usize::from(area.height));
    let nobody = UserUse::default();
    let shares = view.state.user_shares(view.now);
    let noise = Noise::of(&shares, view.now);
    let mut entries = entries(view, shares, noise.as_ref(), &nobody);
    let (role, text) = sentence(view, noise.as_ref(), &entries);
    // the table must not move when the sentence grows: it has its rows in any case
    let kept = if width < WIDE && height >= 8 { 2 } else { 1 };
    let mut lines: Vec<Line<'static>> = row::wrap(view.theme, &text, width, kept)
        .into_iter()
        .map(|text| Line::from(row::piece(view.theme, role, text)))
        .collect();
    lines.resize(kept, Line::default());
    let columns = Columns::of(view, &entries, width);
    if height >= kept + 3 {
        lines.push(columns.heads(view));
    }
    let room = height.saturating_sub(lines.len());
    let all = entries.len();
    let hidden = arrange(&mut entries, room);
    lines.extend(entries.iter().map(|entry| columns.row(view, entry)));
    if hidden > 0 {
        let more = format!("  and {hidden} more of {all}");
        lines.push(row::first_fit(view.theme, [muted(view, more)], width));
    } else if lines.len() + 2 <= height {
        lines.push(Line::default());
        let legend = columns.legend();
        let rows = row::wrap(view.theme, legend, width, height - lines.len());
        lines.extend(rows.into_iter().map(|text| muted(view, text)));
    }
    row::draw_all(&lines, area, buf);
}

/// How the queue goes, for a border with `room` columns left for it.
pub fn title(view: &View<'_>, room: usize) -> String {
    let limit = &view.state.session.policy.limit;
    let words: &[&str] = match (limit.enabled, limit.order) {
        (false, _) => &["limiter off"],
        (true, QueueOrder::Fair) => &["fair by user", "fair"],
        (true, QueueOrder::Fifo) => &["first come first served", "fifo"],
    };
    let switches = if limit.enabled && !view.ui.read_only {
        ", t switches"
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

/// How the queue goes and how many users wait in it, and the digit of this pane, for the panes of the limiter.
pub(super) fn queue_line(view: &View<'_>, label: &str, width: usize) -> Line<'static> {
    let limit = &view.state.session.policy.limit;
    if !limit.enabled {
        return Line::default();
    }
    let who = match waiting_users(view) {
        0 => "nobody waits".to_owned(),
        1 => "1 user waits".to_owned(),
        many => format!("{many} users wait"),
    };
    let queue = format!("{label}{}, {who}", limit.order.label());
    let tier = Tier::of(view.ui.size.width, view.ui.size.height);
    let more = tier.digit(PaneId::Users);
    let more = more.map(|digit| format!("{queue}   key {digit} shows each"));
    let wordings = more.into_iter().chain([queue]);
    row::first_fit(view.theme, wordings.map(Line::from), width)
}

/// `2 users, fair`: how many wait, and how.
pub(super) fn queue_words(view: &View<'_>) -> String {
    let order = view.state.session.policy.limit.order.label();
    match waiting_users(view) {
        1 => format!("1 user, {order}"),
        many => format!("{many} users, {order}"),
    }
}

fn waiting_users(view: &View<'_>) -> usize {
    view.state.users_waiting()
}

/// A user's name in at most `width` columns.
pub(super) fn name(view: &View<'_>, user: &UserId, width: usize) -> String {
    row::clip(view.theme, &user.as_str().replace('\n', " "), width)
}

/// Who was heard of, and who can ask, by name; the sum of the others last.
fn entries<'a>(
    view: &View<'a>,
    mut shares: Vec<UserShare<'a>>,
    noise: Option<&Noise>,
    nobody: &'a UserUse,
) -> Vec<Entry<'a>> {
    for name in &view.ui.users {
        if !view.state.users.by_name.contains_key(name) {
            shares.push(UserShare::silent(name, nobody));
        }
    }
    shares.sort_by_key(|share| (share.name.is_none(), share.name));
    shares.dedup_by_key(|share| share.name);
    // in a replay nobody does
    let asking = view.ui.playback.is_none().then(|| view.ui.asking());
    let entry = |share: UserShare<'a>| Entry {
        name: share.name,
        asks: asking.is_some() && share.name == asking.as_ref(),
        noisy: noise.is_some_and(|noise| share.name == Some(&noise.user)),
        share,
    };
    shares.into_iter().map(entry).collect()
}

/// Leaves the rows for which there is room, those with most to tell first where there are more, and says how
/// many are left out. One row is for telling so.
fn arrange(entries: &mut Vec<Entry<'_>>, room: usize) -> usize {
    if entries.len() <= room {
        return 0;
    }
    entries.sort_by_key(|entry| {
        let share = &entry.share;
        let class = match (entry.asks || entry.noisy, share.waiting) {
            (true, _) => 0,
            // as many or up to twice as many: a row moves seldom
            (_, waiting @ 1..) => u64::from(waiting.leading_zeros()),
            _ if share.fair.is_some() || share.uses.running > 0 => 100,
            _ if share.uses.started > 0 => 101,
            _ => 102,
        };
        // stable: by name within a class
        (class, share.name.is_none())
    });
    let shown = room.saturating_sub(1);
    let hidden = entries.len() - shown;
    entries.truncate(shown);
    hidden
}

/// What there is to say in one sentence.
fn sentence(view: &View<'_>, noise: Option<&Noise>, entries: &[Entry<'_>]) -> (Role, String) {
    let limit = &view.state.session.policy.limit;
    let (acts, many) = (!view.ui.read_only, view.ui.users.len() > 1);
    if let Some(noise) = noise {
        let short = UserId::new(&name(view, &noise.user, 16));
        let told = Noise {
            user: short,
            ..noise.clone()
        };
        let help = if acts && view.state.flood(view.now).is_some() {
            "; t shares the queue fairly"
        } else {
            ""
        };
        return (Role::Wait, format!("{told}{help}"));
    }
    if !limit.enabled {
        return (Role::Muted, "the limiter is off: nobody waits".into());
    }
    let waiting = entries.iter().filter(|entry| entry.share.waiting > 0).count();
    let keys = match (acts, many) {
        (true, true) => "a bursts from all, u asks as the next, b bursts from one",
        (true, false) => "b bursts, i asks",
        (false, _) => "",
    };
    let text = match waiting {
        0 if entries.iter().all(|entry| entry.share.uses.started == 0) => "nobody asked yet",
        0 => "nobody waits",
        1 => "one user waits, none is noisy",
        many => return (Role::Muted, format!("{many} users wait, none is noisy")),
    };
    let keys = if waiting > 0 || keys.is_empty() {
        String::new()
    } else {
        format!(": {keys}")
    };
    (Role::Muted, format!("{text}{keys}"))
}

fn muted(view: &View<'_>, text: impl Into<String>) -> Line<'static> {
    Line::from(row::piece(view.theme, Role::Muted, text))
}

#[cfg(test)]
pub(super) use tests::flooded;

#[cfg(test)]
mod tests;
