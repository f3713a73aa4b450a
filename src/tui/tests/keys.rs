//! Key scripts: typed keys and the resulting effects.

use std::time::Duration;

use crossterm::event::{
    Event as Terminal, KeyCode, KeyEvent, KeyModifiers, MouseButton, MouseEvent, MouseEventKind,
};
use proptest::prelude::*;
use ratatui::layout::{Rect, Size};

use super::{Bench, busy_state};
use crate::event::{BreakerMode, BurstUsers, CallId, Command, UserId};
use crate::settings::{FaultKind, FaultProfile, Policy, QueueOrder, SETTINGS, SemanticMode, Setting};
use crate::state::State;
use crate::time::Timestamp;
use crate::tui::action::Action;
use crate::tui::editor::Editor;
use crate::tui::keymap::{Context, Keymap};
use crate::tui::layout::layout;
use crate::tui::overlay::help::Subject;
use crate::tui::overlay::save::Saved;
use crate::tui::overlay::{Overlay, Palette, area_of};
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
    assert_eq!(bench.ui.focus, PaneId::Calls);
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
fn the_prompt_takes_letters_however_it_got_the_focus() {
    let click = mouse(MouseEventKind::Down(MouseButton::Left), 4, 22);
    let ways = [
        vec![key("i")],
        vec![key("1")],
        vec![key("<tab>"), key("<tab>")],
        vec![key("7"), key("i")],
        vec![click],
    ];
    for way in ways {
        let mut bench = local();
        assert_eq!(bench.ui.focus, PaneId::Calls, "commands first");
        for input in &way {
            bench.input(input);
        }
        assert_eq!(bench.press("bBFfxq:?/ 1"), [], "{way:?}");
        assert_eq!(bench.ui.draft.text(), "bBFfxq:?/ 1", "{way:?}");
        bench.press("<esc>");
        assert_eq!(bench.ui.draft.text(), "bBFfxq:?/ 1", "kept");
        assert_eq!(bench.press("b"), [burst(10)], "{way:?}");
    }
}

#[test]
fn escape_leaves_the_prompt_to_the_pane_before_and_tab_goes_on() {
    let mut bench = Bench::new(busy_state());
    bench.press("5i<esc>");
    assert_eq!(bench.ui.focus, PaneId::Retries);
    bench.press("1<tab>");
    assert_eq!(bench.ui.focus, PaneId::Cache);
    bench.press("1<backtab>");
    assert_eq!(bench.ui.focus, PaneId::Log);
    bench.press("9i<esc>");
    assert_eq!(
        bench.ui.focus,
        PaneId::Users,
        "Users fills the screen at this size"
    );
    bench.press("<esc>");
    assert_eq!(bench.ui.focus, PaneId::Calls);
}

#[test]
fn a_recording_can_be_filtered() {
    let mut bench = Bench::new(busy_state());
    bench.ui.read_only = true;
    assert_eq!(bench.press("/failed<enter>"), []);
    assert_eq!((bench.ui.mode, bench.message()), (Mode::Normal, ""));
    assert_eq!(bench.ui.filter_text(PaneId::Calls), Some("failed"));
}

#[test]
fn a_pane_without_a_list_does_not_move_the_selection_of_another() {
    let mut bench = Bench::new(busy_state());
    bench.press("4<down>");
    assert_eq!(bench.ui.selected_call, None);
    assert_eq!(
        bench.message(),
        "j: no list here: 8 goes to the calls, 0 to the log"
    );
    bench.press("8<down>");
    assert!(bench.ui.selected_call.is_some());
}

#[test]
fn a_key_without_a_command_says_so() {
    let mut bench = local();
    assert_eq!(bench.press("e"), []);
    assert_eq!(bench.message(), "e: no command; ? lists the keys");
    bench.press("<ctrl+d>");
    assert_eq!(bench.message(), "^D: no command; ? lists the keys");
}

