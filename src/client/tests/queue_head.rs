//! The head of the queue, its constraint and its time: those of the folded events against the limiter's own answer.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::rig::{Rig, millis, secs, steady, tick, warm};
use super::script::{Reply, Step, error};
use crate::client::{CallContext, CallStream};
use crate::event::{BucketLevel, CallId, Constraint, UserId};
use crate::settings::{Bucket, Policy, QueueOrder};
use crate::state::{QueueHead, State, Status};
use crate::time::Timestamp;

/// The policy of a world; small buckets, so that each of them holds calls.
fn policies() -> impl Strategy<Value = Policy> {
    let bucket = |capacities: std::ops::Range<u64>| {
        (capacities, 1_u64..8).prop_map(|(capacity, refill)| Bucket {
            capacity,
            refill: refill * capacity.div_ceil(8),
            per: secs(1),
        })
    };
    let own = prop_oneof![
        Just((None, None)),
        bucket(1..4).prop_map(|requests| (Some(requests), None)),
        bucket(270..500).prop_map(|tokens| (None, Some(tokens))),
        (bucket(1..4), bucket(270..500)).prop_map(|(requests, tokens)| (Some(requests), Some(tokens))),
    ];
    (bucket(1..6), bucket(300..2000), 1_u32..9, any::<bool>(), own).prop_map(
        |(requests, tokens, concurrency, fair, (own, own_tokens))| {
            let mut policy = steady();
            policy.breaker.enabled = false;
            policy.limit.requests = requests;
            policy.limit.tokens = tokens;
            policy.limit.concurrency = concurrency;
            policy.limit.max_waiters = 8;
            policy.limit.order = if fair { QueueOrder::Fair } else { QueueOrder::Fifo };
            policy.limit.each_user.requests = own;
            policy.limit.each_user.tokens = own_tokens;
            policy
        },
    )
}

/// An event in a world.
#[derive(Clone, Debug)]
enum Deed {
    Call { user: u8, tokens: u16, prompt: u8 },
    Leave(u8),
    Apply(Box<Policy>),
    Wait(u64),
}

fn deeds() -> impl Strategy<Value = Vec<Deed>> {
    let call = (0_u8..3, 10_u16..250, 0_u8..12);
    let deed = prop_oneof![
        8 => call.prop_map(|(user, tokens, prompt)| Deed::Call { user, tokens, prompt }),
        2 => any::<u8>().prop_map(Deed::Leave),
        1 => policies().prop_map(|policy| Deed::Apply(Box::new(policy))),
        6 => (0_u64..400).prop_map(Deed::Wait),
    ];
    prop::collection::vec(deed, 5..40)
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let slow = |after| Reply::says(&["a", "b"]).after(millis(after)).into();
    let step = prop_oneof![
        6 => (5_u64..900).prop_map(slow),
        1 => Just(error(503, "x", "busy").into()),
        1 => Just(error(429, "x", "later").header("retry-after", "1").into()),
        1 => Just(error(429, "x", "slow down").into()),
    ];
    prop::collection::vec(step, 0..40)
}

/// A world and the state folded from its events so far.
struct World {
    rig: Rig,
    state: State,
    folded: usize,
    /// The constraints that held a head.
    seen: BTreeSet<Constraint>,
}

impl World {
    /// Folds what is new, and compares.
    fn compare(&mut self) {
        let guards = self.rig.client.core.lock();
        let events = self.rig.events();
        for event in events.iter().skip(self.folded) {
            self.state.apply(event);
        }
        self.folded = events.len();
        let now = self.rig.now();
        let Some((call, next)) = guards.next_admission(now) else {
            assert_eq!(guards.limiter.waiting(), 0);
            assert!(self.state.limit.waiters.is_empty() && self.state.limit.head.is_none());
            return;
        };
        // a head that nothing holds is admitted as soon as its task runs
        let Some(call) = call.filter(|_| next.until.is_none_or(|until| until > now)) else {
            return;
        };
        let head = QueueHead {
            call,
            constraint: next.constraint,
            ready_at: next.until,
        };
        assert_eq!(self.state.limit.held_head(now), Some(head), "at {now}");
        assert_eq!(self.state.limit.waiters.len() as u32, guards.limiter.waiting());
        self.seen.insert(next.constraint);
        match self.state.status(now) {
            Status::Waiting { head, next, .. } => {
                assert_eq!(head, Some((call, self.state.limit.head.unwrap().constraint)));
                assert_eq!(next, self.state.limit.head.unwrap().ready_at);
            }
            // calls may be backing off because the server asked for a pause
            Status::Paused { until } => assert!(until > now),
            Status::Failing { .. } | Status::Storm(_) => {}
            other => panic!("{other:?}"),
        }
        for waiter in self.state.limit.waiters.keys() {
            let row = self.state.waits_for(*waiter, now);
            let user = &self.state.calls.recent[waiter].user;
            let own = guards.limiter.user_levels(now, user);
            let needs = self.state.limit.waiters[waiter].needs;
            let short = own.is_some_and(|own| {
                let full = |level: Option<BucketLevel>, units: u64| {
                    level.is_none_or(|level| {
                        level
                            .ready_at(units.min(level.capacity))
                            .is_some_and(|at| at <= now)
                    })
                };
                !full(own.requests, 1) || !full(own.tokens, needs)
            });
            let is_own = matches!(row, Some(Constraint::UserRequests | Constraint::UserTokens));
            if *waiter == call {
                assert_eq!(row, Some(next.constraint));
            } else {
                assert_eq!(is_own, short, "{waiter} {row:?} at {now}");
                assert!(is_own || row.is_none_or(|row| row == next.constraint));
            }
        }
    }

