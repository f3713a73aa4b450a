//! The breaker on the whole screen: the failure rate that opens it, its state now, how it moves, every opening.

use std::time::Duration;

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::text::{Line, Span};

use crate::event::{BreakerMode, BreakerState, Fate, MoveReason};
use crate::settings::BreakerSettings;
use crate::state::{Slot, StateSpell, with_states};
use crate::text::units;
use crate::time::Timestamp;
use crate::tui::pane::chart::{self, Chart};
use crate::tui::pane::{appearance, gauge, latency, row};
use crate::tui::plot::dots::{self, Look, Series};
use crate::tui::plot::{self, Frame, Unit};
use crate::tui::theme::Role;
use crate::tui::view::View;

use super::{below, rows, two};

/// Rows of the state machine and the facts beside it.
const MACHINE: u16 = 9;
/// Columns of the facts.
const FACTS: u16 = 49;
/// Columns of the state machine.
const MACHINE_WIDTH: u16 = 70;
/// The fewest rows of the chart.
const CHART: u16 = 6;
/// Rows of the list of openings that the chart leaves.
const OPENINGS: u16 = 6;

/// Draws the chart and the parts below it.
pub(crate) fn render(view: &View<'_>, area: Rect, buf: &mut Buffer) {
    let area = area.intersection(buf.area);
    if area.is_empty() {
        return;
    }
    let mut chart = Chart::new(view, area);
    chart.strips(2, buf);
    let height = chart.frame.plot.height;
    let machine = if height >= CHART + MACHINE + 2 { MACHINE } else { 0 };
    let rest = height - machine;
    let rows_of_chart = (rest.saturating_sub(OPENINGS)).clamp(CHART.min(rest), 2 * OPENINGS + 2);
    let frame = chart.take(rows_of_chart);
    draw(&chart, frame, buf);
    let mut free = below(&chart, buf);
    let model = view.state.breakers.shown_name().unwrap_or_default();
    if machine > 0 {
        let part = rows(&mut free, machine);
        if part.width >= FACTS + MACHINE_WIDTH {
            let titles = [("Now", model), ("How it moves", "")];
            let [left, right] = two(view, part, FACTS, titles, buf);
            row::draw_all(&now(view, left.width), left, buf);
            state_machine(view, right, buf);
        } else {
            let head = Rect { height: 1, ..part };
            chart::rule(view, head, "Now", model, buf);
            let inner = Rect {
                y: part.y + 1,
                x: part.x + 1,
                width: part.width - 1,
                height: part.height - 1,
            };
            row::draw_all(&now(view, inner.width), inner, buf);
        }
    }
    models(view, &mut free, buf);
    openings(view, free, buf);
}

/// Lists the breakers of all models where several were called, in at most half of the rows left.
fn models(view: &View<'_>, free: &mut Rect, buf: &mut Buffer) {
    let theme = view.theme;
    let all = view.state.breakers.ranked();
    let room = usize::from(free.height / 2).saturating_sub(1);
    if all.len() < 2 || room < 2 {
        return;
    }
    let settings = &view.state.session.policy.breaker;
    let shown = if all.len() > room { room - 1 } else { all.len() };
    let mut lines: Vec<Line<'static>> = Vec::new();
    for one in all.iter().take(shown) {
        let state = appearance::for_breaker(theme, &one.view, settings.enabled);
        let window = one.view.window;
        let failed = match window.total {
            0 => "no outcome".to_owned(),
            total => format!("{} of {total} failed", window.failed),
        };
        let opened = match one.view.opened {
            0 => "never opened".to_owned(),
            count => format!("opened {}", times(count)),
        };
        let refused = one.view.refused;
        let facts = format!(" {failed:<16} {refused:>4} refused  {opened:<16} ");
        let mut line = Line::from(row::piece(
            theme,
            state.role,
            format!(" {} {:<13}", state.glyph, state.word),
        ));
        line.push_span(row::plain(facts));
        let left = usize::from(free.width).saturating_sub(line.width());
        line.push_span(row::piece(
            theme,
            Role::Strong,
            row::clip(theme, one.name(), left),
        ));
        lines.push(line);
    }
    if shown < all.len() {
        let more = format!(" and {} more", all.len() - shown);
        let hidden = all.get(shown..).unwrap_or_default();
        lines.push(row::muted(theme, with_states(&more, hidden)));
    }
    let note = "each model has its own";
    chart::rule(view, rows(free, 1), "Every model", note, buf);
    row::draw_all(&lines, rows(free, lines.len() as u16), buf);
}

