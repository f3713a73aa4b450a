//! The semantic cache on whole screens, and the keys that label its hits.

use super::Bench;
use super::screen_text::{holds, rows, screen};
use crate::event::{CallId, Command, EventKind, Fate, Objection, Origin, SemanticGuard, SemanticMiss};
use crate::settings::SemanticMode;
use crate::state::fixture::{
    Story, attempt, compared, delta, ended, first_token, labelled, nearest, semantic_hit, semantic_miss,
    shadowed, started, succeeded, switched_semantic,
};
use crate::tui::overlay::Overlay;
use crate::tui::pane::PaneId;
use crate::tui::theme::{Palette, Theme};
use crate::tui::update::Effect;

/// A call with this prompt.
fn ask(story: &mut Story, call: u64, prompt: &str) {
    let mut kind = started(call, Origin::Chat, story.now);
    if let EventKind::CallStarted { prompt: asked, .. } = &mut kind {
        *asked = prompt.into();
    }
    story.emit(call, kind);
}

/// Sets the nearest prompt of an event.
fn with_nearest(mut kind: EventKind, text: &str) -> EventKind {
    match &mut kind {
        EventKind::SemanticHit { nearest, .. } | EventKind::SemanticShadowed { nearest, .. } => {
            nearest.prompt = text.into();
        }
        EventKind::SemanticMissed {
            nearest: Some(nearest),
            ..
        } => nearest.prompt = text.into(),
        _ => {}
    }
    kind
}

/// Three calls: answered; similar, so a hit (a would-be hit in shadow mode); similar text with another number, so
/// a miss.
fn story(mode: SemanticMode) -> Story {
    let mut story = Story::begin();
    story.emit(0, switched_semantic(mode));
    story.at(1.0);
    ask(&mut story, 1, "How long do I boil an egg of 50 g?");
    story.emit(1, semantic_miss(SemanticMiss::Empty, None));
    story
        .emit(1, crate::state::fixture::flight_started(1))
        .emit(1, attempt(1, 1));
    story
        .at(1.4)
        .emit(1, first_token(1, 400))
        .emit(1, delta("Six minutes for a soft one."));
    story
        .at(3.0)
        .emit(1, succeeded(1, 2000))
        .emit(1, EventKind::SemanticStored { entries: 1 });
    story.emit(1, ended(Fate::Answered, 1, 2000));
    story.at(10.0);
    ask(&mut story, 2, "For how long should one boil a 50 g egg?");
    let stored = "How long do I boil an egg of 50 g?";
    match mode {
        SemanticMode::Shadow => {
            story
                .emit(2, with_nearest(shadowed(1, 0.94), stored))
                .emit(2, compared(1, 0.97));
            story
                .emit(2, crate::state::fixture::flight_started(2))
                .emit(2, attempt(1, 2));
            story
                .emit(2, first_token(1, 300))
                .emit(2, delta("About six minutes."));
            story
                .at(12.0)
                .emit(2, succeeded(1, 2000))
                .emit(2, ended(Fate::Answered, 1, 2000));
        }
        SemanticMode::On | SemanticMode::Off => {
            let mut hit = with_nearest(semantic_hit(1, 0.94), stored);
            if let EventKind::SemanticHit { text, .. } = &mut hit {
                *text = "Six minutes for a soft one.".into();
            }
            story.emit(2, hit).emit(2, ended(Fate::Hit, 0, 1));
        }
    }
    story.at(20.0);
    ask(&mut story, 3, "How long do I boil an egg of 60 g?");
    let objection = Objection {
        guard: SemanticGuard::Number,
        asked: "60".into(),
        stored: "50".into(),
    };
    story.emit(
        3,
        with_nearest(
            semantic_miss(SemanticMiss::GuardRejected, Some(objection)),
            stored,
        ),
    );
    story
        .emit(3, crate::state::fixture::flight_started(3))
        .emit(3, attempt(1, 3));
    story
}

fn bench(mode: SemanticMode) -> Bench {
    let mut bench = Bench::new(story(mode).state());
    bench.now = crate::time::Timestamp::from_secs_f64(21.0);
    bench
}

