//! The terminal interface as a whole: key scripts, screens at many sizes, and the loop under a paused clock.

mod chat;
mod event_loop;
mod keys;
mod screen_text;
mod screens;
mod semantic;
mod whatif;

use std::collections::BTreeMap;
use std::time::Duration;

use crossterm::event::{Event as Terminal, KeyEvent, KeyModifiers};
use ratatui::layout::Size;

use super::keymap::Keymap;
use super::ui::Ui;
use super::update::{Effect, UpdateContext, update};
use crate::event::{
    CallId, Failure, FailureClass, Fate, FlightId, Origin, Phase, UpstreamInfo, UserId, WhatIfRequest,
};
use crate::openai::Usage;
use crate::state::{CacheVerdict, Call, Doing, Flight, LogKind, LogLine, State};
use crate::time::Timestamp;

/// The state of a screen, with key input.
struct Bench {
    ui: Ui,
    state: State,
    keymap: Keymap,
    now: Timestamp,
    /// The values of the what-if request during the last key script.
    requests: Vec<Option<WhatIfRequest>>,
}

impl Bench {
    fn new(state: State) -> Self {
        Self {
            ui: Ui {
                size: Size::new(80, 24),
                users: vec![UserId::new("ana"), UserId::new("ben")],
                ..Ui::default()
            },
            state,
            keymap: Keymap::builtin().unwrap(),
            now: Timestamp::from_secs_f64(42.0),
            requests: Vec::new(),
        }
    }

    fn input(&mut self, input: &Terminal) -> Option<Effect> {
        let context = UpdateContext {
            state: &self.state,
            shown: &self.state,
            shown_at: self.now,
            keymap: &self.keymap,
            now: self.now,
        };
        let before = self.ui.whatif.request.clone();
        let effect = update(&mut self.ui, &context, input);
        if self.ui.whatif.request != before {
            self.requests.push(self.ui.whatif.request.clone());
        }
        effect
    }

    /// Presses keys: names in angle brackets are named keys, all other characters are typed.
    fn press(&mut self, script: &str) -> Vec<Effect> {
        self.requests.clear();
        let mut effects = Vec::new();
        let mut rest = script;
        while let Some(c) = rest.chars().next() {
            let key = if let Some((name, tail)) = rest.strip_prefix('<').and_then(|tail| tail.split_once('>'))
            {
                rest = tail;
                named(name)
            } else {
                rest = rest.get(c.len_utf8()..).unwrap_or_default();
                KeyEvent::new(crossterm::event::KeyCode::Char(c), KeyModifiers::NONE)
            };
            effects.extend(self.input(&Terminal::Key(key)));
        }
        effects
    }

    fn message(&self) -> &str {
        self.ui.message(self.now).unwrap_or_default()
    }
}

/// `enter`, `ctrl+c`, `alt+enter`.
fn named(name: &str) -> KeyEvent {
    use crossterm::event::KeyCode;
    let (modifiers, key) = match name.rsplit_once('+') {
        Some(("ctrl", key)) => (KeyModifiers::CONTROL, key),
        Some(("alt", key)) => (KeyModifiers::ALT, key),
        Some(("shift", key)) => (KeyModifiers::SHIFT, key),
        _ => (KeyModifiers::NONE, name),
    };
    let code = match key {
        "enter" => KeyCode::Enter,
        "esc" => KeyCode::Esc,
        "tab" => KeyCode::Tab,
        "backtab" => KeyCode::BackTab,
        "up" => KeyCode::Up,
        "down" => KeyCode::Down,
        "left" => KeyCode::Left,
        "right" => KeyCode::Right,
        "pgup" => KeyCode::PageUp,
        "pgdn" => KeyCode::PageDown,
        "home" => KeyCode::Home,
        "bksp" => KeyCode::Backspace,
        "end" => KeyCode::End,
        "space" => KeyCode::Char(' '),
        "f1" => KeyCode::F(1),
        one => KeyCode::Char(one.chars().next().unwrap()),
    };
    KeyEvent::new(code, modifiers)
}

