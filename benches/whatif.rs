//! The cost of the what-if tap, which sees every event under the lock of the bus.

use divan::Bencher;
use divan::counter::ItemsCount;
use seawall::drills::recorded::Traffic;
use seawall::drills::scenario::Tally;
use seawall::drills::whatif::WhatIf;

use crate::traffic::TRAFFIC;

/// Calls kept: a fifth of those in the traffic.
const KEEP: usize = 2000;

/// The whole tap, over all events of 10,000 calls.
#[divan::bench(sample_size = 1, sample_count = 30)]
fn tap(bencher: Bencher<'_, '_>) {
    let events = &TRAFFIC.events;
    bencher
        .counter(ItemsCount::new(events.len()))
        .with_inputs(|| WhatIf::default().tap())
        .bench_local_refs(|tap| {
            for event in events {
                tap(event);
            }
        });
}

/// The part of the tap that keeps the calls to replay.
#[divan::bench(sample_size = 1, sample_count = 30)]
fn tap_traffic(bencher: Bencher<'_, '_>) {
    let events = &TRAFFIC.events;
    bencher
        .counter(ItemsCount::new(events.len()))
        .with_inputs(|| Traffic::keeping(KEEP))
        .bench_local_refs(|traffic| {
            for event in events {
                traffic.apply(event);
            }
        });
}

/// The copy for a judgement, made while producers wait.
#[divan::bench]
fn clone_traffic(bencher: Bencher<'_, '_>) {
    let mut kept = (Traffic::keeping(KEEP), Tally::default());
    for event in &TRAFFIC.events {
        kept.0.apply(event);
        kept.1.apply(event);
        if let Some(first) = kept.0.calls().first() {
            kept.1.drop_before(first.call);
        }
    }
    bencher.bench_local(|| kept.clone());
}
