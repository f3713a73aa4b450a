//! Schedules of threads that call, leave, complete and probe at once: shuttle may switch threads at every lock of
//! the client, every event and every await, and finds deadlocks.
//!
//! Each test runs under two schedulers: random, and PCT, which keeps to priorities and breaks them at a few places
//! and so finds orders that random scheduling hardly ever reaches. Seeds are fixed, so a failure repeats. By
//! default 200 schedules of each are explored; more take minutes:
//!
//! ```text
//! SEAWALL_SCHEDULES=10000 cargo test --lib schedules
//! ```
//!
//! Time is paused and jumps where a test turns the dial: a paused tokio clock that nothing else advances. Not
//! explored: memory orders (the client shares only locks and two counters), the inside of tokio's `Notify` and
//! `CancellationToken`, and panics, because shuttle's threads are coroutines of one thread and would all see the
//! panic (`sharing.rs` covers panics).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use shuttle::rand::Rng as _;
use shuttle::scheduler::{PctScheduler, RandomScheduler, Scheduler};
use shuttle::{Config, Runner, future, thread};
use tokio::runtime::{Builder, Runtime};
use tokio_util::sync::CancellationToken;

use super::retrying::refused;
use super::rig::{Rig, cold, millis, secs, steady, warm};
use super::script::{Reply, Step};
use crate::check::Checker;
use crate::client::flight::{Flight, FlightKey, Subscriber};
use crate::client::guards::FlightGuard;
use crate::client::sync::Exploration;
use crate::client::{Answer, CallContext, CallError, CallStream};
use crate::event::{
    AttemptResult, BreakerMode, BreakerState, CallId, EventKind, Fate, FlightId, LimitReject, Sample, UserId,
};
use crate::policy::fingerprint::{RequestKey, Scope};
use crate::settings::{Bucket, Policy, QueueOrder, SemanticMode, UserLimits};
use crate::time::Timestamp;

/// The outcomes of a schedule. A test names those that must occur: one that never meets its race proves nothing.
type Outcomes = BTreeSet<&'static str>;

const SEED: u64 = 0x5ea_3a11;
/// One more than the priority changes of PCT in one schedule.
const DEPTH: usize = 4;

/// The clock of a test.
struct Dial(Runtime);

impl Dial {
    fn turn(&self, rig: &Rig, by: Duration) {
        self.0.block_on(rig.env.clock.skip(by));
    }
}

