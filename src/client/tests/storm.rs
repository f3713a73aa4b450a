//! Random upstreams and random callers: every session is legal, and the same seed gives the same session, byte for
//! byte.

use std::time::Duration;

use proptest::prelude::*;

use super::rig::{Rig, cold, tick, warm};
use super::script::{Part, Reply, Step, error, whole};
use crate::client::{CallContext, SendErrorKind};
use crate::event::{BreakerMode, Event, EventKind, Fate, UserId};
use crate::settings::{Bucket, Counts, Policy};

/// The behaviour of one caller.
#[derive(Clone, Debug)]
struct Caller {
    /// Milliseconds before it calls.
    after: u64,
    prompt: u8,
    cold: bool,
    user: u8,
    key: Option<u8>,
    deadline: Option<u64>,
    /// Milliseconds until it leaves; `None` if it stays.
    patience: Option<u64>,
}

fn ms(range: std::ops::Range<u64>) -> impl Strategy<Value = u64> {
    range
}

fn part() -> impl Strategy<Value = Part> {
    let word = || Reply::stream().word("w").into_parts().remove(0);
    prop_oneof![
        3 => ms(0..3000).prop_map(|wait| Part::Wait(Duration::from_millis(wait))),
        6 => Just(()).prop_map(move |()| word()),
        1 => Just(Part::Bytes(":\n\n".into())),
        1 => Just(Part::Bytes("data: {\"error\":{\"message\":\"boom\"}}\n\n".into())),
        1 => Just(Part::Bytes(vec![b'd', 0xff, b'\n', b'\n'].into())),
        1 => Just(Part::Cut),
        1 => Just(Part::Reset),
        1 => Just(Part::Hang),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    let kinds = vec![
        SendErrorKind::Refused,
        SendErrorKind::Reset,
        SendErrorKind::ConnectTimeout,
        SendErrorKind::DnsUnknown,
        SendErrorKind::Framing,
    ];
    let statuses = vec![302, 400, 401, 404, 408, 409, 429, 500, 502, 503, 529];
    let hints = vec!["0", "1", "3", "200", "soon", "-1"];
    let stream =
        (prop::collection::vec(part(), 0..6), any::<bool>(), ms(0..5000)).prop_map(|(parts, ends, after)| {
            let reply = parts
                .into_iter()
                .fold(Reply::stream().after(Duration::from_millis(after)), Reply::part);
            Step::from(if ends { reply.stop().done() } else { reply })
        });
    prop_oneof![
        4 => Just(Step::from(Reply::says(&["a", "b"]))),
        4 => stream,
        2 => prop::sample::select(kinds).prop_map(Step::Fail),
        3 => (prop::sample::select(statuses), prop::option::of(prop::sample::select(hints))).prop_map(|(status, hint)| {
            let reply = error(status, "", "scripted");
            Step::from(match hint {
                Some(hint) => reply.header("retry-after", hint),
                None => reply,
            })
        }),
        1 => Just(Step::from(error(503, "unavailable_error", "Loading model"))),
        1 => Just(Step::from(whole("all at once"))),
        1 => Just(Step::Hang),
    ]
}

fn caller() -> impl Strategy<Value = Caller> {
    (
        ms(0..4000),
        0..3_u8,
        any::<bool>(),
        0..2_u8,
        prop::option::weighted(0.2, 0..2_u8),
        prop::option::weighted(0.5, ms(0..20_000)),
        prop::option::weighted(0.5, ms(0..8000)),
    )
        .prop_map(|(after, prompt, cold, user, key, deadline, patience)| Caller {
            after,
            prompt,
            cold,
            user,
            key,
            deadline,
            patience,
        })
}

fn policy() -> impl Strategy<Value = Policy> {
    let counts = || prop::sample::select(vec![Counts::Call, Counts::Attempt]);
    (counts(), counts(), 1..4_u32, 1..5_u64, 1..4_u32, 0..6_usize).prop_map(
        |(charges, counts, concurrency, burst, consecutive, max_waiters)| {
            let mut policy = Policy::default();
            policy.limit.charges = charges;
            policy.limit.concurrency = concurrency;
            policy.limit.max_waiters = max_waiters;
            policy.limit.requests = Bucket {
                capacity: burst,
                refill: 1,
                per: Duration::from_secs(1),
            };
            policy.breaker.counts = counts;
            policy.breaker.consecutive = consecutive;
            policy.breaker.probe_lease = Duration::from_hours(1);
            policy.timeouts.call = Duration::from_mins(1);
            policy.timeouts.headers = Duration::from_secs(4);
            policy.timeouts.byte_idle = Duration::from_secs(3);
            policy.timeouts.event_idle = Duration::from_secs(5);
            policy
        },
    )
}

/// A change by the user meanwhile.
fn press(rig: &Rig, nth: usize) {
    match nth % 11 {
        3 => rig.client.force_breaker(BreakerMode::ForcedClosed),
        5 => rig.client.reset_breaker(),
        7 => rig.client.clear_cache(),
        8 => rig.client.apply(rig.client.policy()),
        _ => {}
    }
}

/// Runs one session to its end.
fn play(policy: &Policy, steps: &[Step], callers: &[Caller], keys: bool, seed: u64) -> Vec<Event> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .unwrap();
    runtime.block_on(async {
        let rig = std::rc::Rc::new(Rig::seeded(policy.clone(), seed));
        rig.upstream.push(steps.iter().cloned());
        let local = tokio::task::LocalSet::new();
        for (nth, caller) in callers.iter().cloned().enumerate() {
            let rig = std::rc::Rc::clone(&rig);
            drop(local.spawn_local(async move {
                rig.sleep(Duration::from_millis(caller.after)).await;
                if keys {
                    press(&rig, nth);
                }
                visit(&rig, &caller).await;
            }));
        }
        local.await;
        tick().await;
        rig.done().await;
        rig.events()
    })
}

