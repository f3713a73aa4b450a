//! Laws of the whole fold.

use proptest::prelude::*;

use super::fixture::{Story, ended, fold, session, started};
use super::{Call, Doing, FateCounts, State};
use crate::event::{Event, EventKind, Fate, Origin};
use crate::time::Timestamp;

fn kind_name(event: &Event) -> String {
    serde_json::to_value(event).unwrap()["type"]
        .as_str()
        .unwrap()
        .to_owned()
}

/// The counts by brute force: what the calls themselves say, for the sort that `of` picks.
fn doing_counts(state: &State, of: impl Fn(&Call) -> bool) -> [u64; 6] {
    let mut counts = [0; 6];
    for call in state.calls.recent.values().filter(|call| of(call)) {
        let place = match call.doing {
            Doing::Ended => continue,
            Doing::Starting => 0,
            Doing::Queued => 1,
            Doing::BackingOff { .. } => 2,
            Doing::Waiting => 3,
            Doing::Streaming => 4,
            Doing::Following { .. } => 5,
        };
        counts[place] += 1;
    }
    counts
}

fn counts_from_log(counts: &FateCounts) -> [u64; 6] {
    let doing = [
        counts.queued,
        counts.backing_off,
        counts.waiting,
        counts.streaming,
        counts.following,
    ];
    let starting = counts.running() - doing.iter().sum::<u64>();
    [starting, doing[0], doing[1], doing[2], doing[3], doing[4]]
}

fn check_identities(state: &State, started: u64, ended: u64) {
    let totals = &state.calls.totals;
    assert_eq!((totals.started, totals.finished()), (started, ended));
    assert_eq!(counts_from_log(totals), doing_counts(state, |_| true));
    for burst in &state.calls.bursts {
        let of_it = |call: &Call| call.origin == Origin::Burst { burst: burst.burst };
        assert_eq!(counts_from_log(&burst.counts), doing_counts(state, of_it));
    }
}

/// The timeline counts lookups as the cache does.
fn check_cache(state: &State) {
    let (cache, all) = (
        &state.cache,
        state.timeline.sum(Timestamp::ZERO, state.last_event_at),
    );
    let counts = [cache.lookups(), cache.served(), cache.unserved(), cache.shared];
    let timeline = [all.lookups, all.hits, all.new_prompts, all.joined].map(u64::from);
    assert_eq!(timeline, counts, "lookups, hits, new prompts, joined");
    let stats = state.stats(state.last_event_at).cache;
    assert_eq!(
        [stats.hits, stats.misses, stats.joined],
        [counts[1], counts[2], counts[3]]
    );
}

/// The sums over all users equal the totals.
fn check_users(state: &State) {
    let users = || state.users.by_name.values().chain([&state.users.others]);
    let totals = &state.calls.totals;
    assert_eq!(users().map(|user| user.started).sum::<u64>(), totals.started);
    assert_eq!(users().map(|user| user.running).sum::<u64>(), totals.running());
    for fate in Fate::ALL {
        assert_eq!(
            users().map(|user| user.ended(fate)).sum::<u64>(),
            totals.ended(fate)
        );
    }
    let limit = &state.limit;
    assert_eq!(users().map(|user| user.admitted).sum::<u64>(), limit.admitted);
    assert_eq!(
        users().map(|user| user.charged_tokens).sum::<u64>(),
        limit.charged_tokens
    );
    assert_eq!(
        users().map(super::UserUsage::rejections).sum::<u64>(),
        limit.rejections()
    );
    let shares = state.user_shares(state.last_event_at);
    let waiting: u64 = shares.iter().map(|user| user.waiting).sum();
    assert_eq!(waiting, limit.waiters.len() as u64);
    let all: f64 = shares.iter().map(|user| user.share).sum();
    assert!(all.abs() < 1e-9 || (all - 1.0).abs() < 1e-9, "{all}");
}

fn check_bounds(state: &State) {
    assert!(state.users.by_name.len() <= super::MAX_USERS);
    let over = |call: &&Call| call.doing == Doing::Ended;
    let finished = state.calls.recent.values().filter(over);
    assert!(
        finished
            .clone()
            .filter(|call| call.origin != Origin::Chat)
            .count()
            <= 512
    );
    assert!(finished.filter(|call| call.origin == Origin::Chat).count() <= 50);
    for (id, call) in &state.calls.recent {
        assert!(call.spans.len() <= 64 && call.injected.len() <= 16);
        assert_eq!(call.origin == Origin::Chat, state.calls.chat.contains(id));
        let open = call.spans.iter().filter(|span| span.to.is_none()).count();
        assert!(open <= usize::from(call.doing != Doing::Ended));
    }
    let used: std::collections::BTreeSet<_> = state
        .calls
        .recent
        .values()
        .filter_map(|call| call.flight)
        .collect();
    assert!(used.iter().eq(state.calls.flights.keys()));
    for flight in state.calls.flights.values() {
        assert!(flight.text.len() <= 65_536 && flight.reasoning.len() <= 65_536);
    }
    assert!(state.log.lines.len() <= 10_000);
    assert!(state.breaker().cells.len() <= 60 && state.breaker().history.len() <= 256);
    assert!(state.semantic.recent.len() <= 32);
    assert!(state.retry.causes.len() <= 65);
    assert!(state.retry.waits.len() <= 64);
    state.timeline.check_bounds();
}

