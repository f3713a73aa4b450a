//! Whole screens as text; no size and no overlay may panic.

use ratatui::layout::{Position, Rect};

use super::screen_text::{holds, rows, screen};
use super::{Bench, busy_state};
use crate::event::{AttemptResult, CallId, Command, EventKind, FailureClass, Fate, Finish, Origin};
use crate::settings::FaultProfile;
use crate::state::State;
use crate::state::fixture::{Story, attempt, ended, failed, succeeded};
use crate::tui::layout::layout;
use crate::tui::overlay::save::Saved;
use crate::tui::overlay::{Confirm, Faults, Help, Overlay, Palette, Save};
use crate::tui::pane::PaneId;
use crate::tui::theme::{Palette as Colours, Theme};
use crate::tui::ui::Mode;
use crate::tui::update::Effect;

#[test]
fn the_prompt_row_shows_how_to_ask_and_as_whom() {
    let mut bench = Bench::new(State::default());
    let prompt = |bench: &mut Bench, width, height: u16| {
        let rows = rows(bench, width, height);
        rows[usize::from(height) - 2].clone()
    };
    assert_eq!(
        prompt(&mut bench, 80, 24),
        format!(" i ask a question{:>62}", "as ana")
    );
    let wide = format!(" i ask a question{:>102}", "asking as ana   u next user");
    assert_eq!(prompt(&mut bench, 120, 40), wide);
    bench.press("ihalf a question<esc>");
    assert!(prompt(&mut bench, 80, 24).starts_with(" i go on with: half a question"));
    bench.press("6z");
    assert!(prompt(&mut bench, 80, 24).ends_with("zoomed   Esc or 6 back"));
    bench.ui.read_only = true;
    assert!(prompt(&mut bench, 80, 24).starts_with(" read-only"));
}

#[test]
fn a_pane_without_a_text_field_shows_no_prompt_mark() {
    for pane in PaneId::ALL {
        let mut bench = Bench::new(busy_state());
        bench.press(&pane.digit().to_string());
        let (text, cursor) = screen(&mut bench, 120, 40, &Theme::default());
        let marked = text.iter().any(|row| row.starts_with("> "));
        assert_eq!(
            (marked, cursor.is_some()),
            (pane == PaneId::Chat, pane == PaneId::Chat)
        );
    }
}

#[test]
fn eighty_by_twenty_four_with_calls() {
    let mut bench = Bench::new(busy_state());
    let rows = rows(&mut bench, 80, 24);
    assert!(rows[3].starts_with("─ 2 Cache ─"), "{rows:#?}");
    assert!(holds(&rows, "━ 8 Calls ━"), "{rows:#?}");
    assert!(rows[21].starts_with("─ 0 Log ─") && rows[21].contains("#5 sentence 39"));
    assert_eq!(
        rows[23],
        " b burst 10  B 50  L load  F faults on  x stop  Enter why  T tour  ? help"
    );
}

#[test]
fn chat_says_why_an_answer_ended_early() {
    for (finish, words) in [
        (Finish::Stop, None),
        (Finish::ToolCalls, None),
        (Finish::Length, Some("truncated at the token limit")),
        (Finish::ContentFilter, Some("truncated by a content filter")),
        (Finish::Refusal, Some("the model refuses to answer")),
    ] {
        let mut story = Story::begin();
        story.call(1, Origin::Chat).emit(1, attempt(1, 1));
        let mut end = succeeded(1, 400);
        if let EventKind::AttemptEnded {
            result: AttemptResult::Succeeded { finish: reason, .. },
            ..
        } = &mut end
        {
            *reason = finish;
        }
        story.emit(1, end).emit(1, ended(Fate::Answered, 1, 400));
        let mut bench = Bench::new(story.state());
        let rows = rows(&mut bench, 120, 40);
        let said =
            [Finish::Length, Finish::ContentFilter, Finish::Refusal].map(|one| holds(&rows, one.sentence()));
        assert_eq!(said.contains(&true), words.is_some(), "{finish:?}: {rows:#?}");
        assert!(
            words.is_none_or(|words| holds(&rows, words)),
            "{finish:?}: {rows:#?}"
        );
    }
}

