//! The what-if overlay: keys with their effects, and screens from scripted results.

use std::collections::BTreeMap;
use std::time::Duration;

use crossterm::event::{Event as Terminal, KeyModifiers, MouseButton, MouseEvent, MouseEventKind};
use ratatui::layout::Size;

use super::Bench;
use super::screen_text::{holds, rows, screen};
use crate::event::{
    CallId, ChangedFate, Command, EventKind, Fate, Origin, PolicyFigures, WhatIfResult, WhatIfUpstream,
};
use crate::settings::{Policy, SETTINGS};
use crate::state::State;
use crate::state::fixture::{Story, ended};
use crate::time::Timestamp;
use crate::tui::overlay::Overlay;
use crate::tui::overlay::save::Saved;
use crate::tui::theme::{Palette, Theme};
use crate::tui::update::Effect;

/// A session with a finished call.
fn session() -> Bench {
    let mut story = Story::begin();
    story.call(1, Origin::Chat).emit(1, ended(Fate::Answered, 1, 500));
    Bench::new(story.state())
}

/// The requests of the last key script, in order: edit, and changes over `running`; `None` for the end of
/// evaluation.
fn requests(bench: &Bench, running: &Policy) -> Vec<Option<(u64, Vec<String>)>> {
    let requests = bench.requests.iter().map(|request| {
        let request = request.as_ref()?;
        let changes = running.changes(&request.policy).into_iter();
        let changes = changes.map(|(path, value)| format!("{path}={value}"));
        Some((request.edit, changes.collect()))
    });
    requests.collect()
}

/// A request for one edit.
#[expect(
    clippy::unnecessary_wraps,
    reason = "compared with requests that may be absent"
)]
fn request(edit: u64, changes: &[&str]) -> Option<(u64, Vec<String>)> {
    Some((edit, changes.iter().map(|change| (*change).to_owned()).collect()))
}

fn applied(effects: &[Effect]) -> Vec<&Policy> {
    effects
        .iter()
        .filter_map(|effect| match effect {
            Effect::Send(Command::ApplyPolicy { policy }) => Some(&**policy),
            _ => None,
        })
        .collect()
}

/// Moves the cursor to a setting.
fn go(bench: &mut Bench, path: &str) {
    let row = SETTINGS.iter().position(|setting| setting.path == path).unwrap();
    bench.press("<home>");
    bench.press(&"j".repeat(row));
    assert_eq!(bench.ui.whatif.setting().map(|setting| setting.path), Some(path));
}

fn judged(fates: &[(Fate, u64)], attempts: u64, p95: u64) -> PolicyFigures {
    PolicyFigures {
        calls: fates.iter().map(|(_, count)| count).sum(),
        fates: fates.iter().copied().collect::<BTreeMap<_, _>>(),
        attempts,
        retries: attempts / 4,
        waited: 41,
        p50: Some(Duration::from_millis(710)),
        p95: Some(Duration::from_millis(p95)),
        tokens: attempts * 150,
        wasted: attempts * 9,
        opened: 2,
    }
}

/// 412 calls: observed, replayed, and replayed under the edited policy.
fn result(edit: u64) -> WhatIfResult {
    use Fate::{Answered, CircuitOpen, Failed, Hit, Interrupted, RateLimited, Shared};
    let base = [(Hit, 40), (Shared, 12), (Interrupted, 3), (RateLimited, 17)];
    let of = |rest: [(Fate, u64); 3]| [base.as_slice(), &rest].concat();
    let changes = vec![crate::text::SafeText::new("retry.attempts=5")];
    WhatIfResult {
        edit,
        changes,
        since: Timestamp::from_secs_f64(12.0),
        until: Timestamp::from_secs_f64(220.0),
        warm_up: 50,
        upstream: WhatIfUpstream::Simulator,
        mixed: false,
        observed: judged(
            &of([(Answered, 250), (CircuitOpen, 60), (Failed, 30)]),
            388,
            2_400,
        ),
        running: judged(
            &of([(Answered, 248), (CircuitOpen, 61), (Failed, 31)]),
            391,
            2_410,
        ),
        edited: judged(&of([(Answered, 285), (CircuitOpen, 49), (Failed, 6)]), 438, 2_910),
        changed: 41,
        examples: [
            (409, CircuitOpen, Answered),
            (402, Failed, Answered),
            (377, Answered, CircuitOpen),
        ]
        .map(|(call, running, copy)| ChangedFate {
            call: CallId(call),
            running,
            edited: copy,
        })
        .to_vec(),
    }
}

