//! The Breaker card, of the model whose breaker matters most: state and effect, the next step with its countdown, the
//! last outcomes, and what opens it.

use std::time::Duration;

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::text::Line;

use crate::event::{BreakerMode, BreakerState, FailureClass};
use crate::state::ProbeEnd;
use crate::time::Timestamp;
use crate::tui::theme::Role;
use crate::tui::view::View;

use super::card::{self, WIDE};
use super::{appearance, gauge, row, units};

/// The explanation before the first call.
const ABOUT: [&str; 2] = [
    "Stops calling an upstream that keeps failing, and probes until it is back.",
    "Stops calling a failing upstream.",
];
/// The most outcomes shown.
const CELLS: usize = 30;

/// Draws the card.
pub(crate) fn render(view: &View<'_>, area: Rect, buf: &mut Buffer) {
    let area = area.intersection(buf.area);
    let (width, rows) = (usize::from(area.width), usize::from(area.height));
    card::draw(view, lines(view, width, rows), area, buf);
}

/// The window of the card, for its title; where several models were called, the states of the others.
pub(crate) fn title(view: &View<'_>, room: usize) -> String {
    if card::is_first(view.state) {
        return String::new();
    }
    let Some(others) = view.state.breakers.others() else {
        return "now".to_owned();
    };
    let fits = |text: &String| row::width(text) + 2 <= room;
    others.into_iter().find(fits).unwrap_or_default()
}

