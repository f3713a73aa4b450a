//! The gateway beside a bare proxy and a canned server, in one run on loopback: only the ratios mean anything, because
//! upstream, load and gateway share the machine.
//!
//! `cargo bench --bench gateway [-- SECONDS [ROUNDS]]` prints for each kind of call the throughput of seawall as a
//! share of its measure, and its median latency as a multiple. Goals: 0.85 and 1.2 for calls that pass, 0.8 for hits,
//! 0.85 for events, and a cost of the screen of at most 5 %.
#![expect(
    clippy::expect_used,
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a bench measures real time, prints it, and ends with the error of its set-up"
)]

mod peers;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::Request;
use hyper_util::rt::TokioIo;
use mimalloc::MiMalloc;
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use seawall::gateway::{Credentials, Gateway, GatewayConfig, GatewayLimits};
use seawall::session::source::{Progress, Source};
use seawall::session::{Session, SessionConfig, UpstreamConfig};
use seawall::settings::{Bucket, Policy};
use seawall::tui::keymap::Keymap;
use seawall::tui::theme::Theme;
use seawall::tui::ui::Ui;
use seawall::tui::view::{View, draw};
use tokio::runtime::Runtime;

/// The allocator of the program.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

/// Connections of the load.
const CONNECTIONS: usize = 64;
/// A bucket that is never empty.
const WIDE: Bucket = Bucket {
    capacity: 10_000_000,
    refill: 1_000_000_000,
    per: Duration::from_secs(1),
};
/// Time between two frames of the screen.
const FRAME: Duration = Duration::from_millis(33);
/// Connections of streams.
const STREAMS: usize = 16;

/// A kind of call.
#[derive(Clone, Copy)]
struct Kind {
    name: &'static str,
    connections: usize,
    /// Fields of the request besides model and messages.
    fields: &'static str,
    /// Events of an answer; 1 for a whole one.
    events: usize,
}

const PASS: Kind = Kind {
    name: "pass",
    connections: CONNECTIONS,
    fields: "\"temperature\":1",
    events: 1,
};
const HIT: Kind = Kind {
    name: "hit",
    fields: "\"temperature\":0",
    ..PASS
};
const STREAM: Kind = Kind {
    name: "stream",
    connections: STREAMS,
    fields: "\"temperature\":1,\"stream\":true",
    events: peers::EVENTS + 2,
};

/// The result of a load.
struct Seen {
    per_second: f64,
    median: Duration,
}

fn main() {
    let mut numbers = std::env::args()
        .skip(1)
        .filter_map(|argument| argument.parse::<u32>().ok());
    let time = Duration::from_secs(numbers.next().unwrap_or(2).into());
    let rounds = numbers.next().unwrap_or(5);
    let upstream = peers::upstream();
    let bare = peers::proxy(upstream);
    let canned = peers::canned();
    let house = House::start(upstream);
    println!(
        "{:8} {:>10} {:>10} {:>7} {:>9}",
        "call", "measure/s", "seawall/s", "share", "median x"
    );
    for (kind, measure) in [(PASS, bare), (HIT, canned), (STREAM, bare)] {
        let rounds: Vec<(Seen, Seen)> = (0..rounds)
            .map(|_| (load(measure, kind, time), load(house.address(), kind, time)))
            .collect();
        print(kind.name, &rounds);
    }
    let rounds: Vec<(Seen, Seen)> = (0..rounds)
        .map(|_| {
            let alone = load(house.address(), PASS, time);
            let screen = house.watch();
            let watched = load(house.address(), PASS, time);
            screen.store(false, Ordering::Relaxed);
            (alone, watched)
        })
        .collect();
    print("watched", &rounds);
}

/// Prints the medians of the rounds: each ratio is taken within its round.
fn print(name: &str, rounds: &[(Seen, Seen)]) {
    let median = |figure: &dyn Fn(&(Seen, Seen)) -> f64| {
        let mut figures: Vec<f64> = rounds.iter().map(figure).collect();
        figures.sort_by(f64::total_cmp);
        figures.get(figures.len() / 2).copied().unwrap_or(f64::NAN)
    };
    println!(
        "{name:8} {:10.0} {:10.0} {:7.2} {:9.2}",
        median(&|(measure, _)| measure.per_second),
        median(&|(_, seawall)| seawall.per_second),
        median(&|(measure, seawall)| seawall.per_second / measure.per_second),
        median(&|(measure, seawall)| seawall.median.as_secs_f64() / measure.median.as_secs_f64()),
    );
}

