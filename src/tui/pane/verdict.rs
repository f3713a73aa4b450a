//! Row 2: whether calls get through, and if not, the cause.
//!
//! First counts that add up to the number at the front (queued calls are extra), then one cause and what happens
//! next. The cause keeps its column while the counts leave room, and is shortened rather than cut.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::text::Line;

use crate::event::{Fate, Origin, UpstreamHealth};
use crate::state::{Burst, Calls, Cause, FateCounts, Hold, Verdict};
use crate::time::Timestamp;
use crate::tui::theme::{Role, Theme};
use crate::tui::view::View;

use super::{row, units, users};

/// Width from which counts have words beside their glyphs.
const WORDS: usize = 110;
/// Columns of a usual cause with its countdown: `HELD BY  breaker OPEN, probe in 4.2s`.
const CAUSE_ROOM: usize = 36;
/// Width from which counts are three blanks apart.
const SPACIOUS: usize = 160;

/// Columns of a user's name in a cause.
const NAME: usize = 12;

/// Draws the verdict on one row, or the counts and the cause on a row each.
pub(crate) fn render(view: &View<'_>, area: Rect, buf: &mut Buffer) {
    let verdict = view.state.verdict(view.now);
    let area = row_area(area);
    let lines = lines(view, &verdict, usize::from(area.width), area.height > 1);
    row::draw_all(&lines, area, buf);
}

/// The row without the blank at its front; the whole row if it is narrow.
fn row_area(area: Rect) -> Rect {
    let blank = u16::from(area.width > 40);
    Rect {
        x: area.x + blank,
        width: area.width - blank,
        ..area
    }
}

/// Counts and cause.
fn lines(view: &View<'_>, verdict: &Verdict, width: usize, two_rows: bool) -> Vec<Line<'static>> {
    let theme = view.theme;
    let tally = Tally::new(&view.state.calls);
    let counts = row::first_fit(theme, [tally.glyphs(theme), tally.head(theme)], width);
    let (full, brief) = cause_lines(view, verdict);
    if two_rows {
        let cause = row::first_fit(theme, full.into_iter().chain(brief), width);
        return vec![counts, cause];
    }
    // glyphs without words are better than a cause without its countdown
    for causes in [&full, &brief] {
        for (counts, column) in tally.wordings(theme, width) {
            let tight = counts.width() + 2;
            for start in [tight.max(column), tight] {
                if let Some(cause) = causes.iter().find(|cause| start + cause.width() <= width) {
                    let mut line = counts.clone();
                    line.push_span(row::plain(" ".repeat(start - counts.width())));
                    line.spans.extend(cause.spans.iter().cloned());
                    return vec![line];
                }
            }
        }
    }
    vec![counts]
}

// === counts ===

/// The counts of the last burst, or of all calls.
struct Tally<'a> {
    burst: Option<&'a Burst>,
    counts: &'a FateCounts,
}

impl<'a> Tally<'a> {
    /// The burst's counts until another call starts after it.
    fn new(calls: &'a Calls) -> Self {
        let newest = calls.recent.values().next_back().map(|call| call.origin);
        let burst = calls.burst().filter(|burst| match newest {
            Some(Origin::Burst { burst: number }) => number == burst.burst,
            Some(Origin::Chat | Origin::Load { .. } | Origin::Library) => !burst.all_made,
            None => true,
        });
        Self {
            burst,
            counts: burst.map_or(&calls.totals, |burst| &burst.counts),
        }
    }

