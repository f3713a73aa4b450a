//! The Limiter card: what is left in each bucket, the queue, and when the next call is admitted.
//!
//! A gauge shows what is left. A level below zero is debt (more was used than reserved): the gauge is empty and the
//! debt is a number.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::text::Line;

use crate::event::{BucketLevel, Constraint, Fate, LimitReject};
use crate::tui::theme::Role;
use crate::tui::view::View;

use super::card::{self, LABEL, ROOMY};
use super::{row, units};

/// The explanation before the first call.
const ABOUT: &str = "Paces bursts to your quota.";

/// Draws the card.
pub(crate) fn render(view: &View<'_>, area: Rect, buf: &mut Buffer) {
    let area = area.intersection(buf.area);
    let (width, rows) = (usize::from(area.width), usize::from(area.height));
    card::draw(view, lines(view, width, rows), area, buf);
}

/// The window of the card, for its title.
pub(crate) fn title(view: &View<'_>) -> String {
    if card::is_first(view.state) {
        String::new()
    } else {
        "now".to_owned()
    }
}

fn lines(view: &View<'_>, width: usize, rows: usize) -> Vec<Line<'static>> {
    let theme = view.theme;
    if !view.state.session.policy.limit.enabled {
        return off(view, width, rows);
    }
    let limit = &view.state.limit;
    let mut lines = vec![
        bucket(view, "tokens", limit.tokens, width),
        bucket(view, "requests", limit.requests, width),
        slots(view, width),
    ];
    if card::is_first(view.state) {
        lines.push(row::muted(theme, row::clip(theme, ABOUT, width)));
        lines.push(policy(view, width));
        return lines;
    }
    lines.push(queue(view, width));
    let means = row::muted(theme, "what is left; empty = wait");
    if rows >= 7 {
        lines.extend([
            limited(view, width).unwrap_or_else(|| row::muted(theme, "no call was limited")),
            means,
            policy(view, width),
        ]);
    } else {
        lines.push(limited(view, width).unwrap_or(means));
    }
    lines
}

fn off(view: &View<'_>, width: usize, rows: usize) -> Vec<Line<'static>> {
    let theme = view.theme;
    let (in_flight, waiting) = view.state.timeline.load();
    let effect = "every attempt is sent at once";
    let now = [
        format!("{in_flight} in flight, {waiting} waiting"),
        format!("{in_flight} in flight"),
    ];
    let mut first = card::words(theme, Role::Strong, "OFF");
    if width >= ROOMY {
        first.push_span(row::plain(format!("  {effect}")));
    }
    let mut lines = vec![first];
    if rows >= 7 {
        let names = ["tokens", "requests", "slots"];
        lines.extend(
            names.map(|name| row::muted(theme, format!("{}not limited", row::left(name, LABEL + 1)))),
        );
    } else {
        let wordings = [effect, "sends each attempt at once", "sends at once"];
        lines.push(row::first_fit(theme, wordings, width));
    }
    lines.push(row::first_fit(theme, now, width));
    lines.extend(card::switch_on(view, "limit.enabled", width));
    lines
}

/// Label, gauge of what is left, level and capacity.
fn bucket(view: &View<'_>, label: &str, level: Option<BucketLevel>, width: usize) -> Line<'static> {
    let Some(bucket) = level else {
        return Line::from(format!("{}-", row::left(label, LABEL)));
    };
    let (level, share) = (bucket.level_at(view.now), bucket.share_at(view.now));
    let text = if level < 0.0 {
        format!(" debt {}", units::amount((-level).ceil() as u64))
    } else {
        format!(
            " {} of {}",
            units::amount(level as u64),
            units::amount(bucket.capacity)
        )
    };
    gauge(view, label, share, &text, width)
}

/// Free slots.
fn slots(view: &View<'_>, width: usize) -> Line<'static> {
    let all = view.state.session.policy.limit.concurrency;
    let free = all.saturating_sub(view.state.limit.in_use);
    let share = f64::from(free) / f64::from(all.max(1));
    let text = format!(" {} of {}", units::amount(free.into()), units::amount(all.into()));
    gauge(view, "slots", share, &text, width)
}

fn gauge(view: &View<'_>, label: &str, share: f64, text: &str, width: usize) -> Line<'static> {
    let theme = view.theme;
    let mut line = Line::from(row::left(label, LABEL));
    line.spans.extend(card::meter(
        theme,
        card::left_role(share),
        share,
        card::cells(width),
    ));
    row::join(theme, [line, Line::from(text.to_owned())], width)
}

/// The queue, and when its head is admitted.
fn queue(view: &View<'_>, width: usize) -> Line<'static> {
    let limit = &view.state.limit;
    let waiting = units::grouped(limit.waiters.len() as u64);
    let paused = limit.paused_until.filter(|until| *until > view.now);
    let head = limit.held_head(view.now);
    let (long, short) = match (limit.waiters.is_empty(), head, paused) {
        (_, _, Some(until)) => {
            let left = units::seconds(view.now.until(until));
            (
                format!("paused by the server: {left}"),
                format!("server pause {left}"),
            )
        }
        (true, ..) => next_call(view),
        (false, Some(head), None) => {
            let what = short_of(head.constraint);
            let when = head.ready_at.map(|ready| units::seconds(view.now.until(ready)));
            match when {
                Some(when) => (format!("next in {when} ({what})"), format!("next in {when}")),
                None => (format!("next needs a {what}"), format!("needs a {what}")),
            }
        }
        (false, None, None) => ("next is being admitted".to_owned(), "next now".to_owned()),
    };
    let role = if limit.waiters.is_empty() {
        Role::Text
    } else {
        Role::Strong
    };
    let count = row::piece(view.theme, role, format!("{waiting} waiting"));
    let wordings = [format!("; {long}"), format!("; {short}"), String::new()];
    let wordings = wordings.map(|text| Line::from(vec![count.clone(), row::plain(text)]));
    row::first_fit(view.theme, wordings, width)
}

/// The wait of a call that came now, as far as one request and one token decide.
fn next_call(view: &View<'_>) -> (String, String) {
    let limit = &view.state.limit;
    if limit.in_use >= view.state.session.policy.limit.concurrency {
        return ("next call needs a slot".to_owned(), "no free slot".to_owned());
    }
    let buckets = [limit.requests, limit.tokens].into_iter().flatten();
    let ready = buckets.filter_map(|bucket| bucket.ready_at(1)).max();
    match ready
        .map(|ready| view.now.until(ready))
        .filter(|wait| !wait.is_zero())
    {
        Some(wait) => {
            let text = format!("next call in {}", units::seconds(wait));
            (text.clone(), text)
        }
        None => ("next call at once".to_owned(), "next at once".to_owned()),
    }
}

fn short_of(constraint: Constraint) -> &'static str {
    match constraint {
        Constraint::Requests => "requests",
        Constraint::Tokens => "tokens",
        Constraint::Slots => "slot",
        Constraint::Paused => "paused",
        Constraint::UserRequests => "own requests",
        Constraint::UserTokens => "own tokens",
    }
}

/// Calls limited since the start, with the most common reason.
fn limited(view: &View<'_>, width: usize) -> Option<Line<'static>> {
    let limit = &view.state.limit;
    let (reason, _) = limit.rejected.iter().max_by_key(|(_, count)| **count)?;
    let most = units::seconds(view.state.session.policy.limit.max_wait);
    let why = match reason {
        LimitReject::QueueFull => "the queue was full".to_owned(),
        LimitReject::TooLarge => "more than the bucket holds".to_owned(),
        LimitReject::WaitTooLong => format!("would have waited over {most}"),
        LimitReject::Deadline => "past their deadline".to_owned(),
        LimitReject::UserTooLarge => "more than its user's bucket".to_owned(),
        LimitReject::Displaced => "made room for others".to_owned(),
    };
    let count = format!(
        "limited: {}",
        units::grouped(view.state.calls.totals.ended(Fate::RateLimited))
    );
    let wordings = [format!("{count}, {why}"), count];
    Some(row::first_fit(view.theme, wordings, width))
}

/// The refill of both buckets.
fn policy(view: &View<'_>, width: usize) -> Line<'static> {
    let limit = &view.state.session.policy.limit;
    let per_second = |bucket: &crate::settings::Bucket| {
        let rate = bucket.refill as f64 / bucket.per.as_secs_f64().max(1e-9);
        if rate >= 10.0 {
            units::grouped(rate.round() as u64)
        } else {
            units::number(rate)
        }
    };
    let (tokens, requests) = (per_second(&limit.tokens), per_second(&limit.requests));
    let wordings = [
        format!("+{tokens} tokens/s, +{requests} req/s"),
        format!("+{tokens} tok/s, +{requests} req/s"),
        format!("+{requests} req/s"),
    ];
    row::first_fit(
        view.theme,
        wordings.map(|text| row::muted(view.theme, text)),
        width,
    )
}
