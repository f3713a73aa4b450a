//! Sessions in virtual time that exercise every invariant.

#[path = "semantic.rs"]
mod semantic;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::screens::{Camera, Moment};
use seawall::client::{CallContext, CallStream, Env, ResilientClient, Transport as _};
use seawall::event::{BreakerMode, Event, EventKind, FORMAT_VERSION, Observer as _, Origin, UserId};
use seawall::journal::{Header, Journal, LiveJournal};
use seawall::openai::ChatRequest;
use seawall::session::bus::Bus;
use seawall::settings::file;
use seawall::settings::{Bucket, FaultProfile, LatencyProfile, Policy, Range, UserLimits};
use seawall::simulator::FaultControl;
use seawall::simulator::LocalTransport;
use seawall::time::Clock;

const SEED: u64 = 7;

/// A client in memory and its journal.
struct Recording {
    clock: Clock,
    env: Env,
    faults: FaultControl,
    client: ResilientClient<LocalTransport, Bus>,
}

/// A journal written by the bus and finished by the test.
type Shared = Arc<Mutex<Option<Journal<Vec<u8>>>>>;

fn policy(name: &str) -> Policy {
    let mut policy = file::load_policy(name).unwrap();
    policy.limit.requests = Bucket {
        capacity: 6,
        refill: 2,
        per: Duration::from_secs(1),
    };
    policy.limit.concurrency = 3;
    policy.breaker.consecutive = 3;
    policy.breaker.open = Duration::from_secs(2);
    policy.breaker.open_max = Duration::from_secs(10);
    policy.breaker.successes_to_close = 1;
    policy
}

/// Runs a session in virtual time and returns the journal. `seen` is called with every event.
fn play<F: Future<Output = ()>>(
    header: &Header,
    mut seen: impl FnMut(&Event) + Send + 'static,
    story: impl FnOnce(Recording) -> F,
) -> String {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .unwrap();
    let journal = Journal::try_new(Vec::new(), header).unwrap();
    let shared: Shared = Arc::new(Mutex::new(Some(journal)));
    let writer = Arc::clone(&shared);
    runtime.block_on(async {
        let clock = Clock::start();
        let tap = move |event: &Event| {
            seen(event);
            if let Some(journal) = writer.lock().unwrap().as_mut() {
                journal.write(event).unwrap();
            }
        };
        let bus = Bus::tapped(clock, Box::new(tap));
        let faults = FaultControl::off();
        let transport = LocalTransport::new(SEED, LatencyProfile::default(), faults.clone(), clock);
        let upstream = transport.info();
        bus.emit(
            None,
            EventKind::SessionStarted {
                format: FORMAT_VERSION,
                seed: SEED,
                upstream,
                simulator: None,
            },
        );
        let env = Env::new(clock, SEED);
        let client = ResilientClient::new(header.policy.clone(), transport, bus, env.clone());
        let recording = Recording {
            clock,
            env: env.clone(),
            faults,
            client,
        };
        story(recording).await;
        env.join().await;
    });
    let journal = shared.lock().unwrap().take().unwrap();
    String::from_utf8(journal.finish().unwrap()).unwrap()
}

/// The session of this name.
pub(crate) fn session(name: &str) -> String {
    played(name, |_| ())
}

/// The session of this name, and the screens drawn while it ran.
pub(crate) fn filmed(name: &str) -> (String, Vec<Moment>) {
    let camera = Arc::new(Mutex::new(Camera::default()));
    let films = Arc::clone(&camera);
    let journal = played(name, move |event| films.lock().unwrap().take(event));
    let moments = std::mem::take(&mut camera.lock().unwrap().moments);
    (journal, moments)
}

fn played(name: &str, seen: impl FnMut(&Event) + Send + 'static) -> String {
    if name == "semantic" {
        let policy = semantic::policy(policy("production"));
        let header = Header::virtual_time(SEED, policy).with_scenario(name);
        return play(&header, seen, semantic::story);
    }
    if name == "users" {
        let header = Header::virtual_time(SEED, shared()).with_scenario(name);
        return play(&header, seen, crowd);
    }
    let header = Header::virtual_time(SEED, policy(name)).with_scenario(name);
    play(&header, seen, story)
}

/// One upstream shared by three users: fair order, eleven slots, and one user with a bucket of its own.
fn shared() -> Policy {
    let mut policy = policy("production");
    policy.limit.requests.capacity = 1;
    policy.limit.concurrency = 50;
    policy.limit.max_waiters = 11;
    let bucket = |capacity| Bucket {
        capacity,
        refill: 1,
        per: Duration::from_secs(1),
    };
    let own = UserLimits {
        requests: Some(bucket(1)),
        tokens: Some(bucket(100)),
        weight: 1,
    };
    policy.limit.users.insert("cleo".into(), own);
    policy
}

