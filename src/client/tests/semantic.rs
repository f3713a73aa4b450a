//! The semantic cache: which answers are served, to which calls, and at what cost.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value, json};

use super::rig::{Rig, cold, millis, secs, steady, tick, warm};
use super::script::{Reply, whole};
use crate::client::{CallContext, Chunk, EmbedError, Embedder, Embedding};
use crate::event::{CallId, EventKind, Fate, Objection, SemanticGuard, SemanticMiss, UserId};
use crate::openai::{ChatRequest, Message};
use crate::settings::{Policy, SemanticMode};
use crate::time::Clock;

/// An embedder with predictable similarities: each word has a dimension of its own.
#[derive(Debug)]
struct Words {
    clock: Clock,
    slots: Mutex<BTreeMap<String, usize>>,
    behaviour: Mutex<Behaviour>,
    asked: AtomicUsize,
}

#[derive(Clone, Debug)]
enum Behaviour {
    After(Duration),
    Failing,
    Returns(Vec<f32>),
}

impl Words {
    fn behave(&self, behaviour: Behaviour) {
        *self.behaviour.lock().unwrap() = behaviour;
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::Relaxed)
    }

    fn vector(&self, text: &str) -> Vec<f32> {
        let mut slots = self.slots.lock().unwrap();
        let mut vector = vec![0.0; 64];
        for word in text.split_whitespace() {
            let next = slots.len();
            vector[*slots.entry(word.to_owned()).or_insert(next)] += 1.0;
        }
        vector
    }
}

impl Embedder for Words {
    fn embed<'a>(&'a self, text: &'a str) -> Embedding<'a> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        let behaviour = self.behaviour.lock().unwrap().clone();
        Box::pin(async move {
            match behaviour {
                Behaviour::After(delay) => {
                    self.clock.sleep(delay).await;
                    Ok(self.vector(text))
                }
                Behaviour::Failing => Err(EmbedError {
                    message: "503 from the embedder".into(),
                }),
                Behaviour::Returns(vector) => Ok(vector),
            }
        })
    }

    /// Numbers must agree.
    fn objection(&self, asked: &str, stored: &str) -> Option<Objection> {
        let number = |text: &str| -> String { text.chars().filter(char::is_ascii_digit).collect() };
        let (asked, stored) = (number(asked), number(stored));
        (asked != stored).then(|| Objection {
            guard: SemanticGuard::Number,
            asked: asked.into(),
            stored: stored.into(),
        })
    }

    fn name(&self) -> String {
        "words".into()
    }
}

/// Four words of which three may agree: a similarity of 0.75.
const RED: &str = "the red boat sails";
const BLUE: &str = "the blue boat sails";
/// 0.67 to the first.
const LONGER: &str = "the very old red boat sails so far out";

fn policy(mode: SemanticMode) -> Policy {
    let mut policy = steady();
    policy.semantic.mode = mode;
    policy.semantic.threshold = Some(0.7);
    policy
}

fn rig_with(policy: Policy) -> (Rig, Arc<Words>) {
    let mut rig = Rig::new(policy);
    let words = Arc::new(Words {
        clock: rig.env.clock,
        slots: Mutex::default(),
        behaviour: Mutex::new(Behaviour::After(Duration::ZERO)),
        asked: AtomicUsize::new(0),
    });
    let embedder = Arc::clone(&words);
    rig.client = rig.client.clone().with_embedder(embedder);
    (rig, words)
}

fn rig(mode: SemanticMode) -> (Rig, Arc<Words>) {
    rig_with(policy(mode))
}

