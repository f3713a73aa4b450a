//! Scenes in the manner of the mock-ups, and the behaviour of rows.

use ratatui::buffer::Buffer;
use ratatui::layout::{Rect, Size};
use ratatui::style::Modifier;

use proptest::prelude::*;

use super::super::fixture::{self, Fixture, at, ms};
use super::*;
use crate::event::{EventKind, Fate, FlightId, Origin};
use crate::state::fixture::{Story, attempt, ended, started, succeeded};
use crate::state::{Doing, Flight, SpanKind, State};
use crate::tui::editor::Editor;
use crate::tui::layout::{Areas, layout};
use crate::tui::theme::{Palette, Theme};
use SpanKind::{BackOff, Queued, Streaming, Waiting};

/// An outage: the breaker opens for the third time at 42 s, and refuses what the cache does not have.
fn outage() -> Fixture {
    let mut fixture = Fixture {
        now: at(45.6),
        theme: Theme::new(Palette::Mono, false),
        ..Fixture::default()
    };
    let sent = |id, started: f64, fate, steps: &[(SpanKind, f64, &str)]| {
        let length: f64 = steps.iter().map(|(_, length, _)| length).sum();
        Call {
            spans: fixture::spans(started, steps),
            attempts: 1,
            ..fixture::call(id, started, started + length, fate)
        }
    };
    let mut calls = vec![
        sent(
            188,
            36.4,
            Fate::Failed,
            &[(Waiting, 3.0, "RST"), (BackOff, 0.4, "RST")],
        ),
        fixture::call(189, 36.7, 36.7, Fate::Hit),
        sent(
            190,
            36.7,
            Fate::Answered,
            &[(Waiting, 0.4, ""), (Streaming, 1.0, "")],
        ),
        sent(
            191,
            36.8,
            Fate::Failed,
            &[(Waiting, 0.046, "RST"), (BackOff, 0.2, "RST")],
        ),
        Call {
            attempts: 0,
            ..sent(192, 36.99, Fate::CircuitOpen, &[(Queued, 0.02, "OPEN")])
        },
    ];
    for id in 193..=215 {
        let fate = if id % 5 < 3 { Fate::CircuitOpen } else { Fate::Hit };
        let time = 36.8 + (id - 193) as f64 * 0.21;
        calls.push(fixture::call(id, time, time, fate));
    }
    calls.push(sent(216, 41.98, Fate::Failed, &[(Waiting, 0.028, "RST")]));
    for id in 217..=236 {
        let fate = if id % 9 < 5 { Fate::CircuitOpen } else { Fate::Hit };
        let time = 42.4 + (id - 217) as f64 * 0.15;
        calls.push(fixture::call(id, time, time, fate));
    }
    let state = &mut fixture.state;
    state.calls.recent = calls.into_iter().map(|call| (call.id, call)).collect();
    state.calls.totals.started = state.calls.recent.len() as u64;
    let breaker = state.breakers.first_mut();
    (breaker.state, breaker.since) = (crate::event::BreakerState::Open, at(37.0));
    fixture
}

fn areas(fixture: &Fixture) -> Areas {
    layout(
        Rect::from((ratatui::layout::Position::ORIGIN, fixture.ui.size)),
        &fixture.ui,
    )
}

/// The pane with its rule, and the row of cells at its right edge that the dividers do not touch.
fn buffer(fixture: &mut Fixture, width: u16, height: u16) -> Buffer {
    fixture.ui.size = Size::new(width, height);
    let areas = areas(fixture);
    let mut buf = Buffer::empty(Rect::new(0, 0, width, height));
    pane::rules(&fixture.view(), &areas, &mut buf);
    render(&fixture.view(), areas.inner(PaneId::Calls), &mut buf);
    buf
}

fn drawn(fixture: &mut Fixture, width: u16, height: u16) -> Vec<String> {
    let buf = buffer(fixture, width, height);
    let pane = areas(fixture).pane(PaneId::Calls).unwrap();
    let rows = usize::from(pane.y)..usize::from(pane.bottom());
    fixture::text(&buf).drain(rows).collect()
}

/// The columns left of the axis, without trailing blanks.
fn gutters(fixture: &mut Fixture, width: u16, height: u16) -> Vec<String> {
    drawn(fixture, width, height)
        .iter()
        .skip(1)
        .map(|row| row.split('│').next().unwrap_or_default().trim_end().to_owned())
        .collect()
}

