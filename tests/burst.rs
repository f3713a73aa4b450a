//! A burst of 10,000 calls in virtual time: each has one fate, the counts add up, and everything that grew shrinks
//! again.

#![expect(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a test fails by panicking, and its viewer ends with it"
)]

use std::sync::Arc;
use std::time::Duration;

use seawall::event::{BurstUsers, Command, Event, Fate};
use seawall::session::bus::{Bus, Received};
use seawall::session::{LocalSession, SessionConfig};
use seawall::settings::{Bucket, FaultProfile, Policy};
use seawall::state::State;
use seawall::time::Clock;

const CALLS: u32 = 10_000;

/// The state after a burst.
struct Left {
    /// The state of the bus.
    canonical: State,
    /// The state of a viewer that reads events as the screen does.
    viewed: State,
    /// Running flights.
    flights: usize,
    clock: Clock,
}

/// Sends the burst, with `prompts` in turn; with none, with distinct ones.
async fn burst(policy: Policy, faults: Option<FaultProfile>, prompts: u32) -> Left {
    let clock = Clock::start();
    let config = SessionConfig {
        policy,
        faults_on: faults.is_some(),
        faults: faults.unwrap_or_default(),
        // a short answer ends as a long one does
        answer_tokens: 1,
        prompts: (0..prompts).map(|number| format!("question {number}")).collect(),
        ..SessionConfig::default()
    };
    let LocalSession {
        env,
        bus,
        client,
        engine,
        ..
    } = LocalSession::start(&config, clock, Bus::new(clock));
    let viewer = tokio::spawn(view(bus.clone()));
    engine.execute(Command::Burst {
        calls: CALLS,
        users: BurstUsers::All,
    });
    env.join().await;
    let (canonical, flights) = (bus.with_state(State::clone), client.held().flights);
    drop((engine, client, bus));
    Left {
        canonical,
        viewed: viewer.await.unwrap(),
        flights,
        clock,
    }
}

/// Applies events as they come, and resynchronises whenever the viewer has lagged.
async fn view(bus: Bus) -> State {
    let (mut state, mut tail) = bus.subscribe();
    drop(bus);
    let mut batch: Vec<Arc<Event>> = Vec::new();
    loop {
        match tail.recv_many(&mut batch, 256).await {
            Received::Events(_) => batch.drain(..).for_each(|event| state.apply(&event)),
            Received::Lagged(_) => {
                batch.drain(..).for_each(|event| state.apply(&event));
                match tail.resubscribe() {
                    Some(copy) => state = copy,
                    None => return state,
                }
            }
            Received::Closed => return state,
        }
    }
}

/// Nothing is shared and nothing is rejected: every call has its own answer.
fn all_pass() -> Policy {
    let mut policy = Policy::default();
    let wide = Bucket {
        capacity: 10_000_000,
        refill: 1_000_000,
        per: Duration::from_secs(1),
    };
    policy.limit.requests = wide.clone();
    policy.limit.tokens = wide;
    policy.limit.concurrency = CALLS;
    policy.cache.enabled = false;
    policy.flight.enabled = false;
    policy
}

fn check(left: &Left) {
    let calls = &left.canonical.calls;
    let burst = calls.burst().unwrap();
    assert!(burst.all_made);
    for counts in [&calls.totals, &burst.counts] {
        assert_eq!(counts.started, u64::from(CALLS));
        assert_eq!(counts.ended.iter().sum::<u64>(), u64::from(CALLS), "{counts:?}");
        assert_eq!(
            (counts.running(), counts.queued, counts.waiting, counts.streaming),
            (0, 0, 0, 0)
        );
    }
    // the remembered calls are bounded
    assert!(calls.recent.len() <= 600, "{} calls", calls.recent.len());
    assert!(calls.flights.len() <= calls.recent.len());
    assert!(left.canonical.limit.waiters.is_empty());
    assert!(left.canonical.log.lines.len() <= 10_000);
    assert_eq!(left.flights, 0);
    // a viewer that lagged shows the same in the end
    assert!(left.viewed == left.canonical);
    // once the buckets are full, the screen draws no more
    let later = left.clock.now() + Duration::from_hours(1);
    assert_eq!(left.canonical.next_change(later), None);
}

#[tokio::test(start_paused = true)]
async fn under_the_default_policy_most_share_the_flights_of_a_few() {
    let left = burst(Policy::default(), None, 80).await;
    check(&left);
    let totals = &left.canonical.calls.totals;
    assert!(totals.ended(Fate::Shared) > 9_000, "{totals:?}");
}

#[tokio::test(start_paused = true)]
async fn where_nothing_is_shared_all_are_answered() {
    let left = burst(all_pass(), None, 0).await;
    check(&left);
    let totals = &left.canonical.calls.totals;
    assert_eq!(totals.ended(Fate::Answered), u64::from(CALLS));
    assert_eq!(left.canonical.retry.attempts, u64::from(CALLS));
}

#[tokio::test(start_paused = true)]
async fn into_an_outage_they_end_in_many_ways_and_still_add_up() {
    let mut outage = FaultProfile::default();
    outage.unavailable = 0.3;
    outage.reset = 0.1;
    outage.cut = 0.1;
    let left = burst(all_pass(), Some(outage), 0).await;
    check(&left);
    let totals = &left.canonical.calls.totals;
    let ways = totals.ended.iter().filter(|count| **count > 0).count();
    assert!(ways >= 3, "{totals:?}");
}
