//! Bursts and loads in virtual time, and a load over sockets.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::*;
use crate::event::{BreakerState, Command, Event, Fate};
use crate::session::bus::EventSink;
use crate::session::source::Progress;
use crate::session::{LocalSession, Session, SessionConfig};
use crate::settings::Policy;
use crate::simulator::LocalTransport;
use crate::time::Clock;

type Events = Arc<Mutex<Vec<Arc<Event>>>>;

/// A session in memory and its events.
struct Bench {
    session: LocalSession<LocalTransport, EventSink>,
    events: Events,
}

impl Bench {
    fn start(config: &SessionConfig) -> Self {
        let events = Events::default();
        let tapped = Arc::clone(&events);
        let clock = Clock::start();
        let sink = EventSink::new(clock, move |event| tapped.lock().unwrap().push(Arc::clone(event)));
        let session = LocalSession::start(config, clock, sink);
        Self { session, events }
    }

    fn with_seed(seed: u64) -> Self {
        Self::start(&SessionConfig {
            seed,
            ..SessionConfig::default()
        })
    }

    fn execute(&self, command: Command) {
        self.session.engine.execute(command);
    }

    fn load(&self, text: &str) {
        let load = crate::event::read_load(text).unwrap();
        self.execute(Command::SetLoad { load });
    }

    async fn sleep(&self, seconds: f64) {
        self.session
            .env
            .clock
            .sleep(Duration::from_secs_f64(seconds))
            .await;
    }

    fn events(&self) -> Vec<Arc<Event>> {
        self.events.lock().unwrap().clone()
    }

    /// The times of the calls of a load, in seconds since its start.
    fn calls_of(&self, number: u64) -> Vec<f64> {
        let events = self.events();
        let is_start =
            |event: &&Arc<Event>| matches!(event.kind, EventKind::LoadStarted { load, .. } if load == number);
        let start = events.iter().find(is_start).unwrap().at;
        let of_load = |event: &Event| {
            let EventKind::CallStarted { origin, .. } = event.kind else {
                return None;
            };
            (origin == Origin::Load { load: number }).then(|| event.at.since(start).as_secs_f64())
        };
        events.iter().filter_map(|event| of_load(event)).collect()
    }

    /// The ends of loads: number, calls, skipped.
    fn ends(&self) -> Vec<(u64, u64, u64)> {
        let end = |event: &Arc<Event>| match event.kind {
            EventKind::LoadEnded { load, calls, skipped } => Some((load, calls, skipped)),
            _ => None,
        };
        self.events().iter().filter_map(end).collect()
    }

    /// The number of calls with this fate since the event of this position.
    fn fates(&self, since: usize, fate: Fate) -> usize {
        let events = self.events();
        let with = |event: &&Arc<Event>| matches!(event.kind, EventKind::CallEnded { fate: ended, .. } if ended == fate);
        events.iter().skip(since).filter(with).count()
    }
}

fn burst(calls: u32) -> Command {
    let users = BurstUsers::One(UserId::new("ana"));
    Command::Burst { calls, users }
}

/// A policy without a limiter.
fn unlimited() -> SessionConfig {
    let mut policy = Policy::default();
    policy.limit.enabled = false;
    SessionConfig {
        policy,
        ..SessionConfig::default()
    }
}