#[test]
fn an_outage_at_80x24() {
    assert_eq!(
        drawn(&mut outage(), 80, 24),
        [
            "━ 8 Calls ━━━━━━━━━┼━━━━━━━━┼━━━━━━━━━┼━━━━━━━━━┼━━━━━━━━━┼━━━━━━━━━┼━━━━━━━━━┼━",
            "›#217–236 ⊘12 ◇8   │                                          ┊         ⊘⊘◇⊘⊘⊘⊘",
            " #216 ✗ failed   1×│                                          ┊      RST✗",
            " #193–215 ⊘13 ◇10  │                                         ◇⊘⊘⊘⊘⊘⊘⊘⊘⊘",
            " #192 ⊘ refused    │                                         ┄⊘",
            " #191 ✗ failed   1×│                                      RST·✗",
            " #190 ✓ answered 1×│                                         ─━━✓",
            " #189 ◇ cached     │                                         ◇┊",
        ]
    );
}

#[test]
fn an_outage_at_120x40() {
    assert_eq!(
        drawn(&mut outage(), 120, 40),
        [
            "━ 8 Calls  wall clock ━━━━━━━┼━━━━━━━━━━━━━┼━━━ ─ waits  ━ streams  · backs off  ┄ queued ━━━━━ 49 calls, newest first ━",
            "›#217–236 ⊘ 12 ◇ 8           │                                                                ┊               ⊘⊘◇⊘⊘⊘◇⊘⊘",
            " #216     ✗ failed   1×  28ms│                                                                ┊           RST✗",
            " #193–215 ⊘ 13 ◇ 10          │                                                               ◇⊘⊘◇⊘⊘⊘⊘⊘⊘◇⊘⊘◇⊘",
            " #192     ⊘ refused      20ms│                                                               ┄⊘",
            " #191     ✗ failed   1× 246ms│                                                            RST·✗",
            " #190     ✓ answered 1×  1.4s│                                                               ─━━━✓",
            " #189     ◇ cached           │                                                               ◇┊",
            " #188     ✗ failed   1×  3.4s│                                                              ──────RST·✗",
        ]
    );
}

#[test]
fn ascii_has_the_same_rows() {
    let mut fixture = outage();
    fixture.theme = Theme::new(Palette::Mono, true);
    assert_eq!(
        drawn(&mut fixture, 80, 24),
        [
            "=[8 Calls]=========+========+=========+=========+=========+=========+=========+=",
            ">#217-236 !12 c8   |                                          :         !!c!!!!",
            " #216 x failed   1x|                                          :      RSTx",
            " #193-215 !13 c10  |                                         c!!!!!!!!!",
            " #192 ! refused    |                                         ,!",
            " #191 x failed   1x|                                      RST.x",
            " #190 + answered 1x|                                         -==+",
            " #189 c cached     |                                         c:",
        ]
    );
}

#[test]
fn the_selected_row_is_bold_and_not_reversed() {
    let mut fixture = outage();
    fixture.ui.selected_call = Some(CallId(191));
    let buf = buffer(&mut fixture, 80, 24);
    let y = (0..24).find(|y| buf[(0, *y)].symbol() == "›").unwrap();
    assert!(fixture::text(&buf)[usize::from(y)].starts_with("›#191 ✗ failed   1×│"));
    for x in 0..80 {
        assert!(!buf[(x, y)].modifier.contains(Modifier::REVERSED), "{x}");
    }
    assert!(buf[(3, y)].modifier.contains(Modifier::BOLD));
    assert!(!buf[(3, y - 1)].modifier.contains(Modifier::BOLD));
}

#[test]
fn the_newest_row_is_selected_while_the_pane_has_the_focus() {
    let mut fixture = outage();
    assert!(gutters(&mut fixture, 80, 24)[0].starts_with('›'));
    fixture.ui.focus = PaneId::Log;
    assert!(
        gutters(&mut fixture, 80, 24)
            .iter()
            .all(|row| row.starts_with(' '))
    );
    // a call that is no longer in memory: the next older row, or else the oldest
    fixture.ui.focus = PaneId::Calls;
    fixture.state.calls.recent.remove(&CallId(191));
    fixture.ui.selected_call = Some(CallId(191));
    assert!(
        gutters(&mut fixture, 80, 24)
            .iter()
            .any(|row| row.starts_with("›#190"))
    );
    fixture.ui.selected_call = Some(CallId(7));
    assert!(
        gutters(&mut fixture, 80, 24)
            .iter()
            .any(|row| row.starts_with("›#188"))
    );
}

