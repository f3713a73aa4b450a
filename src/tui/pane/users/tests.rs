//! The table at the widths there are, with hostile names and with more users than rows.

use std::time::Duration;

use super::super::fixture::{self, Scene, at};
use super::*;
use crate::event::{BucketLevel, Constraint, EventKind, Fate, LimitReject, Origin, UserLevels};
use crate::settings::{Bucket, Policy, UserLimits};
use crate::state::fixture::{Story, admitted, ended, queued, started_by};
use crate::tui::theme::{Palette, Theme};

/// Two calls of ann wait behind twenty of ben; cleo was answered once, and dev asked nothing.
fn story(change: impl FnOnce(&mut Policy)) -> Story {
    let mut story = Story::begin();
    let mut policy = Policy::default();
    change(&mut policy);
    let policy = Box::new(policy);
    story.tell(0, EventKind::PolicyApplied { policy });
    story.at(2.0);
    for call in 1..=4 {
        let user = if call == 1 { "cleo" } else { "ben" };
        let kind = started_by(user, call, Origin::Library, story.now);
        story.tell(call, kind);
        let kind = admitted(story.now, 1, 0);
        story.tell(call, kind);
        story.tell(call, ended(Fate::Answered, 1, 900));
    }
    for call in 5..=26 {
        story.at(2.0 + call as f64 / 10.0);
        let user = if call < 25 { "ben" } else { "ann" };
        let kind = started_by(user, call, Origin::Library, story.now);
        story.tell(call, kind);
        story.tell(call, queued(Constraint::Slots, None, 1));
    }
    let reason = LimitReject::WaitTooLong;
    let kind = started_by("ben", 27, Origin::Library, story.now);
    story.tell(27, kind);
    story.tell(
        27,
        EventKind::LimitRejected {
            reason,
            predicted: None,
            waiting: 22,
            saw: None,
        },
    );
    story.tell(27, ended(Fate::RateLimited, 0, 0));
    story
}

/// What a story looks like after ten seconds, to ann.
fn scene(story: &Story) -> Scene {
    let mut scene = Scene {
        state: story.state(),
        now: at(10.0),
        ..Scene::default()
    };
    scene.ui.users = ["ann", "ben", "cleo", "dev"].map(UserId::new).to_vec();
    scene.ui.size = (80, 24).into();
    scene
}

/// Ben floods the queue, and ann asks.
pub(in crate::tui::pane) fn flooded(order: QueueOrder) -> Scene {
    scene(&story(|policy| policy.limit.order = order))
}

fn rows(scene: &Scene, width: u16, height: u16) -> Vec<String> {
    let mut rows = fixture::rows(scene, width, height, render);
    while rows.last().is_some_and(String::is_empty) {
        rows.pop();
    }
    rows
}

#[test]
fn zoomed_on_eighty_columns() {
    assert_eq!(
        rows(&flooded(QueueOrder::Fifo), 76, 18),
        [
            "ben floods the queue: 91% of it, fair share 33%; t shares the queue fairly",
            "  user            share, | fair queue   p95  runs  calls  hits  away  tokens",
            "> ann  [░░░░░|░░░░░░░░░░]    0%     2  5.5s     2      2     0     0       0",
            "! ben  [█████|██████░░░░]   75%    20  7.4s    20     24     0     1       0",
            "  cleo [████░|░░░░░░░░░░]   25%     0  0.0s     0      1     0     0       0",
            "  dev  [░░░░░░░░░░░░░░░░]    --     0    --     0      0     0     0       0",
            "",
            "share: of the tokens admitted in the last minute, | what is fair by weight;",
            "queue: calls that wait; p95: of their waits in that minute; away: refused by",
            "limiter or breaker",
        ]
    );
}

#[test]
fn beside_other_panes_the_least_important_columns_go_first() {
    let scene = flooded(QueueOrder::Fifo);
    assert_eq!(
        rows(&scene, 37, 12),
        [
            "ben floods the queue: 91% of it, fair",
            "share 33%; t shares the queue fairly",
            "  user      share, | fair queue   p95",
            "> ann  [░░░|░░░░░░]    0%     2  5.5s",
            "! ben  [███|████░░]   75%    20  7.4s",
            "  cleo [███|░░░░░░]   25%     0  0.0s",
            "  dev  [░░░░░░░░░░]    --     0    --",
            "",
            "share and p95 wait: last minute; | is",
            "the fair share, by weight",
        ]
    );
    assert_eq!(rows(&scene, 24, 12)[2], "  user share queue   p95");
    // few rows: the sentence and the rows stay longest
    assert_eq!(rows(&scene, 37, 1), ["ben floods the queue: 91% of it,…"]);
    assert!(rows(&scene, 37, 3)[1].starts_with("> ann"));
}

