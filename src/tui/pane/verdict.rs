//! Row 2: is it getting through, and if not, what is holding it?
//!
//! First counts that add up to the number at the front (calls in the queue are extra), then one cause and
//! what happens next. The cause begins in a fixed column as long as the counts leave room, and it is given
//! in fewer words rather than cut.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::text::Line;

use crate::event::{Fate, Origin, UpstreamHealth};
use crate::state::{Burst, Calls, Cause, FateCounts, Hold, Verdict};
use crate::time::Timestamp;
use crate::tui::theme::{Role, Theme};
use crate::tui::view::View;

use super::{appearance, row, units, users};

/// From this width on words stand beside the marks.
const WORDS: usize = 110;
/// Columns of a usual cause with its countdown: `HELD BY  breaker OPEN, probe in 4.2s`.
const CAUSE_ROOM: usize = 36;
/// From this width on there is room for long words.
const LONG_WORDS: usize = 160;

/// Columns of a user's name in a cause.
const NAME: usize = 12;

/// Draws the verdict on one row, or on two where there are two: first the counts, then the cause.
pub fn render(view: &View<'_>, area: Rect, buf: &mut Buffer) {
    let verdict = view.state.verdict(view.now);
    let area = row_area(area);
    let lines = lines(view, &verdict, usize::from(area.width), area.height > 1);
    row::draw_all(&lines, area, buf);
}

/// The row without the blank at its front; all of it where it is very short.
fn row_area(area: Rect) -> Rect {
    let blank = u16::from(area.width > 40);
    Rect {
        x: area.x + blank,
        width: area.width - blank,
        ..area
    }
}

/// The sentence for a verdict.
fn lines(view: &View<'_>, verdict: &Verdict, width: usize, two_rows: bool) -> Vec<Line<'static>> {
    let theme = view.theme;
    let tally = Tally::of(&view.state.calls);
    let (full, brief) = hold_wordings(view, verdict);
    if two_rows {
        let counts = row::first_fit(theme, [tally.marks(theme), tally.head(theme)], width);
        return vec![
            counts,
            row::first_fit(theme, full.into_iter().chain(brief), width),
        ];
    }
    // rather fewer words beside the marks than a cause without its countdown
    for holds in [&full, &brief] {
        for (counts, column) in tally.wordings(theme, width) {
            let tight = counts.width() + 2;
            for start in [tight.max(column), tight] {
                if let Some(hold) = holds.iter().find(|hold| start + hold.width() <= width) {
                    let mut line = counts.clone();
                    line.push_span(row::plain(" ".repeat(start - counts.width())));
                    line.spans.extend(hold.spans.iter().cloned());
                    return vec![line];
                }
            }
        }
    }
    vec![row::first_fit(
        theme,
        [tally.marks(theme), tally.head(theme)],
        width,
    )]
}

// === counts ===

/// The counts of the burst that is or was last, or of all calls.
struct Tally<'a> {
    burst: Option<&'a Burst>,
    counts: &'a FateCounts,
}

impl<'a> Tally<'a> {
    /// The burst's as long as nothing newer was asked, all calls' otherwise.
    fn of(calls: &'a Calls) -> Self {
        let newest = calls.recent.values().next_back().map(|call| call.origin);
        let burst = calls.burst.as_ref().filter(|burst| match newest {
            Some(Origin::Burst { burst: number }) => number == burst.burst,
            Some(Origin::Chat | Origin::Library) => !burst.all_made,
            None => true,
        });
        Self {
            burst,
            counts: burst.map_or(&calls.totals, |burst| &burst.counts),
        }
    }

    /// `BURST 40/50` or `CALLS 12`: admitted or refused so far.
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