    /// Lets tasks run and time pass in small steps.
    async fn pass(&mut self, mut left: u64) {
        loop {
            for _ in 0..6 {
                tokio::task::yield_now().await;
                self.compare();
            }
            if left == 0 {
                return;
            }
            let step = left.min(17);
            self.rig.sleep(millis(step)).await;
            left -= step;
        }
    }
}

async fn live(policy: Policy, script: Vec<Step>, deeds: Vec<Deed>) -> BTreeSet<Constraint> {
    let rig = Rig::new(policy.clone());
    rig.upstream.push(script);
    let mut world = World {
        rig,
        state: State::default(),
        folded: 0,
        seen: BTreeSet::new(),
    };
    // the client emits a policy only when it is applied
    world.rig.client.apply(policy);
    let mut calls: Vec<CallStream> = Vec::new();
    for deed in deeds {
        match deed {
            Deed::Call { user, tokens, prompt } => {
                let context = CallContext {
                    user: UserId::new(["ana", "ben", "cleo"][usize::from(user)]),
                    ..CallContext::default()
                };
                let request = warm(&format!("prompt {prompt}")).max_tokens(u32::from(tokens));
                calls.push(world.rig.client.call(&request, context));
            }
            Deed::Leave(which) if !calls.is_empty() => {
                let which = usize::from(which) % calls.len();
                drop(calls.swap_remove(which));
            }
            Deed::Leave(_) => {}
            Deed::Apply(policy) => world.rig.client.apply(*policy),
            Deed::Wait(time) => world.pass(time).await,
        }
        world.pass(0).await;
    }
    world.pass(1500).await;
    drop(calls);
    world.pass(0).await;
    world.seen
}

#[test]
fn the_state_names_the_head_that_the_limiter_admits_next() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .unwrap();
    let seen = std::cell::RefCell::new(BTreeSet::new());
    let config = ProptestConfig {
        failure_persistence: None,
        ..ProptestConfig::with_cases(24)
    };
    let mut runner = proptest::test_runner::TestRunner::new_with_rng(
        config,
        proptest::test_runner::TestRng::deterministic_rng(proptest::test_runner::RngAlgorithm::ChaCha),
    );
    let worlds = (policies(), steps(), deeds());
    let result = runner.run(&worlds, |(policy, script, deeds)| {
        seen.borrow_mut()
            .extend(runtime.block_on(live(policy, script, deeds)));
        Ok(())
    });
    result.unwrap_or_else(|error| panic!("{error}"));
    let seen = seen.into_inner();
    assert_eq!(seen.len(), 6, "held a head in no world: all but {seen:?}");
}

/// Slots are free and the tokens are short: tokens are named, also for calls that were queued for a slot.
#[tokio::test(start_paused = true)]
async fn tokens_are_named_when_they_are_short_and_slots_are_free() {
    let mut policy = steady();
    policy.limit.concurrency = 2;
    policy.limit.tokens = Bucket {
        capacity: 1000,
        refill: 100,
        per: secs(1),
    };
    policy.timeouts.headers = secs(1);
    policy.retry.attempts = 1;
    let rig = Rig::new(policy.clone());
    rig.client.apply(policy);
    rig.upstream.push([Step::Hang, Step::Hang]);
    let request = |n: u32| warm(&format!("{n}")).max_tokens(450);
    let calls: Vec<CallStream> = (0..4).map(|n| rig.call(&request(n))).collect();
    tick().await;
    let named = || {
        let mut state = State::default();
        rig.events().iter().for_each(|event| state.apply(event));
        let rows = [CallId(3), CallId(4)].map(|call| state.waits_for(call, rig.now()));
        (state.status(rig.now()), rows)
    };
    let waiting = |constraint, next: Option<f64>| Status::Waiting {
        calls: 2,
        head: Some((CallId(3), constraint)),
        next: next.map(Timestamp::from_secs_f64),
    };
    let both = |constraint| [Some(constraint); 2];
    assert_eq!(
        named(),
        (waiting(Constraint::Slots, None), both(Constraint::Slots))
    );
    // both attempts time out; their reservations stay charged, because the server may have done the work
    rig.sleep(millis(1500)).await;
    tick().await;
    let (status, rows) = named();
    let Status::Waiting { next: Some(next), .. } = status else {
        panic!("{status:?}");
    };
    assert_eq!(status, waiting(Constraint::Tokens, Some(next.as_secs_f64())));
    assert_eq!(rows, both(Constraint::Tokens));
    rig.sleep(rig.now().until(next)).await;
    tick().await;
    let sent = rig.attempt_times();
    assert_eq!(
        sent.last(),
        Some(&next.as_secs_f64()),
        "it is sent when the screen says"
    );
    for call in calls {
        let _ended = call.finish().await;
    }
    rig.done().await;
}
