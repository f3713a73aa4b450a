//! Seconds, bins and sums of made-up stories.

use proptest::prelude::*;

use super::*;
use crate::event::{BreakerMode, CallId, FlightId, MissReason, Origin};
use crate::settings::Policy;
use crate::state::State;
use crate::state::fixture::{
    Story, admitted, attempt, ended, first_token, fold, queued, session, settled, started,
};

fn at(seconds: f64) -> Timestamp {
    Timestamp::from_secs_f64(seconds)
}

fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

impl Timeline {
    /// Panics if a ring has grown beyond its bound.
    pub(in crate::state) fn check_bounds(&self) {
        assert!(self.recent.len() as u64 <= RECENT && self.whole.slots.len() as u64 <= WHOLE);
        assert!(self.faults.len() <= MARKS && self.marks.len() <= MARKS);
        let mut sketches = self
            .recent
            .iter()
            .chain(&self.whole.slots)
            .map(|slot| &slot.latency);
        assert!(sketches.all(|sketch| sketch.histogram().count() <= sketch::BUCKETS as usize));
    }
}

/// First attempts of each bin.
fn firsts(state: &State, end: f64, width: Duration, columns: usize) -> Vec<Option<u32>> {
    let bins = state.timeline.bins(at(end), width, columns);
    bins.into_iter().map(|slot| slot.map(|slot| slot.first)).collect()
}

/// A session in which call `n` starts its first attempt in second `n`, for `n` from `from` to `to`.
fn one_per_second(from: u64, to: u64) -> Story {
    let mut story = Story::default();
    for second in from..=to {
        story.at(second as f64 + 0.5);
        story
            .call(second, Origin::Library)
            .emit(second, attempt(1, second));
        story.emit(second, ended(Fate::Answered, 1, second));
    }
    story
}

#[test]
fn before_the_start_nothing_is_known_and_idle_seconds_are_zero() {
    let mut story = Story::default();
    story.at(3.2).call(1, Origin::Chat).emit(1, attempt(1, 1));
    story.at(5.5).emit(1, ended(Fate::Cancelled, 1, 9));
    let state = story.state();
    assert_eq!(state.timeline.started_at(), Some(at(3.2)));
    let bins = firsts(&state, 7.3, secs(1), 9);
    let zero = Some(0);
    assert_eq!(bins, [None, None, None, None, Some(1), zero, zero, zero, zero]);
    assert_eq!(firsts(&State::default(), 9.0, secs(1), 2), [None, None]);
    // an attempt that lasts is in flight in a second without events, and until it ends
    let flights: Vec<_> = state.timeline.bins(at(6.9), secs(1), 4);
    let flights: Vec<_> = flights.into_iter().flatten().map(|slot| slot.in_flight).collect();
    assert_eq!(flights, [1, 1, 1, 0]);
}

#[test]
fn suspended_seconds_are_no_zeros() {
    let mut story = Story::begin();
    story.at(2.5).emit(0, EventKind::Suspended { until: at(6.25) });
    story.at(7.0).call(1, Origin::Chat).emit(1, attempt(1, 1));
    let bins = firsts(&story.state(), 7.0, secs(1), 8);
    let zero = Some(0);
    assert_eq!(bins, [zero, zero, zero, None, None, None, zero, Some(1)]);
    let state = story.state();
    let merged = state.timeline.bins(at(7.9), secs(4), 2);
    let seconds: Vec<_> = merged.into_iter().flatten().map(|slot| slot.seconds).collect();
    assert_eq!(seconds, [3, 2], "a bin has the seconds that were observed");
}

#[test]
fn an_event_out_of_order_counts_for_the_newest_second() {
    let mut story = one_per_second(1, 9);
    story.now = at(3.0);
    story.call(20, Origin::Chat).emit(20, attempt(1, 20));
    assert_eq!(firsts(&story.state(), 9.9, secs(1), 2), [Some(1), Some(2)]);
}

#[test]
fn bins_are_counted_from_time_zero_and_stay_the_same() {
    let state = one_per_second(0, 59).state();
    assert_eq!(firsts(&state, 59.9, secs(15), 4), [Some(15); 4]);
    assert_eq!(
        firsts(&state, 58.9, secs(15), 4),
        [Some(15), Some(15), Some(15), Some(14)]
    );
    // narrower than a slot: the slot is repeated; wider: it belongs to the bin in which it begins
    assert_eq!(firsts(&state, 9.9, Duration::from_millis(250), 5), [Some(1); 5]);
    let ragged = firsts(&state, 15.9, Duration::from_millis(1_600), 10);
    assert_eq!(ragged.iter().flatten().sum::<u32>(), 16);
}