#[test]
fn before_the_first_call_help_begins_with_the_first_keys() {
    let subject = |bench: &Bench| match bench.ui.overlays.last() {
        Some(Overlay::Help(help)) => help.subject,
        other => panic!("{other:?}"),
    };
    let mut bench = Bench::new(State::default());
    bench.press("?");
    assert_eq!(subject(&bench), Subject::Start);
    bench.press("<esc>4?");
    assert_eq!(subject(&bench), Subject::Pane(PaneId::Breaker));
}

#[test]
fn a_recording_has_no_prompt_to_type_in() {
    let mut bench = Bench::new(busy_state());
    bench.ui.read_only = true;
    assert_eq!(bench.press("1b"), []);
    assert_eq!(bench.message(), "b: this session is read-only");
    bench.input(&Terminal::Paste("text".into()));
    assert_eq!(
        (bench.ui.draft.text(), bench.message()),
        ("", "this session is read-only")
    );
}

#[test]
fn a_paste_goes_to_the_text_field_or_to_the_prompt() {
    let mut bench = local();
    let paste = Terminal::Paste("q\rB\x1b[2J\n".into());
    assert_eq!(bench.input(&paste), None);
    assert_eq!(
        (bench.ui.focus, bench.ui.draft.text()),
        (PaneId::Chat, "q\nB[2J\n")
    );
    bench.press("<esc>/");
    bench.input(&Terminal::Paste("a\nb".into()));
    assert_eq!(bench.ui.filter_text(PaneId::Calls), Some("a b"));
    bench.press("<esc>o");
    assert_eq!(bench.input(&Terminal::Paste("c".into())), None);
    assert_eq!(bench.ui.overlays, [Overlay::Breaker]);
    assert_eq!(bench.message(), "paste: nothing here takes text; Esc closes it");
}

#[test]
fn single_keys_send_commands() {
    let mut bench = local();
    assert_eq!(bench.press("b"), [burst(10)]);
    assert_eq!(bench.press("B"), [burst(50)]);
    assert_eq!(bench.press("u"), []);
    assert_eq!(
        bench.message(),
        "now sending as ben, bursts too; 9 shows all users"
    );
    assert_eq!(bench.press("p"), [Effect::Pause]);
    assert_eq!(bench.press("<ctrl+z>"), [Effect::Suspend]);
    assert_eq!(bench.press("q"), [Effect::Quit]);
}

/// A change: keys, the command, its reverse, and the report.
type Toggle = (&'static str, Command, Command, &'static str);

/// Every change that can be undone, in a session where all is as at the start.
fn toggles() -> Vec<Toggle> {
    let breaker = |mode| Command::SetBreaker { mode };
    let order = |order| Command::SetQueueOrder { order };
    let semantic = |mode| Command::SetSemantic { mode };
    let faults = |on| Command::SetFaults { on };
    let cache = |on| Command::SetCache { on };
    let policy = |policy| Command::ApplyPolicy {
        policy: Box::new(policy),
    };
    let attempts = Setting::find("retry.attempts").unwrap();
    let running = Policy::default();
    let stepped = running.with("retry.attempts", &attempts.step(&attempts.value(&running), true));
    let mut edited = stepped.unwrap();
    edited.name = format!("{}+retry.attempts={}", running.name, attempts.value(&edited));
    vec![
        (
            "F",
            faults(true),
            faults(false),
            "Faults on: none. U undoes it. Send calls: b, L.",
        ),
        ("c", cache(false), cache(true), "Cache off. U undoes it."),
        (
            "s",
            semantic(SemanticMode::On),
            semantic(SemanticMode::Off),
            "Semantic on: similar prompts share an answer. U undoes it.",
        ),
        (
            "t",
            order(QueueOrder::Fifo),
            order(QueueOrder::Fair),
            "Queue by arrival: a flood by one user delays all. U undoes it.",
        ),
        (
            "oo",
            breaker(BreakerMode::ForcedOpen),
            breaker(BreakerMode::Automatic),
            "Breaker forced open. U undoes it.",
        ),
        (
            "oc",
            breaker(BreakerMode::ForcedClosed),
            breaker(BreakerMode::Automatic),
            "Breaker forced closed. U undoes it.",
        ),
        (
            "=<right><enter>",
            policy(edited),
            policy(running),
            "Policy applied. U undoes it.",
        ),
    ]
}