#[test]
fn a_sentence_that_is_too_long_drops_whole_pieces() {
    let mut bench = session();
    bench.press("=");
    let mut mixed = result(0);
    mixed.mixed = true;
    mixed.observed.fates.remove(&Fate::Answered);
    let medium = &judged_screens(&mut bench, &mixed)[1];
    assert!(
        holds(medium, "calls, 300 when replayed, 250 still running"),
        "{medium:#?}"
    );
    let head: Vec<&String> = medium.iter().take(5).collect();
    assert!(head.iter().all(|row| !row.contains('\u{2026}')), "{head:#?}");
}

/// Emits a result.
fn hear(bench: &mut Bench, result: WhatIfResult) {
    let mut story = Story::default();
    story.at(230.0).emit(
        0,
        EventKind::WhatIfEvaluated {
            result: Box::new(result),
        },
    );
    bench.state.apply(&story.events[0]);
}

#[test]
fn a_failed_evaluation_says_so_until_the_next_result() {
    let mut bench = session();
    bench.press("=");
    assert!(holds(&rows(&mut bench, 80, 24), "evaluating..."));
    let text = "the edited policy cannot be evaluated: the replay panicked".into();
    let mut story = Story::default();
    story.at(230.0).emit(0, EventKind::Notice { text });
    bench.state.apply(&story.events[0]);
    let text = rows(&mut bench, 80, 24);
    assert!(holds(&text, "the edited policy cannot be evaluated"), "{text:#?}");
    assert!(!holds(&text, "evaluating..."), "{text:#?}");
    go(&mut bench, "retry.attempts");
    bench.press("<right>");
    let edit = bench.ui.whatif.edit;
    hear(&mut bench, result(edit));
    assert!(!holds(&rows(&mut bench, 80, 24), "cannot be evaluated"));
}

#[test]
fn each_edit_requests_an_evaluation() {
    let mut bench = session();
    let running = bench.state.session.policy.clone();
    bench.press("=");
    assert_eq!(requests(&bench, &running), [request(1, &[])]);
    assert_eq!(bench.ui.overlays, [Overlay::WhatIf]);
    go(&mut bench, "retry.attempts");
    assert_eq!(bench.press("<right>l-"), []);
    assert_eq!(
        requests(&bench, &running),
        [
            request(2, &["retry.attempts=4"]),
            request(3, &["retry.attempts=5"]),
            request(4, &["retry.attempts=4"])
        ]
    );
    bench.press("h");
    assert_eq!(requests(&bench, &running), [request(5, &[])]);
    assert_eq!(bench.press("d"), []);
    assert_eq!(bench.message(), "Bksp: unchanged");
    go(&mut bench, "cache.enabled");
    bench.press("<space>");
    assert_eq!(requests(&bench, &running), [request(6, &["cache.enabled=false"])]);
    go(&mut bench, "retry.jitter");
    bench.press("<space>");
    let both = request(7, &["cache.enabled=false", "retry.jitter=equal"]);
    assert_eq!(requests(&bench, &running), [both]);
    bench.press("<bksp>");
    assert_eq!(requests(&bench, &running), [request(8, &["cache.enabled=false"])]);
    go(&mut bench, "retry.attempts");
    assert_eq!(bench.press("<space>"), []);
    assert_eq!(
        bench.message(),
        "Space: not a toggle: use Left/Right, or e to type a value"
    );
}