#[test]
fn a_window_has_its_last_second_and_not_the_one_before_its_first() {
    let state = one_per_second(0, 199).state();
    let first = |now: f64| state.timeline.last(at(now), secs(30)).first;
    assert_eq!(
        [first(199.9), first(210.0), first(228.0), first(229.0)],
        [30, 19, 1, 0]
    );
    assert_eq!([first(0.5), first(29.9), first(30.0)], [1, 30, 30]);
    assert_eq!(state.timeline.sum(at(9.0), at(11.0)).first, 3);
    assert_eq!(state.timeline.sum(at(9.1), at(9.9)).first, 0);
}

#[test]
fn older_seconds_are_kept_in_coarser_slots() {
    let hours = 3 * 3_600;
    let state = one_per_second(0, hours - 1).state();
    state.timeline.check_bounds();
    assert_eq!(state.timeline.whole.step, 64);
    let all = firsts(&state, hours as f64 - 0.1, secs(360), 30);
    // where coarse slots meet seconds, two bins share the end of a slot
    let sum = all.iter().flatten().sum::<u32>();
    assert!((hours as u32..hours as u32 + 64).contains(&sum), "{sum}");
    assert!(
        all.iter().flatten().all(|first| (296..=424).contains(first)),
        "{all:?}"
    );
    let recent = firsts(&state, hours as f64 - 0.1, secs(6), 100);
    assert_eq!(recent, [Some(6); 100]);
    assert_eq!(
        state.timeline.sum(Timestamp::ZERO, at(hours as f64)).first,
        hours as u32
    );
}

#[test]
fn a_leap_over_all_of_time_is_cheap_and_bounded() {
    let mut story = one_per_second(1, 3);
    story.now = Timestamp::MAX;
    story.call(9, Origin::Chat);
    let state = story.state();
    state.timeline.check_bounds();
    assert_eq!(state.timeline.sum(Timestamp::ZERO, Timestamp::MAX).first, 3);
    assert_eq!(firsts(&state, f64::MAX, secs(1), 2), [Some(0), Some(0)]);
}

#[test]
fn levels_are_the_lowest_and_the_last_and_rise_between_events() {
    let mut story = Story::begin();
    story.at(1.5).call(1, Origin::Chat);
    story.emit(1, admitted(story.now, 1, 0));
    story.at(3.5).emit(0, EventKind::Notice { text: "later".into() });
    let state = story.state();
    let limit = Policy::default().limit;
    let per_mille = |start: f64| {
        let per_second = limit.requests.refill as f64 / limit.requests.per.as_secs_f64();
        let left = 6.0 + per_second * (start - 1.5);
        (left / limit.requests.capacity as f64 * 1000.0).round() as u16
    };
    let bins = state.timeline.bins(at(3.75), secs(1), 4);
    let levels: Vec<_> = bins
        .into_iter()
        .flatten()
        .map(|slot| slot.requests_left.unwrap())
        .collect();
    let level = |lowest, last| Level { lowest, last };
    assert_eq!(
        levels,
        [
            level(1000, 1000),
            level(100, per_mille(2.0)),
            level(per_mille(2.0), per_mille(3.0)),
            level(per_mille(3.0), per_mille(3.75)),
        ]
    );
    let mut policy = Policy::default();
    policy.limit.enabled = false;
    let policy = Box::new(policy);
    story.at(4.0).emit(0, EventKind::PolicyApplied { policy });
    let state = story.state();
    let off = &state.timeline.bins(at(5.0), secs(1), 1)[0];
    assert_eq!(off.as_ref().unwrap().requests_left, None);
}

#[test]
fn a_call_that_joins_a_flight_is_no_miss() {
    let mut story = Story::begin();
    story.call(1, Origin::Chat);
    let missed = EventKind::CacheMissed {
        reason: MissReason::NeverSeen,
        nearest: None,
    };
    let joined = EventKind::FlightJoined {
        flight: FlightId(1),
        owner: CallId(1),
        subscribers: 2,
    };
    for id in 2..=4 {
        story.emit(id, started(id, Origin::Chat, story.now));
        story.emit(id, missed.clone()).emit(id, joined.clone());
    }
    let hit = EventKind::CacheHit {
        age: secs(1),
        saved: crate::openai::Usage::new(1, 1),
        saved_time: secs(1),
        text: "x".into(),
    };
    story.emit(5, started(5, Origin::Chat, story.now)).emit(5, hit);
    let sum = story.state().timeline.last(story.now, secs(30));
    assert_eq!((sum.lookups, sum.hits, sum.new_prompts, sum.joined), (2, 1, 1, 3));
    assert_eq!(sum.hit_rate(), Some(0.5));
}

