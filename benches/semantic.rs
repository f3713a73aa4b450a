//! The cost of a semantic lookup apart from the search: the built-in embedder and the guards.

use std::hint::black_box;

use seawall::semantic::{guard, lexical};

/// A typical prompt of 200 characters.
const PROMPT: &str = "Could you please explain how I can configure nginx on Ubuntu 22.04 as a reverse proxy for two Node \
    applications, so that \"/api\" goes to port 3000, everything else to port 8080, and HTTPS stays on?";

/// A paraphrase.
const STORED: &str = "How do I set up nginx as a reverse proxy on Ubuntu 22.04 for two Node apps, so that \"/api\" goes to \
    port 3000 and everything else to port 8080, and HTTPS stays on?";

#[divan::bench(sample_size = 100)]
fn embeds_a_prompt() -> Vec<f32> {
    lexical::embed(black_box(PROMPT))
}

#[divan::bench]
fn embeds_100_kilobytes(bencher: divan::Bencher<'_, '_>) {
    let long = PROMPT.repeat(500);
    bencher.bench_local(|| lexical::embed(black_box(&long)));
}

#[divan::bench(sample_size = 100)]
fn guards_agree() -> bool {
    guard::lexical_objection(black_box(PROMPT), black_box(STORED)).is_none()
}