#[test]
fn closing_keeps_the_edits_and_ends_evaluation() {
    let mut bench = session();
    let running = bench.state.session.policy.clone();
    bench.press("=");
    go(&mut bench, "retry.attempts");
    bench.press("<right>");
    bench.press("<esc>");
    assert_eq!(requests(&bench, &running), [None]);
    assert_eq!(bench.ui.overlays, []);
    // the running policy changes independently: the draft keeps only its own change
    bench.state.session.policy.cache.enabled = false;
    let running = bench.state.session.policy.clone();
    bench.press("=");
    assert_eq!(requests(&bench, &running), [request(3, &["retry.attempts=4"])]);
    bench.press("D");
    assert_eq!(requests(&bench, &running), [request(4, &[])]);
    assert_eq!(bench.press("D"), []);
    assert_eq!(bench.message(), "D: no edits");
    bench.press("q");
    assert_eq!(requests(&bench, &running), [None]);
}

#[test]
fn a_value_is_typed_in_its_cell_and_an_invalid_one_stays() {
    let mut bench = session();
    let running = bench.state.session.policy.clone();
    bench.press("=");
    go(&mut bench, "breaker.open");
    assert_eq!(bench.press("12x<enter>"), []);
    let text = rows(&mut bench, 80, 24);
    assert!(
        holds(&text, "invalid value '12x'; expected a time: 500ms, 2s, 1m 30s"),
        "{text:#?}"
    );
    assert!(text[23].starts_with(" Enter accept  Esc cancel"), "{}", text[23]);
    let row = text.iter().position(|row| row.starts_with("│   open ")).unwrap();
    assert!(text[row].contains(" 12x "), "{}", text[row]);
    let (_, cursor) = screen(&mut bench, 80, 24, &Theme::default());
    assert_eq!(cursor.map(|at| at.y), Some(row as u16));
    bench.press("<bksp>s<enter>");
    assert_eq!(requests(&bench, &running), [request(2, &["breaker.open=12s"])]);
    assert_eq!(bench.press("e9<esc>"), []);
    bench.press("<bksp>");
    assert_eq!(requests(&bench, &running), [request(3, &[])]);
    // a share in display form, a paste as one line, and keys with other actions elsewhere
    go(&mut bench, "breaker.failure_rate");
    bench.press("e<ctrl+u>");
    bench.input(&Terminal::Paste("35%\n".into()));
    bench.press("<enter>");
    let share = request(4, &["breaker.failure_rate=0.35"]);
    assert_eq!(requests(&bench, &running), [share]);
    assert_eq!(bench.press("e<ctrl+u><enter>"), []);
    assert!(holds(
        &rows(&mut bench, 80, 24),
        "type a value, or press Esc to keep the old one"
    ));
}

#[test]
fn startup_only_settings_are_shown_but_not_changed() {
    let mut bench = session();
    bench.press("=");
    go(&mut bench, "timeouts.connect");
    for key in ["<right>", "e", "7", "<space>"] {
        assert_eq!(bench.press(key), []);
        let why = bench.message();
        assert!(
            why.ends_with(": takes effect when a session starts: set it in the policy file"),
            "{why}"
        );
        assert_eq!(bench.ui.whatif.line, None);
    }
    let text = rows(&mut bench, 80, 24);
    assert!(holds(&text, "at start"), "{text:#?}");
    assert!(
        holds(&text, "It takes effect when a session starts: set it"),
        "{text:#?}"
    );
}