#[test]
fn a_group_opens_and_closes_where_the_cursor_is() {
    let mut fixture = outage();
    let step = |fixture: &mut Fixture, by| {
        fixture.ui.selected_call = moved(&fixture.view(), by);
        fixture.ui.selected_call.map(|id| id.0)
    };
    assert_eq!(call_under_cursor(&fixture.view()), Some(CallId(236)));
    assert_eq!(step(&mut fixture, 1), Some(216));
    assert_eq!(step(&mut fixture, 1), Some(215));
    assert_eq!(step(&mut fixture, 1), Some(192));
    assert_eq!(step(&mut fixture, -1), Some(215));
    let group: Vec<u64> = group_under_cursor(&fixture.view())
        .iter()
        .map(|call| call.id.0)
        .collect();
    assert_eq!(group, (193..=215).rev().collect::<Vec<u64>>());
    fixture.ui.open_groups.insert(CallId(215));
    assert_eq!(step(&mut fixture, 1), Some(214));
    assert_eq!(step(&mut fixture, 100), Some(188));
    assert_eq!(step(&mut fixture, -5), Some(193));
    assert_eq!(step(&mut fixture, -1), Some(194));
    assert_eq!(
        gutters(&mut fixture, 80, 24)[3..7],
        [
            " #197 ⊘ refused",
            " #196 ⊘ refused",
            " #195 ⊘ refused",
            "›#194 ◇ cached"
        ]
    );
    // closed again, the whole group is under the cursor
    fixture.ui.open_groups.clear();
    assert!(
        gutters(&mut fixture, 80, 24)
            .iter()
            .any(|row| row.starts_with("›#193–215 ⊘13 ◇10"))
    );
    assert_eq!(step(&mut fixture, -100), None);
}

#[test]
fn followers_fold_into_the_owner_of_their_flight() {
    let mut story = Story::begin();
    story.at(1.0).call(1, Origin::Chat).emit(1, attempt(1, 1));
    for call in 2..=5 {
        story.emit(call, started(call, Origin::Library, story.now));
        let (flight, owner) = (FlightId(1), CallId(1));
        let subscribers = call as u32;
        story.emit(
            call,
            EventKind::FlightJoined {
                flight,
                owner,
                subscribers,
            },
        );
    }
    let fixture_at = |story: &Story, seconds| Fixture {
        state: story.state(),
        now: at(seconds),
        ..Fixture::default()
    };
    assert_eq!(
        gutters(&mut fixture_at(&story, 2.0), 120, 40)[..2],
        ["›#1       ▶ waiting  +4  1.0s", ""]
    );
    // a follower with another fate than the owner has a row of its own
    story
        .at(2.5)
        .emit(3, ended(Fate::Cancelled, 0, 1500))
        .emit(4, ended(Fate::Failed, 0, 1500));
    story
        .at(3.0)
        .emit(1, succeeded(1, 2000))
        .emit(1, ended(Fate::Answered, 1, 2000));
    story
        .emit(2, ended(Fate::Shared, 0, 2000))
        .emit(5, ended(Fate::Shared, 0, 2000));
    let mut fixture = fixture_at(&story, 4.0);
    assert_eq!(
        gutters(&mut fixture, 120, 40)[..4],
        [
            "›#4       ✗ failed       1.5s",
            " #3       ■ stopped      1.5s",
            " #1       ✓ answered +2  2.0s",
            "",
        ]
    );
    // the cursor on a follower is on the row of its owner
    fixture.ui.selected_call = Some(CallId(5));
    assert_eq!(gutters(&mut fixture, 80, 24)[2], "›#1   ✓ answered +2");
    // a filter shows every call
    fixture
        .ui
        .filters
        .insert(PaneId::Calls, Editor::from_text("shared"));
    assert_eq!(
        gutters(&mut fixture, 120, 40)[..3],
        [
            "›#5       ≈ shared       2.0s",
            " #2       ≈ shared       2.0s",
            ""
        ]
    );
}

#[test]
fn a_filter_shows_each_match_and_their_number() {
    let mut fixture = outage();
    fixture
        .ui
        .filters
        .insert(PaneId::Calls, Editor::from_text("RST !#188"));
    let rows = drawn(&mut fixture, 80, 24);
    assert!(rows[0].ends_with(" /RST !#188  2 of 49 ━"), "{}", rows[0]);
    assert_eq!(
        gutters(&mut fixture, 80, 24)[..3],
        ["›#216 ✗ failed   1×", " #191 ✗ failed   1×", ""]
    );
    fixture.ui.filters.insert(PaneId::Calls, Editor::from_text("cut"));
    let rows = drawn(&mut fixture, 80, 24);
    assert!(rows[0].ends_with(" /cut  0 of 49 ━"), "{}", rows[0]);
    assert!(
        rows[1].ends_with("│ No matching lines (Esc clears the filter)"),
        "{}",
        rows[1]
    );
}

