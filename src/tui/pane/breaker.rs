//! The Breaker pane: state and effect, window, next step with its countdown, history.

use std::time::Duration;

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::text::Line;

use crate::event::{BreakerMode, BreakerState};
use crate::settings::BreakerSettings;
use crate::state::BreakerView;
use crate::tui::theme::Role;
use crate::tui::view::View;

use super::{appearance, gauge, row, units};

/// Draws the breaker in full.
pub(crate) fn render(view: &View<'_>, area: Rect, buf: &mut Buffer) {
    let area = area.intersection(buf.area);
    let width = usize::from(area.width);
    let mut lines = vec![
        heading(view, "", width),
        window(view, "window  ", width),
        countdown(view, "next    ", width),
        then(view, "then    ", width),
    ];
    lines.extend(reason(view, "reason  ", width));
    lines.push(refused(view, width));
    let rest = [history(view, width), totals(view, width)];
    // the blank line is the first to go
    if lines.len() + 1 + rest.len() <= usize::from(area.height) {
        lines.push(Line::default());
    }
    lines.extend(rest);
    row::draw_all(&lines, area, buf);
}

/// The upstream's host, for the border of a pane with `width` columns of content.
pub(crate) fn title(view: &View<'_>, width: u16) -> String {
    let Some(upstream) = &view.state.session.upstream else {
        return String::new();
    };
    row::clip(view.theme, &upstream.host.single_line(), row::note_room(width))
}

