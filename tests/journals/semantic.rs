//! A session of the semantic cache: hits, refusals, labels, shadow mode.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use seawall::client::{Embedder, Embedding};
use seawall::event::{CallId, Objection};
use seawall::openai::ChatRequest;
use seawall::settings::{Policy, SemanticMode};

use super::{Stage, cold};

/// Each word is a dimension of its own. Neither the built-in embedder nor its guards: a journal that is committed must
/// not change whenever these get better.
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
    policy.semantic.threshold = 0.7;
    policy
}

pub(super) async fn story(mut stage: Stage) {
    stage.client = stage.client.with_embedder(Arc::new(Words::default()));
    let ask = async |user: &str, request: ChatRequest| {
        drop(stage.ask(user, request, None, None).finish().await);
        stage.wait(1_000).await;
    };
    // 1 is stored; 2 and 4 get its answer, 3 is of another user, 5 shares what 4 gets
    ask("ana", cold("what is a big buoy")).await;
    ask("ana", cold("what is a red buoy")).await;
    ask("ben", cold("what is a red buoy")).await;
    let owner = stage.ask("ana", cold("what is a new buoy"), None, None);
    let second = stage.ask("ana", cold("what is a new buoy"), None, None);
    drop(owner.finish().await);
    drop(second.finish().await);
    // a good one, and a bad one: 6 asks for the answer that went, and 7 is not near enough to it any more
    stage.client.label(CallId(2), true);
    stage.client.label(CallId(4), false);
    ask("ana", cold("what is a big buoy")).await;
    ask("ana", cold("what is a new buoy")).await;
    // beside the upstream: 8 would have got the answer of 7
    stage.client.set_semantic(SemanticMode::Shadow);
    ask("ana", cold("what is a new quay")).await;
    stage.client.set_semantic(SemanticMode::Off);
    ask("ana", cold("what is a new pier")).await;
    stage.client.set_semantic(SemanticMode::On);
    // 10 is no text, and 11 is nothing that was asked before
    let image = serde_json::json!([{ "role": "user", "content": [{ "type": "image_url" }] }]);
    ask("ana", cold("").with("messages", image)).await;
    ask("ana", cold("tides")).await;
    // 12 gets the answer of 8
    ask("ana", cold("what is a new tide")).await;
}
