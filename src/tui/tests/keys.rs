//! Key scripts: typed keys and the resulting effects.

use crossterm::event::{Event as Terminal, KeyModifiers, MouseButton, MouseEvent, MouseEventKind};
use ratatui::layout::{Rect, Size};

use super::{Bench, busy_state};
use crate::event::{BreakerMode, BurstUsers, CallId, Command, UserId};
use crate::settings::{FaultKind, FaultProfile, QueueOrder};
use crate::state::State;
use crate::time::Timestamp;
use crate::tui::layout::layout;
use crate::tui::overlay::Overlay;
use crate::tui::pane::PaneId;
use crate::tui::plot::Window;
use crate::tui::ui::{Mode, Ui};
use crate::tui::update::Effect;

fn local() -> Bench {
    let state = State {
        session: busy_state().session,
        ..State::default()
    };
    Bench::new(state)
}

fn burst(calls: u32) -> Effect {
    Effect::Send(Command::Burst {
        calls,
        users: BurstUsers::One(UserId::new("ana")),
    })
}

#[test]
fn a_prompt_is_typed_and_sent() {
    let mut bench = local();
    let effects = bench.press("ihello bFq?<enter>");
    let command = Command::Send {
        prompt: "hello bFq?".into(),
        user: UserId::new("ana"),
        conversation: false,
    };
    assert_eq!(effects, [Effect::Send(command.clone())]);
    assert_eq!(
        bench.ui.draft.text(),
        "hello bFq?",
        "kept until the engine accepted it"
    );
    bench.ui.sent(&command);
    assert_eq!((bench.ui.draft.text(), bench.ui.focus), ("", PaneId::Chat));
    assert_eq!(bench.press("<up>"), []);
    assert_eq!(bench.ui.draft.text(), "hello bFq?");
    assert_eq!(bench.press("<esc>"), []);
    assert_eq!(bench.ui.mode, Mode::Normal);
}

#[test]
fn newlines_are_typed_with_a_modifier_and_empty_prompts_stay() {
    let mut bench = local();
    assert_eq!(bench.press("i  <enter>"), []);
    assert_eq!(bench.message(), "nothing to send: type a prompt first");
    bench.press("a<ctrl+j>b<alt+enter>c");
    assert_eq!(bench.ui.draft.text(), "  a\nb\nc");
}

#[test]
fn a_paste_opens_the_prompt_and_never_submits() {
    let mut bench = local();
    let paste = Terminal::Paste("q\rB\x1b[2J\n".into());
    assert_eq!(bench.input(&paste), None);
    assert_eq!(
        (bench.ui.focus, bench.ui.draft.text()),
        (PaneId::Chat, "q\nB[2J\n")
    );
    bench.press("<esc>/");
    bench.input(&Terminal::Paste("a\nb".into()));
    assert_eq!(bench.ui.filter.text(), "a b");
}

#[test]
fn single_keys_send_commands() {
    let mut bench = local();
    assert_eq!(bench.press("b"), [burst(10)]);
    assert_eq!(bench.press("B"), [burst(50)]);
    assert_eq!(bench.press("F"), [Effect::Send(Command::SetFaults { on: true })]);
    assert_eq!(bench.press("c"), [Effect::Send(Command::SetCache { on: false })]);
    assert_eq!(bench.press("R"), [Effect::Send(Command::ResetBreaker)]);
    assert_eq!(bench.press("u"), []);
    assert_eq!(bench.message(), "now sending as ben, bursts too; [7] all users");
    assert_eq!(bench.press("p"), [Effect::Pause]);
    assert_eq!(bench.press("<ctrl+z>"), [Effect::Suspend]);
    assert_eq!(bench.press("q"), [Effect::Quit]);
}

#[test]
fn the_breaker_cycles_through_its_three_modes() {
    let mut bench = local();
    for (now, next) in [
        (BreakerMode::Automatic, BreakerMode::ForcedOpen),
        (BreakerMode::ForcedOpen, BreakerMode::ForcedClosed),
        (BreakerMode::ForcedClosed, BreakerMode::Automatic),
    ] {
        bench.state.breaker.mode = now;
        assert_eq!(
            bench.press("o"),
            [Effect::Send(Command::SetBreaker { mode: next })]
        );
    }
}