fn lines(view: &View<'_>, width: usize, rows: usize) -> Vec<Line<'static>> {
    let theme = view.theme;
    let breaker = view.state.breaker();
    let automatic = breaker.mode == BreakerMode::Automatic;
    if automatic && !view.state.session.policy.breaker.enabled {
        return off(view, width, rows);
    }
    let heading = heading(view, width);
    if automatic && card::is_first(view.state) {
        return card::explained(theme, heading, ABOUT, policy(view, width), (width, rows));
    }
    let mut lines = vec![heading, next(view, width)];
    if rows < 5 {
        lines.push(match breaker.state {
            BreakerState::Open if automatic => probe(view, width).unwrap_or_else(|| refused(view, width)),
            _ => policy(view, width),
        });
        return lines;
    }
    lines.push(outcomes(view, width));
    let is_open = breaker.state == BreakerState::Open;
    let probe = probe(view, width);
    if rows >= 7 {
        lines.push(refused(view, width));
        lines.push(probe.unwrap_or_else(|| openings(view, width)));
    } else {
        let refused = is_open.then(|| refused(view, width));
        lines.push(probe.or(refused).unwrap_or_else(|| openings(view, width)));
    }
    lines.push(policy(view, width));
    lines
}

/// Glyph and word of the state, its model where several were called, and its effect.
fn heading(view: &View<'_>, width: usize) -> Line<'static> {
    let theme = view.theme;
    let shown = appearance::for_breaker(theme, view.state.breaker(), true);
    let mut line = Line::from(row::piece(theme, shown.role, format!("{} ", shown.glyph)));
    line.push_span(row::piece(theme, Role::Strong, shown.word));
    if let Some(model) = view.state.breakers.shown_name() {
        let room = width.saturating_sub(line.width() + 2);
        line.push_span(row::plain(format!("  {}", row::clip(theme, model, room))));
    }
    row::join(theme, [line, Line::from(format!("  {}", shown.effect))], width)
}

fn off(view: &View<'_>, width: usize, rows: usize) -> Vec<Line<'static>> {
    let theme = view.theme;
    let off = card::words(theme, Role::Strong, "OFF");
    let mut lines = if width < WIDE {
        vec![off, Line::from("refuses no call")]
    } else {
        vec![row::join(
            theme,
            [off, Line::from("  calls are never refused")],
            width,
        )]
    };
    if rows >= 5 {
        lines.push(attempts(view, width));
    }
    if !view.ui.read_only {
        lines.push(row::muted(theme, "o forces it open"));
    }
    lines.extend(card::switch_on(view, "breaker.enabled", width));
    lines.truncate(rows);
    lines
}

/// Failed attempts of the last 30 s, for a breaker that keeps no window.
fn attempts(view: &View<'_>, width: usize) -> Line<'static> {
    let sum = view.state.timeline.last(view.now, Duration::from_secs(30));
    let (failed, ended) = (sum.failed_attempts, sum.ended_attempts);
    if ended == 0 {
        return row::muted(view.theme, "no attempt ended in 30 s");
    }
    let share = units::rate((f64::from(failed) / f64::from(ended) * 100.0).round() / 100.0);
    let wordings = [
        format!("{failed} of {ended} attempts failed in 30 s ({share})"),
        format!("{failed} of {ended} failed in 30 s"),
        format!("{failed} of {ended} failed"),
    ];
    row::first_fit(view.theme, wordings, width)
}

/// The next step of the state: a countdown, probes, or what the window holds.
fn next(view: &View<'_>, width: usize) -> Line<'static> {
    let theme = view.theme;
    let breaker = view.state.breaker();
    let needed = view.state.session.policy.breaker.successes_to_close;
    let fit = |texts: [String; 2]| row::first_fit(theme, texts, width);
    match (breaker.mode, breaker.state) {
        (BreakerMode::ForcedOpen | BreakerMode::ForcedClosed, _) => {
            fit(["o releases it to automatic".into(), "o releases it".into()])
        }
        (BreakerMode::Automatic, BreakerState::Open) => countdown(view, width),
        (BreakerMode::Automatic, BreakerState::HalfOpen) => {
            let good = format!("{} of {needed} good", breaker.probes_ok);
            match breaker.probes_out {
                0 => fit([format!("next call probes, {good}"), good]),
                1 => fit([format!("one probe is out, {good}"), good]),
                out => fit([format!("{out} probes are out, {good}"), good]),
            }
        }
        (BreakerMode::Automatic, BreakerState::Closed) => {
            let window = view.state.session.policy.breaker.window;
            // the breaker forgets old outcomes at the next one only
            let kept = view
                .state
                .timeline
                .last(view.now, window + Duration::from_secs(1));
            let total = breaker.window.total.min(kept.ended_attempts);
            let failed = breaker.window.failed.min(kept.failed_attempts);
            let window = units::seconds(window);
            if total == 0 {
                let wordings = [
                    format!("no attempt ended in {window}"),
                    format!("0 ended in {window}"),
                ];
                return row::first_fit(theme, wordings.map(|text| row::muted(theme, text)), width);
            }
            fit([
                format!("{failed} of {total} failed in {window}"),
                format!("{failed} of {total} failed"),
            ])
        }
    }
}

/// A gauge that empties until the next probe.
fn countdown(view: &View<'_>, width: usize) -> Line<'static> {
    let theme = view.theme;
    let breaker = view.state.breaker();
    let left = breaker
        .until
        .map(|until| view.now.until(until))
        .unwrap_or_default();
    if left.is_zero() {
        return Line::from("next call probes");
    }
    let share = left.as_secs_f64() / (breaker.open_ns as f64 / 1e9).max(1e-9);
    let left = units::seconds(left);
    let (cells, text) = if width < WIDE {
        (8, format!(" {left}"))
    } else {
        (12, format!(" probe in {left}"))
    };
    let mut line = Line::default();
    line.spans.extend(card::meter(theme, Role::Refused, share, cells));
    row::join(theme, [line, Line::from(text)], width)
}

/// The last outcomes, oldest first.
fn outcomes(view: &View<'_>, width: usize) -> Line<'static> {
    let theme = view.theme;
    let breaker = view.state.breaker();
    let all = breaker.cells.len();
    if all == 0 {
        return row::muted(theme, "no outcome yet");
    }
    let shown = all.min(width.saturating_sub(8)).min(CELLS);
    let cells = gauge::cells(theme, breaker.cells.iter(), u32::MAX, shown);
    row::join(
        theme,
        [Line::from(cells), row::muted(theme, format!(" last {shown}"))],
        width,
    )
}

/// The failure of the last probe, while the breaker is not closed.
fn probe(view: &View<'_>, width: usize) -> Option<Line<'static>> {
    let breaker = view.state.breaker();
    let mut spells = breaker.spells(view.now).rev().take(2);
    let probe = spells.find_map(|spell| spell.probe)?;
    if breaker.state == BreakerState::Closed || probe.failure.is_none() {
        return None;
    }
    let (long, short) = ending(probe);
    Some(row::first_fit(
        view.theme,
        [format!("last probe failed: {long}"), short],
        width,
    ))
}

/// The number of openings, and the last one.
fn openings(view: &View<'_>, width: usize) -> Line<'static> {
    let breaker = view.state.breaker();
    let times = match breaker.opened {
        0 => return Line::from("never opened"),
        1 => "opened once".to_owned(),
        times => format!("opened {times} times"),
    };
    let mut spells = breaker.spells(view.now).rev();
    let last = spells
        .find(|spell| spell.state == BreakerState::Open)
        .map(|spell| {
            let (at, open) = (clock(spell.from), units::seconds(spell.from.until(spell.to)));
            [
                format!("{times}, last at {at} for {open}"),
                format!("{times}, last {at}"),
            ]
        });
    let wordings = last.into_iter().flatten().chain([times]);
    row::first_fit(view.theme, wordings, width)
}

/// Calls refused since it opened, or in all.
fn refused(view: &View<'_>, width: usize) -> Line<'static> {
    let breaker = view.state.breaker();
    let text = if breaker.state == BreakerState::Open {
        let count = units::grouped(breaker.refused_since_open);
        [
            format!("{count} refused since {}", clock(breaker.since)),
            format!("{count} refused"),
        ]
    } else {
        let count = units::grouped(breaker.refused);
        [
            format!("{count} calls refused since start"),
            format!("{count} refused"),
        ]
    };
    row::first_fit(view.theme, text, width)
}

/// The failure of a probe, after `last probe failed:` and on its own.
fn ending(probe: ProbeEnd) -> (String, String) {
    let word = match (probe.status, probe.failure) {
        (Some(status), _) => return (status.to_string(), format!("probe got {status}")),
        (None, Some(FailureClass::Reset)) => return ("reset".into(), "probe was reset".into()),
        (
            None,
            Some(
                FailureClass::ConnectTimeout
                | FailureClass::HeaderTimeout
                | FailureClass::RequestTimeout
                | FailureClass::Deadline,
            ),
        ) => "timed out",
        (None, Some(FailureClass::Connect | FailureClass::Dns | FailureClass::Tls)) => "no connection",
        (None, Some(FailureClass::Stalled | FailureClass::NoProgress)) => "stalled",
        (None, Some(FailureClass::Truncated | FailureClass::Interrupted)) => "stream cut",
        (None, _) => return ("no answer".into(), "probe failed".into()),
    };
    (word.into(), format!("probe {word}"))
}

/// The failures that open it.
fn policy(view: &View<'_>, width: usize) -> Line<'static> {
    let settings = &view.state.session.policy.breaker;
    let rate = units::rate(settings.failure_rate);
    let (least, row) = (units::amount(settings.min_calls.into()), settings.consecutive);
    let wordings = [
        format!("opens at {rate} of {least}+ failed, or {row} in a row"),
        format!("opens at {rate} of {least}+ failed"),
        format!("opens at {rate}"),
    ];
    row::first_fit(
        view.theme,
        wordings.map(|text| row::muted(view.theme, text)),
        width,
    )
}

fn clock(at: Timestamp) -> String {
    units::clock(at.since(Timestamp::ZERO), false)
}
