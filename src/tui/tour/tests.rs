//! The tour, played by its keys in virtual time.

use std::time::Duration;

use crossterm::event::{Event as Terminal, KeyCode, KeyEvent, KeyModifiers};
use ratatui::buffer::Buffer;
use ratatui::layout::{Rect, Size};

use super::*;
use crate::event::{Event, EventKind, Fate, Origin, UserId};
use crate::session::bus::Bus;
use crate::session::source::{Received, Tail};
use crate::session::{LocalSession, SessionConfig, USERS};
use crate::settings::SemanticMode;
use crate::time::Clock;
use crate::tui::keymap::Keymap;
use crate::tui::theme::Theme;
use crate::tui::update::{self, UpdateContext};
use crate::tui::view::{View, draw};

/// A session in memory and the screen in front of it.
struct Bench {
    session: LocalSession,
    clock: Clock,
    state: State,
    tail: Tail,
    events: Vec<std::sync::Arc<Event>>,
    ui: Ui,
    keymap: Keymap,
}

impl Bench {
    fn start(seed: u64) -> Self {
        let clock = Clock::start();
        let bus = Bus::new(clock);
        let config = SessionConfig {
            seed,
            faults: crate::settings::file::load_faults("outage").unwrap(),
            ..SessionConfig::default()
        };
        let session = LocalSession::start(&config, clock, bus.clone());
        let (state, tail) = bus.subscribe();
        let ui = Ui {
            size: Size::new(120, 40),
            users: USERS.iter().map(|name| UserId::new(name)).collect(),
            ..Ui::default()
        };
        let keymap = Keymap::builtin().unwrap();
        let events = Vec::new();
        Self {
            session,
            clock,
            state,
            tail,
            events,
            ui,
            keymap,
        }
    }

    /// The tour at this step.
    async fn at_step(seed: u64, step: usize) -> Self {
        let mut bench = Self::start(seed);
        bench.pass(0.5).await;
        bench.press('T');
        for _ in 0..step {
            bench.press('n');
        }
        bench.pass(1.0).await;
        assert_eq!(bench.ui.tour.as_ref().unwrap().step, step);
        bench
    }

    fn press(&mut self, key: char) {
        self.code(KeyCode::Char(key));
    }

    fn code(&mut self, code: KeyCode) {
        let context = UpdateContext {
            state: &self.state,
            shown: &self.state,
            shown_at: self.clock.now(),
            keymap: &self.keymap,
            now: self.clock.now(),
        };
        let key = Terminal::Key(KeyEvent::new(code, KeyModifiers::NONE));
        let commands = match update::update(&mut self.ui, &context, &key) {
            Some(Effect::Send(command)) => vec![command],
            Some(Effect::SendAll(commands)) => commands,
            None => Vec::new(),
            Some(other) => panic!("{other:?}"),
        };
        for command in commands {
            self.session.engine.execute(command);
        }
        // the event loop, too, comes here before it has received the events of the commands
        self.advance();
    }

    fn advance(&mut self) {
        for command in advance(&mut self.ui, &self.state, self.clock.now()) {
            self.session.engine.execute(command);
        }
    }

    /// Lets time pass, as the event loop does.
    async fn pass(&mut self, seconds: f64) {
        let until = self.clock.now() + Duration::from_secs_f64(seconds);
        while self.clock.now() < until {
            self.clock.sleep(Duration::from_millis(40)).await;
            self.fold().await;
            self.advance();
        }
    }

    async fn fold(&mut self) {
        let target = self.session.bus.with_state(|state| state.next_seq);
        while self.state.next_seq < target {
            let mut batch = Vec::new();
            assert!(matches!(
                self.tail.recv_many(&mut batch, 256).await,
                Received::Events(_)
            ));
            for event in batch {
                self.state.apply(&event);
                self.events.push(event);
            }
        }
    }

    /// Lets time pass until the tour shows this text, at most for `seconds`.
    async fn until_text(&mut self, text: usize, seconds: f64) {
        let until = self.clock.now() + Duration::from_secs_f64(seconds);
        while self.text() < text {
            assert!(
                self.clock.now() < until,
                "text {text} is not shown: {}",
                self.shown()
            );
            self.pass(0.04).await;
        }
    }

    fn text(&self) -> usize {
        self.ui.tour.as_ref().unwrap().text
    }

    /// The text that is shown.
    fn shown(&self) -> String {
        self.ui.tour.as_ref().unwrap().text(&self.state, self.clock.now())
    }

    fn figure(&self, name: &str) -> f64 {
        let tour = self.ui.tour.as_ref().unwrap();
        let figure = tour.figure(name, &self.state, self.clock.now());
        figure.unwrap_or_else(|| panic!("{name} has no value")).value()
    }