    /// `BURST 40/50` or `CALLS 12`: admitted or rejected so far.
    fn head(&self, theme: &Theme) -> Line<'static> {
        let past_queue = self.counts.started.saturating_sub(self.counts.queued);
        let text = match self.burst {
            Some(burst) => {
                let of = burst.calls.to_string();
                format!("BURST {}/{of}", row::right(&past_queue.to_string(), of.len()))
            }
            None => format!("CALLS {past_queue}"),
        };
        Line::from(row::piece(theme, Role::Strong, text))
    }

    /// The counts that are shown: five always, the others unless zero. All but the queued calls add up to the
    /// number of the head.
    fn counts(&self, theme: &Theme) -> Vec<Count> {
        let glyphs = theme.glyphs;
        let ended = |fate| self.counts.ended(fate);
        let (queued, retrying) = (self.counts.queued, self.counts.backing_off);
        let running = self.counts.running().saturating_sub(queued + retrying);
        let rejected = ended(Fate::CircuitOpen) + ended(Fate::RateLimited);
        let counts = [
            (glyphs.ok, "answered", Role::Ok, ended(Fate::Answered), true),
            (glyphs.streaming, "running", Role::Text, running, false),
            (glyphs.hit, "cached", Role::Saved, ended(Fate::Hit), true),
            (glyphs.shared, "shared", Role::Saved, ended(Fate::Shared), false),
            (glyphs.retry, "retrying", Role::Held, retrying, true),
            (glyphs.failed, "failed", Role::Broken, ended(Fate::Failed), true),
            (
                glyphs.cut,
                "cut off",
                Role::Broken,
                ended(Fate::Interrupted),
                false,
            ),
            (glyphs.refused, "rejected", Role::Refused, rejected, true),
            (
                glyphs.stopped,
                "stopped",
                Role::Muted,
                ended(Fate::Cancelled),
                false,
            ),
            (glyphs.queued, "queued", Role::Held, queued, false),
        ];
        let shown = counts
            .into_iter()
            .filter(|(.., number, always)| *always || *number > 0);
        shown
            .map(|(glyph, word, role, number, _)| Count {
                glyph,
                word,
                role: if number == 0 { Role::Muted } else { role },
                number,
            })
            .collect()
    }

    /// The wordings of the counts, the longest first, each with the column where the cause begins if possible.
    fn wordings(&self, theme: &Theme, width: usize) -> Vec<(Line<'static>, usize)> {
        let mut wordings = Vec::new();
        if width >= SPACIOUS {
            wordings.push((self.line(theme, 3, true), 0));
        }
        if width >= WORDS {
            for gap in [2, 1] {
                let line = self.line(theme, gap, true);
                // independent of the present cause, so that the words do not come and go with it
                if line.width() + 2 + CAUSE_ROOM <= width {
                    wordings.push((line, 0));
                }
            }
        }
        // room for two more counts
        let head = self.head(theme).width();
        wordings.push((self.glyphs(theme), head + 3 + 7 * (self.digits() + 2)));
        wordings.push((self.head(theme), 0));
        wordings
    }

    /// `BURST 40/50  ✓24 ◇7  ↻3`.
    fn glyphs(&self, theme: &Theme) -> Line<'static> {
        self.line(theme, 1, false)
    }

    /// The head and the counts, `gap` blanks between them, with or without words.
    fn line(&self, theme: &Theme, gap: usize, words: bool) -> Line<'static> {
        let mut line = self.head(theme);
        let digits = self.digits();
        for (index, count) in self.counts(theme).into_iter().enumerate() {
            let number = count.number.to_string();
            // the next count keeps its column while this number grows
            let blanks = " ".repeat(digits.saturating_sub(number.len()));
            let word = if words {
                format!(" {}", count.word)
            } else {
                String::new()
            };
            line.push_span(row::plain(" ".repeat(if index == 0 { gap.max(2) } else { gap })));
            line.push_span(row::piece(
                theme,
                count.role,
                format!("{}{number}{word}", count.glyph),
            ));
            line.push_span(row::plain(blanks));
        }
        line
    }

    /// Columns of the largest number.
    fn digits(&self) -> usize {
        let most = self
            .burst
            .map_or(self.counts.started, |burst| u64::from(burst.calls));
        most.to_string().len()
    }
}

/// A number with its glyph and its word.
struct Count {
    glyph: &'static str,
    word: &'static str,
    role: Role,
    number: u64,
}

// === cause ===

/// The wordings of the cause, the longest first: those with the next event, and brief ones.
type CauseLines = (Vec<Line<'static>>, Vec<Line<'static>>);