#[test]
fn a_burst_that_may_cost_money_asks_for_confirmation() {
    let mut bench = local();
    let upstream = bench.state.session.upstream.as_mut().unwrap();
    (upstream.loopback, upstream.simulated, upstream.host) = (false, false, "api.example.com".into());
    assert_eq!(bench.press("B"), []);
    let Some(Overlay::Confirm(confirm)) = bench.ui.overlays.last() else {
        panic!("no question: {:?}", bench.ui.overlays);
    };
    assert_eq!(confirm.question, "50 paid calls to api.example.com? y/N");
    assert_eq!(bench.press("<enter>"), [], "Enter means no");
    assert_eq!(bench.ui.overlays, []);
    assert_eq!(bench.press("By"), [burst(50)]);
    assert_eq!(bench.press(":burst 300<enter>y"), [burst(300)]);
}

#[test]
fn a_disabled_key_shows_its_reason() {
    let mut bench = local();
    for (key, why) in [
        ("x", "x: nothing is running"),
        ("n", "n: no filter: [/] sets one"),
        ("8", "8: only 7 panes at this size"),
        ("-", "-: the failure rate is 0% already"),
        ("<enter>", "Enter: no call here"),
        ("y", "y: nothing to copy here"),
        ("<end>", "End: already following"),
        ("w", "w: no calls yet: [b] burst, [i] prompt"),
    ] {
        assert_eq!(bench.press(key), []);
        assert_eq!(bench.message(), why);
    }
    bench.state.calls.totals.started = 1_000;
    assert_eq!(bench.press("B"), []);
    assert_eq!(bench.message(), "B: 1000 calls are running: x stops them");
    assert_eq!(bench.press("x"), [Effect::Send(Command::CancelAll)]);
    bench.ui.read_only = true;
    assert_eq!(bench.press("w"), []);
    assert_eq!(bench.message(), "w: this session is read-only");
    assert_eq!(bench.press("i"), []);
    assert_eq!(bench.message(), "i: this session is read-only");
}

#[test]
fn the_order_of_the_queue_is_toggled_with_a_message() {
    let mut bench = local();
    for (now, next, message) in [
        (
            QueueOrder::Fair,
            QueueOrder::Fifo,
            "queue: first come, first served; a flood by one user delays everyone",
        ),
        (
            QueueOrder::Fifo,
            QueueOrder::Fair,
            "queue: fair by user; a flood delays only its own user",
        ),
    ] {
        bench.state.session.policy.limit.order = now;
        let command = Command::SetQueueOrder { order: next };
        assert_eq!(bench.press("t"), [Effect::Send(command)]);
        assert_eq!(bench.message(), message);
    }
    bench.state.session.policy.limit.enabled = false;
    assert_eq!(bench.press("t"), []);
    assert_eq!(bench.message(), "t: no queue: the limiter is off");
}

#[test]
fn bursts_are_sent_as_the_current_user_or_as_every_user() {
    let mut bench = local();
    let from = |calls, users| [Effect::Send(Command::Burst { calls, users })];
    assert_eq!(bench.press("ub"), from(10, BurstUsers::One(UserId::new("ben"))));
    assert_eq!(bench.press("a"), from(20, BurstUsers::All));
    assert_eq!(bench.message(), "20 calls as ana, ben in turn");
    bench.ui.users = (1..=5).map(|user| UserId::new(&user.to_string())).collect();
    bench.press("a");
    assert_eq!(bench.message(), "20 calls as 5 users in turn");
    bench.ui.users.truncate(1);
    assert_eq!(bench.press("a"), from(20, BurstUsers::All));
    assert_eq!(bench.message(), "");
    assert_eq!(bench.press("u"), []);
    assert_eq!(bench.message(), "u: only one user");
}

#[test]
fn ctrl_c_stops_then_quits_and_quits_at_once_when_idle() {
    let mut idle = local();
    assert_eq!(idle.press("i<ctrl+c>"), [Effect::Interrupt]);
    let mut busy = Bench::new(busy_state());
    let stop = Effect::Send(Command::CancelAll);
    assert_eq!(busy.press("<ctrl+c>").first(), Some(&stop));
    busy.now = busy.now + std::time::Duration::from_secs(3);
    assert_eq!(busy.press("<ctrl+c>"), [stop]);
    busy.now = busy.now + std::time::Duration::from_secs(1);
    assert_eq!(busy.press("<ctrl+c>"), [Effect::Interrupt]);
}

