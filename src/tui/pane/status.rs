//! Row 2: the state that matters most as a chip and a sentence. `counts` draws the row below.
//!
//! ```text
//!   ⊘ BREAKER OPEN  calls are refused; next probe in 6.4 s                    11 refused since 00:42
//! ```
//!
//! The chip is reversed, the only emphasis of the screen; without trouble it is absent.

use std::time::Duration;

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::text::Line;

use crate::event::{Constraint, FailureClass};
use crate::state::{Status, Storm, StormGuard, Trouble, WINDOW};
use crate::time::Timestamp;
use crate::tui::theme::Role;
use crate::tui::view::View;

use super::counts::{burst_text, counts_line};
use super::{retries, row, units, users};

/// Columns of a user's name.
const NAME: usize = 12;
/// Columns between the left part of a row and the remark at its right end.
pub(super) const GAP: usize = 3;

/// Draws the chip and the sentence; on two rows the sentence has the second one.
pub(crate) fn sentence(view: &View<'_>, area: Rect, buf: &mut Buffer) {
    let area = area.intersection(buf.area);
    let width = usize::from(area.width);
    let Wording {
        chip,
        sentences,
        remark,
    } = wording(view);
    let theme = view.theme;
    let mut line = Line::from(" ");
    if let Some((role, glyph, words)) = chip {
        line.push_span(row::piece(theme, role, format!(" {glyph} {words} ")));
        line.push_span(row::plain(" "));
    }
    let bold = |text: String| Line::from(row::piece(theme, Role::Strong, text));
    let sentences = sentences.into_iter().map(bold);
    if area.height > 1 && line.width() > 1 {
        let below = row::first_fit(theme, sentences, width);
        row::draw_all(&[line, below], area, buf);
        return;
    }
    let chosen = row::first_fit(theme, sentences, width.saturating_sub(line.width()));
    line.spans.extend(chosen.spans);
    // the row of the counts shows the burst, if it has room
    let is_below = remark == burst_text(view) && counts_line(view, width).to_string().contains(&remark);
    let remark = if is_below { String::new() } else { remark };
    let line = row::apart(line, row::muted(theme, with_blank(remark)), GAP, width);
    row::draw(&line, 0, area, buf);
}

/// The chip of a state, its sentence in wordings, the longest first, and a remark.
struct Wording {
    /// Role, glyph and words; `None` in calm.
    chip: Option<(Role, &'static str, &'static str)>,
    sentences: Vec<String>,
    remark: String,
}

impl Wording {
    fn calm(sentence: impl Into<String>, remark: String) -> Self {
        Self {
            chip: None,
            sentences: vec![sentence.into()],
            remark,
        }
    }
}

/// With a blank before the edge of the screen; nothing for nothing.
pub(super) fn with_blank(text: String) -> String {
    if text.is_empty() { text } else { format!("{text} ") }
}

/// The time of an event as on the clock of the title.
fn clock(at: Timestamp) -> String {
    units::clock(at.since(Timestamp::ZERO), false)
}