fn call(id: u64, prompt: &str) -> Call {
    Call {
        model: None,
        id: CallId(id),
        origin: Origin::Chat,
        user: UserId::new("ana"),
        prompt: prompt.into(),
        started_at: Timestamp::from_secs_f64(id as f64),
        deadline: Timestamp::from_secs_f64(600.0),
        ended_at: None,
        fate: None,
        doing: Doing::Starting,
        cache: None,
        semantic: None,
        flight: None,
        spans: Vec::new(),
        attempts: 0,
        status: None,
        ttft: None,
        usage: None,
        failure: None,
        stopped: None,
        injected: Vec::new(),
        finish: None,
        cached_text: "".into(),
    }
}

/// A session with a call in each state: answered, hit, failed, queued, streaming.
pub(super) fn busy_state() -> State {
    let mut state = State::default();
    state.session.seed = 7;
    state.session.upstream = Some(UpstreamInfo {
        host: "simulator".into(),
        model: None,
        simulated: true,
        loopback: true,
    });
    let ended = |mut call: Call, fate, after: f64| {
        call.ended_at = Some(call.started_at + Duration::from_secs_f64(after));
        call.fate = Some(fate);
        call.doing = Doing::Ended;
        call
    };
    let mut answered = ended(call(1, "what does a token bucket do?"), Fate::Answered, 2.4);
    answered.attempts = 3;
    answered.ttft = Some(Duration::from_millis(310));
    answered.usage = Some(Usage::new(12, 376));
    answered.flight = Some(FlightId(1));
    let mut hit = ended(call(2, "what does a token bucket do?"), Fate::Hit, 0.0);
    hit.cached_text = "It admits a call when the bucket holds enough tokens.".into();
    hit.cache = Some(CacheVerdict::Hit {
        age_ns: 1,
        saved: Usage::new(12, 376),
        saved_ns: 2_400_000_000,
        replayed: false,
    });
    let mut failed = ended(call(3, "and then?"), Fate::Failed, 5.8);
    failed.attempts = 3;
    failed.failure = Some(Failure::new(
        FailureClass::ServerError,
        Phase::Refused,
        "500 from simulator",
    ));
    let mut queued = call(4, "why do retries need jitter?");
    queued.doing = Doing::Queued;
    let mut streaming = call(5, "日本語 wide and \u{1b}[31mred");
    streaming.doing = Doing::Streaming;
    streaming.attempts = 1;
    streaming.flight = Some(FlightId(5));
    let flight = |text: &str| Flight {
        text: text.into(),
        chunks: 21,
        first_text_at: Some(Timestamp::from_secs_f64(40.0)),
        last_text_at: Some(Timestamp::from_secs_f64(40.5)),
        ..Flight::default()
    };
    let answer = "It admits a call when the bucket holds enough tokens, and refills at a steady rate.";
    state.calls.flights = BTreeMap::from([(FlightId(1), flight(answer)), (FlightId(5), flight("It counts"))]);
    state.calls.chat = (1..=5).map(CallId).collect();
    state.calls.recent = [answered, hit, failed, queued, streaming]
        .into_iter()
        .map(|call| (call.id, call))
        .collect();
    state.calls.totals.started = 5;
    for fate in [Fate::Answered, Fate::Hit, Fate::Failed] {
        state.calls.totals.ended[fate as usize] = 1;
    }
    for seq in 0..40 {
        state.log.lines.push_back(LogLine {
            seq,
            at: Timestamp::from_secs_f64(seq as f64),
            kind: if seq % 2 == 0 { LogKind::Retry } else { LogKind::Ok },
            call: Some(CallId(1 + seq % 5)),
            text: format!("sentence {seq}").into(),
        });
    }
    state.next_seq = 40;
    state
}