/// The events of the semantic cache, one per line: call, event, nearest stored prompt.
fn log(rig: &Rig) -> Vec<String> {
    rig.find(|event| {
        let call = event.call.map_or(0, |call| call.0);
        Some(match &event.kind {
            EventKind::SemanticHit { nearest, text, .. } => format!(
                "{call} hit {:.2} of {} {:?}: {text}",
                nearest.similarity,
                nearest.source,
                nearest.prompt.as_str()
            ),
            EventKind::SemanticMissed {
                reason,
                nearest,
                candidates,
                ..
            } => {
                let near = nearest.as_ref().map_or_else(String::new, |near| {
                    let objection = near.objection.as_ref();
                    let objection = objection.map_or_else(String::new, |objection| {
                        format!(", {:?} {} {}", objection.guard, objection.asked, objection.stored)
                    });
                    format!(
                        ": {:.2} of {} asks {:.2}{objection}",
                        near.similarity, near.source, near.threshold
                    )
                });
                format!("{call} {reason:?} of {candidates}{near}")
            }
            EventKind::SemanticShadowed { nearest, .. } => {
                format!("{call} shadow {:.2} of {}", nearest.similarity, nearest.source)
            }
            EventKind::SemanticCompared {
                source,
                agreement,
                same,
            } => {
                format!("{call} compared with {source}: {agreement:.1} {same}")
            }
            EventKind::SemanticStored { entries } => format!("{call} stored {entries}"),
            EventKind::SemanticLabelled {
                source,
                good,
                threshold,
                removed,
                ..
            } => format!("{call} labelled {good}: {source} asks {threshold:.3}, removed {removed}"),
            EventKind::Notice { text } => format!("noticed {text}"),
            _ => return None,
        })
    })
}

async fn ask(rig: &Rig, request: &ChatRequest) -> (Fate, String) {
    let answer = rig.ask(request).await.unwrap();
    (answer.fate, answer.text)
}

fn says(words: &[&str]) -> super::script::Step {
    Reply::says(words).into()
}

#[tokio::test(start_paused = true)]
async fn a_similar_prompt_is_answered_from_the_cache_at_no_cost() {
    let (rig, words) = rig(SemanticMode::On);
    assert_eq!(ask(&rig, &cold(RED)).await, (Fate::Answered, "hello sea".into()));
    rig.sleep(secs(3)).await;
    let mut call = rig.call(&cold(BLUE));
    assert_eq!(call.next().await, Some(Chunk::Text("hello sea".into())));
    assert_eq!(call.next().await, None);
    let answer = call.finish().await.unwrap();
    assert_eq!((answer.fate, answer.usage.total()), (Fate::Hit, 7));
    // the same words again: an exact hit needs no embedding
    assert_eq!(ask(&rig, &cold(RED)).await.0, Fate::Hit);
    assert_eq!((rig.upstream.sent().len(), words.asked()), (1, 2));
    assert_eq!(
        log(&rig),
        [
            "1 Empty of 0",
            "1 stored 1",
            "2 hit 0.75 of #1 \"the red boat sails\": hello sea",
        ]
    );
    let cost = rig.find(|event| match &event.kind {
        EventKind::SemanticHit {
            age,
            saved,
            saved_time,
            candidates,
            ..
        } => Some((*age, saved.total(), *saved_time, *candidates)),
        _ => None,
    });
    assert_eq!(cost, [(secs(3), 7, millis(10), 1)]);
    let ends = rig.find(|event| match event.kind {
        EventKind::CallEnded { fate, attempts, .. } => Some((fate, attempts)),
        _ => None,
    });
    assert_eq!(ends, [(Fate::Answered, 1), (Fate::Hit, 0), (Fate::Hit, 0)]);
    rig.done().await;
}

#[tokio::test(start_paused = true)]
async fn a_prompt_below_the_threshold_is_sent_and_stored_too() {
    let (rig, words) = rig(SemanticMode::On);
    for prompt in [RED, LONGER, "nothing like it"] {
        assert_eq!(ask(&rig, &cold(prompt)).await.0, Fate::Answered);
    }
    assert_eq!(words.asked(), 3, "each was embedded once");
    assert_eq!(
        log(&rig),
        [
            "1 Empty of 0",
            "1 stored 1",
            "2 NotSimilar of 1: 0.67 of #1 asks 0.70",
            "2 stored 2",
            "3 NotSimilar of 2: 0.00 of #2 asks 0.70",
            "3 stored 3",
        ]
    );
    rig.done().await;
}