#[test]
fn a_longer_prompt_takes_more_rows() {
    let mut bench = Bench::new(busy_state());
    bench.press("iab<ctrl+j>c日");
    let (text, cursor) = screen(&mut bench, 120, 40, &Theme::default());
    assert_eq!((text[37].as_str(), text[38].as_str()), ("> ab", "  c日"));
    assert_eq!(cursor, Some(Position::new(5, 38)));
    assert!(text[39].starts_with(" Enter send  Esc leave  "), "{}", text[39]);
}

#[test]
fn below_60x16_the_sentence_the_counts_and_the_log_stay() {
    let mut bench = Bench::new(busy_state());
    let text = rows(&mut bench, 40, 10);
    assert!(text[3].starts_with(" 5 calls "), "{text:#?}");
    assert!(holds(&text, "needs 60x16 for panes"));
    assert!(holds(&text, "#5 sentence 39"), "{text:#?}");
    assert!(text[9].contains("? help"), "{}", text[9]);
}

#[test]
fn the_footer_shows_pause_and_messages() {
    let mut bench = Bench::new(busy_state());
    bench.ui.paused = Some(12);
    let text = rows(&mut bench, 80, 24);
    assert!(
        text[23].starts_with(" p resume, 12 events behind  b burst 10"),
        "{}",
        text[23]
    );
    bench.ui.paused = None;
    bench.press("U");
    let text = rows(&mut bench, 80, 24);
    assert_eq!(text[23], format!(" {:<71} ? help", "U: nothing to undo"));
}

#[test]
fn the_filter_is_typed_in_the_title_of_its_pane() {
    let mut bench = Bench::new(busy_state());
    for (keys, pane, width, height, shown) in [
        ("8/", PaneId::Calls, 80, 24, " /  5 of 5 ━"),
        ("answered", PaneId::Calls, 80, 24, " /answered  1 of 5 ━"),
        ("<enter>vv/", PaneId::Calls, 120, 40, " /answered  1 of 5 ━"),
        ("<esc>0/!retry", PaneId::Log, 120, 40, " /!retry  20 of 40 "),
        ("<left><left>", PaneId::Log, 120, 40, " /!retry  20 of 40 "),
    ] {
        bench.press(keys);
        let (text, cursor) = screen(&mut bench, width, height, &Theme::default());
        let areas = layout(Rect::new(0, 0, width, height), &bench.ui);
        let y = areas.pane(pane).unwrap().y;
        let rule = &text[usize::from(y)];
        assert!(rule.contains(shown), "{keys}: {rule}");
        let slash = rule.chars().position(|letter| letter == '/').unwrap() as u16;
        let typed = bench.ui.filters[&pane].cursor_at(99).1 as u16;
        assert_eq!(cursor, Some(Position::new(slash + 1 + typed, y)), "{keys}");
    }
}

#[test]
fn users_have_a_digit_at_every_size() {
    let mut bench = Bench::new(busy_state());
    bench.input(&crossterm::event::Event::Resize(80, 24));
    bench.press("9");
    let small = rows(&mut bench, 80, 24);
    assert!(small[3].starts_with("━ 9 Users ━"), "{small:#?}");
    bench.press("<esc>");
    for (width, height) in [(160, 45), (200, 60)] {
        let wide = rows(&mut bench, width, height);
        assert!(holds(&wide, "─ 9 Users ─"), "{wide:#?}");
    }
}

#[test]
fn ascii_screens_are_ascii() {
    let mut bench = Bench::new(busy_state());
    bench.state.calls.recent.remove(&CallId(5));
    for overlay in overlays() {
        bench.ui.overlays = vec![overlay];
        for (width, height) in [(40, 10), (80, 24), (120, 40), (200, 60)] {
            let theme = Theme::new(Colours::Mono, true);
            for row in screen(&mut bench, width, height, &theme).0 {
                assert!(row.is_ascii(), "{row}");
            }
        }
    }
}

fn overlays() -> Vec<Overlay> {
    vec![
        Overlay::Help(Help::default()),
        Overlay::Palette(Palette::default()),
        Overlay::Faults(Box::new(Faults::new(FaultProfile::default(), false))),
        Overlay::Confirm(Confirm {
            question: "50 paid calls to api.example.com? y/N".into(),
            effect: Effect::Send(Command::CancelAll),
        }),
        Overlay::Breaker,
        Overlay::Save(Save::new(Saved::Drill)),
        Overlay::Details(CallId(1)),
        Overlay::Details(CallId(99)),
        Overlay::WhatIf,
    ]
}

