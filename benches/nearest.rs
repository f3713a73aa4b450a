//! The semantic index over 50,000 prompts: one search, and a single pass over the same memory for comparison.

#![expect(clippy::unwrap_used, reason = "a bench that cannot begin fails by panicking")]

use std::io::Write as _;
use std::time::{Duration, Instant};

use divan::Bencher;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use seawall::event::UserId;
use seawall::openai::ChatRequest;
use seawall::policy::fingerprint::{RequestKey, Scope};
use seawall::semantic::{Index, Sketch, normalise};

const ENTRIES: usize = 50_000;
const DIMENSIONS: usize = 384;
const SEED: u64 = 7;

fn partition() -> RequestKey {
    let user = UserId::new("ana");
    let scope = Scope {
        user: &user,
        credential: 7,
        upstream: "127.0.0.1:8033",
        route: "chat/completions",
    };
    let (key, _) = RequestKey::without_prompt(&scope, &ChatRequest::prompt("what is a buoy?")).unwrap();
    key
}

/// A random direction.
fn vector(rng: &mut StdRng) -> Vec<f32> {
    let one = |rng: &mut StdRng| (0..4).map(|_| rng.random::<f32>()).sum::<f32>() - 2.0;
    let mut vector: Vec<f32> = (0..DIMENSIONS).map(|_| one(rng)).collect();
    assert!(normalise(&mut vector));
    vector
}

/// A neighbour: its cosine is about `1 / sqrt(1 + noise^2)`.
fn near(rng: &mut StdRng, to: &[f32], noise: f32) -> Vec<f32> {
    let other = vector(rng);
    let mut near: Vec<f32> = to.iter().zip(&other).map(|(a, b)| a + noise * b).collect();
    assert!(normalise(&mut near));
    near
}

fn filled(rng: &mut StdRng) -> (Index, RequestKey, Vec<f32>) {
    let (mut index, home) = (Index::new(ENTRIES), partition());
    let mut flat = Vec::with_capacity(ENTRIES * DIMENSIONS);
    for version in 0..ENTRIES as u64 {
        let vector = vector(rng);
        flat.extend_from_slice(&vector);
        let sketch = Sketch::new(SEED, &vector);
        index.add(version, &home, vector, sketch);
    }
    (index, home, flat)
}

/// The sum of all stored numbers: a lower bound for a search that reads everything.
fn one_pass(flat: &[f32]) -> f32 {
    let mut sums = [0.0_f32; 16];
    for chunk in flat.chunks_exact(16) {
        for (sum, x) in sums.iter_mut().zip(chunk) {
            *sum += x;
        }
    }
    sums.iter().sum()
}

#[divan::bench]
fn nearest_lookup(bencher: Bencher<'_, '_>) {
    let mut rng = StdRng::seed_from_u64(1);
    let (index, home, _) = filled(&mut rng);
    let query = vector(&mut rng);
    bencher.bench_local(|| index.search(&home, &query, &Sketch::new(SEED, &query)));
}

#[divan::bench]
fn nearest_one_pass(bencher: Bencher<'_, '_>) {
    let (_, _, flat) = filled(&mut StdRng::seed_from_u64(1));
    bencher.bench_local(|| one_pass(divan::black_box(&flat)));
}

#[divan::bench]
fn nearest_sketch(bencher: Bencher<'_, '_>) {
    let query = vector(&mut StdRng::seed_from_u64(1));
    bencher.bench_local(|| Sketch::new(SEED, divan::black_box(&query)));
}

#[expect(clippy::disallowed_methods, reason = "a bench measures real time")]
fn timed<R>(work: impl FnOnce() -> R) -> Duration {
    let begun = Instant::now();
    divan::black_box(work());
    begun.elapsed()
}

/// Reports what divan does not measure: the p99 of a lookup, its ratio to one pass over the vectors in the same run,
/// and the number of missed neighbours.
pub(crate) fn report() {
    let mut rng = StdRng::seed_from_u64(2);
    let (index, home, flat) = filled(&mut rng);
    let (mut lookups, mut passes, mut missed) = (Vec::new(), Vec::new(), 0);
    for n in 0..2_000_usize {
        // cosines from 1.0 down to 0.6, spread over the index
        let stored = n * 7919 % ENTRIES;
        let to = flat.chunks_exact(DIMENSIONS).nth(stored).unwrap();
        let query = near(&mut rng, to, 1.3 * n as f32 / 2_000.0);
        let mut found = None;
        lookups.push(timed(|| {
            found = Some(index.search(&home, &query, &Sketch::new(SEED, &query)));
        }));
        let nearest = found.unwrap().nearest[0];
        missed += usize::from(nearest.version != stored as u64);
        if n % 50 == 0 {
            passes.push(timed(|| one_pass(&flat)));
        }
    }
    lookups.sort();
    passes.sort();
    let (median, p99) = (lookups[1_000], lookups[1_980]);
    let pass = passes[passes.len() / 2];
    let ratio = p99.as_secs_f64() / pass.as_secs_f64();
    let megabytes = size_of_val(flat.as_slice()) as f64 / 1e6;
    let line = format!(
        "semantic lookup over {ENTRIES} x {DIMENSIONS}: median {median:.2?}, p99 {p99:.2?}; one pass over {megabytes:.1} MB {pass:.2?}; p99/pass {ratio:.2}; {missed} of 2000 neighbours missed\n"
    );
    drop(std::io::stderr().write_all(line.as_bytes()));
}
