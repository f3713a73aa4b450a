//! Journals of real traffic: every invariant holds on them, each call has one fate that its client saw too, no secret
//! is in them, and the program reads them.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use rand::prelude::*;
use rand::rngs::StdRng;
use seawall::check::check;
use seawall::event::{Command as Order, EventKind, Fate};
use seawall::journal::{Header, Journal, Line, LiveJournal, Reader};
use seawall::session::bus::Bus;
use seawall::session::{Session, SessionConfig, UpstreamConfig};
use seawall::settings::{Bucket, FaultKind, FaultProfile, Policy, SemanticMode};
use seawall::time::{Clock, unix_seconds};
use serde_json::json;

use crate::client::{Client, DIALECTS, PATIENCE, Seen, body, gateway};
use crate::upstream;

/// Calls of a session.
const CALLS: usize = 240;
/// Clients of a session.
const CLIENTS: usize = 12;
/// In each key and in each body of an endpoint without a dialect.
const CANARY: &str = "canary";

fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// Guards that act within a second.
fn policy(seed: u64) -> Policy {
    let mut policy = Policy::default();
    policy.limit.requests = Bucket {
        capacity: 40,
        refill: 100,
        per: millis(1000),
    };
    policy.limit.concurrency = 6;
    policy.limit.max_wait = millis(60);
    policy.retry.base = millis(1);
    policy.retry.cap = millis(4);
    policy.retry.max_hint = millis(500);
    policy.breaker.consecutive = 4;
    policy.breaker.open = millis(40);
    policy.breaker.open_max = millis(80);
    policy.timeouts.headers = millis(100);
    policy.timeouts.byte_idle = millis(100);
    policy.timeouts.after_finish = millis(50);
    if seed.is_multiple_of(2) {
        policy.semantic.mode = SemanticMode::On;
        policy.semantic.threshold = Some(0.5);
        policy.semantic.guards = false;
    }
    policy
}

/// Every fault, at the same rate.
fn faults() -> FaultProfile {
    let mut profile = FaultProfile::default();
    for kind in FaultKind::ALL {
        profile.set_rate(kind, 0.03);
    }
    profile.stall_for = millis(200);
    profile.cut_after = 3;
    profile.retry_after = 0;
    profile.drip_factor = 1;
    profile
}

/// A request of a client.
struct Ask {
    endpoint: &'static str,
    headers: Vec<(&'static str, String)>,
    body: String,
    /// The client leaves after as many bytes.
    leaves_after: Option<usize>,
}

/// A random request. Few prompts, so that many are equal.
fn ask(draw: &mut StdRng) -> Ask {
    let leaves_after = draw.random_bool(0.1).then(|| draw.random_range(0..200));
    if draw.random_bool(0.08) {
        let body = json!({ "input": CANARY }).to_string();
        let endpoint = if draw.random() {
            "audio/speech"
        } else {
            "messages/count_tokens"
        };
        return Ask {
            endpoint,
            headers: Vec::new(),
            body,
            leaves_after,
        };
    }
    let endpoint = *DIALECTS.choose(draw).unwrap();
    let topic = ["the red boat sails", "the red boat sails today", "echo"]
        .choose(draw)
        .unwrap();
    let prompt = format!("{topic} {}", draw.random_range(0..4));
    let mut body = body(endpoint, &prompt, draw.random());
    if draw.random_bool(0.7) {
        body["temperature"] = json!(0);
    }
    let mut headers = Vec::new();
    let cases: [(&str, &[&str]); 4] = [
        ("x-seawall-cache", &["bypass", "refresh"]),
        ("cache-control", &["no-store", "no-cache"]),
        ("idempotency-key", &["k1", "k2", "k3"]),
        ("x-seawall-deadline", &["0.02", "0.2", "30"]),
    ];
    for (name, values) in cases {
        if draw.random_bool(0.1) {
            headers.push((name, (*values.choose(draw).unwrap()).to_owned()));
        }
    }
    Ask {
        endpoint,
        headers,
        body: body.to_string(),
        leaves_after,
    }
}

/// A request that every client makes at about the same time.
fn common(round: usize) -> Ask {
    let mut body = body("chat/completions", &format!("round {round}"), true);
    body["temperature"] = json!(0);
    Ask {
        endpoint: "chat/completions",
        headers: Vec::new(),
        body: body.to_string(),
        leaves_after: None,
    }
}

/// A client's requests, one after the other.
async fn drive(client: Client, mut draw: StdRng) -> Vec<(Ask, Option<Seen>)> {
    let mut seen = Vec::new();
    for round in 0..CALLS / CLIENTS {
        let ask = if round % 4 == 0 {
            common(round)
        } else {
            ask(&mut draw)
        };
        let sent = client.post(ask.endpoint, &ask.headers, ask.body.clone(), ask.leaves_after);
        let came = tokio::time::timeout(PATIENCE, sent).await.unwrap();
        seen.push((ask, came));
    }
    seen
}

/// Leaves in the middle of a stream, once the guards let one begin.
async fn leave(client: &Client) {
    let left = async {
        let body = body("chat/completions", "linger", true).to_string();
        while client
            .post("chat/completions", &[], body.clone(), Some(10))
            .await
            .is_none_or(|seen| seen.status != 200)
        {}
    };
    tokio::time::timeout(PATIENCE, left).await.unwrap();
}

/// A session with traffic, written to a journal. Returns what its clients saw.
async fn session(seed: u64, file: &Path) -> Vec<(Ask, Option<Seen>)> {
    let server = upstream::start().await;
    let config = SessionConfig {
        seed,
        policy: policy(seed),
        faults: faults(),
        faults_on: true,
        upstream: Some(UpstreamConfig::new(
            format!("http://{}/v1", server.addr()).parse().unwrap(),
        )),
        ..SessionConfig::default()
    };
    let header = Header::live(seed, config.policy.clone(), unix_seconds()).with_users(&config.users);
    let journal = Journal::try_new(File::create_new(file).unwrap(), &header).unwrap();
    let journal = LiveJournal::start(journal).unwrap();
    let clock = Clock::start();
    let bus = Bus::tapped(clock, Box::new(journal.tap()));
    let session = Session::start_on(config, clock, bus).await.unwrap();
    let gateway = gateway(&session).await;
    let tenants = [
        ("authorization", format!("Bearer sk-ana-{CANARY}-{seed}")),
        ("x-api-key", format!("sk-ben-{CANARY}-{seed}")),
    ];
    let clients = (0..CLIENTS).map(|number| {
        let key = tenants[number % tenants.len()].clone();
        let draw = StdRng::seed_from_u64(seed * 1000 + number as u64);
        drive(Client::new(gateway.address(), key), draw)
    });
    let seen = futures_util::future::join_all(clients).await;
    session.engine().execute(Order::SetFaults { on: false });
    leave(&Client::new(gateway.address(), tenants[0].clone())).await;
    gateway.stop().await;
    session.shutdown().await;
    journal.finish().unwrap();
    server.shutdown().await;
    seen.into_iter().flatten().collect()
}

/// The fate of each call of a journal, and the kinds of the faults that hit them.
fn fates(file: &Path) -> (BTreeMap<u64, Fate>, BTreeSet<FaultKind>) {
    let (mut fates, mut faults) = (BTreeMap::new(), BTreeSet::new());
    let reader = Reader::open(File::open(file).unwrap()).unwrap();
    for line in reader.lines() {
        let Line::Event(event) = line.unwrap() else {
            continue;
        };
        match event.kind {
            EventKind::CallEnded { fate, .. } => {
                let earlier = fates.insert(event.call.unwrap().0, fate);
                assert_eq!(earlier, None, "two ends of {:?}", event.call);
            }
            EventKind::FaultInjected { fault, .. } => {
                faults.insert(fault);
            }
            _ => {}
        }
    }
    (fates, faults)
}

/// The fates that a call may have whose client saw this.
fn possible(seen: &Seen) -> &'static [Fate] {
    match (seen.status, seen.complete, seen.code().as_str()) {
        (200, true, _) => &[Fate::Answered, Fate::Hit, Fate::Shared],
        (200, false, _) => &[Fate::Interrupted],
        (429, _, "seawall_rate_limited") => &[Fate::RateLimited],
        (503, _, "seawall_circuit_open") => &[Fate::CircuitOpen],
        _ => &[Fate::Failed],
    }
}