/// Seawall in front of the upstream, on all cores.
struct House {
    /// Runs the gateway.
    _runtime: Runtime,
    session: Session,
    gateway: Gateway,
}

impl House {
    fn start(upstream: SocketAddr) -> Self {
        let runtime = peers::runtime();
        let (session, gateway) = runtime.block_on(async {
            let mut policy = Policy::default();
            // the limiter decides, and the load passes
            policy.limit.requests = WIDE;
            policy.limit.tokens = WIDE;
            policy.limit.concurrency = 256;
            let config = SessionConfig {
                policy,
                upstream: Some(UpstreamConfig::new(
                    format!("http://{upstream}").parse().expect("a URL"),
                )),
                ..SessionConfig::default()
            };
            let session = Session::start(config).await.expect("a session");
            let config = GatewayConfig {
                listen: SocketAddr::from(([127, 0, 0, 1], 0)),
                credentials: Credentials::of_clients(false),
                limits: GatewayLimits::default(),
            };
            let gateway = Gateway::start(config, session.client().clone(), session.env()).await;
            (session, gateway.expect("a gateway"))
        });
        Self {
            _runtime: runtime,
            session,
            gateway,
        }
    }

    fn address(&self) -> SocketAddr {
        self.gateway.address()
    }

    /// Follows the session and draws 30 frames a second, until the flag is cleared.
    fn watch(&self) -> Arc<AtomicBool> {
        let watching = Arc::new(AtomicBool::new(true));
        let is_on = Arc::clone(&watching);
        let (mut source, clock) = (Source::live(self.session.bus()), self.session.clock());
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_time()
                .build();
            let runtime = runtime.expect("a runtime");
            let keymap = Keymap::builtin().expect("the bundled keymap");
            let (theme, area) = (Theme::default(), Rect::new(0, 0, 120, 40));
            let ui = Ui {
                size: area.as_size(),
                ..Ui::default()
            };
            let mut buffer = Buffer::empty(area);
            while is_on.load(Ordering::Relaxed) {
                let follow = async { while source.advance().await != Progress::Ended {} };
                drop(runtime.block_on(async { tokio::time::timeout(FRAME, follow).await }));
                buffer.reset();
                let view = View {
                    state: source.state(),
                    ui: &ui,
                    theme: &theme,
                    now: clock.now(),
                };
                draw(&view, &keymap, area, &mut buffer);
            }
        });
        watching
    }
}

/// Sends calls of this kind over all connections for `time`.
fn load(address: SocketAddr, kind: Kind, time: Duration) -> Seen {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    let body = peers::chat(kind.fields);
    let started = Instant::now();
    let mut took: Vec<Duration> = runtime.block_on(async {
        let connections: Vec<_> = (0..kind.connections)
            .map(|_| tokio::spawn(calls(address, body.clone(), started + time)))
            .collect();
        let mut all = Vec::new();
        for connection in connections {
            all.extend(connection.await.expect("calls that succeed"));
        }
        all
    });
    let elapsed = started.elapsed().as_secs_f64();
    took.sort();
    Seen {
        per_second: (took.len() * kind.events) as f64 / elapsed,
        median: took.get(took.len() / 2).copied().unwrap_or_default(),
    }
}

/// The durations of the calls over one connection.
async fn calls(address: SocketAddr, body: Bytes, until: Instant) -> Vec<Duration> {
    let stream = tokio::net::TcpStream::connect(address)
        .await
        .expect("a connection");
    stream.set_nodelay(true).expect("a socket");
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .expect("a handshake");
    tokio::spawn(connection);
    let mut took = Vec::new();
    while Instant::now() < until {
        let request = Request::post("/v1/chat/completions")
            .header("host", address.to_string())
            .header("content-type", "application/json")
            .body(Full::new(body.clone()))
            .expect("a request");
        let sent = Instant::now();
        let response = sender.send_request(request).await.expect("a response");
        assert!(response.status().is_success(), "{}", response.status());
        let mut body = response.into_body();
        while let Some(frame) = body.frame().await {
            frame.expect("a whole body");
        }
        took.push(sent.elapsed());
    }
    took
}
