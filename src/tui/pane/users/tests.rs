//! The table at several widths, with hostile names and with more users than rows.

use std::time::Duration;

use super::super::fixture::{self, Fixture, at};
use super::*;
use crate::event::{BucketLevel, Constraint, EventKind, Fate, LimitReject, Origin, UserLevels};
use crate::settings::{Bucket, Policy, UserLimits};
use crate::state::fixture::{Story, admitted, ended, queued, started_by};
use crate::tui::theme::{Palette, Theme};

/// Two calls of ann wait behind twenty of ben; cleo was answered once, dev sent nothing.
fn story(change: impl FnOnce(&mut Policy)) -> Story {
    let mut story = Story::begin();
    let mut policy = Policy::default();
    change(&mut policy);
    let policy = Box::new(policy);
    story.emit(0, EventKind::PolicyApplied { policy });
    story.at(2.0);
    for call in 1..=4 {
        let user = if call == 1 { "cleo" } else { "ben" };
        let kind = started_by(user, call, Origin::Library, story.now);
        story.emit(call, kind);
        let kind = admitted(story.now, 1, 0);
        story.emit(call, kind);
        story.emit(call, ended(Fate::Answered, 1, 900));
    }
    for call in 5..=26 {
        story.at(2.0 + call as f64 / 10.0);
        let user = if call < 25 { "ben" } else { "ann" };
        let kind = started_by(user, call, Origin::Library, story.now);
        story.emit(call, kind);
        story.emit(call, queued(Constraint::Slots, None, 1));
    }
    let reason = LimitReject::WaitTooLong;
    let kind = started_by("ben", 27, Origin::Library, story.now);
    story.emit(27, kind);
    story.emit(
        27,
        EventKind::LimitRejected {
            reason,
            predicted: None,
            waiting: 22,
            levels: None,
        },
    );
    story.emit(27, ended(Fate::RateLimited, 0, 0));
    story
}

/// A story after ten seconds; prompts are sent as ann.
fn fixture_from(story: &Story) -> Fixture {
    let mut fixture = Fixture {
        state: story.state(),
        now: at(10.0),
        ..Fixture::default()
    };
    fixture.ui.users = ["ann", "ben", "cleo", "dev"].map(UserId::new).to_vec();
    fixture.ui.size = (80, 24).into();
    fixture
}

/// Ben floods the queue; prompts are sent as ann.
fn flooded(order: QueueOrder) -> Fixture {
    fixture_from(&story(|policy| policy.limit.order = order))
}

fn rows(fixture: &Fixture, width: u16, height: u16) -> Vec<String> {
    let mut rows = fixture::rows(fixture, width, height, table);
    while rows.last().is_some_and(String::is_empty) {
        rows.pop();
    }
    rows
}

#[test]
fn the_table_at_80_columns() {
    assert_eq!(
        rows(&flooded(QueueOrder::Fifo), 76, 12),
        [
            "ben floods the queue: 91% of it, fair share 33%; t shares it fairly",
            "  user       share (| fair) queue   p95  runs  calls cached  limited  tokens",
            "> ann  [····|·······]    0%     2  5.5s     2      2      0        0       0",
            "! ben  [■■■■|■■■■···]   75%    20  7.4s    20     24      0        1       0",
            "  cleo [■■■·|·······]   25%     0  0.0s     0      1      0        0       0",
            "  dev  [············]    --     0    --     0      0      0        0       0",
            "",
            "share: of the tokens admitted in the last minute; |: fair share by weight;",
            "queue: waiting calls; p95: waits of the last minute; limited: calls without",
            "a place in the queue",
        ]
    );
}

#[test]
fn the_least_important_columns_are_dropped_first() {
    let fixture = flooded(QueueOrder::Fifo);
    assert_eq!(
        rows(&fixture, 37, 12),
        [
            "ben floods the queue: 91% of it, fair",
            "share 33%; t shares it fairly",
            "  user     share (| fair) queue   p95",
            "> ann  [···|······]    0%     2  5.5s",
            "! ben  [■■■|■■■■··]   75%    20  7.4s",
            "  cleo [■■■|······]   25%     0  0.0s",
            "  dev  [··········]    --     0    --",
            "",
            "share, p95 of waits: last minute; |:",
            "fair share by weight",
        ]
    );
    assert_eq!(rows(&fixture, 24, 12)[2], "  user share queue   p95");
    // few rows: the sentence and the user rows stay longest
    assert_eq!(rows(&fixture, 37, 1), ["ben floods the queue: 91% of it,…"]);
    assert!(rows(&fixture, 37, 3)[1].starts_with("> ann"));
}

