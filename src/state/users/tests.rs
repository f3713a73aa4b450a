//! Sums by user, noisy users, bounded memory.

use std::time::Duration;

use super::share::NoisyUser;
use super::*;
use crate::event::{Constraint, FlightId, Origin};
use crate::settings::{QueueOrder, UserLimits};
use crate::state::State;
use crate::state::fixture::{Story, admitted, ended, fold, queued, settled, started_by};

fn at(seconds: f64) -> Timestamp {
    Timestamp::from_secs_f64(seconds)
}

/// A call of this user begins.
fn begin(story: &mut Story, user: &str, call: u64) {
    let kind = started_by(user, call, Origin::Library, story.now);
    story.emit(call, kind);
}

/// A call of this user begins and is admitted after `millis`, for this many LLM tokens.
fn admit(story: &mut Story, user: &str, call: u64, millis: u64, tokens: u64) {
    begin(story, user, call);
    let mut kind = admitted(story.now, 1, 0);
    if let EventKind::LimitAdmitted { waited, reserved, .. } = &mut kind {
        (*waited, *reserved) = (Duration::from_millis(millis), tokens);
    }
    story.emit(call, kind);
}

/// `count` calls of this user wait, with ids from `first`.
fn wait(story: &mut Story, user: &str, first: u64, calls: u64) {
    for call in first..first + calls {
        begin(story, user, call);
        story.emit(call, queued(Constraint::Tokens, None, 1));
    }
}

fn apply_policy(story: &mut Story, change: impl FnOnce(&mut Policy)) {
    let mut policy = Policy::default();
    change(&mut policy);
    story.emit(
        0,
        EventKind::PolicyApplied {
            policy: Box::new(policy),
        },
    );
}

fn of<'a>(state: &'a State, name: &str) -> &'a UserUsage {
    &state.users.by_name[&UserId::new(name)]
}

fn bucket(capacity: u64) -> Bucket {
    Bucket {
        capacity,
        refill: capacity,
        per: Duration::from_mins(1),
    }
}

/// A user's own buckets, with this many tokens taken.
fn levels(user: &str, capacity: u64, taken: u64, now: Timestamp) -> UserLevels {
    UserLevels {
        user: UserId::new(user),
        requests: None,
        tokens: Some(BucketLevel::full(&bucket(capacity), now).debited(taken)),
    }
}

#[test]
fn each_user_has_its_own_numbers() {
    let mut story = Story::begin();
    admit(&mut story, "ann", 1, 40, 100);
    story
        .emit(1, settled(story.now, 0))
        .emit(1, ended(Fate::Answered, 1, 5));
    begin(&mut story, "ann", 2);
    story.emit(2, ended(Fate::Hit, 0, 0));
    begin(&mut story, "ben", 3);
    let reason = LimitReject::QueueFull;
    story.emit(
        3,
        EventKind::LimitRejected {
            reason,
            predicted: None,
            waiting: 0,
            levels: None,
        },
    );
    story.emit(3, ended(Fate::RateLimited, 0, 0));
    begin(&mut story, "ben", 4);
    // a beginning twice, an end without a beginning
    begin(&mut story, "ben", 4);
    story.emit(9, ended(Fate::Answered, 1, 5));
    let state = story.state();
    let (ann, ben) = (of(&state, "ann"), of(&state, "ben"));
    assert_eq!((ann.started, ann.running, ann.admitted), (2, 0, 1));
    assert_eq!((ann.ended(Fate::Answered), ann.ended(Fate::Hit)), (1, 1));
    assert_eq!(ann.charged_tokens, 60);
    assert_eq!((ben.started, ben.running, ben.rejections()), (2, 1, 1));
    assert_eq!(ben.rejected[&reason], 1);
    assert_eq!(state.users.others, UserUsage::default());
}

#[test]
fn what_is_settled_after_the_end_is_still_the_users() {
    let mut story = Story::begin();
    admit(&mut story, "ann", 1, 0, 100);
    story.emit(1, ended(Fate::Cancelled, 1, 5));
    story.emit(1, settled(story.now, 0));
    assert_eq!(of(&story.state(), "ann").charged_tokens, 60);
}

