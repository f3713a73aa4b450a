//! The Limiter pane: what is left in each bucket, the queue, and when the next waiter is admitted.
//!
//! A bar shows what is left. A level below zero is debt (more was used than reserved): the bar is empty and the
//! debt is shown as a number.

use std::time::Duration;

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::text::Line;

use crate::event::BucketLevel;
use crate::time::Timestamp;
use crate::tui::theme::Role;
use crate::tui::view::View;

use super::{gauge, row, units, users};

/// Seconds that a sparkline covers.
const SPAN: u64 = 60;
/// Cells of a sparkline.
const CELLS: usize = 30;

/// Draws both buckets, the slots, the queue and the last minute.
pub(crate) fn render(view: &View<'_>, area: Rect, buf: &mut Buffer) {
    let area = area.intersection(buf.area);
    let width = usize::from(area.width);
    let mut lines = vec![
        tokens(view, "Tokens    ", width),
        requests(view, "Requests  ", width),
        slots(view, "Slots     ", width),
        queue(view, "", width),
    ];
    let rest = [
        users::queue_line(view, "queue     ", width),
        level_history(view, "tokens    ", width),
        waiting_history(view, "waiting   ", width),
        totals(view, width),
        rejected(view, width),
    ];
    if lines.len() + 1 + rest.len() <= usize::from(area.height) {
        lines.push(Line::default());
    }
    lines.extend(rest);
    row::draw_all(&lines, area, buf);
}