#[tokio::test(start_paused = true)]
async fn the_calls_of_a_load_are_made_at_their_times_without_drift() {
    for text in ["10/s 60s", "30/m 1m", "2..20/s 30s", "20..0.5/s 20s"] {
        let bench = Bench::start(&unlimited());
        bench.load(text);
        bench.session.engine.settled().await;
        let plan: Load = text.parse().unwrap();
        let calls = bench.calls_of(1);
        assert_eq!(Some(calls.len() as u64), plan.total(), "{text}");
        for (call, at) in calls.iter().enumerate() {
            let due = plan.due(call as f64).unwrap().as_secs_f64();
            assert!(
                (due..due + 0.002).contains(at),
                "{text}: call {call} at {at}, due {due}"
            );
        }
        assert_eq!(bench.ends(), [(1, calls.len() as u64, 0)], "{text}");
        let events = bench.events();
        let last = |kind: fn(&EventKind) -> bool| events.iter().rfind(|event| kind(&event.kind)).unwrap().at;
        let lasted = last(|kind| matches!(kind, EventKind::LoadEnded { .. })).since(Timestamp::ZERO);
        assert!(
            lasted.abs_diff(plan.lasts.unwrap()) < Duration::from_millis(2),
            "{text}: {lasted:?}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_poisson_load_has_exponential_gaps_of_its_rate() {
    let bench = Bench::start(&unlimited());
    bench.load("20/s 50s poisson");
    bench.session.engine.settled().await;
    let calls = bench.calls_of(1);
    // 1,000 calls: within five standard deviations
    assert!((842..1_158).contains(&calls.len()), "{}", calls.len());
    let gaps: Vec<f64> = calls.windows(2).map(|pair| pair[1] - pair[0]).collect();
    let mean = gaps.iter().sum::<f64>() / gaps.len() as f64;
    let variance = gaps.iter().map(|gap| (gap - mean).powi(2)).sum::<f64>() / gaps.len() as f64;
    // the standard deviation of an exponential distribution is its mean
    assert!((variance.sqrt() / mean - 1.0).abs() < 0.15, "{mean} {variance}");
}

#[tokio::test(start_paused = true)]
async fn a_load_ends_when_it_is_stopped_or_replaced() {
    let bench = Bench::with_seed(7);
    bench.load("5/s");
    bench.sleep(2.05).await;
    bench.load("10/s");
    bench.sleep(1.05).await;
    bench.load("off");
    bench.sleep(5.0).await;
    assert_eq!(bench.ends(), [(1, 11, 0), (2, 11, 0)]);
    assert_eq!((bench.calls_of(1).len(), bench.calls_of(2).len()), (11, 11));
    assert_eq!(bench.fates(0, Fate::Cancelled), 0, "its calls go on");

    bench.load("5/s");
    bench.sleep(1.05).await;
    bench.execute(Command::CancelAll);
    bench.session.engine.settled().await;
    assert_eq!(bench.ends().last(), Some(&(3, 6, 0)));
    assert!(bench.fates(0, Fate::Cancelled) > 0);
    // an invalid load is reported and leaves the running one
    bench.load("1/s");
    let load = Load {
        rate: f64::NAN,
        ..Load::default()
    };
    bench.execute(Command::SetLoad { load: Some(load) });
    bench.sleep(1.5).await;
    assert_eq!((bench.calls_of(4).len(), bench.ends().len()), (2, 3));
    let notice = |event: &Arc<Event>| matches!(&event.kind, EventKind::Notice { text } if text.contains("load not started"));
    assert!(bench.events().iter().any(notice));
}

#[tokio::test(start_paused = true)]
async fn a_load_skips_calls_while_a_thousand_run_or_after_a_suspension() {
    let mut config = unlimited();
    config.capacity = Some(crate::settings::Capacity {
        parallel: 1,
        queue: 5_000,
    });
    config.policy.timeouts.headers = Duration::from_mins(5);
    let bench = Bench::start(&config);
    bench.load("200/s 10s repeat 0%");
    bench.sleep(10.5).await;
    let [(1, calls, skipped)] = bench.ends()[..] else {
        panic!("{:?}", bench.ends())
    };
    assert_eq!(calls + skipped, 2_000);
    assert!((1_000..1_100).contains(&calls), "{calls}");

    let bench = Bench::with_seed(7);
    bench.load("5/s 60s");
    bench.sleep(10.05).await;
    bench.session.env.clock.skip(Duration::from_secs(20)).await;
    bench.session.engine.settled().await;
    let [(1, calls, skipped)] = bench.ends()[..] else {
        panic!("{:?}", bench.ends())
    };
    // up to a second late is made up for
    assert_eq!(calls + skipped, 300);
    assert!((94..=96).contains(&skipped), "{skipped}");
}

#[tokio::test(start_paused = true)]
async fn about_four_of_a_second_burst_of_ten_come_from_the_cache() {
    for seed in 0..20 {
        let bench = Bench::with_seed(seed);
        bench.execute(burst(10));
        bench.session.engine.settled().await;
        assert_eq!(bench.fates(0, Fate::Answered), 10, "seed {seed}");
        let second = bench.events().len();
        bench.execute(burst(10));
        bench.session.engine.settled().await;
        assert_eq!(bench.fates(second, Fate::Hit), 4, "seed {seed}");
        assert_eq!(bench.fates(second, Fate::Answered), 6, "seed {seed}");
    }
}

#[tokio::test(start_paused = true)]
async fn three_bursts_of_fifty_use_up_the_requests_and_the_rest_waits_its_turn() {
    for seed in 0..4 {
        let bench = Bench::with_seed(seed);
        for _ in 0..3 {
            bench.execute(burst(50));
            bench.sleep(0.5).await;
        }
        bench.session.engine.settled().await;
        let admitted = bench.events().into_iter().filter_map(|event| match event.kind {
            EventKind::LimitAdmitted { requests, .. } => Some((event.at, requests.level_at(event.at))),
            _ => None,
        });
        let admitted: Vec<(Timestamp, f64)> = admitted.collect();
        let empty = admitted.iter().find(|(_, level)| *level < 1.0).unwrap().0;
        let after = admitted
            .iter()
            .filter(|(at, _)| *at > empty && *at <= empty + Duration::from_secs(4));
        // the rest leaves as the bucket is refilled: 5 per second
        assert!((19..=21).contains(&after.count()), "seed {seed}");
        assert_eq!(bench.fates(0, Fate::RateLimited), 0, "seed {seed}");
        assert_eq!(bench.fates(0, Fate::Answered), 150, "seed {seed}");
        assert!(empty < Timestamp::from_secs_f64(12.0), "seed {seed}: {empty}");
    }
}

#[tokio::test(start_paused = true)]
async fn bursts_overlap() {
    let bench = Bench::with_seed(7);
    bench.execute(burst(50));
    bench.execute(burst(50));
    bench.sleep(0.001).await;
    let events = bench.events();
    let calls = |number: u64| {
        let of_it = move |event: &&Arc<Event>| matches!(event.kind, EventKind::CallStarted { origin, .. } if origin == Origin::Burst { burst: number });
        let prompts = events.iter().filter(of_it).map(|event| match &event.kind {
            EventKind::CallStarted { fingerprint, .. } => fingerprint.to_string(),
            _ => String::new(),
        });
        prompts.collect::<std::collections::BTreeSet<_>>().len()
    };
    assert_eq!((calls(1), calls(2)), (50, 50));
    bench.execute(Command::CancelAll);
    bench.session.engine.settled().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_load_over_sockets_makes_its_calls() {
    let session = Session::start(SessionConfig::default()).await.unwrap();
    let mut source = session.watch();
    let load = crate::event::read_load("50/s 1s").unwrap();
    session.engine().execute(Command::SetLoad { load });
    while source
        .state()
        .session
        .load
        .as_ref()
        .is_none_or(|load| load.ended_at.is_none())
    {
        assert!(!matches!(source.advance().await, Progress::Ended));
    }
    session.engine().settled().await;
    let calls = session.bus().with_state(|state| state.calls.totals.started);
    assert_eq!(calls, 50);
    session.shutdown().await;
}

/// The first screen: `L`, wait 5 s, `F`: open in about 3 s; `F` again: closed in about 20 s.
#[tokio::test(start_paused = true)]
async fn a_load_and_an_outage_open_the_breaker_and_the_repair_closes_it() {
    for seed in 0..10 {
        let bench = Bench::start(&SessionConfig {
            seed,
            faults: crate::settings::file::load_faults("outage").unwrap(),
            ..SessionConfig::default()
        });
        bench.load("5/s");
        bench.sleep(5.0).await;
        bench.execute(Command::SetFaults { on: true });
        let broken = bench.session.env.clock.now();
        bench.sleep(20.0).await;
        bench.execute(Command::SetFaults { on: false });
        let repaired = bench.session.env.clock.now();
        bench.sleep(40.0).await;
        bench.execute(Command::Shutdown);
        bench.session.engine.settled().await;
        let moved = |state: BreakerState, after: Timestamp| {
            let events = bench.events();
            let moved = |event: &&Arc<Event>| {
                event.at >= after && matches!(event.kind, EventKind::BreakerMoved { to, .. } if to == state)
            };
            events
                .iter()
                .find(moved)
                .map(|event| event.at.since(after).as_secs_f64())
        };
        let open = moved(BreakerState::Open, broken).unwrap();
        let closed = moved(BreakerState::Closed, repaired).unwrap();
        assert!(
            open <= 6.0 && closed <= 25.0,
            "seed {seed}: open after {open}, closed after {closed}"
        );
    }
}