/// The visit of one caller. Its chunks and its end must agree.
async fn visit(rig: &Rig, caller: &Caller) {
    let prompt = format!("p{}", caller.prompt);
    let request = if caller.cold { cold(&prompt) } else { warm(&prompt) };
    let context = CallContext {
        user: UserId::new(&format!("u{}", caller.user)),
        deadline: caller.deadline.map(Duration::from_millis),
        idempotency_key: caller.key.map(|key| format!("k{key}")),
        ..CallContext::default()
    };
    let mut stream = rig.client.call(&request, context);
    let leaves_at = caller
        .patience
        .map(|patience| rig.now() + Duration::from_millis(patience));
    let mut received = String::new();
    loop {
        let next = async {
            match leaves_at {
                Some(at) => tokio::select! {
                    biased;
                    chunk = stream.next() => Ok(chunk),
                    () = rig.env.clock.sleep_until(at) => Err(()),
                },
                None => Ok(stream.next().await),
            }
        };
        match next.await {
            Ok(Some(crate::client::Chunk::Text(text))) => received.push_str(&text),
            Ok(Some(_)) => {}
            Ok(None) => break,
            Err(()) => return,
        }
    }
    match stream.finish().await {
        Ok(answer) => assert_eq!(answer.text, received),
        Err(error) => {
            assert_eq!(error.partial, received);
            assert_eq!(
                error.fate == Fate::Interrupted,
                error.failure.phase == crate::event::Phase::Delivered
            );
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 320, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_session_is_legal_and_repeatable(
        policy in policy(),
        steps in prop::collection::vec(step(), 0..16),
        callers in prop::collection::vec(caller(), 1..12),
        keys in any::<bool>(),
        seed in any::<u64>(),
    ) {
        let events = play(&policy, &steps, &callers, keys, seed);
        let started = events.iter().filter(|event| matches!(event.kind, EventKind::CallStarted { .. })).count();
        prop_assert_eq!(started, callers.len());
        let again = play(&policy, &steps, &callers, keys, seed);
        prop_assert_eq!(serde_json::to_string(&events).unwrap(), serde_json::to_string(&again).unwrap());
    }
}
