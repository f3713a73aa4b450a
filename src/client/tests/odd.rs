//! Upstreams that answer in odd ways, seen from the caller and from the breaker.

use super::rig::{Rig, cold, millis, secs, steady, warm};
use super::script::{Part, Reply, Step, whole};
use crate::client::Chunk;
use crate::client::answer_reader::tests::{ERRORS, HARMLESS};
use crate::event::{BreakerState, EventKind, FailureClass, Fate, Finish, SkipReason};
use crate::settings::Policy;

fn single() -> Policy {
    let mut policy = steady();
    policy.retry.attempts = 1;
    policy
}

fn opened(rig: &Rig) -> usize {
    let opened = rig.find(|event| match event.kind {
        EventKind::BreakerMoved { to, .. } => (to == BreakerState::Open).then_some(()),
        _ => None,
    });
    opened.len()
}

fn skipped(rig: &Rig) -> Vec<SkipReason> {
    rig.find(|event| match event.kind {
        EventKind::CacheSkipped { reason } => Some(reason),
        _ => None,
    })
}

#[tokio::test(start_paused = true)]
async fn a_dead_engine_opens_the_breaker_in_whatever_shape_it_reports_its_error() {
    for (source, error, words) in ERRORS {
        let streamed = Reply::stream().event(&error.replace('\n', " ")).done();
        let bare = Reply::stream().bytes(format!("{error}\n"));
        let unstreamed = Reply::status(200).bytes(error);
        for reply in [streamed, bare, unstreamed] {
            let rig = Rig::new(single());
            rig.upstream.push(vec![Step::from(reply); 5]);
            for _ in 0..5 {
                let failed = rig.ask(&warm("hi")).await.unwrap_err();
                let message = failed.failure.message.as_str();
                assert!(message.contains(words), "{source}: {message}");
            }
            assert_eq!(opened(&rig), 1, "{source}");
            assert_eq!(rig.fates(), [Fate::Failed; 5], "{source}");
            rig.done().await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_good_engine_with_oddities_keeps_it_closed_and_serves_every_call() {
    let rig = Rig::new(steady());
    for (source, event) in HARMLESS {
        let before = Reply::stream().event(event).word("a").stop().done();
        let between = Reply::stream().word("a").event(event).stop().done();
        let after = Reply::stream().word("a").stop().event(event);
        let mislabelled = Reply::says(&["a"])
            .header("content-type", "text/plain")
            .header("x", event);
        for reply in [before, between, after, mislabelled] {
            rig.upstream.push([reply.into()]);
            let answer = rig.ask(&warm("hi")).await;
            let answer = answer.unwrap_or_else(|error| panic!("{source}: {error}"));
            assert_eq!(
                (answer.text.as_str(), answer.finish),
                ("a", Finish::Stop),
                "{source}"
            );
        }
    }
    assert_eq!(opened(&rig), 0);
    assert_eq!(
        rig.upstream.sent().len(),
        4 * HARMLESS.len(),
        "no attempt more than calls"
    );
    rig.done().await;
}

#[tokio::test(start_paused = true)]
async fn any_success_status_is_success() {
    for status in [200, 201, 202, 203, 206, 299] {
        let body = whole("a").into_parts();
        let reply = body.into_iter().fold(Reply::status(status), Reply::part);
        let rig = Rig::new(single());
        rig.upstream.push([reply.into()]);
        assert_eq!(rig.ask(&warm("hi")).await.unwrap().text, "a", "{status}");
        rig.done().await;
    }
    let rig = Rig::new(single());
    rig.upstream.push([Reply::status(204).into()]);
    let failed = rig.ask(&warm("hi")).await.unwrap_err();
    assert_eq!(
        (failed.failure.class, failed.failure.status),
        (FailureClass::Malformed, Some(204))
    );
    rig.done().await;
}

#[tokio::test(start_paused = true)]
async fn an_answer_without_done_is_complete_after_a_grace() {
    let word = || Reply::stream().word("a");
    let pings = |reply: Reply| (0..400).fold(reply, |reply, _| reply.wait(millis(500)).bytes(": ping\n\n"));
    let finish = r#"{"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}"#;
    let late = r#"{"choices":[{"index":0,"delta":{"content":"b"}}]}"#;
    for (name, reply, text, at) in [
        ("silence", word().event(finish).part(Part::Hang), "a", 2.01),
        ("pings", pings(word().event(finish)), "a", 2.01),
        ("usage and silence", word().stop().part(Part::Hang), "a", 2.01),
        (
            "done",
            word().event(finish).wait(secs(1)).done().part(Part::Hang),
            "a",
            1.26,
        ),
        ("clean end", word().event(finish).wait(secs(1)), "a", 1.01),
        (
            "text after the finish reason",
            word().event(finish).wait(secs(1)).event(late).part(Part::Hang),
            "ab",
            3.01,
        ),
    ] {
        let rig = Rig::new(single());
        rig.upstream.push([reply.into()]);
        let answer = rig
            .ask(&warm("hi"))
            .await
            .unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(
            (answer.text.as_str(), rig.now().as_secs_f64()),
            (text, at),
            "{name}"
        );
        rig.done().await;
    }
    // a deadline within the grace does not take the answer back
    let rig = Rig::new(single());
    rig.upstream.push([word().event(finish).part(Part::Hang).into()]);
    let answer = rig.call_within(&warm("hi"), secs(1)).finish().await.unwrap();
    assert_eq!(
        (
            answer.text.as_str(),
            rig.now() < crate::time::Timestamp::from_secs_f64(1.0)
        ),
        ("a", true)
    );
    rig.done().await;
}

/// The grace begins when the last choice that was asked for has ended.
#[tokio::test(start_paused = true)]
async fn the_grace_waits_for_every_choice() {
    let choice = |index: u32, text: &str| {
        format!(
            r#"{{"choices":[{{"index":{index},"delta":{{"content":"{text}"}},"finish_reason":"stop"}}]}}"#
        )
    };
    let reply = Reply::stream()
        .event(&choice(0, "a"))
        .wait(secs(9))
        .event(&choice(1, "b"))
        .part(Part::Hang);
    let rig = Rig::new(single());
    rig.upstream.push([reply.into()]);
    let answer = rig.ask(&warm("hi").with("n", 2)).await.unwrap();
    assert_eq!((answer.text.as_str(), answer.others[0].text.as_str()), ("a", "b"));
    assert_eq!(rig.millis(), 11_010);
    rig.done().await;
}

#[tokio::test(start_paused = true)]
async fn empty_increments_are_no_first_token() {
    let empty = r#"{"choices":[{"index":0,"delta":{"role":"assistant","content":"","tool_calls":[],"refusal":null}}]}"#;
    let rig = Rig::new(single());
    rig.upstream.push([Reply::stream()
        .event(empty)
        .wait(secs(2))
        .word("a")
        .stop()
        .done()
        .into()]);
    rig.ask(&warm("hi")).await.unwrap();
    let first = rig.find(|event| match event.kind {
        EventKind::AttemptFirstToken { ttft, .. } => Some(ttft),
        _ => None,
    });
    assert_eq!(first, [millis(2010)]);
    rig.done().await;
    // nothing was delivered, so a retry is safe
    let rig = Rig::scripted([Reply::stream().event(empty).into(), Reply::says(&["b"]).into()]);
    assert_eq!(rig.ask(&warm("hi")).await.unwrap().text, "b");
    rig.done().await;
}

#[tokio::test(start_paused = true)]
async fn a_refusal_is_delivered_and_not_stored() {
    let refusal = |text: &str| format!(r#"{{"choices":[{{"index":0,"delta":{{"refusal":"{text}"}}}}]}}"#);
    let reply = Reply::stream()
        .event(&refusal("I "))
        .event(&refusal("cannot."))
        .stop()
        .done();
    let rig = Rig::scripted([reply.into()]);
    let mut stream = rig.call(&cold("hi"));
    assert_eq!(stream.next().await, Some(Chunk::Refusal("I ".into())));
    let answer = stream.finish().await.unwrap();
    assert_eq!(
        (answer.text.as_str(), answer.refusal.as_str(), answer.finish),
        ("", "I cannot.", Finish::Refusal)
    );
    assert_eq!(answer.shown.as_str(), "I cannot.");
    assert_eq!(skipped(&rig), [SkipReason::Filtered]);
    rig.done().await;
}

#[tokio::test(start_paused = true)]
async fn an_empty_answer_is_never_stored() {
    for reply in [
        Reply::stream().stop().done(),
        Reply::stream()
            .event(r#"{"choices":[{"index":0,"delta":{"tool_calls":[]},"finish_reason":"stop"}]}"#)
            .done(),
        whole(""),
    ] {
        let rig = Rig::scripted([reply.into()]);
        assert_eq!(rig.ask(&cold("hi")).await.unwrap().text, "");
        assert_eq!(skipped(&rig), [SkipReason::Empty]);
        rig.done().await;
    }
}