fn cause_lines(view: &View<'_>, verdict: &Verdict) -> CauseLines {
    let theme = view.theme;
    if let Some(storm) = storm_lines(view, verdict) {
        return storm;
    }
    let Some(hold) = verdict.held_by else {
        return free_lines(view, verdict);
    };
    let role = match hold.cause {
        Cause::BreakerOpen | Cause::BreakerForced => Role::Refused,
        Cause::ProbeOut
        | Cause::Paused
        | Cause::Tokens
        | Cause::Requests
        | Cause::UserTokens
        | Cause::UserRequests
        | Cause::Slots
        | Cause::BackOff
        | Cause::Loading
        | Cause::Server => Role::Held,
    };
    let texts = cause_wordings(view, hold);
    let held_by = |gap: &'static str, text: &String| {
        let head = row::piece(theme, Role::Strong, "HELD BY");
        Line::from(vec![head, row::plain(gap), row::piece(theme, role, text.clone())])
    };
    let mut full: Vec<Line<'static>> = flood(view, hold, texts.first())
        .iter()
        .map(|text| held_by("  ", text))
        .collect();
    if let (Some(text), Some(then)) = (texts.first(), verdict.then) {
        let mut both = held_by("  ", text);
        let second = format!("   (2nd: {})", second_cause(view, then));
        both.push_span(row::piece(theme, Role::Muted, second));
        full.push(both);
    }
    let (long, short) = texts.split_at(texts.len().min(2));
    full.extend(
        long.iter()
            .flat_map(|text| [held_by("  ", text), held_by(" ", text)]),
    );
    let bare = |text: &String| Line::from(row::piece(theme, role, text.clone()));
    let mut brief: Vec<Line<'static>> = long.iter().map(bare).collect();
    brief.extend(short.iter().flat_map(|text| [held_by(" ", text), bare(text)]));
    (full, brief)
}

/// A retry storm, unless a guard holds the calls. Waiting for a slot, an attempt or the server is then a symptom
/// of the storm, not the cause.
fn storm_lines(view: &View<'_>, verdict: &Verdict) -> Option<CauseLines> {
    if view.state.calls.totals.running() == 0 {
        return None;
    }
    match verdict.held_by.map(|hold| hold.cause) {
        None | Some(Cause::BackOff | Cause::Server | Cause::Slots) => {}
        Some(
            Cause::BreakerOpen
            | Cause::BreakerForced
            | Cause::ProbeOut
            | Cause::Paused
            | Cause::Tokens
            | Cause::Requests
            | Cause::UserTokens
            | Cause::UserRequests
            | Cause::Loading,
        ) => return None,
    }
    let storm = view.state.storm(view.now)?;
    let (attempts, helped) = (storm.amplification, storm.helped * 100.0);
    let line = |text: String| Line::from(row::piece(view.theme, Role::Broken, text));
    let load = format!("RETRY STORM  {attempts:.1} attempts per call");
    let full = vec![
        line(format!("{load}, {helped:.0}% of retries got an answer")),
        line(load),
    ];
    Some((full, vec![line("RETRY STORM".into())]))
}

/// The wordings without a cause.
fn free_lines(view: &View<'_>, verdict: &Verdict) -> CauseLines {
    if view.state.calls.totals.running() == 0 {
        return idle_lines(view);
    }
    let line = |text: String| Line::from(row::piece(view.theme, Role::Ok, text));
    let flowing = line("flowing".into());
    match verdict.flowing_per_s.filter(|rate| rate.is_finite()) {
        Some(rate) => (vec![line(format!("flowing {rate:.1}/s"))], vec![flowing]),
        None => (vec![flowing], Vec::new()),
    }
}

/// The wordings without a running call: the state of the upstream, unless it is ready.
fn idle_lines(view: &View<'_>) -> CauseLines {
    let line = |role, text: String| Line::from(row::piece(view.theme, role, text));
    match &view.state.session.health {
        Some(UpstreamHealth::Unavailable { message }) => (
            vec![
                line(Role::Broken, format!("upstream down: {message}")),
                line(Role::Broken, "upstream down, see the log".into()),
            ],
            vec![line(Role::Broken, "upstream down".into())],
        ),
        Some(UpstreamHealth::Loading) => (
            vec![line(Role::Held, "upstream is loading its model".into())],
            vec![line(Role::Held, "model loading".into())],
        ),
        Some(UpstreamHealth::Ready { .. }) | None => {
            (vec![line(Role::Muted, "nothing running".into())], Vec::new())
        }
    }
}

/// The name of a cause.
fn cause_name(view: &View<'_>, cause: Cause) -> String {
    let own = |bucket: &str| match view.state.held_user(view.now) {
        Some(user) => format!("{}'s {bucket}", users::name(view, user, NAME)),
        None => format!("a user's {bucket}"),
    };
    let name = match cause {
        Cause::BreakerOpen => "breaker OPEN",
        Cause::BreakerForced => "breaker FORCED OPEN",
        Cause::ProbeOut => "breaker HALF-OPEN",
        Cause::Paused => "server pause",
        Cause::Tokens => "token bucket",
        Cause::Requests => "request bucket",
        Cause::UserTokens => return own("token bucket"),
        Cause::UserRequests => return own("request bucket"),
        Cause::Slots => "slots",
        Cause::BackOff => "back-off",
        Cause::Loading => "model loading",
        Cause::Server => "slow upstream",
    };
    name.to_owned()
}