/// Glyph, name, role and count of a row of marks.
type Mark = (&'static str, &'static str, Role, fn(&Slot) -> u32);

/// Draws the failure rate against the level that opens, and the failures and refusals per column.
fn draw(chart: &Chart<'_>, frame: Frame, buf: &mut Buffer) {
    let view = chart.view;
    let theme = view.theme;
    let settings = &view.state.session.policy.breaker;
    let marks = 2.min(frame.plot.height / 3);
    let rate = frame.rows(0, frame.plot.height - marks);
    let level = level_row(rate.plot.height, settings.failure_rate);
    trip_line(view, rate, level, settings, buf);
    let (few, enough) = rates(chart, settings);
    let series = |values, look| Series {
        values,
        look,
        role: Role::Work,
    };
    dots::draw(
        theme,
        &[series(few, Look::Dotted), series(enough, Look::Line)],
        1.0,
        rate.plot,
        buf,
    );
    rate.label(theme, 0, &Unit::Share.label(1.0, 1.0), buf);
    rate.label(theme, rate.plot.height.saturating_sub(1), "0%", buf);
    rate.label(theme, level, &units::rate(settings.failure_rate), buf);
    let window = units::setting(settings.window);
    let level = units::rate(settings.failure_rate);
    let texts = [
        [String::new(), String::new()],
        if view.state.breakers.are_several() {
            [" failed share, worst model".to_owned(), " worst model".to_owned()]
        } else {
            [" share of failed attempts".to_owned(), " failed share".to_owned()]
        },
        [format!(" in the last {window}"), format!(" of last {window}")],
        [
            format!(" opens at {level} of {}+", settings.min_calls),
            format!(" opens at {level}"),
        ],
        [
            format!(" or after {} in a row", settings.consecutive),
            format!(" or {} in a row", settings.consecutive),
        ],
        [
            format!(" dotted: fewer than {}", settings.min_calls),
            format!(" dotted: < {}", settings.min_calls),
        ],
    ];
    let rows = usize::from(rate.plot.height).saturating_sub(1);
    let facts = texts.map(|wordings| wordings.map(|text| row::muted(theme, text)).to_vec());
    chart.facts(rate.gutter, 4, facts.into_iter().take(rows), buf);
    let first = frame.plot.height - marks;
    let lines: [Mark; 2] = [
        (theme.glyphs.failed, "attempts failed", Role::Broken, |slot| {
            slot.failed_attempts
        }),
        (theme.glyphs.refused, "calls refused", Role::Refused, |slot| {
            slot.ended(Fate::CircuitOpen)
        }),
    ];
    for (at, (glyph, name, role, count)) in (0..marks).zip(lines) {
        let frame = frame.rows(first + at, 1);
        let line = Line::from(vec![
            row::piece(theme, role, format!(" {glyph} ")),
            row::plain(name),
        ]);
        row::draw(&line, 0, frame.gutter, buf);
        chart.marks(frame, glyph, role, count, buf);
    }
    chart.lines(frame, buf);
}

/// The row of a level of the scale from 0 to 1.
fn level_row(rows: u16, share: f64) -> u16 {
    let last = rows.saturating_sub(1);
    last - (share.clamp(0.0, 1.0) * f64::from(last)).round() as u16
}

/// Draws the level at which the breaker opens.
fn trip_line(view: &View<'_>, frame: Frame, level: u16, settings: &BreakerSettings, buf: &mut Buffer) {
    let theme = view.theme;
    let symbol = plot::symbols(theme).level;
    let at = frame.rows(level, 1).plot;
    if at.is_empty() {
        return;
    }
    for x in at.left()..at.right() {
        plot::put(buf, x, at.y, symbol, theme.style(Role::Border));
    }
    let text = format!(" opens at {} ", units::rate(settings.failure_rate));
    let width = row::width(&text) as u16;
    if width + 8 < at.width {
        let style = ratatui::style::Style::reset().patch(theme.style(Role::Muted));
        buf.set_string(at.right() - width - 4, at.y, text, style);
    }
}

/// Values per column.
type Values = Vec<Option<(f64, f64)>>;