#[test]
fn every_toggle_reports_for_five_seconds_and_u_undoes_it() {
    for (keys, command, reverse, report) in toggles() {
        let mut bench = local();
        bench.input(&Terminal::Resize(100, 40));
        if keys.starts_with('=') {
            bench.ui.whatif.row = SETTINGS
                .iter()
                .position(|setting| setting.path == "retry.attempts")
                .unwrap();
        }
        assert_eq!(bench.press(keys), [Effect::Send(command.clone())]);
        assert_eq!(bench.message(), report);
        bench.now = bench.now + Duration::from_millis(4_900);
        assert_eq!(bench.message(), report);
        bench.ui.sent(&command);
        assert_eq!(bench.press("U"), [Effect::Send(reverse)], "{keys}");
        assert!(bench.message().starts_with("Undone: "), "{}", bench.message());
        bench.press("U");
        assert_eq!(bench.message(), "U: nothing to undo");
    }
}

#[test]
fn the_conversation_is_undone_without_a_command() {
    let mut bench = local();
    assert_eq!(bench.press("m"), []);
    assert!(bench.ui.conversation);
    assert_eq!(
        bench.message(),
        "Earlier turns are sent too, so repeats may miss the cache. U undoes it."
    );
    // an unrelated command that is not sent changes nothing
    bench.ui.not_sent("engine busy", bench.now);
    assert_eq!(bench.press("U"), []);
    assert!(!bench.ui.conversation);
}

#[test]
fn a_change_that_was_not_sent_cannot_be_undone() {
    let mut bench = local();
    let command = bench.press("F");
    assert_eq!(command.len(), 1);
    bench.ui.not_sent("engine busy", bench.now);
    bench.press("U");
    assert_eq!(bench.message(), "U: nothing to undo");
}

#[test]
fn the_list_of_the_breaker_offers_what_changes_something() {
    let mut bench = local();
    bench.press("oa");
    assert_eq!(bench.message(), "a: it is automatic already");
    assert_eq!(bench.ui.overlays, [Overlay::Breaker]);
    bench.press("<esc>");
    bench.state.breakers.first_mut().mode = BreakerMode::ForcedOpen;
    let release = Command::SetBreaker {
        mode: BreakerMode::Automatic,
    };
    assert_eq!(bench.press("oa"), [Effect::Send(release)]);
    assert_eq!(bench.press("or"), [Effect::Send(Command::ResetBreaker)]);
    assert_eq!(bench.ui.overlays, []);
}

#[test]
fn keys_without_an_undo_ask_first() {
    let mut bench = Bench::new(busy_state());
    bench.state.cache.entries = 42;
    let table = [
        ("q", "2 calls are running. Quit? y/N", Effect::Quit),
        (
            "R",
            "Reset the breaker? It closes and forgets its failures. y/N",
            Effect::Send(Command::ResetBreaker),
        ),
        (
            ":clear cache<enter>",
            "Remove 42 stored answers from the cache? y/N",
            Effect::Send(Command::ClearCache),
        ),
    ];
    for (keys, question, effect) in table {
        assert_eq!(bench.press(keys), []);
        let Some(Overlay::Confirm(confirm)) = bench.ui.overlays.last() else {
            panic!("no question: {:?}", bench.ui.overlays);
        };
        assert_eq!(confirm.question, question);
        assert_eq!(bench.press("<enter>"), [], "Enter means no");
        assert_eq!(bench.ui.overlays, []);
        bench.press(keys);
        assert_eq!(bench.press("y"), [effect]);
    }
    bench.ui.read_only = true;
    assert_eq!(bench.press("q"), [Effect::Quit], "a viewer stops no call");
}

