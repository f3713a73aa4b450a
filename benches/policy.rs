//! One step of each policy, alone.

use std::time::Duration;

use divan::Bencher;
use divan::counter::BytesCount;
use seawall::event::{Sample, UserId};
use seawall::openai::{ChatRequest, Message};
use seawall::policy::breaker::Breaker;
use seawall::policy::cache::Cache;
use seawall::policy::fingerprint::{RequestKey, Scope};
use seawall::policy::limiter::{Admission, Limiter, Request, Settlement};
use seawall::policy::near_miss;
use seawall::settings::{LimitSettings, Policy, QueueOrder};
use seawall::time::Timestamp;

use xxhash_rust::xxh3::xxh3_128;

use crate::traffic::wide;

const TICK: Duration = Duration::from_millis(1);

fn request(number: usize) -> ChatRequest {
    ChatRequest::prompt(format!(
        "Question {number}: what does a token bucket do when it is empty?"
    ))
    .model("seawall-sim")
    .temperature(0.0)
    .max_tokens(256)
}

fn key(number: usize) -> RequestKey {
    key_of(&request(number))
}

/// Admission and settlement without waiters.
#[divan::bench(sample_size = 1_000)]
fn limiter_admits(bencher: Bencher<'_, '_>) {
    let mut now = Timestamp::ZERO;
    let mut limiter = Limiter::new(&wide().limit, now);
    let user = UserId::new("ana");
    bencher.bench_local(|| {
        now = now + TICK;
        let request = Request {
            user: &user,
            tokens: 300,
            deadline: now + Duration::from_mins(1),
        };
        match limiter.acquire(now, request) {
            Admission::Admitted(grant) => Some(limiter.settle(now, grant, Settlement::Used(120))),
            Admission::Queued { .. } | Admission::Rejected { .. } => None,
        }
    });
}

/// Joining and leaving the queue behind other waiters, in arrival order.
#[divan::bench(args = [10, 1_000])]
fn limiter_queues_fifo(bencher: Bencher<'_, '_>, waiters: usize) {
    let mut limit = wide().limit;
    limit.order = QueueOrder::Fifo;
    queue_behind(bencher, &limit, waiters);
}

/// The same with fifty users in fair order.
#[divan::bench(args = [10, 1_000])]
fn limiter_queues_fair(bencher: Bencher<'_, '_>, waiters: usize) {
    let mut limit = wide().limit;
    limit.order = QueueOrder::Fair;
    queue_behind(bencher, &limit, waiters);
}

/// The same with per-user buckets for each of the fifty users.
#[divan::bench(args = [10, 1_000])]
fn limiter_queues_fair_with_user_buckets(bencher: Bencher<'_, '_>, waiters: usize) {
    let mut limit = wide().limit;
    limit.order = QueueOrder::Fair;
    limit.each_user.requests = Some(limit.requests.clone());
    limit.each_user.tokens = Some(limit.tokens.clone());
    queue_behind(bencher, &limit, waiters);
}

fn queue_behind(bencher: Bencher<'_, '_>, limit: &LimitSettings, waiters: usize) {
    let now = Timestamp::ZERO;
    let mut limiter = Limiter::new(limit, now);
    let users: Vec<UserId> = (0..50).map(|n| UserId::new(&format!("user {n}"))).collect();
    let request = |user| Request {
        user,
        tokens: 300,
        deadline: now + Duration::from_mins(1),
    };
    let senders = users.iter().cycle();
    let held: Vec<_> = senders
        .take(waiters + 16)
        .map(|user| limiter.acquire(now, request(user)))
        .collect();
    // last in either order: the longest forecast
    let last = (waiters + 15) % users.len();
    bencher.bench_local(|| {
        if let Admission::Queued { ticket, .. } = limiter.acquire(now, request(&users[last])) {
            limiter.leave(now, ticket);
        }
    });
    drop(held);
}

/// Acquiring and settling a permit, with a full window.
#[divan::bench(sample_size = 1_000)]
fn breaker_step(bencher: Bencher<'_, '_>) {
    let mut now = Timestamp::ZERO;
    let settings = Policy::default().breaker;
    let mut breaker = Breaker::new(&settings, 7, now);
    let mut step = || {
        now = now + TICK;
        let permit = breaker.acquire(now).permit;
        permit.map(|permit| breaker.settle(now, permit, Sample::Ok, None))
    };
    for _ in 0..settings.window.as_millis() / TICK.as_millis() {
        divan::black_box_drop(step());
    }
    bencher.bench_local(step);
}