#[test]
fn the_silent_make_room_and_nothing_is_lost() {
    let mut story = Story::begin();
    for call in 1..=300 {
        story.at(call as f64);
        admit(&mut story, &format!("user {call}"), call, 0, 10);
        // the first one runs on, and may not go
        if call > 1 {
            story.emit(call, ended(Fate::Answered, 1, 5));
        }
    }
    let state = story.state();
    let users = &state.users;
    assert_eq!(users.by_name.len(), MAX_USERS);
    assert_eq!((users.summed, users.others.started), (44, 44));
    let apart = |name: &str| users.by_name.contains_key(&UserId::new(name));
    assert!(apart("user 1") && !apart("user 2") && !apart("user 45") && apart("user 46"));
    // only the latest user is within the last minute
    assert_eq!(users.others.last_minute(at(300.0)), (0, 0));
    assert_eq!(of(&state, "user 300").last_minute(at(300.0)), (1, 10));
    assert_eq!(state.user_shares(at(300.0)).len(), MAX_USERS + 1);
}

#[test]
fn without_an_idle_user_new_ones_are_counted_together() {
    let mut story = Story::begin();
    for call in 1..=300 {
        wait(&mut story, &format!("user {call}"), call, 1);
    }
    let state = story.state();
    assert_eq!((state.users.by_name.len(), state.users.others.running), (256, 44));
    let shares = state.user_shares(story.now);
    let others = shares.last().unwrap();
    assert_eq!((others.name, others.waiting), (None, 44));
    // its calls end there, though its user has a row of its own by then
    story.emit(1, ended(Fate::Cancelled, 0, 1));
    begin(&mut story, "user 300", 301);
    story.emit(300, ended(Fate::Cancelled, 0, 1));
    let state = story.state();
    assert_eq!(of(&state, "user 300").running, 1);
    assert_eq!(state.users.others.running, 43);
}

#[test]
fn three_hundred_users_are_the_same_from_any_snapshot() {
    let mut story = Story::begin();
    for call in 1..=700 {
        story.at(call as f64 / 4.0);
        let user = format!("user {}", call % 300);
        admit(&mut story, &user, call, call % 90, call % 7);
        if call > 20 {
            story.emit(call - 20, ended(Fate::Answered, 1, 5));
        }
    }
    let whole = story.state();
    for cut in (0..story.events.len()).step_by(97) {
        let snapshot = fold(&story.events[..cut]);
        let mut viewer: State = serde_json::from_str(&serde_json::to_string(&snapshot).unwrap()).unwrap();
        for event in &story.events[cut..] {
            viewer.apply(event);
        }
        assert!(viewer == whole, "snapshot {cut}");
    }
    for usage in whole.users.by_name.values().chain([&whole.users.others]) {
        assert!(usage.waits.len() <= MAX_WAITS && usage.slices.len() as u64 <= KEPT);
    }
}

#[test]
fn shares_are_of_the_last_minute_and_fair_goes_by_weight() {
    let mut story = Story::begin();
    apply_policy(&mut story, |policy| {
        let heavy = UserLimits {
            weight: 3,
            ..UserLimits::default()
        };
        policy.limit.users.insert("ben".into(), heavy);
    });
    admit(&mut story, "ann", 1, 10, 300);
    story.at(3.0);
    admit(&mut story, "ben", 2, 2000, 100);
    story.at(30.0);
    begin(&mut story, "cleo", 3);
    let state = story.state();
    let parts = |now: f64| -> Vec<_> {
        let shares = state.user_shares(at(now));
        let parts = shares.iter().map(|user| (user.share, user.fair));
        parts.collect()
    };
    // cleo asks for nothing yet
    let both = [(0.75, Some(0.25)), (0.25, Some(0.75)), (0.0, None)];
    assert_eq!(parts(30.0), both);
    assert_eq!(parts(59.9), both);
    assert_eq!(parts(60.0), [(0.0, None); 3]);
}