fn outcomes<const N: usize>(facts: [(&'static str, bool); N]) -> Outcomes {
    facts
        .into_iter()
        .filter(|(_, is_so)| *is_so)
        .map(|(what, _)| what)
        .collect()
}

/// Runs `scenario` in many schedules; each outcome of `wanted` must occur in at least one.
fn explore(scenario: fn(&Dial) -> Outcomes, wanted: &[&'static str]) {
    let schedules = std::env::var("SEAWALL_SCHEDULES").map_or(200, |count| count.parse().unwrap());
    let mut outcomes = run(RandomScheduler::new_from_seed(SEED, schedules), scenario);
    for (what, times) in run(PctScheduler::new_from_seed(SEED, DEPTH, schedules), scenario) {
        *outcomes.entry(what).or_default() += times;
    }
    println!("{schedules} schedules twice: {outcomes:?}");
    for what in wanted {
        assert!(outcomes.contains_key(what), "no schedule led to: {what}");
    }
}

fn run(
    scheduler: impl Scheduler + 'static,
    scenario: fn(&Dial) -> Outcomes,
) -> BTreeMap<&'static str, usize> {
    let outcomes = Arc::new(Mutex::new(BTreeMap::new()));
    let tally = Arc::clone(&outcomes);
    let mut config = Config::new();
    // a debug build of the client needs more than the sixty kilobytes of the default
    config.stack_size = 512 << 10;
    let exploring = Exploration::begin();
    Runner::new(scheduler, config).run(move || {
        let runtime = Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .unwrap();
        let dial = Dial(runtime);
        // all of shuttle's threads are this one, so they find the clock too
        let entered = dial.0.enter();
        let what = scenario(&dial);
        drop(entered);
        let mut tally = tally.lock().unwrap();
        for one in what {
            *tally.entry(one).or_default() += 1;
        }
    });
    drop(exploring);
    let outcomes = outcomes.lock().unwrap();
    outcomes.clone()
}

/// A stream that lets other threads run wherever it can.
fn says(word: &str) -> Step {
    let reply = Reply::stream().pause().word(word).pause().word(" sea").pause();
    Step::Explored(reply.stop().done().pause())
}

/// Reads a few chunks, or none, and leaves.
fn leave_somewhere(mut call: CallStream) {
    let chunks = shuttle::rand::thread_rng().gen_range(0..4);
    future::block_on(async {
        for _ in 0..chunks {
            drop(call.next().await);
        }
    });
}

/// Lets other threads run for a short or long while: threads that arrive together never meet a stored answer.
fn come_late() {
    let pauses = shuttle::rand::thread_rng().gen_range(0..8);
    for _ in 1..1 << pauses {
        thread::yield_now();
    }
}

fn finish(call: CallStream) -> Result<Answer, CallError> {
    future::block_on(call.finish())
}

/// Waits for all flights. Then all resources are released, and every call has one end.
fn settle(rig: &Rig, calls: usize) {
    future::block_on(rig.env.join());
    // an instant may be read before a lock and emitted after it, and the dial turned in between
    rig.nothing_is_left(Checker::new(&rig.policy).in_real_time());
    assert_eq!(rig.fates().len(), calls, "ends");
}

/// The flight of each call.
fn carriers(rig: &Rig) -> BTreeMap<CallId, FlightId> {
    let carried = rig.find(|event| match event.kind {
        EventKind::FlightStarted { flight, .. } | EventKind::FlightJoined { flight, .. } => {
            Some((event.call?, flight))
        }
        _ => None,
    });
    carried.into_iter().collect()
}

fn count(rig: &Rig, is_it: impl Fn(&EventKind) -> bool) -> usize {
    rig.find(|event| is_it(&event.kind).then_some(())).len()
}

/// All calls that stay share at most one flight, which makes one attempt.
fn one_attempt_for_those_that_stay(rig: &Rig, staying: &BTreeSet<CallId>) {
    let carriers = carriers(rig);
    let wanted: BTreeSet<FlightId> = staying
        .iter()
        .filter_map(|call| carriers.get(call).copied())
        .collect();
    assert!(wanted.len() <= 1, "flights of the calls that stay: {wanted:?}");
    let asked = rig.find(|event| match event.kind {
        EventKind::AttemptStarted { flight, .. } if wanted.contains(&flight) => Some(flight),
        _ => None,
    });
    assert_eq!(asked.len(), wanted.len(), "attempts for the calls that stay");
}

fn the_first_leaves(call: fn(&Rig) -> CallStream) -> Outcomes {
    let rig = Rig::new(steady());
    rig.upstream.push(["one", "two", "three", "four"].map(says));
    let stayed = thread::scope(|scope| {
        scope.spawn(|| leave_somewhere(call(&rig)));
        let followers = [(); 3].map(|()| {
            scope.spawn(|| {
                come_late();
                let call = call(&rig);
                (call.call(), finish(call).unwrap())
            })
        });
        followers.map(|one| one.join().unwrap())
    });
    settle(&rig, 4);
    one_attempt_for_those_that_stay(&rig, &stayed.iter().map(|(call, _)| *call).collect());
    let texts: BTreeSet<_> = stayed.iter().map(|(_, answer)| &answer.text).collect();
    assert_eq!(texts.len(), 1, "one answer for the calls that stay: {texts:?}");
    let attempts = rig.upstream.sent().len();
    assert!(
        attempts <= 2,
        "one of the first call, if it was alone, and one of the rest"
    );
    let handed = count(&rig, |kind| matches!(kind, EventKind::FlightHandedOver { .. }));
    let answered = count(&rig, |kind| {
        matches!(
            kind,
            EventKind::AttemptEnded {
                result: AttemptResult::Succeeded { .. },
                ..
            }
        )
    });
    outcomes([
        ("handed over", handed > 0),
        ("abandoned, and sent again", attempts == 2),
        ("abandoned with its answer received", answered == 2),
        ("shared", rig.fates().contains(&Fate::Shared)),
        ("from the cache", rig.fates().contains(&Fate::Hit)),
    ])
}

const AFTER_THE_FIRST: [&str; 4] = [
    "handed over",
    "abandoned, and sent again",
    "shared",
    "from the cache",
];

#[test]
fn whenever_the_first_leaves_the_others_get_one_answer_of_one_attempt() {
    explore(
        |_| the_first_leaves(|rig| rig.call(&cold("hi"))),
        &AFTER_THE_FIRST,
    );
}

#[test]
fn whenever_the_first_with_a_key_leaves_the_others_have_one_result() {
    explore(
        |_| the_first_leaves(|rig| rig.keyed(&warm("hi"), "key")),
        &AFTER_THE_FIRST,
    );
}

fn the_owner_leaves(_: &Dial) -> Outcomes {
    let rig = Rig::new(steady());
    rig.upstream.push(["one", "two"].map(says));
    let request = cold("hi");
    let [owner, second, third] = [(); 3].map(|()| rig.call(&request));
    let texts = thread::scope(|scope| {
        scope.spawn(|| leave_somewhere(owner));
        let stays = [second, third].map(|call| scope.spawn(|| finish(call)));
        let comes = scope.spawn(|| {
            come_late();
            finish(rig.call(&request))
        });
        let texts = stays.map(|one| one.join().unwrap().unwrap().text);
        [
            texts[0].clone(),
            texts[1].clone(),
            comes.join().unwrap().unwrap().text,
        ]
    });
    settle(&rig, 4);
    assert!(texts.iter().all(|text| &**text == "one sea"), "{texts:?}");
    assert_eq!(rig.upstream.sent().len(), 1, "a call always stayed");
    let fates = rig.fates();
    outcomes([
        ("left in time", fates[0] == Fate::Cancelled),
        ("left too late", fates[0] == Fate::Answered),
        (
            "joined after it left",
            count(
                &rig,
                |kind| matches!(kind, EventKind::FlightJoined { owner, .. } if *owner != CallId(1)),
            ) > 0,
        ),
        ("from the cache", fates[3] == Fate::Hit),
    ])
}

#[test]
fn whenever_the_owner_leaves_its_flight_continues_for_the_others() {
    let wanted = [
        "left in time",
        "left too late",
        "joined after it left",
        "from the cache",
    ];
    explore(the_owner_leaves, &wanted);
}

fn all_leave(_: &Dial) -> Outcomes {
    let rig = Rig::new(steady());
    rig.upstream.push(["one", "two", "three"].map(says));
    let request = cold("hi");
    let [first, second] = [(); 2].map(|()| rig.call(&request));
    thread::scope(|scope| {
        for call in [first, second] {
            scope.spawn(|| leave_somewhere(call));
        }
        scope.spawn(|| {
            come_late();
            leave_somewhere(rig.call(&request));
        });
    });
    settle(&rig, 3);
    let fates = rig.fates();
    let flights: BTreeSet<FlightId> = carriers(&rig).into_values().collect();
    outcomes([
        ("no call was answered", fates == [Fate::Cancelled; 3]),
        (
            "completed before the last one left",
            fates.contains(&Fate::Shared),
        ),
        ("another flight started", flights.len() == 2),
        ("nothing was sent", rig.upstream.sent().is_empty()),
    ])
}

#[test]
fn when_the_last_one_leaves_while_the_flight_completes_there_is_one_end() {
    let wanted = [
        "no call was answered",
        "completed before the last one left",
        "another flight started",
    ];
    explore(all_leave, &wanted);
}

fn deadlines_pass(dial: &Dial) -> Outcomes {
    let rig = Rig::new(steady());
    rig.upstream.push(["one", "two", "three"].map(says));
    let request = cold("hi");
    let hurried = rig.call_within(&request, millis(80));
    let patient = rig.call_within(&request, millis(160));
    let stayed = thread::scope(|scope| {
        scope.spawn(|| drop(finish(hurried)));
        scope.spawn(|| leave_somewhere(patient));
        scope.spawn(|| {
            for _ in 0..2 {
                come_late();
                dial.turn(&rig, millis(80));
            }
        });
        let stays = scope.spawn(|| {
            come_late();
            finish(rig.call(&request))
        });
        stays.join().unwrap()
    });
    settle(&rig, 3);
    let text = stayed.unwrap().text;
    assert!(text.ends_with(" sea"), "{text}");
    let fates = rig.fates();
    let late = |fate| matches!(fate, Fate::Failed | Fate::Interrupted);
    outcomes([
        ("out of time", late(fates[0])),
        ("in time", fates[0] == Fate::Answered),
        ("both out of time", late(fates[0]) && late(fates[1])),
        (
            "left to the late call",
            late(fates[0]) && fates[2] == Fate::Answered && &*text == "one sea",
        ),
        ("started again", &*text == "two sea"),
    ])
}

#[test]
fn deadlines_may_pass_while_others_come_leave_and_complete() {
    let wanted = [
        "out of time",
        "in time",
        "both out of time",
        "left to the late call",
        "started again",
    ];
    explore(deadlines_pass, &wanted);
}

/// A breaker that one failure opens and one good probe closes, and no retries.
fn touchy() -> Policy {
    let mut policy = steady();
    policy.retry.attempts = 1;
    policy.breaker.consecutive = 1;
    policy.breaker.successes_to_close = 1;
    // the dial may be turned between a decision and its event, by less than the checker tolerates
    policy.breaker.open = millis(50);
    policy
}

/// At most as many probes are out per half-open generation as close it, and no permit is lost.
fn permits_are_released(rig: &Rig) {
    let (mut out, mut probes) = (0, BTreeMap::new());
    for event in rig.events() {
        match event.kind {
            EventKind::BreakerAdmitted {
                generation, probe, ..
            } => {
                out += 1;
                let running = probes.entry(generation).or_insert(0);
                *running += u32::from(probe);
                assert!(
                    *running <= rig.policy.breaker.successes_to_close,
                    "{running} probes"
                );
            }
            EventKind::BreakerRecorded {
                generation, probe, ..
            } => {
                out -= 1;
                let running = probes.entry(generation).or_insert(0);
                *running = running.checked_sub(u32::from(probe)).expect("an unknown probe");
            }
            _ => {}
        }
    }
    assert_eq!(out, 0, "permits that were not released");
}

/// The breaker closes again for a recovered upstream.
fn recovers(dial: &Dial, rig: &Rig) {
    dial.turn(rig, rig.policy.breaker.open_max + secs(1));
    rig.upstream.forget_rest();
    for _ in 0..rig.policy.breaker.successes_to_close {
        rig.upstream.push([says("well")]);
        assert_eq!(finish(rig.call(&warm("hi"))).unwrap().text, "well sea");
    }
    let mut guards = rig.client.core.lock();
    let (place, _) = guards.breakers.place(rig.now(), None);
    let state = guards.breakers.at(place).breaker().state();
    drop(guards);
    assert_eq!(state, BreakerState::Closed);
}

fn probes_race(dial: &Dial) -> Outcomes {
    let mut random = shuttle::rand::thread_rng();
    let mut policy = touchy();
    policy.breaker.successes_to_close = random.gen_range(1..=2);
    let rig = Rig::new(policy);
    rig.upstream.push([refused()]);
    finish(rig.call(&warm("hi"))).unwrap_err();
    dial.turn(&rig, rig.policy.breaker.open);
    let mut steps = vec![says("good"), refused(), says("also good"), says("good too")];
    steps.swap(0, random.gen_range(0..3));
    rig.upstream.push(steps);
    thread::scope(|scope| {
        for leaves in [true, false, false, false] {
            let rig = &rig;
            scope.spawn(move || {
                come_late();
                let call = rig.call(&warm("hi"));
                if leaves {
                    leave_somewhere(call);
                } else {
                    drop(finish(call));
                }
            });
        }
        scope.spawn(|| {
            come_late();
            // a probe that failed has doubled it
            dial.turn(&rig, rig.policy.breaker.open * 2);
        });
    });
    future::block_on(async {
        while rig.env.running_tasks() > 0 {
            future::yield_now().await;
        }
    });
    permits_are_released(&rig);
    let fates = rig.fates();
    let samples = rig.find(|event| match event.kind {
        EventKind::BreakerRecorded {
            probe: true, sample, ..
        } => Some(sample),
        _ => None,
    });
    recovers(dial, &rig);
    settle(
        &rig,
        5 + usize::try_from(rig.policy.breaker.successes_to_close).unwrap(),
    );
    permits_are_released(&rig);
    outcomes([
        (
            "refused while the probe was out",
            fates.contains(&Fate::CircuitOpen),
        ),
        ("a good probe", samples.contains(&Sample::Ok)),
        ("a failed probe", samples.contains(&Sample::Failed)),
        ("a dropped probe", samples.contains(&Sample::Neutral)),
        ("a second probe", samples.len() > 1),
    ])
}

#[test]
fn one_probe_at_a_time_however_it_ends() {
    let wanted = [
        "refused while the probe was out",
        "a good probe",
        "a failed probe",
        "a dropped probe",
        "a second probe",
    ];
    explore(probes_race, &wanted);
}

/// A flight without a task, for permits that a test acquires itself.
fn idle_flight(number: u64) -> Flight {
    let owner = Subscriber {
        call: CallId(number),
        started_at: Timestamp::ZERO,
        deadline: Timestamp::MAX,
        attempts: 0,
        origin: crate::event::Origin::Library,
    };
    let scope = Scope {
        user: &UserId::new("default"),
        credential: 0,
        upstream: "scripted",
        route: "chat/completions",
    };
    let key = RequestKey::new(&scope, &warm("hi"));
    Flight::new(
        FlightId(number),
        FlightKey::Alone(CallId(number)),
        key,
        owner,
        &CancellationToken::new(),
    )
}

fn permits_race(dial: &Dial) -> Outcomes {
    let mut policy = touchy();
    policy.breaker.probe_lease = secs(7);
    let rig = Rig::new(policy);
    let (rig_ref, core, policy) = (&rig, &rig.client.core, &rig.policy);
    thread::scope(|scope| {
        for number in 1..=3 {
            scope.spawn(move || {
                let flight = Arc::new(idle_flight(number));
                for _ in 0..3 {
                    let mut guard = FlightGuard::new(core, &flight, policy, 0, None);
                    if guard.acquire_breaker().is_err() {
                        thread::yield_now();
                        continue;
                    }
                    thread::yield_now();
                    match shuttle::rand::thread_rng().gen_range(0..4) {
                        0 => guard.settle_breaker(Sample::Ok, None),
                        1 => guard.settle_breaker(Sample::Failed, None),
                        2 => {
                            guard.emit_first_token(rig_ref.now(), 1, millis(1));
                            thread::yield_now();
                            guard.settle_breaker(Sample::Failed, None);
                        }
                        _ => drop(guard),
                    }
                }
            });
        }
        scope.spawn(|| {
            for _ in 0..3 {
                come_late();
                dial.turn(&rig, rig.policy.breaker.open);
            }
        });
    });
    permits_are_released(&rig);
    let mut outcomes = Outcomes::new();
    for event in rig.events() {
        match event.kind {
            EventKind::BreakerRecorded { sample, probe, .. } => {
                outcomes.extend((sample == Sample::Late).then_some("late"));
                outcomes.extend((probe && sample == Sample::Failed).then_some("a failed probe"));
                outcomes.extend((probe && sample == Sample::Neutral).then_some("a dropped probe"));
            }
            EventKind::BreakerMoved { to, .. } => {
                outcomes.extend((to == BreakerState::Closed).then_some("closed again"));
            }
            _ => {}
        }
    }
    recovers(dial, &rig);
    future::block_on(rig.env.join());
    outcomes
}

#[test]
fn permits_are_released_however_they_end() {
    explore(
        permits_race,
        &["late", "a failed probe", "a dropped probe", "closed again"],
    );
}

fn one_slot(_: &Dial) -> Outcomes {
    let mut policy = steady();
    policy.limit.concurrency = 1;
    policy.limit.max_waiters = 2;
    let rig = Rig::new(policy);
    rig.upstream.push(["one", "two", "three", "four"].map(says));
    let calls = [(); 4].map(|()| rig.call(&warm("hi")));
    let mut position = 0;
    thread::scope(|scope| {
        for call in calls {
            let leaves = position < 2;
            position += 1;
            scope.spawn(move || {
                if leaves {
                    leave_somewhere(call);
                } else if let Err(failed) = finish(call) {
                    assert_eq!(failed.fate, Fate::RateLimited, "{failed}");
                }
            });
        }
    });
    settle(&rig, 4);
    outcomes([
        (
            "queued",
            count(&rig, |kind| matches!(kind, EventKind::LimitQueued { .. })) > 0,
        ),
        (
            "left the queue",
            count(&rig, |kind| matches!(kind, EventKind::LimitLeft { .. })) > 0,
        ),
        ("rejected", rig.fates().contains(&Fate::RateLimited)),
        ("all were answered", rig.fates() == [Fate::Answered; 4]),
    ])
}

#[test]
fn when_a_waiter_leaves_the_queue_the_next_one_is_woken() {
    let wanted = ["queued", "left the queue", "rejected"];
    explore(one_slot, &wanted);
}

/// One slot and two queue positions, in fair order; one user has a bucket of its own, the others share one.
fn crowded() -> Policy {
    let mut policy = steady();
    policy.limit.concurrency = 1;
    policy.limit.max_waiters = 2;
    policy.limit.max_users = 1;
    let own = UserLimits {
        requests: Some(Bucket {
            capacity: 3,
            refill: 1,
            per: millis(100),
        }),
        ..UserLimits::default()
    };
    policy.limit.users.insert("noisy".into(), own.clone());
    policy.limit.each_user = own;
    policy
}

/// One slot and two queue positions; one user has the most calls, the others share a bucket. Some leave, the order
/// changes and the users' buckets go, and the head of the queue must be woken.
fn users_share(dial: &Dial) -> Outcomes {
    let policy = crowded();
    let mut other = policy.clone();
    other.limit.order = QueueOrder::Fifo;
    other.limit.each_user = UserLimits::default();
    other.limit.users.clear();
    let rig = Rig::new(policy.clone());
    rig.upstream
        .push(["one", "two", "three", "four", "five", "six"].map(says));
    let call = |user: &str| {
        let context = CallContext {
            user: UserId::new(user),
            ..CallContext::default()
        };
        rig.client.call(&warm("hi"), context)
    };
    let end = |call: CallStream| {
        if let Err(failed) = finish(call) {
            assert_eq!(failed.fate, Fate::RateLimited, "{failed}");
        }
    };
    thread::scope(|scope| {
        for position in 0..3 {
            let call = call("noisy");
            scope.spawn(move || {
                if position == 1 {
                    leave_somewhere(call);
                } else {
                    end(call);
                }
            });
        }
        for user in ["ana", "ben", "cyd"] {
            scope.spawn(move || {
                come_late();
                let call = call(user);
                if user == "ben" {
                    leave_somewhere(call);
                } else {
                    end(call);
                }
            });
        }
        scope.spawn(|| {
            come_late();
            rig.client.set_queue_order(QueueOrder::Fifo);
            rig.client.apply(other);
            dial.turn(&rig, millis(100));
            rig.client.apply(policy);
        });
    });
    settle(&rig, 6);
    let rejected = |wanted: LimitReject| {
        count(
            &rig,
            |kind| matches!(kind, EventKind::LimitRejected { reason, .. } if *reason == wanted),
        ) > 0
    };
    let charged_to_others = |kind: &EventKind| match kind {
        EventKind::LimitAdmitted { user: Some(user), .. } => user.user == UserId::new("(others)"),
        _ => false,
    };
    outcomes([
        ("displaced", rejected(LimitReject::Displaced)),
        ("the queue is full", rejected(LimitReject::QueueFull)),
        (
            "left the queue",
            count(&rig, |kind| matches!(kind, EventKind::LimitLeft { .. })) > 0,
        ),
        ("shared a bucket", count(&rig, charged_to_others) > 0),
        ("all were answered", rig.fates() == [Fate::Answered; 6]),
    ])
}

#[test]
fn users_share_the_queue_while_its_order_changes() {
    let wanted = [
        "displaced",
        "the queue is full",
        "left the queue",
        "shared a bucket",
    ];
    explore(users_share, &wanted);
}

fn commands_come(dial: &Dial) -> Outcomes {
    let rig = Rig::new(touchy());
    rig.upstream
        .push([says("one"), refused(), says("two"), says("three")]);
    let request = cold("hi");
    let mut narrow = touchy();
    narrow.limit.concurrency = 1;
    narrow.cache.max_bytes = 1;
    thread::scope(|scope| {
        scope.spawn(|| leave_somewhere(rig.call(&request)));
        for prompt in ["hi", "ho"] {
            let rig = &rig;
            scope.spawn(move || {
                come_late();
                drop(finish(rig.call(&cold(prompt))));
            });
        }
        scope.spawn(|| {
            come_late();
            rig.client.apply(narrow);
            rig.client.clear_cache();
            rig.client.switch_cache(false);
        });
        scope.spawn(|| {
            rig.client.force_breaker(BreakerMode::ForcedOpen);
            come_late();
            rig.client.force_breaker(BreakerMode::Automatic);
            dial.turn(&rig, millis(1));
            rig.client.reset_breaker();
        });
    });
    settle(&rig, 3);
    permits_are_released(&rig);
    let fates = rig.fates();
    let late = |kind: &EventKind| {
        matches!(
            kind,
            EventKind::BreakerRecorded {
                sample: Sample::Late,
                ..
            }
        )
    };
    outcomes([
        ("refused", fates.contains(&Fate::CircuitOpen)),
        ("failed", fates.contains(&Fate::Failed)),
        ("answered", fates.contains(&Fate::Answered)),
        ("late", count(&rig, late) > 0),
    ])
}

#[test]
fn commands_may_come_at_any_point() {
    explore(commands_come, &["refused", "failed", "answered", "late"]);
}

/// One prompt in four wordings.
const WORDINGS: [&str; 4] = [
    "How do I reset my password?",
    "How can I reset my password?",
    "How do I reset the password?",
    "Please tell me how to reset my password.",
];

fn labels_race(_: &Dial) -> Outcomes {
    let mut policy = steady();
    policy.semantic.mode = SemanticMode::On;
    let rig = Rig::new(policy);
    rig.upstream
        .push(["one", "two", "three", "four", "five"].map(says));
    let [stored, served, asked, other] = WORDINGS.map(cold);
    finish(rig.call(&stored)).unwrap();
    assert_eq!(finish(rig.call(&served)).unwrap().fate, Fate::Hit);
    let fresh = CallContext {
        fresh: true,
        ..CallContext::default()
    };
    thread::scope(|scope| {
        scope.spawn(|| drop(finish(rig.call(&asked))));
        scope.spawn(|| leave_somewhere(rig.call(&asked)));
        scope.spawn(|| {
            come_late();
            drop(finish(rig.call(&other)));
        });
        scope.spawn(|| drop(finish(rig.client.call(&stored, fresh))));
        scope.spawn(|| {
            come_late();
            rig.client.label(CallId(2), false);
        });
        scope.spawn(|| {
            rig.client.set_semantic(SemanticMode::Shadow);
            come_late();
            rig.client.set_semantic(SemanticMode::On);
        });
    });
    settle(&rig, 6);
    let removed = |was: bool| {
        count(
            &rig,
            |kind| matches!(kind, EventKind::SemanticLabelled { removed, .. } if *removed == was),
        ) > 0
    };
    let hits = count(&rig, |kind| matches!(kind, EventKind::SemanticHit { .. }));
    let labels = rig.client.policy().semantic.labels;
    assert_eq!(
        (labels.len(), labels[0].bad),
        (1, 1),
        "a change of mode keeps the label"
    );
    outcomes([
        ("another hit", hits > 1),
        ("no other hit", hits == 1),
        ("the answer was removed", removed(true)),
        ("a newer answer was there", removed(false)),
        (
            "shadowed",
            count(&rig, |kind| matches!(kind, EventKind::SemanticShadowed { .. })) > 0,
        ),
    ])
}

#[test]
fn a_label_may_come_while_others_look_up_and_complete() {
    let wanted = [
        "another hit",
        "no other hit",
        "the answer was removed",
        "a newer answer was there",
        "shadowed",
    ];
    explore(labels_race, &wanted);
}