/// The countdown of a cause, if its end is known and in the future.
fn time_left(hold: Hold, now: Timestamp) -> Option<String> {
    let until = hold.until.filter(|until| *until > now)?;
    Some(units::countdown(now.until(until)))
}

/// A cause and the next event, the longest wording first. Every wording is complete.
fn cause_wordings(view: &View<'_>, hold: Hold) -> Vec<String> {
    let name = cause_name(view, hold.cause);
    let left = time_left(hold, view.now);
    let calls = hold.calls;
    let verb = if calls == 1 { "waits" } else { "wait" };
    let waiting = format!("{} {verb}", units::count(calls, "call"));
    let ends: Vec<String> = match (hold.cause, &left) {
        (Cause::BreakerOpen, Some(left)) => vec![
            format!(", next probe in {left}"),
            format!(", probe in {left}"),
            format!(" {left}"),
        ],
        (Cause::BreakerOpen, None) => {
            vec![", the next call is the probe".into(), ", next call probes".into()]
        }
        (Cause::BreakerForced, _) => vec![" by you; [o] releases".into(), "; [o] releases".into()],
        (Cause::ProbeOut, _) => vec![", its probes are out".into(), ", probes out".into()],
        (Cause::BackOff, Some(left)) => vec![format!(", next attempt in {left}"), format!(", {left}")],
        (
            Cause::Paused | Cause::Tokens | Cause::Requests | Cause::UserTokens | Cause::UserRequests,
            Some(left),
        ) => vec![format!(", next in {left}"), format!(", {left}")],
        (Cause::Slots, _) => {
            let slots = view.state.session.policy.limit.concurrency;
            vec![format!(", {waiting} for one of {slots}"), format!(", {waiting}")]
        }
        (Cause::Server, _) => vec![format!(", {waiting} for a first token"), format!(", {waiting}")],
        (
            Cause::Loading
            | Cause::BackOff
            | Cause::Paused
            | Cause::Tokens
            | Cause::Requests
            | Cause::UserTokens
            | Cause::UserRequests,
            _,
        ) => Vec::new(),
    };
    let wordings = ends.iter().map(|end| format!("{name}{end}"));
    let mut wordings: Vec<String> = wordings.chain([name.clone()]).collect();
    // the state alone is clear
    wordings.extend(name.strip_prefix("breaker ").map(str::to_owned));
    wordings
}

/// The key that helps callers behind a flooding user, if it would help.
fn flood(view: &View<'_>, hold: Hold, text: Option<&String>) -> Option<String> {
    let queue = matches!(
        hold.cause,
        Cause::Paused | Cause::Tokens | Cause::Requests | Cause::Slots
    );
    let noise = view
        .state
        .flood(view.now)
        .filter(|_| queue && !view.ui.read_only)?;
    let user = users::name(view, &noise.user, NAME);
    Some(format!(
        "{}; {user} floods the queue, {}",
        text?,
        users::SHARE_FAIRLY
    ))
}

