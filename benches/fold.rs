//! Events applied to the state. Limit: 0.3 µs each, so at least 3.3 Mitem/s on a machine without other work. On a busy
//! one, compare with the copy of the same events.

use divan::Bencher;
use divan::counter::ItemsCount;
use seawall::state::State;

use crate::traffic::TRAFFIC;

/// All events of 10,000 calls.
#[divan::bench(sample_size = 1, sample_count = 30)]
fn of_a_session(bencher: Bencher<'_, '_>) {
    let events = &TRAFFIC.events;
    bencher
        .counter(ItemsCount::new(events.len()))
        .with_inputs(State::default)
        .bench_local_refs(|state| {
            for event in events {
                state.apply(event);
            }
        });
}

/// The events of another 500 calls after 9,500: every ring is full.
#[divan::bench(sample_size = 1, sample_count = 100)]
fn with_calls_behind(bencher: Bencher<'_, '_>) {
    let events = &TRAFFIC.events[TRAFFIC.before_last..];
    let before = TRAFFIC.state(TRAFFIC.before_last);
    bencher
        .counter(ItemsCount::new(events.len()))
        .with_inputs(|| before.clone())
        .bench_local_refs(|state| {
            for event in events {
                state.apply(event);
            }
        });
}

/// The same events copied: what the machine does at present.
#[divan::bench(sample_size = 1, sample_count = 30)]
fn copy_of_the_events(bencher: Bencher<'_, '_>) {
    let events = &TRAFFIC.events;
    bencher
        .counter(ItemsCount::new(events.len()))
        .bench_local(|| events.clone());
}

/// The copy that a viewer starts from, made while producers wait.
#[divan::bench]
fn copy_of_the_state(bencher: Bencher<'_, '_>) {
    let state = TRAFFIC.whole();
    bencher.bench_local(|| state.clone());
}