#[test]
fn rows_that_are_not_kept_are_counted() {
    let mut fixture = outage();
    let title = |fixture: &mut Fixture| drawn(fixture, 80, 24).remove(0);
    assert!(!title(&mut fixture).contains("newest"));
    fixture.state.calls.totals.started = 10_001;
    assert!(
        title(&mut fixture).ends_with("━ newest 49 of 10,001 ━"),
        "{}",
        title(&mut fixture)
    );
}

#[test]
fn beyond_30_seconds_the_lanes_keep_their_own_clock() {
    let mut fixture = outage();
    let lanes = drawn(&mut fixture, 120, 40).split_off(1);
    fixture.ui.window = Window::TenMinutes;
    let rows = drawn(&mut fixture, 120, 40);
    assert_eq!(rows[1..], lanes);
    assert!(rows[0].starts_with("━ 8 Calls  last 30 s ━"), "{}", rows[0]);
    assert!(
        rows[0].contains("00:30") && rows[0].ends_with("now"),
        "{}",
        rows[0]
    );
}

#[test]
fn the_crosshair_selects_the_calls_that_ran_then() {
    let mut fixture = outage();
    fixture.ui.crosshair = Some(at(39.0));
    for (window, columns) in [(Window::HalfMinute, 20), (Window::TwoMinutes, 1)] {
        fixture.ui.window = window;
        let rows = drawn(&mut fixture, 120, 40);
        assert!(rows[0].starts_with("━ 8 Calls  around 00:39 ━"), "{}", rows[0]);
        let ids: Vec<&str> = rows[1..].iter().filter_map(|row| row.get(..5)).collect();
        assert!(ids.contains(&" #188"), "{ids:?}");
        assert!(!ids.contains(&" #216") && !ids.contains(&" #190"), "{ids:?}");
        let crossed = rows.iter().filter(|row| row.contains('┃')).count();
        assert!(crossed >= 5, "{columns}: {rows:#?}");
        assert!(rows.iter().any(|row| row.contains("RST·✗")), "{rows:#?}");
    }
}

#[test]
fn lanes_can_begin_at_their_own_start() {
    let mut fixture = outage();
    fixture.ui.align_calls = true;
    let rows = drawn(&mut fixture, 120, 40);
    assert!(
        rows[0].starts_with("━ 8 Calls  own start ━━━━━━━━┼0s━━━"),
        "{}",
        rows[0]
    );
    assert_eq!(
        rows[8],
        " #188     ✗ failed   1×  3.4s│─────────────────────────────────────────────────────────RST········✗"
    );
}

#[test]
fn the_whole_screen_has_every_column() {
    let mut fixture = outage();
    fixture.ui.zoomed = true;
    fixture.ui.selected_call = Some(CallId(190));
    fixture.state.calls.recent.get_mut(&CallId(190)).unwrap().ttft = Some(ms(400));
    fixture.state.calls.recent.get_mut(&CallId(190)).unwrap().usage =
        Some(crate::openai::Usage::new(24, 388));
    let rows = gutters(&mut fixture, 200, 60);
    assert_eq!(
        rows[0],
        " call     outcome     ×  took user     first  tok why, or prompt"
    );
    assert_eq!(rows[1], " #217–236 ⊘ 12 ◇ 8");
    assert_eq!(
        rows[6],
        "›#190     ✓ answered 1×  1.4s ada      400ms  412 what does a token bucket do?"
    );
    // the legend is beside the heads, the clock on the rule
    let rows = drawn(&mut fixture, 120, 40);
    assert!(
        rows[1].contains("│ ─ waits  ━ streams  · backs off  ┄ queued"),
        "{}",
        rows[1]
    );
    assert!(rows[0].contains("00:30"), "{}", rows[0]);
}