#[test]
fn overlays_cover_the_panes() {
    let mut bench = Bench::new(busy_state());
    bench.press("?");
    let help = rows(&mut bench, 80, 24);
    assert!(holds(&help, "Help: 8 Calls"), "{help:#?}");
    assert!(holds(&help, "type to search:"));
    bench.press("share");
    let timelines = rows(&mut bench, 80, 24);
    assert!(
        holds(&timelines, "≈≈≈  shares the flight of the call shown"),
        "{timelines:#?}"
    );
    bench.press("<f1>");
    assert!(bench.ui.overlays.is_empty(), "a second press closes it");
    bench.press("?");
    bench.press("<esc>:burst 12");
    let palette = rows(&mut bench, 80, 24);
    assert!(
        holds(&palette, ": burst 12") && holds(&palette, "burst of 12 calls"),
        "{palette:#?}"
    );
    bench.press("<esc>f");
    let faults = rows(&mut bench, 80, 24);
    assert!(
        holds(&faults, "Choose faults (now off)") && holds(&faults, "TCP reset before the first byte"),
        "{faults:#?}"
    );
}

#[test]
fn the_description_of_faults_is_wrapped_and_a_low_rate_is_not_drawn_as_zero() {
    let mut bench = Bench::new(busy_state());
    let profile = FaultProfile {
        about: "everything that breaks in practice, in one request of three".into(),
        drip: 0.02,
        ..FaultProfile::default()
    };
    bench.ui.overlays = vec![Overlay::Faults(Box::new(Faults::new(profile, false)))];
    let faults = rows(&mut bench, 80, 24);
    assert!(
        holds(&faults, "breaks in practice, in one request") && holds(&faults, " three "),
        "{faults:#?}"
    );
    assert!(holds(&faults, "drip    2% ■·········"), "{faults:#?}");
    assert!(holds(&faults, "total"));
}

#[test]
fn a_long_story_is_scrolled_by_pages() {
    let mut tale = Story::begin();
    tale.call(1, Origin::Chat);
    for number in 1..=4 {
        tale.emit(1, attempt(number, 1));
        tale.emit(1, failed(number, FailureClass::Unavailable, Some(503), 500));
    }
    tale.emit(1, ended(Fate::Failed, 4, 2000));
    let mut bench = Bench::new(tale.state());
    bench.press("<enter>");
    let top = rows(&mut bench, 80, 16);
    assert!(holds(&top, "PgUp PgDn scroll"), "{top:#?}");
    assert!(
        holds(&top, "Why #1") && holds(&top, "Failed after 4 attempts in 2.00s"),
        "{top:#?}"
    );
    assert!(holds(&top, "fingerprint") && !holds(&top, " end "), "{top:#?}");
    bench.press("<space>");
    let on = rows(&mut bench, 80, 16);
    assert!(holds(&on, " end "), "{on:#?}");
    bench.press("<pgup>");
    assert_eq!(rows(&mut bench, 80, 16), top);
}

#[test]
fn no_size_and_no_overlay_panics() {
    let mut bench = Bench::new(busy_state());
    bench.ui.draft = crate::tui::editor::Editor::from_text(&"日本語 long draft\n".repeat(9));
    let widths = (0..=24)
        .step_by(3)
        .chain((25..=200).step_by(25))
        .chain([59, 60, 109, 110, 179, 180]);
    for width in widths {
        for height in (0..=18).step_by(3).chain([16, 24, 29, 30, 40, 49, 50, 60]) {
            for (mode, focus) in [
                (Mode::Normal, PaneId::Calls),
                (Mode::Normal, PaneId::Chat),
                (Mode::Filter, PaneId::Log),
            ] {
                (bench.ui.mode, bench.ui.focus) = (mode, focus);
                bench.ui.zoomed = (width + height) % 3 == 0;
                bench.ui.overlays.clear();
                let (text, cursor) = screen(&mut bench, width, height, &Theme::default());
                assert_eq!(text.len(), usize::from(height));
                let area = Rect::new(0, 0, width, height);
                assert!(cursor.is_none_or(|cursor| area.contains(cursor)));
            }
            for overlay in overlays() {
                bench.ui.overlays = vec![overlay];
                screen(&mut bench, width, height, &Theme::default());
            }
        }
    }
}
