//! Callers that leave, and deadlines that pass, in every state of a call.

use std::time::Duration;

use super::rig::{Rig, cold, millis, secs, steady, tick, warm};
use super::script::{Part, Reply, Step, error};
use crate::client::CallStream;
use crate::event::{AttemptResult, EventKind, FailureClass, Fate, Sample};
use crate::settings::Bucket;

/// A state of a call, reached 1 s after its start.
#[derive(Clone, Copy, Debug, PartialEq)]
enum State {
    Unborn,
    Queued,
    BackingOff,
    Headers,
    Silent,
    Streaming,
    Refusal,
    Whole,
    Drained,
}

/// The states, and the number of attempts made by then.
const STATES: [(State, usize); 9] = [
    (State::Unborn, 0),
    (State::Queued, 0),
    (State::BackingOff, 1),
    (State::Headers, 1),
    (State::Silent, 1),
    (State::Streaming, 1),
    (State::Refusal, 1),
    (State::Whole, 1),
    (State::Drained, 1),
];

impl State {
    fn step(self) -> Step {
        match self {
            Self::Unborn | Self::Queued | Self::Headers => Step::Hang,
            Self::BackingOff => error(503, "", "busy").after(millis(900)).into(),
            Self::Silent => Reply::stream().part(Part::Hang).into(),
            Self::Streaming => Reply::stream().word("a").part(Part::Hang).into(),
            Self::Refusal => Reply::status(500).bytes("{").part(Part::Hang).into(),
            Self::Whole => Reply::status(200).bytes("{").part(Part::Hang).into(),
            Self::Drained => Reply::stream()
                .wait(millis(800))
                .word("a")
                .stop()
                .done()
                .part(Part::Hang)
                .into(),
        }
    }

    /// A rig, a call that is in this state after a second, and another call that keeps it in the queue.
    fn reach(self, deadline: Duration) -> (Rig, CallStream, Option<CallStream>) {
        let mut policy = steady();
        if self == Self::Queued {
            policy.limit.requests = Bucket {
                capacity: 1,
                refill: 1,
                per: secs(30),
            };
        }
        let rig = Rig::new(policy);
        let before = (self == Self::Queued).then(|| rig.call(&warm("before")));
        rig.upstream.push([self.step()]);
        if before.is_some() {
            rig.upstream.push([Step::Hang]);
        }
        let call = rig.call_within(&cold("hi"), deadline);
        (rig, call, before)
    }
}

/// The ends of attempts, without successes: `None` for cancelled.
fn ends(rig: &Rig) -> Vec<Option<FailureClass>> {
    rig.find(|event| match &event.kind {
        EventKind::AttemptEnded {
            result: AttemptResult::Cancelled,
            ..
        } => Some(None),
        EventKind::AttemptEnded {
            result: AttemptResult::Failed { failure },
            ..
        } => Some(Some(failure.class)),
        _ => None,
    })
}

