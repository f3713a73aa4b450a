//! The limiter: what is left in each bucket, who waits, and when the next one is admitted.
//!
//! A bar shows what is left, not what is used. A level below zero is debt (more was used than reserved):
//! the bar is empty and the debt is a number of its own.

use std::time::Duration;

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::text::Line;

use crate::event::BucketLevel;
use crate::time::Timestamp;
use crate::tui::theme::Role;
use crate::tui::view::View;

use super::{gauge, row, units, users};

/// Seconds the sparklines cover.
const SPAN: u64 = 60;
/// Their cells.
const CELLS: usize = 30;

/// Draws both buckets, the slots, the queue and the last minute.
pub fn render(view: &View<'_>, area: Rect, buf: &mut Buffer) {
    let area = area.intersection(buf.area);
    let width = usize::from(area.width);
    let mut lines = vec![
        tokens(view, "Tokens    ", width),
        requests(view, "Requests  ", width),
        slots(view, "Parallel  ", width),
        queue(view, "", width),
    ];
    let rest = [
        users::queue_line(view, "order     ", width),
        level_history(view, "tokens    ", width),
        waiting_history(view, "waiting   ", width),
        totals(view, width),
        turned_away(view, width),
    ];
    if lines.len() + 1 + rest.len() <= usize::from(area.height) {
        lines.push(Line::default());
    }
    lines.extend(rest);
    row::draw_all(&lines, area, buf);
}

/// Waiters, for the border of a pane with `width` columns of content; nothing if nobody waits.
pub fn title(view: &View<'_>, width: u16) -> String {
    let short = match view.state.limit.waiters.len() {
        0 => return String::new(),
        waiting => format!("{waiting} waiting"),
    };
    let long = format!(
        "{}, {}",
        short.replace("waiting", "wait"),
        users::queue_words(view)
    );
    let fits = |text: &String| row::width(text) <= row::note_room(width);
    [long, short].into_iter().find(fits).unwrap_or_default()
}