#[expect(clippy::too_many_lines, reason = "one table")]
fn wording(view: &View<'_>) -> Wording {
    let glyphs = view.theme.glyphs;
    let state = view.state;
    let left = |until: Timestamp| units::seconds(view.now.until(until));
    let refused = || match state.breaker().refused_since_open {
        0 => String::new(),
        calls => format!("{calls} refused since {}", clock(state.breaker().since)),
    };
    let status = match &view.ui.shown {
        Some(shown) => shown.status.clone(),
        None => state.status(view.now),
    };
    let (chip, sentences, remark) = match status {
        Status::ForcedOpen => (
            (Role::RefusedChip, glyphs.refused, "FORCED OPEN"),
            vec![
                "by you: calls are refused; o releases it".into(),
                "by you; o releases it".into(),
            ],
            refused(),
        ),
        Status::Unusable(trouble) => unusable(view, &trouble),
        Status::BreakerOpen { probe_at } => {
            let next = match probe_at {
                Some(at) => format!("next probe in {}", left(at)),
                None => "the next call is the probe".into(),
            };
            let sentences = match state.breakers.shown_name() {
                Some(model) => vec![format!("calls of {model} are refused; {next}"), next],
                None => vec![format!("calls are refused; {next}"), next],
            };
            (
                (Role::RefusedChip, glyphs.refused, "BREAKER OPEN"),
                sentences,
                refused(),
            )
        }
        Status::HalfOpen { out, good, needed } => {
            let probes = match out {
                0 => "the next call is a probe".to_owned(),
                1 => "one probe is out".to_owned(),
                out => format!("{out} probes are out"),
            };
            (
                (Role::HeldChip, glyphs.half_open, "HALF-OPEN"),
                match state.breakers.shown_name() {
                    Some(model) => vec![
                        format!("{model}: {probes}, {good} of {needed} answered"),
                        format!("{probes}, {good} of {needed} answered"),
                    ],
                    None => vec![format!("{probes}, {good} of {needed} answered")],
                },
                String::new(),
            )
        }
        Status::Storm(storm) => storm_wording(view, &storm),
        Status::Loading => (
            (Role::HeldChip, glyphs.queued, "MODEL LOADING"),
            vec!["the upstream answers when its model is loaded".into()],
            String::new(),
        ),
        Status::Failing { share } => {
            let share = units::rate((share * 100.0).round() / 100.0);
            let failed = format!("{share} of attempts failed");
            (
                (Role::BrokenChip, glyphs.failed, "FAILING"),
                vec![format!("{failed} in the last 30 s"), failed],
                String::new(),
            )
        }
        Status::Paused { until } => {
            let rest = format!("Retry-After: {} left", left(until));
            let sentences = match state.limit.waiters.len() as u64 {
                0 => vec![rest],
                calls => vec![format!("{rest}; {} until then", wait(calls)), rest],
            };
            (
                (Role::HeldChip, glyphs.queued, "PAUSED BY SERVER"),
                sentences,
                String::new(),
            )
        }
        Status::Waiting { calls, head, next } => (
            (Role::HeldChip, glyphs.queued, "WAITING"),
            waiting(view, calls, head.map(|(_, constraint)| constraint), next),
            Some(flood(view))
                .filter(|text| !text.is_empty())
                .unwrap_or_else(|| burst_text(view)),
        ),
        Status::Slow { calls, longest } => {
            let longest = units::seconds(longest);
            (
                (Role::HeldChip, glyphs.queued, "UPSTREAM SLOW"),
                vec![
                    format!("{} for a first token, longest {longest}", wait(calls)),
                    format!("{}, longest {longest}", wait(calls)),
                ],
                String::new(),
            )
        }
        Status::BackingOff { calls, next } => {
            let verb = if calls == 1 { "retries" } else { "retry" };
            (
                (Role::HeldChip, glyphs.retry, "BACKING OFF"),
                vec![format!(
                    "{} {verb}, next in {}",
                    units::count(calls, "call"),
                    left(next)
                )],
                String::new(),
            )
        }
        Status::Running { answers_per_s } => {
            return Wording::calm(running(view, answers_per_s), burst_text(view));
        }
        Status::Idle { since } => {
            return Wording::calm(
                format!("Idle: last call ended at {}", clock(since)),
                burst_text(view),
            );
        }
        Status::Ready => {
            let sentence = match &state.session.gateway {
                Some(address) => {
                    format!(
                        "Ready. Set the base URL of your app to http://{}/v1",
                        address.single_line()
                    )
                }
                None => "Ready. Nothing has been sent yet.".to_owned(),
            };
            return Wording::calm(sentence, cost(view));
        }
    };
    Wording {
        chip: Some(chip),
        sentences,
        remark,
    }
}

type Chip = ((Role, &'static str, &'static str), Vec<String>, String);

/// `12 calls wait`.
fn wait(calls: u64) -> String {
    let verb = if calls == 1 { "waits" } else { "wait" };
    format!("{} {verb}", units::count(calls, "call"))
}

