//! The limiter over time: what is left of the buckets, and the calls in flight and waiting.
//!
//! The same charts are on the main screen of the largest terminals, without the list of waiting calls.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::text::Line;

use crate::event::Constraint;
use crate::state::{Level, Slot};
use crate::text::units;
use crate::time::Timestamp;
use crate::tui::pane::chart::{self, Chart};
use crate::tui::pane::{latency, row};
use crate::tui::plot::dots::{self, Look, Series};
use crate::tui::plot::{Frame, Unit, scale};
use crate::tui::theme::Role;
use crate::tui::view::View;

use super::{below, rows};

/// The smallest end of the scale of calls.
const LEAST: f64 = 4.0;
/// The fewest rows of a chart.
const CHART: u16 = 4;

/// Draws the charts, and the list of waiting calls below them.
pub(crate) fn render(view: &View<'_>, area: Rect, buf: &mut Buffer) {
    let area = area.intersection(buf.area);
    if area.is_empty() {
        return;
    }
    let mut chart = Chart::new(view, area);
    chart.strips(2, buf);
    let height = chart.frame.plot.height;
    let is_on = view.state.session.policy.limit.enabled;
    let each = (height / 3).max(CHART);
    if is_on {
        let frame = chart.take(each);
        levels(&chart, frame, buf);
        chart.sub_rule("Calls", "in flight, waiting", buf);
    }
    let frame = chart.take(if is_on { each } else { 2 * each });
    calls(&chart, frame, buf);
    let free = below(&chart, buf);
    waiters(view, free, buf);
}

/// Draws the chart of the main screen: the levels if the limiter is on, and the calls.
pub(crate) fn render_chart(view: &View<'_>, area: Rect, buf: &mut Buffer) {
    let area = area.intersection(buf.area);
    if area.is_empty() {
        return;
    }
    let mut chart = Chart::new(view, area);
    let is_on = view.state.session.policy.limit.enabled;
    let height = chart.frame.plot.height;
    if is_on && height >= 2 * CHART {
        let frame = chart.take(height / 2);
        levels(&chart, frame, buf);
    }
    let frame = chart.take(height);
    calls(&chart, frame, buf);
}

/// Draws what is left of requests and tokens: the lowest share per column.
fn levels(chart: &Chart<'_>, frame: Frame, buf: &mut Buffer) {
    let view = chart.view;
    let theme = view.theme;
    let limit = &view.state.limit;
    let series = |look, role, level: fn(&Slot) -> Option<Level>| {
        let share = |level: Level| f64::from(level.lowest) / 1000.0;
        let value = |slot: Option<&Slot>| slot.and_then(level).map(|level| (share(level), share(level)));
        let values = chart.columns.each().map(value).collect();
        Series { values, look, role }
    };
    let all = [
        series(Look::Dotted, Role::Held, |slot| slot.tokens_left),
        series(Look::Line, Role::Work, |slot| slot.requests_left),
    ];
    dots::draw(theme, &all, 1.0, frame.plot, buf);
    frame.label(theme, 0, &Unit::Share.label(1.0, 1.0), buf);
    frame.label(theme, frame.plot.height.saturating_sub(1), "0%", buf);
    let bucket = |name: &str, mark: &str, role, bucket: Option<crate::event::BucketLevel>| {
        let texts = bucket.map_or_else(
            || vec!["not limited".to_owned(), "no limit".to_owned()],
            |bucket| {
                let level = units::amount(bucket.level_at(view.now).max(0.0) as u64);
                vec![format!("{level} of {}", units::amount(bucket.capacity)), level]
            },
        );
        let wording = |text| {
            Line::from(vec![
                row::piece(theme, role, format!(" {mark} ")),
                row::plain(format!("{name} ")),
                row::piece(theme, Role::Strong, text),
            ])
        };
        texts.into_iter().map(wording).collect()
    };
    let (line, dotted) = (theme.glyphs.border[0], theme.glyphs.timeline_queue);
    let mut lines = vec![
        bucket("requests", line, Role::Work, limit.requests),
        bucket("tokens", dotted, Role::Held, limit.tokens),
    ];
    if frame.plot.height > 3 {
        let wordings = [" left, lowest per column", " lowest left"];
        lines.push(wordings.map(|text| row::muted(theme, text)).to_vec());
    }
    chart.facts(frame.gutter, 5, lines, buf);
    chart.not_started(frame, buf);
    chart.lines(frame, buf);
}

