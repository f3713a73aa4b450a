//! Breaker, buckets, cache and latency in one pane, where there is no room for one each.
//!
//! Six rows say why a call is held; each further row adds what the next question would be. Where there
//! are fewer, the rows that can hold a call stay longest.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::text::Line;

use crate::tui::theme::Role;
use crate::tui::view::View;

use super::latency::Quantiles;
use super::{breaker, buckets, cache, latency, row, semantic, users};

/// From this size on the pane is drawn with words and longer bars.
const ROOMY: (u16, u16) = (50, 10);

/// Draws the guards.
pub fn render(view: &View<'_>, area: Rect, buf: &mut Buffer) {
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

/// Waiters, for the border of a pane with `width` columns of content; nothing if nobody waits.
pub fn title(view: &View<'_>, width: u16) -> String {
    buckets::title(view, width)
}

/// The rows that fit, in their places: those with the lowest numbers.
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

/// For 80 columns: each row with its rank.
fn compact_rows(view: &View<'_>, width: usize) -> Vec<(u8, Line<'static>)> {
    let saved = cache::saved_tokens(view);
    vec![
        (0, breaker::heading(view, "breaker ", width)),
        (4, breaker::window(view, "  ", width)),
        (3, breaker::countdown(view, "  ", width)),
        (1, buckets::tokens(view, "tokens ", width)),
        (2, buckets::requests(view, "reqs   ", width)),
        (7, buckets::slots(view, "slots  ", width)),
        (6, buckets::queue(view, "  ", width)),
        (5, cache_line(view, "cache ", &saved, width)),
        (8, latency_line(view, "latency ", width)),
        (9, users::queue_line(view, "order  ", width)),
    ]
}

/// For 120 columns: each row with its rank.
fn roomy_rows(view: &View<'_>, width: usize) -> Vec<(u8, Line<'static>)> {
    let saved = cache::saved_tokens(view);
    vec![
        (0, breaker::heading(view, "Breaker  ", width)),
        (1, breaker::window(view, "  window ", width)),
        (2, breaker::countdown(view, "  probe  ", width)),
        (9, breaker::then(view, "  then   ", width)),
        (3, buckets::tokens(view, "Tokens   ", width)),
        (4, buckets::requests(view, "Requests ", width)),
        (11, buckets::slots(view, "Parallel ", width)),
        (5, buckets::queue(view, "  ", width)),
        (12, users::queue_line(view, "  order  ", width)),
        (6, cache_line(view, "Cache    ", "", width)),
        (10, cache::history(view, "  ", 20, &[saved], width)),
        (7, latency_line(view, "Latency  ", width)),
        (8, latency::calls(view, "  ", 20, width)),
    ]
}

/// `label`, the hit rate, and more where there is room: `saved` first where that is said nowhere else.
fn cache_line(view: &View<'_>, label: &str, saved: &str, width: usize) -> Line<'static> {
    let cache = &view.state.cache;
    let mut pieces = vec![Line::from(vec![
        row::plain(label.to_owned()),
        cache::hit_rate(view),
    ])];
    if !cache.on {
        pieces.push(Line::from("  every call asks"));
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
    let call = Quantiles::of(&view.state.latency.call);
    let ttft = Quantiles::of(&view.state.latency.ttft);
    let mut pieces = vec![Line::from(label.to_owned())];
    if call.p50.is_none() {
        pieces.push(Line::from(row::piece(view.theme, Role::Muted, "no answer yet")));
        return row::join(view.theme, pieces, width);
    }
    pieces.extend(call.pieces());
    if let Some(p50) = ttft.p50 {
        let text = format!("   ttft {}", super::units::precise(p50));
        pieces.push(Line::from(row::piece(view.theme, Role::Text, text)));
    }
    row::join(view.theme, pieces, width)
}

#[cfg(test)]
mod tests {
    use super::super::fixture::{self, Scene, at};
    use crate::event::{BreakerMode, BreakerState, WindowCounts};

    fn compact(scene: &Scene) -> Vec<String> {
        fixture::rows(scene, 35, 6, super::render)
    }

    fn roomy(scene: &Scene) -> Vec<String> {
        fixture::rows(scene, 53, 12, super::render)
    }

    #[test]
    fn open_with_its_countdown_in_six_rows() {
        assert_eq!(
            compact(&fixture::burst()),
            [
                "breaker ⊘ OPEN  calls are refused",
                "  ✓✓✗✓✗✗✓✓✗✗✓✗✓✗✗✓✗✓✗✗ 11/20 >= 50%",
                "  [████████░░] 4.2s to 1 probe",
                "tokens [████░░░░░░] 2.3k/6k +100/s",
                "reqs   [███████░░░]   42/60 +1/s",
                "cache ◇ 18% 7/40  saved 2.9k tok",
            ]
        );
    }

    #[test]
    fn open_with_room_for_words() {
        assert_eq!(
            roomy(&fixture::burst()),
            [
                "Breaker  ⊘ OPEN   calls are refused, none sent",
                "  window ✓✓✗✓✗✗✓✓✗✗✓✗✓✗✗✓✗✓✗✗ 11/20 55%  trip 50%",
                "  probe  [█████████████████░░░] 4.2s of 5.0s left",
                "  then   HALF-OPEN 1 probe -> 2 ok CLOSED / fail OPEN",
                "Tokens   [████████░░░░░░░░░░░░]  38%  2.3k/6k +100/s",
                "Requests [██████████████░░░░░░]  70%    42/60 +1/s",
                "Parallel [████░░░░░░░░░░░░░░░░]  19%     3/16 in use",
                "  next admit 0.4s (#35)     waiting 1   shed 0",
                "Cache    ◇ 18% 7/40  missed 33",
                "             ▁▅▃▅▄▄▃▃   last 60s   saved 2.9k tok",
                "Latency  no answer yet",
                "  ▂ ▃▃▃▃▄ ▄▄▅▅▅ ▆▇▇██   per call, gap = refused",
            ]
        );
    }

    #[test]
    fn rows_that_can_hold_a_call_stay_longest() {
        let rows = |height| fixture::rows(&fixture::burst(), 35, height, super::render);
        assert_eq!(rows(1), ["breaker ⊘ OPEN  calls are refused"]);
        assert_eq!(
            rows(3),
            [
                "breaker ⊘ OPEN  calls are refused",
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
    fn closed_says_what_would_trip_it_and_no_share_of_few() {
        let mut scene = fixture::burst();
        scene.state.breaker.state = BreakerState::Closed;
        scene.state.breaker.window = WindowCounts {
            total: 4,
            failed: 3,
            slow: 0,
            consecutive: 0,
        };
        scene.state.cache.misses.clear();
        let rows = compact(&scene);
        assert_eq!(
            rows.get(..3),
            Some(
                &[
                    "breaker ✓ CLOSED   calls pass".to_owned(),
                    "  ✗✓✗✗                  3/4  min 10".to_owned(),
                    "  trips at 50% of 10+ or 5 in a row".to_owned(),
                ][..]
            )
        );
        assert!(
            rows.iter().any(|row| row == "cache ◇ 7/7  saved 2.9k tok"),
            "{rows:?}"
        );
    }

    #[test]
    fn half_open_says_where_the_probe_is() {
        let mut scene = fixture::probing();
        let three = |scene: &Scene| compact(scene).into_iter().take(3).collect::<Vec<_>>();
        assert_eq!(
            three(&scene),
            [
                "↻ HALF-OPEN one probe at a time",
                "  no outcome yet        0/0  min 10",
                "  probe is out, 1/2 ok, others wait",
            ]
        );
        scene.state.breaker.probe_out = false;
        assert_eq!(three(&scene)[2], "  waits for a call to probe, 1/2 ok");
    }

    #[test]
    fn a_forced_breaker_says_who_did_it_and_how_to_let_go() {
        let mut scene = fixture::burst();
        scene.state.breaker.mode = BreakerMode::ForcedOpen;
        assert_eq!(compact(&scene)[0], "⊘ FORCED OPEN by you, o lets go");
        assert_eq!(roomy(&scene)[0], "Breaker  ⊘ FORCED OPEN   by you, o lets go");
        assert_eq!(compact(&scene)[2], "  no probe until you let go");
        scene.state.breaker.mode = BreakerMode::ForcedClosed;
        assert_eq!(compact(&scene)[0], "! FORCED CLOSED by you, o lets go");
    }

    #[test]
    fn debt_and_pause_are_told_as_what_they_are() {
        let mut scene = fixture::burst();
        let limit = &mut scene.state.limit;
        limit.tokens = limit.tokens.map(|bucket| bucket.debited(2_420));
        limit.paused_until = Some(at(45.3));
        let rows = compact(&scene);
        assert_eq!(rows[3], "tokens [░░░░░░]    0/6k debt 120");
        assert_eq!(rows[4], "reqs   [████░░]   42/60 paused 3.2s");
        assert_eq!(
            roomy(&scene)[7],
            "  server's pause, 3.2s left  waiting 1   shed 0"
        );
        // the pause is over: the refill counts again
        scene.now = at(45.3);
        assert_eq!(compact(&scene)[4], "reqs   [████████░░]   45/60 +1/s");
    }

    #[test]
    fn what_is_switched_off_says_so() {
        let mut scene = fixture::burst();
        scene.state.cache.on = false;
        scene.state.session.policy.limit.enabled = false;
        scene.state.session.policy.breaker.enabled = false;
        let rows = compact(&scene);
        assert_eq!(rows[0], "breaker · OFF  calls pass");
        assert_eq!(rows[3], "tokens off, nothing is counted");
        assert_eq!(rows[5], "cache ◇ off  every call asks");
    }
}