/// The failure rate per column while the breaker is closed: with too few outcomes to open it, and with enough. The
/// last rate known holds as long as the window of the breaker.
fn rates(chart: &Chart<'_>, settings: &BreakerSettings) -> (Values, Values) {
    let breaker = chart.view.state.breaker();
    let spells: Vec<StateSpell> = breaker.spells(chart.axis.end()).collect();
    let mut known: Option<(Timestamp, f64, u32)> = None;
    let mut values = (Vec::new(), Vec::new());
    for (column, slot) in (0..chart.axis.columns()).zip(chart.columns.each()) {
        let at = chart.axis.middle(column);
        if let Some((failed, total)) = slot
            .and_then(|slot| slot.breaker_window)
            .filter(|(_, total)| *total > 0)
        {
            known = Some((at, f64::from(failed) / f64::from(total), total));
        }
        let closed = spells
            .iter()
            .rev()
            .find(|spell| spell.from <= at)
            .is_none_or(|spell| spell.state == BreakerState::Closed);
        if !closed {
            known = None;
        }
        let value = known.filter(|(then, ..)| slot.is_some() && at.since(*then) <= settings.window);
        let is_enough = value.is_some_and(|(_, _, total)| total >= settings.min_calls);
        let value = value.map(|(_, rate, _)| (rate, rate));
        values.0.push(value.filter(|_| !is_enough));
        values.1.push(value.filter(|_| is_enough));
    }
    values
}