fn unusable(view: &View<'_>, trouble: &Trouble) -> Chip {
    use FailureClass as C;
    let words = match trouble.class {
        Some(C::Auth) => "API KEY REJECTED",
        Some(C::Quota) => "QUOTA USED UP",
        Some(C::NotFound) => "NOT FOUND",
        Some(C::Connect | C::ConnectTimeout | C::Dns) => "UPSTREAM DOWN",
        _ => "UPSTREAM UNUSABLE",
    };
    let message = trouble.message.single_line();
    // the remedy follows the semicolon
    let short = message.split("; ").next().unwrap_or_default().to_owned();
    let chip = (Role::BrokenChip, view.theme.glyphs.failed, words);
    (chip, vec![message, short], String::new())
}

fn storm_wording(view: &View<'_>, storm: &Storm) -> Chip {
    let window = view.state.timeline.last(view.now, Duration::from_secs(WINDOW));
    let (helped, ended) = (window.helped, u64::from(window.helped) + u64::from(window.wasted));
    let load = format!("{} attempts per call", retries::mean(storm.amplification));
    let all = units::count(ended, "retry");
    let some = if helped == 0 {
        "none".to_owned()
    } else {
        helped.to_string()
    };
    let held = match &storm.held_by {
        StormGuard::Breaker => "the breaker limits it".to_owned(),
        StormGuard::Budget => "the retry budget is empty and limits it".to_owned(),
        StormGuard::BudgetLeft { left, .. } => format!("the retry budget allows {left:.0} more"),
        StormGuard::Nothing(_) => "no retry budget limits it".to_owned(),
    };
    (
        (Role::BrokenChip, view.theme.glyphs.failed, "RETRY STORM"),
        vec![
            format!("{load}; {some} of the {all} in the last 30 s got an answer"),
            format!("{load}; {some} of the {all} got an answer"),
            load,
        ],
        format!("since {} {} {held}", clock(storm.since), view.theme.glyphs.dot),
    )
}

/// The queue: the cause that holds its head, and the next admission.
fn waiting(
    view: &View<'_>,
    calls: u64,
    constraint: Option<Constraint>,
    next: Option<Timestamp>,
) -> Vec<String> {
    let wait = wait(calls);
    let Some(constraint) = constraint else {
        return vec![wait];
    };
    let what = match constraint {
        Constraint::Requests => "requests".to_owned(),
        Constraint::Tokens => "tokens".to_owned(),
        Constraint::Slots => format!("one of {} slots", view.state.session.policy.limit.concurrency),
        Constraint::Paused => "the end of the pause".to_owned(),
        Constraint::UserRequests | Constraint::UserTokens => {
            let bucket = if constraint == Constraint::UserTokens {
                "tokens"
            } else {
                "requests"
            };
            let head = view
                .state
                .limit
                .head
                .and_then(|head| view.state.calls.recent.get(&head.call));
            match head {
                Some(call) => format!("{}'s own {bucket}", users::name(view, &call.user, NAME)),
                None => format!("a user's own {bucket}"),
            }
        }
    };
    let held = format!("{wait} for {what}");
    match next {
        Some(at) => {
            let left = units::seconds(view.now.until(at));
            vec![
                format!("{held}; next one admitted in {left}"),
                format!("{held}; next in {left}"),
                held,
            ]
        }
        None => vec![held],
    }
}

/// The key that helps callers behind a flooding user, if it would help.
fn flood(view: &View<'_>) -> String {
    let noise = view.state.flood(view.now).filter(|_| !view.ui.read_only);
    noise.map_or_else(String::new, |noise| {
        let user = users::name(view, &noise.user, NAME);
        format!("{user} floods the queue; t shares it fairly")
    })
}

fn running(view: &View<'_>, answers_per_s: Option<f64>) -> String {
    match answers_per_s {
        Some(rate) if rate > 0.0 => format!("Flowing: {rate:.1} answers per second in the last 5 s"),
        Some(_) => "No call was answered in the last 5 s".to_owned(),
        None => {
            let calls = units::count(view.state.calls.totals.running(), "call");
            format!("{calls} in flight; none ended in the last 5 s")
        }
    }
}

