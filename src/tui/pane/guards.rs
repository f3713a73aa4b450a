//! The Guards pane: breaker, limiter, cache and latency, where there is no room for a pane each.
//!
//! Rows have ranks. With fewer rows than fit, the guards that can hold a call stay longest.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::text::Line;

use crate::tui::theme::Role;
use crate::tui::view::View;

use super::latency::Quantiles;
use super::{breaker, cache, latency, limiter, row, semantic, users};

/// Smallest size with words and longer bars.
const ROOMY: (u16, u16) = (50, 10);

/// Draws the guards.
pub(crate) fn render(view: &View<'_>, area: Rect, buf: &mut Buffer) {
    let area = area.intersection(buf.area);
    let roomy = area.width >= ROOMY.0 && area.height >= ROOMY.1;
    let width = usize::from(area.width);
    let rows = if roomy {
        roomy_rows(view, width)
    } else {
        compact_rows(view, width)
    };
    row::draw_all(&pick(rows, usize::from(area.height)), area, buf);
}

/// The rows with the lowest ranks that fit `height`, in their order.
fn pick(rows: Vec<(u8, Line<'static>)>, height: usize) -> Vec<Line<'static>> {
    let mut ranks: Vec<u8> = rows.iter().map(|(rank, _)| *rank).collect();
    ranks.sort_unstable();
    let last = height
        .checked_sub(1)
        .map(|index| ranks.get(index).copied().unwrap_or(u8::MAX));
    rows.into_iter()
        .filter(|(rank, _)| last.is_some_and(|last| *rank <= last))
        .map(|(_, line)| line)
        .collect()
}

/// The rows for 80 columns, each with its rank.
fn compact_rows(view: &View<'_>, width: usize) -> Vec<(u8, Line<'static>)> {
    let saved = cache::saved_tokens(view);
    vec![
        (0, breaker::heading(view, "breaker ", width)),
        (4, breaker::window(view, "  ", width)),
        (3, breaker::countdown(view, "  ", width)),
        (1, limiter::tokens(view, "tokens ", width)),
        (2, limiter::requests(view, "reqs   ", width)),
        (7, limiter::slots(view, "slots  ", width)),
        (6, limiter::queue(view, "  ", width)),
        (5, cache_line(view, "cache ", &saved, width)),
        (8, latency_line(view, "latency ", width)),
        (9, users::queue_line(view, "queue  ", width)),
    ]
}

/// The rows for 120 columns, each with its rank.
fn roomy_rows(view: &View<'_>, width: usize) -> Vec<(u8, Line<'static>)> {
    let saved = cache::saved_tokens(view);
    vec![
        (0, breaker::heading(view, "Breaker  ", width)),
        (1, breaker::window(view, "  window ", width)),
        (2, breaker::countdown(view, "  next   ", width)),
        (9, breaker::then(view, "  then   ", width)),
        (3, limiter::tokens(view, "Tokens   ", width)),
        (4, limiter::requests(view, "Requests ", width)),
        (11, limiter::slots(view, "Slots    ", width)),
        (5, limiter::queue(view, "  ", width)),
        (12, users::queue_line(view, "  queue  ", width)),
        (6, cache_line(view, "Cache    ", "", width)),
        (10, cache::history(view, "  ", 20, &[saved], width)),
        (7, latency_line(view, "Latency  ", width)),
        (8, latency::calls(view, "  ", 20, width)),
    ]
}

/// `label`, the hit rate, and counts as far as they fit; `saved` first unless another row shows it.
fn cache_line(view: &View<'_>, label: &str, saved: &str, width: usize) -> Line<'static> {
    let cache = &view.state.cache;
    let mut pieces = vec![Line::from(vec![row::plain(label), cache::hit_rate(view)])];
    if !cache.on {
        pieces.push(Line::from("  every call is sent"));
        return row::join(view.theme, pieces, width);
    }
    if let Some(count) = semantic::count(view) {
        pieces.push(Line::from(vec![
            row::plain("  "),
            row::piece(view.theme, Role::Hit, count),
        ]));
    }
    if !saved.is_empty() {
        pieces.push(Line::from(format!("  {saved}")));
    }
    pieces.push(Line::from(format!("  missed {}", cache.unserved())));
    for (word, count) in [("shared", cache.shared), ("replayed", cache.replays)] {
        if count > 0 {
            pieces.push(Line::from(format!("  {word} {count}")));
        }
    }
    row::join(view.theme, pieces, width)
}

/// `label`, percentiles of calls, and the median time to the first token.
fn latency_line(view: &View<'_>, label: &str, width: usize) -> Line<'static> {
    let call = Quantiles::new(&view.state.latency.call);
    let ttft = Quantiles::new(&view.state.latency.ttft);
    let mut pieces = vec![Line::from(label.to_owned())];
    if call.p50.is_none() {
        pieces.push(row::muted(view.theme, "no answer yet"));
        return row::join(view.theme, pieces, width);
    }
    pieces.extend(call.pieces());
    if let Some(p50) = ttft.p50 {
        pieces.push(Line::from(format!("   ttft {}", super::units::precise(p50))));
    }
    row::join(view.theme, pieces, width)
}

#[cfg(test)]
mod tests {
    use super::super::fixture::{self, Fixture, at};
    use crate::event::{BreakerMode, BreakerState, WindowCounts};

    fn compact(fixture: &Fixture) -> Vec<String> {
        fixture::rows(fixture, 35, 6, super::render)
    }

    fn roomy(fixture: &Fixture) -> Vec<String> {
        fixture::rows(fixture, 53, 12, super::render)
    }

    #[test]
    fn six_rows_of_an_open_breaker() {
        assert_eq!(
            compact(&fixture::burst()),
            [
                "breaker ⊘ OPEN   calls are refused",
                "  ✓✓✗✓✗✗✓✓✗✗✓✗✓✗✗✓✗✓✗✗ 11/20 failed",
                "  [████████░░] probe in 4.2s",
                "tokens [████░░░░░░] 2.3k/6k +100/s",
                "reqs   [███████░░░]   42/60 +1/s",
                "cache ◇ 18% 7/40  saved 2.9k tok",
            ]
        );
    }

    #[test]
    fn twelve_rows_of_an_open_breaker() {
        assert_eq!(
            roomy(&fixture::burst()),
            [
                "Breaker  ⊘ OPEN   calls are refused",
                "  window ✓✓✗✓✗✗✓✓✗✗✓✗✓✗✗✓✗✓✗✗ 11/20 55%  opens at 50%",
                "  next   [█████████████████░░░] probe in 4.2s of 5.0s",
                "  then   HALF-OPEN; 2 ok -> CLOSED, 1 failed -> OPEN",
                "Tokens   [████████░░░░░░░░░░░░]  38%  2.3k/6k +100/s",
                "Requests [██████████████░░░░░░]  70%    42/60 +1/s",
                "Slots    [████░░░░░░░░░░░░░░░░]  19%     3/16 in use",
                "  next in 0.4s (#35)        waiting 1   limited 0",
                "Cache    ◇ 18% 7/40  missed 33",
                "             ▁▅▃▅▄▄▃▃   last 60s   saved 2.9k tok",
                "Latency  no answer yet",
                "  ▂ ▃▃▃▃▄ ▄▄▅▅▅ ▆▇▇██   per call, gap: not sent",
            ]
        );
    }

    #[test]
    fn rows_that_can_hold_a_call_stay_longest() {
        let rows = |height| fixture::rows(&fixture::burst(), 35, height, super::render);
        assert_eq!(rows(1), ["breaker ⊘ OPEN   calls are refused"]);
        assert_eq!(
            rows(3),
            [
                "breaker ⊘ OPEN   calls are refused",
                "tokens [████░░░░░░] 2.3k/6k +100/s",
                "reqs   [███████░░░]   42/60 +1/s",
            ]
        );
        assert_eq!(
            rows(8).get(5).map(String::as_str),
            Some("slots  [██░░░░░░░░]    3/16 in use")
        );
    }

    #[test]
    fn a_closed_breaker_shows_its_threshold_and_no_percentage_of_few() {
        let mut fixture = fixture::burst();
        fixture.state.breaker.state = BreakerState::Closed;
        fixture.state.breaker.window = WindowCounts {
            total: 4,
            failed: 3,
            slow: 0,
            consecutive: 0,
        };
        fixture.state.cache.misses.clear();
        let rows = compact(&fixture);
        assert_eq!(
            rows.get(..3),
            Some(
                &[
                    "breaker ✓ CLOSED   calls pass".to_owned(),
                    "  ✗✓✗✗                  3/4  failed".to_owned(),
                    "  opens at 50% of 10+ or 5 in a row".to_owned(),
                ][..]
            )
        );
        assert!(
            rows.iter().any(|row| row == "cache ◇ 7/7  saved 2.9k tok"),
            "{rows:?}"
        );
    }

    #[test]
    fn a_half_open_breaker_shows_its_probe() {
        let mut fixture = fixture::probing();
        let three = |fixture: &Fixture| compact(fixture).into_iter().take(3).collect::<Vec<_>>();
        assert_eq!(
            three(&fixture),
            [
                "breaker ↻ HALF-OPEN few probes pass",
                "  no outcome yet        0/0  failed",
                "  one probe is out, 1 of 2 good",
            ]
        );
        // with a first token, the next one may go
        fixture.state.breaker.probe_waits = None;
        assert_eq!(three(&fixture)[2], "  next call probes, 1 of 2 good");
        fixture.state.breaker.probes_out = 2;
        assert_eq!(three(&fixture)[2], "  2 probes are out, 1 of 2 good");
    }

    #[test]
    fn a_forced_breaker_shows_how_to_release_it() {
        let mut fixture = fixture::burst();
        fixture.state.breaker.mode = BreakerMode::ForcedOpen;
        assert_eq!(compact(&fixture)[0], "⊘ FORCED OPEN by you; [o] releases");
        assert_eq!(
            roomy(&fixture)[0],
            "Breaker  ⊘ FORCED OPEN   by you; [o] releases"
        );
        assert_eq!(compact(&fixture)[2], "  no probe until released");
        fixture.state.breaker.mode = BreakerMode::ForcedClosed;
        assert_eq!(compact(&fixture)[0], "! FORCED CLOSED [o] releases");
    }

    #[test]
    fn debt_and_pause_replace_the_refill() {
        let mut fixture = fixture::burst();
        let limit = &mut fixture.state.limit;
        limit.tokens = limit.tokens.map(|bucket| bucket.debited(2_420));
        limit.paused_until = Some(at(45.3));
        let rows = compact(&fixture);
        assert_eq!(rows[3], "tokens [░░░░░░]    0/6k debt 120");
        assert_eq!(rows[4], "reqs   [████░░]   42/60 paused 3.2s");
        assert_eq!(
            roomy(&fixture)[7],
            "  paused, 3.2s left         waiting 1   limited 0"
        );
        // the pause is over: the refill counts again
        fixture.now = at(45.3);
        assert_eq!(compact(&fixture)[4], "reqs   [████████░░]   45/60 +1/s");
    }

    #[test]
    fn guards_that_are_off_are_shown_as_off() {
        let mut fixture = fixture::burst();
        fixture.state.cache.on = false;
        fixture.state.session.policy.limit.enabled = false;
        fixture.state.session.policy.breaker.enabled = false;
        let rows = compact(&fixture);
        assert_eq!(rows[0], "breaker · OFF   never refuses");
        assert_eq!(rows[3], "tokens OFF, not counted");
        assert_eq!(rows[5], "cache ◇ OFF  every call is sent");
    }
}