/// The state, what it does, and the last outcomes.
fn now(view: &View<'_>, width: u16) -> Vec<Line<'static>> {
    let theme = view.theme;
    let width = usize::from(width);
    let state = view.state.breaker();
    let settings = &view.state.session.policy.breaker;
    let opened = state
        .spells(view.now)
        .filter(|spell| spell.state == BreakerState::Open);
    let (count, time) = opened.fold((0_u64, Duration::ZERO), |(count, time), spell| {
        (count + 1, time + spell.from.until(spell.to))
    });
    let since = view
        .state
        .timeline
        .started_at()
        .map_or(Duration::ZERO, |start| start.until(view.now));
    let refused = if state.state == BreakerState::Closed {
        format!("{} refused in all", units::count(state.refused, "call"))
    } else {
        // the count is that of the last opening, and the newest spell may be half-open
        let at = state
            .spells(view.now)
            .rfind(|spell| spell.state == BreakerState::Open)
            .map_or(state.since, |spell| spell.from);
        format!(
            "{} refused since it opened at {}",
            units::count(state.refused_since_open, "call"),
            clock(at)
        )
    };
    let cells = gauge::cells(theme, state.cells.iter(), u32::MAX, width.saturating_sub(16));
    let mut last = vec![row::plain("last attempts ")];
    if cells.is_empty() {
        last.push(row::piece(theme, Role::Muted, "none yet"));
    }
    last.extend(cells);
    let newest = "newest at the right";
    let rule = if state.state == BreakerState::Closed {
        format!("{newest}; {} failures in a row open it", settings.consecutive)
    } else {
        newest.to_owned()
    };
    let shown = appearance::for_breaker(theme, state, settings.enabled);
    let heading = Line::from(vec![
        row::piece(theme, shown.role, format!("{} {}", shown.glyph, shown.word)),
        row::plain(format!("  {}", shown.effect)),
    ]);
    vec![
        heading,
        countdown(view, width),
        Line::default(),
        row::first_fit(theme, [refused], width),
        row::first_fit(
            theme,
            [format!(
                "opened {}; open for {} of {}",
                times(count),
                latency::seconds(time),
                latency::seconds(since)
            )],
            width,
        ),
        Line::default(),
        Line::from(last),
        row::first_fit(theme, [row::muted(theme, rule)], width),
    ]
}

/// The rest of the open time as a bar.
fn countdown(view: &View<'_>, width: usize) -> Line<'static> {
    let state = view.state.breaker();
    let Some(until) = state.until.filter(|_| state.state == BreakerState::Open) else {
        return Line::default();
    };
    let theme = view.theme;
    let left = view.now.until(until);
    let all = state.since.until(until);
    let text = format!(" probe in {} of {}", units::seconds(left), units::seconds(all));
    let cells = width.saturating_sub(row::width(&text)).min(24);
    let filled = gauge::filled_cells(left.as_secs_f64() / all.as_secs_f64().max(1e-9), cells);
    Line::from(vec![
        row::piece(theme, Role::Refused, theme.glyphs.bar_full.repeat(filled)),
        row::piece(theme, Role::Muted, theme.glyphs.bar_empty.repeat(cells - filled)),
        row::plain(text),
    ])
}

fn times(count: u64) -> String {
    match count {
        0 => "never".to_owned(),
        1 => "once".to_owned(),
        _ => format!("{count} times"),
    }
}

fn clock(at: Timestamp) -> String {
    units::clock(at.since(Timestamp::ZERO), false)
}

/// A box of the state machine: column, row, columns, text.
type Place = (u16, u16, u16, BreakerState);

/// The three states.
const PLACES: [Place; 3] = [
    (2, 0, 12, BreakerState::Closed),
    (49, 0, 15, BreakerState::Open),
    (49, 5, 15, BreakerState::HalfOpen),
];

/// Draws the states, the present one heavy, and what leads from one to another.
fn state_machine(view: &View<'_>, area: Rect, buf: &mut Buffer) {
    let theme = view.theme;
    let state = view.state.breaker();
    let settings = &view.state.session.policy.breaker;
    let is_on = settings.enabled || state.mode != BreakerMode::Automatic;
    let ascii = theme.is_ascii();
    let arrows = if ascii {
        ["-", "|", ">", "v", "^", "+"]
    } else {
        ["─", "│", "▶", "▼", "▲", "└"]
    };
    let [across, along, right, down, up, corner] = arrows;
    let text = |x: u16, y: u16, text: &str, role: Role, buf: &mut Buffer| {
        if y < area.height && x < area.width {
            buf.set_stringn(
                area.x + x,
                area.y + y,
                text,
                usize::from(area.width - x),
                theme.style(role),
            );
        }
    };
    let open = format!(
        "{} of {}+ fail, or {} in a row",
        units::rate(settings.failure_rate),
        settings.min_calls,
        settings.consecutive
    );
    text(16, 0, &open, Role::Muted, buf);
    text(14, 1, &format!("{}{right}", across.repeat(34)), Role::Muted, buf);
    let wait = format!(
        "wait over ({} to {})",
        units::setting(settings.open),
        units::setting(settings.open_max)
    );
    text(52, 3, along, Role::Muted, buf);
    text(52, 4, down, Role::Muted, buf);
    text(
        52_u16.saturating_sub(row::width(&wait) as u16 + 1),
        3,
        &wait,
        Role::Muted,
        buf,
    );
    text(60, 3, up, Role::Muted, buf);
    text(60, 4, along, Role::Muted, buf);
    text(62, 3, "probe", Role::Muted, buf);
    text(62, 4, "fails", Role::Muted, buf);
    text(7, 3, up, Role::Muted, buf);
    for y in 4..6 {
        text(7, y, along, Role::Muted, buf);
    }
    text(7, 6, &format!("{corner}{}", across.repeat(41)), Role::Muted, buf);
    let close = match settings.successes_to_close {
        1 => "1 probe succeeds".to_owned(),
        count => format!("{count} probes in a row succeed"),
    };
    text(10, 5, &close, Role::Muted, buf);
    for (x, y, width, place) in PLACES {
        let here = is_on && place == state.state;
        let border = match (ascii, here) {
            (true, true) => ["#", "#", "#", "#", "=", "#"],
            (true, false) => ["+", "+", "+", "+", "-", "|"],
            (false, true) => ["┏", "┓", "┗", "┛", "━", "┃"],
            (false, false) => ["┌", "┐", "└", "┘", "─", "│"],
        };
        let [a, b, c, d, line, side] = border;
        let inside = usize::from(width) - 2;
        let role = if here { Role::Strong } else { Role::Text };
        let name = match place {
            BreakerState::Closed => "  CLOSED".to_owned(),
            BreakerState::Open => format!(" {} OPEN", theme.glyphs.refused),
            BreakerState::HalfOpen => format!(" {} HALF-OPEN", theme.glyphs.half_open),
        };
        let name = row::left(&name, inside);
        text(x, y, &format!("{a}{}{b}", line.repeat(inside)), role, buf);
        text(x, y + 1, &format!("{side}{name}{side}"), role, buf);
        text(x, y + 2, &format!("{c}{}{d}", line.repeat(inside)), role, buf);
    }
}

/// Lists every opening, the newest first.
fn openings(view: &View<'_>, mut area: Rect, buf: &mut Buffer) {
    let theme = view.theme;
    if area.height < 2 {
        return;
    }
    openings_rule(view, rows(&mut area, 1), buf);
    let state = view.state.breaker();
    let spells: Vec<StateSpell> = state.spells(view.now).collect();
    // the reason gives way first: each cell has at least one blank behind it
    let reason_width = usize::from(area.width).saturating_sub(53).clamp(18, 31);
    let columns = |cells: [&str; 6]| {
        let widths = [7, 15, reason_width, 9, 11, 10];
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
            columns(["opened", "for", "reason", "refused", "probe", "then"])
        ),
    )];
    for (at, spell) in spells
        .iter()
        .enumerate()
        .rev()
        .filter(|(_, spell)| spell.state == BreakerState::Open)
    {
        let next = spells.get(at + 1);
        let after = spells.get(at + 2);
        let open = spell.from.until(spell.to);
        let lasts = match (next, spell.planned) {
            (None, Some(planned)) => format!("{:.1} of {:.1} s", open.as_secs_f64(), planned.as_secs_f64()),
            _ => latency::seconds(open),
        };
        let probe = match next {
            None => spell.planned.map_or_else(
                || "-".to_owned(),
                |planned| format!("in {}", units::seconds(planned.saturating_sub(open))),
            ),
            Some(half) => match half.probe {
                None => "out".to_owned(),
                Some(probe) if probe.failure.is_none() => "answered".to_owned(),
                Some(_) => "failed".to_owned(),
            },
        };
        let then = match (next, after) {
            (Some(spell), _) if spell.state == BreakerState::Closed => "closed",
            (_, Some(spell)) if spell.state == BreakerState::Closed => "closed",
            (_, Some(_)) => "reopened",
            (Some(_), None) => "half-open",
            (None, None) => "-",
        };
        let text = columns([
            &clock(spell.from),
            &lasts,
            &reason(spell),
            &spell.refused.to_string(),
            &probe,
            then,
        ]);
        lines.push(Line::from(Span::raw(format!(" {text}"))));
    }
    if lines.len() == 1 {
        lines.push(row::muted(theme, " The breaker has not opened yet."));
    }
    let hint = [
        " The open time doubles with each failed probe. A repaired upstream is noticed at the next probe.",
        " The open time doubles with each failed probe.",
    ];
    let room = usize::from(area.height);
    if lines.len() + 2 <= room {
        lines.push(Line::default());
        let wordings = hint.map(|text| row::muted(theme, text));
        lines.push(row::first_fit(theme, wordings, usize::from(area.width)));
    }
    row::draw_all(&lines, area, buf);
}