#[test]
fn a_made_up_session_has_every_kind_of_event() {
    let mut names: Vec<_> = session(1, 800).iter().map(kind_name).collect();
    names.sort();
    names.dedup();
    assert_eq!(names.len(), 49, "{names:?}");
}

#[test]
fn snapshot_and_tail_give_the_same_at_every_place() {
    let events = session(5, 12);
    let whole = fold(&events);
    let mut so_far = State::default();
    for (place, event) in events.iter().enumerate() {
        let mut viewer = so_far.clone();
        for event in &events[place..] {
            viewer.apply(event);
        }
        assert_eq!(viewer, whole, "snapshot {place}");
        so_far.apply(event);
    }
    assert_eq!(so_far, whole);
}

#[test]
fn every_kind_of_event_survives_writing_and_reading() {
    for event in session(1, 800) {
        let text = serde_json::to_string(&event).unwrap();
        assert_eq!(serde_json::from_str::<Event>(&text).unwrap(), event, "{text}");
    }
}

#[test]
fn counts_are_those_of_the_calls_after_every_event() {
    let mut state = State::default();
    let (mut starts, mut ends) = (0, 0);
    for event in session(3, 300) {
        starts += u64::from(matches!(event.kind, EventKind::CallStarted { .. }));
        ends += u64::from(matches!(event.kind, EventKind::CallEnded { .. }));
        state.apply(&event);
        check_identities(&state, starts, ends);
        check_users(&state);
        check_cache(&state);
    }
    assert_eq!((starts, ends), (300, 300));
}

#[test]
fn memory_is_bounded_after_a_hundred_thousand_events() {
    let events = session(11, 9_000);
    assert!(events.len() > 100_000, "{}", events.len());
    let mut state = State::default();
    for (place, event) in events.iter().enumerate() {
        state.apply(event);
        if place % 1000 == 0 {
            check_bounds(&state);
        }
    }
    check_bounds(&state);
    assert_eq!(state.calls.totals.running(), 0);
    assert!(state.limit.waiters.is_empty());
    assert!(state.log.dropped > 0, "the ring was never full");
    assert_eq!(state.calls.recent.len(), 562);
}

#[test]
fn a_running_call_is_never_forgotten() {
    let mut story = Story::begin();
    for call in 1..=2000 {
        story.emit(call, started(call, Origin::Chat, story.now));
    }
    for call in 2001..=4000 {
        let origin = Origin::Burst { burst: 1 };
        story.emit(call, started(call, origin, story.now));
        if call > 2100 {
            story.emit(call, ended(Fate::Failed, 0, 1));
        }
    }
    let state = story.state();
    assert_eq!(state.calls.recent.len(), 2000 + 100 + 512);
    assert_eq!(state.calls.totals.running(), 2100);
    for call in 1..=2000 {
        story.emit(call, ended(Fate::Cancelled, 0, 1));
    }
    let state = story.state();
    assert_eq!(
        (state.calls.chat.len(), state.calls.recent.len()),
        (50, 50 + 100 + 512)
    );
    assert_eq!(state.calls.chat_dropped, 1950);
}

#[test]
fn what_cannot_be_is_ignored() {
    let mut story = Story::begin();
    // an end without a beginning, a second beginning, a second end
    story
        .emit(9, ended(Fate::Answered, 1, 5))
        .call(1, Origin::Chat)
        .call(1, Origin::Chat);
    story
        .emit(1, ended(Fate::Answered, 1, 5))
        .emit(1, ended(Fate::Failed, 1, 5));
    story
        .emit(8, super::fixture::attempt(1, 8))
        .emit(8, super::fixture::delta("lost"));
    let state = story.state();
    assert_eq!(
        (state.calls.totals.started, state.calls.totals.finished()),
        (1, 1)
    );
    assert_eq!(state.calls.totals.ended(Fate::Answered), 1);
    check_bounds(&state);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn laws_of_made_up_sessions(seed: u64, calls in 1_u64..60, cut in 0.0_f64..1.0) {
        let events = session(seed, calls);
        let cut = (cut * events.len() as f64) as usize;
        let whole = fold(&events);
        let snapshot = fold(&events[..cut]);
        let mut viewer: State = serde_json::from_str(&serde_json::to_string(&snapshot).unwrap()).unwrap();
        prop_assert_eq!(&viewer, &snapshot);
        for event in &events[cut..] {
            viewer.apply(event);
        }
        prop_assert_eq!(&viewer, &whole);
        check_identities(&whole, calls, calls);
        check_bounds(&whole);
        check_users(&whole);
        prop_assert!(whole.limit.waiters.is_empty());
        prop_assert_eq!(whole.limit.in_use, 0);
    }
}