#[test]
fn the_sentence_shows_the_state_and_the_keys() {
    let first = |fixture: &Fixture| rows(fixture, 100, 9)[0].clone();
    let mut fixture = flooded(QueueOrder::Fair);
    assert_eq!(first(&fixture), "ben floods the queue: 91% of it, fair share 33%");
    let waiters = fixture.state.limit.waiters.clone();
    fixture.state.limit.waiters.retain(|call, _| call.0 >= 22);
    assert_eq!(first(&fixture), "2 users waiting, none noisy");
    fixture.state.limit.waiters.retain(|call, _| call.0 >= 25);
    assert_eq!(
        first(&fixture),
        "1 user waiting, none noisy",
        "three calls of ben are not noisy"
    );
    fixture.state.limit.waiters.clear();
    let keys = "a burst as all users, u next user, b burst as this user";
    assert_eq!(first(&fixture), format!("none waiting: {keys}"));
    let mut fresh = Fixture::default();
    assert_eq!(first(&fresh), "no calls yet: b burst 10, i ask a question");
    fresh.ui.users.clone_from(&fixture.ui.users);
    assert!(!rows(&fresh, 37, 9)[..2].concat().contains('…'), "all of it fits");
    assert!(!rows(&fresh, 76, 9)[0].contains('…'));
    assert_eq!(first(&fresh), format!("no calls yet: {keys}"));
    fixture.ui.read_only = true;
    assert_eq!(first(&fixture), "none waiting");
    fixture.state.limit.waiters = waiters;
    fixture.state.session.policy.limit.order = QueueOrder::Fifo;
    assert!(
        first(&fixture).ends_with("fair share 33%"),
        "no key works in a read-only session"
    );
    fixture.state.limit.waiters.clear();
    fixture.state.session.policy.limit.enabled = false;
    assert_eq!(first(&fixture), "limiter OFF: calls never wait");
}

#[test]
fn own_buckets_have_columns_if_a_user_has_one() {
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
    story.emit(25, kind);
    let rows = rows(&fixture_from(&story), 76, 18);
    assert_eq!(
        rows[1..6],
        [
            "  user  share (| fair)          own limit queue   p95  runs  limited  tokens",
            "> ann  [■·|····]   20% [······]  debt 120     1  5.4s     2        0       0",
            "! ben  [■■|■···]   60% [■■■■■■]     8 req    20  7.4s    20        1       0",
            "  cleo [■·|····]   20%           no limit     0  0.0s     0        0       0",
            "  dev  [·······]    -- [■■■■■■]     8 req     0    --     0        0       0",
        ]
    );
}

#[test]
fn three_hundred_users_on_ten_rows() {
    let mut story = Story::begin();
    for call in 1..=300 {
        let kind = started_by(&format!("user {call:03}"), call, Origin::Library, story.now);
        story.emit(call, kind);
        if call % 100 == 7 {
            story.emit(call, queued(Constraint::Slots, None, 1));
        }
    }
    let mut fixture = fixture_from(&story);
    fixture.ui.users = vec![UserId::new("user 200")];
    let shown = rows(&fixture, 76, 10);
    let names: Vec<&str> = shown[2..]
        .iter()
        .map(|row| row.get(..10).unwrap_or(row))
        .collect();
    // 256 tracked users and the sum of 44; the sender and waiting users first
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
        rows(&fixture, 76, 300)
            .iter()
            .any(|row| row.starts_with("  (others)"))
    );
}

#[test]
fn rows_do_not_move_while_calls_start_and_end() {
    let mut fixture = flooded(QueueOrder::Fifo);
    let names = |fixture: &Fixture, height| -> Vec<String> {
        let rows = rows(fixture, 76, height);
        rows[1..]
            .iter()
            .map(|row| row.chars().skip(2).take(4).collect())
            .collect()
    };
    let (all, some) = (names(&fixture, 6), names(&fixture, 5));
    assert_eq!(all, ["user", "ann ", "ben ", "cleo", "dev "]);
    assert_eq!(some, ["user", "ann ", "ben ", "and "]);
    for call in 5..=8 {
        fixture.state.limit.waiters.remove(&crate::event::CallId(call));
        assert_eq!(
            (names(&fixture, 6), names(&fixture, 5)),
            (all.clone(), some.clone())
        );
    }
}

#[test]
fn hostile_names_move_no_column() {
    let wide = "\u{6f22}\u{5b57}\u{1b}[31m\n e\u{301}\u{1f469}\u{200d}\u{1f4bb} ".repeat(9);
    let mut story = story(|_| ());
    for (call, user) in [(30, wide.as_str()), (31, ""), (32, "[#####|#####]")] {
        let kind = started_by(user, call, Origin::Library, story.now);
        story.emit(call, kind);
        story.emit(call, queued(Constraint::Slots, None, 1));
    }
    let mut fixture = fixture_from(&story);
    fixture.ui.users.push(UserId::new(&wide));
    fixture.ui.user = 4;
    for width in [24, 33, 40, 76, 116, 196] {
        let area = Rect::new(0, 0, width, 30);
        let mut buf = Buffer::empty(area);
        table(&fixture.view(), area, &mut buf);
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
fn the_border_shows_the_order_of_the_queue() {
    let mut fixture = flooded(QueueOrder::Fair);
    fixture.ui.size = (120, 40).into();
    assert_eq!(title(&fixture.view(), 20), "last 60 s");
    assert_eq!(title(&fixture.view(), 10), "60 s");
    fixture.ui.focus = PaneId::Users;
    assert_eq!(title(&fixture.view(), 60), "fair by user   t switches");
    fixture.state.session.policy.limit.order = QueueOrder::Fifo;
    assert_eq!(title(&fixture.view(), 60), "first come first served   t switches");
    fixture.ui.read_only = true;
    assert_eq!(title(&fixture.view(), 60), "first come first served");
    fixture.state.session.policy.limit.enabled = false;
    assert_eq!(title(&fixture.view(), 60), "limiter OFF");
}

#[test]
fn a_noisy_user_is_marked_without_colour_and_in_ascii() {
    let mut fixture = flooded(QueueOrder::Fifo);
    fixture.theme = Theme::new(Palette::Mono, true);
    let shown = rows(&fixture, 76, 8);
    assert!(shown.iter().all(|row| row.is_ascii()), "{shown:#?}");
    assert!(shown[3].starts_with("! ben  [####|####...]"), "{shown:#?}");
}