/// Draws the calls in flight, and above them those that wait.
fn calls(chart: &Chart<'_>, frame: Frame, buf: &mut Buffer) {
    let view = chart.view;
    let theme = view.theme;
    let all = |slot: &Slot| f64::from(slot.in_flight.saturating_add(slot.waiting));
    let (most, before) = chart.columns.most(all);
    let top = scale(most, before, LEAST);
    let series = |look, role, value: fn(&Slot) -> f64| Series {
        values: chart
            .columns
            .each()
            .map(|slot| slot.map(|slot| (0.0, value(slot))))
            .collect(),
        look,
        role,
    };
    // a cell has one colour: the calls in flight win theirs, those that wait stand above
    let layers = [
        series(Look::Area, Role::Held, |slot| {
            f64::from(slot.in_flight.saturating_add(slot.waiting))
        }),
        series(Look::Area, Role::Work, |slot| f64::from(slot.in_flight)),
    ];
    dots::draw(theme, &layers, top, frame.plot, buf);
    frame.labels(theme, Unit::Count, top, buf);
    let (in_flight, waiting) = view.state.timeline.load();
    let fact = |role, name: &str, value: u32| {
        vec![Line::from(vec![
            row::piece(theme, role, format!(" {} ", theme.glyphs.bar_full)),
            row::plain(row::left(name, 10)),
            row::piece(theme, Role::Strong, value.to_string()),
        ])]
    };
    let mut lines = vec![
        fact(Role::Held, "waiting", waiting),
        peak(chart, |slot| slot.waiting),
        fact(Role::Work, "in flight", in_flight),
        peak(chart, |slot| slot.in_flight),
    ];
    if frame.plot.height < 5 {
        // the peaks go first
        lines.remove(3);
        lines.remove(1);
    }
    let limit = &view.state.session.policy.limit;
    let most = format!(" at most {}", limit.concurrency);
    let wordings = if limit.enabled {
        vec![format!("{most} in flight"), most]
    } else {
        vec![" limits are off".to_owned()]
    };
    lines.push(wordings.into_iter().map(|text| row::muted(theme, text)).collect());
    chart.facts(frame.gutter, 3, lines, buf);
    chart.not_started(frame, buf);
    chart.lines(frame, buf);
}

/// The peak of the window, with its time if there is room: `   peak      69 at 01:15`.
fn peak(chart: &Chart<'_>, value: fn(&Slot) -> u32) -> Vec<Line<'static>> {
    let slots = (0..chart.axis.columns()).zip(chart.columns.each());
    let most = slots
        .filter_map(|(column, slot)| Some((value(slot?), std::cmp::Reverse(column))))
        .max();
    most.filter(|(most, _)| *most > 0)
        .map_or_else(Vec::new, |(most, std::cmp::Reverse(column))| {
            let at = chart.axis.middle(column).since(Timestamp::ZERO);
            let peak = format!("   peak      {most}");
            [format!("{peak} at {}", units::clock(at, false)), peak]
                .map(|text| row::muted(chart.view.theme, text))
                .to_vec()
        })
}

/// Lists the waiting calls, the longest wait first, and what each waits for.
fn waiters(view: &View<'_>, mut area: Rect, buf: &mut Buffer) {
    let theme = view.theme;
    if area.height < 3 {
        return;
    }
    let waiters = &view.state.limit.waiters;
    let note = units::count(waiters.len() as u64, "call");
    chart::rule(view, rows(&mut area, 1), "Waiting calls", &note, buf);
    if waiters.is_empty() {
        view.draw_notice(area, " No call waits.", buf);
        return;
    }
    let columns = |cells: [&str; 5]| {
        let widths = [9, 10, 12, 22, 12];
        cells
            .iter()
            .zip(widths)
            .map(|(cell, width)| row::left(&row::clip(theme, cell, width - 1), width))
            .collect::<String>()
    };
    let mut lines = vec![row::muted(
        theme,
        format!(
            " {}",
            columns(["call", "user", "waiting", "waits for", "next in"])
        ),
    )];
    let head = view.state.limit.held_head(view.now);
    let mut sorted: Vec<_> = waiters.iter().collect();
    sorted.sort_by_key(|(id, waiter)| (waiter.since, **id));
    for (id, waiter) in sorted.into_iter().take(usize::from(area.height)) {
        let user = view
            .state
            .calls
            .recent
            .get(id)
            .map_or_else(String::new, |call| call.user.as_str().replace('\n', " "));
        let waits = latency::seconds(waiter.since.until(view.now));
        let next = head
            .filter(|head| head.call == *id)
            .and_then(|head| head.ready_at);
        let next = next.map_or_else(|| "-".to_owned(), |at| latency::seconds(view.now.until(at)));
        let held = view.state.waits_for(*id, view.now).map_or("its turn", held_by);
        lines.push(Line::from(format!(
            " {}",
            columns([&id.to_string(), &user, &waits, held, &next])
        )));
    }
    row::draw_all(&lines, area, buf);
}

fn held_by(constraint: Constraint) -> &'static str {
    match constraint {
        Constraint::Requests => "requests",
        Constraint::Tokens => "tokens",
        Constraint::Slots => "a free slot",
        Constraint::Paused => "the server's pause",
        Constraint::UserRequests => "requests of the user",
        Constraint::UserTokens => "tokens of the user",
    }
}
