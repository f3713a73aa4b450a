//! The chat: Markdown, a small pane, its commands, and one answer stopped alone.

use ratatui::buffer::Buffer;
use ratatui::layout::{Rect, Size};
use ratatui::style::Modifier;

use super::screen_text::{holds, rows};
use super::{Bench, busy_state};
use crate::event::{CallId, ChatOptions, Command, Fate, FlightId};
use crate::state::{Doing, State};
use crate::tui::pane::PaneId;
use crate::tui::theme::Theme;
use crate::tui::update::Effect;
use crate::tui::view::View;

/// The busy state in which the last answer is this text, complete or streaming.
fn with_answer(text: &str, complete: bool) -> State {
    let mut state = busy_state();
    state.calls.flights.get_mut(&FlightId(5)).unwrap().text = text.into();
    if complete {
        let call = state.calls.recent.get_mut(&CallId(5)).unwrap();
        call.fate = Some(Fate::Answered);
        call.doing = Doing::Ended;
        call.ended_at = Some(call.started_at);
    }
    state
}

/// The rows of the chat alone.
fn pane(state: State, width: u16, height: u16) -> (Vec<String>, Buffer) {
    let bench = Bench::new(state);
    let area = Rect::new(0, 0, width, height);
    let mut buf = Buffer::empty(area);
    let view = View {
        state: &bench.state,
        ui: &bench.ui,
        theme: &Theme::default(),
        now: bench.now,
    };
    PaneId::Chat.render(&view, area, &mut buf);
    let row = |y| {
        (0..width)
            .map(|x| buf[(x, y)].symbol())
            .collect::<String>()
            .trim_end()
            .to_owned()
    };
    ((0..height).map(row).collect(), buf)
}

#[test]
fn a_pane_of_three_rows_shows_the_newest_answer_below_its_question() {
    let (rows, _) = pane(with_answer("one\ntwo\nthree", true), 40, 3);
    assert!(
        rows[0].starts_with("you  ") && rows[0].ends_with("red"),
        "{rows:?}"
    );
    assert_eq!(rows[1..], ["     two", "     three"], "{rows:?}");
    let (rows, _) = pane(with_answer("one", true), 40, 3);
    assert_eq!(rows[2], "llm  one", "{rows:?}");
    let (rows, _) = pane(with_answer("one\ntwo\nthree", false), 40, 3);
    assert_eq!(rows[1..], ["     two", "     three▍"], "{rows:?}");
    // a failure has no answer, so its status stays
    let mut failed = busy_state();
    failed.calls.chat.retain(|id| id.0 <= 3);
    let (rows, _) = pane(failed, 60, 3);
    assert!(rows[2].starts_with("llm  ✗ failed after 3 attempts"), "{rows:?}");
    // a single row has no room for the question
    assert_eq!(pane(with_answer("one", true), 40, 1).0, ["llm  one"]);
}

#[test]
fn each_call_has_its_status() {
    let (text, _) = pane(busy_state(), 80, 40);
    for expected in [
        "you  what does a token bucket do?",
        "✓ 3 attempts · 2.40s · ttft 0.31s · 40 tok/s · 388 tok",
        "◇ cached · 0.00s · saved 388 tok and 2.40s",
        "llm  ✗ failed after 3 attempts · 500 from simulator · 5.80s",
        "llm  … queued",
        "you  日 本 語  wide and ␛[31mred",
        "llm  It counts▍",
        "▶ attempt 1 · 40 tok/s",
    ] {
        assert!(holds(&text, expected), "{expected} is missing in {text:#?}");
    }
}

#[test]
fn an_answer_is_drawn_as_markdown_while_it_streams() {
    let text = "**Bold** and `code`\n- item\n\n```\nx = 1";
    let (rows, buf) = pane(with_answer(text, false), 40, 10);
    let first = rows.iter().position(|row| row == "llm  Bold and `code`").unwrap();
    assert_eq!(
        rows[first + 1..first + 5],
        ["", "     • item", "", "     │ x = 1▍"],
        "{rows:?}"
    );
    let y = u16::try_from(first).unwrap();
    assert!(buf[(5, y)].modifier.contains(Modifier::BOLD) && !buf[(11, y)].modifier.contains(Modifier::BOLD));
    // the prompt of a person is not Markdown
    let mut plain = with_answer("", true);
    plain.calls.recent.get_mut(&CallId(5)).unwrap().prompt = "**a**".into();
    assert!(holds(&pane(plain, 40, 10).0, "you  **a**"));
}

