//! Answers, complete or not, and what of them is stored.

use super::rig::{Rig, cold, millis, secs, steady, tick, warm};
use super::script::{Part, Reply, Step, error, whole};
use crate::client::{CallContext, Chunk};
use crate::event::{
    AttemptResult, BypassReason, EventKind, EvictReason, FailureClass, Fate, Finish, MissReason, Phase,
    SkipReason, UpstreamHealth,
};
use crate::openai::Usage;

/// The reasons why answers were not stored.
fn skipped(rig: &Rig) -> Vec<SkipReason> {
    rig.find(|event| match event.kind {
        EventKind::CacheSkipped { reason } => Some(reason),
        _ => None,
    })
}

fn stored(rig: &Rig) -> usize {
    rig.find(|event| matches!(event.kind, EventKind::CacheStored { .. }).then_some(()))
        .len()
}

/// The emitted text, and its number of chunks.
fn deltas(rig: &Rig, thoughts: bool) -> (String, u32) {
    let deltas = rig.find(|event| match &event.kind {
        EventKind::StreamDelta {
            text,
            chunks,
            reasoning,
        } if *reasoning == thoughts => Some((text.to_string(), *chunks)),
        _ => None,
    });
    let chunks = deltas.iter().map(|(_, chunks)| chunks).sum();
    (deltas.into_iter().map(|(text, _)| text).collect(), chunks)
}