#[test]
fn the_palette_finds_commands_by_name() {
    let mut bench = local();
    assert_eq!(bench.press("<ctrl+p>burst 10000<enter>"), [burst(10_000)]);
    bench.state.cache.entries = 1;
    assert_eq!(
        bench.press(":clear cache<enter>"),
        [Effect::Send(Command::ClearCache)]
    );
    assert_eq!(
        bench.press(":reset br<enter>"),
        [Effect::Send(Command::ResetBreaker)]
    );
    let all_users = Command::Burst {
        calls: 30,
        users: BurstUsers::All,
    };
    assert_eq!(bench.press(":all users 30<enter>"), [Effect::Send(all_users)]);
    assert_eq!(bench.press("ihalf<ctrl+p>zoom<enter>"), []);
    assert!(bench.ui.zoomed, "chosen from the prompt");
    assert_eq!(bench.ui.draft.text(), "half");
}

#[test]
fn fault_rates_are_set_in_the_overlay_and_scaled_with_plus() {
    let mut bench = local();
    bench.ui.profiles = vec![FaultProfile {
        name: "outage".into(),
        server_error: 0.5,
        ..FaultProfile::default()
    }];
    let rates = |effects: Vec<Effect>| -> Vec<(String, f64, f64)> {
        effects
            .into_iter()
            .filter_map(|effect| match effect {
                Effect::Send(Command::SetFaultProfile { profile }) => {
                    let rate = (profile.rate(FaultKind::RateLimited) * 100.0).round();
                    Some((profile.name.clone(), rate, (profile.total() * 100.0).round()))
                }
                _ => None,
            })
            .collect()
    };
    let changes = rates(bench.press("f<right><down>++-"));
    assert_eq!(
        changes,
        [
            ("outage".into(), 0.0, 50.0),
            ("outage".into(), 5.0, 55.0),
            ("outage".into(), 10.0, 60.0),
            ("outage".into(), 5.0, 55.0),
        ]
    );
    assert_eq!(
        bench.press("<space>"),
        [Effect::Send(Command::SetFaults { on: true })]
    );
    bench.press("<esc>");
    bench.state.session.faults = bench.ui.profiles[0].clone();
    assert_eq!(rates(bench.press("+")), [("outage".into(), 0.0, 55.0)]);
    assert_eq!(
        bench.message(),
        "failure rate 55% (faults are off; [F] turns them on)"
    );
}

#[test]
fn focus_zoom_and_escape_one_step_back() {
    let mut bench = Bench::new(busy_state());
    bench.press("<tab><tab>z");
    assert_eq!((bench.ui.focus, bench.ui.zoomed), (PaneId::Calls, true));
    bench.press("<backtab>");
    assert_eq!(bench.ui.focus, PaneId::Limiter);
    bench.press("4/retry<enter>kk");
    assert_eq!((bench.ui.focus, bench.ui.filter.text()), (PaneId::Log, "retry"));
    assert_eq!(bench.ui.log_cursor, Some(34));
    bench.press("nN");
    assert_eq!(bench.ui.log_cursor, Some(34));
    bench.press("<end><esc>");
    assert_eq!(
        (bench.ui.log_cursor, bench.ui.filter.text(), bench.ui.zoomed),
        (None, "", true)
    );
    bench.press("<esc>");
    assert!(!bench.ui.zoomed);
}

#[test]
fn the_story_of_a_call_opens_and_moves_to_other_calls() {
    let mut bench = Bench::new(busy_state());
    bench.press("3j<enter>");
    assert_eq!(bench.ui.overlays, [Overlay::Details(CallId(4))]);
    let cancel = Effect::Send(Command::Cancel { call: CallId(4) });
    assert_eq!(bench.press("x"), [cancel]);
    bench.press("<down>");
    assert_eq!(bench.ui.overlays, [Overlay::Details(CallId(3))]);
    assert_eq!(bench.press("x"), []);
    assert_eq!(bench.message(), "x: this call has ended");
    assert_eq!(bench.ui.selected_call, Some(CallId(3)));
    bench.press("<esc>g");
    assert_eq!(bench.ui.selected_call, None, "the top is the newest");
}

#[test]
fn the_conversation_keeps_its_position_when_text_arrives() {
    let mut bench = Bench::new(busy_state());
    bench.press("1kkk");
    let anchor = bench.ui.chat_top;
    assert!(anchor.is_some());
    let flight = bench.state.calls.flights.values_mut().next_back().unwrap();
    flight.text.push(&"more ".repeat(100));
    assert_eq!(bench.ui.chat_top, anchor);
    bench.press("jk");
    assert_eq!(bench.ui.chat_top, anchor);
    bench.press("<end>");
    assert_eq!(bench.ui.chat_top, None);
    bench.press("g");
    assert_eq!(
        bench.ui.chat_top.map(|top| (top.call, top.row)),
        Some((CallId(1), 0))
    );
}