#[test]
fn a_hit_shows_its_source_and_the_key_to_label_it() {
    let mut hit = bench(SemanticMode::On);
    hit.state.calls.chat.pop();
    (hit.ui.focus, hit.ui.zoomed) = (PaneId::Chat, true);
    let wide = rows(&mut hit, 200, 60).join(" ").replace("│", " ");
    let words: String = wide.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(
        words.contains("◇ semantic 0.94 from #1 \"How long do I boil an egg of 50 g?\""),
        "{wide}"
    );
    assert!(words.contains("^O judge it"), "{wide}");
    (hit.ui.focus, hit.ui.zoomed) = (PaneId::Calls, false);
    let elsewhere = rows(&mut hit, 200, 60);
    assert!(!holds(&elsewhere, "^O judge it"), "{elsewhere:#?}");
}

#[test]
fn the_cache_pane_in_mode_on() {
    let mut bench = bench(SemanticMode::On);
    bench.press("22");
    let large = rows(&mut bench, 120, 40);
    for expected in [
        "semantic  on   similarity >= 0.50   guards on   embedder built-in   1 prompt",
        "hits      1/3   saved 60 tokens and 2.0s",
        "rejected  1   number 1",
        "missed    2   none stored 1   guard rejected 1",
        "  0.93      #3  ⊘ rejected",
        "  0.80   of #1  number 60, stored 50",
        "How long do I boil an egg of 60 g?",
        "  0.94      #2  ◇ hit",
        "  0.80   of #1  not judged",
    ] {
        assert!(holds(&large, expected), "{expected}\n{large:#?}");
    }
}

#[test]
fn the_cache_pane_in_mode_shadow_shows_false_hits_with_confidence() {
    let mut story = story(SemanticMode::Shadow);
    for call in 10..50 {
        story.call(call, Origin::Library).emit(call, shadowed(1, 0.9));
        story.emit(call, compared(1, if call < 12 { 0.2 } else { 0.9 }));
        story.emit(call, ended(Fate::Answered, 1, 1));
    }
    let mut bench = Bench::new(story.state());
    bench.press("22");
    for (width, height) in [(120, 40), (200, 60)] {
        let screen = rows(&mut bench, width, height);
        for expected in [
            "semantic  shadow   similarity >= 0.50   guards on",
            "shadow    would have hit 95% 41/43, saved 2.5k tokens",
            "compared  2 of 41 answers differed: 4.9% (95% CI 1.3-16.1%)",
        ] {
            assert!(holds(&screen, expected), "{expected}\n{screen:#?}");
        }
    }
}

#[test]
fn the_cache_pane_in_mode_off_shows_the_key_to_turn_it_on() {
    let mut bench = Bench::new(Story::begin().state());
    bench.press("22");
    let screen = rows(&mut bench, 120, 40);
    assert!(
        holds(
            &screen,
            "semantic  off   s serve stored answers to similar prompts"
        ),
        "{screen:#?}"
    );
    assert_eq!(
        bench.press("s"),
        [Effect::Send(Command::SetSemantic {
            mode: SemanticMode::On
        })]
    );
    assert_eq!(
        bench.message(),
        "Semantic on: similar prompts share an answer. U undoes it."
    );
}

#[test]
fn a_hit_is_labelled_with_g_and_b_in_its_story() {
    let mut bench = bench(SemanticMode::On);
    bench.press("j<enter>");
    assert_eq!(bench.ui.overlays.last(), Some(&Overlay::Details(CallId(2))));
    let screen = rows(&mut bench, 80, 24);
    for expected in [
        "Served by the semantic cache: similarity 0.94 to the prompt of #1",
        "hit: similarity 0.94 to the prompt of #1 (needs",
        "\"How long do I boil an egg of 50 g?\"",
    ] {
        assert!(holds(&screen, expected), "{expected}\n{screen:#?}");
    }
    assert!(
        screen[23].starts_with(" g right  b wrong  Esc close"),
        "{}",
        screen[23]
    );
    let sent = |good| {
        Effect::Send(Command::LabelHit {
            call: CallId(2),
            good,
        })
    };
    assert_eq!(bench.press("g"), [sent(true)]);
    assert_eq!(bench.message(), "#2 judged right: counted for its stored prompt");
    assert_eq!(bench.press("b"), [sent(false)]);
    assert_eq!(
        bench.message(),
        "#2 judged wrong: answer dropped, threshold of its prompt raised"
    );
    let mut labelled_wrong = story(SemanticMode::On);
    labelled_wrong.emit(2, labelled(1, false));
    bench.state = labelled_wrong.state();
    assert_eq!(bench.press("b"), []);
    assert_eq!(bench.message(), "b: #2 is already judged wrong");
    let screen = rows(&mut bench, 120, 40);
    let expected = "label      labelled wrong: #1 requires 0.96 from now on, the stored answer was removed";
    assert!(holds(&screen, expected), "{screen:#?}");
}