/// Runs the program on the journal; returns its output. It must succeed.
fn program(args: &[&str]) -> String {
    let run = Command::new(env!("CARGO_BIN_EXE_seawall"))
        .args(args)
        .output()
        .unwrap();
    let text = String::from_utf8(run.stdout).unwrap();
    assert!(
        run.status.success(),
        "{args:?}: {text}{}",
        String::from_utf8_lossy(&run.stderr)
    );
    text
}

/// Checks the journal of a session, and returns the fates of its calls and the faults that hit them.
async fn verified(seed: u64, file: &Path) -> (BTreeMap<u64, Fate>, BTreeSet<FaultKind>) {
    let seen = session(seed, file).await;
    let text = std::fs::read_to_string(file).unwrap();
    assert!(!text.contains(CANARY), "seed {seed}: a secret is in the journal");
    let summary = check(Reader::open(File::open(file).unwrap()).unwrap());
    let summary = summary.unwrap_or_else(|error| panic!("seed {seed}: {error}"));
    assert!(summary.complete && summary.lost == 0, "seed {seed}: {summary}");
    let (fates, faults) = fates(file);
    assert_eq!(summary.calls, fates.len() as u64, "seed {seed}");
    let mut known = BTreeSet::new();
    for (ask, came) in &seen {
        let Some(seen) = came else {
            panic!("seed {seed}: no response to {}", ask.body);
        };
        let call = seen
            .call
            .unwrap_or_else(|| panic!("seed {seed}: not a call: {seen:?}"));
        assert!(known.insert(call), "seed {seed}: two responses of call {call}");
        if ask.leaves_after.is_none() {
            let fate = fates[&call];
            assert!(
                possible(seen).contains(&fate),
                "seed {seed}: {fate:?}, but {seen:?}"
            );
        }
    }
    (fates, faults)
}

fn path(folder: &tempfile::TempDir, seed: u64) -> PathBuf {
    folder.path().join(format!("{seed}.ndjson"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_invariant_holds_on_journals_of_gateway_traffic() {
    let folder = tempfile::tempdir().unwrap();
    let (mut ways, mut kinds) = (BTreeMap::new(), BTreeSet::new());
    for seed in 1..=4 {
        let file = path(&folder, seed);
        let (fates, faults) = verified(seed, &file).await;
        kinds.extend(faults);
        let name = file.to_str().unwrap();
        assert!(program(&["check", name]).contains("invariants hold"));
        assert!(program(&["why", name]).contains("call"));
        for (call, fate) in fates {
            if ways.insert(fate, (call, seed)).is_none() {
                let story = program(&["why", name, &call.to_string()]);
                assert!(story.starts_with(&format!("#{call} ")), "{story}");
            }
        }
    }
    assert_eq!(ways.len(), 8, "{ways:?}");
    assert!(kinds.len() > 5, "{kinds:?}");
    let name = path(&folder, 1);
    let compared = program(&[
        "compare",
        "--journal",
        name.to_str().unwrap(),
        "production",
        "--format",
        "json",
    ]);
    assert!(compared.contains("production"), "{compared}");
}
