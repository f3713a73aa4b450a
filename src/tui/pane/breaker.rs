//! The breaker: its word and what that means, its window, what comes next and when, and its past.

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

/// Draws the breaker with all it has.
pub fn render(view: &View<'_>, area: Rect, buf: &mut Buffer) {
    let area = area.intersection(buf.area);
    let width = usize::from(area.width);
    let mut lines = vec![
        heading(view, "", width),
        window(view, "window  ", width),
        countdown(view, "probe   ", width),
        then(view, "then    ", width),
    ];
    lines.extend(why(view, "why     ", width));
    lines.push(refused(view, width));
    let rest = [history(view, width), past(view, width)];
    // the blank line is the first to go
    if lines.len() + 1 + rest.len() <= usize::from(area.height) {
        lines.push(Line::default());
    }
    lines.extend(rest);
    row::draw_all(&lines, area, buf);
}

/// The name of the upstream it guards, for the border of a pane with `width` columns of content.
pub fn title(view: &View<'_>, width: u16) -> String {
    let Some(upstream) = &view.state.session.upstream else {
        return String::new();
    };
    row::clip(view.theme, &upstream.host.single_line(), row::note_room(width))
}

/// `label`, mark, word and plain meaning.
pub(super) fn heading(view: &View<'_>, label: &str, width: usize) -> Line<'static> {
    let theme = view.theme;
    let mark = appearance::of_breaker(
        theme,
        &view.state.breaker,
        view.state.session.policy.breaker.enabled,
    );
    let word = |label: &str, gap: &'static str, meaning: &'static str| {
        Line::from(vec![
            row::plain(label.to_owned()),
            row::piece(theme, mark.role, format!("{} {}", mark.glyph, mark.word)),
            row::plain(gap),
            row::plain(meaning),
        ])
    };
    let wordings = [
        word(label, "   ", mark.meaning),
        word(label, "  ", mark.short),
        word(label, " ", mark.short),
        word("", " ", mark.short),
        word(label, "", ""),
        word("", "", ""),
    ];
    row::first_fit(theme, wordings, width)
}

/// `label`, outcomes as cells in order, how many of them failed, and the trip level in the same units.
pub(super) fn window(view: &View<'_>, label: &str, width: usize) -> Line<'static> {
    let theme = view.theme;
    let breaker = &view.state.breaker;
    let settings = &view.state.session.policy.breaker;
    let (failed, total) = (breaker.window.failed, breaker.window.total);
    let trip = units::rate(settings.failure_rate);
    let sample = format!("{failed:>2}/{total:<2}");
    let tails = if total < settings.min_calls {
        let least = settings.min_calls;
        [
            format!("  {sample} failed   trip {trip} of {least} or more"),
            format!("  {sample} trip {trip} of {least}+"),
            format!(" {sample} min {least}"),
            format!(" {sample}"),
        ]
    } else {
        // a share of fewer than ten would pretend
        let share = f64::from(failed) / f64::from(total.max(1));
        let share = if total < 10 {
            String::new()
        } else {
            row::left(units::percent(share).trim_start(), 4)
        };
        [
            format!("  {sample} = {share}   trip {trip}"),
            format!(" {sample} {share} trip {trip}"),
            format!(" {sample} >= {trip}"),
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
        // the numbers stay where they are while the window fills
        if cells.is_empty() {
            let none = if room < 14 { "" } else { "no outcome yet" };
            let none = row::left(none, room.min(20));
            line.push_span(row::piece(theme, Role::Muted, none));
        } else {
            let blanks = room.min(20).saturating_sub(cells.len());
            line.spans.extend(cells);
            line.push_span(row::plain(" ".repeat(blanks)));
        }
        line.push_span(row::plain(tail.trim_end().to_owned()));
        return line;
    }
    row::first_fit(
        theme,
        [
            Line::from(format!("{label}{}", sample.trim())),
            Line::from(sample),
        ],
        width,
    )
}

/// `label` and what happens next in its present state, with a bar where it is a matter of time.
pub(super) fn countdown(view: &View<'_>, label: &str, width: usize) -> Line<'static> {
    let theme = view.theme;
    let breaker = &view.state.breaker;
    let settings = &view.state.session.policy.breaker;
    let left = breaker.until.map(|until| view.now.until(until));
    match (breaker.mode, breaker.state, left) {
        (BreakerMode::Automatic, BreakerState::Open, Some(left)) if !left.is_zero() => {
            probe_bar(view, label, left, width)
        }
        _ => {
            let texts = waiting_words(breaker, settings);
            row::first_fit(
                theme,
                texts.map(|text| Line::from(format!("{label}{text}"))),
                width,
            )
        }
    }
}

/// The bar that runs out until the next probe.
fn probe_bar(view: &View<'_>, label: &str, left: Duration, width: usize) -> Line<'static> {
    let theme = view.theme;
    let all = Duration::from_nanos(view.state.breaker.open_ns);
    let share = left.as_secs_f64() / all.as_secs_f64().max(1e-9);
    // both rounded in one way: what is left is never more than all of it
    let (left, all) = (units::countdown(left.min(all)), units::countdown(all));
    let texts = [
        (20, format!(" {left} of {all} left")),
        (10, format!(" {left} to 1 probe")),
        (4, format!(" {left}")),
    ];
    for (cells, text) in texts {
        let wide = row::width(label) + cells + 2 + row::width(&text);
        if wide <= width {
            let mut line = Line::from(label.to_owned());
            line.spans.extend(gauge::bar(theme, Role::Wait, share, cells));
            line.push_span(row::plain(text));
            return line;
        }
    }
    row::first_fit(
        theme,
        [Line::from(format!("probe in {left}")), Line::from(left)],
        width,
    )
}

/// What happens next where nothing counts down, long and short.
fn waiting_words(breaker: &BreakerView, settings: &BreakerSettings) -> [String; 2] {
    match (breaker.mode, breaker.state) {
        (BreakerMode::ForcedOpen, _) => ["no probe until you let go".into(), "no probe".into()],
        (BreakerMode::ForcedClosed, _) => ["failures are counted, not obeyed".into(), "not obeyed".into()],
        (BreakerMode::Automatic, BreakerState::Closed) => {
            let rate = units::rate(settings.failure_rate);
            let (least, row) = (settings.min_calls, settings.consecutive);
            [
                format!("trips at {rate} of {least}+ or {row} in a row"),
                format!("trips at {rate}"),
            ]
        }
        (BreakerMode::Automatic, BreakerState::Open) => {
            ["the next call is the probe".into(), "next call probes".into()]
        }
        (BreakerMode::Automatic, BreakerState::HalfOpen) => {
            let ok = format!("{}/{} ok", breaker.probes_ok, settings.successes_to_close);
            if breaker.probe_out {
                [
                    format!("probe is out, {ok}, others wait"),
                    format!("probe out, {ok}"),
                ]
            } else {
                [
                    format!("waits for a call to probe, {ok}"),
                    format!("no probe, {ok}"),
                ]
            }
        }
    }
}

/// `label` and where it goes from here.
pub(super) fn then(view: &View<'_>, label: &str, width: usize) -> Line<'static> {
    let theme = view.theme;
    let breaker = &view.state.breaker;
    let settings = &view.state.session.policy.breaker;
    let ok = match settings.successes_to_close {
        1 => "ok".to_owned(),
        several => format!("{several} ok"),
    };
    let texts = match (breaker.mode, breaker.state) {
        (BreakerMode::ForcedOpen | BreakerMode::ForcedClosed, _) => [
            "o lets go, then its window decides".to_owned(),
            "o lets go".into(),
        ],
        (BreakerMode::Automatic, BreakerState::Open) => [
            format!("HALF-OPEN 1 probe -> {ok} CLOSED / fail OPEN"),
            "HALF-OPEN, 1 probe".into(),
        ],
        (BreakerMode::Automatic, BreakerState::HalfOpen) => {
            [format!("{ok} CLOSED / fail OPEN again"), format!("{ok} CLOSED")]
        }
        (BreakerMode::Automatic, BreakerState::Closed) => {
            let open = units::setting(settings.open);
            [
                format!("OPEN for {open}, doubled for each failed probe"),
                format!("OPEN for {open}"),
            ]
        }
    };
    row::first_fit(
        theme,
        texts.map(|text| Line::from(format!("{label}{text}"))),
        width,
    )
}

/// Why it moved last, if it ever did.
fn why(view: &View<'_>, label: &str, width: usize) -> Option<Line<'static>> {
    let reason = view.state.breaker.reason?.brief();
    let line = Line::from(vec![row::plain(label.to_owned()), row::plain(reason)]);
    Some(row::first_fit(view.theme, [line], width))
}

/// How many calls it turned away.
fn refused(view: &View<'_>, width: usize) -> Line<'static> {
    let breaker = &view.state.breaker;
    let (since, all) = (breaker.refused_since_open, breaker.refused);
    let texts = match breaker.state {
        BreakerState::Closed => [format!("refused {all} in all"), format!("refused {all}")],
        BreakerState::Open | BreakerState::HalfOpen => [
            format!("refused {since} since opening, {all} in all"),
            format!("refused {since}"),
        ],
    };
    row::first_fit(view.theme, texts.map(Line::from), width)
}

/// Its last states with the time spent in each, the present one last; older ones are left out whole.
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
        // OPEN, CLOSED, HALF
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

/// How often it opened and how long that lasted.
fn past(view: &View<'_>, width: usize) -> Line<'static> {
    let theme = view.theme;
    let breaker = &view.state.breaker;
    let times = if breaker.opened == 1 { "time" } else { "times" };
    let mut pieces = vec![Line::from(format!("opened  {} {times}", breaker.opened))];
    if breaker.opened > 0 {
        // the present open time may already be the longest
        let present = match breaker.state {
            BreakerState::Open => view.now.since(breaker.since),
            BreakerState::Closed | BreakerState::HalfOpen => Duration::ZERO,
        };
        let longest = Duration::from_nanos(breaker.longest_open_ns).max(present);
        pieces.push(Line::from(format!("   longest {}", units::duration(longest))));
    }
    let (sum, number) = breaker.recoveries;
    if let Some(mean) = sum.checked_div(number) {
        let mean = units::duration(Duration::from_nanos(mean));
        pieces.push(Line::from(format!("   mean recovery {mean}")));
    }
    if let Some(down) = breaker
        .down_since
        .filter(|_| breaker.state != BreakerState::Closed)
    {
        pieces.push(Line::from(format!(
            "   down for {}",
            units::duration(view.now.since(down))
        )));
    }
    row::join(theme, pieces, width)
}

#[cfg(test)]
mod tests {
    use super::super::fixture::{self, Scene, at};
    use super::*;

    /// Both are rounded up: 4.64 s of 4.64 s are not 4.7 of 4.6.
    #[test]
    fn no_more_is_left_than_all_of_it() {
        let mut scene = fixture::burst();
        scene.state.breaker.open_ns = 4_640_000_000;
        scene.state.breaker.until = Some(scene.now + Duration::from_millis(4640));
        let row = fixture::rows(&scene, 56, 9, render).swap_remove(2);
        assert!(row.ends_with(" 4.7s of 4.7s left"), "{row}");
    }

    #[test]
    fn open_with_its_past() {
        assert_eq!(
            fixture::rows(&fixture::burst(), 56, 9, render),
            [
                "⊘ OPEN   calls are refused, none sent",
                "window  ✓✓✗✓✗✗✓✓✗✗✓✗✓✗✗✓✗✓✗✗  11/20 = 55%    trip 50%",
                "probe   [█████████████████░░░] 4.2s of 5.0s left",
                "then    HALF-OPEN 1 probe -> 2 ok CLOSED / fail OPEN",
                "why     failure rate",
                "refused 4 since opening, 9 in all",
                "",
                "history OPEN 5.0s > HALF 0.4s > CLOSED 11s > OPEN 0.8s",
                "opened  2 times   longest 5.0s   mean recovery 5.4s",
            ]
        );
    }

    #[test]
    fn the_open_time_is_over_but_nobody_has_probed() {
        let mut scene = fixture::burst();
        scene.now = at(46.3);
        assert_eq!(
            countdown(&scene.view(), "", 40).to_string(),
            "the next call is the probe"
        );
    }

    #[test]
    fn the_countdown_shrinks_rather_than_being_cut() {
        let scene = fixture::burst();
        let at_width = |width| countdown(&scene.view(), "  ", width).to_string();
        assert_eq!(at_width(35), "  [████████░░] 4.2s to 1 probe");
        assert_eq!(at_width(20), "  [███░] 4.2s");
        assert_eq!(at_width(13), "  [███░] 4.2s");
        assert_eq!(at_width(8), "4.2s");
    }

    #[test]
    fn numbers_keep_their_place_while_the_window_fills() {
        let mut scene = fixture::burst();
        let place = |scene: &Scene| {
            let text = window(&scene.view(), "  ", 35).to_string();
            text.chars().position(|c| c == '/')
        };
        let full = place(&scene);
        scene.state.breaker.window.total = 11;
        assert_eq!(place(&scene), full);
        scene.state.breaker.window.total = 0;
        assert_eq!(place(&scene), full);
    }
}