/// The cost of calls to this upstream, in words.
fn cost(view: &View<'_>) -> String {
    match &view.state.session.upstream {
        Some(upstream) if upstream.simulated => "built-in simulator: no network, no cost".to_owned(),
        Some(upstream) if upstream.loopback => "calls stay on this machine".to_owned(),
        Some(upstream) => format!("calls go to {} and may cost money", upstream.host.single_line()),
        None => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::counts::counts;
    use super::super::fixture::{self, Fixture, at};
    use super::*;
    use crate::event::{BreakerMode, BreakerState, CallId, Fate, UpstreamInfo};
    use crate::state::{Burst, QueueHead, Waiter};

    fn sentence_at(fixture: &Fixture, width: u16) -> String {
        fixture::rows(fixture, width, 1, sentence).concat()
    }

    fn counts_at(fixture: &Fixture, width: u16) -> String {
        fixture::rows(fixture, width, 1, counts).concat()
    }

    /// 236 calls, and an open breaker.
    fn outage() -> Fixture {
        let mut fixture = Fixture {
            now: at(45.6),
            ..Fixture::default()
        };
        let totals = &mut fixture.state.calls.totals;
        totals.started = 236;
        for (fate, number) in [
            (Fate::Answered, 121),
            (Fate::Hit, 45),
            (Fate::Shared, 1),
            (Fate::Failed, 13),
            (Fate::CircuitOpen, 56),
        ] {
            totals.ended[fate as usize] = number;
        }
        let breaker = fixture.state.breakers.first_mut();
        breaker.state = BreakerState::Open;
        breaker.since = at(42.0);
        breaker.until = Some(at(52.0));
        breaker.refused_since_open = 11;
        fixture
    }

    /// Calls 31 to 42 wait, call 31 first.
    fn queue(constraint: Constraint, next: Option<f64>) -> Fixture {
        let mut fixture = Fixture {
            now: at(42.1),
            ..Fixture::default()
        };
        let waiter = Waiter {
            since: at(41.0),
            needs: 60,
        };
        fixture.state.limit.waiters = (31..43).map(|id| (CallId(id), waiter)).collect();
        fixture.state.limit.head = Some(QueueHead {
            call: CallId(31),
            constraint,
            ready_at: next.map(at),
        });
        fixture.state.calls.totals.started = 12;
        fixture.state.calls.totals.queued = 12;
        fixture
    }

    #[test]
    fn the_rows_of_the_outage() {
        let fixture = outage();
        assert_eq!(
            sentence_at(&fixture, 80),
            "  ⊘ BREAKER OPEN  calls are refused; next probe in 6.4 s"
        );
        assert_eq!(
            sentence_at(&fixture, 120),
            "  ⊘ BREAKER OPEN  calls are refused; next probe in 6.4 s                                         \
             11 refused since 00:42"
        );
        assert_eq!(
            counts_at(&fixture, 80),
            " 236 calls ✓121 answered ◇45 cached ≈1 shared ✗13 failed ⊘56 refused ▶0 running"
        );
        assert_eq!(
            counts_at(&fixture, 120),
            " 236 calls   ✓ 121 answered   ◇  45 cached   ≈   1 shared   ✗  13 failed   ⊘  56 refused   \
             ▶   0 running    since start"
        );
    }

    #[test]
    fn the_sentence_is_shortened_before_it_is_cut() {
        let fixture = outage();
        let table = [
            (40, "  ⊘ BREAKER OPEN  next probe in 6.4 s"),
            (30, "  ⊘ BREAKER OPEN  next probe…"),
        ];
        for (width, text) in table {
            assert_eq!(sentence_at(&fixture, width), text);
        }
        let tiny = fixture::rows(&fixture, 40, 2, sentence);
        assert_eq!(
            tiny,
            ["  ⊘ BREAKER OPEN", "calls are refused; next probe in 6.4 s"]
        );
    }

    #[test]
    fn the_queue_is_named_after_what_holds_its_head_now() {
        let table = [
            (
                Constraint::Tokens,
                Some(42.5),
                "12 calls wait for tokens; next one admitted in 0.4 s",
            ),
            (
                Constraint::Requests,
                Some(54.1),
                "12 calls wait for requests; next one admitted in 12 s",
            ),
            (Constraint::Slots, None, "12 calls wait for one of 16 slots"),
            // its time has come: it is being admitted
            (Constraint::Tokens, Some(42.1), "12 calls wait"),
            (
                Constraint::UserTokens,
                Some(42.5),
                "12 calls wait for a user's own tokens; next one admitted in 0.4 s",
            ),
        ];
        for (constraint, next, text) in table {
            let row = sentence_at(&queue(constraint, next), 120);
            assert_eq!(row, format!("  … WAITING  {text}"), "{constraint:?}");
        }
        let mut paused = queue(Constraint::Tokens, Some(42.5));
        paused.state.limit.paused_until = Some(at(43.9));
        let text = "  … PAUSED BY SERVER  Retry-After: 1.8 s left; 12 calls wait until then";
        assert_eq!(sentence_at(&paused, 120), text);
    }

    #[test]
    fn other_states_have_a_chip_and_what_comes_next() {
        let mut fixture = outage();
        fixture.state.breakers.first_mut().mode = BreakerMode::ForcedOpen;
        assert_eq!(
            sentence_at(&fixture, 70),
            "  ⊘ FORCED OPEN  by you: calls are refused; o releases it"
        );
        fixture.state.breakers.first_mut().mode = BreakerMode::Automatic;
        fixture.state.breakers.first_mut().until = Some(at(45.0));
        assert_eq!(
            sentence_at(&fixture, 70),
            "  ⊘ BREAKER OPEN  calls are refused; the next call is the probe"
        );
        let mut two = outage();
        let healthy = crate::state::BreakerView::default();
        two.state.breakers.add("gpt-4o", "o3", healthy);
        assert_eq!(
            sentence_at(&two, 70),
            "  ⊘ BREAKER OPEN  calls of gpt-4o are refused; next probe in 6.4 s"
        );
        fixture.state.breakers.first_mut().state = BreakerState::HalfOpen;
        let breaker = fixture.state.breakers.first_mut();
        (breaker.probes_out, breaker.probes_ok) = (1, 1);
        let row = sentence_at(&fixture, 70);
        assert_eq!(row, "  ◐ HALF-OPEN  one probe is out, 1 of 2 answered");
        let trouble = |class, message: &str| {
            let mut fixture = outage();
            fixture.state.session.trouble = Some(Trouble {
                class,
                message: message.into(),
            });
            sentence_at(&fixture, 90)
        };
        let key = "api.example.com rejected the key in SEAWALL_API_KEY (401); check the value";
        assert_eq!(
            trouble(Some(FailureClass::Auth), key),
            "  ✗ API KEY REJECTED  api.example.com rejected the key in SEAWALL_API_KEY (401)"
        );
        let missing = "model x not found at localhost (404)";
        assert_eq!(
            trouble(Some(FailureClass::NotFound), missing),
            format!("  ✗ NOT FOUND  {missing}")
        );
        let down = "nothing listens at localhost:1";
        assert_eq!(
            trouble(Some(FailureClass::Connect), down),
            format!("  ✗ UPSTREAM DOWN  {down}")
        );
        assert_eq!(
            trouble(None, "x returned 500 for /v1/models"),
            "  ✗ UPSTREAM UNUSABLE  x returned 500 for /v1/models"
        );
    }

    #[test]
    fn calm_has_no_chip() {
        let mut fixture = Fixture::default();
        fixture.state.session.upstream = Some(UpstreamInfo {
            host: "simulator".into(),
            model: None,
            simulated: true,
            loopback: true,
        });
        assert_eq!(
            sentence_at(&fixture, 120),
            " Ready. Nothing has been sent yet.                                              \
             built-in simulator: no network, no cost"
        );
        assert_eq!(counts_at(&fixture, 120), " no calls yet");
        fixture.state.session.gateway = Some("127.0.0.1:4000".into());
        let ready = sentence_at(&fixture, 120);
        assert!(ready.starts_with(" Ready. Set the base URL of your app to http://127.0.0.1:4000/v1 "));
        let text = " 1 call in flight; none ended in the last 5 s";
        fixture.state.calls.totals.started = 1;
        assert_eq!(sentence_at(&fixture, 60), text);
    }

    #[test]
    fn counts_add_up_and_refused_is_not_limited() {
        let mut fixture = outage();
        let totals = &mut fixture.state.calls.totals;
        totals.ended[Fate::RateLimited as usize] = 3;
        totals.ended[Fate::Interrupted as usize] = 2;
        totals.ended[Fate::Cancelled as usize] = 1;
        (
            totals.queued,
            totals.backing_off,
            totals.following,
            totals.streaming,
        ) = (12, 8, 9, 29);
        totals.started = 236 + 3 + 2 + 1 + 12 + 8 + 9 + 29;
        for width in [80, 120, 200] {
            let row = counts_at(&fixture, width);
            let numbers: Vec<u64> = row
                .split(|letter: char| !letter.is_ascii_digit())
                .filter_map(|number| number.parse().ok())
                .collect();
            let (all, parts) = numbers.split_first().unwrap();
            assert_eq!(parts.iter().sum::<u64>(), *all, "{row}");
        }
        let row = counts_at(&fixture, 200);
        assert!(
            row.contains("⊘  56 refused  ⊘   3 limited  ■   1 stopped"),
            "{row}"
        );
        let apart = "▶  29 in flight  ≈   9 joined  …  12 queued  ↻   8 backing off";
        assert!(row.contains(apart), "{row}");
        let row = counts_at(&fixture, 80);
        assert!(row.ends_with("⊘56 ⊘3 limited ■1 ▶29 ≈9 joined …12 ↻8"), "{row}");
    }

    #[test]
    fn counts_keep_their_columns_while_they_grow() {
        let mut fixture = outage();
        let columns = |fixture: &Fixture| {
            let row = counts_at(fixture, 120);
            ["cached", "failed", "running"].map(|word| row.split(word).next().map(row::width))
        };
        let before = columns(&fixture);
        fixture.state.calls.totals.ended[Fate::Hit as usize] += 400;
        fixture.state.calls.totals.ended[Fate::Shared as usize] += 50;
        fixture.state.calls.totals.started += 460;
        assert_eq!(columns(&fixture), before);
    }

    #[test]
    fn a_burst_shows_how_much_of_it_is_done() {
        let mut fixture = outage();
        let mut burst = Burst {
            burst: 2,
            calls: 50,
            ..Burst::default()
        };
        burst.counts.started = 40;
        burst.counts.ended[Fate::Answered as usize] = 31;
        fixture.state.calls.bursts = [burst].into();
        assert!(counts_at(&fixture, 200).ends_with("burst 2: 31 of 50 done   since start"));
        // once on the screen: beside the sentence only where the counts leave no room
        fixture.state.breakers.first_mut().state = BreakerState::Closed;
        fixture.state.calls.totals.started += 12;
        fixture.state.calls.totals.queued = 12;
        fixture.state.limit.waiters = queue(Constraint::Slots, None).state.limit.waiters;
        for width in [120, 160, 200] {
            let shown = [sentence_at(&fixture, width), counts_at(&fixture, width)];
            let found = shown.iter().filter(|row| row.contains("burst 2: 31 of 50 done"));
            assert_eq!(found.count(), 1, "{width}: {shown:?}");
        }
        if let Some(burst) = fixture.state.calls.bursts.back_mut() {
            (burst.all_made, burst.counts.started) = (true, 31);
        }
        assert!(!counts_at(&fixture, 200).contains("burst"));
    }

    #[test]
    fn a_short_state_stays_for_half_a_second_and_its_figures_follow_while_it_lasts() {
        let mut fixture = queue(Constraint::Tokens, Some(42.5));
        let shown = |fixture: &mut Fixture, now: f64| {
            fixture.now = at(now);
            fixture.ui.settle(fixture.state.status(at(now)), at(now));
            (sentence_at(fixture, 120), fixture.ui.next_change(at(now)))
        };
        let tokens = "  … WAITING  12 calls wait for tokens; next one admitted in 0.4 s".to_owned();
        assert_eq!(shown(&mut fixture, 42.1), (tokens, None));
        // another cause is the same state
        fixture.state.limit.head = fixture.state.limit.head.map(|head| QueueHead {
            constraint: Constraint::Slots,
            ready_at: None,
            ..head
        });
        let slots = "  … WAITING  12 calls wait for one of 16 slots".to_owned();
        assert_eq!(shown(&mut fixture, 42.2), (slots.clone(), None));
        // the queue is empty: the chip would have been visible for 0.2 s
        fixture.state.limit.waiters.clear();
        (fixture.state.limit.head, fixture.state.calls.totals.queued) = (None, 0);
        assert_eq!(shown(&mut fixture, 42.3), (slots.clone(), Some(at(42.6))));
        assert_eq!(shown(&mut fixture, 42.59), (slots, Some(at(42.6))));
        let calm = " 12 calls in flight; none ended in the last 5 s".to_owned();
        assert_eq!(shown(&mut fixture, 42.6), (calm, None));
        // calm gives way at once, and so does any state to what you do
        fixture.state.breakers.first_mut().state = BreakerState::Open;
        assert!(shown(&mut fixture, 42.7).0.contains("BREAKER OPEN"));
        fixture.state.breakers.first_mut().mode = BreakerMode::ForcedOpen;
        assert!(shown(&mut fixture, 42.8).0.contains("FORCED OPEN"));
    }

    /// The journals of the repository. `tests/scenarios` checks those of the bundled scenarios in the same way.
    fn journals() -> Vec<(String, Vec<crate::event::Event>)> {
        use crate::journal::{Line, Reader};
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/journals");
        let files = std::fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().path());
        let files = files.filter(|path| path.extension().is_some_and(|kind| kind == "ndjson"));
        let read = |path: std::path::PathBuf| {
            let lines = Reader::open(std::fs::File::open(&path).unwrap()).unwrap().lines();
            let events = lines.filter_map(|line| match line.unwrap() {
                Line::Event(event) => Some(event),
                Line::Blank | Line::Gap(_) | Line::End { .. } => None,
            });
            (path.display().to_string(), events.collect())
        };
        files.map(read).collect()
    }

    /// The first number of a row, and the sum of the others.
    fn added(row: &str) -> (u64, u64) {
        let row = row.split("   burst").next().unwrap_or_default();
        let numbers = row.split(|letter: char| !letter.is_ascii_digit());
        let mut numbers = numbers.filter_map(|number| number.parse().ok());
        (numbers.next().unwrap_or_default(), numbers.sum())
    }

    #[test]
    fn counts_add_up_at_every_event_of_every_journal() {
        let journals = journals();
        assert!(journals.len() >= 4);
        for (name, events) in journals {
            let mut fixture = Fixture::default();
            for event in &events {
                fixture.state.apply(event);
                for width in [80, 120, 200] {
                    let row = counts_at(&fixture, width);
                    let (all, sum) = added(&row);
                    assert_eq!(all, sum, "{name}, event {}: {row}", event.seq);
                }
            }
        }
    }

    /// The screen, the summary at the exit and `stats()` fold the same events.
    #[test]
    fn the_summary_at_the_exit_agrees_with_the_screen() {
        for seed in 0..6 {
            let events = crate::state::fixture::session(seed, 120);
            let state = crate::state::fixture::fold(&events);
            let fixture = Fixture {
                now: state.last_event_at,
                state,
                ..Fixture::default()
            };
            let row = counts_at(&fixture, 240);
            let summary = crate::drills::smoke::summary(&fixture.state);
            let stats = fixture.state.stats(fixture.now);
            assert!(row.contains(" 120 calls "), "{row}");
            assert!(summary.contains("calls     120: "), "{summary}");
            for (fate, number) in stats.calls.ended {
                let word = fate.brief();
                let shown = row
                    .split(word)
                    .next()
                    .and_then(|left| left.split_whitespace().next_back());
                let shown = shown.filter(|_| row.contains(word)).unwrap_or("0");
                assert_eq!(shown, number.to_string(), "{word}: {row}");
                assert_eq!(
                    summary.contains(&format!("{number} {word}")),
                    number > 0,
                    "{word}: {summary}"
                );
            }
            let all = fixture.state.timeline.sum(Timestamp::ZERO, fixture.now);
            let lookups = format!("{} of {} lookups hit", all.hits, all.lookups);
            assert!(summary.contains(&lookups), "{lookups}: {summary}");
            let latency = format!(
                "of {} answered by the upstream",
                units::count(all.latency.count(), "call")
            );
            assert!(summary.contains(&latency), "{latency}: {summary}");
        }
    }
}