#[test]
fn saving_asks_for_the_name_of_the_file() {
    let mut bench = Bench::new(busy_state());
    assert_eq!(bench.press("w<enter>"), [Effect::Save(Saved::Drill, None)]);
    let named = |content, name: &str| Effect::Save(content, Some(name.into()));
    assert_eq!(
        bench.press("wmine q<enter>"),
        [named(Saved::Drill, "mine q.toml")]
    );
    assert_eq!(
        bench.press("wdir/x.txt<enter>"),
        [named(Saved::Drill, "dir/x.txt")]
    );
    assert_eq!(bench.press("wabc<esc>"), []);
    bench.input(&Terminal::Resize(100, 40));
    assert_eq!(
        bench.press("=wfaster<enter>"),
        [named(Saved::Policy, "faster.toml")]
    );
    assert_eq!(bench.ui.overlays, [Overlay::WhatIf]);
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
        ("n", "n: no filter: / sets one"),
        (
            "-",
            "-: the failure rate is as low as it goes; F turns faults off",
        ),
        ("<enter>", "Enter: no call here"),
        ("y", "y: nothing to copy here"),
        ("<end>", "End: already following"),
        ("w", "w: no calls yet: b sends ten, i asks"),
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
fn the_order_has_no_effect_without_a_limiter() {
    let mut bench = local();
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
fn ctrl_c_clears_closes_stops_and_quits_in_this_order() {
    let stop = Effect::Send(Command::CancelAll);
    let mut bench = Bench::new(busy_state());
    bench.press("ihello");
    let ladder = [
        (None, "cleared; Up brings it back"),
        (None, ""),
        (Some(stop), "Stopped 2 calls. ^C again quits"),
        (Some(Effect::Interrupt), ""),
    ];
    for (effect, message) in ladder {
        assert_eq!(bench.press("<ctrl+c>"), effect.into_iter().collect::<Vec<_>>());
        assert_eq!(bench.message(), message);
    }
    assert_eq!(bench.ui.focus, PaneId::Calls);
    bench.press("i<up>");
    assert_eq!(bench.ui.draft.text(), "hello");
}

#[test]
fn ctrl_c_never_ends_a_session_in_one_press() {
    let mut bench = local();
    for _ in 0..3 {
        assert_eq!(bench.press("<ctrl+c>"), []);
        assert_eq!(bench.message(), "^C again or q quits");
        bench.now = bench.now + Duration::from_secs(3);
    }
    bench.press("<ctrl+c>");
    bench.now = bench.now + Duration::from_secs(2);
    assert_eq!(bench.press("<ctrl+c>"), [Effect::Interrupt]);
}

#[test]
fn ctrl_c_clears_every_text_field_and_closes_every_overlay() {
    let opens = ["f", "o", "w", ":", "?", "R", "=", "<enter>", "=e", "/", "i"];
    for keys in opens {
        let mut bench = Bench::new(busy_state());
        bench.input(&Terminal::Resize(100, 40));
        bench.press(keys);
        let text_field = matches!(keys, "w" | ":" | "?" | "=e" | "/" | "i");
        if text_field {
            bench.press("1");
            assert_eq!(bench.press("<ctrl+c>"), [], "{keys}");
            assert_eq!(bench.ui.keys(), field(keys), "{keys}: cleared, still open");
        }
        while bench.ui.keys() != Context::Normal {
            assert_eq!(bench.press("<ctrl+c>"), [], "{keys}");
        }
        assert_eq!(bench.ui.draft.text(), "");
    }
}

/// The context in which these keys type.
fn field(keys: &str) -> Context {
    match keys {
        "w" => Context::Name,
        "=e" => Context::Value,
        "/" => Context::Line,
        "i" => Context::Input,
        "?" => Context::Help,
        _ => Context::List,
    }
}

#[test]
fn the_palette_finds_commands_by_name() {
    let mut bench = local();
    assert_eq!(bench.press("<ctrl+p>burst 10000<enter>"), [burst(10_000)]);
    assert_eq!(
        bench.press(":reset br<enter>y"),
        [Effect::Send(Command::ResetBreaker)]
    );
    let open = Command::SetBreaker {
        mode: BreakerMode::ForcedOpen,
    };
    assert_eq!(bench.press(":force open<enter>"), [Effect::Send(open)]);
    let all_users = Command::Burst {
        calls: 30,
        users: BurstUsers::All,
    };
    assert_eq!(bench.press(":all users 30<enter>"), [Effect::Send(all_users)]);
    assert_eq!(bench.press("ihalf<ctrl+p>zoom<enter>"), []);
    assert!(bench.ui.zoomed, "chosen from the prompt");
    assert_eq!(bench.ui.draft.text(), "half");
}

/// A local session with a bundled profile `outage` of 50 %.
fn with_outage() -> (Bench, FaultProfile) {
    let mut bench = local();
    let outage = FaultProfile {
        name: "outage".into(),
        server_error: 0.5,
        ..FaultProfile::default()
    };
    bench.ui.profiles = vec![outage.clone()];
    (bench, outage)
}

#[test]
fn the_fault_chooser_applies_once_or_leaves_all_as_it_was() {
    let (mut bench, outage) = with_outage();
    assert_eq!(bench.press("f<right><down>++-<space><esc>"), []);
    assert!(bench.ui.undo.is_empty());
    let mut edited = outage.clone();
    edited.name = "outage (edited)".into();
    edited.set_rate(FaultKind::RateLimited, 0.05);
    let apply = |on, profile: &FaultProfile| {
        Effect::Send(Command::ApplyFaults {
            on,
            profile: Box::new(profile.clone()),
        })
    };
    assert_eq!(bench.press("f<right><down>+<enter>"), [apply(true, &edited)]);
    assert_eq!(
        bench.message(),
        "Faults on: outage (edited). U undoes it. Send calls: b, L."
    );
    assert_eq!(bench.press("U"), [apply(false, &FaultProfile::default())]);
    assert_eq!(bench.press("f<right><space><enter>"), [apply(false, &outage)]);
    assert_eq!(bench.message(), "Faults off, outage is ready. U undoes it.");
    (bench.state.session.faults, bench.state.session.faults_on) = (outage, true);
    assert_eq!(bench.press("f<enter>"), [], "nothing to apply");
}

#[test]
fn plus_and_minus_scale_the_running_faults() {
    let (mut bench, outage) = with_outage();
    bench.state.session.faults = outage;
    let Some(Effect::Send(Command::SetFaultProfile { profile })) = bench.press("+").pop() else {
        panic!("no profile");
    };
    assert_eq!(
        (profile.name.as_str(), (profile.total() * 100.0).round()),
        ("outage (edited)", 55.0)
    );
    assert_eq!(
        bench.message(),
        "55% of attempts fail once faults are on (F). U undoes it."
    );
}

#[test]
fn focus_zoom_and_escape_one_step_back() {
    let mut bench = Bench::new(busy_state());
    bench.press("<tab>z");
    assert_eq!((bench.ui.focus, bench.ui.zoomed), (PaneId::Log, true));
    bench.press("/retry<enter>kk");
    assert_eq!(bench.ui.filter_text(PaneId::Log), Some("retry"));
    assert_eq!(bench.ui.log_cursor, Some(34));
    bench.press("nN");
    assert_eq!(bench.ui.log_cursor, Some(34));
    bench.press("<end><esc>");
    assert_eq!(
        (
            bench.ui.log_cursor,
            bench.ui.filter_text(PaneId::Log),
            bench.ui.zoomed
        ),
        (None, None, true)
    );
    bench.press("<esc>");
    assert!(!bench.ui.zoomed);
}

#[test]
fn a_digit_focuses_and_again_fills_the_screen_at_every_size() {
    for (width, height) in [(80, 24), (120, 40), (200, 60)] {
        for pane in PaneId::ALL {
            let mut bench = Bench::new(busy_state());
            bench.input(&Terminal::Resize(width, height));
            let digit = pane.digit().to_string();
            bench.press(&digit);
            assert_eq!(bench.ui.focus, pane, "{width}x{height}");
            let on_main = !areas_of(&bench).zoomed;
            bench.press(&digit);
            // Chat takes the digit as text; a pane without room fills the screen at once, and again leaves it
            let zoomed = areas_of(&bench).zoomed;
            assert_eq!(
                zoomed,
                on_main && pane != PaneId::Chat,
                "{width}x{height} {pane:?}"
            );
            bench.press("<esc>");
            assert!(!areas_of(&bench).zoomed, "{width}x{height} {pane:?}");
        }
    }
}

#[test]
fn the_story_of_a_call_opens_and_moves_to_other_calls() {
    let mut bench = Bench::new(busy_state());
    bench.press("j<enter>");
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
    bench.press("1<pgup>");
    let anchor = bench.ui.chat_top;
    assert!(anchor.is_some());
    let flight = bench.state.calls.flights.values_mut().next_back().unwrap();
    flight.text.push(&"more ".repeat(100));
    assert_eq!(bench.ui.chat_top, anchor);
    bench.press("<pgdn><pgdn><pgdn><pgdn>");
    assert_eq!(bench.ui.chat_top, None, "the end is followed");
}

#[test]
fn copy_takes_the_text_under_the_cursor() {
    let mut bench = Bench::new(busy_state());
    assert_eq!(bench.press("1<ctrl+y>"), [Effect::Copy("It counts".into())]);
    assert_eq!(
        bench.press("<esc>0y"),
        [Effect::Copy("39.000 ok sentence 39".into())]
    );
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
    let limiter = areas_of(&bench).pane(PaneId::Limiter).unwrap();
    bench.input(&mouse(click, limiter.x + 3, limiter.y + 1));
    assert_eq!(bench.ui.focus, PaneId::Limiter);
    bench.input(&mouse(MouseEventKind::ScrollUp, 10, 21));
    assert_eq!((bench.ui.focus, bench.ui.log_cursor), (PaneId::Limiter, Some(36)));
    assert_eq!(bench.input(&mouse(click, 2, 23)), Some(burst(10)));
    bench.input(&mouse(click, 20, 22));
    assert_eq!(bench.ui.focus, PaneId::Chat);
}

#[test]
fn a_click_selects_a_row_and_the_second_shows_why() {
    let mut bench = Bench::new(busy_state());
    let click = MouseEventKind::Down(MouseButton::Left);
    let calls = areas_of(&bench).inner(PaneId::Calls);
    let third = mouse(click, 3, calls.y + 2);
    bench.input(&third);
    assert_eq!(
        (bench.ui.focus, bench.ui.selected_call),
        (PaneId::Calls, Some(CallId(3)))
    );
    bench.now = bench.now + Duration::from_millis(500);
    bench.input(&third);
    assert_eq!(bench.ui.overlays, [], "too late for a double click");
    bench.now = bench.now + Duration::from_millis(300);
    bench.input(&third);
    assert_eq!(bench.ui.overlays, [Overlay::Details(CallId(3))]);
    bench.input(&mouse(click, 0, 0));
    assert_eq!(bench.ui.overlays, [], "a click outside closes it");
    let log = areas_of(&bench).pane(PaneId::Log).unwrap();
    let title = mouse(click, 4, log.y);
    bench.input(&title);
    bench.input(&title);
    assert_eq!((bench.ui.focus, bench.ui.zoomed), (PaneId::Log, true));
    let inner = areas_of(&bench).inner(PaneId::Log);
    bench.input(&mouse(click, 4, inner.bottom() - 2));
    assert_eq!(bench.ui.log_cursor, Some(38));
}

#[test]
fn the_mouse_chooses_in_overlays() {
    let mut bench = Bench::new(busy_state());
    let click = MouseEventKind::Down(MouseButton::Left);
    let area = |bench: &Bench| area_of(bench.ui.overlays.last().unwrap(), Rect::new(0, 0, 80, 24));
    bench.press("o");
    let list = area(&bench);
    let open = Command::SetBreaker {
        mode: BreakerMode::ForcedOpen,
    };
    assert_eq!(
        bench.input(&mouse(click, list.x + 3, list.y + 1)),
        Some(Effect::Send(open))
    );
    bench.press(":cache");
    let list = area(&bench);
    let first = mouse(click, list.x + 3, list.y + 2);
    assert_eq!(bench.input(&first), None);
    assert!(matches!(bench.input(&first), Some(Effect::Send(_))));
    bench.press("R");
    assert_eq!(bench.input(&mouse(click, 0, 0)), None);
    assert_eq!(bench.ui.overlays.len(), 1, "a question is answered by a key");
}

#[test]
fn no_script_panics_at_any_size() {
    let keys = "jkgGnNzp/ab<esc>?x<up><down><esc>fjj+-<esc>:bu<down><up><esc>234<enter><down><esc>iqw<up><ctrl+j><esc>y<tab>oRUw";
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
    assert_eq!(bench.message(), "h: only while paused: p pauses the view");
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
    let size = bench.ui.size;
    layout(Rect::new(0, 0, size.width, size.height), &bench.ui)
}

/// A key press.
fn key(text: &str) -> Terminal {
    let name = text.trim_start_matches('<').trim_end_matches('>');
    Terminal::Key(super::named(name))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// 20,000 keys. Letters that are typed never become commands, whatever came before.
    #[test]
    fn random_keys_never_panic_and_typed_letters_never_command(
        keys in proptest::collection::vec(any_key(), 100),
        size in proptest::sample::select(vec![(80, 24), (120, 40), (30, 8)]),
    ) {
        let mut bench = Bench::new(busy_state());
        bench.input(&Terminal::Resize(size.0, size.1));
        for pressed in keys {
            let typing = matches!(
                bench.ui.keys(),
                Context::Input
                    | Context::Line
                    | Context::List
                    | Context::Help
                    | Context::Name
                    | Context::Value
            );
            let letter = matches!(pressed.code, KeyCode::Char(_)) && pressed.modifiers.is_empty();
            let effect = bench.input(&Terminal::Key(pressed));
            if typing && letter {
                prop_assert_eq!(&effect, &None, "{:?}", pressed);
            }
            prop_assert!(effect != Some(Effect::Interrupt) || bench.ui.quits_until.is_some());
            if let Some(Effect::Send(command)) = effect {
                bench.ui.sent(&command);
            }
            bench.now = bench.now + Duration::from_millis(40);
        }
    }
}

/// Any key of any context, and any letter.
fn any_key() -> impl Strategy<Value = KeyEvent> {
    let named = [
        "enter",
        "esc",
        "tab",
        "backtab",
        "up",
        "down",
        "left",
        "right",
        "pgup",
        "pgdn",
        "home",
        "end",
        "bksp",
        "space",
        "f1",
        "ctrl+c",
        "ctrl+p",
        "ctrl+y",
        "ctrl+o",
        "ctrl+u",
        "ctrl+w",
        "ctrl+j",
        "alt+enter",
    ];
    prop_oneof![
        proptest::sample::select(named.to_vec()).prop_map(super::named),
        proptest::char::range(' ', '~').prop_map(|c| KeyEvent::new(KeyCode::Char(c), KeyModifiers::NONE)),
    ]
}

#[test]
fn every_action_is_reachable_by_a_key_or_the_palette() {
    let keymap = Keymap::builtin().unwrap();
    for action in Action::ALL {
        let bound = keymap.rows().any(|(_, row, _)| row == *action);
        let palette = Palette {
            query: Editor::from_text(action.description()),
            selected: 0,
        };
        assert!(bound || palette.matches().contains(action), "{}", action.name());
    }
}

#[test]
fn each_list_has_a_filter_of_its_own_and_typing_replaces_it() {
    let mut bench = Bench::new(busy_state());
    bench.press("8/failed<enter>0/retry<enter>8");
    let texts = |bench: &Bench| {
        [PaneId::Calls, PaneId::Log].map(|pane| bench.ui.filter_text(pane).unwrap_or("-").to_owned())
    };
    assert_eq!(texts(&bench), ["failed", "retry"]);
    // the old text is selected: a letter replaces it, a movement keeps it
    bench.press("/x<enter>");
    assert_eq!(texts(&bench), ["x", "retry"]);
    bench.press("/<end>y<enter>");
    assert_eq!(texts(&bench), ["xy", "retry"]);
    bench.press("/<bksp>");
    assert_eq!((bench.ui.mode, texts(&bench)[0].as_str()), (Mode::Filter, ""));
    bench.press("b<enter>/");
    bench.input(&Terminal::Paste("user:ana".into()));
    assert_eq!(texts(&bench), ["user:ana", "retry"]);
    // Esc clears it while it is typed, and afterwards
    bench.press("<esc>");
    assert_eq!(
        (bench.ui.mode, texts(&bench)),
        (Mode::Normal, ["-".into(), "retry".into()])
    );
    bench.press("0<esc>");
    assert_eq!(texts(&bench), ["-", "-"]);
    bench.press("3/");
    assert_eq!(bench.ui.mode, Mode::Normal);
    assert_eq!(
        bench.message(),
        "/: no list here: filter 8 Calls, 9 Users or 0 Log"
    );
}

#[test]
fn the_conversation_is_filtered_by_its_text() {
    let mut bench = Bench::new(busy_state());
    let shown = |bench: &mut Bench| super::screen_text::rows(bench, 120, 40).join("\n");
    bench.ui.focus = PaneId::Chat;
    assert!(shown(&mut bench).contains("It counts"));
    for (text, found, note) in [
        ("it COUNTS", true, "/it COUNTS  1 of 5"),
        ("bucket", false, "/bucket  2 of 5"),
        ("nowhere", false, "/nowhere  0 of 5"),
    ] {
        bench.ui.filters.insert(PaneId::Chat, Editor::from_text(text));
        let screen = shown(&mut bench);
        assert!(screen.contains(note), "{text}: {screen}");
        assert_eq!(screen.contains("It counts"), found, "{text}: {screen}");
    }
    assert!(shown(&mut bench).contains("No matching lines (Esc clears the filter)"));
    bench.press("<esc>");
    assert_eq!(
        (bench.ui.focus, bench.ui.filter_text(PaneId::Chat)),
        (PaneId::Chat, None)
    );
}

#[test]
fn enter_opens_a_group_of_calls_and_then_the_story_also_in_a_replay() {
    use crate::event::{EventKind, Fate, Origin};
    use crate::state::fixture::{Story, ended, started};
    let mut story = Story::begin();
    for id in 1..=5 {
        let hit = EventKind::CacheHit {
            age: Duration::from_secs(9),
            saved: crate::openai::Usage::new(12, 400),
            saved_time: Duration::from_secs(1),
            text: "x".into(),
        };
        story.emit(id, started(id, Origin::Chat, story.now));
        story.emit(id, hit).emit(id, ended(Fate::Hit, 0, 0));
    }
    let playback = crate::tui::playback::bar::Playback {
        name: "x.ndjson".into(),
        at: story.now,
        length: story.now,
        events: (3, 9),
        speed: "x1",
        playing: false,
        marks: [].into(),
        damage: None,
    };
    for playback in [None, Some(playback)] {
        let mut bench = Bench::new(story.state());
        bench.ui.read_only = playback.is_some();
        bench.ui.playback = playback;
        let footer = |bench: &mut Bench| super::screen_text::rows(bench, 120, 40).pop().unwrap();
        assert!(
            footer(&mut bench).contains("Enter open group"),
            "{}",
            footer(&mut bench)
        );
        bench.press("<enter>");
        assert!(bench.ui.overlays.is_empty() && bench.ui.selected_call == Some(CallId(5)));
        let rows = super::screen_text::rows(&mut bench, 120, 40).join("\n");
        assert!((1..=5).all(|id| rows.contains(&format!("#{id} "))), "{rows}");
        assert!(footer(&mut bench).contains("Enter why"), "{}", footer(&mut bench));
        bench.press("j<enter>");
        assert_eq!(bench.ui.overlays, [Overlay::Details(CallId(4))]);
        bench.press("<esc><esc>");
        let rows = super::screen_text::rows(&mut bench, 120, 40).join("\n");
        assert!(rows.contains("#1–5 "), "{rows}");
    }
}