#[test]
fn system_prompt_and_temperature_are_commands_and_shown_in_the_title() {
    let mut bench = Bench::new(busy_state());
    let sent = |effects: &[Effect]| match effects {
        [Effect::Send(Command::SetChat { options })] => options.clone(),
        other => panic!("{other:?}"),
    };
    for (line, system, temperature) in [
        ("system Be Brief.", Some("Be Brief."), None),
        ("temperature 0.7", Some("Be Brief."), Some(0.7)),
        ("system off", None, Some(0.7)),
        ("temperature 0", None, Some(0.0)),
        ("temperature off", None, None),
    ] {
        let effects = bench.press(&format!(":{line}<enter>"));
        let options = sent(&effects);
        assert_eq!(
            (options.system.as_deref(), options.temperature),
            (system, temperature),
            "{line}"
        );
        assert!(bench.ui.overlays.is_empty());
        bench.ui.sent(&Command::SetChat { options });
    }
    for (line, problem) in [
        ("temperature 3", "temperature = 3 (must be 0 to 2), or off"),
        (
            "temperature hot",
            "temperature hot: write a number from 0 to 2, or off",
        ),
        ("temperature NaN", "temperature = NaN (must be 0 to 2), or off"),
    ] {
        assert_eq!(bench.press(&format!(":{line}<enter>")), []);
        assert_eq!(bench.message(), problem);
        bench.press("<esc>");
    }
    // without a text the palette asks for it, with the current one to edit
    bench.ui.chat.system = Some("Be Brief.".into());
    assert_eq!(bench.press(":system<enter>"), []);
    let effects = bench.press(" And kind.<enter>");
    assert_eq!(sent(&effects).system.as_deref(), Some("Be Brief. And kind."));
    bench.ui.chat = ChatOptions {
        system: Some("x".into()),
        temperature: Some(0.7),
    };
    assert!(holds(
        &rows(&mut bench, 200, 60),
        "system prompt · temperature 0.7"
    ));
}

#[test]
fn one_call_is_stopped_alone() {
    let cancel = |call| [Effect::Send(Command::Cancel { call: CallId(call) })];
    let mut bench = Bench::new(busy_state());
    // in the chat: the answer that runs, even while a prompt is typed
    assert_eq!(bench.press("i"), []);
    assert_eq!(bench.press("abc<ctrl+s>"), cancel(5));
    assert_eq!(bench.ui.draft.text(), "abc");
    assert_eq!(bench.press("<ctrl+x>"), [Effect::EditPrompt]);
    // in a list: the selected call
    bench.ui.focus = PaneId::Calls;
    bench.ui.selected_call = Some(CallId(4));
    assert_eq!(bench.press("X"), cancel(4));
    bench.ui.selected_call = Some(CallId(1));
    assert_eq!(bench.press("X"), []);
    assert_eq!(bench.message(), "X: this call has ended");
    for id in [4, 5] {
        bench.state.calls.recent.get_mut(&CallId(id)).unwrap().fate = Some(Fate::Cancelled);
    }
    assert_eq!(bench.press("i<ctrl+s>"), []);
    assert_eq!(bench.message(), "^S: no answer is running");
}

#[test]
fn the_prompt_row_names_the_answer_of_a_closed_chat() {
    let mut bench = Bench::new(busy_state());
    let text = rows(&mut bench, 80, 24);
    assert!(text[22].starts_with(" answering #5 … i shows it"), "{text:#?}");
    // where the chat is a pane, it shows the answer itself
    let text = rows(&mut bench, 120, 40);
    assert!(text[38].starts_with(" i ask a question"), "{text:#?}");
    bench.ui.size = Size::new(80, 24);
    bench.press("i");
    assert!(!holds(&rows(&mut bench, 80, 24), "answering #5"));
}