/// The number of waiters, for the border of a pane with `width` columns of content; empty without waiters.
pub(crate) fn title(view: &View<'_>, width: u16) -> String {
    let short = match view.state.limit.waiters.len() {
        0 => return String::new(),
        waiting => format!("{waiting} waiting"),
    };
    let long = format!("{short}, {}", users::queue_summary(view));
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

/// `label`, a bar of what is left, the level, and the refill rate, debt or pause.
fn bucket(view: &View<'_>, label: &str, level: Option<BucketLevel>, width: usize) -> Line<'static> {
    let theme = view.theme;
    if !view.state.session.policy.limit.enabled {
        return row::first_fit(theme, [format!("{label}OFF, not counted")], width);
    }
    let Some(bucket) = level else {
        return row::first_fit(theme, [format!("{label}--")], width);
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
            line.spans.extend(gauge::bar(theme, Role::Work, share, cells));
            line.push_span(row::plain(numbers));
            line.push_span(row::piece(theme, role, note));
            return line;
        }
    }
    let numbers = numbers.trim_start().to_owned();
    row::first_fit(theme, [format!("{label}{numbers}"), numbers], width)
}

/// The refill rate, or the debt or pause in its place.
fn note(view: &View<'_>, bucket: BucketLevel) -> (String, Role) {
    let level = bucket.level_at(view.now);
    if level < 0.0 {
        let debt = units::amount((-level).ceil() as u64);
        (format!("debt {debt}"), Role::Broken)
    } else if let Some(left) = pause_left(view) {
        (format!("paused {}", units::countdown(left)), Role::Held)
    } else {
        (units::refill(bucket.per_second()), Role::Text)
    }
}

/// The widest [`note`] of both buckets, so that both bars have one length.
fn notes_width(view: &View<'_>) -> usize {
    let limit = &view.state.limit;
    let buckets = [limit.tokens, limit.requests].into_iter().flatten();
    buckets
        .map(|bucket| row::width(&note(view, bucket).0))
        .max()
        .unwrap_or(0)
}

/// `2.3k/6k`: whole units left, and the capacity.
fn left_of(level: f64, capacity: u64) -> String {
    format!(
        "{}/{}",
        units::amount(level.max(0.0) as u64),
        units::amount(capacity)
    )
}

/// The widest [`left_of`] of both buckets, so that both refill rates have one column.
fn numbers_width(view: &View<'_>) -> usize {
    let limit = &view.state.limit;
    [limit.tokens, limit.requests]
        .into_iter()
        .flatten()
        .map(|bucket| {
            let capacity = units::amount(bucket.capacity).len();
            // a level below a capacity of 6k may be wider: 2.3k
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

/// The rest of the server's pause.
fn pause_left(view: &View<'_>) -> Option<Duration> {
    let until = view.state.limit.paused_until?;
    (until > view.now).then(|| view.now.until(until))
}

/// `label`, a bar of the slots in use, and their number.
pub(super) fn slots(view: &View<'_>, label: &str, width: usize) -> Line<'static> {
    let theme = view.theme;
    let limit = &view.state.session.policy.limit;
    if !limit.enabled {
        return row::first_fit(theme, [format!("{label}OFF, no limit")], width);
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
            line.spans.extend(gauge::bar(theme, Role::Work, share, cells));
            line.push_span(row::plain(text));
            return line;
        }
    }
    row::first_fit(theme, [format!("{label}{used}/{all_text}")], width)
}

/// `label`, the next admission, and the numbers of waiting and limited calls.
pub(super) fn queue(view: &View<'_>, label: &str, width: usize) -> Line<'static> {
    let limit = &view.state.limit;
    let waiting = format!("waiting {}", limit.waiters.len());
    let limited = format!("limited {}", limit.rejections());
    let (next, call) = match (pause_left(view), limit.head()) {
        (Some(left), _) => (format!("paused, {} left", units::countdown(left)), String::new()),
        (None, None) => ("next call at once".to_owned(), String::new()),
        (None, Some((call, waiter))) => {
            let next = match waiter.ready_at.map(|at| view.now.until(at)) {
                Some(left) => format!("next in {}", units::countdown(left)),
                None => "next needs a slot".to_owned(),
            };
            (next, format!(" ({call})"))
        }
    };
    let wordings = [
        // the numbers keep their columns while the text changes
        format!(
            "{label}{}  {waiting}   {limited}",
            row::left(&format!("{next}{call}"), 24)
        ),
        format!("{label}{next}{call}  {waiting}  {limited}"),
        format!("{label}{next}  {waiting}  {limited}"),
        format!("{label}{next}  {waiting}"),
        format!("{label}{next}"),
        next,
    ];
    row::first_fit(view.theme, wordings, width)
}

/// The lowest level of the token bucket in each slot of the last minute.
fn level_history(view: &View<'_>, label: &str, width: usize) -> Line<'static> {
    let history = view.state.limit.history.iter();
    let shares = history.map(|(second, share, _)| (*second, f64::from(*share)));
    let slots = gauge::slots(shares, this_second(view), SPAN, CELLS, f64::min);
    last_minute(view, label, slots, 1.0, width)
}

/// The most waiters in each slot of the last minute, on a scale that ends at 4 or more.
fn waiting_history(view: &View<'_>, label: &str, width: usize) -> Line<'static> {
    let history = view.state.limit.history.iter();
    let waiters = history.map(|(second, _, waiters)| (*second, f64::from(*waiters)));
    let most = waiters.clone().map(|(_, waiters)| waiters).fold(4.0, f64::max);
    let slots = gauge::slots(waiters, this_second(view), SPAN, CELLS, f64::max);
    last_minute(view, label, slots, most, width)
}

/// Whole seconds since the start.
fn this_second(view: &View<'_>) -> u64 {
    view.now.since(Timestamp::ZERO).as_secs()
}

/// A labelled sparkline; its oldest cells are dropped if room is short.
fn last_minute(
    view: &View<'_>,
    label: &str,
    slots: Vec<Option<f64>>,
    max: f64,
    width: usize,
) -> Line<'static> {
    let theme = view.theme;
    let room = width.saturating_sub(row::width(label));
    let newest = slots.into_iter().skip(CELLS.saturating_sub(room));
    let line = Line::from(vec![
        row::plain(label),
        row::piece(theme, Role::Work, gauge::sparkline(theme, newest, max)),
    ]);
    row::join(theme, [line, row::muted(theme, "  last 60s")], width)
}

/// The admitted calls and the tokens charged for them.
fn totals(view: &View<'_>, width: usize) -> Line<'static> {
    let limit = &view.state.limit;
    let pieces = [
        format!("admitted  {}", limit.admitted),
        format!("   charged {} tok", units::amount(limit.charged_tokens)),
    ];
    row::join(view.theme, pieces, width)
}

/// The limited calls, by reason.
fn rejected(view: &View<'_>, width: usize) -> Line<'static> {
    let mut pieces = vec![format!("limited   {}", view.state.limit.rejections())];
    for (reason, count) in &view.state.limit.rejected {
        pieces.push(format!("   {} {count}", reason.brief()));
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
                "Slots     [████░░░░░░░░░░░░░░░░]  19%     3/16 in use",
                "next in 0.4s (#35)        waiting 1   limited 0",
                "queue     fair, 1 user waiting",
                "tokens                      ▅▅▄▄▄▄▃▃▃▃▃   last 60s",
                "waiting                     ▃▆█▅█▃▆█▅█▃   last 60s",
                "admitted  36   charged 0 tok",
                "limited   0",
            ]
        );
    }

    #[test]
    fn both_bars_have_one_length_whatever_the_refill() {
        let mut fixture = fixture::burst();
        if let Some(bucket) = &mut fixture.state.limit.tokens {
            // the level is stored in units of the period, so the refill alone can grow
            bucket.refill *= 15;
        }
        for width in 20..60 {
            let view = fixture.view();
            let ends = [tokens(&view, "tokens ", width), requests(&view, "reqs   ", width)]
                .map(|line| line.to_string().chars().position(|c| c == ']'));
            assert_eq!(ends[0], ends[1], "{width}");
        }
    }

    #[test]
    fn a_waiter_without_a_forecast_needs_a_slot() {
        let mut fixture = fixture::burst();
        for waiter in fixture.state.limit.waiters.values_mut() {
            waiter.constraint = Constraint::Slots;
            waiter.ready_at = None;
        }
        let row = queue(&fixture.view(), "", 50).to_string();
        assert_eq!(row, "next needs a slot (#35)   waiting 1   limited 0");
        assert_eq!(
            queue(&fixture.view(), "", 30).to_string(),
            "next needs a slot  waiting 1"
        );
        assert_eq!(title(&fixture.view(), 35), "1 waiting");
    }

    #[test]
    fn rejections_are_counted_by_reason() {
        let mut fixture = fixture::burst();
        let counts = &mut fixture.state.limit.rejected;
        counts.extend([(LimitReject::QueueFull, 3), (LimitReject::TooLarge, 1)]);
        assert_eq!(
            rejected(&fixture.view(), 60).to_string(),
            "limited   4   queue full 3   too large 1"
        );
    }
}