#[test]
fn other_calls_cannot_be_labelled_and_show_the_reason() {
    let mut refused = bench(SemanticMode::On);
    refused.press("<enter>");
    assert_eq!(refused.ui.overlays.last(), Some(&Overlay::Details(CallId(3))));
    let screen = rows(&mut refused, 80, 24);
    for expected in [
        "miss: a guard rejected the nearest prompt",
        "number 60, stored 50",
    ] {
        assert!(holds(&screen, expected), "{expected}\n{screen:#?}");
    }
    assert!(!screen[23].contains("good"), "{}", screen[23]);
    assert_eq!(refused.press("g"), []);
    assert_eq!(refused.message(), "g: #3 is not a semantic hit");

    let mut shadow = bench(SemanticMode::Shadow);
    shadow.press("j<enter>b");
    assert_eq!(
        shadow.message(),
        "b: #2 was answered by the upstream: the semantic cache is in shadow mode"
    );
    let screen = rows(&mut shadow, 120, 40);
    assert!(
        holds(&screen, "shadow: the same answer as #1, similarity 0.97"),
        "{screen:#?}"
    );

    let mut viewer = bench(SemanticMode::On);
    viewer.ui.read_only = true;
    viewer.press("j<enter>g");
    assert_eq!(viewer.message(), "g: this session is read-only");
}

#[test]
fn the_palette_labels_the_selected_call() {
    let mut bench = bench(SemanticMode::On);
    bench.press("j");
    let good = Effect::Send(Command::LabelHit {
        call: CallId(2),
        good: true,
    });
    assert_eq!(bench.press(":hit right<enter>"), [good]);
    bench.ui.focus = PaneId::Limiter;
    assert_eq!(bench.press(":hit wrong<enter>"), []);
    assert_eq!(bench.message(), "wrong: no call here");
    // in normal mode the keys keep their usual actions
    bench.ui.focus = PaneId::Calls;
    assert!(matches!(
        bench.press("b")[..],
        [Effect::Send(Command::Burst { .. })]
    ));
}

#[test]
fn hostile_prompts_are_clipped_at_every_size() {
    let wide = "\u{6f22}\u{1b}[31m e\u{301}\u{1f469}\u{200d}\u{1f4bb} ".repeat(30);
    let mut story = Story::begin();
    story.emit(0, switched_semantic(SemanticMode::On));
    let mut worst = nearest(u64::MAX, f64::NAN, None);
    worst.prompt = wide.as_str().into();
    worst.objection = Some(Objection {
        guard: SemanticGuard::Question,
        asked: wide.as_str().into(),
        stored: wide.as_str().into(),
    });
    ask(&mut story, 1, &wide);
    story.emit(
        1,
        EventKind::SemanticMissed {
            reason: SemanticMiss::GuardRejected,
            nearest: Some(Box::new(worst)),
            candidates: u32::MAX,
            lookup: std::time::Duration::MAX,
            detail: Some(wide.as_str().into()),
        },
    );
    story
        .call(2, Origin::Chat)
        .emit(2, with_nearest(semantic_hit(u64::MAX, -7.0), &wide));
    story.emit(2, ended(Fate::Hit, 0, 1));
    let mut bench = Bench::new(story.state());
    bench.state.session.policy.semantic.embedder = Some(format!("http://me:secret@{wide}/v1"));
    for theme in [Theme::default(), Theme::new(Palette::Mono, true)] {
        for (width, height) in [
            (1, 1),
            (20, 5),
            (60, 16),
            (80, 24),
            (120, 40),
            (200, 60),
            (300, 100),
        ] {
            for overlay in [
                None,
                Some(Overlay::Details(CallId(1))),
                Some(Overlay::Details(CallId(2))),
            ] {
                bench.ui.overlays = overlay.into_iter().collect();
                for focus in [PaneId::Chat, PaneId::Cache] {
                    (bench.ui.focus, bench.ui.zoomed) = (focus, focus == PaneId::Cache);
                    let screen = screen(&mut bench, width, height, &theme).0;
                    assert!(!holds(&screen, "secret"), "{screen:#?}");
                }
            }
        }
    }
}