fn openings_rule(view: &View<'_>, at: Rect, buf: &mut Buffer) {
    let model = view.state.breakers.shown_name();
    let note = model.map_or("newest first".to_owned(), |model| {
        format!("{model}, newest first")
    });
    chart::rule(view, at, "Every opening", &note, buf);
}

/// The reason of an opening in words.
fn reason(spell: &StateSpell) -> String {
    let window = spell.window;
    let failed = format!(
        "{} of {} attempts failed ({:.0}%)",
        window.failed,
        window.total,
        f64::from(window.failed) * 100.0 / f64::from(window.total.max(1))
    );
    match spell.reason {
        Some(MoveReason::FailureRate) => failed,
        Some(MoveReason::Consecutive) => format!("{} attempts failed in a row", window.consecutive),
        Some(MoveReason::SlowRate) => format!("too many of {} attempts were slow", window.total),
        Some(MoveReason::ProbeFailed) => "the probe failed".to_owned(),
        Some(MoveReason::Manual) => "forced by you".to_owned(),
        Some(MoveReason::CoolDown | MoveReason::ProbesSucceeded | MoveReason::Unused) | None => {
            "-".to_owned()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::BreakerView;
    use crate::tui::pane::fixture;

    #[test]
    fn the_breakers_of_several_models_are_listed() {
        let mut fixture = fixture::burst();
        let rows = fixture::rows(&fixture, 120, 40, render);
        assert!(!rows.iter().any(|row| row.contains("Every model")), "{rows:#?}");
        fixture.state.breakers.add("gpt-4o", "o3", BreakerView::default());
        let rows = fixture::rows(&fixture, 120, 40, render);
        let at = rows.iter().position(|row| row.contains("Every model")).unwrap();
        assert_eq!(
            rows[at + 1],
            " ⊘ OPEN          11 of 20 failed     9 refused  opened 2 times   gpt-4o"
        );
        assert_eq!(
            rows[at + 2],
            " ✓ CLOSED        no outcome          0 refused  never opened     o3"
        );
        assert!(rows.iter().any(|row| row.contains("gpt-4o, newest first")));
        for number in 0..60 {
            let model = format!("model-{number}");
            fixture
                .state
                .breakers
                .add("gpt-4o", &model, BreakerView::default());
        }
        let rows = fixture::rows(&fixture, 120, 40, render);
        assert!(
            rows.iter()
                .any(|row| row.contains("and ") && row.contains(" more"))
        );
        assert!(rows.iter().any(|row| row.contains("Every opening")), "{rows:#?}");
    }
}
