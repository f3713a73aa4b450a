//! The pane at the sizes it is seen at.

use super::super::fixture::{self, Fixture};
use super::*;
use crate::event::{FailureClass, Fate, Origin};
use crate::state::fixture::{Story, attempt, ended, failed, retry, succeeded};
use crate::tui::theme::{Palette, Theme};

/// A minute in which one call in three is answered on its second attempt; if `stormy`, in the second half further
/// calls fail after six attempts each.
fn session(stormy: bool) -> Fixture {
    let mut story = Story::begin();
    let mut id = 0;
    for tenth in 0..600 {
        story.at(f64::from(tenth) / 10.0 + 1.0);
        if tenth % 5 == 0 {
            id += 1;
            story.call(id, Origin::Library).emit(id, attempt(1, id));
            let mut attempts = 1;
            if tenth % 15 == 0 {
                attempts = 2;
                story.emit(id, failed(1, FailureClass::RateLimited, Some(429), 9));
                story.emit(id, retry(2, FailureClass::RateLimited, story.now, 1200, Some(1)));
                story.emit(id, attempt(2, id));
            }
            story
                .emit(id, succeeded(attempts, 9))
                .emit(id, ended(Fate::Answered, attempts, 9));
        }
        if stormy && tenth >= 300 {
            id += 1;
            story.call(id, Origin::Library).emit(id, attempt(1, id));
            for next in 2..=6 {
                let class = [FailureClass::HeaderTimeout, FailureClass::ServerError][next as usize % 2];
                story.emit(id, failed(next - 1, class, None, 9));
                story.emit(id, retry(next, class, story.now, 40, None));
                story.emit(id, attempt(next, id));
            }
            story.emit(id, failed(6, FailureClass::HeaderTimeout, None, 9));
            story.emit(id, ended(Fate::Failed, 6, 9));
        }
    }
    Fixture {
        state: story.state(),
        now: story.now,
        ..Fixture::default()
    }
}

fn drawn(fixture: &Fixture, width: u16, height: u16) -> Vec<String> {
    fixture::rows(fixture, width, height, render)
}

#[test]
fn every_part_has_its_own_letter_in_ascii() {
    let mut fixture = session(true);
    fixture.theme = Theme::new(Palette::Mono, true);
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
        drawn(&fixture, 76, 18).get(3..10),
        Some(&chart.map(str::to_owned)[..])
    );
}

#[test]
fn parts_are_dropped_in_order_of_importance() {
    let fixture = session(true);
    for (width, height) in [(46, 12), (46, 8), (48, 17), (76, 18), (116, 34), (196, 54)] {
        let text = drawn(&fixture, width, height).join("\n");
        let has = |words: &str| text.contains(words);
        assert!(
            has("retry storm") && has("attempts per call") && has("-2m"),
            "{width}x{height}\n{text}"
        );
        assert_eq!(has("recovered"), height >= 12, "{width}x{height}\n{text}");
        assert_eq!(has("budget "), height >= 12, "{width}x{height}\n{text}");
        assert_eq!(has("drawn"), height >= 18, "{width}x{height}\n{text}");
    }
}

#[test]
fn past_columns_shift_but_do_not_change() {
    let mut fixture = session(true);
    let chart = |fixture: &Fixture| -> Vec<String> {
        let rows = drawn(fixture, 76, 18);
        rows.iter()
            .skip(3)
            .take(6)
            .map(|row| row.chars().skip(4).take(60).collect())
            .collect()
    };
    fixture.now = fixture::at(62.0);
    let before = chart(&fixture);
    fixture.now = fixture::at(63.9);
    assert_eq!(chart(&fixture), before, "a column covers two seconds");
    fixture.now = fixture::at(64.0);
    let shifted: Vec<String> = before
        .iter()
        .map(|row| format!("{} ", row.chars().skip(1).collect::<String>()))
        .collect();
    let padded: Vec<String> = chart(&fixture).iter().map(|row| format!("{row:60}")).collect();
    assert_eq!(
        padded,
        shifted.iter().map(|row| format!("{row:60}")).collect::<Vec<_>>()
    );
}

#[test]
fn the_empty_state_shows_the_keys() {
    let rows = drawn(&Fixture::default(), 76, 3);
    assert_eq!(
        rows,
        [
            "Nothing sent yet.  [F] inject faults, then [b] burst 10 to see retries",
            "",
            ""
        ]
    );
}

#[test]
fn the_border_shows_the_attempts_per_call() {
    let fixture = session(true);
    assert_eq!(title(&fixture.view(), 76), "now 5.2 attempts per call");
    assert_eq!(title(&fixture.view(), 20), "");
}
