//! A session of the semantic cache: hits, objections, labels, shadow mode.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use seawall::client::{Embedder, Embedding};
use seawall::event::{CallId, Objection};
use seawall::openai::ChatRequest;
use seawall::settings::{Policy, SemanticMode};

use super::{Recording, cold};

/// An embedder with one dimension per word. Neither the built-in embedder nor its guards are used: a committed journal
/// must not change when these improve.
#[derive(Debug, Default)]
struct Words(Mutex<BTreeMap<String, usize>>);

impl Embedder for Words {
    fn embed<'a>(&'a self, text: &'a str) -> Embedding<'a> {
        let mut slots = self.0.lock().unwrap();
        let mut vector = vec![0.0; 64];
        for word in text.split_whitespace() {
            let next = slots.len();
            vector[*slots.entry(word.to_owned()).or_insert(next)] += 1.0;
        }
        Box::pin(std::future::ready(Ok(vector)))
    }

    fn objection(&self, _asked: &str, _stored: &str) -> Option<Objection> {
        None
    }

    fn name(&self) -> String {
        "words".into()
    }
}

pub(super) fn policy(mut policy: Policy) -> Policy {
    policy.semantic.mode = SemanticMode::On;
    policy.semantic.threshold = Some(0.7);
    policy
}

pub(super) async fn story(mut recording: Recording) {
    recording.client = recording.client.with_embedder(Arc::new(Words::default()));
    let ask = async |user: &str, request: ChatRequest| {
        drop(recording.ask(user, request, None, None).finish().await);
        recording.wait(1_000).await;
    };
    // 1 is stored; 2 and 4 get its answer, 3 belongs to another user, 5 shares the hit of 4
    ask("ana", cold("what is a big buoy")).await;
    ask("ana", cold("what is a red buoy")).await;
    ask("ben", cold("what is a red buoy")).await;
    let owner = recording.ask("ana", cold("what is a new buoy"), None, None);
    let second = recording.ask("ana", cold("what is a new buoy"), None, None);
    drop(owner.finish().await);
    drop(second.finish().await);
    // a good label and a bad one: 6 asks for the removed answer, and 7 is below the raised threshold
    recording.client.label(CallId(2), true);
    recording.client.label(CallId(4), false);
    ask("ana", cold("what is a big buoy")).await;
    ask("ana", cold("what is a new buoy")).await;
    // shadow mode: 8 would get the answer of 7
    recording.client.set_semantic(SemanticMode::Shadow);
    ask("ana", cold("what is a new quay")).await;
    recording.client.set_semantic(SemanticMode::Off);
    ask("ana", cold("what is a new pier")).await;
    recording.client.set_semantic(SemanticMode::On);
    // 10 has no text, and 11 resembles no stored prompt
    let image = serde_json::json!([{ "role": "user", "content": [{ "type": "image_url" }] }]);
    ask("ana", cold("").with("messages", image)).await;
    ask("ana", cold("tides")).await;
    // 12 gets the answer of 8
    ask("ana", cold("what is a new tide")).await;
}