#[test]
fn long_ids_and_many_attempts_keep_their_columns() {
    let mut fixture = Fixture {
        now: at(5.0),
        ..Fixture::default()
    };
    let calls = (9_995..=10_004).map(|id| {
        let fate = if id == 10_000 {
            Fate::Answered
        } else {
            Fate::CircuitOpen
        };
        let spans = if id == 10_000 {
            fixture::spans(1.0, &[(Waiting, 1.0, "")])
        } else {
            Vec::new()
        };
        Call {
            spans,
            attempts: if id == 10_000 { 12 } else { 0 },
            ..fixture::call(id, 1.0, 2.0, fate)
        }
    });
    fixture.state.calls.recent = calls.map(|call| (call.id, call)).collect();
    fixture.ui.focus = PaneId::Log;
    assert_eq!(
        gutters(&mut fixture, 80, 24)[..3],
        [" #10001–4 ⊘4", " #10000 ✓ answered", " #9995–9 ⊘5"]
    );
    assert_eq!(
        gutters(&mut fixture, 120, 40)[..3],
        [" #10001–4 ⊘ 4", " #10000   ✓ answered 12  1.0s", " #9995–9  ⊘ 5"]
    );
    for call in fixture
        .state
        .calls
        .recent
        .values_mut()
        .filter(|call| call.id.0 > 10_002)
    {
        call.fate = Some(Fate::RateLimited);
    }
    assert_eq!(gutters(&mut fixture, 120, 40)[0], " #10001–4 ⊘ 2 ⊘ 2 limited");
}

/// A session of calls: 0 cached, 1 refused, 2 answered, 3 running, 4 a follower of the last sent one.
fn session(kinds: &[u8]) -> State {
    let mut state = State::default();
    let mut owner = None;
    for (index, kind) in kinds.iter().enumerate() {
        let id = index as u64 + 1;
        let time = index as f64 / 10.0;
        let sent = |fate| Call {
            spans: fixture::spans(time, &[(Waiting, 0.5, "")]),
            flight: Some(FlightId(id)),
            ..fixture::call(id, time, time + 0.5, fate)
        };
        let call = match kind {
            0 => fixture::call(id, time, time, Fate::Hit),
            1 => fixture::call(id, time, time, Fate::CircuitOpen),
            2 => sent(Fate::Answered),
            3 => fixture::running(id, time, Doing::Waiting),
            _ => Call {
                spans: fixture::spans(time, &[(SpanKind::Following, 0.1, "")]),
                flight: owner.map(FlightId),
                ..fixture::call(id, time, time + 0.1, Fate::Shared)
            },
        };
        if *kind == 2 {
            owner = Some(id);
            let flight = Flight {
                owner: CallId(id),
                ..Flight::default()
            };
            state.calls.flights.insert(FlightId(id), flight);
        }
        state.calls.recent.insert(call.id, call);
    }
    state
}

proptest! {
    /// Every window of rows is a part of the whole list, contains the cursor, and is as long as it can be.
    #[test]
    fn a_window_is_a_part_of_the_list(
        kinds in proptest::collection::vec(0u8..5, 1..60),
        opened in proptest::collection::btree_set(1u64..60, 0..3),
        cursor in 0u64..70,
        height in 1usize..12,
    ) {
        let mut fixture = Fixture { state: session(&kinds), now: at(9.0), ..Fixture::default() };
        fixture.ui.open_groups = opened.into_iter().map(CallId).collect();
        let view = fixture.view();
        let rows = rows(&view);
        let ids = |rows: &[rows::Row<'_>]| -> Vec<Vec<u64>> {
            rows.iter().map(|row| row.calls.iter().map(|call| call.id.0).collect()).collect()
        };
        let all = ids(&rows.visible(None, usize::MAX).rows);
        // each call has one row, or folds
        let mut seen: Vec<u64> = all.iter().flatten().copied().collect();
        prop_assert!(seen.windows(2).all(|pair| pair[0] > pair[1]));
        seen.extend(view.state.calls.recent.values().filter(|call| {
            call.fate == Some(Fate::Shared) && call.flight.is_some()
        }).map(|call| call.id.0));
        prop_assert_eq!(seen.len(), kinds.len());

        let visible = rows.visible(Some(CallId(cursor)), height);
        let part = ids(&visible.rows);
        prop_assert_eq!(part.len(), height.min(all.len()));
        let first = all.iter().position(|row| *row == part[0]).unwrap();
        prop_assert_eq!(&all[first..first + part.len()], &part[..]);
        prop_assert_eq!(visible.newer, first > 0);
        let at = first + visible.cursor.unwrap();
        let chosen = CallId(all[at][0]);
        prop_assert_eq!(rows.row_of(CallId(cursor)), Some(chosen));
        // moving goes from row to row
        for by in [-3i16, -1, 0, 1, 2] {
            let target = at.saturating_add_signed(isize::from(by)).min(all.len() - 1);
            prop_assert_eq!(rows.moved(CallId(cursor), i64::from(by)), Some(CallId(all[target][0])));
        }
    }
}