#[tokio::test(start_paused = true)]
async fn a_stream_is_delivered_word_by_word() {
    let slow = Reply::stream()
        .word("the")
        .wait(millis(50))
        .word(" blue")
        .wait(millis(5))
        .word(" sea")
        .stop()
        .done();
    let rig = Rig::scripted([slow.into()]);
    let mut stream = rig.call(&cold("hi"));
    let mut seen = Vec::new();
    while let Some(chunk) = stream.next().await {
        seen.push((rig.now().0 / 1_000_000, chunk));
    }
    let text = |text: &str| Chunk::Text(text.into());
    assert_eq!(seen, [(10, text("the")), (60, text(" blue")), (65, text(" sea"))]);
    let answer = stream.finish().await.unwrap();
    assert_eq!(
        (answer.text.as_str(), answer.fate, answer.finish),
        ("the blue sea", Fate::Answered, Finish::Stop)
    );
    assert_eq!((answer.usage, answer.estimated), (Usage::new(5, 2), false));
    assert_eq!(deltas(&rig, false), ("the blue sea".to_owned(), 3));
    rig.done().await;
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_is_not_streamed_comes_as_one_chunk() {
    let rig = Rig::scripted([whole("hello").into()]);
    let mut stream = rig.call(&warm("hi"));
    assert_eq!(stream.next().await, Some(Chunk::Text("hello".into())));
    assert_eq!(stream.next().await, None);
    let answer = stream.finish().await.unwrap();
    assert_eq!((answer.text.as_str(), answer.usage), ("hello", Usage::new(5, 2)));
    rig.done().await;
}

#[tokio::test(start_paused = true)]
async fn reasoning_and_tool_calls_are_separate_from_the_text() {
    let reply = Reply::stream()
        .event(r#"{"choices":[{"index":0,"delta":{"role":"assistant","content":null}}]}"#)
        .event(r#"{"choices":[{"index":0,"delta":{"reasoning_content":"hm"}}]}"#)
        .event(r#"{"choices":[{"index":0,"delta":{"tool_calls":[{"index":0,"id":"c","function":{"name":"f","arguments":"{"}}]}}]}"#)
        .event(r#"{"choices":[{"index":0,"delta":{"tool_calls":[{"index":0,"function":{"arguments":"}"}}]}}]}"#)
        .event(r#"{"choices":[{"index":0,"delta":{},"finish_reason":"tool_calls"}]}"#)
        .done();
    let rig = Rig::scripted([reply.into()]);
    let answer = rig.ask(&cold("hi")).await.unwrap();
    assert_eq!(
        (answer.text.as_str(), answer.reasoning.as_str(), answer.finish),
        ("", "hm", Finish::ToolCalls)
    );
    let call =
        serde_json::json!({"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}});
    assert_eq!(answer.tool_calls, [call]);
    assert!(answer.estimated, "no usage came");
    assert_eq!(deltas(&rig, true), ("hm".to_owned(), 1));
    assert_eq!(stored(&rig), 1);
    rig.done().await;
}

#[tokio::test(start_paused = true)]
async fn the_second_call_is_a_hit_without_an_attempt() {
    let rig = Rig::scripted([]);
    let first = rig.ask(&cold("hi")).await.unwrap();
    rig.sleep(secs(3)).await;
    let second = rig.ask(&cold("hi")).await.unwrap();
    assert_eq!((second.fate, second.text), (Fate::Hit, first.text));
    assert_eq!(rig.upstream.sent().len(), 1);
    let hits = rig.find(|event| match &event.kind {
        EventKind::CacheHit {
            age,
            saved,
            saved_time,
            text,
        } => Some((*age, *saved, *saved_time, text.to_string())),
        _ => None,
    });
    assert_eq!(
        hits,
        [(secs(3), Usage::new(5, 2), millis(10), "hello sea".to_owned())]
    );
    // another user does not get it
    let other = CallContext {
        user: crate::event::UserId::new("mallory"),
        ..CallContext::default()
    };
    assert_eq!(
        rig.client.call(&cold("hi"), other).finish().await.unwrap().fate,
        Fate::Answered
    );
    rig.done().await;
}

#[tokio::test(start_paused = true)]
async fn an_omitted_temperature_is_not_deterministic() {
    let rig = Rig::scripted([]);
    for _ in 0..2 {
        assert_eq!(rig.ask(&warm("hi")).await.unwrap().fate, Fate::Answered);
    }
    let reasons = rig.find(|event| match event.kind {
        EventKind::CacheBypassed { reason } => Some(reason),
        _ => None,
    });
    assert_eq!(reasons, [BypassReason::NotDeterministic; 2]);
    assert_eq!((stored(&rig), skipped(&rig)), (0, vec![]));
    rig.done().await;
}

#[tokio::test(start_paused = true)]
async fn the_cache_can_be_bypassed_switched_off_and_cleared() {
    let rig = Rig::scripted([]);
    let fate = async |context| rig.client.call(&cold("hi"), context).finish().await.unwrap().fate;
    assert_eq!(fate(CallContext::default()).await, Fate::Answered);
    let fresh = CallContext {
        fresh: true,
        ..CallContext::default()
    };
    assert_eq!(fate(fresh).await, Fate::Answered);
    rig.client.switch_cache(false);
    assert_eq!(fate(CallContext::default()).await, Fate::Answered);
    rig.client.switch_cache(true);
    assert_eq!(fate(CallContext::default()).await, Fate::Hit);
    rig.client.clear_cache();
    assert_eq!(fate(CallContext::default()).await, Fate::Answered);
    rig.done().await;
}

#[tokio::test(start_paused = true)]
async fn an_expired_answer_is_requested_again() {
    let rig = Rig::scripted([]);
    rig.ask(&cold("hi")).await.unwrap();
    rig.sleep(rig.client.policy().cache.ttl).await;
    assert_eq!(rig.ask(&cold("hi")).await.unwrap().fate, Fate::Answered);
    let misses = rig.find(|event| match event.kind {
        EventKind::CacheMissed { reason, .. } => Some(reason),
        _ => None,
    });
    assert_eq!(misses, [MissReason::NeverSeen, MissReason::Expired]);
    let evicted = rig.find(|event| match event.kind {
        EventKind::CacheEvicted { reason, removed, .. } => Some((reason, removed)),
        _ => None,
    });
    assert_eq!(evicted, [(EvictReason::Expired, 1)]);
    rig.done().await;
}

#[tokio::test(start_paused = true)]
async fn only_provably_complete_answers_are_stored() {
    let one = |delta: &str, reason: &str| {
        Reply::stream().event(&format!(
            r#"{{"choices":[{{"index":0,"delta":{delta},"finish_reason":{reason}}}],"model":"b"}}"#
        ))
    };
    let table: [(Reply, Finish, Option<SkipReason>); 8] = [
        (Reply::says(&["a"]), Finish::Stop, None),
        // a finish reason for every choice and a clean end are enough, without [DONE]
        (Reply::stream().word("a").stop(), Finish::Stop, None),
        (one(r#"{"content":"a"}"#, r#""length""#), Finish::Length, None),
        (
            one(r#"{"content":"a"}"#, r#""new""#),
            Finish::Unknown,
            Some(SkipReason::Incomplete),
        ),
        (
            one(r#"{"content":"a"}"#, r#""content_filter""#),
            Finish::ContentFilter,
            Some(SkipReason::Filtered),
        ),
        (
            one(r#"{"reasoning_content":"a"}"#, r#""stop""#),
            Finish::Stop,
            Some(SkipReason::Empty),
        ),
        (
            Reply::stream()
                .bytes(&b"data: {\"choices\":[{\"delta\":{\"content\":\"a\xff\"}}]}\n\n"[..])
                .stop()
                .done(),
            Finish::Stop,
            Some(SkipReason::BadText),
        ),
        (
            Reply::says(&["x".repeat(700 << 10).as_str(); 2]),
            Finish::Stop,
            Some(SkipReason::TooLarge),
        ),
    ];
    for (reply, finish, reason) in table {
        let rig = Rig::scripted([reply.clone().into()]);
        let answer = rig.ask(&cold("hi")).await.unwrap();
        assert_eq!(answer.finish, finish, "{reply:?}");
        assert_eq!(answer.bad_text, reason == Some(SkipReason::BadText));
        assert_eq!(skipped(&rig), Vec::from_iter(reason), "{reply:?}");
        assert_eq!(stored(&rig), usize::from(reason.is_none()), "{reply:?}");
        rig.done().await;
    }
}

#[tokio::test(start_paused = true)]
async fn the_answer_of_another_model_is_not_stored() {
    let rig = Rig::scripted([]);
    let models = vec!["big".into(), "m".into()];
    rig.client.report_health(UpstreamHealth::Ready { models });
    rig.ask(&cold("hi").model("big")).await.unwrap();
    assert_eq!(skipped(&rig), [SkipReason::OtherModel]);
    rig.ask(&cold("hi").model("m")).await.unwrap();
    assert_eq!(stored(&rig), 1);
    rig.done().await;
}

/// A broken body: name, reply, class, phase, number of attempts, fate of the call.
type Broken = (&'static str, Reply, FailureClass, Phase, usize, Fate);

async fn expect_broken(table: impl IntoIterator<Item = Broken>) {
    for (name, reply, class, phase, attempts, fate) in table {
        let rig = Rig::scripted(vec![Step::from(reply); attempts]);
        let failed = rig.ask(&cold("hi")).await.unwrap_err();
        assert_eq!(
            (failed.failure.class, failed.failure.phase, failed.fate),
            (class, phase, fate),
            "{name}"
        );
        assert_eq!(
            failed.partial,
            if phase == Phase::Delivered { "a" } else { "" },
            "{name}"
        );
        assert_eq!(rig.upstream.sent().len(), attempts, "{name}");
        let next = rig.ask(&cold("hi")).await;
        assert!(next.is_ok(), "{name}: errors are not stored");
        rig.done().await;
    }
}

const BOOM: &str = r#"{"error":{"code":500,"message":"boom","type":"server_error"}}"#;

#[tokio::test(start_paused = true)]
async fn rejects_bodies_that_are_no_answer() {
    use FailureClass as C;
    let html = Reply::status(200)
        .header("content-type", "text/html")
        .bytes("<html>please pay</html>");
    let begun = |name, reply, class| (name, reply, class, Phase::Begun, 2, Fate::Failed);
    let named = Reply::stream().bytes("event: error\ndata: {\"error\":{\"type\":\"overloaded_error\"}}\n\n");
    expect_broken([
        ("html", html, C::NotAnApi, Phase::Final, 1, Fate::Failed),
        begun("malformed", Reply::status(200).bytes("{\"cho"), C::Malformed),
        begun("malformed event", Reply::stream().event("{oops"), C::Malformed),
        begun("empty stream", Reply::stream(), C::Malformed),
        begun("empty body", Reply::status(200), C::Malformed),
        begun(
            "cut body",
            Reply::status(200).bytes("{").part(Part::Cut),
            C::Truncated,
        ),
        begun(
            "reset body",
            Reply::status(200).bytes("{").part(Part::Reset),
            C::Truncated,
        ),
        begun("error first", Reply::stream().event(BOOM), C::ServerError),
        (
            "named error",
            named,
            C::Overloaded,
            Phase::Refused,
            3,
            Fate::Failed,
        ),
    ])
    .await;
}

/// Once text was delivered there is no retry, and nothing is stored.
#[tokio::test(start_paused = true)]
async fn truncated_streams_are_interrupted() {
    let late = |name, reply| {
        (
            name,
            reply,
            FailureClass::Interrupted,
            Phase::Delivered,
            1,
            Fate::Interrupted,
        )
    };
    let a = || Reply::stream().word("a");
    expect_broken([
        late("no end", a()),
        late("cut", a().part(Part::Cut)),
        late("reset", a().part(Part::Reset)),
        late("done without a reason", a().done()),
        late("error later", a().event(BOOM)),
        late("malformed later", a().event("{oops")),
    ])
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_stream_truncated_before_its_first_word_is_retried() {
    let cut = Reply::stream()
        .event(r#"{"choices":[{"index":0,"delta":{"role":"assistant","content":null}}]}"#)
        .part(Part::Cut);
    let rig = Rig::scripted([cut.into()]);
    let answer = rig.ask(&cold("hi")).await.unwrap();
    assert_eq!((answer.text.as_str(), answer.fate), ("hello sea", Fate::Answered));
    assert_eq!(rig.upstream.sent().len(), 2);
    let keys: Vec<_> = rig
        .upstream
        .sent()
        .into_iter()
        .map(|sent| sent.idempotency_key)
        .collect();
    assert_eq!(keys[0], keys[1], "one key for all attempts of a call");
    assert_eq!(deltas(&rig, false).0, "hello sea");
    rig.done().await;
}

#[tokio::test(start_paused = true)]
async fn rejects_a_response_that_exceeds_the_cap() {
    let mut policy = steady();
    policy.timeouts.max_response_bytes = 1000;
    let long = || "y".repeat(600);
    let table: [(Reply, Phase); 4] = [
        (whole(&long().repeat(2)), Phase::Final),
        (Reply::stream().bytes("x".repeat(1001)), Phase::Final),
        (Reply::stream().word(&long()).word(&long()), Phase::Delivered),
        // in a single read too, what is within the cap is delivered
        (
            Reply::stream().bytes(
                [0, 1]
                    .map(|_| {
                        format!(
                            "data: {{\"choices\":[{{\"delta\":{{\"content\":\"{}\"}}}}]}}\n\n",
                            long()
                        )
                    })
                    .concat(),
            ),
            Phase::Delivered,
        ),
    ];
    for (reply, phase) in table {
        let rig = Rig::new(policy.clone());
        rig.upstream.push([reply.into()]);
        let failed = rig.ask(&cold("hi")).await.unwrap_err();
        assert_eq!(
            (failed.failure.class, failed.failure.phase),
            (FailureClass::Oversize, phase)
        );
        assert_eq!(
            failed.partial.len(),
            if phase == Phase::Delivered { 600 } else { 0 }
        );
        rig.done().await;
    }
}

/// A real capture: text, then an error event. Every split into reads gives the same result.
#[tokio::test(start_paused = true)]
async fn every_split_of_a_body_into_reads_gives_the_same_result() {
    let capture = include_str!("../../../tests/wire/kvu_0.raw");
    let events: String = capture
        .split_inclusive("\n\n")
        .filter_map(|part| part.find("data: ").map(|at| &part[at..]))
        .collect();
    assert_eq!(events.matches("data: ").count(), 4);
    let bytes = events.as_bytes();
    for at in 0..=bytes.len() {
        let reply = Reply::stream()
            .bytes(bytes[..at].to_vec())
            .bytes(bytes[at..].to_vec());
        let rig = Rig::scripted([reply.into()]);
        let failed = rig.ask(&cold("hi")).await.unwrap_err();
        assert_eq!(
            (failed.fate, failed.partial.as_str()),
            (Fate::Interrupted, " up did"),
            "split at {at}"
        );
        assert_eq!(deltas(&rig, false).0, " up did");
        rig.done().await;
    }
}

#[tokio::test(start_paused = true)]
async fn data_after_done_is_bounded_and_ignored() {
    let endless = Reply::says(&["a"])
        .event(r#"{"error":{"message":"late"}}"#)
        .part(Part::Hang);
    let rig = Rig::scripted([endless.into()]);
    let answer = rig.ask(&cold("hi")).await.unwrap();
    assert_eq!(answer.text, "a");
    assert!(rig.now().as_secs_f64() < 1.0);
    rig.done().await;
}

#[tokio::test(start_paused = true)]
async fn no_deadline_takes_back_a_complete_answer() {
    let rig = Rig::scripted([Reply::says(&["a"]).part(Part::Hang).into()]);
    let answer = rig.call_within(&cold("hi"), millis(100)).finish().await.unwrap();
    assert_eq!((answer.text.as_str(), rig.fates()), ("a", vec![Fate::Answered]));
    rig.done().await;
}

#[tokio::test(start_paused = true)]
async fn the_content_type_is_case_insensitive() {
    let shouted = Reply::says(&["a"]).header("content-type", "Text/Event-Stream; charset=utf-8");
    let whole = whole("a").header("content-type", "Application/JSON");
    for reply in [shouted, whole] {
        let rig = Rig::scripted([reply.into()]);
        assert_eq!(
            rig.ask(&cold("hi")).await.map(|answer| answer.text),
            Ok("a".to_owned())
        );
        rig.done().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_message_never_shows_a_key_or_a_control_character() {
    let message = "bad key sk-abcdefghijkl1234567890 \u{1b}[31mred";
    let rig = Rig::scripted([error(401, "authentication_error", message).into()]);
    let failed = rig.ask(&cold("hi")).await.unwrap_err();
    assert_eq!(failed.failure.class, FailureClass::Auth);
    tick().await;
    let written = serde_json::to_string(&rig.events()).unwrap();
    assert!(
        !written.contains("sk-abc") && !written.contains("\\u001b"),
        "{written}"
    );
    let results = rig.find(|event| match &event.kind {
        EventKind::AttemptEnded {
            result: AttemptResult::Failed { failure },
            ..
        } => failure.status,
        _ => None,
    });
    assert_eq!(results, [401]);
    rig.done().await;
}

/// An expired answer is gone even if it was not requested meanwhile. The checker drops it with the keyed result.
#[tokio::test(start_paused = true)]
async fn a_longer_ttl_does_not_restore_an_expired_answer() {
    let mut policy = steady();
    policy.cache.ttl = secs(1);
    let rig = Rig::new(policy.clone());
    rig.ask(&cold("hi")).await.unwrap();
    rig.sleep(secs(2)).await;
    rig.keyed(&warm("ho"), "key").finish().await.unwrap();
    policy.cache.ttl = secs(60);
    rig.client.apply(policy);
    let again = rig.ask(&cold("hi")).await.unwrap();
    rig.done().await;
    assert_eq!(again.fate, Fate::Answered);
}
