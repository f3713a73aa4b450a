//! The screen and the report of a run say the same: one definition of each count.

use std::io::Cursor;

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use seawall::drills::scenario::{Hits, Tally};
use seawall::event::{Event, Fate};
use seawall::journal::{Line, Reader};
use seawall::state::State;
use seawall::time::Timestamp;
use seawall::tui::keymap::Keymap;
use seawall::tui::theme::Theme;
use seawall::tui::ui::Ui;
use seawall::tui::view::{self, View};

/// The row is drawn at every 61st event: a prime, so that no rhythm hides a kind of event.
const DRAWN: u64 = 61;

fn events(journal: &[u8]) -> impl Iterator<Item = Event> {
    let lines = Reader::open(Cursor::new(journal.to_vec())).unwrap().lines();
    lines.filter_map(|line| match line.unwrap() {
        Line::Event(event) => Some(event),
        Line::Blank | Line::Gap(_) | Line::End { .. } => None,
    })
}

/// The row of the counts, on a screen too small for panes.
fn counts(state: &State, now: Timestamp, width: u16) -> String {
    let (ui, theme) = (
        Ui {
            size: (width, 5).into(),
            ..Ui::default()
        },
        Theme::default(),
    );
    let area = Rect::new(0, 0, width, 5);
    let mut buffer = Buffer::empty(area);
    let view = View {
        state,
        ui: &ui,
        theme: &theme,
        now,
    };
    view::draw(&view, &Keymap::builtin().unwrap(), area, &mut buffer);
    let rows = (0..5).map(|y| (0..width).map(|x| buffer[(x, y)].symbol()).collect::<String>());
    let mut rows = rows.filter(|row| row.contains(" calls ") || row.contains(" 1 call "));
    rows.find(|row| row.contains(['✓', '▶'])).unwrap_or_default()
}

/// Compares what the screen counts with the report, event by event.
pub(crate) fn agrees(name: &str, journal: &[u8]) {
    let (mut state, mut tally) = (State::default(), Tally::default());
    for event in events(journal) {
        state.apply(&event);
        tally.apply(&event);
        let totals = &state.calls.totals;
        let held = totals.queued + totals.backing_off + totals.following;
        let busy = held + totals.waiting + totals.streaming;
        assert!(
            busy <= totals.running(),
            "{name}, event {}: {totals:?}",
            event.seq
        );
        let ended: u64 = Fate::ALL.iter().map(|fate| totals.ended(*fate)).sum();
        assert_eq!(
            totals.started,
            ended + totals.running(),
            "{name}, event {}",
            event.seq
        );
        if totals.started > 0 && event.seq.is_multiple_of(DRAWN) {
            let row = counts(&state, event.at, [80, 120, 200][(event.seq % 3) as usize]);
            let shown = row.split("   burst").next().unwrap();
            let numbers = shown.split(|letter: char| !letter.is_ascii_digit());
            let mut numbers = numbers.filter_map(|number| number.parse::<u64>().ok());
            assert_eq!(
                numbers.next(),
                Some(totals.started),
                "{name}, event {}: {row}",
                event.seq
            );
            assert_eq!(
                numbers.sum::<u64>(),
                totals.started,
                "{name}, event {}: {row}",
                event.seq
            );
        }
    }
    for fate in Fate::ALL {
        let counted = (tally.ended(fate), state.calls.totals.ended(fate));
        assert_eq!(counted.0, counted.1, "{name}: {}", fate.brief());
    }
    let cache = &state.cache;
    let shown = Hits {
        exact: cache.hits,
        semantic: cache.semantic,
        shared: cache.shared,
        replayed: cache.replays,
    };
    assert_eq!(tally.hits, shown, "{name}");
    assert_eq!(tally.missed, cache.missed(), "{name}: misses");
    assert_eq!(tally.attempts, state.retry.attempts, "{name}: attempts");
    // the timeline merges its oldest seconds but forgets none
    let all = state.timeline.sum(Timestamp::ZERO, state.last_event_at);
    let lookups = (u64::from(all.lookups), u64::from(all.new_prompts));
    assert_eq!(lookups, (cache.lookups(), cache.unserved()), "{name}: lookups");
}