    /// A figure that is a count.
    fn count(&self, name: &str) -> u64 {
        self.figure(name) as u64
    }

    /// The share of calls that began in this time and were answered.
    fn served(&self, from: f64, until: f64) -> f64 {
        let (from, until) = (Timestamp::from_secs_f64(from), Timestamp::from_secs_f64(until));
        let began: std::collections::BTreeSet<_> = self
            .events
            .iter()
            .filter(|event| (from..until).contains(&event.at))
            .filter(|event| {
                matches!(
                    event.kind,
                    EventKind::CallStarted {
                        origin: Origin::Load { .. },
                        ..
                    }
                )
            })
            .filter_map(|event| event.call)
            .collect();
        let served = self.events.iter().filter(|event| {
            matches!(
                event.kind,
                EventKind::CallEnded {
                    fate: Fate::Answered,
                    ..
                }
            ) && event.call.is_some_and(|call| began.contains(&call))
        });
        served.count() as f64 / began.len() as f64
    }

    fn seconds(&self) -> f64 {
        self.clock.now().as_secs_f64()
    }

    /// Ends the session: a load would go on beside the next one.
    async fn end(self) {
        self.session.engine.execute(Command::Shutdown);
        self.session.engine.settled().await;
    }

    /// The screen as text.
    fn screen(&self, width: u16, height: u16) -> String {
        let area = Rect::new(0, 0, width, height);
        let mut buf = Buffer::empty(area);
        let theme = Theme::default();
        let view = View {
            state: &self.state,
            ui: &self.ui,
            theme: &theme,
            now: self.clock.now(),
        };
        draw(&view, &self.keymap, area, &mut buf);
        let rows = buf.content.chunks(usize::from(width));
        rows.map(|row| row.iter().map(ratatui::buffer::Cell::symbol).collect::<String>() + "\n")
            .collect()
    }
}

/// The seeds of each test.
const SEEDS: std::ops::Range<u64> = 0..20;