/// `label` and the bucket of LLM tokens.
pub(super) fn tokens(view: &View<'_>, label: &str, width: usize) -> Line<'static> {
    bucket(view, label, view.state.limit.tokens, width)
}

/// `label` and the bucket of requests.
pub(super) fn requests(view: &View<'_>, label: &str, width: usize) -> Line<'static> {
    bucket(view, label, view.state.limit.requests, width)
}

/// `label`, a bar of what is left, the level, and the refill or what stands in for it.
fn bucket(view: &View<'_>, label: &str, level: Option<BucketLevel>, width: usize) -> Line<'static> {
    let theme = view.theme;
    if !view.state.session.policy.limit.enabled {
        return row::first_fit(
            theme,
            [Line::from(format!("{label}off, nothing is counted"))],
            width,
        );
    }
    let Some(bucket) = level else {
        return row::first_fit(theme, [Line::from(format!("{label}--"))], width);
    };
    let units_left = bucket.level_at(view.now);
    let share = bucket.share_at(view.now);
    let numbers = row::right(&left_of(units_left, bucket.capacity), numbers_width(view));
    let (note, role) = note(view, bucket);
    // most cells, least cells, numbers, note
    let texts = [
        (
            20,
            15,
            format!(" {}  {numbers} ", units::percent(share)),
            note.clone(),
        ),
        (10, 4, format!(" {numbers} "), note),
        (10, 4, format!(" {numbers}"), String::new()),
    ];
    for (most, least, numbers, note) in texts {
        let note_width = if note.is_empty() { 0 } else { notes_width(view) };
        let used = row::width(label) + 2 + row::width(&numbers) + note_width;
        let cells = width.saturating_sub(used).min(most);
        if cells >= least {
            let mut line = Line::from(label.to_owned());
            line.spans.extend(gauge::bar(theme, Role::Gauge, share, cells));
            line.push_span(row::plain(numbers));
            line.push_span(row::piece(theme, role, note));
            return line;
        }
    }
    let numbers = numbers.trim_start().to_owned();
    row::first_fit(
        theme,
        [Line::from(format!("{label}{numbers}")), Line::from(numbers)],
        width,
    )
}

/// The refill, or what stands in for it.
fn note(view: &View<'_>, bucket: BucketLevel) -> (String, Role) {
    let level = bucket.level_at(view.now);
    if level < 0.0 {
        let debt = units::amount((-level).ceil() as u64);
        (format!("debt {debt}"), Role::Bad)
    } else if let Some(left) = pause_left(view) {
        (format!("paused {}", units::countdown(left)), Role::Wait)
    } else {
        (units::refill(bucket.per_second()), Role::Text)
    }
}

/// The widest [`note`] of both buckets: their bars stand under each other and have one length.
fn notes_width(view: &View<'_>) -> usize {
    let limit = &view.state.limit;
    let buckets = [limit.tokens, limit.requests].into_iter().flatten();
    buckets
        .map(|bucket| row::width(&note(view, bucket).0))
        .max()
        .unwrap_or(0)
}

/// `2.3k/6k`: whole units left, of how many.
fn left_of(level: f64, capacity: u64) -> String {
    format!(
        "{}/{}",
        units::amount(level.max(0.0) as u64),
        units::amount(capacity)
    )
}

/// The widest [`left_of`] of both buckets: their refills stand under each other, and stay there.
fn numbers_width(view: &View<'_>) -> usize {
    let limit = &view.state.limit;
    [limit.tokens, limit.requests]
        .into_iter()
        .flatten()
        .map(|bucket| {
            let capacity = units::amount(bucket.capacity).len();
            // 6k is shorter than 2.3k, which is less
            let level = if bucket.capacity >= 1000 {
                units::AMOUNT_WIDTH
            } else {
                capacity
            };
            level + 1 + capacity
        })
        .max()
        .unwrap_or(0)
}

/// How long the server's pause lasts, if there is one.
fn pause_left(view: &View<'_>) -> Option<Duration> {
    let until = view.state.limit.paused_until?;
    (until > view.now).then(|| view.now.until(until))
}

/// `label`, a bar of the free slots, and how many are in use.
pub(super) fn slots(view: &View<'_>, label: &str, width: usize) -> Line<'static> {
    let theme = view.theme;
    let limit = &view.state.session.policy.limit;
    if !limit.enabled {
        return row::first_fit(theme, [Line::from(format!("{label}off, no limit"))], width);
    }
    let (used, all) = (view.state.limit.in_use, limit.concurrency);
    let share = f64::from(used) / f64::from(all.max(1));
    let all_text = all.to_string();
    let numbers = format!("{}/{all_text}", row::right(&used.to_string(), all_text.len()));
    let numbers = row::right(&numbers, numbers_width(view));
    let texts = [
        (20, format!(" {}  {numbers} in use", units::percent(share))),
        (10, format!(" {numbers} in use")),
        (10, format!(" {numbers}")),
        (4, format!(" {numbers}")),
    ];
    for (cells, text) in texts {
        if row::width(label) + cells + 2 + row::width(&text) <= width {
            let mut line = Line::from(label.to_owned());
            line.spans.extend(gauge::bar(theme, Role::Gauge, share, cells));
            line.push_span(row::plain(text));
            return line;
        }
    }
    row::first_fit(theme, [Line::from(format!("{label}{used}/{all_text}"))], width)
}

/// `label`, when the next one is admitted, how many wait, how many were turned away.
pub(super) fn queue(view: &View<'_>, label: &str, width: usize) -> Line<'static> {
    let theme = view.theme;
    let limit = &view.state.limit;
    let waiting = format!("waiting {}", limit.waiters.len());
    let shed = format!("shed {}", limit.rejections());
    let next = match (pause_left(view), limit.head()) {
        (Some(left), _) => {
            let left = units::countdown(left);
            [format!("server's pause, {left} left"), format!("pause {left}")]
        }
        (None, None) => ["next admit at once".to_owned(), "next at once".to_owned()],
        (None, Some((call, waiter))) => match waiter.ready_at.map(|at| view.now.until(at)) {
            Some(left) => {
                let left = units::countdown(left);
                [format!("next admit {left} ({call})"), format!("next {left}")]
            }
            None => [format!("next admit: a slot ({call})"), "next: a slot".to_owned()],
        },
    };
    let [long, short] = next;
    let wordings = [
        // a fixed place for the numbers behind a text that changes
        format!("{label}{}  {waiting}   {shed}", row::left(&long, 24)),
        format!("{label}{long}  {waiting}  {shed}"),
        format!("{label}{short}  {waiting}  {shed}"),
        format!("{label}{short}  {waiting}"),
        format!("{label}{short}"),
        short,
    ];
    row::first_fit(theme, wordings.map(Line::from), width)
}

/// The lowest level of the token bucket in each part of the last minute.
fn level_history(view: &View<'_>, label: &str, width: usize) -> Line<'static> {
    let shares = view
        .state
        .limit
        .history
        .iter()
        .map(|(second, share, _)| (*second, f64::from(*share)));
    let places = gauge::slots(shares, this_second(view), SPAN, CELLS, f64::min);
    last_minute(view, label, places, 1.0, width)
}

/// The most waiters in each part of the last minute. Up to four are drawn as few.
fn waiting_history(view: &View<'_>, label: &str, width: usize) -> Line<'static> {
    let history = &view.state.limit.history;
    let most = history
        .iter()
        .map(|(_, _, waiters)| *waiters)
        .max()
        .unwrap_or(0)
        .max(4);
    let waiters = history
        .iter()
        .map(|(second, _, waiters)| (*second, f64::from(*waiters)));
    let places = gauge::slots(waiters, this_second(view), SPAN, CELLS, f64::max);
    last_minute(view, label, places, f64::from(most), width)
}

/// Seconds since the start.
fn this_second(view: &View<'_>) -> u64 {
    view.now.since(Timestamp::ZERO).as_secs()
}

/// A sparkline with its label, the newest part of it where room is short; where nothing changed it is
/// blank.
fn last_minute(
    view: &View<'_>,
    label: &str,
    places: Vec<Option<f64>>,
    max: f64,
    width: usize,
) -> Line<'static> {
    let theme = view.theme;
    let room = width.saturating_sub(row::width(label));
    let newest = places.into_iter().skip(CELLS.saturating_sub(room));
    let line = Line::from(vec![
        row::plain(label.to_owned()),
        row::piece(theme, Role::Gauge, gauge::sparkline(theme, newest, max)),
    ]);
    let mut with_span = line.clone();
    with_span.push_span(row::piece(theme, Role::Muted, "  last 60s"));
    row::first_fit(theme, [with_span, line], width)
}

/// What passed, and what it cost.
fn totals(view: &View<'_>, width: usize) -> Line<'static> {
    let limit = &view.state.limit;
    let pieces = vec![
        Line::from(format!("admitted  {}", limit.admitted)),
        Line::from(format!("   charged {} tok", units::amount(limit.charged_tokens))),
    ];
    row::join(view.theme, pieces, width)
}

/// What did not pass, by reason.
fn turned_away(view: &View<'_>, width: usize) -> Line<'static> {
    let rejected = &view.state.limit.rejected;
    let mut pieces = vec![Line::from(format!("shed      {}", view.state.limit.rejections()))];
    for (reason, count) in rejected {
        pieces.push(Line::from(format!("   {} {count}", reason.brief())));
    }
    row::join(view.theme, pieces, width)
}

#[cfg(test)]
mod tests {
    use super::super::fixture;
    use super::*;
    use crate::event::{Constraint, LimitReject};

    #[test]
    fn levels_queue_and_the_last_minute() {
        assert_eq!(
            fixture::rows(&fixture::burst(), 56, 9, render),
            [
                "Tokens    [████████░░░░░░░░░░░░]  38%  2.3k/6k +100/s",
                "Requests  [██████████████░░░░░░]  70%    42/60 +1/s",
                "Parallel  [████░░░░░░░░░░░░░░░░]  19%     3/16 in use",
                "next admit 0.4s (#35)     waiting 1   shed 0",
                "order     fair, 1 user waits",
                "tokens                      ▅▅▄▄▄▄▃▃▃▃▃   last 60s",
                "waiting                     ▃▆█▅█▃▆█▅█▃   last 60s",
                "admitted  36   charged 0 tok",
                "shed      0",
            ]
        );
    }

    #[test]
    fn both_bars_have_one_length_though_one_refill_is_longer() {
        let mut scene = fixture::burst();
        if let Some(bucket) = &mut scene.state.limit.tokens {
            // the level is kept in units of the period, so the refill can grow alone
            bucket.refill *= 15;
        }
        for width in 20..60 {
            let view = scene.view();
            let ends = [tokens(&view, "tokens ", width), requests(&view, "reqs   ", width)]
                .map(|line| line.to_string().chars().position(|c| c == ']'));
            assert_eq!(ends[0], ends[1], "{width}");
        }
    }

    #[test]
    fn a_waiter_without_a_prediction_waits_for_a_slot() {
        let mut scene = fixture::burst();
        for waiter in scene.state.limit.waiters.values_mut() {
            waiter.constraint = Constraint::Slots;
            waiter.ready_at = None;
        }
        let row = queue(&scene.view(), "", 50).to_string();
        assert_eq!(row, "next admit: a slot (#35)  waiting 1   shed 0");
        assert_eq!(
            queue(&scene.view(), "", 30).to_string(),
            "next: a slot  waiting 1"
        );
        assert_eq!(title(&scene.view(), 35), "1 waiting");
    }

    #[test]
    fn reasons_for_turning_away_are_counted_apart() {
        let mut scene = fixture::burst();
        let rejected = &mut scene.state.limit.rejected;
        rejected.extend([(LimitReject::QueueFull, 3), (LimitReject::TooLarge, 1)]);
        assert_eq!(
            turned_away(&scene.view(), 60).to_string(),
            "shed      4   queue full 3   too large 1"
        );
    }
}