/// Building the key of a short request.
#[divan::bench(sample_size = 1_000)]
fn fingerprint(bencher: Bencher<'_, '_>) {
    let (user, request) = (UserId::new("ana"), request(1));
    bencher.bench_local(|| {
        let scope = Scope {
            user: &user,
            credential: 7,
            upstream: "127.0.0.1:8033",
            route: "chat/completions",
        };
        RequestKey::new(&scope, &request)
    });
}

/// A hit among 10,000 answers.
#[divan::bench(sample_size = 1_000)]
fn cache_lookup(bencher: Bencher<'_, '_>) {
    let mut cache = Cache::new(&Policy::default().cache);
    let keys: Vec<_> = (0..10_000).map(key).collect();
    let stored = keys
        .iter()
        .filter(|key| cache.put(Timestamp::ZERO, (*key).clone(), (), 1_000).kept)
        .count();
    let mut lookups = keys.iter().take(stored).cycle();
    bencher
        .with_inputs(|| lookups.next())
        .bench_local_values(|key| key.map(|key| cache.get(Timestamp::ZERO, key).expired));
}

/// A conversation of about 100 KB: a system prompt with a time in it, 200 messages and a question.
fn conversation(stamp: &str) -> ChatRequest {
    let turns = (0..100).flat_map(|n| {
        let question = format!("{n}: {}", "How does the \"token bucket\" refill?\n".repeat(13));
        [
            Message::user(question),
            Message::assistant("It gains a little each tick. ".repeat(17)),
        ]
    });
    let system = Message::system(format!("You are a helpful assistant. It is {stamp}."));
    ChatRequest::new(
        [system]
            .into_iter()
            .chain(turns)
            .chain([Message::user("And when it is empty?")]),
    )
    .model("seawall-sim")
    .temperature(0.0)
}

fn key_of(request: &ChatRequest) -> RequestKey {
    let user = UserId::new("ana");
    let scope = Scope {
        user: &user,
        credential: 7,
        upstream: "127.0.0.1:8033",
        route: "chat/completions",
    };
    RequestKey::new(&scope, request)
}

/// Building the key of a request of 100 KB: canonical form and hash.
#[divan::bench(sample_size = 10)]
fn fingerprint_100_kb(bencher: Bencher<'_, '_>) {
    let request = conversation("10:32:01");
    let bytes = key_of(&request).canonical().len();
    bencher
        .counter(BytesCount::new(bytes))
        .bench_local(|| key_of(&request).fingerprint());
}

/// The lower bound for that: one pass of xxh3-128 over the same bytes.
#[divan::bench(sample_size = 10)]
fn xxh3_pass_100_kb(bencher: Bencher<'_, '_>) {
    let key = key_of(&conversation("10:32:01"));
    bencher
        .counter(BytesCount::new(key.canonical().len()))
        .bench_local(|| xxh3_128(divan::black_box(key.canonical())));
}

/// A miss among 10,000 entries: the lookup, the nearest request and the differences.
#[divan::bench(sample_size = 10, args = ["short", "100 KB"])]
fn near_miss_of_10_000(bencher: Bencher<'_, '_>, size: &str) {
    let mut cache = Cache::new(&Policy::default().cache);
    let missed = if size == "short" {
        key_of(&request(77).temperature(0.5))
    } else {
        let kept = cache
            .put(Timestamp::ZERO, key_of(&conversation("10:30:00")), (), 1_000)
            .kept;
        assert!(kept);
        key_of(&conversation("10:32:01"))
    };
    let stored = (0..10_000)
        .filter(|number| cache.put(Timestamp::ZERO, key(*number), (), 1_000).kept)
        .count();
    assert_eq!(stored, 10_000);
    bencher.bench_local(|| {
        let expired = cache.get(Timestamp::ZERO, &missed).expired;
        let (near, ()) = cache.nearest(&missed)?;
        near_miss::diff(&missed, near).map(|found| (expired, found.fields))
    });
}

/// Storing and evicting an entry, including its place in the near-miss index.
#[divan::bench(sample_size = 100)]
fn cache_store_and_evict(bencher: Bencher<'_, '_>) {
    let mut settings = Policy::default().cache;
    settings.max_bytes = 2_000_000;
    let mut cache = Cache::new(&settings);
    let mut keys = (0..4_000).map(key).collect::<Vec<_>>().into_iter().cycle();
    bencher.bench_local(|| {
        let key = keys.next()?;
        Some(cache.put(Timestamp::ZERO, key, (), 1_000).evicted_for_room)
    });
}