#[test]
fn the_file_is_valid_and_every_figure_exists() {
    let script: Script = toml::from_str(include_str!("../../../assets/tour.toml")).unwrap();
    assert_eq!(script.steps.len(), 7);
    let state = State::default();
    let known = |name: &str| {
        let record = Record::begin(&state, Timestamp::ZERO);
        let name = name.strip_prefix("all_").unwrap_or(name);
        record.figure(name, &state, Timestamp::ZERO).is_some() || figures::WITHOUT_VALUE.contains(&name)
    };
    for step in &script.steps {
        let policy = Policy::default().with_settings(&step.policy);
        assert!(
            policy.is_ok_and(|policy| policy.validate().is_ok()),
            "{}",
            step.name
        );
        for name in step.guards.iter().chain(&step.panes) {
            assert!(pane(name).is_some(), "{}: {name}", step.name);
        }
        if let Some(faults) = &step.faults {
            assert_eq!(faults.validate(), Ok(()), "{}", step.name);
        }
        assert!(step.texts[0].when.is_empty(), "{}", step.name);
        for text in &step.texts {
            assert_eq!(text.label.is_some(), !text.commands.is_empty(), "{}", text.text);
            let named = text
                .text
                .split('{')
                .skip(1)
                .filter_map(|rest| rest.split_once('}'));
            for name in named
                .map(|(name, _)| name)
                .chain(text.when.keys().map(String::as_str))
            {
                assert!(known(name), "{}: {name}", step.name);
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn the_cache_answers_the_second_call() {
    for seed in SEEDS {
        let mut bench = Bench::at_step(seed, 0).await;
        bench.press(' ');
        bench.until_text(2, 20.0).await;
        assert_eq!(bench.count("answered"), 1, "seed {seed}");
        bench.press(' ');
        bench.until_text(3, 1.0).await;
        assert_eq!(
            (bench.figure("cached"), bench.figure("calls")),
            (1.0, 2.0),
            "seed {seed}"
        );
        assert!(
            bench.shown().starts_with("Answered from the cache in 0.0\u{a0}s"),
            "{}",
            bench.shown()
        );
        bench.end().await;
    }
}

#[tokio::test(start_paused = true)]
async fn the_limiter_paces_a_burst() {
    for seed in SEEDS {
        let mut bench = Bench::at_step(seed, 1).await;
        bench.press(if seed % 2 == 0 { ' ' } else { 'B' });
        bench.until_text(1, 1.0).await;
        assert_eq!(
            (bench.figure("at_once"), bench.figure("waited")),
            (22.0, 28.0),
            "seed {seed}"
        );
        bench.until_text(2, 10.0).await;
        let wait = bench.figure("longest_wait");
        assert!((6.5..7.5).contains(&wait), "seed {seed}: {wait}");
        assert_eq!(
            (bench.figure("limited"), bench.figure("calls")),
            (0.0, 50.0),
            "seed {seed}"
        );
        bench.pass(5.0).await;
        assert_eq!(bench.count("answered"), 50, "seed {seed}");
        bench.end().await;
    }
}

#[tokio::test(start_paused = true)]
async fn retries_rescue_calls() {
    for seed in SEEDS {
        let mut bench = Bench::at_step(seed, 2).await;
        bench.pass(2.0).await;
        bench.press(if seed % 2 == 0 { ' ' } else { 'F' });
        bench.until_text(1, 0.5).await;
        bench.until_text(2, 25.0).await;
        bench.pass(10.0).await;
        let (rescued, failed) = (bench.figure("rescued"), bench.figure("failed"));
        assert!(rescued >= 5.0 && failed <= 2.0, "seed {seed}: {rescued} {failed}");
        let served = bench.served(0.0, bench.seconds() - 6.0);
        assert!(served >= 0.95, "seed {seed}: {served}");
        bench.end().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_retry_budget_ends_the_storm() {
    for seed in SEEDS {
        let mut bench = Bench::at_step(seed, 3).await;
        bench.pass(6.0).await;
        let before = bench.served(0.0, bench.seconds() - 3.0);
        assert!(before >= 0.95, "seed {seed}: {before}");
        bench.press(' ');
        bench.until_text(2, 5.0).await;
        let over = bench.seconds();
        bench.until_text(3, 20.0).await;
        bench.pass((over + 14.0 - bench.seconds()).max(0.0)).await;
        bench.press(' ');
        let set = bench.seconds();
        bench.until_text(5, 15.0).await;
        let time = bench.figure("budget_time");
        assert!(time < 7.0, "seed {seed}: {time}");
        bench.pass(set + 16.0 - bench.seconds()).await;
        let during = bench.served(over + 2.0, over + 12.0);
        assert!(during <= 0.2, "seed {seed}: {during}");
        let after = bench.served(set + 7.0, set + 13.0);
        assert!(after >= 0.95, "seed {seed}: {after}");
        bench.end().await;
    }
}

#[tokio::test(start_paused = true)]
async fn the_breaker_opens_and_closes() {
    for seed in SEEDS {
        let mut bench = Bench::at_step(seed, 4).await;
        // a reader takes some time, and the window of the breaker fills with answers meanwhile
        bench.pass(1.0 + 0.9 * seed as f64).await;
        bench.press(if seed % 2 == 0 { ' ' } else { 'F' });
        bench.until_text(1, 0.5).await;
        let down = bench.seconds();
        bench.until_text(2, 6.0).await;
        assert!(bench.figure("trip") <= 3.0, "seed {seed}: {}", bench.shown());
        // the text says why it opened
        let [failed, total] = ["trip_failures", "trip_total"].map(|name| bench.count(name));
        assert!(
            bench.shown().contains("The last 5 failed in a row.") || failed * 2 >= total,
            "seed {seed}: {}",
            bench.shown()
        );
        bench.pass(5.0).await;
        let of_load = bench.served(down + 3.0, bench.seconds());
        assert!(of_load < 0.01, "seed {seed}: {of_load}");
        assert!(
            bench.figure("refused") >= 0.7 * 4.0 * 5.0,
            "seed {seed}: {}",
            bench.shown()
        );
        bench.press(if seed % 2 == 0 { ' ' } else { 'F' });
        bench.until_text(4, 6.0).await;
        assert!(bench.figure("close") <= 6.0, "seed {seed}: {}", bench.shown());
        bench.end().await;
    }
}

#[tokio::test(start_paused = true)]
async fn the_semantic_cache_serves_a_paraphrase_and_not_the_opposite() {
    for seed in SEEDS {
        let mut bench = Bench::at_step(seed, 5).await;
        bench.press(if seed % 2 == 0 { ' ' } else { 's' });
        bench.until_text(1, 0.5).await;
        for (text, calls) in [(2, 1), (3, 2), (4, 3)] {
            bench.press(' ');
            bench.until_text(text, 20.0).await;
            assert_eq!(bench.count("calls"), calls, "seed {seed}");
        }
        assert_eq!(
            (bench.figure("semantic_hits"), bench.figure("objections")),
            (1.0, 1.0),
            "seed {seed}"
        );
        bench.end().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_step_begins_without_the_faults_and_the_load_of_the_step_before() {
    let mut bench = Bench::at_step(7, 3).await;
    bench.press(' ');
    bench.until_text(1, 5.0).await;
    bench.press('r');
    bench.pass(1.0).await;
    assert_eq!(bench.text(), 0, "{}", bench.shown());
    bench.press('n');
    bench.pass(3.0).await;
    assert_eq!(bench.text(), 0, "{}", bench.shown());
    // a budget that was set before the step ended no storm
    let record = bench.ui.tour.as_ref().unwrap().record;
    assert_eq!(record.budget_time(), None);
    bench.press('n');
    bench.press('n');
    assert!(!bench.shown().contains("ended a storm"), "{}", bench.shown());
    bench.end().await;
}

#[tokio::test(start_paused = true)]
async fn calls_of_a_burst_are_not_the_question_of_the_first_step() {
    let mut bench = Bench::at_step(7, 0).await;
    bench.press('b');
    bench.pass(6.0).await;
    assert_eq!((bench.count("answered"), bench.text()), (10, 0));
    bench.end().await;
}

#[tokio::test(start_paused = true)]
async fn space_goes_on_at_the_end_of_a_step_only() {
    let mut bench = Bench::at_step(7, 0).await;
    bench.press(' ');
    bench.until_text(1, 1.0).await;
    bench.press(' ');
    let step = |bench: &Bench| bench.ui.tour.as_ref().unwrap().step;
    assert_eq!((step(&bench), bench.text()), (0, 1));
    bench.until_text(2, 20.0).await;
    bench.press(' ');
    bench.until_text(3, 1.0).await;
    assert!(bench.screen(80, 24).contains("Space next"));
    bench.press(' ');
    assert_eq!(step(&bench), 1);
    bench.end().await;
}

#[tokio::test(start_paused = true)]
async fn the_last_step_sums_up_and_leaving_restores_the_session() {
    let mut bench = Bench::start(7);
    bench.press('F');
    bench.press('L');
    bench.press('s');
    bench.pass(1.0).await;
    let before = bench.state.session.clone();
    bench.press('T');
    bench.pass(0.1).await;
    assert!(!bench.state.session.faults_on && bench.state.session.running_load().is_none());
    assert_eq!(bench.state.session.policy.semantic.mode, SemanticMode::Off);
    bench.press(' ');
    bench.until_text(2, 20.0).await;
    bench.press(' ');
    bench.pass(0.5).await;
    bench.press('n');
    bench.pass(0.5).await;
    bench.press('B');
    bench.until_text(2, 12.0).await;
    for _ in 0..5 {
        bench.press('n');
        bench.pass(0.1).await;
    }
    let shown = bench.shown();
    assert!(
        shown.contains("Cache: 1 answered without the upstream"),
        "{shown}"
    );
    assert!(shown.contains("Limiter: 28 queued, 0 limited"), "{shown}");
    bench.press('n');
    bench.pass(0.1).await;
    assert_eq!(bench.ui.tour, None);
    let after = &bench.state.session;
    assert_eq!(
        (&after.policy, &after.faults, after.faults_on),
        (&before.policy, &before.faults, true)
    );
    assert_eq!(
        after.running_load().map(|load| &load.plan),
        before.running_load().map(|load| &load.plan)
    );
}

#[tokio::test(start_paused = true)]
async fn the_box_shows_text_and_keys_at_every_size() {
    let mut bench = Bench::at_step(7, 0).await;
    for step in 0..7 {
        for (width, height) in [(80, 24), (100, 30), (120, 40), (200, 60)] {
            bench.ui.size = Size::new(width, height);
            let screen = bench.screen(width, height);
            let title = format!("Tour {} of 7: {}", step + 1, SCRIPT.steps[step].name);
            for part in [title.as_str(), "n ", "Esc leave", "TOUR"] {
                assert!(screen.contains(part), "{width}x{height}: {part}\n{screen}");
            }
            let off = screen.matches("in this step").count();
            let guards = 4 - SCRIPT.steps[step].guards.len();
            assert_eq!(off, guards, "{width}x{height}\n{screen}");
            // the end of the text is on the screen
            let text = bench.shown();
            let end = text.rsplit(' ').next().unwrap();
            assert!(screen.contains(end), "{width}x{height}: {end}\n{screen}");
        }
        bench.press('n');
        bench.pass(0.1).await;
    }
}

#[tokio::test(start_paused = true)]
async fn the_tour_needs_the_simulator_and_ends_with_escape() {
    let mut bench = Bench::start(7);
    bench.pass(0.1).await;
    bench.press('T');
    bench.press('r');
    bench.code(KeyCode::Esc);
    assert_eq!(bench.ui.tour, None);
    let upstream = bench.state.session.upstream.as_mut().unwrap();
    (upstream.simulated, upstream.loopback) = (false, false);
    bench.press('T');
    assert_eq!(bench.ui.tour, None);
    let toast = bench.ui.toast.as_ref().unwrap();
    assert!(toast.text.contains(NEEDS_SIMULATOR), "{}", toast.text);
}