/// A flood, an occasional user, and a user with limits of its own.
async fn crowd(recording: Recording) {
    let ask = |user: &str, n: usize| recording.ask(user, warm(&format!("{user} asks {n}")), None, None);
    let mut calls: Vec<CallStream> = (0..10).map(|n| ask("ana", n)).collect();
    recording.wait(10).await;
    calls.extend((0..3).map(|n| ask("ben", n)));
    calls.push(ask("cleo", 0));
    recording.wait(3_000).await;
    calls.push(recording.ask("cleo", warm("a long one").max_tokens(9_000), None, None));
    recording.wait(10).await;
    calls.push(ask("cleo", 1));
    for call in calls {
        drop(call.finish().await);
    }
}

impl Recording {
    #[expect(
        clippy::needless_pass_by_value,
        reason = "requests are made where they are asked"
    )]
    fn ask(&self, user: &str, request: ChatRequest, key: Option<&str>, deadline: Option<u64>) -> CallStream {
        let context = CallContext {
            user: UserId::new(user),
            // one of the users is a person, whose answers appear in the conversation
            origin: if user == "ana" {
                Origin::Chat
            } else {
                Origin::Library
            },
            idempotency_key: key.map(ToOwned::to_owned),
            prompt_tokens: None,
            deadline: deadline.map(Duration::from_millis),
            ..CallContext::default()
        };
        self.client.call(&request, context)
    }

    async fn wait(&self, millis: u64) {
        self.clock.sleep(Duration::from_millis(millis)).await;
    }

    /// From now on every request has exactly this fault.
    fn break_all(&self, set: impl FnOnce(&mut FaultProfile)) {
        let mut profile = FaultProfile::default();
        set(&mut profile);
        self.faults.set_profile(profile);
        self.faults.set_on(true);
    }
}

/// A request with a cacheable answer.
fn cold(prompt: &str) -> ChatRequest {
    warm(prompt).temperature(0.0)
}

fn warm(prompt: &str) -> ChatRequest {
    ChatRequest::prompt(prompt).max_tokens(24).with("stream", true)
}

/// A session with a little of everything.
async fn story(recording: Recording) {
    answers(&recording).await;
    failures(&recording).await;
    // the breaker: three consecutive failures open it, a probe closes it
    recording.wait(40_000).await;
    recording.break_all(|profile| profile.server_error = 1.0);
    for user in ["ana", "ben", "cleo", "dev"] {
        drop(recording.ask(user, warm("is it up?"), None, None).finish().await);
        recording.wait(100).await;
    }
    recording.faults.set_on(false);
    recording.wait(9_000).await;
    for _ in 0..2 {
        drop(
            recording
                .ask("ana", warm("is it up again?"), None, None)
                .finish()
                .await,
        );
    }
    // the queue: twelve at once, and one that leaves
    let mut calls: Vec<CallStream> = (0..12)
        .map(|n| recording.ask("ben", warm(&format!("question {n}")), None, None))
        .collect();
    recording.wait(300).await;
    drop(calls.remove(11));
    for call in calls {
        drop(call.finish().await);
    }
    // commands of a person
    recording.client.force_breaker(BreakerMode::ForcedOpen);
    drop(
        recording
            .ask("dev", warm("anybody there?"), None, None)
            .finish()
            .await,
    );
    recording.client.force_breaker(BreakerMode::Automatic);
    recording.client.reset_breaker();
    recording.client.clear_cache();
    drop(
        recording
            .ask("ana", cold("what is a buoy?"), None, None)
            .finish()
            .await,
    );
}

/// Stored, shared, replayed and handed over.
async fn answers(recording: &Recording) {
    for user in ["ana", "ana", "ben"] {
        drop(
            recording
                .ask(user, cold("what is a buoy?"), None, None)
                .finish()
                .await,
        );
        recording.wait(500).await;
    }
    for _ in 0..2 {
        drop(
            recording
                .ask("ana", warm("book a berth"), Some("k1"), None)
                .finish()
                .await,
        );
    }
    recording.wait(3_000).await;
    let owner = recording.ask("cleo", cold("what is a tide?"), None, None);
    let second = recording.ask("cleo", cold("what is a tide?"), None, None);
    let third = recording.ask("cleo", cold("what is a tide?"), None, None);
    recording.wait(50).await;
    drop(owner);
    drop(second.finish().await);
    drop(third.finish().await);
    drop(
        recording
            .ask("dev", warm("a long one").max_tokens(9_000_000), None, None)
            .finish()
            .await,
    );
    recording.wait(3_000).await;
}