#[test]
fn an_applied_policy_can_be_undone_without_losing_edits() {
    let mut bench = session();
    let before = bench.state.session.policy.clone();
    assert_eq!(bench.press("=<enter>"), []);
    assert_eq!(bench.message(), "Enter: no edits: Left/Right changes a setting");
    assert_eq!(bench.press("U"), []);
    assert_eq!(bench.message(), "U: nothing to undo");
    go(&mut bench, "retry.attempts");
    bench.press("<right>");
    let effects = bench.press("<enter>");
    assert_eq!(bench.message(), "Policy applied. U undoes it.");
    let policies = applied(&effects);
    assert_eq!(policies.len(), 1);
    assert_eq!(
        before.changes(policies[0]),
        [("retry.attempts".to_owned(), "4".to_owned())]
    );
    assert_eq!(policies[0].name, "production+retry.attempts=4");
    assert_eq!(requests(&bench, policies[0]), [request(3, &[])]);
    // the engine applies it
    bench.state.session.policy = policies[0].clone();
    go(&mut bench, "cache.enabled");
    bench.press("<space>");
    let effects = bench.press("U");
    assert_eq!(applied(&effects), [&before]);
    assert_eq!(bench.message(), "Undone: policy applied.");
    let both = request(5, &["cache.enabled=false", "retry.attempts=4"]);
    assert_eq!(requests(&bench, &before), [both]);
    bench.state.session.policy = before;
    assert!(holds(&rows(&mut bench, 80, 24), "production, 2 edits"));
}

#[test]
fn applied_edits_leave_the_draft() {
    let mut bench = session();
    bench.press("=");
    go(&mut bench, "cache.enabled");
    bench.press("<space>");
    let effects = bench.press("<enter>");
    bench.state.session.policy = applied(&effects)[0].clone();
    bench.press("<esc>");
    // the cache is turned on again: the draft does not turn it off
    bench.state.session.policy.cache.enabled = true;
    let running = bench.state.session.policy.clone();
    bench.press("=");
    assert_eq!(requests(&bench, &running), [request(4, &[])]);
}

#[test]
fn an_invalid_policy_is_neither_evaluated_nor_applied() {
    let mut bench = session();
    bench.press("=");
    go(&mut bench, "retry.cap");
    bench.press("1ms<enter>");
    assert_eq!(bench.requests, [], "no evaluation is requested");
    let text = rows(&mut bench, 80, 24);
    assert!(holds(&text, "invalid policy: retry.base"), "{text:#?}");
    assert_eq!(bench.press("<enter>"), []);
    assert!(
        bench.message().starts_with("Enter: retry.base"),
        "{}",
        bench.message()
    );
    let wide = rows(&mut bench, 120, 40);
    assert!(holds(&wide, "invalid policy: retry.base"), "{wide:#?}");
    bench.press("<bksp>");
    assert_eq!(bench.requests.len(), 1);
    assert!(holds(&rows(&mut bench, 80, 24), "evaluating..."));
}

#[test]
fn the_cursor_moves_by_changes_layers_and_pages() {
    let mut bench = session();
    let at = |bench: &Bench| bench.ui.whatif.setting().map(|setting| setting.path);
    bench.press("=");
    assert_eq!(bench.press("n"), []);
    assert_eq!(bench.message(), "n: no edits");
    bench.press("<tab><tab>");
    assert_eq!(at(&bench), Some("flight.enabled"));
    bench.press("<space><tab><tab>");
    assert_eq!(at(&bench), Some("limit.enabled"));
    bench.press("<space>n");
    assert_eq!(at(&bench), Some("flight.enabled"));
    bench.press("N");
    assert_eq!(at(&bench), Some("limit.enabled"));
    bench.press("j<backtab>");
    assert_eq!(at(&bench), Some("limit.enabled"));
    bench.press("<end>");
    assert_eq!(at(&bench), Some("timeouts.max_response_bytes"));
    bench.press("<tab>");
    assert_eq!(at(&bench), Some("cache.enabled"));
    bench.press("<pgdn><pgup>");
    assert_eq!(at(&bench), Some("cache.enabled"));
}