#[tokio::test(start_paused = true)]
async fn a_guard_refuses_and_the_next_candidate_is_tried() {
    let (rig, _) = rig(SemanticMode::On);
    for prompt in ["list the 3 red boats", "list those 5 red boats"] {
        rig.ask(&cold(prompt)).await.unwrap();
    }
    rig.upstream.push([says(&["new"])]);
    // four of five words are those of the first, three of the second
    assert_eq!(ask(&rig, &cold("list the 4 red boats")).await.1, "new");
    let mut off = policy(SemanticMode::On);
    off.semantic.guards = false;
    assert_eq!(
        ask(&rig, &cold("list the 5 red boats")).await,
        (Fate::Hit, "hello sea".into())
    );
    rig.client.apply(off);
    assert_eq!(ask(&rig, &cold("list the 6 red boats")).await.0, Fate::Hit);
    assert_eq!(
        log(&rig)[3..],
        [
            "2 stored 2",
            "3 GuardRejected of 2: 0.80 of #1 asks 0.70, Number 4 3",
            "3 stored 3",
            // 0.80 of #1 and #3 too, both with another number
            "4 hit 0.80 of #2 \"list those 5 red boats\": hello sea",
            "5 hit 0.80 of #3 \"list the 4 red boats\": new",
        ]
    );
    rig.done().await;
}

#[tokio::test(start_paused = true)]
async fn eight_refusals_end_the_search() {
    let (rig, _) = rig(SemanticMode::On);
    let list = |word: &str| cold(&format!("list the {word} red boats"));
    for number in 1..=8 {
        rig.ask(&list(&number.to_string())).await.unwrap();
    }
    // all are equally similar, so the newest comes first: the match is the last of eight, and then of nine
    assert_eq!(ask(&rig, &list("one1")).await.0, Fate::Hit);
    rig.ask(&list("9")).await.unwrap();
    assert_eq!(ask(&rig, &list("uno1")).await.0, Fate::Answered);
    let lines = log(&rig);
    assert_eq!(
        lines[lines.len() - 5..],
        [
            "9 hit 0.80 of #1 \"list the 1 red boats\": hello sea",
            "10 GuardRejected of 8: 0.80 of #8 asks 0.70, Number 9 8",
            "10 stored 9",
            "11 GuardRejected of 9: 0.80 of #10 asks 0.70, Number 1 9",
            "11 stored 10",
        ]
    );
    rig.done().await;
}

#[tokio::test(start_paused = true)]
async fn requests_that_differ_in_more_than_the_prompt_never_match() {
    let (rig, _) = rig(SemanticMode::On);
    rig.ask(&cold(RED)).await.unwrap();
    let of = |messages: Vec<Message>| ChatRequest::new(messages).temperature(0.0);
    let others = [
        cold(BLUE).model("other"),
        cold(BLUE).temperature(0.5).seed(3),
        cold(BLUE).max_tokens(9),
        cold(BLUE).with("tools", json!([{ "type": "function" }])),
        cold(BLUE).with("response_format", json!({ "type": "json_object" })),
        of(vec![Message::system("Be brief."), Message::user(BLUE)]),
        of(vec![
            Message::user("hi"),
            Message::assistant("ho"),
            Message::user(BLUE),
        ]),
    ];
    for request in &others {
        assert_eq!(ask(&rig, request).await.0, Fate::Answered);
    }
    let eve = CallContext {
        user: UserId::new("eve"),
        ..CallContext::default()
    };
    let call = rig.client.call(&cold(BLUE), eve);
    assert_eq!(call.finish().await.unwrap().fate, Fate::Answered);
    let missed = log(&rig);
    let empty = missed.iter().filter(|line| line.ends_with(" Empty of 0"));
    assert_eq!(empty.count(), 9, "{missed:?}");
    // a request that differs in the prompt alone is served
    assert_eq!(ask(&rig, &cold(BLUE)).await.0, Fate::Hit);
    rig.done().await;
}