/// The second cause and its countdown.
fn second_cause(view: &View<'_>, hold: Hold) -> String {
    let name = cause_name(view, hold.cause);
    match time_left(hold, view.now) {
        Some(left) => format!("{name}, {left}"),
        None => name,
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixture::{self, Fixture, at};
    use super::*;

    /// The row at a width for a given cause.
    fn row_text(fixture: &Fixture, held_by: Option<Hold>, width: usize) -> String {
        let verdict = Verdict {
            held_by,
            then: None,
            flowing_per_s: Some(6.1),
        };
        let lines = lines(&fixture.view(), &verdict, width, false);
        lines.into_iter().map(|line| line.to_string()).collect()
    }

    fn hold(cause: Cause, until: Option<f64>) -> Hold {
        Hold {
            cause,
            until: until.map(at),
            calls: 3,
        }
    }

    #[test]
    fn counts_add_up_and_one_cause_is_named() {
        let fixture = fixture::burst();
        let open = Some(hold(Cause::BreakerOpen, Some(46.3)));
        // 24 + 7 + 3 + 2 + 4 = 40, and one in the queue
        let table = [
            (12, "BURST 40/50"),
            (30, "BURST 40/50  breaker OPEN 4.2s"),
            (53, "BURST 40/50  HELD BY breaker OPEN, next probe in 4.2s"),
            (
                79,
                "BURST 40/50  ✓24 ◇7  ↻3  ✗2  ⊘4  …1       HELD BY  breaker OPEN, probe in 4.2s",
            ),
            (
                119,
                "BURST 40/50  ✓24 ◇7  ↻3  ✗2  ⊘4  …1       HELD BY  breaker OPEN, next probe in 4.2s",
            ),
            (
                123,
                "BURST 40/50  ✓24 answered ◇7 cached  ↻3 retrying  ✗2 failed  ⊘4 rejected  …1 queued   \
                 HELD BY  breaker OPEN, probe in 4.2s",
            ),
            (
                199,
                "BURST 40/50   ✓24 answered   ◇7 cached    ↻3 retrying    ✗2 failed    ⊘4 rejected    …1 queued   \
                 HELD BY  breaker OPEN, next probe in 4.2s",
            ),
        ];
        for (width, text) in table {
            assert_eq!(row_text(&fixture, open, width), text, "{width}");
        }
    }

    #[test]
    fn the_cause_keeps_its_column_while_numbers_grow() {
        let mut fixture = fixture::burst();
        let open = Some(hold(Cause::BreakerOpen, Some(46.3)));
        let column = |fixture: &Fixture| row_text(fixture, open, 79).split("HELD").next().map(row::width);
        let before = column(&fixture);
        if let Some(burst) = fixture.state.calls.bursts.back_mut() {
            burst.counts.ended[Fate::Hit as usize] = 17;
            burst.counts.ended[Fate::Cancelled as usize] = 1;
            burst.counts.started += 11;
        }
        assert_eq!(column(&fixture), before);
    }

    #[test]
    fn the_cause_does_not_change_the_words_of_the_counts() {
        let mut fixture = fixture::burst();
        let counts = |fixture: &Fixture, held_by| {
            let text = row_text(fixture, held_by, 119);
            let cause = ["HELD BY", "flowing"].iter().find_map(|word| text.find(word));
            text[..cause.unwrap()].trim_end().to_owned()
        };
        for shared in [0, 9] {
            if let Some(burst) = fixture.state.calls.bursts.back_mut() {
                burst.counts.ended[Fate::Shared as usize] = shared;
                burst.counts.started += shared + 5;
            }
            let held = counts(&fixture, Some(hold(Cause::BreakerOpen, Some(46.3))));
            assert_eq!(counts(&fixture, None), held);
        }
    }

    #[test]
    fn every_cause_names_the_next_event() {
        let fixture = fixture::burst();
        let table = [
            (
                Cause::BreakerOpen,
                Some(46.3),
                "HELD BY  breaker OPEN, probe in 4.2s",
            ),
            (Cause::BreakerOpen, None, "HELD BY breaker OPEN, next call probes"),
            (
                Cause::BreakerForced,
                None,
                "HELD BY  breaker FORCED OPEN; [o] releases",
            ),
            (Cause::ProbeOut, None, "HELD BY  breaker HALF-OPEN, probes out"),
            (Cause::Paused, Some(172.0), "HELD BY  server pause, next in 2m10s"),
            (Cause::Tokens, Some(42.5), "HELD BY  token bucket, next in 0.4s"),
            (Cause::Requests, None, "HELD BY  request bucket"),
            (
                Cause::UserTokens,
                Some(42.5),
                "HELD BY  a user's token bucket, 0.4s",
            ),
            (Cause::UserRequests, None, "HELD BY  a user's request bucket"),
            (Cause::Slots, None, "HELD BY  slots, 3 calls wait"),
            (
                Cause::BackOff,
                Some(42.9),
                "HELD BY back-off, next attempt in 0.8s",
            ),
            (Cause::Loading, None, "HELD BY  model loading"),
            (Cause::Server, None, "HELD BY  slow upstream, 3 calls wait"),
        ];
        for (cause, until, text) in table {
            let row = row_text(&fixture, Some(hold(cause, until)), 80);
            assert!(row.ends_with(text), "{cause:?}: {row}");
        }
    }

    #[test]
    fn a_cause_names_the_user_of_an_own_bucket() {
        let mut fixture = fixture::burst();
        for waiter in fixture.state.limit.waiters.values_mut() {
            waiter.constraint = crate::event::Constraint::UserTokens;
        }
        let own = Some(hold(Cause::UserTokens, Some(42.5)));
        assert!(row_text(&fixture, own, 79).ends_with("HELD BY  ada's token bucket, 0.4s"));
        assert!(row_text(&fixture, own, 199).ends_with("HELD BY  ada's token bucket, next in 0.4s"));
    }

    #[test]
    fn a_flood_names_the_key_that_helps() {
        let mut fixture = users::flooded(crate::settings::QueueOrder::Fifo);
        let held = Some(hold(Cause::Slots, None));
        let row = |fixture: &Fixture, width| row_text(fixture, held, width);
        assert!(
            row(&fixture, 199)
                .ends_with("slots, 3 calls wait for one of 16; ben floods the queue, [t] share it fairly"),
            "{}",
            row(&fixture, 199)
        );
        // dropped without room
        assert!(row(&fixture, 79).ends_with("HELD BY slots, 3 calls wait for one of 16"));
        // the order of the queue does not help an open breaker
        let open = Some(hold(Cause::BreakerOpen, None));
        assert!(!row_text(&fixture, open, 199).contains("fairly"));
        fixture.ui.read_only = true;
        assert!(!row(&fixture, 199).contains("fairly"));
        fixture = users::flooded(crate::settings::QueueOrder::Fair);
        assert!(!row(&fixture, 199).contains("fairly"));
    }

    #[test]
    fn the_second_cause_is_in_brackets_if_there_is_room() {
        let fixture = fixture::burst();
        let verdict = Verdict {
            held_by: Some(hold(Cause::BreakerOpen, Some(46.3))),
            then: Some(hold(Cause::Tokens, Some(42.5))),
            flowing_per_s: None,
        };
        let row = |width| {
            lines(&fixture.view(), &verdict, width, false)
                .first()
                .map(Line::to_string)
        };
        let ends = |width, end: &str| row(width).is_some_and(|row| row.ends_with(end));
        assert!(ends(
            199,
            "HELD BY  breaker OPEN, next probe in 4.2s   (2nd: token bucket, 0.4s)"
        ));
        assert!(ends(119, "next probe in 4.2s   (2nd: token bucket, 0.4s)"));
        assert!(ends(79, "HELD BY  breaker OPEN, probe in 4.2s"));
    }

    #[test]
    fn the_row_without_a_cause() {
        let mut fixture = fixture::burst();
        assert!(row_text(&fixture, None, 79).ends_with("flowing 6.1/s"));
        fixture.state = crate::state::State::default();
        assert_eq!(
            row_text(&fixture, None, 79),
            "CALLS 0  ✓0 ◇0 ↻0 ✗0 ⊘0        nothing running"
        );
    }

    #[test]
    fn an_upstream_that_is_down_is_shown_while_idle() {
        let mut fixture = fixture::burst();
        fixture.state = crate::state::State::default();
        let message = "cannot reach 127.0.0.1:8033: nothing listens there".into();
        fixture.state.session.health = Some(UpstreamHealth::Unavailable { message });
        assert!(
            row_text(&fixture, None, 199)
                .ends_with("upstream down: cannot reach 127.0.0.1:8033: nothing listens there")
        );
        assert!(row_text(&fixture, None, 79).ends_with("upstream down, see the log"));
        fixture.state.session.health = Some(UpstreamHealth::Loading);
        assert!(row_text(&fixture, None, 79).ends_with("upstream is loading its model"));
    }

    #[test]
    fn a_call_after_the_burst_switches_to_the_counts_of_all_calls() {
        let mut fixture = fixture::burst();
        let mut chat = fixture::call(50, 42.0, 42.0, Fate::Answered);
        chat.origin = Origin::Chat;
        fixture.state.calls.recent.insert(chat.id, chat);
        assert!(
            row_text(&fixture, None, 79).starts_with("BURST 40/50"),
            "the burst still runs"
        );
        if let Some(burst) = fixture.state.calls.bursts.back_mut() {
            burst.all_made = true;
        }
        assert!(row_text(&fixture, None, 79).starts_with("CALLS 40  "));
    }

    #[test]
    fn counts_and_cause_on_two_rows() {
        let fixture = fixture::burst();
        let verdict = Verdict {
            held_by: Some(hold(Cause::Tokens, Some(42.5))),
            then: None,
            flowing_per_s: None,
        };
        let rows: Vec<String> = lines(&fixture.view(), &verdict, 40, true)
            .iter()
            .map(Line::to_string)
            .collect();
        assert_eq!(
            rows,
            [
                "BURST 40/50  ✓24 ◇7  ↻3  ✗2  ⊘4  …1 ",
                "HELD BY  token bucket, next in 0.4s"
            ]
        );
    }
}
