//! The pane at the sizes it is seen at.

use super::super::fixture::{self, Scene};
use super::*;
use crate::event::{FailureClass, Fate, Origin};
use crate::state::fixture::{Story, attempt, ended, failed, retry, succeeded};
use crate::tui::theme::{Palette, Theme};

/// A minute in which one call in three is answered at its second try, and then, if wanted, one in which all
/// calls make six tries for nothing.
fn scene(stormy: bool) -> Scene {
    let mut story = Story::begin();
    let mut id = 0;
    for tenth in 0..600 {
        story.at(f64::from(tenth) / 10.0 + 1.0);
        if tenth % 5 == 0 {
            id += 1;
            story.call(id, Origin::Library).tell(id, attempt(1, id));
            let mut tries = 1;
            if tenth % 15 == 0 {
                tries = 2;
                story.tell(id, failed(1, FailureClass::RateLimited, Some(429), 9));
                story.tell(id, retry(2, FailureClass::RateLimited, story.now, 1200, Some(1)));
                story.tell(id, attempt(2, id));
            }
            story
                .tell(id, succeeded(tries, 9))
                .tell(id, ended(Fate::Answered, tries, 9));
        }
        if stormy && tenth >= 300 {
            id += 1;
            story.call(id, Origin::Library).tell(id, attempt(1, id));
            for next in 2..=6 {
                let class = [FailureClass::HeaderTimeout, FailureClass::ServerError][next as usize % 2];
                story.tell(id, failed(next - 1, class, None, 9));
                story.tell(id, retry(next, class, story.now, 40, None));
                story.tell(id, attempt(next, id));
            }
            story.tell(id, failed(6, FailureClass::HeaderTimeout, None, 9));
            story.tell(id, ended(Fate::Failed, 6, 9));
        }
    }
    Scene {
        state: story.state(),
        now: story.now,
        ..Scene::default()
    }
}

fn drawn(scene: &Scene, width: u16, height: u16) -> Vec<String> {
    fixture::rows(scene, width, height, render)
}

#[test]
fn at_80x24_everything_is_told() {
    assert_eq!(
        drawn(&scene(false), 76, 18),
        [
            "✓ retries help: 100 % of them brought an answer in the last 30 s (20 of 20)",
            "tries a call  now  1.3  peak  1.4 at 00:04  run  1.3  per call asked  1.3",
            "",
            "  5│                                                             · other   0",
            "   │                                                             ≈ CUT     0",
            "   │                               ▒  ▒  ▒  ▒  ▒  ▒  ▒  ▒  ▒  ▒  ╳ RST     0",
            "2.5│                              ▒█▒▒█▒▒█▒▒█▒▒█▒▒█▒▒█▒▒█▒▒█▒▒█  ░ TMO     0",
            "   │                             ▒█████████████████████████████  ▓ 5xx     0",
            "0/s│                             ███████████████████████████████ ▒ 429    40",
            "   └-2m────────────-90s───────────-1m────────────-30s────────now █ first 120",
            "achieved   40 calls recovered, 40 of 40 retries brought an answer",
            "cost       40 tries for nothing, 48s of waiting",
            "budget   [██████████] 171.4 of 10.0, as of 00:59",
            "tries a call took             ok lost  waits ━ waited o drawn | hint   0..2s",
            "1  ████████████████████████   80    0  429  ━━━━━━━o━━━━|━━━            1.2s",
            "2  ████████████               40    0  429  ━━━━━━━o━━━━|━━━            1.2s",
            "3                              0    0  429  ━━━━━━━o━━━━|━━━            1.2s",
            "4+                             0    0  429  ━━━━━━━o━━━━|━━━            1.2s",
        ]
    );
}

#[test]
fn a_storm_is_told_in_the_same_places() {
    let (calm, stormy) = (drawn(&scene(false), 76, 18), drawn(&scene(true), 76, 18));
    let head = [
        "✗ retries are 81 % of all tries and 1 % of them help: a retry storm.",
        "tries a call  now  5.2  peak  5.2 at 01:00  run  4.7  per call asked  4.7",
        "  The budget allows 6 more: lower retry.budget_ratio; o opens the breaker.",
    ];
    assert_eq!(stormy.get(..3), Some(&head.map(str::to_owned)[..]));
    assert_eq!(calm.get(2).map(String::as_str), Some(""));
    let axis = |rows: &[String]| {
        rows.iter()
            .position(|row| row.contains("now") && row.contains("-1m"))
    };
    assert_eq!(axis(&calm), axis(&stormy));
}

#[test]
fn without_colour_and_unicode_each_part_has_its_own_letter() {
    let mut scene = scene(true);
    scene.theme = Theme::new(Palette::Mono, true);
    let chart = [
        "100|                                                             o other   0",
        "   |                                                             c CUT     0",
        "   |                                             tttttttttttttt  r RST     0",
        " 50|                                             tttttttttttttt  t TMO   900",
        "   |                                            t55555555555555t 5 5xx   600",
        "0/s|                             ###############5##############5 4 429    40",
        "   +-2m-------------90s------------1m-------------30s--------now # first 420",
    ];
    assert_eq!(
        drawn(&scene, 76, 18).get(3..10),
        Some(&chart.map(str::to_owned)[..])
    );
}

#[test]
fn what_matters_most_stays_longest() {
    let scene = scene(true);
    for (width, height) in [(46, 12), (46, 8), (48, 17), (76, 18), (116, 34), (196, 54)] {
        let text = drawn(&scene, width, height).join("\n");
        let has = |words: &str| text.contains(words);
        assert!(
            has("retry storm") && has("tries a call") && has("-2m"),
            "{width}x{height}\n{text}"
        );
        assert_eq!(has("achieved"), height >= 12, "{width}x{height}\n{text}");
        assert_eq!(has("budget "), height >= 12, "{width}x{height}\n{text}");
        assert_eq!(has("waits"), height >= 18, "{width}x{height}\n{text}");
    }
}

#[test]
fn the_chart_wanders_and_does_not_change() {
    let mut scene = scene(true);
    let chart = |scene: &Scene| -> Vec<String> {
        let rows = drawn(scene, 76, 18);
        rows.iter()
            .skip(3)
            .take(6)
            .map(|row| row.chars().skip(4).take(60).collect())
            .collect()
    };
    scene.now = fixture::at(62.0);
    let before = chart(&scene);
    scene.now = fixture::at(63.9);
    assert_eq!(chart(&scene), before, "a column stands for two seconds");
    scene.now = fixture::at(64.0);
    let shifted: Vec<String> = before
        .iter()
        .map(|row| format!("{} ", row.chars().skip(1).collect::<String>()))
        .collect();
    let padded: Vec<String> = chart(&scene).iter().map(|row| format!("{row:60}")).collect();
    assert_eq!(
        padded,
        shifted.iter().map(|row| format!("{row:60}")).collect::<Vec<_>>()
    );
}

#[test]
fn nothing_sent_says_what_to_press() {
    let rows = drawn(&Scene::default(), 76, 3);
    assert_eq!(
        rows,
        [
            "nothing was sent yet: b for a burst, F breaks the upstream and makes retries",
            "",
            ""
        ]
    );
}

#[test]
fn the_border_tells_the_load() {
    let scene = scene(true);
    assert_eq!(title(&scene.view(), 76), "5.2 tries a call now");
    assert_eq!(title(&scene.view(), 20), "");
}