    /// Mark, short word, long word and number of each count. They sum to the number of the head, but for
    /// those in the queue. The first five are always there, the others where they are not zero.
    fn counts(&self, theme: &Theme) -> Vec<Count> {
        let glyphs = theme.glyphs;
        let ended = |fate| self.counts.ended(fate);
        let waiting = self.counts.queued + self.counts.backing_off;
        let in_flight = appearance::running(self.counts).saturating_sub(waiting);
        let count = |glyph, words: [&'static str; 2], role, number, always| Count {
            glyph,
            words,
            role,
            number,
            always,
        };
        vec![
            count(glyphs.ok, ["ok", "ok"], Role::Ok, ended(Fate::Answered), true),
            count(
                glyphs.streaming,
                ["running", "running"],
                Role::Text,
                in_flight,
                false,
            ),
            count(glyphs.hit, ["hit", "cached"], Role::Hit, ended(Fate::Hit), true),
            count(
                glyphs.shared,
                ["shared", "shared"],
                Role::Hit,
                ended(Fate::Shared),
                false,
            ),
            count(
                glyphs.retry,
                ["retrying", "retrying"],
                Role::Wait,
                self.counts.backing_off,
                true,
            ),
            count(
                glyphs.failed,
                ["failed", "failed"],
                Role::Bad,
                ended(Fate::Failed),
                true,
            ),
            count(
                glyphs.cut,
                ["cut", "cut off"],
                Role::Bad,
                ended(Fate::Interrupted),
                false,
            ),
            count(
                glyphs.refused,
                ["refused", "refused"],
                Role::Refused,
                ended(Fate::CircuitOpen) + ended(Fate::RateLimited),
                true,
            ),
            count(
                glyphs.stopped,
                ["stopped", "stopped"],
                Role::Muted,
                ended(Fate::Cancelled),
                false,
            ),
            count(
                glyphs.queued,
                ["queued", "queued"],
                Role::Wait,
                self.counts.queued,
                false,
            ),
        ]
    }

    /// Counts in few or many words, the best first, each with the column at which the cause begins where
    /// that is possible.
    fn wordings(&self, theme: &Theme, width: usize) -> Vec<(Line<'static>, usize)> {
        let mut wordings = Vec::new();
        if width >= LONG_WORDS {
            wordings.push((
                self.line(theme, 3, |count| format!("{} {} ", count.glyph, count.words[1])),
                0,
            ));
        }
        if width >= WORDS {
            for gap in [2, 1] {
                let line = self.line(theme, gap, |count| format!("{} {} ", count.glyph, count.words[0]));
                // whether there are words must not hang on the cause: they would come and go with it
                if line.width() + 2 + CAUSE_ROOM <= width {
                    wordings.push((line, 0));
                }
            }
        }
        // room for two of the rare counts
        let head = self.head(theme).width();
        wordings.push((self.marks(theme), head + 3 + 7 * (self.digits() + 2)));
        wordings.push((self.head(theme), 0));
        wordings
    }

