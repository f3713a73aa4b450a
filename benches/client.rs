//! A cache hit through the whole client: admission, fingerprint, lookup, four events applied. Limit: 20 µs.

use std::hint::black_box;

use divan::Bencher;
use seawall::client::{AnswerReader, CallContext, Env, ResilientClient};
use seawall::openai::ChatRequest;
use seawall::session::bus::Bus;
use seawall::settings::{FaultProfile, LatencyProfile};
use seawall::simulator::FaultControl;
use seawall::simulator::LocalTransport;
use seawall::time::Clock;

use crate::traffic::wide;

/// The number of viewers.
#[divan::bench(args = [0, 1], sample_size = 100)]
fn cache_hit(bencher: Bencher<'_, '_>, viewers: usize) {
    let Ok(runtime) = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
    else {
        return;
    };
    let request = ChatRequest::prompt("What is a token bucket, and what does it do when it is empty?")
        .temperature(0.0)
        .max_tokens(256);
    let (client, bus) = runtime.block_on(async {
        let clock = Clock::start();
        let bus = Bus::new(clock);
        let faults = FaultControl::new(FaultProfile::default(), false);
        let transport = LocalTransport::new(7, LatencyProfile::default(), faults, clock);
        let client = ResilientClient::new(wide(), transport, bus.clone(), Env::new(clock, 7));
        // the answer served from here on
        drop(black_box(
            client.call(&request, CallContext::default()).finish().await,
        ));
        (client, bus)
    });
    let watching: Vec<_> = (0..viewers).map(|_| bus.subscribe()).collect();
    bencher.bench_local(|| {
        runtime.block_on(async { client.call(&request, CallContext::default()).finish().await })
    });
    drop(watching);
    let stats = bus.stats();
    assert_eq!(stats.cache.misses, 1, "all but the first are hits");
}

/// A stream of 200 chunks as llama-server sends it.
fn stream() -> String {
    let words = (0..200).map(|word| {
        format!(
            "data: {{\"choices\":[{{\"finish_reason\":null,\"index\":0,\"delta\":{{\"content\":\" word{word}\"}}}}],\
             \"created\":1795479508,\"id\":\"chatcmpl-x\",\"model\":\"m\",\"object\":\"chat.completion.chunk\"}}\n\n"
        )
    });
    words.collect()
}

/// The reader of answers; compare with `json_alone`, which does the part that no reader can leave out.
#[divan::bench]
fn read_stream(bencher: Bencher<'_, '_>) {
    let body = stream();
    bencher.bench(|| {
        let mut reader = AnswerReader::new(true, 1 << 24, 1);
        let mut fresh = Vec::new();
        for piece in body.as_bytes().chunks(187) {
            drop(black_box(reader.push(piece, &mut fresh)));
        }
        fresh
    });
}

/// The JSON of the same chunks.
#[divan::bench]
fn json_alone(bencher: Bencher<'_, '_>) {
    let body = stream();
    let chunks: Vec<&str> = body
        .lines()
        .filter_map(|line| line.strip_prefix("data: "))
        .collect();
    bencher.bench(|| {
        let values = chunks
            .iter()
            .map(|chunk| serde_json::from_str::<serde_json::Value>(chunk));
        values.filter_map(Result::ok).collect::<Vec<_>>()
    });
}