#[test]
fn in_flight_and_waiting_are_the_most_at_once() {
    let mut story = Story::begin();
    for id in 1..=3 {
        story.call(id, Origin::Chat);
        story.emit(id, queued(crate::event::Constraint::Slots, None, id as u32));
    }
    for id in 1..=3 {
        story.emit(id, admitted(story.now, 1, 0)).emit(id, attempt(1, id));
        story.emit(id, first_token(1, 1));
    }
    story
        .emit(1, settled(story.now, 2))
        .emit(1, ended(Fate::Answered, 1, 700));
    let sum = story.state().timeline.last(story.now, secs(30));
    assert_eq!((sum.in_flight, sum.waiting), (3, 3));
    assert_eq!(story.state().timeline.load(), (2, 0));
    assert_eq!((sum.ended(Fate::Answered), sum.latency.count()), (1, 1));
}

#[test]
fn faults_and_changes_are_marked() {
    let profile = |rate| {
        let mut profile = FaultProfile {
            name: "outage".into(),
            ..FaultProfile::default()
        };
        profile.server_error = rate;
        Box::new(profile)
    };
    let mut story = Story::begin();
    for (seconds, on, rate) in [
        (1.0, false, 0.5),
        (2.0, true, 0.5),
        (3.0, true, 0.5),
        (4.0, true, 0.7),
        (9.0, false, 0.7),
        // a profile may only limit the capacity
        (10.0, true, 0.0),
    ] {
        let profile = profile(rate);
        story
            .at(seconds)
            .emit(0, EventKind::FaultsApplied { on, profile });
    }
    let policy = Box::default();
    story.emit(0, EventKind::PolicyApplied { policy });
    story.emit(
        0,
        EventKind::BreakerForced {
            mode: BreakerMode::ForcedOpen,
        },
    );
    story.emit(0, EventKind::BurstStarted { burst: 1, calls: 5 });
    let timeline = story.state().timeline;
    let spans: Vec<_> = timeline
        .faults()
        .map(|span| (span.from, span.to, span.rate))
        .collect();
    assert_eq!(
        spans,
        [
            (at(2.0), Some(at(4.0)), 0.5),
            (at(4.0), Some(at(9.0)), 0.7),
            (at(10.0), None, 0.0)
        ]
    );
    let kinds: Vec<_> = timeline.marks().map(|mark| mark.kind).collect();
    assert_eq!(kinds, [MarkKind::Policy, MarkKind::Force, MarkKind::Burst]);
}

#[test]
fn the_picture_of_a_window_changes_until_it_is_over() {
    let timeline = one_per_second(2, 2).state().timeline;
    let next = |now| timeline.next_change(at(now), secs(120));
    assert_eq!([next(2.5), next(121.2)], [Some(at(3.0)), Some(at(122.0))]);
    assert_eq!(
        [next(122.0), Timeline::default().next_change(at(1.0), secs(9))],
        [None, None]
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn a_snapshot_and_its_tail_are_the_whole(seed: u64, gap in 1_u64..4_000, cut in 0.0..1.0_f64) {
        let mut events = session(seed, 60);
        // a long pause in the middle: the step of the slots doubles
        let half = events.len() / 2;
        for event in &mut events[half..] {
            event.at = event.at + secs(gap);
        }
        let cut = (cut * events.len() as f64) as usize;
        let whole = fold(&events).timeline;
        let snapshot = serde_json::to_string(&fold(&events[..cut])).unwrap();
        let mut state: State = serde_json::from_str(&snapshot).unwrap();
        events[cut..].iter().for_each(|event| state.apply(event));
        prop_assert_eq!(&state.timeline, &whole);
        whole.check_bounds();
        let last = events.last().unwrap().at;
        let ends = events.iter().filter(|event| matches!(event.kind, EventKind::CallEnded { .. })).count();
        for columns in [1_u64, 7, 90] {
            let width = Duration::from_nanos(last.0 / columns + 1).max(secs(1));
            let bins = whole.bins(last, width, columns as usize);
            let sum: u32 = bins.iter().flatten().flat_map(|slot| slot.fates).sum();
            if last < at(600.0) {
                prop_assert_eq!(sum as usize, ends, "{} columns", columns);
            }
        }
        let all = whole.sum(Timestamp::ZERO, last);
        prop_assert_eq!(all.fates.iter().sum::<u32>() as usize, ends);
    }
}