#[tokio::test(start_paused = true)]
async fn dropping_a_call_in_any_state_releases_everything_at_once() {
    for (state, attempts) in STATES {
        let (rig, call, before) = state.reach(secs(100));
        if state != State::Unborn {
            rig.sleep(secs(1)).await;
        }
        let sent = rig.upstream.sent().len();
        assert_eq!(sent, attempts + usize::from(before.is_some()), "{state:?}");
        drop(call);
        drop(before);
        rig.done().await;
        assert!(
            rig.fates().iter().all(|fate| *fate == Fate::Cancelled),
            "{state:?}"
        );
        let cancelled = rig.find(|event| match event.kind {
            EventKind::BreakerRecorded { sample, .. } => Some(sample),
            _ => None,
        });
        let expected = if state == State::BackingOff {
            Sample::Failed
        } else {
            Sample::Neutral
        };
        assert_eq!(cancelled, vec![expected; sent], "{state:?}");
        // nothing is sent afterwards
        rig.sleep(secs(1000)).await;
        assert_eq!(rig.upstream.sent().len(), sent, "{state:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_deadline_ends_any_state_at_its_instant() {
    for (state, _) in STATES {
        if matches!(
            state,
            State::Unborn | State::Queued | State::BackingOff | State::Drained
        ) {
            // limiter and backoff start no wait beyond the deadline (see their tests), and a complete answer is
            // not taken back
            continue;
        }
        let (rig, call, _) = state.reach(secs(1));
        let failed = call.finish().await.unwrap_err();
        // delivered text is not taken back: such a call is interrupted, not failed
        let (fate, partial) = match state {
            State::Streaming => (Fate::Interrupted, "a"),
            _ => (Fate::Failed, ""),
        };
        assert_eq!(
            (failed.fate, failed.failure.class),
            (fate, FailureClass::Deadline),
            "{state:?}"
        );
        assert_eq!(rig.millis(), 1000, "{state:?}");
        assert_eq!(failed.partial, partial, "{state:?}");
        assert_eq!(ends(&rig), [Some(FailureClass::Deadline)], "{state:?}");
        rig.done().await;
    }
}

#[tokio::test(start_paused = true)]
async fn the_deadline_error_quotes_the_last_failure() {
    let rig = Rig::scripted([error(503, "", "busy").into(), Step::Hang]);
    let failed = rig.call_within(&cold("hi"), secs(2)).finish().await.unwrap_err();
    assert_eq!(failed.failure.class, FailureClass::Deadline);
    let message = failed.failure.message.as_str();
    assert!(
        message.starts_with("deadline of 2.0s passed; last: ") && message.contains("503"),
        "{message}"
    );
    rig.done().await;
}

#[tokio::test(start_paused = true)]
async fn a_deadline_in_the_queue_leaves_it() {
    // it waits for a slot, whose return cannot be forecast, so the deadline itself must fire
    let mut policy = steady();
    policy.limit.concurrency = 1;
    let rig = Rig::new(policy);
    rig.upstream.push([Step::Hang]);
    let before = rig.call(&warm("before"));
    tick().await;
    let failed = rig.call_within(&warm("hi"), secs(3)).finish().await.unwrap_err();
    assert_eq!(
        (failed.fate, failed.failure.class),
        (Fate::Failed, FailureClass::Deadline)
    );
    assert_eq!(rig.millis(), 3000);
    assert_eq!(rig.upstream.sent().len(), 1);
    drop(before);
    rig.done().await;
}

#[tokio::test(start_paused = true)]
async fn a_deadline_of_zero_sends_nothing() {
    let rig = Rig::new(steady());
    let failed = rig
        .call_within(&cold("hi"), Duration::ZERO)
        .finish()
        .await
        .unwrap_err();
    assert_eq!(failed.failure.class, FailureClass::Deadline);
    assert_eq!(rig.upstream.sent().len(), 0);
    rig.done().await;
}

#[tokio::test(start_paused = true)]
async fn a_deadline_cannot_be_longer_than_the_policy_allows() {
    let rig = Rig::scripted([Reply::stream().word("a").part(Part::Hang).into()]);
    let deadlines = |rig: &Rig| {
        rig.find(|event| match event.kind {
            EventKind::CallStarted { deadline, .. } => Some(deadline.as_secs_f64()),
            _ => None,
        })
    };
    let call = rig.call_within(&cold("hi"), Duration::MAX);
    assert_eq!(deadlines(&rig), [600.0]);
    drop(call);
    rig.done().await;
}

#[tokio::test(start_paused = true)]
async fn a_cancelled_stream_is_charged_for_what_was_delivered() {
    let rig = Rig::scripted([Reply::stream().word("a").word("b").part(Part::Hang).into()]);
    let call = rig.call(&warm("hi").max_tokens(500));
    rig.sleep(secs(1)).await;
    drop(call);
    rig.done().await;
    let charged = rig.find(|event| match event.kind {
        EventKind::LimitSettled {
            charged, reserved, ..
        } => Some((reserved, charged)),
        _ => None,
    });
    // five of the prompt and two of the answer
    assert_eq!(charged, [(505, 7)]);
}

#[tokio::test(start_paused = true)]
async fn a_stream_dropped_after_its_end_has_one_end() {
    let rig = Rig::new(steady());
    let call = rig.call(&cold("hi"));
    rig.sleep(secs(1)).await;
    // it was answered before, but nothing of it was read
    drop(call);
    rig.done().await;
    assert_eq!(rig.fates(), [Fate::Answered]);
}