#[test]
fn copy_takes_the_text_under_the_cursor() {
    let mut bench = Bench::new(busy_state());
    assert_eq!(bench.press("1y"), [Effect::Copy("It counts".into())]);
    assert_eq!(bench.press("4y"), [Effect::Copy("39.000 ok sentence 39".into())]);
}

#[test]
fn typing_in_the_help_searches_and_sends_no_commands() {
    let mut bench = local();
    assert_eq!(bench.press("?bBq"), []);
    let Some(Overlay::Help(help)) = bench.ui.overlays.last() else {
        panic!("no help");
    };
    assert_eq!(help.search.text(), "bBq");
    bench.press("<esc>i<f1>");
    assert_eq!(bench.ui.overlays.len(), 1);
    bench.press("<esc>x");
    assert_eq!(bench.ui.draft.text(), "x");
}

fn mouse(kind: MouseEventKind, column: u16, row: u16) -> Terminal {
    Terminal::Mouse(MouseEvent {
        kind,
        column,
        row,
        modifiers: KeyModifiers::NONE,
    })
}

#[test]
fn the_mouse_focuses_scrolls_and_presses_footer_keys() {
    let mut bench = Bench::new(busy_state());
    let click = MouseEventKind::Down(MouseButton::Left);
    bench.input(&mouse(click, 50, 5));
    assert_eq!(bench.ui.focus, PaneId::Limiter);
    bench.input(&mouse(MouseEventKind::ScrollUp, 10, 19));
    assert_eq!((bench.ui.focus, bench.ui.log_cursor), (PaneId::Limiter, Some(36)));
    assert_eq!(
        bench.input(&mouse(click, 2, 23)),
        Some(Effect::Send(Command::CancelAll)),
        "the first key is x"
    );
    bench.input(&mouse(click, 20, 22));
    assert_eq!(bench.ui.focus, PaneId::Chat);
}

#[test]
fn no_script_panics_at_any_size() {
    let keys = "jkgGnNzp/ab<esc>?x<up><down><esc>fjj+-<esc>:bu<down><up><esc>1234<enter><down><esc>iqw<up><ctrl+j><esc>y<tab>";
    for width in (0..=200).step_by(23) {
        for height in (0..=60).step_by(7) {
            let mut bench = Bench::new(busy_state());
            bench.input(&Terminal::Resize(width, height));
            assert_eq!(bench.ui.size, Size::new(width, height));
            bench.press(keys);
            let _areas = layout(Rect::new(0, 0, width, height), &Ui::default());
        }
    }
}

#[test]
fn the_crosshair_moves_by_columns_while_paused() {
    let mut bench = Bench::new(busy_state());
    bench.press("h");
    assert_eq!(bench.message(), "h: only while paused: [p] pauses the view");
    bench.press("vvvv");
    assert_eq!(bench.ui.window, Window::HalfMinute);
    bench.press("vV");
    assert_eq!(bench.ui.window, Window::HalfMinute);
    bench.ui.paused = Some(0);
    bench.press("l");
    assert_eq!(bench.ui.crosshair, None);
    // 60 columns for 30 s: half a second each, now is 42 s
    let mut at = |keys: &str| {
        bench.press(keys);
        bench.ui.crosshair.map(Timestamp::as_secs_f64)
    };
    assert_eq!(at("h"), Some(42.0));
    assert_eq!(at("hh"), Some(41.25));
    assert_eq!(at("l"), Some(41.75));
    assert_eq!(at("ll"), None);
    assert_eq!(at("hh<esc>"), None);
}

#[test]
fn a_click_on_a_chart_pauses_and_sets_the_crosshair() {
    let mut bench = Bench::new(busy_state());
    let traffic = areas_of(&bench).pane(PaneId::Traffic).unwrap();
    let click = mouse(MouseEventKind::Down(MouseButton::Left), 79, traffic.y + 2);
    assert_eq!(bench.input(&click), Some(Effect::Pause));
    assert_eq!(bench.ui.crosshair, Some(bench.now));
    bench.ui.paused = Some(0);
    assert_eq!(bench.input(&click), None, "already paused");
    bench.input(&mouse(MouseEventKind::ScrollDown, 79, traffic.y + 2));
    assert_eq!(bench.ui.window, Window::TwoMinutes);
}

fn areas_of(bench: &Bench) -> crate::tui::layout::Areas {
    layout(Rect::new(0, 0, 80, 24), &bench.ui)
}