#[test]
fn a_waiting_call_counts_with_its_wait_so_far() {
    let mut story = Story::begin();
    for call in 1..=8 {
        admit(&mut story, "ann", call, 100 * call, 10);
    }
    wait(&mut story, "ann", 9, 2);
    let state = story.state();
    let shares = state.user_shares(at(7.0));
    let quantile = |q| shares[0].wait(q).map(|wait| wait.as_millis());
    assert_eq!((quantile(0.5), quantile(0.8)), (Some(500), Some(800)));
    assert_eq!((quantile(0.95), quantile(1.0)), (Some(7000), Some(7000)));
    assert_eq!(
        state.user_shares(at(61.0))[0].wait(0.5),
        Some(Duration::from_mins(1) + Duration::from_secs(1))
    );
    assert_eq!(
        UserShare::silent(&UserId::new("x"), &UserUsage::default()).wait(0.5),
        None
    );
}

#[test]
fn the_heir_of_a_flight_waits_in_its_own_name() {
    let mut story = Story::begin();
    story.call(3, Origin::Library);
    story.emit(3, queued(Constraint::Tokens, None, 1));
    begin(&mut story, "ann", 6);
    story.emit(
        6,
        EventKind::FlightJoined {
            flight: FlightId(3),
            owner: CallId(3),
            subscribers: 2,
        },
    );
    story.emit(3, ended(Fate::Cancelled, 0, 1));
    story.emit(
        6,
        EventKind::FlightHandedOver {
            flight: FlightId(3),
            from: CallId(3),
        },
    );
    let shares = story.state();
    let shares = shares.user_shares(story.now);
    assert_eq!(shares.iter().map(|user| user.waiting).sum::<u64>(), 1);
}

#[test]
fn a_flood_is_named_only_while_others_wait() {
    let mut story = Story::begin();
    wait(&mut story, "ben", 1, 40);
    assert_eq!(story.state().noise(story.now), None, "it makes only itself wait");
    for (index, user) in ["u1", "u2", "u3", "u4", "u5", "u6", "u7", "u8"]
        .iter()
        .enumerate()
    {
        wait(&mut story, user, 100 + index as u64, 1);
    }
    let noise = story.state().noise(story.now).unwrap();
    assert_eq!(
        noise.to_string(),
        "ben floods the queue: 83% of it, fair share 11%"
    );
    for call in 1..=40 {
        story.emit(call, ended(Fate::Cancelled, 0, 1));
    }
    assert_eq!(story.state().noise(story.now), None);
}

#[test]
fn two_users_are_no_flood_before_one_has_three_quarters() {
    let noise = |ann, ben| {
        let mut story = Story::begin();
        wait(&mut story, "ann", 1, ann);
        wait(&mut story, "ben", 100, ben);
        story.state().noise(story.now).map(|noise| noise.user.to_string())
    };
    assert_eq!(noise(3, 1), None);
    assert_eq!(noise(6, 2), None, "not above");
    assert_eq!(noise(7, 2), Some("ann".into()));
    assert_eq!(noise(2, 7), Some("ben".into()));
    // fewer than four are no flood
    assert_eq!(noise(1, 0), None);
}

#[test]
fn a_flood_ranks_before_a_past_excess() {
    let mut story = Story::begin();
    for call in 1..=9 {
        admit(&mut story, "ann", call, 0, 100);
    }
    wait(&mut story, "ben", 20, 1);
    let state = story.state();
    let took = state.noise(story.now).unwrap();
    assert_eq!(took.kind, NoisyKind::Took);
    assert_eq!(
        took.to_string(),
        "ann took 100% of the last minute, fair share 50%"
    );
    assert_eq!(state.noise(at(61.0)), None, "it is long ago");
    wait(&mut story, "cleo", 30, 20);
    let floods = story.state().noise(story.now).unwrap();
    assert_eq!((floods.user.as_str(), floods.kind), ("cleo", NoisyKind::Floods));
}