#[test]
fn the_sentence_says_what_is_and_what_to_press() {
    let first = |scene: &Scene| rows(scene, 100, 9)[0].clone();
    let mut scene = flooded(QueueOrder::Fair);
    assert_eq!(first(&scene), "ben floods the queue: 91% of it, fair share 33%");
    let waiters = scene.state.limit.waiters.clone();
    scene.state.limit.waiters.retain(|call, _| call.0 >= 22);
    assert_eq!(first(&scene), "2 users wait, none is noisy");
    scene.state.limit.waiters.retain(|call, _| call.0 >= 25);
    assert_eq!(
        first(&scene),
        "one user waits, none is noisy",
        "three calls of ben are no noise"
    );
    scene.state.limit.waiters.clear();
    let keys = "a bursts from all, u asks as the next, b bursts from one";
    assert_eq!(first(&scene), format!("nobody waits: {keys}"));
    let mut fresh = Scene::default();
    assert_eq!(first(&fresh), "nobody asked yet: b bursts, i asks");
    fresh.ui.users.clone_from(&scene.ui.users);
    assert!(
        !rows(&fresh, 37, 9)[..2].concat().contains('…'),
        "there is room for all of it"
    );
    assert!(!rows(&fresh, 76, 9)[0].contains('…'));
    assert_eq!(first(&fresh), format!("nobody asked yet: {keys}"));
    scene.ui.read_only = true;
    assert_eq!(first(&scene), "nobody waits");
    scene.state.limit.waiters = waiters;
    scene.state.session.policy.limit.order = QueueOrder::Fifo;
    assert!(
        first(&scene).ends_with("fair share 33%"),
        "nothing can be pressed"
    );
    scene.state.limit.waiters.clear();
    scene.state.session.policy.limit.enabled = false;
    assert_eq!(first(&scene), "the limiter is off: nobody waits");
}

#[test]
fn own_buckets_have_a_column_where_somebody_has_one() {
    let bucket = |capacity| Bucket {
        capacity,
        refill: 1,
        per: Duration::from_mins(1),
    };
    let mut story = story(|policy| {
        policy.limit.each_user.requests = Some(bucket(8));
        policy.limit.users.insert("cleo".into(), UserLimits::default());
    });
    let mut kind = admitted(story.now, 1, 21);
    if let EventKind::LimitAdmitted { user, .. } = &mut kind {
        *user = Some(Box::new(UserLevels {
            user: UserId::new("ann"),
            requests: Some(BucketLevel::full(&bucket(8), story.now).debited(6)),
            tokens: Some(BucketLevel::full(&bucket(900), story.now).debited(1_020)),
        }));
    }
    story.tell(25, kind);
    let rows = rows(&scene(&story), 76, 18);
    assert_eq!(
        rows[1..6],
        [
            "  user      share, | fair          own limit queue   p95  runs  away  tokens",
            "> ann  [██░|░░░░░░]   20% [░░░░░░]  debt 120     1  5.4s     2     0       0",
            "! ben  [███|██░░░░]   60% [██████]     8 req    20  7.4s    20     1       0",
            "  cleo [██░|░░░░░░]   20%           no limit     0  0.0s     0     0       0",
            "  dev  [░░░░░░░░░░]    -- [██████]     8 req     0    --     0     0       0",
        ]
    );
}

#[test]
fn three_hundred_users_on_ten_rows() {
    let mut story = Story::begin();
    for call in 1..=300 {
        let kind = started_by(&format!("user {call:03}"), call, Origin::Library, story.now);
        story.tell(call, kind);
        if call % 100 == 7 {
            story.tell(call, queued(Constraint::Slots, None, 1));
        }
    }
    let mut scene = scene(&story);
    scene.ui.users = vec![UserId::new("user 200")];
    let shown = rows(&scene, 76, 10);
    let names: Vec<&str> = shown[2..]
        .iter()
        .map(|row| row.get(..10).unwrap_or(row))
        .collect();
    // 256 apart and the sum of 44; who asks and who waits first
    assert_eq!(
        names,
        [
            "> user 200",
            "  user 007",
            "  user 107",
            "  user 207",
            "  user 001",
            "  user 002",
            "  user 003",
            "  and 250 ",
        ]
    );
    assert_eq!(shown[9], "  and 250 more of 257");
    assert!(
        rows(&scene, 76, 300)
            .iter()
            .any(|row| row.starts_with("  (others)"))
    );
}