#[test]
fn a_click_selects_and_a_click_outside_closes() {
    let mut bench = session();
    bench.press("=");
    let text = rows(&mut bench, 80, 24);
    let row = text.iter().position(|row| row.starts_with("│   ttl ")).unwrap();
    let mouse = |kind, row| {
        Terminal::Mouse(MouseEvent {
            kind,
            column: 20,
            row,
            modifiers: KeyModifiers::NONE,
        })
    };
    let click = MouseEventKind::Down(MouseButton::Left);
    assert_eq!(bench.input(&mouse(click, row as u16)), None);
    assert_eq!(
        bench.ui.whatif.setting().map(|setting| setting.path),
        Some("cache.ttl")
    );
    bench.input(&mouse(MouseEventKind::ScrollDown, row as u16));
    assert_eq!(
        bench.ui.whatif.setting().map(|setting| setting.path),
        Some("cache.max_bytes")
    );
    assert_eq!(bench.input(&mouse(click, 3)), None, "the column headings");
    assert_eq!(bench.input(&mouse(click, 0)), None);
    assert_eq!(bench.ui.whatif.request, None);
    assert_eq!(bench.ui.overlays, []);
}

#[test]
fn it_needs_an_engine_and_room() {
    let mut bench = session();
    bench.ui.read_only = true;
    assert_eq!(bench.press("="), []);
    assert_eq!(bench.message(), "=: this session is read-only");
    bench.ui.read_only = false;
    bench.ui.size = Size::new(59, 24);
    assert_eq!(bench.press("="), []);
    assert_eq!(bench.message(), "=: needs a terminal of 60x16");
    bench.ui.size = Size::new(80, 24);
    bench.press("=");
    assert!(holds(
        &rows(&mut bench, 50, 15),
        "needs a terminal of 60x16; Esc closes"
    ));
    assert_eq!(bench.press("<right>"), []);
    assert_eq!(bench.message(), "Right: needs a terminal of 60x16");
    bench.press("<esc>");
    assert_eq!(bench.requests, [None]);
}

#[test]
fn the_running_policy_is_saved_by_key_and_by_name() {
    let mut bench = session();
    let save = [Effect::Save(Saved::Policy, None)];
    assert_eq!(bench.press("=w<enter>"), save);
    bench.press("<esc>");
    assert_eq!(bench.press(":save pol<enter><enter>"), save);
    bench.press(":what-if<enter>");
    assert_eq!(bench.requests.len(), 1);
    assert_eq!(bench.ui.overlays, [Overlay::WhatIf]);
}

#[test]
fn the_help_describes_the_overlay() {
    let mut bench = session();
    bench.press("=?");
    let text = rows(&mut bench, 120, 40);
    assert!(holds(&text, "Help: What-if"), "{text:#?}");
    assert!(holds(&text, "the running policy beside an edited copy"));
    assert!(holds(&text, "apply the edited policy"), "{text:#?}");
    bench.press("<esc>");
    assert_eq!(bench.ui.overlays, [Overlay::WhatIf]);
}

/// The view at three sizes, with a result of the copy as it is.
fn judged_screens(bench: &mut Bench, result: &WhatIfResult) -> Vec<Vec<String>> {
    let edit = bench.ui.whatif.edit;
    hear(
        bench,
        WhatIfResult {
            edit,
            ..result.clone()
        },
    );
    [(80, 24), (120, 40), (200, 60)]
        .map(|(width, height)| rows(bench, width, height))
        .to_vec()
}

#[test]
fn without_calls_it_shows_how_to_start_some() {
    let mut bench = Bench::new(State::default());
    bench.press("=");
    for (width, height) in [(80, 24), (120, 40), (200, 60)] {
        let text = rows(&mut bench, width, height).concat();
        assert!(text.contains("no calls yet: close this view"), "{text}");
    }
    assert!(holds(
        &rows(&mut bench, 80, 24),
        "no calls yet: close this view and press b for a burst"
    ));
}