/// `label`, glyph, word and effect of the state.
pub(super) fn heading(view: &View<'_>, label: &str, width: usize) -> Line<'static> {
    let theme = view.theme;
    let enabled = view.state.session.policy.breaker.enabled;
    let shown = appearance::for_breaker(theme, &view.state.breaker, enabled);
    let wording = |label: &str, gap: &'static str, effect: &'static str| {
        Line::from(vec![
            row::plain(label),
            row::piece(theme, shown.role, format!("{} {}", shown.glyph, shown.word)),
            row::plain(gap),
            row::plain(effect),
        ])
    };
    let wordings = [
        wording(label, "   ", shown.effect),
        wording(label, "  ", shown.effect),
        wording(label, " ", shown.effect),
        wording("", " ", shown.effect),
        // the key alone: `[o] releases`
        wording("", " ", shown.effect.rsplit("; ").next().unwrap_or_default()),
        wording(label, "", ""),
        wording("", "", ""),
    ];
    row::first_fit(theme, wordings, width)
}

/// `label`, the window's outcomes as cells, the failed share, and the threshold that opens the breaker.
pub(super) fn window(view: &View<'_>, label: &str, width: usize) -> Line<'static> {
    let theme = view.theme;
    let breaker = &view.state.breaker;
    let settings = &view.state.session.policy.breaker;
    let (failed, total) = (breaker.window.failed, breaker.window.total);
    let limit = units::rate(settings.failure_rate);
    let sample = format!("{failed:>2}/{total:<2}");
    let tails = if total < settings.min_calls {
        let least = units::amount(settings.min_calls.into());
        [
            format!("  {sample} failed   opens at {limit} of {least}+"),
            format!("  {sample} opens at {limit} of {least}+"),
            format!(" {sample} failed"),
            format!(" {sample}"),
        ]
    } else {
        // fewer than ten outcomes have no percentage
        let share = f64::from(failed) / f64::from(total.max(1));
        let share = if total < 10 {
            String::new()
        } else {
            row::left(units::percent(share).trim_start(), 4)
        };
        [
            format!("  {sample} = {share}   opens at {limit}"),
            format!(" {sample} {share} opens at {limit}"),
            format!(" {sample} failed"),
            format!(" {sample}"),
        ]
    };
    let label_width = row::width(label);
    for (tail, least) in tails.iter().zip([20, 20, 10, 5]) {
        let room = width.saturating_sub(label_width + row::width(tail)).min(60);
        if room < least {
            continue;
        }
        let cells = gauge::cells(theme, breaker.cells.iter(), total, room);
        let mut line = Line::from(label.to_owned());
        // the numbers keep their columns while the window fills
        if cells.is_empty() {
            let none = if room < 14 { "" } else { "no outcome yet" };
            let none = row::left(none, room.min(20));
            line.push_span(row::piece(theme, Role::Muted, none));
        } else {
            let blanks = room.min(20).saturating_sub(cells.len());
            line.spans.extend(cells);
            line.push_span(row::plain(" ".repeat(blanks)));
        }
        line.push_span(row::plain(tail.trim_end()));
        return line;
    }
    row::first_fit(theme, [format!("{label}{}", sample.trim()), sample], width)
}

/// `label` and the next event in the present state, as a bar if it is due at a known time.
pub(super) fn countdown(view: &View<'_>, label: &str, width: usize) -> Line<'static> {
    let breaker = &view.state.breaker;
    let settings = &view.state.session.policy.breaker;
    let left = breaker.until.map(|until| view.now.until(until));
    match (breaker.mode, breaker.state, left) {
        (BreakerMode::Automatic, BreakerState::Open, Some(left)) if !left.is_zero() => {
            probe_bar(view, label, left, width)
        }
        _ => {
            let texts = next_event(breaker, settings).into_iter();
            row::first_fit(view.theme, texts.map(|text| format!("{label}{text}")), width)
        }
    }
}

/// A bar that empties until the next probe.
fn probe_bar(view: &View<'_>, label: &str, left: Duration, width: usize) -> Line<'static> {
    let theme = view.theme;
    let all = Duration::from_nanos(view.state.breaker.open_ns);
    let share = left.as_secs_f64() / all.as_secs_f64().max(1e-9);
    // both rounded up, so that what is left never exceeds the whole
    let (left, all) = (units::countdown(left.min(all)), units::countdown(all));
    let texts = [
        (20, format!(" probe in {left} of {all}")),
        (10, format!(" probe in {left}")),
        (4, format!(" {left}")),
    ];
    for (cells, text) in texts {
        let wide = row::width(label) + cells + 2 + row::width(&text);
        if wide <= width {
            let mut line = Line::from(label.to_owned());
            line.spans.extend(gauge::bar(theme, Role::Held, share, cells));
            line.push_span(row::plain(text));
            return line;
        }
    }
    row::first_fit(theme, [format!("probe in {left}"), left], width)
}

/// The next event where no countdown runs, the longest wording first.
fn next_event(breaker: &BreakerView, settings: &BreakerSettings) -> Vec<String> {
    let good = format!("{} of {} good", breaker.probes_ok, settings.successes_to_close);
    match (breaker.mode, breaker.state) {
        (BreakerMode::ForcedOpen, _) => vec!["no probe until released".into(), "no probe".into()],
        (BreakerMode::ForcedClosed, _) => vec!["stays closed until released".into(), "stays closed".into()],
        (BreakerMode::Automatic, BreakerState::Closed) => {
            let rate = units::rate(settings.failure_rate);
            let (least, row) = (units::amount(settings.min_calls.into()), settings.consecutive);
            vec![
                format!("opens at {rate} of {least}+ failed, or {row} in a row"),
                format!("opens at {rate} of {least}+ or {row} in a row"),
                format!("opens at {rate}"),
            ]
        }
        (BreakerMode::Automatic, BreakerState::Open) => {
            vec!["the next call is the probe".into(), "next call probes".into()]
        }
        (BreakerMode::Automatic, BreakerState::HalfOpen) if breaker.is_full(settings.successes_to_close) => {
            let out = match breaker.probes_out {
                1 => "one probe is out".to_owned(),
                probes => format!("{probes} probes are out"),
            };
            vec![format!("{out}, {good}"), out]
        }
        (BreakerMode::Automatic, BreakerState::HalfOpen) => {
            vec![format!("next call probes, {good}"), "next call probes".into()]
        }
    }
}

/// `label` and the transitions that follow.
pub(super) fn then(view: &View<'_>, label: &str, width: usize) -> Line<'static> {
    let breaker = &view.state.breaker;
    let settings = &view.state.session.policy.breaker;
    let probes = format!("{} ok -> CLOSED", settings.successes_to_close);
    let texts = match (breaker.mode, breaker.state) {
        (BreakerMode::ForcedOpen | BreakerMode::ForcedClosed, _) => [
            "[o] release; then the window decides".to_owned(),
            "[o] release".into(),
        ],
        (BreakerMode::Automatic, BreakerState::Open) => [
            format!("HALF-OPEN; {probes}, 1 failed -> OPEN"),
            "HALF-OPEN, 1 probe".into(),
        ],
        (BreakerMode::Automatic, BreakerState::HalfOpen) => [format!("{probes}, 1 failed -> OPEN"), probes],
        (BreakerMode::Automatic, BreakerState::Closed) => {
            let open = units::setting(settings.open);
            [
                format!("OPEN for {open}, doubled each time"),
                format!("OPEN for {open}"),
            ]
        }
    };
    row::first_fit(view.theme, texts.map(|text| format!("{label}{text}")), width)
}

/// The reason of the last transition.
fn reason(view: &View<'_>, label: &str, width: usize) -> Option<Line<'static>> {
    let reason = view.state.breaker.reason?.brief();
    Some(row::first_fit(view.theme, [format!("{label}{reason}")], width))
}

/// The number of refused calls.
fn refused(view: &View<'_>, width: usize) -> Line<'static> {
    let breaker = &view.state.breaker;
    let (since, all) = (breaker.refused_since_open, breaker.refused);
    let texts = match breaker.state {
        BreakerState::Closed => [format!("refused {all} in total"), format!("refused {all}")],
        BreakerState::Open | BreakerState::HalfOpen => [
            format!("refused {since} since it opened, {all} in total"),
            format!("refused {since}"),
        ],
    };
    row::first_fit(view.theme, texts, width)
}

/// The last states and the time spent in each, the present one last; the oldest are dropped if room is short.
fn history(view: &View<'_>, width: usize) -> Line<'static> {
    const LABEL: &str = "history ";
    let breaker = &view.state.breaker;
    let now = (breaker.state, view.now.since(breaker.since));
    let past = breaker
        .history
        .iter()
        .rev()
        .map(|spell| (spell.state, spell.to.since(spell.from)));
    let mut text = String::new();
    for (state, time) in std::iter::once(now).chain(past) {
        // CLOSED, OPEN, HALF
        let word = state.brief().split('-').next().unwrap_or_default().to_uppercase();
        let arrow = if text.is_empty() { "" } else { " > " };
        let longer = format!("{word} {}{arrow}{text}", units::duration(time));
        if LABEL.len() + longer.len() > width {
            break;
        }
        text = longer;
    }
    if text.is_empty() {
        return Line::default();
    }
    Line::from(format!("{LABEL}{text}"))
}

/// The number of openings and their durations.
fn totals(view: &View<'_>, width: usize) -> Line<'static> {
    let breaker = &view.state.breaker;
    let mut pieces = vec![format!("opened  {}", units::count(breaker.opened, "time"))];
    if breaker.opened > 0 {
        // the present open time may already be the longest
        let present = match breaker.state {
            BreakerState::Open => view.now.since(breaker.since),
            BreakerState::Closed | BreakerState::HalfOpen => Duration::ZERO,
        };
        let longest = Duration::from_nanos(breaker.longest_open_ns).max(present);
        pieces.push(format!("   longest {}", units::duration(longest)));
    }
    let (sum, number) = breaker.recoveries;
    if let Some(mean) = sum.checked_div(number) {
        let mean = units::duration(Duration::from_nanos(mean));
        pieces.push(format!("   mean recovery {mean}"));
    }
    if let Some(down) = breaker
        .down_since
        .filter(|_| breaker.state != BreakerState::Closed)
    {
        let down = units::duration(view.now.since(down));
        pieces.push(format!("   down for {down}"));
    }
    row::join(view.theme, pieces, width)
}

#[cfg(test)]
mod tests {
    use super::super::fixture::{self, Fixture, at};
    use super::*;

    /// 4.64 s of 4.64 s read 4.7s of 4.7s, not 4.7s of 4.6s.
    #[test]
    fn the_time_left_never_exceeds_the_open_time() {
        let mut fixture = fixture::burst();
        fixture.state.breaker.open_ns = 4_640_000_000;
        fixture.state.breaker.until = Some(fixture.now + Duration::from_millis(4640));
        let row = fixture::rows(&fixture, 56, 9, render).swap_remove(2);
        assert!(row.ends_with(" probe in 4.7s of 4.7s"), "{row}");
    }

    #[test]
    fn an_open_breaker_with_its_history() {
        assert_eq!(
            fixture::rows(&fixture::burst(), 56, 9, render),
            [
                "⊘ OPEN   calls are refused",
                "window  ✓✓✗✓✗✗✓✓✗✗✓✗✓✗✗✓✗✓✗✗ 11/20 55%  opens at 50%",
                "next    [█████████████████░░░] probe in 4.2s of 5.0s",
                "then    HALF-OPEN; 2 ok -> CLOSED, 1 failed -> OPEN",
                "reason  failure rate",
                "refused 4 since it opened, 9 in total",
                "",
                "history OPEN 5.0s > HALF 0.4s > CLOSED 11s > OPEN 0.8s",
                "opened  2 times   longest 5.0s   mean recovery 5.4s",
            ]
        );
    }

    #[test]
    fn the_next_call_is_the_probe_once_the_open_time_is_over() {
        let mut fixture = fixture::burst();
        fixture.now = at(46.3);
        assert_eq!(
            countdown(&fixture.view(), "", 40).to_string(),
            "the next call is the probe"
        );
    }

    #[test]
    fn the_countdown_is_shortened_but_not_cut() {
        let fixture = fixture::burst();
        let at_width = |width| countdown(&fixture.view(), "  ", width).to_string();
        assert_eq!(at_width(35), "  [████████░░] probe in 4.2s");
        assert_eq!(at_width(20), "  [███░] 4.2s");
        assert_eq!(at_width(13), "  [███░] 4.2s");
        assert_eq!(at_width(8), "4.2s");
    }

    #[test]
    fn numbers_keep_their_columns_while_the_window_fills() {
        let mut fixture = fixture::burst();
        let place = |fixture: &Fixture| {
            let text = window(&fixture.view(), "  ", 35).to_string();
            text.chars().position(|c| c == '/')
        };
        let full = place(&fixture);
        fixture.state.breaker.window.total = 11;
        assert_eq!(place(&fixture), full);
        fixture.state.breaker.window.total = 0;
        assert_eq!(place(&fixture), full);
    }
}