#[tokio::test(start_paused = true)]
async fn calls_that_want_a_fresh_answer_get_one() {
    let (rig, words) = rig(SemanticMode::On);
    rig.ask(&cold(RED)).await.unwrap();
    assert_eq!(ask(&rig, &warm(BLUE)).await.0, Fate::Answered);
    let fresh = CallContext {
        fresh: true,
        ..CallContext::default()
    };
    let call = rig.client.call(&cold(BLUE), fresh);
    assert_eq!(call.finish().await.unwrap().fate, Fate::Answered);
    rig.client.switch_cache(false);
    assert_eq!(ask(&rig, &cold("the old boat sails")).await.0, Fate::Answered);
    assert_eq!((words.asked(), log(&rig).len()), (1, 2));
    // with `cacheable` a warm request is served too, but its temperature is part of the partition
    rig.client.switch_cache(true);
    let opted = || CallContext {
        cacheable: true,
        ..CallContext::default()
    };
    for (prompt, fate) in [(RED, Fate::Answered), (BLUE, Fate::Hit)] {
        let call = rig.client.call(&warm(prompt), opted());
        assert_eq!(call.finish().await.unwrap().fate, fate);
    }
    rig.done().await;
}

#[tokio::test(start_paused = true)]
async fn the_newest_answer_to_the_stored_prompt_is_served() {
    let (rig, _) = rig(SemanticMode::On);
    rig.ask(&cold(RED)).await.unwrap();
    rig.upstream.push([says(&["newer"])]);
    let fresh = CallContext {
        fresh: true,
        ..CallContext::default()
    };
    rig.client.call(&cold(RED), fresh).finish().await.unwrap();
    assert_eq!(ask(&rig, &cold(BLUE)).await, (Fate::Hit, "newer".into()));
    assert_eq!(log(&rig)[2..], ["3 hit 0.75 of #2 \"the red boat sails\": newer"]);
    rig.done().await;
}