#[test]
fn figures_of_the_previous_edit_stay_until_the_next_result() {
    let mut bench = session();
    bench.press("=");
    assert!(holds(&rows(&mut bench, 80, 24), "│ evaluating...  "));
    go(&mut bench, "retry.attempts");
    bench.press("<right>");
    let edit = bench.ui.whatif.edit;
    hear(&mut bench, result(edit));
    assert!(!holds(&rows(&mut bench, 80, 24), "evaluating"));
    bench.press("<right>");
    let text = rows(&mut bench, 80, 24);
    assert!(
        holds(&text, "evaluating... figures are of the previous edit"),
        "{text:#?}"
    );
    assert!(holds(&text, "served      300   337    +37 ✓ better"), "{text:#?}");
    bench.ui.paused = Some(3);
    assert!(holds(
        &rows(&mut bench, 80, 24),
        "the view is paused: close this view, then p resumes"
    ));
}

#[test]
fn a_better_policy_is_shown_in_a_sentence_and_in_figures() {
    let mut bench = session();
    bench.press("=");
    go(&mut bench, "retry.attempts");
    bench.press("<right><right>");
    let screens = judged_screens(&mut bench, &result(0));
    let small = &screens[0];
    assert!(
        small[1].starts_with("╭ What-if: production, 1 edit ─"),
        "{}",
        small[1]
    );
    for expected in [
        "would have served 37 more of 412 calls, for 12% more attempts",
        "the last 412, 00:12 to 03:40, replayed on the simulator, same draws",
        "* attempts                            3            5 attempts  changed",
        "retry.attempts   default 3   1 to 100 attempts",
        "Attempts per call, the first included; 1 disables retries.",
        "            runs  edit   diff ",
        "served      300   337    +37 ✓ better  attempts    391   438    +47 ",
        "refused      61    49    -12 ✓ better  failed       31     6    -25 ✓ better",
        "limited      17    17      =           p95       2.41s 2.91s +0.50s ✗ worse",
    ] {
        assert!(holds(small, expected), "{expected} is missing in {small:#?}");
    }
    let settings = small
        .iter()
        .filter(|row| row.starts_with("│   ") || row.starts_with("│ * "));
    assert!(settings.count() >= 9, "{small:#?}");
    let medium = &screens[1];
    for expected in [
        "the last 412 calls, 00:12 to 03:40, replayed",
        "warm-up",
        "replayed",
        "queued ",
        "not ended ",
        "observed running edited difference",
        "of all         73%     73%    82%   +9pt ✓ better",
        "wasted        3492    3519   3942   +423 ✗ worse",
        "41 calls would have ended differently",
        "#409 ⊘ refused  -> ✓ answered",
    ] {
        assert!(holds(medium, expected), "{expected} is missing in {medium:#?}");
    }
    let large = &screens[2];
    for expected in [
        "replayed",
        "observed   running   edited difference",
        "queued (limiter)",
        "not ended yet",
        "limited (limiter)",
        "breaker opened",
    ] {
        assert!(holds(large, expected), "{expected} is missing in {large:#?}");
    }
}