#[test]
fn rows_do_not_move_while_calls_come_and_go() {
    let mut scene = flooded(QueueOrder::Fifo);
    let names = |scene: &Scene, height| -> Vec<String> {
        let rows = rows(scene, 76, height);
        rows[1..]
            .iter()
            .map(|row| row.chars().skip(2).take(4).collect())
            .collect()
    };
    let (all, some) = (names(&scene, 6), names(&scene, 5));
    assert_eq!(all, ["user", "ann ", "ben ", "cleo", "dev "]);
    assert_eq!(some, ["user", "ann ", "ben ", "and "]);
    for gone in 5..=8 {
        scene.state.limit.waiters.remove(&crate::event::CallId(gone));
        assert_eq!((names(&scene, 6), names(&scene, 5)), (all.clone(), some.clone()));
    }
}

#[test]
fn hostile_names_move_no_column_and_the_bars_never_lie() {
    let wide = "\u{6f22}\u{5b57}\u{1b}[31m\n e\u{301}\u{1f469}\u{200d}\u{1f4bb} ".repeat(9);
    let mut story = story(|_| ());
    for (call, user) in [(30, wide.as_str()), (31, ""), (32, "[#####|#####]")] {
        let kind = started_by(user, call, Origin::Library, story.now);
        story.tell(call, kind);
        story.tell(call, queued(Constraint::Slots, None, 1));
    }
    let mut scene = scene(&story);
    scene.ui.users.push(UserId::new(&wide));
    scene.ui.user = 4;
    for width in [24, 33, 40, 76, 116, 196] {
        let area = Rect::new(0, 0, width, 30);
        let mut buf = Buffer::empty(area);
        render(&scene.view(), area, &mut buf);
        let shown = fixture::text(&buf);
        let heads = shown.iter().position(|row| row.starts_with("  user")).unwrap();
        let edge = |row: usize| (0..width).rev().find(|x| buf[(*x, row as u16)].symbol() != " ");
        for row in heads..heads + 8 {
            assert_eq!(edge(row), edge(heads), "{width}: {shown:#?}");
        }
        assert!(shown.iter().any(|row| row.starts_with("  (no")), "{shown:#?}");
    }
}

#[test]
fn the_border_says_how_the_queue_goes() {
    let mut scene = flooded(QueueOrder::Fair);
    assert_eq!(title(&scene.view(), 60), "fair by user, t switches");
    assert_eq!(title(&scene.view(), 20), "fair, t switches");
    assert_eq!(title(&scene.view(), 10), "fair");
    assert_eq!(title(&scene.view(), 5), "");
    scene.state.session.policy.limit.order = QueueOrder::Fifo;
    assert_eq!(title(&scene.view(), 60), "first come first served, t switches");
    assert_eq!(title(&scene.view(), 27), "fifo, t switches");
    scene.ui.read_only = true;
    assert_eq!(title(&scene.view(), 60), "first come first served");
    scene.state.session.policy.limit.enabled = false;
    assert_eq!(title(&scene.view(), 60), "limiter off");
    assert_eq!(queue_line(&scene.view(), "order ", 60).to_string(), "");
}

#[test]
fn the_panes_of_the_limiter_point_here() {
    let mut scene = flooded(QueueOrder::Fair);
    let line = |scene: &Scene, width| queue_line(&scene.view(), "order ", width).to_string();
    assert_eq!(line(&scene, 60), "order fair, 2 users wait   key 7 shows each");
    assert_eq!(line(&scene, 30), "order fair, 2 users wait");
    scene.ui.size = (200, 60).into();
    scene.state.limit.waiters.clear();
    assert_eq!(line(&scene, 60), "order fair, nobody waits   key 0 shows each");
}

#[test]
fn who_is_noisy_is_told_without_colour_and_in_ascii() {
    let mut scene = flooded(QueueOrder::Fifo);
    scene.theme = Theme::new(Palette::Mono, true);
    let shown = rows(&scene, 76, 8);
    assert!(shown.iter().all(|row| row.is_ascii()), "{shown:#?}");
    assert!(shown[3].starts_with("! ben  [#####|######----]"), "{shown:#?}");
}