#[tokio::test(start_paused = true)]
async fn text_parts_are_compared_and_other_parts_never() {
    let (rig, _) = rig(SemanticMode::On);
    let with_content = |content: Value| {
        let body = json!({ "temperature": 0, "messages": [{ "role": "user", "content": content }] });
        ChatRequest::try_from(body).unwrap()
    };
    let parts = |text: &str| with_content(json!([{ "type": "text", "text": text }]));
    rig.ask(&parts(RED)).await.unwrap();
    assert_eq!(ask(&rig, &parts(BLUE)).await.0, Fate::Hit);
    let image =
        json!([{ "type": "text", "text": BLUE }, { "type": "image_url", "image_url": { "url": "x" } }]);
    assert_eq!(ask(&rig, &with_content(image)).await.0, Fate::Answered);
    let tail = with_content(json!("hi")).with(
        "messages",
        json!([{ "role": "user", "content": BLUE }, { "role": "assistant", "content": "so" }]),
    );
    assert_eq!(ask(&rig, &tail).await.0, Fate::Answered);
    assert_eq!(log(&rig)[3..], ["3 Ineligible of 0", "4 Ineligible of 0"]);
    rig.done().await;
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_calls_tools_is_never_served_to_another_prompt() {
    let (rig, _) = rig(SemanticMode::On);
    let call = r#"{"choices":[{"index":0,"delta":{"tool_calls":[{"index":0,"id":"a","function":{"name":"f","arguments":"{}"}}]}}]}"#;
    let end = r#"{"choices":[{"index":0,"delta":{},"finish_reason":"tool_calls"}]}"#;
    rig.upstream
        .push([Reply::stream().event(call).event(end).done().into()]);
    rig.ask(&cold(RED)).await.unwrap();
    assert_eq!(ask(&rig, &cold(RED)).await.0, Fate::Hit, "the exact cache has it");
    assert_eq!(ask(&rig, &cold(BLUE)).await.0, Fate::Answered);
    assert_eq!(log(&rig)[..2], ["1 Empty of 0", "3 Empty of 0"]);
    rig.done().await;
}

#[tokio::test(start_paused = true)]
async fn a_late_embedding_is_a_miss_and_the_call_goes_on() {
    let (rig, words) = rig(SemanticMode::On);
    rig.ask(&cold(RED)).await.unwrap();
    words.behave(Behaviour::After(secs(3)));
    let call = rig.call(&cold(BLUE));
    assert_eq!(call.finish().await.unwrap().fate, Fate::Answered);
    // 10 ms for each answer, and the time limit once
    assert_eq!(rig.millis(), 520);
    words.behave(Behaviour::After(millis(400)));
    assert_eq!(ask(&rig, &cold("the old boat sails")).await.0, Fate::Hit);
    assert_eq!(rig.millis(), 920);
    // the answer to the late one was stored, but not indexed
    assert_eq!(
        log(&rig)[2..],
        [
            "2 TimedOut of 0",
            "3 hit 0.75 of #1 \"the red boat sails\": hello sea"
        ]
    );
    rig.done().await;
}

#[tokio::test(start_paused = true)]
async fn a_failing_embedder_is_held_off_and_noticed_once() {
    let (rig, words) = rig(SemanticMode::On);
    words.behave(Behaviour::Failing);
    let mut number = 0;
    let mut next = || {
        number += 1;
        cold(&format!("prompt {number}"))
    };
    for _ in 0..5 {
        assert_eq!(ask(&rig, &next()).await.0, Fate::Answered);
    }
    assert_eq!(words.asked(), 3);
    rig.sleep(secs(10)).await;
    rig.ask(&next()).await.unwrap();
    rig.ask(&next()).await.unwrap();
    assert_eq!(words.asked(), 4);
    words.behave(Behaviour::Returns(vec![f32::NAN; 3]));
    rig.sleep(secs(10)).await;
    rig.ask(&next()).await.unwrap();
    words.behave(Behaviour::After(Duration::ZERO));
    rig.sleep(secs(10)).await;
    rig.ask(&next()).await.unwrap();
    let lines = log(&rig);
    let notices: Vec<_> = lines.iter().filter(|line| line.starts_with("noticed")).collect();
    assert_eq!(notices.len(), 2, "{lines:?}");
    assert!(notices[0].contains("words failed three times in a row (503 from the embedder)"));
    assert_eq!(
        notices[1],
        "noticed embedder words answers again: semantic cache on"
    );
    let details = rig.find(|event| match &event.kind {
        EventKind::SemanticMissed {
            reason: SemanticMiss::Failed,
            detail,
            ..
        } => Some(detail.clone().unwrap().to_string()),
        _ => None,
    });
    assert_eq!(details.len(), 8);
    assert_eq!(details[0], "503 from the embedder");
    assert_eq!(
        details[3],
        "off after three failures in a row; next attempt in 10s"
    );
    assert_eq!(details[7], "the embedding is empty or not finite");
    rig.done().await;
}

#[tokio::test(start_paused = true)]
async fn a_prompt_with_a_zero_embedding_is_not_compared() {
    let (rig, words) = rig(SemanticMode::On);
    words.behave(Behaviour::Returns(vec![0.0; 8]));
    rig.ask(&cold("…")).await.unwrap();
    assert_eq!(log(&rig), ["1 Ineligible of 0"]);
    rig.done().await;
}

#[tokio::test(start_paused = true)]
async fn shadow_mode_serves_nothing_and_compares() {
    let (rig, _) = rig(SemanticMode::Shadow);
    rig.upstream
        .push([says(&["a b c"]), says(&["a b c"]), says(&["x y z"])]);
    rig.ask(&cold(RED)).await.unwrap();
    assert_eq!(ask(&rig, &cold(BLUE)).await, (Fate::Answered, "a b c".into()));
    assert_eq!(ask(&rig, &cold("the old boat sails")).await.1, "x y z");
    let lines = log(&rig);
    assert_eq!(
        lines[..5],
        [
            "1 Empty of 0",
            "1 stored 1",
            "2 shadow 0.75 of #1",
            "2 compared with #1: 1.0 true",
            "2 stored 2",
        ]
    );
    assert_eq!(lines[5], "3 shadow 0.75 of #2");
    assert!(
        lines[6].starts_with("3 compared with #2: 0.") && lines[6].ends_with("false"),
        "{lines:?}"
    );
    // what would have been served can be labelled
    rig.client.label(CallId(3), false);
    assert_eq!(log(&rig)[8], "3 labelled false: #2 asks 0.751, removed true");
    rig.done().await;
}

#[tokio::test(start_paused = true)]
async fn a_failed_call_is_not_compared() {
    let (rig, _) = rig(SemanticMode::Shadow);
    rig.ask(&cold(RED)).await.unwrap();
    rig.upstream
        .push([super::script::error(400, "invalid_request_error", "no").into()]);
    rig.ask(&cold(BLUE)).await.unwrap_err();
    assert_eq!(log(&rig)[2..], ["2 shadow 0.75 of #1"]);
    rig.done().await;
}

#[tokio::test(start_paused = true)]
async fn a_bad_label_removes_the_answer_and_raises_the_threshold() {
    let (rig, _) = rig(SemanticMode::On);
    rig.ask(&cold(RED)).await.unwrap();
    assert_eq!(ask(&rig, &cold(BLUE)).await.0, Fate::Hit);
    rig.client.label(CallId(2), false);
    rig.client.label(CallId(2), false);
    rig.client.label(CallId(1), false);
    rig.client.label(CallId(99), true);
    let evicted = rig.find(|event| match event.kind {
        EventKind::CacheEvicted {
            reason,
            removed,
            entries,
            ..
        } => Some((reason, removed, entries)),
        _ => None,
    });
    assert_eq!(evicted, [(crate::event::EvictReason::Labelled, 1, 0)]);
    // the stored prompt is requested again, and an equally similar prompt does not get its answer
    assert_eq!(ask(&rig, &cold(RED)).await.0, Fate::Answered);
    assert_eq!(ask(&rig, &cold(BLUE)).await.0, Fate::Answered);
    assert_eq!(
        log(&rig)[3..],
        [
            "2 labelled false: #1 asks 0.751, removed true",
            "noticed call #2 was not labelled: already labelled so",
            "noticed call #1 was not labelled: no recent semantic hit",
            "noticed call #99 was not labelled: no recent semantic hit",
            "3 Empty of 0",
            "3 stored 1",
            "4 NotSimilar of 1: 0.75 of #3 asks 0.75",
            "4 stored 2",
        ]
    );
    let labels = rig.client.policy().semantic.labels;
    assert_eq!((labels.len(), labels[0].good, labels[0].bad), (1, 0, 1));
    // the settings with the labels are valid, and mean the same to another client
    let kept = rig.client.policy();
    assert_eq!(kept.validate(), Ok(()));
    let (next, _) = rig_with(kept);
    next.ask(&cold(RED)).await.unwrap();
    assert_eq!(ask(&next, &cold(BLUE)).await.0, Fate::Answered);
    next.done().await;
    rig.done().await;
}

#[tokio::test(start_paused = true)]
async fn a_good_label_counts_and_a_changed_mind_replaces_the_first() {
    let (rig, _) = rig(SemanticMode::On);
    rig.ask(&cold(RED)).await.unwrap();
    rig.ask(&cold(BLUE)).await.unwrap();
    rig.client.label(CallId(2), true);
    assert_eq!(ask(&rig, &cold("the old boat sails")).await.0, Fate::Hit);
    rig.client.label(CallId(2), false);
    rig.client.label(CallId(2), true);
    assert_eq!(
        log(&rig)[3..],
        [
            "2 labelled true: #1 asks 0.700, removed false",
            "3 hit 0.75 of #1 \"the red boat sails\": hello sea",
            "2 labelled false: #1 asks 0.751, removed true",
            "2 labelled true: #1 asks 0.700, removed false",
        ]
    );
    let labels = rig.client.policy().semantic.labels;
    assert_eq!((labels[0].good, labels[0].bad, labels[0].threshold), (1, 0, None));
    rig.done().await;
}

#[tokio::test(start_paused = true)]
async fn an_answer_removed_from_the_exact_cache_is_not_served() {
    let mut short = policy(SemanticMode::On);
    short.cache.ttl = secs(60);
    let (rig, _) = rig_with(short);
    rig.ask(&cold(RED)).await.unwrap();
    rig.client.clear_cache();
    assert_eq!(ask(&rig, &cold(BLUE)).await.0, Fate::Answered);
    rig.sleep(secs(30)).await;
    assert_eq!(ask(&rig, &cold(RED)).await.0, Fate::Hit);
    rig.sleep(secs(30)).await;
    assert_eq!(ask(&rig, &cold(RED)).await.0, Fate::Answered);
    assert_eq!(
        log(&rig)[2..],
        [
            "2 Empty of 0",
            "2 stored 1",
            "3 hit 0.75 of #2 \"the blue boat sails\": hello sea",
            // it was found, but its answer was gone
            "4 Empty of 0",
            "4 stored 1",
        ]
    );
    rig.done().await;
}

#[tokio::test(start_paused = true)]
async fn identical_calls_share_one_embedding_and_one_hit() {
    let (rig, words) = rig(SemanticMode::On);
    rig.ask(&cold(RED)).await.unwrap();
    words.behave(Behaviour::After(millis(100)));
    let calls: Vec<_> = (0..3).map(|_| rig.call(&cold(BLUE))).collect();
    for (position, call) in calls.into_iter().enumerate() {
        let answer = call.finish().await.unwrap();
        let fate = if position == 0 { Fate::Hit } else { Fate::Shared };
        assert_eq!((answer.fate, answer.text.as_str()), (fate, "hello sea"));
    }
    assert_eq!((words.asked(), rig.upstream.sent().len()), (2, 1));
    rig.done().await;
}

#[tokio::test(start_paused = true)]
async fn a_caller_that_leaves_during_the_embedding_affects_no_other() {
    let (rig, words) = rig(SemanticMode::On);
    rig.ask(&cold(RED)).await.unwrap();
    words.behave(Behaviour::After(millis(100)));
    // alone: the embedding is cancelled
    drop(rig.call(&cold(BLUE)));
    tick().await;
    assert_eq!(rig.env.running_tasks(), 0);
    // the owner of a shared flight, and a follower whose deadline passes
    let owner = rig.call(&cold(BLUE));
    let hasty = rig.call_within(&cold(BLUE), millis(50));
    let patient = rig.call(&cold(BLUE));
    rig.sleep(millis(10)).await;
    drop(owner);
    assert_eq!(hasty.finish().await.unwrap_err().fate, Fate::Failed);
    assert_eq!(patient.finish().await.unwrap().fate, Fate::Hit);
    assert_eq!(
        rig.fates(),
        [
            Fate::Answered,
            Fate::Cancelled,
            Fate::Cancelled,
            Fate::Failed,
            Fate::Hit
        ]
    );
    rig.done().await;
}

#[tokio::test(start_paused = true)]
async fn the_mode_at_the_time_of_serving_counts() {
    let (rig, words) = rig(SemanticMode::Off);
    rig.ask(&cold(RED)).await.unwrap();
    assert_eq!(words.asked(), 0, "off is off");
    rig.client.set_semantic(SemanticMode::On);
    rig.ask(&cold("the green boat sails")).await.unwrap();
    words.behave(Behaviour::After(millis(100)));
    for (mode, fate) in [
        (SemanticMode::Off, Fate::Answered),
        (SemanticMode::Shadow, Fate::Answered),
        (SemanticMode::On, Fate::Hit),
    ] {
        rig.client.set_semantic(SemanticMode::On);
        let prompt = format!("the {fate:?}{mode:?} boat sails");
        let call = rig.call(&cold(&prompt));
        rig.sleep(millis(50)).await;
        rig.client.set_semantic(mode);
        assert_eq!(call.finish().await.unwrap().fate, fate, "{mode:?}");
    }
    let lines = log(&rig);
    assert_eq!(
        lines,
        [
            // each time it is switched on, the answers stored before are indexed
            "0 stored 1",
            "2 hit 0.75 of #1 \"the red boat sails\": hello sea",
            "0 stored 2",
            "4 shadow 0.75 of #3",
            "4 compared with #3: 1.0 true",
            "4 stored 3",
            "5 hit 0.75 of #4 \"the AnsweredShadow boat sails\": hello sea",
        ]
    );
    rig.done().await;
}

#[tokio::test(start_paused = true)]
async fn the_stored_answers_are_indexed_when_it_is_switched_on() {
    let (rig, words) = rig(SemanticMode::Off);
    rig.ask(&cold(RED)).await.unwrap();
    rig.ask(&cold("the green boat sails")).await.unwrap();
    rig.client.set_semantic(SemanticMode::On);
    tick().await;
    assert_eq!(words.asked(), 2);
    assert_eq!(ask(&rig, &cold(BLUE)).await.0, Fate::Hit);
    // on again: nothing is embedded twice
    rig.client.set_semantic(SemanticMode::Off);
    rig.client.set_semantic(SemanticMode::On);
    tick().await;
    assert_eq!(words.asked(), 3);
    let stored = rig.find(|event| match event.kind {
        EventKind::SemanticStored { entries } => Some((event.call, entries)),
        _ => None,
    });
    assert_eq!(stored, [(None, 2)]);
    rig.done().await;
}

#[tokio::test(start_paused = true)]
async fn indexing_ends_with_the_first_failure_and_with_the_switch() {
    let (rig, words) = rig(SemanticMode::Off);
    for prompt in [RED, "the green boat sails", "a gull"] {
        rig.ask(&cold(prompt)).await.unwrap();
    }
    words.behave(Behaviour::After(millis(100)));
    rig.client.set_semantic(SemanticMode::On);
    rig.sleep(millis(50)).await;
    rig.client.set_semantic(SemanticMode::Off);
    rig.sleep(millis(500)).await;
    assert_eq!(words.asked(), 1);
    // longer than the embedder may take
    words.behave(Behaviour::After(Duration::from_mins(1)));
    rig.client.set_semantic(SemanticMode::On);
    rig.sleep(Duration::from_mins(2)).await;
    assert_eq!(words.asked(), 2);
    rig.done().await;
}

#[tokio::test(start_paused = true)]
async fn a_cache_that_is_switched_on_later_serves_what_it_stores_afterwards() {
    let mut settings = policy(SemanticMode::On);
    settings.cache.enabled = false;
    let (rig, _) = rig_with(settings);
    assert_eq!(ask(&rig, &cold(RED)).await.0, Fate::Answered);
    rig.client.switch_cache(true);
    assert_eq!(ask(&rig, &cold(RED)).await.0, Fate::Answered);
    assert_eq!(ask(&rig, &cold(BLUE)).await.0, Fate::Hit);
    rig.client.switch_cache(false);
    assert_eq!(ask(&rig, &cold(BLUE)).await.0, Fate::Answered);
    // the checker saw the switch, too
    rig.done().await;
}

#[tokio::test(start_paused = true)]
async fn a_hit_needs_neither_limiter_nor_breaker() {
    let (rig, _) = rig(SemanticMode::On);
    rig.ask(&cold(RED)).await.unwrap();
    rig.client.force_breaker(crate::event::BreakerMode::ForcedOpen);
    assert_eq!(ask(&rig, &cold(BLUE)).await.0, Fate::Hit);
    assert_eq!(
        rig.ask(&cold("nothing like it")).await.unwrap_err().fate,
        Fate::CircuitOpen
    );
    rig.client.force_breaker(crate::event::BreakerMode::Automatic);
    let spent = rig.find(|event| match event.kind {
        EventKind::LimitAdmitted { .. } | EventKind::BreakerAdmitted { .. } => Some(event.call),
        _ => None,
    });
    assert_eq!(spent, [Some(CallId(1)); 2]);
    rig.done().await;
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_was_not_streamed_is_served_too() {
    let (rig, _) = rig(SemanticMode::On);
    rig.upstream.push([whole("all of it").into()]);
    rig.ask(&cold(RED)).await.unwrap();
    assert_eq!(ask(&rig, &cold(BLUE)).await, (Fate::Hit, "all of it".into()));
    rig.done().await;
}