#[test]
fn worse_equal_and_unedited_policies_are_shown() {
    let mut bench = session();
    bench.press("=");
    let mut other = result(0);
    let untouched = judged_screens(&mut bench, &other);
    assert!(holds(
        &untouched[0],
        "no edits yet; the running policy served 302 of 412 calls, 300 when replayed"
    ));
    assert!(holds(&untouched[0], "obs.  runs   diff"), "{:#?}", untouched[0]);
    assert!(!untouched[1].concat().contains("worse"), "nothing is compared");
    go(&mut bench, "retry.attempts");
    bench.press("<left>");
    std::mem::swap(&mut other.running, &mut other.edited);
    let far = judged_screens(&mut bench, &other);
    assert!(
        holds(
            &far[0],
            "the last 412, replayed; inexact: 337 served when replayed, 302 observed"
        ),
        "{:#?}",
        far[0]
    );
    assert!(holds(&far[2], "(earlier calls were "), "{:#?}", far[2]);
    // calls still running may be served, and only those
    other.observed.fates.insert(Fate::Failed, 15);
    assert_eq!((other.observed.running(), other.observed.served()), (15, 302));
    other.mixed = true;
    let open = judged_screens(&mut bench, &other);
    assert!(
        holds(&open[2], "337 served when replayed, 302 observed so far"),
        "{:#?}",
        open[2]
    );
    other.observed.fates.remove(&Fate::Failed);
    let may_yet = judged_screens(&mut bench, &other);
    assert!(!may_yet.concat().concat().contains("inexact"));
    other.mixed = false;
    other.observed = other.running.clone();
    other.upstream = WhatIfUpstream::Observed { attempts: 388 };
    let worse = judged_screens(&mut bench, &other);
    assert!(
        holds(
            &worse[0],
            "would have served 37 fewer of 412 calls, for 11% fewer attempts"
        ),
        "{:#?}",
        worse[0]
    );
    assert!(
        holds(&worse[0], "from 388 attempts: an estimate"),
        "{:#?}",
        worse[0]
    );
    assert!(worse[1].concat().contains("-37 ✗ worse"));
    other.edited = other.running.clone();
    (other.changed, other.examples) = (0, Vec::new());
    let same = judged_screens(&mut bench, &other);
    assert!(
        holds(&same[0], "no difference so far in 412 calls"),
        "{:#?}",
        same[0]
    );
    other.edited.fates.insert(Fate::CircuitOpen, 47);
    other.edited.fates.insert(Fate::Failed, 8);
    let moved = judged_screens(&mut bench, &other);
    assert!(
        holds(
            &moved[0],
            "would have served the same 337 of 412 calls, 2 fewer refused"
        ),
        "{:#?}",
        moved[0]
    );
}

#[test]
fn it_is_readable_without_colour_and_in_ascii() {
    let mut bench = session();
    bench.press("=");
    go(&mut bench, "retry.attempts");
    bench.press("<right>");
    judged_screens(&mut bench, &result(0));
    for (width, height) in [(60, 16), (80, 24), (120, 40), (200, 60)] {
        let theme = Theme::new(Palette::Mono, true);
        let (text, _) = screen(&mut bench, width, height, &theme);
        assert!(text.iter().all(|row| row.is_ascii()), "{text:#?}");
        if width >= 80 {
            assert!(holds(&text, "+ better") && holds(&text, "changed"), "{text:#?}");
        }
        assert!(holds(&text, "* attempts"), "{text:#?}");
    }
}

#[test]
fn it_draws_at_every_size_with_any_content() {
    let mut bench = session();
    let mut worst = result(0);
    for judged in [&mut worst.observed, &mut worst.running, &mut worst.edited] {
        judged.fates = Fate::ALL.map(|fate| (fate, u64::MAX / 9)).into_iter().collect();
        (judged.attempts, judged.tokens, judged.wasted) = (u64::MAX, u64::MAX - 7, 99_999);
        judged.p95 = Some(Duration::from_secs(999_999));
    }
    worst.edited.tokens = 0;
    bench.state.session.policy.name =
        "a name\nthat is 日本語 and far too long for any title of any box".into();
    for script in ["", "<right>", "<end>7\u{65e5}\u{65e5}<enter>", "<esc><home>"] {
        bench.ui.size = Size::new(80, 24);
        if bench.ui.overlays.is_empty() {
            bench.press("=");
        }
        bench.press(script);
        let edit = bench.ui.whatif.edit;
        hear(
            &mut bench,
            WhatIfResult {
                edit,
                ..worst.clone()
            },
        );
        for width in (0..=130)
            .step_by(26)
            .chain([58, 59, 60, 61, 62, 119, 120, 121, 173, 174, 200])
        {
            for height in (0..=50).step_by(10).chain([14, 15, 16, 17, 19, 20, 27, 28]) {
                let (_, cursor) = screen(&mut bench, width, height, &Theme::default());
                assert!(cursor.is_none_or(|at| at.x < width && at.y < height));
                bench.press("<down>");
            }
        }
    }
}