/// One failure of each kind.
async fn failures(recording: &Recording) {
    // rate limited with a hint, successful at the second attempt
    recording.break_all(|profile| profile.rate_limited = 1.0);
    let call = recording.ask("ana", warm("wait for me"), None, None);
    recording.wait(700).await;
    recording.faults.set_on(false);
    drop(call.finish().await);
    // rate limited without a hint: the limiter slows down
    recording.break_all(|profile| {
        profile.rate_limited = 1.0;
        profile.retry_after = 0;
    });
    drop(recording.ask("ben", warm("too many"), None, None).finish().await);
    recording.wait(5_000).await;
    // nothing useful follows these
    recording.break_all(|profile| profile.wrong_content_type = 1.0);
    drop(recording.ask("ana", warm("a portal?"), None, None).finish().await);
    recording.break_all(|profile| profile.cut = 1.0);
    drop(
        recording
            .ask("ana", warm("half of it"), None, None)
            .finish()
            .await,
    );
    recording.faults.set_on(false);
    drop(recording.ask("ana", warm("all of it"), None, None).finish().await);
    // a deadline, for two calls that share a flight
    recording.break_all(|profile| profile.stall = 1.0);
    let first = recording.ask("cleo", cold("silence"), None, Some(1_500));
    let second = recording.ask("cleo", cold("silence"), None, Some(1_500));
    drop(first.finish().await);
    drop(second.finish().await);
    recording.faults.set_on(false);
    drop(
        recording
            .ask("ana", warm("fine again"), None, None)
            .finish()
            .await,
    );
    // two calls that share a failing flight
    recording.break_all(|profile| profile.wrong_content_type = 1.0);
    let first = recording.ask("cleo", cold("a portal for two"), None, None);
    let second = recording.ask("cleo", cold("a portal for two"), None, None);
    drop(first.finish().await);
    drop(second.finish().await);
    recording.faults.set_on(false);
}

/// Bytes written by a thread and read by a test.
#[derive(Clone, Default)]
struct Page(Arc<Mutex<Vec<u8>>>);

impl std::io::Write for Page {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Two seconds of real time on four threads, written by the live journal.
pub(crate) fn threads() -> String {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(4)
        .enable_time()
        .build()
        .unwrap();
    let mut policy = policy("production");
    policy.limit.requests.refill = 200;
    policy.limit.tokens.capacity = 100_000;
    policy.limit.concurrency = 20;
    policy.retry.base = Duration::from_millis(20);
    policy.breaker.open = Duration::from_millis(200);
    let page = Page::default();
    let header = Header::live(SEED, policy.clone(), 0);
    let live = LiveJournal::start(Journal::try_new(page.clone(), &header).unwrap()).unwrap();
    runtime.block_on(async {
        let clock = Clock::start();
        let bus = Bus::tapped(clock, Box::new(live.tap()));
        let pace = LatencyProfile {
            first_token: Range {
                min_ms: 0,
                max_ms: 30,
            },
            between_tokens: Range { min_ms: 0, max_ms: 3 },
        };
        let faults = FaultControl::off();
        let transport = LocalTransport::new(SEED, pace, faults.clone(), clock);
        let env = Env::new(clock, SEED);
        let client = ResilientClient::new(policy, transport, bus, env.clone());
        let recording = Recording {
            clock,
            env: env.clone(),
            faults,
            client,
        };
        recording.break_all(|profile| {
            profile.server_error = 0.1;
            profile.rate_limited = 0.05;
            profile.cut = 0.05;
            profile.reset = 0.05;
        });
        for n in 0_u64..600 {
            let user = ["ana", "ben"][(n % 2) as usize];
            let request = if n % 3 == 0 {
                cold(&format!("q{}", n / 12))
            } else {
                warm("again")
            };
            let deadline = (n % 7 == 0).then_some(40);
            let call = recording.ask(user, request, None, deadline);
            let patience = Duration::from_millis(n % 50);
            let left = recording.clock.now() + patience;
            recording.env.spawn(async move {
                tokio::select! {
                    answer = call.finish() => drop(answer),
                    () = clock.sleep_until(left), if n % 5 == 0 => {}
                }
            });
            recording.wait(n % 7).await;
        }
        env.join().await;
    });
    live.finish().unwrap();
    let bytes = page.0.lock().unwrap().clone();
    String::from_utf8(bytes).unwrap()
}
