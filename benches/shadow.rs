//! The cost of the what-if tap, which sees every event under the lock of the bus.

use divan::Bencher;
use divan::counter::ItemsCount;
use seawall::drills::recorded::Traffic;
use seawall::drills::scenario::Tally;
use seawall::drills::whatif::Shadow;

use crate::traffic::TRAFFIC;

/// All events of 10,000 calls: five times what is kept.
#[divan::bench(sample_size = 1, sample_count = 30)]
fn tap(bencher: Bencher<'_, '_>) {
    let events = &TRAFFIC.events;
    bencher
        .counter(ItemsCount::new(events.len()))
        .with_inputs(|| Shadow::default().tap())
        .bench_local_refs(|tap| {
            for event in events {
                tap(event);
            }
        });
}

/// The same, that part of it which keeps what can be asked again.
#[divan::bench(sample_size = 1, sample_count = 30)]
fn tap_traffic(bencher: Bencher<'_, '_>) {
    let events = &TRAFFIC.events;
    bencher
        .counter(ItemsCount::new(events.len()))
        .with_inputs(|| Traffic::keeping(2000))
        .bench_local_refs(|traffic| {
            for event in events {
                traffic.take(event);
            }
        });
}

/// The copy that is judged, made while producers wait.
#[divan::bench]
fn copy_of_the_traffic(bencher: Bencher<'_, '_>) {
    let mut kept = (Traffic::keeping(2000), Tally::default());
    for event in &TRAFFIC.events {
        kept.0.take(event);
        kept.1.take(event);
        if let Some(first) = kept.0.calls().first() {
            kept.1.forget_before(first.call);
        }
    }
    bencher.bench_local(|| kept.clone());
}
