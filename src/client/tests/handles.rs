//! The handle of a call: a stream of chunks, the response headers, and calls that cannot run.

use std::collections::BTreeSet;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use futures_util::stream::{self, FusedStream as _, StreamExt};
use futures_util::{FutureExt as _, Stream as _};
use serde_json::json;
use tokio::runtime::{Builder, Runtime};

use super::rig::{Rig, cold, millis, secs, steady, tick, warm};
use super::script::{Part, Reply, Step, error, whole};
use crate::client::{CallStream, Chunk, SendErrorKind};
use crate::event::{FailureClass, Fate};
use crate::openai::ChatRequest;

fn runtime() -> Runtime {
    Builder::new_current_thread().enable_all().build().unwrap()
}

fn text(text: &str) -> Chunk {
    Chunk::Text(text.into())
}

/// A stream of three words, 100 ms apart.
fn slow() -> Step {
    let reply = Reply::stream().word("a").wait(millis(100)).word("b");
    reply.wait(millis(100)).word("c").stop().done().into()
}

/// Counts how often it is woken.
#[derive(Default)]
struct Bell(AtomicUsize);

impl Bell {
    fn rings(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

fn poll(call: &mut CallStream, bell: &Arc<Bell>) -> Poll<Option<Chunk>> {
    let waker = Waker::from(Arc::clone(bell));
    Pin::new(call).poll_next(&mut Context::from_waker(&waker))
}

#[tokio::test(start_paused = true)]
async fn a_call_is_a_stream_that_ends_once() {
    let rig = Rig::scripted([slow()]);
    let mut call = rig.call(&warm("hi"));
    let first: Vec<Chunk> = call.by_ref().take(1).collect().await;
    assert_eq!(first, [text("a")]);
    assert!(!call.is_terminated());
    let upper = call.by_ref().map(|chunk| match chunk {
        Chunk::Text(word) => word.to_uppercase(),
        other => format!("{other:?}"),
    });
    assert_eq!(upper.collect::<Vec<_>>().await, ["B", "C"]);
    for _ in 0..3 {
        assert!(call.is_terminated());
        assert_eq!(StreamExt::next(&mut call).await, None);
        assert_eq!(call.next().await, None);
    }
    assert_eq!(call.finish().await.unwrap().text, "abc");
    rig.done().await;
}

#[tokio::test(start_paused = true)]
async fn a_stored_answer_and_an_error_are_streams_too() {
    let rig = Rig::scripted([whole("hello").into(), error(400, "", "no").into()]);
    rig.ask(&cold("hi")).await.unwrap();
    let mut hit = rig.call(&cold("hi"));
    assert!(!hit.is_terminated());
    assert_eq!(hit.by_ref().collect::<Vec<_>>().await, [text("hello")]);
    assert!(hit.is_terminated());
    assert_eq!(hit.finish().await.unwrap().fate, Fate::Hit);
    let mut failed = rig.call(&warm("hi"));
    assert_eq!(failed.by_ref().collect::<Vec<_>>().await, []);
    assert!(failed.is_terminated());
    assert_eq!(failed.finish().await.unwrap_err().failure.status, Some(400));
    rig.done().await;
}

#[tokio::test(start_paused = true)]
async fn dropping_the_stream_in_the_middle_cancels_the_call() {
    let rig = Rig::scripted([slow()]);
    let taken: Vec<Chunk> = rig.call(&warm("hi")).take(2).collect().await;
    assert_eq!(taken, [text("a"), text("b")]);
    rig.done().await;
    assert_eq!(rig.fates(), [Fate::Cancelled]);
}

#[tokio::test(start_paused = true)]
async fn two_subscribers_read_the_same_flight_at_their_own_pace() {
    let rig = Rig::scripted([slow()]);
    let mut early = rig.call(&cold("hi"));
    let mut late = rig.call(&cold("hi"));
    assert_eq!(early.next().await, Some(text("a")));
    assert_eq!(early.next().await, Some(text("b")));
    let (early, late) = tokio::join!(
        early.by_ref().collect::<Vec<_>>(),
        late.by_ref().collect::<Vec<_>>()
    );
    assert_eq!(early, [text("c")]);
    assert_eq!(late, ["a", "b", "c"].map(text));
    rig.done().await;
    assert_eq!(rig.fates(), [Fate::Answered, Fate::Shared]);
}

#[tokio::test(start_paused = true)]
async fn many_calls_are_read_as_one_stream() {
    let rig = Rig::scripted([slow(), slow(), slow()]);
    let calls = ["one", "two", "three"].map(|prompt| rig.call(&warm(prompt)));
    let chunks: Vec<Chunk> = stream::select_all(calls).collect().await;
    assert_eq!(chunks.len(), 9);
    rig.done().await;
}

#[tokio::test(start_paused = true)]
async fn polls_without_news_are_harmless_and_the_last_waker_is_woken() {
    let rig = Rig::scripted([slow()]);
    let mut call = rig.call(&warm("hi"));
    let [first, last] = [Arc::new(Bell::default()), Arc::new(Bell::default())];
    for bell in [&first, &last, &first, &last, &last] {
        assert_eq!(poll(&mut call, bell), Poll::Pending);
    }
    rig.sleep(millis(20)).await;
    assert_eq!((first.rings(), last.rings()), (0, 1));
    assert_eq!(poll(&mut call, &last), Poll::Ready(Some(text("a"))));
    // no waker waits now, so none is woken
    rig.sleep(millis(100)).await;
    assert_eq!(last.rings(), 1);
    assert_eq!(poll(&mut call, &last), Poll::Ready(Some(text("b"))));
    // a read that is given up takes no chunk with it
    assert_eq!(call.next().now_or_never(), None);
    assert_eq!(poll(&mut call, &last), Poll::Pending);
    rig.sleep(millis(100)).await;
    assert_eq!(last.rings(), 2);
    assert_eq!(poll(&mut call, &last), Poll::Ready(Some(text("c"))));
    for _ in 0..3 {
        assert_eq!(poll(&mut call, &last), Poll::Ready(None));
    }
    drop(call);
    rig.done().await;
}

#[tokio::test(start_paused = true)]
async fn a_reader_of_the_end_alone_is_woken_once() {
    let rig = Rig::scripted([slow()]);
    let bell = Arc::new(Bell::default());
    let waker = Waker::from(Arc::clone(&bell));
    let mut end = Box::pin(rig.call(&warm("hi")).finish());
    let mut cx = Context::from_waker(&waker);
    assert!(end.as_mut().poll(&mut cx).is_pending());
    rig.sleep(secs(1)).await;
    assert_eq!(bell.rings(), 1);
    let Poll::Ready(answer) = end.as_mut().poll(&mut cx) else {
        panic!("not ended");
    };
    assert_eq!(answer.unwrap().text, "abc");
    rig.done().await;
}

#[tokio::test(start_paused = true)]
async fn the_headers_are_those_of_the_last_response() {
    let named = |reply: Reply, id: &str| Step::from(reply.header("x-request-id", id));
    let rig = Rig::scripted([
        named(error(503, "", "busy"), "req-1"),
        named(Reply::says(&["hello"]), "req-2"),
        named(error(400, "", "no"), "req-3"),
        error(503, "", "busy").header("apim-request-id", "req-4").into(),
        Step::Fail(SendErrorKind::Refused),
        Step::Fail(SendErrorKind::Refused),
        named(Reply::stream().word("a").part(Part::Hang), "req-5"),
    ]);
    let (owner, follower) = (rig.call(&cold("hi")), rig.call(&cold("hi")));
    for call in [owner, follower] {
        let answer = call.finish().await.unwrap();
        assert_eq!(answer.request_id(), Some("req-2"), "{:?}", answer.fate);
        assert_eq!(answer.headers.unwrap()["content-type"], "text/event-stream");
    }
    let stored = rig.call(&cold("hi"));
    assert_eq!(stored.headers(), None);
    let stored = stored.finish().await.unwrap();
    assert_eq!((stored.fate, stored.headers), (Fate::Hit, None));

    let refused = rig.ask(&warm("bad")).await.unwrap_err();
    assert_eq!(
        (refused.failure.status, refused.request_id()),
        (Some(400), Some("req-3"))
    );
    // the last attempt had no response
    let unreachable = rig.ask(&warm("gone")).await.unwrap_err();
    assert_eq!((unreachable.failure.status, unreachable.headers), (None, None));

    let mut call = rig.call(&warm("long"));
    assert_eq!(call.headers(), None);
    assert_eq!(call.next().await, Some(text("a")));
    assert_eq!(call.headers().unwrap()["x-request-id"], "req-5");
    drop(call);
    rig.done().await;
}

#[tokio::test(start_paused = true)]
async fn an_answer_continues_as_a_message() {
    let refusal = r#"{"choices":[{"index":0,"delta":{"refusal":"No."},"finish_reason":"stop"}]}"#;
    let call = |index: u8, id: &str, arguments: &str| {
        let function = json!({ "name": "now", "arguments": arguments });
        let call = json!({ "index": index, "id": id, "type": "function", "function": function });
        json!({ "choices": [{ "index": 0, "delta": { "tool_calls": [call] } }] }).to_string()
    };
    let rest =
        r#"{"choices":[{"index":0,"delta":{"tool_calls":[{"index":0,"function":{"arguments":"}"}}]}}]}"#;
    let end = r#"{"choices":[{"index":0,"delta":{},"finish_reason":"tool_calls"}]}"#;
    let rig = Rig::scripted([
        Reply::says(&["hello", " sea"]).into(),
        Reply::stream().event(refusal).done().into(),
        Reply::stream()
            .event(&call(0, "c1", "{"))
            .event(rest)
            .event(&call(1, "c2", "{}"))
            .event(end)
            .done()
            .into(),
    ]);
    let function = json!({ "name": "now", "arguments": "{}" });
    for expected in [
        json!({ "role": "assistant", "content": "hello sea" }),
        json!({ "role": "assistant", "content": null, "refusal": "No." }),
        json!({ "role": "assistant", "content": null, "tool_calls": [
            { "id": "c1", "type": "function", "function": function },
            { "id": "c2", "type": "function", "function": function },
        ] }),
    ] {
        let request = warm("hi");
        let answer = rig.ask(&request).await.unwrap();
        let next = request.message(answer.to_message());
        assert_eq!(next.messages()[1], expected);
        next.validate().unwrap();
    }
    rig.done().await;
}

#[tokio::test(start_paused = true)]
async fn a_request_of_the_wrong_shape_fails_before_anything_is_sent() {
    let rig = Rig::new(steady());
    let bad = [
        (cold("hi").with("temperature", "hot"), "'temperature'"),
        (cold("hi").with("max_tokens", "many"), "'max_tokens'"),
        (cold("hi").with("messages", json!([7])), "'messages[0]'"),
    ];
    for (request, field) in &bad {
        let failed = rig.ask(request).await.unwrap_err();
        assert_eq!(
            (failed.fate, failed.failure.class),
            (Fate::Failed, FailureClass::Invalid)
        );
        assert!(failed.to_string().contains(field), "{failed}");
    }
    assert_eq!(rig.upstream.sent().len(), 0);
    rig.done().await;
}

#[tokio::test(start_paused = true)]
async fn a_limit_beyond_all_numbers_reserves_what_the_bucket_holds() {
    let rig = Rig::new(steady());
    for limit in [json!(u64::MAX), json!(1e300)] {
        let answer = rig.ask(&warm("hi").with("max_tokens", limit)).await.unwrap();
        assert_eq!(answer.fate, Fate::Answered);
    }
    rig.done().await;
}

#[test]
fn a_call_outside_of_a_runtime_fails_and_leaves_nothing() {
    let rig = Rig::new(steady());
    for request in [cold("hi"), warm("hi")] {
        let mut call = rig.call(&request);
        assert_eq!(call.next().now_or_never(), Some(None));
        let failed = call.finish().now_or_never().unwrap().unwrap_err();
        assert_eq!(failed.fate, Fate::Failed);
        assert!(failed.to_string().contains("no tokio runtime"), "{failed}");
    }
    assert_eq!(rig.client.held().flights, 0);
    // the same request finds no flight that never ends
    let runtime = runtime();
    let answer = runtime.block_on(rig.ask(&cold("hi"))).unwrap();
    assert_eq!(answer.fate, Fate::Answered);
    runtime.block_on(rig.done_in_real_time());
}

#[test]
fn calls_end_with_their_runtime() {
    let rig = Rig::scripted([Step::Hang]);
    let before = runtime();
    let call = before.block_on(async {
        let call = rig.call(&cold("hi"));
        tick().await;
        call
    });
    drop(before);
    assert_eq!(rig.client.held().flights, 0);
    let cancelled = call.finish().now_or_never().unwrap().unwrap_err();
    assert_eq!(cancelled.fate, Fate::Cancelled);
    let runtime = runtime();
    let answer = runtime.block_on(rig.ask(&cold("hi"))).unwrap();
    assert_eq!(answer.fate, Fate::Answered);
    runtime.block_on(rig.done_in_real_time());
}

#[tokio::test(start_paused = true)]
async fn closing_ends_every_call_and_later_ones_fail() {
    let mut policy = steady();
    policy.limit.concurrency = 2;
    let rig = Rig::new(policy);
    rig.upstream
        .push([Step::Hang, Reply::stream().word("a").part(Part::Hang).into()]);
    // one waits for headers, one streams and is shared, one is queued, one has no task yet
    let mut calls = vec![rig.call(&warm("headers"))];
    calls.extend([rig.call(&cold("stream")), rig.call(&cold("stream"))]);
    calls.push(rig.call(&warm("queued")));
    rig.sleep(millis(100)).await;
    calls.push(rig.call(&warm("unborn")));
    rig.client.close();
    rig.client.close();
    let mut partial = BTreeSet::new();
    for call in calls {
        let cancelled = call.finish().await.unwrap_err();
        assert_eq!(cancelled.fate, Fate::Cancelled);
        partial.insert(cancelled.partial);
    }
    assert_eq!(partial, BTreeSet::from([String::new(), "a".into()]));
    let sent = rig.upstream.sent().len();
    let late = rig.ask(&ChatRequest::prompt("late")).await.unwrap_err();
    assert_eq!(late.fate, Fate::Failed);
    assert!(late.to_string().contains("session has ended"), "{late}");
    rig.sleep(secs(1000)).await;
    assert_eq!((rig.upstream.sent().len(), sent), (2, 2));
    rig.done().await;
}