    /// `BURST 40/50  ✓24 ◇7  ↻3`.
    fn marks(&self, theme: &Theme) -> Line<'static> {
        self.line(theme, 1, |count| count.glyph.to_owned())
    }

    /// The head and the counts, `gap` blanks between them.
    fn line(&self, theme: &Theme, gap: usize, label: impl Fn(&Count) -> String) -> Line<'static> {
        let mut line = self.head(theme);
        let digits = self.digits();
        for (index, count) in self.counts(theme).into_iter().filter(Count::is_shown).enumerate() {
            let text = format!("{}{}", label(&count), count.number);
            // a number keeps its place while it grows, without a gap between it and its mark
            let blanks = digits.saturating_sub(count.number.to_string().len());
            let before = if index == 0 { gap.max(2) } else { gap };
            line.push_span(row::plain(" ".repeat(before)));
            let role = if count.number == 0 {
                Role::Muted
            } else {
                count.role
            };
            line.push_span(row::piece(theme, role, text));
            line.push_span(row::plain(" ".repeat(blanks)));
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

/// A number with its mark.
struct Count {
    glyph: &'static str,
    words: [&'static str; 2],
    role: Role,
    number: u64,
    always: bool,
}

impl Count {
    fn is_shown(&self) -> bool {
        self.always || self.number > 0
    }
}

// === cause ===

/// What holds calls, the longest wording first: those that say what happens next, and briefer ones.
fn hold_wordings(view: &View<'_>, verdict: &Verdict) -> (Vec<Line<'static>>, Vec<Line<'static>>) {
    let theme = view.theme;
    if let Some(storm) = storm_wordings(view, verdict) {
        return storm;
    }
    let Some(hold) = verdict.held_by else {
        return free_wordings(view, verdict);
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
        | Cause::Server => Role::Wait,
    };
    let texts = cause_wordings(view, hold);
    let worded = |gap: &'static str, text: &String| {
        let head = row::piece(theme, Role::Strong, "HELD BY");
        Line::from(vec![head, row::plain(gap), row::piece(theme, role, text.clone())])
    };
    let mut full: Vec<Line<'static>> = flood(view, hold, texts.first())
        .iter()
        .map(|text| worded("  ", text))
        .collect();
    if let (Some(text), Some(then)) = (texts.first(), verdict.then) {
        let mut both = worded("  ", text);
        let second = format!("   (2nd: {})", second(then, view.now));
        both.push_span(row::piece(theme, Role::Muted, second));
        full.push(both);
    }
    let (long, short) = texts.split_at(texts.len().min(2));
    full.extend(
        long.iter()
            .flat_map(|text| [worded("  ", text), worded(" ", text)]),
    );
    let bare = |text: &String| Line::from(row::piece(theme, role, text.clone()));
    let mut brief: Vec<Line<'static>> = long.iter().map(bare).collect();
    brief.extend(short.iter().flat_map(|text| [worded(" ", text), bare(text)]));
    (full, brief)
}

/// A retry storm, where no guard holds the calls: then waiting for a slot, a next try or the server is what the
/// storm looks like, and not its cause.
fn storm_wordings(view: &View<'_>, verdict: &Verdict) -> Option<(Vec<Line<'static>>, Vec<Line<'static>>)> {
    if appearance::running(&view.state.calls.totals) == 0 {
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
    let (tries, helped) = (storm.amplification, storm.helped * 100.0);
    let line = |text: String| Line::from(row::piece(view.theme, Role::Bad, text));
    let full = vec![
        line(format!(
            "RETRY STORM  {tries:.1} tries a call, {helped:.0} % of retries help"
        )),
        line(format!("RETRY STORM  {tries:.1} tries a call")),
    ];
    Some((full, vec![line("RETRY STORM".into())]))
}

/// What there is to say where nothing holds.
fn free_wordings(view: &View<'_>, verdict: &Verdict) -> (Vec<Line<'static>>, Vec<Line<'static>>) {
    let theme = view.theme;
    if appearance::running(&view.state.calls.totals) == 0 {
        return idle_wordings(view);
    }
    let flowing = Line::from(row::piece(theme, Role::Ok, "flowing"));
    match verdict.flowing_per_s.filter(|rate| rate.is_finite()) {
        Some(rate) => {
            let with_rate = Line::from(row::piece(theme, Role::Ok, format!("flowing {rate:.1}/s")));
            (vec![with_rate], vec![flowing])
        }
        None => (vec![flowing], Vec::new()),
    }
}

/// Nothing runs: then what would happen to the next call is the news, if the upstream is not ready for it.
fn idle_wordings(view: &View<'_>) -> (Vec<Line<'static>>, Vec<Line<'static>>) {
    let line = |role, text: String| Line::from(row::piece(view.theme, role, text));
    match &view.state.session.health {
        Some(UpstreamHealth::Trouble { message }) => (
            vec![
                line(Role::Bad, format!("upstream down: {message}")),
                line(Role::Bad, "upstream down, see the log".into()),
            ],
            vec![line(Role::Bad, "upstream down".into())],
        ),
        Some(UpstreamHealth::Loading) => (
            vec![line(Role::Wait, "upstream loads its model".into())],
            vec![line(Role::Wait, "model loading".into())],
        ),
        Some(UpstreamHealth::Ready { .. }) | None => {
            (vec![line(Role::Muted, "nothing running".into())], Vec::new())
        }
    }
}

/// A cause and what comes next, the longest wording first. No wording ends in the middle of a thought.
fn cause_wordings(view: &View<'_>, hold: Hold) -> Vec<String> {
    let left = hold
        .until
        .filter(|until| *until > view.now)
        .map(|until| units::countdown(view.now.until(until)));
    let calls = hold.calls;
    let slots = view.state.session.policy.limit.concurrency;
    let verb = if calls == 1 { "waits" } else { "wait" };
    match (hold.cause, left) {
        (Cause::BreakerOpen, Some(left)) => vec![
            format!("breaker OPEN, next probe in {left}"),
            format!("breaker OPEN, probe in {left}"),
            format!("breaker OPEN {left}"),
            "breaker OPEN".into(),
            "OPEN".into(),
        ],
        (Cause::BreakerOpen, None) => vec![
            "breaker OPEN, the next call is the probe".into(),
            "breaker OPEN, next call probes".into(),
            "breaker OPEN".into(),
            "OPEN".into(),
        ],
        (Cause::BreakerForced, _) => vec![
            "breaker FORCED OPEN by you, o lets go".into(),
            "breaker FORCED OPEN, o lets go".into(),
            "breaker FORCED OPEN".into(),
            "FORCED OPEN".into(),
        ],
        (Cause::ProbeOut, _) => vec![
            "breaker HALF-OPEN, its probe is out".into(),
            "breaker HALF-OPEN, probe out".into(),
            "HALF-OPEN".into(),
        ],
        (Cause::Paused, left) => counted("server's pause", "next admit", left),
        (Cause::Tokens, left) => counted("tokens short", "next admit", left),
        (Cause::Requests, left) => counted("requests short", "next admit", left),
        (Cause::UserTokens, left) => own_bucket(view, "tokens", left),
        (Cause::UserRequests, left) => own_bucket(view, "requests", left),
        (Cause::Slots, _) => vec![
            format!("parallel limit, {calls} {verb} for one of {slots} slots"),
            format!("parallel limit, {calls} {verb}"),
            "parallel limit".into(),
        ],
        (Cause::BackOff, left) => counted("back-off", "next try", left),
        (Cause::Loading, _) => vec!["upstream loads its model".into(), "model loading".into()],
        (Cause::Server, _) => vec![
            format!("slow server, {calls} {verb} for a first token"),
            format!("slow server, {calls} {verb}"),
            "slow server".into(),
        ],
    }
}

/// `tokens short, next admit 0.4s`, and shorter.
fn counted(name: &str, next: &str, left: Option<String>) -> Vec<String> {
    let mut texts = Vec::new();
    if let Some(left) = left {
        texts.push(format!("{name}, {next} {left}"));
        texts.push(format!("{name} {left}"));
    }
    texts.push(name.to_owned());
    texts
}

/// The same for the bucket of one user, with its name.
fn own_bucket(view: &View<'_>, unit: &str, left: Option<String>) -> Vec<String> {
    let Some(user) = view.state.held_user(view.now) else {
        return counted(&format!("a user's own {unit} short"), "next", left);
    };
    let user = users::name(view, user, NAME);
    counted(&format!("{user}'s own {unit} short"), "next", left)
}

/// What would help others behind a flood, where something would and can be pressed.
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
    Some(format!("{}; {user} floods, t shares the queue fairly", text?))
}

/// The second cause in a word and a number.
fn second(hold: Hold, now: Timestamp) -> String {
    let name = match hold.cause {
        Cause::BreakerOpen => "breaker open",
        Cause::BreakerForced => "breaker forced open",
        Cause::ProbeOut => "probe out",
        Cause::Paused => "server's pause",
        Cause::Tokens => "token bucket",
        Cause::Requests => "request bucket",
        Cause::UserTokens => "a user's token bucket",
        Cause::UserRequests => "a user's request bucket",
        Cause::Slots => "parallel limit",
        Cause::BackOff => "back-off",
        Cause::Loading => "model loading",
        Cause::Server => "slow server",
    };
    match hold.until.filter(|until| *until > now) {
        Some(until) => format!("{name}, {}", units::countdown(now.until(until))),
        None => name.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixture::{self, Scene, at};
    use super::*;

    /// The sentence at a width, for a verdict given by hand.
    fn sentence(scene: &Scene, held_by: Option<Hold>, width: usize) -> String {
        let verdict = Verdict {
            held_by,
            then: None,
            flowing_per_s: Some(6.1),
        };
        let lines = lines(&scene.view(), &verdict, width, false);
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
        let scene = fixture::burst();
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
                "BURST 40/50  ✓ ok 24 ◇ hit 7  ↻ retrying 3  ✗ failed 2  ⊘ refused 4  … queued 1   \
                 HELD BY  breaker OPEN, probe in 4.2s",
            ),
            (
                199,
                "BURST 40/50   ✓ ok 24   ◇ cached 7    ↻ retrying 3    ✗ failed 2    ⊘ refused 4    … queued 1   \
                 HELD BY  breaker OPEN, next probe in 4.2s",
            ),
        ];
        for (width, text) in table {
            assert_eq!(sentence(&scene, open, width), text, "{width}");
        }
    }

    #[test]
    fn the_cause_does_not_move_while_numbers_grow() {
        let mut scene = fixture::burst();
        let open = Some(hold(Cause::BreakerOpen, Some(46.3)));
        let column = |scene: &Scene| sentence(scene, open, 79).split("HELD").next().map(row::width);
        let before = column(&scene);
        if let Some(burst) = &mut scene.state.calls.burst {
            burst.counts.ended[Fate::Hit as usize] = 17;
            burst.counts.ended[Fate::Cancelled as usize] = 1;
            burst.counts.started += 11;
        }
        assert_eq!(column(&scene), before);
    }

    #[test]
    fn the_counts_have_the_same_words_whatever_the_cause() {
        let mut scene = fixture::burst();
        let counts = |scene: &Scene, held_by| {
            let sentence = sentence(scene, held_by, 119);
            let cause = ["HELD BY", "flowing"].iter().find_map(|word| sentence.find(word));
            sentence[..cause.unwrap()].trim_end().to_owned()
        };
        for shared in [0, 9] {
            if let Some(burst) = &mut scene.state.calls.burst {
                burst.counts.ended[Fate::Shared as usize] = shared;
                burst.counts.started += shared + 5;
            }
            let held = counts(&scene, Some(hold(Cause::BreakerOpen, Some(46.3))));
            assert_eq!(counts(&scene, None), held);
        }
    }

    #[test]
    fn every_cause_says_what_comes_next() {
        let scene = fixture::burst();
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
                "HELD BY breaker FORCED OPEN, o lets go",
            ),
            (Cause::ProbeOut, None, "HELD BY  breaker HALF-OPEN, probe out"),
            (Cause::Paused, Some(172.0), "HELD BY  server's pause 2m10s"),
            (
                Cause::Tokens,
                Some(42.5),
                "HELD BY  tokens short, next admit 0.4s",
            ),
            (Cause::Requests, None, "HELD BY  requests short"),
            (
                Cause::UserTokens,
                Some(42.5),
                "HELD BY a user's own tokens short 0.4s",
            ),
            (Cause::UserRequests, None, "HELD BY  a user's own requests short"),
            (Cause::Slots, None, "HELD BY  parallel limit, 3 wait"),
            (Cause::BackOff, Some(42.9), "HELD BY  back-off, next try 0.8s"),
            (Cause::Loading, None, "HELD BY  upstream loads its model"),
            (Cause::Server, None, "HELD BY  slow server, 3 wait"),
        ];
        for (cause, until, text) in table {
            let row = sentence(&scene, Some(hold(cause, until)), 80);
            assert!(row.ends_with(text), "{cause:?}: {row}");
        }
    }

    #[test]
    fn whose_own_bucket_is_short_is_said() {
        let mut scene = fixture::burst();
        for waiter in scene.state.limit.waiters.values_mut() {
            waiter.constraint = crate::event::Constraint::UserTokens;
        }
        let own = Some(hold(Cause::UserTokens, Some(42.5)));
        assert!(sentence(&scene, own, 79).ends_with("HELD BY  ada's own tokens short 0.4s"));
        assert!(sentence(&scene, own, 199).ends_with("HELD BY  ada's own tokens short, next 0.4s"));
    }

    #[test]
    fn a_flood_is_told_with_what_helps() {
        let mut scene = users::flooded(crate::settings::QueueOrder::Fifo);
        let held = Some(hold(Cause::Slots, None));
        let told = |scene: &Scene, width| sentence(scene, held, width);
        assert!(
            told(&scene, 199).ends_with("3 wait for one of 16 slots; ben floods, t shares the queue fairly"),
            "{}",
            told(&scene, 199)
        );
        // where there is no room for it, it is as it was
        assert!(told(&scene, 79).ends_with("HELD BY  parallel limit, 3 wait"));
        // the breaker is not helped by turns
        let open = Some(hold(Cause::BreakerOpen, None));
        assert!(!sentence(&scene, open, 199).contains("fairly"));
        scene.ui.read_only = true;
        assert!(!told(&scene, 199).contains("fairly"));
        scene = users::flooded(crate::settings::QueueOrder::Fair);
        assert!(!told(&scene, 199).contains("fairly"));
    }

    #[test]
    fn the_second_cause_stands_in_brackets_where_there_is_room() {
        let scene = fixture::burst();
        let verdict = Verdict {
            held_by: Some(hold(Cause::BreakerOpen, Some(46.3))),
            then: Some(hold(Cause::Tokens, Some(42.5))),
            flowing_per_s: None,
        };
        let row = |width| {
            lines(&scene.view(), &verdict, width, false)
                .first()
                .map(Line::to_string)
        };
        let ends = |width, end: &str| row(width).is_some_and(|row| row.ends_with(end));
        assert!(ends(
            199,
            "HELD BY  breaker OPEN, next probe in 4.2s   (2nd: token bucket, 0.4s)"
        ));
        assert!(ends(119, "HELD BY  breaker OPEN, probe in 4.2s"));
    }

    #[test]
    fn without_a_cause_it_says_so() {
        let mut scene = fixture::burst();
        assert!(sentence(&scene, None, 79).ends_with("flowing 6.1/s"));
        scene.state = crate::state::State::default();
        assert_eq!(
            sentence(&scene, None, 79),
            "CALLS 0  ✓0 ◇0 ↻0 ✗0 ⊘0        nothing running"
        );
    }

    #[test]
    fn an_upstream_that_is_down_is_told_before_anything_runs() {
        let mut scene = fixture::burst();
        scene.state = crate::state::State::default();
        let message = "cannot reach 127.0.0.1:8033: nothing listens there".into();
        scene.state.session.health = Some(UpstreamHealth::Trouble { message });
        assert!(
            sentence(&scene, None, 199)
                .ends_with("upstream down: cannot reach 127.0.0.1:8033: nothing listens there")
        );
        assert!(sentence(&scene, None, 79).ends_with("upstream down, see the log"));
        scene.state.session.health = Some(UpstreamHealth::Loading);
        assert!(sentence(&scene, None, 79).ends_with("upstream loads its model"));
    }

    #[test]
    fn a_chat_after_the_burst_is_counted_with_all_calls() {
        let mut scene = fixture::burst();
        let mut chat = fixture::call(50, 42.0, 42.0, Fate::Answered);
        chat.origin = Origin::Chat;
        scene.state.calls.recent.insert(chat.id, chat);
        assert!(
            sentence(&scene, None, 79).starts_with("BURST 40/50"),
            "the burst still runs"
        );
        if let Some(burst) = &mut scene.state.calls.burst {
            burst.all_made = true;
        }
        assert!(sentence(&scene, None, 79).starts_with("CALLS 40  "));
    }

    #[test]
    fn two_rows_where_one_is_too_narrow() {
        let scene = fixture::burst();
        let verdict = Verdict {
            held_by: Some(hold(Cause::Tokens, Some(42.5))),
            then: None,
            flowing_per_s: None,
        };
        let rows: Vec<String> = lines(&scene.view(), &verdict, 40, true)
            .iter()
            .map(Line::to_string)
            .collect();
        assert_eq!(
            rows,
            [
                "BURST 40/50  ✓24 ◇7  ↻3  ✗2  ⊘4  …1 ",
                "HELD BY  tokens short, next admit 0.4s"
            ]
        );
    }
}