#[test]
fn ties_are_broken_by_name_and_the_others_are_never_noisy() {
    let usage = UserUsage::default();
    let names = ["ann", "ben"].map(UserId::new);
    let share = |name, waiting, fair| UserShare {
        name,
        waiting,
        fair: Some(fair),
        ..UserShare::silent(&names[0], &usage)
    };
    let loud = [
        share(Some(&names[1]), 10, 0.1),
        share(Some(&names[0]), 10, 0.1),
        share(None, 10, 0.1),
    ];
    let noise = NoisyUser::find(&loud, Timestamp::ZERO).unwrap();
    assert_eq!(noise.user.as_str(), "ann");
    let others = [share(None, 90, 0.1), share(Some(&names[0]), 1, 0.9)];
    assert_eq!(NoisyUser::find(&others, Timestamp::ZERO), None);
}

#[test]
fn turns_are_offered_only_where_they_would_help() {
    let flood = |order, enabled| {
        let mut story = Story::begin();
        apply_policy(&mut story, |policy| {
            (policy.limit.order, policy.limit.enabled) = (order, enabled);
        });
        wait(&mut story, "ann", 1, 40);
        wait(&mut story, "ben", 100, 2);
        story.state().flood(story.now).is_some()
    };
    assert!(flood(QueueOrder::Fifo, true));
    assert!(!flood(QueueOrder::Fair, true));
    assert!(!flood(QueueOrder::Fifo, false));
}

#[test]
fn own_buckets_follow_events_and_policy() {
    let mut story = Story::begin();
    let own = |capacity| move |policy: &mut Policy| policy.limit.each_user.tokens = Some(bucket(capacity));
    let tokens = |story: &Story, user: &str, now: f64| {
        let [requests, tokens] = story.state().own_levels(&UserId::new(user));
        assert_eq!(requests, None);
        tokens.map(|bucket| bucket.level_at(at(now)).round())
    };
    begin(&mut story, "ann", 1);
    assert_eq!(tokens(&story, "ann", 0.0), None, "no limit of its own");
    apply_policy(&mut story, own(600));
    assert_eq!(tokens(&story, "ann", 0.0), Some(600.0), "no event yet");
    let mut kind = admitted(story.now, 1, 0);
    if let EventKind::LimitAdmitted { user, .. } = &mut kind {
        *user = Some(Box::new(levels("ann", 600, 500, story.now)));
    }
    story.emit(1, kind);
    assert_eq!(tokens(&story, "ann", 0.0), Some(100.0));
    assert_eq!(tokens(&story, "ann", 10.0), Some(200.0), "ten a second");
    assert_eq!(tokens(&story, "ben", 0.0), Some(600.0));
    // the order of the queue is another policy with the same buckets
    let before = story.state().users;
    apply_policy(&mut story, |policy| {
        own(600)(policy);
        policy.limit.order = QueueOrder::Fifo;
    });
    assert_eq!(story.state().users, before);
    apply_policy(&mut story, own(60));
    assert_eq!(tokens(&story, "ann", 0.0), Some(60.0));
    apply_policy(&mut story, |_| ());
    assert_eq!(tokens(&story, "ann", 0.0), None);
}

#[test]
fn the_picture_changes_until_own_buckets_are_full_and_the_minute_is_over() {
    let mut story = Story::begin();
    apply_policy(&mut story, |policy| {
        policy.limit.each_user.tokens = Some(bucket(600));
    });
    admit(&mut story, "ann", 1, 0, 100);
    let mut kind = settled(story.now, 0);
    if let EventKind::LimitSettled { user, .. } = &mut kind {
        *user = Some(Box::new(levels("ann", 600, 300, story.now)));
    }
    story.emit(1, kind).emit(1, ended(Fate::Cancelled, 1, 5));
    let state = story.state();
    let slow = Duration::from_millis(250);
    assert_eq!(state.next_change(at(20.0)), Some(at(20.0) + slow));
    assert_eq!(state.next_change(at(31.0)), Some(at(60.0)));
    assert_eq!(state.next_change(at(60.0)), None);
}
